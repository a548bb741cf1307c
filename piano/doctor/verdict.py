"""What became of a run, in one sentence for someone who reads nothing else: from the lines of its metrics.jsonl.

A run that is ruined is called ruined. `Nothing is wrong` is said only where enough was learned, every check that was
made was passed, the music was not worse than it should be, and every figure reads healthy.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piano.doctor.ranges import RangeRow, is_ill, table
from piano.doctor.rules import Finding, Window, diagnose
from piano.doctor.signals import WINDOW_STEPS, digest, is_spoilt, is_step
from piano.foundation.doors import command
from piano.foundation.score_words import (
    FAR_FROM,
    FIRST_RULER,
    HARDLY_FROM,
    JUDGED_AGAIN,
    UNKNOWN,
    drone_words,
    is_number,
    score_sentence,
    score_words,
)
from piano.foundation.screen_text import counted, join_names, printable
from piano.stages import FIRST_STAGE, STAGE

FEWEST_STEPS = WINDOW_STEPS
"""Of a whole run: fewer do not fill one of the doctor's windows, and leave everything close to where it began."""
MOST_NAMED = 4
SAME = 0.3
"""Variety of made music over real below which its pieces are all alike."""
LONGER = "Train it longer."
LEAST_MINUTES = 10.0
"""Of a run that is to be trained longer."""


class Verdict(NamedTuple):
    """What became of a run."""

    is_ruined: bool
    """Whether its music is not worth listening to, or nothing can be said of it: no invitation to listen."""
    sentence: str
    advice: str
    """What to do about it; empty where nothing is."""
    steps: int
    """Steps it learned."""
    faults: tuple[str, ...] = ()
    """Everything that is not well beside findings, the weightiest first; the sentence names the first of them."""
    seconds: float = 0.0
    """How long it took so far, by its log."""

    def advice_in(self, folder: Path) -> str:
        """The advice, with the command where it is to train the run of a folder longer, on an indented line."""
        if self.advice != LONGER:
            return self.advice
        words = ("--checkpoints", folder, "--resume", "--minutes", longer_minutes(self.seconds))
        return f"Train it longer (--minutes is the time of the whole run):\n  {command('train', *words)}"


def longer_minutes(seconds: float) -> str:
    """About twice the time that a run has had, for --minutes."""
    return f"{max(2.0 * seconds / 60.0, LEAST_MINUTES):.0f}"


class Facts(NamedTuple):
    """What the events of a log say about a run that did not fall ill."""

    score: Mapping[str, Any] | None
    """The best score's line; None where there is none on a scale."""
    unknown: str
    """Why there is none, as the log says it; empty where nobody asked."""
    gates: Mapping[str, Mapping[str, Any]]
    """The last gate of every stage that had one."""
    left_out: Sequence[str]
    """Stages that got no time."""
    unfinished: str
    """The stage in which the log ends."""


def run_verdict(lines: Iterable[Any], measured: Mapping[str, Any] | None = None) -> Verdict:
    """Judge a run by the lines of its metrics.jsonl, in their order; junk among them is passed over.

    Parameters
    ----------
    lines : iterable of dicts
        From `run_log.read_history`, or read one by one.
    measured : mapping, optional
        `kernel_score`, `clips`, `songs` and, where they are known, `self_similarity` and `self_similarity_real` of a
        later and longer measurement of its music: they take the place of those in the log, so that one page never gives
        two figures for one thing.
    """
    found = digest(lines)
    return judge(found.windows, diagnose(found.windows), found.kept, steps=found.steps, measured=measured)


