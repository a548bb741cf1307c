"""A listener's radio as work for the scheduler: it composes ahead of what was heard, and does what is wished."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.composer import Composer
from piano.foundation.audio_writer import as_written
from piano.foundation.errors import MusiganError
from piano.latent_style import Style
from piano.play.place import Limits, Sources
from piano.play.programs import Wishes
from piano.play.radio import CHANGE_SECONDS, Program, Radio
from piano.play.replay import style_at

TOLERATED_SPEED, TOLERATED_SECONDS = 1.02, 2.0
"""By which a listener's clock may be ahead of ours: who says more gets no more."""
MOVED_SECONDS = 0.4
"""Of sound that a control gets at once: the first piece may be short, and the next one takes its time."""
MOVED_URGENCY = 0.5
"""Seconds: who has less goes before a control that moved, or one who turns it all the time would silence the others."""


class Void(NamedTuple):
    """What was sent from a sample on is not to be heard any more."""

    sample: int
    id: int | None


class Sound(NamedTuple):
    """Samples that are ready."""

    sample: int
    pcm: NDArray[np.int16]
    """(samples, channels)"""


class Failed(NamedTuple):
    """The radio cannot go on."""

    reason: str


class Moved(NamedTuple):
    """A moment in which a program began, for the receipt of a take."""

    sample: int
    wishes: Wishes
    end: int = 0
    """Samples that were made by then."""


class Way(NamedTuple):
    """How music was computed from a sample on: what its last bits depend on."""

    sample: int
    threads: int
    is_compiled: bool
    """By the compiled loops, or PyTorch's."""


