"""Packs prepared songs into shards: files of many songs, one after the other, that are never written again.

Songs go in by their names, so the same music gives the same bytes, in whatever order its songs were made and however
often that was killed: as long as nothing is packed before all songs are there, or all fit into one shard. Then they lie
in shard 0, also where songs were added later; more than that grows by shards. A shard is whole on the disk, with its
index, before the folders of its songs go; a shard that it replaces goes when no manifest names it any more.
"""

import dataclasses
import hashlib
import itertools
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep.prepare_song import RECORDS_FOLDER, SOUND_NAME, SourceRecord, record_path
from data_prep.shard_index import (
    SHARD_FILE,
    Shard,
    fingerprints_path,
    forget_packed,
    index_path,
    packed_songs,
    write_index,
)
from data_prep.song_groups import read_fingerprints
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import put_in_place, replacing, unfinished
from piano.foundation.npy_files import begin_array, save_array
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import SHARDS_FOLDER, ChunkEntry, SongEntry
from piano.foundation.quantised import SHARD_BYTES, STORED_KIND
from piano.foundation.screen_text import counted, printable

LIVE_SHARE = 0.5
"""A shard of whose sound less is wanted is packed again."""
MOST_SMALL = 16
"""Shards below half of the full size; where there are more, all of them are packed again, together."""
_SHOWN_AFTER_SECONDS = 2.0


class WrittenShard(NamedTuple):
    """A shard that lies on the disk, without its index."""

    file: str
    songs: list[SongEntry]
    """With their places in it, but for the fingerprints."""


def pack_songs(output: Path, records: dict[str, SourceRecord], aside: dict[str, SourceRecord], channels: int) -> None:
    """Put every song that has a folder of its own into a shard, and those of shards that are mostly empty; all in one
    where they fit.

    Parameters
    ----------
    output : Path
        The prepared folder.
    records : dict of str to SourceRecord
        Of what the manifest will hold, by source; gets the new places of the songs.
    aside : dict of str to SourceRecord
        Of what it will not hold, but is to stay (`earlier_run.records_aside`).
    channels : int
        That the songs of `records` have.

    Raises
    ------
    DatasetError
        If the disk is full or fails, or a song cannot be read.
    """
    (output / SHARDS_FOLDER).mkdir(exist_ok=True)
    row_bytes = channels * STORED_KIND.itemsize
    songs = [record.song for _, record in sorted(records.items()) if record.song is not None]
    loose = [song for song in songs if song.shard is None]
    shards = list(packed_songs(output).shards.values())
    number = max((shard.number for shard in shards), default=-1) + 1
    held = {record.song.shard for record in aside.values() if record.song is not None} - {None}
    is_one = _belong_into_one(songs, held, row_bytes, shards)
    total = sum(song.samples for song in (songs if is_one else loose)) * row_bytes
    with _bar(total) as bar, ChunkReader(output, channels) as reader:
        packer = _Packer(output, channels, records, reader, bar)
        if is_one:
            packer.pack(0, songs, {shard.file for shard in shards})
        else:
            for batch in in_batches(loose, row_bytes, SHARD_BYTES):
                packer.pack(number, batch)
                number += 1
            for files in _to_pack_again(shards, songs, held, row_bytes):
                packer.pack(number, [song for song in songs if song.shard in files], files)
                number += 1
    _settle_indexes(output, records, aside)


def write_shard(
    folder: Path, number: int, songs: Sequence[SongEntry], reader: ChunkReader, channels: int, bar: tqdm | None = None
) -> WrittenShard:
    """Write songs one after the other into a file whose name tells its content: `shard_0003_1a2b3c4d.npy`.

    Parameters
    ----------
    folder : Path
        Where the file goes.
    number : int
        Of the shard.
    songs : sequence of SongEntry
    reader : ChunkReader
        Of the folder where they lie.
    channels : int
    bar : tqdm, optional
        Counts the bytes.

    Raises
    ------
    OSError, DatasetError
        If the disk is full, or a song cannot be read.
    """
    digest, placed, row = hashlib.sha256(), [], 0
    with unfinished(folder / f"shard_{number:04d}") as temporary:
        with open(temporary, "r+b") as stream:
            begin_array(stream, STORED_KIND, (sum(song.samples for song in songs), channels))
            for song in songs:
                for block in reader.blocks(song):
                    stream.write(block.data)
                    digest.update(block.data)
                    if bar is not None:
                        bar.update(block.nbytes)
                placed.append((song, row))
                row += song.samples
        file = f"shard_{number:04d}_{digest.hexdigest()[:8]}.npy"
        put_in_place(temporary, folder / file)
    chunks = [ChunkEntry(file=file, start_sample=0, samples=song.samples, row=row) for song, row in placed]
    return WrittenShard(
        file, [dataclasses.replace(song, chunks=(chunk,)) for (song, _), chunk in zip(placed, chunks, strict=True)]
    )


def in_batches(songs: Iterable[SongEntry], row_bytes: int, most_bytes: int) -> Iterator[list[SongEntry]]:
    """Songs for one shard after the other, in their order; none is divided."""
    batch: list[SongEntry] = []
    size = 0
    for song in songs:
        needed = song.samples * row_bytes
        if batch and size + needed > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(song)
        size += needed
    if batch:
        yield batch


