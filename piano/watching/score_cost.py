"""What measuring costs a run, and how much of it there may be: by what it took so far, not by guesses.

Gates and scores of a run with a time budget are to take about SHARE of it. Where that is too little for the fewest
gates a run needs (runs of a few minutes), it costs more, and clips and choices are as few as can be.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from piano.stages import STAGE, STAGE_NAMES

SHARE = 0.03
MOST_CLIPS, FEWEST_CLIPS = 24, 8
NOISE_CLIPS = 16
"""Of the noise at the scale's end; noises are all alike."""
DECODED_NOISE_CLIPS, RECONSTRUCTED_CLIPS = 8, 12
"""Few are enough where the figures are large or are means over many frames."""
FIT, NOISE, RECONSTRUCTION, JUDGES = "fit", "decoded noise", "reconstruction", "judges"
"""Work of gates besides compositions, as the rows of the stages name it."""


class Prices(NamedTuple):
    """Seconds that single things took when they were tried out."""

    hear: float
    """Features of one clip."""
    compose: dict[int, float]
    """One clip composed and decoded, by sampling steps; two numbers of steps, from which others follow."""
    reconstruct: float
    """One clip reconstructed and compared with its original."""
    encoding: float
    """The whole training set."""
    judging: float = 0.0
    """The gate of the judges, which encodes validation music."""

    def one_clip(self, steps: int) -> float:
        """Seconds to compose, decode and hear one clip."""
        (few, low), (many, high) = sorted(self.compose.items())
        return self.hear + low + max(high - low, 0.0) * (steps - few) / (many - few)


class ScoreCost:
    """Keeps the account of a run's measurements.

    Without `set_prices`, in a run measured in epochs, nothing is limited.
    """

    def __init__(self) -> None:
        self.clips = MOST_CLIPS
        self.spent = 0.0
        self.prices: Prices | None = None
        self.seconds: float | None = None
        self._measured: dict[str, float] = {}

    def set_prices(self, prices: Prices, *, seconds: float | None) -> None:
        """Take prices from a rehearsal; `seconds`: the whole run's, if it has a time budget."""
        self.prices, self.seconds = prices, seconds
        if seconds is not None:
            fitting = (
                clips
                for clips in range(MOST_CLIPS, FEWEST_CLIPS, -1)
                if sum(self._work(stage, clips) for stage in STAGE_NAMES) <= SHARE * seconds
            )
            self.clips = next(fitting, FEWEST_CLIPS)

    @contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Note what a measurement takes."""
        began = time.monotonic()
        yield
        self._measured[kind] = time.monotonic() - began
        self.spent += self._measured[kind]

    def expected(self, stage: str) -> float:
        """Seconds that the gate of a stage will take at least."""
        return self._work(stage, self.clips)

    def choose_steps(self, stage: str, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """Which of the wanted sampling steps are measured after a stage: all, or as many as there is time for."""
        if self.seconds is None:
            return wanted
        chosen = [steps for steps in wanted if steps in STAGE[stage].least_steps]
        room = SHARE * self.seconds - self.spent - self._reserve(stage)
        for steps in wanted:
            if steps not in chosen and (room := room - self._set(steps, self.clips)) >= 0.0:
                chosen.append(steps)
        return tuple(chosen)

    def allows(self, stage: str, steps: int, *, elapsed: float) -> bool:
        """Whether an epoch in the middle of a stage may be scored, so many seconds into the run."""
        if self.prices is None:
            return False
        cost = self.spent + self._set(steps, self.clips) + (0.0 if FIT in self._measured else self._fit(self.clips))
        if self.seconds is not None and cost + self._reserve(stage) > SHARE * self.seconds:
            return False
        return cost <= SHARE * elapsed

    def _reserve(self, stage: str) -> float:
        """The least that this stage's gate and the later ones will take."""
        return sum(self._work(name, self.clips) for name in STAGE_NAMES[STAGE_NAMES.index(stage) :])

    def _work(self, stage: str, clips: int) -> float:
        """Seconds of the smallest gate of a stage with so many clips."""
        kinds = (kind for kind in STAGE[stage].gate_work if not (kind in (FIT, NOISE) and kind in self._measured))
        sets = (self._set(steps, clips) for steps in STAGE[stage].least_steps)
        return sum(self._single(kind, clips) for kind in kinds) + sum(sets)

    def _single(self, kind: str, clips: int) -> float:
        """Seconds of a kind of work: what it took last time, else by its prices."""
        if kind in self._measured:
            return self._measured[kind]
        if self.prices is None:
            return 0.0
        if kind == FIT:
            return self._fit(clips)
        if kind == RECONSTRUCTION:
            return min(clips, RECONSTRUCTED_CLIPS) * self.prices.reconstruct
        if kind == NOISE:
            return min(clips, DECODED_NOISE_CLIPS) * self.prices.one_clip(1)
        return self.prices.judging

    def _fit(self, clips: int) -> float:
        return 0.0 if self.prices is None else (clips + min(clips, NOISE_CLIPS)) * self.prices.hear

    def _set(self, steps: int, clips: int) -> float:
        """Seconds of one set of compositions."""
        if (kind := set_kind(steps)) in self._measured:
            return self._measured[kind]
        return 0.0 if self.prices is None else clips * self.prices.one_clip(steps)


def set_kind(steps: int) -> str:
    """Name of the work of measuring compositions of so many steps."""
    return f"{steps} steps"
