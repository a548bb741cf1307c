"""Loops: so many bars at a tempo, to the sample, whose end was composed to lead into their beginning.

Music is composed straight on, from some beats before the loop. Then its last part is composed anew as a gap between
what is before it and the loop's own beginning (`infill`). So nothing is stretched, the last bar is not the first one
faded in, and a bar need not be a whole number of latent frames.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from piano.composer import HISTORY_PART, Composer
from piano.foundation.errors import ConfigError
from piano.foundation.keys import Key
from piano.foundation.loop_tags import LoopTags
from piano.infill import fill_gap
from piano.latent_style import DRAWING, AskedTempo, Style, Wishes

LEAD_SECONDS = 1.5
"""At least so much is composed before the loop, for its beginning to have a past."""
LEAST_FRAMES = 16
"""Of latents, in a loop: half of them are composed anew."""
PIECE_SECONDS = 1.0
EDGE_SECONDS = 0.01
"""Over which the new end is faded into what led to the beginning when it was composed."""


class Meter(NamedTuple):
    """So many beats a bar, of so long notes: 3, 4 is three quarters."""

    beats: int
    unit: int

    @classmethod
    def read(cls, text: str) -> "Meter":
        """From `3/4`; raises ValueError."""
        beats, slash, unit = str(text).partition("/")
        if not (slash and beats.isdecimal() and unit.isdecimal()):
            raise ValueError(f"a metre is written as 3/4, got {text!r}")
        found = cls(int(beats), int(unit))
        if not 1 <= found.beats <= 32 or found.unit not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"a bar has 1 to 32 beats of 1, 1/2, 1/4, 1/8, 1/16 or 1/32, got {text!r}")
        return found

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"

    @property
    def heard_beats(self) -> int:
        """Beats that a bar is heard in: 6/8 has two of three eighths each."""
        is_compound = self.unit >= 8 and self.beats % 3 == 0 and self.beats > 3
        return self.beats // 3 if is_compound else self.beats

    @property
    def quarters(self) -> float:
        """Quarter notes of a bar, which a tempo counts."""
        return 4.0 * self.beats / self.unit

    @property
    def beat_quarters(self) -> float:
        """Quarter notes of a beat that is heard."""
        return self.quarters / self.heard_beats

    def beats_per_second(self, tempo: float) -> float:
        """Of the beats that are heard, at so many quarter notes a minute."""
        return tempo / 60.0 / self.beat_quarters


def asked_of_music(
    tempo: float | None = None,
    key: Key | None = None,
    meter: Meter | None = None,
    surprise: float = 1.0,
    drawing: int = DRAWING,
) -> Wishes:
    """What the composer is told of music that is no loop; `tempo` in quarter notes a minute."""
    counted = meter if meter is not None and drawing == DRAWING else Meter(4, 4)  # before, quarters in any metre
    asked = None if tempo is None else AskedTempo(counted.beats_per_second(tempo), quarters=counted.beat_quarters)
    return Wishes(asked, key, None if meter is None else meter.heard_beats, surprise, drawing)


class LoopForm(NamedTuple):
    """How long a loop is."""

    bars: int
    tempo: float
    """Quarter notes a minute."""
    meter: Meter
    sample_rate: int

    @property
    def quarters(self) -> float:
        """Quarter notes of all of it."""
        return self.bars * self.meter.quarters

    @property
    def samples(self) -> int:
        """The nearest whole number."""
        return round(self.quarters * 60.0 / self.tempo * self.sample_rate)

    def wishes(self, key: Key | None = None, surprise: float = 1.0, *, drawing: int = DRAWING) -> Wishes:
        """What the composer is told.

        Parameters
        ----------
        key : Key, optional
        surprise : float
        drawing : int
            See `Wishes`. Before, no bars were heard, and quarters were counted in 6/8, too.
        """
        if drawing < DRAWING:
            return Wishes(AskedTempo(self.tempo / 60.0, self.quarters), key, surprise=surprise, drawing=drawing)
        beats, meter = self.meter.heard_beats, self.meter
        tempo = AskedTempo(meter.beats_per_second(self.tempo), float(self.bars * beats), meter.beat_quarters)
        return Wishes(tempo, key, beats, surprise, drawing)

    def tags(self) -> LoopTags:
        """What its file says of it."""
        meter = (self.meter.beats, self.meter.unit)
        return LoopTags(self.samples, self.sample_rate, self.tempo, self.quarters, meter)

    def refuse_too_short(self, least: int) -> None:
        """Raises ConfigError for less than `least` samples."""
        if self.samples < least:
            raise ConfigError(
                f"a loop of {self.bars} x {self.meter} at {self.tempo:g} a minute lasts "
                f"{self.samples / self.sample_rate:.2f} s: this model needs {least / self.sample_rate:.2f} s. "
                "Ask for more bars, or a slower tempo."
            )


def least_samples(composer: Composer) -> int:
    """Of a loop."""
    return LEAST_FRAMES * composer.generator.hop_samples


def compose_loop(composer: Composer, form: LoopForm, style: Style | None = None, *, item: int = 0) -> Tensor:
    """A whole loop (channels, samples); see `loop_pieces`."""
    return torch.cat(list(loop_pieces(composer, form, style, item=item)), dim=-1)


def loop_pieces(composer: Composer, form: LoopForm, style: Style | None = None, *, item: int = 0) -> Iterator[Tensor]:
    """A loop as it is made, in pieces (channels, samples), some of them empty; its first sample lies on a beat.

    Parameters
    ----------
    composer : Composer
        With what the loop asks for in its `sampling`: see `LoopForm.wishes`.
    form : LoopForm
    style : Style, optional
        Of that tempo; by default one is drawn.
    item : int
        Items of a seed differ.

    Raises
    ------
    ConfigError
        It would be too short.
    """
    network, rate = composer.generator, composer.generator.sample_rate
    form.refuse_too_short(least_samples(composer))
    state = composer.start(item, style=style)
    style = state.windows.style
    anew = anew_samples(form, network.latent_seq_len // HISTORY_PART * network.hop_samples)
    lead = lead_samples(style, rate, least=anew / rate)
    begin, end = lead + form.samples - anew, lead + form.samples + round(EDGE_SECONDS * rate)
    straight = torch.zeros(network.sound_channels, 0, device=network.device)
    while straight.shape[-1] < end:
        state, sound = composer.read(state, min(round(PIECE_SECONDS * rate), end - straight.shape[-1]))
        given, straight = max(straight.shape[-1], lead), torch.cat([straight, sound.to(straight.device)], dim=-1)
        yield straight[:, given : min(straight.shape[-1], begin)] if straight.shape[-1] > given else straight[:, :0]
    yield _way_back(composer, straight, begin, lead=lead, anew=anew, style=style.moved(-begin / rate), item=item)


@torch.inference_mode()
def _way_back(
    composer: Composer, straight: Tensor, begin: int, *, lead: int, anew: int, style: Style, item: int
) -> Tensor:
    """The last `anew` samples of a loop, from sample `begin` of what was composed straight on; it begins at `lead`."""
    # Around the gap: on its left what led to it, on its right the loop's beginning and what led to that.
    half, fade = anew // 2, round(EDGE_SECONDS * composer.generator.sample_rate)
    known = torch.cat([straight[:, : begin + half], straight[:, lead - (anew - half) : begin]], dim=-1)
    made = fill_gap(composer, known, begin, begin + anew, style=style, item=item).to(straight.device)
    rise = torch.from_numpy(0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)).to(made)
    made[:, :fade] = straight[:, begin : begin + fade].lerp(made[:, :fade], rise)
    made[:, anew - fade :] = made[:, anew - fade :].lerp(straight[:, lead - fade : lead], rise)
    return made


def lead_samples(style: Style, sample_rate: int, *, least: float = 0.0) -> int:
    """Samples before the first beat that is late enough to begin a loop: after LEAD_SECONDS, and after `least`."""
    frequency, phase = float(style.pulse.frequency[0]), float(style.pulse.phase[0])
    first = (-phase / (2.0 * math.pi)) % 1.0  # beats until the first one
    return round((first + math.ceil(max(LEAD_SECONDS, least) * frequency)) / frequency * sample_rate)


def anew_samples(form: LoopForm, most: int) -> int:
    """How much of the end is composed anew: a bar, but no more than half of the loop or than fits into a window."""
    bar = round(form.meter.quarters * 60.0 / form.tempo * form.sample_rate)
    return min(bar, form.samples // 2, most)
