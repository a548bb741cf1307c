"""From pairs of music to a network that composes: load, build, resume, pretrain, train."""

import argparse
import contextlib
import io
import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from piano.config_reader import CONFIG_NAME, Config, dump_config, load_config_from_yaml, parse_override
from piano.foundation import options as kinds
from piano.foundation.dataset_format import manifest_path, read_manifest
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import (
    EXIT_RUINED,
    CheckpointError,
    ConfigError,
    DatasetError,
    MusiganError,
    StoppedBySignal,
    TrainingError,
    run_command,
)
from piano.foundation.model_folder import SHIPPED, SOURCES_NAME, holds_model, is_model_name, named_folder, no_model_text
from piano.foundation.music_amount import amount_words
from piano.foundation.notify import Messenger
from piano.foundation.screen_text import CommandParser, counted, printable, wrapped
from piano.foundation.stop_signals import StopRequest, stoppable
from piano.resumed_settings import PLACES, own_settings, resumed_settings
from piano.training.time_budget import LEAST_LEARNING_SHARE, clock, seconds_since_start

# PyTorch takes seconds to load: what can be said without it is said first, and each step imports what it needs.
if TYPE_CHECKING:
    from piano.discriminator import Discriminator_with_mdisc
    from piano.doctor.verdict import Verdict
    from piano.evaluation.effect import Effect
    from piano.foundation.runtime import Runtime
    from piano.piano_finetune import Start
    from piano.piano_model import AudioDataset, VariationalAttentionModel
    from piano.training.known_music import KnownMusic
    from piano.training.training_run import TrainingRun
    from piano.watching.nearest_model import Nearest

EXAMPLE = """examples:
  {musigan train} --minutes 10
  {musigan train} --preset small --resume
  {musigan train} --from shipped --minutes 10 --checkpoints mine
  {musigan train} --resume --minutes 60 --checkpoints mine
  {musigan train} --set stages.flow.learning_rate=0.001 --checkpoints trial

exit status: 0, the run went through; 1, it did, but learned too little or is not worth listening to (it says why);
2, it could not begin or go on; 128 + n, signal n stopped it (saved, --resume goes on)
"""

STOPS = (KeyboardInterrupt, StoppedBySignal)
"""What ends a run because somebody wished so."""
NO_NUMBERS = (ValueError, IndexError, ArithmeticError, RuntimeError, CheckpointError)
"""What mathematics raises that is given NaN or infinity; in a run whose networks are sound it is our own fault."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("train"), description=__doc__, epilog=fill(EXAMPLE))
    kinds.add_shared(parser, "--config", "--preset")
    parser.add_argument(
        "--minutes",
        type=kinds.minutes,
        help="the whole run takes so long, all its sittings together (default: the config's, else epochs)",
    )
    parser.add_argument("--dataset", type=Path, help="folder made by `dataset` (default: the config's dataset_folder)")
    kinds.add_shared(parser, "--checkpoints", help="folder to write to (default: the config's checkpoint_folder)")
    parser.add_argument(
        "--resume",
        nargs="?",
        type=kinds.epoch_number,
        const=0,
        metavar="EPOCH",
        help="continue, from an epoch or from the newest complete checkpoint (default: off)",
    )
    parser.add_argument(
        "--from",
        dest="start_from",
        metavar="FOLDER",
        help="fine-tune a trained model: shipped (of the project's own the one whose sample rate and channels the data "
        "set has; of several the nearest), the name of one of them, or a folder of checkpoints (default: from nothing)",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="begin although the time is too short to learn much, or judge by music that was learned from "
        "(default: say so and stop)",
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--quiet", action="store_true", help="say only how it ended (default: one bar)")
    how_much.add_argument("--verbose", action="store_true", help="show every number (default: one bar)")
    kinds.add_shared(
        parser, "--seed", type=kinds.seed, default=None, help="of every random choice (default: the config's)"
    )
    parser.add_argument("--devices", type=kinds.processes, help="processes on this node (default: the config's)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting (default: none)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if the run went through, 1 if it did but is not worth listening to, 2 if it cannot go on."""
    options = parse_arguments(argv)
    go_on = resume_command(sys.argv[1:] if argv is None else argv)
    statuses: list[int] = []
    refused = run_command(lambda: statuses.append(train(read_config(options), options, go_on=go_on)), is_work=True)
    return refused or statuses[0]


