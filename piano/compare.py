"""Which of two runs makes better music: better, worse or cannot tell, with intervals; and how they were trained.

Both compose from the same seeds and are held against the same real clips. The difference of their figures is judged.
"""

import argparse
import logging
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from piano.composer import Composer, Sampling
from piano.evaluate import measure_real, require_clips, sound_of, watched
from piano.evaluation.bootstrap import Figure
from piano.evaluation.learned_songs import LearnedSongs, find_overlap, learned_by_model
from piano.evaluation.measures import measure_title
from piano.evaluation.music_folder import is_dataset
from piano.evaluation.paired import PLAIN, Compared, MadeSet, compare_sets, overall, overall_words
from piano.evaluation.pictures import BLUE, EDGE, GREEN, PLUM, QUIET, RED, save_figure, styled_figure
from piano.evaluation.ruler import Clips, Ruler, describe_all, features_of
from piano.evaluation.score_generator import compose_samples, form_of
from piano.evaluation.score_table import plain
from piano.evaluation.sound_form import SoundForm, changed_words, common_form, in_form
from piano.foundation import options as kinds
from piano.foundation.doors import fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.made_files import claim_results, write_json
from piano.foundation.model_folder import named_folder, project_name
from piano.foundation.options import make_output_folder
from piano.foundation.runtime import choose_device, choose_threads, sampling_dtype
from piano.foundation.score_words import RULER_VERSION, score_words
from piano.foundation.screen_text import (
    CommandParser,
    columns,
    counted,
    join_names,
    printable,
    text_table,
    tolerate_old_terminals,
    wrapped,
)
from piano.run_settings import differing, read_settings
from piano.utilities import build_generator, load_checkpoint
from piano.watching.training_figures import Training, training_of

MOST_LOSSES, MOST_SETTINGS = 12, 4
UNEQUAL = 1.25
"""From so many times the steps on, one of two runs had much more of them."""
EXAMPLE = """examples:
  {musigan compare} runs/monday runs/tuesday
  {musigan compare} checkpoints shipped --real ~/held_out
  {musigan compare} checkpoints checkpoints --epochs 12 best
"""


class Side(NamedTuple):
    """One of the two models."""

    name: str
    """Folder and epoch."""
    folder: Path
    epoch: int
    composer: Composer
    training: Training | None
    learned: LearnedSongs | None = None
    """What it is known to have learned from."""


class Names(NamedTuple):
    """What the two are called, as short as they can be told apart."""

    first: str
    second: str


