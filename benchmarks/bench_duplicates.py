"""How long it takes to find the same recordings among thousands, how much memory that needs, and whether it is right.

    python benchmarks/bench_duplicates.py
    python benchmarks/bench_duplicates.py --songs 100000 --library /tmp/library

The fingerprints lie in a file, as those of a prepared folder do, and the search is a process of its own.

The songs are made up as energies in bands, not as sound, since ten thousand songs of sound take hours: notes with
harmonics on a beat, in bars that come back. Copies are planted among them: at another level, with a codec's noise and a
start between two frames; one recording forty times and one two hundred times; albums in one file beside their tracks;
excerpts of 20 s; samples of 6 s; songs that are one bar repeated; copies that run 2 % faster at the same pitch. Other
songs share only a drum pattern, or only an intro of 8 s. Exit status 1 if a planted copy is missed or two recordings
are taken for one.
"""

import argparse
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.foundation.fingerprint import find_same_recordings, words_of_energy

FRAMES_PER_SECOND = 4000 / 256
BANDS = 33
SEMITONES_PER_BAND = 12 * math.log2(1750 / 110) / BANDS
HARMONICS = 12 * np.log2(np.arange(1, 7))
STEPS = 16
"""Of a bar."""


class Library(NamedTuple):
    """Fingerprints, and which recording each one is of."""

    prints: list[np.ndarray]
    recordings: list[int]
    planted: list[int]
    """Indices of the copies."""


