"""Where the frames of an MPEG audio file really are, whatever its headers claim.

An MP3 is a row of small frames, each with its own four-byte header (ISO/IEC 11172-3, section 2.4.1.3). Length
tables in front of it (Xing, ID3) may be missing, wrong or hostile, so this module walks the frames themselves.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

_BLOCK_BYTES = 1 << 18
_HEAD_BYTES = 40  # of a frame: its header, and the place where a Xing tag would be
_MAX_STRAY_BYTES = 8 << 20  # after so much damage the walk ends: a hostile file must not cost minutes
_MOST_TAGS = 1000  # in a row without sound: more are taken for damage
_ALIVE_BYTES = 16 << 20
_LEADS = (b"Xing", b"Info")  # tags in the frame that leads an MP3
_MIN_FRAMES = 4  # fewer frames in a row than this is chance: random bytes hold false frame headers

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version bits
_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class Readable(Protocol):
    """A file that can be read anywhere."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


class MpegRun(NamedTuple):
    """A gapless row of frames of one sample rate and one channel count."""

    start: int
    """Byte of the first frame's header."""
    sound_start: int
    """Byte of the first frame that holds sound; later than `start` where a Xing/Info frame leads."""
    end: int
    """Byte after the last frame."""
    header: bytes
    """The first frame's four header bytes."""
    sample_rate: int
    channels: int
    frames: int
    """Frames that hold sound; a Xing/Info header frame is not counted."""
    samples: int
    """Samples per channel that the frames hold."""
    claimed_frames: int = 0
    """Frames with sound by the Xing/Info header; 0 without one."""
    is_trusted: bool = True
    """The decoder knows the header frame that leads. It takes a VBRI frame for sound."""


class MpegScan(NamedTuple):
    """What the walk over a file found."""

    runs: list[MpegRun]
    stray_bytes: int
    """Bytes that belong neither to a frame nor to a tag: damage."""


class _Frame(NamedTuple):
    length: int
    sample_rate: int
    channels: int
    samples: int
    xing_offset: int