def short_names(first: Side, second: Side) -> Names:
    """`monday` and `tuesday`; with their epochs, or their whole paths, where that is not enough."""
    choices = (
        lambda side: printable(side.folder.name or side.folder),
        lambda side: f"{printable(side.folder.name or side.folder)} (epoch {side.epoch})",
        lambda side: side.name,
    )
    for choice in choices:
        names = Names(choice(first), choice(second))
        if names.first != names.second:
            return names
    return Names(f"{first.name}, {counted(first.composer.steps, 'step')}", f"{second.name}, again")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("compare"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    add("runs", nargs=2, type=named_folder, metavar="RUN", help="folders of checkpoints, or shipped (required)")
    add(
        "--epochs",
        nargs=2,
        type=kinds.epoch,
        default=("best", "best"),
        metavar=("A", "B"),
        help="of the first and of the second: numbers, latest or best (default: best best)",
    )
    add("--real", type=Path, help="music neither learned from: sound files or a data set (default: the runs' data set)")
    kinds.add_shared(parser, "--count", help="samples of each, and real clips (default: %(default)s)")
    kinds.add_shared(parser, "--seconds")
    kinds.add_shared(
        parser, "--steps", help="sampling steps: a number, or auto, what each scored best with (default: auto)"
    )
    kinds.add_shared(parser, "--seed")
    add("--output", type=Path, default=Path("comparison"), help="folder to write to (default: comparison)")
    kinds.add_shared(parser, "--device", "--threads")
    add("--verbose", action="store_true", help="print intervals, losses and settings too (default: off)")
    kinds.add_shared(parser, "--overwrite")
    options = parser.parse_args(argv)
    require_clips(parser, options)
    return options


def main(argv: list[str] | None = None) -> int:
    """Compare two runs, and write comparison.json and comparison.png."""
    options = parse_arguments(argv)
    tolerate_old_terminals()
    logging.basicConfig(format="%(message)s")
    return run_command(lambda: compare(options))


def compare(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    torch.set_num_threads(options.threads or choose_threads())
    sides = [open_side(folder, epoch, options) for folder, epoch in zip(options.runs, options.epochs, strict=True)]
    first, second = sides
    options.real = options.real or real_of(first, second)
    forms = [form_of(side.composer) for side in sides]
    sound = common_form(*forms, sound_of(options.real))
    make_output_folder(options.output)
    claim_results(
        options.output,
        ("comparison.json", "comparison.png"),
        command="compare",
        of=[*options.runs, options.real],
        overwrite=options.overwrite,
    )
    changed = [
        said
        for name, form in zip(short_names(first, second), forms, strict=True)
        if (said := changed_words(f"What {name} makes", form, sound))
    ]
    ruler, excerpts = measure_real(options, sound)
    if ruler.reason:
        raise DatasetError(f"the two cannot be compared: {ruler.reason}. Name other music with --real.")
    warnings = [
        overlap.warning(name)
        for name, side in zip(short_names(first, second), sides, strict=True)
        if (overlap := find_overlap(options.real, excerpts.files, side.learned)) and overlap.learned
    ]
    rows = compare_clips(ruler, *(compose(side, options, sound) for side in sides), seed=options.seed)
    text = comparison_text(rows, first, second, ruler, made=options.count, is_verbose=options.verbose)
    text = "\n".join([*map(wrapped, warnings), *map(wrapped, changed), text])
    print("\n".join(map(printable, text.split("\n"))))
    told = comparison_json(rows, first, second, ruler, options) | {
        "warning": " ".join(warnings) or None,
        "form": sound._asdict(),
        "ruler": RULER_VERSION,
    }
    write_json(options.output / "comparison.json", plain(told))
    draw_comparison(rows, short_names(first, second), options.output / "comparison.png")
    print(f"\nWritten to {printable(options.output)}")


def open_side(folder: Path, epoch: str, options: argparse.Namespace) -> Side:
    """The generator of an epoch, and what is known of its training."""
    device = choose_device(options.device)
    content = load_checkpoint(folder, "generator", epoch)
    generator = build_generator(content, device=device)
    name = f"{printable(folder)} (epoch {content['epoch']})"
    composer = Composer(generator, Sampling(options.seed, options.steps, dtype=sampling_dtype(device)))
    return Side(name, folder, content["epoch"], composer, training_of(folder), learned_by_model(folder, content))


def real_of(first: Side, second: Side) -> Path:
    """The data set of the runs, of which the validation pairs serve; raises DatasetError where there is none."""
    for side in (first, second):
        folder = read_settings(side.folder).get("dataset_folder")
        if folder and is_dataset(Path(folder)):
            return Path(folder)
    raise DatasetError(
        "neither run says which data set it learned from, or it is gone. "
        "Name music that neither learned from with --real."
    )


def compose(side: Side, options: argparse.Namespace, sound: SoundForm) -> Clips:
    """Samples of one side, in the form that all can be brought to."""
    clips = compose_samples(side.composer, count=options.count, seconds=options.seconds, watch=watched)
    samples = round(options.seconds * sound.sample_rate)
    return [in_form(clip, form_of(side.composer), sound, samples=samples) for clip in clips]


def compare_clips(ruler: Ruler, first: Clips, second: Clips, *, seed: int = 0) -> dict[str, Compared]:
    """Every measure of two sets of as many clips; clip n of both should come from the same seed."""
    return compare_sets(ruler.reference, made_set(ruler, first), made_set(ruler, second), seed=seed)


def made_set(ruler: Ruler, clips: Clips) -> MadeSet:
    """Features of clips, and how many of their single numbers lie in the band of real music."""
    features = features_of(clips, ruler.sample_rate, watched, "samples")
    described = describe_all(clips, ruler.sample_rate, watched, "samples, described")
    rows = []
    for name, values in described.items():
        if name in ruler.descriptors:
            low, high = np.percentile(ruler.descriptors[name], (5, 95))
            rows.append((values >= low) & (values <= high))
    return MadeSet(features, np.mean(rows, axis=0))


# --- telling


def comparison_text(
    rows: dict[str, Compared], first: Side, second: Side, ruler: Ruler, *, made: int, is_verbose: bool = False
) -> str:
    """The answer, the figures it rests on, and with `is_verbose` every interval, loss and setting.

    `made` is how many clips each of the two made.
    """
    names = short_names(first, second)
    answer = overall_sentence(rows, names)
    few = ""
    if overall(rows) == "cannot tell":
        few = " More songs (--real) would show smaller differences."
        if len(ruler.clips) >= made:  # else the real music gives no more clips, and samples alone help little
            few = " More clips (--count) or more songs (--real) would show smaller differences."
    lines = [wrapped(f"{answer}{few}"), ""]
    lines.append(
        wrapped(
            f"Each made {counted(made, 'clip')}, held against {counted(len(ruler.clips), 'clip')} of "
            f"{counted(ruler.songs, 'real song')}:"
        )
    )
    lines.append(figures_table(rows, names, clips=len(ruler.clips)))
    lines += ["", *training_lines(first, second, is_verbose=is_verbose)]
    if is_verbose:
        lines += [
            "",
            wrapped(
                "Differences, with intervals that hold for all measures together in 95 of 100 "
                "comparisons (docs/ruler.md):"
            ),
        ]
        lines += [wrapped(measure_sentence(row, names, clips=len(ruler.clips))) for row in rows.values()]
    else:
        lines.append("Intervals, losses and settings: --verbose, or comparison.json.")
    return "\n".join(lines)


def figures_table(rows: dict[str, Compared], names: Names, *, clips: int) -> str:
    """A line for every measure: what it asks, the figure of each, and who is ahead."""
    shown = [textwrap.shorten(name, 18, placeholder="...") for name in names]
    words = {"better": shown[0], "worse": shown[1], "cannot tell": "neither"}
    table = [["", *shown, "best", "ahead"]]
    for row in rows.values():
        values = [f"{value:.2f}" for value in (row.first, row.second)]
        if row.name == "kernel_score":
            values = [score_words(value, None, clips).split(" (")[0] for value in (row.first, row.second)]
        best = {"lower": "0", "higher": "1"}.get(row.better, "1")
        table.append([f"{PLAIN[row.name]}", *values, best, words[row.verdict]])
    return text_table(table, width=columns())


def shown_difference(row: Compared) -> Figure:
    """How far the first is ahead, in text and picture: above 0 it is better, whatever the measure asks."""
    gap = row.difference
    return Figure(0.0 - gap.value, 0.0 - gap.high, 0.0 - gap.low)


def measure_sentence(row: Compared, names: Names, *, clips: int | None = None) -> str:
    """One measure in one sentence."""
    words = {"better": f"{names.first} is better", "worse": f"{names.second} is better", "cannot tell": "cannot tell"}
    gap = shown_difference(row)
    what = f"lead of {names.first}{' in nearness to 1' if row.better == 'near 1' else ''}"
    values = [f"{value:.3f}" for value in (row.first, row.second)]
    if row.name == "kernel_score":
        values = [score_words(value, None, clips) for value in (row.first, row.second)]
    return (
        f"{row.name} ({row.better} is better): {words[row.verdict]}, {values[0]} against {values[1]}, "
        f"{what} {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]."
    )


def overall_sentence(rows: dict[str, Compared], names: Names) -> str:
    """What all measures say together."""
    return overall_words({name: row.verdict for name, row in rows.items()}, *names)


def training_lines(first: Side, second: Side, *, is_verbose: bool = True) -> list[str]:
    """How the two were trained; with `is_verbose` last losses and settings, side by side."""
    lines = [
        wrapped(f"{name}: {side.name}, composing in {counted(side.composer.steps, 'step')}; {trained_words(side)}.")
        for name, side in zip(short_names(first, second), (first, second), strict=True)
    ]
    if first.training is None or second.training is None:
        return lines
    a, b = first.training, second.training
    settings = differing(a.settings, b.settings)
    lines += filter(None, [unequal_words(first, second), settings_words(settings)])
    if "dataset_folder" in settings:
        lines.append(
            wrapped("They learned from different data sets: make sure that --real holds what neither has heard.")
        )
    if not is_verbose:
        return lines
    ranked = sorted(
        (name for name in a.losses if name in b.losses),
        key=lambda name: -abs(a.losses[name] - b.losses[name]) / (abs(a.losses[name]) + abs(b.losses[name]) + 1e-9),
    )
    if ranked:
        lines.append("Numbers at the end of their stage that differ most:")
        lines += [f"  {name}: {a.losses[name]:.4g} against {b.losses[name]:.4g}" for name in ranked[:MOST_LOSSES]]
    lines += ["Settings that differ:" if settings else "Their settings are the same."]
    return lines + [f"  {name}: {pair[0]} against {pair[1]}" for name, pair in settings.items()]


def unequal_words(first: Side, second: Side) -> str:
    """That one of the two learned much longer; empty where it did not, or where nobody knows."""
    if first.training is None or second.training is None:
        return ""
    names = short_names(first, second)
    steps = [sum(side.training.steps.values()) for side in (first, second) if side.training]
    if not min(steps) or max(steps) < UNEQUAL * min(steps):
        return ""
    longer = names[steps.index(max(steps))]
    return wrapped(
        f"{longer} learned {max(steps) / min(steps):.1f} times as many steps as the other: what differs may come from "
        "that alone."
    )


def settings_words(settings: dict[str, tuple[Any, Any]]) -> str:
    """The settings that differ, in one sentence; empty where none does (other data sets have their own)."""
    settings = {name: pair for name, pair in settings.items() if name != "dataset_folder"}
    if not settings:
        return ""
    shown = [f"{name} ({pair[0]} against {pair[1]})" for name, pair in [*settings.items()][:MOST_SETTINGS]]
    more = [f"{len(settings) - MOST_SETTINGS} more"] if len(settings) > MOST_SETTINGS else []
    return wrapped(f"Settings that differ: {join_names([*shown, *more])}.")


def trained_words(side: Side) -> str:
    """How long a model was trained, or why that is not known."""
    if side.training is not None:
        minutes = f"{side.training.seconds / 60:.1f} minutes"
        return f"it learned for {minutes}, {counted(sum(side.training.steps.values()), 'step')}"
    if project_name(side.folder):
        return "it comes with the project (checkpoints/MODEL_CARD.md says how long it learned)"
    return "its folder holds no log of its training"


def comparison_json(
    rows: dict[str, Compared], first: Side, second: Side, ruler: Ruler, options: argparse.Namespace
) -> dict[str, Any]:
    """Everything as plain values; verdicts are about the first."""
    a, b, names = first.training, second.training, short_names(first, second)
    return {
        "runs": [
            {
                "folder": str(side.folder),
                "epoch": side.epoch,
                "steps": side.composer.steps,
                "training": side.training and side.training._asdict(),
            }
            for side in (first, second)
        ],
        "real": {"folder": str(options.real), "clips": len(ruler.clips), "songs": ruler.songs},
        "count": options.count,
        "seconds": options.seconds,
        "seed": options.seed,
        "verdict": overall(rows),
        "sentence": overall_sentence(rows, names),
        "names": list(names),
        "measures": {
            name: row._asdict() | {"difference": row.difference._asdict(), "sentence": measure_sentence(row, names)}
            for name, row in rows.items()
        },
        "different_settings": differing(a.settings, b.settings) if a and b else None,
    }


def draw_comparison(rows: dict[str, Compared], names: Names, path: Path) -> Path:
    """The two values of every measure, and below how far the first is ahead, with its interval and the text's sign."""
    colours = {"better": GREEN, "worse": RED, "cannot tell": QUIET}
    with styled_figure(2, len(rows), size=(3.4 * len(rows), 5.0)) as (figure, axes):
        for column, row in enumerate(rows.values()):
            above, below = axes[0, column], axes[1, column]
            values = [row.first, row.second]
            above.barh([1, 0], values, color=[PLUM, BLUE])
            if not any(abs(value) > 1e-9 for value in values):
                above.set_xlim(0.0, 1.0)  # two bars of no length: the number beside them is all there is to see
            for place, value in zip((1, 0), values, strict=True):
                above.annotate(f" {value:.2f}", (max(value, 0.0), place), va="center", fontsize="small")
            above.margins(x=0.2)
            shown = [textwrap.shorten(name, 24, placeholder="...") for name in names]
            above.set_yticks([1, 0], shown if column == 0 else ["", ""], parse_math=False)
            above.set_title(f"{measure_title(row.name)}\n({row.better} is better)", loc="left")
            gap = shown_difference(row)
            ends = [end if np.isfinite(end) else gap.value for end in (gap.low, gap.high)]
            below.axvline(0.0, color=EDGE)
            below.plot(ends, [0, 0], color=colours[row.verdict], linewidth=3)
            below.plot(gap.value, 0, "o", color=colours[row.verdict])
            below.set_yticks([])
            words = {"better": f"{shown[0]} is better", "worse": f"{shown[1]} is better"}
            below.set_title(
                words.get(row.verdict, row.verdict), loc="left", parse_math=False, color=colours[row.verdict]
            )
            below.set_xlabel("how far ahead")
        title = f"{names.first} is compared with {names.second}. Below, right of 0: {names.first} is better"
        figure.suptitle(title, x=0.01, ha="left", parse_math=False)
        return save_figure(figure, path)


if __name__ == "__main__":
    raise SystemExit(main())