def train(config: Config, options: argparse.Namespace, *, go_on: str) -> int:
    """The whole run, alone in its folder; a signal stops it where nothing is lost, and `go_on` continues it.

    Returns
    -------
    int
        0, or EXIT_RUINED.
    """
    began = time.monotonic() - seconds_since_start()
    messenger = Messenger(config.training.notify)
    look_at_dataset(config)
    if config.start_from is not None and not config.resume_from_checkpoint:
        look_at_start(named_folder(config.start_from))
    from piano.foundation.runtime import is_first_process
    from piano.piano_train import check_loss_weights
    from piano.training.run_keeper import own_folder

    is_main = is_first_process()
    check_loss_weights(config.loss_weights)
    try:
        with stoppable(is_loud=is_main) as stop, own_folder(config, is_main=is_main):
            with contextlib.redirect_stdout(io.StringIO()) if options.quiet else contextlib.nullcontext():
                verdict, words = train_alone(config, options, stop, messenger, began=began, go_on=go_on)
            if is_main:
                print(wrapped(words), flush=True)
            # Launchers take a process that ends with another status for one that failed, and end the main one too.
            return EXIT_RUINED if verdict.is_ruined and is_main else 0
    except StoppedBySignal as stopped:
        raise StoppedBySignal(f"{stopped} Go on with:\n  {go_on}" if is_main else "", stopped.signal) from None


def look_at_dataset(config: Config) -> None:
    """Say at once that there is no data set: nothing that takes seconds was loaded yet."""
    folder = config.dataset_folder
    if not manifest_path(folder).is_file():
        what = "is a file, no data set" if folder.is_file() else "holds no data set"
        raise DatasetError(
            f"{printable(folder)} {what}. Make one from a folder of music:\n"
            f"  {command('prepare', 'FOLDER')}\n  {command('dataset')}"
        )
    read_manifest(folder)
    if config.resume_from_checkpoint:
        return
    if config.minutes is None and not config.epochs + config.pretrain_epochs_g + config.pretrain_epochs_d:
        raise ConfigError("nothing would be learned: all epochs are 0. Give --minutes, or set epochs.")
    if not any(stage.share for _, stage in config.stages):
        raise ConfigError("nothing would be learned: the share of every stage is 0.")


def look_at_start(folder: Path) -> None:
    """Say at once that there is no model to fine-tune."""
    if not holds_model(folder):
        raise CheckpointError(no_model_text(folder, "generator"))


def resume_command(arguments: list[str]) -> str:
    """The command that continues what a command line began."""
    # A fine-tuning run knows where it came from; one that went on from another folder goes on from its own.
    dropped = re.compile(r"--anyway|--(from|resume)(=.*)?|--set=checkpoint_folder_load=.*")
    kept: list[str] = []
    words = [*arguments, ""]
    for before, word, after in zip(["", *words], words, words[1:], strict=False):
        is_value = before == "--from" or (before == "--resume" and word.isdigit())
        is_source = "checkpoint_folder_load=" in (after if word == "--set" else word if before == "--set" else "")
        if not (is_value or is_source or dropped.fullmatch(word)):
            kept.append(word)
    return command("train", *kept, "--resume")


def train_alone(
    config: Config, options: argparse.Namespace, stop: StopRequest, messenger: Messenger, *, began: float, go_on: str
) -> "tuple[Verdict, str]":
    """The whole run, in a folder that is its own, on the clock since it began (by time.monotonic()); how it ended.

    `go_on` is the command that continues it.

    Returns
    -------
    verdict : Verdict
    words : str
        For the screen.
    """
    from piano.foundation.runtime import start_runtime
    from piano.machine_limits import refuse_impossible

    start = None
    if not config.resume_from_checkpoint:
        refuse_to_overwrite(config)
        start = find_start(config)
        config = start.config if start else config
    refuse_impossible(config, lambda: build_networks(config))
    runtime = start_runtime(**config.runtime.model_dump(), seed=config.seed)
    with runtime.together(advice=f"What was saved is kept. Go on with:\n  {go_on}"):
        return learn_everything(config, options, stop, messenger, start=start, runtime=runtime, began=began)


