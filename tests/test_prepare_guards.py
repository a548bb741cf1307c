"""What a preparation must survive: drives that fail or are away, other music, moved files, full disks, odd folders."""

import contextlib
import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep import prepare_song as prepare_song_module
from data_prep.create_dataset import main as make_data_set
from data_prep.disk_need import disk_need, guess_by_kind, guess_seconds, room_need
from data_prep.prepare_dataset import main, prepare_folder
from data_prep.prepare_report import Outcome, PrepareProgress
from data_prep.prepare_song import SongTask, hash_file, prepare_song, read_record, record_path, settings_key
from data_prep.time_need import time_need
from data_prep.worker_pool import run_tasks
from piano.foundation.audio_io import decode_blocks, scan_folder
from piano.foundation.dataset_format import MANIFEST_NAME, PrepareSettings, manifest_path, read_prepared_manifest
from piano.foundation.decode_log import FAR_BEYOND
from piano.foundation.errors import DatasetError, PassingError
from piano.foundation.mpeg_frames import scan_mpeg
from piano.foundation.native_sound import find_ffmpeg
from piano.foundation.sound_reader import PIECE
from tests.make_audio import make_music, write_float_wav, write_music
from tests.old_prepared import whole_song

ROOT = Path(__file__).resolve().parent.parent
RATE = 8000
SETTINGS = PrepareSettings(sample_rate=RATE, channels=1, chunk_seconds=2.0, min_seconds=0.2)
OPTIONS = [
    "--sample-rate",
    str(RATE),
    "--channels",
    "1",
    "--chunk-seconds",
    "2",
    "--min-seconds",
    "0.2",
    "--workers",
    "1",
]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four songs in two folders, and what was prepared from them."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(4):
        write_music(folder / f"music/{'ab'[number // 2]}/Track 0{number}.wav", number, 2.5, RATE)
    prepare_folder(folder / "music", folder / "prepared", SETTINGS)
    return folder / "music", folder / "prepared"


