"""Music to hold against: songs of a folder of sound files, or of a data set, levelled as prepared music is."""

import hashlib
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.sound_form import SoundForm, common_form, in_form
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.dataset_format import manifest_path, open_pairs, read_manifest
from piano.foundation.decode_log import FAR_BEYOND, NOT_FINITE, DecodeLog
from piano.foundation.errors import AudioError, DatasetError
from piano.foundation.levels import LevelMeter, level_chunk
from piano.foundation.screen_text import counted, printable
from piano.foundation.shard_pairs import ShardPairs

NO_SOUND = {NOT_FINITE, FAR_BEYOND}
logger = logging.getLogger(__name__)
KEY_SAMPLES = 2048


class Song(NamedTuple):
    """A piece of music and what to call it."""

    name: str
    waveform: NDArray[np.float32]
    """[shape=(channels, samples)]"""


class Passage(NamedTuple):
    """A clip that stands for a song of its own, where there are too few songs to hold against each other."""

    song: str
    index: int


def count_songs(files: Iterable[Hashable]) -> int:
    """Recordings behind the labels of clips: passages of one song are one."""
    return len({label.song if isinstance(label, Passage) else label for label in files})


class Excerpts(NamedTuple):
    """Clips of equal length, and longer stretches to continue."""

    clips: list[NDArray[np.float32]]
    """[shape=(channels, samples)]"""
    files: list[str]
    """The recording each clip comes from."""
    stretches: list[NDArray[np.float32]]
    """At most one a song, twice as long as a clip [shape=(channels, 2 * samples)]"""


def level_song(waveform: NDArray, sample_rate: int) -> NDArray[np.float32]:
    """A song at the level of prepared music: -18 dBFS while it sounds, its peak at -1 dBFS at most.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    """
    meter = LevelMeter(sample_rate)
    meter.add(waveform)
    levels = meter.levels()
    levelled = np.array(waveform, dtype=np.float32)
    if not levels.is_silent:
        level_chunk(levelled, levels)
    return levelled


def is_dataset(folder: Path) -> bool:
    """Whether a folder was made by create_dataset."""
    return manifest_path(folder).is_file() and not (Path(folder) / "records").is_dir()


def song_names(folder: Path, split: str) -> list[str]:
    """What there is to read; raises AudioError or DatasetError when there is nothing."""
    if is_dataset(folder):
        return [f"{split} pair {chain[0]}" for chain in _chains(folder, split, open_pairs(folder, split))]
    names = [str(path.relative_to(folder)) for path in find_audio_files(folder)]
    if not names:
        raise DatasetError(f"there is no music in {printable(folder)}. Name a folder of sound files, or a data set.")
    return names


def recordings_of(folder: Path, split: str) -> dict[str, str]:
    """The recording that each of `song_names` was cut from, where the data set knows; itself where nobody does.

    A recording is in a data set in several parts where something was left out between them, and in several copies.
    """
    names = song_names(folder, split)
    labels = read_manifest(folder).pair_labels(split) if is_dataset(folder) else None
    if labels is None:
        return {name: printable(name) for name in names}
    return {name: printable(labels[int(name.rpartition(" ")[2])]) for name in names}


def read_songs(
    folder: Path, *, sample_rate: int, channels: int, split: str = "validation", only: set[str] | None = None
) -> Iterator[Song]:
    """The songs of a folder, one in memory at a time; a file that cannot be read is named and left out.

    A file with numbers in it that are no sound is named too: what is measured is not what it holds.

    Parameters
    ----------
    folder : Path
        Of sound files, in any folders inside it, or a data set.
    split : str
        Of a data set: `validation` or `training`.
    only : set of str, optional
        Names (`song_names`) to read; all by default.

    Raises
    ------
    DatasetError
        A data set of a lower rate or of fewer channels.
    """
    folder = Path(folder)
    if is_dataset(folder):
        yield from _dataset_songs(folder, split, sample_rate, channels, only)
        return
    for path in find_audio_files(folder):
        name = str(path.relative_to(folder))
        if only is None or name in only:
            try:
                log = DecodeLog()
                waveform = read_audio(path, sample_rate=sample_rate, channels=channels, log=log)
            except AudioError as error:
                logger.warning("left out: %s", error)
                continue
            for note in NO_SOUND & set(log.notes):
                logger.warning("%s: %s", printable(path), note)
            yield Song(printable(name), level_song(waveform, sample_rate))


def _dataset_songs(folder: Path, split: str, sample_rate: int, channels: int, only: set[str] | None) -> Iterator[Song]:
    manifest = read_manifest(folder)
    own, wanted = SoundForm(manifest.sample_rate, manifest.channels), SoundForm(sample_rate, channels)
    if common_form(own, wanted) != wanted:
        raise DatasetError(
            f"the data set in {printable(folder)} holds {counted(manifest.channels, 'channel')} "
            f"at {manifest.sample_rate} Hz, {channels} at {sample_rate} Hz are needed. "
            "Make one that fits, or name a folder of sound files."
        )
    pairs = open_pairs(folder, split)
    for chain in _chains(folder, split, pairs):
        name = f"{split} pair {chain[0]}"
        if only is None or name in only:
            parts = [pairs[chain[0], 0], *(pairs[index, 1] for index in chain)]
            sound = np.concatenate(parts, axis=1)
            yield Song(name, sound if own == wanted else in_form(sound, own, wanted))


