"""From a run's windows to findings: pure functions, on whatever signals there are.

A window is some steps of one stage, boiled down to named numbers. A rule reads a window (and those before it in the
same stage) and is healthy, sick, or, without its signals, silent. Sick in three windows running it fires; it may fire
again after a pause of two; after five healthy ones the matter is closed. docs/doctor.md has the rules in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from piano.doctor.checks import RULES, Rule
from piano.doctor.readings import JUDGES, SEVERITIES, Reading, Severity, Window

PAUSE, RELAX = 2, 5
"""Windows a rule rests at least after it fired, healthy windows that close the matter."""

__all__ = ["RULES", "Finding", "Rule", "Severity", "Watch", "Window", "diagnose", "watches"]


class Finding(NamedTuple):
    """A diagnosis.

    evidence : list of (step, value)
        The signal in every window of the stage up to the last one looked at.
    until : int
        Step of the last sick window.
    windows : int
        Windows of the stage before the rule spoke, that one included.
    is_open : bool
        Whether it was still so at the end.
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


@dataclass
class Watch:
    """One rule's memory, for one judge, within one stage."""

    rule: Rule
    judge: str
    sick: int = 0
    healthy: int = 0
    rest: int = 0
    seen: int = 0
    relaxing: int = 0
    """Healthy windows since a remedy was given or taken back."""
    open: int | None = None
    """Index in `findings` of the matter that is not closed."""
    findings: list[Finding] = field(default_factory=list)
    evidence: list[tuple[int, float]] = field(default_factory=list)

    def look(self, windows: Sequence[Window]) -> Literal["fires", "closes"] | None:
        """See the last of a stage's windows; `findings[-1]` is the finding when it fires, or the one it closes."""
        self.seen += 1
        reading = self.rule.check(windows, self.judge)
        if reading is None:
            return None
        step = windows[-1].step
        if (
            self.evidence
            and self.findings
            and self.findings[-1].signal != reading.signal
            and reading.severity
        ):
            self.evidence = []
        self.evidence.append((step, reading.value))
        self.rest = max(0, self.rest - 1)
        if reading.severity is None:
            self.sick, self.healthy = 0, self.healthy + 1
            if self.open is not None and self.healthy >= RELAX:
                self.findings[self.open] = self.findings[self.open]._replace(is_open=False)
                self.open = None
                return "closes"
            return None
        self.sick, self.healthy = self.sick + 1, 0
        if self.open is not None:
            known = self.findings[self.open]
            worst = max(known.severity, reading.severity, key=SEVERITIES.index)
            self.findings[self.open] = known._replace(
                until=step, severity=worst, evidence=list(self.evidence)
            )
        if self.sick < self.rule.patience or self.rest:
            return None
        self.rest = PAUSE + 1
        if self.open is None:
            self.open = len(self.findings)
            self.findings.append(self._finding(reading, windows[-1]))
        return "fires"

    def _finding(self, reading: Reading, window: Window) -> Finding:
        assert reading.severity is not None
        return Finding(
            name=self.rule.name, severity=reading.severity, sentence=reading.says, signal=reading.signal,
            value=reading.value, threshold=reading.threshold, advice=self.rule.advice, step=window.step,
            evidence=list(self.evidence), stage=window.stage, until=window.step, windows=self.seen,
        )  # fmt: skip


def watches(rules: Sequence[Rule] = RULES) -> list[Watch]:
    """A fresh memory for every rule and, where it is asked of judges, every judge."""
    return [Watch(rule, judge) for rule in rules for judge in (JUDGES if rule.of_judges else ("",))]


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
    watching: list[Watch] = []
    for window in windows:
        if not stage or window.stage != stage[-1].stage:
            findings += [finding for watch in watching for finding in watch.findings]
            stage, watching = [], watches(rules)
        stage.append(window)
        for watch in watching:
            watch.look(stage)
    findings += [finding for watch in watching for finding in watch.findings]
    return sorted(findings, key=lambda finding: finding.step)
