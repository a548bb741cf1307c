"""One shard of the music in a prepared folder: songs and their records, nothing else.

A later run without `--shard` finds the records of all shards, prepares what is missing, and finishes the folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data_prep.earlier_run import find_moved, read_earlier_run, tell_changes, valid_records
from data_prep.missing_music import refuse_missing_music
from data_prep.music_files import Hashes
from data_prep.music_place import MusicPlace
from data_prep.prepare_song import RECORDS_FOLDER
from data_prep.runners.runner import Runner
from data_prep.runners.shard import Shard, part_of, working_shard
from data_prep.shard_index import forget_packed
from data_prep.song_queue import prepare_everything
from piano.foundation.audio_io import FolderScan
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.doors import command
from piano.foundation.prepared_song import LeftOut
from piano.foundation.screen_text import counted, printable, wrapped


class Part(NamedTuple):
    """What a run of one shard did."""

    prepared: int
    """Songs made in this run."""
    kept: int
    """Songs that were there already."""
    left_out: tuple[LeftOut, ...]
    """Files of this shard that gave no song."""
    others: int
    """Files that are of other shards."""


def prepare_part(
    scan: FolderScan,
    music: MusicPlace,
    output: Path,
    settings: PrepareSettings,
    shard: Shard,
    *,
    runner: Runner,
    max_files: int | None,
    forget_missing: bool,
    tell: Callable[[str], object],
) -> Part:
    """Prepare every song of a shard that has no record yet; other shards may do the same at the same time.

    Parameters
    ----------
    scan : FolderScan
        What lies in the music folder.
    music : MusicPlace
    output : Path
    settings : PrepareSettings
    shard : Shard
    runner : Runner
    max_files : int, optional
        Only the first so many music files, by name, of all shards together.
    forget_missing : bool
        Go on even if much of the music that was prepared here is not there any more.
    tell : callable
        Gets a line on what is about to happen.

    Raises
    ------
    DatasetError
        If a whole run or the same shard works there, the music is away, or the disk is full.
    """
    with working_shard(output, shard, settings):
        (output / RECORDS_FOLDER).mkdir(exist_ok=True)
        forget_packed()
        hashes = Hashes(music.hash)
        earlier = read_earlier_run(output)
        files = music.look(scan, max_files)
        moved = find_moved(earlier, files.everything, files.present, hashes)
        if not forget_missing:
            refuse_missing_music(earlier, files.present, moved, music, output, hashes)
        tell_changes(earlier, settings, tell)
        known = set(moved.values())  # the last run gives them the sound that they had
        mine = [source for source in part_of(files.sources, shard, music.peek) if source.name not in known]
        records = valid_records(mine, output, settings)
        kept = {name for name, record in records.items() if record.song is not None}
        left_out, _ = prepare_everything(mine, records, output, settings, runner, hashes, tell, music)
    songs = {name for name, record in records.items() if record.song is not None}
    return Part(
        prepared=len(songs - kept),
        kept=len(songs & kept),
        left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
        others=len(files.sources) - len(mine),
    )


def print_part(part: Part, shard: Shard, output: Path, last: list[str]) -> None:
    """Print what a run of a shard did, and the command that finishes the folder: `last` are its arguments."""
    for entry in part.left_out:
        detail = f" ({printable(entry.detail)})" if entry.detail else ""
        print(wrapped(f"left out: {printable(entry.source)}: {printable(entry.reason)}{detail}"))
    print(
        wrapped(
            f"shard {shard} in {printable(output)}: {counted(part.prepared, 'song')} prepared now, {part.kept:,} kept "
            f"from before, {counted(len(part.left_out), 'file')} left out; {counted(part.others, 'file')} of other "
            "shards"
        )
    )
    print(f"When all shards are done: {command('prepare', *last)}")
