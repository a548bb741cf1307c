"""Runs on the page: read only, whatever lies in their folders, and told to all pages when their log grows."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piano.foundation.checkpoint_format import BEST_NAME
from piano.foundation.errors import CheckpointError
from piano.foundation.run_log import LOG_NAME
from piano.piano_pretrain import train_autoencoder
from piano.play.events import Events, Watch
from piano.play.refusals import Full
from piano.play.runs import LEAST_REST, MOST_POINTS, SCORE, Runs, sample_files, tell_run
from tests.play_address import Played, played
from tests.report_run import make_run
from tests.tiny_run import start_run, tiny_config


def score(minute: float, value: float, **more: Any) -> dict[str, Any]:
    line = {"event": "score", "stage": "flow", "epoch": 1, "total_step": 1, "seconds": 60.0 * minute}
    return line | {"kernel_score": value, "low": value - 0.05, "high": value + 0.05, "clips": 16, "songs": 8} | more


def write_log(folder: Path, lines: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOG_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file, what it holds and when it was changed."""
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a real run, with its own log and samples."""
    folder = tmp_path_factory.mktemp("trained")
    train_autoencoder(start_run(tiny_config(folder, pretrain_epochs_g=2)))
    return folder


def test_a_real_run_is_told_and_left_as_it_is(trained):
    before = contents(trained)
    told = Runs({"mine": trained}).told("mine")
    json.dumps(told, allow_nan=False)
    assert [stage["stage"] for stage in told["stages"]] == ["autoencoder"]
    assert told["stage"] == "autoencoder" and told["stage_words"].startswith("learning to write sound down")
    assert told["epoch"] == 1 and told["minutes"] > 0 and told["verdict"].endswith(".")
    names = [curve["name"] for curve in told["curves"]]
    assert "autoencoder: reconstruction" in names and len(names) == len(set(names))
    assert told["should_stop"] is None and told["outlook"] is None and told["best"] is None
    assert contents(trained) == before


def test_scores_gates_findings_and_samples_of_a_run(tmp_path):
    folder = make_run(tmp_path / "run")
    log = folder / LOG_NAME
    lines = [score(9.0, 0.8, stage="autoencoder"), score(19.0, 0.4, stage="professor", epoch=2)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + log.read_text(encoding="utf-8"))
    told = Runs({"a/b run": folder}).told("a/b run")
    curve = told["curves"][0]
    assert curve["name"] == SCORE and curve["points"] == [(9.0, 0.8), (19.0, 0.4)]
    assert (curve["low"], curve["high"]) == ([0.75, 0.35], [0.85, 0.45])
    first, last = told["gates"]
    assert (first["name"], first["passed"], first["score"]) == ("G1 copies", True, None)
    assert (last["name"], last["passed"], last["advice"]) == ("G5", False, "train longer")
    assert (last["score"], last["low"], last["high"]) == (0.4, 0.35, 0.45) and "0.40" in last["score_words"]
    assert told["samples"] == [
        {"epoch": 1, "url": "/api/runs/a%2Fb%20run/samples/1"},
        {"epoch": 3, "url": "/api/runs/a%2Fb%20run/samples/3"},
    ]
    assert sample_files(folder)[1].name == "epoch_0001_sample_0.wav"  # a composition, not a continuation
    sick = [
        {"stage": "ear", "epoch": 1, "total_step": step, "seconds": step, "ear_loss": float("nan")}
        for step in range(400)
    ]
    found = tell_run(write_log(tmp_path / "sick", sick))
    assert found["is_ruined"] and found["findings"] and {"sentence", "remedy", "is_bad"} <= found["findings"][0].keys()
    json.dumps(found, allow_nan=False)


def test_whether_it_still_gets_better(tmp_path):
    times = np.arange(1, 31) * 2.0
    falls = 0.2 * (np.minimum(times, 30.0) / 30.0) ** -0.7
    told = tell_run(write_log(tmp_path / "over", [score(t, s) for t, s in zip(times, falls, strict=True)]))
    assert told["should_stop"].startswith("It no longer gets better") and told["outlook"] is None
    better = 0.2 * (times / 30.0) ** -0.7
    told = tell_run(write_log(tmp_path / "better", [score(t, s) for t, s in zip(times, better, strict=True)]))
    assert told["should_stop"] is None and told["outlook"].startswith("Another hour would bring its score from")


def test_curves_are_thinned(tmp_path):
    steps = [
        {"stage": "flow", "epoch": 1, "total_step": step, "seconds": step, "flow": 1.0 / (1 + step)}
        for step in range(3000)
    ]
    scores = [score(minute / 10, 0.5 + minute % 7 / 100) for minute in range(1000)]
    for curve in tell_run(write_log(tmp_path, steps + scores))["curves"]:
        minutes = [minute for minute, _ in curve["points"]]
        assert 200 < len(minutes) <= MOST_POINTS and minutes == sorted(minutes)
        assert minutes[0] == 0.0 and minutes[-1] == pytest.approx(49.98 if "flow" in curve["name"] else 99.9, abs=0.02)


def test_a_log_that_is_being_written_an_empty_one_and_none(tmp_path):
    folder = write_log(tmp_path / "run", [score(1.0, 0.5)])
    with (folder / LOG_NAME).open("a") as file:
        file.write('{"event": "score", "seconds": 120.0, "kernel_sc')
    assert len(tell_run(folder)["curves"][0]["points"]) == 1
    (folder / LOG_NAME).write_text("")
    told = tell_run(folder)
    assert told["verdict"].startswith("It has begun") and told["stages"] == [] and told["is_ruined"] is False
    runs = Runs({"gone": tmp_path / "nothing", "run": folder, "file": folder / LOG_NAME})
    assert [run["name"] for run in runs.known()] == ["run"]
    for name, says in (("gone", "has no log here"), ("file", "has no log here"), ("/etc", "there is no such run")):
        with pytest.raises(CheckpointError, match=says):
            runs.told(name)
        assert runs.state(name) is None


def test_a_run_that_is_removed_meanwhile_is_a_sentence(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run")
    runs = Runs({"run": folder})
    assert runs.told("run")["stage"] == "professor"
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="it was moved, or has not begun"):
        runs.told("run")
    monkeypatch.setattr(Runs, "folder", lambda self, name: folder)  # it goes between looking and reading
    monkeypatch.setattr("piano.play.runs.read_history", lambda folder: (folder / LOG_NAME).read_text())
    runs._read.clear()
    with pytest.raises(CheckpointError, match="cannot be read"):
        runs.told("run")


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        *("event", "stage", "epoch", "total_step", "seconds", "kernel_score", "low", "high", "flow", "flow_loss"),
        *("learning_rate", "name", "passed", "sentence", "advice", "severity", "reason", "training/pretrain_phase"),
    ]
)
KNOWN = st.sampled_from(["score", "gate", "finding", "validation", "signals", "longer", "flow", "data set", "ear", 1.0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(FIELDS, KNOWN | VALUES, max_size=9) | VALUES, max_size=12))
def test_no_log_is_so_strange_that_it_cannot_be_told(tmp_path, lines):
    told = tell_run(write_log(tmp_path / "run", lines))
    json.dumps(told, allow_nan=False)
    assert isinstance(told["verdict"], str)


def test_only_sounds_of_samples_are_served(tmp_path):
    folder = make_run(tmp_path / "run")
    outside = tmp_path / "epoch_0009_secret.wav"
    outside.write_bytes(b"secret")
    (folder / "samples" / "epoch_0009_sample_0.wav").symlink_to(outside)
    (folder / "samples" / "epoch_0008_notes.txt").write_text("not a sound")
    (folder / "samples" / "epoch_0007").mkdir()
    (folder / "samples" / "epoch_0007" / "one.WAV").write_bytes(b"RIFF")
    assert list(sample_files(folder)) == [1, 2, 3, 7]
    shutil.rmtree(folder / "samples")
    assert sample_files(folder) == {}


def test_a_best_epoch_that_is_no_json_is_passed_over(tmp_path):
    folder = write_log(tmp_path, [score(1.0, 0.5)])
    (folder / BEST_NAME).write_text("{")
    assert tell_run(folder)["best"] is None
    (folder / BEST_NAME).write_text(
        json.dumps({"epoch": 4, "kernel_distance": 0.1, "steps": 1, "stage": "flow", "kernel_score": 0.25})
    )
    assert tell_run(folder)["best"] == {"epoch": 4, "score": 0.25}


def test_a_run_is_read_again_when_it_has_changed_and_not_too_often(tmp_path, monkeypatch):
    now, read = [0.0], []
    folder = write_log(tmp_path, [score(1.0, 0.5)])
    monkeypatch.setattr("piano.play.runs.tell_run", lambda folder: read.append(folder) or {"read": len(read)})
    runs = Runs({"run": folder}, clock=lambda: now[0])
    first = runs.state("run")
    assert [runs.told("run")["read"] for _ in range(3)] == [1, 1, 1]
    write_log(tmp_path, [score(1.0, 0.5), score(2.0, 0.4)])
    assert runs.state("run") == first and runs.told("run")["read"] == 1  # just read: pages are told a moment later
    now[0] = LEAST_REST
    assert runs.state("run") != first and runs.told("run")["read"] == 2
    assert runs.told("run")["read"] == 2


def test_one_task_looks_for_all_pages_and_only_while_there_are_some():
    looked, there = [], {"one": 1, "two": 1}

    def look(name: str) -> object:
        looked.append(name)
        return there[name]

    async def listen() -> None:
        watch = Watch(look, every=0.01)
        pages = [watch.messages(name) for name in ["one"] * 50 + ["two"]]
        assert [await anext(page) for page in pages] == [""] * 51
        waiting = [asyncio.ensure_future(anext(page)) for page in pages]
        while looked.count("one") < 5:
            await asyncio.sleep(0.01)
        assert watch.is_looking and abs(looked.count("one") - looked.count("two")) <= 1
        there["one"] = 2
        told = await asyncio.gather(*waiting[:50])
        assert set(told) == {'{"changed": true}'} and not waiting[50].done()
        waiting[50].cancel()
        await asyncio.gather(waiting[50], return_exceptions=True)
        for page in pages:
            await page.aclose()
        while watch.is_looking:
            await asyncio.sleep(0.01)
        count = len(looked)
        await asyncio.sleep(0.05)
        assert len(looked) == count
        again = watch.messages("two")
        assert await anext(again) == ""
        there["two"] = 5
        waiting = [asyncio.ensure_future(anext(again))]
        while len(looked) < count + 2:
            await asyncio.sleep(0.01)
        there["two"] = 6
        assert await waiting[0] == '{"changed": true}'
        await again.aclose()

    asyncio.run(listen())


def test_a_page_that_does_not_read_keeps_the_newest_and_too_many_pages_are_refused():
    async def listen() -> None:
        events = Events(1)
        slow = events.messages()
        assert await anext(slow) == ""
        for number in range(200):
            events.tell(number=number)
        await asyncio.sleep(0)
        rest = [json.loads(await anext(slow))["number"] for _ in range(64)]
        assert rest == list(range(136, 200))
        await slow.aclose()
        body = events.stream(events.messages()).body_iterator  # type: ignore[attr-defined]
        assert await anext(body) == ": here\n\n"
        with pytest.raises(Full, match="1 pages listen already"):
            events.stream(events.messages())
        await body.aclose()
        events.stream(events.messages())

    asyncio.run(listen())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Played, Path]]:
    folder = tmp_path_factory.mktemp("played")
    run = make_run(folder / "run")
    with played(folder, runs={"évening #1": run, "gone": folder / "gone"}) as running:
        yield running, run


def test_runs_over_http(server):
    running, run = server
    with httpx.Client(base_url=running.address, timeout=60.0) as client:
        assert [found["name"] for found in client.get("/api/runs").json()] == ["évening #1"]
        told = client.get("/api/runs/%C3%A9vening%20%231").json()
        assert told["name"] == "évening #1" and told["stage"] == "professor" and str(run) not in json.dumps(told)
        sample = client.get(told["samples"][1]["url"], headers={"Range": "bytes=0-3"})
        assert sample.status_code == 206 and sample.content == b"RIFF" and sample.headers["content-type"] == "audio/wav"
        for path in ("gone", "nothing", "..%2f..", "gone/events", "gone/samples/1", "%C3%A9vening%20%231/samples/99"):
            answer = client.get(f"/api/runs/{path}")
            assert answer.status_code == 404 and answer.json()["error"].endswith("."), path
        assert client.get("/api/runs/%C3%A9vening%20%231/samples/config.yaml").status_code == 404


def test_a_page_is_told_when_the_log_grows(server):
    running, run = server
    with (
        httpx.Client(base_url=running.address, timeout=60.0) as client,
        client.stream("GET", "/api/runs/%C3%A9vening%20%231/events") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == ": here"
        client.get("/api/runs/%C3%A9vening%20%231")
        log = run / LOG_NAME
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(score(30.0, 0.3, stage="joint", epoch=3)) + "\n")
        os.utime(log)
        assert next(line for line in lines if line.startswith("data:")) == 'data: {"changed": true}'
        assert client.get("/api/runs/%C3%A9vening%20%231").json()["curves"][0]["points"] == [[30.0, 0.3]]
