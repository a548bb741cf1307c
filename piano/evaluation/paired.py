"""Is one set of clips nearer to music than another? The difference of their figures, with an interval.

Songs of the real music and seeds of the compositions are drawn again with replacement, the same ones for both sets, so
that what is hard for both does not blur their difference. Several measures are asked at once: each interval is so wide
that all of them together hold in 95 of 100 comparisons (Bonferroni).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.bootstrap import SHARE, Figure, file_weights
from piano.evaluation.distances import squared_distances
from piano.evaluation.set_scores import (
    NEIGHBOURS,
    KernelPairs,
    Reference,
    covered,
    mean_distance,
    neighbour_distances,
    recalled,
)
from piano.foundation.screen_text import join_names

Answer = Literal["better", "worse", "cannot tell"]
RESAMPLES = 1000
CHUNK = 50
"""Resamples that are worked on at once: recall needs a table of all clips for each."""


PLAIN = {
    "kernel_score": "nearness to real music",
    "coverage": "how much of real music it comes near to",
    "recall": "how much of real music it could have made",
    "diversity": "variety",
    "inside": "figures that lie where those of real music do",
}
"""What the measures ask, for people who have not read docs/ruler.md."""
AHEAD = PLAIN | {"diversity": "variety (nearer to that of real music)"}
"""In what a model is ahead: more is not always better."""


class Resampled(NamedTuple):
    """A figure and its value in every resample."""

    value: float
    resampled: NDArray[np.float64]
    """[shape=(resamples,)]"""


class MadeSet(NamedTuple):
    """Compositions of one model: clip n of one set and clip n of the other come from the same seed."""

    features: NDArray
    """Raw features [shape=(clips, features)]"""
    inside: NDArray
    """For every clip the share of single numbers that lie in the band of real music [shape=(clips,)]"""


class Weights(NamedTuple):
    """How often each clip is drawn, in every resample."""

    real: NDArray[np.float64]
    """[shape=(resamples, real clips)]"""
    made: NDArray[np.float64]
    """[shape=(resamples, clips)]"""


class PairedMeasure(NamedTuple):
    """A figure of a set, and how far it is from what it should be."""

    name: str
    better: str
    measure: Callable[[Reference, MadeSet, Weights], Resampled]
    fault: Callable[[NDArray], NDArray]
    """From the figure to a number that is smaller for better sets."""
    widest: float = np.inf
    """No two sets differ by more: shares lie from 0 to 1."""


class Compared(NamedTuple):
    """One measure of two sets."""

    name: str
    better: str
    first: float
    second: float
    difference: Figure
    """First minus second, in the fault of the measure: below 0 the first is better."""
    verdict: Answer
    """Of the first set."""


def compare_sets(reference: Reference, first: MadeSet, second: MadeSet, *, seed: int = 0) -> dict[str, Compared]:
    """Hold two sets of as many clips against the same real music.

    Raises
    ------
    ValueError
        For sets of different size.
    """
    if len(first.features) != len(second.features):
        raise ValueError(f"sets of equal size are compared, got {len(first.features)} and {len(second.features)}")
    weights = Weights(
        file_weights(reference.files, resamples=RESAMPLES, seed=seed),
        file_weights(range(len(first.features)), resamples=RESAMPLES, seed=seed + 1),
    )
    return {row.name: _compare(row, reference, (first, second), weights) for row in PAIRED_MEASURES}


def _compare(row: PairedMeasure, reference: Reference, sets: tuple[MadeSet, MadeSet], weights: Weights) -> Compared:
    first, second = (row.measure(reference, made, weights) for made in sets)
    value = float(row.fault(np.array(first.value)) - row.fault(np.array(second.value)))
    drawn = row.fault(first.resampled) - row.fault(second.resampled)
    difference = centred_interval(value, drawn, share=1.0 - (1.0 - SHARE) / len(PAIRED_MEASURES))
    difference = Figure(value, max(difference.low, -row.widest), min(difference.high, row.widest))
    verdict: Answer = "better" if difference.high < 0.0 else "worse" if difference.low > 0.0 else "cannot tell"
    return Compared(row.name, row.better, first.value, second.value, difference, verdict)


def distance_gap(
    reference: Reference, first: NDArray, second: NDArray, *, seed: int = 0
) -> tuple[float, float, Figure]:
    """Kernel distances of two sets of as many clips to real music, and the second less the first with its interval.

    Parameters
    ----------
    first, second : array [shape=(clips, features)]
        Raw features (`feature_matrix`); clip n of both from the same seed.

    Returns
    -------
    float, float, Figure
        The interval holds in 95 of 100 draws of songs and seeds.
    """
    weights = Weights(
        file_weights(reference.files, resamples=RESAMPLES, seed=seed),
        file_weights(range(len(first)), resamples=RESAMPLES, seed=seed + 1),
    )
    near, far = (
        _kernel_score(reference, MadeSet(features, np.ones(len(features))), weights) for features in (second, first)
    )
    gap = centred_interval(near.value - far.value, near.resampled - far.resampled, share=SHARE)
    return (
        reference.distance_at(far.value),
        reference.distance_at(near.value),
        Figure(*(reference.span * end for end in gap)),
    )


def centred_interval(value: float, drawn: NDArray, *, share: float) -> Figure:
    """Percentiles of the resamples about their own median, put about the value.

    A resample holds fewer different clips than the set it is drawn from, and figures that count neighbours change with
    that; its effect on both sets is taken out here.
    """
    usable = drawn[np.isfinite(drawn)]
    if not len(usable):
        return Figure(value, -np.inf, np.inf)
    low, middle, high = np.percentile(usable, (50 * (1 - share), 50, 50 * (1 + share)))
    return Figure(value, value + float(low - middle), value + float(high - middle))


def overall(rows: dict[str, Compared]) -> Answer:
    """The kernel score decides, unless another measure says the opposite."""
    verdict = rows["kernel_score"].verdict
    others = {row.verdict for name, row in rows.items() if name != "kernel_score"}
    opposite = {"better": "worse", "worse": "better"}.get(verdict)
    return "cannot tell" if opposite in others else verdict


def overall_words(verdicts: Mapping[str, str], first: str, second: str) -> str:
    """The answer in a sentence that needs no glossary.

    Parameters
    ----------
    verdicts : mapping
        `better`, `worse` or `cannot tell` of the first by the name of the measure.
    first, second : str
        What the two are called.
    """
    decides = verdicts.get("kernel_score", "cannot tell")
    ahead = {
        name: [AHEAD.get(key, key) for key, verdict in verdicts.items() if verdict == word and key != "kernel_score"]
        for name, word in ((first, "better"), (second, "worse"))
    }
    if decides == "cannot tell":
        sides = [f"{name} is ahead in {join_names(what)}" for name, what in ahead.items() if what]
        if not sides:
            return f"It cannot be told whether {first} or {second} makes better music: they differ no more than chance."
        return (
            f"It cannot be told whether {first} or {second} makes better music: they are equally near to real "
            f"music, as far as can be told, though {' and '.join(sides)}."
        )
    winner, other = (first, second) if decides == "better" else (second, first)
    if ahead[other]:
        return (
            f"It cannot be told whether {first} or {second} makes better music: that of {winner} is nearer to real "
            f"music, but {other} is ahead in {join_names(ahead[other])}."
        )
    also = f", and it is ahead in {join_names(ahead[winner])}" if ahead[winner] else ""
    return f"{winner} makes better music than {other}: it is nearer to real music{also}."


def _kernel_score(reference: Reference, made: MadeSet, weights: Weights) -> Resampled:
    clips = reference.scale.transform(made.features)
    labels = [("made", index) for index in range(len(clips))]
    kernel = reference.kernel
    within = KernelPairs.of(clips, clips, labels, labels, kernel, same=True)
    across = KernelPairs.of(clips, reference.real, labels, reference.files, kernel, same=False)
    within_real = KernelPairs.of(reference.real, reference.real, reference.files, reference.files, kernel, same=True)

    def score(own: NDArray, real: NDArray) -> NDArray:
        distance = within_real.mean(real, real) + within.mean(own, own) - 2 * across.mean(own, real)
        return (distance - reference.floor) / reference.span

    value = score(np.ones((1, len(clips))), np.ones((1, len(reference.real))))
    return Resampled(float(value[0]), score(weights.made, weights.real))


def _coverage(reference: Reference, made: MadeSet, weights: Weights) -> Resampled:
    clips, real = reference.scale.transform(made.features) @ reference.whitening, reference.real @ reference.whitening
    labels = [("made", index) for index in range(len(clips))]
    near = squared_distances(real, clips) <= neighbour_distances(real, reference.files, NEIGHBOURS)[:, None]
    hit = (weights.made > 0).astype(np.float64) @ near.T > 0
    value = covered(clips, real, set_files=labels, real_files=reference.files).mean()
    return Resampled(float(value), weighted(hit, weights.real))


def _recall(reference: Reference, made: MadeSet, weights: Weights) -> Resampled:
    clips, real = reference.scale.transform(made.features) @ reference.whitening, reference.real @ reference.whitening
    labels = [("made", index) for index in range(len(clips))]
    own, across = squared_distances(clips, clips), squared_distances(real, clips)
    np.fill_diagonal(own, np.inf)
    place = min(NEIGHBOURS, len(clips) - 1) - 1
    hits = []
    for begin in range(0, len(weights.made), CHUNK):
        is_drawn = weights.made[begin : begin + CHUNK] > 0
        neighbours = np.where(is_drawn[:, None, :], own, np.inf)
        radii = np.where(is_drawn, np.partition(neighbours, place, axis=2)[:, :, place], -1.0)
        hits.append((across <= radii[:, None, :]).any(axis=2))
    value = recalled(clips, real, set_files=labels, real_files=reference.files).mean()
    return Resampled(float(value), weighted(np.concatenate(hits), weights.real))


def _diversity(reference: Reference, made: MadeSet, weights: Weights) -> Resampled:
    clips = reference.scale.transform(made.features)
    real = max(mean_distance(reference.real, reference.files), 1e-9)
    labels = [("made", index) for index in range(len(clips))]
    distances = np.sqrt(squared_distances(clips, clips))
    np.fill_diagonal(distances, 0.0)
    pairs = np.square(weights.made.sum(axis=1)) - np.square(weights.made).sum(axis=1)
    drawn = ((weights.made @ distances) * weights.made).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
    return Resampled(mean_distance(clips, labels) / real, drawn / real)


def _inside(reference: Reference, made: MadeSet, weights: Weights) -> Resampled:
    return Resampled(
        float(made.inside.mean()), weighted(np.broadcast_to(made.inside, weights.made.shape), weights.made)
    )


def weighted(values: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Mean over the second axis, by weights of the same shape [shape=(resamples,)]."""
    return (values * weights).sum(axis=1) / weights.sum(axis=1)


PAIRED_MEASURES: Sequence[PairedMeasure] = (
    PairedMeasure("kernel_score", "lower", _kernel_score, lambda figure: figure),
    PairedMeasure("coverage", "higher", _coverage, lambda figure: -figure, widest=1.0),
    PairedMeasure("recall", "higher", _recall, lambda figure: -figure, widest=1.0),
    PairedMeasure("diversity", "near 1", _diversity, lambda figure: np.abs(figure - 1.0)),
    PairedMeasure("inside", "higher", _inside, lambda figure: -figure, widest=1.0),
)
