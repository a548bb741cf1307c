"""What a rule looks at: windows of a run, and what it makes of one."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

Severity = Literal["note", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "critical")
JUDGES = ("", "ear_", "professor_")
"""What stands before the name of a judge's signal; nothing where there is one judge only (a plain image GAN)."""
CONFUSION = math.log(2.0)


class Window(NamedTuple):
    """Some steps of one stage.

    step : int
        Of the whole run, at the window's end.
    stage : str
        Windows of different stages are never compared.
    signals : mapping of str to float
        Means over the window's steps, and what was measured at its end.
    """

    step: int
    stage: str
    signals: Mapping[str, float]


class Reading(NamedTuple):
    """What one rule sees in one window.

    severity : str or None
        None: healthy.
    says : str
        The finding's sentence, if it comes to one.
    """

    signal: str
    value: float
    threshold: float
    severity: Severity | None = None
    says: str = ""


def signal_of(windows: Sequence[Window], name: str) -> float | None:
    value = windows[-1].signals.get(name)
    return value if value is not None and math.isfinite(value) else None


def series_of(windows: Sequence[Window], name: str) -> list[float]:
    """A signal over the windows that have it."""
    values = (window.signals.get(name) for window in windows)
    return [value for value in values if value is not None and math.isfinite(value)]


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])


def judge_name(judge: str) -> str:
    return judge.removesuffix("_") or "discriminator"


def loss_name(windows: Sequence[Window], judge: str) -> str:
    """The normalised loss of a judge; a plain GAN without label smoothing may log `d_loss` instead."""
    return "d_loss" if not judge and "dn" not in windows[-1].signals else f"{judge}dn"
