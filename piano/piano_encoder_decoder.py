"""The autoencoder: waveform -> log magnitude -> mu, logvar -> log magnitude -> waveform.

Log magnitudes at pitch resolution go in and come out; phase is reconstructed when a waveform is asked for. A latent of
one kilobit a second cannot carry absolute phase, and a small network that invents it hums without pitch
(docs/experiments.md).
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from piano.foundation.layers import ConvNeXtBlock, FrameConvolution
from piano.foundation.phase import reconstruct, stft
from piano.foundation.texture import Texture

MAGNITUDE_FLOOR = 1e-3
"""Added before the logarithm; about 60 dB below the loudest partials of music levelled to -18 dBFS."""
LOGVAR_RANGE = (-12.0, 4.0)
HEAD_START = 0.3


class Reconstruction(NamedTuple):
    """What one pass through the autoencoder gives."""

    waveform: Tensor
    mu: Tensor
    logvar: Tensor


class VariationalEncoderDecoder(nn.Module):
    """Frame-wise variational autoencoder on log magnitudes.

    Parameters
    ----------
    sound_channels : int
        1 (mono) or 2 (stereo).
    n_fft : int
        Window in samples; the hop is a quarter of it.
    latent_stride : int
        Spectrum frames one latent frame stands for.
    latent_dim : int
    encoder_channels, encoder_layers, n_channels, decoder_layers : int
        Width and depth of encoder and decoder (`n_channels` is the decoder's width).
    """

    mean_spectrum: Tensor
    spectrum_scale: Tensor

    def __init__(
        self,
        *,
        sound_channels: int,
        n_fft: int,
        latent_stride: int,
        latent_dim: int,
        encoder_channels: int,
        encoder_layers: int,
        n_channels: int,
        decoder_layers: int,
    ) -> None:
        super().__init__()
        self.sound_channels = sound_channels
        self.n_fft = n_fft
        self.hop_length = n_fft // 4
        self.latent_stride = latent_stride
        self.latent_dim = latent_dim
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.bins = n_fft // 2 + 1
        values = sound_channels * self.bins
        self.register_buffer("mean_spectrum", torch.full((values,), math.log(MAGNITUDE_FLOOR) / 2))
        self.register_buffer("spectrum_scale", torch.tensor(1.0))

        self.embed = nn.Linear(values, encoder_channels)
        self.encoder_blocks = nn.Sequential(
            *(ConvNeXtBlock(encoder_channels, residual_scale=1.0 / encoder_layers) for _ in range(encoder_layers))
        )
        self.encoder_norm = nn.LayerNorm(encoder_channels)
        self.to_posterior = FrameConvolution(encoder_channels, 2 * latent_dim, latent_stride, stride=latent_stride)

        self.from_latent = FrameConvolution(latent_dim, n_channels * latent_stride, 3)
        self.decoder_blocks = nn.Sequential(
            *(ConvNeXtBlock(n_channels, residual_scale=1.0 / decoder_layers) for _ in range(decoder_layers))
        )
        self.decoder_norm = nn.LayerNorm(n_channels)
        self.head = nn.Linear(n_channels, values)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    @property
    def hop_samples(self) -> int:
        """Samples one latent frame stands for."""
        return self.hop_length * self.latent_stride

    @property
    def encoder_modules(self) -> tuple[nn.Module, ...]:
        """The modules that only the encoder uses."""
        return self.embed, self.encoder_blocks, self.encoder_norm, self.to_posterior

    @property
    def decoder_modules(self) -> tuple[nn.Module, ...]:
        """The modules that only the decoder uses."""
        return self.from_latent, self.decoder_blocks, self.decoder_norm, self.head

    @property
    def decoder_context(self) -> int:
        """Latent frames on each side that can change a decoded latent frame."""
        return 1 + math.ceil(3 * self.decoder_layers / self.latent_stride)

    @property
    def encoder_context(self) -> int:
        """Latent frames on each side that can change an encoded latent frame (the window and the blocks)."""
        return math.ceil((2 + 3 * self.encoder_layers) / self.latent_stride)

    def analyse(self, waveform: Tensor) -> Tensor:
        """Normalised log magnitudes of a waveform.

        Parameters
        ----------
        waveform : Tensor [shape=(batch, channels, samples)]
            Any length; padded on the right to whole latent frames.

        Returns
        -------
        Tensor [shape=(batch, frames, channels * bins)]
        """
        samples = waveform.shape[-1]
        padded = functional.pad(waveform.float(), (0, -samples % self.hop_samples))
        spectrum = stft(padded, self.n_fft)[..., : padded.shape[-1] // self.hop_length, :]
        log_magnitude = (spectrum.abs() + MAGNITUDE_FLOOR).log()
        return self.normalise(rearrange(log_magnitude, "batch channels frames bins -> batch frames (channels bins)"))

    def normalise(self, log_magnitude: Tensor) -> Tensor:
        """Log magnitudes in units of the data's spread around its mean spectrum."""
        return (log_magnitude - self.mean_spectrum) / self.spectrum_scale

    def log_magnitude(self, spectrum: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return spectrum * self.spectrum_scale + self.mean_spectrum

    def magnitude(self, spectrum: Tensor, *, texture: Texture | None = None, noise: Tensor | None = None) -> Tensor:
        """Linear magnitudes [shape=(batch, channels, frames, bins)] of a normalised spectrum.

        Parameters
        ----------
        spectrum : Tensor [shape=(batch, frames, channels * bins)]
        texture : Texture, optional
            Adds the scatter of real sound, drawn from `noise`.
        noise : Tensor [shape=(batch, channels, frames + 3, hop_length)], optional
            White noise.
        """
        planes = self.planes(spectrum)
        if texture is not None and noise is not None:
            planes = texture(planes, noise)
        return (planes.exp() - MAGNITUDE_FLOOR).clamp_min(0.0)

    def planes(self, spectrum: Tensor) -> Tensor:
        """Log magnitudes (batch, channels, frames, bins) of a normalised spectrum."""
        return rearrange(
            self.log_magnitude(spectrum.float()),
            "batch frames (channels bins) -> batch channels frames bins",
            channels=self.sound_channels,
        )

    def posterior(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar [shape=(batch, latent_frames, latent_dim)] of a normalised spectrum."""
        hidden = self.encoder_norm(self.encoder_blocks(self.embed(spectrum)))
        mu, logvar = self.to_posterior(hidden).float().chunk(2, dim=-1)
        return mu, logvar.clamp(*LOGVAR_RANGE)

    def encoder(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar [shape=(batch, latent_frames, latent_dim)] of a waveform (batch, channels, samples)."""
        return self.posterior(self.analyse(waveform))

    def reparameterize(self, mu: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
        """A sample of the posterior (arXiv 1312.6114); `noise` is standard normal with the shape of `mu`."""
        noise = torch.randn_like(mu) if noise is None else noise
        return mu + (0.5 * logvar).exp() * noise

    def decode_spectrum(self, latent: Tensor) -> Tensor:
        """Normalised spectrum (batch, frames, channels * bins) of latents (batch, latent_frames, latent_dim)."""
        hidden = rearrange(
            self.from_latent(latent),
            "batch frames (stride channels) -> batch (frames stride) channels",
            stride=self.latent_stride,
        )
        return self.head(self.decoder_norm(self.decoder_blocks(hidden))).float()

    def decoder(self, latent: Tensor, *, phase_iterations: int = 16) -> Tensor:
        """Waveform (batch, channels, latent_frames * hop_samples) of latents (batch, latent_frames, latent_dim)."""
        return reconstruct(self.magnitude(self.decode_spectrum(latent)), iterations=phase_iterations)

    def forward(self, waveform: Tensor) -> Reconstruction:
        """Encode and decode a waveform (batch, channels, samples); the length is kept."""
        mu, logvar = self.encoder(waveform)
        latent = self.reparameterize(mu, logvar) if self.training else mu
        return Reconstruction(self.decoder(latent)[..., : waveform.shape[-1]], mu, logvar)

    @torch.no_grad()
    def fit_spectrum(self, waveforms: Tensor) -> None:
        """Take mean spectrum and scale from data; start the first and last layer at its principal components.

        Parameters
        ----------
        waveforms : Tensor [shape=(batch, channels, samples)]
        """
        self.mean_spectrum.zero_()
        self.spectrum_scale.fill_(1.0)
        frames = rearrange(self.analyse(waveforms), "batch frames values -> (batch frames) values")
        self.mean_spectrum.copy_(frames.mean(dim=0))
        self.spectrum_scale.copy_((frames - self.mean_spectrum).square().mean().sqrt().clamp_min(1e-3))
        self._start_at_principal_components(self.normalise(frames))

    def _start_at_principal_components(self, frames: Tensor) -> None:
        """Whitened principal components in, and the way back out: training starts from the best linear code."""
        covariance = frames.T @ frames / len(frames)
        variance, directions = torch.linalg.eigh(covariance)
        deviation = variance.flip(0).clamp_min(1e-6).sqrt()
        directions = directions.flip(1)
        used = min(self.embed.out_features, self.head.in_features, directions.shape[1])
        self.embed.weight.zero_()
        self.embed.bias.zero_()
        self.embed.weight[:used] = (directions[:, :used] / deviation[:used].clamp_min(0.05)).T
        self.head.weight.zero_()
        # At full size the untrained blocks' output is louder than the music: 0.3 learns faster (docs/experiments.md).
        self.head.weight[:, :used] = HEAD_START * directions[:, :used] * deviation[:used]
