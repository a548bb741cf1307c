"""Several CPU processes that share a batch learn what one process learns, and end together when one is gone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from piano.foundation.checkpoint_format import checkpoint_path, complete_epochs
from piano.foundation.errors import EXIT_RUINED, EXIT_USER_ERROR
from piano.foundation.run_log import read_history
from tests.rank_steps import MUSIC, VARIANTS
from tests.tiny_run import write_config, write_dataset

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
LONGEST_SECONDS = 300


def steps_in(folder: Path, processes: int) -> dict[str, Any]:
    """What two steps of every player are made of, and lead to, in so many processes."""
    folder.mkdir()
    command = [sys.executable, str(ROOT / "tests" / "rank_steps.py"), str(folder), str(processes)]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(folder / "steps.pt", weights_only=True)


@pytest.fixture(scope="module")
def steps_of_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return steps_in(tmp_path_factory.mktemp("steps") / "one", 1)


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Relative to the size of the first."""
    return float((first - second).norm() / first.norm())


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_player_moves_by_the_gradient_of_one_process(
    steps_of_one: dict[str, Any], tmp_path: Path, processes: int
) -> None:
    found = steps_in(tmp_path / "several", processes)
    assert found["threads"] == steps_of_one["threads"] == 2
    assert found["longest_wait_days"] > 30  # one process may judge as long as it takes
    start, resumed = found["whole, own numbers"][:, 0]
    assert torch.equal(start, resumed)  # the main one's go on
    for own in found["whole, own numbers"]:
        assert len(own.unique(dim=0)) == processes
    for variant, (_, precision) in VARIANTS.items():
        one, several = steps_of_one[variant], found[variant]
        bound = 1e-4 if precision == "32" else 0.05
        for name, gradient in one["gradients"].items():
            assert float(gradient.norm()) > 0.0, name
            # Music losses sort: where two numbers change places by rounding, a gradient does too.
            most = 10.0 * bound if name.startswith("joint") else bound
            assert difference(gradient, several["gradients"][name]) < most, (variant, name)
            torch.testing.assert_close(one["numbers"][name], several["numbers"][name], rtol=0, atol=1e-5)
            for term, value in one["terms"][name].items():
                torch.testing.assert_close(
                    several["terms"][name][term], value, rtol=10.0 * bound, atol=bound, msg=f"{variant} {name} {term}"
                )
        for memory, value in one["memory"].items():
            torch.testing.assert_close(several["memory"][memory], value, rtol=bound, atol=bound, msg=memory)
        assert set(MUSIC) <= one["terms"]["joint 0"].keys()
        assert one["memory"]["filled"].tolist() == [16, 16]


def test_a_batch_in_parts_moves_what_has_no_statistic_of_the_batch_alike(steps_of_one: dict[str, Any]) -> None:
    whole, parts = steps_of_one["whole"]["gradients"], steps_of_one["in parts"]["gradients"]
    for name in ("autoencoder 0", "flow 0", "flow 1", "ear 0", "ear 1"):
        assert difference(whole[name], parts[name]) < 1e-4, name
    for name, items in steps_of_one["whole"]["numbers"].items():
        torch.testing.assert_close(steps_of_one["in parts"]["numbers"][name], items, rtol=0, atol=1e-5)


def train_command(folder: Path, processes: int, *more: str) -> list[str]:
    """The training of `folder`, in so many processes."""
    front = str(ROOT / "musigan.py")
    return [sys.executable, front, "train", "--config", str(folder / "config.yaml"), "--devices", str(processes), *more]


def prepare(folder: Path) -> Path:
    """A data set and settings; returns the folder of checkpoints to come."""
    write_dataset(folder / "dataset")
    write_config(folder, keep_every=1, epochs=4)
    return folder / "checkpoints"


