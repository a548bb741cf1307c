"""Latents to sound inside TorchScript: decoder, the scatter of real sound, channels, phase.

The frames in, the hops out; `StreamingSound.delay` says how far behind.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from piano.composer import RECONSTRUCTION_SEED
from piano.exporting.scripted_noise import KeyedNoise, ScriptedNoise
from piano.exporting.streaming_codec import StreamingDecoder
from piano.exporting.streaming_phase import StreamingPhase
from piano.foundation.bands import band_of_bins
from piano.foundation.phase import HOPS_PER_WINDOW
from piano.foundation.texture import AROUND_BINS, LOWEST_LEVEL, MEAN_LOG_RAYLEIGH, NUM_LEVELS, Texture
from piano.piano_encoder_decoder import IMAGE_SCALE, MAGNITUDE_FLOOR
from piano.piano_model import VariationalAttentionModel

TEXTURES = ("flow", "shortcut", "codec")
"""Kinds of latents, in the order of their numbers: composed in many steps, in one, and of real sound."""
FLOW, SHORTCUT, CODEC = range(len(TEXTURES))
HANN_POWER = 3.0 / 8.0


class ScriptedFinish(nn.Module):
    """Normalised spectra to magnitudes of the channels, with scatter: `Composer.finish`."""

    amount: Tensor
    contrast: Tensor
    level: Tensor
    band: Tensor
    image_band: Tensor
    window: Tensor

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        codec, textures = generator.autoencoder, [cast(Texture, generator.textures[name]) for name in TEXTURES]
        self.n_fft, self.hop, self.bins = codec.n_fft, codec.hop_length, codec.bins
        self.layers, self.bands = codec.layers, codec.image_bands
        self.floor, self.image_scale = MAGNITUDE_FLOOR, IMAGE_SCALE
        self.lowest, self.top = LOWEST_LEVEL, NUM_LEVELS - 1
        self.around, self.centre = AROUND_BINS, 0.5 * math.log(HANN_POWER) + MEAN_LOG_RAYLEIGH
        self.mean_spectrum, self.spectrum_scale = codec.mean_spectrum, codec.spectrum_scale
        self.register_buffer("amount", torch.stack([texture.amount for texture in textures]))
        no_contrast = torch.zeros(self.amount.shape[1])
        contrasts = [no_contrast if texture.contrast is None else texture.contrast for texture in textures]
        self.register_buffer("contrast", torch.stack(contrasts))
        self.register_buffer("level", torch.stack([texture.level for texture in textures]))
        self.register_buffer("band", textures[0].band)
        image_band = band_of_bins(codec.bins, max(codec.image_bands, 1), torch.device("cpu")).clone()
        self.register_buffer("image_band", image_band)
        self.register_buffer("window", torch.hann_window(self.n_fft) / math.sqrt(self.n_fft))

    def forward(self, values: Tensor, noise: Tensor, kind: Tensor) -> Tensor:
        """Magnitudes of the channels, and then the cosine of their angle if the model knows it.

        Parameters
        ----------
        values : Tensor [shape=(batch, frames, values)]
            Normalised.
        noise : Tensor [shape=(batch, layers, frames + 3, hop)]
            White.
        kind : Tensor [shape=(batch, frames)]
            Of the latents: FLOW, SHORTCUT or CODEC.

        Returns
        -------
        Tensor [shape=(batch, channels, frames, bins)]
        """
        values = values * self.spectrum_scale + self.mean_spectrum
        spectra = values[..., : self.layers * self.bins].unflatten(-1, [self.layers, self.bins]).transpose(1, 2)
        levels = self._textured(spectra, noise, kind.unsqueeze(1).unsqueeze(-1))
        if self.bands == 0:
            return (levels.exp() - self.floor).clamp_min(0.0)
        image = values[..., self.layers * self.bins :] / self.image_scale
        difference, coherence = image[..., : self.bands], image[..., self.bands :].clamp(-1.0, 1.0)
        ways = torch.stack([difference, -difference], dim=1)
        gains = 0.5 * (math.log(2.0) - functional.softplus(-2.0 * ways))
        levels = levels + gains.index_select(3, self.image_band)
        magnitudes = (levels.exp() - self.floor).clamp_min(0.0)
        return torch.cat([magnitudes, coherence.index_select(2, self.image_band).unsqueeze(1)], dim=1)

    def _textured(self, levels: Tensor, noise: Tensor, kind: Tensor) -> Tensor:
        """Log magnitudes (batch, layers, frames, bins) as `foundation.texture.Texture` makes them."""
        magnitude = torch.fft.rfft(noise.flatten(2).unfold(-1, self.n_fft, self.hop) * self.window).abs()
        scatter = (magnitude + 1e-6).log() - self.centre
        rows = levels.reshape(-1, 1, self.bins)
        mean = functional.avg_pool1d(rows, self.around, 1, self.around // 2, False, False).view(levels.shape)
        levels = torch.addcmul(levels, self.contrast[kind, self.band], levels - mean)
        place = (levels - self.lowest).clamp(0.0, float(self.top))
        below = place.floor().long().clamp_max(self.top - 1)
        share = place - below
        amount = self.amount[kind, self.band, below] * (1.0 - share) + self.amount[kind, self.band, below + 1] * share
        return torch.addcmul(levels, amount, scatter) + self.level[kind]


class TextureNoise(nn.Module):
    """The white noise of the scatter, frame after frame, the same for a seed as the Composer's."""

    noise: KeyedNoise

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        self.noise = ScriptedNoise()  # type: ignore[assignment] - behind an interface
        self.layers, self.hop = generator.autoencoder.layers, generator.autoencoder.hop_length
        self.further = HOPS_PER_WINDOW - 1
        self.seed = 0
        self.first_item = 0
        self.row = 0
        self.block = 0
        self.held = torch.zeros(0)

    @torch.jit.export
    def begin(self, batch: int, seed: int, first_item: int) -> None:
        """At frame 0 of a seed's items from `first_item` on."""
        self.seed, self.first_item, self.row, self.block = seed, first_item, 0, 0
        self.held = torch.zeros([batch, self.layers, 0, self.hop])

    def forward(self, first: int, frames: int) -> Tensor:
        """Noise (batch, layers, frames + 3, hop) of frames from `first` on, which never lies before the last one's."""
        self.held = self.held[:, :, first - self.row :].contiguous()
        self.row = first
        while self.held.shape[2] < frames + self.further:
            items: list[Tensor] = []
            for item in range(self.held.shape[0]):
                for layer in range(self.layers):
                    key = "{}, {}, 'texture', {}".format(self.seed, self.first_item + item, layer)  # noqa: UP032
                    items.append(self.noise.block(key, self.block, self.hop))
            shape = [self.held.shape[0], self.layers, items[0].shape[0], self.hop]
            self.held = torch.cat([self.held, torch.stack(items).view(shape)], dim=2)
            self.block += 1
        return self.held[:, :, : frames + self.further]


