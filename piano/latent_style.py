"""What a stretch of music is like as a whole: its colour, its movement, its pulse.

A flow decides such things where the noise is strongest, and is worst there: left alone it composes near the average of
all music and finds no beat. So they are measured on the latents of real music, without a network, and condition the
flow; the pulse lies where notes begin, which a linear readout finds in the latents. To compose, a style is drawn from
near those of the training music (docs/experiments.md).
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from piano.foundation import bounds
from piano.foundation.doors import command
from piano.foundation.errors import ConfigError
from piano.foundation.features import in_full_precision
from piano.foundation.finite import require_finite
from piano.foundation.keys import KEYS, Key
from piano.foundation.optional_buffers import OptionalBuffers
from piano.foundation.randomness import keyed_generator, keyed_noise

PULSE_RANGE = (0.8, 3.6)
"""Pulses a second that are looked for; their octave is heard as well."""
PULSE_GRID = 0.015
PULSE_NUMBERS = 5
PULSE_SIGNALS = 4
REPEATS = (1, 2, 3, 4, 6, 8)
"""Beats after which music may come again: a figure, a bar, two bars."""
REPEAT_SIGNALS = 2
SHORTEST_REPEAT, LONGEST_REPEAT = 0.3, 0.5
"""In seconds, and in parts of the window: what comes again sooner has not gone yet, later little can be compared."""
NUM_WINDOWS, NUM_ANCHORS = 4_096, 1_024
ANCHOR_SPREAD = 0.3
"""A style is drawn this far, in standard deviations of each number, from one of the training music's."""
ONSET_RIDGE = 1e-3
"""Penalty of the readout of onsets, for each frame that it is fitted on."""
DEVIATION_WEIGHT, PULSE_WEIGHT = 0.5, 2.0
"""How much the spread of the latents and the pulse count in choosing the directions that are kept."""
FIT_SEED = 20
DRAWING = int(bounds.DRAWING.high)
"""Which rules music is drawn by that was asked for. Receipts say it: what was drawn by earlier ones is made again."""
TEMPO_REACH = 0.06
"""Styles go with a tempo that is so near to theirs, as a ratio."""
KEYED_TEMPO_REACH = 0.15
"""Where a key is asked for as well: of the few styles next to a tempo, too few are near to the key."""
LEAST_STYLES = 16
"""So many are chosen from in any case."""
STRONG_SHARE = 0.6
"""Of the styles near a tempo, those with the strongest beat are taken: the others leave open which octave is heard."""
HEARD_SHARE = 0.5
"""Of the styles, so many have a weaker beat than any music that was asked for a tempo."""
BAR_SHARE, KEY_SHARE = 1 / 3, 1 / 16
"""Of the styles, so many are taken that go best with a bar, and with a key."""
MOST_OCTAVES = range(-6, 7)
"""Of a tempo, in which a pulse is looked for: 32nds at 240 quarters a minute, and four whole notes at 20, have one."""
USUAL_PULSES = (1.1, 3.0)
"""Pulses a second that are heard as they are; slower ones mostly as twice, faster ones as half as many."""
CHROMA_RIDGE = 1e-3
"""Penalty of the readout of pitch classes, for each frame that it is fitted on."""
KEY_PULL = 0.9
"""How far the pitch classes of a style are drawn towards what they usually are in a key that was asked for."""
UNLIKE_KEY = 0.6
"""Correlation of pitch classes with those of a key below which music is not near to it."""
KEY_SOFTNESS = 1e-3
"""Directions in which the pitch classes hardly follow the style, relative to the mean of all, are left alone."""
CONTRAST_STYLES, CONTRAST_LIKENESS = 256, 0.6
"""What is between a theme and its return is in one of so many nearest styles whose pitch classes correlate so well."""
CONTRAST_BEATS = 0.6
"""Of these, that share is left out whose beat is weaker than the piece's."""
NUM_ENDS = 64
"""Ends of the training music's pieces that are kept."""
ENDING_SECONDS = 4.5
LEAST_ENDS = 8
"""Of these that fit best, one is drawn."""
SHORTEST_BAR = 0.5
"""In seconds: two or more shorter bars come again together."""
PLACE_TOLERANCE = 1e-6
"""In frames, for what is a whole number but for rounding."""
BAR_LEAD = 0.05
"""So much less alike, at least, are moments that are not a bar apart."""
CALMNESS = 0.2
"""By so much smaller is the noise that the calmest music begins from."""
SHORTEST_SECONDS = 2.0
"""A shorter fragment says too little about its style."""


class Windowed(Protocol):
    """Latents of many pieces of music, of which windows can be had."""

    def __len__(self) -> int:
        """Pieces."""
        ...

    @property
    def frames(self) -> int:
        """Latent frames of a piece."""
        ...

    def windows(self, items: Tensor, offsets: Tensor, frames: int) -> Tensor:
        """Windows (count, frames, latent_dim) of pieces `items` (count,), from frames `offsets` (count,) on."""
        ...