def learn_everything(
    config: Config,
    options: argparse.Namespace,
    stop: StopRequest,
    messenger: Messenger,
    *,
    start: "Start | None",
    runtime: "Runtime",
    began: float,
) -> "tuple[Verdict, str]":
    """What `train_alone` does once the processes are there."""
    from piano.foundation.runtime import sampling_dtype
    from piano.piano_finetune import finetune_generator
    from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
    from piano.piano_train import train_vae_gan
    from piano.stages import STAGE_NAMES
    from piano.training.known_music import KnownMusic
    from piano.training.run_keeper import refuse_full_disk
    from piano.training.training_run import TrainingRun
    from piano.watching.effect_meter import keep_time, measure_tuning
    from piano.watching.gates import Gatekeeper
    from piano.watching.live import Doctor
    from piano.watching.shipped_meter import keep_time_for_shipped, measure_shipped
    from piano.watching.validation import Validation

    if start:
        tell(runtime, start.sentence)
    training_set = open_split(config, "training")
    validation_set = open_split(config, "validation")
    music = KnownMusic(training_set, validation_set)
    if start:
        know_start(start, music, runtime, config, is_forced=options.anyway)

    generator, discriminator = build_networks(config)
    generator.to(runtime.device)
    discriminator.to(runtime.device)
    if start:
        start.load_into(generator, discriminator)

    gatekeeper = Gatekeeper(
        config.checkpoint_folder, sample_seconds=config.sample_seconds, sample_count=config.sample_count
    )
    doctors = [] if config.doctor == "off" else [Doctor(config.doctor, window=config.doctor_window)]
    run = TrainingRun(
        config,
        runtime,
        generator,
        discriminator,
        training_set=training_set,
        validation_set=validation_set,
        watchers=[*doctors, Validation(), gatekeeper],
        began=began,
        composing_dtype=sampling_dtype(runtime.device),
        loudness="quiet" if options.quiet else "verbose" if options.verbose else "normal",
    )
    run.stop = stop
    run.stateful["music"] = music
    if run.budget is not None:
        run.stateful["budget"] = run.budget
    if config.resume_from_checkpoint:
        folder = config.resumed_folder
        tell(runtime, f"Resuming from epoch {run.resume()} of {folder}")
        compare_music(run, music, is_forced=options.anyway, is_other=has_other_dataset(config, options))
    elif config.minutes is None and not sum(run.planned()["steps"].values()):
        raise ConfigError(
            "nothing would be learned: with these epochs and shares no stage has a single epoch. "
            "Raise epochs and pretrain_epochs_g, or give --minutes."
        )
    with reported(run, messenger):
        gatekeeper.rehearse(run)
        keep_time(run, gatekeeper.cost)
        keep_time_for_shipped(run)
        if config.resume_from_checkpoint:
            say_what_learns(run, is_minutes_given=options.minutes is not None)
            if runtime.is_main and is_without_samples(run):
                gatekeeper.after_save(run)  # a kill came between the checkpoint and its samples
        elif not options.anyway:
            refuse_hurry(run)
        if runtime.is_main:
            refuse_full_disk(config.checkpoint_folder, generator, discriminator)
            if not config.resume_from_checkpoint and (aside := run.log.set_aside()) is not None:
                tell(runtime, f"The log of an earlier run that saved nothing is now {aside}")
            write_settings(config, music)
            run.papers = lambda: write_settings(config, music)
        if set(run.finished_stages) < set(STAGE_NAMES):
            introduce(config, runtime, run, is_verbose=options.verbose)
        (finetune_generator if config.start_from else pretrain_generator)(run)
        pretrain_discriminator(run)
        train_vae_gan(run)
        refuse_nothing(run)
        run.data.remove_latents()
        effect = measure_tuning(run, clips=gatekeeper.cost.clips)
        beside = measure_shipped(run, gatekeeper.known_ruler)
    verdict = verdict_of(run)
    return verdict, last_words(run, verdict, effect, beside)


