"""A sound file with new music in some places, before it or behind it; every other sample stays as it is, bit for bit.

The model hears the file at its own rate and channels. What it makes is brought to those of the file, and each edge of
it is faded into what the file has there, or, where the file ends, into what linear prediction expects of it.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch

from piano.composer import Composer
from piano.foundation.audio_io import DecodeLog
from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.native_sound import native_blocks
from piano.foundation.phase import extrapolate
from piano.foundation.prompts import Heard
from piano.foundation.screen_text import printable
from piano.infill import fill_gap

EDGE_SECONDS = 0.01
"""Over which an edge of new music is faded into what the file has there; half of it at most."""
EXPECTED_FROM = 8192
"""Samples that linear prediction looks at."""
BLOCK_SECONDS = 10.0
MOST_CHANNELS = 2


class Wanted(NamedTuple):
    """Where new music is asked for, in seconds."""

    regions: tuple[tuple[float, float], ...] = ()
    """From when to when; in order, apart."""
    left: float = 0.0
    """So much before the beginning."""
    right: float = 0.0
    """So much behind the end."""

    def refuse_nonsense(self, path: Path, seconds: float) -> None:
        """Raises ConfigError for regions that a file of so many seconds does not have."""
        name, behind = printable(path), 0.0
        for begin, end in self.regions:
            if not begin < end:
                raise ConfigError(f"--from {begin:g} --to {end:g} holds nothing: --to must be later than --from.")
            if begin < behind:
                raise ConfigError(f"--from {begin:g} lies before --to {behind:g} of another region: join the two.")
            if end > seconds:
                raise ConfigError(
                    f"--to {end:g} lies behind the end of {name} ({seconds:.2f} s): --extend-right adds music there."
                )
            behind = end
        missing = sum(end - begin for begin, end in self.regions)
        if seconds - missing < LEAST_KNOWN_SECONDS:
            raise ConfigError(
                f"of {name} ({seconds:.2f} s) the regions leave {max(seconds - missing, 0.0):.2f} s: "
                f"at least {LEAST_KNOWN_SECONDS:g} s are needed to go by."
            )


LEAST_KNOWN_SECONDS = 1.0
"""Of a file that are kept."""


class Form(NamedTuple):
    """How a file lies on the disk."""

    sample_rate: int
    channels: int
    samples: int


class Piece(NamedTuple):
    """New music for samples of a file: [begin, end), which are before 0 or behind its end where it is extended."""

    begin: int
    end: int
    sound: np.ndarray
    """[shape=(channels, end - begin)]"""


def native_pieces(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """A file as it lies on the disk: its rate, and pieces (channels, samples); raises AudioError.

    It has one rate and no more than two channels, or is refused.
    """
    rate = channels = 0
    for block in native_blocks(path, BLOCK_SECONDS, DecodeLog()):
        rate, channels = rate or block.sample_rate, channels or block.frames.shape[1]
        if (block.sample_rate, block.frames.shape[1]) != (rate, channels):
            raise AudioError(f"{printable(path)} changes its rate or channels on the way: convert it to WAV first.")
        if channels > MOST_CHANNELS:
            raise AudioError(f"{printable(path)} has {channels} channels: one or two can be filled.")
        yield rate, block.frames.T


def form_of(path: Path) -> Form:
    """Rate, channels and samples of a file, all of which is decoded for it; raises AudioError."""
    rate = channels = samples = 0
    for found, piece in native_pieces(path):
        rate, channels, samples = found, piece.shape[0], samples + piece.shape[1]
    if not samples:
        raise AudioError(f"{printable(path)} holds no sound that can be decoded.")
    return Form(rate, channels, samples)


def slices_of(pieces: Iterable[np.ndarray], wanted: list[slice]) -> list[np.ndarray]:
    """Slices of a sound that comes in pieces (channels, samples); each ends where the sound does at the latest."""
    found: list[list[np.ndarray]] = [[] for _ in wanted]
    position, empty = 0, np.zeros((0, 0), np.float32)
    for piece in pieces:
        empty = piece[:, :0]
        for place, parts in zip(wanted, found, strict=True):
            part = piece[:, max(place.start - position, 0) : max(place.stop - position, 0)]
            if part.shape[1]:
                parts.append(part)
        position += piece.shape[1]
    return [np.concatenate(parts or [empty], axis=1) for parts in found]


class Grids(NamedTuple):
    """A file's samples and a model's, which meet every `step` samples of the model."""

    native: int
    model: int
    """Samples a second."""

    @property
    def step(self) -> int:
        """Samples of the model after which both fall together."""
        return self.model // math.gcd(self.native, self.model)

    def below(self, native_sample: int) -> int:
        """The model's sample at a native one, or the last before it."""
        return native_sample * self.model // self.native

    def above(self, native_sample: int) -> int:
        """The model's sample at a native one, or the first behind it."""
        return -(-native_sample * self.model // self.native)

    def native_of(self, model_sample: int) -> int:
        """Of a multiple of `step`."""
        return model_sample * self.native // self.model

    def meeting_below(self, model_sample: int) -> int:
        """The last sample where both meet, up to this one."""
        return model_sample // self.step * self.step


class Around(NamedTuple):
    """A gap of a file in the model's time, which counts from the file's beginning."""

    first: int
    """The first sample of what is heard around it: where both grids meet."""
    begin: int
    end: int
    last: int

    @classmethod
    def of(cls, begin: int, end: int, form: Form, grids: Grids, reach: int) -> "Around":
        """Around the native samples [begin, end), `reach` samples of the model on both sides that have any."""
        first, last = max(grids.meeting_below(grids.below(begin) - reach), 0), grids.above(end) + reach
        if begin < 0:  # before the beginning is nothing, not silence
            first = grids.meeting_below(grids.below(begin))
            return cls(first, first, grids.above(end), last)
        return cls(first, grids.below(begin), grids.above(end), last if end <= form.samples else grids.above(end))

    @property
    def inside(self) -> slice:
        """The gap, counted from `first`."""
        return slice(self.begin - self.first, self.end - self.first)


def gaps_of(wanted: Wanted, form: Form) -> list[tuple[int, int]]:
    """Native samples [begin, end) of all gaps, in order."""
    found = [(round(begin * form.sample_rate), round(end * form.sample_rate)) for begin, end in wanted.regions]
    found.append((-round(wanted.left * form.sample_rate), 0))
    found.append((form.samples, form.samples + round(wanted.right * form.sample_rate)))
    return sorted(gap for gap in found if gap[1] > gap[0])


def new_pieces(composer: Composer, heard: Heard, form: Form, wanted: Wanted, *, item: int = 0) -> Iterator[Piece]:
    """The new music of a file, gap by gap, in the file's own form and at its level.

    Parameters
    ----------
    composer : Composer
    heard : Heard
        Of the whole file.
    form : Form
        Of the same file.
    wanted : Wanted
    item : int
        Items of a seed differ.

    Raises
    ------
    AudioError
        The file cannot be decoded.
    """
    network = composer.generator
    grids, gaps = Grids(form.sample_rate, network.sample_rate), gaps_of(wanted, form)
    reach = (network.latent_seq_len + network.autoencoder.encoder.context) * network.hop_samples
    places = [Around.of(begin, end, form, grids, reach) for begin, end in gaps]
    read = slices_of(heard.blocks(network.sample_rate), [slice(max(at.first, 0), at.last) for at in places])
    known = [
        np.pad(heard.prepared(part), ((0, 0), (max(-at.first, 0), max(at.end - max(at.first, 0) - part.shape[1], 0))))
        for at, part in zip(places, read, strict=True)
    ]
    edges = edges_of(heard.path, form, gaps)
    offset = heard.levels.offset.astype(np.float32)[:, np.newaxis]
    for number, ((begin, end), at) in enumerate(zip(gaps, places, strict=True)):
        sound = torch.from_numpy(known[number])
        made = fill_gap(composer, sound, at.inside.start, at.inside.stop, item=item).float().cpu().numpy()
        for other, filled in zip(places, known, strict=True):  # a gap near by goes on from what is there now
            _put(filled, made, at.begin - other.first)
        native = soxr.resample((known[number] / heard.gain + offset).T, grids.model, grids.native, quality="HQ").T
        first = begin - grids.native_of(at.first)
        piece = _in_channels(native[:, first : first + end - begin], form.channels)
        yield Piece(begin, end, faded(piece, *edges[number]))


def completed(form: Form, path: Path, pieces: list[Piece]) -> Iterator[np.ndarray]:
    """The file with its new music, in pieces (channels, samples)."""
    position = 0
    for piece in pieces:
        if piece.begin < 0:
            yield piece.sound
    for _, block in native_pieces(path):
        block = block.copy() if pieces else block
        for piece in pieces:
            _put(block, piece.sound, piece.begin - position)
        position += block.shape[1]
        yield block
    for piece in pieces:
        if piece.begin >= form.samples:
            yield piece.sound


class Edge(NamedTuple):
    """What is known of a file at both edges of a gap [shape=(channels, samples)]; nothing where it has no such edge."""

    at_begin: np.ndarray
    at_end: np.ndarray


def edges_of(path: Path, form: Form, gaps: list[tuple[int, int]]) -> list[Edge]:
    """What the file has at the edges of its gaps, or what is expected of it there."""
    found = []
    wanted = []
    for begin, end in gaps:
        length = min(round(EDGE_SECONDS * form.sample_rate), (end - begin) // 2)
        if begin < 0:
            wanted += [slice(0, 0), slice(0, EXPECTED_FROM)]
        elif end > form.samples:
            wanted += [slice(max(form.samples - EXPECTED_FROM, 0), form.samples), slice(0, 0)]
        else:
            wanted += [slice(begin, begin + length), slice(end - length, end)]
        found.append(length)
    parts = slices_of((piece for _, piece in native_pieces(path)), wanted)
    edges = []
    for (begin, end), length, first, last in zip(gaps, found, parts[::2], parts[1::2], strict=True):
        if begin < 0:
            last = _expected(last[:, ::-1], length)[:, ::-1]
        elif end > form.samples:
            first = _expected(first, length)
        edges.append(Edge(first, last))
    return edges


def _expected(sound: np.ndarray, samples: int) -> np.ndarray:
    """What comes after a sound (channels, samples), by linear prediction."""
    return extrapolate(torch.from_numpy(np.ascontiguousarray(sound)), samples).numpy()


def faded(sound: np.ndarray, at_begin: np.ndarray, at_end: np.ndarray) -> np.ndarray:
    """A sound (channels, samples) whose edges come out of, and go into, what is known there; within full scale."""
    made = np.clip(sound, -1.0, 1.0).astype(np.float32)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(at_begin.shape[1]) + 0.5) / max(at_begin.shape[1], 1))
    fall = 0.5 + 0.5 * np.cos(np.pi * (np.arange(at_end.shape[1]) + 0.5) / max(at_end.shape[1], 1))
    begin, end = made[:, : at_begin.shape[1]], made[:, made.shape[1] - at_end.shape[1] :]
    begin += (1.0 - rise).astype(np.float32) * (at_begin - begin)
    end += (1.0 - fall).astype(np.float32) * (at_end - end)
    return made


def _put(target: np.ndarray, sound: np.ndarray, at: int) -> None:
    """Write a sound over part of another, as far as it lies within."""
    first, last = max(at, 0), min(at + sound.shape[1], target.shape[1])
    if last > first:
        target[:, first:last] = sound[:, first - at : last - at]


def _in_channels(sound: np.ndarray, channels: int) -> np.ndarray:
    """One channel for two, or the mean of two."""
    if sound.shape[0] == channels:
        return sound
    return np.repeat(sound, channels, axis=0) if channels > 1 else sound.mean(axis=0, keepdims=True)
