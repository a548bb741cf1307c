"""Single numbers of one clip: what a listener would complain about, each cheap and each with a unit."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.lufs import integrated_lufs
from piano.evaluation.spectra import (
    PITCH_HOP_SECONDS,
    REPETITION_SECONDS,
    SILENCE_DB,
    Array,
    StereoImage,
    any_two_of,
    beat_strength_of,
    blocks_of,
    chroma_of,
    cosines_of,
    decibels,
    fine_spectrum,
    key_clarity_of,
    log_mel_levels,
    mono_mix,
    onset_rate_of,
    pitch_magnitudes,
    pitch_peaks,
    polyphony_of,
    stereo_image,
    stft_power,
    tonal_share_of,
    unit_level,
    window_levels,
)

LOWEST_STABLE_PITCH = 12
"""A2: below it the constant-Q window is so long that noise holds its pitch, too."""
STABLE_FRAMES = 10
"""0.32 s: twice the window of A2."""
MOMENT_FRAMES = max(1, round(REPETITION_SECONDS / PITCH_HOP_SECONDS))
MOMENT_SECONDS = MOMENT_FRAMES * PITCH_HOP_SECONDS
"""Moments that are compared for what comes again: about a quarter of a second."""
LINE_CONTRAST_DB = 10.0
LINE_SPREAD_DB = 3.0
LOWEST_LINE_HZ = 100.0
"""Below, the fall of the spectrum itself looks like a line."""
BANDWIDTH_DB = 60.0


class Clip:
    """One clip, and what is heard in it: computed when first asked for, then kept.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    sample_rate : int
    """

    def __init__(self, waveform: NDArray, sample_rate: int) -> None:
        self.waveform = np.asarray(waveform, dtype=np.float32)
        self.sample_rate = sample_rate
        self.mono = mono_mix(self.waveform)

    @cached_property
    def log_mel(self) -> Array:
        """[shape=(frames, bands)]"""
        return log_mel_levels(self.mono, self.sample_rate)

    @cached_property
    def pitch(self) -> Array:
        """Constant-Q magnitudes at unit level [shape=(frames, pitches)]"""
        return pitch_magnitudes(unit_level(self.mono), self.sample_rate)

    @cached_property
    def spectrum_db(self) -> Array:
        """Level over time in bins of about 8 Hz, over the whole band [shape=(frames, bins)]"""
        n_fft = 2 ** round(np.log2(0.128 * self.sample_rate))
        return decibels(stft_power(unit_level(self.mono), n_fft, n_fft // 2), -80.0)

    @cached_property
    def alike(self) -> Array:
        """Cosine of the chroma of every two moments of 0.25 s [shape=(moments, moments)]"""
        return cosines_of(blocks_of(chroma_of(self.pitch), MOMENT_FRAMES).mean(axis=1))

    @cached_property
    def image(self) -> StereoImage | None:
        """Stereo image by time and band; None for one channel."""
        return stereo_image(self.waveform, self.sample_rate) if len(self.waveform) > 1 else None

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.mono) / self.sample_rate


def loudness(clip: Clip) -> float:
    """RMS level in dB of full scale, -80 for digital silence."""
    return float(10 * np.log10(np.mean(np.square(clip.mono)) + 1e-8))


def integrated_loudness(clip: Clip) -> float:
    """Loudness as people hear it, in LUFS (ITU-R BS.1770-4, gated); -70 where all is below its gate.

    Not a number for less than 0.4 s.
    """
    return integrated_lufs(clip.waveform, clip.sample_rate)


def crest(clip: Clip) -> float:
    """Peak over RMS level in dB: 3 for a sine, about 12 to 20 for music."""
    return float(20 * np.log10((np.abs(clip.mono).max() + 1e-8) / (np.sqrt(np.mean(np.square(clip.mono))) + 1e-8)))


def silence_share(clip: Clip) -> float:
    """Share of 50 ms windows below -60 dB of full scale."""
    return float(np.mean(window_levels(clip.mono, clip.sample_rate) < SILENCE_DB))


def offset(clip: Clip) -> float:
    """Size of the mean over the RMS level, the worst channel: 0 for sound, 1 for a constant."""
    means = np.abs(clip.waveform.mean(axis=1))
    return float(np.max(means / np.maximum(np.sqrt(np.square(clip.waveform).mean(axis=1)), 1e-6)))


def stereo_correlation(clip: Clip) -> float:
    """Correlation of left and right: 1 is mono, 0 two unrelated sounds, below 0 cancels in the mix.

    Not a number for one channel.
    """
    if len(clip.waveform) < 2:
        return float("nan")
    left, right = clip.waveform[:2] - clip.waveform[:2].mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.square(left).mean() * np.square(right).mean()))
    return float((left * right).mean() / size) if size > 1e-10 else 1.0


def side_to_mid(clip: Clip) -> float:
    """Power of the side (left less right) over that of the mid (left and right) in dB.

    -60 or less is mono, 0 two unrelated channels. Not a number for one channel.
    """
    if len(clip.waveform) < 2:
        return float("nan")
    mid, side = (np.square(clip.waveform[0] + sign * clip.waveform[1]).mean() for sign in (1, -1))
    floor = 1e-6 * float(mid + side) + 1e-12
    return float(10 * np.log10((side + floor) / (mid + floor)))


def stereo_coherence(clip: Clip) -> float:
    """How much of one channel is the other one filtered, mean over six bands and half seconds: 1 is all of it.

    Not a number for one channel.
    """
    return float(clip.image.coherence.mean()) if clip.image else float("nan")


def level_difference_spread(clip: Clip) -> float:
    """Standard deviation in dB of left over right, over bands and half seconds: 0 where nothing has a place or moves.

    Not a number for one channel.
    """
    return float(clip.image.level_difference.std()) if clip.image else float("nan")


def rolloff(clip: Clip) -> float:
    """Frequency in Hz below which 95 % of the power lies."""
    power = (10 ** (clip.spectrum_db / 10)).mean(axis=0)
    index = int(np.searchsorted(np.cumsum(power), 0.95 * power.sum()))
    return index * clip.sample_rate / 2 / (len(power) - 1)


def bandwidth(clip: Clip) -> float:
    """Highest frequency in Hz whose level comes within 60 dB of the clip's loudest in a tenth of the frames."""
    level = np.percentile(clip.spectrum_db, 90, axis=0)
    smooth = np.convolve(level, np.full(9, 1 / 9), mode="same")
    loud = np.flatnonzero(smooth > level.max() - BANDWIDTH_DB)
    return float(loud[-1] * clip.sample_rate / 2 / (len(level) - 1)) if len(loud) else 0.0


