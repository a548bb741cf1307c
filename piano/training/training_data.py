"""What a run learns from: random crops of its music, and random windows of their latents."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from piano.foundation.dataset_identity import dataset_identity
from piano.foundation.errors import DatasetError, TrainingError
from piano.foundation.pair_index import Split
from piano.foundation.runtime import Runtime
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.training.known_music import broken_pair, sound_of
from piano.training.latent_store import LatentStore, StoreLayout, missing_shards, plan_store, write_shard
from piano.training.schedules import Step
from piano.training.time_budget import ENCODING, TimeBudget

ENCODED_PAIRS = 4
"""Pairs that are encoded at once."""
LATENTS_NAME = "latents"
"""Folder inside a run's: the latents of its music, which can be made again."""
Answer = TypeVar("Answer")


class Latents:
    """Whitened latents of a split, read from the disk when they are asked for.

    Parameters
    ----------
    store : LatentStore
        Means as the encoder gave them.
    mean : Tensor [shape=(latent_dim,)]
    whiten : Tensor [shape=(latent_dim, latent_dim)]
        Of the normaliser.
    """

    def __init__(self, store: LatentStore, mean: Tensor, whiten: Tensor) -> None:
        self.store = store
        self._mean, self._whiten = (value.detach().cpu().clone() for value in (mean, whiten))

    def __len__(self) -> int:
        return len(self.store)

    @property
    def frames(self) -> int:
        """Latent frames of a pair."""
        return self.store.layout.frames

    def windows(self, items: Tensor, offsets: Tensor, frames: int) -> Tensor:
        """Windows (count, frames, latent_dim) of pairs `items` (count,), from frames `offsets` (count,) on."""
        with torch.autocast("cpu", enabled=False):
            return (self.store.windows(items, offsets, frames) - self._mean) @ self._whiten


