"""The autoencoder: waveform -> log magnitude -> mu, logvar -> log magnitude -> waveform.

Log magnitudes at pitch resolution go in and come out; phase is reconstructed when a waveform is asked for. A latent of
one kilobit a second cannot carry absolute phase, and a small network that invents it hums without pitch
(docs/experiments.md). Of stereo one spectrum is kept for both channels, and where it stands, in bands
(`foundation.stereo`).
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from piano.foundation.layers import ConvNeXtBlock, FrameConvolution
from piano.foundation.phase import stft
from piano.foundation.stereo import StereoImage, coherence_of_bins, measure_image, spread_levels
from piano.foundation.texture import Texture

MAGNITUDE_FLOOR = 1e-3
"""Added before the logarithm; about 60 dB below the loudest partials of music levelled to -18 dBFS."""
TINY_POWER = 1e-20
"""Added to a power, so that its root has a gradient in silence."""
LOGVAR_RANGE = (-12.0, 4.0)
HEAD_START = 0.3
IMAGE_SCALE = 2.0
"""The numbers of a stereo image in the spectrum: a difference of one neper counts as two, for a band is many bins."""


class ChannelLevels(NamedTuple):
    """What is needed to sound a spectrum."""

    log_magnitude: Tensor
    """Of every channel [shape=(batch, channels, frames, bins)]."""
    coherence: Tensor | None
    """Cosine of the angle between left and right [shape=(batch, frames, bins)]; None where nothing says it."""

    @property
    def magnitude(self) -> Tensor:
        """Linear magnitudes of every channel."""
        return (self.log_magnitude.exp() - MAGNITUDE_FLOOR).clamp_min(0.0)


def stereo_image(values: Tensor, bands: int) -> StereoImage:
    """The image at the end of spectrum values (batch, frames, values), in nepers and cosines."""
    difference, coherence = (values[..., -2 * bands :] / IMAGE_SCALE).chunk(2, dim=-1)
    return StereoImage(difference, coherence)


def channel_levels(values: Tensor, *, sound_channels: int, image_bands: int) -> ChannelLevels:
    """Spectrum values (batch, frames, values), no longer normalised, by channels."""
    if not image_bands:
        planes = rearrange(
            values, "batch frames (channels bins) -> batch channels frames bins", channels=sound_channels
        )
        return ChannelLevels(planes, None)
    common, image = values[..., : -2 * image_bands], stereo_image(values, image_bands)
    return ChannelLevels(spread_levels(common, image), coherence_of_bins(image, common.shape[-1]))


class CodecPass(NamedTuple):
    """What one pass through the autoencoder gives."""

    real: Tensor
    """Normalised spectrum of what went in [shape=(batch, frames, values)]."""
    decoded: Tensor
    """Of what came out, of the same shape."""
    mu: Tensor
    logvar: Tensor


class Encoder(nn.Module):
    """Normalised spectrum -> posterior of the latents.

    Parameters
    ----------
    values : int
        Numbers of a spectrum frame.
    channels, layers : int
        Width, and number of ConvNeXt blocks.
    latent_dim : int
    stride : int
        Spectrum frames one latent frame stands for.
    """

    def __init__(self, values: int, channels: int, layers: int, *, latent_dim: int, stride: int) -> None:
        super().__init__()
        self.embed = nn.Linear(values, channels)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels, residual_scale=1.0 / layers) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)
        self.to_posterior = FrameConvolution(channels, 2 * latent_dim, stride, stride=stride)
        self.context = math.ceil((2 + 3 * layers) / stride)
        """Latent frames on each side that can change a latent frame: the window of the spectrum, and the blocks."""

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar (batch, latent_frames, latent_dim) of a normalised spectrum (batch, frames, values)."""
        hidden = self.norm(self.blocks(self.embed(spectrum)))
        mu, logvar = self.to_posterior(hidden).float().chunk(2, dim=-1)
        return mu, logvar.clamp(*LOGVAR_RANGE)

    @torch.no_grad()
    def start_at(self, directions: Tensor, deviation: Tensor) -> None:
        """Begin as a projection on whitened principal components; see `VariationalEncoderDecoder.fit_spectrum`.

        Parameters
        ----------
        directions : Tensor [shape=(values, components)]
            The strongest first.
        deviation : Tensor [shape=(components,)]
        """
        used = min(self.embed.out_features, directions.shape[1])
        self.embed.weight.zero_()
        self.embed.bias.zero_()
        self.embed.weight[:used] = (directions[:, :used] / deviation[:used].clamp_min(0.05)).T


