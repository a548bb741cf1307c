"""Training runs, read only: curves, gates, what the doctor says, samples, and whether it still gets better.

A run belongs to the command line. Nothing here writes into its folder, and closing the page or the server ends nothing.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from piano.doctor.outlook import outlook_of
from piano.doctor.rules import Finding, diagnose
from piano.doctor.signals import digest, usable
from piano.doctor.stopping import standstill_of
from piano.doctor.verdict import judge
from piano.foundation.checkpoint_format import read_best
from piano.foundation.errors import CheckpointError
from piano.foundation.run_log import LOG_NAME, read_history
from piano.foundation.score_words import is_number, score_words
from piano.foundation.screen_text import printable
from piano.play.events import Events, Watch
from piano.play.place import Place
from piano.stages import STAGE
from piano.watching.curves import Curve, find_stages, minutes_of, smooth, stage_curves

MOST_CURVES = 24
SCORE = "score of compositions (0: real music)"
SAMPLES = "samples"
SOUND = re.compile(r"(?:^|/)epoch_(\d{1,9})(?:_[^/]*|/[^/]*)?\.(wav|flac|mp3|ogg)$", re.IGNORECASE)
TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
REST = 20.0
"""A run is read again after so many times as long as reading it took: a page must not take the computer from it."""
LEAST_REST, MOST_REST = 1.0, 60.0
"""In seconds."""
LONGEST = 600
"""Letters of a sentence out of a log."""


class _Reading(NamedTuple):
    """What was read of a run, and when."""

    state: object
    told: dict[str, Any]
    at: float
    took: float


class Runs:
    """Folders of runs, and what was read of each.

    Parameters
    ----------
    folders : dict of str to Path
        By the names that visitors see.
    clock : callable
        Seconds.
    """

    def __init__(self, folders: Mapping[str, Path], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folders = folders
        self._clock = clock
        self._read: dict[str, _Reading] = {}
        self._lock = threading.Lock()

    def known(self) -> list[dict[str, Any]]:
        """Runs that have a log, the one that learned last first."""
        found = []
        for name, folder in self._folders.items():
            with contextlib.suppress(OSError):
                found.append((folder.joinpath(LOG_NAME).stat().st_mtime, name))
        return [{"name": name, "changed": round(changed)} for changed, name in sorted(found, reverse=True)]

    def folder(self, name: str) -> Path:
        """The folder of a run; raises CheckpointError."""
        if name not in self._folders:
            raise CheckpointError("there is no such run: it was not named when the player was started.")
        folder = self._folders[name]
        if not (folder / LOG_NAME).is_file():
            raise CheckpointError("this run has no log here: it was moved, or has not begun.")
        return folder

    def state(self, name: str) -> object:
        """Another value when there is something new to tell of a run; None where it has no log."""
        try:
            found = self.folder(name).joinpath(LOG_NAME).stat()
        except (CheckpointError, OSError):
            return None
        state = (found.st_size, found.st_mtime_ns)
        read = self._read.get(name)
        if read is None or read.state == state:
            return state
        rest = min(max(LEAST_REST, REST * read.took), MOST_REST)
        return read.state if self._clock() - read.at < rest else state

    def told(self, name: str) -> dict[str, Any]:
        """Everything that the page shows of a run; raises CheckpointError."""
        folder = self.folder(name)
        with self._lock:
            state, read = self.state(name), self._read.get(name)
            if read is None or read.state != state:
                begin = self._clock()
                try:
                    told = tell_run(folder)
                except OSError:
                    raise CheckpointError("this run cannot be read: it was moved, or is no longer here.") from None
                read = self._read[name] = _Reading(state, told, self._clock(), self._clock() - begin)
        return {"name": name, **read.told, "samples": told_samples(folder, name)}


def tell_run(folder: Path) -> dict[str, Any]:
    """What a log says, as plain values without anything that is no number."""
    history = list(usable(read_history(folder)))
    found = digest(history)
    findings = diagnose(found.windows)
    verdict = judge(found.windows, findings, found.kept, steps=found.steps)
    standstill, outlook = standstill_of(history), outlook_of(history)
    is_over = standstill is not None and standstill.is_over
    stages = find_stages(history)
    last = next((line for line in reversed(history) if is_number(line.get("epoch"))), {})
    best = read_best(folder)
    return {
        "stage": printable(stages[-1].name)[:80] if stages else None,
        "stage_words": STAGE[stages[-1].name].words if stages and stages[-1].name in STAGE else None,
        "epoch": last.get("epoch"),
        "minutes": _number(max(map(minutes_of, history), default=0.0), 4),
        "best": None if best is None else {"epoch": best.epoch, "score": _number(best.kernel_score)},
        "stages": [
            {"stage": printable(stage.name)[:80], "at": _number(stage.start, 3), "steps": stage.steps}
            for stage in stages
        ],
        "unit": "min",
        "curves": told_curves(history),
        "gates": told_gates(history),
        "verdict": verdict.sentence[:LONGEST]
        if history
        else "It has begun. The first figures come with its first steps.",
        "is_ruined": bool(history) and verdict.is_ruined,
        "should_stop": standstill.sentence if standstill is not None and is_over else None,
        "outlook": outlook.sentence if outlook is not None and not is_over else None,
        "findings": [told_finding(finding) for finding in findings],
    }


def told_curves(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores with their intervals first, then by what each stage is followed: points (minutes, value), thinned."""
    scores = [line for line in history if line.get("event") == "score" and is_number(line.get("kernel_score"))]
    curves: list[dict[str, Any]] = []
    if scores:
        minutes = [_number(minutes_of(line), 3) for line in scores]
        curve: dict[str, Any] = {"name": SCORE, "points": [], "low": [], "high": []}
        for minute, line in zip(minutes, scores, strict=True):
            curve["points"].append((minute, _number(line["kernel_score"])))
            for end in ("low", "high"):
                curve[end].append(_number(line.get(end)))
        curves.append(_thinned(curve))
    for stage, found in stage_curves(history).items():
        by_name: dict[str, list[Curve]] = {}
        known = STAGE.get(stage)
        followed = () if known is None else (known.shown[0], known.own_term, known.adversarial_term)
        for curve_found in found:
            name = curve_found.name
            if "loss" in name or name.startswith("validation") or name in followed:
                by_name.setdefault(name, []).append(curve_found)
        for name, parts in by_name.items():
            points = [
                (_number(minute, 3), _number(value))
                for part in map(smooth, parts)
                for minute, value in zip(part.minutes.tolist(), part.values.tolist(), strict=True)
            ]
            title = printable(f"{stage}: {name.replace('_', ' ')}")[:120]
            curves.append(_thinned({"name": title, "points": points}))
    return curves[:MOST_CURVES]


