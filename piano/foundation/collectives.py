"""Batches of which every process of a run holds a part, put together: with gradients, or with parts of any length."""

from typing import Any, NamedTuple, cast

import torch
import torch.distributed
from torch import Tensor

Group = Any
"""A process group of torch.distributed; None in a run of one process."""


class Crowd(NamedTuple):
    """The items of all processes, and where one's own begin among them."""

    items: Tensor
    """[shape=(all items, ...)], in the order of ranks."""
    first: int


class _WholeBatch(torch.autograd.Function):
    """All parts in the order of ranks; what every process's loss says about a part comes back to its owner, summed."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Group) -> Tensor:
        ctx.group, ctx.count = group, len(own)
        return torch.cat(_parts(own, group))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed, group=ctx.group)
        first = torch.distributed.get_rank(ctx.group) * ctx.count
        return summed[first : first + ctx.count], None


def whole_batch(own: Tensor, group: Group) -> Tensor:
    """The batch of which every process holds `own` (items, ...), as many items each.

    A loss of the whole batch, computed in every process and averaged over them (as gradients are), gives each process
    the gradient that one process would have.
    """
    return own if group is None else cast(Tensor, _WholeBatch.apply(own, group))


def detached_batch(own: Tensor, group: Group) -> Tensor:
    """The same without gradients."""
    own = own.detach()
    return own if group is None else torch.cat(_parts(own, group))


def crowd_of(own: Tensor, group: Group) -> Crowd:
    """The detached items of all processes, of which some may have fewer, or none."""
    own = own.detach()
    if group is None:
        return Crowd(own, 0)
    counts = [int(count) for count in _parts(torch.tensor([len(own)], device=own.device), group)]
    padded = own.new_zeros(max(counts), *own.shape[1:], dtype=torch.float32)
    padded[: len(own)] = own
    parts = _parts(padded, group) if max(counts) else [padded]
    items = torch.cat([part[:count] for part, count in zip(parts, counts, strict=False)])
    return Crowd(items, sum(counts[: torch.distributed.get_rank(group)]))


def _parts(own: Tensor, group: Group) -> list[Tensor]:
    """Every process's tensor, all of one shape, in the order of ranks."""
    own = own.contiguous()
    parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size(group))]
    torch.distributed.all_gather(parts, own, group=group)
    return parts
