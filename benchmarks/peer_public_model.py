"""The public MusiGAN's networks, losses and sound format, written anew from its description, for a comparison only.

Kept as they are there, oddities included: the encoder is fed noise and never hears music, its convolutions have no
nonlinearity between them, the output is `hardsigmoid(x / max(batch))` and so never negative, the generator is asked
to match an unrelated batch of music, and what is compared with what depends on the order of the batch. Two parts that
would only hold it back are left out: a linear layer of 131 million parameters that its forward never calls, and the
optional Gaussian windows on the output, which start one sample wide and need far longer than minutes to open. Mono: the
terms of a second channel fall away. Of the losses, only those that its training adds up are here.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

KEYS = range(27, 60)
"""Piano keys of its sound format, counted from A0 = 1: B2 to G5."""
INTERVAL_SECONDS = 0.02
KEY_WIDTH_HERTZ = 12.5
KEY_THRESHOLD = 0.025
"""Of the loudest: softer keys are silent."""
SUBTRACTED = 0.4
"""Taken off the generator's output before it is played; below it a key is silent."""
NOISE_SAMPLES = 48_000
WIDTH = 128
DECODER_STRIDE = 40
CHUNKS = 33
"""Pieces of a chunk of music in the statistical losses: the number of keys."""
EPSILON = 1e-11


class Draw(NamedTuple):
    """What the generator gives for noise."""

    mu: Tensor
    logvar: Tensor
    fake: Tensor


