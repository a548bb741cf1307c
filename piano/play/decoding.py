"""A sound that a visitor brought becomes a clean FLAC, in a process of its own: a decoder in C may crash or hang.

Little is imported here, for each such process begins anew.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from data_prep.worker_pool import TaskEvent, Tick
from piano.foundation.audio_io import DecodeLog, decode_blocks
from piano.foundation.errors import AudioError
from piano.foundation.levels import SILENCE_DB
from piano.play.refusals import renamed

RATE, CHANNELS = 44_100, 2


class DecodeTask(NamedTuple):
    """A file to decode, and where to."""

    source: Path
    target: Path
    most_seconds: float


def decode_upload(task: DecodeTask, tick: Tick) -> tuple[float, list[str]]:
    """Decode a file into a FLAC of 24 bits; seconds of it, and what was odd about it.

    Raises
    ------
    AudioError
        There is no sound in it, or too much.
    """
    log, samples, peak = DecodeLog(), 0, 0.0
    with soundfile.SoundFile(str(task.target), "w", RATE, CHANNELS, "PCM_24", format="FLAC") as file:
        for block in decode_blocks(task.source, sample_rate=RATE, channels=CHANNELS, log=log, alive=lambda: tick(0.0)):
            samples += block.shape[1]
            if samples > task.most_seconds * RATE:
                raise AudioError(
                    f"it is longer than {task.most_seconds / 60:g} minutes: cut out the part that matters."
                )
            file.write(np.clip(block.T, -1.0, 1.0))
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            tick(block.shape[1] / RATE)
    if samples and peak < 10 ** (SILENCE_DB / 20):
        raise AudioError(f"it is silent: nothing in it is above {SILENCE_DB:.0f} dB.")
    return samples / RATE, log.notes


def outcome(event: TaskEvent, task: DecodeTask, name: str) -> tuple[float, list[str]]:
    """Seconds and notes of a task that has ended; raises AudioError in the visitor's words."""
    if event.failure:
        told = renamed(renamed(event.failure, task.source, name), task.target, name)
        raise AudioError(told if name in told else f"{name}: {told}")
    seconds, notes = event.result
    if seconds <= 0.0:
        raise AudioError(f"{name} holds no sound.")
    return seconds, notes
