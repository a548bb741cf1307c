"""Every loss, and the tables of those that `loss_weights` of config.yaml weighs by name.

A loss is a pure function from tensors to one number without a weight; a stage or `loss_weights` says what it counts.
A term is called like its function without the word "loss": `loss_weights.melody_d` weighs `melody_loss_d`.
docs/loss-guide.md says what each one punishes and how to read its curve.

Music losses take waveforms, as documented, or the `MusicFeatures` of waveforms, which a training step makes
once for all of them. They compare *distributions* of loudness, harmony, rhythm and colour over a batch, never
a generated clip with a real clip it has nothing to do with: a permutation of the real music costs nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from piano.foundation.bands import members_of_bands, pool_bins
from piano.foundation.errors import ConfigError
from piano.foundation.features import (
    MusicFeatures,
    gated_chroma,
    log_mel,
    loudness_db,
    music_features,
    onset_strength,
)
from piano.foundation.music_statistics import (
    BEAT_LAGS,
    UNCALIBRATED_DISSONANCE,
    dissonance,
    dissonance_excess,
    dissonance_limit,
    interval_profile,
    jensen_shannon_matrix,
    mean_spectrum,
    onset_autocorrelation,
    quantile_distance,
    self_similarity,
    silence_share,
    similarity_excess,
    similarity_lags,
    split_in_chunks,
)

Objective: TypeAlias = Literal["bce", "relativistic"]
Music: TypeAlias = Tensor | MusicFeatures
"""A waveform (batch, channels, samples) or what was heard in it."""
Logits: TypeAlias = Tensor | Sequence[Tensor]
"""Logits of one head, or of several heads that count alike; (batch, ...) each."""

ENERGY_BANDS = 48
BAND_FLOOR = 1e-8
COMPRESSION, COMPRESSED_WEIGHT = 0.3, 4.0
"""Power of magnitudes in which loud partials are compared, and what it counts beside log magnitudes."""
HIGHEST_LOG = 10.0
"""Far above any spectrum of audio: an untrained head must not overflow, the L1 on log magnitudes pulls it back."""
FRAMES_AT_ONCE = 64
"""Of spectra of a thousand bins: what is computed of so many stays in the cache of a core."""
CONFUSION = math.log(2.0)
"""Loss of a discriminator that answers 1/2 to everything: 0.693."""


# --- The autoencoder and the flow ---


def kl_divergence_loss(mu: Tensor, logvar: Tensor, free_bits: float = 0.0) -> Tensor:
    """KL divergence from a standard normal, in nat per latent frame (Kingma & Welling 1312.6114).

    Averaged over batch and frames and summed over the latent, so it does not depend on the length of a clip.

    Parameters
    ----------
    mu, logvar : Tensor [shape=(batch, frames, latent_dim)]
    free_bits : float
        Nat per latent dimension that cost no effort: a dimension whose mean is below counts as this much and
        gets no gradient (Kingma et al. 1606.04934). 0 is the plain divergence.

    Returns
    -------
    Tensor [shape=()], at least latent_dim * free_bits; 0 only if mu = 0 and logvar = 0
    """
    per_element = 0.5 * (mu.square() + torch.expm1(logvar) - logvar)
    return per_element.flatten(end_dim=-2).mean(dim=0).clamp(min=free_bits).sum()


def magnitude_loss(predicted_log: Tensor, target_log: Tensor) -> Tensor:
    """Distance of two log-magnitude spectra: L1 on l plus 4 * L1 on exp(l)^0.3, both averaged over all bins.

    The logarithm hears the quiet partials, the power the loud ones.

    Parameters
    ----------
    predicted_log, target_log : Tensor [shape=(..., bins)]
        l = log(|S| + floor).

    Returns
    -------
    Tensor [shape=()]
    """
    logarithmic = (predicted_log - target_log).abs().mean()
    compressed = (_compressed(predicted_log) - _compressed(target_log)).abs().mean()
    return logarithmic + COMPRESSED_WEIGHT * compressed


def band_energy_loss(predicted_log: Tensor, target_log: Tensor, *, bands: int = ENERGY_BANDS) -> Tensor:
    """L1 distance of the levels of bands, each half the logarithm of the sum of its bins' powers.

    The middle of each bin alone makes partials that are too flat: what is uncertain by a bin is missing in the sum.

    Parameters
    ----------
    predicted_log, target_log : Tensor [shape=(..., bins)]
        l = log(|S| + floor).

    Returns
    -------
    Tensor [shape=()], in nepers
    """
    return (_band_level(predicted_log, bands) - _band_level(target_log, bands)).abs().mean()


def spectrum_loss(predicted_log: Tensor, target_log: Tensor, *, energy_weight: float) -> Tensor:
    """`magnitude_loss` and `energy_weight` times `band_energy_loss`, in one pass with a way back of its own.

    More than twice as fast on a CPU: what the two share is computed once, a few frames at a time, with its gradient.

    Parameters
    ----------
    predicted_log, target_log : Tensor [shape=(..., bins)]
        l = log(|S| + floor). The target gets no gradient.
    energy_weight : float

    Returns
    -------
    Tensor [shape=()]
    """
    with torch.autocast(predicted_log.device.type, enabled=False):
        return cast(Tensor, _SpectrumLoss.apply(predicted_log, target_log, energy_weight))


class _SpectrumLoss(torch.autograd.Function):
    """Loss and gradient, a few frames at a time: these stay in the processor's cache."""

    @staticmethod
    def forward(ctx: Any, predicted_log: Tensor, target_log: Tensor, energy_weight: float) -> Tensor:
        bins = predicted_log.shape[-1]
        predicted, target = predicted_log.reshape(-1, bins), target_log.reshape(-1, bins)
        member = members_of_bands(bins, ENERGY_BANDS, predicted.device).to(predicted.dtype)
        gradient = torch.empty_like(predicted) if ctx.needs_input_grad[0] else None
        bin_share, band_share = 1.0 / predicted.numel(), energy_weight / (len(predicted) * ENERGY_BANDS)
        total = predicted.new_zeros(())
        is_cpu = predicted.device.type == "cpu"
        rows = FRAMES_AT_ONCE if is_cpu else len(predicted)
        for first in range(0, len(predicted), rows):
            part = slice(first, first + rows)
            own, wanted = (levels[part].clamp(max=HIGHEST_LOG) for levels in (predicted, target))
            root, power = _compressed(own), (2.0 * own).exp_()
            band = (power @ member).add_(BAND_FLOOR)
            wanted_band = ((2.0 * wanted).exp_() @ member).add_(BAND_FLOOR)
            difference, band_difference = predicted[part] - target[part], (band / wanted_band).log_().mul_(0.5)
            compressed = (root - _compressed(wanted)).abs_().sum()
            by_bin = difference.abs().sum() + COMPRESSED_WEIGHT * compressed
            total += bin_share * by_bin + band_share * band_difference.abs().sum()
            if gradient is None:
                continue
            # d|a - b| has the sign of a - b, and that of the compressed ones is the same.
            by_band = (band_share * band_difference.sign_() / band) @ member.T
            steep = root.mul_(COMPRESSED_WEIGHT * COMPRESSION * bin_share)
            if not is_cpu or float(own.amax()) >= HIGHEST_LOG:  # what is clamped has no gradient
                below = own < HIGHEST_LOG
                steep, by_band = steep.mul_(below), by_band.mul_(below)
            torch.addcmul(steep.add_(bin_share).mul_(difference.sign_()), by_band, power, out=gradient[part])
        if gradient is not None:
            ctx.save_for_backward(gradient.view(predicted_log.shape))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * along, None, None


