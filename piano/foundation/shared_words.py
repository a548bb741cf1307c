"""Songs that share words of their fingerprints at one shift, found with little memory however many songs there are.

Words go into bins by their value, where equal ones meet; pairs of equal words go as votes into bins by song, where the
votes for one shift of two songs are counted. Bins of many songs lie in files, and are read one at a time.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

_MIN_VOTES = 3  # frames that must agree exactly at one shift before two songs are compared at all
_MIN_VOTES_SHORT, _FEW_WORDS = 2, 320  # the same where one song is shorter than 20 s
_PARTNERS = 8  # to either side: how many equal words one word is compared with
_BATCH = 1 << 20  # words whose votes are counted at a time

_BIN_SONGS, _MOST_BINS = 100, 1024  # songs whose words fill a bin, more or less
_HELD_BYTES = 64 << 20  # of bins in memory; what is more lies in files
_VOTE_BYTES = 4 << 30  # of votes at a time; for more, all words are read several times
_SHOWN_SONGS = 5_000  # from which on a bar tells how far it is
_ROW = np.dtype([("word", "<u4"), ("song", "<u4"), ("place", "<u4")])


class Bins:
    """Rows sorted into numbered bins, in memory as long as they are few, else in files.

    Parameters
    ----------
    count : int
        Of bins.
    kind : np.dtype
        Of a row.
    folder : Path
        For the files; exists.
    held_bytes : int
        What memory may hold.
    """

    def __init__(self, count: int, kind: np.dtype, folder: Path, *, held_bytes: int | None = None) -> None:
        self._kind, self._folder = kind, folder
        self._limit = _HELD_BYTES if held_bytes is None else held_bytes
        self._held: list[list[np.ndarray]] = [[] for _ in range(count)]
        self._held_bytes = 0

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Put row i into bin `numbers[i]`, behind those that are there."""
        if not len(rows):
            return
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows[order], numbers[order]
        starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            self._held[numbers[start]].append(rows[start:stop].copy())
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._limit:
            self._write()

    def _write(self) -> None:
        for number, held in enumerate(self._held):
            if held:
                with open(self._path(number), "ab") as stream:
                    stream.write(np.concatenate(held).tobytes())
                held.clear()
        self._held_bytes = 0

    def read(self, number: int) -> np.ndarray:
        """The rows of a bin in the order in which they came."""
        path = self._path(number)
        parts = [np.fromfile(path, dtype=self._kind)] if path.exists() else []
        return np.concatenate([*parts, *self._held[number], np.zeros(0, dtype=self._kind)])

    def take(self, number: int) -> np.ndarray:
        """The rows of a bin, which is empty then."""
        rows = self.read(number)
        self._held_bytes -= sum(part.nbytes for part in self._held[number])
        self._held[number] = []
        self._path(number).unlink(missing_ok=True)
        return rows

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.bin"


