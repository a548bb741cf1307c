"""Statistics of features on sequences whose answer is known by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from piano.foundation.music_statistics import (
    dissonance,
    gated_mean,
    interval_profile,
    jensen_shannon_matrix,
    mean_spectrum,
    onset_autocorrelation,
    quantile_distance,
    quantiles,
    self_similarity,
    silence_share,
    split_in_chunks,
)

numbers = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30)


def notes(*pitch_classes: int) -> Tensor:
    """One pure pitch class a frame, (1, frames, 12)."""
    return torch.nn.functional.one_hot(torch.tensor([pitch_classes]), 12).double()


def test_dissonance_counts_semitones_fully_and_whole_tones_at_a_third() -> None:
    pair = torch.zeros(1, 3, 12)
    pair[0, :, 11] = 0.5
    pair[0, [0, 1, 2], [0, 1, 4]] = 0.5  # B with C, with C sharp, with E
    torch.testing.assert_close(dissonance(pair), torch.tensor([[1.0, 0.35, 0.0]]))


def test_a_melody_that_repeats_after_three_frames_is_like_itself_there() -> None:
    similarity = self_similarity(notes(0, 4, 7, 0, 4, 7, 0), torch.ones(1, 7), (1, 2, 3))
    torch.testing.assert_close(similarity, torch.tensor([[0.0, 0.0, 1.0]]).double())


def test_silent_frames_do_not_count_in_a_melody() -> None:
    gate = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0]])
    similarity = self_similarity(notes(0, 0, 5, 0, 0), gate, (1,))
    assert similarity.item() == pytest.approx(1.0, abs=1e-5)


def test_interval_profile_is_the_same_in_every_key() -> None:
    gate = torch.ones(1, 4)
    tune, transposed = notes(0, 4, 7, 0), notes(5, 9, 0, 5)
    profile = interval_profile(tune, gate)
    torch.testing.assert_close(profile, interval_profile(transposed, gate))
    expected = torch.zeros(1, 12).double()
    expected[0, [4, 3, 5]] = 1 / 3  # up a third, up a minor third, down a fifth = up a fourth
    torch.testing.assert_close(profile, expected)


def test_a_regular_beat_stands_out_at_its_period() -> None:
    onset = torch.zeros(1, 200)
    onset[:, ::20] = 1.0
    correlation = onset_autocorrelation(onset, 10, 80)[0]
    assert (correlation.argmax() + 10).item() == 20
    assert correlation[10].item() > 0.8
    assert onset_autocorrelation(torch.zeros(1, 200), 10, 80).abs().max().item() == 0.0


@settings(max_examples=50, deadline=None)
@given(numbers, st.floats(-10, 10))
def test_moving_every_number_moves_the_distribution_by_as_much(values: list[float], shift: float) -> None:
    moved = torch.tensor(values, dtype=torch.float64) + shift
    distance = quantile_distance(moved, torch.tensor(values, dtype=torch.float64).flip(0))
    assert distance.item() == pytest.approx(abs(shift), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(numbers, st.integers(1, 60))
def test_quantiles_of_any_number_are_sorted_and_within_the_values(values: list[float], count: int) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    drawn = quantiles(tensor, count)
    assert drawn.shape == (count,)
    assert (drawn.diff() >= -1e-9).all()
    assert tensor.min() - 1e-9 <= drawn.min()
    assert drawn.max() <= tensor.max() + 1e-9


def test_quantile_distance_does_not_depend_on_how_often_a_distribution_is_repeated() -> None:
    values, reference = torch.rand(40, dtype=torch.float64), torch.rand(40, dtype=torch.float64)
    once = quantile_distance(values, reference)
    torch.testing.assert_close(quantile_distance(values.repeat(8), reference.repeat(8)), once)


def test_jensen_shannon_is_zero_for_equals_and_log_two_for_strangers() -> None:
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]], dtype=torch.float64)
    divergence = jensen_shannon_matrix(shares)
    expected = math.log(2) * torch.tensor([[0.0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(divergence, expected)


def test_mean_spectrum_averages_power_and_not_decibels() -> None:
    log_power = torch.log(torch.tensor([[[1.0, 3.0], [6.0, 0.0001]]]))
    torch.testing.assert_close(mean_spectrum(log_power), torch.tensor([[0.4, 0.6]]), atol=1e-4, rtol=0)


def test_gated_mean_of_closed_gates_is_the_plain_mean() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0]])
    torch.testing.assert_close(gated_mean(values, torch.zeros(1, 3)), torch.tensor([3.0]))
    torch.testing.assert_close(
        gated_mean(values, torch.tensor([[0.0, 0.0, 1.0]])), torch.tensor([6.0]), atol=1e-4, rtol=0
    )


def test_silence_rises_in_a_straight_line_from_minus_fifty_to_minus_eighty() -> None:
    torch.testing.assert_close(silence_share(torch.tensor([-20.0, -50, -65, -80])), torch.tensor([0, 0, 0.5, 1.0]))


def test_chunks_are_equal_and_in_order() -> None:
    chunks = split_in_chunks(torch.arange(10.0).view(1, 1, 10), 3)
    assert chunks.squeeze().tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert split_in_chunks(torch.zeros(2, 1, 5), 33).shape == (2, 1, 5, 1)
