"""From a folder of music to chunks of two minutes, with a report of every file.

    python prepare_dataset.py ~/Music

Stopped at any moment and started again, it goes on where it was; on an unchanged folder it does nothing.
"""

import argparse
import contextlib
import dataclasses
import errno
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from data_prep.defaults import Defaults, add_config_options, load_defaults
from data_prep.disk_need import disk_need
from data_prep.prepare_report import REASONS, REPORT_CSV, REPORT_JSON, Outcome, Progress, print_outcome, write_reports
from data_prep.prepare_song import (
    FINGERPRINT_NAME,
    RECORDS_FOLDER,
    WORK_FOLDER,
    SongTask,
    SourceRecord,
    hash_file,
    prepare_song,
    read_all_records,
    read_record,
    record_path,
    settings_key,
    song_folder,
    write_record,
)
from data_prep.song_groups import GROUPINGS, grouping_key, is_whole_fingerprint, with_groups
from data_prep.worker_pool import MOST_WORKERS, run_tasks
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.audio_io import FolderScan, scan_folder
from piano.foundation.cores import available_cores
from piano.foundation.dataset_format import (
    MANIFEST_NAME,
    LeftOut,
    PreparedManifest,
    PrepareSettings,
    SongEntry,
    read_prepared_manifest,
    refuse_to_write_over,
    write_prepared_manifest,
)
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import DISK_ERRORS, DatasetError, run_command
from piano.foundation.folder_lock import LOCK_NAME, locked_folder
from piano.foundation.made_files import clear_leftovers
from piano.foundation.screen_text import CommandParser, counted, printable, tolerate_old_terminals, wrapped

EXAMPLE = "example:\n  {musigan prepare} ~/Music --output prepared --workers 4"
_WRITING_FAILED = DISK_ERRORS.keys() - {errno.EIO}
"""Errors that only the output can cause; EIO may come from the music's drive."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_HASHED_QUIETLY = 256 << 20
"""Up to this many bytes are compared without a progress bar."""


_SUFFIXES_NAMED = 6
_ARCHIVES = {".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
_RECORD_NAME = re.compile(r"[0-9a-f]{24}\.json")


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
    _refuse_one_inside_the_other(music, output)
    refuse_to_write_over(output, "prepared")
    scan = FolderScan([music], [], []) if music.is_file() else scan_folder(music, skip=output)
    if not scan.audio and not (output / MANIFEST_NAME).exists():
        raise DatasetError(_no_music(scan, music))
    with locked_folder(output):
        before = _read_previous(output)
        old_records = {record.source: record for record in read_all_records(output) if record.song is not None}
        sources, left_out = _look_at(scan.audio[:max_files], root)
        left_out += _not_opened(scan, root)
        hashes = _Hashes()
        present = [_name(path, root) for path in scan.audio]
        everything = sources if max_files is None else _look_at(scan.audio, root)[0]
        moved = _find_moved(old_records, everything, present, hashes)
        known = _known_songs(before, old_records)
        if not forget_missing:
            _refuse_missing_music(known, before, present, moved, music, output, hashes)
        shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
        for folder in (WORK_FOLDER, RECORDS_FOLDER):
            (output / folder).mkdir(exist_ok=True)
        taken = _take_over(moved, old_records, everything, output, settings)
        records = _valid_records(sources, output, settings)
        if before is not None and (changes := _changes(before.settings, settings)):
            tell(
                f"settings changed ({changes}): everything is prepared again, and the chunks of before are removed at "
                "the end. With another --output both stay."
            )
        kept = set(records)
        copies = _find_copies(sources, records, hashes)
        crashed = _prepare_everything(sources, copies, records, output, settings, workers, hashes, tell, left_out)
        left_out += [record.left_out for record in records.values() if record.left_out is not None]
        songs = [record.song for _, record in sorted(records.items()) if record.song is not None]
        manifest = PreparedManifest(
            settings=settings,
            music_folder=str(music.resolve()),
            songs=with_groups(songs, before, output, group_by=group_by),
            grouping=grouping_key(group_by),
            left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
        )
        if not (output / LOCK_NAME).exists():
            raise _removed(output)
        if manifest != before or not all((output / name).exists() for name in (REPORT_JSON, REPORT_CSV)):
            write_prepared_manifest(output, manifest)
            write_reports(output, manifest)
        _remove_leftovers(output, manifest, present, crashed)
    now = {song.source for song in songs}
    aside = set(present) - {source.name for source in sources}
    old_names = {old for old, new in moved.items() if new in now}
    return Outcome(
        manifest=manifest,
        prepared=len(now - kept),
        kept=len(now & kept),
        gone=tuple(sorted(name for name in known if name not in now | aside | old_names)),
        moved=tuple(sorted((old, new) for old, new in moved.items() if new in taken & now)),
        settings_changed=_changes(before.settings, settings) if before else "",
    )


class _Hashes:
    """SHA-256 of files, each read once in a run."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Of one file. If it cannot be read, a text that no other file has: the worker will say what is wrong."""
        if path not in self._known:
            try:
                self._known[path] = hash_file(path)
            except OSError:
                return f"unread {path}"
        return self._known[path]

    def known(self, path: Path) -> str:
        """Of a file that was read already; empty if it was not."""
        return self._known.get(path, "")

    def read(self, sources: Iterable[Source]) -> None:
        """Read files, with a bar if they are many."""
        todo = [source for source in sources if source.path not in self._known]
        total = sum(source.size for source in todo)
        if total < _HASHED_QUIETLY:
            return
        with tqdm(total=total, desc="preparing: comparing files", unit="B", unit_scale=True, dynamic_ncols=True) as bar:
            for source in todo:
                self.of(source.path)
                bar.update(source.size)


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
        except OSError as error:
            reason = "not_a_file" if error.errno in _ABSENT else "crashed"
            detail = "" if reason == "not_a_file" else f"{error.strerror}"
            left_out.append(LeftOut(source=name, reason=reason, detail=detail))
            continue
        if not os.access(path, os.R_OK):
            left_out.append(LeftOut(source=name, reason="no_permission"))
        elif status.st_size == 0:
            left_out.append(LeftOut(source=name, reason="empty"))
        else:
            sources.append(Source(name, path, status.st_size, status.st_mtime_ns))
    return sources, left_out


