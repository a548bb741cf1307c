"""A trained model as a Python object: `musigan.load("shipped").compose(seconds=20, seed=3)`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation.audio_io import write_audio
from piano.foundation.errors import ConfigError
from piano.foundation.model_folder import named_folder
from piano.foundation.runtime import choose_device, sampling_dtype
from piano.foundation.spooled_sound import CEILING_DB, FULL_SCALE
from piano.generate_music import as_loud_as, hear_prompt
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator


class Player:
    """A model that is ready to make music.

    Parameters
    ----------
    model : str or Path
        Folder of a run, or of a model that was given away; `shipped` is the one that comes with the project.
    epoch : int or str
        A number, `latest`, or `best`: what was judged best.
    device : str
        auto, cpu, cuda or mps.

    Raises
    ------
    CheckpointError
        There is no model, or it is damaged.
    """

    def __init__(self, model: str | Path = "shipped", *, epoch: int | str = "best", device: str = "auto") -> None:
        place = choose_device(device)
        self.generator: VariationalAttentionModel = load_generator(named_folder(model), epoch, device=place)
        self._dtype = sampling_dtype(place)

    @property
    def sample_rate(self) -> int:
        """Samples per second of all that it makes."""
        return self.generator.sample_rate

    @property
    def channels(self) -> int:
        """1 (mono) or 2 (stereo)."""
        return self.generator.sound_channels

    def compose(
        self, seconds: float = 30.0, *, seed: int = 0, item: int = 0, steps: int | str = "auto"
    ) -> NDArray[np.float32]:
        """New music from white noise: what `musigan generate --seed SEED` writes as sample number `item`.

        Parameters
        ----------
        seconds : float
        seed, item : int
            The same numbers give the same music.
        steps : int or str
            Sampling steps, or `auto`: what scored best.

        Returns
        -------
        ndarray of float32 [shape=(channels, samples)]
            Within [-1, 1].
        """
        self._check(seconds)
        return _joined(self._composer(seed, steps).stream(seconds, item=item))

    def continue_(
        self, path: str | Path, seconds: float = 30.0, *, seed: int = 0, item: int = 0, steps: int | str = "auto"
    ) -> NDArray[np.float32]:
        """What comes after the sound of a file, at its level; the file itself is not part of it.

        Returns
        -------
        ndarray of float32 [shape=(channels, samples)]

        Raises
        ------
        AudioError
            The file cannot be read, is silent or too short.
        """
        self._check(seconds)
        heard, prompt, _ = hear_prompt(self.generator, Path(path))
        sounds = self._composer(seed, steps).stream(seconds, prompt=prompt, item=item)
        return _joined(as_loud_as(heard, sounds, self.sample_rate))

    def save(self, path: str | Path, waveform: NDArray[np.float32]) -> None:
        """Write a waveform (channels, samples) as .wav, .flac, .mp3 or .m4a; a file of that name is replaced."""
        write_audio(Path(path), waveform, self.sample_rate)

    def _composer(self, seed: int, steps: int | str) -> Composer:
        return Composer(self.generator, Sampling(seed, steps, dtype=self._dtype))

    def _check(self, seconds: float) -> None:
        if not seconds * self.sample_rate >= 0.5:
            raise ConfigError(f"seconds must be at least one sample of {self.sample_rate} Hz, got {seconds}")


def _joined(sounds: Iterable[Tensor]) -> NDArray[np.float32]:
    """Pieces in one, with one gain if they would clip."""
    waveform = torch.cat(list(sounds), dim=-1).float().cpu().numpy()
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform if peak <= FULL_SCALE else waveform * np.float32(10 ** (CEILING_DB / 20) / peak)
