"""The ruler: real music measured once, then any set of clips held against it, beside a scale that can be read."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.bootstrap import Figure, mean_figure
from piano.evaluation.clip_features import feature_vector
from piano.evaluation.continuations import Agreement, agreement, click_ratio, click_ratios_of_music
from piano.evaluation.distances import aspect_gaps, spectrum_noise
from piano.evaluation.learned_songs import Overlap
from piano.evaluation.measures import DESCRIPTORS, PAIR_MEASURES, describe
from piano.evaluation.memorisation import Memorisation
from piano.evaluation.metrics import log_magnitude_ratio, pitch_found_share
from piano.evaluation.music_folder import count_songs
from piano.evaluation.set_scores import Reference, SetScores, mean_scores, real_scores, score_set

Clips = Sequence[NDArray]
ProgressWatch = Callable[[Clips, str], Any]
"""Wraps a list of clips to show progress; gets the clips and a word for what is done."""
WHITE_RMS = 10 ** (-18 / 20)
COLLAPSE_SHIFT_SECONDS = 0.05
MOST_NOISE = 16
"""Clips of noise are all alike; more would only cost time."""


def unwatched(clips: Clips, words: str) -> Clips:
    """No progress to show."""
    return clips


class Ruler(NamedTuple):
    """Real music, measured once."""

    sample_rate: int
    clips: list[NDArray]
    """Real clips [shape=(channels, samples)]"""
    files: list[Hashable]
    features: NDArray
    """Of the real clips [shape=(clips, features)]"""
    reference: Reference
    descriptors: dict[str, NDArray]
    """For each descriptor its value for every real clip [shape=(clips,)]"""
    scale: dict[str, SetScores]
    """What can be expected: other real music, noise with the music's spectrum, white noise, one song repeated."""
    noise_descriptors: dict[str, float]
    """Mean of each descriptor over the spectrum noise."""
    seed: int

    @property
    def songs(self) -> int:
        """Recordings that the real clips are from."""
        return count_songs(self.files)

    @property
    def reason(self) -> str:
        """Why there is no scale to hold anything against; empty where there is one."""
        return self.reference.reason


class Described(NamedTuple):
    """One descriptor of a set of clips."""

    mean: Figure
    median: float
    low: float
    """5th percentile of real clips."""
    high: float
    """95th percentile of real clips."""
    real: float
    """Mean of real clips."""
    noise: float
    """Mean of noise with the music's spectrum."""
    share_inside: float
    """Share of the clips within the real band, where 0.9 of the real clips are."""

    @property
    def is_inside(self) -> bool:
        """Whether the mean lies in the real band."""
        return self.low <= self.mean.value <= self.high


class Scores(NamedTuple):
    """One set of clips held against real music."""

    sets: SetScores
    descriptors: dict[str, Described]
    gaps: dict[str, float]
    """How far each aspect of sound is off, in spreads of real music (`distances.aspect_gaps`)."""
    features: NDArray
    """Of the clips, raw [shape=(clips, features)]"""
    seeds: Sequence[SetScores] = ()
    """Of every seed alone, where there are several: `sets` is their mean."""
    clips: int = 0
    """Made clips of each seed."""


class Continued(NamedTuple):
    """Continuations held against their prompts, and against what the songs really play next."""

    seam: Figure
    """Mean click ratio at the seams."""
    seam_low: float
    seam_high: float
    """5th and 95th percentile at random places of real music."""
    seams_inside: float
    """Share of the seams within that band; 0.9 is what real music has."""
    agreement: dict[str, Agreement]
    real_agreement: dict[str, Agreement]


class Reconstructed(NamedTuple):
    """Reconstructions held against their originals."""

    pairs: dict[str, Figure]
    """Mean of each pair measure."""
    unrelated: dict[str, float]
    """The same between originals of different songs: the bad end."""
    R: float
    """Log magnitudes missed, 0 to 1."""
    P: float
    """Pitches found, 0 to 1."""


