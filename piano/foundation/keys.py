"""Keys: a home note and its scale, how they are written, and how often each pitch class occurs in them."""

import re
from typing import NamedTuple

import numpy as np

KEY_PROFILES = np.array(
    [
        [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
        [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
    ]
)
"""How often the pitch classes occur in major and in minor (Albrecht & Shanahan, Music Perception 31, 2013)."""
NOTES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
KEY_PATTERN = r"^[A-G][#b]? (major|minor)$"
"""Of `Key.name`."""
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
MODES = {"": False, "major": False, "maj": False, "m": True, "minor": True, "min": True}
_SPELLED = re.compile(r"(?i)(?<=^[a-g])[ _-]*(flat|sharp)")
_WRITTEN = re.compile(r"([A-Ga-g])([#♯b♭]?)[ _-]*([A-Za-z]*)")


class Key(NamedTuple):
    """A home note and its scale."""

    tonic: int
    """Semitones above C."""
    is_minor: bool

    @classmethod
    def read(cls, text: str) -> "Key":
        """From `D minor`, `Dm`, `Bb`, `B flat`, `F# major`; a small letter alone is minor, too. Raises ValueError."""
        plain = _SPELLED.sub(lambda sign: "b" if sign[1].lower() == "flat" else "#", str(text).strip())
        found = _WRITTEN.fullmatch(plain)
        mode = None if found is None else found[3] if found[3] in ("M", "m") else found[3].lower()
        if found is None or (mode != "M" and mode not in MODES):
            raise ValueError(f"a key is written as 'D minor', 'Dm', 'Bb' or 'F# major', got {text!r}")
        tonic = (LETTERS[found[1].upper()] + ACCIDENTALS[found[2]]) % 12
        is_minor = mode != "M" and (MODES[mode or ""] or (not mode and found[1].islower()))
        return cls(tonic, is_minor)

    @property
    def name(self) -> str:
        """Such as `D minor`."""
        return f"{NOTES[self.tonic]} {'minor' if self.is_minor else 'major'}"

    @property
    def short(self) -> str:
        """Such as `Dm`, for names of files: without `#`, which shells and addresses take for something else."""
        return NOTES[self.tonic].replace("#", "s") + ("m" if self.is_minor else "")

    @property
    def profile(self) -> np.ndarray:
        """Shares of the pitch classes from C on [shape=(12,)]."""
        return np.roll(KEY_PROFILES[int(self.is_minor)], self.tonic)

    def relation(self, other: "Key") -> str:
        """How another key lies to it: exact, relative, fifth (the same mode, next to it on the circle) or other."""
        if self == other:
            return "exact"
        apart = (other.tonic - self.tonic) % 12
        if self.is_minor != other.is_minor:
            return "relative" if apart == (3 if self.is_minor else 9) else "other"
        return "fifth" if apart in (5, 7) else "other"


KEYS = [Key(tonic, is_minor) for is_minor in (False, True) for tonic in range(12)]
"""All: the major ones from C to B, then the minor ones."""


def nearest_key(classes: np.ndarray) -> tuple[Key, float]:
    """The key whose pitch classes correlate best with some (12,), and how well they do."""
    table = np.array(
        [[np.corrcoef(classes, np.roll(profile, tonic))[0, 1] for tonic in range(12)] for profile in KEY_PROFILES]
    )
    mode, tonic = np.unravel_index(int(table.argmax()), table.shape)
    return Key(int(tonic), bool(mode)), float(table.max())
