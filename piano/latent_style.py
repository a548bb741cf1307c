"""What a stretch of music is like as a whole: its colour, its movement, its pulse.

A flow decides such things where the noise is strongest, and is worst there: left alone it composes near the average of
all music and finds no beat. So they are measured on the latents of real music, without a network, and condition the
flow; to compose, a style is drawn from near those of the training music (docs/experiments.md).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from piano.foundation.finite import require_finite
from piano.foundation.randomness import keyed_generator, keyed_noise

PULSE_RANGE = (0.8, 3.6)
"""Pulses a second that are looked for; their octave is heard as well."""
PULSE_GRID = 0.015
PULSE_NUMBERS = 5
PULSE_SIGNALS = 4
METRES = (2, 3, 4)
"""Beats in a bar that are looked for."""
BAR_NUMBERS = 3 * len(METRES)
BAR_SIGNALS = 2
NUM_WINDOWS, NUM_ANCHORS = 4_096, 1_024
ANCHOR_SPREAD = 0.3
"""A style is drawn this far, in standard deviations of each number, from one of the training music's."""
DEVIATION_WEIGHT, PULSE_WEIGHT = 0.5, 2.0
"""How much the spread of the latents and the pulse count in choosing the directions that are kept."""
FIT_SEED = 20
SHORTEST_SECONDS = 2.0
"""A shorter fragment says too little about its style."""


class Pulse(NamedTuple):
    """A beat and its octave in the movement of latents, and the bar; every field has one row per item.

    frequency : beats a second [shape=(batch,)]
    strength : amplitude of the beat, in spreads of the movement [shape=(batch,)]
    octave : complex amplitude of twice the beat, as seen from the beat's phase [shape=(batch,)]
    phase : of the beat at frame 0, in radians [shape=(batch,)]
    bars : complex amplitude of a bar of each of METRES, as seen from the beat: n times its phase less the beat's
        [shape=(batch, len(METRES))]; None where bars are not looked for
    bar_phase : of the bar of the strongest metre at frame 0 [shape=(batch,)]
    """

    frequency: Tensor
    strength: Tensor
    octave: Tensor
    phase: Tensor
    bars: Tensor | None = None
    bar_phase: Tensor | None = None

    @property
    def metre(self) -> Tensor:
        """Index in METRES of the strongest bar [shape=(batch,)]."""
        assert self.bars is not None
        return self.bars.abs().argmax(dim=1)

    def numbers(self) -> Tensor:
        """What is kept of it in a style [shape=(batch, PULSE_NUMBERS), with bars BAR_NUMBERS more]; phases are not."""
        beat = torch.stack(
            [2.0 * self.frequency.log(), self.strength, self.octave.real, self.octave.imag, self.octave.abs()], dim=1
        )
        if self.bars is None:
            return beat
        return torch.cat([self.bars.real, self.bars.imag, self.bars.abs(), beat], dim=1)

    def signals(self, frames: int, *, first_frame: int, frames_per_second: float) -> Tensor:
        """The beat and its octave over time, and the bar, each with its quadrature.

        Returns
        -------
        Tensor [shape=(batch, frames, PULSE_SIGNALS), with bars BAR_SIGNALS more]
        """
        seconds = (first_frame + torch.arange(frames, device=self.phase.device)) / frames_per_second
        angle = 2.0 * math.pi * self.frequency.unsqueeze(1) * seconds + self.phase.unsqueeze(1)
        beat = torch.polar(self.strength.unsqueeze(1).expand_as(angle).contiguous(), angle)
        octave = self.octave.unsqueeze(1) * torch.polar(torch.ones_like(angle), 2.0 * angle)
        waves = [beat, octave]
        if self.bars is not None and self.bar_phase is not None:
            beats = torch.tensor(METRES, device=seconds.device)[self.metre]
            strength = self.bars.abs().amax(dim=1)
            turns = (self.frequency / beats).unsqueeze(1) * seconds
            waves.append(
                torch.polar(
                    strength.unsqueeze(1).expand_as(turns).contiguous(),
                    2.0 * math.pi * turns + self.bar_phase.unsqueeze(1),
                )
            )
        return torch.stack([part for wave in waves for part in (wave.real, wave.imag)], dim=-1)


class Style(NamedTuple):
    """A style of every item: a vector, and the pulse."""

    vector: Tensor
    pulse: Pulse

    def condition(self, frames: int, *, first_frame: int = 0, frames_per_second: float) -> "StyleCondition":
        """What the flow is conditioned on for frames from `first_frame` on."""
        signals = self.pulse.signals(frames, first_frame=first_frame, frames_per_second=frames_per_second)
        return StyleCondition(self.vector, signals, torch.ones_like(self.vector[:, :1]))


