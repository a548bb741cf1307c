"""Where the whole frames of a FLAC stream are, so that one bad bit does not cost the rest of a song.

The decoder stops at the first damage. A frame has a checksum over its header and one over everything (RFC 9639,
section 9), so the frames on the other side are found without decoding them.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from piano.foundation.sound_source import SourcePart

MAGIC = b"fLaC"
_WINDOW_BYTES = 4 << 20
_MOST_FRAME_BYTES = 2 << 20  # 65,535 samples of eight channels at 24 bits take 1.6 MB
_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_HEADER_BYTES = 16
_CRC16_PERIOD = 32767  # x has this order modulo the generator x^16 + x^15 + x^2 + 1
_BOUNDARY = re.compile(rb"\xff[\xf8\xf9]|fLaC|TAG|APETAGEX|ID3|LYRICSBEGIN|OggS", re.DOTALL)


class FlacStream(NamedTuple):
    """What stands in front of the frames."""

    start: int
    """Byte of the magic word."""
    frames_start: int
    """Byte of the first frame."""
    info: bytes
    """[34 bytes] the STREAMINFO block"""
    sample_rate: int
    channels: int
    bits: int
    samples: int
    """0 where the encoder did not know."""


class FlacRun(NamedTuple):
    """Whole frames, one behind the other."""

    start: int
    end: int
    first_sample: int
    samples: int


def read_stream(part: SourcePart, start: int) -> FlacStream | None:
    """The stream whose magic word stands at `start`; None if there is none."""
    head = part.read_at(start, 42)
    if len(head) < 42 or head[:4] != MAGIC or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    info = head[8:]
    packed = int.from_bytes(info[10:18], "big")
    position, is_last = start + 42, bool(head[4] & 0x80)
    while not is_last:
        block = part.read_at(position, 4)
        if len(block) < 4 or block[0] & 0x7F == 127:
            break
        is_last = bool(block[0] & 0x80)
        position += 4 + int.from_bytes(block[1:], "big")
    return FlacStream(
        start=start,
        frames_start=min(position, part.size),
        info=info,
        sample_rate=packed >> 44,
        channels=(packed >> 41 & 7) + 1,
        bits=(packed >> 36 & 31) + 1,
        samples=packed & (1 << 36) - 1,
    )


def stream_header(stream: FlacStream, samples: int) -> bytes:
    """What a decoder wants in front of some frames of a stream."""
    packed = int.from_bytes(stream.info[10:18], "big") >> 36 << 36 | min(samples, (1 << 36) - 1)
    info = stream.info[:4] + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return MAGIC + b"\x80\0\0\x22" + info


def find_runs(part: SourcePart, stream: FlacStream, position: int) -> Iterator[FlacRun | FlacStream]:
    """Walk the whole frames from a byte on.

    Yields
    ------
    FlacRun
        Frames without bytes or samples between them; the next one begins where something is missing.
    FlacStream
        At last, where another stream begins.
    """
    run: FlacRun | None = None
    window = _Window(part)
    while True:
        at, what = window.next_boundary(position)
        if what is None:
            break
        if what == MAGIC and (following := read_stream(part, at)) is not None and following.channels:
            if run is not None:
                yield run
            yield following
            return
        frame = _parse_header(window.at(at, _HEADER_BYTES), stream)
        end = _frame_end(window, at, stream) if frame is not None else None
        if frame is None or end is None:
            position = at + 1
            continue
        first, samples = frame
        if run is not None and run.end == at and run.first_sample + run.samples == first:
            run = FlacRun(run.start, end, run.first_sample, run.samples + samples)
        else:
            if run is not None:
                yield run
            run = FlacRun(at, end, first, samples)
        position = end
    if run is not None:
        yield run


class _Window:
    """Bytes by position, of which a block is held."""

    def __init__(self, part: SourcePart) -> None:
        self._part = part
        self._start, self._data = 0, b""

    def load(self, position: int, count: int) -> int:
        """Make sure that bytes are held; returns their place in what is held."""
        offset = position - self._start
        if offset < 0 or offset + min(count, self._part.size - position) > len(self._data):
            self._data = self._part.read_at(position, _WINDOW_BYTES)
            self._start, offset = position, 0
        return offset

    def at(self, position: int, count: int) -> bytes:
        offset = self.load(position, count)
        return self._data[offset : offset + count]

    def next_boundary(self, position: int) -> tuple[int, bytes | None]:
        """Where something that may be a frame, a stream or a tag begins, and its first bytes; None at the end."""
        while position < self._part.size:
            offset = self.load(position, _HEADER_BYTES)
            found = _BOUNDARY.search(self._data, offset)
            if found is not None:
                return self._start + found.start(), found.group()
            after = self._start + len(self._data)
            if after >= self._part.size:
                break
            position = max(position + 1, after - 10)
        return self._part.size, None


def _frame_end(window: _Window, start: int, stream: FlacStream) -> int | None:
    """The byte behind the frame that begins at `start`: the next boundary at which its checksum is right."""
    most = min(start + _MOST_FRAME_BYTES, window._part.size)
    window.load(start, _MOST_FRAME_BYTES + _HEADER_BYTES)
    position = start + 6
    while position <= most:
        at, what = window.next_boundary(position)
        at = min(at, window._part.size)
        if at > most:
            return None
        is_boundary = (
            what is None or what[:1] != b"\xff" or _parse_header(window.at(at, _HEADER_BYTES), stream) is not None
        )
        if is_boundary and _checksum_is_right(window.at(start, at - start)):
            return at
        if what is None:
            return None
        position = at + 1
    return None


def _parse_header(head: bytes, stream: FlacStream) -> tuple[int, int] | None:
    """(first sample, samples) of the frame that begins with these bytes; None if it is none of this stream."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, layout, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    channels = layout + 1 if layout < 8 else 2
    if size_code == 0 or rate_code == 15 or layout > 10 or channels != stream.channels or bits_code == 3:
        return None
    if bits_code and _BITS[bits_code] != stream.bits:
        return None
    number, position = _coded_number(head, 4)
    if number is None:
        return None
    if size_code in (6, 7):
        width = size_code - 5
        samples = int.from_bytes(head[position : position + width], "big") + 1
        position += width
    else:
        samples = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 1 << size_code
    if rate_code >= 12:
        width = 1 if rate_code == 12 else 2
        rate = int.from_bytes(head[position : position + width], "big") * {12: 1000, 13: 1, 14: 10}[rate_code]
        position += width
    else:
        rate = _RATES[rate_code] or stream.sample_rate
    if rate != stream.sample_rate or position >= len(head) or _crc8(head[:position]) != head[position]:
        return None
    fixed_samples = int.from_bytes(stream.info[:2], "big")
    return (number if head[1] & 1 else number * fixed_samples), samples


