"""The two folders between music and learning: their file names, axis orders and manifests.

`prepared/` holds songs cut into chunks, one .npy each; `dataset/` holds pairs of neighbouring segments, one
.npy for training and one for validation. docs/data-format.md describes both for readers without this code.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, get_args

import numpy as np

from piano.foundation import bounds
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import write_json
from piano.foundation.screen_text import printable
from piano.foundation.sound_names import sounds_below

FORMAT_VERSION = 1
"""Of a prepared folder."""
DATASET_VERSION = 3
"""Of a data set folder. Versions 1 (without the song of every pair) and 2 (without hashes) are still read."""
MANIFEST_NAME = "manifest.json"
_MANIFEST_BYTES = 1 << 30
"""A larger manifest is not ours: ten thousand hours make 100 MB."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
"""Folder of a song and file of a chunk: no separators, no drives, no dots in front, so never outside the folder."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Songs that are short files put one after the other: the sources of each."""
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
    return _read(DatasetManifest, folder)


def write_manifest(folder: Path | str, manifest: DatasetManifest) -> None:
    """Write a data set's manifest; the last step of making one."""
    write_json(manifest_path(folder), {**dataclasses.asdict(manifest), "identity": dataset_identity(manifest)})


def read_prepared_manifest(folder: Path | str) -> PreparedManifest:
    """The manifest of a prepared folder; raises DatasetError."""
    return _read(PreparedManifest, folder)


def write_prepared_manifest(folder: Path | str, manifest: PreparedManifest) -> None:
    """Write a prepared folder's manifest; the last step of a preparation."""
    write_json(manifest_path(folder), dataclasses.asdict(manifest))


class FolderKind(NamedTuple):
    """What the manifest in a folder is of, as far as it can be told without believing the rest of it."""

    name: str
    """`prepared` or `data set`."""
    version: int


