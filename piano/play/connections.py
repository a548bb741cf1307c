"""How the server answers a connection, and when it lets one go that asks for nothing."""

import asyncio
import functools
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from piano.play.place import Limits

LARGEST_MESSAGE_BYTES = 1 << 16
"""From a page, over a socket."""


def settings(app: Any, limits: Limits) -> uvicorn.Config:
    """Of a server for an ASGI application."""
    return uvicorn.Config(
        app,
        http=functools.partial(BoundedProtocol, request_seconds=limits.request_seconds),  # type: ignore[arg-type]
        log_level="warning",
        timeout_graceful_shutdown=2,
        ws_max_size=LARGEST_MESSAGE_BYTES,
        server_header=False,
        lifespan="on",
    )


class BoundedProtocol(H11Protocol):
    """HTTP, whose first request must have come within a time: its headers, whole."""

    def __init__(self, *arguments: Any, request_seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._request_seconds = request_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(self._request_seconds, self._let_go)

    def _let_go(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self:  # else a socket has taken over
            self.transport.close()
