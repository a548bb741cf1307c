"""Takes on disk: sounds with what the page knows of them beside each, found again after every start.

A take is a sound file and `NAME.take.json`. What has no such file beside it is not ours: it is neither served nor
touched. A take that is deleted lies in the folder `trash` until somebody empties that. What a take was made from lies
beside it, so that its receipt can be followed from any folder.
"""

import contextlib
import filecmp
import glob
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.made_files import clear_leftovers, publish_together, unfinished, write_json
from piano.foundation.native_sound import sndfile_name
from piano.foundation.receipt import read_receipt
from piano.foundation.screen_text import printable
from piano.play.refusals import NotHere

SUFFIX = ".take.json"
TRASH = "trash"
PEAKS = 200
LONGEST_NAME = 80
MOST_FACTS = 1 << 20
"""Bytes of what is known of a take."""
_BLOCK = 1 << 16
TakeKind = Literal["radio", "new", "continue", "vary", "like", "loop", "fill"]


class Take(BaseModel):
    """What the page knows of a take."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{6,40}$")
    file: str = Field(max_length=255)
    """Beside the JSON, without a folder."""
    name: str = Field(max_length=LONGEST_NAME)
    kind: TakeKind
    model: str = Field(max_length=200)
    made: str = Field(max_length=40)
    """ISO 8601, with its time zone."""
    seconds: float = Field(ge=0.0)
    is_favourite: bool = False
    peaks: list[float] = Field(default_factory=list, max_length=PEAKS)
    seam_seconds: float | None = None
    """Where a given sound ends and what was made begins."""
    live: dict[str, Any] | None = None
    """Of a take from the radio: what was asked for, and when."""


class Library:
    """The takes of a folder.

    Parameters
    ----------
    folder : Path
        Made when the first take is added.
    changed : callable
        Called after every change.
    """

    def __init__(self, folder: Path, *, changed: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._changed = changed
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[object, Take | None]] = {}
        self._receipts: dict[Path, tuple[object, dict[str, Any]]] = {}
        for place in (folder, folder / TRASH):
            clear_leftovers(place)

    def takes(self) -> list[Take]:
        """All takes, the newest first."""
        return sorted(self._found(self.folder).values(), key=lambda take: (take.made, take.id), reverse=True)

    def get(self, take_id: str) -> Take:
        """A take; raises NotHere."""
        found = self._found(self.folder).get(take_id)
        if found is None:
            raise NotHere("there is no such take.")
        return found

    def path(self, take_id: str) -> Path:
        """The sound file of a take; raises NotHere."""
        return self.folder / self.get(take_id).file

    def receipt(self, take: Take) -> dict[str, Any]:
        """How a take was made, for a table: what `musigan reproduce` reads, or why there is nothing for it to read."""
        path = self.folder / take.file
        state = _state(path)
        if (known := self._receipts.get(path)) is None or known[0] != state:
            try:
                receipt = read_receipt(path).model_dump(exclude_none=True)
            except AudioError as error:
                receipt = {} if take.live is not None else {"receipt": str(error).replace(str(path), take.file)}
            known = self._receipts[path] = (state, receipt)
        return known[1] | (take.live or {})

    def add(
        self,
        sound: Path,
        *,
        name: str,
        kind: TakeKind,
        model: str,
        seam_seconds: float | None = None,
        live: dict[str, Any] | None = None,
    ) -> Take:
        """Take a sound file of the library's folder in."""
        seconds, peaks = measured(sound)
        take = Take(
            id=secrets.token_urlsafe(9),
            file=sound.name,
            name=shown_name(name),
            kind=kind,
            model=model,
            made=datetime.now().astimezone().isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            peaks=peaks,
            seam_seconds=seam_seconds,
            live=live,
        )
        self._write(take)
        return take

    def change(self, take_id: str, **changes: Any) -> Take:
        """The take with another name, or as a favourite; raises NotHere, and ConfigError for an empty name."""
        if "name" in changes:
            changes["name"] = shown_name(changes["name"])
        with self._lock:
            take = self.get(take_id).model_copy(update=changes)
            write_json(self._facts_of(self.folder, take), take.model_dump())
        self._changed()
        return take

    def delete(self, take_id: str) -> None:
        """Move a take into the trash; raises NotHere."""
        self._move(take_id, self.folder, self.folder / TRASH)

    def restore(self, take_id: str) -> None:
        """Move a take out of the trash; raises NotHere."""
        self._move(take_id, self.folder / TRASH, self.folder)

    def _move(self, take_id: str, source: Path, target: Path) -> None:
        with self._lock:
            take = self._found(source).get(take_id)
            if take is None:
                raise NotHere("there is no such take.")
            target.mkdir(parents=True, exist_ok=True)
            moved = take.model_copy(update={"file": _free_name(target, take.file)})
            # In this order a take is in one of the two folders whenever the computer stops; facts alone are no take.
            write_json(self._facts_of(target, moved), moved.model_dump())
            shutil.move(source / take.file, target / moved.file)
            self._facts_of(source, take).unlink(missing_ok=True)
        self._changed()

    def _write(self, take: Take) -> None:
        with self._lock:
            write_json(self._facts_of(self.folder, take), take.model_dump())
        self._changed()

    @staticmethod
    def _facts_of(folder: Path, take: Take) -> Path:
        return folder / f"{take.file}{SUFFIX}"

    def _found(self, folder: Path) -> dict[str, Take]:
        """The takes of a folder by id; what cannot be read, or names a file elsewhere, is none."""
        found: dict[str, Take] = {}
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
        except OSError:
            return {}
        for name in names:
            take = self._read_take(folder / name)
            if take is None or name != f"{take.file}{SUFFIX}":
                continue
            sound = folder / take.file
            if sound.is_file() and not sound.is_symlink():
                found.setdefault(take.id, take)
        return found

    def _read_take(self, path: Path) -> Take | None:
        """What a file says of a take; None where it says nothing. A file that has not changed is not read again."""
        state = _state(path)
        if (known := self._read.get(path)) is not None and known[0] == state:
            return known[1]
        take = None
        with contextlib.suppress(OSError, ValueError, RecursionError, ValidationError):
            if path.stat().st_size <= MOST_FACTS:
                take = Take.model_validate(json.loads(path.read_text(encoding="utf-8")))
        self._read[path] = (state, take)
        return take


