"""A data set loses nothing that was learned from, finds a way with little music, and dies in words on a full disk."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data_prep.create_dataset import create_dataset, main
from data_prep.dataset_summary import split_warnings
from data_prep.defaults import least_segment_samples, load_defaults, settings_for_segments
from data_prep.prepare_dataset import main as prepare
from data_prep.prepare_dataset import prepare_folder
from piano.foundation.dataset_format import (
    SPLITS,
    PrepareSettings,
    dataset_identity,
    manifest_path,
    open_pairs,
    read_manifest,
    read_prepared_manifest,
)
from piano.foundation.dataset_identity import recording_sides
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import locked_folder
from piano.foundation.pair_index import pairs_path
from tests.make_audio import make_music, write_music
from tests.old_prepared import as_version_1, whole_song

ROOT = Path(__file__).resolve().parent.parent
RATE = 4000
SETTINGS = PrepareSettings(sample_rate=RATE, channels=1, chunk_seconds=20.0, min_seconds=0.1)


def put(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, RATE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five songs of 12 s."""
    folder = tmp_path_factory.mktemp("guards")
    for seed in range(5):
        write_music(folder / f"music/{seed}.flac", seed, 12.0, RATE)
    prepare_folder(folder / "music", folder / "prepared", SETTINGS)
    return folder / "prepared"


def make(prepared: Path, output: Path, *options: str) -> int:
    words = ["--input", str(prepared), "--output", str(output), "--segment-seconds", "1"]
    return main([*words, *options])


def test_a_data_set_remembers_its_prepared_folder_and_what_its_songs_are(prepared: Path, tmp_path: Path):
    assert make(prepared, tmp_path / "a") == 0
    manifest = read_manifest(tmp_path / "a")
    assert manifest.prepared_folder == str(prepared)
    hashes = {song.source: song.sha256 for song in read_prepared_manifest(prepared).songs}
    assert manifest.sha256 == {split: tuple(hashes[name] for name in manifest.songs[split]) for split in SPLITS}
    assert set(recording_sides(manifest)) == set(hashes.values())
    assert manifest.pair_starts is not None
    assert manifest.pair_songs is not None
    assert sorted(zip(manifest.pair_songs["validation"], manifest.pair_starts["validation"], strict=True)) == [
        (0, RATE * start) for start in range(11)
    ]
    assert make(prepared, tmp_path / "b") == 0
    assert dataset_identity(read_manifest(tmp_path / "b")) == dataset_identity(manifest)


