"""Kill prepare_dataset at random moments and see that nothing is lost or half written.

    python benchmarks/kill_prepare.py [--kills 10] [--music FOLDER] [--seed 0]
    python benchmarks/kill_prepare.py --kills 1 --songs 3     # the short form, in the tests

After every kill each chunk that can be seen must load whole, and what was finished must still be there after the next
start. When all kills are done the run is left to end, and its result must equal, byte for byte, one that was never
disturbed. Without --music some songs are made up first.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.make_audio import write_music  # noqa: E402

SAMPLE_RATE = 16_000


def command(music: Path, output: Path, workers: int) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "data_prep" / "prepare_dataset.py"), str(music), "--output", str(output)),
        *("--sample-rate", str(SAMPLE_RATE), "--channels", "1", "--chunk-seconds", "10", "--workers", str(workers)),
    ]


def run_to_the_end(music: Path, output: Path, workers: int) -> float:
    """Seconds of an undisturbed run."""
    started = time.perf_counter()
    subprocess.run(command(music, output, workers), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def run_and_kill(music: Path, output: Path, workers: int, after: float) -> bool:
    """Start a run and kill it, by chance with its workers or without; False if it ended before."""
    with subprocess.Popen(
        command(music, output, workers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait(timeout=after)
            return False
        except subprocess.TimeoutExpired:
            if random.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()  # the workers live on as orphans for a moment and must do no harm
            process.wait()
            return True


def finished_songs(output: Path) -> dict[str, int]:
    """Source -> when its first chunk was written, for every song with a record; all of it is checked."""
    finished = {}
    for path in output.glob("records/*.json"):
        record = json.loads(path.read_text())  # half a record does not parse
        if record["song"] is None:
            continue
        folder = output / record["song"]["folder"]
        for chunk in record["song"]["chunks"]:
            check_chunk(folder / chunk["file"], chunk["samples"])
        finished[record["source"]] = (folder / "chunk_0000.npy").stat().st_mtime_ns
    return finished


def check_chunk(path: Path, samples: int | None = None) -> None:
    chunk = np.load(path)
    is_whole = chunk.dtype == np.float32 and chunk.ndim == 2 and (samples is None or chunk.shape[1] == samples)
    if not is_whole or not np.isfinite(chunk).all() or np.abs(chunk).max() > 1.0:
        raise SystemExit(f"FAILED: {path} is not a whole chunk")


def check_visible(output: Path) -> int:
    """Load every chunk outside the work folder and every listed one; returns their number."""
    visible = [path for path in output.glob("*/chunk_*.npy") if not path.parent.name.startswith(".")]
    for path in visible:
        check_chunk(path)
    if (output / "manifest.json").exists():
        for song in json.loads((output / "manifest.json").read_text())["songs"]:
            for chunk in song["chunks"]:
                check_chunk(output / song["folder"] / chunk["file"], chunk["samples"])
    return len(visible)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="how often (default: %(default)s)")
    parser.add_argument("--music", type=Path, help="folder of music (default: made-up songs)")
    parser.add_argument("--songs", type=int, default=12, help="made-up songs (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args(argv)
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        music = options.music or Path(temporary) / "music"
        if options.music is None:
            for seed in range(options.songs):
                write_music(music / f"song_{seed:02d}.flac", seed, 45.0, 44_100, 2)
        whole, output = Path(temporary) / "whole", Path(temporary) / "killed"
        duration = run_to_the_end(music, whole, options.workers)
        print(f"an undisturbed run takes {duration:.1f} s", flush=True)
        kills = restarts = 0
        before: dict[str, int] = {}
        while kills < options.kills:
            was_killed = run_and_kill(music, output, options.workers, random.uniform(0.0, 0.6 * duration))
            finished = finished_songs(output)
            visible = check_visible(output)
            lost = [source for source, written in before.items() if finished.get(source) != written]
            if lost:
                raise SystemExit(f"FAILED: finished before the kill, gone or made again after it: {lost}")
            before = finished
            if was_killed:
                kills += 1
                print(f"kill {kills}: {len(finished)} songs finished, {visible} chunks seen, all whole", flush=True)
            else:  # it ended: begin anew, so that every kill finds something to disturb
                restarts += 1
                for path in sorted(output.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                before = {}
        run_to_the_end(music, output, options.workers)
        if contents(output) != contents(whole):
            raise SystemExit("FAILED: the result differs from an undisturbed run")
    print(f"{kills} kills, {restarts} runs that ended in between: nothing lost, nothing half written, same result")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