def _not_opened(scan: FolderScan, music: Path) -> list[LeftOut]:
    """A row for everything that the search passed by."""
    rows = [LeftOut(source=_name(path, music), reason=reason) for path, reason in scan.left_out]
    return rows + [
        LeftOut(
            source=_name(path, music),
            reason="hidden",
            detail=f"a hidden folder with {counted(count, 'sound file')}; rename it to have them read",
        )
        for path, count in scan.hidden
    ]


def _no_music(scan: FolderScan, music: Path) -> str:
    """What is in a folder without sound files, which are read, and what to do."""
    kinds_read = "MP3, WAV, FLAC, OGG, Opus, M4A, AIFF, WMA and many more are read"
    if not scan.left_out and not scan.hidden:
        return f"{printable(music)} is empty. Put music into it ({kinds_read}), or name the folder that holds it."
    named = [path for path, reason in scan.left_out if reason in ("not_audio", "unknown_format")]
    suffixes = Counter(path.suffix.lower() or "without suffix" for path in named)
    found = [f"{count:,} {printable(suffix)}" for suffix, count in suffixes.most_common(_SUFFIXES_NAMED)]
    if more := len(named) - sum(count for _, count in suffixes.most_common(_SUFFIXES_NAMED)):
        found.append(f"{more:,} others")
    others = Counter(reason for _, reason in scan.left_out if reason not in ("not_audio", "unknown_format"))
    found += [f"{count:,} {reason} ({REASONS[reason]})" for reason, count in sorted(others.items())]
    found += [
        f"the hidden folder {printable(path.name)} with {counted(count, 'sound file')}"
        for path, count in scan.hidden[:_SUFFIXES_NAMED]
    ]
    advice = "Name the folder that holds the music"
    if _ARCHIVES & suffixes.keys():
        advice = "Unpack the archives first, or name the folder that holds the music"
    elif scan.hidden:
        advice = "Rename the hidden folder, or name the folder that holds the music"
    elif any(reason == "unknown_format" for _, reason in scan.left_out):
        advice = "Turn what is there into one of these, or name the folder that holds the music"
    return f"no sound file is in {printable(music)}, only {', '.join(found)}. {kinds_read}. {advice}."


