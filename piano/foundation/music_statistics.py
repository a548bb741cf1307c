"""Numbers by which two batches of music are compared: melodic steps, repetition, beat, colour.

Statistics of the features, differentiable like them. Only the music losses use these; the ruler measures with
functions of its own (piano/evaluation/spectra.py).
"""

import torch
from torch import Tensor
from torch.nn import functional

from piano.foundation.features import in_full_precision

SIMILARITY_LAGS = (1, 2, 3, 4, 6, 8, 12, 18, 27, 40, 57, 80)
"""In chroma frames of 0.1 s: 0.1 to 8 s."""
BEAT_LAGS = (10, 80)
"""In onset frames of 25 ms: 0.25 to 2 s, the beats of 240 to 30 a minute."""
UNCALIBRATED_DISSONANCE = 0.25
"""The limit of dissonance where no real music sounds that could set one."""


def dissonance_limit(dissonance: Tensor, gate: Tensor) -> Tensor:
    """75th percentile of dissonance in which frames count by their gate; 0.25 if none is open.

    Parameters
    ----------
    dissonance, gate : Tensor [shape=(batch, frames)]

    Returns
    -------
    Tensor [shape=()]
    """
    ordered, order = dissonance.flatten().sort()
    mass = gate.flatten()[order].cumsum(dim=0)
    index = (mass < 0.75 * mass[-1]).sum().clamp(max=len(ordered) - 1)
    return torch.where(mass[-1] > 0.0, ordered[index], torch.full_like(ordered[0], UNCALIBRATED_DISSONANCE))


def dissonance_excess(dissonance: Tensor, gate: Tensor, limit: Tensor) -> Tensor:
    """Mean over the sounding frames of a batch of the dissonance above a limit; 0 if none sounds.

    Parameters
    ----------
    dissonance, gate : Tensor [shape=(batch, frames)]
    limit : Tensor [shape=()]

    Returns
    -------
    Tensor [shape=()], in [0, 1]
    """
    return (functional.relu(dissonance - limit) * gate).sum() / (gate.sum() + 1e-6)


def silence_share(loudness: Tensor) -> Tensor:
    """How silent each window is: 0 at -50 dBFS and above, 1 at -80 (any shape).

    A ramp, for its gradient. Where silence is counted a window is silent below -60 dB (the ruler,
    `evaluation.spectra.SILENCE_DB`; the doctor, `watching.measure`) or -66 dB (preparation, `foundation.levels`).
    """
    return ((-50.0 - loudness) / 30.0).clamp(0.0, 1.0)


def similarity_lags(*chromas: Tensor) -> tuple[int, ...]:
    """Those of `SIMILARITY_LAGS` that fit all of these clips [shape=(batch, frames, 12) each]."""
    frames = min(chroma.shape[1] for chroma in chromas)
    return tuple(lag for lag in SIMILARITY_LAGS if lag < frames)


