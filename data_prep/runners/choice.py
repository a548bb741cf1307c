"""The runner of a name: processes here, or a cluster, whose engine is loaded only then."""

import functools
from collections.abc import Sequence
from pathlib import Path

from data_prep.runners.runner import Runner
from data_prep.worker_pool import run_tasks
from piano.foundation.errors import ConfigError

RUNNERS = ("local", "dask", "ray")
"""Processes of this machine; workers of a Dask or a Ray cluster, which see the same folders under the same names."""
_START = {
    "dask": "`dask scheduler` prints one, like tcp://host:8786",
    "ray": "`ray start --head` prints one, like host:6379; auto means the cluster of this machine",
}


def choose_runner(name: str, address: str | None, workers: int | None, folders: Sequence[Path], cores: int) -> Runner:
    """The runner of a name.

    Parameters
    ----------
    name : str
        One of `RUNNERS`.
    address : str, optional
        Of the cluster.
    workers : int, optional
        Processes of this machine; a cluster says itself how many it has.
    folders : sequence of Path
        What every worker of a cluster must see.
    cores : int
        Processes where `workers` is not given.

    Raises
    ------
    ConfigError
        An option is missing, or has no meaning for this runner.
    """
    if name == "local":
        if address is not None:
            raise ConfigError("--address is of a cluster. Say --runner dask or --runner ray with it.")
        return functools.partial(run_tasks, workers=cores if workers is None else workers)
    if workers is not None:
        raise ConfigError(f"--workers are processes of this machine; a cluster has its own. Leave it out with {name}.")
    if address is None:
        raise ConfigError(f"--runner {name} needs the --address of a running cluster: {_START[name]}.")
    shared = [str(folder.resolve()) for folder in folders]
    if name == "dask":
        from data_prep.runners.dask_runner import run_on_dask

        return functools.partial(run_on_dask, address=address, folders=shared)
    from data_prep.runners.ray_runner import run_on_ray

    return functools.partial(run_on_ray, address=address, folders=shared)
