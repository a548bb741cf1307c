"""The pictures of docs/training-guide.md, each from a real short run: small networks, seconds of broken chords.

    python benchmarks/draw_training_guide.py

About a minute of one core; the runs themselves are thrown away. Nothing is chosen: one seed, the first run.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.evaluation.pictures import ChartLine, LineChart, chart_row
from piano.foundation.run_log import read_history
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator, train_autoencoder
from piano.piano_train import train_professor, train_vae_gan
from piano.training.training_run import TrainingRun
from piano.watching.gates import Gatekeeper
from piano.watching.training_pictures import LOSS_NAME, REAL_FAKE_NAME
from piano.watching.validation import Validation, validation_losses
from tests.tiny_run import On, start_run, tiny_config, tonal_pairs

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "training-guide"
STEPS_PER_EPOCH = 8
SHARES = {
    "autoencoder": {"share": 0.5, "frames": 16, "learning_rate": 4e-3, "warmup_steps": 10},
    "flow": {"share": 0.5, "frames": 32, "learning_rate": 4e-3, "warmup_steps": 10},
    "judges": {"share": 1.0, "frames": 32, "warmup_steps": 2},
    "ear": {"share": 0.4, "frames": 16, "warmup_steps": 5},
    "professor": {"share": 0.5, "frames": 32, "warmup_steps": 5},
    "joint": {"share": 0.1, "frames": 32, "warmup_steps": 2},
}
EPOCHS = {"pretrain_epochs_g": 24, "pretrain_epochs_d": 1, "epochs": 16}
SHORTCUT = "shortcut"


def begin(folder: Path, *, pretrained: Path | None = None, **settings: Any) -> TrainingRun:
    """A run in a new folder, from nothing or from a folder that holds a pretrained one."""
    load = {"checkpoint_folder_load": str(pretrained)} if pretrained else {}
    general = {"steps_per_epoch": STEPS_PER_EPOCH, "save_after_nepochs": 1000, "stages": SHARES, "ema": 0.95}
    config = tiny_config(folder, **(general | EPOCHS | load | settings))
    run = start_run(config, pairs=tonal_pairs(16))
    run.data.sets["validation"].pairs = tonal_pairs(4, seed=9)
    run.watch(Validation())
    if pretrained:
        run.resume()
    return run


def numbers(folder: Path, stage: str, name: str) -> tuple[list[int], list[float]]:
    """A logged number over the steps of a stage; `rate:NAME` is a learning rate."""
    steps = [entry for entry in read_history(folder) if "step" in entry and entry["stage"] == stage]
    if name.startswith("rate:"):
        return [entry["step"] for entry in steps], [entry["learning_rate"][name[5:]] for entry in steps]
    found = [entry for entry in steps if name in entry]
    return [entry["step"] for entry in found], [entry[name] for entry in found]


def line(label: str, folder: Path, name: str, *, stage: str = "professor", style: str = "-") -> ChartLine:
    """One number of a run as a line of a chart."""
    return ChartLine(label, *numbers(folder, stage, name), style)


def events(folder: Path, kind: str, stage: str) -> list[dict[str, Any]]:
    """Events of a stage, with the step of the stage at which they came."""
    history = [entry for entry in read_history(folder) if entry.get("stage") == stage]
    first = next(entry["total_step"] for entry in history if "step" in entry)
    found = [entry for entry in history if entry.get("event") == kind]
    return [entry | {"step": entry["total_step"] - first} for entry in found]


def heard_line(label: str, folder: Path, stage: str = "professor", style: str = "o-") -> ChartLine:
    """The validation loss at the end of every epoch of a stage."""
    found = events(folder, "validation", stage)
    return ChartLine(label, [event["step"] for event in found], [event["validation_loss"] for event in found], style)


def run_whole(folder: Path) -> dict[str, list[float]]:
    """Every stage with today's settings; returns validation losses of averaged and plain weights of the flow."""
    run = begin(folder)
    heard: dict[str, list[float]] = {"averaged": [], "plain": []}

    def validate(run: TrainingRun) -> dict[str, float]:
        losses = validation_losses(run)
        if run.stage == "flow":
            averaged = run.average.network
            run.average.network = run.generator
            heard["plain"].append(validation_losses(run)["validation_loss"])
            run.average.network = averaged
            heard["averaged"].append(losses["validation_loss"])
        return losses

    gatekeeper = Gatekeeper(folder, sample_seconds=2.0, sample_count=1)
    run.watchers = [On(end_epoch=validate, after_save=gatekeeper.write_samples)]
    pretrain_generator(run)
    pretrain_discriminator(run)
    keep = folder.parent / "pretrained"
    shutil.copytree(folder, keep)
    train_vae_gan(run)
    return heard


def draw_warmup(work: Path, base: Path) -> None:
    """Rate and gradient of the generator without, with a linear, and with a cosine warm-up."""
    folders = {"the stage's 5 steps": base}
    for kind in ("linear", "cosine"):
        folders[f"{kind}, 24 steps"] = work / kind
        warmup = {"schedulers__g_warmup_steps": 24, "schedulers__g_warmup_type": kind}
        train_professor(begin(work / kind, pretrained=work / "pretrained", **warmup))
    rates = [line(label, folder, f"rate:{SHORTCUT}") for label, folder in folders.items()]
    losses = [heard_line(label, folder) for label, folder in folders.items()]
    charts = [LineChart("generator: learning rate", rates), LineChart("energy score of validation music", losses)]
    chart_row(charts, OUTPUT / "warmup.png", x_label="step of the professor's stage")


