"""The autoencoder keeps lengths, the bottleneck behaves, and the codec's magnitudes become the waveform again."""

import math

import pytest
import torch

from piano.foundation.phase import reconstruct
from piano.piano_encoder_decoder import VariationalEncoderDecoder


def build(channels: int = 1, **changes) -> VariationalEncoderDecoder:
    torch.manual_seed(0)
    keywords = {
        "sound_channels": channels,
        "n_fft": 512,
        "latent_stride": 2,
        "latent_dim": 8,
        "encoder_channels": 24,
        "encoder_layers": 1,
        "n_channels": 24,
        "decoder_layers": 2,
    }
    return VariationalEncoderDecoder(**(keywords | changes))


def chord(samples: int, *, channels: int = 1, batch: int = 2) -> torch.Tensor:
    time = torch.arange(samples) / 8000.0
    tone = torch.stack([0.1 * torch.sin(2 * math.pi * pitch * time) for pitch in (220.0, 277.2, 330.0)]).sum(dim=0)
    return tone.expand(batch, channels, -1).clone()


@pytest.mark.parametrize("samples", [4096, 4097, 5000, 100])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_output_is_as_long_as_the_input(samples, channels):
    autoencoder, frames = build(channels), math.ceil(samples / 256)
    passed = autoencoder(chord(samples, channels=channels))
    assert passed.mu.shape == passed.logvar.shape == (2, frames, 8)
    assert passed.real.shape == passed.decoded.shape == (2, 2 * frames, channels * 257)
    waveform = reconstruct(autoencoder.channel_levels(autoencoder.decoder(passed.mu)).magnitude)[..., :samples]
    assert waveform.shape == (2, channels, samples)
    assert torch.isfinite(waveform).all()


def test_a_pass_draws_from_the_posterior_with_the_noise_that_it_is_given():
    autoencoder, waveform = build(), chord(4096)
    noise = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(3))
    first, again, other = (autoencoder(waveform, noise=given) for given in (noise, noise, -noise))
    assert torch.equal(first.decoded, again.decoded) and not torch.equal(first.decoded, other.decoded)
    latent = first.mu + (0.5 * first.logvar).exp() * noise
    assert torch.equal(first.decoded, autoencoder.decoder(latent))
    assert torch.equal(autoencoder(waveform, noise=noise, jitter=noise).decoded, autoencoder.decoder(latent + noise))


def test_magnitudes_of_a_waveform_become_the_waveform_again():
    autoencoder = build()
    waveform = chord(16384)
    spectrum = autoencoder.analyse(waveform)
    again = autoencoder.analyse(reconstruct(autoencoder.channel_levels(spectrum).magnitude, iterations=32))
    inner = slice(4, -4)
    error = (again - spectrum)[:, inner].abs().mean()
    assert error < 0.1 * (spectrum[:, inner] - spectrum[:, inner].mean()).abs().mean()


def test_logvar_stays_in_its_range_for_absurd_input():
    _, logvar = build().encode(1e6 * torch.randn(1, 1, 4096))
    assert logvar.min() >= -12.0
    assert logvar.max() <= 4.0


def test_the_posterior_sample_has_the_posterior_s_spread():
    mu, logvar = torch.full((1, 20000, 1), 3.0), torch.full((1, 20000, 1), math.log(0.25))
    sample = build().reparameterize(mu, logvar, torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)))
    assert sample.mean().item() == pytest.approx(3.0, abs=0.02)
    assert sample.std().item() == pytest.approx(0.5, abs=0.01)


def test_fitting_the_spectrum_centres_and_scales_the_data():
    autoencoder = build()
    waveform = chord(65536, batch=1) * torch.linspace(0.1, 1.0, 65536)
    autoencoder.fit_spectrum(waveform)
    spectrum = autoencoder.analyse(waveform)
    assert spectrum.mean().abs() < 1e-3
    assert spectrum.square().mean().item() == pytest.approx(1.0, abs=1e-3)


def test_principal_components_let_a_linear_code_rebuild_the_spectrum():
    autoencoder = build()
    waveform = torch.randn(1, 1, 65536, generator=torch.Generator().manual_seed(1)) * 0.05 + chord(65536, batch=1)
    autoencoder.fit_spectrum(waveform)
    spectrum = autoencoder.analyse(waveform)
    weight = autoencoder.encoder.embed.weight
    rebuilt = spectrum @ weight.T @ torch.linalg.pinv(weight).T
    components = torch.pca_lowrank(spectrum[0], q=24, center=False, niter=8)[2]
    best = spectrum @ components @ components.T
    assert (rebuilt - spectrum).square().mean() < 1.05 * (best - spectrum).square().mean()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_decoder_context_is_enough(stride):
    autoencoder = build(latent_stride=stride).eval()
    latent = torch.randn(1, 60, 8)
    whole = autoencoder.decoder(latent)
    margin = autoencoder.decoder.context
    part = autoencoder.decoder(latent[:, 20 - margin : 40 + margin])[:, margin * stride : (margin + 20) * stride]
    torch.testing.assert_close(part, whole[:, 20 * stride : 40 * stride], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_encoder_context_is_enough(stride):
    autoencoder = build(latent_stride=stride).eval()
    hop, margin = autoencoder.hop_samples, autoencoder.encoder.context
    waveform = torch.randn(1, 1, 60 * hop) * 0.1
    whole = autoencoder.encode(waveform)[0]
    part = autoencoder.encode(waveform[..., (20 - margin) * hop : (40 + margin) * hop])[0]
    torch.testing.assert_close(part[:, margin : margin + 20], whole[:, 20:40], rtol=1e-3, atol=1e-4)


def test_encoder_and_decoder_share_no_parameter_and_leave_none_out():
    autoencoder = build()
    encoder = {id(p) for p in autoencoder.encoder.parameters()}
    decoder = {id(p) for p in autoencoder.decoder.parameters()}
    assert not encoder & decoder
    assert encoder | decoder == {id(p) for p in autoencoder.parameters()}


def test_with_a_stereo_image_one_spectrum_serves_both_channels():
    autoencoder, samples = build(2, image_bands=12), 16384
    left, right = chord(samples)[:, 0], 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    sound = torch.stack([left, right + 0.5 * left], dim=1)
    spectrum = autoencoder.analyse(sound)
    assert spectrum.shape == (2, 128, 257 + 24) == (2, 128, autoencoder.values)
    passed = autoencoder(sound)
    assert passed.decoded.shape == spectrum.shape
    levels = autoencoder.channel_levels(spectrum)
    again = reconstruct(levels.magnitude, iterations=4, coherence=levels.coherence)
    for item in range(2):
        wanted, got = (float(torch.corrcoef(stereo[item])[0, 1]) for stereo in (sound, again))
        assert got == pytest.approx(wanted, abs=0.08)
    loudness = [stereo.square().mean(dim=-1).sqrt().log() for stereo in (sound, again)]
    torch.testing.assert_close(loudness[0], loudness[1], atol=0.1, rtol=0)


def test_of_mono_a_stereo_image_means_nothing():
    autoencoder = build(1, image_bands=12)
    assert autoencoder.values == 257
    assert autoencoder.channel_levels(autoencoder.analyse(chord(4096))).coherence is None
