"""One filter per channel: the sound of PyTorch's convolution, and a way back of its own on a CPU."""

import pytest
import torch
from torch.nn import functional

from piano.foundation.layers import DepthwiseConvolution

BATCH, FRAMES, CHANNELS, KERNEL = 2, 11, 3, 7


def layer_and_frames(dtype: torch.dtype = torch.float64) -> tuple[DepthwiseConvolution, torch.Tensor]:
    torch.manual_seed(0)
    layer = DepthwiseConvolution(CHANNELS, KERNEL).to(dtype)
    torch.nn.init.normal_(layer.bias)
    return layer, torch.randn(BATCH, FRAMES, CHANNELS, dtype=dtype, requires_grad=True)


def by_pytorch(layer: DepthwiseConvolution, frames: torch.Tensor) -> torch.Tensor:
    """The one-dimensional call, and PyTorch's own way back."""
    planes = functional.conv1d(
        frames.transpose(1, 2), layer.weight.squeeze(2), layer.bias, padding=KERNEL // 2, groups=CHANNELS
    )
    return planes.transpose(1, 2)


def test_the_same_frames_and_gradients_as_the_one_dimensional_call():
    layer, frames = layer_and_frames()
    found, wanted = layer(frames), by_pytorch(layer, frames)
    torch.testing.assert_close(found, wanted)
    outwards = torch.randn_like(wanted)
    into = (frames, layer.weight, layer.bias)
    for one, other in zip(
        torch.autograd.grad(found, into, outwards), torch.autograd.grad(wanted, into, outwards), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_gradients_and_theirs_are_those_of_the_function():
    layer, frames = layer_and_frames()

    def filtered(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (given,))

    given = (frames, layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_())
    assert torch.autograd.gradcheck(filtered, given)
    assert torch.autograd.gradgradcheck(filtered, given)


def test_what_rests_gets_no_gradient():
    layer, frames = layer_and_frames()
    layer.requires_grad_(False)
    layer(frames).sum().backward()
    assert frames.grad is not None and layer.weight.grad is None and layer.bias.grad is None
    layer.requires_grad_(True)
    layer(frames.detach()).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None


@pytest.mark.parametrize("precise", [True, False])
def test_with_and_without_gradients_the_frames_are_the_same_bits(precise: bool):
    layer, frames = layer_and_frames(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not precise):
        learning = layer(frames)
        with torch.no_grad():
            playing = layer(frames)
    assert learning.dtype == (torch.float32 if precise else torch.bfloat16)
    assert torch.equal(learning, playing)


def test_in_bfloat16_gradients_are_those_of_full_precision_but_for_rounding():
    layer, frames = layer_and_frames(torch.float32)
    into, outwards = (frames, layer.weight, layer.bias), torch.randn(BATCH, FRAMES, CHANNELS).bfloat16()
    wanted = torch.autograd.grad(layer(frames), into, outwards.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(frames)
    for one, other in zip(torch.autograd.grad(found, into, outwards), wanted, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.01 * other.norm()
