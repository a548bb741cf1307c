"""The errors a user can meet, and the one place that turns them into a sentence on the screen."""

import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class MusiganError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""


class ConfigError(MusiganError):
    """A setting is missing, misspelt or impossible."""


class AudioError(MusiganError):
    """An audio file cannot be read or written."""


class DatasetError(MusiganError):
    """A prepared folder or a data set is missing, too small or contradicts the settings."""


class CheckpointError(MusiganError):
    """A checkpoint is missing, damaged or made for another model."""


class TrainingError(MusiganError):
    """Training cannot go on: a loss is not finite, or a gate was refused."""


def run_command(body: Callable[[], None]) -> int:
    """Run a command's body; a MusiganError becomes one line on stderr.

    Returns
    -------
    int
        0 on success, 2 after a MusiganError, 130 after Ctrl-C.
    """
    try:
        body()
    except MusiganError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
