"""The further processes of a run on one machine: the same command once more for each, unless a launcher made them."""

import os
import socket
import subprocess
import sys

LAUNCHERS = ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_PROCID")
"""A variable of these says that something else starts the processes: torchrun, SLURM, or this module."""
INTERACTIVE = ("bash", "interactive")
"""Names of SLURM jobs in which somebody types: srun started the shell, not the run."""


def start_others(devices: int, nodes: int = 1) -> list[subprocess.Popen]:
    """Start this command again for every further device of this machine; returns those processes.

    They, and this one, know each other by the variables that torch.distributed has for it. With several machines the
    command is started once on each, with MASTER_ADDR, MASTER_PORT and NODE_RANK set.

    Returns
    -------
    list of Popen
        Empty where one process is enough, or a launcher has started all of them.
    """
    if devices * nodes == 1 or is_launched():
        return []
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    os.environ.setdefault("NODE_RANK", "0")
    os.environ["WORLD_SIZE"] = str(devices * nodes)
    command = _own_command()
    others = [subprocess.Popen(command, env=os.environ | {"LOCAL_RANK": str(rank)}) for rank in range(1, devices)]
    os.environ["LOCAL_RANK"] = "0"
    return others


def is_launched() -> bool:
    """Whether a launcher has started, or this module is starting, all processes of the run."""
    names = set(LAUNCHERS)
    if os.environ.get("SLURM_JOB_NAME") in INTERACTIVE:
        names.discard("SLURM_PROCID")
    return any(name in os.environ for name in names)


def end_others(others: list[subprocess.Popen], *, seconds: float) -> None:
    """Wait until processes that were started here have ended; who takes longer than `seconds` is killed."""
    for other in others:
        try:
            other.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def _own_command() -> list[str]:
    """How this process was started."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is None:
        return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
