"""From magnitudes to sound: exact where it must be exact, and better than guessing where it must guess."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from piano.foundation.phase import (
    PhaseVocoder,
    _SinglePass,
    extrapolate,
    hold_phase,
    hop_of,
    istft,
    n_fft_of,
    reconstruct,
    stft,
    stft_gradient,
    with_phase,
)

SAMPLE_RATE = 16_000
N_FFT = 1024
HOP = 256


def notes(pitches: list[float], *, seconds: float = 0.5, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Struck strings one after the other, ringing on: waveform (1, samples), a whole number of hops."""
    length = round(len(pitches) * seconds * sample_rate) // HOP * HOP
    waveform = torch.zeros(length)
    for index, pitch in enumerate(pitches):
        start = round(index * seconds * sample_rate)
        time = torch.arange(length - start) / sample_rate
        for harmonic in range(1, 9):
            frequency = harmonic * 440.0 * 2.0 ** ((pitch - 69) / 12)
            decay = torch.exp(-time * (1.5 + harmonic))
            waveform[start:] += 0.2 / harmonic * decay * torch.sin(2 * math.pi * frequency * time + harmonic)
    return waveform.unsqueeze(0)


def tone(frequency: float, samples: int) -> Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(samples) / SAMPLE_RATE).unsqueeze(0)


def distance(waveform: Tensor, magnitudes: Tensor) -> float:
    """Spectral convergence: how far the magnitudes of a waveform are from those it was made of."""
    return float((stft(waveform, n_fft_of(magnitudes)).abs() - magnitudes).norm() / magnitudes.norm())


def peer_window(n_fft: int) -> Tensor:
    return torch.hann_window(n_fft)


