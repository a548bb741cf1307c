"""The form in which music is compared: the lower rate, and one channel where either side has one."""

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from piano.foundation.screen_text import counted

LEAST_RATE = 6_000
"""Below it there are not enough bands for the features: such music is resampled to it."""


class SoundForm(NamedTuple):
    """Sample rate and channels."""

    sample_rate: int
    channels: int

    @property
    def words(self) -> str:
        """`2 channels at 44100 Hz`."""
        return f"{counted(self.channels, 'channel')} at {self.sample_rate} Hz"


def common_form(*forms: SoundForm) -> SoundForm:
    """What all can be brought to: the lowest rate, but LEAST_RATE at least, and the fewest channels."""
    return SoundForm(max(LEAST_RATE, min(form.sample_rate for form in forms)), min(form.channels for form in forms))


def in_form(waveform: NDArray, own: SoundForm, wanted: SoundForm, *, samples: int | None = None) -> NDArray[np.float32]:
    """A waveform in another form: the mean of its channels or each twice, resampled by soxr at high quality.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    own, wanted : SoundForm
        One or two channels.
    samples : int, optional
        Cut, or filled with zeros, to this length: lengths of rates that do not divide are off by one.
    """
    sound = np.asarray(waveform, dtype=np.float32)
    if wanted.channels < own.channels:
        sound = sound.mean(axis=0, keepdims=True, dtype=np.float32)
    elif wanted.channels > own.channels:
        sound = np.repeat(sound, wanted.channels, axis=0)
    if wanted.sample_rate != own.sample_rate:
        sound = soxr.resample(sound.T, own.sample_rate, wanted.sample_rate, quality="HQ").T
    if samples is not None:
        sound = np.pad(sound[:, :samples], ((0, 0), (0, max(0, samples - sound.shape[1]))))
    return np.ascontiguousarray(sound, dtype=np.float32)


def changed_words(name: str, own: SoundForm, common: SoundForm) -> str:
    """That something is measured in another form than it has, in a sentence; empty where it is not."""
    if own == common:
        return ""
    done = ["resampled"] if own.sample_rate != common.sample_rate else []
    done += ["mixed to one channel"] if own.channels != common.channels else []
    return f"{name} has {own.words}: it is {' and '.join(done)} to be measured as {common.words}."