def remove_shards(output: Path, wanted: set[str]) -> None:
    """Remove shards that no song is in any more, and what a killed run left of one."""
    for path in (output / SHARDS_FOLDER).glob("shard_*"):
        found = SHARD_FILE.fullmatch(path.name)
        if found and path.name.removesuffix(found[2]) + ".npy" not in wanted:
            path.unlink(missing_ok=True)
    forget_packed()


class _Packer(NamedTuple):
    """Makes shards of songs, and keeps the records right."""

    output: Path
    channels: int
    records: dict[str, SourceRecord]
    reader: ChunkReader
    bar: tqdm

    def pack(self, number: int, songs: list[SongEntry], replaced: Set[str] = frozenset()) -> None:
        """Make one shard of some songs, with fingerprints and index; then their folders and records go.

        Of the shards that it replaces only the index goes, so that no song is in two. Their sound, and folders of
        version 1, are what the manifest names: they stay until there is the new one (`earlier_run.remove_leftovers`).
        """
        try:
            file = self._write(number, songs)
            for old in replaced - {file}:
                _remove_index(self.output, old)
        except OSError as error:
            needed = sum(song.samples for song in songs) * self.channels * STORED_KIND.itemsize
            raise DatasetError(
                f"cannot pack {counted(len(songs), 'song')} in {printable(self.output)}: {error.strerror or error}. "
                f"It needs {needed / 1e9:.2f} GB; free some space and start again: what is finished is kept."
            ) from None
        self.reader.close()
        for song in songs:
            record_path(self.output, song.source).unlink(missing_ok=True)
            if song.shard is None and all(chunk.file == SOUND_NAME for chunk in song.chunks):
                shutil.rmtree(self.output / song.folder, ignore_errors=True)

    def _write(self, number: int, songs: list[SongEntry]) -> str:
        folder = self.output / SHARDS_FOLDER
        written = write_shard(folder, number, songs, self.reader, self.channels, self.bar)
        words = list(read_fingerprints(self.output, songs))
        with replacing(fingerprints_path(self.output, written.file)) as path:
            save_array(path, np.concatenate(words))
        first = 0
        for song, own in zip(written.songs, words, strict=True):
            placed = dataclasses.replace(song, fingerprint_words=(first, first + len(own)))
            first += len(own)
            self.records[song.source] = dataclasses.replace(self.records[song.source], song=placed)
        write_index(self.output, written.file, [self.records[song.source] for song in songs])
        return written.file


def _belong_into_one(songs: list[SongEntry], held: Set[str | None], row_bytes: int, shards: list[Shard]) -> bool:
    """Whether songs fit into one shard and do not lie in it yet, and no shard has songs that only stay aside."""
    fits = 0 < sum(song.samples for song in songs) * row_bytes <= SHARD_BYTES
    return fits and not held and not _lie_in_one(songs, shards)


def _lie_in_one(songs: list[SongEntry], shards: list[Shard]) -> bool:
    """Whether shard 0 is what would be made of these songs: all of them and nothing else, in their order."""
    if not songs or len(shards) != 1 or shards[0].number != 0:
        return False
    rows = [0, *itertools.accumulate(song.samples for song in songs)]
    places = [(song.shard, song.chunks[0].row) for song in songs]
    return places == [(shards[0].file, row) for row in rows[:-1]] and rows[-1] == shards[0].rows


def _to_pack_again(
    shards: list[Shard], songs: list[SongEntry], held: set[str | None], row_bytes: int
) -> Iterator[set[str]]:
    """Files of shards that are to become one, for one shard after the other.

    Shards of which much is dead, and small ones where there are many; none with songs that only stay aside.
    """
    live = Counter[str]()
    for song in songs:
        if song.shard is not None:
            live[song.shard] += song.samples
    known = [shard for shard in shards if live[shard.file] and shard.file not in held]
    small = {shard.file for shard in known if 2 * shard.rows * row_bytes < SHARD_BYTES}
    again = {shard.file for shard in known if live[shard.file] < LIVE_SHARE * shard.rows}
    again |= small if len(small) > MOST_SMALL else set()
    files: set[str] = set()
    size = 0
    for shard in known:
        if shard.file not in again:
            continue
        needed = live[shard.file] * row_bytes
        if files and size + needed > SHARD_BYTES:
            yield files
            files, size = set(), 0
        files.add(shard.file)
        size += needed
    if files:
        yield files


def _settle_indexes(output: Path, records: dict[str, SourceRecord], aside: dict[str, SourceRecord]) -> None:
    """Let the index of every shard say what is wanted of it now: without songs that are gone, with their new names."""
    alone = {path.name for path in (output / RECORDS_FOLDER).iterdir()}
    wanted: dict[str, list[SourceRecord]] = {}
    for record in [*records.values(), *aside.values()]:
        if record.song is not None and record.song.shard is not None:
            wanted.setdefault(record.song.shard, []).append(record)
    for file, shard in packed_songs(output).shards.items():
        found = tuple(sorted(wanted.get(file, []), key=_place))
        if found and found != shard.records:
            write_index(output, file, found)
        for path in (record_path(output, record.source) for record in found):
            if path.name in alone:
                path.unlink()


def _place(record: SourceRecord) -> tuple[int, str]:
    assert record.song is not None
    return record.song.chunks[0].row or 0, record.source


def _remove_index(output: Path, file: str) -> None:
    """Let a shard count as none; its sound stays."""
    index_path(output, file).unlink(missing_ok=True)
    forget_packed()


def _bar(total: int) -> tqdm:
    return tqdm(
        total=total,
        desc="packing",
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        delay=_SHOWN_AFTER_SECONDS,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
