"""What each music loss costs, forward and backward, in milliseconds and in log-mel spectra.

    python benchmarks/bench_losses.py
    python benchmarks/bench_losses.py --batch 16 --seconds 2 --sample-rate 16000 --threads 1

Alone: the loss from waveforms, as a script would call it. Shared: from features that are there already, as in a
training step. The last line is what a step pays for all music losses together. Times are medians of runs that take
turns, so that a busy machine slows all of them alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from piano.foundation.features import MusicFeatures, chroma, log_mel, loudness_db, music_features
from piano.loss_functions import (
    DISCRIMINATOR_TERMS,
    MUSIC_TERMS,
    StepOutputs,
    evaluate_terms,
    share_music_features,
)

LOGITS = 64


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description, example = (__doc__ or "").split("\n\n", maxsplit=1)
    parser = argparse.ArgumentParser(
        description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16, help="clips in a batch (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip (default: %(default)s)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="samples a second (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 2), help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each (default: %(default)s)")
    return parser.parse_args(argv)


def measure(works: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """Median milliseconds of forward and backward of each, in turns, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            value = work()
            if value.requires_grad:
                value.backward(retain_graph=True)
            times[name].append(1000.0 * (time.perf_counter() - begin))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    torch.set_num_threads(options.threads)
    samples, rate = round(options.seconds * options.sample_rate), options.sample_rate
    generator = torch.Generator().manual_seed(0)
    clips = (options.batch, options.channels, samples)
    real = 0.1 * torch.randn(*clips, generator=generator)
    fake = (0.05 * torch.randn(*clips, generator=generator)).requires_grad_()
    logits = torch.randn(options.batch, LOGITS, generator=generator).requires_grad_()
    outputs = StepOutputs(real, fake, rate, logits)
    shared = share_music_features(outputs)

    # Shared: the features are leaves, so that going back ends where the cost of the loss itself ends.
    assert isinstance(shared.fake, MusicFeatures)
    leaves = shared._replace(fake=MusicFeatures(*(part.detach().requires_grad_() for part in shared.fake)))
    works: dict[str, Callable[[], Tensor]] = {
        "log-mel": lambda: log_mel(fake, rate).mean(),
        "loudness": lambda: loudness_db(fake, rate).mean(),
        "chroma": lambda: chroma(fake, rate).square().mean(),
        "all features": lambda: music_features(fake, rate).chroma.square().mean(),
    }
    works |= {f"{name} | alone": lambda n=name: MUSIC_TERMS[n](outputs) for name in MUSIC_TERMS}
    works |= {f"{name} | shared": lambda n=name: MUSIC_TERMS[n](leaves) for name in MUSIC_TERMS}
    works |= {f"D {name} | shared": lambda n=name: DISCRIMINATOR_TERMS[n](leaves) for name in DISCRIMINATOR_TERMS}
    works["all music losses of a step"] = lambda: torch.stack(
        list(evaluate_terms(MUSIC_TERMS, outputs, dict.fromkeys(MUSIC_TERMS, 1.0)).values())
    ).sum()

    shape = f"{options.batch} x {options.seconds:g} s, {rate} Hz, {options.channels} channel(s)"
    print(f"{shape}, {options.threads} thread(s), {options.rounds} rounds\n")
    print(f"{'forward and backward':<38}{'ms':>9}{'log-mels':>11}")
    milliseconds = measure(works, options.rounds)
    for name, value in milliseconds.items():
        print(f"{name:<38}{value:>9.2f}{value / milliseconds['log-mel']:>11.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
