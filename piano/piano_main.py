"""From pairs of music to a network that composes: load, build, resume, pretrain, train. The story in one page."""

import argparse
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from piano.config_reader import CONFIG_NAME, Config, dump_config, load_config_from_yaml, parse_override
from piano.discriminator import Discriminator_with_mdisc
from piano.doctor.live import Doctor
from piano.evaluation.gates import Gatekeeper
from piano.evaluation.training_pictures import draw_run
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import complete_epochs, list_epochs, write_whole
from piano.foundation.dataset_format import read_manifest
from piano.foundation.doors import fill, program
from piano.foundation.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    MusiganError,
    StoppedBySignal,
    TrainingError,
    run_command,
)
from piano.foundation.model_folder import named_folder
from piano.foundation.notify import Messenger
from piano.foundation.runtime import Runtime, is_first_process, sampling_dtype, start_runtime
from piano.foundation.shipped_format import shipped_path
from piano.foundation.stop_signals import StopRequest, stoppable
from piano.machine_limits import refuse_impossible
from piano.piano_finetune import Start, finetune_generator, start_from
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
from piano.piano_train import check_loss_weights, train_vae_gan
from piano.resumed_settings import PLACES, resumed_settings
from piano.run_keeper import own_folder, refuse_full_disk
from piano.time_budget import seconds_since_start
from piano.training_run import STAGES, TrainingRun
from piano.utilities import build, load_checkpoint
from piano.validation import validation_losses

EXAMPLE = """examples:
  {musigan train} --minutes 10
  {musigan train} --preset small --resume
  {musigan train} --from shipped --minutes 10 --checkpoints mine
  {musigan train} --set stages.flow.learning_rate=0.001 --checkpoints trial
"""

STOPS = (KeyboardInterrupt, StoppedBySignal)
"""What ends a run because somebody wished so."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program("train"),
        description=__doc__,
        epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, help="settings file (default: config.yaml here or beside the package)"
    )
    parser.add_argument("--preset", help="tiny, small, base or large (default: the config's)")
    parser.add_argument(
        "--minutes",
        type=kinds.minutes,
        help="the whole run takes so long, start to exit (default: the config's, else epochs)",
    )
    parser.add_argument(
        "--dataset", type=Path, help="folder made by create_dataset (default: the config's dataset_folder)"
    )
    parser.add_argument(
        "--checkpoints", type=Path, help="folder to write to (default: the config's checkpoint_folder)"
    )
    parser.add_argument(
        "--resume", nargs="?", type=kinds.epoch_number, const=0, metavar="EPOCH",
        help="continue, from an epoch or from the newest complete checkpoint (default: off)",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="start_from", metavar="FOLDER",
        help="fine-tune a trained model: shipped, or a folder of checkpoints (default: from nothing)",
    )  # fmt: skip
    parser.add_argument("--seed", type=kinds.seed, help="of every random choice (default: the config's)")
    parser.add_argument(
        "--devices", type=kinds.processes, help="processes on this node (default: the config's)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting (default: none)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train a generator and a discriminator from config.yaml."""
    options = parse_arguments(argv)
    go_on = resume_command(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: train(read_config(options), go_on=go_on))


def train(config: Config, *, go_on: str = "musigan train --resume") -> None:
    """The whole run, alone in its folder; a signal stops it where nothing is lost, and `go_on` continues it."""
    began = time.monotonic() - seconds_since_start()
    is_main = is_first_process()
    check_loss_weights(config.loss_weights)
    messenger = Messenger(config.training.notify)
    try:
        with stoppable(is_loud=is_main) as stop, own_folder(config, is_main=is_main):
            train_alone(config, stop, messenger, began=began)
    except StoppedBySignal as stopped:
        raise StoppedBySignal(
            f"{stopped} Go on with:\n  {go_on}" if is_main else "", stopped.signal
        ) from None


def resume_command(arguments: list[str]) -> str:
    """The command that continues what a command line began."""
    # A fine-tuning run knows where it came from; one that went on from another folder goes on from its own.
    dropped = re.compile(r"--(from|resume)(=.*)?|--set=checkpoint_folder_load=.*")
    kept: list[str] = []
    words = [*arguments, ""]
    for before, word, after in zip(["", *words], words, words[1:], strict=False):
        is_value = before == "--from" or (before == "--resume" and word.isdigit())
        is_source = "checkpoint_folder_load=" in (
            after if word == "--set" else word if before == "--set" else ""
        )
        if not (is_value or is_source or dropped.fullmatch(word)):
            kept.append(word)
    program = sys.argv[0] if sys.argv[0].startswith("musigan ") else f"python {shlex.quote(sys.argv[0])}"
    return f"{program} {shlex.join([*kept, '--resume'])}"


