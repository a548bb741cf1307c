"""Two kinds of music that cost seconds to make: piano scores as a person might play them, and melodies out of sines.

The benchmarks that plant one kind of music in another (copy_curve.py, effect_meter.py) take theirs from here.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_prep.performance import perform
from data_prep.render_scores import BUILT_IN_SCORES, find_soundfont, read_score, synthesise
from piano.evaluation.music_folder import Song, level_song
from tests.make_audio import make_music

RATE = 16_000
PLAYED = ((0, 1.0), (5, 1.12))
"""Transposition in semitones and tempo of the performances of each score: the second is no copy of the first."""


def made_songs(count: int, seconds: float, *, first: int = 0) -> list[Song]:
    """Melodies of sines with harmonics, mono, at the level of prepared music."""
    seeds = range(first, first + count)
    return [Song(f"melody {seed}", level_song(make_music(seed, seconds, RATE), RATE)) for seed in seeds]


def piano_songs(count: int, seconds: float) -> list[Song]:
    """The beginnings of the built-in scores, then of the same transposed and faster, mono, at that level too."""
    soundfont, found = find_soundfont(), []
    scores = sorted(BUILT_IN_SCORES.glob("*.mid"))
    for number in range(count):
        transpose, tempo = PLAYED[number // len(scores)]
        score = read_score(scores[number % len(scores)])
        played = perform(score, np.random.default_rng(number), tempo=tempo, transpose=transpose)
        sound = synthesise(played, soundfont, sample_rate=RATE, max_seconds=seconds).mean(axis=0, keepdims=True)
        found.append(Song(f"{scores[number % len(scores)].stem} {transpose:+d}", level_song(sound, RATE)))
    return found


def clips_of(song: Song, seconds: float, count: int) -> list[np.ndarray]:
    """As many clips of a song as there is room for, up to `count`, evenly spread and without overlap."""
    samples = round(seconds * RATE)
    total = song.waveform.shape[1]
    room = min(count, total // samples)
    return [
        song.waveform[:, start : start + samples].copy()
        for start in (round((total - samples) * place / max(room - 1, 1)) for place in range(room))
    ]
