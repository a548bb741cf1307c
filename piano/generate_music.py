"""New music from a checkpoint and a seed, a continuation of a fragment, or what the autoencoder makes of a file."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from piano.config_reader import load_config_from_yaml
from piano.foundation.audio_io import open_writer, read_audio
from piano.foundation.doors import fill, program
from piano.foundation.errors import AudioError, ConfigError, run_command
from piano.foundation.m4a import require_encoder
from piano.foundation.model_folder import SHIPPED, named_folder, shipped_folder
from piano.foundation.options import make_output_folder, positive_int
from piano.foundation.receipt import Kind, Receipt, discreet_name, file_source, model_hash, own_versions
from piano.foundation.runtime import available_cores, choose_device, sampling_dtype
from piano.foundation.screen_text import printable
from piano.piano_model import VariationalAttentionModel
from piano.utilities import build_generator, choose_folder, load_checkpoint

FORMATS = ("wav", "flac", "mp3", "m4a")
PROMPT_SECONDS = 120.0
MAX_THREADS = 4
LOUDNESS_DBFS, PEAK_DBFS = -18.0, -1.0
EXAMPLE = """examples:
  {musigan generate} --seconds 30 --count 4
  {musigan generate} --prompt my_fragment.mp3 --seconds 20
  {musigan generate} --reconstruct song.mp3
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program("generate"),
        description=__doc__,
        epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, help="settings file (default: config.yaml here or beside the package)"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder of a model, or shipped (default: the config's checkpoint_folder; shipped if that holds none)",
    )
    parser.add_argument(
        "--epoch", default="best", help="a number, latest, or best: what was judged best (default: best)"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each sample (default: 30)")
    parser.add_argument("--count", type=int, default=8, help="how many samples (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same music (default: 0)")
    parser.add_argument(
        "--steps", default="auto", help="sampling steps: a number, or auto, what scored best (default: auto)"
    )
    parser.add_argument(
        "--phase-iterations",
        type=int,
        default=16,
        help="of Griffin-Lim: 0 is fastest; 2 (mono), 4 (stereo) nearly as good as 16 (default: 16)",
    )
    parser.add_argument("--output", type=Path, help="folder (default: the config's music_out_folder)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="wav",
        help="of the files written; m4a needs ffmpeg (default: wav)",
    )
    parser.add_argument(
        "--prompt", type=Path, help="a fragment to continue, of any format and rate (default: none)"
    )
    parser.add_argument(
        "--reconstruct",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="write what the autoencoder makes of these (default: none)",
    )
    parser.add_argument("--noise", type=Path, help="a file of noise that is the seed (default: none)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="(default: auto)"
    )
    parser.add_argument(
        "--threads", type=positive_int, help=f"CPU threads (default: all cores, at most {MAX_THREADS})"
    )
    options = parser.parse_args(argv)
    if not 0 < options.seconds < math.inf or options.count < 1 or options.phase_iterations < 0:
        parser.error("--seconds and --count must be positive, --phase-iterations must not be negative")
    if options.steps != "auto" and not (options.steps.isdigit() and int(options.steps) > 0):
        parser.error("--steps is a positive number or auto")
    return options


def main(argv: list[str] | None = None) -> int:
    """Load a generator and write its music."""
    options = parse_arguments(argv)
    return run_command(lambda: generate(options), is_work=True)


def generate(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    folders = default_folders(options)
    if options.format == "m4a":
        require_encoder(folders[1] / "*.m4a")
    maker = open_maker(folders[0], options)
    make_output_folder(folders[1])
    introduce(folders[0], maker.content["epoch"])
    for paths in maker.make(folders[1], items=range(options.count)):
        for path in paths:
            print(path)


def open_maker(folder: Path, options: argparse.Namespace) -> "Maker":
    """Load the model of a folder and set up device and threads for it; raises CheckpointError."""
    device = choose_device(options.device)
    content = load_checkpoint(folder, "generator", options.epoch)
    generator = build_generator(content, device=device)
    generator.sampling_dtype = sampling_dtype(device)
    torch.set_num_threads(options.threads or min(available_cores(), MAX_THREADS))
    return Maker(generator, content, folder, options)


def default_folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Where the model comes from and music goes; the config is read only if one of them is not given."""
    if options.checkpoints and options.output:
        return named_folder(options.checkpoints), options.output
    config = load_config_from_yaml(options.config)
    folder = choose_folder(options.checkpoints, config.checkpoint_folder)
    return folder, options.output or config.music_out_folder


def introduce(folder: Path, epoch: int) -> None:
    """Say whose music this will be; on stderr, as stdout names the files."""
    owner = "the shipped model" if folder == shipped_folder() else "the model"
    print(f"Playing {owner} of {folder}, epoch {epoch}", file=sys.stderr, flush=True)


class Maker(NamedTuple):
    """A loaded model and what is asked of it."""

    generator: VariationalAttentionModel
    content: dict[str, Any]
    """Of the generator's checkpoint."""
    folder: Path
    options: argparse.Namespace

    def make(self, output: Path, *, items: Iterable[int]) -> Iterator[list[Path]]:
        """Write the samples of these numbers (or every reconstruction); yields the files of each."""
        if self.options.reconstruct:
            yield from (reconstruct_file(self, path, output) for path in self.options.reconstruct)
        elif self.options.prompt:
            yield from continue_prompt(self, output, items)
        else:
            yield from compose_samples(self, output, items)

    def receipts(
        self, *kinds: Kind, source: Path | None, seconds: float
    ) -> Callable[[int], dict[Kind, Receipt]]:
        """What each kind of file of a sample says of itself, for every number of a sample."""
        generator, options = self.generator, self.options
        state = self.content.get("average") or self.content["model"]
        common = {
            "model": model_hash(state, self.content["keywords"]), "epoch": self.content["epoch"],
            "folder": SHIPPED if self.folder == shipped_folder() else discreet_name(self.folder),
            "seed": options.seed, "seconds": seconds, "steps": generator.resolve_steps(options.steps),
            "phase_iterations": options.phase_iterations, "source": source and file_source(source),
            "device": generator.device.type, "dtype": str(generator.sampling_dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(), "versions": own_versions(),
        }  # fmt: skip
        return lambda item: {kind: Receipt(kind=kind, item=item, **common) for kind in kinds}


def compose_samples(maker: Maker, output: Path, items: Iterable[int]) -> Iterator[list[Path]]:
    """sample_0000.wav ... from white noise."""
    generator, options = maker.generator, maker.options
    noise = read_noise(generator, options.noise, options.seconds) if options.noise else None
    receipts = maker.receipts("sample", source=options.noise, seconds=options.seconds)
    for item in items:
        sounds = generator.stream(
            seconds=options.seconds, seed=options.seed, item=item, steps=options.steps, noise=noise,
            phase_iterations=options.phase_iterations,
        )  # fmt: skip
        path = output / f"sample_{item:04d}.{options.format}"
        write_stream(path, sounds, generator.sample_rate, options.seconds, receipt=receipts(item)["sample"])
        yield [path]


def continue_prompt(maker: Maker, output: Path, items: Iterable[int]) -> Iterator[list[Path]]:
    """sample_0000.continuation.wav, and .full.wav, which begins with the prompt as it is."""
    generator, options = maker.generator, maker.options
    prompt = read_audio(options.prompt, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    if prompt.shape[-1] < 8 * generator.hop_samples:
        raise AudioError(
            f"{printable(options.prompt)} is too short to continue: "
            f"{prompt.shape[-1] / generator.sample_rate:.2f} s, "
            f"at least {8 * generator.hop_samples / generator.sample_rate:.2f} s are needed"
        )
    heard = torch.from_numpy(prompt[:, -int(PROMPT_SECONDS * generator.sample_rate) :])
    gain = levelling_gain(heard)
    receipts = maker.receipts("full", "continuation", source=options.prompt, seconds=options.seconds)
    for item in items:
        sounds = generator.stream(
            seconds=options.seconds, seed=options.seed, item=item, steps=options.steps, prompt=gain * heard,
            phase_iterations=options.phase_iterations,
        )  # fmt: skip
        says = receipts(item)
        full, continuation = (output / f"sample_{item:04d}.{kind}.{options.format}" for kind in says)
        with open_writer(
            full, generator.sample_rate, generator.sound_channels, metadata={"comment": says["full"].text()}
        ) as full_writer:
            full_writer.write(prompt)
            quietened = (sound / gain for sound in sounds)
            write_stream(
                continuation, quietened, generator.sample_rate, options.seconds, also=full_writer,
                receipt=says["continuation"],
            )  # fmt: skip
        yield [full, continuation]


def reconstruct_file(maker: Maker, path: Path, output: Path) -> list[Path]:
    """NAME.reconstruction.wav: the file through encoder and decoder, in pieces."""
    generator, options = maker.generator, maker.options
    waveform = torch.from_numpy(
        read_audio(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    )
    gain = levelling_gain(waveform)
    target = output / f"{path.stem}.reconstruction.{options.format}"
    seconds = waveform.shape[-1] / generator.sample_rate
    receipt = maker.receipts("reconstruction", source=path, seconds=seconds)(0)["reconstruction"]
    with torch.inference_mode():
        sounds = generator.stream_decode(
            encode_pieces(generator, gain * waveform), phase_iterations=options.phase_iterations
        )
        trimmed = trim((sound[0] / gain for sound in sounds), waveform.shape[-1])
        write_stream(target, trimmed, generator.sample_rate, seconds, receipt=receipt)
    return [target]


def levelling_gain(waveform: Tensor) -> float:
    """What brings a waveform (channels, samples) to the level of prepared music; divide by it afterwards."""
    rms = float(waveform.square().mean().sqrt())
    return min(
        10 ** (LOUDNESS_DBFS / 20) / max(rms, 1e-6),
        10 ** (PEAK_DBFS / 20) / max(float(waveform.abs().max()), 1e-6),
    )


def encode_pieces(
    generator: VariationalAttentionModel, waveform: Tensor, *, frames: int = 128
) -> Iterator[Tensor]:
    """Latents (1, frames, latent_dim) of a long waveform (channels, samples), each piece with context on both sides."""
    margin, hop = generator.autoencoder.encoder_context, generator.hop_samples
    total = -(-waveform.shape[-1] // hop)
    for begin in range(0, total, frames):
        end = min(begin + frames, total)
        first = max(begin - margin, 0)
        piece = waveform[:, first * hop : (end + margin) * hop].unsqueeze(0).to(generator.device)
        yield generator.encode(piece)[:, begin - first : end - first]


def trim(sounds: Iterator[Tensor], samples: int) -> Iterator[Tensor]:
    """The first `samples` samples of waveform pieces."""
    for sound in sounds:
        yield sound[..., :samples]
        samples -= sound.shape[-1]
        if samples <= 0:
            return


def read_noise(generator: VariationalAttentionModel, path: Path, seconds: float) -> Tensor:
    """Latent noise of a noise file; raises AudioError when it is too short."""
    waveform = read_audio(path, sample_rate=generator.sample_rate, channels=1)[0]
    if len(waveform) < seconds * generator.sample_rate:
        raise AudioError(
            f"{path} holds {len(waveform) / generator.sample_rate:.1f} s of noise, "
            f"{seconds:g} s of music need as much. "
            f"Give a longer file or a smaller --seconds."
        )
    hop = generator.hop_samples
    return generator.noise_from_waveform(torch.from_numpy(np.pad(waveform, (0, -len(waveform) % hop))))


def write_stream(
    path: Path, sounds: Iterator[Tensor], sample_rate: int, seconds: float, *, receipt: Receipt, also=None
) -> None:
    """Write waveform pieces (channels, samples) as they come; the file appears when it is whole."""
    first = next(sounds, None)
    if first is None:
        raise ConfigError("nothing to write: --seconds is shorter than one sample")
    with open_writer(
        path, sample_rate, first.shape[0], metadata={"comment": receipt.text()}
    ) as writer, tqdm(
        total=seconds, unit="s", desc=printable(path.name), leave=False, dynamic_ncols=True,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}, {rate_fmt}]",
    ) as bar:  # fmt: skip
        piece: Tensor | None = first
        while piece is not None:
            samples = piece.float().cpu().numpy()
            for target in (writer, also):
                if target is not None:
                    target.write(samples)
            bar.update(samples.shape[-1] / sample_rate)
            piece = next(sounds, None)


if __name__ == "__main__":
    raise SystemExit(main())
