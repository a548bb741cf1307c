"""How fast prepare_dataset is, against a bare pool that only decodes and resamples, and how much memory it needs.

    python benchmarks/bench_prepare.py [--music FOLDER] [--workers 2] [--rounds 3] [--long-hours 2]
    python benchmarks/bench_prepare.py --against OTHER_CHECKOUT [--tiny 3000]

Both take turns in one run, because machines drift. The bare pool reads whole files with soundfile, mixes by
0.5 * (left + right) and resamples with soxr HQ: the floor for anyone who decodes MP3 in Python. Both times include
the start of the processes. Without --music some songs are made up first. With --against, another checkout of the
project takes the place of the bare pool; its packages are those of this environment. --tiny makes so many WAVs of 1.2
to 2.5 s instead of songs, as sample packs hold them.
"""

import argparse
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from piano.foundation.audio_io import find_audio_files  # noqa: E402
from piano.foundation.mpeg_frames import length_header, scan_mpeg  # noqa: E402
from tests.make_audio import write_music  # noqa: E402

SAMPLE_RATE = 16_000


def decode_bare(path: Path) -> float:
    """Seconds of audio decoded and resampled to 16 kHz mono, as plainly as possible."""
    import soxr

    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = 0.5 * (frames[:, 0] + frames[:, 1]) if frames.shape[1] == 2 else frames[:, 0]
    return len(soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")) / SAMPLE_RATE


def run_bare_pool(music: Path, workers: int) -> None:
    """Decode every file of a folder and print the seconds of audio; called as a command of its own."""
    files = sorted(find_audio_files(music), key=lambda path: -path.stat().st_size)
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_be_quiet) as pool:
        print(sum(pool.imap_unordered(decode_bare, files, chunksize=1)))


class Timing(NamedTuple):
    """What a command did and cost."""

    audio: float
    """Seconds of audio."""
    wall: float
    """Seconds on the clock, the start of the processes included."""
    cpu: float
    """Seconds of processor time of all its processes: steady even when the machine is busy with something else."""
    peak_mb: float = 0.0
    """Largest resident memory of a process of the command."""

    @property
    def rate(self) -> float:
        """Hours of audio per minute."""
        return self.audio / self.wall / 60


def time_bare_pool(music: Path, workers: int) -> Timing:
    """The bare pool as a command of its own."""
    command = [sys.executable, __file__, "--bare", "--music", str(music), "--workers", str(workers)]
    started, cpu = time.perf_counter(), _children_cpu()
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Timing(float(printed), time.perf_counter() - started, _children_cpu() - cpu)


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _be_quiet() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 complains there