def test_songs_that_change_sides_are_refused_until_it_is_wanted(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    share = ["--validation-fraction", "0.4"]
    assert make(prepared, tmp_path, *share) == 0
    before = {split: pairs_path(tmp_path, split).read_bytes() for split in SPLITS}
    learned = set(read_manifest(tmp_path).songs["training"])
    for seed in range(1, 30):
        other = create_dataset(prepared, tmp_path / f"s{seed}", segment_seconds=1.0, validation_fraction=0.4, seed=seed)
        moved = 2 * len(learned - set(other.songs["training"]))
        if moved:
            break
    capsys.readouterr()
    assert make(prepared, tmp_path, *share, "--seed", str(seed)) == 2
    said = capsys.readouterr().err
    assert f"{moved} songs of 5 would change sides between training and validation" in said
    assert "--overwrite" in said
    assert {split: pairs_path(tmp_path, split).read_bytes() for split in SPLITS} == before
    assert make(prepared, tmp_path, *share) == 0  # the same again loses nothing
    assert make(prepared, tmp_path, *share, "--seed", str(seed), "--overwrite") == 0
    assert f"{moved} songs on the other side, seed 0 -> {seed}." in capsys.readouterr().out
    assert read_manifest(tmp_path).seed == seed


@pytest.mark.parametrize("damage", ["missing", "cut", "other numbers"])
def test_pairs_that_are_lost_are_made_again_by_the_command_that_is_named(
    prepared: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
):
    assert make(prepared, tmp_path) == 0
    path = pairs_path(tmp_path, "training")
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        np.save(path, np.full_like(np.load(path), 2**41))
    with pytest.raises(DatasetError, match="Make it again with `musigan dataset|Make it again with `python"):
        np.asarray(open_pairs(tmp_path, "training"))
    assert make(prepared, tmp_path) == 0
    assert path.read_bytes() == whole
    path.unlink()
    other = ["--validation-fraction", "0.4", "--seed"]
    assert {make(prepared, tmp_path, *other, str(seed)) for seed in range(1, 8)} >= {2}  # sides are guarded as ever
    assert "would change sides between training and validation" in capsys.readouterr().err


def test_a_data_set_of_other_music_is_not_replaced(prepared: Path, tmp_path: Path, capsys):
    assert make(prepared, tmp_path / "out") == 0
    for seed in (20, 21, 22):
        write_music(tmp_path / f"music/{seed}.flac", seed, 6.0, RATE)
    prepare_folder(tmp_path / "music", tmp_path / "other", SETTINGS)
    assert make(tmp_path / "other", tmp_path / "out") == 2
    assert "holds a data set of other music: 5 of its 5 songs would no longer be in it" in capsys.readouterr().err
    assert make(tmp_path / "other", tmp_path / "out", "--overwrite") == 0


def test_a_data_set_of_an_older_version_is_guarded_by_names(prepared: Path, tmp_path: Path, capsys):
    assert make(prepared, tmp_path, "--format", "npy") == 0
    values = json.loads(manifest_path(tmp_path).read_text())
    for name in ("sha256", "pair_starts", "prepared_folder", "silent_pairs", "is_split_inside", "joined", "identity"):
        del values[name]
    values["version"] = 2
    values["songs"] = {"training": values["songs"]["validation"], "validation": values["songs"]["training"]}
    values["groups"] = {split: ["x"] for split in SPLITS}
    values["song_groups"] = values["pair_songs"] = None
    manifest_path(tmp_path).write_text(json.dumps(values))
    assert make(prepared, tmp_path) == 2
    assert "Say --format npy to make it again as it is" in " ".join(capsys.readouterr().err.split())
    assert make(prepared, tmp_path, "--format", "npy") == 2
    assert "5 songs of 5 would change sides" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["prepare", "dataset"])
def test_neither_folder_is_written_over_the_other(prepared: Path, tmp_path: Path, command: str, capsys):
    from data_prep import prepare_dataset

    assert make(prepared, tmp_path) == 0
    before = manifest_path(tmp_path).read_bytes(), manifest_path(prepared).read_bytes()
    if command == "dataset":
        assert make(prepared, prepared) == 2
        assert "is a prepared folder. Choose another folder with --output" in capsys.readouterr().err
    else:
        assert prepare_dataset.main([str(prepared.parent / "music"), "--output", str(tmp_path)]) == 2
        assert "is a data set. Choose another folder with --output" in capsys.readouterr().err
    assert (manifest_path(tmp_path).read_bytes(), manifest_path(prepared).read_bytes()) == before


def test_what_a_newer_version_made_is_left_alone(prepared: Path, tmp_path: Path, capsys):
    manifest_path(tmp_path).write_text(json.dumps({"version": 99, "pairs": {}}))
    assert make(prepared, tmp_path) == 2
    assert "was made by a newer MusiGAN (format version 99)" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_nothing_is_read_while_somebody_prepares(prepared: Path, tmp_path: Path, capsys):
    with locked_folder(prepared):
        assert make(prepared, tmp_path) == 2
    assert "another run is working in" in capsys.readouterr().err
    assert make(prepared, tmp_path) == 0