class StyleCondition(NamedTuple):
    """What the flow is conditioned on.

    vector : [shape=(batch, style_dim)]
    signals : the pulse, frame by frame [shape=(batch, frames, PULSE_SIGNALS or more)]
    is_known : 1, or 0 where there is no condition [shape=(batch, 1)]
    """

    vector: Tensor
    signals: Tensor
    is_known: Tensor

    def masked(self, keep: Tensor) -> "StyleCondition":
        """Without the condition of items for which `keep` [shape=(batch, 1)] is 0."""
        return StyleCondition(self.vector * keep, self.signals * keep.unsqueeze(-1), self.is_known * keep)

    def part(self, which: slice | Tensor) -> "StyleCondition":
        """Some of the items."""
        return StyleCondition(*(field[which] for field in self))


class LatentStyle(nn.Module):
    """Measures the style of latents, and draws new ones.

    Parameters
    ----------
    latent_dim : int
    style_dim : int
        Numbers of a style: principal directions of what was measured.
    frames_per_second : float
        Of the latents.
    has_bars : bool
        Whether bars are looked for.
    """

    mean: Tensor
    spread: Tensor
    project: Tensor
    unproject: Tensor
    anchors: Tensor

    def __init__(self, latent_dim: int, style_dim: int, frames_per_second: float, *, has_bars: bool = False) -> None:
        super().__init__()
        self.has_bars = has_bars
        self.pulse_numbers = PULSE_NUMBERS + (BAR_NUMBERS if has_bars else 0)
        measured = 2 * latent_dim + 2 + self.pulse_numbers
        self.style_dim = min(style_dim, measured)
        self.latent_dim = latent_dim
        self.frames_per_second = frames_per_second
        self.register_buffer("mean", torch.zeros(measured))
        self.register_buffer("spread", torch.ones(measured))
        self.register_buffer("project", torch.zeros(measured, self.style_dim))
        self.register_buffer("unproject", torch.zeros(self.style_dim, measured))
        self.register_buffer("anchors", torch.zeros(NUM_ANCHORS, self.style_dim))

    @torch.no_grad()
    def fit(self, latents: Tensor, *, frames: int) -> None:
        """Take scale, directions and anchors from windows of `frames` frames of latents (items, frames, latent_dim)."""
        measured = self._measure_windows(latents, NUM_WINDOWS, frames)
        weight = torch.ones(measured.shape[1])
        weight[self.latent_dim : 2 * self.latent_dim] = DEVIATION_WEIGHT
        weight[-self.pulse_numbers :] = PULSE_WEIGHT
        self.mean.copy_(measured.mean(dim=0))
        self.spread.copy_(measured.std(dim=0).clamp_min(1e-3) / weight)
        scaled = (measured - self.mean) / self.spread
        variance, directions = torch.linalg.eigh((scaled.T @ scaled / len(scaled)).double())
        deviation = variance.flip(0)[: self.style_dim].clamp_min(1e-6).sqrt()
        directions = directions.flip(1)[:, : self.style_dim]
        self.project.copy_(directions / deviation)
        self.unproject.copy_((directions * deviation).T)
        self.anchors.copy_(scaled[:NUM_ANCHORS] @ self.project)

    @property
    def is_fitted(self) -> bool:
        """Whether there are styles to draw from."""
        return bool(self.anchors.any())

    @torch.no_grad()
    def renew_anchors(self, latents: Tensor, *, frames: int) -> None:
        """Take the styles to draw from other music; what the numbers mean stays."""
        measured = self._measure_windows(latents, NUM_ANCHORS, frames)
        self.anchors.copy_((measured - self.mean) / self.spread @ self.project)

    def _measure_windows(self, latents: Tensor, count: int, frames: int) -> Tensor:
        """Raw numbers (count, measured) of random windows."""
        random = keyed_generator(FIT_SEED, "style windows")
        items = torch.randint(len(latents), (count,), generator=random)
        offsets = torch.randint(latents.shape[1] - frames + 1, (count,), generator=random)
        places = offsets.unsqueeze(1) + torch.arange(frames)
        measured = torch.cat(
            [
                self.measure(latents[items[part, None], places[part]].to(self.mean.device))[0]
                for part in torch.arange(count).split(256)
            ]
        )
        return require_finite(measured, "latents of the training music")

    def measure(self, latents: Tensor) -> tuple[Tensor, Pulse]:
        """Raw numbers (batch, measured) and pulse of latents (batch, frames, latent_dim)."""
        movement = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=-1).sqrt()
        pulse = find_pulse(movement, self.frames_per_second, with_bars=self.has_bars)
        spread = movement.std(dim=1).clamp_min(0.01)
        numbers = [
            latents.mean(dim=1),
            latents.std(dim=1).clamp_min(0.05).log(),
            torch.stack([movement.mean(dim=1).clamp_min(0.01).log(), spread.log()], dim=1),
            pulse.numbers(),
        ]
        return torch.cat(numbers, dim=1), pulse

    @torch.no_grad()
    def describe(self, latents: Tensor) -> Style:
        """The style of whitened latents (batch, frames, latent_dim)."""
        measured, pulse = self.measure(latents.float())
        return Style((measured - self.mean) / self.spread @ self.project, pulse)

    @torch.no_grad()
    def draw(self, seed: int, items: range, *, attempt: int = 0) -> Style:
        """A new style for every item: near a style of the training music, with a phase of its own.

        Another attempt draws others.
        """
        vectors, phases, first_beats = [], [], []
        again = (attempt,) if attempt else ()
        for item in items:
            random = keyed_generator(seed, item, "style", *again)
            anchor = self.anchors[int(torch.randint(NUM_ANCHORS, (1,), generator=random))]
            noise = keyed_noise(seed, item, "style spread", *again, first_frame=0, frames=1, channels=self.style_dim)[0]
            vectors.append(anchor + ANCHOR_SPREAD * noise.to(anchor.device))
            phases.append(2.0 * math.pi * torch.rand((), generator=random))
            first_beats.append(torch.rand((), generator=random))
        vector = torch.stack(vectors)
        phase, first_beat = (torch.stack(drawn).to(vector.device) for drawn in (phases, first_beats))
        return Style(vector, self._pulse_of(vector, phase, first_beat))

    def _pulse_of(self, vector: Tensor, phase: Tensor, first_beat: Tensor) -> Pulse:
        """The pulse that a style vector says; `first_beat`, in [0, 1), draws with which beat of a bar it begins."""
        numbers = (vector @ self.unproject * self.spread + self.mean)[:, -self.pulse_numbers :]
        beat = numbers[:, -PULSE_NUMBERS:]
        pulse = Pulse(
            frequency=(0.5 * beat[:, 0]).exp().clamp(*PULSE_RANGE),
            strength=beat[:, 1].clamp_min(0.0),
            octave=torch.complex(beat[:, 2], beat[:, 3]),
            phase=phase,
        )
        if not self.has_bars:
            return pulse
        real, imag, size = numbers[:, :BAR_NUMBERS].chunk(3, dim=1)
        pulse = pulse._replace(bars=torch.polar(size.clamp_min(0.0), torch.atan2(imag, real)))
        assert pulse.bars is not None
        beats = torch.tensor(METRES, device=phase.device)[pulse.metre]
        strongest = pulse.bars.gather(1, pulse.metre.unsqueeze(1)).squeeze(1)
        turns = 2.0 * math.pi * (first_beat * beats).floor()
        return pulse._replace(bar_phase=(phase + strongest.angle() + turns) / beats)


