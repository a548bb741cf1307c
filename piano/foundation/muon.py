"""Muon: momentum whose matrices are made orthogonal before they are applied; everything else learns by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

POLYNOMIALS = (
    (8.093369, -23.620433, 17.446154),
    (3.636586, -2.721927, 0.536546),
    (2.661300, -1.977155, 0.452616),
)
"""Quintics a x + b x^3 + c x^5 that bring singular values from 0.01 to 1 to between 0.73 and 1.27, one after the other:
each is the nearest to 1 on what the one before leaves (Polar Express, Amsel et al., arXiv 2505.16932). They are as good
as five Newton-Schulz steps of Jordan's (kellerjordan.github.io), and cost two thirds (docs/experiments.md)."""
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
    """Nearly the nearest matrix with all singular values 1; those below a hundredth of its norm stay smaller.

    The polynomials work on the square of the shorter side alone, and their product is applied to the matrix once.
    """
    is_high = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if is_high else matrix).to(dtype)
    wide = wide / (wide.norm() + 1e-7)
    square, product = wide @ wide.T, None
    for number, (a, b, c) in enumerate(POLYNOMIALS, start=1):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if number < len(POLYNOMIALS):
            square = factor @ square @ factor
    wide = product @ wide
    return (wide.T if is_high else wide).to(matrix.dtype)


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices of a network's repeated blocks (`blocks` in their name), and all its other parameters."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        is_hidden = "blocks" in name and name.endswith(".weight") and parameter.ndim == 2
        (matrices if is_hidden else others).append(parameter)
    return matrices, others
