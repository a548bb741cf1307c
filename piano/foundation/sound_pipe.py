"""Sound to a pipe as it is made: a WAV header, then samples of 16 bits, until it ends or the reader goes."""

import errno
import io
import math
import struct
import sys
import time
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from piano.foundation.audio_writer import MOST_WAV_BYTES, as_written
from piano.foundation.errors import AudioError
from piano.foundation.screen_text import counted
from piano.foundation.sound_progress import say
from piano.foundation.standard_streams import GONE

SAMPLE_BYTES = 2
FULL_SECONDS = 0.01
UNKNOWN = (1 << 32) - 1
"""Bytes of a WAV whose length nobody knows yet: readers of pipes go on to the end (ffmpeg, sox, aplay, mpv)."""


def require_a_pipe() -> None:
    """Samples on a screen are of no use; raises AudioError."""
    if sys.stdout.isatty():
        raise AudioError("--output - writes sound to a pipe, and this is a screen: add | ffplay - or > music.wav.")


def wav_header(*, sample_rate: int, channels: int, samples: int | None) -> bytes:
    """The 44 bytes before the samples of a WAV of 16 bits; `samples` None: nobody knows how many.

    Layout: Microsoft, Multimedia Programming Interface and Data Specifications 1.0, 1991.
    """
    frame = SAMPLE_BYTES * channels
    size = UNKNOWN if samples is None or samples * frame > MOST_WAV_BYTES else samples * frame
    whole = UNKNOWN if size == UNKNOWN else size + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, channels, sample_rate, sample_rate * frame, frame),
        *(8 * SAMPLE_BYTES, b"data", size),
    )


def write_stream(sounds: Iterable[Tensor], *, sample_rate: int, channels: int, seconds: float) -> None:
    """Write waveform pieces (channels, samples) to the standard output; a reader that goes ends it without a word.

    It goes past `sys.stdout`, which outlives its readers (`standard_streams`): here nothing is left to do without one.
    """
    samples = None if math.isinf(seconds) else round(seconds * sample_rate)
    clipped = 0
    try:
        with io.FileIO(sys.stdout.fileno(), "w", closefd=False) as stream:
            _write(stream, wav_header(sample_rate=sample_rate, channels=channels, samples=samples))
            for sound in sounds:
                waveform = sound.float().cpu().numpy()
                clipped += int((np.abs(waveform) > 1.0).sum())
                _write(stream, as_written(waveform.T, "PCM_16").astype("<i2").tobytes())
    except OSError as error:
        if error.errno not in (*GONE, errno.EINVAL):  # what Windows calls a pipe that nobody reads
            raise
    if clipped:
        say(f"{counted(clipped, 'sample')} beyond full scale clipped: what is not written yet cannot make it softer.")


def _write(stream: io.FileIO, data: bytes) -> None:
    """All of it: a pipe takes as much at once as fits."""
    rest = memoryview(data)
    while rest:
        taken = stream.write(rest)
        if taken is None:  # a pipe that does not wait is full
            time.sleep(FULL_SECONDS)
        rest = rest[taken or 0 :]
