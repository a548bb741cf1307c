"""Was the real music learned from? Songs by the hash of their file, and by name where nobody hashed them."""

import contextlib
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from piano.evaluation.music_folder import Passage, is_dataset
from piano.foundation.audio_io import find_audio_files
from piano.foundation.dataset_format import dataset_identity, read_manifest
from piano.foundation.screen_text import printable
from piano.training.known_music import DATASET_NAME, key_of, keys_of, these


class LearnedSongs(NamedTuple):
    """Songs that a model learned from, as the numbers of `known_music.key_of`."""

    names: frozenset[int]
    files: frozenset[int]
    """Of the hashes of their files; fewer than names where some were never hashed."""
    identity: str = ""
    """Of the data set it learned from last; empty: not known."""


class Overlap(NamedTuple):
    """Which songs of the real music were learned from."""

    learned: list[str]
    """By the labels of their clips."""
    songs: int
    """Of the real music that was looked at."""

    def warning(self, subject: str = "it") -> str:
        """What that means for the figures; empty where none was learned from."""
        if not self.learned:
            return ""
        named = these(self.learned).rsplit(" ", 1)[0]
        some = "all" if len(self.learned) >= self.songs else f"{len(self.learned)} of the"
        what = "the one song" if self.songs == 1 else f"{some} {self.songs} songs"
        return (
            f"Warning: {subject} learned from {what} of the real music ({named}), so the figures flatter it. "
            "Name music it never learned from with --real."
        )

    def holds(self, label: Hashable) -> bool:
        """Whether a clip, by its label, is of a song that was learned from."""
        return (label.song if isinstance(label, Passage) else label) in self.learned


def learned_by_model(folder: Path, content: Mapping[str, Any]) -> LearnedSongs | None:
    """What a checkpoint says of its lessons, else dataset.json beside it; None where nobody wrote it down.

    Parameters
    ----------
    folder : Path
        Of the run.
    content : mapping
        Of a checkpoint (`load_checkpoint`).
    """
    with contextlib.suppress(KeyError, TypeError, ValueError, RuntimeError, AttributeError):
        music = content["run"]["stateful"]["music"]
        names, files = (torch.as_tensor(music[kind], dtype=torch.int64).flatten() for kind in ("names", "files"))
        return LearnedSongs(frozenset(names.tolist()), frozenset(files.tolist()), str(music["identity"]))
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
        facts = json.loads((folder / DATASET_NAME).read_text(encoding="utf-8"))
        names = frozenset(key_of(str(name)) for name in facts["songs"]["training"])
        return LearnedSongs(names, frozenset(), str(facts.get("identity", "")))
    return None


def learned_from_folder(train: Path, real: Path) -> LearnedSongs:
    """Songs of --train: of a data set its training songs, of a folder the files that are as large as one of `real`."""
    if is_dataset(train):
        manifest = read_manifest(train)
        names, files = (keys_of(manifest, "training", kind).tolist() for kind in ("names", "files"))
        return LearnedSongs(frozenset(names), frozenset(files), dataset_identity(manifest))
    sizes = set() if is_dataset(real) else {path.stat().st_size for path in find_audio_files(real)}
    alike = [path for path in find_audio_files(train) if path.stat().st_size in sizes]
    return LearnedSongs(frozenset(), frozenset(map(file_key, alike)))


def together(*sources: LearnedSongs | None) -> LearnedSongs | None:
    """All that is known of what was learned from; None where nothing is."""
    known = [source for source in sources if source is not None]
    if not known:
        return None
    identity = next((source.identity for source in known if source.identity), "")
    return LearnedSongs(
        frozenset().union(*(source.names for source in known)),
        frozenset().union(*(source.files for source in known)),
        identity,
    )


def find_overlap(real: Path, labels: Iterable[str], learned: LearnedSongs | None) -> Overlap | None:
    """Which of the real songs that clips were cut from were learned from; None where it is not known.

    A song that was hashed counts by its file: another file of the same name is another song. A copy in another format
    is not found.

    Parameters
    ----------
    real : Path
        A folder of sound files, or a data set, of which the validation songs count.
    labels : iterable of str
        What `read_excerpts` calls the recordings of its clips.
    """
    if learned is None:
        return None
    looked_at = set(labels)
    if is_dataset(real):
        return _of_dataset(real, looked_at, learned)
    paths = {}
    for path in find_audio_files(real):
        place = path.relative_to(real)
        if (label := printable(str(place))) in looked_at:
            paths[label] = (path, place.as_posix())
    are_hashed = len(learned.files) >= len(learned.names)
    found = [
        label
        for label, (path, name) in paths.items()
        if file_key(path) in learned.files or (not are_hashed and key_of(name) in learned.names)
    ]
    return Overlap(found, len(looked_at))


def _of_dataset(real: Path, looked_at: set[str], learned: LearnedSongs) -> Overlap:
    """Where validation is the end of the song whose beginning was learned from, that is no overlap."""
    manifest = read_manifest(real)
    if manifest.is_split_inside and dataset_identity(manifest) == learned.identity:
        return Overlap([], len(looked_at))
    kind = "files" if manifest.sha256 is not None and len(learned.files) >= len(learned.names) else "names"
    known = learned.files if kind == "files" else learned.names
    keys = keys_of(manifest, "validation", kind, in_order=True).tolist()
    heard = [place for place, key in enumerate(keys) if key in known]
    if not heard:
        return Overlap([], len(looked_at))
    if manifest.song_groups is None or manifest.pair_songs is None:  # nobody knows which clip is of which song
        return Overlap(sorted(looked_at), len(looked_at))
    groups = manifest.groups["validation"]
    recordings = {printable(groups[manifest.song_groups["validation"][place]]) for place in heard}
    return Overlap(sorted(recordings & looked_at), len(looked_at))


def file_key(path: Path) -> int:
    """`key_of` the hash of a file's bytes; -1, which is no song's in practice, where it cannot be read."""
    try:
        with path.open("rb") as file:
            return key_of(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return -1
