"""Names, fields and version of a checkpoint file; finding, atomic writing, safe reading."""

import json
import logging
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import torch

from piano.foundation import bounds
from piano.foundation.bounds import EPOCH, FINITE, SAMPLING_STEPS, outside, shown
from piano.foundation.errors import CheckpointError
from piano.foundation.finite import not_finite
from piano.foundation.made_files import replacing, write_json
from piano.foundation.model_folder import no_model_text
from piano.foundation.score_words import FIRST_RULER, RULER_VERSION
from piano.foundation.screen_text import counted, printable

FORMAT_VERSION = 2
ROLES = ("generator", "discriminator")
FIELD_KINDS = {"format_version": int, "role": str, "epoch": int, "keywords": dict, "model": dict}
BEST_NAME = "best.json"
MOST_BEST_BYTES = 65_536
SCALE = "kernel_score: 0 = other real music, 1 = noise with its spectrum"


AUTO_SPREAD = 20
"""In a long run of any length, `keep_every: auto` keeps from half this number of epochs to this number."""


class Best(NamedTuple):
    """The epoch whose compositions were judged nearest to music it never learned from."""

    epoch: int
    kernel_distance: float
    steps: int
    """Sampling steps it was judged with: its `auto`."""
    stage: str
    """The stage that it belongs to."""
    kernel_score: float | None = None
    """The distance on the ruler's scale (SCALE); None where an earlier version judged."""
    ruler: int = RULER_VERSION
    """Version of the ruler that judged: distances of two versions are not comparable."""

    @property
    def words(self) -> str:
        """Which one it is, and how it is played."""
        return f"epoch {self.epoch} of stage {self.stage}, in {counted(self.steps, 'step')}"


def checkpoint_path(folder: Path, role: str, epoch: int) -> Path:
    """`checkpoints/generator_epoch_690.pt`."""
    return Path(folder) / f"{role}_epoch_{epoch}.pt"


def list_epochs(folder: Path, role: str) -> list[int]:
    """Epochs of which the folder holds a checkpoint of this role, ascending."""
    pattern = re.compile(rf"{role}_epoch_(\d+)\.pt")
    names = (path.name for path in Path(folder).glob(f"{role}_epoch_*.pt"))
    return sorted(int(found.group(1)) for name in names if (found := pattern.fullmatch(name)))


def complete_epochs(folder: Path) -> list[int]:
    """Epochs of which generator and discriminator are both there, ascending."""
    return sorted(set(list_epochs(folder, "generator")) & set(list_epochs(folder, "discriminator")))


def epochs_to_keep(
    epochs: list[int], *, every: int | Literal["auto"], last: int, best: int | None, interval: int = 1
) -> list[int]:
    """The epochs of a run whose files are kept: the last few, the best, and some spread over the whole run.

    Parameters
    ----------
    epochs : list of int
        Ascending.
    every : int or `auto`
        Keep every n-th epoch. `auto`: keep every n-th save, where n is the smallest power of two that leaves at most
        AUTO_SPREAD. Each n is a multiple of the one before, so a growing run only ever deletes epochs, and never
        needs one that is gone.
    last : int
        How many of the newest stay.
    best : int, optional
    interval : int
        Epochs from one save to the next.
    """
    if every == "auto":
        every = interval
        while epochs and epochs[-1] // every > AUTO_SPREAD:
            every *= 2
    return [epoch for epoch in epochs if epoch % every == 0 or epoch in epochs[-last:] or epoch == best]


