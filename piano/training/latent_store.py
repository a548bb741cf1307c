"""Latents on disk: written once, in shards that any numpy reads, and read window by window.

A store is a folder with a manifest, which says what was encoded by what, and shards `latents-00000.npy` of float16
(pairs, frames, latent_dim). The manifest is written first and each shard whole or not at all, so that a store is
complete when all its shards are there, and what a kill left is gone on with. Memory does not grow with the music:
nothing is mapped, and a window is a read of its own.
"""

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from piano.foundation.dataset_format import read_json_object
from piano.foundation.errors import DISK_ERRORS, DatasetError, TrainingError
from piano.foundation.made_files import replacing, write_json
from piano.foundation.npy_files import open_array, save_array
from piano.foundation.screen_text import printable

KIND = np.dtype(np.float16)
"""Half the room of float32; what it rounds off is far below what the flow can tell (docs/experiments.md)."""
VERSION = 1
MANIFEST_NAME = "manifest.json"
SHARD_BYTES, FEWEST_SHARDS, SHARED_PAIRS = 2**27, 64, 4
"""A shard is at most so large, and a small set has so many that several processes can share the work; as many pairs as
are encoded at once stay together, so that the numbers do not depend on who encodes what."""
HINT = "Go on with --resume, and they are encoded again."


class StoreLayout(NamedTuple):
    """What a store holds."""

    pairs: int
    frames: int
    latent_dim: int
    stride: int = 1
    """Every how many pairs of the split one was encoded."""

    @property
    def shard_pairs(self) -> int:
        """Pairs of every shard but the last."""
        most = max(1, SHARD_BYTES // (KIND.itemsize * self.frames * self.latent_dim))
        wanted = min(most, math.ceil(self.pairs / FEWEST_SHARDS))
        return max(1, math.ceil(wanted / SHARED_PAIRS)) * SHARED_PAIRS

    @property
    def shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.pairs / self.shard_pairs)

    def pairs_of(self, shard: int) -> range:
        """The pairs of a shard."""
        return range(shard * self.shard_pairs, min((shard + 1) * self.shard_pairs, self.pairs))

    @property
    def bytes(self) -> int:
        """Of all shards, without their headers."""
        return KIND.itemsize * self.pairs * self.frames * self.latent_dim


