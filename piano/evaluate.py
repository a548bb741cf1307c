"""How good is it: a generator's music, or any folder of music, held against real music, with the scale beside it."""

import argparse
import contextlib
import hashlib
import json
import logging
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.evaluation.effect import Effect, effect_of_models
from piano.evaluation.kind_pictures import KINDS_PICTURE, STEREO_PICTURE, draw_kinds
from piano.evaluation.learned_songs import (
    LearnedSongs,
    Overlap,
    find_overlap,
    learned_by_model,
    learned_from_folder,
    together,
)
from piano.evaluation.memorisation import PASSAGE_SECONDS, Library, build_library
from piano.evaluation.music_folder import (
    Excerpts,
    Passage,
    count_songs,
    is_dataset,
    read_excerpts,
    read_songs,
    song_names,
    spread_over,
)
from piano.evaluation.pictures import constant_q_grid
from piano.evaluation.ruler import Clips, GeneratorScore, Ruler, fit_ruler
from piano.evaluation.score_generator import Made, form_of, score_generator, score_made
from piano.evaluation.score_table import draw_scores, score_json, score_text
from piano.evaluation.sound_form import SoundForm, changed_words, common_form
from piano.foundation import compiled
from piano.foundation import options as kinds
from piano.foundation.audio_io import DecodeLog, decode_blocks, find_audio_files, write_audio
from piano.foundation.dataset_format import read_manifest
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import AudioError, ConfigError, DatasetError, run_command
from piano.foundation.made_files import claim_results, write_json
from piano.foundation.model_folder import named_folder
from piano.foundation.options import make_output_folder
from piano.foundation.runtime import choose_device, choose_threads, sampling_dtype
from piano.foundation.score_words import FEW_SONGS as FEWEST_SONGS
from piano.foundation.score_words import FEWEST_CLIPS, FIRST_RULER, RULER_VERSION
from piano.foundation.screen_text import CommandParser, counted, printable, tolerate_old_terminals, wrapped
from piano.utilities import build_generator, load_checkpoint, load_generator
from piano.watching.effect_meter import write_sounds

SHOWN = 3
MOST_TRIED, MOST_HASHED, MOST_SEARCHED = 50, 500, 800
"""Files that are tried until one can be read, files whose content is compared, songs that are searched for copies:
what a folder of ten thousand files may cost."""
EXAMPLE = """examples:
  {musigan evaluate} --checkpoints checkpoints --real dataset --train dataset
  {musigan evaluate} --checkpoints checkpoints --epoch 20 --real ~/held_out --count 96
  {musigan evaluate} --checkpoints mine --before shipped --real dataset --train dataset
  {musigan evaluate} --generated music_out --real ~/held_out --output scores

--real is music the generator never learned from: a folder of sound files, or a data set (its validation pairs).
"""


