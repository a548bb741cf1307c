"""Latents in memory, of which windows can be had as of those on disk."""

import torch
from torch import Tensor

from piano.training.training_run import TrainingRun


class HeldLatents:
    """Latents (items, frames, latent_dim) as `Windowed`."""

    def __init__(self, latents: Tensor) -> None:
        self.latents = latents
        self.frames = latents.shape[1]

    def __len__(self) -> int:
        return len(self.latents)

    def windows(self, items: Tensor, offsets: Tensor, frames: int) -> Tensor:
        return self.latents[items.unsqueeze(1), offsets.unsqueeze(1) + torch.arange(frames)]


def every_latent(run: TrainingRun) -> Tensor:
    """All whitened latents (pairs, frames, latent_dim) of a run's training music."""
    latents = run.data.latents("training")
    return latents.windows(torch.arange(len(latents)), torch.zeros(len(latents), dtype=torch.long), latents.frames)