def _coded_number(head: bytes, position: int) -> tuple[int | None, int]:
    """The frame's number, written like a letter of UTF-8, and the byte behind it."""
    first = head[position]
    if first < 0x80:
        return first, position + 1
    more = 8 - (first ^ 0xFF).bit_length() - 1 if first != 0xFF else 7
    if not 1 <= more <= 6 or position + 1 + more > len(head):
        return None, position
    number = first & (0x3F >> more)
    for byte in head[position + 1 : position + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, position
        number = number << 6 | byte & 0x3F
    return number, position + 1 + more


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


@cache
def _powers(bits: int) -> np.ndarray:
    """x^k modulo the generator of CRC-16, for every k below `bits` [shape=(bits,)]"""
    powers, value = np.empty(_CRC16_PERIOD, dtype=np.uint16), 1
    for index in range(_CRC16_PERIOD):
        powers[index] = value
        value = value << 1 ^ (0x18005 if value & 0x8000 else 0)
    return np.resize(powers, bits)


def _checksum_is_right(frame: bytes) -> bool:
    """Whether a frame with its CRC-16 is a multiple of the generator: the sum of a power of x for every bit set."""
    bits = np.unpackbits(np.frombuffer(frame, dtype=np.uint8))[::-1]
    powers = _powers(max(1 << 18, 1 << len(bits).bit_length()))[: len(bits)]
    return not np.bitwise_xor.reduce(powers * bits, initial=0)