def _known_songs(before: PreparedManifest | None, old_records: dict[str, SourceRecord]) -> dict[str, SongEntry]:
    """The songs of the last manifest; of a run that was stopped before there was one, those it had finished."""
    if before is not None:
        return {song.source: song for song in before.songs}
    return {name: record.song for name, record in old_records.items() if record.song is not None}


def _find_moved(
    old_records: dict[str, SourceRecord], sources: list[Source], present: list[str], hashes: _Hashes
) -> dict[str, str]:
    """Old name -> new name of songs whose file lies under another name now, with the same bytes."""
    away: dict[int, list[SourceRecord]] = {}
    for name in sorted(old_records.keys() - set(present)):
        away.setdefault(old_records[name].size, []).append(old_records[name])
    fresh = [source for source in sources if source.name not in old_records and source.size in away]
    hashes.read(fresh)
    moved: dict[str, str] = {}
    for source in fresh:
        for record in away[source.size]:
            if record.source not in moved and record.sha256 == hashes.of(source.path):
                moved[record.source] = source.name
                break
    return moved


def _take_over(
    moved: dict[str, str],
    old_records: dict[str, SourceRecord],
    sources: list[Source],
    output: Path,
    settings: PrepareSettings,
) -> set[str]:
    """Give the chunks of moved songs the folder that they have under the new name; returns the new names."""
    by_name = {source.name: source for source in sources}
    taken = set()
    for old, new in moved.items():
        record, source = old_records[old], by_name[new]
        if record.song is None or record.settings_key != settings_key(settings):
            continue
        identity = {"source": new, "size": source.size, "mtime_ns": source.mtime_ns}
        folder = song_folder(new, record.sha256, settings)
        song = dataclasses.replace(record.song, **identity, folder=folder)
        # The record first: a kill in between leaves the old one, and the next run moves again.
        write_record(output, dataclasses.replace(record, **identity, song=song))
        with contextlib.suppress(OSError):  # what is not there is decoded again
            os.replace(output / record.song.folder, output / folder)
            taken.add(new)
    return taken


def _refuse_missing_music(
    known: dict[str, SongEntry],
    before: PreparedManifest | None,
    present: list[str],
    moved: dict[str, str],
    music: Path,
    output: Path,
    hashes: _Hashes,
) -> None:
    """Hours of work are not removed because a drive is not mounted, or because other music came by.

    Of another folder the bytes must be the same, not only the names: every album has a `Track 01`. In the same folder
    a changed file is a changed song, unless none is left as it was and some are gone: then it is another album.
    """
    if not known:
        return
    root = music.parent if music.is_file() else music
    is_elsewhere = before is not None and str(music.resolve()) != before.music_folder
    missing = {name for name in known if name not in set(present) and name not in moved}
    lost = set(missing)
    if missing or is_elsewhere:
        lost |= {name for name in known.keys() & set(present) if _is_other(root / name, known[name], hashes)}
    total, shown, here = counted(len(known), "song"), printable(music), printable(output)
    remedy = "Nothing was changed. If that is meant, say --forget-missing; else use another --output."
    if before is not None and is_elsewhere and 2 * len(lost) > len(known):
        raise DatasetError(
            f"{here} was prepared from {printable(before.music_folder)}, and of its {total} {len(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} not in {shown}. {remedy}"
        )
    if missing and len(lost) == len(known):
        raise DatasetError(
            f"nothing of the {total} prepared in {here} is in {shown} any more: is a drive not mounted? {remedy}"
        )
    if not is_elsewhere and 2 * len(missing) > len(known):
        raise DatasetError(
            f"{len(missing)} of the {total} prepared in {here} are not in {shown} any more: is a drive not mounted? "
            f"{remedy}"
        )
    if folder := _empty_folder(missing, known.keys(), root):
        away = counted(sum(_is_below(name, folder) for name in missing), "song")
        raise DatasetError(
            f"{printable(root / folder)} holds nothing any more, but {away} in {here} came from there: is a drive not "
            f"mounted? {remedy}"
        )


