"""The bytes of a sound file as decoders ask for them, and what the disk refused to give.

Decoders take a failing disk for the end of the file. Here it is remembered, so that a song is not taken for damaged
because a drive was away for a minute.
"""

import errno
import os
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from piano.foundation.errors import AudioError, PassingError
from piano.foundation.screen_text import printable

_SHORTER = "it became shorter while it was read"
_PASSING = {
    getattr(errno, name, errno.EIO)
    for name in (
        "EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EREMOTEIO", "ENOMEDIUM", "ENODEV", "ENXIO", "EHOSTDOWN",
        "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNABORTED", "ESHUTDOWN", "ENOLINK", "ECOMM",
        "EAGAIN", "EINTR", "EBUSY", "EMFILE", "ENFILE", "ENOMEM",
    )
}  # fmt: skip


class SourceFile:
    """A file open for reading, which keeps the first error of its disk.

    Parameters
    ----------
    path : Path

    Raises
    ------
    AudioError
        If it is no file, empty, or may not be read.
    PassingError
        If the disk or the network fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self._at = 0
        try:
            if not path.is_file():  # a fifo would block for ever
                raise AudioError(f"{printable(path)} is not a file that can be read.")
            self._raw = open(path, "rb", buffering=0)  # noqa: SIM115
            self.size = os.fstat(self._raw.fileno()).st_size
        except OSError as error:
            raise read_error(path, error) from None

    def __enter__(self) -> "SourceFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read_into(self, position: int, buffer: memoryview) -> int:
        """Fill the buffer from `position` on, as far as one call of the system goes; 0 at the end of the file."""
        if position >= self.size or not len(buffer):
            return 0
        try:
            if position != self._at:
                self._raw.seek(position)
            count = self._raw.readinto(buffer) or 0
            self._at = position + count
            if count == 0:
                raise OSError(errno.EIO, _SHORTER)
        except OSError as error:
            self.error, self._at = self.error or error, -1
            raise
        return count

    def check(self) -> None:
        """Raise PassingError if the disk has refused anything so far, or the file is shorter by now."""
        if self.error is None and os.fstat(self._raw.fileno()).st_size < self.size:
            self.error = OSError(errno.EIO, _SHORTER)
        if self.error is not None:
            raise read_error(self.path, self.error, passing=True)

    def check_to_the_end(self) -> None:
        """`check`, after reading everything: for decoders that read by themselves and stopped early."""
        buffer, position = memoryview(bytearray(1 << 20)), 0
        try:
            while count := self.read_into(position, buffer):
                position += count
        except OSError:
            pass
        self.check()

    def whole(self) -> "SourcePart":
        """All of it."""
        return SourcePart(self, [(0, self.size)])


def read_error(path: Path, error: OSError, *, passing: bool = False) -> AudioError:
    """The sentence for a file that could not be read: PassingError where another try may succeed."""
    reason = f"cannot read {printable(path)}: {error.strerror or error}"
    if passing or error.errno in _PASSING:
        return PassingError(f"{reason}. The disk or the network failed, not the file: try again.")
    return AudioError(f"{reason}.")


class SourcePart:
    """Some bytes, then ranges of a file, as one file to read.

    Parameters
    ----------
    source : SourceFile
    ranges : iterable of (start, end)
        Bytes of the file.
    prefix : bytes
        Stands in front of them.
    """

    def __init__(self, source: SourceFile, ranges: Iterable[tuple[int, int]], prefix: bytes = b"") -> None:
        self.source = source
        self._prefix = prefix
        self._starts: list[int] = []
        self._offsets: list[int] = []
        size = len(prefix)
        for start, end in ranges:
            if end > start:
                self._starts.append(start)
                self._offsets.append(size)
                size += end - start
        self.size = size
        self._ends = [*self._offsets[1:], size]
        self._position = 0

    def ranges(self, start: int, end: int) -> list[tuple[int, int]]:
        """The bytes of the file behind the bytes [start, end) of this part, the prefix not counted."""
        found = []
        for first, offset, stop in zip(self._starts, self._offsets, self._ends, strict=True):
            low, high = max(start, offset), min(end, stop)
            if low < high:
                found.append((first + low - offset, first + high - offset))
        return found

    def part(self, start: int, end: int, prefix: bytes = b"") -> "SourcePart":
        """The bytes [start, end) of this part, behind another prefix."""
        own = self._prefix[start:end] if start < len(self._prefix) else b""
        return SourcePart(self.source, self.ranges(start, min(end, self.size)), prefix + own)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = min(max(0, base + offset), self.size)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes; raises OSError."""
        count = self.size - self._position if size < 0 else min(size, self.size - self._position)
        data = bytearray(count)
        filled = self._fill(memoryview(data))
        return bytes(data[:filled])

    def read_at(self, position: int, count: int) -> bytes:
        """Bytes from a position on, fewer at the end; raises OSError."""
        self._position = min(max(0, position), self.size)
        return self.read(count)

    def readinto(self, buffer: Any) -> int:
        """For libsndfile, which can be told of no error: 0 then, and the source remembers it."""
        try:
            return self._fill(memoryview(buffer).cast("B"))
        except OSError:
            return 0

    def _fill(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and self._position < self.size:
            if self._position < len(self._prefix):
                piece = self._prefix[self._position : self._position + len(buffer) - done]
                buffer[done : done + len(piece)] = piece
                count = len(piece)
            else:
                index = bisect_right(self._offsets, self._position) - 1
                most = min(len(buffer) - done, self._ends[index] - self._position)
                place = self._starts[index] + self._position - self._offsets[index]
                count = self.source.read_into(place, buffer[done : done + most])
                if count == 0:
                    break
            done += count
            self._position += count
        return done
