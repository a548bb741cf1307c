"""Training runs, read only: curves, stages, what the doctor says, samples, and whether it still gets better.

A run belongs to the command line. Nothing here writes into its folder, and closing the page or the server ends nothing.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from piano.doctor.outlook import outlook_of
from piano.doctor.stopping import standstill_of
from piano.doctor.verdict import run_verdict
from piano.foundation.errors import CheckpointError
from piano.foundation.run_log import LOG_NAME, read_history
from piano.foundation.screen_text import printable
from piano.play.events import event_stream, whenever_changed
from piano.watching.curves import find_stages, minutes_of, smooth, stage_curves

MOST_CURVES = 24
SCORE = "score of compositions (0: real music)"
SAMPLES = "samples"
SOUND = re.compile(r"epoch_(\d+)[^/\\]*\.(wav|flac|mp3|ogg)$")
TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}


def run_folder(runs: dict[str, Path], name: str) -> Path:
    """The folder of a run; raises CheckpointError."""
    if name not in runs:
        raise CheckpointError("there is no such run: it was not named when the player was started.")
    folder = runs[name]
    if not (folder / LOG_NAME).is_file():
        raise CheckpointError("this run has no log here: it was moved, or has not begun.")
    return folder


def known_runs(runs: dict[str, Path]) -> list[dict[str, Any]]:
    """Runs that have a log, the one that learned last first."""
    found = [(path.stat().st_mtime, name) for name, folder in runs.items() if (path := folder / LOG_NAME).is_file()]
    return [{"name": name, "changed": round(changed)} for changed, name in sorted(found, reverse=True)]


def told_run(folder: Path, name: str) -> dict[str, Any]:
    """Everything that the page shows of a run."""
    history = read_history(folder)
    verdict = run_verdict(history)
    standstill, outlook = standstill_of(history), outlook_of(history)
    stages = find_stages(history)
    is_over = standstill is not None and standstill.is_over
    last = next((line for line in reversed(history) if isinstance(line.get("epoch"), int)), {})
    return {
        "name": name,
        "stage": stages[-1].name if stages else None,
        "epoch": last.get("epoch"),
        "minutes": round(max(map(minutes_of, history), default=0.0), 2),
        "stages": [{"stage": stage.name, "at": round(stage.start, 3), "steps": stage.steps} for stage in stages],
        "unit": "min",
        "curves": told_curves(history),
        "verdict": verdict.sentence,
        "should_stop": standstill.sentence if standstill is not None and is_over else None,
        "outlook": outlook.sentence if outlook is not None and not is_over else None,
        "findings": told_findings(history),
        "samples": told_samples(folder, name),
    }


def told_curves(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores first, then the losses of every stage: names and points (minutes, value), thinned."""
    scores = [
        (round(minutes_of(line), 3), line["kernel_score"])
        for line in history
        if line.get("event") == "score" and isinstance(line.get("kernel_score"), int | float)
    ]
    curves = [{"name": SCORE, "points": scores}] if scores else []
    for stage, found in stage_curves(history).items():
        by_name: dict[str, list[tuple[float, float]]] = {}
        for curve in found:
            if "loss" in curve.name or curve.name.startswith("validation") or curve.name in ("R", "P"):
                thinned = smooth(curve)
                points = zip(thinned.minutes.tolist(), thinned.values.tolist(), strict=True)
                by_name.setdefault(curve.name, []).extend((round(x, 3), float(f"{y:.5g}")) for x, y in points)
        curves += [{"name": f"{stage}: {name.replace('_', ' ')}", "points": points} for name, points in by_name.items()]
    return curves[:MOST_CURVES]


def told_findings(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the doctor found while the run went on; the last time of each."""
    found: dict[str, dict[str, Any]] = {}
    for line in history:
        if line.get("event") == "finding":
            found[str(line.get("name"))] = {
                "sentence": printable(str(line.get("sentence", "")))[:600],
                "remedy": printable(str(line.get("advice") or line.get("remedy") or ""))[:400],
                "minute": round(minutes_of(line), 2),
                "is_bad": line.get("severity") != "note",
            }
    return list(found.values())


def sample_files(folder: Path) -> dict[int, Path]:
    """The first sound of every epoch that has one."""
    found: dict[int, Path] = {}
    place = folder / SAMPLES
    for path in sorted(place.rglob("*")) if place.is_dir() else ():
        relative = path.relative_to(place).as_posix()
        match = SOUND.search(relative) or re.search(r"epoch_(\d+)/[^/]*\.(wav|flac|mp3|ogg)$", relative)
        if match and path.is_file() and not path.is_symlink():
            found.setdefault(int(match[1]), path)
    return dict(sorted(found.items()))


def told_samples(folder: Path, name: str) -> list[dict[str, Any]]:
    """The first sample and the newest, with their addresses."""
    epochs = list(sample_files(folder))
    ends = epochs[:1] + epochs[1:][-1:]
    return [{"epoch": epoch, "url": f"/api/runs/{quote(name, safe='')}/samples/{epoch}"} for epoch in ends]


def routes(runs: dict[str, Path]) -> list[Route]:
    """GET /api/runs, /api/runs/NAME, /api/runs/NAME/samples/EPOCH, /api/runs/NAME/events."""

    async def listed(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(known_runs, runs))

    async def one(request: Request) -> Response:
        name = request.path_params["name"]
        told = await run_in_threadpool(lambda: told_run(run_folder(runs, name), name))
        return Response(json.dumps(told, allow_nan=False, default=str), media_type="application/json")

    async def sample(request: Request) -> Response:
        folder = run_folder(runs, request.path_params["name"])
        path = (await run_in_threadpool(sample_files, folder)).get(request.path_params["epoch"])
        if path is None:
            raise CheckpointError("there is no sample of this epoch.")
        return FileResponse(path, media_type=TYPES[path.suffix[1:].lower()])

    async def events(request: Request) -> StreamingResponse:
        folder = run_folder(runs, request.path_params["name"])

        async def look() -> object:
            try:
                state = (folder / LOG_NAME).stat()
            except OSError:
                return None
            return state.st_size, state.st_mtime_ns

        return event_stream(whenever_changed(look))

    return [
        Route("/api/runs", listed),
        Route("/api/runs/{name}", one),
        Route("/api/runs/{name}/samples/{epoch:int}", sample),
        Route("/api/runs/{name}/events", events),
    ]
