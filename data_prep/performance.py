"""How a person might play a score: rubato, phrases, rolled chords, uneven fingers, a pedal.

Pure functions from notes to notes; every random choice comes from the generator that is handed in.
"""

from typing import NamedTuple

import numpy as np

LOWEST_KEY, HIGHEST_KEY = 21, 108
"""The keys of a piano, as MIDI numbers."""
CHORD_SECONDS = 0.03
"""Notes written this close together are one chord."""
ROLL_SECONDS = 0.005
"""A hand strikes a chord from the bottom up, one finger this much after the other."""
JITTER_SECONDS = 0.008
"""Standard deviation of an onset around its time."""
RITARDANDO_SECONDS = 4.0
"""The end slows down over this long."""


class Note(NamedTuple):
    """One key held down."""

    start: float
    """Seconds from the beginning."""
    end: float
    """Seconds from the beginning; later than `start`."""
    key: int
    """MIDI number, 60 is the middle C."""
    velocity: int
    """How hard it was struck, 1 to 127."""


class PedalMove(NamedTuple):
    """The sustain pedal reaching a position."""

    seconds: float
    position: int
    """0 is up, 127 is down."""


class Performance(NamedTuple):
    """Everything a pair of hands and a foot do in one piece; a score read literally is one, too."""

    notes: list[Note]
    """In order of `start`."""
    pedal: list[PedalMove]
    """In order of `seconds`."""


def perform(score: Performance, random: np.random.Generator, *, tempo: float = 1.0, transpose: int = 0) -> Performance:
    """Play a score with slow rubato, shaped phrases, rolled chords, uneven fingers and a pedal.

    Parameters
    ----------
    score : Performance
        As `read_score` gives it.
    random : numpy.random.Generator
        Source of everything that differs between two performances.
    tempo : float
        Factor of speed; 2 is twice as fast.
    transpose : int
        Semitones; changed by octaves where the piece would leave the keyboard. A piece that spans too much of it to be
        moved is played as written.

    Returns
    -------
    Performance
        The same notes, in the same order for each key.
    """
    starts, ends, keys, velocities = (np.array(column, dtype=np.float64) for column in zip(*score.notes, strict=True))
    grid, bent = bend_time(ends.max(), random, tempo=tempo)
    chord, rank = group_chords(starts, keys)
    played_starts = np.interp(starts, grid, bent)
    dynamics = shape_dynamics(played_starts, keys, velocities, chord, random)
    jitter = np.clip(random.normal(0.0, JITTER_SECONDS, starts.size), -2 * JITTER_SECONDS, 2 * JITTER_SECONDS)
    played_starts = np.maximum(played_starts + rank * ROLL_SECONDS + jitter, 0.0)
    played_ends = np.maximum(np.interp(ends, grid, bent), played_starts + 0.04)
    played_ends = end_before_next_strike(played_starts, played_ends, keys)
    played_keys = keys.astype(int) + fit_to_keyboard(keys, transpose)
    notes = sorted(
        Note(float(start), float(end), int(key), int(velocity))
        for start, end, key, velocity in zip(played_starts, played_ends, played_keys, dynamics.round(), strict=True)
    )
    written_pedal = [PedalMove(float(np.interp(at, grid, bent)), position) for at, position in score.pedal]
    return Performance(notes, written_pedal or choose_pedal(notes, random))