def draw_beginning(work: Path, base: Path) -> None:
    """Generator-only steps, then a cosine ramp, beside the ramp of today."""
    folder = work / "beginning"
    train_professor(
        begin(
            folder,
            pretrained=work / "pretrained",
            schedulers__pretrain_g_only=True,
            schedulers__g_pretrain_steps=16,
            schedulers__adv_ramp_steps=24,
            schedulers__adv_ramp_type="cosine",
        )
    )
    phase = LineChart(
        "training/pretrain_phase, training/adv_ramp",
        [
            line("generator alone", folder, "training/pretrain_phase", style="--"),
            line("then a cosine ramp, 24 steps", folder, "training/adv_ramp"),
            line("today's ramp, a fifth of the stage", base, "training/adv_ramp", style=":"),
        ],
    )
    losses = LineChart(
        "L_D and L_G",
        [line("L_D", folder, "professor_loss"), line("L_G", folder, "adversarial")],
        mark=("confusion, log 2", 0.6931),
    )
    energy = LineChart(
        "energy score of validation music", [heard_line("alone first", folder), heard_line("today's", base, style="o:")]
    )
    chart_row([phase, losses, energy], OUTPUT / "beginning.png", x_label="step of the professor's stage")


def draw_plateau(work: Path) -> None:
    """Validation loss, and the rates that two plateaus lower apart."""
    folder = work / "plateau"
    train_professor(
        begin(
            folder,
            pretrained=work / "pretrained",
            schedulers__adv_ramp_steps=8,
            schedulers__g_plateau={"patience": 1, "factor": 0.5, "threshold": 0.01},
            schedulers__d_plateau={"patience": 2, "factor": 0.5, "threshold": 0.01},
        )
    )
    rates = [
        line(label, folder, f"rate:{name}") for label, name in (("generator", SHORTCUT), ("professor", "professor"))
    ]
    charts = [
        LineChart("the generator's plateau looks at", [heard_line("validation_loss", folder)]),
        LineChart("the professor's, at epochs' means of", [line("professor_loss", folder, "professor_loss")]),
        LineChart("learning rates", rates),
    ]
    chart_row(charts, OUTPUT / "plateau.png", x_label="step of the professor's stage")


def draw_early_stopping(work: Path) -> None:
    """An autoencoder that has too little to learn from: it learns it by heart, and is stopped."""
    folder = work / "early"
    settings = {"patience": 2, "threshold": 0.005}
    stages = SHARES | {"autoencoder": SHARES["autoencoder"] | {"share": 1.0}, "flow": SHARES["flow"] | {"share": 0.0}}
    run = begin(folder, schedulers__early_stopping=settings, stages=stages, pretrain_epochs_g=60)
    run.data.sets["training"].pairs = tonal_pairs(1, seed=3)
    train_autoencoder(run)
    heard = events(folder, "validation", "autoencoder")
    steps, losses = [event["step"] for event in heard], [event["validation_loss"] for event in heard]
    best = losses.index(min(losses))
    stopped = events(folder, "early_stop", "autoencoder")
    when = f"stopped at step {stopped[0]['step']} of 480" if stopped else "ran to its end"
    lines = [
        line("training", folder, "reconstruction", stage="autoencoder"),
        ChartLine("validation", steps, losses, "o-"),
        ChartLine(f"kept: step {steps[best]}", [steps[best]], [losses[best]], "k*"),
    ]
    chart_row([LineChart(when, lines)], OUTPUT / "early-stopping.png", x_label="step of the autoencoder's stage")


def draw_average(heard: dict[str, list[float]]) -> None:
    """Validation by averaged and by plain weights."""
    epochs = [float(index + 1) for index in range(len(heard["plain"]))]
    lines = [ChartLine(f"{name} weights", epochs, values) for name, values in heard.items()]
    chart_row(
        [LineChart("the flow's loss on validation music", lines)],
        OUTPUT / "average.png",
        x_label="epoch of the flow's stage",
    )


def draw_probabilities(base: Path) -> None:
    """D(y) and D(G(x)) of both judges."""
    charts = [
        LineChart(
            f"the {judge}",
            [
                line("D(y), real", base, f"{judge}_d_real", stage=judge),
                line("D(G(x)), generated", base, f"{judge}_d_fake", stage=judge),
            ],
            mark=("confusion, 1/2", 0.5),
        )
        for judge in ("ear", "professor")
    ]
    chart_row(charts, OUTPUT / "probabilities.png", x_label="step of the judge's stage")


def main() -> None:
    """Run and draw everything."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base = work / "base"
        heard = run_whole(base)
        for picture in (LOSS_NAME, REAL_FAKE_NAME):
            shutil.copyfile(base / picture, OUTPUT / picture.replace("_", "-"))
        draw_average(heard)
        draw_probabilities(base)
        draw_warmup(work, base)
        draw_beginning(work, base)
        draw_plateau(work)
        draw_early_stopping(work)
    for path in sorted(OUTPUT.glob("*.png")):
        print(path.name, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
