"""From a folder of music to chunks of two minutes, with a report of every file.

    python prepare_dataset.py ~/Music

Stopped at any moment and started again, it goes on where it was; on an unchanged folder it does nothing.
"""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from data_prep.defaults import Defaults, add_config_options, load_defaults
from data_prep.earlier_run import (
    EarlierRun,
    changed_settings,
    find_moved,
    read_earlier_run,
    remove_leftovers,
    take_over,
    valid_records,
)
from data_prep.missing_music import refuse_missing_music
from data_prep.music_files import Hashes, MusicFiles, look_at, no_music
from data_prep.prepare_report import REPORT_CSV, REPORT_JSON, Outcome, print_outcome, write_reports
from data_prep.prepare_song import RECORDS_FOLDER, WORK_FOLDER
from data_prep.song_groups import GROUPINGS, grouping_key, with_groups
from data_prep.song_queue import prepare_everything, removed_meanwhile
from data_prep.worker_pool import MOST_WORKERS
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.audio_io import FolderScan, scan_folder
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
    music: Path,
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int = 1,
    max_files: int | None = None,
    forget_missing: bool = False,
    tell: Callable[[str], object] = lambda _: None,
    group_by: str = "recording",
) -> Outcome:
    """Prepare every song of a folder that is not prepared yet, and write manifest and report.

    Parameters
    ----------
    music : Path
        Searched with all its folders; or one file.
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

    Returns
    -------
    Outcome

    Raises
    ------
    DatasetError
        If another run works there, the music is away, the folder belongs to other music, or the disk is full.
    """
    root = music.parent if music.is_file() else music
    scan = _search(music, output)
    with locked_folder(output):
        hashes = Hashes()
        earlier = read_earlier_run(output)
        files = look_at(scan, root, max_files)
        moved = find_moved(earlier.records, files.everything, files.present, hashes)
        if not forget_missing:
            refuse_missing_music(earlier, files.present, moved, music, output, hashes)
        _make_work_folders(output)
        taken = take_over(moved, earlier.records, files.everything, output, settings)
        records = valid_records(files.sources, output, settings)
        changes = _tell_changes(earlier, settings, tell)
        kept = set(records)
        left_out, crashed = prepare_everything(files.sources, records, output, settings, workers, hashes, tell)
        songs = [record.song for _, record in sorted(records.items()) if record.song is not None]
        manifest = _manifest(songs, files.left_out + left_out, earlier, music, output, settings, group_by)
        _write_if_new(output, manifest, earlier.manifest)
        remove_leftovers(output, manifest, files.present, crashed)
    return _outcome(manifest, files, earlier, kept, moved, taken, changes)


def _search(music: Path, output: Path) -> FolderScan:
    """What lies in the music folder; raises a DatasetError if nothing may be prepared from there, or nothing can be."""
    _refuse_one_inside_the_other(music, output)
    refuse_to_write_over(output, "prepared")
    scan = FolderScan([music], [], []) if music.is_file() else scan_folder(music, skip=output)
    if not scan.audio and not (output / MANIFEST_NAME).exists():
        raise DatasetError(no_music(scan, music))
    return scan


def _tell_changes(earlier: EarlierRun, settings: PrepareSettings, tell: Callable[[str], object]) -> str:
    """Say that old chunks will go if the settings are new; returns what changed."""
    changes = changed_settings(earlier.manifest.settings, settings) if earlier.manifest else ""
    if changes:
        tell(
            f"settings changed ({changes}): everything is prepared again, and the chunks of before are removed at "
            "the end. With another --output both stay."
        )
    return changes


def _make_work_folders(output: Path) -> None:
    """Empty the folder for half-made songs, and make the one for records if it is missing."""
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    for folder in (WORK_FOLDER, RECORDS_FOLDER):
        (output / folder).mkdir(exist_ok=True)