class TrainingData:
    """Both splits of a data set, as sound and as latents.

    Parameters
    ----------
    generator : VariationalAttentionModel
        Encodes the music. Its encoder must rest from the first time on that latents are asked for.
    runtime : Runtime
    training_set, validation_set : AudioDataset
    budget : TimeBudget, optional
        Says how many pairs there is time to encode; by default all.
    folder : Path, optional
        The run's: latents are kept inside it; by default, in a temporary folder.
    between : callable, optional
        Called before every batch that is encoded; what it raises ends the encoding. With several processes it is called
        in all of them together, before every shard.
    """

    def __init__(
        self,
        generator: VariationalAttentionModel,
        runtime: Runtime,
        *,
        training_set: AudioDataset,
        validation_set: AudioDataset,
        budget: TimeBudget | None = None,
        folder: Path | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.generator = generator
        self.runtime = runtime
        self.sets: dict[Split, AudioDataset] = {"training": training_set, "validation": validation_set}
        self.budget = budget
        self._temporary = tempfile.TemporaryDirectory(prefix="musigan-") if folder is None else None
        self.folder = (Path(self._temporary.name) if self._temporary else folder or Path()) / LATENTS_NAME
        self._between = between
        self._stores: dict[Split, LatentStore] = {}
        self._latents: dict[Split, Latents] = {}

    def draw_waveforms(
        self, step: Step, batch_size: int, frames: int, *, split: Split = "training", part: slice | None = None
    ) -> Tensor:
        """Random crops of a split (batch, channels, samples), `frames` latent frames long, on the device.

        Of a part of the batch only that is read: the same crops, whoever asks.
        """
        dataset, samples = self.sets[split], frames * self.generator.hop_samples
        which = items_of(part, batch_size)
        indices = torch.randint(len(dataset), (batch_size,), generator=step.random("pair"))[which]
        offsets = torch.randint(dataset.samples - samples + 1, (batch_size,), generator=step.random("offset"))[which]
        waveforms = dataset.crops(indices, offsets, samples)
        refuse_broken(dataset, indices, waveforms)
        return waveforms.to(self.runtime.device, non_blocking=True)

    def draw_latents(
        self, step: Step, batch_size: int, frames: int, *, split: Split = "training", part: slice | None = None
    ) -> Tensor:
        """Random windows of a split's latents (batch, frames, latent_dim), on the device.

        Of a part of the batch only that is read: the same windows, whoever asks.
        """
        latents, which = self.latents(split), items_of(part, batch_size)
        indices = torch.randint(len(latents), (batch_size,), generator=step.random("pair"))[which]
        offsets = torch.randint(latents.frames - frames + 1, (batch_size,), generator=step.random("offset"))[which]
        return latents.windows(indices, offsets, frames).to(self.runtime.device, non_blocking=True)

    # --- latents ---------------------------------------------------------------------------------------------------

    def latents(self, split: Split) -> Latents:
        """Whitened latents of a split, encoded when they are first asked for.

        Those for learning are encoded by all processes, which must ask together; of validation music the main process
        alone has any.
        """
        if split not in self._latents:
            normaliser = self.generator.normaliser
            self._latents[split] = Latents(self.store(split), normaliser.mean, normaliser.whiten)
        return self._latents[split]

    def sampled_means(self, most: int) -> Tensor:
        """About so many latent means (frames, latent_dim) from all over the training set, before whitening."""
        store = self.store("training")
        frames = store.layout.frames
        places = torch.arange(0, len(store) * frames, max(1, len(store) * frames // most))
        return store.windows(places // frames, places % frames, 1).squeeze(1)

    def forget_latents(self) -> None:
        """Look again when latents are next asked for: the encoder or the normaliser has learned."""
        self._stores, self._latents = {}, {}

    def remove_latents(self) -> None:
        """Free their place on the disk: nothing asks for latents any more."""
        self.forget_latents()
        if self.runtime.is_main:
            shutil.rmtree(self.folder, ignore_errors=True)

    def store(self, split: Split) -> LatentStore:
        """Latent means of a split on disk; what is not there, or was made of something else, is encoded now."""
        if split not in self._stores:
            folder, layout = self.folder / split, self._of_all(split, lambda: self._plan(split))
            missing = self._of_all(split, lambda: missing_shards(folder, layout))
            if missing:
                kind = ENCODING if split == "training" else split
                with nullcontext() if self.budget is None else self.budget.measure(kind):
                    self._encode(split, layout, missing)
            self._stores[split] = self._opened(folder, layout)
        return self._stores[split]

    def _opened(self, folder: Path, layout: StoreLayout) -> LatentStore:
        """A store that was made; where another process made it, it may not be seen here."""
        try:
            return LatentStore(folder, layout)
        except TrainingError as error:
            if self.runtime.is_main:
                raise
            raise TrainingError(
                f"{error} With several machines the folder of checkpoints must lie on a drive that all of them share."
            ) from None

    def _of_all(self, split: Split, question: Callable[[], Answer]) -> Answer:
        """What the main process says to those who encode a split: all, or it alone."""
        return self.runtime.asked_of_main(question) if split == "training" else question()

    def _plan(self, split: Split) -> StoreLayout:
        """What the store of a split holds, or will; what lies there and is of no use is removed."""
        dataset = self.sets[split]
        stride = 1 if self.budget is None else self.budget.encoding_stride(len(dataset), split)
        layout = StoreLayout(
            pairs=len(range(0, len(dataset), stride)),
            frames=dataset.samples // self.generator.hop_samples,
            latent_dim=self.generator.latent_dim,
            stride=stride,
        )
        return plan_store(self.folder / split, layout, self._made_of(dataset))

    def _made_of(self, dataset: AudioDataset) -> dict[str, Any]:
        """What latents depend on: the encoder, the music, and the precision of products."""
        digest = hashlib.sha256()
        for name, value in self.generator.autoencoder.state_dict().items():
            if not name.startswith("decoder."):
                digest.update(name.encode("ascii"))
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return {
            "encoder": digest.hexdigest(),
            "music": "" if dataset.manifest is None else dataset_identity(dataset.manifest),
            "sound": sound_of(dataset),
            "shape": list(dataset.pairs.shape),
            "precision": self.runtime.precision,
        }

    def _encode(self, split: Split, layout: StoreLayout, missing: list[int]) -> None:
        """Make shards: each process one a round."""
        everybody = split == "training"
        rank, ranks = (self.runtime.rank, self.runtime.world_size) if everybody else (0, 1)
        between = self._between if self.runtime.world_size == 1 else lambda: None
        for first in range(0, len(missing), ranks):
            if ranks > 1:
                self._between()
            for shard in missing[first + rank : first + rank + 1]:
                pairs = layout.pairs_of(shard)
                places = range(pairs.start * layout.stride, (pairs.stop - 1) * layout.stride + 1, layout.stride)
                encoded = encode_pairs(self.generator, self.sets[split], places, self.runtime, between=between)
                write_shard(self.folder / split, layout, shard, encoded)
        if ranks > 1:
            self.runtime.wait()


def items_of(part: slice | None, batch_size: int) -> Tensor:
    """Numbers of a part's items; those before the first are the last ones."""
    return torch.arange(batch_size) if part is None else torch.arange(part.start, part.stop) % batch_size


def refuse_broken(dataset: AudioDataset, indices: Sequence[int] | Tensor, waveforms: Tensor) -> None:
    """Raise a DatasetError that names the pair if waveforms (items, channels, samples) of these pairs hold NaN."""
    sums = waveforms.flatten(1).sum(dim=1)  # NaN and infinity stay in a sum
    if not bool(torch.isfinite(sums).all()):
        item = int((~torch.isfinite(sums)).nonzero()[0])
        place = getattr(dataset.pairs, "filename", None) or "the data set"
        raise DatasetError(broken_pair(place, int(indices[item])))


def encode_pairs(
    generator: VariationalAttentionModel,
    dataset: AudioDataset,
    pairs: Sequence[int],
    runtime: Runtime,
    *,
    between: Callable[[], None] = lambda: None,
) -> Iterator[Tensor]:
    """Latent means (up to ENCODED_PAIRS, frames, latent_dim) of some pairs, on the CPU, before whitening.

    `between` is called before every batch; what it raises ends the encoding.
    """
    frames = dataset.samples // generator.hop_samples
    for begin in range(0, len(pairs), ENCODED_PAIRS):
        between()
        places = pairs[begin : begin + ENCODED_PAIRS]
        waveforms = torch.stack([dataset[item] for item in places])
        refuse_broken(dataset, places, waveforms)
        with torch.inference_mode(), runtime.autocast():
            means = generator.autoencoder.encode(waveforms.to(runtime.device))[0][:, :frames].float().cpu()
        yield means.clone()