def find_pulse(movement: Tensor, frames_per_second: float, *, with_bars: bool = False) -> Pulse:
    """The beat that together with its octave explains most of a movement curve (batch, frames - 1), and its bars."""
    curve = torch.cat([movement[:, :1], movement], dim=1)
    curve = curve - curve.mean(dim=1, keepdim=True)
    curve = curve / curve.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-3)
    frames = curve.shape[1]
    window = torch.hann_window(frames + 2, device=curve.device)[1:-1].sqrt()
    weighted = torch.complex(curve * window, torch.zeros_like(curve))
    seconds = torch.arange(frames, device=curve.device) / frames_per_second
    grid = torch.arange(*PULSE_RANGE, PULSE_GRID, device=curve.device)

    def wave(frequency: Tensor) -> Tensor:
        angle = -2.0 * math.pi * frequency.unsqueeze(-1) * seconds
        return torch.polar(torch.ones_like(angle), angle)

    power = (weighted @ wave(grid).T).abs().square() + (weighted @ wave(2.0 * grid).T).abs().square()
    frequency = grid[(power / grid**0.3).argmax(dim=1)]
    scale = 2.0 / window.sum()
    beat = scale * (weighted * wave(frequency)).sum(dim=1)
    octave = scale * (weighted * wave(2.0 * frequency)).sum(dim=1)
    phase = beat.angle()
    pulse = Pulse(frequency, beat.abs(), octave * torch.polar(torch.ones_like(phase), -2.0 * phase), phase)
    if not with_bars:
        return pulse
    found = torch.stack([scale * (weighted * wave(frequency / beats)).sum(dim=1) for beats in METRES], dim=1)
    angles = found.angle()
    beats = torch.tensor(METRES, device=curve.device)
    bars = torch.polar(found.abs(), beats * angles - phase.unsqueeze(1))
    pulse = pulse._replace(bars=bars)
    return pulse._replace(bar_phase=angles.gather(1, pulse.metre.unsqueeze(1)).squeeze(1))