def find_epoch(folder: Path, role: str, epoch: int | str) -> int:
    """An epoch that exists; raises CheckpointError naming what there is.

    `latest` is the newest. `best` is the best judged one, or the newest, with a warning, where none was judged.
    """
    have = list_epochs(folder, role)
    if not have:
        raise CheckpointError(no_model_text(folder, role))
    if epoch == "best":
        best = read_best(folder)
        if best is not None and best.epoch in have:
            return best.epoch
        reason = "no composition was judged yet" if best is None else f"epoch {best.epoch}, the best, is gone"
        logging.getLogger(__name__).warning(f"{folder}: {reason}, so the newest epoch {have[-1]} is taken.")
        return have[-1]
    if epoch == "latest":
        return have[-1]
    if not re.fullmatch(r"[0-9]{1,12}", str(epoch)):
        raise CheckpointError(f"an epoch is a number, 'best' or 'latest', got {shown(epoch)}")
    if int(epoch) not in have:
        nearest = min(have, key=lambda other: abs(other - int(epoch)))
        raise CheckpointError(
            f"no {role} checkpoint for epoch {epoch} in {folder} "
            f"(have: {', '.join(map(str, have[-12:]))}). Try {nearest}."
        )
    return int(epoch)


def write_best(folder: Path, best: Best | None) -> None:
    """Remember the best epoch, or forget it (None)."""
    path = Path(folder) / BEST_NAME
    if best is None:
        path.unlink(missing_ok=True)
    else:
        write_whole(
            path, lambda file: file.write((json.dumps(best._asdict() | {"scale": SCALE}) + "\n").encode("ascii"))
        )


def mark_best(folder: Path, **facts: Any) -> None:
    """Note in `best.json`, if it is there, what became of the run: `is_ruined`, and the `verdict` in a sentence."""
    path = Path(folder) / BEST_NAME
    try:
        values = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(values, dict):
        write_json(path, values | facts)


