"""Refuses to make a data set of too little music, on a full disk, or over one that a run learned from."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from data_prep.dataset_options import DatasetOptions
from data_prep.defaults import Defaults, least_segment_samples, settings_for_segments
from data_prep.pairs import Recordings, join_files
from data_prep.sides import gap_samples
from piano.foundation.dataset_format import (
    DatasetManifest,
    PreparedManifest,
    changed_sides,
    dataset_identity,
    read_manifest,
    recording_sides,
)
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import counted, printable


def refuse_full_disk(output: Path, needed: int) -> None:
    """Raise a DatasetError where so many bytes do not fit on the disk of a folder that may not be there yet."""
    place = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DatasetError(
            f"{printable(output)} needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left. "
            "Free some space, or use another --output."
        )


def refuse_too_little(
    source: PreparedManifest,
    recordings: Recordings,
    prepared: Path,
    output: Path,
    options: DatasetOptions,
    defaults: Defaults,
) -> None:
    """Raise a DatasetError that names ways out which work for this music; see `_ways_out`."""
    if not source.songs:
        raise DatasetError(
            f"{printable(prepared)} holds no song: nothing of {printable(source.music_folder)} could be prepared. Its "
            "report.csv says why of each file. Mend that and prepare again: "
            f"`{command('prepare', 'MUSIC_FOLDER', '--output', prepared)}`."
        )
    groups = {song.group for song in recordings.songs}
    if options.split_inside and len(groups) > 1:
        raise DatasetError(
            f"--split-inside is for one recording; there are {len(groups)}. Leave it out: they are split as wholes."
        )
    if len(groups) >= 2 or (options.split_inside and groups):
        return
    minutes = sum(song.seconds for song in source.songs) / 60
    is_enough = "is" if len(groups) == 1 else "are"
    raise DatasetError(
        f"too little music to split: training and validation need a recording each, of at least "
        f"{2 * options.segment_seconds:g} s (two segments); there {'is' if len(source.songs) == 1 else 'are'} "
        f"{counted(len(source.songs), 'song')} ({minutes:.1f} minutes), of which "
        f"{counted(len(groups), 'different recording')} {is_enough} long enough. "
        f"{_ways_out(source, recordings, prepared, output, options, defaults)}"
    )


def _ways_out(
    source: PreparedManifest,
    recordings: Recordings,
    prepared: Path,
    output: Path,
    options: DatasetOptions,
    defaults: Defaults,
) -> str:
    """One sentence that names what can be done with this music; every way is tried on its lengths first."""
    rate = source.settings.sample_rate
    segment_samples = round(options.segment_seconds * rate)
    words = ["--input", prepared, "--output", output]
    again = [*words, "--segment-seconds", f"{options.segment_seconds:.9g}"]
    ways = []
    needed = 4 * segment_samples + gap_samples(segment_samples, options.segment_seconds)
    if any(song.samples >= needed for song in recordings.songs):
        ways.append(f"hold back the end of the one for validation: `{command('dataset', *again, '--split-inside')}`")
    joined = join_files(source, segment_samples)
    if not options.join_short and len({song.group for song in recordings.songs}) + len(joined) >= 2:
        ways.append(
            f"join the short files of each folder into recordings: `{command('dataset', *again, '--join-short')}`"
        )
    shorter = _shorter_segment(source, least_segment_samples(defaults))
    if shorter and shorter < segment_samples:
        seconds = f"{shorter / rate:.9g}"
        training = command("train", "--dataset", output, *settings_for_segments(defaults, shorter))
        ways.append(
            f"take shorter segments and train with them: `{command('dataset', *words, '--segment-seconds', seconds)}`"
            f", then `{training}`"
        )
    ways.append("add music")
    sentence = ", or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _shorter_segment(source: PreparedManifest, least: int) -> int:
    """Samples of a segment such that 75 % of the recordings (at least two) hold a pair; 0 if there is none."""
    lengths: dict[str, int] = {}
    for song in source.songs:
        lengths[song.group] = max(lengths.get(song.group, 0), song.samples)
    in_order = sorted(lengths.values(), reverse=True)
    if len(in_order) < 2:
        return 0
    usual = in_order[max(1, 3 * len(in_order) // 4 - 1)] // 2
    longest = in_order[1] // 2
    tenth = max(1, source.settings.sample_rate // 10)
    found = max(min(usual, longest), least) if longest >= least else 0
    return found // tenth * tenth if found // tenth * tenth >= least else found


def refuse_to_lose(output: Path, now: DatasetManifest, *, overwrite: bool, tell: Callable[[str], object]) -> None:
    """Refuse to replace a data set that a run may have learned from by one that would make its scores untrue."""
    try:
        before = read_manifest(output)
    except DatasetError:  # none, or none that training could read
        return
    if dataset_identity(before) == dataset_identity(now):
        return
    if before.sha256 is None or now.sha256 is None:
        old, new = (recording_sides(dataclasses.replace(side, sha256=None)) for side in (before, now))
    else:
        old, new = recording_sides(before), recording_sides(now)
    moved = changed_sides(old, new)
    gone, more = len(old.keys() - new.keys()), len(new.keys() - old.keys())
    remedy = "Choose another folder with --output, or replace it with --overwrite."
    if moved and not overwrite:
        raise DatasetError(
            f"in the data set of {printable(output)} {counted(len(moved), 'song')} of {len(old)} would change sides "
            "between training and validation: a run that learned from it would be judged by music that it has heard. "
            f"{remedy}"
        )
    if 2 * gone > len(old) and not overwrite:
        raise DatasetError(
            f"{printable(output)} holds a data set of other music: {gone} of its {counted(len(old), 'song')} would no "
            f"longer be in it. {remedy}"
        )
    changes = [f"{counted(more, 'song')} more"] * bool(more) + [f"{counted(gone, 'song')} fewer"] * bool(gone)
    changes += [f"{counted(len(moved), 'song')} on the other side"] * bool(moved)
    for name in ("sample_rate", "channels", "segment_samples", "seed"):
        if getattr(before, name) != getattr(now, name):
            changes.append(f"{name} {getattr(before, name)} -> {getattr(now, name)}")
    tell(f"replaces the data set of before: {', '.join(changes) or 'the same songs, cut in another way'}.")
