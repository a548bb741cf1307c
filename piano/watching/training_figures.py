"""How a run was trained, from what it wrote: time, steps, its last losses, its settings."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from piano.foundation.run_log import read_history
from piano.run_settings import read_settings
from piano.watching.curves import stage_curves

LAST_SHARE = 0.1
"""Part of a stage, at its end, that its last losses are the median of."""


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
        f"{stage}.{curve.name}": float(np.median(curve.values[-max(1, round(LAST_SHARE * len(curve.values))) :]))
        for stage, curves in stage_curves(steps).items()
        for curve in curves
    }
    return Training(float(steps[-1].get("seconds", 0.0)), counts, losses, read_settings(folder))
