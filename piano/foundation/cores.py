"""How many processor cores this process may use: what the system, its affinity mask and a container's quota leave."""

import math
import os
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Cores this process may use, at least 1.

    A container with a quota of two cores sees all 64 of its machine; more workers than the quota only take turns.

    Parameters
    ----------
    root : Path
        Where `proc` and `sys` lie.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Cores that the control groups of this process allow: its own group's and those of all groups above it."""
    found = []
    for version, group in _groups(root):
        base = root / "sys/fs/cgroup" / ("" if version == 2 else "cpu")
        inside = Path(group.lstrip("/"))
        for place in (inside, *inside.parents):
            quota = _quota_of(base / place, version)
            if quota is not None:
                found.append(quota)
    return found


def _groups(root: Path) -> list[tuple[int, str]]:
    """(version, path) of the groups that may limit the processor."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return []
    groups = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            groups.append((2, path))
        elif "cpu" in controllers.split(","):
            groups.append((1, path))
    return groups


def _quota_of(folder: Path, version: int) -> float | None:
    try:
        if version == 2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        allowed = float(quota) / float(period)  # no limit is `max`, or -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return allowed if allowed > 0 and math.isfinite(allowed) else None
