"""libsndfile at work: a file or a part of one, read in blocks up to its end or to damage."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import soundfile

from piano.foundation.channel_mix import in_wave_order
from piano.foundation.decode_log import DecodeLog
from piano.foundation.errors import AudioError
from piano.foundation.screen_text import printable
from piano.foundation.sound_source import SourcePart

RATES = (1_000, 768_000)
"""Hz: from the slowest to the fastest file that is read."""
MOST_NUMBERS = 4_000_000
"""In one block, all channels together, whatever rate and channels a header claims."""
PIECE = 1 << 16
"""Samples read at a time. At damage, this many are thrown away; in FLAC they are decoded again."""
READS_DIRECTLY = True
"""libsndfile opens whole files by itself, which saves a tenth of the time of a WAV or MP3."""

_LOG = logging.getLogger(__name__)


class NativeBlock(NamedTuple):
    """Sound as it lies in the file."""

    frames: np.ndarray
    """[shape=(samples, source channels)] float32; left and right first"""
    sample_rate: int
    part: int
    """Counts the stretches that do not belong together: joined files, changes of rate, both sides of damage."""


class Refused(AudioError):
    """libsndfile does not know the format."""


class Task(NamedTuple):
    """What every decoder is told."""

    path: Path
    seconds: float
    log: DecodeLog
    alive: Callable[[], None]

    def block_frames(self, sample_rate: int, channels: int) -> int:
        """Samples of one block."""
        if not RATES[0] <= sample_rate <= RATES[1]:
            raise AudioError(f"{printable(self.path)} claims {sample_rate} Hz: from {RATES[0]} to {RATES[1]} are read.")
        return max(1, min(round(self.seconds * sample_rate), MOST_NUMBERS // channels))


def sndfile_name(path: Path) -> Any:
    """The path as soundfile takes it: as text it would refuse names that are not valid Unicode."""
    return str(path) if os.name == "nt" else os.fsencode(path)


class _SequentialFile(soundfile.SoundFile):
    """A sound file read from front to end.

    soundfile seeks after every block it reads, which fails on a FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


def open_sound(part: SourcePart, path: Path, *, is_direct: bool = False) -> soundfile.SoundFile:
    """Open a part of a file; raises Refused.

    Parameters
    ----------
    part : SourcePart
    path : Path
        Of the file.
    is_direct : bool
        libsndfile may open the file by itself where the part is all of it: faster, and a disk that fails looks like
        the end of the file.
    """
    part.seek(0)
    try:
        if is_direct and READS_DIRECTLY and part.is_whole():
            return _SequentialFile(sndfile_name(path))
        return _SequentialFile(cast(Any, part))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: taken for headerless data
        part.source.check()
        _LOG.debug("%s: %s", path, error)
        raise Refused(f"{printable(path)} is not sound in a format that can be decoded.") from None


class Reader:
    """Reads a sound file in blocks, and knows how far it came."""

    def __init__(self, file: soundfile.SoundFile, part: SourcePart, task: Task) -> None:
        self._file, self._part, self._task = file, part, task
        self._count = task.block_frames(file.samplerate, file.channels)
        task.alive()
        self.samples = 0
        self.is_broken = False

    def blocks(self, number: int, *, skip: int = 0, expected: int = 0) -> Iterator[NativeBlock]:
        """Everything up to the end or to damage.

        Parameters
        ----------
        number : int
            Of the part.
        skip : int
            Samples to leave out at the beginning.
        expected : int
            With fewer, a file that libsndfile opened by itself is read on from there, to see whether it was the disk.
        """
        yield from self._blocks(number, skip)
        if not isinstance(self._file.name, SourcePart) and (self.is_broken or self.samples < expected):
            done, self.samples, self.is_broken = self.samples, 0, False
            with open_sound(self._part, self._task.path) as self._file:
                yield from self._blocks(number, done)

    def _blocks(self, number: int, skip: int) -> Iterator[NativeBlock]:
        is_over = False
        while not is_over:
            buffer = np.empty((self._count, self._file.channels), dtype=np.float32)
            filled = 0
            while filled < len(buffer):
                try:
                    got = self._file.read(out=buffer[filled : filled + PIECE])
                except soundfile.LibsndfileError:
                    self.is_broken = is_over = True
                    break
                if len(got) == 0:
                    is_over = True
                    break
                filled += len(got)
                self._task.alive()
            self._part.source.check()
            self.samples += filled
            frames = buffer[min(skip, filled) : filled]
            skip -= min(skip, filled)
            if len(frames):
                frames = in_wave_order(frames, file_format=self._file.format)
                yield NativeBlock(frames, self._file.samplerate, number)
