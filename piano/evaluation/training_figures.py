"""How a run was trained, from what it wrote: time, steps, its last losses, its settings."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from piano.evaluation.curves import stage_curves
from piano.foundation.run_log import read_history

CONFIG_NAME = "config.yaml"
LAST_SHARE = 0.1
"""Part of a stage, at its end, that its last losses are the median of."""
NOT_COMPARED = (
    "checkpoint_folder",
    "checkpoint_folder_load",
    "music_out_folder",
    "resume_from_checkpoint",
    "presets",
)


class Training(NamedTuple):
    """What is known of a run's training; nothing of a model that was given away."""

    seconds: float
    steps: dict[str, int]
    """Of every stage."""
    losses: dict[str, float]
    """Every logged number, as `stage.name`, at the end of its stage."""
    settings: dict[str, Any]
    """With dotted names."""


def training_of(folder: Path) -> Training | None:
    """Read metrics.jsonl and config.yaml of a run; None where there are none."""
    steps = [entry for entry in read_history(folder) if "step" in entry]
    if not steps:
        return None
    counts: dict[str, int] = {}
    for entry in steps:
        counts[entry["stage"]] = counts.get(entry["stage"], 0) + 1
    losses = {
        f"{stage}.{curve.name}": float(
            np.median(curve.values[-max(1, round(LAST_SHARE * len(curve.values))) :])
        )
        for stage, curves in stage_curves(steps).items()
        for curve in curves
    }
    return Training(float(steps[-1].get("seconds", 0.0)), counts, losses, read_settings(folder))


def read_settings(folder: Path) -> dict[str, Any]:
    """The run's settings with dotted names; empty where they cannot be read."""
    try:
        values = yaml.safe_load((Path(folder) / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return flat(values) if isinstance(values, dict) else {}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        found |= flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return found


def different_settings(first: Training, second: Training) -> dict[str, tuple[Any, Any]]:
    """Settings of which the two runs have different values; None stands for not set."""
    names = [*first.settings, *(name for name in second.settings if name not in first.settings)]
    pairs = {name: (first.settings.get(name), second.settings.get(name)) for name in names}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and name.split(".")[0] not in NOT_COMPARED
    }
