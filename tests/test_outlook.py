"""What more time would bring is told from made curves whose end is known, and not told where nobody could."""

from collections.abc import Callable

import numpy as np
import pytest

from piano.doctor.outlook import FEWEST_SCORES, HOUR, look_ahead, outlook_of

TIMES = np.geomspace(300.0, 3600.0, 12)


def power(times: np.ndarray, exponent: float) -> np.ndarray:
    return 0.8 * (times / 300.0) ** -exponent


def with_floor(times: np.ndarray, floor: float) -> np.ndarray:
    return floor + 0.6 * (times / 300.0) ** -0.6


CURVES = {
    "slow": lambda times: power(times, 0.2),
    "fast": lambda times: power(times, 0.5),
    "to a floor": lambda times: with_floor(times, 0.15),
    "to a high floor": lambda times: with_floor(times, 0.3),
}


def told_runs(curve: Callable[[np.ndarray], np.ndarray], *, noise: float, count: int = 12) -> list[bool]:
    """Of 40 runs of such a curve, those of which something is told: whether the score after twice the time is in it."""
    hits = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        times = np.geomspace(300.0, 3600.0, count)
        scores = curve(times) * np.exp(noise * random.standard_normal(count))
        found = look_ahead([*zip(times, scores, strict=True)], HOUR)
        true = float(curve(np.array([7200.0]))[0] * np.exp(noise * random.standard_normal()))
        hits += [] if found.reason else [found.low <= true <= found.high]
    return hits


@pytest.mark.parametrize("count", [6, 12])
@pytest.mark.parametrize("noise", [0.03, 0.1])
def test_nine_of_ten_runs_have_their_next_score_in_the_interval_and_most_are_told(noise: float, count: int) -> None:
    told = {name: told_runs(curve, noise=noise, count=count) for name, curve in CURVES.items()}
    print(noise, count, {name: (len(hits), float(np.mean(hits))) for name, hits in told.items()})
    assert np.mean([hit for hits in told.values() for hit in hits]) >= 0.9
    assert sum(map(len, told.values())) >= 0.7 * 40 * len(CURVES)


def test_a_clean_power_law_is_carried_on_and_said_in_words() -> None:
    found = look_ahead([*zip(TIMES, power(TIMES, 0.4), strict=True)], HOUR)
    assert found.then == pytest.approx(power(np.array([7200.0]), 0.4)[0], rel=1e-3)
    assert "Another hour would bring its score from about 0.30 to about 0.22" in found.sentence


@pytest.mark.parametrize("scores", [[0.5, 0.6, 0.45, 0.55, 0.5, 0.58], [0.3, 0.35, 0.4, 0.45, 0.5, 0.55]])
def test_scores_without_a_trend_and_rising_ones_tell_nothing(scores: list[float]) -> None:
    found = look_ahead([*zip(np.geomspace(300.0, 3600.0, 6), scores, strict=True)], HOUR)
    assert "cannot be told: its scores go up and down more than they fall" in found.sentence


def test_too_few_scores_or_all_at_one_time_tell_nothing() -> None:
    few = look_ahead([(600.0, 0.8), (1200.0, 0.6)], HOUR)
    assert few.sentence == "What another 20 minutes would bring cannot be told: there are 2 scores so far."
    near = [(3000.0 + place, 0.5 - 0.01 * place) for place in range(FEWEST_SCORES)]
    assert "nearly one time" in look_ahead(near, HOUR).sentence


def test_the_log_is_read_and_scores_on_other_music_do_not_count() -> None:
    lines = [
        {"event": "score", "seconds": float(time), "kernel_score": float(score)}
        for time, score in zip(TIMES, power(TIMES, 0.4), strict=True)
    ]
    found = outlook_of([{"stage": "flow", "step": 1}, *lines])
    assert found is not None and not found.reason and found.seconds == HOUR
    other = outlook_of([*lines, {"event": "data set"}, *lines[-2:]])
    assert other is not None and "2 scores" in other.sentence
    assert outlook_of([{"event": "gate"}]) is None
