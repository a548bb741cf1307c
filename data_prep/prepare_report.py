"""What a preparation reports: progress while it runs, a row for every file when it ends."""

import csv
import dataclasses
import io
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from data_prep.disk_need import music_time
from piano.foundation.dataset_format import PreparedManifest
from piano.foundation.made_files import write_bytes, write_json
from piano.foundation.screen_text import counted, csv_cell, printable, wrapped

REPORT_JSON = "report.json"
REPORT_CSV = "report.csv"
REASONS = {
    "unreadable": "no sound could be decoded",
    "too_short": "shorter than --min-seconds",
    "silent": "digital silence, or channels that cancel out in the mix",
    "duplicate": "the same bytes as another file",
    "empty": "no bytes",
    "needs_ffmpeg": "a format that needs ffmpeg",
    "crashed": "the decoder crashed, hung or failed, or the disk did; the next run tries again",
    "hidden": "a hidden file or folder",
    "not_audio": "by its suffix no kind of file that is read as music",
    "unknown_format": "a kind of sound that is not read",
    "not_a_file": "a broken link, a pipe or a device",
    "no_permission": "may not be read",
}
"""Every reason code for a file that gave no song."""
_LISTED_PER_REASON = 100
_COLUMNS = ("source", "outcome", "reason", "detail", "seconds", "loudness_db", "silence_share", "group")


class Outcome(NamedTuple):
    """What a run did and what there is now."""

    manifest: PreparedManifest
    prepared: int
    """Songs made in this run."""
    kept: int
    """Songs that were there already."""
    gone: tuple[str, ...]
    """Sources of songs that the last manifest had and this one has not."""
    moved: tuple[tuple[str, str], ...]
    """(old name, new name) of songs that lie elsewhere now; nothing was decoded again for them."""
    settings_changed: str
    """What changed since the last run, empty if nothing did."""


class PrepareProgress:
    """A bar over the bytes to read, with the number of songs that are done and how much faster than it plays that goes.

    Bytes of a file still being decoded are guessed from its seconds; the end of the file corrects the guess.
    """

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes
        self._files = counted(len(sizes), "song")
        self._running: dict[int, float] = {}
        self._done_bytes, self._done_seconds, self._done_files = 0, 0.0, 0
        self._seconds, self._started = 0.0, time.monotonic()
        self._bar = tqdm(
            total=sum(sizes),
            desc="preparing",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} ({remaining} left){postfix}",
        )

    def __enter__(self) -> "PrepareProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, index: int, seconds: float, *, is_finished: bool) -> None:
        """Count audio decoded from file `index`."""
        self._running[index] = self._running.get(index, 0.0) + seconds
        self._seconds += seconds
        if is_finished:
            self._done_bytes += self._sizes[index]
            self._done_seconds += self._running.pop(index)
            self._done_files += 1
        speed = self._seconds / max(time.monotonic() - self._started, 1e-3)
        self._bar.set_postfix_str(f"{self._done_files:,} of {self._files}, {speed:.0f}x", refresh=False)
        self._bar.update(max(0, self._read_bytes() - self._bar.n))

    def in_work(self) -> dict[int, float]:
        """Seconds of audio decoded so far from every file that is being decoded, by index."""
        return dict(self._running)

    def _read_bytes(self) -> int:
        bytes_per_second = self._done_bytes / self._done_seconds if self._done_seconds else 16_000.0
        guesses = (min(0.99 * self._sizes[i], s * bytes_per_second) for i, s in self._running.items())
        return self._done_bytes + int(sum(guesses))


def write_reports(output: Path, manifest: PreparedManifest) -> None:
    """Write report.json and report.csv: a row for every file that was seen."""
    rows: list[dict[str, Any]] = [
        {
            "source": song.source,
            "outcome": "prepared",
            "reason": "",
            "detail": "; ".join(song.notes),
            "seconds": song.seconds,
            "loudness_db": song.loudness_db,
            "silence_share": song.silence_share,
            "group": song.group,
        }
        for song in manifest.songs
    ]
    rows += [{"outcome": "left_out", **dataclasses.asdict(entry)} for entry in manifest.left_out]
    rows.sort(key=lambda row: row["source"])
    write_json(output / REPORT_JSON, {"summary": summarise(manifest), "files": rows})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([csv_cell(row.get(column, "")) for column in _COLUMNS] for row in rows)
    write_bytes(output / REPORT_CSV, text.getvalue().encode("utf-8"))


def summarise(manifest: PreparedManifest) -> dict[str, float | int]:
    """The totals of a prepared folder."""
    return {
        "songs": len(manifest.songs),
        "hours": round(sum(song.seconds for song in manifest.songs) / 3600, 4),
        "shards": len({song.shard for song in manifest.songs} - {None}),
        "recordings": len({song.group for song in manifest.songs}),
        "left_out": len(manifest.left_out),
        **{f"left_out_{reason}": count for reason, count in Counter(e.reason for e in manifest.left_out).items()},
    }


def print_outcome(outcome: Outcome, output: Path) -> None:
    """Print what there is, what is odd, what was left out and why."""
    manifest = outcome.manifest
    for song in manifest.songs:
        if song.notes:
            _print(f"remark: {printable(song.source)}: {printable(', '.join(song.notes))}")
        if song.group != song.source:
            _print(f"remark: {printable(song.source)}: the same recording as {printable(song.group)}")
    _print_some([f"moved: {printable(old)} -> {printable(new)}: its sound is kept" for old, new in outcome.moved])
    for source in outcome.gone:
        _print(f"gone: {printable(source)}: no longer in the music, its sound is removed")
    listed: Counter[str] = Counter()
    other = [printable(entry.source) for entry in manifest.left_out if entry.reason == "not_audio"]
    if other:
        more = f" and {len(other) - _LISTED_PER_REASON:,} more" if len(other) > _LISTED_PER_REASON else ""
        names = ", ".join(other[:_LISTED_PER_REASON])
        print(wrapped(f"passed over, no music by {'its' if len(other) == 1 else 'their'} name: {names}{more}"))
    for entry in manifest.left_out:
        if entry.reason == "not_audio":
            continue
        listed[entry.reason] += 1
        if listed[entry.reason] <= _LISTED_PER_REASON:
            detail = printable(entry.detail or REASONS.get(entry.reason, ""))
            _print(f"left out: {printable(entry.source)}: {printable(entry.reason)} ({detail})")
    for reason, count in listed.items():
        if count > _LISTED_PER_REASON:
            _print(f"left out: {count - _LISTED_PER_REASON:,} more, {printable(reason)}; all are in {REPORT_CSV}")
    total = summarise(manifest)
    remarked = sum(bool(song.notes) or song.group != song.source for song in manifest.songs)
    seconds = sum(song.seconds for song in manifest.songs)
    print(
        f"{printable(output)}: {counted(len(manifest.songs), 'song')}, {music_time(seconds)}, "
        f"{counted(int(total['shards']), 'shard')}"
    )
    _print(f"  {outcome.prepared:,} prepared now, {outcome.kept:,} kept from before, {len(outcome.gone):,} gone")
    told = [f"{counted(len(manifest.left_out), 'file')} left out"] * bool(manifest.left_out)
    told += [f"{counted(remarked, 'song')} with remarks"] * bool(remarked)
    if told:
        _print(f"  {' and '.join(told)}: see {REPORT_CSV} there")


def _print_some(lines: list[str]) -> None:
    for line in lines[:_LISTED_PER_REASON]:
        _print(line)
    if len(lines) > _LISTED_PER_REASON:
        print("...")


def _print(line: str) -> None:
    print(wrapped(line))
