"""Is it copied: the nearest training passage of every clip, held against what music reaches that was never learned.

A passage is a grid of pitch levels over four seconds. Two passages are compared by correlation, at every tenth of a
second of the training music, so that neither level nor a small shift in time hides a copy.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.hearing import Array, mono_mix, pitch_magnitudes, unit_level
from piano.evaluation.music_folder import Song

PASSAGE_SECONDS = 4.0
FRAME_SECONDS = 0.096
PASSAGE_FRAMES = round(PASSAGE_SECONDS / FRAME_SECONDS)
PITCHES = 72
"""From A1 six octaves up, to 3.5 kHz: above are overtones only."""
LEVEL_FLOOR = 0.02
"""Of the RMS level: pitches softer than -34 dB count as silent."""
BLOCK_FRAMES = 2048
FLATTEST_DB = 0.5


class Library(NamedTuple):
    """Training music as grids, end to end."""

    grid: NDArray[np.float32]
    """Pitch levels in dB, less their mean over the library [shape=(frames, pitches)]"""
    mean: NDArray[np.float32]
    """[shape=(pitches,)]"""
    songs: list[str]
    starts: NDArray[np.int64]
    """First frame of each song, and the end of the last [shape=(songs + 1,)]"""


class Nearest(NamedTuple):
    """The training passage most like one clip."""

    similarity: float
    """Correlation of the most alike four seconds, -1 to 1."""
    song: str
    """File of the training music."""
    seconds: float
    """Where in it the passage begins."""
    clip_seconds: float
    """Where in the clip."""


class Memorisation(NamedTuple):
    """What was found about a set of clips."""

    threshold: float
    """Similarity above which a clip counts as copied."""
    copied_share: float
    median: float
    """Of the clips' similarities."""
    held_out_median: float
    """The same of music that was never learned."""
    held_out_high: float
    """95th percentile of it."""
    nearest: list[Nearest]
    """For every clip."""


def pitch_grid(waveform: NDArray, sample_rate: int) -> NDArray[np.float32]:
    """Levels in dB of six octaves of semitones, every 96 ms [shape=(frames, pitches)].

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    """
    magnitudes = pitch_magnitudes(unit_level(mono_mix(waveform)), sample_rate, hop_seconds=FRAME_SECONDS / 3)
    frames = len(magnitudes) // 3
    smooth = magnitudes[: 3 * frames, :PITCHES].reshape(frames, 3, -1).mean(axis=1)
    levels = 20 * np.log10(smooth + LEVEL_FLOOR)
    return np.pad(levels, ((0, 0), (0, PITCHES - levels.shape[1]))).astype(np.float32)


def build_library(songs: Iterable[Song], sample_rate: int) -> Library:
    """Grids of all training songs that last four seconds or more.

    Raises
    ------
    ValueError
        If there is none.
    """
    grids, names = [], []
    for song in songs:
        grid = pitch_grid(song.waveform, sample_rate)
        if len(grid) >= PASSAGE_FRAMES:
            grids.append(grid)
            names.append(song.name)
    if not grids:
        raise ValueError(f"no training song lasts {PASSAGE_SECONDS:g} s")
    whole = np.concatenate(grids)
    mean = whole.mean(axis=0)
    whole -= mean
    return Library(whole, mean, names, np.cumsum([0, *(len(grid) for grid in grids)]))


