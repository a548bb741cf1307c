"""How a run is kept: what its checkpoints say of where it stands, and how it goes on from one."""

from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from piano.config_reader import Config
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import (
    Best,
    checkpoint_path,
    complete_epochs,
    read_checkpoint,
    write_best,
)
from piano.foundation.errors import CheckpointError
from piano.foundation.run_log import RunLog
from piano.foundation.runtime import Runtime
from piano.piano_model import VariationalAttentionModel
from piano.vae_utilities import save_checkpoint


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

    @property
    def seconds(self) -> float:
        """Time the run has taken."""
        ...

    def set_clock(self, seconds: float) -> None:
        """The run has taken so long until now."""
        ...

    def optimizer_states(self) -> dict[str, Any]:
        """Name -> state of every optimiser of the present stage."""
        ...


def save(run: KeptRun) -> None:
    """Write generator and discriminator of this epoch: the discriminator first, so that a pair is complete."""
    folder = run.config.checkpoint_folder
    save_checkpoint(run.discriminator, run.epoch, folder, "discriminator", run={"total_step": run.total_step})
    save_checkpoint(
        run.generator, run.epoch, folder, "generator",
        optimizers=run.optimizer_states(), average=run.average.network.state_dict(), run=position(run),
    )  # fmt: skip
    write_best(folder, run.best)  # names an epoch only once both of its files are there


def position(run: KeptRun) -> dict[str, Any]:
    """Where a run stands, in tensors and plain values."""
    return {
        "stage": run.stage, "stage_step": run.stage_step, "stage_began": run.stage_began,
        "finished_stages": list(run.finished_stages), "epoch": run.epoch, "total_step": run.total_step,
        "seconds": run.seconds, "controllers": dict(run.controllers), "average_updates": run.average.updates,
        "seed": run.config.seed, "random": torch.get_rng_state(),
        "best": run.best._asdict() if run.best else None,
        "stateful": {name: keeper.state_dict() for name, keeper in run.stateful.items()},
    }  # fmt: skip


def resume(run: KeptRun) -> int:
    """Continue from the newest complete checkpoint; returns its epoch, raises CheckpointError if there is none."""
    folder = Path(run.config.checkpoint_folder_load or run.config.checkpoint_folder)
    for epoch in reversed(complete_epochs(folder)):
        try:
            generator = read_checkpoint(checkpoint_path(folder, "generator", epoch), "generator")
            discriminator = read_checkpoint(checkpoint_path(folder, "discriminator", epoch), "discriminator")
        except CheckpointError as error:
            tqdm.write(f"{error}; trying the one before")
            continue
        if generator["run"]["total_step"] != discriminator["run"]["total_step"]:
            continue
        adopt(run, generator, discriminator)
        return epoch
    raise CheckpointError(
        f"no complete checkpoint to resume from in {folder}. Train without --resume to begin."
    )


def adopt(run: KeptRun, generator: dict[str, Any], discriminator: dict[str, Any]) -> None:
    """Put a run where a pair of checkpoints says it was."""
    try:
        run.generator.load_state_dict(generator["model"])
        run.average.network.load_state_dict(generator["average"])
        run.discriminator.load_state_dict(discriminator["model"])
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint of epoch {generator['epoch']} was made with other model settings: "
            f"{' '.join(str(error).split())[:160]}. Restore them in config.yaml, or use another checkpoint_folder."
        ) from None
    there = generator["run"]
    run.stage, run.stage_step, run.stage_began = there["stage"], there["stage_step"], there["stage_began"]
    run.finished_stages = list(there["finished_stages"])
    run.epoch, run.total_step = there["epoch"], there["total_step"]
    run.controllers = dict(there["controllers"])
    for name, keeper in run.stateful.items():
        if name in there.get("stateful", {}):
            keeper.load_state_dict(there["stateful"][name])
    is_same_folder = run.config.checkpoint_folder_load in (None, run.config.checkpoint_folder)
    run.best = Best(**there["best"]) if there.get("best") and is_same_folder else None
    if run.runtime.is_main:
        write_best(run.config.checkpoint_folder, run.best)
    run.average.updates = there["average_updates"]
    run.set_clock(there["seconds"])
    run.resumed_optimizers = generator["optimizers"]
    torch.set_rng_state(there["random"])
    run.log.forget_after(run.total_step)
