"""One bad task costs its own result and nothing else."""

import os
import signal
import time
from typing import Any

from data_prep.worker_pool import Tick, run_tasks


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
