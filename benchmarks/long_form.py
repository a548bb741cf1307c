"""Does a long piece stay music? Its first and its last stretch held against real music, the same pieces in both.

    python benchmarks/long_form.py --checkpoints shipped --real dataset
    python benchmarks/long_form.py --checkpoints checkpoints --real ~/held_out --seconds 600

Each piece is one rollout from white noise: every window continues the one before.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.evaluation.bootstrap import Figure
from piano.evaluation.music_folder import read_excerpts
from piano.evaluation.ruler import Ruler, fit_ruler
from piano.evaluation.score_generator import Made, score_made
from piano.foundation.errors import run_command
from piano.foundation.model_folder import named_folder
from piano.foundation.runtime import sampling_dtype
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator

SHOWN = ("loudness", "key_clarity", "beat_strength", "polyphony", "onset_rate")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--checkpoints", type=named_folder, default=named_folder(Path("shipped")), help="(default: shipped)")
    add("--real", type=Path, required=True, help="music never learned from: files, or a data set (required)")
    add("--seconds", type=float, default=180.0, help="length of a piece (default: 180)")
    add("--part", type=float, default=20.0, help="length of the stretches compared (default: 20)")
    add("--count", type=int, default=24, help="pieces (default: 24)")
    add("--steps", default="auto", help="sampling steps (default: auto)")
    add("--threads", type=int, default=2, help="(default: 2)")
    add("--output", type=Path, help="write the figures here as JSON (default: only print)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Compose, cut, score, print."""
    options = parse_arguments(argv)
    torch.set_num_threads(options.threads)
    return run_command(lambda: compare(options))


def compare(options: argparse.Namespace) -> None:
    """Print one row for each stretch."""
    generator = load_generator(options.checkpoints, "best")
    excerpts = read_excerpts(
        options.real,
        sample_rate=generator.sample_rate,
        channels=generator.sound_channels,
        seconds=options.part,
        count=2 * options.count,
    )
    ruler = fit_ruler(excerpts.clips, list(excerpts.files), generator.sample_rate)
    pieces = [compose(generator, options, item) for item in tqdm(range(options.count), desc="composing", unit="piece")]
    part = round(options.part * generator.sample_rate)
    middle = (pieces[0].shape[1] - part) // 2
    stretches = {"first": 0, "middle": middle, "last": pieces[0].shape[1] - part}
    rows = {
        name: judge(ruler, [piece[:, begin : begin + part] for piece in pieces]) for name, begin in stretches.items()
    }
    print(f"{options.count} pieces of {options.seconds:g} s, stretches of {options.part:g} s; 95 % intervals")
    for name, figures in rows.items():
        shown = (f"{key} {mean:.3g} [{low:.3g}, {high:.3g}]" for key, (mean, low, high) in figures.items())
        print(f"{name:6s} {', '.join(shown)}")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1))


def compose(generator: VariationalAttentionModel, options: argparse.Namespace, item: int) -> np.ndarray:
    """One long piece (channels, samples)."""
    composer = Composer(generator, Sampling(steps=options.steps, dtype=sampling_dtype("cpu")))
    sounds = composer.stream(options.seconds, item=item)
    return torch.cat(list(sounds), dim=-1).float().numpy()


def judge(ruler: Ruler, clips: list[np.ndarray]) -> dict[str, Figure]:
    """Kernel score and a few single numbers of clips, each with its interval."""
    scores = score_made(ruler, Made(samples=clips, continuations=[], reconstructions=[])).samples
    figures = {"kernel_score": scores.sets.kernel_score}
    return figures | {name: scores.descriptors[name].mean for name in SHOWN}


if __name__ == "__main__":
    raise SystemExit(main())
