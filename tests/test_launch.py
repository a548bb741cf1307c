"""The processes of a run on one machine: each is this command once more, and none waits for one that is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from piano.foundation import launch
from piano.foundation.errors import EXIT_SIGNAL, EXIT_USER_ERROR
from piano.foundation.launch import LAUNCHERS, cores_of_each
from piano.foundation.runtime import serves

ROOT = Path(__file__).resolve().parent.parent
OTHER_WAYS = {*LAUNCHERS, "RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "MUSIGAN_FRONT"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OTHER_WAYS} | {"PYTHONPATH": str(ROOT)}

ENTRANCE = """import sys
from musigan import main
from piano.foundation.doors import VERBS, Verb

VERBS["train"] = Verb("helper", "a command that only starts and ends")
if __name__ == "__main__":
    sys.exit(main())
"""
"""As an installed `musigan` is, but for what it runs."""
HELPER = """import os, sys
from pathlib import Path
from piano.foundation.launch import end_others, start_others

def main(argv):
    others = start_others(2)
    end_others(others, seconds=30.0)
    Path(f"said by {os.environ['LOCAL_RANK']}").write_text(" ".join([*argv, *(str(one.returncode) for one in others)]))
    return 0
"""


@pytest.mark.parametrize("way", [["musigan"], ["-m", "entrance"], ["./entrance.py"]])
def test_the_front_door_starts_itself_once_more(tmp_path: Path, way: list[str]) -> None:
    for name, text in (("musigan", ENTRANCE), ("entrance.py", ENTRANCE), ("helper.py", HELPER)):
        (tmp_path / name).write_text(text, encoding="ascii")
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    subprocess.run(
        [sys.executable, *way, "train", "--devices", "2"], cwd=tmp_path, env=environment, timeout=60, check=True
    )
    assert (tmp_path / "said by 0").read_text() == "--devices 2 0"
    assert (tmp_path / "said by 1").read_text() == "--devices 2"


MISSED = """import os, sys, time
from pathlib import Path

if os.environ.get("LOCAL_RANK"):  # the second process, which never comes to the meeting
    Path("child.part").write_text(str(os.getpid()))
    os.rename("child.part", "child")
    time.sleep(float(sys.argv[1]))
    sys.exit(7)
from piano.foundation.runtime import start_runtime
from piano.foundation.stop_signals import stoppable

with stoppable():
    start_runtime(device="cpu", precision="32", threads=1, devices=2)
"""


def missed(folder: Path, seconds: float) -> subprocess.Popen:
    """A run of two processes, of which the second ends after some seconds, before they have met."""
    (folder / "missed.py").write_text(MISSED, encoding="ascii")
    command = [sys.executable, "missed.py", str(seconds)]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def test_a_process_that_ends_before_they_have_met_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    main = missed(tmp_path, 0.0)
    _, said = main.communicate(timeout=60)
    assert main.returncode == EXIT_USER_ERROR
    assert said.count("process 2 of 2 on this machine ended with status 7 before the run began") == 1, said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGTERM")
def test_a_request_to_stop_ends_the_wait_for_a_process_that_does_not_come(tmp_path: Path) -> None:
    main = missed(tmp_path, 600.0)
    deadline = time.monotonic() + 60.0
    while not (tmp_path / "child").is_file():
        assert main.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    main.send_signal(signal.SIGTERM)
    _, said = main.communicate(timeout=60)
    assert main.returncode == EXIT_SIGNAL + signal.SIGTERM
    assert "Stopped before anything was begun." in said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_cores_are_divided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHERS, "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch, "available_cores", lambda: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert [cores_of_each(count) for count in (1, 4, 16)] == [8, 2, 1]
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert cores_of_each(4) == 8  # a task that is bound to its own
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores_of_each(4) == 2  # a task that sees the whole machine
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert cores_of_each(4) == 3
    monkeypatch.setenv("LOCAL_RANK", "1")  # torchrun inside a job
    assert cores_of_each(4) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a script for bash")
@pytest.mark.parametrize("start", [["--from", "shipped"], ["--from=my model"], []])
def test_a_job_that_is_queued_again_resumes_and_begins_nothing_anew(tmp_path: Path, start: list[str]) -> None:
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="ascii")
    srun.chmod(0o755)
    environment = ENVIRONMENT | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
    }

    def asked() -> list[str]:
        command = ["bash", str(ROOT / "runs" / "slurm_train.sh"), "my run", *start, "--dataset", "my music"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.splitlines()

    first = asked()
    assert first[:3] == ["--kill-on-bad-exit=1", "--cpus-per-task=8", "python"]
    assert first[-2 - len(start) :] == [*start, "--dataset", "my music"]
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "generator_epoch_1.pt").touch()
    assert asked() == [*first[: len(first) - 2 - len(start)], "--dataset", "my music", "--resume"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), False), ((7, 0), False), ((7, 5), True), ((8, 6), True), ((8, 9), True), ((9, 0), True), ((12, 1), True)],
)
def test_a_gpu_counts_only_if_pytorch_has_code_for_it(capability, expected):
    wheel = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "sm_120", "compute_120"]
    assert serves(wheel, capability) == expected
    assert serves([], capability) and serves(["gfx90a", "gfx942"], capability)


def test_code_of_a_generation_does_not_run_on_the_next_unless_it_can_be_translated():
    assert not serves(["sm_80", "sm_86"], (9, 0)) and serves(["sm_80", "compute_80"], (9, 0))
    assert not serves(["sm_86"], (8, 0))
