"""The two folders between music and learning: their file names, axis orders and manifests.

`prepared/` holds songs in shards; `dataset/` holds the same shards and says which stretches of them are pairs of
neighbouring segments, or holds the pairs themselves. docs/data-format.md describes both for readers without this code.
"""

import dataclasses
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from piano.foundation import bounds
from piano.foundation.dataset_identity import dataset_identity
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import write_json
from piano.foundation.npy_files import read_array
from piano.foundation.pair_index import SPLITS, PairColumn, PairLabels, pairs_path
from piano.foundation.prepared_song import (
    LeftOut,
    SongEntry,
    check_names,
    check_texts,
    left_out_from_dict,
    song_from_dict,
)
from piano.foundation.screen_text import printable
from piano.foundation.shard_pairs import ShardPairs
from piano.foundation.sound_names import sounds_below

FORMAT_VERSION = 2
"""Of a prepared folder. Version 1 (chunks of floats in a folder a song) is still read."""
DATASET_VERSION = 4
"""Of a data set folder whose pairs lie in shards. Versions 1 (without the song of every pair) and 2 (without hashes)
are still read."""
ARRAYS_VERSION = 3
"""Of a data set folder whose pairs are an array for each split."""
MANIFEST_NAME = "manifest.json"
_MANIFEST_BYTES = 1 << 30
"""A larger manifest is not ours: ten thousand hours make 100 MB."""


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What the sound depends on, besides the music."""

    sample_rate: int
    channels: int
    chunk_seconds: float
    """How much of a song is held at once while it is prepared; no sample depends on it."""
    min_seconds: float

    @property
    def chunk_samples(self) -> int:
        """Samples that are held at once."""
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
    pair_songs: Mapping[str, Sequence[int]] | None = None
    """Song of every pair by split, in the order of the pairs: its place in `songs`. None: not known (version 1)."""
    song_groups: dict[str, tuple[int, ...]] | None = None
    """Recording of every song by split: its place in `groups`. None: not known (version 1)."""
    pair_starts: Mapping[str, Sequence[int]] | None = None
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
    shards: tuple[str, ...] = ()
    """Files that hold the songs; none where the pairs are arrays of their own."""
    version: int = ARRAYS_VERSION

    @property
    def segment_seconds(self) -> float:
        """Length of one segment."""
        return self.segment_samples / self.sample_rate

    def pair_labels(self, split: str) -> Sequence[str] | None:
        """The recording each pair was cut from (two copies of one recording share it), or None if nobody wrote it."""
        if self.pair_songs is None or self.song_groups is None:
            return None
        recordings = [self.groups[split][place] for place in self.song_groups[split]]
        return PairLabels(recordings, self.pair_songs[split])


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
    """Write a data set's manifest; the last step of making one. With shards, the pairs have files of their own."""
    values = dict(vars(manifest))
    numbers = {name: values.pop(name) for name in ("pair_songs", "pair_starts")}
    if not manifest.shards:
        del values["shards"]
        values |= {name: by and {split: list(by[split]) for split in SPLITS} for name, by in numbers.items()}
    write_json(manifest_path(folder), {**values, "identity": dataset_identity(manifest)})


def read_prepared_manifest(folder: Path | str) -> PreparedManifest:
    """The manifest of a prepared folder; raises DatasetError."""
    return _read(PreparedManifest, folder)


def write_prepared_manifest(folder: Path | str, manifest: PreparedManifest) -> None:
    """Write a prepared folder's manifest; the last step of a preparation."""
    write_json(manifest_path(folder), dataclasses.asdict(manifest))


