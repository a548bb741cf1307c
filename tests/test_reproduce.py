"""A sound says how it was made, is made again from that, and a sound that differs or has another model is told."""

import json
import shlex
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError

from piano import generate_music, reproduce
from piano.foundation.audio_io import write_audio
from piano.foundation.receipt import RadioPart, model_hash, read_receipt
from piano.reproduce import compare, main
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import SAMPLE_RATE, tonal_pairs


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A current folder with two models, a prompt and noise."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("model", 0), ("other", 1)):
        generator = build()
        with torch.no_grad():
            generator.autoencoder.decoder.head.bias.add_(0.1 * seed)
        save_checkpoint(generator, 3, Path(name), "generator")
    write_audio(Path("prompt.wav"), tonal_pairs(1, seed=5)[0, 0], SAMPLE_RATE)
    noise = torch.randn(1, 2 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0)).numpy()
    write_audio(Path("noise.wav"), 0.1 * noise, SAMPLE_RATE)
    return tmp_path


def make(*arguments: str) -> None:
    model = ["--checkpoints", "model", "--epoch", "3", "--output", "out", "--device", "cpu", "--threads", "1"]
    assert generate_music.main([*model, "--steps", "2", "--phase-iterations", "2", "--seconds", "1", *arguments]) == 0


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["--count", "2", "--seed", "7"], ["seed7_sample_0000.wav", "seed7_sample_0001.wav"]),
        (["--count", "1", "--format", "flac"], ["seed0_sample_0000.flac"]),
        (["--count", "1", "--format", "mp3"], ["seed0_sample_0000.mp3"]),
        (["--count", "1", "--noise", "noise.wav"], ["noise_seed0_sample_0000.wav"]),
        (
            ["--count", "1", "--prompt", "prompt.wav"],
            ["prompt_seed0_sample_0000.full.wav", "prompt_seed0_sample_0000.continuation.wav"],
        ),
        (["--reconstruct", "prompt.wav"], ["prompt.reconstruction.wav"]),
    ],
)
def test_what_was_made_is_made_again_identically(here, capsys, arguments, files):
    make(*arguments)
    for name in files:
        capsys.readouterr()
        assert main([f"out/{name}"]) == 0
        assert capsys.readouterr().out.startswith(f"out/{name}: identical, all ")


def test_a_receipt_says_everything_and_nothing_about_other_folders(here):
    make("--count", "1", "--prompt", str(here / "prompt.wav"))
    with soundfile.SoundFile("out/prompt_seed0_sample_0000.continuation.wav") as file:
        values = json.loads(file.comment)
    generator = build()
    assert values["model"] == model_hash(generator.state_dict(), generator.keywords)
    assert (values["kind"], values["folder"], values["epoch"]) == ("continuation", "model", 3)
    assert (values["seed"], values["item"], values["steps"], values["threads"]) == (0, 0, 2, 1)
    assert values["source"]["name"] == "prompt.wav"
    assert values["versions"]["torch"] == torch.__version__
    assert str(here) not in json.dumps(values)
    words = shlex.split(values["musigan"])
    assert words[:2] == ["musigan", "generate"]
    before = Path("out/prompt_seed0_sample_0000.continuation.wav").read_bytes()
    assert generate_music.main([*words[2:], "--output", "again"]) == 0
    assert Path("again/prompt_seed0_sample_0000.continuation.wav").read_bytes() == before


def test_a_file_with_a_receipt_is_a_plain_wav_to_everybody_else(here):
    make("--count", "1")
    with wave.open("out/seed0_sample_0000.wav") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE)
        assert file.getnframes() == SAMPLE_RATE


def test_a_changed_sample_is_told_with_its_size(here, capsys):
    make("--count", "1")
    path = Path("out/seed0_sample_0000.wav")
    sound, rate = soundfile.read(path, dtype="int16")
    with soundfile.SoundFile(path) as file:
        comment = file.comment
    sound[100] = sound[100] + 3277 if sound[100] < 0 else sound[100] - 3277
    with soundfile.SoundFile(path, "w", samplerate=rate, channels=1, subtype="PCM_16") as file:
        file.comment = comment
        file.write(sound)
    assert main([str(path)]) == 1
    assert "differs: at most 0.1 of full scale, signal to difference" in capsys.readouterr().out


def test_the_difference_of_two_sounds_is_measured():
    first = np.array([[0.5], [-0.5], [0.5], [-0.5]], dtype=np.float32)
    second = first + np.array([[0.05], [0.0], [0.0], [0.0]], dtype=np.float32)
    found = compare(first, second)
    assert found.largest == pytest.approx(0.05, rel=1e-5)
    assert found.ratio_db == pytest.approx(10 * np.log10(1.0 / 0.0025), abs=0.01)
    assert not compare(first, first[:3]).is_identical
    assert "4 samples, now 3;" in compare(first, first[:3]).sentence()


