"""Sound files in and out: find them, decode them to (channels, samples), write them.

Decoding goes in blocks, so a ten-hour file needs no more memory than a short one, and no buffer is ever
sized by what a file's header claims. Corrupt files are decoded as far as possible.
"""

import contextlib
import io
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from piano.foundation.errors import AudioError
from piano.foundation.m4a import encode_m4a, require_encoder
from piano.foundation.made_files import temporary_name
from piano.foundation.native_sound import FFMPEG_SUFFIXES, native_blocks, note, sndfile_name
from piano.foundation.screen_text import printable

AUDIO_SUFFIXES = frozenset({".mp3", ".wav", ".flac", ".ogg", ".opus", ".aif", ".aiff"}) | FFMPEG_SUFFIXES
"""Suffixes (lower case) of the files that are taken for music."""
NOT_FINITE = "NaN or infinity replaced by 0"

_OUTPUT_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", None),
    ".ogg": ("OGG", "VORBIS"),
}
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_COMPRESSION = 0.5
"""Of small MP3s: 0 is the best sound, 1 the smallest file."""
_WRITE_FRAMES = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on much larger blocks
_LOUDEST = 1e6  # finite nonsense beyond this is clipped, so that resampling cannot overflow


@dataclass
class DecodeLog:
    """What was learned about a file while it was decoded."""

    sample_rate: int = 0
    """Of the file itself, at its beginning."""
    channels: int = 0
    """Of the file itself, at its beginning."""
    notes: list[str] = field(default_factory=list)
    """A phrase for every irregularity, once each."""


class FolderScan(NamedTuple):
    """What is in a folder of music."""

    audio: list[Path]
    """Files to decode, sorted."""
    left_out: list[tuple[Path, str]]
    """Everything else, sorted, with a reason code: hidden, not_audio, not_a_file, no_permission."""


def scan_folder(folder: Path, *, skip: Path | None = None) -> FolderScan:
    """Look through a folder and all folders inside it.

    Folder links are followed, each real folder once, so link loops end. Hidden ones are not opened.

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
            left_out.append((current, "no_permission"))
            return
        for name in entries:
            path = current / name
            if name.startswith("."):
                if not path.is_dir():
                    left_out.append((path, "hidden"))
            elif path.is_dir():
                visit(path)
            elif not path.is_file():
                left_out.append((path, "not_a_file"))
            elif path.suffix.lower() not in AUDIO_SUFFIXES:
                left_out.append((path, "not_audio"))
            else:
                audio.append(path)

    visit(folder)
    return FolderScan(audio=sorted(audio), left_out=sorted(left_out))


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
) -> Generator[np.ndarray, None, None]:
    """Decode a sound file block by block, mixed and resampled.

    More channels are mixed down before resampling (to one: the plain average; to two: the first two channels,
    with the others at half weight in both); mono is repeated for stereo. Samples not finite become 0.

    Parameters
    ----------
    path : Path
        Any format of AUDIO_SUFFIXES, recognised by content and not by name.
    sample_rate : int
        Of the result, in samples per second; resampled by soxr at high quality.
    channels : int
        1 or 2.
    block_seconds : float
        Seconds decoded at a time; the blocks that come out are about so long.
    log : DecodeLog, optional
        Filled while decoding.

    Yields
    ------
    np.ndarray [shape=(channels, samples)]
        float32; not clipped.

    Raises
    ------
    AudioError
        If no sound can be found in the file.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, got {channels}")
    path = Path(path)
    log = DecodeLog() if log is None else log
    stream: soxr.ResampleStream | None = None
    part, found = -1, False
    for block in native_blocks(path, block_seconds, log.notes):
        if block.part != part:
            if stream is not None:
                yield _as_rows(stream.resample_chunk(_no_frames(channels), last=True))
            part = block.part
            log.sample_rate = log.sample_rate or block.sample_rate
            log.channels = log.channels or block.frames.shape[1]
            stream = _resampler(block.sample_rate, sample_rate=sample_rate, channels=channels)
        found = True
        samples = _make_finite(_mix(block.frames, channels), log.notes)
        yield _as_rows(samples if stream is None else stream.resample_chunk(samples))
    if stream is not None:
        yield _as_rows(stream.resample_chunk(_no_frames(channels), last=True))
    if not found:
        raise AudioError(f"{printable(path)} holds no sound that can be decoded.")


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
    path: Path, *, sample_rate: int, channels: int, max_seconds: float | None = None
) -> np.ndarray:
    """Decode a whole sound file, or its first `max_seconds`.

    Returns
    -------
    np.ndarray [shape=(channels, samples)]
        float32, mixed and resampled as by `decode_blocks`; not clipped.

    Raises
    ------
    AudioError
        If no sound can be found in the file.
    """
    limit = None if max_seconds is None else round(max_seconds * sample_rate)
    blocks: list[np.ndarray] = []
    count = 0
    with contextlib.closing(decode_blocks(path, sample_rate=sample_rate, channels=channels)) as stream:
        for block in stream:
            blocks.append(block)
            count += block.shape[1]
            if limit is not None and count >= limit:
                break
    return np.ascontiguousarray(np.concatenate(blocks, axis=1)[:, :limit])


