"""Text that is safe to show: file names and tags may hold escape codes."""

import difflib
import io
import os
import shlex
import sys
import textwrap
from collections.abc import Iterable

NEAR = 0.7
"""How like a known name an unknown one must be (difflib's ratio) for the known one to be meant."""

_FORMULA_SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is taken for a formula; the last four are their full-width forms."""


def printable(text: object) -> str:
    """The text with control and undecodable characters spelled out, so that no name can steer the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in str(text)
    )


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`, `3,000 files`; `plural` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def wrapped(text: str, columns: int = 79) -> str:
    """A text for 80 columns, broken between words; an indented line is a command and stays whole."""
    return "\n".join(
        line
        if line.startswith("  ")
        else textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def wrapped_command(text: str, columns: int = 79) -> str:
    """A command line for 80 columns, broken before its options in the way of a shell; on Windows it stays whole.

    Parameters
    ----------
    text : str
        Quoted for the shell; words in front such as `Next:` may lead.
    columns : int
    """
    if os.name == "nt" or len(text) <= columns:
        return text
    parts: list[str] = []
    for word in shlex.split(text):
        if parts and not word.startswith("--"):
            parts[-1] += f" {shlex.quote(word)}"
        else:
            parts.append(shlex.quote(word))
    lines = parts[:1]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= columns:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}")
    return " \\\n".join(lines)


def csv_cell(value: object) -> object:
    """A value as a cell of a CSV file that people open in a spreadsheet: numbers stay as they are.

    A text that a spreadsheet would take for a formula gets a `'` in front.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None where none is near, for a wrong guess is worse than none."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=NEAR)), None)


def meant(name: str, known: Iterable[str]) -> str:
    """` Did you mean melody?`, or ` There are: ...` where no known name is near."""
    names = sorted(known)
    near = nearest(name, names)
    return f" Did you mean {near}?" if near else f" There are: {', '.join(names)}."


def tolerate_old_terminals() -> None:
    """Let a letter that the terminal's encoding lacks be spelled out instead of stopping the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
