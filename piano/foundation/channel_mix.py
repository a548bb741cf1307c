"""Many channels made into one or two."""

import numpy as np

_VORBIS_CENTRE_SECOND = frozenset({3, 5, 6, 7, 8})
"""Numbers of channels at which Vorbis and Opus put the centre between left and right (RFC 7845, section 5.1.1.2)."""
_SILENCE = 10 ** (-66.0 / 20)


def in_wave_order(frames: np.ndarray, *, file_format: str) -> np.ndarray:
    """Put left and right first, as WAV, FLAC and ffmpeg have them.

    Parameters
    ----------
    frames : np.ndarray [shape=(samples, channels)]
    file_format : str
        As libsndfile calls it; in "OGG" the order is left, centre, right.
    """
    if file_format != "OGG" or frames.shape[1] not in _VORBIS_CENTRE_SECOND:
        return frames
    return frames[:, [0, 2, 1, *range(3, frames.shape[1])]]


def mix(frames: np.ndarray, channels: int) -> np.ndarray:
    """Mix down, or repeat mono.

    Parameters
    ----------
    frames : np.ndarray [shape=(samples, source channels)]
        Left and right first.
    channels : int
        1: the plain average. 2: the first two channels, with the others at half weight in both.

    Returns
    -------
    np.ndarray [shape=(samples,) for one channel, (samples, 2) for two]
    """
    source = frames.shape[1]
    if channels == 1:
        if source == 2:
            return 0.5 * (frames[:, 0] + frames[:, 1])  # ten times faster than a mean over the short axis
        return frames[:, 0] if source == 1 else frames @ np.full(source, 1 / source, dtype=np.float32)
    if source <= 2:
        return np.repeat(frames, 2, axis=1) if source == 1 else frames
    weights = np.full((source, 2), 0.5, dtype=np.float32)
    weights[:2] = np.eye(2)
    return frames @ (weights / weights.sum(axis=0))


class ChannelWatch:
    """Which channels of a file have sounded so far; costs nothing as soon as all have."""

    def __init__(self) -> None:
        self._heard: np.ndarray | None = None

    def look(self, frames: np.ndarray) -> None:
        """Take the next piece, of shape (samples, channels)."""
        heard = self._heard
        if heard is None or len(heard) != frames.shape[1]:
            self._heard = heard = np.full(frames.shape[1], heard is not None and bool(heard.all()))
        for channel in np.flatnonzero(~heard):
            column = frames[:, channel]
            heard[channel] = len(column) and max(column.max(), -column.min()) > _SILENCE

    def sounding(self) -> tuple[int, int]:
        """(channels that sound, all channels)"""
        return (0, 0) if self._heard is None else (int(self._heard.sum()), len(self._heard))