def similarity_excess(similarity: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """How far self-similarity lies outside one spread around a mean, in units of three spreads.

    Parameters
    ----------
    similarity : Tensor [shape=(batch, lags)]
    mean, spread : Tensor [shape=(other_lags,)]
        The shorter of the two sets of lags counts.

    Returns
    -------
    Tensor [shape=()]
    """
    lags = min(similarity.shape[1], len(mean))
    deviation = (similarity[:, :lags] - mean[:lags]).abs() / spread[:lags]
    return functional.relu(deviation - 1.0).sum() / max(1, deviation.numel()) / 3.0


def gated_mean(values: Tensor, gate: Tensor) -> Tensor:
    """Mean over time in which frames count by their gate; if none is open, the plain mean.

    Parameters
    ----------
    values, gate : Tensor [shape=(batch, frames)]

    Returns
    -------
    Tensor [shape=(batch,)]
    """
    gate = gate + 1e-6
    return (values * gate).sum(dim=1) / gate.sum(dim=1)


def dissonance(chroma: Tensor) -> Tensor:
    """How much of a frame's sound stands in seconds: 4 (sum c_k c_{k+1} + 0.35 sum c_k c_{k+2}), 1 at most.

    0 for a note, 1 for two equal tones a semitone apart, 0.35 a whole tone apart, 0.46 for white noise.

    Parameters
    ----------
    chroma : Tensor [shape=(batch, frames, 12)]

    Returns
    -------
    Tensor [shape=(batch, frames)]
    """
    semitones = (chroma * chroma.roll(-1, dims=-1)).sum(dim=-1)
    whole_tones = (chroma * chroma.roll(-2, dims=-1)).sum(dim=-1)
    return (4.0 * (semitones + 0.35 * whole_tones)).clamp(max=1.0)


def self_similarity(chroma: Tensor, gate: Tensor, lags: tuple[int, ...]) -> Tensor:
    """How alike the harmony is to itself some frames later: gated mean of cos(c_t, c_{t+lag}).

    For the losses; the ruler's (`evaluation.descriptors.self_similarity`) is of its own chroma over 0.25 s, not gated.

    1 at every lag for a frozen chord; falls with the lag for music; low from the first lag for random notes.

    Parameters
    ----------
    chroma : Tensor [shape=(batch, frames, 12)]
    gate : Tensor [shape=(batch, frames)]
    lags : tuple of int
        In frames, each above 0 and below the number of frames.

    Returns
    -------
    Tensor [shape=(batch, len(lags))], in [0, 1]
    """
    unit = functional.normalize(chroma, dim=-1)
    alike = [gated_mean((unit[:, lag:] * unit[:, :-lag]).sum(dim=-1), gate[:, lag:] * gate[:, :-lag]) for lag in lags]
    return torch.stack(alike, dim=1) if alike else chroma.new_zeros(chroma.shape[0], 0)


@in_full_precision
def interval_profile(chroma: Tensor, gate: Tensor) -> Tensor:
    """Which pitch steps the music makes from one frame to the next, whatever its key.

    I_k = mean over t of sum_j c_{t,j} c_{t+1,j+k}: the share of steps of k semitones up.

    Parameters
    ----------
    chroma : Tensor [shape=(batch, frames, 12)], frames >= 2
    gate : Tensor [shape=(batch, frames)]

    Returns
    -------
    Tensor [shape=(batch, 12)], each row sums to 1
    """
    step = torch.arange(12, device=chroma.device)
    later = chroma[:, 1:, (step[:, None] + step) % 12]  # (batch, frames - 1, pitch class, interval)
    steps = torch.einsum("btj,btjk->btk", chroma[:, :-1], later)
    weight = (gate[:, 1:] * gate[:, :-1] + 1e-6)[..., None]
    return (steps * weight).sum(dim=1) / weight.sum(dim=1)


@in_full_precision
def onset_autocorrelation(onset: Tensor, shortest_lag: int, longest_lag: int) -> Tensor:
    """How regularly onsets return: correlation of the onset curve with itself, by lag.

    For the losses; the ruler's is `evaluation.spectra.onset_autocorrelation`.

    Parameters
    ----------
    onset : Tensor [shape=(batch, frames)]
    shortest_lag, longest_lag : int
        In frames, both included.

    Returns
    -------
    Tensor [shape=(batch, longest_lag - shortest_lag + 1)], in [-1, 1]; 0 where nothing ever starts
    """
    frames = onset.shape[1]
    centred = onset - onset.mean(dim=1, keepdim=True)
    later = functional.pad(centred, (0, longest_lag)).unfold(1, frames, 1)[:, shortest_lag:]
    correlation = torch.einsum("bt,blt->bl", centred, later) / frames
    # The offset is the square of an onset curve that varies by 0.01 neper: nothing that one could tap to.
    return correlation / (centred.square().mean(dim=1, keepdim=True) + 1e-4)


def quantile_distance(values: Tensor, reference: Tensor) -> Tensor:
    """1-Wasserstein distance between two sets of numbers of any size: mean difference of their sorted values.

    The reference is interpolated to the number of values, so every value receives a gradient.

    Parameters
    ----------
    values, reference : Tensor [any shape]

    Returns
    -------
    Tensor [shape=()], in the unit of the values
    """
    return (values.flatten().sort().values - quantiles(reference, values.numel())).abs().mean()


def quantiles(values: Tensor, count: int) -> Tensor:
    """Values at the middles of equal shares of a distribution; the sorted values if count is their number.

    Parameters
    ----------
    values : Tensor [any shape]

    Returns
    -------
    Tensor [shape=(count,)]
    """
    ordered = values.flatten().sort().values
    if ordered.numel() == count:
        return ordered
    middles = (torch.arange(count, dtype=torch.float64) + 0.5) / count  # on the CPU: not every device has doubles
    position = (middles * ordered.numel() - 0.5).clamp(0, ordered.numel() - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=ordered.numel() - 1)
    share = (position - below).to(ordered.dtype).to(ordered.device)
    return torch.lerp(ordered[below.to(ordered.device)], ordered[above.to(ordered.device)], share)


def mean_spectrum(log_mel: Tensor) -> Tensor:
    """Time-mean power in the mel bands, as shares that sum to 1: the colour of a clip.

    Parameters
    ----------
    log_mel : Tensor [shape=(batch, bands, frames)]

    Returns
    -------
    Tensor [shape=(batch, bands)]
    """
    return torch.softmax(torch.logsumexp(log_mel, dim=-1), dim=-1)


def jensen_shannon_matrix(shares: Tensor) -> Tensor:
    """Jensen-Shannon divergence between every two rows (Lin 1991), in nat: 0 on the diagonal, at most log 2.

    Parameters
    ----------
    shares : Tensor [shape=(batch, bands)], rows positive, each summing to 1

    Returns
    -------
    Tensor [shape=(batch, batch)]
    """
    entropy = _entropy(shares)
    middle = _entropy(0.5 * (shares[:, None] + shares[None, :]))
    return middle - 0.5 * (entropy[:, None] + entropy[None, :])


def _entropy(shares: Tensor) -> Tensor:
    """Entropy over the last axis in nat; a share of zero counts nothing and has a finite gradient."""
    return -(shares * torch.log(shares + 1e-20)).sum(dim=-1)


def split_in_chunks(waveform: Tensor, keys: int) -> Tensor:
    """Cut every clip into equal chunks of time; fewer than `keys` samples at the end are left out.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]
    keys : int
        Number of chunks, at most the number of samples.

    Returns
    -------
    Tensor [shape=(batch, channels, keys, samples // keys)]
    """
    keys = min(keys, waveform.shape[-1])
    chunk_samples = waveform.shape[-1] // keys
    return waveform[..., : keys * chunk_samples].unflatten(-1, (keys, chunk_samples))
