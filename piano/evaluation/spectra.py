"""What a clip is made of: levels, mel bands, pitches, notes, onsets, spectral lines. Arrays in, arrays out.

Shared by the single numbers and the feature vector. Frames come first: `[shape=(frames, ...)]`.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from threadpoolctl import ThreadpoolController

Array = NDArray[np.floating]

SILENCE_DB = -60.0
"""A 50 ms window below this loudness (dB of full scale) counts as silent. So does a second of training
music for the doctor (`watching.measure.SILENT_DBFS`); in preparation silence ends at -66 dB of the source
(`foundation.levels.SILENCE_DB`), and the music losses have a ramp from -50 to -80 dB, for its gradient
(`foundation.music_statistics.silence_share`)."""
LOWEST_PITCH_HZ = 55.0
"""The lowest semitone of the constant-Q spectrogram, A1. Lower ones would need windows longer than notes last."""
OCTAVES = 7
_LEVEL_FLOOR_DB = -60.0
MEL_BANDS = 20
MEL_HOP_SECONDS = 0.016
PITCH_HOP_SECONDS = 0.032
REPETITION_SECONDS = 0.25
"""Moments that are compared for what comes again are so long."""
STEREO_EDGES_HZ = (60.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
"""Where the bands of the stereo image begin; the last ends at half the sample rate."""
STEREO_SECONDS = 0.5
_STEREO_FLOOR = 1e-6
"""Power below this part of the clip's counts as none: no image is made of rounding."""
_FRAME_BLOCK = 128
_SHORTEST_SECONDS = 1.0


def mono_mix(waveform: NDArray) -> Array:
    """Mean of the channels.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]

    Returns
    -------
    array [shape=(samples,)]

    Raises
    ------
    ValueError
        If the array has another number of axes, no samples, or samples that are not finite.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 2 or waveform.shape[1] == 0:
        raise ValueError(f"a waveform must have the shape (channels, samples), got {waveform.shape}")
    mono = waveform[0] if waveform.shape[0] == 1 else np.float32(1 / waveform.shape[0]) * sum(waveform)
    if not np.isfinite(mono).all():
        raise ValueError("a waveform holds samples that are not finite")
    return np.asarray(mono, dtype=np.float32)


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """The libraries that multiply matrices; looked for once, when all of them are loaded."""
    return ThreadpoolController()


def windows_of(mono: Array, length: int, hop: int) -> Array:
    """Windows centred at every hop-th sample, zeros beyond the ends: a view [shape=(frames, length)]."""
    padded = np.pad(mono, (length // 2, length - length // 2))
    count = max(1, len(mono) // hop)
    return np.lib.stride_tricks.sliding_window_view(padded, length)[: count * hop : hop]


@lru_cache(maxsize=16)
def hann(length: int) -> Array:
    """Periodic Hann window of the ruler, in numpy. Losses and codec have torch's (`foundation.features.hann_window`,
    `foundation.phase`), which round otherwise: the ruler is calibrated with this one."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def stft_power(mono: Array, n_fft: int, hop_length: int) -> Array:
    """Power of the Hann STFT, scaled so that white noise of variance 1 has a mean of 1 in every bin.

    The one STFT of the ruler. What learns has others, in torch: `foundation.phase` for the codec, `foundation.features`
    for the music losses.

    Parameters
    ----------
    mono : array [shape=(samples,)]

    Returns
    -------
    array [shape=(frames, n_fft // 2 + 1)]
        Frame i is centred at sample i * hop_length.
    """
    frames, window = windows_of(mono, n_fft, hop_length), hann(n_fft)
    window = window / np.sqrt(np.square(window).sum())
    power = np.empty((len(frames), n_fft // 2 + 1), dtype=np.float32)
    for start in range(0, len(frames), _FRAME_BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _FRAME_BLOCK] * window, axis=1)
        power[start : start + _FRAME_BLOCK] = spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=8)
