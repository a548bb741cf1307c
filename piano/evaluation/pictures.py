"""Pictures of sound and of training, as PNG files: what one sees when listening is not at hand."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from piano.evaluation.metrics import constant_q, constant_q_frequencies

matplotlib.use("Agg")
from matplotlib import pyplot

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
RANGE_DB = 60.0
BINS_PER_OCTAVE = 36


def constant_q_grid(
    rows: Mapping[str, NDArray],
    sample_rate: int,
    path: Path,
    *,
    columns: int = 1,
    seconds: float | None = None,
) -> Path:
    """Constant-Q spectrograms on one semitone axis: notes are lines, harmonics stand above them.

    Parameters
    ----------
    rows : mapping from title to waveform [shape=(channels, samples)]
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
    lines = -(-len(rows) // columns)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            lines, columns, figsize=(10 * columns**0.5, 2.4 * lines), squeeze=False
        )
        for axis, (title, waveform) in zip(axes.flat, rows.items(), strict=False):
            part = waveform if seconds is None else waveform[:, : round(seconds * sample_rate)]
            _draw_constant_q(axis, part, sample_rate)
            axis.set_title(title, loc="left")
        for axis in axes.flat[len(rows) :]:
            axis.axis("off")
        return save_figure(figure, path)


def _draw_constant_q(axis, waveform: NDArray, sample_rate: int) -> None:
    magnitudes = constant_q(waveform, sample_rate, bins_per_octave=BINS_PER_OCTAVE)
    levels = 20 * np.log10(magnitudes + 1e-6)
    top = float(np.percentile(levels, 99.8))
    seconds = waveform.shape[-1] / sample_rate
    axis.imshow(levels, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE_DB, vmax=top,
                extent=(0.0, seconds, 0, len(levels)), interpolation="nearest")  # fmt: skip
    octaves = np.arange(3, len(constant_q_frequencies(sample_rate, bins_per_octave=12)), 12)
    axis.set_yticks(octaves * BINS_PER_OCTAVE / 12, [f"C{2 + index}" for index in range(len(octaves))])
    axis.set_xlabel("seconds")


def save_figure(figure, path: Path) -> Path:
    """Write a figure as PNG under a temporary name, rename, close it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part.png")
    figure.savefig(part, dpi=90)
    pyplot.close(figure)
    part.replace(path)
    return path


@contextmanager
def styled_figure(rows: int, columns: int, *, size: tuple[float, float]) -> Iterator[tuple[Figure, NDArray]]:
    """A figure and its axes [shape=(rows, columns)] in the project's style; save it inside with `save_figure`."""
    with pyplot.rc_context(STYLE):
        yield pyplot.subplots(rows, columns, figsize=size, squeeze=False)