def has_other_dataset(config: Config, options: argparse.Namespace) -> bool:
    """Whether another data set folder was asked for now than the run has in its settings."""
    is_given = options.dataset is not None or any(text.startswith("dataset_folder=") for text in options.set)
    own = own_settings(config.resumed_folder)
    return is_given and (own is None or own.dataset_folder.resolve() != config.dataset_folder.resolve())


def compare_music(run: "TrainingRun", music: "KnownMusic", *, is_forced: bool, is_other: bool) -> None:
    """Hold the data set against the one that was learned from; raises DatasetError where its judges were lessons."""
    folder = run.config.dataset_folder
    if music.before is None:
        tell(
            run.runtime,
            "An earlier version began this run and did not keep which music it learned from: "
            "whether the data set is still the same cannot be told.",
        )
    elif not music.is_same:
        sentence = music.change_in_words(folder)
        if music.learned_from() and not (is_forced or is_other):
            raise DatasetError(
                f"{sentence} A score on it would say how well it was learned by heart. Go on with the data set of "
                "before or with another one (--dataset), begin anew with other --checkpoints, or take it as it is "
                "with --anyway."
            )
        tell(run.runtime, f"{sentence} What was measured on it (best epoch, gates, scales) is forgotten.")
        run.forget_judgements(sentence)


def unknown_music_text(folder: Path) -> str:
    """What to say where a model's file does not name what it learned from: where it is listed, if it is."""
    listed = folder / SOURCES_NAME
    if listed.is_file():
        return (
            f"What this model learned from is listed in {printable(listed)}, not in the model itself: whether your "
            "validation music is among it, please look there."
        )
    return (
        "What this model learned from is not kept with it: whether it has heard your validation music before, only "
        "its card can say."
    )


def know_start(start: "Start", music: "KnownMusic", runtime: "Runtime", config: Config, *, is_forced: bool) -> None:
    """What the model to fine-tune has learned from, against the data set; raises DatasetError."""
    if not music.inherit(start.music):
        tell(runtime, unknown_music_text(named_folder(config.start_from or "")))
    elif names := music.learned_from():
        from piano.training.known_music import these

        sentence = f"{these(names)} learned from by the model in {printable(config.start_from)}, and would judge now."
        if not is_forced:
            raise DatasetError(
                f"{sentence} A score on it would say how well it was learned by heart. "
                "Give another data set with --dataset, or take it as it is with --anyway."
            )
        tell(runtime, sentence)
    music.before = None


def say_what_learns(run: "TrainingRun", *, is_minutes_given: bool = False) -> None:
    """After resuming: how a longer run is divided, or that there is nothing left to learn, and how to learn longer.

    Raises ConfigError where the minutes that were given are over already.
    """
    from piano.stages import STAGE_NAMES

    before = list(run.finished_stages)
    if longer := run.extend():
        tell(run.runtime, " ".join([f"{longer}{failed_text(run, before)}", *outlook_words(run)]))
    elif set(run.finished_stages) >= set(STAGE_NAMES):
        had = f"it has had {run.seconds / 60.0:.1f} minutes"
        advice = f"To learn longer, give the whole run more, for instance:\n  {longer_command(run)}"
        tell(run.runtime, f"Every stage of this run is over; {had}. {advice}")
    elif is_minutes_given and run.budget is not None and run.runtime.agree(run.seconds) >= run.budget.seconds:
        raise ConfigError(
            f"this run has had {run.seconds / 60.0:.1f} minutes already, and --minutes is the time of all its sittings "
            f"together. Give more:\n  {longer_command(run)}"
        )


def failed_text(run: "TrainingRun", before: list[str]) -> str:
    """That a stage whose check was not passed stays as it is although the run got more time, and what reopens it.

    Parameters
    ----------
    run : TrainingRun
        Divided anew.
    before : list of str
        The stages that were over before that.
    """
    from piano.foundation.run_log import read_history
    from piano.stages import STAGE
    from piano.training.longer_run import minutes_to_reopen

    passed = {
        line.get("stage"): line.get("passed")
        for line in read_history(run.config.checkpoint_folder)
        if line.get("event") == "gate"
    }
    stage = next((name for name in run.finished_stages if passed.get(name) is False), None)
    if stage is None or run.budget is None:
        return ""
    need = minutes_to_reopen(stage, run.budget, run.learned, finished=before, now=run.seconds)
    enough = f" give --minutes {need} or more" if need else " begin anew with other --checkpoints"
    return f" The check of {STAGE[stage].topic} was not passed: for {stage} to learn again,{enough}."


