"""The level of music: how loud a song is while it sounds, and the gain that brings it to the level of all others."""

from dataclasses import dataclass

import numpy as np

TARGET_DB = -18.0
PEAK_LIMIT_DB = -1.0
SILENCE_DB = -66.0
"""A 50 ms window of a source, before levelling, is silence below this: a digital recording's noise floor lies lower. Of
levelled music the ruler and the doctor call silent what is below -60 dB (`evaluation.spectra.SILENCE_DB`,
`watching.measure.SILENT_DBFS`); the music losses have a ramp (`foundation.music_statistics.silence_share`)."""
_WINDOW_SECONDS = 0.05
_SILENCE_BELOW_LOUDEST_DB = 60.0
_PARTS = 20  # of a window: 2.5 ms each
_CLICK_PARTS = 3  # what is over after so many is a click; an attack, however sharp, rings on
_CLICK_FACTOR = 4.0  # how far a click stands above the sound around it, and above the music's own peak
_CLICK_SECONDS = 5.0  # clicks that come more often than this, on average, are music
_NOTABLE_OFFSET = 1e-2  # of the peak
CLICKS_CLIPPED = "isolated clicks clipped"


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Loudness of a song and how to correct it."""

    offset: np.ndarray
    """[shape=(channels,)] to subtract"""
    loudness_db: float
    peak_db: float
    gain_db: float
    silence_share: float
    is_silent: bool
    notes: tuple[str, ...]


def level_chunk(chunk: np.ndarray, levels: Levels) -> None:
    """Remove the offset, apply the gain and clip to [-1, 1], in place; shape (channels, samples)."""
    if levels.offset.any():
        chunk -= levels.offset[:, np.newaxis].astype(np.float32)
    chunk *= np.float32(10 ** (levels.gain_db / 20))
    np.clip(chunk, -1.0, 1.0, out=chunk)


class LevelMeter:
    """Gathers loudness in windows of 50 ms, piece by piece; where the pieces end makes no difference."""

    def __init__(self, sample_rate: int) -> None:
        self._part = max(1, round(_WINDOW_SECONDS * sample_rate / _PARTS))
        self._window = self._part * _PARTS
        self._sample_rate = sample_rate
        self._rest: np.ndarray | None = None
        self._sums: list[np.ndarray] = []
        self._heights: list[np.ndarray] = []

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece, of shape (channels, samples)."""
        if self._rest is not None:
            wanted = self._window - self._rest.shape[1]
            self._rest = np.concatenate([self._rest, waveform[:, :wanted]], axis=1)
            waveform = waveform[:, wanted:]
            if self._rest.shape[1] < self._window:
                return
            self._measure(self._rest)
            self._rest = None
        whole = waveform.shape[1] // self._window * self._window
        if whole:
            self._measure(waveform[:, :whole])
        if waveform.shape[1] > whole:
            self._rest = waveform[:, whole:].copy()

    def _measure(self, waveform: np.ndarray) -> None:
        """Keep of every window its sum, its energy, its extremes, and what it reaches for more than a few ms."""
        windows = waveform.reshape(len(waveform), -1, self._window)
        starts = np.arange(0, waveform.shape[1], self._part)  # reduceat is twice as fast as max over a short axis
        shape = (*windows.shape[:2], _PARTS)
        highest = np.maximum.reduceat(waveform, starts, axis=1).reshape(shape)
        lowest = np.minimum.reduceat(waveform, starts, axis=1).reshape(shape)
        highest.sort(axis=2)
        lowest.sort(axis=2)
        self._sums.append(np.array([windows.sum(axis=2), np.einsum("cwn,cwn->cw", windows, windows)]))
        self._heights.append(
            np.array([highest[:, :, -1], lowest[:, :, 0], highest[:, :, -1 - _CLICK_PARTS], lowest[:, :, _CLICK_PARTS]])
        )

    def _finish(self) -> float:
        """Measure what is left as a window of its own, filled up with its last sample; returns its share of one."""
        if self._rest is None:
            return 1.0
        samples, rest = self._rest.shape[1], self._rest
        self._rest = None
        self._measure(np.concatenate([rest, np.repeat(rest[:, -1:], self._window - samples, axis=1)], axis=1))
        exact = rest.astype(np.float64)
        self._sums[-1] = np.stack([exact.sum(axis=1), np.square(exact).sum(axis=1)])[:, :, np.newaxis]
        return samples / self._window

    def levels(self) -> Levels:
        """Loudness, peak and gain of everything that was added; nothing may be added afterwards."""
        last_share = self._finish()
        sums, squares = np.concatenate(self._sums, axis=2).astype(np.float64)
        highest, lowest, held_high, held_low = np.concatenate(self._heights, axis=2).astype(np.float64)
        width = np.full(sums.shape[1], float(self._window))
        width[-1] *= last_share
        offset = sums.sum(axis=1) / width.sum()
        notes = []
        if np.abs(offset).max() > _NOTABLE_OFFSET * max(highest.max(), -lowest.min()):
            notes.append("constant offset removed")
        else:
            offset = np.zeros_like(offset)
        shift = offset[:, np.newaxis]
        energy = np.maximum(squares - 2 * shift * sums + shift**2 * width, 0.0).mean(axis=0)
        window_db = 10 * np.log10(energy / width + 1e-20)
        peaks = np.maximum(highest - shift, shift - lowest).max(axis=0)
        held = np.maximum(held_high - shift, shift - held_low).max(axis=0)
        is_click = _find_clicks(peaks, held, seconds=float(width.sum()) / self._sample_rate)
        peak = float(peaks[~is_click].max())
        loudest_db = float(window_db[~is_click].max())
        is_music = ~is_click & (window_db > max(SILENCE_DB, loudest_db - _SILENCE_BELOW_LOUDEST_DB))
        is_silent = not is_music.any()
        loudness = energy[is_music].sum() / width[is_music].sum() if not is_silent else 0.0
        loudness_db, peak_db = 10 * np.log10(loudness + 1e-20), 20 * np.log10(peak + 1e-20)
        gain_db = min(TARGET_DB - loudness_db, PEAK_LIMIT_DB - peak_db)
        over_db = 20 * np.log10(peaks[is_click].max(initial=1e-20)) + gain_db
        if over_db > 0:
            count = np.count_nonzero(np.diff(is_click.astype(np.int8), prepend=0) == 1)
            notes.append(f"{CLICKS_CLIPPED}: {count}, up to {over_db:.1f} dB over full scale")
        return Levels(
            offset=offset,
            loudness_db=float(loudness_db),
            peak_db=float(peak_db),
            gain_db=float(gain_db),
            silence_share=float(1.0 - width[is_music].sum() / width.sum()),
            is_silent=is_silent,
            notes=tuple(notes),
        )


def _find_clicks(peaks: np.ndarray, held: np.ndarray, *, seconds: float) -> np.ndarray:
    """Which windows hold a click: a few milliseconds far above all around and far above the music's own peak.

    Parameters
    ----------
    peaks : np.ndarray [shape=(windows,)]
        Of each window.
    held : np.ndarray [shape=(windows,)]
        What each window reaches for longer than a click.
    seconds : float
        Of all.

    Returns
    -------
    np.ndarray [shape=(windows,)]
        bool; never all of them.
    """
    around = held.copy()
    np.maximum(around[1:], held[:-1], out=around[1:])
    np.maximum(around[:-1], held[1:], out=around[:-1])
    is_short = peaks > _CLICK_FACTOR * around
    usual_peak = float(np.where(is_short, held, peaks).max())
    is_click = is_short & (peaks > _CLICK_FACTOR * usual_peak)
    count = np.count_nonzero(np.diff(is_click.astype(np.int8), prepend=0) == 1)
    is_music = usual_peak < 10 ** (SILENCE_DB / 20) or count > max(1.0, seconds / _CLICK_SECONDS)
    return np.zeros_like(is_click) if is_music else is_click
