"""From prepared songs to pairs of neighbouring segments, split by recording into training and validation.

python create_dataset.py
"""

import argparse
import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data_prep.dataset_options import DatasetOptions
from data_prep.dataset_refusals import plan_or_refuse, refuse_full_disk, refuse_other_form, refuse_to_lose
from data_prep.dataset_summary import print_summary
from data_prep.defaults import (
    Defaults,
    add_config_options,
    least_segment_samples,
    load_defaults,
    named_settings,
    settings_for_segments,
)
from data_prep.little_music import without
from data_prep.pair_files import arrays_need, write_arrays
from data_prep.pair_shards import PAIR_BYTES, Prepared, write_shards
from data_prep.pairs import Recordings, cut_pairs
from data_prep.sides import Divided, divide
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.dataset_format import SPLITS, DatasetManifest, PreparedManifest, read_prepared_manifest
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.folder_kinds import refuse_to_write_over
from piano.foundation.folder_lock import locked_folder, reading_folder
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.screen_text import CommandParser, command_lines, tolerate_old_terminals, wrapped

FORMS = ("shards", "npy")
"""Indices into shards, which hold every second once; or the pairs themselves as one array for each split."""
EXAMPLE = "example:\n  {musigan dataset} --input prepared --validation-fraction 0.1"


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
    form: str = "shards",
    defaults: Defaults | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> DatasetManifest:
    """Write the pairs of all prepared songs, scrambled, and the manifest.

    Parameters
    ----------
    prepared : Path
        Folder made by prepare_dataset.
    output : Path
        Folder of the data set.
    segment_seconds, validation_fraction, seed, split_inside, join_short, overwrite
        See `DatasetOptions`.
    form : str
        One of `FORMS`.
    defaults : Defaults, optional
        What the model needs, for the advice in errors; None: those of the settings file that is found.
    tell : callable
        Gets a line on what is replaced or copied.

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
        segment_samples = _segment_samples(segment_seconds, source.settings.sample_rate)
        defaults = defaults or load_defaults(None, None)
        with ChunkReader(prepared, source.settings.channels, source) as reader:
            for song in source.songs:
                reader.check(song)
            # Of an array a fourth: silence is not written.
            least_bytes = source.settings.channels * segment_samples * 2 if form == "npy" else PAIR_BYTES
            silent_pairs, heard = 0, source
            while True:
                plan = plan_or_refuse(
                    heard, segment_samples, prepared, output, options, defaults, is_silent=heard != source
                )
                songs = plan.recordings.songs
                pairs = {song.source: song.samples // segment_samples - 1 for song in songs}
                refuse_full_disk(output, sum(pairs.values()) * least_bytes)  # before a list of what files claim
                cut = {song.source: cut_pairs(reader, song, plan.recordings, segment_samples) for song in songs}
                if plan.options.split_inside or len({song.group for song in songs if len(cut[song.source])}) > 1:
                    break
                silent = {song.source for song in songs if not len(cut[song.source])}
                silent_pairs += sum(pairs[name] for name in silent)
                heard = without(heard, plan.recordings, silent)
            silent_pairs += sum(pairs.values()) - sum(map(len, cut.values()))
            divided = divide(plan.recordings, cut, segment_samples, plan.options)
            manifest = _manifest(
                source, prepared, plan.recordings, divided, segment_samples, silent_pairs, plan.options
            )
            for sentence in plan.said:
                tell(sentence)
            with locked_folder(output):
                refuse_other_form(output, form, overwrite=overwrite)
                refuse_to_lose(output, manifest, overwrite=overwrite, tell=tell)
                if form == "npy":
                    tell(arrays_need(output, manifest))
                    write_arrays(output, manifest, divided, plan.recordings, reader)
                    return manifest
                place = Prepared(prepared, reader, source.settings.channels)
                return write_shards(output, manifest, divided, plan.recordings, place, tell)


def _segment_samples(segment_seconds: float, sample_rate: int) -> int:
    segment_samples = round(segment_seconds * sample_rate)
    if segment_samples not in bounds.SEGMENT_SAMPLES:
        least, most = (end / sample_rate for end in bounds.SEGMENT_SAMPLES[:2])
        raise DatasetError(
            f"--segment-seconds must be from {least:.3g} to {most:,.0f} at {sample_rate} Hz, got {segment_seconds:g}."
        )
    return segment_samples


def _manifest(
    source: PreparedManifest,
    prepared: Path,
    recordings: Recordings,
    divided: Divided,
    segment_samples: int,
    silent_pairs: int,
    options: DatasetOptions,
) -> DatasetManifest:
    """What the data set will hold; pairs in the order in which they are written."""
    songs, groups = divided.songs, {split: sorted(divided.groups[split]) for split in SPLITS}
    in_order = {split: divided.pairs[split].in_order() for split in SPLITS}
    places = {split: {group: index for index, group in enumerate(groups[split])} for split in SPLITS}
    return DatasetManifest(
        sample_rate=source.settings.sample_rate,
        channels=source.settings.channels,
        segment_samples=segment_samples,
        seed=options.seed,
        validation_fraction=options.validation_fraction,
        pairs={split: len(in_order[split].places) for split in SPLITS},
        songs={split: tuple(song.source for song in songs[split]) for split in SPLITS},
        groups={split: tuple(groups[split]) for split in SPLITS},
        pair_songs={split: _numbers(in_order[split].songs) for split in SPLITS},
        song_groups={split: tuple(places[split][song.group] for song in songs[split]) for split in SPLITS},
        pair_starts={split: _numbers(in_order[split].starts) for split in SPLITS},
        sha256={split: tuple(song.sha256 for song in songs[split]) for split in SPLITS},
        too_short=recordings.too_short,
        prepared_folder=str(prepared.resolve()),
        silent_pairs=silent_pairs,
        is_split_inside=options.split_inside,
        joined={name: tuple(part.source for part in parts) for name, parts in sorted(recordings.parts.items())},
    )


def _numbers(column: np.ndarray) -> Sequence[int]:
    """A column of numbers as the manifest takes it."""
    return array("q", column.astype(np.int64).tobytes())


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("dataset"),
        description="Cut prepared songs into pairs of neighbouring segments, split by recording.",
        epilog=fill(EXAMPLE),
    )
    add = parser.add_argument
    add("--input", type=Path, help="a prepared folder (default: the config's prepared_folder)")
    add("--output", type=Path, help="folder for the pairs (default: the config's dataset_folder)")
    add(
        "--format",
        choices=FORMS,
        default="shards",
        help="shards hold every second once; npy: each pair as it is, up to four times as large, for small data sets "
        "and other programs (default: %(default)s)",
    )
    add("--segment-seconds", type=kinds.seconds, help="half a pair (default: the model's in the config, 10 for tiny)")
    add(
        "--validation-fraction",
        type=kinds.real(bounds.SPLIT_SHARE),
        default=0.1,
        help="kept from training (default: %(default)g)",
    )
    kinds.add_shared(parser, "--seed", help="of the split and the order (default: %(default)s)")
    add(
        "--split-inside",
        action="store_true",
        help="of one recording: hold back its end for validation, after a gap (default: where there is only one)",
    )
    add(
        "--join-short",
        action="store_true",
        help="put files shorter than a pair one after the other, folder by folder (default: where most of little music "
        "is in such files, as in sample packs)",
    )
    words = "replace a data set even if its songs change sides or are no longer in it (default: refuse)"
    kinds.add_shared(parser, "--overwrite", help=words)
    add_config_options(parser)
    return parser.parse_args(argv)


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
            form=options.format,
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
        print(command_lines(f"Next: {command('train', '--dataset', output, *named_settings(options), *words)}"))

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
