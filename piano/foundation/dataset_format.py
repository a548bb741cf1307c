"""The two folders between music and learning: their file names, axis orders and manifests.

`prepared/` holds songs cut into chunks, one .npy each; `dataset/` holds pairs of neighbouring segments, one
.npy for training and one for validation. docs/data-format.md describes both for readers without this code.
"""

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from piano.foundation.errors import DatasetError
from piano.foundation.made_files import write_json
from piano.foundation.screen_text import printable

FORMAT_VERSION = 1
"""Of a prepared folder."""
DATASET_VERSION = 3
"""Of a data set folder. Versions 1 (without the song of every pair) and 2 (without hashes) are still read."""
MANIFEST_NAME = "manifest.json"
Split = Literal["training", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class ChunkEntry:
    """One chunk file: float32 of shape (channels, samples), finite, within [-1, 1]."""

    file: str
    """Name inside the song's folder."""
    start_sample: int
    """Where in the song it begins; the last chunk may overlap the one before."""
    samples: int


@dataclass(frozen=True, kw_only=True)
class SongEntry:
    """One prepared song."""

    source: str
    """Path inside the music folder, with forward slashes."""
    size: int
    """Of the source, in bytes."""
    mtime_ns: int
    """When the source was last changed."""
    sha256: str
    """Of the source's bytes."""
    folder: str
    """Inside the prepared folder."""
    source_sample_rate: int
    """Before resampling."""
    source_channels: int
    samples: int
    """Of the whole song at the prepared rate, per channel."""
    seconds: float
    loudness_db: float
    """Root mean square of the source without its silent stretches, in dB below full scale, before levelling."""
    peak_db: float
    """Largest sample of the source in dB, before levelling."""
    gain_db: float
    """What levelling added."""
    silence_share: float
    """Part of the song that is silent, 0 to 1."""
    chunks: tuple[ChunkEntry, ...]
    notes: tuple[str, ...] = ()
    """What was odd about the source."""
    group: str = ""
    """Songs of one group are the same recording; a split never separates them."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that gave no chunk."""

    source: str
    reason: str
    """One of data_prep's reason codes: unreadable, too_short, silent, duplicate ..."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What the chunks depend on, besides the music."""

    sample_rate: int
    channels: int
    chunk_seconds: float
    min_seconds: float

    @property
    def chunk_samples(self) -> int:
        """Samples of a full chunk."""
        return round(self.chunk_seconds * self.sample_rate)


@dataclass(frozen=True, kw_only=True)
class PreparedManifest:
    """What is in a prepared folder."""

    settings: PrepareSettings
    music_folder: str
    """Where the music was when it was prepared."""
    songs: tuple[SongEntry, ...]
    left_out: tuple[LeftOut, ...] = ()
    grouping: str = ""
    """How the groups were found; where it is another text, they are looked for again."""
    version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class DatasetManifest:
    """What is in a data set folder."""

    sample_rate: int
    channels: int
    segment_samples: int
    """Samples of one segment; a pair has two of them, one after the other in the song."""
    seed: int
    validation_fraction: float
    """What was asked for; the pairs say what it became."""
    pairs: dict[str, int]
    """Number of pairs by split."""
    songs: dict[str, tuple[str, ...]]
    """Sources by split."""
    groups: dict[str, tuple[str, ...]]
    """Song groups by split; no group is in both."""
    too_short: tuple[str, ...] = ()
    """Sources shorter than one pair."""
    pair_songs: dict[str, tuple[int, ...]] | None = None
    """Song of every pair by split, in the order of the pairs: its place in `songs`. None: not known (version 1)."""
    song_groups: dict[str, tuple[int, ...]] | None = None
    """Recording of every song by split: its place in `groups`. None: not known (version 1)."""
    pair_starts: dict[str, tuple[int, ...]] | None = None
    """Where every pair begins in its song, in samples. None: not known (versions 1 and 2)."""
    sha256: dict[str, tuple[str, ...]] | None = None
    """Of the file of every song by split; of joined files, the hash of their hashes. None: not known."""
    prepared_folder: str = ""
    """Which prepared folder it was made from, as an absolute path; empty: not known."""
    silent_pairs: int = 0
    """Pairs that were not written because both halves are silent."""
    is_split_inside: bool = False
    """Whether validation is the end of the one recording whose beginning is in training."""
    joined: tuple[tuple[str, ...], ...] = ()
    """Short files that were put one after the other into a recording: the sources of each."""
    version: int = DATASET_VERSION

    @property
    def segment_seconds(self) -> float:
        """Length of one segment."""
        return self.segment_samples / self.sample_rate

    def pair_labels(self, split: str) -> list[str] | None:
        """The recording each pair was cut from (two copies of one recording share it), or None if nobody wrote it."""
        if self.pair_songs is None or self.song_groups is None:
            return None
        recordings = [self.groups[split][place] for place in self.song_groups[split]]
        return [recordings[song] for song in self.pair_songs[split]]


def dataset_identity(manifest: DatasetManifest) -> str:
    """A hash of what is in a data set and in which order: equal for two that give the same lesson, wherever they lie.

    Songs count by the hash of their file, so a renamed song changes nothing; by name where no hash is known (versions
    1 and 2). Another side, another order, or one pair more make another identity.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    content = {
        "format": [manifest.sample_rate, manifest.channels, manifest.segment_samples],
        "pairs": [manifest.pairs[split] for split in SPLITS],
        "songs": [_song_keys(manifest, split) for split in SPLITS],
        "pair_songs": manifest.pair_songs and [manifest.pair_songs[split] for split in SPLITS],
        "pair_starts": manifest.pair_starts and [manifest.pair_starts[split] for split in SPLITS],
        "seed": None if manifest.pair_songs and manifest.pair_starts else manifest.seed,
    }
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()


def recording_sides(manifest: DatasetManifest) -> dict[str, str]:
    """On which side every song is.

    Returns
    -------
    dict of str to str
        The hash of a song's file (its name, where no hash is known) -> `training`, `validation`, or `both`
        (`is_split_inside`).
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        for key in _song_keys(manifest, split):
            sides[key] = split if sides.get(key, split) == split else "both"
    return sides


def changed_sides(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Songs that one data set trains on and the other validates with: keys of `recording_sides`, sorted."""
    return sorted(key for key in before.keys() & now.keys() if before[key] != now[key])


def _song_keys(manifest: DatasetManifest, split: str) -> tuple[str, ...]:
    return (manifest.songs if manifest.sha256 is None else manifest.sha256)[split]


def set_path(folder: Path | str, split: str) -> Path:
    """Path of the pairs of a split: training_set.npy or validation_set.npy."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    return Path(folder) / f"{split}_set.npy"


def manifest_path(folder: Path | str) -> Path:
    """Path of the manifest, in a prepared folder as in a data set folder."""
    return Path(folder) / MANIFEST_NAME


def read_manifest(folder: Path | str) -> DatasetManifest:
    """What is in a data set folder.

    Raises
    ------
    DatasetError
        If there is no finished data set, or one of another version.
    """
    return _read(DatasetManifest, folder, hint="Make one with create_dataset.py.")


def write_manifest(folder: Path | str, manifest: DatasetManifest) -> None:
    """Write a data set's manifest; the last step of making one."""
    write_json(
        manifest_path(folder), {**dataclasses.asdict(manifest), "identity": dataset_identity(manifest)}
    )


def read_prepared_manifest(folder: Path | str) -> PreparedManifest:
    """What is in a prepared folder; raises DatasetError."""
    return _read(PreparedManifest, folder, hint="Make one with prepare_dataset.py.")


def write_prepared_manifest(folder: Path | str, manifest: PreparedManifest) -> None:
    """Write a prepared folder's manifest; the last step of a preparation."""
    write_json(manifest_path(folder), dataclasses.asdict(manifest))


def open_pairs(folder: Path | str, split: str) -> np.memmap:
    """Map the pairs of a split into memory without reading them.

    Returns
    -------
    np.memmap [shape=(pairs, 2, channels, samples)]
        float32, read-only; [i, 0] is a segment and [i, 1] the one that follows it in the song.

    Raises
    ------
    DatasetError
        If the file is missing, damaged or not what the manifest says.
    """
    path = set_path(folder, split)
    manifest = read_manifest(folder)
    expected = (manifest.pairs[split], 2, manifest.channels, manifest.segment_samples)
    pairs = read_array(path, mapped=True, hint="Make it again with create_dataset.py.")
    if not isinstance(pairs, np.memmap) or pairs.dtype != np.float32 or pairs.shape != expected:
        raise DatasetError(
            f"{path} holds {pairs.dtype} of shape {pairs.shape}, its manifest says float32 of shape {expected}. "
            "Make it again with create_dataset.py."
        )
    return pairs


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
    path = Path(folder) / song.folder / chunk.file
    samples = read_array(path, mapped=mapped, hint="Run prepare_dataset.py again.")
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[1] != chunk.samples:
        raise DatasetError(f"{path} is not the chunk its manifest describes. Run prepare_dataset.py again.")
    return samples


def read_array(path: Path, *, mapped: bool, hint: str) -> np.ndarray:
    """The array of a .npy file; no pickled object is ever loaded, and no header is believed beyond the file's end.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, or no .npy file of plain numbers; `hint` ends the sentence.
    """
    try:
        with open(path, "rb") as stream:
            shape, kind = _read_array_header(stream)
            if kind.hasobject:
                raise ValueError("it holds Python objects, not numbers: refused")
            claimed = math.prod(shape) * kind.itemsize
            if min(shape, default=0) < 0 or claimed > os.fstat(stream.fileno()).st_size - stream.tell():
                raise ValueError("its header claims more numbers than the file holds")
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise DatasetError(f"cannot open {path}: there is no such file. {hint}") from None
    except Exception as error:  # bytes that nobody vouches for can fail in any way
        reason = printable(" ".join(str(error).split())[:120]) or type(error).__name__
        raise DatasetError(f"cannot open {path}: {reason}. {hint}") from None


def _read_array_header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of number; raises ValueError."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, _, kind = readers[np.lib.format.read_magic(stream)](stream)
    except Exception:  # numpy's reader of headers fails in a dozen ways
        raise ValueError("its header describes no array of numbers") from None
    return shape, kind


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file; unlike `np.save`, a full disk raises an OSError that says so."""
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(np.ascontiguousarray(array).data)


def song_from_dict(values: dict[str, Any]) -> SongEntry:
    """A SongEntry from what `dataclasses.asdict` and JSON made of it; raises TypeError if fields are wrong."""
    chunks = tuple(ChunkEntry(**chunk) for chunk in values["chunks"])
    return SongEntry(**{**values, "chunks": chunks, "notes": tuple(values["notes"])})


def _prepared_from_dict(values: dict[str, Any]) -> PreparedManifest:
    return PreparedManifest(
        **{
            **values,
            "settings": PrepareSettings(**values["settings"]),
            "songs": tuple(song_from_dict(song) for song in values["songs"]),
            "left_out": tuple(LeftOut(**entry) for entry in values["left_out"]),
        }
    )


def _dataset_from_dict(values: dict[str, Any]) -> DatasetManifest:
    songs = {split: tuple(names) for split, names in values["songs"].items()}
    groups = {split: tuple(names) for split, names in values["groups"].items()}
    places = {name: _places(values, name) for name in ("pair_songs", "song_groups", "pair_starts")}
    hashes = values.get("sha256") and {split: tuple(values["sha256"][split]) for split in SPLITS}
    joined = tuple(tuple(names) for names in values.get("joined", ()))
    values = {name: value for name, value in values.items() if name != "identity"}  # always computed
    counts = (
        values["sample_rate"],
        values["channels"],
        values["segment_samples"],
        *map(values["pairs"].get, SPLITS),
    )
    if any(type(count) is not int or not 0 <= count < 2**40 for count in counts):
        raise ValueError("rates, channels, samples and pairs are numbers")
    manifest = DatasetManifest(
        **{
            **values,
            "songs": songs,
            "groups": groups,
            "too_short": tuple(values["too_short"]),
            **places,
            "sha256": hashes,
            "joined": joined,
        }
    )
    for split in SPLITS:
        labels = manifest.pair_labels(split)
        if labels is not None and len(labels) != manifest.pairs[split]:
            raise ValueError("as many labels as pairs are needed")
    return manifest


def _places(values: dict[str, Any], name: str) -> dict[str, tuple[int, ...]] | None:
    """Indices by split, none below 0; None where there are none (version 1)."""
    if values.get(name) is None:
        return None
    places = {split: tuple(values[name][split]) for split in SPLITS}
    if any(place < 0 for split in SPLITS for place in places[split]):
        raise ValueError(f"{name} holds a negative index")
    return places


def _read(kind: Any, folder: Path | str, *, hint: str) -> Any:
    path = manifest_path(folder)
    build = _dataset_from_dict if kind is DatasetManifest else _prepared_from_dict
    try:
        values = json.loads(path.read_text(encoding="ascii"))
        values["pairs" if kind is DatasetManifest else "settings"]  # of the other kind: KeyError
        readable = (1, 2, DATASET_VERSION) if kind is DatasetManifest else (FORMAT_VERSION,)
        if values["version"] not in readable:
            raise DatasetError(
                f"{path} has format version {values['version']}, this program reads "
                f"{', '.join(map(str, readable))}. {hint}"
            )
        manifest = build(values)
    except FileNotFoundError:
        raise DatasetError(f"there is no {path}. {hint}") from None
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise DatasetError(f"{path} is not a manifest of this program. {hint}") from None
    return manifest