class LatentStore:
    """A complete store, open for reading.

    Parameters
    ----------
    folder : Path
    layout : StoreLayout

    Raises
    ------
    TrainingError
        A shard is missing, cut off or not what the manifest says.
    """

    def __init__(self, folder: Path, layout: StoreLayout) -> None:
        self.folder, self.layout = folder, layout
        self._begins = [begin_of(folder, layout, shard) for shard in range(layout.shards)]

    def __len__(self) -> int:
        return self.layout.pairs

    def windows(self, items: Tensor, offsets: Tensor, frames: int) -> Tensor:
        """Latent means as the encoder gave them.

        Parameters
        ----------
        items, offsets : Tensor [shape=(count,)]
            Pair, and first frame, of every window.
        frames : int

        Returns
        -------
        Tensor [shape=(count, frames, latent_dim)], float32
        """
        found = np.empty((len(items), frames, self.layout.latent_dim), KIND)
        places = list(zip(items.tolist(), offsets.tolist(), strict=True))
        by_shard: dict[int, list[int]] = {}
        for place, (item, _) in enumerate(places):
            by_shard.setdefault(item // self.layout.shard_pairs, []).append(place)
        frame_bytes = KIND.itemsize * self.layout.latent_dim
        for shard, wanted in by_shard.items():
            with self._opened(shard) as stream:
                for place in wanted:
                    item, offset = places[place]
                    row = item % self.layout.shard_pairs * self.layout.frames + offset
                    stream.seek(self._begins[shard] + row * frame_bytes)
                    self._fill(stream, found[place], shard)
        return torch.from_numpy(found).float()

    def _opened(self, shard: int) -> Any:
        path = shard_path(self.folder, shard)
        try:
            return open(path, "rb", buffering=0)
        except OSError as error:
            raise TrainingError(f"cannot read the latents in {printable(path)}: {error.strerror}. {HINT}") from None

    def _fill(self, stream: Any, window: np.ndarray, shard: int) -> None:
        left = window.data.cast("B")
        while left:
            count = stream.readinto(left)
            if not count:
                path = printable(shard_path(self.folder, shard))
                raise TrainingError(f"the latents in {path} were cut off while they were read. {HINT}")
            left = left[count:]


def shard_path(folder: Path, shard: int) -> Path:
    """Path of a shard."""
    return folder / f"latents-{shard:05d}.npy"


def begin_of(folder: Path, layout: StoreLayout, shard: int) -> int:
    """Where the numbers of a shard begin in its file; raises TrainingError where it is not what the layout says."""
    path = shard_path(folder, shard)
    try:
        stream, found = open_array(path, hint=HINT)
    except DatasetError as error:
        raise TrainingError(str(error)) from None
    with stream:
        wanted = (len(layout.pairs_of(shard)), layout.frames, layout.latent_dim)
        if found.shape != wanted or found.is_fortran or found.kind != KIND:
            raise TrainingError(f"{printable(path)} does not hold the latents that its manifest says. {HINT}")
        return stream.tell()


def plan_store(folder: Path, layout: StoreLayout, made_of: Mapping[str, Any]) -> StoreLayout:
    """Decide what a store will hold: what lies there, if it was made of the same, or else everything anew.

    Parameters
    ----------
    folder : Path
        What lies in it and was made of something else is removed.
    layout : StoreLayout
        If it has to be made.
    made_of : mapping
        Plain values: encoder, music, and whatever else the numbers depend on.

    Returns
    -------
    StoreLayout
        Of what lies there or has to be made; some or all of its shards may be missing.

    Raises
    ------
    TrainingError
        There is no room for it, or the disk refuses.
    """
    with refusing_disk(folder):
        there = _planned(folder, made_of)
        if there is None:
            _empty(folder)
        wanted = there or layout
        _refuse_full_disk(folder, wanted)
        if there is None:
            write_json(folder / MANIFEST_NAME, {"version": VERSION, "made_of": dict(made_of), **wanted._asdict()})
    return wanted


def _empty(folder: Path) -> None:
    """Make a folder, or remove what lies in it; raises OSError where something stays.

    An old shard of the right shape would pass for one of a new manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _planned(folder: Path, made_of: Mapping[str, Any]) -> StoreLayout | None:
    """What a store was meant to hold, if it is one of the same."""
    try:
        said = read_json_object(folder / MANIFEST_NAME)
        layout = StoreLayout(*(said[name] for name in StoreLayout._fields))
    except (OSError, ValueError, KeyError, RecursionError):
        return None
    is_whole = all(type(number) is int and number > 0 for number in layout)
    return layout if is_whole and said.get("version") == VERSION and said.get("made_of") == dict(made_of) else None


def missing_shards(folder: Path, layout: StoreLayout) -> list[int]:
    """Shards that are still to be made; one that is damaged is removed, and made again."""
    missing = []
    for shard in range(layout.shards):
        try:
            begin_of(folder, layout, shard)
        except TrainingError:
            shard_path(folder, shard).unlink(missing_ok=True)
            missing.append(shard)
    return missing


def write_shard(folder: Path, layout: StoreLayout, shard: int, encoded: Iterable[Tensor]) -> None:
    """Write one shard, whole or not at all.

    Parameters
    ----------
    encoded : iterable of Tensor
        Latent means (some pairs, frames, latent_dim) of its pairs, in their order.

    Raises
    ------
    TrainingError
        A number is too large for it, or the disk refuses.
    """
    pairs = layout.pairs_of(shard)
    numbers, done = np.empty((len(pairs), layout.frames, layout.latent_dim), KIND), 0
    for means in encoded:
        with np.errstate(over="ignore"):
            numbers[done : done + len(means)] = means.numpy()
        done += len(means)
    if not np.isfinite(numbers).all():
        raise TrainingError(
            "the encoder diverged: it gives NaN, infinity or numbers beyond 65,504 for music that is sound. "
            "Lower the learning rate of stage autoencoder, and begin again or resume from an earlier epoch."
        )
    with refusing_disk(folder), replacing(shard_path(folder, shard)) as temporary:
        save_array(temporary, numbers)


def _refuse_full_disk(folder: Path, layout: StoreLayout) -> None:
    """Find out before encoding whether a store fits on the disk; raises TrainingError."""
    there = sum(path.stat().st_size for path in folder.glob("latents-*.npy"))
    needed, free = layout.bytes - there, shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"{printable(folder)} has room for {free / 1e6:,.0f} MB, and the latents of the music need "
            f"{needed / 1e6:,.0f} MB more. Make room, or choose another folder with --checkpoints."
        )


@contextmanager
def refusing_disk(folder: Path) -> Iterator[None]:
    """What a disk refuses inside becomes a TrainingError that names the folder."""
    try:
        yield
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror or "the disk refuses")
        raise TrainingError(
            f"the latents cannot be written in {printable(folder)}: {reason}. Make room, or choose another folder "
            "with --checkpoints."
        ) from None
