"""The comparisons with peers: their measures behave, the public recipe trains, every script explains itself."""

from pathlib import Path

import numpy as np
import peer_public_recipe
import peer_rave
import peer_rave_worker
import peer_speed
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_common import (
    Clip,
    Layout,
    PeerError,
    Reference,
    gather,
    make_dataset,
    markdown_table,
    mean_and_spread,
    read_clips,
    train_ours,
)
from peer_public_model import (
    KEYS,
    Draw,
    PublicDiscriminator,
    PublicGenerator,
    discriminator_loss,
    generator_loss,
    key_frequencies,
    keys_of_sound,
    playable,
    song_divergence,
    sound_of_keys,
)
from torch import Tensor

from piano.evaluation.reconstruction import mel_distance, stft_distance
from piano.foundation.audio_io import write_audio
from piano.foundation.dataset_format import read_manifest, set_path

RATE = 16_000


def noise(seed: int, *, samples: int = RATE) -> Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def tone(hertz: float, *, samples: int = RATE) -> Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / RATE).unsqueeze(0)


def mel(reconstruction: Tensor, original: Tensor) -> float:
    return mel_distance(reconstruction=reconstruction.numpy(), original=original.numpy(), sample_rate=RATE)


def stft(reconstruction: Tensor, original: Tensor) -> float:
    return stft_distance(reconstruction=reconstruction.numpy(), original=original.numpy(), sample_rate=RATE)


