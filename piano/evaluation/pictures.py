"""Pictures of sound and of training, as PNG files: what one sees when listening is not at hand."""

import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from piano.evaluation.descriptors import Clip, side_to_mid, stereo_correlation
from piano.evaluation.spectra import constant_q, constant_q_frequencies, mono_mix, stft_power
from piano.foundation.made_files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot

PAPER, INK, QUIET, EDGE = "#fbfaf8", "#1c1a20", "#605b68", "#e2ddd5"
"""Of every picture, and of the report: paper, words and lines."""
PLUM, BLUE, OCHRE, GREEN, RED = "#8a2a63", "#1f5fa8", "#8a5a00", "#2a6f5b", "#a8330f"
SERIES = (PLUM, BLUE, OCHRE, GREEN)
"""Colours of lines that are told apart, in this order."""
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.prop_cycle": cycler(color=SERIES),
    "figure.facecolor": PAPER,
    "figure.titlesize": 12,
    "grid.color": EDGE,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
}
DOTS_PER_INCH = 100
RANGE_DB = 55.0
BINS_PER_OCTAVE = 36
WINDOW_SCALE = 0.6
"""Constant-Q windows are this much shorter than a third of a semitone asks for: onsets stay sharp, notes stay lines."""
MOST_COLUMNS = 1500
"""Frames of one picture; more could not be seen."""
TITLE_CHARACTERS, CAPTION_CHARACTERS = 9.5, 10.0
"""To an inch: what of a title fits above its panel, of a caption into a line."""
DENSITY_CELLS = 121
"""Of a stereo picture, in each direction; odd, so that one column holds what is equal in both channels."""
SHOWN_PERCENT = 99.9
"""Of the samples of each clip at least so many lie inside a stereo picture."""
NARROW_DB = -30.0
"""Side over mid; what is narrower is drawn there: it sounds like mono."""
LOWEST_C_ROW = 3
"""Semitones from A1, the lowest row, to C2."""


def constant_q_grid(
    rows: Mapping[str, NDArray],
    sample_rate: int,
    path: Path,
    *,
    columns: int = 1,
    seconds: float | None = None,
    caption: str = "",
) -> Path:
    """Constant-Q spectrograms with note names: notes are lines, harmonics stand above them.

    Parameters
    ----------
    rows : mapping from title to waveform [shape=(channels, samples)]
        Drawn row by row; each has its own 55 dB, down from its loudest. Titles that are too long lose their middle.
    sample_rate : int
    path : Path
        Of the PNG; replaced at once when it is whole.
    columns : int
    seconds : float, optional
        Shown from the start; the whole by default.
    caption : str
        Above all panels.

    Returns
    -------
    Path
    """
    return _grid(_draw_constant_q, rows, sample_rate, path, columns=columns, seconds=seconds, caption=caption)


def spectrogram_grid(
    rows: Mapping[str, NDArray], sample_rate: int, path: Path, *, columns: int = 1, seconds: float | None = None
) -> Path:
    """Spectrograms on a linear axis in kHz: hiss, whistles and missing treble show here. See `constant_q_grid`."""
    return _grid(_draw_spectrogram, rows, sample_rate, path, columns=columns, seconds=seconds)


