"""Training curves: metrics.jsonl to stages, phases and the smoothed lines that charts are drawn from."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOT_CURVES = {
    "stage",
    "event",
    "epoch",
    "step",
    "total_step",
    "stage_step",
    "seconds",
    "audio_seconds",
    "learning_rate",
}
RATE_PREFIX, VALIDATION_PREFIX, TRAINING_PREFIX = "learning rate, ", "validation, ", "training/"
PHASES = {
    "generator alone": lambda entry: bool(entry.get(f"{TRAINING_PREFIX}pretrain_phase")),
    "adversary rising": lambda entry: float(entry.get(f"{TRAINING_PREFIX}adv_ramp", 1.0)) < 1.0,
}
"""Stretches inside a stage, told by what its steps logged."""
LONGER_EVENT = "longer"
"""A line of the log at which a run was given more time: stages that were over may learn again."""
MOST_POINTS = 240
LEFT_OUT = 0.3
"""Share of a run that must be empty before a chart begins later."""

PLAIN_WORDS = {
    "reconstruction": "how far the autoencoder's copy is from the original; should fall and settle",
    "kl": "how much the latents say, in nats a frame; should settle at its target",
    "beta": "the price put on what the latents say; moves until kl meets its target",
    "flow": "error in guessing clean latents from noisy ones; should fall, never to zero",
    "ear_real": "the ear's verdict on real music; above 0 is right",
    "ear_fake": "the ear's verdict on made music; below 0 is right",
    "professor_real": "the professor's verdict on real music; should lie above its verdict on made music",
    "professor_fake": "the professor's verdict on made music",
    "training/pretrain_phase": "1 while the generator learns alone, without its judges",
    "training/adv_ramp": "share of its weight that the adversary has",
    "ear_loss": "the ear's mistakes; 0.69 means it cannot tell real from made, near 0 that it always can",
    "ear_d_real": "the ear's probability that real music is real; one half when it cannot tell",
    "ear_d_fake": "the ear's probability that made music is real; one half when it cannot tell",
    "professor_loss": "the professor's mistakes; 0.69 means it cannot tell real from made, near 0 that it always can",
    "professor_d_real": "the professor's probability that real music is real",
    "professor_d_fake": "the professor's probability that made music is real",
    "adversarial": "how well the generator is seen through; it and the judges pull against each other",
    "ear_adversarial": "how well the decoder is seen through by the ear",
    "ear_feature_matching": "difference inside the ear between real and made sound",
    "ear_reconstruction": "the copy's distance from the original while the ear listens; should not rise much",
    "energy_score": "distance of made latents from real ones, with a reward for variety",
}


class Curve(NamedTuple):
    """One number over one stretch of a stage."""

    name: str
    minutes: NDArray[np.float64]
    """Training time of each point [shape=(steps,)]."""
    values: NDArray[np.float64]
    """[shape=(steps,)]"""


class StageStretch(NamedTuple):
    """A stretch of the run; a stage that learned again later has one for each time."""

    name: str
    start: float
    """In minutes."""
    end: float
    steps: int
    number: int = 0
    """Its place among the stages, from 1; 0 for a phase."""


class FindingMark(NamedTuple):
    """A finding, by its number in the list of findings."""

    number: int
    minute: float


class ReferenceLine(NamedTuple):
    """A height to mark in a chart."""

    name: str
    height: float


class CurveChart(NamedTuple):
    """Curves that share their axes."""

    title: str
    words: str
    curves: Sequence[Curve]
    """Curves of one name are one line, broken where its stage or the sitting ended."""
    level: ReferenceLine | None = None
    band: tuple[float, float] | None = None
    """Healthy from, to."""
    is_log: bool = False


class Timeline(NamedTuple):
    """What all charts of a run share."""

    stages: Sequence[StageStretch]
    marks: Sequence[FindingMark]
    minutes: float
    """Where the run ends."""
    phases: Sequence[StageStretch] = ()
    """Stretches inside stages in which learning was not yet in full swing."""
    start: float = 0.0
    """The minute at which a chart begins."""

    def share(self, minute: float) -> float:
        """Place of a minute as a share of the width, 0 at the left."""
        return (minute - self.start) / max(self.minutes - self.start, 1e-9)

    def since(self, minute: float) -> "Timeline":
        """The same run from the beginning of the stage that a minute lies in, if that leaves out a good part of it."""
        start = max((stage.start for stage in self.stages if stage.start <= minute + 1e-9), default=0.0)
        if start < LEFT_OUT * self.minutes or start >= self.minutes:
            return self
        return Timeline(
            [stage for stage in self.stages if stage.end > start],
            [mark for mark in self.marks if mark.minute >= start],
            self.minutes,
            [phase for phase in self.phases if phase.end >= start],
            start,
        )


class Stretch(NamedTuple):
    """Lines of a log that follow each other without another stage, or the begin of a longer sitting, between them."""

    stage: str
    steps: list[dict[str, Any]]
    measured: list[dict[str, Any]]
    """Steps and validations, in order."""


def stretches(history: Iterable[dict[str, Any]]) -> list[Stretch]:
    """The log's steps and validations in stretches, in order: a stage that was opened again has several."""
    found: list[Stretch] = []
    is_new = True
    for entry in history:
        event, stage = entry.get("event"), str(entry.get("stage"))
        is_new = is_new or event == LONGER_EVENT
        if "stage" not in entry or event not in (None, "validation"):
            continue
        last = next((stretch for stretch in reversed(found) if stretch.stage == stage), None)
        if last is None or (event is None and (is_new or found[-1] is not last)):
            last, is_new = Stretch(stage, [], []), False
            found.append(last)
        last.measured.append(entry)
        if event is None:
            last.steps.append(entry)
    return found


