"""Text that is safe to show: file names and tags may hold escape codes."""

import argparse
import difflib
import io
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

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


def counted(count: float, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`, `3,000 files`, `0.5 files`; `plural` where it is not the noun with an s."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:,.6g}"
    return f"{number} {noun if count == 1 else plural or noun + 's'}"


def band_texts(value: float, low: float, high: float, short: Callable[[float], str]) -> tuple[str, str, str]:
    """A value and the ends of its band in enough digits to see on which side of them it lies.

    Parameters
    ----------
    value, low, high : float
    short : callable
        How a number is written where that is enough; its minus may be a typographic one.
    """
    numbers = (value, low, high)

    def is_seen(texts: Sequence[str]) -> bool:
        try:
            first, begin, end = (float(text.replace("\u2212", "-")) for text in texts)
        except ValueError:
            return True  # a number that does not exist
        return (first < begin, first > end) == (value < low, value > high)

    texts = [tuple(map(short, numbers))]
    texts += [tuple(f"{number:.{digits}f}" for number in numbers) for digits in range(1, 10)]
    first, begin, end = next(filter(is_seen, texts), texts[-1])
    return first, begin, end


def wrapped(text: str, columns: int = 79) -> str:
    """A text for 80 columns, broken between words; an indented line is a command and stays whole."""
    return "\n".join(
        line if line.startswith("  ") else textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def columns(most: int = 100, least: int = 40) -> int:
    """Width of the terminal, within limits; 80 where it is not known."""
    return max(least, min(most, shutil.get_terminal_size((80, 24)).columns))


def command_lines(line: str, width: int | None = None) -> str:
    """A command line as it can be typed or copied, broken before its options where it is wider than the terminal.

    Parameters
    ----------
    line : str
        With the indent it shall have.
    width : int, optional
        In columns (default: the terminal's).
    """
    width = width or columns()
    if len(line) <= width or os.name != "posix":  # other shells go on in a next line in other ways
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    lines = [""]
    for part in re.split(r" (?=--[a-z])", line):
        joined = f"{lines[-1]} {part}" if lines[-1] else part
        if not lines[-1] or len(joined) <= width - 2:
            lines[-1] = joined
        else:
            lines.append(f"{indent}{part}")
    return " \\\n".join(lines)


def text_table(rows: Sequence[Sequence[str]], *, width: int, indent: str = "  ", left: Sequence[int] = (0,)) -> str:
    """Rows of cells in columns that are as wide as they must be, with as much room between them as there is.

    Parameters
    ----------
    rows : sequence of rows
        All of one length; the first is the head.
    width : int
        In columns, that the table should not exceed.
    left : sequence of int
        Columns that begin at their left edge; the others end at their right one.
    """
    widest = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    room = width - len(indent) - sum(widest)
    gap = " " * max(1, min(3, room // max(len(widest) - 1, 1)))
    lines = []
    for row in rows:
        cells = [
            cell.ljust(size) if place in left else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, widest, strict=True))
        ]
        lines.append(f"{indent}{gap.join(cells)}".rstrip())
    return "\n".join(lines)


def fitting_table(wide: Sequence[Sequence[str]], narrow: Sequence[Sequence[str]], **words: Any) -> str:
    """The first of two tables that fits the terminal: `wide`, else `narrow`; see `text_table`."""
    width = columns(most=160)
    table = text_table(wide, width=width, **words)
    is_fitting = max(map(len, table.split("\n"))) <= width
    return table if is_fitting else text_table(narrow, width=width, **words)


def wrapped_lines(text: str, width: int | None = None) -> str:
    """Lines that stay lines, broken between words where they are wider than the terminal; what goes on is indented."""
    width = width or columns()
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        lines.append(
            textwrap.fill(
                line.lstrip(),
                width,
                initial_indent=indent,
                subsequent_indent=f"{indent}  " if indent else "",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def for_screen(text: str, stream: TextIO) -> str:
    """A text for a terminal, its long lines broken between words, commands whole; as it is for a file or a pipe."""
    is_terminal = hasattr(stream, "isatty") and stream.isatty()
    return wrapped(text, columns()) if is_terminal else text


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal: paragraphs are wrapped, indented lines are commands and stay commands."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks: list[str] = []
        paragraph: list[str] = []
        for line in [*text.strip("\n").split("\n"), ""]:
            if line.strip() and not line.startswith(" "):
                paragraph.append(line.strip())
                continue
            if paragraph:
                blocks.append(wrapped(" ".join(paragraph), width))
                paragraph = []
            blocks.append(_example_line(line.rstrip(), width))
        return "\n".join(f"{indent}{line}".rstrip() for line in "\n".join(blocks[:-1]).split("\n"))


class CommandParser(argparse.ArgumentParser):
    """The command line of a command: its help fits the terminal, and of a wrong option it says which one is meant.

    Parameters
    ----------
    file_option : str
        With which option a file is given that was named without one; empty where files have no place.
    """

    def __init__(self, *, file_option: str = "", **words: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **words})
        self.file_option = file_option

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse, but for the sentence about what is not known."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {printable(' '.join(unknown))}{self._meant(unknown)}")
        return options

    def _meant(self, unknown: Sequence[str]) -> str:
        """What the first unknown word was probably meant to be; empty if nothing is near."""
        known = {name.lstrip("-"): name for name in self._option_string_actions if name.startswith("--")}
        first = unknown[0].partition("=")[0]
        if near := nearest(first.lstrip("-").replace("_", "-"), known):
            return f". Did you mean {known[near]}?"
        if self.file_option and not first.startswith("-"):
            return f". A file is given with {self.file_option}: {self.file_option} {shlex.quote(printable(first))}"
        return ""


def _example_line(line: str, width: int) -> str:
    """A command, and what it does under it where both do not fit beside each other."""
    if len(line) <= width:
        return line
    shown = re.fullmatch(r"( +\S.*?)(?: {2,}(\S.*))?", line)
    if shown is None or shown[2] is None:
        return command_lines(line, width)
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    words = textwrap.fill(shown[2], width, initial_indent=indent, subsequent_indent=indent)
    return f"{command_lines(shown[1], width)}\n{words}"


def join_names(names: Sequence[str]) -> str:
    """one, two and three"""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


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
