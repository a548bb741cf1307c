"""How much disk a preparation will need, estimated before it begins from file sizes and headers.

The sound takes 2 bytes a sample and channel. While songs are packed, it takes a shard more, or the longest song where
that is more; where all fits into one shard, what is packed already is packed again. A data set on the same disk takes
nothing more: it holds the same files under second names.
"""

import contextlib
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import DatasetError
from piano.foundation.mpeg_frames import scan_mpeg, tags_length
from piano.foundation.prepared_song import SHARDS_FOLDER
from piano.foundation.quantised import SHARD_BYTES, STORED_KIND
from piano.foundation.screen_text import counted

_USUAL_BYTES = 20_000.0
"""Of an MP3 or the like, for a second of music: 160 kbit/s."""
_BYTES_BY_KIND = {".wav": 176_400.0, ".aif": 176_400.0, ".aiff": 176_400.0, ".flac": 80_000.0}
"""Of files that nobody has looked into: sound of a CD, packed or not."""
_LOOKED_INTO = 200
"""At most this many files are opened; the others are assumed to be like them."""
_LOOKED_AT_BYTES = 1 << 16
_SURELY = 1.25
"""So much more than is free may be a wrong guess; what is beyond is refused."""
_LEAST, _MOST = 500.0, 3_000_000.0
"""Range of bytes a second that a header may claim."""


def disk_need(paths: Sequence[Path], output: Path, settings: PrepareSettings) -> str:
    """A sentence about the room that the sound will take; empty if there is nothing to do.

    Parameters
    ----------
    paths : sequence of Path
        Of the music that is to be decoded.
    output : Path
        The prepared folder.
    settings : PrepareSettings

    Raises
    ------
    DatasetError
        If the disk has not nearly so much room.
    """
    if not paths:
        return ""
    what = f"{counted(len(paths), 'file')} to prepare"
    sentence, share = room_need(what, guess_seconds(paths), _longest_seconds(paths), output, settings)
    if share > _SURELY:
        raise DatasetError(
            f"{sentence} That is not enough. Free some space, use another --output, or begin with some of the music "
            "(--max-files)."
        )
    return sentence + (" That may not be enough." if share > 1.0 else "")


def room_need(what: str, seconds: float, longest: float, output: Path, settings: PrepareSettings) -> tuple[str, float]:
    """A sentence about the room that so many seconds of music take, and how much of what is free that is.

    Parameters
    ----------
    what : str
        The sentence begins with it: `12 files to prepare`.
    seconds : float
        Of all music that is to be prepared.
    longest : float
        Seconds of the longest song of it.
    output : Path
        The prepared folder.
    settings : PrepareSettings
    """
    second = settings.sample_rate * settings.channels * STORED_KIND.itemsize
    here, packed = seconds * second, _packed_bytes(output)
    if here + packed <= SHARD_BYTES:
        packing = here + here + packed
    else:
        packing = here + min(here, max(SHARD_BYTES, longest * second))
    free = shutil.disk_usage(output).free
    sentence = (
        f"{what}, about {music_time(seconds)} of music: this will take about {_size(here)} here ({_size(packing)} for "
        f"a while), and no more as a data set on the same disk; {_size(free)} are free."
    )
    return sentence, packing / max(free, 1)


def _packed_bytes(output: Path) -> int:
    """Of the shards that are there."""
    sizes = 0
    for path in (output / SHARDS_FOLDER).glob("shard_*.npy"):
        with contextlib.suppress(OSError):
            sizes += path.stat().st_size
    return sizes


def _longest_seconds(paths: Iterable[Path]) -> float:
    """Rough length of the longest song: the largest file of each kind is looked into."""
    largest: dict[str, tuple[int, Path]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            kind, size = path.suffix.lower(), path.stat().st_size
            largest[kind] = max(largest.get(kind, (0, path)), (size, path))
    return max((guess_seconds([path]) for _, path in largest.values()), default=0.0)


def guess_by_kind(files: Iterable[tuple[str, int]]) -> float:
    """Rough total length of files of which only names and sizes are known, in seconds."""
    return sum(size / _BYTES_BY_KIND.get(Path(name).suffix.lower(), _USUAL_BYTES) for name, size in files)


def guess_seconds(paths: Sequence[Path]) -> float:
    """Rough total length of some music files. Headers may be wrong, and nothing is decoded."""
    looked_into = paths[:: -(-len(paths) // _LOOKED_INTO)]
    size, seconds = 0.0, 0.0
    for path in looked_into:
        try:
            count = path.stat().st_size
            size += count
            seconds += count / _bytes_per_second(path)
        except OSError:
            continue
    total = 0.0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total * seconds / size if size else 0.0


def _bytes_per_second(path: Path) -> float:
    """Of a WAV or FLAC by its header, of an MP3 by some of its frames, of everything else as usual; raises OSError."""
    with open(path, "rb") as stream:
        head = stream.read(64)
        if found := _mpeg_bytes_per_second(stream, path.stat().st_size):
            return found
    found = _USUAL_BYTES
    if head[:4] == b"RIFF" and head[12:16] == b"fmt ":
        found = float(int.from_bytes(head[28:32], "little"))
    elif head[:4] == b"fLaC" and len(head) >= 26:
        rate = int.from_bytes(head[18:21], "big") >> 4
        samples = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
        found = path.stat().st_size * rate / samples if samples and rate else 4 * _USUAL_BYTES
    return found if _LEAST <= found <= _MOST else _USUAL_BYTES


def _mpeg_bytes_per_second(stream: BinaryIO, size: int) -> float:
    """Of the layer III frames at the beginning and in the middle of a file; 0 where it does not begin with frames."""
    tags = tags_length(stream)
    length, seconds = 0, 0.0
    for start in (tags, (tags + size) // 2):
        stream.seek(start)
        block = stream.read(_LOOKED_AT_BYTES)
        runs = scan_mpeg(io.BytesIO(block)).runs
        if start == tags and (not runs or runs[0].start):
            return 0.0
        length += sum(run.end - run.start for run in runs)
        seconds += sum(run.samples / run.sample_rate for run in runs)
    return length / seconds * size / max(size - tags, 1) if seconds else 0.0  # tags take room and no time


def music_time(seconds: float) -> str:
    """`45 seconds`, `12.3 minutes`, `2.5 hours`."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"
