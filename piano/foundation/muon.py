"""Muon: momentum whose matrices are made orthogonal before they are applied; everything else learns by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of a quintic that drives singular values to about 1 (K. Jordan et al., 2024, kellerjordan.github.io)."""
NEWTON_SCHULZ_STEPS = 5
RATE_PER_SIDE = 0.2
"""An orthogonal matrix times this and the root of its longer side is as large as an AdamW step (arXiv 2502.16982)."""


class Muon(Optimizer):
    """Orthogonalised momentum for the matrices of a network, AdamW for its other parameters, at one learning rate.

    Parameters
    ----------
    matrices, others : iterable of nn.Parameter
        `matrices` are two-dimensional weights of hidden layers. A matrix three times as high as wide is three stacked
        square ones (query, key, value).
    lr : float
    betas : pair of float
        Of AdamW; Muon's momentum is MOMENTUM.
    weight_decay : float
    momentum : float
    dtype : torch.dtype
        Of the orthogonalisation; bfloat16 suffices where the processor multiplies it.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum}
        groups = [{"params": list(matrices), "is_matrix": True}, {"params": list(others), "is_matrix": False}]
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                change = self._orthogonal_step if group["is_matrix"] else self._adaptive_step
                parameter.add_(change(parameter, group), alpha=-group["lr"])
        return loss

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1.0 - group["momentum"])
        ahead = gradient.lerp(state["momentum"], group["momentum"])
        rows, columns = ahead.shape
        squares = ahead.split(columns) if rows == 3 * columns else (ahead,)
        return torch.cat(
            [RATE_PER_SIDE * max(square.shape) ** 0.5 * orthogonalise(square, self.dtype) for square in squares]
        )

    def _adaptive_step(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """AdamW's (arXiv 1711.05101)."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second = group["betas"]
        state["step"] += 1
        state["mean"].lerp_(gradient, 1.0 - first)
        state["square"].lerp_(gradient.square(), 1.0 - second)
        size = (state["square"] / (1.0 - second ** state["step"])).sqrt_().add_(1e-8)
        return state["mean"] / (1.0 - first ** state["step"]) / size


def orthogonalise(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest matrix with all singular values about 1 (between 0.7 and 1.2), by Newton and Schulz."""
    a, b, c = NEWTON_SCHULZ
    is_high = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if is_high else matrix).to(dtype)
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return (wide.T if is_high else wide).to(matrix.dtype)


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices of a network's repeated blocks (`blocks` in their name), and all its other parameters."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        is_hidden = "blocks" in name and name.endswith(".weight") and parameter.ndim == 2
        (matrices if is_hidden else others).append(parameter)
    return matrices, others
