"""Until all processes of a run have met, each waits for the others inside PyTorch, where nothing reaches it.

A thread watches meanwhile: a process that ends before it has met the others, and a request to stop, end the wait.
Nothing was begun yet, so nothing is lost. Afterwards `Peers` watches.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from piano.foundation.errors import EXIT_SIGNAL, EXIT_USER_ERROR, PREFIX
from piano.foundation.first_process import is_first_process
from piano.foundation.stop_signals import SIGNALS

TICK_SECONDS = 0.2


@contextlib.contextmanager
def meeting(others: Sequence[subprocess.Popen]) -> Iterator[None]:
    """End this process, and `others`, if one of them ends inside, or if it is asked to stop.

    Parameters
    ----------
    others : sequence of Popen
        The processes that this one has started, or starts inside. Who was started by another one ends when that is
        gone.
    """
    has_met = threading.Event()
    with _asked() as signals:
        watch = threading.Thread(
            target=_watch, args=(others, signals, os.getppid(), has_met), name="meeting", daemon=True
        )
        watch.start()
        try:
            yield
        finally:
            has_met.set()
            watch.join()


@contextlib.contextmanager
def _asked() -> Iterator[socket.socket | None]:
    """Where the numbers of signals arrive at once, even while the main thread is inside PyTorch; None elsewhere."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            yield here
        finally:
            signal.set_wakeup_fd(before)


def _watch(
    others: Sequence[subprocess.Popen], signals: socket.socket | None, parent: int, has_met: threading.Event
) -> None:
    while not has_met.is_set():
        if signals is None:
            has_met.wait(TICK_SECONDS)
        elif select.select([signals], [], [], TICK_SECONDS)[0]:
            for number in signals.recv(64):
                if number in SIGNALS and not has_met.is_set():
                    _end(others, EXIT_SIGNAL + number, "Stopped before anything was begun.")
        for rank, other in enumerate(others, start=1):
            if (status := other.poll()) is not None and not has_met.is_set():
                died = f"signal {-status}" if status < 0 else f"status {status}"
                sentence = (
                    f"process {rank + 1} of {len(others) + 1} on this machine ended with {died} before the run began. "
                    "What it said stands above. Nothing was lost: start the command again when that is mended."
                )
                _end(others, EXIT_USER_ERROR, f"{PREFIX}{sentence}")
        if not is_first_process() and os.getppid() != parent and not has_met.is_set():
            _end(others, EXIT_USER_ERROR, "")


def _end(others: Sequence[subprocess.Popen], status: int, sentence: str) -> None:
    """End all: the main thread waits inside an exchange and cannot be woken."""
    for other in others:
        other.kill()
    for other in others:
        other.wait()
    with contextlib.suppress(OSError, ValueError):
        if is_first_process():
            print(sentence, file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(status)
