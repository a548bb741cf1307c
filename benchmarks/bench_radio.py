"""How soon the radio of `musigan play` sounds, how soon a control is heard, whether it lasts: sockets, no browser.

    python benchmarks/bench_radio.py                                a table of times
    python benchmarks/bench_radio.py --minutes 60 --listeners 1     an hour, as a player in real time hears it
    python benchmarks/bench_radio.py --minutes 10 --listeners 20 --moves-every 10

`cold` is from the start of the process to the page, and to the first sound of a listener who asks from then on; the
files of PyTorch lie in the disk cache after the first time. `warm` is from opening a socket to its first sound while
another listener plays. A control is moved while music plays: `answered` is when its first new sound arrives, `heard`
when a player in real time reaches it, which has moved it 0.15 seconds ahead of what it plays, as the page does.
"""

import argparse
import asyncio
import json
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PROJECT = Path(__file__).resolve().parent.parent
MARGIN_SECONDS = 0.15
"""From what is played to where a control is moved."""
START_SECONDS = 0.3
"""Of sound that the page's player has before it begins, and before it goes on after a gap."""
HEARD_SECONDS = 0.2
LONGEST_SECONDS = 120.0
"""Within which a server must answer."""


class Server:
    """A playing server in a process of its own."""

    def __init__(self, words: list[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(prefix="bench_radio")
        command = [sys.executable, "-m", "piano.play.command", *words, "--no-browser", "--port", str(self.port)]
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--library", self.folder.name], cwd=PROJECT, stdout=subprocess.DEVNULL
        )

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for_page(self) -> float:
        """Seconds from the start of the process until the page is there."""
        while time.perf_counter() - self.begun < LONGEST_SECONDS:
            try:
                with urllib.request.urlopen(f"{self.address}/", timeout=LONGEST_SECONDS):
                    return time.perf_counter() - self.begun
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.005)
        raise SystemExit("the server does not answer")

    def stop(self) -> tuple[int, float]:
        """End it as Ctrl-C does: its exit status, and the seconds that took."""
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=LONGEST_SECONDS)
        self.folder.cleanup()
        return status, time.perf_counter() - begin


@contextmanager
def running(words: list[str]) -> Iterator[Server]:
    """A server that is ended whatever happens."""
    server = Server(words)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


