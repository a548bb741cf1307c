"""What the fuzzing commands share: an attempt that cannot take the program with it, and the table of what came out."""

import contextlib
import io
import multiprocessing
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from piano.foundation.errors import EXIT_RUINED

REFUSED, PASSED, TRACEBACK, ENDLESS = "refused", "passed", "traceback", "endless"
KINDS = (REFUSED, PASSED, TRACEBACK, ENDLESS)
MEMORY = 12 << 30
"""Addresses that an attempt in a process of its own may have, in bytes."""


class Outcome(NamedTuple):
    """What became of one file."""

    kind: str
    said: str
    """The last lines of stderr, or of the traceback."""


class _TimeIsOver(BaseException):
    """Not an Exception: nothing in the program may catch it."""


def attempt(act: Callable[[], int], seconds: float) -> Outcome:
    """Do something in this process: its exit status 0 passes, 2 with one sentence is a refusal, all else is a fault."""

    def ring(*_: object) -> None:
        raise _TimeIsOver

    said, began = io.StringIO(), time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            status = act()
    except _TimeIsOver:
        return Outcome(ENDLESS, f"no end after {time.monotonic() - began:.0f} s")
    except SystemExit as stop:  # argparse
        status = int(stop.code or 0)
    except BaseException:
        return Outcome(TRACEBACK, traceback.format_exc()[-1500:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    text = said.getvalue()
    last = text.strip().splitlines()[-1:] or [""]
    if any(letter != "\n" and not letter.isprintable() for letter in last[0]):
        return Outcome(TRACEBACK, f"letters that steer the terminal: {last[0]!r}"[:400])
    if status in (0, EXIT_RUINED):  # of training: it went to its end
        return Outcome(PASSED, last[0][:200])
    return Outcome(REFUSED if status == 2 and last[0] else TRACEBACK, last[0][:400] or f"status {status}, no word")


def attempt_apart(act: Callable[[], int], seconds: float) -> Outcome:
    """The same in a process of its own, with bounded memory; one that dies without a word is a fault too."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_apart, args=(act, seconds, writer))
    process.start()
    writer.close()
    try:
        if reader.poll(seconds + 20.0):
            return Outcome(*reader.recv())
        return Outcome(ENDLESS, f"no end after {seconds:.0f} s")
    except EOFError:
        process.join()
        return Outcome(TRACEBACK, f"the process died with status {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _apart(act: Callable[[], int], seconds: float, writer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    writer.send(tuple(attempt(act, seconds)))


def report(outcomes: Iterator[tuple[str, Outcome]]) -> int:
    """Print every fault as it comes and the table at the end; returns the exit status."""
    counts: dict[str, Counter[str]] = {}
    for name, outcome in outcomes:
        counts.setdefault(name.partition(":")[0], Counter())[outcome.kind] += 1
        if outcome.kind in (TRACEBACK, ENDLESS):
            print(f"\n{outcome.kind}: {name}\n{outcome.said}", flush=True)
    width = max(map(len, counts), default=0)
    print(f"\n{'':<{width}}  " + "  ".join(f"{kind:>9}" for kind in KINDS))
    for name, count in counts.items():
        print(f"{name:<{width}}  " + "  ".join(f"{count[kind]:>9}" for kind in KINDS))
    return int(any(count[TRACEBACK] or count[ENDLESS] for count in counts.values()))
