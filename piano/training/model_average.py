"""The averaged weights of a generator."""

import copy

import torch
from torch import nn

from piano.piano_model import VariationalAttentionModel


class ModelAverage:
    """Exponential moving average of the generator's weights, the ones that generate and validate."""

    def __init__(self, network: VariationalAttentionModel, decay: float) -> None:
        self.network: VariationalAttentionModel = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network; early steps move faster, so that the start is forgotten."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9.0))
        for own, new in zip(self.network.parameters(), network.parameters(), strict=True):
            own.lerp_(new, 1.0 - decay)
        for own, new in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(new)
