"""Writes the pairs of both splits as arrays, and the manifest last: the form for small data sets and other programs."""

import contextlib
import shutil
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.dataset_refusals import refuse_full_disk
from data_prep.pair_shards import remove_other_form
from data_prep.pairs import Recordings, read_run
from data_prep.sides import Divided
from piano.foundation.dataset_format import SPLITS, DatasetManifest, manifest_path, set_path, write_manifest
from piano.foundation.errors import DatasetError
from piano.foundation.made_files import bring_to_disk, put_in_place, unfinished
from piano.foundation.npy_files import begin_array
from piano.foundation.prepared_chunks import ChunkReader
from piano.foundation.screen_text import printable


def arrays_need(output: Path, manifest: DatasetManifest) -> str:
    """A sentence about the room that the arrays will take."""
    needed = sum(manifest.pairs.values()) * _pair_bytes(manifest)
    free = shutil.disk_usage(output).free
    return f"The arrays will take {needed / 1e9:.2f} GB in {printable(output)}; {free / 1e9:.1f} GB are free."


def _pair_bytes(manifest: DatasetManifest) -> int:
    return 2 * manifest.channels * manifest.segment_samples * 4


def write_arrays(
    output: Path, manifest: DatasetManifest, divided: Divided, recordings: Recordings, reader: ChunkReader
) -> None:
    """Both arrays under temporary names, then their names, then the manifest.

    Parameters
    ----------
    output : Path
        Folder of the data set.
    manifest : DatasetManifest
    divided : Divided
    recordings : Recordings
        What the pairs were cut from.
    reader : ChunkReader
        Of the prepared folder.

    Raises
    ------
    DatasetError
        If the disk is full or cannot be written to.
    """
    pair_bytes = _pair_bytes(manifest)
    refuse_full_disk(output, sum(manifest.pairs.values()) * pair_bytes)
    with contextlib.ExitStack() as stack:
        written = {split: stack.enter_context(unfinished(set_path(output, split))) for split in SPLITS}
        for split in SPLITS:
            try:
                _write_pairs(written[split], manifest, split, divided, recordings, reader)
                bring_to_disk(written[split])
            except OSError as error:
                raise DatasetError(
                    f"cannot write {printable(set_path(output, split))}: {error.strerror or error}. It needs "
                    f"{manifest.pairs[split] * pair_bytes / 1e9:.2f} GB; free some space, or use another --output."
                ) from None
        manifest_path(output).unlink(missing_ok=True)  # from here to the end there is no data set, rather than half
        for split, path in written.items():
            put_in_place(path, set_path(output, split))
        write_manifest(output, manifest)
        remove_other_form(output, manifest)


def _write_pairs(
    path: Path,
    manifest: DatasetManifest,
    split: str,
    divided: Divided,
    recordings: Recordings,
    reader: ChunkReader,
) -> None:
    """Fill a .npy file with plain writes: on a full disk a mapped one would end the process without a word."""
    channels, segment_samples = manifest.channels, manifest.segment_samples
    pairs = divided.pairs[split]
    shape = (len(pairs.places), 2, channels, segment_samples)
    pair_bytes = _pair_bytes(manifest)
    with (
        open(path, "r+b") as stream,
        tqdm(
            total=len(pairs.places),
            desc=f"{split} pairs",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} ({remaining} left), {n_fmt} of {total_fmt}",
        ) as bar,
    ):
        first_byte = begin_array(stream, np.dtype("<f4"), shape)
        for number, start, place in zip(*(column.tolist() for column in pairs), strict=True):
            song = divided.songs[split][number]
            run = read_run(reader, song, start, start + 2 * segment_samples, recordings.parts)
            stream.seek(first_byte + place * pair_bytes)
            stream.write(np.ascontiguousarray(run.reshape(channels, 2, segment_samples).swapaxes(0, 1)).data)
            bar.update()
