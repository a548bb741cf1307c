"""Pictures of a GAN's training: sample grids and curves, as small PNG files."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from piano.doctor.rules import Window
from tutorial.gan_analysis import CONFUSION

HEALTHY = (0.4, 0.7)
COLLAPSE, FAILURE = 0.1, 0.9
D_COLOUR, G_COLOUR, REAL_COLOUR = "#c2410c", "#1d4ed8", "#15803d"
GAP = 1
"""Pixels between two pictures of a grid."""


def tile(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """Pictures side by side, grey values 0 to 255 [shape=(height, width)].

    Parameters
    ----------
    images : Tensor [shape=(pictures, 1, side, side)]
        Pixels in [-1, 1].
    columns : int
    """
    pixels = ((images[:, 0].clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    side, rows = pixels.shape[-1], -(-len(pixels) // columns)
    sheet = np.full((rows * (side + GAP) - GAP, columns * (side + GAP) - GAP), 255, dtype=np.uint8)
    for index, picture in enumerate(pixels):
        top, left = index // columns * (side + GAP), index % columns * (side + GAP)
        sheet[top : top + side, left : left + side] = picture
    return sheet


def draw_images(rows: Mapping[str, Tensor], columns: int = 16, *, width: float = 9.0) -> Figure:
    """Grids of pictures below each other, each with its title.

    Parameters
    ----------
    rows : mapping from title to Tensor [shape=(pictures, 1, side, side)]
    columns : int
        Pictures in a line.
    width : float
        Of the figure in inches.
    """
    sheets = {title: tile(images, columns) for title, images in rows.items()}
    heights = [width * sheet.shape[0] / sheet.shape[1] for sheet in sheets.values()]
    figure = Figure(figsize=(width, sum(heights) + 0.32 * len(heights)), layout="constrained")
    axes = figure.subplots(len(sheets), squeeze=False, height_ratios=heights)[:, 0]
    for axis, (title, sheet) in zip(axes, sheets.items(), strict=True):
        axis.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title, loc="left", fontsize=9)
        axis.axis("off")
    return figure


def draw_sample_grids(samples: Sequence[Tensor], epochs: Sequence[int], count: int = 16) -> Figure:
    """How the same noise turns into clothes: a row of pictures for each of the epochs.

    Parameters
    ----------
    samples : sequence of Tensor [shape=(pictures, 1, 28, 28)]
        `generated_samples` of `train_gan`.
    epochs : sequence of int
        After which they were made; ValueError if there are not as many.
    count : int
        Pictures in a row.
    """
    rows = {f"epoch {epoch}": images[:count] for epoch, images in zip(epochs, samples, strict=True)}
    return draw_images(rows, columns=count)


def draw_loss_curves(
    d_losses: Sequence[float], g_losses: Sequence[float], *, steps_per_window: int = 50, title: str = ""
) -> Figure:
    """Both losses over the steps, with the line of confusion (log 2), the healthy band of D, and its two bounds."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.axhspan(*HEALTHY, color=D_COLOUR, alpha=0.08, label="healthy D")
    axis.axhline(CONFUSION, color="black", linewidth=0.8, linestyle="--", label="confusion, 0.693")
    for bound in (COLLAPSE, FAILURE):
        axis.axhline(bound, color=D_COLOUR, linewidth=0.8, linestyle=":")
    for name, losses, colour in (("D", d_losses, D_COLOUR), ("G", g_losses, G_COLOUR)):
        values = np.asarray(losses, dtype=np.float64)
        axis.plot(np.arange(1, len(values) + 1), values, color=colour, alpha=0.18, linewidth=0.5)
        width = max(1, min(steps_per_window, len(values) // 4))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        axis.plot(np.arange(width, len(values) + 1), smooth, color=colour, linewidth=1.5, label=name)
    _finish(axis, title, "loss")
    return figure


def draw_windows(windows: Sequence[Window], *, title: str = "") -> Figure:
    """D(x), D(G(z)) and the diversity over the steps: three numbers between 0 and about 1."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axis = figure.subplots()
    axis.axhline(0.5, color="black", linewidth=0.8, linestyle="--", label="1/2")
    for name, label, colour in (
        ("d_real", "D(x)", D_COLOUR),
        ("d_fake", "D(G(z))", G_COLOUR),
        ("diversity", "diversity", REAL_COLOUR),
    ):
        points = [(window.step, window.signals[name]) for window in windows if name in window.signals]
        if points:
            axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.5, label=label)
    axis.set_ylim(0, None)
    _finish(axis, title, "")
    return figure


def _finish(axis: Axes, title: str, label: str) -> None:
    axis.set_xlabel("steps")
    axis.set_ylabel(label)
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=6, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.16))  # over no curve
    axis.margins(x=0.01)


def figure_png(figure: Figure, *, dpi: int = 90, colours: int = 64) -> bytes:
    """A figure as a PNG of few colours: a notebook full of them stays small."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return small_png(buffer, colours=colours)


def small_png(file: Path | io.BytesIO, *, colours: int = 64) -> bytes:
    """A picture as a PNG of few colours."""
    small = io.BytesIO()
    picture = Image.open(file).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    picture.save(small, format="PNG", optimize=True)
    return small.getvalue()
