"""Songs on the workers of a Ray cluster, which may come, go and die meanwhile."""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any

from data_prep.runners.own_child import run_apart
from data_prep.runners.runner import IN_FLIGHT, SCHEDULER_WAIT_SECONDS, missing_engine
from data_prep.worker_pool import TaskEvent, Tick
from piano.foundation.errors import DatasetError, MusiganError
from piano.foundation.screen_text import printable

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
except ImportError:
    raise missing_engine("ray") from None

TRIES = 3
"""After the first, for a task whose worker dies."""


def run_on_ray(
    function: Callable[[Any, Tick], Any], tasks: Sequence[Any], *, address: str, folders: Sequence[str]
) -> Generator[TaskEvent, None, None]:
    """A `Runner`: every task is one of Ray's, tried again on another worker where one dies.

    Parameters
    ----------
    function, tasks
        See `Runner`.
    address : str
        Of the cluster; `auto` is the one of this machine.
    folders : sequence of str
        What every worker must see.
    """
    if not tasks:
        return
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            _knock(address)
            ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"no Ray cluster answers at {printable(address)} ({printable(str(error))}). Start one with "
            "`ray start --head`; one that asks for a token finds it in RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token."
        ) from None
    try:
        run = ray.remote(max_retries=TRIES)(run_apart)
        waiting, running = iter(enumerate(tasks)), {}
        for index, task in waiting:
            running[run.remote(function, task, folders)] = index
            while len(running) >= IN_FLIGHT:
                yield _next(running, address)
        while running:
            yield _next(running, address)
    finally:
        if is_ours:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise an OSError where nobody listens: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SCHEDULER_WAIT_SECONDS).close()


def _next(running: dict[Any, int], address: str) -> TaskEvent:
    """Wait for a task to end, and take it out; raises a DatasetError where that is the cluster's fault."""
    reference = ray.wait(list(running), num_returns=1)[0][0]
    index = running.pop(reference)
    try:
        work, result, failure = ray.get(reference)
    except (WorkerCrashedError, NodeDiedError, OutOfMemoryError):
        return TaskEvent(index, is_finished=True, failure="every worker that had it died")
    except Exception as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, MusiganError):
            raise cause from None
        raise DatasetError(
            f"the Ray cluster at {printable(address)} could not run a song: "
            f"{printable(f'{type(cause).__name__}: {cause}'.splitlines()[0])}. Its workers need this version of "
            "MusiGAN. What is finished is kept."
        ) from None
    return TaskEvent(index, work, is_finished=True, result=result, failure=failure)
