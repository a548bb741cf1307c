"""Is it the same recording? Short fingerprints that survive another bit rate and another start.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): 32 bits a frame, each the
sign of how the difference of two neighbouring frequency bands changes over time. Here with longer steps (64 ms), since
whole songs are compared and not phone recordings.
"""

from typing import Any

import numpy as np
import scipy.fft

_RATE = 4000
_WINDOW = 1024
_HOP = 256
_BANDS = 33
_LOWEST_HZ, _HIGHEST_HZ = 110.0, 1750.0
_SMOOTHING = 4  # frames averaged in energy: makes the bits insensitive to a start between two frames
_LAG = 4  # frames between the two moments compared
_SILENCE_POWER = 1e-9
MAX_SECONDS = 1200.0
"""Only the beginning of a very long file is fingerprinted."""

_COMMON = 32  # a word more frequent than this over all songs says nothing
_MIN_VOTES = 5  # frames that must agree exactly at one shift before two songs are compared at all
_BLOCK = 64  # frames (4 s) judged at a time
_MAX_BIT_ERRORS = 0.33  # unrelated music disagrees in half of all bits
_MIN_BLOCKS = 2
_MIN_SHARE = 0.3


class Fingerprinter:
    """Takes a song piece by piece and gives its fingerprint."""

    def __init__(self, sample_rate: int) -> None:
        self._step = max(1, round(sample_rate / _RATE))
        rate = sample_rate / self._step
        self._left = round(MAX_SECONDS * sample_rate)
        self._raw = np.zeros(0, dtype=np.float32)
        self._slow = np.zeros(0, dtype=np.float32)
        self._energies: list[np.ndarray] = []
        self._window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
        edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1) / rate * _WINDOW
        bins = np.arange(_WINDOW // 2 + 1)[:, np.newaxis]
        is_inside = (np.round(edges[:-1]) <= bins) & (bins < np.round(edges[1:]))
        self._bands = is_inside.astype(np.float32) / _WINDOW  # (bins, bands)

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece, of shape (channels, samples)."""
        if self._left <= 0:
            return
        piece = waveform[:, : self._left]
        self._left -= piece.shape[1]
        mono = piece[0] if len(piece) == 1 else 0.5 * (piece[0] + piece[1])
        raw = np.concatenate([self._raw, mono])
        whole = len(raw) // self._step * self._step
        self._raw = raw[whole:]
        # Adding neighbours up is a poor low-pass but the same for every copy of a recording.
        slow = sum(
            (raw[offset : whole : self._step] for offset in range(1, self._step)),
            start=raw[: whole : self._step],
        )
        self._slow = np.concatenate([self._slow, slow / np.float32(self._step)])
        self._take_frames()

    def _take_frames(self) -> None:
        count = (len(self._slow) - _WINDOW) // _HOP + 1
        if count <= 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._slow, _WINDOW)[: count * _HOP : _HOP]
        spectrum: Any = scipy.fft.rfft(frames * self._window, axis=1)  # 13 times as fast as numpy's
        power = spectrum.real**2 + spectrum.imag**2
        self._energies.append(power @ self._bands)
        self._slow = self._slow[count * _HOP :]

    def finish(self) -> np.ndarray:
        """The fingerprint.

        Returns
        -------
        np.ndarray [shape=(frames,)]
            uint32, about 16 a second; 0 where there is silence.
        """
        if not self._energies:
            return np.zeros(0, dtype=np.uint32)
        energy = np.concatenate(self._energies)
        if len(energy) < _SMOOTHING + _LAG:
            return np.zeros(0, dtype=np.uint32)
        total = np.cumsum(np.concatenate([np.zeros((1, _BANDS)), energy]), axis=0)
        smooth = np.maximum(total[_SMOOTHING:] - total[:-_SMOOTHING], 0.0)
        tilt = np.diff(np.log(smooth + _SILENCE_POWER), axis=1)
        bits = (tilt[_LAG:] - tilt[:-_LAG]) > 0
        words = np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u4")[:, 0].astype(np.uint32)
        is_silent = smooth.sum(axis=1) < _SILENCE_POWER * _BANDS
        words[is_silent[_LAG:] | is_silent[:-_LAG]] = 0
        return words


def find_same_recordings(fingerprints: list[np.ndarray]) -> list[int]:
    """Which fingerprints belong to one recording.

    Parameters
    ----------
    fingerprints : list of np.ndarray
        As made by `Fingerprinter`, all at one sample rate.

    Returns
    -------
    list of int
        For every fingerprint the index of the first one of its recording; its own index where it stands alone.
    """
    leader = list(range(len(fingerprints)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for first, second, shift in _candidates(fingerprints):
        roots = sorted((find(first), find(second)))
        if roots[0] != roots[1] and is_same_recording(fingerprints[first], fingerprints[second], shift):
            leader[roots[1]] = roots[0]
    return [find(index) for index in range(len(fingerprints))]


def is_same_recording(first: np.ndarray, second: np.ndarray, shift: int) -> bool:
    """Whether enough of the two agrees when frame i of the first lies on frame i + `shift` of the second."""
    start, stop = max(0, -shift), min(len(first), len(second) - shift)
    if stop - start < _BLOCK:
        return False
    a, b = first[start:stop], second[start + shift : stop + shift]
    wrong = np.where((a == 0) | (b == 0), 16, np.bitwise_count(a ^ b)).astype(np.float32)
    blocks = len(wrong) // _BLOCK
    share_wrong = wrong[: blocks * _BLOCK].reshape(blocks, _BLOCK).mean(axis=1) / 32
    agreeing = int((share_wrong < _MAX_BIT_ERRORS).sum())
    return agreeing >= max(_MIN_BLOCKS, _MIN_SHARE * min(len(first), len(second)) / _BLOCK)


def _candidates(fingerprints: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """(first, second, shift) of songs that share several words at the same shift, the surest first."""
    lengths = [len(words) for words in fingerprints]
    if len(lengths) < 2 or not sum(lengths):
        return []
    words = np.concatenate(fingerprints)
    songs = np.repeat(np.arange(len(lengths)), lengths)
    times = np.concatenate([np.arange(length) for length in lengths])
    order = np.argsort(words, kind="stable")
    order = order[words[order] != 0]
    words, songs, times = words[order], songs[order], times[order]
    _, starts, counts = np.unique(words, return_index=True, return_counts=True)
    span = 2 * max(lengths)  # one number for (first, second, shift): quick to count
    found = [np.zeros(0, dtype=np.int64)]
    for count in np.unique(counts[(counts > 1) & (counts <= _COMMON)]):
        rows = starts[counts == count][:, np.newaxis] + np.arange(count)
        for step in range(1, count):
            left, right = rows[:, :-step].ravel(), rows[:, step:].ravel()
            other = songs[left] != songs[right]
            left, right = left[other], right[other]
            pair = songs[left] * len(lengths) + songs[right]
            found.append(pair * span + times[right] - times[left] + span // 2)
    keys, votes = np.unique(np.concatenate(found), return_counts=True)
    keys, votes = keys[votes >= _MIN_VOTES], votes[votes >= _MIN_VOTES]
    pairs, shifts = np.divmod(keys[np.argsort(-votes, kind="stable")], span)
    return [
        (int(pair) // len(lengths), int(pair) % len(lengths), int(shift) - span // 2)
        for pair, shift in zip(pairs, shifts, strict=True)
    ]
