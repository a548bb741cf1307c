"""A run's time, from the start of the process to its end, divided between learning and all that is not learning.

A run also encodes the data set, measures its gates, writes checkpoints and samples. What that takes is measured as it
happens; what is still to come is expected to take as long as it took before. Only the rest is divided by the shares.
"""

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from piano.stages import COMPOSING_STAGE, ONE_STEP, RECONSTRUCTED, STAGES, stages_of

AIM = 0.99
"""Part of the minutes that is planned: a run may end a little early, and should not end late."""
EXIT_SECONDS = 0.7
"""From the last checkpoint to the end of the process."""
EXTRAS = tuple(stage.name for stage in sorted(STAGES, key=lambda stage: stage.is_extra, reverse=True) if stage.is_extra)
ADVERSARIAL = (*stages_of("judging"), *stages_of("adversarial"))
CORE = next(name for name in stages_of("adversarial") if name not in EXTRAS)
LEAST_LEARNING, LEAST_AFTER_FLOW = 0.5, 0.1
"""A stage is left out if it would learn for less than half as long as closing it takes: first the extras, then, with
the core (the professor), all adversarial stages. Once the flow has had its time the core takes what there is."""
FEWEST_CORE_STEPS, CORE_STEP = 40, 6.0
"""Where the core would take fewer steps than this, the flow has the time of all adversarial stages: after 26 to 28 of
its steps no run played by one step, after 54 to 61 one of three. One takes so many of the flow's (docs/experiments.md).
"""
LEAST_PART = 0.25
"""Part of what is left of the time that autoencoder and flow learn at least: expectations can be too dark."""
ENCODING_SHARE, FEWEST_PAIRS = 0.08, 64
"""Where encoding the whole data set would take more than this share of the time, every n-th pair is encoded."""
MOST_LOADING_SECONDS = 600.0
COMMANDS = ("musigan train", "piano_main")
LEAST_LEARNING_SHARE, MOST_MINUTES = 0.5, 10_000
"""A plan that leaves less than this part of the time to learning is not begun without a word."""
TEXTURE_OF_ONE, TEXTURE_OF_MANY = "texture of one step", "texture of many steps"
TEXTURE_OF_NONE = "texture of reconstructions"
ENCODING, SAVING = "encoding", "saving"


def texture_of(steps: int) -> str:
    """How the budget calls measuring the texture of compositions of so many steps, or of reconstructions."""
    return {ONE_STEP: TEXTURE_OF_ONE, RECONSTRUCTED: TEXTURE_OF_NONE}.get(steps, TEXTURE_OF_MANY)


