"""M4A files, for telephones and music players that want no other: pydub hands a finished WAV to an ffmpeg program."""

import warnings
from pathlib import Path

from piano.foundation.errors import AudioError
from piano.foundation.ffmpeg_sound import FFMPEG_HINT, find_ffmpeg
from piano.foundation.screen_text import printable

BIT_RATE = "192k"


def require_encoder(path: Path) -> None:
    """Raises AudioError if no ffmpeg program is there to write `path` with."""
    if find_ffmpeg() is None:
        raise AudioError(f"cannot write {printable(path)}: M4A {FFMPEG_HINT}")


def encode_m4a(wave: Path, path: Path, metadata: dict[str, str]) -> None:
    """Write a WAV file's sound as AAC in an M4A container.

    Parameters
    ----------
    wave : Path
        Is held in memory as a whole.
    path : Path
        Is overwritten.
    metadata : dict
        Tags: title, artist, album, comment, date ...

    Raises
    ------
    AudioError
        No ffmpeg program is there, or it fails.
    """
    require_encoder(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub looks for ffmpeg on the PATH only, and says so
        from pydub import AudioSegment
        from pydub.exceptions import CouldntEncodeError
    sound = AudioSegment.from_wav(wave)
    sound.converter = find_ffmpeg()
    try:
        sound.export(path, format="ipod", codec="aac", bitrate=BIT_RATE, tags=metadata).close()
    except CouldntEncodeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AudioError(f"cannot write {printable(path)}: {reason}") from None
