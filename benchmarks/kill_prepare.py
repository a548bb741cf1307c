"""Kill prepare_dataset at random moments and see that nothing is lost or half written.

    python benchmarks/kill_prepare.py [--kills 10] [--music FOLDER] [--seed 0]
    python benchmarks/kill_prepare.py --kills 1 --songs 3     # the short form, in the tests

After every kill the sound of every finished song must load whole, out of its folder or its shard, and what was
finished must still be there after the next start. When all kills are done the run is left to end, and its result must
equal, byte for byte, one that was never disturbed. Without --music some songs are made up first.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

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


class Finished(NamedTuple):
    """A song with a record."""

    digest: str
    """Of its sound."""
    written: int | None
    """When, while it has a folder of its own; None: it is in a shard."""


def finished_songs(output: Path) -> dict[str, Finished]:
    """Every song with a record, by source; the sound of all of them is checked."""
    finished = {}
    records = [record for path in output.glob("shards/*.json") for record in json.loads(path.read_text())["records"]]
    records += [json.loads(path.read_text()) for path in output.glob("records/*.json")]  # half a record does not parse
    for song in (record["song"] for record in records):
        if song is None or (song["chunks"][0]["row"] is None and song["source"] in finished):
            continue  # packed already, and cut short before the folder was gone
        [chunk] = song["chunks"]
        in_shard = chunk["row"] is not None
        path = output / ("shards" if in_shard else song["folder"]) / chunk["file"]
        first = chunk["row"] or 0
        sound = check_sound(path)[first : first + song["samples"]]
        if len(sound) != song["samples"]:
            raise SystemExit(f"FAILED: {song['source']} is not whole in {path}")
        written = None if in_shard else path.stat().st_mtime_ns
        finished[song["source"]] = Finished(hashlib.sha256(sound.tobytes()).hexdigest(), written)
    return finished


def is_lost(before: Finished, now: Finished | None) -> bool:
    """Whether a finished song is gone, another one, or was made again."""
    if now is None or now.digest != before.digest:
        return True
    return now.written != before.written and now.written is not None


def check_sound(path: Path) -> np.ndarray:
    sound = np.load(path)
    if sound.dtype != np.int16 or sound.ndim != 2 or not len(sound):
        raise SystemExit(f"FAILED: {path} is not whole")
    return sound


def check_visible(output: Path) -> int:
    """Load every sound outside the work folder and every listed one; returns their number."""
    visible = [path for path in output.glob("*/sound.npy") if not path.parent.name.startswith(".")]
    visible += list(output.glob("shards/shard_????_????????.npy"))
    for path in visible:
        check_sound(path)
    if (output / "manifest.json").exists():
        for song in json.loads((output / "manifest.json").read_text())["songs"]:
            check_sound(output / "shards" / song["chunks"][0]["file"])
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
        before: dict[str, Finished] = {}
        while kills < options.kills:
            was_killed = run_and_kill(music, output, options.workers, random.uniform(0.0, 1.05 * duration))
            finished = finished_songs(output)
            visible = check_visible(output)
            lost = [source for source, song in before.items() if is_lost(song, finished.get(source))]
            if lost:
                raise SystemExit(f"FAILED: finished before the kill, gone or made again after it: {lost}")
            before = finished
            if was_killed:
                kills += 1
                print(
                    f"kill {kills}: {len(finished)} songs finished, {visible} files of sound seen, all whole",
                    flush=True,
                )
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
