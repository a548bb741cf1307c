"""A model as a file for Neutone Gen, a plugin that makes sound by the piece."""

import argparse
import json
import logging
import shutil
import tempfile
from pathlib import Path

from piano.exporting.exported_file import asked_for, write_file
from piano.exporting.written_wishes import MOST_SECONDS
from piano.foundation.errors import ConfigError

MISSING = (
    "--to neutone needs the Neutone SDK, which wants a NumPy below 2.3, so best in an environment of its own: "
    'pip install -e ".[neutone]"'
)


def export(options: argparse.Namespace) -> None:
    """Write the file that the command line asks for; the SDK's own checks have passed when it is there.

    Raises
    ------
    ConfigError
        The SDK is not installed, or something else has the file's name.
    CheckpointError
        There is no such model, or it does not compose yet.
    """
    try:
        from piano.exporting.neutone_model import save
    except ModuleNotFoundError as error:
        if error.name != "neutone_sdk":
            raise
        raise ConfigError(MISSING) from None
    given = asked_for(options, suffix=".nm")
    with tempfile.TemporaryDirectory() as folder:
        logging.disable(logging.WARNING)  # the SDK tells every step
        try:
            made = save(given.network, given.name, json.dumps(given.about), Path(folder))
        finally:
            logging.disable(logging.NOTSET)
        write_file(given, lambda path: shutil.copyfile(made, path))
    print(
        f"For Neutone Gen: knobs seed, style, surprise, variation; a text says how long (up to {MOST_SECONDS} seconds),"
    )
    print("how fast, in which key and in which metre.")
    print("docs/in-your-daw.md says what they do.")