def longer_command(run: "TrainingRun") -> str:
    """The command that gives a run about twice the time, or twice the epochs, that it has had."""
    from piano.doctor.verdict import longer_minutes

    config = run.config
    more = ["--minutes", longer_minutes(run.seconds)]
    if run.budget is None:
        names = ("pretrain_epochs_g", "epochs")
        more = [word for name in names for word in ("--set", f"{name}={2 * getattr(config, name)}")]
    return command("train", "--checkpoints", config.checkpoint_folder, "--resume", *more)


def is_without_samples(run: "TrainingRun") -> bool:
    """Whether the epoch that was resumed from is whole and its samples are missing."""
    is_whole = run.epoch and run.epoch == run.saved_epoch and not run.config.checkpoint_folder_load
    return bool(is_whole) and not any((run.config.checkpoint_folder / "samples").glob(f"epoch_{run.epoch:04d}_*"))


def refuse_hurry(run: "TrainingRun") -> None:
    """A time of which learning would get less than half, or too few steps, is not begun without a word.

    Raises ConfigError. Fine-tuning, whose model may be far larger than the preset's, is looked at in the same way.
    """
    from piano.doctor.verdict import FEWEST_STEPS
    from piano.piano_pretrain import try_steps
    from piano.stages import STAGE_NAMES

    if run.budget is None:
        return
    run.budget.step_seconds = try_steps(run)
    minutes, plan = run.budget.seconds / 60.0, run.budget.plan(STAGE_NAMES[0], run.seconds)
    learning = run.runtime.agree(sum(plan.values()))
    steps = run.runtime.agree(run.budget.planned_steps(plan))
    is_half = learning >= LEAST_LEARNING_SHARE * run.budget.seconds
    if is_half and steps >= FEWEST_STEPS:
        return
    needed = run.budget.needed_minutes(run.seconds, least_steps=FEWEST_STEPS)
    enough = f"--minutes {needed}" if needed else "many more minutes, or a smaller --preset"
    only = (
        f"{clock(learning)} would be for learning on this machine now, which is about {counted(round(steps), 'step')}; "
        f"fewer than {FEWEST_STEPS} leave everything close to where it began"
        if is_half
        else f"only {clock(learning)} would be for learning on this machine now; the rest goes into loading, encoding, "
        "measuring and saving"
    )
    raise ConfigError(f"of {counted(minutes, 'minute')} {only}. Give {enough}, or begin all the same with --anyway.")


def refuse_nothing(run: "TrainingRun") -> None:
    """A run that took no step has made no model: that is no success; raises TrainingError."""
    if not run.total_step:
        raise TrainingError("nothing was learned: the time was over before the first step. Give more --minutes.")


def write_settings(config: Config, music: "KnownMusic") -> None:
    """Leave the settings in the run's folder: whoever resumes it goes on with them; and what it learns from."""
    from piano.foundation.checkpoint_format import write_whole
    from piano.foundation.made_files import write_json
    from piano.training.known_music import DATASET_NAME, dataset_facts

    # what the folder is, not how it was begun: `--config` with it, and `--resume`, go on from itself
    itself = {"checkpoint_folder_load": None, "resume_from_checkpoint": False, "resume_epoch": None}
    text = dump_config(config.model_copy(update=itself))
    write_whole(config.checkpoint_folder / CONFIG_NAME, lambda file: file.write(text.encode("utf-8")))
    write_json(config.checkpoint_folder / DATASET_NAME, dataset_facts(music))


