"""Muon: momentum whose matrices are made orthogonal before they are applied; everything else learns by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

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
        `matrices` are two-dimensional weights of hidden layers.
    stacked : iterable of nn.Parameter
        Those of `matrices` that are three on top of each other (query, key, value), which are made orthogonal apart.
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
        stacked: Iterable[nn.Parameter] = (),
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self.stacked = {id(parameter) for parameter in stacked}
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
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["is_matrix"]:
                self._take_orthogonal_steps(moving, group)
            elif moving:
                self._take_adaptive_steps(moving, group)
        return loss

    def _take_orthogonal_steps(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Move matrices; those of one shape are made orthogonal together."""
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for parameter in parameters:
            ahead, (rows, columns) = self._momentum_ahead(parameter, group), parameter.shape
            rows //= 3 if id(parameter) in self.stacked else 1
            for place, part in zip(parameter.split(rows), ahead.split(rows), strict=True):
                by_shape.setdefault((rows, columns), []).append((place, part))
        for shape, found in by_shape.items():
            size = RATE_PER_SIDE * max(shape) ** 0.5
            changes = orthogonalise(torch.stack([part for _, part in found]))
            for (place, _), change in zip(found, changes, strict=True):
                place.mul_(1.0 - group["lr"] * group["weight_decay"]).add_(change, alpha=-group["lr"] * size)

    def _momentum_ahead(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        """Nesterov's, in the type of the orthogonalisation: the momentum with the gradient at hand, once more."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1.0 - group["momentum"])
        return gradient.lerp(state["momentum"], group["momentum"]).to(self.dtype)

    def _take_adaptive_steps(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Move the others as AdamW does (arXiv 1711.05101)."""
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        first, second = group["betas"]
        adamw(
            [*parameters],
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            # fused code counts in tensors, and raises them before it uses them
            [
                torch.tensor(float(state["step"]), device=place.device)
                for state, place in zip(states, parameters, strict=True)
            ],
            fused=True,
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
        for state in states:
            state["step"] += 1


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1: from 0.2 to 1.9, but for the smallest.

    The polynomials work on the square of the shorter side alone, and their product is applied to the matrix once. So
    it is the square that is divided by the norm: it has fewer numbers.

    Parameters
    ----------
    matrices : Tensor [shape=(count, rows, columns)]
        In the type that products are wanted in.
    """
    is_high = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if is_high else matrices
    # The first polynomial is steep above 1, and rounding may lift a lone singular value above the norm.
    size = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True, dtype=torch.float32) + 1e-7
    size = size if matrices.dtype == torch.float32 else (1.0 + ROUNDED_UP) * size
    square = (wide @ wide.mT / size.square()).to(matrices.dtype)
    product = _factor(square, POLYNOMIALS[0])
    factor = product
    for polynomial in POLYNOMIALS[1:]:
        square = factor @ square @ factor
        factor = _factor(square, polynomial)
        product = factor @ product
    wide = (product / size).to(matrices.dtype) @ wide
    return wide.mT if is_high else wide


def _factor(square: Tensor, polynomial: tuple[float, float, float]) -> Tensor:
    """What a quintic multiplies matrices by, from their products with their transposes (count, side, side)."""
    a, b, c = polynomial
    factor = torch.baddbmm(square, square, square, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class SplitParameters(NamedTuple):
    """What Muon is made from."""

    matrices: list[nn.Parameter]
    others: list[nn.Parameter]
    stacked: list[nn.Parameter]


def split_parameters(network: nn.Module) -> SplitParameters:
    """The matrices of a network's repeated blocks (`blocks` in their name), and all its other parameters."""
    matrices, others, stacked = [], [], []
    for name, parameter in network.named_parameters():
        is_hidden = "blocks" in name and name.endswith(".weight") and parameter.ndim == 2
        (matrices if is_hidden else others).append(parameter)
        if name.endswith(".query_key_value.weight"):
            stacked.append(parameter)
    return SplitParameters(matrices, others, stacked)
