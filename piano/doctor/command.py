"""Why a run went the way it did: its findings with their evidence, from its metrics.jsonl alone.

`musigan doctor RUN` reads a run, `musigan doctor env` this machine, `musigan doctor wiring` the networks of a config.
"""

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piano.config_reader import CONFIG_NAME, load_config_from_yaml
from piano.doctor.env import env_text
from piano.doctor.live import report
from piano.doctor.ranges import Row, table
from piano.doctor.rules import RULES, Finding, Window, diagnose
from piano.doctor.signals import is_spoilt, windows_of
from piano.doctor.suspects import Suspect, suspects_of
from piano.doctor.wiring import check_wiring, wiring_text
from piano.evaluation.pictures import Chart, Line, chart_row
from piano.evaluation.run_settings import Changes, changes, read_settings
from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.dataset_format import write_json
from piano.foundation.errors import CheckpointError, TrainingError, run_command
from piano.foundation.run_log import LOG_NAME, read_history

MOST_CHANGES = 20
FOLDER, JSON_NAME = "doctor", "doctor.json"
STAGE_WORDS = {
    "autoencoder": "learning to write sound down and play it back", "flow": "learning to compose",
    "judges": "the judges learn to tell real from generated", "ear": "sharpening the sound against the ear",
    "professor": "composing in one step, against the professor", "joint": "sound and composition together",
}  # fmt: skip
EXAMPLE = """examples:
  musigan doctor checkpoints            what went wrong in a run, or that nothing did
  musigan doctor env                    what this machine can train, and how long it would take
  musigan doctor wiring --preset tiny   does every loss reach its network, and no other?
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


def examine(folder: Path) -> Diagnosis:
    """Read a run's log and judge it; writes RUN/doctor/ with pictures and doctor.json."""
    history = read_history(folder)
    windows = windows_of(history)
    if not windows:
        raise CheckpointError(
            f"{folder} holds no {LOG_NAME} with training steps. Name the folder that training wrote to (--checkpoints)."
        )
    findings = diagnose(windows)
    done = treatments(history)
    found = changes(read_settings(folder))
    pictures = {index: draw_evidence(finding, folder / FOLDER) for index, finding in enumerate(findings)}
    diagnosis = Diagnosis(
        verdict(windows, findings, history), findings, done, table(windows, history), pictures,
        found, restart_text(folder, findings, found, history),
    )  # fmt: skip
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(folder / FOLDER / JSON_NAME, as_json(diagnosis))
    return diagnosis


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
    steps = [entry for entry in history if "event" not in entry and "total_step" in entry]
    died = bool(steps) and is_spoilt(steps[-1])
    bad = sorted((finding for finding in findings if finding.severity == "critical"),
                 key=lambda finding: (not finding.is_open, finding.step))  # fmt: skip
    warned = [finding for finding in findings if finding.severity == "warning"]
    length = f"{windows[-1].step} steps"
    if bad and (bad[0].is_open or died):
        first = bad[0]
        others = [
            name
            for name in dict.fromkeys(finding.name for finding in [*bad[1:], *warned])
            if name != first.name
        ]
        also = f" Also: {', '.join(others)}." if others else ""
        return (f"The run {'died' if died else 'failed'} of {first.name}, first seen at step {first.step}"
                f"{in_stage(first.stage)}. {first.sentence}{also}")  # fmt: skip
    if bad:
        names = ", ".join(dict.fromkeys(finding.name for finding in bad))
        return f"The run had {names} on the way and came out of it ({length})."
    if warned:
        names = ", ".join(dict.fromkeys(finding.name for finding in warned))
        return f"The run went through ({length}), with a warning: {names}."
    return f"Nothing is wrong with this run as far as its log tells ({length}). Whether it sounds well, only ears tell."


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
    settings = [f"--set {suspects[0].setting}={json.dumps(suspects[0].usual)}"] if suspects else []
    config = [f"--config {folder / CONFIG_NAME}"] if (folder / CONFIG_NAME).is_file() else []
    command = ["python piano_main.py", *config, f"--resume {kept[-1]}", f"--set checkpoint_folder_load={folder}",
               f"--checkpoints {folder}-from-{kept[-1]}", *settings]  # fmt: skip
    return (f"GO ON  Epoch {kept[-1]} is the last checkpoint kept from before it (step {steps[kept[-1]]}). "
            f"After the change:\n  {' '.join(command)}")  # fmt: skip


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
             "windows": finding.windows, "is_open": finding.is_open, "evidence": finding.evidence,
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
    for index, finding in enumerate(diagnosis.findings):
        last = "and still at the end" if finding.is_open else f"until step {finding.until}"
        done = diagnosis.done.get((finding.stage, finding.name), [])
        parts.append("\n".join([
            f"{finding.severity.upper()}  {finding.name}{in_stage(finding.stage)}, step {finding.step} {last}",
            wrapped(f"  {finding.sentence}", "  "),
            f"  signal  {finding.signal} = {finding.value:.3g} (bound {finding.threshold:.3g})",
            *[f"  done    {line}" for line in done],
            *[wrapped(f"  {'cause?' if not i else '      '}  {suspect.sentence()}", "          ")
              for i, suspect in enumerate(suspects_of(finding, diagnosis.changes))],
            wrapped(f"  {'else' if done else 'do'}      {finding.advice}", "          "),
            f"  see     {diagnosis.pictures[index]}",
        ]))  # fmt: skip
    if diagnosis.restart:
        parts.append(diagnosis.restart)
    parts.append(wrapped_lines(changes_text(diagnosis.changes), "          "))
    if diagnosis.rows:
        parts.append(as_table(diagnosis.rows))
    parts.append(
        f"All of it: {folder / FOLDER / JSON_NAME}. What the numbers mean: docs/loss-guide.md, docs/doctor.md."
    )
    return "\n\n".join(parts)


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
        prog="musigan doctor", description=__doc__, epilog=EXAMPLE,
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
            folder = Path(options.what)
            print(as_text(examine(folder), folder))

    return run_command(body)


if __name__ == "__main__":
    raise SystemExit(main())