@pytest.fixture(scope="module")
def one_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 60 s, in whose samples the time can be read."""
    folder = tmp_path_factory.mktemp("one")
    write_music(folder / "music/concert.flac", 1, 60.0, RATE)
    prepare_folder(folder / "music", folder / "prepared", SETTINGS)
    return folder / "prepared"


@pytest.mark.parametrize("options", [[], ["--split-inside"]])
def test_of_one_recording_the_end_is_held_back(
    one_recording: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    assert make(one_recording, tmp_path / "out", *options) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.is_split_inside
    assert manifest.pair_starts is not None
    assert sorted(manifest.pair_starts["validation"]) == [RATE * start for start in range(53, 59)]  # a tenth of 59
    assert sorted(manifest.pair_starts["training"]) == [RATE * start for start in range(42)]
    ends = [start + 2 * RATE for start in manifest.pair_starts["training"]]
    assert min(manifest.pair_starts["validation"]) - max(ends) == 10 * RATE  # what neither side has
    assert recording_sides(manifest) == {read_prepared_manifest(one_recording).songs[0].sha256: "both"}
    said = " ".join(capsys.readouterr().out.split())
    assert "validation is the end of the one recording" in said
    assert ("There is one recording: its last 10% are held back for validation, after a gap of 10 s" in said) != bool(
        options
    )
    assert "There are 42 seconds of music to learn from, which is too little" in said


def test_between_the_sides_of_one_recording_lies_a_pair(one_recording: Path, tmp_path: Path):
    words = ["--input", str(one_recording), "--output", str(tmp_path), "--segment-seconds", "10"]
    assert main(words) == 0
    starts = read_manifest(tmp_path).pair_starts
    assert starts is not None
    assert min(starts["validation"]) - (max(starts["training"]) + 20 * RATE) == 20 * RATE


def test_splitting_inside_is_for_one_recording(prepared: Path, tmp_path: Path, capsys):
    assert make(prepared, tmp_path, "--split-inside") == 2
    assert "is for one recording; there are 5" in capsys.readouterr().err


LITTLE: dict[str, list[float]] = {
    "one recording, too short": [30.0],
    "one recording, far too short": [3.0],
    "one recording": [60.0],
    "only short files": [1.0] * 30,
    "few short files": [1.0] * 8,
    "two songs": [15.0, 12.0],
    "two short songs": [2.0, 1.5],
    "a song and sounds": [21.0, *[1.0] * 8],
    "silence": [0.0],
    "silence and a song": [-40.0, 30.0],
    "only silence": [-40.0, -41.0],
    "sounds below a second": [0.5] * 80,
}
"""Seconds of every file, each in a folder of its own; below 0 music with so much silence after it."""


@pytest.mark.parametrize("lengths", LITTLE.values(), ids=LITTLE)
def test_the_advice_never_runs_in_a_circle(lengths: list[float], tmp_path: Path, monkeypatch, capsys):
    """Whatever command a refusal names is followed to the letter, until there is a data set or music is missing."""
    from data_prep import prepare_dataset

    monkeypatch.chdir(tmp_path)
    for seed, seconds in enumerate(lengths):
        sound = make_music(seed, seconds if seconds > 0.0 else 0.2, RATE)
        rest = np.zeros((1, round(-seconds * RATE) if seconds < 0.0 else RATE * (seconds == 0.0)), np.float32)
        put(tmp_path / f"music/{seed:02d}/{seed:02d}.wav", np.concatenate([sound * (seconds != 0.0), rest], axis=1))
    commands = {"prepare": prepare_dataset.main, "dataset": main}
    command = "musigan prepare music --output prepared --sample-rate 4000 --channels 1 --workers 1"
    tried: list[str] = []
    while command not in tried:
        tried.append(command)
        _, verb, *words = shlex.split(command)
        status = commands[verb](words)
        said = " ".join(capsys.readouterr().err.split())
        if status == 0 and verb == "dataset":
            return
        named = re.findall(r"`(musigan (?:prepare|dataset)[^`]*)`", said)
        if status and not named:
            is_too_little = re.search(r"too little music.* [0-9.]+ s are missing", said)
            assert is_too_little or "1 silent" in said, said
            return
        command = named[0] if status else "musigan dataset --input prepared --output out"
    raise AssertionError(f"the advice leads to {command} again")


def test_as_many_seconds_more_as_are_missing_are_enough(tmp_path: Path, capsys):
    write_music(tmp_path / "music/a.wav", 0, 3.0, RATE)
    prepare_folder(tmp_path / "music", tmp_path / "prepared", SETTINGS)
    assert make(tmp_path / "prepared", tmp_path / "out") == 2
    found = re.search(r"([0-9.]+) s are missing for one", " ".join(capsys.readouterr().err.split()))
    assert found
    for seconds, status in ((-0.1, 2), (0.0, 0)):
        write_music(tmp_path / "music/a.wav", 0, 3.0 + float(found[1]) + seconds, RATE)
        prepare_folder(tmp_path / "music", tmp_path / "prepared", SETTINGS)
        assert make(tmp_path / "prepared", tmp_path / "out") == status


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample pack: forty sounds of 0.8 to 1.4 s in two folders."""
    folder = tmp_path_factory.mktemp("pack")
    for seed in range(40):
        write_music(folder / f"music/{'kicks' if seed % 2 else 'pads'}/{seed:02d}.wav", seed, 0.8 + 0.015 * seed, RATE)
    prepare_folder(folder / "music", folder / "prepared", SETTINGS)
    return folder / "prepared"


