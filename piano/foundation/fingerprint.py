"""Is it the same recording? Short fingerprints that survive another bit rate and another start.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): 32 bits a frame, each the
sign of how the difference of two neighbouring frequency bands changes over time. Here with longer steps (64 ms), since
whole songs are compared and not phone recordings.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from piano.foundation.shared_words import SharedWords

FINGERPRINT_VERSION = 2
"""Groups found by another version are looked for again; version 1 knew only the first 20 minutes of a file."""

_RATE = 4000
_WINDOW = 1024
_HOP = 256
_BANDS = 33
_LOWEST_HZ, _HIGHEST_HZ = 110.0, 1750.0
_SMOOTHING = 4  # frames averaged in energy: makes the bits insensitive to a start between two frames
_LAG = 4  # frames between the two moments compared
_PIECE_SECONDS = 5  # worked on at a time: small pieces stay in the processor's cache
_SILENCE_POWER = 1e-9
_FLOOR = 1e-3  # of a frame's loudest band: what lies below is the codec's noise, and would give chance bits
_CHANGE = 0.05  # a smaller change (in nepers of power) does not count
_MAX_SHIFTS = 3  # shifts tried for one pair of songs
_MAX_FAILURES = 200  # pairs tried in vain for one song: a music that shares words with hundreds is not worth more

_BLOCK = 32  # frames (2 s) judged at a time
_MIN_CORRELATION = 0.5  # of the bits in a block; copies reach 0.6 to 0.95, unrelated music 0.1, the same drums 0.35
_MIN_BLOCKS = 4
_MIN_SHARE = 0.3  # of the shorter song
_LONG_RUN, _LONG_RUN_SHARE = 30, 0.85  # or 51 s out of one minute, however long both are

_SHORT = 288  # frames; what is shorter than 18 s is judged as a whole
_SHORTEST = 10  # frames, of a sound of 1.3 s
_SHORT_SHARE = 0.6
_SHORT_CORRELATION = ((10, 32, 96, 288), (0.9, 0.75, 0.65, 0.55))  # needed by the frames in common

_MIN_ANCHOR = 0.55  # correlation of the best block, from which another speed is tried
_REACH = 1440  # frames (90 s) looked at to both sides of it
_SPEEDS = np.arange(0.94, 1.0601, 0.0025)
_FINE_SPEEDS = np.arange(-0.002, 0.0021, 0.0005)


def _step(sample_rate: int) -> int:
    """Samples that are averaged to one."""
    return max(1, round(sample_rate / _RATE))


class _FilterBank(NamedTuple):
    """Bands of a spectrum whose real and imaginary parts alternate."""

    window: np.ndarray
    """[shape=(1024,)] Hann, and the factor that makes the power of a band its energy per sample"""
    first: int
    """Bin in which the lowest band begins."""
    last: int
    """Bin behind the highest band."""
    filled: np.ndarray
    """Which of the 33 bands hold a bin: at low sample rates the highest lie beyond the spectrum."""
    starts: np.ndarray
    """Where each of these begins, in numbers from bin `first` on, of which each bin has two."""


@lru_cache(maxsize=8)
def _filter_bank(sample_rate: int) -> _FilterBank:
    rate = sample_rate / _step(sample_rate)
    edges = np.round(np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1) / rate * _WINDOW).astype(int)
    edges = np.minimum(edges, _WINDOW // 2 + 1)
    filled = np.flatnonzero(np.diff(edges))
    # A periodic Hann window of its own, in double precision: the bits of kept fingerprints were made with it.
    window = np.hanning(_WINDOW + 1)[:-1] / np.sqrt(_WINDOW)
    return _FilterBank(window, int(edges[0]), int(edges[-1]), filled, 2 * (edges[filled] - edges[0]))


class Fingerprinter:
    """Takes a song piece by piece and gives its fingerprint."""

    def __init__(self, sample_rate: int) -> None:
        self._filter_bank = _filter_bank(sample_rate)
        self._step = _step(sample_rate)
        self._piece = _PIECE_SECONDS * sample_rate
        self._raw = np.zeros(0, dtype=np.float32)
        self._slow = np.zeros(0)
        self._energy = np.zeros((0, _BANDS))  # of the last frames: words reach back
        self._words: list[np.ndarray] = []

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece, of shape (channels, samples)."""
        for start in range(0, waveform.shape[1], self._piece):
            piece = waveform[:, start : start + self._piece]
            raw = np.concatenate([self._raw, piece[0] if len(piece) == 1 else 0.5 * (piece[0] + piece[1])])
            whole = len(raw) // self._step * self._step
            self._raw = raw[whole:]
            # The mean of neighbours is a poor low-pass but the same for every copy of a recording.
            weights = np.full(self._step, 1 / self._step, dtype=np.float32)
            self._slow = np.concatenate([self._slow, raw[:whole].reshape(-1, self._step) @ weights])
            self._take_frames()

    def _take_frames(self) -> None:
        count = (len(self._slow) - _WINDOW) // _HOP + 1
        if count <= 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._slow, _WINDOW)[: count * _HOP : _HOP]
        bank = self._filter_bank
        spectrum = np.fft.rfft(frames * bank.window, axis=1)  # numpy is five times as fast in double precision
        parts = np.ascontiguousarray(spectrum[:, bank.first : bank.last]).view(np.float64)
        np.square(parts, out=parts)
        power = np.zeros((count, _BANDS))
        power[:, bank.filled] = np.add.reduceat(parts, bank.starts, axis=1)
        energy = np.concatenate([self._energy, power])
        self._words.append(words_of_energy(energy))
        self._energy = energy[-(_SMOOTHING + _LAG - 1) :]
        self._slow = self._slow[count * _HOP :]

    def finish(self) -> np.ndarray:
        """The fingerprint.

        Returns
        -------
        np.ndarray [shape=(frames,)]
            uint32, about 16 a second; 0 where there is silence.
        """
        return np.concatenate(self._words) if self._words else np.zeros(0, dtype=np.uint32)


