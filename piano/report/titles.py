"""What a sound is called on the page: a title for people, made from the name of its file or from its receipt."""

import re
from collections.abc import Sequence
from pathlib import Path

from piano.foundation.errors import AudioError
from piano.foundation.receipt import Receipt, read_receipt
from piano.foundation.screen_text import counted, printable

LONGEST = 70
"""Letters of a title; more would fill the page with one file's name."""
FILE_NUMBER = re.compile(r"(\b(?:no?|nr) \d+) \d+$", re.IGNORECASE)
"""A number after that of the piece, as in `gymnopedie no 1 37`: of the file, not of the music."""
UNTOLD = {"prompt", "fragment", "input", "audio", "recording"}
"""Names that say nothing of the music in the file."""


def receipt_of(path: Path) -> Receipt | None:
    """How a sound was made, if the file says so."""
    try:
        return read_receipt(path)
    except AudioError:
        return None


def song_title(name: str) -> str:
    """`satie/gymnopedie-no-1-take0.mp3` as `Gymnopedie no 1`: no folder, no ending, words apart, a capital first."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", printable(name).replace("\\", "/").rpartition("/")[2])
    words = re.sub(r"[\s_\-]+", " ", stem).strip()
    words = re.sub(r" take ?\d+$", "", words) or printable(name)
    words = FILE_NUMBER.sub(r"\1", words)
    words = words if len(words) <= LONGEST else f"{words[:LONGEST].rstrip()}\u2026"
    return words[:1].upper() + words[1:]


def made_title(path: Path, receipt: Receipt | None, number: int) -> str:
    """Title of the `number`-th piece (from 1) that was made from noise."""
    if receipt is not None:
        if receipt.kind == "loop":
            bars = counted(receipt.bars or 1, "bar")
            bars += "" if receipt.meter in (None, "4/4") else f" of {receipt.meter}"
            return f"Loop {number}, {bars} at {receipt.tempo:g} a minute, seed {receipt.seed}"
        asked = [f"{receipt.tempo:g} a minute"] if receipt.tempo else []
        asked += [receipt.key] if receipt.key else []
        asked += [receipt.meter] if receipt.meter else []
        return ", ".join([f"Sample {number}, seed {receipt.seed}", *asked])
    if found := re.fullmatch(r"(sample|seed)_(\d+)", path.stem):
        kind, digits = found.groups()
        return f"Sample {int(digits) + 1}" if kind == "sample" else f"Seed {int(digits)}"
    return song_title(path.name)


def continued_title(path: Path, receipt: Receipt | None, number: int) -> str:
    """Title of the `number`-th fragment that was played on."""
    if path.stem.startswith("continuation_"):
        return f"Continuation of {song_title(path.stem.removeprefix('continuation_'))}"
    source = receipt.source.name if receipt is not None and receipt.source is not None else ""
    title = song_title(source) if source else ""
    if title and title.lower() not in UNTOLD:
        return f"Continuation of {title}"
    return f"Continuation {number}"


def copied_title(path: Path, receipt: Receipt | None) -> str:
    """Title of music that went through the autoencoder."""
    source = receipt.source.name if receipt is not None and receipt.source is not None else path.stem
    kind = "reconstruction" if receipt is None else receipt.kind
    what = {"variation": "Variation", "infill": "Completion"}.get(kind, "Copy")
    return f"{what} of {song_title(source.removesuffix('.reconstruction'))}"


def told_apart(titles: Sequence[str]) -> list[str]:
    """The titles, those that were met before with a number: no two players may be called the same."""
    seen: dict[str, int] = {}
    found = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        found.append(title if seen[title] == 1 else f"{title} ({seen[title]})")
    return found
