"""The generator, and the data it learns from.

One network, three uses. The attention block is told how noisy each latent frame is: all frames clean reconstructs, all
frames white noise composes, a clean prefix before noise continues.
"""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import Dataset

from piano.foundation.dataset_format import DatasetManifest, open_pairs, read_manifest
from piano.foundation.finite import require_finite
from piano.foundation.layers import LatentTransformer
from piano.foundation.phase import PhaseVocoder, reconstruct
from piano.foundation.randomness import keyed_generator, keyed_noise
from piano.foundation.texture import NEPER, Texture
from piano.latent_style import PULSE_SIGNALS, SHORTEST_SECONDS, LatentStyle, Style, ToldStyle
from piano.piano_encoder_decoder import VariationalEncoderDecoder
from piano.split_and_append_chunks import split_and_append_chunks

Level = TypeVar("Level", float, Tensor)

PREFIX_LEVEL = 0.05
"""Noise on a prefix while its continuation is made; training saw up to 0.15, which stops drift (arXiv 2411.18447)."""
LEVEL_SHIFT = 3.0
"""Sampling levels crowd where the noise is strong, for that is where form is decided."""
HISTORY_PART = 3
"""Endless music: the last third of a window is the prefix of the next one."""
EIGENVALUE_FLOOR = 0.01
STYLE_ATTEMPTS = 8
LARGEST_LIFT = 20.0 * NEPER
"""A composition so far below the softest music is next to silence: what it would be lifted from is not music."""


