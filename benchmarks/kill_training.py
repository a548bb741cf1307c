"""Kill training at random moments, again and again: nothing is lost but the steps since the last save.

    python benchmarks/kill_training.py --kills 20

Trains a tiny network in a process of its own, kills it with SIGKILL after a random time (often in the middle of a
save), resumes, and so on. After every kill each checkpoint must load whole. At the end the run is finished, and its
weights must equal, bit for bit, those of a run that was never killed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from piano.foundation.checkpoint_format import (  # noqa: E402
    ROLES,
    checkpoint_path,
    complete_epochs,
    list_epochs,
    read_checkpoint,
)
from tests.tiny_run import write_config, write_dataset  # noqa: E402

LENGTH = {"pretrain_epochs_g": 80, "pretrain_epochs_d": 10, "epochs": 60, "steps_per_epoch": 2}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        for folder in (whole, broken):
            write_dataset(folder / "dataset")
            write_config(folder, **LENGTH)
        began = time.monotonic()
        finish(whole)
        whole_seconds = time.monotonic() - began
        killed, in_save = 0, 0
        while killed < options.kills:
            process = start(broken)
            try:
                process.wait(timeout=4.0 + moments.random() * max(1.0, whole_seconds / 4))
            except subprocess.TimeoutExpired:
                # One in three waits for a save to begin: half-written files are what this is about.
                if killed % 3 == 0:
                    in_save += wait_for_save(broken, process)
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                check(broken)
                print(
                    f"kill {killed}: epochs {complete_epochs(broken / 'checkpoints')[-1:] or 'none yet'}",
                    flush=True,
                )
                continue
            if process.returncode != 0:
                print(process.stderr.read() if process.stderr else "", file=sys.stderr)
                raise SystemExit(f"the run ended by itself with status {process.returncode}")
            print(f"the run was finished after {killed} kills", flush=True)
            break
        finish(broken)
        same = equal(whole, broken)
    print(f"{killed} kills, {in_save} of them while a file was being written; every checkpoint loaded whole; "
          f"final weights {'equal' if same else 'DIFFER FROM'} those of the run that was never killed")  # fmt: skip
    return 0 if same else 1


def start(folder: Path) -> subprocess.Popen:
    """The training command, resuming if there is something to resume."""
    command = [sys.executable, str(ROOT / "piano" / "piano_main.py"), "--config", str(folder / "config.yaml")]
    if complete_epochs(folder / "checkpoints"):
        command.append("--resume")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(folder: Path) -> None:
    """Train to the end."""
    process = start(folder)
    _, error = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"training failed: {error}")


def wait_for_save(folder: Path, process: subprocess.Popen) -> int:
    """Until a temporary file is there (1), or two seconds have passed (0)."""
    until = time.monotonic() + 2.0
    while time.monotonic() < until and process.poll() is None:
        if any((folder / "checkpoints").glob("*.part*")):
            return 1
    return 0


def check(folder: Path) -> None:
    """Every file that bears a checkpoint's name must load whole."""
    for role in ROLES:
        for epoch in list_epochs(folder / "checkpoints", role):
            read_checkpoint(checkpoint_path(folder / "checkpoints", role, epoch), role)


def equal(first: Path, second: Path) -> bool:
    """Whether two runs ended with the same weights."""
    for role in ROLES:
        epochs = [complete_epochs(folder / "checkpoints")[-1] for folder in (first, second)]
        states = [
            read_checkpoint(checkpoint_path(folder / "checkpoints", role, epoch), role)["model"]
            for folder, epoch in zip((first, second), epochs, strict=True)
        ]
        if epochs[0] != epochs[1] or any(
            not torch.equal(states[0][key], states[1][key]) for key in states[0]
        ):
            return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
