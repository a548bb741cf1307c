"""What a run has learned from, so that music which judges it was never among its lessons.

The identity of its data set and a hash of every song it heard are kept in each checkpoint. Whoever goes on with a data
set that was made again, whose songs changed sides, or with another, is told, and judgements of before are forgotten.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piano.foundation.dataset_format import SPLITS, DatasetManifest, dataset_identity, set_path
from piano.foundation.decode_log import NO_NUMBERS
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import counted, printable
from piano.piano_model import AudioDataset

DATASET_NAME = "dataset.json"
"""In a run's folder: identity and songs of the data set, for readers."""
MOST_NAMES = 3
LISTENED_PAIRS, LISTENED_SAMPLES = 32, 256
"""Of every split, evenly spread: by their sound one knows music that was prepared anew under the same names."""
MOST_READ_BYTES = 2**30
"""A data set is read before the first step, as far as that takes seconds; the rest is looked at when it is drawn."""
SILENT_SQUARE, MOST_SILENT = 1e-9, 0.95
"""Mean square of a pair that counts as silent (-90 dB); a split with more of them teaches and judges nothing."""


class KnownMusic:
    """The data set at hand, and everything that was learned from before.

    Parameters
    ----------
    training_set, validation_set : AudioDataset
        With their manifest.
    """

    def __init__(self, training_set: AudioDataset, validation_set: AudioDataset) -> None:
        manifest = training_set.manifest
        if manifest is None:
            raise ValueError("a data set without a manifest has no identity")
        self.manifest: DatasetManifest = manifest
        self.identity = dataset_identity(manifest)
        self.sound = sound_of(training_set, validation_set)
        self.learned = {kind: keys_of(manifest, "training", kind) for kind in ("names", "files")}
        self.before: dict[str, Any] | None = None
        """What the run went on from knew; None: nothing was kept."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors for the checkpoint."""
        return {"identity": self.identity, "sound": self.sound, **self.learned}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from what was learned before; raises TypeError or ValueError if that is none."""
        before = {
            "identity": str(state["identity"]),
            "sound": str(state["sound"]),
            **{kind: torch.as_tensor(state[kind], dtype=torch.int64).flatten() for kind in self.learned},
        }
        self.before = before
        self.learned = {kind: torch.unique(torch.cat([own, before[kind]])) for kind, own in self.learned.items()}

    def inherit(self, state: Any) -> bool:
        """Take over what a model that is fine-tuned learned from; whether it says so in words that can be read."""
        try:
            self.load_state_dict(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
            return False
        return True

    @property
    def is_same(self) -> bool:
        """Whether the data set is the one of before, or nothing is known of before."""
        before = self.before
        return before is None or (before["identity"], before["sound"]) == (self.identity, self.sound)

    def learned_from(self) -> list[str]:
        """Validation songs of now that the run of before learned from, by name."""
        if self.before is None or self.before["identity"] == self.identity:
            return []
        kind = "files" if self.manifest.sha256 is not None and len(self.before["files"]) else "names"
        heard = torch.isin(keys_of(self.manifest, "validation", kind, in_order=True), self.before[kind])
        names = self.manifest.songs["validation"]
        return [name for name, is_known in zip(names, heard.tolist(), strict=False) if is_known]

    def change_in_words(self, folder: Path) -> str:
        """What is otherwise about the data set, in one sentence."""
        place = printable(folder)
        if self.before is None or self.is_same:
            return ""
        if self.before["identity"] == self.identity:
            return f"The data set in {place} has the same songs as before, but their sound was prepared anew."
        own = torch.cat([keys_of(self.manifest, split, "names") for split in SPLITS])
        kind = "was made again" if bool(torch.isin(own, self.before["names"]).any()) else "is another one"
        if names := self.learned_from():
            return f"The data set in {place} {kind}: {these(names)} learned from before, and would judge now."
        return f"The data set in {place} {kind} since this run last learned."


def these(names: list[str]) -> str:
    """`a.wav was`, `a.wav, b.wav, c.wav and 2 more were`."""
    shown = ", ".join(printable(name)[:60] for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{shown}{more} {'was' if len(names) == 1 else 'were'}"


def keys_of(manifest: DatasetManifest, split: str, kind: str, *, in_order: bool = False) -> Tensor:
    """A number for every song of a split [shape=(songs,)], from its `names` or the hashes of its `files`.

    Ascending, without doubles, unless `in_order`; of files that nobody hashed there are none.
    """
    if kind == "files" and manifest.sha256 is None:
        return torch.zeros(0, dtype=torch.int64)
    words = manifest.songs[split] if kind == "names" else (manifest.sha256 or {})[split]
    keys = torch.tensor([key_of(str(word)) for word in words], dtype=torch.int64)
    return keys if in_order else torch.unique(keys)


def key_of(word: str) -> int:
    """A number of 64 bits for a song's name, or for the hash of its file in hexadecimal digits."""
    digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def sound_of(*sets: AudioDataset) -> str:
    """A hash of a few samples from all over the sets."""
    digest = hashlib.sha256()
    for one in sets:
        middle = one.pairs.shape[-1] // 2
        for index in np.unique(np.linspace(0, len(one) - 1, LISTENED_PAIRS).astype(int)) if len(one) else ():
            digest.update(np.ascontiguousarray(one.pairs[index, :, :, middle : middle + LISTENED_SAMPLES]).tobytes())
    return digest.hexdigest()


def refuse_useless(dataset: AudioDataset, split: str, folder: Path) -> None:
    """Read a split before anything learns from it; raises DatasetError for numbers that are none, and for silence."""
    pairs, path = dataset.pairs, set_path(folder, split)
    stride = max(1, math.ceil(pairs.nbytes / MOST_READ_BYTES))
    silent = 0
    for index in range(0, len(pairs), stride):
        flat = np.asarray(pairs[index]).reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is told below
            power = float(np.dot(flat, flat)) / max(flat.size, 1)
        if not math.isfinite(power):
            raise DatasetError(broken_pair(path, index))
        silent += power < SILENT_SQUARE
    looked_at = len(range(0, len(pairs), stride))
    if looked_at and silent > MOST_SILENT * looked_at:
        raise DatasetError(
            f"the {split} music in {path} is silent ({silent} of {counted(looked_at, 'pair')}): there is nothing to "
            f"learn or to judge by. Look at the report of `{command('prepare')}`, and make the data set again from "
            "music that sounds."
        )


def broken_pair(path: Path | str, index: int) -> str:
    """The sentence for a pair with NaN or infinity in it."""
    return f"pair {index} of {path} holds {NO_NUMBERS}. Make the data set again with `{command('dataset')}`."


def dataset_facts(music: KnownMusic) -> dict[str, Any]:
    """What `dataset.json` in a run's folder says."""
    return {
        "identity": music.identity,
        "sound": music.sound,
        "songs": {split: list(music.manifest.songs[split]) for split in SPLITS},
    }