def _is_other(path: Path, song: SongEntry, hashes: _Hashes) -> bool:
    """Whether a file is another one than the song was made of: size and date are asked before its bytes."""
    try:
        status = path.stat()
    except OSError:
        return True
    if (status.st_size, status.st_mtime_ns) == (song.size, song.mtime_ns):
        return False
    return status.st_size != song.size or hashes.of(path) != song.sha256


def _empty_folder(missing: set[str], known: Iterable[str], music: Path) -> PurePosixPath | None:
    """A folder that is still there and empty or unreadable, though two songs or more were prepared from it."""
    counts: Counter[PurePosixPath] = Counter()
    for name in missing:
        counts.update(folder for folder in PurePosixPath(name).parents if folder != PurePosixPath("."))
    for folder, count in sorted(counts.items()):
        if count < 2 or count < sum(_is_below(name, folder) for name in known):
            continue
        path = music / folder
        try:
            is_empty = not any(not entry.name.startswith(".") for entry in os.scandir(path))
        except OSError:
            is_empty = os.path.lexists(path)
        if is_empty:
            return folder
    return None


def _is_below(name: str, folder: PurePosixPath) -> bool:
    return PurePosixPath(name).is_relative_to(folder)


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


def _find_copies(sources: list[Source], records: dict[str, SourceRecord], hashes: _Hashes) -> list[list[Source]]:
    """Rows of two or more files with the same bytes; first the one already prepared, else the first by name."""
    same_size = Counter(source.size for source in sources)
    twins = [source for source in sources if same_size[source.size] > 1]
    hashes.read(source for source in twins if source.name not in records)
    rows: dict[str, list[Source]] = {}
    for source in sorted(twins, key=lambda source: (not _has_song(records, source.name), source.name)):
        known = records.get(source.name)
        rows.setdefault(known.sha256 if known else hashes.of(source.path), []).append(source)
    return [row for row in rows.values() if len(row) > 1]


def _has_song(records: dict[str, SourceRecord], name: str) -> bool:
    return name in records and records[name].song is not None


def _prepare_everything(
    sources: list[Source],
    copies: list[list[Source]],
    records: dict[str, SourceRecord],
    output: Path,
    settings: PrepareSettings,
    workers: int,
    hashes: _Hashes,
    tell: Callable[[str], object],
    left_out: list[LeftOut],
) -> set[str]:
    """Prepare what has no record; adds to `records` and `left_out`, returns the names of what crashed.

    Of files with the same bytes one is decoded. Where that gives no song, the next one of another suffix is tried, for
    its name may be what was wrong; a file is only left out as a duplicate of a song that there is.
    """
    waiting = {source.name: row for row in copies for source in row}
    failures: dict[str, LeftOut] = {}
    done: set[str] = set()
    while True:
        todo = []
        for source in sources:
            row = waiting.get(source.name)
            is_due = source.name not in records and source.name not in done
            if is_due and (row is None or source == _next_of(row, records, done)):
                todo.append(source)
        if not todo:
            break
        # The longest first: no worker is idle at the end.
        todo.sort(key=lambda source: (-source.size, source.name))
        crashed = _prepare_all(todo, records, output, settings, workers=workers, hashes=hashes, tell=tell)
        failures |= {entry.source: entry for entry in crashed}
        done |= {source.name for source in todo}
    for row in copies:
        _settle(row, records, failures, left_out)
    left_out += failures.values()
    return set(failures)


def _next_of(row: list[Source], records: dict[str, SourceRecord], done: set[str]) -> Source | None:
    """Which of some files with the same bytes to decode now; None if one is a song, or all suffixes were tried."""
    tried = {source.path.suffix.lower() for source in row if source.name in records or source.name in done}
    if any(_has_song(records, source.name) for source in row):
        return None
    return next((source for source in row if source.path.suffix.lower() not in tried), None)


