"""Sends every song that has no record yet through the worker processes, the longest first."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from data_prep.earlier_run import usable_record
from data_prep.music_files import Hashes, MusicFile
from data_prep.music_place import MusicPlace
from data_prep.prepare_report import PrepareProgress
from data_prep.prepare_song import SongTask, SourceRecord, prepare_song
from data_prep.runners.runner import Runner
from data_prep.same_bytes import find_copies, next_of, settle
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.errors import DISK_ERRORS, DatasetError
from piano.foundation.folder_lock import LOCK_NAME
from piano.foundation.prepared_song import LeftOut
from piano.foundation.quantised import STORED_KIND
from piano.foundation.screen_text import printable

_WRITING_FAILED = DISK_ERRORS.keys() - {errno.EIO}
"""Errors that only the output can cause; EIO may come from the music's drive."""


def prepare_everything(
    sources: list[MusicFile],
    records: dict[str, SourceRecord],
    output: Path,
    settings: PrepareSettings,
    runner: Runner,
    hashes: Hashes,
    tell: Callable[[str], object],
    music: MusicPlace,
) -> tuple[list[LeftOut], set[str]]:
    """Prepare what has no record.

    Of files with the same bytes one is decoded. Where that gives no song, the next one of another suffix is tried, for
    its name may be what was wrong; a file is only left out as a duplicate of a song that there is.

    Parameters
    ----------
    sources : list of Source
    records : dict of str to SourceRecord
        What still holds of earlier runs, by name; gets the new records, and loses those of duplicates.
    output : Path
        The prepared folder.
    settings : PrepareSettings
    runner : Runner
        What takes the songs to processes.
    hashes : Hashes
        Of the files that were read already.
    tell : callable
        Gets a line on the room that will be needed.
    music : MusicPlace
        Where the sources are.

    Returns
    -------
    list of LeftOut, set of str
        What gave no song; the names of those that crashed.

    Raises
    ------
    DatasetError
        If the disk is full, or the prepared folder was removed.
    """
    copies = find_copies(sources, records, hashes)
    waiting = {source.name: row for row in copies for source in row}
    failures: dict[str, LeftOut] = {}
    done: set[str] = set()
    while todo := _due(sources, waiting, records, done):
        crashed = _prepare_all(todo, records, output, settings, runner=runner, hashes=hashes, tell=tell, music=music)
        failures |= {entry.source: entry for entry in crashed}
        done |= {source.name for source in todo}
    left_out: list[LeftOut] = []
    for row in copies:
        settle(row, records, failures, left_out)
    left_out += failures.values()
    left_out += [record.left_out for record in records.values() if record.left_out is not None]
    return left_out, set(failures)


def _due(
    sources: list[MusicFile], waiting: dict[str, list[MusicFile]], records: dict[str, SourceRecord], done: set[str]
) -> list[MusicFile]:
    """What to decode now: of files with the same bytes one at most. The longest first: no worker is idle at the end."""
    todo = []
    for source in sources:
        row = waiting.get(source.name)
        is_due = source.name not in records and source.name not in done
        if is_due and (row is None or source == next_of(row, records, done)):
            todo.append(source)
    return sorted(todo, key=lambda source: (-source.size, source.name))


def _prepare_all(
    todo: list[MusicFile],
    records: dict[str, SourceRecord],
    output: Path,
    settings: PrepareSettings,
    *,
    runner: Runner,
    hashes: Hashes,
    tell: Callable[[str], object],
    music: MusicPlace,
) -> list[LeftOut]:
    """Run the step of every song; adds to `records` and returns what crashed."""
    known = {source.name: usable_record(source, output, settings) for source in todo}
    if need := music.need([source for source in todo if known[source.name] is None], output, settings):
        tell(need)
    tasks = [
        SongTask(
            path=os.path.abspath(source.path),  # a worker may stand in another folder
            source=source.name,
            output=os.path.abspath(output),
            settings=settings,
            known=known[source.name],
            sha256=hashes.known(source.path),
        )
        for source in todo
    ]
    failures = []
    events = music.taking(runner)(prepare_song, tasks)
    with contextlib.closing(events), PrepareProgress([source.size for source in todo]) as progress:
        for event in events:
            in_work = progress.in_work()
            progress.advance(event.index, event.work, is_finished=event.is_finished)
            if not event.is_finished:
                continue
            source = todo[event.index]
            if event.failure:
                if not (output / LOCK_NAME).exists():
                    raise removed_meanwhile(output)
                seconds = {**in_work, event.index: in_work.get(event.index, 0.0) + event.work}
                _refuse_full_disk(event.failure, todo, seconds, output, settings)
                detail = event.failure.replace(tasks[event.index].path, str(source.path))
                failures.append(LeftOut(source=source.name, reason="crashed", detail=detail))
            else:
                records[source.name] = event.result
    return failures


def removed_meanwhile(output: Path) -> DatasetError:
    """The error to raise where the lock of the prepared folder is gone."""
    return DatasetError(f"{printable(output)} was removed or replaced while it was being filled. Start again.")


def _refuse_full_disk(
    failure: str, todo: list[MusicFile], seconds: dict[int, float], output: Path, settings: PrepareSettings
) -> None:
    """Raise a DatasetError if a worker could not write; it names the file that was taking most of the room."""
    found = re.search(r"\[Errno (\d+)\]", failure)
    number = int(found[1]) if found else 0
    if number not in _WRITING_FAILED:
        return
    index = max(seconds, key=lambda index: (seconds[index], index))
    made = seconds[index] * settings.sample_rate * settings.channels * STORED_KIND.itemsize / 1e6
    free = shutil.disk_usage(output).free / 1e6
    raise DatasetError(
        f"{DISK_ERRORS[number]}: no room for the sound in {printable(output)} ({free:.0f} MB are free). Most is taken "
        f"by {printable(todo[index].name)}: {made:.0f} MB of sound so far, of {todo[index].size / 1e6:.3g} MB. "
        "Free some space, take that file away, or use another --output; what is finished is kept."
    )
