"""Charts of the report: lines over the time of a run as inline SVG, round values on both axes, stages and findings."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from piano.report.markup import short
from piano.watching.curves import RATE_PREFIX, Chart, Curve, Stage, Timeline, smooth

WIDTH, HEIGHT = 1000, 300
MARGIN = 0.06
"""Of a chart's height, left free above and below the curves."""
LETTER_SHARE = 0.019
"""Share of a chart's width that a letter of a stage's name takes, on a wide screen."""
END = ' class="end"'
"""Of a number below a chart that would stand out of it at the right."""
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


def find_axis(chart: Chart, drawn: Sequence[Curve]) -> Axis:
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


def chart_html(chart: Chart, timeline: Timeline) -> str:
    """One chart with its words, its legend and the run's stages and findings.

    Parameters
    ----------
    chart : Chart
        With at least one curve. What was measured only late in a run is drawn from its stage on.
    timeline : Timeline

    Returns
    -------
    str
        HTML; colours come from the page. All words are outside the picture, so that they stay readable at any width.
    """
    drawn = sorted((smooth(curve) for curve in chart.curves), key=lambda curve: float(curve.minutes[0]))
    timeline = timeline.since(min(float(curve.minutes[0]) for curve in drawn))
    axis = find_axis(chart, drawn)
    names = list(dict.fromkeys(curve.name for curve in chart.curves))
    paths = "".join(
        f'<path class="line line-{names.index(curve.name) % 4}{dot_class(curve)}" '
        f'd="{draw_path(curve, axis, timeline)}"/>'
        for curve in drawn
    )
    return (
        f'<figure class="chart"><figcaption><b>{escape(chart.title)}</b> '
        f'<span class="quiet">{escape(chart.words)}</span>'
        f"{legend_html(chart, drawn, names)}</figcaption>"
        f'<div class="names quiet" aria-hidden="true">{names_html(timeline)}</div>'
        f'<div class="plot" role="img" aria-label="{escape(describe(chart, drawn, names, timeline))}">'
        f"{bands_html(timeline)}{band_html(chart, axis)}{ticks_html(axis)}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{paths}</svg>'
        f"{level_html(chart, axis)}{marks_html(timeline)}</div>"
        f'<div class="axis quiet" aria-hidden="true">{minutes_html(timeline)}</div></figure>'
    )


def ticks_html(axis: Axis) -> str:
    """Round values beside the chart, each with a fine line across it."""
    return "".join(
        f'<i class="rule" style="bottom:{100 * axis.share(value):.1f}%"></i>'
        f'<span class="tick" style="bottom:{100 * axis.share(value):.1f}%">{round_text(value)}</span>'
        for value in axis.ticks()
    )


def minutes_html(timeline: Timeline) -> str:
    """Round minutes below the chart, the last with its unit."""
    in_hours = timeline.minutes >= 180
    unit, scale = ("h", 60.0) if in_hours else ("min", 1.0)
    values = round_steps(timeline.start / scale, timeline.minutes / scale, 5)
    parts = []
    for value in values:
        share, last = timeline.share(value * scale), f" {unit}" if value == values[-1] else ""
        kind = END if share > 0.9 else ""
        parts.append(f'<span{kind} style="left:{100 * share:.1f}%">{round_text(value)}{last}</span>')
    return "".join(parts)


def round_text(value: float) -> str:
    """A round value in as few digits as it needs."""
    text = f"{value:.0e}" if value and abs(value) < 1e-4 else f"{value:g}"
    return text.replace("e-0", "e-").replace("-", "\u2212")


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
        rows.append(f'<li><i class="stripe"></i>healthy <span>{chart.band[0]:g} to {chart.band[1]:g}</span></li>')
    return f'<ul class="legend">{"".join(rows)}</ul>'


def names_html(timeline: Timeline) -> str:
    """Names of the stages above the chart; where there is no room for a name, its number in the table of stages."""
    parts = []
    for stage in timeline.stages:
        start, end = max(timeline.share(stage.start), 0.0), timeline.share(stage.end)
        has_room = end - start > LETTER_SHARE * (len(stage.name) + 2)
        text = escape(stage.name) if has_room else str(stage.number or "")
        parts.append(f'<span style="left:{100 * start:.2f}%;width:{100 * (end - start):.2f}%">{text}</span>')
    return "".join(parts)


def bands_html(timeline: Timeline) -> str:
    """The stages as stripes behind the lines; phases as bars at their foot."""

    def place(stage: Stage) -> tuple[float, float]:
        start, end = max(timeline.share(stage.start), 0.0), timeline.share(stage.end)
        return 100 * start, 100 * (end - start)

    parts = []
    for stage in timeline.stages:
        start, width = place(stage)
        parts.append(f'<i class="band" style="left:{start:.2f}%;width:{width:.2f}%"></i>')
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
        f'<i class="finding" style="left:{100 * timeline.share(mark.minute):.2f}%"><b>{mark.number}</b></i>'
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
