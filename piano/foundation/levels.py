"""The level of music: how loud a song is while it sounds, and the gain that brings it to the level of all others."""

from dataclasses import dataclass

import numpy as np

TARGET_DB = -18.0
PEAK_LIMIT_DB = -1.0
SILENCE_DB = -66.0  # absolute: the noise floor of a digital recording lies below
_WINDOW_SECONDS = 0.05
_SILENCE_BELOW_LOUDEST_DB = 60.0
_CLICK_FACTOR = 4.0  # a peak so far above all but a thousandth of the song is a click, not music
_NOTABLE_OFFSET = 1e-2  # of the peak


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
    """Gathers loudness in windows of 50 ms, piece by piece."""

    def __init__(self, sample_rate: int) -> None:
        self._window = max(1, round(_WINDOW_SECONDS * sample_rate))
        self._rows: list[np.ndarray] = []

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece, of shape (channels, samples)."""
        whole = waveform.shape[1] // self._window * self._window
        for part in (waveform[:, :whole], waveform[:, whole:]):
            if part.shape[1]:
                width = min(self._window, part.shape[1])
                windows = part.reshape(len(part), -1, width)
                counts = np.full(windows.shape[:2], width, dtype=np.float64)
                sums = windows.sum(axis=2)
                squares = np.einsum("cwn,cwn->cw", windows, windows)
                self._rows.append(np.stack([counts, sums, squares, windows.max(axis=2), windows.min(axis=2)]))

    def levels(self) -> Levels:
        """Loudness, peak and gain of everything that was added."""
        counts, sums, squares, highest, lowest = np.concatenate(self._rows, axis=2).astype(np.float64)
        offset = sums.sum(axis=1) / counts.sum(axis=1)
        notes = []
        if np.abs(offset).max() > _NOTABLE_OFFSET * max(highest.max(), -lowest.min()):
            notes.append("constant offset removed")
        else:
            offset = np.zeros_like(offset)
        shift = offset[:, np.newaxis]
        energy = np.maximum(squares - 2 * shift * sums + shift**2 * counts, 0.0).mean(axis=0)
        width = counts[0]
        window_db = 10 * np.log10(energy / width + 1e-20)
        peaks = np.maximum(highest - shift, shift - lowest).max(axis=0)
        usual_peak = float(np.quantile(peaks, 0.999, method="lower"))
        peak = float(peaks.max())
        is_click = peaks > (_CLICK_FACTOR * usual_peak if usual_peak else np.inf)
        if is_click.any():
            notes.append("isolated clicks clipped")
            peak = usual_peak
        loudest_db = float(window_db[~is_click].max())
        is_music = ~is_click & (window_db > max(SILENCE_DB, loudest_db - _SILENCE_BELOW_LOUDEST_DB))
        is_silent = not is_music.any()
        loudness = energy[is_music].sum() / width[is_music].sum() if not is_silent else 0.0
        loudness_db, peak_db = 10 * np.log10(loudness + 1e-20), 20 * np.log10(peak + 1e-20)
        return Levels(
            offset=offset,
            loudness_db=float(loudness_db),
            peak_db=float(peak_db),
            gain_db=float(min(TARGET_DB - loudness_db, PEAK_LIMIT_DB - peak_db)),
            silence_share=float(1.0 - width[is_music].sum() / width.sum()),
            is_silent=is_silent,
            notes=tuple(notes),
        )
