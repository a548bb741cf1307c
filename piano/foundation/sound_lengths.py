"""Length fields of WAV, AIFF, CAF and AU files, and what is done where they lie.

A WAV counts its bytes with 32 bits: beyond 4 GiB the number begins at 0 again. A recorder that is switched off never
writes it. So a field is believed only where the chunks behind it are where it says.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from piano.foundation.sound_source import SourcePart

WRAP = 1 << 32
"""Lengths are counted modulo this."""
_WAVES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_AIFFS = (b"AIFF", b"AIFC")
_MOST_HEADER_BYTES = 16 << 20
_TAIL_BYTES = 1 << 20
_MOST_BEHIND = 10_000
"""Sounds one behind the other: more are no file that anybody made."""
_TAIL_NAMES = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"iXML",
    b"cue ",
    b"smpl",
    b"acid",
    b"_PMX",
    b"JUNK",
    b"ANNO",
    b"NAME",
    b"AUTH",
)


class Layout(NamedTuple):
    """Where the samples of a file are, as its header says it."""

    kind: bytes
    """RIFF, RIFX, RF64, FORM, caff or .snd"""
    start: int
    """Byte of the first sample."""
    claimed: int
    """Bytes of sound."""
    field: int
    """Byte of the length field."""
    outer: int
    """Bytes of the file by the field at its beginning, or -1."""
    format: bytes
    """The fmt chunk of a WAV, with its header."""
    is_mended: bool = False
    """`format` is another one than in the file: the header there is not to be used."""


class Lengths(NamedTuple):
    """Where the samples of a file really are."""

    start: int
    end: int
    header: bytes | None
    """To be put in front of them instead of the file's own; None where that is right."""
    missing: int
    """Bytes that the header claims and the file does not hold."""
    is_longer: bool
    """The file holds more than its header claims."""


def read_layout(part: SourcePart) -> Layout | None:
    """Walk the chunks up to the samples; None for other formats, and where there are no samples."""
    layout = _find_layout(part)
    if layout is None or not 20 <= layout.start < min(part.size, _MOST_HEADER_BYTES):
        return None
    return layout


def _find_layout(part: SourcePart) -> Layout | None:
    head = part.read_at(0, 12)
    kind = head[:4]
    if kind == b".snd" and len(head) == 12:
        start, claimed = struct.unpack(">II", head[4:])
        return Layout(kind, start, claimed, 8, -1, b"")
    if kind in _WAVES and head[8:] == b"WAVE":
        return _walk(part, kind, ">" if kind == b"RIFX" else "<", b"data", 12)
    if kind == b"FORM" and head[8:] in _AIFFS:
        return _walk(part, kind, ">", b"SSND", 12)
    if kind == b"caff":
        return _walk(part, kind, ">", b"data", 8)
    return None


def _walk(part: SourcePart, kind: bytes, order: str, wanted: bytes, position: int) -> Layout | None:
    width = 8 if kind == b"caff" else 4
    outer = -1 if kind == b"caff" else int(struct.unpack(f"{order}I", part.read_at(4, 4))[0]) + 8
    long_size, form = None, b""
    while position < min(part.size, _MOST_HEADER_BYTES):
        chunk = part.read_at(position, 4 + width)
        if len(chunk) < 4 + width:
            return None
        name = chunk[:4]
        size = struct.unpack(f"{order}{'q' if width == 8 else 'I'}", chunk[4:])[0]
        body = position + 4 + width
        if name == wanted:
            if kind == b"FORM":
                offset = int.from_bytes(part.read_at(body, 4), "big")
                return Layout(kind, body + 8 + offset, size - 8 - offset, position + 4, outer, b"")
            if kind == b"caff":
                return Layout(kind, body + 4, size - 4 if size >= 0 else -1, position + 4, outer, b"")
            if kind in (b"RF64", b"BW64") and long_size is not None and size == WRAP - 1:
                return Layout(b"RF64", body, long_size, position + 4, WRAP + 7, form)
            mended = _mend_bits(form, order)
            kind = b"RF64" if kind == b"BW64" else kind
            return Layout(kind, body, size, position + 4, outer, mended, mended != form)
        if size < 0:
            return None
        if name == b"ds64":
            long_size = int.from_bytes(part.read_at(body + 8, 8), "little")
        if name == b"fmt ":
            form = chunk + part.read_at(body, min(size, 1 << 16))
        position = body + size
        if size % 2 and kind != b"caff" and not _is_name(part.read_at(position, 4)):
            position += 1
    return None