class Decoder(nn.Module):
    """Latents -> normalised spectrum.

    Parameters
    ----------
    values : int
        Numbers of a spectrum frame.
    channels, layers : int
        Width, and number of ConvNeXt blocks.
    latent_dim : int
    stride : int
        Spectrum frames one latent frame stands for.
    """

    def __init__(self, values: int, channels: int, layers: int, *, latent_dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.from_latent = FrameConvolution(latent_dim, channels * stride, 3)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels, residual_scale=1.0 / layers) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, values)
        self.context = 1 + math.ceil(3 * layers / stride)
        """Latent frames on each side that can change a decoded latent frame."""
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    def forward(self, latent: Tensor) -> Tensor:
        """Normalised spectrum (batch, frames, values) of latents (batch, latent_frames, latent_dim)."""
        hidden = rearrange(
            self.from_latent(latent),
            "batch frames (stride channels) -> batch (frames stride) channels",
            stride=self.stride,
        )
        return self.head(self.norm(self.blocks(hidden))).float()

    @torch.no_grad()
    def start_at(self, directions: Tensor, deviation: Tensor) -> None:
        """Begin as the way back from principal components; see `Encoder.start_at`.

        At full size the untrained blocks' output is louder than the music: 0.3 learns faster (docs/experiments.md).
        """
        used = min(self.head.in_features, directions.shape[1])
        self.head.weight.zero_()
        self.head.weight[:, :used] = HEAD_START * directions[:, :used] * deviation[:used]


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
    image_bands : int
        Bands in which a stereo image is kept beside one spectrum; 0 keeps a spectrum of each channel, as codecs of
        before do. Of mono it means nothing.
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
        image_bands: int = 0,
    ) -> None:
        super().__init__()
        self.sound_channels = sound_channels
        self.image_bands = image_bands if sound_channels == 2 else 0
        self.n_fft = n_fft
        self.hop_length = n_fft // 4
        self.latent_stride = latent_stride
        self.latent_dim = latent_dim
        self.bins = n_fft // 2 + 1
        self.layers = 1 if self.image_bands else sound_channels
        """Full spectra of one frame."""
        self.values = self.layers * self.bins + 2 * self.image_bands
        """Numbers of a spectrum frame: each layer's bins, then level differences and coherences of the bands."""
        self.register_buffer("mean_spectrum", torch.full((self.values,), math.log(MAGNITUDE_FLOOR) / 2))
        self.register_buffer("spectrum_scale", torch.tensor(1.0))

        sizes = {"latent_dim": latent_dim, "stride": latent_stride}
        self.encoder = Encoder(self.values, encoder_channels, encoder_layers, **sizes)
        self.decoder = Decoder(self.values, n_channels, decoder_layers, **sizes)

    @property
    def hop_samples(self) -> int:
        """Samples one latent frame stands for."""
        return self.hop_length * self.latent_stride

    def analyse(self, waveform: Tensor) -> Tensor:
        """Normalised log magnitudes of a waveform.

        Parameters
        ----------
        waveform : Tensor [shape=(batch, channels, samples)]
            Any length; padded on the right to whole latent frames.

        Returns
        -------
        Tensor [shape=(batch, frames, values)]
        """
        samples = waveform.shape[-1]
        padded = functional.pad(waveform.float(), (0, -samples % self.hop_samples))
        spectrum = stft(padded, self.n_fft)[..., : padded.shape[-1] // self.hop_length, :]
        # Four times as fast as the absolute value of a complex number, which fears no overflow.
        power = torch.addcmul(spectrum.real.square().add_(TINY_POWER), spectrum.imag, spectrum.imag)
        if not self.image_bands:
            log_magnitude = (power.sqrt() + MAGNITUDE_FLOOR).log()
            return self.normalise(
                rearrange(log_magnitude, "batch channels frames bins -> batch frames (channels bins)")
            )
        common = power.mean(dim=1).sqrt()
        image = measure_image(spectrum, self.image_bands)
        numbers = [IMAGE_SCALE * number for number in image]
        return self.normalise(torch.cat([(common + MAGNITUDE_FLOOR).log(), *numbers], dim=-1))

    def normalise(self, log_magnitude: Tensor) -> Tensor:
        """Spectrum values in units of the data's spread around its mean spectrum."""
        return (log_magnitude - self.mean_spectrum) / self.spectrum_scale

    def log_magnitude(self, spectrum: Tensor) -> Tensor:
        """Inverse of `normalise`; with a stereo image its numbers are behind the log magnitudes."""
        return spectrum * self.spectrum_scale + self.mean_spectrum

    def levels(self, spectrum: Tensor) -> Tensor:
        """Log magnitudes (batch, layers, frames, bins) of a normalised spectrum."""
        return rearrange(
            self.log_magnitude(spectrum.float())[..., : self.layers * self.bins],
            "batch frames (layers bins) -> batch layers frames bins",
            layers=self.layers,
        )

    def image(self, spectrum: Tensor) -> StereoImage | None:
        """The stereo image of a normalised spectrum; None without one."""
        return stereo_image(self.log_magnitude(spectrum.float()), self.image_bands) if self.image_bands else None

    def channel_levels(
        self, spectrum: Tensor, *, texture: Texture | None = None, noise: Tensor | None = None
    ) -> ChannelLevels:
        """A normalised spectrum by channels, ready to be given a phase.

        Parameters
        ----------
        spectrum : Tensor [shape=(batch, frames, values)]
        texture : Texture, optional
            Adds the scatter of real sound, drawn from `noise`.
        noise : Tensor [shape=(batch, layers, frames + 3, hop_length)], optional
            White noise.
        """
        values = self.log_magnitude(spectrum.float())
        if texture is not None and noise is not None:
            levels = rearrange(
                texture(self.levels(spectrum), noise), "batch layers frames bins -> batch frames (layers bins)"
            )
            values = torch.cat([levels, values[..., levels.shape[-1] :]], dim=-1)
        return channel_levels(values, sound_channels=self.sound_channels, image_bands=self.image_bands)

    def encode(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar (batch, latent_frames, latent_dim) of a waveform (batch, channels, samples)."""
        return self.encoder(self.analyse(waveform))

    def reparameterize(self, mu: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
        """A sample of the posterior (arXiv 1312.6114); `noise` is standard normal with the shape of `mu`."""
        noise = torch.randn_like(mu) if noise is None else noise
        return mu + (0.5 * logvar).exp() * noise

    def forward(self, waveform: Tensor, *, noise: Tensor | None = None, jitter: Tensor | None = None) -> CodecPass:
        """One pass as in training: analyse, encode, draw from the posterior, decode.

        Parameters
        ----------
        waveform : Tensor [shape=(batch, channels, samples)]
        noise : Tensor [shape=(batch, latent_frames, latent_dim)], optional
            Standard normal, for the draw; by default drawn here.
        jitter : Tensor, optional
            Added to what was drawn, so that the decoder learns to bear it; of the same shape.
        """
        with torch.no_grad():
            real = self.analyse(waveform)
        mu, logvar = self.encoder(real)
        latent = self.reparameterize(mu, logvar, noise)
        return CodecPass(real, self.decoder(latent if jitter is None else latent + jitter), mu, logvar)

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
        # On the CPU: not every device has it, and those of GPUs may fail where many variances are alike.
        covariance = (frames.T @ frames / len(frames)).cpu()
        variance, directions = (found.to(frames.device) for found in torch.linalg.eigh(covariance))
        deviation = variance.flip(0).clamp_min(1e-6).sqrt()
        for part in (self.encoder, self.decoder):
            part.start_at(directions.flip(1), deviation)
