"""Encoder and decoder frame by frame: every layer holds the frames that its filter still reaches back to.

What comes out runs behind what goes in by the layers' reach, and is then what the whole would have given: a frame
before the first one is nothing, at every layer, as the zero padding of the trained networks is.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from piano.foundation.bands import band_of_bins
from piano.foundation.layers import ConvNeXtBlock
from piano.foundation.stereo import LARGEST_DIFFERENCE, QUIET_POWER
from piano.piano_encoder_decoder import IMAGE_SCALE, MAGNITUDE_FLOOR
from piano.piano_model import VariationalAttentionModel

LOOKAHEAD_BLOCKS = 2
"""A window's frame is centred two hops before its end."""


def from_first(frames: Tensor, index: int) -> Tensor:
    """Frames (batch, frames, ...) that begin with frame `index`, with nothing in place of those before frame 0."""
    if index >= 0:
        return frames
    nothing = min(-index, frames.shape[1])
    return torch.cat([torch.zeros_like(frames[:, :nothing]), frames[:, nothing:]], dim=1)


class StreamingBlock(nn.Module):
    """A ConvNeXt block with memory: gives the frames that lie `reach` before those it is given."""

    def __init__(self, block: ConvNeXtBlock) -> None:
        super().__init__()
        self.weight, self.bias = block.depthwise.weight, block.depthwise.bias
        self.norm, self.expand, self.contract = block.norm, block.expand, block.contract
        self.residual_scale = block.residual_scale
        self.reach = block.depthwise.padding
        self.held = torch.zeros(0)

    @torch.jit.export
    def begin(self, batch: int, like: Tensor) -> None:
        """Forget what was heard."""
        self.held = torch.zeros([batch, 2 * self.reach, self.weight.shape[0]], device=like.device)

    def forward(self, frames: Tensor, index: int) -> Tensor:
        """Map frames (batch, frames, channels) from `index` on to those from `index - reach` on."""
        joined = torch.cat([self.held, from_first(frames, index)], dim=1)
        count = frames.shape[1]
        self.held = joined[:, count:].contiguous()
        planes = joined.transpose(1, 2).unsqueeze(2)
        hidden = functional.conv2d(planes, self.weight, self.bias, groups=self.weight.shape[0])
        hidden = self.norm(hidden.squeeze(2).transpose(1, 2))
        hidden = self.contract(functional.gelu(self.expand(hidden)))
        return joined[:, self.reach : self.reach + count] + self.residual_scale * hidden


