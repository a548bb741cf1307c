"""Charts of the report: where lines, round values, stages and findings stand, for `templates/chart.html`."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from piano.watching.curves import RATE_PREFIX, Curve, CurveChart, StageStretch, Timeline, smooth

WIDTH, HEIGHT = 1000, 300
MARGIN = 0.06
"""Of a chart's height, left free above and below the curves."""
LETTER_SHARE = 0.019
"""Share of a chart's width that a letter of a stage's name takes, on a wide screen."""
MOST_TICKS = 5
TICK_GAP = 0.13
"""Least distance of two numbers on the vertical axis, as a share of the height."""


def round_steps(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round values (1, 2 or 5 times a power of ten apart) between two numbers."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * power for step in (1, 2, 5, 10, 20) if span / (step * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


class Axis(NamedTuple):
    """The vertical axis of a chart."""

    low: float
    high: float
    is_log: bool

    def ticks(self) -> list[float]:
        """Round values to write beside the axis, far enough apart to be read."""
        if self.is_log:
            ends = [math.floor(math.log10(max(value, 1e-12))) for value in (self.low, self.high)]
            found = [factor * 10.0**power for power in range(ends[0], ends[1] + 1) for factor in (1, 2, 5)]
            found = sorted((value for value in found if self.low <= value <= self.high), key=is_no_power)
        else:
            found = round_steps(self.low, self.high, MOST_TICKS)
        kept: list[float] = []
        for value in found:
            if all(abs(self.share(value) - self.share(other)) >= TICK_GAP for other in kept):
                kept.append(value)
        return sorted(kept) or [self.low]

    def share(self, value: float) -> float:
        """Height of a value as a share of the chart, 0 at the bottom."""
        low, high, value = (
            (math.log10(max(v, 1e-12)) for v in (self.low, self.high, value))
            if self.is_log
            else (self.low, self.high, value)
        )
        return MARGIN + (1 - 2 * MARGIN) * (value - low) / max(high - low, 1e-12)


def is_no_power(value: float) -> bool:
    """Whether a value is no power of ten: those are written first."""
    return not math.log10(value).is_integer()


def find_axis(chart: CurveChart, drawn: Sequence[Curve]) -> Axis:
    """From the lowest to the highest of the drawn curves, and to a level they come near."""
    values = np.concatenate([curve.values for curve in drawn])
    if chart.is_log:
        values = values[values > 0] if (values > 0).any() else np.ones(1)
    low, high = float(values.min()), float(values.max())
    if chart.level and low - (high - low) <= chart.level.height <= high + (high - low):
        low, high = min(low, chart.level.height), max(high, chart.level.height)
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = (0.5 * low, 2.0 * high) if chart.is_log else flat_axis(high)
    return Axis(low, high, chart.is_log)


def flat_axis(height: float) -> tuple[float, float]:
    """Ends of an axis for a number that never moved: from nothing to twice the number, to one for nothing."""
    return (min(0.0, 2.0 * height), max(0.0, 2.0 * height)) if height else (0.0, 1.0)


def draw_path(curve: Curve, axis: Axis, timeline: Timeline) -> str:
    """An SVG path of a curve; a single point becomes a dot."""
    shown = curve.values > 0 if axis.is_log else np.ones(len(curve.values), dtype=bool)
    points = [
        f"{WIDTH * timeline.share(minute):.1f} {HEIGHT * (1 - axis.share(float(value))):.1f}"
        for minute, value in zip(curve.minutes[shown], curve.values[shown], strict=True)
    ]
    if not points:
        return ""
    return "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")


class ChartSpan(NamedTuple):
    """From where, how far, in % of the chart."""

    start: float
    width: float
    text: str = ""


class Place(NamedTuple):
    """Something written at a place, in % of the chart."""

    place: float
    text: str


class CurvePath(NamedTuple):
    """A curve as an SVG path."""

    kind: str
    """Classes of the page's style."""
    path: str


class LegendRow(NamedTuple):
    """Which line is which, and where it ends."""

    kind: str
    name: str
    last: float


class DrawnChart(NamedTuple):
    """A chart as the page holds it."""

    title: str
    words: str
    description: str
    """The chart in words, for those who cannot see it."""
    size: tuple[int, int]
    legend: list[LegendRow]
    stripe: str
    """From where to where curves are healthy; empty where that is not known."""
    names: list[ChartSpan]
    """The stages, from left to right."""
    phases: list[ChartSpan]
    healthy: ChartSpan | None
    """From below."""
    ticks: list[Place]
    """Round values, from below."""
    lines: list[CurvePath]
    level: float | None
    """From below; None where it lies outside the picture."""
    marks: list[Place]
    """The findings."""
    minutes: list[Place]
    """Round minutes, the last with its unit."""


