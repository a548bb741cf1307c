"""Blind listening: two sounds that do not say which is which, votes that count only after listening, a tally kept.

Both sounds are as long and as loud as each other (ITU-R BS.1770), for what is louder wins. Which side is which is
drawn from a secret key for each pair. Sessions and votes are lines of a file that is only ever added to.
"""

import asyncio
import contextlib
import json
import math
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from piano.foundation.errors import ConfigError
from piano.foundation.made_files import append_line
from piano.foundation.randomness import keyed_generator
from piano.play.blind_clips import as_wavs, composed, real_clip
from piano.play.place import Place
from piano.play.refusals import NotHere, called
from piano.play.requests import read_json

NAME = "blind.jsonl"
LEAST_HEARD = 3.0
"""Seconds of each sound before a vote counts."""
MOST_PAIRS = 32
"""Whose sounds are kept."""
AT_ONCE = 2
"""Pairs that are made ready."""
WIDTH = 1.959964
"""Of a 95 % interval, in standard deviations."""
REAL = "real music"


class Side(BaseModel):
    """A model, or real music."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, max_length=200)
    real: bool = False


class Match(BaseModel):
    """What is held against what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    a: Side
    b: Side


class Vote(BaseModel):
    """What somebody heard."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    pair: str = Field(max_length=40)
    choice: Literal["left", "right", "same"]
    heard_left: float = Field(ge=0.0, le=86_400.0)
    heard_right: float = Field(ge=0.0, le=86_400.0)


class Session(BaseModel):
    """A comparison: two names, and the key from which all its draws come."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(max_length=40)
    a: str = Field(max_length=200)
    b: str = Field(max_length=200)
    epochs: tuple[int | None, int | None] = (None, None)
    """Of the models."""
    key: str = Field(max_length=64)

    @property
    def sides(self) -> tuple[str, str]:
        """Both, with the epochs of models."""
        named = zip((self.a, self.b), self.epochs, strict=True)
        first, second = (name if epoch is None else f"{name} (epoch {epoch})" for name, epoch in named)
        return first, second

    def random(self, *what: int | str) -> torch.Generator:
        """Random numbers for something of this comparison, which nobody can guess from what a page is told."""
        return keyed_generator("blind", self.key, *what)

    def left_is_a(self, number: int) -> bool:
        """Whether the first one is on the left in a pair."""
        return bool(torch.randint(2, (1,), generator=self.random("side", number)))


class Pair(NamedTuple):
    """Two sounds of a session."""

    session: str
    number: int
    left: str
    """Ids of the sounds, which do not tell."""
    right: str


class Tally(NamedTuple):
    """How a comparison stands."""

    a: str
    b: str
    wins_a: int
    wins_b: int
    same: int
    share: float | None
    """Of the decided votes for a."""
    low: float
    high: float
    sentence: str