class RadioWork:
    """A radio that composes for a listener somewhere else.

    Parameters
    ----------
    composer : Composer
    wishes : Wishes
    newest : callable, optional
        The composer of the same model with the inner loops that are there by now; by default it stays the first one.
    name : str
        Of the model.
    sources : callable
        Where prompts and styles of sounds come from, if it is there yet.
    limits : Limits
    tell : callable
        Takes a `Sound`, a `Void`, a sentence, or `Failed`, after which nothing comes; called from the scheduler's
        thread.
    """

    def __init__(
        self,
        composer: Composer,
        wishes: Wishes,
        *,
        name: str,
        sources: Callable[[], Sources | None],
        limits: Limits,
        tell: Callable[[Sound | Void | Failed | str], None],
        newest: Callable[[], Composer] | None = None,
    ) -> None:
        self.composer = composer
        self.name = name
        """Of the model."""
        self.wishes = wishes
        self.heard = 0
        self.underruns = 0
        self.is_blocked = False
        """Whether the listener's line is full."""
        self._sources = sources
        self._limits = limits
        self._tell = tell
        self._newest = newest or (lambda: composer)
        self._lock = threading.Lock()
        self._move: tuple[Wishes, int, int | None] | None = None
        self._radio: Radio | None = None
        self._begun: float | None = None  # when its first sound was made
        self._ways: list[Way] = []
        self._kept: deque[Sound] = deque()
        self._history: list[Moved] = []

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.composer.generator.sample_rate

    @property
    def channels(self) -> int:
        """Of its sound."""
        return self.composer.generator.sound_channels

    @property
    def ahead_seconds(self) -> float:
        """Of music that is made and not heard; nobody hears faster than time passes, whatever it says."""
        if self._radio is None or self._begun is None:
            return 0.0
        most = (TOLERATED_SPEED * (time.monotonic() - self._begun) + TOLERATED_SECONDS) * self.sample_rate
        return max(0.0, self._radio.end - min(self.heard, most)) / self.sample_rate

    def hear(self, sample: int) -> None:
        """The listener is at this sample."""
        end = 0 if self._radio is None else self._radio.end
        self.heard = min(max(sample, self.heard), end)

    def move(self, wishes: Wishes, at: int, move_id: int | None) -> None:
        """Play otherwise from sample `at` on; of moves that come faster than music is made only the last one counts."""
        with self._lock:
            at = at if self._move is None else min(at, self._move[1])
            self._move = (wishes, at, move_id)

    @property
    def wished(self) -> Wishes:
        """What was asked for last, whether it plays already or not."""
        with self._lock:
            return self.wishes if self._move is None else self._move[0]

    def urgency(self) -> float | None:
        """Seconds that the listener still has; a control that moved comes before all who have enough."""
        if self._move is not None:
            return min(MOVED_URGENCY, self.ahead_seconds)
        if self.is_blocked or self.ahead_seconds >= self._limits.ahead_seconds:
            return None
        return self.ahead_seconds

    def step(self) -> float:
        """Compose what comes next."""
        newest, before = self._newest(), self.composer
        if newest is not before:
            self.composer = newest
            if self._radio is not None:
                self._radio.use(newest)
        if self._radio is None:
            self._radio = Radio(self.composer, self.program_of(self.wishes))
            self._history = [Moved(0, self.wishes)]
        with self._lock:
            move, self._move = self._move, None
        if move is not None:
            self._follow(*move)
        self._radio.forget(self.heard)
        begin = self._radio.end
        way = Way(begin, torch.get_num_threads(), self.composer.kernels is not None)
        if not self._ways or self._ways[-1][1:] != way[1:]:
            self._ways = [*self._ways, way]
        wanted = 0 if move is None else round(MOVED_SECONDS * self.sample_rate)
        while self._radio.end <= begin + wanted:
            chunk = self._radio.produce()
            pcm = as_pcm(chunk.waveform)
            self._keep(Sound(chunk.sample, pcm))
            self._tell(Sound(chunk.sample, pcm))
        self._begun = self._begun or time.monotonic()
        # The first step with other loops is slower than those after it.
        return (self._radio.end - begin) / self.sample_rate if newest is before else 0.0

    def fail(self, error: Exception) -> None:
        """Say that it cannot go on."""
        is_known = isinstance(error, MusiganError)
        self._tell(Failed(str(error) if is_known else "The music stopped: a fault of the program."))

    def played(self, begin: int, end: int) -> Sound:
        """What was made between two samples; less where it is no longer kept, or not made yet."""
        with self._lock:
            kept = list(self._kept)
        parts = [
            Sound(max(begin, sound.sample), sound.pcm[max(begin - sound.sample, 0) : max(end - sound.sample, 0)])
            for sound in kept
            if sound.sample < end and sound.sample + len(sound.pcm) > begin
        ]
        nothing = np.zeros((0, self.channels), dtype=np.int16)
        return Sound(parts[0].sample if parts else begin, np.concatenate([nothing, *(part.pcm for part in parts)]))

    def steps_of(self, wishes: Wishes) -> int:
        """Sampling steps, after `auto` became a number."""
        return self.composer.steps if wishes.steps == "auto" else wishes.steps

    def moves(self) -> list[Moved]:
        """What was asked for, in that order, as far back as it says how what is kept was made."""
        with self._lock:
            return list(self._history)

    def ways(self, begin: int, end: int) -> list[Way]:
        """The ways in which what lies between two samples was computed."""
        ways = [way for way in self._ways if way.sample < end]
        first = max((index for index, way in enumerate(ways) if way.sample <= begin), default=0)
        return ways[first:]

    def program_of(self, wishes: Wishes) -> Program:
        """The program that wishes make: sounds are encoded, styles measured."""
        prompt: Tensor | None = None
        between: tuple[Style, Style] | None = None
        if wishes.prompt:
            prompt = self._known_sources().prompt(self.composer, wishes.prompt)
        if wishes.between:
            between = (self._style_of(wishes, wishes.between[0]), self._style_of(wishes, wishes.between[1]))
        taken_over = wishes.model_dump(exclude={"prompt", "between"})
        return Program(**taken_over, prompt=prompt, prompt_name=wishes.prompt or "", between=between)

    def _known_sources(self) -> Sources:
        if (sources := self._sources()) is None:
            raise MusiganError("there are no sounds here to go on from.")
        return sources

    def _style_of(self, wishes: Wishes, pole: int | str) -> Style:
        """Of a place on the map, or of a sound."""
        if isinstance(pole, str):
            return self._known_sources().style(self.composer, pole)
        return style_at(self.composer, wishes.seed, wishes.piece, pole)

    def _follow(self, wishes: Wishes, at: int, move_id: int | None) -> None:
        """Play otherwise, or say why that cannot be and play on."""
        assert self._radio is not None
        try:
            program = self.program_of(wishes)
        except MusiganError as error:
            self._tell(str(error))
            return
        made = self._radio.end
        void = self._radio.move(program, max(at, self.heard))
        self.wishes = wishes
        self._ways = [way._replace(sample=min(way.sample, void)) for way in self._ways]
        with self._lock:
            self._history.append(Moved(void, wishes, made))
            while self._kept and self._kept[-1].sample >= void:
                self._kept.pop()
            if self._kept:
                last = self._kept.pop()
                self._kept.append(Sound(last.sample, last.pcm[: void - last.sample]))
        self._tell(Void(void, move_id))

    def _keep(self, sound: Sound) -> None:
        oldest = self.heard - self._limits.kept_seconds * self.sample_rate
        with self._lock:
            self._kept.append(sound)
            while len(self._kept) > 1 and self._kept[1].sample <= oldest:
                self._kept.popleft()
            del self._history[: first_needed(self._history, self._kept[0].sample, self.sample_rate)]


def first_needed(moves: list[Moved], sample: int, sample_rate: int) -> int:
    """Index of the move from which on a radio can be played again to be the same from a sample on.

    Another piece begins anew; it is itself when what came before has faded out.
    """
    faded = round(2 * CHANGE_SECONDS * sample_rate)
    for index in range(len(moves) - 1, 0, -1):
        began = moves[index].sample
        is_new_piece = piece_of(moves[index].wishes) != piece_of(moves[index - 1].wishes)
        if is_new_piece and began + faded <= sample and all(later.sample >= began for later in moves[index:]):
            return index
    return 0


def piece_of(wishes: Wishes) -> tuple[int, int, str | None]:
    """What another piece differs in: see `Program.piece_key`."""
    return wishes.seed, wishes.piece, wishes.prompt


def as_pcm(waveform: Tensor) -> NDArray[np.int16]:
    """Samples of 16 bits (samples, channels) of a waveform (channels, samples) within [-1, 1]."""
    return as_written(waveform.float().cpu().numpy().T, "PCM_16")
