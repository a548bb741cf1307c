"""Reads rows of .npy files by their number, with plain reads.

A mapped file that is cut off meanwhile, or lies on a drive that fails, would end the process without a word; a plain
read is an error with a sentence, and about as fast (`benchmarks/bench_store.py`).
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from piano.foundation.errors import DatasetError
from piano.foundation.npy_files import open_array
from piano.foundation.screen_text import printable

_MOST_OPEN, _LEAST_OPEN = 512, 16


class RowFile:
    """A .npy file of rows, open for reading; it is closed when nobody holds it any more.

    Parameters
    ----------
    path : Path
    kind : np.dtype
        That its numbers must have.
    columns : int
        That its rows must have.
    hint : str
        Ends the sentences of the errors.
    known : (int, int), optional
        `layout` of the same file when it was opened before: its header is not read again.

    Raises
    ------
    DatasetError
        If the file is missing, damaged or of another kind.
    """

    def __init__(
        self, path: Path, kind: np.dtype, columns: int, *, hint: str, known: tuple[int, int] | None = None
    ) -> None:
        self._path, self._kind, self._columns, self._hint = path, kind, columns, hint
        self._lock = threading.Lock()
        if known is not None:
            try:
                self._stream = open(path, "rb")  # noqa: SIM115 (closed with this object)
            except OSError as error:
                raise DatasetError(f"cannot open {printable(path)}: {error.strerror or error}. {hint}") from None
            self._first_byte, self.rows = known
            return
        self._stream, layout = open_array(path, hint=hint)
        self._first_byte = self._stream.tell()
        self.rows = layout.shape[0] if layout.shape else 0
        """How many there are."""
        if (layout.kind, layout.shape[1:], layout.is_fortran) != (kind, (columns,), False):
            self._stream.close()
            raise DatasetError(
                f"{printable(path)} holds {layout.kind} of shape {layout.shape}, not rows of {columns} {kind}. {hint}"
            )

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    @property
    def layout(self) -> tuple[int, int]:
        """Where the rows begin, and how many there are."""
        return self._first_byte, self.rows

    def read(self, first: int, count: int) -> np.ndarray:
        """Rows `first` to `first + count` [shape=(count, columns)]; raises DatasetError."""
        row_bytes = self._columns * self._kind.itemsize
        wanted, place = count * row_bytes, self._first_byte + first * row_bytes
        try:
            data = self._read_bytes(wanted, place)
        except OSError as error:
            raise DatasetError(f"cannot read {printable(self._path)}: {error.strerror or error}.") from None
        if first < 0 or len(data) != wanted:
            raise DatasetError(f"{printable(self._path)} ends before row {first + count}. {self._hint}")
        return np.frombuffer(data, dtype=self._kind).reshape(count, self._columns)

    def _read_bytes(self, wanted: int, place: int) -> bytes:
        if not hasattr(os, "pread"):  # Windows
            with self._lock:
                self._stream.seek(place)
                return self._stream.read(wanted)
        data = os.pread(self._stream.fileno(), wanted, place)
        while 0 < len(data) < wanted:  # a system gives at most 2 GiB at once
            more = os.pread(self._stream.fileno(), wanted - len(data), place + len(data))
            if not more:
                break
            data += more
        return data


class RowFiles:
    """Many files of rows of one kind; only so many are open at once as a process may have.

    Parameters
    ----------
    paths : sequence of Path
    kind, columns, hint
        See `RowFile`.
    """

    def __init__(self, paths: Sequence[Path], kind: np.dtype, columns: int, *, hint: str) -> None:
        self._paths, self._kind, self._columns, self._hint = paths, kind, columns, hint
        self._open: OrderedDict[int, RowFile] = OrderedDict()
        self._known: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._most = _most_open()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> RowFile:
        with self._lock:
            file = self._open.get(index)
            if file is None:
                path, known = self._paths[index], self._known.get(index)
                file = RowFile(path, self._kind, self._columns, hint=self._hint, known=known)
                self._open[index], self._known[index] = file, file.layout
                if len(self._open) > self._most:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(index)
            return file


def _most_open() -> int:
    """A quarter of the files that this process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST_OPEN // 4
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_OPEN if allowed < 0 else min(max(allowed // 4, _LEAST_OPEN), _MOST_OPEN)
