"""The playing server: a static page, a radio over a WebSocket, WAV streams, and what there is to know."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from piano.foundation.errors import CheckpointError, MusiganError
from piano.play.access import Guard
from piano.play.place import Place

PAGE = Path(__file__).parent / "page"


def create_app(place: Place, *, version: str = "", further: list[Route] | None = None) -> Starlette:
    """The application for a place.

    Parameters
    ----------
    place : Place
    version : str
        Of the project, for /api/health.
    further : list of Route, optional
        Of the library, blind listening and runs.
    """

    async def stream(request: Request) -> Response:
        from piano.play.wav_stream import stream_wav  # with it comes PyTorch, which the page need not wait for

        return await stream_wav(request)

    async def listen(socket: Any) -> None:
        from piano.play.radio_socket import radio

        await radio(socket)

    routes = [
        Route("/", _page),
        Route("/api/health", _health),
        Route("/api/models", _models),
        Route("/api/models/{name}/styles", _styles),
        Route("/api/stream.wav", stream),
        WebSocketRoute("/api/radio", listen),
        *(further or []),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=place.hosts, token=place.token)],
        exception_handlers={MusiganError: _told, 404: _nothing_here, 405: _not_this_way, 500: _fault},
        lifespan=_lifespan,
    )
    app.state.place = place
    app.state.version = version
    app.state.sockets = set()
    app.state.begun = time.monotonic()
    return app


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
    return JSONResponse({"error": str(error)}, status_code=404 if isinstance(error, CheckpointError) else 400)


async def _nothing_here(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, status_code=404)


async def _not_this_way(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "This address does not take such a request."}, status_code=405)


async def _fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "A fault of the program: its window says more."}, status_code=500)
