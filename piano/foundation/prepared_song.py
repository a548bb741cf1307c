"""What the manifest of a prepared folder says about one file of music, and reading that without believing it."""

import re
from dataclasses import dataclass
from typing import Any

from piano.foundation import bounds

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
"""Folder of a song and file of a chunk: no separators, no drives, no dots in front, so never outside the folder."""
SHARDS_FOLDER = "shards"
"""In a prepared folder and in a data set: files that hold many songs, one after the other."""
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
    """A stretch of a song that lies in one file, and where in it."""

    file: str
    """Name of a shard; or inside the song's own folder, where the song has one."""
    start_sample: int
    """Where in the song it begins; in folders of version 1 the last chunk may overlap the one before."""
    samples: int
    row: int | None = None
    """Where it begins in the shard; None: the whole file is this chunk, and lies in the song's folder."""


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
    """A name that no other song has; of its folder inside the prepared folder, until it is in a shard."""
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
    fingerprint_words: tuple[int, int] | None = None
    """First and end of its fingerprint in the one of its shard; None: it is a file in the song's folder."""

    @property
    def shard(self) -> str | None:
        """File of the shard that holds the song; None where it has a folder of its own."""
        return self.chunks[0].file if self.chunks and self.chunks[0].row is not None else None


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
    words = values.get("fingerprint_words")
    fields = {"chunks": chunks, "notes": tuple(values["notes"]), "fingerprint_words": words and tuple(words)}
    song = SongEntry(**{**values, **fields})
    for name, bound in _SONG_BOUNDS.items():
        bound.check(getattr(song, name), name)
    check_texts(song.source, song.folder, song.group, song.sha256, *song.notes)
    if not song.source or not _SHA256.fullmatch(song.sha256):
        raise ValueError("source and sha256 say which file it is")
    check_names(song.folder, *(chunk.file for chunk in chunks))
    covered = 0
    for chunk in chunks:
        bounds.SAMPLES.check(chunk.start_sample, "start_sample")
        bounds.SAMPLES.check(chunk.samples, "samples")
        if not chunk.start_sample <= covered < chunk.start_sample + chunk.samples:
            raise ValueError("every chunk begins in the one before, or right after it, and goes on")
        covered = chunk.start_sample + chunk.samples
    if covered != song.samples or not chunks:
        raise ValueError("the chunks end with the song")
    _check_shard(song)
    return song


def _check_shard(song: SongEntry) -> None:
    """Raise a ValueError or TypeError unless a song is in a shard with all it has, or not at all."""
    words, in_shard = song.fingerprint_words, {chunk.row is not None for chunk in song.chunks}
    if in_shard != {words is not None}:
        raise ValueError("a song is in a shard as a whole, or not at all")
    if words is None:
        return
    for row in (*words, *(chunk.row for chunk in song.chunks)):
        bounds.SAMPLES.check(row, "row")
    if len(words) != 2 or words[0] > words[1] or len({chunk.file for chunk in song.chunks}) > 1:
        raise ValueError("a song lies in one shard, with its fingerprint")


def check_texts(*values: object) -> None:
    """Raise a TypeError unless all values are texts."""
    if not all(isinstance(value, str) for value in values):
        raise TypeError("names and notes are texts")


def check_names(*values: str) -> None:
    """Raise a ValueError or TypeError unless all values are plain names of files or folders."""
    if not all(_PLAIN_NAME.fullmatch(name) for name in values):
        raise ValueError("folders and files have plain names")


def left_out_from_dict(values: dict[str, Any]) -> LeftOut:
    """A LeftOut from JSON; raises TypeError if fields are wrong."""
    entry = LeftOut(**values)
    check_texts(entry.source, entry.reason, entry.detail)
    return entry
