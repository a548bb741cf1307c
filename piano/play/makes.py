"""Takes that are ordered on the page: new ones, continuations, variations, music like a sound; made piece by piece."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation.errors import AudioError, ConfigError, MusiganError
from piano.foundation.prompts import Heard, hear
from piano.foundation.receipt import Kind
from piano.foundation.sound_progress import Progress
from piano.generate_music import (
    LEAST_FRAMES,
    Maker,
    as_loud_as,
    encode_pieces,
    hear_prompt,
    parse_arguments,
    varied_sounds,
)
from piano.latent_style import SHORTEST_SECONDS
from piano.made_sounds import Target, name_part, sample_name
from piano.play.library import Library, TakeKind, keep_beside
from piano.play.models import Models
from piano.play.place import Limits

URGENCY = 8.0
"""Of a job: after listeners who have less than so many seconds of music."""
MOST_SECONDS, MOST_COUNT = 300.0, 12
SHOWN_SECONDS = 0.5
"""Between two reports of progress."""
KEPT_FAILURES_SECONDS = 600.0
TITLES: dict[TakeKind, str] = {
    "new": "A new piece",
    "continue": "What follows {name}",
    "vary": "{name}, another way",
    "like": "More like {name}",
}
WRITTEN: dict[TakeKind, Kind] = {"new": "sample", "continue": "full", "vary": "variation", "like": "sample"}


class Order(BaseModel):
    """What is ordered."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    kind: Literal["new", "continue", "vary", "like"]
    model: str = Field("", max_length=200)
    source: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seconds: float = Field(30.0, ge=1.0, le=MOST_SECONDS)
    amount: float = Field(0.3, ge=0.0, le=1.0)
    seed: int = Field(0, ge=0, le=2**53)
    first: int = Field(0, ge=0, lt=1000)
    """Number of the first sample of the seed."""
    count: int = Field(1, ge=1, le=MOST_COUNT)
    steps: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] = "auto"


class Sound(NamedTuple):
    """What an order is made from."""

    path: Path
    name: str


class _Hearing(NamedTuple):
    """A sound as a model hears it."""

    heard: Heard
    prompt: Tensor | None
    """(channels, samples), where it is continued."""


class _Silent(Progress):
    """Progress that is shown on the page, not in the terminal."""

    def __init__(self) -> None:
        pass

    def update(self, samples: int) -> None:
        pass

    def skip(self) -> None:
        pass


