"""What was learned about a sound file while it was decoded: its shape, and a phrase for every irregularity."""

from dataclasses import dataclass, field

DAMAGED = "decoded with damage"
CUT_SHORT = "shorter than its header claims"
RATE_CHANGES = "sample rate or channels change inside the file"
WRONG_LENGTH = "longer than its header claims"
JOINED = "several recordings in one file"
CODED = "coded surround sound inside a PCM file"
NO_NUMBERS = "NaN, infinite or far too large numbers"
NOT_FINITE = f"{NO_NUMBERS} replaced by 0"
FAR_BEYOND = "numbers more than 120 dB beyond full scale clipped"
OTHER_TRACKS = "only the first of several audio tracks read"
ONE_SILENT = "one channel silent"
ONE_SOUNDS = "only one channel sounds"

LEAST_SECONDS = 0.01
"""Less than this is an encoder's padding, not missing sound."""
_MOST_SECONDS = 1e6  # a larger claim is wrong and says nothing


@dataclass
class DecodeLog:
    """Filled while a file is decoded."""

    sample_rate: int = 0
    """Of the file itself, at its beginning."""
    channels: int = 0
    """Of the file itself, at its beginning."""
    samples: int = 0
    """Given out so far, at the rate that was asked for."""
    _missing: dict[str, float] = field(default_factory=dict)

    def note(self, phrase: str, *, missing_seconds: float = 0.0) -> None:
        """Add a phrase, unless it is there already; seconds of sound that are missing add up."""
        self._missing[phrase] = self._missing.get(phrase, 0.0) + _plausible(missing_seconds)

    @property
    def missing_seconds(self) -> float:
        """Sound that should be in the file and is not, as far as that can be known."""
        return sum(self._missing.values())

    @property
    def notes(self) -> list[str]:
        """A phrase for every irregularity, once each, with the seconds that are missing where they are known."""
        return [phrase + _seconds_text(seconds) for phrase, seconds in self._missing.items()]


def _plausible(seconds: float) -> float:
    return seconds if 0 < seconds < _MOST_SECONDS else 0.0


def _seconds_text(seconds: float) -> str:
    if seconds < LEAST_SECONDS:
        return ""
    return f": {seconds:.1f} s missing" if seconds >= 1 else f": {seconds:.2f} s missing"
