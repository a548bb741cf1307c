"""Muon: momentum whose matrices are made orthogonal before they are applied; everything else learns by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)
"""Quintics a x + b x^3 + c x^5 for singular values, one after the other: the first three of Polar Express (Amsel et
al., arXiv 2505.16932). They lead to between 0.2 and 1.9, not to 1, and learn as well as five Newton-Schulz steps of
Jordan's (kellerjordan.github.io), which cost half as much again; three that lead to between 0.73 and 1.27 learn less
well (docs/experiments.md)."""
RATE_PER_SIDE = 0.2
"""An orthogonal matrix times this and the root of its longer side is as large as an AdamW step (arXiv 2502.16982)."""

ROUNDED_UP = 0.02
"""By how much the divisor of a matrix in bfloat16 is above its norm: several times what its products are off."""


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
    """A matrix with the same singular vectors and singular values near 1: from 0.2 to 1.9, but for the smallest.

    The polynomials work on the square of the shorter side alone, and their product is applied to the matrix once.
    """
    is_high = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if is_high else matrix
    # The first polynomial is steep above 1, and rounding may lift a lone singular value above the norm.
    size = wide.float().norm() * (1.0 if dtype == torch.float32 else 1.0 + ROUNDED_UP)
    wide = (wide / (size + 1e-7)).to(dtype)
    square = wide @ wide.T
    product = _factor(square, POLYNOMIALS[0])
    factor = product
    for polynomial in POLYNOMIALS[1:]:
        square = factor @ square @ factor
        factor = _factor(square, polynomial)
        product = factor @ product
    wide = product @ wide
    return (wide.T if is_high else wide).to(matrix.dtype)


def _factor(square: Tensor, polynomial: tuple[float, float, float]) -> Tensor:
    """What a quintic multiplies a matrix by, from the product of that matrix with its transpose."""
    a, b, c = polynomial
    factor = torch.addmm(square, square, square, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices of a network's repeated blocks (`blocks` in their name), and all its other parameters."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        is_hidden = "blocks" in name and name.endswith(".weight") and parameter.ndim == 2
        (matrices if is_hidden else others).append(parameter)
    return matrices, others
