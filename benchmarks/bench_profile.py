"""Where the time of composing goes: PyTorch's own loops beside the compiled ones, in one run.

    python benchmarks/bench_profile.py shipped --settings 1,0 1,2 8,4
    python benchmarks/bench_profile.py mixed --settings 1,0 16,2 --threads 1

The two are measured in turns, and the best turn of each counts: other programs slow both down. Steps come before
iterations. Processor time is that of all threads.
"""

import argparse
import functools
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch

from piano.composer import Composer, Sampling
from piano.foundation import compiled, phase
from piano.foundation.model_folder import named_folder
from piano.foundation.runtime import sampling_dtype
from piano.utilities import load_generator

PARTS = {
    "attention": (Composer, "integrate"),
    "decoder": (Composer, "_decode"),
    "scatter, levels, stereo": (Composer, "finish"),
    "phase": (phase.PhaseVocoder, "push"),
    "  peaks": (phase._SinglePass, "advance"),
    "  into the spectrum": (phase._Iteration, "project"),
    "  nearest spectrum": (phase._Iteration, "impose"),
    "  overlap-add": (phase, "_overlap_add"),
}
"""What is told, and the function that does it; those further in are part of the one before."""

Seconds = defaultdict[str, float]


class Turn(NamedTuple):
    """One piece of music, made once."""

    seconds: float
    processor_seconds: float
    parts: Seconds


def timed(parts: Seconds) -> None:
    """Let every part add its seconds to `parts`, in this process from now on."""
    for name, (owner, function) in PARTS.items():
        original = getattr(owner, function)

        @functools.wraps(original)
        def around(*given, _name=name, _original=original, **named):
            begin = time.thread_time()
            try:
                return _original(*given, **named)
            finally:
                parts[_name] += time.thread_time() - begin

        setattr(owner, function, around)


def turn(composer: Composer, seconds: float, parts: Seconds) -> Turn:
    """Make music and throw it away."""
    parts.clear()
    begin, processor = time.perf_counter(), time.process_time()
    for _ in composer.stream(seconds):
        pass
    return Turn(time.perf_counter() - begin, time.process_time() - processor, parts.copy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="shipped", help="shipped, mixed or a folder (default: shipped)")
    parser.add_argument("--settings", nargs="+", default=["1,0", "1,2", "8,4"], help="steps,iterations")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="1: one core; 2 (default): two, each path in its way")
    options = parser.parse_args()
    generator = load_generator(named_folder(Path(options.model)), "best")
    kernels = compiled.kernels()
    parts: Seconds = defaultdict(float)
    timed(parts)
    for setting in options.settings:
        steps, iterations = (int(number) for number in setting.split(","))
        sampling = Sampling(0, steps, iterations, sampling_dtype("cpu"))
        # PyTorch uses threads inside of its operations; the compiled path does several things at once instead.
        ways = {
            "PyTorch": (options.threads, Composer(generator, sampling)),
            "compiled": (1, Composer(generator, sampling, kernels=kernels, overlaps=options.threads > 1)),
        }
        best: dict[str, Turn] = {}
        for number in range(options.rounds + 1):
            for way, (threads, composer) in ways.items():
                torch.set_num_threads(threads)
                made = turn(composer, options.seconds if number else 10.0, parts)
                if number and (way not in best or made.seconds < best[way].seconds):
                    best[way] = made
        show(options, steps, iterations, best)


def show(options: argparse.Namespace, steps: int, iterations: int, best: dict[str, Turn]) -> None:
    """Print a table of one setting."""
    plain, fast = best["PyTorch"], best["compiled"]
    print(f"{options.model}, {steps} steps, {iterations} phase iterations, {options.threads} threads:")
    print(f"  {'x real time':26s} {options.seconds / plain.seconds:8.1f} {options.seconds / fast.seconds:8.1f}")
    rates = [options.seconds / each.processor_seconds for each in (plain, fast)]
    print(f"  {'x, of one core alone':26s} {rates[0]:8.1f} {rates[1]:8.1f}")
    print(f"  {'times as fast':26s} {'':8s} {plain.seconds / fast.seconds:8.2f}")
    for name in PARTS:
        shares = [1e3 * each.parts[name] for each in (plain, fast)]
        print(f"  {name + ', ms':26s} {shares[0]:8.0f} {shares[1]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
