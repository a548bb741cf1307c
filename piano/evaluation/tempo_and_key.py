"""Which tempo, bar and key a clip has, from its sound alone: what a listener would tap, count and call the home note.

All are estimates. `benchmarks/obedience.py` says how often they are right on music whose tempo, bar and key are known.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.descriptors import Clip
from piano.evaluation.spectra import (
    MEL_HOP_SECONDS,
    PITCH_HOP_SECONDS,
    onset_strength,
    pitch_magnitudes,
    pitch_peaks,
    unit_level,
)
from piano.foundation.keys import Key, nearest_key

TEMPI = (40.0, 240.0)
"""Beats a minute that are looked for."""
TEMPO_STEP = 1.002
"""Ratio of two tempi that are tried."""
USUAL_TEMPO, TEMPO_OCTAVES = 110.0, 0.75
"""Of two octaves the one nearer to the first is taken; a tempo so many octaves away from it counts e^-0.5."""
HARMONICS = np.array([1.0, 0.7, 0.4, 0.5])
"""How much onsets at the beat, at twice, three and four times its rate speak for it."""
FIRST_PITCH_CLASS = 9
"""Chroma begins at A."""
FINER = 3
"""Bins of a semitone: music tuned a sixth of a tone high or low is found, and counted as it is meant."""


class Tempo(NamedTuple):
    """A beat."""

    beats_per_minute: float
    strength: float
    """How much of the movement of the onsets it explains, 0 to 1; of white noise 0.03 to 0.05."""


class HeardBar(NamedTuple):
    """How the beats of a clip are counted."""

    beats: int
    """3, where music comes again after three beats or six; else 2, also for bars of four."""
    clarity: float
    """How much more alike moments are that lie such bars apart than those that lie the others apart."""


class HeardKey(NamedTuple):
    """A key, as it was found in a sound."""

    key: Key
    clarity: float
    """Correlation of the pitch classes with those of the key."""


def tempo_of(clip: Clip) -> Tempo:
    """The tempo of a clip of some beats: the rate whose multiples explain most of where notes begin."""
    strength = onset_strength(clip.log_mel).astype(np.float64)
    curve = (strength - strength.mean()) * np.hanning(len(strength) + 2)[1:-1]
    energy = float(np.square(curve).sum())
    steps = int(np.log(TEMPI[1] / TEMPI[0]) / np.log(TEMPO_STEP))
    tempi = TEMPI[0] * TEMPO_STEP ** np.arange(steps + 1)
    if energy <= 0.0:
        return Tempo(USUAL_TEMPO, 0.0)
    seconds = np.arange(len(curve)) * MEL_HOP_SECONDS
    found = np.zeros(len(tempi))
    for harmonic, weight in enumerate(HARMONICS, start=1):
        found += weight * np.abs(np.exp(-2j * np.pi * np.outer(harmonic * tempi / 60.0, seconds)) @ curve)
    usual = np.exp(-0.5 * np.square(np.log2(tempi / USUAL_TEMPO) / TEMPO_OCTAVES))
    best = int((found * usual).argmax())
    return Tempo(float(tempi[best]), float(found[best] / HARMONICS.sum() / np.sqrt(energy * len(curve))))


def bar_of(clip: Clip, beats_per_minute: float) -> HeardBar:
    """Whether the beats of a clip of some bars are counted in threes or in twos.

    By how alike its pitches are to those some beats later: after three and six beats, and after four and eight, each
    against one beat sooner or later.
    """
    pitch = np.sqrt(pitch_magnitudes(unit_level(clip.mono), clip.sample_rate, 12, PITCH_HOP_SECONDS, 0.5))
    moments = (pitch - pitch.mean(axis=0)).astype(np.float64)
    moments /= np.maximum(np.linalg.norm(moments, axis=1, keepdims=True), 1e-9)
    frames = len(moments)
    spectrum = np.square(np.abs(np.fft.rfft(moments, 2 * frames, axis=0))).sum(axis=1)
    alike = np.fft.irfft(spectrum, 2 * frames)[:frames] / np.arange(frames, 0, -1)
    lags = np.arange(2, 10) * 60.0 / beats_per_minute / PITCH_HOP_SECONDS
    after = dict(zip(range(2, 10), np.interp(lags, np.arange(frames), alike), strict=True))

    def stands_out(beats: int) -> float:
        return float(after[beats] - 0.5 * (after[beats - 1] + after[beats + 1]))

    lead = stands_out(3) + stands_out(6) - stands_out(4) - stands_out(8)
    return HeardBar(3 if lead > 0.0 else 2, abs(lead))


def key_of(clip: Clip) -> HeardKey:
    """The key of a clip, whatever it is tuned to."""
    classes = pitch_classes(clip)
    return HeardKey(Key(0, False), 0.0) if np.ptp(classes) < 1e-6 else HeardKey(*nearest_key(classes))


def pitch_classes(clip: Clip) -> NDArray[np.float64]:
    """Shares of the pitch classes from C on [shape=(12,)], counted from the tuning in which most peaks lie."""
    pitch = pitch_magnitudes(unit_level(clip.mono), clip.sample_rate, 12 * FINER, 0.064, 0.5)
    loud = np.sqrt(pitch * pitch_peaks(pitch), dtype=np.float64)
    loud = (loud / np.maximum(loud.sum(axis=1, keepdims=True), 1e-9)).sum(axis=0)
    offsets = [loud[(np.arange(len(loud)) - offset) % FINER == 0].sum() for offset in range(FINER)]
    tuned = int(np.argmax(offsets))
    tuned -= FINER if tuned > FINER // 2 else 0  # the nearest semitone of A = 440 Hz
    semitones = np.floor((np.arange(len(loud)) - tuned) / FINER + 0.5).astype(int)
    classes = np.bincount((semitones + FIRST_PITCH_CLASS) % 12, weights=loud, minlength=12)
    return classes / max(float(classes.sum()), 1e-9)


def tempo_relation(asked: float, found: float, *, within: float = 0.04) -> str:
    """How a tempo lies to another: exact, half, twice, or other."""
    for name, ratio in (("exact", 1.0), ("twice", 2.0), ("half", 0.5)):
        if abs(found / (asked * ratio) - 1.0) <= within:
            return name
    return "other"