class Pulse(NamedTuple):
    """A beat and its octave in a curve of onsets, and what comes again; every field has one row per item.

    frequency : beats a second [shape=(batch,)]
    strength : amplitude of the beat, in spreads of the curve [shape=(batch,)]
    octave : complex amplitude of twice the beat, as seen from the beat's phase [shape=(batch,)]
    phase : of the beat at frame 0, in radians [shape=(batch,)]
    repeats : how much more alike moments so many beats apart are than any two, for each of REPEATS
        [shape=(batch, len(REPEATS))]; None where that is not looked for
    turn : where between two repeats frame 0 is, in radians [shape=(batch,)]
    """

    frequency: Tensor
    strength: Tensor
    octave: Tensor
    phase: Tensor
    repeats: Tensor | None = None
    turn: Tensor | None = None

    @property
    def beats(self) -> Tensor:
        """Beats after which the music is most alike to itself [shape=(batch,)]."""
        assert self.repeats is not None
        return torch.tensor(REPEATS, device=self.repeats.device)[self.repeats.argmax(dim=1)]

    def numbers(self) -> Tensor:
        """What is kept of it in a style [shape=(batch, PULSE_NUMBERS), with repeats len(REPEATS) more]; no phases."""
        beat = torch.stack(
            [2.0 * self.frequency.log(), self.strength, self.octave.real, self.octave.imag, self.octave.abs()], dim=1
        )
        return beat if self.repeats is None else torch.cat([self.repeats, beat], dim=1)

    def places_in_bars(self, beats: Tensor, frames: int, *, first_frame: int, frames_per_second: float) -> Tensor:
        """How many frames ago the bar of each frame from `first_frame` on began.

        Parameters
        ----------
        beats : Tensor [shape=(batch,)]
            Of the pulse, in a bar; of bars that are shorter than SHORTEST_BAR two, four or more count as one.

        Returns
        -------
        Tensor of int64 [shape=(batch, frames)]
            On the CPU. A bar need not be a whole number of frames: its places are rounded down.
        """
        # In doubles, which not every device has: after hours, too, a frame keeps its place.
        beats, frequency, phase = (each.cpu().double().unsqueeze(1) for each in (beats, self.frequency, self.phase))
        bar = beats * (SHORTEST_BAR * frequency / beats).clamp_min(1.0).log2().ceil().exp2()
        seconds = (first_frame + torch.arange(frames, dtype=torch.float64)) / frames_per_second
        gone = frequency * seconds + phase / (2.0 * math.pi)
        return ((gone / bar % 1.0) * bar / frequency * frames_per_second + PLACE_TOLERANCE).long()

    def signals(self, frames: int, *, first_frame: int, frames_per_second: float) -> Tensor:
        """The beat and its octave over time, and what comes again, each with its quadrature.

        Returns
        -------
        Tensor [shape=(batch, frames, PULSE_SIGNALS), with repeats REPEAT_SIGNALS more]
        """
        seconds = (first_frame + torch.arange(frames, device=self.phase.device)) / frames_per_second
        angle = 2.0 * math.pi * self.frequency.unsqueeze(1) * seconds + self.phase.unsqueeze(1)
        beat = torch.polar(self.strength.unsqueeze(1).expand_as(angle).contiguous(), angle)
        octave = self.octave.unsqueeze(1) * torch.polar(torch.ones_like(angle), 2.0 * angle)
        waves = [beat, octave]
        if self.repeats is not None and self.turn is not None:
            strength = self.repeats.amax(dim=1).clamp_min(0.0)
            turns = (self.frequency / self.beats).unsqueeze(1) * seconds
            waves.append(
                torch.polar(
                    strength.unsqueeze(1).expand_as(turns).contiguous(),
                    2.0 * math.pi * turns + self.turn.unsqueeze(1),
                )
            )
        return torch.stack([part for wave in waves for part in (wave.real, wave.imag)], dim=-1)


class AskedTempo(NamedTuple):
    """A tempo that new music shall have."""

    beats_per_second: float
    beats: float | None = None
    """How many the music has in all, where it comes round again: only of a whole number of them can be a pulse."""
    quarters: float = 1.0
    """Quarter notes of a beat, in which a person says a tempo."""

    def said(self, beats_per_second: float) -> float:
        """Quarter notes a minute of beats like these."""
        return 60.0 * self.quarters * beats_per_second

    def octaves(self, *, any_of_them: bool = False) -> list[float]:
        """Pulses a second that stand for it: itself where that is heard as it is, else or on demand its octaves too."""
        slowest, fastest = PULSE_RANGE
        is_whole = self.beats is None or float(self.beats).is_integer()
        if is_whole and not any_of_them and USUAL_PULSES[0] <= self.beats_per_second <= USUAL_PULSES[1]:
            return [self.beats_per_second]
        found = [(self.beats_per_second * 2.0**octave, 2.0**octave) for octave in MOST_OCTAVES]
        heard = [(pulse, ratio) for pulse, ratio in found if slowest <= pulse <= fastest]
        whole = [pulse for pulse, ratio in heard if self.beats is None or (self.beats * ratio).is_integer()]
        return whole or [pulse for pulse, _ in heard]


