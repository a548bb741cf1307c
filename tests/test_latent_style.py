"""Styles: a planted pulse is found, the condition is what was measured, drawn styles are like those of the music."""

import math

import pytest
import torch
from torch import Tensor

from piano.latent_style import REPEAT_SIGNALS, REPEATS, LatentStyle, find_pulse, find_repeats
from tests.held_latents import HeldLatents

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
    style.fit(HeldLatents(music), frames=100)
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


def plucked_latents(frequencies: Tensor, first: Tensor, *, frames: int = 125, seed: int = 5) -> tuple[Tensor, Tensor]:
    """Latents (items, frames, 8) in which a note is struck at every beat and damped halfway to the next; its onsets.

    What moves most is the damping: three numbers jump when a note is struck, five when it is damped.
    """
    random = torch.Generator().manual_seed(seed)
    place = torch.arange(frames) / RATE * frequencies.unsqueeze(1) - first.unsqueeze(1)
    sounds = ((place % 1.0) < 0.5).float().unsqueeze(-1)
    struck = torch.diff(sounds, dim=1, prepend=sounds[:, :1]).relu()
    notes = torch.randn(len(frequencies), 200, 3, generator=random).abs() + 0.5
    number = place.floor().long().clamp_min(-1) + 1
    attack = torch.gather(notes, 1, number.unsqueeze(-1).expand(-1, -1, 3)) * sounds
    damped = 2.0 * (1.0 - sounds).expand(-1, -1, 5)
    latents = torch.cat([attack, damped], dim=-1) + 0.1 * torch.randn(len(frequencies), frames, 8, generator=random)
    return latents, struck.squeeze(-1)


def phase_error(style: LatentStyle, latents: Tensor, first: Tensor, frequencies: Tensor) -> float:
    """Mean distance in beats of the pulse's peaks from the true beats; chance is 0.25."""
    pulse = style.measure(latents)[1]
    angle = 2.0 * math.pi * pulse.frequency * (first / frequencies) + pulse.phase
    octave = (pulse.frequency / frequencies).log2().round()
    return float(((angle / (2.0 * math.pi) + 0.5) % 1.0 - 0.5)[octave == 0].abs().mean())


def test_the_pulse_lies_where_notes_begin_and_not_where_they_end() -> None:
    random = torch.Generator().manual_seed(6)
    frequencies, first = 1.2 + torch.rand(48, generator=random), torch.rand(48, generator=random)
    latents, onsets = plucked_latents(frequencies, first)
    style = LatentStyle(8, 12, RATE)
    by_movement = phase_error(style, latents[24:], first[24:], frequencies[24:])
    style.fit_onsets(latents[:24], onsets[:24])
    by_onsets = phase_error(style, latents[24:], first[24:], frequencies[24:])
    assert by_onsets < 0.1 < by_movement


def test_a_style_takes_the_readout_of_onsets_along_and_one_of_before_has_none(style: LatentStyle) -> None:
    latents, onsets = plucked_latents(torch.full((4,), 1.5), torch.zeros(4))
    reads = LatentStyle(8, 12, RATE)
    reads.fit_onsets(latents, onsets)
    reads.fit(HeldLatents(latents), frames=100)
    for state, pulse in ((reads.state_dict(), reads), (style.state_dict(), style)):
        other = LatentStyle(8, 12, RATE)
        other.load_state_dict(state)
        assert (other.onset is None) == (pulse.onset is None)
        torch.testing.assert_close(other.describe(latents).pulse.phase, pulse.describe(latents).pulse.phase)