def _frame_of(second: int, third: int, fourth: int) -> _Frame | None:
    """The frame that a layer III header announces, None if it is not such a header."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    bitrate_index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    if second & 0xE0 != 0xE0 or layer != 1 or version == 1 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    sample_rate = _RATES[version][rate_index]
    channels = 1 if fourth >> 6 == 3 else 2
    samples = 1152 if version == 3 else 576
    kbits = (_KBITS_MPEG1 if version == 3 else _KBITS_MPEG2)[bitrate_index]
    length = samples * kbits * 125 // sample_rate + padding
    side_bytes = (32 if channels == 2 else 17) if version == 3 else (17 if channels == 2 else 9)
    return _Frame(length, sample_rate, channels, samples, 4 + side_bytes)


_FRAMES: dict[int, _Frame | None] = {
    second << 8 | third: _frame_of(second, third, 0) for second in range(224, 256) for third in range(256)
}
_MONO_FRAMES: dict[int, _Frame | None] = {
    second << 8 | third: _frame_of(second, third, 0xC0) for second in range(224, 256) for third in range(256)
}


@lru_cache(maxsize=32)
def _frame_lengths(kind: tuple[int, int, int]) -> dict[bytes, int]:
    """Bytes of the frames of one rate, channel count and number of samples, by the first three bytes of a frame."""
    frames = _MONO_FRAMES if kind[1] == 1 else _FRAMES
    return {
        bytes((255, head >> 8, head & 255)): frame.length
        for head, frame in frames.items()
        if frame is not None and frame[1:4] == kind
    }


class _Window:
    """Bytes of a file by absolute position, of which only a block is held."""

    def __init__(self, stream: Readable, block_bytes: int = _BLOCK_BYTES) -> None:
        self._stream, self._block_bytes = stream, block_bytes
        self.size = stream.seek(0, 2)
        self._start = 0
        self._data = b""

    def at(self, position: int, count: int) -> bytes:
        offset = position - self._start
        end = offset + count
        if offset < 0 or (end > len(self._data) and self._start + len(self._data) < self.size):
            self._stream.seek(position)
            self._data = self._stream.read(max(count, self._block_bytes))
            self._start, offset = position, 0
        return self._data[max(0, offset) : offset + count]

    def skip_frames(self, position: int, first: _Frame) -> tuple[int, int]:
        """Walk the frames like `first` that lie whole in the bytes at hand, up to one that leads a joined file.

        Returns
        -------
        (position, frames)
            Where the walk ends: whether the row does as well is for the caller to find out.
        """
        data, offset, count = self._data, position - self._start, 0
        if offset < 0:
            return position, 0
        leads = (data.find(tag, offset) for tag in (*_LEADS, b"VBRI"))
        limit = min((at for at in leads if at >= 0), default=len(data)) - _HEAD_BYTES
        is_mono = first.channels == 1
        lengths = _frame_lengths(first[1:4])
        while offset <= limit:
            length = lengths.get(data[offset : offset + 3], 0)
            if not length or (data[offset + 3] >= 0xC0) != is_mono or offset + length > len(data):
                break
            offset += length
            count += 1
        return self._start + offset, count

    def find_sync(self, position: int) -> int:
        """Position of the next byte 255 at or after `position`, or the size of the file."""
        while position < self.size:
            if not self.at(position, 1):
                return self.size
            offset = self._data.find(b"\xff", position - self._start)
            if offset >= 0:
                return self._start + offset
            position = self._start + len(self._data)
        return self.size


def _parse(head: bytes) -> _Frame | None:
    """The frame that begins with these bytes."""
    if len(head) < 4 or head[0] != 255:
        return None
    return (_MONO_FRAMES if head[3] >= 0xC0 else _FRAMES).get(head[1] << 8 | head[2])


def scan_mpeg(stream: Readable, alive: Callable[[], None] = lambda: None) -> MpegScan:
    """Walk the MPEG layer III frames of a file with bounded memory.

    Parameters
    ----------
    stream : Readable
        Any file, open for reading and seekable; one without frames gives no runs.
    alive : callable
        Called every 16 MB.

    Returns
    -------
    MpegScan
        The runs of frames in the order of the file, and how many bytes were neither frame nor tag.
    """
    window = _Window(stream)
    runs: list[MpegRun] = []
    stray = tags = position = told = 0
    behind = _tags_behind(window)
    while position < window.size and position != behind and stray < _MAX_STRAY_BYTES:
        if position >= told:
            alive()
            told = position + _ALIVE_BYTES
        tag = _tag_length(window, position)
        if tag:
            tags += 1
            stray += tag if tags > _MOST_TAGS else 0
            position += tag
            continue
        run = _run_at(window, position, alive)
        if run is not None:
            runs.append(run)
            position, tags = run.end, 0
            continue
        following = window.find_sync(position + 1)
        stray += following - position  # a last frame that the file's end cuts off counts as well
        position = following
    return MpegScan(runs=runs, stray_bytes=stray)


def tags_length(stream: Readable) -> int:
    """Bytes of the ID3 tags in front of a file."""
    window, position = _Window(stream, 64), 0
    for _ in range(_MOST_TAGS):
        if window.at(position, 3) != b"ID3":
            break
        tag = _tag_length(window, position)
        if not tag or tag == window.size - position:
            break
        position += tag
    return position


def _run_at(window: _Window, start: int, alive: Callable[[], None]) -> MpegRun | None:
    """The row of frames from `start` to a change, damage, or the Xing header of a joined file."""
    first = _parse(window.at(start, _HEAD_BYTES))
    if first is None:
        return None
    position, count, sound_start, claimed, is_trusted = start, 0, start, 0, True
    told = start + _ALIVE_BYTES
    while True:
        if count:
            position, plain = window.skip_frames(position, first)
            count += plain
        head = window.at(position, _HEAD_BYTES)
        frame = _parse(head)
        if frame is None or frame[1:4] != first[1:4] or position + frame.length > window.size:
            break
        if position >= told:
            alive()
            told = position + _ALIVE_BYTES
        if head[frame.xing_offset : frame.xing_offset + 4] in _LEADS:
            if count:
                break
            sound_start = position + frame.length
            flags, frames = struct.unpack(">II", window.at(position + frame.xing_offset + 4, 8))
            claimed = frames if flags & 1 else 0
        elif head[36:40] == b"VBRI":
            if count:
                break
            sound_start, is_trusted = position + frame.length, False
            claimed = int.from_bytes(window.at(position + 50, 4), "big")
        count += 1
        position += frame.length
    if count < _MIN_FRAMES:
        return None
    sounding = count - (sound_start > start)
    return MpegRun(
        start=start,
        sound_start=sound_start,
        end=position,
        header=window.at(start, 4),
        sample_rate=first.sample_rate,
        channels=first.channels,
        frames=sounding,
        samples=sounding * first.samples,
        claimed_frames=claimed,
        is_trusted=is_trusted,
    )


def length_header(run: MpegRun) -> bytes:
    """A Xing frame with the true length of a run, to be put in front of the bytes from `run.sound_start`.

    Without one, libsndfile guesses the length of a file by its first frame and stops there: forty seconds of
    variable bit rate came out as eight.
    """
    # No checksum, and bit rate number 9: frames of every kind are then long enough for the tag.
    second, third, fourth = run.header[1] | 1, 0x90 | run.header[2] & 0x0C, run.header[3]
    frame = _frame_of(second, third, fourth)
    if frame is None:
        raise ValueError(f"not the header of an MPEG frame: {run.header.hex()}")
    head = bytes((255, second, third, fourth)) + bytes(frame.xing_offset - 4)
    size = run.end - run.sound_start + frame.length
    tag = b"Xing" + struct.pack(">III", 3, run.frames & 0xFFFFFFFF, size & 0xFFFFFFFF)
    return (head + tag).ljust(frame.length, b"\0")


def _tag_length(window: _Window, position: int) -> int:
    """Bytes of the tag or zero padding that begins at `position`, 0 if there is none."""
    head = window.at(position, 32)
    rest = window.size - position
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 128:
        claimed = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        return claimed if claimed <= rest else 10  # longer than the file is a lie: look behind its header
    if head.startswith(b"TAG") and rest == 128:
        return 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        claimed = int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x20 else 0)
        return claimed if 32 <= claimed <= rest else 32
    if head[:1] == b"\0":
        return _zeros_length(window, position)
    return 0


def _tags_behind(window: _Window) -> int:
    """Where the tags at the end of a file begin, of which some can only be told from their last bytes: APE, Lyrics3."""
    end = window.size
    for _ in range(_MOST_TAGS):
        foot = window.at(end - 32, 32) if end >= 32 else b""
        if end >= 128 and window.at(end - 128, 3) == b"TAG":
            length = 128
        elif foot.startswith(b"APETAGEX"):
            length = int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
        elif foot.endswith(b"LYRICS200") and foot[-15:-9].isdigit():
            length = int(foot[-15:-9]) + 15
        else:
            break
        if not 32 <= length <= end:
            break
        end -= length
    return end


def _zeros_length(window: _Window, position: int) -> int:
    """Zeros from `position` on: a few looked at first, as a hostile file holds many short rows."""
    count, step = 0, 64
    while zeros := window.at(position + count, step):
        found = len(zeros) - len(zeros.lstrip(b"\0"))
        count += found
        if found < len(zeros) or count >= _BLOCK_BYTES:
            break
        step = min(8 * step, _BLOCK_BYTES // 2)
    return count
