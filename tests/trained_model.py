"""A tiny model that went through all stages, in a folder, and `musigan generate` with it."""

from pathlib import Path

from piano import generate_music
from piano.vae_utilities import save_checkpoint
from tests.tiny_run import start_run, tiny_config, train_all

EPOCH = 3


def save_trained(folder: Path) -> None:
    """Train in `run`, and leave the model in `model`."""
    run = start_run(tiny_config(folder / "run"))
    train_all(run)
    save_checkpoint(run.average.network, EPOCH, folder / "model", "generator")


def make(output: Path, *arguments: str) -> list[Path]:
    """What `generate` leaves in a folder with the model of the current one."""
    fixed = ["--checkpoints", "model", "--epoch", str(EPOCH), "--output", str(output), "--device", "cpu"]
    assert generate_music.main([*fixed, "--threads", "1", "--phase-iterations", "2", *arguments]) == 0
    return sorted(output.iterdir())