def read_best(folder: Path) -> Best | None:
    """The best epoch of a folder; None where none was judged, or (with a warning) its file says nothing usable."""
    path = Path(folder) / BEST_NAME
    try:
        if path.stat().st_size > MOST_BEST_BYTES:
            raise ValueError("it is too large")
        return as_best(json.loads(path.read_text(encoding="ascii")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logging.getLogger(__name__).warning(
            f"{printable(path)} is passed over: {printable(error)[:120] or 'it cannot be read'}"
        )
        return None


def as_best(values: Any) -> Best:
    """What a file says of the best epoch, every field checked; raises ValueError."""
    if not isinstance(values, Mapping):
        raise ValueError("it says nothing of an epoch")
    fields: dict[str, Any] = {name: values.get(name) for name in Best._fields}
    if problem := outside(fields, {"epoch": EPOCH, "steps": SAMPLING_STEPS, "kernel_distance": FINITE}):
        raise ValueError(problem)
    if fields["kernel_score"] is not None and fields["kernel_score"] not in FINITE:
        raise ValueError(f"kernel_score must be {FINITE}, got {shown(fields['kernel_score'])}")
    fields["ruler"] = FIRST_RULER if fields["ruler"] is None else fields["ruler"]
    if not isinstance(fields["ruler"], int) or fields["ruler"] < FIRST_RULER:
        raise ValueError(f"ruler must be a whole number of {FIRST_RULER} or more, got {shown(fields['ruler'])}")
    stage = fields["stage"]
    if not isinstance(stage, str) or not stage.isprintable() or len(stage) > 40:
        raise ValueError("its stage is no name of one")
    return Best(**fields)


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all."""
    write_whole(path, lambda file: torch.save({"format_version": FORMAT_VERSION, **content}, file))


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file under a temporary name, then rename it: a reader never sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("r+b") as file:
            write(file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its own
        reason = error.strerror if isinstance(error, OSError) else "the file came out incomplete (is the disk full?)"
        raise CheckpointError(f"cannot write {path}: {reason}. Checkpoints before it are untouched.") from None


def read_checkpoint(path: Path, role: str) -> dict[str, Any]:
    """Read a checkpoint without ever running pickled code; raises CheckpointError."""
    refuse_compressed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the file is not
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint {path}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values, or is no checkpoint: refused"
        ) from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # bytes that nobody vouches for can fail in any way
        raise CheckpointError(f"{path} is damaged or cut off, or is no checkpoint") from None
    if not isinstance(content, dict) or not content.keys() >= FIELD_KINDS.keys():
        raise CheckpointError(f"{path} is not a MusiGAN checkpoint")
    for name, kind in FIELD_KINDS.items():
        if type(content[name]) not in (kind, OrderedDict if kind is dict else kind):
            raise CheckpointError(f"{path} is not a MusiGAN checkpoint: its {name} is no {kind.__name__}")
    if content["format_version"] < FORMAT_VERSION:
        raise CheckpointError(f"{path} was written by an older MusiGAN, with other networks: train anew")
    if content["format_version"] > FORMAT_VERSION:
        raise CheckpointError(f"{path} was written by a newer MusiGAN (format {content['format_version']})")
    if content["role"] != role:
        raise CheckpointError(f"{path} holds a {printable(content['role'])[:20]}, a {role} was expected")
    refuse_numbers(content, path)
    return content


def refuse_numbers(content: dict[str, Any], path: Path) -> None:
    """Every number of a model that asks for a size or a time is within its bounds; raises CheckpointError.

    Numbers that have tensors of their size are held against them when the network is built; these have none, and
    a file of a few bytes could ask for days.
    """
    if not are_plain(content["keywords"]):
        raise CheckpointError(f"{path} is damaged: its keywords build no network")
    limits = bounds.MODEL if content["role"] == "generator" else bounds.JUDGES
    problem = outside(content, {"epoch": EPOCH}) or outside(content["keywords"], limits)
    if problem := problem or odd_together(content["keywords"]):
        raise CheckpointError(f"{path} is damaged: its {problem}")
    for name in ("model", "average"):
        state = content.get(name) or {}
        if not holds_tensors(state):
            raise CheckpointError(f"{path} is damaged: its {name} holds more than named tensors")
        if odd := not_finite(state):
            raise CheckpointError(f"{path} is damaged: {printable(odd)[:60]} of its {name} is not finite")
        steps = state.get("default_steps")
        if steps is not None and (steps.numel() != 1 or int(steps) not in SAMPLING_STEPS):
            raise CheckpointError(f"{path} is damaged: its default_steps must be {SAMPLING_STEPS}")


def odd_together(keywords: Mapping[str, Any]) -> str | None:
    """What is wrong with keywords that are each within their bounds; None if all is well."""
    channels, heads = keywords.get("attention_channels"), keywords.get("num_heads")
    if channels is not None and heads is not None and channels % (2 * heads):
        return "attention_channels must be a multiple of twice its num_heads"
    windows = keywords.get("wave_windows", [])
    if not isinstance(windows, list) or any(window not in bounds.WINDOW_SAMPLES or window % 4 for window in windows):
        return f"wave_windows must be multiples of 4, each {bounds.WINDOW_SAMPLES}"
    return None


def refuse_compressed(path: Path) -> None:
    """A checkpoint is stored, never compressed: a small file that unpacks into a large one is refused unread."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception:  # no archive, or a damaged one: the reader will say so
        return
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path} is compressed, which no checkpoint is: refused")


def are_plain(keywords: Any) -> bool:
    """Whether keywords are what networks are built from: see `is_plain`."""
    return isinstance(keywords, dict) and all(map(is_plain, keywords.values()))


def is_plain(value: Any) -> bool:
    """Whether a keyword's value may stand in a checkpoint: a number, a short list of numbers, or a short name."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31

    if isinstance(value, str):
        return value.isidentifier() and len(value) <= 32
    return is_number(value) or (isinstance(value, list) and len(value) <= 16 and all(map(is_number, value)))


def holds_tensors(state: Any) -> bool:
    """Whether a state is names of tensors, none of which claims more numbers than it holds."""
    return isinstance(state, dict) and all(
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
        for name, value in state.items()
    )