class Player:
    """What the page does with the sound, without a loudspeaker: plays in real time, and counts where it has nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.format: dict[str, Any] = {}
        self.refused = ""
        self.gone = ""
        self.end = 0
        self.position = 0.0
        self.is_playing = False
        self.underruns = 0
        self.gaps: list[float] = []
        """When they began, by the clock."""
        self.silent_seconds = 0.0
        self.lowest_ahead = float("inf")
        self.first_sound = asyncio.Event()
        self.moves: dict[int, Moved] = {}
        self._socket: ClientConnection | None = None
        self._clock = 0.0
        self._has_begun = False
        self._awaited: Moved | None = None
        self._void_from: int | None = None

    async def play(self, **program: Any) -> None:
        """Until the server or `stop` ends it."""
        try:
            async with connect(
                f"ws://127.0.0.1:{self.server.port}/api/radio",
                origin=self.server.address,  # type: ignore[arg-type]
                max_size=None,
                open_timeout=LONGEST_SECONDS,
            ) as opened:
                self._socket = opened
                await opened.send(json.dumps({"type": "start", "program": program}))
                reporting = asyncio.create_task(self._report())
                try:
                    async for message in opened:
                        self._take(message)
                finally:
                    reporting.cancel()
        except (ConnectionClosed, WebSocketException, OSError) as error:
            self.gone = str(error) or type(error).__name__
        finally:
            self.first_sound.set()

    async def stop(self) -> None:
        """Hang up."""
        if self._socket is not None:
            await self._socket.close()

    async def move(self, move_id: int, **program: Any) -> "Moved":
        """Move a control; returns when the new sound has come."""
        assert self._socket is not None
        self._run_clock()
        at = round(self.position + MARGIN_SECONDS * self.rate)
        moved = self.moves[move_id] = Moved(time.perf_counter())
        await self._socket.send(json.dumps({"type": "move", "id": move_id, "program": program, "at": at}))
        await asyncio.wait_for(moved.done.wait(), LONGEST_SECONDS)
        return moved

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int(self.format["sample_rate"])

    def _take(self, message: str | bytes) -> None:
        if self.format:
            self._run_clock()
        if isinstance(message, str):
            self._be_told(json.loads(message))
            return
        sample = int(struct.unpack("<d", message[:8])[0])
        if self._void_from is not None:  # the old music goes on until the new is there
            self.end, self._void_from = self._void_from, None
        if sample != self.end:
            raise SystemExit(f"a hole in the sound: {sample} comes after {self.end}")
        self.end = sample + (len(message) - 8) // 2 // int(self.format["channels"])
        self.first_sound.set()
        if self._awaited is not None:
            self._awaited.be_answered(max(0.0, (sample - self.position) / self.rate))
            self._awaited = None

    def _be_told(self, told: dict[str, Any]) -> None:
        if told["type"] == "format":
            self.format, self._clock = told, time.perf_counter()
        elif told["type"] == "void":
            self._void_from = int(told["from"]) if self._void_from is None else min(self._void_from, int(told["from"]))
            self._awaited = self.moves.get(int(told["id"]))
        elif told["type"] in ("refused", "error"):
            self.refused = told["reason"]
            self.first_sound.set()

    def _run_clock(self) -> None:
        """Play what there was to play since this was called last."""
        now = time.perf_counter()
        past, self._clock = now - self._clock, now
        if self.is_playing:
            self.position += past * self.rate
            if self.position >= self.end:
                self.silent_seconds += (self.position - self.end) / self.rate
                self.position, self.is_playing = self.end, False
                self.underruns += 1
                self.gaps.append(now)
            self.lowest_ahead = min(self.lowest_ahead, (self.end - self.position) / self.rate)
        elif self._has_begun:
            self.silent_seconds += past
        if not self.is_playing and self.end - self.position >= START_SECONDS * self.rate:
            self.is_playing = self._has_begun = True

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(HEARD_SECONDS)
            if self.format and self._socket is not None:
                self._run_clock()
                told = {"type": "heard", "sample": int(self.position), "underruns": self.underruns}
                await self._socket.send(json.dumps(told))


class Moved:
    """A control that was moved."""

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.done = asyncio.Event()
        self.answered, self.heard = 0.0, 0.0

    def be_answered(self, until_played: float) -> None:
        """The new sound is here, and is played after so many seconds."""
        self.answered = time.perf_counter() - self.sent
        self.heard = self.answered + until_played
        self.done.set()


class Sample(NamedTuple):
    """What the server takes at a moment."""

    minute: float
    cpu_seconds: float
    megabytes: float


def taken(process: psutil.Process, begun: float) -> Sample:
    """By a process and its children."""
    cpu = process.cpu_times()
    return Sample((time.perf_counter() - begun) / 60.0, cpu.user + cpu.system, process.memory_info().rss / 2**20)


async def first_sound(server: Server, **program: Any) -> tuple[float, Player, asyncio.Task]:
    """When a new listener's first sound comes, the listener, and what plays on."""
    player, begin = Player(server), time.perf_counter()
    task = asyncio.create_task(player.play(**program))
    await asyncio.wait_for(player.first_sound.wait(), LONGEST_SECONDS)
    took = time.perf_counter() - begin
    if player.refused or player.gone:
        raise SystemExit(f"no sound: {player.refused or player.gone}")
    return took, player, task


async def cold(words: list[str]) -> tuple[float, float, float, float]:
    """Seconds to the page, to the first sound, of the processor until then, and to the end after Ctrl-C."""
    with running(words) as server:
        page = await asyncio.to_thread(server.wait_for_page)
        _, player, _ = await first_sound(server, seed=1)
        sound = time.perf_counter() - server.begun
        cpu = taken(psutil.Process(server.process.pid), server.begun).cpu_seconds
        await player.stop()
        status, end = await asyncio.to_thread(server.stop)
        if status:
            raise SystemExit(f"after Ctrl-C the server ended with status {status}")
        return page, sound, cpu, end


async def warm_and_moved(words: list[str], times: int) -> dict[str, list[float]]:
    """Seconds to the first sound of another listener, and from a control to the ear."""
    found: dict[str, list[float]] = {"warm: socket to first sound": []}
    with running(words) as server:
        await asyncio.to_thread(server.wait_for_page)
        _, player, _ = await first_sound(server, seed=1)
        await asyncio.sleep(12.0)  # the threads are chosen, and the first listener has all it may have
        for index in range(times):
            took, other, _ = await first_sound(server, seed=100 + index)
            found["warm: socket to first sound"].append(took)
            await other.stop()
            await asyncio.sleep(1.0)
        for name, program in (
            ("another style", lambda index: {"near": 7 * index, "surprise": 0.5}),
            ("another piece", lambda index: {"piece": 1 + index}),
        ):
            for index in range(times):
                moved = await player.move(1000 * (1 + len(found)) + index, **program(index))
                found.setdefault(f"{name}: answered", []).append(moved.answered)
                found.setdefault(f"{name}: heard", []).append(moved.heard)
                await asyncio.sleep(1.0)
        print(f"while controls moved: {player.underruns} underruns")
        await player.stop()
    return found