def nearest_passages(
    library: Library, clips: Sequence[NDArray], sample_rate: int, *, exclude: Sequence[str] | None = None
) -> list[Nearest]:
    """The training passage most like each clip, over the clip's passages of four seconds, two seconds apart.

    Parameters
    ----------
    library : Library
    clips : sequence of arrays [shape=(channels, samples)]
        Four seconds or longer.
    exclude : sequence of str, optional
        For each clip a song of the library that does not count (its own).

    Raises
    ------
    ValueError
        If a clip is too short.
    """
    queries, owners, offsets = [], [], []
    for index, clip in enumerate(clips):
        grid = pitch_grid(clip, sample_rate)[: len(mono_mix(clip))] - library.mean
        if len(grid) < PASSAGE_FRAMES:
            raise ValueError(f"clips must last {PASSAGE_SECONDS:g} s to look for copies")
        for start in range(0, len(grid) - PASSAGE_FRAMES + 1, PASSAGE_FRAMES // 2):
            queries.append(_centred(grid[start : start + PASSAGE_FRAMES].ravel()))
            owners.append(index)
            offsets.append(start * FRAME_SECONDS)
    barred = None if exclude is None else [exclude[owner] for owner in owners]
    best, place = _search(library, np.stack(queries), barred)
    found: list[Nearest] = []
    for index in range(len(clips)):
        own = [row for row, owner in enumerate(owners) if owner == index]
        row = max(own, key=lambda row: best[row])
        song = int(np.searchsorted(library.starts, place[row], side="right")) - 1
        seconds = float(place[row] - library.starts[song]) * FRAME_SECONDS
        found.append(Nearest(float(best[row]), library.songs[song], seconds, offsets[row]))
    return found


def _centred(passage: Array) -> Array:
    """A passage without its mean, of length one; zeros if it is flat (silence)."""
    centred = passage - passage.mean()
    size = float(np.linalg.norm(centred))
    return centred / size if size > FLATTEST_DB * np.sqrt(len(centred)) else np.zeros_like(centred)


def _search(library: Library, queries: Array, barred: list[str] | None) -> tuple[Array, NDArray[np.int64]]:
    """Highest correlation of every query with any passage of the library, and its first frame."""
    size = queries.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(library.grid, PASSAGE_FRAMES, axis=0)
    song_of = np.searchsorted(library.starts, np.arange(len(windows)), side="right") - 1
    is_whole = np.arange(len(windows)) + PASSAGE_FRAMES <= library.starts[song_of + 1]
    best, place = np.full(len(queries), -1.0), np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(windows), BLOCK_FRAMES):
        block = windows[start : start + BLOCK_FRAMES].swapaxes(1, 2).reshape(-1, size)
        spread = np.sqrt(np.maximum(np.square(block).sum(axis=1) - np.square(block.sum(axis=1)) / size, 0))
        usable = is_whole[start : start + BLOCK_FRAMES] & (spread > FLATTEST_DB * np.sqrt(size))
        table = (queries @ block.T) / np.maximum(spread, 1e-6)
        table[:, ~usable] = -1.0
        if barred is not None:
            names = np.array(library.songs)[song_of[start : start + BLOCK_FRAMES]]
            table[np.array(barred)[:, None] == names[None, :]] = -1.0
        highest = table.argmax(axis=1)
        values = table[np.arange(len(queries)), highest]
        better = values > best
        best[better], place[better] = values[better], start + highest[better]
    return best, place


def find_copies(
    library: Library, clips: Sequence[NDArray], held_out: Sequence[NDArray], sample_rate: int
) -> Memorisation:
    """Which clips are nearer to the training music than music that was never learned.

    The threshold lies as far above the 95th percentile of the held-out clips as that lies above their median: about
    3.3 standard deviations if they are normal, and a copy or two among the held-out songs do not move it.

    Parameters
    ----------
    clips, held_out : sequence of arrays [shape=(channels, samples)]
        Of the same length: a longer clip has more chances to be like something.
    """
    known = np.array([found.similarity for found in nearest_passages(library, held_out, sample_rate)])
    median, high = (float(value) for value in np.percentile(known, (50, 95)))
    threshold = min(high + max(high - median, 0.02), 0.98)
    nearest = nearest_passages(library, clips, sample_rate)
    similarities = np.array([found.similarity for found in nearest])
    return Memorisation(
        threshold=threshold,
        copied_share=float((similarities > threshold).mean()),
        median=float(np.median(similarities)),
        held_out_median=median,
        held_out_high=high,
        nearest=nearest,
    )
