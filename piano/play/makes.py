"""Takes that are ordered on the page: new ones, continuations, variations, music like a sound; made piece by piece."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from piano.composer import Composer
from piano.foundation import bounds
from piano.foundation.audio_writer import exact_subtype
from piano.foundation.errors import DISK_ERRORS, ConfigError, MusiganError
from piano.foundation.prompts import Heard
from piano.foundation.receipt import Kind, Receipt
from piano.foundation.screen_text import counted
from piano.foundation.sound_progress import Progress
from piano.generate_music import as_loud_as, asked_part, encode_pieces, infilled_sounds, varied_sounds
from piano.generate_options import COMMON_TIME, song_form
from piano.loops import least_samples, loop_pieces
from piano.made_sounds import Target, name_part, sample_name
from piano.play.library import Library, TakeKind, keep_beside
from piano.play.models import Models
from piano.play.orders import Hearing, Order, Sound, hear_source, loop_of, maker_of
from piano.play.place import Limits
from piano.play.refusals import Full, NotHere, renamed
from piano.play.requests import read_json
from piano.play.scheduler import Scheduler

URGENCY = 8.0
"""Of a job: after listeners who have less than so many seconds of music."""
MOST_TITLE = 50
"""Letters of what a take is called after: its seed and number are always seen."""
SHOWN_SECONDS = 0.5
"""Between two reports of progress."""
KEPT_FAILURES_SECONDS = 600.0
WRITER = ThreadPoolExecutor(1, thread_name_prefix="writing")
"""Writes what is made: a long sound takes seconds to encode, in which nobody else's music may wait."""
TITLES: dict[TakeKind, str] = {
    "new": "A new piece",
    "continue": "What follows {name}",
    "vary": "{name}, another way",
    "like": "More like {name}",
    "loop": "A loop",
    "fill": "{name}, filled",
}
WRITTEN: dict[TakeKind, Kind] = {
    "new": "sample",
    "continue": "full",
    "vary": "variation",
    "like": "sample",
    "loop": "loop",
    "fill": "infill",
}


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
    models : Models
        Where its receipt finds what the model is.
    source : Sound, optional
    heard : Hearing, optional
        The source as the model hears it.
    library : Library
    changed : callable
        Called when there is progress to show.
    wake : callable
        Called when a sound is written and the next step can be done.
    """

    def __init__(
        self,
        order: Order,
        composer: Composer,
        models: Models,
        *,
        source: Sound | None,
        heard: Hearing | None,
        library: Library,
        changed: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.order = order
        self.error = ""
        self.is_over = self.is_cancelled = False
        self.takes: list[str] = []
        """Ids of what was made."""
        self.begun: float | None = None
        self.ended = 0.0
        self.done_seconds, self.total_seconds = 0.0, order.seconds * order.count
        self._source, self._hearing = source, heard
        self._library, self._changed, self._wake = library, changed, wake
        self._maker = maker_of(order, composer, models, source, library.folder)
        self._loop = loop_of(order, composer.generator.sample_rate)
        self.notes = self._maker.what_is_missing()
        """Sentences about what is asked for and is not in the training music."""
        form = None if heard is None else heard.form
        self._rate = composer.generator.sample_rate if form is None else form.sample_rate
        self._writing: Future[None] | None = None
        self._bits = self._run()
        self._shown = 0.0

    def urgency(self) -> float | None:
        """Not before those who listen now; nothing while a sound is written."""
        return None if self._writing is not None and not self._writing.done() else URGENCY

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
        self.error = "This could not be made: a fault of the program."
        if isinstance(error, MusiganError):
            self.error = renamed(str(error), self._library.folder / "a take", "a take")
        elif isinstance(error, OSError) and error.errno in DISK_ERRORS:
            self.error = f"This could not be kept: {DISK_ERRORS[error.errno]}."
        self.ended = time.monotonic()
        self._changed()

    def told(self) -> dict[str, Any]:
        """For the page."""
        eta = None
        if self.begun is not None and self.done_seconds > 0.0 and not self.error:
            taken = time.monotonic() - self.begun
            eta = round(taken * max(self.total_seconds / self.done_seconds - 1.0, 0.0), 1)
        state = "failed" if self.error else "waiting" if self.begun is None else "running"
        return {
            "id": self.id,
            "kind": self.order.kind,
            "title": self.title,
            "state": state,
            "done": round(min(self.done_seconds, self.total_seconds), 2),
            "total": round(self.total_seconds, 2),
            "eta_seconds": eta,
            "takes": list(self.takes),
            "error": self.error or None,
        }

    @property
    def title(self) -> str:
        """What it will be."""
        title = TITLES[self.order.kind].format(name="" if self._source is None else self._source.name)
        if self._loop is None:
            return title
        bars = counted(self.order.bars, "bar")
        bars += "" if self._loop.meter == COMMON_TIME else f" of {self._loop.meter}"
        return f"{title}, {bars} at {self.order.tempo:g}"

    def _run(self) -> Iterator[float]:
        """Seconds of sound as they are made; a take is added after the last of each."""
        order, rate = self.order, self._rate
        latents = None
        if order.kind in ("vary", "like") and self._hearing is not None:
            encoded: list[Tensor] = []
            for piece in self._encoded(self._hearing.heard):
                encoded.append(piece)
                yield 0.0
            latents = torch.cat(encoded, dim=1)
        receipts = self._receipts()
        for item in range(order.first, order.first + order.count):
            pieces: list[Tensor] = []
            for piece in self._sounds(item, latents):
                pieces.append(piece.float().cpu())
                seconds = piece.shape[-1] / rate
                if order.kind == "fill":  # most of it is only read, which says nothing about how fast music is made
                    self.done_seconds += seconds
                    seconds = 0.0
                yield seconds
            self._writing = WRITER.submit(self._write, pieces, item, receipts(item))
            self._writing.add_done_callback(lambda _: self._wake())
            yield 0.0
            self._writing.result()
            self._writing = None

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
        form = song_form(self._maker.options)
        if self._loop is not None:
            return loop_pieces(composer, self._loop, item=item)
        if hearing is not None and hearing.form is not None and hearing.wanted is not None:
            return infilled_sounds(composer, hearing.heard, hearing.form, hearing.wanted, item=item)
        if hearing is None:
            return composer.stream(order.seconds, form=form, item=item)
        if hearing.prompt is not None:
            sounds = composer.stream(order.seconds, prompt=hearing.prompt, form=form, item=item)
            return as_loud_as(hearing.heard, sounds, composer.generator.sample_rate)
        assert latents is not None
        if order.kind == "like":
            return composer.stream(order.seconds, item=item, style=composer.style_of(latents), form=form)
        return varied_sounds(composer, hearing.heard, latents, order.amount, item=item)

    def _receipts(self) -> Callable[[int], dict[Kind, Receipt]]:
        """What each sound says of itself; asked for where it is composed, for the threads are those of that place."""
        order, source = self.order, self._source
        made_from = None if source is None or order.kind == "like" else source.path
        return self._maker.receipts(WRITTEN[order.kind], source=made_from, seconds=order.seconds)

    def _write(self, pieces: list[Tensor], item: int, says: dict[Kind, Receipt]) -> None:
        """Put a finished sound into the library, with its receipt."""
        order, maker, source, library = self.order, self._maker, self._source, self._library
        if self.is_cancelled:
            return
        library.folder.mkdir(parents=True, exist_ok=True)
        stem = sample_name(None if source is None else Path(source.name), order.seed, item)
        start = library.folder / f"{asked_part(maker.options)}{stem}"
        heard = self._hearing.heard if self._hearing is not None and self._hearing.prompt is not None else None
        (path,) = self._target(start, says, heard).write(iter(pieces), _Silent())
        known = next((take.id for take in library.takes() if take.file == path.name), None)
        if known is None:  # else it was made before in just this way
            seam = None if heard is None else round(heard.samples / maker.generator.sample_rate, 3)
            name = f"{self.title[:MOST_TITLE]}, seed {order.seed}, no. {item + 1}"
            known = library.add(path, name=name, kind=order.kind, model=order.model, seam_seconds=seam).id
        self.takes.append(known)

    def _target(self, start: Path, says: dict[Kind, Receipt], heard: Heard | None) -> Target:
        """The file of a sound, in its form."""
        shelf, form = self._maker.shelf, None if self._hearing is None else self._hearing.form
        if self._loop is not None:
            return Target(shelf, start, says, loop=self._loop.tags())
        if form is None or self._source is None:
            return Target(shelf, start, says, heard)
        shelf = shelf._replace(sample_rate=form.sample_rate, channels=form.channels)
        subtype, _ = exact_subtype(self._source.path, shelf.format)
        return Target(shelf, start, says, is_as_it_is=True, subtype=subtype)


class Makes:
    """Orders: those that wait, run and failed.

    Parameters
    ----------
    models : Models
    library : Library
    limits : Limits
    scheduler : Scheduler
    find : callable
        The sound of an id, or None.
    changed : callable
        Gets what is told of all orders after every change.
    """

    def __init__(
        self,
        models: Models,
        library: Library,
        limits: Limits,
        scheduler: Scheduler,
        *,
        find: Callable[[str], Sound | None],
        changed: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._models, self._library, self._limits, self._scheduler = models, library, limits, scheduler
        self._find, self._tell = find, changed
        self._lock = threading.Lock()
        self._makes: dict[str, Make] = {}
        self._coming = 0

    def order(self, order: Order) -> Make:
        """A new job for the scheduler, which begins when it has time.

        Raises
        ------
        Full
            There are too many already.
        ConfigError
            What is ordered is out of its range.
        AudioError
            There is no such sound, or it cannot be heard.
        """
        if isinstance(order.steps, int) and order.steps not in bounds.SAMPLING_STEPS:
            raise ConfigError(f"steps: must be auto or {bounds.SAMPLING_STEPS}.")
        with self._lock:
            waiting = len([known for known in self._makes.values() if not (known.error or known.is_over)])
            if waiting + self._coming >= self._limits.jobs:
                raise Full(f"{self._limits.jobs} orders wait already. Let one be finished first.")
            self._coming += 1
        try:
            make = self._made_ready(order.model_copy(update={"model": order.model or self._models.default}))
            with self._lock:
                self._makes[make.id] = make
        finally:
            with self._lock:
                self._coming -= 1
        self._scheduler.add(make)
        self._changed()
        return make

    def _made_ready(self, order: Order) -> Make:
        """The job of an order whose sound was heard, and is kept beside what will be made from it."""
        composer = self._models.get(order.model)
        source = hearing = None
        if order.kind not in ("new", "loop"):
            source = self._find(order.source or "")
            if source is None:
                raise NotHere("the sound to go on from is not here any more. Choose another.")
            hearing = hear_source(composer, source, order)
            kept = keep_beside(source.path, self._library.folder, name_part(Path(source.name)))
            source, hearing = source._replace(path=kept), hearing._replace(heard=hearing.heard._replace(path=kept))
            if order.kind in ("vary", "fill"):
                seconds = hearing.heard.samples / composer.generator.sample_rate
                order = order.model_copy(update={"seconds": seconds})
        if loop := loop_of(order, composer.generator.sample_rate):
            loop.refuse_too_short(least_samples(composer))
            order = order.model_copy(update={"seconds": loop.samples / loop.sample_rate})
        return Make(
            order,
            composer,
            self._models,
            source=source,
            heard=hearing,
            library=self._library,
            changed=self._changed,
            wake=self._scheduler.wake,
        )

    def told(self) -> list[dict[str, Any]]:
        """All that are not finished, and those that failed, for the page."""
        now = time.monotonic()
        with self._lock:
            for known in list(self._makes.values()):
                if known.is_over or (known.error and now - known.ended > KEPT_FAILURES_SECONDS):
                    del self._makes[known.id]
            return [make.told() for make in self._makes.values()]

    def cancel(self, make_id: str) -> None:
        """Take a job away; what it has finished stays. Raises NotHere."""
        with self._lock:
            if make_id not in self._makes:
                raise NotHere("there is no such order.")
            make = self._makes.pop(make_id)
        make.is_cancelled = True
        self._scheduler.remove(make)
        self._changed()

    def _changed(self) -> None:
        self._tell(self.told())


def routes(makes: Makes) -> list[Route]:
    """POST and GET /api/makes, DELETE /api/makes/ID."""

    async def order(request: Request) -> Response:
        asked = await read_json(request, Order)
        make = await run_in_threadpool(makes.order, asked)
        return JSONResponse({"id": make.id, "notes": make.notes}, status_code=202)

    async def listed(request: Request) -> Response:
        return JSONResponse(makes.told())

    async def cancel(request: Request) -> Response:
        await run_in_threadpool(makes.cancel, request.path_params["id"])
        return Response(status_code=204)

    return [
        Route("/api/makes", order, methods=["POST"]),
        Route("/api/makes", listed),
        Route("/api/makes/{id}", cancel, methods=["DELETE"]),
    ]
