"""From prepared songs to pairs of neighbouring segments, split by recording into training and validation.

python create_dataset.py
"""

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep.defaults import add_config_options, load_defaults
from piano.foundation.dataset_format import (
    SPLITS,
    DatasetManifest,
    PreparedManifest,
    SongEntry,
    load_chunk,
    manifest_path,
    read_prepared_manifest,
    set_path,
    write_manifest,
)
from piano.foundation.doors import fill, program
from piano.foundation.errors import DatasetError, run_command
from piano.foundation.folder_lock import locked_folder
from piano.foundation.screen_text import printable, tolerate_old_terminals

EXAMPLE = "example:\n  {musigan dataset} --input prepared --output dataset --validation-fraction 0.1"


class Pair(NamedTuple):
    """Two neighbouring segments of a song."""

    song: SongEntry
    start_sample: int
    """Of the first one, in the song."""


def create_dataset(
    prepared: Path,
    output: Path,
    *,
    segment_seconds: float = 10.0,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> DatasetManifest:
    """Write the pairs of all prepared songs, scrambled, and the manifest.

    Parameters
    ----------
    prepared : Path
        Folder made by prepare_dataset.
    output : Path
        Folder for training_set.npy and validation_set.npy, of shape (pairs, 2, channels, samples).
    segment_seconds : float
        Length of half a pair.
    validation_fraction : float
        Part of the pairs kept from training, as near as whole recordings allow; both splits get at least one.
    seed : int
        Chooses the split and the order.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    DatasetError
        If there is too little music to split, or no room on the disk.
    """
    source = read_prepared_manifest(prepared)
    settings = source.settings
    segment_samples = round(segment_seconds * settings.sample_rate)
    if segment_samples < 1:
        raise DatasetError(f"--segment-seconds must be longer than one sample, got {segment_seconds:g}.")
    usable = [song for song in source.songs if song.samples >= 2 * segment_samples]
    groups = split_groups(usable, segment_samples, validation_fraction=validation_fraction, seed=seed)
    _refuse_too_little(source, usable, segment_seconds)
    random = np.random.default_rng([seed, 1])
    songs = {split: [song for song in usable if song.group in groups[split]] for split in SPLITS}
    pairs = {split: _scramble(_cut_pairs(songs[split], segment_samples), random) for split in SPLITS}
    with locked_folder(output):
        _remove_partial(output)
        pair_bytes = 2 * settings.channels * segment_samples * 4
        _refuse_full_disk(output, sum(map(len, pairs.values())) * pair_bytes)
        shapes = {split: (len(pairs[split]), 2, settings.channels, segment_samples) for split in SPLITS}
        written = {
            split: _write_pairs(prepared, output, split, pairs[split], shapes[split]) for split in SPLITS
        }
        manifest_path(output).unlink(
            missing_ok=True
        )  # from here to the end there is no data set, rather than half
        for split, path in written.items():
            os.replace(path, set_path(output, split))
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
                split: tuple(sorted(groups[split]).index(song.group) for song in songs[split])
                for split in SPLITS
            },
            too_short=tuple(song.source for song in source.songs if song.samples < 2 * segment_samples),
        )
        write_manifest(output, manifest)
    return manifest


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


