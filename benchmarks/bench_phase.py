"""How fast phase is reconstructed, and how near it comes to the magnitudes it was given.

    python benchmarks/bench_phase.py
    python benchmarks/bench_phase.py --threads 2 --sample-rate 44100 --channels 2
    python benchmarks/bench_phase.py --audio ~/Music/piano --clips 8

Speed is seconds of sound made per second, one clip at a time, everything included; the best of some runs, so that a
busy machine disturbs it least. Quality, from the true magnitudes of the clips: spectral convergence
``norm(abs(STFT(y)) - M) / norm(M)``, the mean difference of log-mel spectra in dB, and the share of the three strongest
pitches of a constant-Q picture that are found again within a semitone. The starts are compared without any
iteration and after 16. Without --audio the clips are struck strings made by a formula.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import librosa
import numpy as np
import torch
from torch import Tensor

from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.errors import AudioError, run_command
from piano.foundation.features import log_mel
from piano.foundation.phase import MOMENTUM, hop_of, istft, reconstruct, stft

ITERATIONS = (0, 2, 4, 8, 16, 32)
SPECTRUM_SEMITONES, LOWEST_HERTZ = 84, 32.703
LEVEL = 0.126  # -18 dBFS, as the data is levelled


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description, example = (__doc__ or "").split("\n\n", maxsplit=1)
    parser = argparse.ArgumentParser(
        description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=Path, help="folder of music (default: made by a formula)")
    parser.add_argument("--clips", type=int, default=4, help="clips to measure on (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a clip (default: %(default)s)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="samples a second (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 2), help="(default: %(default)s)")
    parser.add_argument("--n-fft", type=int, default=2048, help="window in samples (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each timing (default: %(default)s)")
    return parser.parse_args(argv)


def struck_strings(seed: int, *, samples: int, sample_rate: int, channels: int) -> Tensor:
    """Notes at random times and pitches, each a decaying, slightly inharmonic string: (channels, samples)."""
    random = np.random.default_rng(seed)
    waveform = np.zeros((channels, samples))
    for _ in range(max(1, round(4 * samples / sample_rate))):
        start = int(random.integers(samples))
        time_ = np.arange(samples - start) / sample_rate
        pitch, pan = 27.5 * 2 ** (random.integers(12, 72) / 12), random.uniform(0.2, 0.8)
        for harmonic in range(1, 13):
            frequency = harmonic * pitch * math.sqrt(1 + 4e-4 * harmonic**2)
            if frequency < 0.48 * sample_rate:
                string = np.exp(-time_ * (1.0 + 0.6 * harmonic)) * np.sin(2 * np.pi * frequency * time_ + harmonic)
                gains = np.array([[pan], [1 - pan]])[:channels] / harmonic
                waveform[:, start:] += gains * string
    return torch.from_numpy(waveform.astype(np.float32))


def read_clips(arguments: argparse.Namespace) -> list[Tensor]:
    """Clips (channels, samples), levelled, of a whole number of hops."""
    hop = hop_of(arguments.n_fft)
    samples = int(arguments.seconds * arguments.sample_rate) // hop * hop
    layout = {"sample_rate": arguments.sample_rate, "channels": arguments.channels}
    if arguments.audio is None:
        clips = [struck_strings(seed, samples=samples, **layout) for seed in range(arguments.clips)]
    else:
        paths = find_audio_files(arguments.audio)[: arguments.clips]
        sounds = [torch.from_numpy(read_audio(path, max_seconds=8 + arguments.seconds, **layout)) for path in paths]
        clips = [sound[:, -samples:] for sound in sounds if sound.shape[-1] >= samples]
    if not clips:
        raise AudioError(
            f"no sound of {arguments.seconds:g} s in {arguments.audio}; name another folder or shorter --seconds"
        )
    return [clip * (LEVEL / clip.square().mean().sqrt().clamp(min=1e-9)) for clip in clips]


def convergence(sound: Tensor, magnitudes: Tensor, n_fft: int) -> float:
    """Spectral convergence of (channels, samples) to (channels, frames, bins)."""
    return float((stft(sound, n_fft).abs() - magnitudes).norm() / magnitudes.norm())


def mel_distance(sound: Tensor, original: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectra, in dB."""
    difference = log_mel(sound.unsqueeze(0), sample_rate) - log_mel(original.unsqueeze(0), sample_rate)
    return float(difference.abs().mean() * 10 / math.log(10))