def kept_subtype(path: Path, *, sample_rate: int, channels: int) -> str | None:
    """How to keep a file's numbers as they are, where they need more than 16 bits: PCM_24, FLOAT or None.

    None also for a file of another rate or number of channels, whose numbers cannot stay.
    """
    try:
        source = soundfile.info(sndfile_name(Path(path)))
    except (soundfile.LibsndfileError, ValueError, OSError):
        return None
    if (source.samplerate, source.channels) != (sample_rate, channels):
        return None
    return {"PCM_24": "PCM_24", "PCM_32": "FLOAT", "FLOAT": "FLOAT", "DOUBLE": "FLOAT"}.get(source.subtype)


class AudioWriter:
    """A sound file being written in pieces; made by `open_writer`."""

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file

    def write(self, waveform: np.ndarray) -> None:
        """Append a piece.

        Parameters
        ----------
        waveform : np.ndarray [shape=(channels, samples)]
            Float; clipped to [-1, 1], unless the file keeps floating-point numbers.
        """
        if waveform.ndim != 2 or waveform.shape[0] != self._file.channels:
            raise ValueError(f"expected ({self._file.channels}, samples), got shape {waveform.shape}")
        frames = np.asarray(waveform, dtype=np.float32).T
        if self._file.subtype != "FLOAT":
            frames = np.clip(frames, -1.0, 1.0)
        for start in range(0, len(frames), _WRITE_FRAMES):
            self._file.write(np.ascontiguousarray(frames[start : start + _WRITE_FRAMES]))


@contextlib.contextmanager
def open_writer(
    path: Path, sample_rate: int, channels: int, *, metadata: dict[str, str] | None = None,
    subtype: str | None = None, into: Path | None = None,
) -> Iterator[AudioWriter]:  # fmt: skip
    """Write a sound file piece by piece, under a temporary name until it is whole.

    If the body raises, nothing is left behind and an older file of that name stays as it was.

    Parameters
    ----------
    path : Path
        The suffix chooses the format: .wav (16 bit), .flac (16 bit), .mp3, .ogg, .m4a (needs an ffmpeg program).
        Missing folders are made.
    sample_rate : int
        In samples per second.
    channels : int
    metadata : dict, optional
        Tags by libsndfile's names: title, artist, album, comment, date, copyright, software ...
    subtype : str, optional
        libsndfile's name of how numbers are kept in a WAV or FLAC (PCM_16, PCM_24, FLOAT); 16 bits by default.
    into : Path, optional
        A file of the caller's, such as `made_files.unfinished` gives, that is written in place of `path`, which then
        only says the format and is named in errors.

    Raises
    ------
    AudioError
        If the format is unknown or the file cannot be written.

    Examples
    --------
    >>> with open_writer(Path("out.wav"), 16_000, 1) as writer:
    ...     for piece in pieces:
    ...         writer.write(piece)
    """
    path = Path(path)
    if path.suffix.lower() == ".m4a":
        with _m4a_writer(path, sample_rate, channels, metadata or {}, into) as writer:
            yield writer
        return
    if path.suffix.lower() not in _OUTPUT_FORMATS:
        known = ", ".join(sorted([*_OUTPUT_FORMATS, ".m4a"]))
        raise AudioError(f"cannot write {printable(path)}: the suffix must be one of {known}.")
    container, usual_subtype = _OUTPUT_FORMATS[path.suffix.lower()]
    temporary = into or temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(
            sndfile_name(temporary),
            "w",
            samplerate=sample_rate,
            channels=channels,
            format=container,
            subtype=subtype or usual_subtype,
        ) as file:
            for key, value in (metadata or {}).items():
                setattr(file, key, value)
            yield AudioWriter(file)
        if into is None:
            os.replace(temporary, path)
    except soundfile.LibsndfileError as error:
        message = f"cannot write {printable(path)} at {sample_rate} Hz: {error.error_string}"
        raise AudioError(message) from None
    except OSError as error:
        raise AudioError(f"cannot write {printable(path)}: {error.strerror or error}.") from None
    finally:
        if into is None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _m4a_writer(
    path: Path, sample_rate: int, channels: int, metadata: dict[str, str], into: Path | None
) -> Iterator[AudioWriter]:
    """`open_writer` for M4A, which is encoded from a WAV when that is whole."""
    require_encoder(path)
    wave, encoded = temporary_name(path), into or temporary_name(path)
    try:
        with open_writer(path.with_suffix(".wav"), sample_rate, channels, into=wave) as writer:
            yield writer
        encode_m4a(wave, encoded, metadata)
        if into is None:
            os.replace(encoded, path)
    except OSError as error:
        raise AudioError(f"cannot write {printable(path)}: {error.strerror or error}.") from None
    finally:
        wave.unlink(missing_ok=True)
        if into is None:
            encoded.unlink(missing_ok=True)


