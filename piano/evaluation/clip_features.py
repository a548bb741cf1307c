"""What a clip sounds like, in one vector of hand-made numbers: pitch, order in time, timbre, rhythm, loudness.

They are chosen so that what is not music is far away: a hum without pitch, smeared partials, shuffled time, noise,
a low-pass, a narrowed stereo image, music in which nothing comes again. `distances` compares sets of such vectors.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.spectra import (
    MEL_BANDS,
    MEL_HOP_SECONDS,
    OCTAVES,
    PITCH_HOP_SECONDS,
    REPETITION_SECONDS,
    SILENCE_DB,
    STEREO_EDGES_HZ,
    Array,
    SoundView,
    any_two_of,
    beat_strength_of,
    blocks_of,
    chroma_of,
    cosines_of,
    decibels,
    fine_spectrum,
    hann,
    key_clarity_of,
    listen,
    note_peaks,
    onset_autocorrelation,
    onset_frames_of,
    onset_rate_of,
    onset_strength,
    pitch_peaks,
    stereo_image,
    tonal_share_of,
    widened,
)


def _timbre(sound: SoundView) -> list[Array]:
    """Level of each mel band: mean, spread, and the 10th and 90th percentile about the mean."""
    mean = sound.log_mel.mean(axis=0)
    low, high = np.percentile(sound.log_mel, (10, 90), axis=0) - mean
    return [mean, sound.log_mel.std(axis=0), low, high]


def _modulation(sound: SoundView) -> list[Array]:
    """Depth of the level's movement at 0.5-1, 1-2, 2-4, 4-8, 8-16 Hz, in six groups of mel bands (log of dB)."""
    bands = np.stack([group.mean(axis=1) for group in np.array_split(sound.log_mel, 6, axis=1)])
    bands = bands - bands.mean(axis=1, keepdims=True)
    window = hann(bands.shape[1])
    power = np.abs(np.fft.rfft(bands * window)) ** 2 / np.square(window).sum() / bands.shape[1]
    rate = np.arange(power.shape[1]) / (bands.shape[1] * MEL_HOP_SECONDS)
    depths = [power[:, (rate >= low) & (rate < 2 * low)].sum(axis=1) for low in (0.5, 1, 2, 4, 8)]
    return [np.log10(depth + 1e-2) for depth in depths]


def _note_statistics(sound: SoundView, peaks: NDArray[np.bool_], levels_db: Array) -> list[Array]:
    """How many notes at a time, in which octave, and how far each stands out of its neighbours."""
    counts = note_peaks(levels_db, peaks & (levels_db > levels_db.max(axis=1, keepdims=True) - 24)).sum(axis=1)
    shares = np.array([np.mean(counts == n) for n in range(6)] + [np.mean(counts > 5), counts.mean(), counts.std()])
    octaves = [sound.pitch[:, k : k + 12] for k in range(0, 12 * OCTAVES, 12)]
    register = decibels(np.array([np.square(octave).mean() if octave.size else 0.0 for octave in octaves]))
    contrast = np.array([_octave_contrast(levels_db[:, k : k + 12]) for k in range(0, 12 * OCTAVES, 12)])
    padded = np.pad(levels_db, ((0, 0), (2, 2)), mode="edge")
    around = (padded[:, :-4] + padded[:, 4:]) / 2
    sharpness = (levels_db - around)[peaks]
    quartiles = np.percentile(sharpness, (10, 25, 50, 75, 90)) if sharpness.size else np.zeros(5)
    return [shares, register, contrast, quartiles, np.array([peaks.sum(axis=1).mean()])]


def _octave_contrast(levels_db: Array) -> float:
    """Mean spread over the pitches of one octave, in dB."""
    return float(levels_db.std(axis=1).mean()) if levels_db.size else 0.0


