"""The samples of a model card: six from seeds 0 to 5 and three continuations, as MP3, none chosen by ear.

    python benchmarks/card_samples.py --prompts dataset_music/validation
    python benchmarks/card_samples.py --checkpoints demo/checkpoints --prompts demo/music --output demo/card

Prompts are the beginnings of the first three sound files of a folder, by name.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from piano import generate_music
from piano.foundation.audio_io import find_audio_files, read_audio, write_audio
from piano.foundation.errors import AudioError, run_command
from piano.foundation.model_folder import shipped_folder
from piano.foundation.sums import SUMS_NAME, files_below, write_sums
from piano.made_sounds import sample_name
from piano.utilities import load_generator

SEEDS = range(6)
CONTINUATIONS = 3


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--checkpoints", type=Path, default=Path("shipped"), help="folder of a model (default: shipped)")
    add("--prompts", type=Path, required=True, help="folder of music the model never learned from (required)")
    add("--output", type=Path, help="folder (default: samples/ of the shipped model)")
    add("--seconds", type=float, default=20.0, help="length of a sample (default: 20)")
    add("--prompt-seconds", type=float, default=8.0, help="length of a prompt (default: 8)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the nine files."""
    options = parse_arguments(argv)
    return run_command(lambda: write_samples(options))


def write_samples(options: argparse.Namespace) -> None:
    """seed_0.mp3 ... seed_5.mp3 and continuation_NAME.mp3, each of which begins with its prompt."""
    output = options.output or shipped_folder() / "samples"
    prompts = find_audio_files(options.prompts)[:CONTINUATIONS] if options.prompts.is_dir() else []
    if len(prompts) < CONTINUATIONS:
        raise AudioError(f"{options.prompts} holds {len(prompts)} sound files, {CONTINUATIONS} prompts are needed")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for seed in SEEDS:
            compose(options, work, seed)
            keep(work / f"{sample_name(None, seed, 0)}.mp3", output / f"seed_{seed}.mp3")
        generator = load_generator(options.checkpoints, "best")
        for path in prompts:
            heard = read_audio(
                path,
                sample_rate=generator.sample_rate,
                channels=generator.sound_channels,
                max_seconds=options.prompt_seconds,
            )
            write_audio(work / "prompt.wav", heard, generator.sample_rate)
            compose(options, work, 0, "--prompt", str(work / "prompt.wav"))
            title = re.sub(r"[^a-z0-9]+", "-", path.stem.removesuffix("-take0").lower()).strip("-")
            made = sample_name(work / "prompt.wav", 0, 0)
            keep(work / f"{made}.full.mp3", output / f"continuation_{title[:60]}.mp3")
            (work / f"{made}.continuation.mp3").unlink()
    if (output.parent / SUMS_NAME).is_file():
        write_sums(output.parent, files_below(output.parent))


def compose(options: argparse.Namespace, work: Path, seed: int, *prompt: str) -> None:
    """One file through the only door there is: generate_music with its defaults."""
    generate_music.generate(
        generate_music.parse_arguments(
            [
                "--checkpoints",
                str(options.checkpoints),
                "--output",
                str(work),
                "--seed",
                str(seed),
                "--seconds",
                f"{options.seconds:g}",
                "--count",
                "1",
                "--format",
                "mp3",
                *prompt,
            ]
        )
    )


def keep(made: Path, target: Path) -> None:
    """Move a file to its name and say it."""
    shutil.move(made, target)
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    raise SystemExit(main())