MOST_POINTS = 400


def _thinned(curve: dict[str, Any]) -> dict[str, Any]:
    """The curve with no more than MOST_POINTS points, its first and its last among them."""
    count = len(curve["points"])
    if count <= MOST_POINTS:
        return curve
    kept = sorted({round(index * (count - 1) / (MOST_POINTS - 1)) for index in range(MOST_POINTS)})
    return {name: [values[index] for index in kept] if name != "name" else values for name, values in curve.items()}


def told_gates(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was asked at the end of each stage, and the score that it had then, with its 95 % interval."""
    gates, score = [], {}
    for line in history:
        if line.get("event") == "score" and is_number(line.get("kernel_score")):
            score = line
        if line.get("event") != "gate":
            continue
        own = score if score.get("stage") == line.get("stage") and score.get("epoch") == line.get("epoch") else {}
        low, high = _number(own.get("low")), _number(own.get("high"))
        interval = (low, high) if low is not None and high is not None else None
        gates.append(
            {
                "stage": _words(line.get("stage"), 80),
                "name": _words(line.get("name"), 80),
                "minute": _number(minutes_of(line), 2),
                "passed": bool(line.get("passed")),
                "sentence": _words(line.get("sentence")),
                "advice": "" if line.get("passed") else _words(line.get("advice")),
                "score": _number(own.get("kernel_score")),
                "low": low,
                "high": high,
                "score_words": score_words(own["kernel_score"], interval) if own else None,
            }
        )
    return gates


def told_finding(finding: Finding) -> dict[str, Any]:
    """What the doctor found, for the page."""
    return {
        "name": finding.name,
        "sentence": finding.sentence[:LONGEST],
        "remedy": finding.advice[:LONGEST],
        "stage": _words(finding.stage, 80),
        "step": finding.step,
        "is_bad": finding.severity == "critical",
        "is_open": finding.is_open,
    }


def _words(value: Any, longest: int = LONGEST) -> str:
    return printable(value)[:longest] if isinstance(value, str) else ""


def _number(value: Any, digits: int | None = None) -> float | int | None:
    """A finite number, rounded (without digits: to five that count); None for everything else."""
    if not is_number(value):
        return None
    try:
        return float(f"{value:.5g}") if digits is None else round(float(value), digits)
    except OverflowError:
        return None


def sample_files(folder: Path) -> dict[int, Path]:
    """One sound of every epoch that has one: a composition where there is one, else what there is."""
    place, found = folder / SAMPLES, {}
    with contextlib.suppress(OSError):
        for path in sorted(place.rglob("*"), key=lambda path: ("sample" not in path.name, path.as_posix())):
            match = SOUND.search(path.relative_to(place).as_posix())
            if match and path.is_file() and not path.is_symlink():
                found.setdefault(int(match[1]), path)
    return dict(sorted(found.items()))


def told_samples(folder: Path, name: str) -> list[dict[str, Any]]:
    """The first sample and the newest, with their addresses."""
    epochs = list(sample_files(folder))
    ends = epochs[:1] + epochs[1:][-1:]
    return [{"epoch": epoch, "url": f"/api/runs/{quote(name, safe='')}/samples/{epoch}"} for epoch in ends]


def routes(place: Place, events: Events) -> list[Route]:
    """GET /api/runs, /api/runs/NAME, /api/runs/NAME/samples/EPOCH, /api/runs/NAME/events."""
    runs = Runs(place.runs)
    watch = Watch(runs.state)

    async def listed(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(runs.known))

    async def one(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(runs.told, request.path_params["name"]))

    async def sample(request: Request) -> Response:
        folder = runs.folder(request.path_params["name"])
        path = (await run_in_threadpool(sample_files, folder)).get(request.path_params["epoch"])
        if path is None:
            raise CheckpointError("there is no sample of this epoch.")
        return FileResponse(path, media_type=TYPES[path.suffix[1:].lower()])

    async def news(request: Request) -> Response:
        name = request.path_params["name"]
        runs.folder(name)
        return events.stream(watch.messages(name))

    return [
        Route("/api/runs", listed),
        Route("/api/runs/{name}", one),
        Route("/api/runs/{name}/samples/{epoch:int}", sample),
        Route("/api/runs/{name}/events", news),
    ]
