"""From a folder of music to chunks of two minutes, with a report of every file.

    python prepare_dataset.py ~/Music

Stopped at any moment and started again, it goes on where it was; on an unchanged folder it does nothing.
"""

import argparse
import contextlib
import csv
import dataclasses
import errno
import hashlib
import io
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

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
from data_prep.worker_pool import run_tasks
from piano.foundation.audio_io import printable, scan_folder
from piano.foundation.dataset_format import (
    MANIFEST_NAME,
    LeftOut,
    PreparedManifest,
    PrepareSettings,
    SongEntry,
    locked_folder,
    read_prepared_manifest,
    write_bytes,
    write_json,
    write_prepared_manifest,
)
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.fingerprint import find_same_recordings

EXAMPLE = "example:\n  python prepare_dataset.py ~/Music --output prepared --workers 4"
REPORT_NAMES = ("report.json", "report.csv")
REASONS = {
    "unreadable": "no sound could be decoded",
    "too_short": "shorter than --min-seconds",
    "silent": "digital silence, or channels that cancel out in the mix",
    "duplicate": "the same bytes as another file",
    "empty": "no bytes",
    "needs_ffmpeg": "a format that needs ffmpeg",
    "crashed": "the decoder crashed, hung or failed; the next run tries again",
    "hidden": "a hidden file",
    "not_audio": "no suffix of a sound file",
    "not_a_file": "a broken link, a pipe or a device",
    "no_permission": "may not be read",
}
_LISTED_PER_REASON = 100


class Source(NamedTuple):
    """A music file as it lies on disk."""

    name: str
    """Path inside the music folder, with forward slashes."""
    path: Path
    size: int
    mtime_ns: int


class Outcome(NamedTuple):
    """What a run did and what there is now."""

    manifest: PreparedManifest
    prepared: int
    """Songs made in this run."""
    kept: int
    """Songs that were there already."""
    dropped: int
    """Songs whose source is gone."""
    settings_changed: str
    """What changed since the last run, empty if nothing did."""


def default_audio_settings() -> tuple[int, int]:
    """(sample rate, channels) of the model in config.yaml; 16000 and 1 where there is no config.yaml."""
    from piano.config_reader import find_config, load_config_from_yaml
    from piano.foundation.errors import ConfigError

    try:
        found = find_config()
    except ConfigError:
        return 16_000, 1
    model = load_config_from_yaml(found).model
    return model.sample_rate, model.sound_channels


