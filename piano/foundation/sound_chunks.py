"""One more chunk in a finished WAV, one more comment in a finished FLAC; their sound and their other tags stay."""

import struct
from typing import BinaryIO

_BLOCK_BYTES = 1 << 20


def add_wav_chunk(stream: BinaryIO, name: bytes, data: bytes) -> None:
    """A chunk at the end, where nothing that a reader knows moves."""
    end = stream.seek(0, 2)
    stream.write(b"\0" * (end % 2) + name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))
    length = stream.tell() - 8
    stream.seek(4)
    stream.write(struct.pack("<I", length))


def add_flac_comment(stream: BinaryIO, name: str, value: str) -> None:
    """One more Vorbis comment, at the end of the block that libsndfile always writes."""
    entry = f"{name}={value}".encode()
    data = struct.pack("<I", len(entry)) + entry
    position, is_last = 4, False
    while not is_last:
        stream.seek(position)
        first, *size = stream.read(4)
        is_last, kind, length = first > 127, first & 127, int.from_bytes(bytes(size), "big")
        if kind == 4:
            insert(stream, position + 4 + length, data)
            stream.seek(position + 1)
            stream.write((length + len(data)).to_bytes(3, "big"))
            (vendor,) = struct.unpack("<I", stream.read(4))
            place = position + 8 + vendor
            stream.seek(place)
            (count,) = struct.unpack("<I", stream.read(4))
            stream.seek(place)
            stream.write(struct.pack("<I", count + 1))
            return
        position += 4 + length


def insert(stream: BinaryIO, place: int, data: bytes) -> None:
    """Put bytes into a file; what follows moves back, block by block from its end."""
    end = stream.seek(0, 2)
    while end > place:
        begin = max(end - _BLOCK_BYTES, place)
        stream.seek(begin)
        block = stream.read(end - begin)
        stream.seek(begin + len(data))
        stream.write(block)
        end = begin
    stream.seek(place)
    stream.write(data)
