"""Sound that is kept aside until its loudest sample is known: then one gain serves all of it, and nothing clips."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FULL_SCALE = 1.0
CEILING_DB = -0.1
"""Peak that a sound is scaled to if it would clip."""
_BLOCK = 1 << 16


class SpooledSound:
    """Pieces of sound, and what is known of all of them together.

    Parameters
    ----------
    channels : int
    folder : Path
        On the disk that is used when the sound gets long.
    most_in_memory : int
        Bytes; what is longer goes to the disk, into a file that no name points to.
    is_levelled : bool
        Whether a sound that would clip gets a gain.
    """

    def __init__(
        self, channels: int, folder: Path, *, most_in_memory: int = 32 << 20, is_levelled: bool = True
    ) -> None:
        self._file = tempfile.SpooledTemporaryFile(most_in_memory, dir=str(folder))  # noqa: SIM115 (closed by `close`)
        self.channels = channels
        self.is_levelled = is_levelled
        self.samples = 0
        self.peak = 0.0
        self._energy = 0.0
        self.over = 0
        """Numbers beyond full scale."""

    def add(self, waveform: np.ndarray) -> None:
        """Take the next piece (channels, samples)."""
        piece = np.asarray(waveform, dtype=np.float32)
        if piece.size:
            sizes = np.abs(piece)
            self.peak = max(self.peak, float(sizes.max()))
            self.over += int((sizes > FULL_SCALE).sum())
            self._energy += float(np.square(piece, dtype=np.float64).sum())
            self.samples += piece.shape[1]
            self._file.write(np.ascontiguousarray(piece.T).tobytes())

    @property
    def rms_db(self) -> float:
        """Level of the whole sound."""
        return float(10 * np.log10(self._energy / max(self.samples * self.channels, 1) + 1e-20))

    @property
    def gain(self) -> float:
        """Gain that keeps all of it below full scale: 1 if nothing clips, or if it is to stay as it is."""
        return 1.0 if self.peak <= FULL_SCALE or not self.is_levelled else 10 ** (CEILING_DB / 20) / self.peak

    def pieces(self) -> Iterator[np.ndarray]:
        """The sound from its beginning with the gain on it, in pieces (channels, samples)."""
        self._file.seek(0)
        width = 4 * self.channels
        while data := self._file.read(_BLOCK * width):
            yield np.frombuffer(data, dtype=np.float32).reshape(-1, self.channels).T * np.float32(self.gain)
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Let go of memory and disk."""
        self._file.close()
