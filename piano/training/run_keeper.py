"""How a run is kept: what its checkpoints say of where it stands, which of them stay, and how it goes on from one."""

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from piano.config_reader import Config
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import (
    ROLES,
    Best,
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
from piano.piano_model import VariationalAttentionModel
from piano.stages import LAST_STAGE
from piano.training.longer_run import Learned, Reopened, learned_in
from piano.training.run_position import check_position
from piano.training.schedules import Schedules
from piano.training.time_budget import ENCODING, TimeBudget
from piano.vae_utilities import save_checkpoint

OF_THE_MUSIC = ("distance_noise", "distance_flow", "R_before_ear", "P_before_ear")
"""Controllers that gates measured on validation music."""
AN_END = 1.05
"""A run that is over was meant to take at most so much more time than it took."""
STATES_OF_A_PARAMETER = 4
"""Itself, its average and at most two moments of its optimiser: what a save may need, for the check of the disk."""


class Stateful(Protocol):
    """Anything with a memory that a resumed run must have: its state is tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]:
        """What to remember."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from what `state_dict` said."""
        ...


class KeptRun(Protocol):
    """What of a training run is kept."""

    config: Config
    runtime: Runtime
    generator: VariationalAttentionModel
    discriminator: Discriminator_with_mdisc
    average: Any
    log: RunLog
    stage: str
    stage_step: int
    stage_began: float
    finished_stages: list[str]
    epoch: int
    total_step: int
    controllers: dict[str, float]
    stateful: dict[str, Stateful]
    best: Best | None
    resumed_optimizers: dict[str, Any]
    schedules: Schedules
    budget: TimeBudget | None
    learned: dict[str, Learned]
    reopened: dict[str, Reopened]
    planned_before: dict[str, Any] | None

    @property
    def seconds(self) -> float:
        """Time the run has taken."""
        ...

    def set_clock(self, seconds: float) -> None:
        """The run has taken so long until now."""
        ...

    def planned(self) -> dict[str, Any]:
        """For how long the run is meant."""
        ...

    def event(self, kind: str, **fields: Any) -> None:
        """Write a line of the log that is not a step."""
        ...

    def optimizer_states(self) -> dict[str, Any]:
        """Name -> state of every optimiser of the present stage."""
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


def save(run: KeptRun, epoch: int) -> None:
    """Write a run under an epoch's name, then delete what need not stay.

    The discriminator comes first, so that a pair is complete when its generator is there; `best.json` names an epoch
    only once both of its files are; nothing is deleted before all that is written.

    Parameters
    ----------
    epoch : int
        The one that is over, or, where a run is stopped in the middle, the one that has begun.
    """
    folder, config = run.config.checkpoint_folder, run.config
    save_checkpoint(run.discriminator, epoch, folder, "discriminator", run={"total_step": run.total_step})
    save_checkpoint(
        run.generator,
        epoch,
        folder,
        "generator",
        optimizers=run.optimizer_states(),
        average=run.average.network.state_dict(),
        run=position(run),
    )
    write_best(folder, run.best)
    own = [other for other in complete_epochs(folder) if other <= epoch]
    kept = epochs_to_keep(
        own,
        every=config.keep_every,
        last=config.keep_last,
        best=run.best.epoch if run.best else None,
        interval=config.save_after_nepochs,
    )
    for other in set(own) - set(kept):
        for role in reversed(ROLES):  # without its discriminator, a generator is no pair to resume from
            checkpoint_path(folder, role, other).unlink(missing_ok=True)


def position(run: KeptRun) -> dict[str, Any]:
    """Where a run stands, in tensors and plain values."""
    return {
        "stage": run.stage,
        "stage_step": run.stage_step,
        "stage_began": run.stage_began,
        "finished_stages": list(run.finished_stages),
        "epoch": run.epoch,
        "total_step": run.total_step,
        "seconds": run.seconds,
        "controllers": dict(run.controllers),
        "average_updates": run.average.updates,
        "seed": run.config.seed,
        "random": torch.get_rng_state(),
        "device_random": device_random(run.runtime),
        "precision": run.runtime.precision,
        "threads": torch.get_num_threads(),
        "log_bytes": log_bytes(run.log),
        "best": run.best._asdict() if run.best else None,
        "stateful": {name: keeper.state_dict() for name, keeper in run.stateful.items()},
        "learned": {name: list(had) for name, had in run.learned.items()},
        "reopened": {name: list(again) for name, again in run.reopened.items()},
        "planned": run.planned(),
    }


def resume(run: KeptRun) -> int:
    """Continue from the newest complete checkpoint, or the one asked for; returns its epoch.

    Raises
    ------
    CheckpointError
        There is none, or not the one asked for.
    """
    folder, wanted = run.config.resumed_folder, run.config.resume_epoch
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
        check_position(generator, run.stateful)
        adopt(run, generator, discriminator)
        return epoch
    raise CheckpointError(f"no complete checkpoint to resume from in {folder}. Train without --resume to begin.")


def total_step(content: dict[str, Any]) -> int:
    """Steps that a checkpoint's run had taken; raises CheckpointError where it does not say."""
    place = content.get("run")
    if not isinstance(place, dict) or type(place.get("total_step")) is not int:
        raise CheckpointError(f"the {content['role']} of epoch {content['epoch']} does not say where its run stood")
    return place["total_step"]


def adopt(run: KeptRun, generator: dict[str, Any], discriminator: dict[str, Any]) -> None:
    """Put a run where a pair of checkpoints says it was; raises CheckpointError."""
    try:
        run.generator.load_state_dict(generator["model"])
        run.average.network.load_state_dict(generator["average"])
        run.discriminator.load_state_dict(discriminator["model"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint of epoch {generator['epoch']} was made with other model settings: "
            f"{' '.join(str(error).split())[:160]}. Restore them in config.yaml, or use another checkpoint_folder."
        ) from None
    try:
        adopt_position(run, generator["run"])
        run.resumed_optimizers = dict(generator["optimizers"])
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint of epoch {generator['epoch']} does not say where its run stood "
            f"({type(error).__name__}: {' '.join(str(error).split())[:80]}). Delete it to go on from the one before."
        ) from None


def adopt_position(run: KeptRun, there: dict[str, Any]) -> None:
    """Everything but the weights."""
    run.stage, run.stage_step, run.stage_began = there["stage"], there["stage_step"], there["stage_began"]
    run.finished_stages = list(there["finished_stages"])
    run.epoch, run.total_step = there["epoch"], there["total_step"]
    run.controllers = dict(there["controllers"])
    if "learned" in there:
        run.learned = {str(name): Learned(*had) for name, had in there["learned"].items()}
        run.reopened = {str(name): Reopened(*again) for name, again in there["reopened"].items()}
        run.planned_before = dict(there["planned"])
    else:  # an earlier version: its log says as much, and a run that is over had its time
        run.learned = learned_in(read_history(run.log.path.parent))
        is_over = run.stage == LAST_STAGE and LAST_STAGE in run.finished_stages
        run.planned_before = {"minutes": AN_END * there["seconds"] / 60.0 if is_over else math.inf, "steps": {}}
    for name, keeper in run.stateful.items():
        if name in there.get("stateful", {}):
            keeper.load_state_dict(there["stateful"][name])
    is_same_folder = run.config.checkpoint_folder_load in (None, run.config.checkpoint_folder)
    run.best = Best(**there["best"]) if there.get("best") and is_same_folder else None
    run.average.updates = there["average_updates"]
    run.set_clock(there["seconds"])
    compute_as(run, there)
    torch.set_rng_state(there["random"])
    if (random := there.get("device_random")) is not None and run.runtime.device.type == "cuda":
        torch.cuda.set_rng_state(random, run.runtime.device)
    if run.runtime.is_main:
        write_best(run.config.checkpoint_folder, run.best)
        if not is_same_folder:
            copy_log(Path(run.config.checkpoint_folder_load or ""), run.log)
        if run.log.path.is_file():
            os.truncate(run.log.path, min(there.get("log_bytes", 2**62), log_bytes(run.log)))
    run.log.forget_after(run.total_step)


def forget_judgements(run: KeptRun, sentence: str) -> None:
    """What other music judged holds no longer: the best epoch, the gates' figures, what encoding took."""
    run.best = None
    for name in OF_THE_MUSIC:
        run.controllers.pop(name, None)
    run.schedules.forget_judgements()
    if run.budget is not None:
        run.budget.measured.pop(ENCODING, None)
    if run.runtime.is_main:
        write_best(run.config.checkpoint_folder, None)
    run.event("data set", sentence=sentence)


def copy_log(source: Path, log: RunLog) -> None:
    """What a run learned in another folder belongs to it: its curves begin there."""
    if (source / LOG_NAME).is_file() and not log.path.is_file():
        log.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / LOG_NAME, log.path)


def compute_as(run: KeptRun, there: dict[str, Any]) -> None:
    """What was measured at the start of the run (`auto`) stays as it was: other threads round otherwise."""
    settings, runtime = run.config.runtime, run.runtime
    if settings.precision == "auto":
        runtime.precision = there.get("precision", runtime.precision)
    threads = there.get("threads", torch.get_num_threads())
    if settings.threads == "auto" and runtime.device.type == "cpu" and threads <= available_cores():
        torch.set_num_threads(threads)


def device_random(runtime: Runtime) -> Tensor | None:
    """State of the accelerator's own random numbers (dropout draws from them)."""
    return torch.cuda.get_rng_state(runtime.device) if runtime.device.type == "cuda" else None


def log_bytes(log: RunLog) -> int:
    """Length of metrics.jsonl: what comes after it is taken back when the run goes on from here."""
    return log.path.stat().st_size if log.path.is_file() else 0


@contextlib.contextmanager
def undisturbed_random(runtime: Runtime) -> Iterator[None]:
    """Whatever is drawn inside, the run goes on with the numbers it would have drawn."""
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
