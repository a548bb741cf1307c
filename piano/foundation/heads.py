"""Queries, keys and values by heads: normalised, scaled and turned by their frame's angle, with a way back of its own.

PyTorch's way back of the same steps takes nearly twice as long (docs/experiments.md).
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5
"""Of the layer norm."""


def rotate(heads: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of head channels by its frame's angle; heads [shape=(..., frames, head_dim)]."""
    cosine, sine = tables
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def turned_heads(joined: Tensor, scale: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of rotary attention with normalised queries and keys (arXiv 2010.04245, 2104.09864).

    Parameters
    ----------
    joined : Tensor [shape=(batch, frames, 3 * heads * head_dim)]
        Queries, keys and values of all heads.
    scale : Tensor [shape=(2, 1, heads, 1, head_dim)]
        Of normalised queries and keys.
    tables : pair of Tensor [shape=(frames, head_dim / 2)]
        See `foundation.layers.rotary_tables`.

    Returns
    -------
    three Tensor [shape=(batch, heads, frames, head_dim)]
    """
    scale, (cosine, sine) = scale.to(joined.dtype), (table.to(joined.dtype) for table in tables)
    if torch.is_grad_enabled() and joined.requires_grad:
        return _TurnedHeads.apply(joined, scale, cosine, sine)  # type: ignore[reportReturnType]
    heads = _by_heads(joined, scale.shape[2])
    query, key = rotate(functional.layer_norm(heads[:2], scale.shape[-1:], eps=EPSILON) * scale, (cosine, sine))
    return query, key, heads[2]


def _by_heads(joined: Tensor, heads: int) -> Tensor:
    return rearrange(joined, "batch frames (qkv heads dim) -> qkv batch heads frames dim", qkv=3, heads=heads)


class _TurnedHeads(torch.autograd.Function):
    """`turned_heads`, with gradients of `joined` and `scale`."""

    @staticmethod
    def forward(ctx: Any, joined: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, ...]:
        heads = _by_heads(joined, scale.shape[2])
        plain = heads[:2].contiguous()
        normed, mean, inverse = torch.native_layer_norm(plain, scale.shape[-1:], None, None, EPSILON)
        query, key = rotate(normed * scale, (cosine, sine))  # as without gradients, bit for bit
        ctx.save_for_backward(plain, normed, mean, inverse, scale, cosine, sine)
        return query, key, heads[2].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        plain, normed, mean, inverse, scale, cosine, sine = ctx.saved_tensors
        back = torch.empty_like(normed)
        for place, gradient in zip(back, gradients[:2], strict=True):
            (begin, end), (first, second) = gradient.chunk(2, dim=-1), place.chunk(2, dim=-1)
            torch.mul(begin, cosine, out=first).addcmul_(end, sine)
            torch.mul(end, cosine, out=second).addcmul_(begin, sine, value=-1.0)
        of_scale = None
        if ctx.needs_input_grad[1]:
            each = (back * normed).sum(dim=3, keepdim=True)  # over all but the last dimension: several times slower
            of_scale = each.sum(dim=1, keepdim=True)
        back, _, _ = torch.ops.aten.native_layer_norm_backward(
            back.mul_(scale), plain, scale.shape[-1:], mean, inverse, None, None, [True, False, False]
        )
        batch, heads, frames, dim = gradients[2].shape
        joined = back.new_empty(batch, frames, 3, heads, dim)
        by_heads = joined.permute(2, 0, 3, 1, 4)
        by_heads[:2].copy_(back)
        by_heads[2].copy_(gradients[2])
        return joined.flatten(2), of_scale, None, None
