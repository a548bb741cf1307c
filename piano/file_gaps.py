"""Where new music goes into a file: gaps in its own samples and in the model's, and what it has at their edges."""

import math
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from piano.foundation.audio_io import DecodeLog
from piano.foundation.bounds import SECONDS
from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.native_sound import native_blocks
from piano.foundation.phase import extrapolate
from piano.foundation.screen_text import counted, printable

EDGE_SECONDS = 0.01
"""Over which an edge of new music is faded into what the file has there; half of it at most."""
EXPECTED_FROM = 8192
"""Samples that linear prediction looks at."""
LEAST_KNOWN_SECONDS = 1.0
"""Of a file that are kept."""
MOST_REGIONS = 100
"""A receipt names them all."""
BLOCK_SECONDS = 10.0
MOST_CHANNELS = 2


class Form(NamedTuple):
    """How a file lies on the disk."""

    sample_rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / self.sample_rate


class Gap(NamedTuple):
    """New music goes here: the file's samples [begin, end), before 0 or behind its end where it is extended."""

    begin: int
    end: int


class Wanted(NamedTuple):
    """Where new music is asked for, in seconds."""

    regions: tuple[tuple[float, float], ...] = ()
    """From when to when."""
    left: float = 0.0
    """So much before the beginning."""
    right: float = 0.0
    """So much behind the end."""

    def gaps(self, form: Form) -> list[Gap]:
        """In order; those that touch are one."""
        rate = form.sample_rate
        found = [Gap(round(begin * rate), round(end * rate)) for begin, end in self.regions]
        found += [Gap(-round(self.left * rate), 0), Gap(form.samples, form.samples + round(self.right * rate))]
        joined: list[Gap] = []
        for gap in sorted(gap for gap in found if gap.end > gap.begin):
            if joined and gap.begin <= joined[-1].end:
                joined[-1] = Gap(joined[-1].begin, max(gap.end, joined[-1].end))
            else:
                joined.append(gap)
        return joined

    def refuse_nonsense(self, path: Path, form: Form) -> None:
        """Raises ConfigError for what cannot be done with a file."""
        name, behind = printable(path), 0.0
        for side, seconds in (("before", self.left), ("behind", self.right)):
            if seconds not in SECONDS:
                raise ConfigError(f"the seconds of music {side} {name} must be {SECONDS}, got {seconds:g}.")
        if len(self.regions) > MOST_REGIONS:
            raise ConfigError(f"{len(self.regions)} regions are too many at once: {MOST_REGIONS} can be asked for.")
        for begin, end in sorted(self.regions):
            is_time = begin in SECONDS and end in SECONDS
            if not (is_time and round(end * form.sample_rate) > round(begin * form.sample_rate)):
                raise ConfigError(
                    f"the region from {begin:g} to {end:g} s holds no sample: its end must be later than its beginning."
                )
            if begin < behind:
                raise ConfigError(
                    f"the region from {begin:g} to {end:g} s begins before another one ends ({behind:g} s): join them."
                )
            if round(end * form.sample_rate) > form.samples:
                raise ConfigError(
                    f"the region from {begin:g} to {end:g} s ends behind {name}, which lasts {form.seconds:.2f} s."
                )
            behind = end
        known = form.seconds - sum(end - begin for begin, end in self.regions)
        if known < LEAST_KNOWN_SECONDS:
            raise ConfigError(
                f"only {known:.2f} s of {name} would be kept: "
                f"{LEAST_KNOWN_SECONDS:g} s or more are needed to go on from."
            )


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
            raise AudioError(f"{printable(path)} has {counted(channels, 'channel')}: one or two can be filled.")
        yield rate, block.frames.T


def form_of(path: Path) -> Form:
    """Rate, channels and samples of a file, all of which is decoded for it; raises AudioError."""
    rate = channels = samples = 0
    for found, piece in native_pieces(path):
        rate, channels, samples = found, piece.shape[0], samples + piece.shape[1]
    if not samples:
        raise AudioError(f"{printable(path)} holds no sound that can be decoded.")
    return Form(rate, channels, samples)


