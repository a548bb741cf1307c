"""Is it the same recording? Short fingerprints that survive another bit rate and another start.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): 32 bits a frame, each the
sign of how the difference of two neighbouring frequency bands changes over time. Here with longer steps (64 ms), since
whole songs are compared and not phone recordings.
"""

from collections import Counter

import numpy as np

_RATE = 4000
_WINDOW = 1024
_HOP = 256
_BANDS = 33
_LOWEST_HZ, _HIGHEST_HZ = 110.0, 1750.0
_SMOOTHING = 4  # frames averaged in energy: makes the bits insensitive to a start between two frames
_LAG = 4  # frames between the two moments compared
_SILENCE_POWER = 1e-9
_FLOOR = 1e-3  # of a frame's loudest band: what lies below is the codec's noise, and would give chance bits
_CHANGE = 0.05  # a change smaller than this (in nepers of power) is none
MAX_SECONDS = 1200.0
"""Only the beginning of a very long file is fingerprinted."""

_COMMON = 32  # a word more frequent than this over all songs says nothing
_MIN_VOTES = 5  # frames that must agree exactly at one shift before two songs are compared at all
_MAX_SHIFTS = 3  # shifts tried for one pair of songs
_BLOCK = 32  # frames (2 s) judged at a time
_MIN_CORRELATION = 0.4  # of the bits in a block; copies reach 0.5 to 0.95, unrelated music 0.1
_MIN_BLOCKS = 4
_MIN_SHARE = 0.3


class Fingerprinter:
    """Takes a song piece by piece and gives its fingerprint."""

    def __init__(self, sample_rate: int) -> None:
        self._step = max(1, round(sample_rate / _RATE))
        rate = sample_rate / self._step
        self._left = round(MAX_SECONDS * sample_rate)
        self._piece = 10 * sample_rate
        self._raw = np.zeros(0, dtype=np.float32)
        self._slow = np.zeros(0, dtype=np.float32)
        self._energies: list[np.ndarray] = []
        self._window = np.hanning(_WINDOW + 1)[:-1]
        edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1) / rate * _WINDOW
        bins = np.arange(_WINDOW // 2 + 1)[:, np.newaxis]
        is_inside = (np.round(edges[:-1]) <= bins) & (bins < np.round(edges[1:]))
        self._bands = is_inside / _WINDOW  # (bins, bands)

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece, of shape (channels, samples)."""
        if self._left <= 0:
            return
        waveform = waveform[:, : self._left]
        self._left -= waveform.shape[1]
        for start in range(0, waveform.shape[1], self._piece):  # small pieces stay in the processor's cache
            piece = waveform[:, start : start + self._piece]
            raw = np.concatenate([self._raw, piece[0] if len(piece) == 1 else 0.5 * (piece[0] + piece[1])])
            whole = len(raw) // self._step * self._step
            self._raw = raw[whole:]
            # Adding neighbours up is a poor low-pass but the same for every copy of a recording.
            slow = sum((raw[offset : whole : self._step] for offset in range(self._step)), np.float32(0))
            self._slow = np.concatenate([self._slow, slow / np.float32(self._step)])
            self._take_frames()

    def _take_frames(self) -> None:
        count = (len(self._slow) - _WINDOW) // _HOP + 1
        if count <= 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._slow, _WINDOW)[: count * _HOP : _HOP]
        spectrum = np.fft.rfft(
            frames * self._window, axis=1
        )  # in double precision: numpy is twice as fast there
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
        floor = _FLOOR * smooth.max(axis=1, keepdims=True) + _SILENCE_POWER
        tilt = np.diff(np.log(smooth + floor), axis=1)
        bits = (tilt[_LAG:] - tilt[:-_LAG]) > _CHANGE
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

    tried: Counter[tuple[int, int]] = Counter()
    for first, second, shift in _candidates(fingerprints):
        tried[first, second] += 1
        if tried[first, second] > _MAX_SHIFTS:
            continue
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
    count = len(a) // _BLOCK
    a, b = a[: count * _BLOCK].reshape(count, _BLOCK), b[: count * _BLOCK].reshape(count, _BLOCK)
    agreeing = int((_correlation(a, b) > _MIN_CORRELATION).sum())
    return agreeing >= max(_MIN_BLOCKS, _MIN_SHARE * min(len(first), len(second)) / _BLOCK)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of the bits in every row of two arrays of words; 0 where a row does not vary."""
    total = 32 * a.shape[1]
    ones_a, ones_b, both = (np.bitwise_count(x).sum(axis=1, dtype=np.float64) for x in (a, b, a & b))
    scale = ones_a * (total - ones_a) * ones_b * (total - ones_b)
    return np.where(scale > 0, (total * both - ones_a * ones_b) / np.sqrt(np.maximum(scale, 1.0)), 0.0)


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
