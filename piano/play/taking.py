"""The library over HTTP: takes, what was heard of a radio, orders, blind listening."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.audio_writer import open_writer
from piano.foundation.errors import AudioError, ConfigError, MusiganError
from piano.foundation.made_files import publish_together, unfinished
from piano.foundation.randomness import keyed_generator
from piano.play.blind import REAL, SECONDS, Blind, Match, Side, Vote, composed
from piano.play.events import Events
from piano.play.events import routes as event_routes
from piano.play.library import Library, Take
from piano.play.makes import Makes, Order, Sound
from piano.play.place import Place
from piano.play.radio_work import Moved, RadioWork
from piano.play.requests import read_json
from piano.play.runs import routes as run_routes
from piano.play.uploads import FOLDER as UPLOADS
from piano.play.uploads import Uploads
from piano.play.uploads import routes as upload_routes

LEAST_KEPT_SECONDS = 1.0
MOST_KEPT_SECONDS = 300.0
TRIES = 20


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
        self._styles: dict[tuple[int, str], Any] = {}
        self._prompts: dict[tuple[int, str], Any] = {}

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
        from piano.generate_music import hear_prompt

        key = (id(composer), source)
        if key not in self._prompts:
            self._prompts[key] = hear_prompt(composer.generator, self._path(source))[1]
        return self._prompts[key]

    def style(self, composer: Any, source: str) -> Any:
        """Its style; raises AudioError."""
        from piano.generate_music import style_of_file

        key = (id(composer), source)
        if key not in self._styles:
            self._styles[key] = style_of_file(composer, self._path(source))
        return self._styles[key]

    def _path(self, source: str) -> Path:
        sound = self.find(source)
        if sound is None:
            raise AudioError("this sound is not here any more. Choose another.")
        return sound.path


def routes(place: Place) -> list[Route]:
    """Everything of the library, for the server; sets the place's sources."""
    events = Events()
    library = Library(place.library, changed=lambda: events.tell(takes_changed=True))
    uploads = Uploads(place.library / UPLOADS, place.limits)
    sounds = Sounds(uploads, library)
    place.sources = sounds
    makes = Makes(
        place.models,
        library,
        place.limits,
        find=sounds.find,
        changed=lambda: events.tell(makes=makes.told()),
    )
    return [
        *event_routes(events),
        *upload_routes(uploads),
        *take_routes(place, library, makes),
        *make_routes(place, makes, lambda: events.tell(makes=makes.told())),
        *blind_routes(place, Blind(place.library)),
        *run_routes(place.runs),
    ]


# --- takes ---------------------------------------------------------------------------------------------------------


def take_routes(place: Place, library: Library, makes: Makes) -> list[Route]:
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
            raise AudioError("this radio plays no more: what was heard of it is gone.")
        take = await run_in_threadpool(keep_heard, work, asked, library)
        return JSONResponse(told(take), status_code=201)

    return [
        Route("/api/takes", listed),
        Route("/api/takes", keep, methods=["POST"]),
        Route("/api/takes/{id}/sound", sound),
        Route("/api/takes/{id}/restore", restore, methods=["POST"]),
        Route("/api/takes/{id}", change, methods=["POST"]),
        Route("/api/takes/{id}", delete, methods=["DELETE"]),
    ]


def keep_heard(work: RadioWork, asked: Keep, library: Library) -> Take:
    """What was heard of a radio as a take, with what was asked of it and when."""
    pcm, moves = work.played(asked.begin, asked.end)
    rate = work.sample_rate
    if len(pcm) < LEAST_KEPT_SECONDS * rate:
        raise AudioError("there is less than a second of it to keep: let it play on.")
    pcm = pcm[-round(MOST_KEPT_SECONDS * rate) :]
    begin = asked.end - len(pcm)
    live = live_receipt(work, moves, begin, len(pcm))
    start = library.folder / f"radio_seed{live['seed']}_piece{live['piece']:04d}"
    library.folder.mkdir(parents=True, exist_ok=True)
    with unfinished(start.with_name(start.name + ".flac")) as temporary:
        comment = f"MusiGAN radio, model {work.name}: made by a machine"
        with open_writer(
            start.with_suffix(".flac"), rate, pcm.shape[1], metadata={"comment": comment}, into=temporary
        ) as writer:
            writer.write(pcm.T.astype(np.float32) / 32768.0)
        (path,) = publish_together({".flac": temporary}, start)
    name = f"Radio, seed {live['seed']}, piece {live['piece'] + 1}"
    return library.add(path, name=name, kind="radio", model=work.name, live=live)


def live_receipt(work: RadioWork, moves: list[Moved], begin: int, samples: int) -> dict[str, Any]:
    """What was asked of a radio until the end of what was kept."""
    rate = work.sample_rate
    last = moves[-1].wishes
    return {
        "kind": "played live",
        "model": work.name,
        "seed": last.seed,
        "piece": last.piece,
        "steps": work.composer.steps if last.steps == "auto" else last.steps,
        "phase_iterations": last.phase_iterations,
        "from_second": round(begin / rate, 3),
        "seconds": round(samples / rate, 3),
        "moves": [
            {"second": round(moved.sample / rate, 3)} | moved.wishes.model_dump(exclude_defaults=True)
            for moved in moves
        ],
        "again": "It is kept as it was heard. `musigan generate` makes the piece of a seed, without what was moved.",
    }


