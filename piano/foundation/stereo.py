"""What makes a sound wide, in bands: how much louder left is than right, and how alike the two are.

Ears place sound by a few numbers a band (level difference and coherence: parametric stereo, Breebaart et al. 2005).
So a codec needs one spectrum for both channels and these numbers. Coherence says the angle between the channels at
every bin, and `foundation.phase` gives both channels phases with that angle (docs/experiments.md).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from piano.foundation.bands import band_of_bins, pool_bins

LARGEST_DIFFERENCE = 3.0
"""In nepers: 26 dB. What is further to one side is heard there alone."""
QUIET_POWER = 1e-6
"""Of a bin, that of the codec's floor: where nothing sounds, there is no difference and no coherence."""


class StereoImage(NamedTuple):
    """Where a sound stands; every field has a number for each band."""

    difference: Tensor
    """Level of left over right, in nepers [shape=(..., frames, bands)]."""
    coherence: Tensor
    """Real part of the normalised cross-spectrum, -1 to 1, of the same shape: 1 in phase, -1 inverted."""


def measure_image(spectrum: Tensor, bands: int) -> StereoImage:
    """The image of a complex spectrum (..., 2, frames, bins), left before right."""
    left, right = spectrum.unbind(dim=-3)
    powers = [pool_bins(channel.real.square() + channel.imag.square(), bands) for channel in (left, right)]
    cross = pool_bins(left.real * right.real + left.imag * right.imag, bands)
    quiet = pool_bins(torch.full_like(left.real[..., :1, :], QUIET_POWER), bands).clamp_min(QUIET_POWER)
    difference = 0.5 * ((powers[0] + quiet) / (powers[1] + quiet)).log()
    coherence = cross / ((powers[0] + quiet) * (powers[1] + quiet)).sqrt()
    return StereoImage(difference.clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE), coherence.clamp(-1.0, 1.0))


def spread_levels(common: Tensor, image: StereoImage) -> Tensor:
    """Log magnitudes of left and right (..., 2, frames, bins) of those of both together (..., frames, bins).

    The mean of their powers is the common one's: with a difference of d nepers left has the gain
    sqrt(2 / (1 + exp(-2 d))), and right that of -d.
    """
    index = band_of_bins(common.shape[-1], image.difference.shape[-1], common.device)
    return common.unsqueeze(-3) + channel_gains(image.difference)[..., index]


def channel_gains(difference: Tensor) -> Tensor:
    """What left and right have more than both together, in nepers (..., 2, frames, bands)."""
    ways = torch.stack([difference, -difference], dim=-3)
    return 0.5 * (math.log(2.0) - functional.softplus(-2.0 * ways))


def coherence_of_bins(image: StereoImage, bins: int) -> Tensor:
    """The coherence that every bin has (..., frames, bins), from -1 to 1."""
    index = band_of_bins(bins, image.coherence.shape[-1], image.coherence.device)
    return image.coherence.clamp(-1.0, 1.0)[..., index]
