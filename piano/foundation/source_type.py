"""Says in a sound file, where other programs look for it, whether a machine made the sound or changed it.

The words are IPTC's, the vocabulary that photo agencies, C2PA and search engines read. In its terms:

- MADE: "created using generative AI", nothing of a recording is in it;
- EDITED: "edited using generative AI, such as with inpainting or outpainting": a recording is in it, or under it.

A container gets it where its own standard has a place. WAV: an XMP packet in a `_PMX` chunk (part 3 of XMP).
MP3: the same packet in an ID3 frame `PRIV`, and a `TXXX` that players show. FLAC: a Vorbis comment.
"""

import struct
from pathlib import Path
from typing import BinaryIO

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Names of terms; not addresses to load anything from."""
MADE = f"{VOCABULARY}trainedAlgorithmicMedia"
EDITED = f"{VOCABULARY}compositeWithTrainedAlgorithmicMedia"
TAG = "DigitalSourceType"
_BLOCK_BYTES = 1 << 20
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{uri}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def tag_source_type(path: Path, container: str, uri: str) -> None:
    """Write a term into a finished sound file, in place; its sound and its other tags stay as they are.

    Parameters
    ----------
    path : Path
    container : str
        By libsndfile's name: WAV, FLAC, MP3. Other files are left alone.
    uri : str
        MADE or EDITED.
    """
    write = {"WAV": _tag_wav, "FLAC": _tag_flac, "MP3": _tag_mp3}.get(container)
    if write is not None:
        with open(path, "r+b") as stream:
            write(stream, uri)


def packet(uri: str) -> bytes:
    """The XMP packet that says it."""
    return _PACKET.format(uri=uri).encode()


def _tag_wav(stream: BinaryIO, uri: str) -> None:
    """A chunk at the end, where nothing that a reader knows moves."""
    data = packet(uri)
    end = stream.seek(0, 2)
    stream.write(b"\0" * (end % 2) + b"_PMX" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))
    length = stream.tell() - 8
    stream.seek(4)
    stream.write(struct.pack("<I", length))


def _tag_flac(stream: BinaryIO, uri: str) -> None:
    """One more Vorbis comment, at the end of the block that libsndfile always writes."""
    entry = f"{TAG.upper()}={uri}".encode()
    data = struct.pack("<I", len(entry)) + entry
    position, is_last = 4, False
    while not is_last:
        stream.seek(position)
        first, *size = stream.read(4)
        is_last, kind, length = first > 127, first & 127, int.from_bytes(bytes(size), "big")
        if kind == 4:
            _insert(stream, position + 4 + length, data)
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


def _tag_mp3(stream: BinaryIO, uri: str) -> None:
    """Two more frames at the beginning of the ID3 tag that libsndfile wrote (version 2.3), or a tag of its own."""
    frames = _frame(b"TXXX", b"\0" + TAG.encode() + b"\0" + uri.encode()) + _frame(b"PRIV", b"XMP\0" + packet(uri))
    stream.seek(0)
    head = stream.read(10)
    if head[:3] != b"ID3":
        _insert(stream, 0, b"ID3\x03\0\0" + _seven_bits(len(frames)) + frames)
        return
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    _insert(stream, 10, frames)
    stream.seek(6)
    stream.write(_seven_bits(size + len(frames)))


def _frame(name: bytes, content: bytes) -> bytes:
    """A frame of ID3 2.3."""
    return name + struct.pack(">I", len(content)) + b"\0\0" + content


def _seven_bits(number: int) -> bytes:
    """A size as ID3 writes that of a whole tag: seven bits a byte."""
    return bytes((number >> shift) & 127 for shift in (21, 14, 7, 0))


def _insert(stream: BinaryIO, place: int, data: bytes) -> None:
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
