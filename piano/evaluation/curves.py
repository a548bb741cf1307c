"""Training curves: metrics.jsonl to charts over the whole run as inline SVG, stages and findings marked on them."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.report_html import short

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
MOST_POINTS = 240
WIDTH, HEIGHT = 1000, 300
MARGIN = 0.06
"""Of a chart's height, left free above and below the curves."""
NAMED_BAND = 0.13
"""Share of the width from which on a stage has room for its name."""

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
    """One number over one stage."""

    name: str
    minutes: NDArray[np.float64]
    """Training time of each point [shape=(steps,)]."""
    values: NDArray[np.float64]
    """[shape=(steps,)]"""


class Stage(NamedTuple):
    """A stretch of the run."""

    name: str
    start: float
    """In minutes."""
    end: float
    steps: int


class Mark(NamedTuple):
    """A finding, by its number in the list of findings."""

    number: int
    minute: float


class Level(NamedTuple):
    """A height to mark in a chart."""

    name: str
    height: float


class Chart(NamedTuple):
    """Curves that share their axes."""

    title: str
    words: str
    curves: Sequence[Curve]
    """Curves of one name are one line, broken between stages."""
    level: Level | None = None
    band: tuple[float, float] | None = None
    """Healthy from, to."""
    is_log: bool = False


class Timeline(NamedTuple):
    """What all charts of a run share."""

    stages: Sequence[Stage]
    marks: Sequence[Mark]
    minutes: float
    """Where the run ends."""
    phases: Sequence[Stage] = ()
    """Stretches inside stages in which learning was not yet in full swing."""


def stage_curves(history: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Gather every finite number that steps logged, by stage.

    Learning rates are called `learning rate, NAME`, what a validation measured `validation, NAME`.

    Parameters
    ----------
    history : sequence of dict
        Lines of metrics.jsonl; lines with an `event` are no steps, and of them only validations have curves.

    Returns
    -------
    dict from stage to its curves, both in the order in which they first appear
    """
    gathered: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in history:
        if entry.get("event", "validation") != "validation" or "stage" not in entry:
            continue
        numbers = gathered.setdefault(str(entry["stage"]), {})
        for name, value in named_numbers(entry).items():
            numbers.setdefault(name, []).append((minutes_of(entry), value))
    return {
        stage: [Curve(name, *np.array(points, dtype=np.float64).T) for name, points in numbers.items()]
        for stage, numbers in gathered.items()
    }


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


def find_stages(history: Sequence[dict[str, Any]]) -> list[Stage]:
    """The stages of a run in order; a stage lasts until the next begins, what follows its steps (a gate) included."""
    found: dict[str, list[float]] = {}
    for entry in history:
        if "event" not in entry and "stage" in entry:
            found.setdefault(str(entry["stage"]), []).append(minutes_of(entry))
    starts = [min(minutes) for minutes in found.values()] + [max(map(minutes_of, history), default=0.0)]
    if found:
        starts[0] = 0.0
    return [
        Stage(name, start, end, len(minutes))
        for (name, minutes), start, end in zip(found.items(), starts, starts[1:], strict=False)
    ]


def find_phases(history: Sequence[dict[str, Any]]) -> list[Stage]:
    """Stretches of steps inside a stage in which the generator learned alone, or the adversary's weight still rose."""
    found: dict[tuple[str, str], list[float]] = {}
    for entry in history:
        for name, is_on in PHASES.items():
            if "event" not in entry and "stage" in entry and is_on(entry):
                found.setdefault((str(entry["stage"]), name), []).append(minutes_of(entry))
    return [
        Stage(f"{stage}: {name}", min(minutes), max(minutes), len(minutes))
        for (stage, name), minutes in found.items()
    ]


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


class Axis(NamedTuple):
    """The vertical axis of a chart."""

    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        """Height of a value as a share of the chart, 0 at the bottom."""
        low, high, value = (math.log10(max(v, 1e-12)) for v in (self.low, self.high, value)) if self.is_log else (
            self.low, self.high, value)  # fmt: skip
        return MARGIN + (1 - 2 * MARGIN) * (value - low) / max(high - low, 1e-12)


def find_axis(chart: Chart, drawn: Sequence[Curve]) -> Axis:
    """From the lowest to the highest of the drawn curves, and to a level they come near."""
    values = np.concatenate([curve.values for curve in drawn])
    if chart.is_log:
        values = values[values > 0] if (values > 0).any() else np.ones(1)
    low, high = float(values.min()), float(values.max())
    if chart.level and low - (high - low) <= chart.level.height <= high + (high - low):
        low, high = min(low, chart.level.height), max(high, chart.level.height)
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    return Axis(low, high, chart.is_log)


def draw_path(curve: Curve, axis: Axis, minutes: float) -> str:
    """An SVG path of a curve; a single point becomes a dot."""
    shown = curve.values > 0 if axis.is_log else np.ones(len(curve.values), dtype=bool)
    points = [
        f"{WIDTH * minute / max(minutes, 1e-9):.1f} {HEIGHT * (1 - axis.share(float(value))):.1f}"
        for minute, value in zip(curve.minutes[shown], curve.values[shown], strict=True)
    ]
    if not points:
        return ""
    return "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")