class Blind:
    """Sessions, pairs and votes.

    Parameters
    ----------
    folder : Path
        Where sessions and votes are kept.
    sounds : Path
        Of the sounds that are being compared; they need not outlive the server.
    """

    def __init__(self, folder: Path, sounds: Path) -> None:
        self.folder, self._sounds = folder, sounds
        self._lock = threading.Lock()
        self._pairs: dict[str, Pair] = {}

    def open(self, a: str, b: str, epochs: tuple[int | None, int | None] = (None, None)) -> str:
        """Begin a comparison; its id. Raises ConfigError where there is nothing to compare."""
        session = Session(id=secrets.token_urlsafe(9), a=a, b=b, epochs=epochs, key=secrets.token_hex(16))
        if session.sides[0] == session.sides[1]:
            raise ConfigError("hold two different things against each other.")
        self._append({"event": "session", **session.model_dump()})
        return session.id

    def session(self, session_id: str) -> Session:
        """A comparison that was begun, now or before the server was started; raises NotHere."""
        for line in self._lines():
            if line.get("event") == "session" and line.get("id") == session_id:
                with contextlib.suppress(ValueError):
                    return Session.model_validate(line)
        raise NotHere("this comparison is not known. Begin again.")

    def next_number(self, session: Session) -> int:
        """Of the next pair of a session: no pair comes twice."""
        with self._lock:
            numbers = [
                line["number"]
                for line in self._lines()
                if line.get("event") == "pair"
                and line.get("session") == session.id
                and isinstance(line.get("number"), int)
            ]
            number = max(numbers, default=-1) + 1
            self._write({"event": "pair", "session": session.id, "number": number})
        return number

    def add_pair(
        self, session: Session, number: int, clips: tuple[NDArray, NDArray], rates: tuple[int, int]
    ) -> tuple[str, Pair]:
        """A pair of sounds (channels, samples), equally loud, on sides that are drawn; its id."""
        files = as_wavs(clips, rates)
        if not session.left_is_a(number):
            files.reverse()
        names = [secrets.token_urlsafe(9) for _ in files]
        for name, data in zip(names, files, strict=True):
            path = self._sounds / f"{name}.wav"
            path.write_bytes(data)
            os.utime(path, (0, 0))  # no header may tell which was made first
        pair, name = Pair(session.id, number, *names), secrets.token_urlsafe(9)
        with self._lock:
            self._pairs[name] = pair
            gone = [self._pairs.pop(next(iter(self._pairs))) for _ in range(len(self._pairs) - MOST_PAIRS)]
        for old in gone:
            self._forget(old)
        return name, pair

    def sound(self, name: str) -> Path:
        """A WAV file by its id; raises NotHere."""
        with self._lock:
            is_known = any(name in (pair.left, pair.right) for pair in self._pairs.values())
        if not is_known:
            raise NotHere("this sound is not here any more. Ask for the next pair.")
        return self._sounds / f"{name}.wav"

    def vote(self, session_id: str, vote: Vote) -> tuple[str, str]:
        """Count a vote; what was left, and what was right.

        Raises
        ------
        ConfigError
            Too little was heard.
        NotHere
            The pair is not known, or had its vote.
        """
        session = self.session(session_id)
        if min(vote.heard_left, vote.heard_right) < LEAST_HEARD:
            raise ConfigError(f"hear at least {LEAST_HEARD:g} seconds of both first.")
        with self._lock:
            pair = self._pairs.get(vote.pair)
            if pair is None or pair.session != session_id:
                raise NotHere("this pair had its vote, or is not here any more. Ask for the next one.")
            left_is_a = session.left_is_a(pair.number)
            chosen = "same" if vote.choice == "same" else "a" if (vote.choice == "left") == left_is_a else "b"
            heard = [round(seconds, 1) for seconds in (vote.heard_left, vote.heard_right)]
            line = {"event": "vote", "session": session_id, "number": pair.number, "chosen": chosen, "heard": heard}
            self._write(line | {"a": session.sides[0], "b": session.sides[1], "when": round(time.time())})
            del self._pairs[vote.pair]
        self._forget(pair)
        a, b = session.sides
        return (a, b) if left_is_a else (b, a)

    def tallies(self) -> list[Tally]:
        """All that was ever compared, from the file."""
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for line in self._lines():
            a, b, chosen = (line.get(name) for name in ("a", "b", "chosen"))
            if line.get("event") != "vote" or chosen not in ("a", "b", "same"):
                continue
            a, b = str(a)[:250], str(b)[:250]
            if (b, a) in counts:  # the same comparison the other way round
                a, b, chosen = b, a, {"a": "b", "b": "a"}.get(chosen, chosen)
            count = counts.setdefault((a, b), dict.fromkeys(("a", "b", "same"), 0))
            count[chosen] += 1
        return [tally(a, b, count["a"], count["b"], count["same"]) for (a, b), count in counts.items()]

    def _forget(self, pair: Pair) -> None:
        for name in (pair.left, pair.right):
            with contextlib.suppress(OSError):  # Windows: it is being sent
                (self._sounds / f"{name}.wav").unlink(missing_ok=True)

    def _lines(self) -> Iterator[dict[str, Any]]:
        """What was written so far; a line that was cut off by a power cut is passed over."""
        try:
            text = (self.folder / NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        append_line(self.folder / NAME, json.dumps(line).encode())


def tally(a: str, b: str, wins_a: int, wins_b: int, same: int) -> Tally:
    """How a comparison stands, in numbers and a sentence."""
    decided = wins_a + wins_b
    low, high = wilson(wins_a, decided)
    share = wins_a / decided if decided else None
    if share is None:
        sentence = f"Cannot tell yet: no vote has chosen between {a} and {b}."
    elif low <= 0.5 <= high:
        sentence = (
            f"Cannot tell yet: {a} was preferred to {b} in {wins_a} of {decided} votes "
            f"({share:.0%}; 95% interval {low:.0%} to {high:.0%})."
        )
    else:
        better, worse, wins = (a, b, wins_a) if low > 0.5 else (b, a, wins_b)
        ends = (low, high) if low > 0.5 else (1.0 - high, 1.0 - low)
        sentence = (
            f"{better} sounds better than {worse}: it was preferred in {wins} of {decided} votes "
            f"({wins / decided:.0%}; 95% interval {ends[0]:.0%} to {ends[1]:.0%})."
        )
    return Tally(a, b, wins_a, wins_b, same, share, round(low, 4), round(high, 4), sentence)


def wilson(wins: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): from 0 to 1 where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, width = wins / count, WIDTH**2 / count
    middle = (share + width / 2) / (1 + width)
    half = WIDTH / (1 + width) * math.sqrt(share * (1 - share) / count + width / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def routes(place: Place) -> list[Route]:
    """GET and POST /api/blind, pairs, sounds and votes."""
    sounds = tempfile.TemporaryDirectory(prefix="musigan-blind-", ignore_cleanup_errors=True)
    place.closers.append(sounds.cleanup)
    blind, turn = Blind(place.library, Path(sounds.name)), asyncio.Semaphore(AT_ONCE)

    async def begin(request: Request) -> Response:
        asked = await read_json(request, Match)
        names = [name_of(place, side) for side in (asked.a, asked.b)]
        first, second = [
            None if name == REAL else (await run_in_threadpool(place.models.content, name))["epoch"] for name in names
        ]
        session = await run_in_threadpool(blind.open, names[0], names[1], (first, second))
        return JSONResponse({"id": session}, status_code=201)

    async def pair(request: Request) -> Response:
        session = await run_in_threadpool(blind.session, request.path_params["id"])
        async with turn:
            number = await run_in_threadpool(blind.next_number, session)
            first, rate_a = await clip_of(place, session, number, session.a, session.b)
            second, rate_b = await clip_of(place, session, number, session.b, session.a)
            name, made = await run_in_threadpool(blind.add_pair, session, number, (first, second), (rate_a, rate_b))
        address = "/api/blind/sounds/"
        return JSONResponse({"pair": name, "left": f"{address}{made.left}", "right": f"{address}{made.right}"})

    async def sound(request: Request) -> Response:
        path = blind.sound(request.path_params["sound"])
        return FileResponse(path, media_type="audio/wav", headers={"cache-control": "no-store"})

    async def vote(request: Request) -> Response:
        asked = await read_json(request, Vote)
        try:
            left, right = await run_in_threadpool(blind.vote, request.path_params["id"], asked)
        except (NotHere, ConfigError) as error:
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


def name_of(place: Place, side: Side) -> str:
    """What a side is called; raises ConfigError where there is no such thing here."""
    if side.real == (side.model is not None):
        raise ConfigError("a side is a model or real music.")
    if side.real and place.real is None:
        raise ConfigError("there is no real music here: start the player with `--real FOLDER`.")
    if side.model is not None and side.model not in place.models.folders:
        raise ConfigError("there is no such model here.")
    return REAL if side.real else str(side.model)


async def clip_of(place: Place, session: Session, number: int, name: str, other: str) -> tuple[NDArray, int]:
    """A clip (channels, samples) of one side of a session, and its sample rate."""
    if name != REAL:
        composer = await run_in_threadpool(place.models.get, name)
        seed = int(torch.randint(2**31, (1,), generator=session.random("music")))
        return await composed(place.scheduler, composer, seed, number), composer.generator.sample_rate
    if place.real is None:
        raise ConfigError("there is no real music here: start the player with `--real FOLDER`.")
    generator = (await run_in_threadpool(place.models.get, other)).generator
    form = {"sample_rate": generator.sample_rate, "channels": generator.sound_channels}
    random = session.random("real", number)
    with called(place.real, "the real music"):
        return await run_in_threadpool(real_clip, place.real, random, **form), generator.sample_rate
