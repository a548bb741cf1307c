"""The ruler: numbers that say how far generated or reconstructed audio is from real music.

Nothing here needs a network or a download. Every function takes waveforms as `(channels, samples)` float arrays in
[-1, 1] and listens to their mono mix. Three kinds of measure:

- what one clip sounds like: `METRICS`, a table of single numbers;
- how far one set of clips is from another: `kernel_distance`, `kernel_score`, `diversity` (from `distances`, on the
  `feature_matrix` of `clip_features`);
- how well a reconstruction kept its original: `log_magnitude_ratio` (R) and `pitch_found_share` (P).

Compare clips of equal length and rate only: 10 s of music and 30 s of the same music differ in their statistics.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.clip_features import FEATURE_GROUPS, feature_matrix, feature_vector
from piano.evaluation.distances import (
    FeatureScale,
    KernelScore,
    Labels,
    aspect_gaps,
    diversity,
    kernel_distance,
    kernel_score,
    pairs_to_compare,
    real_floor,
    spectrum_noise,
)
from piano.evaluation.spectra import (
    SILENCE_DB,
    Array,
    beat_strength_of,
    chroma_of,
    constant_q,
    constant_q_frequencies,
    fine_spectrum,
    hann,
    key_clarity_of,
    log_mel_levels,
    mono_mix,
    onset_rate_of,
    pitch_magnitudes,
    pitch_peaks,
    polyphony_of,
    stft_power,
    tonal_share_of,
    unit_level,
    widened,
    window_levels,
)

__all__ = [
    "FEATURE_GROUPS",
    "METRICS",
    "FeatureScale",
    "KernelScore",
    "aspect_gaps",
    "beat_strength",
    "constant_q",
    "constant_q_frequencies",
    "crest",
    "diversity",
    "feature_matrix",
    "feature_vector",
    "kernel_distance",
    "kernel_score",
    "key_clarity",
    "log_magnitude_ratio",
    "loudness",
    "onset_rate",
    "pitch_found_share",
    "pitch_window",
    "polyphony",
    "real_floor",
    "silence_share",
    "spectrum_noise",
    "tonal_share",
]

MAGNITUDE_FLOOR = 1e-3
"""Added to STFT magnitudes before the logarithm: the codec's own floor, about 60 dB below the loudest partials."""


ALIKE = 1e-3
"""Mean difference of log magnitudes below which two sounds are one."""


def loudness(waveform: NDArray, sample_rate: int) -> float:
    """RMS level in dB of full scale, -80 for digital silence. (Not LUFS: no ear weighting, no gate.)"""
    return float(10 * np.log10(np.mean(np.square(mono_mix(waveform))) + 1e-8))


def crest(waveform: NDArray, sample_rate: int) -> float:
    """Peak over RMS level in dB: 3 for a sine, about 12 to 20 for music, 0 for silence."""
    mono = mono_mix(waveform)
    return float(20 * np.log10((np.abs(mono).max() + 1e-8) / (np.sqrt(np.mean(np.square(mono))) + 1e-8)))


def silence_share(waveform: NDArray, sample_rate: int) -> float:
    """Share of 50 ms windows below -60 dB of full scale."""
    return float(np.mean(window_levels(mono_mix(waveform), sample_rate) < SILENCE_DB))


def beat_strength(waveform: NDArray, sample_rate: int) -> float:
    """Highest autocorrelation of the onset strength at lags of 0.25 to 1.5 s: 1 is clockwork, 0 has no pulse."""
    return beat_strength_of(log_mel_levels(mono_mix(waveform), sample_rate))


def onset_rate(waveform: NDArray, sample_rate: int) -> float:
    """Onsets a second: peaks of the onset strength, the highest within 80 ms and 1.5 dB above the mean around."""
    return onset_rate_of(log_mel_levels(mono_mix(waveform), sample_rate))


def polyphony(waveform: NDArray, sample_rate: int) -> float:
    """Mean number of notes at a time: constant-Q peaks within 24 dB of the strongest, harmonics left out."""
    return polyphony_of(pitch_magnitudes(unit_level(mono_mix(waveform)), sample_rate))


def key_clarity(waveform: NDArray, sample_rate: int) -> float:
    """Correlation of the clip's mean chroma with the best fitting of the 24 keys; 0 for silence."""
    return key_clarity_of(chroma_of(pitch_magnitudes(unit_level(mono_mix(waveform)), sample_rate)))


def tonal_share(waveform: NDArray, sample_rate: int) -> float:
    """Share of the power (60 Hz to 6 kHz) that stands 8 dB above the mean level of the 150 Hz around it.

    Only power in narrow lines counts: near 1 for held notes, 0.1 for white noise, 0.2 if it falls steeply.
    """
    fine = fine_spectrum(mono_mix(waveform), sample_rate)
    return tonal_share_of(fine, fine.band_edges[0], fine.band_edges[-1])


METRICS: dict[str, Callable[[NDArray, int], float]] = {
    "loudness": loudness,
    "crest": crest,
    "silence_share": silence_share,
    "tonal_share": tonal_share,
    "key_clarity": key_clarity,
    "polyphony": polyphony,
    "onset_rate": onset_rate,
    "beat_strength": beat_strength,
}
"""The single numbers, by name: (waveform [shape=(channels, samples)], sample_rate) -> float."""


