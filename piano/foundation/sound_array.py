"""A waveform that knows its sample rate: an array that a notebook shows as a player."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from piano.foundation.audio_io import write_audio
from piano.foundation.audio_writer import as_written


class Sound(np.ndarray[Any, np.dtype[np.float32]]):
    """A waveform (channels, samples) of float32, and its `sample_rate`; in all else a NumPy array.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    sample_rate : int
    """

    sample_rate: int
    """Samples a second; 0 for an array that was made from others of no rate."""

    def __new__(cls, waveform: ArrayLike, sample_rate: int) -> "Sound":
        sound = np.asarray(waveform, dtype=np.float32).view(cls)
        sound.sample_rate = sample_rate
        return sound

    def __array_finalize__(self, other: NDArray[Any] | None, /) -> None:
        self.sample_rate = getattr(other, "sample_rate", 0)

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.shape[-1] / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write it as .wav, .flac, .mp3 or .m4a; a file of that name is replaced."""
        write_audio(Path(path), np.asarray(self), self.sample_rate)

    def _repr_html_(self) -> str | None:
        """A player, in a notebook; None for what is no waveform, such as one of its numbers."""
        if self.ndim != 2 or not self.size or not self.sample_rate:
            return None
        stream = io.BytesIO()
        soundfile.write(stream, as_written(np.asarray(self).T, "PCM_16"), self.sample_rate, "PCM_16", format="WAV")
        held = base64.b64encode(stream.getvalue()).decode()
        return f'<audio controls src="data:audio/wav;base64,{held}"></audio>'
