"""Rendered music on the disk: jobs over worker processes, files that replace nothing, the options of both renderers."""

import argparse
import filecmp
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from data_prep.worker_pool import Tick, run_tasks
from piano.foundation import options as kinds
from piano.foundation.audio_io import open_writer
from piano.foundation.errors import AudioError
from piano.foundation.made_files import put_in_place, refuse_other_work, unfinished
from piano.foundation.screen_text import counted, printable

STALL_SECONDS = 1800.0  # rendering is fast, yet the longest piece on the slowest machine must not be given up


class Rendered(NamedTuple):
    """What became of a job."""

    name: str
    seconds: float
    failure: str
    """Empty if there is a file."""


def write_sound(
    waveform: np.ndarray, target: Path, *, sample_rate: int, metadata: dict[str, str], overwrite: bool
) -> None:
    """Write a waveform [shape=(channels, samples)] to a file, whole or not at all.

    Raises
    ------
    AudioError
        A file of that name holds another sound, and `overwrite` is not set.
    """
    with unfinished(target) as temporary:
        with open_writer(target, sample_rate, len(waveform), metadata=metadata, into=temporary) as writer:
            writer.write(waveform)
        refuse_other_work(
            target,
            is_own=lambda path: filecmp.cmp(path, temporary, shallow=False),
            overwrite=overwrite,
            error=AudioError,
        )
        put_in_place(temporary, target)


def render_all(
    render: Callable[[Any, Tick], float], jobs: Sequence[Any], names: Sequence[str], *, workers: int
) -> list[Rendered]:
    """Render every job over several processes; one that fails is reported and does not end a long run.

    Parameters
    ----------
    render : callable
        Makes the file of a job and returns its seconds.
    jobs : sequence
    names : sequence of str
        What the jobs are called when they fail.
    workers : int
    """
    results: list[Rendered] = []
    with tqdm(total=len(jobs), desc="rendering", unit="piece", dynamic_ncols=True) as bar:
        for event in run_tasks(render, jobs, workers=workers, stall_seconds=STALL_SECONDS):
            if not event.is_finished:
                continue
            results.append(Rendered(names[event.index], event.result or 0.0, event.failure))
            bar.set_postfix_str(f"{sum(result.seconds for result in results) / 60:.1f} min of music")
            bar.update()
    return sorted(results)


def tell(results: list[Rendered], noun: str, folder: Path) -> None:
    """Say what was made and what was left out; AudioError if nothing was made."""
    failed = [result for result in results if result.failure]
    for result in failed:
        print(f"left out: {printable(result.name)}: {printable(result.failure)}")
    if len(failed) == len(results):
        raise AudioError(f"none of {counted(len(results), noun)} could be rendered.")
    minutes = sum(result.seconds for result in results) / 60
    files = counted(len(results) - len(failed), "file")
    print(f"{files}, {minutes:.1f} minutes of music in {folder}")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Kind of file, sample rate, processes, seed, and whether other sounds are replaced."""
    add = parser.add_argument
    add("--format", choices=["mp3", "flac", "wav"], default="mp3", help="kind of file (default: %(default)s)")
    add(
        "--sample-rate",
        type=kinds.sample_rate,
        default=44_100,
        help="of the audio, in samples per second (default: %(default)s)",
    )
    add(
        "--workers",
        type=kinds.processes,
        default=os.cpu_count() or 1,
        help="processes (default: one a core, %(default)s)",
    )
    kinds.add_shared(
        parser,
        "--seed",
        type=kinds.any_seed,
        help="another seed gives another performance (default: %(default)s)",
    )
    kinds.add_shared(
        parser,
        "--overwrite",
        help="replace files of these names that hold another sound (default: they stay)",
    )
