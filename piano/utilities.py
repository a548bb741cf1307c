"""Everything that reads a trained model: from a run's checkpoints, or one that was given away."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import checkpoint_path, find_epoch, list_epochs, read_best, read_checkpoint
from piano.foundation.errors import CheckpointError
from piano.foundation.model_folder import holds_shipped, named_folder, shipped_folder
from piano.foundation.screen_text import printable
from piano.foundation.shipped_format import read_shipped, shipped_path
from piano.piano_model import VariationalAttentionModel
from piano.stages import STAGE
from piano.update_checkpoint import renamed_in_words, update_checkpoint, with_present_names

ANY_EPOCH = ("best", "latest")


def choose_folder(given: Path | None, own: Path) -> Path:
    """Where to take a model from: the named folder, else one's own if it holds a generator, else the shipped one."""
    if given is not None:
        return named_folder(given)
    if not list_epochs(own, "generator") and holds_shipped(shipped_folder()):
        return shipped_folder()
    return own


def load_checkpoint(folder: Path, role: str, epoch: int | str = "best") -> dict[str, Any]:
    """The content of a checkpoint: format_version, role, epoch, keywords, model, average, optimizers, run.

    Parameters
    ----------
    folder : Path
        Of a run, or of a model that was given away (`shipped`).
    role : str
        `generator` or `discriminator`.
    epoch : int or str
        A number, `latest`, or `best`: the one whose compositions were judged best (the newest, with a warning, where
        none was judged). Here and on every command line `best` is what is taken if nothing is said.

    Raises
    ------
    CheckpointError
        There is none, or it is damaged; the message names what exists.
    """
    folder = named_folder(folder)
    if list_epochs(folder, role) or not holds_shipped(folder):
        chosen = find_epoch(folder, role, epoch)
        try:
            return with_best_steps(folder, read_checkpoint(checkpoint_path(folder, role, chosen), role))
        except CheckpointError as error:
            if epoch not in ANY_EPOCH:
                raise
            return newest_readable(folder, role, without=chosen, reason=error)
    content = read_shipped(shipped_path(folder, role), role)
    if str(epoch) not in (*ANY_EPOCH, str(content["epoch"])):
        raise CheckpointError(f"{folder} holds epoch {content['epoch']} only. Leave out --epoch.")
    return content


