"""A tournament as pictures: who is told apart from real music by whom, and how the players are rated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from piano.evaluation.pictures import BLUE, GREEN, INK, PAPER, PLUM, QUIET, RED, save_figure, styled_figure
from piano.foundation.checkpoint_format import Best
from piano.judging.tournament_scores import FEWEST_STRICT, Judgements, Report, probe_table, told_apart_tables

MOST_LABELS, MOST_NUMBERS = 24, 300
CELL_INCHES, FEWEST_INCHES, LARGEST_INCHES = 0.36, 6.0, 10.0
SEES_THROUGH = LinearSegmentedColormap.from_list("sees through", [BLUE, "#e9edf4", PAPER, "#f3e4ec", PLUM])
"""Blue is fooled, paper guesses, plum sees through."""
EMPTY_COLUMN = np.nan


def draw_matrix(judged: Judgements, path: Path) -> Path:
    """Two heat maps, a row for each judge: shares told apart, and mean probabilities; controls at the right edge."""
    even = np.ones((1, len(judged.files))), np.ones((1, judged.fake.shape[-1]))
    probes = list(judged.probes)
    gap = np.full((len(judged.judges), 1), EMPTY_COLUMN)
    shares = np.hstack([told_apart_tables(judged, *even)[0], gap, probe_table(judged)])
    controls = [mean_probability(judged.control), *(mean_probability(each) for each in judged.probes.values())]
    probabilities = np.hstack([mean_probability(judged.fake), gap, np.stack(controls, axis=1)])
    width = min(max(2.6 + CELL_INCHES * shares.shape[1], FEWEST_INCHES), LARGEST_INCHES)
    height = min(2.0 + CELL_INCHES * len(judged.judges), LARGEST_INCHES)
    with styled_figure(2, 1, size=(width, 2 * height)) as (figure, axes):
        maps = (
            (shares, probes, "How often real music is ranked above (%)", SEES_THROUGH, ("fooled", "sees through")),
            (
                probabilities,
                ["real", *probes],
                "How real it sounds to them (mean probability, %)",
                SEES_THROUGH.reversed(),
                ("sees through", "fooled"),
            ),
        )
        for axis, (values, names, title, colours, ends) in zip(axes.flat, maps, strict=True):
            image = axis.imshow(values, origin="lower", cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
            _label(axis, judged, names)
            if values.size <= MOST_NUMBERS:
                for (row, column), value in np.ndenumerate(values):
                    if np.isfinite(value):
                        colour = PAPER if abs(value - 0.5) > 0.36 else INK
                        axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=9, color=colour)
            axis.set_title(title, loc="left")
            scale = figure.colorbar(image, ax=axis, ticks=[0.0, 0.5, 1.0])
            scale.ax.set_yticklabels([f"0  {ends[0]}", "50  guesses", f"100  {ends[1]}"])
            scale.ax.axhline(0.5, color=INK, linestyle=":")
        return save_figure(figure, path)


def mean_probability(logits: NDArray) -> NDArray:
    """Mean D over clips of logits [shape=(..., families, clips)]."""
    return (0.5 * (1.0 + np.tanh(0.5 * logits.mean(axis=-2)))).mean(axis=-1)


def _label(axis: Axes, judged: Judgements, names: Sequence[str]) -> None:
    columns = len(judged.generators)
    stride = 1 + columns // MOST_LABELS
    places = [*range(0, columns, stride), *range(columns + 1, columns + 1 + len(names))]
    axis.set_xticks(
        places,
        [*(str(judged.generators[place]) for place in range(0, columns, stride)), *names],
        rotation=90 if any(len(name) > 4 for name in names) else 0,
    )
    rows = range(0, len(judged.judges), 1 + len(judged.judges) // MOST_LABELS)
    axis.set_yticks(rows, [str(judged.judges[row]) for row in rows])
    axis.set_xlabel("generator epoch, then controls")
    axis.set_ylabel("discriminator epoch")


def draw_ratings(report: Report, best: Best | None, path: Path) -> Path:
    """Ratings of generators and of judges over the epochs with their intervals, and the judges' strictness."""
    with styled_figure(3, 1, size=(9, 12)) as (figure, axes):
        generators, judges, strictness = axes.flat
        _draw_rating(generators, report.generators, PLUM)
        for index, (name, rating) in enumerate(sorted(report.probe_ratings.items(), key=lambda item: item[1])):
            generators.axhline(rating, color=QUIET, linestyle=":", linewidth=1)
            generators.annotate(
                name,
                (0.01 + 0.25 * index, rating),
                xycoords=("axes fraction", "data"),
                color=QUIET,
                va="bottom",
                fontsize=9,
            )
        top = next(row for row in report.generators if row.epoch == report.best)
        generators.plot(top.epoch, top.rating.value, "*", color=RED, markersize=13, label="highest rated")
        for row in report.generators:
            if best is not None and row.epoch == best.epoch:
                generators.plot(
                    row.epoch,
                    row.rating.value,
                    "o",
                    color=GREEN,
                    markersize=11,
                    fillstyle="none",
                    markeredgewidth=2,
                    label="the ruler's best",
                )
        generators.set_title("How hard each generator is to see through (higher is harder)", loc="left")
        generators.legend()
        _draw_rating(judges, report.judges, BLUE)
        deaf = [row for row in report.judges if not row.hears]
        if deaf:
            judges.plot(
                [row.epoch for row in deaf],
                [row.rating.value for row in deaf],
                "x",
                color=INK,
                markersize=9,
                label="fails its controls",
            )
            judges.legend()
        judges.set_title("How much each judge sees through (higher is more)", loc="left")
        rows = [row for row in report.judges if row.strict is not None]
        epochs = [row.epoch for row in rows]
        strictness.plot(epochs, [row.strict for row in rows], "o-", label="by ranks")
        strictness.plot(epochs, [row.strict_probability for row in rows], "s--", label="by probability")
        strictness.axhline(FEWEST_STRICT, color=QUIET, linestyle=":", label="below: forgot, or never knew")
        strictness.set_ylim(-0.05, 1.05)
        strictness.set_title("How many earlier generators each judge sees through", loc="left")
        strictness.legend()
        for axis in axes.flat:
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(True, axis="y")
        return save_figure(figure, path)


def _draw_rating(axis: Axes, rows: Sequence, colour: str) -> None:
    values = np.array([row.rating for row in rows])
    spans = np.abs(values[:, 1:].T - values[:, 0])
    axis.errorbar(
        [row.epoch for row in rows],
        values[:, 0],
        yerr=spans,
        fmt="o-",
        color=colour,
        markersize=4,
        linewidth=1,
        capsize=2,
    )
    axis.set_ylabel("Elo points")
