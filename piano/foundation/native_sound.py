"""The sound in a file as it lies there: decoded at its own rate, block by block.

The decoder is chosen by the first bytes and not by the name: libsndfile for most formats, an ffmpeg program for those
that libsndfile cannot read. An MP3 is read by its real frames, on both sides of damage.
"""

import contextlib
import logging
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from piano.foundation.errors import AudioError
from piano.foundation.mpeg_frames import MpegRun, length_header, scan_mpeg
from piano.foundation.screen_text import printable

FFMPEG_SUFFIXES = frozenset({".m4a", ".aac", ".wma"})
"""Formats that libsndfile cannot read; they need an ffmpeg program."""
FFMPEG_HINT = "needs the ffmpeg program: pip install imageio-ffmpeg"

DAMAGED = "decoded with damage"
CUT_SHORT = "shorter than its header claims"
RATE_CHANGES = "sample rate or channels change inside the file"

_LOG = logging.getLogger(__name__)
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"OggS", b"fLaC", b"FORM")
_RUN_SLACK = 4 * 1152  # samples a decoder may rightly drop from a run of frames: encoder delay and padding


class NativeBlock(NamedTuple):
    """Sound as it lies in the file."""

    frames: np.ndarray
    """[shape=(samples, source channels)] float32"""
    sample_rate: int
    part: int
    """Counts the stretches that do not belong together: joined files, changes of rate."""


def find_ffmpeg() -> str | None:
    """Path of an ffmpeg program: the one in the imageio-ffmpeg wheel, else one installed on the system."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def native_blocks(path: Path, seconds: float, notes: list[str]) -> Iterator[NativeBlock]:
    """Decode a file at its own rate.

    Parameters
    ----------
    path : Path
    seconds : float
        At most so much in one block.
    notes : list of str
        Receives a phrase for every irregularity, once each.

    Yields
    ------
    NativeBlock

    Raises
    ------
    AudioError
        If the file cannot be opened or is not sound. One that opens and holds no samples yields nothing.
    """
    if not path.is_file():  # a fifo would block for ever
        raise AudioError(f"{printable(path)} is not a file that can be read.")
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
            if not head:
                raise AudioError(f"{printable(path)} is empty.")
            if head[:4] in _SNDFILE_MAGIC:
                yield from _sndfile_blocks(path, seconds, notes)
            elif path.suffix.lower() in FFMPEG_SUFFIXES or head[4:8] == b"ftyp":
                yield from _ffmpeg_blocks(path, seconds, notes)
            else:
                yield from _mpeg_blocks(path, stream, seconds, notes)
    except OSError as error:
        raise AudioError(f"cannot read {printable(path)}: {error.strerror or error}.") from None


def sndfile_name(path: Path) -> Any:
    """The path as soundfile takes it: as text it would refuse names that are not valid Unicode."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def note(notes: list[str], text: str) -> None:
    """Add a phrase, unless it is there already."""
    if text not in notes:
        notes.append(text)