def finish(folder: Path, processes: int, *more: str) -> str:
    """Train to the end; what was printed."""
    done = subprocess.run(
        train_command(folder, processes, *more),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode in (0, EXIT_RUINED), done.stderr[-2000:]
    return done.stdout + done.stderr


def children_of(process: int) -> list[int]:
    """Processes that a process has started itself."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def trained_until(folder: Path, epoch: int, processes: int) -> subprocess.Popen:
    """A training that has saved this epoch and goes on."""
    process = subprocess.Popen(
        train_command(folder, processes),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(checkpoint_path(folder / "checkpoints", "generator", epoch), process)
    return process


def wait_for(file: Path, process: subprocess.Popen) -> None:
    """Until a process has made a file."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not file.is_file():
        assert process.poll() is None, process.communicate()[0][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run in one process; its checkpoints."""
    folder = tmp_path_factory.mktemp("alone")
    checkpoints = prepare(folder)
    finish(folder, 1)
    assert not (checkpoints / "latents").exists()
    return checkpoints


def losses(folder: Path, name: str) -> list[float]:
    """One number of every step that has it."""
    return [entry[name] for entry in read_history(folder) if name in entry and "step" in entry]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the process to kill")
def test_a_killed_process_ends_the_other_and_another_number_goes_on_as_one(alone: Path, tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path)
    process = trained_until(tmp_path, 2, 2)
    (other,) = children_of(process.pid)
    os.kill(other, signal.SIGKILL)
    began = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30.0
    assert process.returncode == EXIT_USER_ERROR, said
    assert said.count("process 2 of 2 ended without a word") == 1, said
    assert "--resume" in said and "Traceback" not in said
    saved = complete_epochs(checkpoints)
    assert saved[0] == 1 and saved[-1] >= 2

    told = finish(tmp_path, 1, "--resume")
    assert f"Resuming from epoch {saved[-1]}" in told
    same_as(alone, checkpoints)
    steps = [entry["total_step"] for entry in read_history(checkpoints) if "step" in entry]
    assert steps == [entry["total_step"] for entry in read_history(alone) if "step" in entry]
    gates = [
        [line["name"] for line in read_history(folder) if line.get("event") == "gate"]
        for folder in (alone, checkpoints)
    ]
    assert gates[0] == gates[1]
    validations = [
        [line["validation_loss"] for line in read_history(folder) if "validation_loss" in line]
        for folder in (alone, checkpoints)
    ]
    assert len(validations[0]) == len(validations[1])
    assert max(abs(a - b) for a, b in zip(*validations, strict=True)) < 0.02


WAITING = """import os, time
from pathlib import Path
from piano.foundation.errors import run_command
from piano.foundation.runtime import start_runtime

def body():
    runtime = start_runtime(device="cpu", precision="32", threads=1, devices=3)
    with runtime.together(advice="Go on."):
        Path(f"{runtime.rank}.pid").write_text(str(os.getpid()))
        if runtime.rank == 2:
            runtime.wait()  # for ever: the others never come
        time.sleep(600)

raise SystemExit(run_command(body))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see who has ended")
@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_neither_who_is_busy_nor_who_waits_in_an_exchange_outlives_a_process_that_was_killed(
    tmp_path: Path, killed: int
) -> None:
    script, said = tmp_path / "waiting.py", tmp_path / "said"
    script.write_text(WAITING, encoding="ascii")
    with said.open("w") as output:
        main = subprocess.Popen(
            [sys.executable, str(script)], cwd=tmp_path, env=ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT
        )
    for rank in range(3):
        wait_for(tmp_path / f"{rank}.pid", main)
    time.sleep(0.2)  # until the numbers are in the files
    processes = [int((tmp_path / f"{rank}.pid").read_text()) for rank in range(3)]
    os.kill(processes[killed], signal.SIGKILL)
    began = time.monotonic()
    while any(is_running(process) for process in processes):
        main.poll()  # who has ended is taken note of
        assert time.monotonic() - began < 40.0, said.read_text()
        time.sleep(0.1)
    text = said.read_text()
    assert text.count(f"process {killed + 1} of 3 ended without a word") == 1, text
    assert "Go on." in text and main.wait(timeout=10) == (EXIT_USER_ERROR if killed else -signal.SIGKILL)


def is_running(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def same_as(alone: Path, checkpoints: Path) -> None:
    """Fails unless a run in two processes took the steps of the one in one process, and learned what it learned."""
    assert complete_epochs(checkpoints) == complete_epochs(alone)
    for name in ("reconstruction", "kl", "flow", "professor_loss", "ear_loss", "energy_score"):
        assert losses(alone, name) == pytest.approx(losses(checkpoints, name), abs=0.02)


@pytest.mark.slow
def test_two_machines_started_by_torchrun_learn_what_one_process_learns(alone: Path, tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    machines = [
        subprocess.Popen(
            ["bash", str(ROOT / "runs" / "torchrun.sh"), "--config", str(tmp_path / "config.yaml")],
            cwd=tmp_path,
            env=ENVIRONMENT
            | {"PATH": path, "NODES": "2", "NODE": str(node), "PROCESSES": "1", "PORT": str(free_port())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(2)
    ]
    said = [machine.communicate(timeout=LONGEST_SECONDS)[0] for machine in machines]
    # torchrun has its own status for a main process that found its run not worth hearing
    assert "Trained" in said[0] and machines[1].returncode == 0, said
    assert "Trained" not in said[1]
    same_as(alone, checkpoints)


_PORTS: list[int] = []


def free_port() -> int:
    """One port for all machines of a run."""
    if not _PORTS:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            _PORTS.append(trial.getsockname()[1])
    return _PORTS[0]


SRUN = """#!{python}
import os, subprocess, sys
command = sys.argv[sys.argv.index("python"):]
tasks = [
    subprocess.Popen(command, env=os.environ | {{"SLURM_PROCID": n, "SLURM_NODEID": n, "SLURM_LOCALID": "0"}})
    for n in "01"
]
sys.exit(max(task.wait() % 256 for task in tasks))
"""
"""What SLURM's own command does for two nodes with one task each."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the tasks")
def test_a_slurm_job_saves_before_its_time_is_over_and_goes_on_when_it_is_queued_again(
    alone: Path, tmp_path: Path
) -> None:
    checkpoints, programs = prepare(tmp_path), tmp_path / "programs"
    programs.mkdir()
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", "#!/bin/sh\necho asked: $*\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    slurm = {
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "musigan",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODELIST": "127.0.0.1",
    }
    command = [
        "bash",
        str(ROOT / "runs" / "slurm_train.sh"),
        str(checkpoints),
        "--config",
        str(tmp_path / "config.yaml"),
    ]

    def queue() -> subprocess.Popen:
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=ENVIRONMENT | slurm,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    job = queue()
    wait_for(checkpoint_path(checkpoints, "generator", 1), job)
    (srun,) = children_of(job.pid)
    for task in children_of(srun):
        os.kill(task, signal.SIGTERM)
    said, _ = job.communicate(timeout=LONGEST_SECONDS)
    assert job.returncode == 0 and "asked: requeue 4711" in said, said
    assert complete_epochs(checkpoints)[-1] < complete_epochs(alone)[-1]
    job = queue()
    said, _ = job.communicate(timeout=LONGEST_SECONDS)
    assert job.returncode in (0, EXIT_RUINED) and "Resuming from epoch" in said, said
    same_as(alone, checkpoints)
