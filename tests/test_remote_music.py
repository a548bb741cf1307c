"""Music at an address gives what the same music in a folder gives, and no password is written anywhere."""

import functools
import http.server
import importlib.util
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from data_prep.prepare_dataset import main
from data_prep.prepare_song import SongTask, SourceRecord, hash_file
from data_prep.remote_music import (
    FetchedTask,
    RemoteMusic,
    is_address,
    prepare_fetched,
    safe_words,
    without_user,
)
from data_prep.remote_output import refuse_unwritable
from piano.foundation.audio_io import scan_folder
from piano.foundation.dataset_format import PrepareSettings, read_prepared_manifest
from piano.foundation.errors import ConfigError
from tests.make_audio import write_music
from tests.test_prepare_dataset import change_times, contents

OPTIONS = ["--sample-rate", "16000", "--channels", "1", "--chunk-seconds", "2", "--workers", "1"]
SECRET = "s3cret-w0rd"


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs, of which two are one; a broken, an empty and a hidden file, and a picture. Dates are whole seconds."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(3):
        write_music(folder / f"album/{seed} – été.flac", seed, 3.0 + seed)
    write_music(folder / "a.wav", 5, 4.0)
    shutil.copy(folder / "a.wav", folder / "album/same.wav")
    (folder / "broken.mp3").write_bytes(b"no music at all" * 100)
    (folder / "empty.mp3").touch()
    (folder / ".hidden.mp3").write_bytes(b"x")
    (folder / "cover.jpg").write_bytes(b"x")
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def sound(folder: Path) -> dict[str, bytes]:
    """Every array with its bytes, by its place."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")}


def check(address: str, music: Path, tmp_path: Path) -> None:
    """What is prepared from the address is what is prepared from the folder, and a second run fetches nothing."""
    here, there = tmp_path / "here", tmp_path / "there"
    assert main([str(music), "--output", str(here), *OPTIONS]) == 0
    assert main([address, "--output", str(there), *OPTIONS]) == 0
    assert sound(there) == sound(here) and len(sound(here)) == 2
    ours, theirs = read_prepared_manifest(here), read_prepared_manifest(there)
    assert [(s.source, s.sha256, s.size, s.group) for s in theirs.songs] == [
        (s.source, s.sha256, s.size, s.group) for s in ours.songs
    ]
    assert [(e.source, e.reason, e.detail) for e in theirs.left_out] == [
        (e.source, e.reason, e.detail) for e in ours.left_out
    ]
    before = change_times(there)
    assert main([address, "--output", str(there), *OPTIONS]) == 0
    assert change_times(there) == before


@pytest.fixture
def bucket() -> Iterator[str]:
    """An S3 of this process; the credentials stand where the libraries look for them."""
    if any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs", "flask")):
        pytest.skip("the extra `remote`, or moto for its tests, is not installed")
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "a-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield "bucket"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_music_in_a_bucket_is_fetched_song_by_song(
    bucket: str, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    system = s3fs.S3FileSystem()
    system.mkdir(bucket)
    system.put(str(music) + "/", f"{bucket}/music", recursive=True)
    check(f"s3://{bucket}/music", music, tmp_path)
    written = b"".join(path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file())
    assert SECRET.encode() not in written and b"a-key" not in written
    assert read_prepared_manifest(tmp_path / "there").music_folder == f"s3://{bucket}/music"
    system.rm(f"{bucket}/music/a.wav")
    capsys.readouterr()
    assert main([f"s3://{bucket}/music", "--output", str(tmp_path / "there"), *OPTIONS]) == 0
    said = capsys.readouterr().out
    assert "moved: a.wav -> album/same.wav" in said and "0 prepared now, 4 kept" in said
    system.rm(f"{bucket}/music/album", recursive=True)
    assert main([f"s3://{bucket}/music", "--output", str(tmp_path / "there"), *OPTIONS]) == 2
    assert "nothing of the 4 songs" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def sftp(music: Path) -> Iterator[int]:
    """The port of a server that gives away the folder above the music."""
    if importlib.util.find_spec("paramiko") is None:
        pytest.skip("the extra `remote` is not installed")
    from tests.sftp_server import sftp_server

    with sftp_server(music.parent, "me", SECRET) as port:
        yield port


def test_music_on_an_sftp_server_is_fetched_and_the_password_stays_out(
    sftp: int, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(f"sftp://me:{SECRET}@127.0.0.1:{sftp}/{music.name}", music, tmp_path)
    there = tmp_path / "there"
    assert read_prepared_manifest(there).music_folder == f"sftp://127.0.0.1:{sftp}/{music.name}"
    ours, theirs = contents(tmp_path / "here"), contents(there)
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} == {"manifest.json"}
    options = ["--output", str(there), *OPTIONS, "--shard", "1/2"]
    assert main([f"sftp://me:{SECRET}@127.0.0.1:{sftp}/{music.name}", *options]) == 0
    assert main([f"sftp://me:{SECRET}-wrong@127.0.0.1:{sftp}/{music.name}", "--output", str(there), *OPTIONS]) == 2
    said = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in there.rglob("*") if path.is_file())
    assert SECRET.encode() not in written and SECRET not in said.out + said.err


def test_a_prepared_folder_is_put_into_a_bucket_file_by_file(
    bucket: str, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    system = s3fs.S3FileSystem()
    if not system.exists(bucket):
        system.mkdir(bucket)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("prepared_folder: kept\n", encoding="utf-8")
    command = [str(music), "--output", f"s3://{bucket}/out/prepared", *OPTIONS]
    assert main(command) == 0
    system.invalidate_cache()
    system.get(f"{bucket}/out/prepared", str(tmp_path / "back"), recursive=True)
    assert contents(tmp_path / "back") == contents(tmp_path / "kept")
    # shard, fingerprints, index, the record of a broken file, two reports, manifest
    assert len(contents(tmp_path / "back")) == 7
    capsys.readouterr()
    assert main(command) == 0
    assert "0 files uploaded" in capsys.readouterr().out
    write_music(tmp_path / "more/new.wav", 8, 3.0)
    for path in sorted(music.glob("*.*")):
        shutil.copy2(path, tmp_path / "more")
    shutil.copytree(music / "album", tmp_path / "more/album")
    assert main([str(tmp_path / "more"), *command[1:]]) == 0
    assert "6 files uploaded" in capsys.readouterr().out  # all fits into one shard, which is made anew


def test_an_address_that_cannot_be_written_is_told_before_anything_is_prepared(
    bucket: str, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("prepared_folder: kept\n", encoding="utf-8")
    system = s3fs.S3FileSystem()
    if not system.exists(bucket):
        system.mkdir(bucket)
    refuse_unwritable(f"s3://{bucket}/new/place")
    system.invalidate_cache()
    assert system.find(f"{bucket}/new") == []  # the trial is gone
    (tmp_path / "a file").write_text("no folder", encoding="utf-8")
    for address in (f"file://{tmp_path}/a file/prepared", "https://127.0.0.1:9/prepared"):
        assert main([str(music), "--output", address, *OPTIONS]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"cannot write to {address}" in said and "Nothing was prepared yet" in said
    assert not (tmp_path / "kept").exists()


def test_addresses_are_told_from_paths_and_lose_their_passwords() -> None:
    assert is_address("s3://bucket/a") and is_address("sftp://me:x@host/a") and is_address("https://host/a")
    assert not any(is_address(text) for text in ("music", "/a/b", "C:\\music", "C:/music", "a:b", "~/Music"))
    assert without_user(f"sftp://me:{SECRET}@host:22/a@b") == "sftp://host:22/a@b"
    assert without_user("sftp://me:pa@ss@host/music") == "sftp://host/music"
    assert without_user("--output=sftp://me:pa@ss@host/music") == "--output=sftp://host/music"
    assert str(RemoteMusic(f"smb://me:{SECRET}@host/a/")) == "smb://host/a/"
    assert RemoteMusic(f"smb://me:{SECRET}@host/a/").identity == "smb://host/a"


@pytest.mark.parametrize("password", ["pa@ss", "a:b@", "p%40ss"])
def test_what_an_error_says_has_no_part_of_a_password(password: str) -> None:
    address = f"sftp://me:{password}@host/music"
    for told in (f"no route to {address}", f"login of me failed: {password}", f"{unquote(password)} is wrong"):
        said = safe_words(OSError(told), address)
        assert not {password, unquote(password), password[-3:], password[:3]} & set(re.split(r"[ /]", said))
        assert unquote(password) not in said and password not in said and "ss@" not in said


def test_the_command_that_ends_shards_has_no_password(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("prepared_folder: kept\n", encoding="utf-8")
    for words in ([f"--output=sftp://me:{SECRET}@host/x"], ["--output", f"sftp://me:{SECRET}@host/x"]):
        assert main([str(music), *words, *OPTIONS, "--shard", "1/2"]) == 0
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert "sftp://host/x" in said.out.partition("When all shards are done")[2]
        assert "gets this part; the run that ends them brings all to sftp://host/x." in " ".join(said.out.split())


class Listing:
    """What a server lists."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find(self, root: str, detail: bool) -> dict[str, dict[str, int]]:
        return {f"{root}/{name}": {"size": 1} for name in self._names}


