"""What an earlier run left in a prepared folder: what still holds, what was moved, and what nobody needs any more."""

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.music_files import Hashes, MusicFile
from data_prep.prepare_song import (
    FINGERPRINT_NAME,
    RECORDS_FOLDER,
    WORK_FOLDER,
    SourceRecord,
    record_path,
    settings_key,
    song_folder,
    write_record,
)
from data_prep.shard_index import find_all_records, find_record, packed_songs
from data_prep.shards import remove_shards
from data_prep.song_groups import is_whole_fingerprint
from piano.foundation.dataset_format import MANIFEST_NAME, PreparedManifest, PrepareSettings, read_prepared_manifest
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import clear_leftovers
from piano.foundation.npy_files import open_array
from piano.foundation.prepared_song import SHARDS_FOLDER, SongEntry
from piano.foundation.quantised import STORED_KIND

_RECORD_NAME = re.compile(r"[0-9a-f]{24}\.json")


class EarlierRun(NamedTuple):
    """What the last run left, finished or not."""

    manifest: PreparedManifest | None
    """None: there is none, or none that can be read."""
    records: dict[str, SourceRecord]
    """The record of every file that gave a song, by its name."""
    songs: dict[str, SongEntry]
    """The songs of the manifest, by name; without one, those that the stopped run had finished."""


def read_earlier_run(output: Path) -> EarlierRun:
    """What is known of the last run in a prepared folder; nothing in a new folder."""
    manifest = None
    if (output / MANIFEST_NAME).exists():
        with contextlib.suppress(DatasetError):
            manifest = read_prepared_manifest(output)
    found = {record.source: (record, record.song) for record in find_all_records(output) if record.song is not None}
    if manifest is not None:
        songs = {song.source: song for song in manifest.songs}
    else:
        songs = {name: song for name, (_, song) in found.items()}
    return EarlierRun(manifest, {name: record for name, (record, _) in found.items()}, songs)


def find_moved(earlier: EarlierRun, sources: list[MusicFile], present: list[str], hashes: Hashes) -> dict[str, str]:
    """Old name -> new name of songs whose file lies under another name now, with the same bytes.

    A run that was killed may have given some of them their new records, and no manifest that has the names.
    """
    known: dict[str, SongEntry | SourceRecord] = {**earlier.songs, **earlier.records}
    away: dict[int, list[SongEntry | SourceRecord]] = {}
    for name in sorted(known.keys() - set(present)):
        away.setdefault(known[name].size, []).append(known[name])
    hashes_away = {song.sha256 for songs in away.values() for song in songs}

    def is_fresh(name: str) -> bool:
        record = earlier.records.get(name)
        return record is None or (name not in earlier.songs and record.sha256 in hashes_away)

    fresh = [source for source in sources if source.size in away and is_fresh(source.name)]
    hashes.read(fresh)
    moved: dict[str, str] = {}
    for source in fresh:
        for song in away[source.size]:
            if song.source not in moved and song.sha256 == hashes.of(source.path):
                moved[song.source] = source.name
                break
    return moved


def take_over(
    moved: dict[str, str],
    old_records: dict[str, SourceRecord],
    sources: list[MusicFile],
    output: Path,
    settings: PrepareSettings,
) -> set[str]:
    """Give moved songs their new name, and the folder that goes with it; returns the new names."""
    by_name = {source.name: source for source in sources}
    taken = set()
    for old, new in moved.items():
        record, source = old_records.get(old), by_name[new]
        if record is None:  # a run that was killed has packed it under its new name
            taken |= {new} & old_records.keys()
            continue
        if record.song is None or record.settings_key != settings_key(settings):
            continue
        identity = {"source": new, "size": source.size, "mtime_ns": source.mtime_ns}
        folder = song_folder(new, record.sha256, settings)
        song = dataclasses.replace(record.song, **identity, folder=folder)
        # The record first: a kill in between leaves the old one, and the next run moves again.
        write_record(output, dataclasses.replace(record, **identity, song=song))
        with contextlib.suppress(OSError):  # what is not there is decoded again
            if song.shard is None:
                os.replace(output / record.song.folder, output / folder)
            taken.add(new)
    return taken


