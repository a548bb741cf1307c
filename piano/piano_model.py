"""The generator, and the data it learns from.

One network, three uses. The attention block knows how noisy each latent frame is: all frames clean reconstructs, all
frames white noise composes, a clean prefix before noise continues. How music is made with it: piano/composer.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from piano.foundation.dataset_format import DatasetManifest, open_pairs, read_manifest
from piano.foundation.finite import require_finite
from piano.foundation.layers import LatentTransformer
from piano.foundation.shard_pairs import ShardPairs
from piano.foundation.texture import Texture
from piano.latent_style import PULSE_SIGNALS, LatentStyle, Style, StyleCondition
from piano.piano_encoder_decoder import VariationalEncoderDecoder
from piano.split_and_append_chunks import split_and_append_chunks
from piano.stages import ONE_STEP, RECONSTRUCTED

NoiseLevel = TypeVar("NoiseLevel", float, Tensor)

EIGENVALUE_FLOOR = 0.01


class LatentNormaliser(nn.Module):
    """Whitens latents frame by frame: mean 0, covariance I over the training data (ZCA)."""

    mean: Tensor
    whiten: Tensor
    unwhiten: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("whiten", torch.eye(latent_dim))
        self.register_buffer("unwhiten", torch.eye(latent_dim))

    @torch.no_grad()
    def reset(self) -> None:
        """Pass latents on as they are."""
        self.mean.zero_()
        for matrix in (self.whiten, self.unwhiten):
            matrix.copy_(torch.eye(len(self.mean)))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Take the statistics of latents [shape=(frames, latent_dim)]; a dead dimension stays small."""
        frames = require_finite(latents, "latents").cpu().double()  # not every device has doubles
        mean = frames.mean(dim=0)
        covariance = (frames - mean).T @ (frames - mean) / len(frames)
        variance, directions = torch.linalg.eigh(covariance)
        deviation = (variance.clamp_min(0.0) + EIGENVALUE_FLOOR).sqrt()
        self.mean.copy_(mean)
        self.whiten.copy_(directions @ torch.diag(1.0 / deviation) @ directions.T)
        self.unwhiten.copy_(directions @ torch.diag(deviation) @ directions.T)

    def forward(self, latents: Tensor) -> Tensor:
        """Whiten latents (..., latent_dim)."""
        return (latents - self.mean) @ self.whiten

    def inverse(self, latents: Tensor) -> Tensor:
        """Undo `forward`."""
        return latents @ self.unwhiten + self.mean