class Music(NamedTuple):
    """What the whole generator gives for a waveform."""

    mu: Tensor
    logvar: Tensor
    music: Tensor


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
        frames = require_finite(latents, "latents").double()
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
        self, latent_dim: int, channels: int, num_heads: int, num_layers: int, *, style_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.transformer = LatentTransformer(latent_dim, channels, num_heads, num_layers, dropout=dropout)
        self.style = nn.Sequential(nn.Linear(style_dim + 1, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.pulse = nn.Linear(PULSE_SIGNALS, channels)
        self.out_norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noisy: Tensor, level: Tensor, told: ToldStyle) -> Tensor:
        """Endpoint (batch, frames, latent_dim) of noisy latents at levels [shape=(batch, frames)], in a style."""
        share = level.unsqueeze(-1)
        size = ((1.0 - share).square() + share.square()).sqrt()
        style = self.style(torch.cat([told.vector, told.is_known], dim=1))
        tokens = style.unsqueeze(1) + self.pulse(told.signals)
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
    n_fft, latent_stride, latent_dim, encoder_channels, encoder_layers, n_channels, decoder_layers
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
        )
        self.normaliser = LatentNormaliser(latent_dim)
        self.style = LatentStyle(latent_dim, style_dim, self.frames_per_second)
        self.attention, self.shortcut = (
            LatentFlow(
                latent_dim, attention_channels, num_heads, num_layers, style_dim=self.style.style_dim, dropout=dropout
            )
            for _ in range(2)
        )
        self.textures = nn.ModuleDict({"flow": Texture(n_fft), "shortcut": Texture(n_fft)})
        self.register_buffer("default_steps", torch.tensor(16))
        self.sampling_dtype = torch.float32
        """Precision of the attention block while composing; bfloat16 is faster where the processor has it."""

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

    def forward(self, waveform: Tensor) -> Music:
        """Reconstruct a waveform (batch, channels, samples) through encoder, attention and decoder."""
        mu, logvar = self.autoencoder.encode(waveform)
        latents = self.normaliser(self.autoencoder.reparameterize(mu, logvar) if self.training else mu)
        level = torch.zeros(latents.shape[:2], device=latents.device)
        told = self.tell(self.style.describe(latents), latents.shape[1])
        music = self.decode(self.attention(latents, level, told))
        return Music(mu, logvar, music[..., : waveform.shape[-1]])

    def encode(self, waveform: Tensor) -> Tensor:
        """Whitened latent means (batch, frames, latent_dim) of a waveform (batch, channels, samples)."""
        return self.normaliser(self.autoencoder.encode(waveform)[0])

    def decode_spectrum(self, latents: Tensor) -> Tensor:
        """Normalised spectrum (batch, frames, values) of whitened latents (batch, frames, latent_dim)."""
        return self.autoencoder.decoder(self.normaliser.inverse(latents))

    def decode(
        self, latents: Tensor, *, phase_iterations: int = 16, texture_seed: int | None = None, steps: int = 16
    ) -> Tensor:
        """Waveform (batch, channels, samples) of whitened latents (batch, frames, latent_dim).

        With a `texture_seed` they are finished as compositions of so many steps are: with the scatter of real sound, at
        its level.
        """
        key = None if texture_seed is None else (texture_seed, 0)
        magnitudes = self._finished(self.decode_spectrum(latents), key, 0, steps)
        return reconstruct(magnitudes, iterations=phase_iterations)

    def texture_of(self, steps: int) -> Texture:
        """What is added to compositions of so many steps."""
        return cast(Texture, self.textures["shortcut" if steps == 1 else "flow"])

    def _finished(self, spectrum: Tensor, texture_key: tuple[int, int] | None, first_frame: int, steps: int) -> Tensor:
        """Magnitudes (batch, channels, frames, bins) of a spectrum; textured if there is a key (seed, first item)."""
        require_finite(self.autoencoder.log_magnitude(spectrum.float()), "spectra")
        if texture_key is None:
            return require_finite(self.autoencoder.magnitude(spectrum), "magnitudes")
        seed, first_item = texture_key
        noise = torch.stack(
            [
                self._texture_noise((seed, first_item + item), first_frame, spectrum.shape[1])
                for item in range(len(spectrum))
            ]
        )
        magnitudes = self.autoencoder.magnitude(spectrum, texture=self.texture_of(steps), noise=noise)
        return require_finite(magnitudes, "magnitudes")

    def _texture_noise(self, key: tuple[int, int], first_frame: int, frames: int) -> Tensor:
        """White noise (channels, frames + 3, hop_length) of an item's spectrum frames, the same in every piece."""
        return torch.stack(
            [
                keyed_noise(
                    *key,
                    "texture",
                    channel,
                    first_frame=first_frame,
                    frames=frames + 3,
                    channels=self.autoencoder.hop_length,
                )
                for channel in range(self.sound_channels)
            ]
        ).to(self.device)

    @torch.no_grad()
    def fit_texture(self, waveforms: Tensor, latents: Tensor, noise: Tensor, *, steps: int) -> None:
        """Measure how much more real sound scatters than compositions of so many steps.

        Parameters
        ----------
        waveforms : Tensor [shape=(batch, channels, samples)]
            Real music.
        latents : Tensor [shape=(items, frames, latent_dim)]
            Whitened.
        noise : Tensor [shape=(items * channels, spectrum_frames + 3, hop_length)]
            White noise.
        """
        spectra = {
            "predicted": require_finite(self.decode_spectrum(latents), "spectra"),
            "real": require_finite(self.autoencoder.analyse(waveforms), "spectra of real music"),
        }
        planes = {name: self.autoencoder.planes(spectrum).flatten(0, 1) for name, spectrum in spectra.items()}
        self.texture_of(steps).fit(noise=noise, **planes)

    def open_shortcut(self) -> None:
        """Let the one-step block begin as a copy of the flow."""
        self.shortcut.load_state_dict(self.attention.state_dict())

    def tell(self, style: Style, frames: int, *, first_frame: int = 0) -> ToldStyle:
        """What the flow is told about `frames` frames in this style, from `first_frame` on."""
        return style.told(frames, first_frame=first_frame, frames_per_second=self.frames_per_second)

    def integrate(self, noise: Tensor, *, steps: int, told: ToldStyle, prefix: Tensor | None = None) -> Tensor:
        """Walk from white noise to latents in `steps` evaluations of the attention block.

        Parameters
        ----------
        noise : Tensor [shape=(batch, frames, latent_dim)]
        steps : int
            1 is the adversarially trained shortcut; more follow the flow, level by level (`shifted`).
        told : ToldStyle
            The style to compose in, for all frames.
        prefix : Tensor [shape=(batch, prefix_frames, latent_dim)], optional
            Clean latents the result must continue; returned unchanged as its first frames.

        Returns
        -------
        Tensor [shape=(batch, frames, latent_dim)]
        """
        network = self.shortcut if steps == 1 else self.attention
        kept = 0 if prefix is None else prefix.shape[1]
        level = torch.ones(noise.shape[:2], device=noise.device)
        latents = noise
        if prefix is not None:
            level[:, :kept] = PREFIX_LEVEL
            held = (1.0 - PREFIX_LEVEL) * prefix + PREFIX_LEVEL * noise[:, :kept]
            latents = torch.cat([held, noise[:, kept:]], dim=1)
        for index in range(steps):
            now, then = (shifted(1.0 - (index + turn) / steps, LEVEL_SHIFT) for turn in (0, 1))
            level[:, kept:] = now
            with torch.autocast(noise.device.type, dtype=torch.bfloat16, enabled=self.sampling_dtype == torch.bfloat16):
                endpoint = network(latents, level, told)
            moved = endpoint + then / now * (latents - endpoint)
            latents = torch.cat([latents[:, :kept], moved[:, kept:]], dim=1)
        return latents if prefix is None else torch.cat([prefix, latents[:, kept:]], dim=1)

    def resolve_steps(self, steps: int | str) -> int:
        """`auto` is the number of steps that scored best when this model was last judged."""
        return int(self.default_steps) if steps == "auto" else int(steps)

    @torch.inference_mode()
    def stream_latents(
        self,
        *,
        count: int,
        seed: int,
        steps: int | str = "auto",
        prefix: Tensor | None = None,
        noise: Tensor | None = None,
        first_item: int = 0,
        attempt: int = 0,
    ) -> Iterator[Tensor]:
        """Endless latents in pieces of two thirds of a window; each piece continues the one before.

        Parameters
        ----------
        count, seed : int
            Item n of a seed is the same whatever the count is.
        prefix : Tensor [shape=(1 or count, frames, latent_dim)], optional
            Whitened latents to continue; not part of what is yielded.
        noise : Tensor [shape=(frames, latent_dim)], optional
            White noise that replaces the seed's, for as many frames as it has; it ends the stream.
        first_item : int
            Index of the first item, to make items apart.
        attempt : int
            Another one draws other styles for the same items.

        Yields
        ------
        Tensor [shape=(count, frames, latent_dim)]
        """
        device = self.device
        kept = self.latent_seq_len // HISTORY_PART
        steps = self.resolve_steps(steps)
        style = self.style.draw(seed, range(first_item, first_item + count), attempt=attempt)
        history = torch.zeros(count, 0, self.latent_dim, device=device)
        position, begin = 0, 0  # of the next noise frame, and of the window in the style's time
        if prefix is not None:
            given = prefix[:, -self.latent_seq_len :].expand(count, -1, -1).to(device)
            history = given[:, -kept:]
            if given.shape[1] >= SHORTEST_SECONDS * self.frames_per_second:
                style = self.style.describe(given)
            begin = given.shape[1] - history.shape[1]
        while noise is None or position < noise.shape[0]:
            wanted = self.latent_seq_len - history.shape[1]
            fresh = self._noise_frames(noise, count, seed, first_item, position, wanted).to(device)
            held = self._noise_frames(None, count, seed, first_item, -1, history.shape[1], held=True).to(device)
            window = self.integrate(
                torch.cat([held, fresh], dim=1),
                steps=steps,
                prefix=history if history.shape[1] else None,
                told=self.tell(style, held.shape[1] + fresh.shape[1], first_frame=begin),
            )
            piece = require_finite(window[:, history.shape[1] :], "latents")
            yield piece
            position += piece.shape[1]
            begin += window.shape[1] - kept
            history = window[:, -kept:]

    def whole_windows(self, frames: int) -> int:
        """Frames of noise that the windows take in which the first `frames` frames of music are made."""
        further = self.latent_seq_len - self.latent_seq_len // HISTORY_PART
        return self.latent_seq_len + further * max(math.ceil((frames - self.latent_seq_len) / further), 0)

    def _noise_frames(
        self,
        noise: Tensor | None,
        count: int,
        seed: int,
        first_item: int,
        position: int,
        frames: int,
        held: bool = False,
    ) -> Tensor:
        """White noise (count, frames, latent_dim) from a given sequence or from the seed."""
        if frames == 0:
            return torch.zeros(count, 0, self.latent_dim)
        if noise is not None:
            return noise[position : position + frames].expand(count, -1, -1)
        purpose = "prefix" if held else "music"
        return torch.stack(
            [
                keyed_noise(
                    seed,
                    first_item + item,
                    purpose,
                    first_frame=max(position, 0),
                    frames=frames,
                    channels=self.latent_dim,
                )
                for item in range(count)
            ]
        )

    @torch.inference_mode()
    def sample_latents(self, frames: int, *, count: int, seed: int, steps: int | str = "auto") -> Tensor:
        """Whitened latents (count, frames, latent_dim) composed from white noise."""
        pieces, have = [], 0
        for piece in self.stream_latents(count=count, seed=seed, steps=steps):
            pieces.append(piece)
            have += piece.shape[1]
            if have >= frames:
                break
        return torch.cat(pieces, dim=1)[:, :frames]

    @torch.inference_mode()
    def stream_decode(
        self,
        pieces: Iterator[Tensor],
        *,
        phase_iterations: int = 16,
        prompt: Tensor | None = None,
        context: Tensor | None = None,
        texture_key: tuple[int, int] | None = None,
        steps: int = 16,
        gain: float = 1.0,
    ) -> Iterator[Tensor]:
        """Waveform pieces (count, channels, samples) of latent pieces (count, frames, latent_dim), in bounded memory.

        Parameters
        ----------
        prompt : Tensor [shape=(channels, samples)], optional
            Sound that comes before; the phase is carried over from its end, so that the seam is smooth.
        context : Tensor [shape=(1 or count, frames, latent_dim)], optional
            Latents of that sound, which the decoder looks back on.
        texture_key : (seed, first item), optional
            Finish it as compositions are, with scatter drawn from this; without it nothing is added.
        steps : int
            How the latents were composed.
        gain : float
            Put on all of it.
        """
        margin = self.autoencoder.decoder.context
        stride = self.autoencoder.latent_stride
        buffer = None if context is None else context[:, -margin:]
        done = 0 if buffer is None else buffer.shape[1]
        position = 0
        phases: list[PhaseVocoder] = []
        for piece, is_last in mark_last(pieces):
            if not phases:
                phases = [self._start_phase(phase_iterations, prompt) for _ in range(piece.shape[0])]
                if buffer is not None:
                    buffer = buffer.expand(piece.shape[0], -1, -1)
            buffer = piece if buffer is None else torch.cat([buffer, piece], dim=1)
            ready = buffer.shape[1] if is_last else max(buffer.shape[1] - margin, done)
            spectrum = self.decode_spectrum(buffer)[:, done * stride : ready * stride]
            magnitudes = gain * self._finished(spectrum, texture_key, position, steps)
            position += spectrum.shape[1]
            sounds = [phase.push(magnitude) for phase, magnitude in zip(phases, magnitudes, strict=True)]
            if is_last:
                sounds = [
                    torch.cat([sound, phase.finish()], dim=-1) for sound, phase in zip(sounds, phases, strict=True)
                ]
            keep_from = max(ready - margin, 0)
            buffer, done = buffer[:, keep_from:], ready - keep_from
            if sounds[0].shape[-1]:
                yield torch.stack(sounds)

    def _start_phase(self, phase_iterations: int, prompt: Tensor | None) -> PhaseVocoder:
        if prompt is None:
            return PhaseVocoder(self.autoencoder.n_fft, iterations=phase_iterations)
        return PhaseVocoder.from_prompt(prompt, self.autoencoder.n_fft, iterations=phase_iterations)

    @torch.inference_mode()
    def stream(
        self,
        *,
        seconds: float,
        seed: int,
        steps: int | str = "auto",
        phase_iterations: int = 16,
        prompt: Tensor | None = None,
        noise: Tensor | None = None,
        item: int = 0,
    ) -> Iterator[Tensor]:
        """Music as it is made: waveform pieces (channels, samples), `seconds` long together.

        Parameters
        ----------
        prompt : Tensor [shape=(channels, samples)], optional
            A fragment to continue; only the continuation is yielded.
        noise : Tensor [shape=(frames, latent_dim)], optional
            From `noise_from_waveform`: the seed as sound.
        """
        samples = round(seconds * self.sample_rate)
        prefix = None
        if prompt is not None:
            usable = prompt.shape[-1] // self.hop_samples * self.hop_samples
            window = self.latent_seq_len * self.hop_samples
            prompt = prompt[..., prompt.shape[-1] - min(usable, window) :].to(self.device)
            prefix = require_finite(self.encode(prompt.unsqueeze(0)), "latents of a prompt")
        if prefix is None:
            pieces, gain = self._at_a_usual_level(seed=seed, item=item, steps=steps, noise=noise)
        else:
            gain = 1.0
            pieces = self.stream_latents(count=1, seed=seed, steps=steps, prefix=prefix, first_item=item)
        frames = math.ceil(samples / self.hop_samples)
        sounds = self.stream_decode(
            take_frames(pieces, frames),
            phase_iterations=phase_iterations,
            prompt=prompt,
            context=prefix,
            texture_key=(seed, item),
            steps=self.resolve_steps(steps),
            gain=gain,
        )
        sent = 0
        for sound in sounds:
            piece = sound[0][..., : samples - sent]
            sent += piece.shape[-1]
            yield piece

    def _at_a_usual_level(
        self, *, seed: int, item: int, steps: int | str, noise: Tensor | None
    ) -> tuple[Iterator[Tensor], float]:
        """Latents of a composition, and the gain that brings it into the loudness range of the training music.

        The first window decides, so that the gain is the same for all of a piece and for every length of it. Music has
        pauses, so that a style can be one: where the first window is next to silence, another style is drawn.
        """
        low, high = self.texture_of(self.resolve_steps(steps)).softest_and_loudest
        loudest: tuple[float, Iterator[Tensor]] | None = None
        for attempt in range(STYLE_ATTEMPTS):
            pieces = self.stream_latents(count=1, seed=seed, steps=steps, noise=noise, first_item=item, attempt=attempt)
            first = next(pieces)
            spectrum = self.decode_spectrum(first)
            magnitudes = self._finished(spectrum, (seed, item), 0, self.resolve_steps(steps))
            level = 0.5 * float(magnitudes.square().mean().clamp_min(1e-12).log())
            if loudest is None or level > loudest[0]:
                loudest = level, chain([first], pieces)
            if level > low - LARGEST_LIFT:
                break
        level, pieces = cast(tuple[float, Iterator[Tensor]], loudest)
        return pieces, math.exp(max(low - level, 0.0) + min(high - level, 0.0))

    def generate(
        self,
        seconds: float,
        *,
        count: int = 1,
        seed: int = 0,
        steps: int | str = "auto",
        phase_iterations: int = 16,
        noise: Tensor | None = None,
    ) -> Tensor:
        """New music from white noise: waveform (count, channels, samples)."""
        return torch.stack(
            [
                torch.cat(
                    list(
                        self.stream(
                            seconds=seconds,
                            seed=seed,
                            steps=steps,
                            item=item,
                            noise=noise,
                            phase_iterations=phase_iterations,
                        )
                    ),
                    dim=-1,
                )
                for item in range(count)
            ]
        )

    def continue_(
        self, start: Tensor, seconds: float, *, seed: int = 0, steps: int | str = "auto", phase_iterations: int = 16
    ) -> Tensor:
        """What comes after `start` (channels, samples): waveform (channels, samples), the start not included."""
        return torch.cat(
            list(self.stream(seconds=seconds, seed=seed, steps=steps, prompt=start, phase_iterations=phase_iterations)),
            dim=-1,
        )

    def noise_from_waveform(self, waveform: Tensor) -> Tensor:
        """A noise waveform (samples,) as latent noise (frames, latent_dim).

        Blocks of samples times a fixed orthonormal matrix: white Gaussian samples stay white Gaussian.
        """
        samples = waveform.double()
        samples = (samples - samples.mean()) / samples.std().clamp_min(1e-9)
        usable = len(samples) // self.hop_samples * self.hop_samples
        blocks = rearrange(samples[:usable], "(frames hop) -> frames hop", hop=self.hop_samples)
        square = torch.randn(self.hop_samples, self.latent_dim, generator=keyed_generator("noise to latents")).double()
        return (blocks @ torch.linalg.qr(square).Q).float()


