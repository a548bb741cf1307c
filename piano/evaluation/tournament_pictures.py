"""A tournament as pictures: who is told apart from real music by whom, and how the players are rated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from piano.evaluation.pictures import save_figure, styled_figure
from piano.evaluation.tournament_scores import (
    FEWEST_STRICT,
    Judged,
    Report,
    probe_table,
    told_apart_tables,
)
from piano.foundation.checkpoint_format import Best

MOST_LABELS, MOST_NUMBERS = 24, 300
CELL_INCHES, LARGEST_INCHES = 0.32, 9.0
EMPTY_COLUMN = np.nan


def draw_matrix(judged: Judged, path: Path) -> Path:
    """Two heat maps, a row for each judge: shares told apart, and mean probabilities; controls at the right edge."""
    even = np.ones((1, len(judged.files))), np.ones((1, judged.fake.shape[-1]))
    probes = list(judged.probes)
    gap = np.full((len(judged.judges), 1), EMPTY_COLUMN)
    shares = np.hstack([told_apart_tables(judged, *even)[0], gap, probe_table(judged)])
    controls = [
        mean_probability(judged.control),
        *(mean_probability(each) for each in judged.probes.values()),
    ]
    probabilities = np.hstack([mean_probability(judged.fake), gap, np.stack(controls, axis=1)])
    width = min(1.6 + CELL_INCHES * shares.shape[1], LARGEST_INCHES)
    height = min(2.2 + CELL_INCHES * len(judged.judges), LARGEST_INCHES)
    with styled_figure(1, 2, size=(2 * width, height)) as (figure, axes):
        maps = (
            (shares, probes, "pairs in which real is ranked above: red sees through", "RdBu_r"),
            (probabilities, ["real", *probes], "mean probability of being real: blue is fooled", "RdBu"),
        )
        for axis, (values, names, title, colours) in zip(axes.flat, maps, strict=True):
            image = axis.imshow(values, origin="lower", cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
            _label(axis, judged, names)
            if values.size <= MOST_NUMBERS:
                for (row, column), value in np.ndenumerate(values):
                    if np.isfinite(value):
                        colour = "white" if abs(value - 0.5) > 0.35 else "black"
                        axis.text(
                            column,
                            row,
                            f"{100 * value:.0f}",
                            ha="center",
                            va="center",
                            fontsize=7,
                            color=colour,
                        )
            axis.set_title(title, loc="left", wrap=True)
            figure.colorbar(image, ax=axis).ax.axhline(0.5, color="black", linestyle=":")
        return save_figure(figure, path)


def mean_probability(logits: NDArray) -> NDArray:
    """Mean D over clips of logits [shape=(..., families, clips)]."""
    return (0.5 * (1.0 + np.tanh(0.5 * logits.mean(axis=-2)))).mean(axis=-1)


def _label(axis: Axes, judged: Judged, names: Sequence[str]) -> None:
    columns = len(judged.generators)
    stride = 1 + columns // MOST_LABELS
    places = [*range(0, columns, stride), *range(columns + 1, columns + 1 + len(names))]
    axis.set_xticks(places, [*(str(judged.generators[place]) for place in range(0, columns, stride)), *names],
                    rotation=90)  # fmt: skip
    rows = range(0, len(judged.judges), 1 + len(judged.judges) // MOST_LABELS)
    axis.set_yticks(rows, [str(judged.judges[row]) for row in rows])
    axis.set_xlabel("generator epoch, then controls")
    axis.set_ylabel("discriminator epoch")


def draw_ratings(report: Report, best: Best | None, path: Path) -> Path:
    """Ratings of generators and of judges over the epochs with their intervals, and the judges' strictness."""
    with styled_figure(1, 3, size=(15, 4.4)) as (figure, axes):
        generators, judges, strictness = axes.flat
        _draw_rating(generators, report.generators, "tab:blue")
        for index, (name, rating) in enumerate(
            sorted(report.probe_ratings.items(), key=lambda item: item[1])
        ):
            generators.axhline(rating, color="grey", linestyle=":", linewidth=1)
            generators.annotate(name, (0.01 + 0.25 * index, rating), xycoords=("axes fraction", "data"), color="grey",
                                va="bottom", fontsize=7)  # fmt: skip
        top = next(row for row in report.generators if row.epoch == report.best)
        generators.plot(
            top.epoch, top.rating.value, "*", color="tab:red", markersize=13, label="highest rated"
        )
        for row in report.generators:
            if best is not None and row.epoch == best.epoch:
                generators.plot(row.epoch, row.rating.value, "o", color="tab:green", markersize=11, fillstyle="none",
                                markeredgewidth=2, label="the ruler's best")  # fmt: skip
        generators.set_title("generators: high is hard to see through", loc="left")
        generators.legend()
        _draw_rating(judges, report.judges, "tab:orange")
        deaf = [row for row in report.judges if not row.hears]
        if deaf:
            judges.plot([row.epoch for row in deaf], [row.rating.value for row in deaf], "x", color="black",
                        markersize=9, label="fails its controls")  # fmt: skip
            judges.legend()
        judges.set_title("discriminators: high sees through much", loc="left")
        rows = [row for row in report.judges if row.strict is not None]
        epochs = [row.epoch for row in rows]
        strictness.plot(epochs, [row.strict for row in rows], "o-", label="by ranks")
        strictness.plot(epochs, [row.strict_probability for row in rows], "s--", label="by probability")
        strictness.axhline(FEWEST_STRICT, color="grey", linestyle=":", label="below: forgot, or never knew")
        strictness.set_ylim(-0.05, 1.05)
        strictness.set_title("strictness: earlier generators seen through", loc="left")
        strictness.legend()
        for axis in axes.flat:
            axis.set_xlabel("epoch")
        return save_figure(figure, path)


def _draw_rating(axis: Axes, rows: Sequence, colour: str) -> None:
    values = np.array([row.rating for row in rows])
    spans = np.abs(values[:, 1:].T - values[:, 0])
    axis.errorbar([row.epoch for row in rows], values[:, 0], yerr=spans, fmt="o-", color=colour, markersize=4,
                  linewidth=1, capsize=2)  # fmt: skip
    axis.set_ylabel("Elo points")