def make_energy(random: np.random.Generator, seconds: float, *, bars: int, tempo: float = 0.0) -> np.ndarray:
    """Energy in bands of a song of so many different bars, which come back in random order.

    Returns
    -------
    np.ndarray [shape=(frames, 33)]
    """
    frames = round(seconds * FRAMES_PER_SECOND)
    step = tempo or random.uniform(1.6, 4.0)  # frames
    count = int(frames / step) + 1
    pitches = random.integers(0, 48, size=(bars, STEPS, 3))
    is_played = random.random((bars, STEPS, 3)) < 0.6
    level = random.uniform(0.3, 1.0, size=(bars, STEPS, 3))
    order = np.repeat(random.integers(0, bars, size=count // STEPS + 1), STEPS)[:count]
    place = np.arange(count) % STEPS
    onset = np.zeros((frames + 2, BANDS))
    times = np.arange(count) * step
    early = times.astype(np.int64)
    for voice in range(3):
        for index, harmonic in enumerate(HARMONICS):
            band = ((pitches[order, place, voice] + harmonic) / SEMITONES_PER_BAND).astype(np.int64)
            power = (level * is_played)[order, place, voice] / (index + 1) ** 2
            inside = (band < BANDS) & (early < frames)
            late = (times - early)[inside]
            np.add.at(onset, (early[inside], band[inside]), power[inside] * (1 - late))
            np.add.at(onset, (early[inside] + 1, band[inside]), power[inside] * late)
    decays = np.asarray(lfilter([1.0], [1.0, -random.uniform(0.6, 0.85)], onset[:frames], axis=0))
    return 1e-3 * np.asarray(lfilter([0.25, 0.5, 0.25], [1.0], decays, axis=0)) + 1e-7 * random.random((frames, BANDS))


def copy_of(energy: np.ndarray, random: np.random.Generator, *, speed: float = 1.0, noise: float = 0.25) -> np.ndarray:
    """The fingerprint of a copy: later by a part of a frame, softer, with errors in every band."""
    times = np.arange(random.uniform(0.0, 20.0), len(energy) - 1, speed)
    early = times.astype(np.int64)
    late = (times - early)[:, np.newaxis]
    moved = energy[early] * (1 - late) + energy[early + 1] * late
    moved *= random.uniform(0.05, 1.0) * np.exp(noise * random.standard_normal(moved.shape))
    return words_of_energy(moved)


def make_library(songs: int, seed: int) -> Library:
    """A library of about so many songs, a tenth of them copies."""
    random = np.random.default_rng(seed)
    library = Library([], [], [])

    def add(words: np.ndarray, recording: int, is_copy: bool = False) -> None:
        if is_copy:
            library.planted.append(len(library.prints))
        library.prints.append(words)
        library.recordings.append(recording)

    def song(recording: int, seconds: float, *, bars: int = 0, tempo: float = 0.0) -> np.ndarray:
        own = np.random.default_rng([seed, recording])
        return make_energy(own, seconds, bars=bars or int(own.integers(8, 60)), tempo=tempo)

    recording = 0
    unit = max(1, songs // 1000)
    for copies in [1] * 20 * unit + [40, 200][: 1 if songs < 1000 else 2]:
        energy = song(recording, random.uniform(120, 300))
        add(words_of_energy(energy), recording)
        for _ in range(copies):
            add(copy_of(energy, random), recording, True)
        recording += 1
    for _ in range(unit):
        tracks = [song(recording * 100 + track + 10**6, 180.0) for track in range(10)]
        for track in tracks:
            add(words_of_energy(track), recording, True)
        add(copy_of(np.concatenate(tracks), random), recording)
        recording += 1
    for seconds, bars, options in (
        (20.0, 0, {}),  # an excerpt
        (6.0, 4, {}),  # a sample
        (200.0, 1, {}),  # a loop
        (200.0, 0, {"speed": 1.02}),
    ):
        for _ in range(5 * unit):
            energy = song(recording, 200.0 if seconds == 20.0 else seconds, **({"bars": bars} if bars else {}))
            add(words_of_energy(energy), recording)
            length = min(len(energy), round(seconds * FRAMES_PER_SECOND))
            start = int(random.integers(0, len(energy) - length + 1))
            part = energy[start : start + length]
            add(copy_of(part, random, noise=0.15 if seconds == 6.0 else 0.25, **options), recording, True)
            recording += 1
    drums = make_energy(np.random.default_rng([seed, 1]), 200.0, bars=1, tempo=2.0)
    intro = song(10**7, 8.0)
    for index in range(20 * unit):
        energy = song(recording, 200.0, tempo=2.0)
        if index % 2:
            energy += 0.3 * drums
        else:
            energy[: len(intro)] = intro
        add(words_of_energy(energy), recording)
        recording += 1
    while len(library.prints) < songs:
        add(words_of_energy(song(recording, random.uniform(120, 300))), recording)
        recording += 1
    order = random.permutation(len(library.prints))
    place = np.argsort(order)
    return Library(
        [library.prints[index] for index in order],
        [library.recordings[index] for index in order],
        [int(place[index]) for index in library.planted],
    )


class Stored(Sequence[np.ndarray]):
    """The fingerprints of a library in a folder, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._stream = open(folder / "words.bin", "rb")  # noqa: SIM115 (as long as the process)
        self._ends = 4 * np.cumsum(np.load(folder / "lengths.npy"))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin = int(self._ends[index - 1]) if index else 0
        self._stream.seek(begin)
        return np.frombuffer(self._stream.read(int(self._ends[index]) - begin), dtype="<u4")


def store(library: Library, folder: Path) -> None:
    """Write a library into a folder."""
    with open(folder / "words.bin", "wb") as stream:
        for words in library.prints:
            stream.write(words.astype("<u4").tobytes())
    np.save(folder / "recordings.npy", library.recordings)
    np.save(folder / "planted.npy", library.planted)
    np.save(folder / "lengths.npy", [len(words) for words in library.prints])


def search(folder: Path) -> tuple[list[int], float, float, float]:
    """(groups, seconds, seconds of the processor, peak memory in MB) of a search; for a process of its own."""
    wall, cpu = time.perf_counter(), time.process_time()
    groups = find_same_recordings(Stored(folder), scratch=folder)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return groups, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=500, help="in the library (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the music (default: %(default)s)")
    parser.add_argument("--library", type=Path, help="folder that keeps what is made up, for the next time")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.library or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "lengths.npy").exists():
            store(make_library(options.songs, options.seed), folder)
        lengths = np.load(folder / "lengths.npy")
        print(f"{len(lengths)} songs, {lengths.sum() / 1e6:.1f} million words", flush=True)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            groups, wall, cpu, peak = process.submit(search, folder).result()
        recordings, planted = np.load(folder / "recordings.npy").tolist(), np.load(folder / "planted.npy").tolist()
    print(f"{wall:.1f} s ({cpu:.1f} s CPU), peak memory {peak:.0f} MB")
    return judge(groups, recordings, planted)


def judge(groups: list[int], recordings: list[int], planted: list[int]) -> int:
    """Print whether the planted copies were found; 1 if one was missed, or two recordings were taken for one."""
    members: dict[int, set[int]] = {}
    sizes: dict[int, int] = {}
    for group, recording in zip(groups, recordings, strict=True):
        members.setdefault(group, set()).add(recording)
        sizes[group] = sizes.get(group, 0) + 1
    largest = {}  # of every recording its largest group: a copy elsewhere was missed
    for group, recording in zip(groups, recordings, strict=True):
        if sizes[group] > sizes.get(largest.get(recording, -1), 0):
            largest[recording] = group
    found = sum(groups[index] == largest[recordings[index]] and sizes[groups[index]] > 1 for index in planted)
    wrong = sum(len(recordings) > 1 for recordings in members.values())
    print(f"planted copies found: {found} of {len(planted)}")
    print(f"groups of more than one recording: {wrong}")
    return int(wrong > 0 or found < len(planted))


if __name__ == "__main__":
    raise SystemExit(main())
