"""What a data set lies in: room, crops a second, rates of writing and reading, and memory, form against form.

    python benchmarks/bench_store.py
    python benchmarks/bench_store.py --sample-rate 44100 --channels 2 --crop-seconds 2
    python benchmarks/bench_store.py --seconds 60 --hours 3 --rounds 1     # the short form, in the tests

The same made-up music lies as it did in version 3 (each pair as floats, memory-mapped), in shards of 16-bit numbers
(read plainly, and mapped), and as FLAC of libsndfile. All forms are read in turns, so that a busy machine slows them
alike: compare what stands in one run. The files are read from memory, as the system keeps what was read lately.

The large set is made of holes: files of its size without content. Its songs, pairs and shards are as many as they would
be; its sound is silence.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_prep.create_dataset import create_dataset  # noqa: E402
from data_prep.shards import in_batches  # noqa: E402
from piano.foundation.dataset_format import (  # noqa: E402
    PreparedManifest,
    PrepareSettings,
    open_pairs,
    write_prepared_manifest,
)
from piano.foundation.npy_files import begin_array, save_array  # noqa: E402
from piano.foundation.prepared_song import SHARDS_FOLDER, ChunkEntry, SongEntry  # noqa: E402
from piano.foundation.quantised import SHARD_BYTES, STORED_KIND, from_stored, to_stored  # noqa: E402
from piano.foundation.row_files import RowFile  # noqa: E402
from piano.piano_model import AudioDataset  # noqa: E402
from tests.make_audio import make_music  # noqa: E402

SEGMENT_SECONDS, SONG_SECONDS = 10.0, 240.0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sample-rate", type=int, default=16_000, help="(default: %(default)s)")
    add("--channels", type=int, default=1, choices=(1, 2), help="(default: %(default)s)")
    add("--seconds", type=float, default=3600.0, help="of the small set (default: %(default)g)")
    add("--crop-seconds", type=float, default=2.0, help="(default: %(default)g)")
    add("--batch", type=int, default=16, help="crops at once (default: %(default)s)")
    add("--hours", type=float, default=10_000.0, help="of the large set, which is made of holes (default: %(default)g)")
    add("--rounds", type=int, default=9, help="of every measurement, in turns (default: %(default)s)")
    add("--folder", type=Path, help="where to work (default: a temporary folder)")
    add("--part", choices=("open", "create"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def song(name: str, samples: int, options: argparse.Namespace, file: str, row: int) -> SongEntry:
    """An entry of the manifest for a song that lies in a shard."""
    return SongEntry(
        source=name,
        size=1,
        mtime_ns=1,
        sha256=f"{abs(hash(name)):064x}"[-64:],
        folder=name.replace("/", "_").removesuffix(".mp3"),
        source_sample_rate=options.sample_rate,
        source_channels=options.channels,
        samples=samples,
        seconds=samples / options.sample_rate,
        loudness_db=-18.0,
        peak_db=-1.0,
        gain_db=0.0,
        silence_share=0.0,
        group=name,
        chunks=(ChunkEntry(file=file, start_sample=0, samples=samples, row=row),),
        fingerprint_words=(0, 0),
    )


def prepared_of(folder: Path, lengths: list[int], options: argparse.Namespace) -> list[SongEntry]:
    """A prepared folder of songs of these lengths, whose shards are holes; returns its songs."""
    row_bytes, songs = options.channels * STORED_KIND.itemsize, []
    names = [f"{index // 1000:04d}/{index:07d}.mp3" for index in range(len(lengths))]
    plain = [song(name, samples, options, "none.npy", 0) for name, samples in zip(names, lengths, strict=True)]
    (folder / SHARDS_FOLDER).mkdir(parents=True)
    for number, batch in enumerate(in_batches(plain, row_bytes, SHARD_BYTES)):
        file, row = f"shard_{number:04d}_00000000.npy", 0
        for one in batch:
            songs.append(song(one.source, one.samples, options, file, row))
            row += one.samples
        with open(folder / SHARDS_FOLDER / file, "wb") as stream:
            shape = (row, options.channels)
            np.lib.format.write_array_header_1_0(
                stream, {"descr": STORED_KIND.str, "fortran_order": False, "shape": shape}
            )
            stream.truncate(stream.tell() + row * row_bytes)
    settings = PrepareSettings(
        sample_rate=options.sample_rate, channels=options.channels, chunk_seconds=120.0, min_seconds=1.0
    )
    write_prepared_manifest(
        folder, PreparedManifest(settings=settings, music_folder="/music", songs=tuple(songs), left_out=())
    )
    return songs


def small_set(folder: Path, options: argparse.Namespace) -> np.ndarray:
    """Made-up music in shards, and both forms of its data set; returns the music [shape=(channels, samples)]."""
    samples, rest = round(SONG_SECONDS * options.sample_rate), round(options.seconds * options.sample_rate)
    lengths = [samples] * (rest // samples) or [rest // 2]
    lengths += [lengths[0]] * (len(lengths) < 2)
    songs = prepared_of(folder / "prepared", lengths, options)
    music = []
    for seed, one in enumerate(songs):
        sound = 0.5 * make_music(seed, one.samples / options.sample_rate, options.sample_rate, options.channels)
        music.append(sound[:, : one.samples])
        path = folder / "prepared" / SHARDS_FOLDER / one.chunks[0].file
        np.load(path, mmap_mode="r+")[one.chunks[0].row or 0 :][: one.samples] = to_stored(music[-1])
    return np.concatenate(music, axis=1)


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turns, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def measure_crops(folder: Path, options: argparse.Namespace) -> None:
    """Random crops a second of every form: the same pairs and places."""
    samples = round(options.crop_seconds * options.sample_rate)
    arrays, shards = (AudioDataset.from_folder(folder / form, "training") for form in ("npy", "shards"))
    random = torch.Generator().manual_seed(0)
    count = 20 * options.batch
    indices = torch.randint(len(arrays), (count,), generator=random)
    offsets = torch.randint(arrays.samples - samples + 1, (count,), generator=random)
    batches = list(zip(indices.split(options.batch), offsets.split(options.batch), strict=True))
    path = min((folder / "prepared" / SHARDS_FOLDER).glob("*.npy"))
    starts = np.random.default_rng(0).integers(0, len(np.load(path, mmap_mode="r")) - samples, count).tolist()

    def mapped() -> None:
        rows = np.load(path, mmap_mode="r")
        for start in starts:
            from_stored(np.asarray(rows[start : start + samples]))

    def plain() -> None:
        file = RowFile(path, STORED_KIND, options.channels, hint="")
        for start in starts:
            from_stored(file.read(start, samples))

    def flac() -> None:
        with soundfile.SoundFile(folder / "music.flac") as file:
            for start in starts[: count // 20]:
                file.seek(start)
                file.read(samples, dtype="float32")

    works: dict[str, Callable[[], object]] = {
        "batches of floats, mapped (version 3)": lambda: [arrays.crops(*batch, samples) for batch in batches],
        "batches out of shards": lambda: [shards.crops(*batch, samples) for batch in batches],
        "FLAC": flac,
        "rows of 16 bits, mapped": mapped,
        "rows of 16 bits, read plainly": plain,
    }
    for item, batch in enumerate(batches[:3]):
        assert torch.equal(arrays.crops(*batch, samples), shards.crops(*batch, samples)), f"batch {item} differs"
    times = in_turns(works, options.rounds)
    reference = times["batches of floats, mapped (version 3)"] / count
    print(f"\ncrops of {options.crop_seconds:g} s, warm: a second, and times version 3")
    for name, seconds in times.items():
        each = seconds / (count // 20 if name == "FLAC" else count)
        print(f"  {name:<40} {1 / each:>9,.0f}  {reference / each:6.2f}")


def measure_rates(folder: Path, music: np.ndarray, options: argparse.Namespace) -> None:
    """How fast each form is written and read from end to end, in times of real time, and how large it is."""
    part = music[:, : 600 * options.sample_rate]
    seconds = part.shape[1] / options.sample_rate
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)

    def write_rows() -> None:
        with open(scratch / "rows.npy", "wb") as stream:
            begin_array(stream, STORED_KIND, part.shape[::-1])
            stream.write(to_stored(part).data)

    def write_flac() -> None:
        soundfile.write(scratch / "part.flac", part.T, options.sample_rate, subtype="PCM_16")

    works: dict[str, Callable[[], object]] = {
        "floats, written": lambda: save_array(scratch / "floats.npy", part),
        "16 bits, written": write_rows,
        "FLAC, written": write_flac,
        "floats, read": lambda: np.load(scratch / "floats.npy"),
        "16 bits, read": lambda: from_stored(np.load(scratch / "rows.npy")),
        "FLAC, read": lambda: soundfile.read(scratch / "part.flac", dtype="float32"),
    }
    write_flac()
    soundfile.write(folder / "music.flac", music.T, options.sample_rate, subtype="PCM_16")
    hours = music.shape[1] / options.sample_rate / 3600
    print(f"  {'FLAC':<40} {(folder / 'music.flac').stat().st_size / hours / 1e6:8.1f} MB an hour of this music")
    print("\nwritten and read from end to end, times real time")
    for name, taken in in_turns(works, max(options.rounds // 3, 1)).items():
        print(f"  {name:<40} {seconds / taken:>9,.0f}")


def file_bytes(folder: Path) -> int:
    """Of all .npy files of a data set."""
    return sum(path.stat().st_size for path in folder.rglob("*.npy"))


def measure_making(folder: Path, music: np.ndarray, options: argparse.Namespace) -> None:
    """How long it takes to make each form of the data set, and its room for an hour of music."""
    hours = music.shape[1] / options.sample_rate / 3600
    times: dict[str, float] = {}
    for form in ("npy", "shards"):
        begin = time.perf_counter()
        create_dataset(folder / "prepared", folder / form, segment_seconds=SEGMENT_SECONDS, form=form)
        times[form] = time.perf_counter() - begin
    print("a data set of", f"{hours:.2f} h, {options.sample_rate} Hz, {options.channels} channel(s)")
    for form, taken in times.items():
        size = file_bytes(folder / form) / hours / 1e6
        print(f"  {form:<40} {size:8.1f} MB an hour, made at {3600 * hours / taken:>12,.0f} times real time")


def run_part(part: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Do a part of the work in a process of its own; returns what it printed as JSON."""
    words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in ("sample_rate", "channels", "batch")]
    command = [sys.executable, str(Path(__file__)), "--part", part, "--folder", str(folder), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def do_part(options: argparse.Namespace) -> None:
    """Make a data set, or open one and draw crops from it; print seconds, crops a second and the peak of memory."""
    started, before = time.perf_counter(), _memory_mb("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
        stream.write("5")  # the peak counts from here
    facts: dict[str, float] = {}
    if options.part == "create":
        create_dataset(options.folder / "prepared", options.folder / "shards", segment_seconds=SEGMENT_SECONDS)
    else:
        dataset = AudioDataset.from_folder(options.folder / "shards", "training")
        assert type(open_pairs(options.folder / "shards", "training")).__name__ == "ShardPairs"
        facts["opened_s"] = time.perf_counter() - started
        random, drawn = torch.Generator().manual_seed(0), 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < 3.0:
            indices = torch.randint(len(dataset), (options.batch,), generator=random)
            dataset.crops(indices, torch.zeros_like(indices), 2 * options.sample_rate)
            drawn += options.batch
        facts |= {"pairs": len(dataset), "crops_a_second": drawn / (time.perf_counter() - begin)}
    print(json.dumps({"seconds": time.perf_counter() - started, "more_mb": _memory_mb("VmHWM") - before, **facts}))


def _memory_mb(field: str) -> float:
    """A field of /proc/self/status (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{field}:"))


def measure_memory(folder: Path, large: Path, options: argparse.Namespace) -> None:
    """Time and memory of making and opening a small set and a large one."""
    samples = round(SONG_SECONDS * options.sample_rate)
    songs = max(round(options.hours * 3600 / SONG_SECONDS), 2)
    prepared_of(large / "prepared", [samples] * songs, options)
    print("\nmemory (beyond that of the program alone) and time")
    for name, place in ((f"{options.seconds / 3600:g} h", folder), (f"{options.hours:,.0f} h of holes", large)):
        made, opened = run_part("create", place, options), run_part("open", place, options)
        print(
            f"  {name:<20} made in {made['seconds']:.1f} s, {made['more_mb']:,.0f} MB; opened in "
            f"{opened['opened_s']:.2f} s, {opened['more_mb']:,.0f} MB, {opened['pairs']:,.0f} pairs, "
            f"{opened['crops_a_second']:,.0f} crops of 2 s a second"
        )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)
    if options.part:
        do_part(options)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name) / "small"
        music = small_set(folder, options)
        measure_making(folder, music, options)
        measure_rates(folder, music, options)
        measure_crops(folder, options)
        measure_memory(folder, Path(name) / "large", options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