@pytest.fixture
def mine(album: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of both, as if it had always been here."""
    for kind, source in zip(("music", "prepared"), album, strict=True):
        shutil.copytree(source, tmp_path / kind)
    values = json.loads(manifest_path(tmp_path / "prepared").read_text())
    values["music_folder"] = str(tmp_path / "music")
    manifest_path(tmp_path / "prepared").write_text(json.dumps(values))
    return tmp_path / "music", tmp_path / "prepared"


def sound_times(prepared: Path) -> dict[str, int]:
    return {str(path.relative_to(prepared)): path.stat().st_mtime_ns for path in prepared.glob("shards/shard_*.npy")}


def refused(music: Path, prepared: Path, *words: str, **options: object) -> None:
    """The preparation is refused with these words and leaves the folder as it is."""
    before = sound_times(prepared), manifest_path(prepared).read_bytes()
    with pytest.raises(DatasetError) as caught:
        prepare_folder(music, prepared, SETTINGS, **options)  # type: ignore[arg-type]
    for word in (*words, "Nothing was changed", "--forget-missing"):
        assert word in str(caught.value)
    assert (sound_times(prepared), manifest_path(prepared).read_bytes()) == before


def test_music_that_is_away_costs_nothing(mine: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    music, prepared = mine
    music.rename(music.with_name("away"))
    music.mkdir()
    refused(music, prepared, "nothing of the 4 songs", "is a drive not mounted?")
    assert main([str(music), "--output", str(prepared), *OPTIONS]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    music.rmdir()
    music.with_name("away").rename(music)
    before = sound_times(prepared)
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert (outcome.prepared, outcome.kept, outcome.gone) == (0, 4, ())
    assert sound_times(prepared) == before


def test_a_folder_that_is_suddenly_empty_is_a_drive_that_is_away(mine: tuple[Path, Path]):
    music, prepared = mine
    for number in range(4, 9):  # so that two of nine are missing
        write_music(music / f"c/{number}.wav", number, 1.0, RATE)
    prepare_folder(music, prepared, SETTINGS)
    for path in (music / "a").iterdir():
        path.unlink()
    refused(music, prepared, "music/a holds nothing any more, but 2 songs")
    (music / "a").rmdir()
    (music / "a").symlink_to("/nowhere/at all")  # a link to a drive that is not there
    refused(music, prepared, "music/a holds nothing any more, but 2 songs")
    (music / "a").unlink()  # the folder itself was deleted: somebody wanted that
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert outcome.gone == ("a/Track 00.wav", "a/Track 01.wav")


def test_more_than_half_of_the_music_gone_needs_a_word(mine: tuple[Path, Path]):
    music, prepared = mine
    for name in ("a/Track 00.wav", "a/Track 01.wav", "b/Track 02.wav"):
        (music / name).unlink()
    (music / "a").rmdir()
    refused(music, prepared, "3 of the 4 songs")
    outcome = prepare_folder(music, prepared, SETTINGS, forget_missing=True)
    assert [song.source for song in outcome.manifest.songs] == ["b/Track 03.wav"]
    assert len(outcome.gone) == 3
    [shard] = prepared.glob("shards/shard_????_????????.npy")
    assert len(np.load(shard)) == outcome.manifest.songs[0].samples  # packed again, without the songs that are gone


def test_a_lost_manifest_does_not_open_the_door(mine: tuple[Path, Path]):
    music, prepared = mine
    manifest_path(prepared).write_text("{ half")
    shutil.rmtree(music)
    music.mkdir()
    refused(music, prepared, "nothing of the 4 songs")


def test_another_album_is_known_by_its_bytes_and_not_by_its_names(mine: tuple[Path, Path], tmp_path: Path):
    music, prepared = mine
    for number in range(2):
        write_music(tmp_path / f"other/a/Track 0{number}.wav", 50 + number, 2.5, RATE)
    refused(tmp_path / "other", prepared, f"was prepared from {music}", "of its 4 songs 4 are not in")
    shutil.copy2(music / "b/Track 03.wav", tmp_path / "other/same.wav")
    refused(tmp_path / "other", prepared, "of its 4 songs 3 are not in")
    shutil.rmtree(music)  # and at the same place, with some of the names
    shutil.move(tmp_path / "other", music)
    (music / "same.wav").unlink()
    refused(music, prepared, "nothing of the 4 songs")


def test_one_file_does_not_replace_the_album_it_is_from(mine: tuple[Path, Path]):
    music, prepared = mine
    refused(music / "a/Track 00.wav", prepared, "of its 4 songs 3 are not in")


def test_new_tags_on_every_song_are_no_other_music(mine: tuple[Path, Path]):
    music, prepared = mine
    for path in music.rglob("*.wav"):
        path.write_bytes(path.read_bytes() + b"LIST\4\0\0\0INFO")
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert (outcome.prepared, outcome.gone) == (4, ())


@pytest.mark.parametrize("stop", ["valid_records", "pack_songs", "with_groups", "write_prepared_manifest"])
def test_a_run_that_is_killed_while_all_files_are_renamed_goes_on(
    mine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, stop: str
):
    music, prepared = mine
    for path in sorted(music.rglob("*.wav")):
        path.rename(path.with_name(f"new {path.name}"))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"data_prep.prepare_dataset.{stop}", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_folder(music, prepared, SETTINGS)
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert (outcome.prepared, outcome.kept, outcome.gone, len(outcome.moved)) == (0, 4, (), 4)
    fresh = prepare_folder(music, prepared.with_name("fresh"), SETTINGS).manifest
    assert read_prepared_manifest(prepared) == fresh


def test_workers_may_stand_in_another_folder(album: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As those of a cluster do; names of the folders are told to them in full."""
    shutil.copytree(album[0], tmp_path / "music")
    (tmp_path / "music/deadly.wav").write_bytes(b"RIFF")
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path)

    def elsewhere(function, tasks):
        with contextlib.chdir(tmp_path / "worker"):
            events = list(run_tasks(function, tasks, workers=1))
        for event in events:
            if "deadly" in tasks[event.index].path and event.is_finished:
                event = event._replace(failure=f"cannot read {tasks[event.index].path}", result=None)
            yield event

    found = prepare_folder("music", Path("out"), SETTINGS, runner=elsewhere).manifest
    assert [(entry.source, entry.detail) for entry in found.left_out] == [
        ("deadly.wav", "cannot read music/deadly.wav")
    ]
    assert found.songs == prepare_folder("music", Path("here"), SETTINGS).manifest.songs


