"""How soon is it good? Runs of several lengths and seeds, each judged by the ruler on pieces that nobody learned from.

    python benchmarks/time_to_quality.py --dataset dataset --real validation --output runs_of_tiny
    python benchmarks/time_to_quality.py ... --build before=../before --build now=. --minutes 3 4 5 10 --cores 0 1

A run's stages are planned for its length, so every length is a run of its own, on one core and one thread: with two
cores two runs go side by side, each pinned to its core, builds and seeds in turns, so that what else the machine does
hits all alike. The score is that of `musigan evaluate` of this build, whatever build has learned. The table gives the
scores, and the shortest length whose mean over the seeds is at or below the bound (by default the mean of the first
build's longest runs). What is in --output already is not run again. Every build may have a data set of its own form:
--build NAME=FOLDER,DATASET.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Build(NamedTuple):
    """A checkout of the project, and the data set in the form that it reads."""

    name: str
    folder: Path
    dataset: Path


class Run(NamedTuple):
    """One training run."""

    build: Build
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.build.name} {self.minutes:g} minutes seed {self.seed}"


class Score(NamedTuple):
    """What the ruler says of a run, and what its processor has worked."""

    samples: float
    reconstructions: float
    cpu_seconds: float
    steps: str
    """Learned in every stage."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", type=Path, required=True, help="to learn from")
    add("--real", type=Path, required=True, help="folder of music that is not in it")
    add("--output", type=Path, required=True, help="folder for the runs")
    add("--build", action="append", default=[], metavar="NAME=FOLDER[,DATASET]", help="(default: this one)")
    add("--preset", default="tiny", help="(default: %(default)s)")
    add("--minutes", type=float, nargs="+", default=[4.0, 10.0], help="(default: 4 10)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of the last build's runs only")
    add("--cores", type=int, nargs="+", default=[0], help="that runs are pinned to, one each (default: 0)")
    add("--count", type=int, default=112, help="clips that are scored (default: %(default)s)")
    add("--seconds", type=float, default=8.0, help="of each (default: %(default)g)")
    add("--bound", type=float, help="score to be reached (default: the first build's mean at the longest)")
    return parser.parse_args(argv)


def builds_of(options: argparse.Namespace) -> list[Build]:
    """The builds that are compared."""
    found = []
    for text in options.build or [f"this={ROOT}"]:
        name, _, place = text.partition("=")
        folder, _, dataset = place.partition(",")
        found.append(Build(name, Path(folder).resolve(), Path(dataset or options.dataset).resolve()))
    return found


def learn_and_judge(run: Run, options: argparse.Namespace, core: int, settings: list[str]) -> Score:
    """Train one run, unless it is there, and score it."""
    folder = options.output.resolve() / run.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "learned.json"
    checkpoints = folder / "checkpoints"
    if not done.exists():
        words = [f"dataset_folder={run.build.dataset}", f"checkpoint_folder={checkpoints}", "runtime.threads=1"]
        command = [
            "piano_main.py",
            "--preset",
            options.preset,
            "--minutes",
            f"{run.minutes:g}",
            "--seed",
            str(run.seed),
        ]
        for word in [*words, *settings]:
            command += ["--set", word]
        seconds = processor_seconds(command, run.build.folder, core, folder / "training.log", allowed=(0, 3))
        done.write_text(json.dumps({"cpu_seconds": seconds}))
    scores = folder / "scores" / "scores.json"
    if not scores.exists():
        command = ["-m", "piano.evaluate", "--checkpoints", str(checkpoints), "--real", str(options.real.resolve())]
        command += ["--count", str(options.count), "--seconds", f"{options.seconds:g}", "--prompts", "0"]
        command += ["--threads", "1", "--output", str(scores.parent)]
        processor_seconds(command, ROOT, core, folder / "judging.log", allowed=(0,))
    found = json.loads(scores.read_text())["sets"]
    return Score(
        found["samples"]["kernel_score"]["value"],
        found["reconstructions"]["kernel_score"]["value"],
        json.loads(done.read_text())["cpu_seconds"],
        steps_of(checkpoints / "metrics.jsonl"),
    )


def processor_seconds(command: list[str], folder: Path, core: int, log: Path, *, allowed: tuple[int, ...]) -> float:
    """Run Python on one core of the machine; returns the processor time, ends the program where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        if not hasattr(os, "wait4"):
            sys.exit("processor time of another process is not known on this system")
        _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in allowed:
        sys.exit(f"{' '.join(command)} ended with {code}: see {log}")
    return usage.ru_utime + usage.ru_stime


def steps_of(log: Path) -> str:
    """`autoencoder 2,100, flow 900`: what a run has learned, from its log."""
    counts: dict[str, int] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "audio_seconds" in entry:
            counts[entry["stage"]] = counts.get(entry["stage"], 0) + 1
    return ", ".join(f"{stage} {steps:,}" for stage, steps in counts.items())


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    builds = builds_of(options)
    runs = [Run(build, minutes, seed) for seed in options.seeds for minutes in options.minutes for build in builds]
    cores: SimpleQueue[int] = SimpleQueue()
    for core in options.cores:
        cores.put(core)

    def work(run: Run) -> Score:
        core = cores.get()
        try:
            score = learn_and_judge(run, options, core, options.set if run.build == builds[-1] else [])
        finally:
            cores.put(core)
        print(
            f"{run.name}: score {score.samples:.3f}, reconstructions {score.reconstructions:.3f}, "
            f"{score.cpu_seconds:.0f} s of processor; {score.steps}",
            flush=True,
        )
        return score

    with ThreadPoolExecutor(len(options.cores)) as pool:
        scores = dict(zip(runs, pool.map(work, runs), strict=True))
    print_table(builds, scores, options)
    return 0


def print_table(builds: list[Build], scores: dict[Run, Score], options: argparse.Namespace) -> None:
    """Scores by build and length, and the shortest length that reaches the bound."""

    def mean(build: Build, minutes: float) -> float:
        return statistics.fmean(
            score.samples for run, score in scores.items() if run.build == build and run.minutes == minutes
        )

    bound = mean(builds[0], max(options.minutes)) if options.bound is None else options.bound
    print(f"\n{'build':12} {'minutes':>7}  {'mean':>6}  scores of seeds {options.seeds}")
    for build in builds:
        for minutes in sorted(options.minutes):
            each = [scores[Run(build, minutes, seed)].samples for seed in options.seeds]
            print(f"{build.name:12} {minutes:7g}  {mean(build, minutes):6.3f}  {', '.join(f'{x:.3f}' for x in each)}")
    for build in builds:
        reached = [minutes for minutes in sorted(options.minutes) if mean(build, minutes) <= bound]
        said = f"{reached[0]:g} minutes" if reached else "not reached"
        print(f"{build.name}: {bound:.3f} or better after {said}")


if __name__ == "__main__":
    raise SystemExit(main())
