"""What the manifest of a prepared folder says about one file of music, and reading that without believing it."""

import re
from dataclasses import dataclass
from typing import Any

from piano.foundation import bounds

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
"""Folder of a song and file of a chunk: no separators, no drives, no dots in front, so never outside the folder."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SONG_BOUNDS = {
    "size": bounds.FILE_BYTES,
    "mtime_ns": bounds.TIME_NS,
    "source_sample_rate": bounds.SOURCE_RATE,
    "source_channels": bounds.SOURCE_CHANNELS,
    "samples": bounds.SAMPLES,
    "seconds": bounds.SONG_SECONDS,
    "loudness_db": bounds.DECIBELS,
    "peak_db": bounds.DECIBELS,
    "gain_db": bounds.DECIBELS,
    "silence_share": bounds.SHARE,
}


@dataclass(frozen=True, kw_only=True)
class ChunkEntry:
    """One chunk file: float32 of shape (channels, samples), finite, within [-1, 1]."""

    file: str
    """Name inside the song's folder."""
    start_sample: int
    """Where in the song it begins; the last chunk may overlap the one before."""
    samples: int


@dataclass(frozen=True, kw_only=True)
class SongEntry:
    """One prepared song."""

    source: str
    """Path inside the music folder, with forward slashes."""
    size: int
    """Of the source, in bytes."""
    mtime_ns: int
    """When the source was last changed."""
    sha256: str
    """Of the source's bytes."""
    folder: str
    """Inside the prepared folder."""
    source_sample_rate: int
    """Before resampling."""
    source_channels: int
    samples: int
    """Of the whole song at the prepared rate, per channel."""
    seconds: float
    loudness_db: float
    """Root mean square of the source without its silent stretches, in dB below full scale, before levelling."""
    peak_db: float
    """Largest sample of the source in dB, before levelling."""
    gain_db: float
    """What levelling added."""
    silence_share: float
    """Part of the song that is silent, 0 to 1."""
    chunks: tuple[ChunkEntry, ...]
    notes: tuple[str, ...] = ()
    """What was odd about the source."""
    group: str = ""
    """Songs of one group are the same recording; a split never separates them."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that gave no chunk."""

    source: str
    reason: str
    """One of data_prep's reason codes: unreadable, too_short, silent, duplicate ..."""
    detail: str = ""


def song_from_dict(values: dict[str, Any]) -> SongEntry:
    """A SongEntry from what `dataclasses.asdict` and JSON made of it.

    Raises
    ------
    ValueError, TypeError, KeyError
        If a field is missing, of another type or beyond its bounds.
    """
    chunks = tuple(ChunkEntry(**chunk) for chunk in values["chunks"])
    song = SongEntry(**{**values, "chunks": chunks, "notes": tuple(values["notes"])})
    for name, bound in _SONG_BOUNDS.items():
        bound.check(getattr(song, name), name)
    check_texts(song.source, song.folder, song.group, song.sha256, *song.notes)
    if not song.source or not _SHA256.fullmatch(song.sha256):
        raise ValueError("source and sha256 say which file it is")
    if not all(_PLAIN_NAME.fullmatch(name) for name in (song.folder, *(chunk.file for chunk in chunks))):
        raise ValueError("folder and chunk files are plain names")
    covered = 0
    for chunk in chunks:
        bounds.SAMPLES.check(chunk.start_sample, "start_sample")
        bounds.SAMPLES.check(chunk.samples, "samples")
        if not chunk.start_sample <= covered < chunk.start_sample + chunk.samples:
            raise ValueError("every chunk begins in the one before, or right after it, and goes on")
        covered = chunk.start_sample + chunk.samples
    if covered != song.samples or not chunks:
        raise ValueError("the chunks end with the song")
    return song


def check_texts(*values: object) -> None:
    """Raise a TypeError unless all values are texts."""
    if not all(isinstance(value, str) for value in values):
        raise TypeError("names and notes are texts")


def left_out_from_dict(values: dict[str, Any]) -> LeftOut:
    """A LeftOut from JSON; raises TypeError if fields are wrong."""
    entry = LeftOut(**values)
    check_texts(entry.source, entry.reason, entry.detail)
    return entry
