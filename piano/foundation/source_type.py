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

from piano.foundation.sound_chunks import add_flac_comment, add_wav_chunk, insert

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Names of terms; not addresses to load anything from."""
MADE = f"{VOCABULARY}trainedAlgorithmicMedia"
EDITED = f"{VOCABULARY}compositeWithTrainedAlgorithmicMedia"
TAG = "DigitalSourceType"
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
    add_wav_chunk(stream, b"_PMX", packet(uri))


def _tag_flac(stream: BinaryIO, uri: str) -> None:
    add_flac_comment(stream, TAG.upper(), uri)


def _tag_mp3(stream: BinaryIO, uri: str) -> None:
    """Two more frames at the beginning of the ID3 tag that libsndfile wrote (version 2.3), or a tag of its own."""
    frames = _frame(b"TXXX", b"\0" + TAG.encode() + b"\0" + uri.encode()) + _frame(b"PRIV", b"XMP\0" + packet(uri))
    stream.seek(0)
    head = stream.read(10)
    if head[:3] != b"ID3":
        insert(stream, 0, b"ID3\x03\0\0" + _seven_bits(len(frames)) + frames)
        return
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    insert(stream, 10, frames)
    stream.seek(6)
    stream.write(_seven_bits(size + len(frames)))


def _frame(name: bytes, content: bytes) -> bytes:
    """A frame of ID3 2.3."""
    return name + struct.pack(">I", len(content)) + b"\0\0" + content


def _seven_bits(number: int) -> bytes:
    """A size as ID3 writes that of a whole tag: seven bits a byte."""
    return bytes((number >> shift) & 127 for shift in (21, 14, 7, 0))