class _SequentialFile(soundfile.SoundFile):
    """A sound file read from front to end.

    soundfile seeks after every block it reads, which fails on a FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


class _Slice:
    """Some bytes, then the bytes [start, end) of a file, as one file to read."""

    def __init__(self, stream: BinaryIO, start: int, end: int, prefix: bytes = b"") -> None:
        self._stream, self._start, self._prefix = stream, start, prefix
        self._size = len(prefix) + end - start
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(0, base + offset), self._size)
        return self._position

    def read(self, size: int) -> bytes:
        size = min(size, self._size - self._position)
        data = self._prefix[self._position : self._position + size]
        if len(data) < size:
            self._stream.seek(self._start + self._position + len(data) - len(self._prefix))
            data += self._stream.read(size - len(data))
        self._position += len(data)
        return data


def _sndfile_blocks(path: Path, seconds: float, notes: list[str]) -> Iterator[NativeBlock]:
    with _open_sound(sndfile_name(path), path) as file:
        log = file.extra_info
        if "should be" in log and "data : 4294967295" not in log:  # all ones: a stream of unknown length
            note(notes, CUT_SHORT)
        yield from _read_frames(file, seconds=seconds, part=0, notes=notes)


def _mpeg_blocks(path: Path, stream: BinaryIO, seconds: float, notes: list[str]) -> Iterator[NativeBlock]:
    """Decode an MP3 by its real frames, whatever its length header claims, on both sides of damage."""
    scan = scan_mpeg(stream)
    whole = len(scan.runs) == 1 and scan.stray_bytes == 0
    if scan.stray_bytes and scan.runs:
        note(notes, DAMAGED)
    if len({(run.sample_rate, run.channels) for run in scan.runs}) > 1:
        note(notes, RATE_CHANGES)
    if not scan.runs:  # another format, or MPEG layer I or II
        yield from _sndfile_blocks(path, seconds, notes)
    for part, run in enumerate(scan.runs):
        count = 0
        with _open_run(path, stream, run, whole=whole) as file:
            for block in _read_frames(file, seconds=seconds, part=part, notes=notes):
                count += len(block.frames)
                yield block
        if count < run.samples - _RUN_SLACK:
            note(notes, DAMAGED)


def _open_run(path: Path, stream: BinaryIO, run: MpegRun, *, whole: bool) -> soundfile.SoundFile:
    """Open a run of MPEG frames; trust the file's own length header only where it does not cut sound off."""
    with contextlib.suppress(AudioError):
        file = _open_sound(sndfile_name(path) if whole else _Slice(stream, run.start, run.end), path)
        if file.frames >= run.samples - _RUN_SLACK:
            return file
        file.close()
    return _open_sound(_Slice(stream, run.sound_start, run.end, length_header(run)), path)


def _open_sound(source: Any, path: Path) -> soundfile.SoundFile:
    try:
        return _SequentialFile(source)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: taken for headerless data
        _LOG.debug("%s: %s", path, error)
        raise AudioError(f"{printable(path)} is not sound in a format that can be decoded.") from None


def _read_frames(
    file: soundfile.SoundFile, *, seconds: float, part: int, notes: list[str]
) -> Iterator[NativeBlock]:
    count = max(1, round(seconds * file.samplerate))
    while True:
        try:
            frames = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            note(notes, DAMAGED)
            return
        if len(frames) == 0:
            return
        yield NativeBlock(frames, file.samplerate, part)


def _ffmpeg_blocks(path: Path, seconds: float, notes: list[str]) -> Iterator[NativeBlock]:
    """Decode through an ffmpeg program, as a stream: the whole file is never held."""
    program = find_ffmpeg()
    if program is None:
        raise AudioError(f"{printable(path)} {FFMPEG_HINT}.")
    source = f"file:{os.fspath(path.resolve())}"  # the prefix keeps a name like "http:..." a name
    command = [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i", source]
    command += ["-vn", "-map", "0:a:0", "-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "pipe:1"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            layout = _read_wav_header(process.stdout)
            if layout is None:
                return
            sample_rate, channels = layout
            block_bytes = max(1, round(seconds * sample_rate)) * channels * 4
            while data := process.stdout.read(block_bytes):
                whole = len(data) - len(data) % (channels * 4)
                frames = np.frombuffer(data[:whole], dtype="<f4").astype(np.float32).reshape(-1, channels)
                yield NativeBlock(frames, sample_rate, 0)
            if process.wait() != 0:
                note(notes, DAMAGED)
        finally:
            process.kill()


def _read_wav_header(stream: IO[bytes]) -> tuple[int, int] | None:
    """(sample rate, channels) of a WAV stream, left at its first sample; None if it is no such stream."""
    if stream.read(12)[:4] != b"RIFF":
        return None
    layout = None
    while len(chunk := stream.read(8)) == 8:
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            return layout
        body = stream.read(size)
        if name == b"fmt ":
            _, channels, sample_rate = struct.unpack_from("<HHI", body)
            layout = (sample_rate, channels)
    return None
