"""The radio over a WebSocket: controls come in as JSON, sound goes out as 16-bit samples with their place in time.

From the page: `start`, `move`, `heard`, `stop`. To the page: `format`, `void`, `status`, `error`, `refused`, and binary
messages of eight bytes (the index of the first sample, float64, little-endian) and interleaved samples.
"""

import asyncio
import contextlib
import json
import math
import secrets
import struct
import time
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket

from piano.foundation.errors import MusiganError
from piano.play.access import GONE, refuse
from piano.play.place import Place
from piano.play.programs import read_wishes
from piano.play.radio_work import Failed, RadioWork, Sound, Void

GOING_AWAY, POLICY = 1001, 1008
STATUS_SECONDS = 1.0
ENOUGH_SECONDS = 4.0
"""Of music that everybody has ahead before one more listener is let in."""
JOIN_SECONDS = 10.0
"""That a new listener waits for it, before it is told that there is no room."""
MOST_MESSAGE = 4096
"""Characters of a message from a page."""
MOST_SAMPLE = 2**53
BLOCK_SECONDS = 0.25
"""Of sound in one message: the first of it can be heard before the last is sent."""
LINE_SECONDS = 30.0
"""Of sound that waits to be sent: who reads slower than that is let go."""


async def radio(socket: WebSocket) -> None:
    """One listener, from the first word to the last; the socket is accepted already."""
    listener = _Listener(socket, socket.app.state.place)
    try:
        await listener.serve()
    finally:
        listener.leave()


