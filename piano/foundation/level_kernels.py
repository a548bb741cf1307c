"""From a decoder's spectrum to the magnitudes of every channel, compiled: scatter, contrast, level, stereo.

What it computes is said, and done in PyTorch, in `foundation.texture` and `foundation.stereo`. Arrays are float32 and
contiguous; every row is worked on alone. This module needs numba: see `foundation.compiled`.
"""

import numpy as np
import torch
from torch import Tensor

from piano.foundation.bands import band_of_bins
from piano.foundation.stereo import StereoImage, channel_gains
from piano.foundation.texture import AROUND_BINS, LOWEST_LEVEL, MEAN_SCATTER, Texture
from piano.foundation.vector_math import compiled, exp32, log32

_f = np.float32
_ROWS = "float32[:, ::1]"
_NUMBERS = "float32[::1]"
_EDGES = "uint64[::1]"
"""First bin of every band, and the end of the last one: loops over a band need no look-up, so that they become vectors.
Without a sign, for numba takes negative indices to count from the end, and tests for them."""


@compiled(f"void({_ROWS}, int64, float32, {_NUMBERS}, {_ROWS})")
def unnormalise(values, first, scale, mean, levels):
    """Log magnitudes of a layer: spectrum values from column `first` on, times scale, plus their mean."""
    for frame in range(levels.shape[0]):
        row = values[frame, first : first + levels.shape[1]]
        for index in range(levels.shape[1]):
            levels[frame, index] = row[index] * scale + mean[first + index]


@compiled(f"void({_ROWS}, {_ROWS}, int64, {_EDGES}, {_NUMBERS}, {_ROWS}, float32, float32, float32, {_ROWS})")
def add_texture(levels, noise, around, edges, contrast, amount, lowest, mean_scatter, shift, out):
    """Contrast, then scatter, then the music's level: `Texture.forward`.

    Parameters
    ----------
    levels : array [shape=(frames, bins)]
        Log magnitudes.
    noise : array [shape=(frames, 2 * bins)]
        Spectrum of white noise, real and imaginary parts.
    around : int
        Bins whose mean contrast moves away from: 17; 0 where there is no contrast.
    edges : array [shape=(bands + 1,)]
    contrast : array [shape=(bands,)]
    amount : array [shape=(bands, num_levels)]
    lowest : float
        Log magnitude of the first level.
    mean_scatter : float
        Mean log magnitude of the noise.
    shift : float
        Added to all.
    out : array [shape=(frames, bins)]
    """
    bins = levels.shape[1]
    side = around // 2
    # Sums of 2, 4, 8, 16 neighbours, and of one more; zeros lie around the row.
    padded = np.zeros(bins + 2 * side + 16, np.float32)
    sums = np.zeros(bins + 2 * side + 16, np.float32)
    share_of = np.ones(bins, np.float32)
    gain = np.zeros(bins, np.float32)
    level = np.empty(bins, np.float32)
    strength = np.empty(bins, np.float32)
    for index in range(bins):
        share_of[index] = _f(1.0) / _f(min(index + side, bins - 1) - max(index - side, 0) + 1)
    for number in range(contrast.shape[0]):
        for index in range(edges[number], edges[number + 1]):
            gain[index] = contrast[number]
    top = _f(amount.shape[1] - 1)
    for frame in range(levels.shape[0]):
        row, white, result = levels[frame], noise[frame], out[frame]
        for index in range(bins):
            result[index] = row[index]
        if around:
            padded[side : side + bins] = row
            for index in range(bins + 15):
                sums[index] = padded[index] + padded[index + 1]
            for span in (2, 4, 8):
                for index in range(bins + 16 - 2 * span + 1):
                    sums[index] = sums[index] + sums[index + span]
            for index in range(bins):
                mean = (sums[index] + padded[index + 16]) * share_of[index]
                result[index] = row[index] + gain[index] * (row[index] - mean)
        for index in range(bins):
            level[index] = min(max(result[index] - lowest, _f(0.0)), top)
        # The strength between two levels is a straight line: the sum of all steps up to there, the last one in part.
        for number in range(contrast.shape[0]):
            first, end = edges[number], edges[number + 1]
            strength[first:end] = amount[number, 0]
            for place in range(amount.shape[1] - 1):
                step, base = amount[number, place + 1] - amount[number, place], _f(place)
                for index in range(first, end):
                    strength[index] += step * min(max(level[index] - base, _f(0.0)), _f(1.0))
        for index in range(bins):
            real, imag = white[2 * index], white[2 * index + 1]
            scatter = log32(np.sqrt(real * real + imag * imag) + _f(1e-6)) - mean_scatter
            result[index] += strength[index] * scatter + shift


