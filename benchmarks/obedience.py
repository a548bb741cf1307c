"""Does music that was asked for at a tempo, in a key, in a metre have it? At what cost? Can the measuring be trusted?

    musigan arrange-band --count 37 --seconds 40 --output known
    python benchmarks/obedience.py --known known                         # of the measuring itself
    musigan render-scores --scores runs/scores/validation --max-seconds 60 --output pianos
    python benchmarks/obedience.py --known pianos --scores runs/scores/validation
    python benchmarks/obedience.py --clips 200 [--checkpoints shipped] [--real MUSIC]

`arrange-band` writes beside each piece which tempo, key and bars it has; of its modes the nearest of major and minor
counts. Of rendered scores the bars are known, where all of a piece has the same. Bars of three beats are told from
those of two or four, counted at the tempo that is heard. Asked are 3/4 and 4/4 by turns, tempi between those that are
heard in nine tenths of the training music, and all 24 keys, evenly; with --usual those of styles of the training
music, so that what is frequent there is asked for often. A tempo is hit within 4 %; half of it and twice as much are
counted apart, as the measuring takes one for the other, too. So are the relative key and those a fifth away. With
music that was never learned from, clips without a wish and with each are scored against it: their quality is the
ratio of their distances, 1 as good, above 1 better. Intervals are of 95 in 100, Wilson's.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.evaluation.descriptors import Clip
from piano.evaluation.music_folder import read_excerpts
from piano.evaluation.ruler import Ruler, fit_ruler
from piano.evaluation.score_generator import Made, score_made
from piano.evaluation.tempo_and_key import bar_of, key_of, tempo_of, tempo_relation
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.keys import KEYS, Key, nearest_key
from piano.loops import Meter
from piano.play.blind import wilson
from piano.player import Player

RATE = 16_000
WISHES = {
    "nothing": (),
    "tempo": ("tempo",),
    "key": ("key",),
    "both": ("tempo", "key"),
    "meter": ("meter",),
    "all": ("tempo", "key", "meter"),
}
MINOR = ("minor", "dorian", "phrygian", "aeolian")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=Path, help="folder that `musigan arrange-band` wrote")
    parser.add_argument("--scores", type=Path, help="of --known: the scores that were rendered to it")
    parser.add_argument(
        "--wishes", nargs="+", choices=WISHES, default=list(WISHES), help="what is asked for (default: all of these)"
    )
    parser.add_argument("--clips", type=int, default=0, help="of the model, for each wish (default: %(default)s)")
    parser.add_argument("--checkpoints", default="shipped", help="(default: %(default)s)")
    parser.add_argument("--real", type=Path, help="music that the model never learned from, for the quality")
    parser.add_argument("--usual", action="store_true", help="ask for what the training music has, as often")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a clip (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args(argv)
    if options.known:
        judge_the_measuring(options.known, options.seconds, options.scores)
    if options.clips:
        judge_a_model(Player(options.checkpoints), options)
    return 0


def judge_the_measuring(folder: Path, seconds: float, scores: Path | None) -> None:
    """How often tempo, key and bars of known pieces are found."""
    tempi, keys, bars = Counter(), Counter(), {2: Counter(), 3: Counter()}
    size = round(seconds * RATE)
    if scores:
        for sound in find_audio_files(folder):
            beats = bars_of_score(scores / f"{sound.stem.rpartition('-take')[0]}.mid")
            if beats is None:
                continue
            for clip in clips_of(read_audio(sound, sample_rate=RATE, channels=1), size):
                heard = bar_of(clip, tempo_of(clip).beats_per_minute).beats
                bars[beats]["exact" if heard == beats else "other"] += 1
        told_bars("measuring", bars)
        return
    for told in sorted(folder.glob("*.json")):
        truth = json.loads(told.read_text())
        sound = read_audio(told.with_name(truth["file"]), sample_rate=RATE, channels=1)
        beats = 60.0 / float(np.median(np.diff(truth["beats"])))
        note, mode = truth["key"].split()
        key = Key(Key.read(note).tonic, mode in MINOR)
        bar = 3 if truth["beats_per_bar"] == 3 else 2
        for clip in clips_of(sound, size):
            tempo = tempo_of(clip).beats_per_minute
            tempi[tempo_relation(beats, tempo)] += 1
            keys[key.relation(key_of(clip).key)] += 1
            bars[bar]["exact" if bar_of(clip, tempo).beats == bar else "other"] += 1
    print(f"measuring, {seconds:g} s a clip: tempo {shares(tempi)}")
    print(f"  key {shares(keys)}")
    told_bars("", bars)


def clips_of(sound: NDArray[np.float32], size: int) -> Iterator[Clip]:
    """Parts of so many samples, one after the other."""
    for begin in range(0, sound.shape[1] - size + 1, size):
        yield Clip(sound[:, begin : begin + size], RATE)


def bars_of_score(path: Path) -> int | None:
    """3 or 2, where all bars of a score have three beats, or two or four; else None."""
    if not path.is_file():
        return None
    told = [message for message in mido.MidiFile(path) if message.type == "time_signature"]
    found = {Meter(each.numerator, each.denominator).heard_beats for each in told}
    beats = found.pop() if len(found) == 1 else 0
    return {2: 2, 4: 2, 3: 3}.get(beats)


def told_bars(name: str, bars: dict[int, Counter]) -> None:
    """A line for bars of three and one for others."""
    for beats, counts in bars.items():
        if counts:
            print(f"{name}  bars of {'three' if beats == 3 else 'two or four'}: {shares(counts)}")


def judge_a_model(player: Player, options: argparse.Namespace) -> None:
    """How often what was asked for is heard, how often by chance, and how good the music is."""
    style, random = player.generator.style, np.random.default_rng(options.seed)
    slowest, fastest = (60.0 * beat for beat in style.slowest_and_fastest())
    tempi = random.uniform(slowest, fastest, options.clips).tolist()
    keys = [sorted(KEYS)[place % len(KEYS)] for place in random.permutation(options.clips)]
    if options.usual:
        drawn = random.integers(len(style.anchors), size=options.clips)
        tempi = (60.0 * style.heard_beats()[drawn]).tolist()
        keys = [nearest_key(classes)[0] for classes in style.chroma_of(style.anchors)[drawn].numpy()]
    meters = [("3/4", "4/4")[place % 2] for place in range(options.clips)]
    each = {"tempo": tempi, "key": [key.name for key in keys], "meter": meters}
    names: list[str] = list(options.wishes)
    if options.real and "nothing" not in names:
        names.insert(0, "nothing")  # for the quality
    wishes = {
        name: [{part: each[part][place] for part in WISHES[name]} for place in range(options.clips)] for name in names
    }
    clips = {name: compose(player, options, name, asked) for name, asked in wishes.items()}
    print(f"{options.clips} clips of {options.seconds:g} s for each wish, {slowest:.0f} to {fastest:.0f} a minute")
    heard = {
        name: [tempo_of(Clip(clip, player.sample_rate)).beats_per_minute for clip in clips[name]] for name in clips
    }
    found = {name: [key_of(Clip(clip, player.sample_rate)).key for clip in clips[name]] for name in clips}
    for name in wishes:
        hit = Counter(tempo_relation(asked, tempo) for asked, tempo in zip(tempi, heard[name], strict=True))
        print(f"  tempo, asked for {name}: {shares(hit)}")
    for name in wishes:
        hit = Counter(asked.relation(key) for asked, key in zip(keys, found[name], strict=True))
        print(f"  key, asked for {name}: {shares(hit)}")
    for name in wishes:
        bars = {2: Counter(), 3: Counter()}
        for clip, tempo, meter in zip(clips[name], heard[name], meters, strict=True):
            asked = 3 if meter == "3/4" else 2
            bars[asked]["exact" if bar_of(Clip(clip, player.sample_rate), tempo).beats == asked else "other"] += 1
        told_bars(f"  metre, asked for {name}:", bars)
    if options.real:
        excerpts = read_excerpts(
            options.real,
            sample_rate=player.sample_rate,
            channels=player.channels,
            seconds=options.seconds,
            count=options.clips,
        )
        score_all(fit_ruler(excerpts.clips, list(excerpts.files), player.sample_rate), clips)


def compose(player: Player, options: argparse.Namespace, name: str, asked: list[dict]) -> list[NDArray[np.float32]]:
    """A clip for each wish."""
    began, made = time.perf_counter(), []
    for item, wish in enumerate(tqdm(asked, unit="clip", desc=name)):
        made.append(np.asarray(player.generate(options.seconds, seed=options.seed, item=item, **wish)))
    print(f"asked for {name}: {len(made) * options.seconds / (time.perf_counter() - began):.1f} times real time")
    return made


def score_all(ruler: Ruler, clips: dict[str, list[NDArray[np.float32]]]) -> None:
    """The distance of each kind of clips to real music, against that of those without a wish."""
    usual = None
    for name, made in clips.items():
        scores = score_made(ruler, Made(samples=made, continuations=[], reconstructions=[])).samples
        mean, low, high = scores.sets.kernel_score
        usual = usual or mean
        print(f"  score asked for {name}: {mean:.3f} [{low:.3f}, {high:.3f}], quality {usual / mean:.2f}")


def shares(counts: Counter) -> str:
    """Each kind with its share of all, and the interval of the exact ones."""
    total = sum(counts.values())
    told = ", ".join(f"{name} {count / total:.0%}" for name, count in counts.most_common())
    low, high = wilson(counts["exact"], total)
    return f"{told} of {total} (exact: {low:.0%} to {high:.0%})"


if __name__ == "__main__":
    raise SystemExit(main())
