"""Pairs become a flat run without being copied."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from piano.split_and_append_chunks import split_and_append_chunks


def numbered_pairs(pairs: int = 3, channels: int = 2, samples: int = 5) -> np.ndarray:
    return np.arange(pairs * 2 * channels * samples, dtype=np.float32).reshape(pairs, 2, channels, samples)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(1, 2), st.integers(1, 7))
def test_every_sample_is_kept_and_a_start_is_followed_by_its_continuation(pairs: int, channels: int, samples: int):
    array = numbered_pairs(pairs, channels, samples)
    chunks = split_and_append_chunks(array)
    assert chunks.shape == (2 * pairs, channels, samples)
    for index in range(pairs):
        assert np.array_equal(chunks[2 * index], array[index, 0])
        assert np.array_equal(chunks[2 * index + 1], array[index, 1])


def test_the_chunks_of_an_array_are_a_view():
    pairs = numbered_pairs()
    split_and_append_chunks(pairs)[3, 1, 2] = -1.0
    assert pairs[1, 1, 1, 2] == -1.0


def test_the_chunks_of_a_memory_map_stay_on_disk(tmp_path):
    np.save(tmp_path / "pairs.npy", numbered_pairs())
    mapped = np.load(tmp_path / "pairs.npy", mmap_mode="r")
    chunks = split_and_append_chunks(mapped)
    assert isinstance(chunks, np.memmap)
    assert np.shares_memory(chunks, mapped)
    assert np.array_equal(chunks[1], numbered_pairs()[0, 1])


def test_the_chunks_of_a_tensor_are_a_view_with_its_gradient():
    pairs = torch.from_numpy(numbered_pairs()).requires_grad_()
    chunks = split_and_append_chunks(pairs)
    assert chunks.data_ptr() == pairs.data_ptr()
    chunks[5].sum().backward()
    assert pairs.grad is not None
    assert torch.equal(pairs.grad[2, 1], torch.ones(2, 5))
    assert pairs.grad.sum() == 10


@pytest.mark.parametrize("shape", [(3, 3, 1, 4), (3, 2, 4), (2,)])
def test_anything_but_pairs_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="expected pairs of shape"):
        split_and_append_chunks(np.zeros(shape))


def test_pairs_that_would_have_to_be_copied_are_refused():
    with pytest.raises(ValueError, match="would be a copy"):
        split_and_append_chunks(numbered_pairs(4)[::2])
    with pytest.raises(ValueError, match="would be a copy"):
        split_and_append_chunks(torch.from_numpy(numbered_pairs(4))[::2])
