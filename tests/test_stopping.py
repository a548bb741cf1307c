"""That a run no longer gets better is told of planted curves that stand still or rise, and not of those that fall."""

import numpy as np
import pytest

from benchmarks.stop_now import Told, plant, tell
from piano.doctor.stopping import FEWEST_POINTS, look_back, standstill_of, time_advice


def told(kind: str, count: int, scatter: float, curves: int = 20) -> list[Told]:
    random = np.random.default_rng(7)
    return [tell(plant(kind, count, scatter, random)) for _ in range(curves)]


@pytest.mark.parametrize(("count", "scatter"), [(8, 0.05), (16, 0.15), (40, 0.05)])
def test_a_run_that_gets_better_is_not_told_to_stop(count: int, scatter: float) -> None:
    assert np.mean([one.is_said for one in told("falls", count, scatter)]) >= 0.8


@pytest.mark.parametrize(("count", "scatter"), [(16, 0.05), (40, 0.05)])
def test_the_best_time_of_a_run_that_got_worse_is_named(count: int, scatter: float) -> None:
    found = told("rises", count, scatter)
    assert np.mean([one.is_named for one in found]) >= 0.8
    assert np.mean([one.cost <= 1.1 for one in found]) >= 0.9


def test_the_advice_names_the_time_and_takes_the_place_of_the_outlook() -> None:
    times = np.arange(1, 31) * 120.0
    scores = 0.2 * (np.minimum(times, 1800.0) / 1800.0) ** -0.7 * (np.maximum(times, 1800.0) / 1800.0) ** 0.8
    lines = [{"event": "score", "seconds": t, "kernel_score": s} for t, s in zip(times, scores, strict=True)]
    found = standstill_of(lines)
    assert found is not None and found.is_over and found.best == pytest.approx(1800.0, rel=0.05)
    assert "It no longer gets better: its scores fell until about 3" in time_advice(lines)
    assert time_advice(lines[:12]).startswith("Another 24 minutes would bring")
    assert standstill_of([]) is None and time_advice([]) == ""


def test_few_points_tell_nothing() -> None:
    assert not look_back([(60.0 * (place + 1), 0.5) for place in range(FEWEST_POINTS - 1)]).is_over
