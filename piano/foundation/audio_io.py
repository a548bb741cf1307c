"""Sound files in: find them, decode them to (channels, samples). Writing them is in `audio_writer`.

Decoding goes in blocks, so a ten-hour file needs no more memory than a short one, and no buffer is ever
sized by what a file's header claims. Corrupt files are decoded as far as possible.
"""

import contextlib
import errno
import os
import re
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from piano.foundation.audio_writer import MP3_RATES, AudioWriter, encode_mp3, open_writer, write_audio
from piano.foundation.channel_mix import ChannelWatch, mix
from piano.foundation.decode_log import FAR_BEYOND, NOT_FINITE, ONE_SILENT, ONE_SOUNDS, DecodeLog
from piano.foundation.errors import AudioError
from piano.foundation.native_sound import native_blocks
from piano.foundation.screen_text import printable
from piano.foundation.sound_names import AUDIO_SUFFIXES, UNKNOWN_SUFFIXES, sounds_below

__all__ = [
    "AUDIO_SUFFIXES",
    "FAR_BEYOND",
    "MP3_RATES",
    "NOT_FINITE",
    "AudioWriter",
    "DecodeLog",
    "FolderScan",
    "decode_blocks",
    "encode_mp3",
    "find_audio_files",
    "open_writer",
    "read_audio",
    "scan_folder",
    "write_audio",
]

_TITLE_WITH_DOTS = re.compile(r"\.{2,}\s*\w")
"""Folders whose names begin so are albums, not hidden."""
_LOUDEST = 1e6  # finite nonsense beyond this is clipped, so that resampling cannot overflow


class FolderScan(NamedTuple):
    """What is in a folder of music."""

    audio: list[Path]
    """Files to decode, sorted."""
    left_out: list[tuple[Path, str]]
    """Everything else, sorted, with a reason code: hidden, not_audio, unknown_format, not_a_file,
    no_permission, crashed."""
    hidden: list[tuple[Path, int]]
    """Hidden folders that were not opened for music, sorted, with the number of sound files in them, above 0."""


def scan_folder(folder: Path, *, skip: Path | None = None) -> FolderScan:
    """Look through a folder and all folders inside it.

    Folder links are followed, each real folder once, so link loops end. Hidden ones are not opened; a name of several
    dots and then letters (`...And More`) is no hidden folder but a title.

    Parameters
    ----------
    folder : Path
    skip : Path, optional
        A folder not to enter (the output, when it lies inside the music).

    Raises
    ------
    AudioError
        If the folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise AudioError(f"there is no folder {printable(folder)}. Name the folder that holds the music.")
    audio: list[Path] = []
    left_out: list[tuple[Path, str]] = []
    hidden: list[tuple[Path, int]] = []
    seen = {os.path.realpath(skip)} if skip is not None else set()

    def visit(current: Path) -> None:
        real = os.path.realpath(current)
        if real in seen:
            return
        seen.add(real)
        try:
            entries = sorted(os.listdir(current))
        except OSError as error:
            if current == folder:
                raise AudioError(f"cannot list {printable(folder)}: {error.strerror}.") from None
            is_forbidden = error.errno in (errno.EACCES, errno.EPERM)
            left_out.append((current, "no_permission" if is_forbidden else "crashed"))
            return
        for name in entries:
            path = current / name
            if is_hidden(name, is_folder=path.is_dir()):
                if not path.is_dir():
                    left_out.append((path, "hidden"))
                elif os.path.realpath(path) not in seen and (count := sum(1 for _ in sounds_below(path))):
                    hidden.append((path, count))
            elif path.is_dir():
                visit(path)
            elif not path.is_file():
                left_out.append((path, "not_a_file"))
            elif path.suffix.lower() in UNKNOWN_SUFFIXES:
                left_out.append((path, "unknown_format"))
            elif path.suffix.lower() not in AUDIO_SUFFIXES:
                left_out.append((path, "not_audio"))
            else:
                audio.append(path)

    visit(folder)
    return FolderScan(audio=sorted(audio), left_out=sorted(left_out), hidden=sorted(hidden))


def is_hidden(name: str, *, is_folder: bool) -> bool:
    """Whether a file or folder of this name is passed by: a dot in front, but for titles of folders (`...And More`)."""
    return name.startswith(".") and not (is_folder and _TITLE_WITH_DOTS.match(name))


def find_audio_files(folder: Path) -> list[Path]:
    """All music files in a folder and the folders inside it, sorted; hidden files are ignored."""
    return scan_folder(Path(folder)).audio


def decode_blocks(
    path: Path,
    *,
    sample_rate: int,
    channels: int,
    block_seconds: float = 10.0,
    log: DecodeLog | None = None,
    alive: Callable[[], None] = lambda: None,
) -> Generator[np.ndarray, None, None]:
    """Decode a sound file block by block, mixed and resampled.

    More channels are mixed down before resampling (to one: the plain average; to two: left and right, with the
    others at half weight in both); mono is repeated for stereo. Samples not finite become 0.

    Parameters
    ----------
    path : Path
        Any format of AUDIO_SUFFIXES, recognised by content and not by name.
    sample_rate : int
        Of the result, in samples per second; resampled by soxr at high quality.
    channels : int
        1 or 2.
    block_seconds : float
        Seconds decoded at a time, less where a header claims very many samples a second; the blocks that come out
        are about so long.
    log : DecodeLog, optional
        Filled while decoding.
    alive : callable, optional
        Called now and then while a long file is looked through before its first sound.

    Yields
    ------
    np.ndarray [shape=(channels, samples)]
        float32; not clipped.

    Raises
    ------
    AudioError
        If no sound can be found in the file.
    PassingError
        If the disk or the network fails: another try may succeed, and the blocks so far are not the song.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, got {channels}")
    path = Path(path)
    log = DecodeLog() if log is None else log
    watch = ChannelWatch()
    stream: soxr.ResampleStream | None = None
    part, source_rate = -1, 0

    def counted(samples: np.ndarray) -> np.ndarray:
        rows = _as_rows(samples)
        log.samples += rows.shape[1]
        return rows

    for block in native_blocks(path, block_seconds, log, alive):
        if block.part != part or block.sample_rate != source_rate:
            if stream is not None:
                yield counted(stream.resample_chunk(_no_frames(channels), last=True))
            part, source_rate = block.part, block.sample_rate
            log.sample_rate = log.sample_rate or block.sample_rate
            log.channels = log.channels or block.frames.shape[1]
            stream = _resampler(block.sample_rate, sample_rate=sample_rate, channels=channels)
        watch.look(block.frames)
        samples = _make_finite(mix(block.frames, channels), log)
        yield counted(samples if stream is None else stream.resample_chunk(samples))
    if stream is not None:
        yield counted(stream.resample_chunk(_no_frames(channels), last=True))
    if part < 0:
        raise AudioError(f"{printable(path)} holds no sound that can be decoded.")
    sounding, all_channels = watch.sounding()
    if sounding == 1 and all_channels > 1:
        log.note(ONE_SILENT if all_channels == 2 else ONE_SOUNDS)