def _band_level(log_magnitude: Tensor, bands: int) -> Tensor:
    return 0.5 * (pool_bins((2.0 * log_magnitude.clamp(max=HIGHEST_LOG)).exp(), bands) + BAND_FLOOR).log()


def _compressed(log_magnitude: Tensor) -> Tensor:
    """(|S| + floor)^0.3 of a log magnitude: one exponential, a third of the time of exp, subtract and power."""
    return (COMPRESSION * log_magnitude.clamp(max=HIGHEST_LOG)).exp()


def feature_matching_loss(
    fake_maps: Sequence[Tensor], real_maps: Sequence[Tensor], *, mean: Callable[[Tensor], Tensor] = lambda sizes: sizes
) -> Tensor:
    """Relative L1 distance of the discriminator's feature maps, averaged over the maps (EnCodec 2210.13438).

    Only between a waveform and its own reconstruction.

    Parameters
    ----------
    fake_maps, real_maps : sequence of Tensor [any shape, alike in pairs]
        The real ones get no gradient.
    mean : callable
        Mean over all processes that hold a part of the batch; by default there is one.

    Returns
    -------
    Tensor [shape=()]
    """
    sizes = mean(torch.stack([real.detach().abs().mean() for real in real_maps]))
    distances = [(fake - real.detach()).abs().mean() for fake, real in zip(fake_maps, real_maps, strict=True)]
    return (torch.stack(distances) / (sizes + 1e-6)).mean()