def write_audio(
    path: Path, waveform: np.ndarray, sample_rate: int, *, metadata: dict[str, str] | None = None
) -> None:
    """Write a whole waveform; format, clipping, atomic replacement and errors as in `open_writer`.

    Parameters
    ----------
    path : Path
    waveform : np.ndarray [shape=(channels, samples)]
        Float.
    sample_rate : int
        In samples per second.
    metadata : dict, optional
    """
    if waveform.ndim != 2:
        raise ValueError(f"expected a waveform of shape (channels, samples), got {waveform.shape}")
    with open_writer(path, sample_rate, waveform.shape[0], metadata=metadata) as writer:
        writer.write(waveform)


def encode_mp3(waveform: np.ndarray, sample_rate: int) -> bytes:
    """A waveform as the content of a small MP3 file (variable rate, for listening on a page, not for keeping).

    Parameters
    ----------
    waveform : np.ndarray [shape=(channels, samples)]
        Float; clipped to [-1, 1]. Rates that MP3 does not know are resampled to the highest it knows.
    """
    rate = sample_rate if sample_rate in MP3_RATES else max(MP3_RATES)
    frames = np.clip(np.asarray(waveform, dtype=np.float32), -1.0, 1.0).T
    if rate != sample_rate:
        frames = soxr.resample(frames, sample_rate, rate, quality="HQ")
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        samplerate=rate,
        channels=frames.shape[1],
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=MP3_COMPRESSION,
    ) as file:
        file.write(np.ascontiguousarray(frames))
    return buffer.getvalue()


def _mix(frames: np.ndarray, channels: int) -> np.ndarray:
    """(samples, source channels) -> (samples, channels), or (samples,) for one channel."""
    source = frames.shape[1]
    if channels == 1:
        if source == 2:
            return 0.5 * (frames[:, 0] + frames[:, 1])  # ten times faster than a mean over the short axis
        return frames[:, 0] if source == 1 else frames @ np.full(source, 1 / source, dtype=np.float32)
    if source <= 2:
        return np.repeat(frames, 2, axis=1) if source == 1 else frames
    weights = np.full((source, 2), 0.5, dtype=np.float32)
    weights[:2] = np.eye(2)
    return frames @ (weights / weights.sum(axis=0))


def _make_finite(samples: np.ndarray, notes: list[str]) -> np.ndarray:
    """Replace NaN and infinity by 0; also tame finite values so large that their energy overflows."""
    flat = samples.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.dot(flat, flat)):
            return samples
    if not np.isfinite(flat).all():
        note(notes, NOT_FINITE)
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), -_LOUDEST, _LOUDEST)