def with_best_steps(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The best epoch's `auto` means the sampling steps it was judged with, also if it lies in the middle of a stage."""
    best = read_best(folder)
    if content["role"] == "generator" and best is not None and best.epoch == content["epoch"]:
        for state in (content.get("average"), content["model"]):
            if isinstance(state, dict) and "default_steps" in state:
                state["default_steps"] = torch.tensor(best.steps)
    return content


def newest_readable(folder: Path, role: str, *, without: int, reason: CheckpointError) -> dict[str, Any]:
    """The newest other epoch that can be read, said aloud; raises the reason where there is none."""
    for epoch in reversed(list_epochs(folder, role)):
        if epoch == without:
            continue
        try:
            content = read_checkpoint(checkpoint_path(folder, role, epoch), role)
        except CheckpointError:
            continue
        logging.getLogger(__name__).warning(f"{printable(reason)}. Epoch {epoch} is taken instead.")
        return content
    raise reason


def not_composing_yet(content: dict[str, Any]) -> str:
    """A sentence where a generator's checkpoint has not begun to learn composing; empty where it has.

    The last layer of the flow begins as zeros and moves with its first step, whatever the stage of the run:
    a fine-tuned model composes from the start.
    """
    state = content.get("average") or content["model"]
    if any(name not in state or bool(state[name].any()) for name in ("attention.out.weight", "attention.out.bias")):
        return ""
    run = content.get("run")
    stage = run.get("stage") if isinstance(run, dict) else None
    where = f" (its run is in stage {stage})" if stage in STAGE else ""
    return f"epoch {content['epoch']} has not learned to compose yet{where}: what it plays is noise"


def load_generator(
    folder: Path, epoch: int | str = "best", *, device: torch.device | str = "cpu", averaged: bool = True
) -> VariationalAttentionModel:
    """The generator of an epoch (see `load_checkpoint`), ready to make music, with averaged weights by default."""
    return build_generator(load_checkpoint(folder, "generator", epoch), device=device, averaged=averaged)


def build_generator(
    content: dict[str, Any], *, device: torch.device | str = "cpu", averaged: bool = True
) -> VariationalAttentionModel:
    """The generator of a checkpoint's content."""
    state = content.get("average") if averaged else None
    return build(VariationalAttentionModel, content, state or content["model"], device)


def load_discriminator(
    folder: Path, epoch: int | str = "best", *, device: torch.device | str = "cpu"
) -> Discriminator_with_mdisc:
    """The discriminator of an epoch (see `load_checkpoint`), ready to judge."""
    content = load_checkpoint(folder, "discriminator", epoch)
    return build(Discriminator_with_mdisc, content, content["model"], device)


def build(kind: type[nn.Module], content: dict[str, Any], state: dict[str, Any], device: torch.device | str) -> Any:
    """A network of class `kind` from a checkpoint's keywords and a state; raises CheckpointError."""
    try:
        renamed = with_present_names(state)
        refuse_other_sizes(kind, content["keywords"], renamed)
        with _WithoutStart():
            network = kind(**content["keywords"])
        update = update_checkpoint(state, network)
        if words := renamed_in_words(state):
            logging.getLogger(__name__).info(f"{content['role']} of epoch {content['epoch']}: {words}")
        # What is no part of the network stays, so that loading refuses it, but for what a layer knows from its past.
        network.load_state_dict(update.state | {name: renamed[name] for name in update.dropped})
    except (
        TypeError,
        ValueError,
        RuntimeError,
        ArithmeticError,
        AttributeError,
        LookupError,
        AssertionError,
        MemoryError,
    ) as error:
        raise CheckpointError(
            f"the {content['role']} of epoch {content['epoch']} does not fit this version: "
            f"{printable(' '.join(str(error).split()))[:160]}. Use the version of MusiGAN that made it, or carry over "
            "what fits with update_checkpoint (piano/update_checkpoint.py)."
        ) from None
    return network.to(device).eval()


class _WithoutStart(TorchFunctionMode):
    """Parameters are not drawn at random where a checkpoint's take their place: that would cost half a second."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Nothing for `torch.nn.init`, everything else as ever."""
        if getattr(function, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs or {})


class _WithoutValues(TorchFunctionMode):
    """Tensors that have a size only get no values: for those PyTorch would import its compiler, which takes a second.

    What is not named here is done as ever, and costs that second.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The right sizes, and any values."""
        if function in _SIZED:
            return torch.empty(*_SIZED[function](args))
        if function in _KEEPS_SIZE:
            tensors = [value for value in args if isinstance(value, torch.Tensor)]
            if len(tensors) == 1:
                return tensors[0]
        return function(*args, **kwargs or {})


_SIZED = {
    torch.randn: lambda sizes: sizes,
    torch.eye: lambda sizes: (sizes[0], sizes[0]),
    torch.linspace: lambda bounds: (bounds[2],),
    torch.arange: lambda bounds: (len(range(*bounds)),),
}
_KEEPS_SIZE = frozenset(
    getattr(torch.Tensor, name)
    for name in (
        *("normal_", "uniform_", "zero_", "fill_", "div", "__truediv__", "mul", "__mul__", "__rmul__", "__rpow__"),
        *("clamp_min", "clamp", "log2", "ceil", "long", "add", "sub", "__radd__", "__rsub__"),
    )
)


def refuse_other_sizes(kind: type[nn.Module], keywords: dict[str, Any], state: dict[str, Any]) -> None:
    """Before any memory is taken: keywords of a few bytes could ask for terabytes. Raises ValueError."""
    if any(value > len(state) for name, value in keywords.items() if name.endswith("_layers")):
        raise ValueError("its keywords ask for more layers than it holds tensors")
    with torch.device("meta"), _WithoutValues():
        wanted = {name: value.shape for name, value in kind(**keywords).state_dict().items()}
    if other := [name for name in wanted if name not in state or state[name].shape != wanted[name]]:
        raise ValueError(f"{other[0]} is missing or of another size")
