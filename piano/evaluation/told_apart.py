"""Can made clips be told from real ones at all? A judge learns from some songs and is asked about others.

The classifier two-sample test (Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017, arXiv 1610.06545).
It finds the one direction in which two sets differ most, where a distance is an average over all of them.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.distances import Kernel

FOLDS = 5
RIDGE = 0.1
"""Weight of the penalty, in mean values of the kernel's diagonal; from a tenth to ten times as much is alike."""


class ToldRight(NamedTuple):
    """Which clips were told right by a judge that never heard their song: 1 or 0."""

    made: NDArray[np.float64]
    """[shape=(made clips,)]"""
    real: NDArray[np.float64]
    """[shape=(real clips,)]"""

    @property
    def share(self) -> float:
        """Of both kinds alike: 0.5 is chance."""
        return float((self.made.mean() + self.real.mean()) / 2)


def told_right(
    made: NDArray,
    real: NDArray,
    *,
    made_files: Sequence[Hashable],
    real_files: Sequence[Hashable],
    kernel: Kernel,
    seed: int = 0,
) -> ToldRight | None:
    """Ask a judge about every clip that learned from four fifths of the songs, this one's not among them.

    The judge is kernel ridge regression on the labels, both sets weighing the same. None with fewer than two songs of
    either set.

    Parameters
    ----------
    made, real : array [shape=(clips, features)]
        Standardised features.
    made_files, real_files : sequence of labels
        Clips of one label are never on both sides, of whichever set.
    """
    songs = [list(dict.fromkeys(files)) for files in (made_files, real_files)]
    folds = min(FOLDS, *map(len, songs))
    if folds < 2:
        return None
    random = np.random.default_rng(seed)
    place: dict[Hashable, int] = {}
    for names in songs:
        new = [name for name in names if name not in place]
        place |= {name: int(turn) % folds for name, turn in zip(new, random.permutation(len(new)), strict=True)}
    fold = np.array([place[file] for file in [*made_files, *real_files]])
    clips = np.concatenate([made, real])
    sign = np.repeat([1.0, -1.0], [len(made), len(real)])
    alike = kernel(clips, clips)
    right = np.zeros(len(clips))
    for asked in range(folds):
        learns = fold != asked
        if len(set(sign[learns])) == 2:
            right[~learns] = np.sign(_judge(alike, sign, learns)[~learns]) == sign[~learns]
    return ToldRight(right[: len(made)], right[len(made) :])


def _judge(alike: NDArray, sign: NDArray, learns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Opinion of every clip, above 0 for made, of a judge that learned from some [shape=(clips,)]."""
    known = sign[learns]
    weight = np.where(known > 0, 0.5 / (known > 0).sum(), 0.5 / (known < 0).sum())
    own = alike[np.ix_(learns, learns)]
    mean = own @ weight
    centred = alike[:, learns] - (alike[:, learns] @ weight)[:, None] - mean + weight @ mean
    inner = centred[learns]
    penalty = RIDGE * np.trace(inner) / len(known) / (weight * len(known))
    return np.asarray(centred @ np.linalg.solve(inner + np.diag(penalty), known))
