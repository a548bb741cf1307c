"""What the options of several commands have in common: numbers that make sense, and a folder to write to."""

import argparse
import os
from pathlib import Path

from piano.foundation.errors import ConfigError
from piano.foundation.screen_text import printable


def positive_int(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return int(text)


def natural_int(text: str) -> int:
    """A whole number from 0 up that fits 63 bits, for argparse."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 up to {2**63 - 1}")
    return int(text)


def make_output_folder(folder: Path) -> None:
    """The folder to write to, made or found before any work is done; raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(f"cannot make {printable(folder)}: {reason}. Name another --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written in {printable(folder)}. Name another --output.")
