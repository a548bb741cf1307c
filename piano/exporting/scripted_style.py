"""Styles inside TorchScript: drawn from a seed as `LatentStyle.draw` does, with a pulse that goes on."""

import math

import torch
from torch import Tensor, nn

from piano.exporting.scripted_noise import KeyedNoise, ScriptedNoise
from piano.foundation.keys import KEYS
from piano.latent_style import (
    ANCHOR_SPREAD,
    BAR_LEAD,
    BAR_SHARE,
    HEARD_SHARE,
    KEY_PULL,
    KEY_SHARE,
    KEYED_TEMPO_REACH,
    LEAST_STYLES,
    MOST_OCTAVES,
    NUM_ANCHORS,
    PLACE_TOLERANCE,
    PULSE_NUMBERS,
    PULSE_RANGE,
    REPEATS,
    SHORTEST_BAR,
    STRONG_SHARE,
    TEMPO_REACH,
    USUAL_PULSES,
    LatentStyle,
    Wishes,
)

MOST_BEATS = 32
"""Of a bar."""
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
    kin: Tensor
    bars: Tensor
    octaves: Tensor
    key_likeness: Tensor
    key_chroma: Tensor
    chroma_slopes: Tensor
    chroma_level: Tensor
    key_way: Tensor
    tempo_way: Tensor
    beat_way: Tensor
    beat_strengths: Tensor
    beat_frequencies: Tensor

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
        self._set_up_wishes(style)
        self.asked_beats, self.asked_key, self.asked_bar = 0.0, -1, 0

    @torch.no_grad()
    def _set_up_wishes(self, style: LatentStyle) -> None:
        """What is looked up where a tempo, a key or a bar is asked for."""
        self.tempo_reach, self.keyed_reach, self.place_tolerance = TEMPO_REACH, KEYED_TEMPO_REACH, PLACE_TOLERANCE
        self.least, self.keyed_least = LEAST_STYLES, round(LEAST_STYLES / STRONG_SHARE)
        self.bar_share, self.key_share, self.strong_share = BAR_SHARE, KEY_SHARE, STRONG_SHARE
        self.heard_share = HEARD_SHARE
        self.usual_slow, self.usual_fast = USUAL_PULSES
        self.key_pull, self.bar_lead, self.shortest_bar = KEY_PULL, BAR_LEAD, SHORTEST_BAR
        self.has_keys, self.most_beats = style.chroma is not None, MOST_BEATS
        kin = torch.zeros(MOST_BEATS + 1, len(REPEATS), dtype=torch.bool)
        bars = torch.zeros(MOST_BEATS + 1, NUM_ANCHORS)
        for beats in range(MOST_BEATS + 1):
            if style.has_repeats and (wanted := Wishes(bar=float(beats)).repeats):
                kin[beats, wanted] = True
                bars[beats] = style.bar_likeness(wanted)
        self.register_buffer("kin", kin)
        self.register_buffer("bars", bars)
        self.register_buffer("octaves", 2.0 ** torch.tensor(MOST_OCTAVES))
        likeness, chroma = torch.zeros(len(KEYS), NUM_ANCHORS), torch.zeros(len(KEYS), 12)
        slopes, level, way = torch.zeros(style.style_dim, 12), torch.zeros(12), torch.zeros(12, style.style_dim)
        if style.chroma is not None:
            likeness = torch.stack([style.key_likeness(key) for key in KEYS])
            chroma = torch.stack([style.usual_chroma(key) for key in KEYS])
            level = style.chroma_of(torch.zeros_like(style.anchors[:1]))[0]
            slopes = style.chroma_of(torch.eye(style.style_dim, device=level.device)) - level
            way = style.way_to_chroma(torch.eye(12, device=level.device))
        for name, value in (("key_likeness", likeness), ("key_chroma", chroma), ("chroma_slopes", slopes)):
            self.register_buffer(name, value.clone())
        self.register_buffer("chroma_level", level.clone())
        self.register_buffer("key_way", way.clone())
        place = len(style.mean) - PULSE_NUMBERS
        self.register_buffer("tempo_way", 2.0 / style.spread[place] * style.project[place])
        self.register_buffer("beat_way", style.project[place + 1] / style.spread[place + 1])
        self.register_buffer("beat_strengths", style.beat_strengths().clone())
        self.register_buffer("beat_frequencies", style.tempo_and_movement()[0].clone())

    @torch.jit.export
    def ask(self, beats_per_second: float, key: int, bar: int) -> None:
        """What new styles shall have: a tempo (0: any), one of KEYS (-1: any), beats of a bar (0: any)."""
        self.asked_beats, self.asked_key = beats_per_second, key if self.has_keys else -1
        self.asked_bar = bar if bar >= 1 and bar <= self.most_beats else 0

    def _apart(self, frequency: Tensor) -> Tensor:
        """Log of the ratio of the asked tempo to beats a second (count,): of that octave of it which is nearest."""
        found = torch.full([1], self.asked_beats, device=frequency.device)
        if self.asked_beats < self.usual_slow or self.asked_beats > self.usual_fast:
            found = self.asked_beats * self.octaves.to(frequency.device)
            found = found[(found >= self.slowest) & (found <= self.fastest)]
        apart = found.log().unsqueeze(0) - frequency.log().unsqueeze(1)
        return apart.gather(1, apart.abs().argmin(dim=1, keepdim=True)).squeeze(1)

    def _best(self, choice: Tensor, likeness: Tensor, share: float, least: int) -> Tensor:
        """The share of some styles that is most alike; see `LatentStyle.fitting`."""
        count = int(torch.full([], share * choice.shape[0], dtype=torch.float64).round().item())
        count = min(choice.shape[0], max(least, count))
        return choice[torch.sort(likeness[choice], dim=0, descending=True, stable=True)[1][:count]]

    def _fitting(self) -> Tensor:
        """The styles that go with what is asked for."""
        choice = torch.arange(self.num_anchors, device=self.anchors.device)
        if self.asked_beats > 0.0:
            apart = self._apart(self.beat_frequencies).abs()
            reach = self.tempo_reach if self.asked_key < 0 else self.keyed_reach
            near = (apart <= reach).nonzero().squeeze(1)
            nearest = torch.sort(apart, dim=0, descending=False, stable=True)[1][: self.least]
            choice = near if near.shape[0] >= self.least else nearest
        if bool(self.kin[self.asked_bar].any()):
            choice = self._best(choice, self.bars[self.asked_bar], self.bar_share, self.least)
        if self.asked_key >= 0:
            least = self.keyed_least if self.asked_beats > 0.0 else self.least
            choice = self._best(choice, self.key_likeness[self.asked_key], self.key_share, least)
        if self.asked_beats > 0.0:
            choice = self._best(choice, self.beat_strengths, self.strong_share, self.least)
        return choice

    @torch.jit.export
    def places_in_bars(self, pulse: Tensor, frames: int, first_frame: int) -> Tensor:
        """`Pulse.places_in_bars` of one item [shape=(frames,)]; none where no bar is asked for."""
        if self.asked_bar == 0:
            return torch.zeros([0], dtype=torch.long)
        frequency, phase = float(pulse[0].item()), float(pulse[4].item())
        beats = float(self.asked_bar)
        if self.asked_beats > 0.0:
            beats = beats * frequency / self.asked_beats
        bar = beats
        while bar < self.shortest_bar * frequency:
            bar = 2.0 * bar
        seconds = (first_frame + torch.arange(frames, dtype=torch.float64)) / self.frames_per_second
        gone = frequency * seconds + phase / self.circle
        return ((gone / bar % 1.0) * bar / frequency * self.frames_per_second + self.place_tolerance).long()

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
        choice = torch.zeros([0], dtype=torch.long)
        if self.asked_beats > 0.0 or self.asked_key >= 0 or self.asked_bar > 0:
            choice = self._fitting()
        if near < 0 and choice.shape[0] > 0:
            drawn = int(choice[drawn % choice.shape[0]].item())
        anchor = self.anchors[drawn if near < 0 else near]
        vector = anchor + surprise * self.anchor_spread * noise
        if self.asked_key >= 0:
            heard = vector @ self.chroma_slopes + self.chroma_level
            vector = vector + self.key_pull * (self.key_chroma[self.asked_key] - heard) @ self.key_way
        pulse = self._pulse(vector, self.circle * phase, first_beat)
        if self.asked_beats > 0.0:
            apart = self._apart(pulse[:1])[0]
            least = torch.maximum(self.beat_strengths[choice].min(), self.beat_strengths.quantile(self.heard_share))
            missing = (least - pulse[1:2]).clamp_min(0.0)
            vector = vector + apart * self.tempo_way + missing * self.beat_way
            pulse = torch.cat([pulse[:1] * apart.exp(), pulse[1:2] + missing, pulse[2:]])
        return vector, pulse

    def _pulse(self, vector: Tensor, phase: float, first_beat: float) -> Tensor:
        numbers = (vector @ self.unproject * self.spread + self.mean)[-self.pulse_numbers :]
        beat = numbers[-self.beat_numbers :]
        frequency = (0.5 * beat[0]).exp().clamp(self.slowest, self.fastest)
        begins = torch.full_like(frequency, phase)
        strength, count, turn = torch.zeros_like(frequency), torch.ones_like(frequency), begins
        if self.has_repeats:
            repeats = numbers[: self.num_repeats]
            kin = self.kin[self.asked_bar]
            if bool(kin.any()):
                most = repeats[kin].max() - self.bar_lead
                repeats = torch.where(kin, repeats, torch.minimum(repeats, most))
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
