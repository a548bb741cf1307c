"""Where a piece of music is while it is made: plain values that the caller holds; one model serves many listeners.

Nothing in them is ever written in place: who keeps an earlier value can go on from there. So a page that moves a
control throws away what was composed and not yet heard, and composes again from that moment.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from piano.foundation.phase import PhaseVocoder
from piano.latent_style import Style


class Journey(NamedTuple):
    """From one style to another, over a whole piece."""

    first: Style
    last: Style
    frames: int
    """Latents after which the last style is reached."""

    def style_at(self, frame: int) -> Style:
        """Between the two, by how much of the way is behind a latent."""
        return self.first.blended(self.last, min(frame / max(self.frames, 1), 1.0))


RETURN_LEVEL, RETURN_EDGE_SECONDS = 0.5, 0.4
"""Of noise on a theme that comes again, so that it is another take of it; and how long it takes to come to that."""


class Return(NamedTuple):
    """The opening of a piece comes again."""

    begin: int
    frames: int

    @property
    def end(self) -> int:
        """The first frame after it."""
        return self.begin + self.frames


class Closing(NamedTuple):
    """How a piece ends: music that it is led to."""

    latents: Tensor
    """[shape=(1, frames, latent_dim)]"""
    level: Tensor
    """Of the noise on them, for every frame; 1 where they say nothing [shape=(frames,)]."""


class Section(NamedTuple):
    """What the next window of a piece is composed from."""

    style: Style
    given: Tensor
    """Latents of before that it is near to [shape=(1, frames, latent_dim)]."""
    level: Tensor
    """Of the noise on them; 1 where they say nothing [shape=(1, frames)]."""


class Plan(NamedTuple):
    """The form of a piece whose length is known: a theme, other music, the theme again, an end."""

    frames: int
    """Of the whole piece."""
    room: int
    """Frames that a window takes after the first one."""
    home: Style
    """Of the theme."""
    opening: Tensor
    """The theme as far as it is composed [shape=(1, frames, latent_dim)]."""
    theme: int
    """How many frames it will have."""
    edge: int
    """Frames over which music goes over to what comes again."""
    returns: tuple[Return, ...] = ()
    others: tuple[Style, ...] = ()
    """What is between: one style before each return, and one after the last."""
    closing: Closing | None = None

    def next_frames(self, frame: int) -> int:
        """Frames of the next window: no more than there is room for, and the closing is composed at once."""
        left = self.frames - frame
        close = 0 if self.closing is None else min(self.closing.latents.shape[1] + self.edge, self.room)
        if left > self.room and left - self.room < close:
            return left - close
        return min(self.room, left)

    def section(self, frame: int) -> Section:
        """The window from `frame` on."""
        frames = self.next_frames(frame)
        given = self.opening.new_zeros(1, frames, self.opening.shape[2])
        level = self.opening.new_ones(1, frames)
        of_theme = max(min(self.theme - frame, frames), 0)
        for again in self.returns:
            first, last = max(again.begin, frame), min(again.end, frame + frames)
            if first >= last:
                continue
            of_theme += last - first
            place = torch.arange(first, last, device=level.device)
            given[:, first - frame : last - frame] = self.opening[:, first - again.begin : last - again.begin]
            inside = torch.minimum(place - again.begin, again.end - 1 - place) / max(self.edge, 1)
            level[:, first - frame : last - frame] = 1.0 - (1.0 - RETURN_LEVEL) * inside.clamp(0.0, 1.0)
        if self.closing is not None and (first := self.frames - self.closing.latents.shape[1]) < frame + frames:
            begin = max(first, frame)
            given[:, begin - frame :] = self.closing.latents[:, begin - first :][:, : frame + frames - begin]
            level[:, begin - frame :] = self.closing.level[begin - first :][: frame + frames - begin]
        if 2 * of_theme >= frames or not self.others:
            return Section(self.home, given, level)
        return Section(self.others[sum(again.end <= frame for again in self.returns)], given, level)

    def after(self, piece: Tensor) -> "Plan":
        """The plan when a piece of latents (1, frames, latent_dim) has been composed: a theme that grows."""
        missing = self.theme - self.opening.shape[1]
        return self if missing <= 0 else self._replace(opening=torch.cat([self.opening, piece[:, :missing]], dim=1))


class Windows(NamedTuple):
    """Between two windows of latents."""

    style: Style
    """That the next window is composed in."""
    history: Tensor
    """What the next window goes on from [shape=(items, frames, latent_dim)]; without frames at a beginning."""
    frame: int
    """Of the next latent, counted from the first one that was composed."""
    start: int
    """Where that first one is in the style's time: the frames of a prompt."""
    first_item: int
    noise: Tensor | None
    """White noise in place of the seed's [shape=(frames, latent_dim)]; the music ends with it."""
    journey: Journey | None = None
    """What changes the style from window to window; None: it stays."""
    plan: Plan | None = None
    """The form of a piece with an end; None: it goes on for ever."""

    @property
    def is_over(self) -> bool:
        """Whether all of it is composed, or there is no noise left to compose from."""
        if self.plan is not None:
            return self.frame >= self.plan.frames
        return self.noise is not None and self.frame >= self.noise.shape[0]


class Sounding(NamedTuple):
    """Between two blocks of latents that become sound."""

    latents: Tensor | None
    """Those that are still looked back on, and those that wait [shape=(items, frames, latent_dim)]."""
    done: int
    """How many of them are only looked back on."""
    frame: int
    """Of the next spectrum."""
    vocoders: tuple[PhaseVocoder, ...]
    """One for each item; empty before the first latents."""
    prompt: Tensor | None
    """Sound that comes before [shape=(channels, samples)]."""
    first_item: int | None
    """Whose scatter of real sound is added; without it nothing is."""
    are_real: bool
    """Whether the latents are those of real music."""
    gain: float


class Stream(NamedTuple):
    """An endless piece of one item, from noise to sound."""

    windows: Windows
    sounding: Sounding
    recent: Tensor
    """The last latents that were handed on to become sound [shape=(1, frames, latent_dim)]."""
    ahead: Tensor
    """Latents that are composed and not yet handed on [shape=(1, frames, latent_dim)]."""
    frame: int
    """Of the first of these."""
    unread: Tensor
    """Sound that is made and was not asked for yet [shape=(channels, samples)]."""
    sample: int
    """Of the first of these; together they say where the music is."""
