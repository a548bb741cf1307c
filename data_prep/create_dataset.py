"""From prepared songs to pairs of neighbouring segments, split by recording into training and validation.

python create_dataset.py
"""

import argparse
import contextlib
import dataclasses
import hashlib
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep.defaults import Defaults, add_config_options, least_segment_samples, load_defaults, settings_for_segments
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.dataset_format import (
    SPLITS,
    ChunkReader,
    DatasetManifest,
    PreparedManifest,
    SongEntry,
    changed_sides,
    dataset_identity,
    manifest_path,
    read_manifest,
    read_prepared_manifest,
    recording_sides,
    refuse_to_write_over,
    set_path,
    write_manifest,
)
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.folder_lock import locked_folder, reading_folder
from piano.foundation.made_files import unfinished
from piano.foundation.screen_text import (
    CommandParser,
    command_lines,
    counted,
    printable,
    tolerate_old_terminals,
    wrapped,
)

EXAMPLE = "example:\n  {musigan dataset} --input prepared --validation-fraction 0.1"

SILENCE_PEAK = 10 ** (-66 / 20)
"""A segment without a sample above this is silent; songs are levelled to -18 dB."""
SILENT_SHARE = 0.02
"""Silent pairs of a song that stay, as a share of those that sound: a little silence is music too."""
JOINED_SECONDS = 60.0
"""Short files are joined into recordings of about this length, or into about ten in all if they are few."""
GAP_SECONDS = 10.0
"""The least gap between the training part and the validation part of one recording."""
_LISTED = 100
_SEEDS_TRIED = 50


class Pair(NamedTuple):
    """Two neighbouring segments of a song."""

    song: SongEntry
    start_sample: int
    """Of the first one, in the song."""


class Recordings(NamedTuple):
    """What pairs can be cut from."""

    songs: list[SongEntry]
    """At least a pair long; a joined one stands for several files."""
    parts: dict[str, tuple[SongEntry, ...]]
    """The files of the joined ones, by source."""
    too_short: tuple[str, ...]


class DatasetOptions(NamedTuple):
    """How a data set is to be made."""

    segment_seconds: float = 10.0
    """Length of half a pair."""
    validation_fraction: float = 0.1
    """Part of the pairs kept from training, as near as whole recordings allow; both splits get at least one."""
    seed: int = 0
    """Chooses the split and the order."""
    split_inside: bool = False
    """Of one recording: its end is the validation music."""
    join_short: bool = False
    """Files shorter than a pair are put one after the other, folder by folder."""
    overwrite: bool = False
    """Replace a data set even if songs change sides or disappear."""


