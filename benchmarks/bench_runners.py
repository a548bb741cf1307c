"""The same music prepared four ways: what each costs in time, processor and memory, and whether the folders are equal.

    python benchmarks/bench_runners.py [--songs 24] [--ways local shards dask ray]

Two processes each: `--workers 2`, two shards at once, a Dask cluster with two workers, a Ray cluster with two CPUs. The
clusters are started for it, on this machine; their start is in the second time and not in the first. Memory is the
largest sum of the private memory of all processes that belong to a way. Exit status 1 if a folder differs.
"""

import argparse
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.make_audio import write_music  # noqa: E402

WAYS = ("local", "shards", "dask", "ray")
DASK = """
from dask.distributed import LocalCluster
import time
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(3600)
"""
RAY = """
import ray, time
context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
print(context.address_info["address"], flush=True)
time.sleep(3600)
"""


class Meter:
    """Memory and processor time of all processes below this one, looked at ten times a second."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._cpu: dict[int, float] = {}
        self.peak_mb = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu.values())

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            total = 0
            for process in self._own.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().uss
                    times = process.cpu_times()
                    self._cpu[process.pid] = times.user + times.system
            self.peak_mb = max(self.peak_mb, total / 1e6)


TOKEN = secrets.token_hex(32)
"""With which a Ray cluster and those who use it know each other; of this run alone."""


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return {**os.environ, "PYTHONPATH": path, **ray}


@contextlib.contextmanager
def cluster(code: str, folder: Path) -> Iterator[str]:
    """A cluster in a process of its own; gives its address."""
    script = folder / "cluster.py"
    script.write_text(code, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise SystemExit("FAILED: the cluster did not start")
        yield address
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for one in below:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(below, timeout=30)


def run(music: Path, output: Path, *ways: list[str]) -> None:
    """Prepare, with one command for each of the ways at once."""
    command = [sys.executable, "-m", "data_prep.prepare_dataset", str(music), "--output", str(output)]
    command += ["--sample-rate", "16000", "--channels", "1"]
    processes = [
        subprocess.Popen(
            [*command, *way], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for way in ways
    ]
    for process in processes:
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"FAILED: {said}")


def prepare(way: str, music: Path, folder: Path) -> float:
    """Prepare the music in one way; returns the seconds of the work without the start of a cluster."""
    output = folder / way
    started = time.perf_counter()
    if way == "local":
        run(music, output, ["--workers", "2"])
    elif way == "shards":
        run(music, output, *(["--workers", "1", "--shard", f"{number}/2"] for number in (1, 2)))
        run(music, output, ["--workers", "2"])
    else:
        with cluster(DASK if way == "dask" else RAY, folder) as address:
            started = time.perf_counter()
            run(music, output, ["--runner", way, "--address", address])
            return time.perf_counter() - started
    return time.perf_counter() - started


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=24, help="of two minutes, 44.1 kHz stereo (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(default: all)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed in range(options.songs):
            write_music(folder / f"music/{seed}.flac", seed, 120.0, 44_100, 2)
        first: dict[str, bytes] = {}
        is_equal = True
        for way in options.ways:
            with Meter() as meter:
                started = time.perf_counter()
                work = prepare(way, folder / "music", folder)
                wall = time.perf_counter() - started
            made = contents(folder / way)
            first = first or made
            is_equal &= made == first
            print(
                f"{way}: {work:.1f} s of work, {wall:.1f} s with the start, {meter.cpu_seconds:.1f} s of processors, "
                f"{meter.peak_mb:.0f} MB, {'the same folder' if made == first else 'ANOTHER FOLDER'}",
                flush=True,
            )
    return int(not is_equal)


if __name__ == "__main__":
    raise SystemExit(main())
