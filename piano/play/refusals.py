"""What a visitor is told in place of an answer: errors with their kinds, and without a path of this computer."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from piano.foundation.errors import AudioError, ConfigError, MusiganError
from piano.foundation.screen_text import printable


class NotHere(AudioError):
    """There is no such thing, or it has gone."""


class Full(ConfigError):
    """There are as many as there may be."""


@contextlib.contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Errors about a file are raised again with the name that the visitor knows it by."""
    try:
        yield
    except MusiganError as error:
        raise type(error)(renamed(str(error), path, name)) from None


def renamed(text: str, path: Path, name: str) -> str:
    """A sentence about a file with another name for it; no folder of this computer stays in it."""
    for known in (str(path.resolve()), printable(path.resolve()), str(path), printable(path), path.name):
        text = text.replace(known, name)
    for folder in (path.resolve().parent, path.parent):
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", "")
    return text