@contextmanager
def reported(run: "TrainingRun", messenger: Messenger) -> Iterator[None]:
    """Whatever ends the run inside: the log is complete, loss.png is drawn, and the message is sent."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        error = TrainingError(too_little_memory(run))
        finish(run, messenger, "died", str(error))
        raise error from None
    except NO_NUMBERS as problem:
        ruin = run.runtime.lost() or run.ruin()  # an exchange with a process that is gone is a RuntimeError too
        error = TrainingError(ruin) if ruin else problem
        finish(run, messenger, "died", f"{type(error).__name__}: {error}")
        if ruin:
            raise error from None
        raise
    except BaseException as error:
        how = "stopped" if isinstance(error, STOPS) else "died"
        finish(run, messenger, how, f"{type(error).__name__}: {error}".rstrip(": "))
        raise
    finish(run, messenger, "ended", summary(run))


def finish(run: "TrainingRun", messenger: Messenger, how: str, sentence: str) -> None:
    """The last things of a run, each in the main process only."""
    run.screen.close()
    if not run.runtime.is_main:
        return
    run.log.close()
    folder = run.config.checkpoint_folder
    if run.total_step:
        from piano.watching.training_pictures import draw_run

        try:
            draw_run(folder, run.config)
        except (OSError, MusiganError) as error:
            print(f"loss.png could not be drawn: {error}")
    place = f"{folder}, stage {run.stage or 'none yet'}, epoch {run.epoch}, {run.seconds / 60:.1f} minutes"
    messenger.send(f"MusiGAN: training {how}", f"{sentence}\n{place}")


def verdict_of(run: "TrainingRun") -> "Verdict":
    """What became of the run, by its log; what other music judged counts no longer."""
    from piano.doctor.verdict import run_verdict
    from piano.foundation.run_log import read_history

    history = read_history(run.log.path.parent)
    changed = max((place for place, line in enumerate(history) if line.get("event") == "data set"), default=0)
    return run_verdict(
        line for place, line in enumerate(history) if place >= changed or line.get("event") not in ("gate", "score")
    )


def summary(run: "TrainingRun") -> str:
    """How far the run came, and what became of it."""
    verdict = verdict_of(run)
    length = f"Trained {counted(run.epoch, 'epoch')} in {run.seconds / 60:.1f} minutes. "
    best = "" if verdict.is_ruined else best_in_words(run)
    return f"{length}{best}{verdict.sentence}"


def outlook_words(run: "TrainingRun") -> list[str]:
    """What more time would bring, or that it no longer gets better; none where the run was never scored."""
    from piano.doctor.stopping import time_advice
    from piano.foundation.run_log import read_history

    advice = time_advice(read_history(run.log.path.parent))
    return [advice] if advice else []


def last_words(run: "TrainingRun", verdict: "Verdict", effect: "Effect | None" = None, beside: str = "") -> str:
    """What stands on the screen when all is done: how the run went, and what to do with it; `best.json` says it too.

    `beside` says how it stands beside the shipped model; empty where nothing needs to be said.
    """
    from piano.doctor.verdict import LONGER
    from piano.foundation.checkpoint_format import mark_best

    folder, words = run.config.checkpoint_folder, summary(run)
    words = " ".join(
        [words, *([effect.sentence] if effect else []), *([beside] if beside else []), *outlook_words(run)]
    )
    if run.runtime.is_main:
        facts = {} if effect is None else {"effect": effect.fields()}
        mark_best(folder, is_ruined=verdict.is_ruined, verdict=verdict.sentence, **facts)
    if not verdict.is_ruined:
        advice = f" {verdict.advice}" if verdict.advice else ""
        if verdict.advice == LONGER:
            advice = f" Train it longer:\n  {longer_command(run)}"
        return f"{words}{advice}\nListen:\n  {command('generate', '--checkpoints', folder)}"
    return (
        f"{words}\nNot worth listening to yet. Train the same run longer:\n  {longer_command(run)}\n"
        f"The model that comes with the project plays with:\n  {command('generate', '--checkpoints', 'shipped')}"
    )


def read_config(options: argparse.Namespace) -> Config:
    """config.yaml, or the settings of the run to resume, with the command line's changes."""
    words = {
        "start_from": options.start_from and start_place(options.start_from),
        "minutes": options.minutes,
        "dataset_folder": options.dataset and str(options.dataset.resolve()),
        "checkpoint_folder": options.checkpoints and str(options.checkpoints.resolve()),
        "resume_from_checkpoint": True if options.resume is not None else None,
        "resume_epoch": options.resume or None,
        "seed": options.seed,
        "runtime.devices": options.devices,
    }
    given = dict(parse_override(text) for text in options.set)
    given |= {name: value for name, value in words.items() if value is not None}
    if "start_from" in given and options.resume is not None:
        raise ConfigError(
            "--from begins a run and --resume continues one: give one of them (a fine-tuning run resumes by itself)."
        )
    places = {name: value for name, value in given.items() if name in PLACES}
    asked = load_config_from_yaml(options.config, preset=options.preset, overrides=places)
    if asked.resume_from_checkpoint:
        return resumed_settings(asked, given, source=options.config, preset=options.preset)
    return load_config_from_yaml(options.config, preset=options.preset, overrides=given)


