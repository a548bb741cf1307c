"""RAVE v1 against our autoencoder: the same music, the same minutes, the same threads, one after the other.

    python benchmarks/peer_rave.py --music ~/Music/piano --held-out ~/Music/other --minutes 10 --runs 3 \\
        --rave-python ~/rave/bin/python
    python benchmarks/peer_rave.py --dataset dataset --held-out ~/Music/other --minutes 0.5 --files 8 \\
        --rave-python ~/rave/bin/python

Both learn from random crops of one prepared data set (16 kHz mono) and rebuild the same passages of files that neither
has seen, levelled alike. Lower is better everywhere: mel distance (as the Descript Audio Codec defines it),
multi-resolution STFT distance, and the kernel distance of the reconstructions to the originals (passages of one file
are never compared with each other; kernel score: 0 is other real music, 1 is noise with its spectrum).

Ours is `tiny` with the whole budget on the autoencoder stage, trained by piano_main. RAVE is its v1 configuration with
its own losses, optimisers and augmentations, in phase 1 all the time, as it would be: its discriminator joins after a
million steps. Each clock runs from the first step, with networks built and data opened: decoding files is outside of
both budgets. RAVE's own batch is 8 crops of 131072 samples, which leaves it few steps in few minutes; crops of 32768
(--rave-samples), about the shortest that its widest loss window allows, give it four times as many and are the default.
Precision is each one's own: ours may choose bfloat16 where the processor has it (--precision 32 forbids that).

RAVE wants older packages than ours, so it lives in an environment of its own (pip will say that some of what RAVE lists
is missing or newer: what is left out serves its command line only):

    python3.11 -m venv ~/rave
    ~/rave/bin/pip install torch==2.11.0 torchaudio==2.11.0 "setuptools<81"
    ~/rave/bin/pip install --no-deps acids-rave==2.3.1
    ~/rave/bin/pip install "numpy<2" "scipy<1.13" "pytorch-lightning>=2.2,<3" gin-config "cached-conv>=2.5" \\
        "librosa>=0.10,<0.12" "scikit-learn<1.6" einops lmdb udls GPUtil
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from peer_common import (
    Clip,
    Layout,
    PeerError,
    Plan,
    Reference,
    autoencoder_only,
    dated,
    gather,
    markdown_table,
    open_dataset,
    read_clips,
    say,
    train_ours,
    write_result,
)

from piano.evaluation.score_generator import reconstruct_clips
from piano.foundation.dataset_format import set_path
from piano.foundation.errors import run_command
from piano.utilities import load_generator

WORKER = Path(__file__).with_name("peer_rave_worker.py")
OURS, RAVE = "MusiGAN `tiny`, autoencoder", "RAVE v1"
MEASURES = {
    "mel_distance": "mel distance",
    "stft_distance": "STFT distance",
    "kernel_distance": "kernel distance",
    "kernel_score": "kernel score",
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    title, examples, *notes = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description="\n\n".join([title, *notes]),
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--music", type=Path, help="folder of music to learn from (default: --dataset)")
    add("--dataset", type=Path, help="data set already made of it (default: made of --music in --output)")
    add("--held-out", type=Path, required=True, help="folder of other music, to rebuild (required)")
    add("--rave-python", type=Path, required=True, help="Python in which RAVE is installed (required)")
    add("--minutes", type=float, default=10.0, help="budget of each training (default: %(default)g)")
    add("--runs", type=int, default=1, help="seeds: 0, 1, ... (default: %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads of both (default: %(default)s)")
    add("--sample-rate", type=int, default=16_000, help="of both, in Hz (default: %(default)s)")
    add("--precision", default="auto", choices=("auto", "32", "bf16"), help="of ours (default: %(default)s)")
    add("--rave-batch", type=int, default=8, help="RAVE's crops of a step (default: %(default)s, its own)")
    add("--rave-samples", type=int, default=32_768, help="of a crop (default: %(default)s; its own: 131072)")
    add("--seconds", type=float, default=8.0, help="length of a passage to rebuild (default: %(default)g)")
    add("--per-file", type=int, default=2, help="passages of a file (default: %(default)s)")
    add("--files", type=int, help="only the first so many held-out files (default: all)")
    add(
        "--output",
        type=Path,
        default=Path("peer_results/rave"),
        help="folder, result.json in it (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if options.minutes <= 0 or min(options.runs, options.threads, options.rave_batch, options.per_file) < 1:
        parser.error("--minutes, --runs, --threads, --rave-batch and --per-file must be positive")
    if options.rave_samples % 2048 or options.rave_samples <= 16_384:
        parser.error("--rave-samples must be a multiple of 2048 above 16384, or RAVE's widest window does not fit")
    return options


def check_rave(python: Path) -> None:
    """Fail before anything else does if that interpreter cannot import RAVE."""
    try:
        answer = subprocess.run([str(python), "-c", "import rave"], capture_output=True, text=True)
    except OSError as error:
        raise PeerError(f"{python} cannot be started ({error.strerror}): give --rave-python a Python.") from None
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerError(f"{python} cannot import rave ({reason}): --help says how to install it.")


def ask_rave(python: Path, arguments: list[str]) -> dict[str, Any]:
    """Run the worker; its last line is the result."""
    answer = subprocess.run([str(python), str(WORKER), *arguments], stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise PeerError(f"RAVE stopped with status {answer.returncode}; see the message above.")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def run_rave(
    dataset: Path, clips: list[Clip], folder: Path, *, seed: int, options: argparse.Namespace
) -> tuple[np.ndarray, dict[str, Any]]:
    """Reconstructions (clips, 1, samples) of a RAVE trained for the budget, and what it said of its training."""
    folder.mkdir(parents=True, exist_ok=True)
    originals, rebuilt = folder / "clips.npy", folder / "rave.npy"
    np.save(originals, np.stack([clip.waveform[0] for clip in clips]))
    words = {
        "minutes": options.minutes,
        "dataset": set_path(dataset, "training").resolve(),
        "clips": originals,
        "output": rebuilt,
        "threads": options.threads,
        "sample-rate": options.sample_rate,
        "seed": seed,
        "batch": options.rave_batch,
        "samples": options.rave_samples,
    }
    arguments = [text for name, value in words.items() for text in (f"--{name}", str(value))]
    said = ask_rave(options.rave_python, ["train", *arguments])
    return np.load(rebuilt)[:, None], said


def run_ours(
    dataset: Path, clips: list[Clip], folder: Path, *, seed: int, options: argparse.Namespace
) -> list[np.ndarray]:
    """Reconstructions (channels, samples) of our autoencoder trained for the budget."""
    settings: dict[str, object] = {
        **autoencoder_only(),
        "runtime.threads": options.threads,
        "runtime.precision": options.precision,
        "runtime.device": "cpu",
        "model.sample_rate": options.sample_rate,
        "model.seq_len": 10 * options.sample_rate,
    }
    train_ours(dataset, folder, minutes=options.minutes, seed=seed, settings=settings)
    return reconstruct_clips(load_generator(folder, "latest"), [clip.waveform for clip in clips])


def compare(options: argparse.Namespace) -> None:
    """Train both for every seed, measure, tell."""
    check_rave(options.rave_python)
    options.output.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(options, options.output)
    if not set_path(dataset, "training").exists():
        raise PeerError(f"{dataset} holds indices into shards; RAVE reads arrays: make it with `--format npy`.")
    say(f"reading held-out music from {options.held_out}")
    clips = read_clips(
        options.held_out, Layout(options.seconds, options.per_file, options.sample_rate), files=options.files
    )
    reference = Reference(clips, options.sample_rate)
    plan = Plan([options.minutes + 0.5] * 2 * options.runs)
    results, notes = [], []
    for seed in range(options.runs):
        plan.next(f"run {seed + 1} of {options.runs}: ours")
        ours = run_ours(dataset, clips, options.output / f"ours_{seed}", seed=seed, options=options)
        plan.next(f"run {seed + 1} of {options.runs}: RAVE")
        theirs, said = run_rave(dataset, clips, options.output / f"rave_{seed}", seed=seed, options=options)
        results.append(
            {OURS: reference.judge_reconstructions(ours), RAVE: reference.judge_reconstructions(list(theirs))}
        )
        notes.append(said)
        write_result(
            options.output / "result.json",
            {
                "what": f"{options.minutes:g} minutes each, {options.threads} threads, {options.sample_rate} Hz mono",
                "options": vars(options),
                "clips": len(clips),
                "runs": results,
                "rave": notes,
            },
        )
    print(
        dated(
            f"{options.minutes:g} minutes each, {options.threads} threads, {len(clips)} held-out passages of "
            f"{options.seconds:g} s, {options.runs} runs; lower is better"
        )
    )
    print(markdown_table(gather(results), MEASURES))


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)
    return run_command(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
