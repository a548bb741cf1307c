"""One song: decode, measure, cut into chunks, level, and put them in place all at once.

The song passes twice. The first pass decodes it block by block, keeps raw chunks and gathers what levelling needs
to know; the second applies one gain to all chunks. Of a long song, memory holds two chunks and 64 MB.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piano.foundation.audio_io import DecodeLog, decode_blocks
from piano.foundation.dataset_format import (
    ChunkEntry,
    LeftOut,
    PrepareSettings,
    SongEntry,
    save_array,
    song_from_dict,
)
from piano.foundation.errors import AudioError
from piano.foundation.fingerprint import Fingerprinter
from piano.foundation.levels import SILENCE_DB, LevelMeter, level_chunk
from piano.foundation.made_files import write_bytes
from piano.foundation.native_sound import FFMPEG_HINT
from piano.foundation.screen_text import printable

WORK_FOLDER = ".work"
RECORDS_FOLDER = "records"
FINGERPRINT_NAME = "fingerprint.npy"

BLOCK_SECONDS = 2.0
_HELD_BYTES = 64 << 20


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


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """What became of one source; kept on disk, so that a later run need not look again."""

    source: str
    size: int
    mtime_ns: int
    sha256: str
    settings_key: str
    song: SongEntry | None
    left_out: LeftOut | None


def prepare_song(task: SongTask, tick: Callable[[float], None]) -> SourceRecord:
    """Make the chunks of one source and its record.

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
    with open(path, "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    key = settings_key(task.settings)
    identity = {
        "source": task.source,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": sha256,
    }
    known = task.known
    if known is not None and known.sha256 == sha256 and known.settings_key == key:
        song = None if known.song is None else SongEntry(**{**vars(known.song), **identity})
        record = SourceRecord(**identity, settings_key=key, song=song, left_out=known.left_out)
    else:
        work = Path(task.output) / WORK_FOLDER / secrets.token_hex(8)
        work.mkdir(parents=True)
        try:
            outcome = _cut_song(task, identity, work, tick)
            tick(0.0)  # the last chance to notice that the run was killed
            if isinstance(outcome, SongEntry):
                _put_in_place(work, Path(task.output) / outcome.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        is_song = isinstance(outcome, SongEntry)
        record = SourceRecord(
            **identity,
            settings_key=key,
            song=outcome if is_song else None,
            left_out=None if is_song else outcome,
        )
    write_record(Path(task.output), record)
    return record


def settings_key(settings: PrepareSettings) -> str:
    """A short text that differs when the chunks would differ."""
    return json.dumps(asdict(settings), sort_keys=True)


def record_path(output: Path, source: str) -> Path:
    """Where the record of a source lies."""
    name = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return output / RECORDS_FOLDER / f"{name}.json"


def write_record(output: Path, record: SourceRecord) -> None:
    """Keep a record."""
    path = record_path(output, record.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(asdict(record)).encode("ascii"))


def read_record(output: Path, source: str) -> SourceRecord | None:
    """The record of a source, None if there is none that this program can read."""
    try:
        values: dict[str, Any] = json.loads(record_path(output, source).read_text(encoding="ascii"))
        song = values["song"] and song_from_dict(values["song"])
        left_out = values["left_out"] and LeftOut(**values["left_out"])
        record = SourceRecord(**{**values, "song": song, "left_out": left_out})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if record.source == source else None


def song_folder(source: str, sha256: str, settings: PrepareSettings) -> str:
    """Folder name of a song: readable, safe on every file system, different for every content and setting."""
    stem = unicodedata.normalize("NFKD", Path(source).stem).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:40] or "song"
    text = "\n".join((source, sha256, settings_key(settings)))
    return f"{safe}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _cut_song(
    task: SongTask, identity: dict[str, Any], work: Path, tick: Callable[[float], None]
) -> SongEntry | LeftOut:
    settings, log = task.settings, DecodeLog()
    cutter = _ChunkCutter(work, settings)
    try:
        for block in decode_blocks(
            Path(task.path),
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            block_seconds=BLOCK_SECONDS,
            log=log,
        ):
            cutter.add(block)
            tick(block.shape[1] / settings.sample_rate)
    except AudioError as error:
        detail = str(error).removeprefix(printable(task.path)).strip(" .").removeprefix("is ")
        reason = "needs_ffmpeg" if FFMPEG_HINT in detail else "unreadable"
        return LeftOut(source=task.source, reason=reason, detail=detail)
    cutter.finish()
    seconds = cutter.samples / settings.sample_rate
    if seconds < settings.min_seconds:
        detail = f"{seconds:.2f} s long, at least {settings.min_seconds:g} s are needed"
        return LeftOut(source=task.source, reason="too_short", detail=detail)
    levels = cutter.meter.levels()
    if levels.is_silent:
        return LeftOut(source=task.source, reason="silent", detail=f"nothing above {SILENCE_DB:g} dB")
    for chunk, raw in cutter.raw_chunks():
        level_chunk(raw, levels)
        save_array(work / chunk.file, raw)
        tick(0.0)
    save_array(work / FINGERPRINT_NAME, cutter.fingerprinter.finish())
    return SongEntry(
        **identity,
        folder=song_folder(task.source, identity["sha256"], settings),
        source_sample_rate=log.sample_rate,
        source_channels=log.channels,
        samples=cutter.samples,
        seconds=round(seconds, 3),
        loudness_db=round(levels.loudness_db, 2),
        peak_db=round(levels.peak_db, 2),
        gain_db=round(levels.gain_db, 2),
        silence_share=round(levels.silence_share, 4),
        chunks=tuple(cutter.chunks),
        notes=(*log.notes, *levels.notes),
    )


