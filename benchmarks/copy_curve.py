"""How much of a song must lie in a clip before the search for copies sees it, as a share of the time and of the level.

    python benchmarks/copy_curve.py

Clips of music that was never learned get a passage of the training music, at another level and at a random place: for
5 to 50 % of their time in its place, or all the time under them, with 5 to 50 % of the power. The share of clips that
is called copied is the curve; at 0 % it is the false alarms. Exit status 1 where fewer than nine of ten copies of a
quarter of the time are seen, or where more than one of ten clips without a copy is called one. docs/ruler.md has the
figures.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.planted_music import RATE, clips_of, made_songs, piano_songs
from piano.evaluation.memorisation import build_library, find_copies
from piano.evaluation.music_folder import Song

SHARES = (0.0, 0.05, 0.1, 0.25, 0.5)
GAIN = 0.4
"""Of a passage that takes the place of other music: a copy need not be as loud as what was learned."""
LEARNED, HELD_OUT = 6, 6
CLIPS_A_SONG = 4


def in_time(clip: np.ndarray, song: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A clip (channels, samples) with a passage of a song in its place for a share of its time."""
    length = round(share * clip.shape[1])
    begin, place = random.integers(0, song.shape[1] - length), random.integers(0, clip.shape[1] - length + 1)
    planted = clip.copy()
    planted[:, place : place + length] = GAIN * song[:, begin : begin + length]
    return planted


def in_level(clip: np.ndarray, song: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A clip (channels, samples) under which a song lies all the time, with a share of the power."""
    begin = random.integers(0, song.shape[1] - clip.shape[1])
    passage = song[:, begin : begin + clip.shape[1]]
    return (np.sqrt(share) * passage + np.sqrt(1.0 - share) * clip).astype(np.float32)


WAYS = {"time": in_time, "level": in_level}


def detection(songs: Sequence[Song], seconds: float, shares: Sequence[float] = SHARES) -> dict[str, dict[float, float]]:
    """For each of WAYS and each share, the share of clips that is called copied.

    Parameters
    ----------
    songs : sequence of Song
        The first LEARNED of them are the training music, HELD_OUT more say what likeness is usual, the rest are mixed
        into.
    seconds : float
        Of a clip.
    """
    learned, rest = songs[:LEARNED], songs[LEARNED:]
    library = build_library(learned, RATE)
    held_out, clips = (
        [clip for song in part for clip in clips_of(song, seconds, CLIPS_A_SONG)]
        for part in (rest[:HELD_OUT], rest[HELD_OUT:])
    )
    random = np.random.default_rng(0)
    found: dict[str, dict[float, float]] = {}
    for way, plant in WAYS.items():
        for share in shares:
            planted = [
                plant(clip, learned[place % LEARNED].waveform, share, random) for place, clip in enumerate(clips)
            ]
            found.setdefault(way, {})[share] = find_copies(library, planted, held_out, RATE).copied_share
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the curve; 1 if it is not what it should be."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    is_good = True
    print(f"{'music':8} {'clip':>5} {'share of':9}", *(f"{share:6.0%}" for share in SHARES))
    piano = piano_songs(24, 85.0)
    del piano[12:18]  # the learned pieces in another key: some of their passages are the same notes
    for kind, songs in (("melodies", made_songs(18, 85.0)), ("piano", piano)):
        for seconds in (10.0, 20.0):
            found = detection(songs, seconds)
            for way, row in found.items():
                print(f"{kind:8} {seconds:4.0f}s {way:9}", *(f"{row[share]:6.0%}" for share in SHARES), flush=True)
            is_good &= found["time"][0.25] >= 0.9 and found["time"][0.0] <= 0.1
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
