"""One run at a time in a folder: a lock that the operating system frees when a process dies, however it dies."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from piano.foundation.errors import DatasetError, MusiganError
from piano.foundation.made_files import clear_leftovers, temporary_name, try_lock
from piano.foundation.screen_text import printable

LOCK_NAME = ".lock"


@contextlib.contextmanager
def locked_folder(folder: Path, *, error: type[MusiganError] = DatasetError, other: str = "--output") -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it is missing.

    The lock lies on the open file and not in its bytes: nothing is left behind by a kill or a power cut. What earlier
    runs left half-written in the folder is cleared away.

    Parameters
    ----------
    folder : Path
    error : type
        What to raise.
    other : str
        The option with which another folder is chosen.

    Raises
    ------
    MusiganError
        Another run holds the lock, or nothing can be written in the folder.
    """
    shown = printable(folder)
    with _open_lock(folder, error, other) as stream:
        if try_lock(stream.fileno()) is False:  # None: a file system that knows no locks is taken to be free
            raise error(f"another run is working in {shown}. Wait for it, or use another {other}.")
        clear_leftovers(folder)
        yield


@contextlib.contextmanager
def shared_folder(folder: Path, *, error: type[MusiganError] = DatasetError, other: str = "--output") -> Iterator[None]:
    """Work in a folder, which is made if it is missing, beside others who do the same; `locked_folder` is kept out.

    Where shared locks are not known (Windows, some network drives) nobody is kept out.

    Raises
    ------
    MusiganError
        Somebody holds the folder alone, or nothing can be written in it.
    """
    with _open_lock(folder, error, other) as stream:
        if not _try_reading_lock(stream.fileno()):
            raise error(f"another run is working in {printable(folder)}. Wait for it, or use another {other}.")
        yield


def _open_lock(folder: Path, error: type[MusiganError], other: str) -> BinaryIO:
    """The lock file of a folder that can be written in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_writing(folder)
        return open(folder / LOCK_NAME, "a+b")
    except (FileExistsError, NotADirectoryError):
        raise error(
            f"{printable(folder)} is a file, or lies in one, and not a folder. Choose another folder with {other}."
        ) from None
    except OSError as problem:
        raise error(
            f"cannot write in {printable(folder)}: {problem.strerror or problem}. Choose another folder with {other}."
        ) from None


@contextlib.contextmanager
def reading_folder(folder: Path, *, error: type[MusiganError] = DatasetError) -> Iterator[None]:
    """Keep a folder as it is while it is read: who wants to change it is refused meanwhile.

    Many may read at once. A folder without a lock file, or on a file system or system that knows no shared locks, is
    read without one; nothing is written into it.

    Raises
    ------
    MusiganError
        Somebody is changing it.
    """
    try:
        stream = open(folder / LOCK_NAME, "rb")  # noqa: SIM115 (closed below)
    except OSError:
        yield
        return
    with stream:
        if not _try_reading_lock(stream.fileno()):
            raise error(f"another run is working in {printable(folder)}. Wait until it has ended.")
        yield


def _try_writing(folder: Path) -> None:
    """An old lock file can be opened where no new file can be made."""
    trial = temporary_name(folder / "trial")
    try:
        trial.write_bytes(b"?")
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def _try_reading_lock(descriptor: int) -> bool:
    """False if somebody holds the lock of `try_lock`; a system or file system that knows no shared locks is free."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second is how some network drives say it
        return False
    except OSError:
        return True
    return True