def judge(
    windows: Sequence[Window],
    findings: Sequence[Finding],
    events: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    measured: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict on a run that was read already (`signals.digest`); `measured` as for `run_verdict`."""
    times = (line.get("seconds") for line in events)
    seconds = max((float(time) for time in times if is_number(time)), default=0.0)  # type: ignore[arg-type]
    return _judge(windows, findings, events, steps=steps, measured=measured)._replace(seconds=seconds)


def _judge(
    windows: Sequence[Window],
    findings: Sequence[Finding],
    events: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    measured: Mapping[str, Any] | None,
) -> Verdict:
    """The verdict, but for the time."""
    if not steps:
        return Verdict(True, "It learned nothing: not one step was taken.", LONGER, 0)
    has_died = died(events)
    ill, advice = illness(windows, findings, steps=steps, has_died=has_died)
    facts = facts_of(events)
    if measured is not None:
        facts = facts._replace(score={**(facts.score or {}), **measured}, unknown="")
    if ill and (has_died or any(_is_fatal(finding) for finding in findings)):
        return Verdict(True, f"{ill}{_also_drone(facts)}", advice, steps)
    if has_died:
        sentence = f"The run died after {counted(steps, 'step')}: its last one gave something that is no number."
        return Verdict(True, sentence, "Go on from the last good checkpoint with lower learning rates.", steps)
    staged = any(window.stage in STAGE for window in windows) or bool(
        {str(line.get("stage")) for line in events} & STAGE.keys()
    )
    ruin = ruin_of(facts, steps=steps) if staged else ""
    faults = faults_of(facts, table(windows, events), steps=steps)
    if ruin:
        also = _also([*([ill.rstrip(".")] if ill else []), *faults])
        return Verdict(True, f"{ruin}{also}", _advice(facts, steps) or advice, steps, tuple(faults))
    music = f" Its music is {_score_sentence(facts.score)}." if facts.score else ""
    if ill:
        return Verdict(False, f"{ill}{music}{_also(faults)}", advice or _advice(facts, steps), steps, tuple(faults))
    if faults:
        sentence = f"The run went through ({counted(steps, 'step')}), but not all is well: {_listed(faults)}."
        return Verdict(False, f"{sentence}{music}", _advice(facts, steps), steps, tuple(faults))
    sentence = f"Nothing is wrong with this run as far as its log tells ({counted(steps, 'step')})."
    return Verdict(False, f"{sentence}{music} Whether it sounds well, only ears tell.", "", steps)


# --- what fell ill


def illness(windows: Sequence[Window], findings: Sequence[Finding], *, steps: int, has_died: bool) -> tuple[str, str]:
    """What the findings come to, in a sentence, and the advice of the first; empty where there are none to speak of."""
    length = counted(steps, "step")
    blocks = [[findings[index] for index in block] for block in told_together(findings, stages_of(windows))]
    bad = [block for block in blocks if any(finding.severity == "critical" for finding in block)]
    warned = [block for block in blocks if any(finding.severity == "warning" for finding in block)]
    names = list(dict.fromkeys(block[0].name for block in [*bad, *warned]))

    def lead(block: Sequence[Finding]) -> str:
        first = first_of(block)
        also = ", ".join(name for name in names if name != first.name)
        return f"{first.sentence} ({_named(block)}.){f' Also: {also}.' if also else ''}"

    still = [block for block in bad if any(_is_fatal(finding) for finding in block)]
    if has_died and not still:
        still = [block for block in warned if any(finding.is_open for finding in block)]
    if still:
        return f"The run {'died' if has_died else 'failed'}: {lead(still[0])}", first_of(still[0]).advice
    left = [block for block in bad if any(finding.until_stage_end for finding in block)]
    if left:
        return f"The run went through ({length}), but fell ill: {lead(left[0])}", first_of(left[0]).advice
    if bad:
        return f"The run fell ill on the way and came out of it ({length}): {lead(bad[0])}", ""
    if warned:
        return f"The run went through ({length}), with a warning: {lead(warned[0])}", warned[0][0].advice
    return "", ""


def _named(block: Sequence[Finding]) -> str:
    """`It is called D overpowering; first seen at step 48 in stage ear (...)`."""
    return f"It is called {first_of(block).name}{in_stages(block).replace(', first seen', '; first seen', 1)}"


def _is_fatal(finding: Finding) -> bool:
    return finding.is_open and finding.severity == "critical"


def died(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the run's last step was no number."""
    last = next((line for line in reversed(history) if is_step(line)), None)
    return last is not None and is_spoilt(last)


def stages_of(windows: Sequence[Window]) -> list[str]:
    """The stages in which there are windows, in their order."""
    return list(dict.fromkeys(window.stage for window in windows))


def told_together(findings: Sequence[Finding], stages: Sequence[str]) -> list[list[int]]:
    """Indices of findings; those of one rule, in stages that follow each other, in one list."""
    blocks: list[list[int]] = []
    for index, finding in enumerate(findings):
        for block in blocks:
            last = findings[block[-1]]
            if last.name == finding.name and stages.index(finding.stage) - stages.index(last.stage) <= 1:
                block.append(index)
                break
        else:
            blocks.append([index])
    return blocks


def first_of(block: Sequence[Finding]) -> Finding:
    """The finding that speaks for all that are told together: the first critical one, if there is one."""
    return next((finding for finding in block if finding.severity == "critical"), block[0])


def in_stage(stage: str) -> str:
    """` in stage ear (sharpening ...)`."""
    words = f" ({STAGE[stage].words})" if stage in STAGE else ""
    return f" in stage {printable(stage)}{words}" if stage else ""


def in_stages(block: Sequence[Finding]) -> str:
    """`, first seen at step 48 in stage ear (...)`, or ` in stages judges and ear, first seen at step 48`."""
    stages = list(dict.fromkeys(finding.stage for finding in block))
    if len(stages) == 1:
        return f", first seen at step {block[0].step}{in_stage(stages[0])}"
    names = [printable(stage) for stage in stages]
    return f" in stages {', '.join(names[:-1])} and {names[-1]}, first seen at step {block[0].step}"


# --- what came out


def facts_of(events: Sequence[Mapping[str, Any]]) -> Facts:
    """What the events say; a stage that was learned after all is not one that was left out."""
    again = max((place for place, line in enumerate(events) if line.get("event") == JUDGED_AGAIN), default=0)
    scores = [
        line
        for line in events[again:]  # with far more clips: what was scored before that is not comparable
        if line.get("event") in ("score", JUDGED_AGAIN) and is_number(line.get("kernel_score"))
    ]
    scores = [line for line in scores if _words(line) != UNKNOWN]
    newest = max((_ruler(line) for line in scores), default=FIRST_RULER)  # those of another one are not comparable
    scores = [line for line in scores if _ruler(line) == newest]
    untold = [line for line in events if line.get("event") == "no score"]
    gates = last_gates(events)
    learned = list(dict.fromkeys(str(line.get("stage", "")) for line in events if is_step(line)))
    left_out = dict.fromkeys(str(line.get("stage", "")) for line in events if line.get("event") == "left out")
    last = learned[-1] if learned else ""
    return Facts(
        min(scores, key=lambda line: float(line["kernel_score"]), default=None),
        str(untold[-1].get("reason") or UNKNOWN) if untold and not scores else "",
        gates,
        [stage for stage in left_out if stage in STAGE and stage not in learned],
        last if gates and last not in gates else "",
    )


def last_gates(events: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last gate of every stage that had one: of a stage that learned again only that counts."""
    return {line["stage"]: line for line in events if line.get("event") == "gate" and line.get("stage") in STAGE}


def ruin_of(facts: Facts, *, steps: int) -> str:
    """Why there is no use in listening; empty where there may be."""
    is_music = facts.score is not None and float(facts.score["kernel_score"]) < FAR_FROM  # it went on from a model
    if steps < FEWEST_STEPS and not is_music:
        heard = f": what it plays is {_score_sentence(facts.score)}" if facts.score else ""
        return f"It learned for {counted(steps, 'step')}. That is too few for anything{heard}.{_also_drone(facts)}"
    length = f"after {counted(steps, 'step')}"
    if facts.score and float(facts.score["kernel_score"]) >= HARDLY_FROM:
        return f"It did not work: {length} its music is {_score_sentence(facts.score)}.{_also_drone(facts)}"
    codec = facts.gates.get(FIRST_STAGE, {})
    if _reads(codec, "R", lambda value: value >= 0.6) or _reads(codec, "P", lambda value: value < 0.4):
        lost = "too much of every sound is lost when it is written down and played back"
        return f"It did not work: {length} {lost} ({_codec_words(codec)}), so that nothing can sound well."
    score = facts.score or {}
    if alike := _drone(facts):
        return f"It plays a drone: {length} its music is {alike}."
    if _reads(score, "diversity", lambda value: value < SAME):
        return (
            f"It plays the same piece again and again: {length} its pieces differ {score['diversity']:.2f} times "
            "as much from each other as real ones."
        )
    return ""


def faults_of(facts: Facts, rows: Sequence[RangeRow], *, steps: int) -> list[str]:
    """Everything that is not well in a run that went through, the weightiest first."""
    faults = []
    failed = [line for line in facts.gates.values() if line.get("passed") is False]
    if failed:
        names = join_names([STAGE[str(line["stage"])].topic for line in failed])
        which = f"{len(failed)} of {len(facts.gates)} checks" if len(facts.gates) > 1 else "its only check"
        faults.append(f"{which} not passed: {names}")
    if facts.left_out:
        faults.append(f"no time was left for {join_names([STAGE[stage].topic for stage in facts.left_out])}")
    if steps < FEWEST_STEPS:
        faults.append(f"{counted(steps, 'step')} of learning, which is very few")
    if facts.unknown:
        faults.append(f"how good its music is cannot be told ({printable(facts.unknown)})")
    faults += dict.fromkeys(
        f"{row.plain or row.name}: {row.reading}" for row in _last_of_each(rows) if is_ill(row.reading)
    )
    if facts.unfinished:
        doing = STAGE[facts.unfinished].topic if facts.unfinished in STAGE else printable(facts.unfinished)
        faults.append(f"it ends in the middle of {doing}: stopped, or still learning")
    return faults


def _last_of_each(rows: Sequence[RangeRow]) -> list[RangeRow]:
    """A number that several stages had, as the last of them left it."""
    return list({row.name: row for row in rows}.values())


def _drone(facts: Facts) -> str:
    score = facts.score or {}
    return drone_words(score.get("self_similarity"), score.get("self_similarity_real"))


def _also_drone(facts: Facts) -> str:
    """That it plays a drone, after what weighs more; empty where it plays none."""
    alike = _drone(facts)
    return f" It plays a drone: its music is {alike}." if alike else ""


def _advice(facts: Facts, steps: int) -> str:
    """What to do first."""
    if facts.left_out or steps < FEWEST_STEPS:
        return LONGER
    advised = [str(line.get("advice") or "") for line in facts.gates.values() if line.get("passed") is False]
    first = next((text for text in advised if text), "")
    return f"{printable(first[0].upper() + first[1:])}." if first else LONGER if facts.score else ""


def _score_sentence(line: Mapping[str, Any]) -> str:
    return score_sentence(float(line["kernel_score"]), None, _count(line, "clips"), _count(line, "songs"))


def _ruler(line: Mapping[str, Any]) -> int:
    """Version of the ruler that measured it."""
    return _count(line, "ruler") or FIRST_RULER


def _words(line: Mapping[str, Any]) -> str:
    return score_words(float(line["kernel_score"]), None, _count(line, "clips"))


def _count(line: Mapping[str, Any], name: str) -> int | None:
    value = line.get(name)
    return int(value) if is_number(value) and value >= 0 else None  # type: ignore[arg-type]


def _reads(line: Mapping[str, Any], name: str, test: Any) -> bool:
    value = line.get(name)
    return is_number(value) and test(float(value))  # type: ignore[arg-type]


def _codec_words(line: Mapping[str, Any]) -> str:
    told = []
    if is_number(line.get("R")):
        told.append(f"{float(line['R']):.0%} of the levels are missed")
    if is_number(line.get("P")):
        told.append(f"{float(line['P']):.0%} of the pitches are found again")
    return ", ".join(told)


def _listed(faults: Sequence[str]) -> str:
    more = len(faults) - MOST_NAMED
    return "; ".join([*faults[:MOST_NAMED], *([more_words(more)] if more > 0 else [])])


def more_words(count: int) -> str:
    """What stands in a sentence for faults that it does not name."""
    return f"and {count} more"


def _also(faults: Sequence[str]) -> str:
    return f" Also: {_listed(faults)}." if faults else ""
