"""The further processes of a run on one machine: the same command once more for each, unless a launcher made them."""

import os
import socket
import subprocess
import sys

from piano.foundation.cores import available_cores

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


def cores_of_each(processes: int) -> int:
    """Cores for each of the processes of a run on this machine; a launcher may have divided them already.

    srun gives every task cores of its own. Under torchrun, and where this module starts them, all processes of a
    machine see all of its cores.
    """
    cores = available_cores()
    if "SLURM_PROCID" in os.environ and "LOCAL_RANK" not in os.environ:
        told = os.environ.get("SLURM_CPUS_PER_TASK", "")
        if told.isdecimal():
            return max(1, min(cores, int(told)))
        if cores < (os.cpu_count() or 1):
            return cores
    return max(1, cores // processes)


def _own_command() -> list[str]:
    """How this process was started; `sys.argv` is for the eyes, and the front door writes its verb into it."""
    return [sys.executable, *sys.orig_argv[1:]]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
