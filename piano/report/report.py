"""The listening report: what a run learned, how, and how good it is, on one page that works without a network."""

import argparse
import contextlib
import hashlib
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from piano import evaluate
from piano.config_reader import CONFIG_NAME, Config, load_config_from_yaml, no_run_text
from piano.doctor.stopping import time_advice
from piano.evaluation.music_folder import Song, is_dataset
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import read_best
from piano.foundation.dataset_format import DatasetManifest, read_manifest
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import CheckpointError, ConfigError, DatasetError, run_command
from piano.foundation.made_files import refuse_other_work, write_bytes
from piano.foundation.model_folder import holds_shipped, named_folder, project_name, shipped_folder
from piano.foundation.music_amount import hours
from piano.foundation.run_log import read_history
from piano.foundation.screen_text import CommandParser, counted, printable, tolerate_old_terminals, wrapped
from piano.report.compared import comparison_section
from piano.report.copies import copies_section
from piano.report.effect import effect_section
from piano.report.listen import (
    SHIPPED_WORDS,
    HeardSounds,
    Wanted,
    blind_section,
    continuations_section,
    contrast_section,
    gather_sounds,
    listen_section,
)
from piano.report.markup import data_uri, discreet, render, without_places
from piano.report.music import music_section
from piano.report.scores import (
    kernel_score,
    likeness,
    measured_on,
    scores_section,
    tournament_section,
    warning_of,
)
from piano.report.settings import machine_section, settings_section
from piano.report.sound_cards import encode_png, notes_picture
from piano.report.training import curves_section, findings_section, learning_section, timeline_of
from piano.report.verdict import FINDINGS_TITLE, headline, spoken, time_words
from piano.watching.shipped_meter import last_shipped

REPORT_NAME = "report.html"
TO_BE_HAD = ("scores", "comparison", "copies")
"""Parts that the page of a model that was given away can be asked for; of its training it knows nothing."""
NO_RECORD = "There is no record of a training in this folder."
MOST_BYTES = 15_000_000
EXAMPLE = """examples:
  {musigan report} checkpoints
  {musigan report} checkpoints --music music_out --real ~/held_out --output listen.html
  {musigan report} checkpoints --evaluate
  {musigan report} demo/checkpoints --shipped demo/shipped_out --comparison demo/comparison"""


