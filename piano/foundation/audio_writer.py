"""Sound files out: whole or not at all, rounded alike in every format, and with the disk's own reason if it fails."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import soundfile
import soxr

from piano.foundation.errors import DISK_ERRORS, AudioError
from piano.foundation.loop_tags import LoopTags, tag_loop
from piano.foundation.m4a import encode_m4a, require_encoder
from piano.foundation.made_files import replacing, unfinished
from piano.foundation.screen_text import printable
from piano.foundation.sound_source import SourceFile
from piano.foundation.source_type import tag_source_type

_OUTPUT_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", None),
    ".ogg": ("OGG", "VORBIS"),
}
SUBTYPES = {".wav": ("PCM_16", "PCM_24", "FLOAT"), ".flac": ("PCM_16", "PCM_24")}
"""What samples can be written as, by suffix; the first unless asked otherwise."""
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_COMPRESSION = 0.5
"""Of small MP3s: 0 is the best sound, 1 the smallest file."""
MOST_WAV_BYTES = (1 << 32) - (1 << 16)
"""A WAV counts its bytes with 32 bits."""
_WRITE_FRAMES = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on much larger blocks
_BITS = {"PCM_16": 16, "PCM_24": 24}


class _Target:
    """A file for libsndfile to write, which keeps the error that libsndfile would hide."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._stream.write(data)
                return len(data)
            except OSError as error:
                self.error = error
        return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._stream.seek(offset, whence)
        except OSError as error:
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class AudioWriter:
    """A sound file being written in pieces; made by `open_writer`."""

    def __init__(self, file: soundfile.SoundFile, target: _Target, path: Path) -> None:
        self._file, self._target, self._path = file, target, path
        self._bytes = 0
        self.clipped = 0
        """Samples so far that were beyond full scale and were cut off."""
        self.peak = 0.0
        """Largest size of a sample so far, before it was cut off."""
        self.samples = 0
        """Written so far, all channels together."""

    def write(self, waveform: np.ndarray) -> None:
        """Append a piece.

        Parameters
        ----------
        waveform : np.ndarray [shape=(channels, samples)]
            Float; clipped to [-1, 1], unless the file holds floats.

        Raises
        ------
        AudioError
            If the file would grow beyond what its format can count, or a sample is not finite.
        """
        if waveform.ndim != 2 or waveform.shape[0] != self._file.channels:
            raise ValueError(f"expected ({self._file.channels}, samples), got shape {waveform.shape}")
        frames = np.asarray(waveform, dtype=np.float32).T
        peak = float(np.abs(frames).max(initial=0.0))
        if not np.isfinite(peak):
            raise AudioError(f"cannot write {printable(self._path)}: the sound holds samples that are not finite.")
        self.peak = max(self.peak, peak)
        self.samples += frames.size
        if self._file.subtype != "FLOAT" and peak > 1.0:
            self.clipped += int(np.count_nonzero(np.abs(frames) > 1.0))
        if self._file.format == "WAV":
            self._bytes += frames.size * {"PCM_16": 2, "PCM_24": 3}.get(self._file.subtype, 4)
            if self._bytes > MOST_WAV_BYTES:
                raise AudioError(
                    f"cannot write {printable(self._path)}: a WAV holds at most 4 GiB. Write a .flac, or less sound."
                )
        for start in range(0, len(frames), _WRITE_FRAMES):
            piece = frames[start : start + _WRITE_FRAMES]
            try:
                self._file.write(np.ascontiguousarray(as_written(piece, self._file.subtype)))
            except AssertionError:  # what soundfile makes of a write that was cut short
                self._target.check()
                raise
            self._target.check()


def as_written(frames: np.ndarray, subtype: str) -> np.ndarray:
    """Samples as libsndfile shall take them: rounded here, as it rounds for FLAC and cuts off for WAV."""
    bits = _BITS.get(subtype)
    if bits is None:
        return frames if subtype == "FLOAT" else np.clip(frames, -1.0, 1.0)
    full = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(frames * np.float32(full)), -full, full - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8


def source_subtype(path: Path) -> str:
    """How exact a sound file is: FLOAT, PCM_24 (for all that holds more than 16 bits), or else PCM_16.

    An open_writer with this subtype (FLAC: PCM_24 for FLOAT) keeps every sample of the file as it is.
    """
    subtype = _subtype_of(path)
    if subtype in ("FLOAT", "DOUBLE"):
        return "FLOAT"
    return "PCM_24" if subtype in ("PCM_24", "PCM_32", "ALAC_20", "ALAC_24", "ALAC_32") else "PCM_16"


def _subtype_of(path: Path) -> str | None:
    """By libsndfile's name; None of what it does not read."""
    try:
        with SourceFile(Path(path)) as source:
            return soundfile.info(cast(Any, source.whole())).subtype
    except (AudioError, OSError, soundfile.LibsndfileError, TypeError):
        return None