def time_preparation(music: Path, workers: int, sample_rate: int, channels: int, root: Path = ROOT) -> Timing:
    """The whole prepare_dataset command of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(root / "data_prep" / "prepare_dataset.py"), str(music), "--output", folder]
        command += ["--workers", str(workers), "--sample-rate", str(sample_rate), "--channels", str(channels)]
        started, cpu = time.perf_counter(), _children_cpu()
        quiet = subprocess.DEVNULL
        settings = os.environ | {"PYTHONPATH": str(root)}
        with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=settings, cwd=folder) as process:
            watch = _PeakMemory(process.pid)
            watch.start()
            status = process.wait()
            wall = time.perf_counter() - started
            watch.join()
        if status != 0:
            raise SystemExit(f"prepare_dataset ended with status {status}")
        summary = json.loads((Path(folder) / "report.json").read_text())["summary"]
        return Timing(summary["hours"] * 3600, wall, _children_cpu() - cpu, watch.peak / 1e6)


class _PeakMemory(threading.Thread):
    """Samples the largest resident memory of the command and of its workers until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._parent = psutil.Process(pid)
        self.peak = 0

    def run(self) -> None:
        while True:
            try:
                if self._parent.status() == psutil.STATUS_ZOMBIE:
                    return
                processes = [self._parent, *self._parent.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in processes:
                try:
                    self.peak = max(self.peak, process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.02)


def write_songs(folder: Path, count: int, minutes: float) -> None:
    """Stereo MP3s at 44.1 kHz."""
    for seed in range(count):
        write_music(folder / f"song_{seed:02d}.mp3", seed, 60 * minutes, 44_100, 2)


def write_tiny_files(folder: Path, count: int) -> None:
    """Mono WAVs of 1.2 to 2.5 s at 44.1 kHz, no two alike."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        time_axis = np.arange(int(44_100 * random.uniform(1.2, 2.5))) / 44_100
        sound = sum(
            np.sin(2 * np.pi * 110 * harmonic * 2 ** random.uniform(0, 3) * time_axis) / harmonic
            for harmonic in range(1, 5)
        )
        soundfile.write(folder / f"sample_{index:05d}.wav", 0.1 * sound * np.exp(-2 * time_axis), 44_100)


def write_long_mp3(path: Path, hours: float) -> None:
    """One very long stereo MP3 at 44.1 kHz: the frames of one minute again and again, under one length header."""
    write_music(path, 0, 60.0, 44_100, 2)
    data = path.read_bytes()
    [run] = scan_mpeg(io.BytesIO(data)).runs
    minutes = round(60 * hours)
    frames = data[run.sound_start : run.end]
    total = run._replace(frames=minutes * run.frames, end=run.sound_start + minutes * len(frames))
    with open(path, "wb") as stream:
        stream.write(length_header(total))
        for _ in range(minutes):
            stream.write(frames)


def compare(music: Path, workers: int, rounds: int, against: Path | None) -> None:
    """Time the other side and this checkout in turns, and print their ratios."""
    ratios, cpu_ratios, memory_ratios = [], [], []
    name = "bare pool" if against is None else "the other checkout"
    for round_number in range(1, rounds + 1):
        if against is None:
            other = time_bare_pool(music, workers)
        else:
            other = time_preparation(music, workers, SAMPLE_RATE, 1, against.resolve())
        ours = time_preparation(music, workers, SAMPLE_RATE, 1)
        ratios.append(ours.rate / other.rate)
        cpu_ratios.append(other.cpu / ours.cpu)
        if other.peak_mb:
            memory_ratios.append(ours.peak_mb / other.peak_mb)
        print(
            f"round {round_number}: {name} {_told(other)}; prepare_dataset {_told(ours)}; "
            f"ratio {ratios[-1]:.2f} ({cpu_ratios[-1]:.2f} by processor time)",
            flush=True,
        )
    if ratios:
        print(
            f"median ratio {statistics.median(ratios):.2f}, by processor time {statistics.median(cpu_ratios):.2f}"
            + (f", of peak memory {statistics.median(memory_ratios):.2f}" if memory_ratios else "")
            + f", with {workers} workers and {len(find_audio_files(music))} files"
        )


def _told(timing: Timing) -> str:
    memory = f", largest process {timing.peak_mb:.0f} MB" if timing.peak_mb else ""
    return f"{timing.rate:.2f} hours of audio per minute ({timing.cpu:.1f} s of processor time{memory})"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, help="folder of MP3s (default: made-up songs)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; 0: none (default: %(default)s)")
    parser.add_argument("--long-hours", type=float, default=2.0, help="of the MP3 for the memory figure; 0: none")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="time this checkout, not a bare pool")
    parser.add_argument("--tiny", type=int, default=0, metavar="COUNT", help="so many tiny WAVs, not songs")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.bare:
        run_bare_pool(options.music, options.workers)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        music = options.music
        if music is None:
            music = Path(temporary) / "music"
            if options.tiny:
                write_tiny_files(music, options.tiny)
            else:
                write_songs(music, count=6, minutes=3.0)
        compare(music, options.workers, options.rounds, options.against)
        if options.long_hours:
            long_folder = Path(temporary) / "long"
            write_long_mp3(long_folder / "long.mp3", options.long_hours)
            for sample_rate, channels in ((SAMPLE_RATE, 1), (44_100, 2)):
                timing = time_preparation(long_folder, 1, sample_rate, channels)
                print(
                    f"one MP3 of {timing.audio / 3600:.2f} hours to {sample_rate} Hz, {channels} channels: "
                    f"{timing.rate:.1f} hours per minute with one worker, peak memory {timing.peak_mb:.0f} MB",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
