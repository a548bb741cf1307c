"""A run with more time, or more epochs, divides all of it anew; one without is not touched."""

import copy
from typing import Any

import pytest
import torch

from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.run_log import read_history
from piano.stages import STAGE_NAMES
from piano.training.longer_run import (
    LearnedSoFar,
    Reopened,
    learned_in,
    minutes_to_reopen,
    reopen_by_steps,
    reopen_by_time,
)
from piano.training.time_budget import TimeBudget
from piano.training.training_run import TrainingRun
from tests.held_latents import every_latent
from tests.tiny_run import On, start_run, tiny_config, train_all

SHARES: dict[str, float] = dict(zip(STAGE_NAMES, (0.3, 0.4, 0.02, 0.02, 0.2, 0.06), strict=True))


def budget(minutes: float) -> TimeBudget:
    return TimeBudget(60.0 * minutes, SHARES, {})


def near(seconds: float) -> Any:
    return pytest.approx(seconds)


def had(seconds: float) -> dict[str, LearnedSoFar]:
    """What stages have had that shared so much time for learning."""
    return {name: LearnedSoFar(round(10 * share * seconds), share * seconds) for name, share in SHARES.items()}


def test_ten_times_the_time_is_for_sounds_and_composing_too() -> None:
    found = reopen_by_time(budget(100.0), had(600.0), finished=STAGE_NAMES, now=610.0)
    assert list(found) == list(STAGE_NAMES)
    assert found["autoencoder"] == Reopened(1800, 1800, near(180.0))
    assert found["professor"] == Reopened(1200, 0, 0.0)  # it played against a generator that is no more
    longer = budget(100.0)
    longer.spent = {name: again.seconds for name, again in found.items()}
    plan = longer.plan("autoencoder", 610.0)
    whole = sum(plan.values()) + 180.0 + 240.0
    assert plan["autoencoder"] + 180.0 == pytest.approx(whole * 0.3)
    assert plan["flow"] + 240.0 == pytest.approx(whole * 0.4)
    assert plan["professor"] == pytest.approx(whole * 0.2)
    assert sum(plan.values()) == pytest.approx(longer.room(STAGE_NAMES, 610.0))


def test_a_stage_that_has_had_more_than_its_share_stays_as_it_is() -> None:
    learned = had(600.0) | {"autoencoder": LearnedSoFar(9000, 900.0)}
    found = reopen_by_time(budget(40.0), learned, finished=STAGE_NAMES, now=1300.0)
    assert list(found) == list(STAGE_NAMES[1:])
    learned |= {"flow": LearnedSoFar(9000, 1200.0)}
    found = reopen_by_time(budget(45.0), learned, finished=STAGE_NAMES, now=2400.0)
    assert list(found) == list(STAGE_NAMES[2:])
    assert found["professor"] == Reopened(1200, 1200, near(120.0))


def test_the_minutes_from_which_on_a_stage_learns_again_are_the_fewest() -> None:
    learned = had(600.0) | {"autoencoder": LearnedSoFar(9000, 900.0)}
    minutes = minutes_to_reopen("autoencoder", budget(40.0), learned, finished=STAGE_NAMES, now=1300.0)
    assert minutes is not None and minutes > 40
    for offered, is_open in ((minutes - 1, False), (minutes, True)):
        found = reopen_by_time(budget(float(offered)), learned, finished=STAGE_NAMES, now=1300.0)
        assert ("autoencoder" in found) == is_open


def test_a_little_more_time_is_no_reason_to_open_a_stage_again() -> None:
    assert reopen_by_time(budget(10.3), had(600.0), finished=STAGE_NAMES, now=610.0) == {}


def test_more_epochs_are_counted_in_steps() -> None:
    before: dict[str, int] = dict.fromkeys(STAGE_NAMES, 10)
    learned = {name: LearnedSoFar(10, 1.0) for name in STAGE_NAMES}
    assert reopen_by_steps(before, before, learned, finished=STAGE_NAMES) == {}
    found = reopen_by_steps(before, before | {"flow": 30}, learned, finished=STAGE_NAMES)
    assert found == {
        name: Reopened(10, 10 if name == "flow" else 0, 1.0 if name == "flow" else 0.0) for name in STAGE_NAMES[1:]
    }
    found = reopen_by_steps(before, before | {"professor": 30, "joint": 20}, learned, finished=STAGE_NAMES)
    assert found == dict.fromkeys(("professor", "joint"), Reopened(10, 10, 1.0))


