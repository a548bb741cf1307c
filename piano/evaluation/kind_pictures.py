"""Real music, reconstructed and composed, side by side for every kind of music: to look at what figures sum up."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from piano.evaluation.distances import squared_distances
from piano.evaluation.pictures import constant_q_grid, stereo_grid
from piano.evaluation.ruler import Ruler
from piano.evaluation.score_generator import Made

KINDS_PICTURE, STEREO_PICTURE = "kinds.png", "stereo.png"
MOST_KINDS = 8
SHOWN_SECONDS = 8.0
"""Of each clip, in a constant-Q picture."""


class KindRow(NamedTuple):
    """A kind of music, and what stands for it."""

    kind: str
    """Empty for files that lie in no folder."""
    real: int
    """Place of the real clip that is nearest to the mean of its kind."""
    composed: int
    """Place of a composition."""


def kind_of(name: str) -> str:
    """The kind of music that a file is: the first of the folders in which it lies; empty where it lies in none."""
    parts = PureWindowsPath(name).parts  # takes both slashes
    return parts[0] if len(parts) > 1 else ""


def choose_kinds(
    files: Sequence[str], real: NDArray, composed: NDArray, *, most: int = MOST_KINDS
) -> tuple[list[KindRow], int]:
    """The kinds with most clips, each with its most typical clip and the composition that is nearest to it.

    No composition stands for two kinds, unless there are fewer than kinds.

    Parameters
    ----------
    files : sequence of str [shape=(clips,)]
        The file each real clip was cut from, relative to the music folder.
    real, composed : array [shape=(clips, features)]
        Features that can be compared.
    most : int

    Returns
    -------
    list of KindRow, int
        The most frequent first; and how many kinds there are in all.
    """
    kinds = [kind_of(name) for name in files]
    counts = Counter(kinds)
    names = [name for name, _ in counts.most_common(most)]
    places = [np.array([place for place, kind in enumerate(kinds) if kind == name]) for name in names]
    means = np.stack([real[own].mean(axis=0) for own in places])
    typical = [
        int(own[squared_distances(real[own], mean[None])[:, 0].argmin()])
        for own, mean in zip(places, means, strict=True)
    ]
    nearest = nearest_of_each(squared_distances(means, composed))
    return [KindRow(*row) for row in zip(names, typical, nearest, strict=True)], len(counts)


def nearest_of_each(distances: NDArray) -> list[int]:
    """A column for every row, no column twice, with the smallest sum; where columns are too few, the nearest."""
    rows, columns = distances.shape
    chosen = distances.argmin(axis=1) if columns < rows else linear_sum_assignment(distances)[1]
    return [int(column) for column in chosen]


def draw_kinds(
    ruler: Ruler, files: Sequence[str], features: NDArray, made: Made, folder: Path, *, most: int = MOST_KINDS
) -> None:
    """Write KINDS_PICTURE, and of two channels STEREO_PICTURE; without reconstructions their column is left out.

    Parameters
    ----------
    ruler : Ruler
    files : sequence of str [shape=(real clips,)]
        The file each real clip was cut from.
    features : array [shape=(samples, features)]
        Of the samples, raw.
    made : Made
    folder : Path
    most : int
        Kinds that are shown.
    """
    whitening = ruler.reference.whitening  # what tells songs apart
    composed = ruler.reference.scale.transform(features) @ whitening
    rows, kinds = choose_kinds(files, ruler.reference.real @ whitening, composed, most=most)
    panels: dict[tuple[str, str], NDArray] = {}
    for row in rows:
        panels[row.kind, f"real, {PureWindowsPath(files[row.real]).name}"] = ruler.clips[row.real]
        if made.reconstructions:
            panels[row.kind, "reconstructed"] = made.reconstructions[row.real]
        name = PureWindowsPath(made.names[row.composed]).name if made.names else f"sample {row.composed}"
        panels[row.kind, f"composed, {name}"] = made.samples[row.composed]
    columns = len(panels) // len(rows)
    more = f" Shown: {len(rows)} of {kinds} kinds, those with most clips." if kinds > len(rows) else ""
    constant_q_grid(
        {": ".join(filter(None, title)): clip for title, clip in panels.items()},
        ruler.sample_rate,
        folder / KINDS_PICTURE,
        columns=columns,
        seconds=SHOWN_SECONDS,
        caption=f"A typical clip of each kind of music, and the composition that is nearest to the kind.{more}",
    )
    if len(ruler.clips[0]) > 1:
        sets = {"real": ruler.clips, "reconstructed": made.reconstructions, "composed": made.samples}
        stereo_grid(
            {"\n".join(filter(None, title)): clip for title, clip in panels.items()},
            {name: clips for name, clips in sets.items() if clips},
            ruler.sample_rate,
            folder / STEREO_PICTURE,
            columns=columns,
            caption="Where the same clips stand between left and right: upright is mono, flat cancels in the mix. "
            f"Brighter is more often, on a logarithmic scale.{more}",
        )