def prepare_folder(
    music: Path,
    output: Path,
    settings: PrepareSettings,
    *,
    workers: int = 1,
    max_files: int | None = None,
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

    Returns
    -------
    Outcome

    Raises
    ------
    DatasetError
        If another run works there, the folder belongs to other music, or the disk is full.
    """
    with locked_folder(output):
        shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
        before = _read_previous(output)
        scan = scan_folder(music, skip=output)
        sources, left_out = _look_at(scan.audio[:max_files], music)
        left_out += [LeftOut(source=_name(path, music), reason=reason) for path, reason in scan.left_out]
        if before is not None:
            _refuse_other_music(before, sources, music, output)
        records = _valid_records(sources, output, settings)
        duplicates = _find_duplicates(sources, records)
        todo = [source for source in sources if source.name not in records and source.name not in duplicates]
        failures = _prepare_all(todo, records, output, settings, workers=workers)
        left_out += [
            LeftOut(source=n, reason="duplicate", detail=f"same as {first}")
            for n, first in duplicates.items()
        ]
        left_out += [record.left_out for record in records.values() if record.left_out is not None]
        left_out += failures
        songs = [record.song for name, record in sorted(records.items()) if record.song is not None]
        manifest = PreparedManifest(
            settings=settings,
            music_folder=str(music.resolve()),
            songs=tuple(_with_groups(songs, output)),
            left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
        )
        old_names = {song.source for song in before.songs} if before else set()
        outcome = Outcome(
            manifest=manifest,
            prepared=sum(1 for source in todo if source.name in records and records[source.name].song),
            kept=sum(1 for song in songs if song.source not in {source.name for source in todo}),
            dropped=len(old_names - {song.source for song in songs}),
            settings_changed=_changes(before.settings, settings) if before else "",
        )
        if manifest != before:
            write_prepared_manifest(output, manifest)
            write_reports(output, manifest)
        _remove_leftovers(output, manifest, sources)
        return outcome


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
        record = read_record(output, source.name)
        if (
            record is not None
            and record.settings_key == settings_key(settings)
            and (record.size, record.mtime_ns) == (source.size, source.mtime_ns)
            and _is_in_place(record, output)
        ):
            records[source.name] = record
    return records


def _is_in_place(record: SourceRecord, output: Path) -> bool:
    if record.song is None:
        return (
            record.left_out is None or record.left_out.reason != "needs_ffmpeg"
        )  # it may be installed by now
    return all((output / record.song.folder / chunk.file).is_file() for chunk in record.song.chunks)


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
            known=read_record(output, source.name),
        )
        for source in todo
    ]
    failures = []
    with (
        contextlib.closing(run_tasks(prepare_song, tasks, workers=workers)) as events,
        _Progress(todo) as progress,
    ):
        for event in events:
            progress.advance(event.work)
            if not event.is_finished:
                continue
            source = todo[event.index]
            progress.finish_file(source.size)
            if event.failure:
                if os.strerror(errno.ENOSPC) in event.failure:
                    raise DatasetError(f"the disk is full: no room for chunks in {printable(output)}.")
                failures.append(LeftOut(source=source.name, reason="crashed", detail=event.failure))
            else:
                records[source.name] = event.result
    return failures


class _Progress:
    """A bar over the bytes to read, with the hours of audio decoded per minute."""

    def __init__(self, todo: list[Source]) -> None:
        self._started = time.monotonic()
        self._seconds = 0.0
        self._files = 0
        self._count = len(todo)
        self._bar = tqdm(
            total=sum(source.size for source in todo),
            unit="B",
            unit_scale=True,
            desc="preparing",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} (ETA {remaining}) {postfix}",
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, seconds: float) -> None:
        self._seconds += seconds
        minutes = (time.monotonic() - self._started) / 60
        rate = self._seconds / 3600 / max(minutes, 1e-9)
        text = f"{self._files}/{self._count} files, {self._seconds / 3600:.2f} h of audio, {rate:.1f} h/min"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(0)

    def finish_file(self, size: int) -> None:
        self._files += 1
        self._bar.update(size)


def _with_groups(songs: list[SongEntry], output: Path) -> Iterator[SongEntry]:
    """The songs, each with the name of the first song of the same recording as its group."""
    fingerprints = [np.load(output / song.folder / FINGERPRINT_NAME) for song in songs]
    for song, leader in zip(songs, find_same_recordings(fingerprints), strict=True):
        yield dataclasses.replace(song, group=songs[leader].source)


def _remove_leftovers(output: Path, manifest: PreparedManifest, sources: list[Source]) -> None:
    """Remove what nothing in the manifest needs any more: chunks of old settings or of sources that are gone."""
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    wanted = {song.folder for song in manifest.songs}
    for folder in output.iterdir():
        if folder.is_dir() and folder.name not in wanted and (folder / FINGERPRINT_NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    records = {record_path(output, source.name).name for source in sources}
    if (output / RECORDS_FOLDER).is_dir():
        for path in (output / RECORDS_FOLDER).iterdir():
            if path.name not in records:
                path.unlink(missing_ok=True)


def write_reports(output: Path, manifest: PreparedManifest) -> None:
    """Write report.json and report.csv: a row for every file that was seen."""
    fields = (
        "source",
        "outcome",
        "reason",
        "detail",
        "seconds",
        "chunks",
        "loudness_db",
        "silence_share",
        "group",
    )
    rows = [
        {
            "source": song.source,
            "outcome": "prepared",
            "reason": "",
            "detail": "; ".join(song.notes),
            "seconds": song.seconds,
            "chunks": len(song.chunks),
            "loudness_db": song.loudness_db,
            "silence_share": song.silence_share,
            "group": song.group,
        }
        for song in manifest.songs
    ]
    rows += [{"outcome": "left_out", **dataclasses.asdict(entry)} for entry in manifest.left_out]
    rows.sort(key=lambda row: row["source"])
    write_json(output / REPORT_NAMES[0], {"summary": _summary(manifest), "files": rows})
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: printable(value) for key, value in row.items()} for row in rows)
    write_bytes(output / REPORT_NAMES[1], text.getvalue().encode("utf-8"))


def _summary(manifest: PreparedManifest) -> dict[str, float | int]:
    return {
        "songs": len(manifest.songs),
        "hours": round(sum(song.seconds for song in manifest.songs) / 3600, 4),
        "chunks": sum(len(song.chunks) for song in manifest.songs),
        "recordings": len({song.group for song in manifest.songs}),
        "left_out": len(manifest.left_out),
        **{
            f"left_out_{reason}": count
            for reason, count in Counter(e.reason for e in manifest.left_out).items()
        },
    }


def print_summary(outcome: Outcome, output: Path) -> None:
    """Tell on the screen what there is, what is odd and what was left out."""
    manifest = outcome.manifest
    for song in manifest.songs:
        if song.notes:
            print(f"note: {printable(song.source)}: {', '.join(song.notes)}")
        if song.group != song.source:
            print(f"note: {printable(song.source)}: the same recording as {printable(song.group)}")
    listed: Counter[str] = Counter()
    for entry in manifest.left_out:
        listed[entry.reason] += 1
        if listed[entry.reason] <= _LISTED_PER_REASON:
            detail = printable(entry.detail or REASONS[entry.reason])
            print(f"left out: {printable(entry.source)}: {entry.reason} ({detail})")
    for reason, count in listed.items():
        if count > _LISTED_PER_REASON:
            print(f"left out: {count - _LISTED_PER_REASON} more, {reason}; all are in {REPORT_NAMES[1]}")
    summary = _summary(manifest)
    print(
        f"{printable(output)}: {summary['songs']} songs, {summary['hours']:.2f} hours, {summary['chunks']} chunks; "
        f"{outcome.prepared} prepared now, {outcome.kept} kept, {outcome.dropped} gone, "
        f"{summary['left_out']} files left out."
    )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Cut a folder of music into exact chunks.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="music: MP3, WAV, FLAC, OGG, Opus, M4A ..., in any folders")
    add = parser.add_argument
    add("--output", type=Path, default=Path("prepared"), help="folder for the chunks (default: %(default)s)")
    add("--sample-rate", type=int, help="of the chunks, in Hz (default: the model's in config.yaml)")
    add("--channels", type=int, choices=(1, 2), help="mono or stereo (default: the model's in config.yaml)")
    add("--chunk-seconds", type=float, default=120.0, help="length of a chunk (default: %(default)g)")
    add("--min-seconds", type=float, default=1.0, help="shorter songs are left out (default: %(default)g)")
    add("--workers", type=int, default=_core_count(), help="processes (default: the cores, %(default)s)")
    add("--max-files", type=int, help="only the first so many files, to try it out (default: all)")
    return parser.parse_args(argv)


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(options: argparse.Namespace) -> PrepareSettings:
    sample_rate, channels = options.sample_rate, options.channels
    if sample_rate is None or channels is None:
        default_rate, default_channels = default_audio_settings()
        sample_rate, channels = sample_rate or default_rate, channels or default_channels
    if not 1000 <= sample_rate <= 384_000:
        raise DatasetError(f"--sample-rate must be between 1000 and 384000, got {sample_rate}.")
    if options.workers < 1 or (options.max_files is not None and options.max_files < 1):
        raise DatasetError("--workers and --max-files must be at least 1.")
    if not 0.1 <= options.chunk_seconds <= 3600 or options.min_seconds < 0:
        raise DatasetError("--chunk-seconds must be between 0.1 and 3600, --min-seconds not negative.")
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
        settings = _settings(options)
        outcome = prepare_folder(
            options.folder, options.output, settings, workers=options.workers, max_files=options.max_files
        )
        if outcome.settings_changed:
            print(f"settings changed ({outcome.settings_changed}): everything was prepared again.")
        print_summary(outcome, options.output)
        if not outcome.manifest.songs:
            raise DatasetError(
                f"no usable music in {printable(options.folder)}: not one chunk could be made."
            )

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name must not stop the run on an old terminal
    return run_command(body)


if __name__ == "__main__":
    raise SystemExit(main())
