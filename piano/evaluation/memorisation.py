"""Is it copied: the nearest training passage of every clip, held against what music reaches that was never learned.

A passage is a grid of pitch levels, over four seconds and again over two: the long one still finds a copy under other
music, the short one a copy that lasts for a quarter of a clip of ten seconds (benchmarks/copy_curve.py). Two passages
are compared by correlation, at every tenth of a second of the training music, so that neither level nor a small shift
in time hides a copy.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.music_folder import Song
from piano.evaluation.spectra import Array, mono_mix, pitch_magnitudes, unit_level
from piano.foundation.screen_text import counted

PASSAGE_SECONDS, SHORT_SECONDS = 4.0, 2.0
FRAME_SECONDS = 0.096
HOPS = {PASSAGE_SECONDS: 2.0, SHORT_SECONDS: 0.5}
"""Seconds from one passage of a clip to the next, by their length."""
LEAST_ALIKE = {PASSAGE_SECONDS: 0.0, SHORT_SECONDS: 0.8}
"""What the threshold of a copy is at the least, by seconds of a passage: two bars of one chord are alike by chance."""
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


class Usual(NamedTuple):
    """What passages of one length have in common."""

    passage: NDArray[np.float32]
    """Mean passage, of unit length, times how like it passages are on average [shape=(frames * pitches,)]"""
    level: float
    """Mean length of a passage as a vector."""


class Library(NamedTuple):
    """Training music as grids, end to end."""

    grid: NDArray[np.float32]
    """[shape=(frames, pitches)]"""
    usual: dict[float, "Usual"]
    """By seconds of a passage."""
    songs: list[str]
    starts: NDArray[np.int64]
    """First frame of each song, and the end of the last [shape=(songs + 1,)]"""


class Nearest(NamedTuple):
    """The training passage most like one clip."""

    similarity: float
    """Correlation of the two passages, -1 to 1."""
    song: str
    """File of the training music."""
    seconds: float
    """Where in it the passage begins."""
    clip_seconds: float
    """Where in the clip."""
    length: float = PASSAGE_SECONDS
    """Seconds of the passage."""


class Memorisation(NamedTuple):
    """What was found about a set of clips."""

    threshold: float
    """Similarity of four seconds above which a clip counts as copied."""
    short_threshold: float
    """The same of two seconds: short passages are more alike by chance."""
    copied_share: float
    median: float
    """Of the clips' similarities over four seconds."""
    held_out_median: float
    """The same of music that was never learned."""
    held_out_high: float
    """95th percentile of it."""
    nearest: list[Nearest]
    """For every clip: its four seconds, or two where only they are a copy."""

    def is_copy(self, nearest: Nearest) -> bool:
        """Whether a passage is more like the training music than music that was never learned can be."""
        return nearest.similarity > (self.threshold if nearest.length == PASSAGE_SECONDS else self.short_threshold)


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
        if len(grid) >= frames_of(PASSAGE_SECONDS):
            grids.append(grid)
            names.append(song.name)
    if not grids:
        raise ValueError(f"no training song lasts {PASSAGE_SECONDS:g} s")
    whole = np.concatenate(grids)
    starts = np.cumsum([0, *(len(grid) for grid in grids)])
    return Library(whole, {seconds: _usual(whole, seconds) for seconds in HOPS}, names, starts)


def frames_of(seconds: float) -> int:
    """Frames of the library that a passage has."""
    return round(seconds / FRAME_SECONDS)


def _usual(grid: NDArray[np.float32], seconds: float) -> Usual:
    """What the passages of a grid (frames, pitches) have in common."""
    frames = frames_of(seconds)
    mean = np.tile(grid.mean(axis=0), frames)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    spaced = np.lib.stride_tricks.sliding_window_view(grid, frames, axis=0)[::frames]
    passages = spaced.swapaxes(1, 2).reshape(len(spaced), -1)
    lengths = np.linalg.norm(passages, axis=1)
    likeness = float(((passages @ mean) / np.maximum(lengths, 1e-9)).mean())
    return Usual((likeness * mean).astype(np.float32), float(lengths.mean()))


def nearest_passages(
    library: Library,
    clips: Sequence[NDArray],
    sample_rate: int,
    *,
    seconds: float = PASSAGE_SECONDS,
    own: Sequence[Collection[str]] = (),
) -> list[Nearest]:
    """The training passage most like each clip, over the clip's passages of so many seconds, HOPS apart.

    Parameters
    ----------
    clips : sequence of arrays [shape=(channels, samples)]
        Four seconds or longer.
    seconds : float
        Length of a passage, one of HOPS.
    own : sequence of collections of str, optional
        For every clip the songs that are not looked at, because they are what it was cut from.

    Raises
    ------
    ValueError
        If a clip is too short.
    """
    frames, hop = frames_of(seconds), round(2 * HOPS[seconds] / FRAME_SECONDS)
    queries, owners, offsets = [], [], []
    for index, clip in enumerate(clips):
        grid = pitch_grid(clip, sample_rate)
        last = len(grid) - 2 * frames + 1
        if len(grid) < 2 * frames_of(PASSAGE_SECONDS) - 1:
            raise ValueError(f"clips must last {PASSAGE_SECONDS:g} s to look for copies")
        for start in sorted({*range(0, last + 1, hop), last}):
            for half in (0, 1):  # between two frames of the library lies another
                passage = grid[start + half :: 2][:frames]
                if len(passage) == frames:
                    queries.append(passage.ravel())
                    owners.append(index)
                    offsets.append((start + half) * FRAME_SECONDS / 2)
    is_own = np.array([[name in names for name in library.songs] for names in own]) if own else None
    best, place = _search(library, np.stack(queries), seconds, None if is_own is None else is_own[owners])
    found: list[Nearest] = []
    for index in range(len(clips)):
        rows = [row for row, owner in enumerate(owners) if owner == index]
        row = max(rows, key=lambda row: best[row])
        song = int(np.searchsorted(library.starts, place[row], side="right")) - 1
        begin = float(place[row] - library.starts[song]) * FRAME_SECONDS
        found.append(Nearest(float(best[row]), library.songs[song], begin, offsets[row], seconds))
    return found


