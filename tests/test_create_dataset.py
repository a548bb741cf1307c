"""Pairs are neighbours, all of the music is in them, and no recording is in both splits."""

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.create_dataset import create_dataset, main
from data_prep.pairs import read_run
from data_prep.prepare_dataset import prepare_folder
from data_prep.sides import split_groups
from piano.foundation.dataset_format import (
    SPLITS,
    PrepareSettings,
    manifest_path,
    open_pairs,
    read_manifest,
    read_prepared_manifest,
    set_path,
)
from piano.foundation.errors import DatasetError
from piano.foundation.pair_index import pairs_path
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import SongEntry
from piano.split_and_append_chunks import split_and_append_chunks
from tests.make_audio import write_music

RATE = 8000
SEGMENT = 4000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six stereo songs of 3 to 10 s in chunks of 2.2 s, one of them twice, and one too short for a pair."""
    folder = tmp_path_factory.mktemp("data")
    for seed, seconds in enumerate((3.0, 4.6, 5.1, 6.0, 10.0)):
        write_music(folder / f"music/song {seed}.flac", seed, seconds, RATE, 2)
    write_music(folder / "music/too short.flac", 7, 0.9, RATE, 2)
    waveform = write_music(folder / "music/song 4.flac", 4, 10.0, RATE, 2)
    write_music(folder / "music/song 4 again.ogg", 4, 10.0, RATE, 2)
    assert waveform.shape == (2, 10 * RATE)
    options = PrepareSettings(sample_rate=RATE, channels=2, chunk_seconds=2.2, min_seconds=0.5)
    prepare_folder(folder / "music", folder / "prepared", options, workers=1)
    return folder / "prepared"


def whole_song(prepared: Path, song: SongEntry) -> np.ndarray:
    with ChunkReader(prepared, 2) as reader:
        return reader.read(song, 0, song.samples)


INDICES = ["training_pairs.npy", "training_pieces.npy", "validation_pairs.npy", "validation_pieces.npy"]


def files(folder: Path) -> dict[str, bytes]:
    """What a data set holds besides its manifest and lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "manifest.json"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(params=["shards", "npy"])
def form(request: pytest.FixtureRequest) -> str:
    """How the pairs are written."""
    return request.param


def make(prepared: Path, output: Path, *options: str) -> int:
    return main(["--input", str(prepared), "--output", str(output), "--segment-seconds", "0.5", *options])