def endpoint_flow_loss(predicted: Tensor, target: Tensor, noise_level: Tensor) -> Tensor:
    """Squared error of the predicted endpoint of the flow, weighted min(1/s^2, 25) (Flow2GAN 2512.23278).

    1/s^2 makes it the error of the velocity. Frames with s <= 0.02 are given, not predicted, and count zero.
    The mean is over all frames, so that accumulated micro-batches equal one large batch.

    Parameters
    ----------
    predicted, target : Tensor [shape=(batch, frames, latent_dim)]
    noise_level : Tensor [shape=(batch, frames)]
        s, from 0 (clean) to 1 (white noise).

    Returns
    -------
    Tensor [shape=()]
    """
    weight = noise_level.clamp(min=0.02).pow(-2).clamp(max=25.0) * (noise_level > 0.02)
    return (weight * (predicted - target).square().mean(dim=-1)).mean()


def energy_score_loss(
    draw_a: Tensor,
    draw_b: Tensor,
    target: Tensor,
    patches: tuple[int, ...] = (1, 4, 16, 64),
) -> Tensor:
    """Energy score of two draws for one condition: |a - z| + |b - z| - |a - b| (Gneiting & Raftery 2007).

    A proper scoring rule: smallest in the mean when draws are distributed as the target. Its last part repels
    the draws, which is what a collapsed generator lacks. Norms are Euclidean over patches of frames, divided
    by the root of their size, averaged. Frames that do not fill a patch are left out of that patch size;
    patches longer than the clip are cut to it.

    Parameters
    ----------
    draw_a, draw_b, target : Tensor [shape=(batch, frames, latent_dim)]
    patches : tuple of int
        In frames.

    Returns
    -------
    Tensor [shape=()], may be negative
    """
    scores = []
    for patch in sorted({min(patch, target.shape[1]) for patch in patches}):
        a, b, z = (_in_patches(sequence, patch) for sequence in (draw_a, draw_b, target))
        score = _paired_distances(a, z) + _paired_distances(b, z) - _paired_distances(a, b)
        scores.append(score / math.sqrt(a.shape[-1]))
    return torch.stack(scores).mean()


def _in_patches(sequence: Tensor, patch: int) -> Tensor:
    """(batch, frames, dim) -> (patches, batch, patch * dim)."""
    count = sequence.shape[1] // patch
    return sequence[:, : count * patch].unflatten(1, (count, patch)).flatten(start_dim=2).transpose(0, 1)


def _paired_distances(first: Tensor, second: Tensor) -> Tensor:
    """Mean distance of item i to item i."""
    return torch.linalg.vector_norm(first - second, dim=-1).mean()


# --- The adversarial game ---


def discriminator_loss(
    real_logits: Logits, fake_logits: Logits, objective: Objective = "bce", smoothing: float = 0.0
) -> Tensor:
    """What the discriminator minimises; log 2 = 0.693 at confusion in both forms.

    `bce`: 0.5 [BCE(real, 1 - smoothing) + BCE(fake, 0)] (Goodfellow et al. 1406.2661).
    `relativistic`: the same of the difference real - fake, pair by pair (R3GAN 2501.05441).

    Parameters
    ----------
    real_logits, fake_logits : Tensor [shape=(batch, ...)], or a sequence of them, one a head
        Before any sigmoid; in the relativistic form of equal shapes.
    smoothing : float
        Taken off the label of real music. Lifts the smallest possible loss to `confusion_floor`.

    Returns
    -------
    Tensor [shape=()]
    """
    pairs = list(zip(_heads(real_logits), _heads(fake_logits), strict=True))
    if _is_relativistic(objective):
        return torch.stack([_smoothed(_paired(real, fake), smoothing) for real, fake in pairs]).mean()
    halves = [_smoothed(real, smoothing) + functional.softplus(fake).mean() for real, fake in pairs]
    return 0.5 * torch.stack(halves).mean()


