"""One page to hear and see a run: players, pictures, gates and curves in a single HTML file that works offline."""

import argparse
import base64
import io
import math
import string
import tempfile
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from piano.evaluation.curves import curve_svg, stage_curves
from piano.evaluation.hearing import constant_q, constant_q_frequencies, stft_power
from piano.evaluation.listen_sounds import Kind, Sound, collect_made_music, collect_real_music
from piano.foundation.audio_io import write_audio
from piano.foundation.errors import run_command
from piano.foundation.run_log import read_history

TEMPLATE = Path(__file__).with_suffix(".html")
EXAMPLE = """example:
  python -m piano.evaluation.listen_page --music music_out --checkpoints checkpoints --output listen.html"""
GROUPS: dict[Kind, tuple[str, str]] = {
    "noise": ("From white noise", "Nothing was given but a seed."),
    "continuation": ("Continuations", "The dashed line in the pictures is where MusiGAN takes over."),
    "reconstruction": ("Reconstructions", "What the autoencoder keeps of real music."),
    "real": ("Real music", "To compare with."),
}
"""Headline and words of each kind of sound, in the order of the page."""
GATE_WORDS = {
    "G1": "Copies of unseen music keep its spectrum (R: small is good) and its pitches (P: 1 is all of them).",
    "G2": "What is composed in sixteen steps is nearer to real music than decoded noise is (distances: small is good).",
    "G3": "The judges put real music above composed music more often than not (accuracy: 0.5 is guessing).",
    "G4": "Learning with the ear has not spoiled the copies.",
    "G5": "One step composes as well as many, and as variedly (diversity: 1 is that of real music).",
}
"""What a gate asks, by the first word of its name."""
PICTURE_ROWS, PICTURE_COLUMNS, COLOURS = 260, 900, 64
RANGE_DB = 55.0
SPECTROGRAM_FFT, SPECTROGRAM_HOP = 1024, 256


class Mark(NamedTuple):
    """A word on the vertical axis of a picture."""

    height: float
    """Share of the picture's height, from the bottom."""
    text: str


def spectrogram_picture(sound: Sound) -> tuple[NDArray[np.float32], list[Mark]]:
    """Levels in dB (bins, frames), low tones first, and marks in kHz."""
    mono = sound.waveform.mean(axis=0)
    power = stft_power(mono, SPECTROGRAM_FFT, SPECTROGRAM_HOP)
    half_khz = sound.sample_rate / 2000
    tick = 2 if half_khz <= 12 else 5
    marks = [Mark(khz / half_khz, f"{khz} kHz") for khz in range(tick, math.ceil(half_khz), tick)]
    return 10 * np.log10(power.T + 1e-12), marks


def constant_q_picture(sound: Sound) -> tuple[NDArray[np.float32], list[Mark]]:
    """Levels in dB (pitches, frames), low tones first, and marks at every C."""
    bins = 24
    levels = 20 * np.log10(constant_q(sound.waveform, sound.sample_rate, bins_per_octave=bins) + 1e-6)
    pitches = len(constant_q_frequencies(sound.sample_rate, bins_per_octave=bins))
    first_c = 3 * bins // 12  # the lowest row is an A
    marks = [
        Mark((row + 0.5) / pitches, f"C{octave}")
        for octave, row in enumerate(range(first_c, pitches, bins), start=2)
    ]
    return levels, marks


