"""On the workers of a Dask and of a Ray cluster the same folder comes out, also where a worker is killed on the way."""

import functools
import importlib.util
import multiprocessing
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_prep.prepare_dataset import main
from data_prep.runners.own_child import Outcome, run_apart
from piano.foundation.dataset_format import read_prepared_manifest
from tests import crashing_workers
from tests.make_audio import write_music
from tests.test_prepare_dataset import contents

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["--sample-rate", "16000", "--channels", "1", "--chunk-seconds", "2"]


ENGINES = ["dask", pytest.param("ray", marks=pytest.mark.slow)]
"""A Ray cluster takes half a minute to start and to end: -m slow."""


def is_installed(engine: str) -> bool:
    return importlib.util.find_spec(engine) is not None


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for seed in range(6):
        write_music(folder / f"{seed}.flac", seed, 3.0 + seed)
    write_music(folder / "deadly.wav", 7, 4.0)
    (folder / "broken.mp3").write_bytes(b"no music at all" * 100)
    return folder


@pytest.fixture
def whole(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What one run here makes, where one decoder crashes."""
    monkeypatch.setattr("data_prep.song_queue.prepare_song", crashing_workers.crash_if_deadly)
    assert main([str(music), "--output", str(tmp_path / "whole"), *OPTIONS, "--workers", "2"]) == 0
    left_out = {entry.source: entry.detail for entry in read_prepared_manifest(tmp_path / "whole").left_out}
    assert left_out["deadly.wav"] == "the decoder crashed (exit code -11)"
    return contents(tmp_path / "whole")


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    if not is_installed("distributed"):
        pytest.skip("the extra `dask` is not installed")
    from dask.distributed import LocalCluster

    cluster: Any = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0")
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_installed("ray"):
        pytest.skip("the extra `ray` is not installed")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # of this cluster alone; Ray would write one at home
        import ray  # after these variables, which it reads once

        context: Any = ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20, address="local"
        )
        yield context.address_info["address"]
        ray.shutdown()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cluster_makes_the_same_folder_though_a_worker_is_killed(
    engine: str,
    music: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    address = request.getfixturevalue(engine)
    monkeypatch.setattr("data_prep.song_queue.prepare_song", crashing_workers.kill_the_worker_once)
    output = tmp_path / "there" / "prepared"
    cluster = ["--runner", engine, "--address", address]
    assert main([str(music), "--output", str(output), *OPTIONS, *cluster]) == 0
    orphan = int((output.parent / crashing_workers.MARK).read_text(encoding="ascii"))
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
    assert contents(output) == whole


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cluster_goes_on_where_a_shard_stopped_and_this_machine_ends_it(
    engine: str, music: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The run on the cluster is a process of its own, as it is for a user."""
    address = request.getfixturevalue(engine)
    output = tmp_path / "prepared"
    assert main([str(music), "--output", str(tmp_path / "whole"), *OPTIONS, "--workers", "1"]) == 0
    assert main([str(music), "--output", str(output), *OPTIONS, "--shard", "1/3"]) == 0
    before = {path.name for path in output.glob("records/*.json")}
    command = [sys.executable, "-m", "data_prep.prepare_dataset", str(music), "--output", str(output), *OPTIONS]
    command += ["--shard", "2/3", "--runner", engine, "--address", address]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in output.glob("records/*.json")} > before
    assert main([str(music), "--output", str(output), *OPTIONS, "--workers", "1"]) == 0
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.parametrize("engine", ENGINES)
def test_folders_may_be_named_from_where_the_command_is_given(
    engine: str, music: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = request.getfixturevalue(engine)  # its workers stand where they were started
    monkeypatch.chdir(tmp_path)
    words = [os.path.relpath(music), "--output", "prepared", *OPTIONS, "--runner", engine, "--address", address]
    assert main(words) == 0
    assert main([str(music), "--output", str(tmp_path / "whole"), *OPTIONS, "--workers", "1"]) == 0
    assert contents(Path("prepared")) == contents(tmp_path / "whole")


def in_a_daemon(tasks: list[int]) -> list[Outcome]:
    """What a worker does, in a process that may have no children by multiprocessing."""
    return [
        run_apart(functools.partial(crashing_workers.tell_process, word), task, [str(ROOT)], 60.0)
        for word in ("a", "b")
        for task in tasks
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there such a process has no child of its own")
def test_a_thread_of_a_worker_keeps_one_child_until_that_crashes() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(in_a_daemon, ([1, 2, 0, 3],))
    assert [outcome.failure for outcome in found] == ["", "", "the decoder crashed (exit code -11)", ""] * 2
    told = [outcome.result for outcome in found if outcome.result is not None]
    assert [(word, task) for word, task, *_ in told] == [(word, task) for word in "ab" for task in (1, 2, 3)]
    pids = [pid for _, _, pid, *_ in told]
    assert pids[0] == pids[1] and pids[3] == pids[4] and len(set(pids)) == 4
    assert {threads for *_, threads in told} == {"1"} and len({parent for *_, parent, _ in told}) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_that_does_not_see_the_folders_is_one_sentence(
    engine: str, music: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from data_prep.runners.choice import choose_runner
    from piano.foundation.errors import DatasetError

    runner = choose_runner(engine, request.getfixturevalue(engine), None, [tmp_path / "not there"], 1)
    with pytest.raises(DatasetError, match=r"the worker on .* does not see .*not there. Every worker needs"):
        list(runner(crashing_workers.crash_if_deadly, [1, 2]))


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_no_cluster_at_an_address_is_one_sentence(engine: str, package: str, music: Path, tmp_path: Path) -> None:
    if not is_installed(package):
        pytest.skip(f"the extra `{engine}` is not installed")
    code = (
        f"import data_prep.runners.{engine}_runner as engine; engine.SCHEDULER_WAIT_SECONDS = 1.0\n"
        "from data_prep.prepare_dataset import main\n"
        "import sys; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--output", str(tmp_path / "prepared"), *OPTIONS, "--runner", engine, "--address", "127.0.0.1:9"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(music), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "answers at 127.0.0.1:9" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--runner", "dask"], "--runner dask needs the --address of a running cluster"),
        (["--runner", "ray"], "--runner ray needs the --address of a running cluster"),
        (["--address", "tcp://host:1"], "Say --runner dask or --runner ray"),
        (["--runner", "ray", "--address", "auto", "--workers", "2"], "a cluster has its own"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], said: str, music: Path, tmp_path: Path, capsys
) -> None:
    assert main([str(music), "--output", str(tmp_path / "prepared"), *OPTIONS, *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_is_one_sentence(
    engine: str, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, {"dask": "dask.distributed", "ray": "ray"}[engine], None)
    monkeypatch.delitem(sys.modules, f"data_prep.runners.{engine}_runner", raising=False)
    options = ["--output", str(tmp_path / "prepared"), *OPTIONS, "--runner", engine, "--address", "host:1"]
    assert main([str(music), *options]) == 2
    assert f'pip install -c constraints.txt -e ".[{engine}]"' in " ".join(capsys.readouterr().err.split())
