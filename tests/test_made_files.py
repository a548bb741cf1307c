"""Files under temporary names until they are whole; nothing that is there is ever replaced without being told to."""

import ast
import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from piano.foundation.audio_io import write_audio
from piano.foundation.checkpoint_format import write_checkpoint
from piano.foundation.errors import AudioError, CheckpointError, ConfigError
from piano.foundation.made_files import (
    claim_results,
    clear_leftovers,
    publish,
    publish_together,
    put_in_place,
    refuse_other_work,
    replacing,
    reserve_room,
    second_name,
    temporary_name,
    unfinished,
    write_bytes,
)

PROJECT = Path(__file__).resolve().parent.parent


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"first")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_gets_its_name_when_its_bytes_are_on_the_disk(tmp_path: Path, monkeypatch) -> None:
    happened: list[str] = []
    for name in ("fsync", "replace", "link"):
        whole = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, whole=whole: (happened.append(name), whole(*given))[1])

    def made(act) -> list[str]:
        happened.clear()
        with unfinished(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"new")
            act(temporary)
        return list(happened)

    assert made(lambda part: put_in_place(part, tmp_path / "a.bin")) == ["fsync", "replace"]
    assert made(lambda part: publish(part, tmp_path / "b.bin")) == ["fsync", "link"]
    assert made(lambda part: publish_together({".x": part}, tmp_path / "c")) == ["fsync", "link"]
    assert made(lambda _: write_bytes(tmp_path / "d.bin", b"new")) == ["fsync", "replace"]
    assert made(lambda _: write_audio(tmp_path / "e.wav", np.zeros((1, 9)), 8_000)) == ["fsync", "replace"]
    assert made(lambda _: write_checkpoint(tmp_path / "f.pt", {})) == ["fsync", "replace"]


def test_a_disk_that_is_found_full_at_the_end_leaves_the_file_of_before(tmp_path: Path, monkeypatch) -> None:
    names = ("a.bin", "a.wav", "a.pt")
    for name in names:
        (tmp_path / name).write_bytes(b"before")

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a.bin", b"after")
    with pytest.raises(AudioError, match=r"cannot write .*a\.wav: "):
        write_audio(tmp_path / "a.wav", np.zeros((1, 9)), 8_000)
    with pytest.raises(CheckpointError, match=r"cannot write .*a\.pt: No space left"):
        write_checkpoint(tmp_path / "a.pt", {})
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert {(tmp_path / name).read_bytes() for name in names} == {b"before"}


RENAMES_OTHERWISE = {
    "data_prep/earlier_run.py": "folders",
    "data_prep/prepare_song.py": "folders",
}
"""Modules that rename for themselves, and what."""


def test_one_module_brings_files_to_the_disk_and_renames_them() -> None:
    found = set()
    for path in [path for room in ("piano", "data_prep") for path in (PROJECT / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("fsync", "replace", "rename", "renames", "link")
                and isinstance(node.value, ast.Name)
                and node.value.id in ("os", "path", "temporary")
            ):
                found.add(path.relative_to(PROJECT).as_posix())
    assert found == {"piano/foundation/made_files.py", *RENAMES_OTHERWISE}


def test_publishing_counts_on(tmp_path: Path) -> None:
    names = []
    for text in ("one", "two", "three"):
        with unfinished(tmp_path / "sample.wav") as temporary:
            temporary.write_text(text)
            names.append(publish(temporary, tmp_path / "sample.wav").name)
    assert names == ["sample.wav", "sample-2.wav", "sample-3.wav"]
    assert [(tmp_path / name).read_text() for name in names] == ["one", "two", "three"]
    assert sorted(os.listdir(tmp_path)) == sorted(names)


@pytest.mark.parametrize("has_links", [True, False])
def test_two_at_once_get_two_names(tmp_path: Path, monkeypatch, has_links: bool) -> None:
    if not has_links:  # FAT and some network drives

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)

    def make(number: int) -> str:
        with unfinished(tmp_path / "x.wav") as temporary:
            temporary.write_text(str(number))
            return publish(temporary, tmp_path / "x.wav").name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(make, range(40)))
    assert len(set(names)) == 40
    assert sorted(int((tmp_path / name).read_text()) for name in names) == list(range(40))
    assert len(os.listdir(tmp_path)) == 40


