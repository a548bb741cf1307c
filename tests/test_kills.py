"""The killing commands of benchmarks/, in a short form: what they promise holds, and they can fail."""

import random

import kill_prepare
import kill_training
import numpy as np
import pytest

from piano.foundation.checkpoint_format import checkpoint_path
from piano.foundation.run_log import LOG_NAME
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build


def test_a_killed_training_loses_nothing(capsys) -> None:
    kill_training.kill_again_and_again(
        1, random.Random(1), pretrain_epochs_g=2, pretrain_epochs_d=0, epochs=0, stages__flow__share=0.0
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 kills; after each, every checkpoint loaded whole")


def test_a_killed_preparation_loses_nothing(capsys) -> None:
    assert kill_prepare.main(["--kills", "1", "--songs", "3", "--workers", "1"]) == 0
    assert "nothing lost, nothing half written, same result" in capsys.readouterr().out


def test_half_a_checkpoint_and_lost_steps_are_noticed(tmp_path) -> None:
    folder = tmp_path / "checkpoints"
    save_checkpoint(build(), 1, folder, "generator")
    (folder / LOG_NAME).write_text("".join(f'{{"step": {n}, "total_step": {n}}}\n' for n in range(3)))
    with pytest.raises(SystemExit, match="3 steps are lost"):
        kill_training.check(tmp_path)
    path = checkpoint_path(folder, "generator", 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Exception, match="damaged or cut off"):
        kill_training.check(tmp_path)


def test_half_a_chunk_is_noticed(tmp_path) -> None:
    chunk = tmp_path / "song" / "chunk_0000.npy"
    chunk.parent.mkdir()
    np.save(chunk, np.zeros((1, 100), np.float32))
    assert kill_prepare.check_visible(tmp_path) == 1
    np.save(chunk, np.full((1, 100), 2.0, np.float32))
    with pytest.raises(SystemExit, match="is not a whole chunk"):
        kill_prepare.check_visible(tmp_path)
    chunk.write_bytes(chunk.read_bytes()[:-4])
    with pytest.raises(ValueError, match="array"):
        kill_prepare.check_visible(tmp_path)