def _resampler(source_rate: int, *, sample_rate: int, channels: int) -> soxr.ResampleStream | None:
    if source_rate == sample_rate:
        return None
    return soxr.ResampleStream(source_rate, sample_rate, channels, dtype="float32", quality="HQ")


def _no_frames(channels: int) -> np.ndarray:
    return np.zeros(0 if channels == 1 else (0, channels), dtype=np.float32)


def _as_rows(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) -> (channels, samples)."""
    return samples[np.newaxis] if samples.ndim == 1 else samples.T


def read_audio(
    path: Path,
    *,
    sample_rate: int,
    channels: int,
    max_seconds: float | None = None,
    last_seconds: float | None = None,
    log: DecodeLog | None = None,
) -> np.ndarray:
    """Decode a whole sound file, its first `max_seconds`, or its last `last_seconds`.

    Memory holds no more than what is given back, and a block.

    Parameters
    ----------
    path : Path
    sample_rate : int
        Of the result, in samples per second.
    channels : int
        1 or 2.
    max_seconds : float, optional
        Decoding stops there.
    last_seconds : float, optional
        Of what was decoded, only so much of its end is kept.
    log : DecodeLog, optional
        Filled while decoding; `log.samples` is then the length of all that was decoded.

    Returns
    -------
    np.ndarray [shape=(channels, samples)]
        float32, mixed and resampled as by `decode_blocks`; not clipped.

    Raises
    ------
    AudioError
        If no sound can be found in the file.
    PassingError
        If the disk or the network fails.
    """
    first = None if max_seconds is None else round(max_seconds * sample_rate)
    last = None if last_seconds is None else round(last_seconds * sample_rate)
    blocks: deque[np.ndarray] = deque()
    count = held = 0
    with contextlib.closing(decode_blocks(path, sample_rate=sample_rate, channels=channels, log=log)) as stream:
        for block in stream:
            block = block if first is None else block[:, : first - count]
            blocks.append(block)
            count += block.shape[1]
            held += block.shape[1]
            while last is not None and blocks and held - blocks[0].shape[1] >= last:
                held -= blocks.popleft().shape[1]
            if first is not None and count >= first:
                break
    waveform = np.concatenate([np.zeros((channels, 0), dtype=np.float32), *blocks], axis=1)
    return np.ascontiguousarray(waveform if last is None else waveform[:, max(0, held - last) :])


def _make_finite(samples: np.ndarray, log: DecodeLog) -> np.ndarray:
    """Replace NaN and infinity by 0; also tame finite values so large that their energy could overflow."""
    flat = samples.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.dot(flat, flat) <= _LOUDEST**2:  # then no number is larger, and none is NaN
            return samples
    is_finite = np.isfinite(flat)
    if not is_finite.all():
        log.note(NOT_FINITE)
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    if np.abs(samples).max(initial=0.0) > _LOUDEST:
        log.note(FAR_BEYOND)
    return np.clip(samples, -_LOUDEST, _LOUDEST)