class GeneratorScore(NamedTuple):
    """All that is known about a generator, or about a folder of its music."""

    samples: Scores
    continuations: Continued | None = None
    reconstructions: Reconstructed | None = None
    reconstruction_sets: SetScores | None = None
    memorisation: Memorisation | None = None
    not_searched: str = ""
    """Why there was no search for copies, though training music was named."""
    overlap: Overlap | None = None
    """Songs of the ruler that were learned from; None where that is not known."""


def fit_ruler(
    clips: Clips, files: Sequence[Hashable], sample_rate: int, *, seed: int = 0, watch: ProgressWatch = unwatched
) -> Ruler:
    """Measure real music, and the scale.

    Parameters
    ----------
    clips : sequence of arrays [shape=(channels, samples)]
        Of equal length, which the clips to be judged should have too; from twenty files or more if there are.
    files : sequence of labels
        Where each clip was cut from.

    Raises
    ------
    ValueError
        For clips of fewer than two files.
    """
    noise = spectrum_noise(clips, sample_rate, seed=seed)[:MOST_NOISE]
    features = features_of(clips, sample_rate, watch, "real music")
    noise_features = features_of(noise, sample_rate, watch, "noise with its spectrum")
    reference = Reference.fit(features, files, noise_features, seed=seed)
    random = np.random.default_rng(seed)
    white = [WHITE_RMS * random.standard_normal(np.shape(clip)).astype(np.float32) for clip in noise]
    white_features = features_of(white, sample_rate, watch, "white noise")
    return Ruler(
        sample_rate=sample_rate,
        clips=list(clips),
        files=list(files),
        features=features,
        reference=reference,
        descriptors=describe_all(clips, sample_rate, watch, "real music, described"),
        scale={
            "other real music": real_scores(reference, seed=seed),
            "one song repeated": score_set(
                reference, one_song(clips, reference, sample_rate, len(noise)), _labels(len(noise)), seed=seed
            ),
            "noise, music's spectrum": score_set(reference, noise_features, _labels(len(noise)), seed=seed),
            "white noise": score_set(reference, white_features, _labels(len(white)), seed=seed),
        },
        noise_descriptors={
            name: float(np.mean(values)) for name, values in describe_all(noise[:8], sample_rate, unwatched, "").items()
        },
        seed=seed,
    )


def one_song(clips: Clips, reference: Reference, sample_rate: int, count: int) -> NDArray:
    """Features of a collapse: the most typical real clip again and again, up to 50 ms earlier or later.

    Eight different shifts are heard; more of the same would bring nothing new.
    """
    centre = reference.real.mean(axis=0)
    typical = np.asarray(clips[int(np.linalg.norm(reference.real - centre, axis=1).argmin())])
    step = round(COLLAPSE_SHIFT_SECONDS * sample_rate / 8)
    heard = [feature_vector(np.roll(typical, step * shift, axis=1), sample_rate) for shift in range(min(8, count))]
    return np.stack([heard[index % len(heard)] for index in range(count)])


def features_of(clips: Clips, sample_rate: int, watch: ProgressWatch = unwatched, words: str = "") -> NDArray:
    """`feature_vector` of every clip, with progress [shape=(clips, features)]."""
    return np.stack([feature_vector(clip, sample_rate) for clip in watch(clips, words)])


def describe_all(clips: Clips, sample_rate: int, watch: ProgressWatch, words: str) -> dict[str, NDArray]:
    """Every descriptor of every clip; those that do not apply to clips so short are left out."""
    rows = [describe(clip, sample_rate) for clip in watch(clips, words)]
    columns = {row.name: np.array([values[row.name] for values in rows]) for row in DESCRIPTORS}
    return {name: values for name, values in columns.items() if np.isfinite(values).all()}


def _labels(count: int) -> list[Hashable]:
    """Labels of clips that come from no file."""
    return [("made", index) for index in range(count)]