def fingerprint_length(samples: int, sample_rate: int) -> int:
    """Words in the fingerprint of so many samples."""
    frames = (samples // _step(sample_rate) - _WINDOW) // _HOP + 1
    return max(0, frames - (_SMOOTHING + _LAG - 1))


def words_of_energy(energy: np.ndarray) -> np.ndarray:
    """The fingerprint of the energy in the bands.

    Parameters
    ----------
    energy : np.ndarray [shape=(frames, 33)]

    Returns
    -------
    np.ndarray [shape=(frames - 7,)]
        uint32; a word reaches over eight frames.
    """
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


def find_same_recordings(fingerprints: Sequence[np.ndarray], *, scratch: Path | None = None) -> list[int]:
    """Which fingerprints belong to one recording.

    Time and room grow with the number of words, not with the number of pairs: every word is compared with a few
    others that are equal, and of many copies each is joined to the group once. Of many words most lie in files.

    Parameters
    ----------
    fingerprints : sequence of np.ndarray
        As made by `Fingerprinter`, all at one sample rate. Each is asked for once, and again where it is compared.
    scratch : Path, optional
        A folder for temporary files; without one, the system's.

    Returns
    -------
    list of int
        For every fingerprint the index of the first one of its recording; its own index where it stands alone.
    """
    leader = list(range(len(fingerprints)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    tried: Counter[tuple[int, int]] = Counter()
    with SharedWords(fingerprints, scratch=scratch) as shared:
        patience = [_MAX_FAILURES * (1 + length // _BLOCK // 90) for length in shared.lengths.tolist()]
        for first, second, shift in shared.shifts():
            roots = sorted((find(first), find(second)))
            if roots[0] == roots[1] or tried[first, second] >= _MAX_SHIFTS:
                continue
            if min(patience[first], patience[second]) <= 0:
                continue
            tried[first, second] += 1
            if is_same_recording(fingerprints[first], fingerprints[second], shift):
                leader[roots[1]] = roots[0]
            else:
                patience[first] -= 1
                patience[second] -= 1
    return [find(index) for index in range(len(fingerprints))]


def is_same_recording(first: np.ndarray, second: np.ndarray, shift: int) -> bool:
    """Whether enough of the two agrees when frame i of the first lies about on frame i + `shift` of the second."""
    shorter = int(min(np.count_nonzero(first), np.count_nonzero(second)))  # silence is nothing to share
    start, stop = max(0, -shift), min(len(first), len(second) - shift)
    if stop - start < _SHORTEST:
        return False
    a, b = first[start:stop], second[start + shift : stop + shift]
    if shorter < _SHORT:
        is_sound = (a != 0) & (b != 0)
        a, b = a[is_sound], b[is_sound]
        if len(a) < max(_SHORTEST, _SHORT_SHARE * shorter):
            return False
        needed = float(np.interp(len(a), *_SHORT_CORRELATION))
        return float(_correlation(a[np.newaxis], b[np.newaxis])[0]) > needed
    if len(a) < _BLOCK:
        return False
    agreement = _correlation(_in_blocks(a), _in_blocks(b))
    if _is_enough(agreement > _MIN_CORRELATION, shorter):
        return True
    best = int(agreement.argmax())
    if agreement[best] < _MIN_ANCHOR:
        return False
    return _agrees_at_another_speed(first, second, start + best * _BLOCK + _BLOCK // 2, shift, shorter)


def _agrees_at_another_speed(first: np.ndarray, second: np.ndarray, anchor: int, shift: int, shorter: int) -> bool:
    """Whether the two agree around frame `anchor` of the first if one of them runs a little faster."""
    start, stop = max(0, anchor - _REACH), min(len(first), anchor + _REACH)
    times = start + np.arange((stop - start) // _BLOCK * _BLOCK)
    speeds = _SPEEDS
    for _ in range(2):  # roughly, then finely
        places = np.rint((times - anchor) * speeds[:, np.newaxis]).astype(np.int64) + anchor + shift
        is_inside = (places >= 0) & (places < len(second))
        b = np.where(is_inside, second[np.clip(places, 0, len(second) - 1)], 0)
        a = np.broadcast_to(first[times], b.shape)
        agreeing = (_correlation(a.reshape(-1, _BLOCK), b.reshape(-1, _BLOCK)) > _MIN_CORRELATION).reshape(
            len(speeds), -1
        )
        best = int(agreeing.sum(axis=1).argmax())
        speeds = speeds[best] + _FINE_SPEEDS
    return _is_enough(agreeing[best], shorter)


def _is_enough(agreeing: np.ndarray, shorter: int) -> bool:
    """Whether so many blocks agree: of the shorter fingerprint, or one after the other."""
    if int(agreeing.sum()) >= max(_MIN_BLOCKS, _MIN_SHARE * shorter / _BLOCK):
        return True
    total = np.cumsum(np.concatenate([[0], agreeing]))
    return len(total) > _LONG_RUN and bool(
        (total[_LONG_RUN:] - total[:-_LONG_RUN]).max() >= _LONG_RUN_SHARE * _LONG_RUN
    )


def _in_blocks(words: np.ndarray) -> np.ndarray:
    count = len(words) // _BLOCK
    return words[: count * _BLOCK].reshape(count, _BLOCK)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of the bits in every row of two arrays of words; 0 where a row does not vary."""
    total = 32 * a.shape[1]
    ones_a, ones_b, both = (np.bitwise_count(x).sum(axis=1, dtype=np.float64) for x in (a, b, a & b))
    scale = ones_a * (total - ones_a) * ones_b * (total - ones_b)
    return np.where(scale > 0, (total * both - ones_a * ones_b) / np.sqrt(np.maximum(scale, 1.0)), 0.0)
