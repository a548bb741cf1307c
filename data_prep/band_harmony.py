"""Keys, chords and progressions for the band: degrees to chords, chords to voices that move little.

A degree is a Roman numeral of the major scale on the tonic, whatever the mode: `vi7`, `bVII`, `V7`, `iiø`, `I5`.
"""

import re
from typing import Any, NamedTuple

import numpy as np

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "blues": (0, 3, 5, 6, 7, 10),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
}
"""Semitones above the tonic."""

QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "9": (0, 4, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "m9": (0, 3, 7, 10, 14),
    "add9": (0, 4, 7, 14),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "7sus4": (0, 5, 7, 10),
    "7b9": (0, 4, 7, 10, 13),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
    "aug": (0, 4, 8),
}
"""Semitones above the root, by how the name of the chord ends."""

_ROMAN = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_DEGREE = re.compile(r"([b#]?)([iv]+|[IV]+)(.*)")

MARKOV: dict[str, dict[str, dict[str, int]]] = {
    "major": {
        "I": {"IV": 3, "V": 3, "vi": 3, "ii": 2, "iii": 1},
        "ii": {"V": 5, "IV": 1, "vi": 1},
        "iii": {"vi": 3, "IV": 3},
        "IV": {"I": 3, "V": 4, "ii": 1, "iv": 1},
        "iv": {"I": 3, "V": 1},
        "V": {"I": 4, "vi": 3, "IV": 2},
        "vi": {"IV": 4, "ii": 3, "V": 2, "iii": 1},
    },
    "minor": {
        "i": {"bVI": 3, "iv": 3, "bVII": 3, "v": 1, "bIII": 2, "V7": 1},
        "bIII": {"bVII": 3, "iv": 2, "bVI": 3},
        "iv": {"i": 3, "bVII": 2, "V7": 3, "v": 1},
        "v": {"i": 2, "bVI": 3, "iv": 2},
        "V7": {"i": 4, "bVI": 2},
        "bVI": {"bVII": 4, "iv": 1, "bIII": 3, "V7": 1},
        "bVII": {"i": 4, "bIII": 2, "bVI": 2},
    },
    "dorian": {
        "i7": {"IV7": 4, "bVII": 2, "ii7": 1, "bIII": 1},
        "IV7": {"i7": 4, "bVII": 1, "ii7": 1},
        "ii7": {"i7": 2, "IV7": 2},
        "bIII": {"IV7": 3, "bVII": 2},
        "bVII": {"i7": 3, "IV7": 2},
    },
    "mixolydian": {
        "I": {"bVII": 4, "IV": 3, "v": 1},
        "bVII": {"IV": 4, "I": 3},
        "IV": {"I": 4, "bVII": 1},
        "v": {"IV": 2, "bVII": 2},
    },
}
"""Of each mode: which chord follows which, with weights. The first chord of a mode is its tonic."""


class Chord(NamedTuple):
    """A root and a quality."""

    root: int
    """Pitch class, 0 is C."""
    quality: str
    """A key of QUALITIES."""

    @property
    def name(self) -> str:
        """`Bbm7`."""
        return NAMES[self.root] + self.quality

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes from the root up."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])

    def moved(self, semitones: int) -> "Chord":
        """The same chord, transposed."""
        return Chord((self.root + semitones) % 12, self.quality)


class Span(NamedTuple):
    """A chord and when it sounds."""

    start: float
    """Beats."""
    beats: float
    chord: Chord


def read_degree(text: str, tonic: int) -> Chord:
    """The chord of a degree in a key; raises ValueError for what is no degree."""
    match = _DEGREE.fullmatch(text)
    if match is None or match[2].lower() not in _ROMAN:
        raise ValueError(f"{text!r} is no degree")
    sign, roman, ending = match.groups()
    root = (tonic + _ROMAN[roman.lower()] + {"b": -1, "#": 1, "": 0}[sign]) % 12
    quality = {"ø": "m7b5", "°": "dim", "°7": "dim7", "+": "aug"}.get(ending)
    if quality is None:
        quality = f"m{ending}" if roman.islower() and ending != "5" else ending
    if quality not in QUALITIES:
        raise ValueError(f"{text!r} has no quality that is known")
    return Chord(root, quality)


