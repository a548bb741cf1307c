"""Why a run went the way it did: its findings with their evidence, from its metrics.jsonl alone.

`musigan doctor RUN` reads a run, `musigan doctor env` this machine, `musigan doctor wiring` the networks of a config.
"""

import argparse
import errno
import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from piano.checkup.env import env_text
from piano.checkup.suspects import Suspect, suspects_of
from piano.checkup.wiring import check_wiring, wiring_text
from piano.config_reader import CONFIG_NAME, load_config_from_yaml, no_run_text
from piano.doctor.ranges import RangeRow, table
from piano.doctor.rules import RULES, Finding, diagnose
from piano.doctor.signals import digest
from piano.doctor.verdict import first_of, in_stage, in_stages, judge, stages_of, told_together
from piano.evaluation.pictures import ChartLine, LineChart, chart_row
from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import CheckpointError, TrainingError, run_command
from piano.foundation.made_files import write_json
from piano.foundation.model_folder import holds_shipped, named_folder
from piano.foundation.options import add_shared
from piano.foundation.run_log import LOG_NAME
from piano.foundation.screen_text import CommandParser, printable, tolerate_old_terminals
from piano.run_settings import Changes, changes, read_settings
from piano.watching.live import report

MOST_CHANGES = 20
FOLDER, JSON_NAME = "doctor", "doctor.json"
NAME_IT = "Name the folder that training wrote to (--checkpoints)."
MOST_PICTURES = 40
LONGEST_LINE = 2**20
"""Bytes of a line of the log: a longer one is not ours."""
WIDEST, NARROWEST = 100, 40
"""Columns of what is printed; the terminal's, between these."""
EXAMPLE = """examples:
  {musigan doctor} checkpoints            what went wrong in a run, or that nothing did
  {musigan doctor} env                    what this machine can train, and how long it would take
  {musigan doctor} wiring --preset tiny   does every loss reach its network, and no other?
"""


class Diagnosis(NamedTuple):
    """Everything that is said about a run."""

    verdict: str
    findings: list[Finding]
    done: dict[tuple[str, str], list[str]]
    """(stage, name of a finding) -> what the doctor did while the run lasted."""
    rows: list[RangeRow]
    pictures: dict[int, Path]
    """Index of a finding -> its evidence."""
    changes: Changes | None
    """What the run has unlike its preset; None where its settings are not known."""
    restart: str
    """From where and how to go on, if something critical was found."""
    blocks: list[list[int]]
    """Indices of the findings that are told together."""
    unwritten: str = ""
    """Why there are neither pictures nor doctor.json, if there are none."""
    is_ruined: bool = False
    """Whether there is no use in listening."""
    advice: str = ""
    """What to do first."""
    steps: int = 0
    """Steps it learned."""


def examine(folder: Path) -> Diagnosis:
    """Read a run's log and judge it; writes RUN/doctor/ with pictures and doctor.json, where that can be written."""
    log = digest(log_lines(folder))
    windows, history = log.windows, log.kept
    findings = diagnose(windows)
    found = changes(read_settings(folder))
    said = judge(windows, findings, history, steps=log.steps)
    diagnosis = Diagnosis(
        said.sentence,
        findings,
        treatments(history),
        table(windows, history),
        {},
        found,
        restart_text(folder, findings, found, history),
        told_together(findings, stages_of(windows)),
        is_ruined=said.is_ruined,
        advice=said.advice_in(folder),
        steps=said.steps,
    )
    try:
        drawn = {
            index: draw_evidence(finding, folder / FOLDER) for index, finding in enumerate(findings[:MOST_PICTURES])
        }
        diagnosis = diagnosis._replace(pictures=drawn)
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        write_json(folder / FOLDER / JSON_NAME, as_json(diagnosis))
    except OSError as error:  # somebody else's run, or a full disk: what was found can be said all the same
        return diagnosis._replace(pictures={}, unwritten=error.strerror or str(error))
    return diagnosis


def log_lines(folder: Path) -> Iterator[Any]:
    """The lines of a run's log, one in memory at a time; raises CheckpointError, saying what the folder is instead."""
    path = folder / LOG_NAME
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError(errno.EINVAL, f"{LOG_NAME} is no file")
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(no_log_text(folder, error)) from None
    with file:
        while line := file.readline(LONGEST_LINE):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):  # cut off by a crash, or not ours
                continue


