"""A run ends when it was told to, whatever it has to do besides learning."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from piano.foundation.checkpoint_format import complete_epochs, read_best
from piano.foundation.errors import EXIT_RUINED
from piano.foundation.run_log import read_history
from piano.foundation.runtime import Runtime
from piano.piano_main import main
from piano.piano_pretrain import try_steps
from piano.training.schedules import Step
from piano.training.time_budget import AIM, ENCODING, EXIT_SECONDS, SAVING, TEXTURE_OF_MANY, TimeBudget
from piano.vae_utilities import save_checkpoint
from tests.tiny_run import start_run, tiny_config, write_config, write_dataset

SHARES = {"autoencoder": 0.3, "flow": 0.4, "judges": 0.02, "ear": 0.02, "professor": 0.2, "joint": 0.02}


def budget(seconds: float) -> TimeBudget:
    return TimeBudget(seconds, SHARES, {"flow": (TEXTURE_OF_MANY,), "joint": (TEXTURE_OF_MANY,)})


def test_learning_and_everything_else_together_fill_the_time() -> None:
    plan = budget(1000.0)
    plan.measured = {ENCODING: 30.0, SAVING: 2.0, TEXTURE_OF_MANY: 5.0}
    plan.expected_gate = lambda stage: 1.0 if stage == "judges" else 4.0
    learning = plan.plan("autoencoder", 10.0)
    assert list(learning) == list(SHARES)
    rest = 30.0 + 6 * 2.0 + 2 * 5.0 + 1.0 + 5 * 4.0
    assert 10.0 + sum(learning.values()) + rest + EXIT_SECONDS == pytest.approx(AIM * 1000.0)
    assert learning["flow"] / learning["professor"] == pytest.approx(2.0)


def test_what_took_longer_than_expected_is_paid_by_all_later_stages_alike() -> None:
    plan = budget(1000.0)
    early, late = plan.plan("flow", 300.0), plan.plan("flow", 400.0)
    ratios = [late[name] / early[name] for name in early]
    assert ratios == pytest.approx([ratios[0]] * 5) and ratios[0] < 1.0
    assert plan.stage_end("joint", 700.0) == pytest.approx(AIM * 1000.0 - EXIT_SECONDS)


def test_a_small_stage_is_left_out_when_closing_it_takes_longer_than_its_learning() -> None:
    plan = budget(100.0)
    plan.expected_gate = lambda stage: {"joint": 8.0, "professor": 6.0}.get(stage, 0.5)
    assert "joint" not in plan.plan("flow", 30.0) and "ear" in plan.plan("flow", 30.0)
    assert plan.stage_end("joint", 90.0) == 90.0
    without, closing = plan.plan("professor", 70.0), 6.0
    assert without == {"professor": pytest.approx(AIM * 100.0 - 70.0 - closing - EXIT_SECONDS)}
    plan.seconds = 2000.0
    assert "joint" in plan.plan("flow", 30.0)


def test_the_judges_do_not_learn_for_nobody() -> None:
    plan = budget(60.0)
    plan.expected_gate = lambda stage: {"professor": 8.0, "ear": 3.0, "joint": 3.0}.get(stage, 0.5)
    assert list(plan.plan("flow", 20.0)) == ["flow", "judges", "professor"]
    assert list(plan.plan("flow", 39.0)) == ["flow"]  # the professor's time is better spent by the flow
    assert list(plan.plan("judges", 48.0)) == ["judges", "professor"]  # but later nobody else could use it
    assert plan.plan("judges", 52.0) == {} and plan.stage_end("judges", 52.0) == 52.0


def test_a_professor_of_a_few_steps_leaves_its_time_to_the_flow() -> None:
    plan = budget(300.0)
    plan.step_seconds = {"autoencoder": 0.3, "flow": 0.5}
    assert list(plan.plan("autoencoder", 8.0)) == ["autoencoder", "flow"]  # 58 seconds are 29 steps of it
    assert plan.plan("flow", 100.0)["flow"] == pytest.approx(AIM * 300.0 - 100.0 - EXIT_SECONDS)
    assert list(plan.plan("judges", 200.0)) == ["judges", "ear", "professor", "joint"]  # later nobody else could use it
    plan.step_seconds = {"autoencoder": 0.1, "flow": 0.2}
    assert "professor" in plan.plan("autoencoder", 8.0)


def test_no_time_at_all_means_no_learning_and_not_a_negative_one() -> None:
    plan = budget(5.0)
    plan.measured = {ENCODING: 30.0, SAVING: 1.0}
    assert list(plan.plan("autoencoder", 3.0)) == ["autoencoder", "flow"]
    assert sum(plan.plan("autoencoder", 3.0).values()) == pytest.approx(0.25 * (AIM * 5.0 - 3.0))
    assert plan.stage_end("autoencoder", 6.0) == 6.0
    with plan.measure("nothing"):
        pass
    assert 0.0 <= plan.measured["nothing"] < 1.0
    again = budget(5.0)
    again.load_state_dict(plan.state_dict())
    assert again.measured == plan.measured


def test_a_short_run_encodes_every_nth_pair_and_a_long_one_all() -> None:
    plan = budget(60.0)
    assert plan.encoding_stride(640) == 1  # nothing is known
    plan.measured = {ENCODING: 12.0}
    assert plan.encoding_stride(640) == 3 and plan.encoding_stride(100) == 1
    plan.seconds = 600.0
    assert plan.encoding_stride(640) == 1


def test_the_clock_starts_with_the_process_and_only_in_one_that_trains() -> None:
    code = (
        "import sys, time; time.sleep(0.5); sys.argv[0] = {!r}; "
        "from piano.training.time_budget import seconds_since_start as seconds; print(seconds())"
    )
    told = {}
    for name in ("musigan train", "somewhere/piano_main.py", "notebook.py"):
        done = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True)
        told[name] = float(done.stdout)
    assert told.pop("notebook.py") == 0.0
    least = 0.4 if Path("/proc/self/stat").exists() else 0.01
    assert all(least <= seconds < 60.0 for seconds in told.values())


def test_a_run_of_seconds_ends_in_time_with_every_gate_and_a_best_epoch(
    tmp_path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", time.process_time)  # what else the machine does is not the run's fault
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path, steps_per_epoch=150)
    minutes = 0.35
    began = time.monotonic()
    status = main(["--config", str(config), "--minutes", str(minutes), "--verbose", "--anyway"])
    assert 0.8 < (time.monotonic() - began) / (60.0 * minutes) < 1.2
    folder = tmp_path / "checkpoints"
    history = read_history(folder)
    gates = [entry["stage"] for entry in history if entry.get("event") == "gate"]
    left_out = {entry["stage"] for entry in history if entry.get("event") == "left out"}
    assert gates[:2] == ["autoencoder", "flow"]
    assert [stage for stage in SHARES if stage not in left_out] == gates
    best = read_best(folder)
    assert best is not None and best.epoch in complete_epochs(folder)
    screen = " ".join(capsys.readouterr().out.split())
    assert "Plan: autoencoder 0:0" in screen and "all included" in screen
    is_ruined = json.loads((folder / "best.json").read_text(encoding="ascii"))["is_ruined"]
    assert ("Not worth listening to yet. Train the same run longer: " in screen) == is_ruined
    assert ("Listen: " in screen) != is_ruined
    assert status == (EXIT_RUINED if is_ruined else 0)


def test_what_was_learned_before_counts_towards_the_whole() -> None:
    plan = budget(1000.0)
    assert plan.divided(["autoencoder", "flow"], 70.0, {}) == pytest.approx({"autoencoder": 30.0, "flow": 40.0})
    more = plan.divided(["autoencoder", "flow"], 50.0, {"autoencoder": 20.0})
    assert more == pytest.approx({"autoencoder": 10.0, "flow": 40.0})
    more = plan.divided(["autoencoder", "flow", "professor"], 30.0, {"autoencoder": 500.0, "flow": 15.0})
    assert more == pytest.approx({"autoencoder": 0.0, "flow": 15.0, "professor": 15.0})
    assert plan.divided(["judges"], 0.0, {"judges": 5.0}) == {"judges": 0.0}


def test_a_time_too_short_to_learn_in_is_known_and_so_is_one_that_is_enough() -> None:
    plan = budget(120.0)
    plan.measured = {ENCODING: 30.0, SAVING: 2.0}
    plan.expected_gate = lambda stage: 10.0
    assert sum(plan.plan("autoencoder", 20.0).values()) < 60.0
    needed = plan.needed_minutes(20.0)
    assert needed == 3
    plan.seconds = 180.0
    assert sum(plan.plan("autoencoder", 20.0).values()) >= 90.0
    plan.expected_gate = lambda stage: 1e9
    assert plan.needed_minutes(20.0) is None


def test_the_steps_of_a_plan_are_counted_by_what_a_step_takes() -> None:
    plan = budget(120.0)
    assert plan.planned_steps({"flow": 60.0}) == math.inf  # nothing was tried out
    plan.step_seconds = {"autoencoder": 0.5, "flow": 2.0}
    assert plan.planned_steps({"autoencoder": 5.0, "flow": 20.0, "professor": 4.0}) == pytest.approx(22.0)
    whole = sum(plan.plan("autoencoder", 0.0).values())
    steps = plan.planned_steps(plan.plan("autoencoder", 0.0))
    assert whole / 2.0 < steps < whole / 0.5
    assert plan.needed_minutes(0.0, least_steps=round(steps) - 1) == 2
    assert plan.needed_minutes(0.0, least_steps=round(3.6 * steps)) in (7, 8)


@pytest.mark.parametrize("words", [[], ["--from", "checkpoints"]])
def test_a_time_of_few_steps_is_said_before_the_first_from_nothing_and_from_a_model(
    tmp_path, capsys, monkeypatch, words
) -> None:
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path)
    run = start_run(tiny_config(tmp_path / "checkpoints"))
    for role in ("generator", "discriminator"):
        save_checkpoint(getattr(run, role), 1, tmp_path / "checkpoints", role)
    monkeypatch.chdir(tmp_path)
    slow = ["--set", "batch_size=16384"]  # stands for a slow machine: each step takes many seconds
    arguments = ["--config", str(config), "--checkpoints", "new", "--minutes", "4", *slow, *words]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "fewer than 100 leave everything close to where it began. Give --minutes " in error
    assert int(error.partition("which is about ")[2].partition(" step")[0]) < 100
    assert int(error.partition("Give --minutes ")[2].partition(",")[0]) > 2
    assert not (tmp_path / "new").exists()


def test_trying_a_step_out_moves_no_weight_and_leaves_no_gradient(tmp_path) -> None:
    run = start_run(tiny_config(tmp_path))
    before = {name: value.clone() for name, value in run.generator.state_dict().items()}
    seconds = try_steps(run)
    assert set(seconds) == {"autoencoder", "flow"} and all(0.0 < value < 60.0 for value in seconds.values())
    assert all(parameter.grad is None for parameter in run.generator.parameters())
    for name, value in run.generator.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0, equal_nan=True)


def test_each_of_several_processes_tries_its_own_part_of_the_batch(tmp_path, monkeypatch) -> None:
    run = start_run(tiny_config(tmp_path, batch_size=8))
    draw, tried = run.data.draw_waveforms, []

    def counted(step: Step, items: int, frames: int) -> torch.Tensor:
        tried.append(items)
        return draw(step, items, frames)

    monkeypatch.setattr(run.data, "draw_waveforms", counted)
    try_steps(run)
    monkeypatch.setattr(Runtime, "world_size", property(lambda runtime: 2))
    try_steps(run)
    assert tried == [1, 2, 8, 1, 2, 4]


def test_a_run_that_is_too_short_names_the_minutes_and_leaves_nothing_behind(tmp_path, capsys) -> None:
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path)
    assert main(["--config", str(config), "--minutes", "0.05"]) == 2
    error = capsys.readouterr().err
    assert error.partition(": ")[2].startswith("of 0.05 minutes only 0:0") and "--anyway" in error
    assert int(error.partition("Give --minutes ")[2].partition(",")[0]) >= 1
    assert not (tmp_path / "checkpoints").exists()
    for words in (
        ["--set", "epochs=0", "--set", "pretrain_epochs_g=0", "--set", "pretrain_epochs_d=0"],
        ["--set", "epochs=0", "--set", "pretrain_epochs_g=1", "--set", "pretrain_epochs_d=0"],
    ):
        assert main(["--config", str(config), *words]) == 2
        assert capsys.readouterr().err.partition(": ")[2].startswith("nothing would be learned: ")
    assert not (tmp_path / "checkpoints").exists()
