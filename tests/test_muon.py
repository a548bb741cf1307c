"""Muon orthogonalises matrices, is AdamW for the rest, and resumes exactly."""

import copy

import pytest
import torch
from torch import nn

from piano.foundation.layers import AttentionBlock, ConvNeXtBlock
from piano.foundation.muon import Muon, orthogonalise, split_parameters


class SmallNetwork(nn.Module):
    """Two blocks of matrices after a layer that is no block."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.blocks = nn.Sequential(nn.Linear(8, 24, bias=False), nn.Tanh(), nn.Linear(24, 8), nn.Tanh())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.embed(values))


def small_network(seed: int = 0) -> SmallNetwork:
    """A network of a seed."""
    torch.manual_seed(seed)
    return SmallNetwork()


def test_orthogonalised_matrices_have_singular_values_about_one() -> None:
    random = torch.Generator().manual_seed(0)
    for shape in ((64, 64), (256, 64), (64, 256)):
        matrix = torch.randn(shape, generator=random)
        before = torch.linalg.svdvals(matrix / matrix.norm())
        after = torch.linalg.svdvals(orthogonalise(matrix[None])[0])
        assert after.max() < 1.9
        assert after.quantile(0.25) > 0.2  # the smallest of a square matrix are next to nothing, and stay small
        assert before.max() < 0.3
        assert after.median() == pytest.approx(1.15, abs=0.05)


@pytest.mark.parametrize("shape", [(64, 64), (256, 64), (192, 768)])
def test_in_bfloat16_a_matrix_of_one_direction_is_not_blown_up(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(3)
    for _ in range(40):  # as the gradient is where all frames are alike
        tall, wide = (torch.randn(side, generator=random).exp() for side in shape)
        assert orthogonalise(torch.outer(tall, wide)[None].bfloat16()).norm() < 2.0


def test_only_matrices_of_blocks_are_orthogonalised() -> None:
    matrices, others, _ = split_parameters(small_network())
    assert [tuple(matrix.shape) for matrix in matrices] == [(24, 8), (8, 24)]
    assert {tuple(other.shape) for other in others} == {(8, 5), (8,)}


def test_only_query_key_and_value_are_stacked() -> None:
    attention = AttentionBlock(16, 2)
    network = nn.ModuleDict({"blocks": nn.ModuleList([attention, ConvNeXtBlock(16, expansion=3)])})
    stacked = split_parameters(network).stacked
    assert [id(parameter) for parameter in stacked] == [id(attention.query_key_value.weight)]


def test_query_key_and_value_are_orthogonalised_apart() -> None:
    weight = nn.Parameter(torch.zeros(24, 8))
    random = torch.Generator().manual_seed(1)
    weight.grad = torch.randn(24, 8, generator=random) * torch.tensor([100.0, 1.0, 0.01]).repeat_interleave(8)[:, None]
    Muon([weight], [], [weight], lr=1.0, weight_decay=0.0).step()
    sizes = [part.norm() for part in weight.detach().split(8)]
    assert max(sizes) < 1.5 * min(sizes)


def test_the_rest_moves_as_with_adamw() -> None:
    random = torch.Generator().manual_seed(2)
    own, reference = nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(6))
    optimizers = (
        Muon([], [own], lr=0.1, betas=(0.8, 0.99), weight_decay=0.01),
        torch.optim.AdamW([reference], lr=0.1, betas=(0.8, 0.99), weight_decay=0.01),
    )
    for _ in range(5):
        gradient = torch.randn(6, generator=random)
        for parameter, optimizer in zip((own, reference), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(own, reference)


def test_it_learns() -> None:
    network, target = small_network(), small_network(seed=1)
    values = torch.randn(64, 5, generator=torch.Generator().manual_seed(3))
    wanted = target(values).detach()
    optimizer = Muon(*split_parameters(network), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (network(values) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]


def test_resumed_steps_equal_uninterrupted_ones() -> None:
    values = torch.randn(16, 5, generator=torch.Generator().manual_seed(4))

    def train(network: SmallNetwork, optimizer: Muon, steps: int) -> None:
        for _ in range(steps):
            network(values).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    whole = small_network()
    train(whole, Muon(*split_parameters(whole), lr=0.01), 6)
    first = small_network()
    optimizer = Muon(*split_parameters(first), lr=0.01)
    train(first, optimizer, 3)
    second = copy.deepcopy(first)
    again = Muon(*split_parameters(second), lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(second, again, 3)
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
