"""A run that is given more time, or more epochs, divides the whole of it anew: what was over may learn again.

A stage counts what it has learned before against its share of the whole. When sounds or composing are learned further,
the stages after composing begin anew: what they were taught was to play against a generator that is no more. A run that
goes on with the time it had is never touched, so it stays equal to one that was never stopped.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from piano.foundation.screen_text import counted
from piano.stages import stages_of
from piano.training.time_budget import ADVERSARIAL, MOST_MINUTES, TimeBudget, clock

WORTH_IT = 0.1
"""A stage learns again for at least this part of what it has learned before."""
FIRST_STAGES = stages_of("pretraining")


class LearnedSoFar(NamedTuple):
    """What a stage has had so far."""

    steps: int
    seconds: float


class Reopened(NamedTuple):
    """How a stage that was over learns again."""

    first: int
    """Index of its first new step."""
    steps: int
    """Steps of before that count towards its share; 0: it begins anew."""
    seconds: float
    """The same in seconds of learning."""


def reopen_by_time(
    budget: TimeBudget, learned: Mapping[str, LearnedSoFar], *, finished: Sequence[str], now: float
) -> dict[str, Reopened]:
    """Which stages learn again when the budget has grown, and from where on.

    Parameters
    ----------
    budget : TimeBudget
        Of the whole run, with the new time.
    learned : mapping
        What each stage has had.
    finished : sequence of str
        Stages that are over.
    now : float
        Seconds of the run until now.

    Returns
    -------
    dict
        Empty where nothing that is over would get enough to be worth it.
    """
    names = [name for name in budget.shares if budget.shares[name] > 0.0]
    for kept in ((), FIRST_STAGES[:1]):
        spent = {name: learned[name].seconds for name in FIRST_STAGES if name in learned}
        wanted = [name for name in names if name not in kept]
        more = budget.divided(wanted, budget.room(wanted, now), spent)
        first = next((name for name in wanted if name in FIRST_STAGES), None)
        if first in finished and first and is_worth_it(budget, first, more[first], learned):
            return {
                name: reopened(learned.get(name, LearnedSoFar(0, 0.0)), counts=name in FIRST_STAGES)
                for name in names[names.index(first) :]
            }
    late = [name for name in names if name in ADVERSARIAL]
    if not late or any(name not in finished for name in names):
        return {}
    spent = {name: learned[name].seconds for name in late if name in learned}
    more = budget.divided(late, budget.room(late, now), spent)
    if not any(is_worth_it(budget, name, more[name], learned) for name in late):
        return {}
    return {name: reopened(learned.get(name, LearnedSoFar(0, 0.0)), counts=True) for name in late}


def minutes_to_reopen(
    stage: str, budget: TimeBudget, learned: Mapping[str, LearnedSoFar], *, finished: Sequence[str], now: float
) -> int | None:
    """Whole minutes of the whole run from which on a stage that is over learns again; None: no number of them."""
    for minutes in range(math.ceil(budget.seconds / 60.0), MOST_MINUTES):
        longer = copy.copy(budget)
        longer.seconds = 60.0 * minutes
        if stage in reopen_by_time(longer, learned, finished=finished, now=now):
            return minutes
    return None


def reopen_by_steps(
    before: Mapping[str, int],
    planned: Mapping[str, int],
    learned: Mapping[str, LearnedSoFar],
    *,
    finished: Sequence[str],
) -> dict[str, Reopened]:
    """The same for a run that is measured in epochs: `before` and `planned` are steps by stage, then and now."""
    longer = [name for name in planned if name in finished and planned[name] > before.get(name, planned[name])]
    if not longer:
        return {}
    names = [name for name in planned if planned[name]]
    is_early = longer[0] in FIRST_STAGES
    return {
        name: reopened(learned.get(name, LearnedSoFar(0, 0.0)), counts=name in FIRST_STAGES or not is_early)
        for name in names[names.index(longer[0]) :]
    }


def is_worth_it(budget: TimeBudget, stage: str, more: float, learned: Mapping[str, LearnedSoFar]) -> bool:
    """Whether so many seconds more are worth closing a stage a second time."""
    had = learned[stage].seconds if stage in learned else 0.0
    return more > 0.0 and more >= max(WORTH_IT * had, 0.5 * budget.closing(stage))


def reopened(had: LearnedSoFar, *, counts: bool) -> Reopened:
    """A stage that goes on from what it has had, or begins anew."""
    return Reopened(had.steps, had.steps if counts else 0, had.seconds if counts else 0.0)


def learned_in(history: Iterable[Mapping[str, Any]]) -> dict[str, LearnedSoFar]:
    """What every stage has had, by the log: for checkpoints of earlier versions, which did not keep it."""
    steps: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for entry in history:
        stage, step, seconds = entry.get("stage"), entry.get("step"), entry.get("seconds")
        if "event" in entry or not isinstance(stage, str) or type(step) is not int:
            continue
        steps[stage] = max(steps.get(stage, 0), step + 1)
        if isinstance(seconds, int | float):
            times.setdefault(stage, []).append(float(seconds))
    return {
        name: LearnedSoFar(count, max(times.get(name, [0.0])) - min(times.get(name, [0.0])))
        for name, count in steps.items()
    }


def longer_in_words(more: Mapping[str, float], kept: Sequence[str]) -> str:
    """What will learn and what will not, for the screen."""
    parts = [f"{name} {clock(seconds)}" for name, seconds in more.items()]
    rest = f" {' and '.join(kept)} {'stays as it is' if len(kept) == 1 else 'stay as they are'}." if kept else ""
    return f"The whole time is divided anew. {counted(len(parts), 'stage')} will learn: {', '.join(parts)}.{rest}"
