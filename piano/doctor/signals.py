"""From the lines of metrics.jsonl to windows."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from piano.doctor.windows import Window

WINDOW_STEPS = 100
SHORT_STAGE_WINDOWS, FEWEST_STEPS = 12, 8
"""A log whose windows were not marked is cut into about so many a stage, none of them shorter than this."""
MOST_LINES = (SHORT_STAGE_WINDOWS + 1) * WINDOW_STEPS
"""Steps of a stage that are held at a time."""
BOOKKEEPING = {"epoch", "step", "total_step", "seconds", "audio_seconds"}
WORDS = {"stage", "event", "name", "skipped", "reason", "sentence", "advice", "remedy"}
NO_NUMBERS = {"nan", "inf", "infinity"}
MOST_STEPS, LARGEST = 10**12, 10**300
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
    """Whether a step gave something that is no number, skipped or not; also where it was written as a word."""
    return "skipped" in line or any(_is_no_number(name, value) for name, value in line.items())


def _is_no_number(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return name not in WORDS and value.strip().lower().lstrip("+-") in NO_NUMBERS
    return is_number(value) and not math.isfinite(value)


def usable(entries: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The lines of a log that can be read as ours: junk is left out, a stage is a name, a step a whole number."""
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        line = {
            name: math.inf if isinstance(value, int) and abs(value) > LARGEST else value
            for name, value in entry.items()
        }
        if not isinstance(line.get("stage", ""), str) or not isinstance(line.get("event", ""), str):
            continue
        for name in ("total_step", "epoch"):
            value = line.get(name)
            if value is not None and not (is_number(value) and 0 <= value < MOST_STEPS):
                break
            if value is not None:
                line[name] = int(value)
        else:
            if line.get("event") == "signals" and "total_step" not in line:
                continue
            yield line


def is_step(line: Mapping[str, Any]) -> bool:
    """Whether a line tells of a step, not of an event."""
    return "event" not in line and "total_step" in line


class Digest(NamedTuple):
    """What is kept of a log, however long: its windows, its events, and where stages and epochs begin and end."""

    windows: list[Window]
    kept: list[dict[str, Any]]
    """Every event but `signals`; of the steps the first and the last of each epoch of a stage, without their numbers;
    the last of all is whole."""
    steps: int
    """Learned, those of a run that this one goes on from included."""


def digest(entries: Iterable[Any]) -> Digest:
    """Read a log once, line by line: memory grows with its windows, not with its steps."""
    kept: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None
    count = highest = 0

    def short(line: dict[str, Any]) -> dict[str, Any]:
        return {name: line[name] for name in ("stage", "epoch", "total_step") if name in line}

    def noted() -> Iterator[dict[str, Any]]:
        nonlocal last, count, highest
        for line in usable(entries):
            if is_step(line):
                count, highest = count + 1, max(highest, line["total_step"] + 1)
                is_new = last is None or any(last.get(name) != line.get(name) for name in ("stage", "epoch"))
                if is_new:
                    kept.extend([short(last), short(line)] if last else [short(line)])
                last = line
            elif "event" in line and line["event"] != "signals":
                kept.append(line)
            yield line

    windows = windows_of(noted())
    if last is not None:
        kept.append(last)
    return Digest(windows, kept, max(count, highest))


def windows_of(history: Iterable[Mapping[str, Any]]) -> list[Window]:
    """The windows of a whole log, as its doctor saw them; cut evenly where no doctor was there."""
    windows: list[Window] = []
    stage_lines: list[Mapping[str, Any]] = []
    is_marked = is_long = False

    def close(signals: Mapping[str, Any], *, stage: str, step: int) -> None:
        measured = {
            name: float(value) for name, value in signals.items() if name not in BOOKKEEPING and is_number(value)
        }
        windows.append(Window(step, stage, (summarise(stage_lines) if stage_lines else {}) | measured))
        stage_lines.clear()

    def thin() -> None:
        """A long stage without marks is cut while it is read, into the windows that it would get at its end."""
        part = stage_lines[:WINDOW_STEPS]
        windows.append(Window(part[-1]["total_step"] + 1, part[-1].get("stage", ""), summarise(part)))
        del stage_lines[:WINDOW_STEPS]

    def cut() -> None:
        nonlocal is_marked, is_long
        if stage_lines and not is_marked:
            fitting = max(FEWEST_STEPS, len(stage_lines) // SHORT_STAGE_WINDOWS)
            steps = WINDOW_STEPS if is_long else min(WINDOW_STEPS, fitting)
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
        is_marked = is_long = False

    stage = None
    for entry in history:
        if entry.get("stage", "") != stage:
            cut()
            stage = entry.get("stage", "")
        if entry.get("event") == "signals":
            is_marked = is_marked or bool(stage_lines)
            close(entry, stage=stage or "", step=entry["total_step"])
        elif is_step(entry):
            stage_lines.append(entry)
            if is_marked and len(stage_lines) > MOST_LINES:
                del stage_lines[:-WINDOW_STEPS]
            elif len(stage_lines) > MOST_LINES:
                is_long = True
                thin()
    cut()
    return windows
