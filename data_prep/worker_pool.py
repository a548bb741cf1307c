"""Worker processes that survive what a hostile file does to one of them.

A decoder in C may crash or never return. Each worker holds one task at a time and gives a sign of life while it works,
so the one that died or fell silent is known with its task, and is replaced.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from piano.foundation.errors import MusiganError

Tick = Callable[[float], None]
"""A task calls this now and then with the units of work done since the last call; that shows that it is alive."""
TICK_SECONDS = 0.25
MOST_WORKERS = 60
"""Windows waits for at most 63 handles, and no disk can supply more workers."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CANNOT_START = (
    "a worker process ended before it could begin (exit code {code}). A script that prepares music must call it under "
    '`if __name__ == "__main__":`; inside a worker of another pool (joblib, loky), call it in a process of its own, '
    "or let that pool decode the files itself."
)


class TaskEvent(NamedTuple):
    """What `run_tasks` reports."""

    index: int
    """Of the task."""
    work: float = 0.0
    """Units of work done since the last event of this task."""
    is_finished: bool = False
    result: Any = None
    failure: str = ""
    """Why there is no result: the exception, `the decoder crashed`, or `no progress`. Empty if there is one."""


def run_tasks(
    function: Callable[[Any, Tick], Any], tasks: Sequence[Any], *, workers: int, stall_seconds: float = 600.0
) -> Generator[TaskEvent, None, None]:
    """Run `function(task, tick)` for every task in separate processes.

    Inside a process that may have no children (a worker of multiprocessing or Dask) the tasks run right here, one after
    the other: then a decoder that crashes or hangs takes this process with it.

    Parameters
    ----------
    function : callable
        Importable by name; gets a task and the `Tick` to call.
    tasks : sequence
        Anything that can be pickled; begun in this order.
    workers : int
        Processes at the same time, `MOST_WORKERS` at most.
    stall_seconds : float
        A worker that gives no sign of life for so long is killed.

    Yields
    ------
    TaskEvent
        Progress, and one finished event for every task in the order in which they end.

    Raises
    ------
    MusiganError
        No worker can be started here: that is no fault of the tasks.
    """
    if multiprocessing.current_process().daemon:
        yield from _run_here(function, tasks)
        return
    waiting = list(reversed(range(len(tasks))))
    pool: list[Worker] = []
    try:
        pool += [Worker(function) for _ in range(min(workers, MOST_WORKERS, len(tasks)))]
        for worker in pool:
            worker.start(waiting.pop(), tasks)
        while busy := [worker for worker in pool if worker.index is not None]:
            wait([worker.connection for worker in busy], timeout=0.5)
            for worker in busy:
                for event in worker.events(stall_seconds):
                    yield event
                    if event.is_finished and waiting:
                        worker.start(waiting.pop(), tasks)
    finally:
        for worker in pool:
            worker.stop()


def _run_here(function: Callable[[Any, Tick], Any], tasks: Sequence[Any]) -> Iterator[TaskEvent]:
    for index, task in enumerate(tasks):
        done: list[float] = []
        result, failure = _attempt(function, task, done.append)
        yield TaskEvent(index, sum(done), is_finished=True, result=result, failure=failure)


def _attempt(function: Callable[[Any, Tick], Any], task: Any, tick: Tick) -> tuple[Any, str]:
    """(result, why there is none)"""
    try:
        return function(task, tick), ""
    except MusiganError as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


class ChildProcess(Protocol):
    """What `Worker` asks of a process; `multiprocessing.Process` has it."""

    @property
    def exitcode(self) -> int | None:
        """None while it lives."""
        ...

    def is_alive(self) -> bool: ...
    def kill(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...


def spawn(function: Callable[[Any, Tick], Any]) -> tuple[ChildProcess, Connection]:
    """A process that serves a function, and the end of the connection to it."""
    context = multiprocessing.get_context("spawn")
    connection, far_end = context.Pipe()
    process = context.Process(target=serve, args=(far_end, function, os.getpid()), daemon=True)
    with _single_threaded():
        process.start()
    far_end.close()
    return process, connection


class Worker:
    """The parent's end of one process.

    Parameters
    ----------
    function : callable
        What it does with a task.
    begin : callable
        Starts a process that serves the function.
    """

    connection: Connection

    def __init__(
        self,
        function: Callable[[Any, Tick], Any],
        begin: Callable[[Callable[[Any, Tick], Any]], tuple[ChildProcess, Connection]] = spawn,
    ) -> None:
        self._function, self._begin = function, begin
        self.index: int | None = None
        """Of the task it holds."""
        self._launch()

    def _launch(self) -> None:
        self._is_ready = False
        self._process, self.connection = self._begin(self._function)

    def start(self, index: int, tasks: Sequence[Any]) -> None:
        """Give it a task."""
        self.index = index
        self._last_sign = time.monotonic()
        if not self._process.is_alive():
            self._launch()
        with contextlib.suppress(BrokenPipeError):  # it died just now: `events` will tell
            self.connection.send(tasks[index])

    def events(self, stall_seconds: float) -> Iterator[TaskEvent]:
        """What the worker has reported, or that it died or fell silent."""
        assert self.index is not None
        try:
            while self.index is not None and self.connection.poll():
                self._last_sign = time.monotonic()
                message = self.connection.recv()
                self._is_ready = True
                if message is None:
                    continue
                work, is_finished, result, failure = message
                event = TaskEvent(self.index, work, is_finished, result, failure)
                if is_finished:
                    self.index = None
                yield event
                if is_finished:
                    return
        except (EOFError, OSError):
            if not self._is_ready:  # no fault of the task: every other one would end the same way
                raise MusiganError(_CANNOT_START.format(code=self._join())) from None
            yield self._give_up(f"the decoder crashed (exit code {self._join()})")
            return
        if time.monotonic() - self._last_sign > stall_seconds:
            self._process.kill()
            self._join()
            yield self._give_up(f"no progress for {stall_seconds:g} s")

    def _give_up(self, failure: str) -> TaskEvent:
        assert self.index is not None
        event = TaskEvent(self.index, is_finished=True, failure=failure)
        self.index = None
        self.connection.close()
        return event

    def _join(self) -> int | None:
        self._process.join(timeout=10)
        return self._process.exitcode

    def stop(self) -> None:
        """End the process; a task it still holds is abandoned."""
        if self.index is not None:
            self._process.kill()
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
        self.connection.close()


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Child processes started inside use one thread each: there is a process per core already."""
    before = {name: os.environ.get(name) for name in THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def serve(connection: Connection, function: Callable[[Any, Tick], Any], parent: int) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which stops the workers
    _silence_decoders()
    with contextlib.suppress(OSError):
        connection.send(None)  # ready
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        if task is None:
            return
        tick = _Ticker(connection, parent)
        result, failure = _attempt(function, task, tick)
        try:
            connection.send((tick.work, True, result, failure))
        except OSError:
            return


class _Ticker:
    """Passes work on to the parent, a few times a second; ends this process if the parent is gone."""

    def __init__(self, connection: Connection, parent: int) -> None:
        self._connection, self._parent = connection, parent
        self._last = time.monotonic()
        self.work = 0.0

    def __call__(self, work: float) -> None:
        if os.getppid() != self._parent:
            os._exit(1)
        self.work += work
        if time.monotonic() - self._last < TICK_SECONDS:
            return
        self._connection.send((self.work, False, None, ""))
        self.work, self._last = 0.0, time.monotonic()


def _silence_decoders() -> None:
    """Discard the C-level stderr of this process: libmpg123 writes its warnings there."""
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