def _grid(
    draw: Callable[[Axes, NDArray, int], None],
    rows: Mapping[str, NDArray],
    sample_rate: int,
    path: Path,
    *,
    columns: int,
    seconds: float | None,
    caption: str = "",
) -> Path:
    lines, width = -(-len(rows) // columns), 10 * columns**0.5
    with styled_figure(lines, columns, size=(width, 0.4 + 2.2 * lines)) as (figure, axes):
        _set_caption(figure, caption, width)
        for axis, (title, waveform) in zip(axes.flat, rows.items(), strict=False):
            part = waveform if seconds is None else waveform[:, : round(seconds * sample_rate)]
            draw(axis, part, sample_rate)
            _set_title(axis, title, width / columns)
        for axis in axes.flat[len(rows) :]:
            axis.axis("off")
        for axis in axes.flat[max(len(rows) - columns, 0) : len(rows)]:
            axis.set_xlabel("seconds")
        return save_figure(figure, path)


def stereo_grid(
    rows: Mapping[str, NDArray],
    sets: Mapping[str, Sequence[NDArray]],
    sample_rate: int,
    path: Path,
    *,
    columns: int = 1,
    caption: str = "",
) -> Path:
    """Where sound stands between left and right: a goniometer of single clips, and below them all clips as points.

    A goniometer counts how often left and right have which values together, drawn on its corner: what is equal in both
    stands upright, what is on one side lies on a diagonal, what cancels in the mix lies flat. The points are the
    correlation of left and right, and the level of the side over that of the mid.

    Parameters
    ----------
    rows : mapping from title to waveform [shape=(2, samples)]
        Drawn row by row, of equal length, on the same axes; the correlation is written below the title.
    sets : mapping from name to waveforms [shape=(2, samples)]
        For the points, a colour each; three at most.
    sample_rate : int
    path : Path
        Of the PNG; replaced at once when it is whole.
    columns : int
    caption : str
        Above all panels.
    """
    lines, side, plot = -(-len(rows) // columns), 3.2, 4.2
    limit = max([1e-3, *(float(np.percentile(np.abs(mid_side(clip)), SHOWN_PERCENT)) for clip in rows.values())])
    densities = [stereo_density(clip, limit) for clip in rows.values()]
    top = np.log10(max([2.0, *(float(np.percentile(cells[cells > 0], 99)) for cells in densities if cells.any())]))
    width, panel = side * columns, 3.6
    with styled_figure(
        lines + 1, columns, size=(width, 0.5 + panel * lines + plot), height_ratios=[panel] * lines + [plot]
    ) as (figure, axes):
        _set_caption(figure, caption, width)
        for axis in axes.flat[len(rows) :]:
            axis.remove()
        _draw_stereo_places(figure.add_subplot(axes[0, 0].get_gridspec()[-1, :]), sets, sample_rate, width)
        for place, ((title, clip), cells) in enumerate(zip(rows.items(), densities, strict=True)):
            axis = axes[place // columns, place % columns]
            axis.imshow(
                np.log10(np.maximum(cells, 0.5)),
                origin="lower",
                cmap="magma",
                vmin=np.log10(0.5),
                vmax=top,
                extent=(-limit, limit, -limit, limit),
                interpolation="nearest",
            )
            for sign, name in ((1, "left"), (-1, "right")):
                axis.plot([-sign * limit, sign * limit], [-limit, limit], color=PAPER, linewidth=0.5, alpha=0.35)
                axis.text(0.86 * sign * limit, 0.9 * limit, name, color=PAPER, fontsize=8, ha="center", va="center")
            correlation = stereo_correlation(Clip(clip, sample_rate))
            _set_title(axis, f"{title}\ncorrelation {correlation:.2f}", side)
            axis.locator_params(nbins=5)
            axis.tick_params(labelleft=place % columns == 0, labelbottom=place >= len(rows) - columns)
            if place % columns == 0:
                axis.set_ylabel("(left + right) / \u221a2")
            if place >= len(rows) - columns:
                axis.set_xlabel("(left \u2212 right) / \u221a2")
        return save_figure(figure, path)


def mid_side(waveform: NDArray) -> NDArray:
    """Left and right turned by 45 degrees: their sum and their difference over the root of two [shape=(2, samples)]."""
    left, right = waveform[0], waveform[1]
    return np.stack([left + right, left - right]) / np.sqrt(2)


def stereo_density(waveform: NDArray, limit: float) -> NDArray[np.float64]:
    """How many samples of a waveform [shape=(2, samples)] lie in which cell of a goniometer.

    Returns
    -------
    array [shape=(DENSITY_CELLS, DENSITY_CELLS)]
        Rows: (left + right) / sqrt(2), from -limit up; columns: (left - right) / sqrt(2). What is beyond is left out.
    """
    mid, side = mid_side(waveform)
    edges = np.linspace(-limit, limit, DENSITY_CELLS + 1)
    return np.histogram2d(mid, side, bins=(edges, edges))[0]


def _draw_stereo_places(axis: Axes, sets: Mapping[str, Sequence[NDArray]], sample_rate: int, inches: float) -> None:
    """A point for every clip of every set: correlation of its channels, and level of side over mid."""
    highest = 0.0
    for (name, clips), colour, marker in zip(sets.items(), (GREEN, BLUE, PLUM), "os^", strict=False):
        heard = [Clip(clip, sample_rate) for clip in clips]
        levels = np.maximum([side_to_mid(clip) for clip in heard], NARROW_DB)
        highest = max(highest, *levels)
        axis.plot(
            [stereo_correlation(clip) for clip in heard],
            levels,
            marker,
            color=colour,
            label=in_words(name),
            markersize=6,
            alpha=0.7,
            clip_on=False,
        )
    axis.set_xlabel("correlation of left and right")
    axis.set_ylabel("side to mid in dB")
    ticks = np.arange(NARROW_DB, highest + 10, 10)
    names = [f"{tick:g}".replace("-", "\u2212") for tick in ticks]
    axis.set_yticks(ticks, [f"\u2264 {names[0]}", *names[1:]])
    axis.grid(True)
    axis.legend()
    _set_title(axis, "All clips", inches)


def _set_title(axis: Axes, title: str, inches: float) -> None:
    """Over a panel so wide, line by line; what does not fit goes from the middle."""
    most = int(TITLE_CHARACTERS * (inches - 0.5))
    lines = [
        line if len(line) <= most else f"{line[: most // 2]}\u2026{line[-(most - most // 2 - 1) :]}"
        for line in title.split("\n")
    ]
    axis.set_title("\n".join(lines), loc="left", parse_math=False)  # a name is no formula


def _set_caption(figure: Figure, caption: str, inches: float) -> None:
    if caption:
        text = textwrap.fill(caption, int(CAPTION_CHARACTERS * inches))
        figure.suptitle(text, x=0.01, ha="left", parse_math=False)


def _draw_constant_q(axis: Axes, waveform: NDArray, sample_rate: int) -> None:
    seconds = waveform.shape[-1] / sample_rate
    magnitudes = constant_q(
        waveform,
        sample_rate,
        bins_per_octave=BINS_PER_OCTAVE,
        hop_seconds=max(0.016, seconds / MOST_COLUMNS),
        window_scale=WINDOW_SCALE,
    )
    _draw_levels(axis, 20 * np.log10(magnitudes + 1e-6), (0.0, seconds, 0.0, float(len(magnitudes))))
    octaves = np.arange(LOWEST_C_ROW, len(constant_q_frequencies(sample_rate)), 12)
    axis.set_yticks(octaves * BINS_PER_OCTAVE / 12, [f"C{2 + index}" for index in range(len(octaves))])


def _draw_spectrogram(axis: Axes, waveform: NDArray, sample_rate: int) -> None:
    n_fft = 2 ** round(np.log2(0.064 * sample_rate))
    seconds = waveform.shape[-1] / sample_rate
    power = stft_power(mono_mix(waveform), n_fft, max(n_fft // 4, round(waveform.shape[-1] / MOST_COLUMNS)))
    _draw_levels(axis, 10 * np.log10(power.T + 1e-12), (0.0, seconds, 0.0, sample_rate / 2000))
    axis.set_ylabel("kHz")


def _draw_levels(axis: Axes, levels: NDArray, extent: tuple[float, float, float, float]) -> None:
    """Levels in dB [shape=(rows, frames)], lowest row at the bottom, 55 dB down from (nearly) the loudest."""
    top = max(float(np.percentile(levels, 99.8)), -100.0)
    axis.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - RANGE_DB,
        vmax=top,
        extent=extent,
        interpolation="nearest",
    )


class ChartLine(NamedTuple):
    """One line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "o-"
    """As matplotlib writes it: marker and dashes."""


class LineChart(NamedTuple):
    """Lines that share their axes."""

    title: str
    lines: Sequence[ChartLine]
    mark: tuple[str, float] | None = None
    """Name and height of a level to mark, such as the confusion point."""


def chart_row(charts: Sequence[LineChart], path: Path, *, x_label: str) -> Path:
    """Charts side by side, each with its legend; returns the path of the PNG."""
    with styled_figure(1, len(charts), size=(4.6 * len(charts), 3.6)) as (figure, axes):
        for axis, chart in zip(axes.flat, charts, strict=True):
            for line in chart.lines:
                axis.plot(line.x, line.y, line.style, label=in_words(line.name), markersize=4, clip_on=False)
            if chart.mark:
                name, height = chart.mark
                axis.axhline(height, color=QUIET, linestyle=":", label=in_words(name))
            axis.set_title(in_words(chart.title), loc="left")
            axis.set_xlabel(x_label)
            axis.grid(True, axis="y")
            if all(float(x).is_integer() for line in chart.lines for x in line.x):
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend()
        return save_figure(figure, path)


def in_words(name: str) -> str:
    """A name of the log or the code as words, for titles and legends."""
    return name.replace("_", " ")


def save_figure(figure, path: Path) -> Path:
    """Write a figure as PNG under a temporary name, rename, close it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as part, warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box; nobody who measures music has to read of it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.set_dpi(DOTS_PER_INCH)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # lays out, too; `savefig` would draw everything once more for that
            imsave(part, canvas.buffer_rgba(), format="png", origin="upper", dpi=DOTS_PER_INCH)
    finally:
        pyplot.close(figure)
    return path


@contextmanager
def styled_figure(
    rows: int, columns: int, *, size: tuple[float, float], height_ratios: Sequence[float] | None = None
) -> Iterator[tuple[Figure, NDArray]]:
    """A figure and its axes [shape=(rows, columns)] in the project's style; save it inside with `save_figure`."""
    with pyplot.rc_context(STYLE):
        yield pyplot.subplots(rows, columns, figsize=size, squeeze=False, height_ratios=height_ratios)
