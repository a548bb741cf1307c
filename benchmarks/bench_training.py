"""Seconds of audio learned per second in every stage, a full update of generator and discriminator among them, and
encoded per second.

    python benchmarks/bench_training.py --preset tiny
    python benchmarks/bench_training.py --preset small

Random weights and made-up music: cost, not quality. The figure of RAVE v1 (1.95 audio-s per s on two cores) was
measured elsewhere and stands here only for the ratio.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import piano.piano_pretrain  # noqa: F401  its stages, and those of piano_train, come into TRAIN
from piano.config_reader import load_config_from_yaml
from piano.foundation.runtime import start_runtime
from piano.piano_main import build_discriminator
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.stages import STAGE_NAMES, TRAIN
from piano.training.training_data import ENCODED_PAIRS, encode_pairs
from piano.training.training_run import TrainingRun

RAVE_RATE = 1.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=8, help="steps of each stage (default: 8)")
    parser.add_argument("--threads", default="auto", help="of the CPU (default: auto, measured)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    from piano.config_reader import parse_override

    with tempfile.TemporaryDirectory() as folder:
        overrides = {"checkpoint_folder": folder, "steps_per_epoch": options.steps, "save_after_nepochs": 10**6}
        overrides |= {"pretrain_epochs_g": 2, "pretrain_epochs_d": 1, "epochs": 3}
        for name in STAGE_NAMES:
            overrides |= {f"stages.{name}.share": 0.3, f"stages.{name}.steps_per_epoch": options.steps}
        overrides |= {"runtime.threads": options.threads if options.threads == "auto" else int(options.threads)}
        overrides |= dict(parse_override(text) for text in options.set)
        config = load_config_from_yaml(preset=options.preset, overrides=overrides)
        runtime = start_runtime(**config.runtime.model_dump(), seed=0)
        random = np.random.default_rng(0)
        shape = (8, 2, config.model.sound_channels, config.model.seq_len)
        music = (0.1 * random.standard_normal(shape)).astype(np.float32)
        generator = VariationalAttentionModel(**config.model.model_dump()).to(runtime.device)
        discriminator = build_discriminator(config, generator).to(runtime.device)
        run = TrainingRun(
            config,
            runtime,
            generator,
            discriminator,
            training_set=AudioDataset(music),
            validation_set=AudioDataset(music),
        )
        print(f"{options.preset}: {torch.get_num_threads()} threads, {runtime.precision}, {runtime.device}")
        for name in STAGE_NAMES:
            measure(run, name, TRAIN[name])
            if name == "autoencoder":
                measure_encoding(run)
        del run
        assert not any(Path(folder).glob("*.tmp"))


def measure(run: TrainingRun, name: str, train: Callable[[TrainingRun], None]) -> None:
    """Print the rate of one stage, the mean over steps with and without penalties; its first step is left out."""
    stamps: list[float] = []
    heard: list[float] = []
    original, usual = run.record, run.settings(name).frames

    def record(terms: Mapping[str, Tensor | float], *, frames: int | None = None) -> None:
        original(terms, frames=frames)
        stamps.append(time.perf_counter())
        heard.append(run.batch_size(name) * (frames or usual) / run.generator.frames_per_second)

    run.record = record
    train(run)
    run.record = original
    seconds = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    rate = float(np.mean(heard[1:])) / seconds
    versus = f", {rate / RAVE_RATE:.1f} x RAVE v1's update" if name == "joint" else ""
    print(f"  {name:12s} {rate:8.1f} audio-s per s ({1e3 * seconds:.0f} ms a step{versus})", flush=True)


def measure_encoding(run: TrainingRun) -> None:
    """Print the rate at which music becomes latents, once for every run; the first batch is left out."""
    pairs, dataset = 8 * ENCODED_PAIRS, run.data.sets["training"]
    stamps = []
    run.generator.eval()
    for _ in encode_pairs(run.generator, dataset, [pair % len(dataset) for pair in range(pairs)], run.runtime):
        stamps.append(time.perf_counter())
    run.generator.train()
    seconds = float(np.median(np.diff(stamps)))
    rate = ENCODED_PAIRS * dataset.samples / run.generator.sample_rate / seconds
    print(f"  {'encoding':12s} {rate:8.1f} audio-s per s", flush=True)


if __name__ == "__main__":
    main()