def test_another_model_is_refused_and_the_right_one_elsewhere_is_taken(here, capsys):
    make("--count", "1")
    capsys.readouterr()
    Path("model").rename("moved")
    for arguments, message in (
        ([], "no generator checkpoint in model. Train first: musigan prepare FOLDER"),
        (["--checkpoints", "other"], "is another model"),
    ):
        assert main(["out/seed0_sample_0000.wav", *arguments]) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        assert message in sentence
    assert main(["out/seed0_sample_0000.wav", "--checkpoints", "moved", "--output", "mine.wav"]) == 0
    again, before = (soundfile.read(path)[0] for path in ("mine.wav", "out/seed0_sample_0000.wav"))
    np.testing.assert_array_equal(again, before)


def test_a_prompt_that_is_gone_or_changed_is_told(here, capsys):
    make("--count", "1", "--prompt", "prompt.wav")
    Path("prompt.wav").rename("kept.wav")
    file = "out/prompt_seed0_sample_0000.full.wav"
    assert main([file]) == 2
    assert "made from prompt.wav, which is not here. Name it with --source" in capsys.readouterr().err
    assert main([file, "--source", "noise.wav"]) == 2
    assert "noise.wav is not the file it was made from" in capsys.readouterr().err
    assert main([file, "--source", "kept.wav"]) == 0


def test_a_prompt_is_found_in_the_folder_above_the_sound(here, monkeypatch, capsys):
    make("--count", "1", "--prompt", "prompt.wav")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    words = ["../out/prompt_seed0_sample_0000.full.wav", "--checkpoints", "../model"]
    assert main(words) == 0
    (here / "prompt.wav").write_bytes((here / "noise.wav").read_bytes())  # of that name, and not it
    assert main(words) == 2
    assert "made from prompt.wav, which is not here" in capsys.readouterr().err


def test_a_given_away_model_has_the_hash_of_its_checkpoint_and_half_of_it_another(here):
    generator = build()
    state = generator.state_dict()
    assert model_hash(dict(reversed(state.items())), generator.keywords) == model_hash(state, generator.keywords)
    changed = {name: value.clone() for name, value in state.items()}
    changed["autoencoder.decoder.head.bias"].view(torch.int32)[0] ^= 1  # the last bit of one number
    assert model_hash(changed, generator.keywords) != model_hash(state, generator.keywords)
    make("--count", "1")
    assert read_receipt(Path("out/seed0_sample_0000.wav")).model == model_hash(state, generator.keywords)


def test_a_copy_goes_to_a_new_folder_too_and_a_bad_place_is_found_out_before_composing(here, capsys, monkeypatch):
    make("--count", "1")
    assert main(["out/seed0_sample_0000.wav", "--output", "new/folder/again.wav"]) == 0
    assert Path("new/folder/again.wav").is_file()
    monkeypatch.setattr("piano.reproduce.open_matching", None)  # too early to be called
    capsys.readouterr()
    for place, reason in (
        ("out", "out is a folder"),
        ("prompt.wav/again.wav", "cannot make prompt.wav: it is a file"),
        ("prompt.wav", "prompt.wav is there already, and nothing is replaced"),
        ("out/seed0_sample_0000.wav", "is there already, and nothing is replaced"),
    ):
        kept = {path: path.read_bytes() for path in Path().rglob("*.wav")}
        assert main(["out/seed0_sample_0000.wav", "--output", place]) == 2
        assert {path: path.read_bytes() for path in Path().rglob("*.wav")} == kept
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert reason in line


def test_threads_are_those_of_the_receipt_where_composing_overlaps(here, capsys, monkeypatch):
    """`generate` gives half of the threads to each of the two that overlap, and the receipt says how many computed."""
    monkeypatch.chdir(here)
    asked = ["--checkpoints", "model", "--epoch", "3", "--output", "out", "--device", "cpu", "--threads", "2"]
    assert generate_music.main([*asked, "--seconds", "1", "--count", "1", "--steps", "2"]) == 0
    file = Path("out/seed0_sample_0000.wav")
    receipt = read_receipt(file)
    computing = []
    monkeypatch.setattr(
        reproduce, "file_again", lambda *given, **named: computing.append(torch.get_num_threads()) or file
    )
    capsys.readouterr()
    assert reproduce.main([str(file)]) == 0
    assert computing == [receipt.threads]
    assert "identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    "radio",
    [
        {"begin": 2**39, "moves": [{"at": 0, "end": 0, "steps": 1}]},
        {"begin": 0, "moves": [{"at": 0, "end": 2**40, "steps": 1}]},
        {"begin": 0, "moves": [{"at": 0, "end": 0, "steps": 1, "near": 5000}]},
        {"begin": 0, "moves": [{"at": 0, "end": 0, "steps": 1, "between": [3, -70_000]}]},
    ],
)
def test_a_radio_that_no_radio_was_is_no_receipt(radio):
    with pytest.raises(ValidationError):
        RadioPart.model_validate(radio)
