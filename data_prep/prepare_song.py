"""One song: decode, measure, level, store in 16 bits, and put it in place all at once.

The song passes twice. The first pass decodes it block by block, keeps it raw in pieces of `chunk_seconds` and gathers
what levelling needs to know; the second applies one gain to all. Of a long song, memory holds a piece and 64 MB.
"""

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piano.foundation.audio_io import DecodeLog, decode_blocks
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.decode_log import NO_NUMBERS, NOT_FINITE
from piano.foundation.errors import AudioError, PassingError
from piano.foundation.fingerprint import Fingerprinter
from piano.foundation.levels import SILENCE_DB, LevelMeter, Levels, level_chunk
from piano.foundation.made_files import bring_to_disk, write_bytes
from piano.foundation.native_sound import FFMPEG_HINT
from piano.foundation.npy_files import begin_array, save_array
from piano.foundation.prepared_song import ChunkEntry, LeftOut, SongEntry, left_out_from_dict, song_from_dict
from piano.foundation.quantised import STORED_KIND, to_stored
from piano.foundation.screen_text import printable

WORK_FOLDER = ".work"
RECORDS_FOLDER = "records"
SOUND_NAME = "sound.npy"
FINGERPRINT_NAME = "fingerprint.npy"

BLOCK_SECONDS = 2.0
_HELD_BYTES = 64 << 20
_RECORD_BYTES = 64 << 20
_HASHED_BYTES = 1 << 18  # at a time


@dataclass(frozen=True, kw_only=True)
class SongTask:
    """What a worker needs to know about one source."""

    path: str
    source: str
    """Path inside the music folder, with forward slashes."""
    output: str
    """The prepared folder."""
    settings: PrepareSettings
    known: "SourceRecord | None" = None
    """What an earlier run made of it, if the file seems to have changed since."""
    sha256: str = ""
    """Of its bytes, if they were read already."""


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """The result for one source; kept on disk, so that a later run need not read it again."""

    source: str
    size: int
    mtime_ns: int
    sha256: str
    settings_key: str
    song: SongEntry | None
    left_out: LeftOut | None