def folder_kind(folder: Path | str) -> FolderKind | None:
    """What a folder holds, by its manifest; None if there is no readable manifest."""
    try:
        values = _read_json(manifest_path(folder))
        name = "data set" if "pairs" in values else "prepared" if "settings" in values else ""
        version = values["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return FolderKind(name, version) if name and type(version) is int else None


def refuse_to_write_over(folder: Path, wanted: str) -> None:
    """Raise a DatasetError where a folder holds the other kind of data, or was made by a newer version.

    Parameters
    ----------
    folder : Path
    wanted : str
        `prepared` or `data set`: what is to be written there.
    """
    kind = folder_kind(folder)
    if kind is None:
        _refuse_foreign_files(folder, wanted)
        return
    if kind.name != wanted:
        held = "a data set" if kind.name == "data set" else "a prepared folder"
        raise DatasetError(f"{printable(folder)} is {held}. Choose another folder with --output.")
    newest = DATASET_VERSION if wanted == "data set" else FORMAT_VERSION
    if kind.version > newest:
        raise DatasetError(
            f"{printable(folder)} was made by a newer MusiGAN (format version {kind.version}), which this one "
            "would destroy. Update MusiGAN, or choose another folder with --output."
        )


def _refuse_foreign_files(folder: Path, wanted: str) -> None:
    """Raise a DatasetError for files of others under our names; what a killed run left half written is ours."""
    names = [MANIFEST_NAME]
    names += (
        ["report.json", "report.csv"] if wanted == "prepared" else [set_path(folder, split).name for split in SPLITS]
    )
    for name in names:
        path = folder / name
        try:
            is_foreign = path.is_file() and _is_foreign(path)
        except OSError:
            continue
        if is_foreign:
            raise DatasetError(
                f"{printable(path)} is there already and was not made by this program. "
                "Choose another folder with --output."
            )


def _is_foreign(path: Path) -> bool:
    """Whether a file holds something whole that this program never writes under its name."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 20)
    if path.suffix == ".npy":
        return bool(start) and not np.lib.format.MAGIC_PREFIX.startswith(start[:6])
    if path.suffix == ".csv":
        return bool(start) and not start.startswith(b"source,")
    try:
        values = json.loads(start)
    except (ValueError, RecursionError):
        return False  # cut off, or damaged
    ours = {"version", "songs"} if path.name == MANIFEST_NAME else {"summary", "files"}
    return not (isinstance(values, dict) and ours & values.keys())


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
    hint = f"Make it again with `{dataset_command(folder, manifest)}`."
    expected = (manifest.pairs[split], 2, manifest.channels, manifest.segment_samples)
    pairs = read_array(path, mapped=True, hint=hint)
    if not isinstance(pairs, np.memmap) or pairs.dtype != np.float32 or pairs.shape != expected:
        raise DatasetError(
            f"{path} holds {pairs.dtype} of shape {pairs.shape}, its manifest says float32 of shape {expected}. {hint}"
        )
    return pairs


def dataset_command(folder: Path | str, manifest: DatasetManifest | None = None) -> str:
    """The command that makes the data set of a folder, from the prepared folder of its manifest if that is known."""
    source = ("--input", Path(manifest.prepared_folder)) if manifest and manifest.prepared_folder else ()
    return command("dataset", *source, "--output", Path(folder))


def prepare_command(folder: Path | str, manifest: PreparedManifest | None = None) -> str:
    """The command that makes a prepared folder, from the music of its manifest if that is known."""
    music = Path(manifest.music_folder) if manifest else "MUSIC_FOLDER"
    return command("prepare", music, "--output", Path(folder))


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


class ArrayLayout(NamedTuple):
    """What the header of a .npy file says."""

    shape: tuple[int, ...]
    is_fortran: bool
    kind: np.dtype


def read_array(path: Path, *, mapped: bool, hint: str) -> np.ndarray:
    """The array of a .npy file; no pickled object is ever loaded, and no header is believed beyond the file's end.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, or no .npy file of plain numbers; `hint` ends the sentence.
    """
    stream, _ = open_array(path, hint=hint)
    stream.close()
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # bytes that nobody vouches for can fail in any way
        raise _unopened(path, error, hint) from None


def open_array(path: Path, *, hint: str) -> tuple[BinaryIO, ArrayLayout]:
    """A .npy file of plain numbers, open at its first number, and what its header says.

    Raises
    ------
    DatasetError
        As `read_array`.
    """
    try:
        # A pipe would be waited for, a device never ends.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no file")
        stream = open(path, "rb")  # noqa: SIM115 (the caller closes it)
        try:
            layout = _read_array_header(stream)
            if layout.kind.hasobject:
                raise ValueError("it holds Python objects, not numbers: refused")
            claimed = math.prod(layout.shape) * layout.kind.itemsize
            if min(layout.shape, default=0) < 0 or claimed > os.fstat(stream.fileno()).st_size - stream.tell():
                raise ValueError("its header claims more numbers than the file holds")
        except BaseException:
            stream.close()
            raise
    except Exception as error:  # bytes that nobody vouches for can fail in any way
        raise _unopened(path, error, hint) from None
    return stream, layout


def _unopened(path: Path, error: Exception, hint: str) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"cannot open {path}: there is no such file. {hint}")
    reason = printable(" ".join(str(error).split())[:120]) or type(error).__name__
    return DatasetError(f"cannot open {path}: {reason}. {hint}")


def _read_array_header(stream: BinaryIO) -> ArrayLayout:
    """Shape, order and kind of number; raises ValueError."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, is_fortran, kind = readers[np.lib.format.read_magic(stream)](stream)
    except Exception:  # numpy's reader of headers fails in a dozen ways
        raise ValueError("its header describes no array of numbers") from None
    return ArrayLayout(shape, is_fortran, kind)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file; unlike `np.save`, a full disk raises an OSError that says so."""
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(np.ascontiguousarray(array).data)


def song_from_dict(values: dict[str, Any]) -> SongEntry:
    """A SongEntry from what `dataclasses.asdict` and JSON made of it.

    Raises
    ------
    ValueError, TypeError, KeyError
        If a field is missing, of another type or beyond its bounds.
    """
    chunks = tuple(ChunkEntry(**chunk) for chunk in values["chunks"])
    song = SongEntry(**{**values, "chunks": chunks, "notes": tuple(values["notes"])})
    for name, bound in _SONG_BOUNDS.items():
        bound.check(getattr(song, name), name)
    _check_texts(song.source, song.folder, song.group, song.sha256, *song.notes)
    if not song.source or not _SHA256.fullmatch(song.sha256):
        raise ValueError("source and sha256 say which file it is")
    if not all(_PLAIN_NAME.fullmatch(name) for name in (song.folder, *(chunk.file for chunk in chunks))):
        raise ValueError("folder and chunk files are plain names")
    covered = 0
    for chunk in chunks:
        bounds.SAMPLES.check(chunk.start_sample, "start_sample")
        bounds.SAMPLES.check(chunk.samples, "samples")
        if not chunk.start_sample <= covered < chunk.start_sample + chunk.samples:
            raise ValueError("every chunk begins in the one before, or right after it, and goes on")
        covered = chunk.start_sample + chunk.samples
    if covered != song.samples or not chunks:
        raise ValueError("the chunks end with the song")
    return song


_SONG_BOUNDS = {
    "size": bounds.FILE_BYTES,
    "mtime_ns": bounds.TIME_NS,
    "source_sample_rate": bounds.SOURCE_RATE,
    "source_channels": bounds.SOURCE_CHANNELS,
    "samples": bounds.SAMPLES,
    "seconds": bounds.SONG_SECONDS,
    "loudness_db": bounds.DECIBELS,
    "peak_db": bounds.DECIBELS,
    "gain_db": bounds.DECIBELS,
    "silence_share": bounds.SHARE,
}


def _check_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("names and notes are texts")


def left_out_from_dict(values: dict[str, Any]) -> LeftOut:
    """A LeftOut from JSON; raises TypeError if fields are wrong."""
    entry = LeftOut(**values)
    _check_texts(entry.source, entry.reason, entry.detail)
    return entry


def _prepared_from_dict(values: dict[str, Any]) -> PreparedManifest:
    settings = PrepareSettings(**values["settings"])
    bounds.SAMPLE_RATE.check(settings.sample_rate, "sample_rate")
    bounds.CHANNELS.check(settings.channels, "channels")
    bounds.CHUNK_SECONDS.check(settings.chunk_seconds, "chunk_seconds")
    bounds.MIN_SECONDS.check(settings.min_seconds, "min_seconds")
    songs = tuple(song_from_dict(song) for song in values["songs"])
    for names in ([song.source for song in songs], [song.folder for song in songs]):
        if len(set(names)) != len(names):
            raise ValueError("no two songs share a source or a folder")
    _check_texts(values["music_folder"])
    return PreparedManifest(
        **{
            **values,
            "settings": settings,
            "songs": songs,
            "left_out": tuple(left_out_from_dict(entry) for entry in values["left_out"]),
        }
    )


def _dataset_from_dict(values: dict[str, Any]) -> DatasetManifest:
    songs, groups = ({split: tuple(values[name][split]) for split in SPLITS} for name in ("songs", "groups"))
    places = {name: _places(values, name) for name in ("pair_songs", "song_groups", "pair_starts")}
    hashes = values.get("sha256") and {split: tuple(values["sha256"][split]) for split in SPLITS}
    joined = {name: tuple(parts) for name, parts in values.get("joined", {}).items()}
    too_short = tuple(values["too_short"])
    prepared_folder = values.get("prepared_folder", "")
    for names in (*songs.values(), *groups.values(), *(hashes or {}).values(), *joined.values(), too_short):
        _check_texts(*names)
    _check_texts(prepared_folder)
    if "\0" in prepared_folder:
        raise ValueError("no folder has such a name")
    bounds.SAMPLE_RATE.check(values["sample_rate"], "sample_rate")
    bounds.CHANNELS.check(values["channels"], "channels")
    bounds.SAMPLES.check(values["segment_samples"] - 1, "segment_samples")
    bounds.SHARE.check(values["validation_fraction"], "validation_fraction")
    bounds.SAMPLES.check(values.get("silent_pairs", 0), "silent_pairs")
    for split in SPLITS:
        bounds.SAMPLES.check(values["pairs"][split], "pairs")
    if type(values["seed"]) is not int or type(values.get("is_split_inside", False)) is not bool:
        raise ValueError("seed is a number, is_split_inside is true or false")
    manifest = DatasetManifest(
        **{
            **{name: value for name, value in values.items() if name != "identity"},  # that is always computed
            "songs": songs,
            "groups": groups,
            "too_short": too_short,
            **places,
            "sha256": hashes,
            "joined": joined,
        }
    )
    if (manifest.pair_songs is None) != (manifest.song_groups is None):
        raise ValueError("pair_songs and song_groups come together")
    for split in SPLITS:
        labels = manifest.pair_labels(split)
        starts = manifest.pair_starts and manifest.pair_starts[split]
        for found in (labels, starts):
            if found is not None and len(found) != manifest.pairs[split]:
                raise ValueError("as many labels and starts as pairs are needed")
        if hashes is not None and len(hashes[split]) != len(songs[split]):
            raise ValueError("as many hashes as songs are needed")
    return manifest


def _places(values: dict[str, Any], name: str) -> dict[str, tuple[int, ...]] | None:
    """Whole numbers by split, none below 0; None where there are none (older versions)."""
    if values.get(name) is None:
        return None
    places = {split: tuple(values[name][split]) for split in SPLITS}
    if any(type(place) is not int or place < 0 for split in SPLITS for place in places[split]):
        raise ValueError(f"{name} holds something else than indices")
    return places


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises OSError or ValueError."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MANIFEST_BYTES:  # a pipe would be waited for
        raise ValueError("no manifest")
    values = json.loads(path.read_text(encoding="ascii"))
    if not isinstance(values, dict):
        raise ValueError("no object")
    return values


def _read(kind: Any, folder: Path | str) -> Any:
    path = manifest_path(folder)
    is_dataset = kind is DatasetManifest
    what = "data set" if is_dataset else "prepared folder"
    hint = f"Make one with `{dataset_command(folder) if is_dataset else prepare_command(folder)}`."
    readable = (1, 2, DATASET_VERSION) if is_dataset else (FORMAT_VERSION,)
    shown = printable(path)
    try:
        values = _read_json(path)
        version = values["version"]
        values["pairs" if is_dataset else "settings"]  # of the other kind: KeyError
        if type(version) is int and version > max(readable):
            raise DatasetError(
                f"{shown} was made by a newer MusiGAN (format version {version}; this one reads "
                f"{', '.join(map(str, readable))}). Update MusiGAN, or make another {what}."
            )
        if version not in readable:
            raise DatasetError(
                f"{shown} has format version {version!r:.40}, this program reads "
                f"{', '.join(map(str, readable))}. {hint}"
            )
        return (_dataset_from_dict if is_dataset else _prepared_from_dict)(values)
    except FileNotFoundError:
        if any(sounds_below(folder)):
            raise DatasetError(
                f"{printable(folder)} holds music as it is. Cut it first, then make pairs of it:\n"
                f"  {command('prepare', Path(folder))}\n  {command('dataset')}"
            ) from None
        raise DatasetError(f"there is no {what} in {printable(folder)} (no {MANIFEST_NAME}). {hint}") from None
    except OSError as error:
        raise DatasetError(f"cannot read {shown}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError):
        raise DatasetError(f"{shown} is not a manifest of a {what} that this program can read. {hint}") from None
