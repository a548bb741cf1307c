"""Threads follow the machine: fewer when a neighbour comes, as they were when it is only a slow stage."""

from collections.abc import Callable

import pytest

from piano.foundation.thread_pilot import ThreadPilot


def drive(pilot: ThreadPilot, steps: list[tuple[str, Callable[[int], float]]]) -> list[int]:
    """Let steps take the time that a machine gives them by their threads; returns the threads of each."""
    threads, used = pilot.threads, []
    for stage, seconds in steps:
        used.append(threads)
        threads = pilot.after_step(stage, seconds(threads))
    return [*used, threads]


def idle(threads: int) -> float:
    return 1.0 / threads


def busy(threads: int) -> float:
    return 1.0 if threads == 1 else 20.0


def test_an_idle_machine_keeps_its_threads_and_tries_three_steps_a_stage() -> None:
    pilot = ThreadPilot(2)
    used = drive(pilot, [("autoencoder", idle)] * 50 + [("flow", idle)] * 50)
    assert pilot.threads == 2 and used.count(1) == 6


@pytest.mark.parametrize("quiet", [0, 1, 5, 30])
def test_a_neighbour_is_noticed_within_a_few_slow_steps(quiet: int) -> None:
    pilot = ThreadPilot(2)
    used = drive(pilot, [("flow", idle)] * quiet + [("flow", busy)] * 20)
    assert pilot.threads == 1
    assert used[quiet:].count(2) <= 6 and used[-10:] == [1] * 10


def test_a_slower_stage_is_no_neighbour_and_one_slow_step_is_none() -> None:
    pilot = ThreadPilot(4)
    slow_once = [("flow", idle)] * 20 + [("flow", lambda threads: 9.0)] + [("flow", idle)] * 20
    used = drive(pilot, [("autoencoder", idle)] * 10 + slow_once + [("ear", lambda threads: 30.0 / threads)] * 20)
    assert pilot.threads == 4 and set(used) == {2, 4}


def test_one_thread_is_never_tried_to_be_less() -> None:
    assert drive(ThreadPilot(1), [("flow", busy)] * 9) == [1] * 10
