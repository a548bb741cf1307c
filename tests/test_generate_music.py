"""generate_music writes what it promises: names, rates, lengths, the same bytes for a seed, clear refusals."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from piano.foundation.audio_io import read_audio, write_audio
from piano.foundation.decode_log import FAR_BEYOND, NOT_FINITE
from piano.foundation.errors import AudioError
from piano.foundation.prompts import CANCELLED, Heard, hear, without_fade_out, without_last_pause
from piano.foundation.receipt import read_receipt
from piano.foundation.runtime import fastest_threads
from piano.foundation.spooled_sound import SpooledSound
from piano.generate_music import main, measured_threads
from piano.piano_model import VariationalAttentionModel
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import SAMPLE_RATE, SMALL, tonal_pairs

ROOT = Path(__file__).resolve().parent.parent


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
    return main(
        [
            "--checkpoints",
            str(checkpoints),
            "--output",
            str(output),
            "--device",
            "cpu",
            "--steps",
            "2",
            "--phase-iterations",
            "2",
            *arguments,
        ]
    )


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
    continuation, _ = soundfile.read(tmp_path / "fragment_seed0_sample_0000.continuation.wav", dtype="float32")
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
        assert run(checkpoints, tmp_path / folder, "--prompt", str(path), "--seconds", "1", "--count", "1") == 0
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
        assert (
            run(
                checkpoints,
                tmp_path / str(seed),
                "--noise",
                str(tmp_path / f"noise{seed}.wav"),
                "--seconds",
                "2",
                "--count",
                "1",
            )
            == 0
        )
    first, second = (soundfile.read(tmp_path / str(seed) / f"noise{seed}_seed0_sample_0000.wav")[0] for seed in (0, 1))
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "5"], "Try 3"),
        (["--prompt", "missing.mp3"], "missing.mp3"),
        (["--noise", "short.wav", "--seconds", "30"], "Give a longer file"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_two(checkpoints, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_audio(Path("short.wav"), 0.1 * np.ones((1, SAMPLE_RATE), dtype=np.float32), SAMPLE_RATE)
    assert run(checkpoints, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert "Traceback" not in error


def test_no_checkpoint_says_how_to_get_one(tmp_path, capsys):
    assert run(tmp_path / "nothing", tmp_path / "out") == 2
    assert "Train first" in capsys.readouterr().err


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def music(seconds: float = 3.0) -> np.ndarray:
    """A mono prompt (1, samples) of usual level."""
    return tonal_pairs(1, seed=5)[0, :, 0].reshape(1, -1)[:, : round(seconds * SAMPLE_RATE)]


def test_nothing_is_replaced_and_the_same_sound_is_not_made_twice(checkpoints, tmp_path, capsys):
    def go(*arguments: str) -> list[str]:
        assert run(checkpoints, tmp_path, "--count", "1", *arguments) == 0
        return [Path(line).name for line in capsys.readouterr().out.split()]

    assert go("--seconds", "1") == ["seed0_sample_0000.wav"]
    first = (tmp_path / "seed0_sample_0000.wav").read_bytes()
    assert go("--seconds", "1", "--seed", "7") == ["seed7_sample_0000.wav"]
    assert go("--seconds", "1.5") == ["seed0_sample_0000-2.wav"]
    assert go("--seconds", "1.5") == ["seed0_sample_0000-2.wav"]
    assert go("--seconds", "1") == ["seed0_sample_0000.wav"]
    assert names(tmp_path) == ["seed0_sample_0000-2.wav", "seed0_sample_0000.wav", "seed7_sample_0000.wav"]
    assert (tmp_path / "seed0_sample_0000.wav").read_bytes() == first
    (tmp_path / "seed0_sample_0000.wav").write_bytes(b"my own notes")
    assert go("--seconds", "1") == ["seed0_sample_0000-3.wav"]
    assert (tmp_path / "seed0_sample_0000.wav").read_bytes() == b"my own notes"


def test_overwriting_takes_the_place_of_its_own_sounds_only(checkpoints, tmp_path, capsys):
    def go(*arguments: str) -> list[str]:
        assert run(checkpoints, tmp_path, "--count", "1", "--overwrite", *arguments) == 0
        return [Path(line).name for line in capsys.readouterr().out.split()]

    foreign = tmp_path / "seed0_sample_0000.wav"
    write_audio(foreign, music(1.0), SAMPLE_RATE)  # a sound, but not of this command
    theirs = foreign.read_bytes()
    assert go("--seconds", "1") == ["seed0_sample_0000-2.wav"]
    first = (tmp_path / "seed0_sample_0000-2.wav").read_bytes()
    assert go("--seconds", "1") == ["seed0_sample_0000-2.wav"]  # that very sound, where it stands
    assert (tmp_path / "seed0_sample_0000-2.wav").read_bytes() == first
    assert go("--seconds", "1.5") == ["seed0_sample_0000-2.wav"]  # an earlier one of that name
    assert soundfile.info(tmp_path / "seed0_sample_0000-2.wav").duration == 1.5
    assert foreign.read_bytes() == theirs
    assert names(tmp_path) == ["seed0_sample_0000-2.wav", "seed0_sample_0000.wav"]
    write_audio(tmp_path / "in" / "x.wav", music(), SAMPLE_RATE)
    (tmp_path / "x_seed0_sample_0000.full.wav").write_bytes(b"notes")  # half a pair is no pair of ours
    pair = [f"x_seed0_sample_0000-2.{kind}.wav" for kind in ("full", "continuation")]
    for _ in range(2):
        assert go("--seconds", "1", "--prompt", str(tmp_path / "in" / "x.wav")) == pair
    assert (tmp_path / "x_seed0_sample_0000.full.wav").read_bytes() == b"notes"


def test_what_is_there_already_is_said(checkpoints, tmp_path, capsys):
    for _ in range(2):
        assert run(checkpoints, tmp_path, "--seconds", "1", "--count", "1") == 0
    assert "seed0_sample_0000.wav is there already, made in just this way" in capsys.readouterr().err


def test_prompts_of_one_name_from_two_folders_keep_their_pairs_together(checkpoints, tmp_path):
    for folder, gain in (("a", 1.0), ("b", 0.5)):
        write_audio(tmp_path / folder / "x.wav", gain * music(), SAMPLE_RATE)
        assert (
            run(
                checkpoints,
                tmp_path / "out",
                "--count",
                "1",
                "--seconds",
                "1",
                "--prompt",
                str(tmp_path / folder / "x.wav"),
            )
            == 0
        )
    made = [f"x_seed0_sample_0000{number}.{kind}.wav" for number in ("", "-2") for kind in ("full", "continuation")]
    assert names(tmp_path / "out") == sorted(made)
    for number, gain in (("", 1.0), ("-2", 0.5)):
        full, _ = soundfile.read(tmp_path / "out" / f"x_seed0_sample_0000{number}.full.wav", always_2d=True)
        np.testing.assert_allclose(full[: 3 * SAMPLE_RATE, 0], gain * music()[0], atol=2 / 2**15)


def test_songs_of_one_name_are_all_reconstructed_and_one_that_cannot_be_stops_no_other(checkpoints, tmp_path, capsys):
    paths = [tmp_path / folder / "x.wav" for folder in ("a", "b", "c")]
    for path, waveform in zip(paths, (music(1.0), music(2.0), 0 * music(1.0)), strict=True):
        write_audio(path, waveform, SAMPLE_RATE)
    assert run(checkpoints, tmp_path / "out", "--reconstruct", *map(str, [paths[0], paths[2], paths[1]])) == 2
    assert names(tmp_path / "out") == ["x-2.reconstruction.wav", "x.reconstruction.wav"]
    for name, seconds in (("x", 1.0), ("x-2", 2.0)):
        assert soundfile.info(tmp_path / "out" / f"{name}.reconstruction.wav").duration == seconds
    error = capsys.readouterr().err
    assert f"{paths[2]} is silent: nothing in it is above -66 dB" in error
    assert "--steps has no part in a reconstruction" in error


def test_two_commands_at_once_lose_nothing(checkpoints, tmp_path):
    command = [
        sys.executable,
        str(ROOT / "musigan.py"),
        "generate",
        "--checkpoints",
        str(checkpoints),
        "--output",
        str(tmp_path),
        "--device",
        "cpu",
        "--phase-iterations",
        "2",
        "--count",
        "2",
    ]
    write_audio(tmp_path / "in" / "p.wav", music(), SAMPLE_RATE)
    processes = [
        subprocess.Popen(
            [*command, "--steps", steps, "--seconds", "1", "--prompt", str(tmp_path / "in" / "p.wav")],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for steps in ("1", "2")
    ]
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len({*printed[0], *printed[1]}) == 8
    for steps, paths in zip((1, 2), printed, strict=True):
        assert {read_receipt(Path(path)).steps for path in paths} == {steps}
    assert len(names(tmp_path)) == 9  # and no temporary file


def test_a_loud_prompt_clips_nothing_and_that_is_said(checkpoints, tmp_path, capsys):
    hot = np.clip(100 * music(), -1.0, 1.0)
    write_audio(tmp_path / "hot.wav", hot, SAMPLE_RATE)
    for arguments, name in (
        (["--prompt"], "hot_seed0_sample_0000.continuation"),
        (["--reconstruct"], "hot.reconstruction"),
    ):
        assert run(checkpoints, tmp_path, "--count", "1", "--seconds", "1", *arguments, str(tmp_path / "hot.wav")) == 0
        made, _ = soundfile.read(tmp_path / f"{name}.wav")
        assert np.abs(made).max() < 1.0
        assert ("softer as a whole" in capsys.readouterr().err) == (np.abs(made).max() > 0.985)


def test_a_spool_has_one_gain_and_counts_what_would_clip(tmp_path):
    random = np.random.default_rng(0)
    sound = (0.2 * random.standard_normal((2, 200_000))).astype(np.float32)
    sound[1, 70_000:70_003] = (2.0, -4.0, 1.5)
    for most in (1 << 30, 1000):  # in memory, and on the disk
        spool = SpooledSound(2, tmp_path, most_in_memory=most)
        for piece in np.array_split(sound, 7, axis=1):
            spool.add(piece)
        again = np.concatenate(list(spool.pieces()), axis=1)
        assert spool.over == 3
        assert spool.gain == pytest.approx(10 ** (-0.1 / 20) / 4.0)
        np.testing.assert_allclose(again, sound * spool.gain, rtol=1e-6)
        assert spool.rms_db == pytest.approx(20 * np.log10(np.sqrt(np.mean(sound.astype(float) ** 2))), abs=1e-3)
        spool.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("waveform", "sentence"),
    [
        (np.zeros((1, 16000)), "is silent: nothing in it is above -66 dB"),
        (np.full((1, 1), 0.1), "is silent: but for a constant offset"),
        (0.1 * np.ones((1, 800)) * np.sin(np.arange(800)), "is too short to continue: 0.10 s"),
    ],
)
def test_a_prompt_without_music_is_a_sentence(checkpoints, tmp_path, capsys, waveform, sentence):
    write_audio(tmp_path / "p.wav", waveform.astype(np.float32), SAMPLE_RATE)
    assert run(checkpoints, tmp_path / "out", "--prompt", str(tmp_path / "p.wav")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error
    assert names(tmp_path / "out") == []


def heard(path: Path, waveform: np.ndarray, subtype: str = "FLOAT") -> Heard:
    soundfile.write(path, waveform.T, SAMPLE_RATE, subtype)
    return hear(path, sample_rate=SAMPLE_RATE, channels=1, max_seconds=120.0)


def test_a_song_that_fades_out_goes_on_from_where_it_was_loud(checkpoints, tmp_path, capsys):
    length = music().shape[1]
    fade = np.concatenate([music(), music()], axis=1) * np.logspace(-0.75, -2.5, 2 * length, dtype=np.float32)
    song = heard(tmp_path / "song.wav", np.concatenate([music(), fade], axis=1))
    kept = without_fade_out(song.waveform, song, SAMPLE_RATE)
    assert abs(kept.shape[1] - length) <= SAMPLE_RATE
    soft = 0.1 * music()[:, : 2 * SAMPLE_RATE]
    softer = heard(tmp_path / "softer.wav", np.concatenate([music(), soft], axis=1))
    np.testing.assert_array_equal(without_fade_out(softer.waveform, softer, SAMPLE_RATE), softer.waveform)
    arguments = ["--prompt", str(tmp_path / "song.wav"), "--seconds", "4", "--count", "1"]
    assert run(checkpoints, tmp_path / "out", *arguments) == 0
    assert "fades out in its last" in capsys.readouterr().err
    plain = heard(tmp_path / "plain.wav", music())
    arguments[1] = str(tmp_path / "plain.wav")
    assert run(checkpoints, tmp_path / "plain", *arguments) == 0
    loud = [
        hear(next((tmp_path / name).glob("*.continuation.wav")), sample_rate=SAMPLE_RATE, channels=1)
        for name in ("out", "plain")
    ]
    assert loud[0].levels.loudness_db > loud[1].levels.loudness_db - 6.0
    assert plain.levels.loudness_db > -40.0


def test_the_level_of_a_prompt_is_that_of_what_sounds(tmp_path):
    plain = heard(tmp_path / "plain.wav", music())
    silence = np.zeros((1, 5 * SAMPLE_RATE), np.float32)
    around = heard(tmp_path / "around.wav", np.concatenate([silence, music(), silence], axis=1))
    assert around.gain == pytest.approx(plain.gain, rel=0.02)
    kept = without_last_pause(around, SAMPLE_RATE)
    assert abs(kept.shape[1] - 8 * SAMPLE_RATE) < 0.5 * SAMPLE_RATE
    np.testing.assert_array_equal(without_last_pause(plain, SAMPLE_RATE), plain.waveform)
    opposite = heard(tmp_path / "opposite.wav", np.concatenate([music(), -music()]))
    assert opposite.gain == pytest.approx(plain.gain, rel=1e-3)
    np.testing.assert_array_equal(opposite.waveform, music())
    assert opposite.notes == (CANCELLED,)
    leaning = heard(tmp_path / "leaning.wav", music() + np.float32(0.2))
    assert leaning.gain == pytest.approx(plain.gain, rel=0.05)
    assert abs(float(leaning.prepared(leaning.waveform).mean())) < 0.01
    holes = music().copy()
    holes[0, 500:600] = np.nan
    assert heard(tmp_path / "holes.wav", holes).notes == (NOT_FINITE,)


@pytest.mark.parametrize(
    ("factor", "notes"),
    [
        (1.0, ()),
        (20.0, ("beyond full scale in ",)),
        (1e30, (FAR_BEYOND, "beyond full scale in ")),
        (0.01, ("nearly silent (-",)),
    ],
)
def test_the_level_of_a_prompt_is_said_in_the_same_words(tmp_path, factor, notes):
    said = heard(tmp_path / "p.wav", factor * music().astype(np.float64), "DOUBLE").notes
    assert len(said) == len(notes)
    assert all(phrase.startswith(start) for phrase, start in zip(said, notes, strict=True))


@pytest.mark.parametrize(
    ("waveform", "but"),
    [
        (np.zeros(16000), ""),
        (1e200 * music()[0].astype(np.float64), "NaN, infinite or far too large"),
        (np.full(16000, np.nan), "NaN, infinite or far too large"),
        (np.full(16000, 0.5), "a constant offset, nothing"),
    ],
)
def test_why_a_prompt_is_silent_is_true(tmp_path, waveform, but):
    with pytest.raises(AudioError, match=r"p\.wav is silent: .*nothing in it is above -66 dB") as refusal:
        heard(tmp_path / "p.wav", waveform[np.newaxis], "DOUBLE")
    assert f"is silent: but for {but}" in str(refusal.value) or not but


def test_a_nearly_silent_prompt_gets_music_that_can_be_heard(checkpoints, tmp_path, capsys):
    soundfile.write(tmp_path / "faint.wav", 0.01 * music()[0], SAMPLE_RATE, "FLOAT")
    assert run(checkpoints, tmp_path, "--prompt", str(tmp_path / "faint.wav"), "--seconds", "1", "--count", "1") == 0
    assert "faint.wav: nearly silent (-" in capsys.readouterr().err
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, music()[0], SAMPLE_RATE, "FLOAT")
    assert run(checkpoints, tmp_path, "--prompt", str(loud), "--seconds", "1", "--count", "1") == 0
    levels = [
        np.std(soundfile.read(tmp_path / f"{name}_seed0_sample_0000.continuation.wav")[0]) for name in ("faint", "loud")
    ]
    assert levels[0] > 0.5 * levels[1]


@pytest.mark.parametrize(
    ("subtype", "suffix", "kept"),
    [("FLOAT", "wav", "FLOAT"), ("PCM_24", "wav", "PCM_24"), ("PCM_24", "flac", "PCM_24"), ("PCM_16", "wav", "PCM_16")],
)
def test_a_full_file_begins_with_the_prompt_s_own_numbers(checkpoints, tmp_path, subtype, suffix, kept):
    path = tmp_path / f"p.{'flac' if suffix == 'flac' else 'wav'}"
    waveform = (20.0 if subtype == "FLOAT" else 1.0) * music()[0]
    soundfile.write(path, waveform, SAMPLE_RATE, subtype)
    assert run(checkpoints, tmp_path, "--prompt", str(path), "--seconds", "1", "--count", "1", "--format", suffix) == 0
    full = tmp_path / f"p_seed0_sample_0000.full.{suffix}"
    assert soundfile.info(full).subtype == kept
    before, after = (soundfile.read(name, dtype="float64")[0] for name in (path, full))
    np.testing.assert_array_equal(after[: len(before)], before)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prompt", "a.wav", "--noise", "b.wav"],
        ["--reconstruct", "a.wav", "--noise", "b.wav"],
        ["--reconstruct", "a.wav", "--prompt", "b.wav"],
        ["--steps", "1001"],
        ["--seconds", "nan"],
        ["--seconds", "1e9"],
        ["--phase-iterations", "100000"],
        ["--threads", "5000"],
        ["--count", "0"],
        ["--epoch", "soon"],
    ],
)
def test_what_cannot_be_meant_is_an_argument_error(checkpoints, tmp_path, arguments):
    with pytest.raises(SystemExit) as stopped:
        run(checkpoints, tmp_path / "out", *arguments)
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()


def test_a_length_below_one_sample_is_a_sentence(checkpoints, tmp_path, capsys):
    assert run(checkpoints, tmp_path, "--seconds", "0.00002") == 2
    assert "is shorter than one sample of 8000 Hz" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_a_file_that_is_not_there_is_said_before_a_model_is_looked_for(tmp_path, capsys):
    for option in ("--prompt", "--noise", "--reconstruct"):
        assert run(tmp_path / "no model", tmp_path / "out", option, str(tmp_path / "gone.mp3")) == 2
        assert f"there is no file {tmp_path}/gone.mp3" in capsys.readouterr().err
        assert run(tmp_path / "no model", tmp_path / "out", option, str(tmp_path)) == 2
        assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("stem", ["evil\nname\x1b[31m", "ä" * 120, "a:b*c", "..dots"])
def test_odd_names_of_prompts_make_plain_names(checkpoints, tmp_path, stem):
    path = tmp_path / "in" / f"{stem}.wav"
    write_audio(path, music(), SAMPLE_RATE)
    assert run(checkpoints, tmp_path / "out", "--prompt", str(path), "--seconds", "1", "--count", "1") == 0
    made = names(tmp_path / "out")
    assert len(made) == 2
    assert all(name.isprintable() and ":" not in name and not name.startswith(".") for name in made)


def test_what_a_kill_left_is_cleared_away(checkpoints, tmp_path):
    (tmp_path / ".seed0_sample_0000.wav.0123abcd.part").write_bytes(b"half")
    assert run(checkpoints, tmp_path, "--seconds", "1", "--count", "1") == 0
    assert names(tmp_path) == ["seed0_sample_0000.wav"]


def test_a_bar_counts_all_sounds_and_fits_80_columns(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(checkpoints, tmp_path, "--seconds", "1.2345", "--count", "3") == 0
    error = capsys.readouterr().err
    assert "sample 3 of 3" in error
    assert "times real time" in error
    assert "TqdmWarning" not in error
    assert max(len(line) for line in error.replace("\r", "\n").split("\n") if "%|" in line) <= 80


def test_threads_are_measured_once_and_the_environment_and_the_option_come_first(monkeypatch):
    calls: list[int] = []

    def work() -> None:
        calls.append(torch.get_num_threads())
        time.sleep(0.001 if torch.get_num_threads() == 2 else 0.02)

    before = torch.get_num_threads()
    monkeypatch.setattr("piano.foundation.runtime._fastest", {})
    try:
        assert fastest_threads(work, most=3) == 2
        assert {1, 2, 3} <= set(calls)
        count = len(calls)
        assert fastest_threads(work, most=3) == 2
        assert len(calls) == count
        assert torch.get_num_threads() == before
        generator = build()
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert measured_threads(generator, torch.float32) == before
    finally:
        torch.set_num_threads(before)


def test_a_run_whose_log_calls_it_ruined_is_played_with_a_word_about_it(tmp_path, capsys):
    save_checkpoint(build(), 3, tmp_path / "run", "generator")
    assert run(tmp_path / "run", tmp_path / "out", "--seconds", "1", "--count", "1") == 0
    assert "own log" not in capsys.readouterr().err
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "stage": "autoencoder", "loss": 1.0}\n')
    assert run(tmp_path / "run", tmp_path / "out", "--seconds", "1", "--count", "1", "--seed", "1") == 0
    error = capsys.readouterr().err
    assert "This run's own log: " in error
    assert "--checkpoints shipped" in error


def test_an_epoch_that_cannot_compose_yet_says_so_before_the_work(prompt, tmp_path, capsys):
    untrained = VariationalAttentionModel(**SMALL["model"])
    place = {"stage": "autoencoder", "finished_stages": []}
    save_checkpoint(untrained, 1, tmp_path / "run", "generator", run=place)
    save_checkpoint(build(), 2, tmp_path / "run", "generator", run=place)  # fine-tuned: it could compose before
    sentence = "Epoch 1 has not learned to compose yet (its run is in stage autoencoder): what it plays is noise."
    for epoch, options, is_said in (
        ("1", (), True),
        ("1", ("--prompt", str(prompt)), True),
        ("1", ("--reconstruct", str(prompt)), False),
        ("2", (), False),
    ):
        usual = () if "--reconstruct" in options else ("--seconds", "1", "--count", "1")
        assert run(tmp_path / "run", tmp_path / epoch, "--epoch", epoch, *usual, *options) == 0
        assert (sentence in " ".join(capsys.readouterr().err.split())) == is_said


def test_a_prompt_of_nothing_but_impossible_numbers_is_not_called_quiet(tmp_path: Path) -> None:
    path = tmp_path / "inf.wav"
    soundfile.write(path, np.full(3 * SAMPLE_RATE, np.inf), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"is silent: but for NaN, infinite or far too large numbers"):
        hear(path, sample_rate=SAMPLE_RATE, channels=1, max_seconds=120.0)
