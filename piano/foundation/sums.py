"""SHA256SUMS: the hash of every file of a folder, in the format of coreutils' `sha256sum`, which checks it too."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from piano.foundation.errors import CheckpointError
from piano.foundation.made_files import write_bytes
from piano.foundation.receipt import is_below
from piano.foundation.screen_text import printable

SUMS_NAME = "SHA256SUMS"
_MOST_BYTES = 1 << 22
"""Of a list; a folder that is given away has tens of files."""
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")


class Differences(NamedTuple):
    """How a folder differs from its list; names as in the list, sorted."""

    missing: list[str]
    changed: list[str]
    unlisted: list[str]

    @property
    def lines(self) -> list[str]:
        """A line for every file that is not as it was written."""
        return [
            *(f"{printable(name)}: missing" for name in self.missing),
            *(f"{printable(name)}: changed since it was listed" for name in self.changed),
            *(f"{printable(name)}: not listed in {SUMS_NAME}" for name in self.unlisted),
        ]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal digits; raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> Path:
    """Write the list for files of a folder.

    Parameters
    ----------
    folder : Path
    names : iterable of str
        Relative to the folder, with `/`.
    """
    lines = []
    for name in sorted(names):
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{chr(92) if escaped != name else ''}{hash_file(folder / name)}  {escaped}\n")
    path = folder / SUMS_NAME
    write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"))
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """Hashes by name.

    Raises
    ------
    CheckpointError
        There is no list, or it is none.
    """
    path, shown = folder / SUMS_NAME, printable(folder / SUMS_NAME)
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {SUMS_NAME} in {printable(folder)}.") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror}.") from None
    if len(data) > _MOST_BYTES:
        raise CheckpointError(f"{shown} is far too long for the list of a model's files.")
    sums = {}
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line:
            continue
        found = _LINE.fullmatch(line)
        name = _unescaped(found[3]) if found and found[1] else found[3] if found else ""
        if found is None or not is_below(name):
            raise CheckpointError(f"line {number} of {shown} is none of sha256sum's about a file in this folder.")
        sums[name] = found[2]
    return sums


def compare_sums(folder: Path, sums: Mapping[str, str]) -> Differences:
    """Hold a folder against its list. Hidden files (a dot in front) and the list itself are passed over."""
    missing, changed = [], []
    for name, expected in sorted(sums.items()):
        path = folder / name
        try:
            if not path.is_file():  # a pipe would be waited for
                missing.append(name)
            elif hash_file(path) != expected:
                changed.append(name)
        except OSError:
            changed.append(name)
    return Differences(missing, changed, sorted(set(files_below(folder)) - set(sums)))


def files_below(folder: Path) -> list[str]:
    """Names of all files in a folder and those inside it, with `/`, but for hidden ones and the list."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in sorted(files) if not name.startswith(".")]
    return [name for name in found if name != SUMS_NAME]


def unchanged(folder: Path) -> set[str]:
    """Files of a folder that are as its list has them; empty where there is no list."""
    try:
        sums = read_sums(folder)
    except CheckpointError:
        return set()
    differences = compare_sums(folder, sums)
    return set(sums) - {*differences.missing, *differences.changed}


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), name)
