"""A sound that is wide stays as wide: level differences and coherence in bands, and the phases that keep them."""

import itertools
import math

import pytest
import torch

from piano.foundation.bands import band_of_bins
from piano.foundation.phase import PhaseVocoder, reconstruct, stft
from piano.foundation.stereo import coherence_of_bins, measure_image, spread_levels

N_FFT, SAMPLES, BANDS = 1024, 24_000, 24


def white(seed: int) -> torch.Tensor:
    """Noise (1, samples)."""
    return 0.1 * torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(seed))


def wide(correlation: float) -> torch.Tensor:
    """Noise (2, samples) whose channels correlate so much."""
    return torch.cat([white(0), correlation * white(0) + math.sqrt(1.0 - correlation**2) * white(1)])


def kept(sound: torch.Tensor, *, iterations: int = 2) -> torch.Tensor:
    """What comes back of a sound (2, samples) from one spectrum of both channels and the image."""
    spectrum = stft(sound, N_FFT)
    common, image = spectrum.abs().square().mean(dim=0).sqrt(), measure_image(spectrum, BANDS)
    magnitudes = spread_levels((common + 1e-9).log(), image).exp()
    return reconstruct(magnitudes, iterations=iterations, coherence=coherence_of_bins(image, common.shape[-1]))


def correlation_of(sound: torch.Tensor) -> float:
    return float(torch.corrcoef(sound)[0, 1])


@pytest.mark.parametrize("bins, bands", [(513, 24), (2049, 44), (65, 64)])
def test_every_band_has_bins_and_higher_ones_have_more(bins, bands):
    counts = torch.bincount(band_of_bins(bins, bands, torch.device("cpu")), minlength=bands)
    assert int(counts.sum()) == bins
    if bands * 4 < bins:
        assert int(counts.min()) >= 1
        assert counts[-1] > 4 * counts[0]


def test_the_image_says_where_a_sound_stands():
    noise = white(2)
    image = measure_image(stft(torch.cat([noise, 0.5 * noise]), N_FFT), BANDS)
    torch.testing.assert_close(image.difference, torch.full_like(image.difference, math.log(2.0)), atol=0.01, rtol=0)
    assert float(image.coherence.min()) > 0.98
    inverted = measure_image(stft(torch.cat([noise, -noise]), N_FFT), BANDS)
    assert float(inverted.coherence.max()) < -0.98
    silent = measure_image(torch.zeros(2, 5, N_FFT // 2 + 1, dtype=torch.complex64), BANDS)
    assert float(silent.difference.abs().max()) == 0.0 and float(silent.coherence.abs().max()) == 0.0
    one_side = measure_image(stft(torch.cat([noise, 0.0 * noise]), N_FFT), BANDS)
    assert float(one_side.difference.max()) <= 3.0


def test_a_band_without_a_bin_says_nothing_and_spoils_nothing():
    spectrum = torch.randn(2, 4, 33, dtype=torch.complex64, generator=torch.Generator().manual_seed(7))
    counts = torch.bincount(band_of_bins(33, 32, torch.device("cpu")), minlength=32)
    assert int(counts.min()) == 0
    image = measure_image(spectrum, 32)
    empty = counts == 0
    assert all(bool(torch.isfinite(field).all()) for field in image)
    assert float(image.difference[..., empty].abs().max()) == float(image.coherence[..., empty].abs().max()) == 0.0


def test_levels_of_the_channels_have_the_power_of_the_common_one_and_its_difference():
    common = torch.randn(7, 65, generator=torch.Generator().manual_seed(3))
    image = measure_image(torch.randn(2, 7, 65, dtype=torch.complex64), 8)
    levels = spread_levels(common, image)
    torch.testing.assert_close(0.5 * (2.0 * levels).exp().mean(dim=0).log(), common, atol=1e-4, rtol=0)
    index = band_of_bins(65, 8, torch.device("cpu"))
    torch.testing.assert_close(levels[0] - levels[1], image.difference[..., index], atol=1e-4, rtol=0)


@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.3, 0.8, 1.0])
def test_channels_correlate_afterwards_as_they_did(correlation):
    assert correlation_of(kept(wide(correlation))) == pytest.approx(correlation, abs=0.06)
    assert correlation_of(kept(wide(correlation), iterations=0)) == pytest.approx(correlation, abs=0.15)


def test_a_sound_on_one_side_stays_there():
    sound = kept(torch.cat([white(4), 0.1 * white(5)]))
    levels = sound.square().mean(dim=1).sqrt().log()
    assert float(levels[0] - levels[1]) == pytest.approx(math.log(10.0), abs=0.15)


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_in_pieces_it_is_what_it_is_as_a_whole(iterations):
    magnitudes = stft(wide(0.4), N_FFT).abs()
    cosine = 2.0 * torch.rand(magnitudes.shape[1:], generator=torch.Generator().manual_seed(6)) - 1.0
    vocoder = PhaseVocoder(N_FFT, iterations=iterations, block_frames=16)
    cuts = [0, 3, 40, 41, magnitudes.shape[1]]
    pieces = [vocoder.push(magnitudes[:, begin:end], cosine[begin:end]) for begin, end in itertools.pairwise(cuts)]
    whole = reconstruct(magnitudes, iterations=iterations, coherence=cosine)
    torch.testing.assert_close(torch.cat([*pieces, vocoder.finish()], dim=-1), whole, atol=1e-5, rtol=0)


def test_a_wide_sound_goes_on_from_its_prompt():
    sound = wide(0.2)
    magnitudes = stft(sound[:, 12_000 - N_FFT // 2 :], N_FFT).abs()[:, 2:]
    cosine = torch.full(magnitudes.shape[1:], 0.2)
    after = reconstruct(magnitudes, iterations=2, prompt=sound[:, :12_000], coherence=cosine)
    assert torch.isfinite(after).all()
    assert correlation_of(after) == pytest.approx(0.2, abs=0.08)


def test_coherence_needs_two_channels():
    with pytest.raises(ValueError, match="two channels"):
        PhaseVocoder(64).push(torch.ones(1, 9, 33), torch.ones(9, 33))