def _search(
    library: Library, queries: Array, seconds: float, is_own: NDArray[np.bool_] | None
) -> tuple[Array, NDArray[np.int64]]:
    """Highest correlation of every query with any passage of the library, and its first frame.

    `is_own` (queries, songs) says which songs are not looked at.

    Both are brought to unit length, so that level does not matter, and the usual passage is taken off, so that what all
    music of this kind shares does not count.
    """
    size, frames = queries.shape[1], frames_of(seconds)
    usual, level = library.usual[seconds]
    shared = float(usual @ usual)
    lengths = np.linalg.norm(queries, axis=1)
    units = queries / np.maximum(lengths, 1e-9)[:, None]
    own = units @ usual
    own_spread = np.sqrt(np.maximum(1 - 2 * own + shared, 1e-9))
    is_sound = lengths > QUIETEST * level
    windows = np.lib.stride_tricks.sliding_window_view(library.grid, frames, axis=0)
    song_of = np.searchsorted(library.starts, np.arange(len(windows)), side="right") - 1
    is_whole = np.arange(len(windows)) + frames <= library.starts[song_of + 1]
    best, place = np.zeros(len(queries)), np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(windows), BLOCK_FRAMES):
        block = windows[start : start + BLOCK_FRAMES].swapaxes(1, 2).reshape(-1, size)
        sizes = np.linalg.norm(block, axis=1)
        usable = is_whole[start : start + BLOCK_FRAMES] & (sizes > QUIETEST * level)
        sizes = np.maximum(sizes, 1e-9)
        like = (block @ usual) / sizes
        spread = np.sqrt(np.maximum(1 - 2 * like + shared, 1e-9))
        table = ((units @ block.T) / sizes - own[:, None] - like + shared) / (own_spread[:, None] * spread)
        table[:, ~usable] = 0.0
        if is_own is not None:
            table[is_own[:, song_of[start : start + BLOCK_FRAMES]]] = 0.0
        highest = table.argmax(axis=1)
        values = np.where(is_sound, table[np.arange(len(queries)), highest], 0.0)
        better = values > best
        best[better], place[better] = values[better], start + highest[better]
    return best, place


def find_copies(
    library: Library,
    clips: Sequence[NDArray],
    held_out: Sequence[NDArray],
    sample_rate: int,
    *,
    own: Sequence[Collection[str]] = (),
    least: Mapping[float, float] = LEAST_ALIKE,
) -> Memorisation:
    """Which clips are nearer to the training music than music that was never learned.

    The threshold lies as far above the 95th percentile of the held-out clips as that lies above their median: about
    3.3 standard deviations if they are normal, and a copy or two among the held-out songs do not move it. Passages of
    four and of two seconds have a threshold each; a clip counts as copied where one of the two does.

    Parameters
    ----------
    clips, held_out : sequence of arrays [shape=(channels, samples)]
        Of the same length: a longer clip has more chances to be like something.
    own : sequence of collections of str, optional
        For every held-out clip the songs of the library that are not looked at: a clip of the training music stands for
        music that was never learned once its own recording is left out.
    least : mapping, optional
        By seconds of a passage, what the threshold is at the least.
    """
    usual = {seconds: _held_out(library, held_out, sample_rate, seconds, own) for seconds in HOPS}
    long, short = (nearest_passages(library, clips, sample_rate, seconds=seconds) for seconds in HOPS)
    (median, high, threshold), (_, _, short_threshold) = usual.values()
    threshold, short_threshold = max(threshold, least[PASSAGE_SECONDS]), max(short_threshold, least[SHORT_SECONDS])
    nearest = [
        brief if brief.similarity > short_threshold and passage.similarity <= threshold else passage
        for passage, brief in zip(long, short, strict=True)
    ]
    found = Memorisation(
        threshold=threshold,
        short_threshold=short_threshold,
        copied_share=0.0,
        median=float(np.median([passage.similarity for passage in long])),
        held_out_median=median,
        held_out_high=high,
        nearest=nearest,
    )
    return found._replace(copied_share=float(np.mean([found.is_copy(passage) for passage in nearest])))


def _held_out(
    library: Library, held_out: Sequence[NDArray], sample_rate: int, seconds: float, own: Sequence[Collection[str]]
) -> tuple[float, float, float]:
    """Median and 95th percentile of what music reaches that was never learned, and the threshold of a copy."""
    found = nearest_passages(library, held_out, sample_rate, seconds=seconds, own=own)
    median, high = (float(value) for value in np.percentile([passage.similarity for passage in found], (50, 95)))
    return median, high, min(high + max(high - median, 0.02), 0.98)