def test_moved_files_are_not_decoded_again(mine: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    music, prepared = mine
    before = sorted(sound_times(prepared).values())
    (music / "Piano").mkdir()
    for number, path in enumerate(sorted(music.rglob("*.wav"))):
        path.rename(music / f"Piano/piece {number}.wav")
    assert main([str(music), "--output", str(prepared), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert "moved: a/Track 00.wav -> Piano/piece 0.wav: its sound is kept" in shown
    assert "0 prepared now, 4 kept from before, 0 gone" in shown
    assert "gone:" not in shown
    assert sorted(sound_times(prepared).values()) == before
    fresh = prepare_folder(music, prepared.with_name("fresh"), SETTINGS).manifest
    assert read_prepared_manifest(prepared) == fresh
    names = [
        sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
        for root in (prepared, prepared.with_name("fresh"))
    ]
    assert names[0] == names[1]

    (music / "Piano").rename(music / "elsewhere")  # and behind a link
    (music / "Link").symlink_to(music / "elsewhere")
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert (outcome.prepared, outcome.kept, outcome.gone, len(outcome.moved)) == (0, 4, (), 4)
    assert sorted(sound_times(prepared).values()) == before


def test_a_name_that_changes_only_its_case_is_a_move(mine: tuple[Path, Path]):
    music, prepared = mine
    (music / "a/Track 00.wav").rename(music / "a/TRACK 00.WAV")
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert (outcome.prepared, outcome.kept, outcome.gone) == (0, 4, ())


def test_a_song_that_becomes_a_folder_is_gone_and_the_folder_is_read(mine: tuple[Path, Path]):
    music, prepared = mine
    (music / "a/Track 00.wav").unlink()
    write_music(music / "a/Track 00.wav/inside.wav", 30, 1.0, RATE)
    outcome = prepare_folder(music, prepared, SETTINGS)
    assert outcome.gone == ("a/Track 00.wav",)
    assert "a/Track 00.wav/inside.wav" in {song.source for song in outcome.manifest.songs}


def test_a_folder_whose_name_begins_with_dots_is_an_album(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    music = tmp_path / "Band"
    write_music(music / "...And More Music/01.wav", 1, 1.0, RATE)
    write_music(music / ".. 2/02.wav", 2, 1.0, RATE)
    write_music(music / ".trash/03.wav", 3, 1.0, RATE)
    write_music(music / ".trash/deeper/04.wav", 4, 1.0, RATE)
    (music / ".git").mkdir()
    (music / ".git/config").write_text("no sound")
    (music / "...hidden.wav").write_bytes(b"x")
    assert main([str(music), "--output", str(tmp_path / "out"), *OPTIONS]) == 0
    manifest = read_prepared_manifest(tmp_path / "out")
    assert [song.source for song in manifest.songs] == [".. 2/02.wav", "...And More Music/01.wav"]
    rows = {entry.source: (entry.reason, entry.detail) for entry in manifest.left_out}
    assert rows["...hidden.wav"] == ("hidden", "")
    assert rows[".trash"][0] == "hidden"
    assert rows[".trash"][1].startswith("a hidden folder with 2 sound files")
    assert set(rows) == {"...hidden.wav", ".trash"}
    assert "left out: .trash: hidden (a hidden folder with 2 sound files" in capsys.readouterr().out


def test_a_copy_stands_only_for_a_song_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Bytes that one suffix makes unreadable and another makes a song."""
    music = tmp_path / "music"
    write_music(music / "b.flac", 1, 1.5, RATE)
    for name in ("a.xyz.wav", "c.flac", "d.wav"):
        shutil.copy(music / "b.flac", music / name)
    real = prepare_song_module.decode_blocks

    def by_suffix(path: Path, **options: object):
        if path.suffix == ".wav":
            raise prepare_song_module.AudioError(f"{path} is not what it says.")
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_song_module, "decode_blocks", by_suffix)
    monkeypatch.setattr("data_prep.worker_pool.multiprocessing.current_process", lambda: _Daemon)  # in this process
    manifest = prepare_folder(music, tmp_path / "out", SETTINGS).manifest
    assert [song.source for song in manifest.songs] == ["b.flac"]
    assert {entry.source: (entry.reason, entry.detail) for entry in manifest.left_out} == {
        name: ("duplicate", "same as b.flac") for name in ("a.xyz.wav", "c.flac", "d.wav")
    }
    for name in ("b.flac", "c.flac"):
        (music / name).unlink()
    manifest = prepare_folder(music, tmp_path / "out", SETTINGS).manifest
    assert [song.source for song in manifest.songs] == ["a.xyz.wav"]  # the same bytes: its sound is taken over
    manifest = prepare_folder(music, tmp_path / "new", SETTINGS).manifest
    assert manifest.songs == ()
    assert {entry.source: entry.reason for entry in manifest.left_out} == {
        "a.xyz.wav": "unreadable",
        "d.wav": "unreadable",
    }


@pytest.mark.skipif(find_ffmpeg() is None, reason="needs an ffmpeg program")
def test_the_same_aac_under_two_names_is_one_song(tmp_path: Path):
    music = tmp_path / "music"
    write_music(tmp_path / "x.wav", 1, 6.0, 16_000)
    music.mkdir()
    words = [str(find_ffmpeg()), "-v", "error", "-i", str(tmp_path / "x.wav"), "-c:a", "aac", str(music / "b.aac")]
    subprocess.run(words, check=True)
    shutil.copy(music / "b.aac", music / "a.mp3")
    manifest = prepare_folder(music, tmp_path / "out", dataclasses.replace(SETTINGS, min_seconds=1.0)).manifest
    [song], [copy] = manifest.songs, manifest.left_out
    assert abs(song.seconds - 6) < 0.2
    assert (copy.reason, copy.detail) == ("duplicate", f"same as {song.source}")


class _Daemon:
    daemon = True


@pytest.mark.parametrize("place", ["the same", "the same by a link", "music inside the output"])
def test_music_and_output_are_two_folders(album: tuple[Path, Path], tmp_path: Path, place: str, capsys):
    music = tmp_path / "out/music" if place == "music inside the output" else tmp_path / "music"
    shutil.copytree(album[0], music)
    output = music
    if place == "the same by a link":
        output = tmp_path / "link"
        output.symlink_to(music)
    if place == "music inside the output":
        output = tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    assert main([str(music), "--output", str(output), *OPTIONS]) == 2
    assert re.search("must not (be the music folder|lie inside --output)", capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_file_is_taken_as_it_is(album: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    song = album[0] / "a/Track 00.wav"
    assert main([str(song), "--output", str(tmp_path / "out"), *OPTIONS]) == 0
    [entry] = read_prepared_manifest(tmp_path / "out").songs
    assert entry.source == "Track 00.wav"
    shown = capsys.readouterr().out
    assert "1 file to prepare" in shown
    assert "1 song, 2 seconds, 1 shard\n  1 prepared now, 0 kept from before, 0 gone\n" in shown
    assert f"Next: musigan dataset --input {tmp_path / 'out'}\n" in shown
    assert main([str(song), "--output", str(tmp_path / "out"), *OPTIONS, "--preset", "tiny"]) == 0
    assert f"Next: musigan dataset --input {tmp_path / 'out'} --preset tiny\n" in capsys.readouterr().out
    assert prepare_folder(song, tmp_path / "out", SETTINGS).kept == 1


def test_a_spreadsheet_gets_no_formulas(tmp_path: Path):
    names = ["=1+1.wav", "+plus.wav", "-minus.wav", "@at.wav", "plain.wav"]
    for seed, name in enumerate(names):
        write_music(tmp_path / "music" / name, seed, 1.0, RATE)
    prepare_folder(tmp_path / "music", tmp_path / "out", SETTINGS)
    with open(tmp_path / "out/report.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["source"] for row in rows} == {"'=1+1.wav", "'+plus.wav", "'-minus.wav", "'@at.wav", "plain.wav"}
    assert {row["group"] for row in rows} == {row["source"] for row in rows}
    assert all(float(row["loudness_db"]) < 0 for row in rows)  # a number keeps its sign
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {row["source"] for row in report["files"]} == set(names)


def test_the_room_that_is_needed_is_told_before(tmp_path: Path):
    write_float_wav(tmp_path / "a.wav", np.zeros((1, 30 * 16_000), np.float32))
    write_music(tmp_path / "b.flac", 1, 20.0, 16_000)
    paths = [tmp_path / "a.wav", tmp_path / "b.flac"]
    assert abs(guess_seconds(paths) - 50) < 0.5
    (tmp_path / "c.mp3").write_bytes(bytes(20_000 * 3600))
    said = disk_need(
        [*paths, tmp_path / "c.mp3"], tmp_path, dataclasses.replace(SETTINGS, sample_rate=44_100, channels=2)
    )
    assert said.startswith(
        "3 files to prepare, about 1.0 hours of music: this will take about 644 MB here "
        "(1.3 GB for a while), and no more as a data set on the same disk; "
    )
    assert "60 MB here (120 MB for a while)" in room_need("", 3750.0, 3750.0, tmp_path, SETTINGS)[0]
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/shard_0000_00000000.npy").open("wb").truncate(400_000_000)  # is made anew with the others
    assert "60 MB here (" in (said := room_need("", 3750.0, 3750.0, tmp_path, SETTINGS)[0])
    assert "(520 MB for a while)" in said
    assert "1.0 GB here (1.5 GB for a while)" in room_need("", 62_500.0, 600.0, tmp_path, SETTINGS)[0]  # a shard more
    assert "(2.0 GB for a while)" in room_need("", 62_500.0, 62_500.0, tmp_path, SETTINGS)[0]  # a song of this size
    shutil.rmtree(tmp_path / "shards")
    with pytest.raises(DatasetError, match=r"GB are free\. That is not enough\. Free some space, use another --output"):
        disk_need([tmp_path / "c.mp3"] * 100_000, tmp_path, SETTINGS)
    assert disk_need([], tmp_path, SETTINGS) == ""
    # Of music elsewhere only names and sizes are known.
    assert guess_by_kind([("a/b.MP3", 72_000_000), ("c.wav", 176_400 * 60), ("d.flac", 0)]) == 3660
    (tmp_path / "d.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt " + bytes(40))  # a header that lies is not believed
    assert guess_seconds([tmp_path / "d.wav"]) < 1


def test_the_time_that_is_needed_is_told_before_where_it_is_long() -> None:
    assert time_need(30.0) == ""
    said = time_need(10_000 * 3600.0)
    found = re.fullmatch(r" One core needs about ([\d.]+) hours for it, several share that.", said)
    assert found is not None and 1.0 < float(found[1]) < 2_000.0  # a core passes music five times as fast as it plays


def test_hashing_and_the_walk_over_frames_give_signs_of_life(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(np.random.default_rng(0).integers(0, 255, 5 << 20, dtype=np.uint8).tobytes())
    signs: list[float] = []
    hash_file(path, signs.append)
    assert len(signs) >= 5
    heard: list[int] = []
    with open(path, "rb") as stream:
        scan_mpeg(stream, lambda: heard.append(1))
    assert heard
    (tmp_path / "out").mkdir()
    path = path.rename(tmp_path / "a.mp3")
    signs.clear()
    record = prepare_song(task_for(path, tmp_path / "out"), signs.append)
    assert record.left_out is not None
    assert len(signs) >= 11  # hashed, walked, and hashed once more because nothing was found


def task_for(music: Path, output: Path) -> SongTask:
    for folder in (prepare_song_module.WORK_FOLDER, prepare_song_module.RECORDS_FOLDER):
        (output / folder).mkdir(parents=True)
    return SongTask(path=str(music), source=music.name, output=str(output), settings=SETTINGS)


@pytest.mark.parametrize("error", [PassingError("the network is down"), OSError(5, "Input/output error")])
def test_a_failing_disk_is_not_taken_for_a_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception):
    write_music(tmp_path / "one.wav", 1, 2.0, RATE)
    task = task_for(tmp_path / "one.wav", tmp_path / "out")
    real = prepare_song_module.decode_blocks

    def failing(path: Path, **options: object):
        yield next(real(path, **{**options, "block_seconds": 0.5}))  # type: ignore[arg-type]
        if isinstance(error, PassingError):
            raise error
        try:
            raise error
        except OSError:
            raise prepare_song_module.AudioError("cannot read it") from None

    with monkeypatch.context() as patch:
        patch.setattr(prepare_song_module, "decode_blocks", failing)
        with pytest.raises(PassingError):
            prepare_song(task, lambda _: None)
    assert read_record(tmp_path / "out", "one.wav") is None
    assert list((tmp_path / "out").glob("*/sound.npy")) == []
    record = prepare_song(task, lambda _: None)  # the drive is back
    assert record.song is not None
    assert record.song.samples == 2 * RATE


def test_a_file_that_changes_while_it_is_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_music(tmp_path / "one.wav", 1, 2.0, RATE)
    task = task_for(tmp_path / "one.wav", tmp_path / "out")
    real = prepare_song_module.decode_blocks

    def growing(path: Path, **options: object):
        yield from real(path, **options)  # type: ignore[arg-type]
        with open(path, "ab") as stream:
            stream.write(b"more")

    monkeypatch.setattr(prepare_song_module, "decode_blocks", growing)
    with pytest.raises(PassingError, match="was changed while it was read"):
        prepare_song(task, lambda _: None)
    assert read_record(tmp_path / "out", "one.wav") is None


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static long total;
ssize_t read(int fd, void *buffer, size_t count) {
  static ssize_t (*real)(int, void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "read");
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return real(fd, buffer, count);
  path[length] = 0;
  if (!strstr(path, getenv("FAILING_FILE"))) return real(fd, buffer, count);
  if (total >= atol(getenv("FAILS_AFTER"))) { errno = EIO; return -1; }
  ssize_t got = real(fd, buffer, count);
  if (got > 0) total += got;
  return got;
}
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".wav", ".ogg"])
def test_a_drive_that_fails_in_the_middle_costs_one_run(tmp_path: Path, suffix: str):
    """Every read of one file fails from the middle of decoding on; then the drive is well again."""
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"], cwd=tmp_path, check=True)
    music, output = tmp_path / "music", tmp_path / "out"
    write_music(music / f"one{suffix}", 1, 40.0, 16_000)
    write_music(music / "two.wav", 2, 2.0, RATE)
    size = (music / f"one{suffix}").stat().st_size
    command = [
        sys.executable,
        str(ROOT / "data_prep/prepare_dataset.py"),
        str(music),
        "--output",
        str(output),
        *OPTIONS,
    ]
    environment = os.environ | {
        "LD_PRELOAD": str(tmp_path / "shim.so"),
        "FAILING_FILE": f"music/one{suffix}",
        "FAILS_AFTER": str(round(1.5 * size)),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = read_prepared_manifest(output)
    assert [song.source for song in manifest.songs] == ["two.wav"]
    assert [(entry.source, entry.reason) for entry in manifest.left_out] == [(f"one{suffix}", "crashed")]
    assert sorted(path.name for path in output.iterdir() if path.is_dir()) == ["records", "shards"]
    outcome = prepare_folder(music, output, SETTINGS)
    assert outcome.prepared == 1
    [one] = [song for song in outcome.manifest.songs if song.source != "two.wav"]
    assert abs(one.seconds - 40) < 0.2
    assert one.notes == ()


def test_what_crashed_keeps_the_chunks_of_before(mine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    music, prepared = mine
    before = sound_times(prepared)
    monkeypatch.setattr("data_prep.worker_pool.multiprocessing.current_process", lambda: _Daemon)

    def failing(path: Path, **_: object):
        raise PassingError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(prepare_song_module, "decode_blocks", failing)
        other = dataclasses.replace(SETTINGS, sample_rate=4000)
        outcome = prepare_folder(music, prepared, other)
        assert outcome.manifest.songs == ()
        assert {entry.reason for entry in outcome.manifest.left_out} == {"crashed"}
    assert sound_times(prepared) == before
    assert prepare_folder(music, prepared, SETTINGS).kept == 4  # back to the old settings: nothing was lost
    assert sound_times(prepared) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are POSIX")
def test_a_full_disk_names_the_file_that_takes_the_room(tmp_path: Path):
    """The largest size of a file stands in for the end of the disk."""
    music = tmp_path / "music"
    write_music(music / "normal.wav", 1, 3.0, RATE)
    write_music(music / "huge.wav", 2, 60.0, RATE)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
        "from data_prep.prepare_dataset import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [str(music), "--output", str(tmp_path / "out"), *OPTIONS, "--chunk-seconds", "30"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "no room for the sound in" in last
    assert "Most is taken by huge.wav: 1 MB of sound so far" in last


def test_an_output_that_is_taken_away_is_one_sentence(tmp_path: Path):
    music, output = tmp_path / "music", tmp_path / "out"
    for seed in range(12):
        write_music(music / f"{seed}.flac", seed, 10.0, RATE)
    removed = threading.Event()

    def remove() -> None:
        deadline = time.monotonic() + 60
        while not list(output.glob("records/*.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        while output.exists():
            shutil.rmtree(output, ignore_errors=True)
        removed.set()

    threading.Thread(target=remove, daemon=True).start()
    with pytest.raises(DatasetError, match="was removed or replaced while it was being filled"):
        prepare_folder(music, output, SETTINGS)
    assert removed.wait(60)
    assert prepare_folder(music, output, SETTINGS).prepared == 12


def test_a_preparation_that_newer_versions_made_is_left_alone(mine: tuple[Path, Path]):
    music, prepared = mine
    values = json.loads(manifest_path(prepared).read_text())
    manifest_path(prepared).write_text(json.dumps({**values, "version": 99}))
    before = sorted(prepared.rglob("*"))
    with pytest.raises(DatasetError, match="was made by a newer MusiGAN"):
        prepare_folder(music, prepared, SETTINGS)
    assert sorted(prepared.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["song"].update(folder="../../elsewhere"),
        lambda record: record["song"].update(samples=10**15),
        lambda record: record["song"]["chunks"][0].update(file="/etc/passwd"),
        lambda record: record["song"].update(source="other.wav"),
        lambda record: record.update(song=7),
        lambda record: record.update(sha256=None),
        lambda record: record.update(left_out=[1]),
    ],
)
def test_records_that_reach_outside_are_made_again(mine: tuple[Path, Path], change: Callable[[dict], object]):
    music, prepared = mine
    manifest = read_prepared_manifest(prepared)
    [index] = prepared.glob("shards/shard_*.json")
    values = json.loads(index.read_text())
    alone = record_path(prepared, "a/Track 00.wav")
    assert values["records"][0]["source"] == "a/Track 00.wav"
    change(values["records"][0])
    alone.write_text(json.dumps(values["records"][0]))
    assert prepare_folder(music, prepared, SETTINGS).manifest == manifest
    assert not alone.exists()
    index.write_text(json.dumps(values))
    assert prepare_folder(music, prepared, SETTINGS).manifest == manifest


def test_settings_that_change_are_told_before_the_work(mine: tuple[Path, Path]):
    music, prepared = mine
    said: list[str] = []
    other = dataclasses.replace(SETTINGS, sample_rate=4000)
    outcome: Outcome = prepare_folder(music, prepared, other, tell=said.append)
    assert said[0].startswith("settings changed (sample_rate 8000 -> 4000): everything is prepared again")
    assert "4 files to prepare" in said[1]
    assert outcome.prepared == 4


def test_a_folder_with_a_line_break_in_its_path_is_nothing_special(tmp_path: Path, capsys):
    music = tmp_path / "new\nline"
    write_music(music / "a.wav", 1, 1.0, RATE)
    assert main([str(music), "--output", str(tmp_path / "out"), *OPTIONS]) == 0
    assert read_prepared_manifest(tmp_path / "out").music_folder == str(music)
    shutil.rmtree(music)
    assert main([str(music), "--output", str(tmp_path / "out"), *OPTIONS]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1:]) == 1


def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(
    mine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    music, prepared = mine
    for number in range(4, 9):
        write_music(music / f"c/{number}.wav", number, 1.0, RATE)
    prepare_folder(music, prepared, SETTINGS)
    real_list, real_scan = os.listdir, os.scandir

    def failing(real: Callable) -> Callable:
        def call(path: Path):
            if Path(path) == music / "a":
                raise OSError(5, "Input/output error")
            return real(path)

        return call

    monkeypatch.setattr(os, "listdir", failing(real_list))
    assert (music / "a", "crashed") in scan_folder(music).left_out
    monkeypatch.setattr(os, "scandir", failing(real_scan))
    with pytest.raises(DatasetError, match="music/a holds nothing any more, but 2 songs"):
        prepare_folder(music, prepared, SETTINGS)


def test_leftovers_of_a_kill_are_cleared(mine: tuple[Path, Path]):
    music, prepared = mine
    names = [
        ".manifest.json.0123abcd.part",
        ".report.csv.0123abcd.part",
        ".trial.0123abcd.part",
        "records/.x.json.0123abcd.part",
        "shards/.shard_0000.0123abcd.part",
        "shards/shard_0007_0123abcd.npy",
        "shards/shard_0007_0123abcd.fingerprints.npy",
    ]
    for name in names:
        (prepared / name).write_bytes(b"half")
    prepare_folder(music, prepared, SETTINGS)
    assert [name for name in names if (prepared / name).exists()] == []
    assert settings_key(SETTINGS) == settings_key(read_prepared_manifest(prepared).settings)
    assert (prepared / MANIFEST_NAME).exists()
    assert whole_song(prepared, read_prepared_manifest(prepared).songs[0].source).shape == (1, 5 * RATE // 2)


@pytest.mark.parametrize(("name", "text"), [("manifest.json", '{"mine": 1}'), ("report.csv", "mine,1")])
def test_nothing_is_prepared_over_somebody_s_files(tmp_path: Path, name: str, text: str) -> None:
    write_music(tmp_path / "music" / "a.flac", 0, 5.0)
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text(text)
    with pytest.raises(DatasetError, match="was not made by this program"):
        prepare_folder(tmp_path / "music", out, SETTINGS)
    assert (out / name).read_text() == text


def test_somebody_s_files_among_the_records_stay(tmp_path: Path) -> None:
    write_music(tmp_path / "music" / "a.flac", 0, 5.0)
    mine = tmp_path / "out" / "records" / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    with pytest.raises(DatasetError, match="holds other things already"):
        prepare_folder(tmp_path / "music", tmp_path / "out", SETTINGS)
    mine.rename(tmp_path / "mine.json")
    mine.parent.rmdir()
    prepare_folder(tmp_path / "music", tmp_path / "out", SETTINGS)
    (tmp_path / "mine.json").rename(mine)
    prepare_folder(tmp_path / "music", tmp_path / "out", SETTINGS)
    assert mine.read_text() == "{}"


def test_reasons_are_true_at_their_edges(tmp_path: Path) -> None:
    write_float_wav(tmp_path / "music" / "short.wav", np.full((1, 15_999), 0.1), 16_000)
    tone = 0.5 * np.sin(np.arange(64_000) / 9.0)
    write_float_wav(tmp_path / "music" / "against.wav", np.stack([tone, -tone]), 16_000)
    settings = PrepareSettings(sample_rate=16_000, channels=1, chunk_seconds=2.0, min_seconds=1.0)
    left_out = prepare_folder(tmp_path / "music", tmp_path / "out", settings).manifest.left_out
    assert {entry.source: (entry.reason, entry.detail) for entry in left_out} == {
        "against.wav": ("silent", "nothing above -66 dB in the mix of its channels"),
        "short.wav": ("too_short", "0.999 s long, at least 1 s are needed"),
    }


def test_a_file_of_nothing_but_impossible_numbers_is_not_called_silent(tmp_path: Path) -> None:

    (tmp_path / "music").mkdir()
    tone = np.sin(np.arange(64_000) / 9.0)
    for name, value in (("inf", np.inf), ("nan", np.nan), ("huge", 1e200)):
        soundfile.write(tmp_path / f"music/{name}.wav", np.copysign(value, tone), 16_000, subtype="DOUBLE")
    soundfile.write(tmp_path / "music/large.wav", 1e30 * tone, 16_000, subtype="DOUBLE")
    soundfile.write(tmp_path / "music/zeros.wav", 0 * tone, 16_000, subtype="DOUBLE")
    manifest = prepare_folder(tmp_path / "music", tmp_path / "out", SETTINGS).manifest
    reasons = {entry.source: (entry.reason, entry.detail) for entry in manifest.left_out}
    assert reasons.pop("zeros.wav") == ("silent", "nothing above -66 dB")
    assert set(reasons) == {"inf.wav", "nan.wav", "huge.wav"}
    assert set(reasons.values()) == {
        ("unreadable", "nothing but NaN, infinite or far too large numbers and what is below -66 dB")
    }
    assert [(song.source, song.notes) for song in manifest.songs] == [("large.wav", (FAR_BEYOND,))]


def no_music(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(folder), "--output", str(out), *OPTIONS]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and not out.exists()  # nothing is left behind
    [line] = shown.err.splitlines()
    return line


def test_a_folder_without_music_is_told_what_is_there_and_what_to_do(tmp_path: Path, capsys):
    folder, out = tmp_path / "music", tmp_path / "out"
    folder.mkdir()
    line = no_music(folder, out, capsys)
    assert "is empty. Put music into it (MP3, WAV, FLAC, " in line
    for name in ("a.txt", "b.txt", "c.jpg", "README"):
        (folder / name).write_text("x")
    line = no_music(folder, out, capsys)
    assert "no sound file is in " in line and "only 2 .txt, 1 without suffix, 1 .jpg. MP3, " in line
    assert line.endswith("Name the folder that holds the music.")
    (folder / "song.mid").write_bytes(b"MThd")
    assert "Turn what is there into one of these" in no_music(folder, out, capsys)
    write_music(folder / ".trash/song.wav", 0, 1.0)
    line = no_music(folder, out, capsys)
    assert "the hidden folder .trash with 1 sound file" in line and "Rename the hidden folder" in line
    (folder / "album.zip").write_bytes(b"PK")
    assert "Unpack the archives first" in no_music(folder, out, capsys)


def test_music_of_which_nothing_can_be_used_is_counted_by_reason(tmp_path: Path, capsys):
    (tmp_path / "music").mkdir()
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / "music" / name).write_text(f"nothing {name}")
    write_float_wav(tmp_path / "music/c.wav", np.zeros((1, 16_000)), 16_000)
    assert main([str(tmp_path / "music"), "--output", str(tmp_path / "out"), *OPTIONS]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "not one song could be prepared (2 unreadable, 1 silent). The lines above say why" in line


def test_nothing_on_the_screen_is_wider_than_80_columns(tmp_path: Path, capsys, monkeypatch):
    """Paths aside: here all are short."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        write_music(Path(f"m/{number}.wav"), number, 4.0, RATE)
    shutil.copy("m/0.wav", "m/00.wav")
    Path("m/bad.mp3").write_text("nothing")
    Path("m/tune.mid").write_text("nothing")
    write_float_wav(Path("m/odd.wav"), np.full((2, 3 * RATE), np.inf), RATE)
    write_float_wav(Path("m/one.wav"), np.stack([np.sin(np.arange(4 * RATE)), np.zeros(4 * RATE)]), RATE)
    assert main(["m", "--output", "p", *OPTIONS]) == 0
    said = [capsys.readouterr()]
    assert "2 prepared now" not in said[0].out and "6 prepared now, 0 kept from before, 0 gone" in said[0].out
    assert "4 files left out and 1 song with remarks: see report.csv there" in said[0].out
    assert make_data_set(["--input", "p", "--output", "d", "--segment-seconds", "0.2"]) == 0
    assert make_data_set(["--input", "p", "--output", "e", "--segment-seconds", "1", "--preset", "tiny"]) == 0
    said.append(capsys.readouterr())
    for command in (main, make_data_set):
        with pytest.raises(SystemExit):
            command(["--help"])
    said.append(capsys.readouterr())
    lines = [line for out in said for text in out for line in re.split(r"[\r\n]", text)]
    assert len(lines) > 60
    assert [line for line in lines if len(line) > 80] == []


def test_the_bar_of_a_preparation_is_wide_enough_to_be_seen(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with PrepareProgress([10**9] * 12_345) as progress:
        progress.advance(0, 1000.0, is_finished=True)
        progress._bar.ncols = 80
        bar = str(progress._bar)
    assert len(bar) <= 80
    assert bar.rindex("|") - bar.index("|") > 10
    assert "1 of 12,345 songs" in bar
    capsys.readouterr()


def test_a_slow_drive_is_heard_from_after_every_piece_that_is_decoded(tmp_path: Path) -> None:
    write_float_wav(tmp_path / "a.wav", np.zeros((1, 4 * PIECE)), 384_000)
    heard: list[int] = []
    for _ in decode_blocks(tmp_path / "a.wav", sample_rate=384_000, channels=1, alive=lambda: heard.append(1)):
        pass  # one block
    assert len(heard) >= 5  # opened, and four pieces


@pytest.mark.parametrize("compression", [0.0, 0.6, 0.95])
def test_the_length_of_an_mp3_is_guessed_from_its_frames(tmp_path: Path, compression: float) -> None:
    path = tmp_path / "a.mp3"
    sound = np.concatenate([make_music(seed, 20.0, 44_100, 2) for seed in range(3)], axis=1)
    soundfile.write(path, sound.T, 44_100, format="MP3", compression_level=compression)
    tag = b"ID3\x04\0\0" + bytes([0, 6, 0, 0]) + bytes(6 << 14)  # a picture in front counts little
    path.write_bytes(tag + path.read_bytes())
    assert guess_seconds([path]) == pytest.approx(60.0, rel=0.2)
    (tmp_path / "b.mp3").write_bytes(b"no frame in it" * 1000)
    assert guess_seconds([tmp_path / "b.mp3"]) == pytest.approx(0.7)
