"""Writes a data set as shards and indices: every second of music lies in it once, and often nowhere else.

The shards are those of the prepared folder under second names (hard links), so they need no room and stay when the
prepared folder is removed. Where the file system knows no second names, they are copied.
"""

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.dataset_refusals import refuse_full_disk
from data_prep.pairs import Recordings
from data_prep.shards import in_batches, write_shard
from data_prep.sides import Divided
from piano.foundation.dataset_format import (
    DATASET_VERSION,
    SPLITS,
    DatasetManifest,
    manifest_path,
    set_path,
    write_manifest,
)
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import clear_leftovers, put_in_place, reserve_room, second_name, unfinished
from piano.foundation.npy_files import save_array
from piano.foundation.pair_index import INDEX_KIND, PIECE_COLUMNS, pairs_path, pieces_path
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import SHARDS_FOLDER, SongEntry
from piano.foundation.quantised import SHARD_BYTES, STORED_KIND
from piano.foundation.screen_text import counted, printable

PAIR_BYTES = 16
"""Of a pair in its index."""
_SHARD_NAME = re.compile(r"shard_(\d{4,})_[0-9a-f]{8}\.npy")


class Prepared(NamedTuple):
    """The prepared folder that a data set is made from."""

    folder: Path
    reader: ChunkReader
    channels: int


def write_shards(
    output: Path,
    manifest: DatasetManifest,
    divided: Divided,
    recordings: Recordings,
    prepared: Prepared,
    tell: Callable[[str], object],
) -> DatasetManifest:
    """Put the shards in place, then the indices, then the manifest, which is returned with the names of the shards.

    Parameters
    ----------
    output : Path
        Folder of the data set.
    manifest : DatasetManifest
    divided : Divided
    recordings : Recordings
        What the pairs were cut from.
    prepared : Prepared
    tell : callable
        Gets a line where shards had to be copied.

    Raises
    ------
    DatasetError
        If the disk is full or cannot be written to.
    """
    used = {song.source: song for split in SPLITS for song in divided.songs[split]}
    songs = {part.source: part for song in used.values() for part in recordings.parts.get(song.source, (song,))}
    folder, before = output / SHARDS_FOLDER, set(_shards_in(output))
    try:
        folder.mkdir(exist_ok=True)
        clear_leftovers(folder)
        _take_shards(prepared.folder, output, {song.shard for song in songs.values() if song.shard is not None}, tell)
        songs |= _make_shards(output, [song for song in songs.values() if song.shard is None], prepared, tell)
        shards = tuple(sorted({str(song.shard) for song in songs.values()}))
        manifest = dataclasses.replace(manifest, shards=shards, version=DATASET_VERSION)
        _write_indices(output, manifest, divided, recordings, songs)
    except BaseException as error:
        for path in set(_shards_in(output)) - before:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty
        if not isinstance(error, OSError):
            raise
        raise DatasetError(
            f"cannot write {printable(output)}: {error.strerror or error}. Free some space, or use another --output."
        ) from None
    remove_other_form(output, manifest)
    return manifest


def remove_other_form(output: Path, manifest: DatasetManifest) -> None:
    """Remove what an earlier data set left in the folder: arrays, or indices, and shards that are in none now."""
    for split in SPLITS:
        indices = [pairs_path(output, split), pieces_path(output, split)]
        for path in [set_path(output, split)] if manifest.shards else indices:
            path.unlink(missing_ok=True)
    for path in _shards_in(output):
        if path.name not in manifest.shards:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (output / SHARDS_FOLDER).rmdir()  # if it is empty


def _shards_in(output: Path) -> Iterator[Path]:
    return (path for path in (output / SHARDS_FOLDER).glob("shard_*.npy") if _SHARD_NAME.fullmatch(path.name))


