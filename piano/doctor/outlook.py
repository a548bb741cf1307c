"""What more time would bring: a run's own scores, carried on as a power law, with an interval; or that nobody can tell.

Losses and scores of networks fall about as powers of the time that was learned (Hestness et al., arXiv 1712.00409):
above a floor that they never reach. All such curves that fit the scores of a run about as well as the best one are
carried on, for no more than twice the time of the run.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from piano.foundation.score_words import is_number
from piano.foundation.screen_text import counted

FEWEST_SCORES = 5
SURE = 0.95
"""Of the interval of what is to come, by the scatter of the scores; of made curves it holds nine in ten."""
BY_CHANCE = 0.2
"""Probability of so clear a fall by chance, below which scores fall."""
LEAST_SCORE = 0.02
"""Scores below say that nothing is told apart from real music: their logarithms would mean too much."""
FLOORS = np.linspace(0.0, 0.95, 20)
"""Of a power law, over the lowest score."""
HOUR = 3600.0


class Outlook(NamedTuple):
    """What a run's score would be after more time."""

    seconds: float
    """How much more."""
    now: float
    """Where the line stands at the end of the run, as a kernel score."""
    then: float
    low: float
    high: float
    reason: str = ""
    """Why nothing can be told; empty where something can."""

    @property
    def sentence(self) -> str:
        """For the screen and the report."""
        more = f"another {time_words(self.seconds)}"
        if self.reason:
            return f"What {more} would bring cannot be told: {self.reason}."
        if self.high >= self.now and self.then > 0.98 * self.now:
            return f"{more[0].upper()}{more[1:]} would bring next to nothing: its score stands still at {self.now:.2f}."
        return (
            f"{more[0].upper()}{more[1:]} would bring its score from about {self.now:.2f} to about {self.then:.2f} "
            f"({self.low:.2f} to {self.high:.2f}; 0 is real music, 1 noise), if it goes on as so far."
        )


def time_words(seconds: float) -> str:
    """An hour, 40 minutes, 5 seconds."""
    if abs(seconds - HOUR) < 1.0:
        return "hour"
    return counted(round(seconds / 60.0), "minute") if seconds >= 60.0 else counted(round(seconds), "second")


def outlook_of(history: Iterable[Mapping[str, Any]]) -> Outlook | None:
    """The outlook of a run by the lines of its log; None where it was never scored.

    More is an hour, or as long as the run has had if that is less. Scores from before a change of the data set do not
    count: they were measured on other music.
    """
    points = score_points(history)
    return look_ahead(points, min(HOUR, points[-1][0])) if points else None


def score_points(history: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Seconds of the run and kernel score of every score in a log, since the data set changed last."""
    points: list[tuple[float, float]] = []
    for line in history:
        if line.get("event") == "data set":
            points = []
        elif line.get("event") == "score" and is_number(line.get("kernel_score")) and is_number(line.get("seconds")):
            points.append((float(line["seconds"]), float(line["kernel_score"])))
    return points


def look_ahead(points: Sequence[tuple[float, float]], more: float) -> Outlook:
    """Carry scores on.

    Parameters
    ----------
    points : sequence of (seconds of the run, kernel score)
        In the order of time.
    more : float
        Seconds; at most as many as the run has had are looked ahead.

    Returns
    -------
    Outlook
        Its interval holds the next score in nine of ten cases, if the scores follow a power law above a floor.
    """
    usable = [(time, score) for time, score in points if time > 0.0]
    end = usable[-1][0] if usable else 0.0
    more = min(more, end)
    if len(usable) < FEWEST_SCORES:
        scores = counted(len(usable), "score")
        return Outlook(more, math.nan, math.nan, math.nan, math.nan, f"there {_is_are(len(usable))} {scores} so far")
    times = np.log([time for time, _ in usable])
    scores = np.array([max(score, LEAST_SCORE) for _, score in usable])
    if np.ptp(times) < math.log(1.5):
        return Outlook(more, math.nan, math.nan, math.nan, math.nan, "all its scores are of nearly one time")
    fits = [power_law(times, scores, floor, math.log(end + more)) for floor in FLOORS * scores.min()]
    best = min(fits, key=lambda fit: fit.square)
    freedom = len(times) - 3
    from scipy import stats  # here: it takes a second to import, and most who start a program ask nothing of it

    reach = float(stats.t.ppf(0.5 + SURE / 2.0, freedom))
    likely = [fit for fit in fits if fit.square <= best.square * (1.0 + reach**2 / freedom) + 1e-12]
    chance = math.exp(reach * math.sqrt(best.square / freedom))
    low, high = min(fit.then for fit in likely) / chance, max(fit.then for fit in likely) * chance
    order, by_chance = (float(value) for value in np.asarray(stats.spearmanr(times, scores), dtype=np.float64))
    reason = "" if order < 0.0 and by_chance < BY_CHANCE else "its scores go up and down more than they fall"
    return Outlook(more, best.now, best.then, low, high, reason)


class PowerLaw(NamedTuple):
    """A fitted curve: how well it fits, and its scores at the last time and at the one ahead."""

    square: float
    """Sum of the squared residuals of the scores' logarithms."""
    now: float
    then: float


def power_law(times: np.ndarray, scores: np.ndarray, floor: float, ahead: float) -> PowerLaw:
    """A power law above a floor that it never falls below; `times` and `ahead` are logarithms."""
    values, weights = np.log(scores - floor), np.square((scores - floor) / scores)
    weights /= weights.sum()
    centre, mean = float(weights @ times), float(weights @ values)
    slope = float((weights * (times - centre)) @ (values - mean)) / float(weights @ np.square(times - centre))
    lines = floor + np.exp(mean + slope * (np.append(times, ahead) - centre))
    residuals = np.log(scores / lines[:-1])
    return PowerLaw(float(residuals @ residuals), float(lines[-2]), float(lines[-1]))


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"
