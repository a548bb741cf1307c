"""Does a run still get better? Its scores or validation losses against curves that fall, stand still and rise again.

Three kinds of curve are held against the points: a power law above a floor (`outlook.power_law`), a power law that
ends at some time and stands still, and one that rises from there on. Each is weighed by how well it fits (a normal
scatter of the logarithms, whose size nobody knows) and by how many numbers it takes (Schwarz, Annals of Statistics 6,
1978). What they say of the time to come is averaged by these weights.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.doctor.outlook import FLOORS, LEAST_SCORE, outlook_of, power_law, score_points, time_words

FEWEST_POINTS = 6
AHEAD = 1.2
"""The time to come that is looked at, over the time so far."""
LEAST_GAIN = 0.03
"""Share of a score by which it must fall in that time to be called better."""
DOUBT = 0.1
"""Probability of a gain below which it no longer gets better."""
RISES = (0.0, 0.2, 0.5, 1.0)
"""Powers of time after the best: standing still, and rising."""
USUAL_SCATTER, KNOWN = 0.1, 2.0
"""The scatter that is expected before there are points, and how many points that is worth."""
LEAST_SPAN = 1.5
"""The last time over the first, of points that say something."""
FEWEST_BEFORE = 3
"""Points up to the best, at the least."""


class Standstill(NamedTuple):
    """Whether a run still gets better."""

    chance: float
    """Probability that it gets better by LEAST_GAIN, in a fifth more of its time; 1 where there are few points."""
    best: float
    """Seconds at which it was best by these curves."""
    now: float
    """Seconds of the last point."""

    @property
    def is_over(self) -> bool:
        """Whether it no longer gets better."""
        return self.chance < DOUBT

    @property
    def sentence(self) -> str:
        """Advice; empty while it gets better or nobody can tell."""
        if not self.is_over:
            return ""
        best = time_words(self.best)
        return (
            f"It no longer gets better: its scores fell until about {'an hour' if best == 'hour' else best} and not "
            f"since ({self.chance:.0%} chance of a gain in another {time_words((AHEAD - 1.0) * self.now)}). More "
            "music, or a larger preset, would do more than more time; the best epoch is kept."
        )


def standstill_of(history: Iterable[Mapping[str, Any]]) -> Standstill | None:
    """Whether a run still gets better, by the scores in the lines of its log; None where it was never scored."""
    points = score_points(history)
    return look_back(points) if points else None


def time_advice(history: Sequence[Mapping[str, Any]]) -> str:
    """That a run no longer gets better, or else what more time would bring; empty where it was never scored."""
    found = standstill_of(history)
    if found and found.is_over:
        return found.sentence
    outlook = outlook_of(history)
    return outlook.sentence if outlook else ""


def look_back(points: Sequence[tuple[float, float]]) -> Standstill:
    """Judge a curve that is better the lower it is.

    Parameters
    ----------
    points : sequence of (seconds, score or loss)
        In the order of time, above 0.

    Returns
    -------
    Standstill
        Its chance is the larger of two: with the last point and without it.
    """
    found, before = _look(points), _look(points[:-1])
    return found._replace(chance=max(found.chance, before.chance))


def _look(points: Sequence[tuple[float, float]]) -> Standstill:
    """The same, by one look; `chance` is 1 where the points are too few or of nearly one time."""
    usable = [(time, max(score, LEAST_SCORE)) for time, score in points if time > 0.0 and math.isfinite(score)]
    if len(usable) < FEWEST_POINTS or usable[-1][0] < LEAST_SPAN * usable[0][0]:
        return Standstill(1.0, math.nan, usable[-1][0] if usable else math.nan)
    times = np.log([time for time, _ in usable])
    scores = np.array([score for _, score in usable])
    curves = [*_falling(times, scores), *_ended(times, scores)]
    freedom = len(times) + KNOWN
    logs = np.array(
        [
            math.log(curve.prior)
            - 0.5 * freedom * math.log(curve.square + KNOWN * USUAL_SCATTER**2)
            - 0.5 * curve.numbers * math.log(len(times))
            for curve in curves
        ]
    )
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    chance = float(weights @ np.array([curve.gain > LEAST_GAIN for curve in curves]))
    bests = np.array([curve.best for curve in curves])
    if chance < DOUBT:  # then it ended, and the question is when
        ended = np.where(bests < times[-1], weights, 0.0)
        if not ended.any():  # it never fell
            return Standstill(chance, usable[int(scores.argmin())][0], usable[-1][0])
        weights = ended / ended.sum()
    order = np.argsort(bests)
    middle = bests[order][int(np.searchsorted(np.cumsum(weights[order]), 0.5))]
    return Standstill(chance, float(np.exp(middle)), usable[-1][0])


class _Curve(NamedTuple):
    square: float
    """Sum of the squared residuals of the logarithms."""
    numbers: int
    """Fitted."""
    prior: float
    gain: float
    """Share by which the score falls in the time ahead."""
    best: float
    """Logarithm of the time from which on it no longer falls by LEAST_GAIN."""


def _falling(times: NDArray, scores: NDArray) -> list[_Curve]:
    """Power laws above floors; their best is the end."""
    found = []
    for floor in FLOORS * scores.min():
        fit = power_law(times, scores, floor, float(times[-1]) + math.log(AHEAD))
        found.append(_Curve(fit.square, 3, 0.5 / len(FLOORS), 1.0 - fit.then / fit.now, float(times[-1])))
    return found


def _ended(times: NDArray, scores: NDArray) -> list[_Curve]:
    """Power laws that end at a time between two points, or at one, and stand still or rise from there."""
    values, rises = np.log(scores), np.array(RISES)
    ends = np.concatenate([times[FEWEST_BEFORE - 1 : -1], (times[FEWEST_BEFORE - 1 : -1] + times[FEWEST_BEFORE:]) / 2])
    away = times - ends[:, None]
    before = np.minimum(away, 0.0)[:, None]
    rest = values - rises[:, None] * np.maximum(away, 0.0)[:, None]  # (ends, rises, points)
    apart = before - before.mean(axis=-1, keepdims=True)
    slopes = (apart * rest).sum(axis=-1) / np.square(apart).sum(axis=-1)
    residuals = rest - rest.mean(axis=-1, keepdims=True) - slopes[..., None] * apart
    squares = np.square(residuals).sum(axis=-1)
    prior, gains = 0.5 / squares.size, 1.0 - AHEAD**rises
    return [
        _Curve(float(squares[place, kind]), 3, prior, float(gains[kind]), float(end))
        for place, end in enumerate(ends)
        for kind in range(len(rises))
        if slopes[place, kind] < 0.0
    ]