def generator_adversarial_loss(real_logits: Logits | None, fake_logits: Logits, objective: Objective = "bce") -> Tensor:
    """What the generator minimises against the discriminator, never with a smoothed label.

    `bce`: BCE(fake, 1), the form whose gradient does not vanish when the discriminator wins.
    `relativistic`: softplus of real - fake, pair by pair; the real logits get no gradient.

    Parameters
    ----------
    real_logits : as for `discriminator_loss`, or None
        Read by the relativistic form only.
    fake_logits : Tensor [shape=(batch, ...)], or a sequence of them

    Returns
    -------
    Tensor [shape=()], 0.693 at confusion
    """
    if not _is_relativistic(objective):
        return torch.stack([functional.softplus(-fake).mean() for fake in _heads(fake_logits)]).mean()
    if real_logits is None:
        raise ValueError("the relativistic objective compares with real logits, got None")
    pairs = zip(_heads(real_logits), _heads(fake_logits), strict=True)
    return torch.stack([functional.softplus(_paired(real.detach(), fake)).mean() for real, fake in pairs]).mean()


def confusion_floor(smoothing: float = 0.0, objective: Objective = "bce") -> float:
    """Smallest value that `discriminator_loss` can take: what label smoothing leaves even to a perfect judge.

    The entropy of the smoothed label; in the `bce` form only the real half has it, so half of that. 0.163 for
    a smoothing of 0.1, 0.25 for 0.2.
    """
    if smoothing <= 0.0:
        return 0.0
    entropy = -smoothing * math.log(smoothing) - (1.0 - smoothing) * math.log1p(-smoothing)
    return entropy if _is_relativistic(objective) else 0.5 * entropy


def normalised_discriminator_loss(loss: Any, smoothing: float = 0.0, objective: Objective = "bce") -> Any:
    """Discriminator loss on the scale without smoothing: 0 perfect, 0.693 confused. For logs and thresholds.

    dn = 0.693 (L_D - floor) / (0.693 - floor).

    Parameters
    ----------
    loss : float or Tensor
        Value of `discriminator_loss`.

    Returns
    -------
    float or Tensor, like `loss`
    """
    floor = confusion_floor(smoothing, objective)
    return CONFUSION * (loss - floor) / (CONFUSION - floor)


def finite_difference_penalty(logits: Logits, perturbed_logits: Logits) -> Tensor:
    """Mean squared change of the logits when noise is added to the input (APT 2501.08316).

    With Gaussian noise of standard deviation `sigma` and weight `lam` it stands for the gradient penalty R1
    (on real) or R2 (on fake) with gamma = 2 lam sigma^2, without differentiating twice.

    Parameters
    ----------
    logits, perturbed_logits : Tensor [shape=(batch, ...)], or a sequence of them

    Returns
    -------
    Tensor [shape=()]
    """
    pairs = zip(_heads(logits), _heads(perturbed_logits), strict=True)
    return torch.stack([(plain - perturbed).square().mean() for plain, perturbed in pairs]).mean()


def _heads(logits: Logits) -> list[Tensor]:
    """Logits of each head in full precision."""
    heads = [logits] if isinstance(logits, Tensor) else list(logits)
    return [head if head.dtype == torch.float64 else head.float() for head in heads]


def _is_relativistic(objective: str) -> bool:
    """Check the name of an objective."""
    if objective not in ("bce", "relativistic"):
        raise ConfigError(f'objective is "{objective}", it must be "bce" or "relativistic"')
    return objective == "relativistic"


def _paired(first: Tensor, second: Tensor) -> Tensor:
    """Difference of logits that belong together; broadcasting would compare each with every other."""
    if first.shape != second.shape:
        raise ValueError(f"logits in pairs need equal shapes, got {tuple(first.shape)}, {tuple(second.shape)}")
    return first - second


