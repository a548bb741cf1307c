"""Songs are packed into shards that are never written again: small, whole, the same for the same music."""

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import shards as shards_module
from data_prep.create_dataset import create_dataset
from data_prep.prepare_dataset import prepare_folder
from data_prep.shard_index import packed_songs
from data_prep.shards import in_batches
from piano.foundation.dataset_format import (
    SPLITS,
    PreparedManifest,
    PrepareSettings,
    open_pairs,
    read_prepared_manifest,
)
from piano.foundation.errors import DatasetError
from piano.foundation.npy_files import begin_array
from piano.foundation.quantised import STORED_KIND, from_stored, to_stored
from tests.make_audio import write_music
from tests.old_prepared import as_version_1, whole_song
from tests.test_create_dataset import entries

RATE = 4000
SETTINGS = PrepareSettings(sample_rate=RATE, channels=1, chunk_seconds=2.0, min_seconds=0.1)
SECOND = RATE * 2
"""Bytes of it."""


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of five seconds at most."""
    monkeypatch.setattr(shards_module, "SHARD_BYTES", 5 * SECOND)


def write_songs(music: Path, lengths: dict[str, float]) -> None:
    for name, seconds in lengths.items():
        write_music(music / f"{name}.flac", sum(map(ord, name)), seconds, RATE)


def prepare(music: Path, output: Path, **options: object) -> PreparedManifest:
    return prepare_folder(music, output, SETTINGS, **options).manifest  # type: ignore[arg-type]


def shards_of(output: Path) -> dict[str, int]:
    """Every shard with its number of samples."""
    return {path.name: len(np.load(path)) for path in sorted((output / "shards").glob("shard_????_????????.npy"))}


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_batches_keep_the_order_divide_no_song_and_are_as_large_as_they_may_be(lengths: list[int], most: int):
    songs = entries(lengths)
    batches = list(in_batches(songs, 2, 2 * most))
    assert [song for batch in batches for song in batch] == songs
    sizes = [sum(song.samples for song in batch) for batch in batches]
    assert all(size <= most or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    assert all(size + following[0].samples > most for size, following in zip(sizes[:-1], batches[1:], strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.lists(st.floats(-1.0, 1.0, width=32), min_size=1, max_size=50))
def test_sound_in_16_bits_is_near_and_is_stored_the_same_again(channels: int, values: list[float]):
    waveform = (
        np.tile(np.array(values, np.float32), (channels, 1)) * np.linspace(-1, 1, channels, dtype=np.float32)[:, None]
    )
    stored = to_stored(waveform)
    assert (stored.shape, stored.dtype, stored.flags.c_contiguous) == ((len(values), channels), np.int16, True)
    read = from_stored(stored)
    assert read.dtype == np.float32
    beyond = waveform.max() - 32767 / 32768  # the largest number there is
    assert np.abs(read - waveform).max() <= max(0.5 / 32768, beyond) + 1e-9
    assert np.array_equal(read, stored.T.astype(np.float64) / 32768)
    assert np.array_equal(to_stored(read), stored)


def test_every_stereo_number_is_read_as_every_other():
    rows = np.stack([np.arange(-32768, 32768), np.arange(32767, -32769, -1)], axis=1).astype(np.int16)
    assert np.array_equal(from_stored(rows), rows.T / 32768)
    assert np.array_equal(from_stored(rows[::2]), rows[::2].T / 32768)


def test_songs_lie_in_shards_by_name_and_a_long_one_has_its_own(tmp_path: Path, small_shards: None):
    write_songs(tmp_path / "music", {"a": 2.0, "b": 2.5, "c": 1.0, "d": 9.0, "e": 1.0})
    manifest = prepare(tmp_path / "music", tmp_path / "out")
    assert [(song.source, song.chunks[0].row) for song in manifest.songs] == [
        ("a.flac", 0),
        ("b.flac", 2 * RATE),
        ("c.flac", 0),
        ("d.flac", 0),
        ("e.flac", 0),
    ]
    assert list(shards_of(tmp_path / "out").values()) == [4.5 * RATE, RATE, 9 * RATE, RATE]
    assert [path.name for path in (tmp_path / "out/records").iterdir()] == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["records", "shards"]


def test_a_later_run_adds_shards_and_leaves_the_old_ones(tmp_path: Path, small_shards: None):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"a": 2.0, "b": 2.0, "d": 2.0})
    first = prepare(music, output)
    before = contents(output / "shards")
    write_songs(music, {"c": 3.0})
    second = prepare(music, output)
    after = contents(output / "shards")
    assert {name: after[name] for name in before} == before
    assert [song.shard for song in second.songs if song.source != "c.flac"] == [song.shard for song in first.songs]
    assert len(shards_of(output)) == 3


def test_a_song_that_is_gone_leaves_a_dead_range_until_most_of_its_shard_is_dead(tmp_path: Path, small_shards: None):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"a": 1.5, "b": 1.5, "c": 1.5, "d": 4.0})
    prepare(music, output)
    old, last = shards_of(output)
    sound = whole_song(output, "a.flac")
    (music / "b.flac").unlink()
    prepare(music, output)
    assert shards_of(output) == {old: 4.5 * RATE, last: 4.0 * RATE}
    assert [record.source for record in packed_songs(output).shards[old].records] == ["a.flac", "c.flac"]
    (music / "c.flac").unlink()
    prepare(music, output)
    found = shards_of(output)
    assert sorted(found.values()) == [1.5 * RATE, 4.0 * RATE]
    assert old not in found
    assert np.array_equal(whole_song(output, "a.flac"), sound)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    prepare(music, output)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == times


def test_many_small_shards_become_few(tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shards_module, "MOST_SMALL", 3)
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"long": 5.0})
    prepare(music, output)
    counts = []
    for name in "fedcba":
        write_songs(music, {name: 1.0})
        prepare(music, output)
        counts.append(len(shards_of(output)))
        assert sum(shards_of(output).values()) == (5 + len(counts)) * RATE
    assert counts == [2, 3, 4, 5, 3, 4]  # the long one, the new song, and the four others in one
    fresh = prepare(music, tmp_path / "fresh")
    for song in fresh.songs:
        assert np.array_equal(whole_song(output, song.source), whole_song(tmp_path / "fresh", song.source))


def test_what_fits_into_one_shard_lies_in_one_whenever_it_came(tmp_path: Path, small_shards: None):
    music, output = tmp_path / "music", tmp_path / "out"
    for name in "dbac":
        write_songs(music, {name: 1.0})
        prepare(music, output)
        assert len(shards_of(output)) == 1
    fresh = tmp_path / "fresh"
    prepare(music, fresh)
    assert contents(output) == contents(fresh)
    (music / "d.flac").rename(tmp_path / "d.flac")
    prepare(music, output)  # a dead range
    write_songs(music, {"e": 1.0})
    prepare(music, output)
    shutil.rmtree(fresh)
    prepare(music, fresh)
    assert contents(output) == contents(fresh)


@pytest.mark.parametrize("change", ["settings", "gone", "renamed"])
def test_what_fits_into_one_shard_lies_in_shard_0_as_if_it_had_just_been_made(
    tmp_path: Path, small_shards: None, change: str
):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"a": 1.0, "b": 1.0, "c": 1.0})
    before = dataclasses.replace(SETTINGS, sample_rate=2 * RATE) if change == "settings" else SETTINGS
    prepare_folder(music, output, before)
    if change == "gone":
        (music / "b.flac").unlink()
    elif change == "renamed":
        (music / "a.flac").rename(music / "z.flac")
    outcome = prepare_folder(music, output, SETTINGS)
    assert outcome.prepared == (3 if change == "settings" else 0)
    fresh = prepare(music, tmp_path / "fresh")
    assert contents(output / "shards") == contents(tmp_path / "fresh/shards")
    assert [song.chunks for song in outcome.manifest.songs] == [song.chunks for song in fresh.songs]
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    prepare(music, output)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == times


@pytest.mark.parametrize("stop", ["index", "remove"])
def test_one_shard_of_several_that_is_cut_short_ends_the_same(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, stop: str
):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"b": 1.0, "d": 1.0})
    prepare(music, output)
    write_songs(music, {"a": 1.0, "c": 1.0})
    name = {"index": "write_index", "remove": "_remove_index"}[stop]
    real = getattr(shards_module, name)

    def stopping(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, name, stopping)
        with pytest.raises(KeyboardInterrupt):
            prepare(music, output)
    assert prepare_folder(music, output, SETTINGS).prepared == 0
    prepare(music, tmp_path / "fresh")
    assert contents(output) == contents(tmp_path / "fresh")


def test_the_old_manifest_names_what_is_there_until_there_is_the_new_one(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"b": 1.0, "d": 1.0})
    prepare(music, output)
    as_version_1(output, tmp_path / "version 1")
    output.rename(tmp_path / "one")
    write_songs(music, {"a": 1.0})
    for name in ("one", "version 1"):
        with monkeypatch.context() as patch:
            patch.setattr("data_prep.prepare_dataset.with_groups", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                prepare(music, tmp_path / name)
        manifest = read_prepared_manifest(tmp_path / name)
        assert [song.source for song in manifest.songs] == ["b.flac", "d.flac"]
        made = create_dataset(tmp_path / name, tmp_path / f"{name} dataset", segment_seconds=0.25, form="npy")
        assert sum(made.pairs.values()) == 6
        assert prepare_folder(music, tmp_path / name, SETTINGS).prepared == 0
    prepare(music, tmp_path / "fresh")
    assert contents(tmp_path / "one") == contents(tmp_path / "fresh")
    assert shards_of(tmp_path / "version 1") == shards_of(tmp_path / "fresh")
    assert sorted(path.name for path in (tmp_path / "version 1").iterdir() if path.is_dir()) == ["records", "shards"]


def test_a_song_that_was_replaced_is_not_made_again_whichever_of_two_shards_0_comes_first(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
):
    """Stopped as soon as the records of the songs are gone; some of these names come before the old one."""
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {"a": 1.0, "b": 1.0})
    prepare(music, output)
    real, removed = shards_module.record_path, []

    def stopping(*arguments):
        if removed:  # the one before is unlinked now
            raise KeyboardInterrupt
        removed.append(real(*arguments))
        return removed[0]

    for number in range(6):
        write_music(music / "a.flac", number, 1.0, RATE)
        removed.clear()
        with monkeypatch.context() as patch:
            patch.setattr(shards_module, "record_path", stopping)
            with pytest.raises(KeyboardInterrupt):
                prepare(music, output)
        assert [path.exists() for path in removed] == [False]
        assert prepare_folder(music, output, SETTINGS).prepared == 0


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", ["shard", "fingerprints", "index", "records", "folders"])
def test_packing_that_is_cut_short_goes_on_and_ends_the_same(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, stop: str
):
    """Stopped behind every step of the second shard."""
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 2.0 for name in "abcdef"})
    prepare(music, tmp_path / "whole")

    class Stop(Exception):
        pass

    calls = {"count": 0}

    def stopping(real, wanted: int = 2):
        def call(*arguments, **options):
            result = real(*arguments, **options)
            calls["count"] += 1
            if calls["count"] == wanted:
                raise Stop
            return result

        return call

    with monkeypatch.context() as patch:
        if stop == "shard":
            patch.setattr(shards_module, "write_shard", stopping(shards_module.write_shard))
        elif stop == "fingerprints":
            patch.setattr(shards_module, "save_array", stopping(shards_module.save_array))
        elif stop == "index":
            patch.setattr(shards_module, "write_index", stopping(shards_module.write_index))
        elif stop == "records":
            patch.setattr(shards_module, "record_path", stopping(shards_module.record_path, 3))
        else:
            patch.setattr(shards_module.shutil, "rmtree", stopping(shutil.rmtree, 5))
        with pytest.raises(Stop):
            prepare(music, output)
    assert calls["count"] >= 2
    assert len(shards_of(output)) == 2
    outcome = prepare_folder(music, output, SETTINGS)
    assert outcome.prepared == 0
    assert contents(output) == contents(tmp_path / "whole")


def test_no_more_room_is_taken_than_one_shard(tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 2.0 for name in "abcdefgh"})
    sizes = []
    real = shards_module.write_index

    def measure(*arguments):
        sizes.append(sum(path.stat().st_size for path in output.rglob("*.npy")) - 8 * 2 * SECOND)
        real(*arguments)

    monkeypatch.setattr(shards_module, "write_index", measure)
    prepare(music, output)
    assert len(sizes) == 4
    assert max(sizes) < 5 * SECOND + 8 * 2000  # a shard; headers and fingerprints


def test_a_folder_of_version_1_becomes_shards_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    music = tmp_path / "music"
    write_songs(music, {"a": 5.0, "b": 2.0, "c": 0.5})
    fresh = prepare(music, tmp_path / "fresh")
    old = as_version_1(tmp_path / "fresh", tmp_path / "old")
    assert read_prepared_manifest(old).version == 1
    assert [len(song.chunks) for song in read_prepared_manifest(old).songs] == [3, 1, 1]
    for split in SPLITS:
        found = []
        for folder in (old, tmp_path / "fresh"):
            for form in ("shards", "npy"):
                output = tmp_path / f"{folder.name} {form}"
                said: list[str] = []
                create_dataset(folder, output, segment_seconds=0.5, form=form, tell=said.append)
                assert any("holds floats" in line for line in said) == (folder == old and form == "shards")
                found.append(np.asarray(open_pairs(output, split)).tobytes())
        assert len(set(found)) == 1
    outcome = prepare_folder(music, old, SETTINGS)
    assert (outcome.prepared, outcome.kept) == (0, 3)
    assert outcome.manifest == dataclasses.replace(fresh, songs=outcome.manifest.songs)
    assert shards_of(old) == shards_of(tmp_path / "fresh")
    assert sorted(path.name for path in old.iterdir() if path.is_dir()) == ["records", "shards"]
    assert outcome.manifest.version == 2


def test_how_much_is_held_at_once_changes_no_sample(tmp_path: Path):
    music = tmp_path / "music"
    write_songs(music, {"a": 7.3, "b": 2.0})
    made = [
        prepare_folder(music, tmp_path / f"{seconds}", dataclasses.replace(SETTINGS, chunk_seconds=seconds))
        for seconds in (0.3, 2.0, 120.0)
    ]
    assert len({tuple(song.shard for song in outcome.manifest.songs) for outcome in made}) == 1
    again = prepare_folder(music, tmp_path / "0.3", dataclasses.replace(SETTINGS, chunk_seconds=60.0))
    assert (again.prepared, again.kept, again.settings_changed) == (0, 2, "")


def test_a_song_without_room_on_the_disk_is_refused_before_it_is_written(tmp_path: Path, monkeypatch):
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, os.strerror(28))

    if not hasattr(os, "posix_fallocate"):
        pytest.skip("room cannot be claimed here")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with open(tmp_path / "a.npy", "wb") as stream, pytest.raises(OSError, match="No space left"):
        begin_array(stream, STORED_KIND, (1000, 2))


def test_a_full_disk_while_packing_is_one_sentence_and_costs_nothing(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 2.0 for name in "abcdef"})
    real = shards_module.write_shard

    def full(folder: Path, number: int, *arguments):
        if number == 1:
            raise OSError(28, os.strerror(28))
        return real(folder, number, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "write_shard", full)
        with pytest.raises(
            DatasetError, match=r"cannot pack 2 songs in .*: No space left on device\. It needs 0\.00 GB"
        ):
            prepare(music, output)
    outcome = prepare_folder(music, output, SETTINGS)
    assert outcome.prepared == 0
    prepare(music, tmp_path / "whole")
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "another kind", "no index", "no list", "wrong place"])
def test_a_damaged_shard_is_made_again(tmp_path: Path, small_shards: None, damage: str):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 2.0 for name in "abcd"})
    manifest = prepare(music, output)
    shutil.copytree(output, tmp_path / "whole")
    path = output / "shards" / str(manifest.songs[0].shard)
    index = path.with_suffix(".json")
    values = json.loads(index.read_text())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-2])
    elif damage == "another kind":
        np.save(path, np.zeros((10, 1), np.float32))
    elif damage == "no index":
        index.write_text("{ half")
    elif damage == "no list":
        index.write_text('{"records": 7}')
    else:
        values["records"][1]["song"]["chunks"][0]["row"] = 10**6
        index.write_text(json.dumps(values))
    outcome = prepare_folder(music, output, SETTINGS)
    assert (outcome.prepared, outcome.kept) == (2, 2)
    for song in manifest.songs:
        assert np.array_equal(whole_song(output, song.source), whole_song(tmp_path / "whole", song.source))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("suffix", [".npy", ".fingerprints.npy", ".json", ""])
def test_a_drive_that_fails_for_a_while_costs_no_shard(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, suffix: str, number: int
):
    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 2.0 for name in "abcd"})
    file = Path(str(prepare(music, output).songs[0].shard))
    before, failing = contents(output), output / "shards" / (file.stem + suffix if suffix else "")

    def fail(real):
        def call(path, *arguments, **options):
            if isinstance(path, str | os.PathLike) and Path(path) == failing:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "listdir"):
            patch.setattr(os, name, fail(getattr(os, name)))
        with pytest.raises(DatasetError, match=r"cannot read .*It may be whole, so nothing was made again"):
            prepare(music, output)
    assert contents(output) == before
    assert prepare_folder(music, output, SETTINGS).prepared == 0


def test_a_song_that_is_damaged_before_it_is_packed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    music, output = tmp_path / "music", tmp_path / "out"
    write_songs(music, {name: 1.0 for name in "abcd"})
    prepare(music, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.prepare_dataset.pack_songs", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(music, output)
    sounds = sorted(output.glob("*/sound.npy"))
    assert len(sounds) == 4
    sounds[0].write_bytes(sounds[0].read_bytes()[:-2])
    np.save(sounds[1], np.zeros((7, 1), np.int16))
    sounds[2].unlink()
    outcome = prepare_folder(music, output, SETTINGS)
    assert (outcome.prepared, outcome.kept) == (3, 1)
    assert contents(output) == contents(tmp_path / "whole")


def test_somebody_s_files_among_the_shards_stay(tmp_path: Path):
    write_songs(tmp_path / "music", {"a": 1.0})
    prepare(tmp_path / "music", tmp_path / "out")
    mine = [tmp_path / "out/shards" / name for name in ("mine.npy", "shard_notes.npy", "shard_0000.txt")]
    for path in mine:
        path.write_bytes(b"precious")
    write_songs(tmp_path / "music", {"b": 1.0})
    prepare(tmp_path / "music", tmp_path / "out")
    assert [path.read_bytes() for path in mine] == [b"precious"] * 3
