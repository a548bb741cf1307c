"""How fast each network learns, how much the adversary counts, and when a stage has learned enough.

A rate is base x cosine x warm-up. The base is what the settings say, lowered for good by a plateau; the cosine falls
over the whole stage to FINAL_RATE; the warm-up rises over the first steps. In an adversarial stage the adversary comes
after the generator-only steps, if there are any, and its weight then rises from 0 (the ramp). Plateaus and early
stopping look at the ends of epochs and are blind until warm-up and ramp are over. docs/training-guide.md shows each.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from piano.config_reader import (
    DiscriminatorPlateauSettings,
    EarlyStoppingSettings,
    GeneratorPlateauSettings,
    PlateauSettings,
    SchedulerSettings,
)
from piano.foundation.randomness import keyed_generator
from piano.stages import JUDGES, STAGE, stages_of

FINAL_RATE = 0.05
"""Share of the learning rate left at the end of a stage (cosine)."""
RAMP_SHARE = 0.2
"""Part of a stage over which the adversary's weight grows from 0 to its value, where the settings name no steps."""
PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class Opening(NamedTuple):
    """Where in a stage's beginning a step lies."""

    is_alone: bool = False
    """Whether the generator learns alone: no judge learns, none is asked."""
    ramp: float = 1.0
    """Share of its weight that the adversary has, 0 to 1."""


SETTLED = Opening()


class Step:
    """One step of a stage.

    index : int
        Counts from 0 within the stage.
    progress : float
        Share of the stage that is over, 0 to 1.
    opening : Opening
        Whether the generator learns alone, and how much the adversary counts.
    """

    def __init__(self, key: tuple[int, str], index: int, progress: float, opening: Opening = SETTLED) -> None:
        self.key = key
        self.index = index
        self.progress = progress
        self.opening = opening

    def random(self, purpose: str) -> torch.Generator:
        """Random numbers of this step alone: resuming needs no memory of what was drawn before."""
        return keyed_generator(*self.key, self.index, purpose)

    def noise(self, purpose: str, *shape: int) -> Tensor:
        """White noise of a shape."""
        return torch.randn(*shape, generator=self.random(purpose))

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) of a shape."""
        return torch.rand(*shape, generator=self.random(purpose))


class EpochEnd(NamedTuple):
    """What the end of an epoch led to."""

    lowered: dict[str, float]
    """Optimiser -> new base rate, for each that was lowered."""
    is_best: bool
    """Whether this epoch's averaged weights are the ones to keep so far."""
    has_stopped: bool


def rise(share: float, shape: str) -> float:
    """From 0 to 1 as `share` does: `linear`, or `cosine` for a gentle start and end."""
    share = min(1.0, max(0.0, share))
    return 0.5 * (1.0 - math.cos(math.pi * share)) if shape == "cosine" else share


class PlateauRate:
    """A base rate that torch's ReduceLROnPlateau lowers: it moves an optimiser of no consequence, we read its rate."""

    def __init__(self, base: float, settings: PlateauSettings) -> None:
        self._carrier = SGD([torch.zeros(1, requires_grad=True)], lr=base)
        self._plateau = None
        if settings.patience is not None:
            # An absolute threshold, for a relative one is no threshold for a loss that may be negative.
            self._plateau = ReduceLROnPlateau(
                self._carrier,
                factor=settings.factor,
                patience=settings.patience,
                min_lr=settings.min_lr,
                threshold=settings.threshold,
                threshold_mode="abs",
                eps=0.0,
            )

    @property
    def rate(self) -> float:
        """The base rate now."""
        return self._carrier.param_groups[0]["lr"]

    def see(self, value: float) -> bool:
        """Take note of an epoch's metric; returns whether the rate was lowered."""
        if self._plateau is None:
            return False
        before = self.rate
        self._plateau.step(value)
        return self.rate < before

    def state_dict(self) -> dict[str, float]:
        """Rate and counters, as plain numbers."""
        counters = self._plateau.state_dict() if self._plateau else {}
        return {"rate": self.rate} | {name: counters[name] for name in PLATEAU_STATE if name in counters}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from `state_dict`; without a plateau (any more) the base rate is the settings' own."""
        if self._plateau is None:
            return
        self._carrier.param_groups[0]["lr"] = state["rate"]
        self._plateau.load_state_dict({name: state[name] for name in PLATEAU_STATE if name in state})


