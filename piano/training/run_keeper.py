"""How a run is kept: what its checkpoints say of where it stands, which of them stay, and how it goes on from one."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn
from tqdm import tqdm

from piano.config_reader import Config
from piano.foundation.checkpoint_format import (
    ROLES,
    checkpoint_path,
    complete_epochs,
    epochs_to_keep,
    list_epochs,
    read_checkpoint,
    write_best,
)
from piano.foundation.errors import CheckpointError
from piano.foundation.folder_lock import LOCK_NAME, locked_folder
from piano.foundation.made_files import clear_leftovers
from piano.foundation.run_log import LOG_NAME, RunLog, read_history
from piano.foundation.runtime import Runtime, available_cores
from piano.foundation.screen_text import printable
from piano.training.run_position import Position, check_position, position_of
from piano.update_checkpoint import with_present_names
from piano.vae_utilities import save_checkpoint

STATES_OF_A_PARAMETER = 4
"""Itself, its average and at most two moments of its optimiser: what a save may need, for the check of the disk."""


@runtime_checkable
class Stateful(Protocol):
    """Anything with a memory that a resumed run must have: its state is tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]:
        """What to remember."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from what `state_dict` said."""
        ...


@contextlib.contextmanager
def own_folder(config: Config, *, is_main: bool = True) -> Iterator[None]:
    """Keep other runs out of the run's folder, and find out now whether it can be written.

    Raises
    ------
    CheckpointError
        Another run works there, nothing can be written, or a resumed run would mix with the one that lies there.
    """
    if not is_main:
        yield
        return
    folder, source = config.checkpoint_folder, config.checkpoint_folder_load
    is_new = not folder.exists()
    with locked_folder(folder, error=CheckpointError, other="--checkpoints"):
        clear_leftovers(folder / "samples")
        if source and source != folder and (have := list_epochs(folder, "generator")):
            raise CheckpointError(
                f"{folder} already holds a run up to epoch {have[-1]}, and checkpoint_folder_load says to go on from "
                f"{source}. Set checkpoint_folder_load to null to continue the first, or choose another --checkpoints."
            )
        wanted = config.resume_epoch
        if wanted and (later := [epoch for epoch in list_epochs(folder, "generator") if epoch > wanted]):
            raise CheckpointError(
                f"{folder} holds later epochs, up to {later[-1]}, which a run from epoch {wanted} would mix with. "
                f"Add: --checkpoints {folder}-from-{wanted} --set checkpoint_folder_load={folder}"
            )
        try:
            yield
        finally:
            if is_new:
                leave_nothing(folder)


def leave_nothing(folder: Path) -> None:
    """A folder in which nothing was made is taken away again."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK_NAME]:
            (folder / LOCK_NAME).unlink()
            folder.rmdir()


def refuse_full_disk(folder: Path, *networks: nn.Module) -> None:
    """Find out before training whether a checkpoint fits on the disk; raises CheckpointError."""
    needed = STATES_OF_A_PARAMETER * sum(
        value.numel() * value.element_size() for network in networks for value in network.state_dict().values()
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{folder} has room for {free / 1e6:.0f} MB, one checkpoint may need {needed / 1e6:.0f} MB. "
            "Make room, or choose another folder with --checkpoints."
        )


class Kept(NamedTuple):
    """What of a run is kept under an epoch's name."""

    generator: nn.Module
    average: nn.Module
    discriminator: nn.Module
    optimizers: dict[str, Any]
    """Name -> state of every optimiser of the present stage."""
    position: Position


def save(kept: Kept, epoch: int, config: Config) -> None:
    """Write a run under an epoch's name, then delete what need not stay.

    The discriminator comes first, so that a pair is complete when its generator is there; `best.json` names an epoch
    only once both of its files are; nothing is deleted before all that is written.

    Parameters
    ----------
    kept : Kept
    epoch : int
        The one that is over, or, where a run is stopped in the middle, the one that has begun.
    config : Config
        Says into which folder, and which epochs stay.
    """
    folder, place = config.checkpoint_folder, kept.position
    save_checkpoint(kept.discriminator, epoch, folder, "discriminator", run={"total_step": place.total_step})
    save_checkpoint(
        kept.generator,
        epoch,
        folder,
        "generator",
        optimizers=kept.optimizers,
        average=kept.average.state_dict(),
        run=place.as_dict(),
    )
    write_best(folder, place.best)
    own = [other for other in complete_epochs(folder) if other <= epoch]
    stay = epochs_to_keep(
        own,
        every=config.keep_every,
        last=config.keep_last,
        best=place.best.epoch if place.best else None,
        interval=config.save_after_nepochs,
    )
    for other in set(own) - set(stay):
        for role in reversed(ROLES):  # without its discriminator, a generator is no pair to resume from
            checkpoint_path(folder, role, other).unlink(missing_ok=True)


class CheckpointPair(NamedTuple):
    """The contents of two checkpoint files that were saved together."""

    epoch: int
    generator: dict[str, Any]
    discriminator: dict[str, Any]


