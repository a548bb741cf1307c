"""`generate --output -`: one sound to a pipe as it is made, to its end or without one."""

import errno
import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from piano import generate_music
from piano.composer import Composer, Sampling
from piano.foundation.audio_io import write_audio
from piano.foundation.errors import AudioError
from piano.foundation.sound_pipe import UNKNOWN, require_a_pipe, wav_header, write_stream
from piano.vae_utilities import save_checkpoint
from tests.shown_commands import PROJECT
from tests.tiny_run import SAMPLE_RATE, start_run, tiny_config, tonal_pairs, train_all


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipe")
    run = start_run(tiny_config(folder / "run"))
    train_all(run)
    save_checkpoint(run.average.network, 3, folder / "model", "generator")
    write_audio(folder / "prompt.wav", tonal_pairs(1, seed=5)[0, 0], SAMPLE_RATE)
    return folder


FIXED = ["--checkpoints", "model", "--device", "cpu", "--threads", "1", "--steps", "2", "--phase-iterations", "1"]


def piped(place: Path, *arguments: str, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    return generated(place, "--output", "-", *arguments, shell=shell)


def generated(place: Path, *arguments: str, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    """By a process of its own, as any process decides once whether it uses the compiled loops."""
    words = [sys.executable, str(PROJECT / "musigan.py"), "generate", *FIXED, *arguments]
    command = " ".join(f"'{word}'" for word in words) + shell
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=place, capture_output=True, check=False, timeout=300
    )


def test_a_pipe_gets_the_samples_that_a_file_would_hold(place, tmp_path):
    done = piped(place, "--seconds", "3", "--seed", "4")
    assert done.returncode == 0, done.stderr
    kept = generated(place, "--output", str(tmp_path), "--seconds", "3", "--seed", "4", "--count", "1")
    assert kept.returncode == 0, kept.stderr
    with soundfile.SoundFile(io.BytesIO(done.stdout)) as file:
        assert (file.samplerate, file.channels, len(file)) == (SAMPLE_RATE, 1, 3 * SAMPLE_RATE)
    streamed, written = (
        soundfile.read(source, dtype="int16")[0]
        for source in (io.BytesIO(done.stdout), tmp_path / "seed4_sample_0000.wav")
    )
    np.testing.assert_array_equal(streamed, written)


def test_music_without_end_stops_when_its_reader_goes_and_says_nothing(place):
    done = piped(place, "--seconds", "inf", shell=" | head -c 200000")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 200_000
    assert struct.unpack("<I", done.stdout[40:44])[0] == UNKNOWN
    told = done.stderr.decode()
    assert "Traceback" not in told and "rror" not in told
    samples = np.frombuffer(done.stdout[44:], dtype="<i2")
    assert np.abs(samples[-SAMPLE_RATE:]).max() > 100


def test_endless_music_begins_like_that_of_any_length(place):
    composer = Composer(
        generate_music.build_generator(generate_music.load_checkpoint(place / "model", "generator", 3)),
        Sampling(2, 2, 1),
    )
    whole = torch.cat(list(composer.stream(6.0)), dim=-1)
    begin = torch.zeros(1, 0)
    for piece in composer.stream(float("inf")):
        begin = torch.cat([begin, piece], dim=-1)
        if begin.shape[-1] >= 4 * SAMPLE_RATE:
            break
    torch.testing.assert_close(begin[:, : 4 * SAMPLE_RATE], whole[:, : 4 * SAMPLE_RATE], rtol=0, atol=0)


def test_a_prompt_is_continued_into_a_pipe(place):
    done = piped(place, "--prompt", "prompt.wav", "--seconds", "1")
    assert done.returncode == 0 and len(done.stdout) == 44 + 2 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "inf"], "write it to a pipe with --output -"),
        (["--output", "-", "--count", "3"], "a pipe takes one sound"),
        (["--output", "-", "--format", "mp3"], "a pipe gets WAV"),
        (["--output", "-", "--reconstruct", "a.wav"], "--reconstruct writes files"),
        (["--output", "music.wav"], "--output music.wav is a folder"),
    ],
)
def test_what_a_pipe_cannot_take_is_said(capsys, arguments, message):
    with pytest.raises(SystemExit):
        generate_music.parse_arguments(arguments)
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_length_that_holds_no_sample_is_a_sentence_and_no_header(place):
    done = piped(place, "--seconds", "0.00002")
    assert (done.returncode, done.stdout) == (2, b"") and b"shorter than one sample" in done.stderr


def test_a_reader_of_windows_that_goes_ends_it_like_any_other_and_a_fault_of_the_disk_does_not(monkeypatch):
    refused: list[int] = []

    def write(code: int) -> None:
        def refuse(stream: object, data: bytes) -> None:
            refused.append(code)
            raise OSError(code, "refused")

        monkeypatch.setattr("piano.foundation.sound_pipe._write", refuse)
        write_stream([torch.zeros(1, 8)] * 3, sample_rate=SAMPLE_RATE, channels=1, seconds=1.0)

    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    for gone in (errno.EPIPE, errno.EINVAL, errno.ECONNRESET):
        write(gone)
    assert refused == [errno.EPIPE, errno.EINVAL, errno.ECONNRESET]  # nothing was tried a second time
    with pytest.raises(OSError, match="refused"):
        write(errno.ENOSPC)


def test_a_screen_gets_a_sentence_and_no_samples(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(AudioError, match="ffplay"):
        require_a_pipe()


def test_a_header_of_more_than_a_wav_can_count_says_that_nobody_knows():
    assert struct.unpack("<I", wav_header(sample_rate=44100, channels=2, samples=2**31)[40:])[0] == UNKNOWN
    header = wav_header(sample_rate=44100, channels=2, samples=10)
    assert struct.unpack("<4sI", header[:8]) == (b"RIFF", 76) and len(header) == 44