class Wishes(NamedTuple):
    """What new music was asked to be like; the rest is drawn from what goes together in the training music."""

    tempo: AskedTempo | None = None
    key: Key | None = None
    bar: float | None = None
    """Beats of a bar: such as the tempo counts, where one is asked for."""
    surprise: float = 1.0
    """From 0, calm, to what is usual, 1, and wilder: how far styles are drawn from the training music's."""
    drawing: int = DRAWING
    """By which rules it is drawn; see `is_of_before`."""

    @property
    def is_of_before(self) -> bool:
        """Whether it is drawn as before bars were heard, and tempi had a beat."""
        return self.drawing < DRAWING

    @property
    def repeats(self) -> list[int]:
        """Which of REPEATS go with the bar, if it has 2, 4 or 8 beats, or 3, 6 or 12."""
        kin = next((kin for kin in ((2, 4, 8), (3, 6, 12)) if self.bar in kin), ())
        return [place for place, beats in enumerate(REPEATS) if beats in kin]

    def beats_of_bar(self, pulse: Pulse) -> Tensor | None:
        """How many beats of a pulse a bar has (batch,), in doubles: a pulse may be an octave of the tempo."""
        if self.bar is None or self.is_of_before:
            return None
        frequency = pulse.frequency.cpu().double()
        if self.tempo is None:
            return torch.full_like(frequency, self.bar)
        return self.bar * frequency / self.tempo.beats_per_second

    @property
    def bar_seconds(self) -> float | None:
        """Of the bar that was asked for; None where the tempo is drawn."""
        return None if self.bar is None or self.tempo is None else self.bar / self.tempo.beats_per_second

    @property
    def noise_size(self) -> float:
        """Of the white noise: calm music begins from less of it (Brock et al., arXiv 1809.11096)."""
        return 1.0 - CALMNESS * max(1.0 - self.surprise, 0.0)


class Style(NamedTuple):
    """A style of every item: a vector, and the pulse."""

    vector: Tensor
    pulse: Pulse

    def with_phase_of(self, other: "Style") -> "Style":
        """The same style, with where the beat lies in another one: so that each item begins elsewhere in the bar."""
        count = len(other.vector)
        repeated = {
            name: value.expand(count, *value.shape[1:])
            for name, value in self.pulse._asdict().items()
            if value is not None
        }
        pulse = Pulse(**repeated | {"phase": other.pulse.phase})
        if other.pulse.turn is not None:
            beats = pulse.beats  # what comes again begins on a beat: on one of its own beats
            first = ((other.pulse.turn * other.pulse.beats - other.pulse.phase) / (2.0 * math.pi)).round() % beats
            pulse = pulse._replace(turn=(other.pulse.phase + 2.0 * math.pi * first) / beats)
        return Style(self.vector.expand(count, -1), pulse)

    def going_on_from(self, before: "Style", seconds: float) -> "Style":
        """The same style, with a beat that at a moment is where that of another one is: no beat jumps."""
        turned = 2.0 * math.pi * seconds * (before.pulse.frequency - self.pulse.frequency)
        pulse = self.pulse._replace(phase=before.pulse.phase + turned)
        if pulse.turn is not None:
            pulse = pulse._replace(turn=pulse.phase / pulse.beats)
        return Style(self.vector, pulse)

    def moved(self, seconds: float) -> "Style":
        """The same style, later: what was at time 0 is at `seconds` now."""
        turned = 2.0 * math.pi * seconds * self.pulse.frequency
        pulse = self.pulse._replace(phase=self.pulse.phase - turned)
        if pulse.turn is not None:
            pulse = pulse._replace(turn=pulse.turn - turned / pulse.beats)
        return Style(self.vector, pulse)

    def blended(self, other: "Style", share: float) -> "Style":
        """A style between two: `share` of the way to the other one; the tempo between them by its ratio."""
        vector = torch.lerp(self.vector, other.vector, share)
        here, there = self.pulse, other.pulse
        frequency = (torch.lerp(here.frequency.log(), there.frequency.log(), share)).exp()
        pulse = here._replace(
            frequency=frequency,
            strength=torch.lerp(here.strength, there.strength, share),
            octave=here.octave + share * (there.octave - here.octave),
        )
        if here.repeats is not None and there.repeats is not None:
            pulse = pulse._replace(repeats=torch.lerp(here.repeats, there.repeats, share))
            pulse = pulse._replace(turn=pulse.phase / pulse.beats)
        return Style(vector, pulse)

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