def score_clips(
    ruler: Ruler,
    clips: Clips,
    *,
    files: Sequence[Hashable] | None = None,
    seeds: int = 1,
    watch: ProgressWatch = unwatched,
) -> Scores:
    """Hold a set of clips against real music.

    Parameters
    ----------
    clips : sequence of arrays [shape=(channels, samples)]
        As long as the real ones.
    files : sequence of labels, optional
        Where each was cut from; by default each stands alone.
    seeds : int
        So many sets of equal size, one after the other: each is held against the music alone, since coverage and
        recall grow with the number of clips.
    """
    labels = _labels(len(clips)) if files is None else list(files)
    features = features_of(clips, ruler.sample_rate, watch, "samples")
    described = describe_all(clips, ruler.sample_rate, watch, "samples, described")
    each = len(clips) // seeds
    own = [slice(turn * each, (turn + 1) * each) for turn in range(seeds)]
    sets = [score_set(ruler.reference, features[part], labels[part], seed=ruler.seed) for part in own]
    return Scores(
        sets=mean_scores(sets),
        seeds=sets if seeds > 1 else (),
        clips=each,
        descriptors={
            name: _described(values, ruler.descriptors[name], ruler.noise_descriptors[name], labels, ruler.seed)
            for name, values in described.items()
            if name in ruler.descriptors
        },
        gaps=aspect_gaps(generated=features, real=ruler.features),
        features=features,
    )


def _described(values: NDArray, real: NDArray, noise: float, labels: list[Hashable], seed: int) -> Described:
    low, high = (float(edge) for edge in np.percentile(real, (5, 95)))
    return Described(
        mean=mean_figure(values, labels, seed=seed),
        median=float(np.median(values)),
        low=low,
        high=high,
        real=float(real.mean()),
        noise=noise,
        share_inside=float(((values >= low) & (values <= high)).mean()),
    )


def score_continuations(ruler: Ruler, prompts: Clips, continuations: Clips, real_next: Clips) -> Continued | None:
    """Hold continuations against their prompts; None for fewer than three.

    Parameters
    ----------
    prompts, continuations, real_next : sequences of arrays [shape=(channels, samples)]
        In the same order; `real_next` is what the song of each prompt really plays after it.
    """
    if len(prompts) < 3:
        return None
    rate = ruler.sample_rate
    seams = [
        click_ratio(np.concatenate([prompt, made], axis=1), rate, prompt.shape[1])
        for prompt, made in zip(prompts, continuations, strict=True)
    ]
    low, high = np.percentile(click_ratios_of_music(ruler.clips, rate, seed=ruler.seed), (5, 95))
    middle = mean_figure(seams, range(len(seams)), seed=ruler.seed)
    return Continued(
        seam=middle,
        seam_low=float(low),
        seam_high=float(high),
        seams_inside=float(np.mean([low <= ratio <= high for ratio in seams])),
        agreement=agreement(prompts, continuations, rate, seed=ruler.seed),
        real_agreement=agreement(prompts, real_next, rate, seed=ruler.seed),
    )


def score_reconstructions(ruler: Ruler, reconstructions: Clips, *, watch: ProgressWatch = unwatched) -> Reconstructed:
    """Hold reconstructions of the ruler's own clips, in their order, against them."""
    rate, originals = ruler.sample_rate, ruler.clips
    rows, apart = [], []
    for index, copy in enumerate(watch(reconstructions, "reconstructions")):
        rows.append(
            [row.measure(reconstruction=copy, original=originals[index], sample_rate=rate) for row in PAIR_MEASURES]
        )
    for index in range(0, len(originals), max(1, len(originals) // 8)):
        other = next(k for k in range(len(originals)) if ruler.files[k] != ruler.files[index])
        apart.append(
            [
                row.measure(reconstruction=originals[other], original=originals[index], sample_rate=rate)
                for row in PAIR_MEASURES
            ]
        )
    columns, far = np.array(rows).T, np.mean(apart, axis=0)
    return Reconstructed(
        pairs={
            row.name: mean_figure(column, ruler.files[: len(column)], seed=ruler.seed)
            for row, column in zip(PAIR_MEASURES, columns, strict=True)
        },
        unrelated={row.name: float(value) for row, value in zip(PAIR_MEASURES, far, strict=True)},
        R=log_magnitude_ratio(
            reconstruction=reconstructions,
            original=originals[: len(reconstructions)],
            sample_rate=rate,
            files=ruler.files[: len(reconstructions)],
        ),
        P=pitch_found_share(
            reconstruction=reconstructions, original=originals[: len(reconstructions)], sample_rate=rate
        ),
    )
