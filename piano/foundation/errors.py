"""The errors a user can meet, and the one place that turns them into a sentence on the screen."""

import errno
import os
import sys
from collections.abc import Callable

from piano.foundation.screen_text import for_screen, printable
from piano.foundation.standard_streams import open_standard_streams, outliving_readers

PREFIX = "Error: "
"""Stands before every sentence about something that the user can mend, whatever kind of error it is."""
EXIT_RUINED = 1
"""Of a training that finished, but learned too little or nothing worth hearing: scripts must not go on with it."""
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_SIGNAL = 128
"""Plus the number of the signal, as shells have it."""
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "the disk cannot be written",
    errno.EFBIG: "the file grew larger than this account may write",
    errno.EIO: "the disk reports a fault",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
}


class MusiganError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""


class ConfigError(MusiganError):
    """A setting is missing, misspelt or impossible."""


class AudioError(MusiganError):
    """An audio file cannot be read or written."""


class PassingError(AudioError):
    """A file could not be read because the disk or the network failed, not the file: another try may succeed."""


class DatasetError(MusiganError):
    """A prepared folder or a data set is missing, too small or contradicts the settings."""


class CheckpointError(MusiganError):
    """A checkpoint is missing, damaged or made for another model."""


class TrainingError(MusiganError):
    """Training cannot go on: a loss is not finite, or a gate was refused."""


class ToldElsewhere(MusiganError):
    """An error that another process of the same run says."""


class StoppedBySignal(Exception):
    """A command that was asked to stop has put everything away: the message says how to go on."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def run_command(body: Callable[[], None], *, is_work: bool = False) -> int:
    """Run a command's body; a MusiganError becomes one line on stderr, with everything unprintable in it spelled out.

    Parameters
    ----------
    body : callable
    is_work : bool
        Whether the command makes something: then it says so on stderr when nobody reads its output any more. Either
        way it goes on to its end.

    Returns
    -------
    int
        0 on success, 2 after a MusiganError or when the disk refuses, 130 after Ctrl-C, 128 + n after signal n.
    """
    open_standard_streams()
    with outliving_readers(is_work=is_work) as refused:
        status = _run(body)
    if refused and not status:
        print(f"The output could not be written: {DISK_ERRORS[errno.ENOSPC]}. All else is done.", file=sys.stderr)
        return EXIT_USER_ERROR
    return status


def require_current_folder() -> None:
    """Raise a MusiganError where the folder that the process is in was removed: PyTorch would end the process there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise MusiganError("the current folder was removed. Change to one that exists: `cd ~`.") from None


def _run(body: Callable[[], None]) -> int:
    try:
        require_current_folder()
        body()
    except ToldElsewhere:
        return EXIT_USER_ERROR
    except MusiganError as error:
        _say(f"{PREFIX}{_spelled_out(error)}")
        return EXIT_USER_ERROR
    except StoppedBySignal as stopped:
        _say(str(stopped))
        return EXIT_SIGNAL + stopped.signal
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        place = f" ({printable(error.filename)})" if error.filename else ""
        _say(f"{PREFIX}{DISK_ERRORS[error.errno]}{place}. What was written whole before is untouched.")
        return EXIT_USER_ERROR
    return 0


def _say(text: str) -> None:
    print(for_screen(text, sys.stderr), file=sys.stderr)


def _spelled_out(error: Exception) -> str:
    """The message line by line, so that no name out of a stranger's file can steer the terminal."""
    return "\n".join(printable(line) for line in str(error).split("\n"))
