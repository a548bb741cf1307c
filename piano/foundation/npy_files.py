""".npy files of plain numbers: opened without believing what their headers claim, and written."""

import math
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from piano.foundation.errors import DatasetError
from piano.foundation.made_files import reserve_room
from piano.foundation.screen_text import printable


class ArrayLayout(NamedTuple):
    """What the header of a .npy file says."""

    shape: tuple[int, ...]
    is_fortran: bool
    kind: np.dtype


def read_array(path: Path, *, mapped: bool, hint: str) -> np.ndarray:
    """The array of a .npy file; no pickled object is ever loaded, and no header is believed beyond the file's end.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, or no .npy file of plain numbers; `hint` ends the sentence.
    """
    stream, _ = open_array(path, hint=hint)
    stream.close()
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # bytes that nobody vouches for can fail in any way
        raise _unopened(path, error, hint) from None


def open_array(path: Path, *, hint: str) -> tuple[BinaryIO, ArrayLayout]:
    """A .npy file of plain numbers, open at its first number, and what its header says.

    Raises
    ------
    DatasetError
        As `read_array`.
    """
    try:
        # A pipe would be waited for, a device never ends.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no file")
        stream = open(path, "rb")  # noqa: SIM115 (the caller closes it)
        try:
            layout = _read_array_header(stream)
            if layout.kind.hasobject:
                raise ValueError("it holds Python objects, not numbers: refused")
            claimed = math.prod(layout.shape) * layout.kind.itemsize
            if min(layout.shape, default=0) < 0 or claimed > os.fstat(stream.fileno()).st_size - stream.tell():
                raise ValueError("its header claims more numbers than the file holds")
        except BaseException:
            stream.close()
            raise
    except Exception as error:  # bytes that nobody vouches for can fail in any way
        raise _unopened(path, error, hint) from None
    return stream, layout


def _unopened(path: Path, error: Exception, hint: str) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"cannot open {path}: there is no such file. {hint}")
    reason = printable(" ".join(str(error).split())[:120]) or type(error).__name__
    return DatasetError(f"cannot open {path}: {reason}. {hint}")


def _read_array_header(stream: BinaryIO) -> ArrayLayout:
    """Shape, order and kind of number; raises ValueError."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, is_fortran, kind = readers[np.lib.format.read_magic(stream)](stream)
    except Exception:  # numpy's reader of headers fails in a dozen ways
        raise ValueError("its header describes no array of numbers") from None
    return ArrayLayout(shape, is_fortran, kind)


def begin_array(stream: BinaryIO, kind: np.dtype, shape: tuple[int, ...]) -> int:
    """Write the header of a .npy file whose numbers follow, and claim the room for them all.

    Returns
    -------
    int
        Where the first number goes.

    Raises
    ------
    OSError
        If the disk has no room for them.
    """
    np.lib.format.write_array_header_1_0(stream, {"descr": kind.str, "fortran_order": False, "shape": shape})
    stream.flush()
    first = stream.tell()
    reserve_room(stream.fileno(), first + math.prod(shape) * kind.itemsize)
    return first


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file; unlike `np.save`, a full disk raises an OSError that says so."""
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(np.ascontiguousarray(array).data)
