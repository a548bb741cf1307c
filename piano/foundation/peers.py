"""The processes of a run know of each other: when one is gone, the others end within seconds, with one sentence.

Every process holds a line (TCP) to the main one. A process that dies closes its line at once; one whose machine or
network is gone falls silent. Who ends because of an error says so before, and the main process passes it on. A process
that waits inside an exchange cannot be woken: a thread ends it.
"""

import contextlib
import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from piano.foundation.errors import EXIT_USER_ERROR, PREFIX, TrainingError
from piano.foundation.screen_text import for_screen, printable

TICK_SECONDS, BEAT_TICKS = 1.0, 5
SILENT_SECONDS = 40.0
"""A process from which nothing came for so long is gone. Time in which this process itself rested is not counted."""
MEETING_SECONDS = 120.0
GRACE_SECONDS, FAREWELL_SECONDS = 5.0, 40.0
"""How long the main thread may take to notice that another process is gone, and then to put everything away."""
_LONGEST_LINE = 4096


class Peers:
    """The line to the other processes of a run, and the thread that watches it.

    Parameters
    ----------
    rank, size : int
        Of this process, and how many there are.
    address : str
        Of the main process's machine.
    exchange : callable
        exchange(value): the main process's value, in every process.
    speaks_for_node : bool
        Whether this process says it where the main process is gone.
    """

    def __init__(
        self, rank: int, size: int, *, address: str, exchange: Callable[[Any], Any], speaks_for_node: bool
    ) -> None:
        self.rank, self.size = rank, size
        self.sentence = ""
        """What happened to another process; empty while all are there."""
        self.advice = ""
        """What to do then."""
        self._speaks_for_node = speaks_for_node
        self._is_main_gone = False
        self._lost = threading.Event()
        self._is_noticed = False
        self._left = threading.Event()
        self._lines: dict[int, socket.socket] = {}
        self._heard: dict[int, bytes] = {}
        self._silent: dict[int, float] = {}
        self._sending = threading.Lock()
        self._meet(address, exchange)
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    # --- what the run calls ----------------------------------------------------------------------------------------

    @property
    def speaks(self) -> bool:
        """Whether errors are said by this process: the main one, or who stands for it where it is gone."""
        return self.rank == 0 or (self._is_main_gone and self._speaks_for_node)

    def lost(self, *, wait_seconds: float = GRACE_SECONDS) -> str:
        """What happened to another process, if that becomes known within some seconds; else nothing."""
        self._lost.wait(wait_seconds)
        self._is_noticed = self._lost.is_set()
        return self._words() if self._is_noticed else ""

    def leave(self, error: str = "") -> None:
        """This process ends: the others go on without it, or learn of its error and end too."""
        if self._left.is_set():
            return
        farewell: dict[str, Any] = {"error": error[:2000]} if error else {"bye": True}
        for rank in list(self._lines):
            self._send(rank, farewell)
        self._left.set()
        self._thread.join(2.0 * TICK_SECONDS)
        for line in self._lines.values():
            line.close()

    # --- meeting ---------------------------------------------------------------------------------------------------

    def _meet(self, address: str, exchange: Callable[[Any], Any]) -> None:
        """The main process listens, the others call it; each says who it is, and a word that no stranger knows."""
        if self.rank:
            port, word = exchange(None)
            line = socket.create_connection((address, port), timeout=MEETING_SECONDS)
            self._take(0, line)
            self._send(0, {"rank": self.rank, "word": word})
            return
        is_local = address in ("localhost", "::1") or address.startswith("127.")
        with socket.create_server(("127.0.0.1" if is_local else "", 0), backlog=self.size) as server:
            word = secrets.token_hex(16)
            exchange((server.getsockname()[1], word))
            server.settimeout(MEETING_SECONDS)
            while len(self._lines) < self.size - 1:
                try:
                    line, _ = server.accept()
                except TimeoutError:
                    raise TrainingError(
                        f"{len(self._lines) + 1} of {self.size} processes reached the main one at {address}. "
                        "Look whether the machines may open connections to each other."
                    ) from None
                rank = _introduction(line, word)
                if rank is None or not 0 < rank < self.size or rank in self._lines:
                    line.close()
                else:
                    self._take(rank, line)

    def _take(self, rank: int, line: socket.socket) -> None:
        line.settimeout(TICK_SECONDS)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines[rank], self._heard[rank], self._silent[rank] = line, b"", 0.0

    # --- watching --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        selector = selectors.DefaultSelector()
        for rank, line in self._lines.items():
            selector.register(line, selectors.EVENT_READ, rank)
        before, beats = time.monotonic(), 0.0
        while not self._left.is_set() and not self._lost.is_set():
            for key, _ in selector.select(TICK_SECONDS) if selector.get_map() else ():
                if not self._hear(key.data):
                    selector.unregister(key.fileobj)
            if not selector.get_map():
                self._left.wait(TICK_SECONDS)
            now = time.monotonic()
            awake, before = min(now - before, TICK_SECONDS), now
            beats += awake
            if beats >= BEAT_TICKS * TICK_SECONDS:
                beats = 0.0
                for rank in list(self._lines):
                    self._send(rank, {})
            for rank in self._lines:
                self._silent[rank] += awake
                if self._silent[rank] > SILENT_SECONDS:
                    self._lose(
                        rank, f"has been silent for {SILENT_SECONDS:.0f} seconds: its machine or network is gone"
                    )
                    break
        selector.close()
        if self._lost.is_set():
            self._end()

    def _hear(self, rank: int) -> bool:
        """Take what came in on a line; returns whether more may come."""
        try:
            data = self._lines[rank].recv(_LONGEST_LINE)
        except TimeoutError:
            return True
        except OSError:
            data = b""
        if not data:
            self._lose(rank, "ended without a word: it was killed, or its machine is gone")
            return False
        self._silent[rank] = 0.0
        *lines, self._heard[rank] = (self._heard[rank] + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if said.get("bye"):
                self._lines.pop(rank).close()
                return False
            if "lost" in said:
                self._lose(said["lost"], said["words"])
                return False
            if "error" in said:
                self._lose(rank, f"stopped: {printable(said['error'])}", has_spoken=True)
                return False
        return True

    def _lose(self, rank: int, words: str, *, has_spoken: bool = False) -> None:
        """Another process is gone: tell those who are there. The main one says its own errors itself."""
        if self._lost.is_set() or self._left.is_set():
            return
        self._is_main_gone = rank == 0 and not has_spoken
        self.sentence = f"process {rank + 1} of {self.size} {words}"
        if not self.rank:
            for other in list(self._lines):
                if other != rank:
                    self._send(other, {"lost": rank, "words": words})
        self._lost.set()

    def _end(self) -> None:
        """Give the main thread time to end by itself; then end the process, for it waits in an exchange."""
        if self._left.wait(GRACE_SECONDS):
            return
        if self._is_noticed and self._left.wait(FAREWELL_SECONDS):
            return
        if self.speaks:
            with contextlib.suppress(OSError, ValueError):
                print(for_screen(f"{PREFIX}{self._words()}", sys.stderr), file=sys.stderr, flush=True)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(EXIT_USER_ERROR)

    def _words(self) -> str:
        return f"{self.sentence.rstrip('.')}. {self.advice}".strip()

    def _send(self, rank: int, value: dict[str, Any]) -> None:
        with contextlib.suppress(OSError), self._sending:
            self._lines[rank].sendall(json.dumps(value).encode("ascii") + b"\n")


def _introduction(line: socket.socket, word: str) -> int | None:
    """The rank that a caller says, if it knows the word."""
    line.settimeout(10.0)
    said = b""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        while not said.endswith(b"\n") and len(said) < _LONGEST_LINE:
            data = line.recv(_LONGEST_LINE)
            if not data:
                return None
            said += data
        told = json.loads(said)
        if secrets.compare_digest(str(told.get("word")), word):
            return int(told["rank"])
    return None