def _take_shards(prepared: Path, output: Path, names: set[str], tell: Callable[[str], object]) -> None:
    """Shards of the prepared folder under second names; copies where there are none. The name tells the content."""
    left = []
    for name in sorted(names):
        source, target = prepared / SHARDS_FOLDER / name, output / SHARDS_FOLDER / name
        if target.is_file() and os.path.samefile(source, target):
            continue
        is_there = target.is_file() and target.stat().st_size == source.stat().st_size
        if not second_name(source, target) and not is_there:
            left.append((source, target))
    if not left:
        return
    needed = sum(source.stat().st_size for source, _ in left)
    refuse_full_disk(output, needed)
    tell(
        f"{printable(output)} gets copies of {counted(len(left), 'shard')} ({needed / 1e9:.2f} GB): its file system "
        f"cannot give second names to files of {printable(prepared)}."
    )
    for source, target in left:
        with unfinished(target) as temporary:
            with open(source, "rb") as original, open(temporary, "r+b") as copy:
                reserve_room(copy.fileno(), os.fstat(original.fileno()).st_size)
                shutil.copyfileobj(original, copy, 1 << 20)
            put_in_place(temporary, target)


def _make_shards(
    output: Path, songs: list[SongEntry], prepared: Prepared, tell: Callable[[str], object]
) -> dict[str, SongEntry]:
    """Shards of songs that a prepared folder of version 1 holds as floats; returns the songs with their places."""
    if not songs:
        return {}
    row_bytes = prepared.channels * STORED_KIND.itemsize
    needed = sum(song.samples for song in songs) * row_bytes
    refuse_full_disk(output, needed)
    tell(
        f"{printable(prepared.folder)} holds floats, as earlier versions made them: {printable(output)} gets "
        f"{needed / 1e9:.2f} GB of its own. Prepare the music again first, and both share one form."
    )
    taken = (_SHARD_NAME.fullmatch(path.name) for path in _shards_in(output))
    number = max((int(found[1]) for found in taken if found), default=-1) + 1
    placed: dict[str, SongEntry] = {}
    in_order = sorted(songs, key=lambda song: song.source)
    for batch in in_batches(in_order, row_bytes, SHARD_BYTES):
        written = write_shard(output / SHARDS_FOLDER, number, batch, prepared.reader, prepared.channels)
        placed |= {song.source: song for song in written.songs}
        number += 1
    return placed


def _write_indices(
    output: Path,
    manifest: DatasetManifest,
    divided: Divided,
    recordings: Recordings,
    songs: dict[str, SongEntry],
) -> None:
    """All indices under temporary names, then their names, then the manifest."""
    number = {name: place for place, name in enumerate(manifest.shards)}
    with contextlib.ExitStack() as stack:
        written: dict[Path, Path] = {}
        for split in SPLITS:
            pairs = divided.pairs[split].in_order()
            pieces = _pieces(divided.songs[split], recordings, songs, number)
            rows = np.stack([pairs.songs, pairs.starts], axis=1)
            for path, table in ((pairs_path(output, split), rows), (pieces_path(output, split), pieces)):
                written[path] = stack.enter_context(unfinished(path))
                save_array(written[path], table.astype(INDEX_KIND))
        manifest_path(output).unlink(missing_ok=True)  # from here to the end there is no data set, rather than half
        for path, temporary in written.items():
            put_in_place(temporary, path)
        write_manifest(output, manifest)


def _pieces(
    own: list[SongEntry], recordings: Recordings, songs: dict[str, SongEntry], number: dict[str, int]
) -> np.ndarray:
    """Where the songs of a split lie in the shards [shape=(pieces, PIECE_COLUMNS)]."""
    rows = []
    for place, song in enumerate(own):
        begin = 0
        for part in (songs[each.source] for each in recordings.parts.get(song.source, (song,))):
            for chunk in part.chunks:
                rows.append((place, begin + chunk.start_sample, chunk.samples, number[chunk.file], chunk.row))
            begin += part.samples
    return np.array(rows, INDEX_KIND).reshape(-1, PIECE_COLUMNS)
