"""When does the doctor say that a run no longer gets better? Planted curves whose best time is known: a table.

    python benchmarks/stop_now.py --curves 20

Curves of 8 to 40 scores at even times, with 5 to 30 % of scatter: falling to the end; falling and then standing still;
falling and then rising. `named` is the share whose best time, named at the end of the run, lies within a tenth of the
planted one; `said` the share of which it is said within a tenth of the planted time (of falling ones: not before nine
tenths of the run); `kept` the share whose true score at the named time is at most a tenth above the lowest; `late` the
median of the time at which it is said over the planted one.
"""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.doctor.stopping import FEWEST_POINTS, look_back

KINDS = ("falls", "stands still", "rises")
COUNTS = (8, 16, 40)
SCATTERS = (0.05, 0.15, 0.3)
HOUR = 3600.0


class Planted(NamedTuple):
    """A made run."""

    times: NDArray
    truth: NDArray
    scores: NDArray
    """With scatter."""
    best: float
    """Seconds."""


def plant(kind: str, count: int, scatter: float, random: np.random.Generator) -> Planted:
    """A curve of one of KINDS."""
    times = HOUR * np.arange(1, count + 1) / count
    best = HOUR if kind == "falls" else HOUR * random.uniform(0.4, 0.75)
    slope, rise = random.uniform(0.4, 0.9), random.uniform(0.5, 1.5) if kind == "rises" else 0.0
    truth = 0.2 * (np.minimum(times, best) / best) ** -slope * (np.maximum(times, best) / best) ** rise
    return Planted(times, truth, truth * np.exp(scatter * random.standard_normal(count)), best)


class Told(NamedTuple):
    """What the rule made of it."""

    is_named: bool
    is_said: bool
    late: float
    cost: float


def tell(planted: Planted) -> Told:
    """Point by point, as in a run."""
    points = [*zip(planted.times, planted.scores, strict=True)]
    said, found = np.nan, look_back(points)
    for count in range(FEWEST_POINTS, len(points) + 1):
        if look_back(points[:count]).is_over:
            said = points[count - 1][0]
            break
    ratio = said / planted.best
    is_falling = planted.best == planted.times[-1]
    is_said = not ratio < 0.9 if is_falling else 0.9 <= ratio <= 1.1
    truth = np.interp(found.best, planted.times, planted.truth)
    return Told(
        abs(found.best / planted.best - 1.0) <= 0.1, bool(is_said), float(ratio), float(truth / planted.truth.min())
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=20, help="of each kind, number and scatter (default: 20)")
    options = parser.parse_args()
    print("kind          points  scatter  named   said   kept   late")
    for kind in KINDS:
        for count in COUNTS:
            for scatter in SCATTERS:
                random = np.random.default_rng([KINDS.index(kind), count, round(100 * scatter)])
                told = [tell(plant(kind, count, scatter, random)) for _ in range(options.curves)]
                named, said = (np.mean([getattr(one, name) for one in told]) for name in ("is_named", "is_said"))
                ratios = [one.late for one in told if np.isfinite(one.late)]
                late = f"{np.median(ratios):6.2f}" if ratios else "     -"
                kept = np.mean([one.cost <= 1.1 for one in told])
                print(
                    f"{kind:12}  {count:6}  {scatter:7.0%}  {named:5.0%}  {said:5.0%}  {kept:5.0%} {late}", flush=True
                )


if __name__ == "__main__":
    main()
