"""Two CPU processes that share a batch learn what one process learns, started by the same command."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from piano.foundation.checkpoint_format import checkpoint_path, complete_epochs
from piano.foundation.errors import EXIT_RUINED
from piano.foundation.run_log import read_history
from tests.tiny_run import write_config, write_dataset

ROOT = Path(__file__).resolve().parent.parent


def train(folder: Path, devices: int) -> Path:
    """Train a tiny run in `devices` processes; the folder of its checkpoints."""
    write_dataset(folder / "dataset")
    config = write_config(folder)
    command = [
        sys.executable,
        str(ROOT / "piano" / "piano_main.py"),
        "--config",
        str(config),
        "--devices",
        str(devices),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, EXIT_RUINED), done.stderr[-2000:]
    return folder / "checkpoints"


def test_two_processes_learn_what_one_learns(tmp_path):
    one, two = train(tmp_path / "one", 1), train(tmp_path / "two", 2)
    assert complete_epochs(one) == complete_epochs(two)
    pretrained = max(entry["epoch"] for entry in read_history(one) if entry["stage"] == "flow" and "step" in entry)
    for folder_epoch in (1, pretrained):
        first, second = (
            torch.load(checkpoint_path(folder, "generator", folder_epoch), weights_only=True)["model"]
            for folder in (one, two)
        )
        for key, value in first.items():
            torch.testing.assert_close(
                second[key], value, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
            )
    # The judges compare items with the rest of their own process's batch, so the adversarial stages only come close.
    losses = [
        [entry["professor_loss"] for entry in read_history(folder) if "professor_loss" in entry]
        for folder in (one, two)
    ]
    assert len(losses[0]) == len(losses[1])
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 0.3
    lines = [entry["total_step"] for entry in read_history(two) if "step" in entry]
    assert lines == sorted(set(lines))


def test_every_process_has_its_threads_and_the_judges_memory_of_all(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(
        "import torch\nfrom piano.foundation.runtime import start_runtime\n"
        "runtime = start_runtime(device='cpu', precision='32', threads=2, devices=2)\n"
        "from piano.discriminator import Judgement, Professor\n"
        "rank = runtime.fabric.global_rank\n"
        "open(f'rank{rank}', 'w').write(str(torch.get_num_threads()))\n"
        "professor = Professor(4, 8, 2, 1)\n"
        "judged = Judgement({}, [torch.full((3, 8), 1.0 + rank)])\n"
        "professor.remember(judged, is_real=True, gather=runtime.gather)\n"
        "torch.save(professor.minibatch.queue, f'queue{rank}')\n",
        encoding="ascii",
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["2", "2"]
    first, second = (torch.load(tmp_path / f"queue{rank}", weights_only=True) for rank in range(2))
    assert torch.equal(first, second)
    assert first[1, :7, 0].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0]