def prepare_song(task: SongTask, tick: Callable[[float], None]) -> SourceRecord:
    """Make the sound of one source, in a folder of its own, and its record.

    Parameters
    ----------
    task : SongTask
    tick : callable
        Told the seconds of audio decoded.

    Returns
    -------
    SourceRecord
        With a song, or the reason why there is none. The record is on disk when this returns.
    """
    path = Path(task.path)
    status = path.stat()
    sha256 = task.sha256 or hash_file(path, tick)
    key = settings_key(task.settings)
    identity = {"source": task.source, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256}
    known = task.known
    if known is not None and known.sha256 == sha256 and known.settings_key == key:
        song = None if known.song is None else SongEntry(**{**vars(known.song), **identity})
        record = SourceRecord(**identity, settings_key=key, song=song, left_out=known.left_out)
    else:
        work = Path(task.output) / WORK_FOLDER / secrets.token_hex(8)
        work.mkdir()
        try:
            outcome = _store_song(task, identity, work, tick)
            _refuse_half_read(path, status, sha256, outcome, tick)
            tick(0.0)  # the last chance to notice that the run was killed
            if isinstance(outcome, SongEntry):
                _put_in_place(work, Path(task.output) / outcome.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        is_song = isinstance(outcome, SongEntry)
        record = SourceRecord(
            **identity, settings_key=key, song=outcome if is_song else None, left_out=None if is_song else outcome
        )
    write_record(Path(task.output), record)
    return record


def hash_file(path: Path, tick: Callable[[float], None] = lambda _: None) -> str:
    """SHA-256 of a file, with a `tick` for every piece; raises OSError."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_HASHED_BYTES))
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            tick(0.0)
    return digest.hexdigest()


def _refuse_half_read(
    path: Path, before: os.stat_result, sha256: str, outcome: SongEntry | LeftOut, tick: Callable[[float], None]
) -> None:
    """Raise a PassingError if what came out may be the fault of the disk or of somebody who writes, not of the file.

    A decoder takes a failing drive for the end of the file. So a file that came out damaged or short is read again: if
    that fails, or its bytes are other ones now, the next run shall try.
    """
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise PassingError("the file was changed while it was read")
    is_whole = isinstance(outcome, SongEntry) and not outcome.notes
    is_plain = isinstance(outcome, LeftOut) and outcome.reason in ("silent", "needs_ffmpeg")
    if not is_whole and not is_plain and hash_file(path, tick) != sha256:
        raise PassingError("the disk gave other bytes at the second reading")


def settings_key(settings: PrepareSettings) -> str:
    """A short text that differs when the sound would differ; how much of it is held at once makes no difference."""
    return _without_chunks(vars(settings))


def _without_chunks(settings: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in settings.items() if name != "chunk_seconds"}, sort_keys=True)


def record_path(output: Path, source: str) -> Path:
    """Where the record of a source lies."""
    name = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return output / RECORDS_FOLDER / f"{name}.json"


def write_record(output: Path, record: SourceRecord) -> None:
    """Keep a record."""
    path = record_path(output, record.source)
    write_bytes(path, json.dumps(record, default=vars).encode("ascii"))


def read_record(output: Path, source: str) -> SourceRecord | None:
    """The record of a source; None if there is none, or this program cannot read it."""
    record = _read_record(record_path(output, source))
    return record if record is not None and record.source == source else None


def read_all_records(output: Path) -> list[SourceRecord]:
    """Every record that this program can read, sorted by source; those of sources that are gone too."""
    records = (_read_record(path) for path in (output / RECORDS_FOLDER).glob("*.json"))
    return sorted((record for record in records if record is not None), key=lambda record: record.source)


def _read_record(path: Path) -> SourceRecord | None:
    try:
        if not path.is_file() or path.stat().st_size > _RECORD_BYTES:
            return None
        return record_from_dict(json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def record_from_dict(values: dict[str, Any]) -> SourceRecord:
    """A SourceRecord from JSON; raises ValueError, KeyError, TypeError or AttributeError if it is none."""
    song = values["song"] and song_from_dict(values["song"])
    left_out = values["left_out"] and left_out_from_dict(values["left_out"])
    settings = _without_chunks(json.loads(values["settings_key"]))  # version 1 kept the length of chunks, too
    record = SourceRecord(**{**values, "song": song, "left_out": left_out, "settings_key": settings})
    if not all(isinstance(text, str) for text in (record.source, record.sha256)):
        raise TypeError("names and hashes are texts")
    if song is not None and song.source != record.source:
        raise ValueError("a record is of its song")
    return record


def song_folder(source: str, sha256: str, settings: PrepareSettings) -> str:
    """Folder name of a song: readable, safe on every file system, different for every content and setting."""
    stem = unicodedata.normalize("NFKD", Path(source).stem).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:40] or "song"
    text = "\n".join((source, sha256, settings_key(settings)))
    return f"{safe}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _store_song(
    task: SongTask, identity: dict[str, Any], work: Path, tick: Callable[[float], None]
) -> SongEntry | LeftOut:
    settings, log = task.settings, DecodeLog()
    song = _RawSong(work, settings)
    try:
        for block in decode_blocks(
            Path(task.path),
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            block_seconds=BLOCK_SECONDS,
            log=log,
            alive=lambda: tick(0.0),
        ):
            song.add(block)
            tick(block.shape[1] / settings.sample_rate)
    except AudioError as error:
        if isinstance(error, PassingError) or isinstance(error.__context__, OSError):
            raise PassingError(str(error)) from None
        detail = str(error).removeprefix(printable(task.path)).strip(" .").removeprefix("is ")
        reason = "needs_ffmpeg" if FFMPEG_HINT in detail else "unreadable"
        return LeftOut(source=task.source, reason=reason, detail=detail)
    song.finish()
    seconds = song.samples / settings.sample_rate
    if seconds < settings.min_seconds:
        detail = f"{math.floor(1000 * seconds) / 1000:g} s long, at least {settings.min_seconds:g} s are needed"
        return LeftOut(source=task.source, reason="too_short", detail=detail)
    levels = song.meter.levels()
    if levels.is_silent and NOT_FINITE in log.notes:
        detail = f"nothing but {NO_NUMBERS} and what is below {SILENCE_DB:g} dB"
        return LeftOut(source=task.source, reason="unreadable", detail=detail)
    if levels.is_silent:
        where = " in the mix of its channels" if log.channels > settings.channels else ""
        return LeftOut(source=task.source, reason="silent", detail=f"nothing above {SILENCE_DB:g} dB{where}")
    _write_sound(work / SOUND_NAME, song, levels, settings.channels, tick)
    save_array(work / FINGERPRINT_NAME, song.fingerprinter.finish())
    return SongEntry(
        **identity,
        folder=song_folder(task.source, identity["sha256"], settings),
        source_sample_rate=log.sample_rate,
        source_channels=log.channels,
        samples=song.samples,
        seconds=round(seconds, 3),
        loudness_db=round(levels.loudness_db, 2),
        peak_db=round(levels.peak_db, 2),
        gain_db=round(levels.gain_db, 2),
        silence_share=round(levels.silence_share, 4),
        chunks=(ChunkEntry(file=SOUND_NAME, start_sample=0, samples=song.samples),),
        notes=(*log.notes, *levels.notes),
    )


def _write_sound(path: Path, song: "_RawSong", levels: Levels, channels: int, tick: Callable[[float], None]) -> None:
    """Level every piece and write it; the room for all is claimed first."""
    with open(path, "wb") as stream:
        begin_array(stream, STORED_KIND, (song.samples, channels))
        for piece in song.pieces():
            level_chunk(piece, levels)
            stream.write(to_stored(piece).data)
            tick(0.0)
    bring_to_disk(path)


class _RawSong:
    """Gathers blocks into raw pieces, and measures them on the way."""

    def __init__(self, work: Path, settings: PrepareSettings) -> None:
        self._work = work
        self._shape = (settings.channels, settings.chunk_samples)
        self._buffer = np.empty(self._shape, dtype=np.float32)
        self._filled = 0
        self._pieces: list[np.ndarray | Path] = []
        self._held_bytes = 0
        self.samples = 0
        self.meter = LevelMeter(settings.sample_rate)
        self.fingerprinter = Fingerprinter(settings.sample_rate)

    def add(self, block: np.ndarray) -> None:
        while block.shape[1]:
            part = block[:, : self._shape[1] - self._filled]
            self._buffer[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            block = block[:, part.shape[1] :]
            if self._filled == self._shape[1]:
                self._keep()
                self._buffer = np.empty(self._shape, dtype=np.float32)

    def finish(self) -> None:
        """Keep what is left as a shorter piece."""
        if self._filled:
            self._keep()
        self._buffer = np.empty((0, 0), dtype=np.float32)

    def pieces(self) -> Iterator[np.ndarray]:
        """Every piece once more, in order; it is given away."""
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, Path):
                yield np.load(piece)
                piece.unlink()
            else:
                yield piece

    def _keep(self) -> None:
        raw = self._buffer[:, : self._filled]
        self.meter.add(raw)
        self.fingerprinter.add(raw)
        self.samples += self._filled
        self._filled = 0
        if self._held_bytes + raw.nbytes <= _HELD_BYTES:  # most songs need no second trip to the disk
            self._held_bytes += raw.nbytes
            self._pieces.append(raw)
        else:
            path = self._work / f"raw_{len(self._pieces):04d}.npy"
            save_array(path, raw)
            self._pieces.append(path)


def _put_in_place(work: Path, target: Path) -> None:
    """Rename a finished folder to its final name, in place of one that a killed run left there."""
    if target.exists():
        old = work.with_name(f"{work.name}.old")
        os.replace(target, old)
        shutil.rmtree(old, ignore_errors=True)
    os.replace(work, target)