class TimeBudget:
    """Says when each stage has to end.

    Parameters
    ----------
    seconds : float
        Of the whole run.
    shares : mapping
        From each stage, in order, to its share of the time for learning; only their ratios count.
    textures : mapping
        From a stage to the kinds of texture that are measured after it.
    """

    def __init__(self, seconds: float, shares: Mapping[str, float], textures: Mapping[str, tuple[str, ...]]) -> None:
        self.seconds = seconds
        self.shares = dict(shares)
        self.textures = dict(textures)
        self.spent: dict[str, float] = {}
        """Seconds that stages which learn again have learned before: they count towards their shares."""
        self.measured: dict[str, float] = {}
        """Seconds that each kind of work took when it was last done."""
        self.step_seconds: dict[str, float] = {}
        """Seconds of one step of some stages, as they were tried out before the first; empty: not known."""
        self.expected_gate: Callable[[str], float] = lambda stage: 0.0
        """Seconds that the measurements and samples after a stage are expected to take."""
        self.afterwards = 0.0
        """Seconds to keep for what is measured after the last stage."""

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        """Take note of how long something takes."""
        began = time.monotonic()
        yield
        self.measured[kind] = time.monotonic() - began

    def closing(self, stage: str) -> float:
        """Seconds that have to be kept for what follows the last step of a stage."""
        textures = sum(
            self.measured.get(kind, self.measured.get(TEXTURE_OF_MANY, 0.0)) for kind in self.textures.get(stage, ())
        )
        return textures + self.expected_gate(stage) + self.measured.get(SAVING, 0.0)

    def stages_from(self, stage: str, began: float) -> list[str]:
        """This stage, which began then, and those after it; without those that are too dear to close."""
        names = list(self.shares)
        kept = [name for name in names[names.index(stage) :] if self.shares[name] > 0.0]
        for name in (extra for extra in EXTRAS if extra in kept):
            if self._learning(name, kept, began) < LEAST_LEARNING * self.closing(name):
                kept.remove(name)
        least = LEAST_AFTER_FLOW if stage in ADVERSARIAL else LEAST_LEARNING
        if CORE in kept:
            seconds = self._learning(CORE, kept, began)
            is_hasty = stage not in ADVERSARIAL and seconds < FEWEST_CORE_STEPS * self._core_step()
            if is_hasty or seconds < least * self.closing(CORE):
                kept = [name for name in kept if name not in ADVERSARIAL]
        return kept

    def _core_step(self) -> float:
        """About how many seconds a step of the core takes; 0 where no step of the flow was tried out."""
        return CORE_STEP * self.step_seconds.get(COMPOSING_STAGE, 0.0)

    def _learning(self, stage: str, stages: list[str], began: float) -> float:
        """Seconds for learning in one of these stages, of which the first began then."""
        return self.divided(stages, self._left(stages, began), self.spent)[stage]

    def divided(self, stages: Sequence[str], seconds: float, spent: Mapping[str, float]) -> dict[str, float]:
        """Seconds of learning for each of these stages, so that with what was spent before they have their shares.

        Who has had more than its share gets nothing, and the others share the rest.
        """
        open_stages = list(stages)
        while open_stages:
            whole = seconds + sum(spent.get(name, 0.0) for name in open_stages)
            shares = sum(self.shares[name] for name in open_stages)
            more = {name: whole * self.shares[name] / shares - spent.get(name, 0.0) for name in open_stages}
            had_enough = [name for name in open_stages if more[name] < 0.0]
            if not had_enough:
                return dict.fromkeys(stages, 0.0) | more
            open_stages = [name for name in open_stages if name not in had_enough]
        return dict.fromkeys(stages, 0.0)

    def room(self, stages: Sequence[str], began: float) -> float:
        """Seconds for learning in these stages from then on."""
        return self._left(list(stages), began)

    def stage_end(self, stage: str, began: float) -> float:
        """When a stage that began then, in seconds of the run, has to take its last step; at once: it is left out."""
        return began + self.plan(stage, began).get(stage, 0.0)

    def plan(self, stage: str, began: float) -> dict[str, float]:
        """Seconds of learning of this stage, which began then, and of those after it."""
        kept = self.stages_from(stage, began)
        return {name: self._learning(name, kept, began) for name in kept}

    def planned_steps(self, plan: Mapping[str, float]) -> float:
        """About how many steps fit into these seconds of learning; infinity where no step was tried out.

        A stage that was not tried out counts as the dearest of those that were.
        """
        dearest = max(self.step_seconds.values(), default=0.0)
        if not dearest:
            return math.inf
        return sum(seconds / self.step_seconds.get(name, dearest) for name, seconds in plan.items())

    def needed_minutes(self, began: float, *, least_steps: int = 0) -> int | None:
        """Whole minutes of which at least half, and so many steps, would be for learning; None: no number of them."""
        for minutes in range(max(1, math.ceil(self.seconds / 60.0)), MOST_MINUTES):
            longer = copy.copy(self)
            longer.seconds = 60.0 * minutes
            plan = longer.plan(next(iter(self.shares)), began)
            is_half = sum(plan.values()) >= LEAST_LEARNING_SHARE * longer.seconds
            if is_half and longer.planned_steps(plan) >= least_steps:
                return minutes
        return None

    def _left(self, stages: list[str], began: float) -> float:
        """Seconds for learning in these stages, of which the first began then."""
        other = EXIT_SECONDS + self.afterwards + sum(self.closing(name) for name in stages)
        if next(iter(self.shares)) in stages:
            other += min(self.measured.get(ENCODING, 0.0), ENCODING_SHARE * self.seconds)
        time_left = max(AIM * self.seconds - began, 0.0)
        least = LEAST_PART * time_left if not set(stages) <= set(ADVERSARIAL) else 0.0
        return max(time_left - other, least)

    def encoding_stride(self, pairs: int, split: str = "training") -> int:
        """Every how many pairs one is encoded: of those for learning 1, unless the time is short; few to judge by."""
        most = max(1, pairs // FEWEST_PAIRS)
        if split != "training":
            return most
        wanted = math.ceil(self.measured.get(ENCODING, 0.0) / (ENCODING_SHARE * self.seconds))
        return max(1, min(wanted, most))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return dict(self.measured)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on with the figures of an earlier sitting."""
        self.measured = dict(state_dict) | self.measured


def seconds_since_start() -> float:
    """Seconds since this process began, if it was started to train; 0 in one that does other things too.

    The libraries take seconds to load, and who asks for ten minutes means ten minutes on the clock. Where the system
    does not tell, the processor time so far stands for it: loading is hardly anything else.
    """
    if Path(sys.argv[0]).stem not in COMMANDS:
        return 0.0
    try:
        ticks = float(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        seconds = up - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.process_time()
    # A container may tell its own uptime and the host's time of the start.
    return seconds if 0.0 <= seconds <= MOST_LOADING_SECONDS else time.process_time()


def clock(seconds: float) -> str:
    """`3:07` of 187 seconds, `2:03:07` of two hours more."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{whole // 60}:{whole % 60:02d}"
