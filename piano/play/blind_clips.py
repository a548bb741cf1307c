"""Clips for blind listening that differ in nothing but their music: one length, one format, one loudness."""

import asyncio
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.evaluation.lufs import GATE, integrated_lufs
from piano.evaluation.music_folder import is_dataset, read_songs, song_names
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.errors import AudioError, MusiganError
from piano.play.scheduler import Scheduler

SECONDS = 8.0
RATE, CHANNELS = 44_100, 2
"""Of every clip, whatever its model has: a header must not tell."""
LUFS = -20.0
CEILING = 0.97
LONGEST_READ = 300.0
"""Seconds of a file of real music that are read."""
TRIES = 20
AUDIBLE = 1e-3
"""Root mean square of a clip that sounds."""
URGENCY = 3.0
"""Of a clip: somebody waits for it, and has nothing to hear meanwhile."""


def as_wavs(clips: Sequence[NDArray], rates: Sequence[int]) -> list[bytes]:
    """WAV files of clips (channels, samples): all as long, and as loud as the one that can be least loud.

    Parameters
    ----------
    clips : sequence of array [shape=(channels, samples)]
    rates : sequence of int
        Of each of them.
    """
    shaped = [in_form(clip, rate) for clip, rate in zip(clips, rates, strict=True)]
    loudness = [integrated_lufs(clip, RATE) for clip in shaped]
    target = LUFS  # what can be reached by all without clipping: a limiter would be heard
    for clip, level in zip(shaped, loudness, strict=True):
        if math.isfinite(level) and level > GATE:
            target = min(target, level + 20 * math.log10(CEILING / max(float(np.abs(clip).max()), 1e-6)))
    files = []
    for clip, level in zip(shaped, loudness, strict=True):
        gain = 10 ** ((target - level) / 20) if math.isfinite(level) and level > GATE else 1.0
        stream = io.BytesIO()
        soundfile.write(stream, np.clip(gain * clip, -1.0, 1.0).T, RATE, "PCM_16", format="WAV")
        files.append(stream.getvalue())
    return files


def in_form(clip: NDArray, rate: int) -> NDArray[np.float32]:
    """A clip (channels, samples) at the rate, in the channels and of the length that all have."""
    sound = np.asarray(clip, dtype=np.float32)
    if rate != RATE:
        sound = soxr.resample(sound.T, rate, RATE, quality="HQ").T
    samples = round(SECONDS * RATE)
    sound = np.pad(sound[:, :samples], ((0, 0), (0, max(0, samples - sound.shape[1]))))
    return np.ascontiguousarray(np.broadcast_to(sound, (CHANNELS, samples)), dtype=np.float32)


def real_clip(folder: Path, random: torch.Generator, *, sample_rate: int, channels: int) -> NDArray[np.float32]:
    """A clip of real music (channels, samples) that sounds, from a random song and place; raises MusiganError.

    Parameters
    ----------
    folder : Path
        Of sound files, in any folders inside it, or a data set: then of its validation music.
    random : torch.Generator
    sample_rate, channels : int
        Of what it is held against: it must not sound better than that can.
    """
    if not folder.is_dir():
        raise AudioError("there is no real music to hear: its folder has gone.")
    names = song_names(folder, "validation") if is_dataset(folder) else find_audio_files(folder)
    samples = round(SECONDS * sample_rate)
    for _ in range(TRIES if names else 0):
        name = names[int(torch.randint(len(names), (1,), generator=random))]
        song = _song(folder, name, sample_rate, channels)
        if song is None or song.shape[1] < samples:
            continue
        begin = int(torch.randint(song.shape[1] - samples + 1, (1,), generator=random))
        clip = song[:, begin : begin + samples]
        if float(np.sqrt(np.square(clip).mean())) > AUDIBLE:
            return clip
    raise AudioError(f"no clip of {SECONDS:g} seconds that sounds was found in the real music.")


def _song(folder: Path, name: str | Path, sample_rate: int, channels: int) -> NDArray[np.float32] | None:
    """A song (channels, samples), or its beginning; None where it cannot be read."""
    if isinstance(name, str):
        songs = read_songs(folder, sample_rate=sample_rate, channels=channels, only={name})
        return next((song.waveform for song in songs), None)
    try:
        return read_audio(name, sample_rate=sample_rate, channels=channels, max_seconds=LONGEST_READ)
    except AudioError:
        return None


class Composed:
    """A clip of a model as work for the scheduler."""

    def __init__(self, composer: Composer, seed: int, item: int, done: Callable[[NDArray | Exception], None]) -> None:
        self._composer, self._done = composer, done
        self._sounds: Iterator[Tensor] | None = None
        self._seed, self._item = seed, item
        self._pieces: list[NDArray] = []

    def urgency(self) -> float | None:
        """Before jobs, after listeners who have less."""
        return URGENCY

    def step(self) -> float | None:
        """The next piece."""
        if self._sounds is None:
            sampling = Sampling(self._seed, dtype=self._composer.sampling.dtype)
            self._sounds = self._composer.with_sampling(sampling).stream(SECONDS, item=self._item)
        piece = next(self._sounds, None)
        if piece is None:
            self._done(np.concatenate(self._pieces, axis=1))
            return None
        self._pieces.append(piece.float().cpu().numpy())
        return piece.shape[-1] / self._composer.generator.sample_rate

    def fail(self, error: Exception) -> None:
        """Whoever waits is told."""
        self._done(
            error
            if isinstance(error, MusiganError)
            else MusiganError("This clip could not be made: a fault of the program.")
        )


async def composed(scheduler: Scheduler, composer: Composer, seed: int, item: int) -> NDArray[np.float32]:
    """A clip of a model (channels, samples), made when the scheduler has time; raises MusiganError."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def set_result(result: NDArray | Exception) -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    work = Composed(composer, seed, item, lambda result: loop.call_soon_threadsafe(set_result, result) and None)
    scheduler.add(work)
    try:
        return await future
    finally:
        scheduler.remove(work)