class StreamingDecoder(nn.Module):
    """Whitened latents in, normalised spectra out, `delay` spectrum frames later."""

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        decoder = generator.autoencoder.decoder
        self.mean, self.unwhiten = generator.normaliser.mean, generator.normaliser.unwhiten
        convolution = decoder.from_latent.convolution
        self.weight, self.bias = convolution.weight, convolution.bias
        blocks = [StreamingBlock(cast(ConvNeXtBlock, block)) for block in decoder.blocks]
        self.blocks = nn.ModuleList(blocks)
        self.norm, self.head = decoder.norm, decoder.head
        self.stride = decoder.stride
        self.reach = int(convolution.padding[0])
        self.delay = self.stride * self.reach + sum(block.reach for block in blocks)
        self.held = torch.zeros(0)

    @torch.jit.export
    def begin(self, batch: int, like: Tensor) -> None:
        """Forget what was heard."""
        self.held = torch.zeros([batch, 2 * self.reach, self.weight.shape[1]], device=like.device)
        for block in self.blocks:
            block.begin(batch, like)  # pyright: ignore - a streaming block

    def forward(self, latents: Tensor, index: int) -> Tensor:
        """Spectra (batch, frames, values) from frame ``index * stride - delay`` on.

        Parameters
        ----------
        latents : Tensor [shape=(batch, latent_frames, latent_dim)]
            Whitened, from latent frame `index` on.
        """
        coloured = from_first(latents @ self.unwhiten + self.mean, index)
        joined = torch.cat([self.held, coloured], dim=1)
        self.held = joined[:, latents.shape[1] :].contiguous()
        hidden = functional.conv1d(joined.transpose(1, 2), self.weight, self.bias).transpose(1, 2)
        hidden = hidden.reshape(hidden.shape[0], hidden.shape[1] * self.stride, hidden.shape[2] // self.stride)
        frame = (index - self.reach) * self.stride
        for block in self.blocks:
            hidden = block(hidden, frame)
            frame -= block.reach  # pyright: ignore - a number
        return self.head(self.norm(hidden))


class StreamingAnalysis(nn.Module):
    """Sound in, normalised spectra out, one frame later: what `VariationalEncoderDecoder.analyse` gives."""

    window: Tensor
    band: Tensor
    quiet: Tensor

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        codec = generator.autoencoder
        self.n_fft, self.hop = codec.n_fft, codec.hop_length
        self.bands = codec.image_bands
        self.floor, self.image_scale, self.largest = MAGNITUDE_FLOOR, IMAGE_SCALE, LARGEST_DIFFERENCE
        self.delay = LOOKAHEAD_BLOCKS - 1
        self.mean_spectrum, self.spectrum_scale = codec.mean_spectrum, codec.spectrum_scale
        self.register_buffer("window", torch.hann_window(self.n_fft) / math.sqrt(self.n_fft), persistent=False)
        band = band_of_bins(codec.bins, max(self.bands, 1), torch.device("cpu")).clone()
        self.register_buffer("band", band, persistent=False)
        widths = torch.bincount(band, minlength=max(self.bands, 1))
        self.register_buffer("quiet", (QUIET_POWER * widths).clamp_min(QUIET_POWER), persistent=False)
        self.held = torch.zeros(0)

    @torch.jit.export
    def begin(self, like: Tensor) -> None:
        """Forget what was heard; `like` is sound (batch, channels, samples)."""
        self.held = torch.zeros([like.shape[0], like.shape[1], self.n_fft - self.hop], device=like.device)

    def forward(self, sound: Tensor) -> Tensor:
        """Spectra (batch, frames, values) of sound (batch, channels, frames * hop)."""
        joined = torch.cat([self.held, sound], dim=-1)
        self.held = joined[..., sound.shape[-1] :].contiguous()
        spectrum = torch.fft.rfft(joined.unfold(-1, self.n_fft, self.hop) * self.window)
        if self.bands == 0:
            levels = (spectrum.abs() + self.floor).log().transpose(1, 2).flatten(2)
        else:
            power = torch.view_as_real(spectrum).square().sum(dim=-1)
            common = (power.mean(dim=1).sqrt() + self.floor).log()
            levels = torch.cat([common, self._image(spectrum, power)], dim=-1)
        return (levels - self.mean_spectrum) / self.spectrum_scale

    def _image(self, spectrum: Tensor, power: Tensor) -> Tensor:
        """Level differences and coherences (batch, frames, 2 bands); see `foundation.stereo.measure_image`."""
        parts = torch.view_as_real(spectrum)
        cross = self._pooled((parts[:, 0] * parts[:, 1]).sum(dim=-1))
        left, right = self._pooled(power[:, 0]) + self.quiet, self._pooled(power[:, 1]) + self.quiet
        difference = (0.5 * (left / right).log()).clamp(-self.largest, self.largest)
        coherence = (cross / (left * right).sqrt()).clamp(-1.0, 1.0)
        return self.image_scale * torch.cat([difference, coherence], dim=-1)

    def _pooled(self, values: Tensor) -> Tensor:
        """Sums over the bins of each band."""
        shape = [values.shape[0], values.shape[1], self.bands]
        return torch.zeros(shape, device=values.device).index_add(-1, self.band, values)


class StreamingEncoder(nn.Module):
    """Sound in, whitened latent means out, `delay` latent frames later."""

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        encoder = generator.autoencoder.encoder
        self.analysis = StreamingAnalysis(generator)
        self.embed, self.norm = encoder.embed, encoder.norm
        blocks = [StreamingBlock(cast(ConvNeXtBlock, block)) for block in encoder.blocks]
        self.blocks = nn.ModuleList(blocks)
        convolution = encoder.to_posterior.convolution
        self.weight, self.bias = convolution.weight, convolution.bias
        self.mean, self.whiten = generator.normaliser.mean, generator.normaliser.whiten
        self.stride, self.latent_dim = generator.autoencoder.latent_stride, generator.latent_dim
        reach = self.analysis.delay + sum(block.reach for block in blocks)
        self.delay = math.ceil(reach / self.stride)
        self.surplus = self.delay * self.stride - reach
        """Frames that are held back so that whole latent frames stay together."""
        self.held = torch.zeros(0)

    @torch.jit.export
    def begin(self, like: Tensor) -> None:
        """Forget what was heard; `like` is sound (batch, channels, samples)."""
        self.analysis.begin(like)
        for block in self.blocks:
            block.begin(like.shape[0], like)  # pyright: ignore - a streaming block
        self.held = torch.zeros([like.shape[0], self.surplus, self.weight.shape[1]], device=like.device)

    def forward(self, sound: Tensor, index: int) -> Tensor:
        """Latents (batch, latent_frames, latent_dim) from ``index - delay`` on.

        Parameters
        ----------
        sound : Tensor [shape=(batch, channels, latent_frames * hop_samples)]
            From latent frame `index` on.
        """
        frame = index * self.stride - self.analysis.delay
        hidden = self.embed(self.analysis(sound))
        for block in self.blocks:
            hidden = block(hidden, frame)
            frame -= block.reach  # pyright: ignore - a number
        joined = torch.cat([self.held, self.norm(hidden)], dim=1)
        self.held = joined[:, hidden.shape[1] :].contiguous()
        frames = joined[:, : hidden.shape[1]].transpose(1, 2)
        posterior = functional.conv1d(frames, self.weight, self.bias, stride=self.stride).transpose(1, 2)
        latents = (posterior[..., : self.latent_dim] - self.mean) @ self.whiten
        return from_first(latents, index - self.delay)