def test_names_at_an_address_are_sorted_and_hidden_as_those_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a/1.wav", "a b/2.wav", "a.b/3.wav", "...And More/4.wav", ".hidden/5.wav", "b/.6.wav", "b/...c.wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    local = scan_folder(tmp_path)
    monkeypatch.setattr("data_prep.remote_music.file_system", lambda address: (Listing(names), "host/music"))
    there = RemoteMusic("sftp://host/music").scan(tmp_path / "out")
    assert [path.as_posix() for path in there.audio] == [path.relative_to(tmp_path).as_posix() for path in local.audio]
    assert len(there.audio) == 4
    assert {path.as_posix() for path, reason in there.left_out if reason == "hidden"} == {
        ".hidden/5.wav",
        "b/.6.wav",
        "b/...c.wav",
    }


def test_a_song_is_fetched_into_the_prepared_folder_whatever_its_name(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.remote_music._blocks", lambda address, name: iter([(music / "a.wav").read_bytes()]))
    (tmp_path / ".work").mkdir()
    settings = PrepareSettings(sample_rate=16_000, channels=1, chunk_seconds=2.0, min_seconds=1.0)
    name = f"{'long ' * 60}.wav"  # no file here may have such a name
    task = SongTask(path=name, source=name, output=str(tmp_path), settings=settings)
    seen: list[Path] = []

    def step(task: SongTask, tick) -> SourceRecord:
        seen.append(Path(task.path))
        return SourceRecord(
            source=name, size=1, mtime_ns=0, sha256=hash_file(seen[0]), settings_key="", song=None, left_out=None
        )

    made = prepare_fetched(step, "sftp://host/music", FetchedTask(task, (music / "a.wav").stat().st_size, 0), print)
    assert made.sha256 == hash_file(music / "a.wav")
    assert seen[0].is_relative_to(tmp_path / ".work") and seen[0].name == "song.wav"
    assert list((tmp_path / ".work").iterdir()) == []


def test_a_kind_of_address_that_is_not_known_is_one_sentence(tmp_path: Path, capsys) -> None:
    with pytest.raises(ConfigError, match="nothing://host/a cannot be opened"):
        RemoteMusic("nothing://host/a").scan(tmp_path)
    assert main([f"nothing://me:{SECRET}@host/a", "--output", str(tmp_path / "out"), *OPTIONS]) == 2
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def web(music: Path) -> Iterator[str]:
    """A web server that lists the folder."""
    if any(importlib.util.find_spec(name) is None for name in ("fsspec", "aiohttp")):
        pytest.skip("fsspec or aiohttp is not installed")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(music)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_music_on_a_web_server_is_fetched_and_the_password_stays_out(
    web: str, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "there"
    assert main([f"http://me:{SECRET}@{web}/", "--output", str(output), *OPTIONS]) == 0
    here = tmp_path / "here"
    assert main([str(music), "--output", str(here), *OPTIONS]) == 0
    theirs, ours = read_prepared_manifest(output), read_prepared_manifest(here)
    assert sorted(song.sha256 for song in theirs.songs) == sorted(song.sha256 for song in ours.songs)
    assert theirs.music_folder == f"http://{web}"
    written = b"".join(path.read_bytes() for path in output.rglob("*") if path.is_file())
    said = capsys.readouterr()
    assert SECRET.encode() not in written and SECRET not in said.out + said.err
