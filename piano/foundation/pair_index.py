"""Which stretches of which songs a data set's pairs are: numbers in small .npy files, read when they are asked for.

A data set of ten thousand hours has millions of pairs. Nothing of them is held in memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np

from piano.foundation.errors import DatasetError
from piano.foundation.row_files import RowFile
from piano.foundation.screen_text import printable

Split = Literal["training", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
INDEX_KIND = np.dtype("<i8")
PAIR_COLUMNS = 2
"""Song, and sample of it at which the pair begins."""
PIECE_COLUMNS = 5
"""Song, first sample of it that the piece holds, samples, shard, and first row in that."""
_BLOCK = 1 << 16


def pairs_path(folder: Path | str, split: str) -> Path:
    """Song and start of every pair of a split."""
    return Path(folder) / f"{split}_pairs.npy"


def pieces_path(folder: Path | str, split: str) -> Path:
    """Where the songs of a split lie in the shards."""
    return Path(folder) / f"{split}_pieces.npy"


class PairColumn(Sequence[int]):
    """A number of every pair of a split, in the order of the pairs: its song, or its start.

    Parameters
    ----------
    path : Path
        Of the index; it is opened when a number is first asked for.
    column : int
        0 for the song, 1 for the start.
    count : int
        How many pairs there are.
    below : int
        What every number must be below.
    hint : str
        Ends the sentences of the errors.
    """

    def __init__(self, path: Path, column: int, count: int, below: int, *, hint: str) -> None:
        self._path, self._column, self._count, self._below, self._hint = path, column, count, below, hint
        self._file: RowFile | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...

    def __getitem__(self, index: int | slice) -> int | np.ndarray:
        if isinstance(index, slice):
            first, stop, step = index.indices(self._count)
            if step != 1:
                return np.array([self[place] for place in range(first, stop, step)], INDEX_KIND)
            return self._read(first, max(stop - first, 0))
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(f"pair {index} of {self._count}")
        return int(self._read(place, 1)[0])

    def __iter__(self) -> Iterator[int]:
        for first in range(0, self._count, _BLOCK):
            yield from self[first : first + _BLOCK].tolist()

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or INDEX_KIND)

    def _read(self, first: int, count: int) -> np.ndarray:
        if self._file is None:
            self._file = RowFile(self._path, INDEX_KIND, PAIR_COLUMNS, hint=self._hint)
        numbers = self._file.read(first, count)[:, self._column]
        if count and not (numbers.min() >= 0 and numbers.max() < self._below):
            raise DatasetError(f"{printable(self._path)} names a song or a start that there is not. {self._hint}")
        return numbers


class PairLabels(Sequence[str]):
    """The recording that every pair was cut from.

    Parameters
    ----------
    recordings : sequence of str
        Of every song.
    songs : sequence of int
        Of every pair.
    """

    def __init__(self, recordings: Sequence[str], songs: Sequence[int]) -> None:
        self._recordings, self._songs = recordings, songs

    def __len__(self) -> int:
        return len(self._songs)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._recordings[song] for song in self._songs[index]]
        return self._recordings[self._songs[index]]

    def __iter__(self) -> Iterator[str]:
        return (self._recordings[song] for song in self._songs)


def read_pieces(folder: Path, split: str, songs: int, shards: int, *, hint: str) -> np.ndarray:
    """Where the songs of a split lie [shape=(pieces, PIECE_COLUMNS)], song by song and from their beginning.

    Raises
    ------
    DatasetError
        If the file is damaged, or names what there is not.
    """
    path = pieces_path(folder, split)
    file = RowFile(path, INDEX_KIND, PIECE_COLUMNS, hint=hint)
    pieces = file.read(0, file.rows)
    song, first, samples, shard, row = pieces.T
    is_first = np.diff(song, prepend=-1) == 1
    follows = np.where(is_first, 0, np.roll(first + samples, 1))
    is_right = (
        np.array_equal(song[is_first], np.arange(songs))
        and bool(np.all(is_first | (np.diff(song, prepend=-1) == 0)))
        and np.array_equal(first, follows)
        and bool(np.all((samples > 0) & (samples < 2**40) & (row >= 0) & (row < 2**40)))
        and bool(np.all((shard >= 0) & (shard < shards)))
    )
    if not is_right:
        raise DatasetError(f"{printable(path)} does not say where the songs of the data set lie. {hint}")
    return pieces
