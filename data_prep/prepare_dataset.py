"""From a folder of music to sound of one rate and one level, in 16 bits, with a report of every file.

    python prepare_dataset.py ~/Music

Stopped at any moment and started again, it goes on where it was; on an unchanged folder it does nothing.
"""

import argparse
import functools
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from data_prep.defaults import Defaults, add_config_options, load_defaults, named_settings
from data_prep.earlier_run import (
    EarlierRun,
    find_moved,
    read_earlier_run,
    records_aside,
    remove_leftovers,
    take_over,
    tell_changes,
    valid_records,
)
from data_prep.missing_music import refuse_missing_music
from data_prep.music_files import Hashes, MusicFiles, no_music
from data_prep.music_place import LocalMusic, MusicPlace
from data_prep.prepare_part import prepare_part, print_part
from data_prep.prepare_report import REPORT_CSV, REPORT_JSON, Outcome, print_outcome, write_reports
from data_prep.prepare_song import RECORDS_FOLDER, WORK_FOLDER
from data_prep.remote_music import RemoteMusic, is_address, without_user
from data_prep.remote_output import refuse_unwritable, upload
from data_prep.runners.choice import RUNNERS, choose_runner
from data_prep.runners.runner import Runner
from data_prep.runners.shard import read_shard
from data_prep.shard_index import forget_packed
from data_prep.shards import pack_songs
from data_prep.song_groups import GROUPINGS, grouping_key, with_groups
from data_prep.song_queue import prepare_everything, removed_meanwhile
from data_prep.worker_pool import MOST_WORKERS, run_tasks
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.audio_io import FolderScan
from piano.foundation.cores import available_cores
from piano.foundation.dataset_format import MANIFEST_NAME, PreparedManifest, PrepareSettings, write_prepared_manifest
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.folder_kinds import refuse_to_write_over
from piano.foundation.folder_lock import LOCK_NAME, locked_folder
from piano.foundation.prepared_song import LeftOut, SongEntry
from piano.foundation.screen_text import CommandParser, printable, tolerate_old_terminals, wrapped

EXAMPLE = "example:\n  {musigan prepare} ~/Music --output prepared --workers 4"


def prepare_folder(
    music: Path | str,
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int = 1,
    max_files: int | None = None,
    forget_missing: bool = False,
    tell: Callable[[str], object] = lambda _: None,
    group_by: str = "recording",
    runner: Runner | None = None,
) -> Outcome:
    """Prepare every song of a folder that is not prepared yet, and write manifest and report.

    Parameters
    ----------
    music : Path or str
        Searched with all its folders; or one file; or an address like s3://bucket/music.
    output : Path
        The prepared folder; made if it is missing.
    settings : PrepareSettings
    workers : int
        Processes.
    max_files : int, optional
        Only the first so many music files, by name.
    forget_missing : bool
        Go on even if much of the music that was prepared here is not there any more.
    tell : callable
        Gets a line on what is about to happen.
    group_by : str
        What is never split between training and validation: one of `GROUPINGS`.
    runner : Runner, optional
        Where the songs are prepared, in place of `workers` processes here.

    Returns
    -------
    Outcome

    Raises
    ------
    DatasetError
        If another run works there, the music is away, the folder belongs to other music, or the disk is full.
    """
    place = _place(music)
    runner = runner or functools.partial(run_tasks, workers=workers)
    scan = _search(place, output)
    with locked_folder(output):
        forget_packed()
        hashes = Hashes(place.hash)
        earlier = read_earlier_run(output)
        files = place.look(scan, max_files)
        moved = find_moved(earlier, files.everything, files.present, hashes)
        if not forget_missing:
            refuse_missing_music(earlier, files.present, moved, place, output, hashes)
        _make_work_folders(output)
        taken = take_over(moved, earlier.records, files.everything, output, settings)
        records = valid_records(files.sources, output, settings)
        changes = tell_changes(earlier, settings, tell)
        kept = set(records)
        left_out, crashed = prepare_everything(files.sources, records, output, settings, runner, hashes, tell, place)
        aside = records_aside(output, records, files.present, crashed, settings)
        _refuse_if_removed(output)
        pack_songs(output, records, aside, settings.channels)
        songs = [record.song for _, record in sorted(records.items()) if record.song is not None]
        manifest = _manifest(songs, files.left_out + left_out, earlier, place.identity, output, settings, group_by)
        _write_if_new(output, manifest, earlier.manifest)
        remove_leftovers(output, manifest, files.present, aside)
    return _outcome(manifest, files, earlier, kept, moved, taken, changes)


