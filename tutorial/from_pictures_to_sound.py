"""The step to the audio model: notes to learn from, and its commands, started from a notebook."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from piano.foundation.audio_io import write_audio
from piano.foundation.errors import EXIT_RUINED, TrainingError

PROJECT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "prepare": "data_prep.prepare_dataset",
    "dataset": "data_prep.create_dataset",
    "train": "piano.piano_main",
    "generate": "piano.generate_music",
}
"""Verb of `musigan` to its module."""
CHORDS = ((0, 4, 7, 12), (5, 9, 12, 17), (7, 11, 14, 19), (9, 12, 16, 21))
"""Semitones above the key's tone: I, IV, V, vi."""


def play_chords(seconds: float, sample_rate: int, *, seed: int) -> NDArray[np.float32]:
    """A made-up piece: chords broken into plucked notes, in a key and at a tempo that the seed chooses.

    Returns
    -------
    array [shape=(1, samples)]
    """
    random = np.random.default_rng(seed)
    key, beat = 110.0 * 2.0 ** (random.integers(0, 12) / 12.0), float(random.uniform(0.2, 0.35))
    samples = round(seconds * sample_rate)
    sound = np.zeros(samples + sample_rate)
    time = np.arange(sample_rate) / sample_rate
    for index in range(int(seconds / beat)):
        if index % 8 == 0:
            chord = CHORDS[random.integers(len(CHORDS))]
        pitch = key * 2.0 ** (random.choice(chord) / 12.0)
        note = sum(np.sin(2 * np.pi * pitch * k * time) / k**1.5 for k in range(1, 7))
        begin = round(index * beat * sample_rate)
        sound[begin : begin + sample_rate] += 0.12 * note * np.exp(-4.0 * time) * np.minimum(time / 0.005, 1.0)
    return sound[None, :samples].astype(np.float32)


def write_pieces(folder: Path | str, *, count: int = 8, seconds: float = 40.0, sample_rate: int = 16_000) -> list[Path]:
    """Made-up pieces as WAV files, each of another seed; files that are there already are left alone."""
    paths = [Path(folder) / f"chords-{seed}.wav" for seed in range(count)]
    for seed, path in enumerate(paths):
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, play_chords(seconds, sample_rate, seed=seed), sample_rate)
    return paths


def mp3_of(path: Path, seconds: float) -> bytes:
    """The beginning of a sound file as MP3: a tenth of the size that a notebook would keep otherwise."""
    with soundfile.SoundFile(path) as sound:
        samples, rate = sound.read(round(seconds * sound.samplerate), dtype="float32"), sound.samplerate
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3")
    return buffer.getvalue()


def musigan(verb: str, *arguments: object, lines: int = 6, is_ruin_told: bool = False) -> None:
    """Run one of the project's commands as in a terminal, and print the end of what it says.

    Parameters
    ----------
    verb : str
        A key of COMMANDS.
    arguments : object
        Of the command line.
    lines : int
        Of its output that are shown.
    is_ruin_told : bool
        Whether a training that learned too little is no failure: what it says of itself is shown.

    Raises
    ------
    TrainingError
        If the command fails, with the last line it printed.
    """
    words = [str(argument) for argument in arguments]
    print("$ musigan", verb, *words)
    answer = subprocess.run(
        [sys.executable, "-m", COMMANDS[verb], *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode and not (is_ruin_told and answer.returncode == EXIT_RUINED):
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
        raise TrainingError(f"musigan {verb} failed: {said[-1] if said else answer.returncode}")
    said = answer.stdout.replace(f"{PROJECT}{os.sep}", "")  # a notebook that is handed on names nobody's folders
    print(*said.strip().splitlines()[-lines:], sep="\n")
