"""What the comparisons with peers share: the same clips, the same measures, our own training, the table at the end.

Imported by peer_rave.py, peer_public_recipe.py and peer_speed.py; not a command.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data_prep import create_dataset, prepare_dataset
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.distances import diversity, kernel_score, spectrum_noise
from piano.evaluation.reconstruction import mel_distance, stft_distance
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.dataset_format import manifest_path, read_manifest
from piano.foundation.errors import EXIT_RUINED, MusiganError
from piano.generate_music import levelling_gain
from piano.stages import FIRST_STAGE, STAGE_NAMES

ROOT = Path(__file__).resolve().parent.parent


class PeerError(MusiganError):
    """A peer is not installed, or what was given to a comparison does not fit."""


# --- clips -----------------------------------------------------------------------------------------------------------


class Clip(NamedTuple):
    """A passage of a music file, at the level of prepared music."""

    file: str
    waveform: np.ndarray
    """[shape=(channels, samples)]"""


class Layout(NamedTuple):
    """What clips are to be like."""

    seconds: float
    per_file: int
    sample_rate: int
    channels: int = 1


def read_clips(folder: Path, layout: Layout, *, files: int | None = None) -> list[Clip]:
    """Clips of the (first so many) music files of a folder, spread evenly over each; too short ones are left out."""
    samples = round(layout.seconds * layout.sample_rate)
    clips = []
    for path in find_audio_files(folder)[:files]:
        song = read_audio(path, sample_rate=layout.sample_rate, channels=layout.channels)
        room = song.shape[-1] - samples
        if room < 0:
            continue
        song = song * levelling_gain(torch.from_numpy(song))
        count = min(layout.per_file, 1 + room // samples)
        starts = (np.arange(count) + 0.5) / count * room
        clips += [Clip(path.name, song[:, start : start + samples]) for start in starts.astype(int)]
    if len({clip.file for clip in clips}) < 4:
        raise PeerError(
            f"{folder} holds fewer than four files of {layout.seconds:g} s: name another, or shorter --seconds."
        )
    return clips


class Reference:
    """Real clips with their features, and noise with their spectrum: measured once, compared with many.

    Parameters
    ----------
    clips : sequence of Clip
    sample_rate : int
    """

    def __init__(self, clips: Sequence[Clip], sample_rate: int) -> None:
        self.clips = clips
        self.sample_rate = sample_rate
        self.files = [clip.file for clip in clips]
        sounds = [clip.waveform for clip in clips]
        self.features = feature_matrix(sounds, sample_rate)
        self.noise = feature_matrix(spectrum_noise(sounds, sample_rate), sample_rate)

    def judge(self, sounds: Sequence[np.ndarray], files: Sequence[str] | None = None) -> dict[str, float]:
        """Kernel score, kernel distance and diversity of sounds (channels, samples), named after files or all new."""
        labels = list(files) if files is not None else [f"new {index}" for index in range(len(sounds))]
        features = feature_matrix(list(sounds), self.sample_rate)
        verdict = kernel_score(
            generated=features,
            real=self.features,
            noise=self.noise,
            generated_files=labels,
            real_files=self.files,
            noise_files=self.files,
        )
        return {
            "kernel_score": verdict.score,
            "kernel_distance": verdict.distance,
            "kernel_floor": verdict.floor,
            "kernel_noise": verdict.noise_distance,
            "diversity": diversity(generated=features, real=self.features, real_files=self.files),
        }

    def judge_reconstructions(self, sounds: Sequence[np.ndarray]) -> dict[str, float]:
        """Mel and STFT distance of reconstructions (channels, samples) in the order of the clips, and `judge`."""
        pairs = [(np.asarray(sound), clip.waveform) for sound, clip in zip(sounds, self.clips, strict=True)]
        measured = {
            name: statistics.fmean(
                distance(reconstruction=y, original=x, sample_rate=self.sample_rate) for y, x in pairs
            )
            for name, distance in (("mel_distance", mel_distance), ("stft_distance", stft_distance))
        }
        return measured | self.judge(sounds, self.files)


# --- data and our own training ---------------------------------------------------------------------------------------


def make_dataset(music: Path, folder: Path, *, sample_rate: int, channels: int = 1) -> Path:
    """A data set of a folder of music, by the project's own two commands; kept and found again in `folder`."""
    dataset = folder / "dataset"
    prepare = [str(music), "--output", str(folder / "prepared"), "--sample-rate", str(sample_rate)]
    pair = ["--input", str(folder / "prepared"), "--output", str(dataset), "--segment-seconds", "10"]
    pair += ["--format", "npy"]  # programs of others read the arrays
    if not manifest_path(dataset).exists() and (
        prepare_dataset.main([*prepare, "--channels", str(channels)]) or create_dataset.main(pair)
    ):
        raise PeerError(f"no data set could be made of {music}; see the message above.")
    return dataset


