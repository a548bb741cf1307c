"""The verbs of `musigan`, and how to call them through the door that this process came in by.

A hint must be a command that works where it is read: whoever started `musigan train` is told `musigan generate`,
whoever started `python piano/piano_main.py` is told `python piano/generate_music.py`.
"""

import os
import re
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from piano.foundation.screen_text import printable


class Verb(NamedTuple):
    """Where a verb lives and what it does."""

    module: str
    """Module whose `main(argv)` is the command."""
    summary: str
    """One line for `musigan --help`."""


VERBS: dict[str, Verb] = {
    "demo": Verb("piano.demo", "hear the shipped model; learn twelve old scores; one page"),
    "prepare": Verb("data_prep.prepare_dataset", "bring music to one rate and level, with a report"),
    "dataset": Verb("data_prep.create_dataset", "divide prepared music into training and validation pairs"),
    "train": Verb("piano.piano_main", "pretrain and train the generator and the discriminator"),
    "play": Verb("piano.play.command", "music without end in the browser, as it is made"),
    "generate": Verb("piano.generate_music", "music from noise, or what a fragment goes on to"),
    "reproduce": Verb("piano.reproduce", "make a sound again from its receipt; is it the same?"),
    "export": Verb("piano.export_model", "turn a checkpoint into a folder that can be given away"),
    "verify": Verb("piano.verify", "is a model that was given away as its maker wrote it?"),
    "check-discriminator": Verb("piano.check_discriminator", "let every discriminator judge one generator's music"),
    "evaluate": Verb("piano.evaluate", "hold a generator's music against real music, in numbers"),
    "compare": Verb("piano.compare", "which of two runs makes better music, if it can be told"),
    "doctor": Verb("piano.checkup.command", "why a run failed; what this machine can train"),
    "report": Verb("piano.report.report", "hear a run learn, on one offline page with all about it"),
    "listen": Verb("piano.report.listen_page", "the old name of report, kept for one release"),
    "render-scores": Verb("data_prep.render_scores", "play the built-in piano scores into audio files"),
    "arrange-band": Verb("data_prep.arrange_band", "make music for bands by rule, in many styles"),
}

_PROJECT = Path(__file__).resolve().parents[2]
_VERB = re.compile(r"\{musigan ([a-z-]+)\}")
_front = "musigan"


def installed_version() -> str:
    """Version of the installed package, or a word for a plain folder."""
    try:
        return version("musigan")
    except PackageNotFoundError:
        return "not installed, run from its folder"


def enter_front() -> str:
    """Remember how the front door was typed (`musigan`, `.venv/bin/musigan`, `python musigan.py`); returns it.

    A command that starts others says in MUSIGAN_FRONT what was typed, so that their hints fit too.
    """
    global _front
    if told := os.environ.get("MUSIGAN_FRONT"):
        _front = printable(told)
        return _front
    typed = sys.argv[0] if sys.argv else ""
    path = Path(typed)
    if path.suffix == ".py":
        is_module = getattr(sys.modules.get("__main__"), "__spec__", None) is not None
        _front = "python -m musigan" if is_module else f"python {shlex.quote(typed)}"
    elif path.stem == "musigan":
        on_path = shutil.which("musigan")
        is_found = on_path is not None and os.path.realpath(on_path) == os.path.realpath(path)
        _front = "musigan" if is_found or path.parent == Path() else shlex.quote(typed)
    return _front


def front() -> str:
    """The front door as hints name it."""
    return _front


def command(verb: str, *arguments: object) -> str:
    """The command line of a verb as a person can type it here, with its arguments quoted for the shell.

    Parameters
    ----------
    verb : str
        A key of VERBS.
    arguments
        Words after the command; paths may be among them.
    """
    return " ".join(
        [_start(verb), *(shlex.quote(os.fspath(word) if isinstance(word, Path) else str(word)) for word in arguments)]
    )


def train_first() -> str:
    """What to do where nothing was trained yet, from a folder of music on."""
    return (
        f"Train first: {command('prepare', 'FOLDER')} (the folder holds your music), then {command('dataset')}, "
        f"then {command('train')}."
    )


def program(verb: str) -> str:
    """What argparse shall call this command: as it was typed, for the verb that runs; see `command`."""
    name = sys.argv[0] if sys.argv else ""
    script = Path(*VERBS[verb].module.split(".")).with_suffix(".py").name
    if _door() == "script" and Path(name).name == script:
        return f"python {name}"
    return _start(verb)


def fill(text: str) -> str:
    """A text with every `{musigan VERB}` in it turned into the command of that verb."""
    return _VERB.sub(lambda match: _start(match[1]), text)


def _door() -> str:
    """How this process was started: script, module or front."""
    name = sys.argv[0] if sys.argv else ""
    modules = {verb.module for verb in VERBS.values()}
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if getattr(spec, "name", "") in modules:
        return "module"
    scripts = {f"{module.rpartition('.')[2]}.py" for module in modules}
    return "script" if Path(name).name in scripts and spec is None else "front"


def _start(verb: str) -> str:
    door, module = _door(), VERBS[verb].module
    if door == "module":
        return f"python -m {module}"
    if door == "script":
        script = _PROJECT / Path(*module.split(".")).with_suffix(".py")
        try:
            return f"python {shlex.quote(os.path.relpath(script))}"
        except (ValueError, OSError):  # another drive; a folder that is gone
            return f"python {shlex.quote(str(script))}"
    return f"{_front} {verb}"
