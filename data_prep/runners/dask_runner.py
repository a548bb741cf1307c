"""Songs on the workers of a Dask cluster, which may come, go and die meanwhile."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from data_prep.runners.own_child import run_apart
from data_prep.runners.runner import IN_FLIGHT, SCHEDULER_WAIT_SECONDS, WORKER_WAIT_SECONDS, missing_engine
from data_prep.worker_pool import TaskEvent, Tick
from piano.foundation.errors import DatasetError, MusiganError
from piano.foundation.screen_text import printable, wrapped

try:
    from dask.distributed import Client, Future, KilledWorker, as_completed
except ImportError:
    raise missing_engine("dask") from None


def run_on_dask(
    function: Callable[[Any, Tick], Any], tasks: Sequence[Any], *, address: str, folders: Sequence[str]
) -> Generator[TaskEvent, None, None]:
    """A `Runner`: every task is one of Dask's, tried again on another worker where one dies.

    Parameters
    ----------
    function, tasks
        See `Runner`.
    address : str
        Of the scheduler.
    folders : sequence of str
        What every worker must see.
    """
    if not tasks:
        return
    with _connected(address) as client:
        waiting, running = iter(range(len(tasks))), {}

        def submit() -> list[Future]:
            index = next(waiting, None)
            if index is None:
                return []
            future = client.submit(run_apart, function, tasks[index], folders, pure=False)
            running[future.key] = index
            return [future]

        done = as_completed([future for _ in range(IN_FLIGHT) for future in submit()], loop=client.loop)
        for future in done:
            index = running.pop(future.key)
            yield _event(index, future, address)
            for following in submit():
                done.add(following)


def _connected(address: str) -> Client:
    try:
        client = Client(address, timeout=SCHEDULER_WAIT_SECONDS, set_as_default=False)
        if not client.scheduler_info()["workers"]:
            print(wrapped(f"waiting up to {WORKER_WAIT_SECONDS:g} s for a worker of {printable(address)}"), flush=True)
        client.wait_for_workers(1, timeout=WORKER_WAIT_SECONDS)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"no Dask cluster with a worker answers at {printable(address)} ({printable(str(error))}). Start one with "
            "`dask scheduler` and `dask worker ADDRESS`."
        ) from None
    return client


def _event(index: int, future: Future, address: str) -> TaskEvent:
    """What a future that ended says; raises a DatasetError where that is the cluster's fault."""
    if future.status == "finished":
        work, result, failure = future.result()
        return TaskEvent(index, work, is_finished=True, result=result, failure=failure)
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):  # as often as `distributed.scheduler.allowed-failures` says
        return TaskEvent(index, is_finished=True, failure="every worker that had it died")
    if isinstance(error, MusiganError):
        raise error
    why = f"{type(error).__name__}: {error}" if error else f"the scheduler gave it up ({future.status})"
    raise DatasetError(
        f"the Dask cluster at {printable(address)} could not run a song: {printable(why)}. Its workers need this "
        "version of MusiGAN. What is finished is kept."
    )
