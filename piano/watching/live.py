"""The doctor inside a run: looks on at every step, closes windows, says what it finds and, if it may, acts."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from piano.doctor.rules import RELAX, Finding, RuleWatch, Window, watches
from piano.doctor.signals import ends_window, summarise
from piano.foundation.errors import TrainingError
from piano.foundation.screen_text import wrapped
from piano.stages import JUDGES
from piano.training.run_position import FACTOR
from piano.training.training_run import TrainingRun
from piano.training.watcher import Watcher
from piano.watching.measure import data_signals, measure
from piano.watching.remedies import REMEDIES

SPOILT_IN_A_ROW, STRIKES = 3, 3
"""So many steps in a row that are no numbers are treated; the third time that does not help. RELAX healthy windows
make up for it."""
SAMPLED_WEIGHTS = 8
"""Of every parameter, by which one sees whether a network moved."""


class Applied(NamedTuple):
    """A remedy that may be taken back.

    ratios : dict of str to float
        What it multiplied, and by how much: only the factors that it changed.
    """

    name: str
    words: str
    ratios: dict[str, float]


class Doctor(Watcher):
    """Watches a run.

    Parameters
    ----------
    mode : str
        `advise`: findings are said and logged. `act`: remedies are applied too. In both, a step whose gradient is not
        a number is skipped, and many of them end the run.
    window : int
        Most steps of a window; an epoch is divided evenly.
    """

    name = "doctor"

    def __init__(self, mode: Literal["advise", "act"], *, window: int) -> None:
        self.mode = mode
        self.window = window
        self.optimizers: Mapping[str, Optimizer] = {}
        self.clears_leaks = False
        self.stage = ""
        self.windows: list[Window] = []
        self._watches: list[RuleWatch] = []
        self._lines: list[dict[str, Any]] = []
        self._leaks = 0
        self._refused: dict[int, str] = {}
        self._steps = 0
        """Taken since the last window closed; on a GPU the log's lines come later, ten at a time."""
        self._in_a_row = 0
        self._struck = ""
        """What was wrong in too many steps in a row, until that is treated."""
        self._strikes = 0
        self._healthy = 0
        """Windows since a rule last saw something wrong, or a remedy was given or taken back."""
        self._applied: dict[str, int] = {}
        self._undo: list[Applied] = []
        self._weights: dict[str, Tensor] = {}
        self._good: dict[str, Any] = {}

    # --- what a run calls ------------------------------------------------------------------------------------------

    def begin_stage(self, run: TrainingRun, optimizers: Mapping[str, Optimizer]) -> None:
        """Start afresh with a stage; look at the data once, and at what each optimiser holds."""
        self.optimizers = optimizers
        if run.stage == self.stage:
            return
        is_first = not self.stage
        self.stage, self.windows, self._watches = run.stage, [], watches()
        self._lines, self._leaks, self._steps, self._healthy = [], 0, 0, 0
        self._in_a_row, self._struck = 0, ""
        self._weights = self._sample(run)
        self._remember(run)
        if is_first:
            self._close_window(run, run.runtime.asked_of_main(lambda: data_signals(run)))

    def before_step(self, run: TrainingRun, optimizers: Mapping[str, Optimizer]) -> None:
        """Scale the rates that were just set."""
        for name, optimizer in optimizers.items():
            factor = run.factor("rate/judge" if name in JUDGES else "rate/generator")
            if factor != 1.0:
                for group in optimizer.param_groups:
                    group["lr"] *= factor

    def allows(self, run: TrainingRun, optimizer: Optimizer, norm: Tensor) -> bool:
        """Refuse a step that is not a number; count gradients that are where none should be."""
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for network in (run.generator, run.discriminator):
            for parameter in network.parameters():
                if parameter.grad is not None and id(parameter) not in held:
                    if self.clears_leaks:
                        parameter.grad = None
                    else:
                        self._leaks += 1
        if bool(torch.isfinite(norm)):
            return True
        name = next((name for name, other in self.optimizers.items() if other is optimizer), "network")
        self._refused[run.total_step] = name
        return False

    def read(self, run: TrainingRun, lines: list[dict[str, Any]]) -> None:
        """Keep the lines for the window; mark and count refused steps, and take out what is no number."""
        for line in lines:
            refused = self._refused.pop(line["total_step"], None)
            self._in_a_row = 0 if refused is None else self._in_a_row + 1
            if refused is not None:
                bad = [name for name, value in line.items() if isinstance(value, float) and not math.isfinite(value)]
                for name in bad:
                    del line[name]
                line["skipped"] = f"{refused} did not move: no number in {', '.join(bad) or 'its gradient'}"
            if self._in_a_row >= SPOILT_IN_A_ROW:
                self._struck = line["skipped"]
        self._lines += lines

    def after_step(self, run: TrainingRun) -> None:
        """Treat what cannot wait; at the end of a window measure, diagnose, and act."""
        self._steps += 1
        is_spoilt = self._in_a_row > 0
        steps = run.steps_per_epoch(run.stage)
        is_end = ends_window(run.stage_step, steps_per_epoch=steps, most=self.window)
        if self._struck:
            what, self._struck, self._in_a_row = self._struck, "", 0
            self._strike(run, what)
            is_end = True
        if is_end and self._lines:
            measured = {} if is_spoilt else measure(run)
            self._close_window(run, measured | self._movement(run, self._steps))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values to resume from."""
        state = {
            "stage": self.stage,
            "lines": copy.deepcopy(self._lines),
            "leaks": self._leaks,
            "steps": self._steps,
            "windows": [[window.step, dict(window.signals)] for window in self.windows],
            "clears_leaks": self.clears_leaks,
            "in_a_row": self._in_a_row,
            "struck": self._struck,
            "strikes": self._strikes,
            "healthy": self._healthy,
            "applied": dict(self._applied),
            "undo": [[remedy.name, remedy.words, dict(remedy.ratios)] for remedy in self._undo],
            "weights": dict(self._weights),
        }
        return state | ({"good": self._good} if self.mode == "act" else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there: rules see the stage's windows again, in their order."""
        self.stage, self._lines, self._leaks = state["stage"], list(state["lines"]), state["leaks"]
        self._steps, self.clears_leaks = state["steps"], state["clears_leaks"]
        self._in_a_row, self._struck = state["in_a_row"], state["struck"]
        self._strikes, self._healthy = state["strikes"], state["healthy"]
        self._applied = dict(state["applied"])
        self._undo = [
            Applied(name, words, {factor.removeprefix(FACTOR): ratio for factor, ratio in ratios.items()})
            for name, words, ratios in state["undo"]
        ]
        self._weights, self._good = dict(state["weights"]), state.get("good", {})
        self.windows, self._watches = [], watches()
        for step, signals in state["windows"]:
            self.windows.append(Window(step, self.stage, signals))
            for watch in self._watches:
                watch.look(self.windows)

    def roll_back(self, run: TrainingRun) -> bool:
        """Put back the weights of the last window without a finding; moments of the optimisers are forgotten."""
        if not self._good:
            return False
        run.discriminator.load_state_dict(self._good["discriminator"])
        run.generator.load_state_dict(self._good["generator"])
        run.average.network.load_state_dict(self._good["average"])
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        self._weights = self._sample(run)
        return True

    def roll_back_judges(self, run: TrainingRun) -> bool:
        """Put back the judges of some good windows before the last one; what the generator has learned stays.

        The very last good ones were about to win. They are RELAX to 2 RELAX good windows old, or the stage's first.
        """
        if not self._good:
            return False
        run.discriminator.load_state_dict(self._good["earlier_judges"][0])
        for name in JUDGES:
            if name in self.optimizers:
                self.optimizers[name].state.clear()
        self._weights = self._sample(run)
        return True

    # --- windows ---------------------------------------------------------------------------------------------------

    def _close_window(self, run: TrainingRun, measured: Mapping[str, float]) -> None:
        signals = (summarise(self._lines) if self._lines else {}) | dict(measured)
        self._lines, self._leaks, self._steps = [], 0, 0
        run.event("signals", **measured)
        self.windows.append(Window(run.total_step, run.stage, signals))
        fired = []
        changes = [watch.look(self.windows) for watch in self._watches]
        for watch, change in zip(self._watches, changes, strict=True):
            if change == "fires":
                fired.append(watch)
            elif change == "closes":
                run.event("finding closed", name=watch.rule.name, signal=watch.findings[-1].signal)
        self._healthy = 0 if self._is_sick() else self._healthy + 1
        if self._healthy >= RELAX:
            self._strikes = 0
        if self._healthy >= 2 * RELAX:
            self._relax(run)
        for watch in fired:
            self._speak(run, watch)
        if not self._is_sick():
            self._remember(run)

    def _is_sick(self) -> bool:
        """Whether any rule saw something wrong in the last window."""
        return any(watch.reading and watch.reading.severity in ("warning", "critical") for watch in self._watches)

    def _speak(self, run: TrainingRun, watch: RuleWatch) -> None:
        finding, reading = watch.findings[-1], watch.reading
        assert reading is not None  # it fired
        is_new = finding.step == run.total_step
        remedy = ""
        if reading.signal == "not_finite":
            remedy = "no network moved in those steps"  # whatever more was needed was done at once
        elif self.mode == "act" and finding.severity != "note":
            remedy = self._treat(run, watch)
        if is_new:
            run.event("finding", **report(finding), remedy=remedy)
            then = f"Done: {remedy}." if remedy else finding.advice
            said = (
                f"Doctor, {finding.severity}: {finding.name}. {finding.sentence} "
                f"({finding.signal} {finding.value:.3g}, bound {finding.threshold:.3g}) {then}"
            )
            if run.runtime.is_main:
                tqdm.write(wrapped(said))
        elif remedy:
            run.event("remedy", name=finding.name, signal=reading.signal, value=reading.value, remedy=remedy)

    # --- acting ----------------------------------------------------------------------------------------------------

    def _key(self, watch: RuleWatch) -> str:
        return f"{watch.rule.name}/{watch.judge}"

    def _treat(self, run: TrainingRun, watch: RuleWatch) -> str:
        """Apply the next remedy that changes something; says which, or nothing."""
        ladder, key = REMEDIES.get(watch.rule.name, ()), self._key(watch)
        for attempt in range(len(ladder)):
            index = (self._applied.get(key, 0) + attempt) % len(ladder)
            before = dict(run.factors)
            if ladder[index].apply(self, run):
                self._applied[key] = index + 1
                if not ladder[index].is_kept:
                    self._note(run, watch.rule.name, ladder[index].words, before)
                return ladder[index].words
        return ""

    def _note(self, run: TrainingRun, name: str, words: str, before: Mapping[str, float]) -> None:
        """Remember by how much a remedy multiplied which factors, to take it back when all is well."""
        ratios = {
            factor: value / before.get(factor, 1.0)
            for factor, value in run.factors.items()
            if value != before.get(factor, 1.0)
        }
        self._healthy = 0
        if ratios:
            self._undo.append(Applied(name, words, ratios))

    def _relax(self, run: TrainingRun) -> None:
        """Take back the newest remedy halfway: what caused it may still be there. Older ones wait for their turn."""
        if not self._undo:
            return
        remedy = self._undo.pop()
        for factor, ratio in remedy.ratios.items():
            run.factors[factor] /= math.sqrt(ratio)
        self._healthy = 0
        run.event("relaxed", name=remedy.name, remedy=remedy.words)

    def _strike(self, run: TrainingRun, what: str) -> None:
        """Steps in a row were no numbers."""
        self._strikes += 1
        if self.mode == "advise" or self._strikes >= STRIKES or not self.roll_back(run):
            self._close_window(run, {})
            raise TrainingError(
                f"stage {run.stage}, step {run.stage_step}: {what}, {SPOILT_IN_A_ROW} steps in a row. Stopped; "
                f"checkpoints before it are kept. Lower the learning rate, look for broken sound in the data, "
                f"or resume from the last checkpoint."
            )
        before, words = dict(run.factors), "went back to the last good weights, both learning rates x 0.5"
        for name in ("rate/judge", "rate/generator"):
            run.factors[name] = 0.5 * run.factor(name)
        self._note(run, "divergence", words, before)
        run.event("remedy", name="divergence", remedy=words)

    def _remember(self, run: TrainingRun) -> None:
        """Keep the weights of a window without a finding."""
        if self.mode != "act":
            return
        networks = {"generator": run.generator, "average": run.average.network, "discriminator": run.discriminator}
        earlier, age = self._good.get("earlier_judges", []), self._good.get("age", 0)
        self._good = {
            name: {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
            for name, network in networks.items()
        }
        is_first = not earlier or not self.windows
        if is_first or age + 1 >= RELAX:
            earlier = [*([] if is_first else earlier[-1:]), self._good["discriminator"]]
            age = -1
        self._good |= {"earlier_judges": earlier, "age": age + 1}

    # --- who moved -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _sample(self, run: TrainingRun) -> dict[str, Tensor]:
        """A few weights of every parameter, by part."""
        return {
            name: torch.cat(
                [
                    parameter.detach().flatten()[:: max(1, parameter.numel() // SAMPLED_WEIGHTS)][:SAMPLED_WEIGHTS]
                    for module in modules
                    for parameter in module.parameters()
                ]
            )
            .float()
            .cpu()
            for name, modules in run.parts.items()
        }

    def _movement(self, run: TrainingRun, steps: int) -> dict[str, float]:
        """Relative change of the parts that learn since the last window, and what moved though it should not."""
        held = {
            id(parameter)
            for optimizer in self.optimizers.values()
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        now = self._sample(run)
        found, leaks = {}, float(self._leaks)
        for name, modules in run.parts.items():
            change = float((now[name] - self._weights[name]).norm() / self._weights[name].norm().clamp_min(1e-12))
            if any(id(parameter) in held for module in modules for parameter in module.parameters()):
                found[f"{name}_moved"] = change
                found[f"{name}_step_size"] = change / max(1, steps)
            elif change > 0.0:
                leaks += 1
        leaks += sum(self._holds_both(run, optimizer) for optimizer in self.optimizers.values())
        self._weights = now
        return found | {"wiring_leaks": leaks}

    def _holds_both(self, run: TrainingRun, optimizer: Optimizer) -> bool:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return all(
            any(id(parameter) in held for parameter in network.parameters())
            for network in (run.generator, run.discriminator)
        )


def report(finding: Finding) -> dict[str, Any]:
    """A finding's line in metrics.jsonl."""
    return {
        "name": finding.name,
        "severity": finding.severity,
        "sentence": finding.sentence,
        "signal": finding.signal,
        "value": finding.value,
        "threshold": finding.threshold,
        "advice": finding.advice,
    }
