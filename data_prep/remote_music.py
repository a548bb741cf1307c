"""Music at an address (s3://, sftp://, https://): every song is fetched to a temporary file, prepared and removed.

Listing and reading are fsspec's. Names and passwords come from where the libraries look for them, or stand in the
address; a password is never written or shown.
"""

import dataclasses
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

from data_prep.disk_need import guess_by_kind, room_need
from data_prep.music_files import MusicFile, MusicFiles
from data_prep.prepare_song import WORK_FOLDER, SongTask, SourceRecord
from data_prep.runners.runner import Runner
from data_prep.time_need import time_need
from data_prep.worker_pool import Tick
from piano.foundation.audio_io import FolderScan, is_hidden
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import AudioError, ConfigError, PassingError
from piano.foundation.prepared_song import LeftOut
from piano.foundation.screen_text import counted, printable
from piano.foundation.sound_names import AUDIO_SUFFIXES, UNKNOWN_SUFFIXES

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_USER = re.compile(r"(?<=://)[^/]*@")
_BLOCK_BYTES = 4 << 20
_DATES = ("mtime", "LastModified", "last_modified", "updated", "last_commit")


class RemoteFile(NamedTuple):
    """A file at an address, as the listing tells it."""

    size: int
    mtime_ns: int
    """0 where the server does not say it."""


def is_address(text: str) -> bool:
    """Whether a text is the address of something elsewhere."""
    return _ADDRESS.match(text) is not None


def without_user(address: str) -> str:
    """An address as it may be shown and kept."""
    return printable(_USER.sub("", address))


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises
    ------
    ConfigError
        A library is missing, or the kind of address is not known.
    """
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ConfigError(
            f"{without_user(address)} needs another library ({safe_words(error, address)}). In the project's folder: "
            '`pip install -c constraints.txt -e ".[remote]"`.'
        ) from None
    except Exception as error:  # each library has its own
        raise ConfigError(f"{without_user(address)} cannot be opened: {safe_words(error, address)}.") from None
    return system, path.rstrip("/")


def safe_words(error: BaseException, address: str) -> str:
    """What an error says, without what stands in front of the host in an address."""
    text = _USER.sub("", str(error) or type(error).__name__)
    found = _USER.search(address)
    if found and (password := found[0][:-1].partition(":")[2]):
        text = text.replace(password, "***").replace(unquote(password), "***")
    return printable(text.strip().rstrip("."))[:300]


class RemoteMusic:
    """Music at an address; listed once."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._files: dict[str, RemoteFile] = {}

    def __str__(self) -> str:
        return without_user(self._address)

    @property
    def identity(self) -> str:
        return without_user(self._address).rstrip("/")

    def scan(self, output: Path) -> FolderScan:
        system, root = file_system(self._address)
        try:
            found = system.find(root, detail=True)
            for path, info in found.items():
                if info.get("size") is None:  # a web server says it of single files only
                    found[path] = {**info, **system.info(path)}
        except Exception as error:
            raise AudioError(f"cannot list {self}: {safe_words(error, self._address)}.") from None
        self._files = {}
        for path, info in found.items():
            name = path.removeprefix(root).lstrip("/") or PurePosixPath(path).name
            self._files[name] = RemoteFile(int(info.get("size") or 0), remote_date(info))
        audio, left_out = [], []
        for name in sorted(self._files, key=PurePosixPath):
            suffix = PurePosixPath(name).suffix.lower()
            *folders, last = name.split("/")
            if is_hidden(last, is_folder=False) or any(is_hidden(part, is_folder=True) for part in folders):
                left_out.append((Path(name), "hidden"))
            elif suffix not in AUDIO_SUFFIXES:
                left_out.append((Path(name), "unknown_format" if suffix in UNKNOWN_SUFFIXES else "not_audio"))
            else:
                audio.append(Path(name))
        return FolderScan(audio=audio, left_out=left_out, hidden=[])

    def look(self, scan: FolderScan, max_files: int | None) -> MusicFiles:
        everything, left_out = [], [LeftOut(source=path.as_posix(), reason=why) for path, why in scan.left_out]
        for path in scan.audio:
            file = self._files[path.as_posix()]
            if file.size:
                everything.append(MusicFile(path.as_posix(), path, *file))
            else:
                left_out.append(LeftOut(source=path.as_posix(), reason="empty"))
        present = [path.as_posix() for path in scan.audio]
        chosen = set(present[:max_files])
        return MusicFiles([file for file in everything if file.name in chosen], everything, present, left_out)

    def size_and_date(self, name: str) -> tuple[int, int] | None:
        return self._files.get(name)

    def path(self, name: str) -> Path:
        return Path(name)

    def is_empty(self, folder: PurePosixPath) -> bool:
        return False  # most of these places know no folders

    def hash(self, path: Path) -> str:
        digest = hashlib.sha256()
        try:
            for block in _blocks(self._address, path.as_posix()):
                digest.update(block)
        except AudioError as error:
            raise OSError(str(error)) from None
        return digest.hexdigest()

    def peek(self, file: MusicFile) -> bytes:
        return b""  # nothing is fetched for it

    def need(self, files: list[MusicFile], output: Path, settings: PrepareSettings) -> str:
        if not files:
            return ""
        size = sum(file.size for file in files)
        lengths = [guess_by_kind([(file.name, file.size)]) for file in files]
        seconds = sum(lengths)
        what = f"{counted(len(files), 'file')} to fetch and prepare, {size / 1e9:.3g} GB"
        sentence, share = room_need(what, seconds, max(lengths), output, settings)
        doubt = " That may not be enough." if share > 1.0 else ""  # nothing was fetched to guess better
        return f"{sentence}{doubt} What is fetched is removed song by song.{time_need(seconds)}"

    def taking(self, runner: Runner) -> Runner:
        def run(function: Callable[[Any, Tick], Any], tasks: Any) -> Any:
            sizes = [self._files[task.source] for task in tasks]
            fetched = [FetchedTask(task, *file) for task, file in zip(tasks, sizes, strict=True)]
            return runner(functools.partial(prepare_fetched, function, self._address), fetched)

        return run