class StreamingSound(nn.Module):
    """Latents in, as many latent frames of sound out, `delay` samples later."""

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        codec = generator.autoencoder
        self.stride, self.hop, self.bins = codec.latent_stride, codec.hop_length, codec.bins
        self.reconstruction_seed = RECONSTRUCTION_SEED
        self.decoder = StreamingDecoder(generator)
        self.finish = ScriptedFinish(generator)
        self.noise = TextureNoise(generator)
        self.phase = StreamingPhase(codec.n_fft, generator.sound_channels, has_angle=codec.image_bands > 0)
        self.planes = generator.sound_channels + int(codec.image_bands > 0)
        self.index = 0
        self.marks = torch.zeros(0)

    @torch.jit.export
    def delay(self, iterations: int) -> int:
        """Samples by which sound runs behind its latents."""
        return (self.decoder.delay + self.phase.delay(iterations)) * self.hop

    @torch.jit.export
    def begin(self, batch: int, iterations: int, index: int, seed: int, first_item: int, like: Tensor) -> None:
        """At latent frame `index`, where those before 0 are no music; `like` is on the device that is meant."""
        self.index = index
        self.marks = torch.zeros([batch, self.decoder.delay, 2], device=like.device)
        self.decoder.begin(batch, like)
        self.phase.begin(batch, iterations, like)
        self.noise.begin(batch, seed, first_item)

    def forward(self, latents: Tensor, marks: Tensor) -> Tensor:
        """Sound (batch, channels, latent_frames * hop_samples).

        Parameters
        ----------
        latents : Tensor [shape=(batch, latent_frames, latent_dim)]
            Whitened.
        marks : Tensor [shape=(batch, latent_frames, 2)]
            Gain, and kind (see `ScriptedFinish`), of each.
        """
        frame = self.index * self.stride - self.decoder.delay
        values = self.decoder(latents, self.index)
        self.index += latents.shape[1]
        count = values.shape[1]
        marks = torch.cat([self.marks, marks.repeat_interleave(self.stride, dim=1)], dim=1)
        self.marks = marks[:, count:].contiguous()
        missing = min(max(-frame, 0), count)  # frames before the first one
        planes = torch.zeros([values.shape[0], self.planes, missing, self.bins], device=values.device)
        if missing < count:
            noise = self.noise(frame + missing, count - missing).to(values.device)
            made = self.finish(values[:, missing:], noise, marks[:, missing:count, 1].long())
            planes = torch.cat([planes, self._louder(made, marks[:, missing:count, 0])], dim=2)
        return self.phase(planes, frame)

    def _louder(self, planes: Tensor, gain: Tensor) -> Tensor:
        """Magnitudes with a gain, frame by frame; the cosine behind them stays."""
        louder = planes[:, : self.phase.channels] * gain.unsqueeze(1).unsqueeze(-1)
        return torch.cat([louder, planes[:, self.phase.channels :]], dim=1)
