"""The numbers of a seed inside TorchScript: those of `foundation.randomness`, so that a seed is the same music.

A key is hashed by BLAKE2b (RFC 7693) and seeds torch's generator. TorchScript has no hash, but 64-bit words in tensors
are all that one needs.
"""

import torch
from torch import Tensor, nn

from piano.foundation.randomness import NOISE_BLOCK_FRAMES

DIGEST_BYTES = 8
BLOCK_BYTES = 128
_ORDER = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
"""RFC 7693, 2.7: which word goes where, round by round; two more rounds repeat the first two."""
_START = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)


def _signed(word: int) -> int:
    """A 64-bit word as the signed number of the same bits."""
    return word - (1 << 64) if word >> 63 else word


def rotated(words: Tensor, bits: int) -> Tensor:
    """64-bit words turned right by so many bits."""
    return ((words >> bits) & ((1 << (64 - bits)) - 1)) | (words << (64 - bits))


@torch.jit.interface
class KeyedNoise(nn.Module):
    """What the noise is called by. Behind an interface it is compiled once, and not at every place that calls it."""

    def block(self, key: str, block: int, channels: int) -> Tensor:  # type: ignore
        pass

    def frames(self, key: str, first_frame: int, frames: int, channels: int) -> Tensor:  # type: ignore
        pass

    def style_draws(self, key: str, anchors: int) -> tuple[int, float, float]:  # type: ignore
        pass


class ScriptedNoise(nn.Module):
    """Numbers that depend on a key and on nothing else; keys are written as Python shows tuples."""

    order: Tensor
    start: Tensor

    def __init__(self) -> None:
        super().__init__()
        # TorchScript sees attributes, and no constants of a module.
        self.block_frames, self.block_bytes, self.digest_bytes = NOISE_BLOCK_FRAMES, BLOCK_BYTES, DIGEST_BYTES
        self.register_buffer("order", torch.tensor(_ORDER + _ORDER[:2]))
        self.register_buffer("start", torch.tensor([_signed(word) for word in _START]))

    @torch.jit.export
    def seed_of(self, key: str) -> int:
        """What `keyed_generator` seeds its generator with."""
        codes = [ord(letter) for letter in key]
        assert len(codes) <= self.block_bytes, "a key is longer than a block of the hash"
        data = torch.tensor(codes + [0] * (self.block_bytes - len(codes)), dtype=torch.int64).view(16, 8)
        words = torch.zeros(16, dtype=torch.int64)
        for byte in range(8):
            words = words | (data[:, byte] << (8 * byte))
        start = self.start.cpu()
        before = start.clone()
        before[0] = before[0] ^ (0x01010000 ^ self.digest_bytes)
        later = start.clone()
        later[4] = later[4] ^ len(codes)
        later[6] = later[6] ^ -1  # the last block, and the only one
        a, b, c, d = before[:4], before[4:], later[:4], later[4:]
        order = self.order.cpu()
        for turn in range(12):
            row = words[order[turn]]
            a, b, c, d = self._mix(a, b, c, d, row[0:8:2], row[1:8:2])
            b, c, d = b.roll(-1), c.roll(-2), d.roll(-3)
            a, b, c, d = self._mix(a, b, c, d, row[8:16:2], row[9:16:2])
            b, c, d = b.roll(1), c.roll(2), d.roll(3)
        word = before[0] ^ a[0] ^ c[0]
        seed = 0  # the word's bytes from the last to the first, without the lowest bit: 63 bits, never negative
        for byte in range(self.digest_bytes):
            value = int(((word >> (8 * byte)) & 255).item())
            place = 55 - 8 * byte
            seed = seed | ((value << place) if place >= 0 else (value >> 1))
        return seed

    def _mix(
        self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """RFC 7693, 3.1, for four columns at once."""
        a = a + b + x
        d = rotated(d ^ a, 32)
        c = c + d
        b = rotated(b ^ c, 24)
        a = a + b + y
        d = rotated(d ^ a, 16)
        c = c + d
        return a, rotated(b ^ c, 63), c, d

    @torch.jit.export
    def block(self, key: str, block: int, channels: int) -> Tensor:
        """Block of NOISE_BLOCK_FRAMES frames [shape=(frames, channels)] of the noise of a key without its bracket."""
        generator = torch.Generator()
        generator.manual_seed(self.seed_of("({}, {})".format(key, block)))  # noqa: UP032 - TorchScript has no f-strings
        return torch.randn([self.block_frames, channels], generator=generator)

    @torch.jit.export
    def frames(self, key: str, first_frame: int, frames: int, channels: int) -> Tensor:
        """`foundation.randomness.keyed_noise` [shape=(frames, channels)]."""
        if frames == 0:
            return torch.zeros(0, channels)
        first = first_frame // self.block_frames
        last = (first_frame + frames - 1) // self.block_frames
        blocks: list[Tensor] = []
        for block in range(first, last + 1):
            blocks.append(self.block(key, block, channels))
        begin = first_frame - first * self.block_frames
        return torch.cat(blocks)[begin : begin + frames]

    @torch.jit.export
    def style_draws(self, key: str, anchors: int) -> tuple[int, float, float]:
        """Index of an anchor, and two numbers in [0, 1), in the order that a style takes them."""
        generator = torch.Generator()
        generator.manual_seed(self.seed_of(key))
        anchor = int(torch.randint(anchors, [1], generator=generator).item())
        phase = float(torch.rand([], generator=generator).item())
        first_beat = float(torch.rand([], generator=generator).item())
        return anchor, phase, first_beat
