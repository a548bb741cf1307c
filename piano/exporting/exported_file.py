"""The one file of an export for another program: which model, what it is called, and that it replaces nothing."""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from piano.config_reader import load_config_from_yaml
from piano.foundation.errors import CheckpointError, ConfigError
from piano.foundation.made_files import refuse_other_work, replacing
from piano.foundation.model_folder import holds_shipped
from piano.foundation.options import make_output_folder
from piano.foundation.receipt import model_hash
from piano.foundation.screen_text import printable
from piano.piano_model import VariationalAttentionModel
from piano.utilities import build_generator, choose_folder, load_checkpoint, not_composing_yet


class Asked(NamedTuple):
    """What a command line asks for."""

    network: VariationalAttentionModel
    name: str
    """Of the model: that of its folder."""
    about: dict[str, object]
    """Where the file comes from, for the file itself."""
    output: Path


def asked_for(options: argparse.Namespace, *, suffix: str) -> Asked:
    """The model and the file that a command line asks for; see `nn_tilde.export` for what it raises."""
    folder = choose_folder(options.checkpoints, load_config_from_yaml(options.config).checkpoint_folder)
    content = load_checkpoint(folder, "generator", options.epoch)
    if sentence := not_composing_yet(content):
        raise CheckpointError(f"{sentence}. Let the run go on before it is exported.")
    name = folder.resolve().name
    output = options.output or (Path() if holds_shipped(folder) else folder) / f"{name}{suffix}"
    if output.suffix != suffix:
        raise ConfigError(f"{printable(output)} must end in {suffix}, or it will not be found by the host.")
    make_output_folder(output.parent)
    refuse_other_work(output, is_own=lambda _: False, overwrite=options.overwrite, held="a model or other work")
    sha256 = model_hash(content.get("average") or content["model"], content["keywords"])
    about: dict[str, object] = {"made_by": "MusiGAN", "model": name, "epoch": content["epoch"], "sha256": sha256}
    network = build_generator(content).requires_grad_(False)
    return Asked(network, name, about | {"sample_rate": network.sample_rate}, output)


def script(build: Callable[[], nn.Module]) -> torch.jit.ScriptModule:
    """TorchScript of what is built. PyTorch warns that it is deprecated; it is what the hosts read.

    Sizes are meant to be constants of a trace, of which it warns too, and of empty lists whose kind it is told.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="The TorchScript type system", category=UserWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[reportPrivateImportUsage]
        return torch.jit.script(build().eval())  # type: ignore[return-value]


def write_file(asked: Asked, write: Callable[[Path], object]) -> None:
    """Have the file written under a temporary name, give it its own, and say so."""
    with replacing(asked.output) as temporary:
        write(temporary)
    size = asked.output.stat().st_size / 1e6
    print(f"{printable(asked.output)}: {asked.name}, epoch {asked.about['epoch']}, {size:.1f} MB")
