"""Is it copied: the nearest training passage of every clip, held against what music reaches that was never learned.

A passage is a grid of pitch levels over four seconds. Two passages are compared by correlation, at every tenth of a
second of the training music, so that neither level nor a small shift in time hides a copy.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.music_folder import Song
from piano.evaluation.spectra import Array, mono_mix, pitch_magnitudes, unit_level
from piano.foundation.screen_text import counted

PASSAGE_SECONDS = 4.0
FRAME_SECONDS = 0.096
PASSAGE_FRAMES = round(PASSAGE_SECONDS / FRAME_SECONDS)
PITCHES = 72
"""From A1 six octaves up, to 3.5 kHz: above are overtones only."""
BLOCK_FRAMES = 2048
FEWEST_HELD_OUT = 4
"""Recordings never learned from, without which nobody knows what likeness is usual."""
QUIETEST = 0.05
"""A passage with less than this share of the usual level is silence, and like nothing."""


def why_not_searched(songs: int) -> str:
    """Why a search for copies would say nothing, in a sentence; empty where it would.

    Parameters
    ----------
    songs : int
        Recordings that, as far as is known, were never learned from: how like training music they are is what a copy is
        held against.
    """
    if songs >= FEWEST_HELD_OUT:
        return ""
    there = "is none" if not songs else f"{'is' if songs == 1 else 'are'} at most {songs}"
    needed = f"{counted(FEWEST_HELD_OUT, 'recording')} never learned from"
    return f"Cannot tell: {needed} are needed to say what likeness is usual; there {there}."


class Library(NamedTuple):
    """Training music as grids, end to end."""

    grid: NDArray[np.float32]
    """[shape=(frames, pitches)]"""
    usual: NDArray[np.float32]
    """Mean passage, of unit length, times how like it passages are on average [shape=(frames * pitches,)]"""
    level: float
    """Mean length of a passage as a vector."""
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
    """Square roots of the magnitudes of six octaves of semitones, over 96 ms, every 48 ms [shape=(frames, pitches)].

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    """
    magnitudes = pitch_magnitudes(unit_level(mono_mix(waveform)), sample_rate, hop_seconds=FRAME_SECONDS / 2)
    smooth = np.sqrt((magnitudes[1:, :PITCHES] + magnitudes[:-1, :PITCHES]) / 2)
    return np.pad(smooth, ((0, 0), (0, PITCHES - smooth.shape[1]))).astype(np.float32)


def build_library(songs: Iterable[Song], sample_rate: int) -> Library:
    """Grids of all training songs that last four seconds or more.

    Raises
    ------
    ValueError
        If there is none.
    """
    grids, names = [], []
    for song in songs:
        grid = pitch_grid(song.waveform, sample_rate)[::2]
        if len(grid) >= PASSAGE_FRAMES:
            grids.append(grid)
            names.append(song.name)
    if not grids:
        raise ValueError(f"no training song lasts {PASSAGE_SECONDS:g} s")
    whole = np.concatenate(grids)
    usual = np.tile(whole.mean(axis=0), PASSAGE_FRAMES)
    usual /= max(float(np.linalg.norm(usual)), 1e-9)
    starts = np.cumsum([0, *(len(grid) for grid in grids)])
    spaced = np.lib.stride_tricks.sliding_window_view(whole, PASSAGE_FRAMES, axis=0)[::PASSAGE_FRAMES]
    passages = spaced.swapaxes(1, 2).reshape(len(spaced), -1)
    lengths = np.linalg.norm(passages, axis=1)
    likeness = float(((passages @ usual) / np.maximum(lengths, 1e-9)).mean())
    return Library(whole, (likeness * usual).astype(np.float32), float(lengths.mean()), names, starts)


def nearest_passages(library: Library, clips: Sequence[NDArray], sample_rate: int) -> list[Nearest]:
    """The training passage most like each clip, over the clip's passages of four seconds, two seconds apart.

    Parameters
    ----------
    clips : sequence of arrays [shape=(channels, samples)]
        Four seconds or longer.

    Raises
    ------
    ValueError
        If a clip is too short.
    """
    queries, owners, offsets = [], [], []
    for index, clip in enumerate(clips):
        grid = pitch_grid(clip, sample_rate)
        last = len(grid) - 2 * PASSAGE_FRAMES + 1
        if last < 0:
            raise ValueError(f"clips must last {PASSAGE_SECONDS:g} s to look for copies")
        for start in range(0, last + 1, PASSAGE_FRAMES):
            for half in (0, 1):  # between two frames of the library lies another
                passage = grid[start + half :: 2][:PASSAGE_FRAMES]
                if len(passage) == PASSAGE_FRAMES:
                    queries.append(passage.ravel())
                    owners.append(index)
                    offsets.append((start + half) * FRAME_SECONDS / 2)
    best, place = _search(library, np.stack(queries))
    found: list[Nearest] = []
    for index in range(len(clips)):
        own = [row for row, owner in enumerate(owners) if owner == index]
        row = max(own, key=lambda row: best[row])
        song = int(np.searchsorted(library.starts, place[row], side="right")) - 1
        seconds = float(place[row] - library.starts[song]) * FRAME_SECONDS
        found.append(Nearest(float(best[row]), library.songs[song], seconds, offsets[row]))
    return found


def _search(library: Library, queries: Array) -> tuple[Array, NDArray[np.int64]]:
    """Highest correlation of every query with any passage of the library, and its first frame.

    Both are brought to unit length, so that level does not matter, and the usual passage is taken off, so that what all
    music of this kind shares does not count.
    """
    size, usual = queries.shape[1], library.usual
    shared = float(usual @ usual)
    lengths = np.linalg.norm(queries, axis=1)
    units = queries / np.maximum(lengths, 1e-9)[:, None]
    own = units @ usual
    own_spread = np.sqrt(np.maximum(1 - 2 * own + shared, 1e-9))
    is_sound = lengths > QUIETEST * library.level
    windows = np.lib.stride_tricks.sliding_window_view(library.grid, PASSAGE_FRAMES, axis=0)
    song_of = np.searchsorted(library.starts, np.arange(len(windows)), side="right") - 1
    is_whole = np.arange(len(windows)) + PASSAGE_FRAMES <= library.starts[song_of + 1]
    best, place = np.zeros(len(queries)), np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(windows), BLOCK_FRAMES):
        block = windows[start : start + BLOCK_FRAMES].swapaxes(1, 2).reshape(-1, size)
        sizes = np.linalg.norm(block, axis=1)
        usable = is_whole[start : start + BLOCK_FRAMES] & (sizes > QUIETEST * library.level)
        sizes = np.maximum(sizes, 1e-9)
        like = (block @ usual) / sizes
        spread = np.sqrt(np.maximum(1 - 2 * like + shared, 1e-9))
        table = ((units @ block.T) / sizes - own[:, None] - like + shared) / (own_spread[:, None] * spread)
        table[:, ~usable] = 0.0
        highest = table.argmax(axis=1)
        values = np.where(is_sound, table[np.arange(len(queries)), highest], 0.0)
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
