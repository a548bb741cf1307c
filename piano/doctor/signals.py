"""From the lines of metrics.jsonl to windows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from piano.doctor.readings import Window

WINDOW_STEPS = 100
SHORT_STAGE_WINDOWS, FEWEST_STEPS = 12, 8
"""A log whose windows were not marked is cut into about so many a stage, none of them shorter than this."""
BOOKKEEPING = {"epoch", "step", "total_step", "seconds", "audio_seconds"}
GRADIENT_RATIOS = {
    "ear_gradient_ratio": ("ear_gradient_adversarial", "ear_gradient_reconstruction"),
    "professor_gradient_ratio": ("professor_gradient_adversarial", "professor_gradient_energy_score"),
}
"""The adversary's pull at what is generated, over that of the loss beside it."""


def ends_window(stage_step: int, *, steps_per_epoch: int, most: int = WINDOW_STEPS) -> bool:
    """Whether a window ends after so many steps of a stage: epochs are cut into equal windows of at most `most`."""
    pieces = math.ceil(steps_per_epoch / most)
    within = (stage_step - 1) % steps_per_epoch + 1
    return within * pieces // steps_per_epoch != (within - 1) * pieces // steps_per_epoch


def summarise(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every number of step lines, gradient ratios, and how many steps were not finite."""
    values: dict[str, list[float]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in BOOKKEEPING and is_number(value) and math.isfinite(value):
                values.setdefault(name, []).append(float(value))
    signals = {name: math.fsum(series) / len(series) for name, series in values.items()}
    for name, (above, below) in GRADIENT_RATIOS.items():
        if above in signals and signals.get(below, 0.0) > 0.0:
            signals[name] = signals[above] / signals[below]
    signals["not_finite"] = float(sum(is_spoilt(line) for line in lines))
    return signals


def is_number(value: Any) -> bool:
    """Whether a field of a line can be averaged."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_spoilt(line: Mapping[str, Any]) -> bool:
    """Whether a step gave something that is no number, skipped or not."""
    return "skipped" in line or any(is_number(value) and not math.isfinite(value) for value in line.values())


def windows_of(history: Iterable[Mapping[str, Any]]) -> list[Window]:
    """The windows of a whole log, as its doctor saw them; cut evenly where no doctor was there."""
    windows: list[Window] = []
    stage_lines: list[Mapping[str, Any]] = []
    is_marked = False

    def close(signals: Mapping[str, Any], *, stage: str, step: int) -> None:
        measured = {name: float(value) for name, value in signals.items()
                    if name not in BOOKKEEPING and is_number(value)}  # fmt: skip
        windows.append(Window(step, stage, (summarise(stage_lines) if stage_lines else {}) | measured))
        stage_lines.clear()

    def cut() -> None:
        nonlocal is_marked
        if stage_lines and not is_marked:
            steps = min(WINDOW_STEPS, max(FEWEST_STEPS, len(stage_lines) // SHORT_STAGE_WINDOWS))
            for begin in range(0, len(stage_lines) - FEWEST_STEPS + 1, steps):
                part = stage_lines[begin : begin + steps]
                windows.append(Window(part[-1]["total_step"] + 1, part[-1].get("stage", ""), summarise(part)))
        if stage_lines and any(is_spoilt(line) for line in stage_lines[-FEWEST_STEPS:]):
            # A run that died has no mark behind its last steps.
            last = stage_lines[-1]
            windows.append(
                Window(last["total_step"] + 1, last.get("stage", ""), summarise(stage_lines[-FEWEST_STEPS:]))
            )
        stage_lines.clear()
        is_marked = False

    stage = None
    for entry in history:
        if entry.get("stage", "") != stage:
            cut()
            stage = entry.get("stage", "")
        if entry.get("event") == "signals":
            is_marked = is_marked or bool(stage_lines)
            close(entry, stage=stage or "", step=entry["total_step"])
        elif "event" not in entry and "total_step" in entry:
            stage_lines.append(entry)
    cut()
    return windows
