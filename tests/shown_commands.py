"""The command lines that documents show, and whether what they name exists."""

import contextlib
import functools
import importlib
import io
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from musigan import VERBS

PROJECT = Path(__file__).resolve().parent.parent
_COMMAND = re.compile(r"(?<![\w./-])((?:[\w./]*/)?musigan|(?:[\w./]*/)?python3?|\$\(RUN\))(?: -m)? [^`\n|&#]+")
_ROOTS = ("piano", "data_prep", "tutorial", "tests", "benchmarks")


class Shown(NamedTuple):
    """A command line of a document."""

    verb: str
    """A verb of `musigan`, or the file of another script, relative to the project."""
    options: list[str]
    """Every `--option` of it, without its value."""
    words: list[str]
    """All of it."""


def script(verb: str) -> Path:
    """File of a verb's module, relative to the project."""
    return Path(*VERBS[verb].module.split(".")).with_suffix(".py")


def is_placeholder(word: str) -> bool:
    """Whether a word stands for others: VERB, FILE, NAME.py, ..."""
    return word.partition(".")[0].isupper() or word in ("...", "VERB")


def shown_commands(text: str) -> list[Shown]:
    """Every command line in a text that starts a command of ours, whether it exists or not."""
    by_file = {script(verb).as_posix(): verb for verb in VERBS} | {verb.module: name for name, verb in VERBS.items()}
    by_name = {script(verb).name: verb for verb in VERBS if script(verb).name not in ("command.py", "report.py")}
    found = []
    for match in _COMMAND.finditer(text.replace("\\\n", " ")):
        line = match[0].replace("$(RUN)", "python").replace("\\", "/")
        try:
            words = shlex.split(line)
        except ValueError:  # it ends inside a quotation that began before it
            words = line.replace('"', " ").replace("'", " ").split()
        is_module = len(words) > 1 and words[1] == "-m"
        words = [word for word in words if word != "-m"]
        front, *rest = words
        if is_module and rest and rest[0] == "musigan":
            front, *rest = rest
        target = rest[0].rstrip(".,:;)") if rest else ""
        if not target or target.startswith("-"):
            continue
        if front.endswith("musigan"):
            verb = target
        elif is_module:
            verb = by_file.get(target, target.replace(".", "/") + ".py" if target.split(".")[0] in _ROOTS else "")
        elif target.endswith(".py"):
            verb = by_file.get(target, by_name.get(target, target))
        else:
            verb = ""
        if verb and not is_placeholder(verb):
            found.append(Shown(verb, [word.split("=")[0] for word in words if word.startswith("--")], words))
    return found


@functools.cache
def help_of(verb: str) -> str:
    """What a verb says to --help, asked inside this process."""
    said = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="200"),
        mock.patch("sys.argv", ["musigan"]),
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
    ):
        importlib.import_module(VERBS[verb].module).main(["--help"])
    return said.getvalue()


@functools.cache
def options_of(verb: str) -> frozenset[str]:
    """Every option of a verb, or of another script (read from its text and from what it imports of ours).

    An empty set: there is no such verb or script.
    """
    if verb in VERBS:
        return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_of(verb)))
    path = PROJECT / verb
    if path.suffix != ".py" or not path.is_file():
        return frozenset()
    texts = [path.read_text(encoding="utf-8")]
    for name in re.findall(r"^(?:from|import) ([\w.]+)", texts[0], re.MULTILINE):
        for near in (PROJECT / "benchmarks" / f"{name}.py", PROJECT / Path(*name.split(".")).with_suffix(".py")):
            texts += [near.read_text(encoding="utf-8")] if near.is_file() else []
    return frozenset({"--help", *re.findall(r"\"(--[a-z][a-z-]*)\"", "\n".join(texts))})


def unknown_options(commands: list[Shown]) -> list[str]:
    """Verbs and scripts that do not exist, and options that those which do exist do not have."""
    wrong = []
    for verb, options, _ in commands:
        known = options_of(verb)
        if not known:
            wrong.append(f"no such command: {verb}")
        wrong += [f"{verb} {option}" for option in options if known and option not in known]
    return wrong
