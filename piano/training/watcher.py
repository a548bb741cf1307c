"""Who looks at a run while it trains, and may step in: the doctor, the gates, validation, whatever you add."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class Watcher:
    """Called at fixed places of every run (`run`, a TrainingRun) that it watches. Here, nothing happens at any of them.

    A watcher has the methods that it needs. One that must remember something over a resume has `state_dict` and
    `load_state_dict` as well, and a `name` to be kept under.
    """

    name = ""

    def begin_stage(self, run: Any, optimizers: Mapping[str, Optimizer]) -> None:
        """A stage begins, or goes on after resuming."""

    def before_step(self, run: Any, optimizers: Mapping[str, Optimizer]) -> None:
        """The rates of this step are set."""

    def allows(self, run: Any, optimizer: Optimizer, norm: Tensor) -> bool:
        """Whether a network may move by its gradients, whose norm this was before clipping."""
        return True

    def read(self, run: Any, lines: list[dict[str, Any]]) -> None:
        """Lines about to be logged; what is not finite in them and was dealt with is taken out."""

    def after_step(self, run: Any) -> None:
        """A step is over and logged."""

    def end_epoch(self, run: Any) -> Mapping[str, float]:
        """An epoch is over: losses on validation music by name, from which plateaus and early stopping follow."""
        return {}

    def before_save(self, run: Any) -> None:
        """A checkpoint is about to be written in the middle of a stage."""

    def after_save(self, run: Any) -> None:
        """A checkpoint was written; called in the main process alone."""

    def after_stage(self, run: Any, stage: str) -> None:
        """A stage is complete, and about to be saved."""