def changed_settings(before: PrepareSettings, now: PrepareSettings) -> str:
    """What differs, in words: `sample_rate 16000 -> 44100`; empty if nothing does."""
    pairs = zip(dataclasses.asdict(before).items(), dataclasses.asdict(now).values(), strict=True)
    return ", ".join(f"{name} {old} -> {new}" for (name, old), new in pairs if old != new and name != "chunk_seconds")


def tell_changes(earlier: EarlierRun, settings: PrepareSettings, tell: Callable[[str], object]) -> str:
    """Say that the old sound will go if the settings are new; returns what changed."""
    changes = changed_settings(earlier.manifest.settings, settings) if earlier.manifest else ""
    if changes:
        tell(
            f"settings changed ({changes}): everything is prepared again, and what was prepared before is removed at "
            "the end. With another --output both stay."
        )
    return changes


def valid_records(sources: list[MusicFile], output: Path, settings: PrepareSettings) -> dict[str, SourceRecord]:
    """Records of earlier runs that still hold: same settings, same file, sound in place."""
    records = {}
    for source in sources:
        record = usable_record(source, output, settings)
        if record is not None and (record.size, record.mtime_ns) == (source.size, source.mtime_ns):
            records[source.name] = record
    return records


def usable_record(source: MusicFile, output: Path, settings: PrepareSettings) -> SourceRecord | None:
    """What an earlier run left about a source, if it was made with these settings and is still in place."""
    record = find_record(output, source.name)
    if record is None or record.settings_key != settings_key(settings):
        return None
    if record.song is None:  # ffmpeg may be installed by now
        return None if record.left_out is None or record.left_out.reason == "needs_ffmpeg" else record
    if not is_whole_fingerprint(output, record.song, settings.sample_rate):
        return None
    if record.song.shard is not None:
        return record if packed_songs(output).holds(record.song) else None
    return record if _is_whole(output / record.song.folder, record.song, settings.channels) else None


def _is_whole(folder: Path, song: SongEntry, channels: int) -> bool:
    """Whether the files of a song that is in no shard are there, with all the samples that they should have."""
    for chunk in song.chunks:
        try:
            stream, layout = open_array(folder / chunk.file, hint="")
        except DatasetError:
            return False
        stream.close()
        shape = (channels, chunk.samples) if layout.kind == np.float32 else (chunk.samples, channels)
        if layout.shape != shape or layout.kind not in (np.float32, STORED_KIND):
            return False
    return True


def records_aside(
    output: Path, records: dict[str, SourceRecord], present: list[str], crashed: set[str], settings: PrepareSettings
) -> dict[str, SourceRecord]:
    """Records of songs that this run does not want and the next one may: they stay.

    What --max-files leaves aside may stay; so may what was made of a file that could not be read this time.
    """
    found = {}
    for source in set(present) - {name for name, record in records.items() if record.song is not None}:
        record = find_record(output, source)
        if record is None or record.song is None:
            continue
        if source in crashed or (source not in records and record.settings_key == settings_key(settings)):
            found[source] = record
    return found


def remove_leftovers(
    output: Path, manifest: PreparedManifest, present: list[str], aside: dict[str, SourceRecord]
) -> None:
    """Remove the sound of old settings and of sources that are gone."""
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    songs = [*manifest.songs, *(record.song for record in aside.values() if record.song is not None)]
    remove_shards(output, {song.shard for song in songs if song.shard is not None})
    wanted = {song.folder for song in songs if song.shard is None}
    for folder in output.iterdir():
        if folder.is_symlink() or not folder.is_dir() or folder.name in wanted:
            continue
        if (folder / FINGERPRINT_NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    records = {record_path(output, source).name for source in present}
    clear_leftovers(output / RECORDS_FOLDER)
    clear_leftovers(output / SHARDS_FOLDER)
    for path in (output / RECORDS_FOLDER).glob("*"):
        if path.name not in records and _RECORD_NAME.fullmatch(path.name):
            path.unlink(missing_ok=True)
