"""The recordings that lie one behind the other in an Ogg file, and which of their pages are lost.

A radio stream or an album without gaps is often a chain of Ogg streams (RFC 3533, section 4). A decoder stops at the
end of the first; here each is found, also between streams of pictures.
"""

import zlib
from dataclasses import dataclass, field

from piano.foundation.sound_source import SourcePart

MAGIC = b"OggS"
_WINDOW_BYTES = 1 << 20
_MOST_PAGE_BYTES = 27 + 255 + 255 * 255
_BEGINS, _ENDS = 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CODECS = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex   ": "speex"}


@dataclass
class OggLink:
    """One recording of the chain."""

    codec: str = ""
    """vorbis, opus, flac or speex; empty where there is no sound."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """Bytes of its pages; of FLAC, of what is in them."""
    is_damaged: bool = False
    """Pages are lost or do not fit their checksums."""
    is_ended: bool = False
    """The last page says that it is the last."""
    has_others: bool = False
    """Another track of sound runs beside it."""


def find_links(part: SourcePart) -> tuple[list[OggLink], int]:
    """Walk the pages of a file.

    Returns
    -------
    list of OggLink
        In the order of the file, those without sound left out.
    int
        Bytes that belong to no page.
    """
    links: list[OggLink] = []
    stray, skipped_bytes, position, window, base = 0, 0, 0, b"", 0
    link, serial, sequence, in_headers = OggLink(), -1, -1, False
    while position < part.size:
        if position - base + _MOST_PAGE_BYTES > len(window) and base + len(window) < part.size:
            base, window = position, part.read_at(position, _WINDOW_BYTES)
        offset = position - base
        page = _page_at(window, offset)
        if page is None:
            following = window.find(MAGIC, offset + 1)
            step = following - offset if following >= 0 else max(1, len(window) - offset - 3)
            skipped_bytes += step
            position += step
            continue
        stray, skipped_bytes = stray + skipped_bytes, 0
        header, end, flags, page_serial, page_sequence = page
        if flags & _BEGINS:
            if not in_headers:
                link, serial, in_headers = OggLink(), -1, True
            codec = _codec_of(window[offset + header : end])
            link.has_others |= bool(codec and link.codec)
            if codec and not link.codec:
                link.codec, serial, sequence = codec, page_serial, page_sequence - 1
                links.append(link)
        else:
            in_headers = False
        if page_serial == serial:
            link.is_damaged |= page_sequence != sequence + 1
            link.is_ended = bool(flags & _ENDS)
            sequence = page_sequence
            outside = (header + 9 * bool(flags & _BEGINS)) if link.codec == "flac" else 0
            _add(link.ranges, (position + outside, base + end))
        position = base + end
    is_cut_page = part.read_at(part.size - skipped_bytes, 4) == MAGIC  # the file's end is not damage
    return links, stray + (0 if is_cut_page else skipped_bytes)


def _add(ranges: list[tuple[int, int]], new: tuple[int, int]) -> None:
    if ranges and ranges[-1][1] == new[0]:
        ranges[-1] = (ranges[-1][0], new[1])
    else:
        ranges.append(new)


def _codec_of(packet: bytes) -> str:
    return next((name for magic, name in _CODECS.items() if packet.startswith(magic)), "")


def _page_at(window: bytes, offset: int) -> tuple[int, int, int, int, int] | None:
    """(bytes of the header, end in the window, flags, serial, sequence) of a page with a right checksum."""
    head = window[offset : offset + 27]
    if len(head) < 27 or head[:4] != MAGIC or head[4] != 0:
        return None
    header = 27 + head[26]
    end = offset + header + sum(window[offset + 27 : offset + header])
    if end > len(window):
        return None
    body = head[:22] + bytes(4) + window[offset + 26 : end]
    if _checksum(body) != int.from_bytes(head[22:26], "little"):
        return None
    return header, end, head[5], int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")


def _checksum(data: bytes) -> int:
    """Ogg's CRC-32 by zlib's, which goes through the bits of every byte the other way and begins with ones."""
    crc = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")
