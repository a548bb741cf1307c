"""What a runner is: it takes a function and tasks to processes somewhere, and reports every task that ends."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from data_prep.worker_pool import TaskEvent, Tick
from piano.foundation.errors import ConfigError

IN_FLIGHT = 1_000
"""Tasks that a cluster has at a time: enough for hundreds of cores, and a scheduler never holds a million."""
SCHEDULER_WAIT_SECONDS = 10.0
"""How long the head of a cluster may take to answer."""
WORKER_WAIT_SECONDS = 60.0
"""How long a cluster without a worker is waited for."""


class Runner(Protocol):
    """Runs `function(task, tick)` for every task, somewhere.

    A task whose process dies costs its own result and no other. Events come in the order in which tasks end; a runner
    far away reports no work in between. A MusiganError means that nothing can run there: that is no task's fault.
    """

    def __call__(
        self, function: Callable[[Any, Tick], Any], tasks: Sequence[Any]
    ) -> Generator[TaskEvent, None, None]: ...


def missing_engine(name: str) -> ConfigError:
    """The error to raise where the engine of a runner is not installed."""
    return ConfigError(
        f'--runner {name} needs {name}. In the project\'s folder: `pip install -c constraints.txt -e ".[{name}]"`.'
    )
