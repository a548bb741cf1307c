"""Parts of the music, prepared apart and at once, make the folder that one run makes, byte for byte."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from data_prep.music_files import MusicFile
from data_prep.prepare_dataset import main, prepare_folder
from data_prep.remote_music import RemoteMusic
from data_prep.runners.shard import Shard, part_of, read_shard, working_shard
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import locked_folder
from tests import crashing_workers
from tests.make_audio import write_music
from tests.test_prepare_dataset import contents

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["--sample-rate", "16000", "--channels", "1", "--chunk-seconds", "2", "--workers", "1"]
SETTINGS = PrepareSettings(sample_rate=16_000, channels=1, chunk_seconds=2.0, min_seconds=1.0)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine songs, of which four have one size; a copy of one, a broken and a short file."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(5):
        write_music(folder / f"long/{seed}.flac", seed, 8.0 + seed)
    for seed in range(5, 9):
        write_music(folder / f"{seed}.wav", seed, 6.0)
    shutil.copy(folder / "5.wav", folder / "long/a copy.wav")
    (folder / "broken.mp3").write_bytes(b"no music at all" * 100)
    write_music(folder / "short.wav", 9, 0.5)
    return folder


@pytest.fixture(scope="module")
def whole(music: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one undisturbed run."""
    output = tmp_path_factory.mktemp("whole") / "prepared"
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    return contents(output)