class PublicGenerator(nn.Module):
    """Noise -> convolutional encoder -> one transformer layer -> transposed convolutions.

    Parameters
    ----------
    values : int
        Numbers of one output: samples, or keys times intervals.
    latent_frames : int
    latent_dim : int
        512 as published.
    """

    def __init__(self, *, values: int, latent_frames: int, latent_dim: int = 512) -> None:
        super().__init__()
        self.encode_1 = nn.Sequential(
            nn.Conv1d(1, WIDTH, 9, stride=2, padding=4), nn.BatchNorm1d(WIDTH, eps=EPSILON), nn.Dropout(0.2)
        )
        self.encode_2 = nn.Sequential(
            nn.Conv1d(WIDTH, WIDTH, 7, stride=2, padding=3), nn.BatchNorm1d(WIDTH, eps=EPSILON), nn.Dropout(0.2)
        )
        self.to_frames = nn.AdaptiveAvgPool1d(latent_frames)
        self.mu, self.logvar = nn.Linear(WIDTH, latent_dim), nn.Linear(WIDTH, latent_dim)
        self.transformer = nn.TransformerEncoderLayer(
            latent_dim, nhead=8, dim_feedforward=2 * latent_dim, dropout=0.1, batch_first=True
        )
        self.from_latent = nn.Linear(latent_dim, WIDTH)
        self.decode_1 = _rise(7, 2, padding=3, output_padding=1)
        self.decode_2 = _rise(2, 2)
        self.decode_3 = _rise(3, 5, padding=1, output_padding=4)
        self.decode_4 = nn.ConvTranspose1d(WIDTH, 1, 9, stride=2, padding=4, output_padding=1)
        self.to_values = nn.AdaptiveAvgPool1d(values)

    def forward(self, noise: Tensor) -> Draw:
        """Output (batch, 1, values) of noise (batch, 1, samples)."""
        first = self.encode_1(noise)
        pooled = functional.max_pool1d(first, 2)
        code = self.to_frames(self.encode_2(pooled + _resize(first, pooled))).transpose(1, 2)
        mu, logvar = self.mu(code), self.logvar(code)
        latents = self.transformer(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        start = self.from_latent(latents).transpose(1, 2)
        low = self.decode_1(start)
        middle = self.decode_2(low + _resize(start, low))
        high = self.decode_3(middle + _resize(low, middle))
        output = self.decode_4(high + _resize(middle, high))
        squashed = functional.hardsigmoid(output / (output.max() + 0.001))
        return Draw(mu, logvar, self.to_values(squashed))


def _rise(kernel_size: int, stride: int, *, padding: int = 0, output_padding: int = 0) -> nn.Sequential:
    rise = nn.ConvTranspose1d(WIDTH, WIDTH, kernel_size, stride=stride, padding=padding, output_padding=output_padding)
    return nn.Sequential(rise, nn.BatchNorm1d(WIDTH, eps=EPSILON), nn.Dropout(0.2))


def _resize(sound: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(sound, size=like.shape[-1], mode="linear", align_corners=False)


class PublicDiscriminator(nn.Module):
    """Eight halving convolutions, the mean over time, and likeness to the rest of the batch: logits (batch, 1)."""

    def __init__(self, *, values: int, width: int = 2, layers: int = 8) -> None:
        super().__init__()
        self.layers, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        channels = 1
        for index in range(layers):
            if values <= 4:
                break
            halve = nn.Conv1d(channels, width, 4, stride=2, padding=1)
            self.layers.append(nn.Sequential(spectral_norm(halve) if index else halve, nn.LeakyReLU(0.25)))
            self.shortcuts.append(nn.Conv1d(channels, width, 1))
            channels, width, values = width, 2 * width, values // 2
        self.directions = nn.Parameter(torch.randn(channels, 10, 5))
        self.out = nn.Linear(channels + 10, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """Logits (batch, 1) of (batch, 1, values)."""
        for layer, shortcut in zip(self.layers, self.shortcuts, strict=True):
            halved = layer(sound)
            sound = halved + shortcut(sound)[..., : halved.shape[-1]]  # the first half, not every second value
        features = sound.mean(dim=-1)
        projected = torch.einsum("bf,fok->bok", features, self.directions)
        gaps = (projected.unsqueeze(0) - projected.unsqueeze(1)).abs().sum(dim=3)
        likeness = torch.exp(-gaps).sum(dim=0) - 1
        return self.out(torch.cat([features, likeness], dim=1))


# --- losses ----------------------------------------------------------------------------------------------------------


def generator_loss(draw: Draw, real: Tensor, logits: Tensor, *, smoothing: float = 0.2) -> Tensor:
    """2 SmoothL1 to an unrelated batch + 20 BCE to the smoothed label + 5e-5 KL of the code of *noise*, a scalar."""
    kl = 0.5 * (draw.mu.square() + draw.logvar.exp() - 1 - draw.logvar).sum() / len(real)
    fooled = functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 1 - smoothing))
    return 2 * functional.smooth_l1_loss(draw.fake, real) + 20 * fooled + 5e-5 * kl


def discriminator_loss(
    *, fake: Tensor, real: Tensor, fake_logits: Tensor, real_logits: Tensor, smoothing: float = 0.2
) -> Tensor:
    """BCE of both halves, and the helpers, weighted by how real the fakes look, a scalar.

    A fourth helper, for silence, is always 0 as it is called there.
    """
    bce = functional.binary_cross_entropy_with_logits
    labels = torch.full_like(real_logits, 1 - smoothing)
    halves = bce(real_logits, labels) + bce(fake_logits, torch.zeros_like(fake_logits))
    belief = fake_logits.sigmoid().squeeze(1)
    melody = (belief * (lag_correlation(fake) - lag_correlation(real)).square()).sum()
    spread = (belief * (last_chunk_spread(fake) - last_chunk_spread(real)).square()).sum() / CHUNKS
    songs = (song_divergence(real) - song_divergence(fake)).square()
    return halves + melody + spread + 0.1 * songs


def lag_correlation(sound: Tensor) -> Tensor:
    """Correlation (batch) of (batch, 1, values) with itself a chunk later."""
    lag = sound.shape[-1] // CHUNKS
    early, late = sound[:, 0, :-lag], sound[:, 0, lag:]
    early = early - early.mean(dim=1, keepdim=True)
    late = late - late.mean(dim=1, keepdim=True)
    return (early * late).sum(dim=1) / (early.norm(dim=1) * late.norm(dim=1) + 1e-6)


def last_chunk_spread(sound: Tensor) -> Tensor:
    """Standard deviation (batch) of the last chunk of (batch, 1, values)."""
    return sound[:, 0, (CHUNKS - 1) * (sound.shape[-1] // CHUNKS) :].std(dim=1)


def song_divergence(sound: Tensor) -> Tensor:
    """ "KL" of even to odd items of a batch, each half clamped to be positive and scaled to sum to 1, a scalar."""
    even, odd = (half.clamp_min(1e-6) for half in (sound[::2], sound[1::2]))
    even, odd = even / even.sum(), odd / odd.sum()
    return (even * (even / odd).log()).sum()


# --- its sound format ------------------------------------------------------------------------------------------------


def key_frequencies() -> Tensor:
    """Fundamentals of the keys in Hz [shape=(keys,)], in equal temperament."""
    return 440 * 2 ** ((torch.tensor(list(KEYS), dtype=torch.float32) - 49) / 12)


def keys_of_sound(waveform: Tensor, sample_rate: int) -> Tensor:
    """Level of every key in every 20 ms: RMS behind a Gaussian band of 12.5 Hz around its fundamental.

    Parameters
    ----------
    waveform : Tensor [shape=(samples,)]

    Returns
    -------
    Tensor [shape=(keys, intervals)]
    """
    interval = round(INTERVAL_SECONDS * sample_rate)
    waveform = waveform[: len(waveform) // interval * interval]
    spectrum = torch.fft.rfft(waveform)
    frequencies = torch.fft.rfftfreq(len(waveform), 1 / sample_rate)
    bands = torch.exp(-0.5 * ((frequencies - key_frequencies().unsqueeze(1)) / KEY_WIDTH_HERTZ).square())
    notes = torch.fft.irfft(spectrum * bands, n=len(waveform))
    return notes.unflatten(1, (-1, interval)).square().mean(dim=2).sqrt()


def sound_of_keys(levels: Tensor, sample_rate: int) -> Tensor:
    """Waveform (samples,) of key levels (keys, intervals): sines that start anew in every interval."""
    time = torch.arange(round(INTERVAL_SECONDS * sample_rate)) / sample_rate
    sines = torch.sin(2 * torch.pi * key_frequencies().unsqueeze(1) * time)
    return (levels.T @ sines).flatten()


def playable(output: Tensor, sample_rate: int, *, is_keys: bool) -> Tensor:
    """Waveform (samples,) of one output (values,) of the generator."""
    if not is_keys:
        return output - output.mean()
    levels = (output - SUBTRACTED).clamp_min(0)
    return sound_of_keys((levels / levels.max().clamp_min(1e-6)).unflatten(0, (len(KEYS), -1)), sample_rate)
