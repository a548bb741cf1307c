"""Does the effect meter of fine-tuning tell what happened? Twelve planted cases of each of its verdicts.

    python benchmarks/effect_meter.py

Nothing is trained: clips of one kind of music stand for what the model composed before, and what it composes after is

- moved: clips of the new kind, of pieces that are neither in the training music nor held back;
- not moved: other clips of the old kind;
- copied: clips as for moved, of which some are passages of the training music at another level and from another place.

The cases differ in which kind is the new one, in the pieces, in how many songs there are to learn from (one to six) and
in how many clips are composed (8 or 16). Exit status 1 where a verdict is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.planted_music import RATE, clips_of, made_songs, piano_songs
from piano.evaluation.effect import Effect, Side, measure_effect
from piano.evaluation.memorisation import build_library
from piano.evaluation.music_folder import Song

VERDICTS = ("moved", "not moved", "copied")
CASES = 12
SECONDS = 8.0
HELD_OUT = 2
REAL_CLIPS = 8
"""Of each side of the new music."""
COPIED = 3
"""Compositions of a copied case that are passages of the training music."""
GAIN = 0.3


class Kinds(NamedTuple):
    """Two kinds of music; no song of a kind is another's copy."""

    old: Sequence[Song]
    new: Sequence[Song]


def planted_case(kinds: Kinds, verdict: str, seed: int) -> Effect:
    """One case: which songs are learned, held back and composed is drawn from the seed."""
    random = np.random.default_rng(seed)
    count = (8, 16)[seed % 2]
    songs = [kinds.new[place] for place in random.permutation(len(kinds.new))]
    learned = songs[: 1 + seed % 6]
    held_out, others = songs[len(learned) : len(learned) + HELD_OUT], songs[len(learned) + HELD_OUT :]
    old = [clip for song in kinds.old for clip in clips_of(song, SECONDS, 8)]
    old = [old[place] for place in random.permutation(len(old))]
    new = [clip for song in others for clip in clips_of(song, SECONDS, 8)]
    new = [new[place] for place in random.permutation(len(new))]
    after = old[count : 2 * count] if verdict == "not moved" else new[:count]
    if verdict == "copied":
        for place in random.permutation(count)[:COPIED]:
            source = learned[random.integers(len(learned))].waveform
            begin = random.integers(0, source.shape[1] - round(SECONDS * RATE))
            after[place] = GAIN * source[:, begin : begin + round(SECONDS * RATE)]
    return measure_effect(
        old[:count], after, side_of(learned, is_learned=True), side_of(held_out), build_library(learned, RATE), RATE
    )


def side_of(songs: Sequence[Song], *, is_learned: bool = False) -> Side:
    """Clips of one side of the new music."""
    each = -(-REAL_CLIPS // len(songs))
    rows = [(clip, song.name) for song in songs for clip in clips_of(song, SECONDS, each)][
        : max(REAL_CLIPS, len(songs))
    ]
    files = [name for _, name in rows]
    return Side([clip for clip, _ in rows], files, [{name} for name in files] if is_learned else ())


def main(argv: list[str] | None = None) -> int:
    """Print every case; 1 if one is wrong."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    piano, melodies = piano_songs(12, 70.0), made_songs(12, 70.0)
    wrong = 0
    print(f"{'planted':10} {'new music':9} {'verdict':10} {'before':>7} {'after':>7}  difference         copied")
    for verdict in VERDICTS:
        for seed in range(CASES):
            is_piano = seed % 4 < 2
            kinds = Kinds(melodies, piano) if is_piano else Kinds(piano, melodies)
            found = planted_case(kinds, verdict, seed)
            wrong += found.verdict != verdict
            print(
                f"{verdict:10} {'piano' if is_piano else 'melodies':9} {found.verdict:10} {found.before:7.3f} "
                f"{found.after:7.3f}  [{found.gap.low:+.3f}, {found.gap.high:+.3f}]  {found.copied} of {found.clips}, "
                f"before {found.copied_before}",
                flush=True,
            )
    print(f"{len(VERDICTS) * CASES - wrong} of {len(VERDICTS) * CASES} are told as planted")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
