"""A task inside somebody else's worker, in a child process of its own: a decoder that crashes costs its song only.

A worker of Dask or Ray that dies takes the songs of its other threads along, and may not have children by
`multiprocessing`. So each thread of such a worker keeps one child, started by `subprocess`, which ends with it.
"""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from data_prep.worker_pool import THREAD_SETTINGS, ChildProcess, Tick, Worker, serve, spawn
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import printable

STALL_SECONDS = 600.0
_held = threading.local()


class Outcome(NamedTuple):
    """What became of a task."""

    work: float
    result: Any
    failure: str
    """Why there is no result; empty if there is one."""


def run_apart(
    function: Callable[[Any, Tick], Any], task: Any, folders: Sequence[str], stall_seconds: float = STALL_SECONDS
) -> Outcome:
    """Run `function(task, tick)` in the child of this thread.

    Parameters
    ----------
    function : callable
        Importable by name.
    task
        Anything that can be pickled.
    folders : sequence of str
        What this machine must see.
    stall_seconds : float
        A child that gives no sign of life for so long is killed.

    Raises
    ------
    DatasetError
        This machine does not see one of the folders.
    """
    for folder in folders:
        if not os.path.exists(folder):
            raise DatasetError(
                f"the worker on {printable(socket.gethostname())} does not see {printable(folder)}. Every worker needs "
                "the music and --output under the same names, on a drive that they share."
            )
    worker = _worker(function)
    work = 0.0
    worker.start(0, [task])
    while True:
        wait([worker.connection], timeout=0.5)
        for event in worker.events(stall_seconds):
            work += event.work
            if event.is_finished:
                return Outcome(work, event.result, event.failure)


def _worker(function: Callable[[Any, Tick], Any]) -> Worker:
    """The child of this thread, for this function."""
    key = pickle.dumps(function)  # two partial functions are never equal, what they consist of is
    kept: tuple[bytes, Worker] | None = getattr(_held, "worker", None)
    if kept is None or kept[0] != key:
        if kept is not None:
            kept[1].stop()
        kept = (key, Worker(function, begin=spawn if sys.platform == "win32" else _begin))
        _held.worker = kept
    return kept[1]


class _Child:
    """A `Popen` in the words of `multiprocessing.Process`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)


def _begin(function: Callable[[Any, Tick], Any]) -> tuple[ChildProcess, Connection]:
    """A child with one thread that finds the modules that this process finds."""
    connection, far_end = Pipe()
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(THREAD_SETTINGS, "1")}
    code = "from data_prep.runners.own_child import be_child; be_child()"
    arguments = [sys.executable, "-P", "-c", code, str(far_end.fileno()), str(os.getpid())]
    process = subprocess.Popen(arguments, env=environment, pass_fds=[far_end.fileno()], stdin=subprocess.DEVNULL)
    far_end.close()
    with contextlib.suppress(OSError):  # it died at once: the first event will tell
        connection.send(function)
    return _Child(process), connection


def be_child() -> None:
    """Body of the child: the number of its end of the connection and its parent stand in its arguments."""
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    try:
        function = connection.recv()
    except EOFError:
        return
    serve(connection, function, parent)