def _chains(folder: Path, split: str, pairs: NDArray | ShardPairs) -> list[list[int]]:
    """Which pairs follow each other in one song; pairs in shards say so, others by their sound."""
    if not isinstance(pairs, ShardPairs):
        return chained_pairs(pairs)
    manifest = read_manifest(folder)
    assert manifest.pair_songs is not None and manifest.pair_starts is not None
    songs, starts = (np.asarray(column[split]) for column in (manifest.pair_songs, manifest.pair_starts))
    order = np.lexsort((starts, songs))
    breaks = (np.diff(songs[order]) != 0) | (np.diff(starts[order]) != manifest.segment_samples)
    return sorted(chain.tolist() for chain in np.split(order, np.flatnonzero(breaks) + 1) if len(chain))


def chained_pairs(pairs: NDArray) -> list[list[int]]:
    """Which pairs follow each other in one song: the second segment of one is the first of the next.

    A data set of an older form is scrambled and does not say what belongs together, but its segments do.

    Parameters
    ----------
    pairs : array [shape=(pairs, 2, channels, samples)]

    Returns
    -------
    list of lists of int
        A list for each song, in its order; the songs in the order of their first pair.
    """
    first = [_segment_key(pair[0]) for pair in pairs]
    second = [_segment_key(pair[1]) for pair in pairs]
    begins: dict[bytes, int] = {}
    for index, key in enumerate(first):
        if key:
            begins.setdefault(key, index)
    following = {index: begins[key] for index, key in enumerate(second) if begins.get(key, index) != index}
    started = set(range(len(pairs))) - set(following.values())
    chains, seen = [], set()
    for index in [*sorted(started), *range(len(pairs))]:  # a circle has no start: take it where it comes
        chain = []
        place: int | None = index
        while place is not None and place not in seen:
            seen.add(place)
            chain.append(place)
            place = following.get(place)
        if chain:
            chains.append(chain)
    return chains


def _segment_key(segment: NDArray) -> bytes:
    """A name for the content of a segment; empty for one that is silent where it is looked at."""
    samples = segment.shape[-1]
    places = [int(samples * share) for share in (0.2, 0.5, 0.8)]
    parts = [np.ascontiguousarray(segment[0, place : place + KEY_SAMPLES]) for place in places]
    if not any(part.any() for part in parts):
        return b""
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()


def read_excerpts(
    folder: Path,
    *,
    sample_rate: int,
    channels: int,
    seconds: float,
    count: int,
    split: str = "validation",
    tick: Callable[[], object] = lambda: None,
) -> Excerpts:
    """`count` clips spread evenly over the songs of a folder and over each song, and a stretch of each song.

    Parameters
    ----------
    tick : callable, optional
        Called after each song.

    Raises
    ------
    DatasetError
        If no song is long enough for one clip.
    """
    recordings = recordings_of(folder, split)
    chosen = set(spread_over(list(recordings), count))
    each = -(-count // len(chosen))
    samples = round(seconds * sample_rate)
    found: list[list[tuple[str, NDArray[np.float32]]]] = []
    read, longest = 0, 0
    stretches: list[tuple[str, NDArray[np.float32]]] = []
    for song in read_songs(folder, sample_rate=sample_rate, channels=channels, split=split, only=chosen):
        starts = clip_starts(song.waveform.shape[1], samples, each)
        read, longest = read + 1, max(longest, song.waveform.shape[1])
        recording = recordings.get(song.name, song.name)
        found.append([(recording, song.waveform[:, start : start + samples].copy()) for start in starts])
        if song.waveform.shape[1] >= 2 * samples:
            begin = (song.waveform.shape[1] - 2 * samples) // 2
            stretches.append((recording, song.waveform[:, begin : begin + 2 * samples].copy()))
        tick()
    turns = [clips[turn] for turn in range(each) for clips in found if turn < len(clips)][:count]
    if not read:
        raise DatasetError(
            f"none of the {counted(len(chosen), 'file')} looked at in {printable(folder)} can be read as sound. "
            "Name another folder."
        )
    if not turns:
        raise DatasetError(
            f"no song in {printable(folder)} lasts {seconds:g} s, the longest {longest / sample_rate:.1f} s. "
            "Name another folder, or take shorter --seconds."
        )
    files, clips = [name for name, _ in turns], [clip for _, clip in turns]
    return Excerpts(clips, files, [part for _, part in stretches])


def spread_over(names: Sequence[str], count: int) -> list[str]:
    """Up to `count` names, evenly from a list."""
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round()
    return [names[int(place)] for place in places]


def clip_starts(total: int, samples: int, count: int) -> list[int]:
    """Up to `count` starts of clips that do not overlap, spread over a song of `total` samples; the middle first."""
    room = min(count, total // samples)
    if room < 1:
        return []
    gap = (total - room * samples) / room
    starts = [round((index + 0.5) * gap + index * samples) for index in range(room)]
    return sorted(starts, key=lambda start: abs(start + samples / 2 - total / 2))
