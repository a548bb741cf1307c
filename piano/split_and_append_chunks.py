"""Pairs of neighbouring segments as one flat run of segments."""

from typing import Any

import numpy as np

from piano.foundation.shard_pairs import ShardPairs


def split_and_append_chunks(pairs: Any) -> Any:
    """Split every pair and append its halves to one another, without copying.

    Parameters
    ----------
    pairs : np.ndarray, np.memmap, torch.Tensor or ShardPairs [shape=(pairs, 2, channels, samples)]

    Returns
    -------
    the same kind [shape=(2 * pairs, channels, samples)]
        A view: pair 0's start, pair 0's continuation, pair 1's start and so on. A memory map stays on disk, and pairs
        in shards are read when they are asked for.

    Raises
    ------
    ValueError
        If the shape is another, or pairs do not lie one after the other in memory, so that a view is impossible.

    Examples
    --------
    >>> split_and_append_chunks(np.zeros((3, 2, 1, 16_000), dtype=np.float32)).shape
    (6, 1, 16000)
    """
    if isinstance(pairs, ShardPairs):
        return pairs.segments()
    shape = tuple(pairs.shape)
    if len(shape) != 4 or shape[1] != 2:
        raise ValueError(f"expected pairs of shape (pairs, 2, channels, samples), got {shape}")
    is_array = isinstance(pairs, np.ndarray)
    strides = pairs.strides if is_array else pairs.stride()
    if shape[0] > 1 and strides[0] != 2 * strides[1]:
        raise ValueError("the pairs do not lie one after the other in memory: chunks of them would be a copy")
    flat = (2 * shape[0], *shape[2:])
    return pairs.reshape(flat) if is_array else pairs.view(flat)
