"""The listening report: what a run learned, how, and how good it is, on one page that works without a network."""

import argparse
import string
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from piano import evaluate
from piano.config_reader import CONFIG_NAME, Config, load_config_from_yaml
from piano.evaluation.music_folder import Song, is_dataset
from piano.evaluation.report_composed import compose_music
from piano.evaluation.report_copies import copies_section
from piano.evaluation.report_html import Section, contents_html, counted, missing, section_html, subheading
from piano.evaluation.report_music import hours, music_section
from piano.evaluation.report_scores import score_sentence, scores_section, tournament_section
from piano.evaluation.report_settings import machine_section, settings_section
from piano.evaluation.report_sounds import Kind, Sound, collect_made_music, collect_real_music, dataset_music
from piano.evaluation.report_training import (
    curves_section,
    findings_section,
    learning_section,
    training_sentence,
)
from piano.evaluation.sound_cards import card_grid, sound_card
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import read_best
from piano.foundation.dataset_format import read_manifest
from piano.foundation.doors import fill, program
from piano.foundation.errors import CheckpointError, ConfigError, DatasetError, run_command
from piano.foundation.made_files import write_bytes
from piano.foundation.model_folder import holds_shipped, named_folder
from piano.foundation.run_log import read_history
from piano.foundation.screen_text import printable, tolerate_old_terminals

TEMPLATE = Path(__file__).with_name("report_page.html")
REPORT_NAME = "report.html"
MOST_OF_A_KIND = 6
MOST_BYTES = 15_000_000
REAL_COUNT = 2
EXAMPLE = """examples:
  {musigan report} checkpoints
  {musigan report} checkpoints --music music_out --real ~/held_out --output listen.html
  {musigan report} checkpoints --evaluate"""
GROUPS: dict[Kind, tuple[str, str]] = {
    "noise": ("From white noise", "Nothing was given but a seed."),
    "reconstruction": ("Reconstructions", "What the autoencoder keeps of real music."),
    "real": ("Real music", "To compare with."),
}
"""Headline and words of each kind of sound, in the order of the page."""


class Sources(NamedTuple):
    """Where the parts of a report come from."""

    run: Path
    config: Config | None
    dataset: Path | None
    scores: Path
    tournament: Path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program("report"), description=__doc__, epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("run", nargs="?", type=named_folder, metavar="RUN",
        help="folder of a run, or shipped (default: the config's checkpoint_folder)")  # fmt: skip
    add("--output", type=Path, help=f"the page to write (default: {REPORT_NAME} inside RUN)")
    add(
        "--music",
        type=Path,
        help="folder that generate_music wrote (default: the best epoch plays for the page)",
    )
    add(
        "--compose",
        type=kinds.natural_int,
        default=2,
        help="pieces and continuations to play without --music (default: %(default)s)",
    )
    add(
        "--real",
        type=Path,
        help="real music to compare with: sound files or a data set (default: as trained)",
    )
    add("--dataset", type=Path, help="data set the run learned from (default: as trained)")
    add("--copies", choices=("auto", "yes", "no"), default="auto",
        help="search the training music for copies (default: auto, up to six hours of it)")  # fmt: skip
    add(
        "--evaluate",
        action="store_true",
        help="measure the best epoch with the ruler first: minutes (default: off)",
    )
    add("--scores", type=Path, help="folder that evaluate wrote (default: evaluation inside RUN)")
    add(
        "--tournament",
        type=Path,
        help="folder that check_discriminator wrote (default: check_discriminator inside RUN)",
    )
    add(
        "--max-seconds",
        type=kinds.seconds,
        default=20.0,
        help="show no more of a sound than this (default: %(default)s)",
    )
    add("--title", help="headline of the page (default: the folder's name)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the page; see `--help`."""
    options = parse_arguments(argv)
    tolerate_old_terminals()
    return run_command(lambda: write_report(options))


def write_report(options: argparse.Namespace) -> None:
    """Build the page and write it; an older one stays until the new one is whole."""
    run = options.run or load_config_from_yaml().checkpoint_folder
    if not run.is_dir() and options.music is None:
        raise CheckpointError(
            f"there is no folder {printable(run)}. Name the folder of a run, as in: musigan report checkpoints"
        )
    output = options.output or (Path(REPORT_NAME) if holds_shipped(run) else run / REPORT_NAME)
    sources = find_sources(run, options)
    if options.evaluate:
        measure(sources, options)
    page = build_page(sources, options)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, page.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(
            f"cannot write {printable(output)}: {error.strerror}. Choose another place with --output."
        ) from None
    size = output.stat().st_size
    print(f"{printable(output)}  ({size / 1e6:.1f} MB, opens in any browser, needs no network)")
    if size > MOST_BYTES:
        print("That is large for a page: a smaller --max-seconds, --compose or --music makes it smaller.")


def find_sources(run: Path, options: argparse.Namespace) -> Sources:
    """The folders that the run itself names, and the ones that were given instead."""
    try:
        config = load_config_from_yaml(run / CONFIG_NAME) if (run / CONFIG_NAME).is_file() else None
    except ConfigError:
        config = None
    dataset = options.dataset or (config.dataset_folder if config else None)
    if options.dataset is not None and not is_dataset(options.dataset):
        raise DatasetError(
            f"{printable(options.dataset)} is not a data set. Make one with create_dataset.py."
        )
    reachable = dataset if dataset is not None and is_dataset(dataset) else None
    return Sources(
        run, config, reachable, options.scores or run / "evaluation", options.tournament or run / "check_discriminator"
    )  # fmt: skip


def measure(sources: Sources, options: argparse.Namespace) -> None:
    """Run the ruler on the best epoch; it says itself what it found."""
    real = options.real or sources.dataset
    if real is None:
        raise ConfigError(
            "--evaluate needs music the model never learned from: give it with --real or --dataset."
        )
    arguments = ["--checkpoints", str(sources.run), "--real", str(real), "--output", str(sources.scores)]
    evaluate.evaluate(evaluate.parse_arguments(arguments))


def build_page(sources: Sources, options: argparse.Namespace) -> str:
    """The whole page.

    Parameters
    ----------
    sources : Sources
    options : argparse.Namespace
        From `parse_arguments`.

    Returns
    -------
    str
        HTML without any address that leads outside.

    Raises
    ------
    AudioError, DatasetError
        A folder that was named on the command line holds no music, or none that can be read.
    """
    history = read_history(sources.run)
    best = read_best(sources.run)
    sounds, notes = gather_sounds(sources, options)
    made = [sound for sound in sounds if sound.kind == "noise"]
    prepared = sources.config.prepared_folder if sources.config else None
    sections = [
        learning_section(sources.run, history, best=best.epoch if best else None),
        sounds_section(sounds, notes),
        continuations_section(sounds),
        curves_section(history, sources.config),
        findings_section(history),
        scores_section(sources.scores, how="musigan report --evaluate does it, in some minutes."),
        copies_section(made, sources.dataset, search=options.copies, watch=watched),
        tournament_section(sources.tournament),
        music_section(sources.dataset, prepared),
        settings_section(sources.run),
        machine_section(),
    ]
    page = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(options.title or sources.run.resolve().name),
        summary=escape(summarise(sources, history)),
        contents=contents_html(sections),
        sections="\n".join(map(section_html, sections)),
    )


