"""What is added to composed magnitudes: the scatter that real sound has and a decoder's middle has not, and a level.

A decoder trained on log magnitudes gives the middle of what a bin may be. Where sound is noisy (hammers, breath, hiss)
real bins scatter around it; without the scatter music is too smooth. The scatter cannot be remembered, but it can be
drawn anew: log magnitudes of white noise, as strong in each band and at each level as makes neighbouring frames and
neighbouring bins differ as much as in real music. What is still missing over frequency then, where scatter would spoil
held partials, is contrast: bins are moved away from the mean of those around them (a variance postfilter, as in speech
synthesis: Toda & Tokuda 2007).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from piano.foundation.optional_buffers import OptionalBuffers
from piano.foundation.phase import hop_of, stft

LOWEST_LEVEL = -7.0
"""Log magnitude of the first level; each further one is e times stronger."""
NUM_LEVELS = 11
NUM_BANDS = 6
"""Octaves, the highest ends at the Nyquist frequency; the lowest holds all that is left."""
MEAN_LOG_RAYLEIGH = -0.288608
"""Mean logarithm of the magnitude of complex Gaussian noise of power 1: half of Euler's constant, below zero."""
MEAN_SCATTER = 0.5 * math.log(3.0 / 8.0) + MEAN_LOG_RAYLEIGH
"""The same of a frame of `stft`, whose window lets 3/8 of the power through."""
FIT_ROUNDS, FIT_RATE = 4, 0.9
AROUND_BINS = 17
"""Bins whose mean contrast moves away from."""
MOST_CONTRAST = 0.4
RARE_BINS = 1000
"""A cell with this many bins counts for half: what was seldom heard is left smooth."""
NEPER = math.log(10.0) / 20.0
"""Of a decibel."""
SILENT = -60.0 * NEPER
"""Loudness below which music is a pause, and says nothing of how loud music is."""
USUAL_RANGE = (-30.0 * NEPER + 0.5 * math.log(3.0 / 8.0), -12.0 * NEPER + 0.5 * math.log(3.0 / 8.0))
"""Loudness of levelled music, for models that do not know that of theirs: -30 to -12 dB of the waveform."""
LOUDNESS_SHARES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Quantiles by which loudness of what is composed is brought to that of music."""
RANGE_SHARE, RANGE_WIDTH = 0.05, 12.0 * NEPER
"""Share left out of the range at each end, and how far it reaches below and above the median at most."""


class Texture(OptionalBuffers):
    """How strong the scatter is, by band and level: measured, not trained. None until `fit`.

    Parameters
    ----------
    n_fft : int
        Window of the spectra, in samples.
    """

    amount: Tensor
    level: Tensor
    contrast: Tensor | None
    """How much further bins lie from the mean around them, by band; None for models of before."""
    range: Tensor | None
    """Softest and loudest that the music was when it was measured; None for models of before."""
    loudnesses: Tensor | None
    """Quantiles of how loud compositions are, and of how loud music is [shape=(2, quantiles)]; None for models of
    before."""
    band: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_of(n_fft)
        self.register_buffer("amount", torch.zeros(NUM_BANDS, NUM_LEVELS))
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("range", None)
        self.register_buffer("contrast", None)
        self.register_buffer("loudnesses", None)
        bins = torch.arange(n_fft // 2 + 1) / (n_fft // 2)
        band = NUM_BANDS - 1 + bins.clamp_min(1e-9).log2().ceil().long()
        self.register_buffer("band", band.clamp(0, NUM_BANDS - 1), persistent=False)

    @torch.no_grad()
    def fit(self, *, predicted: Tensor, real: Tensor, noise: Tensor) -> None:
        """Find the strength with which a decoder's log magnitudes move as much as real ones, at every level of theirs.

        Over time and over frequency; the smaller need counts, so that held partials stay smooth. The scatter moves bins
        to other levels, so that a few rounds are taken. Last comes what brings all of it to the music's loudness.

        Parameters
        ----------
        predicted, real : Tensor [shape=(batch, frames, bins)]
            Log magnitudes of what a decoder makes, and of music; not of the same, and not equally many.
        noise : Tensor [shape=(batch, frames + 3, hop_length)]
            White noise for every item of `predicted`.
        """
        scatter = self.scatter(noise)
        self.amount.zero_()
        self.contrast = torch.zeros(NUM_BANDS, device=self.amount.device)
        rough, smooth = self._roughness(real), self._roughness(predicted)
        wanted = [movement(real, self._cell(real), axis) for axis in (1, 2)]
        offered = [float(scatter.diff(dim=axis).square().mean()) for axis in (1, 2)]
        for _ in range(FIT_ROUNDS):
            heard = self._scattered(predicted, scatter)
            cell = self._cell(heard)
            needs = []
            for axis in (1, 2):
                moved, real_one = movement(heard, cell, axis), wanted[axis - 1]
                count = torch.minimum(moved.count, real_one.count)
                need = (real_one.mean - moved.mean) / offered[axis - 1]
                needs.append(count / (count + RARE_BINS) * need)
            need = torch.minimum(*needs).view(NUM_BANDS, NUM_LEVELS)
            self.amount.copy_((self.amount.square() + FIT_RATE * need).clamp(0.0, 1.0).sqrt())
            missing = (rough - self._roughness(self._scattered(predicted, scatter))) / smooth.clamp_min(1e-6)
            gain = ((1.0 + self.contrast).square() + FIT_RATE * missing).clamp_min(1.0).sqrt()
            self.contrast = (gain - 1.0).clamp_max(MOST_CONTRAST)
        levels = [loudness(spectrum) for spectrum in (real, self._scattered(predicted, scatter))]
        sounding = [level[level > SILENT] if bool((level > SILENT).any()) else level for level in levels]
        # A silent item of either kind would count for more than ten that sound: silence has no logarithm.
        self.level.copy_(sounding[0].mean() - sounding[1].mean())
        shares = sounding[0].new_tensor([RANGE_SHARE, 0.5, 1.0 - RANGE_SHARE])
        low, middle, high = sounding[0].quantile(shares)
        self.range = torch.stack([low.maximum(middle - RANGE_WIDTH), high.minimum(middle + RANGE_WIDTH)])
        places = sounding[0].new_tensor(LOUDNESS_SHARES)
        wanted_levels = sounding[0].quantile(places).clamp(middle - RANGE_WIDTH, middle + RANGE_WIDTH)
        self.loudnesses = torch.stack([sounding[1].quantile(places) + self.level, wanted_levels])

    def usual_loudness(self, level: float) -> float:
        """How loud music is that is as loud among music as a composition of this level is among compositions."""
        if self.loudnesses is None:
            softest, loudest = self.softest_and_loudest
            return min(max(level, softest), loudest)
        made, real = self.loudnesses.cpu().double().numpy()
        return float(np.interp(level, made, real))

    @property
    def softest_and_loudest(self) -> tuple[float, float]:
        """Loudness that a composition may have."""
        return USUAL_RANGE if self.range is None else (float(self.range[0]), float(self.range[1]))

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"range": (2,), "contrast": (NUM_BANDS,), "loudnesses": (2, len(LOUDNESS_SHARES))}

    def _cell(self, levels: Tensor) -> Tensor:
        """Index of band and level of every bin."""
        return NUM_LEVELS * self.band + self._level(levels).round().long()

    def scatter(self, noise: Tensor) -> Tensor:
        """Zero-mean log magnitudes (..., frames, bins) of white noise (..., frames + 3, hop_length)."""
        return (self.noise_spectrum(noise).abs() + 1e-6).log() - 0.5 * math.log(3.0 / 8.0) - MEAN_LOG_RAYLEIGH

    def noise_spectrum(self, noise: Tensor) -> Tensor:
        """Complex spectrum (..., frames, bins) of white noise (..., frames + 3, hop_length)."""
        frames = noise.shape[-2] - 3
        return stft(noise.flatten(-2), self.n_fft)[..., 2 : 2 + frames, :]

    def forward(self, log_magnitude: Tensor, noise: Tensor) -> Tensor:
        """Log magnitudes (..., frames, bins) with scatter, at the music's loudness.

        Drawn from white noise (..., frames + 3, hop_length).
        """
        return self.with_scatter(log_magnitude, self.scatter(noise))

    def with_scatter(self, log_magnitude: Tensor, scatter: Tensor) -> Tensor:
        """The same from a scatter that is there already, of the shape of `log_magnitude`."""
        return self._scattered(log_magnitude, scatter) + self.level

    def _roughness(self, levels: Tensor) -> Tensor:
        """Mean square, by band, of what bins lie away from the mean around them (batch, frames, bins)."""
        away = (levels - _around(levels)).square().mean(dim=(0, 1))
        sums = torch.zeros(NUM_BANDS, device=levels.device).index_add_(0, self.band, away.float())
        return sums / torch.bincount(self.band, minlength=NUM_BANDS).clamp_min(1)

    def _scattered(self, log_magnitude: Tensor, scatter: Tensor) -> Tensor:
        if self.contrast is not None:
            log_magnitude = torch.addcmul(
                log_magnitude, self.contrast[self.band], log_magnitude - _around(log_magnitude)
            )
        level = self._level(log_magnitude)
        below = level.floor().long().clamp_max(NUM_LEVELS - 2)
        share = level - below
        amount = self.amount[self.band, below] * (1.0 - share) + self.amount[self.band, below + 1] * share
        return torch.addcmul(log_magnitude, amount, scatter)

    def _level(self, log_magnitude: Tensor) -> Tensor:
        return (log_magnitude - LOWEST_LEVEL).clamp(0.0, NUM_LEVELS - 1.0)


def _around(levels: Tensor) -> Tensor:
    """Mean of each bin and its neighbours (..., bins)."""
    rows = levels.reshape(-1, 1, levels.shape[-1])
    mean = functional.avg_pool1d(rows, AROUND_BINS, stride=1, padding=AROUND_BINS // 2, count_include_pad=False)
    return mean.view(levels.shape)


def loudness(levels: Tensor) -> Tensor:
    """Logarithm of the root mean square of each item of log magnitudes (batch, frames, bins)."""
    return 0.5 * (2.0 * levels).exp().mean(dim=(1, 2)).clamp_min(1e-12).log()


class Movement(NamedTuple):
    """Squared steps, for every cell of band and level [shape=(NUM_BANDS * NUM_LEVELS,)]."""

    mean: Tensor
    count: Tensor


def movement(levels: Tensor, cell: Tensor, axis: int) -> Movement:
    """Squared steps along an axis of (batch, frames, bins), by the cell in which they end."""
    length = levels.shape[axis] - 1
    steps = (levels.narrow(axis, 1, length) - levels.narrow(axis, 0, length)).square().flatten()
    places = cell.narrow(axis, 1, length).flatten()
    sums = torch.zeros(NUM_BANDS * NUM_LEVELS, device=levels.device).index_add_(0, places, steps.float())
    counts = torch.bincount(places, minlength=NUM_BANDS * NUM_LEVELS)
    return Movement(sums / counts.clamp_min(1), counts)
