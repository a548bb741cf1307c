"""The library over HTTP: takes, what was heard of a radio, orders, blind listening."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from piano.foundation.errors import AudioError
from piano.generate_music import hear_prompt, style_of_file
from piano.play.blind import routes as blind_routes
from piano.play.events import Events
from piano.play.events import routes as event_routes
from piano.play.library import Library, Take
from piano.play.makes import Makes
from piano.play.makes import routes as make_routes
from piano.play.orders import Sound
from piano.play.place import Place
from piano.play.radio_take import keep_heard
from piano.play.refusals import NotHere, called
from piano.play.requests import read_json
from piano.play.runs import routes as run_routes
from piano.play.uploads import FOLDER as UPLOADS
from piano.play.uploads import Uploads
from piano.play.uploads import routes as upload_routes

REMEMBERED = 16
"""Sounds as a model hears them: two minutes of stereo take 40 MB."""


class Change(BaseModel):
    """What may be changed of a take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, min_length=1, max_length=80)
    is_favourite: bool | None = None


class Keep(BaseModel):
    """What was heard of a radio."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    radio: str = Field(max_length=40)
    begin: int = Field(alias="from", ge=0, le=2**53)
    end: int = Field(alias="to", ge=0, le=2**53)


class Sounds:
    """All sounds of a visitor by their ids, as files and as a model hears them: see `place.Sources`."""

    def __init__(self, uploads: Uploads, library: Library) -> None:
        self._uploads, self._library = uploads, library
        self._heard: OrderedDict[tuple[str, int, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, source: str) -> Sound | None:
        """A sound that was brought, or a take."""
        if (upload := self._uploads.get(source)) is not None and (path := self._uploads.path(source)) is not None:
            return Sound(path, upload.name)
        try:
            return Sound(self._library.path(source), self._library.get(source).name)
        except AudioError:
            return None

    def prompt(self, composer: Any, source: str) -> Any:
        """A waveform (channels, samples) that can be continued; raises AudioError."""
        return self._remembered("prompt", composer, source, lambda path: hear_prompt(composer.generator, path)[1])

    def style(self, composer: Any, source: str) -> Any:
        """Its style; raises AudioError."""
        return self._remembered("style", composer, source, lambda path: style_of_file(composer, path))

    def _remembered(self, what: str, composer: Any, source: str, hear: Callable[[Path], Any]) -> Any:
        """What a model hears of a sound; the last few are not worked out again."""
        key = (what, id(composer), source)
        with self._lock:
            if key in self._heard:
                self._heard.move_to_end(key)
                return self._heard[key]
        sound = self.find(source)
        if sound is None:
            raise NotHere("this sound is not here any more. Choose another.")
        with called(sound.path, sound.name):
            heard = hear(sound.path)
        with self._lock:
            self._heard[key] = heard
            while len(self._heard) > REMEMBERED:
                self._heard.popitem(last=False)
        return heard


def routes(place: Place) -> list[Route]:
    """Everything of the library, for the server; sets the place's sources."""
    events = Events(place.limits.sockets)
    library = Library(place.library, changed=lambda: events.tell(takes_changed=True))
    uploads = Uploads(place.library / UPLOADS, place.limits)
    sounds = Sounds(uploads, library)
    place.sources = sounds
    makes = Makes(
        place.models,
        library,
        place.limits,
        place.scheduler,
        find=sounds.find,
        changed=lambda told: events.tell(makes=told),
    )
    return [
        *event_routes(events),
        *upload_routes(uploads),
        *take_routes(place, library),
        *make_routes(makes),
        *blind_routes(place),
        *run_routes(place, events),
    ]


# --- takes ---------------------------------------------------------------------------------------------------------


def take_routes(place: Place, library: Library) -> list[Route]:
    """GET and POST /api/takes, and what can be done with one."""

    def told(take: Take) -> dict[str, Any]:
        return take.model_dump(exclude={"file", "live"}) | {"receipt": library.receipt(take)}

    async def listed(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(lambda: [told(take) for take in library.takes()]))

    async def sound(request: Request) -> Response:
        take = await run_in_threadpool(library.get, request.path_params["id"])
        name = re.sub(r'[\\/:*?"<>|]', "_", take.name) + Path(take.file).suffix
        headers = {
            "content-disposition": f"inline; filename*=utf-8''{quote(name)}",
            "cache-control": "private, no-cache",
        }
        kind = {".flac": "audio/flac", ".wav": "audio/wav"}.get(Path(take.file).suffix, "application/octet-stream")
        return FileResponse(library.folder / take.file, media_type=kind, headers=headers)

    async def change(request: Request) -> Response:
        asked = await read_json(request, Change)
        changes = asked.model_dump(exclude_none=True)
        return JSONResponse(told(await run_in_threadpool(lambda: library.change(request.path_params["id"], **changes))))

    async def delete(request: Request) -> Response:
        await run_in_threadpool(library.delete, request.path_params["id"])
        return Response(status_code=204)

    async def restore(request: Request) -> Response:
        await run_in_threadpool(library.restore, request.path_params["id"])
        return Response(status_code=204)

    async def keep(request: Request) -> Response:
        asked = await read_json(request, Keep)
        work = place.radios.get(asked.radio)
        if work is None:
            raise NotHere("this radio plays no more: what was heard of it is gone.")
        take = await run_in_threadpool(
            lambda: keep_heard(work, asked.begin, asked.end, library=library, models=place.models)
        )
        return JSONResponse(told(take), status_code=201)

    return [
        Route("/api/takes", listed),
        Route("/api/takes", keep, methods=["POST"]),
        Route("/api/takes/{id}/sound", sound),
        Route("/api/takes/{id}/restore", restore, methods=["POST"]),
        Route("/api/takes/{id}", change, methods=["POST"]),
        Route("/api/takes/{id}", delete, methods=["DELETE"]),
    ]
