"""Takes on disk: sounds with what the page knows of them beside each, found again after every start.

A take is a sound file and `NAME.take.json`. What has no such file beside it is not ours: it is neither served nor
touched. A take that is deleted lies in the folder `trash` until somebody empties that.
"""

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
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from piano.foundation.errors import AudioError
from piano.foundation.made_files import publish_together, unfinished, write_json
from piano.foundation.receipt import read_receipt
from piano.foundation.screen_text import printable

SUFFIX = ".take.json"
TRASH = "trash"
PEAKS = 200
LONGEST_NAME = 80
TakeKind = Literal["radio", "new", "continue", "vary", "like"]


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
    live: dict[str, Any] | None = None
    """Of a take from the radio that no receipt can make again: what was asked for, and when."""


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

    def takes(self) -> list[Take]:
        """All takes, the newest first."""
        return sorted(self._found(self.folder).values(), key=lambda take: take.made, reverse=True)

    def get(self, take_id: str) -> Take:
        """A take; raises AudioError."""
        found = self._found(self.folder).get(take_id)
        if found is None:
            raise AudioError("there is no such take.")
        return found

    def path(self, take_id: str) -> Path:
        """The sound file of a take; raises AudioError."""
        return self.folder / self.get(take_id).file

    def receipt(self, take: Take) -> dict[str, Any]:
        """How a take was made, for a table; what was played live has no receipt that makes it again, and says so."""
        if take.live is not None:
            return take.live
        try:
            return read_receipt(self.folder / take.file).model_dump(exclude_none=True)
        except AudioError as error:
            return {"receipt": str(error)}

    def add(self, sound: Path, *, name: str, kind: TakeKind, model: str, live: dict[str, Any] | None = None) -> Take:
        """Take a sound file of the library's folder in."""
        samples, rate = soundfile.read(str(sound), dtype="float32", always_2d=True)
        take = Take(
            id=secrets.token_urlsafe(9),
            file=sound.name,
            name=printable(name)[:LONGEST_NAME],
            kind=kind,
            model=model,
            made=datetime.now().astimezone().isoformat(timespec="milliseconds"),
            seconds=round(len(samples) / rate, 3),
            peaks=peaks_of(samples.T),
            live=live,
        )
        self._write(take)
        return take

    def change(self, take_id: str, **changes: Any) -> Take:
        """The take with another name, or as a favourite; raises AudioError."""
        with self._lock:
            take = self.get(take_id).model_copy(update=changes)
            write_json(self._facts_of(self.folder, take), take.model_dump())
        self._changed()
        return take

    def delete(self, take_id: str) -> None:
        """Move a take into the trash; raises AudioError."""
        self._move(take_id, self.folder, self.folder / TRASH)

    def restore(self, take_id: str) -> None:
        """Move a take out of the trash; raises AudioError."""
        self._move(take_id, self.folder / TRASH, self.folder)

    def _move(self, take_id: str, source: Path, target: Path) -> None:
        with self._lock:
            take = self._found(source).get(take_id)
            if take is None:
                raise AudioError("there is no such take.")
            target.mkdir(parents=True, exist_ok=True)
            sound, facts = source / take.file, self._facts_of(source, take)
            moved = _free_name(target, take.file)
            shutil.move(sound, target / moved)
            write_json(
                self._facts_of(target, take.model_copy(update={"file": moved})),
                take.model_copy(update={"file": moved}).model_dump(),
            )
            facts.unlink(missing_ok=True)
        self._changed()

    def _write(self, take: Take) -> None:
        with self._lock:
            write_json(self._facts_of(self.folder, take), take.model_dump())
        self._changed()

    @staticmethod
    def _facts_of(folder: Path, take: Take) -> Path:
        return folder / f"{take.file}{SUFFIX}"

    @staticmethod
    def _found(folder: Path) -> dict[str, Take]:
        """The takes of a folder by id; what cannot be read, or names a file elsewhere, is none."""
        found: dict[str, Take] = {}
        try:
            names = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]
        except OSError:
            return {}
        for name in names:
            try:
                take = Take.model_validate(json.loads((folder / name).read_text(encoding="utf-8")))
            except (OSError, ValueError, RecursionError, ValidationError):
                continue
            sound = folder / take.file
            if name == f"{take.file}{SUFFIX}" and sound.is_file() and not sound.is_symlink():
                found[take.id] = take
        return found


def _free_name(folder: Path, name: str) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    number, free = 2, name
    while os.path.lexists(folder / free):
        free, number = f"{stem}-{number}{suffix}", number + 1
    return free


def peaks_of(waveform: np.ndarray) -> list[float]:
    """The largest samples of PEAKS parts of a waveform (channels, samples), over the largest of all."""
    size = np.abs(waveform).max(axis=0, initial=0.0) if waveform.size else np.zeros(0)
    parts = np.array_split(size, PEAKS)
    largest = np.array([part.max(initial=0.0) for part in parts])
    return [round(float(peak), 3) for peak in largest / max(float(largest.max(initial=0.0)), 1e-6)]


def keep_beside(source: Path, folder: Path, stem: str) -> Path:
    """A copy in the library of a sound that a take is made from, so that its receipt finds it there.

    The same sound is kept once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / f"{stem}.source"
    for known in folder.glob(f"{start.name}*{source.suffix}"):
        if known.stat().st_size == source.stat().st_size and known.read_bytes() == source.read_bytes():
            return known
    with unfinished(start.with_name(start.name + source.suffix)) as temporary:
        shutil.copyfile(source, temporary)
        return publish_together({source.suffix: temporary}, start)[0]
