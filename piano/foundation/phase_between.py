"""Magnitudes to sound between two sounds that stay as they are: Griffin-Lim whose known samples are put back."""

import torch
from torch import Tensor
from torch.nn import functional

from piano.foundation.phase import MOMENTUM, hop_of, istft, n_fft_of, stft

QUIET = 1e-9
"""Below this magnitude a bin has no phase to keep."""


@torch.no_grad()
def between(magnitudes: Tensor, start: Tensor, *, before: Tensor, after: Tensor, iterations: int) -> Tensor:
    """What sounds like `magnitudes` and goes on from `before` into `after`.

    Every iteration of Griffin & Lim (1984), accelerated as by Perraudin, Balazs & Sondergaard (2013), sees both
    neighbours as they are, so that the phases come to fit at both ends.

    Parameters
    ----------
    magnitudes : Tensor [shape=(channels, frames, bins)]
        Frame i is centred i hops after the end of `before`; as many frames as there are hops in `start`, or more.
    start : Tensor [shape=(channels, samples)]
        The first guess; the result is as long.
    before, after : Tensor [shape=(channels, any)]
        The neighbours; one window of each is looked at, and what is missing is silence.
    iterations : int

    Returns
    -------
    Tensor [shape=(channels, samples)]
        It joins its neighbours but for what the magnitudes contradict: fade both edges into what is known of them.
    """
    n_fft, samples = n_fft_of(magnitudes), start.shape[-1]
    hop = hop_of(n_fft)
    frames = -(-samples // hop)
    if magnitudes.shape[-2] < frames:
        raise ValueError(f"{samples} samples need {frames} frames of magnitudes, got {magnitudes.shape[-2]}")
    first, inside = n_fft // hop, slice(n_fft, n_fft + samples)
    left = functional.pad(before[..., -n_fft:], (n_fft - before[..., -n_fft:].shape[-1], 0))
    right = functional.pad(after[..., :n_fft], (0, n_fft - after[..., :n_fft].shape[-1]))
    sound = torch.cat([left, start, right], dim=-1).float()
    wanted, earlier = magnitudes[..., :frames, :].float(), None
    for _ in range(iterations):
        spectrum = stft(sound, n_fft)
        found = spectrum[..., first : first + frames, :]
        ahead = found if earlier is None else found + MOMENTUM * (found - earlier)
        earlier = found.clone()
        found.copy_(wanted * ahead / ahead.abs().clamp_min(QUIET))
        sound[..., inside] = istft(spectrum, sound.shape[-1])[..., inside]
    return sound[..., inside].contiguous()