def slices_of(pieces: Iterable[np.ndarray], wanted: list[slice]) -> Generator[None, None, list[np.ndarray]]:
    """Slices of a sound that comes in pieces (channels, samples), a piece a step.

    Each ends where the sound does at the latest.
    """
    found: list[list[np.ndarray]] = [[] for _ in wanted]
    position, empty = 0, np.zeros((0, 0), np.float32)
    for piece in pieces:
        empty = piece[:, :0]
        for place, parts in zip(wanted, found, strict=True):
            part = piece[:, max(place.start - position, 0) : max(place.stop - position, 0)]
            if part.shape[1]:
                parts.append(part)
        position += piece.shape[1]
        yield
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
    """Behind the last one; music that will be replaced is not heard."""

    @classmethod
    def of(cls, gap: Gap, form: Form, grids: Grids, *, reach: int, following: Gap | None) -> "Around":
        """`reach` samples of the model on both sides, as far as there are any."""
        begin, end = grids.below(gap.begin), grids.above(gap.end)
        last = end + reach if following is None else min(end + reach, max(grids.below(following.begin), end))
        last = end if gap.end >= form.samples else last
        if gap.begin < 0:  # before the beginning is nothing, not silence
            first = grids.meeting_below(begin)
            return cls(first, first, end, last)
        return cls(max(grids.meeting_below(begin - reach), 0), begin, end, last)

    @property
    def inside(self) -> slice:
        """The gap, counted from `first`."""
        return slice(self.begin - self.first, self.end - self.first)

    def padded(self, heard: np.ndarray) -> np.ndarray:
        """What was heard of [max(first, 0), last), with silence where the file is to be extended."""
        behind = max(self.end - max(self.first, 0) - heard.shape[1], 0)
        return np.pad(heard, ((0, 0), (max(-self.first, 0), behind)))


class Edge(NamedTuple):
    """What is known of a file at both edges of a gap [shape=(channels, samples)]; nothing where it has no such edge."""

    at_begin: np.ndarray
    at_end: np.ndarray

    def faded(self, sound: np.ndarray) -> np.ndarray:
        """A sound (channels, samples) whose edges come out of, and go into, what is known there."""
        made = sound.astype(np.float32)
        for part, known, turn in (
            (made[:, : self.at_begin.shape[1]], self.at_begin, 1.0),
            (made[:, made.shape[1] - self.at_end.shape[1] :], self.at_end, -1.0),
        ):
            place = (np.arange(known.shape[1]) + 0.5) / max(known.shape[1], 1)
            share = 0.5 + turn * 0.5 * np.cos(np.pi * place)
            part += share.astype(np.float32) * (known - part)
        return made


def edges_of(path: Path, form: Form, gaps: list[Gap]) -> Generator[None, None, list[Edge]]:
    """What the file has at the edges of its gaps, or what is expected of it where it is only extended; in steps.

    A gap that begins with the file, or before it, has nothing to begin with; one that ends with it likewise.
    """
    lengths = [min(round(EDGE_SECONDS * form.sample_rate), (end - begin) // 2) for begin, end in gaps]
    wanted = []
    before, after = [Gap(0, 0), *gaps[:-1]], [*gaps[1:], Gap(form.samples, form.samples)]
    for (begin, end), length, earlier, later in zip(gaps, lengths, before, after, strict=True):
        first = slice(begin, begin + length) if begin > 0 else slice(0, 0)
        last = slice(end - length, end) if end < form.samples else slice(0, 0)
        if begin == form.samples:
            first = slice(max(begin - EXPECTED_FROM, earlier.end, 0), begin)  # what will be replaced says nothing
        if end == 0:
            last = slice(0, min(EXPECTED_FROM, later.begin))
        wanted += [first, last]
    parts = yield from slices_of((piece for _, piece in native_pieces(path)), wanted)
    edges = []
    for (begin, end), length, first, last in zip(gaps, lengths, parts[::2], parts[1::2], strict=True):
        edges.append(
            Edge(
                _expected(first, length) if begin == form.samples else first,
                _expected(last[:, ::-1], length)[:, ::-1] if end == 0 else last,
            )
        )
    return edges


def _expected(sound: np.ndarray, samples: int) -> np.ndarray:
    """What comes after a sound (channels, samples), by linear prediction."""
    return extrapolate(torch.from_numpy(np.ascontiguousarray(sound)), samples).numpy()