def open_dataset(options: Any, folder: Path) -> Path:
    """The data set that was given, or one made of the music that was given; checked against the sample rate."""
    if options.dataset is None and options.music is None:
        raise PeerError("name the music to learn from: --music FOLDER, or --dataset FOLDER if it is prepared.")
    dataset = options.dataset or make_dataset(options.music, folder, sample_rate=options.sample_rate)
    manifest = read_manifest(dataset)
    if (manifest.sample_rate, manifest.channels) != (options.sample_rate, 1):
        raise PeerError(
            f"{dataset} has {manifest.sample_rate} Hz and {manifest.channels} channels, the comparison needs "
            f"{options.sample_rate} Hz mono: give --music instead, or another --sample-rate."
        )
    return dataset


def autoencoder_only() -> dict[str, float]:
    """Settings that give the whole budget to the autoencoder stage."""
    return {f"stages.{stage}.share": float(stage == FIRST_STAGE) for stage in STAGE_NAMES}


def train_ours(dataset: Path, checkpoints: Path, *, minutes: float, seed: int, settings: Mapping[str, object]) -> float:
    """Train with piano_main in a process of its own, unless `checkpoints` holds that run; seconds it took in all.

    The clock of the budget is that of training itself: it starts when networks and data are there.
    """
    done = checkpoints / "finished.json"
    if done.exists():
        before = json.loads(done.read_text(encoding="utf-8"))
        if before["minutes"] != minutes:
            raise PeerError(f"{checkpoints} holds a run of {before['minutes']:g} minutes: use another --output.")
        return float(before["seconds"])
    changes = {"save_after_nepochs": 10**6, "sample_count": 1, **settings}
    command = [
        sys.executable,
        str(ROOT / "piano" / "piano_main.py"),
        "--preset",
        "tiny",
        "--minutes",
        str(minutes),
        "--dataset",
        str(dataset.resolve()),
        "--checkpoints",
        str(checkpoints.resolve()),
        "--seed",
        str(seed),
    ]
    for name, value in changes.items():
        command += ["--set", f"{name}={value}"]
    began = time.monotonic()
    if subprocess.run(command, cwd=ROOT).returncode not in (0, EXIT_RUINED):  # measured all the same
        raise PeerError(f"our own training did not finish; see the message above, and clear {checkpoints}.")
    seconds = time.monotonic() - began
    done.write_text(json.dumps({"seconds": seconds, "minutes": minutes, "seed": seed}), encoding="utf-8")
    return seconds


# --- telling ---------------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Progress, to stderr."""
    print(message, file=sys.stderr, flush=True)


class Plan:
    """Says where a comparison stands, and when it will be done, from the minutes its steps should take."""

    def __init__(self, minutes: Sequence[float]) -> None:
        self.left = list(minutes)

    def next(self, title: str) -> None:
        """A step begins."""
        say(f"== {title} (about {math.ceil(sum(self.left))} min left in all)")
        self.left = self.left[1:]


def mean_and_spread(values: Sequence[float]) -> str:
    """`1.23 +- 0.04`: mean and standard deviation over the runs; no spread for a single one."""
    if len(values) < 2:
        return f"{values[0]:.3g}"
    return f"{statistics.fmean(values):.3g} ± {statistics.stdev(values):.2g}"


def markdown_table(rows: Mapping[str, Mapping[str, Sequence[float]]], measures: Mapping[str, str]) -> str:
    """A table to paste: a row for each contender, a column for each measure, mean and spread over the runs.

    Parameters
    ----------
    rows : mapping of contender to measures, each a value for every run
    measures : mapping of measure to the heading of its column
    """
    lines = ["| | " + " | ".join(measures.values()) + " |", "| --- " * (len(measures) + 1) + "|"]
    for name, values in rows.items():
        cells = [mean_and_spread(values[measure]) if measure in values else "" for measure in measures]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gather(results: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Turn a list of runs (contender -> measure -> value) into contender -> measure -> values."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for run in results:
        for name, values in run.items():
            for measure, value in values.items():
                gathered.setdefault(name, {}).setdefault(measure, []).append(value)
    return gathered


def commit() -> str:
    """Short name of the commit that was measured, with a + where files differ from it; empty outside of git."""
    try:
        answers = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answers[0] + ("+" if answers[1] else "")


def dated(what: str) -> str:
    """The line above a table: when and with which commit it was measured, and what."""
    return f"{time.strftime('%Y-%m-%d')}, commit {commit() or 'unknown'}: {what}\n"


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """The result as JSON, with date and commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamped = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), **result}
    path.write_text(json.dumps(stamped, indent=2, default=str) + "\n", encoding="utf-8")
    say(f"written: {path}")
