"""The scatter of real sound: measured where it is missing, drawn with that strength, the same in every piece."""

import pytest
import torch

from piano.foundation.phase import stft
from piano.foundation.texture import NEPER, NUM_BANDS, USUAL_RANGE, Texture, loudness

N_FFT, FRAMES = 1024, 200
HOP = N_FFT // 4


def white(seed: int, *, batch: int = 4, frames: int = FRAMES) -> torch.Tensor:
    """White noise (batch, frames + 3, hop)."""
    return torch.randn(batch, frames + 3, HOP, generator=torch.Generator().manual_seed(seed))


def smooth_levels() -> torch.Tensor:
    """Log magnitudes (batch, frames, bins) that move slowly, between -6 and 2."""
    time = torch.arange(FRAMES).view(1, -1, 1) / FRAMES
    pitch = torch.arange(N_FFT // 2 + 1).view(1, 1, -1) / (N_FFT // 2)
    phase = torch.arange(4).view(-1, 1, 1)
    return -2.0 + 4.0 * torch.sin(3.0 * time + 2.0 * pitch + phase)


def test_scatter_is_that_of_white_noise_around_zero() -> None:
    texture = Texture(N_FFT)
    scatter = texture.scatter(white(0))[..., 2:-2]  # the lowest and highest bins are real, not complex
    assert abs(float(scatter.mean())) < 0.01
    assert abs(float(scatter.std()) - torch.pi / 24**0.5) < 0.02  # of the logarithm of a Rayleigh variable


def test_scatter_lies_on_the_frames_of_the_spectrum() -> None:
    noise = white(1)
    inner = stft(noise.flatten(-2)[..., 2 * HOP : -HOP], N_FFT).abs().log()
    ours = Texture(N_FFT).scatter(noise)
    # Frames whose window lies inside the piece agree; those at its ends saw less.
    difference = (ours - inner)[:, 3:-3, 1:-1]
    torch.testing.assert_close(difference, difference.mean().expand_as(difference), atol=2e-2, rtol=0.0)


def test_fit_finds_the_planted_strength() -> None:
    texture, planted = Texture(N_FFT), Texture(N_FFT)
    strength = torch.linspace(0.2, 0.9, NUM_BANDS)
    planted.amount.copy_(strength.unsqueeze(1).expand_as(planted.amount))
    predicted = smooth_levels()
    texture.fit(predicted=predicted, real=planted(predicted, white(2)), noise=white(3))
    heard = texture.amount[:, 1:8].mean(dim=1)  # over the levels that the planted sound has
    torch.testing.assert_close(heard[2:], strength[2:], atol=0.1, rtol=0.0)  # the lowest have few bins


def test_fit_finds_contrast_that_is_missing_over_frequency_alone() -> None:
    random = torch.Generator().manual_seed(5)
    ripples = 0.5 * torch.randn(4, 1, N_FFT // 2 + 1, generator=random)  # held partials: they do not move
    flat, texture = smooth_levels(), Texture(N_FFT)
    texture.fit(predicted=flat + ripples, real=flat + 1.3 * ripples, noise=white(3))
    assert texture.contrast is not None
    torch.testing.assert_close(texture.contrast[2:], torch.full((NUM_BANDS - 2,), 0.3), atol=0.08, rtol=0.0)
    texture.fit(predicted=flat + ripples, real=flat + 0.8 * ripples, noise=white(3))
    assert float(texture.contrast.max()) < 0.02


def test_a_texture_of_before_has_no_contrast_and_stays_as_it_was() -> None:
    fitted, older = Texture(N_FFT), Texture(N_FFT)
    fitted.fit(predicted=smooth_levels(), real=smooth_levels() + 0.1, noise=white(3))
    state = {name: value for name, value in fitted.state_dict().items() if name != "contrast"}
    older.load_state_dict(state)
    assert older.contrast is None
    again = Texture(N_FFT)
    again.load_state_dict(fitted.state_dict())
    assert again.contrast is not None and torch.equal(
        again(smooth_levels(), white(6)), fitted(smooth_levels(), white(6))
    )


def test_a_level_that_never_sounded_stays_smooth() -> None:
    texture, planted = Texture(N_FFT), Texture(N_FFT)
    planted.amount.fill_(0.5)
    quiet = 0.3 * smooth_levels() - 4.0
    texture.fit(predicted=quiet, real=planted(quiet, white(2)), noise=white(3))
    assert float(texture.amount[2:, 2:4].mean()) > 0.3
    assert float(texture.amount[:, 8:].max()) == 0.0


def test_compositions_are_brought_to_the_level_of_the_music() -> None:
    texture, music = Texture(N_FFT), smooth_levels()
    texture.fit(predicted=music + 0.4, real=music, noise=white(7))
    assert abs(float((texture(music + 0.4, white(8)) - music).mean())) < 0.02


def test_nothing_is_added_where_nothing_is_missing() -> None:
    texture, predicted = Texture(N_FFT), smooth_levels()
    texture.fit(predicted=predicted, real=predicted.clone(), noise=white(4))
    torch.testing.assert_close(texture(predicted, white(5)), predicted)


def test_pieces_have_the_same_texture_as_the_whole() -> None:
    texture = Texture(N_FFT)
    texture.amount.fill_(0.5)
    noise, levels = white(6), smooth_levels()
    whole = texture(levels, noise)
    pieces = [texture(levels[:, a:b], noise[:, a : b + 3]) for a, b in ((0, 50), (50, 130), (130, FRAMES))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_the_range_is_that_of_music_that_sounds_and_a_pause_does_not_move_the_level() -> None:
    texture, music = Texture(N_FFT), smooth_levels().mean(dim=0, keepdim=True)
    loud = float(loudness(music))
    real = torch.cat([music + 0.1 * step for step in range(-10, 11)] + [torch.full_like(music, -11.5)])
    texture.fit(predicted=music.expand(4, -1, -1), real=real, noise=white(7))
    assert texture.range is not None
    assert texture.softest_and_loudest == pytest.approx((loud - 0.9, loud + 0.9), abs=0.02)
    assert abs(float(texture.level)) < 0.05  # with the silent item counted it would be -0.5


def test_music_of_very_different_loudness_has_a_range_of_12_db_on_both_sides() -> None:
    texture, music = Texture(N_FFT), smooth_levels().mean(dim=0, keepdim=True)
    loud = float(loudness(music))
    real = torch.cat([music + 0.3 * step for step in range(-10, 11)])
    texture.fit(predicted=music.expand(4, -1, -1), real=real, noise=white(7))
    assert texture.softest_and_loudest == pytest.approx((loud - 12 * NEPER, loud + 12 * NEPER), abs=0.02)


def test_a_range_is_saved_and_a_model_of_before_has_the_usual_one() -> None:
    fitted, old = Texture(N_FFT), Texture(N_FFT).state_dict()
    assert "range" not in old
    fitted.range = torch.tensor([-4.0, -2.0])
    other = Texture(N_FFT)
    other.load_state_dict(fitted.state_dict())
    assert other.softest_and_loudest == (-4.0, -2.0)
    other.load_state_dict(old)
    assert other.range is None
    assert other.softest_and_loudest == USUAL_RANGE
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(old | {"range": torch.zeros(3)})


def test_loudness_of_compositions_gets_the_spread_of_music() -> None:
    music, texture = smooth_levels()[:1], Texture(N_FFT)
    steps = torch.linspace(-1.0, 1.0, 21).view(-1, 1, 1)
    noise = white(3, batch=21)
    texture.fit(predicted=music - 0.5 + 0.8 * steps, real=music + 0.2 * steps, noise=noise)
    made = torch.tensor([0.0, 5.0, 10.0, 15.0, 20.0]) / 20.0
    assert texture.loudnesses is not None
    levels = texture.loudnesses[0].quantile(made)
    usual = torch.tensor([texture.usual_loudness(float(level)) for level in levels])
    loud = float(loudness(music)[0])
    assert float(usual.diff().min()) > 0.0  # what is softer stays softer
    torch.testing.assert_close(usual[[0, 2, 4]], loud + torch.tensor([-0.18, 0.0, 0.18]), atol=0.03, rtol=0.0)
    assert texture.usual_loudness(loud - 9.0) == pytest.approx(loud - 0.18, abs=0.03)
    again = Texture(N_FFT)
    again.load_state_dict(texture.state_dict())
    assert again.usual_loudness(loud - 0.3) == texture.usual_loudness(loud - 0.3)
