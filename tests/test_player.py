"""`musigan.load` in Python makes what the command makes, and costs nothing until it is called."""

import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import musigan
from piano import evaluate, generate_music
from piano.evaluation.bootstrap import Figure
from piano.evaluation.outcome import Evaluation
from piano.evaluation.score_table import plain
from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.sound_array import Sound
from piano.player import Player
from piano.vae_utilities import save_checkpoint
from tests.make_audio import write_music
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


def test_a_variation_and_music_like_a_file_are_those_of_the_command(folder, player, tmp_path):
    fixed = ["--checkpoints", str(folder), "--output", str(tmp_path), "--device", "cpu", "--count", "1", "--seed", "3"]
    prompt = folder / "prompt.wav"
    assert generate_music.main([*fixed, "--vary", str(prompt), "--amount", "0.4"]) == 0
    assert generate_music.main([*fixed, "--like", str(prompt), "--seconds", "1.5", "--steps", "2"]) == 0
    made = {
        "prompt_seed3_sample_0000.variation.wav": player.vary(prompt, 0.4, seed=3),
        "like_prompt_seed3_sample_0000.wav": player.generate(1.5, seed=3, steps=2, like=prompt),
    }
    for name, waveform in made.items():
        np.testing.assert_allclose(waveform[0], soundfile.read(tmp_path / name)[0], atol=1.5 / 2**15)


def test_a_stream_holds_the_same_music_in_pieces_and_need_not_end(player):
    whole = player.generate(6.0, seed=2, steps=2)
    assert np.array_equal(whole, player.compose(6.0, seed=2, steps=2))
    pieces = list(player.stream(6.0, seed=2, steps=2))
    assert len(pieces) > 1 and all(piece.sample_rate == SAMPLE_RATE for piece in pieces)
    joined = np.concatenate(pieces, axis=-1)
    np.testing.assert_allclose(whole, joined * (np.abs(whole).max() / np.abs(joined).max()), atol=1e-6)
    endless = player.stream(seed=2, steps=2)
    np.testing.assert_array_equal(next(endless)[:, :1000], pieces[0][:, :1000])


def test_latents_come_out_and_go_back(folder, player):
    latents = player.encode(folder / "prompt.wav")
    frames = 16384 // player.generator.hop_samples
    assert latents.dtype == np.float32 and latents.shape == (frames, player.generator.latent_dim)
    sound = player.decode(latents)
    assert sound.seconds == pytest.approx(len(latents) / player.frames_per_second)
    for wrong in (latents[:, :3], latents[0], np.full_like(latents, np.nan)):
        with pytest.raises(ConfigError, match="latents must"):
            player.decode(wrong)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        player.vary(folder / "prompt.wav", 1.5)


def test_a_sound_is_an_array_that_a_notebook_plays(player, tmp_path):
    sound = player.generate(1.0, steps=1)
    part = sound[:, :10]
    assert isinstance(part, Sound) and part.sample_rate == SAMPLE_RATE
    html = sound._repr_html_()
    assert html is not None
    held = base64.b64decode(html.split("base64,")[1].split('"')[0])
    samples, rate = soundfile.read(io.BytesIO(held))
    assert rate == SAMPLE_RATE and len(samples) == SAMPLE_RATE
    sound.save(tmp_path / "it.flac")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "it.flac")[0], samples)
    assert Sound(sound[0], SAMPLE_RATE)._repr_html_() is None and np.zeros((1, 4)).view(Sound)._repr_html_() is None


def test_what_it_saves_is_read_back(player, tmp_path):
    waveform = player.compose(1.0, steps=1)
    player.save(tmp_path / "mine.wav", waveform)
    np.testing.assert_allclose(soundfile.read(tmp_path / "mine.wav")[0], waveform[0], atol=1.5 / 2**15)


def test_mistakes_are_sentences(player, folder):
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="at least one sample"):
            player.compose(seconds)
    with pytest.raises(ConfigError, match="without end"):
        player.generate(float("inf"))
    with pytest.raises(ConfigError, match="at least one sample"):
        player.stream(0.0)
    with pytest.raises(AudioError, match=r"gone\.wav"):
        player.continue_(folder / "gone.wav")


def test_the_door_is_light_and_has_a_version():
    code = "import sys, musigan; assert 'torch' not in sys.modules; print(musigan.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == musigan.installed_version()


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Songs to hold its music against."""
    folder = tmp_path_factory.mktemp("music")
    for index in range(5):
        write_music(folder / f"{index}.wav", index, 9.0, SAMPLE_RATE)
    return folder


def test_it_is_measured_as_the_command_measures(folder, player, music, tmp_path, capsys):
    torch.set_num_threads(1)
    words = ["--checkpoints", str(folder), "--real", str(music), "--train", str(music), "--output", str(tmp_path)]
    words += ["--count", "5", "--seconds", "4.5", "--prompts", "1", "--steps", "1", "--seed", "2", "--device", "cpu"]
    assert evaluate.main([*words, "--threads", "1"]) == 0
    told = json.loads((tmp_path / "scores.json").read_text())
    capsys.readouterr()
    found = player.evaluate(music, train=music, count=5, seconds=4.5, prompts=1, steps=1, seed=2)
    assert capsys.readouterr().out == ""
    assert isinstance(found, Evaluation) and all(isinstance(figure, Figure) for figure in found.measures.values())
    row = told["sets"]["samples"]
    assert {"value": found.score, "low": found.interval[0], "high": found.interval[1]} == row.pop("kernel_score")
    assert plain(found.measures) == row
    assert plain(found.aspects) == told["gaps"]
    assert {name: plain(each.mean) for name, each in found.descriptors.items()} == {
        name: each["mean"] for name, each in told["descriptors"].items()
    }
    assert plain(found.details.memorisation) == told["memorisation"]
    assert "kernel" in found.table and found.words
    assert any("learned from" in note for note in found.notes)


def test_few_songs_are_a_note_and_too_few_clips_a_sentence(player, music, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(music / "0.wav", few)
    found = player.evaluate(few, count=4, seconds=2.0, prompts=0, steps=1)
    assert any(note.startswith("Only 1 song in") for note in found.notes)
    for wrong in ({"count": 3}, {"seconds": 1.0}, {"seconds": float("nan")}, {"seeds": 0}, {"prompts": -1}):
        with pytest.raises(ConfigError):
            player.evaluate(music, **wrong)
    with pytest.raises(ConfigError, match="copies"):
        player.evaluate(music, train=music, seconds=2.0)
    with pytest.raises(AudioError):
        player.evaluate(tmp_path / "none")


def test_a_type_checker_knows_what_load_returns(tmp_path):
    checker = Path(sys.executable).with_name("pyright")
    if not checker.exists():
        pytest.skip("no pyright")
    lines = ["import musigan", 'reveal_type(musigan.load("shipped").generate(seconds=1))']
    lines += ['reveal_type(musigan.load().evaluate("music").interval)', "musigan.load().generate(second=1)"]
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    settings = {"extraPaths": [str(ROOT)], "include": ["user.py"], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [checker, "--pythonpath", sys.executable, "--outputjson", "--project", tmp_path]
    told = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)["generalDiagnostics"]
    said = [each["message"] for each in told]
    assert said[0].endswith('is "Sound"') and said[1].endswith('is "tuple[float, float]"')
    assert "second" in said[2] and len(said) == 3
