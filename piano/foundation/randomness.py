"""Random numbers that depend on a key and on nothing else, so that any part can be made again alone."""

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

NOISE_BLOCK_FRAMES = 64


def keyed_generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a key, such as (seed, stage, step).

    torch's CPU generator takes 32 bits of a seed: of two keys, one pair in four thousand million has the same numbers,
    and among 77,000 keys there is such a pair as likely as not. Nothing here depends on their being different; another
    seeding would change every sound that was made so far.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def keyed_noise(*key: int | str, first_frame: int, frames: int, channels: int) -> Tensor:
    """White noise of an endless sequence: frame n is the same whichever piece it is asked for in.

    Returns
    -------
    Tensor [shape=(frames, channels)]
        Standard normal.
    """
    first_block, last_block = (first_frame // NOISE_BLOCK_FRAMES, (first_frame + frames - 1) // NOISE_BLOCK_FRAMES)
    blocks = [_noise_block(*key, block, channels=channels) for block in range(first_block, last_block + 1)]
    begin = first_frame - first_block * NOISE_BLOCK_FRAMES
    return torch.cat(blocks)[begin : begin + frames]


@lru_cache(maxsize=8)
def _noise_block(*key: int | str, channels: int) -> Tensor:
    """A block of that sequence; two pieces in a row need the one between them."""
    with torch.inference_mode(mode=False):
        return torch.randn(NOISE_BLOCK_FRAMES, channels, generator=keyed_generator(*key))
