"""Sounds that visitors bring: taken in within limits, decoded in a process of their own, kept as clean FLAC files."""

import asyncio
import contextlib
import json
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from data_prep.worker_pool import run_tasks
from piano.foundation.errors import AudioError
from piano.foundation.made_files import put_in_place, write_json
from piano.foundation.screen_text import printable
from piano.play.decoding import DecodeTask, decode_upload, outcome
from piano.play.place import Limits
from piano.play.refusals import Full, NotHere

FOLDER = "uploads"
STALL_SECONDS = 20.0
"""Without a sign of life from the decoder."""
LONGEST_NAME = 80
PATIENCE_SECONDS = 30.0
"""For the next bytes of a sound that is coming: who stops sending keeps nobody else out."""
AT_ONCE = 2
"""Sounds that are decoded: more would take the processor from the music."""
UNFINISHED = (".coming-*", ".*.flac")
"""What a server that was killed leaves behind."""


class Upload(BaseModel):
    """A sound that a visitor brought."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{6,40}$")
    name: str = Field(max_length=LONGEST_NAME)
    seconds: float
    notes: list[str] = Field(default_factory=list)
    brought: float
    """Seconds since 1970."""


class Uploads:
    """The sounds that visitors brought, in a folder.

    Parameters
    ----------
    folder : Path
        Made when the first sound comes.
    limits : Limits
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self._lock = threading.Lock()
        self._coming = 0
        for pattern in UNFINISHED:
            for path in folder.glob(pattern):
                with contextlib.suppress(OSError):
                    path.unlink()

    def all(self) -> list[Upload]:
        """The newest first."""
        found = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                upload = Upload.model_validate(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, RecursionError, ValidationError):
                continue
            if path.stem == upload.id and self._sound(upload.id).is_file():
                found.append(upload)
        return sorted(found, key=lambda upload: upload.brought, reverse=True)

    def get(self, upload_id: str) -> Upload | None:
        """A sound by its id."""
        return next((upload for upload in self.all() if upload.id == upload_id), None)

    def path(self, upload_id: str) -> Path | None:
        """The file of a sound by its id."""
        return None if self.get(upload_id) is None else self._sound(upload_id)

    def claim(self) -> None:
        """Say that a sound is coming; raises Full where there are too many."""
        with self._lock:
            if len(self.all()) + self._coming >= self.limits.uploads:
                raise Full(f"{self.limits.uploads} sounds are here already. Remove one first.")
            self._coming += 1

    def release(self) -> None:
        """The sound that was coming is here, or will not come."""
        with self._lock:
            self._coming -= 1

    def temporary(self) -> Path:
        """A new name for bytes that are coming in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".coming-{secrets.token_hex(8)}"

    def take_in(self, source: Path, name: str) -> Upload:
        """Decode a file that came in, in a process of its own; raises AudioError. The file itself is removed."""
        upload_id = secrets.token_urlsafe(9)
        target = self.folder / f".{upload_id}.flac"
        try:
            seconds, notes = _decoded(DecodeTask(source, target, self.limits.upload_seconds), name)
            put_in_place(target, self._sound(upload_id))
        finally:
            for path in (source, target):
                path.unlink(missing_ok=True)
        upload = Upload(id=upload_id, name=name, seconds=round(seconds, 3), notes=notes, brought=time.time())
        write_json(self.folder / f"{upload_id}.json", upload.model_dump())
        return upload

    def remove(self, upload_id: str) -> None:
        """Forget a sound; what was made from it has its own copy. Raises AudioError."""
        if self.get(upload_id) is None:
            raise NotHere("there is no such sound.")
        (self.folder / f"{upload_id}.json").unlink(missing_ok=True)
        self._sound(upload_id).unlink(missing_ok=True)

    def _sound(self, upload_id: str) -> Path:
        return self.folder / f"{upload_id}.flac"


def _decoded(task: DecodeTask, name: str) -> tuple[float, list[str]]:
    """Seconds and notes of a file, decoded in a process of its own; raises AudioError in the visitor's words."""
    for event in run_tasks(decode_upload, [task], workers=1, stall_seconds=STALL_SECONDS):
        if event.is_finished:
            return outcome(event, task, name)
    raise AssertionError("every task ends")


def shown_name(header: str) -> str:
    """What a file is called on the page: its last name, without anything that steers."""
    return printable(unquote(header, errors="replace").replace("\\", "/").rpartition("/")[2])[:LONGEST_NAME] or "sound"


def routes(uploads: Uploads) -> list[Route]:
    """POST and GET /api/uploads, GET /api/uploads/ID/sound, DELETE /api/uploads/ID."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def bring(request: Request) -> Response:
        name = shown_name(request.headers.get("x-file-name", "sound"))
        most = uploads.limits.upload_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            return too_large(most)
        uploads.claim()
        temporary: Path | None = None
        try:
            temporary = uploads.temporary()
            if not await received(request, temporary, most):
                raise AudioError(f"{name} is empty.")
            async with turn:
                upload = await run_in_threadpool(uploads.take_in, temporary, name)
        except _TooLarge:
            return too_large(most)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except AudioError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            uploads.release()
        return JSONResponse(told(upload), status_code=201)

    async def listed(request: Request) -> Response:
        return JSONResponse([told(upload) for upload in await run_in_threadpool(uploads.all)])

    async def sound(request: Request) -> Response:
        path = await run_in_threadpool(uploads.path, request.path_params["id"])
        if path is None:
            raise NotHere("there is no such sound.")
        return FileResponse(path, media_type="audio/flac", headers={"cache-control": "private, no-cache"})

    async def remove(request: Request) -> Response:
        await run_in_threadpool(uploads.remove, request.path_params["id"])
        return Response(status_code=204)

    def told(upload: Upload) -> dict[str, Any]:
        return upload.model_dump(exclude={"brought"})

    return [
        Route("/api/uploads", bring, methods=["POST"]),
        Route("/api/uploads", listed),
        Route("/api/uploads/{id}/sound", sound),
        Route("/api/uploads/{id}", remove, methods=["DELETE"]),
    ]


class _TooLarge(Exception):
    """More came than may."""


async def received(request: Request, path: Path, most: int) -> int:
    """Write what comes into a new file; bytes of it. Raises AudioError for who stops sending, and _TooLarge."""
    taken, parts = 0, request.stream()
    with path.open("xb") as file:
        while True:
            try:
                part = await asyncio.wait_for(anext(parts, None), PATIENCE_SECONDS)
            except TimeoutError:
                raise AudioError("the sound stopped coming. Bring it again.") from None
            if part is None:
                return taken
            taken += len(part)
            if taken > most:
                raise _TooLarge
            file.write(part)


def too_large(most: int) -> Response:
    """The answer to what is larger than the limit."""
    sentence = f"At most {most >> 20} MB can be taken. Cut out the part that matters."
    return JSONResponse({"error": sentence}, status_code=413)