def test_the_pairs_are_all_neighbours_of_all_songs(prepared: Path, tmp_path: Path, form: str):
    assert make(prepared, tmp_path, "--validation-fraction", "0.3", "--format", form) == 0
    manifest = read_manifest(tmp_path)
    songs = {song.source: song for song in read_prepared_manifest(prepared).songs}
    for split in SPLITS:
        expected = set()
        for source in manifest.songs[split]:
            whole = whole_song(prepared, songs[source])
            segments = [whole[:, i * SEGMENT : (i + 1) * SEGMENT] for i in range(whole.shape[1] // SEGMENT)]
            expected |= {(a.tobytes(), b.tobytes()) for a, b in itertools.pairwise(segments)}
        pairs = open_pairs(tmp_path, split)
        assert pairs.shape == (len(expected), 2, 2, SEGMENT)
        assert {(pair[0].tobytes(), pair[1].tobytes()) for pair in pairs} == expected


def test_no_recording_is_in_both_splits(prepared: Path, tmp_path: Path):
    for seed in range(5):
        assert make(prepared, tmp_path, "--seed", str(seed), "--validation-fraction", "0.3", "--overwrite") == 0
        manifest = read_manifest(tmp_path)
        groups = {song.source: song.group for song in read_prepared_manifest(prepared).songs}
        assert groups["song 4 again.ogg"] == groups["song 4.flac"]
        for split in SPLITS:
            assert {groups[source] for source in manifest.songs[split]} == set(manifest.groups[split])
            assert manifest.pairs[split] > 0
        assert not set(manifest.groups["training"]) & set(manifest.groups["validation"])
        assert sum(map(len, manifest.songs.values())) == 6


def test_every_pair_is_labelled_with_the_recording_it_was_cut_from(prepared: Path, tmp_path: Path, form: str):
    assert make(prepared, tmp_path, "--validation-fraction", "0.3", "--format", form) == 0
    manifest = read_manifest(tmp_path)
    songs = {song.source: song for song in read_prepared_manifest(prepared).songs}
    checked = set()
    for split in SPLITS:
        labels = manifest.pair_labels(split)
        assert manifest.pair_songs is not None and labels is not None
        for pair, place, label in zip(open_pairs(tmp_path, split), manifest.pair_songs[split], labels, strict=True):
            source = manifest.songs[split][place]
            whole = whole_song(prepared, songs[source])
            starts = range(0, whole.shape[1] - SEGMENT + 1, SEGMENT)
            assert any(np.array_equal(pair[0], whole[:, start : start + SEGMENT]) for start in starts)
            assert label == songs[source].group
            checked.add(source)
    assert "song 4 again.ogg" in checked


def test_songs_too_short_for_a_pair_are_named(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert make(prepared, tmp_path) == 0
    assert read_manifest(tmp_path).too_short == ("too short.flac",)
    assert "left out: too short.flac: shorter than one pair (1 s)" in capsys.readouterr().out


def test_pairs_are_scrambled_by_the_seed(prepared: Path, tmp_path: Path, form: str):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert make(prepared, tmp_path / name, "--seed", seed, "--format", form) == 0
    path = {"npy": set_path, "shards": pairs_path}[form]
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert path(tmp_path / "a", "training").read_bytes() != path(tmp_path / "c", "training").read_bytes()
    starts = open_pairs(tmp_path / "a", "training")[:, 0]
    follows = open_pairs(tmp_path / "a", "training")[:, 1]
    in_order = sum(np.array_equal(follows[i], starts[i + 1]) for i in range(len(starts) - 1))
    assert in_order < 0.3 * len(starts)


def test_the_files_say_what_the_manifest_says_and_nothing_else_is_left(prepared: Path, tmp_path: Path, capsys):
    assert make(prepared, tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == [".lock", "manifest.json", "shards", *INDICES]
    assert sorted(os.listdir(tmp_path / "shards")) == list(read_manifest(tmp_path).shards)
    before = (tmp_path / "training_pairs.npy").read_bytes()
    assert make(prepared, tmp_path, "--format", "npy") == 2
    assert "in the form `--format shards`" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "training_pairs.npy").read_bytes() == before
    assert make(prepared, tmp_path, "--format", "npy", "--overwrite") == 0
    assert sorted(os.listdir(tmp_path)) == [".lock", "manifest.json", "training_set.npy", "validation_set.npy"]
    manifest = read_manifest(tmp_path)
    assert (manifest.sample_rate, manifest.channels, manifest.segment_samples) == (RATE, 2, SEGMENT)
    pairs = open_pairs(tmp_path, "training")
    assert isinstance(pairs, np.memmap)
    chunks = split_and_append_chunks(pairs)
    assert chunks.shape == (2 * manifest.pairs["training"], 2, SEGMENT)
    assert np.abs(chunks).max() <= 1.0


def test_a_run_crosses_the_borders_of_chunks(prepared: Path):
    with ChunkReader(prepared, 2) as reader:
        for song in read_prepared_manifest(prepared).songs:
            whole = whole_song(prepared, song)
            for start in range(0, song.samples - SEGMENT, 1777):
                stop = start + SEGMENT
                assert np.array_equal(read_run(reader, song, start, stop), whole[:, start:stop])
            assert np.array_equal(read_run(reader, song, 0, song.samples), whole)


def test_too_little_music_says_how_much_is_needed(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--input", str(prepared), "--output", str(tmp_path / "out"), "--segment-seconds", "40"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("Error: too little music to split")
    assert "s are missing for one" in message
    assert "--segment-seconds 2.3" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "texts", "allowed"),
    [
        ("--validation-fraction", ["0", "1", "-0.1", "nan", "x"], "a number above 0 and below 1"),
        ("--seed", ["-1", "1.5", str(2**63)], "a whole number from 0 to "),
        ("--segment-seconds", ["0", "-1", "1e9", "nan"], "a number above 0 to 604,800"),
    ],
)
def test_every_number_is_refused_with_its_true_range(
    prepared: Path, tmp_path: Path, option: str, texts: list[str], allowed: str, capsys
):
    for text in texts:
        with pytest.raises(SystemExit) as stop:
            main(["--input", str(prepared), "--output", str(tmp_path / "out"), f"{option}={text}"])
        assert stop.value.code == 2
        assert f"argument {option}: {text} is not {allowed}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_segments_that_no_model_can_have_are_refused_and_short_ones_get_no_false_hint(
    prepared: Path, tmp_path: Path, capsys
):
    words = ["--input", str(prepared), "--preset", "tiny", "--output"]
    assert main([*words, str(tmp_path / "out"), "--segment-seconds", "0.0001"]) == 2
    assert f"must be from {64 / RATE:.3g} to " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, str(tmp_path / "out"), "--segment-seconds", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "Next:" not in shown
    assert "cannot learn from segments so short" in shown


def test_folders_and_segments_come_from_the_config(prepared: Path, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("model: {seq_len: 128000}\ndataset_folder: pairs\n")
    shutil.copytree(prepared, tmp_path / "prepared")
    options = ["--config", str(tmp_path / "config.yaml"), "--preset", "tiny"]
    assert main(options) == 2  # the model's segments of 8 s are too long for this music
    assert main([*options, "--segment-seconds", "0.5"]) == 0
    assert read_manifest(tmp_path / "pairs").segment_samples == SEGMENT


def test_a_folder_that_is_not_prepared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert make(tmp_path / "nowhere", tmp_path / "out") == 2
    assert f"musigan prepare MUSIC_FOLDER --output {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_a_failed_run_leaves_the_old_data_set_and_no_half_files(prepared: Path, tmp_path: Path, form: str, capsys):
    broken, output = tmp_path / "prepared", tmp_path / "out"
    shutil.copytree(prepared, broken)
    assert make(broken, output, "--format", form) == 0
    old = files(output)
    (output / ".training.00000000.part").write_bytes(b"left by a kill")
    (broken / "shards" / str(read_prepared_manifest(broken).songs[0].shard)).unlink()
    assert make(broken, output, "--seed", "5", "--overwrite", "--format", form) == 2
    assert f"Run `musigan prepare {prepared.parent / 'music'} --output {broken}` again" in capsys.readouterr().err
    assert {name: data for name, data in files(output).items() if not name.endswith(".part")} == old
    assert read_manifest(output).seed == 0
    assert make(prepared, output, "--seed", "5", "--overwrite", "--format", form) == 0
    assert files(output).keys() == old.keys()


def test_a_data_set_that_cannot_fit_is_refused_before_it_is_written(prepared: Path, tmp_path: Path):
    huge = tmp_path / "prepared"
    shutil.copytree(prepared, huge)
    values = json.loads(manifest_path(huge).read_text())
    samples = shutil.disk_usage(tmp_path).free // 4
    for song in values["songs"]:
        song.update(samples=samples, chunks=[{"file": "huge.npy", "start_sample": 0, "samples": samples, "row": 0}])
    with open(huge / "shards/huge.npy", "wb") as stream:  # all of it is a hole
        header = {"descr": "<i2", "fortran_order": False, "shape": (samples, 2)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + 4 * samples)
    manifest_path(huge).write_text(json.dumps(values))
    with pytest.raises(DatasetError, match=r"needs .* GB, the disk has .* GB left"):
        create_dataset(huge, tmp_path / "out", segment_seconds=100_000.0, form="npy")
    assert not (tmp_path / "out").exists()


def entries(lengths: list[int]) -> list[SongEntry]:
    """Songs of so many segments, every fourth of them a copy of the one before."""
    return [
        SongEntry(
            source=str(index),
            size=1,
            mtime_ns=1,
            sha256="",
            folder="",
            source_sample_rate=1,
            source_channels=1,
            samples=length,
            seconds=1.0,
            loudness_db=0.0,
            peak_db=0.0,
            gain_db=0.0,
            silence_share=0.0,
            chunks=(),
            group=str(index - (index % 4 == 3)),
        )
        for index, length in enumerate(lengths)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_is_complete_disjoint_and_near_the_fraction(lengths: list[int], fraction: float, seed: int):
    songs = entries(lengths)
    groups = split_groups(songs, 1, validation_fraction=fraction, seed=seed)
    assert groups["training"] | groups["validation"] == {song.group for song in songs}
    assert not groups["training"] & groups["validation"]
    assert groups["training"]
    assert groups["validation"]
    sizes = {name: sum(song.samples - 1 for song in songs if song.group == name) for name in map(str, range(30))}
    share = sum(sizes[name] for name in groups["validation"])
    assert abs(share - fraction * sum(sizes.values())) <= max(sizes.values())
    assert groups == split_groups(songs[::-1], 1, validation_fraction=fraction, seed=seed)


@pytest.mark.parametrize("lengths", [[40, 40, 40], [40, 45, 50, 60, 70]])
def test_the_seed_draws_among_few_songs_too(lengths: list[int]):
    songs = [dataclasses.replace(song, group=song.source) for song in entries(lengths)]
    drawn = [split_groups(songs, 1, validation_fraction=0.05, seed=seed)["validation"] for seed in range(40)]
    assert all(len(names) == 1 for names in drawn)
    assert set.union(*drawn) == {song.source for song in songs}


def test_a_song_of_hours_is_not_drawn_for_a_tenth():
    songs = [dataclasses.replace(song, group=song.source) for song in entries([40, 41, 400, 500])]
    drawn = [split_groups(songs, 1, validation_fraction=0.01, seed=seed)["validation"] for seed in range(20)]
    assert set.union(*drawn) == {songs[0].source, songs[1].source}
