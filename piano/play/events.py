"""Server-sent events: what changed in the library, in the work and in runs, to every page that is open."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from piano.play.refusals import Full

MOST_WAITING = 64
"""Messages for a page that does not read: the oldest go first, for every message says all there is to say."""
ALIVE_SECONDS = 15.0
"""Between signs of life: they find out pages that have gone."""
POLL_SECONDS = 1.0
MOST_PAGES = 200
CHANGED = json.dumps({"changed": True})
Queues = set[tuple[asyncio.AbstractEventLoop, "asyncio.Queue[str]"]]


class Events:
    """Passes messages from any thread on to all pages.

    Parameters
    ----------
    most : int
        Pages that may listen at once, to this or to a watch.
    """

    def __init__(self, most: int = MOST_PAGES) -> None:
        self.most = most
        self.open = 0
        """Pages that listen."""
        self._pages: Queues = set()

    def tell(self, **what: Any) -> None:
        """Send a message to all pages; may be called from every thread."""
        _tell(self._pages, json.dumps(what))

    def messages(self) -> AsyncGenerator[str, None]:
        """Messages from now on, and an empty one now and then."""
        return _messages(self._pages)

    def stream(self, messages: AsyncIterator[str]) -> Response:
        """Messages as an event stream, an empty one as a comment; raises Full where too many listen."""
        if self.open >= self.most:
            raise Full(f"{self.most} pages listen already: no more can. Close one of them.")

        async def body() -> AsyncIterator[str]:
            self.open += 1
            try:
                async for message in messages:
                    yield f"data: {message}\n\n" if message else ": here\n\n"
            finally:
                self.open -= 1

        return StreamingResponse(body(), media_type="text/event-stream", headers={"cache-control": "no-store"})


class Watch:
    """Looks at something once a second for all pages that want to know, and only while there are some.

    Parameters
    ----------
    look : callable
        What is there now under a name; called in a thread. None where it cannot be told.
    every : float
        Seconds between two looks.
    """

    def __init__(self, look: Callable[[str], object], *, every: float = POLL_SECONDS) -> None:
        self._look, self._every = look, every
        self._pages: dict[str, Queues] = {}
        self._seen: dict[str, object] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_looking(self) -> bool:
        """Whether there is somebody to look for."""
        return self._task is not None and not self._task.done()

    async def messages(self, name: str) -> AsyncGenerator[str, None]:
        """A message each time that what is there is another thing than before, and an empty one now and then."""
        pages = self._pages.setdefault(name, set())
        inner = _messages(pages)
        try:
            first = await anext(inner)
            if name not in self._seen:  # from now on nothing is missed
                self._seen.setdefault(name, await run_in_threadpool(self._look, name))
            yield first
            if not self.is_looking:
                self._task = asyncio.get_running_loop().create_task(self._watch())
            async for message in inner:
                yield message
        finally:
            await inner.aclose()  # type: ignore[attr-defined]
            if not pages:
                self._pages.pop(name, None)

    async def _watch(self) -> None:
        while self._pages:
            for name in list(self._pages):
                now = await run_in_threadpool(self._look, name)
                if now != self._seen.setdefault(name, now):
                    self._seen[name] = now
                    _tell(self._pages.get(name, set()), CHANGED)
            for name in self._seen.keys() - self._pages.keys():
                del self._seen[name]
            await asyncio.sleep(self._every)


async def _messages(pages: Queues) -> AsyncGenerator[str, None]:
    """What is told to these pages, this one among them; an empty message at first and now and then."""
    page = (asyncio.get_running_loop(), asyncio.Queue[str]())
    pages.add(page)
    try:
        yield ""
        while True:
            try:
                yield await asyncio.wait_for(page[1].get(), ALIVE_SECONDS)
            except TimeoutError:
                yield ""
    finally:
        pages.discard(page)


def _tell(pages: Queues, text: str) -> None:
    for loop, queue in list(pages):
        with contextlib.suppress(RuntimeError):  # the server ends
            loop.call_soon_threadsafe(_put, queue, text)


def _put(queue: asyncio.Queue[str], text: str) -> None:
    while queue.qsize() >= MOST_WAITING:
        queue.get_nowait()
    queue.put_nowait(text)


def routes(events: Events) -> list[Route]:
    """GET /api/events."""

    async def stream(request: Request) -> Response:
        return events.stream(events.messages())

    return [Route("/api/events", stream)]
