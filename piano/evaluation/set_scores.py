"""One set of clips against real music: kernel score, coverage, recall, diversity, each with its interval.

Real music is measured once (`Reference`), then any number of sets is held against it.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.bootstrap import Figure, file_weights, mean_figure, with_interval
from piano.evaluation.distances import (
    FeatureScale,
    Kernel,
    kernel_distance,
    pairs_to_compare,
    real_floor,
    song_whitening,
    squared_distances,
)
from piano.evaluation.told_apart import told_right
from piano.foundation.score_words import FEWEST_CLIPS, measured_on

Files = Sequence[Hashable]
NEIGHBOURS = 3
"""k of coverage and recall. In two equal draws of the same music coverage is about 1 - 2^-k (Naeem et al. 2020,
Lemma 2), so 0.88; a larger k would be kinder still to other real music, but also to one typical clip repeated."""
SPLITS = 40
LEAST_SPREAD = 0.2
"""Mean distance between standardised real clips below which they are one clip: about 1.3 for any music."""
LEAST_SPAN = 0.02
"""Kernel distance from other real music to noise below which there is no scale: 0.2 to 0.6 for any music."""
NO_FIGURE = Figure(float("nan"), float("nan"), float("nan"))


class Reference(NamedTuple):
    """Real music, and noise with its spectrum, in features that can be compared."""

    scale: FeatureScale
    real: NDArray[np.float64]
    """Standardised features of the real clips [shape=(clips, features)]"""
    files: list[Hashable]
    noise: NDArray[np.float64]
    """The same of noise with the spectrum of the real clips."""
    floor: float
    """Kernel distance of real music to other real music."""
    noise_distance: float
    """Kernel distance of the noise to real music."""
    kernel: Kernel
    whitening: NDArray[np.float64]
    """`distances.song_whitening`: coverage and recall look at what tells songs apart [shape=(features, features)]"""
    reason: str = ""
    """Why there is no scale, so that no figure can be given; empty where there is one."""

    @classmethod
    def fit(cls, real: NDArray, files: Files, noise: NDArray, *, seed: int = 0) -> "Reference":
        """Fit on raw features of real clips and of their spectrum noise [shape=(clips, features)]."""
        scale = FeatureScale.fit(real)
        scaled, scaled_noise = scale.transform(real), scale.transform(noise)
        kernel = Kernel.fit(scaled, files)
        floor, _ = real_floor(scaled, real_files=files, kernel=kernel, seed=seed)
        noise_distance = kernel_distance(scaled_noise, scaled, reference_files=files, kernel=kernel)
        reason = why_no_scale(scaled, files, span=noise_distance - floor)
        whitening = np.eye(scaled.shape[1]) if reason else song_whitening(scaled, files)
        return cls(scale, scaled, list(files), scaled_noise, floor, noise_distance, kernel, whitening, reason)

    @property
    def hears_kinds(self) -> bool:
        """Whether a song gave two clips or more, so that coverage and recall know what varies within one."""
        return len(set(self.files)) < len(self.files)

    @property
    def span(self) -> float:
        """Kernel distance from score 0 to score 1."""
        return max(self.noise_distance - self.floor, 1e-9)

    def distance_at(self, kernel_score: float) -> float:
        """The kernel distance that has this score."""
        return self.floor + self.span * kernel_score


def why_no_scale(real: NDArray, files: Files, *, span: float) -> str:
    """Why real music makes no scale from 0 to 1, in words that go on `cannot tell: ...`; empty where it does.

    Parameters
    ----------
    real : array [shape=(clips, features)]
        Standardised features.
    span : float
        Kernel distance from other real music to noise.
    """
    if len(real) < FEWEST_CLIPS:
        return f"there {'is' if len(real) == 1 else 'are'} {measured_on(len(real), None)}"
    if not np.isfinite(real).all() or not np.isfinite(span):
        return "the real music holds something that is no number"
    if mean_distance(real, files) < LEAST_SPREAD:
        return "the clips of real music are silent, or all the same"
    if span < LEAST_SPAN:
        return "the real music is no farther from itself than from noise"
    return ""


class SetScores(NamedTuple):
    """Figures of one set of clips."""

    kernel_score: Figure
    """0: as near to the real clips as other real music; 1: as far as noise with its spectrum."""
    coverage: Figure
    """Share of real clips that have a clip of the set among what is near to them."""
    recall: Figure
    """Share of real clips that lie within the spread of the set."""
    diversity: Figure
    """Mean distance between clips of the set, over the same of real music."""
    told_apart: Figure
    """Share of the clips that a judge which never heard their songs tells right; 0.5 is chance (`told_apart`)."""
    strays: Figure
    """Share of the clips that are farther from every real clip than 95 of 100 real clips are from all others."""


NOTHING_KNOWN = SetScores(*(NO_FIGURE for _ in SetScores._fields))


def score_set(reference: Reference, features: NDArray, files: Files, *, seed: int = 0) -> SetScores:
    """Hold a set of clips against real music.

    Parameters
    ----------
    reference : Reference
    features : array [shape=(clips, features)]
        Raw features (`feature_matrix`).
    files : sequence of labels [shape=(clips,)]
        Clips of the same file as a real one (reconstructions) are not compared with it.
    """
    if reference.reason:
        return NOTHING_KNOWN
    clips = reference.scale.transform(features)
    kinds, real_kinds = clips @ reference.whitening, reference.real @ reference.whitening
    return SetScores(
        kernel_score=kernel_score_figure(reference, clips, files, seed=seed),
        coverage=mean_figure(
            covered(kinds, real_kinds, set_files=files, real_files=reference.files), reference.files, seed=seed
        ),
        recall=mean_figure(
            recalled(kinds, real_kinds, set_files=files, real_files=reference.files), reference.files, seed=seed
        ),
        diversity=diversity_figure(reference, clips, files, seed=seed),
        told_apart=told_apart_figure(reference, clips, files, seed=seed),
        strays=mean_figure(
            strayed(clips, reference.real, set_files=files, real_files=reference.files), files, seed=seed
        ),
    )


def mean_scores(sets: Sequence[SetScores]) -> SetScores:
    """The mean of several sets. Its interval is the mean one, and never narrower than from the least to the most.

    All are held against the same real songs, which is what most of an interval comes from: more sets do not shrink it.
    """
    if len(sets) == 1:
        return sets[0]
    figures = []
    for column in zip(*sets, strict=True):
        value, low, high = (float(np.mean(ends)) for ends in zip(*column, strict=True))
        values = [figure.value for figure in column]
        figures.append(Figure(value, min(low, *values), max(high, *values)))
    return SetScores(*figures)


def real_scores(reference: Reference, *, seed: int = 0) -> SetScores:
    """What other real music scores: one half of the files against the other, over many random halves.

    The interval is that of the halves: a set of half the size that lies within it cannot be told from real music.
    """
    names = list(dict.fromkeys(reference.files))
    if len(names) < 4 or reference.reason:
        return NOTHING_KNOWN
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(SPLITS):
        chosen = {names[index] for index in random.permutation(len(names))[: len(names) // 2]}
        half = np.array([file in chosen for file in reference.files])
        own_files = [file for file in reference.files if file in chosen]
        other_files = [file for file in reference.files if file not in chosen]
        own, other = reference.real[half], reference.real[~half]
        kinds, other_kinds = own @ reference.whitening, other @ reference.whitening
        distance = kernel_distance(
            own, other, generated_files=own_files, reference_files=other_files, kernel=reference.kernel
        )
        right = told_right(own, other, made_files=own_files, real_files=other_files, kernel=reference.kernel, seed=seed)
        rows.append(
            (
                distance / max(reference.noise_distance, 1e-9),
                covered(kinds, other_kinds, set_files=own_files, real_files=other_files).mean(),
                recalled(kinds, other_kinds, set_files=own_files, real_files=other_files).mean(),
                mean_distance(own, own_files) / max(mean_distance(other, other_files), 1e-9),
                right.share if right else np.nan,
                strayed(own, other, set_files=own_files, real_files=other_files).mean(),
            )
        )
    columns = np.array(rows).T
    return SetScores(*(with_interval(float(column.mean()), column) for column in columns))


def kernel_score_figure(reference: Reference, clips: NDArray, files: Files, *, seed: int = 0) -> Figure:
    """Kernel score of standardised features, with its interval: real files and clips of the set are drawn again.

    See `distances.kernel_score` for the definition. Where the set was made from the real files (reconstructions),
    both are drawn together.
    """
    return with_interval(*kernel_score_draws(reference, clips, files, seed=seed))


def kernel_score_draws(
    reference: Reference, clips: NDArray, files: Files, *, seed: int = 0
) -> tuple[float, NDArray[np.float64]]:
    """Kernel score of standardised features, and what it is when songs are drawn again [shape=(resamples,)].

    The same seed draws the same songs: sets that were made from the same files can be held against each other.
    """
    real_weights = file_weights(reference.files, seed=seed)
    own_weights = joint_weights(reference.files, files, seed=seed)
    noise_weights = file_weights(range(len(reference.noise)), seed=seed + 2)
    kernel = reference.kernel
    within_real = KernelPairs.of(reference.real, reference.real, reference.files, reference.files, kernel, same=True)

    def distances(set_clips: NDArray, set_files: Files, weights: NDArray) -> tuple[float, NDArray]:
        within = KernelPairs.of(set_clips, set_clips, set_files, set_files, kernel, same=True)
        across = KernelPairs.of(set_clips, reference.real, set_files, reference.files, kernel, same=False)
        one, many = np.ones((1, len(set_clips))), np.ones((1, len(reference.real)))
        value = within_real.mean(many, many) + within.mean(one, one) - 2 * across.mean(one, many)
        drawn = within_real.mean(real_weights, real_weights) + within.mean(weights, weights)
        return float(value[0]), drawn - 2 * across.mean(weights, real_weights)

    value, drawn = distances(clips, files, own_weights)
    noise_files = [("noise", index) for index in range(len(reference.noise))]
    _, noise_drawn = distances(reference.noise, noise_files, noise_weights)
    scores = (drawn - reference.floor) / np.maximum(noise_drawn - reference.floor, 1e-9)
    return (value - reference.floor) / reference.span, scores


def told_apart_figure(reference: Reference, clips: NDArray, files: Files, *, seed: int = 0) -> Figure:
    """Share of clips told right by a judge, with its interval: songs are drawn again among those it was asked about."""
    right = told_right(
        clips, reference.real, made_files=files, real_files=reference.files, kernel=reference.kernel, seed=seed
    )
    if right is None:
        return NO_FIGURE
    drawn = [
        (weights @ told) / np.where(weights.sum(axis=1) > 0, weights.sum(axis=1), np.nan)
        for weights, told in (
            (joint_weights(reference.files, files, seed=seed), right.made),
            (file_weights(reference.files, seed=seed), right.real),
        )
    ]
    return with_interval(right.share, (drawn[0] + drawn[1]) / 2)


def joint_weights(real_files: Files, files: Files, *, seed: int) -> NDArray[np.float64]:
    """Resampling weights of a set: those of the real files it was made from, or its own [shape=(resamples, clips)]."""
    if not set(files) <= set(real_files):
        return file_weights(files, seed=seed + 1)
    place = {file: index for index, file in reversed(list(enumerate(real_files)))}
    return file_weights(real_files, seed=seed)[:, [place[file] for file in files]]


class KernelPairs(NamedTuple):
    """Kernel of all pairs of two sets, and which pairs count."""

    kernel: NDArray[np.float64]
    allowed: NDArray[np.float64]

    @classmethod
    def of(cls, a: NDArray, b: NDArray, a_files: Files, b_files: Files, kernel: Kernel, *, same: bool) -> "KernelPairs":
        allowed = pairs_to_compare(a_files, b_files, (len(a), len(b)), same).astype(np.float64)
        return cls(allowed * kernel(a, b), allowed)

    def mean(self, a_weights: NDArray, b_weights: NDArray) -> NDArray[np.float64]:
        """Weighted mean kernel of every resample; not a number where no pair is left."""
        total = ((a_weights @ self.allowed) * b_weights).sum(axis=1)
        return ((a_weights @ self.kernel) * b_weights).sum(axis=1) / np.where(total > 0, total, np.nan)


def covered(
    clips: NDArray, real: NDArray, *, set_files: Files, real_files: Files, k: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """For every real clip: is a clip of the set nearer than its k-th nearest real clip of another file? 1 or 0.

    The mean is the coverage of Naeem et al. ("Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
    arXiv 2002.09797, equation 8). It falls to 0 for noise and for modes that are missed, and outliers cannot raise it.

    Parameters
    ----------
    clips, real : array [shape=(clips, features)]
        Standardised features.
    """
    radii = neighbour_distances(real, real_files, k)
    across = squared_distances(real, clips)
    across[~pairs_to_compare(real_files, set_files, across.shape, same_set=False)] = np.inf
    return (across.min(axis=1) <= radii).astype(np.float64)


def recalled(
    clips: NDArray, real: NDArray, *, set_files: Files, real_files: Files, k: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """For every real clip: is it nearer to a clip of the set than that one's k-th nearest other clip? 1 or 0.

    The mean is the recall of Kynkaanniemi et al. ("Improved Precision and Recall Metric for Assessing Generative
    Models", 2019, arXiv 1904.06991, equation 2): how much of the music the set's own spread reaches.
    """
    radii = neighbour_distances(clips, set_files, k)
    across = squared_distances(real, clips)
    across[~pairs_to_compare(real_files, set_files, across.shape, same_set=False)] = np.inf
    return np.asarray((across <= radii).any(axis=1), dtype=np.float64)


def strayed(clips: NDArray, real: NDArray, *, set_files: Files, real_files: Files) -> NDArray[np.float64]:
    """For every clip of the set: does it lie farther from all real ones than 95 of 100 real clips do? 1 or 0.

    Measured to the nearest of another file, so that about 0.05 of other real music strays.
    What a mean over the set hides, such as a few silent clips, is counted.

    Parameters
    ----------
    clips, real : array [shape=(clips, features)]
        Standardised features.
    """
    farthest = np.percentile(neighbour_distances(real, real_files, 1), 95)
    across = squared_distances(clips, real)
    across[~pairs_to_compare(set_files, real_files, across.shape, same_set=False)] = np.inf
    return (across.min(axis=1) > farthest).astype(np.float64)


def neighbour_distances(clips: NDArray, files: Files, k: int) -> NDArray[np.float64]:
    """Squared distance of each clip to its k-th nearest clip of another file [shape=(clips,)]."""
    squared = squared_distances(clips, clips)
    squared[~pairs_to_compare(files, files, squared.shape, same_set=True)] = np.inf
    ranked = np.sort(squared, axis=1)
    usable = np.isfinite(ranked).sum(axis=1)
    return np.asarray(np.take_along_axis(ranked, (np.clip(usable, 1, k) - 1)[:, None], axis=1)[:, 0])


def mean_distance(clips: NDArray, files: Files) -> float:
    """Mean distance between clips of different files."""
    allowed = pairs_to_compare(files, files, (len(clips), len(clips)), same_set=True)
    return float(np.sqrt(squared_distances(clips, clips)[allowed]).mean())


def diversity_figure(reference: Reference, clips: NDArray, files: Files, *, seed: int = 0) -> Figure:
    """Mean distance between clips of the set over that of real clips, with its interval: 1 is as varied as music."""
    real = mean_distance(reference.real, reference.files)
    allowed = pairs_to_compare(files, files, (len(clips), len(clips)), same_set=True).astype(np.float64)
    distances = np.sqrt(squared_distances(clips, clips)) * allowed
    weights = file_weights(files, seed=seed)
    total = ((weights @ allowed) * weights).sum(axis=1)
    drawn = ((weights @ distances) * weights).sum(axis=1) / np.where(total > 0, total, np.nan)
    return with_interval(mean_distance(clips, files) / max(real, 1e-9), drawn / max(real, 1e-9))