def shifted(level: Level, shift: float) -> Level:
    """A noise level in [0, 1], moved towards 1 for a shift above 1 (Esser et al., arXiv 2403.03206)."""
    return shift * level / (1.0 + (shift - 1.0) * level)


def mark_last(pieces: Iterator[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each piece with whether it is the last one."""
    current = next(pieces, None)
    while current is not None:
        following = next(pieces, None)
        yield current, following is None
        current = following


def take_frames(pieces: Iterator[Tensor], frames: int) -> Iterator[Tensor]:
    """The first `frames` frames of latent pieces (count, frames, latent_dim)."""
    for piece in pieces:
        yield piece[:, :frames]
        frames -= piece.shape[1]
        if frames <= 0:
            return


class AudioDataset(Dataset):
    """Pairs [start, continuation] of neighbouring segments, read from a memory map.

    Parameters
    ----------
    pairs : array [shape=(pairs, 2, channels, samples)]
    manifest : DatasetManifest, optional
    labels : list of str, optional
        The recording each pair was cut from.
    """

    def __init__(
        self, pairs: np.ndarray, manifest: DatasetManifest | None = None, *, labels: list[str] | None = None
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
        first, second = split_and_append_chunks(self.pairs[index][np.newaxis])  # views: nothing is read yet
        seam = first.shape[-1]
        parts = first[:, offset : offset + samples], second[:, max(offset - seam, 0) : max(offset + samples - seam, 0)]
        return torch.from_numpy(np.concatenate(parts, axis=-1))

    def crops(self, indices: Tensor, offsets: Tensor, samples: int) -> Tensor:
        """A batch (batch, channels, samples) of crops."""
        places = zip(indices.tolist(), offsets.tolist(), strict=True)
        return torch.stack([self.crop(index, offset, samples) for index, offset in places])

    def __getitem__(self, index: int) -> Tensor:
        """The whole pair as one waveform (channels, 2 * samples)."""
        return self.crop(index, 0, self.samples)
