"""RAVE's half of the comparisons: runs in the interpreter where RAVE is installed, and imports nothing of this project.

    RAVE_PYTHON peer_rave_worker.py train --minutes 10 --dataset training_set.npy --clips clips.npy --output out.npy
    RAVE_PYTHON peer_rave_worker.py speed --models v1 v2 --seconds 10

Started by peer_rave.py and peer_speed.py, whose --help says how to install RAVE. The model, its losses, optimisers,
schedules and augmentations are RAVE's own (its gin configuration, its `training_step`); only Lightning's loop is
replaced by a plain one that looks at the clock. A JSON line on stdout is the result, progress goes to stderr.
"""

import argparse
import json
import logging
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

FRAME_SAMPLES = 2048
"""16 PQMF bands times the encoder's ratios of 4, 4, 4 and 2: lengths must be a multiple of it."""
PHASE_MANGLE_SHARE = 0.8
REPORT_SECONDS = 15.0


def build_rave(name: str, sample_rate: int) -> Any:
    """A mono RAVE model with random weights, of one of its own configurations (v1, v2, v2_small)."""
    import gin  # pyright: ignore[reportMissingImports]
    import rave  # pyright: ignore[reportMissingImports]

    gin.clear_config()
    gin.parse_config_files_and_bindings([f"{name}.gin"], [f"SAMPLING_RATE = {sample_rate}"])
    return rave.RAVE(n_channels=1)


def draw_batch(pairs: np.ndarray, batch: int, samples: int, *, sample_rate: int, draws: np.random.Generator):
    """Random crops [shape=(batch, 1, samples)] of pairs [shape=(pairs, 2, 1, segment)], augmented as RAVE does it."""
    from rave.dataset import random_phase_mangle  # pyright: ignore[reportMissingImports]
    from rave.transforms import Dequantize  # pyright: ignore[reportMissingImports]

    dequantize = Dequantize(16)
    crops = []
    for index in draws.integers(len(pairs), size=batch):
        music = pairs[index, :, 0].reshape(-1)
        start = int(draws.integers(len(music) - samples + 1))
        crop = np.array(music[start : start + samples], dtype=np.float32)
        if draws.random() < PHASE_MANGLE_SHARE:
            crop = random_phase_mangle(crop, 20, 2000, 0.99, sample_rate)
        crops.append(dequantize(crop).astype(np.float32))
    return torch.from_numpy(np.stack(crops)[:, None])


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train for the minutes given, then write reconstructions of the clips (clips, samples)."""
    import rave  # pyright: ignore[reportMissingImports]

    model = build_rave(options.model, options.sample_rate)
    pairs = np.load(options.dataset, mmap_mode="r")
    draws = np.random.default_rng(options.seed)
    (generator_plan, discriminator_plan) = model.configure_optimizers()
    optimizers = (generator_plan["optimizer"], discriminator_plan["optimizer"])
    scheduler = generator_plan["lr_scheduler"]["scheduler"]
    losses: dict[str, float] = {}
    model.optimizers = lambda: optimizers  # what Lightning's Trainer would have given it
    model.log = lambda name, value: None
    model.log_dict = lambda values: losses.update(
        {name: float(torch.as_tensor(value).detach()) for name, value in values.items()}
    )
    beta = rave.BetaWarmupCallback()
    model.train()
    steps, told, began = 0, 0.0, time.monotonic()
    while (seconds := time.monotonic() - began) < 60 * options.minutes:
        waveforms = draw_batch(pairs, options.batch, options.samples, sample_rate=options.sample_rate, draws=draws)
        model.warmed_up = steps >= model.warmup  # its phase 1 lasts a million steps
        beta.on_train_batch_start(None, model, waveforms, steps)
        model.training_step(waveforms, steps)
        scheduler.step()
        steps += 1
        if seconds - told > REPORT_SECONDS:
            told = seconds
            rate = steps * options.batch * options.samples / options.sample_rate / seconds
            shown = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            left = 60 * options.minutes - seconds
            print(f"RAVE step {steps}: {shown}, {rate:.1f} audio-s/s, {left:.0f} s left", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    np.save(options.output, reconstruct(model, np.load(options.clips)))
    audio = steps * options.batch * options.samples / options.sample_rate
    return {
        "seconds": seconds,
        "steps": steps,
        "audio_seconds_per_second": audio / seconds,
        "parameters": sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters()),
        "losses": losses,
    }


@torch.no_grad()
def reconstruct(model: Any, clips: np.ndarray) -> np.ndarray:
    """What RAVE makes of clips (clips, samples), by the mean of its posterior."""
    model.eval()
    samples = clips.shape[-1]
    outputs = []
    for clip in clips:
        padded = np.pad(clip, (0, -samples % FRAME_SAMPLES)).astype(np.float32)
        mean = model.encode(torch.from_numpy(padded)[None, None]).chunk(2, 1)[0]
        outputs.append(model.decode(mean)[0, 0, :samples].numpy())
    return np.stack(outputs)


@torch.no_grad()
def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of sound decoded per second, random weights, best of some runs."""
    rates = {}
    for name in options.models:
        model = build_rave(name, options.sample_rate).eval()
        frames = round(options.seconds * options.sample_rate / FRAME_SAMPLES)
        latents = torch.randn(1, model.latent_size, frames)
        times = []
        for _ in range(options.runs + 1):
            begin = time.perf_counter()
            samples = model.decode(latents).shape[-1]
            times.append(time.perf_counter() - begin)
        rates[name] = samples / options.sample_rate / min(times[1:])
        print(f"RAVE {name}: {rates[name]:.1f} x real time", file=sys.stderr, flush=True)
    return rates


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    description, example, *notes = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description="\n\n".join([description, *notes]),
        epilog="examples:\n" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    trainer, racer = commands.add_parser("train"), commands.add_parser("speed")
    for command in (trainer, racer):
        command.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
        command.add_argument("--sample-rate", type=int, default=16_000, help="in Hz (default: %(default)s)")
    trainer.add_argument("--model", default="v1", help="one of RAVE's configurations (default: %(default)s)")
    trainer.add_argument("--minutes", type=float, required=True, help="budget of training (required)")
    trainer.add_argument("--dataset", type=Path, required=True, help="training_set.npy (required)")
    trainer.add_argument("--clips", type=Path, required=True, help="npy (clips, samples) to rebuild (required)")
    trainer.add_argument("--output", type=Path, required=True, help="npy for the reconstructions (required)")
    trainer.add_argument("--batch", type=int, default=8, help="crops of a step (default: %(default)s)")
    trainer.add_argument("--samples", type=int, default=131_072, help="of a crop (default: %(default)s)")
    trainer.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    racer.add_argument("--models", nargs="+", default=["v1", "v2"], help="(default: v1 v2)")
    racer.add_argument("--seconds", type=float, default=10.0, help="decoded at once (default: %(default)s)")
    racer.add_argument("--runs", type=int, default=3, help="runs of each timing (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train and reconstruct, or time the decoder."""
    options = parse_arguments(argv)
    torch.set_num_threads(options.threads)
    if options.command == "train":
        torch.manual_seed(options.seed)
        random.seed(options.seed)  # RAVE's augmentation draws from here
        result = train(options)
    else:
        result = speed(options)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)  # gin complains of every folder where a configuration is not
    raise SystemExit(main())
