"""Why a run went the way it did: its findings with their evidence, from its metrics.jsonl alone.

`musigan doctor RUN` reads a run, `musigan doctor env` this machine, `musigan doctor wiring` the networks of a config.
"""

import argparse
import json
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from piano.config_reader import CONFIG_NAME, load_config_from_yaml
from piano.doctor.env import env_text
from piano.doctor.live import report
from piano.doctor.ranges import Row, table
from piano.doctor.rules import RULES, Finding, Window, diagnose
from piano.doctor.signals import is_spoilt, windows_of
from piano.doctor.suspects import Suspect, suspects_of
from piano.doctor.wiring import check_wiring, wiring_text
from piano.evaluation.pictures import Chart, Line, chart_row
from piano.evaluation.run_settings import PACKAGE, Changes, changes, read_settings
from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.doors import fill, program
from piano.foundation.errors import CheckpointError, TrainingError, run_command
from piano.foundation.made_files import write_json
from piano.foundation.model_folder import named_folder
from piano.foundation.run_log import LOG_NAME, read_history

MOST_CHANGES = 20
FOLDER, JSON_NAME = "doctor", "doctor.json"
STAGE_WORDS = {
    "autoencoder": "learning to write sound down and play it back", "flow": "learning to compose",
    "judges": "the judges learn to tell real from generated", "ear": "sharpening the sound against the ear",
    "professor": "composing in one step, against the professor", "joint": "sound and composition together",
}  # fmt: skip
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
    rows: list[Row]
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


def examine(folder: Path) -> Diagnosis:
    """Read a run's log and judge it; writes RUN/doctor/ with pictures and doctor.json, where that can be written."""
    history = read_history(folder)
    windows = windows_of(history)
    if not windows:
        raise CheckpointError(
            f"{folder} holds no {LOG_NAME} with training steps. Name the folder that training wrote to (--checkpoints)."
        )
    findings = diagnose(windows)
    done = treatments(history)
    found = changes(read_settings(folder))
    diagnosis = Diagnosis(
        verdict(windows, findings, history), findings, done, table(windows, history), {},
        found, restart_text(folder, findings, found, history), told_together(findings, stages_of(windows)),
    )  # fmt: skip
    try:
        drawn = {index: draw_evidence(finding, folder / FOLDER) for index, finding in enumerate(findings)}
        diagnosis = diagnosis._replace(pictures=drawn)
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        write_json(folder / FOLDER / JSON_NAME, as_json(diagnosis))
    except OSError as error:  # somebody else's run, or a full disk: what was found can be said all the same
        return diagnosis._replace(pictures={}, unwritten=error.strerror or str(error))
    return diagnosis


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