def no_log_text(folder: Path, error: OSError) -> str:
    """Why there is nothing to examine in a folder, and what the folder is."""
    name = printable(folder)
    if not folder.exists():
        return no_run_text(folder, "doctor")
    if not folder.is_dir():
        return f"{name} is a file. {NAME_IT}"
    if not isinstance(error, FileNotFoundError):
        return f"{name} holds no {LOG_NAME} that can be read: {error.strerror or error}."
    if holds_shipped(folder):
        return (
            f"{name} is a model that was given away: it holds no {LOG_NAME} of its training, so "
            f"that there is nothing to examine. Hear it: {command('generate', '--checkpoints', folder)}; "
            f"measure it: {command('evaluate', '--checkpoints', folder, '--real', 'FOLDER')}"
        )
    what = "is music made ready for training: it " if (folder / "manifest.json").is_file() else ""
    return f"{name} {what}holds no {LOG_NAME}. {NAME_IT}"


def treatments(history: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """What was done in the run, by stage and finding."""
    done: dict[tuple[str, str], list[str]] = {}
    for entry in history:
        kind, key = entry.get("event"), (entry.get("stage", ""), entry.get("name", ""))
        step, remedy = entry.get("total_step", "?"), entry.get("remedy")
        if not isinstance(key[1], str):
            continue
        if kind in ("finding", "remedy") and remedy:
            done.setdefault(key, []).append(f"step {step}: {remedy}")
        elif kind == "relaxed":
            done.setdefault(key, []).append(f"step {step}: taken back halfway ({remedy})")
    return done


def restart_text(
    folder: Path, findings: Sequence[Finding], found: Changes | None, history: Sequence[Mapping[str, Any]]
) -> str:
    """The last checkpoint from before the first critical finding, and the command that goes on from it."""
    critical = [finding for finding in findings if finding.severity == "critical"]
    if not critical:
        return ""
    first = critical[0]
    steps: dict[int, int] = {}
    for entry in history:
        if "event" not in entry and "epoch" in entry and "total_step" in entry:
            steps[entry["epoch"]] = max(steps.get(entry["epoch"], 0), entry["total_step"])
    sick = first_sick_step(first, history)
    kept = [epoch for epoch in complete_epochs(folder) if steps.get(epoch, sick) < sick]
    if not kept:
        return wrapped(
            "GO ON  No checkpoint from before the first critical finding is kept: begin again, in another folder.",
            "       ",
        )
    suspects = suspects_of(first, found)
    settings = [("--set", f"{suspects[0].setting}={json.dumps(suspects[0].usual)}")] if suspects else []
    here = folder.resolve()
    config = [("--config", str(here / CONFIG_NAME))] if (here / CONFIG_NAME).is_file() else []
    options = [
        *config,
        ("--resume", str(kept[-1])),
        ("--set", f"checkpoint_folder_load={yaml_text(here)}"),
        ("--checkpoints", f"{here}-from-{kept[-1]}"),
        *settings,
    ]
    words = [word for option in options for word in option]
    told = (
        f"GO ON  Epoch {kept[-1]} is the last checkpoint kept from before it (step {steps[kept[-1]]}). After the "
        "change:"
    )
    return f"{wrapped(told, '       ')}\n  {command('train', *words)}"


def yaml_text(path: Path) -> str:
    """A path as --set reads it back: as it is, or in quotes where YAML would see something else in it."""
    text = str(path)
    try:
        is_plain = yaml.safe_load(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def first_sick_step(finding: Finding, history: Sequence[Mapping[str, Any]]) -> int:
    """The first step of the window in which a finding's signal may have turned bad; at worst its stage's first."""
    patience = next((rule.patience for rule in RULES if rule.name == finding.name), 1)
    ends = [step for step, _ in finding.evidence if step <= finding.step]
    if len(ends) > patience:
        return ends[-patience - 1]
    steps = (
        entry["total_step"]
        for entry in history
        if "event" not in entry and entry.get("stage") == finding.stage and "total_step" in entry
    )
    return min(steps, default=0)


def lasting(finding: Finding) -> str:
    """`step 48 and still at the end`."""
    if finding.is_open:
        return f"step {finding.step} and still at the end"
    if finding.until_stage_end:
        return f"step {finding.step} until the stage ended"
    return f"step {finding.step} {'only' if finding.until == finding.step else f'until step {finding.until}'}"


def draw_evidence(finding: Finding, folder: Path) -> Path:
    """A small chart: the signal, its bound, and where it was found."""
    steps = [step for step, _ in finding.evidence]
    values = [value for _, value in finding.evidence]
    low, high = min([*values, finding.threshold]), max([*values, finding.threshold])
    margin = 0.05 * (high - low) or 0.05
    lines = [
        ChartLine(finding.signal, steps, values),
        ChartLine("found", [finding.step, finding.step], [low - margin, high + margin], "--"),
    ]
    words = (finding.stage, finding.name, finding.signal)
    name = "_".join(re.sub(r"[^A-Za-z0-9]+", "_", word)[:40] for word in words if word)
    chart = LineChart(
        f"{finding.name}{f', stage {printable(finding.stage)[:40]}' if finding.stage else ''}",
        lines,
        ("bound", finding.threshold),
    )
    return chart_row([chart], folder / f"{name}.png", x_label="step")


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The content of doctor.json."""
    return {
        "verdict": diagnosis.verdict,
        "is_ruined": diagnosis.is_ruined,
        "advice": diagnosis.advice,
        "steps": diagnosis.steps,
        "findings": [
            {
                **report(finding),
                "stage": finding.stage,
                "step": finding.step,
                "until": finding.until,
                "windows": finding.windows,
                "is_open": finding.is_open,
                "until_stage_end": finding.until_stage_end,
                "evidence": finding.evidence,
                "done": diagnosis.done.get((finding.stage, finding.name), []),
                "picture": diagnosis.pictures[index].name if index in diagnosis.pictures else None,
                "suspects": [suspect._asdict() for suspect in suspects_of(finding, diagnosis.changes)],
            }
            for index, finding in enumerate(diagnosis.findings)
        ],
        "restart": diagnosis.restart,
        "changed_settings": dict(diagnosis.changes.values) if diagnosis.changes else None,
        "figures": [row._asdict() for row in diagnosis.rows],
    }


def as_text(diagnosis: Diagnosis, folder: Path) -> str:
    """What is printed: the verdict, every finding, the table."""
    parts = [wrapped(f"VERDICT  {diagnosis.verdict}", "         ")]
    if diagnosis.advice and diagnosis.advice not in {finding.advice for finding in diagnosis.findings}:
        what, *lines = f"DO       {diagnosis.advice}".split("\n")
        parts[0] = "\n".join([parts[0], wrapped(what, "         "), *lines])
    parts += [block_text(diagnosis, block) for block in diagnosis.blocks]
    if diagnosis.restart:
        parts.append(diagnosis.restart)
    parts.append(wrapped_lines(changes_text(diagnosis.changes), "          "))
    if diagnosis.rows:
        parts.append(as_table(diagnosis.rows, has_findings=bool(diagnosis.findings)))
    kept = f"All of it: {folder / FOLDER / JSON_NAME}."
    if diagnosis.unwritten:
        kept = f"Pictures and {JSON_NAME} could not be written to {folder / FOLDER}: {diagnosis.unwritten}."
    parts.append(wrapped(f"{kept} What the numbers mean: docs/loss-guide.md, docs/doctor.md.", ""))
    return "\n".join(printable(line) for line in "\n\n".join(parts).split("\n"))


def block_text(diagnosis: Diagnosis, block: Sequence[int]) -> str:
    """One finding, or those of one rule in stages that follow each other: what it is, its evidence, what to do."""
    findings = [diagnosis.findings[index] for index in block]
    first, is_one = first_of(findings), len(findings) == 1
    done = [
        line
        for place in dict.fromkeys((finding.stage, finding.name) for finding in findings)
        for line in diagnosis.done.get(place, [])
    ]
    suspects = dict.fromkeys(
        suspect.sentence() for finding in findings for suspect in suspects_of(finding, diagnosis.changes)
    )
    where = f"{in_stage(first.stage)}, {lasting(first)}" if is_one else in_stages(findings)
    signals = [
        f"{'' if is_one else f'{printable(finding.stage)}, {lasting(finding)}: '}"
        f"{finding.signal} = {finding.value:.3g} (bound {finding.threshold:.3g})"
        for finding in findings
    ]
    pictures = [str(diagnosis.pictures[index]) for index in block if index in diagnosis.pictures]
    return "\n".join(
        [
            wrapped(f"{first.severity.upper()}  {first.name}{where}", "  "),
            wrapped(f"  {first.sentence}", "  "),
            *[wrapped(line, "          ") for line in labelled("signal", signals)],
            *[wrapped(f"  done    {line}", "          ") for line in done],
            *[wrapped(line, "          ") for line in labelled("cause?", list(suspects))],
            wrapped(f"  {'else' if done else 'do'}      {first.advice}", "          "),
            *labelled("see", pictures),
        ]
    )


def labelled(label: str, lines: Sequence[str]) -> list[str]:
    """Lines under each other, the first of them with its label."""
    return [f"  {label if not index else '':<8}{line}" for index, line in enumerate(lines)]


def changes_text(found: Changes | None) -> str:
    """What the run has unlike its preset, in at most a few lines."""
    if found is None:
        return "SETTINGS  not known: there is no config.yaml in this folder that can be read."
    if not found.is_own:
        return (
            "SETTINGS  its own preset is not among this program's. What may be a cause was held against "
            f"preset {found.preset}; all that is unlike it: {JSON_NAME}."
        )
    if not found.values:
        return f"SETTINGS  all as preset {found.preset} has them."
    shown = [Suspect(name, here, usual, found.preset) for name, (here, usual) in found.values.items()]
    lines = [f"  {one.setting}: {one.here} (usual: {one.usual}){one.factor()}" for one in shown[:MOST_CHANGES]]
    if len(shown) > MOST_CHANGES:
        lines.append(f"  and {len(shown) - MOST_CHANGES} more: see {JSON_NAME}")
    return "\n".join([f"SETTINGS  unlike preset {found.preset}:", *lines])


def as_table(rows: Sequence[RangeRow], *, has_findings: bool) -> str:
    """The figures of a run beside what is healthy; in two lines each where the terminal is narrow."""
    title = "FIGURES  medians of the last quarter of each stage"
    if has_findings:
        title += "; a finding above may have come earlier or gone again"
    cells = [("stage", "number", "here", "healthy", "reading")]
    cells += [(row.stage, row.name, f"{row.value:.3g}", row.healthy, row.reading) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(cells[0]))]
    if sum(widths) + 2 * (len(widths) - 1) <= columns():
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip() for cell in cells
        ]
    else:
        lines = []
        for stage in dict.fromkeys(row.stage for row in rows):
            lines += [f"  {stage}"] if stage else []
            for row in rows:
                if row.stage == stage:
                    lines.append(wrapped(f"    {row.name}: {row.value:.3g}, {row.reading}", "      "))
                    lines += [wrapped(f"      healthy: {row.healthy}", "        ")] if row.reading != "healthy" else []
    return "\n".join([wrapped(title, "         "), *lines])


def wrapped_lines(text: str, indent: str) -> str:
    """Lines that stay lines, none wider than the terminal."""
    return "\n".join(wrapped(line, indent) for line in text.splitlines())


def columns() -> int:
    """How wide the terminal is, within reason; 80 where nobody knows."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))


def wrapped(text: str, indent: str) -> str:
    """A paragraph as wide as the terminal, broken between words only: a command or a path stays whole."""
    return textwrap.fill(text, columns(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("doctor"), description=__doc__, epilog=fill(EXAMPLE))
    parser.add_argument("what", metavar="RUN|env|wiring", help="folder of a run, or env, or wiring")
    add_shared(parser, "--config", help="settings file of env and wiring (default: config.yaml here)")
    add_shared(parser, "--preset", help="preset of wiring (default: the config's)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Judge a run, this machine, or the wiring of a config."""
    options = parse_arguments(argv)
    tolerate_old_terminals()

    def body() -> None:
        if options.what == "env":
            print(env_text(options.config))
        elif options.what == "wiring":
            config = load_config_from_yaml(options.config, preset=options.preset)
            rows = check_wiring(config)
            print(wiring_text(config, rows))
            if not all(row.is_right for row in rows):
                raise TrainingError("the wiring is wrong: see the lines marked WRONG above")
        else:
            folder = named_folder(options.what)
            folder = folder.parent if folder.name == LOG_NAME and folder.is_file() else folder
            print(as_text(examine(folder), folder))

    return run_command(body)


if __name__ == "__main__":
    raise SystemExit(main())
