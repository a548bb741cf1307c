"""How many times faster than real time music is made, and how much memory that takes, from ten seconds to half an hour.

    python benchmarks/bench_generate.py --preset tiny
    python benchmarks/bench_generate.py --preset small --memory
    python benchmarks/bench_generate.py --checkpoints shipped

A preset has random weights: cost, not quality.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from piano.composer import Composer, Sampling
from piano.config_reader import load_config_from_yaml
from piano.foundation.model_folder import named_folder
from piano.foundation.runtime import choose_threads, sampling_dtype
from piano.generate_music import measured_threads
from piano.generate_options import MAX_THREADS
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator

SETTINGS = ((16, 16), (8, 4), (1, 16), (1, 2), (1, 0))
"""Sampling steps and phase iterations."""


def build(preset: str) -> VariationalAttentionModel:
    """A generator with random weights that makes sound of a usual level."""
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**load_config_from_yaml(preset=preset).model.model_dump()).eval()
    with torch.no_grad():
        generator.autoencoder.mean_spectrum.fill_(-3.0)
    return generator


def rate(generator: VariationalAttentionModel, seconds: float, steps: int, iterations: int) -> float:
    """Seconds of music per second of work, from noise to waveform."""
    begin, samples = time.perf_counter(), 0
    composer = Composer(generator, Sampling(0, steps, iterations, sampling_dtype("cpu")))
    for piece in composer.stream(seconds):
        samples += piece.shape[-1]
    return samples / generator.sample_rate / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--checkpoints", type=Path, help="folder of a model, or shipped, in place of a preset")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--memory", action="store_true", help="peak memory at 10 s, 2 min and 30 min instead")
    parser.add_argument("--peak", type=float, help="make this many seconds and print the peak memory in MB")
    parser.add_argument(
        "--threads", action="store_true", help="the threads that generate chooses, what choosing costs, all speeds"
    )
    options = parser.parse_args()
    torch.set_num_threads(choose_threads())
    if options.peak:
        rate(build(options.preset), options.peak, 1, 2)
        print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
        return
    if options.memory:
        for seconds in (10, 120, 1800):
            command = [sys.executable, __file__, "--preset", options.preset, "--peak", str(seconds)]
            peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            print(f"  {seconds:5d} s of music: {peak} MB at the peak", flush=True)
        return
    generator = build(options.preset)
    if options.checkpoints:
        generator = load_generator(named_folder(options.checkpoints), "best")
    if options.threads:
        begin = time.perf_counter()
        chosen = measured_threads(generator, sampling_dtype("cpu"))
        cost = time.perf_counter() - begin
        print(f"{chosen} of at most {MAX_THREADS} threads chosen in {cost:.2f} s (where OMP_NUM_THREADS is not set)")
        for count in range(1, MAX_THREADS + 1):
            torch.set_num_threads(count)
            print(f"  {count} threads: {rate(generator, options.seconds, 4, 4):6.1f} x real time", flush=True)
        return
    print(
        f"{options.checkpoints or options.preset}: {torch.get_num_threads()} threads, {generator.sample_rate} Hz, "
        f"{generator.sound_channels} channels"
    )
    for steps, iterations in SETTINGS:
        rate(generator, 10.0, steps, iterations)
        best = max(rate(generator, options.seconds, steps, iterations) for _ in range(3))
        print(f"  {steps:2d} steps, {iterations:2d} phase iterations: {best:6.1f} x real time", flush=True)


if __name__ == "__main__":
    main()
