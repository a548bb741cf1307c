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


@pytest.mark.parametrize("place", ["song/sound.npy", "shards/shard_0000_0123abcd.npy"])
def test_half_a_sound_is_noticed(tmp_path, place: str) -> None:
    sound = tmp_path / place
    sound.parent.mkdir()
    np.save(sound, np.zeros((100, 1), np.int16))
    assert kill_prepare.check_visible(tmp_path) == 1
    np.save(sound, np.zeros((100, 1), np.float32))
    with pytest.raises(SystemExit, match="is not whole"):
        kill_prepare.check_visible(tmp_path)
    sound.write_bytes(sound.read_bytes()[:-4])
    with pytest.raises(ValueError, match="array"):
        kill_prepare.check_visible(tmp_path)


def test_a_song_that_is_lost_or_made_again_is_noticed() -> None:
    before = kill_prepare.Finished("sound", 7)
    assert not kill_prepare.is_lost(before, before)
    assert not kill_prepare.is_lost(before, kill_prepare.Finished("sound", None))  # packed
    assert kill_prepare.is_lost(before, None)
    assert kill_prepare.is_lost(before, kill_prepare.Finished("other", 7))
    assert kill_prepare.is_lost(before, kill_prepare.Finished("sound", 8))
    assert kill_prepare.is_lost(kill_prepare.Finished("sound", None), kill_prepare.Finished("sound", 7))
