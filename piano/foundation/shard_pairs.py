"""Pairs of neighbouring segments, read out of shards when they are asked for: an array that nobody holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from piano.foundation.errors import DatasetError
from piano.foundation.pair_index import INDEX_KIND, PAIR_COLUMNS, pairs_path, read_pieces
from piano.foundation.prepared_song import SHARDS_FOLDER
from piano.foundation.quantised import STORED_KIND, from_stored
from piano.foundation.row_files import RowFile, RowFiles
from piano.foundation.screen_text import printable


class ShardPairs:
    """Reads like a float32 array of shape (pairs, 2, channels, samples) whose first index is looked up.

    `[i]` is a pair, `[i, 0]` and `[i, 1]` its segments; `[a:b:c]` are fewer pairs, which are not read yet. Everything
    else that an index can say is made of the pairs it names.

    Parameters
    ----------
    folder : Path
        Of the data set.
    split : str
    pairs, songs : int
        How many the manifest says there are in the split.
    channels, segment_samples : int
    shards : sequence of str
        Their files.
    hint : str
        Ends the sentences of the errors.

    Raises
    ------
    DatasetError
        If an index is missing or damaged; on reading, if a shard is.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        pairs: int,
        songs: int,
        channels: int,
        segment_samples: int,
        shards: Sequence[str],
        hint: str,
    ) -> None:
        self.filename = pairs_path(folder, split)
        self._hint = hint
        self._index = RowFile(self.filename, INDEX_KIND, PAIR_COLUMNS, hint=hint)
        if self._index.rows != pairs:
            raise DatasetError(
                f"{printable(self.filename)} holds {self._index.rows:,} pairs, the manifest says {pairs:,}. {hint}"
            )
        self._pieces = read_pieces(folder, split, songs, len(shards), hint=hint)
        self._first_piece = np.searchsorted(self._pieces[:, 0], np.arange(songs + 1))
        paths = [folder / SHARDS_FOLDER / name for name in shards]
        self._files = RowFiles(paths, STORED_KIND, channels, hint=hint)
        self._channels, self._segment_samples = channels, segment_samples
        self._places = range(pairs)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(pairs, 2, channels, samples)"""
        return len(self._places), 2, self._channels, self._segment_samples

    @property
    def nbytes(self) -> int:
        """Of all pairs, if somebody read them."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        whole = np.empty(self.shape, dtype=self.dtype)
        for index, place in enumerate(whole):
            place[...] = self[index]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice):
            fewer = self._fewer(self._places[first])
            return np.stack([fewer[(index, *rest)] for index in range(len(fewer))]) if rest else fewer
        if not isinstance(first, int | np.integer):
            return np.stack([self[(index, *rest)] for index in np.arange(len(self))[first]])
        index = int(first)
        if rest and isinstance(rest[0], int | np.integer):
            half = range(2)[int(rest[0])]
            segment = self.crop(index, half * self._segment_samples, self._segment_samples)
            return segment[tuple(rest[1:])]
        pair = self.crop(index, 0, 2 * self._segment_samples).reshape(self._channels, 2, self._segment_samples)
        return np.ascontiguousarray(pair.swapaxes(0, 1))[tuple(rest)]

    def crop(self, index: int, offset: int, samples: int, out: np.ndarray | None = None) -> np.ndarray:
        """A stretch of a pair, across the seam if need be.

        Parameters
        ----------
        index : int
        offset, samples : int
            Where it begins in the pair, and its length.
        out : np.ndarray [shape=(channels, samples)], optional
            float32, to be filled.

        Returns
        -------
        np.ndarray [shape=(channels, samples)]
        """
        song, start = self._index.read(self._places[index], 1)[0].tolist()
        if not 0 <= song < len(self._first_piece) - 1:
            raise DatasetError(f"{printable(self.filename)} names a song that there is not. {self._hint}")
        first, end = self._first_piece[song : song + 2].tolist()
        if out is None:
            out = np.empty((self._channels, samples), dtype=np.float32)
        done, begin = 0, start + offset
        for _, piece_start, piece_samples, shard, row in self._pieces[first:end].tolist():
            skipped = begin + done - piece_start
            count = min(piece_samples - skipped, samples - done)
            if skipped >= 0 and count > 0:
                from_stored(self._files[shard].read(row + skipped, count), out[:, done : done + count])
                done += count
        if done != samples:
            raise DatasetError(f"{printable(self.filename)} names a stretch beyond the end of its song. {self._hint}")
        return out

    def crops(self, indices: Sequence[int], offsets: Sequence[int], samples: int) -> np.ndarray:
        """Some stretches of equal length [shape=(items, channels, samples)]."""
        batch = np.empty((len(indices), self._channels, samples), dtype=np.float32)
        for item, index, offset in zip(batch, indices, offsets, strict=True):
            self.crop(index, offset, samples, item)
        return batch

    @property
    def songs(self) -> int:
        """Songs that the pairs are of, or rows of them that were joined."""
        return len(self._first_piece) - 1

    def last(self, song: int, samples: int) -> np.ndarray:
        """The end of a song [shape=(channels, samples)], also what is in no pair; all of it, if it is shorter."""
        first, end = self._first_piece[song : song + 2].tolist()
        wanted, found = samples, []
        for _, _, piece_samples, shard, row in self._pieces[first:end][::-1].tolist():
            count = min(piece_samples, wanted)
            out = np.empty((self._channels, count), dtype=np.float32)
            from_stored(self._files[shard].read(row + piece_samples - count, count), out)
            found.insert(0, out)
            wanted -= count
            if not wanted:
                break
        return np.concatenate(found, axis=1) if found else np.empty((self._channels, 0), dtype=np.float32)

    def segments(self) -> "ShardSegments":
        """The segments one after the other: those of pair 0, then those of pair 1."""
        return ShardSegments(self)

    def _fewer(self, places: range) -> "ShardPairs":
        some = object.__new__(ShardPairs)
        some.__dict__.update(self.__dict__, _places=places)
        return some


class ShardSegments:
    """Reads like a float32 array of shape (2 * pairs, channels, samples): the segments of pairs in shards.

    Parameters
    ----------
    pairs : ShardPairs
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, pairs: ShardPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return 2 * len(self._pairs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(segments, channels, samples)"""
        return (len(self), *self._pairs.shape[2:])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, key: int | slice) -> np.ndarray:
        if isinstance(key, slice):
            places = range(len(self))[key]
            return np.stack([self[place] for place in places]) if places else np.empty((0, *self.shape[1:]), self.dtype)
        place = range(len(self))[key]
        return self._pairs[place // 2, place % 2]