def treatments(history: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """What was done in the run, by stage and finding."""
    done: dict[tuple[str, str], list[str]] = {}
    for entry in history:
        kind, key = entry.get("event"), (entry.get("stage", ""), entry.get("name", ""))
        if kind in ("finding", "remedy") and entry.get("remedy"):
            done.setdefault(key, []).append(f"step {entry['total_step']}: {entry['remedy']}")
        elif kind == "relaxed":
            done.setdefault(key, []).append(
                f"step {entry['total_step']}: taken back halfway ({entry['remedy']})"
            )
    return done


def verdict(
    windows: Sequence[Window], findings: Sequence[Finding], history: Sequence[Mapping[str, Any]]
) -> str:
    """One sentence for someone who reads nothing else."""
    length, has_died = f"{windows[-1].step} steps", died(history)
    blocks = [[findings[index] for index in block] for block in told_together(findings, stages_of(windows))]
    bad = [block for block in blocks if any(finding.severity == "critical" for finding in block)]
    warned = [block for block in blocks if any(finding.severity == "warning" for finding in block)]
    names = list(dict.fromkeys(block[0].name for block in [*bad, *warned]))

    def lead(block: Sequence[Finding]) -> str:
        first = first_of(block)
        also = ", ".join(name for name in names if name != first.name)
        return f"{first.name}{in_stages(block)}. {first.sentence}{f' Also: {also}.' if also else ''}"

    still = [
        block for block in bad if any(finding.is_open and finding.severity == "critical" for finding in block)
    ]
    if has_died and not still:
        still = [block for block in warned if any(finding.is_open for finding in block)]
    if still:
        return f"The run {'died' if has_died else 'failed'} of {lead(still[0])}"
    left = [block for block in bad if any(finding.until_stage_end for finding in block)]
    if left:
        return f"The run went through ({length}), but had {lead(left[0])}"
    if bad:
        had = ", ".join(dict.fromkeys(block[0].name for block in bad))
        return f"The run had {had} on the way and came out of it ({length})."
    if warned:
        return f"The run went through ({length}), with a warning: {', '.join(names)}."
    return f"Nothing is wrong with this run as far as its log tells ({length}). Whether it sounds well, only ears tell."


def died(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the run's last step was no number."""
    steps = [entry for entry in history if "event" not in entry and "total_step" in entry]
    return bool(steps) and is_spoilt(steps[-1])


def first_of(block: Sequence[Finding]) -> Finding:
    """The finding that speaks for all that are told together: the first critical one, if there is one."""
    return next((finding for finding in block if finding.severity == "critical"), block[0])


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
        return "GO ON  No checkpoint from before the first critical finding is kept: begin again, in another folder."
    suspects = suspects_of(first, found)
    settings = [("--set", f"{suspects[0].setting}={json.dumps(suspects[0].usual)}")] if suspects else []
    here = folder.resolve()
    config = [("--config", str(here / CONFIG_NAME))] if (here / CONFIG_NAME).is_file() else []
    options = [
        *config, ("--resume", str(kept[-1])), ("--set", f"checkpoint_folder_load={yaml_text(here)}"),
        ("--checkpoints", f"{here}-from-{kept[-1]}"), *settings,
    ]  # fmt: skip
    words = [word for option in options for word in option]
    return (f"GO ON  Epoch {kept[-1]} is the last checkpoint kept from before it (step {steps[kept[-1]]}). "
            f"After the change:\n  {training_program()} {shlex.join(words)}")  # fmt: skip


def training_program() -> str:
    """How the training is started from where the doctor was: by its verb, or as a script."""
    if sys.argv[0].startswith("musigan "):
        return "musigan train"
    script = PACKAGE / "piano_main.py"
    near = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return f"python {shlex.quote(str(near))}"


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


def in_stage(stage: str) -> str:
    """` in stage ear (sharpening ...)`."""
    words = STAGE_WORDS.get(stage)
    return f" in stage {stage} ({words})" if words else f" in stage {stage}" if stage else ""


def in_stages(block: Sequence[Finding]) -> str:
    """`, first seen at step 48 in stage ear (...)`, or ` in stages judges and ear, first seen at step 48`."""
    stages = list(dict.fromkeys(finding.stage for finding in block))
    if len(stages) == 1:
        return f", first seen at step {block[0].step}{in_stage(stages[0])}"
    return f" in stages {', '.join(stages[:-1])} and {stages[-1]}, first seen at step {block[0].step}"


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
    lines = [Line(finding.signal, steps, values),
             Line("found", [finding.step, finding.step], [low - margin, high + margin], "--")]  # fmt: skip
    name = "_".join(part for part in (finding.stage, finding.name.replace(" ", "_"), finding.signal) if part)
    chart = Chart(
        f"{finding.name}{f', stage {finding.stage}' if finding.stage else ''}",
        lines,
        ("bound", finding.threshold),
    )
    return chart_row([chart], folder / f"{name}.png", x_label="step")


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The content of doctor.json."""
    return {
        "verdict": diagnosis.verdict,
        "findings": [
            {**report(finding), "stage": finding.stage, "step": finding.step, "until": finding.until,
             "windows": finding.windows, "is_open": finding.is_open, "until_stage_end": finding.until_stage_end,
             "evidence": finding.evidence,
             "done": diagnosis.done.get((finding.stage, finding.name), []),
             "picture": diagnosis.pictures[index].name,
             "suspects": [suspect._asdict() for suspect in suspects_of(finding, diagnosis.changes)]}
            for index, finding in enumerate(diagnosis.findings)
        ],
        "restart": diagnosis.restart,
        "changed_settings": dict(diagnosis.changes.values) if diagnosis.changes else None,
        "figures": [row._asdict() for row in diagnosis.rows],
    }  # fmt: skip


def as_text(diagnosis: Diagnosis, folder: Path) -> str:
    """What is printed: the verdict, every finding, the table."""
    parts = [wrapped(f"VERDICT  {diagnosis.verdict}", "         ")]
    parts += [block_text(diagnosis, block) for block in diagnosis.blocks]
    if diagnosis.restart:
        parts.append(diagnosis.restart)
    parts.append(wrapped_lines(changes_text(diagnosis.changes), "          "))
    if diagnosis.rows:
        parts.append(as_table(diagnosis.rows))
    kept = f"All of it: {folder / FOLDER / JSON_NAME}."
    if diagnosis.unwritten:
        kept = f"Pictures and {JSON_NAME} could not be written to {folder / FOLDER}: {diagnosis.unwritten}."
    parts.append(f"{kept} What the numbers mean: docs/loss-guide.md, docs/doctor.md.")
    return "\n\n".join(parts)


def block_text(diagnosis: Diagnosis, block: Sequence[int]) -> str:
    """One finding, or those of one rule in stages that follow each other: what it is, its evidence, what to do."""
    findings = [diagnosis.findings[index] for index in block]
    first, is_one = first_of(findings), len(findings) == 1
    done = [line for place in dict.fromkeys((finding.stage, finding.name) for finding in findings)
            for line in diagnosis.done.get(place, [])]  # fmt: skip
    suspects = dict.fromkeys(
        suspect.sentence() for finding in findings for suspect in suspects_of(finding, diagnosis.changes)
    )
    where = f"{in_stage(first.stage)}, {lasting(first)}" if is_one else in_stages(findings)
    signals = [
        f"{'' if is_one else f'{finding.stage}, {lasting(finding)}: '}"
        f"{finding.signal} = {finding.value:.3g} (bound {finding.threshold:.3g})"
        for finding in findings
    ]
    pictures = [str(diagnosis.pictures[index]) for index in block if index in diagnosis.pictures]
    return "\n".join([
        f"{first.severity.upper()}  {first.name}{where}",
        wrapped(f"  {first.sentence}", "  "),
        *labelled("signal", signals),
        *[f"  done    {line}" for line in done],
        *[wrapped(line, "          ") for line in labelled("cause?", list(suspects))],
        wrapped(f"  {'else' if done else 'do'}      {first.advice}", "          "),
        *labelled("see", pictures),
    ])  # fmt: skip


def labelled(label: str, lines: Sequence[str]) -> list[str]:
    """Lines under each other, the first of them with its label."""
    return [f"  {label if not index else '':<8}{line}" for index, line in enumerate(lines)]


def changes_text(found: Changes | None) -> str:
    """What the run has unlike its preset, in at most a few lines."""
    if found is None:
        return "SETTINGS  not known: there is no config.yaml in this folder that can be read."
    if not found.is_own:
        return (f"SETTINGS  its own preset is not in this project's config.yaml. What may be a cause was held against "
                f"preset {found.preset}; all that is unlike it: {JSON_NAME}.")  # fmt: skip
    if not found.values:
        return f"SETTINGS  all as preset {found.preset} has them."
    shown = [Suspect(name, here, usual, found.preset) for name, (here, usual) in found.values.items()]
    lines = [
        f"  {one.setting}: {one.here} (usual: {one.usual}){one.factor()}" for one in shown[:MOST_CHANGES]
    ]
    if len(shown) > MOST_CHANGES:
        lines.append(f"  and {len(shown) - MOST_CHANGES} more: see {JSON_NAME}")
    return "\n".join([f"SETTINGS  unlike preset {found.preset}:", *lines])


def as_table(rows: Sequence[Row]) -> str:
    """The figures of a run beside what is healthy."""
    title = "FIGURES  medians of the last quarter of each stage; a finding above may have come earlier or gone again"
    cells = [("stage", "number", "here", "healthy", "reading")]
    cells += [(row.stage, row.name, f"{row.value:.3g}", row.healthy, row.reading) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip()
        for cell in cells
    ]
    return "\n".join([title, *lines])


def wrapped_lines(text: str, indent: str) -> str:
    """Lines that stay lines, each of at most 100 columns."""
    return "\n".join(wrapped(line, indent) for line in text.splitlines())


def wrapped(text: str, indent: str) -> str:
    """A paragraph of at most 100 columns."""
    return textwrap.fill(text, 100, subsequent_indent=indent)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program("doctor"), description=__doc__, epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", metavar="RUN|env|wiring", help="folder of a run, or env, or wiring")
    parser.add_argument(
        "--config", type=Path, help="settings file of env and wiring (default: config.yaml here)"
    )
    parser.add_argument("--preset", help="preset of wiring (default: the config's)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Judge a run, this machine, or the wiring of a config."""
    options = parse_arguments(argv)

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
            print(as_text(examine(folder), folder))

    return run_command(body)


if __name__ == "__main__":
    raise SystemExit(main())
