"""Changes config.yaml at random, by value and by bytes, and looks what the program makes of each.

    python benchmarks/fuzz_configs.py --count 200 --seed 1 --run

A settings file is read, or refused with one sentence. With --run the ones that are read start a training of seconds:
it learns, or it is refused. Exit status 1 if there was a traceback, or something without an end.
"""

import argparse
import copy
import datetime
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from fuzz_common import ENDLESS, PASSED, Outcome, attempt, attempt_apart, report

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from piano import piano_main  # noqa: E402
from piano.config_reader import DEFAULT_CONFIG, load_config_from_yaml  # noqa: E402
from piano.foundation import options as kinds  # noqa: E402
from piano.foundation.errors import run_command  # noqa: E402
from piano.foundation.run_log import LOG_NAME  # noqa: E402
from tests.tiny_run import write_config, write_dataset  # noqa: E402

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 5, 7, 8, 16, -1, -0.0, 0.1, 0.5, 1.0, 1.5, 1e-300, 1e300, float("inf"),
    float("-inf"), float("nan"), 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**9, 10**30, -(10**30), 10_000, 65_536,
    "", "x", "nan", "inf", "1e400", "\x00", "a\x00b", "~", "~nosuchuser/x", "/", "/proc/self", "x" * 300,
    "\u0663", "\ud800",
    [], [1], [[]], [None] * 3, [7] * 10_000, {}, {"a": 1}, {1: 2}, {None: 1}, datetime.date(2020, 1, 1), "cuda", "auto",
]  # fmt: skip
TEXTS = (
    b"\x00", b": ", b"- ", b"{", b"]", b"!!python/name:os.system ", b"&a *a", b"? ", b"<<: ", b"\t", b"1:1:1:1",
    b"!!binary ", b"!!timestamp ", b"\xff\xfe", b"1e999", b"|",
)  # fmt: skip
KEYS: list[Any] = [
    1,
    None,
    True,
    1.5,
    datetime.date(2020, 1, 1),
    "",
    "x",
    "preset",
    "presets",
    "model",
    "seed ",
    "\x1b[0m",
]


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a nested dictionary."""
    if path:
        yield path
    if isinstance(values, dict):
        for key, value in values.items():
            yield from places(value, (*path, key))


def by_value(text: str, draw: random.Random) -> tuple[str, bytes]:
    """A file with one to three values, or names, changed; and what was changed."""
    values, said = yaml.safe_load(text), []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        path = draw.choice(list(places(values)))
        inside = values
        for key in path[:-1]:
            inside = inside[key]
        change = draw.choice(("value", "value", "value", "value", "scale", "key", "rename", "remove"))
        old = inside.get(path[-1])
        if change == "scale" and isinstance(old, int | float) and not isinstance(old, bool):
            inside[path[-1]] = new = old * draw.choice((-1, 0, 2, 3, 10, 1000, 10**6, 10**9, 0.1, 0.001))
        elif change == "key":
            new = draw.choice(KEYS)
            inside[new] = copy.deepcopy(draw.choice(VALUES))
        elif change == "rename":
            new = str(path[-1])[: draw.randrange(len(str(path[-1])) + 1)]
            inside[new] = inside.pop(path[-1])
        elif change == "remove":
            new = inside.pop(path[-1])
        else:
            new = inside[path[-1]] = copy.deepcopy(draw.choice(VALUES))
        said.append(f"{'.'.join(map(str, path))} {change} {str(new)[:40]!r}")
    data = yaml.safe_dump(values, sort_keys=False, allow_unicode=False).encode()
    return f"by value: {'; '.join(said)}", data


def by_bytes(text: str, draw: random.Random) -> tuple[str, bytes]:
    """A file with bytes changed, taken out, put in or said twice."""
    data = bytearray(text.encode())
    for _ in range(draw.randrange(1, 6)):
        place, length = draw.randrange(len(data)), draw.randrange(1, 30)
        change = draw.randrange(5)
        if change == 0:
            data[place] = draw.randrange(256)
        elif change == 1:
            del data[place : place + length]
        elif change == 2:
            data[place:place] = draw.choice(TEXTS)
        elif change == 3:
            data[place:place] = data[place : place + 10 * length]
        else:
            data[place : place + 1] = draw.choice(b"0123456789.-eE:#'\"").to_bytes()
    return f"by bytes: {bytes(data[max(place - 20, 0) : place + 20])!r}", bytes(data)


def read(path: Path) -> int:
    """Read a settings file as a command does."""
    return run_command(lambda: (load_config_from_yaml(path), None)[1])


def learn(path: Path, folder: Path) -> int:
    """A training with these settings, in the folder."""
    torch.set_num_threads(1)
    return piano_main.main(
        ["--config", str(path), "--checkpoints", str(folder / "run"), "--dataset", str(folder / "dataset")]
    )


def fuzz(count: int, seed: int, *, run: bool, seconds: float, is_apart: bool = True) -> Iterator[tuple[str, Outcome]]:
    """What was changed, and what came of it, for `count` files of each kind of change."""
    draw = random.Random(seed)
    attempts = attempt_apart if is_apart else attempt
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if run:
            write_dataset(folder / "dataset")
            text = write_config(folder).read_text()
        else:
            text = DEFAULT_CONFIG.read_text(encoding="utf-8")
        for number in range(count):
            change, data = (by_value, by_bytes)[number % 2](text, draw)
            path = folder / "config.yaml"
            path.write_bytes(data)
            outcome = attempts(lambda path=path: read(path), 20.0)
            yield change, outcome
            if run and outcome.kind == PASSED:
                outcome = attempts(lambda path=path: learn(path, folder), seconds)
                if outcome.kind == ENDLESS and (folder / "run" / LOG_NAME).is_file():
                    outcome = Outcome(PASSED, "it learns, and was stopped")
                yield f"run {change}", outcome
                shutil.rmtree(folder / "run", ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    """Fuzz, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=kinds.count, default=200, help="files (default: 200)")
    parser.add_argument("--seed", type=kinds.any_seed, default=0, help="of the changes (default: 0)")
    parser.add_argument("--run", action="store_true", help="train with those that are read (default: off)")
    parser.add_argument("--seconds", type=kinds.seconds, default=60.0, help="of a training (default: 60)")
    options = parser.parse_args(argv)
    return report(fuzz(options.count, options.seed, run=options.run, seconds=options.seconds))


if __name__ == "__main__":
    sys.exit(main())