class Sources(NamedTuple):
    """Where the parts of a report come from."""

    run: Path
    config: Config | None
    dataset: Path | None
    scores: Path
    tournament: Path
    comparison: Path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("report"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    add(
        "run",
        nargs="?",
        type=named_folder,
        metavar="RUN",
        help="folder of a run, or shipped (default: the config's checkpoint_folder)",
    )
    add("--output", type=Path, help=f"the page to write (default: {REPORT_NAME} inside RUN)")
    add(
        "--music",
        type=Path,
        help="folder that generate wrote (default: what music_out holds of this run, else the best epoch plays)",
    )
    add(
        "--shipped",
        type=Path,
        help="folder of music by the project's own model, to hear first on the page (default: none)",
    )
    add(
        "--compose",
        type=kinds.natural_int,
        default=2,
        help="pieces and continuations to play without --music (default: %(default)s)",
    )
    add("--real", type=Path, help="real music to compare with: sound files or a data set (default: as trained)")
    add("--dataset", type=Path, help="data set the run learned from (default: as trained)")
    add(
        "--copies",
        choices=("auto", "yes", "no"),
        default="auto",
        help="search the training music for copies (default: auto, up to six hours of it)",
    )
    add("--evaluate", action="store_true", help="measure the best epoch with the ruler first: minutes (default: off)")
    add("--scores", type=Path, help="folder that evaluate wrote (default: evaluation inside RUN)")
    add(
        "--tournament",
        type=Path,
        help="folder that check_discriminator wrote (default: check_discriminator inside RUN)",
    )
    add("--comparison", type=Path, help="folder that compare wrote (default: comparison inside RUN)")
    add(
        "--max-seconds",
        type=kinds.seconds,
        default=20.0,
        help="show no more of a sound than this (default: %(default)s)",
    )
    add("--open", action="store_true", help="open the page in a browser (default: off)")
    add("--title", help="headline of the page (default: a sentence made from what is known of the run)")
    add("--overwrite", action="store_true", help="replace results about something else (default: refuse)")
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
        raise CheckpointError(no_run_text(run, "report"))
    output = options.output or (Path(REPORT_NAME) if holds_shipped(run) else run / REPORT_NAME)
    refuse_other_work(
        output, is_own=lambda path: is_page_of(path, run) or output == run / REPORT_NAME, overwrite=options.overwrite
    )
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
    if not holds_shipped(run) and not read_history(run):
        print(wrapped(f"Nobody has trained in {printable(run)} yet: the page shows what else there is."))
    if size > MOST_BYTES:
        print("That is large for a page: a smaller --max-seconds, --compose or --music makes it smaller.")
    if options.open:
        webbrowser.open(output.resolve().as_uri())


def run_key(run: Path) -> str:
    """What marks the pages of a run as its own, without telling where it lies."""
    return hashlib.sha256(str(run.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def is_page_of(path: Path, run: Path) -> bool:
    """Whether a file is an earlier page about the same run."""
    with open(path, "rb") as stream:
        return f'<meta name="musigan-run" content="{run_key(run)}">'.encode() in stream.read(4096)


def find_sources(run: Path, options: argparse.Namespace) -> Sources:
    """The folders that the run itself names, and the ones that were given instead."""
    try:
        config = load_config_from_yaml(run / CONFIG_NAME) if (run / CONFIG_NAME).is_file() else None
    except ConfigError:
        config = None
    dataset = options.dataset or (config.dataset_folder if config else None)
    if options.dataset is not None and not is_dataset(options.dataset):
        raise DatasetError(
            f"{printable(options.dataset)} is not a data set. Make one with {fill('{musigan dataset}')}."
        )
    reachable = dataset if dataset is not None and is_dataset(dataset) else None
    return Sources(
        run,
        config,
        reachable,
        options.scores or run / "evaluation",
        options.tournament or run / "check_discriminator",
        options.comparison or run / "comparison",
    )


def measure(sources: Sources, options: argparse.Namespace) -> None:
    """Run the ruler on the best epoch; it says itself what it found."""
    real = options.real or sources.dataset
    if real is None:
        raise ConfigError("--evaluate needs music the model never learned from: give it with --real or --dataset.")
    arguments = ["--checkpoints", str(sources.run), "--real", str(real), "--output", str(sources.scores)]
    asked = evaluate.parse_arguments([*arguments, *(["--overwrite"] if options.overwrite else [])])
    asked.place = "--scores"
    evaluate.evaluate(asked)


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
    wanted = Wanted(
        options.music, options.real, options.shipped, options.compose, options.max_seconds, music_folders(sources)
    )
    heard = gather_sounds(sources.run, sources.dataset, wanted)
    manifest = readable_manifest(sources.dataset)
    measured = kernel_score(sources.scores)
    minutes = timeline_of(history).minutes
    open_parts = [
        listen_section(heard, time_words(minutes) if minutes else ""),
        contrast_section(heard),
        learning_section(sources.run, history, best=best.epoch if best else None),
        continuations_section(heard.own),
        blind_section(heard),
    ]
    songs = len(manifest.groups["validation"] or manifest.songs["validation"]) if manifest else None
    clips, measured_songs = measured_on(sources.scores, songs)
    told = spoken(
        history,
        measured,
        clips=clips,
        songs=measured_songs,
        alike=likeness(sources.scores),
        warning=warning_of(sources.scores),
        run=sources.run,
    )
    curious = [
        scores_section(
            sources.scores, how=f"{command('report', sources.run, '--evaluate')} does it, in some minutes.", songs=songs
        ),
        effect_section(sources.run, history),
        comparison_section(sources.comparison, sources.run),
        copies_section(heard.of("noise"), sources.dataset, search=options.copies, watch=watched),
        curves_section(history, sources.config),
        findings_section(history, told.faults),
        tournament_section(sources.tournament),
        music_section(sources.dataset, prepared_folders(sources, manifest)),
        settings_section(sources.run),
        machine_section(),
    ]
    is_shipped = sources.run.resolve() == shipped_folder().resolve()
    lead = SHIPPED_WORDS if is_shipped else without_places(told.lead)
    title = options.title or headline(
        minutes=minutes, songs=len(manifest.songs["training"]) if manifest else 0, is_shipped=is_shipped
    )
    more = [told.more, last_shipped(history), time_advice(history)]
    facts = without_places(" ".join(filter(None, [what_it_is(sources, manifest), *more])))
    open_parts, curious = ([discreet(section) for section in part] for part in (open_parts, curious))
    here, folded = ([section for section in part if not section.absent] for part in (open_parts, curious))
    absent = [section for section in (*open_parts, *curious) if section.absent]
    if holds_shipped(sources.run):
        absent = [section for section in absent if section.key in TO_BE_HAD]
    page = render(
        "page.html",
        title=title,
        description=f"{lead} {facts}".strip() or NO_RECORD,
        preview=preview(heard),
        run=printable(sources.run.resolve().name),
        key=run_key(sources.run),
        lead=lead or ("" if facts else NO_RECORD),
        facts=facts,
        findings_title=FINDINGS_TITLE,
        open_parts=here,
        curious=folded,
        absent=absent,
    )
    return str(page)


def music_folders(sources: Sources) -> list[Path]:
    """Where `generate` writes unless told otherwise: by the settings of the run, by those here, beside the run."""
    folders = [sources.config.music_out_folder] if sources.config else []
    with contextlib.suppress(ConfigError):
        folders.append(load_config_from_yaml().music_out_folder)
    return [*folders, sources.run.resolve().parent / "music_out"]


def preview(heard: HeardSounds) -> str:
    """The picture of the first piece, as an address that carries it: what a shared link shows; empty without one."""
    sounds = heard.shipped or heard.own
    return data_uri("image/png", encode_png(notes_picture(sounds[0]).levels, size="large")) if sounds else ""


def readable_manifest(dataset: Path | None) -> DatasetManifest | None:
    """The manifest of the data set, where there is one that can be read."""
    try:
        return read_manifest(dataset) if dataset is not None else None
    except DatasetError:
        return None


def prepared_folders(sources: Sources, manifest: DatasetManifest | None) -> list[Path]:
    """Where the songs that the data set was cut from may lie: where it says, as in the settings, beside it."""
    told = manifest.prepared_folder if manifest else ""
    folders = [Path(told)] if isinstance(told, str) and told else []
    if sources.config is not None:
        folders.append(sources.config.prepared_folder)
    if sources.dataset is not None:
        folders.append(sources.dataset.resolve().parent / "prepared")
    return folders


def what_it_is(sources: Sources, manifest: DatasetManifest | None) -> str:
    """Preset and music of the run, as far as they are known."""
    if sources.config is None:
        return ""
    music = ""
    if manifest is not None:
        songs = counted(len(manifest.songs["training"]), "song")
        length = hours(manifest, "training")
        time = f"{length:.1f} hours" if length >= 1 else counted(max(round(60 * length), 1), "minute")
        music = f" that listened to {songs}, {time} of music"
    start = sources.config.start_from
    before = ""
    if start is not None:
        is_ours = bool(project_name(named_folder(start)))
        name = "a model that comes with MusiGAN" if is_ours else "a model that was trained before"
        before = f" It went on from {name}, which could play already."
    return f"A model of size {sources.config.preset}{music}.{before}"


def watched(songs: Iterable[Song]) -> Iterable[Song]:
    """Training songs with a progress bar."""
    return tqdm(songs, desc="searching the training music", unit="song", dynamic_ncols=True, leave=False)


if __name__ == "__main__":
    raise SystemExit(main())
