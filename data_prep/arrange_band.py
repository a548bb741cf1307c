"""Make music for bands by rule, in many styles, and play it into audio files: nobody's recordings are needed.

Rock, dance, jazz, latin, ambient, chiptune and more: each piece has its own key, tempo, instruments, chords, tunes and
form. Beside every file a .json says its beats, bars, chords, key and players. The same seed gives the same sound.
"""

import argparse
import filecmp
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.band_mix import mix_band
from data_prep.band_piece import arrange
from data_prep.band_styles import STYLES
from data_prep.rendered_files import add_file_options, render_all, tell, write_sound
from data_prep.soundfont import Instruments, find_band_soundfont
from data_prep.worker_pool import Tick
from piano.foundation import options as kinds
from piano.foundation.doors import fill, program
from piano.foundation.errors import AudioError, run_command
from piano.foundation.made_files import clear_leftovers, put_in_place, refuse_other_work, unfinished
from piano.foundation.options import make_output_folder
from piano.foundation.screen_text import CommandParser, printable

EXAMPLE = "example:\n  {musigan arrange-band} --output music --count 24 --styles rock,house,bossa-nova"
ARRANGER = 1
"""Counts up when the same seed means other music."""


class BandJob(NamedTuple):
    """One piece, as handed to a worker process."""

    style: str
    number: int
    target: Path
    soundfont: Path
    sample_rate: int
    seed: int
    seconds: float
    overwrite: bool = False

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything that the sound depends on."""
        return {
            "arranger": ARRANGER,
            "style": self.style,
            "number": self.number,
            "seed": self.seed,
            "seconds": self.seconds,
            "sample_rate": self.sample_rate,
            "soundfont": self.soundfont.name,
            "soundfont_bytes": self.soundfont.stat().st_size,
        }


def spelled(style: str) -> str:
    """A style as one writes it in a command or the name of a file: `bossa-nova`."""
    return style.replace(" ", "-")


def read_styles(text: str) -> list[str]:
    """For argparse: names of styles with commas between."""
    names = {spelled(name): name for name in STYLES}
    styles = []
    for word in text.split(","):
        if spelled(word.strip()) not in names:
            raise argparse.ArgumentTypeError(
                f"{printable(word)[:40]!r} is no style; there are {', '.join(sorted(names))}"
            )
        styles.append(names[spelled(word.strip())])
    return styles


@lru_cache(maxsize=1)
def load(soundfont: Path, sample_rate: int) -> Instruments:
    """The soundfont of this process: loading takes seconds, and a worker makes many pieces."""
    return Instruments(soundfont, sample_rate)


def render(job: BandJob, tick: Tick) -> float:
    """Arrange one piece, sound it and write both files; returns its seconds. Runs in a worker process.

    A piece whose files are there, made by the same recipe, is left as it is.
    """
    told = job.target.with_suffix(".json")
    recipe = job.recipe
    if not job.overwrite and job.target.is_file() and (seconds := made_before(told, recipe)) is not None:
        return seconds
    key = f"band/{job.style}/{job.number}/{job.seed}".encode()
    arranging, room = (
        int.from_bytes(part, "big") for part in (hashlib.sha256(key).digest()[:8], hashlib.sha256(key).digest()[8:16])
    )
    piece = arrange(job.style, arranging, seconds=job.seconds)
    tick(0.0)
    waveform = mix_band(piece, load(job.soundfont, job.sample_rate), np.random.default_rng(room))
    tick(0.0)
    seconds = waveform.shape[1] / job.sample_rate
    write_sound(
        waveform,
        job.target,
        sample_rate=job.sample_rate,
        metadata={"title": f"{job.style}, {piece.key}, {piece.tempo:.0f} bpm", "artist": "MusiGAN band"},
        overwrite=job.overwrite,
    )
    with unfinished(told) as temporary:
        content = {"file": job.target.name, "seconds": seconds, "recipe": recipe, **piece.truth()}
        temporary.write_text(json.dumps(content) + "\n", encoding="ascii")
        refuse_other_work(
            told,
            is_own=lambda path: filecmp.cmp(path, temporary, shallow=False),
            overwrite=job.overwrite,
            error=AudioError,
        )
        put_in_place(temporary, told)
    return seconds


def made_before(told: Path, recipe: dict[str, Any]) -> float | None:
    """Seconds of a piece that was made by this recipe; None if there is none."""
    try:
        content = json.loads(told.read_text(encoding="ascii"))
        return float(content["seconds"]) if content["recipe"] == recipe else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def plan_jobs(arguments: argparse.Namespace) -> list[BandJob]:
    """One job for each piece; styles take turns.

    Raises
    ------
    AudioError
        There is no soundfont, or it lacks drums or instruments.
    """
    soundfont = arguments.soundfont or find_band_soundfont()
    if not soundfont.is_file():
        raise AudioError(f"there is no soundfont {printable(soundfont)}.")
    rows = [STYLES[style] for style in arguments.styles]
    # Says now, once, what would fail in every worker.
    Instruments(soundfont, arguments.sample_rate).require_band(
        (number for row in rows for part in row.parts for number in part.programs),
        drums=any(row.groove for row in rows),
    )
    jobs = []
    for number in range(arguments.count):
        style = arguments.styles[number % len(arguments.styles)]
        name = f"{spelled(style)}-{arguments.seed}-{number:04d}.{arguments.format}"
        jobs.append(
            BandJob(
                style=style,
                number=number,
                target=arguments.output / name,
                soundfont=soundfont,
                sample_rate=arguments.sample_rate,
                seed=arguments.seed,
                seconds=arguments.seconds,
                overwrite=arguments.overwrite,
            )
        )
    return jobs


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("arrange-band"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    kinds.add_shared(parser, "--count", default=len(STYLES), help="pieces (default: one of each style, %(default)s)")
    kinds.add_shared(parser, "--seconds", default=120.0, help="about the length of a piece (default: %(default)g)")
    add(
        "--styles",
        type=read_styles,
        default=list(STYLES),
        metavar="NAMES",
        help=f"with commas between, of: {', '.join(spelled(name) for name in sorted(STYLES))} (default: all of them, "
        "by turns)",
    )
    add("--output", type=Path, default=Path("music"), help="folder for the files (default: %(default)s)")
    add(
        "--soundfont",
        type=Path,
        help="a .sf2 or .sf3 file with all of General MIDI (default: one that the system has installed)",
    )
    add_file_options(parser)
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Make what the arguments ask for and say what was made."""
    jobs = plan_jobs(arguments)
    make_output_folder(arguments.output)
    clear_leftovers(arguments.output)
    tell(
        render_all(render, jobs, [job.target.name for job in jobs], workers=arguments.workers),
        "piece",
        arguments.output,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