class LatentFlow(nn.Module):
    """The attention block: from latents at any noise level to their clean endpoint.

    At level s a latent is z_s = (1 - s) z + s eps. The endpoint is c_skip z_s + c_out Net(z_s, s), with the
    coefficients that make it the identity at s = 0 and pure synthesis at s = 1.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        num_heads: int,
        num_layers: int,
        *,
        style_dim: int,
        pulse_signals: int = PULSE_SIGNALS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.transformer = LatentTransformer(latent_dim, channels, num_heads, num_layers, dropout=dropout)
        self.style = nn.Sequential(nn.Linear(style_dim + 1, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.pulse = nn.Linear(pulse_signals, channels)
        self.out_norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noisy: Tensor, level: Tensor, condition: StyleCondition) -> Tensor:
        """Endpoint (batch, frames, latent_dim) of noisy latents at levels [shape=(batch, frames)], in a style."""
        share = level.unsqueeze(-1)
        size = ((1.0 - share).square() + share.square()).sqrt()
        style = self.style(torch.cat([condition.vector, condition.is_known], dim=1))
        tokens = style.unsqueeze(1) + self.pulse(condition.signals)
        hidden = self.transformer(noisy / size, level, tokens=tokens, condition=style)
        change = self.out(self.out_norm(hidden)).float()
        return (1.0 - share) / size.square() * noisy + share / size * change


class VariationalAttentionModel(nn.Module):
    """The generator: encoder, attention, decoder.

    Parameters
    ----------
    sample_rate : int
        Samples per second of the music.
    sound_channels : int
        1 (mono) or 2 (stereo).
    n_fft, latent_stride, latent_dim, encoder_channels, encoder_layers, n_channels, decoder_layers, image_bands
        See VariationalEncoderDecoder.
    seq_len : int
        Samples of one training segment.
    latent_seq_len : int
        Latent frames the attention sees at once.
    attention_channels, num_heads, num_layers : int
    style_dim : int
        See LatentStyle.
    dropout : float
        In the attention block, while training.
    repeat_signals : int
        REPEAT_SIGNALS tell the flow when the music comes again; 0, as models of before, tells it the beat alone.
    """

    default_steps: Tensor
    attention: LatentFlow
    """The flow: walks from noise to music in many steps."""
    shortcut: LatentFlow
    """Its copy that learned, against the professor, to get there in one; the flow itself stays as it is."""

    def __init__(
        self,
        *,
        sample_rate: int,
        sound_channels: int,
        n_fft: int,
        latent_stride: int,
        latent_dim: int,
        seq_len: int,
        latent_seq_len: int,
        encoder_channels: int,
        encoder_layers: int,
        n_channels: int,
        decoder_layers: int,
        attention_channels: int,
        num_heads: int,
        num_layers: int,
        style_dim: int = 48,
        dropout: float = 0.0,
        image_bands: int = 0,
        repeat_signals: int = 0,
    ) -> None:
        super().__init__()
        self.keywords = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.sample_rate = sample_rate
        self.sound_channels = sound_channels
        self.seq_len = seq_len
        self.latent_dim = latent_dim
        self.latent_seq_len = latent_seq_len
        self.autoencoder = VariationalEncoderDecoder(
            sound_channels=sound_channels,
            n_fft=n_fft,
            latent_stride=latent_stride,
            latent_dim=latent_dim,
            encoder_channels=encoder_channels,
            encoder_layers=encoder_layers,
            n_channels=n_channels,
            decoder_layers=decoder_layers,
            image_bands=image_bands,
        )
        self.normaliser = LatentNormaliser(latent_dim)
        self.style = LatentStyle(latent_dim, style_dim, self.frames_per_second, has_repeats=bool(repeat_signals))
        sizes = {"style_dim": self.style.style_dim, "pulse_signals": PULSE_SIGNALS + repeat_signals, "dropout": dropout}
        self.attention, self.shortcut = (
            LatentFlow(latent_dim, attention_channels, num_heads, num_layers, **sizes) for _ in range(2)
        )
        self.textures = nn.ModuleDict({name: Texture(n_fft) for name in ("flow", "shortcut", "codec")})
        self.register_buffer("default_steps", torch.tensor(16))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.normaliser.mean.device

    @property
    def hop_samples(self) -> int:
        """Samples one latent frame stands for."""
        return self.autoencoder.hop_samples

    @property
    def frames_per_second(self) -> float:
        """Latent frames per second of music."""
        return self.sample_rate / self.hop_samples

    def forward(self, noise: Tensor, level: Tensor, latents: Tensor, condition: StyleCondition) -> Tensor:
        """One-step compositions (batch, frames, latent_dim), as the adversarial stages train them.

        Parameters
        ----------
        noise : Tensor [shape=(batch, frames, latent_dim)]
        level : Tensor [shape=(batch, frames)]
            1 where music is composed; below 1, that much noise is put on the latents that are given.
        latents : Tensor [shape=(batch, frames, latent_dim)]
            Given frames keep theirs.
        condition : StyleCondition
        """
        share = level.unsqueeze(-1)
        noisy = (1.0 - share) * latents + share * noise
        return torch.where(share < 1.0, latents, self.shortcut(noisy, level, condition))

    def encode(self, waveform: Tensor) -> Tensor:
        """Whitened latent means (batch, frames, latent_dim) of a waveform (batch, channels, samples)."""
        return self.normaliser(self.autoencoder.encode(waveform)[0])

    def decode_spectrum(self, latents: Tensor) -> Tensor:
        """Normalised spectrum (batch, frames, values) of whitened latents (batch, frames, latent_dim)."""
        return self.autoencoder.decoder(self.normaliser.inverse(latents))

    def texture_of(self, steps: int) -> Texture:
        """What is added to compositions of so many steps, or to reconstructions (RECONSTRUCTED)."""
        name = {ONE_STEP: "shortcut", RECONSTRUCTED: "codec"}.get(steps, "flow")
        return cast(Texture, self.textures[name])

    @torch.no_grad()
    def fit_texture(self, waveforms: Tensor, latents: Tensor, noise: Tensor, *, steps: int) -> None:
        """Measure how much more real sound scatters than compositions of so many steps, or than reconstructions.

        Parameters
        ----------
        waveforms : Tensor [shape=(batch, channels, samples)]
            Real music.
        latents : Tensor [shape=(items, frames, latent_dim)]
            Whitened.
        noise : Tensor [shape=(items * layers, spectrum_frames + 3, hop_length)]
            White noise.
        """
        spectra = {
            "predicted": require_finite(self.decode_spectrum(latents), "spectra"),
            "real": require_finite(self.autoencoder.analyse(waveforms), "spectra of real music"),
        }
        levels = {name: self.autoencoder.levels(spectrum).flatten(0, 1) for name, spectrum in spectra.items()}
        self.texture_of(steps).fit(noise=noise, **levels)

    def open_shortcut(self) -> None:
        """Let the one-step block begin as a copy of the flow."""
        self.shortcut.load_state_dict(self.attention.state_dict())

    def condition_on(self, style: Style, frames: int, *, first_frame: int = 0) -> StyleCondition:
        """What the flow is conditioned on for `frames` frames in this style, from `first_frame` on."""
        return style.condition(frames, first_frame=first_frame, frames_per_second=self.frames_per_second)


def shifted(level: NoiseLevel, shift: float) -> NoiseLevel:
    """A noise level in [0, 1], moved towards 1 for a shift above 1 (Esser et al., arXiv 2403.03206)."""
    return shift * level / (1.0 + (shift - 1.0) * level)


class AudioDataset(Dataset):
    """Pairs [start, continuation] of neighbouring segments, read when they are asked for.

    Parameters
    ----------
    pairs : array or ShardPairs [shape=(pairs, 2, channels, samples)]
    manifest : DatasetManifest, optional
    labels : sequence of str, optional
        The recording each pair was cut from.
    """

    def __init__(
        self,
        pairs: np.ndarray | ShardPairs,
        manifest: DatasetManifest | None = None,
        *,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.pairs = pairs
        self.manifest = manifest
        self.labels = labels

    @classmethod
    def from_folder(cls, folder: Path, split: str) -> "AudioDataset":
        """Open `training` or `validation` of a data set folder; raises DatasetError."""
        manifest = read_manifest(folder)
        return cls(open_pairs(folder, split), manifest, labels=manifest.pair_labels(split))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def samples(self) -> int:
        """Samples of a whole pair."""
        return 2 * self.pairs.shape[-1]

    def crop(self, index: int, offset: int, samples: int) -> Tensor:
        """`samples` samples of pair `index` from `offset` on, across the seam if need be: (channels, samples)."""
        if isinstance(self.pairs, ShardPairs):
            return torch.from_numpy(self.pairs.crop(index, offset, samples))
        first, second = split_and_append_chunks(self.pairs[index][np.newaxis])  # views: nothing is read yet
        seam = first.shape[-1]
        parts = first[:, offset : offset + samples], second[:, max(offset - seam, 0) : max(offset + samples - seam, 0)]
        return torch.from_numpy(np.concatenate(parts, axis=-1))

    def crops(self, indices: Tensor, offsets: Tensor, samples: int) -> Tensor:
        """A batch (batch, channels, samples) of crops."""
        if isinstance(self.pairs, ShardPairs):
            return torch.from_numpy(self.pairs.crops(indices.tolist(), offsets.tolist(), samples))
        places = zip(indices.tolist(), offsets.tolist(), strict=True)
        return torch.stack([self.crop(index, offset, samples) for index, offset in places])

    def __getitem__(self, index: int) -> Tensor:
        """The whole pair as one waveform (channels, 2 * samples)."""
        return self.crop(index, 0, self.samples)