def _place(music: Path | str) -> MusicPlace:
    return RemoteMusic(music) if isinstance(music, str) and is_address(music) else LocalMusic(Path(music))


def _search(music: MusicPlace, output: Path) -> FolderScan:
    """What lies in the music folder; raises a DatasetError if nothing may be prepared from there, or nothing can be."""
    scan = music.scan(output)
    refuse_to_write_over(output, "prepared")
    if not scan.audio and not (output / MANIFEST_NAME).exists():
        raise DatasetError(no_music(scan, str(music)))
    return scan


def _make_work_folders(output: Path) -> None:
    """Empty the folder for half-made songs, and make the one for records if it is missing."""
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    for folder in (WORK_FOLDER, RECORDS_FOLDER):
        (output / folder).mkdir(exist_ok=True)


def _manifest(
    songs: list[SongEntry],
    left_out: list[LeftOut],
    earlier: EarlierRun,
    music_folder: str,
    output: Path,
    settings: PrepareSettings,
    group_by: str,
) -> PreparedManifest:
    """The manifest of what there is now, with the groups of the songs."""
    return PreparedManifest(
        settings=settings,
        music_folder=music_folder,
        songs=with_groups(songs, earlier.manifest, output, group_by=group_by),
        grouping=grouping_key(group_by),
        left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
    )


def _write_if_new(output: Path, manifest: PreparedManifest, before: PreparedManifest | None) -> None:
    """Write manifest and reports, unless they are there and would say the same."""
    _refuse_if_removed(output)
    if manifest != before or not all((output / name).exists() for name in (REPORT_JSON, REPORT_CSV)):
        write_prepared_manifest(output, manifest)
        write_reports(output, manifest)


def _refuse_if_removed(output: Path) -> None:
    if not (output / LOCK_NAME).exists():
        raise removed_meanwhile(output)


def _outcome(
    manifest: PreparedManifest,
    files: MusicFiles,
    earlier: EarlierRun,
    kept: set[str],
    moved: dict[str, str],
    taken: set[str],
    changes: str,
) -> Outcome:
    """What the run did, from what there was and what there is."""
    now = {song.source for song in manifest.songs}
    aside = set(files.present) - {source.name for source in files.sources}
    old_names = {old for old, new in moved.items() if new in now}
    return Outcome(
        manifest=manifest,
        prepared=len(now - kept),
        kept=len(now & kept),
        gone=tuple(sorted(name for name in earlier.songs if name not in now | aside | old_names)),
        moved=tuple(sorted((old, new) for old, new in moved.items() if new in taken & now)),
        settings_changed=changes,
    )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("prepare"),
        description="Turn a folder of music into sound of one rate and one level.",
        epilog=fill(EXAMPLE),
    )
    parser.add_argument(
        "folder",
        help="music: MP3, WAV, FLAC, OGG, Opus, M4A ..., in any folders; or one file; or an address: s3://bucket/music",
    )
    add = parser.add_argument
    add(
        "--output",
        help="folder for the sound; or an address, to which the config's folder is uploaded (default: the config's "
        "prepared_folder)",
    )
    add("--sample-rate", type=kinds.sample_rate, help="of the sound, in Hz (default: the model's in the config)")
    add(
        "--channels",
        type=kinds.whole(bounds.CHANNELS),
        metavar="{1,2}",
        help="mono or stereo (default: the model's in the config)",
    )
    add(
        "--chunk-seconds",
        type=kinds.real(bounds.CHUNK_SECONDS),
        default=120.0,
        help="how much of a song is held in memory at once, from 0.1 to 3600; no sample depends on it (default: "
        "%(default)g)",
    )
    add(
        "--min-seconds",
        type=kinds.real(bounds.MIN_SECONDS),
        default=1.0,
        help="shorter songs are left out (default: %(default)g)",
    )
    add(
        "--workers",
        type=kinds.whole(bounds.WORKERS),
        help=f"processes of this machine; more than {MOST_WORKERS} count as {MOST_WORKERS} (default: the cores that "
        f"this process may use, {min(available_cores(), MOST_WORKERS)})",
    )
    add(
        "--runner",
        choices=RUNNERS,
        default="local",
        help="where songs are prepared: processes of this machine, or a cluster (default: %(default)s)",
    )
    add(
        "--address",
        help="of the cluster's scheduler or head: tcp://host:8786 (dask), host:6379 or auto (ray) (default: none)",
    )
    add(
        "--shard",
        type=read_shard,
        metavar="NUMBER/COUNT",
        help="only this part of the songs; the parts may run at once, on machines that share the folders. The same "
        "command without it finishes (default: all songs)",
    )
    add(
        "--max-files", type=kinds.whole(bounds.FILES), help="only the first so many files, to try it out (default: all)"
    )
    add(
        "--forget-missing",
        action="store_true",
        help="go on even if much of the music of before is not there any more; its sound is removed (default: no)",
    )
    add(
        "--group-by",
        choices=GROUPINGS,
        default="recording",
        help="never split between training and validation: copies of a recording and stems of a song (the default); "
        "all files of a folder too; or all below a folder of the first level",
    )
    add_config_options(parser)
    return parser.parse_args(argv)


