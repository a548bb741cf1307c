"""How well a reconstruction kept its original: `log_magnitude_ratio` (R) and `pitch_found_share` (P).

Both take waveforms as `(channels, samples)` float arrays in [-1, 1] and listen to their mono mix. The single numbers
of one clip are in `descriptors`, the distances of sets in `distances`; the table of measures is in `measures`.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.distances import Labels, pairs_to_compare
from piano.evaluation.spectra import Array, hann, mono_mix, pitch_magnitudes, pitch_peaks, stft_power, widened

MAGNITUDE_FLOOR = 1e-3
"""Added to STFT magnitudes before the logarithm: the codec's own floor, about 60 dB below the loudest partials."""
ALIKE = 1e-3
"""Mean difference of log magnitudes below which two sounds are one."""


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