def _smoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Mean BCE of logits against the label 1 - smoothing."""
    return ((1.0 - smoothing) * functional.softplus(-logits) + smoothing * functional.softplus(logits)).mean()


# --- Music losses of the generator ---


def no_seconds_loss(signal: Music, real: Music | None = None, *, sample_rate: int) -> Tensor:
    """Clashing seconds, beyond what real music has: gated mean of relu(d_t - d_ref), less the same of real.

    d_t is `dissonance`; d_ref its 75th percentile in real music, so that real sevenths stay free; 0.25 without
    real music.

    Parameters
    ----------
    signal, real : Tensor [shape=(batch, channels, samples)] or MusicFeatures
        Generated music, and real music to compare with.

    Returns
    -------
    Tensor [shape=()], in [0, 1]
    """
    classes, gate = _harmony(signal, sample_rate)
    limit, allowed = classes.new_tensor(UNCALIBRATED_DISSONANCE), classes.new_zeros(())
    if real is not None:
        with torch.no_grad():
            real_classes, real_gate = _harmony(real, sample_rate)
            known = dissonance(real_classes)
            limit = dissonance_limit(known, real_gate)
            allowed = dissonance_excess(known, real_gate, limit)
    return functional.relu(dissonance_excess(dissonance(classes), gate, limit.to(classes)) - allowed.to(classes))


def no_silence_loss(signal: Music, real: Music | None = None, *, sample_rate: int) -> Tensor:
    """Silence, beyond what real music has: relu(mean h - mean h_real - 0.02), h rising from -50 to -80 dBFS.

    Parameters
    ----------
    signal, real : Tensor [shape=(batch, channels, samples)] or MusicFeatures
        Generated music, and real music to compare with; without that only 2 % are free.

    Returns
    -------
    Tensor [shape=()], in [0, 1]
    """
    silence = silence_share(_loudness(signal, sample_rate)).mean()
    with torch.no_grad():
        allowed = 0.0 if real is None else silence_share(_loudness(real, sample_rate)).mean().to(silence)
    return functional.relu(silence - allowed - 0.02)


def silence_loss(signal: Music, real: Music, *, sample_rate: int) -> Tensor:
    """Distance of the loudness distributions: 1-Wasserstein over all 50 ms windows, / 60 dB, at most 1.

    Parameters
    ----------
    signal, real : Tensor [shape=(batch, channels, samples)] or MusicFeatures
        Generated music, and real music to compare with.

    Returns
    -------
    Tensor [shape=()], in [0, 1]
    """
    loudness = _loudness(signal, sample_rate)
    return _at_most_one(quantile_distance(loudness, _loudness(real, sample_rate)) / 60.0)


def melody_loss(signal: Music, real: Music, *, sample_rate: int) -> Tensor:
    """Harmony that stands still, or never comes back, more than in real music.

    A(tau) is the self-similarity of the chroma at up to 12 lags of 0.1 to 8 s, m and s its mean and spread in
    real music: mean relu(|A - m| / s - 1) / 3 over clips and lags, less the same of real, within [0, 1].

    Parameters
    ----------
    signal, real : Tensor [shape=(batch, channels, samples)] or MusicFeatures
        Generated music, and real music to compare with. At least 0.7 s.

    Returns
    -------
    Tensor [shape=()], in [0, 1]
    """
    classes, gate = _harmony(signal, sample_rate)
    similarity = self_similarity(classes, gate, _melody_lags(classes))
    with torch.no_grad():
        real_classes, real_gate = _harmony(real, sample_rate)
        known = self_similarity(real_classes, real_gate, similarity_lags(real_classes))
        mean = known.mean(dim=0)
        # A spread below 0.05 would make a melody out of rounding: one clip, or clips that are all alike.
        spread = known.std(dim=0, unbiased=False).clamp(min=0.05)
        allowed = similarity_excess(known, mean, spread)
    excess = similarity_excess(similarity, mean.to(classes), spread.to(classes))
    return _at_most_one(functional.relu(excess - allowed.to(classes)))


def _melody_lags(*chromas: Tensor) -> tuple[int, ...]:
    """Lags that fit these clips, at least one."""
    lags = similarity_lags(*chromas)
    if not lags:
        raise ConfigError(
            "a clip is too short for a melody: melody_loss and melody_loss_d need 0.7 s of music; "
            "use longer clips, or set loss_weights.melody and loss_weights.melody_d to 0"
        )
    return lags


def _at_most_one(value: Tensor) -> Tensor:
    """1 at most, with the gradient of the unclipped value: the clips furthest off need it most."""
    return value - (value - 1.0).clamp(min=0.0).detach()


def _waveform(music: Music) -> Tensor:
    return music.waveform if isinstance(music, MusicFeatures) else music


def _loudness(music: Music, sample_rate: int) -> Tensor:
    return music.loudness if isinstance(music, MusicFeatures) else loudness_db(music, sample_rate)


def _harmony(music: Music, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Chroma and its gate."""
    if isinstance(music, MusicFeatures):
        return music.chroma, music.chroma_gate
    return gated_chroma(music, sample_rate)


