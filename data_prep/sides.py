"""Chooses which recordings train and which validate, and the order of their pairs."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from data_prep.dataset_options import DatasetOptions
from data_prep.pairs import Recordings
from piano.foundation.dataset_format import SPLITS
from piano.foundation.errors import DatasetError
from piano.foundation.prepared_song import SongEntry
from piano.foundation.screen_text import printable

GAP_SECONDS = 10.0
"""The least gap between the training part and the validation part of one recording."""


class Pairs(NamedTuple):
    """The pairs of a split, in the order of its songs, in which reading is quick; each [shape=(pairs,)]."""

    songs: np.ndarray
    """Place of each one's song among those of the split."""
    starts: np.ndarray
    """Where it begins in its song."""
    places: np.ndarray
    """Where it stands in the data set."""

    def in_order(self) -> "Pairs":
        """The same in the order of the data set."""
        order = np.argsort(self.places)
        return Pairs(self.songs[order], self.starts[order], self.places[order])


class Divided(NamedTuple):
    """Which songs train and which validate."""

    songs: dict[str, list[SongEntry]]
    """By split."""
    groups: dict[str, set[str]]
    """Names of recordings by split."""
    pairs: dict[str, Pairs]
    """By split."""


def divide(
    recordings: Recordings, cut: dict[str, np.ndarray], segment_samples: int, options: DatasetOptions
) -> Divided:
    """Choose sides and an order.

    Parameters
    ----------
    recordings : Recordings
    cut : dict of str to array
        Where the pairs of every recording begin, by source.
    segment_samples : int
        Half a pair.
    options : DatasetOptions

    Returns
    -------
    Divided

    Raises
    ------
    DatasetError
        If the one recording is too short to hold back its end.
    """
    random = np.random.default_rng([options.seed, 1])
    if options.split_inside:
        song = max(recordings.songs, key=lambda song: (song.samples, song.source))
        sides = split_inside(cut[song.source], segment_samples, song, options)
        pairs = {split: _scramble([sides[split]], random) for split in SPLITS}
        return Divided({split: [song] for split in SPLITS}, {split: {song.group} for split in SPLITS}, pairs)
    usable = [song for song in recordings.songs if len(cut[song.source])]
    # Silence that is not written must not count when sides are weighed.
    weighed = [dataclasses.replace(song, samples=(len(cut[song.source]) + 1) * segment_samples) for song in usable]
    groups = split_groups(weighed, segment_samples, validation_fraction=options.validation_fraction, seed=options.seed)
    songs = {split: [song for song in usable if song.group in groups[split]] for split in SPLITS}
    pairs = {split: _scramble([cut[song.source] for song in songs[split]], random) for split in SPLITS}
    return Divided(songs, groups, pairs)


def split_inside(
    pairs: np.ndarray, segment_samples: int, song: SongEntry, options: DatasetOptions
) -> dict[str, np.ndarray]:
    """The beginning of one recording for training, its end for validation, and between them a gap that neither has."""
    last = held_back(len(pairs), options)
    validation = pairs[-last:]
    gap = gap_samples(segment_samples, options.segment_seconds)
    last_start = validation[0] - gap - 2 * segment_samples
    training = pairs[:-last][pairs[:-last] <= last_start]
    if not len(training):
        seconds = (len(pairs) + 1) * options.segment_seconds
        raise DatasetError(
            f"too little music: only {seconds:g} s of {printable(song.source)} are not silent, and after a gap of "
            f"{gap / segment_samples * options.segment_seconds:g} s before its end nothing is left to learn from. "
            f"{missing_pairs(len(pairs), options) * options.segment_seconds:g} s are missing: add music."
        )
    return {"training": training, "validation": validation}


def gap_samples(segment_samples: int, segment_seconds: float) -> int:
    """Between the two parts of one recording: whole segments, at least a pair and at least GAP_SECONDS."""
    return segment_samples * max(2, math.ceil(GAP_SECONDS / segment_seconds))


def fits_inside(pairs: int, options: DatasetOptions) -> bool:
    """Whether of one recording with so many pairs in a row some remain on both sides of the gap."""
    gap = gap_samples(1, options.segment_seconds)
    return pairs - held_back(pairs, options) >= gap + 2


def held_back(pairs: int, options: DatasetOptions) -> int:
    """Pairs at the end of one recording that are kept from training."""
    return max(1, round(options.validation_fraction * pairs))


def missing_pairs(pairs: int, options: DatasetOptions) -> int:
    """How many pairs more one recording would need for its end to be held back; at least one."""
    more = 1
    while not fits_inside(pairs + more, options):
        more += 1
    return more


def split_groups(
    songs: list[SongEntry], segment_samples: int, *, validation_fraction: float, seed: int
) -> dict[str, set[str]]:
    """Choose the recordings that are kept from training.

    Groups are drawn in random order while they bring the share of pairs nearer to the fraction. Where each alone is
    too much, one is drawn of those that are at most twice as long as the shortest.

    Returns
    -------
    dict of str to set of str
        Group names by split; both hold at least one where there are at least two.
    """
    sizes: dict[str, int] = {}
    for song in songs:
        sizes[song.group] = sizes.get(song.group, 0) + song.samples // segment_samples - 1
    return draw_sides(sizes, validation_fraction, seed)


def draw_sides(sizes: dict[str, int], validation_fraction: float, seed: int) -> dict[str, set[str]]:
    """The sides of recordings whose numbers of pairs are known; see `split_groups`."""
    names = sorted(sizes)
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    wanted = validation_fraction * sum(sizes.values())
    chosen: set[str] = set()
    count = 0
    for name in (names[index] for index in order):
        if len(chosen) < len(names) - 1 and abs(count + sizes[name] - wanted) < abs(count - wanted):
            chosen.add(name)
            count += sizes[name]
    if not chosen and len(names) > 1:
        enough = 2 * min(sizes.values())  # a recording of usual length, and not one of hours, if all are long
        chosen = {next(names[index] for index in order if sizes[names[index]] <= enough)}
    return {"training": set(names) - chosen, "validation": chosen}


def _scramble(starts: list[np.ndarray], random: np.random.Generator) -> Pairs:
    """The pairs of some songs, each with a place by chance."""
    every = np.concatenate([*starts, np.zeros(0, np.int64)])
    songs = np.repeat(np.arange(len(starts)), [len(own) for own in starts])
    return Pairs(songs, every, random.permutation(len(every)))
