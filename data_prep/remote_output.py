"""A prepared folder at an address: files that are not there yet are put there, the manifest last."""

import contextlib
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prep.prepare_song import WORK_FOLDER
from data_prep.remote_music import file_system, remote_date, safe_words, without_user
from piano.foundation.dataset_format import MANIFEST_NAME
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import LOCK_NAME
from piano.foundation.screen_text import counted

_TRIAL_NAME = ".musigan-can-write"


def refuse_unwritable(address: str) -> None:
    """Raise a DatasetError if nothing can be written to an address, before hours of work for it.

    A small file is put there and removed again. Where things may be put and not removed, it stays.

    Raises
    ------
    ConfigError, DatasetError
        A library is missing; nothing can be written there.
    """
    system, root = file_system(address)
    try:
        system.makedirs(root, exist_ok=True)
        system.pipe_file(f"{root}/{_TRIAL_NAME}", b"MusiGAN tried whether it can write here.\n")
    except Exception as error:  # each library has its own
        raise DatasetError(
            f"cannot write to {without_user(address)}: {safe_words(error, address)}. Nothing was prepared yet: mend "
            "the address or the permission, or choose another --output."
        ) from None
    with contextlib.suppress(Exception):
        system.rm_file(f"{root}/{_TRIAL_NAME}")


def upload(folder: Path, address: str) -> str:
    """Put the files of a prepared folder to an address; what is not in the folder any more stays there.

    A file is put there if there is none, one of another size, or one that is older than this one. An object store shows
    a file when it is whole, so whoever reads there meanwhile sees the old manifest with all its files, or the new one
    with all its files. An SFTP server shows a file while it is written: there, read when the upload has ended.

    Returns
    -------
    str
        What was done, in a sentence.

    Raises
    ------
    ConfigError, DatasetError
        A library is missing; nothing can be written there.
    """
    system, root = file_system(address)
    try:
        there = _listed(system, root)
        todo = [path for path in _files(folder) if _is_due(path, there.get(path.relative_to(folder).as_posix()))]
        size = sum(path.stat().st_size for path in todo)
        with tqdm(total=size, desc="uploading", unit="B", unit_scale=True, dynamic_ncols=True, disable=not todo) as bar:
            for path in todo:
                target = f"{root}/{path.relative_to(folder).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), target)
                bar.update(path.stat().st_size)
    except Exception as error:  # each library has its own
        raise DatasetError(
            f"cannot write to {without_user(address)}: {safe_words(error, address)}. Everything is in {folder}; the "
            "same command goes on."
        ) from None
    return f"{without_user(address)}: {counted(len(todo), 'file')} uploaded, {size / 1e6:.3g} MB"


def _listed(system: Any, root: str) -> dict[str, dict[str, Any]]:
    """What is at the address, by its place there."""
    system.invalidate_cache()
    if not system.exists(root):
        return {}
    return {path.removeprefix(root).lstrip("/"): info for path, info in system.find(root, detail=True).items()}


def _files(folder: Path) -> list[Path]:
    """What belongs to a prepared folder, its manifest last."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in paths if path.name != LOCK_NAME and WORK_FOLDER not in path.relative_to(folder).parts]
    return sorted(kept, key=lambda path: path == folder / MANIFEST_NAME)


def _is_due(path: Path, there: dict[str, Any] | None) -> bool:
    status = path.stat()
    if there is None or there.get("size") != status.st_size:
        return True
    return remote_date(there) < status.st_mtime_ns // 10**9 * 10**9
