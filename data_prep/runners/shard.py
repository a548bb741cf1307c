"""One of N parts of the music, for runs that work at the same time in one prepared folder: `--shard 2/3`.

Nothing is agreed upon: a part is a pure function of what lies in the music folder. Records and songs have names of
their own for every source, so parts write side by side; manifest, groups and clearing are left to a whole run.
"""

import argparse
import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from data_prep.earlier_run import changed_settings
from data_prep.music_files import MusicFile
from data_prep.prepare_song import WORK_FOLDER
from piano.foundation import bounds
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import DatasetError
from piano.foundation.folder_lock import shared_folder
from piano.foundation.made_files import try_lock, write_bytes
from piano.foundation.screen_text import printable

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_MARK = re.compile(r"shard-([0-9]{1,6})-of-([0-9]{1,6})\.json")
_PEEKED_BYTES = 1 << 16


class Shard(NamedTuple):
    """Part `number` of `count`, from 1 on."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def read_shard(text: str) -> Shard:
    """For argparse: `2/3`."""
    found = _SHARD.fullmatch(text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if shard.count not in bounds.SHARDS or not 1 <= shard.number <= shard.count:
        raise argparse.ArgumentTypeError(
            f"{printable(text)[:40]} is not NUMBER/COUNT, like 2/3: a number from 1 to the count, which is "
            f"{bounds.SHARDS}"
        )
    return shard


def middle_of(source: MusicFile) -> bytes:
    """64 KB from the middle of a file of this machine; nothing if it cannot be read."""
    try:
        with open(source.path, "rb") as stream:
            stream.seek(source.size // 2)
            return stream.read(_PEEKED_BYTES)
    except OSError:
        return b""


def part_of(sources: list[MusicFile], shard: Shard, peek: Callable[[MusicFile], bytes] = middle_of) -> list[MusicFile]:
    """The sources of one shard.

    Files with the same bytes are in one shard, for only one of them is decoded. So a file whose size no other has goes
    by its name, and the others by their size and what `peek` gives of them.
    """
    same_size = Counter(source.size for source in sources)
    return [
        source
        for source in sources
        if _place(source, peek if same_size[source.size] > 1 else None) % shard.count == shard.number - 1
    ]


def _place(source: MusicFile, peek: Callable[[MusicFile], bytes] | None) -> int:
    key = b"%d " % source.size + peek(source) if peek else source.name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big")


@contextlib.contextmanager
def working_shard(output: Path, shard: Shard, settings: PrepareSettings) -> Iterator[None]:
    """Work in a prepared folder beside other shards, and keep whole runs out; made if it is missing.

    Raises
    ------
    DatasetError
        A whole run works there, or this very shard does; or other shards were prepared there with other settings, or
        are being prepared now and divide the music into another number: songs would be prepared twice.
    """
    with shared_folder(output):
        work = output / WORK_FOLDER
        work.mkdir(exist_ok=True)
        path = work / f"shard-{shard.number}-of-{shard.count}.lock"
        with open(path, "a+b") as stream:
            if try_lock(stream.fileno()) is False:
                raise DatasetError(
                    f"shard {shard} is being prepared in {printable(output)} already. Wait for it, or take another one."
                )
            mark = path.with_suffix(".json")
            write_bytes(mark, json.dumps(vars(settings)).encode("ascii"))  # first: another may look at this moment
            try:
                _refuse_other_division(output, shard, settings)
            except DatasetError:
                mark.unlink(missing_ok=True)
                raise
            yield


def _refuse_other_division(output: Path, shard: Shard, settings: PrepareSettings) -> None:
    """Raise a DatasetError where the shards that are at work in a folder, or were, do not go with this one."""
    for path in sorted((output / WORK_FOLDER).glob("shard-*-of-*.json")):
        found = _MARK.fullmatch(path.name)
        try:
            before = PrepareSettings(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):  # a whole run has ended meanwhile, or it is not ours
            continue
        if found is None:
            continue
        other = Shard(int(found[1]), int(found[2]))
        if other == shard:
            continue
        if changes := changed_settings(before, settings):
            raise DatasetError(
                f"shard {other} was prepared in {printable(output)} with other settings ({changes}). Give every shard "
                "the same ones, or choose another folder with --output; without --shard, all is prepared with these."
            )
        if other.count != shard.count and _is_at_work(path.with_suffix(".lock")):
            raise DatasetError(
                f"shard {other} is being prepared in {printable(output)}: with {shard}, songs would be prepared twice. "
                f"Take one of {other.count} parts, or wait for it."
            )


def _is_at_work(path: Path) -> bool:
    """Whether somebody holds a lock."""
    try:
        with open(path, "r+b") as stream:
            return try_lock(stream.fileno()) is False
    except OSError:
        return False
