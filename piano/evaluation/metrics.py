"""The ruler: numbers that say how far generated or reconstructed audio is from real music.

Nothing here needs a network or a download. Every function takes waveforms as `(channels, samples)` float arrays in
[-1, 1] and listens to their mono mix. Three kinds of measure, in this order:

- what one clip sounds like: `METRICS`, a table of single numbers, and `feature_vector`, 329 numbers for the next kind;
- how far one set of clips is from another: `kernel_distance`, `kernel_score`, `diversity`, and the gate `gate_two`;
- how well a reconstruction kept its original: `log_magnitude_ratio` (R) and `pitch_found_share` (P).

Compare clips of equal length and rate only: 10 s of music and 30 s of the same music differ in their statistics.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

Array = NDArray[np.float32]
Labels = Sequence[object]

SILENCE_DB = -60.0
"""A 50 ms window below this loudness (dB of full scale) counts as silent."""
LOWEST_PITCH_HZ = 55.0
"""The lowest semitone of the constant-Q spectrogram, A1: below it no window of musical length can tell semitones apart."""
OCTAVES = 7
MAGNITUDE_FLOOR = 1e-3
"""Added to STFT magnitudes before the logarithm: the codec's own floor, about 60 dB below the loudest partials."""
_LEVEL_FLOOR_DB = -60.0
_MEL_BANDS = 20
_MEL_HOP_SECONDS = 0.016
_PITCH_HOP_SECONDS = 0.032
_FRAME_BLOCK = 128
_SHORTEST_SECONDS = 1.0


# What every measure is made of --------------------------------------------------------------------------------------


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