def _settings(options: argparse.Namespace, defaults: Defaults) -> PrepareSettings:
    return PrepareSettings(
        sample_rate=options.sample_rate or defaults.sample_rate,
        channels=options.channels or defaults.channels,
        chunk_seconds=options.chunk_seconds,
        min_seconds=options.min_seconds,
    )


def _what_to_do(reasons: Counter[str], options: argparse.Namespace, output: Path) -> str:
    """After a run that could prepare nothing: the command that takes short sounds too, if there are such."""
    again = command("prepare", without_user(options.folder), "--output", output, "--min-seconds", 0)
    short = f"Take the short ones too: `{again}`. Or mend" if reasons["too_short"] else "Mend"
    return f"{short} or replace the files, or name another folder."


def _tell(line: str) -> None:
    print(wrapped(line), flush=True)


def _prepare_shard(
    options: argparse.Namespace, output: Path, settings: PrepareSettings, runner: Runner, words: list[str]
) -> None:
    """Prepare one shard, and name the command that finishes: the words of this one without the shard."""
    place = _place(options.folder)
    part = prepare_part(
        _search(place, output),
        place,
        output,
        settings,
        options.shard,
        runner=runner,
        max_files=options.max_files,
        forget_missing=options.forget_missing,
        tell=_tell,
    )
    is_value = [False, *(len(word) > 3 and "--shard".startswith(word) for word in words)]
    last = [
        without_user(word) if "://" in word else word
        for word, is_shard in zip(words, is_value, strict=False)
        if not is_shard and not (len(word) > 3 and "--shard".startswith(word.partition("=")[0]))
    ]
    print_part(part, options.shard, output, last)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 if there is at least one song, else 2."""
    options = parse_arguments(argv)

    def body() -> None:
        from piano.config_reader import expanded  # as in `load_defaults`: no worker needs it

        if not is_address(options.folder):
            options.folder = str(expanded(Path(options.folder)))  # shells of Windows leave `~` as it is
        defaults = load_defaults(options.config, options.preset)
        there = options.output if options.output is not None and is_address(options.output) else ""
        output = defaults.prepared_folder if there or options.output is None else Path(options.output)
        settings = _settings(options, defaults)
        if there and options.shard is None:  # the machines of parts may see no network
            refuse_unwritable(there)
        folders = [output] if is_address(options.folder) else [Path(options.folder), output]
        runner = choose_runner(options.runner, options.address, options.workers, folders, available_cores())
        if options.shard is not None:
            if there:
                _tell(
                    f"{printable(output)} gets this part; the run that ends them brings all to {without_user(there)}."
                )
            _prepare_shard(options, output, settings, runner, sys.argv[1:] if argv is None else argv)
            return
        outcome = prepare_folder(
            options.folder,
            output,
            settings,
            runner=runner,
            max_files=options.max_files,
            forget_missing=options.forget_missing,
            tell=_tell,
            group_by=options.group_by,
        )
        print_outcome(outcome, output)
        if not outcome.manifest.songs:
            reasons = Counter(entry.reason for entry in outcome.manifest.left_out)
            listed = ", ".join(f"{count:,} {printable(reason)}" for reason, count in reasons.most_common())
            raise DatasetError(
                f"no usable music in {without_user(options.folder)}: not one song could be prepared "
                f"({listed or 'nothing is there'}). The lines above say why of each file; {REPORT_CSV} in "
                f"{printable(output)} keeps them. {_what_to_do(reasons, options, output)}"
            )
        if there:
            print(wrapped(upload(output, there)))
        print(f"Next: {command('dataset', '--input', output, *named_settings(options))}")

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