def _log_mel(music: Music, sample_rate: int) -> Tensor:
    return music.log_mel if isinstance(music, MusicFeatures) else log_mel(music, sample_rate)


# --- Music losses of both players ---


def melody_loss_d(
    real_music: Music, fake_music: Music, d_fake_logits: Logits | None = None, *, sample_rate: int
) -> Tensor:
    """Distance of melodic habits: harmony over time, melodic steps, and beat.

    Mean of three half-L1 distances between batch means: self-similarity of the chroma at up to 12 lags;
    transposition-free interval profile; onset autocorrelation at 0.25 to 2 s.

    Parameters
    ----------
    real_music, fake_music : Tensor [shape=(batch, channels, samples)] or MusicFeatures
        At least 0.7 s.
    d_fake_logits : logits of the fakes, optional
        Given, the loss is the discriminator's: see `_judge_harder`.

    Returns
    -------
    Tensor [shape=()], in [0, 1] without logits
    """
    real, fake = _melody_statistics(real_music, fake_music, sample_rate)
    if d_fake_logits is not None:
        return _judge_harder(torch.cat(real, dim=1), torch.cat(fake, dim=1), d_fake_logits, 0.05)
    similarity, steps, beat = (b.mean(dim=0) - a.mean(dim=0) for a, b in zip(real, fake, strict=True))
    return (similarity.abs().mean() + 0.5 * steps.abs().sum() + 0.5 * beat.abs().mean()) / 3.0


def _melody_statistics(real: Music, fake: Music, sample_rate: int) -> tuple[tuple[Tensor, ...], ...]:
    """For real and fake: (batch, lags), (batch, 12), (batch, beat lags), with the lags that fit both."""
    harmonies = [_harmony(music, sample_rate) for music in (real, fake)]
    onsets = [onset_strength(_log_mel(music, sample_rate)) for music in (real, fake)]
    lags = _melody_lags(*(classes for classes, _ in harmonies))
    shortest, longest = BEAT_LAGS
    longest = min(longest, *(onset.shape[1] - 1 for onset in onsets))
    return tuple(
        (
            self_similarity(classes, gate, lags),
            interval_profile(classes, gate),
            onset_autocorrelation(onset, shortest, longest),
        )
        for (classes, gate), onset in zip(harmonies, onsets, strict=True)
    )


def silence_loss_d(
    real_music: Music, fake_music: Music, d_fake_logits: Logits | None = None, *, sample_rate: int
) -> Tensor:
    """`silence_loss` with the real batch as reference; with logits, the discriminator's form.

    Parameters
    ----------
    real_music, fake_music : Tensor [shape=(batch, channels, samples)] or MusicFeatures
    d_fake_logits : logits of the fakes, optional
        Given, the loss is the discriminator's: see `_judge_harder`. Judged are nine quantiles a clip.

    Returns
    -------
    Tensor [shape=()], in [0, 1] without logits
    """
    if d_fake_logits is None:
        return silence_loss(fake_music, real_music, sample_rate=sample_rate)
    shares = torch.linspace(0.1, 0.9, 9)
    real, fake = (_loudness(music, sample_rate).detach() for music in (real_music, fake_music))
    real, fake = (torch.quantile(levels, shares.to(levels), dim=1).T for levels in (real, fake))
    return _judge_harder(real, fake, d_fake_logits, 1.0)