def whistle(clip: Clip) -> float:
    """Share of the clip that its steadiest line lasts: 10 dB above the 150 Hz around, within 3 dB of its own median.

    Notes begin and fade; a line that stays at one pitch and one level for most of a clip is a whistle or a hum.
    """
    level = clip.spectrum_db
    width = round(150 / (clip.sample_rate / 2 / (level.shape[1] - 1))) | 1
    sums = np.cumsum(np.pad(level, ((0, 0), (width // 2 + 1, width // 2)), mode="edge"), axis=1)
    around = (sums[:, width:] - sums[:, :-width]) / width
    stands = level - around > LINE_CONTRAST_DB
    middle = np.median(level, axis=0)
    is_steady = np.abs(level - middle) < LINE_SPREAD_DB
    lowest = round(LOWEST_LINE_HZ / (clip.sample_rate / 2) * (level.shape[1] - 1))
    return float((stands & is_steady)[:, lowest:].mean(axis=0).max())


def tonal_share(clip: Clip) -> float:
    """Share of the power (60 Hz to 6 kHz) in narrow lines: near 1 for held notes, 0.1 for white noise."""
    fine = fine_spectrum(clip.mono, clip.sample_rate)
    return tonal_share_of(fine, fine.band_edges[0], fine.band_edges[-1])


def stable_note_share(clip: Clip) -> float:
    """Share of pitch peaks (from A2 up) that are part of one pitch held for 0.3 s or more."""
    peaks = pitch_peaks(clip.pitch)[:, LOWEST_STABLE_PITCH:]
    total = int(peaks.sum())
    if not total:
        return 0.0
    edges = np.diff(np.pad(peaks.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    lengths = np.nonzero(edges.ravel() == -1)[0] - np.nonzero(edges.ravel() == 1)[0]
    return float(lengths[lengths >= STABLE_FRAMES].sum() / total)


def key_clarity(clip: Clip) -> float:
    """Correlation of the clip's mean chroma with the best fitting of the 24 keys."""
    return key_clarity_of(chroma_of(clip.pitch))


def onset_rate(clip: Clip) -> float:
    """Onsets a second."""
    return onset_rate_of(clip.log_mel)


def beat_strength(clip: Clip) -> float:
    """Highest autocorrelation of the onset strength at lags of 0.25 to 1.5 s: 1 is clockwork, 0 has no pulse."""
    return beat_strength_of(clip.log_mel)


def polyphony(clip: Clip) -> float:
    """Mean number of notes at a time."""
    return polyphony_of(clip.pitch)


def self_similarity(clip: Clip, seconds: float) -> float:
    """Mean cosine of the chroma (over 0.25 s) at moments so many seconds apart; 1 for what repeats exactly.

    The losses have another, gated by loudness (`foundation.music_statistics.self_similarity`).
    Not a number for clips with less than one second left after the lag.
    """
    if clip.seconds < seconds + 1.0:
        return float("nan")
    alike = clip.alike
    return float(np.diagonal(alike, round(seconds / MOMENT_SECONDS)).mean())


def repetition(clip: Clip, seconds: float) -> float:
    """`self_similarity` above that of any two moments of the clip: 0 where nothing comes again at this distance.

    Not a number for clips with less than one second left after the lag.
    """
    return self_similarity(clip, seconds) - any_two_of(clip.alike)