class _ChunkCutter:
    """Gathers blocks into raw chunks, and measures what passes."""

    def __init__(self, work: Path, settings: PrepareSettings) -> None:
        self._work = work
        self._shape = (settings.channels, settings.chunk_samples)
        self._buffer = np.empty(self._shape, dtype=np.float32)
        self._filled = 0
        self._raw: list[np.ndarray | Path] = []
        self._held_bytes = 0
        self._before: np.ndarray | None = None  # the chunk before: the last one may reach back into it
        self.samples = 0
        self.chunks: list[ChunkEntry] = []
        self.meter = LevelMeter(settings.sample_rate)
        self.fingerprinter = Fingerprinter(settings.sample_rate)

    def add(self, block: np.ndarray) -> None:
        while block.shape[1]:
            part = block[:, : self._shape[1] - self._filled]
            self._buffer[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            block = block[:, part.shape[1] :]
            if self._filled == self._shape[1]:
                self._measure()
                self._keep(self._buffer)
                self._before = self._buffer
                self._buffer = np.empty(self._shape, dtype=np.float32)

    def finish(self) -> None:
        """Keep what is left as a chunk that ends with the song; a full one, unless the song is shorter."""
        rest = self._filled
        if rest == 0:
            return
        self._measure()
        if self._before is None:
            self._keep(self._buffer[:, :rest])
        else:
            self._keep(np.concatenate([self._before[:, rest:], self._buffer[:, :rest]], axis=1))

    def raw_chunks(self) -> Iterator[tuple[ChunkEntry, np.ndarray]]:
        """Every chunk once more; it is given away."""
        self._before = None
        self._buffer = np.empty((0, 0), dtype=np.float32)
        for chunk, raw in zip(self.chunks, self._raw, strict=True):
            if isinstance(raw, Path):
                yield chunk, np.load(raw)
                raw.unlink()
            else:
                yield chunk, raw

    def _measure(self) -> None:
        new = self._buffer[:, : self._filled]
        self.meter.add(new)
        self.fingerprinter.add(new)
        self.samples += self._filled
        self._filled = 0

    def _keep(self, raw: np.ndarray) -> None:
        name = f"chunk_{len(self.chunks):04d}.npy"
        self.chunks.append(
            ChunkEntry(file=name, start_sample=self.samples - raw.shape[1], samples=raw.shape[1])
        )
        if self._held_bytes + raw.nbytes <= _HELD_BYTES:  # most songs need no second trip to the disk
            self._held_bytes += raw.nbytes
            self._raw.append(raw)
        else:
            self._raw.append(self._work / f"raw_{name}")
            save_array(self._work / f"raw_{name}", raw)


def _put_in_place(work: Path, target: Path) -> None:
    """Rename a finished folder to its final name, in place of one that a killed run left there."""
    if target.exists():
        old = work.with_name(f"{work.name}.old")
        os.replace(target, old)
        shutil.rmtree(old, ignore_errors=True)
    os.replace(work, target)
