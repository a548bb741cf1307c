"""Where trained models lie: a run's own folder, or one of the models that come with the project, by its name."""

import contextlib
from pathlib import Path

from piano.foundation.doors import train_first
from piano.foundation.screen_text import nearest, printable

SHIPPED = "shipped"
"""The model that plays by default; to begin with, the nearest of MODELS (`piano.watching.nearest_model`)."""
MODELS = (SHIPPED, "mixed")
"""Those that come with the project: folders of checkpoints/, or of an installed package."""
RENAMED_MODELS = {"stereo": SHIPPED}
"""Names that models had, and what they are called now."""
SUFFIX = ".safetensors"
SOURCES_NAME = "SOURCES.tsv"
"""Beside a model that is given away: the music that it learned from."""


def shipped_folder() -> Path:
    """`checkpoints/shipped`: where the model lies that plays by default; it need not hold one."""
    return project_folder(SHIPPED)


def project_folder(name: str) -> Path:
    """`checkpoints/NAME` beside the project, or the copy inside an installed package; it need not hold a model."""
    name = RENAMED_MODELS.get(name, name)
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "checkpoints" / name
    return beside if holds_shipped(beside) or not (package / name).is_dir() else package / name


def project_models() -> dict[str, Path]:
    """The models that come with the project and are here: folders by name."""
    return {name: folder for name in MODELS if holds_shipped(folder := project_folder(name))}


def project_name(folder: Path) -> str:
    """What one of the project's models is called; empty for any other folder."""
    place = Path(folder).resolve()
    return next((name for name in MODELS if project_folder(name).resolve() == place), "")


def holds_shipped(folder: Path) -> bool:
    """Whether a folder holds a generator in the format in which models are given away."""
    return (Path(folder) / f"generator{SUFFIX}").is_file()


def is_model_name(name: Path | str) -> bool:
    """Whether this names one of the project's models, and not a folder of that name here."""
    return str(name) in (*MODELS, *RENAMED_MODELS) and not Path(name).is_dir()


def named_folder(name: Path | str) -> Path:
    """A folder as it was named: `shipped` is the project's model, unless there is a folder of that name here."""
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # ~nobody: there is no such folder, as whoever looks into it will say
        path = path.expanduser()
    return project_folder(str(path)) if is_model_name(path) else path


def holds_model(folder: Path) -> bool:
    """Whether a folder holds a generator: of a run, or given away."""
    return any(folder.glob("generator_epoch_*.pt")) or holds_shipped(folder)


def no_model_text(folder: Path, role: str) -> str:
    """What to say where a folder holds no network of a role: the folder that is probably meant, or how to get one."""
    if not folder.exists():
        beside = list(project_models())
        with contextlib.suppress(OSError):
            beside += [path.name for path in folder.absolute().parent.iterdir() if path.is_dir()]
        if near := nearest(folder.name, beside):
            return f"there is no folder {printable(folder)}. Did you mean {printable(near)}?"
    return f"no {role} checkpoint in {printable(folder)}. {train_first()}"
