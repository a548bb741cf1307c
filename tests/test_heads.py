"""Queries, keys and values by heads, and their way back."""

import pytest
import torch
from torch.nn import functional

from piano.foundation.heads import rotate, turned_heads
from piano.foundation.layers import rotary_tables

BATCH, FRAMES, HEADS, DIM = 2, 7, 3, 8


def step_by_step(joined, scale, tables):
    """By the definition, and by PyTorch's own way back."""
    query, key, value = joined.unflatten(2, (3, HEADS, DIM)).permute(2, 0, 3, 1, 4)
    query, key = (
        rotate(functional.layer_norm(part, (DIM,)) * size, tables)
        for part, size in zip((query, key), scale, strict=True)
    )
    return query, key, value


def given(dtype):
    torch.manual_seed(0)
    joined = torch.randn(BATCH, FRAMES, 3 * HEADS * DIM, dtype=torch.float64).to(dtype)
    scale = 1.0 + 0.1 * torch.randn(2, 1, HEADS, 1, DIM, dtype=torch.float64)
    return joined.requires_grad_(), scale.requires_grad_()


def test_the_same_heads_and_gradients_as_step_by_step():
    joined, scale = given(torch.float64)
    tables = rotary_tables(FRAMES, DIM, like=joined)
    wanted = step_by_step(joined, scale, tables)
    found = turned_heads(joined, scale, tables)
    outwards = [torch.randn_like(part) for part in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(
        torch.autograd.grad(found, (joined, scale), outwards),
        torch.autograd.grad(wanted, (joined, scale), outwards),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_gradients_are_those_of_the_function():
    joined, scale = given(torch.float64)
    tables = rotary_tables(FRAMES, DIM, like=joined)
    assert torch.autograd.gradcheck(lambda given, size: turned_heads(given, size, tables), (joined, scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_and_without_gradients_the_heads_are_the_same_bits(dtype):
    """What is composed ahead without gradients is what the generator's turn composes with them."""
    joined, scale = given(dtype)
    tables = rotary_tables(FRAMES, DIM, like=joined)
    learning = turned_heads(joined, scale, tables)
    with torch.no_grad():
        playing = turned_heads(joined, scale, tables)
    for one, other in zip(learning, playing, strict=True):
        assert one.dtype == other.dtype == dtype
        assert torch.equal(one, other)


def test_a_judge_at_rest_hands_gradients_through():
    joined, scale = given(torch.float32)
    tables = rotary_tables(FRAMES, DIM, like=joined)
    query, key, value = turned_heads(joined, scale.detach(), tables)
    (query.sum() + (key * value).sum()).backward()
    assert joined.grad is not None
    assert bool(joined.grad.abs().sum(dim=(0, 1)).gt(0.0).all())
