"""One bad task costs its own result and nothing else."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_prep import worker_pool
from data_prep.worker_pool import MOST_WORKERS, Tick, run_tasks
from piano.foundation.cores import available_cores


def work(task: tuple[str, int], tick: Tick) -> Any:
    kind, value = task
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise ValueError(f"bad {value}")
    if kind == "hang":
        time.sleep(60)
    if kind == "slow":
        for _ in range(3):
            time.sleep(0.3)
            tick(1.0)
    if kind == "print":
        os.write(2, b"noise from a decoder\n")
    return value * value


def results(tasks: list[tuple[str, int]], **options: Any) -> dict[int, Any]:
    return {
        event.index: event.result if not event.failure else event.failure
        for event in run_tasks(work, tasks, **options)
        if event.is_finished
    }


def test_a_crash_a_hang_and_an_exception_leave_the_other_tasks_alone():
    tasks = [("ok", 1), ("crash", 2), ("ok", 3), ("raise", 4), ("hang", 5), ("ok", 6), ("ok", 7)]
    found = results(tasks, workers=2, stall_seconds=2.0)
    assert {index: found[index] for index in (0, 2, 5, 6)} == {0: 1, 2: 9, 5: 36, 6: 49}
    assert "the decoder crashed" in found[1]
    assert found[3] == "ValueError: bad 4"
    assert found[4] == "no progress for 2 s"


def test_work_is_reported_while_it_is_done():
    events = list(run_tasks(work, [("slow", 2)], workers=3))
    assert sum(event.work for event in events) == 3.0
    assert sum(event.work > 0 for event in events) >= 2
    assert [event.result for event in events if event.is_finished] == [4]


def test_what_a_decoder_prints_does_not_reach_the_screen(capfd):
    assert results([("print", 3)], workers=1) == {0: 9}
    assert capfd.readouterr().err == ""


def test_stopping_early_ends_the_workers():
    events = run_tasks(work, [("slow", 1), ("hang", 2)], workers=2)
    next(events)
    started = time.monotonic()
    events.close()
    assert time.monotonic() - started < 20


def test_no_tasks_need_no_workers():
    assert list(run_tasks(work, [], workers=4)) == []


def test_there_are_never_more_workers_than_can_be_waited_for():
    assert MOST_WORKERS < 63
    started = []

    class Counted(worker_pool.Worker):
        def _launch(self) -> None:
            started.append(1)
            super()._launch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "Worker", Counted)
        patch.setattr(worker_pool, "MOST_WORKERS", 2)
        assert results([("ok", 1), ("ok", 2), ("ok", 3)], workers=500) == {0: 1, 1: 4, 2: 9}
    assert len(started) == 2


def in_a_pool(value: int) -> dict[int, Any]:
    return results([("ok", value), ("raise", 2)], workers=2)


def test_inside_a_process_that_may_have_no_children_the_tasks_run_there():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(in_a_pool, [3]) == [{0: 9, 1: "ValueError: bad 2"}]


def test_workers_that_cannot_start_are_no_fault_of_the_tasks(tmp_path: Path):
    """A script without a guard is run again by every worker."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.test_worker_pool import results\n"
        "print(results([('ok', 1), ('ok', 2)], workers=1))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert "the decoder crashed" not in done.stdout
    assert 'under `if __name__ == "__main__":`' in done.stderr


def test_cores_respect_the_quota_of_a_container(tmp_path: Path):
    many = available_cores(tmp_path)
    assert many >= 1
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/box/inner\n")
    group = tmp_path / "sys/fs/cgroup/box"
    (group / "inner").mkdir(parents=True)
    (group / "inner/cpu.max").write_text("max 100000\n")
    assert available_cores(tmp_path) == many
    (group / "cpu.max").write_text("50000 100000\n")  # half a core, for a group above
    assert available_cores(tmp_path) == 1
    (group / "cpu.max").write_text("6400000 100000\n")
    assert available_cores(tmp_path) == min(many, 64)
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/old\n3:memory:/old\n")
    old = tmp_path / "sys/fs/cgroup/cpu/old"
    old.mkdir(parents=True)
    (old / "cpu.cfs_period_us").write_text("100000")
    (old / "cpu.cfs_quota_us").write_text("-1")
    assert available_cores(tmp_path) == many
    (old / "cpu.cfs_quota_us").write_text("100000")
    assert available_cores(tmp_path) == 1
