"""What a model hears of a file: its end, at the level of prepared music, measured where it sounds.

What is unusual about a file is said in phrases, as of prepared music (docs/data-format.md), and of its level in three
words: silent (nothing above -66 dB), nearly silent (below -50 dB), beyond full scale.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from piano.foundation.audio_io import DecodeLog, decode_blocks
from piano.foundation.decode_log import NO_NUMBERS, NOT_FINITE
from piano.foundation.errors import AudioError
from piano.foundation.levels import SILENCE_DB, LevelMeter, Levels
from piano.foundation.screen_text import counted, printable

NEARLY_SILENT_DB = -50.0
"""A prompt below this is a hiss or a fault: music that is as soft would not be heard."""
CANCELLED = "channels that cancel each other in mono, so that the first one is taken"
_CANCELLED_DB = 20.0  # a channel so much louder than the mix of both: they are each other's opposite
_LONGEST_PAUSE_SECONDS = 0.5  # a longer silence at the end is skipped
_FADED_DB, _SHORTEST_FADE_SECONDS = 12.0, 3.0  # so far below the level of the music, and for so long
_BELOW_MUSIC = 1e-3  # of the level: softer is a pause


class Heard(NamedTuple):
    """A file as a model hears it."""

    path: Path
    levels: Levels
    """Of the part that was kept."""
    waveform: np.ndarray
    """The part that was kept, as it is in the file [shape=(channels, samples)]."""
    samples: int
    """Of the whole file at the model's rate."""
    over: int
    """Numbers beyond full scale in the whole file."""
    channel: int | None
    """The one channel that is taken; None: all, mixed if need be."""
    notes: tuple[str, ...]
    """A phrase for everything unusual about it."""

    @property
    def gain(self) -> float:
        """What brings it to the level of prepared music."""
        return 10 ** (self.levels.gain_db / 20)

    @property
    def is_nearly_silent(self) -> bool:
        """Whether music at its level would not be heard."""
        return self.levels.loudness_db < NEARLY_SILENT_DB

    def prepared(self, waveform: np.ndarray) -> np.ndarray:
        """A piece of the file as preparation makes it: without offset, levelled, clicks clipped."""
        offset = self.levels.offset[:, np.newaxis].astype(np.float32)
        return np.clip((waveform - offset) * np.float32(self.gain), -1.0, 1.0)

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """The whole file once more, as it is, in pieces (channels, samples)."""
        yield from _blocks(self.path, sample_rate, len(self.waveform), self.channel, DecodeLog())


def hear(path: Path, *, sample_rate: int, channels: int, max_seconds: float | None = None) -> Heard:
    """Decode a file in bounded memory, keep its last `max_seconds` (without: nothing), and measure the level there.

    Two channels that are each other's opposite are nothing in mono: then the first one is taken.

    Raises
    ------
    AudioError
        It cannot be decoded, or is silent.
    """
    heard = _hear(path, sample_rate, channels, None, max_seconds)
    if channels == 1 and heard.levels.loudness_db < NEARLY_SILENT_DB:
        with contextlib.suppress(AudioError):
            first = _hear(path, sample_rate, 1, 0, max_seconds)
            if first.levels.loudness_db > heard.levels.loudness_db + _CANCELLED_DB and not first.levels.is_silent:
                heard = first._replace(notes=(*first.notes, CANCELLED))
    if heard.levels.is_silent:
        kept = heard.waveform.shape[1] / sample_rate
        part = f" in its last {kept:.0f} s" if 0 < heard.waveform.shape[1] < heard.samples else ""
        but = _but_for(heard)
        raise AudioError(
            f"{printable(path)} is silent{part}: {but}nothing in it is above {SILENCE_DB:.0f} dB. Name another file."
        )
    return heard._replace(notes=(*heard.notes, *_level_notes(heard)))


def _but_for(heard: Heard) -> str:
    """What a silent file holds that is no sound, before the sentence that it is silent."""
    found = [NO_NUMBERS] if NOT_FINITE in heard.notes else []
    found += ["a constant offset"] if heard.levels.offset.any() else []
    return f"but for {' and '.join(found)}, " if found else ""


def _level_notes(heard: Heard) -> list[str]:
    """Phrases for a level that is unusual."""
    if heard.is_nearly_silent:
        return [f"nearly silent ({heard.levels.loudness_db:.0f} dB)"]
    if heard.over:
        return [f"beyond full scale in {counted(heard.over, 'sample')}"]
    return []


def _hear(path: Path, sample_rate: int, channels: int, channel: int | None, max_seconds: float | None) -> Heard:
    log, meter = DecodeLog(), LevelMeter(sample_rate)
    most = 0 if max_seconds is None else round(max_seconds * sample_rate)
    tail: deque[np.ndarray] = deque()
    kept = samples = over = 0
    for block in _blocks(path, sample_rate, channels, channel, log):
        if block.shape[1] == 0:
            continue
        samples += block.shape[1]
        over += int((np.abs(block) > 1.0).sum())
        if max_seconds is None:
            meter.add(block)
            continue
        tail.append(block)
        kept += block.shape[1]
        while kept - tail[0].shape[1] >= most:
            kept -= tail.popleft().shape[1]
    waveform = np.zeros((channels, 0), np.float32)
    if tail:
        waveform = np.ascontiguousarray(np.concatenate(tail, axis=1)[:, -most:])
        meter.add(waveform)
    if samples == 0:
        raise AudioError(f"{printable(path)} holds no sound that can be decoded.")
    return Heard(path, meter.levels(), waveform, samples, over, channel, tuple(log.notes))


def _blocks(path: Path, sample_rate: int, channels: int, channel: int | None, log: DecodeLog) -> Iterator[np.ndarray]:
    decoded = 2 if channel is not None else channels
    with contextlib.closing(decode_blocks(path, sample_rate=sample_rate, channels=decoded, log=log)) as stream:
        for block in stream:
            yield block if channel is None else block[channel : channel + 1]


def without_last_pause(heard: Heard, sample_rate: int) -> np.ndarray:
    """The part that was kept up to where it last sounds, if the silence after that is longer than a musical pause."""
    offset = heard.levels.offset[:, np.newaxis].astype(np.float32)
    threshold = max(10 ** (SILENCE_DB / 20), 10 ** (heard.levels.loudness_db / 20) * _BELOW_MUSIC)
    sounding = np.flatnonzero((np.abs(heard.waveform - offset) > threshold).any(axis=0))
    end = int(sounding[-1]) + 1 if len(sounding) else 0
    is_pause = heard.waveform.shape[1] - end > _LONGEST_PAUSE_SECONDS * sample_rate
    return heard.waveform[:, :end] if is_pause else heard.waveform


def without_fade_out(sounding: np.ndarray, heard: Heard, sample_rate: int) -> np.ndarray:
    """What sounds [shape=(channels, samples)] up to where it fades out, or falls far below its level for good.

    Music that goes on from the end of a fade-out would be as soft as that end.
    """
    half = max(1, sample_rate // 2)
    count = sounding.shape[1] // half
    offset = heard.levels.offset[:, np.newaxis].astype(np.float32)
    halves = (sounding[:, : count * half] - offset).reshape(len(sounding), count, half)
    power = np.square(halves, dtype=np.float64).mean(axis=(0, 2))
    level = 10 ** ((heard.levels.loudness_db - _FADED_DB) / 10)
    loud = np.flatnonzero(power > level)
    end = (int(loud[-1]) + 1) * half if len(loud) else sounding.shape[1]
    is_fade = sounding.shape[1] - end > _SHORTEST_FADE_SECONDS * sample_rate
    return sounding[:, :end] if is_fade else sounding