def gather_sounds(sources: Sources, options: argparse.Namespace) -> tuple[list[Sound], list[str]]:
    """Made and real music, and sentences about what is missing or was left out."""
    if options.music is None:
        sounds, notes = compose_music(
            sources.run, count=options.compose, seconds=options.max_seconds,
            dataset=sources.dataset if options.real is None else None,
        )  # fmt: skip
    else:
        sounds, notes = collect_made_music(options.music, max_seconds=options.max_seconds), []
    if options.real is not None:
        notes = [note for note in notes if "--real" not in note]
        sounds += real_music(options.real, sounds)
    elif options.music is not None and sources.dataset is not None:
        sounds += real_music(sources.dataset, sounds)
    kept: list[Sound] = []
    for kind in ("noise", "continuation", "reconstruction", "real"):
        own = [sound for sound in sounds if sound.kind == kind]
        kept += own[:MOST_OF_A_KIND]
        if len(own) > MOST_OF_A_KIND:
            notes.append(
                f"{MOST_OF_A_KIND} of {len(own)} sounds ({kind}) are shown, to keep this file small."
            )
    return kept, notes


def real_music(folder: Path, beside: Sequence[Sound]) -> list[Sound]:
    """Real music in the form of what it stands beside."""
    if is_dataset(folder):
        return dataset_music(folder, count=REAL_COUNT, seconds=20.0)
    rate, channels = (beside[0].sample_rate, len(beside[0].waveform)) if beside else (44_100, 2)
    return collect_real_music(folder, count=REAL_COUNT, sample_rate=rate, channels=channels)


def sounds_section(sounds: Sequence[Sound], notes: Sequence[str]) -> Section:
    """Made music, then real music."""
    words = (
        "Upper picture: notes, low ones at the bottom; every line is a note and the lines above it are its harmonics. "
        "Lower picture: all frequencies. Click into a picture, or use the arrow keys on it, to listen from there."
    )
    said = "".join(missing(note) for note in notes)
    parts = [
        subheading(title, about) + card_grid([sound_card(sound) for sound in members])
        for kind, (title, about) in GROUPS.items()
        if (members := [sound for sound in sounds if sound.kind == kind])
    ]
    return Section("sounds", "Made and real", words if parts else "", said + "".join(parts))


def continuations_section(sounds: Sequence[Sound]) -> Section:
    """Prompts, each with what was made of it."""
    members = [sound_card(sound) for sound in sounds if sound.kind == "continuation"]
    words = (
        "Up to the dashed line one hears the real prompt, after it what the model plays on."
        if members
        else ""
    )
    content = card_grid(members) if members else missing("There is no continuation to hear.")
    return Section("continuations", "Prompts and continuations", words, content)


def summarise(sources: Sources, history: Sequence[dict]) -> str:
    """What this is and how it went, in a few words for the top of the page."""
    said = [what_it_is(sources), training_sentence(history), score_sentence(sources.scores)]
    return " ".join(filter(None, said)) or "There is no record of a training in this folder."


def what_it_is(sources: Sources) -> str:
    """Preset and music of the run, as far as they are known."""
    if sources.config is None:
        return ""
    music = ""
    if sources.dataset is not None:
        manifest = read_manifest(sources.dataset)
        songs = counted(len(manifest.songs["training"]), "song")
        music = f" that listened to {hours(manifest, 'training'):.1f} hours of music ({songs})"
    return f"A model of size {sources.config.preset}{music}."


def watched(songs: Iterable[Song]) -> Iterable[Song]:
    """Training songs with a progress bar."""
    return tqdm(songs, desc="searching the training music", unit="song", dynamic_ncols=True, leave=False)


if __name__ == "__main__":
    raise SystemExit(main())