def draw_chart(chart: CurveChart, timeline: Timeline) -> DrawnChart:
    """One chart with its words, its legend and the run's stages and findings.

    Parameters
    ----------
    chart : Chart
        With at least one curve. What was measured only late in a run is drawn from its stage on.
    timeline : Timeline
    """
    drawn = sorted((smooth(curve) for curve in chart.curves), key=lambda curve: float(curve.minutes[0]))
    timeline = timeline.since(min(float(curve.minutes[0]) for curve in drawn))
    axis = find_axis(chart, drawn)
    names = list(dict.fromkeys(curve.name for curve in chart.curves))
    return DrawnChart(
        chart.title,
        chart.words,
        describe(chart, drawn, names, timeline),
        (WIDTH, HEIGHT),
        legend_of(chart, drawn, names),
        f"{chart.band[0]:g} to {chart.band[1]:g}" if chart.band else "",
        [stage_span(stage, timeline) for stage in timeline.stages],
        [stage_span(phase, timeline) for phase in timeline.phases],
        healthy_span(chart, axis),
        [Place(100 * axis.share(value), round_text(value)) for value in axis.ticks()],
        [
            CurvePath(f"line-{names.index(curve.name) % 4}{dot_class(curve)}", draw_path(curve, axis, timeline))
            for curve in drawn
        ],
        level_place(chart, axis),
        [Place(100 * timeline.share(mark.minute), str(mark.number)) for mark in timeline.marks],
        round_minutes(timeline),
    )


def round_minutes(timeline: Timeline) -> list[Place]:
    """Round minutes below the chart, the last with its unit."""
    unit, scale = ("h", 60.0) if timeline.minutes >= 180 else ("min", 1.0)
    values = round_steps(timeline.start / scale, timeline.minutes / scale, 5)
    places = [Place(100 * timeline.share(value * scale), round_text(value)) for value in values]
    return [*places[:-1], *(Place(place, f"{text} {unit}") for place, text in places[-1:])]


def round_text(value: float) -> str:
    """A round value in as few digits as it needs."""
    text = f"{value:.0e}" if value and abs(value) < 1e-4 else f"{value:g}"
    return text.replace("e-0", "e-").replace("-", "\u2212")


def dot_class(curve: Curve) -> str:
    """A curve of one point is drawn as a dot."""
    return " dot" if len(curve.values) == 1 else ""


def legend_of(chart: CurveChart, drawn: Sequence[Curve], names: Sequence[str]) -> list[LegendRow]:
    """Which line is which, and where it ends; then the level to compare with."""
    rows = []
    for place, name in enumerate(names):
        last = next(curve.values[-1] for curve in reversed(drawn) if curve.name == name)
        rows.append(LegendRow(f"line-{place % 4}", name.removeprefix(RATE_PREFIX).replace("_", " "), float(last)))
    return rows + ([LegendRow("limit", chart.level.name, chart.level.height)] if chart.level else [])


def stage_span(stage: StageStretch, timeline: Timeline) -> ChartSpan:
    """Where a stage lies, with its name; where there is no room for it, with its number in the table of stages."""
    start, end = max(timeline.share(stage.start), 0.0), timeline.share(stage.end)
    has_room = end - start > LETTER_SHARE * (len(stage.name) + 2)
    return ChartSpan(100 * start, 100 * (end - start), stage.name if has_room else str(stage.number or ""))


def healthy_span(chart: CurveChart, axis: Axis) -> ChartSpan | None:
    """Where the curves should lie, from below; None where that is not known."""
    if chart.band is None:
        return None
    low, high = (min(max(axis.share(value), 0.0), 1.0) for value in chart.band)
    return ChartSpan(100 * low, 100 * (high - low))


def level_place(chart: CurveChart, axis: Axis) -> float | None:
    """The level to compare with, from below, if it lies in the picture."""
    if chart.level is None or not 0 <= axis.share(chart.level.height) <= 1:
        return None
    return 100 * axis.share(chart.level.height)


def describe(chart: CurveChart, drawn: Sequence[Curve], names: Sequence[str], timeline: Timeline) -> str:
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