def pitch_window(sample_rate: int) -> int:
    """The shortest power of two of samples that lasts 93 ms: 2048 at 16 kHz and 22.05 kHz, 4096 at 44.1 kHz."""
    return 2 ** math.ceil(math.log2(0.0928 * sample_rate))


def _log_magnitude(waveform: NDArray, sample_rate: int) -> Array:
    """log(|S| + 1e-3) of the mono mix, |S| the Hann STFT over sqrt(n_fft), hop n_fft / 4 [shape=(frames, bins)]."""
    n_fft = pitch_window(sample_rate)
    hann_power = float(np.square(hann(n_fft)).sum()) / n_fft
    return np.log(np.sqrt(stft_power(mono_mix(waveform), n_fft, n_fft // 4) * hann_power) + MAGNITUDE_FLOOR)


def log_magnitude_ratio(
    *,
    reconstruction: Sequence[NDArray] | NDArray,
    original: Sequence[NDArray] | NDArray,
    sample_rate: int,
    files: Labels | None = None,
    seed: int = 0,
) -> float:
    """R: how much of the log magnitude at pitch resolution a reconstruction misses; 0 is perfect, 1 is useless.

    Not a number where the originals are all alike (silence, one clip again and again).

    L1 distance of log(|S| + 1e-3) between reconstructions and originals, over the same between random pairs of
    originals. S is the STFT of the mono mix divided by sqrt(n_fft), Hann window of 93 ms or more (`pitch_window`), hop
    n_fft / 4, all bins and frames counted alike. Pairs: every original with up to eight others, drawn by the seed, of
    other files where `files` says so. Both lie on the codec's own scale: level the music to -18 dBFS first.

    Parameters
    ----------
    reconstruction, original : sequence of arrays [shape=(channels, samples)]
        In the same order; a pair is cut to its shorter length.

    Raises
    ------
    ValueError
        For fewer than two originals, or sets of different size.
    """
    if len(reconstruction) != len(original) or len(original) < 2:
        raise ValueError(
            f"R needs two or more originals and one reconstruction each, got {len(original)} and {len(reconstruction)}"
        )
    levels = [_log_magnitude(clip, sample_rate) for clip in original]
    errors = [
        _mean_gap(_log_magnitude(clip, sample_rate), own) for clip, own in zip(reconstruction, levels, strict=True)
    ]
    allowed = pairs_to_compare(files, files, (len(levels), len(levels)), same_set=True)
    random = np.random.default_rng(seed)
    unrelated = [
        _mean_gap(levels[index], levels[other])
        for index, row in enumerate(allowed)
        for other in random.permutation(np.flatnonzero(row))[:8]
    ]
    apart = float(np.mean(unrelated))
    return float(np.mean(errors)) / apart if apart > ALIKE else math.nan


def _mean_gap(a: Array, b: Array) -> float:
    """Mean absolute difference over the frames that both have."""
    frames = min(len(a), len(b))
    return float(np.abs(a[:frames] - b[:frames]).mean())


def pitch_found_share(
    *, reconstruction: Sequence[NDArray] | NDArray, original: Sequence[NDArray] | NDArray, sample_rate: int
) -> float:
    """P: share of frames whose three strongest pitches are found again in the reconstruction; 1 is perfect.

    Constant-Q magnitudes in semitones from A1 (`constant_q`, own implementation) every 32 ms. Peaks are bins above
    both neighbours, at most 30 dB below the strongest bin of their frame and 50 dB below that of the clip. A frame
    counts if it has a peak and its power is within 40 dB of the clip's loudest frame; its pitches are its three
    strongest peaks, or all if there are fewer. Found means that *each* of them has one of the six strongest peaks of
    the same frame of the reconstruction at most one semitone away. (Six, not all: noise has a peak every third
    semitone, and would find almost everything. Noise with the music's spectrum finds about 0.07.)

    Parameters
    ----------
    reconstruction, original : sequence of arrays [shape=(channels, samples)]
        In the same order; a pair is cut to its shorter length.

    Returns
    -------
    float
        Over the frames of all clips together; 1 if there is none that counts.
    """
    found, counted = 0, 0
    for copy, clip in zip(reconstruction, original, strict=True):
        samples = min(np.shape(copy)[1], np.shape(clip)[1])
        pitches = pitch_magnitudes(mono_mix(clip)[:samples], sample_rate)
        wanted = _strongest_peaks(pitches, 3)
        power = np.square(pitches).sum(axis=1)
        counts = wanted.any(axis=1) & (power > 1e-4 * power.max())
        offered = widened(_strongest_peaks(pitch_magnitudes(mono_mix(copy)[:samples], sample_rate), 6))
        found += int((~(wanted & ~offered).any(axis=1) & counts).sum())
        counted += int(counts.sum())
    return found / counted if counted else 1.0


def _strongest_peaks(magnitudes: Array, count: int) -> NDArray[np.bool_]:
    """The `count` strongest peaks of each frame [shape=(frames, pitches)]."""
    heights = magnitudes * pitch_peaks(magnitudes)
    threshold = np.partition(heights, -count, axis=1)[:, -count, None]
    return (heights >= threshold) & (heights > 0)