def test_a_style_is_measured_and_drawn_the_same_while_networks_compute_in_bfloat16() -> None:
    latents, onsets = plucked_latents(1.2 + torch.rand(24, generator=torch.Generator().manual_seed(7)), torch.zeros(24))
    style = LatentStyle(8, 12, RATE, has_repeats=True)
    style.fit_onsets(latents, onsets)
    style.fit(HeldLatents(latents), frames=100)
    drawn, described = style.draw(3, range(5)), style.describe(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for inside, outside in ((style.draw(3, range(5)), drawn), (style.describe(latents), described)):
            assert torch.equal(inside.vector, outside.vector)
            for name, value in outside.pulse._asdict().items():
                assert torch.equal(getattr(inside.pulse, name), value), name


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
    other.renew_anchors(HeldLatents(music + 3.0), frames=100)
    torch.testing.assert_close(other.describe(music).vector, style.describe(music).vector)
    assert (other.anchors.mean(dim=0) - style.anchors.mean(dim=0)).norm() > 1.0


def test_a_hidden_style_tells_nothing(style: LatentStyle, music: Tensor) -> None:
    condition = style.describe(music[:2]).condition(125, frames_per_second=RATE).masked(torch.tensor([[1.0], [0.0]]))
    assert condition.is_known.tolist() == [[1.0], [0.0]]
    assert float(condition.vector[1].abs().max()) == float(condition.signals[1].abs().max()) == 0.0
    assert float(condition.vector[0].abs().max()) > 0.0


def looping_latents(beats: int, *, frequency: float = 2.0, frames: int = 125, seed: int = 3) -> Tensor:
    """Latents (1, frames, 8) with a place for each beat of a loop of so many beats, and a jump at every beat."""
    random = torch.Generator().manual_seed(seed)
    places = torch.randn(beats, 8, generator=random)
    number = (torch.arange(frames) / RATE * frequency).floor().long()
    return (places[number % beats] + 0.1 * torch.randn(frames, 8, generator=random)).unsqueeze(0)


@pytest.mark.parametrize("beats", [2, 3, 4])
def test_what_comes_again_is_found_and_its_wave_comes_again_with_it(beats: int) -> None:
    latents = looping_latents(beats)
    movement = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=-1).sqrt()
    pulse = find_pulse(movement, RATE)._replace(frequency=torch.tensor([2.0]))
    found = find_repeats(latents, pulse, RATE)
    assert found.repeats is not None and int(found.beats[0]) % beats == 0
    assert float(found.repeats[0].max()) > 0.4
    signals = found.signals(125, first_frame=0, frames_per_second=RATE)[0, :, -REPEAT_SIGNALS:]
    lag = int(found.beats[0]) / 2.0 * RATE
    later = found.signals(125, first_frame=round(4 * lag), frames_per_second=RATE)[0, :, -REPEAT_SIGNALS:]
    torch.testing.assert_close(signals, later, atol=0.2, rtol=0.0)
    torch.testing.assert_close(signals.norm(dim=-1), found.repeats[0].max().expand(125), atol=1e-4, rtol=0.0)


def test_of_noise_nothing_comes_again() -> None:
    noise = torch.randn(16, 125, 8, generator=torch.Generator().manual_seed(4))
    found = find_repeats(noise, find_pulse(noise[:, 1:].norm(dim=-1), RATE), RATE)
    assert found.repeats is not None and float(found.repeats.abs().mean()) < 0.06


def test_a_style_keeps_what_comes_again(music: Tensor) -> None:
    loops = torch.cat([looping_latents(beats, seed=seed) for beats in (2, 3, 4) for seed in range(12)])
    style = LatentStyle(8, 20, RATE, has_repeats=True)
    style.fit(HeldLatents(loops), frames=100)
    described = style.describe(loops[:, :100])
    assert described.pulse.repeats is not None and described.pulse.repeats.shape == (36, len(REPEATS))
    drawn = style.draw(0, range(24)).pulse
    assert drawn.repeats is not None and drawn.turn is not None
    strongest = [found.amax(dim=1).mean().item() for found in (drawn.repeats, described.pulse.repeats)]
    assert strongest[0] == pytest.approx(strongest[1], abs=0.2) and strongest[1] > 0.4
    condition = style.draw(0, range(3)).condition(40, frames_per_second=RATE)
    assert condition.signals.shape == (3, 40, 6)
