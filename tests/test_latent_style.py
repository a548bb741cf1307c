"""Styles: a planted pulse is found, the condition is what was measured, drawn styles are like those of the music."""

import math

import pytest
import torch
from torch import Tensor

from piano.latent_style import LatentStyle, find_pulse

RATE = 15.625


def beating_latents(frequencies: Tensor, phases: Tensor, *, frames: int = 125, seed: int = 0) -> Tensor:
    """Latents (items, frames, 8) that jump at every beat and rest between beats."""
    random = torch.Generator().manual_seed(seed)
    seconds = torch.arange(frames) / RATE
    beats = frequencies.unsqueeze(1) * seconds + phases.unsqueeze(1) / (2.0 * math.pi)
    number = beats.floor().long() + 1
    places = torch.randn(len(frequencies), int(number.max()) + 1, 8, generator=random)
    jumps = torch.gather(places, 1, number.unsqueeze(-1).expand(-1, -1, 8))
    return jumps + 0.05 * torch.randn(len(frequencies), frames, 8, generator=random)


@pytest.fixture(scope="module")
def music() -> Tensor:
    random = torch.Generator().manual_seed(1)
    frequencies = 1.0 + 2.0 * torch.rand(64, generator=random)
    colours = torch.randn(64, 1, 8, generator=random)
    return beating_latents(frequencies, torch.zeros(64)) + colours


@pytest.fixture(scope="module")
def style(music: Tensor) -> LatentStyle:
    style = LatentStyle(8, 12, RATE)
    style.fit(music, frames=100)
    return style


def test_a_planted_pulse_is_found_with_its_phase() -> None:
    frequency = torch.tensor([1.1, 1.5, 2.0, 2.6])
    phase = torch.tensor([0.5, 2.0, 4.0, 6.0])
    latents = beating_latents(frequency, phase)
    movement = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=-1).sqrt()
    pulse = find_pulse(movement, RATE)
    octaves = (pulse.frequency / frequency).log2()
    torch.testing.assert_close(octaves, octaves.round(), atol=0.03, rtol=0.0)  # the beat, or its half or double
    signals = pulse.signals(125, first_frame=0, frames_per_second=RATE)
    heard = (signals[..., 0] + signals[..., 2])[:, 1:]
    alike = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(heard, movement, strict=True)])
    assert alike.min() > 0.4


def test_noise_has_less_of_a_pulse_than_a_beat() -> None:
    noise = torch.randn(32, 124, generator=torch.Generator().manual_seed(2)).abs()
    latents = beating_latents(torch.full((32,), 1.7), torch.zeros(32))
    beat = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=-1).sqrt()
    strengths = [
        (pulse.strength + pulse.octave.abs()).mean() for pulse in (find_pulse(noise, RATE), find_pulse(beat, RATE))
    ]
    assert strengths[1] > 1.5 * strengths[0]


def test_the_pulse_goes_on_across_windows(style: LatentStyle) -> None:
    pulse = style.draw(0, range(3)).pulse
    whole = pulse.signals(200, first_frame=0, frames_per_second=RATE)
    later = pulse.signals(80, first_frame=120, frames_per_second=RATE)
    torch.testing.assert_close(later, whole[:, 120:], atol=1e-3, rtol=0.0)


def test_styles_are_whitened_and_tell_colours_apart(style: LatentStyle, music: Tensor) -> None:
    vectors = style.describe(music[:, :100]).vector
    assert vectors.mean(dim=0).abs().max() < 0.5
    assert 0.5 < vectors.std(dim=0).mean() < 1.5
    again = style.describe(music[:, 25:125]).vector
    own = (vectors - again).norm(dim=1)
    others = (vectors - again.roll(1, dims=0)).norm(dim=1)
    assert (own < others).float().mean() > 0.9


def test_drawn_styles_are_near_the_music_s_and_repeat(style: LatentStyle) -> None:
    drawn = style.draw(5, range(40))
    assert torch.equal(drawn.vector, style.draw(5, range(40)).vector)
    assert torch.equal(drawn.vector[7], style.draw(5, range(7, 8)).vector[0])
    assert not torch.equal(drawn.vector, style.draw(6, range(40)).vector)
    distances = torch.cdist(drawn.vector, style.anchors).min(dim=1).values
    random = torch.randn(40, style.style_dim, generator=torch.Generator().manual_seed(3))
    assert distances.mean() < 0.8 * torch.cdist(random, style.anchors).min(dim=1).values.mean()
    assert distances.min() > 0.0
    assert drawn.pulse.frequency.min() >= 0.8 and drawn.pulse.frequency.max() <= 3.6


def test_new_anchors_keep_the_meaning_of_the_numbers(style: LatentStyle, music: Tensor) -> None:
    other = LatentStyle(8, 12, RATE)
    other.load_state_dict(style.state_dict())
    other.renew_anchors(music + 3.0, frames=100)
    torch.testing.assert_close(other.describe(music).vector, style.describe(music).vector)
    assert (other.anchors.mean(dim=0) - style.anchors.mean(dim=0)).norm() > 1.0


def test_a_hidden_style_tells_nothing(style: LatentStyle, music: Tensor) -> None:
    condition = style.describe(music[:2]).condition(125, frames_per_second=RATE).masked(torch.tensor([[1.0], [0.0]]))
    assert condition.is_known.tolist() == [[1.0], [0.0]]
    assert float(condition.vector[1].abs().max()) == float(condition.signals[1].abs().max()) == 0.0
    assert float(condition.vector[0].abs().max()) > 0.0
