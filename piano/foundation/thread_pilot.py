"""Fewer threads while another program uses the processor: measured on the real work, as it runs.

Threads that wait for each other are as slow as the slowest: with a neighbour on one of two cores, two threads can take
forty times as long as one. What was measured at the start may be over a minute later.
"""

import statistics

LOOKED_AT = 3
"""Steps by which a number of threads is judged; the first one of a stage is slow for other reasons."""
SLOWED = 2.5
"""Steps this many times as long as usual are worth another measurement."""
GAIN = 0.9
"""Fewer threads are kept where a step takes at most this part of the time."""


class ThreadPilot:
    """Says how many threads the next step should have.

    Looks are taken at the beginning of every stage, and whenever steps become much slower than they were. Each costs
    a few steps with fewer threads. Threads are never added.

    Parameters
    ----------
    threads : int
        As measured at the start.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._stage = ""
        self._forget()

    def _forget(self) -> None:
        self._usual: list[float] = []
        self._trial: list[float] | None = None
        self._best = float("inf")

    def after_step(self, stage: str, seconds: float) -> int:
        """Take note of a step's time; returns the threads of the next one.

        Parameters
        ----------
        stage : str
            Steps of two stages are not compared.
        seconds : float
        """
        if stage != self._stage:
            self._stage = stage
            self._forget()
            return self.threads  # the first step of a stage says nothing
        if self.threads == 1:
            return 1
        fewer = self.threads // 2
        if self._trial is None:
            self._usual = [*self._usual[-LOOKED_AT + 1 :], seconds]
            usual = statistics.median(self._usual)
            is_slow = usual > SLOWED * self._best
            is_new = self._best == float("inf")
            if len(self._usual) < LOOKED_AT or not (is_slow or is_new):
                return self.threads
            self._trial = []
            return fewer
        self._trial.append(seconds)
        if len(self._trial) < LOOKED_AT:
            return fewer
        usual, trial = statistics.median(self._usual), min(self._trial)
        if trial <= GAIN * usual:
            self.threads = fewer
        self._best = min(usual, trial)
        self._usual, self._trial = [], None
        return self.threads