class LatentStyle(OptionalBuffers):
    """Measures the style of latents, and draws new ones.

    Parameters
    ----------
    latent_dim : int
    style_dim : int
        Numbers of a style: principal directions of what was measured.
    frames_per_second : float
        Of the latents.
    has_repeats : bool
        Whether it is looked for what comes again.
    """

    mean: Tensor
    spread: Tensor
    project: Tensor
    unproject: Tensor
    anchors: Tensor
    onset: Tensor | None
    """Readout of onsets [shape=(3 latent_dim + 1,)]; None before `fit_onsets`, and for models of before: then all
    movement counts, also that of notes that end."""
    chroma: Tensor | None
    """Readout of pitch classes [shape=(latent_dim + 1, 12)]; None before `fit_chroma`, and for models of before."""
    ends: Tensor | None
    """Latents of how pieces of the training music end [shape=(NUM_ENDS, frames, latent_dim)]; None if none does."""

    def __init__(self, latent_dim: int, style_dim: int, frames_per_second: float, *, has_repeats: bool = False) -> None:
        super().__init__()
        self.has_repeats = has_repeats
        self.pulse_numbers = PULSE_NUMBERS + (len(REPEATS) if has_repeats else 0)
        measured = 2 * latent_dim + 2 + self.pulse_numbers
        self.style_dim = min(style_dim, measured)
        self.latent_dim = latent_dim
        self.frames_per_second = frames_per_second
        self.register_buffer("mean", torch.zeros(measured))
        self.register_buffer("spread", torch.ones(measured))
        self.register_buffer("project", torch.zeros(measured, self.style_dim))
        self.register_buffer("unproject", torch.zeros(self.style_dim, measured))
        self.register_buffer("anchors", torch.zeros(NUM_ANCHORS, self.style_dim))
        for name in ("onset", "chroma", "ends"):
            self.register_buffer(name, None)

    @torch.no_grad()
    def fit_onsets(self, latents: Tensor, onsets: Tensor) -> None:
        """Learn to read onsets out of latents, so that the pulse lies where notes begin; before `fit`.

        Ridge regression on two neighbouring frames and the rises between them.

        Parameters
        ----------
        latents : Tensor [shape=(items, frames, latent_dim)]
            Whitened.
        onsets : Tensor [shape=(items, frames)]
            Strength of the onsets in their sound.
        """
        steps = _steps_of(latents.cpu().double()).flatten(0, 1)
        products = steps.T @ steps
        products.diagonal().add_(ONSET_RIDGE * len(steps))
        readout = torch.linalg.solve(products, steps.T @ onsets[:, 1:].flatten().cpu().double())
        self.onset = require_finite(readout.float(), "onsets of the training music").to(self.mean.device)

    @torch.no_grad()
    def fit_chroma(self, latents: Tensor, chroma: Tensor) -> None:
        """Learn to read pitch classes out of latents, by ridge regression: so that a key can be asked for.

        Parameters
        ----------
        latents : Tensor [shape=(count, latent_dim)]
            Whitened, each the mean over the time that a chroma is of.
        chroma : Tensor [shape=(count, 12)]
            Of their sound, from C on.
        """
        given = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).cpu().double()
        products = given.T @ given
        products.diagonal().add_(CHROMA_RIDGE * len(given))
        readout = torch.linalg.solve(products, given.T @ chroma.cpu().double())
        self.chroma = require_finite(readout.float(), "pitch classes of the training music").contiguous()
        self.chroma = self.chroma.to(self.mean.device)

    def keep_ends(self, ends: Tensor | None) -> None:
        """Keep how pieces end (count, frames, latent_dim); fewer than NUM_ENDS are kept several times."""
        self.ends = None
        if ends is not None and len(ends):
            self.ends = ends[torch.arange(NUM_ENDS) % len(ends)].float().to(self.mean.device)

    @property
    def end_frames(self) -> int:
        """Latent frames of an end."""
        return round(ENDING_SECONDS * self.frames_per_second)

    @torch.no_grad()
    def fit(self, latents: Windowed, *, frames: int) -> None:
        """Take scale, directions and anchors from windows of `frames` frames of latents."""
        measured = self._measure_windows(latents, NUM_WINDOWS, frames)
        weight = measured.new_ones(measured.shape[1])
        weight[self.latent_dim : 2 * self.latent_dim] = DEVIATION_WEIGHT
        weight[-self.pulse_numbers :] = PULSE_WEIGHT
        self.mean.copy_(measured.mean(dim=0))
        self.spread.copy_(measured.std(dim=0).clamp_min(1e-3) / weight)
        scaled = (measured - self.mean) / self.spread
        # In doubles on the CPU: not every device has them.
        variance, directions = torch.linalg.eigh((scaled.T @ scaled / len(scaled)).cpu().double())
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
    def renew_anchors(self, latents: Windowed, *, frames: int) -> None:
        """Take the styles to draw from other music; what the numbers mean stays."""
        measured = self._measure_windows(latents, NUM_ANCHORS, frames)
        self.anchors.copy_((measured - self.mean) / self.spread @ self.project)

    def _measure_windows(self, latents: Windowed, count: int, frames: int) -> Tensor:
        """Raw numbers (count, measured) of random windows."""
        random = keyed_generator(FIT_SEED, "style windows")
        items = torch.randint(len(latents), (count,), generator=random)
        offsets = torch.randint(latents.frames - frames + 1, (count,), generator=random)
        measured = torch.cat(
            [
                self.measure(latents.windows(items[part], offsets[part], frames).to(self.mean.device))[0]
                for part in torch.arange(count).split(256)
            ]
        )
        return require_finite(measured, "latents of the training music")

    @in_full_precision
    def measure(self, latents: Tensor) -> tuple[Tensor, Pulse]:
        """Raw numbers (batch, measured) and pulse of latents (batch, frames, latent_dim)."""
        movement = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=-1).sqrt()
        curve = movement if self.onset is None else _steps_of(latents) @ self.onset
        pulse = find_pulse(curve, self.frames_per_second)
        if self.has_repeats:
            pulse = find_repeats(latents, pulse, self.frames_per_second)
        spread = movement.std(dim=1).clamp_min(0.01)
        numbers = [
            latents.mean(dim=1),
            latents.std(dim=1).clamp_min(0.05).log(),
            torch.stack([movement.mean(dim=1).clamp_min(0.01).log(), spread.log()], dim=1),
            pulse.numbers(),
        ]
        return torch.cat(numbers, dim=1), pulse

    @torch.no_grad()
    @in_full_precision
    def describe(self, latents: Tensor) -> Style:
        """The style of whitened latents (batch, frames, latent_dim)."""
        measured, pulse = self.measure(latents.float())
        return Style((measured - self.mean) / self.spread @ self.project, pulse)

    @torch.no_grad()
    def draw(
        self,
        seed: int,
        items: range,
        *,
        attempt: int = 0,
        surprise: float = 1.0,
        near: int | None = None,
        wishes: Wishes | None = None,
    ) -> Style:
        """A new style for every item: near a style of the training music, with a phase of its own.

        Parameters
        ----------
        seed : int
        items : range
        attempt : int
            Another attempt draws others.
        surprise : float
            How far from the training music's, in units of what is usual: 0 is one of its styles itself.
        near : int, optional
            Which of them, of NUM_ANCHORS; by default that is drawn, too.
        wishes : Wishes, optional
            One of the styles that go with them is drawn, and given just this beat, key and bar.
        """
        wishes = wishes or Wishes()
        surprise, choice = surprise * wishes.surprise, self.fitting(wishes)
        vectors, phases, first_beats = [], [], []
        again = (attempt,) if attempt else ()
        for item in items:
            random = keyed_generator(seed, item, "style", *again)
            drawn = int(torch.randint(NUM_ANCHORS, (1,), generator=random))
            drawn = drawn if choice is None else int(choice[drawn % len(choice)])
            anchor = self.anchors[drawn if near is None else near]
            noise = keyed_noise(seed, item, "style spread", *again, first_frame=0, frames=1, channels=self.style_dim)[0]
            vectors.append(anchor + surprise * ANCHOR_SPREAD * noise.to(anchor.device))
            phases.append(2.0 * math.pi * torch.rand((), generator=random))
            first_beats.append(torch.rand((), generator=random))
        vector = torch.stack(vectors)
        if wishes.key is not None:
            vector = self._in_key(vector, wishes.key)
        phase, first_beat = (torch.stack(drawn).to(vector.device) for drawn in (phases, first_beats))
        style = Style(vector, self._pulse_of(vector, phase, first_beat, wishes.repeats))
        if wishes.tempo is None:
            return style
        style = self.at_tempo(style, wishes.tempo)
        if wishes.is_of_before:
            return style
        assert choice is not None
        return self.with_beat(style, self._least_strength(choice))

    def refuse_unknown(self, wishes: Wishes) -> None:
        """Raise a ConfigError for what this model cannot be asked for."""
        if wishes.key is not None and self.chroma is None:
            raise ConfigError(
                "this model cannot be asked for a key: it was made before keys were measured. Leave out --key, or go "
                f"on from it with `{command('train', '--from', 'MODEL')}`, which measures them."
            )

    @torch.no_grad()
    def what_is_missing(self, wishes: Wishes) -> list[str]:
        """Sentences about what was asked for and is not in the training music."""
        said = []
        tempo = wishes.tempo
        heard = [] if tempo is None else tempo.octaves()
        if tempo is not None and tempo.beats_per_second not in heard:
            slowest, fastest = (tempo.said(beat) for beat in self.slowest_and_fastest())
            octaves = " or ".join(f"{tempo.said(beat):g}" for beat in heard)
            said.append(
                f"a beat of {tempo.said(tempo.beats_per_second):g} a minute is made, and mostly heard, as one of "
                f"{octaves}: the beats that this model learned from go from {slowest:.0f} to {fastest:.0f}."
            )
        elif tempo is not None and not self.has_tempo_near(tempo):
            slowest, fastest = (tempo.said(beat) for beat in self.slowest_and_fastest())
            said.append(
                f"no music that this model learned from has a beat near {tempo.said(tempo.beats_per_second):g} a "
                f"minute: its beats go from {slowest:.0f} to {fastest:.0f}. What is made may not follow."
            )
        if wishes.key is not None and float(self.key_likeness(wishes.key).max()) < UNLIKE_KEY:
            said.append(
                f"no music that this model learned from is near {wishes.key.name}. What is made may not follow."
            )
        return said

    def wish_for(self, style: Style, wishes: Wishes, *, after: Style | None = None) -> Style:
        """A style with the key, the beat and the bar that were asked for; all else of it stays.

        Parameters
        ----------
        style : Style
        wishes : Wishes
        after : Style, optional
            The one before it, with the same wishes: of the octaves of a tempo its own is taken, so that bars go on.
        """
        if wishes.key is not None:
            style = Style(self._in_key(style.vector, wishes.key), style.pulse)
        if wishes.repeats and style.pulse.repeats is not None and not wishes.is_of_before:
            style = style._replace(pulse=style.pulse._replace(repeats=_led_by(style.pulse.repeats, wishes.repeats)))
        if wishes.tempo is None:
            return style
        if after is not None and not wishes.is_of_before:
            return self._faster(style, (after.pulse.frequency / style.pulse.frequency).log())
        return self.at_tempo(style, wishes.tempo, any_octave=True)

    @torch.no_grad()
    def fitting(self, wishes: Wishes) -> Tensor | None:
        """The training music's styles (numbers of them) that go with some wishes best; None: all do."""
        choice = None
        if wishes.tempo is not None:
            is_near = wishes.key is None or wishes.is_of_before
            choice = self.with_tempo_near(wishes.tempo, TEMPO_REACH if is_near else KEYED_TEMPO_REACH)
        if self.has_repeats and wishes.repeats:
            choice = self._best(choice, self.bar_likeness(wishes.repeats), BAR_SHARE)
        if wishes.key is not None:
            are_more = wishes.tempo is not None and not wishes.is_of_before
            least = round(LEAST_STYLES / STRONG_SHARE) if are_more else LEAST_STYLES
            choice = self._best(choice, self.key_likeness(wishes.key), KEY_SHARE, least)
        if wishes.tempo is not None and choice is not None:
            choice = self._best(choice, self.beat_strengths(), STRONG_SHARE)
        return choice

    @staticmethod
    def _best(choice: Tensor | None, likeness: Tensor, share: float, least: int = LEAST_STYLES) -> Tensor:
        """The share of some styles that is most alike, but no less than so many."""
        choice = torch.arange(len(likeness), device=likeness.device) if choice is None else choice
        count = min(len(choice), max(least, round(share * len(choice))))
        return choice[likeness[choice].argsort(descending=True, stable=True)[:count]]

    @torch.no_grad()
    def beat_strengths(self) -> Tensor:
        """How strong the beat of the training music's styles is (NUM_ANCHORS,)."""
        return self._anchor_numbers()[:, 1 - PULSE_NUMBERS]

    def _least_strength(self, choice: Tensor) -> Tensor:
        """How strong a beat that is asked for is at least (): as all that it is drawn from, and as half of music."""
        strengths = self.beat_strengths()
        return torch.maximum(strengths[choice].min(), strengths.quantile(HEARD_SHARE))

    def _anchor_numbers(self) -> Tensor:
        """What was measured of the training music's styles, as far as they say it (NUM_ANCHORS, measured)."""
        return self.anchors @ self.unproject * self.spread + self.mean

    @torch.no_grad()
    def bar_likeness(self, wanted: list[int]) -> Tensor:
        """How much more alike moments are after bars of a kind than after any other number of beats (NUM_ANCHORS,)."""
        repeats = self._anchor_numbers()[:, -self.pulse_numbers :][:, : len(REPEATS)]
        others = [place for place in range(len(REPEATS)) if place not in wanted]
        return repeats[:, wanted].amax(dim=1) - repeats[:, others].amax(dim=1)

    @torch.no_grad()
    def chroma_of(self, vector: Tensor) -> Tensor:
        """Pitch classes that styles (count, style_dim) say, from C on (count, 12); only with a readout of them."""
        assert self.chroma is not None
        means = (vector @ self.unproject * self.spread + self.mean)[:, : self.latent_dim]
        return means @ self.chroma[:-1] + self.chroma[-1]

    @torch.no_grad()
    def key_likeness(self, key: Key) -> Tensor:
        """How well the pitch classes of the training music's styles correlate with those of a key (NUM_ANCHORS,)."""
        return _centred(self.chroma_of(self.anchors)) @ _centred(self._profile(key).unsqueeze(0))[0]

    def _profile(self, key: Key) -> Tensor:
        return torch.tensor(key.profile, dtype=torch.float32, device=self.mean.device)

    @torch.no_grad()
    def usual_chroma(self, key: Key) -> Tensor:
        """Pitch classes (12,) of the training music in a key: the mean of all styles of its mode, transposed."""
        chroma = self.chroma_of(self.anchors)
        profiles = torch.stack([self._profile(each) for each in KEYS])
        nearest = (_centred(chroma) @ _centred(profiles).T).argmax(dim=1)
        of_mode = (nearest >= 12) == key.is_minor
        if int(of_mode.sum()) < LEAST_STYLES:
            return self._profile(key)
        place = (torch.arange(12, device=chroma.device) + (nearest[of_mode] % 12).unsqueeze(1)) % 12
        return chroma[of_mode].gather(1, place).mean(dim=0).roll(key.tonic)

    @torch.no_grad()
    def _in_key(self, vector: Tensor, key: Key) -> Tensor:
        """Styles moved as little as it takes for their pitch classes to be nearer to those of a key."""
        return self._with_chroma(vector, torch.lerp(self.chroma_of(vector), self.usual_chroma(key), KEY_PULL))

    def _with_chroma(self, vector: Tensor, chroma: Tensor) -> Tensor:
        """Styles with other pitch classes (count, 12), by the shortest way."""
        return vector + self.way_to_chroma(chroma - self.chroma_of(vector))

    @torch.no_grad()
    def way_to_chroma(self, missing: Tensor) -> Tensor:
        """The shortest way for styles (count, style_dim) whose pitch classes lack something (count, 12)."""
        assert self.chroma is not None
        slopes = (self.unproject[:, : self.latent_dim] * self.spread[: self.latent_dim]) @ self.chroma[:-1]
        products = (slopes.T @ slopes).cpu().double()
        products.diagonal().add_(KEY_SOFTNESS * products.diagonal().mean().clamp_min(1e-9))
        return torch.linalg.solve(products, missing.T.cpu().double()).T.to(missing) @ slopes.T

    @torch.no_grad()
    def contrast(self, style: Style, seed: int, item: int, part: int, wishes: Wishes | None = None) -> Style:
        """Another style that goes with one: near to it, of like pitch classes where these are known, on its beat.

        What was asked for of the piece holds for it, too.
        """
        wishes = wishes or Wishes()
        apart = (self.anchors - style.vector).square().sum(dim=1)
        if self.chroma is not None:
            alike = _centred(self.chroma_of(self.anchors)) @ _centred(self.chroma_of(style.vector))[0]
            near = (alike >= CONTRAST_LIKENESS).nonzero().squeeze(1)
            choice = near if len(near) >= LEAST_STYLES else alike.argsort(descending=True, stable=True)[:LEAST_STYLES]
        else:
            choice = torch.arange(len(apart), device=apart.device)
        choice = choice[apart[choice].argsort(stable=True)[:CONTRAST_STYLES]]
        beats = self.beat_strengths()[choice]  # a beat that is heard goes on
        least = torch.minimum(style.pulse.strength[0], beats.quantile(CONTRAST_BEATS))
        heard = choice[beats >= least]
        choice = heard if len(heard) >= LEAST_STYLES else choice
        random = keyed_generator(seed, item, "contrast", part)
        drawn = int(choice[int(torch.randint(len(choice), (1,), generator=random))])
        noise = torch.randn(self.style_dim, generator=random).to(apart.device)
        vector = (self.anchors[drawn] + wishes.surprise * ANCHOR_SPREAD * noise).unsqueeze(0)
        if wishes.key is not None:
            vector = self._in_key(vector, wishes.key)
        theirs = self._pulse_of(vector, style.pulse.phase, torch.zeros_like(style.pulse.phase))
        other = self.at_tempo(Style(vector, theirs), AskedTempo(float(style.pulse.frequency)), any_octave=True)
        if wishes.tempo is not None and not wishes.is_of_before:
            other = self.with_beat(other, torch.maximum(least, self._least_strength(choice)))
        return Style(other.vector, style.pulse._replace(strength=other.pulse.strength, octave=theirs.octave))

    @torch.no_grad()
    def end_like(self, style: Style, seed: int, item: int) -> Tensor | None:
        """How a piece of the training music ends that has pitch classes like a style's (1, frames, latent_dim)."""
        if self.ends is None:
            return None
        alike = torch.zeros(len(self.ends), device=self.ends.device)
        if self.chroma is not None:
            heard = self.ends[:, : self.ends.shape[1] // 2].mean(dim=1) @ self.chroma[:-1] + self.chroma[-1]
            alike = _centred(heard) @ _centred(self.chroma_of(style.vector))[0]
        best = alike.argsort(descending=True, stable=True)[:LEAST_ENDS]
        drawn = int(torch.randint(len(best), (1,), generator=keyed_generator(seed, item, "ending")))
        return self.ends[best[drawn]].unsqueeze(0)

    @torch.no_grad()
    def with_tempo_near(self, tempo: AskedTempo, reach: float = TEMPO_REACH) -> Tensor:
        """The training music's styles (numbers of them) whose beat is near to a tempo, or the nearest there are."""
        apart = _apart(self.tempo_and_movement()[0], tempo).abs()
        near = (apart <= reach).nonzero().squeeze(1)
        return near if len(near) >= LEAST_STYLES else apart.argsort(stable=True)[:LEAST_STYLES]

    @torch.no_grad()
    def has_tempo_near(self, tempo: AskedTempo) -> bool:
        """Whether the training music has styles that go with a tempo."""
        return bool((_apart(self.tempo_and_movement()[0], tempo).abs() <= TEMPO_REACH).any())

    @torch.no_grad()
    def heard_beats(self) -> Tensor:
        """Beats a second of each style of the training music (NUM_ANCHORS,); of very slow or fast pulses, an octave."""
        beats = self.tempo_and_movement()[0]
        heard = torch.where(beats > USUAL_PULSES[1], 0.5 * beats, beats)
        return torch.where(beats < USUAL_PULSES[0], 2.0 * beats, heard)

    @torch.no_grad()
    def slowest_and_fastest(self) -> tuple[float, float]:
        """The beats a second that are heard in the training music's styles, but for one in twenty at both ends."""
        heard = self.heard_beats()
        slowest, fastest = heard.quantile(torch.tensor([0.05, 0.95], device=heard.device))
        return float(slowest), float(fastest)

    @torch.no_grad()
    def at_tempo(self, style: Style, tempo: AskedTempo, *, any_octave: bool = False) -> Style:
        """The same style with a beat of a tempo, or of that octave of it which is nearest.

        The vector says it, too.

        Parameters
        ----------
        style : Style
        tempo : AskedTempo
        any_octave : bool
            Whether half of it and twice as much will do in any case: so that the style of a song is not bent too far.
        """
        return self._faster(style, _apart(style.pulse.frequency, tempo, any_octave=any_octave))

    def _faster(self, style: Style, apart: Tensor) -> Style:
        """The same style with another beat, which is the exponential of `apart` (batch,) times as fast."""
        place = len(self.mean) - PULSE_NUMBERS
        moved = 2.0 * apart.unsqueeze(1) / self.spread[place] * self.project[place]
        return Style(style.vector + moved, style.pulse._replace(frequency=style.pulse.frequency * apart.exp()))

    @torch.no_grad()
    def with_beat(self, style: Style, least: Tensor) -> Style:
        """The same style with a beat at least so strong (), so that chance draws no style without one."""
        place = len(self.mean) - PULSE_NUMBERS + 1
        missing = (least - style.pulse.strength).clamp_min(0.0)
        moved = missing.unsqueeze(1) / self.spread[place] * self.project[place]
        return Style(style.vector + moved, style.pulse._replace(strength=style.pulse.strength + missing))

    @torch.no_grad()
    def tempo_and_movement(self) -> tuple[Tensor, Tensor]:
        """Of every style of the training music: beats a second, and the log of how much moves (NUM_ANCHORS of each)."""
        still = torch.zeros_like(self.anchors[:, 0])
        return self._pulse_of(self.anchors, still, still).frequency, self._anchor_numbers()[:, 2 * self.latent_dim]

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "onset": (3 * self.latent_dim + 1,),
            "chroma": (self.latent_dim + 1, 12),
            "ends": (NUM_ENDS, self.end_frames, self.latent_dim),
        }

    @in_full_precision
    def _pulse_of(self, vector: Tensor, phase: Tensor, first_beat: Tensor, wanted: list[int] | None = None) -> Pulse:
        """The pulse that a style vector says; `first_beat`, in [0, 1), draws the beat that it begins with.

        Where some of REPEATS are wanted, one of these is the strongest.
        """
        numbers = (vector @ self.unproject * self.spread + self.mean)[:, -self.pulse_numbers :]
        beat = numbers[:, -PULSE_NUMBERS:]
        pulse = Pulse(
            frequency=(0.5 * beat[:, 0]).exp().clamp(*PULSE_RANGE),
            strength=beat[:, 1].clamp_min(0.0),
            octave=torch.complex(beat[:, 2], beat[:, 3]),
            phase=phase,
        )
        if not self.has_repeats:
            return pulse
        repeats = numbers[:, : len(REPEATS)]
        if wanted:
            repeats = _led_by(repeats, wanted)
        pulse = pulse._replace(repeats=repeats)
        beats = pulse.beats
        return pulse._replace(turn=(phase + 2.0 * math.pi * (first_beat * beats).floor()) / beats)


