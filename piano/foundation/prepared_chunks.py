"""Reads songs of a prepared folder: any stretch of a song, out of a shard or of the song's own folder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from piano.foundation.dataset_format import PreparedManifest, prepare_command
from piano.foundation.errors import DatasetError
from piano.foundation.npy_files import open_array
from piano.foundation.prepared_song import SHARDS_FOLDER, ChunkEntry, SongEntry
from piano.foundation.quantised import STORED_KIND, from_stored, to_stored
from piano.foundation.row_files import RowFile
from piano.foundation.screen_text import printable

_BLOCK_NUMBERS = 1 << 20


def chunk_path(folder: Path | str, song: SongEntry, chunk: ChunkEntry) -> Path:
    """Where a chunk lies."""
    return Path(folder) / (song.folder if chunk.row is None else SHARDS_FOLDER) / chunk.file


class ChunkReader:
    """Reads stretches of songs out of a prepared folder, with plain reads.

    Parameters
    ----------
    folder : Path
        The prepared folder.
    channels : int, optional
        That every chunk must have; None: those that its file has.
    manifest : PreparedManifest, optional
        For the hint in the errors.
    """

    def __init__(self, folder: Path, channels: int | None = None, manifest: PreparedManifest | None = None) -> None:
        self._folder, self._channels = folder, channels
        self._hint = f"Run `{prepare_command(folder, manifest)}` again."
        self._path: Path | None = None
        self._file: RowFile | _PlainChunk | None = None
        self._inside: set[Path] = set()

    def __enter__(self) -> "ChunkReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file that is open."""
        self._path = self._file = None

    def check(self, song: SongEntry) -> None:
        """Raise a DatasetError unless every chunk of a song lies inside the folder and is what the manifest says."""
        for chunk in song.chunks:
            path = chunk_path(self._folder, song, chunk)
            if path not in self._inside:
                if not path.resolve().is_relative_to(self._folder.resolve()):
                    raise DatasetError(f"{path} is a link out of the prepared folder: refused. {self._hint}")
                self._inside.add(path)
            self._open(song, chunk)

    def read(self, song: SongEntry, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) of a song.

        Returns
        -------
        np.ndarray [shape=(channels, stop - start)]
            float32, finite, within [-1, 1].

        Raises
        ------
        DatasetError
            If a chunk is missing, damaged or not what the manifest says.
        """
        return from_stored(self.read_rows(song, start, stop))

    def read_rows(self, song: SongEntry, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) of a song as they are stored [shape=(stop - start, channels)], int16."""
        parts, done = [], start
        for chunk in song.chunks:
            end = min(chunk.start_sample + chunk.samples, stop)
            if chunk.start_sample <= done < end:
                file = self._open(song, chunk)
                rows = file.read((chunk.row or 0) + done - chunk.start_sample, end - done)
                parts.append(rows if rows.dtype == STORED_KIND else self._stored(rows, song))
                done = end
        if done != stop:
            raise DatasetError(f"the chunks of {printable(song.source)} do not reach {stop}. {self._hint}")
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, self._channels or 1), "<i2")])

    def blocks(self, song: SongEntry) -> Iterator[np.ndarray]:
        """A whole song as it is stored, piece by piece [shape=(samples, channels)]."""
        step = max(1, _BLOCK_NUMBERS // (self._channels or 1))
        for start in range(0, song.samples, step):
            yield self.read_rows(song, start, min(start + step, song.samples))

    def _stored(self, run: np.ndarray, song: SongEntry) -> np.ndarray:
        """Floats of version 1 (channels, samples) as they are stored since; a DatasetError if they are no sound."""
        if run.size and not (run.min() >= -1.0 and run.max() <= 1.0):
            raise DatasetError(
                f"{printable(song.source)} in {printable(self._folder)} holds samples that are no sound (not finite, "
                f"or beyond full scale). Delete its folder {song.folder}. {self._hint}"
            )
        return to_stored(run)

    def _open(self, song: SongEntry, chunk: ChunkEntry) -> "RowFile | _PlainChunk":
        path = chunk_path(self._folder, song, chunk)
        if path != self._path or self._file is None:
            self.close()
            stream, layout = open_array(path, hint=self._hint)
            stream.close()
            is_plain = chunk.row is None and layout.kind == np.float32
            channels = self._channels or (layout.shape[0 if is_plain else -1] if layout.shape else 0)
            right = (channels, chunk.samples) if is_plain else (layout.shape[:1] or (0,)) + (channels,)
            if layout.shape != right or layout.is_fortran or (not is_plain and layout.kind != STORED_KIND):
                raise DatasetError(f"{path} is not the chunk its manifest describes. {self._hint}")
            kind = _PlainChunk(path, channels, chunk.samples, self._hint) if is_plain else None
            self._file = kind or RowFile(path, STORED_KIND, channels, hint=self._hint)
            self._path = path
        rows = self._file.rows
        if rows != chunk.samples if chunk.row is None else rows < chunk.row + chunk.samples:
            raise DatasetError(f"{path} is not the chunk its manifest describes. {self._hint}")
        return self._file


class _PlainChunk:
    """A chunk of version 1: float32 (channels, samples)."""

    def __init__(self, path: Path, channels: int, samples: int, hint: str) -> None:
        self._path, self._channels, self._hint = path, channels, hint
        self.rows = samples
        self._stream, _ = open_array(path, hint=hint)
        self._first_byte = self._stream.tell()

    def __del__(self) -> None:
        self._stream.close()

    def read(self, first: int, count: int) -> np.ndarray:
        """Samples [first, first + count) [shape=(channels, count)]."""
        run = np.empty((self._channels, count), dtype=np.float32)
        for channel, row in enumerate(run):
            self._stream.seek(self._first_byte + 4 * (channel * self.rows + first))
            if self._stream.readinto(memoryview(row).cast("B")) != row.nbytes:  # type: ignore[attr-defined]
                raise DatasetError(f"{self._path} was cut off while it was read. {self._hint}")
        return run