def bend_time(seconds: float, random: np.random.Generator, *, tempo: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a rubato: the speed wanders by a few per cent and the end slows down.

    Returns
    -------
    grid, bent : ndarray [shape=(points,)]
        Written and played times in seconds; both rise strictly, so order is kept.
    """
    step = 0.25
    grid = np.arange(0.0, seconds + 2 * step, step)
    slowness = 0.05 * smooth_noise(grid.size, random)
    slowness -= slowness.mean()
    left = np.clip((grid - (seconds - RITARDANDO_SECONDS)) / RITARDANDO_SECONDS, 0.0, 1.0)
    slowness += 0.3 * left**2
    bent = np.concatenate([[0.0], np.cumsum(np.exp(slowness))[:-1]]) * step / tempo
    return grid, bent


def smooth_noise(points: int, random: np.random.Generator, *, width: int = 17) -> np.ndarray:
    """Noise of about unit variance that changes over `width` points [shape=(points,)]."""
    window = np.hanning(width + 2)[1:-1]
    window /= np.sqrt(np.square(window).sum())
    return np.convolve(random.normal(0.0, 1.0, points + width - 1), window, "valid")


def group_chords(starts: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the chord of every note and the place of the note in it, from the bottom.

    Parameters
    ----------
    starts, keys : ndarray [shape=(notes,)]
        In order of `starts`.

    Returns
    -------
    chord, rank : ndarray of int [shape=(notes,)]
    """
    chord = np.concatenate([[0], np.cumsum(np.diff(starts) > CHORD_SECONDS)])
    order = np.lexsort((keys, chord))
    first = np.searchsorted(chord[order], chord[order], side="left")
    rank = np.empty_like(chord)
    rank[order] = np.arange(chord.size) - first
    return chord, rank


def shape_dynamics(
    starts: np.ndarray, keys: np.ndarray, velocities: np.ndarray, chord: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Loudness of every note: the written one or a level, with swelling phrases and a singing upper voice.

    Parameters
    ----------
    starts, keys, velocities, chord : ndarray [shape=(notes,)]

    Returns
    -------
    ndarray [shape=(notes,)]
        Velocities within 12..124.
    """
    # About two fifths of typeset scores have no dynamics at all: every velocity is the same.
    is_flat = velocities.std() < 4.0
    base = np.full_like(velocities, random.uniform(54.0, 78.0)) if is_flat else velocities
    top_of_chord = np.zeros(int(chord.max()) + 1)
    np.maximum.at(top_of_chord, chord, keys)
    singing = 0.15 * (keys - keys.mean()) + np.where(keys == top_of_chord[chord], 4.0, -4.0)
    grid = np.arange(0.0, starts.max() + 1.0, 0.5)
    swell = 11.0 * np.interp(starts, grid, smooth_noise(grid.size, random))
    uneven = random.normal(0.0, 3.0, velocities.size)
    return np.clip(base + singing + swell + uneven, 12.0, 124.0)


def end_before_next_strike(starts: np.ndarray, ends: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Let go of a key shortly before it is struck again, or the release would cut the new note."""
    order = np.lexsort((starts, keys))
    limits = np.full(starts.size, np.inf)
    limits[order[:-1]] = np.where(np.diff(keys[order]) == 0, starts[order[1:]] - 0.005, np.inf)
    return np.maximum(np.minimum(ends, limits), starts + 0.001)


def fit_to_keyboard(keys: np.ndarray, transpose: int) -> int:
    """Move a transposition by octaves until every key lies on the piano; 0 if a piece spans too much for that."""
    fitting = [
        shift
        for shift in range(LOWEST_KEY - int(keys.min()), HIGHEST_KEY - int(keys.max()) + 1)
        if (shift - transpose) % 12 == 0
    ]
    return min(fitting, key=lambda shift: abs(shift - transpose), default=0)


def choose_pedal(notes: list[Note], random: np.random.Generator) -> list[PedalMove]:
    """A pedal changed at bass notes, in two performances of three; the third is played dry."""
    if random.random() < 1 / 3:
        return []
    moves: list[PedalMove] = []
    last = -np.inf
    for note in notes:
        if note.key < 55 and note.start - last > 0.9:
            moves += [PedalMove(max(note.start - 0.02, 0.0), 0), PedalMove(note.start + 0.06, 110)]
            last = note.start
    return [*moves, PedalMove(notes[-1].end + 0.1, 0)]
