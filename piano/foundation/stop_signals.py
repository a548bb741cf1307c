"""A request to stop: the first Ctrl-C, SIGTERM or closed terminal is kept in mind, the second ends the process."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# Windows has no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
NOTICE = b"\nStopping: this step is finished and everything is saved first.\nOnce more stops at once.\n"


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that asked, or None."""


@contextlib.contextmanager
def stoppable(*, is_loud: bool = True) -> Iterator[StopRequest]:
    """Catch the signals that ask a process to stop; outside the main thread there are none.

    Parameters
    ----------
    is_loud : bool
        Whether to say on stderr that the request was heard.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def remember(number: int, _: FrameType | None) -> None:
        request.signal = number
        for name in before:
            signal.signal(name, signal.SIG_DFL)
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        elif is_loud:
            with contextlib.suppress(OSError):
                os.write(2, NOTICE)

    # A signal that is ignored stays so: that is what nohup asks for.
    before = {name: signal.getsignal(name) for name in SIGNALS if signal.getsignal(name) != signal.SIG_IGN}
    for name in before:
        signal.signal(name, remember)
    try:
        yield request
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _leave_terminal() -> None:
    """A terminal that was closed refuses every byte: what would be written to it goes nowhere instead."""
    for stream in (1, 2):
        if os.isatty(stream) or _is_gone(stream):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)


def _is_gone(stream: int) -> bool:
    try:
        os.write(stream, b"")
    except OSError:
        return True
    return False