def start_place(name: str) -> str:
    """Where a run begins, as its settings keep it: `shipped` by name, for the nearest is still to be found."""
    is_nearest = name == SHIPPED and is_model_name(name)
    return name if is_nearest else str(named_folder(name).resolve())


def find_start(config: Config) -> "Start | None":
    """The trained model to fine-tune, if the settings name one; `shipped`: the nearest. Raises CheckpointError."""
    if config.start_from is None:
        return None
    from piano.discriminator import Discriminator_with_mdisc
    from piano.foundation.checkpoint_format import complete_epochs
    from piano.foundation.shipped_format import shipped_path
    from piano.piano_finetune import start_from
    from piano.piano_model import VariationalAttentionModel
    from piano.utilities import build, load_checkpoint

    folder, chosen = named_folder(config.start_from), ""
    if str(config.start_from) == SHIPPED and is_model_name(SHIPPED):
        folder, chosen = nearest_start(config)
    generator = load_checkpoint(folder, "generator", "best")
    has_judges = shipped_path(folder, "discriminator").is_file() or generator["epoch"] in complete_epochs(folder)
    judges = load_checkpoint(folder, "discriminator", generator["epoch"]) if has_judges else None
    for kind, content in ((VariationalAttentionModel, generator), (Discriminator_with_mdisc, judges)):
        if content is not None:
            build(kind, content, content.get("average") or content["model"], "cpu")
    start = start_from(config, folder, generator, judges)
    return start._replace(sentence=f"{chosen} {start.sentence}".strip())


def nearest_start(config: Config) -> "Nearest":
    """The project's model that is nearest to the validation music; raises CheckpointError."""
    from piano.piano_model import AudioDataset
    from piano.watching.nearest_model import nearest_model

    manifest = read_manifest(config.dataset_folder)
    return nearest_model(
        AudioDataset.from_folder(config.dataset_folder, "validation"),
        sample_rate=manifest.sample_rate,
        channels=manifest.channels,
        segment_samples=manifest.segment_samples,
    )


def build_networks(config: Config) -> "tuple[VariationalAttentionModel, Discriminator_with_mdisc]":
    """Generator and judges, untrained."""
    from piano.piano_model import VariationalAttentionModel

    generator = VariationalAttentionModel(**config.model.model_dump())
    return generator, build_discriminator(config, generator)


def build_discriminator(config: Config, generator: "VariationalAttentionModel") -> "Discriminator_with_mdisc":
    """Judges that fit the generator."""
    from piano.discriminator import Discriminator_with_mdisc

    return Discriminator_with_mdisc(
        sound_channels=config.model.sound_channels,
        spectrum_values=generator.autoencoder.values,
        latent_dim=config.model.latent_dim,
        ear_channels=config.discriminator.ear_channels,
        wave_windows=config.discriminator.wave_windows,
        attention_channels=config.model.attention_channels,
        num_heads=config.model.num_heads,
        num_layers=config.discriminator.professor_layers,
    )


def open_split(config: Config, split: str) -> "AudioDataset":
    """A split of the data set; raises DatasetError when it was made for other settings, or is of no use."""
    from piano.piano_model import AudioDataset
    from piano.training.known_music import refuse_useless

    dataset = AudioDataset.from_folder(config.dataset_folder, split)
    manifest, model = read_manifest(config.dataset_folder), config.model
    wanted = {
        "sample_rate": (manifest.sample_rate, model.sample_rate),
        "channels": (manifest.channels, model.sound_channels),
        "segment_samples": (manifest.segment_samples, model.seq_len),
    }
    for name, (has, needs) in wanted.items():
        if has != needs:
            raise DatasetError(
                f"the data set in {config.dataset_folder} has {name} {has}, "
                f"{'the model' if config.start_from else f'preset {config.preset}'} needs {needs}. "
                "Make it again, from the folder of the music:\n  "
                + command("prepare", "FOLDER", "--sample-rate", model.sample_rate, "--channels", model.sound_channels)
                + f"\n  {command('dataset', '--segment-seconds', f'{model.segment_seconds:.10g}')}"
            )
    refuse_useless(dataset, split, config.dataset_folder)
    return dataset


