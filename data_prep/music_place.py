"""Where the music is: a folder or a file here. `remote_music.py` has the same for an address."""

import os
from pathlib import Path, PurePosixPath
from typing import Protocol

from data_prep.disk_need import disk_need, guess_seconds
from data_prep.music_files import MusicFile, MusicFiles, look_at
from data_prep.prepare_song import hash_file
from data_prep.runners.runner import Runner
from data_prep.runners.shard import middle_of
from data_prep.time_need import time_need
from piano.foundation.audio_io import FolderScan, scan_folder
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import printable


class MusicPlace(Protocol):
    """What a preparation asks of the place where the music is."""

    @property
    def identity(self) -> str:
        """What the manifest calls it; never a password."""
        ...

    def scan(self, output: Path) -> FolderScan:
        """What lies there, without the output; raises a MusiganError if it cannot be listed."""
        ...

    def look(self, scan: FolderScan, max_files: int | None) -> MusicFiles:
        """Size and date of every file of a scan."""
        ...

    def size_and_date(self, name: str) -> tuple[int, int] | None:
        """Bytes of a file and when it was changed, in ns; None: it is not there."""
        ...

    def path(self, name: str) -> Path:
        """How `MusicFile` calls a file."""
        ...

    def is_empty(self, folder: PurePosixPath) -> bool:
        """Whether a folder is still there, but holds nothing or cannot be listed: a drive may be away."""
        ...

    def hash(self, path: Path) -> str:
        """SHA-256 of a file; raises OSError."""
        ...

    def peek(self, file: MusicFile) -> bytes:
        """Some bytes of the middle of a file; none where that is not cheap, or fails."""
        ...

    def need(self, files: list[MusicFile], output: Path, settings: PrepareSettings) -> str:
        """A sentence about the room and the time that files will take; empty if there are none."""
        ...

    def taking(self, runner: Runner) -> Runner:
        """A runner whose tasks find the music."""
        ...


class LocalMusic:
    """Music in a folder of this machine, or one file."""

    def __init__(self, music: Path) -> None:
        self._music = music
        self._root = music.parent if music.is_file() else music

    def __str__(self) -> str:
        return printable(self._music)

    @property
    def identity(self) -> str:
        return str(self._music.resolve())

    def scan(self, output: Path) -> FolderScan:
        self._refuse_one_inside_the_other(output)
        return FolderScan([self._music], [], []) if self._music.is_file() else scan_folder(self._music, skip=output)

    def look(self, scan: FolderScan, max_files: int | None) -> MusicFiles:
        return look_at(scan, self._root, max_files)

    def size_and_date(self, name: str) -> tuple[int, int] | None:
        try:
            status = (self._root / name).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def path(self, name: str) -> Path:
        return self._root / name

    def is_empty(self, folder: PurePosixPath) -> bool:
        path = self._root / folder
        try:
            return not any(not entry.name.startswith(".") for entry in os.scandir(path))
        except OSError:
            return os.path.lexists(path)

    def hash(self, path: Path) -> str:
        return hash_file(path)

    def peek(self, file: MusicFile) -> bytes:
        return middle_of(file)

    def need(self, files: list[MusicFile], output: Path, settings: PrepareSettings) -> str:
        if not files:
            return ""
        paths = [file.path for file in files]
        return disk_need(paths, output, settings) + time_need(guess_seconds(paths))

    def taking(self, runner: Runner) -> Runner:
        return runner

    def _refuse_one_inside_the_other(self, output: Path) -> None:
        """Chunks among the music would be mixed with it; music inside the output could be taken for leftovers."""
        music = self._music
        inner, outer = music.resolve(), output.resolve()
        is_same = inner == outer or (music.is_dir() and output.is_dir() and os.path.samefile(music, output))
        if is_same:
            raise DatasetError(
                f"--output must not be the music folder itself ({printable(music)}). Choose a folder of its own."
            )
        if inner.is_relative_to(outer):
            raise DatasetError(
                f"the music {printable(music)} must not lie inside --output ({printable(output)}). Choose another "
                "--output."
            )