def _mend_bits(form: bytes, order: str) -> bytes:
    """Bits of PCM that fill fewer bytes than a sample has (7 bits in 2 bytes): libsndfile believes the bits."""
    if len(form) < 24 or struct.unpack(f"{order}H", form[8:10])[0] not in (1, 0xFFFE):
        return form
    channels, align, bits = (int(struct.unpack(f"{order}H", form[at : at + 2])[0]) for at in (10, 20, 22))
    width = align // max(1, channels)
    if bits % 8 == 0 or align != width * channels or not (bits + 7) // 8 < width <= 4:
        return form
    return form[:22] + struct.pack(f"{order}H", 8 * width) + form[24:]


def true_lengths(part: SourcePart, layout: Layout) -> Lengths | None:
    """Compare a layout with the file; None where the header is right and nothing need be done."""
    room = part.size - layout.start
    claimed = layout.claimed
    if room <= 0:
        return None
    unknown = claimed in (-1, 0) or (layout.kind in (b"FORM", b"caff") and claimed < 0) or _is_placeholder(claimed)
    if unknown:
        end = part.size - _known_tail(part, layout)
        return Lengths(layout.start, end, _header(part, layout, end - layout.start), 0, False)
    if claimed > room:
        header = _header(part, layout, room) if layout.kind == b"caff" else None
        return Lengths(layout.start, part.size, header, claimed - room, False)
    turns = (room - claimed) // WRAP
    if turns and layout.kind in (b"RIFF", b"RIFX", b"FORM", b".snd"):
        return _longer(part, layout, claimed + turns * WRAP)
    if _is_tail(part, layout, layout.start + claimed):
        return None if part.read_at(0, 4) != b"BW64" else _longer(part, layout, claimed, is_longer=False)
    # What follows is no chunk. Junk behind a whole file, or sound that a recorder did not live to count?
    is_whole = layout.outer in (-1, layout.start + claimed, layout.start + claimed + claimed % 2)
    if is_whole and room - claimed < claimed:
        return None
    return _longer(part, layout, room - _known_tail(part, layout))


def sounds_behind(part: SourcePart, layout: Layout) -> Iterator[SourcePart]:
    """More sound behind a WAV or AIFF whose own length is right: a second file, or in a WAV a second chunk.

    Each is a file of its own to read. What is neither ends the search, and so do very many of them.
    """
    if layout.kind not in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return
    order = "<" if layout.kind in (b"RIFF", b"RF64") else ">"
    form = layout.format + b"\0" * (len(layout.format) % 2)
    position, found = layout.start + layout.claimed + layout.claimed % 2, 0
    while found < _MOST_BEHIND and position + 12 <= part.size:
        head = part.read_at(position, 12)
        size = int(struct.unpack(f"{order}I", head[4:8])[0])
        if (head[:4] in _WAVES and head[8:] == b"WAVE") or (head[:4] == b"FORM" and head[8:] in _AIFFS):
            inner = part.part(position, part.size)
            if (own := read_layout(inner)) is None or own.claimed <= 0:
                return
            yield inner
            position += own.start + own.claimed + own.claimed % 2
        elif head[:4] == b"data" and 0 < size <= part.size - position - 8 and form and layout.kind != b"RF64":
            total = struct.pack(f"{order}I", 4 + len(form) + 8 + size)
            yield part.part(position, position + 8 + size, layout.kind + total + b"WAVE" + form)
            position += 8 + size + size % 2
        elif _is_name(head[:4]) and size <= part.size - position - 8:
            position += 8 + size + size % 2
            continue
        else:
            return
        found += 1