def _mel_filters(sample_rate: int, n_fft: int, bands: int) -> Array:
    """Triangles of equal sum, evenly spaced in mel (HTK formula) from 40 Hz up to half the rate.

    The ruler's features are calibrated with these twenty. The music losses (`foundation.features.mel_filterbank`) and
    the mel distance as published (`reconstruction`) have Slaney's scale.
    """
    mel_edges = np.linspace(2595 * np.log10(1 + 40 / 700), 2595 * np.log10(1 + sample_rate / 1400), bands + 2)
    edges = 700 * (10 ** (mel_edges / 2595) - 1)
    bins = np.arange(n_fft // 2 + 1)[:, None] * sample_rate / n_fft
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rising, falling), 0)
    return (triangles / np.maximum(triangles.sum(axis=0), 1e-9)).astype(np.float32)


class _ConstantQ(NamedTuple):
    n_fft: int
    frequencies: NDArray[np.float64]
    octaves: list[tuple[int, NDArray[np.complex64]]]
    """For each octave: its first STFT bin, and the conjugated kernels [shape=(bins, pitches)]."""


@lru_cache(maxsize=8)
def _constant_q_kernels(sample_rate: int, bins_per_octave: int, window_scale: float) -> _ConstantQ:
    """Spectra of the windowed complex tones (Brown and Puckette, JASA 92, 1992), cut where they are nearly zero."""
    count = min(
        OCTAVES * bins_per_octave, math.floor(bins_per_octave * math.log2(0.47 * sample_rate / LOWEST_PITCH_HZ))
    )
    if count < 12:
        raise ValueError(f"a constant-Q spectrogram needs a higher sample rate than {sample_rate} Hz")
    frequencies = LOWEST_PITCH_HZ * 2 ** (np.arange(count) / bins_per_octave)
    quality = window_scale / (2 ** (1 / bins_per_octave) - 1)
    lengths = np.ceil(quality * sample_rate / frequencies).astype(int)
    n_fft = 2 ** math.ceil(math.log2(lengths[0]))
    octaves = []
    for first in range(0, count, bins_per_octave):
        kernels = []
        for frequency, length in zip(
            frequencies[first : first + bins_per_octave], lengths[first : first + bins_per_octave], strict=True
        ):
            time = np.arange(length) - length // 2
            tone = np.zeros(n_fft, dtype=np.complex128)
            window = np.hanning(length + 2)[1:-1]
            tone[n_fft // 2 + time] = 2 * window / window.sum() * np.exp(2j * np.pi * frequency * time / sample_rate)
            kernels.append(np.fft.fft(tone)[: n_fft // 2 + 1].conj() / n_fft)
        table = np.stack(kernels, axis=1)
        used = np.flatnonzero((np.abs(table) > 1e-3 * np.abs(table).max(axis=0)).any(axis=1))
        octaves.append((int(used[0]), np.ascontiguousarray(table[used[0] : used[-1] + 1], dtype=np.complex64)))
    return _ConstantQ(n_fft, frequencies, octaves)


def constant_q_frequencies(sample_rate: int, *, bins_per_octave: int = 12) -> NDArray[np.float64]:
    """Centre frequencies in Hz of the rows of `constant_q` [shape=(pitches,)]: A1 (55 Hz) and up, seven octaves or
    as many as fit under half the sample rate."""
    return _constant_q_kernels(sample_rate, bins_per_octave, 1.0).frequencies


def constant_q(
    waveform: NDArray,
    sample_rate: int,
    *,
    bins_per_octave: int = 12,
    hop_seconds: float = PITCH_HOP_SECONDS,
    window_scale: float = 1.0,
) -> Array:
    """Constant-Q magnitudes: each pitch through a Hann window of its own length, from one long FFT a frame.

    Method of Brown and Puckette ("An efficient algorithm for the calculation of a constant Q transform", JASA 92,
    1992), own code. A tone of amplitude a in the centre of a bin gives the magnitude a.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    window_scale : float
        Length of the windows as a multiple of the length that just tells neighbouring bins apart.

    Returns
    -------
    array [shape=(pitches, frames)]
        Row k is at 55 Hz * 2 ** (k / bins_per_octave); frame i is centred at i * hop_seconds.
    """
    return pitch_magnitudes(mono_mix(waveform), sample_rate, bins_per_octave, hop_seconds, window_scale).T


def pitch_magnitudes(
    mono: Array, sample_rate: int, bins_per_octave: int = 12, hop_seconds: float = PITCH_HOP_SECONDS, scale: float = 1.0
) -> Array:
    """Constant-Q magnitudes of a mono mix [shape=(frames, pitches)]."""
    kernels = _constant_q_kernels(sample_rate, bins_per_octave, scale)
    frames = windows_of(mono, kernels.n_fft, round(hop_seconds * sample_rate))
    magnitudes = np.empty((len(frames), len(kernels.frequencies)), dtype=np.float32)
    with _libraries().limit(limits=1, user_api="blas"):  # small products: threads would only wait for each other
        for start in range(0, len(frames), _FRAME_BLOCK):
            spectrum = np.fft.rfft(frames[start : start + _FRAME_BLOCK], axis=1)
            pitch = 0
            for first_bin, table in kernels.octaves:
                part = spectrum[:, first_bin : first_bin + len(table)] @ table
                magnitudes[start : start + len(part), pitch : pitch + table.shape[1]] = np.abs(part)
                pitch += table.shape[1]
    return magnitudes


def decibels(power: Array, floor_db: float = _LEVEL_FLOOR_DB) -> Array:
    """10 log10 of a power, never below the floor."""
    return 10 * np.log10(power + np.float32(10 ** (floor_db / 10)))


def window_levels(mono: Array, sample_rate: int) -> Array:
    """Loudness of 50 ms windows every 25 ms in dB of full scale (10 log10 of the mean square + 1e-8)."""
    length = min(round(0.05 * sample_rate), len(mono))
    windows = np.lib.stride_tricks.sliding_window_view(np.square(mono), length)[:: max(1, length // 2)]
    return 10 * np.log10(windows.mean(axis=1) + 1e-8)


def log_mel_levels(mono: Array, sample_rate: int) -> Array:
    """Mel levels in dB relative to the clip's own RMS level, 20 bands every 16 ms [shape=(frames, bands)]."""
    n_fft = 2 ** round(math.log2(0.064 * sample_rate))
    power = stft_power(unit_level(mono), n_fft, round(MEL_HOP_SECONDS * sample_rate))
    with _libraries().limit(limits=1, user_api="blas"):
        return decibels(power @ _mel_filters(sample_rate, n_fft, MEL_BANDS))


def unit_level(mono: Array) -> Array:
    """The clip at an RMS level of 1; a silent clip stays silent."""
    return mono / np.float32(max(math.sqrt(float(np.mean(np.square(mono)))), 1e-4))


def pitch_peaks(magnitudes: Array, *, within_db: float = 30.0) -> NDArray[np.bool_]:
    """Local maxima over pitch, at most `within_db` below the frame's strongest bin and 50 dB below the clip's.

    Parameters
    ----------
    magnitudes : array [shape=(frames, pitches)]
    """
    inner = magnitudes[:, 1:-1]
    highest = magnitudes.max(axis=1, keepdims=True)
    loud = inner > np.maximum(highest * 10 ** (-within_db / 20), max(float(magnitudes.max()) * 10**-2.5, 1e-7))
    peaks = np.zeros(magnitudes.shape, dtype=bool)
    peaks[:, 1:-1] = loud & (inner > magnitudes[:, :-2]) & (inner >= magnitudes[:, 2:])
    return peaks


def note_peaks(levels_db: Array, peaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The peaks that are no harmonic: none at an octave, twelfth, ... below is louder, or at most 6 dB softer.

    Parameters
    ----------
    levels_db, peaks : array [shape=(frames, pitches)]
    """
    notes = peaks.copy()
    for interval in (12, 19, 24, 28, 31, 34, 36):
        root = peaks[:, :-interval] & (levels_db[:, :-interval] > levels_db[:, interval:] - 6.0)
        notes[:, interval:] &= ~root
    return notes


class SoundView(NamedTuple):
    """What the measures look at."""

    mono: Array
    sample_rate: int
    log_mel: Array
    """[shape=(mel frames, bands)]"""
    pitch: Array
    """Constant-Q magnitudes of the clip at unit level [shape=(frames, pitches)]"""
    levels: Array
    """Loudness in dB of 50 ms windows [shape=(windows,)]"""


def listen(waveform: NDArray, sample_rate: int) -> SoundView:
    mono = mono_mix(waveform)
    if len(mono) < _SHORTEST_SECONDS * sample_rate:
        raise ValueError(f"a clip must last {_SHORTEST_SECONDS:g} s at least, got {len(mono) / sample_rate:.2f} s")
    return SoundView(
        mono=mono,
        sample_rate=sample_rate,
        log_mel=log_mel_levels(mono, sample_rate),
        pitch=pitch_magnitudes(unit_level(mono), sample_rate),
        levels=window_levels(mono, sample_rate),
    )


def onset_strength(log_mel: Array) -> Array:
    """Mean rise over the mel bands, in dB a frame, with levels under -60 dB of the clip's RMS ignored.

    The ruler's onsets: 20 bands every 16 ms. The losses' (`foundation.features.onset_strength`) are nepers of 64 bands
    every 25 ms, and differentiable.
    """
    return np.maximum(np.diff(np.maximum(log_mel, -60.0), axis=0), 0).mean(axis=1)


def autocorrelation(series: Array) -> Array:
    """Autocorrelation of a centred series at all lags up to half its length, 1 at lag 0, 0 for a constant one.

    Each lag is divided by the number of pairs it has, so that long lags are not favoured less than short ones.
    """
    centred = series - series.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    products = (
        np.fft.irfft(spectrum * spectrum.conj())[: len(centred) // 2]
        / np.arange(len(centred), 0, -1)[: len(centred) // 2]
    )
    return (products / max(float(products[0]), 1e-9)).astype(np.float32)


def onset_autocorrelation(log_mel: Array) -> Array:
    """Autocorrelation of the onset strength smoothed over 48 ms, one value per mel frame of lag.

    Each lag is divided by its number of pairs; `foundation.music_statistics.onset_autocorrelation` divides all alike.
    """
    return autocorrelation(uniform_filter1d(onset_strength(log_mel), 3))


def beat_strength_of(log_mel: Array) -> float:
    lags = onset_autocorrelation(log_mel)[round(0.25 / MEL_HOP_SECONDS) : round(1.5 / MEL_HOP_SECONDS)]
    return float(max(lags.max(initial=0.0), 0.0))


def onset_rate_of(log_mel: Array) -> float:
    return len(onset_frames_of(log_mel)) / ((len(log_mel) - 1) * MEL_HOP_SECONDS)


def onset_frames_of(log_mel: Array) -> NDArray[np.intp]:
    """Frames at which something begins: peaks of the onset strength, 1.5 dB a frame above the mean of 0.5 s."""
    strength = onset_strength(log_mel)
    padded = np.pad(strength, 5, constant_values=-1)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 11).max(axis=1)
    onsets = (strength >= highest) & (strength > uniform_filter1d(strength, 31) + 1.5)
    return np.flatnonzero(onsets)


def blocks_of(frames: Array, length: int) -> Array:
    """Frames in groups of `length`; what is left over at the end is not used [shape=(groups, length, numbers)]."""
    usable = len(frames) // length * length
    return frames[:usable].reshape(-1, length, frames.shape[1])


def cosines_of(frames: Array) -> Array:
    """Cosine of every two frames [shape=(frames, frames)]."""
    unit = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-6)
    return unit @ unit.T


def any_two_of(alike: Array) -> float:
    """Mean over every two different frames: what similarity is chance in this clip."""
    count = len(alike)
    return float((alike.sum() - np.trace(alike)) / (count * (count - 1))) if count > 1 else 1.0


def polyphony_of(pitch: Array) -> float:
    counts = note_peaks(20 * np.log10(pitch + 1e-5), pitch_peaks(pitch, within_db=24.0)).sum(axis=1)
    return float(counts[counts > 0].mean()) if counts.any() else 0.0


_KEY_PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
"""Probe-tone ratings of the major and minor key (Krumhansl and Kessler, Psychological Review 89, 1982)."""


def chroma_of(pitch: Array) -> Array:
    """Pitch-class shares of each frame from the peaks' magnitudes, starting at A [shape=(frames, 12)].

    The ruler's, of constant-Q peaks, which have no gradient; the losses' is `foundation.features.chroma`, of an STFT.
    """
    peaks = np.sqrt(pitch * pitch_peaks(pitch))
    classes = np.zeros((len(pitch), 12), dtype=np.float32)
    for first in range(0, pitch.shape[1], 12):
        octave = peaks[:, first : first + 12]
        classes[:, : octave.shape[1]] += octave
    return classes / np.maximum(classes.sum(axis=1, keepdims=True), 1e-9)


def key_clarity_of(chroma: Array) -> float:
    mean = chroma.mean(axis=0)
    if np.ptp(mean) < 1e-6:
        return 0.0
    rotations = np.stack([np.roll(profile, key) for profile in _KEY_PROFILES for key in range(12)])
    return float(max(np.corrcoef(np.vstack([mean, rotations]))[0, 1:]))


class FineSpectrum(NamedTuple):
    """The spectrum in bins of about 8 Hz, every 64 ms, up to 6 kHz."""

    power: Array
    contrast_db: Array
    """Level above the mean level of the 150 Hz around [shape=(frames, bins)]"""
    band_edges: list[int]


def fine_spectrum(mono: Array, sample_rate: int) -> FineSpectrum:
    n_fft = 2 ** round(math.log2(0.128 * sample_rate))
    power = stft_power(unit_level(mono), n_fft, round(0.064 * sample_rate))
    edges = [round(hz * n_fft / sample_rate) for hz in (60, 400, 1000, 2500, min(6000.0, 0.45 * sample_rate))]
    power = power[:, : edges[-1] + 1]
    level = decibels(power, -70.0)
    return FineSpectrum(power, level - uniform_filter1d(level, round(150 * n_fft / sample_rate) | 1, axis=1), edges)


def tonal_share_of(fine: FineSpectrum, first: int, last: int) -> float:
    power = fine.power[:, first:last]
    return float((power * (fine.contrast_db[:, first:last] > 8)).sum() / max(float(power.sum()), 1e-9))


def widened(peaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Peaks and their neighbouring semitones."""
    wide = peaks.copy()
    wide[:, 1:] |= peaks[:, :-1]
    wide[:, :-1] |= peaks[:, 1:]
    return wide


class StereoImage(NamedTuple):
    """How left and right go together, by time and band [shape=(times, bands)]."""

    correlation: Array
    """1: the same in both; 0: unrelated; -1: inverted."""
    coherence: Array
    """1: one is the other filtered or delayed; lower: each has something of its own."""
    level_difference: Array
    """Left over right in dB."""
    side_to_mid: Array
    """Power of left less right over that of left and right together, in dB: -60 is mono, 0 unrelated channels."""


def stereo_image(waveform: NDArray, sample_rate: int) -> StereoImage:
    """Cross-spectra of the first two channels, every half second, in six bands.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
        Two channels.
    """
    hop = 2 ** round(math.log2(0.064 * sample_rate))
    sides = [np.fft.rfft(windows_of(side, hop, hop) * hann(hop), axis=1) for side in np.asarray(waveform[:2])]
    frames = max(1, round(STEREO_SECONDS * sample_rate / hop))
    edges = [min(round(hz * hop / sample_rate), hop // 2) for hz in STEREO_EDGES_HZ] + [hop // 2 + 1]

    def summed(power: NDArray) -> NDArray:
        bands = np.stack([power[:, low : max(high, low + 1)].sum(axis=1) for low, high in pairwise(edges)], axis=1)
        groups = bands[: max(frames, len(bands) // frames * frames)]
        return np.stack([part.sum(axis=0) for part in np.array_split(groups, max(1, len(groups) // frames))])

    left, right = (summed(np.square(np.abs(side))) for side in sides)
    cross = summed(sides[0] * sides[1].conj())
    shared = np.real(cross)
    floor = _STEREO_FLOOR * float((left + right).sum(axis=1).mean()) + 1e-12
    mid, side = left + right + 2 * shared, left + right - 2 * shared
    size = np.sqrt((left + floor) * (right + floor))
    return StereoImage(
        correlation=(shared + floor) / size,
        coherence=(np.abs(cross) + floor) / size,
        level_difference=10 * np.log10((left + floor) / (right + floor)),
        side_to_mid=10 * np.log10((np.maximum(side, 0) + floor) / (np.maximum(mid, 0) + floor)),
    )
