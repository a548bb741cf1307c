"""Where a piece of music is while it is made: plain values that the caller holds; one model serves many listeners.

Nothing in them is ever written in place: who keeps an earlier value can go on from there. So a page that moves a
control throws away what was composed and not yet heard, and composes again from that moment.
"""

from typing import NamedTuple

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

    @property
    def is_over(self) -> bool:
        """Whether there is no noise left to compose from."""
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
