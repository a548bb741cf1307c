"""The failure zoo: every fault planted in a real run, what the doctor called it, how soon, and whether it helped.

    python -m tests.zoo.table            prints the table of docs/doctor.md

A start is trained once, in half a minute, and shared. Runs are of seconds, on one CPU thread, windows of a few steps.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from piano.doctor.rules import Finding, Window, diagnose
from piano.doctor.signals import windows_of
from piano.foundation.errors import TrainingError
from piano.foundation.run_log import read_history
from piano.piano_model import AudioDataset
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator, train_autoencoder
from piano.piano_train import train_ear, train_professor
from piano.stages import STAGE_NAMES
from piano.training.training_run import TrainingRun
from piano.watching.live import Doctor
from tests.tiny_run import start_run, tiny_config, tonal_pairs
from tests.zoo.faults import FAULTS, PROFESSOR_RATE, Fault, nothing, tonal_music

STEPS = {"autoencoder": 5, "ear": 10, "professor": 5}
"""Of a window, here an epoch. The ear is small and learns slowly: it gets longer ones."""
WINDOWS = {"autoencoder": 16, "ear": 18, "professor": 13}
TRAIN = {"autoencoder": train_autoencoder, "ear": train_ear, "professor": train_professor}
SOON = 10
"""Windows of a fault within which it must be named."""
HEALTHY_SEEDS = (1, 2, 3)


class Start(NamedTuple):
    """Weights of a run that went well so far."""

    generator: dict[str, torch.Tensor]
    discriminator: dict[str, torch.Tensor]
    controllers: dict[str, float]


class Case(NamedTuple):
    """One line of the table."""

    name: str
    stage: str
    expected: str
    findings: list[Finding]
    windows: int | None
    """Windows from the fault's first step to its name."""
    recovered: bool | None
    """None: nothing a doctor could cure."""
    ended: str
    seconds: float

    @property
    def is_named(self) -> bool:
        return self.windows is not None and self.windows <= SOON


def zoo_run(folder: Path, pairs: np.ndarray, **settings: Any) -> TrainingRun:
    """A run of small networks with music of its own to validate on; it saves nothing."""
    small = {
        "steps_per_epoch": 5,
        "save_after_nepochs": 10**6,
        "model__num_layers": 1,
        "seed": 1,
        "stages__professor__learning_rate": PROFESSOR_RATE,
    }
    config = tiny_config(folder, **(small | settings))
    run = start_run(config, pairs=pairs, is_trial=True)
    run.data.sets["validation"] = AudioDataset(tonal_pairs(8, seed=9))
    return run


def make_start(folder: Path, *, seed: int = 1, doctor: Doctor | None = None) -> Start:
    """Autoencoder, flow, judges and one-step block of a healthy run."""
    run = zoo_run(
        folder,
        tonal_music(),
        seed=seed,
        pretrain_epochs_g=40,
        pretrain_epochs_d=4,
        stages__ear__share=0.0,
        stages__professor__share=1.0,
        stages__joint__share=0.0,
        epochs=8,
    )
    if doctor is not None:
        run.watch(doctor)
    pretrain_generator(run)
    pretrain_discriminator(run)
    train_professor(run)
    return Start(run.generator.state_dict(), run.discriminator.state_dict(), dict(run.controllers))


def only(stage: str, windows: int) -> dict[str, Any]:
    """Settings with which one stage takes all its steps."""
    shares = {f"stages__{name}__share": float(name == stage) for name in STAGE_NAMES}
    return shares | {
        "epochs": windows,
        "pretrain_epochs_g": windows,
        "steps_per_epoch": STEPS[stage],
        "doctor_window": STEPS[stage],
    }


def observe(fault: Fault, start: Start, folder: Path, *, mode: str = "act", seed: int = 1) -> Case:
    """Plant one fault in one stage, let the doctor look on, and read the log as `musigan doctor` does."""
    begun = time.monotonic()
    windows = WINDOWS[fault.stage] if fault.is_well else SOON
    run = zoo_run(folder, fault.pairs(), **(only(fault.stage, windows) | {"seed": seed} | fault.settings))
    run.generator.load_state_dict(start.generator)
    run.average.network.load_state_dict(start.generator)
    run.discriminator.load_state_dict(start.discriminator)
    run.controllers = dict(start.controllers)
    run.finished_stages = list(STAGE_NAMES[: STAGE_NAMES.index(fault.stage)])
    run.total_step = 1  # not the very first step: the spectrum is measured
    run.watch(Doctor(mode, window=run.config.doctor_window))  # type: ignore[arg-type]
    ended = "trained to its end"
    with fault.plant(run):
        try:
            TRAIN[fault.stage](run)
        except TrainingError as error:
            ended = str(error)
    windows = windows_of(read_history(folder))
    findings = diagnose(windows)
    named = [finding for finding in findings if finding.name == fault.expected]
    soon = windows_until(named[0], windows, fault) if named else None
    recovered = None
    if fault.is_well is not None:
        recovered = ended == "trained to its end" and fault.is_well(windows)
    return Case(fault.name, fault.stage, fault.expected, findings, soon, recovered, ended, time.monotonic() - begun)


def windows_until(finding: Finding, windows: Sequence[Window], fault: Fault) -> int:
    """Windows from the fault to its name, that of the name included."""
    from tests.zoo import faults

    sudden = fault.plant is faults.nan_batch or "suddenly" in getattr(fault.plant, "__qualname__", "")
    before = faults.ONSET if sudden else 0
    seen = [window for window in windows if before + 1 < window.step <= finding.step]
    return max(1, len(seen))


def healthy(seed: int, folder: Path) -> list[Finding]:
    """Findings of a run without a fault, from its first step on, and then in all three stages of the zoo."""
    start = make_start(folder / "start", seed=seed, doctor=Doctor("advise", window=STEPS["professor"]))
    findings = diagnose(windows_of(read_history(folder / "start")))
    for stage in TRAIN:
        fault = Fault("healthy", stage, "", nothing)
        findings += observe(fault, start, folder / stage, seed=seed).findings
    return findings


def row(case: Case) -> str:
    """One line of the table."""
    others = ", ".join(dict.fromkeys(finding.name for finding in case.findings if finding.name != case.expected))
    recovered = {None: "cannot be", True: "yes", False: "no"}[case.recovered]
    found = case.expected if case.windows is not None else "-"
    cells = (case.name, case.stage, found, case.windows or "-", recovered, others or "-", f"{case.seconds:.0f}")
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main(words: Sequence[str] = ()) -> int:
    """Print the table, or the rows whose fault has one of some words in it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = make_start(folder / "start")
        print("| fault | stage | finding | windows to name it | recovered | also said | seconds |", flush=True)
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for index, fault in enumerate(FAULTS):
            if words and not any(word in fault.name for word in words):
                continue
            print(row(observe(fault, start, folder / f"fault_{index}")), flush=True)
        for seed in HEALTHY_SEEDS if not words or "none" in words else ():
            begun = time.monotonic()
            findings = healthy(seed, folder / f"healthy_{seed}")
            said = ", ".join(finding.name for finding in findings) or "-"
            seconds = time.monotonic() - begun
            print(f"| none, seed {seed} | all | {said} | - | - | - | {seconds:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