def test_what_a_killed_process_left_is_cleared_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    text = (
        "import sys, time; from pathlib import Path; from piano.foundation.made_files import unfinished\n"
        "with unfinished(Path(sys.argv[1])) as part: print(part.name, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path / "a.wav")], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    part = tmp_path / process.stdout.readline().strip()
    (tmp_path / "generator_epoch_3.part123").write_bytes(b"left by an earlier version")
    (tmp_path / ".hidden.wav").write_bytes(b"somebody's")
    (tmp_path / "my.part").write_bytes(b"somebody's")
    try:
        assert [path.name for path in clear_leftovers(tmp_path)] == ["generator_epoch_3.part123"]
        assert part.exists()
    finally:
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait()
        process.stdout.close()
    assert clear_leftovers(tmp_path) == [part]
    assert sorted(os.listdir(tmp_path)) == [".hidden.wav", "my.part"]


def test_every_temporary_name_is_a_leftover_when_nobody_holds_it(tmp_path: Path) -> None:
    for name in ("manifest.json", "sample_0000.continuation.wav", "é" * 80 + ".flac", "trial"):
        temporary_name(tmp_path / name).write_bytes(b"x")
    assert len(clear_leftovers(tmp_path)) == 4


def test_other_work_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    refuse_other_work(path, is_own=lambda _: False, overwrite=False)
    path.write_text("mine")
    refuse_other_work(path, is_own=lambda found: found.read_text() == "mine", overwrite=False)
    refuse_other_work(path, is_own=lambda _: False, overwrite=True)
    with pytest.raises(ConfigError, match=r"holds other work.*--output.*--overwrite"):
        refuse_other_work(path, is_own=lambda _: False, overwrite=False)


def test_results_about_something_else_stay(tmp_path: Path) -> None:
    out, first, second = (tmp_path / name for name in ("out", "first", "second"))
    for folder in (out, first, second):
        folder.mkdir()

    def claim(*of: Path, overwrite: bool = False) -> None:
        claim_results(out, ["scores.json"], command="evaluate", of=of, overwrite=overwrite)
        (out / "scores.json").write_text(str(of))

    claim(first)
    claim(first)  # the same run measured again
    with pytest.raises(ConfigError, match=r"scores.json is there already and holds other work.*--overwrite"):
        claim(second)
    with pytest.raises(ConfigError, match=r"holds other work \(about first\)"):
        claim(first, second)
    assert (out / "scores.json").read_text() == str((first,))
    claim(second, overwrite=True)
    claim(second)
    (out / ".evaluate-of.json").write_text("no JSON")
    with pytest.raises(ConfigError):
        claim(second)


def test_a_file_gets_a_second_name_in_place_of_another_and_no_third(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    for _ in range(2):  # also where both are one file already
        assert second_name(tmp_path / "a", tmp_path / "b")
        assert os.path.samefile(tmp_path / "a", tmp_path / "b")
    assert not second_name(tmp_path / "none", tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "b").read_text() == "a"


def test_room_that_cannot_be_claimed_is_no_error_and_room_that_is_not_there_is_one(tmp_path: Path, monkeypatch) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("room cannot be claimed here")
    with open(tmp_path / "a", "wb") as stream:
        reserve_room(stream.fileno(), 0)
        reserve_room(stream.fileno(), 1000)
        assert os.fstat(stream.fileno()).st_size == 1000
        for number in (errno.EOPNOTSUPP, errno.ENOSPC):

            def refuse(*_: int, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            monkeypatch.setattr(os, "posix_fallocate", refuse)
            if number == errno.ENOSPC:
                with pytest.raises(OSError, match="No space left"):
                    reserve_room(stream.fileno(), 1000)
            else:
                reserve_room(stream.fileno(), 1000)