def _state(path: Path) -> object:
    """Another value when a file has changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def shown_name(name: str) -> str:
    """A name as a page can show it; raises ConfigError for one without letters."""
    shown = printable(name).strip()[:LONGEST_NAME].strip()
    if not shown:
        raise ConfigError("a name has at least one letter.")
    return shown


def _free_name(folder: Path, name: str) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    number, free = 2, name
    while os.path.lexists(folder / free):
        free, number = f"{stem}-{number}{suffix}", number + 1
    return free


def measured(path: Path) -> tuple[float, list[float]]:
    """Seconds of a sound file, and the largest samples of PEAKS parts of it over the largest of all."""
    largest = np.zeros(PEAKS)
    with soundfile.SoundFile(sndfile_name(path)) as file:
        total, begin = max(file.frames, 1), 0
        for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
            add_peaks(largest, np.abs(block).max(axis=1), begin, total)
            begin += len(block)
        seconds = file.frames / file.samplerate
    return seconds, [round(float(peak), 3) for peak in largest / max(float(largest.max()), 1e-6)]


def add_peaks(largest: NDArray, sizes: NDArray, begin: int, total: int) -> None:
    """Raise the peaks of the parts of a sound of `total` samples by sizes of samples from `begin` on."""
    parts = (begin + np.arange(len(sizes))) * len(largest) // total
    np.maximum.at(largest, np.minimum(parts, len(largest) - 1), sizes)


def keep_beside(source: Path, folder: Path, stem: str) -> Path:
    """A copy in the library of a sound that a take is made from, so that its receipt finds it there.

    The same sound is kept once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / f"{stem}.source"
    for known in folder.glob(f"{glob.escape(start.name)}*{source.suffix}"):
        if known.is_file() and filecmp.cmp(known, source, shallow=False):
            return known
    with unfinished(start.with_name(start.name + source.suffix)) as temporary:
        shutil.copyfile(source, temporary)
        return publish_together({source.suffix: temporary}, start)[0]