async def last(words: list[str], *, minutes: float, listeners: int, moves_every: float) -> None:
    """Many listeners for long; prints who got what."""
    with running(words) as server:
        await asyncio.to_thread(server.wait_for_page)
        process = psutil.Process(server.process.pid)
        players = [Player(server) for _ in range(listeners)]
        tasks = []
        for seed, player in enumerate(players):
            tasks.append(asyncio.create_task(player.play(seed=seed)))
            await asyncio.wait_for(player.first_sound.wait(), LONGEST_SECONDS)
            await asyncio.sleep(1.0)
        begun = time.perf_counter()
        samples = [taken(process, begun)]
        due = [minutes * part for part in (1 / 60, 0.25, 0.5, 0.75, 1.0)]
        next_move, moved = moves_every, 0
        while due:
            await asyncio.sleep(0.25)
            past = time.perf_counter() - begun
            if past >= 60.0 * due[0]:
                samples.append(taken(process, begun))
                due.pop(0)
                print(f"  {samples[-1].minute:6.1f} min: {samples[-1].megabytes:7.0f} MB", flush=True)
            if moves_every and past >= next_move:
                next_move, moved = next_move + moves_every, moved + 1
                playing = [player for player in players if player.format and not player.gone]
                await playing[moved % len(playing)].move(moved, near=moved % 1024)
        for player in players:
            await player.stop()
        await asyncio.gather(*tasks)
        tell_last(players, samples, moved)
        tell_gaps(players, begun)


def tell_last(players: list[Player], samples: list[Sample], moved: int) -> None:
    """Who got what, and what it took."""
    first, end = samples[0], samples[-1]
    cpu = (end.cpu_seconds - first.cpu_seconds) / (60.0 * (end.minute - first.minute))
    print(f"CPU: {100.0 * cpu:.0f} % of one core; controls moved: {moved}")
    print("memory: " + ", ".join(f"{sample.megabytes:.0f} MB at {sample.minute:.0f} min" for sample in samples))
    print("listener  heard (s)  underruns  silent (s)  least ahead (s)")
    for index, player in enumerate(players):
        if player.format:
            heard, gone = player.position / player.rate, f"  gone: {player.gone}" if player.gone else ""
            print(
                f"{index + 1:8d}  {heard:9.1f}  {player.underruns:9d}  {player.silent_seconds:10.2f}  "
                f"{player.lowest_ahead:15.2f}{gone}"
            )
        else:
            print(f"{index + 1:8d}  refused: {player.refused or player.gone}")


def tell_gaps(players: list[Player], begun: float) -> None:
    """In which minutes the gaps of all listeners lie; minute 0 is from when the last one asked."""
    minutes = Counter(int((gap - begun) // 60.0) for player in players for gap in player.gaps)
    told = ", ".join(f"{count} in minute {minute}" for minute, count in sorted(minutes.items()))
    print(f"gaps: {told or 'none'}")


def tell(name: str, seconds: list[float]) -> None:
    """A row of the table, in milliseconds."""
    ordered = sorted(1000.0 * second for second in seconds)
    print(
        f"{name:32s} median {statistics.median(ordered):6.0f} ms   from {ordered[0]:6.0f} to {ordered[-1]:6.0f}"
        f"   ({len(ordered)} times)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shipped")
    parser.add_argument("--times", type=int, default=20, help="that each is measured (default: %(default)s)")
    parser.add_argument("--threads", help="of the server (default: it chooses)")
    parser.add_argument("--minutes", type=float, help="play for so long, in place of the table of times")
    parser.add_argument("--listeners", type=int, default=1, help="with --minutes (default: %(default)s)")
    parser.add_argument("--moves-every", type=float, default=0.0, help="seconds, with --minutes (default: none)")
    options = parser.parse_args()
    words = [options.model, *(["--threads", options.threads] if options.threads else [])]
    print(f"{options.model}; {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f} before", flush=True)
    if options.minutes:
        asyncio.run(last(words, minutes=options.minutes, listeners=options.listeners, moves_every=options.moves_every))
        return
    cold_times = [asyncio.run(cold(words)) for _ in range(options.times)]
    for name, seconds in zip(
        (
            "cold: command to page",
            "cold: command to first sound",
            "cold: processor time until then",
            "Ctrl-C to the end",
        ),
        zip(*cold_times, strict=True),
        strict=True,
    ):
        tell(name, list(seconds))
    for name, seconds in asyncio.run(warm_and_moved(words, options.times)).items():
        tell(name, seconds)


if __name__ == "__main__":
    main()