def exact_subtype(path: Path, form: str) -> tuple[str | None, str]:
    """What a file's samples must be written as to stay what they are, and what is lost of them all the same.

    Parameters
    ----------
    path : Path
        Of the source: what a lossy format was decoded to are floats.
    form : str
        Of the file to write: wav, flac, mp3, m4a.

    Returns
    -------
    subtype : str, optional
        Of `open_writer`.
    lost : str
        A phrase; empty if every sample stays as it is.
    """
    if f".{form}" not in SUBTYPES:
        return None, f"{form} keeps no sample as it is, outside the regions neither"
    subtype = _subtype_of(path)
    if subtype in ("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "ALAC_16"):
        return "PCM_16", ""
    if subtype in ("PCM_24", "ALAC_20", "ALAC_24"):
        return "PCM_24", ""
    if form == "wav" and subtype in ("PCM_32", "DOUBLE", "ALAC_32"):
        return "FLOAT", "its samples are rounded to 32-bit floats, outside the regions, too"
    if form == "wav":
        return "FLOAT", ""
    return "PCM_24", "FLAC holds no floats: samples are rounded to 24 bits, outside the regions, too"


def fitting_subtype(path: Path, wanted: str) -> str | None:
    """The subtype that a file of this suffix can have, `wanted` or the next best; None where there is no choice."""
    known = SUBTYPES.get(Path(path).suffix.lower())
    if known is None:
        return None
    return wanted if wanted in known else known[-1]


@contextlib.contextmanager
def open_writer(
    path: Path,
    sample_rate: int,
    channels: int,
    *,
    metadata: dict[str, str] | None = None,
    subtype: str | None = None,
    source_type: str | None = None,
    loop: LoopTags | None = None,
    into: Path | None = None,
) -> Iterator[AudioWriter]:
    """Write a sound file piece by piece, under a temporary name until it is whole.

    If the body raises, nothing is left behind and an older file of that name stays as it was.

    Parameters
    ----------
    path : Path
        The suffix chooses the format: .wav, .flac, .mp3, .ogg, .m4a (needs an ffmpeg program). Missing folders
        are made.
    sample_rate : int
        In samples per second.
    channels : int
    metadata : dict, optional
        Tags by libsndfile's names: title, artist, album, comment, date, copyright, software ...
    subtype : str, optional
        PCM_16 (what else it is), PCM_24, or for .wav FLOAT, which is not clipped.
    source_type : str, optional
        A term of `source_type`, which .wav, .flac and .mp3 then say in a field of its own.
    loop : LoopTags, optional
        That the sound is a loop, which .wav and .flac then say to samplers.
    into : Path, optional
        A file of the caller's that is there (`made_files.unfinished`), to write in place of `path`, which then only
        says the format and is named in errors; nothing is renamed.

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
    container, usual = _OUTPUT_FORMATS[path.suffix.lower()]
    if subtype is not None and subtype not in SUBTYPES.get(path.suffix.lower(), ()):
        raise ValueError(f"{path.suffix} is not written as {subtype}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _place(path, into) as temporary:
            with _sndfile_writer(
                path, temporary, sample_rate, channels, (container, subtype or usual), metadata or {}
            ) as writer:
                yield writer
            if source_type is not None:
                tag_source_type(temporary, container, source_type)
            if loop is not None:
                tag_loop(temporary, container, loop)
    except OSError as error:
        raise _write_error(path, error) from None


def _place(path: Path, into: Path | None) -> contextlib.AbstractContextManager[Path]:
    """The file to write: the caller's, or one that takes the place of `path`."""
    return replacing(path) if into is None else contextlib.nullcontext(into)


@contextlib.contextmanager
def _sndfile_writer(
    path: Path,
    temporary: Path,
    sample_rate: int,
    channels: int,
    layout: tuple[str, str | None],
    metadata: dict[str, str],
) -> Iterator[AudioWriter]:
    """Write what will be `path` into a file that is there; raises OSError where the disk refuses."""
    with open(temporary, "r+b", buffering=0) as stream:
        target = _Target(stream)
        try:
            with soundfile.SoundFile(
                cast(Any, target), "w", sample_rate, channels, format=layout[0], subtype=layout[1]
            ) as file:
                for key, value in metadata.items():
                    setattr(file, key, value)
                yield AudioWriter(file, target, path)
        except soundfile.LibsndfileError as error:
            target.check()
            message = f"cannot write {printable(path)} at {sample_rate} Hz: {error.error_string}"
            raise AudioError(message) from None
        target.check()


def _write_error(path: Path, error: OSError) -> AudioError:
    reason = DISK_ERRORS.get(error.errno or 0, error.strerror or str(error))
    return AudioError(f"cannot write {printable(path)}: {reason}.")


@contextlib.contextmanager
def _m4a_writer(
    path: Path, sample_rate: int, channels: int, metadata: dict[str, str], into: Path | None
) -> Iterator[AudioWriter]:
    """`open_writer` for M4A, which is encoded from a WAV when that is whole."""
    require_encoder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path.with_suffix(".wav")) as wave, _place(path, into) as encoded:
            with _sndfile_writer(path, wave, sample_rate, channels, ("WAV", "PCM_16"), {}) as writer:
                yield writer
            encode_m4a(wave, encoded, metadata)
    except OSError as error:
        raise _write_error(path, error) from None


def write_audio(path: Path, waveform: np.ndarray, sample_rate: int, *, metadata: dict[str, str] | None = None) -> None:
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
