"""From a folder of music to chunks of two minutes, with a report of every file.

    python prepare_dataset.py ~/Music

Stopped at any moment and started again, it goes on where it was; on an unchanged folder it does nothing.
"""

import argparse
import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from data_prep.defaults import Defaults, add_config_options, load_defaults
from data_prep.prepare_report import REPORT_CSV, REPORT_JSON, Outcome, Progress, print_outcome, write_reports
from data_prep.prepare_song import (
    FINGERPRINT_NAME,
    RECORDS_FOLDER,
    WORK_FOLDER,
    SongTask,
    SourceRecord,
    prepare_song,
    read_record,
    record_path,
    settings_key,
)
from data_prep.song_groups import GROUPINGS, grouping_key, is_whole_fingerprint, with_groups
from data_prep.worker_pool import run_tasks
from piano.foundation.audio_io import scan_folder
from piano.foundation.dataset_format import (
    MANIFEST_NAME,
    LeftOut,
    PreparedManifest,
    PrepareSettings,
    read_prepared_manifest,
    write_prepared_manifest,
)
from piano.foundation.doors import fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.folder_lock import locked_folder
from piano.foundation.screen_text import printable, tolerate_old_terminals

EXAMPLE = "example:\n  {musigan prepare} ~/Music --output prepared --workers 4"


class Source(NamedTuple):
    """A music file as it lies on disk."""

    name: str
    """Path inside the music folder, with forward slashes."""
    path: Path
    size: int
    mtime_ns: int


def prepare_folder(
    music: Path,
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int = 1,
    max_files: int | None = None,
    group_by: str = "recording",
) -> Outcome:
    """Prepare every song of a folder that is not prepared yet, and write manifest and report.

    Parameters
    ----------
    music : Path
        Searched with all its folders.
    output : Path
        The prepared folder; made if it is missing.
    settings : PrepareSettings
    workers : int
        Processes.
    max_files : int, optional
        Only the first so many music files, by name.
    group_by : str
        What is never split between training and validation: one of `GROUPINGS`.

    Returns
    -------
    Outcome

    Raises
    ------
    DatasetError
        If another run works there, the folder belongs to other music, or the disk is full.
    """
    scan = scan_folder(music, skip=output)
    with locked_folder(output):
        shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
        before = _read_previous(output)
        sources, left_out = _look_at(scan.audio[:max_files], music)
        left_out += [LeftOut(source=_name(path, music), reason=reason) for path, reason in scan.left_out]
        if before is not None:
            _refuse_other_music(before, sources, music, output)
        records = _valid_records(sources, output, settings)
        duplicates = _find_duplicates(sources, records)
        todo = [source for source in sources if source.name not in records and source.name not in duplicates]
        todo.sort(
            key=lambda source: (-source.size, source.name)
        )  # the longest first: no worker is idle at the end
        left_out += _prepare_all(todo, records, output, settings, workers=workers)
        left_out += [
            LeftOut(source=name, reason="duplicate", detail=f"same as {first}")
            for name, first in duplicates.items()
        ]
        left_out += [record.left_out for record in records.values() if record.left_out is not None]
        songs = [record.song for _, record in sorted(records.items()) if record.song is not None]
        manifest = PreparedManifest(
            settings=settings,
            music_folder=str(music.resolve()),
            songs=with_groups(songs, before, output, group_by=group_by),
            grouping=grouping_key(group_by),
            left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
        )
        if manifest != before or not all((output / name).exists() for name in (REPORT_JSON, REPORT_CSV)):
            write_prepared_manifest(output, manifest)
            write_reports(output, manifest)
        _remove_leftovers(output, manifest, [_name(path, music) for path in scan.audio])
    now = {song.source for song in songs}
    fresh = now & {source.name for source in todo}
    unused = {_name(path, music) for path in scan.audio} - {source.name for source in sources}
    return Outcome(
        manifest=manifest,
        prepared=len(fresh),
        kept=len(now - fresh),
        gone=tuple(song.source for song in before.songs if song.source not in now | unused) if before else (),
        settings_changed=_changes(before.settings, settings) if before else "",
    )


