"""The averaged weights of a generator."""

import copy

import torch
from torch import Tensor, nn

from piano.piano_model import VariationalAttentionModel


class ModelAverage:
    """Exponential moving average of the generator's weights, the ones that generate and validate."""

    def __init__(self, network: VariationalAttentionModel, decay: float) -> None:
        self.network: VariationalAttentionModel = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0
        self._seen: dict[int, int] = {}
        self._resting: dict[int, tuple[int, int]] = {}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network; early steps move faster, so that the start is forgotten."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9.0))
        pairs = list(zip(self.network.parameters(), network.parameters(), strict=True))
        moving = [pair for index, pair in enumerate(pairs) if not self._rests(index, *pair)]
        if moving:
            averages, weights = [own for own, _ in moving], [new for _, new in moving]
            torch._foreach_lerp_(averages, weights, 1.0 - decay)  # type: ignore[reportPrivateImportUsage]
        for own, new in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(new)

    def _rests(self, index: int, own: Tensor, new: Tensor) -> bool:
        """Whether a parameter is what it was at the last update, and its average is equal: most of a network, mostly.

        PyTorch counts how often a tensor was written to, so equality is looked at once.
        """
        versions = own._version, new._version
        if self._resting.get(index) == versions:
            return True
        has_moved = self._seen.get(index) != new._version
        self._seen[index] = new._version
        if has_moved or not torch.equal(own, new):
            return False
        self._resting[index] = versions
        return True
