"""How far one set of clips is from another, in hand-made features: kernel distance, kernel score, diversity."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.clip_features import groups_of
from piano.evaluation.spectra import Array, mono_mix, stft_power

Labels = Sequence[object]
LEAST_BANDWIDTH = 0.1
"""Of an aspect, beside its share in the whole: in one that never moves in real music not every rounding counts."""


WHITENING_RIDGE = 2.0
"""With less, coverage asks for the very sound of a song; with more, for what all music has
(docs/ruler.md, benchmarks/ruler_damages.py)."""


class FeatureScale(NamedTuple):
    """Turns raw features into numbers that can be compared: fitted on real clips, used on everything.

    Every feature is centred and divided by its spread over the real clips. Spreads much smaller than those of its
    aspect are raised, so that a number that never moves in real music does not drown the others. Every aspect of
    `clip_features.groups_of` then weighs the same, whatever its size.
    """

    mean: NDArray[np.float64]
    """[shape=(features,)]"""
    std: NDArray[np.float64]
    """Spread over the reference, before the raising [shape=(features,)]"""
    spread: NDArray[np.float64]
    """The same after the raising: what the centred features are divided by [shape=(features,)]"""
    weight: NDArray[np.float64]
    """Divides the features so that every aspect weighs the same [shape=(features,)]"""

    @classmethod
    def fit(cls, features: NDArray) -> "FeatureScale":
        """Fit on raw features of real clips [shape=(clips, features)]; ValueError for fewer than two clips."""
        if len(features) < 2:
            raise ValueError("a feature scale needs two real clips at least")
        features = np.asarray(features, dtype=np.float64)
        mean, std = features.mean(axis=0), features.std(axis=0, ddof=1)
        sizes = _aspect_sizes(features.shape[1])
        groups = np.split(std, np.cumsum(sizes)[:-1])
        spread = np.concatenate([np.hypot(group, 0.3 * np.median(group) + 1e-3) for group in groups])
        return cls(mean, std, spread, np.sqrt(len(sizes) * np.repeat(sizes, sizes)))

    def transform(self, features: NDArray) -> NDArray[np.float64]:
        """Standardised features [shape=(clips, features)]: real clips have a summed variance of about 1.

        A number far outside of real music counts as at most five spreads: one absurd number must not hide the others.
        """
        spreads = (np.asarray(features, dtype=np.float64) - self.mean) / self.spread
        return 5 * np.tanh(spreads / 5) / self.weight


def _aspect_sizes(features: int) -> list[int]:
    """Sizes of the aspects, or one aspect for features of another origin (an encoder's, say)."""
    return list(groups_of(features).values()) or [features]


def squared_distances(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Squared Euclidean distances of all pairs [shape=(rows of a, rows of b)]."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.maximum(np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T, 0)


def pairs_to_compare(
    a_files: Labels | None, b_files: Labels | None, shape: tuple[int, int], same_set: bool
) -> NDArray[np.bool_]:
    """Which pairs count: all of different files, and never a clip with itself."""
    allowed = np.ones(shape, dtype=bool)
    if a_files is not None and b_files is not None:
        if (len(a_files), len(b_files)) != shape:
            raise ValueError(f"file labels for {len(a_files)} and {len(b_files)} clips, but {shape} clips")
        allowed = np.array([[a != b for b in b_files] for a in a_files])
    if same_set:
        np.fill_diagonal(allowed, False)
    if not allowed.any():
        raise ValueError("no pair of clips is left to compare: give clips of two different files at least")
    return allowed


class Kernel(NamedTuple):
    """How alike two clips are, from 0 to 1: half of it as a whole, half as the mean over the aspects of sound.

    Rational quadratic, 1 / (1 + d^2 / (2 h^2)), h the median distance of real clips, and not Gaussian: its long tail
    still tells bad from worse, where the Gaussian one calls everything bad equally far. The aspects have an h each: one
    that is all wrong is not lost among those that are right.
    """

    sizes: tuple[int, ...]
    """Features of each aspect."""
    aspects: NDArray[np.float64]
    """Median squared distance of real clips in each aspect [shape=(aspects,)]"""
    whole: float
    """The same in all features together."""

    @classmethod
    def fit(cls, real: NDArray, files: Labels | None = None) -> "Kernel":
        """Bandwidths from standardised real clips [shape=(clips, features)]; pairs of one file are left out."""
        allowed = pairs_to_compare(files, files, (len(real), len(real)), same_set=True)
        sizes = tuple(_aspect_sizes(real.shape[1]))
        whole = max(float(np.median(squared_distances(real, real)[allowed])), 1e-12)
        least = LEAST_BANDWIDTH * whole / len(sizes)
        medians = [float(np.median(squared_distances(part, part)[allowed])) for part in _aspects(real, sizes)]
        return cls(sizes, np.maximum(medians, least), whole)

    def __call__(self, a: NDArray, b: NDArray) -> NDArray[np.float64]:
        """Of all pairs [shape=(rows of a, rows of b)]."""
        joint, each = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
        for median, own, other in zip(self.aspects, _aspects(a, self.sizes), _aspects(b, self.sizes), strict=True):
            squared = squared_distances(own, other)
            joint += squared
            each += 1 / (1 + squared / (2 * median))
        return np.asarray(0.5 / (1 + joint / (2 * self.whole)) + 0.5 * each / len(self.sizes))


def _aspects(clips: NDArray, sizes: Sequence[int]) -> list[NDArray]:
    return np.split(clips, np.cumsum(sizes)[:-1], axis=1)


def song_whitening(real: NDArray, files: Labels) -> NDArray[np.float64]:
    """A matrix [shape=(features, features)] after which what varies within a song counts for little.

    Within-class covariance normalisation (Hatch et al., "Within-class covariance normalization for SVM-based speaker
    recognition", 2006): the inverse root of the scatter of real clips about the mean of their song, with twice its mean
    added to every direction, so that few clips do not decide alone. What is left tells kinds of music from each other.
    Where no song has two clips it is the identity.
    """
    labels = np.array([str(file) for file in files])
    scatter, degrees = np.zeros((real.shape[1], real.shape[1])), 0
    for song in np.unique(labels):
        own = real[labels == song]
        centred = own - own.mean(axis=0)
        scatter += centred.T @ centred
        degrees += len(own) - 1
    mean = float(np.trace(scatter)) / len(scatter)
    if not degrees or not mean > 1e-12:
        return np.eye(real.shape[1])
    values, vectors = np.linalg.eigh(scatter / mean + WHITENING_RIDGE * np.eye(len(scatter)))
    return np.asarray(vectors / np.sqrt(values))


def kernel_distance(
    generated: NDArray,
    reference: NDArray,
    *,
    generated_files: Labels | None = None,
    reference_files: Labels | None = None,
    kernel: Kernel | None = None,
) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of feature vectors: 0 for two draws of the same music.

    The kernel distance of KAD (arXiv 2502.15602; estimator: Gretton et al., JMLR 13, 2012), with the kernel fitted on
    the *reference*. Being unbiased, it may fall a little below zero.

    Parameters
    ----------
    generated, reference : array [shape=(clips, features)]
        Standardised features (`FeatureScale.transform`).
    generated_files, reference_files : sequence of labels, optional
        Where each clip was cut from. Pairs of the same file are left out, within each set and across: passages of one
        song are alike, and would make a set of few songs look concentrated.
    kernel : Kernel, optional
        By default fitted on the reference.

    Raises
    ------
    ValueError
        If a set has no pair of clips from different files.
    """
    within_reference = pairs_to_compare(
        reference_files, reference_files, (len(reference), len(reference)), same_set=True
    )
    within_generated = pairs_to_compare(
        generated_files, generated_files, (len(generated), len(generated)), same_set=True
    )
    across = pairs_to_compare(generated_files, reference_files, (len(generated), len(reference)), same_set=False)
    alike = kernel or Kernel.fit(reference, reference_files)
    return float(
        alike(reference, reference)[within_reference].mean()
        + alike(generated, generated)[within_generated].mean()
        - 2 * alike(generated, reference)[across].mean()
    )


def real_floor(
    real: NDArray, *, real_files: Labels | None = None, kernel: Kernel | None = None, splits: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance of one half of the real files to the other: mean and spread over random splits.

    Parameters
    ----------
    real : array [shape=(clips, features)]
        Standardised features.
    kernel : Kernel, optional
        By default fitted on all of them.

    Returns
    -------
    tuple of float
        Mean and standard deviation; (0, 0) when there are fewer than four files, which cannot be split.
    """
    labels = np.array([str(file) for file in (real_files if real_files is not None else range(len(real)))])
    files = np.unique(labels)
    if len(files) < 4:
        return 0.0, 0.0
    random = np.random.default_rng(seed)
    allowed = pairs_to_compare(labels.tolist(), labels.tolist(), (len(real), len(real)), same_set=True).astype(float)
    alike = allowed * (kernel or Kernel.fit(real, real_files))(real, real)
    halves = [np.isin(labels, random.permutation(files)[: len(files) // 2]) for _ in range(splits)]
    half = np.array(halves, dtype=np.float64)

    def mean_kernel(a: NDArray, b: NDArray) -> NDArray:
        return ((a @ alike) * b).sum(axis=1) / ((a @ allowed) * b).sum(axis=1)

    distances = mean_kernel(half, half) + mean_kernel(1 - half, 1 - half) - 2 * mean_kernel(half, 1 - half)
    return float(np.mean(distances)), float(np.std(distances))


class KernelScore(NamedTuple):
    score: float
    """0: as near as other real music; 1: as far as noise with the music's spectrum. May leave [0, 1]."""
    distance: float
    """Kernel distance of the generated clips to the real ones."""
    noise_distance: float
    """The same of the noise."""
    floor: float
    """The same of real music to other real music, by halves of the files."""
    floor_spread: float
    """Standard deviation over random halves: differences of scores under floor_spread / noise_distance are chance."""


def kernel_score(
    *,
    generated: NDArray,
    real: NDArray,
    noise: NDArray,
    generated_files: Labels | None = None,
    real_files: Labels | None = None,
    noise_files: Labels | None = None,
    seed: int = 0,
) -> KernelScore:
    """Kernel distance of generated clips on a scale that can be read: 0 is other real music, 1 is noise.

    (distance - floor) / (noise_distance - floor), all in features standardised by the real clips.

    Parameters
    ----------
    generated, real, noise : array [shape=(clips, features)]
        Raw features (`feature_matrix`); noise: of `spectrum_noise` of the real clips.
    generated_files, real_files, noise_files : sequence of labels, optional
        See `kernel_distance`. Reconstructions carry the file of their original.
    """
    scale = FeatureScale.fit(real)
    real = scale.transform(real)
    floor, spread = real_floor(real, real_files=real_files, seed=seed)
    distance = kernel_distance(
        scale.transform(generated), real, generated_files=generated_files, reference_files=real_files
    )
    noise_distance = kernel_distance(
        scale.transform(noise), real, generated_files=noise_files, reference_files=real_files
    )
    score = (distance - floor) / max(noise_distance - floor, 1e-9)
    return KernelScore(score, distance, noise_distance, floor, spread)


def aspect_gaps(*, generated: NDArray, real: NDArray) -> dict[str, float]:
    """How far the mean of the generated clips is off in each aspect, in spreads of the real clips (root mean square).

    Says *what* is wrong where the kernel score says how much. Below about 2 / sqrt(clips) it is chance.

    Parameters
    ----------
    generated, real : array [shape=(clips, features)]
        Raw features.
    """
    scale = FeatureScale.fit(real)
    offsets = scale.transform(generated).mean(axis=0) - scale.transform(real).mean(axis=0)
    groups = np.split(offsets * scale.weight, np.cumsum(_aspect_sizes(len(offsets)))[:-1])
    names = list(groups_of(len(offsets))) or ["all"]
    return {name: float(np.sqrt(np.mean(np.square(group)))) for name, group in zip(names, groups, strict=True)}


def diversity(*, generated: NDArray, real: NDArray, real_files: Labels | None = None) -> float:
    """Mean pairwise distance of the generated clips over the same of real clips of different files.

    1 is as varied as real music, 0 is one clip again and again.

    Parameters
    ----------
    generated, real : array [shape=(clips, features)]
        Raw features.
    """
    scale = FeatureScale.fit(real)
    generated, real = scale.transform(generated), scale.transform(real)
    own = pairs_to_compare(None, None, (len(generated), len(generated)), same_set=True)
    reference = pairs_to_compare(real_files, real_files, (len(real), len(real)), same_set=True)
    own_distance = float(np.sqrt(squared_distances(generated, generated)[own]).mean())
    return own_distance / max(float(np.sqrt(squared_distances(real, real)[reference]).mean()), 1e-9)


def spectrum_noise(real: Sequence[NDArray] | NDArray, sample_rate: int, *, seed: int = 0) -> list[Array]:
    """Gaussian noise with the music's own long-term spectrum, and each clip's own loudness: the scale's bad end.

    The spectrum is the mean over all clips, smoothed to a third of an octave: without smoothing the notes that were
    played most would ring in the noise.

    Parameters
    ----------
    real : sequence of arrays [shape=(channels, samples)]

    Returns
    -------
    list of arrays [shape=(channels, samples)]
        One for each clip, of its shape; channels are independent.
    """
    n_fft = 2 ** round(math.log2(0.128 * sample_rate))
    power = np.mean([stft_power(mono_mix(clip), n_fft, n_fft // 2).mean(axis=0) for clip in real], axis=0)
    bins = np.arange(len(power))
    low = np.floor(bins * 2 ** (-1 / 6)).astype(int)
    high = np.minimum(np.ceil(bins * 2 ** (1 / 6)).astype(int) + 1, len(power))
    sums = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    smooth = np.sqrt((sums[high] - sums[low]) / (high - low))
    random = np.random.default_rng(seed)
    noises = []
    for clip in real:
        clip = np.asarray(clip, dtype=np.float32)
        spectrum = np.fft.rfft(random.standard_normal(clip.shape).astype(np.float32), axis=1)
        gain = np.interp(np.linspace(0, len(power) - 1, spectrum.shape[1]), bins, smooth).astype(np.float32)
        noise = np.fft.irfft(spectrum * gain, clip.shape[1], axis=1)
        level = np.sqrt(np.mean(np.square(clip)) / max(float(np.mean(np.square(noise))), 1e-20))
        noises.append((noise * level).astype(np.float32))
    return noises