def _read_previous(output: Path) -> PreparedManifest | None:
    if not (output / MANIFEST_NAME).exists():
        return None
    with contextlib.suppress(DatasetError):
        return read_prepared_manifest(output)
    return None


def _name(path: Path, music: Path) -> str:
    return path.relative_to(music).as_posix()


def _look_at(paths: list[Path], music: Path) -> tuple[list[Source], list[LeftOut]]:
    """The files that can be opened and hold something, and the others."""
    sources, left_out = [], []
    for path in paths:
        name = _name(path, music)
        try:
            status = path.stat()
        except OSError:
            left_out.append(LeftOut(source=name, reason="not_a_file"))
            continue
        if not os.access(path, os.R_OK):
            left_out.append(LeftOut(source=name, reason="no_permission"))
        elif status.st_size == 0:
            left_out.append(LeftOut(source=name, reason="empty"))
        else:
            sources.append(Source(name, path, status.st_size, status.st_mtime_ns))
    return sources, left_out


def _refuse_other_music(before: PreparedManifest, sources: list[Source], music: Path, output: Path) -> None:
    """A prepared folder follows one music folder: another one would drop everything in it."""
    known = {song.source for song in before.songs}
    if (
        known
        and str(music.resolve()) != before.music_folder
        and not known & {source.name for source in sources}
    ):
        raise DatasetError(
            f"{printable(output)} was prepared from {printable(before.music_folder)}, and nothing of that is in "
            f"{printable(music)}. Use another --output, or delete the folder."
        )


def _changes(before: PrepareSettings, now: PrepareSettings) -> str:
    pairs = zip(dataclasses.asdict(before).items(), dataclasses.asdict(now).values(), strict=True)
    return ", ".join(f"{name} {old} -> {new}" for (name, old), new in pairs if old != new)


def _valid_records(sources: list[Source], output: Path, settings: PrepareSettings) -> dict[str, SourceRecord]:
    """Records of earlier runs that still hold: same settings, same file, chunks in place."""
    records = {}
    for source in sources:
        record = _usable_record(source, output, settings)
        if record is not None and (record.size, record.mtime_ns) == (source.size, source.mtime_ns):
            records[source.name] = record
    return records


def _usable_record(source: Source, output: Path, settings: PrepareSettings) -> SourceRecord | None:
    """What an earlier run left about a source, if it was made with these settings and is still in place."""
    record = read_record(output, source.name)
    if record is None or record.settings_key != settings_key(settings):
        return None
    if record.song is None:  # ffmpeg may be installed by now
        return None if record.left_out is None or record.left_out.reason == "needs_ffmpeg" else record
    folder = output / record.song.folder
    if not is_whole_fingerprint(folder / FINGERPRINT_NAME, record.song.samples, settings.sample_rate):
        return None
    names = (FINGERPRINT_NAME, *(chunk.file for chunk in record.song.chunks))
    return record if all((folder / name).is_file() for name in names) else None


def _find_duplicates(sources: list[Source], records: dict[str, SourceRecord]) -> dict[str, str]:
    """Source -> the source with the same bytes that stands for it: one already prepared, else the first by name."""
    same_size = Counter(source.size for source in sources)
    first: dict[str, str] = {}
    duplicates = {}
    for source in sorted(sources, key=lambda source: (source.name not in records, source.name)):
        if same_size[source.size] == 1:
            continue
        known = records.get(source.name)
        digest = known.sha256 if known else _hash_file(source.path)
        if digest in first:
            duplicates[source.name] = first[digest]
            records.pop(source.name, None)
        else:
            first[digest] = source.name
    return duplicates


