"""The sounds of a listening page: what generate_music wrote, told by its names, and real music beside it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.errors import AudioError

REAL_SECONDS = 20.0
Kind = Literal["noise", "continuation", "reconstruction", "real"]


class Sound(NamedTuple):
    """One sound to show."""

    kind: Kind
    title: str
    words: str
    """What it is, in a sentence."""
    waveform: NDArray[np.float32]
    """[shape=(channels, samples)]"""
    sample_rate: int
    takeover_seconds: float | None = None
    """Where a continuation leaves its prompt."""

    @property
    def seconds(self) -> float:
        """Length of what is shown."""
        return self.waveform.shape[1] / self.sample_rate


def load_sound(path: Path, *, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    """The first `max_seconds` of a file at its own rate: waveform (channels, samples) and sample rate.

    Raises
    ------
    AudioError
        The file cannot be read.
    """
    information = inspect_sound(path)
    rate, channels = information.samplerate, min(information.channels, 2)
    return read_audio(path, sample_rate=rate, channels=channels, max_seconds=max_seconds), rate


def collect_made_music(folder: Path, *, max_seconds: float) -> list[Sound]:
    """The files that generate_music wrote, in order; a continuation is shown whole, with the place where it begins.

    Raises
    ------
    AudioError
        There is no audio file in the folder.
    """
    paths = find_audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise AudioError(
            f"there is no sound in {folder}. Make some with `musigan generate --output {folder}`."
        )
    return [
        describe(path, paths, max_seconds=max_seconds)
        for path in paths
        if not (path.stem.endswith(".continuation") and companion(path, "full") in paths)
    ]


def companion(path: Path, kind: str) -> Path:
    """The file beside `NAME.continuation.wav` (or `NAME.full.wav`) that is called `NAME.KIND.wav`."""
    return path.with_name(re.sub(r"\.(continuation|full)$", f".{kind}", path.stem) + path.suffix)


def describe(path: Path, paths: Iterable[Path], *, max_seconds: float) -> Sound:
    """A file with words that say what it is, by its name."""
    waveform, rate = load_sound(path, max_seconds=max_seconds)
    if path.stem.endswith(".full") and (continuation := companion(path, "continuation")) in paths:
        takeover = sound_seconds(path) - sound_seconds(continuation)
        words = f"{takeover:.1f} s of the fragment it was given, then its own music."
        return Sound("continuation", path.name, words, waveform, rate, takeover)
    if path.stem.endswith((".full", ".continuation")):
        return Sound("continuation", path.name, "The other half of the pair is missing.", waveform, rate)
    if path.stem.endswith(".reconstruction"):
        return Sound("reconstruction", path.name, "Through the autoencoder and back.", waveform, rate)
    layout = "mono" if len(waveform) == 1 else "stereo"
    return Sound(
        "noise",
        path.name,
        f"{waveform.shape[1] / rate:.0f} s, {rate / 1000:g} kHz, {layout}.",
        waveform,
        rate,
    )


def inspect_sound(path: Path) -> Any:
    """What the file's header says: samplerate, channels, duration; raises AudioError if it has none."""
    try:
        return soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be read ({error}).") from error


def sound_seconds(path: Path) -> float:
    """Length of a sound file."""
    return float(inspect_sound(path).duration)


def collect_real_music(folder: Path, *, count: int, sample_rate: int, channels: int) -> list[Sound]:
    """Excerpts from the middle of files spread over the folder, at the rate of what they are compared with.

    Raises
    ------
    AudioError
        There is no audio file in the folder, or one cannot be read.
    """
    paths = find_audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise AudioError(
            f"there is no sound in {folder}. Name a folder of music with --real, or leave it out."
        )
    chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))]
    sounds = []
    for path in chosen:
        begin = max(sound_seconds(path) / 2 - REAL_SECONDS / 2, 0.0)
        waveform = read_audio(
            path, sample_rate=sample_rate, channels=channels, max_seconds=begin + REAL_SECONDS
        )[:, round(begin * sample_rate) :]
        words = f"{REAL_SECONDS:g} s from its middle, at {sample_rate / 1000:g} kHz."
        sounds.append(Sound("real", path.name, words, waveform, sample_rate))
    return sounds