def read_pair(folder: Path, wanted: int | None, stateful: Mapping[str, Stateful]) -> CheckpointPair:
    """The newest complete checkpoint of a folder, or the one of a wanted epoch, from which a run can go on.

    Parameters
    ----------
    folder : Path
    wanted : int, optional
    stateful : mapping
        What else has a memory in the run at hand: what was saved must be of the same make.

    Raises
    ------
    CheckpointError
        There is none, or not the one asked for.
    """
    epochs = complete_epochs(folder)
    if wanted is not None:
        if wanted not in epochs:
            have = f"there are {', '.join(map(str, epochs))}" if epochs else "there is none"
            raise CheckpointError(f"no complete checkpoint of epoch {wanted} in {folder}: {have}")
        epochs = [wanted]
    for epoch in reversed(epochs):
        try:
            generator = read_checkpoint(checkpoint_path(folder, "generator", epoch), "generator")
            discriminator = read_checkpoint(checkpoint_path(folder, "discriminator", epoch), "discriminator")
            if total_step(generator) != total_step(discriminator):
                raise CheckpointError(f"the two files of epoch {epoch} in {folder} were not saved together")
        except CheckpointError as error:
            if wanted is not None:
                raise
            tqdm.write(f"{printable(error)}; trying the one before")
            continue
        check_position(generator, stateful)
        return CheckpointPair(epoch, generator, discriminator)
    raise CheckpointError(f"no complete checkpoint to resume from in {folder}. Train without --resume to begin.")


def total_step(content: dict[str, Any]) -> int:
    """Steps that a checkpoint's run had taken; raises CheckpointError where it does not say."""
    place = content.get("run")
    if not isinstance(place, dict) or type(place.get("total_step")) is not int:
        raise CheckpointError(f"the {content['role']} of epoch {content['epoch']} does not say where its run stood")
    return place["total_step"]


def read_position(pair: CheckpointPair, log: RunLog) -> Position:
    """Where the run of a pair stood; raises CheckpointError."""
    with refusing_position(pair.epoch):
        return position_of(pair.generator["run"], lambda: read_history(log.path.parent))


@contextlib.contextmanager
def refusing_position(epoch: int) -> Iterator[None]:
    """Whatever a checkpoint's position lacks becomes a CheckpointError that names its epoch."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint of epoch {epoch} does not say where its run stood "
            f"({type(error).__name__}: {' '.join(str(error).split())[:80]}). Delete it to go on from the one before."
        ) from None


def load_weights(kept: Mapping[str, Any], network: nn.Module, epoch: int) -> None:
    """Give a network the weights of a checkpoint; raises CheckpointError where they do not fit."""
    try:
        network.load_state_dict(with_present_names(kept))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint of epoch {epoch} was made with other model settings: "
            f"{' '.join(str(error).split())[:160]}. Restore them in config.yaml, or use another checkpoint_folder."
        ) from None


def go_on_in(config: Config, log: RunLog, position: Position) -> None:
    """Make the files of the run's folder those of its position: best.json, and a log that ends there."""
    write_best(config.checkpoint_folder, position.best)
    if not is_own_folder(config):
        copy_log(Path(config.checkpoint_folder_load or ""), log)
    if log.path.is_file():
        os.truncate(log.path, min(position.log_bytes, log_bytes(log)))


def is_own_folder(config: Config) -> bool:
    """Whether a resumed run goes on in the folder that it is read from."""
    return config.checkpoint_folder_load in (None, config.checkpoint_folder)


def copy_log(source: Path, log: RunLog) -> None:
    """What a run learned in another folder belongs to it: its curves begin there."""
    if (source / LOG_NAME).is_file() and not log.path.is_file():
        log.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / LOG_NAME, log.path)


def computing(config: Config, runtime: Runtime) -> dict[str, Any]:
    """What a run computes with: see `compute_as`."""
    is_cuda = runtime.device.type == "cuda"
    return {
        "seed": config.seed,
        "random": torch.get_rng_state(),
        "device_random": torch.cuda.get_rng_state(runtime.device) if is_cuda else None,
        "precision": runtime.precision,
        "threads": torch.get_num_threads(),
        "processes": runtime.world_size,
    }


def compute_as(there: Mapping[str, Any], config: Config, runtime: Runtime) -> None:
    """Random numbers go on; what was measured at the start (`auto`) stays as it was: other threads round otherwise.

    Threads are those of one process: with another number of processes the cores are divided anew.
    """
    is_cuda = runtime.device.type == "cuda"
    was_cuda = there["device_random"] is not None
    if config.runtime.precision == "auto" and was_cuda == is_cuda:  # another kind of device is fast in another one
        runtime.precision = there["precision"] or runtime.precision
    is_divided_alike = there["processes"] in (None, runtime.world_size)  # earlier versions did not say it
    threads = (there["threads"] if is_divided_alike else None) or torch.get_num_threads()
    if config.runtime.threads == "auto" and runtime.device.type == "cpu" and threads <= available_cores():
        torch.set_num_threads(threads)
    torch.set_rng_state(there["random"])
    if was_cuda and is_cuda:
        torch.cuda.set_rng_state(there["device_random"], runtime.device)
    runtime.part_randomness()


def log_bytes(log: RunLog) -> int:
    """Length of metrics.jsonl: what comes after it is taken back when the run goes on from here."""
    return log.path.stat().st_size if log.path.is_file() else 0


@contextlib.contextmanager
def undisturbed_random(runtime: Runtime) -> Iterator[None]:
    """Whatever is drawn inside, the run goes on with the numbers it would have drawn."""
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
