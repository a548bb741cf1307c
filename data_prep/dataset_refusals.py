"""Refuses to make a data set of too little music, on a full disk, or over one that a run learned from."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from data_prep.dataset_options import DatasetOptions
from data_prep.defaults import Defaults, least_segment_samples, settings_for_segments
from data_prep.little_music import Plan, missing_samples, plan_split
from data_prep.pairs import gather_recordings
from piano.foundation.dataset_format import (
    DatasetManifest,
    PreparedManifest,
    dataset_identity,
    read_manifest,
)
from piano.foundation.dataset_identity import changed_sides, recording_sides
from piano.foundation.doors import command
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import counted, printable

STEP_DOWN = 0.9
"""From one length of a segment to the next shorter one that is tried."""


def refuse_full_disk(output: Path, needed: int) -> None:
    """Raise a DatasetError where so many bytes do not fit on the disk of a folder that may not be there yet."""
    place = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DatasetError(
            f"{printable(output)} needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left. "
            "Free some space, or use another --output."
        )


def plan_or_refuse(
    source: PreparedManifest,
    segment_samples: int,
    prepared: Path,
    output: Path,
    options: DatasetOptions,
    defaults: Defaults,
    *,
    is_silent: bool = False,
) -> Plan:
    """How the data set is made; raises a DatasetError that names ways out which work for this music.

    Parameters
    ----------
    segment_samples : int
        Half a pair.
    prepared, output : Path
        For the commands of the advice.
    is_silent : bool
        Whether songs are no longer in `source` because they are silent.
    """
    if not source.songs and is_silent:
        pair = 2 * options.segment_seconds
        raise DatasetError(
            f"too little music: what is long enough in {printable(prepared)} is silent from end to end. Two recordings "
            f"of at least {pair:g} s are missing: add music."
        )
    if not source.songs:
        raise DatasetError(
            f"{printable(prepared)} holds no song: nothing of {printable(source.music_folder)} could be prepared. Its "
            "report.csv says why of each file. Mend that and prepare again: "
            f"`{command('prepare', 'MUSIC_FOLDER', '--output', prepared)}`."
        )
    recordings = gather_recordings(source, segment_samples, join_short=options.join_short)
    groups = {song.group for song in recordings.songs}
    if options.split_inside and len(groups) > 1:
        raise DatasetError(
            f"--split-inside is for one recording; there are {len(groups)}. Leave it out: they are split as wholes."
        )
    if plan := plan_split(source, segment_samples, options):
        return plan
    minutes = sum(song.seconds for song in source.songs) / 60
    rate = source.settings.sample_rate
    needed, missing = (samples / rate for samples in missing_samples(source, segment_samples, options))
    there, enough = ("is" if count == 1 else "are" for count in (len(source.songs), len(groups)))
    ways = _ways_out(source, segment_samples, prepared, output, options, defaults)
    raise DatasetError(
        f"too little music to split: it takes two different recordings of at least {2 * options.segment_seconds:g} s "
        f"(two segments), or one of {needed:.9g} s, whose end is held back; there {there} "
        f"{counted(len(source.songs), 'song')} ({minutes:.1f} minutes), of which "
        f"{counted(len(groups), 'different recording')} {enough} long enough. "
        f"{missing:.9g} s are missing for one. {ways}"
    )


def _ways_out(
    source: PreparedManifest,
    segment_samples: int,
    prepared: Path,
    output: Path,
    options: DatasetOptions,
    defaults: Defaults,
) -> str:
    """One sentence that names what can be done with this music; every way is tried on its lengths first."""
    usual = DatasetOptions()
    words: list[object] = ["--input", prepared, "--output", output]
    if options.validation_fraction != usual.validation_fraction:
        words += ["--validation-fraction", f"{options.validation_fraction:.9g}"]
    if options.seed != usual.seed:
        words += ["--seed", options.seed]
    free = options._replace(split_inside=False, join_short=False)
    ways = []
    if free != options and plan_split(source, segment_samples, free):
        again = command("dataset", *words, "--segment-seconds", f"{options.segment_seconds:.9g}")
        names = [
            name
            for name, value in (("--split-inside", options.split_inside), ("--join-short", options.join_short))
            if value
        ]
        ways.append(f"leave out {' and '.join(names)}: `{again}`")
    if shorter := _shorter_segment(source, least_segment_samples(defaults), segment_samples, free):
        seconds = f"{shorter / source.settings.sample_rate:.9g}"
        training = command("train", "--dataset", output, *settings_for_segments(defaults, shorter))
        ways.append(
            f"take shorter segments and train with them: `{command('dataset', *words, '--segment-seconds', seconds)}`"
            f", then `{training}`"
        )
    ways.append("add music")
    sentence = ", or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _shorter_segment(source: PreparedManifest, least: int, segment_samples: int, options: DatasetOptions) -> int:
    """Samples of a shorter segment with which a data set can be made; 0 if there is none.

    The first choice leaves a pair in 75 % of the recordings (at least two); then ever shorter ones are tried.
    """
    rate = source.settings.sample_rate
    tenth = max(1, rate // 10)
    lengths: dict[str, int] = {}
    for song in source.songs:
        lengths[song.group] = max(lengths.get(song.group, 0), song.samples)
    in_order = sorted(lengths.values(), reverse=True)
    tries = []
    if len(in_order) >= 2 and in_order[1] // 2 >= least:
        tries.append(max(min(in_order[max(1, 3 * len(in_order) // 4 - 1)], in_order[1]) // 2, least))
    shorter = segment_samples
    while shorter > least:
        shorter = max(min(shorter - 1, round(STEP_DOWN * shorter)), least)
        tries.append(shorter)
    for wanted in tries:
        samples = wanted // tenth * tenth if wanted // tenth * tenth >= least else wanted
        if samples < segment_samples and plan_split(source, samples, options._replace(segment_seconds=samples / rate)):
            return samples
    return 0


def refuse_other_form(output: Path, form: str, *, overwrite: bool) -> None:
    """Raise a DatasetError where a data set is there in the other form: somebody wanted it so, and may be using it."""
    try:
        is_shards = bool(read_manifest(output).shards)
    except DatasetError:
        return
    if is_shards != (form == "shards") and not overwrite:
        there, other = ("shards", "npy") if is_shards else ("npy", "shards")
        raise DatasetError(
            f"the data set of {printable(output)} is in the form `--format {there}`, which one in the form {other} "
            f"would replace. Say --format {there} to make it again as it is, choose another folder with --output, or "
            "replace it with --overwrite."
        )


def refuse_to_lose(output: Path, now: DatasetManifest, *, overwrite: bool, tell: Callable[[str], object]) -> None:
    """Refuse to replace a data set that a run may have learned from by one that would make its scores untrue."""
    try:
        before = read_manifest(output)
    except DatasetError:  # none, or none that training could read
        return
    identity = dataset_identity(now)
    try:
        if dataset_identity(before) == identity:
            return
    except DatasetError:  # its pairs are missing or damaged: this run mends them, if every song keeps its side
        pass
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
