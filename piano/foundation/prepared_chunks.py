"""Reads the chunks of a prepared folder: one of them, or any stretch of a song across several."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from piano.foundation.dataset_format import PreparedManifest, prepare_command
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.npy_files import open_array, read_array
from piano.foundation.prepared_song import ChunkEntry, SongEntry
from piano.foundation.screen_text import printable


def chunk_path(folder: Path | str, song: SongEntry, chunk: ChunkEntry) -> Path:
    """Where a chunk lies."""
    return Path(folder) / song.folder / chunk.file


def load_chunk(folder: Path | str, song: SongEntry, chunk: ChunkEntry, *, mapped: bool = True) -> np.ndarray:
    """One chunk of a prepared song.

    Returns
    -------
    np.ndarray [shape=(channels, samples)]
        float32; mapped into memory unless `mapped` is false.

    Raises
    ------
    DatasetError
        If the file is missing or not what the manifest says.
    """
    path = chunk_path(folder, song, chunk)
    hint = f"Run `{command('prepare', 'MUSIC_FOLDER', '--output', Path(folder))}` again."
    samples = read_array(path, mapped=mapped, hint=hint)
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[1] != chunk.samples:
        raise DatasetError(f"{path} is not the chunk its manifest describes. {hint}")
    return samples


class ChunkReader:
    """Reads stretches of songs out of a prepared folder, with plain reads.

    A mapped file that is cut off meanwhile, or lies on a drive that fails, would end the process without a word.

    Parameters
    ----------
    folder : Path
        The prepared folder.
    channels : int
        That every chunk must have.
    manifest : PreparedManifest, optional
        For the hint in the errors.
    """

    def __init__(self, folder: Path, channels: int, manifest: PreparedManifest | None = None) -> None:
        self._folder, self._channels = folder, channels
        self._hint = f"Run `{prepare_command(folder, manifest)}` again."
        self._path: Path | None = None
        self._stream: BinaryIO | None = None
        self._first_byte = 0

    def __enter__(self) -> "ChunkReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._stream is not None:
            self._stream.close()
        self._path = self._stream = None

    def check(self, song: SongEntry) -> None:
        """Raise a DatasetError unless every chunk of a song lies inside the folder and is what the manifest says."""
        root = self._folder.resolve()
        for chunk in song.chunks:
            path = chunk_path(self._folder, song, chunk)
            if not path.resolve().is_relative_to(root):
                raise DatasetError(f"{path} is a link out of the prepared folder: refused. {self._hint}")
            self._open(song, chunk)

    def read(self, song: SongEntry, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) of a song, put together from its chunks.

        Returns
        -------
        np.ndarray [shape=(channels, stop - start)]
            float32, finite, within [-1, 1].

        Raises
        ------
        DatasetError
            If a chunk is missing, damaged or not what the manifest says.
        """
        run = np.empty((self._channels, stop - start), dtype=np.float32)
        done = start
        for chunk in song.chunks:
            end = min(chunk.start_sample + chunk.samples, stop)
            if chunk.start_sample <= done < end:
                self._read_into(run[:, done - start : end - start], song, chunk, done - chunk.start_sample)
                done = end
        if done != stop:
            raise DatasetError(f"the chunks of {printable(song.source)} do not reach {stop}. {self._hint}")
        if run.size and not (run.min() >= -1.0 and run.max() <= 1.0):
            raise DatasetError(
                f"{printable(song.source)} in {printable(self._folder)} holds samples that are no sound (not finite, "
                f"or beyond full scale). Delete its folder {song.folder}. {self._hint}"
            )
        return run

    def _read_into(self, place: np.ndarray, song: SongEntry, chunk: ChunkEntry, first: int) -> None:
        stream = self._open(song, chunk)
        for channel, row in enumerate(place):
            stream.seek(self._first_byte + 4 * (channel * chunk.samples + first))
            if stream.readinto(memoryview(row).cast("B")) != row.nbytes:  # type: ignore[attr-defined]
                raise DatasetError(f"{self._path} was cut off while it was read. {self._hint}")

    def _open(self, song: SongEntry, chunk: ChunkEntry) -> BinaryIO:
        path = chunk_path(self._folder, song, chunk)
        if path == self._path and self._stream is not None:
            return self._stream
        self.close()
        stream, layout = open_array(path, hint=self._hint)
        is_right = (layout.kind, layout.shape, layout.is_fortran) == (
            np.dtype(np.float32),
            (self._channels, chunk.samples),
            False,
        )
        if not is_right:
            stream.close()
            raise DatasetError(f"{path} is not the chunk its manifest describes. {self._hint}")
        self._path, self._stream, self._first_byte = path, stream, stream.tell()
        return stream
