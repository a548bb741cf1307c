"""Kill training at random moments, again and again: nothing is lost but the steps since the last save.

    python benchmarks/kill_training.py --kills 50
    python benchmarks/kill_training.py --kills 3 --seed 5     # the short form, for every change

Trains a tiny network in a process of its own and kills it with SIGKILL: a third of the times while a file is being
written, the others after a random number of steps or of seconds (which may fall into a gate, an encoding, or the
start). Then it is resumed, and killed again. After every kill each checkpoint must load whole, and no more than one
save interval of steps may be gone. At the end everything that is left, weights, averages, optimisers, controllers,
random numbers and log, must equal bit for bit what a run leaves that was never killed.

The processes are forked from one that has everything imported: Linux only.
"""

import argparse
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
if __name__ == "__main__":  # before PyTorch is loaded; a test that imports this keeps its own environment
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

from piano import piano_main  # noqa: E402
from piano.foundation.checkpoint_format import ROLES, checkpoint_path, complete_epochs, list_epochs, read_checkpoint  # noqa: E402
from piano.foundation.errors import EXIT_RUINED  # noqa: E402
from piano.foundation.run_log import read_history  # noqa: E402
from tests.same_run import assert_same, kept_content, log_without_clocks  # noqa: E402
from tests.tiny_run import write_config, write_dataset  # noqa: E402

SAVE_INTERVAL = 2
"""Steps of an epoch; every epoch is saved."""
SETTINGS = {
    "steps_per_epoch": SAVE_INTERVAL,
    "sample_seconds": 0.5,
    "sample_count": 1,
    "keep_every": 4,
    "model__dropout": 0.1,
}
EPOCHS_PER_KILL = 1.9
"""A run of so many epochs a kill is long enough to be killed that often."""
LONGEST_WAIT = 300.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="(default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args(argv)
    half = math.ceil(options.kills * EPOCHS_PER_KILL / 2)
    kill_again_and_again(
        options.kills, random.Random(options.seed), pretrain_epochs_g=half, pretrain_epochs_d=2, epochs=half
    )
    return 0


def kill_again_and_again(kills: int, moments: random.Random, **length: Any) -> None:
    """Kill a training of a length (settings) so often, and hold what is left against one never killed; says it.

    Raises SystemExit or AssertionError where something is lost, half, or not equal.
    """
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        for folder in (whole, broken):
            write_dataset(folder / "dataset")
            write_config(folder, **SETTINGS, **length)
        unbroken = start(whole)
        lost: list[int] = []
        while len(lost) < kills:
            process = start(broken)
            way = wait_for_moment(broken, process, moments, may_be_save=len(lost) % 3 == 0)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            lost.append(check(broken))
            print(
                f"kill {len(lost)}, {way}: {done(broken)} steps done, {lost[-1]} of them lost, "
                f"epoch {complete_epochs(broken / 'checkpoints')[-1:]}",
                flush=True,
            )
        last = start(broken)
        for process in (last, unbroken):
            process.join()
            if process.exitcode not in (0, EXIT_RUINED):  # so small a run is worth no hearing
                raise SystemExit(f"training ended with status {process.exitcode}")
        epochs = [complete_epochs(folder / "checkpoints") for folder in (whole, broken)]
        assert epochs[0] == epochs[1], epochs
        first, second = (folder / "checkpoints" for folder in (whole, broken))
        assert_same(kept_content(first, epochs[0][-1]), kept_content(second, epochs[0][-1]))
        whole_log, broken_log = log_without_clocks(first), log_without_clocks(second)
        print_difference(whole_log, broken_log)
        assert_same(whole_log, broken_log)
        left = [path.name for path in (broken / "checkpoints").rglob("*.part*")]
        assert not left, left
    if not lost:
        raise SystemExit("training ended before it could be killed")
    print(
        f"{len(lost)} kills; after each, every checkpoint loaded whole; steps lost: {statistics.mean(lost):.2f} "
        f"in the mean, at most {max(lost)} (a save interval is {SAVE_INTERVAL}); what is left in the end "
        "equals the run that was never killed, bit for bit, and so does its log"
    )


def print_difference(whole: list[dict], broken: list[dict]) -> None:
    """Name the kinds of lines of which one log has more than the other."""
    whole_kinds, broken_kinds = (
        Counter((entry.get("event", "step"), entry.get("stage"), entry.get("epoch")) for entry in log)
        for log in (whole, broken)
    )
    for name, extra in (("lost", whole_kinds - broken_kinds), ("too many", broken_kinds - whole_kinds)):
        for kind, count in extra.items():
            print(f"lines of the log {name}: {count} of {kind}", flush=True)


def train(folder: Path) -> None:
    """The training command, resuming if there is something to resume; quiet, but for a failure."""
    arguments = ["--config", str(folder / "config.yaml"), "--quiet"]
    if complete_epochs(folder / "checkpoints"):
        arguments.append("--resume")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    raise SystemExit(piano_main.main(arguments))


def start(folder: Path) -> BaseProcess:
    """Train in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=train, args=(folder,))
    process.start()
    return process


def wait_for_moment(folder: Path, process: BaseProcess, moments: random.Random, *, may_be_save: bool) -> str:
    """Wait until it is time to kill, or the process has ended; says what was waited for."""
    until = time.monotonic() + LONGEST_WAIT
    if may_be_save:
        number, before = moments.randint(0, 5), set()
        while time.monotonic() < until and process.is_alive() and len(before) <= number:
            before |= {path.name for path in (folder / "checkpoints").glob("*.part*")}
            time.sleep(0.0005)
        return "while a file was being written"
    if moments.random() < 0.2:
        process.join(moments.uniform(0.0, 4.0))
        return "after some seconds"
    target = done(folder) + moments.randint(1, 8)
    while time.monotonic() < until and process.is_alive() and done(folder) < target:
        time.sleep(0.01)
    process.join(moments.uniform(0.0, 1.0))
    return "after some steps"


def done(folder: Path) -> int:
    """Steps that the log says were taken."""
    steps = [entry["total_step"] + 1 for entry in read_history(folder / "checkpoints") if "step" in entry]
    return max(steps, default=0)


def check(folder: Path) -> int:
    """Every file that bears a checkpoint's name must load whole; returns the steps that are gone."""
    for role in ROLES:
        for epoch in list_epochs(folder / "checkpoints", role):
            read_checkpoint(checkpoint_path(folder / "checkpoints", role, epoch), role)
    kept = 0
    for epoch in complete_epochs(folder / "checkpoints"):
        steps = [
            read_checkpoint(checkpoint_path(folder / "checkpoints", role, epoch), role)["run"]["total_step"]
            for role in ROLES
        ]
        kept = max(kept, steps[0] if steps[0] == steps[1] else 0)
    lost = done(folder) - kept
    if lost > SAVE_INTERVAL:
        raise SystemExit(f"{lost} steps are lost")
    return lost


if __name__ == "__main__":
    raise SystemExit(main())
