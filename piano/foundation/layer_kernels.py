"""What stands between the matrix products of `foundation.layers`, compiled: each passes over memory once.

Arrays are float32 and contiguous, (frames, channels). This module needs numba: see `foundation.compiled`.
"""

import numpy as np
import torch
from torch import Tensor

from piano.foundation.vector_math import compiled

_f = np.float32
_ROWS = "float32[:, ::1]"
_NUMBERS = "float32[::1]"
_EPSILON = _f(1e-5)
"""Of `nn.LayerNorm`."""


@compiled(f"void({_ROWS}, {_ROWS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_ROWS}, {_ROWS})", reorders_sums=True)
def add_and_norm(tokens, branch, gate, scale, shift, added, normed):
    """`added` = tokens + gate * branch; `normed` = layer norm of it, times scale, plus shift."""
    channels = tokens.shape[1]
    per = _f(1.0) / _f(channels)
    for frame in range(tokens.shape[0]):
        row, other, result, out = tokens[frame], branch[frame], added[frame], normed[frame]
        total = _f(0.0)
        for index in range(channels):
            value = row[index] + gate[index] * other[index]
            result[index] = value
            total += value
        mean = total * per
        total = _f(0.0)
        for index in range(channels):
            away = result[index] - mean
            total += away * away
        size = _f(1.0) / np.sqrt(total * per + _EPSILON)
        for index in range(channels):
            out[index] = (result[index] - mean) * size * scale[index] + shift[index]


@compiled(f"void({_ROWS}, float32[:, :, ::1], {_ROWS}, {_ROWS}, float32[:, :, :, ::1])", reorders_sums=True)
def split_heads(joined, scale, cosine, sine, heads):
    """Queries, keys and values by heads; queries and keys normalised, scaled and turned by their frame's angle.

    Parameters
    ----------
    joined : array [shape=(frames, 3 * heads * dim)]
    scale : array [shape=(2, heads, dim)]
        Of queries and keys.
    cosine, sine : array [shape=(frames, dim / 2)]
    heads : array [shape=(3, heads, frames, dim)]
        The result.
    """
    count, dim = heads.shape[1], heads.shape[3]
    half = dim // 2
    per = _f(1.0) / _f(dim)
    for frame in range(joined.shape[0]):
        turn, lift = cosine[frame], sine[frame]
        for kind in range(3):
            for head in range(count):
                begin = (kind * count + head) * dim
                row, out = joined[frame, begin : begin + dim], heads[kind, head, frame]
                if kind == 2:
                    for index in range(dim):
                        out[index] = row[index]
                    continue
                factor = scale[kind, head]
                total = _f(0.0)
                for index in range(dim):
                    total += row[index]
                mean = total * per
                total = _f(0.0)
                for index in range(dim):
                    away = row[index] - mean
                    total += away * away
                size = _f(1.0) / np.sqrt(total * per + _EPSILON)
                for index in range(half):
                    first = (row[index] - mean) * size * factor[index]
                    second = (row[half + index] - mean) * size * factor[half + index]
                    out[index] = first * turn[index] - second * lift[index]
                    out[half + index] = first * lift[index] + second * turn[index]


@compiled(f"void({_ROWS}, {_ROWS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_ROWS})", reorders_sums=True)
def depthwise_and_norm(frames, weight, bias, scale, shift, normed):
    """Layer norm of a convolution along the frames, one filter per channel, zero-padded; weight (taps, channels)."""
    count, channels = frames.shape
    taps = weight.shape[0]
    per = _f(1.0) / _f(channels)
    for frame in range(count):
        out = normed[frame]
        for index in range(channels):
            out[index] = bias[index]
        for tap in range(taps):
            place = frame + tap - taps // 2
            if 0 <= place < count:
                row, factor = frames[place], weight[tap]
                for index in range(channels):
                    out[index] += row[index] * factor[index]
        total = _f(0.0)
        for index in range(channels):
            total += out[index]
        mean = total * per
        total = _f(0.0)
        for index in range(channels):
            away = out[index] - mean
            total += away * away
        size = _f(1.0) / np.sqrt(total * per + _EPSILON)
        for index in range(channels):
            out[index] = (out[index] - mean) * size * scale[index] + shift[index]


class LayerKernels:
    """The same steps on tensors (batch, frames, channels) of the CPU."""

    def add_and_norm(
        self, tokens: Tensor, branch: Tensor, gate: Tensor, scale: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens with a branch added, and their layer norm; gate, scale and shift are (batch or 1, channels)."""
        added, normed = torch.empty_like(tokens), torch.empty_like(tokens)
        factors = [factor.expand(tokens.shape[0], -1).contiguous() for factor in (gate, scale, shift)]
        for item in range(tokens.shape[0]):
            given = [part[item].numpy() for part in (tokens, branch, *factors)]
            add_and_norm(*given, added[item].numpy(), normed[item].numpy())
        return added, normed

    def split_heads(self, joined: Tensor, scale: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Heads (3, batch, heads, frames, dim) of joined queries, keys and values (batch, frames, 3 * heads * dim)."""
        batch, frames, _ = joined.shape
        heads = torch.empty(batch, 3, scale.shape[1], frames, scale.shape[2])
        cosine, sine = (table.numpy() for table in tables)
        for item in range(batch):
            split_heads(joined[item].numpy(), scale.numpy(), cosine, sine, heads[item].numpy())
        return heads.transpose(0, 1)

    def depthwise_and_norm(self, frames: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Layer norm of the depthwise convolution of frames (batch, frames, channels)."""
        normed = torch.empty_like(frames)
        factors = [factor.numpy() for factor in (weight, bias, scale, shift)]
        for item in range(frames.shape[0]):
            depthwise_and_norm(frames[item].numpy(), *factors, normed[item].numpy())
        return normed