class Make:
    """An order as work for the scheduler.

    Parameters
    ----------
    order : Order
    composer : Composer
    content : dict
        Of the model's checkpoint, for receipts.
    folder : Path
        Of the model.
    source : Sound, optional
    library : Library
    changed : callable
        Called when there is progress to show.
    """

    def __init__(
        self,
        order: Order,
        composer: Composer,
        content: dict[str, Any],
        *,
        folder: Path,
        source: Sound | None,
        heard: "_Hearing | None",
        library: Library,
        changed: Callable[[], None],
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.order = order
        self.error = ""
        self.is_over = False
        self.begun: float | None = None
        self.ended = 0.0
        self.done_seconds, self.total_seconds = 0.0, order.seconds * order.count
        self._source, self._hearing = source, heard
        self._library, self._changed = library, changed
        sampling = Sampling(order.seed, order.steps, dtype=composer.sampling.dtype)
        words = ["--checkpoints", str(folder), "--seed", str(order.seed), "--seconds", repr(order.seconds)]
        words += ["--steps", str(order.steps), "--output", str(library.folder), "--format", "flac"]
        if source is not None:
            option = {"continue": "--prompt", "vary": "--vary", "like": "--like"}[order.kind]
            words += [option, str(source.path)] + (["--amount", repr(order.amount)] if order.kind == "vary" else [])
        self._maker = Maker(
            composer.generator, composer.with_sampling(sampling), content, folder, parse_arguments(words)
        )
        self._bits = self._run()
        self._shown = 0.0

    def urgency(self) -> float | None:
        """Not before those who listen now."""
        return URGENCY

    def step(self) -> float | None:
        """The next piece of sound."""
        self.begun = self.begun or time.monotonic()
        seconds = next(self._bits, None)
        if seconds is None:
            self.is_over = True
        else:
            self.done_seconds += seconds
        if self.is_over or time.monotonic() - self._shown > SHOWN_SECONDS:
            self._shown = time.monotonic()
            self._changed()
        return seconds

    def fail(self, error: Exception) -> None:
        """Say on the page why it cannot be made."""
        self.error = (
            str(error) if isinstance(error, MusiganError) else "This could not be made: a fault of the program."
        )
        self.ended = time.monotonic()
        self._changed()

    def told(self) -> dict[str, Any]:
        """For the page."""
        eta = None
        if self.begun is not None and self.done_seconds > 0.0:
            eta = (time.monotonic() - self.begun) * max(self.total_seconds / self.done_seconds - 1.0, 0.0)
        state = "failed" if self.error else "waiting" if self.begun is None else "running"
        return {
            "id": self.id,
            "kind": self.order.kind,
            "title": self.title,
            "state": state,
            "done": round(min(self.done_seconds, self.total_seconds), 2),
            "total": round(self.total_seconds, 2),
            "eta_seconds": eta,
            "error": self.error or None,
        }

    @property
    def title(self) -> str:
        """What it will be."""
        return TITLES[self.order.kind].format(name="" if self._source is None else self._source.name)

    def _run(self) -> Iterator[float]:
        """Seconds of sound as they are made; a take is added after the last of each."""
        order, rate = self.order, self._maker.generator.sample_rate
        latents = None
        if self._hearing is not None and self._hearing.prompt is None:
            encoded: list[Tensor] = []
            for piece in self._encoded(self._hearing.heard):
                encoded.append(piece)
                yield 0.0
            latents = torch.cat(encoded, dim=1)
        for item in range(order.first, order.first + order.count):
            pieces: list[Tensor] = []
            for piece in self._sounds(item, latents):
                pieces.append(piece.float().cpu())
                yield piece.shape[-1] / rate
            self._write(pieces, item)
            yield 0.0

    def _encoded(self, heard: Heard) -> Iterator[Tensor]:
        """Latents of a sound, piece by piece."""
        generator = self._maker.generator
        blocks = (torch.from_numpy(heard.prepared(block)) for block in heard.blocks(generator.sample_rate))
        pieces = encode_pieces(generator, blocks)
        while True:
            with torch.inference_mode():  # not around a yield: it would hold for whatever else the thread does
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _sounds(self, item: int, latents: Tensor | None) -> Iterator[Tensor]:
        """The sound of an item, piece by piece."""
        order, composer, hearing = self.order, self._maker.composer, self._hearing
        if hearing is None:
            return composer.stream(order.seconds, item=item)
        if hearing.prompt is not None:
            sounds = composer.stream(order.seconds, prompt=hearing.prompt, item=item)
            return as_loud_as(hearing.heard, sounds, composer.generator.sample_rate)
        assert latents is not None
        if order.kind == "like":
            return composer.stream(order.seconds, item=item, style=composer.style_of(latents))
        return varied_sounds(composer, hearing.heard, latents, order.amount, item=item)

    def _write(self, pieces: list[Tensor], item: int) -> None:
        """Put a finished sound into the library, with its receipt."""
        order, maker, kind, source = self.order, self._maker, WRITTEN[self.order.kind], self._source
        library = self._library
        library.folder.mkdir(parents=True, exist_ok=True)
        seconds = self.total_seconds / order.count
        made_from = None if source is None or order.kind == "like" else source.path
        receipts = maker.receipts(kind, source=made_from, seconds=seconds)
        stem = sample_name(None if source is None else Path(source.name), order.seed, item)
        start = library.folder / (f"like_{stem}" if order.kind == "like" else stem)
        heard = self._hearing.heard if self._hearing is not None and self._hearing.prompt is not None else None
        (path,) = Target(maker.shelf, start, receipts(item), heard).write(iter(pieces), _Silent())
        if any(take.file == path.name for take in library.takes()):
            return  # made before in just this way
        number = f", seed {order.seed}, no. {item + 1}"
        library.add(path, name=f"{self.title}{number}", kind=order.kind, model=self.order.model)


def _hear(composer: Composer, path: Path, kind: TakeKind) -> _Hearing:
    """A sound as it is needed for an order; raises AudioError. It computes little: the scheduler need not wait."""
    generator = composer.generator
    if kind == "continue":
        heard, prompt, _ = hear_prompt(generator, path)
        return _Hearing(heard, prompt)
    heard = hear(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    if kind == "like" and heard.samples < SHORTEST_SECONDS * generator.sample_rate:
        raise AudioError(f"it is too short to have a style: at least {SHORTEST_SECONDS:g} s are needed.")
    if heard.samples < LEAST_FRAMES * generator.hop_samples:
        least = LEAST_FRAMES * generator.hop_samples / generator.sample_rate
        raise AudioError(f"it is too short: at least {least:.2f} s are needed.")
    return _Hearing(heard, None)


class Makes:
    """Orders: those that wait, run and failed.

    Parameters
    ----------
    models : Models
    library : Library
    limits : Limits
    find : callable
        The sound of an id, or None.
    changed : callable
    """

    def __init__(
        self,
        models: Models,
        library: Library,
        limits: Limits,
        *,
        find: Callable[[str], Sound | None],
        changed: Callable[[], None],
    ) -> None:
        self._models, self._library, self._limits = models, library, limits
        self._find, self._changed = find, changed
        self._lock = threading.Lock()
        self._makes: dict[str, Make] = {}

    def order(self, order: Order) -> Make:
        """A new job for the scheduler.

        Raises
        ------
        ConfigError
            There are too many already.
        AudioError
            There is no such sound.
        """
        order = order.model_copy(update={"model": order.model or self._models.default})
        composer = self._models.get(order.model)
        source = None
        if order.kind != "new":
            source = self._find(order.source or "")
            if source is None:
                raise AudioError("the sound to go on from is not here any more. Choose another.")
            kept = keep_beside(source.path, self._library.folder, name_part(Path(source.name)))
            source = source._replace(path=kept)
        hearing = None if source is None else _hear(composer, source.path, order.kind)
        if hearing is not None and order.kind == "vary":
            rate = composer.generator.sample_rate
            order = order.model_copy(update={"seconds": hearing.heard.samples / rate})
        make = Make(
            order,
            composer,
            self._models.content(order.model),
            folder=self._models.folders[order.model],
            source=source,
            heard=hearing,
            library=self._library,
            changed=self._changed,
        )
        with self._lock:
            if len([known for known in self._makes.values() if not known.error]) >= self._limits.jobs:
                raise ConfigError(f"{self._limits.jobs} orders wait already. Let one be finished first.")
            self._makes[make.id] = make
        return make

    def told(self) -> list[dict[str, Any]]:
        """All that are not finished, for the page."""
        now = time.monotonic()
        with self._lock:
            for known in list(self._makes.values()):
                if known.is_over or (known.error and now - known.ended > KEPT_FAILURES_SECONDS):
                    del self._makes[known.id]
            return [make.told() for make in self._makes.values()]

    def forget(self, make_id: str) -> Make:
        """Take a job away; raises AudioError."""
        with self._lock:
            if make_id not in self._makes:
                raise AudioError("there is no such order.")
            return self._makes.pop(make_id)
