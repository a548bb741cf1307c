"""One listener's endless music: what is composed next, and from where again when a control moves.

What was composed and not heard yet is worth nothing once a control has moved. So a radio keeps the states that lie
between what is heard and what is composed; a move goes back to the newest state that comes before it, throws the rest
away, and the new music is faded in over what would have come. It knows nothing of the web, of threads or of clocks.
"""

import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation.finite import require_finite
from piano.latent_style import Style
from piano.stream_state import Stream

TURN_SECONDS, CHANGE_SECONDS = 0.05, 0.4
"""Over which a turn of the style, and another piece, are faded in."""
CEILING = 0.97
"""Of full scale: what would be louder makes what follows softer."""
DUCK_SECONDS = 0.02
"""Over which it gets softer."""
RECOVERY_DB = 0.5
"""Of which it gets louder again a second, where that fits."""
WANDERING_DRAWS = 8
"""Styles that are drawn for a piece that wanders, until one is not a pause."""


class Program(NamedTuple):
    """What a listener asks for: plain values, and styles that were measured before."""

    seed: int = 0
    piece: int = 0
    """The item of the seed: the next one is another piece."""
    surprise: float = 1.0
    """How far from the training music the style is drawn; 0: one of its styles itself."""
    near: int | None = None
    """Which style of the training music; None draws one."""
    between: tuple[Style, Style] | None = None
    """Styles of sounds (twice the same of one), in place of the training music's."""
    blend: float = 0.5
    """Where between the two, 0 to 1."""
    prompt: Tensor | None = None
    """A sound that the piece continues [shape=(channels, samples)], at the level of prepared music."""
    prompt_name: str = ""
    """Says which it is: another name is another piece."""
    wander_seconds: float = 0.0
    """After which the style is drawn again, over and over; 0: a piece keeps its style."""
    steps: int | str = "auto"
    phase_iterations: int = 4

    @property
    def piece_key(self) -> tuple[int | str, ...]:
        """What another piece differs in; all else turns the piece that plays."""
        return (self.seed, self.piece, self.prompt_name)


class Chunk(NamedTuple):
    """Sound that is ready to be heard."""

    sample: int
    """Where it begins, counted from the first sample that the radio ever made."""
    waveform: Tensor
    """(channels, samples), within [-1, 1]."""


class _Mark(NamedTuple):
    """A moment to which the music can go back."""

    stream: Stream
    loudness: float
    """Gain that keeps its piece from clipping so far."""
    wandered: int
    """How often the style was drawn again."""


class _Fade(NamedTuple):
    """What would have come, for as long as it fades out."""

    waveform: Tensor
    """(channels, samples)"""
    length: int
    """Samples of the whole fade."""
    is_new_piece: bool


