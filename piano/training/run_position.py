"""What a checkpoint says of where its run stood, every field checked before a run goes on from it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from piano.foundation import bounds
from piano.foundation.bounds import Bound, shown
from piano.foundation.checkpoint_format import Best, as_best, holds_tensors
from piano.foundation.errors import CheckpointError
from piano.foundation.finite import not_finite
from piano.foundation.score_words import FIRST_RULER
from piano.foundation.screen_text import printable
from piano.stages import LAST_STAGE, STAGE_NAMES
from piano.training.longer_run import LearnedSoFar, Reopened, learned_in
from piano.update_checkpoint import with_present_names

CLOCK = Bound(0.0, 60.0 * bounds.MINUTES.high, is_whole=False)
"""Seconds that a run has taken."""
CONTROL = Bound(-1e30, 1e30, is_whole=False)
NUMBERS = {
    "stage_step": bounds.STEPS,
    "stage_began": CLOCK,
    "epoch": bounds.EPOCH,
    "total_step": bounds.STEPS,
    "seconds": CLOCK,
    "average_updates": bounds.STEPS,
}
"""What every checkpoint to resume from has."""
OPTIONAL = {"threads": bounds.THREADS, "processes": bounds.POSITIVE, "log_bytes": bounds.NATURAL}
COMPUTED = ("seed", "random", "device_random", "precision", "threads", "processes")
"""What a run computes with (`run_keeper.computing`)."""
DEEPEST = 12
"""Of lists and dictionaries inside each other."""
UNBOUNDED = ("doctor", "best")
"""Where a number need not be finite: what the doctor has seen, and the best of none so far."""


MEMORIES = ("controllers", "factors", "measured")
"""Numbers by name. An earlier version kept all of them in the first."""
FACTOR = "doctor/"
"""So began the names of the doctor's factors there."""
OF_THE_MUSIC = ("distance_noise", "distance_flow", "R_before_ear", "P_before_ear")
"""And these were the names of what gates had measured."""
AN_END = 1.05
"""A run of a version that did not keep its plan, if it is over, was meant to take at most so much more time."""


