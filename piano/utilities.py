"""Everything that reads a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import checkpoint_path, find_epoch, read_checkpoint
from piano.foundation.errors import CheckpointError
from piano.piano_model import VariationalAttentionModel


def load_checkpoint(folder: Path, role: str, epoch: int | str = "latest") -> dict[str, Any]:
    """The content of a checkpoint: format_version, role, epoch, keywords, model, average, optimizers, run.

    Parameters
    ----------
    folder : Path
    role : str
        `generator` or `discriminator`.
    epoch : int or str
        A number, or `latest`.

    Raises
    ------
    CheckpointError
        There is none, or it is damaged; the message names what exists.
    """
    return read_checkpoint(checkpoint_path(folder, role, find_epoch(folder, role, epoch)), role)


def load_generator(
    folder: Path, epoch: int | str = "latest", *, device: torch.device | str = "cpu", averaged: bool = True
) -> VariationalAttentionModel:
    """The generator of an epoch, ready to make music (its averaged weights unless told otherwise)."""
    content = load_checkpoint(folder, "generator", epoch)
    state = content.get("average") if averaged else None
    return build(VariationalAttentionModel, content, state or content["model"], device)


def load_discriminator(
    folder: Path, epoch: int | str = "latest", *, device: torch.device | str = "cpu"
) -> Discriminator_with_mdisc:
    """The discriminator of an epoch, ready to judge."""
    content = load_checkpoint(folder, "discriminator", epoch)
    return build(Discriminator_with_mdisc, content, content["model"], device)


def build(
    kind: type[nn.Module], content: dict[str, Any], state: dict[str, Any], device: torch.device | str
) -> Any:
    """A network of class `kind` from a checkpoint's keywords and a state; raises CheckpointError."""
    try:
        network = kind(**content["keywords"])
        network.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"the {content['role']} of epoch {content['epoch']} does not fit this version: "
            f"{' '.join(str(error).split())[:160]}. See update_checkpoint."
        ) from None
    return network.to(device).eval()