def compute_std_loss_d(
    real_music: Music, fake_music: Music, d_fake_logits: Logits | None = None, keys: int = 33, epsilon: float = 1e-8
) -> Tensor:
    """Distance of the dynamics: standard deviation of `keys` chunks of each clip, in dB.

    Mean of the 1-Wasserstein distance over batch and chunks / 20 dB and of the difference of the spread
    across the chunks of a clip / 20 dB; at most 1.

    Parameters
    ----------
    real_music, fake_music : Tensor [shape=(batch, channels, samples)] or MusicFeatures
    d_fake_logits : logits of the fakes, optional
        Given, the loss is the discriminator's: see `_judge_harder`.
    keys : int
        Chunks of a clip; all of them count.
    epsilon : float
        Power added before the logarithm.

    Returns
    -------
    Tensor [shape=()], in [0, 1] without logits
    """
    levels = []
    for music in (real_music, fake_music):
        power = split_in_chunks(_waveform(music), keys).var(dim=-1, unbiased=False).mean(dim=1)
        levels.append(10.0 * torch.log10(power + epsilon))
    real, fake = levels
    real_spread, fake_spread = (torch.sqrt(level.var(dim=1, unbiased=False) + 1e-4) for level in levels)
    if d_fake_logits is not None:
        real_summary = torch.stack([real.mean(dim=1), real_spread], dim=1)
        fake_summary = torch.stack([fake.mean(dim=1), fake_spread], dim=1)
        return _judge_harder(real_summary, fake_summary, d_fake_logits, 1.0)
    distance = quantile_distance(fake, real) + (fake_spread.mean() - real_spread.mean()).abs()
    return _at_most_one(0.5 * distance / 20.0)


def min_max_stats_loss_d(
    real_music: Music, fake_music: Music, d_fake_logits: Logits | None = None, keys: int = 33
) -> Tensor:
    """Distance of the extremes: maximum, minimum and mean of `keys` chunks of each clip.

    Each divided by the RMS of the real batch; u = 1-Wasserstein distance over batch and chunks; mean of
    u / (1 + u). Hears clipping, a constant offset and lopsided waves.

    Parameters
    ----------
    real_music, fake_music : Tensor [shape=(batch, channels, samples)] or MusicFeatures
    d_fake_logits : logits of the fakes, optional
        Given, the loss is the discriminator's: see `_judge_harder`.
    keys : int
        Chunks of a clip; all of them count.

    Returns
    -------
    Tensor [shape=()], in [0, 1) without logits
    """
    rms = torch.sqrt(_waveform(real_music).square().mean() + 1e-8)
    real, fake = (_extremes(_waveform(music) / rms, keys) for music in (real_music, fake_music))
    if d_fake_logits is not None:
        return _judge_harder(real.mean(dim=-1).T, fake.mean(dim=-1).T, d_fake_logits, 0.05)
    distance = torch.stack([quantile_distance(b, a) for a, b in zip(real, fake, strict=True)])
    return (distance / (1.0 + distance)).mean()


def _extremes(waveform: Tensor, keys: int) -> Tensor:
    """Maximum, minimum and mean of each chunk over its samples and channels [shape=(3, batch, keys)]."""
    chunks = split_in_chunks(waveform, keys)
    return torch.stack([chunks.amax(dim=(1, 3)), chunks.amin(dim=(1, 3)), chunks.mean(dim=(1, 3))])


def kl_loss_songs_d(
    real_music: Music, fake_music: Music, d_fake_logits: Logits | None = None, *, sample_rate: int
) -> Tensor:
    """Difference of the variety within a batch: songs that all sound alike, or less alike than real ones.

    p_i is the mean spectrum of clip i in 64 bands; J the mean Jensen-Shannon divergence over all pairs of a
    batch; ((J_real - J_fake) / log 2)^2. 0 if either batch has one clip.

    Parameters
    ----------
    real_music, fake_music : Tensor [shape=(batch, channels, samples)] or MusicFeatures
    d_fake_logits : logits of the fakes, optional
        Given, the loss is the discriminator's: see `_judge_harder`.

    Returns
    -------
    Tensor [shape=()], in [0, 1] without logits
    """
    real, fake = (_mean_divergence(_log_mel(music, sample_rate)) for music in (real_music, fake_music))
    if min(len(real), len(fake)) < 2:
        real, fake = torch.zeros_like(real), fake * 0.0
    if d_fake_logits is not None:
        return _judge_harder(real[:, None], fake[:, None], d_fake_logits, 0.01)
    return ((real.mean() - fake.mean()) / math.log(2.0)).square()


def _mean_divergence(mel: Tensor) -> Tensor:
    """Mean divergence of each clip from the others [shape=(batch,)]; 0 for a single clip."""
    divergence = jensen_shannon_matrix(mean_spectrum(mel))
    return divergence.sum(dim=1) / max(1, len(divergence) - 1)


