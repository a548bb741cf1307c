"""What the doctor may do about a finding: in order, one at a time, written down, and taken back when it is over."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from torch.optim import Optimizer

from piano.stages import JUDGES
from piano.training.training_run import TrainingRun


class Patient(Protocol):
    """What a remedy may touch besides the run's factors."""

    optimizers: Mapping[str, Optimizer]
    clears_leaks: bool

    def roll_back(self, run: TrainingRun) -> bool:
        """Put back the last good weights, averaged ones included, and forget the optimisers' moments."""
        ...

    def roll_back_judges(self, run: TrainingRun) -> bool:
        """Put back judges of some windows ago and forget their optimisers' moments; the generator stays."""
        ...


class Scale(NamedTuple):
    """One factor times a number, within bounds."""

    factor: str
    times: float
    least: float
    most: float
    words: str

    def apply(self, run: TrainingRun) -> bool:
        """Change it; False where the bound is reached."""
        now = run.factor(self.factor)
        then = min(self.most, max(self.least, now * self.times))
        if then == now:
            return False
        run.factors[self.factor] = then
        return True


class Remedy(NamedTuple):
    """One thing to do."""

    words: str
    """What was done, for the log and the screen."""
    apply: Callable[[Patient, TrainingRun], bool]
    """Does it; False where it cannot or would change nothing: then the next one is tried."""
    is_kept: bool = False
    """Whether it stays when all is well again."""


def scale(factor: str, times: float, words: str, *, least: float = 1 / 64, most: float = 64.0) -> Remedy:
    """Multiply a factor of the run."""
    change = Scale(factor, times, least, most, words)
    return Remedy(words, lambda patient, run: change.apply(run))


def together(words: str, *remedies: Remedy) -> Remedy:
    """Several at once; done if any was."""
    return Remedy(words, lambda patient, run: any([remedy.apply(patient, run) for remedy in remedies]))


def clear_leaks(patient: Patient, run: TrainingRun) -> bool:
    """From now on throw away gradients of networks that are not to learn."""
    was, patient.clears_leaks = patient.clears_leaks, True
    return not was


def wake_judge(patient: Patient, run: TrainingRun) -> bool:
    """Give a judge whose rate is all but zero the generator's."""
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in patient.optimizers.items()}
    judges = [rate for name, rate in rates.items() if name in JUDGES]
    others = [rate for name, rate in rates.items() if name not in JUDGES]
    if not judges or not others or min(judges) > 0.01 * max(others) or min(judges) <= 0.0:
        return False
    run.factors["rate/judge"] = run.factor("rate/judge") * max(others) / min(judges)
    return True


ROLL_BACK = Remedy("went back to the last good weights", lambda patient, run: patient.roll_back(run))
SLOWER_JUDGE = scale("rate/judge", 0.25, "judges' learning rate x 0.25", least=1 / 1024)
EARLIER_JUDGE = together(
    "judges went back to earlier weights, and learn at a quarter of the rate",
    Remedy("", lambda patient, run: patient.roll_back_judges(run)),
    SLOWER_JUDGE,
)
SLOWER_GENERATOR = scale("rate/generator", 0.5, "generator's learning rate x 0.5")
BOTH_SLOWER = together("both learning rates x 0.5", scale("rate/judge", 0.5, ""), scale("rate/generator", 0.5, ""))
MORE_PENALTY = scale("penalty", 2.0, "penalty x 2")
MORE_ENERGY = scale("energy_score", 2.0, "energy score x 2", most=8.0)
JUDGE_RESTS = scale("judge_every", 2.0, "judges learn half as often", least=1.0, most=8.0)

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "D divergence": (
        together(
            "went back to the last good weights, judges' learning rate x 0.1",
            ROLL_BACK,
            scale("rate/judge", 0.1, "", least=1 / 1024),
        ),
    ),
    "D overpowering": (EARLIER_JUDGE, JUDGE_RESTS, MORE_PENALTY),
    "vanishing generator gradient": (SLOWER_JUDGE, JUDGE_RESTS, MORE_PENALTY),
    "D failure": (
        Remedy("judges' learning rate raised to the generator's", wake_judge, is_kept=True),
        scale("rate/judge", 2.0, "judges' learning rate x 2", most=4.0),
        scale("penalty", 0.5, "penalty x 0.5"),
        ROLL_BACK,
    ),
    "mode collapse": (ROLL_BACK, MORE_ENERGY, SLOWER_GENERATOR, MORE_PENALTY),
    "mode dropping": (MORE_ENERGY, ROLL_BACK),
    "divergence": (
        together(
            "went back to the last good weights, generator's learning rate x 0.1, judges' x 0.5",
            ROLL_BACK,
            scale("rate/generator", 0.1, "", least=1e-3),
            scale("rate/judge", 0.5, ""),
        ),
    ),
    "oscillation": (BOTH_SLOWER,),
    "posterior collapse": (
        together(
            "weight of the KL term x 0.1, back to the last good weights", scale("beta", 0.1, "", least=1e-3), ROLL_BACK
        ),
    ),
    "posterior explosion": (scale("beta", 2.0, "weight of the KL term x 2"),),
    "D overfitting": (MORE_PENALTY, SLOWER_JUDGE),
    "G overfitting": (scale("rate/generator", 0.3, "learning rate x 0.3"),),
    "memorisation": (scale("rate/generator", 0.3, "generator's learning rate x 0.3"),),
    "wiring": (Remedy("gradients of networks that are not to learn are thrown away", clear_leaks, is_kept=True),),
}
"""What helps against what, in order. A finding without a row is for a person to act on."""
