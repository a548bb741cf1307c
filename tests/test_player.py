"""`musigan.load` in Python makes what the command makes, and costs nothing until it is called."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import musigan
from piano import generate_music
from piano.foundation.errors import AudioError, ConfigError
from piano.player import Player
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import SAMPLE_RATE, tonal_pairs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(build(), 3, folder, "generator")
    soundfile.write(folder / "prompt.wav", tonal_pairs(1, seed=5)[0, 0, 0], SAMPLE_RATE, "FLOAT")
    return folder


@pytest.fixture(scope="module")
def player(folder) -> Player:
    return musigan.load(folder, device="cpu")


def test_it_composes_and_continues_what_the_command_writes(folder, player, tmp_path):
    common = [
        "--checkpoints",
        str(folder),
        "--output",
        str(tmp_path),
        "--device",
        "cpu",
        "--seconds",
        "1.5",
        "--count",
        "1",
        "--steps",
        "2",
        "--seed",
        "3",
    ]
    assert generate_music.main(common) == 0
    assert generate_music.main([*common, "--prompt", str(folder / "prompt.wav")]) == 0
    made = {
        "seed3_sample_0000.wav": player.compose(1.5, seed=3, steps=2),
        "prompt_seed3_sample_0000.continuation.wav": player.continue_(folder / "prompt.wav", 1.5, seed=3, steps=2),
    }
    for name, waveform in made.items():
        written, rate = soundfile.read(tmp_path / name, dtype="float32")
        assert (waveform.dtype, waveform.shape) == (np.float32, (player.channels, round(1.5 * rate)))
        assert rate == player.sample_rate
        np.testing.assert_allclose(waveform[0], written, atol=1.5 / 2**15)


def test_what_it_saves_is_read_back(player, tmp_path):
    waveform = player.compose(1.0, steps=1)
    player.save(tmp_path / "mine.wav", waveform)
    np.testing.assert_allclose(soundfile.read(tmp_path / "mine.wav")[0], waveform[0], atol=1.5 / 2**15)


def test_mistakes_are_sentences(player, folder):
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="at least one sample"):
            player.compose(seconds)
    with pytest.raises(AudioError, match=r"gone\.wav"):
        player.continue_(folder / "gone.wav")


def test_the_door_is_light_and_has_a_version():
    code = "import sys, musigan; assert 'torch' not in sys.modules; print(musigan.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == musigan.installed_version()