def _cut_pairs(songs: list[SongEntry], segment_samples: int) -> list[Pair]:
    return [
        Pair(song, index * segment_samples)
        for song in songs
        for index in range(song.samples // segment_samples - 1)
    ]


def _scramble(pairs: list[Pair], random: np.random.Generator) -> list[tuple[int, Pair]]:
    """Every pair with its place; kept in the order of the songs, in which reading is quick."""
    return list(zip(map(int, random.permutation(len(pairs))), pairs, strict=True))


def _song_of_each(pairs: list[tuple[int, Pair]], songs: list[SongEntry]) -> tuple[int, ...]:
    """Place in `songs` of every pair's song, in the order in which the pairs are written."""
    places = {song.source: index for index, song in enumerate(songs)}
    return tuple(places[pair.song.source] for _, pair in sorted(pairs, key=lambda placed: placed[0]))


def _refuse_too_little(source: PreparedManifest, usable: list[SongEntry], segment_seconds: float) -> None:
    groups = {song.group for song in usable}
    if len(groups) >= 2:
        return
    hours = sum(song.seconds for song in source.songs) / 3600
    raise DatasetError(
        f"too little music to split: training and validation need a recording each, of at least "
        f"{2 * segment_seconds:g} s (two segments); there are {len(source.songs)} songs ({60 * hours:.1f} minutes), of "
        f"which {len(groups)} different recordings are long enough. Add music, or take shorter --segment-seconds."
    )


def _refuse_full_disk(output: Path, needed: int) -> None:
    free = shutil.disk_usage(output).free
    if needed > free:
        raise DatasetError(
            f"{printable(output)} needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left. "
            "Free some space, or use another --output."
        )


def _remove_partial(output: Path) -> None:
    for path in output.glob(".*.part"):
        path.unlink(missing_ok=True)


def _write_pairs(
    prepared: Path, output: Path, split: str, pairs: list[tuple[int, Pair]], shape: tuple[int, ...]
) -> Path:
    """Fill a memory-mapped file under a temporary name; returns its path."""
    path = output / f".{split}.{secrets.token_hex(4)}.part"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    channels, segment_samples = shape[2:]
    with tqdm(
        total=len(pairs), desc=f"{split} pairs", dynamic_ncols=True, disable=not sys.stderr.isatty()
    ) as bar:
        for place, pair in pairs:
            run = read_run(prepared, pair.song, pair.start_sample, 2 * segment_samples)
            array[place] = run.reshape(channels, 2, segment_samples).swapaxes(0, 1)
            bar.update()
    array.flush()
    return path


def read_run(prepared: Path, song: SongEntry, start_sample: int, samples: int) -> np.ndarray:
    """A stretch of a song, put together from its chunks.

    Returns
    -------
    np.ndarray [shape=(channels, samples)]
        float32
    """
    parts = list(_parts(prepared, song, start_sample, start_sample + samples))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _parts(prepared: Path, song: SongEntry, start: int, stop: int) -> Iterator[np.ndarray]:
    for chunk in song.chunks:
        end = chunk.start_sample + chunk.samples
        if chunk.start_sample <= start < min(end, stop):
            until = min(end, stop)
            samples = load_chunk(prepared, song, chunk)
            yield samples[:, start - chunk.start_sample : until - chunk.start_sample]
            start = until


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program("dataset"),
        description="Cut prepared songs into pairs of neighbouring segments, split by recording.",
        epilog=fill(EXAMPLE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, help="made by prepare_dataset (default: the config's prepared_folder)")
    add("--output", type=Path, help="folder for the pairs (default: the config's dataset_folder)")
    add("--segment-seconds", type=float, help="half a pair (default: the model's in the config, 10 for tiny)")
    add("--validation-fraction", type=float, default=0.1, help="kept from training (default: %(default)g)")
    add("--seed", type=int, default=0, help="of the split and the order (default: %(default)s)")
    add_config_options(parser)
    return parser.parse_args(argv)


def print_summary(manifest: DatasetManifest, output: Path) -> None:
    for name in manifest.too_short:
        print(f"left out: {printable(name)}: shorter than one pair ({2 * manifest.segment_seconds:g} s)")
    for split in SPLITS:
        minutes = manifest.pairs[split] * manifest.segment_seconds / 60
        print(
            f"{printable(set_path(output, split))}: {manifest.pairs[split]} pairs ({minutes:.1f} minutes) "
            f"of {len(manifest.songs[split])} songs, {len(manifest.groups[split])} different recordings"
        )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)

    def body() -> None:
        if not 0 < options.validation_fraction < 1:
            raise DatasetError(
                f"--validation-fraction must lie between 0 and 1, got {options.validation_fraction:g}."
            )
        if options.seed < 0:
            raise DatasetError(f"--seed must not be negative, got {options.seed}.")
        defaults = load_defaults(options.config, options.preset)
        seconds = defaults.segment_seconds if options.segment_seconds is None else options.segment_seconds
        output = options.output or defaults.dataset_folder
        manifest = create_dataset(
            options.input or defaults.prepared_folder,
            output,
            segment_seconds=seconds,
            validation_fraction=options.validation_fraction,
            seed=options.seed,
        )
        print_summary(manifest, output)

    tolerate_old_terminals()
    return run_command(body, is_work=True)


if __name__ == "__main__":
    raise SystemExit(main())