def draw(weights: dict, random: np.random.Generator) -> Any:
    """One key of a table of weights."""
    keys = list(weights)
    chances = np.array([weights[key] for key in keys], dtype=float)
    return keys[int(random.choice(len(keys), p=chances / chances.sum()))]


def walk_chords(mode: str, bars: int, random: np.random.Generator) -> list[str]:
    """A progression of one chord a bar from the Markov chain of a mode; it begins on the tonic and leads back to it."""
    table = MARKOV[mode]
    tonic = next(iter(table))
    for _ in range(20):
        degrees = [tonic]
        while len(degrees) < bars:
            degrees.append(draw(table[degrees[-1]], random))
        if tonic in table[degrees[-1]] and len(set(degrees)) > 1:
            break
    return degrees


def spread_over_bars(degrees: list[str], bars: int, beats: int, tonic: int) -> list[Span]:
    """Chords of a progression, said again until the bars are full; `ii7,V7` halves a bar.

    Parameters
    ----------
    degrees : list of str
        One entry a bar.
    bars, beats : int
        Length in bars, and beats of a bar.
    tonic : int
        Pitch class.
    """
    spans = []
    for bar in range(bars):
        words = degrees[bar % len(degrees)].split(",")
        first = beats - beats // 2
        edges = [0, beats] if len(words) == 1 else [0, first, beats]
        for word, start, end in zip(words, edges, edges[1:], strict=False):
            spans.append(Span(float(bar * beats + start), float(end - start), read_degree(word, tonic)))
    return spans


def chord_at(spans: list[Span], beat: float) -> Span:
    """What sounds at a time; before the first chord the first, after the last the last."""
    sounding = spans[0]
    for span in spans:
        if span.start <= beat + 1e-6:
            sounding = span
    return sounding


def scale_on(chord: Chord, scale: tuple[int, ...], tonic: int) -> set[int]:
    """Pitch classes for a melody over a chord: the scale, bent where it would rub against a tone of the chord."""
    classes = {(tonic + step) % 12 for step in scale}
    tones = set(chord.classes)
    foreign = tones - classes
    rubbing = {pitch for pitch in classes - tones if any((pitch - tone) % 12 in (1, 11) for tone in foreign)}
    return (classes - rubbing) | tones


def keys_within(classes: set[int], low: int, high: int) -> list[int]:
    """Every key of some pitch classes between two keys, both included."""
    return [key for key in range(low, high + 1) if key % 12 in classes]


def nearest(keys: list[int], target: float) -> int:
    """The key of a list that is closest; of two, the lower."""
    return min(keys, key=lambda key: (abs(key - target), key))


def voice(
    chord: Chord, before: list[int], *, low: int, high: int, voices: int, rootless: bool = False, is_open: bool = False
) -> list[int]:
    """Lay a chord into a register so that its voices move little from where they were.

    Parameters
    ----------
    chord : Chord
    before : list of int
        Keys of the chord before; empty at the beginning.
    low, high : int
        The register; it spans at least an octave and a half.
    voices : int
        How many keys; a chord of fewer tones doubles some.
    rootless : bool
        Leave the root to the bass where the chord has at least four tones.
    is_open : bool
        The second voice from the top an octave lower.

    Returns
    -------
    list of int
        Rising keys.
    """
    steps = list(QUALITIES[chord.quality])
    if rootless and len(steps) >= 4:
        steps = steps[1:]
    if len(steps) > voices:  # the fifth says least
        steps = [step for step in steps if step != 7][:voices] if voices < len(steps) else steps
    classes = [(chord.root + step) % 12 for step in steps]
    best: list[int] = []
    least = np.inf
    centre = (low + high) / 2
    for bottom in range(low, high - 6):
        if bottom % 12 not in classes:
            continue
        keys = [key for key in range(bottom, bottom + 40) if key % 12 in classes][:voices]
        if is_open and len(keys) >= 3:
            keys = sorted([*keys[:-2], keys[-2] - 12, keys[-1]])
        if keys[0] < low or keys[-1] > high:
            continue
        moved = 0.0
        if before:
            moved = sum(min(abs(key - old) for old in before) for key in keys) + abs(keys[-1] - before[-1])
        cost = moved + 0.25 * abs(float(np.mean(keys)) - centre)
        if cost < least:
            best, least = keys, cost
    return best or [nearest(keys_within(set(classes), low, high), centre)]