def require_clips(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the command if --count and --seconds are too few to measure anything."""
    if problem := too_few(count=options.count, seconds=options.seconds, searches=False):
        parser.error(f"--{problem}")


def too_few(*, count: int, seconds: float, searches: bool) -> str:
    """Why so many clips of this length say nothing, for music that is searched for copies or not; empty if they do."""
    if count < FEWEST_CLIPS:
        return f"count must be at least {FEWEST_CLIPS}"
    if not seconds >= 2.0:
        return "seconds must be at least 2: shorter clips say nothing of rhythm or key"
    if searches and seconds < PASSAGE_SECONDS + 0.2:
        return f"seconds must be at least {PASSAGE_SECONDS + 0.2:g} to look for copies"
    return ""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("evaluate"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--checkpoints",
        type=named_folder,
        metavar="FOLDER",
        help="folder of a model, or shipped; this or --generated must be given",
    )
    source.add_argument(
        "--generated",
        type=Path,
        metavar="FOLDER",
        help="folder of music to judge instead; this or --checkpoints must be given",
    )
    add(
        "--real",
        type=Path,
        required=True,
        help="music not learned from (if it was, that is said): sound files or a data set (required)",
    )
    add("--train", type=Path, help="what was learned from, to look for copies: the same kinds (default: do not look)")
    add(
        "--before",
        type=named_folder,
        metavar="FOLDER",
        help="the model that fine-tuning began with, or shipped: say with --train whether it moved, did not move or "
        "copied, and write a clip of both (default: do not)",
    )
    kinds.add_shared(parser, "--epoch", "--count", "--seconds", "--steps", "--phase-iterations", "--seed")
    add(
        "--seeds",
        type=kinds.count,
        default=1,
        help="so many sets of samples, from --seed on, and their mean (default: 1; published figures: 3)",
    )
    add(
        "--prompts",
        type=kinds.natural_int,
        default=16,
        help="real fragments to continue, one a song; 0 for none (default: 16)",
    )
    add("--output", type=Path, help="folder (default: evaluation inside the checkpoints, or inside --generated)")
    kinds.add_shared(parser, "--device", "--threads", "--overwrite")
    parser.set_defaults(place="--output")
    options = parser.parse_args(argv)
    require_clips(parser, options)
    if options.generated and options.seeds > 1:
        parser.error("--seeds is for --checkpoints: a folder of music has one set of samples")
    if options.before and not (options.checkpoints and options.train):
        parser.error("--before is for --checkpoints, with --train: what the model was fine-tuned on")
    if options.train and options.seconds < PASSAGE_SECONDS + 0.2:
        parser.error(f"with --train, --seconds must be at least {PASSAGE_SECONDS + 0.2:g}")
    return options


def main(argv: list[str] | None = None) -> int:
    """Measure, and write table, JSON and pictures."""
    options = parse_arguments(argv)
    tolerate_old_terminals()
    logging.basicConfig(format="%(message)s")
    return run_command(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    torch.set_num_threads(options.threads or choose_threads())
    measured = options.checkpoints or options.generated
    options.output = output = options.output or measured / "evaluation"
    if options.generated:
        subject, effect = printable(options.generated), None
        ruler, score, made = evaluate_folder(options)
    else:
        device = choose_device(options.device)
        content = load_checkpoint(options.checkpoints, "generator", options.epoch)
        open_output(options, measured)
        generator = build_generator(content, device=device)
        sampling = Sampling(options.seed, options.steps, options.phase_iterations, sampling_dtype(device))
        composer = Composer(generator, sampling, kernels=kernels_for(device))
        subject = (
            f"epoch {content['epoch']} of {printable(options.checkpoints)}, {composer.steps} steps, "
            f"{options.phase_iterations} phase iterations"
        )
        before = model_before(options, composer) if options.before else None
        ruler, score, made = evaluate_generator(options, composer, learned_by_model(options.checkpoints, content))
        effect = effect_of(options, before, composer) if before else None
    seeds = f" ({options.seeds} seeds)" if options.seeds > 1 else ""
    print(f"{subject}: {counted(len(made.samples), 'clip')}{seeds} of {options.seconds:g} s\n")
    print(printable_lines(score_text(score, ruler)))
    if said := earlier_ruler_words(output):
        print(f"\n{wrapped(said)}")
    if effect:
        print(f"\n{wrapped(effect.sentence)}")
    write_report(score, ruler, made, output, subject, effect)
    print(f"\nWritten to {printable(output)}")


def kernels_for(device: str) -> compiled.Kernels | None:
    """The compiled loops, on the CPU: what is measured is what `generate` plays."""
    return compiled.kernels() if device == "cpu" else None


def model_before(options: argparse.Namespace, after: Composer) -> Composer:
    """The model that fine-tuning began with; raises ConfigError where it makes sound of another form."""
    generator = load_generator(options.before, device=after.generator.device)
    sampling = Sampling(options.seed, options.steps, options.phase_iterations, after.sampling.dtype)
    before = Composer(generator, sampling, kernels=after.kernels)
    own, other = form_of(after), form_of(before)
    if own != other:
        raise ConfigError(
            f"--before makes {other.words}, --checkpoints {own.words}: one was not made from the other by fine-tuning. "
            f"Hold them against each other with {command('compare')}."
        )
    return before


def effect_of(options: argparse.Namespace, before: Composer, after: Composer) -> Effect:
    """What fine-tuning did to a model, by compositions of both; a clip of each is written."""
    found = effect_of_models(
        before, after, train=options.train, real=options.real, count=options.count, seconds=options.seconds
    )
    write_sounds(found, options.output, after.generator.sample_rate)
    return found.effect


def earlier_ruler_words(output: Path) -> str:
    """That results in a folder are of another version of the ruler, in a sentence; empty where they are not."""
    try:
        found = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    version = found.get("ruler", FIRST_RULER) if isinstance(found, dict) else FIRST_RULER
    if version == RULER_VERSION:
        return ""
    return (
        f"The scores that were in {printable(output)} are of another version of the ruler "
        f"({printable(version)}, now {RULER_VERSION}): they cannot be compared with these."
    )


def printable_lines(text: str) -> str:
    """A text whose names cannot steer the terminal."""
    return "\n".join(printable(line) for line in text.split("\n"))


def note(options: argparse.Namespace, sentence: str) -> None:
    """Say something about the music before it is measured; a caller from Python keeps it."""
    if getattr(options, "notes", None) is None:
        print(f"{wrapped(sentence)}\n")
    else:
        options.notes.append(sentence)


def evaluate_generator(
    options: argparse.Namespace, composer: Composer, learned: LearnedSongs | None
) -> tuple[Ruler, GeneratorScore, Made]:
    """Measure real music, then the generator; `learned` is what it is known to have learned from."""
    own, real = form_of(composer), sound_of(options.real)
    sound = common_form(own, real)
    if changed := changed_words("What the model makes", own, sound):
        note(options, changed)
    ruler, excerpts = measure_real(options, sound)
    score, made = score_generator(
        composer,
        ruler,
        count=options.count,
        seeds=options.seeds,
        stretches=spread(excerpts.stretches, options.prompts),
        library=read_library(options, sound),
        overlap=overlap_of(options, excerpts, learned),
        watch=watched,
    )
    return ruler, score, made


def overlap_of(options: argparse.Namespace, excerpts: Excerpts, learned: LearnedSongs | None) -> Overlap | None:
    """Which songs of --real were learned from, by what the model and --train say."""
    named = learned_from_folder(options.train, options.real) if options.train else None
    return find_overlap(options.real, excerpts.files, together(learned, named))


def open_output(options: argparse.Namespace, measured: Path) -> None:
    """Make the folder for the results, unless it holds those about something else."""
    make_output_folder(options.output)
    claim_results(
        options.output,
        ("scores.json", "scores.png", "samples.png", KINDS_PICTURE, STEREO_PICTURE),
        command="evaluate",
        of=[measured, options.real],
        overwrite=options.overwrite,
        other=options.place,
    )


def evaluate_folder(options: argparse.Namespace) -> tuple[Ruler, GeneratorScore, Made]:
    """Measure real music, then the music of a folder, at the lower of their rates."""
    made_sound, real_sound = sound_of(options.generated), sound_of(options.real)
    open_output(options, options.generated)
    sound = common_form(made_sound, real_sound)
    if changed := changed_words("--generated", made_sound, sound):
        note(options, changed)
    if shared := same_music(options.generated, options.real):
        same = f"--generated and --real hold the same music ({shared}): the scores say nothing about it."
        note(options, same)
    ruler, real = measure_real(options, sound)
    excerpts = read_music(options.generated, options, sound)
    refuse_few(excerpts, options.generated, options)
    made = Made(samples=excerpts.clips, continuations=[], reconstructions=[], names=excerpts.files)
    # Clips of one file count as one draw; a single file is cut into clips that stand for themselves.
    files: list[Hashable] | None = [("made", name) for name in excerpts.files]
    if len(set(excerpts.files)) < 2:
        files = None
    return (
        ruler,
        score_made(
            ruler,
            made,
            files=files,
            library=read_library(options, sound),
            overlap=overlap_of(options, real, None),
            watch=watched,
        ),
        made,
    )


def sound_of(folder: Path) -> SoundForm:
    """Rate and channels of a data set, or of the first file of a folder."""
    if is_dataset(folder):
        manifest = read_manifest(folder)
        return SoundForm(manifest.sample_rate, manifest.channels)
    paths = find_audio_files(folder)
    if not paths:
        raise DatasetError(f"there is no music in {printable(folder)}. Name a folder of sound files, or a data set.")
    reason: AudioError | None = None
    for path in paths[:MOST_TRIED]:
        log = DecodeLog()
        try:
            with contextlib.closing(decode_blocks(path, sample_rate=16_000, channels=1, log=log)) as blocks:
                next(blocks)
        except AudioError as error:
            reason = reason or error
        except StopIteration:
            continue
        else:
            return SoundForm(log.sample_rate, min(log.channels, 2))
    raise DatasetError(
        f"none of the {counted(len(paths), 'file')} in {printable(folder)} can be read as sound"
        f"{f' ({reason})' if reason else ''}. Name another folder."
    )


def same_music(first: Path, second: Path) -> str:
    """Which files of two folders are the same by their content, in words; empty where none are.

    Only files of equal size are read, and of those at most MOST_HASHED.
    """
    if is_dataset(first) or is_dataset(second):
        return "it is one folder" if first.resolve() == second.resolve() else ""
    sizes: dict[int, list[Path]] = {}
    for path in find_audio_files(second):
        sizes.setdefault(path.stat().st_size, []).append(path)
    paths = find_audio_files(first)
    alike = [path for path in paths if path.stat().st_size in sizes][:MOST_HASHED]
    others = {other for path in alike for other in sizes[path.stat().st_size]}
    known = {content_hash(other) for other in sorted(others)[:MOST_HASHED]}
    shared = sum(content_hash(path) in known for path in alike)
    return f"{shared} of {counted(len(paths), 'file')} are equal" if shared else ""


def content_hash(path: Path) -> bytes:
    """Of a file's bytes; of none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return str(path).encode("utf-8", "surrogateescape")


def refuse_few(excerpts: Excerpts, folder: Path, options: argparse.Namespace) -> None:
    """Raises DatasetError for fewer clips than say anything."""
    if len(excerpts.clips) < FEWEST_CLIPS:
        raise DatasetError(
            f"only {counted(len(excerpts.clips), 'clip')} of {options.seconds:g} s in {printable(folder)}, at least "
            f"{FEWEST_CLIPS} are needed. Give more music, or shorter --seconds."
        )


def read_music(folder: Path, options: argparse.Namespace, sound: SoundForm) -> Excerpts:
    """Clips of a folder, with progress."""
    with tqdm(desc=f"reading {folder.name}", unit="song", dynamic_ncols=True, leave=False) as bar:
        return read_excerpts(
            folder,
            sample_rate=sound.sample_rate,
            channels=sound.channels,
            seconds=options.seconds,
            count=options.count,
            tick=bar.update,
        )


def measure_real(options: argparse.Namespace, sound: SoundForm) -> tuple[Ruler, Excerpts]:
    """The ruler of --real, and stretches to continue."""
    excerpts = read_music(options.real, options, sound)
    refuse_few(excerpts, options.real, options)
    files: list[Hashable] = list(excerpts.files)
    songs = count_songs(files)
    if songs < FEWEST_SONGS:  # halves of the songs cannot be compared: let passages stand in for songs
        few = (
            f"Only {counted(songs, 'song')} in {printable(options.real)}: passages stand in for songs, so every "
            "interval is too narrow. Take the figures as hints, and give more music with --real."
        )
        note(options, few)
        files = [Passage(name, index) for index, name in enumerate(excerpts.files)]
    ruler = fit_ruler(excerpts.clips, files, sound.sample_rate, seed=options.seed, watch=watched)
    return ruler, excerpts


def read_library(options: argparse.Namespace, sound: SoundForm) -> Library | None:
    """The training music as grids, if it was named."""
    if options.train is None:
        return None
    names = song_names(options.train, "training")
    only = set(spread_over(names, MOST_SEARCHED))
    if len(only) < len(names):
        there = counted(len(names), "song")
        part = f"{len(only):,} of {there} in {printable(options.train)} are searched for copies."
        note(options, part)
    songs = read_songs(
        options.train, sample_rate=sound.sample_rate, channels=sound.channels, split="training", only=only
    )
    try:
        return build_library(
            tqdm(songs, desc="reading training music", total=len(only), unit="song", dynamic_ncols=True, leave=False),
            sound.sample_rate,
        )
    except ValueError as error:
        raise ConfigError(f"{printable(options.train)}: {error}. Name what was learned from with --train.") from None


def spread(items: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Up to `count` items, evenly from a list."""
    if not count:
        return []
    return [
        items[index] for index in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    ]


def watched(clips: Clips, words: str) -> Clips:
    """Clips with a progress bar."""
    return tqdm(clips, desc=words, unit="clip", dynamic_ncols=True, leave=False)  # type: ignore[return-value]


def label_words(label: Hashable) -> str:
    """What a clip was cut from, in words: a file, or a pair and its place in it."""
    return str(label[0]) if isinstance(label, tuple) and label else str(label)


def write_report(
    score: GeneratorScore, ruler: Ruler, made: Made, output: Path, subject: str, effect: Effect | None = None
) -> None:
    """scores.json, scores.png, the first sounds with their pictures, and pictures by kind of music."""
    told = {"effect": effect.fields()} if effect else {}
    write_json(output / "scores.json", {"subject": subject} | score_json(score, ruler) | told)
    draw_scores(score, ruler, output / "scores.png")
    names = [label_words(label) for label in ruler.files]
    shown = {f"real music: {names[0]}": ruler.clips[0]}
    shown |= {f"generated: sample {index}": clip for index, clip in enumerate(made.samples[:SHOWN])}
    constant_q_grid(shown, ruler.sample_rate, output / "samples.png")
    draw_kinds(ruler, names, score.samples.features, made, output)
    for index, clip in enumerate(made.samples[:SHOWN]):
        write_audio(output / f"sample_{index:04d}.wav", clip, ruler.sample_rate)


if __name__ == "__main__":
    raise SystemExit(main())