class FetchedTask(NamedTuple):
    """A song that is still at the address."""

    task: SongTask
    size: int
    mtime_ns: int


def prepare_fetched(
    step: Callable[[SongTask, Tick], SourceRecord], address: str, fetched: FetchedTask, tick: Tick
) -> SourceRecord:
    """Fetch a song, do the step of one song on it, and remove it; raises a PassingError where fetching fails."""
    task = fetched.task
    # Beside the other half-made songs: there is room for it, and the next run clears what a killed one leaves.
    with tempfile.TemporaryDirectory(prefix="fetched-", dir=Path(task.output) / WORK_FOLDER) as folder:
        path = Path(folder) / f"song{PurePosixPath(task.source).suffix}"
        with open(path, "wb") as target:
            for block in _blocks(address, task.source):
                target.write(block)
                tick(0.0)
        if path.stat().st_size != fetched.size:
            raise PassingError(f"{path.stat().st_size} of {fetched.size} bytes came: the file or the line changed")
        os.utime(path, ns=(fetched.mtime_ns, fetched.mtime_ns))
        return step(dataclasses.replace(task, path=str(path)), tick)


def _blocks(address: str, name: str) -> Iterator[bytes]:
    """The bytes of a file at an address; whatever goes wrong with it is a PassingError without a password in it."""
    system, root = file_system(address)
    try:
        is_file = PurePosixPath(root).name == name and not system.isdir(root)
        with system.open(root if is_file else f"{root}/{name}", "rb", block_size=_BLOCK_BYTES) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
    except Exception as error:  # each library has its own
        raise PassingError(f"it could not be fetched: {safe_words(error, address)}") from None


def remote_date(info: dict[str, Any]) -> int:
    """When a file was changed, in whole seconds as ns; 0 where the listing does not say."""
    for key in _DATES:
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 10**9
        if isinstance(value, int | float):
            return int(value) * 10**9
    return 0