def refuse_to_overwrite(config: Config) -> None:
    """A folder that holds a run is continued or left alone."""
    from piano.foundation.checkpoint_format import list_epochs

    if have := list_epochs(config.checkpoint_folder, "generator"):
        raise CheckpointError(
            f"{config.checkpoint_folder} already holds a run up to epoch {have[-1]}. "
            f"Continue it with --resume, or choose another folder with --checkpoints."
        )


def introduce(config: Config, runtime: "Runtime", run: "TrainingRun", *, is_verbose: bool = False) -> None:
    """Say what is about to happen."""
    # Half of every pair: neighbouring pairs share a segment.
    hours = len(run.data.sets["training"]) * run.data.sets["training"].samples / 2 / config.model.sample_rate / 3600
    length = f"{counted(config.minutes, 'minute')}, all included" if config.minutes else "the config's epochs"
    tell(runtime, f"Learning from {hours:.2f} hours of music (preset {config.preset}): {length}.")
    if (words := amount_words(3600.0 * hours)) and config.start_from is None:
        tell(runtime, words)
    if is_verbose:
        sizes = {
            name: sum(p.numel() for p in network.parameters()) / 1e6
            for name, network in (("generator", run.generator), ("discriminator", run.discriminator))
        }
        tell(
            runtime,
            f"Generator {sizes['generator']:.1f} M parameters, discriminator {sizes['discriminator']:.1f} M; "
            f"{runtime.device} x {runtime.world_size}, {runtime.precision}",
        )
        if plan := plan_in_words(run):
            tell(runtime, plan)


def too_little_memory(run: "TrainingRun") -> str:
    """What to do when a batch does not fit: the same step in more parts, from the last checkpoint on."""
    from piano.stages import STAGE_NAMES

    config, stage = run.config, run.stage or STAGE_NAMES[0]
    processes = config.runtime.devices * config.runtime.nodes
    batches = [run.batch_size(name) for name in STAGE_NAMES]
    begin = config.accumulation_steps + 1
    parts = (n for n in range(begin, min(batches) + 1) if all(batch % (n * processes) == 0 for batch in batches))
    go_on = "--resume " if run.saved_epoch else ""
    advice = next(
        (f"Give {go_on}--set accumulation_steps={n}: the same steps, each in {n} parts" for n in parts),
        "Choose a smaller preset or batch_size",
    )
    return f"the memory of {run.runtime.device} is too small for the batch of stage {stage}. {advice}."


def plan_in_words(run: "TrainingRun") -> str:
    """How a time budget is going to be spent, as far as it is known now."""
    from piano.stages import STAGE_NAMES

    if run.budget is None or run.total_step:
        return ""
    stages = run.budget.plan(STAGE_NAMES[0], run.seconds)
    parts = [f"{name} {clock(seconds)}" for name, seconds in stages.items()]
    rest = run.budget.seconds - sum(stages.values())
    steps = run.budget.planned_steps(stages)
    about = f" (about {round(steps)} steps)" if math.isfinite(steps) else ""
    return f"Plan: {', '.join(parts)}{about}; {clock(rest)} for loading, encoding, gates and saving."


def best_in_words(run: "TrainingRun") -> str:
    """Which epoch will be played, and how good the ruler found it."""
    from piano.foundation.score_words import score_sentence

    best = run.best
    if best is None:
        return ""
    how = f"kernel distance {best.kernel_distance:.3g}"
    if best.kernel_score is not None:
        how = score_sentence(best.kernel_score)
    return f"Best, and what will be played: {best.words} ({how}). "


def tell(runtime: "Runtime", message: str) -> None:
    """Say it once, whatever the number of processes."""
    if runtime.is_main:
        print(wrapped(message), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
