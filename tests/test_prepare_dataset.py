"""From a folder of music to sound in shards: levelled, resumable, complete, and calm about broken files."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.prepare_dataset import main
from data_prep.prepare_song import song_folder
from piano.foundation.audio_io import read_audio, write_audio
from piano.foundation.dataset_format import PreparedManifest, PrepareSettings, read_prepared_manifest
from piano.foundation.decode_log import NOT_FINITE
from piano.foundation.folder_lock import locked_folder
from piano.foundation.levels import LevelMeter
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.prepared_song import SongEntry
from tests.make_audio import make_music, write_float_wav, write_music

ROOT = Path(__file__).resolve().parent.parent
RATE = 16_000
OPTIONS = ["--sample-rate", str(RATE), "--channels", "1", "--chunk-seconds", "2", "--workers", "1"]


def prepare(music: Path, output: Path, *options: str, status: int = 0) -> PreparedManifest:
    assert main([str(music), "--output", str(output), *OPTIONS, *options]) == status
    return read_prepared_manifest(output)


def continuous(output: Path, song: SongEntry) -> np.ndarray:
    """The whole song, cut out of its shard as any program with numpy would."""
    [chunk] = song.chunks
    assert (chunk.start_sample, chunk.samples) == (0, song.samples)
    assert chunk.row is not None
    shard = np.load(output / "shards" / chunk.file)
    assert shard.dtype == np.int16
    whole = shard[chunk.row : chunk.row + chunk.samples].T.astype(np.float32) / 32768
    with ChunkReader(output) as reader:
        assert np.array_equal(reader.read(song, 0, song.samples), whole)
    return whole


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes, except the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def change_times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs in nested folders: 5.3 s MP3 in stereo, 4 s FLAC, 1.5 s WAV."""
    folder = tmp_path_factory.mktemp("music")
    write_music(folder / "rock/Long – 'l'été' 音.mp3", 1, 5.3, 22_050, 2)
    write_music(folder / "exact.flac", 2, 4.0)
    write_music(folder / "deep/er/short.wav", 3, 1.5)
    (folder / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture(scope="module")
def prepared(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "prepared"
    prepare(music, output)
    return output


def test_every_song_is_whole_in_a_shard_and_songs_lie_one_after_the_other(music: Path, prepared: Path):
    manifest = read_prepared_manifest(prepared)
    assert [song.source for song in manifest.songs] == ["deep/er/short.wav", "exact.flac", "rock/Long – 'l'été' 音.mp3"]
    short, exact, long = manifest.songs
    assert (short.samples, exact.samples) == (24_000, 64_000)
    assert [song.chunks[0].row for song in manifest.songs] == [0, 24_000, 88_000]
    assert len({song.shard for song in manifest.songs}) == 1
    assert len(np.load(prepared / "shards" / str(long.shard))) == 88_000 + long.samples
    for song in manifest.songs:
        source = read_audio(music / song.source, sample_rate=RATE, channels=1)
        assert source.shape == (1, song.samples)
        gain = 10 ** (song.gain_db / 20)
        assert np.allclose(continuous(prepared, song), source * gain, rtol=2e-3, atol=1e-5 + 0.5 / 32768)


def test_songs_are_levelled_as_a_whole(music: Path, prepared: Path):
    for song in read_prepared_manifest(prepared).songs:
        whole = continuous(prepared, song)
        rms_db = 20 * np.log10(np.sqrt(np.mean(whole**2)))
        peak_db = 20 * np.log10(np.abs(whole).max())
        assert abs(rms_db - -18.0) < 0.3 or abs(peak_db - -1.0) < 0.05
        assert peak_db < -0.95
        assert rms_db < -17.5


def test_the_manifest_describes_the_source(music: Path, prepared: Path):
    manifest = read_prepared_manifest(prepared)
    long = manifest.songs[2]
    assert (long.source_sample_rate, long.source_channels) == (22_050, 2)
    assert abs(long.seconds - 5.3) < 0.1
    assert long.size == (music / long.source).stat().st_size
    assert long.folder.startswith("Long_l_ete-")
    assert [(entry.source, entry.reason) for entry in manifest.left_out] == [("cover.jpg", "not_audio")]


def test_files_that_are_no_music_are_passed_over_in_one_line(tmp_path: Path, music: Path, capsys) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    shutil.copy(next(music.rglob("*.wav")), folder / "a.wav")
    for number in range(12):
        (folder / f"cover {number:02d}.jpg").write_bytes(b"x")
    assert main([str(folder), "--output", str(tmp_path / "out"), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert "passed over, no music by their name: cover 00.jpg, cover 01.jpg" in shown
    assert not [line for line in shown.splitlines() if line.startswith("left out: ")]
    assert len(read_prepared_manifest(tmp_path / "out").left_out) == 12


def test_the_report_names_every_file(prepared: Path):
    report = json.loads((prepared / "report.json").read_text())
    assert report["summary"]["songs"] == 3
    assert report["summary"]["shards"] == 1
    with open(prepared / "report.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["source"], row["outcome"], row["reason"]) for row in rows] == [
        ("cover.jpg", "left_out", "not_audio"),
        ("deep/er/short.wav", "prepared", ""),
        ("exact.flac", "prepared", ""),
        ("rock/Long – 'l'été' 音.mp3", "prepared", ""),
    ]


def test_the_number_of_workers_changes_nothing(music: Path, prepared: Path, tmp_path: Path):
    prepare(music, tmp_path / "three", "--workers", "3")
    assert contents(tmp_path / "three") == contents(prepared)


def test_a_second_run_does_nothing(music: Path, prepared: Path, capsys: pytest.CaptureFixture[str]):
    before = change_times(prepared)
    prepare(music, prepared)
    assert change_times(prepared) == before
    assert "0 prepared now, 3 kept from before, 0 gone" in capsys.readouterr().out


def test_songs_come_and_go_and_change(music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mine, output = tmp_path / "music", tmp_path / "out"
    shutil.copytree(music, mine)
    first = prepare(mine, output)
    sound = continuous(output, first.songs[1])
    capsys.readouterr()

    write_music(mine / "new.wav", 9, 2.5)
    write_music(mine / "deep/er/short.wav", 10, 1.7)
    (mine / first.songs[2].source).unlink()
    os.utime(mine / "exact.flac", (1, 1))  # another date, the same bytes
    second = prepare(mine, output)
    shown = capsys.readouterr().out
    assert [song.source for song in second.songs] == ["deep/er/short.wav", "exact.flac", "new.wav"]
    assert [song.seconds for song in second.songs] == [1.7, 4.0, 2.5]
    assert "gone: rock/Long" in shown
    assert np.array_equal(continuous(output, second.songs[1]), sound)
    assert "3 prepared now, 0 kept from before, 1 gone" in shown  # one of them only looked at again
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"records", "shards"}

    before = change_times(output)
    prepare(mine, output)
    assert change_times(output) == before


def test_a_changed_setting_is_noticed(music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    prepare(music, tmp_path, "--max-files", "2")
    manifest = prepare(music, tmp_path, "--max-files", "2", "--sample-rate", "8000", "--channels", "2")
    assert "settings changed (sample_rate 16000 -> 8000, channels 1 -> 2)" in capsys.readouterr().out
    assert manifest.settings.sample_rate == 8000
    for song in manifest.songs:
        assert continuous(tmp_path, song).shape == (2, song.samples)
    assert len(list((tmp_path / "shards").glob("shard_????_????????.npy"))) == 1  # the old one is gone


@pytest.mark.parametrize("suffix", [".npy", ".json", ".fingerprints.npy"])
def test_a_lost_file_of_a_shard_is_made_again(suffix: str, music: Path, prepared: Path, tmp_path: Path):
    shutil.copytree(prepared, tmp_path / "out")
    manifest = read_prepared_manifest(prepared)
    [path] = (tmp_path / "out/shards").glob(f"shard_????_????????{suffix}")
    path.unlink()
    assert prepare(music, tmp_path / "out") == manifest
    assert contents(tmp_path / "out") == contents(prepared)


def test_only_so_many_files_as_asked_and_the_others_are_not_lost(music: Path, prepared: Path, tmp_path: Path, capsys):
    shutil.copytree(prepared, tmp_path / "out")
    manifest = prepare(music, tmp_path / "out", "--max-files", "1")
    assert [song.source for song in manifest.songs] == ["deep/er/short.wav"]
    assert "gone" not in capsys.readouterr().out.replace("0 gone", "")
    times = change_times(tmp_path / "out")
    everything = prepare(music, tmp_path / "out")
    assert everything == read_prepared_manifest(prepared)
    for path in (tmp_path / "out/shards").iterdir():
        assert times[str(path)] == path.stat().st_mtime_ns


def test_stereo_is_kept(tmp_path: Path):
    written = write_music(tmp_path / "music/a.wav", 1, 3.0, RATE, 2)
    [song] = prepare(tmp_path / "music", tmp_path / "out", "--channels", "2").songs
    whole = continuous(tmp_path / "out", song)
    assert whole.shape == (2, 48_000)
    assert np.allclose(whole, written * 10 ** (song.gain_db / 20), rtol=2e-3, atol=1e-3)


def test_identical_files_are_kept_once_and_other_copies_are_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    music = tmp_path / "music"
    waveform = write_music(music / "a.wav", 1, 14.0)
    shutil.copy(music / "a.wav", music / "z copy.wav")
    with soundfile.SoundFile(
        music / "low.mp3", "w", RATE, 1, format="MP3", bitrate_mode="CONSTANT", compression_level=0.9
    ) as file:
        file.write(0.4 * waveform[0, 5_555:])
    write_music(music / "other.wav", 2, 14.0)
    manifest = prepare(music, tmp_path / "out")
    assert {song.source: song.group for song in manifest.songs} == {
        "a.wav": "a.wav",
        "low.mp3": "a.wav",
        "other.wav": "other.wav",
    }
    [left_out] = manifest.left_out
    assert (left_out.source, left_out.reason, left_out.detail) == ("z copy.wav", "duplicate", "same as a.wav")
    assert "low.mp3: the same recording as a.wav" in capsys.readouterr().out

    write_music(music / "a first.wav", 1, 14.0)  # a new name in front of the old one does not take its place
    again = prepare(music, tmp_path / "out")
    assert again.songs == manifest.songs
    (music / "a.wav").unlink()
    assert [song.source for song in prepare(music, tmp_path / "out").songs] == ["a first.wav", "low.mp3", "other.wav"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good song and everything that a music folder may hold by accident or malice."""
    folder = tmp_path_factory.mktemp("hostile")
    good = write_music(folder / "good.wav", 1, 3.0)
    write_float_wav(folder / "loud.wav", 1e6 * good)
    offset = make_music(2, 3.0) * 0.1 + 0.8
    write_float_wav(folder / "offset.wav", offset)
    broken = make_music(3, 3.0)
    broken[0, 1000:1100], broken[0, 2000] = np.nan, np.inf
    write_float_wav(folder / "nan.wav", broken)
    click = 0.1 * make_music(4, 3.0)
    click[0, 20_000] = 5000.0
    write_float_wav(folder / "click.wav", click)
    write_float_wav(folder / "opposite.wav", np.concatenate([good, -good]))
    write_float_wav(folder / "silence.wav", np.zeros((1, 3 * RATE), np.float32))
    write_float_wav(folder / "constant.wav", np.full((1, 3 * RATE), 0.5, np.float32))
    write_float_wav(folder / "tiny.wav", good[:, :800])
    write_float_wav(folder / "none.wav", good[:, :0])
    (folder / "empty.mp3").touch()
    (folder / "text.mp3").write_text("This is a shopping list, not a song.\n" * 40)
    (folder / "random.mp3").write_bytes(np.random.default_rng(0).bytes(65_536))
    (folder / ".hidden.mp3").write_bytes(b"x")
    (folder / "folder.mp3").mkdir()
    write_music(folder / "folder.mp3/inside.flac", 5, 3.0)
    if os.name != "nt":
        write_music(folder / "esc\x1b[31m\nnew line.wav", 6, 3.0)
        shutil.copy(folder / "text.mp3", folder / "byte-\udcff.mp3")
        (folder / "loop").symlink_to(folder)
        (folder / "gone.mp3").symlink_to(folder / "nowhere")
        os.mkfifo(folder / "pipe.mp3")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the names are not possible on Windows")
def test_hostile_files_cost_a_line_each_and_nothing_else(hostile: Path, tmp_path: Path):
    command = [sys.executable, "prepare_dataset.py", str(hostile), "--output", str(tmp_path / "out"), *OPTIONS]
    done = subprocess.run(command, cwd=ROOT / "data_prep", capture_output=True, check=False, timeout=120)
    shown, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, errors
    assert "Traceback" not in shown + errors
    assert "\x1b" not in shown
    assert all("preparing" in line for line in errors.replace("\r", "\n").split("\n") if line)
    manifest = read_prepared_manifest(tmp_path / "out")
    reasons = {os.fsencode(entry.source): entry.reason for entry in manifest.left_out}
    expected = {
        b".hidden.mp3": "hidden",
        b"byte-\xff.mp3": "unreadable",
        b"constant.wav": "silent",
        b"empty.mp3": "empty",
        b"gone.mp3": "not_a_file",
        b"none.wav": "unreadable",
        b"opposite.wav": "silent",
        b"pipe.mp3": "not_a_file",
        b"random.mp3": "unreadable",
        b"silence.wav": "silent",
        b"text.mp3": "unreadable",  # its twin is no song, so it is no duplicate of one
        b"tiny.wav": "too_short",
    }
    assert reasons == expected
    assert len([line for line in shown.splitlines() if line.startswith("left out: ")]) == len(expected)
    notes = {song.source: song.notes for song in manifest.songs if song.notes}
    [clicks] = notes.pop("click.wav")
    assert clicks.startswith("isolated clicks clipped: 1, up to ")
    assert notes == {"nan.wav": (NOT_FINITE,), "offset.wav": ("constant offset removed",)}
    for song in manifest.songs:
        whole = continuous(tmp_path / "out", song)
        assert np.isfinite(whole).all()
        assert np.abs(whole).max() <= 1.0
        assert -26 < 20 * np.log10(np.sqrt(np.mean(whole**2))) < -17.5
        assert abs(whole.mean()) < 0.01


def test_no_usable_music_is_one_sentence_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.mp3").write_text("nothing")
    prepare(tmp_path / "music", tmp_path / "out", status=2)
    captured = capsys.readouterr()
    assert "left out: a.mp3: unreadable" in captured.out
    assert captured.err.splitlines()[-1].startswith("Error: no usable music in ")


@pytest.mark.parametrize(
    ("option", "texts", "allowed"),
    [
        ("--sample-rate", ["5", "0", "-16000", "1e4", "999999"], "a whole number from 1,000 to 384,000"),
        ("--channels", ["0", "3", "-1", "x"], "a whole number from 1 to 2"),
        ("--chunk-seconds", ["0", "1e9", "nan", "-inf"], "a number from 0.1 to 3,600"),
        ("--min-seconds", ["-1", "nan", "3600"], "a number from 0 to below 3,600"),
        ("--workers", ["0", "-1", "2.5", "9999"], "a whole number from 1 to 1,024"),
        ("--max-files", ["0", "-3"], "a whole number from 1 to "),
    ],
)
def test_every_number_is_refused_with_its_true_range(
    music: Path, tmp_path: Path, option: str, texts: list[str], allowed: str, capsys
):
    for text in texts:
        with pytest.raises(SystemExit) as stop:
            main([str(music), "--output", str(tmp_path / "out"), f"{option}={text}"])
        assert stop.value.code == 2
        assert f"argument {option}: {text} is not {allowed}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path / "nowhere"), "--output", str(tmp_path / "out"), *OPTIONS]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rate_channels_and_folder_come_from_the_config(music: Path, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("prepared_folder: chunks\n")
    for preset, expected in (("tiny", (16_000, 1)), ("small", (44_100, 2))):
        options = ["--config", str(tmp_path / "config.yaml"), "--preset", preset, "--max-files", "1", "--workers", "1"]
        assert main([str(music), *options]) == 0
        found = read_prepared_manifest(tmp_path / "chunks").settings
        assert (found.sample_rate, found.channels) == expected


def test_two_runs_do_not_mix(music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with locked_folder(tmp_path):
        assert main([str(music), "--output", str(tmp_path), *OPTIONS]) == 2
    assert "another run is working" in capsys.readouterr().err


def test_other_music_does_not_replace_what_was_prepared(
    music: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(prepared, tmp_path / "out")
    write_music(tmp_path / "other/x.wav", 1, 2.0)
    assert main([str(tmp_path / "other"), "--output", str(tmp_path / "out"), *OPTIONS]) == 2
    assert "was prepared from" in capsys.readouterr().err
    assert contents(tmp_path / "out") == contents(prepared)
    shutil.copytree(music, tmp_path / "moved")  # the same music elsewhere is the same music
    assert prepare(tmp_path / "moved", tmp_path / "out").songs == read_prepared_manifest(prepared).songs


def test_an_output_inside_the_music_is_not_taken_for_music(tmp_path: Path):
    write_music(tmp_path / "a.wav", 1, 2.0)
    for _ in range(2):
        manifest = prepare(tmp_path, tmp_path / "prepared")
        assert [song.source for song in manifest.songs] == ["a.wav"]
        assert manifest.left_out == ()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path):
    music, output = tmp_path / "music", tmp_path / "out"
    for seed in range(6):
        write_music(music / f"{seed}.flac", seed, 6.0)
    command = [
        sys.executable,
        str(ROOT / "data_prep/prepare_dataset.py"),
        str(music),
        "--output",
        str(output),
        *OPTIONS,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(output.glob("records/*.json")):
            time.sleep(0.005)
        process.kill()
    finished = [json.loads(path.read_text())["song"]["folder"] for path in output.glob("records/*.json")]
    done = {path: np.load(path) for path in output.glob("[0-9]-*/sound.npy")}
    assert done
    for sound in done.values():
        assert sound.dtype == np.int16
        assert sound.shape == (6 * RATE, 1)
    times = {path.parent.name: path.stat().st_mtime_ns for path in done}
    resumed = prepare(music, output)
    assert resumed == prepare(music, tmp_path / "fresh")
    assert contents(output) == contents(tmp_path / "fresh")
    assert {song.folder for song in resumed.songs} >= set(finished)
    for song in resumed.songs:
        if song.folder in times:
            [sound] = [sound for path, sound in done.items() if path.parent.name == song.folder]
            assert np.array_equal(continuous(output, song), sound.T.astype(np.float32) / 32768)


def test_folder_names_are_safe_and_differ():
    settings = PrepareSettings(sample_rate=RATE, channels=1, chunk_seconds=120, min_seconds=1)
    names = [
        song_folder(source, "00", settings) for source in ("../..", "CON", "a/b", "c/b", "音\n\x1b\udcff", "x" * 300)
    ]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.replace("-", "").replace("_", "").isalnum()
        assert name.isascii()
        assert len(name) < 60


@pytest.mark.parametrize("piece", [999, 16_000, 10**9])
def test_loudness_does_not_depend_on_the_pieces(piece: int):
    waveform = make_music(0, 4.0, RATE, 2)
    meter = LevelMeter(RATE)
    for start in range(0, waveform.shape[1], piece):
        meter.add(waveform[:, start : start + piece])
    levels = meter.levels()
    assert abs(levels.loudness_db - 10 * np.log10(np.mean(waveform**2))) < 0.1
    assert abs(levels.peak_db - 20 * np.log10(np.abs(waveform).max())) < 1e-3


def test_long_silence_does_not_make_the_music_louder(tmp_path: Path):
    waveform = 0.2 * make_music(0, 4.0)
    meter, padded = LevelMeter(RATE), LevelMeter(RATE)
    meter.add(waveform)
    padded.add(np.concatenate([waveform, np.zeros((1, 16 * RATE), np.float32)], axis=1))
    assert abs(meter.levels().gain_db - padded.levels().gain_db) < 0.05
    assert abs(padded.levels().silence_share - 0.8) < 0.05


def test_a_song_of_one_loud_note_keeps_its_quiet_part(tmp_path: Path):
    waveform = np.concatenate([0.01 * make_music(0, 2.0), make_music(1, 2.0)], axis=1)
    write_audio(tmp_path / "music/a.flac", waveform, RATE)
    [song] = prepare(tmp_path / "music", tmp_path / "out").songs
    quiet, loud = np.split(continuous(tmp_path / "out", song), 2, axis=1)
    ratio = np.sqrt(np.mean(quiet**2) / np.mean(loud**2))
    assert abs(ratio / np.sqrt(np.mean(waveform[:, :32_000] ** 2) / np.mean(waveform[:, 32_000:] ** 2)) - 1) < 0.01


def test_a_tilde_that_the_shell_left_is_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_music(tmp_path / "Music" / "song.wav", 1, 3.0, 8000)
    assert main(["~/Music", "--output", str(tmp_path / "out"), "--sample-rate", "8000", "--channels", "1"]) == 0
    assert [song.source for song in read_prepared_manifest(tmp_path / "out").songs] == ["song.wav"]
    capsys.readouterr()
    assert main(["~nobody_of_that_name/Music", "--output", str(tmp_path / "other")]) == 2
    assert "there is no home folder for ~nobody_of_that_name" in " ".join(capsys.readouterr().err.split())
