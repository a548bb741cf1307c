"""The licence of a model that is given away: what its owner chose, or a sentence that nobody may use it yet."""

from pathlib import Path
from typing import NamedTuple

from piano.foundation.errors import ConfigError
from piano.foundation.screen_text import printable

LICENCE_NAME = "LICENSE"
"""As hosts of models look for it."""
SPDX = (
    "MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "CC-BY-3.0", "CC-BY-SA-3.0", "GPL-3.0", "LGPL-3.0",
    "AGPL-3.0", "MPL-2.0", "Unlicense", "WTFPL",
)  # fmt: skip
"""Names that hosts of models know; in lower case they are those of the card's header."""
NONE_CHOSEN = (
    "No licence was chosen for this model. Until its owner chooses one, nobody else may use, change or pass on the "
    "files in this folder.\n"
)
SEE_FILE = f"See [{LICENCE_NAME}]({LICENCE_NAME})."
_MOST_BYTES = 1 << 20


class Licence(NamedTuple):
    """What one may do with a model."""

    text: str
    """Of the file."""
    identifier: str = "other"
    """In the header of the card."""
    name: str = ""
    """In the header where the identifier is `other`."""
    words: str = ""
    """For a sentence in the card."""


def read_licence(given: str | None) -> Licence:
    """A licence as it was named on the command line.

    Parameters
    ----------
    given : str, optional
        A file that holds it, the SPDX name of a known one, or words of one's own; None: none was chosen.

    Raises
    ------
    ConfigError
        The file cannot be read, is empty or no text.
    """
    if given is None:
        return Licence(NONE_CHOSEN, name="none-chosen", words=NONE_CHOSEN.strip())
    known = {name.lower(): name for name in SPDX}
    word = given.strip()
    if name := known.get(word.lower()):
        text = f"The weights and samples in this folder are under {name}: https://spdx.org/licenses/{name}.html\n"
        return Licence(text, identifier=name.lower(), words=f"Weights and samples are under {name}.")
    text = read_words(given, "--licence")
    words = SEE_FILE if is_file(Path(given)) else printable(word)
    return Licence(text, name="see-licence", words=words)


def kept_licence(path: Path) -> Licence | None:
    """The licence in a file that an export wrote; None if none was chosen.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    text = read_text(path, "--licence")
    if text == NONE_CHOSEN:
        return None
    known = (read_licence(name) for name in SPDX)
    return next((one for one in known if one.text == text), Licence(text, name="see-licence", words=SEE_FILE))


def read_words(given: str, option: str) -> str:
    """What an option says: the text of the file of that name, else the words themselves, with a line's end.

    Raises
    ------
    ConfigError
        The file is not there, cannot be read, is empty or no text; or there are no words.
    """
    path, words = Path(given), given.strip()
    if is_file(path):
        return read_text(path, option)
    if " " not in words and ("/" in words or path.suffix.lower() in (".md", ".txt")):
        raise ConfigError(f"there is no file {printable(given)[:200]}. Name another with {option}, or say it in words.")
    if not words:
        raise ConfigError(f"{option} is empty: name a file, or say it in words.")
    return f"{words}\n"


def is_file(path: Path) -> bool:
    """Whether there is a file of this name; a sentence is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path, option: str) -> str:
    """The text of a file; raises ConfigError."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(_MOST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {printable(path)}: {error.strerror}. Name another with {option}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{printable(path)} is no text in UTF-8. Name another with {option}.") from None
    if not text.strip() or len(text) > _MOST_BYTES:
        wrong = "too long" if text.strip() else "empty"
        raise ConfigError(f"{printable(path)} is {wrong}. Name another file with {option}.")
    return text if text.endswith("\n") else f"{text}\n"
