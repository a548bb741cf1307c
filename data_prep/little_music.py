"""What is done with little music: one recording is split inside, short files are joined, or what is missing is told."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import NamedTuple

from data_prep.dataset_options import DatasetOptions
from data_prep.pairs import Recordings, gather_recordings
from data_prep.sides import fits_inside, gap_samples, missing_pairs
from piano.foundation.dataset_format import PreparedManifest
from piano.foundation.music_amount import LEAST_SECONDS
from piano.foundation.screen_text import counted


class Plan(NamedTuple):
    """How a data set is made of the music there is."""

    recordings: Recordings
    options: DatasetOptions
    """With `split_inside` and `join_short` as the music needs them."""
    said: tuple[str, ...] = ()
    """What was chosen without being asked for, a sentence each."""


def plan_split(source: PreparedManifest, segment_samples: int, options: DatasetOptions) -> Plan | None:
    """The first way that the lengths of the songs allow; None where there is too little music.

    Whole recordings are divided, if there are two; else the end of the one is held back. Short files are joined where
    nothing else works, or where they hold most of the music and the rest of it is too little to learn from.

    Parameters
    ----------
    source : PreparedManifest
    segment_samples : int
        Half a pair.
    options : DatasetOptions
        What it asks for is done, or nothing.
    """
    for recordings, is_joined in _gatherings(source, segment_samples, options):
        groups = {song.group for song in recordings.songs}
        chosen = options._replace(join_short=is_joined)
        said = [_joined_words(recordings)] if is_joined and not options.join_short and recordings.parts else []
        if len(groups) >= 2 and not options.split_inside:
            return Plan(recordings, chosen, tuple(said))
        if len(groups) != 1:
            continue
        if fits_inside(max(song.samples for song in recordings.songs) // segment_samples - 1, options):
            if not options.split_inside:
                said.append(_inside_words(segment_samples, options))
            return Plan(recordings, chosen._replace(split_inside=True), tuple(said))
    return None


def missing_samples(source: PreparedManifest, segment_samples: int, options: DatasetOptions) -> tuple[int, int]:
    """What one recording must have for its end to be held back, and what the longest lacks, joined ones included."""
    needed = (missing_pairs(0, options) + 1) * segment_samples
    gathered = [recordings.songs for recordings, _ in _gatherings(source, segment_samples, options)]
    songs = [*source.songs, *(song for part in gathered for song in part)]
    return needed, needed - max(song.samples for song in songs)


def without(source: PreparedManifest, recordings: Recordings, silent: Collection[str]) -> PreparedManifest:
    """A prepared folder without the songs, or the files of the joined ones, that are silent from end to end."""
    gone = {part.source for name in silent for part in recordings.parts.get(name, ())} | set(silent)
    return dataclasses.replace(source, songs=tuple(song for song in source.songs if song.source not in gone))


def _gatherings(
    source: PreparedManifest, segment_samples: int, options: DatasetOptions
) -> Iterator[tuple[Recordings, bool]]:
    """The recordings with and without short files joined, the way to prefer first; and whether they are joined."""
    joined = gather_recordings(source, segment_samples, join_short=True)
    if options.join_short:
        yield joined, True
        return
    alone = gather_recordings(source, segment_samples, join_short=False)
    long = _music(alone)
    is_little = len({song.group for song in alone.songs}) < 2 or long < LEAST_SECONDS * source.settings.sample_rate
    ways = [(alone, False), (joined, True)]
    yield from reversed(ways) if is_little and _music(joined) > 2 * long else ways


def _music(recordings: Recordings) -> int:
    """Samples of different music: of the copies of a recording the longest counts."""
    longest: dict[str, int] = {}
    for song in recordings.songs:
        longest[song.group] = max(longest.get(song.group, 0), song.samples)
    return sum(longest.values())


def _joined_words(recordings: Recordings) -> str:
    files = sum(map(len, recordings.parts.values()))
    return (
        f"Most of this music is in files shorter than a pair: {counted(files, 'file')} of them go one after the other, "
        "folder by folder."
    )


def _inside_words(segment_samples: int, options: DatasetOptions) -> str:
    gap = gap_samples(segment_samples, options.segment_seconds) / segment_samples * options.segment_seconds
    return (
        f"There is one recording: its last {options.validation_fraction:.0%} are held back for validation, after a gap "
        f"of {gap:g} s that nothing is learned from."
    )
