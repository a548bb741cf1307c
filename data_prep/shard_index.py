"""What the shards of a prepared folder hold: beside each lies an index with the records of its songs.

A song has its record in `records/` while it lies in a folder of its own, and in the index of its shard from then on. A
record in `records/` is the newer one, except of a song whose packing was cut short: then the shard has it already.
"""

import errno
import functools
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from data_prep.prepare_song import SourceRecord, read_all_records, read_record, record_from_dict
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import write_bytes
from piano.foundation.npy_files import open_array
from piano.foundation.prepared_song import SHARDS_FOLDER, SongEntry
from piano.foundation.screen_text import printable

SHARD_FILE = re.compile(r"shard_(\d{4,})_[0-9a-f]{8}(\.npy|\.json|\.fingerprints\.npy)")
_INDEX_BYTES = 1 << 30
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Shard(NamedTuple):
    """A shard that is whole."""

    file: str
    number: int
    rows: int
    records: tuple[SourceRecord, ...]
    """Of the songs in it that somebody wants, in their order."""


class Packed(NamedTuple):
    """All shards of a prepared folder."""

    shards: dict[str, Shard]
    """By file, in the order of their numbers."""
    records: dict[str, SourceRecord]
    """Of all songs in them, by source; of two the one in the newer shard."""

    def holds(self, song: SongEntry) -> bool:
        """Whether a song lies in these shards, where it says."""
        shard = self.shards.get(song.shard or "")
        return shard is not None and all((chunk.row or 0) + chunk.samples <= shard.rows for chunk in song.chunks)


def index_path(output: Path, file: str) -> Path:
    """Index of a shard."""
    return output / SHARDS_FOLDER / file.replace(".npy", ".json")


def fingerprints_path(output: Path, file: str) -> Path:
    """Fingerprints of the songs of a shard, one after the other."""
    return output / SHARDS_FOLDER / file.replace(".npy", ".fingerprints.npy")


def write_index(output: Path, file: str, records: Iterable[SourceRecord]) -> None:
    """Say what a shard holds: the last step of making it."""
    write_bytes(index_path(output, file), json.dumps({"records": list(records)}, default=vars).encode("ascii"))
    packed_songs.cache_clear()


@functools.lru_cache(maxsize=1)
def packed_songs(output: Path) -> Packed:
    """The shards that are whole; remembered until one is written, or `forget_packed` is called.

    Raises
    ------
    DatasetError
        If the disk fails or there is no right to read: then nobody knows which are whole, and none may be made again.
    """
    shards = {}
    for path in sorted(_files(output / SHARDS_FOLDER), key=lambda path: (_number(path), path.name)):
        if (shard := _read_shard(output, path)) is not None:
            shards[shard.file] = shard
    return Packed(shards, {record.source: record for shard in shards.values() for record in shard.records})


def forget_packed() -> None:
    """Look at the shards anew when they are next asked for."""
    packed_songs.cache_clear()


def find_record(output: Path, source: str) -> SourceRecord | None:
    """The record of a source, wherever it lies; None if there is none, or this program cannot read it."""
    return _newer(read_record(output, source), packed_songs(output).records.get(source))


def find_all_records(output: Path) -> list[SourceRecord]:
    """The record of every source, sorted; those of sources that are gone too."""
    packed = packed_songs(output).records
    alone = {record.source: record for record in read_all_records(output)}
    found = (_newer(alone.get(source), packed.get(source)) for source in sorted(alone.keys() | packed.keys()))
    return [record for record in found if record is not None]


def _newer(alone: SourceRecord | None, in_shard: SourceRecord | None) -> SourceRecord | None:
    if alone is None or in_shard is None:
        return alone or in_shard
    is_same = (alone.sha256, alone.settings_key) == (in_shard.sha256, in_shard.settings_key)
    is_cut_short = is_same and alone.song is not None and alone.song.shard is None
    return in_shard if is_cut_short else alone


def _number(path: Path) -> int:
    found = SHARD_FILE.fullmatch(path.name)
    return int(found[1]) if found else -1


def _files(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        _refuse_what_passes(error, folder)
        return []


def _refuse_what_passes(error: BaseException | None, path: Path) -> None:
    """Raise a DatasetError if an error, or what it comes from, is the disk's and not that of a file that is missing."""
    while error is not None:
        if isinstance(error, OSError) and error.errno not in _ABSENT:
            raise DatasetError(
                f"cannot read {printable(path)}: {error.strerror or error}. It may be whole, so nothing was made again "
                "or removed; mend the disk or the rights, and start again."
            ) from None
        error = error.__context__


def _read_shard(output: Path, path: Path) -> Shard | None:
    """A shard, or None if a file of it is missing, damaged or no work of this program."""
    if not SHARD_FILE.fullmatch(path.name) or path.name.endswith((".fingerprints.npy", ".json")):
        return None
    index = index_path(output, path.name)
    try:
        stream, layout = open_array(path, hint="")
        stream.close()
        stream, words_layout = open_array(fingerprints_path(output, path.name), hint="")
        stream.close()
        if not index.is_file() or index.stat().st_size > _INDEX_BYTES:
            return None
        values = json.loads(index.read_text(encoding="ascii"))
        records = tuple(record_from_dict(record) for record in values["records"])
    except (DatasetError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _refuse_what_passes(error, path)
        return None
    shard = Shard(path.name, _number(path), layout.shape[0] if layout.shape else 0, records)
    packed, words = Packed({path.name: shard}, {}), (words_layout.shape or (0,))[0]
    return shard if all(_is_inside(record.song, packed, words) for record in records) else None


def _is_inside(song: SongEntry | None, packed: Packed, words: int) -> bool:
    """Whether a song lies in one of these shards, and its fingerprint among so many words."""
    return song is not None and packed.holds(song) and (song.fingerprint_words or (0, -1))[1] in range(words + 1)
