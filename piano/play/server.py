"""The playing server: a static page, a radio over a WebSocket, WAV streams, and what there is to know."""

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from piano.foundation.errors import DISK_ERRORS, AudioError, CheckpointError, MusiganError
from piano.play.access import Guard, refuse
from piano.play.place import Place
from piano.play.refusals import Full, NotHere

PAGE = Path(__file__).parent / "page"


class Page(StaticFiles):
    """The page's files: a browser asks each time whether they changed, so all are of one version."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """A file, or that it is still the same."""
        response = super().file_response(*arguments, **named)
        response.headers["cache-control"] = "no-cache"
        return response


class Later:
    """The library's routes, imported when they are first asked for: PyTorch comes with them.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._router: Router | None = None
        self._lock = threading.Lock()

    def open(self) -> Router:
        """The routes; also sets the place's sources."""
        with self._lock:
            if self._router is None:
                from piano.play.taking import routes

                self._router = Router(routes(self._place))
            return self._router

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            raise HTTPException(404)
        router = await run_in_threadpool(self.open)
        await router(scope, receive, send)


def create_app(place: Place, *, version: str = "") -> Starlette:
    """The application for a place.

    Parameters
    ----------
    place : Place
    version : str
        Of the project, for /api/health.
    """
    library = Later(place)

    async def stream(request: Request) -> Response:
        make = await run_in_threadpool(_stream)
        return await make(request)

    async def listen(socket: WebSocket) -> None:
        sockets = app.state.sockets
        await socket.accept()  # the page need not wait for PyTorch to know that somebody is here
        if len(sockets) >= place.limits.sockets:
            await refuse(socket, f"{len(sockets)} listeners are connected: no more can be. Try again later.")
            return
        sockets.add(socket)
        try:
            radio = await run_in_threadpool(_radio)
            await radio(socket)
        finally:
            sockets.discard(socket)

    routes = [
        Route("/", _page),
        Route("/api/health", _health),
        Route("/api/models", _models),
        Route("/api/models/{name}/styles", _styles),
        Route("/api/stream.wav", stream),
        WebSocketRoute("/api/radio", listen),
        Mount("/page", Page(directory=PAGE)),
        Mount("", library),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=place.hosts, token=place.token)],
        exception_handlers={MusiganError: _told, OSError: _disk, 404: _nothing_here, 405: _not_this_way, 500: _fault},
        lifespan=_lifespan,
    )
    app.state.place = place
    app.state.library = library
    app.state.version = version
    app.state.sockets = set()
    app.state.begun = time.monotonic()
    return app


def _stream() -> Callable[[Request], Awaitable[Response]]:
    """With the stream comes PyTorch, which the page need not wait for."""
    from piano.play.wav_stream import stream_wav

    return stream_wav


def _radio() -> Callable[[WebSocket], Awaitable[None]]:
    """With the radio comes PyTorch."""
    from piano.play.radio_socket import radio

    return radio


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    place: Place = app.state.place
    place.scheduler.start()
    yield
    for close in place.closers:
        close()
    await run_in_threadpool(place.scheduler.close)


async def _page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


async def _health(request: Request) -> Response:
    app, place = request.app, request.app.state.place
    speed = place.scheduler.speed
    return JSONResponse(
        {
            "status": "ok",
            "version": app.state.version,
            "is_ready": place.models.is_loaded(place.models.default),
            "listeners": len(place.radios),
            "capacity": place.scheduler.capacity,
            "speed": None if speed is None else round(speed, 1),
            "uptime_seconds": round(time.monotonic() - app.state.begun, 1),
        }
    )


async def _models(request: Request) -> Response:
    return JSONResponse(request.app.state.place.models.described())


async def _styles(request: Request) -> Response:
    styles = await run_in_threadpool(request.app.state.place.models.styles, request.path_params["name"])
    return JSONResponse(styles._asdict())


async def _told(request: Request, error: Exception) -> Response:
    """A sentence for the visitor."""
    kinds: list[tuple[type | UnionType, int]] = [(CheckpointError | NotHere, 404), (Full, 429), (AudioError, 422)]
    status = next((status for kind, status in kinds if isinstance(error, kind)), 400)
    return JSONResponse({"error": str(error)}, status_code=status)


async def _disk(request: Request, error: Exception) -> Response:
    """A sentence where the disk refuses."""
    reason = DISK_ERRORS.get(getattr(error, "errno", None) or 0)
    if reason is None:
        raise error
    return JSONResponse({"error": f"This could not be kept: {reason}."}, status_code=507)


async def _nothing_here(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, status_code=404)


async def _not_this_way(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "This address does not take such a request."}, status_code=405)


async def _fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "A fault of the program: its window says more."}, status_code=500)