def start(music: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "data_prep.prepare_dataset", str(music), "--output", str(output), *OPTIONS, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_shards_at_once_and_a_run_that_finishes_make_the_same_folder(
    music: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "prepared"
    running = [start(music, output, "--shard", f"{number}/3") for number in (1, 2, 3)]
    said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert not (output / "manifest.json").exists()
    assert len(list((output / "records").glob("*.json"))) == 11  # the copy is left to its twin
    assert all("When all shards are done: python -m data_prep.prepare_dataset" in out for out, _ in said)
    assert all("--shard" not in out.partition("When all")[2] for out, _ in said)
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    assert "0 prepared now, 9 kept from before" in capsys.readouterr().out
    assert contents(output) == whole


def test_a_shard_that_is_killed_goes_on_or_is_finished_by_a_whole_run(
    music: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "prepared"
    killed = start(music, output, "--shard", "1/2")
    while killed.poll() is None and not list(output.glob("records/*.json")):
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    other = start(music, output, "--shard", "2/2")
    assert other.communicate(timeout=300)[1] is not None and other.returncode == 0
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    assert contents(output) == whole


def test_a_worker_that_is_killed_costs_its_song_one_run(
    music: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "prepared"
    monkeypatch.setattr("data_prep.song_queue.prepare_song", crashing_workers.crash_once)
    manifest = prepare_folder(music, output, SETTINGS, workers=2).manifest
    assert [entry.detail for entry in manifest.left_out if entry.reason == "crashed"] == [
        "the decoder crashed (exit code -9)"
    ]
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    assert contents(output) == whole


def test_shards_in_folders_of_their_own_are_put_together_by_copying(
    music: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "prepared"
    for number in (2, 1):
        assert main([str(music), "--output", str(tmp_path / str(number)), *OPTIONS, "--shard", f"{number}/2"]) == 0
        shutil.copytree(tmp_path / str(number), output, dirs_exist_ok=True)
    capsys.readouterr()
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    assert "0 prepared now, 9 kept from before" in capsys.readouterr().out
    assert contents(output) == whole


def test_a_run_that_was_stopped_is_ended_by_shards(music: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    output = tmp_path / "prepared"
    prepare_folder(music, output, SETTINGS, max_files=4)
    for number in (1, 2, 3, 4):
        assert main([str(music), "--output", str(output), *OPTIONS, f"--shard={number}/4"]) == 0
    assert main([str(music), "--output", str(output), *OPTIONS]) == 0
    assert contents(output) == whole


def test_every_source_is_in_one_shard_and_the_same_bytes_are_in_one(music: Path) -> None:
    sources = [
        MusicFile(path.relative_to(music).as_posix(), path, path.stat().st_size, 0)
        for path in sorted(music.rglob("*"))
        if path.is_file()
    ]
    for count in (1, 2, 3, 7):
        parts = [[source.name for source in part_of(sources, Shard(n + 1, count))] for n in range(count)]
        assert sorted(name for part in parts for name in part) == [source.name for source in sources]
        assert [part for part in parts if "5.wav" in part] == [part for part in parts if "long/a copy.wav" in part]
    many = [MusicFile(f"{index}.mp3", Path(f"{index}.mp3"), index, 0) for index in range(10_000)]
    sizes = [len(part_of(many, Shard(n + 1, 10))) for n in range(10)]
    assert max(sizes) - min(sizes) < 200  # a standard deviation is 30


def test_of_music_at_an_address_nothing_is_opened_and_equal_files_are_in_one_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0.wav").write_bytes(b"another file, which is here" * 100)
    sources = [MusicFile(f"{index}.wav", Path(f"{index}.wav"), 1000 + index // 8, 0) for index in range(400)]
    peek = RemoteMusic("s3://bucket/music").peek
    parts = [{source.size for source in part_of(sources, Shard(n, 3), peek)} for n in (1, 2, 3)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 50 and min(map(len, parts)) > 5


def test_files_of_one_size_are_spread(tmp_path: Path) -> None:
    sources = []
    for index in range(64):
        path = tmp_path / f"{index}.wav"
        path.write_bytes(bytes(44) + index.to_bytes(2, "big") * 500)
        sources.append(MusicFile(path.name, path, path.stat().st_size, 0))
    found = Counter({n: len(part_of(sources, Shard(n, 4))) for n in (1, 2, 3, 4)})
    assert sum(found.values()) == 64 and min(found.values()) >= 6


def test_a_whole_run_and_the_same_shard_are_kept_out_and_other_shards_are_not(tmp_path: Path, music: Path) -> None:
    with working_shard(tmp_path, Shard(1, 2), SETTINGS):
        with working_shard(tmp_path, Shard(2, 2), SETTINGS):
            pass
        with pytest.raises(DatasetError, match="shard 1/2 is being prepared in"):
            working_shard(tmp_path, Shard(1, 2), SETTINGS).__enter__()
        if sys.platform != "win32":
            with pytest.raises(DatasetError, match="another run is working in"):
                prepare_folder(music, tmp_path, SETTINGS)
    with locked_folder(tmp_path), pytest.raises(DatasetError, match="another run is working in"):
        working_shard(tmp_path, Shard(1, 2), SETTINGS).__enter__()


def test_shards_that_would_do_work_twice_are_refused(tmp_path: Path, music: Path, capsys) -> None:
    stereo = dataclasses.replace(SETTINGS, channels=2, chunk_seconds=4.0)
    with working_shard(tmp_path, Shard(1, 2), SETTINGS):
        with pytest.raises(DatasetError, match=r"shard 1/2 is being prepared in .*: with 3/3, songs would be prepared"):
            working_shard(tmp_path, Shard(3, 3), SETTINGS).__enter__()
        with pytest.raises(DatasetError, match=r"with other settings \(channels 1 -> 2\)"):
            working_shard(tmp_path, Shard(2, 2), stereo).__enter__()
    assert not (tmp_path / ".work/shard-2-of-2.json").exists()  # one that was refused leaves no mark
    with working_shard(tmp_path, Shard(3, 3), dataclasses.replace(SETTINGS, chunk_seconds=4.0)):
        pass  # nobody is at work: what the half has prepared is kept, and how much is held at once is not heard
    command = [str(music), "--output", str(tmp_path), "--sample-rate", "16000", "--channels", "2", "--workers", "1"]
    assert main([*command, "--shard", "1/2"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "shard 3/3 was prepared in" in said and "Give every shard the same ones" in said
    assert main([*command, "--max-files", "1"]) == 0  # a whole run decides, and those after it go with it
    assert main([*command, "--shard", "1/2"]) == 0


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "1/3/5", "-1/3", "a/b", "1/100001", "1 /3"])
def test_what_is_no_shard_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["music", f"--shard={text}"])
    assert "is not NUMBER/COUNT, like 2/3: a number from 1 to the count" in " ".join(capsys.readouterr().err.split())


def test_a_shard_is_read() -> None:
    assert read_shard("2/30") == Shard(2, 30)
    assert str(Shard(2, 30)) == "2/30"


@pytest.mark.skipif(sys.platform == "win32", reason="a script for bash")
def test_the_recipe_for_batch_systems_runs_its_parts_here_where_there_is_none(
    music: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    door = tmp_path / "bin/musigan"
    door.parent.mkdir()
    door.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m musigan "$@"\n', encoding="utf-8")
    door.chmod(0o755)
    for tool in ("sh", "bash", "realpath", "mkdir", "seq"):  # and no sbatch, which may be installed
        (door.parent / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        [str(door.parent / "bash"), str(ROOT / "runs/slurm_prepare.sh"), str(music), str(tmp_path / "prepared"), "2"],
        env={
            "PATH": str(door.parent),
            "CORES": "1",
            "OPTIONS": "--sample-rate 16000 --channels 1 --chunk-seconds 2",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "shard 1/2 in" in done.stdout and "shard 2/2 in" in done.stdout
    assert contents(tmp_path / "prepared") == whole
