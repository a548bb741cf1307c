"""Blind listening: two sounds that do not say which is which, votes that count only after listening, a tally kept.

Both sounds are as long and as loud as each other (ITU-R BS.1770), for what is louder wins. Which side is which is
drawn anew for each pair. Votes are lines of a file that is only ever added to.
"""

import asyncio
import json
import math
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
from pydantic import BaseModel, ConfigDict, Field

from piano.foundation.errors import AudioError, ConfigError

NAME = "blind.jsonl"
SECONDS = 8.0
LEAST_HEARD = 3.0
"""Seconds of each sound before a vote counts."""
LUFS = -20.0
CEILING = 0.97
MOST_PAIRS = 60
"""Sounds that are kept in memory, two a pair."""
WIDTH = 1.959964
"""Of a 95 % interval, in standard deviations."""
FEWEST = 4
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


class Pair(NamedTuple):
    """Two sounds of a match."""

    match: str
    left_is_a: bool
    sounds: dict[str, bytes]
    """WAV files by ids that do not tell."""
    left: str
    right: str


class Tally(NamedTuple):
    """How a match stands."""

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
    """Matches, pairs and votes.

    Parameters
    ----------
    folder : Path
        Where votes are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._matches: dict[str, tuple[str, str]] = {}
        self._pairs: dict[str, Pair] = {}
        self._numbers: dict[str, int] = {}

    def open(self, a: str, b: str) -> str:
        """Begin a match; its id. Raises ConfigError where there is nothing to compare."""
        if a == b:
            raise ConfigError("hold two different things against each other.")
        match = secrets.token_urlsafe(9)
        with self._lock:
            self._matches[match] = (a, b)
        return match

    def sides(self, match: str) -> tuple[str, str]:
        """What is held against what; raises AudioError."""
        if match not in self._matches:
            raise AudioError("this comparison is not known any more. Begin again.")
        return self._matches[match]

    def next_number(self, match: str) -> int:
        """Of the next pair of a match."""
        with self._lock:
            self._numbers[match] = self._numbers.get(match, -1) + 1
            return self._numbers[match]

    def add_pair(self, match: str, a: np.ndarray, b: np.ndarray, sample_rates: tuple[int, int]) -> tuple[str, Pair]:
        """A pair of sounds (channels, samples), equally loud, on sides that are drawn; its id."""
        sounds = [as_wav(sound, rate) for sound, rate in zip((a, b), sample_rates, strict=True)]
        left_is_a = secrets.randbelow(2) == 0
        names = [secrets.token_urlsafe(9) for _ in range(2)]
        left, right = sounds if left_is_a else sounds[::-1]
        pair = Pair(match, left_is_a, {names[0]: left, names[1]: right}, *names)
        name = secrets.token_urlsafe(9)
        with self._lock:
            while len(self._pairs) >= MOST_PAIRS:
                self._pairs.pop(next(iter(self._pairs)))
            self._pairs[name] = pair
        return name, pair

    def sound(self, name: str) -> bytes:
        """A WAV file by its id; raises AudioError."""
        with self._lock:
            found = next((pair.sounds[name] for pair in self._pairs.values() if name in pair.sounds), None)
        if found is None:
            raise AudioError("this sound is not here any more. Ask for the next pair.")
        return found

    def vote(self, match: str, vote: Vote) -> tuple[str, str]:
        """Count a vote; what was left, and what was right.

        Raises
        ------
        ConfigError
            Too little was heard.
        AudioError
            The pair is not known, or had its vote.
        """
        a, b = self.sides(match)
        if min(vote.heard_left, vote.heard_right) < LEAST_HEARD:
            raise ConfigError(f"hear at least {LEAST_HEARD:g} seconds of both first.")
        with self._lock:
            pair = self._pairs.get(vote.pair)
            if pair is None or pair.match != match:
                raise AudioError("this pair had its vote, or is not here any more. Ask for the next one.")
            del self._pairs[vote.pair]
            chosen = "same" if vote.choice == "same" else "a" if (vote.choice == "left") == pair.left_is_a else "b"
            line = {
                "a": a,
                "b": b,
                "chosen": chosen,
                "heard": [round(vote.heard_left, 1), round(vote.heard_right, 1)],
                "when": round(time.time()),
            }
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return (a, b) if pair.left_is_a else (b, a)

    def tallies(self) -> list[Tally]:
        """All that was ever compared, from the file."""
        counts: dict[tuple[str, str], dict[str, int]] = {}
        try:
            lines = (self.folder / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                vote = json.loads(line)
                a, b, chosen = str(vote["a"])[:200], str(vote["b"])[:200], vote["chosen"]
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if chosen in ("a", "b", "same"):
                if (b, a) in counts:  # the same comparison the other way round
                    a, b, chosen = b, a, {"a": "b", "b": "a"}.get(chosen, chosen)
                count = counts.setdefault((a, b), dict.fromkeys(("a", "b", "same"), 0))
                count[chosen] += 1
        return [tally(a, b, count["a"], count["b"], count["same"]) for (a, b), count in counts.items()]


def tally(a: str, b: str, wins_a: int, wins_b: int, same: int) -> Tally:
    """How a comparison stands, in numbers and a sentence."""
    decided = wins_a + wins_b
    low, high = wilson(wins_a, decided)
    share = wins_a / decided if decided else None
    if decided < FEWEST or low <= 0.5 <= high:
        sentence = f"It cannot be told yet whether {a} or {b} sounds better."
    else:
        better, worse = (a, b) if low > 0.5 else (b, a)
        sentence = f"{better} sounds better than {worse}."
    return Tally(a, b, wins_a, wins_b, same, share, round(low, 4), round(high, 4), sentence)


def wilson(wins: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): from 0 to 1 where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, width = wins / count, WIDTH**2 / count
    middle = (share + width / 2) / (1 + width)
    half = WIDTH / (1 + width) * math.sqrt(share * (1 - share) / count + width / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def as_wav(waveform: np.ndarray, sample_rate: int) -> bytes:
    """A WAV file of a sound (channels, samples) at the loudness that all have, as loud as fits."""
    import io

    from piano.evaluation.lufs import integrated_lufs

    sound = np.asarray(waveform, dtype=np.float32)
    loudness = integrated_lufs(sound, sample_rate)
    gain = 10 ** ((LUFS - loudness) / 20) if math.isfinite(loudness) else 1.0
    peak = float(np.abs(sound).max(initial=0.0))
    gain = min(gain, CEILING / max(peak, 1e-6))
    stream = io.BytesIO()
    soundfile.write(stream, (gain * sound).T, sample_rate, "PCM_16", format="WAV")
    return stream.getvalue()


class Composed:
    """A clip of a model as work for the scheduler."""

    def __init__(self, composer: Any, seed: int, item: int, done: Callable[[np.ndarray | Exception], None]) -> None:
        self._composer, self._seed, self._item, self._done = composer, seed, item, done
        self._sounds: Any = None
        self._pieces: list[np.ndarray] = []

    def urgency(self) -> float | None:
        """Somebody waits for it, and has nothing to hear meanwhile."""
        return 3.0

    def step(self) -> float | None:
        """The next piece."""
        from piano.composer import Sampling

        if self._sounds is None:
            sampling = Sampling(self._seed, dtype=self._composer.sampling.dtype)
            self._sounds = self._composer.with_sampling(sampling).stream(SECONDS, item=self._item)
        piece = next(self._sounds, None)
        if piece is None:
            self._done(np.concatenate(self._pieces, axis=1))
            return None
        self._pieces.append(piece.float().cpu().numpy())
        return piece.shape[-1] / self._composer.generator.sample_rate

    def fail(self, error: Exception) -> None:
        """Whoever waits is told."""
        self._done(error)


async def composed(scheduler: Any, composer: Any, seed: int, item: int) -> np.ndarray:
    """A clip of a model (channels, samples), made when the scheduler has time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[np.ndarray] = loop.create_future()

    def set_result(result: np.ndarray | Exception) -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def done(result: np.ndarray | Exception) -> None:
        loop.call_soon_threadsafe(set_result, result)

    work = Composed(composer, seed, item, done)
    scheduler.add(work)
    try:
        return await future
    finally:
        scheduler.remove(work)
