"""A sound on a page: its player, and pictures that show where in the sound one is."""

import io
import math
from html import escape
from typing import Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from piano.evaluation.hearing import constant_q, constant_q_frequencies, stft_power
from piano.evaluation.report_html import data_uri
from piano.evaluation.report_sounds import Sound
from piano.foundation.audio_io import encode_mp3

Size = Literal["large", "small"]
ROWS, COLUMNS, COLOURS = {"large": 200, "small": 72}, {"large": 640, "small": 240}, {"large": 48, "small": 24}
RANGE_DB = 55.0
SPECTROGRAM_FFT, SPECTROGRAM_HOP = 1024, 256
PITCH_HOP_SECONDS = 0.032


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


def spectrogram_picture(sound: Sound) -> Picture:
    """Levels of all frequencies, with marks in kHz."""
    mono = sound.waveform.mean(axis=0)
    power = stft_power(mono, SPECTROGRAM_FFT, SPECTROGRAM_HOP)
    half_khz = sound.sample_rate / 2000
    tick = 2 if half_khz <= 12 else 5
    marks = [Mark(khz / half_khz, f"{khz} kHz") for khz in range(tick, math.ceil(half_khz), tick)]
    return Picture("Spectrogram", 10 * np.log10(power.T + 1e-12), marks)


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
    return Picture("Notes (constant-Q spectrogram)", 20 * np.log10(magnitudes + 1e-6), marks)


def encode_png(levels: NDArray[np.float32], *, size: Size = "large") -> bytes:
    """A picture of levels in dB (rows, frames), 55 dB deep, its first row at the bottom.

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
    if size == "large":
        words = "".join(
            f'<span aria-hidden="true" style="bottom:{100 * mark.height:.1f}%">{mark.text}</span>'
            for mark in picture.marks
        )
    if sound.takeover_seconds is not None and sound.takeover_seconds < sound.seconds:
        words += f'<i class="takeover" style="left:{100 * sound.takeover_seconds / sound.seconds:.1f}%"></i>'
    address = data_uri("image/png", encode_png(picture.levels, size=size))
    alternative = escape(f"{picture.name} of {sound.title}, {sound.seconds:.0f} seconds")
    return f'<div class="picture"><img src="{address}" alt="{alternative}">{words}<i class="head"></i></div>'


def sound_card(sound: Sound, *, size: Size = "large", label: str = "") -> str:
    """Title, player, and pictures: notes, and in a large card the spectrogram too.

    Parameters
    ----------
    label : str, optional
        What the player is called where the title alone would not say it.
    """
    name = escape(label or sound.title)
    pictures = [notes_picture(sound)] + ([spectrogram_picture(sound)] if size == "large" else [])
    drawn = "".join(picture_html(sound, picture, size=size) for picture in pictures)
    return (
        f'<figure class="sound {size}" data-seconds="{sound.seconds:.2f}" data-name="{name}">'
        f'<figcaption><b>{escape(sound.title)}</b> <span class="quiet">{escape(sound.words)}</span></figcaption>'
        f'<audio controls preload="none" src="{data_uri("audio/mpeg", encode_mp3(sound.waveform, sound.sample_rate))}" '
        f'aria-label="Play {name}"></audio><div class="pictures">{drawn}</div></figure>'
    )


def bare_player(sound: Sound) -> str:
    """A player alone, for a table; named by the sound's title."""
    name = escape(sound.title)
    return (
        f'<figure class="sound bare" data-seconds="{sound.seconds:.2f}" data-name="{name}">'
        f'<figcaption class="unseen">{name}</figcaption>'
        f'<audio controls preload="none" src="{data_uri("audio/mpeg", encode_mp3(sound.waveform, sound.sample_rate))}" '
        f'aria-label="Play {name}"></audio></figure>'
    )


def card_grid(cards: list[str], *, size: Size = "large") -> str:
    """Cards side by side, as many as fit."""
    return f'<div class="grid {size}">{"".join(cards)}</div>'