def _led_by(repeats: Tensor, wanted: list[int]) -> Tensor:
    """Strengths of REPEATS (batch, len(REPEATS)), of which one of the wanted is the strongest."""
    others = [place for place in range(len(REPEATS)) if place not in wanted]
    most = repeats[:, wanted].amax(dim=1, keepdim=True)
    places = torch.tensor(others, device=repeats.device)
    return repeats.index_copy(1, places, torch.minimum(repeats[:, others], most - BAR_LEAD))


def _centred(chroma: Tensor) -> Tensor:
    """Pitch classes (count, 12) about their mean, of length 1: products of two are correlations."""
    about = chroma - chroma.mean(dim=1, keepdim=True)
    return about / about.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _apart(frequency: Tensor, tempo: AskedTempo, *, any_octave: bool = False) -> Tensor:
    """Log of the ratio of a tempo to beats a second (count,): of that octave of it which is nearest."""
    octaves = torch.tensor(tempo.octaves(any_of_them=any_octave), device=frequency.device)
    apart = octaves.log() - frequency.log().unsqueeze(1)
    return apart.gather(1, apart.abs().argmin(dim=1, keepdim=True)).squeeze(1)


def _steps_of(latents: Tensor) -> Tensor:
    """What onsets are read from (batch, frames - 1, 3 latent_dim + 1): a frame, the one before, their rise, and 1."""
    before, now = latents[:, :-1], latents[:, 1:]
    return torch.cat([now, before, (now - before).relu(), torch.ones_like(now[..., :1])], dim=-1)