@compiled(f"void({_ROWS}, float32, {_ROWS})")
def linear(levels, floor, magnitude):
    """Magnitudes of log magnitudes to which a floor was added."""
    for frame in range(levels.shape[0]):
        for index in range(levels.shape[1]):
            magnitude[frame, index] = max(exp32(levels[frame, index]) - floor, _f(0.0))


@compiled(f"void({_ROWS}, {_ROWS}, {_ROWS}, {_EDGES}, float32, {_ROWS}, {_ROWS}, {_ROWS})")
def spread(common, gains, coherence, edges, floor, left, right, cosine):
    """Magnitudes of left and right, and the cosine between them, of a spectrum of both.

    Parameters
    ----------
    common : array [shape=(frames, bins)]
        Log magnitudes.
    gains : array [shape=(frames, 2 * bands)]
        Factors of left, then of right.
    coherence : array [shape=(frames, bands)]
    edges : array [shape=(bands + 1,)]
    floor : float
        Was added to magnitudes before the logarithm.
    """
    bands = coherence.shape[1]
    for frame in range(common.shape[0]):
        for band in range(bands):
            left_gain, right_gain, between = gains[frame, band], gains[frame, bands + band], coherence[frame, band]
            for index in range(edges[band], edges[band + 1]):
                magnitude = exp32(common[frame, index])
                left[frame, index] = max(magnitude * left_gain - floor, _f(0.0))
                right[frame, index] = max(magnitude * right_gain - floor, _f(0.0))
                cosine[frame, index] = between


class LevelKernels:
    """The same steps on tensors of the CPU."""

    def unnormalise(self, values: Tensor, layer: int, bins: int, scale: float, mean: Tensor) -> Tensor:
        """Log magnitudes (frames, bins) of a layer of spectrum values (frames, values)."""
        levels = torch.empty(values.shape[0], bins)
        unnormalise(values.contiguous().numpy(), layer * bins, scale, mean.numpy(), levels.numpy())
        return levels

    def add_texture(self, texture: Texture, levels: Tensor, noise: Tensor) -> Tensor:
        """Log magnitudes (frames, bins) with scatter from white noise (frames + 3, hop_length): `Texture.forward`."""
        white = torch.view_as_real(texture.noise_spectrum(noise)).flatten(-2).contiguous()
        contrast = torch.zeros(texture.amount.shape[0]) if texture.contrast is None else texture.contrast
        result = torch.empty_like(levels)
        add_texture(
            levels.numpy(),
            white.numpy(),
            0 if texture.contrast is None else AROUND_BINS,
            edges_of(texture.band, texture.amount.shape[0]),
            contrast.numpy(),
            texture.amount.numpy(),
            LOWEST_LEVEL,
            MEAN_SCATTER,
            float(texture.level),
            result.numpy(),
        )
        return result

    def linear(self, levels: Tensor, floor: float) -> Tensor:
        """Magnitudes (frames, bins) of log magnitudes."""
        magnitude = torch.empty_like(levels)
        linear(levels.numpy(), floor, magnitude.numpy())
        return magnitude

    def spread(self, common: Tensor, image: StereoImage, floor: float) -> tuple[Tensor, Tensor]:
        """Magnitudes (2, frames, bins) and coherence (frames, bins) of log magnitudes and their stereo image."""
        frames, bins = common.shape
        bands = image.difference.shape[-1]
        gains = channel_gains(image.difference).exp().transpose(0, 1).flatten(1).contiguous()
        magnitude, cosine = torch.empty(2, frames, bins), torch.empty(frames, bins)
        edges = edges_of(band_of_bins(bins, bands, common.device), bands)
        coherence = image.coherence.clamp(-1.0, 1.0).contiguous()
        left, right = magnitude.numpy()
        spread(common.numpy(), gains.numpy(), coherence.numpy(), edges, floor, left, right, cosine.numpy())
        return magnitude, cosine


def edges_of(band: Tensor, bands: int) -> np.ndarray:
    """First bin of every band, and the end of the last, of the band that every bin is in (bins,)."""
    return np.searchsorted(band.numpy(), np.arange(bands + 1)).astype(np.uint64)
