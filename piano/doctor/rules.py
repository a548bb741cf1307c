"""From a run's windows to findings: pure functions, on whatever signals there are.

A window is some steps of one stage, boiled down to named numbers. A rule reads a window (and those before it in the
same stage) and is healthy, sick, or, without its signals, silent. Sick in three windows running it fires; it may fire
again after a pause of two; after five healthy ones the matter is closed. docs/doctor.md has the rules in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from piano.doctor.checks import RULES, Rule
from piano.doctor.windows import JUDGES, SEVERITIES, Reading, Severity, Window
from piano.foundation.doors import fill

PAUSE, RELAX = 2, 5
"""Windows a rule rests at least after it fired, healthy windows that close the matter."""

__all__ = ["RULES", "Finding", "Rule", "RuleWatch", "Severity", "Window", "diagnose", "watches"]


class Finding(NamedTuple):
    """A diagnosis.

    evidence : list of (step, value)
        The finding's own signal in every window of the stage, until the matter was closed.
    until : int
        Step of the last sick window.
    windows : int
        Windows of the stage before the rule spoke, that one included.
    is_open : bool
        Whether it was still so at the end of the run.
    until_stage_end : bool
        Whether it was still so when its stage ended and another one began.
    """

    name: str
    severity: Severity
    sentence: str
    signal: str
    value: float
    threshold: float
    advice: str
    step: int
    evidence: list[tuple[int, float]]
    stage: str = ""
    until: int = 0
    windows: int = 0
    is_open: bool = True
    until_stage_end: bool = False


@dataclass
class RuleWatch:
    """One rule's memory, for one judge, within one stage."""

    rule: Rule
    judge: str
    sick: int = 0
    healthy: int = 0
    rest: int = 0
    seen: int = 0
    open: int | None = None
    """Index in `findings` of the matter that is not closed."""
    findings: list[Finding] = field(default_factory=list)
    reading: Reading | None = None
    """What the rule saw in the last window; None where it was silent."""
    readings: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Every (step, value) that was read, by signal."""

    def look(self, windows: Sequence[Window]) -> Literal["fires", "closes"] | None:
        """See the last of a stage's windows; `findings[-1]` is the finding when it fires, or the one it closes."""
        self.seen += 1
        self.reading = reading = self.rule.check(windows, self.judge)
        if reading is None:
            return None
        step = windows[-1].step
        self.readings.setdefault(reading.signal, []).append((step, reading.value))
        self.rest = max(0, self.rest - 1)
        is_sick = reading.severity is not None
        self.sick, self.healthy = (self.sick + 1, 0) if is_sick else (0, self.healthy + 1)
        if self.open is not None:
            self.findings[self.open] = self._lasting(self.findings[self.open], reading, windows)
        if not is_sick:
            if self.open is not None and self.healthy >= RELAX:
                self.findings[self.open] = self.findings[self.open]._replace(is_open=False)
                self.open = None
                return "closes"
            return None
        if self.sick < self.rule.patience or self.rest:
            return None
        self.rest = PAUSE + 1
        if self.open is None:
            self.open = len(self.findings)
            self.findings.append(self._finding(reading, windows))
        return "fires"

    def _finding(self, reading: Reading, windows: Sequence[Window]) -> Finding:
        assert reading.severity is not None
        return Finding(
            name=self.rule.name,
            severity=reading.severity,
            sentence=reading.says,
            signal=reading.signal,
            value=reading.value,
            threshold=reading.threshold,
            advice=fill(self.rule.advice),
            step=windows[-1].step,
            evidence=self._evidence(reading.signal, windows),
            stage=windows[-1].stage,
            until=windows[-1].step,
            windows=self.seen,
        )

    def _lasting(self, finding: Finding, reading: Reading, windows: Sequence[Window]) -> Finding:
        """A finding that is not closed, one window later: its signal stays its own, whatever made this window sick."""
        evidence = self._evidence(finding.signal, windows)
        if reading.severity is None:
            return finding._replace(evidence=evidence)
        worst = max(finding.severity, reading.severity, key=SEVERITIES.index)
        return finding._replace(until=windows[-1].step, severity=worst, evidence=evidence)

    def _evidence(self, signal: str, windows: Sequence[Window]) -> list[tuple[int, float]]:
        """A signal's course in the stage; of one that no window holds (it is made of others) what was read of it."""
        series = [(window.step, window.signals[signal]) for window in windows if signal in window.signals]
        return [(step, value) for step, value in series if math.isfinite(value)] or list(self.readings[signal])


def watches(rules: Sequence[Rule] = RULES) -> list[RuleWatch]:
    """A fresh memory for every rule and, where it is asked of judges, every judge."""
    return [RuleWatch(rule, judge) for rule in rules for judge in (JUDGES if rule.of_judges else ("",))]


def diagnose(windows: Sequence[Window], *, rules: Sequence[Rule] = RULES) -> list[Finding]:
    """Everything that can be said about a run, in the order in which it could be said.

    Parameters
    ----------
    windows : sequence of Window
        In the order of the run; rules start afresh with every stage.
    rules : sequence of Rule

    Returns
    -------
    list of Finding
        One for each matter, however often it fired while it lasted.
    """
    findings: list[Finding] = []
    stage: list[Window] = []
    watching: list[RuleWatch] = []
    for window in windows:
        if not stage or window.stage != stage[-1].stage:
            findings += [
                finding._replace(is_open=False, until_stage_end=finding.is_open)
                for watch in watching
                for finding in watch.findings
            ]
            stage, watching = [], watches(rules)
        stage.append(window)
        for watch in watching:
            watch.look(stage)
    findings += [finding for watch in watching for finding in watch.findings]
    return sorted(findings, key=lambda finding: finding.step)