def test_what_an_earlier_version_learned_is_read_from_its_log() -> None:
    lines = [{"stage": "flow", "step": step, "seconds": 10.0 + step} for step in range(5)]
    lines += [{"event": "gate", "stage": "flow", "step": 99, "seconds": 99.0}, {"stage": 3, "step": 1}]
    assert learned_in(lines) == {"flow": LearnedSoFar(5, 4.0)}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run that is over."""
    folder = tmp_path_factory.mktemp("short")
    train_all(start_run(tiny_config(folder, keep_every=1)))
    return folder


def steps_by_stage(folder) -> list[tuple[str, int]]:
    return [(line["stage"], line["step"]) for line in read_history(folder) if "step" in line]


def test_a_run_with_more_epochs_learns_everything_further(short, tmp_path) -> None:
    config = tiny_config(tmp_path, keep_every=1, pretrain_epochs_g=8, checkpoint_folder_load=str(short))
    run = start_run(config)
    run.resume()
    before = copy.deepcopy(run.generator.state_dict())
    said = run.extend()
    assert said.startswith("The whole run is divided anew. These learn: autoencoder 4 steps, flow 4 steps, judges 2 ")
    assert run.extend() == ""
    old = len(steps_by_stage(short))
    train_all(run)
    new = steps_by_stage(tmp_path)[old:]
    assert new[:4] == [("autoencoder", step) for step in range(4, 8)]
    assert new[4:8] == [("flow", step) for step in range(4, 8)]
    assert [stage for stage, _ in new[8:]] == [
        "judges",
        "judges",
        "ear",
        "ear",
        "ear",
        "ear",
        "professor",
        "professor",
        "professor",
        "professor",
        "joint",
        "joint",
        "joint",
        "joint",
    ]
    rates = [
        line["learning_rate"]["autoencoder"]
        for line in read_history(tmp_path)
        if line["stage"] == "autoencoder" and "step" in line and line["total_step"] >= old
    ]
    assert rates[-1] < rates[1]  # the cosine goes on from the middle of the whole stage
    assert not torch.equal(before["normaliser.whiten"], run.generator.normaliser.whiten)
    latents = every_latent(run).flatten(0, 1)
    covariance = latents.T @ latents / len(latents)
    assert float((covariance - torch.eye(len(covariance))).abs().max()) < 0.2  # whitened for the encoder of now
    assert set(run.finished_stages) == set(STAGE_NAMES)


def test_stopped_in_the_middle_a_longer_run_ends_the_same(short, tmp_path) -> None:
    ends = []
    for stop_after in (None, 13):
        folder = tmp_path / str(stop_after)
        first = start_run(tiny_config(folder, keep_every=1, pretrain_epochs_g=8, checkpoint_folder_load=str(short)))
        first.resume()
        first.extend()

        class Cut(Exception):
            pass

        def cut(run: TrainingRun, at=stop_after, kind=Cut) -> None:
            if run.epoch == at:
                raise kind

        first.watch(On(after_save=cut))
        if stop_after is None:
            train_all(first)
            ends.append(first)
            continue
        with pytest.raises(Cut):
            train_all(first)
        second = start_run(tiny_config(folder, keep_every=1, pretrain_epochs_g=8))
        assert second.resume() == stop_after
        assert second.extend() == ""
        train_all(second)
        ends.append(second)
    states = [run.generator.state_dict() | run.discriminator.state_dict() for run in ends]
    for other in states[1:]:
        assert [name for name, value in states[0].items() if not torch.equal(value, other[name])] == []
    assert complete_epochs(tmp_path / "13") == complete_epochs(tmp_path / "None")


def test_without_more_a_finished_run_stays_finished(short, tmp_path) -> None:
    run = start_run(tiny_config(tmp_path, checkpoint_folder_load=str(short)))
    run.resume()
    assert run.extend() == "" and set(run.finished_stages) == set(STAGE_NAMES)
