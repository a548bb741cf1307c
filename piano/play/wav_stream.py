"""A WAV as it is made, for everything that is not our page: `GET /api/stream.wav?seed=0&seconds=30`."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation.audio_writer import as_written
from piano.foundation.errors import ConfigError
from piano.foundation.sound_pipe import wav_header
from piano.play.place import Place
from piano.play.programs import Wishes, read_wishes
from piano.play.refusals import Full

LINE_PIECES = 4
"""That wait to be sent; then composing waits."""
URGENCY = 6.0
"""Of a stream that has room: after listeners who have less than so many seconds."""
LOOKED_AT_SECONDS = 0.5
"""Between two looks whether a reader still reads."""
MOST_SECONDS = 86_400.0
WHOLE = frozenset({"seed", "piece", "near"})
KNOWN = WHOLE | {"surprise", "seconds", "steps", "phase_iterations", "model", "token"}


async def stream_wav(request: Request) -> Response:
    """Music from white noise: with the same seed and settings that of `musigan generate --output -`."""
    place: Place = request.app.state.place
    wishes, seconds, name = read_query(dict(request.query_params))
    composer = await run_in_threadpool(place.models.get, name or place.models.default)
    if seconds * composer.generator.sample_rate < 1:
        raise ConfigError("seconds: shorter than one sample")
    if place.streams >= place.limits.streams:
        raise Full(f"{place.limits.streams} streams are being made: no more can be. Try again later.")
    loop, line = asyncio.get_running_loop(), asyncio.Queue()
    work = WavWork(composer, wishes, seconds, loop, line)
    place.streams += 1
    place.scheduler.add(work)

    async def body() -> AsyncIterator[bytes]:
        generator = composer.generator
        samples = None if math.isinf(seconds) else round(seconds * generator.sample_rate)
        yield wav_header(sample_rate=generator.sample_rate, channels=generator.sound_channels, samples=samples)
        while (piece := await line.get()) is not None:
            work.waiting -= 1
            work.taken = time.monotonic()
            place.scheduler.wake()
            yield piece

    return _WavResponse(place, work, body())


class _WavResponse(StreamingResponse):
    """Ends its work whenever it ends itself, even before its first byte."""

    def __init__(self, place: Place, work: "WavWork", body: AsyncIterator[bytes]) -> None:
        super().__init__(body, media_type="audio/wav", headers={"cache-control": "no-store"})
        self._place, self._work = place, work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it, as long as somebody reads."""
        sending = asyncio.ensure_future(super().__call__(scope, receive, send))
        try:
            while not (await asyncio.wait({sending}, timeout=LOOKED_AT_SECONDS))[0]:
                is_full = self._work.waiting >= LINE_PIECES
                if is_full and time.monotonic() - self._work.taken > self._place.limits.stalled_seconds:
                    return
            sending.result()
        finally:
            sending.cancel()
            self._place.scheduler.remove(self._work)
            self._place.streams -= 1


class WavWork:
    """A stream as work for the scheduler."""

    def __init__(
        self, composer: Composer, wishes: Wishes, seconds: float, loop: asyncio.AbstractEventLoop, line: asyncio.Queue
    ) -> None:
        self.waiting = 0
        self.taken = time.monotonic()
        """When a piece was taken from the line."""
        self._composer, self._wishes, self._seconds = composer, wishes, seconds
        self._loop, self._line = loop, line
        self._sounds: Iterator[Tensor] | None = None

    def urgency(self) -> float | None:
        """Not before those who listen now."""
        return URGENCY if self.waiting < LINE_PIECES else None

    def step(self) -> float | None:
        """Compose a piece."""
        if self._sounds is None:
            self._sounds = self._begun()
        sound = next(self._sounds, None)
        if sound is None:
            self._put(None)
            return None
        self.waiting += 1
        waveform = sound.float().cpu().numpy()
        self._put(np.asarray(as_written(waveform.T, "PCM_16")).astype("<i2").tobytes())
        return 0.0  # how fast its settings are says nothing about what a listener needs

    def fail(self, error: Exception) -> None:
        """End the stream; what was sent stays."""
        self._put(None)

    def _begun(self) -> Iterator[Tensor]:
        wishes, generator = self._wishes, self._composer.generator
        sampling = Sampling(wishes.seed, wishes.steps, wishes.phase_iterations, self._composer.sampling.dtype)
        style = None
        if wishes.near is not None or wishes.surprise != 1.0:
            items = range(wishes.piece, wishes.piece + 1)
            style = generator.style.draw(wishes.seed, items, surprise=wishes.surprise, near=wishes.near)
        return self._composer.with_sampling(sampling).stream(self._seconds, item=wishes.piece, style=style)

    def _put(self, what: bytes | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._line.put_nowait, what)


def read_query(query: dict[str, str]) -> tuple[Wishes, float, str]:
    """Wishes, seconds and the name of a model out of an address; raises ConfigError."""
    if unknown := sorted(query.keys() - KNOWN):
        raise ConfigError(f"{unknown[0][:40]} is not known: there are {', '.join(sorted(KNOWN - {'token'}))}")
    told: dict[str, Any] = {"phase_iterations": 16}
    for name in query.keys() - {"seconds", "model", "token"}:
        told[name] = _number(name, query[name])
    seconds = _number("seconds", query.get("seconds", "30"))
    if isinstance(seconds, str) or not (math.isinf(seconds) or 0.0 < seconds <= MOST_SECONDS):
        raise ConfigError(f"seconds: a number up to {MOST_SECONDS:g}, or inf")
    return read_wishes(told), seconds, query.get("model", "")


def _number(name: str, text: str) -> int | float | str:
    """A number of an address; a word such as auto or inf as itself or as infinity."""
    if name == "seconds" and text in ("inf", "infinity"):
        return math.inf
    if len(text) <= 40 and text.isascii():
        for kind in (int, float):
            try:
                number = kind(text)
            except ValueError:
                continue
            if math.isfinite(number):
                return number
    return text
