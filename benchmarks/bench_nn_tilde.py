"""A file of `musigan export --to nn~` in the torch of its host: the same sound for every buffer? clicks? how fast?

    python benchmarks/bench_nn_tilde.py --model shipped --file shipped.ts --python HOST/bin/python

The host's Python needs nothing but the torch that nn~ links, 2.5.1. Speed is that of one core (time of the process).
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.evaluation.continuations import click_flux
from piano.foundation.model_folder import named_folder
from piano.utilities import load_generator

BUFFERS = (512, 1024, 2048, 4096, 8192)
HOST = Path(__file__).with_name("nn_host.py")
PHASE_ITERATIONS = 4


def jobs(generator, music: Tensor, *, many: int) -> dict[str, dict]:
    """What is played: music (channels, samples) through every method, one voice and four, with every buffer."""
    signals = {"generate": torch.zeros(1, 1, music.shape[-1]), "forward": music.unsqueeze(0)}
    latents = generator.encode(music.unsqueeze(0)).transpose(1, 2)
    signals["decode"] = latents.repeat_interleave(generator.hop_samples, dim=-1)
    found = {}
    for method, signal in signals.items():
        for voices in (1, many):
            for buffer in BUFFERS:
                whole = signal[..., : signal.shape[-1] // max(BUFFERS) * max(BUFFERS)].expand(voices, -1, -1)
                name = f"{method} {voices} {buffer}"
                found[name] = {"method": method, "buffer": buffer, "attributes": {}, "signal": whole.contiguous()}
    return found


def originals(generator, music: Tensor) -> dict[str, Tensor]:
    """What the project itself makes of the same (channels, samples)."""
    composer = Composer(generator, Sampling(phase_iterations=PHASE_ITERATIONS))
    heard = composer.decode(generator.encode(music.unsqueeze(0)), first_item=0, are_real=True)[0]
    composed = composer.generate(1.0 + music.shape[-1] / generator.sample_rate)[0]
    return {"generate": composed, "forward": heard, "decode": heard}


def decibels(difference: Tensor, of: Tensor) -> float:
    """Power of a difference below that of a sound."""
    return 10.0 * float((difference.square().mean() / of.square().mean()).clamp_min(1e-20).log10())


def edge_clicks(sound: Tensor, rate: int, buffer: int) -> tuple[float, float]:
    """Mean `click_ratio` of `evaluation.continuations` at the buffers' edges, and in the middle between them."""
    flux, hop = click_flux(sound.double().mean(dim=0).numpy(), rate)
    median = max(float(np.median(flux)), 1e-3)
    edges = range(buffer, sound.shape[-1] - buffer, buffer)
    places = [[edge // hop for edge in edges], [(edge + buffer // 2) // hop for edge in edges]]
    low, high = ([flux[max(centre - 3, 0) : centre + 4].max() / median for centre in row] for row in places)
    return float(np.mean(low)), float(np.mean(high))


def tell(results: dict, wanted: dict[str, Tensor], rate: int, *, many: int) -> None:
    """A line for every job: against the original, against other buffers, clicks, speed."""
    print(f"torch {results.pop('torch')}")
    order = ("encode", "decode", "forward", "generate")
    for method, original in wanted.items():
        for voices in (1, many):
            rows = {buffer: results.get(f"{method} {voices} {buffer}") for buffer in BUFFERS}
            first = next(row for row in rows.values() if row)
            for buffer, row in rows.items():
                if row is None:
                    continue
                late = row["delay"][order.index(method)]
                sound, other = row["sound"][0, :, late:], first["sound"][0, :, first["delay"][order.index(method)] :]
                other, same = other[:, : sound.shape[-1]], sound[:, : other.shape[-1]]
                off = sound - original[:, : sound.shape[-1]]
                settled = row["seconds"][2:]
                factor = len(settled) * buffer / rate / float(settled.sum())
                edges, middles = edge_clicks(sound, rate, buffer)
                print(
                    f"{method:9} voices {voices} buffer {buffer:5}: original {float(off.abs().max()):.1e} at most, "
                    f"{decibels(off, original):6.1f} dB; other buffers {float((same - other).abs().max()):.1e}; "
                    f"click ratio at edges {edges:.2f}, between {middles:.2f}; "
                    f"delay {1000 * late / rate:.0f} ms; {factor:.1f}x real time, first two buffers "
                    f"{float(row['seconds'][:2].sum()):.1f} s, longest later {1000 * float(settled.max()):.0f} ms"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("shipped"))
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--voices", type=int, default=4, help="of the jobs with more than one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        generator = load_generator(named_folder(options.model))
        music = Composer(generator, Sampling(seed=1)).generate(options.seconds)[0]
        asked = jobs(generator, music, many=options.voices)
        wanted = originals(generator, music)
        nudged = Composer(generator, Sampling(phase_iterations=PHASE_ITERATIONS))
        latents = generator.encode(music.unsqueeze(0))
        again = nudged.decode(latents * (1.0 + 1e-6), first_item=0, are_real=True)[0]
        print(
            f"The original of latents that differ by a millionth: {float((again - wanted['decode']).abs().max()):.1e} "
            f"at most, {decibels(again - wanted['decode'], wanted['decode']):.1f} dB"
        )
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "jobs.pt", Path(folder) / "sounds.pt"
        torch.save(asked, files[0])
        subprocess.run([options.python, HOST, options.file, *files], check=True)
        tell(torch.load(files[1], weights_only=True), wanted, generator.sample_rate, many=options.voices)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
