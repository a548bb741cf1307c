"""How sure a figure is: 95 % intervals from drawing the files again, with replacement.

Files are drawn and not clips: passages of one song are alike, and would make every figure look too sure.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 400
SHARE = 0.95


class Figure(NamedTuple):
    """A number with the interval it would lie in on 95 of 100 other draws of the files."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def file_weights(files: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """How often each clip is drawn when as many files as there are, are drawn with replacement.

    Returns
    -------
    array [shape=(resamples, clips)]
    """
    order = {file: index for index, file in enumerate(dict.fromkeys(files))}
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(order), np.full(len(order), 1 / len(order)), size=resamples)
    return draws[:, [order[file] for file in files]].astype(np.float64)


def with_interval(value: float, resampled: NDArray) -> Figure:
    """A figure from its value and the values of the resamples (bootstrap percentiles; Efron, Ann. Stat. 7, 1979)."""
    usable = resampled[np.isfinite(resampled)]
    if not len(usable):
        return Figure(value, value, value)
    low, high = np.percentile(usable, (50 * (1 - SHARE), 50 * (1 + SHARE)))
    return Figure(value, min(float(low), value), max(float(high), value))


def mean_figure(values: Sequence[float] | NDArray, files: Sequence[Hashable], *, seed: int = 0) -> Figure:
    """Mean over clips, with its interval.

    Parameters
    ----------
    values : sequence of float [shape=(clips,)]
    files : sequence of labels [shape=(clips,)]
        Where each clip was cut from.
    """
    series = np.asarray(values, dtype=np.float64)
    weights = file_weights(files, seed=seed)
    sums = weights.sum(axis=1)
    resampled = (weights @ series) / np.where(sums > 0, sums, np.nan)
    return with_interval(float(series.mean()), resampled)
