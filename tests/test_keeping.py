"""Work is never lost: stopped anywhere, a run goes on as if nothing had been; signals, disks and neighbours are met."""

import ast
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from piano import piano_main
from piano.foundation.checkpoint_format import (
    ROLES,
    checkpoint_path,
    complete_epochs,
    epochs_to_keep,
    list_epochs,
    read_best,
)
from piano.foundation.errors import CheckpointError, StoppedBySignal
from piano.foundation.folder_lock import locked_folder
from piano.foundation.run_log import read_history
from piano.foundation.runtime import Runtime
from piano.foundation.stop_signals import stoppable
from piano.piano_pretrain import train_autoencoder
from piano.stages import STAGE_NAMES
from piano.training import run_keeper
from piano.training.run_keeper import own_folder, refuse_full_disk
from piano.training.training_run import STOP_EVERY, TrainingRun
from piano.utilities import load_checkpoint
from tests.same_run import assert_same, kept_content, log_without_clocks
from tests.tiny_run import On, start_run, tiny_config, train_all, write_config, write_dataset

PROJECT = Path(__file__).resolve().parent.parent


class Memory:
    """Something with a memory of its own, as schedules and the doctor are."""

    def __init__(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = state_dict["seen"]


def dropout_run(folder: Path, *, stops: bool = False) -> TrainingRun:
    """A run whose networks draw random numbers of their own, with hooks that draw too and leave something behind.

    `stops`: it is asked to stop in every step and in every gate.
    """
    run = start_run(tiny_config(folder, model__dropout=0.1, keep_every=1))
    memory = Memory()
    run.stateful["memory"] = memory
    record = run.record

    def counted(terms, **options):
        memory.seen += 1
        run.stop.signal = signal.SIGTERM if stops else None
        record(terms, **options)

    def judge(run: TrainingRun, stage: str) -> None:
        torch.rand(3)
        run.stop.signal = signal.SIGTERM if stops else None
        run.controllers[f"judged_{stage}"] = float(run.total_step)
        run.event("gate", name=stage)
        run.score(1.0 / run.total_step, steps=1)

    run.record = counted
    run.watch(On(after_stage=judge, after_save=draw))
    return run


def draw(_: TrainingRun) -> None:
    torch.rand(5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train_all(dropout_run(folder))
    return folder


def test_a_run_stopped_after_every_step_and_stage_equals_one_never_stopped(whole, tmp_path):
    places = []
    for _ in range(100):
        run = dropout_run(tmp_path, stops=True)
        if places:
            torch.manual_seed(len(places))  # whatever was drawn before must not matter
            run.resume()
        try:
            train_all(run)
        except StoppedBySignal:
            places.append((run.stage, run.stage_step, run.stage in run.finished_stages))
            continue
        break
    boundaries = [stage for stage, _, is_over in places if is_over]
    middles = {stage for stage, step, _ in places if step % 2}
    assert boundaries == list(STAGE_NAMES)
    assert middles == set(STAGE_NAMES)
    last = complete_epochs(whole)[-1]
    assert complete_epochs(tmp_path) == complete_epochs(whole)
    assert_same(kept_content(tmp_path, last), kept_content(whole, last))
    assert log_without_clocks(tmp_path) == log_without_clocks(whole)
    assert read_best(tmp_path) == read_best(whole)


def test_a_crash_takes_its_lines_out_of_the_log_again(whole, tmp_path):
    """Lines after the last save, half a line, and the events of a stage that was not kept."""

    class Crash(Exception):
        pass

    def crash(run: TrainingRun, stage: str) -> None:
        run.event("gate", name=stage)
        with run.log.path.open("a") as log:
            log.write('{"stage": "autoenc')
        raise Crash

    run = dropout_run(tmp_path)
    run.watchers = [On(after_stage=crash)]
    with pytest.raises(Crash):
        train_all(run)
    again = dropout_run(tmp_path)
    again.resume()
    train_all(again)
    assert log_without_clocks(tmp_path) == log_without_clocks(whole)


def test_signals_are_real_and_a_gate_is_finished_first(tmp_path):
    def judge(run: TrainingRun, stage: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        run.controllers["judged"] = 1.0

    run = start_run(tiny_config(tmp_path))
    run.watch(On(after_stage=judge))
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as run.stop, pytest.raises(StoppedBySignal, match="Stopped and saved at epoch 2") as stopped:
        train_autoencoder(run)
    assert stopped.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
    again = start_run(tiny_config(tmp_path))
    again.resume()
    assert (again.finished_stages, again.controllers["judged"]) == (["autoencoder"], 1.0)


def test_encoding_is_left_at_once_when_everything_is_saved(tmp_path):
    run = start_run(tiny_config(tmp_path))
    train_autoencoder(run)
    run.data.remove_latents()
    with stoppable(is_loud=False) as run.stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedBySignal):
            run.data.latents("training")
        run.total_step += 1  # something that is not saved: encoding goes on, so that it can be
        assert len(run.data.latents("training")) == 6


def test_a_second_signal_ends_the_process_by_itself():
    script = (
        "import time, sys; from piano.foundation.stop_signals import stoppable\n"
        "with stoppable():\n    print('ready', flush=True)\n    for _ in range(600): time.sleep(0.1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n" and "everything is saved first" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM
    process.communicate()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with a data set and a config of a run that takes longer than any test."""
    folder = tmp_path_factory.mktemp("project")
    write_dataset(folder / "dataset")
    write_config(folder, pretrain_epochs_g=2000, epochs=2000, pretrain_epochs_d=50)
    return folder


def command(project: Path, *more: str) -> list[str]:
    return [sys.executable, str(PROJECT / "piano/piano_main.py"), "--config", str(project / "config.yaml"), *more]


def test_a_stopped_command_names_the_command_that_goes_on_and_it_does(project):
    """Two real processes: SIGTERM in the first, SIGINT in the one that its last line tells to start."""
    folder, steps, line = project / "checkpoints", [], shlex.join(command(project))
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            shlex.split(line),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
        )
        until, before = time.monotonic() + 120, len(read_history(folder))
        while len(read_history(folder)) < before + 3 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        with pytest.raises(CheckpointError, match="another run is working"), own_folder(tiny_config(folder)):
            pass
        process.send_signal(number)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 128 + number, error
        assert "Traceback" not in error
        said, told = error.strip().splitlines()[-2:]
        assert said.startswith("Stopped and saved at epoch ") and said.endswith("Go on with:")
        line = told.strip().replace("python ", f"{sys.executable} ", 1)
        assert line.endswith(" --resume")
        epoch = complete_epochs(folder)[-1]
        steps.append(load_checkpoint(folder, "generator", epoch)["run"]["total_step"])
        assert steps[-1] == len([entry for entry in read_history(folder) if "step" in entry])
    assert steps[1] > steps[0] > 0
    assert [entry["total_step"] for entry in read_history(folder) if "step" in entry] == list(range(steps[1]))


def test_the_command_that_goes_on_keeps_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["musigan train"])
    asked = ["--from", "shipped", "--checkpoints", "my run", "--set", "seed=3"]
    assert piano_main.resume_command(asked) == "musigan train --checkpoints 'my run' --set seed=3 --resume"
    monkeypatch.setattr(sys, "argv", ["piano/piano_main.py"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # pytest may be a module that is run
    assert piano_main.resume_command(["--resume"]) == "python piano/piano_main.py --resume"
    branched = ["--resume", "20", "--checkpoints", "b", "--set", "checkpoint_folder_load=a", "--set", "seed=3"]
    assert piano_main.resume_command(branched) == "python piano/piano_main.py --checkpoints b --set seed=3 --resume"


def test_a_lock_does_not_outlive_a_killed_process(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from piano.foundation.folder_lock import locked_folder\n"
        "with locked_folder(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"locked\n"
    with (
        pytest.raises(CheckpointError, match="another run is working in .* use another --checkpoints"),
        own_folder(tiny_config(tmp_path)),
    ):
        pass
    process.kill()
    process.communicate()
    with locked_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_found_out_before_training(project, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    places = [tmp_path / "file" / "run"]
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed")
    for place in places:
        arguments = ["--config", str(project / "config.yaml"), "--checkpoints", str(place)]
        assert piano_main.main(arguments) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        is_in_a_file = place.parent.name == "file"
        said = f"{place} is a file, or lies in one" if is_in_a_file else f"cannot write in {place}: "
        assert sentence.startswith(f"Error: {said}")
        assert sentence.endswith("Choose another folder with --checkpoints.")


def test_a_disk_that_fills_up_in_the_middle_is_one_sentence_and_keeps_what_was_whole(tmp_path, capsys):
    """The limit of this process's files stands for the disk: the system refuses the same write."""
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        status = piano_main.main(["--config", str(config)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in error
    assert "Error: cannot write" in error.strip().splitlines()[-1]
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    # The curve fits, the networks do not.
    assert left - {"loss.png"} == {"config.yaml", "dataset.json", "metrics.jsonl", ".lock"}


def test_a_disk_without_room_for_one_checkpoint_is_found_out_before_training(tmp_path):
    run = start_run(tiny_config(tmp_path))
    refuse_full_disk(tmp_path, run.generator, run.discriminator)
    with torch.device("meta"):
        giant = torch.nn.Linear(10**7, 10**6)
    with pytest.raises(CheckpointError, match=r"has room for \d+ MB, one checkpoint may need 160000016 MB"):
        refuse_full_disk(tmp_path, giant)


def test_a_damaged_newest_epoch_is_not_the_end_of_listening_either(whole, tmp_path, caplog):
    for epoch in complete_epochs(whole)[-2:]:
        path = checkpoint_path(whole, "generator", epoch)
        checkpoint_path(tmp_path, "generator", epoch).write_bytes(path.read_bytes())
    before, newest = list_epochs(tmp_path, "generator")
    path = checkpoint_path(tmp_path, "generator", newest)
    path.write_bytes(path.read_bytes()[:5000])
    for epoch in ("latest", "best"):
        assert load_checkpoint(tmp_path, "generator", epoch)["epoch"] == before
        assert f"Epoch {before} is taken instead" in caplog.messages[-1]
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, "generator", newest)


@pytest.mark.parametrize("every", ["auto", 1, 7])
def test_what_stays_of_a_run_is_the_best_the_newest_and_a_spread(every):
    have: list[int] = []
    for newest in range(1, 400):
        best = 37 if newest >= 37 else None
        have = epochs_to_keep([*have, newest], every=every, last=2, best=best)
        assert set(have) >= {newest, max(newest - 1, 1)}
        assert best is None or best in have
        if every == "auto":
            spread = [epoch for epoch in have if epoch not in (37, newest, newest - 1)]
            assert len(have) <= 23 and (newest < 20 or len(have) >= 10)
            gaps = [later - earlier for earlier, later in zip([0, *spread], spread, strict=False)]
            assert newest < 20 or max(gaps) <= max(2, newest / 5)
        else:
            assert [epoch for epoch in range(1, newest + 1) if epoch % every == 0] == [
                epoch for epoch in have if epoch % every == 0
            ]


@pytest.mark.parametrize("interval", [3, 100])
def test_a_run_that_saves_seldom_keeps_as_many(interval, tmp_path):
    have: list[int] = []
    for newest in range(interval, 200 * interval + 1, interval):
        have = epochs_to_keep([*have, newest], every="auto", last=2, best=None, interval=interval)
        saves = newest // interval
        assert min(saves, 10) <= len(have) <= 22
        gaps = [later - earlier for earlier, later in zip([0, *have], have, strict=False)]
        assert max(gaps) <= max(1, saves // 10) * interval
    run = start_run(tiny_config(tmp_path, save_after_nepochs=interval))
    for run.epoch in range(interval, 7 * interval, interval):
        run.save()
    assert complete_epochs(tmp_path) == list(range(interval, 7 * interval, interval))


def test_a_run_keeps_what_its_settings_say_and_nothing_of_it_is_half(tmp_path):
    run = start_run(tiny_config(tmp_path, keep_every=4, keep_last=1))
    (tmp_path / "mine.part1").write_text("not a leftover of a run")
    for run.epoch in range(1, 11):
        if run.epoch == 6:
            run.score(0.5, steps=1)
        run.save()
    for role in ROLES:
        assert list_epochs(tmp_path, role) == [4, 6, 8, 10]
    (tmp_path / "generator_epoch_11.part4711").write_text("half")
    with own_folder(tiny_config(tmp_path)):
        assert not list(tmp_path.glob("generator_epoch_11*"))
    assert (tmp_path / "mine.part1").is_file()


def test_a_run_is_not_continued_into_the_folder_of_another(tmp_path):
    for name in ("a", "b"):
        start_run(tiny_config(tmp_path / name)).save()
    with (
        pytest.raises(CheckpointError, match="Set checkpoint_folder_load to null"),
        own_folder(tiny_config(tmp_path / "a", checkpoint_folder_load=str(tmp_path / "b"))),
    ):
        pass


def test_a_run_goes_on_from_any_epoch_in_a_folder_of_its_own(tmp_path):
    run = start_run(tiny_config(tmp_path / "a", keep_every=1))
    for run.epoch, run.total_step in ((1, 10), (2, 20), (3, 30)):
        run.event("mark", at=run.epoch)
        run.save()
    changes = {"resume_epoch": 2, "checkpoint_folder_load": str(tmp_path / "a")}
    with own_folder(config := tiny_config(tmp_path / "b", **changes)):
        branch = start_run(config)
        assert branch.resume() == 2 and branch.total_step == 20
        assert [entry["at"] for entry in read_history(tmp_path / "b")] == [1, 2]
    assert list_epochs(tmp_path / "a", "generator") == [1, 2, 3]
    with (
        pytest.raises(CheckpointError, match="holds later epochs, up to 3.*--checkpoints .*a-from-2 --set"),
        own_folder(tiny_config(tmp_path / "a", resume_epoch=2)),
    ):
        pass
    with own_folder(tiny_config(tmp_path / "a", resume_epoch=3)):
        pass  # the newest, by its number
    with pytest.raises(CheckpointError, match="no complete checkpoint of epoch 9 in .*: there are 1, 2, 3"):
        start_run(tiny_config(tmp_path / "b", **(changes | {"resume_epoch": 9}))).resume()


def test_no_clock_that_can_be_set_is_read_while_training():
    """A changed system clock or a laptop that slept must not end a stage: only monotonic time counts."""
    modules = [*(PROJECT / "piano" / "training").glob("*.py")]
    modules += [PROJECT / "piano" / f"piano_{name}.py" for name in ("train", "pretrain", "finetune", "main")]
    assert PROJECT / "piano" / "training" / "training_run.py" in modules
    for module in modules:
        tree = ast.parse(module.read_text())
        read = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not read & {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now"}, module


def test_measured_threads_and_precision_are_those_of_the_beginning(tmp_path, monkeypatch):
    run = start_run(tiny_config(tmp_path))
    run.runtime.precision = "bf16"
    run.epoch = 1
    run.save()
    config = tiny_config(tmp_path, runtime__threads="auto", runtime__precision="auto")
    monkeypatch.setattr("piano.training.run_keeper.available_cores", lambda: 1)
    again = start_run(config)
    torch.set_num_threads(2)
    again.resume()
    assert (again.runtime.precision, torch.get_num_threads()) == ("bf16", 1)


def test_a_run_that_was_begun_on_a_gpu_takes_the_precision_that_is_fast_here(tmp_path):
    run = start_run(tiny_config(tmp_path, runtime__precision="auto"))
    there = run_keeper.computing(run.config, run.runtime)
    assert there["device_random"] is None
    for random, precision in ((torch.zeros(16, dtype=torch.uint8), "32"), (None, "bf16")):
        run.runtime.precision = "32"
        run_keeper.compute_as(there | {"device_random": random, "precision": "bf16"}, run.config, run.runtime)
        assert run.runtime.precision == precision


def test_threads_of_another_number_of_processes_are_left_alone(tmp_path):
    run = start_run(tiny_config(tmp_path, runtime__threads="auto"))
    torch.set_num_threads(1)
    there = run_keeper.computing(run.config, run.runtime)
    for processes, threads in ((4, 2), (1, 1)):
        torch.set_num_threads(2)
        run_keeper.compute_as(there | {"processes": processes}, run.config, run.runtime)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)


def test_a_signal_that_comes_while_processes_agree_is_not_lost(tmp_path, monkeypatch):
    run = start_run(tiny_config(tmp_path))
    monkeypatch.setattr(Runtime, "world_size", property(lambda runtime: 2))

    def agree(value: float) -> float:
        run.stop.signal = run.stop.signal or signal.SIGTERM
        return value

    monkeypatch.setattr(run.runtime, "agree", agree)
    assert not run._is_stop_due() and run.stop.signal == signal.SIGTERM
    run.total_step = STOP_EVERY + 1
    assert not run._is_stop_due()  # the others do not know it yet
    run.total_step = 2 * STOP_EVERY
    assert run._is_stop_due()
    run.stop.signal = None  # in a process that was not asked itself
    run.total_step += 1
    assert run._is_stop_due()


def test_a_checkpoint_of_nothing_but_weights_cannot_be_resumed_and_says_so(tmp_path, capsys):
    run = start_run(tiny_config(tmp_path))
    run.epoch = 1
    run.save()
    path = checkpoint_path(tmp_path, "generator", 1)
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"run": {"total_step": 0, "stage": 5}}, path)
    with pytest.raises(CheckpointError, match="does not say where its run stood .*Delete it"):
        start_run(tiny_config(tmp_path)).resume()
    torch.save(saved | {"run": []}, path)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        start_run(tiny_config(tmp_path)).resume()