# --- measures --------------------------------------------------------------------------------------------------------


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_distances_are_zero_for_the_same_sound_and_symmetric_where_they_should_be(seed: int) -> None:
    first, second = noise(seed, samples=RATE // 4), noise(seed + 1, samples=RATE // 4)
    assert mel(first, first) == 0
    assert stft(first, first) == 0
    assert mel(first, second) == pytest.approx(mel(second, first), rel=1e-5)
    assert mel(first, second) > 0


def test_halving_a_loud_sound_costs_log_2_in_each_of_seven_windows() -> None:
    loud = 30 * noise(0)
    assert mel(0.5 * loud, loud) == pytest.approx(7 * np.log10(2), rel=1e-3)


def test_distances_do_not_ask_for_the_right_phase_but_for_the_right_notes() -> None:
    assert mel(-tone(440), tone(440)) == pytest.approx(0, abs=1e-6)
    for distance in (mel, stft):
        assert distance(tone(440) + 0.01 * noise(0), tone(440) + 0.01 * noise(1)) < distance(
            tone(880) + 0.01 * noise(0), tone(440) + 0.01 * noise(1)
        )


def test_distances_bear_silence() -> None:
    silence = torch.zeros(1, RATE)
    assert np.isfinite(mel(silence, tone(440)))
    assert mel(silence, silence) == 0
    assert np.isfinite(stft(tone(440), silence))


def test_a_reference_prefers_a_near_copy_to_noise() -> None:
    waveforms = [
        (tone(220 * 2 ** (index / 6), samples=2 * RATE) + 0.1 * noise(index, samples=2 * RATE)).numpy()
        for index in range(6)
    ]
    reference = Reference([Clip(f"song {index}", sound) for index, sound in enumerate(waveforms)], RATE)
    near = reference.judge_reconstructions([0.9 * sound for sound in waveforms])
    far = reference.judge_reconstructions([noise(9 + n, samples=2 * RATE).numpy() for n in range(6)])
    for measure in ("mel_distance", "stft_distance", "kernel_distance", "kernel_score"):
        assert near[measure] < far[measure], measure


def test_clips_are_spread_over_their_files_levelled_and_named_after_them(tmp_path: Path) -> None:
    for index in range(4):
        write_audio(tmp_path / f"{index}.wav", (0.01 * tone(440, samples=5 * RATE)).numpy(), RATE)
    write_audio(tmp_path / "short.wav", tone(440).numpy(), RATE)
    clips = read_clips(tmp_path, Layout(seconds=2.0, per_file=3, sample_rate=RATE))
    assert [clip.file for clip in clips] == [f"{index}.wav" for index in range(4) for _ in range(2)]
    assert {clip.waveform.shape for clip in clips} == {(1, 2 * RATE)}
    assert np.sqrt(np.mean(clips[0].waveform ** 2)) == pytest.approx(10 ** (-18 / 20), rel=0.01)
    with pytest.raises(PeerError, match="fewer than four files"):
        read_clips(tmp_path, Layout(seconds=9.0, per_file=1, sample_rate=RATE))


def test_the_table_has_mean_and_spread_over_the_runs() -> None:
    runs = [{"ours": {"mel": 1.0}, "peer": {"mel": 2.0}}, {"ours": {"mel": 3.0}, "peer": {"mel": 2.0}}]
    table = markdown_table(gather(runs), {"mel": "mel distance"}).splitlines()
    assert table == ["| | mel distance |", "| --- | --- |", "| ours | 2 ± 1.4 |", "| peer | 2 ± 0 |"]
    assert mean_and_spread([0.12345]) == "0.123"


def test_a_folder_of_music_becomes_a_data_set_once(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for index in range(3):
        write_audio(
            music / f"{index}.wav", (noise(index, samples=21 * RATE) + tone(440, samples=21 * RATE)).numpy(), RATE
        )
    made = make_dataset(music, tmp_path, sample_rate=8000)
    manifest = read_manifest(made)
    assert (manifest.sample_rate, manifest.channels, manifest.segment_samples) == (8000, 1, 80_000)
    written = set_path(made, "training").stat().st_mtime_ns
    assert set_path(make_dataset(music, tmp_path, sample_rate=8000), "training").stat().st_mtime_ns == written


def test_a_finished_run_of_other_minutes_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "finished.json").write_text('{"minutes": 10, "seconds": 700, "seed": 0}')
    assert train_ours(tmp_path, tmp_path, minutes=10, seed=0, settings={}) == 700
    with pytest.raises(PeerError, match="holds a run of 10 minutes"):
        train_ours(tmp_path, tmp_path, minutes=3, seed=0, settings={})


# --- the public recipe -----------------------------------------------------------------------------------------------


def test_keys_find_the_notes_that_sound_and_play_them_again() -> None:
    a4 = list(KEYS).index(49)
    assert key_frequencies()[a4] == 440
    levels = keys_of_sound(tone(440)[0], RATE)
    assert levels.shape == (33, 50)
    assert (levels.argmax(dim=0) == a4).all()
    assert levels[a4].mean() == pytest.approx(0.3 / 2**0.5, rel=0.05)
    again = keys_of_sound(sound_of_keys(levels, RATE), RATE)
    assert (again.argmax(dim=0) == a4).all()


def test_the_recipes_output_is_never_negative_and_depends_on_the_batch() -> None:
    torch.manual_seed(0)
    generator = PublicGenerator(values=33 * 20, latent_frames=20, latent_dim=16).eval()
    torch.manual_seed(1)
    draw = generator(torch.randn(4, 1, 4800))
    assert draw.fake.shape == (4, 1, 660)
    assert draw.mu.shape == (4, 20, 16)
    assert draw.fake.min() >= 0 and draw.fake.max() <= 1
    silent = playable(torch.zeros(660), RATE, is_keys=True)
    assert silent.shape == (20 * 320,) and not silent.any()


def test_the_songs_helper_does_not_ask_the_discriminator() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(4, 1, 660), torch.rand(4, 1, 660)
    logits = torch.zeros(4, 1, requires_grad=True)
    loss = discriminator_loss(fake=fake, real=real, fake_logits=logits, real_logits=logits)
    assert torch.isfinite(loss)
    assert not song_divergence(fake).requires_grad
    assert song_divergence(fake[:1].expand(4, -1, -1)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("mended", [False, True])
def test_one_step_of_the_recipe_moves_both_networks(mended: bool) -> None:
    torch.manual_seed(0)
    arguments = ["--held-out", "music", "--seconds", "0.4", "--batch", "4"] + ["--mended"] * mended
    options = peer_public_recipe.parse_arguments(arguments)
    networks = peer_public_recipe.build_networks(33 * 20, options)
    before = [networks.generator.mu.weight.detach().clone(), networks.discriminator.out.weight.detach().clone()]
    real = torch.randn(4, 1, 660)
    peer_public_recipe.NOISE_SAMPLES, kept = 4800, peer_public_recipe.NOISE_SAMPLES
    try:
        peer_public_recipe.pretrain_discriminator_step(networks, real, mended=mended)
        assert torch.equal(before[1], networks.discriminator.out.weight) != mended
        losses = peer_public_recipe.adversarial_step(networks, real, options, is_due=True)
    finally:
        peer_public_recipe.NOISE_SAMPLES = kept
    assert all(np.isfinite(list(losses.values())))
    assert not torch.equal(before[0], networks.generator.mu.weight)
    assert not torch.equal(before[1], networks.discriminator.out.weight)
    leaked = networks.generator.mu.weight.grad is not None
    assert leaked != mended


def test_the_recipes_generator_loss_adds_its_three_terms() -> None:
    mu = torch.ones(2, 3, 4)
    draw = Draw(mu, torch.zeros_like(mu), torch.zeros(2, 1, 5))
    loss = generator_loss(draw, torch.zeros(2, 1, 5), torch.zeros(2, 1))
    assert float(loss) == pytest.approx(20 * np.log(2) + 5e-5 * 0.5 * 12, rel=1e-5)


def test_the_discriminator_judges_a_batch_together() -> None:
    torch.manual_seed(0)
    judge = PublicDiscriminator(values=660).eval()
    sounds = torch.randn(4, 1, 660)
    assert judge(sounds).shape == (4, 1)
    assert not torch.allclose(judge(sounds)[:2], judge(sounds[:2]))


# --- scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [peer_rave, peer_rave_worker, peer_public_recipe, peer_speed])
def test_every_script_answers_help_with_an_example(script, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(["--help"])
    help_text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example" in help_text and f"{script.__name__}.py" in help_text


def test_a_python_without_rave_is_told_of_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_speed.main(["--rave-python", str(tmp_path / "none"), "--output", str(tmp_path / "r.json")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be started" in error


def test_an_odd_batch_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        peer_public_recipe.main(["--held-out", "music", "--batch", "3"])
    assert "--batch must be even" in capsys.readouterr().err