@pytest.mark.parametrize(("n_fft", "samples"), [(2048, 20 * 512), (512, 901), (64, 48), (64, 7), (16, 400)])
def test_stft_equals_the_first_frames_of_torch_stft(n_fft: int, samples: int) -> None:
    waveform = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(0))
    peer = torch.stft(
        waveform.flatten(0, 1),
        n_fft,
        n_fft // 4,
        window=peer_window(n_fft),
        center=True,
        pad_mode="constant",
        normalized=True,
        return_complex=True,
    ).transpose(1, 2)
    own = stft(waveform, n_fft)
    assert own.shape == (2, 3, math.ceil(samples / (n_fft // 4)), n_fft // 2 + 1)
    torch.testing.assert_close(own.flatten(0, 1), peer[:, : own.shape[2]], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n_fft", "samples"), [(2048, 20 * 512), (512, 901), (64, 160)])
def test_istft_equals_torch_istft_on_any_spectrum(n_fft: int, samples: int) -> None:
    frames = math.ceil(samples / (n_fft // 4))
    spectrum = torch.randn(2, frames, n_fft // 2 + 1, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    peer = torch.istft(
        spectrum.transpose(1, 2),
        n_fft,
        n_fft // 4,
        window=peer_window(n_fft),
        center=True,
        normalized=True,
        length=samples,
    )
    torch.testing.assert_close(istft(spectrum, samples), peer, atol=1e-5, rtol=1e-5)


@given(samples=st.integers(min_value=1, max_value=700), n_fft=st.sampled_from([16, 64, 256]))
def test_istft_undoes_stft_at_any_length(samples: int, n_fft: int) -> None:
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    torch.testing.assert_close(istft(stft(waveform, n_fft), samples), waveform, atol=1e-5, rtol=0)


def test_more_samples_than_the_frames_hold_are_refused() -> None:
    spectrum = torch.zeros(1, 4, 33, dtype=torch.complex64)
    with pytest.raises(ValueError, match="at most 80 samples, 81 were asked for"):
        istft(spectrum, 81)


@pytest.mark.parametrize("n_fft", [0, 12, 1022])
def test_a_window_that_does_not_divide_by_four_is_refused(n_fft: int) -> None:
    with pytest.raises(ValueError, match="n_fft must be a multiple of 4"):
        hop_of(n_fft)


def whole_recording_at_once(magnitudes: Tensor, iterations: int) -> Tensor:
    """Fast Griffin-Lim as the paper writes it, on all frames together."""
    samples = magnitudes.shape[-2] * HOP
    turns = _SinglePass().advance(magnitudes, None)
    imposed, earlier = torch.polar(magnitudes, 2 * math.pi * turns), None
    for _ in range(iterations):
        projection = stft(istft(imposed, samples), N_FFT)
        moved = projection if earlier is None else projection + 0.99 * (projection - earlier)
        imposed, earlier = magnitudes * torch.sgn(moved), projection
    return istft(imposed, samples)


@pytest.mark.parametrize("iterations", [0, 1, 2, 5, 16])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6, 33, 110])
def test_the_stream_of_iterations_equals_iterating_over_the_whole_recording(iterations: int, frames: int) -> None:
    magnitudes = stft(notes([60, 64, 67, 72]), N_FFT).abs()[:, :frames]
    streamed = reconstruct(magnitudes, iterations=iterations)
    assert streamed.shape == (1, frames * HOP)
    whole = whole_recording_at_once(magnitudes, iterations)
    # Rounding grows a little where the sound is faint and the phase therefore free.
    torch.testing.assert_close(streamed, whole, atol=2e-3, rtol=0)
    assert (streamed - whole).norm() < 1e-3 * whole.norm()


def pushed_in_pieces(vocoder: PhaseVocoder, magnitudes: Tensor, cuts: list[int]) -> Iterator[Tensor]:
    edges = [0, *sorted(cuts), magnitudes.shape[-2]]
    for begin, end in itertools.pairwise(edges):
        yield vocoder.push(magnitudes[..., begin:end, :])
    yield vocoder.finish()


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(min_value=0, max_value=120), max_size=9), iterations=st.sampled_from([0, 3]))
def test_pushes_of_any_sizes_give_the_same_samples_bit_for_bit(cuts: list[int], iterations: int) -> None:
    magnitudes = torch.rand(2, 120, 33, generator=torch.Generator().manual_seed(3))
    pieces = pushed_in_pieces(PhaseVocoder(64, iterations=iterations), magnitudes, cuts)
    assert torch.equal(torch.cat(list(pieces), dim=-1), reconstruct(magnitudes, iterations=iterations))


def test_the_block_size_sets_the_delay_and_not_the_result() -> None:
    magnitudes = stft(notes([60, 67]), N_FFT).abs()
    whole = reconstruct(magnitudes, iterations=4)
    for block_frames in (4, 7, 50):
        vocoder = PhaseVocoder(N_FFT, iterations=4, block_frames=block_frames)
        pieces = list(pushed_in_pieces(vocoder, magnitudes, list(range(magnitudes.shape[-2]))))
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=1e-4, rtol=0)
        first = next(index for index, piece in enumerate(pieces) if piece.shape[-1])
        assert first <= block_frames + 3 * 4 + 3 + block_frames


def held_bytes(thing: object) -> int:
    """Bytes of all tensors that an object holds, in its attributes and lists."""
    if isinstance(thing, Tensor):
        return thing.untyped_storage().nbytes()
    if isinstance(thing, list):
        return sum(held_bytes(part) for part in thing)
    return sum(held_bytes(part) for part in vars(thing).values()) if hasattr(thing, "__dict__") else 0


def test_the_state_does_not_grow_with_the_length() -> None:
    vocoder = PhaseVocoder(64, iterations=5)
    magnitudes = torch.rand(2, 96, 33, generator=torch.Generator().manual_seed(4))
    sizes = []
    for _ in range(30):
        vocoder.push(magnitudes)
        sizes.append(held_bytes(vocoder))
    assert sizes[0] > 0
    assert max(sizes[20:]) == max(sizes[5:15])


def test_clips_of_a_batch_do_not_touch_each_other() -> None:
    magnitudes = torch.rand(2, 3, 2, 40, 33, generator=torch.Generator().manual_seed(5))
    together = reconstruct(magnitudes, iterations=2)
    assert together.shape == (2, 3, 2, 40 * 16)
    assert torch.equal(together[1, 2], reconstruct(magnitudes[1, 2], iterations=2))


def test_a_batch_in_one_vocoder_equals_its_clips_one_by_one() -> None:
    magnitudes = torch.rand(3, 2, 70, 33, generator=torch.Generator().manual_seed(6))
    vocoder = PhaseVocoder(64, iterations=3)
    together = torch.cat([vocoder.push(magnitudes), vocoder.finish()], dim=-1)
    torch.testing.assert_close(together, reconstruct(magnitudes, iterations=3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frequency", [110.0, 443.7, 1000.0, 3333.3, 7900.0])
@pytest.mark.parametrize("iterations", [0, 4])
def test_a_pure_tone_keeps_its_frequency_without_jumps(frequency: float, iterations: int) -> None:
    original = tone(frequency, 120 * HOP)
    sound = reconstruct(stft(original, N_FFT).abs(), iterations=iterations)[0, 20 * HOP : 100 * HOP]
    spectrum = torch.fft.rfft(sound * torch.hann_window(sound.shape[0], periodic=False), n=2**18).abs()
    assert float(spectrum.argmax()) * SAMPLE_RATE / 2**18 == pytest.approx(frequency, abs=0.3)
    # Against the best tone of the original frequency, piece by piece: amplitude steady, phase without a jump.
    pieces = sound.unfold(0, 1024, 512)
    time = (torch.arange(1024) + 512 * torch.arange(pieces.shape[0])[:, None]) / SAMPLE_RATE
    phasor = (pieces * torch.polar(torch.ones(()), -2 * math.pi * frequency * time) * torch.hann_window(1024)).sum(-1)
    turns = torch.angle(phasor[1:] * phasor[:-1].conj()) / (2 * math.pi)
    assert turns.abs().max() < 0.02
    assert phasor.abs().std() / phasor.abs().mean() < 0.03


def test_the_single_pass_beats_zero_and_random_phase_clearly() -> None:
    magnitudes = stft(notes([48, 60, 64, 67, 55, 72]), N_FFT).abs()
    samples = magnitudes.shape[-2] * HOP
    angle = 2 * math.pi * torch.rand(magnitudes.shape, generator=torch.Generator().manual_seed(7))
    random = distance(istft(torch.polar(magnitudes, angle), samples), magnitudes)
    zero = distance(istft(magnitudes.to(torch.complex64), samples), magnitudes)
    single = distance(reconstruct(magnitudes, iterations=0), magnitudes)
    assert single < 0.12
    assert random > 4 * single
    assert zero > 4 * single


def test_more_iterations_come_nearer_to_the_magnitudes() -> None:
    magnitudes = stft(notes([48, 60, 64, 67, 55, 72]), N_FFT).abs()
    distances = [distance(reconstruct(magnitudes, iterations=count), magnitudes) for count in (0, 2, 4, 8, 16, 32)]
    assert distances == sorted(distances, reverse=True)
    assert distances[4] < 0.5 * distances[0]


@pytest.mark.parametrize("iterations", [0, 4])
def test_silence_stays_silent(iterations: int) -> None:
    assert reconstruct(torch.zeros(2, 50, 513), iterations=iterations).abs().max() == 0.0


def test_silence_between_notes_gives_finite_sound_and_stays_silent() -> None:
    magnitudes = stft(notes([60, 64]), N_FFT).abs()
    magnitudes[:, 20:35] = 0.0
    sound = reconstruct(magnitudes, iterations=8)
    assert torch.isfinite(sound).all()
    assert sound[:, 24 * HOP : 31 * HOP].abs().max() < 1e-3
    assert sound[:, 45 * HOP :].abs().max() > 0.05


def test_extreme_magnitudes_give_finite_sound() -> None:
    magnitudes = torch.rand(1, 50, 33, generator=torch.Generator().manual_seed(8)) * 10.0 ** torch.arange(
        -12, 8.16, 0.62
    )
    assert torch.isfinite(reconstruct(magnitudes, iterations=16)).all()


def test_equal_channels_stay_equal_and_panned_ones_keep_their_levels() -> None:
    waveform = notes([60, 64, 67])
    magnitudes = stft(waveform, N_FFT).abs()
    sound = reconstruct(torch.cat([magnitudes, magnitudes, 0.25 * magnitudes]), iterations=4)
    assert torch.equal(sound[0], sound[1])
    torch.testing.assert_close(0.25 * sound[0], sound[2], atol=1e-5, rtol=0)


def test_channels_with_different_notes_keep_their_own() -> None:
    left, right = notes([60, 64, 67]), notes([55, 71, 74])
    magnitudes = torch.cat([stft(left, N_FFT).abs(), stft(right, N_FFT).abs()])
    sound = reconstruct(magnitudes, iterations=16)
    assert distance(sound[:1], magnitudes[:1]) < 0.12
    assert distance(sound[1:], magnitudes[1:]) < 0.12


def test_without_a_shared_start_every_channel_sounds_as_if_alone() -> None:
    magnitudes = torch.cat(
        [stft(notes(pitches), N_FFT).abs() for pitches in ([60.0, 64.0], [55.0, 71.0], [40.0, 50.0])]
    )
    sound = reconstruct(magnitudes, iterations=2, shared_start=False)
    for channel in range(3):
        alone = reconstruct(magnitudes[channel : channel + 1], iterations=2)
        torch.testing.assert_close(sound[channel : channel + 1], alone, atol=1e-5, rtol=0)


def frames_from(waveform: Tensor, start: int) -> Tensor:
    """Magnitudes of the frames that are centred at `start` and every hop after it."""
    before = N_FFT // 2
    return stft(waveform[..., start - before :], N_FFT).abs()[..., 2:, :]


def test_a_continuation_goes_on_in_phase_with_its_prompt() -> None:
    original = notes([57, 60, 64, 69])
    seam = 74 * HOP + 77
    magnitudes = frames_from(original, seam)[:, :20]
    vocoder = PhaseVocoder.from_prompt(original[:, :seam], N_FFT, iterations=4)
    pieces = list(pushed_in_pieces(vocoder, magnitudes, [5, 12]))
    sound = torch.cat(pieces, dim=-1)
    assert sound.shape[-1] == 20 * HOP
    assert torch.equal(sound, reconstruct(magnitudes, iterations=4, prompt=original[:, :seam]))
    true = original[0, seam : seam + 4 * HOP]
    alone = reconstruct(magnitudes, iterations=4)[0, : 4 * HOP]
    error = (sound[0, : 4 * HOP] - true).norm() / true.norm()
    assert error < 0.35
    assert (alone - true).norm() / true.norm() > 2 * error


def click(waveform: Tensor, seam: int) -> float:
    """Spectral flux at the seam over its median around it, in windows of 16 ms."""
    frames = waveform[0].unfold(0, 256, 32) * torch.hann_window(256)
    level = torch.log(torch.fft.rfft(frames).abs() + 1e-3)
    flux = (level[1:] - level[:-1]).clamp(min=0).sum(-1)
    at = (seam - 128) // 32
    return float(flux[at - 4 : at + 5].max() / flux[at - 60 : at + 61].median())


@pytest.mark.parametrize("gain", [1.0, 2.0, 0.25])
@pytest.mark.parametrize("iterations", [0, 8])
def test_the_seam_after_a_prompt_has_no_click_even_when_the_level_jumps(gain: float, iterations: int) -> None:
    original = notes([57, 60, 64, 69])
    seam = 50 * HOP
    magnitudes = gain * frames_from(original, seam)
    sound = reconstruct(magnitudes, iterations=iterations, prompt=original[:, :seam])
    joined = torch.cat([original[:, :seam], sound], dim=-1)
    plain = torch.cat([original[:, :seam], reconstruct(magnitudes, iterations=iterations)], dim=-1)
    assert click(joined, seam) < 3.0
    assert click(plain, seam) > 2 * click(joined, seam)


@pytest.mark.parametrize("samples", [0, 1, 100, 5000])
def test_a_prompt_of_any_length_can_be_continued(samples: int) -> None:
    prompt = notes([60, 64])[:, :samples].expand(2, -1)
    sound = reconstruct(stft(notes([60, 64]), N_FFT).abs().expand(2, -1, -1), iterations=2, prompt=prompt)
    assert sound.shape == (2, notes([60, 64]).shape[-1])
    assert torch.isfinite(sound).all()
    assert sound.abs().max() > 0.05


def test_linear_prediction_goes_on_with_the_tones_it_heard() -> None:
    both = tone(443.7, 4500) + 0.3 * tone(1234.5, 4500)
    expected = extrapolate(both[:, :4000], 500)
    assert (expected - both[:, 4000:]).norm() / both[:, 4000:].norm() < 0.05
    assert extrapolate(torch.zeros(2, 4000), 300).abs().max() == 0.0


def test_held_phase_passes_the_gradient_to_the_magnitudes_only() -> None:
    floor = 1e-3
    log_magnitude = (stft(notes([60, 64]), N_FFT).abs() + floor).log().unsqueeze(0).requires_grad_()
    sound = hold_phase(log_magnitude, floor=floor)
    assert sound.shape == (1, 1, log_magnitude.shape[-2] * HOP)
    sound.square().sum().backward()
    gradient = log_magnitude.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    # Held phase makes the waveform linear in the magnitudes: a step along one bin moves the sound by exactly that bin.
    magnitude = log_magnitude.detach().exp() - floor
    phase = torch.sgn(stft(reconstruct(magnitude, iterations=2), N_FFT))
    linear = istft(magnitude * phase, sound.shape[-1])
    torch.testing.assert_close(sound.detach(), linear)
    bin_, frame, step = int(magnitude[0, 0, 20].argmax()), 20, 1e-2
    moved = magnitude.clone()
    moved[0, 0, frame, bin_] += step
    slope = (istft(moved * phase, sound.shape[-1]).double().square().sum() - linear.double().square().sum()) / step
    expected = float(gradient[0, 0, frame, bin_] / log_magnitude.detach().exp()[0, 0, frame, bin_])
    assert float(slope) == pytest.approx(expected, rel=0.05)


def test_the_ways_back_are_those_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(2)
    log_magnitude = (torch.randn(2, 7, 9, generator=random, dtype=torch.float64) - 1.0).requires_grad_()
    phase = torch.sgn(torch.randn(2, 7, 9, generator=random, dtype=torch.complex128))
    assert torch.autograd.gradcheck(lambda levels: with_phase(levels, phase, floor=0.2), log_magnitude)
    assert (log_magnitude.exp() < 0.2).any()  # clamped, where the gradient is 0

    wave = torch.randn(2, 45, generator=random, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(stft(wave, 16).shape, generator=random, dtype=torch.complex128)
    spectrum = stft(wave, 16)
    (expected,) = torch.autograd.grad((spectrum.real * weights.real + spectrum.imag * weights.imag).sum(), wave)
    torch.testing.assert_close(stft_gradient(weights.clone(), 45), expected)


def test_sound_made_in_inference_mode_does_not_disturb_training() -> None:
    magnitudes = torch.rand(1, 10, 25, generator=torch.Generator().manual_seed(9))
    with torch.inference_mode():
        reconstruct(magnitudes, iterations=1)
    log_magnitude = magnitudes.log().requires_grad_()
    hold_phase(log_magnitude).square().sum().backward()
    assert log_magnitude.grad is not None


def test_wrong_use_is_said_in_one_sentence() -> None:
    vocoder = PhaseVocoder(64, iterations=1)
    with pytest.raises(ValueError, match="nothing to finish"):
        vocoder.finish()
    with pytest.raises(ValueError, match="n_fft 64 needs 33 bins, got 65"):
        vocoder.push(torch.zeros(1, 5, 65))
    with pytest.raises(ValueError, match="iterations must not be negative"):
        PhaseVocoder(64, iterations=-1)
    with pytest.raises(ValueError, match="block_frames must be at least 4"):
        PhaseVocoder(64, block_frames=2)
    vocoder.push(torch.zeros(1, 5, 33))
    assert vocoder.finish().shape == (1, 5 * 16)
    with pytest.raises(ValueError, match="finished"):
        vocoder.push(torch.zeros(1, 5, 33))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_sound() -> None:
    magnitudes = stft(notes([60, 64, 67, 72]), N_FFT).abs().expand(3, 2, -1, -1)
    prompt = notes([57])
    for given_prompt in (None, prompt):
        own = reconstruct(magnitudes, iterations=4, prompt=given_prompt)
        gpu = reconstruct(magnitudes.cuda(), iterations=4, prompt=None if given_prompt is None else given_prompt.cuda())
        torch.testing.assert_close(gpu.cpu(), own, atol=2e-3, rtol=0)