class EarlyStop:
    """Says when a metric has not fallen for too long, and holds the weights of the epoch at which it was lowest."""

    def __init__(self, settings: EarlyStoppingSettings) -> None:
        self.settings = settings
        self.best = math.inf
        self.bad_epochs = 0
        self.has_stopped = False
        self.weights: dict[str, Tensor] | None = None

    def see(self, value: float, weights: Mapping[str, Tensor]) -> bool:
        """Take note of an epoch's metric and of its weights; returns whether it is the best so far."""
        if self.settings.patience is None or self.has_stopped:
            return False
        if value < self.best - self.settings.threshold:
            self.best, self.bad_epochs = value, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
            return True
        self.bad_epochs += 1
        self.has_stopped = self.bad_epochs > self.settings.patience
        return False

    def state_dict(self) -> dict[str, Any]:
        """Counters, and the weights that are kept."""
        return {
            "best": self.best,
            "bad_epochs": self.bad_epochs,
            "has_stopped": self.has_stopped,
            "weights": copy.copy(self.weights),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.best, self.bad_epochs = state["best"], state["bad_epochs"]
        self.has_stopped, self.weights = state["has_stopped"], state["weights"]


class Schedules:
    """The schedules of the stage at hand, and all they remember.

    Parameters
    ----------
    settings : SchedulerSettings
    """

    def __init__(self, settings: SchedulerSettings) -> None:
        self.settings = settings
        self.begin("", warmup_steps=0)

    def begin(self, stage: str, *, warmup_steps: int, first: int = 0) -> None:
        """A new stage: everything of the one before is forgotten.

        Parameters
        ----------
        stage : str
        warmup_steps : int
            The stage's own, for every optimiser whose warm-up the settings do not replace.
        first : int
            Index of its first step: above 0 where it learns again, in a longer run.
        """
        self.first = first
        self.stage = stage
        self.warmup_steps = warmup_steps
        self.early_stop = EarlyStop(self.settings.early_stopping)
        self._bases: dict[str, PlateauRate] = {}
        self._ramp_from: float | None = None
        self._sums: dict[str, list[float]] = {}
        self._resumed: dict[str, Mapping[str, float]] = {}

    def attach(self, rates: Mapping[str, float]) -> None:
        """Name the stage's optimisers and their base rates; what was resumed goes on from where it was."""
        self._bases = {name: PlateauRate(rate, self._plateau_of(name)) for name, rate in rates.items()}
        for name, state in self._resumed.items():
            if name in self._bases:
                self._bases[name].load_state_dict(state)
        self._resumed = {}

    def _plateau_of(self, name: str) -> GeneratorPlateauSettings | DiscriminatorPlateauSettings:
        return self.settings.d_plateau if name in JUDGES else self.settings.g_plateau

    # --- within a step ---------------------------------------------------------------------------------------------

    @property
    def _is_adversarial(self) -> bool:
        return self.stage in stages_of("adversarial")

    @property
    def pretrain_steps(self) -> int:
        """Steps of the stage in which the generator learns alone."""
        has_them = self.settings.pretrain_g_only and self._is_adversarial
        return self.settings.g_pretrain_steps if has_them else 0

    def opening(self, index: int, progress: float) -> Opening:
        """What step `index` is under; `progress` is the share of the stage that is over."""
        if not self._is_adversarial:
            return SETTLED
        index -= self.first
        if index < self.pretrain_steps:
            return Opening(is_alone=True, ramp=0.0)
        if self._ramp_from is None:
            self._ramp_from = progress if self.pretrain_steps else 0.0
        if self.settings.adv_ramp_steps:
            share = (index - self.pretrain_steps) / self.settings.adv_ramp_steps
        else:
            share = (progress - self._ramp_from) / RAMP_SHARE
        return Opening(ramp=rise(share, self.settings.adv_ramp_type))

    def warmup(self, name: str, index: int) -> float:
        """Share of its rate that an optimiser has at step `index`; a judge's steps count from where it begins."""
        steps, shape = self.warmup_steps, "linear"
        index -= self.first
        if name in JUDGES:
            index = max(0, index - self.pretrain_steps)
        elif self.settings.g_warmup_steps and self._is_adversarial:
            steps, shape = self.settings.g_warmup_steps, self.settings.g_warmup_type
        return rise((index + 1) / steps, shape) if index < steps else 1.0

    def rates(self, index: int, progress: float) -> dict[str, float]:
        """Optimiser -> learning rate of step `index`."""
        cosine = FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + math.cos(math.pi * progress))
        return {name: base.rate * (cosine * self.warmup(name, index)) for name, base in self._bases.items()}

    def numbers(self, opening: Opening) -> dict[str, float | int]:
        """What the log says of a step's opening, in the adversarial stages."""
        if not self._is_adversarial:
            return {}
        return {"training/pretrain_phase": int(opening.is_alone), "training/adv_ramp": opening.ramp}

    # --- at the end of an epoch ------------------------------------------------------------------------------------

    def note(self, numbers: Mapping[str, Any]) -> None:
        """Add one step's logged numbers to the means of the epoch."""
        stage = STAGE[self.stage]
        wanted = {name for name in (stage.own_term, stage.adversarial_term) if name}
        wanted |= {f"{name}_loss" for name in JUDGES}
        for name in wanted & numbers.keys():
            total, count = self._sums.get(name, [0.0, 0])
            self._sums[name] = [total + numbers[name], count + 1]

    def end_epoch(
        self, index: int, progress: float, *, validation: Mapping[str, float], weights: Mapping[str, Tensor]
    ) -> EpochEnd:
        """Let plateaus and early stopping see an epoch, unless warm-up or ramp are not over.

        Parameters
        ----------
        index : int
            Steps of the stage so far.
        progress : float
            Share of the stage that is over.
        validation : mapping
            `validation_loss`, and `validation_ear_loss`, `validation_professor_loss` of judges; empty: not measured.
        weights : mapping
            Of the averaged generator, kept if the epoch is the best.

        Returns
        -------
        EpochEnd
        """
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        if not self.is_settled(index, progress):
            return EpochEnd({}, is_best=False, has_stopped=False)
        lowered = {}
        for name, base in self._bases.items():
            value = self._metric(name, self._plateau_of(name).metric, means, validation)
            if value is not None and base.see(value):
                lowered[name] = base.rate
        value = self._metric("", self.settings.early_stopping.metric, means, validation)
        is_best = value is not None and self.early_stop.see(value, weights)
        return EpochEnd(lowered, is_best=is_best, has_stopped=self.early_stop.has_stopped)

    def is_settled(self, index: int, progress: float) -> bool:
        """Whether generator-only steps, warm-ups and ramp are over."""
        if self.pretrain_steps and self._ramp_from is None:
            return False
        is_warm = all(self.warmup(name, index) >= 1.0 for name in self._bases)
        return is_warm and self.opening(index, progress) == SETTLED

    def _metric(
        self, name: str, metric: str, means: Mapping[str, float], validation: Mapping[str, float]
    ) -> float | None:
        """A metric of an optimiser ("": of the stage), None where the stage has none."""
        if metric == "validation":
            return validation.get(f"validation_{name}_loss" if name in JUDGES else "validation_loss")
        if name in JUDGES:
            return means.get(f"{name}_loss")
        stage = STAGE[self.stage]
        return means.get(stage.adversarial_term if metric == "adversarial" else stage.own_term)

    def forget_judgements(self) -> None:
        """Other music judges from here on: no loss of before can be better or worse than one of now."""
        self.early_stop = EarlyStop(self.settings.early_stopping)
        self._sums = {}
        self._resumed = {name: {"rate": state["rate"]} for name, state in self._resumed.items()}

    # --- keeping ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs to go on as if nothing had happened: plain values, and the best weights."""
        return {
            "stage": self.stage,
            "warmup_steps": self.warmup_steps,
            "ramp_from": self._ramp_from,
            "sums": copy.deepcopy(self._sums),
            "early_stop": self.early_stop.state_dict(),
            "rates": {name: base.state_dict() for name, base in self._bases.items()},
        } | ({"first": self.first} if self.first else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; the rates take effect at the next `attach`."""
        self.begin(state["stage"], warmup_steps=state["warmup_steps"], first=state.get("first", 0))
        self._ramp_from = state["ramp_from"]
        self._sums = copy.deepcopy(dict(state["sums"]))
        self.early_stop.load_state_dict(state["early_stop"])
        self._resumed = dict(state["rates"])