def open_pairs(folder: Path | str, split: str) -> np.memmap | ShardPairs:
    """The pairs of a split, without reading them.

    Returns
    -------
    np.memmap or ShardPairs [shape=(pairs, 2, channels, samples)]
        float32, read-only; [i, 0] is a segment and [i, 1] the one that follows it in the song.

    Raises
    ------
    DatasetError
        If the file is missing, damaged or not what the manifest says.
    """
    path = set_path(folder, split)
    manifest = read_manifest(folder)
    hint = _remake_hint(folder, manifest)
    if manifest.shards:
        return ShardPairs(
            Path(folder),
            split,
            pairs=manifest.pairs[split],
            songs=len(manifest.songs[split]),
            channels=manifest.channels,
            segment_samples=manifest.segment_samples,
            shards=manifest.shards,
            hint=hint,
        )
    expected = (manifest.pairs[split], 2, manifest.channels, manifest.segment_samples)
    pairs = read_array(path, mapped=True, hint=hint)
    if not isinstance(pairs, np.memmap) or pairs.dtype != np.float32 or pairs.shape != expected:
        raise DatasetError(
            f"{path} holds {pairs.dtype} of shape {pairs.shape}, its manifest says float32 of shape {expected}. {hint}"
        )
    return pairs


def _remake_hint(folder: Path | str, manifest: DatasetManifest) -> str:
    return f"Make it again with `{dataset_command(folder, manifest)}`."


def _with_index(folder: Path | str, manifest: DatasetManifest) -> DatasetManifest:
    """A manifest of pairs in shards, with the numbers of the pairs, which are read when they are asked for."""
    hint = _remake_hint(folder, manifest)
    songs, starts = (
        {
            split: PairColumn(pairs_path(folder, split), column, manifest.pairs[split], below[split], hint=hint)
            for split in SPLITS
        }
        for column, below in enumerate(
            ({split: len(manifest.songs[split]) for split in SPLITS}, dict.fromkeys(SPLITS, 2**40))
        )
    )
    return dataclasses.replace(manifest, pair_songs=songs, pair_starts=starts)


def dataset_command(folder: Path | str, manifest: DatasetManifest | None = None) -> str:
    """The command that makes the data set of a folder, from the prepared folder of its manifest if that is known."""
    source = ("--input", Path(manifest.prepared_folder)) if manifest and manifest.prepared_folder else ()
    return command("dataset", *source, "--output", Path(folder))


def prepare_command(folder: Path | str, manifest: PreparedManifest | None = None) -> str:
    """The command that makes a prepared folder, from the music of its manifest if that is known."""
    music = manifest.music_folder if manifest else "MUSIC_FOLDER"
    if manifest and "://" not in music:  # of an address, a path would lose a slash
        music = Path(music)
    return command("prepare", music, "--output", Path(folder))


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
    check_texts(values["music_folder"])
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
    shards = tuple(values.get("shards", ()))
    too_short = tuple(values["too_short"])
    prepared_folder = values.get("prepared_folder", "")
    for names in (*songs.values(), *groups.values(), *(hashes or {}).values(), *joined.values(), too_short):
        check_texts(*names)
    check_texts(prepared_folder)
    check_names(*shards)
    if bool(shards) != (values["version"] == DATASET_VERSION) or (shards and places["pair_songs"]):
        raise ValueError("pairs lie in shards from version 4 on")
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
            "shards": shards,
        }
    )
    if (manifest.pair_songs is None and not shards) != (manifest.song_groups is None):
        raise ValueError("pair_songs and song_groups come together")
    for split in SPLITS:
        labels = manifest.pair_labels(split)
        starts = manifest.pair_starts and manifest.pair_starts[split]
        for found in (labels and list(labels), starts):
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


def read_json_object(path: Path) -> dict[str, Any]:
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
    readable = (1, 2, ARRAYS_VERSION, DATASET_VERSION) if is_dataset else (1, FORMAT_VERSION)
    shown = printable(path)
    try:
        values = read_json_object(path)
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
        if not is_dataset:
            return _prepared_from_dict(values)
        manifest = _dataset_from_dict(values)
        return _with_index(folder, manifest) if manifest.shards else manifest
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