def train_alone(config: Config, stop: StopRequest, messenger: Messenger, *, began: float) -> None:
    """The whole run, in a folder that is its own, on the clock since it began (by time.monotonic())."""
    start = None
    if not config.resume_from_checkpoint:
        refuse_to_overwrite(config)
        start = find_start(config)
        config = start.config if start else config
    refuse_impossible(config, lambda: build_networks(config))
    runtime = start_runtime(**config.runtime.model_dump(), seed=config.seed)
    if start:
        tell(runtime, start.sentence)
    training_set = open_split(config, "training")
    validation_set = open_split(config, "validation")

    generator, discriminator = build_networks(config)
    generator.to(runtime.device)
    discriminator.to(runtime.device)
    if start:
        start.load_into(generator, discriminator)
    generator.sampling_dtype = sampling_dtype(runtime.device)

    gatekeeper = Gatekeeper(
        config.checkpoint_folder, sample_seconds=config.sample_seconds, sample_count=config.sample_count
    )
    run = TrainingRun(
        config, runtime, generator, discriminator,
        training_set=training_set, validation_set=validation_set,
        after_save=gatekeeper.write_due_samples, after_stage=gatekeeper.judge_stage,
        before_save=gatekeeper.score_epoch, began=began,
        doctor=None if config.doctor == "off" else Doctor(config.doctor, window=config.doctor_window),
        validate=validation_losses,
    )  # fmt: skip
    run.stop = stop
    if run.budget is not None:
        run.stateful["budget"] = run.budget
    if config.resume_from_checkpoint:
        tell(
            runtime,
            f"Resuming from epoch {run.resume()} of {config.checkpoint_folder_load or config.checkpoint_folder}",
        )
        if set(run.finished_stages) >= set(STAGES):
            tell(runtime, "Every stage of this run is over. To learn longer, go on from an earlier epoch in a folder "
                          "of its own: --resume EPOCH --set checkpoint_folder_load=... --checkpoints ...")  # fmt: skip
    if runtime.is_main:
        write_settings(config)
    with reported(run, messenger):
        gatekeeper.rehearse(run)
        introduce(config, runtime, run)
        if runtime.is_main:
            refuse_full_disk(config.checkpoint_folder, generator, discriminator)
        (finetune_generator if config.start_from else pretrain_generator)(run)
        pretrain_discriminator(run)
        train_vae_gan(run)
    tell(runtime, f"{summary(run)}"
                  f"Listen: python piano/generate_music.py --checkpoints {config.checkpoint_folder}")  # fmt: skip


def write_settings(config: Config) -> None:
    """Leave the settings in the run's folder: whoever resumes it goes on with them."""
    # what the folder is, not how it was begun: `--config` with it, and `--resume`, go on from itself
    itself = {"checkpoint_folder_load": None, "resume_from_checkpoint": False, "resume_epoch": None}
    text = dump_config(config.model_copy(update=itself))
    write_whole(config.checkpoint_folder / CONFIG_NAME, lambda file: file.write(text.encode("utf-8")))


@contextmanager
def reported(run: TrainingRun, messenger: Messenger) -> Iterator[None]:
    """Whatever ends the run inside: the log is complete, loss.png is drawn, and the message is sent."""
    try:
        yield
    except torch.OutOfMemoryError:
        error = TrainingError(too_little_memory(run))
        finish(run, messenger, "died", str(error))
        raise error from None
    except BaseException as error:
        how = "stopped" if isinstance(error, STOPS) else "died"
        finish(run, messenger, how, f"{type(error).__name__}: {error}".rstrip(": "))
        raise
    finish(run, messenger, "ended", summary(run))


def finish(run: TrainingRun, messenger: Messenger, how: str, sentence: str) -> None:
    """The last things of a run, each in the main process only."""
    if not run.runtime.is_main:
        return
    run.log.close()
    folder = run.config.checkpoint_folder
    if run.total_step:
        try:
            draw_run(folder, run.config)
        except (OSError, MusiganError) as error:
            print(f"loss.png could not be drawn: {error}")
    place = f"{folder}, stage {run.stage or 'none yet'}, epoch {run.epoch}, {run.seconds / 60:.1f} minutes"
    messenger.send(f"MusiGAN: training {how}", f"{sentence}\n{place}")


def summary(run: TrainingRun) -> str:
    """How far the run came."""
    return f"Trained {run.epoch} epochs in {run.seconds / 60:.1f} minutes. {best_in_words(run)}"


