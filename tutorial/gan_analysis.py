"""Reading the curves: what the losses of a GAN say, by the same doctor that watches over the audio model."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from piano.doctor.rules import Finding, Window, diagnose

CONFUSION = math.log(2.0)
SIGNALS = ("d_loss", "g_loss", "d_real", "d_fake", "diversity")
STEPS_PER_WINDOW = 100


def gan_windows(
    history: Iterable[Mapping[str, Any]], steps_per_window: int = STEPS_PER_WINDOW, *, moved: float | None = None
) -> list[Window]:
    """Boil a run's log down to windows: the mean of every signal over some steps. A short rest at the end is left out.

    Parameters
    ----------
    history : iterable of dict
        Lines of metrics.jsonl (`read_history` of piano/foundation/run_log.py).
    steps_per_window : int
    moved : float, optional
        How far the discriminator's weights have moved over the run, if somebody measured it: 0 betrays a frozen one.
    """
    lines = [line for line in history if "d_loss" in line]
    windows = []
    for begin in range(0, len(lines) - steps_per_window + 1, steps_per_window):
        part = lines[begin : begin + steps_per_window]
        signals = {name: [line[name] for line in part if name in line] for name in SIGNALS}
        means = {name: float(np.mean(values)) for name, values in signals.items() if values}
        extra = {} if moved is None else {"moved": moved}
        windows.append(Window(int(part[-1]["total_step"]), "gan", means | extra))
    return windows


def judge_windows(windows: Sequence[Window], judge: str) -> list[Window]:
    """Windows of an audio run as those of a plain GAN: one judge's signals under the names of SIGNALS.

    Parameters
    ----------
    windows : sequence of Window
        Of the audio model (`windows_of` of piano/doctor/signals.py); those without this judge are left out.
    judge : str
        `ear_` or `professor_`.
    """
    names = {f"{judge}dn": "d_loss", f"{judge}d_real": "d_real", f"{judge}d_fake": "d_fake", "diversity": "diversity"}
    return [
        Window(
            window.step,
            window.stage,
            {short: window.signals[name] for name, short in names.items() if name in window.signals},
        )
        for window in windows
        if f"{judge}dn" in window.signals
    ]


def windows_of_losses(
    d_losses: Sequence[float], g_losses: Sequence[float], steps_per_window: int = STEPS_PER_WINDOW
) -> list[Window]:
    """Windows from the losses alone; losses that are not numbers are counted, not averaged."""
    windows = []
    for begin in range(0, len(d_losses) - steps_per_window + 1, steps_per_window):
        part = slice(begin, begin + steps_per_window)
        bad, signals = 0, {}
        for name, losses in (("d_loss", d_losses), ("g_loss", g_losses)):
            values = np.asarray(losses[part], dtype=np.float64)
            bad += int((~np.isfinite(values)).sum())
            if np.isfinite(values).any():
                signals[name] = float(values[np.isfinite(values)].mean())
        windows.append(Window(begin + steps_per_window, "gan", signals | {"not_finite": float(bad)}))
    return windows


class LossStatistics(NamedTuple):
    """A loss in numbers."""

    mean: float
    std: float
    low: float
    """The mean of the lowest window, not the lowest single step."""
    high: float
    last: float
    """Mean over the last tenth of the run."""
    slope: float
    """Change per 1000 steps over the second half, by least squares."""


def loss_statistics(losses: Sequence[float], steps_per_window: int = STEPS_PER_WINDOW) -> LossStatistics:
    """Mean, spread, range, end and trend of a loss that is logged every step; ValueError without a step."""
    values = np.asarray(losses, dtype=np.float64)
    if not len(values):
        raise ValueError("no step was made: there is nothing to describe")
    width = min(steps_per_window, len(values))
    means = [values[at : at + width].mean() for at in range(0, len(values) - width + 1, width)]
    half = values[len(values) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0] * 1000 if len(half) > 1 else 0.0
    return LossStatistics(
        mean=float(values.mean()),
        std=float(values.std()),
        low=float(min(means)),
        high=float(max(means)),
        last=float(values[-max(1, len(values) // 10) :].mean()),
        slope=float(slope),
    )


def detect_failure_modes(
    d_losses: Sequence[float], g_losses: Sequence[float], steps_per_window: int = STEPS_PER_WINDOW
) -> list[Finding]:
    """What went wrong, judged by the losses alone: D below 0.1 (collapse), D above 0.9, divergence, circles.

    A state counts when it lasts for three windows, divergence at once. A Nash equilibrium cannot be seen in losses
    alone, and a collapsed generator can hide behind good ones: see `nash_equilibrium`, and give `diagnose` the windows
    of `gan_windows`.
    """
    return diagnose(windows_of_losses(d_losses, g_losses, steps_per_window))


class Condition(NamedTuple):
    """One thing that must hold at an equilibrium."""

    name: str
    value: float
    low: float
    high: float
    is_met: bool


class Equilibrium(NamedTuple):
    """Whether a run has come to rest, and why or why not."""

    is_reached: bool
    conditions: list[Condition]
    sentence: str


def nash_equilibrium(windows: Sequence[Window], *, last: int = 5) -> Equilibrium:
    """Hold the end of a run against the equilibrium of the game (arXiv 1406.2661, theorem 1).

    There the generated pictures are distributed like the real ones, so the best discriminator answers 1/2 to both and
    its loss is log 2. A discriminator that has learned nothing does so too: the pictures must be as varied as real ones
    as well, and the loss at rest. The bands are those of the doctor's rule.

    Parameters
    ----------
    windows : sequence of Window
        With d_loss, d_real, d_fake and diversity.
    last : int
        Windows that count.
    """
    end = windows[-last:]

    def mean(name: str) -> float:
        values = [window.signals[name] for window in end if name in window.signals]
        return float(np.mean(values)) if values else math.nan

    losses = [window.signals.get("d_loss", math.nan) for window in end]
    slope = (losses[-1] - losses[0]) / (len(losses) - 1) if len(losses) > 1 else math.nan
    values = {
        "D loss, 0.693 at confusion": (mean("d_loss"), 0.62, 0.76),
        "D(x)": (mean("d_real"), 0.42, 0.58),
        "D(G(z))": (mean("d_fake"), 0.42, 0.58),
        "diversity": (mean("diversity"), 0.7, math.inf),
        "change of D loss per window": (slope, -1e-3, 1e-3),
    }
    conditions = [
        Condition(name, value, low, high, bool(low <= value <= high)) for name, (value, low, high) in values.items()
    ]
    missed = [condition.name for condition in conditions if not condition.is_met]
    if len(end) < last:
        sentence = f"Too short to say: {len(end)} windows, {last} are needed."
    elif missed:
        sentence = f"No equilibrium: {'; '.join(missed)} outside of its band."
    else:
        sentence = "Equilibrium: the discriminator cannot tell, and the pictures are as varied as real ones."
    return Equilibrium(len(end) == last and not missed, conditions, sentence)


def describe_findings(findings: Sequence[Finding]) -> str:
    """The doctor's findings as text, one paragraph each."""
    if not findings:
        return "The doctor found nothing."
    return "\n".join(
        f"{finding.name} ({finding.severity}, from step {finding.step}): {finding.sentence}\n"
        f"    {finding.signal} = {finding.value:.3g}, the bound is {finding.threshold:.3g}"
        for finding in findings
    )


def describe_equilibrium(result: Equilibrium) -> str:
    """The conditions as a table, and the sentence."""
    rows = [
        f"{condition.name:28} {condition.value:8.3f}   {f'{condition.low:g} to {condition.high:g}':<10} "
        f"{'yes' if condition.is_met else 'no'}"
        for condition in result.conditions
    ]
    head = f"{'condition':28} {'here':>8}   {'should be':<10} met"
    return "\n".join([head, *rows, result.sentence])
