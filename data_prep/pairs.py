"""Cuts prepared songs into pairs of neighbouring segments; short files can be joined into recordings first."""

import dataclasses
import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from piano.foundation.dataset_format import PreparedManifest
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import SongEntry

SILENCE_PEAK = 10 ** (-66 / 20)
"""A segment without a sample above this is silent; songs are levelled to -18 dB."""
SILENT_SHARE = 0.02
"""Silent pairs of a song that stay, as a share of those that sound: a little silence is music too."""
JOINED_SECONDS = 60.0
"""Short files are joined into recordings of about this length, or into about ten in all if they are few."""


class Recordings(NamedTuple):
    """What pairs can be cut from."""

    songs: list[SongEntry]
    """At least a pair long; a joined one stands for several files."""
    parts: dict[str, tuple[SongEntry, ...]]
    """The files of the joined ones, by source."""
    too_short: tuple[str, ...]


def gather_recordings(source: PreparedManifest, segment_samples: int, *, join_short: bool) -> Recordings:
    """The songs that are at least a pair long, and with `join_short` short ones of a folder put together."""
    songs = [song for song in source.songs if song.samples >= 2 * segment_samples]
    parts = join_files(source, segment_samples) if join_short else {}
    songs += [_joined(name, files) for name, files in parts.items()]
    used = {song.source for song in songs} | {part.source for files in parts.values() for part in files}
    too_short = tuple(song.source for song in source.songs if song.source not in used)
    return Recordings(sorted(songs, key=lambda song: song.source) if parts else songs, parts, too_short)


def join_files(source: PreparedManifest, segment_samples: int) -> dict[str, tuple[SongEntry, ...]]:
    """Files that are too short for a pair, gathered folder by folder into recordings that are long enough.

    Folders without enough for a pair go together. Of files that are the same recording one is taken, and none that is
    part of a long song: so no joined recording shares music with another one.
    """
    seen = {song.group for song in source.songs if song.samples >= 2 * segment_samples}
    folders: dict[PurePosixPath, list[SongEntry]] = {}
    for song in source.songs:
        if song.samples < 2 * segment_samples and song.group not in seen:
            seen.add(song.group)
            folders.setdefault(PurePosixPath(song.source).parent, []).append(song)
    every = sum(song.samples for songs in folders.values() for song in songs)
    wanted = max(2 * segment_samples, min(round(JOINED_SECONDS * source.settings.sample_rate), every // 10))
    found: dict[str, tuple[SongEntry, ...]] = {}
    small: list[list[SongEntry]] = []
    large: list[list[SongEntry]] = []
    for songs in folders.values():
        (small if sum(song.samples for song in songs) < 2 * segment_samples else large).append(songs)
    for songs in [*large, [song for few in small for song in few]]:
        rows: list[list[SongEntry]] = [[]]
        for song in songs:
            rows[-1].append(song)
            if sum(part.samples for part in rows[-1]) >= wanted:
                rows.append([])
        rest = rows.pop()
        if rows:
            rows[-1] += rest
        elif sum(part.samples for part in rest) >= 2 * segment_samples:
            rows = [rest]
        found |= {f"{row[0].source} and {len(row) - 1} more": tuple(row) for row in rows}
    return found


def _joined(name: str, parts: tuple[SongEntry, ...]) -> SongEntry:
    """One entry that stands for several files, one after the other."""
    samples = sum(part.samples for part in parts)
    return dataclasses.replace(
        parts[0],
        source=name,
        group=name,
        folder="",
        chunks=(),
        samples=samples,
        seconds=round(sum(part.seconds for part in parts), 3),
        silence_share=sum(part.silence_share * part.samples for part in parts) / samples,
        sha256=hashlib.sha256("\n".join(part.sha256 for part in parts).encode()).hexdigest(),
    )


def read_run(
    reader: ChunkReader, song: SongEntry, start: int, stop: int, parts: dict[str, tuple[SongEntry, ...]] | None = None
) -> np.ndarray:
    """Samples [start, stop) of a song, or of several files one after the other.

    Returns
    -------
    np.ndarray [shape=(channels, stop - start)]
        float32
    """
    files = (parts or {}).get(song.source)
    if files is None:
        return reader.read(song, start, stop)
    pieces, begin = [], 0
    for file in files:
        first, last = max(start - begin, 0), min(stop - begin, file.samples)
        if first < last:
            pieces.append(reader.read(file, first, last))
        begin += file.samples
    return np.concatenate(pieces, axis=1)


def cut_pairs(reader: ChunkReader, song: SongEntry, recordings: Recordings, segment_samples: int) -> np.ndarray:
    """Where the pairs of a recording begin [shape=(pairs,)], without those beyond a small share that are silent."""
    pairs = np.arange(song.samples // segment_samples - 1) * segment_samples
    if song.silence_share * song.samples < 1.8 * segment_samples:  # nowhere a pair's length of silence
        return pairs
    is_silent = [
        np.abs(read_run(reader, song, start, start + segment_samples, recordings.parts)).max() < SILENCE_PEAK
        for start in range(0, song.samples - segment_samples + 1, segment_samples)
    ]
    silent = [index for index in range(len(pairs)) if is_silent[index] and is_silent[index + 1]]
    allowed = int(SILENT_SHARE * (len(pairs) - len(silent)))
    return np.delete(pairs, silent[allowed:])
