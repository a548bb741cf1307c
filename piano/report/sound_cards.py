"""A sound on a page: its player, and pictures that show where in the sound one is."""

import io
import math
from typing import Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from piano.evaluation.spectra import constant_q, constant_q_frequencies
from piano.foundation.audio_io import encode_mp3
from piano.report.markup import data_uri
from piano.report.sounds import ShownSound

Size = Literal["hero", "large", "small"]
ROWS = {"hero": 200, "large": 150, "small": 72}
COLUMNS = {"hero": 800, "large": 480, "small": 240}
COLOURS = {"hero": 48, "large": 32, "small": 24}
WAVE_COLUMNS = 240
"""Bars of a waveform."""
MOST_IN_LINE = 6
"""Small cards beside each other on a wide screen."""
RANGE_DB = 48.0
PITCH_HOP_SECONDS = 0.032


class AxisLabel(NamedTuple):
    """A word on the vertical axis of a picture."""

    height: float
    """Share of the picture's height, from the bottom."""
    text: str


class Picture(NamedTuple):
    """A picture of a sound, not yet drawn."""

    name: str
    levels: NDArray[np.float32]
    """In dB [shape=(rows, frames)], low tones first."""
    marks: list[AxisLabel]


class PagePicture(NamedTuple):
    """A picture as the page holds it."""

    address: str
    """It carries the picture."""
    words: str
    marks: list[AxisLabel]
    takeover: float | None
    """Where the model takes over from the fragment, in % of the width; None where it does not."""


class Wave(NamedTuple):
    """A waveform in two colours, as SVG paths."""

    words: str
    bars: int
    given: str
    own: str


class SoundPlayer(NamedTuple):
    """A sound and an address that carries it."""

    sound: ShownSound
    address: str


class Card(NamedTuple):
    """What stands on the page for a sound."""

    sound: ShownSound
    name: str
    """What its player is called."""
    kinds: str
    """Classes of the page's style."""
    address: str
    """It carries the sound."""
    picture: PagePicture
    wave: Wave | None


def notes_picture(sound: ShownSound, *, bins_per_octave: int = 24) -> Picture:
    """Levels of quarter tones (constant-Q), with marks at every C."""
    magnitudes = constant_q(
        sound.waveform, sound.sample_rate, bins_per_octave=bins_per_octave, hop_seconds=PITCH_HOP_SECONDS
    )
    pitches = len(constant_q_frequencies(sound.sample_rate, bins_per_octave=bins_per_octave))
    first_c = 3 * bins_per_octave // 12  # the lowest row is an A
    marks = [
        AxisLabel((row + 0.5) / pitches, f"C{octave}")
        for octave, row in enumerate(range(first_c, pitches, bins_per_octave), start=2)
    ]
    return Picture("Notes", 20 * np.log10(magnitudes + 1e-6), marks)


def encode_png(levels: NDArray[np.float32], *, size: Size = "large") -> bytes:
    """A picture of levels in dB (rows, frames), 48 dB deep, its first row at the bottom.

    It has few colours and no more points than a screen shows: a page holds dozens of them.
    """
    pooled = pool(pool(levels, ROWS[size]).T, COLUMNS[size]).T
    top = max(float(np.percentile(pooled, 99.8)), -60.0)
    shades = np.clip((pooled - top) / RANGE_DB + 1.0, 0.0, 1.0) * (COLOURS[size] - 1)
    image = Image.fromarray(np.ascontiguousarray(shades[::-1]).round().astype(np.uint8))
    palette = colormaps["magma"](np.linspace(0.0, 1.0, COLOURS[size]))[:, :3] * 255
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pool(levels: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Join neighbouring rows until there are at most `most`; the loudest counts, so that onsets stay visible."""
    step = math.ceil(len(levels) / most)
    return levels[: max(len(levels) // step, 1) * step].reshape(-1, step, levels.shape[1]).max(axis=1)


def draw(sound: ShownSound, picture: Picture, *, size: Size) -> PagePicture:
    """One picture with its marks."""
    return PagePicture(
        data_uri("image/png", encode_png(picture.levels, size=size)),
        f"{picture.name} of {sound.title}, {sound.seconds:.0f} seconds",
        [] if size == "small" else picture.marks,
        takeover_place(sound),
    )


def takeover_place(sound: ShownSound) -> float | None:
    """Where the model takes over from the fragment, in % of the sound; None where it does not."""
    if sound.takeover_seconds is None or sound.takeover_seconds >= sound.seconds:
        return None
    return 100 * sound.takeover_seconds / sound.seconds


def wave_of(sound: ShownSound) -> Wave:
    """The waveform of a continuation: the fragment in one colour, the model's own music in another."""
    highest = np.abs(sound.waveform).max(axis=0)
    parts = np.array_split(highest, min(WAVE_COLUMNS, len(highest)))
    peaks = np.array([part.max() for part in parts])
    peaks = np.maximum(peaks / max(float(peaks.max()), 1e-6), 0.015)
    begins = len(peaks) * (sound.takeover_seconds or 0.0) / max(sound.seconds, 1e-9)
    bars = ["", ""]
    for place, peak in enumerate(peaks):
        bars[int(place >= begins)] += f"M{place + 0.5:.1f} {20 - 19 * peak:.1f}v{38 * peak:.1f}"
    words = (
        f"Waveform of {sound.title}: real music for {sound.takeover_seconds:.0f} seconds, then the model's own"
        if sound.takeover_seconds
        else f"Waveform of {sound.title}"
    )
    return Wave(words, len(peaks), *bars)


def sound_card(sound: ShownSound, *, size: Size = "large", label: str = "", mark: str = "") -> Card:
    """Title, player, and a picture of the notes; a continuation has its waveform in two colours above it.

    Parameters
    ----------
    label : str, optional
        What the player is called where the title alone would not say it.
    mark : str, optional
        A class of the page's style that sets this card apart.
    """
    return Card(
        sound,
        label or sound.title,
        " ".join(filter(None, ("sound", size, mark))),
        sound_address(sound),
        draw(sound, notes_picture(sound), size=size),
        wave_of(sound) if sound.takeover_seconds and size != "small" else None,
    )


def sound_address(sound: ShownSound) -> str:
    """An address that carries the sound, as MP3."""
    return data_uri("audio/mpeg", encode_mp3(sound.waveform, sound.sample_rate))


def strip_columns(cards: int) -> int:
    """How many small cards stand beside each other, so that the lines are even."""
    lines = -(-cards // MOST_IN_LINE)
    return -(-cards // max(lines, 1))
