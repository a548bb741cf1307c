"""Are loops exact, is a file outside its regions untouched, and are the seams of both as smooth as music?

    python benchmarks/loops_and_infills.py --real FOLDER [--checkpoints shipped] [--loops 100] [--infills 50]

Loops: 1 to 8 bars at 60 to 180 a minute, in 4/4 and 3/4. Their seam is looked at where the loop begins again, and
where the part that was composed anew begins; for comparison, at other beats of the same loops. Infills: in a file of
real music each, of 0.5 to 4 s, with at least a second on both sides. A seam is as smooth as music where its
`click_ratio` (evaluation/continuations.py) is no higher than that of 19 of 20 random places of real music; the share
between the 5th and the 95th of 100 is told, too, of which real music has 90 %. Key, tempo and timbre of what was
filled in are held against what is before it, and before another.
Pictures of three loops, each four times in a row, go to --output, with the sounds.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.composer import HISTORY_PART
from piano.evaluation.continuations import agreement, click_ratio, click_ratios_of_music
from piano.evaluation.pictures import constant_q_grid
from piano.foundation.audio_io import find_audio_files, read_audio, write_audio
from piano.loops import LoopForm, Meter, anew_samples
from piano.player import Player

AROUND_SECONDS = 2.0
"""Of a seam that are looked at."""
INNER_BEATS = 4
"""Of a loop, for comparison: it begins on a beat, where notes begin, and random places of music are none."""


class Band(NamedTuple):
    """Click ratios of real music: the 5th and the 95th of 100."""

    low: float
    high: float

    def told(self, ratios: list[float]) -> str:
        """How many seams are as smooth as music, and how many lie within."""
        smooth = sum(ratio <= self.high for ratio in ratios)
        within = sum(self.low <= ratio <= self.high for ratio in ratios)
        return f"{smooth} of {len(ratios)} as smooth as music, {within} within; median {statistics.median(ratios):.2f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder of music that the model never learned from")
    parser.add_argument("--checkpoints", default="shipped", help="(default: %(default)s)")
    parser.add_argument("--loops", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--infills", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder for pictures and sounds (default: not kept)")
    options = parser.parse_args(argv)
    player, files = Player(options.checkpoints), find_audio_files(options.real)
    clips = [music(player, path)[:, : 20 * player.sample_rate] for path in files[:24]]
    band = Band(*np.percentile(click_ratios_of_music(clips, player.sample_rate, seed=options.seed), (5, 95)))
    print(f"real music: click ratio {band.low:.2f} to {band.high:.2f}")
    failed = look_at_loops(player, band, options) if options.loops else 0
    failed += look_at_infills(player, files, band, options) if options.infills else 0
    return 1 if failed else 0


def music(player: Player, path: Path) -> NDArray[np.float32]:
    """A file in the model's form (channels, samples)."""
    return read_audio(path, sample_rate=player.sample_rate, channels=player.channels)


def look_at_loops(player: Player, band: Band, options: argparse.Namespace) -> int:
    """A line about loops; returns how many are not exact."""
    random = np.random.default_rng(options.seed)
    again, anew, beats, exact, shown, seconds = [], [], [], 0, {}, 0.0
    window = player.generator.latent_seq_len // HISTORY_PART * player.generator.hop_samples
    began = time.monotonic()
    for number in range(options.loops):
        bars, tempo = int(random.integers(1, 9)), float(np.round(random.uniform(60.0, 180.0), 1))
        meter = ("4/4", "3/4")[number % 2]
        loop = np.asarray(player.loop(bars, tempo, meter=meter, seed=options.seed, item=number))
        form = LoopForm(bars, tempo, Meter.read(meter), player.sample_rate)
        exact += loop.shape[1] == round(form.quarters * 60.0 / tempo * player.sample_rate)
        seconds += loop.shape[1] / player.sample_rate
        again.append(seam(loop, 0, player.sample_rate))
        anew.append(seam(loop, form.samples - anew_samples(form, window), player.sample_rate))
        inner = np.random.default_rng([options.seed, number]).permutation(np.arange(1, round(form.quarters)))[
            :INNER_BEATS
        ]
        places = [round(beat * 60.0 / tempo * player.sample_rate) for beat in inner]
        whole = [place for place in places if place < form.samples - anew_samples(form, window)]
        beats += [seam(loop, place, player.sample_rate) for place in whole]
        if len(shown) < 3:
            shown[f"{bars} bars of {meter} at {tempo:g}, four times"] = np.tile(loop, 4)
    took = time.monotonic() - began
    print(f"loops: {exact} of {options.loops} exact, {seconds / took:.1f} s of loops a second")
    print(f"  where it begins again: {band.told(again)}")
    print(f"  other beats of the same loops, composed straight on: {band.told(beats)}")
    print(f"  where its end was composed anew: {band.told(anew)}")
    if options.output and shown:
        options.output.mkdir(parents=True, exist_ok=True)
        for number, sound in enumerate(shown.values()):
            write_audio(options.output / f"loop_{number}_four_times.wav", sound, player.sample_rate)
        constant_q_grid(shown, player.sample_rate, options.output / "loops.png")
    return options.loops - exact


def seam(loop: NDArray[np.float32], place: int, sample_rate: int) -> float:
    """The click ratio at a sample of a loop that goes round."""
    around = round(AROUND_SECONDS * sample_rate)
    turns = -(-2 * around // loop.shape[1]) + 2
    long = np.tile(loop, turns)
    middle = (turns // 2) * loop.shape[1] + place
    return click_ratio(long[:, middle - around : middle + around], sample_rate, around)


def look_at_infills(player: Player, files: list[Path], band: Band, options: argparse.Namespace) -> int:
    """A line about infills; returns how many files are changed outside their region."""
    random = np.random.default_rng(options.seed + 1)
    ratios, untouched, before, inside, filled = [], 0, [], [], 0.0
    began = time.monotonic()
    for number in range(options.infills):
        path = files[number % len(files)]
        original, rate = soundfile.read(path, dtype="float32", always_2d=True)
        seconds = random.uniform(0.5, max(min(4.0, len(original) / rate - 2.0), 0.6))
        begin = random.uniform(1.0, max(len(original) / rate - seconds - 1.0, 1.01))
        sound = np.asarray(player.infill(path, [(begin, begin + seconds)], seed=options.seed, item=number))
        first, last = round(begin * rate), round((begin + seconds) * rate)
        outside = np.r_[0:first, last : len(original)]
        untouched += np.array_equal(sound[:, outside], original.T[:, outside])
        around = round(AROUND_SECONDS * rate)
        for place in (first, last):
            ratios.append(click_ratio(sound[:, max(place - around, 0) : place + around], rate, min(place, around)))
        context = slice(max(first - 4 * rate, 0), last + 4 * rate)
        before.append(sound[:, context.start : first])
        inside.append(sound[:, first:last])
        filled += seconds
        if options.output and number < 3:
            options.output.mkdir(parents=True, exist_ok=True)
            write_audio(options.output / f"infill_{number}.wav", sound[:, context], rate)
    took = time.monotonic() - began
    print(f"infills: {untouched} of {options.infills} untouched outside, {filled / took:.1f} s filled a second")
    print(f"  seams: {band.told(ratios)}")
    for aspect, found in agreement(before, inside, rate, seed=options.seed).items():
        print(f"  {aspect}: own surroundings {found.own:.2f}, another's {found.others:.2f}, p {found.p_value:.4f}")
    return options.infills - untouched


if __name__ == "__main__":
    raise SystemExit(main())