def _durations(peaks: NDArray[np.bool_], notes: NDArray[np.bool_]) -> list[Array]:
    """How many pitches still sound 32 ms to 1 s later, how many are new, and how long they are held in a row."""
    per_frame = max(float(peaks.sum()), 1.0)
    lasting = [(peaks[lag:] & peaks[:-lag]).sum() / per_frame for lag in (1, 2, 4, 8, 16, 31)]
    starts = (peaks[1:] & ~peaks[:-1]).sum() + peaks[0].sum()
    begun = notes[1:] & ~widened(peaks[:-1])
    ended = notes[:-1] & ~widened(peaks[1:])
    seconds = len(peaks) * PITCH_HOP_SECONDS
    crowd = begun.sum(axis=1)
    rates = [math.log(0.1 + begun.sum() / seconds), math.log(0.1 + ended.sum() / seconds)]
    return [np.array([*lasting, math.log(per_frame / max(float(starts), 1.0)), *rates, *_crowding(crowd)])]


def _crowding(counts: NDArray) -> list[float]:
    """Shares of new notes that begin alone, in twos, and in larger groups."""
    total = max(float(counts.sum()), 1.0)
    return [
        float(counts[counts == 1].sum() / total),
        float(counts[counts == 2].sum() / total),
        float(counts[counts > 2].sum() / total),
    ]


def _intervals(peaks: NDArray[np.bool_], notes: NDArray[np.bool_]) -> list[Array]:
    """Which intervals sound together, and by which steps notes follow each other."""
    together = np.array([(notes[:, k:] & notes[:, :-k]).sum() for k in range(1, 13)]) / max(float(notes.sum()), 1.0)
    new = notes[1:] & ~widened(peaks[:-1])
    later = _quarter_later(new)
    steps = np.array([_shifted_overlap(new[: len(later)], later, k) for k in range(-7, 8)]) / max(float(new.sum()), 1.0)
    return [together, steps]


