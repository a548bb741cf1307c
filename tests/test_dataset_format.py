"""The two folder formats: what is written is read back, what is broken is named."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from piano.foundation.dataset_format import (
    DatasetManifest,
    PreparedManifest,
    PrepareSettings,
    dataset_identity,
    manifest_path,
    open_pairs,
    prepare_command,
    read_manifest,
    read_prepared_manifest,
    set_path,
    write_manifest,
    write_prepared_manifest,
)
from piano.foundation.dataset_identity import changed_sides, recording_sides
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import locked_folder
from piano.foundation.made_files import write_bytes
from piano.foundation.npy_files import save_array
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import ChunkEntry, LeftOut, SongEntry
from piano.foundation.quantised import from_stored, to_stored


def song(source: str = "a/b.mp3") -> SongEntry:
    return SongEntry(
        source=source,
        size=10,
        mtime_ns=2**62,
        sha256="ab" * 32,
        folder="b-12345678",
        source_sample_rate=44_100,
        source_channels=2,
        samples=30,
        seconds=3.0,
        loudness_db=-20.5,
        peak_db=-3.0,
        gain_db=2.0,
        silence_share=0.1,
        chunks=(ChunkEntry(file="chunk_0000.npy", start_sample=0, samples=30),),
        notes=("decoded with damage",),
        group="a/b.mp3",
    )


def dataset(pairs: int = 3) -> DatasetManifest:
    return DatasetManifest(
        sample_rate=16_000,
        channels=1,
        segment_samples=8,
        seed=0,
        validation_fraction=0.1,
        pairs={"training": pairs, "validation": 1},
        songs={"training": ("a.mp3",), "validation": ("b.mp3",)},
        groups={"training": ("a.mp3",), "validation": ("b.mp3",)},
        too_short=("c.mp3",),
        pair_songs={"training": (0,) * pairs, "validation": (0,)},
        song_groups={"training": (0,), "validation": (0,)},
    )


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(manifest_path(folder).read_text())
    change(values)
    manifest_path(folder).write_text(json.dumps(values))


def test_a_manifest_of_version_1_is_read_and_knows_no_labels(tmp_path: Path):
    write_manifest(tmp_path, dataset())
    assert json.loads(manifest_path(tmp_path).read_text())["version"] == 3

    def as_version_1(values: dict[str, Any]) -> None:
        del values["pair_songs"], values["song_groups"]
        values["version"] = 1

    edit_manifest(tmp_path, as_version_1)
    manifest = read_manifest(tmp_path)
    assert manifest.pairs == dataset().pairs
    assert manifest.pair_labels("training") is None
    assert list(dataset().pair_labels("training") or ()) == ["a.mp3"] * 3


@pytest.mark.parametrize("places", [[0, 0], [0, 0, 1], [0, 0, -1], [0, 0, "x"], None, 7])
def test_labels_that_do_not_fit_the_pairs_are_refused(tmp_path: Path, places: object):
    write_manifest(tmp_path, dataset())
    edit_manifest(tmp_path, lambda values: values["pair_songs"].update(training=places))
    with pytest.raises(DatasetError, match="is not a manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["pair_songs", "song_groups"])
def test_labels_come_with_what_they_point_at(tmp_path: Path, name: str):
    write_manifest(tmp_path, dataset())
    edit_manifest(tmp_path, lambda values: values.update({name: None}))
    with pytest.raises(DatasetError, match="is not a manifest"):
        read_manifest(tmp_path)


def test_manifests_survive_a_write_and_a_read_with_any_file_name(tmp_path: Path):
    settings = PrepareSettings(sample_rate=16_000, channels=1, chunk_seconds=120.0, min_seconds=1.0)
    prepared = PreparedManifest(
        settings=settings,
        music_folder="/music \udcff",
        songs=(song("l'été/音\n\udcff.mp3"),),
        left_out=(LeftOut(source="x\x1b.mp3", reason="empty"),),
    )
    write_prepared_manifest(tmp_path, prepared)
    assert read_prepared_manifest(tmp_path) == prepared
    write_manifest(tmp_path, dataset())
    assert read_manifest(tmp_path) == dataset()
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_lengths_in_seconds_and_samples_agree():
    settings = PrepareSettings(sample_rate=44_100, channels=2, chunk_seconds=0.1, min_seconds=1.0)
    assert settings.chunk_samples == 4410
    assert dataset().segment_seconds == 8 / 16_000


def test_a_missing_manifest_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"there is no data set in .*manifest\.json.*musigan dataset --output"):
        read_manifest(tmp_path)
    with pytest.raises(DatasetError, match=r"there is no prepared folder in .*manifest\.json.*musigan prepare"):
        read_prepared_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"version": 1}', '{"version": 1, "songs": 3}', "\xff"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str):
    manifest_path(tmp_path).write_text(text, encoding="latin-1")
    for read in (read_manifest, read_prepared_manifest):
        with pytest.raises(DatasetError, match=r"manifest\.json is not a manifest"):
            read(tmp_path)


def test_a_manifest_of_another_kind_or_version_is_refused(tmp_path: Path):
    write_manifest(tmp_path, dataset())
    with pytest.raises(DatasetError, match="is not a manifest"):
        read_prepared_manifest(tmp_path)
    values = json.loads(manifest_path(tmp_path).read_text())
    manifest_path(tmp_path).write_text(json.dumps({**values, "version": 99}))
    with pytest.raises(DatasetError, match="version 99"):
        read_manifest(tmp_path)


def test_pairs_are_mapped_read_only(tmp_path: Path):
    pairs = np.random.default_rng(0).normal(size=(3, 2, 1, 8)).astype(np.float32)
    np.save(set_path(tmp_path, "training"), pairs)
    write_manifest(tmp_path, dataset())
    opened = open_pairs(tmp_path, "training")
    assert isinstance(opened, np.memmap)
    assert np.array_equal(opened, pairs)
    with pytest.raises(ValueError, match="read-only"):
        opened[0] = 0.0


def test_pairs_that_contradict_the_manifest_are_refused(tmp_path: Path):
    write_manifest(tmp_path, dataset())
    with pytest.raises(DatasetError, match="cannot open"):
        open_pairs(tmp_path, "training")
    for wrong in (np.zeros((4, 2, 1, 8), np.float32), np.zeros((3, 2, 1, 8), np.float64)):
        np.save(set_path(tmp_path, "training"), wrong)
        with pytest.raises(DatasetError, match="its manifest says"):
            open_pairs(tmp_path, "training")
    set_path(tmp_path, "training").write_bytes(b"not an array")
    with pytest.raises(DatasetError, match="cannot open"):
        open_pairs(tmp_path, "training")


def test_half_a_pair_file_is_refused(tmp_path: Path):
    write_manifest(tmp_path, dataset())
    np.save(set_path(tmp_path, "training"), np.zeros((3, 2, 1, 8), np.float32))
    data = set_path(tmp_path, "training").read_bytes()
    set_path(tmp_path, "training").write_bytes(data[:-8])
    with pytest.raises(DatasetError, match="cannot open"):
        open_pairs(tmp_path, "training")


def test_the_command_that_makes_a_folder_again_keeps_an_address_as_it_is(tmp_path: Path):
    settings = PrepareSettings(sample_rate=16_000, channels=1, chunk_seconds=120.0, min_seconds=1.0)
    for place in ("s3://bucket/music", "/my/music"):
        manifest = PreparedManifest(settings=settings, music_folder=place, songs=(), left_out=())
        assert f" {place} " in prepare_command(tmp_path, manifest)


def test_an_unknown_split_is_a_mistake(tmp_path: Path):
    with pytest.raises(ValueError, match="split must be one of"):
        set_path(tmp_path, "test")


def test_a_chunk_is_checked_against_its_entry(tmp_path: Path):
    entry = song()
    (tmp_path / entry.folder).mkdir()
    path = tmp_path / entry.folder / "chunk_0000.npy"
    samples = np.linspace(-1, 1, 30, dtype=np.float32)[np.newaxis]
    save_array(path, samples)
    stored = to_stored(samples)

    def read() -> np.ndarray:
        with ChunkReader(tmp_path) as reader:
            return reader.read(entry, 0, entry.chunks[0].samples)

    assert np.array_equal(read(), from_stored(stored))
    assert np.array_equal(np.load(path), samples)
    save_array(path, stored)
    assert np.array_equal(read(), from_stored(stored))
    for wrong in (samples[:, :10], stored[:10], stored.astype(np.int32), stored[:, 0], np.zeros((30, 3, 2), np.int16)):
        save_array(path, wrong)
        with pytest.raises(DatasetError, match="is not the chunk"):
            read()
    path.unlink()
    with pytest.raises(DatasetError, match=r"Run `musigan prepare MUSIC_FOLDER --output .*` again"):
        read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_as_such():
    with pytest.raises(OSError, match="No space left"):
        save_array(Path("/dev/full"), np.zeros(100_000, np.float32))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    write_bytes(tmp_path / "a.json", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "a.json", None)  # type: ignore[arg-type]
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_only_one_run_works_in_a_folder(tmp_path: Path):
    with (
        locked_folder(tmp_path / "out"),
        pytest.raises(DatasetError, match="another run is working"),
        locked_folder(tmp_path / "out"),
    ):
        pass
    with locked_folder(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


def test_manifests_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset().seed = 3  # type: ignore[misc]


def with_hashes(**changes: Any) -> DatasetManifest:
    values: dict[str, Any] = {
        "pair_starts": {"training": (0, 8, 16), "validation": (0,)},
        "sha256": {"training": ("aa" * 32,), "validation": ("bb" * 32,)},
        **changes,
    }
    return dataclasses.replace(dataset(), **values)


def test_the_identity_is_of_what_is_learned_and_not_of_its_names(tmp_path: Path):
    same = [
        with_hashes(),
        with_hashes(songs={"training": ("moved/a.mp3",), "validation": ("b.mp3",)}),
        with_hashes(prepared_folder="/elsewhere", too_short=()),
    ]
    assert len({dataset_identity(manifest) for manifest in same}) == 1
    other = [
        dataset(),
        with_hashes(),
        with_hashes(pair_starts={"training": (8, 0, 16), "validation": (0,)}),
        with_hashes(sha256={"training": ("bb" * 32,), "validation": ("aa" * 32,)}),
        with_hashes(segment_samples=9),
        dataclasses.replace(dataset(), seed=1),
    ]
    assert len({dataset_identity(manifest) for manifest in other}) == len(other)
    write_manifest(tmp_path, with_hashes())
    assert json.loads(manifest_path(tmp_path).read_text())["identity"] == dataset_identity(with_hashes())
    assert read_manifest(tmp_path) == with_hashes()


def test_sides_name_what_was_learned_from_and_what_was_kept_aside():
    before = recording_sides(with_hashes())
    assert before == {"aa" * 32: "training", "bb" * 32: "validation"}
    swapped = recording_sides(with_hashes(sha256={"training": ("bb" * 32,), "validation": ("cc" * 32,)}))
    assert changed_sides(before, swapped) == ["bb" * 32]
    assert changed_sides(before, before) == []
    both = {"training": ("aa" * 32,), "validation": ("aa" * 32,)}
    assert recording_sides(with_hashes(sha256=both)) == {"aa" * 32: "both"}
    assert recording_sides(dataset()) == {"a.mp3": "training", "b.mp3": "validation"}
