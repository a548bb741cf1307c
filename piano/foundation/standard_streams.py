"""stdin, stdout and stderr that always exist: missing ones are opened, and a reader that leaves ends nothing.

A training of hours does not die with its `tee`, its ssh or its terminal: what it would say goes nowhere from then on.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET, errno.ESTALE)
"""What a write says whose reader is gone: a pipe, a terminal, a closed descriptor, a socket, a drive of the network."""
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
"""`train > log.txt` on a full disk: the work goes on, but the command does not end as if all were well."""
UNREAD = b"Nobody reads the output any more; the work goes on without showing it.\n"


def open_standard_streams() -> None:
    """Give the process a stdin, stdout and stderr where it was started without (`2>&-`, some services).

    Without them the next file that is opened would get number 2, and everything written to stderr.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            _to_nowhere(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 (lives as long as the process)


@contextlib.contextmanager
def outliving_readers(*, is_work: bool) -> Iterator[list[OSError]]:
    """Inside, stdout and stderr take everything, also when whoever read them is gone.

    Yields a list of what a full disk refused of stdout, which is complete when the block is left.

    Parameters
    ----------
    is_work : bool
        Whether something is made that goes on unseen: then stderr, if it can still be read, says so.
    """
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    refused: list[OSError] = []
    says = {"stdout": UNREAD if is_work else b"", "stderr": b""}
    own = {name: _outliving(stream, says[name], refused) for name, stream in before.items()}
    for name, stream in own.items():
        setattr(sys, name, stream)
    try:
        yield refused
    finally:
        for name, stream in before.items():
            with contextlib.suppress(OSError, ValueError):
                own[name].flush()
            if getattr(sys, name) is own[name]:
                setattr(sys, name, stream)


class _Outliving(io.FileIO):
    """A descriptor that is led into nothing at the first byte it refuses."""

    def __init__(self, number: int, says: bytes, refused: list[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._says = says
        self._refused = refused

    def write(self, data: Any, /) -> int:
        """All of the data, to the reader or to nobody."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (*GONE, *FULL):
                raise
            _to_nowhere(self.fileno())
            if error.errno in FULL and self.fileno() == 1:
                self._refused.append(error)
            elif self._says:
                with contextlib.suppress(OSError):
                    os.write(2, self._says)
            return len(data)


def _outliving(stream: Any, says: bytes, refused: list[OSError]) -> Any:
    """A stream that writes to the same descriptor; itself, where it has none of its own (a test's, a notebook's)."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    try:
        number = stream.fileno()
        if number not in (1, 2):
            return stream
        with contextlib.suppress(OSError):
            stream.flush()
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Outliving(number, says, refused)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through or number == 2,
        write_through=stream.write_through,
    )


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    else:
        os.set_inheritable(number, True)  # a worker process would start without it, and lend the number to a pipe