def read_config(options: argparse.Namespace) -> Config:
    """config.yaml, or the settings of the run to resume, with the command line's changes."""
    words = {
        "start_from": options.start_from and str(named_folder(options.start_from).resolve()),
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


def find_start(config: Config) -> Start | None:
    """The trained model to fine-tune, if the settings name one; raises CheckpointError."""
    if config.start_from is None:
        return None
    folder = named_folder(config.start_from)
    generator = load_checkpoint(folder, "generator", "best")
    has_judges = shipped_path(folder, "discriminator").is_file() or generator["epoch"] in complete_epochs(
        folder
    )
    judges = load_checkpoint(folder, "discriminator", generator["epoch"]) if has_judges else None
    for kind, content in ((VariationalAttentionModel, generator), (Discriminator_with_mdisc, judges)):
        if content is not None:
            build(kind, content, content.get("average") or content["model"], "cpu")
    return start_from(config, folder, generator, judges)


def build_networks(config: Config) -> tuple[VariationalAttentionModel, Discriminator_with_mdisc]:
    """Generator and judges, untrained."""
    generator = VariationalAttentionModel(**config.model.model_dump())
    return generator, build_discriminator(config, generator)


def build_discriminator(config: Config, generator: VariationalAttentionModel) -> Discriminator_with_mdisc:
    """Judges that fit the generator."""
    return Discriminator_with_mdisc(
        sound_channels=config.model.sound_channels,
        spectrum_values=config.model.sound_channels * generator.autoencoder.bins,
        latent_dim=config.model.latent_dim,
        ear_channels=config.discriminator.ear_channels,
        wave_windows=config.discriminator.wave_windows,
        attention_channels=config.model.attention_channels,
        num_heads=config.model.num_heads,
        num_layers=config.discriminator.professor_layers,
    )


def open_split(config: Config, split: str) -> AudioDataset:
    """A split of the data set; raises DatasetError when it was made for other settings."""
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
                f"Make it again: prepare_dataset.py --sample-rate {model.sample_rate} "
                f"--channels {model.sound_channels}, "
                f"then create_dataset.py --segment-seconds {model.segment_seconds:g}."
            )
    return dataset


def refuse_to_overwrite(config: Config) -> None:
    """A folder that holds a run is continued or left alone."""
    if have := list_epochs(config.checkpoint_folder, "generator"):
        raise CheckpointError(
            f"{config.checkpoint_folder} already holds a run up to epoch {have[-1]}. "
            f"Continue it with --resume, or choose another folder with --checkpoints."
        )


def introduce(config: Config, runtime: Runtime, run: TrainingRun) -> None:
    """Say what is about to happen."""
    sizes = {name: sum(p.numel() for p in network.parameters()) / 1e6
             for name, network in (("generator", run.generator), ("discriminator", run.discriminator))}  # fmt: skip
    # Half of every pair: neighbouring pairs share a segment.
    hours = len(run.training_set) * run.training_set.samples / 2 / config.model.sample_rate / 3600
    budget = f"{config.minutes:g} minutes, all included" if config.minutes else "the config's epochs"
    tell(runtime, f"{config.preset}: generator {sizes['generator']:.1f} M parameters, discriminator "
                  f"{sizes['discriminator']:.1f} M; {hours:.2f} hours of music; "
                  f"{runtime.device} x {runtime.world_size}, "
                  f"{runtime.precision}; {budget}")  # fmt: skip
    if plan := plan_in_words(run):
        tell(runtime, plan)


def too_little_memory(run: TrainingRun) -> str:
    """What to do when a batch does not fit: the same step in more parts, from the last checkpoint on."""
    config, stage = run.config, run.stage or STAGES[0]
    processes = config.runtime.devices * config.runtime.nodes
    batches = [run.settings(name).batch_size or config.batch_size for name in STAGES]
    begin = config.accumulation_steps + 1
    parts = (
        n for n in range(begin, min(batches) + 1) if all(batch % (n * processes) == 0 for batch in batches)
    )
    go_on = "--resume " if run.saved_epoch else ""
    advice = next((f"Give {go_on}--set accumulation_steps={n}: the same steps, each in {n} parts" for n in parts),
                  "Choose a smaller preset or batch_size")  # fmt: skip
    return f"the memory of {run.runtime.device} is too small for the batch of stage {stage}. {advice}."


def plan_in_words(run: TrainingRun) -> str:
    """How a time budget is going to be spent, as far as it is known now."""
    if run.budget is None or run.total_step:
        return ""
    stages = run.budget.plan(STAGES[0], run.seconds)
    parts = [f"{name} {clock(seconds)}" for name, seconds in stages.items()]
    rest = run.budget.seconds - sum(stages.values())
    return f"Plan: {', '.join(parts)}; {clock(rest)} for loading, encoding, gates and saving."


def clock(seconds: float) -> str:
    """`3:07` of 187 seconds."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def best_in_words(run: TrainingRun) -> str:
    """Which epoch will be played, and how good the ruler found it."""
    best = run.best
    if best is None:
        return ""
    how = f"kernel distance {best.kernel_distance:.3g}"
    if best.kernel_score is not None:
        how = f"kernel score {best.kernel_score:.2f}: 0 is other real music, 1 is noise with its spectrum"
    return f"Best, and what will be played: epoch {best.epoch} of stage {best.stage}, {best.steps} steps ({how}). "


def tell(runtime: Runtime, message: str) -> None:
    """Say it once, whatever the number of processes."""
    if runtime.is_main:
        print(message, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
