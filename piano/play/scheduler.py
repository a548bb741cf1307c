"""One thread that makes all sound, bit by bit, for whoever needs it soonest.

A model fills the processor. So nothing is made side by side: whose music would run out first comes next, and jobs that
nobody waits for come when all listeners have enough. How fast sound is made is measured while it is made.
"""

import logging
import threading
import time
from typing import Protocol

from piano.foundation.errors import MusiganError

SMOOTHING = 0.2
"""Share of the last step in the measured speed."""
MOST_LOAD = 0.8
"""Share of the computer's time that listeners may take together."""
logger = logging.getLogger(__name__)


class Work(Protocol):
    """Something that is made step by step. All methods are called from the scheduler's thread."""

    def urgency(self) -> float | None:
        """Seconds until whoever waits for it has nothing left; None: there is nothing to do now."""
        ...

    def step(self) -> float | None:
        """Do the next bit, a quarter of a second's work or so.

        Returns
        -------
        float or None
            Seconds of sound that came of it, or 0 where they say nothing about listeners' speed; None when it is done.
        """
        ...

    def fail(self, error: Exception) -> None:
        """A step raised this; the work has been taken away already."""
        ...


class Scheduler:
    """Runs work in a thread of its own.

    Parameters
    ----------
    speed : float, optional
        Seconds of sound that a second of work makes, as long as that is not measured.
    smoothing : float
        Share of the last step in the measured speed; 0 keeps it as it is.
    """

    def __init__(self, *, speed: float | None = None, smoothing: float = SMOOTHING) -> None:
        self.speed = speed
        """Seconds of sound that a second of work makes; None before anything was made."""
        self._smoothing = smoothing
        self._is_measuring = speed is None
        self._steps = 0
        self.busy_seconds = 0.0
        """Of work so far."""
        self._works: list[Work] = []
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="composing", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End after the step that is being done."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def add(self, work: Work) -> None:
        """Take on work; it is asked for its urgency from now on."""
        with self._changed:
            self._works.append(work)
            self._changed.notify_all()

    def remove(self, work: Work) -> None:
        """Forget work; a step that is being done is ended first by the scheduler's thread, not waited for."""
        with self._changed:
            if work in self._works:
                self._works.remove(work)

    def wake(self) -> None:
        """Look again: some work's urgency has changed."""
        with self._changed:
            self._changed.notify_all()

    def fits(self, listeners: int) -> bool:
        """Whether so many listeners can be served together; before anything is measured one can."""
        return listeners <= self.capacity

    @property
    def capacity(self) -> int:
        """Listeners that can be served together."""
        return 1 if self.speed is None else max(1, int(MOST_LOAD * self.speed))

    def _run(self) -> None:
        while True:
            with self._changed:
                work = None
                while not self._is_closing and (work := self._next()) is None:
                    self._changed.wait(timeout=0.1)
                if self._is_closing or work is None:
                    return
            self._step(work)

    def _next(self) -> Work | None:
        """The work that is needed soonest."""
        asked = [(urgency, index) for index, work in enumerate(self._works) if (urgency := work.urgency()) is not None]
        return self._works[min(asked)[1]] if asked else None

    def _step(self, work: Work) -> None:
        begin = time.perf_counter()
        try:
            made = work.step()
        except Exception as error:  # of one listener: all others go on
            self.remove(work)
            if not isinstance(error, MusiganError):  # a fault of the program
                logger.exception("composing failed")
            work.fail(error)
            return
        took = time.perf_counter() - begin
        self.busy_seconds += took
        if made is None:
            self.remove(work)
        elif made > 0.0:
            now = made / max(took, 1e-6)
            # Of times, not of rates: a step that took long counts for as long as it took.
            self._steps += 1
            if self._steps == 1:
                return  # the first one is slow: memory and threads are made
            before = now if self.speed is None else self.speed
            share = max(self._smoothing, 1.0 / (self._steps - 1)) if self._is_measuring else self._smoothing
            self.speed = 1.0 / ((1.0 - share) / before + share / now)
