"""Styles inside TorchScript: drawn from a seed as `LatentStyle.draw` does, with a pulse that goes on."""

import math

import torch
from torch import Tensor, nn

from piano.exporting.scripted_noise import KeyedNoise, ScriptedNoise
from piano.latent_style import ANCHOR_SPREAD, NUM_ANCHORS, PULSE_NUMBERS, PULSE_RANGE, REPEATS, LatentStyle

PULSE_COLUMNS = 8
"""A pulse as numbers: frequency, strength, octave (real, imaginary), phase; of what comes again its strength, after how
many beats, and where frame 0 is in it. See `latent_style.Pulse`."""


class ScriptedStyle(nn.Module):
    """Draws styles, and says what the flow is told about them."""

    noise: KeyedNoise
    anchors: Tensor
    unproject: Tensor
    spread: Tensor
    mean: Tensor
    repeats: Tensor

    def __init__(self, style: LatentStyle) -> None:
        super().__init__()
        self.noise = ScriptedNoise()  # type: ignore[assignment] - behind an interface
        self.anchors, self.unproject, self.spread, self.mean = style.anchors, style.unproject, style.spread, style.mean
        self.style_dim, self.frames_per_second = style.style_dim, style.frames_per_second
        self.has_repeats, self.num_anchors, self.num_repeats = style.has_repeats, NUM_ANCHORS, len(REPEATS)
        self.anchor_spread, self.circle = ANCHOR_SPREAD, 2.0 * math.pi
        self.slowest, self.fastest = PULSE_RANGE
        self.pulse_numbers, self.beat_numbers = style.pulse_numbers, PULSE_NUMBERS
        self.register_buffer("repeats", torch.tensor(REPEATS))

    @torch.jit.export
    def draw(self, seed: int, item: int, attempt: int, surprise: float, near: int) -> tuple[Tensor, Tensor]:
        """Style vector (style_dim,) and pulse (columns,) of an item; `near` an anchor, -1: the seed draws it."""
        again = ", {}".format(attempt) if attempt > 0 else ""  # noqa: UP032 - TorchScript has no f-strings
        drawn, phase, first_beat = self.noise.style_draws(
            "({}, {}, 'style'{})".format(seed, item, again),  # noqa: UP032
            self.num_anchors,
        )
        key = "{}, {}, 'style spread'{}".format(seed, item, again)  # noqa: UP032
        noise = self.noise.frames(key, 0, 1, self.style_dim)[0].to(self.anchors.device)
        anchor = self.anchors[drawn if near < 0 else near]
        vector = anchor + surprise * self.anchor_spread * noise
        return vector, self._pulse(vector, self.circle * phase, first_beat)

    def _pulse(self, vector: Tensor, phase: float, first_beat: float) -> Tensor:
        numbers = (vector @ self.unproject * self.spread + self.mean)[-self.pulse_numbers :]
        beat = numbers[-self.beat_numbers :]
        frequency = (0.5 * beat[0]).exp().clamp(self.slowest, self.fastest)
        begins = torch.full_like(frequency, phase)
        strength, count, turn = torch.zeros_like(frequency), torch.ones_like(frequency), begins
        if self.has_repeats:
            repeats = numbers[: self.num_repeats]
            strength = repeats.max().clamp_min(0.0)
            count = self.repeats[repeats.argmax()].to(frequency.dtype)
            turn = (begins + self.circle * (first_beat * count).floor()) / count
        return torch.stack([frequency, beat[1].clamp_min(0.0), beat[2], beat[3], begins, strength, count, turn])

    @torch.jit.export
    def gone_on(self, pulse: Tensor, before: Tensor, frame: int) -> Tensor:
        """A pulse that at a frame is where another one is: `Style.going_on_from`."""
        seconds = frame / self.frames_per_second
        phase = before[4] + self.circle * seconds * (before[0] - pulse[0])
        return torch.cat([pulse[:4], phase.unsqueeze(0), pulse[5:7], (phase / pulse[6]).unsqueeze(0)])

    @torch.jit.export
    def signals(self, pulse: Tensor, frames: int, first_frame: int) -> Tensor:
        """`Pulse.signals` of one item [shape=(frames, signals)]."""
        seconds = (first_frame + torch.arange(frames, device=pulse.device)) / self.frames_per_second
        angle = self.circle * pulse[0] * seconds + pulse[4]
        twice = 2.0 * angle
        octave = [
            pulse[2] * twice.cos() - pulse[3] * twice.sin(),
            pulse[2] * twice.sin() + pulse[3] * twice.cos(),
        ]
        waves = [pulse[1] * angle.cos(), pulse[1] * angle.sin(), octave[0], octave[1]]
        if self.has_repeats:
            turns = self.circle * ((pulse[0] / pulse[6]) * seconds) + pulse[7]
            waves.append(pulse[5] * turns.cos())
            waves.append(pulse[5] * turns.sin())
        return torch.stack(waves, dim=-1)