@pytest.mark.parametrize("options", [[], ["--join-short"]])
def test_the_sounds_of_a_sample_pack_are_joined(pack: Path, tmp_path: Path, options: list[str], capsys):
    output = tmp_path / "out"
    assert make(pack, output, *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "joined: 40 short files into" in said
    assert ("Most of this music is in files shorter than a pair: 40 files of them" in said) != bool(options)
    manifest = read_manifest(output)
    assert sum(map(len, manifest.joined.values())) == 40
    assert {Path(part).parent.name for part in next(iter(manifest.joined.values()))} == {"kicks"}
    assert manifest.too_short == ()
    for split in SPLITS:
        assert manifest.pair_songs is not None
        assert manifest.pair_starts is not None
        wholes = []
        for name in manifest.songs[split]:
            parts = [whole_song(pack, part) for part in manifest.joined[name]]
            wholes.append(np.concatenate(parts, axis=1))
        for pair, song, start in zip(
            open_pairs(output, split), manifest.pair_songs[split], manifest.pair_starts[split], strict=True
        ):
            expected = wholes[song][:, start : start + 2 * RATE]
            assert np.array_equal(np.concatenate([pair[0], pair[1]], axis=1), expected)
    assert not set(manifest.groups["training"]) & set(manifest.groups["validation"])


def test_the_shorter_segments_that_are_named_fit_the_music_and_the_model(tmp_path: Path, capsys):
    for seed in range(8):
        write_music(tmp_path / f"music/{seed}.flac", seed, 3.0 + 0.1 * seed, 16_000)
    prepare_folder(tmp_path / "music", tmp_path / "prepared", dataclasses.replace(SETTINGS, sample_rate=16_000))
    words = ["--input", str(tmp_path / "prepared"), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--segment-seconds 1.6`" in said  # 3.2 s and more: three quarters of the songs
    settings = ["model.seq_len=25600", "model.latent_seq_len=50", "stages.flow.frames=50"]
    assert f"`musigan train --dataset {tmp_path / 'out'} --set " in said
    assert all(f"--set {word}" in said for word in settings)
    assert main([*words, "--segment-seconds", "1.6"]) == 0
    shown = capsys.readouterr().out
    assert "Next: musigan train" in shown
    assert "--set model.latent_seq_len=50" in shown
    assert main([*words, "--segment-seconds", "1.6", "--preset", "tiny", "--overwrite"]) == 0
    assert "--preset tiny" in capsys.readouterr().out


def test_the_settings_for_shorter_segments_are_settings_that_can_be_read():
    from piano.config_reader import find_config, load_config_from_yaml

    defaults = load_defaults(None, "tiny")
    for samples in (least_segment_samples(defaults), 25_600, 80_000, 160_000, 320_000):
        words = settings_for_segments(defaults, samples)
        pairs = (word.split("=") for word in words if word != "--set")
        overrides = {name: int(value) for name, value in pairs}
        config = load_config_from_yaml(find_config(None), preset="tiny", overrides=overrides)
        assert config.model.seq_len == samples
        assert all(stage.frames <= config.model.latent_seq_len for _, stage in config.stages)
    assert settings_for_segments(defaults, 160_000) == []
    assert settings_for_segments(defaults._replace(stage_frames=()), 320_000) == ["--set", "model.seq_len=320000"]


def test_silence_inside_a_song_is_not_written_and_its_minutes_are_told(tmp_path: Path, capsys):
    music = [make_music(seed, seconds, RATE) for seed, seconds in ((1, 24.0), (2, 6.0), (3, 20.0))]
    gap = np.zeros((1, 120 * RATE), np.float32)
    put(tmp_path / "music/hidden track.wav", np.concatenate([music[0], gap, music[1]], axis=1))
    put(tmp_path / "music/other.wav", music[2])
    put(tmp_path / "music/pause.wav", np.concatenate([music[2][:, ::-1], gap[:, : 2 * RATE], music[1]], axis=1))
    prepare_folder(tmp_path / "music", tmp_path / "prepared", SETTINGS)
    assert make(tmp_path / "prepared", tmp_path / "out", "--validation-fraction", "0.3") == 0
    manifest = read_manifest(tmp_path / "out")
    silent = 0
    for split in SPLITS:
        pairs = open_pairs(tmp_path / "out", split)
        silent += int((np.abs(pairs).max(axis=(1, 2, 3)) == 0).sum())
    kept = sum(manifest.pairs.values())
    assert silent <= 0.03 * kept
    assert manifest.silent_pairs >= 118
    assert kept + manifest.silent_pairs == 149 + 19 + 27  # every pair is written or told
    assert "2.0 minutes of silence inside songs" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are POSIX")
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(prepared: Path, tmp_path: Path):
    """The largest size of a file stands in for the end of the disk: it too is met in the middle of writing."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
        "from data_prep.create_dataset import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["--input", str(prepared), "--output", str(tmp_path / "out"), "--segment-seconds", "1", "--format", "npy"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "Error: cannot write " in last
    assert "File too large" in last
    assert "GB; free some space" in last
    assert sorted(os.listdir(tmp_path / "out")) == [".lock"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1.5])
def test_samples_that_are_no_sound_are_refused(tmp_path: Path, value: float, capsys):
    for seed in range(2):
        write_music(tmp_path / f"music/{seed}.flac", seed, 5.0, RATE)
    manifest = prepare_folder(tmp_path / "music", tmp_path / "prepared", SETTINGS).manifest
    old = as_version_1(tmp_path / "prepared", tmp_path / "old")
    path = old / manifest.songs[0].folder / "chunk_0000.npy"
    samples = np.load(path)
    samples[0, 777] = value
    np.save(path, samples)
    for form in ("shards", "npy"):
        assert make(old, tmp_path / "out", "--format", form) == 2
        assert "holds samples that are no sound" in capsys.readouterr().err
        assert os.listdir(tmp_path / "out") == [".lock"]


EDITS: dict[str, Any] = {
    "a folder elsewhere": lambda song, _: song.update(folder="/tmp"),
    "a folder above": lambda song, _: song.update(folder=".."),
    "a chunk elsewhere": lambda song, _: song["chunks"][0].update(file="../../secret.npy"),
    "a chunk on a Windows drive": lambda song, _: song["chunks"][0].update(file="C:secret.npy"),
    "a chunk that is a word": lambda song, _: song.update(chunks="x"),
    "10^15 samples": lambda song, _: song.update(samples=10**15),
    "10^12 samples in chunks that claim it": lambda song, _: (
        song.update(samples=10**12),
        song["chunks"][0].update(samples=10**12),
    ),
    "-5 samples": lambda song, _: song.update(samples=-5),
    "samples as a word": lambda song, _: song.update(samples="many"),
    "a rate as a word": lambda _, values: values["settings"].update(sample_rate="high"),
    "a rate of 10^9": lambda _, values: values["settings"].update(sample_rate=10**9),
    "3 channels": lambda _, values: values["settings"].update(channels=3),
    "-1 channels": lambda _, values: values["settings"].update(channels=-1),
    "true channels": lambda _, values: values["settings"].update(channels=True),
    "2 channels of chunks that have one": lambda _, values: values["settings"].update(channels=2),
    "a chunk in no shard": lambda song, _: song["chunks"][0].update(row=None),
    "a chunk behind the end of its shard": lambda song, _: song["chunks"][0].update(row=10**6),
    "a chunk before its shard": lambda song, _: song["chunks"][0].update(row=-1),
    "a chunk at half a row": lambda song, _: song["chunks"][0].update(row=0.5),
    "no fingerprint": lambda song, _: song.update(fingerprint_words=None),
    "a fingerprint that is a word": lambda song, _: song.update(fingerprint_words="ab"),
    "a fingerprint that ends before it begins": lambda song, _: song.update(fingerprint_words=[9, 3]),
    "a chunk that begins late": lambda song, _: song["chunks"][0].update(start_sample=5),
    "no chunks": lambda song, _: song.update(chunks=[]),
    "no group": lambda song, _: song.update(group=None),
    "silence that is no number": lambda song, _: song.update(silence_share=float("nan")),
    "two songs of one name": lambda song, values: song.update(source=values["songs"][1]["source"]),
    "two songs in one folder": lambda song, values: song.update(folder=values["songs"][1]["folder"]),
    "a list of songs that is a number": lambda _, values: values.update(songs=7),
    "music from a number": lambda _, values: values.update(music_folder=7),
    "a field too many": lambda song, _: song.update(extra=1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused_in_one_sentence(prepared: Path, tmp_path: Path, edit: str, capsys):
    copy = tmp_path / "prepared"
    copy.mkdir()
    shutil.copytree(prepared / "shards", copy / "shards")
    values = json.loads(manifest_path(prepared).read_text())
    manifest_path(copy).write_text(json.dumps(values))
    assert make(copy, tmp_path / "unedited") == 0
    capsys.readouterr()
    EDITS[edit](values["songs"][0], values)
    manifest_path(copy).write_text(json.dumps(values))
    assert make(copy, tmp_path / "out") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("what", ["pipe as chunk", "link out", "pipe as manifest", "folder as chunk"])
def test_chunks_are_files_inside_the_folder(tmp_path: Path, what: str, capsys):
    for seed in range(2):
        write_music(tmp_path / f"music/{seed}.flac", seed, 5.0, RATE)
    prepared = tmp_path / "prepared"
    song = prepare_folder(tmp_path / "music", prepared, SETTINGS).manifest.songs[0]
    path = prepared / "shards" / str(song.shard)
    if what == "pipe as manifest":
        path = manifest_path(prepared)
    path.rename(tmp_path / "secret.npy")
    if what == "link out":
        path.symlink_to(tmp_path / "secret.npy")
    elif what == "folder as chunk":
        path.mkdir()
    else:
        os.mkfifo(path)
    capsys.readouterr()
    assert make(prepared, tmp_path / "out") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_errors_are_of_the_right_kind(tmp_path: Path):
    with pytest.raises(DatasetError, match="there is no prepared folder"):
        create_dataset(tmp_path / "none", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text"), [("manifest.json", '{"mine": 1}'), ("training_set.npy", "precious"), ("manifest.json", "[1]")]
)
def test_a_data_set_is_not_written_over_somebody_s_files(prepared: Path, tmp_path: Path, name, text, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text(text)
    assert make(prepared, out) == 2
    assert f"{name} is there already and was not made by this program" in capsys.readouterr().err
    assert (out / name).read_text() == text


@pytest.mark.parametrize("name", ["letters", "thesis.odt"])
def test_a_folder_of_other_things_is_not_filled(prepared: Path, tmp_path: Path, name, capsys):
    out = tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / "lost+found").mkdir()
    (out / name).mkdir()
    for command, words in ((prepare, [str(prepared.parent / "music")]), (main, ["--input", str(prepared)])):
        assert command([*words, "--output", str(out)]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"holds other things already ({name})" in said and "Choose a new or empty folder" in said
    assert sorted(os.listdir(out)) == sorted([".git", "lost+found", name])
    (out / name).rmdir()
    assert make(prepared, out) == 0


@pytest.mark.parametrize("command", [main, prepare])
def test_a_file_in_place_of_a_folder_is_one_sentence(prepared: Path, tmp_path: Path, command, capsys):
    file = tmp_path / "out.txt"
    file.write_text("a file")
    for place in (file, file / "inside"):
        words = [str(prepared.parent / "music")] if command is prepare else ["--input", str(prepared)]
        assert command([*words, "--output", str(place)]) == 2
        assert "is a file, or lies in one, and not a folder" in " ".join(capsys.readouterr().err.split())
    assert file.read_text() == "a file"


def test_what_a_kill_left_without_a_manifest_is_no_obstacle(prepared: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert make(prepared, out) == 0
    (out / "manifest.json").unlink()
    assert make(prepared, out) == 0


def kinds(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        write_music(folder / f"music/{name}.flac", number, 12.0, RATE)
    prepare_folder(folder / "music", folder / "prepared", SETTINGS)
    return folder / "prepared"


def warnings(prepared: Path, output: Path, *options: str) -> list[str]:
    make(prepared, output, *options)
    return split_warnings(read_manifest(output))


def test_a_kind_of_music_that_only_validation_has_is_told_with_a_seed_that_mends_it(tmp_path: Path, capsys):
    prepared = kinds(tmp_path, ["all/Piano/0", *(f"all/Rock/{number}" for number in range(1, 5))])
    seen = {}
    for seed in range(40):
        output = tmp_path / f"d{seed}"
        told = warnings(prepared, output, "--seed", str(seed))
        is_lost = read_manifest(output).songs["validation"] == ("all/Piano/0.flac",)
        assert told[0].startswith("warning: validation is one recording only (all/")
        assert "--validation-fraction 0.4" in told[0]
        assert len(told) == 1 + is_lost
        seen[is_lost] = seed, told[-1]
        if len(seen) == 2:
            break
    lost, sentence = seen[True]
    assert sentence.startswith("warning: all music of the folder Piano is in validation")
    [mended] = re.findall(r"With --seed (\d+) --overwrite", sentence)
    capsys.readouterr()
    assert make(prepared, tmp_path / f"d{lost}") in (0, 2)
    assert make(prepared, tmp_path / f"d{lost}", "--seed", mended, "--overwrite") == 0
    assert "all music of the folder" not in capsys.readouterr().out
    assert warnings(prepared, tmp_path / "more", "--validation-fraction", "0.4", "--seed", mended) == []


def test_folders_of_one_song_each_are_no_kinds_and_two_songs_are_few(tmp_path: Path):
    prepared = kinds(tmp_path, ["a/0", "b/1"])
    told = warnings(prepared, tmp_path / "d")
    assert [line.split(":")[1] for line in told] == [
        f" validation is one recording only ({read_manifest(tmp_path / 'd').songs['validation'][0]})",
        " there is one recording only to learn from",
    ]
    assert "--validation-fraction" not in told[0]


def test_a_prepared_folder_without_songs_says_so(tmp_path: Path, capsys):
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.wav").write_text("nothing")
    prepare_folder(tmp_path / "music", tmp_path / "prepared", SETTINGS)
    assert make(tmp_path / "prepared", tmp_path / "d") == 2
    assert f"holds no song: nothing of {tmp_path / 'music'} could be prepared" in capsys.readouterr().err