def whole_chunk(part: SourcePart, layout: Layout) -> SourcePart:
    """The samples that a layout tells of, behind a new header without the chunks in between."""
    size = min(layout.claimed if layout.claimed > 0 else part.size, part.size - layout.start)
    return part.part(layout.start, layout.start + size, _header(part, layout, size))


def _longer(part: SourcePart, layout: Layout, size: int, *, is_longer: bool = True) -> Lengths:
    return Lengths(layout.start, layout.start + size, _header(part, layout, size), 0, is_longer)


def _is_placeholder(size: int) -> bool:
    """What programs write when they do not know the length yet: the largest number that fits, or half of it."""
    return WRAP - 512 <= size < WRAP or WRAP // 2 - 8192 <= size <= WRAP // 2


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _is_tail(part: SourcePart, layout: Layout, end: int) -> bool:
    """Whether the file ends here, or in chunks (some writers forget the padding of an odd one)."""
    if layout.kind == b".snd":
        return part.size - end < min(layout.claimed, WRAP)
    wide = layout.kind == b"caff"
    order = "<" if layout.kind in (b"RIFF", b"RF64") else ">"
    for position in {end, end + (end - layout.start) % 2}:
        rest = part.size - position
        if rest < 8:
            return True
        head = part.read_at(position, 12)
        size = struct.unpack(f"{order}{'q' if wide else 'I'}", head[4 : 12 if wide else 8])[0] if len(head) == 12 else 0
        if rest < end and not any(part.read_at(position, min(rest, 4096))):  # zeros that fill a block of the disk
            return True
        if _is_name(head[:4]) and 0 <= size <= rest:
            return True
    return part.read_at(end, 3) in (b"TAG", b"ID3", b"APE")


def _known_tail(part: SourcePart, layout: Layout) -> int:
    """Bytes of a chunk of text at the very end of a file whose sound has no length."""
    order = "big" if layout.kind in (b"RIFX", b"FORM", b"caff", b".snd") else "little"
    start = max(layout.start, part.size - _TAIL_BYTES)
    tail = part.read_at(start, part.size - start)
    for name in _TAIL_NAMES:
        at = tail.rfind(name)
        if at >= 0 and 0 <= len(tail) - at - 8 - int.from_bytes(tail[at + 4 : at + 8], order) <= 1:
            return len(tail) - at
    return 0


def _header(part: SourcePart, layout: Layout, size: int) -> bytes:
    """A header that tells the true length."""
    if layout.kind == b".snd":
        head = bytearray(part.read_at(0, layout.start))
        head[8:12] = struct.pack(">I", min(size, WRAP - 1))
        return bytes(head)
    if (layout.kind == b"RIFF" and size + 4096 < WRAP) or layout.kind == b"RIFX":
        order = "<" if layout.kind == b"RIFF" else ">"
        form = layout.format + b"\0" * (len(layout.format) % 2)
        size = min(size, WRAP - 4096)
        total = struct.pack(f"{order}I", 4 + len(form) + 8 + size)
        return layout.kind + total + b"WAVE" + form + b"data" + struct.pack(f"{order}I", size)
    if layout.kind in (b"RIFF", b"RF64"):
        form = layout.format + b"\0" * (len(layout.format) % 2)
        lengths = struct.pack("<QQQI", 4 + 36 + len(form) + 8 + size, size, 0, 0)
        start = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + lengths
        return start + form + b"data\xff\xff\xff\xff"
    head = bytearray(part.read_at(0, layout.start))
    if layout.kind == b"caff":
        head[layout.field : layout.field + 8] = struct.pack(">q", size + 4)
    else:  # AIFF: libsndfile takes 0 for all there is
        claim = size + layout.start - layout.field - 4
        head[layout.field : layout.field + 4] = struct.pack(">I", claim if claim < WRAP else 0)
        head[4:8] = struct.pack(">I", min(layout.start + size - 8, WRAP - 1))
    return bytes(head)
