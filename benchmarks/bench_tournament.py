"""Peak memory and time of a tournament as the number of checkpoints grows: it should not grow with them.

    python benchmarks/bench_tournament.py
    python benchmarks/bench_tournament.py --counts 10 30 100 --memory 8

Makes that many generators and discriminators with random weights (small ones: cost, not quality), lets them play, each
size in a process of its own, and prints the peak resident memory. One checkpoint of each kind shows what the program
itself takes.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from piano.check_discriminator import main as check
from piano.config_reader import Config, load_config_from_yaml
from piano.foundation.audio_io import write_audio
from piano.foundation.randomness import keyed_generator
from piano.piano_main import build_discriminator
from piano.piano_model import VariationalAttentionModel
from piano.vae_utilities import save_checkpoint

SAMPLE_RATE = 8000
CLIPS, SECONDS = 8, 4
SETTINGS = {
    "model": {
        "sample_rate": SAMPLE_RATE,
        "sound_channels": 1,
        "n_fft": 512,
        "latent_stride": 2,
        "latent_dim": 16,
        "seq_len": 32768,
        "latent_seq_len": 125,
        "encoder_channels": 64,
        "encoder_layers": 1,
        "n_channels": 64,
        "decoder_layers": 2,
        "attention_channels": 64,
        "num_heads": 2,
        "num_layers": 2,
    },
    "discriminator": {"ear_channels": 32, "wave_windows": [], "professor_layers": 1},
}


def parse_arguments() -> argparse.Namespace:
    description, example = (__doc__ or "").split("\n\n", maxsplit=1)
    parser = argparse.ArgumentParser(
        description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 30, 100], help="checkpoints of each kind")
    parser.add_argument("--memory", type=int, default=32, metavar="MB", help="what fakes may take (default: 32)")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "MUSIC"), help=argparse.SUPPRESS)
    return parser.parse_args()


def write_networks(folder: Path, config: Config, count: int) -> None:
    """`count` generators and discriminators, all different."""
    for epoch in range(1, count + 1):
        torch.manual_seed(epoch)
        generator = VariationalAttentionModel(**config.model.model_dump())
        generator.default_steps.fill_(1)
        torch.nn.init.normal_(generator.shortcut.out.weight, std=0.2)
        for name, tensor in encoder_of_first(config).items():  # as after the autoencoder's stage: one encoder for all
            generator.autoencoder.state_dict()[name].copy_(tensor)
        save_checkpoint(generator, epoch, folder, "generator")
        judge = build_discriminator(config, generator)
        judge.trained_steps.fill_(1)
        save_checkpoint(judge, epoch, folder, "discriminator")


def encoder_of_first(config: Config) -> dict[str, Tensor]:
    """Weights of one encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = VariationalAttentionModel(**config.model.model_dump())
    encoder = ("embed", "encoder_blocks", "encoder_norm", "to_posterior")
    return {name: value for name, value in generator.autoencoder.state_dict().items() if name.startswith(encoder)}


def write_music(folder: Path) -> None:
    """Something to stand for real music."""
    for clip in range(CLIPS):
        noise = torch.randn(1, 2 * SECONDS * SAMPLE_RATE, generator=keyed_generator("music", clip)).cumsum(dim=1)
        write_audio(folder / f"{clip}.wav", (0.1 * noise.sin()).numpy().astype(np.float32), SAMPLE_RATE)


def play(folder: str, music: str, memory: int) -> None:
    """One tournament; the last line is its peak memory in MB."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    given = ["--all", "--checkpoints", folder, "--output", f"{folder}/out", "--real", music]
    status = check([*given, "--count", str(CLIPS), "--memory", str(memory)])
    if status:
        raise SystemExit(status)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak {peak:.0f} {time.perf_counter() - began:.1f}")


def main() -> None:
    options = parse_arguments()
    if options.run:
        folder, music = options.run
        play(folder, music, options.memory)
        return
    config = load_config_from_yaml(preset="tiny", overrides=SETTINGS)
    print(f"{CLIPS} fakes of {SECONDS} s, fakes may take {options.memory} MB, one thread")
    for count in options.counts:
        with tempfile.TemporaryDirectory() as home:
            folder, music = Path(home, "checkpoints"), Path(home, "music")
            music.mkdir()
            write_networks(folder, config, count)
            write_music(music)
            command = [sys.executable, __file__, "--memory", str(options.memory), "--run", str(folder), str(music)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr.strip().splitlines()[-1])
            _, peak, seconds = done.stdout.strip().splitlines()[-1].split()
            stored = sum(path.stat().st_size for path in folder.glob("*.pt")) / 2**20
            kept = (folder / "out" / "judged.jsonl").stat().st_size / 2**20
        print(
            f"  {count:4d} x {count:<4d} {stored:7.0f} MB of checkpoints: peak {peak:>5} MB, {seconds:>7} s, "
            f"{kept:.1f} MB kept",
            flush=True,
        )


if __name__ == "__main__":
    main()
