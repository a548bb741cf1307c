"""`generate --vary`: other takes of a sound; `--like`: new music in its style. Both carry receipts that hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from piano import generate_music, reproduce
from piano.composer import HISTORY_PART, Composer, Sampling
from piano.foundation.audio_io import write_audio
from piano.piano_model import VariationalAttentionModel
from piano.report.sounds import describe_all
from piano.stream_state import Journey
from tests.tiny_run import SAMPLE_RATE, tiny_config, tonal_pairs
from tests.trained_model import make, save_trained

SECONDS = 4.5


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A trained model in model/, and a take to vary."""
    folder = tmp_path_factory.mktemp("variations")
    save_trained(folder)
    sound = tonal_pairs(2, samples=2 * 16384, seed=5).swapaxes(1, 2).reshape(1, -1)[:, : round(SECONDS * SAMPLE_RATE)]
    write_audio(folder / "take.wav", 0.3 * sound + 0.02, SAMPLE_RATE)
    return folder


def latents_of(generator: VariationalAttentionModel, frames: int) -> torch.Tensor:
    return torch.randn(1, frames, generator.latent_dim, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("windows", [0.5, 1.0, 2.4])
def test_more_of_it_is_further_away_and_none_is_the_same(generator, windows):
    given = latents_of(generator, round(windows * generator.latent_seq_len))
    composer = Composer(generator, Sampling(seed=1))
    takes = {amount: composer.vary_latents(given, amount) for amount in (0.0, 0.05, 0.3, 1.0)}
    assert torch.equal(takes[0.0], given)
    assert all(take.shape == given.shape for take in takes.values())
    away = [float((take - given).square().mean()) for take in takes.values()]
    assert away == sorted(away) and away[1] > 0.0
    assert torch.equal(takes[0.3], composer.vary_latents(given, 0.3))
    assert not torch.equal(takes[0.3], composer.vary_latents(given, 0.3, item=1))


def test_a_window_of_a_variation_goes_on_from_the_varied_end_of_the_one_before(generator):
    window = generator.latent_seq_len
    given = latents_of(generator, 2 * window)
    composer = Composer(generator, Sampling(seed=1))
    whole = composer.vary_latents(given, 0.4)
    other = given.clone()
    other[:, : window - window // HISTORY_PART] += 1.0  # what the second window does not see
    assert not torch.equal(composer.vary_latents(other, 0.4)[:, window:], whole[:, window:])


def test_all_of_the_flow_s_levels_are_walked_for_white_noise_and_only_the_low_ones_for_a_take(generator):
    levels = []
    network = generator.attention
    hook = network.register_forward_pre_hook(lambda _, given: levels.append(float(given[1].max())))
    try:
        Composer(generator, Sampling(seed=1)).vary_latents(latents_of(generator, generator.latent_seq_len), 0.5)
    finally:
        hook.remove()
    assert levels[0] == pytest.approx(0.5) and levels == sorted(levels, reverse=True) and len(levels) == 8


def test_style_of_a_sound_is_the_one_of_its_most_typical_window(generator):
    composer = Composer(generator)
    usual, odd = latents_of(generator, generator.latent_seq_len), 3.0 * latents_of(generator, generator.latent_seq_len)
    style = composer.style_of(torch.cat([usual, usual, usual, odd], dim=1))
    near, far = (generator.style.describe(part).vector for part in (usual, odd))
    assert float((style.vector - near).square().sum()) < float((style.vector - far).square().sum())
    assert composer.style_of(usual[:, :9]).vector.shape == style.vector.shape


def test_a_variation_is_as_long_and_as_loud_as_its_file_and_says_how_it_was_made(here, tmp_path, capsys):
    paths = make(tmp_path, "--vary", "take.wav", "--amount", "0.2", "--count", "2", "--seed", "7")
    assert [path.name for path in paths] == [f"take_seed7_sample_000{item}.variation.wav" for item in (0, 1)]
    sounds = [soundfile.read(path)[0] for path in paths]
    original = soundfile.read("take.wav")[0]
    assert [len(sound) for sound in sounds] == [len(original)] * 2
    assert not np.array_equal(sounds[0], sounds[1])
    assert sounds[0].mean() == pytest.approx(0.02, abs=0.005)
    assert 0.2 < np.std(sounds[0]) / np.std(original) < 2.0  # a model of twelve steps
    receipt = json.loads(soundfile.SoundFile(paths[0]).comment)
    assert (receipt["kind"], receipt["amount"], receipt["source"]["name"]) == ("variation", 0.2, "take.wav")
    (shown, _) = describe_all(paths, max_seconds=10.0)
    assert shown.title.startswith("Variation of") and "20%" in shown.words
    capsys.readouterr()
    assert [reproduce.main([str(path)]) for path in paths] == [0, 0]
    assert "identical" in capsys.readouterr().out


def test_music_like_a_file_has_its_style_and_not_its_notes(here, generator, tmp_path, capsys):
    paths = make(tmp_path, "--like", "take.wav", "--count", "1", "--seconds", "3", "--steps", "2")
    assert [path.name for path in paths] == ["like_take_seed0_sample_0000.wav"]
    plain = make(tmp_path / "plain", "--count", "1", "--seconds", "3", "--steps", "2")
    assert not np.array_equal(soundfile.read(paths[0])[0], soundfile.read(plain[0])[0])
    assert json.loads(soundfile.SoundFile(paths[0]).comment)["like"]["name"] == "take.wav"
    assert reproduce.main([str(paths[0])]) == 0
    moved = Path("take.wav").rename("elsewhere.wav")
    try:
        capsys.readouterr()
        assert reproduce.main([str(paths[0])]) == 2
        assert "made from take.wav, which is not here. Name it with --source" in capsys.readouterr().err
        assert reproduce.main([str(paths[0]), "--source", str(plain[0]), "--source", "elsewhere.wav"]) == 0
        assert reproduce.main(["--source", "elsewhere.wav", str(paths[0])]) == 0
    finally:
        moved.rename("take.wav")


def test_the_style_of_one_file_goes_over_to_that_of_another(here, generator, tmp_path, capsys):
    sound = tonal_pairs(2, samples=2 * 16384, seed=8).swapaxes(1, 2).reshape(1, -1)[:, : round(SECONDS * SAMPLE_RATE)]
    write_audio(here / "other.wav", 0.3 * sound, SAMPLE_RATE)
    words = ["--like", "take.wav", "--to", "other.wav", "--count", "1", "--seconds", "8", "--steps", "2"]
    (path,) = make(tmp_path, *words)
    assert path.name == "like_take_to_other_seed0_sample_0000.wav"
    assert json.loads(soundfile.SoundFile(path).comment)["to"]["name"] == "other.wav"
    capsys.readouterr()
    assert reproduce.main([str(path)]) == 0
    assert "identical" in capsys.readouterr().out
    (plain,) = make(tmp_path / "plain", *[word for word in words if word not in ("--to", "other.wav")])
    one, other = (soundfile.read(file)[0] for file in (path, plain))
    assert len(one) == len(other) and not np.array_equal(one, other)
    fixed = ["--checkpoints", "model", "--epoch", "3", "--output", str(tmp_path / "short"), "--device", "cpu"]
    assert generate_music.main([*fixed, "--like", "take.wav", "--to", "other.wav", "--seconds", "0.5"]) == 2
    assert "0.5 s of music go over to no other style" in " ".join(capsys.readouterr().err.split())


def test_a_journey_begins_and_ends_in_its_styles_and_its_beat_never_jumps(generator):
    first, last = (generator.style.draw(seed, range(1)) for seed in (1, 2))
    composer = Composer(generator, Sampling(seed=3, steps=2))
    styles, windows = [], composer.begin(count=1, style=first)
    begun = windows.style
    windows = windows._replace(journey=Journey(begun, last, frames=3 * generator.latent_seq_len))
    while windows.frame < 4 * generator.latent_seq_len:
        frame, before = windows.frame, windows.style
        windows, _ = composer.compose_window(windows)
        seconds, now = frame / generator.frames_per_second, windows.style
        angles = [2 * np.pi * style.pulse.frequency * seconds + style.pulse.phase for style in (before, now)]
        torch.testing.assert_close(angles[0].sin(), angles[1].sin(), atol=1e-3, rtol=0.0)
        styles.append(now.vector)
    torch.testing.assert_close(styles[0], begun.vector)
    torch.testing.assert_close(styles[-1], last.vector)
    away = [float((vector - last.vector).norm()) for vector in styles]
    assert away == sorted(away, reverse=True) and len(set(away)) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--like", "take.wav", "--to", "a.wav", "--to", "b.wav"], "give --to once"),
        (["--like", "take.wav", "--to", "a.wav", "--seconds", "inf", "--output", "-"], "--to wants music with an end"),
        (["--infill", "take.wav", "--from", "1", "--to", "x"], "argument --to: x is not"),
        (["--vary", "take.wav", "--prompt", "take.wav"], "--prompt and --vary cannot be combined"),
        (["--like", "take.wav", "--vary", "take.wav"], "--like and --vary cannot be combined"),
        (["--amount", "0.5"], "--amount is of --vary"),
        (["--vary", "take.wav", "--amount", "1.5"], "1.5 is not"),
    ],
)
def test_what_cannot_be_meant_is_said(here, capsys, arguments, message):
    with pytest.raises(SystemExit):
        generate_music.parse_arguments(arguments)
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_bar_of_a_style_lies_on_a_beat_wherever_an_item_begins():
    generator = VariationalAttentionModel(**(tiny_config(Path("x")).model.model_dump() | {"repeat_signals": 2}))
    style, count = generator.style, 5
    style.anchors.copy_(torch.randn(style.anchors.shape, generator=torch.Generator().manual_seed(1)))
    drawn = style.draw(0, range(count))
    own = style.describe(latents_of(generator, generator.latent_seq_len)).with_phase_of(drawn)
    assert own.pulse.turn is not None
    beats_in = (own.pulse.turn * own.pulse.beats - own.pulse.phase) / (2.0 * torch.pi)
    torch.testing.assert_close(beats_in, beats_in.round(), atol=1e-4, rtol=0.0)
    assert torch.equal(own.pulse.phase, drawn.pulse.phase) and len(own.vector) == count


def test_files_that_hold_too_little_get_a_sentence(here, tmp_path, capsys):
    write_audio(tmp_path / "short.wav", np.full((1, 300), 0.2) * np.sin(np.arange(300)), SAMPLE_RATE)
    fixed = ["--checkpoints", "model", "--epoch", "3", "--output", str(tmp_path / "out"), "--threads", "1"]
    sound = tonal_pairs(1, seed=5)[0, 0][:, :SAMPLE_RATE]
    write_audio(tmp_path / "second.wav", sound, SAMPLE_RATE)
    assert generate_music.main([*fixed, "--like", str(tmp_path / "second.wav")]) == 2
    assert "too short to have a style: 1.00 s, at least 2 s are needed" in " ".join(capsys.readouterr().err.split())
    for option in ("--like", "--vary"):
        assert generate_music.main([*fixed, option, str(tmp_path / "short.wav")]) == 2
        assert "is too short" in " ".join(capsys.readouterr().err.split())
        assert generate_music.main([*fixed, option, "nowhere.wav"]) == 2
        assert "there is no file nowhere.wav" in capsys.readouterr().err
