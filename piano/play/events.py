"""Server-sent events: what changed in the library and in the work, to every page that is open."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

MOST_WAITING = 64
"""Messages for a page that does not read: the oldest go first, for every message says all there is to say."""
ALIVE_SECONDS = 15.0
"""Between signs of life: they find out pages that have gone."""
POLL_SECONDS = 1.0


class Events:
    """Passes messages from any thread on to all pages."""

    def __init__(self) -> None:
        self._pages: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str]]] = set()

    def tell(self, **what: Any) -> None:
        """Send a message to all pages; may be called from every thread."""
        text = json.dumps(what)
        for loop, queue in list(self._pages):
            with contextlib.suppress(RuntimeError):  # the server ends
                loop.call_soon_threadsafe(_put, queue, text)

    async def messages(self) -> AsyncIterator[str]:
        """Messages from now on, and an empty one now and then."""
        page = (asyncio.get_running_loop(), asyncio.Queue[str]())
        self._pages.add(page)
        try:
            yield ""
            while True:
                try:
                    yield await asyncio.wait_for(page[1].get(), ALIVE_SECONDS)
                except TimeoutError:
                    yield ""
        finally:
            self._pages.discard(page)


def _put(queue: asyncio.Queue[str], text: str) -> None:
    while queue.qsize() >= MOST_WAITING:
        queue.get_nowait()
    queue.put_nowait(text)


def event_stream(messages: AsyncIterator[str]) -> StreamingResponse:
    """Messages as an event stream; an empty one is a comment."""

    async def body() -> AsyncIterator[str]:
        async for message in messages:
            yield f"data: {message}\n\n" if message else ": here\n\n"

    return StreamingResponse(body(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def whenever_changed(look: Callable[[], Awaitable[object]]) -> AsyncIterator[str]:
    """A message each time that what `look` finds is another thing than before."""
    before, silent = await look(), 0.0
    yield ""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        silent += POLL_SECONDS
        now = await look()
        if now != before:
            before, silent = now, 0.0
            yield json.dumps({"changed": True})
        elif silent >= ALIVE_SECONDS:
            silent = 0.0
            yield ""


def routes(events: Events) -> list[Route]:
    """GET /api/events."""

    async def stream(request: Request) -> StreamingResponse:
        return event_stream(events.messages())

    return [Route("/api/events", stream)]