def stage_curves(history: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Gather every finite number that steps logged, by stage.

    Learning rates are called `learning rate, NAME`, what a validation measured `validation, NAME`.

    Parameters
    ----------
    history : sequence of dict
        Lines of metrics.jsonl; lines with an `event` are no steps, and of them only validations have curves.

    Returns
    -------
    dict from stage to its curves, both in the order in which they first appear; a number of a stage that learned
    several times has as many curves, in the order of time
    """
    found: dict[str, list[Curve]] = {}
    for stretch in stretches(history):
        numbers: dict[str, list[tuple[float, float]]] = {}
        for entry in stretch.measured:
            for name, value in named_numbers(entry).items():
                numbers.setdefault(name, []).append((minutes_of(entry), value))
        found.setdefault(stretch.stage, []).extend(
            Curve(name, *np.array(points, dtype=np.float64).T) for name, points in numbers.items()
        )
    return found


def named_numbers(entry: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a line, by the names of their curves."""
    prefix = VALIDATION_PREFIX if "event" in entry else ""
    rates = entry.get("learning_rate")
    found = {f"{RATE_PREFIX}{name}": rate for name, rate in rates.items()} if isinstance(rates, dict) else {}
    found |= {
        f"{prefix}{name.removeprefix(TRAINING_PREFIX)}": value
        for name, value in entry.items()
        if name not in NOT_CURVES
        and not (name.startswith(TRAINING_PREFIX) and name.removeprefix(TRAINING_PREFIX) in entry)
    }
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def minutes_of(entry: dict[str, Any]) -> float:
    """Training time of a line of metrics.jsonl."""
    seconds = entry.get("seconds", 0.0)
    return float(seconds) / 60 if isinstance(seconds, int | float) else 0.0


def find_stages(history: Sequence[dict[str, Any]]) -> list[StageStretch]:
    """What the run learned, stretch by stretch; each lasts until the next begins, what follows its steps included."""
    learned = [stretch for stretch in stretches(history) if stretch.steps]
    starts = [min(map(minutes_of, stretch.steps)) for stretch in learned]
    starts.append(max(map(minutes_of, history), default=0.0))
    starts[0] = 0.0 if learned else starts[0]
    return [
        StageStretch(stretch.stage, start, end, len(stretch.steps), number)
        for number, (stretch, start, end) in enumerate(zip(learned, starts, starts[1:], strict=False), start=1)
    ]


def find_phases(history: Sequence[dict[str, Any]]) -> list[StageStretch]:
    """Stretches of steps inside a stage in which the generator learned alone, or the adversary's weight still rose."""
    found = []
    for stretch in stretches(history):
        for name, is_on in PHASES.items():
            minutes = [minutes_of(entry) for entry in stretch.steps if is_on(entry)]
            if minutes:
                found.append(StageStretch(f"{stretch.stage}: {name}", min(minutes), max(minutes), len(minutes)))
    return found


def running_median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Median over `width` neighbours, fewer at the ends [shape=(steps,)]: a lone spike does not bend it."""
    half = width // 2
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.nanmedian(windows, axis=1)


def smooth(curve: Curve) -> Curve:
    """The curve as it is drawn: medians over a twentieth of the stage, at most 240 points."""
    width = max(1, len(curve.values) // 20)
    kept = np.unique(np.linspace(0, len(curve.values) - 1, MOST_POINTS).round().astype(int))
    return Curve(curve.name, curve.minutes[kept], running_median(curve.values, width)[kept])