def find_pulse(steps: Tensor, frames_per_second: float) -> Pulse:
    """The beat that together with its octave explains most of a curve of steps between frames (batch, frames - 1)."""
    curve = torch.cat([steps[:, :1], steps], dim=1)
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
    return Pulse(frequency, beat.abs(), octave * torch.polar(torch.ones_like(phase), -2.0 * phase), phase)


def find_repeats(latents: Tensor, pulse: Pulse, frames_per_second: float) -> Pulse:
    """The pulse of latents (batch, frames, latent_dim), and after how many of its beats they come again.

    Likeness is the cosine of latents about the window's mean, averaged over all pairs of frames at a lag.
    """
    centred = latents - latents.mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=-1, keepdim=True).clamp_min(1e-3)
    frames = latents.shape[1]
    spectrum = torch.fft.rfft(unit, n=2 * frames, dim=1)
    sums = torch.fft.irfft((spectrum.real.square() + spectrum.imag.square()).sum(dim=-1), n=2 * frames, dim=1)
    likeness = sums[:, :frames] / torch.arange(frames, 0, -1, device=latents.device)
    first = max(1, math.ceil(SHORTEST_REPEAT * frames_per_second))
    last = max(first + 1, int(LONGEST_REPEAT * frames))
    excess = likeness - likeness[:, first:last].mean(dim=1, keepdim=True)
    beats = torch.tensor(REPEATS, device=latents.device)
    lags = beats * frames_per_second / pulse.frequency.unsqueeze(1)
    below = lags.floor().long().clamp(0, frames - 2)
    share = (lags - below).clamp(0.0, 1.0)
    found = excess.gather(1, below) * (1.0 - share) + excess.gather(1, below + 1) * share
    pulse = pulse._replace(repeats=torch.where((lags >= first) & (lags < last), found, torch.zeros_like(found)))
    return pulse._replace(turn=pulse.phase / pulse.beats)