def create_dataset(
    prepared: Path,
    output: Path,
    *,
    segment_seconds: float = 10.0,
    validation_fraction: float = 0.1,
    seed: int = 0,
    split_inside: bool = False,
    join_short: bool = False,
    overwrite: bool = False,
    defaults: Defaults | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> DatasetManifest:
    """Write the pairs of all prepared songs, scrambled, and the manifest.

    Parameters
    ----------
    prepared : Path
        Folder made by prepare_dataset.
    output : Path
        Folder for training_set.npy and validation_set.npy, of shape (pairs, 2, channels, samples).
    segment_seconds, validation_fraction, seed, split_inside, join_short, overwrite
        See `DatasetOptions`.
    defaults : Defaults, optional
        What the model needs, for the advice in errors; None: those of the settings file that is found.
    tell : callable
        Gets a line on what is replaced.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    DatasetError
        If there is too little music to split, no room on the disk, or other work in the folder.
    """
    options = DatasetOptions(segment_seconds, validation_fraction, seed, split_inside, join_short, overwrite)
    refuse_to_write_over(output, "data set")
    with reading_folder(prepared):
        source = read_prepared_manifest(prepared)
        settings = source.settings
        segment_samples = round(segment_seconds * settings.sample_rate)
        if segment_samples not in bounds.SEGMENT_SAMPLES:
            least, most = (end / settings.sample_rate for end in bounds.SEGMENT_SAMPLES[:2])
            raise DatasetError(
                f"--segment-seconds must be from {least:.3g} to {most:,.0f} at {settings.sample_rate} Hz, "
                f"got {segment_seconds:g}."
            )
        recordings = gather_recordings(source, segment_samples, join_short=join_short)
        _refuse_too_little(source, recordings, prepared, output, options, defaults or load_defaults(None, None))
        with ChunkReader(prepared, settings.channels, source) as reader:
            for song in source.songs:
                reader.check(song)
            upper = sum(song.samples // segment_samples - 1 for song in recordings.songs)
            pair_bytes = 2 * settings.channels * segment_samples * 4
            _refuse_full_disk(output, upper * pair_bytes // 4)  # before a list is made of what files claim
            cut = {song.source: _cut_pairs(reader, song, recordings, segment_samples) for song in recordings.songs}
            silent_pairs = sum(song.samples // segment_samples - 1 - len(cut[song.source]) for song in recordings.songs)
            songs, groups, pairs = _divide(recordings, cut, segment_samples, options)
            manifest = DatasetManifest(
                sample_rate=settings.sample_rate,
                channels=settings.channels,
                segment_samples=segment_samples,
                seed=seed,
                validation_fraction=validation_fraction,
                pairs={split: len(pairs[split]) for split in SPLITS},
                songs={split: tuple(song.source for song in songs[split]) for split in SPLITS},
                groups={split: tuple(sorted(groups[split])) for split in SPLITS},
                pair_songs={split: _song_of_each(pairs[split], songs[split]) for split in SPLITS},
                song_groups={
                    split: tuple(sorted(groups[split]).index(song.group) for song in songs[split]) for split in SPLITS
                },
                pair_starts={
                    split: tuple(pair.start_sample for _, pair in sorted(pairs[split], key=lambda placed: placed[0]))
                    for split in SPLITS
                },
                sha256={split: tuple(song.sha256 for song in songs[split]) for split in SPLITS},
                too_short=recordings.too_short,
                prepared_folder=str(prepared.resolve()),
                silent_pairs=silent_pairs,
                is_split_inside=split_inside,
                joined={name: tuple(part.source for part in parts) for name, parts in sorted(recordings.parts.items())},
            )
            with locked_folder(output):
                _refuse_to_lose(output, manifest, overwrite=overwrite, tell=tell)
                _write(output, manifest, pairs, recordings, reader)
    return manifest


def gather_recordings(source: PreparedManifest, segment_samples: int, *, join_short: bool) -> Recordings:
    """The songs that are at least a pair long, and with `join_short` short ones of a folder put together."""
    songs = [song for song in source.songs if song.samples >= 2 * segment_samples]
    parts = join_files(source, segment_samples) if join_short else {}
    songs += [_joined(name, files) for name, files in parts.items()]
    used = {song.source for song in songs} | {part.source for files in parts.values() for part in files}
    too_short = tuple(song.source for song in source.songs if song.source not in used)
    return Recordings(sorted(songs, key=lambda song: song.source) if parts else songs, parts, too_short)


def join_files(source: PreparedManifest, segment_samples: int) -> dict[str, tuple[SongEntry, ...]]:
    """Files that are too short for a pair, gathered folder by folder into recordings that are long enough.

    Of files that are the same recording one is taken, and none that is part of a long song: so no joined recording
    shares music with another one.
    """
    seen = {song.group for song in source.songs if song.samples >= 2 * segment_samples}
    folders: dict[PurePosixPath, list[SongEntry]] = {}
    for song in source.songs:
        if song.samples < 2 * segment_samples and song.group not in seen:
            seen.add(song.group)
            folders.setdefault(PurePosixPath(song.source).parent, []).append(song)
    every = sum(song.samples for songs in folders.values() for song in songs)
    wanted = max(2 * segment_samples, min(round(JOINED_SECONDS * source.settings.sample_rate), every // 10))
    found: dict[str, tuple[SongEntry, ...]] = {}
    for songs in folders.values():
        rows: list[list[SongEntry]] = [[]]
        for song in songs:
            rows[-1].append(song)
            if sum(part.samples for part in rows[-1]) >= wanted:
                rows.append([])
        rest = rows.pop()
        if rows:
            rows[-1] += rest
        elif sum(part.samples for part in rest) >= 2 * segment_samples:
            rows = [rest]
        found |= {f"{row[0].source} and {len(row) - 1} more": tuple(row) for row in rows}
    return found


def _joined(name: str, parts: tuple[SongEntry, ...]) -> SongEntry:
    """One entry that stands for several files, one after the other."""
    samples = sum(part.samples for part in parts)
    return dataclasses.replace(
        parts[0],
        source=name,
        group=name,
        folder="",
        chunks=(),
        samples=samples,
        seconds=round(sum(part.seconds for part in parts), 3),
        silence_share=sum(part.silence_share * part.samples for part in parts) / samples,
        sha256=hashlib.sha256("\n".join(part.sha256 for part in parts).encode()).hexdigest(),
    )


def read_run(
    reader: ChunkReader, song: SongEntry, start: int, stop: int, parts: dict[str, tuple[SongEntry, ...]] | None = None
) -> np.ndarray:
    """Samples [start, stop) of a song, or of several files one after the other.

    Returns
    -------
    np.ndarray [shape=(channels, stop - start)]
        float32
    """
    files = (parts or {}).get(song.source)
    if files is None:
        return reader.read(song, start, stop)
    pieces, begin = [], 0
    for file in files:
        first, last = max(start - begin, 0), min(stop - begin, file.samples)
        if first < last:
            pieces.append(reader.read(file, first, last))
        begin += file.samples
    return np.concatenate(pieces, axis=1)


def _cut_pairs(reader: ChunkReader, song: SongEntry, recordings: Recordings, segment_samples: int) -> list[Pair]:
    """The pairs of a song, without those that are silent from end to end beyond a small share."""
    pairs = [Pair(song, index * segment_samples) for index in range(song.samples // segment_samples - 1)]
    if song.silence_share * song.samples < 1.8 * segment_samples:  # nowhere a pair's length of silence
        return pairs
    is_silent = [
        np.abs(read_run(reader, song, start, start + segment_samples, recordings.parts)).max() < SILENCE_PEAK
        for start in range(0, song.samples - segment_samples + 1, segment_samples)
    ]
    silent = [index for index in range(len(pairs)) if is_silent[index] and is_silent[index + 1]]
    allowed = int(SILENT_SHARE * (len(pairs) - len(silent)))
    dropped = set(silent[allowed:])
    return [pair for index, pair in enumerate(pairs) if index not in dropped]


class _Divided(NamedTuple):
    """Which songs train and which validate."""

    songs: dict[str, list[SongEntry]]
    groups: dict[str, set[str]]
    pairs: dict[str, list[tuple[int, Pair]]]
    """Every pair with its place in the array."""


def _divide(
    recordings: Recordings, cut: dict[str, list[Pair]], segment_samples: int, options: DatasetOptions
) -> _Divided:
    """Choose sides and an order."""
    random = np.random.default_rng([options.seed, 1])
    if options.split_inside:
        song = max(recordings.songs, key=lambda song: (song.samples, song.source))
        sides = split_inside(cut[song.source], segment_samples, song, options)
        pairs = {split: _scramble(sides[split], random) for split in SPLITS}
        return _Divided({split: [song] for split in SPLITS}, {split: {song.group} for split in SPLITS}, pairs)
    usable = [song for song in recordings.songs if cut[song.source]]
    # Silence that is not written must not count when sides are weighed.
    weighed = [dataclasses.replace(song, samples=(len(cut[song.source]) + 1) * segment_samples) for song in usable]
    groups = split_groups(weighed, segment_samples, validation_fraction=options.validation_fraction, seed=options.seed)
    songs = {split: [song for song in usable if song.group in groups[split]] for split in SPLITS}
    pairs = {split: _scramble([pair for song in songs[split] for pair in cut[song.source]], random) for split in SPLITS}
    return _Divided(songs, groups, pairs)


def split_inside(
    pairs: list[Pair], segment_samples: int, song: SongEntry, options: DatasetOptions
) -> dict[str, list[Pair]]:
    """The beginning of one recording for training, its end for validation, and between them a gap that neither has."""
    held_back = max(1, round(options.validation_fraction * len(pairs)))
    validation = pairs[-held_back:]
    gap = gap_samples(segment_samples, options.segment_seconds)
    last_start = validation[0].start_sample - gap - 2 * segment_samples
    training = [pair for pair in pairs[:-held_back] if pair.start_sample <= last_start]
    if not training:
        raise DatasetError(
            f"{printable(song.source)} is too short to hold back its end: after a gap of "
            f"{gap / segment_samples * options.segment_seconds:g} s nothing is left to learn from. Add music."
        )
    return {"training": training, "validation": validation}


def gap_samples(segment_samples: int, segment_seconds: float) -> int:
    """Between the two parts of one recording: whole segments, at least one and at least GAP_SECONDS."""
    return segment_samples * max(1, math.ceil(GAP_SECONDS / segment_seconds))


def split_groups(
    songs: list[SongEntry], segment_samples: int, *, validation_fraction: float, seed: int
) -> dict[str, set[str]]:
    """Choose the recordings that are kept from training.

    Groups are drawn in random order while they bring the share of pairs nearer to the fraction. Where each alone is
    too much, one is drawn of those that are at most twice as long as the shortest.

    Returns
    -------
    dict of str to set of str
        Group names by split; both hold at least one where there are at least two.
    """
    sizes: dict[str, int] = {}
    for song in songs:
        sizes[song.group] = sizes.get(song.group, 0) + song.samples // segment_samples - 1
    return _draw(sizes, validation_fraction, seed)


def _draw(sizes: dict[str, int], validation_fraction: float, seed: int) -> dict[str, set[str]]:
    """The sides of recordings whose numbers of pairs are known; see `split_groups`."""
    names = sorted(sizes)
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    wanted = validation_fraction * sum(sizes.values())
    chosen: set[str] = set()
    count = 0
    for name in (names[index] for index in order):
        if len(chosen) < len(names) - 1 and abs(count + sizes[name] - wanted) < abs(count - wanted):
            chosen.add(name)
            count += sizes[name]
    if not chosen and len(names) > 1:
        enough = 2 * min(sizes.values())  # a recording of usual length, and not one of hours, if all are long
        chosen = {next(names[index] for index in order if sizes[names[index]] <= enough)}
    return {"training": set(names) - chosen, "validation": chosen}


def _scramble(pairs: list[Pair], random: np.random.Generator) -> list[tuple[int, Pair]]:
    """Every pair with its place; kept in the order of the songs, in which reading is quick."""
    return list(zip(map(int, random.permutation(len(pairs))), pairs, strict=True))


def _song_of_each(pairs: list[tuple[int, Pair]], songs: list[SongEntry]) -> tuple[int, ...]:
    """Place in `songs` of every pair's song, in the order in which the pairs are written."""
    places = {song.source: index for index, song in enumerate(songs)}
    return tuple(places[pair.song.source] for _, pair in sorted(pairs, key=lambda placed: placed[0]))


def _refuse_full_disk(output: Path, needed: int) -> None:
    place = next(folder for folder in (output.resolve(), *output.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DatasetError(
            f"{printable(output)} needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left. "
            "Free some space, or use another --output."
        )


def _refuse_too_little(
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


def _refuse_to_lose(output: Path, now: DatasetManifest, *, overwrite: bool, tell: Callable[[str], object]) -> None:
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


def _write(
    output: Path,
    manifest: DatasetManifest,
    pairs: dict[str, list[tuple[int, Pair]]],
    recordings: Recordings,
    reader: ChunkReader,
) -> None:
    """Both arrays under temporary names, then their names, then the manifest."""
    pair_bytes = 2 * manifest.channels * manifest.segment_samples * 4
    _refuse_full_disk(output, sum(map(len, pairs.values())) * pair_bytes)
    with contextlib.ExitStack() as stack:
        written = {split: stack.enter_context(unfinished(set_path(output, split))) for split in SPLITS}
        for split in SPLITS:
            try:
                _write_pairs(written[split], manifest, split, pairs[split], recordings, reader)
            except OSError as error:
                raise DatasetError(
                    f"cannot write {printable(set_path(output, split))}: {error.strerror or error}. It needs "
                    f"{len(pairs[split]) * pair_bytes / 1e9:.2f} GB; free some space, or use another --output."
                ) from None
        manifest_path(output).unlink(missing_ok=True)  # from here to the end there is no data set, rather than half
        for split, path in written.items():
            os.replace(path, set_path(output, split))
        write_manifest(output, manifest)


def _write_pairs(
    path: Path,
    manifest: DatasetManifest,
    split: str,
    pairs: list[tuple[int, Pair]],
    recordings: Recordings,
    reader: ChunkReader,
) -> None:
    """Fill a .npy file with plain writes: on a full disk a mapped one would end the process without a word."""
    channels, segment_samples = manifest.channels, manifest.segment_samples
    shape = (len(pairs), 2, channels, segment_samples)
    pair_bytes = 2 * channels * segment_samples * 4
    with (
        open(path, "r+b") as stream,
        tqdm(
            total=len(pairs),
            desc=f"{split} pairs",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} ({remaining} left), {n_fmt} of {total_fmt}",
        ) as bar,
    ):
        first_byte = _write_header(stream, shape)
        for place, pair in pairs:
            run = read_run(
                reader, pair.song, pair.start_sample, pair.start_sample + 2 * segment_samples, recordings.parts
            )
            stream.seek(first_byte + place * pair_bytes)
            stream.write(np.ascontiguousarray(run.reshape(channels, 2, segment_samples).swapaxes(0, 1)).data)
            bar.update()
        stream.flush()
        os.fsync(stream.fileno())


def _write_header(stream: BinaryIO, shape: tuple[int, ...]) -> int:
    """The header of a .npy file of float32; returns its length."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.tell()


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("dataset"),
        description="Cut prepared songs into pairs of neighbouring segments, split by recording.",
        epilog=fill(EXAMPLE),
    )
    add = parser.add_argument
    add("--input", type=Path, help="a prepared folder (default: the config's prepared_folder)")
    add("--output", type=Path, help="folder for the pairs (default: the config's dataset_folder)")
    add("--segment-seconds", type=kinds.seconds, help="half a pair (default: the model's in the config, 10 for tiny)")
    add(
        "--validation-fraction",
        type=kinds.real(bounds.SPLIT_SHARE),
        default=0.1,
        help="kept from training (default: %(default)g)",
    )
    add("--seed", type=kinds.natural_int, default=0, help="of the split and the order (default: %(default)s)")
    add(
        "--split-inside",
        action="store_true",
        help="of one recording: hold back its end for validation, after a gap (default: off)",
    )
    add(
        "--join-short",
        action="store_true",
        help="put files shorter than a pair one after the other, folder by folder (sample packs; default: off)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace a data set even if its songs change sides or are no longer in it (default: refuse)",
    )
    add_config_options(parser)
    return parser.parse_args(argv)


def split_warnings(manifest: DatasetManifest) -> list[str]:
    """What the split of few songs, or of few of a kind, does to training and its scores; each with what to do.

    A kind is a folder of the first level that the songs do not share; where most hold one recording, they are none.
    """
    if manifest.is_split_inside or manifest.song_groups is None:
        return []
    counts = {split: len(manifest.groups[split]) for split in SPLITS}
    every = sum(counts.values())
    warnings = []
    if counts["validation"] == 1:
        larger = next((tenths / 10 for tenths in range(1, 6) if tenths / 10 * every >= 2), None)
        more = f" or hold back more with --validation-fraction {larger:g}," if larger and every >= 4 else ""
        warnings.append(
            f"warning: validation is one recording only ({printable(manifest.songs['validation'][0])}): scores will "
            f"say how well that one is met, and little of other music. Add music,{more} or read them so."
        )
    if counts["training"] == 1:
        warnings.append(
            "warning: there is one recording only to learn from: the model will know little else. Add music."
        )
    folders = _folders_by_group(manifest)
    count = len(set(folders.values()))
    if count < 2 or every < 1.5 * count:
        return warnings
    lost = _lost_kinds(folders, set(manifest.groups["training"]))
    if lost:
        shown = ", ".join(printable(name) for name in lost[:3]) + (" and others" if len(lost) > 3 else "")
        seed = _seed_that_keeps_all_kinds(manifest, folders)
        remedy = (
            "Add music of its kind, or put it into the folder of a kind that it belongs to."
            if seed is None
            else f"With --seed {seed} --overwrite some of every folder should be in training: make it again first."
        )
        warnings.append(
            f"warning: all music of the {'folder' if len(lost) == 1 else 'folders'} {shown} is in validation: the "
            f"model is judged by a kind of music that it cannot learn. {remedy}"
        )
    return warnings


def _folders_by_group(manifest: DatasetManifest) -> dict[str, str]:
    """For every recording the folder of its first song, at the first level at which the songs' folders differ."""
    parents = {song: PurePosixPath(song).parts[:-1] for split in SPLITS for song in manifest.songs[split]}
    depth = 0
    while min(map(len, parents.values())) > depth and len({parts[depth] for parts in parents.values()}) == 1:
        depth += 1
    assert manifest.song_groups is not None
    found: dict[str, str] = {}
    for split in SPLITS:
        for song, place in zip(manifest.songs[split], manifest.song_groups[split], strict=True):
            found.setdefault(manifest.groups[split][place], "/".join(parents[song][depth : depth + 1]))
    return found


def _lost_kinds(folders: dict[str, str], training: set[str]) -> list[str]:
    return sorted(set(folders.values()) - {folders[group] for group in training} - {""})


def _seed_that_keeps_all_kinds(manifest: DatasetManifest, folders: dict[str, str]) -> int | None:
    """The first of some seeds that leaves music of every folder in training."""
    if manifest.pair_songs is None or manifest.song_groups is None:
        return None
    sizes = dict.fromkeys(folders, 0)
    for split in SPLITS:
        for song in manifest.pair_songs[split]:
            sizes[manifest.groups[split][manifest.song_groups[split][song]]] += 1
    for seed in range(_SEEDS_TRIED):
        sides = _draw(sizes, manifest.validation_fraction, seed)
        if not _lost_kinds(folders, sides["training"]):
            return seed
    return None


def print_summary(manifest: DatasetManifest, output: Path) -> None:
    """Print what there is and what was left out."""
    for name in manifest.too_short[:_LISTED]:
        _print(f"left out: {printable(name)}: shorter than one pair ({2 * manifest.segment_seconds:g} s)")
    if len(manifest.too_short) > _LISTED:
        _print(f"left out: {counted(len(manifest.too_short) - _LISTED, 'more file')}, shorter than one pair")
    if manifest.silent_pairs:
        minutes = manifest.silent_pairs * manifest.segment_seconds / 60
        _print(f"left out: {minutes:.1f} minutes of silence inside songs ({counted(manifest.silent_pairs, 'pair')})")
    if manifest.joined:
        files = sum(map(len, manifest.joined.values()))
        _print(
            f"joined: {counted(files, 'short file')} into {counted(len(manifest.joined), 'recording')}; "
            "at their seams a pair goes over from one file to the next"
        )
    if manifest.is_split_inside:
        _print(
            "split inside: validation is the end of the one recording there is. Its scores say whether the model "
            "goes on as this recording does, not whether it plays other music."
        )
    for split in SPLITS:
        minutes = manifest.pairs[split] * manifest.segment_seconds / 60
        _print(
            f"{printable(set_path(output, split))}: {counted(manifest.pairs[split], 'pair')} ({minutes:.1f} minutes) "
            f"of {counted(len(manifest.songs[split]), 'song')}, "
            f"{counted(len(manifest.groups[split]), 'different recording')}"
        )
    for line in split_warnings(manifest):
        _print(line)


def _print(line: str) -> None:
    print(wrapped(line))


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)

    def body() -> None:
        defaults = load_defaults(options.config, options.preset)
        seconds = defaults.segment_seconds if options.segment_seconds is None else options.segment_seconds
        output = options.output or defaults.dataset_folder
        manifest = create_dataset(
            options.input or defaults.prepared_folder,
            output,
            segment_seconds=seconds,
            validation_fraction=options.validation_fraction,
            seed=options.seed,
            split_inside=options.split_inside,
            join_short=options.join_short,
            overwrite=options.overwrite,
            defaults=defaults,
            tell=lambda line: print(wrapped(line)),
        )
        print_summary(manifest, output)
        least = least_segment_samples(defaults)
        if manifest.segment_samples < least:
            seconds = math.ceil(1000 * least / manifest.sample_rate) / 1000
            print(
                wrapped(
                    f"warning: the model of the config cannot learn from segments so short: make them {seconds:g} s "
                    "or longer."
                )
            )
            return
        words = settings_for_segments(defaults, manifest.segment_samples)
        print(command_lines(f"Next: {command('train', '--dataset', output, *words)}"))

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
