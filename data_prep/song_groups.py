"""Which prepared songs stay on one side of a split: copies of one recording, stems of one song, or whole folders."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_prep.prepare_song import FINGERPRINT_NAME, WORK_FOLDER
from data_prep.shard_index import fingerprints_path
from piano.foundation.dataset_format import PreparedManifest
from piano.foundation.errors import DatasetError
from piano.foundation.fingerprint import FINGERPRINT_VERSION, find_same_recordings, fingerprint_length
from piano.foundation.npy_files import read_array
from piano.foundation.prepared_song import SongEntry

GROUPINGS = ("recording", "folder", "top-folder")
"""Copies of a recording and stems; also all files of a folder; also all files below a folder of the first level."""

_STEM_WORDS = frozenset(
    re.findall(
        r"\w+",
        """accompaniment backing bass beat brass chords drum drums fx guitar guitars harmony instrumental keys lead
        master melody mix mixture novocals other others pad pads percussion perc piano rest rhythm strings synth synths
        vocal vocals voice vox""",
    )
)
_FILLERS = frozenset(("no", "minus", "stem", "stems", "only", "kit"))
_STEM_FOLDERS = frozenset(("stem", "stems", "multitrack", "multitracks"))
"""A folder of this name holds stems; their mix may lie beside the folder, under any name."""
_STEMS = "/"
"""In place of a name; no name holds it."""
_STEM_RULES = 2
"""Version of the rules by which stems are recognised."""
_HELD_FINGERPRINTS = 2_000
"""About 13 KB each."""
_STEM_SECONDS = 5.0
"""Shorter files of equal length are the hits and loops of a sample pack rather than stems of one song."""


def grouping_key(group_by: str) -> str:
    """A short text that differs when the groups could differ for the same songs."""
    return f"{group_by} {FINGERPRINT_VERSION}.{_STEM_RULES}"


def with_groups(
    songs: list[SongEntry], before: PreparedManifest | None, output: Path, *, group_by: str = "recording"
) -> tuple[SongEntry, ...]:
    """The songs, each with the name of the first song of its group.

    Parameters
    ----------
    songs : list of SongEntry
        In the order of their names.
    before : PreparedManifest, optional
        Of the last run: of the same songs the groups are not looked for again.
    output : Path
        The prepared folder, where the fingerprints lie.
    group_by : str
        One of `GROUPINGS`.
    """
    if (
        before is not None
        and before.grouping == grouping_key(group_by)
        and [song.folder for song in before.songs] == [song.folder for song in songs]
    ):
        groups = [song.group for song in before.songs]
    else:
        groups = [songs[leader].source for leader in _leaders(songs, output, group_by)]
    return tuple(dataclasses.replace(song, group=group) for song, group in zip(songs, groups, strict=True))


def is_whole_fingerprint(output: Path, song: SongEntry, sample_rate: int) -> bool:
    """Whether a fingerprint on disk reaches to the end of its song; earlier versions stopped after 20 minutes."""
    wanted = fingerprint_length(song.samples, sample_rate)
    if song.fingerprint_words is not None:
        first, end = song.fingerprint_words
        return end - first >= wanted
    try:
        return (output / song.folder / FINGERPRINT_NAME).stat().st_size >= 4 * wanted
    except OSError:
        return False


def _leaders(songs: list[SongEntry], output: Path, group_by: str) -> list[int]:
    """For every song the index of the first of its group."""
    scratch = output / WORK_FOLDER
    scratch.mkdir(exist_ok=True)
    leaders = find_same_recordings(_Fingerprints(output, songs), scratch=scratch)
    leaders = _join(leaders, _stem_keys(songs))
    if group_by == "folder":
        leaders = _join(leaders, (song.source.rpartition("/")[0] for song in songs))
    elif group_by == "top-folder":
        leaders = _join(leaders, ("/" in song.source and song.source.partition("/")[0] for song in songs))
    return leaders


def _join(leaders: list[int], keys: Iterable[object]) -> list[int]:
    """The groups after all songs of equal key are put together; a key of None joins nothing."""
    leaders = list(leaders)

    def find(index: int) -> int:
        while leaders[index] != index:
            index = leaders[index]
        return index

    first: dict[object, int] = {}
    for index, key in enumerate(keys):
        if key is not None:
            one, other = sorted((find(index), find(first.setdefault(key, index))))
            leaders[other] = one
    return [find(index) for index in range(len(leaders))]


def _stem_keys(songs: list[SongEntry]) -> list[tuple[str, str, int] | None]:
    """What stems share with their mix: folder, name without the stem's word, exact length. None for other songs."""
    keys, of_stems = [], set()
    in_folders = {(_above(folder), song.samples) for song in songs if _above(folder := _folder_of(song)) is not None}
    for song in songs:
        folder, name = _folder_of(song), song.source.rpartition("/")[2]
        words = [word for word in re.split(r"[\s_.,()\[\]-]+", name.rpartition(".")[0].casefold()) if word]
        if song.seconds < _STEM_SECONDS or not words:
            keys.append(None)
            continue
        above = _above(folder)
        if above is not None or (folder, song.samples) in in_folders:
            keys.append((folder if above is None else above, _STEMS, song.samples))
            of_stems.add(keys[-1])
            continue
        others = [word for word in words if word not in _STEM_WORDS and word not in _FILLERS]
        keys.append((folder, " ".join(others), song.samples))
        if not _STEM_WORDS.isdisjoint(words):
            of_stems.add(keys[-1])
    return [key if key in of_stems else None for key in keys]


def _folder_of(song: SongEntry) -> str:
    return song.source.rpartition("/")[0]


def _above(folder: str) -> str | None:
    """The folder that holds a folder of stems; None for other folders."""
    above, _, name = folder.rpartition("/")
    return above if name.casefold() in _STEM_FOLDERS else None


class _Fingerprints(Sequence[np.ndarray]):
    """Fingerprints on the disk, of which the last ones asked for are in memory."""

    def __init__(self, output: Path, songs: list[SongEntry]) -> None:
        self._output, self._songs = output, songs
        self._read = lru_cache(maxsize=_HELD_FINGERPRINTS)(self._fingerprint)

    def __len__(self) -> int:
        return len(self._songs)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return self._read(index)

    def _fingerprint(self, index: int) -> np.ndarray:
        song = self._songs[index]
        if song.shard is None or song.fingerprint_words is None:
            return _read_words(self._output / song.folder / FINGERPRINT_NAME)
        first, end = song.fingerprint_words
        return _read_words(fingerprints_path(self._output, song.shard), slice(first, end))


def read_fingerprints(output: Path, songs: Iterable[SongEntry]) -> Iterator[np.ndarray]:
    """The fingerprint of every song [shape=(frames,)]; raises DatasetError where one is missing or damaged."""
    held: dict[str, np.ndarray] = {}  # what is given out are views of it
    for song in songs:
        if song.shard is None or song.fingerprint_words is None:
            yield _read_words(output / song.folder / FINGERPRINT_NAME)
            continue
        if song.shard not in held:
            held[song.shard] = _read_words(fingerprints_path(output, song.shard))
        first, end = song.fingerprint_words
        yield held[song.shard][first:end]


def _read_words(path: Path, part: slice | None = None) -> np.ndarray:
    hint = "Delete its folder and prepare the music again."
    words = read_array(path, mapped=part is not None, hint=hint)
    if words.dtype != np.uint32 or words.ndim != 1:
        raise DatasetError(f"{path} is no fingerprint. {hint}")
    return words if part is None else words[part].copy()
