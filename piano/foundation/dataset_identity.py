"""Whether two data sets give the same lesson, and which of their songs are on which side."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from piano.foundation.pair_index import SPLITS

if TYPE_CHECKING:
    from piano.foundation.dataset_format import DatasetManifest

_HASHED_NUMBERS = 1 << 16


def dataset_identity(manifest: "DatasetManifest") -> str:
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
    }
    digest = hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")[:-1])
    for name, numbers in (("pair_songs", manifest.pair_songs), ("pair_starts", manifest.pair_starts)):
        digest.update(f',"{name}":'.encode("ascii"))
        _hash_numbers(digest, numbers)
    seed = None if manifest.pair_songs and manifest.pair_starts else manifest.seed
    digest.update(f',"seed":{json.dumps(seed)}}}'.encode("ascii"))
    return digest.hexdigest()


def _hash_numbers(digest: "hashlib._Hash", by_split: Mapping[str, Sequence[int]] | None) -> None:
    """Take in the JSON of the numbers of both splits, a piece at a time: millions are never held as one text."""
    if not by_split:
        digest.update(b"null" if by_split is None else b"{}")
        return
    for before, split in zip("[,", SPLITS, strict=True):
        digest.update(f"{before}[".encode("ascii"))
        numbers = by_split[split]
        for first in range(0, len(numbers), _HASHED_NUMBERS):
            text = ",".join(map(str, np.asarray(numbers[first : first + _HASHED_NUMBERS]).tolist()))
            digest.update((f",{text}" if first else text).encode("ascii"))
        digest.update(b"]")
    digest.update(b"]")


def recording_sides(manifest: "DatasetManifest") -> dict[str, str]:
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


def _song_keys(manifest: "DatasetManifest", split: str) -> tuple[str, ...]:
    return (manifest.songs if manifest.sha256 is None else manifest.sha256)[split]