class _Listener:
    """A socket and its radio."""

    def __init__(self, socket: WebSocket, place: Place) -> None:
        self.socket = socket
        self.place = place
        self.work: RadioWork | None = None
        self.id = ""
        self._model = ""
        self._loop = asyncio.get_running_loop()
        self._line: asyncio.Queue[Sound | Void | Failed | str] = asyncio.Queue()
        self._waiting_samples = 0
        self._last_word = time.monotonic()

    async def serve(self) -> None:
        """Until either side goes."""
        tasks = [asyncio.create_task(part()) for part in (self._listen, self._send, self._report)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with contextlib.suppress(*GONE):
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(*GONE):
                await self.socket.close()

    def leave(self) -> None:
        """Nothing more is composed for this listener."""
        if self.work is not None:
            self.place.scheduler.remove(self.work)
            self.place.radios.pop(self.id, None)
            self.work = None

    # --- what comes in ---------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._last_word = time.monotonic()
            try:
                told = read_message(message)
                if not await self._obey(told):
                    return
            except MusiganError as error:
                await self._say({"type": "error", "reason": str(error)})

    async def _obey(self, told: dict[str, Any]) -> bool:
        """Do what a message asks for; False: the listener is done."""
        kind = told.get("type")
        if kind == "start":
            return await self._start(told)
        if kind == "stop":
            self.leave()
        elif kind not in ("heard", "move"):
            raise MusiganError("type must be start, move, heard or stop.")
        elif self.work is None:
            raise MusiganError("no radio plays here yet: send start first.")
        elif kind == "heard":
            self.work.hear(_sample(told, "sample"))
            self.work.underruns = _sample(told, "underruns", default=self.work.underruns)
            self.place.scheduler.wake()
        else:
            wishes = read_wishes(told.get("program", {}), self.work.wished)
            if wishes.prompt or wishes.between:
                await run_in_threadpool(self.socket.app.state.library.open)
                await run_in_threadpool(self.work.program_of, wishes)  # heard here: composing need not wait for it
            self.work.move(wishes, _sample(told, "at"), _sample(told, "id", default=0))
            self.place.scheduler.wake()
        return True

    async def _start(self, told: dict[str, Any]) -> bool:
        place, name = self.place, told.get("model") or self.place.models.default
        wishes = read_wishes(told.get("program", {}))
        if not isinstance(name, str):
            raise MusiganError("model must be a name.")
        self.leave()
        composer = await run_in_threadpool(place.models.get, name)
        if wishes.prompt or wishes.between:
            await run_in_threadpool(self.socket.app.state.library.open)
        while place.radios and place.scheduler.speed is None:  # soon: somebody's music is being made
            await asyncio.sleep(0.05)
        if not await self._may_join():
            await refuse(self.socket, full_text(len(place.radios), place.scheduler.capacity))
            return False
        self.id = secrets.token_urlsafe(9)
        work = RadioWork(
            composer,
            wishes,
            newest=lambda: place.models.get(name),
            name=name,
            sources=lambda: place.sources,
            limits=place.limits,
            tell=self._tell,
        )
        self.work, self._model = work, name
        while not self._line.empty():  # of the radio before
            self._line.get_nowait()
        self._waiting_samples = 0
        place.radios[self.id] = work
        await self._say(
            {
                "type": "format",
                "radio": self.id,
                "model": name,
                "sample_rate": work.sample_rate,
                "channels": work.channels,
            }
        )
        place.scheduler.add(work)
        return True

    async def _may_join(self) -> bool:
        """Whether one more listener fits; waits a while until those who are here have enough not to hear it come.

        Who begins has nothing yet and is served first. Where several begin at once, each waits for the one before.
        """
        place, until = self.place, time.monotonic() + JOIN_SECONDS
        while place.scheduler.fits(len(place.radios) + 1):
            if all(radio.ahead_seconds >= ENOUGH_SECONDS for radio in place.radios.values()):
                return True
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(0.1)
        return False

    # --- what goes out ---------------------------------------------------------------------------------------------

    def _tell(self, what: Sound | Void | Failed | str) -> None:
        """Put into the line what the composing thread has made."""
        work = self.work

        def put() -> None:
            if self.work is not work or work is None:
                return  # of a radio that was left meanwhile
            if isinstance(what, Sound):
                self._waiting_samples += len(what.pcm)
                work.is_blocked = self._waiting_samples > LINE_SECONDS * work.sample_rate
            self._line.put_nowait(what)

        with contextlib.suppress(RuntimeError):  # the server ends
            self._loop.call_soon_threadsafe(put)

    async def _send(self) -> None:
        while True:
            what = await self._line.get()
            if isinstance(what, Failed):
                self.leave()  # nothing is composed any more, so it is no listener either
                await refuse(self.socket, what.reason)
                return
            if isinstance(what, str):
                await self._say({"type": "error", "reason": what})
            elif isinstance(what, Void):
                await self._say({"type": "void", "id": what.id, "from": what.sample})
            else:
                await self._send_sound(what)

    async def _send_sound(self, sound: Sound) -> None:
        work = self.work
        if work is None:
            return
        block = round(BLOCK_SECONDS * work.sample_rate)
        for begin in range(0, len(sound.pcm), block):
            part = sound.pcm[begin : begin + block]
            await self.socket.send_bytes(struct.pack("<d", float(sound.sample + begin)) + part.astype("<i2").tobytes())
        self._waiting_samples -= len(sound.pcm)
        work.is_blocked = False

    async def _report(self) -> None:
        """Once a second how things stand; a listener who says nothing for long is let go."""
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            place, work = self.place, self.work
            if time.monotonic() - self._last_word > place.limits.silent_seconds:
                await self.socket.close(code=GOING_AWAY, reason="Nothing was heard from this page for a while.")
                return
            if work is None:
                continue
            if work.is_blocked:
                await self.socket.close(code=POLICY, reason="The sound is not read as fast as it plays.")
                return
            speed = place.scheduler.speed
            await self._say(
                {
                    "type": "status",
                    "ahead_seconds": round(work.ahead_seconds, 2),
                    "speed": None if speed is None else round(speed, 1),
                    "listeners": len(place.radios),
                    "capacity": place.scheduler.capacity,
                }
            )

    async def _say(self, told: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(told))


def full_text(listeners: int, capacity: int) -> str:
    """Why one more listener is too many."""
    who = "one listener is" if listeners == 1 else f"{listeners} listeners are"
    return (
        f"This computer composes for {capacity} at a time, and {who} here already: with one more all would stutter. "
        "Try again when somebody has left."
    )


def read_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a page said; raises MusiganError for what is no message."""
    text = message.get("text")
    if text is None:
        raise MusiganError("a message is text, and this one is binary.")
    if len(text) > MOST_MESSAGE:
        raise MusiganError(f"a message has at most {MOST_MESSAGE} characters.")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise MusiganError("a message is JSON, and this one is not.") from None
    if not isinstance(told, dict):
        raise MusiganError("a message is an object with a type.")
    return told


def _sample(told: dict[str, Any], name: str, *, default: int | None = None) -> int:
    """A count of samples in a message."""
    value = told.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MusiganError(f"{name} must be a number.")
    if not 0 <= value <= MOST_SAMPLE:
        raise MusiganError(f"{name} must be from 0 to {MOST_SAMPLE}.")
    return int(value)
