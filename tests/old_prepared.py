"""Prepared folders as version 1 left them: floats in chunks, a folder a song, all records alone."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from data_prep.prepare_song import SourceRecord, record_path
from data_prep.song_groups import read_fingerprints
from piano.foundation.dataset_format import manifest_path, read_prepared_manifest
from piano.foundation.npy_files import save_array
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import ChunkEntry


def as_version_1(prepared: Path, output: Path) -> Path:
    """Write into `output` what version 1 would have made where this program made `prepared`."""
    manifest = read_prepared_manifest(prepared)
    settings = manifest.settings
    (output / "records").mkdir(parents=True)
    songs = []
    with ChunkReader(prepared, settings.channels) as reader:
        for song, words in zip(manifest.songs, read_fingerprints(prepared, list(manifest.songs)), strict=True):
            length = min(settings.chunk_samples, song.samples)
            starts = [*range(0, song.samples - length, length), song.samples - length]
            chunks = [(f"chunk_{index:04d}.npy", start) for index, start in enumerate(starts)]
            (output / song.folder).mkdir()
            for name, start in chunks:
                save_array(output / song.folder / name, reader.read(song, start, start + length))
            save_array(output / song.folder / "fingerprint.npy", words)
            entries = tuple(ChunkEntry(file=name, start_sample=start, samples=length) for name, start in chunks)
            songs.append(dataclasses.replace(song, chunks=entries, fingerprint_words=None))
            record = SourceRecord(
                **{name: getattr(song, name) for name in ("source", "size", "mtime_ns", "sha256")},
                settings_key=json.dumps(vars(settings), sort_keys=True),
                song=songs[-1],
                left_out=None,
            )
            record_path(output, song.source).write_text(json.dumps(_old(dataclasses.asdict(record))))
    old = dataclasses.asdict(dataclasses.replace(manifest, songs=tuple(songs), version=1))
    manifest_path(output).write_text(
        json.dumps({**old, "songs": [_old({"song": song})["song"] for song in old["songs"]]})
    )
    return output


def _old(record: dict) -> dict:
    """Without the fields that came later."""
    song = {name: value for name, value in record["song"].items() if name != "fingerprint_words"}
    song["chunks"] = [{name: chunk[name] for name in ("file", "start_sample", "samples")} for chunk in song["chunks"]]
    return {**record, "song": song}


def whole_song(prepared: Path, source: str) -> np.ndarray:
    """A song of a prepared folder of any version [shape=(channels, samples)]."""
    manifest = read_prepared_manifest(prepared)
    [song] = [song for song in manifest.songs if song.source == source]
    with ChunkReader(prepared, manifest.settings.channels) as reader:
        return reader.read(song, 0, song.samples)
