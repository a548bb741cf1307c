"""Bins of a spectrum gathered into bands about as wide as those in which ears hear."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

FIRST_BAND_BINS = 21.0
"""Bands are as wide as one another far below this bin, and a fixed part of an octave far above: near the ERB scale
(Glasberg & Moore 1990), whose corner of 229 Hz is this bin of a window of 93 ms."""


@lru_cache(maxsize=16)
def band_of_bins(bins: int, bands: int, device: torch.device) -> Tensor:
    """The band of every bin of a spectrum [shape=(bins,)]: of very many bands the lowest may have none."""
    with torch.inference_mode(mode=False):
        place = (1.0 + torch.arange(bins, dtype=torch.float64) / FIRST_BAND_BINS).log()
        return (place / place[-1] * bands).clamp_max(bands - 1).long().to(device)


@lru_cache(maxsize=16)
def members_of_bands(bins: int, bands: int, device: torch.device) -> Tensor:
    """1 where a bin is in a band, else 0 (bins, bands): on a CPU a product with it is faster than adding by index."""
    with torch.inference_mode(mode=False):
        return functional.one_hot(band_of_bins(bins, bands, device), bands).float()


def pool_bins(values: Tensor, bands: int) -> Tensor:
    """Sums over the bins of each band: (..., bins) -> (..., bands)."""
    index = band_of_bins(values.shape[-1], bands, values.device)
    return values.new_zeros(*values.shape[:-1], bands).index_add(-1, index, values)