def _manifest(
    songs: list[SongEntry],
    left_out: list[LeftOut],
    earlier: EarlierRun,
    music: Path,
    output: Path,
    settings: PrepareSettings,
    group_by: str,
) -> PreparedManifest:
    """The manifest of what there is now, with the groups of the songs."""
    return PreparedManifest(
        settings=settings,
        music_folder=str(music.resolve()),
        songs=with_groups(songs, earlier.manifest, output, group_by=group_by),
        grouping=grouping_key(group_by),
        left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
    )


def _write_if_new(output: Path, manifest: PreparedManifest, before: PreparedManifest | None) -> None:
    """Write manifest and reports, unless they are there and would say the same."""
    if not (output / LOCK_NAME).exists():
        raise removed_meanwhile(output)
    if manifest != before or not all((output / name).exists() for name in (REPORT_JSON, REPORT_CSV)):
        write_prepared_manifest(output, manifest)
        write_reports(output, manifest)


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


def _refuse_one_inside_the_other(music: Path, output: Path) -> None:
    """Chunks among the music would be mixed with it; music inside the output could be taken for leftovers."""
    inner, outer = music.resolve(), output.resolve()
    is_same = inner == outer or (music.is_dir() and output.is_dir() and os.path.samefile(music, output))
    if is_same:
        raise DatasetError(
            f"--output must not be the music folder itself ({printable(music)}). Choose a folder of its own."
        )
    if inner.is_relative_to(outer):
        raise DatasetError(
            f"the music {printable(music)} must not lie inside --output ({printable(output)}). Choose another --output."
        )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("prepare"), description="Cut a folder of music into exact chunks.", epilog=fill(EXAMPLE)
    )
    parser.add_argument(
        "folder", type=Path, help="music: MP3, WAV, FLAC, OGG, Opus, M4A ..., in any folders; or one file"
    )
    add = parser.add_argument
    add("--output", type=Path, help="folder for the chunks (default: the config's prepared_folder)")
    add("--sample-rate", type=kinds.sample_rate, help="of the chunks, in Hz (default: the model's in the config)")
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
        help="length of a chunk, from 0.1 to 3600 (default: %(default)g)",
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
        default=min(available_cores(), MOST_WORKERS),
        help=f"processes; more than {MOST_WORKERS} count as {MOST_WORKERS} (default: the cores that this process may "
        "use, %(default)s)",
    )
    add(
        "--max-files", type=kinds.whole(bounds.FILES), help="only the first so many files, to try it out (default: all)"
    )
    add(
        "--forget-missing",
        action="store_true",
        help="go on even if much of the music of before is not there any more; its chunks are removed (default: no)",
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
    again = command("prepare", options.folder, "--output", output, "--min-seconds", 0)
    short = f"Take the short ones too: `{again}`. Or mend" if reasons["too_short"] else "Mend"
    return f"{short} or replace the files, or name another folder."


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 if there is at least one chunk, else 2."""
    options = parse_arguments(argv)

    def body() -> None:
        from piano.config_reader import expanded  # as in `load_defaults`: no worker needs it

        options.folder = expanded(options.folder)  # shells of Windows leave `~` as it is
        defaults = load_defaults(options.config, options.preset)
        output = options.output or defaults.prepared_folder
        settings = _settings(options, defaults)
        outcome = prepare_folder(
            options.folder,
            output,
            settings,
            workers=options.workers,
            max_files=options.max_files,
            forget_missing=options.forget_missing,
            tell=lambda line: print(wrapped(line), flush=True),
            group_by=options.group_by,
        )
        print_outcome(outcome, output)
        if not outcome.manifest.songs:
            reasons = Counter(entry.reason for entry in outcome.manifest.left_out)
            listed = ", ".join(f"{count:,} {printable(reason)}" for reason, count in reasons.most_common())
            raise DatasetError(
                f"no usable music in {printable(options.folder)}: not one chunk could be made "
                f"({listed or 'nothing is there'}). The lines above say why of each file; {REPORT_CSV} in "
                f"{printable(output)} keeps them. {_what_to_do(reasons, options, output)}"
            )
        print(f"Next: {command('dataset', '--input', output)}")

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