def _hash_file(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # the worker will say what is wrong with it
        return f"unread {path}"


def _prepare_all(
    todo: list[Source],
    records: dict[str, SourceRecord],
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int,
) -> list[LeftOut]:
    """Run the workers; adds to `records` and returns what crashed."""
    if not todo:
        return []
    tasks = [
        SongTask(
            path=str(source.path),
            source=source.name,
            output=str(output),
            settings=settings,
            known=_usable_record(source, output, settings),
        )
        for source in todo
    ]
    failures = []
    events = run_tasks(prepare_song, tasks, workers=workers)
    with contextlib.closing(events), Progress([source.size for source in todo]) as progress:
        for event in events:
            progress.advance(event.index, event.work, is_finished=event.is_finished)
            if not event.is_finished:
                continue
            source = todo[event.index]
            if event.failure:
                if f"[Errno {errno.ENOSPC}]" in event.failure:
                    raise DatasetError(f"the disk is full: no room for chunks in {printable(output)}.")
                failures.append(LeftOut(source=source.name, reason="crashed", detail=event.failure))
            else:
                records[source.name] = event.result
    return failures


def _remove_leftovers(output: Path, manifest: PreparedManifest, present: list[str]) -> None:
    """Remove chunks of old settings and of sources that are gone; what --max-files leaves aside may stay."""
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    wanted = {song.folder for song in manifest.songs}
    for source in set(present) - {song.source for song in manifest.songs}:
        record = read_record(output, source)
        if (
            record is not None
            and record.song is not None
            and record.settings_key == settings_key(manifest.settings)
        ):
            wanted.add(record.song.folder)
    for folder in output.iterdir():
        if folder.is_dir() and folder.name not in wanted and (folder / FINGERPRINT_NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    records = {record_path(output, source).name for source in present}
    for path in (output / RECORDS_FOLDER).glob("*"):
        if path.name not in records:
            path.unlink(missing_ok=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program("prepare"),
        description="Cut a folder of music into exact chunks.",
        epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="music: MP3, WAV, FLAC, OGG, Opus, M4A ..., in any folders")
    add = parser.add_argument
    add("--output", type=Path, help="folder for the chunks (default: the config's prepared_folder)")
    add("--sample-rate", type=int, help="of the chunks, in Hz (default: the model's in the config)")
    add("--channels", type=int, choices=(1, 2), help="mono or stereo (default: the model's in the config)")
    add("--chunk-seconds", type=float, default=120.0, help="length of a chunk (default: %(default)g)")
    add("--min-seconds", type=float, default=1.0, help="shorter songs are left out (default: %(default)g)")
    add("--workers", type=int, default=_core_count(), help="processes (default: the cores, %(default)s)")
    add("--max-files", type=int, help="only the first so many files, to try it out (default: all)")
    add(
        "--group-by",
        choices=GROUPINGS,
        default="recording",
        help="never split between training and validation: copies of a recording and stems of a song (the default); "
        "all files of a folder too; or all below a folder of the first level",
    )
    add_config_options(parser)
    return parser.parse_args(argv)


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(options: argparse.Namespace, defaults: Defaults) -> PrepareSettings:
    sample_rate = defaults.sample_rate if options.sample_rate is None else options.sample_rate
    channels = options.channels or defaults.channels
    if not 1000 <= sample_rate <= 384_000:
        raise DatasetError(f"--sample-rate must be between 1000 and 384000, got {sample_rate}.")
    if options.workers < 1 or (options.max_files is not None and options.max_files < 1):
        raise DatasetError("--workers and --max-files must be at least 1.")
    if not 0.1 <= options.chunk_seconds <= 3600 or not 0 <= options.min_seconds < 3600:
        raise DatasetError("--chunk-seconds must be between 0.1 and 3600, --min-seconds between 0 and 3600.")
    return PrepareSettings(
        sample_rate=sample_rate,
        channels=channels,
        chunk_seconds=options.chunk_seconds,
        min_seconds=options.min_seconds,
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 if there is at least one chunk, else 2."""
    options = parse_arguments(argv)

    def body() -> None:
        defaults = load_defaults(options.config, options.preset)
        output = options.output or defaults.prepared_folder
        settings = _settings(options, defaults)
        outcome = prepare_folder(
            options.folder,
            output,
            settings,
            workers=options.workers,
            max_files=options.max_files,
            group_by=options.group_by,
        )
        print_outcome(outcome, output)
        if not outcome.manifest.songs:
            raise DatasetError(
                f"no usable music in {printable(options.folder)}: not one chunk could be made."
            )

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
