"""Where trained models lie: a run's own folder, or the model that comes with the project, called `shipped`."""

import contextlib
from pathlib import Path

from piano.foundation.doors import train_first
from piano.foundation.screen_text import nearest, printable

SHIPPED = "shipped"
SUFFIX = ".safetensors"
SOURCES_NAME = "SOURCES.tsv"
"""Beside a model that is given away: the music that it learned from."""


def shipped_folder() -> Path:
    """`checkpoints/shipped` beside the project, or the copy inside an installed package; it need not hold a model."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "checkpoints" / SHIPPED
    return beside if holds_shipped(beside) or not (package / SHIPPED).is_dir() else package / SHIPPED


def holds_shipped(folder: Path) -> bool:
    """Whether a folder holds a generator in the format in which models are given away."""
    return (Path(folder) / f"generator{SUFFIX}").is_file()


def named_folder(name: Path | str) -> Path:
    """A folder as it was named: `shipped` is the project's model, unless there is a folder of that name here."""
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # ~nobody: there is no such folder, as whoever looks into it will say
        path = path.expanduser()
    return shipped_folder() if path == Path(SHIPPED) and not path.is_dir() else path


def holds_model(folder: Path) -> bool:
    """Whether a folder holds a generator: of a run, or given away."""
    return any(folder.glob("generator_epoch_*.pt")) or holds_shipped(folder)


def no_model_text(folder: Path, role: str) -> str:
    """What to say where a folder holds no network of a role: the folder that is probably meant, or how to get one."""
    if not folder.exists():
        beside = [SHIPPED]
        with contextlib.suppress(OSError):
            beside += [path.name for path in folder.absolute().parent.iterdir() if path.is_dir()]
        if near := nearest(folder.name, beside):
            return f"there is no folder {printable(folder)}. Did you mean {printable(near)}?"
    return f"no {role} checkpoint in {printable(folder)}. {train_first()}"
