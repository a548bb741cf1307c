"""How strongly each of several losses pulls at a tensor: read off the backward pass they take anyway."""

from collections.abc import Mapping

from torch import Tensor


class GradientNorms:
    """Norms of the gradients that flow into taps of a tensor.

    Parameters
    ----------
    prefix : str
        Of the names in `terms`.
    weights : mapping of str to float
        What each loss counts; taken out of its norm again.
    """

    def __init__(self, prefix: str, weights: Mapping[str, float]) -> None:
        self.prefix = prefix
        self.weights = weights
        self._norms: dict[str, Tensor] = {}

    def tap(self, name: str, tensor: Tensor) -> Tensor:
        """The same tensor, for one loss to read."""
        view = tensor.view_as(tensor)
        if view.requires_grad:
            view.register_hook(lambda gradient: self._norms.update({name: gradient.detach().float().norm()}))
        return view

    def terms(self, *, scale: float = 1.0) -> dict[str, Tensor]:
        """Norm of each loss's own gradient, unweighted, after the backward pass of (total / scale)."""
        return {
            f"{self.prefix}_{name}": scale * norm / self.weights[name]
            for name, norm in self._norms.items()
            if self.weights[name]
        }
