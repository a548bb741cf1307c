"""The judge: an ear for sound and a professor for composition, at several scales, with minibatch discrimination."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from piano.foundation.collectives import Crowd
from piano.foundation.layers import FrameConvolution, LatentTransformer
from piano.foundation.phase import stft, stft_gradient


class Judgement(NamedTuple):
    """What one family of discriminators says about a batch.

    logits : name of a scale -> Tensor [shape=(batch, places)]
    features : hidden layers, for feature matching
    """

    logits: dict[str, Tensor]
    features: list[Tensor]

    @property
    def heads(self) -> list[Tensor]:
        """The logits of every scale."""
        return list(self.logits.values())

    def per_item(self) -> Tensor:
        """Mean logit of every item [shape=(batch,)]: places, then scales."""
        return torch.stack([logit.mean(dim=1) for logit in self.logits.values()]).mean(dim=0)


def alone(items: Tensor) -> Crowd:
    """The crowd of one process: its own items, detached."""
    return Crowd(items.detach(), 0)


class MinibatchDiscrimination(nn.Module):
    """How like the others is each item? (Salimans et al., arXiv 1606.03498)

    The others are detached items of the same kind: the rest of the batch and a queue of earlier ones, so that small
    micro-batches still see a crowd. Their mean, not their sum, is taken: batch size does not change the scale.
    """

    queue: Tensor
    filled: Tensor

    def __init__(self, channels: int, *, num_kernels: int = 16, kernel_dim: int = 8, queue_size: int = 64) -> None:
        super().__init__()
        self.num_kernels = num_kernels
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, num_kernels * kernel_dim, bias=False)
        nn.init.normal_(self.project.weight, std=0.05)
        self.register_buffer("queue", torch.zeros(2, queue_size, channels))
        self.register_buffer("filled", torch.zeros(2, dtype=torch.long))

    def forward(self, pooled: Tensor, *, is_real: bool, crowd: Callable[[Tensor], Crowd] = alone) -> Tensor:
        """Similarity to the others, 0 far to 1 identical.

        Parameters
        ----------
        pooled : Tensor [shape=(batch, channels)]
        is_real : bool
            Which queue to compare with.
        crowd : callable
            Puts the batches of all processes together; by default there is one.

        Returns
        -------
        Tensor [shape=(batch, num_kernels)]
        """
        kind = int(is_real)
        # A clone: the queue may be refilled in place before the backward pass reads it.
        batch, first = crowd(pooled)
        others = torch.cat([batch, self.queue[kind, : int(self.filled[kind])].clone()])
        own, theirs = (self._points(items) for items in (pooled, others))
        # The sum over a kernel's dimensions is a distance in units of its own spread at the start.
        distance = (own.unsqueeze(1) - theirs.unsqueeze(0)).abs().sum(dim=-1)
        likeness = torch.exp(-distance)
        same = torch.zeros(len(pooled), len(others), device=pooled.device)
        same[:, first : first + len(pooled)] = torch.eye(len(pooled), device=pooled.device)
        weight = (1.0 - same).unsqueeze(-1)
        return (likeness * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)

    def _points(self, items: Tensor) -> Tensor:
        return rearrange(
            self.project(self.norm(items)).float(), "items (kernels dim) -> items kernels dim", kernels=self.num_kernels
        )

    @torch.no_grad()
    def remember(self, pooled: Tensor, *, is_real: bool) -> None:
        """Put features (batch, channels) in front of the queue of their kind."""
        if not bool(torch.isfinite(pooled).all()):
            return  # NaN would stay in the queue and spoil every batch after it
        kind, size = int(is_real), self.queue.shape[1]
        self.queue[kind] = torch.cat([pooled.detach().to(self.queue.dtype), self.queue[kind]])[:size]
        self.filled[kind] = min(size, int(self.filled[kind]) + len(pooled))


class FrameEar(nn.Module):
    """Frame-wise 1-D convolutions on a spectrum: the cheapest ear, and the one that deblurs partials."""

    def __init__(self, values: int, channels: int, *, num_layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(values, channels)
        self.convolutions = nn.ModuleList(FrameConvolution(channels, channels, 5) for _ in range(num_layers))
        self.head = nn.Linear(channels, 1)

    def forward(self, spectrum: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (batch, places) and hidden layers of a spectrum (batch, frames, values)."""
        hidden = functional.leaky_relu(self.embed(spectrum), 0.1)
        features = [hidden]
        for index, convolution in enumerate(self.convolutions):
            hidden = functional.leaky_relu(convolution(hidden), 0.1)
            if index and hidden.shape[1] > 1:
                hidden = functional.avg_pool1d(hidden.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
            features.append(hidden)
        return self.head(hidden).squeeze(-1).float(), features


class Ear(nn.Module):
    """Judges sound: one FrameEar on the codec's own magnitudes, one for each further window of the waveform."""

    def __init__(self, *, spectrum_values: int, sound_channels: int, channels: int, wave_windows: list[int]) -> None:
        super().__init__()
        self.wave_windows = list(wave_windows)
        self.codec = FrameEar(spectrum_values, channels)
        self.waves = nn.ModuleList(
            FrameEar(3 * sound_channels * (window // 2 + 1), channels) for window in self.wave_windows
        )

    def planes(self, wave: Tensor) -> list[Tensor]:
        """What is heard of a waveform (batch, channels, samples) at each of the windows: `compressed_planes`."""
        return [compressed_planes(wave, window) for window in self.wave_windows]

    def forward(
        self, spectrum: Tensor | None = None, wave: Tensor | None = None, *, planes: list[Tensor] | None = None
    ) -> Judgement:
        """Judge a normalised spectrum (batch, frames, values), a waveform (batch, channels, samples), or both.

        `planes` may stand for the waveform.
        """
        logits, features = {}, []
        if spectrum is not None:
            logits["codec"], features = self.codec(spectrum)
        if wave is not None:
            planes = self.planes(wave)
        if planes is not None:
            for window, ear, heard in zip(self.wave_windows, self.waves, planes, strict=True):
                logits[f"wave_{window}"], hidden = ear(heard)
                features = features + hidden
        return Judgement(logits, features)


def compressed_planes(wave: Tensor, window: int) -> Tensor:
    """Real and imaginary part of |S|^0.3, and log magnitude, frame by frame [shape=(batch, frames, values)]."""
    return cast(Tensor, _CompressedPlanes.apply(wave, window))


class _CompressedPlanes(torch.autograd.Function):
    """`compressed_planes`, with a way back of its own: torch's goes through a complex spectrum of all frequencies."""

    @staticmethod
    def forward(ctx: Any, wave: Tensor, window: int) -> Tensor:
        spectrum = rearrange(stft(wave, window), "batch channels frames bins -> batch frames channels bins")
        real, imaginary = spectrum.real.contiguous(), spectrum.imag.contiguous()
        power = torch.addcmul(real.square().add_(1e-8), imaginary, imaginary)
        shrink = power.pow(-0.35)
        planes = real.new_empty(*power.shape, 3)
        torch.mul(real, shrink, out=planes[..., 0])
        torch.mul(imaginary, shrink, out=planes[..., 1])
        torch.add(power.sqrt().add_(1e-3).log_().mul_(0.3), 1.0, out=planes[..., 2])
        ctx.save_for_backward(real, imaginary, power, shrink)
        ctx.samples = wave.shape[-1]
        return planes.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        real, imaginary, power, shrink = ctx.saved_tensors
        by_real, by_imaginary, by_log = gradient.view(*power.shape, 3).unbind(dim=-1)
        magnitude = power.sqrt()
        # Both the length of the compressed number and the logarithm change along the number itself.
        along = torch.addcmul(by_real * real, by_imaginary, imaginary).mul_(shrink).div_(power).mul_(-0.7)
        along.addcdiv_(by_log, (magnitude + 1e-3).mul_(magnitude), value=0.3)
        back = torch.complex(
            (by_real * shrink).addcmul_(real, along), (by_imaginary * shrink).addcmul_(imaginary, along)
        )
        spectrum = rearrange(back, "batch frames channels bins -> batch channels frames bins")
        return stft_gradient(spectrum, ctx.samples), None


class Professor(nn.Module):
    """Judges composition: latents at one instant, over about a second, and as a whole.

    Starts from a copy of the pretrained attention block (`start_from`), sees latents diffused to a random level (noise
    that never has to be switched off, arXiv 2501.08316) and knows which frames are a given prefix.
    """

    def __init__(self, latent_dim: int, channels: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.transformer = LatentTransformer(latent_dim, channels, num_heads, num_layers)
        self.segment = nn.Embedding(2, channels)
        nn.init.normal_(self.segment.weight, std=0.02)
        self.norm = nn.LayerNorm(channels)
        self.frame_head = nn.Linear(channels, 1)
        self.second_head = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, 1))
        self.pool_query = nn.Parameter(torch.zeros(channels))
        self.minibatch = MinibatchDiscrimination(channels)
        self.whole_head = nn.Linear(channels + self.minibatch.num_kernels, 1)

    def start_from(self, transformer: LatentTransformer) -> None:
        """Copy a pretrained transformer's embedding and its first blocks."""
        own = self.transformer.state_dict()
        learned = transformer.state_dict()
        self.transformer.load_state_dict({name: learned[name] for name in own})

    def forward(
        self,
        latents: Tensor,
        level: Tensor,
        *,
        is_real: bool,
        is_prefix: Tensor | None = None,
        crowd: Callable[[Tensor], Crowd] = alone,
    ) -> Judgement:
        """Judge whitened latents.

        Parameters
        ----------
        latents : Tensor [shape=(batch, frames, latent_dim)]
            Already diffused to `level`.
        level : Tensor [shape=(batch, frames)]
        is_real : bool
            Which crowd minibatch discrimination compares with.
        is_prefix : Tensor [shape=(batch, frames)], optional
            Frames that were given, not generated.
        crowd : callable
            Puts the batches of all processes together for minibatch discrimination.
        """
        segment = torch.zeros_like(level, dtype=torch.long) if is_prefix is None else is_prefix.long()
        size = ((1.0 - level).square() + level.square()).sqrt().unsqueeze(-1)
        hidden = self.norm(self.transformer(latents / size, level, tokens=self.segment(segment)))
        seconds = functional.avg_pool1d(hidden.transpose(1, 2), 16, stride=8, ceil_mode=True).transpose(1, 2)
        attention = (hidden @ self.pool_query / math.sqrt(hidden.shape[-1])).softmax(dim=1)
        pooled = (attention.unsqueeze(-1) * hidden).sum(dim=1)
        likeness = self.minibatch(pooled, is_real=is_real, crowd=crowd)
        logits = {
            "frame": self.frame_head(hidden).squeeze(-1).float(),
            "second": self.second_head(seconds).squeeze(-1).float(),
            "whole": self.whole_head(torch.cat([pooled, likeness.to(pooled.dtype)], dim=-1)).float(),
        }
        return Judgement(logits, [hidden, pooled])

    def remember(self, judgement: Judgement, *, is_real: bool, gather: Callable[[Tensor], Tensor]) -> None:
        """Keep a judged batch, of all processes, for minibatch discrimination of later ones.

        Parameters
        ----------
        judgement : Judgement
            Of this network.
        is_real : bool
            As it was judged.
        gather : callable
            Puts the batches of all processes together, so that all keep the same.
        """
        self.minibatch.remember(gather(judgement.features[-1]), is_real=is_real)


class Discriminator_with_mdisc(nn.Module):
    """Ear and professor together.

    Parameters
    ----------
    sound_channels, spectrum_values, latent_dim : int
        The generator's sound channels, values of one spectrum frame, and latent dimension.
    ear_channels : int
    wave_windows : list of int
        Windows, in samples, at which the ear also hears the waveform itself.
    attention_channels, num_heads, num_layers : int
        The professor's size; channels and heads must equal the generator's for it to start from its attention.
    """

    ear_offset: Tensor
    professor_offset: Tensor
    trained_steps: Tensor

    def __init__(
        self,
        *,
        sound_channels: int,
        spectrum_values: int,
        latent_dim: int,
        ear_channels: int,
        wave_windows: list[int],
        attention_channels: int,
        num_heads: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        self.keywords = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.ear = Ear(
            spectrum_values=spectrum_values,
            sound_channels=sound_channels,
            channels=ear_channels,
            wave_windows=wave_windows,
        )
        self.professor = Professor(latent_dim, attention_channels, num_heads, num_layers)
        # A relativistic loss leaves the logits' origin free; the midpoint of real and fake is the origin reported.
        self.register_buffer("ear_offset", torch.zeros(()))
        self.register_buffer("professor_offset", torch.zeros(()))
        self.register_buffer("trained_steps", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        wave: Tensor | None = None,
        latents: Tensor | None = None,
        prefix: Tensor | None = None,
        s_d: Tensor | float = 0.0,
        *,
        spectrum: Tensor | None = None,
        is_real: bool = False,
    ) -> dict[str, Judgement]:
        """Judge sound, composition, or both.

        Parameters
        ----------
        wave : Tensor [shape=(batch, channels, samples)], optional
        spectrum : Tensor [shape=(batch, frames, values)], optional
            Normalised log magnitudes of that sound.
        latents : Tensor [shape=(batch, frames, latent_dim)], optional
            Whitened latents, diffused to `s_d`.
        prefix : Tensor [shape=(batch, prefix_frames, latent_dim)], optional
            Given latents, put in front of `latents`.
        s_d : Tensor [shape=(batch, frames)] or float
            Noise level of the latents.
        is_real : bool
            Which crowd minibatch discrimination compares with.

        Returns
        -------
        dict
            `ear` and `professor`, whichever had something to judge.
        """
        judgements = {}
        if wave is not None or spectrum is not None:
            judgements["ear"] = self.ear(spectrum=spectrum, wave=wave)
        if latents is not None:
            given = 0 if prefix is None else prefix.shape[1]
            whole = latents if prefix is None else torch.cat([prefix, latents], dim=1)
            level = s_d if isinstance(s_d, Tensor) else torch.full(whole.shape[:2], s_d, device=whole.device)
            is_prefix = repeat(
                torch.arange(whole.shape[1], device=whole.device) < given,
                "frames -> batch frames",
                batch=whole.shape[0],
            )
            judgements["professor"] = self.professor(whole, level, is_real=is_real, is_prefix=is_prefix)
        return judgements

    @torch.no_grad()
    def logit(
        self, wave: Tensor | None = None, latents: Tensor | None = None, *, spectrum: Tensor | None = None
    ) -> Tensor:
        """One centred logit per item [shape=(batch,)]: 0 undecided, above 0 real; mean over ear and professor."""
        judgements = self(wave=wave, latents=latents, spectrum=spectrum)
        offsets = {"ear": self.ear_offset, "professor": self.professor_offset}
        return torch.stack([judgements[name].per_item() - offsets[name] for name in judgements]).mean(dim=0)

    def score(
        self, wave: Tensor | None = None, latents: Tensor | None = None, *, spectrum: Tensor | None = None
    ) -> Tensor:
        """Probability of being real, per item [shape=(batch,)]: D(y), D(G(z))."""
        return self.logit(wave=wave, latents=latents, spectrum=spectrum).sigmoid()

    @torch.no_grad()
    def centre(self, family: str, real: Tensor, fake: Tensor, *, decay: float = 0.95) -> None:
        """Move the family's reported origin towards the midpoint of the mean logits of real and fake items (batch,)."""
        midpoint = 0.5 * (real.mean() + fake.mean())
        offset = getattr(self, f"{family}_offset")
        offset.copy_(torch.where(midpoint.isfinite(), offset.lerp(midpoint, 1.0 - decay), offset))
