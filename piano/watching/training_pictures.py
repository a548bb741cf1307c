"""loss.png and real_fake.png: the two pictures of a run that are drawn again when it saves.

`loss.png` is drawn from metrics.jsonl alone, so that it can be made for any run, also one that died:

    python -m piano.watching.training_pictures checkpoints
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from piano.config_reader import CONFIG_NAME, Config, load_config_from_yaml
from piano.evaluation.pictures import (
    BLUE,
    GREEN,
    INK,
    OCHRE,
    PLUM,
    QUIET,
    RED,
    save_figure,
    spectrogram_grid,
    styled_figure,
)
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.run_log import LOG_NAME, read_history
from piano.loss_functions import Objective, normalised_discriminator_loss
from piano.stages import JUDGES, STAGE, STAGES

LOSS_NAME, REAL_FAKE_NAME = "loss.png", "real_fake.png"
CONFUSION = math.log(2.0)
HEALTHY_D, HEALTHY_G = (0.4, 0.7), (0.5, 2.0)
COLLAPSE, FAILURE = 0.1, 0.9
"""Of the normalised L_D; docs/loss-guide.md says where the bounds come from."""
MOST_POINTS = 100
"""Of a line within one stage."""
ALONE, RAMP = "G alone", "ramp"
PHASE_LABELS = {ALONE: "the generator learns alone", RAMP: "the adversary's weight rises"}
LETTER_SHARE = 0.016
"""Part of a chart's width that a letter of a stage's name takes."""
COLOURS = {"ear": BLUE, "professor": PLUM}
OWN_LOSSES = tuple(dict.fromkeys(stage.own_term for stage in STAGES if stage.own_term))
ADVERSARIAL = {judge: STAGE[judge].adversarial_term for judge in JUDGES}


class Span(NamedTuple):
    """Steps that belong together."""

    name: str
    begin: int
    end: int
    """The first step after it."""


def draw_losses(
    history: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    smoothing: float = 0.0,
    objectives: Mapping[str, Objective] | None = None,
) -> Path | None:
    """Losses over steps, with the confusion line, the healthy bands, and the stages and phases marked.

    Parameters
    ----------
    history : sequence of mappings
        Lines of metrics.jsonl.
    path : Path
        Of the PNG.
    smoothing : float
        Label smoothing of the ear and the professor: L_D is drawn normalised for it, so that the bands hold.
    objectives : mapping, optional
        Judge -> `bce` or `relativistic`; needed with smoothing only.

    Returns
    -------
    Path or None
        None where no step was logged yet.
    """
    steps = [entry for entry in history if "step" in entry and "event" not in entry]
    if not steps:
        return None
    validation = [entry for entry in history if entry.get("event") == "validation"]
    judged = [entry for entry in steps if any(f"{judge}_loss" in entry for judge in COLOURS)]
    panels: list[tuple[Callable[[Axes], None], Sequence[Mapping[str, Any]]]] = [
        (lambda axis: draw_own(axis, steps, validation), steps)
    ]
    if judged:
        floors: Mapping[str, Objective] = objectives or {}
        panels += [
            (lambda axis: draw_discriminator(axis, judged, smoothing, floors), judged),
            (lambda axis: draw_generator(axis, judged), judged),
            (lambda axis: draw_probabilities(axis, judged), judged),
        ]
    rows, columns = (2, 2) if judged else (1, 1)
    with styled_figure(rows, columns, size=(6.4 * columns, 4.6 * rows)) as (figure, axes):
        for axis, (draw, shown) in zip(axes.flat, panels, strict=True):
            draw(axis)
            mark_spans(axis, shown)
            axis.set_xlabel("step of the run")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2)
        return save_figure(figure, path)


def draw_own(axis: Axes, steps: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]]) -> None:
    """What the generator learns without a judge: on training music, and by its averaged weights on validation music."""
    for name in OWN_LOSSES:
        draw_curve(axis, steps, name, label=name.replace("_", " "))
    places = [entry["total_step"] for entry in validation if "validation_loss" in entry]
    values = [entry["validation_loss"] for entry in validation if "validation_loss" in entry]
    if places:
        axis.plot(
            places, values, ".", color=INK, markersize=5, clip_on=False, label="on validation music, averaged weights"
        )
    axis.set_title("The generator learns: its own losses", loc="left")


def draw_discriminator(
    axis: Axes, judged: Sequence[Mapping[str, Any]], smoothing: float, objectives: Mapping[str, Objective]
) -> None:
    """L_D of each judge between collapse and failure."""
    axis.axhspan(*HEALTHY_D, color=GREEN, alpha=0.12, label="healthy, 0.4 to 0.7")
    axis.axhspan(0.0, COLLAPSE, color=RED, alpha=0.10)
    axis.axhline(CONFUSION, color=QUIET, linestyle="--", linewidth=1, label="confusion, log 2")
    highest = 1.2
    for judge, colour in COLOURS.items():
        drawn = draw_curve(
            axis,
            judged,
            f"{judge}_loss",
            label=judge,
            colour=colour,
            change=lambda values, judge=judge: normalised_discriminator_loss(
                values, smoothing, objectives.get(judge, "bce")
            ),
        )
        highest = max(highest, 1.1 * drawn)
    highest = min(highest, 3.0)
    axis.axhspan(FAILURE, highest, color=RED, alpha=0.10, label="collapse below 0.1, failure above 0.9")
    axis.set_ylim(0.0, highest)
    axis.set_title(
        "The judges learn: their loss $L_D$" + (", normalised for label smoothing" if smoothing else ""), loc="left"
    )


def draw_generator(axis: Axes, judged: Sequence[Mapping[str, Any]]) -> None:
    """L_G against each judge."""
    axis.axhspan(*HEALTHY_G, color=GREEN, alpha=0.12, label="healthy, 0.5 to 2")
    axis.axhline(CONFUSION, color=QUIET, linestyle="--", linewidth=1, label="confusion, log 2")
    for judge, name in ADVERSARIAL.items():
        draw_curve(axis, judged, name, label=f"against the {judge}", colour=COLOURS[judge])
    axis.set_ylim(bottom=0.0)
    axis.set_title("The generator is judged: its loss $L_G$", loc="left")


def draw_probabilities(axis: Axes, judged: Sequence[Mapping[str, Any]]) -> None:
    """D(y) and D(G(x)) on their way to one half."""
    axis.axhline(0.5, color=QUIET, linestyle="--", linewidth=1, label="confusion, 1/2")
    for judge, colour in COLOURS.items():
        draw_curve(axis, judged, f"{judge}_d_real", label=f"{judge}: D(y), real", colour=colour)
        draw_curve(axis, judged, f"{judge}_d_fake", label=f"{judge}: D(G(x)), generated", colour=colour, style=":")
    axis.set_ylim(0.0, 1.0)
    axis.set_title("The judges decide: probability of being real", loc="left")


def draw_curve(
    axis: Axes,
    steps: Sequence[Mapping[str, Any]],
    name: str,
    *,
    label: str,
    colour: ColorType | None = None,
    style: str = "-",
    change: Callable[[NDArray], Any] | None = None,
) -> float:
    """One number over steps, stage by stage: medians of neighbours, and where most of them lie; returns the highest."""
    highest = 0.0
    for span in spans([entry for entry in steps if name in entry], lambda entry: entry["stage"]):
        points = [
            (entry["total_step"], entry[name])
            for entry in steps
            if name in entry and span.begin <= entry["total_step"] < span.end
        ]
        places, values = np.array(points, dtype=np.float64).T
        values = values if change is None else np.asarray(change(values))
        parts = np.array_split(np.arange(len(values)), min(MOST_POINTS, len(values)))
        x = np.array([places[part].mean() for part in parts])
        low, middle, high = np.array([np.percentile(values[part], (10, 50, 90)) for part in parts]).T
        marks = f".{style}" if len(x) < 4 else style
        (line,) = axis.plot(x, middle, marks, color=colour, linewidth=1.2, markersize=5, clip_on=False, label=label)
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        colour, label, highest = line.get_color(), "_", max(highest, float(middle.max()))
    return highest


def mark_spans(axis: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    """Name the stages, and shade where the generator learns alone and where the adversary's weight still rises."""
    first, last = steps[0]["total_step"], steps[-1]["total_step"] + 1
    margin = 0.012 * (last - first)
    axis.set_xlim(first - margin, last + margin)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top + 0.09 * (top - bottom))  # the names stand above the curves
    taken: list[tuple[float, float]] = []
    for span in sorted(spans(steps, lambda entry: entry["stage"]), key=lambda span: span.begin - span.end):
        axis.axvline(span.begin, color=QUIET, linewidth=0.6, alpha=0.5)
        room = span.begin, span.begin + LETTER_SHARE * (len(span.name) + 1) * (last - first)
        if room[1] > span.end + margin or any(room[0] < end and begin < room[1] for begin, end in taken):
            continue  # a name stands inside its stage or not at all
        taken.append(room)
        axis.text(
            span.begin,
            0.985,
            f" {span.name}",
            fontsize=8,
            color=QUIET,
            transform=axis.get_xaxis_transform(),
            va="top",
            ha="left",
        )
    told: set[str] = set()
    for span in spans(steps, phase_name):
        if span.name:
            colour = OCHRE if span.name == ALONE else QUIET
            label = PHASE_LABELS[span.name] if span.name not in told else "_"
            axis.axvspan(span.begin, span.end, color=colour, alpha=0.16, linewidth=0, label=label)
            told.add(span.name)