def _frames(mono: Array, length: int, hop: int) -> Array:
    """Windows centred at every hop-th sample, zeros beyond the ends: a view [shape=(frames, length)]."""
    padded = np.pad(mono, (length // 2, length - length // 2))
    count = max(1, len(mono) // hop)
    return np.lib.stride_tricks.sliding_window_view(padded, length)[: count * hop : hop]


@lru_cache(maxsize=16)
def _hann(length: int) -> Array:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def stft_power(mono: Array, n_fft: int, hop_length: int) -> Array:
    """Power of the Hann STFT, scaled so that white noise of variance 1 has a mean of 1 in every bin.

    Parameters
    ----------
    mono : array [shape=(samples,)]

    Returns
    -------
    array [shape=(frames, n_fft // 2 + 1)]
        Frame i is centred at sample i * hop_length.
    """
    frames, window = _frames(mono, n_fft, hop_length), _hann(n_fft)
    window = window / np.sqrt(np.square(window).sum())
    power = np.empty((len(frames), n_fft // 2 + 1), dtype=np.float32)
    for start in range(0, len(frames), _FRAME_BLOCK):
        spectrum = fft.rfft(frames[start : start + _FRAME_BLOCK] * window, axis=1)
        power[start : start + _FRAME_BLOCK] = spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=8)
def _mel_filters(sample_rate: int, n_fft: int, bands: int) -> Array:
    """Triangles of equal height, evenly spaced in mel (HTK formula) from 40 Hz to half the rate [shape=(bins, bands)]."""
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
        OCTAVES * bins_per_octave,
        math.floor(bins_per_octave * math.log2(0.47 * sample_rate / LOWEST_PITCH_HZ)),
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
            frequencies[first : first + bins_per_octave],
            lengths[first : first + bins_per_octave],
            strict=True,
        ):
            time = np.arange(length) - length // 2
            tone = np.zeros(n_fft, dtype=np.complex128)
            window = np.hanning(length + 2)[1:-1]
            tone[n_fft // 2 + time] = (
                2 * window / window.sum() * np.exp(2j * np.pi * frequency * time / sample_rate)
            )
            kernels.append(np.fft.fft(tone)[: n_fft // 2 + 1].conj() / n_fft)
        table = np.stack(kernels, axis=1)
        used = np.flatnonzero((np.abs(table) > 1e-3 * np.abs(table).max(axis=0)).any(axis=1))
        octaves.append(
            (int(used[0]), np.ascontiguousarray(table[used[0] : used[-1] + 1], dtype=np.complex64))
        )
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
    hop_seconds: float = _PITCH_HOP_SECONDS,
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
    return _constant_q(mono_mix(waveform), sample_rate, bins_per_octave, hop_seconds, window_scale).T


def _constant_q(
    mono: Array,
    sample_rate: int,
    bins_per_octave: int = 12,
    hop_seconds: float = _PITCH_HOP_SECONDS,
    scale: float = 1.0,
) -> Array:
    """Constant-Q magnitudes of a mono mix [shape=(frames, pitches)]."""
    kernels = _constant_q_kernels(sample_rate, bins_per_octave, scale)
    frames = _frames(mono, kernels.n_fft, round(hop_seconds * sample_rate))
    magnitudes = np.empty((len(frames), len(kernels.frequencies)), dtype=np.float32)
    for start in range(0, len(frames), _FRAME_BLOCK):
        spectrum = fft.rfft(frames[start : start + _FRAME_BLOCK], axis=1)
        pitch = 0
        for first_bin, table in kernels.octaves:
            part = spectrum[:, first_bin : first_bin + len(table)] @ table
            magnitudes[start : start + len(part), pitch : pitch + table.shape[1]] = np.abs(part)
            pitch += table.shape[1]
    return magnitudes


def _decibels(power: Array, floor_db: float = _LEVEL_FLOOR_DB) -> Array:
    """10 log10 of a power, never below the floor."""
    return 10 * np.log10(power + np.float32(10 ** (floor_db / 10)))


def _window_levels(mono: Array, sample_rate: int) -> Array:
    """Loudness of 50 ms windows every 25 ms in dB of full scale (10 log10 of the mean square + 1e-8)."""
    length = min(round(0.05 * sample_rate), len(mono))
    windows = np.lib.stride_tricks.sliding_window_view(np.square(mono), length)[:: max(1, length // 2)]
    return 10 * np.log10(windows.mean(axis=1) + 1e-8)


def _log_mel(mono: Array, sample_rate: int) -> Array:
    """Mel levels in dB relative to the clip's own RMS level, 20 bands every 16 ms [shape=(frames, bands)]."""
    n_fft = 2 ** round(math.log2(0.064 * sample_rate))
    power = stft_power(_unit_level(mono), n_fft, round(_MEL_HOP_SECONDS * sample_rate))
    return _decibels(power @ _mel_filters(sample_rate, n_fft, _MEL_BANDS))


def _unit_level(mono: Array) -> Array:
    """The clip at an RMS level of 1; a silent clip stays silent."""
    return mono / np.float32(max(math.sqrt(float(np.mean(np.square(mono)))), 1e-4))


def _peaks(magnitudes: Array, *, within_db: float = 30.0) -> NDArray[np.bool_]:
    """Local maxima over pitch, at most `within_db` below the frame's strongest bin and 50 dB below the clip's.

    Parameters
    ----------
    magnitudes : array [shape=(frames, pitches)]
    """
    inner = magnitudes[:, 1:-1]
    highest = magnitudes.max(axis=1, keepdims=True)
    loud = inner > np.maximum(
        highest * 10 ** (-within_db / 20), max(float(magnitudes.max()) * 10**-2.5, 1e-7)
    )
    peaks = np.zeros(magnitudes.shape, dtype=bool)
    peaks[:, 1:-1] = loud & (inner > magnitudes[:, :-2]) & (inner >= magnitudes[:, 2:])
    return peaks


def _notes(levels_db: Array, peaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
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


class _Sound(NamedTuple):
    """What the measures look at."""

    mono: Array
    sample_rate: int
    log_mel: Array
    """[shape=(mel frames, bands)]"""
    pitch: Array
    """Constant-Q magnitudes of the clip at unit level [shape=(frames, pitches)]"""
    levels: Array
    """Loudness in dB of 50 ms windows [shape=(windows,)]"""


def _sound(waveform: NDArray, sample_rate: int) -> _Sound:
    mono = mono_mix(waveform)
    if len(mono) < _SHORTEST_SECONDS * sample_rate:
        raise ValueError(
            f"a clip must last {_SHORTEST_SECONDS:g} s at least, got {len(mono) / sample_rate:.2f} s"
        )
    return _Sound(
        mono=mono,
        sample_rate=sample_rate,
        log_mel=_log_mel(mono, sample_rate),
        pitch=_constant_q(_unit_level(mono), sample_rate),
        levels=_window_levels(mono, sample_rate),
    )


# What one clip sounds like, in single numbers -----------------------------------------------------------------------


def loudness(waveform: NDArray, sample_rate: int) -> float:
    """RMS level in dB of full scale, -80 for digital silence. (Not LUFS: no ear weighting, no gate.)"""
    return float(10 * np.log10(np.mean(np.square(mono_mix(waveform))) + 1e-8))


def crest(waveform: NDArray, sample_rate: int) -> float:
    """Peak over RMS level in dB: 3 for a sine, about 12 to 20 for music, 0 for silence."""
    mono = mono_mix(waveform)
    return float(20 * np.log10((np.abs(mono).max() + 1e-8) / (np.sqrt(np.mean(np.square(mono))) + 1e-8)))


def silence_share(waveform: NDArray, sample_rate: int) -> float:
    """Share of 50 ms windows below -60 dB of full scale."""
    return float(np.mean(_window_levels(mono_mix(waveform), sample_rate) < SILENCE_DB))


def _onset_strength(log_mel: Array) -> Array:
    """Mean rise over the mel bands, in dB a frame, with levels under -60 dB of the clip's RMS ignored."""
    return np.maximum(np.diff(np.maximum(log_mel, -60.0), axis=0), 0).mean(axis=1)


def _autocorrelation(series: Array) -> Array:
    """Autocorrelation of a centred series at all lags up to half its length, 1 at lag 0, 0 for a constant one.

    Each lag is divided by the number of pairs it has, so that long lags are not favoured less than short ones.
    """
    centred = series - series.mean()
    spectrum = fft.rfft(centred, 2 * len(centred))
    products = (
        fft.irfft(spectrum * spectrum.conj())[: len(centred) // 2]
        / np.arange(len(centred), 0, -1)[: len(centred) // 2]
    )
    return (products / max(float(products[0]), 1e-9)).astype(np.float32)


def _onset_autocorrelation(log_mel: Array) -> Array:
    """Autocorrelation of the onset strength smoothed over 48 ms, one value per mel frame of lag."""
    return _autocorrelation(uniform_filter1d(_onset_strength(log_mel), 3))


def beat_strength(waveform: NDArray, sample_rate: int) -> float:
    """Highest autocorrelation of the onset strength at lags of 0.25 to 1.5 s: 1 is clockwork, 0 has no pulse."""
    return _beat_strength(_log_mel(mono_mix(waveform), sample_rate))


def _beat_strength(log_mel: Array) -> float:
    lags = _onset_autocorrelation(log_mel)[round(0.25 / _MEL_HOP_SECONDS) : round(1.5 / _MEL_HOP_SECONDS)]
    return float(max(lags.max(initial=0.0), 0.0))


def onset_rate(waveform: NDArray, sample_rate: int) -> float:
    """Onsets a second: peaks of the onset strength that are the highest within 80 ms and 1.5 dB above the local mean."""
    return _onset_rate(_log_mel(mono_mix(waveform), sample_rate))


def _onset_rate(log_mel: Array) -> float:
    strength = _onset_strength(log_mel)
    padded = np.pad(strength, 5, constant_values=-1)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 11).max(axis=1)
    onsets = (strength >= highest) & (strength > uniform_filter1d(strength, 31) + 1.5)
    return float(onsets.sum() / (len(strength) * _MEL_HOP_SECONDS))


def polyphony(waveform: NDArray, sample_rate: int) -> float:
    """Mean number of notes at a time: constant-Q peaks within 24 dB of the strongest that are no harmonic of a lower one."""
    return _polyphony(_constant_q(_unit_level(mono_mix(waveform)), sample_rate))


def _polyphony(pitch: Array) -> float:
    counts = _notes(20 * np.log10(pitch + 1e-5), _peaks(pitch, within_db=24.0)).sum(axis=1)
    return float(counts[counts > 0].mean()) if counts.any() else 0.0


_KEY_PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
"""Probe-tone ratings of the major and minor key (Krumhansl and Kessler, Psychological Review 89, 1982)."""


def _chroma(pitch: Array) -> Array:
    """Pitch-class shares of each frame from the peaks' magnitudes, starting at A [shape=(frames, 12)]."""
    peaks = np.sqrt(pitch * _peaks(pitch))
    classes = np.zeros((len(pitch), 12), dtype=np.float32)
    for first in range(0, pitch.shape[1], 12):
        octave = peaks[:, first : first + 12]
        classes[:, : octave.shape[1]] += octave
    return classes / np.maximum(classes.sum(axis=1, keepdims=True), 1e-9)


def key_clarity(waveform: NDArray, sample_rate: int) -> float:
    """Correlation of the clip's mean chroma with the best fitting of the 24 keys; 0 for silence."""
    return _key_clarity(_chroma(_constant_q(_unit_level(mono_mix(waveform)), sample_rate)))


def _key_clarity(chroma: Array) -> float:
    mean = chroma.mean(axis=0)
    if np.ptp(mean) < 1e-6:
        return 0.0
    rotations = np.stack([np.roll(profile, key) for profile in _KEY_PROFILES for key in range(12)])
    return float(max(np.corrcoef(np.vstack([mean, rotations]))[0, 1:]))


class _FineSpectrum(NamedTuple):
    """The spectrum in bins of about 8 Hz, every 64 ms, up to 6 kHz."""

    power: Array
    contrast_db: Array
    """Level above the mean level of the 150 Hz around [shape=(frames, bins)]"""
    band_edges: list[int]


def _fine_spectrum(mono: Array, sample_rate: int) -> _FineSpectrum:
    n_fft = 2 ** round(math.log2(0.128 * sample_rate))
    power = stft_power(_unit_level(mono), n_fft, round(0.064 * sample_rate))
    edges = [round(hz * n_fft / sample_rate) for hz in (60, 400, 1000, 2500, min(6000.0, 0.45 * sample_rate))]
    power = power[:, : edges[-1] + 1]
    level = _decibels(power, -70.0)
    return _FineSpectrum(
        power, level - uniform_filter1d(level, round(150 * n_fft / sample_rate) | 1, axis=1), edges
    )


def tonal_share(waveform: NDArray, sample_rate: int) -> float:
    """Share of the power (60 Hz to 6 kHz) that stands 8 dB above the mean level of the 150 Hz around it.

    About 0.06 for noise of any smooth spectrum, and near 1 for held notes: only power in narrow lines counts.
    """
    fine = _fine_spectrum(mono_mix(waveform), sample_rate)
    return _tonal_share(fine, fine.band_edges[0], fine.band_edges[-1])


def _tonal_share(fine: _FineSpectrum, first: int, last: int) -> float:
    power = fine.power[:, first:last]
    return float((power * (fine.contrast_db[:, first:last] > 8)).sum() / max(float(power.sum()), 1e-9))


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


# What one clip sounds like, in one vector ---------------------------------------------------------------------------


def _timbre(sound: _Sound) -> list[Array]:
    """Level of each mel band: mean, spread, and the 10th and 90th percentile about the mean."""
    mean = sound.log_mel.mean(axis=0)
    low, high = np.percentile(sound.log_mel, (10, 90), axis=0) - mean
    return [mean, sound.log_mel.std(axis=0), low, high]


def _modulation(sound: _Sound) -> list[Array]:
    """Depth of the level's movement at 0.5-1, 1-2, 2-4, 4-8, 8-16 Hz, in six groups of mel bands (log of dB)."""
    bands = np.stack([group.mean(axis=1) for group in np.array_split(sound.log_mel, 6, axis=1)])
    bands = bands - bands.mean(axis=1, keepdims=True)
    window = _hann(bands.shape[1])
    power = np.abs(fft.rfft(bands * window)) ** 2 / np.square(window).sum() / bands.shape[1]
    rate = np.arange(power.shape[1]) / (bands.shape[1] * _MEL_HOP_SECONDS)
    depths = [power[:, (rate >= low) & (rate < 2 * low)].sum(axis=1) for low in (0.5, 1, 2, 4, 8)]
    return [np.log10(depth + 1e-2) for depth in depths]


def _note_statistics(sound: _Sound, peaks: NDArray[np.bool_], levels_db: Array) -> list[Array]:
    """How many notes at a time, in which octave, and how far each stands out of its neighbours."""
    counts = _notes(levels_db, peaks & (levels_db > levels_db.max(axis=1, keepdims=True) - 24)).sum(axis=1)
    shares = np.array(
        [np.mean(counts == n) for n in range(6)] + [np.mean(counts > 5), counts.mean(), counts.std()]
    )
    octaves = [sound.pitch[:, k : k + 12] for k in range(0, 12 * OCTAVES, 12)]
    register = np.array(
        [_decibels(np.square(octave).mean() if octave.size else np.float32(0)) for octave in octaves]
    )
    contrast = np.array([_octave_contrast(levels_db[:, k : k + 12]) for k in range(0, 12 * OCTAVES, 12)])
    padded = np.pad(levels_db, ((0, 0), (2, 2)), mode="edge")
    around = (padded[:, :-4] + padded[:, 4:]) / 2
    sharpness = (levels_db - around)[peaks]
    quartiles = np.percentile(sharpness, (10, 25, 50, 75, 90)) if sharpness.size else np.zeros(5)
    return [shares, register, contrast, quartiles, np.array([peaks.sum(axis=1).mean()])]


def _octave_contrast(levels_db: Array) -> float:
    """Mean spread over the pitches of one octave, in dB."""
    return float(levels_db.std(axis=1).mean()) if levels_db.size else 0.0


def _durations(sound: _Sound, peaks: NDArray[np.bool_], notes: NDArray[np.bool_]) -> list[Array]:
    """How many pitches still sound 32 ms to 1 s later, how many are new, and how long they are held in a row."""
    per_frame = max(float(peaks.sum()), 1.0)
    lasting = [(peaks[lag:] & peaks[:-lag]).sum() / per_frame for lag in (1, 2, 4, 8, 16, 31)]
    starts = (peaks[1:] & ~peaks[:-1]).sum() + peaks[0].sum()
    begun = notes[1:] & ~_widened(peaks[:-1])
    ended = notes[:-1] & ~_widened(peaks[1:])
    seconds = len(peaks) * _PITCH_HOP_SECONDS
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
    together = np.array([(notes[:, k:] & notes[:, :-k]).sum() for k in range(1, 13)]) / max(
        float(notes.sum()), 1.0
    )
    new = notes[1:] & ~_widened(peaks[:-1])
    later = _quarter_later(new)
    steps = np.array([_shifted_overlap(new[: len(later)], later, k) for k in range(-7, 8)]) / max(
        float(new.sum()), 1.0
    )
    return [together, steps]


def _widened(peaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Peaks and their neighbouring semitones."""
    wide = peaks.copy()
    wide[:, 1:] |= peaks[:, :-1]
    wide[:, :-1] |= peaks[:, 1:]
    return wide


def _quarter_later(new: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which notes begin 0.1 to 0.5 s after each frame."""
    window = np.lib.stride_tricks.sliding_window_view(new, 13, axis=0)
    return window[3:].any(axis=2)


def _shifted_overlap(now: NDArray[np.bool_], later: NDArray[np.bool_], semitones: int) -> float:
    """How many pairs (note now, note later) are this many semitones apart."""
    if semitones < 0:
        return float((now[:, -semitones:] & later[:, :semitones]).sum())
    return float((now[:, : now.shape[1] - semitones] & later[:, semitones:]).sum())


def _continuity(sound: _Sound, peaks: NDArray[np.bool_]) -> list[Array]:
    """Whether each moment follows from the one before: what cuts in the middle of notes spoil.

    The largest falls of single mel bands (a note that is cut falls faster than it fades), the frames where most pitches
    end or end and begin at once, and how much nearer moments 0.1 to 0.75 s apart are to each other than any two.
    """
    levels = np.maximum(sound.log_mel, -60.0)
    falls = np.maximum(levels[:-1] - levels[1:], 0)
    cuts = np.concatenate(
        [np.percentile(falls.max(axis=1), (98, 99, 99.5)), np.percentile(falls.mean(axis=1), (99, 99.5))]
    )
    ended = (peaks[:-1] & ~_widened(peaks[1:])).sum(axis=1) / np.maximum(peaks[:-1].sum(axis=1), 1)
    begun = (peaks[1:] & ~_widened(peaks[:-1])).sum(axis=1) / np.maximum(peaks[1:].sum(axis=1), 1)
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


def _similarity(sound: _Sound, chroma: Array) -> list[Array]:
    """How alike chroma and pitch are 0.1 to 4 s apart: mean, spread, and mean compared with any two moments."""
    pitch = np.sqrt(sound.pitch)
    return [np.array(_similarities(chroma)), np.array(_similarities(pitch))]


def _similarities(frames: Array) -> list[float]:
    """Mean and spread of the cosine between frames 0.1, 0.5, 1, 2, 4 s apart, then how much of it order brings.

    The last: 0 where frames this far apart are as alike as any two of the clip (shuffled time), 1 where they are as
    alike as neighbours. Lags longer than half of the clip count as half of the clip.
    """
    unit = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-6)
    lags = [
        min(round(seconds / _PITCH_HOP_SECONDS), len(unit) // 2)
        for seconds in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    ]
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
        np.array([_key_clarity(chroma), entropy.mean(), entropy.std(), float(_entropy(chroma.mean(axis=0)))]),
        ranked[:7],
    ]


def _entropy(shares: Array) -> Array:
    """Entropy over the last axis, in nats."""
    return -(shares * np.log(shares + 1e-9)).sum(axis=-1)


def _rhythm(sound: _Sound) -> list[Array]:
    """Autocorrelation of the onsets (highest value in 12 ranges of lag, 0.1 to 2 s), their rate, size and sparsity."""
    correlation = _onset_autocorrelation(sound.log_mel)
    edges = np.round(np.geomspace(0.1, 2.0, 13) / _MEL_HOP_SECONDS).astype(int)
    highest = [float(correlation[a:b].max(initial=-1.0)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [
        np.array(
            [*highest, _beat_strength(sound.log_mel), _onset_rate(sound.log_mel), *_movement(sound.log_mel)]
        )
    ]


def _movement(log_mel: Array) -> list[float]:
    """Sizes of rises and falls of the mel levels: their mean, sparsity and largest, and rise against fall."""
    rises, falls = _onset_strength(log_mel), _onset_strength(-np.maximum(log_mel, -60.0) - 60.0)
    numbers = []
    for series in (rises, falls):
        median, high, top = np.percentile(series, (50, 90, 99))
        numbers += [
            math.log(series.mean() + 0.05),
            math.log((high + 0.05) / (median + 0.05)),
            math.log(top + 0.05),
        ]
    return [*numbers, math.log((np.square(rises).sum() + 1e-2) / (np.square(falls).sum() + 1e-2))]


def _dynamics(sound: _Sound) -> list[Array]:
    """Loudness, its distribution about the clip's own level, silence, crest, and how fast it moves."""
    overall = 10 * np.log10(np.mean(np.square(sound.mono)) + 1e-8)
    relative = np.maximum(sound.levels - overall, -50.0)
    percentiles = np.percentile(relative, (5, 25, 50, 75, 95))
    steps = np.diff(relative)
    peak = 20 * np.log10(
        (np.abs(sound.mono).max() + 1e-8) / (math.sqrt(float(np.mean(np.square(sound.mono)))) + 1e-8)
    )
    quiet = np.mean(sound.levels < SILENCE_DB)
    return [
        np.array(
            [overall, *percentiles, quiet, peak, np.abs(steps).mean(), steps.std(), steps.max(initial=0.0)]
        )
    ]


def _sharpness(sound: _Sound) -> list[Array]:
    """How narrow the partials are, in four bands: tonal share, contrast, its percentiles, change from frame to frame."""
    fine = _fine_spectrum(sound.mono, sound.sample_rate)
    numbers = []
    for first, last in zip(fine.band_edges[:-1], fine.band_edges[1:], strict=True):
        contrast = fine.contrast_db[:, first:last]
        weight = np.sqrt(fine.power[:, first:last]) + 1e-4
        numbers += [
            _tonal_share(fine, first, last),
            float(contrast.std()),
            float((contrast * weight).sum() / weight.sum()),
            float(np.abs(np.diff(contrast, axis=0)).mean()),
            *np.percentile(contrast[::2], (5, 50, 95)),
        ]
    return [np.array(numbers)]


def _colour(sound: _Sound) -> list[Array]:
    """Centroid, spread, roll-off and flatness over the mel bands, and how they move."""
    power = 10 ** (sound.log_mel / 10)
    shares = np.cumsum(power, axis=1) / np.maximum(power.sum(axis=1, keepdims=True), 1e-9)
    bands = np.arange(_MEL_BANDS)
    centroid = (np.sqrt(power) @ bands) / np.maximum(np.sqrt(power).sum(axis=1), 1e-9)
    rolloff = [(shares < share).sum(axis=1).mean() for share in (0.5, 0.85, 0.95)]
    flatness = sound.log_mel.mean(axis=1) - 10 * np.log10(power.mean(axis=1) + 1e-9)
    return [np.array([centroid.mean(), centroid.std(), *rolloff, flatness.mean(), flatness.std()])]


FEATURE_GROUPS: dict[str, int] = {
    "timbre": 4 * _MEL_BANDS + 7,
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
}
"""The aspects of a feature vector, in order, and how many numbers each has."""


def feature_vector(waveform: NDArray, sample_rate: int) -> Array:
    """What a clip sounds like, in fixed hand-made numbers.

    The aspects are those of FEATURE_GROUPS: mel-band moments and percentiles, modulation spectrum, number and register of
    notes and how far they stand out (constant-Q), duration and steps of notes, self-similarity of chroma and pitch from
    0.1 to 4 s with key clarity, onset autocorrelation, loudness distribution, sharpness of partials, spectral colour.
    All but the loudness itself do not depend on the clip's level.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
        One second or more.

    Returns
    -------
    array [shape=(329,)]
        Raw numbers in different units: standardise them with a FeatureScale.

    Raises
    ------
    ValueError
        If the clip is too short or not finite.
    """
    sound = _sound(waveform, sample_rate)
    levels_db = 20 * np.log10(sound.pitch + 1e-3)
    peaks = _peaks(sound.pitch)
    notes = _notes(levels_db, peaks)
    chroma = _chroma(sound.pitch)
    parts = (
        _timbre(sound)
        + _colour(sound)
        + _modulation(sound)
        + _sharpness(sound)
        + _note_statistics(sound, peaks, levels_db)
        + _durations(sound, peaks, notes)
        + _intervals(peaks, notes)
        + _similarity(sound, chroma)
        + _harmony(chroma)
        + _continuity(sound, peaks)
        + _rhythm(sound)
        + _dynamics(sound)
    )
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


# How far one set of clips is from another ---------------------------------------------------------------------------


class FeatureScale(NamedTuple):
    """Turns raw features into numbers that can be compared: fitted on real clips, used on everything.

    Every feature is centred and divided by its spread over the real clips; spreads much smaller than those of its aspect
    are raised, so that a number that never moves in real music does not drown the others; every aspect of FEATURE_GROUPS
    then weighs the same, whatever its size.
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
        sizes = _group_sizes(features.shape[1])
        groups = np.split(std, np.cumsum(sizes)[:-1])
        spread = np.concatenate([np.hypot(group, 0.3 * np.median(group) + 1e-3) for group in groups])
        return cls(mean, std, spread, np.sqrt(len(sizes) * np.repeat(sizes, sizes)))

    def transform(self, features: NDArray) -> NDArray[np.float64]:
        """Standardised features [shape=(clips, features)]: real clips have a summed variance of about 1.

        A number far outside of real music counts as at most five spreads: one absurd number must not hide the others.
        """
        spreads = (np.asarray(features, dtype=np.float64) - self.mean) / self.spread
        return 5 * np.tanh(spreads / 5) / self.weight


def _group_sizes(features: int) -> list[int]:
    """Sizes of the aspects, or one aspect for features of another origin (an encoder's, say)."""
    sizes = list(FEATURE_GROUPS.values())
    return sizes if sum(sizes) == features else [features]


def _squared_distances(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Squared Euclidean distances of all pairs [shape=(rows of a, rows of b)]."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.maximum(np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T, 0)


def _different(
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


def kernel_distance(
    generated: NDArray,
    reference: NDArray,
    *,
    generated_files: Labels | None = None,
    reference_files: Labels | None = None,
    bandwidth: float | None = None,
) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of feature vectors: 0 for two draws of the same music.

    The kernel distance of KAD (arXiv 2502.15602; estimator: Gretton et al., JMLR 13, 2012), with the bandwidth from the
    median distance within the *reference*. The kernel is rational quadratic, 1 / (1 + d^2 / (2 h^2)), and not Gaussian:
    its long tail still tells bad from worse, where the Gaussian one calls everything bad equally far.
    Being unbiased, it may fall a little below zero.

    Parameters
    ----------
    generated, reference : array [shape=(clips, features)]
        Standardised features (`FeatureScale.transform`).
    generated_files, reference_files : sequence of labels, optional
        Where each clip was cut from. Pairs of the same file are left out, within each set and across: passages of one
        song are alike, and would make a set of few songs look concentrated.
    bandwidth : float, optional
        The length h; by default the median distance between reference clips of different files.

    Raises
    ------
    ValueError
        If a set has no pair of clips from different files.
    """
    within_reference = _different(reference_files, reference_files, (len(reference),) * 2, same_set=True)
    within_generated = _different(generated_files, generated_files, (len(generated),) * 2, same_set=True)
    across = _different(generated_files, reference_files, (len(generated), len(reference)), same_set=False)
    squared = _squared_distances(reference, reference)
    h = bandwidth if bandwidth is not None else float(np.sqrt(np.median(squared[within_reference])))
    h = max(h, 1e-6)

    def mean_kernel(distances: NDArray, allowed: NDArray[np.bool_]) -> float:
        return float((1 / (1 + distances[allowed] / (2 * h * h))).mean())

    return (
        mean_kernel(squared, within_reference)
        + mean_kernel(_squared_distances(generated, generated), within_generated)
        - 2 * mean_kernel(_squared_distances(generated, reference), across)
    )


def real_floor(
    real: NDArray, *, real_files: Labels | None = None, splits: int = 8, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance of one half of the real files to the other: mean and spread over random splits.

    Parameters
    ----------
    real : array [shape=(clips, features)]
        Standardised features.

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
    distances = []
    for _ in range(splits):
        half = np.isin(labels, random.permutation(files)[: len(files) // 2])
        distances.append(
            kernel_distance(
                real[half],
                real[~half],
                generated_files=labels[half].tolist(),
                reference_files=labels[~half].tolist(),
            )
        )
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
    """Its standard deviation over random halves: differences of scores below floor_spread / noise_distance are chance."""


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
    groups = np.split(offsets * scale.weight, np.cumsum(_group_sizes(len(offsets)))[:-1])
    return {
        name: float(np.sqrt(np.mean(np.square(group))))
        for name, group in zip(FEATURE_GROUPS, groups, strict=True)
    }


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
    own = _different(None, None, (len(generated),) * 2, same_set=True)
    reference = _different(real_files, real_files, (len(real),) * 2, same_set=True)
    own_distance = float(np.sqrt(_squared_distances(generated, generated)[own]).mean())
    return own_distance / max(float(np.sqrt(_squared_distances(real, real)[reference]).mean()), 1e-9)


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
        spectrum = fft.rfft(random.standard_normal(clip.shape).astype(np.float32), axis=1)
        gain = np.interp(np.linspace(0, len(power) - 1, spectrum.shape[1]), bins, smooth).astype(np.float32)
        noise = fft.irfft(spectrum * gain, clip.shape[1], axis=1)
        level = np.sqrt(np.mean(np.square(clip)) / max(float(np.mean(np.square(noise))), 1e-20))
        noises.append((noise * level).astype(np.float32))
    return noises


# How well a reconstruction kept its original ------------------------------------------------------------------------


def pitch_window(sample_rate: int) -> int:
    """The shortest power of two of samples that lasts 93 ms: 2048 at 16 kHz and 22.05 kHz, 4096 at 44.1 kHz."""
    return 2 ** math.ceil(math.log2(0.0928 * sample_rate))


def _log_magnitude(waveform: NDArray, sample_rate: int) -> Array:
    """log(|S| + 1e-3) of the mono mix, |S| the Hann STFT over sqrt(n_fft), hop n_fft / 4 [shape=(frames, bins)]."""
    n_fft = pitch_window(sample_rate)
    hann_power = float(np.square(_hann(n_fft)).sum()) / n_fft
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
        _mean_gap(_log_magnitude(clip, sample_rate), own)
        for clip, own in zip(reconstruction, levels, strict=True)
    ]
    allowed = _different(files, files, (len(levels),) * 2, same_set=True)
    random = np.random.default_rng(seed)
    unrelated = [
        _mean_gap(levels[index], levels[other])
        for index, row in enumerate(allowed)
        for other in random.permutation(np.flatnonzero(row))[:8]
    ]
    return float(np.mean(errors) / max(float(np.mean(unrelated)), 1e-9))


def _mean_gap(a: Array, b: Array) -> float:
    """Mean absolute difference over the frames that both have."""
    frames = min(len(a), len(b))
    return float(np.abs(a[:frames] - b[:frames]).mean())


def pitch_found_share(
    *,
    reconstruction: Sequence[NDArray] | NDArray,
    original: Sequence[NDArray] | NDArray,
    sample_rate: int,
) -> float:
    """P: share of frames whose three strongest pitches are found again in the reconstruction; 1 is perfect.

    Constant-Q magnitudes in semitones from A1 (`constant_q`, own implementation) every 32 ms. Peaks are bins above both
    neighbours, at most 30 dB below the strongest bin of their frame and 50 dB below that of the clip. A frame counts if it
    has a peak and its power is within 40 dB of the clip's loudest frame; its pitches are its three strongest peaks, or all
    if there are fewer. Found means that *each* of them has one of the six strongest peaks of the same frame of the
    reconstruction at most one semitone away. (Six, not all: noise has a peak every third semitone, and would find almost
    everything. Noise with the music's spectrum finds about 0.05.)

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
        pitches = _constant_q(mono_mix(clip)[:samples], sample_rate)
        wanted = _strongest_peaks(pitches, 3)
        power = np.square(pitches).sum(axis=1)
        counts = wanted.any(axis=1) & (power > 1e-4 * power.max())
        offered = _widened(_strongest_peaks(_constant_q(mono_mix(copy)[:samples], sample_rate), 6))
        found += int((~(wanted & ~offered).any(axis=1) & counts).sum())
        counted += int(counts.sum())
    return found / counted if counted else 1.0


def _strongest_peaks(magnitudes: Array, count: int) -> NDArray[np.bool_]:
    """The `count` strongest peaks of each frame [shape=(frames, pitches)]."""
    heights = magnitudes * _peaks(magnitudes)
    threshold = np.partition(heights, -count, axis=1)[:, -count, None]
    return (heights >= threshold) & (heights > 0)


# The gate after the flow --------------------------------------------------------------------------------------------


class GateTwo(NamedTuple):
    """Figures of gate G2 (ml-design section 5), for each number of sampling steps."""

    distances: dict[int, float]
    """Kernel distance of the samples to real music, by steps."""
    noise_distance: float
    """Kernel distance of decoded white noise to real music."""
    silence_shares: dict[int, float]
    real_silence_share: float
    best_steps: int
    """The steps with the smallest distance."""
    passed_by_steps: dict[int, bool]
    judged_steps: int
    passed: bool
    """Whether the samples with `judged_steps` pass."""


def gate_two(
    samples_by_steps: Mapping[int, Sequence[NDArray] | NDArray],
    real: Sequence[NDArray] | NDArray,
    noise_decoded: Sequence[NDArray] | NDArray,
    sample_rate: int,
    *,
    real_files: Labels | None = None,
    judged_steps: int | None = None,
) -> GateTwo:
    """G2: are samples at most half as far from real music as decoded noise, and no more silent than real music?

    Passed when the kernel distance is below 0.5 of that of the noise-decoded clips (latents of white noise through the
    decoder: what the flow starts from), and the silence share is within 0.05 of real music's.

    Parameters
    ----------
    samples_by_steps : mapping of sampling steps to clips [shape=(channels, samples)]
    real, noise_decoded : sequence of arrays [shape=(channels, samples)]
        Of the same length as the samples.
    judged_steps : int, optional
        The steps that decide `passed`; by default the largest number given.
    """
    real_features = feature_matrix(real, sample_rate)
    scale = FeatureScale.fit(real_features)
    reference = scale.transform(real_features)

    def distance(clips: Sequence[NDArray] | NDArray) -> float:
        features = scale.transform(feature_matrix(clips, sample_rate))
        generated_files = (
            None if real_files is None else [("generated", index) for index in range(len(features))]
        )
        return kernel_distance(
            features, reference, generated_files=generated_files, reference_files=real_files
        )

    def silence(clips: Sequence[NDArray] | NDArray) -> float:
        return float(np.mean([silence_share(clip, sample_rate) for clip in clips]))

    distances = {steps: distance(clips) for steps, clips in samples_by_steps.items()}
    silences = {steps: silence(clips) for steps, clips in samples_by_steps.items()}
    noise_distance, real_silence = distance(noise_decoded), silence(real)
    passed = {
        steps: distances[steps] < 0.5 * noise_distance and abs(silences[steps] - real_silence) <= 0.05
        for steps in samples_by_steps
    }
    judged = max(samples_by_steps) if judged_steps is None else judged_steps
    return GateTwo(
        distances=distances,
        noise_distance=noise_distance,
        silence_shares=silences,
        real_silence_share=real_silence,
        best_steps=min(distances, key=lambda steps: distances[steps]),
        passed_by_steps=passed,
        judged_steps=judged,
        passed=passed[judged],
    )
