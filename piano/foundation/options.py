"""What the options of several commands have in common: names, words, numbers that make sense, a folder to write to."""

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from piano.foundation import bounds
from piano.foundation.bounds import Bound
from piano.foundation.errors import ConfigError
from piano.foundation.screen_text import printable

MOST_DIGITS = 60
_WHOLE = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def whole(bound: Bound) -> Callable[[str], int]:
    """For argparse: a whole number within a bound, written with the digits 0 to 9."""

    def read(text: str) -> int:
        is_number = _WHOLE.fullmatch(text) is not None and len(text) <= MOST_DIGITS
        if not is_number or int(text) not in bound:
            raise argparse.ArgumentTypeError(f"{printable(text)[:40]} is not {bound}")
        return int(text)

    return read


def real(bound: Bound) -> Callable[[str], float]:
    """For argparse: a number within a bound, never NaN or infinity, written with the digits 0 to 9."""

    def read(text: str) -> float:
        number = float(text) if _REAL.fullmatch(text) and len(text) <= MOST_DIGITS else math.nan
        if number not in bound:
            raise argparse.ArgumentTypeError(f"{printable(text)[:40]} is not {bound}")
        return number

    return read


def whole_or(bound: Bound, *words: str) -> Callable[[str], str]:
    """For argparse: one of some words as it is, or a whole number within a bound, as its digits."""

    def read(text: str) -> str:
        try:
            return text if text in words else str(whole(bound)(text))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, nor {' or '.join(words)}") from None

    return read


def seconds_or_endless(text: str) -> float:
    """For argparse: seconds of sound, or inf."""
    return math.inf if text in ("inf", "infinity") else seconds(text)


positive_int = whole(bounds.POSITIVE)
natural_int = whole(bounds.NATURAL)
count = whole(bounds.COUNT)
seconds = real(bounds.SOUND_SECONDS)
moment = real(bounds.SECONDS)
minutes = real(bounds.MINUTES)
tempo = real(bounds.TEMPO)
bars = whole(bounds.BARS)
surprise = real(bounds.SURPRISE)
best_of = whole(bounds.BEST_OF)
share = real(bounds.SHARE)
seed = whole(bounds.SEED)
any_seed = whole(bounds.ANY_SEED)
threads = whole(bounds.THREADS)
processes = whole(bounds.PROCESSES)
sample_rate = whole(bounds.SAMPLE_RATE)
phase_iterations = whole(bounds.PHASE_ITERATIONS)
steps = whole_or(bounds.SAMPLING_STEPS, "auto")
epoch = whole_or(bounds.EPOCH, "best", "latest")
epoch_number = whole(bounds.EPOCH)

SHARED: dict[str, dict[str, Any]] = {
    "--config": {"type": Path, "help": "settings file (default: config.yaml here or beside the package)"},
    "--preset": {"help": "tiny, small, base or large (default: the config's)"},
    "--checkpoints": {"type": Path, "help": "folder (default: the config's checkpoint_folder)"},
    "--epoch": {
        "type": epoch,
        "default": "best",
        "help": "a number, latest, or best: what was judged best (default: best)",
    },
    "--count": {"type": count, "default": 48, "help": "samples, and real clips (default: %(default)s)"},
    "--seconds": {"type": seconds, "default": 10.0, "help": "length of each clip (default: %(default)g)"},
    "--steps": {
        "type": steps,
        "default": "auto",
        "help": "sampling steps: a number, or auto, what scored best (default: auto)",
    },
    "--phase-iterations": {
        "type": phase_iterations,
        "default": 16,
        "help": "of Griffin-Lim: 0 is fastest; 2 (mono), 4 (stereo) nearly as good as 16 (default: %(default)s)",
    },
    "--seed": {"type": natural_int, "default": 0, "help": "of samples, noise and intervals (default: %(default)s)"},
    "--device": {"choices": ("auto", "cpu", "cuda", "mps"), "default": "auto", "help": "(default: auto)"},
    "--threads": {"type": threads, "help": "CPU threads (default: what is fastest now)"},
    "--overwrite": {"action": "store_true", "help": "replace results about something else (default: refuse)"},
}
"""Options that several commands have, in the words of argparse; what a command means otherwise it says itself."""


def add_shared(parser: argparse.ArgumentParser, *names: str, **other: Any) -> None:
    """Add options of SHARED to a command, with other words, default or kind where these are given."""
    for name in names:
        parser.add_argument(name, **{**SHARED[name], **other})


def make_output_folder(folder: Path) -> None:
    """The folder to write to, made or found before any work is done; raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(f"cannot make {printable(folder)}: {reason}. Name another --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written in {printable(folder)}. Name another --output.")
