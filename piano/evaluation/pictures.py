"""Pictures of sound and of training, as PNG files: what one sees when listening is not at hand."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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
LOWEST_C_ROW = 3
"""Semitones from A1, the lowest row, to C2."""


def constant_q_grid(
    rows: Mapping[str, NDArray], sample_rate: int, path: Path, *, columns: int = 1, seconds: float | None = None
) -> Path:
    """Constant-Q spectrograms with note names: notes are lines, harmonics stand above them.

    Parameters
    ----------
    rows : mapping from title to waveform [shape=(channels, samples)]
        Drawn row by row; each has its own 55 dB, down from its loudest.
    sample_rate : int
    path : Path
        Of the PNG; replaced at once when it is whole.
    columns : int
    seconds : float, optional
        Shown from the start; the whole by default.

    Returns
    -------
    Path
    """
    return _grid(_draw_constant_q, rows, sample_rate, path, columns=columns, seconds=seconds)


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
) -> Path:
    lines = -(-len(rows) // columns)
    with styled_figure(lines, columns, size=(10 * columns**0.5, 0.4 + 2.2 * lines)) as (figure, axes):
        for axis, (title, waveform) in zip(axes.flat, rows.items(), strict=False):
            part = waveform if seconds is None else waveform[:, : round(seconds * sample_rate)]
            draw(axis, part, sample_rate)
            axis.set_title(title, loc="left", parse_math=False)  # a name is no formula
        for axis in axes.flat[len(rows) :]:
            axis.axis("off")
        for axis in axes.flat[max(len(rows) - columns, 0) : len(rows)]:
            axis.set_xlabel("seconds")
        return save_figure(figure, path)


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
            figure.savefig(part, dpi=DOTS_PER_INCH, format="png")
    finally:
        pyplot.close(figure)
    return path


@contextmanager
def styled_figure(rows: int, columns: int, *, size: tuple[float, float]) -> Iterator[tuple[Figure, NDArray]]:
    """A figure and its axes [shape=(rows, columns)] in the project's style; save it inside with `save_figure`."""
    with pyplot.rc_context(STYLE):
        yield pyplot.subplots(rows, columns, figsize=size, squeeze=False)
