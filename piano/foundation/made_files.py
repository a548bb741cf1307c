"""Files that are made: under a temporary name until they are whole, and never in the place of other work.

One rule for temporary names, `.NAME.8 hexadecimal digits.part`, and one clearing for what a kill left behind. A live
process holds a lock on its temporary file, so that nobody else clears it away. A file gets its name when its bytes are
on the disk, not before: after a power cut, too, it is whole or not there.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from piano.foundation.errors import ConfigError, MusiganError
from piano.foundation.screen_text import printable

_LEFTOVER = re.compile(
    r"\..+\.[0-9a-f]{8}\.part"
    r"|\.trial\.[0-9a-f]{8}|\..+\.part\.png|\.[^.]+\.part"  # names of earlier versions
    r"|(generator|discriminator|best|config|\w+_epoch_\d+)\.part\d+"
)
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_ABANDONED_SECONDS = 86_400.0
"""Where files cannot be locked, a temporary file of this age belongs to no running command."""


def temporary_name(path: Path) -> Path:
    """A name beside `path` for what is not whole yet; a new one at every call."""
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A temporary file for what will be `path`, kept from clearing while the body runs; it is gone afterwards.

    The body writes into the name that it gets (in place: a file put there anew is not locked), and then hands it to
    `publish`, `publish_together` or `put_in_place`.
    """
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        if not _try_lock_part(descriptor):
            os.close(descriptor)
            descriptor = -1
        yield temporary
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` when the body ends; if it raises, `path` stays as it was."""
    with unfinished(path) as temporary:
        yield temporary
        put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its name; what had the name is gone."""
    bring_to_disk(temporary)
    os.replace(temporary, path)


def second_name(source: Path, path: Path) -> bool:
    """Give a file a second name (a hard link), in place of what had it; False where that is not possible."""
    temporary = temporary_name(path)
    try:
        os.link(source, temporary)
        os.replace(temporary, path)
    except OSError:
        return False
    finally:
        temporary.unlink(missing_ok=True)  # two names of one file are not renamed into one
    return True


def bring_to_disk(path: Path) -> None:
    """Wait until the bytes of a file that is closed are on the disk; raises OSError where it is full after all."""
    with open(path, "r+b") as stream:
        os.fsync(stream.fileno())


def reserve_room(descriptor: int, size: int) -> None:
    """Claim so many bytes on the disk for an open file, before they are written.

    Where nothing can be claimed (macOS, Windows, some network drives) the writes themselves will tell.

    Raises
    ------
    OSError
        If the disk has no room for them.
    """
    if not hasattr(os, "posix_fallocate") or size <= 0:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it: half a file is never seen."""
    with replacing(path) as temporary, open(temporary, "r+b") as stream:
        stream.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, then rename it."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode("ascii"))


def numbered(path: Path) -> Iterator[Path]:
    """`path` itself, then name-2, name-3 ... with the same suffix."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file and wait until it is on the disk; on a line of its own also where the last was cut off."""
    with path.open("ab+") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - 1, 0))
        begin = b"" if stream.read(1) in (b"", b"\n") else b"\n"
        stream.write(begin + line + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def publish(temporary: Path, path: Path) -> Path:
    """Give a finished temporary file the first free name of `numbered(path)`; nothing that is there is replaced.

    Two processes at once get two names.

    Returns
    -------
    Path
        The name that it got.
    """
    bring_to_disk(temporary)
    for name in numbered(path):
        if _claim(temporary, name):
            return name
    raise AssertionError("numbers do not end")


def publish_together(made: Mapping[str, Path], path: Path) -> list[Path]:
    """Give files that belong together names of one number: path + ending, then path-2 + ending ... if one is taken.

    Parameters
    ----------
    made : mapping of str -> Path
        Finished temporary files by the endings of their names (`.full.wav`).
    path : Path
        Folder and name without an ending.

    Returns
    -------
    list of Path
        The names that they got, in order.
    """
    for temporary in made.values():
        bring_to_disk(temporary)
    for start in numbered_starts(path):
        names = [start.with_name(start.name + ending) for ending in made]
        if any(os.path.lexists(name) for name in names):
            continue
        claimed = []
        for temporary, name in zip(made.values(), names, strict=True):
            if not _claim(temporary, name):  # another process came between: its file stays, ours go
                break
            claimed.append(name)
        else:
            return names
        for temporary, name in zip(made.values(), claimed, strict=False):
            if not temporary.exists():  # moved, where there are no hard links
                os.replace(name, temporary)
            else:
                name.unlink()
    raise AssertionError("numbers do not end")


def numbered_starts(path: Path) -> Iterator[Path]:
    """`path` itself, then path-2, path-3 ...: like `numbered`, for a name that still gets an ending."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}-{number}")


def _claim(temporary: Path, name: Path) -> bool:
    """Give a temporary file a name if that is free; says whether it was."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    except OSError:  # no hard links here (FAT, some network drives): take the name, then fill it
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(temporary, name)
    return True


def refuse_other_work(
    path: Path,
    *,
    is_own: Callable[[Path], bool],
    overwrite: bool,
    error: type[MusiganError] = ConfigError,
    other: str = "--output",
    held: str = "other work",
    advice: str = "",
) -> None:
    """Raise an error if `path` is there and holds something else than what may be made anew, without --overwrite.

    Parameters
    ----------
    path : Path
    is_own : callable
        Whether what is there is an earlier state of the same work (the report of the same run).
    overwrite : bool
        Whether --overwrite was given.
    error : type
        What to raise.
    other : str
        The option with which another place is chosen.
    held : str
        What is there, in words.
    advice : str
        What to do instead of choosing by that option, where a command can be named.
    """
    if overwrite or not (path.exists() or path.is_symlink()):
        return
    with contextlib.suppress(OSError, ValueError):
        if is_own(path):
            return
    advice = advice or f"Choose another place with {other}, or replace it with --overwrite."
    raise error(f"{printable(path)} is there already and holds {held}. {advice}")


def claim_results(
    folder: Path, names: Iterable[str], *, command: str, of: Iterable[Path], overwrite: bool, other: str = "--output"
) -> None:
    """Take a folder for the results of a command about certain folders, or refuse if it holds those about others.

    Parameters
    ----------
    folder : Path
        Exists.
    names : iterable of str
        Files that the command writes there: results of an earlier version, which left no mark, are not replaced either.
    command : str
        Which command it is.
    of : iterable of Path
        What the results are about, all of it: a run and the music that it was held against. Only the same measured
        again replaces its own results.
    overwrite : bool
        Whether --overwrite was given.
    other : str
        The option with which another place is chosen.

    Raises
    ------
    ConfigError
        There are results about something else.
    """
    mark = folder / f".{command}-of.json"
    mine = [str(path.resolve()) for path in of]

    marked: Any = None
    with contextlib.suppress(OSError, ValueError):
        marked = json.loads(mark.read_text(encoding="ascii"))
    held = "other work"
    if isinstance(marked, list) and marked and all(isinstance(path, str) for path in marked):
        held += f" (about {' and '.join(printable(Path(path).name or path) for path in marked)})"
    for name in names:
        refuse_other_work(folder / name, is_own=lambda _: marked == mine, overwrite=overwrite, other=other, held=held)
    write_json(mark, mine)


def clear_leftovers(folder: Path) -> list[Path]:
    """Remove temporary files that dead processes left in a folder (not in those inside it); returns what was removed.

    Files of live processes stay: they hold a lock. Nothing is raised: clearing is a courtesy.
    """
    removed = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if _LEFTOVER.fullmatch(path.name) and path.is_file() and not path.is_symlink() and _is_abandoned(path):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed.append(path)
    return removed


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file; the operating system frees it when the file is closed or its process dies.

    Returns
    -------
    bool or None
        Whether the lock was free and is held now; None where files cannot be locked.
    """
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:
        return None


def _try_lock_part(descriptor: int) -> bool | None:
    """`try_lock` for a temporary file; on Windows, where an open file could not be renamed, there is no lock on it."""
    return None if sys.platform == "win32" else try_lock(descriptor)


def _is_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        locked = _try_lock_part(descriptor)
        age = time.time() - os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
    return locked if locked is not None else age > _ABANDONED_SECONDS
