"""Changes trained models at random, in both formats, and looks what each command makes of them.

    python benchmarks/fuzz_checkpoints.py --count 100 --seed 1

A tiny run and a model given away are changed in one field, one number or one tensor, or in their bytes; then one of
generate, export, report, --from and --resume reads them: it works, or refuses with one sentence. Exit status 1 if there
was a traceback, or something without an end.
"""

import argparse
import copy
import json
import random
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from fuzz_common import Outcome, attempt, attempt_apart, report

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from piano import export_model, generate_music, piano_main  # noqa: E402
from piano.foundation import options as kinds  # noqa: E402
from piano.foundation.checkpoint_format import BEST_NAME, ROLES, checkpoint_path, complete_epochs  # noqa: E402
from piano.foundation.errors import EXIT_RUINED  # noqa: E402
from piano.foundation.shipped_format import shipped_path  # noqa: E402
from piano.report import report as report_page  # noqa: E402
from tests.tiny_run import write_config, write_dataset  # noqa: E402

NUMBERS: list[Any] = [
    0, 1, 2, 3, 7, -1, -5, 1.5, 0.5, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"), 10**6, 10**9, 2**31 - 1,
    2**31, 2**63, 10**30, 10**400, True, None, "x", "", "\x1b]0;x\x07", [], [1], {}, {"a": 1}, [None] * 3,
]  # fmt: skip
SHORT = ("pretrain_epochs_g", "pretrain_epochs_d", "epochs")


def a_tensor(draw: random.Random, old: torch.Tensor) -> Any:
    """Something in the place of a tensor."""
    changed = old.clone()
    flat = changed.reshape(-1)
    choice = draw.randrange(10)
    if choice < 5 and flat.numel():
        number = draw.choice((float("nan"), float("inf"), 1e4, 1e20, 3e38, -1e20, 0.0, 1e-40))
        whole = not changed.is_floating_point()
        wanted = draw.choice((-1, 0, 10**9, 2**62)) if whole else number
        flat[draw.randrange(flat.numel()) if draw.random() < 0.5 else slice(None)] = (
            wanted if not (whole and changed.dtype == torch.uint8) else 255
        )
        return changed
    others = (
        lambda: changed.double(),
        lambda: changed.half(),
        lambda: changed.flatten()[:1],
        lambda: changed.unsqueeze(0),
        lambda: torch.zeros(1).expand(10**6, 10**6),
        lambda: changed.to(torch.complex64),
        lambda: changed.bool(),
        lambda: torch.zeros(0),
        lambda: draw.choice(NUMBERS),
        lambda: changed.to(torch.bfloat16),
    )
    return draw.choice(others)()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of nested dictionaries and lists."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from places(inside, (*path, key))
    elif isinstance(value, list):
        for index, inside in enumerate(value[:3]):
            yield from places(inside, (*path, index))


def change_content(content: Any, draw: random.Random, *, under: tuple[Any, ...] = ()) -> str:
    """Change one field of a content in place; returns what was changed."""
    inside = content
    for key in under:
        inside = inside[key]
    tops = list(inside) if isinstance(inside, dict) and not under else []
    every = list(places(inside))
    # a field near the top as often as one of the many weights
    top = draw.choice(tops) if tops else None
    path = draw.choice([place for place in every if place[0] == top] or every)
    for key in path[:-1]:
        inside = inside[key]
    old = inside[path[-1]]
    if isinstance(inside, dict) and draw.random() < 0.1:
        del inside[path[-1]]
        new: Any = "gone"
    elif isinstance(inside, dict) and draw.random() < 0.05:
        inside[draw.choice((1, "x", "\x1b]0;x\x07"))] = inside.pop(path[-1])
        new = "renamed"
    else:
        new = a_tensor(draw, old) if isinstance(old, torch.Tensor) else copy.deepcopy(draw.choice(NUMBERS))
        inside[path[-1]] = new
    return f"{'.'.join(map(str, (*under, *path)))} = {str(new)[:50]!r}"


def change_pt(path: Path, draw: random.Random) -> str:
    """Change a checkpoint of a run."""
    if draw.random() < 0.15:
        return change_bytes(path, draw)
    content = torch.load(path, weights_only=True)
    under = draw.choice(((), ("run",), ("run",), ("keywords",), ("run", "stateful"), ("optimizers",)))
    try:
        said = change_content(content, draw, under=under)
    except (KeyError, IndexError):  # a discriminator has fewer fields
        said = change_content(content, draw)
    torch.save(content, path)
    return said


