"""The form of a piece with an end: a theme that comes again between other music, and a close.

The flow sees a window of some seconds, so that what it composes has no memory of how it began. The form gives it one:
where the theme comes again, the walk begins at the opening's own latents under noise (Meng et al., arXiv 2108.01073)
in place of noise alone, a whole number of bars later; what is between goes on in another style of the training music
that is near, of like pitch classes and on the same beat. The piece is led in the same way to how one of the training
music's pieces ends. No network has to learn anew for it (docs/experiments.md).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from piano.foundation.errors import ConfigError
from piano.foundation.randomness import keyed_generator
from piano.latent_style import Wishes
from piano.piano_model import VariationalAttentionModel
from piano.stream_state import RETURN_EDGE_SECONDS, Closing, Plan, Return, Stream

THEME_SECONDS = 16.0
LEAST_SHARE = 0.6
"""Of the theme, at least, comes again."""
BETWEEN_SECONDS = (22.0, 40.0)
"""From the end of the theme until it comes again."""
USUAL_BAR = 4
"""Beats, where a model has not learned after how many of them music comes again."""
BARS_AROUND = 3
"""So many bars sooner or later, the return begins where a bar is most nearly a whole number of latents."""
END_LEVEL, END_EDGE_SECONDS = 0.5, 1.0
"""Of noise on the end that a piece is led to; and how long it takes to come to that."""
SILENT_LEVEL, SILENT_SECONDS, FADING_SECONDS = 0.05, 1.0, 3.0
"""Where no end is known, the music is led to silence."""
LEAST_CLOSED_SECONDS = 30.0
"""Shorter pieces are excerpts, unless a close is asked for."""


FORMS = ("returning", "free")
"""A theme that comes again between other music; or each window goes on from the one before, and nothing comes again."""


class SongForm(NamedTuple):
    """What is asked of the form of a piece."""

    returns: bool = True
    """Whether its theme comes again."""
    closes: bool = True
    """Whether it comes to an end."""

    @classmethod
    def asked(cls, form: str, ending: bool | None, seconds: float) -> "SongForm":
        """One of FORMS; without a word about the ending, pieces of LEAST_CLOSED_SECONDS and more close."""
        closes = LEAST_CLOSED_SECONDS <= seconds < math.inf if ending is None else ending
        return cls(form == FORMS[0], closes)


def plan_song(
    network: VariationalAttentionModel,
    seed: int,
    item: int,
    begun: Stream,
    frames: int,
    form: SongForm,
    wishes: Wishes | None = None,
) -> Plan | None:
    """The plan of a piece of `frames` latents whose first window is composed; None if there is nothing to plan.

    Parameters
    ----------
    network : VariationalAttentionModel
    seed, item : int
        Items of a seed have other forms.
    begun : Stream
    frames : int
    form : SongForm
    wishes : Wishes, optional
        What was asked of the piece.
    """
    windows = begun.windows
    rate, window = network.frames_per_second, network.latent_seq_len
    home, theme = windows.style, round(THEME_SECONDS * rate)
    closing = None
    if form.closes and windows.noise is None:
        closing = _closing(network, seed, item, begun)
        if closing.latents.shape[1] + window > frames:
            closing = None
    end = frames - (0 if closing is None else closing.latents.shape[1])
    returns = ()
    if form.returns and windows.noise is None:
        returns = _returns(network, begun, seed, item, theme, end, wishes or Wishes())
    if closing is None and not returns:
        return None
    others = (
        [network.style.contrast(home, seed, item, part, wishes) for part in range(len(returns) + 1)] if returns else []
    )
    return Plan(
        frames=frames,
        room=window - window // 3,
        home=home,
        opening=begun.ahead[:, :theme],
        theme=theme if returns else 0,
        edge=round(RETURN_EDGE_SECONDS * rate),
        returns=returns,
        others=tuple(others),
        closing=closing,
    )


def refuse_no_room_to_end(network: VariationalAttentionModel, seconds: float) -> None:
    """Raises ConfigError for a piece that an end was asked for and that is too short to be led to one."""
    frames = network.style.end_frames if network.style.ends is not None else _silent_end_frames(network)
    least = (frames + network.latent_seq_len) / network.frames_per_second
    if seconds < least:
        raise ConfigError(
            f"{seconds:g} s are too short to be led to an end: this model needs {math.ceil(10 * least) / 10:g} s. Ask "
            "for more seconds, or for no ending."
        )


def _silent_end_frames(network: VariationalAttentionModel) -> int:
    """Latents of an end in silence, with those that fade to it."""
    rate = network.frames_per_second
    return round(SILENT_SECONDS * rate) + round(FADING_SECONDS * rate)


def _returns(
    network: VariationalAttentionModel, begun: Stream, seed: int, item: int, theme: int, end: int, wishes: Wishes
) -> tuple[Return, ...]:
    """When the theme comes again, and how much of it, before frame `end`."""
    rate, pulse = network.frames_per_second, begun.windows.style.pulse
    asked = wishes.beats_of_bar(pulse)
    usual = USUAL_BAR if pulse.repeats is None else int(pulse.beats[0])
    bar = (usual if asked is None else float(asked[0])) * rate / float(pulse.frequency[0])
    random = keyed_generator(seed, item, "form")
    found: list[Return] = []
    last = float(theme)
    while True:
        wait, share = torch.rand(2, generator=random).tolist()
        wanted = last + (BETWEEN_SECONDS[0] + wait * (BETWEEN_SECONDS[1] - BETWEEN_SECONDS[0])) * rate
        nearest = round(wanted / bar)
        least, most = (last + seconds * rate for seconds in BETWEEN_SECONDS)
        bars = range(nearest - BARS_AROUND, nearest + BARS_AROUND + 1)
        begins = [number * bar for number in bars if least <= number * bar <= most] or [math.ceil(least / bar) * bar]
        begin = min(begins, key=lambda frame: abs(frame - round(frame)))
        again = Return(round(begin), round((LEAST_SHARE + share * (1.0 - LEAST_SHARE)) * theme))
        if again.end > end:
            return tuple(found)
        found.append(again)
        last = again.end


def _closing(network: VariationalAttentionModel, seed: int, item: int, begun: Stream) -> Closing:
    """An end that goes with the piece; silence, where none is known."""
    rate, style = network.frames_per_second, network.style
    known = style.end_like(begun.windows.style, seed, item)
    if known is not None:
        frames = torch.arange(known.shape[1], device=known.device)
        rise = (frames / (END_EDGE_SECONDS * rate)).clamp(max=1.0)
        return Closing(known, 1.0 - (1.0 - END_LEVEL) * rise)
    latents = _silence(network, _silent_end_frames(network))
    level = torch.ones(latents.shape[1], device=latents.device)
    level[round(FADING_SECONDS * rate) :] = SILENT_LEVEL
    return Closing(latents, level)


def _silence(network: VariationalAttentionModel, frames: int) -> Tensor:
    """Latents (1, frames, latent_dim) of silence."""
    margin, hop = network.autoencoder.encoder.context, network.hop_samples
    nothing = torch.zeros(1, network.sound_channels, (frames + 2 * margin) * hop, device=network.device)
    return network.encode(nothing)[:, margin : margin + frames]
