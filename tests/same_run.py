"""Whether two runs left the same behind, bit for bit, but for what the clock says."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from piano.foundation.checkpoint_format import ROLES, checkpoint_path, read_checkpoint
from piano.foundation.run_log import read_history
from piano.training.training_run import TrainingRun

CLOCKS = ("seconds", "stage_began", "measuring_seconds", "learned")
"""What two runs that are otherwise the same need not share."""


class Interrupted(Exception):
    """Stands for a power cut."""


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all that a network holds."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def run_weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    """The same of generator (`g.`), discriminator (`d.`) and averaged generator (`average.`)."""
    networks = {"g": run.generator, "d": run.discriminator, "average": run.average.network}
    return {f"{name}.{key}": value for name, network in networks.items() for key, value in weights(network).items()}


def kept_content(folder: Path, epoch: int) -> list[dict[str, Any]]:
    """All that is saved of an epoch, but the clocks."""
    files = [read_checkpoint(checkpoint_path(folder, role, epoch), role) for role in ROLES]
    for file in files:
        file["run"] = {name: value for name, value in file["run"].items() if name not in CLOCKS}
        file["run"].pop("log_bytes", None)  # the seconds in the log have more or fewer digits
    return files


def log_without_clocks(folder: Path) -> list[dict[str, Any]]:
    """Every line of the log, but the clocks, and without the place it lies in (a sentence may name a command)."""
    place = f"{folder.parent}/"
    return [
        {
            name: value.replace(place, "") if isinstance(value, str) else value
            for name, value in entry.items()
            if name not in CLOCKS
        }
        for entry in read_history(folder)
    ]


def assert_same(first: Any, second: Any, place: str = "") -> None:
    """Raises AssertionError naming the first place where two contents are not the same, bit for bit."""
    assert type(first) is type(second), place
    if isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for name in first:
            assert_same(first[name], second[name], f"{place}.{name}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), f"{place}: {len(first)} against {len(second)}"
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, f"{place}: {first!r} is not {second!r}"
