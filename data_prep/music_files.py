"""The music files of a folder as they lie on disk: which can be opened, which are passed by, what their bytes are."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from data_prep.prepare_report import REASONS
from data_prep.prepare_song import hash_file
from piano.foundation.audio_io import FolderScan
from piano.foundation.prepared_song import LeftOut
from piano.foundation.screen_text import counted, printable

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_HASHED_QUIETLY = 256 << 20
"""Up to this many bytes are compared without a progress bar."""
_SUFFIXES_NAMED = 6
_ARCHIVES = {".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"}


class MusicFile(NamedTuple):
    """A music file as it lies on disk."""

    name: str
    """Path inside the music folder, with forward slashes."""
    path: Path
    size: int
    mtime_ns: int


class MusicFiles(NamedTuple):
    """What a music folder holds at the start of a run."""

    sources: list[MusicFile]
    """To prepare: with `max_files` the first so many by name."""
    everything: list[MusicFile]
    """Without that limit."""
    present: list[str]
    """Names of all sound files, of those that cannot be opened too."""
    left_out: list[LeftOut]
    """A row for every file that is no source, and for every hidden folder."""


class Hashes:
    """SHA-256 of files, each read once in a run by a function that may raise OSError."""

    def __init__(self, read: Callable[[Path], str] = hash_file) -> None:
        self._hash = read
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Of one file. If it cannot be read, a text that no other file has: the worker will say what is wrong."""
        if path not in self._known:
            try:
                self._known[path] = self._hash(path)
            except OSError:
                return f"unread {path}"
        return self._known[path]

    def known(self, path: Path) -> str:
        """Of a file that was read already; empty if it was not."""
        return self._known.get(path, "")

    def read(self, sources: Iterable[MusicFile]) -> None:
        """Read files, with a bar if they are many."""
        todo = [source for source in sources if source.path not in self._known]
        total = sum(source.size for source in todo)
        if total < _HASHED_QUIETLY:
            return
        with tqdm(total=total, desc="preparing: comparing files", unit="B", unit_scale=True, dynamic_ncols=True) as bar:
            for source in todo:
                self.of(source.path)
                bar.update(source.size)


def look_at(scan: FolderScan, root: Path, max_files: int | None) -> MusicFiles:
    """Ask every file that a search found for its size and date, and sort out what cannot be opened.

    Parameters
    ----------
    scan : FolderScan
        What lies in the folder.
    root : Path
        The music folder; names are paths inside it.
    max_files : int, optional
        Only the first so many files are to be prepared.

    Returns
    -------
    MusicFiles
    """
    sources, left_out = _openable(scan.audio[:max_files], root)
    return MusicFiles(
        sources=sources,
        everything=sources if max_files is None else _openable(scan.audio, root)[0],
        present=[_name(path, root) for path in scan.audio],
        left_out=left_out + _passed_by(scan, root),
    )


def _name(path: Path, music: Path) -> str:
    return path.relative_to(music).as_posix()


def _openable(paths: list[Path], music: Path) -> tuple[list[MusicFile], list[LeftOut]]:
    """The files that can be opened and hold something, and the others."""
    sources, left_out = [], []
    for path in paths:
        name = _name(path, music)
        try:
            status = path.stat()
        except OSError as error:
            reason = "not_a_file" if error.errno in _ABSENT else "crashed"
            detail = "" if reason == "not_a_file" else f"{error.strerror}"
            left_out.append(LeftOut(source=name, reason=reason, detail=detail))
            continue
        if not os.access(path, os.R_OK):
            left_out.append(LeftOut(source=name, reason="no_permission"))
        elif status.st_size == 0:
            left_out.append(LeftOut(source=name, reason="empty"))
        else:
            sources.append(MusicFile(name, path, status.st_size, status.st_mtime_ns))
    return sources, left_out


def _passed_by(scan: FolderScan, music: Path) -> list[LeftOut]:
    """A row for everything that the search passed by."""
    rows = [LeftOut(source=_name(path, music), reason=reason) for path, reason in scan.left_out]
    return rows + [
        LeftOut(
            source=_name(path, music),
            reason="hidden",
            detail=f"a hidden folder with {counted(count, 'sound file')}; rename it to have them read",
        )
        for path, count in scan.hidden
    ]


def no_music(scan: FolderScan, music: str) -> str:
    """What is in a folder without sound files, which are read, and what to do."""
    kinds_read = "MP3, WAV, FLAC, OGG, Opus, M4A, AIFF, WMA and many more are read"
    if not scan.left_out and not scan.hidden:
        return f"{music} is empty. Put music into it ({kinds_read}), or name the folder that holds it."
    named = [path for path, reason in scan.left_out if reason in ("not_audio", "unknown_format")]
    suffixes = Counter(path.suffix.lower() or "without suffix" for path in named)
    found = [f"{count:,} {printable(suffix)}" for suffix, count in suffixes.most_common(_SUFFIXES_NAMED)]
    if more := len(named) - sum(count for _, count in suffixes.most_common(_SUFFIXES_NAMED)):
        found.append(f"{more:,} others")
    others = Counter(reason for _, reason in scan.left_out if reason not in ("not_audio", "unknown_format"))
    found += [f"{count:,} {reason} ({REASONS[reason]})" for reason, count in sorted(others.items())]
    found += [
        f"the hidden folder {printable(path.name)} with {counted(count, 'sound file')}"
        for path, count in scan.hidden[:_SUFFIXES_NAMED]
    ]
    advice = "Name the folder that holds the music"
    if _ARCHIVES & suffixes.keys():
        advice = "Unpack the archives first, or name the folder that holds the music"
    elif scan.hidden:
        advice = "Rename the hidden folder, or name the folder that holds the music"
    elif any(reason == "unknown_format" for _, reason in scan.left_out):
        advice = "Turn what is there into one of these, or name the folder that holds the music"
    return f"no sound file is in {music}, only {', '.join(found)}. {kinds_read}. {advice}."
