"""The format in which models are given away: one safetensors file a network, no code in it, half precision if wished.

The header's metadata holds what a checkpoint holds beside its weights: format version, role, epoch, the keywords that
build the network (JSON) and, for a generator, the sampling steps that were judged best. The normaliser of the latents
is part of the generator: a decoder without its own normaliser is useless.
"""

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from piano.foundation.bounds import shown
from piano.foundation.checkpoint_format import ROLES, refuse_numbers, write_whole
from piano.foundation.errors import CheckpointError
from piano.foundation.model_folder import SUFFIX
from piano.foundation.screen_text import printable

FORMAT_VERSION = 1
LARGEST = 65504.0
"""Of a half-precision number."""


def shipped_path(folder: Path, role: str) -> Path:
    """`checkpoints/shipped/generator.safetensors`."""
    return Path(folder) / f"{role}{SUFFIX}"


def write_shipped(
    path: Path,
    role: str,
    *,
    epoch: int,
    keywords: dict[str, Any],
    state: dict[str, Tensor],
    halved: frozenset[str] = frozenset(),
) -> None:
    """Write a network's state, whole or not at all.

    Parameters
    ----------
    state : dict of name -> Tensor
    halved : set of str
        Names that are stored in half precision; everything else stays as it is.

    Raises
    ------
    CheckpointError
        A number is not finite, or too large for half precision; or the disk refuses.
    """
    tensors = {}
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"the {role}'s {name} is not finite: this model is broken, take another epoch.")
        if name in halved and float(value.abs().max()) > LARGEST:
            raise CheckpointError(f"the {role}'s {name} does not fit into half precision: leave out --half.")
        tensors[name] = (value.half() if name in halved else value).contiguous()
    metadata = {
        "format": "pt",
        "format_version": str(FORMAT_VERSION),
        "role": role,
        "epoch": str(epoch),
        "keywords": json.dumps(keywords, sort_keys=True),
    }
    if "default_steps" in state:
        metadata["default_steps"] = str(int(state["default_steps"]))
    data = sorted_header(save(tensors, metadata))
    write_whole(path, lambda file: file.write(data))


def sorted_header(data: bytes) -> bytes:
    """A safetensors file with the names of its header in order: the same model gives the same bytes every time."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers stay where a reader may map them
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def read_shipped(path: Path, role: str) -> dict[str, Any]:
    """The content of a file in the form of a checkpoint, in single precision; raises CheckpointError.

    Nothing in the file is run; weights are checked to be finite.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            content: dict[str, Any] = {"epoch": int(metadata["epoch"]), "keywords": json.loads(metadata["keywords"])}
            version, written_role = int(metadata["format_version"]), metadata["role"]
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except FileNotFoundError:
        raise CheckpointError(f"no model {path}") from None
    except (SafetensorError, OSError, RuntimeError, RecursionError) as error:
        reason = printable(" ".join(str(error).split()))[:120]
        raise CheckpointError(f"{path} is damaged: {reason}") from None
    except (KeyError, ValueError, TypeError):
        raise CheckpointError(f"{path} is not a MusiGAN model: its header does not say what it is") from None
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} was written by a newer MusiGAN (format {shown(version)})")
    if written_role != role or role not in ROLES:
        raise CheckpointError(f"{path} holds a {printable(written_role)[:20]}, a {role} was expected")
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    content |= {"format_version": version, "role": role, "model": state, "average": None, "optimizers": {}, "run": {}}
    refuse_numbers(content, path)
    return content