def _judge_harder(real: Tensor, fake: Tensor, d_fake_logits: Logits, floor: float) -> Tensor:
    """Mean w_i softplus(logit_i): push the discriminator harder where a fake's statistics are wrong.

    w_i, without gradient, grows from 0 for a fake within the range of the real clips to 1 three robust
    standard deviations beyond it: still a BCE, bounded, and zero when the statistics agree.

    Parameters
    ----------
    real, fake : Tensor [shape=(batch, statistics)]
    floor : float
        Smallest standard deviation taken seriously, in the unit of the statistics.
    """
    real, fake = real.detach(), fake.detach()
    centre = real.quantile(0.5, dim=0)
    scale = 1.4826 * (real - centre).abs().quantile(0.5, dim=0) + floor
    real_deviation, fake_deviation = (((part - centre).abs() / scale).mean(dim=1) for part in (real, fake))
    weight = ((fake_deviation - real_deviation.max()) / 3.0).clamp(0.0, 1.0)
    judged = [functional.softplus(head).reshape(len(head), -1).mean(dim=1) for head in _heads(d_fake_logits)]
    return (weight * torch.stack(judged).mean(dim=0)).mean()


# --- The tables ---


class StepOutputs(NamedTuple):
    """What one training step has made that a music loss reads."""

    real: Music
    """Real music: of the same step, but not of the same clips."""
    fake: Music
    """Music generated from noise."""
    sample_rate: int
    fake_logits: Logits | None = None
    """What a discriminator says to `fake`, item by item; only its own losses read this."""


Term: TypeAlias = Callable[[StepOutputs], Tensor]

MUSIC_TERMS: dict[str, Term] = {
    "no_seconds": lambda out: no_seconds_loss(out.fake, out.real, sample_rate=out.sample_rate),
    "no_silence": lambda out: no_silence_loss(out.fake, out.real, sample_rate=out.sample_rate),
    "silence": lambda out: silence_loss(out.fake, out.real, sample_rate=out.sample_rate),
    "melody": lambda out: melody_loss(out.fake, out.real, sample_rate=out.sample_rate),
    "melody_d": lambda out: melody_loss_d(out.real, out.fake, sample_rate=out.sample_rate),
    "silence_d": lambda out: silence_loss_d(out.real, out.fake, sample_rate=out.sample_rate),
    "compute_std_d": lambda out: compute_std_loss_d(out.real, out.fake),
    "min_max_stats_d": lambda out: min_max_stats_loss_d(out.real, out.fake),
    "kl_songs_d": lambda out: kl_loss_songs_d(out.real, out.fake, sample_rate=out.sample_rate),
}
"""The music losses of the generator."""

DISCRIMINATOR_TERMS: dict[str, Term] = {
    "melody_d": lambda out: melody_loss_d(out.real, out.fake, out.fake_logits, sample_rate=out.sample_rate),
    "silence_d": lambda out: silence_loss_d(out.real, out.fake, out.fake_logits, sample_rate=out.sample_rate),
    "compute_std_d": lambda out: compute_std_loss_d(out.real, out.fake, out.fake_logits),
    "min_max_stats_d": lambda out: min_max_stats_loss_d(out.real, out.fake, out.fake_logits),
    "kl_songs_d": lambda out: kl_loss_songs_d(out.real, out.fake, out.fake_logits, sample_rate=out.sample_rate),
}
"""The same of the discriminator on sound: it is pushed harder where the generator's music is unlike real music."""


def evaluate_terms(table: Mapping[str, Term], outputs: StepOutputs, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Unweighted value of every term whose weight is not zero; the others are not computed.

    Parameters
    ----------
    table : MUSIC_TERMS or DISCRIMINATOR_TERMS
    outputs : StepOutputs
        Waveforms of real and fake are heard once for all terms that count.
    weights : mapping from the name of a term in the table to its weight

    Returns
    -------
    dict from name to Tensor [shape=()]
    """
    weighted = [name for name, weight in weights.items() if weight]
    if weighted:
        outputs = share_music_features(outputs)
    return {name: table[name](outputs) for name in weighted}


def share_music_features(outputs: StepOutputs) -> StepOutputs:
    """Hear real and generated music once for all music losses, and the real one without gradient."""
    real, fake = outputs.real, outputs.fake
    if isinstance(real, Tensor):
        with torch.no_grad():
            real = music_features(real, outputs.sample_rate)
    if isinstance(fake, Tensor):
        fake = music_features(fake, outputs.sample_rate)
    return outputs._replace(real=real, fake=fake)
