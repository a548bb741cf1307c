"""One run at a time in a folder, many readers, and no run kept out by a file system or by what dead runs left."""

import errno
import os
import sys
from pathlib import Path

import pytest

from piano.foundation.errors import CheckpointError, DatasetError
from piano.foundation.folder_lock import LOCK_NAME, locked_folder, reading_folder
from piano.foundation.made_files import clear_leftovers, try_lock, unfinished


def refuse_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let the system answer every request for a lock with an error."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_lock_file_that_is_there_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_bytes(b"left by whom it may concern")
    with locked_folder(tmp_path):
        pass
    assert (tmp_path / LOCK_NAME).read_bytes() == b"left by whom it may concern"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no shared locks")
def test_many_may_read_and_nobody_may_change_meanwhile(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(CheckpointError, match="Wait until it has ended"):
        reading_folder(tmp_path, error=CheckpointError).__enter__()
    with reading_folder(tmp_path):
        with reading_folder(tmp_path), pytest.raises(DatasetError, match="another run is working in"):
            locked_folder(tmp_path).__enter__()
        with pytest.raises(DatasetError, match="another run is working in"):
            locked_folder(tmp_path).__enter__()
    with locked_folder(tmp_path):
        pass


def test_a_folder_without_a_lock_file_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    with reading_folder(tmp_path):
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / LOCK_NAME).touch()  # as every run leaves it
    refuse_locks(monkeypatch, code)
    with locked_folder(tmp_path), reading_folder(tmp_path), unfinished(tmp_path / "a.wav") as part:
        assert clear_leftovers(tmp_path) == []  # young: a running command may be writing it
        os.utime(part, (0, 0))
        assert clear_leftovers(tmp_path) == [part]


def test_a_network_drive_that_says_permission_denied_means_that_somebody_has_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK_NAME).touch()
    refuse_locks(monkeypatch, errno.EACCES)
    for locked in (locked_folder, reading_folder):
        with pytest.raises(DatasetError, match="another run is working in"):
            locked(tmp_path).__enter__()


def test_a_lock_is_free_when_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    with path.open("rb") as first, path.open("rb") as second:
        assert try_lock(first.fileno()) is True
        assert try_lock(second.fileno()) is False
        first.close()
        assert try_lock(second.fileno()) is True
