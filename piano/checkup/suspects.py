"""Which of a run's own settings may have brought a finding about: those unlike the preset's, by how much."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from piano.doctor.checks import RULES
from piano.doctor.rules import Finding
from piano.run_settings import Changes


class Suspect(NamedTuple):
    """One setting that is unlike the preset's."""

    setting: str
    here: Any
    usual: Any
    preset: str

    def sentence(self) -> str:
        """`learning_rate_disc is 0.05 here; preset tiny has 0.0004 (125 times as much)`."""
        usual = f"preset {self.preset} has {_shown(self.usual)}"
        return f"{self.setting} is {_shown(self.here)} here; {usual}{self.factor()}"

    def factor(self) -> str:
        """How many times the preset's value, in words; nothing where that says nothing."""
        if not _is_positive(self.here) or not _is_positive(self.usual):
            return ""
        ratio = self.here / self.usual
        return f" ({ratio:.3g} times as much)" if ratio > 1.0 else f" (1/{1.0 / ratio:.3g} of it)"


def suspects_of(finding: Finding, found: Changes | None) -> list[Suspect]:
    """Changed settings that the finding's rule names, of the whole run or of the finding's stage; farthest off first.

    Of settings as the preset has them nothing is said: the cause lies elsewhere, or the preset does not fit the music.
    """
    if found is None:
        return []
    names = next((rule.settings for rule in RULES if rule.name == finding.name), ())
    suspects = [
        Suspect(setting, here, usual, found.preset)
        for setting, (here, usual) in found.values.items()
        if _concerns(setting, names, finding.stage)
    ]
    return sorted(suspects, key=_distance, reverse=True)


def _concerns(setting: str, names: Sequence[str], stage: str) -> bool:
    parts = setting.split(".")
    if parts[0] == "stages" and parts[1] != stage:
        return False
    return any(name in parts for name in names)


def _distance(suspect: Suspect) -> float:
    """How far from usual, as a ratio of at least one; what is no number comes first."""
    if not _is_positive(suspect.here) or not _is_positive(suspect.usual):
        return float("inf")
    return max(suspect.here / suspect.usual, suspect.usual / suspect.here)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _shown(value: Any) -> str:
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
