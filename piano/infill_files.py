"""A sound file with new music in some places, before it or behind it; every other sample stays as it is, bit for bit.

The model hears the file at its own rate and channels. What it makes is brought to those of the file, and each edge of
it is faded into what the file has there, or, where the file ends, into what linear prediction expects of it.
"""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch

from piano.composer import Composer
from piano.file_gaps import Around, Form, Gap, Grids, Wanted, edges_of, native_pieces, slices_of
from piano.foundation.prompts import Heard
from piano.foundation.spooled_sound import CEILING_DB, FULL_SCALE
from piano.infill import fill_steps


class Piece(NamedTuple):
    """New music for a gap."""

    gap: Gap
    sound: np.ndarray
    """[shape=(channels, samples)]"""
    gain: float
    """Below 1 where it would have clipped."""


def new_pieces(
    composer: Composer, heard: Heard, form: Form, wanted: Wanted, *, item: int = 0
) -> Iterator[Piece | None]:
    """The new music of a file, gap by gap, in the file's own form and at its level; None after a step on the way.

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
    network, gaps = composer.generator, wanted.gaps(form)
    grids = Grids(form.sample_rate, network.sample_rate)
    reach = (network.latent_seq_len + network.autoencoder.encoder.context) * network.hop_samples
    places = [
        Around.of(gap, form, grids, reach=reach, following=following)
        for gap, following in zip(gaps, [*gaps[1:], None], strict=True)
    ]
    read = yield from slices_of(heard.blocks(network.sample_rate), [slice(max(at.first, 0), at.last) for at in places])
    known = [at.padded(heard.prepared(part)) for at, part in zip(places, read, strict=True)]
    edges = yield from edges_of(heard.path, form, gaps)
    offset = heard.levels.offset.astype(np.float32)[:, np.newaxis]
    for gap, at, around, edge in zip(gaps, places, known, edges, strict=True):
        position = (at.begin - min(places[0].begin, 0)) // network.hop_samples
        inside = at.inside.start, at.inside.stop
        made = yield from fill_steps(composer, torch.from_numpy(around), *inside, item=item, position=position)
        for other, filled in zip(places, known, strict=True):  # a gap near by goes on from what is there now
            _put(filled, made.float().cpu().numpy(), at.begin - other.first)
        native = soxr.resample((around / heard.gain + offset).T, grids.model, grids.native, quality="HQ").T
        first = gap.begin - grids.native_of(at.first)
        sound = _in_channels(native[:, first : first + gap.end - gap.begin], form.channels)
        peak = float(np.abs(sound).max(initial=0.0))
        gain = 1.0 if peak <= FULL_SCALE else 10 ** (CEILING_DB / 20) / peak
        yield Piece(gap, edge.faded(gain * sound), gain)


def completed(
    form: Form, path: Path, pieces: Iterator[Piece | None], told: Callable[[Piece], None] = lambda piece: None
) -> Iterator[np.ndarray]:
    """The file with its new music, in pieces (channels, samples), some of them empty.

    Each gap is composed when it is reached.

    Parameters
    ----------
    form : Form
    path : Path
    pieces : iterator
        From `new_pieces`.
    told : callable
        Hears of every piece of new music.
    """

    nothing = np.zeros((form.channels, 0), np.float32)

    def following() -> Generator[np.ndarray, None, Piece | None]:
        for piece in pieces:
            if piece is not None:
                told(piece)
                return piece
            yield nothing
        return None

    piece, position = (yield from following()), 0
    if piece is not None and piece.gap.begin < 0:
        yield piece.sound[:, : -piece.gap.begin]
    for _, block in native_pieces(path):
        end, block = position + block.shape[1], block.copy()
        while piece is not None and piece.gap.begin < end:
            _put(block, piece.sound, piece.gap.begin - position)
            if piece.gap.end > end or piece.gap.end > form.samples:
                break
            piece = yield from following()
        position = end
        yield block
    while piece is not None:
        yield piece.sound[:, form.samples - piece.gap.begin :]
        piece = yield from following()


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