def chart_html(chart: Chart, timeline: Timeline) -> str:
    """One chart with its words, its legend and the run's stages and findings.

    Parameters
    ----------
    chart : Chart
        With at least one curve.
    timeline : Timeline

    Returns
    -------
    str
        HTML; colours come from the page. All words are outside the picture, so that they stay readable at any width.
    """
    drawn = [smooth(curve) for curve in chart.curves]
    axis = find_axis(chart, drawn)
    names = list(dict.fromkeys(curve.name for curve in drawn))
    paths = "".join(
        f'<path class="line line-{names.index(curve.name) % 4}{dot_class(curve)}" '
        f'd="{draw_path(curve, axis, timeline.minutes)}"/>'
        for curve in drawn
    )
    return (
        f'<figure class="chart"><figcaption><b>{escape(chart.title)}</b> '
        f'<span class="quiet">{escape(chart.words)}</span>'
        f"{legend_html(chart, drawn, names)}</figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(describe(chart, drawn, names, timeline))}">'
        f"{bands_html(timeline)}{band_html(chart, axis)}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{paths}</svg>'
        f'<span class="tick" style="bottom:{100 * axis.share(axis.high):.1f}%">{short(axis.high)}</span>'
        f'<span class="tick" style="bottom:{100 * axis.share(axis.low):.1f}%">{short(axis.low)}</span>'
        f"{level_html(chart, axis)}{marks_html(timeline)}</div>"
        f'<div class="span quiet" aria-hidden="true"><span>0 min</span><span>{timeline.minutes:.1f} min</span></div>'
        "</figure>"
    )


def dot_class(curve: Curve) -> str:
    """A curve of one point is drawn as a dot."""
    return " dot" if len(curve.values) == 1 else ""


def legend_html(chart: Chart, drawn: Sequence[Curve], names: Sequence[str]) -> str:
    """Which line is which, and where it ends; the level and the stripe to compare with."""
    rows = []
    for place, name in enumerate(names):
        last = next(curve.values[-1] for curve in reversed(drawn) if curve.name == name)
        shown = name.removeprefix(RATE_PREFIX).replace("_", " ")
        rows.append(
            f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line line-{place % 4}" d="M0 4h24"/></svg>'
            f"{escape(shown)} <span>{short(last)}</span></li>"
        )
    if chart.level:
        rows.append(
            f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line limit" d="M0 4h24"/></svg>'
            f"{escape(chart.level.name)} <span>{short(chart.level.height)}</span></li>"
        )
    if chart.band:
        rows.append(
            f'<li><i class="stripe"></i>healthy <span>{chart.band[0]:g} to {chart.band[1]:g}</span></li>'
        )
    return f'<ul class="legend">{"".join(rows)}</ul>'


def bands_html(timeline: Timeline) -> str:
    """The stages as stripes behind the lines, named where there is room; phases as bars at their foot."""

    def place(stage: Stage) -> tuple[float, float]:
        scale = 100 / max(timeline.minutes, 1e-9)
        return scale * stage.start, scale * (stage.end - stage.start)

    parts = []
    for stage in timeline.stages:
        start, width = place(stage)
        name = f"<span>{escape(stage.name)}</span>" if width > 100 * NAMED_BAND else ""
        parts.append(f'<i class="band" style="left:{start:.2f}%;width:{width:.2f}%">{name}</i>')
    for phase in timeline.phases:
        start, width = place(phase)
        parts.append(f'<i class="phase" style="left:{start:.2f}%;width:{max(width, 0.4):.2f}%"></i>')
    return "".join(parts)


def band_html(chart: Chart, axis: Axis) -> str:
    """Where the curves should lie."""
    if chart.band is None:
        return ""
    low, high = (min(max(axis.share(value), 0.0), 1.0) for value in chart.band)
    return f'<i class="healthy" style="bottom:{100 * low:.1f}%;height:{100 * (high - low):.1f}%"></i>'


def level_html(chart: Chart, axis: Axis) -> str:
    """The level to compare with, if it lies in the picture."""
    if chart.level is None or not 0 <= axis.share(chart.level.height) <= 1:
        return ""
    return f'<i class="level" style="bottom:{100 * axis.share(chart.level.height):.1f}%"></i>'


def marks_html(timeline: Timeline) -> str:
    """The findings, each as a line with its number."""
    return "".join(
        f'<i class="finding" style="left:{100 * mark.minute / max(timeline.minutes, 1e-9):.2f}%">'
        f"<b>{mark.number}</b></i>"
        for mark in timeline.marks
    )


def describe(chart: Chart, drawn: Sequence[Curve], names: Sequence[str], timeline: Timeline) -> str:
    """The chart in words, for those who cannot see it."""
    parts = []
    for name in names:
        own = [curve.values for curve in drawn if curve.name == name]
        values = np.concatenate(own)
        parts.append(
            f"{name} from {values[0]:.3g} to {values[-1]:.3g}, within {values.min():.3g} and {values.max():.3g}"
        )
    level = f"; {chart.level.name} is {chart.level.height:.3g}" if chart.level else ""
    return f"{chart.title} over {timeline.minutes:.1f} minutes: {'; '.join(parts)}{level}"
