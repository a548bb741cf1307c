"""What a folder holds already, and refusing to write over what is not ours, or of another kind."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from piano.foundation.dataset_format import (
    DATASET_VERSION,
    FORMAT_VERSION,
    MANIFEST_NAME,
    SPLITS,
    manifest_path,
    read_json_object,
    set_path,
)
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import LOCK_NAME
from piano.foundation.pair_index import pairs_path, pieces_path
from piano.foundation.prepared_song import SHARDS_FOLDER
from piano.foundation.screen_text import printable

_ANYWHERE = ("lost+found", "Thumbs.db", "desktop.ini")
"""What systems put into folders by themselves."""


class FolderKind(NamedTuple):
    """What the manifest in a folder is of, as far as it can be told without believing the rest of it."""

    name: str
    """`prepared` or `data set`."""
    version: int


def folder_kind(folder: Path | str) -> FolderKind | None:
    """What a folder holds, by its manifest; None if there is no readable manifest."""
    try:
        values = read_json_object(manifest_path(folder))
        name = "data set" if "pairs" in values else "prepared" if "settings" in values else ""
        version = values["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return FolderKind(name, version) if name and type(version) is int else None


def refuse_to_write_over(folder: Path, wanted: str) -> None:
    """Raise a DatasetError where a folder holds the other kind of data, or was made by a newer version.

    Parameters
    ----------
    folder : Path
    wanted : str
        `prepared` or `data set`: what is to be written there.
    """
    kind = folder_kind(folder)
    if kind is None:
        _refuse_foreign_files(folder, wanted)
        _refuse_full_folder(folder, wanted)
        return
    if kind.name != wanted:
        held = "a data set" if kind.name == "data set" else "a prepared folder"
        raise DatasetError(f"{printable(folder)} is {held}. Choose another folder with --output.")
    newest = DATASET_VERSION if wanted == "data set" else FORMAT_VERSION
    if kind.version > newest:
        raise DatasetError(
            f"{printable(folder)} was made by a newer MusiGAN (format version {kind.version}), which this one "
            "would destroy. Update MusiGAN, or choose another folder with --output."
        )


def _refuse_foreign_files(folder: Path, wanted: str) -> None:
    """Raise a DatasetError for files of others under our names; what a killed run left half written is ours."""
    names = [MANIFEST_NAME]
    if wanted == "prepared":
        names += ["report.json", "report.csv"]
    else:
        names += [path(folder, split).name for path in (set_path, pairs_path, pieces_path) for split in SPLITS]
    for name in names:
        path = folder / name
        try:
            is_foreign = path.is_file() and _is_foreign(path)
        except OSError:
            continue
        if is_foreign:
            raise DatasetError(
                f"{printable(path)} is there already and was not made by this program. "
                "Choose another folder with --output."
            )


def _refuse_full_folder(folder: Path, wanted: str) -> None:
    """Raise a DatasetError for a folder of other things, in which no run has ever worked."""
    try:
        if (folder / LOCK_NAME).exists():
            return
        others = sorted(
            entry.name for entry in os.scandir(folder) if entry.name not in _ANYWHERE and not entry.name.startswith(".")
        )
    except OSError:  # it is not there yet, or is no folder: who makes it says so
        return
    if others and not _has_our_folders(folder):
        listed = ", ".join(map(printable, others[:3])) + (" ..." if len(others) > 3 else "")
        what = "the prepared music" if wanted == "prepared" else "the data set"
        raise DatasetError(
            f"{printable(folder)} holds other things already ({listed}), which {what} would be mixed with. Choose a "
            "new or empty folder with --output."
        )


def _has_our_folders(folder: Path) -> bool:
    """Whether our records or shards lie there: a folder that was put together by copying has no lock."""
    patterns = ("records/" + "[0-9a-f]" * 24 + ".json", f"{SHARDS_FOLDER}/shard_*")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _is_foreign(path: Path) -> bool:
    """Whether a file holds something whole that this program never writes under its name."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 20)
    if path.suffix == ".npy":
        return bool(start) and not np.lib.format.MAGIC_PREFIX.startswith(start[:6])
    if path.suffix == ".csv":
        return bool(start) and not start.startswith(b"source,")
    try:
        values = json.loads(start)
    except (ValueError, RecursionError):
        return False  # cut off, or damaged
    ours = {"version", "songs"} if path.name == MANIFEST_NAME else {"summary", "files"}
    return not (isinstance(values, dict) and ours & values.keys())