class Radio:
    """Endless music for one listener.

    Parameters
    ----------
    composer : Composer
        Its network and precision; seed, steps and phase iterations are those of the program.
    program : Program
    """

    def __init__(self, composer: Composer, program: Program) -> None:
        self._template = composer
        self._composer = self._composer_of(program)
        self.program = program
        self.end = 0
        """Samples that were made."""
        self._origin = 0  # of the piece that plays
        self._now: _Mark | None = None
        self._marks: deque[_Mark] = deque()  # oldest first; `_now` is the last one
        self._made: deque[Chunk] = deque()  # what may still be faded out
        self._fade: _Fade | None = None

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self._template.generator.sample_rate

    def use(self, composer: Composer) -> None:
        """Go on with another composer of the same generator, whose inner loops are others."""
        self._template = composer
        self._composer = self._composer_of(self.program)
        self._marks = deque(mark._replace(stream=composer.taken_over(mark.stream)) for mark in self._marks)
        self._now = self._marks[-1] if self._now is not None else None

    def produce(self) -> Chunk:
        """The next sound; after a move the first that sounds of it."""
        while True:
            if self._now is None:
                self._stand_at(_Mark(self._started(), loudness=1.0, wandered=0))
            mark = self._wandered(cast(_Mark, self._now))
            stream, sound = self._composer.advance(mark.stream)
            begin = self._origin + stream.sample - sound.shape[-1]
            played, loudness = below_ceiling(
                require_finite(sound.cpu(), "sound"), mark.loudness, sample_rate=self.sample_rate
            )
            self._stand_at(mark._replace(stream=stream, loudness=loudness))
            fresh = played[:, max(self.end - begin, 0) :]  # after a move, some is made that was heard already
            if fresh.shape[-1]:
                chunk = Chunk(self.end, self._faded_in(fresh))
                self.end += fresh.shape[-1]
                self._made.append(chunk)
                return chunk

    def forget(self, heard: int) -> None:
        """No move will come any more before sample `heard`: what lies before it need not be kept."""
        while len(self._made) > 1 and self._made[1].sample <= heard:
            self._made.popleft()
        frame = self._frame_at(heard)
        while len(self._marks) > 1 and self._marks[1].stream.frame <= frame:
            self._marks.popleft()

    def move(self, program: Program, at: int) -> int:
        """Play another program from sample `at` on, or as early after it as can be.

        Returns
        -------
        int
            The sample from which on all that was made is void; `produce` goes on from there.
        """
        oldest = self._made[0].sample if self._made else self.end
        at = min(max(at, oldest), self.end)
        is_new_piece = program.piece_key != self.program.piece_key
        length = round((CHANGE_SECONDS if is_new_piece else TURN_SECONDS) * self.sample_rate)
        would_come = torch.cat([waveform for _, waveform in self._made_from(at)], dim=-1)[:, :length]
        self._fade = _Fade(would_come, would_come.shape[-1], is_new_piece)
        self._forget_from(at)
        self.program, self._composer = program, self._composer_of(program)
        if is_new_piece:
            self._now, self._origin = None, at
            self._marks.clear()
        elif self._now is not None:
            self._turn(at)
        return at

    def _turn(self, at: int) -> None:
        """Go back to the newest state before `at`, with the program's style from there on."""
        frame = self._frame_at(at)
        while len(self._marks) > 1 and self._marks[-1].stream.frame > frame:
            self._marks.pop()
        mark = self._marks.pop()
        style = self.style()
        if style is not None:
            composed = mark.stream.frame + mark.stream.ahead.shape[1]  # a window more would take its time
            turned = self._composer.turn(mark.stream, style, frame=min(max(frame, mark.stream.frame), composed))
            mark = mark._replace(stream=turned)
        self._stand_at(mark)

    def _stand_at(self, mark: _Mark) -> None:
        self._now = mark
        self._marks.append(mark)

    def _wandered(self, mark: _Mark) -> _Mark:
        """The same moment; if its style is old enough, with another one from the next window on."""
        every = self.program.wander_seconds
        composed = mark.stream.windows.frame / self._template.generator.frames_per_second
        if not every or composed < (mark.wandered + 1) * every:
            return mark
        stream = mark.stream
        for draw in range(WANDERING_DRAWS):
            style = self.style(attempt=1 + WANDERING_DRAWS * mark.wandered + draw)
            if style is None:
                break
            stream = self._composer.turn(mark.stream, style, frame=mark.stream.frame + mark.stream.ahead.shape[1])
            if not self._composer.falls_silent(stream):
                break
        return mark._replace(stream=stream, wandered=int(composed // every))

    def _forget_from(self, at: int) -> None:
        """What was made from `at` on is void."""
        while self._made and self._made[-1].sample >= at:
            self._made.pop()
        if self._made:
            last = self._made.pop()
            self._made.append(Chunk(last.sample, last.waveform[:, : at - last.sample]))
        self.end = at

    def _made_from(self, at: int) -> Iterator[Chunk]:
        yield Chunk(at, torch.zeros(self._template.generator.sound_channels, 0))
        for chunk in self._made:
            if chunk.sample + chunk.waveform.shape[-1] > at:
                yield Chunk(max(chunk.sample, at), chunk.waveform[:, max(at - chunk.sample, 0) :])

    def _faded_in(self, fresh: Tensor) -> Tensor:
        """New sound, with what fades out under its beginning: other pieces at equal power, for they are unrelated."""
        if self._fade is None:
            return fresh
        old, length, is_new_piece = self._fade
        samples = min(old.shape[-1], fresh.shape[-1])
        done = length - old.shape[-1]
        share = (done + 0.5 + torch.arange(samples)) / max(length, 1)
        gain = (0.5 * math.pi * share).sin() if is_new_piece else share
        counter = (0.5 * math.pi * share).cos() if is_new_piece else 1.0 - share
        mixed = (gain * fresh[:, :samples] + counter * old[:, :samples]).clamp(-1.0, 1.0)
        rest = old[:, samples:]
        self._fade = _Fade(rest, length, is_new_piece) if rest.shape[-1] else None
        return torch.cat([mixed, fresh[:, samples:]], dim=-1)

    def _frame_at(self, sample: int) -> int:
        """The first latent that sounds from a sample of the piece that plays on."""
        return max(0, -(-(sample - self._origin) // self._template.generator.hop_samples))

    def _composer_of(self, program: Program) -> Composer:
        sampling = Sampling(program.seed, program.steps, program.phase_iterations, self._template.sampling.dtype)
        return self._template.with_sampling(sampling)

    def style(self, *, attempt: int = 0) -> Style | None:
        """That the program asks for; None leaves it to the piece. Another attempt draws others."""
        program, measured = self.program, self._template.generator.style
        if program.between is not None:
            return program.between[0].blended(program.between[1], program.blend)
        if program.prompt is not None and program.near is None and not attempt:
            return None
        items = range(program.piece, program.piece + 1)
        near = None if attempt else program.near
        return measured.draw(program.seed, items, attempt=attempt, surprise=program.surprise, near=near)

    def _started(self) -> Stream:
        """The beginning of the program's piece."""
        if self.program.prompt is not None:
            return self._composer.start(self.program.piece, prompt=self.program.prompt)
        return self._composer.start(self.program.piece, style=self.style())


def below_ceiling(sound: Tensor, gain: float, *, sample_rate: int) -> tuple[Tensor, float]:
    """A sound (channels, samples) with a gain of at most 1, and the gain that it ends with.

    The gain gets smaller before the first sample that would be beyond the ceiling, and larger again where it can.
    """
    samples = sound.shape[-1]
    if not samples:
        return sound, gain
    peak = float(sound.abs().max())
    if gain * peak <= CEILING:
        grown = min(1.0, gain * 10 ** (RECOVERY_DB / 20 * samples / sample_rate))
        if grown == gain or grown * peak > CEILING:
            return gain * sound, gain
        return torch.linspace(gain, grown, samples) * sound, grown
    needed = CEILING / peak
    over = int((gain * sound.abs().amax(dim=0) > CEILING).nonzero()[0])
    begin = max(0, over - round(DUCK_SECONDS * sample_rate))
    curve = torch.full((samples,), needed)
    curve[:begin] = gain
    curve[begin:over] = torch.linspace(gain, needed, over - begin + 1)[1:]
    return curve * sound, needed
