"""A sound on a page: its player, and pictures that show where in the sound one is."""

import io
import math
from html import escape
from typing import Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from piano.evaluation.spectra import constant_q, constant_q_frequencies
from piano.foundation.audio_io import encode_mp3
from piano.report.markup import data_uri
from piano.report.sounds import Sound

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
BETWEEN = ' class="between"'
"""Of every second pitch: where a picture is low the page shows the others only."""


class Mark(NamedTuple):
    """A word on the vertical axis of a picture."""

    height: float
    """Share of the picture's height, from the bottom."""
    text: str


class Picture(NamedTuple):
    """A picture of a sound, not yet drawn."""

    name: str
    levels: NDArray[np.float32]
    """In dB [shape=(rows, frames)], low tones first."""
    marks: list[Mark]


def notes_picture(sound: Sound, *, bins_per_octave: int = 24) -> Picture:
    """Levels of quarter tones (constant-Q), with marks at every C."""
    magnitudes = constant_q(
        sound.waveform, sound.sample_rate, bins_per_octave=bins_per_octave, hop_seconds=PITCH_HOP_SECONDS
    )
    pitches = len(constant_q_frequencies(sound.sample_rate, bins_per_octave=bins_per_octave))
    first_c = 3 * bins_per_octave // 12  # the lowest row is an A
    marks = [
        Mark((row + 0.5) / pitches, f"C{octave}")
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


def picture_html(sound: Sound, picture: Picture, *, size: Size) -> str:
    """One picture with its marks and the playhead."""
    words = ""
    if size != "small":
        words = "".join(
            f'<span aria-hidden="true"{BETWEEN if index % 2 else ""} '
            f'style="bottom:max({100 * mark.height:.1f}%,.45rem)">{mark.text}</span>'
            for index, mark in enumerate(picture.marks)
        )
    address = data_uri("image/png", encode_png(picture.levels, size=size))
    alternative = escape(f"{picture.name} of {sound.title}, {sound.seconds:.0f} seconds")
    return (
        f'<div class="picture"><img src="{address}" alt="{alternative}">{words}{takeover_html(sound)}'
        '<i class="head"></i></div>'
    )


def takeover_html(sound: Sound) -> str:
    """A dashed line where the model takes over from the fragment."""
    if sound.takeover_seconds is None or sound.takeover_seconds >= sound.seconds:
        return ""
    return f'<i class="takeover" style="left:{100 * sound.takeover_seconds / sound.seconds:.1f}%"></i>'


def wave_html(sound: Sound) -> str:
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
    return (
        f'<div class="wave" role="img" aria-label="{escape(words)}"><svg viewBox="0 0 {len(peaks)} 40" '
        f'preserveAspectRatio="none" aria-hidden="true"><path class="given" d="{bars[0]}"/>'
        f'<path class="own" d="{bars[1]}"/></svg><i class="head"></i></div>'
    )


def sound_card(sound: Sound, *, size: Size = "large", label: str = "", mark: str = "") -> str:
    """Title, player, and a picture of the notes; a continuation has its waveform in two colours above it.

    Parameters
    ----------
    label : str, optional
        What the player is called where the title alone would not say it.
    mark : str, optional
        A class of the page's style that sets this card apart.
    """
    name = escape(label or sound.title)
    drawn = picture_html(sound, notes_picture(sound), size=size)
    if sound.takeover_seconds and size != "small":
        drawn = wave_html(sound) + drawn
    words = f' <span class="quiet">{escape(sound.words)}</span>' if sound.words else ""
    kind = " ".join(filter(None, ("sound", size, mark)))
    return (
        f'<figure class="{kind}" data-seconds="{sound.seconds:.2f}" data-name="{name}" data-kind="{sound.kind}">'
        f"<figcaption><b>{escape(sound.title)}</b>{words}</figcaption>"
        f'{audio_html(sound, name)}<div class="pictures">{drawn}</div></figure>'
    )


def audio_html(sound: Sound, name: str) -> str:
    """The browser's own player, with the sound in it; the name is HTML."""
    address = data_uri("audio/mpeg", encode_mp3(sound.waveform, sound.sample_rate))
    return f'<audio controls preload="none" src="{address}" aria-label="Play {name}"></audio>'


def bare_player(sound: Sound) -> str:
    """A player alone, for a table; named by the sound's title."""
    name = escape(sound.title)
    return (
        f'<figure class="sound bare" data-seconds="{sound.seconds:.2f}" data-name="{name}">'
        f'<figcaption class="unseen">{name}</figcaption>{audio_html(sound, name)}</figure>'
    )


def card_grid(cards: list[str], *, size: Size = "large") -> str:
    """Cards side by side, as many as fit."""
    return f'<div class="grid {size}">{"".join(cards)}</div>'


def card_strip(cards: list[str], label: str) -> str:
    """Small cards of equal width in even lines; on a phone one line that is pushed sideways.

    Parameters
    ----------
    label : str
        What the strip holds, for those who cannot see it.
    """
    lines = -(-len(cards) // MOST_IN_LINE)
    return (
        f'<div class="scroll strip" role="region" aria-label="{escape(label)}" '
        f'style="--columns:{-(-len(cards) // max(lines, 1))}">{"".join(cards)}</div>'
    )