def _settle(
    row: list[Source], records: dict[str, SourceRecord], failures: dict[str, LeftOut], left_out: list[LeftOut]
) -> None:
    """Report every file that has the same bytes as another one."""
    leader = next((source for source in row if _has_song(records, source.name)), None)
    for source in row:
        if source == leader:
            continue
        if leader is not None:
            records.pop(source.name, None)
            failures.pop(source.name, None)
            left_out.append(LeftOut(source=source.name, reason="duplicate", detail=f"same as {leader.name}"))
        elif source.name not in records and source.name not in failures:
            twin = next(
                other
                for other in row
                if other.path.suffix.lower() == source.path.suffix.lower()
                and (other.name in records or other.name in failures)
            )
            entry = failures.get(twin.name) or records[twin.name].left_out
            assert entry is not None
            detail = "; ".join(part for part in (entry.detail, f"the same bytes as {twin.name}") if part)
            left_out.append(LeftOut(source=source.name, reason=entry.reason, detail=detail))


def _prepare_all(
    todo: list[Source],
    records: dict[str, SourceRecord],
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int,
    hashes: _Hashes,
    tell: Callable[[str], object],
) -> list[LeftOut]:
    """Run the workers; adds to `records` and returns what crashed."""
    known = {source.name: _usable_record(source, output, settings) for source in todo}
    if need := disk_need([source.path for source in todo if known[source.name] is None], output, settings):
        tell(need)
    tasks = [
        SongTask(
            path=str(source.path),
            source=source.name,
            output=str(output),
            settings=settings,
            known=known[source.name],
            sha256=hashes.known(source.path),
        )
        for source in todo
    ]
    failures = []
    events = run_tasks(prepare_song, tasks, workers=workers)
    with contextlib.closing(events), Progress([source.size for source in todo]) as progress:
        for event in events:
            in_work = progress.in_work()
            progress.advance(event.index, event.work, is_finished=event.is_finished)
            if not event.is_finished:
                continue
            source = todo[event.index]
            if event.failure:
                if not (output / LOCK_NAME).exists():
                    raise _removed(output)
                seconds = {**in_work, event.index: in_work.get(event.index, 0.0) + event.work}
                _refuse_full_disk(event.failure, todo, seconds, output, settings)
                failures.append(LeftOut(source=source.name, reason="crashed", detail=event.failure))
            else:
                records[source.name] = event.result
    return failures


def _removed(output: Path) -> DatasetError:
    return DatasetError(f"{printable(output)} was removed or replaced while it was being filled. Start again.")


def _refuse_full_disk(
    failure: str, todo: list[Source], seconds: dict[int, float], output: Path, settings: PrepareSettings
) -> None:
    """Raise a DatasetError if a worker could not write; it names the file that was taking most of the room."""
    found = re.search(r"\[Errno (\d+)\]", failure)
    number = int(found[1]) if found else 0
    if number not in _WRITING_FAILED:
        return
    index = max(seconds, key=lambda index: (seconds[index], index))
    made = seconds[index] * settings.sample_rate * settings.channels * 4 / 1e6
    free = shutil.disk_usage(output).free / 1e6
    raise DatasetError(
        f"{DISK_ERRORS[number]}: no room for chunks in {printable(output)} ({free:.0f} MB are free). Most is taken "
        f"by {printable(todo[index].name)}: {made:.0f} MB of chunks so far, of {todo[index].size / 1e6:.3g} MB. "
        "Free some space, take that file away, or use another --output; what is finished is kept."
    )


def _remove_leftovers(output: Path, manifest: PreparedManifest, present: list[str], crashed: set[str]) -> None:
    """Remove chunks of old settings and of sources that are gone.

    What --max-files leaves aside may stay; so may what was made of a file that could not be read this time.
    """
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    wanted = {song.folder for song in manifest.songs}
    for source in set(present) - {song.source for song in manifest.songs}:
        record = read_record(output, source)
        if record is None or record.song is None:
            continue
        if source in crashed or record.settings_key == settings_key(manifest.settings):
            wanted.add(record.song.folder)
    for folder in output.iterdir():
        if folder.is_symlink() or not folder.is_dir() or folder.name in wanted:
            continue
        if (folder / FINGERPRINT_NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    records = {record_path(output, source).name for source in present}
    clear_leftovers(output / RECORDS_FOLDER)
    for path in (output / RECORDS_FOLDER).glob("*"):
        if path.name not in records and _RECORD_NAME.fullmatch(path.name):
            path.unlink(missing_ok=True)


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
                f"{printable(output)} keeps them. Mend or replace the files, or name another folder."
            )
        print(f"Next: {command('dataset', '--input', output)}")

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