# --- orders --------------------------------------------------------------------------------------------------------


def make_routes(place: Place, makes: Makes, changed: Callable[[], None]) -> list[Route]:
    """POST and GET /api/makes, DELETE /api/makes/ID."""

    async def order(request: Request) -> Response:
        asked = await read_json(request, Order)
        make = await run_in_threadpool(makes.order, asked)
        place.scheduler.add(make)
        changed()
        return JSONResponse({"id": make.id}, status_code=202)

    async def listed(request: Request) -> Response:
        return JSONResponse(makes.told())

    async def cancel(request: Request) -> Response:
        place.scheduler.remove(makes.forget(request.path_params["id"]))
        changed()
        return Response(status_code=204)

    return [
        Route("/api/makes", order, methods=["POST"]),
        Route("/api/makes", listed),
        Route("/api/makes/{id}", cancel, methods=["DELETE"]),
    ]


# --- blind listening -----------------------------------------------------------------------------------------------


def blind_routes(place: Place, blind: Blind) -> list[Route]:
    """GET and POST /api/blind, pairs, sounds and votes."""

    def name_of(side: Side) -> str:
        if side.real == (side.model is not None):
            raise ConfigError("a side is a model or real music.")
        if side.real and place.real is None:
            raise ConfigError("there is no real music here: start the player with `--real FOLDER`.")
        if side.model is not None and side.model not in place.models.folders:
            raise ConfigError("there is no such model here.")
        return REAL if side.real else str(side.model)

    async def begin(request: Request) -> Response:
        asked = await read_json(request, Match)
        return JSONResponse({"id": blind.open(name_of(asked.a), name_of(asked.b))}, status_code=201)

    async def clip(name: str, match: str, number: int, other: str) -> tuple[np.ndarray, int]:
        if name == REAL:
            rate = (await run_in_threadpool(place.models.get, other)).generator.sample_rate
            channels = place.models.get(other).generator.sound_channels
            return await run_in_threadpool(real_clip, place.real, match, number, rate, channels), rate
        composer = await run_in_threadpool(place.models.get, name)
        seed = int(keyed_generator("blind", match).initial_seed() % 2**31)
        return await composed(place.scheduler, composer, seed, number), composer.generator.sample_rate

    async def pair(request: Request) -> Response:
        match = request.path_params["id"]
        a, b = blind.sides(match)
        number = blind.next_number(match)
        first, rate_a = await clip(a, match, number, b)
        second, rate_b = await clip(b, match, number, a)
        name, made = await run_in_threadpool(blind.add_pair, match, first, second, (rate_a, rate_b))
        address = "/api/blind/sounds/"
        return JSONResponse({"pair": name, "left": f"{address}{made.left}", "right": f"{address}{made.right}"})

    async def sound(request: Request) -> Response:
        data = blind.sound(request.path_params["sound"])
        return Response(data, media_type="audio/wav", headers={"cache-control": "no-store"})

    async def vote(request: Request) -> Response:
        asked = await read_json(request, Vote)
        try:
            left, right = await run_in_threadpool(blind.vote, request.path_params["id"], asked)
        except MusiganError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse({"left": left, "right": right})

    async def tallies(request: Request) -> Response:
        return JSONResponse([found._asdict() for found in await run_in_threadpool(blind.tallies)])

    return [
        Route("/api/blind", tallies),
        Route("/api/blind", begin, methods=["POST"]),
        Route("/api/blind/{id}/pair", pair),
        Route("/api/blind/sounds/{sound}", sound),
        Route("/api/blind/{id}/votes", vote, methods=["POST"]),
    ]


def real_clip(folder: Path | None, match: str, number: int, rate: int, channels: int) -> np.ndarray:
    """A clip of real music (channels, samples) that sounds, from a random file and place; raises AudioError."""
    import torch

    files = find_audio_files(folder) if folder is not None and folder.is_dir() else []
    if not files:
        raise AudioError("there is no real music to hear: its folder is empty, or has gone.")
    random = keyed_generator("blind", match, number)
    for _ in range(TRIES):
        path = files[int(torch.randint(len(files), (1,), generator=random))]
        try:
            whole = read_audio(path, sample_rate=rate, channels=channels, max_seconds=300.0)
        except AudioError:
            continue
        samples = round(SECONDS * rate)
        last = whole.shape[1] - samples
        if last < 0:
            continue
        begin = int(torch.randint(last + 1, (1,), generator=random))
        clip = whole[:, begin : begin + samples]
        if float(np.sqrt(np.square(clip).mean())) > 1e-3:
            return clip
    raise AudioError(f"no clip of {SECONDS:g} seconds that sounds was found in the real music.")
