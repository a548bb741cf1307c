"""Measured figures that a network has only once they were measured: models of before may have none."""

from collections.abc import Mapping
from typing import Any

from torch import nn


class OptionalBuffers(nn.Module):
    """A module some of whose buffers are None until they are measured, and are loaded where a state has them."""

    def optional_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each such buffer, by name."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        like = next(self.buffers())
        for name, shape in self.optional_shapes().items():
            setattr(self, name, like.new_zeros(shape) if prefix + name in state_dict else None)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