class Position(NamedTuple):
    """Where a run stands, but for its weights."""

    stage: str
    stage_step: int
    stage_began: float
    """Seconds of the run."""
    finished_stages: list[str]
    epoch: int
    total_step: int
    seconds: float
    controllers: dict[str, float]
    """What steers the losses of a stage, such as log beta."""
    factors: dict[str, float]
    """What the doctor multiplies settings by."""
    measured: dict[str, float]
    """What gates measured on validation music, for later gates."""
    average_updates: int
    best: Best | None
    learned: dict[str, LearnedSoFar]
    reopened: dict[str, Reopened]
    planned: dict[str, Any]
    stateful: dict[str, Any]
    """Name -> state of whatever else has a memory."""
    compute: dict[str, Any]
    """Random numbers, precision, threads: what a run that goes on computes with."""
    log_bytes: int
    """Length of metrics.jsonl."""

    def as_dict(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {
            "stage": self.stage,
            "stage_step": self.stage_step,
            "stage_began": self.stage_began,
            "finished_stages": self.finished_stages,
            "epoch": self.epoch,
            "total_step": self.total_step,
            "seconds": self.seconds,
            "controllers": self.controllers,
            "factors": self.factors,
            "measured": self.measured,
            "average_updates": self.average_updates,
            **self.compute,
            "log_bytes": self.log_bytes,
            "best": self.best._asdict() if self.best else None,
            "stateful": self.stateful,
            "learned": {name: list(had) for name, had in self.learned.items()},
            "reopened": {name: list(again) for name, again in self.reopened.items()},
            "planned": self.planned,
        }


def position_of(there: Mapping[str, Any], history: Callable[[], Sequence[dict[str, Any]]]) -> Position:
    """What a checkpoint says of where its run stood, once `check_position` has passed it.

    Parameters
    ----------
    there : mapping
        Its field `run`.
    history : callable
        Reads the run's log, which says what an earlier version did not: how much each stage has learned.
    """
    controllers, factors, measured = memories_of(there)
    stage, finished = there["stage"], list(there["finished_stages"])
    if "learned" in there:
        learned = {str(name): LearnedSoFar(*had) for name, had in there["learned"].items()}
        reopened = {str(name): Reopened(*again) for name, again in there["reopened"].items()}
        planned = dict(there["planned"])
    else:
        learned, reopened = learned_in(history()), {}
        is_over = stage == LAST_STAGE and LAST_STAGE in finished
        planned = {"minutes": AN_END * there["seconds"] / 60.0 if is_over else math.inf, "steps": {}}
    return Position(
        stage=stage,
        stage_step=there["stage_step"],
        stage_began=there["stage_began"],
        finished_stages=finished,
        epoch=there["epoch"],
        total_step=there["total_step"],
        seconds=there["seconds"],
        controllers=controllers,
        factors=factors,
        measured=measured,
        average_updates=there["average_updates"],
        best=Best(**{"ruler": FIRST_RULER, **there["best"]}) if there.get("best") else None,
        learned=learned,
        reopened=reopened,
        planned=planned,
        stateful=with_present_names(there.get("stateful", {})),
        compute={name: there.get(name) for name in COMPUTED},
        log_bytes=there.get("log_bytes", 2**62),
    )


def memories_of(there: Mapping[str, Any]) -> list[dict[str, float]]:
    """Controllers, factors and what was measured, also where an earlier version kept all of them in one."""
    if "factors" in there:
        return [dict(there[name]) for name in MEMORIES]
    controllers, factors, measured = {}, {}, {}
    for name, value in there["controllers"].items():
        if name.startswith(FACTOR):
            factors[name.removeprefix(FACTOR)] = value
        else:
            (measured if name in OF_THE_MUSIC else controllers)[name] = value
    return [controllers, factors, measured]


def check_position(content: Mapping[str, Any], stateful: Mapping[str, Any]) -> None:
    """Refuse a generator's checkpoint from which no run can go on as it was.

    Parameters
    ----------
    content : mapping
        Of the generator's checkpoint.
    stateful : mapping
        Name -> whatever else has a memory, as it is in the run at hand: what was saved must be of the same make.

    Raises
    ------
    CheckpointError
        A field is missing, no such thing, or beyond what any run can have.
    """
    try:
        place = content["run"]
        _check_place(place, content["epoch"])
        _check_plain(content["optimizers"], "optimizers")
        saved = place.get("stateful", {})
        _check_plain(saved, "stateful")
        for name in saved.keys() & stateful.keys():
            _check_make(saved[name], stateful[name].state_dict(), name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else printable(error)
        raise CheckpointError(
            f"the generator of epoch {content['epoch']} does not say where its run stood ({reason[:160]}). "
            "Delete it to go on from the one before."
        ) from None


def check_optimizer(own: Optimizer, saved: Mapping[str, Any]) -> None:
    """Refuse an optimiser's saved state that is not of the make of the optimiser at hand; raises ValueError."""
    groups, saved_groups = own.param_groups, saved["param_groups"]
    if len(groups) != len(saved_groups):
        raise ValueError("it has another number of groups")
    parameters = [parameter for group in groups for parameter in group["params"]]
    for group, other in zip(groups, saved_groups, strict=True):
        for name in group.keys() & other.keys() - {"params"}:
            _check_make(other[name], group[name], name)
    for index, state in saved["state"].items():
        shape = parameters[index].shape
        for name, value in state.items():
            if isinstance(value, Tensor) and value.numel() != 1 and value.shape != shape:
                raise ValueError(f"its {name} has another shape than what it moves")


def _check_place(place: Mapping[str, Any], epoch: int) -> None:
    """The fields that the run itself keeps."""
    for name, bound in NUMBERS.items():
        bound.check(place[name], name)
    for name, bound in OPTIONAL.items():
        if name in place:
            bound.check(place[name], name)
    if place["epoch"] not in (epoch, epoch - 1):
        raise ValueError(f"its epoch is {place['epoch']}")
    if place["stage_step"] > place["total_step"]:
        raise ValueError("its stage has more steps than the whole run")
    finished = place["finished_stages"]
    if not isinstance(finished, list) or not all(isinstance(name, str) for name in finished):
        raise ValueError("finished_stages is no list of stages")
    if unknown := {place["stage"], *finished} - {"", *STAGE_NAMES}:
        raise ValueError(f"there is no stage {shown(unknown.pop())}")
    if place["stage"] and place["stage"] in finished[:-1]:
        raise ValueError("its stage was finished before another one")
    for memory in MEMORIES if "factors" in place else MEMORIES[:1]:
        numbers = place[memory]
        if not isinstance(numbers, dict) or not all(isinstance(name, str) for name in numbers):
            raise ValueError(f"{memory} are no numbers with names")
        for name, value in numbers.items():
            CONTROL.check(value, name)
    for name in ("random", "device_random"):
        state = place["random"] if name == "random" else place.get(name)
        is_state = isinstance(state, Tensor) and holds_tensors({name: state}) and state.dtype is torch.uint8
        if not is_state and not (name == "device_random" and state is None):
            raise ValueError(f"{name} is no state of random numbers")
    if place.get("precision", "32") not in ("32", "bf16"):
        raise ValueError(f"there is no precision {shown(place['precision'])}")
    if place.get("best"):
        as_best(place["best"])


def _check_plain(value: Any, name: str, *, depth: int = 0, is_bounded: bool = True) -> None:
    """Tensors that hold what they claim and plain values, none of them NaN; raises ValueError."""
    is_bounded = is_bounded and name not in UNBOUNDED
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested too deeply")
    if isinstance(value, Tensor):
        if not holds_tensors({name: value}) or (is_bounded and not_finite({name: value}) is not None):
            raise ValueError(f"{name} holds numbers that are not finite, or fewer than it claims")
    elif isinstance(value, dict):
        for key, inside in value.items():
            if not isinstance(key, str | int):
                raise ValueError(f"{name} has something else than names")
            _check_plain(inside, str(key), depth=depth + 1, is_bounded=is_bounded)
    elif isinstance(value, list | tuple):
        for inside in value:
            _check_plain(inside, name, depth=depth + 1, is_bounded=is_bounded)
    elif isinstance(value, float):
        if is_bounded and value not in CONTROL:
            raise ValueError(f"{name} is {shown(value)}")
    elif not isinstance(value, int | str | bool | None):
        raise ValueError(f"{name} is a {type(value).__name__}")


def _check_make(saved: Any, own: Any, name: str) -> None:
    """Whether a value is of the kind of another one, and so is all inside it that both have; raises ValueError."""
    if own is None or saved is None:
        return
    numbers = (int, float)
    is_alike = type(saved) in numbers and type(own) in numbers
    if isinstance(own, tuple):  # torch reads tuples back as such; JSON-like states hold lists
        is_alike = isinstance(saved, list | tuple) and len(saved) == len(own)
    if not is_alike and type(saved) is not type(own):
        raise ValueError(f"{printable(name)[:40]} is a {type(saved).__name__}, not a {type(own).__name__}")
    if isinstance(own, dict) and isinstance(saved, dict):
        for key in own.keys() & saved.keys():
            _check_make(saved[key], own[key], str(key))
    elif isinstance(own, tuple):
        for one, other in zip(saved, own, strict=True):
            _check_make(one, other, name)