def phase_name(entry: Mapping[str, Any]) -> str:
    """What a step's phase is called in the picture, "" for none."""
    if entry.get("training/pretrain_phase"):
        return ALONE
    return RAMP if entry.get("training/adv_ramp", 1.0) < 1.0 else ""


def spans(steps: Sequence[Mapping[str, Any]], name_of: Callable[[Mapping[str, Any]], str]) -> list[Span]:
    """Neighbouring steps of one name together."""
    found: list[Span] = []
    for entry in steps:
        name, place = name_of(entry), int(entry["total_step"])
        if found and found[-1].name == name:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            found.append(Span(name, place, place + 1))
    return found


def draw_real_fake(pairs: Mapping[str, tuple[NDArray, NDArray]], sample_rate: int, path: Path) -> Path:
    """Spectrograms side by side: real music on the left, what the generator makes on the right.

    Parameters
    ----------
    pairs : mapping from what is generated (such as "composition") to real and generated waveform
        Each [shape=(channels, samples)].
    sample_rate : int
    path : Path
        Of the PNG.
    """
    rows = {}
    for name, (real, fake) in pairs.items():
        rows[f"real music (beside the {name})"] = real
        rows[f"generated: {name}"] = fake
    return spectrogram_grid(rows, sample_rate, path, columns=2)


def judge_objectives(config: Config) -> dict[str, Objective]:
    """Judge -> its objective."""
    return {"ear": config.objective_ear, "professor": config.objective_professor}


def draw_run(folder: Path, config: Config | None) -> Path:
    """loss.png of a run's folder; raises DatasetError where it holds no step."""
    path = draw_losses(
        read_history(folder),
        folder / LOSS_NAME,
        smoothing=config.smoothing if config else 0.0,
        objectives=judge_objectives(config) if config else None,
    )
    if path is None:
        raise DatasetError(f"{folder / LOG_NAME} holds no training step. Name the folder of a run.")
    return path


def main(argv: list[str] | None = None) -> int:
    """Draw loss.png of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the run's checkpoint folder")
    options = parser.parse_args(argv)

    def draw() -> None:
        settings = options.folder / CONFIG_NAME
        print(draw_run(options.folder, load_config_from_yaml(settings) if settings.is_file() else None))

    return run_command(draw)


if __name__ == "__main__":
    raise SystemExit(main())