def encode_png(levels: NDArray[np.float32]) -> bytes:
    """A picture of levels in dB (rows, frames), 55 dB deep, its first row at the bottom.

    It has few colours and no more points than a screen shows: a page holds a dozen of them.
    """
    pooled = pool(pool(levels, PICTURE_ROWS).T, PICTURE_COLUMNS).T
    top = max(float(np.percentile(pooled, 99.8)), -60.0)
    shades = np.clip((pooled - top) / RANGE_DB + 1.0, 0.0, 1.0) * (COLOURS - 1)
    image = Image.fromarray(np.ascontiguousarray(shades[::-1]).round().astype(np.uint8))
    palette = colormaps["magma"](np.linspace(0.0, 1.0, COLOURS))[:, :3] * 255
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pool(levels: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Join neighbouring rows until there are at most `most`; the loudest counts, so that onsets stay visible."""
    step = math.ceil(len(levels) / most)
    return levels[: len(levels) // step * step].reshape(-1, step, levels.shape[1]).max(axis=1)


def encode_mp3(sound: Sound) -> bytes:
    """The sound as an MP3 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.mp3"
        write_audio(path, sound.waveform, sound.sample_rate)
        return path.read_bytes()


def data_uri(kind: str, content: bytes) -> str:
    """Content as an address that carries it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def picture_html(sound: Sound, name: str, picture: tuple[NDArray[np.float32], list[Mark]]) -> str:
    """One picture with its marks and the playhead."""
    levels, marks = picture
    words = "".join(f'<span style="bottom:{100 * mark.height:.1f}%">{mark.text}</span>' for mark in marks)
    if sound.takeover_seconds is not None and sound.takeover_seconds < sound.seconds:
        words += f'<i class="takeover" style="left:{100 * sound.takeover_seconds / sound.seconds:.1f}%"></i>'
    address = data_uri("image/png", encode_png(levels))
    alternative = escape(f"{name} of {sound.title}, {sound.seconds:.0f} seconds")
    return f'<div class="picture"><img src="{address}" alt="{alternative}">{words}<i class="head"></i></div>'


def sound_html(sound: Sound) -> str:
    """A card: title, player, two pictures."""
    pictures = picture_html(sound, "Spectrogram", spectrogram_picture(sound)) + picture_html(
        sound, "Notes (constant-Q spectrogram)", constant_q_picture(sound)
    )
    return (
        f'<article class="card"><h3>{escape(sound.title)}</h3><p class="quiet">{escape(sound.words)}</p>'
        f'<audio controls preload="metadata" src="{data_uri("audio/mpeg", encode_mp3(sound))}" '
        f'aria-label="Play {escape(sound.title)}"></audio>{pictures}</article>'
    )


def section(title: str, words: str, content: str) -> str:
    """A part of the page."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{content}</section>"


def sounds_section(title: str, words: str, sounds: list[Sound]) -> str:
    """Sounds side by side."""
    return section(title, words, f'<div class="grid">{"".join(sound_html(sound) for sound in sounds)}</div>')


def gate_row(entry: dict[str, Any]) -> str:
    """One gate: verdict, figures, and what to do where it did not pass."""
    described = {"event", "stage", "epoch", "total_step", "seconds", "name", "passed", "advice"}
    figures = ", ".join(
        f"{escape(name)} {value:.3g}" if isinstance(value, float) else f"{escape(name)} {escape(str(value))}"
        for name, value in entry.items()
        if name not in described
    )
    is_passed = bool(entry.get("passed"))
    verdict = '<td class="passed">passed</td>' if is_passed else '<td class="failed">not passed</td>'
    advice = str(entry.get("advice", "")) if not is_passed else ""
    note = f"<br><small>{escape(advice)}</small>" if advice else ""
    name = str(entry.get("name", entry.get("stage", "")))
    asked = escape(GATE_WORDS.get(name.split(" ")[0], ""))
    return f"<tr><td><b>{escape(name)}</b></td>{verdict}<td>{asked}<br>{figures}{note}</td></tr>"


def gates_section(history: list[dict[str, Any]]) -> str:
    """What each stage was measured to have reached; empty if nothing was measured."""
    rows = "".join(gate_row(entry) for entry in history if entry.get("event") == "gate")
    if not rows:
        return ""
    words = (
        "After every stage the run measures itself on music that it never learned from. "
        "A gate that is not passed stops nothing: it says what to do about it next time."
    )
    head = "<thead><tr><th>gate</th><th>verdict</th><th>figures</th></tr></thead>"
    return section("Gates", words, f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>')


def curves_section(history: list[dict[str, Any]]) -> str:
    """The curves of every stage, folded away except the first; empty if there are none."""
    parts = []
    for stage, curves in stage_curves(history).items():
        charts = "".join(curve_svg(curve) for curve in curves if np.isfinite(curve.values).all())
        steps = max(len(curve.values) for curve in curves) if curves else 0
        opened = "" if parts else " open"
        parts.append(
            f'<details{opened}><summary>{escape(stage)} <span class="quiet">({steps} steps)</span></summary>'
            f'<div class="curves">{charts}</div></details>'
        )
    words = "One chart for each number that training watched, smoothed, with time to the right. Open a stage."
    return section("Curves", words, "".join(parts)) if parts else ""


def summarise(history: list[dict[str, Any]], sounds: int) -> str:
    """One or two sentences for the top of the page."""
    if not history:
        return f"{sounds} sounds. There is no record of the training in that folder."
    last = history[-1]
    stages = list(stage_curves(history))
    return (
        f"{sounds} sounds from a model that learned for {last.get('seconds', 0.0) / 60:.1f} minutes: "
        f"{last.get('total_step', 0)} steps in {len(stages)} stages ({', '.join(stages)})."
    )


def build_page(
    music: Path,
    checkpoints: Path,
    *,
    real: Path | None = None,
    max_seconds: float = 60.0,
    title: str = "MusiGAN",
) -> str:
    """The whole page.

    Parameters
    ----------
    music : Path
        Folder of sounds that generate_music wrote.
    checkpoints : Path
        Folder of the run, for its metrics.jsonl; it may lack one.
    real : Path, optional
        Folder of real music to compare with.
    max_seconds : float
        A longer sound is shown in part.
    title : str

    Returns
    -------
    str
        HTML without any address that leads outside.

    Raises
    ------
    AudioError
        No sound is there, or one cannot be read.
    """
    history = read_history(checkpoints)
    made = collect_made_music(music, max_seconds=max_seconds)
    sounds = list(made)
    if real is not None:
        rate, channels = made[0].sample_rate, len(made[0].waveform)
        sounds += collect_real_music(real, count=2, sample_rate=rate, channels=channels)
    sections = [
        sounds_section(headline, words, members)
        for kind, (headline, words) in GROUPS.items()
        if (members := [sound for sound in sounds if sound.kind == kind])
    ]
    sections += [gates_section(history), curves_section(history)]
    page = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(title),
        summary=escape(summarise(history, len(made))),
        sections="\n".join(filter(None, sections)),
    )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--music",
        type=Path,
        default=Path("music_out"),
        help="folder of generated sounds (default: %(default)s)",
    )
    add(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        help="folder of the run (default: %(default)s)",
    )
    add("--real", type=Path, help="folder of real music to compare with (default: none)")
    add("--output", type=Path, default=Path("listen.html"), help="the page to write (default: %(default)s)")
    add(
        "--max-seconds",
        type=float,
        default=60.0,
        help="show no more of a sound than this (default: %(default)s)",
    )
    add("--title", default="MusiGAN", help="headline of the page (default: %(default)s)")
    options = parser.parse_args(argv)
    if not options.max_seconds > 0:
        parser.error("--max-seconds must be positive")
    return options


def write_page(options: argparse.Namespace) -> None:
    """Build the page and write it under a temporary name first."""
    page = build_page(
        options.music,
        options.checkpoints,
        real=options.real,
        max_seconds=options.max_seconds,
        title=options.title,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    part = options.output.with_name(f".{options.output.name}.part")
    part.write_text(page, encoding="utf-8")
    part.replace(options.output)
    print(f"{options.output}  ({options.output.stat().st_size / 1e6:.1f} MB, opens in any browser)")


def main(argv: list[str] | None = None) -> int:
    """Write the page; see `--help`."""
    options = parse_arguments(argv)
    return run_command(lambda: write_page(options))


if __name__ == "__main__":
    raise SystemExit(main())
