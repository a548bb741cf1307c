"""Says in a sound file that it is a loop, where samplers and audio programs look for it.

WAV: a `smpl` chunk with one endless forward loop over all samples (Multimedia Data Standards Update, Microsoft 1994),
and, of a whole number of quarters, an `acid` chunk with tempo, beats and metre, as Sony's ACID wrote it and libsndfile
reads it.
FLAC: the comments LOOPSTART and LOOPLENGTH, in samples, which game engines read, and BPM.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from piano.foundation.sound_chunks import add_flac_comment, add_wav_chunk

MIDDLE_C = 60
"""The key at which a sampler plays it as it is."""
_MAY_STRETCH = 4
_FORWARD = 0


class LoopTags(NamedTuple):
    """What a loop says of itself."""

    samples: int
    """All of them: the one after the last is the first."""
    sample_rate: int
    tempo: float
    """Quarter notes a minute."""
    quarters: float
    """How many of them it holds."""
    meter: tuple[int, int]
    """Beats of a bar, and which note one is: 3, 4."""


def tag_loop(path: Path, container: str, loop: LoopTags) -> None:
    """Write it into a finished sound file, in place.

    Parameters
    ----------
    path : Path
    container : str
        By libsndfile's name: WAV or FLAC. Other files are left alone.
    loop : LoopTags
    """
    with open(path, "r+b") as stream:
        if container == "WAV":
            add_wav_chunk(stream, b"smpl", sampler_chunk(loop))
            if loop.quarters.is_integer():  # a number of beats that is not whole is nothing that the chunk can say
                add_wav_chunk(stream, b"acid", acid_chunk(loop))
        elif container == "FLAC":
            for name, value in (("LOOPSTART", "0"), ("LOOPLENGTH", f"{loop.samples}"), ("BPM", f"{loop.tempo:g}")):
                add_flac_comment(stream, name, value)


def sampler_chunk(loop: LoopTags) -> bytes:
    """The content of `smpl`: no maker, length of a sample in nanoseconds, no tuning, no time code; one loop."""
    head = struct.pack("<9I", 0, 0, round(1e9 / loop.sample_rate), MIDDLE_C, 0, 0, 0, 1, 0)
    return head + struct.pack("<6I", 0, _FORWARD, 0, loop.samples - 1, 0, 0)


def acid_chunk(loop: LoopTags) -> bytes:
    """The content of `acid`."""
    beats, unit = loop.meter
    return struct.pack("<IHHfIHHf", _MAY_STRETCH, MIDDLE_C, 0x8000, 0.0, int(loop.quarters), unit, beats, loop.tempo)