def strongest_pitches(sound: Tensor, sample_rate: int, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The strongest peaks (count, frames) of a constant-Q picture in semitones, and which frames sound at all."""
    picture = np.abs(
        librosa.cqt(sound.mean(dim=0).numpy(), sr=sample_rate, fmin=LOWEST_HERTZ, n_bins=SPECTRUM_SEMITONES)
    )
    padded = np.pad(picture, ((1, 1), (0, 0)))
    is_peak = (picture > padded[:-2]) & (picture >= padded[2:])
    strongest = np.argsort(-np.where(is_peak, picture, 0.0), axis=0)[:count]
    return strongest, picture.max(axis=0) > 0.02 * picture.max()


def pitches_found(sound: Tensor, original: Tensor, sample_rate: int) -> float:
    """Share of the strongest pitches of `original` that `sound` has as well, within a semitone."""
    wanted, sounding = strongest_pitches(original, sample_rate)
    found, _ = strongest_pitches(sound, sample_rate)
    near = np.abs(wanted[:, None, :] - found[None, :, :]).min(axis=1) <= 1
    return float(near[:, sounding].mean())


def whole_file(phasors: Tensor, magnitudes: Tensor, n_fft: int, iterations: int) -> Tensor:
    """Fast Griffin-Lim on the whole clip at once, from any start: the reference."""
    samples = magnitudes.shape[-2] * hop_of(n_fft)
    imposed, earlier = magnitudes * phasors, None
    for _ in range(iterations):
        projection = stft(istft(imposed, samples), n_fft)
        moved = projection if earlier is None else projection + MOMENTUM * (projection - earlier)
        imposed, earlier = magnitudes * torch.sgn(moved), projection
    return istft(imposed, samples)


def other_starts(magnitudes: Tensor) -> dict[str, Tensor]:
    turns = torch.rand(magnitudes.shape, generator=torch.Generator().manual_seed(0))
    return {
        "zero phase": torch.ones_like(magnitudes, dtype=torch.complex64),
        "random phase": torch.polar(torch.ones_like(magnitudes), 2 * math.pi * turns),
    }


def best_seconds(magnitudes: Tensor, iterations: int, runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        reconstruct(magnitudes, iterations=iterations)
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def report(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    n_fft, sample_rate = arguments.n_fft, arguments.sample_rate
    clips = read_clips(arguments)
    spectra = [stft(clip, n_fft).abs() for clip in clips]
    seconds = clips[0].shape[-1] / sample_rate
    print(f"{len(clips)} clips of {seconds:.1f} s, {sample_rate} Hz, {arguments.channels} channels, n_fft {n_fft}")
    print(f"{'start':14s}{'iterations':>11s}{'convergence':>13s}{'mel dB':>9s}{'pitches':>9s}{'x real time':>13s}")

    def line(start: str, iterations: int, sounds: list[Tensor], speed: str = "") -> None:
        pairs = list(zip(sounds, clips, strict=True))
        near = statistics.fmean(convergence(y, m, n_fft) for y, m in zip(sounds, spectra, strict=True))
        mel = statistics.fmean(mel_distance(y, x, sample_rate) for y, x in pairs)
        pitch = statistics.fmean(pitches_found(y, x, sample_rate) for y, x in pairs)
        print(f"{start:14s}{iterations:11d}{near:13.4f}{mel:9.3f}{pitch:9.3f}{speed:>13s}", flush=True)

    for iterations in ITERATIONS:
        sounds = [reconstruct(magnitudes, iterations=iterations) for magnitudes in spectra]
        line("single pass", iterations, sounds, f"{seconds / best_seconds(spectra[0], iterations, arguments.runs):.0f}")
    for start in ("zero phase", "random phase"):
        for iterations in (0, 16):
            sounds = [whole_file(other_starts(spectrum)[start], spectrum, n_fft, iterations) for spectrum in spectra]
            line(start, iterations, sounds)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: report(arguments))


if __name__ == "__main__":
    sys.exit(main())
