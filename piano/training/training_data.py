"""What a run learns from: random crops of its music, and random windows of their latents."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from piano.foundation.errors import DatasetError, TrainingError
from piano.foundation.pair_index import Split
from piano.foundation.runtime import Runtime
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.training.known_music import broken_pair
from piano.training.schedules import Step
from piano.training.time_budget import ENCODING, TimeBudget

ENCODED_PAIRS = 4
"""Pairs that are encoded at once."""


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
    between : callable, optional
        Called before every batch that is encoded; what it raises ends the encoding.
    """

    def __init__(
        self,
        generator: VariationalAttentionModel,
        runtime: Runtime,
        *,
        training_set: AudioDataset,
        validation_set: AudioDataset,
        budget: TimeBudget | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.generator = generator
        self.runtime = runtime
        self.sets: dict[Split, AudioDataset] = {"training": training_set, "validation": validation_set}
        self.budget = budget
        self._between = between
        self._latents: dict[Split, Tensor] = {}

    def draw_waveforms(self, step: Step, batch_size: int, frames: int, *, split: Split = "training") -> Tensor:
        """Random crops of a split (batch, channels, samples), `frames` latent frames long, on the device."""
        dataset, samples = self.sets[split], frames * self.generator.hop_samples
        indices = torch.randint(len(dataset), (batch_size,), generator=step.random("pair"))
        offsets = torch.randint(dataset.samples - samples + 1, (batch_size,), generator=step.random("offset"))
        waveforms = dataset.crops(indices, offsets, samples)
        refuse_broken(dataset, indices, waveforms)
        return waveforms.to(self.runtime.device, non_blocking=True)

    def draw_latents(self, step: Step, batch_size: int, frames: int, *, split: Split = "training") -> Tensor:
        """Random windows of a split's latents (batch, frames, latent_dim), on the device."""
        latents = self.latents(split)
        indices = torch.randint(len(latents), (batch_size,), generator=step.random("pair"))
        offsets = torch.randint(latents.shape[1] - frames + 1, (batch_size,), generator=step.random("offset"))
        places = offsets.unsqueeze(1) + torch.arange(frames)
        return latents[indices.unsqueeze(1), places].to(self.runtime.device, non_blocking=True)

    def latents(self, split: Split) -> Tensor:
        """Whitened latents (pairs, frames, latent_dim) of a split, encoded when they are first asked for."""
        if split not in self._latents:
            self._latents[split] = self.whitened(self.means(split))
        return self._latents[split]

    def means(self, split: Split) -> Tensor:
        """Latent means (pairs, frames, latent_dim) of a split, encoded now, on the CPU, before whitening."""
        dataset = self.sets[split]
        if self.budget is not None:
            stride = self.budget.encoding_stride(len(dataset), split)
            if split == "training":
                stride = int(self.runtime.agree(float(stride)))
            dataset = AudioDataset(dataset.pairs[::stride])
        kind = ENCODING if split == "training" else split
        with nullcontext() if self.budget is None else self.budget.measure(kind):
            return encode_dataset(self.generator, dataset, self.runtime, between=self._between)

    def whitened(self, means: Tensor) -> Tensor:
        """Latent means on the CPU (pairs, frames, latent_dim), whitened."""
        normaliser = self.generator.normaliser.to("cpu")
        latents = normaliser(means)
        normaliser.to(self.runtime.device)
        return latents

    def keep_latents(self, means: Tensor) -> None:
        """Take latent means of the training set that were encoded before; what was kept of other encoders goes."""
        self._latents = {"training": self.whitened(means)}

    def forget_latents(self) -> None:
        """Encode anew when latents are next asked for: the encoder has learned."""
        self._latents = {}


def refuse_broken(dataset: AudioDataset, indices: Sequence[int] | Tensor, waveforms: Tensor) -> None:
    """Raise a DatasetError that names the pair if waveforms (items, channels, samples) of these pairs hold NaN."""
    sums = waveforms.flatten(1).sum(dim=1)  # NaN and infinity stay in a sum
    if not bool(torch.isfinite(sums).all()):
        item = int((~torch.isfinite(sums)).nonzero()[0])
        place = getattr(dataset.pairs, "filename", None) or "the data set"
        raise DatasetError(broken_pair(place, int(indices[item])))


@torch.inference_mode()
def encode_dataset(
    generator: VariationalAttentionModel,
    dataset: AudioDataset,
    runtime: Runtime,
    *,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """Latent means (pairs, frames, latent_dim) of every pair of a data set, on the CPU, before whitening.

    `between` is called before every batch; what it raises ends the encoding.
    """
    frames = dataset.samples // generator.hop_samples
    pieces = []
    for index in range(0, len(dataset), ENCODED_PAIRS):
        between()
        places = range(index, min(index + ENCODED_PAIRS, len(dataset)))
        waveforms = torch.stack([dataset[item] for item in places])
        refuse_broken(dataset, places, waveforms)
        with runtime.autocast():
            pieces.append(generator.autoencoder.encode(waveforms.to(runtime.device))[0][:, :frames].float().cpu())
    means = torch.cat(pieces).clone()
    if not bool(torch.isfinite(means).all()):
        raise TrainingError(
            "the encoder diverged: it gives NaN or infinity for music that is sound. "
            "Lower the learning rate of stage autoencoder, and begin again or resume from an earlier epoch."
        )
    return means
