"""A data set in shards reads like the arrays, bit for bit, holds every second once, and dies in words."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep import pair_shards, shards
from data_prep.create_dataset import create_dataset
from data_prep.prepare_dataset import prepare_folder
from piano.evaluation.music_folder import read_songs
from piano.foundation.dataset_format import (
    SPLITS,
    DatasetManifest,
    PrepareSettings,
    dataset_identity,
    open_pairs,
    read_manifest,
)
from piano.foundation.errors import DatasetError
from piano.foundation.pair_index import pairs_path, pieces_path
from piano.foundation.row_files import RowFiles
from piano.foundation.shard_pairs import ShardPairs
from piano.piano_model import AudioDataset
from piano.split_and_append_chunks import split_and_append_chunks
from piano.training.known_music import KnownMusic, refuse_useless
from tests.make_audio import write_music

RATE = 16_000
SEGMENT = 8000


@pytest.fixture(scope="module", params=[(1, "long"), (2, "long"), (1, "short")], ids=["mono", "stereo", "joined"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Prepared music in several shards, and both forms of its data set."""
    channels, kind = request.param
    folder = tmp_path_factory.mktemp("pairs")
    lengths = [4.0, 3.3, 6.1, 5.0, 8.2] if kind == "long" else [0.3 + 0.01 * seed for seed in range(40)]
    for seed, seconds in enumerate(lengths):
        write_music(folder / f"music/{seed:02d}.flac", seed, seconds, RATE, channels)
    settings = PrepareSettings(sample_rate=RATE, channels=channels, chunk_seconds=5.0, min_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", 5 * RATE * 2 * channels)
        prepare_folder(folder / "music", folder / "prepared", settings)
    assert len(list((folder / "prepared/shards").glob("*.json"))) > 2
    for form in ("shards", "npy"):
        create_dataset(folder / "prepared", folder / form, segment_seconds=0.5, validation_fraction=0.3, form=form)
    return folder / "prepared", folder / "shards", folder / "npy"


def both(folders: tuple[Path, Path, Path], split: str) -> tuple[ShardPairs, np.memmap]:
    in_shards, arrays = (open_pairs(folder, split) for folder in folders[1:])
    assert isinstance(in_shards, ShardPairs)
    assert isinstance(arrays, np.memmap)
    return in_shards, arrays


def test_both_forms_are_the_same_pairs_bit_for_bit(folders: tuple[Path, Path, Path]):
    for split in SPLITS:
        in_shards, arrays = both(folders, split)
        assert (in_shards.shape, in_shards.dtype, in_shards.ndim) == (arrays.shape, arrays.dtype, arrays.ndim)
        assert (len(in_shards), in_shards.nbytes) == (len(arrays), arrays.nbytes)
        assert np.array_equal(np.asarray(in_shards), arrays)
        assert np.array_equal(np.stack(list(in_shards)), arrays)
        manifests = [read_manifest(folder) for folder in folders[1:]]
        assert [manifest.version for manifest in manifests] == [4, 3]
        assert dataset_identity(manifests[0]) == dataset_identity(manifests[1])
        assert list(manifests[0].pair_labels(split) or ()) == list(manifests[1].pair_labels(split) or ())
        assert manifests[0].songs == manifests[1].songs


@pytest.mark.parametrize(
    "key",
    [
        np.s_[0],
        np.s_[-1],
        np.s_[1, 0],
        np.s_[1, 1],
        np.s_[1, -1, 0],
        np.s_[0, :, :, 7:13],
        np.s_[0, ..., 5],
        np.s_[:3],
        np.s_[::-2],
        np.s_[1:4:2, 1],
        np.s_[:, 0],
        np.s_[[0, 2, 1]],
        np.s_[np.array([2, 0]), 1, :, 3],
    ],
    ids=str,
)
def test_an_index_means_what_it_means_for_an_array(folders: tuple[Path, Path, Path], key: Any):
    in_shards, arrays = both(folders, "training")
    assert np.array_equal(np.asarray(in_shards[key]), arrays[key])


def test_the_segments_one_after_the_other_are_those_of_the_arrays(folders: tuple[Path, Path, Path]):
    segments, arrays = (split_and_append_chunks(pairs) for pairs in both(folders, "training"))
    assert (segments.shape, segments.dtype, len(segments)) == (arrays.shape, arrays.dtype, len(arrays))
    assert np.array_equal(np.asarray(segments), arrays)
    assert np.array_equal(segments[-1], arrays[-1])
    assert np.array_equal(segments[5:1:-2], arrays[5:1:-2])
    assert segments[3:3].shape == arrays[3:3].shape
    with pytest.raises(IndexError):
        segments[len(arrays)]


def test_beyond_the_ends_there_is_nothing(folders: tuple[Path, Path, Path]):
    in_shards, _ = both(folders, "training")
    for wrong in (len(in_shards), -len(in_shards) - 1):
        with pytest.raises(IndexError):
            in_shards[wrong]
    with pytest.raises(IndexError):
        in_shards[0, 2]
    assert len(in_shards[len(in_shards) :]) == 0
    assert in_shards[2:4][1].tobytes() == in_shards[3].tobytes()


def test_crops_are_the_same_bit_for_bit(folders: tuple[Path, Path, Path]):
    random = torch.Generator().manual_seed(0)
    sets = [AudioDataset.from_folder(folder, "training") for folder in folders[1:]]
    for samples in (1, 777, SEGMENT, 2 * SEGMENT):
        indices = torch.randint(len(sets[0]), (50,), generator=random)
        offsets = torch.randint(2 * SEGMENT - samples + 1, (50,), generator=random)
        crops = [dataset.crops(indices, offsets, samples) for dataset in sets]
        assert crops[0].shape == (50, sets[0].pairs.shape[2], samples)
        assert torch.equal(crops[0], crops[1])
        assert torch.equal(sets[0].crop(int(indices[0]), int(offsets[0]), samples), crops[1][0])
    assert torch.equal(sets[0][3], sets[1][3])


def test_a_run_knows_one_form_as_the_other(folders: tuple[Path, Path, Path]):
    music = []
    for folder in folders[1:]:
        training, validation = (AudioDataset.from_folder(folder, split) for split in SPLITS)
        refuse_useless(training, "training", folder)
        music.append(KnownMusic(training, validation))
    assert music[0].identity == music[1].identity
    assert music[0].sound == music[1].sound


def test_the_songs_of_both_forms_are_the_same(folders: tuple[Path, Path, Path]):
    channels = read_manifest(folders[1]).channels
    songs = [
        {song.name: song.waveform for song in read_songs(folder, sample_rate=RATE, channels=channels, split="training")}
        for folder in folders[1:]
    ]
    assert songs[0].keys() == songs[1].keys()
    assert all(np.array_equal(songs[0][name], songs[1][name]) for name in songs[0])


def test_every_second_lies_on_the_disk_once_and_stays_without_the_prepared_folder(
    folders: tuple[Path, Path, Path], tmp_path: Path
):
    prepared = tmp_path / "prepared"
    shutil.copytree(folders[0], prepared)
    create_dataset(prepared, tmp_path / "set", segment_seconds=0.5, validation_fraction=0.3)
    for path in (tmp_path / "set/shards").iterdir():
        assert os.path.samefile(path, prepared / "shards" / path.name)
    manifest = read_manifest(tmp_path / "set")
    every = {path for path in (tmp_path / "set").rglob("*") if path.is_file()}
    size = sum(path.stat().st_size for path in every if path.suffix == ".npy")
    samples = sum(len(np.load(tmp_path / "set/shards" / name)) for name in manifest.shards)
    songs = sum(map(len, manifest.songs.values())) + 40
    assert size <= samples * 2 * manifest.channels + 16 * sum(manifest.pairs.values()) + 40 * songs + 128 * 20
    before = np.asarray(open_pairs(tmp_path / "set", "training"))
    shutil.rmtree(prepared)
    assert np.array_equal(np.asarray(open_pairs(tmp_path / "set", "training")), before)


def test_where_there_are_no_second_names_shards_are_copied_and_that_is_told(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        create_dataset(folders[0], tmp_path / "set", segment_seconds=0.5, validation_fraction=0.3, tell=said.append)
    assert any("gets copies of" in line and "cannot give second names" in line for line in said)
    for path in (tmp_path / "set/shards").iterdir():
        assert not os.path.samefile(path, folders[0] / "shards" / path.name)
    assert np.array_equal(np.asarray(open_pairs(tmp_path / "set", "training")), both(folders, "training")[1])
    said.clear()
    create_dataset(folders[0], tmp_path / "set", segment_seconds=0.5, validation_fraction=0.3, tell=said.append)
    assert not any("gets copies" in line for line in said)
    for path in (tmp_path / "set/shards").iterdir():
        assert os.path.samefile(path, folders[0] / "shards" / path.name)  # one copy is enough, where it can be
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        create_dataset(folders[0], tmp_path / "set", segment_seconds=0.5, validation_fraction=0.3, tell=said.append)
    assert not any("gets copies" in line for line in said)  # they are there


def test_copies_that_do_not_fit_are_refused_and_leave_nothing(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pair_shards, "second_name", lambda *_: False)

    def full(descriptor: int, size: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(pair_shards, "reserve_room", full)
        with pytest.raises(DatasetError, match=r"cannot write .*: No space left on device\. Free some space"):
            create_dataset(folders[0], tmp_path / "set", segment_seconds=0.5)
    assert os.listdir(tmp_path / "set") == [".lock"]
    usage = shutil._ntuple_diskusage(10, 9, 1)  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(DatasetError, match="the disk has 0.00 GB left"):
            create_dataset(folders[0], tmp_path / "set", segment_seconds=0.5)


def test_one_form_takes_the_place_of_the_other(folders: tuple[Path, Path, Path], tmp_path: Path):
    forms = {}
    for form in ("npy", "shards", "npy"):
        create_dataset(folders[0], tmp_path, segment_seconds=0.5, validation_fraction=0.3, form=form, overwrite=True)
        forms[form] = sorted(path.name for path in tmp_path.iterdir())
        assert len(open_pairs(tmp_path, "training")) == read_manifest(tmp_path).pairs["training"]
    assert forms["npy"] == [".lock", "manifest.json", "training_set.npy", "validation_set.npy"]
    names = [f"{split}_{kind}.npy" for split in SPLITS for kind in ("pairs", "pieces")]
    assert forms["shards"] == [".lock", "manifest.json", "shards", *sorted(names)]


def damaged(folders: tuple[Path, Path, Path], tmp_path: Path) -> tuple[Path, DatasetManifest]:
    shutil.copytree(folders[1], tmp_path / "set")
    return tmp_path / "set", read_manifest(tmp_path / "set")


def test_a_shard_that_is_cut_off_or_taken_away_is_a_sentence(folders: tuple[Path, Path, Path], tmp_path: Path):
    folder, manifest = damaged(folders, tmp_path)
    pairs = open_pairs(folder, "training")
    np.asarray(pairs)  # every shard is open
    for name in manifest.shards:
        with open(folder / "shards" / name, "r+b") as stream:
            stream.truncate(1000)
    with pytest.raises(DatasetError, match=r"ends before row \d+\. Make it again with `musigan dataset"):
        np.asarray(pairs)
    with pytest.raises(DatasetError, match="claims more numbers than the file holds"):
        np.asarray(open_pairs(folder, "training"))
    shutil.rmtree(folder / "shards")
    with pytest.raises(DatasetError, match="there is no such file"):
        np.asarray(open_pairs(folder, "training"))


PAIRS = {
    "a song too many": lambda rows: np.add(rows, [10**6, 0]),
    "a song below 0": lambda rows: rows - [10**6, 0],
    "a start beyond the song": lambda rows: np.add(rows, [0, 2**39]),
    "a start below 0": lambda rows: rows - [0, 2**39],
    "fewer pairs": lambda rows: rows[1:],
    "other numbers": lambda rows: rows.astype(np.int32),
    "a column too few": lambda rows: rows[:, :1],
}
PIECES = {
    "a shard too many": lambda rows: np.add(rows, [0, 0, 0, 100, 0]),
    "a row below 0": lambda rows: rows - [0, 0, 0, 0, 2**39],
    "a row beyond the shard": lambda rows: np.add(rows, [0, 0, 0, 0, 2**39]),
    "a gap": lambda rows: np.add(rows, [0, 5, 0, 0, 0]),
    "a song too many": lambda rows: np.add(rows, [1, 0, 0, 0, 0]),
    "no samples": lambda rows: rows * [1, 1, 0, 1, 1],
    "nothing": lambda rows: rows[:0],
    "another order": lambda rows: rows[::-1] if len(set(rows[:, 0])) > 1 else rows[:0],
}


@pytest.mark.parametrize(
    ("path", "edits", "edit"),
    [(pairs_path, PAIRS, name) for name in PAIRS] + [(pieces_path, PIECES, name) for name in PIECES],
)
def test_an_index_that_was_edited_is_refused_in_words(
    folders: tuple[Path, Path, Path], tmp_path: Path, path, edits, edit
):
    folder, _ = damaged(folders, tmp_path)
    rows = np.load(path(folder, "training"))
    np.save(path(folder, "training"), np.ascontiguousarray(edits[edit](rows)))
    with pytest.raises(DatasetError, match="Make it again with `musigan dataset"):
        np.asarray(open_pairs(folder, "training"))


def test_only_so_many_files_are_open(tmp_path: Path):
    paths = [tmp_path / f"{index}.npy" for index in range(40)]
    for index, path in enumerate(paths):
        np.save(path, np.full((5, 1), index, np.int16))
    files = RowFiles(paths, np.dtype("<i2"), 1, hint="")
    files._most = 8
    for _ in range(2):
        for index in range(40):
            assert files[index].read(4, 1).tolist() == [[index]]
    assert len(files._open) == 8
    held = files[0]
    for index in range(1, 40):
        files[index]
    assert held.read(0, 2).tolist() == [[0], [0]]  # who holds a file reads on
