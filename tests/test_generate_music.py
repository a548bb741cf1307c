"""generate_music writes what it promises: names, rates, lengths, the same bytes for a seed, clear refusals."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from piano.foundation.audio_io import read_audio, write_audio
from piano.generate_music import main
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import SAMPLE_RATE, tonal_pairs


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for epoch in (3, 12):
        save_checkpoint(build(), epoch, folder, "generator")
    return folder


@pytest.fixture(scope="module")
def prompt(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompt") / "fragment.flac"
    left = tonal_pairs(1, seed=5)[0, 0, 0]
    write_audio(path, np.stack([left, 0.5 * left]), 11025)
    return path


def run(checkpoints: Path, output: Path, *arguments: str) -> int:
    return main(["--checkpoints", str(checkpoints), "--output", str(output), "--device", "cpu", "--steps", "2",
                 "--phase-iterations", "2", *arguments])  # fmt: skip


def test_samples_have_name_rate_length_and_differ(checkpoints, tmp_path):
    assert run(checkpoints, tmp_path, "--seconds", "1.5", "--count", "3") == 0
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"seed0_sample_000{n}.wav" for n in range(3)]
    sounds = []
    for path in files:
        sound, rate = soundfile.read(path)
        assert rate == SAMPLE_RATE
        assert len(sound) == round(1.5 * SAMPLE_RATE)
        assert np.sqrt(np.mean(sound**2)) > 1e-4
        sounds.append(sound)
    assert not np.allclose(sounds[0], sounds[1], atol=1e-3)


def test_the_same_seed_gives_the_same_bytes(checkpoints, tmp_path):
    for folder in ("a", "b"):
        assert run(checkpoints, tmp_path / folder, "--seconds", "1", "--count", "1", "--seed", "9") == 0
    first, second = ((tmp_path / folder / "seed9_sample_0000.wav").read_bytes() for folder in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_every_format_is_written_and_read_back(checkpoints, tmp_path, suffix):
    assert run(checkpoints, tmp_path, "--seconds", "1", "--count", "1", "--format", suffix) == 0
    sound = read_audio(tmp_path / f"seed0_sample_0000.{suffix}", sample_rate=SAMPLE_RATE, channels=1)
    assert abs(sound.shape[1] - SAMPLE_RATE) < 0.1 * SAMPLE_RATE


def test_a_continuation_begins_with_the_prompt_unaltered(checkpoints, prompt, tmp_path):
    assert run(checkpoints, tmp_path, "--prompt", str(prompt), "--seconds", "1", "--count", "1") == 0
    full, _ = soundfile.read(tmp_path / "fragment_seed0_sample_0000.full.wav", dtype="float32")
    continuation, _ = soundfile.read(
        tmp_path / "fragment_seed0_sample_0000.continuation.wav", dtype="float32"
    )
    heard = read_audio(prompt, sample_rate=SAMPLE_RATE, channels=1)[0]
    assert len(continuation) == SAMPLE_RATE
    assert len(full) == len(heard) + len(continuation)
    np.testing.assert_allclose(full[: len(heard)], heard, atol=2 / 2**15)
    np.testing.assert_allclose(full[len(heard) :], continuation, atol=2 / 2**15)


def test_a_quiet_prompt_is_continued_as_quietly(checkpoints, prompt, tmp_path):
    loud = read_audio(prompt, sample_rate=SAMPLE_RATE, channels=1)
    quiet = tmp_path / "quiet.wav"
    write_audio(quiet, 0.1 * loud, SAMPLE_RATE)
    for path, folder in ((prompt, "loud"), (quiet, "quiet")):
        assert (
            run(checkpoints, tmp_path / folder, "--prompt", str(path), "--seconds", "1", "--count", "1") == 0
        )
    levels = [
        np.std(soundfile.read(next((tmp_path / folder).glob("*_seed0_sample_0000.continuation.wav")))[0])
        for folder in ("loud", "quiet")
    ]
    assert levels[0] / levels[1] == pytest.approx(10.0, rel=0.1)


def test_a_reconstruction_is_as_long_as_its_file_and_equals_the_model_s_own(checkpoints, prompt, tmp_path):
    assert run(checkpoints, tmp_path, "--reconstruct", str(prompt)) == 0
    heard = read_audio(prompt, sample_rate=SAMPLE_RATE, channels=1)
    written, _ = soundfile.read(tmp_path / "fragment.reconstruction.wav", dtype="float32")
    assert len(written) == heard.shape[1]
    assert np.isfinite(written).all()


def test_a_noise_file_is_the_seed(checkpoints, tmp_path):
    for seed in (0, 1):
        noise = torch.randn(1, 3 * SAMPLE_RATE, generator=torch.Generator().manual_seed(seed)).numpy()
        write_audio(tmp_path / f"noise{seed}.wav", 0.1 * noise, SAMPLE_RATE)
        assert run(checkpoints, tmp_path / str(seed), "--noise", str(tmp_path / f"noise{seed}.wav"),
                   "--seconds", "2", "--count", "1") == 0  # fmt: skip
    first, second = (
        soundfile.read(tmp_path / str(seed) / f"noise{seed}_seed0_sample_0000.wav")[0] for seed in (0, 1)
    )
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "5"], "Try 3"),
        (["--epoch", "soon"], "a number, 'best' or 'latest'"),
        (["--prompt", "missing.mp3"], "missing.mp3"),
        (["--noise", "short.wav", "--seconds", "30"], "Give a longer file"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_two(
    checkpoints, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_audio(Path("short.wav"), 0.1 * np.ones((1, SAMPLE_RATE), dtype=np.float32), SAMPLE_RATE)
    assert run(checkpoints, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert "Traceback" not in error


def test_no_checkpoint_says_how_to_get_one(tmp_path, capsys):
    assert run(tmp_path / "nothing", tmp_path / "out") == 2
    assert "Train first" in capsys.readouterr().err