def _quarter_later(new: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which notes begin 0.1 to 0.5 s after each frame."""
    window = np.lib.stride_tricks.sliding_window_view(new, 13, axis=0)
    return np.asarray(window[3:].any(axis=2))


def _shifted_overlap(now: NDArray[np.bool_], later: NDArray[np.bool_], semitones: int) -> float:
    """How many pairs (note now, note later) are this many semitones apart."""
    if semitones < 0:
        return float((now[:, -semitones:] & later[:, :semitones]).sum())
    return float((now[:, : now.shape[1] - semitones] & later[:, semitones:]).sum())


def _continuity(sound: SoundView, peaks: NDArray[np.bool_]) -> list[Array]:
    """Whether each moment follows from the one before: what cuts in the middle of notes spoil.

    The largest falls of single mel bands (a note that is cut falls faster than it fades), the frames where most pitches
    end or end and begin at once, and how much nearer moments 0.1 to 0.75 s apart are to each other than any two.
    """
    levels = np.maximum(sound.log_mel, -60.0)
    falls = np.maximum(levels[:-1] - levels[1:], 0)
    cuts = np.concatenate(
        [np.percentile(falls.max(axis=1), (98, 99, 99.5)), np.percentile(falls.mean(axis=1), (99, 99.5))]
    )
    ended = (peaks[:-1] & ~widened(peaks[1:])).sum(axis=1) / np.maximum(peaks[:-1].sum(axis=1), 1)
    begun = (peaks[1:] & ~widened(peaks[:-1])).sum(axis=1) / np.maximum(peaks[1:].sum(axis=1), 1)
    turns = [*np.percentile(ended, (90, 95, 98)), *np.percentile(np.minimum(ended, begun), (95, 98, 99))]
    pitch = np.sqrt(sound.pitch)
    unit = pitch / np.maximum(np.linalg.norm(pitch, axis=1, keepdims=True), 1e-6)
    spaced = unit[:: 1 + len(unit) // 400]
    any_two = np.sort((spaced @ spaced.T)[np.triu_indices(len(spaced), 1)])
    lags = [min(lag, len(unit) // 2) for lag in (3, 8, 16, 23)]
    cosines = [np.einsum("tp,tp->t", unit[lag:], unit[:-lag]) for lag in lags]
    ranks = [float(np.searchsorted(any_two, cosine).mean()) / len(any_two) for cosine in cosines]
    excess = [float(cosine.mean() - any_two.mean()) for cosine in cosines]
    ratios = [excess[2] / (abs(excess[0]) + 0.02), excess[2] / (abs(excess[1]) + 0.02)]
    return [np.log(cuts + 0.05), np.array([*turns, *ranks, *ratios, *np.percentile(cosines[0], (10, 25))])]


def _similarity(sound: SoundView, chroma: Array) -> list[Array]:
    """How alike chroma and pitch are 0.1 to 4 s apart: mean, spread, and mean compared with any two moments."""
    pitch = np.sqrt(sound.pitch)
    return [np.array(_similarities(chroma)), np.array(_similarities(pitch))]


def _similarities(frames: Array) -> list[float]:
    """Mean and spread of the cosine between frames 0.1, 0.5, 1, 2, 4 s apart, then how much of it order brings.

    The last: 0 where frames this far apart are as alike as any two of the clip (shuffled time), 1 where they are as
    alike as neighbours. Lags longer than half of the clip count as half of the clip.
    """
    unit = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-6)
    lags = [min(round(seconds / PITCH_HOP_SECONDS), len(unit) // 2) for seconds in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)]
    cosines = [np.einsum("tp,tp->t", unit[lag:], unit[:-lag]) for lag in lags]
    means = np.array([float(cosine.mean()) for cosine in cosines])
    any_two = float(np.square(unit.mean(axis=0)).sum())
    order = (means[1:] - any_two) / max(1.0 - any_two, 0.05)
    return [*means, *(float(cosine.std()) for cosine in cosines), *order]


def _harmony(chroma: Array) -> list[Array]:
    """How clear the key is, and how many pitch classes sound at a time and over the clip."""
    entropy = _entropy(chroma)
    ranked = np.sort(chroma.mean(axis=0))[::-1]
    return [
        np.array([key_clarity_of(chroma), entropy.mean(), entropy.std(), float(_entropy(chroma.mean(axis=0)))]),
        ranked[:7],
    ]


def _entropy(shares: Array) -> Array:
    """Entropy over the last axis, in nats."""
    return -(shares * np.log(shares + 1e-9)).sum(axis=-1)


def _rhythm(sound: SoundView) -> list[Array]:
    """Autocorrelation of the onsets (highest value in 12 ranges of lag, 0.1 to 2 s), their rate, size and sparsity."""
    correlation = onset_autocorrelation(sound.log_mel)
    edges = np.round(np.geomspace(0.1, 2.0, 13) / MEL_HOP_SECONDS).astype(int)
    highest = [float(correlation[a:b].max(initial=-1.0)) for a, b in pairwise(edges)]
    return [
        np.array([*highest, beat_strength_of(sound.log_mel), onset_rate_of(sound.log_mel), *_movement(sound.log_mel)])
    ]


def _movement(log_mel: Array) -> list[float]:
    """Sizes of rises and falls of the mel levels: their mean, sparsity and largest, and rise against fall."""
    rises, falls = onset_strength(log_mel), onset_strength(-np.maximum(log_mel, -60.0) - 60.0)
    numbers = []
    for series in (rises, falls):
        median, high, top = np.percentile(series, (50, 90, 99))
        numbers += [math.log(series.mean() + 0.05), math.log((high + 0.05) / (median + 0.05)), math.log(top + 0.05)]
    return [*numbers, math.log((np.square(rises).sum() + 1e-2) / (np.square(falls).sum() + 1e-2))]


def _dynamics(sound: SoundView) -> list[Array]:
    """Loudness, its distribution about the clip's own level, silence, crest, and how fast it moves."""
    overall = 10 * np.log10(np.mean(np.square(sound.mono)) + 1e-8)
    relative = np.maximum(sound.levels - overall, -50.0)
    percentiles = np.percentile(relative, (5, 25, 50, 75, 95))
    steps = np.diff(relative)
    peak = 20 * np.log10((np.abs(sound.mono).max() + 1e-8) / (math.sqrt(float(np.mean(np.square(sound.mono)))) + 1e-8))
    quiet = np.mean(sound.levels < SILENCE_DB)
    return [np.array([overall, *percentiles, quiet, peak, np.abs(steps).mean(), steps.std(), steps.max(initial=0.0)])]


def _sharpness(sound: SoundView) -> list[Array]:
    """How narrow the partials are, in four bands: tonal share, contrast and its percentiles, change over time."""
    fine = fine_spectrum(sound.mono, sound.sample_rate)
    numbers = []
    for first, last in zip(fine.band_edges[:-1], fine.band_edges[1:], strict=True):
        contrast = fine.contrast_db[:, first:last]
        weight = np.sqrt(fine.power[:, first:last]) + 1e-4
        numbers += [
            tonal_share_of(fine, first, last),
            float(contrast.std()),
            float((contrast * weight).sum() / weight.sum()),
            float(np.abs(np.diff(contrast, axis=0)).mean()),
            *np.percentile(contrast[::2], (5, 50, 95)),
        ]
    return [np.array(numbers)]


def _colour(sound: SoundView) -> list[Array]:
    """Centroid, spread, roll-off and flatness over the mel bands, and how they move."""
    power = 10 ** (sound.log_mel / 10)
    shares = np.cumsum(power, axis=1) / np.maximum(power.sum(axis=1, keepdims=True), 1e-9)
    bands = np.arange(MEL_BANDS)
    centroid = (np.sqrt(power) @ bands) / np.maximum(np.sqrt(power).sum(axis=1), 1e-9)
    rolloff = [(shares < share).sum(axis=1).mean() for share in (0.5, 0.85, 0.95)]
    flatness = sound.log_mel.mean(axis=1) - 10 * np.log10(power.mean(axis=1) + 1e-9)
    return [np.array([centroid.mean(), centroid.std(), *rolloff, flatness.mean(), flatness.std()])]


def _pulse(sound: SoundView) -> list[Array]:
    """How strong the pulse is, in the whole and in halves, how many onsets there are, and how evenly they come.

    Three of these are in `_rhythm` and `descriptors` too: as an aspect of their own they are not drowned there.
    """
    halves = np.array_split(sound.log_mel, 2)
    strengths = [beat_strength_of(half) for half in halves]
    times = onset_frames_of(sound.log_mel)
    gaps = np.diff(times) * MEL_HOP_SECONDS
    evenness = float(gaps.std() / gaps.mean()) if len(gaps) > 1 else 1.0
    rate = len(times) / (len(sound.log_mel) * MEL_HOP_SECONDS)
    return [np.array([beat_strength_of(sound.log_mel), *sorted(strengths), math.log(0.2 + rate), evenness])]


def _level(sound: SoundView) -> list[Array]:
    """Loudness of the clip, of its loud parts, and how much of it is silent."""
    overall = 10 * np.log10(np.mean(np.square(sound.mono)) + 1e-8)
    return [np.array([overall, np.percentile(sound.levels, 90), np.mean(sound.levels < SILENCE_DB)])]


def _repetition(sound: SoundView, chroma: Array) -> list[Array]:
    """How much of harmony, onsets and timbre comes again 0.5, 1, 2, 4 s later, above any two moments of the clip.

    For each of the three: similarity at the four lags above that of any two moments, its spread, the similarity of any
    two, and what the best other place of the clip reaches, 2 s or more away.
    """
    block = round(REPETITION_SECONDS / PITCH_HOP_SECONDS)
    harmony = blocks_of(chroma, block).mean(axis=1)
    mel_block = round(REPETITION_SECONDS / MEL_HOP_SECONDS)
    levels = blocks_of(np.maximum(sound.log_mel, -60.0), mel_block).mean(axis=1)
    rises = np.maximum(np.diff(np.maximum(sound.log_mel, -60.0), axis=0), 0)
    bands = np.stack([band.mean(axis=1) for band in np.array_split(rises, 4, axis=1)], axis=1)
    steps = blocks_of(bands - bands.mean(axis=0), mel_block // 2).sum(axis=1)
    steps = np.pad(steps, ((0, max(0, 8 - len(steps))), (0, 0)))
    pattern = np.lib.stride_tricks.sliding_window_view(steps, 8, axis=0)[::2].reshape(-1, 32)
    return [np.array(_recurrence(row)) for row in (harmony, pattern, levels - levels.mean())]


def _recurrence(frames: Array) -> list[float]:
    """See `_repetition`; a frame every 0.25 s [shape=(frames, numbers)]."""
    alike = cosines_of(frames)
    lags = [min(round(seconds / REPETITION_SECONDS), len(alike) // 2) for seconds in (0.5, 1.0, 2.0, 4.0)]
    any_two = any_two_of(alike)
    later = [np.diagonal(alike, lag) for lag in lags]
    places = np.arange(len(alike))
    far = np.abs(places[:, None] - places) >= min(round(2.0 / REPETITION_SECONDS), len(alike) // 2)
    best = np.where(far, alike, -1.0).max(axis=1)
    return [
        *(float(series.mean()) - any_two for series in later),
        *(float(series.std()) for series in later),
        any_two,
        float(best.mean()),
        float(np.percentile(best, 10)),
    ]


def _stereo(waveform: NDArray, sample_rate: int) -> list[Array]:
    """The stereo image in six bands: means and spreads over time of what `stereo_image` measures."""
    image = stereo_image(waveform, sample_rate)
    series = (image.correlation, image.coherence, image.level_difference, image.side_to_mid)
    return [
        *(values.mean(axis=0) for values in series),
        np.abs(image.level_difference).mean(axis=0),
        *(values.std(axis=0) for values in series),
    ]


FEATURE_GROUPS: dict[str, int] = {
    "timbre": 4 * MEL_BANDS + 7,
    "modulation": 30,
    "sharpness": 28,
    "notes": 29,
    "durations": 12,
    "intervals": 27,
    "similarity": 34,
    "harmony": 11,
    "continuity": 19,
    "rhythm": 21,
    "dynamics": 11,
    "level": 3,
    "pulse": 5,
    "repetition": 33,
}
"""The aspects of a feature vector, in order, and how many numbers each has."""
STEREO_GROUPS: dict[str, int] = FEATURE_GROUPS | {"stereo": 9 * len(STEREO_EDGES_HZ)}
"""The same for clips of two channels."""


def groups_of(width: int) -> dict[str, int]:
    """The aspects of feature vectors of this length; empty for vectors of another origin (an encoder's, say)."""
    return next((groups for groups in (FEATURE_GROUPS, STEREO_GROUPS) if sum(groups.values()) == width), {})


def feature_vector(waveform: NDArray, sample_rate: int) -> Array:
    """What a clip sounds like, in fixed hand-made numbers.

    The aspects are those of FEATURE_GROUPS: moments and percentiles of mel bands; modulation spectrum; sharpness of
    partials; number and register of notes, and how far they stand out; how long they last; intervals and steps;
    self-similarity of chroma and pitch from 0.1 to 4 s; key; cuts in the middle of notes; onset autocorrelation;
    loudness distribution; loudness and silence; pulse; what comes again; and the stereo image where there are two
    channels. All but the loudness and silence do not depend on the clip's level. But for the image, what is heard is
    the mono mix.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
        One second or more.

    Returns
    -------
    array [shape=(350,)], or [shape=(404,)] of two channels
        Raw numbers in different units: standardise them with a FeatureScale.

    Raises
    ------
    ValueError
        If the clip is too short or not finite.
    """
    sound = listen(waveform, sample_rate)
    levels_db = 20 * np.log10(sound.pitch + 1e-3)
    peaks = pitch_peaks(sound.pitch)
    notes = note_peaks(levels_db, peaks)
    chroma = chroma_of(sound.pitch)
    parts = (
        _timbre(sound)
        + _colour(sound)
        + _modulation(sound)
        + _sharpness(sound)
        + _note_statistics(sound, peaks, levels_db)
        + _durations(peaks, notes)
        + _intervals(peaks, notes)
        + _similarity(sound, chroma)
        + _harmony(chroma)
        + _continuity(sound, peaks)
        + _rhythm(sound)
        + _dynamics(sound)
        + _level(sound)
        + _pulse(sound)
        + _repetition(sound, chroma)
    )
    if len(waveform) > 1:
        parts += _stereo(waveform, sample_rate)
    return np.concatenate(parts).astype(np.float32)


def feature_matrix(clips: Sequence[NDArray] | NDArray, sample_rate: int) -> Array:
    """`feature_vector` of every clip.

    Parameters
    ----------
    clips : sequence of arrays [shape=(channels, samples)], or one array [shape=(clips, channels, samples)]

    Returns
    -------
    array [shape=(clips, features)]
    """
    return np.stack([feature_vector(clip, sample_rate) for clip in clips])
