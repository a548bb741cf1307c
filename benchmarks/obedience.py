"""Does music that was asked for at a tempo have it? And how far can what measures tempo and key be trusted?

    musigan arrange-band --count 37 --seconds 40 --output known
    python benchmarks/obedience.py --known known                         # of the measuring itself
    python benchmarks/obedience.py --clips 200 [--checkpoints shipped]   # of a model

`arrange-band` writes beside each piece which tempo and key it has; of its modes the nearest of major and minor counts.
Asked are tempi between the slowest and the fastest of the training music. A tempo is hit within 4 %; half of it and
twice as much are counted apart, as the measuring takes one for the other, too. Intervals are Wilson's, of 95 in 100.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.evaluation.descriptors import Clip
from piano.evaluation.tempo_and_key import NOTES, Key, key_of, tempo_of, tempo_relation
from piano.foundation.audio_io import read_audio
from piano.play.blind import wilson
from piano.player import Player

RATE = 16_000
FLATS = {"Db": "C#", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb"}
MINOR = ("minor", "dorian", "phrygian", "aeolian")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=Path, help="folder that `musigan arrange-band` wrote")
    parser.add_argument("--clips", type=int, default=0, help="of the model (default: %(default)s)")
    parser.add_argument("--checkpoints", default="shipped", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a clip (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args(argv)
    if options.known:
        judge_the_measuring(options.known, options.seconds)
    if options.clips:
        judge_a_model(Player(options.checkpoints), options)
    return 0


def judge_the_measuring(folder: Path, seconds: float) -> None:
    """How often tempo and key of known pieces are found."""
    tempi, keys = Counter(), Counter()
    for told in sorted(folder.glob("*.json")):
        truth = json.loads(told.read_text())
        sound = read_audio(told.with_name(truth["file"]), sample_rate=RATE, channels=1)
        beats = 60.0 / float(np.median(np.diff(truth["beats"])))
        note, mode = truth["key"].split()
        key = Key(NOTES.index(FLATS.get(note, note)), mode in MINOR, 1.0)
        size = round(seconds * RATE)
        for begin in range(0, sound.shape[1] - size + 1, size):
            clip = Clip(sound[:, begin : begin + size], RATE)
            tempi[tempo_relation(beats, tempo_of(clip).beats_per_minute)] += 1
            keys[key.relation(key_of(clip))] += 1
    print(f"measuring, {seconds:g} s a clip: tempo {shares(tempi)}")
    print(f"  key {shares(keys)}")


def judge_a_model(player: Player, options: argparse.Namespace) -> None:
    """How often a tempo that was asked for is heard, and how often by chance."""
    slowest, fastest = (60.0 * beat for beat in player.generator.style.slowest_and_fastest())
    random = np.random.default_rng(options.seed)
    asked = random.uniform(slowest, fastest, options.clips)
    found = []
    for item, tempo in enumerate(tqdm(asked, unit="clip")):
        sound = player.generate(options.seconds, seed=options.seed, item=item, tempo=float(tempo))
        found.append(tempo_of(Clip(np.asarray(sound), player.sample_rate)).beats_per_minute)
    hit = Counter(tempo_relation(tempo, heard) for tempo, heard in zip(asked, found, strict=True))
    others = Counter(
        tempo_relation(tempo, heard) for tempo, heard in zip(asked, random.permutation(found), strict=True)
    )
    print(f"asked, {slowest:.0f} to {fastest:.0f} a minute: {shares(hit)}")
    print(f"  against another clip's tempo: {shares(others)}")


def shares(counts: Counter) -> str:
    """Each kind with its share of all, and the interval of the exact ones."""
    total = sum(counts.values())
    told = ", ".join(f"{name} {count / total:.0%}" for name, count in counts.most_common())
    low, high = wilson(counts["exact"], total)
    return f"{told} of {total} (exact: {low:.0%} to {high:.0%})"


if __name__ == "__main__":
    raise SystemExit(main())