def change_safetensors(path: Path, draw: random.Random) -> str:
    """Change the header of a model that was given away, or the bytes of the file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    choice = draw.randrange(4)
    if choice == 0:
        return change_bytes(path, draw)
    if choice == 1:
        keywords = json.loads(header["__metadata__"]["keywords"])
        said = change_content(keywords, draw)
        header["__metadata__"]["keywords"] = json.dumps(keywords)
    elif choice == 2:
        field = draw.choice(list(header["__metadata__"]))
        new = draw.choice(("", "-1", "0", "1.5", "9" * 30, "NaN", "x", "\x1b]0;x\x07", "[]", "\u0663"))
        header["__metadata__"][field], said = new, f"{field} = {new!r}"
    else:
        said = change_content(header, draw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    return said


def change_bytes(path: Path, draw: random.Random) -> str:
    """Change, cut or say twice some bytes."""
    data = bytearray(path.read_bytes())
    place, length = draw.randrange(len(data)), draw.randrange(1, 5_000)
    choice = draw.randrange(4)
    if choice == 0:
        data[place] ^= 1 << draw.randrange(8)
    elif choice == 1:
        del data[place : place + length]
    elif choice == 2:
        data[place : place + length] = draw.randbytes(length)
    else:
        data[place:place] = data[place : place + length]
    path.write_bytes(data)
    return f"bytes at {place} of {len(data)}, way {choice}"


def change_best(path: Path, draw: random.Random) -> str:
    """Change best.json."""
    values = json.loads(path.read_text())
    said = change_content(values, draw)
    path.write_text(json.dumps(values))
    return said


def commands(folder: Path, config: Path, data: Path) -> dict[str, Callable[[], int]]:
    """Who reads a model: name -> a call that returns the exit status."""
    model, out = ["--checkpoints", str(folder)], ["--output", str(folder.parent / "out")]
    small = ["--count", "1", "--seconds", "1", "--phase-iterations", "1", "--device", "cpu", "--threads", "1"]
    train = ["--config", str(config), "--dataset", str(data)]
    short = [word for name in SHORT for word in ("--set", f"{name}=1")]
    return {
        "generate": lambda: generate_music.main([*model, *out, *small]),
        "export": lambda: export_model.main(
            [*model, "--epoch", "1", "--output", str(folder.parent / "given"), "--samples", "0"]
        ),
        "report": lambda: report_page.main(
            [str(folder), "--compose", "1", "--copies", "no", "--output", str(folder.parent / "page.html")]
        ),
        "from": lambda: piano_main.main(
            [*train, *short, "--from", str(folder), "--checkpoints", str(folder.parent / "tuned")]
        ),
        "resume": lambda: piano_main.main([*train, *model, "--resume"]),
    }


def make_models(folder: Path) -> tuple[Path, Path, Path, Path]:
    """A data set, its settings, a run that was stopped in the middle, and a model given away."""
    data = write_dataset(folder / "dataset")
    short = dict.fromkeys(SHORT, 1) | {"steps_per_epoch": 1, "doctor": "advise"}
    config = write_config(folder, **short)
    run, given = folder / "checkpoints", folder / "given"
    assert piano_main.main(["--config", str(config), "--dataset", str(data), "--checkpoints", str(run)]) in (
        0,
        EXIT_RUINED,
    )
    # By its number: an epoch that has not learned to compose is given away only if it is asked for.
    wanted = ["--epoch", "1", "--output", str(given), "--with-discriminator", "--samples", "0"]
    assert export_model.main(["--checkpoints", str(run), *wanted]) == 0
    for epoch in complete_epochs(run)[1:]:  # a run with stages before it
        for role in ROLES:
            checkpoint_path(run, role, epoch).unlink()
    first = complete_epochs(run)[0]
    best = {"epoch": first, "kernel_distance": 0.5, "steps": 2, "stage": "flow", "kernel_score": 0.5}
    (run / BEST_NAME).write_text(json.dumps(best))
    return data, config, run, given


def fuzz(
    count: int, seed: int, *, seconds: float, is_apart: bool = True, only: tuple[str, ...] = ()
) -> Iterator[tuple[str, Outcome]]:
    """What was changed, and what came of it; `only` names the commands that read it, by default all."""
    draw = random.Random(seed)
    attempts = attempt_apart if is_apart else attempt
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        data, config, run, given = make_models(home)
        for _ in range(count):
            kind = draw.choice(("checkpoint", "checkpoint", "model", "best.json"))
            place = home / "case"
            shutil.copytree(given if kind == "model" else run, place / "run")
            role = draw.choice((ROLES[0], ROLES[0], ROLES[1]))
            if kind == "model":
                said = change_safetensors(shipped_path(place / "run", role), draw)
            elif kind == "best.json":
                said = change_best(place / "run" / BEST_NAME, draw)
            else:
                epoch = complete_epochs(place / "run")[0]
                said = change_pt(checkpoint_path(place / "run", role, epoch), draw)
            verbs = commands(place / "run", config, data)
            if kind == "model":
                del verbs["resume"], verbs["export"]
            verb = draw.choice([name for name in verbs if not only or name in only])
            yield f"{verb} {kind}: {role} {said}", attempts(verbs[verb], seconds)
            shutil.rmtree(place)


def main(argv: list[str] | None = None) -> int:
    """Fuzz, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=kinds.count, default=100, help="changed models (default: 100)")
    parser.add_argument("--seed", type=kinds.any_seed, default=0, help="of the changes (default: 0)")
    parser.add_argument("--seconds", type=kinds.seconds, default=120.0, help="a command may take (default: 120)")
    options = parser.parse_args(argv)
    return report(fuzz(options.count, options.seed, seconds=options.seconds))


if __name__ == "__main__":
    sys.exit(main())
