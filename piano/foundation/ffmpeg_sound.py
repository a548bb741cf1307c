"""Sound that only an ffmpeg program can read, as a stream: the whole file is never held."""

import contextlib
import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import numpy as np

from piano.foundation.decode_log import CUT_SHORT, DAMAGED, OTHER_TRACKS, DecodeLog
from piano.foundation.errors import AudioError
from piano.foundation.screen_text import printable
from piano.foundation.sound_source import SourcePart

FFMPEG_HINT = "needs the ffmpeg program: pip install imageio-ffmpeg"

_DURATION = re.compile(r"^\[info\]\s+Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_DAMAGE = re.compile(
    r"\[error\].*(submitting packet|decoding|nvalid data|orrupt|invalid)", re.MULTILINE | re.IGNORECASE
)
_TRACK = re.compile(r"^\[info\]\s+Stream #0:\d.*: Audio: ", re.MULTILINE)
_MOST_SAID_BYTES = 1 << 16
_TIMED = {"mov", "matroska", "asf", "wv", "ape", "tta", "mpc", "mpc8", "tak", "flac", "wav", "caff", "aiff"}
"""Formats whose length stands in the file; of others ffmpeg guesses it."""
_LEAST_MISSING_SECONDS = 0.25

_MAGIC = (
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"TTA2", "tta"),
    (0, b"MPCK", "mpc8"),
    (0, b"MP+", "mpc"),
    (0, b"tBaK", "tak"),
    (0, b"ajkg", "shn"),
    (0, b"#!AMR", "amr"),
    (0, b"ADIF", "aac"),
    (0, b"DSD ", "dsf"),
    (0, b"FRM8", "iff"),
    (0, b".RMF", "rm"),
    (0, b".ra\xfd", "rm"),
    (0, b"FLV\x01", "flv"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"\x0b\x77", "ac3,eac3"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"\xfe\x7f\x01\x80", "dts"),
    (0, b"\x1f\xff\xe8\x00", "dts"),
    (0, b"\xff\x1f\x00\xe8", "dts"),
    (0, b"DTSHDHDR", "dtshd"),
    *((4, name, "mov") for name in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
    (8, b"AVI ", "avi"),
    (0, b"RIFF", "wav"),
    (0, b"RIFX", "wav"),
    (0, b"RF64", "wav"),
    (0, b"BW64", "wav"),
    (0, b"riff", "w64"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
)
_ADTS_FRAMES = 5


class FfmpegBlock(NamedTuple):
    """A piece of what came out."""

    frames: np.ndarray
    """[shape=(samples, channels)] float32"""
    sample_rate: int


def find_ffmpeg() -> str | None:
    """Path of an ffmpeg program: the one in the imageio-ffmpeg wheel, else one installed on the system."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def format_of(part: SourcePart) -> str | None:
    """What ffmpeg calls the format that begins here; None for what has no mark of its own."""
    head = part.read_at(0, 16)
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return name
    if head[:2] in (b"\x56\xe0", b"\x56\xe1", b"\x56\xe2"):
        return "loas"
    if head[:1] == b"\x47" and all(part.read_at(188 * k, 1) == b"\x47" for k in range(5)):
        return "mpegts"
    return "aac" if _adts_start(part.read_at(0, 1 << 14)) is not None else None


def _adts_start(data: bytes) -> int | None:
    """Where frames of raw AAC begin, one behind the other (ISO/IEC 13818-7, ADTS)."""
    for match in re.finditer(rb"\xff[\xf0\xf1\xf8\xf9]", data):
        position, fixed = match.start(), None
        for count in range(_ADTS_FRAMES):
            head = data[position : position + 7]
            if len(head) < 7:
                if count >= 2:
                    return match.start()
                break
            length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
            kept = (head[0], head[1] & 0xF6, head[2] & 0xFD, head[3] & 0xC0)
            if head[0] != 255 or length < 8 or head[2] >> 2 & 15 > 12 or kept != (fixed or kept):
                break
            position, fixed = position + length, kept
        else:
            return match.start()
    return None


def ffmpeg_blocks(
    part: SourcePart, form: str, log: DecodeLog, *, block_frames: Callable[[int, int], int]
) -> Iterator[FfmpegBlock]:
    """Decode through an ffmpeg program.

    Parameters
    ----------
    part : SourcePart
        One range of a file.
    form : str
        ffmpeg's names of the formats that it may take the bytes for, with commas.
    log : DecodeLog
    block_frames : callable
        Samples of one block for a rate and a number of channels; raises AudioError where the rate is impossible.

    Raises
    ------
    AudioError
        If there is no ffmpeg program.
    PassingError
        If the file cannot be read to its end.
    """
    path = part.source.path
    program = find_ffmpeg()
    if program is None:
        raise AudioError(f"{printable(path)} {FFMPEG_HINT}.")
    command = [program, "-hide_banner", "-nostats", "-nostdin", "-v", "level+info"]
    command += ["-protocol_whitelist", "file,pipe,subfile"]
    command += ["-format_whitelist", form] if "," in form else ["-f", form]
    command += ["-i", _source_name(part), "-vn", "-sn", "-dn", "-map", "0:a:0", "-map_metadata", "-1"]
    command += ["-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "pipe:1"]
    said: list[bytes] = []
    count, layout = 0, None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
        listener.start()
        try:
            layout = _read_wav_header(process.stdout)
            if layout is not None:
                sample_rate, channels = layout
                block_bytes = block_frames(sample_rate, channels) * channels * 4
                while data := process.stdout.read(block_bytes):
                    whole = len(data) - len(data) % (channels * 4)
                    frames = np.frombuffer(data[:whole], dtype="<f4").astype(np.float32).reshape(-1, channels)
                    count += len(frames)
                    yield FfmpegBlock(frames, sample_rate)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            listener.join(timeout=10)
    text = b"".join(said).decode("utf-8", "replace")
    if count and len(_TRACK.findall(text.partition("Output #0")[0])) > 1:
        log.note(OTHER_TRACKS)
    seconds = count / layout[0] if layout else 0.0
    missing = max(0.0, _claimed_seconds(text, form) - seconds)
    is_damaged = status != 0 or _DAMAGE.search(text) is not None
    is_cut = missing > _LEAST_MISSING_SECONDS and (not is_damaged or "partial file" in text)
    if is_cut or is_damaged or not count:
        part.source.check_to_the_end()
    if is_cut:
        log.note(CUT_SHORT, missing_seconds=missing)
    elif is_damaged and count:
        log.note(DAMAGED, missing_seconds=missing)


def _source_name(part: SourcePart) -> str:
    """How ffmpeg calls the bytes; the prefix keeps a name like "http:..." a name."""
    [(start, end)] = part.ranges(0, part.size)
    path = os.path.abspath(part.source.path)
    if start == 0 and end == part.source.size:
        return f"file:{path}"
    return f"subfile,,start,{start},end,{end},,:file:{path}"


def _listen(stream: IO[bytes], said: list[bytes]) -> None:
    """Keep the beginning of what ffmpeg says, and read all of it, so that it never waits."""
    kept = 0
    with contextlib.suppress(OSError, ValueError):
        while data := stream.read1(1 << 16):  # type: ignore[attr-defined]
            if kept < _MOST_SAID_BYTES:
                said.append(data[: _MOST_SAID_BYTES - kept])
                kept += len(said[-1])


def _claimed_seconds(said: str, form: str) -> float:
    found = _DURATION.search(said)
    if found is None or form not in _TIMED:
        return 0.0
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


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