class SharedWords:
    """The words that several songs have. A word counts once a song: a loop would otherwise outvote everything.

    Parameters
    ----------
    fingerprints : sequence of np.ndarray
        uint32; 0 is silence. Each is asked for once.
    scratch : Path, optional
        A folder for temporary files, which go when the `with` ends; without one, the system's.
    """

    def __init__(self, fingerprints: Sequence[np.ndarray], *, scratch: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="words-", dir=scratch)
        self.lengths = np.zeros(len(fingerprints), dtype=np.int64)
        """Words of every song, those that it shares with none too."""
        self._rows = np.zeros(len(fingerprints), dtype=np.int64)
        """Of every song that are in the bins."""
        self._sort(fingerprints)

    def __enter__(self) -> "SharedWords":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def _sub_folder(self, name: str) -> Path:
        folder = Path(self._folder.name) / name
        folder.mkdir(exist_ok=True)
        return folder

    def _sort(self, fingerprints: Sequence[np.ndarray]) -> None:
        """Fill the bins: words by their value, and only those that another song has too."""
        count = min(_MOST_BINS, 1 + len(fingerprints) // _BIN_SONGS)
        bins = Bins(count, _ROW, self._sub_folder("all"))
        waiting, waiting_rows = [], 0
        for song in _told(range(len(fingerprints)), "finding copies: reading", "song", len(fingerprints)):
            words = fingerprints[song]
            self.lengths[song] = len(words)
            waiting.append(_rows_of(song, words))
            waiting_rows += len(waiting[-1])
            if waiting_rows > _BATCH or song == len(fingerprints) - 1:
                rows = np.concatenate(waiting)
                bins.add(rows, _turned(rows["word"]) * count >> 32)
                waiting, waiting_rows = [], 0
        self._bins = Bins(count, _ROW, self._sub_folder("shared"))
        for number in range(count):
            rows = _only_shared(bins.take(number))
            self._rows += np.bincount(rows["song"], minlength=len(self._rows))
            self._bins.add(rows, np.full(len(rows), number))
        self._count = count

    def shifts(self) -> Iterator[tuple[int, int, int]]:
        """(first, second, shift) of songs that share several words at the same shift, in batches the surest first.

        A shift is the place in the second song less that in the first.
        """
        begins = self._batches()
        rounds = _rounds(np.add.reduceat(self._rows, begins[:-1]) if len(begins) > 1 else np.zeros(0, dtype=np.int64))
        shown = len(self.lengths)
        for first, last in _told(rounds, "finding copies: comparing", "round", shown if len(rounds) > 1 else 0):
            votes = Bins(last - first, np.dtype("<i8"), self._sub_folder("votes"))
            edges = begins[first : last + 1]
            for number in _told(range(self._count), "finding copies: words", "bin", shown):
                self._vote(self._bins.read(number), edges, votes)
            for batch in _told(range(last - first), "finding copies: songs", "batch", shown):
                yield from self._counted(votes.take(batch), int(edges[batch]))

    def _batches(self) -> np.ndarray:
        """The first songs of batches with so many words each that their votes fit into memory; last, the count."""
        firsts = np.concatenate([[0], np.cumsum(self._rows)])
        begins, songs = [0], len(self.lengths)
        while begins[-1] < songs:
            enough = int(np.searchsorted(firsts, firsts[begins[-1]] + _BATCH, side="right")) - 1
            begins.append(max(begins[-1] + 1, enough))
        return np.array(begins)

    @property
    def _span(self) -> int:
        return 2 * int(self.lengths.max(initial=0))

    def _vote(self, rows: np.ndarray, edges: np.ndarray, votes: Bins) -> None:
        """Put a vote for every pair of equal words whose first song is within the edges into the bin of its batch."""
        chosen = np.flatnonzero((rows["song"] >= edges[0]) & (rows["song"] < edges[-1]))
        songs, places = rows["song"].astype(np.int64), rows["place"].astype(np.int64)
        span = self._span
        for left, right in _partners(chosen, rows["word"]):
            one, other = songs[left], songs[right]
            batch = np.searchsorted(edges, one, side="right") - 1
            shift = places[right] - places[left]
            # One number: quick to count. Of a batch the first song is told, so that it fits into 63 bits.
            votes.add(((one - edges[batch]) * len(self.lengths) + other) * span + shift + span // 2, batch)

    def _counted(self, votes: np.ndarray, first_song: int) -> Iterator[tuple[int, int, int]]:
        """What enough votes of a batch are for."""
        if not len(votes):
            return
        span, songs = self._span, len(self.lengths)
        votes.sort()
        starts = np.flatnonzero(np.concatenate([[True], votes[1:] != votes[:-1]]))
        counts = np.diff(np.append(starts, len(votes)))
        votes = votes[starts]
        # A start between two frames divides the votes between two shifts.
        counts[:-1] += np.where(votes[1:] == votes[:-1] + 1, counts[1:], 0)
        several = np.flatnonzero(counts >= min(_MIN_VOTES, _MIN_VOTES_SHORT))  # few are left
        votes, counts = votes[several], counts[several]
        pairs, shifts = np.divmod(votes, span)
        one, other = np.divmod(pairs, songs)
        one += first_song
        is_short = np.minimum(self.lengths[one], self.lengths[other]) < _FEW_WORDS
        chosen = np.flatnonzero(counts >= np.where(is_short, _MIN_VOTES_SHORT, _MIN_VOTES))
        for index in chosen[np.argsort(-counts[chosen], kind="stable")]:
            yield int(one[index]), int(other[index]), int(shifts[index]) - span // 2


def _told(steps: Sequence[Any], what: str, unit: str, songs: int) -> Iterable[Any]:
    """The steps, with a bar where there are many songs."""
    return tqdm(steps, desc=what, unit=unit, dynamic_ncols=True, disable=songs < _SHOWN_SONGS, leave=False)


def _rows_of(song: int, words: np.ndarray) -> np.ndarray:
    """Every word of a song but silence, where it comes first."""
    different, first = np.unique(words, return_index=True)
    is_sound = different != 0
    rows = np.empty(int(is_sound.sum()), dtype=_ROW)
    rows["word"], rows["song"], rows["place"] = different[is_sound], song, first[is_sound]
    return rows


def _turned(words: np.ndarray) -> np.ndarray:
    """Words spread evenly over 0 to 2^32 - 1, as int64."""
    return words.astype(np.int64) * 0x9E3779B1 & 0xFFFFFFFF


def _only_shared(rows: np.ndarray) -> np.ndarray:
    """The rows whose word another song has too, sorted by word and song."""
    rows = rows[np.argsort(rows["word"].astype(np.uint64) << np.uint64(32) | rows["song"])]
    words = rows["word"]
    is_same = np.concatenate([[False], words[1:] == words[:-1], [False]]) if len(rows) else np.zeros(1, dtype=bool)
    return rows[is_same[1:] | is_same[:-1]]


def _rounds(rows: np.ndarray) -> list[tuple[int, int]]:
    """Runs of batches, of so many rows each, whose votes find room together."""
    rounds, begin, total = [], 0, 0
    for batch, count in enumerate(rows.tolist()):
        need = count * _PARTNERS * 8
        if batch > begin and total + need > _VOTE_BYTES:
            rounds.append((begin, batch))
            begin, total = batch, 0
        total += need
    return [*rounds, (begin, len(rows))] if len(rows) else rounds


def _partners(rows: np.ndarray, words: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows with the same word, the first of each among `rows` and the earlier one in its run.

    All pairs of a rare word; of a frequent one each row meets a few others, that differ from word to word. `words` are
    those of all rows, sorted.
    """
    if not len(rows):
        return
    is_new = np.concatenate([[True], words[1:] != words[:-1]])
    starts = np.flatnonzero(is_new)
    sizes = np.diff(np.append(starts, len(words)))
    run = np.cumsum(is_new)[rows] - 1
    start, size = starts[run], sizes[run]
    inside, half = rows - start, size // 2
    turn = _turned(words[rows]) >> 8
    for step in range(_PARTNERS):
        active = np.flatnonzero(half > step)
        if not len(active):
            return
        place, count, distance = inside[active], size[active], half[active]
        stride = 1 + (turn[active] + step * np.maximum(1, distance // _PARTNERS)) % distance
        for other, is_new_pair in (
            ((place + stride) % count, True),
            ((place - stride) % count, 2 * stride != count),  # or both ways lead to the same row
        ):
            taken = (other > place) & is_new_pair
            yield rows[active[taken]], (start[active] + other)[taken]
