"""The building blocks that more than one network uses; every tensor is (batch, frames, channels)."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from piano.foundation.heads import turned_heads

EXPLICIT_FRAMES = 512
"""Up to this many frames a CPU multiplies attention out."""


class DepthwiseConvolution(nn.Module):
    """One filter per channel along the frames, centred, zero-padded.

    Runs as a 2-D convolution of height one: on a CPU that is 2.4 times faster than the 1-D call (docs/experiments.md).
    There it also has a way back of its own, in bfloat16 several times as fast as PyTorch's.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.randn(channels, 1, 1, kernel_size) / math.sqrt(kernel_size))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, frames: Tensor) -> Tensor:
        planes = rearrange(frames, "batch frames channels -> batch channels 1 frames")
        is_learning = torch.is_grad_enabled() and (planes.requires_grad or self.weight.requires_grad)
        if is_learning and planes.device.type == "cpu":
            planes = _DepthwiseOnCpu.apply(planes, self.weight, self.bias, self.padding)
        else:
            planes = _depthwise(planes, self.weight, self.bias, self.padding)
        return rearrange(planes, "batch channels 1 frames -> batch frames channels")


def _depthwise(planes: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Planes [shape=(batch, channels, 1, frames)], each channel with its filter."""
    return functional.conv2d(planes, weight, bias, padding=(0, padding), groups=weight.shape[0])


class _DepthwiseOnCpu(torch.autograd.Function):
    """`_depthwise`, with gradients of planes, weight and bias.

    PyTorch's own gradient of the bias adds frame by frame, and that of the weight is slow in bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(planes, weight)
        ctx.padding = padding
        return _depthwise(planes, weight, bias, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        planes, weight = ctx.saved_tensors
        of_planes = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_planes = _depthwise(gradient, weight.to(gradient.dtype).flip(-1), None, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = conv2d_weight(
                planes.to(weight.dtype),
                weight.shape,
                gradient.to(weight.dtype),
                padding=(0, ctx.padding),  # type: ignore[reportArgumentType]
                groups=weight.shape[0],
            )
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3))
        return of_planes, of_weight, of_bias, None


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm, two-layer perceptron, residual (Liu et al., arXiv 2201.03545).

    Parameters
    ----------
    channels : int
    expansion : int
        Width of the hidden layer in units of `channels`.
    kernel_size : int
        Frames one depthwise filter spans; odd.
    residual_scale : float
        Initial weight of the residual branch (LayerScale).
    """

    def __init__(self, channels: int, *, expansion: int = 3, kernel_size: int = 7, residual_scale: float = 1.0) -> None:
        super().__init__()
        self.depthwise = DepthwiseConvolution(channels, kernel_size)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.contract = nn.Linear(expansion * channels, channels)
        self.residual_scale = nn.Parameter(torch.full((channels,), residual_scale))

    def forward(self, frames: Tensor) -> Tensor:
        """Map (batch, frames, channels) to the same shape."""
        hidden = functional.gelu(self.expand(self.norm(self.depthwise(frames))))
        return frames + self.residual_scale * self.contract(hidden)


class FrameConvolution(nn.Module):
    """Dense convolution along the frames; `stride` frames become one when it is above 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2 if stride == 1 else 0
        self.convolution = nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (batch, frames, in_channels) to (batch, frames / stride, out_channels)."""
        return self.convolution(frames.transpose(1, 2)).transpose(1, 2)


class FourierEmbedding(nn.Module):
    """A number in [0, 1] per frame as sines and cosines, then a perceptron."""

    frequencies: Tensor

    def __init__(self, channels: int, *, num_frequencies: int = 16) -> None:
        super().__init__()
        frequencies = math.pi * 2.0 ** torch.linspace(0.0, 6.0, num_frequencies)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.project = nn.Sequential(nn.Linear(2 * num_frequencies, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, level: Tensor) -> Tensor:
        """Map levels [shape=(batch, frames)] to (batch, frames, channels)."""
        angles = level.unsqueeze(-1) * self.frequencies
        return self.project(torch.cat([angles.sin(), angles.cos()], dim=-1))


def rotary_tables(frames: int, head_dim: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions (RoPE, arXiv 2104.09864) [shape=(frames, head_dim / 2)]."""
    rates = 1000.0 ** (-torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = torch.arange(frames, device=like.device, dtype=torch.float32).unsqueeze(1) * rates
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of heads [shape=(batch, heads, frames, head_dim)].

    On a CPU short sequences are multiplied out: the fused kernel's way back is several times slower there.
    """
    if query.device.type != "cpu" or query.shape[-2] > EXPLICIT_FRAMES:
        return functional.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return scores.softmax(dim=-1) @ value


class AttentionBlock(nn.Module):
    """Pre-norm transformer block: layer norm, normalised queries and keys, rotary positions, bidirectional.

    A modulation vector (one per sequence: shift and scale of both branches, and their gates) conditions the block;
    the table that makes it is shared by all blocks, each adds its own bias (AdaLN-single, arXiv 2310.00426).
    """

    def __init__(self, channels: int, num_heads: int, *, dropout: float = 0.0, expansion: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.query_key_scale = nn.Parameter(torch.ones(2, 1, num_heads, 1, channels // num_heads))
        self.attention_out = nn.Linear(channels, channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.contract = nn.Linear(expansion * channels, channels)
        self.modulation_bias = nn.Parameter(torch.zeros(6, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, modulation: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Map tokens (batch, frames, channels), modulation (batch, 6, channels) to (batch, frames, channels)."""
        shift_a, scale_a, gate_a, shift_p, scale_p, gate_p = (
            (modulation + self.modulation_bias).unsqueeze(2).to(tokens.dtype).unbind(dim=1)
        )
        hidden = torch.addcmul(shift_a, self.norm(tokens), 1.0 + scale_a)
        mixed = self.dropout(self.mix(hidden, tables))
        tokens = torch.addcmul(tokens, 1.0 + gate_a, mixed)
        hidden = torch.addcmul(shift_p, self.norm(tokens), 1.0 + scale_p)
        hidden = self.dropout(self.contract(functional.gelu(self.expand(hidden))))
        return torch.addcmul(tokens, 1.0 + gate_p, hidden)

    def mix(self, hidden: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """What each frame takes from all frames."""
        mixed = attend(*turned_heads(self.query_key_value(hidden), self.query_key_scale, tables))
        return self.attention_out(rearrange(mixed, "batch heads frames dim -> batch frames (heads dim)"))


class LatentTransformer(nn.Module):
    """Bidirectional transformer over latent frames that is told how noisy every frame is.

    The noise level of each frame is added to its token; the mean level of the sequence modulates every block.
    """

    def __init__(
        self, latent_dim: int, channels: int, num_heads: int, num_layers: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.embed = nn.Linear(latent_dim, channels)
        self.level_embedding = FourierEmbedding(channels)
        to_modulation = nn.Linear(channels, 6 * channels)
        self.modulation = nn.Sequential(nn.SiLU(), to_modulation)
        self.blocks = nn.ModuleList(AttentionBlock(channels, num_heads, dropout=dropout) for _ in range(num_layers))
        nn.init.zeros_(to_modulation.weight)
        nn.init.zeros_(to_modulation.bias)

    def forward(
        self, latents: Tensor, level: Tensor, *, tokens: Tensor | float = 0.0, condition: Tensor | float = 0.0
    ) -> Tensor:
        """Hidden frames.

        Parameters
        ----------
        latents : Tensor [shape=(batch, frames, latent_dim)]
        level : Tensor [shape=(batch, frames)]
            Noise level of each frame, 0 clean to 1 white noise.
        tokens : Tensor [shape=(batch, frames, channels)]
            Added to the embedded latents.
        condition : Tensor [shape=(batch, channels)]
            Added to what modulates the blocks.

        Returns
        -------
        Tensor [shape=(batch, frames, channels)]
        """
        levels = self.level_embedding(level)
        modulation = rearrange(
            self.modulation(levels.mean(dim=1) + condition), "batch (six channels) -> batch six channels", six=6
        )
        hidden = self.embed(latents) + levels + tokens
        tables = rotary_tables(latents.shape[1], hidden.shape[-1] // self.num_heads, like=hidden)
        for block in self.blocks:
            hidden = block(hidden, modulation, tables)
        return hidden
