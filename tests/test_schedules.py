"""Warm-up, ramp, plateaus and early stopping: each number as it was promised, and all of it survives a resume."""

import math

import pytest
import torch

from piano.config_reader import DEFAULT_CONFIG, SchedulerSettings, load_config_from_yaml
from piano.training.schedules import SETTLED, EpochEnd, Opening, Schedules


def scheduler_settings(**changes) -> SchedulerSettings:
    """The default settings with changes, of a section those of its parts."""
    overrides = {}
    for name, value in changes.items():
        parts = {f".{part}": number for part, number in value.items()} if isinstance(value, dict) else {"": value}
        overrides |= {f"schedulers.{name}{part}": number for part, number in parts.items()}
    return load_config_from_yaml(DEFAULT_CONFIG, overrides=overrides).schedulers


def schedules(stage: str = "professor", *, warmup_steps: int = 0, **settings) -> Schedules:
    """Schedules of a stage with a generator's and a judge's optimiser."""
    made = Schedules(scheduler_settings(**settings))
    made.begin(stage, warmup_steps=warmup_steps)
    made.attach({"shortcut": 1e-3, "professor": 2e-3})
    return made


def end_epoch(made: Schedules, value: float, judge_loss: float = 0.6, *, mark: float = 0.0) -> EpochEnd:
    """An epoch late in a stage with this validation loss; `mark` stands for the weights of then."""
    made.note({"professor_loss": judge_loss, "energy_score": value, "adversarial": 1.0})
    return made.end_epoch(500, 0.5, validation={"validation_loss": value}, weights={"weight": torch.tensor(mark)})


@pytest.mark.parametrize(("index", "progress"), [(0, 0.0), (3, 0.1), (9, 0.11), (10, 0.2), (200, 1.0)])
@pytest.mark.parametrize("stage", ["autoencoder", "ear", "joint"])
def test_without_settings_rates_are_a_linear_warmup_times_a_cosine_to_a_twentieth(stage, index, progress):
    rates = schedules(stage, warmup_steps=10).rates(index, progress)
    factor = 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * progress))
    if index < 10:
        factor *= (index + 1) / 10
    assert rates == {"shortcut": 1e-3 * factor, "professor": 2e-3 * factor}


@pytest.mark.parametrize(("kind", "half_way"), [("linear", 0.5), ("cosine", 0.5), ("cosine", None)])
def test_the_generator_s_warmup_replaces_the_stage_s_and_leaves_the_judges_alone(kind, half_way):
    made = schedules(warmup_steps=4, g_warmup_steps=100, g_warmup_type=kind)
    generator = [made.warmup("shortcut", index) for index in range(120)]
    assert generator == sorted(generator)
    assert generator[99:] == [1.0] * 21
    if half_way:
        assert generator[49] == pytest.approx(half_way)
    else:  # gentle at both ends
        assert generator[4] < 0.01
        assert generator[94] > 0.99
    assert [made.warmup("professor", index) for index in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert schedules("flow", warmup_steps=4, g_warmup_steps=100).warmup("flow", 3) == 1.0


def test_the_adversary_comes_after_the_generator_s_own_steps_and_rises_over_the_ramp():
    made = schedules(pretrain_g_only=True, g_pretrain_steps=10, adv_ramp_steps=20)
    openings = [made.opening(index, index / 100) for index in range(40)]
    assert openings[:10] == [Opening(is_alone=True, ramp=0.0)] * 10
    assert [phase.ramp for phase in openings[10:31]] == pytest.approx([step / 20 for step in range(21)])
    assert openings[30:] == [SETTLED] * 10
    assert made.warmup("professor", 10) == 1.0
    made = schedules("flow", pretrain_g_only=True, adv_ramp_steps=20)
    assert made.opening(0, 0.0) == SETTLED


def test_a_ramp_without_steps_takes_a_fifth_of_the_stage_from_where_the_adversary_begins():
    today = schedules()
    assert [today.opening(index, index / 50).ramp for index in range(12)] == [
        min(1.0, index / 50 / 0.2) for index in range(12)
    ]
    later = schedules(pretrain_g_only=True, g_pretrain_steps=10, adv_ramp_type="cosine")
    ramps = [later.opening(index, index / 50).ramp for index in range(25)]
    assert ramps[:11] == [0.0] * 11
    assert ramps[15] == pytest.approx(0.5)
    assert ramps[20] == pytest.approx(1.0)


def test_a_judge_warms_up_when_it_begins_to_learn():
    made = schedules(warmup_steps=4, pretrain_g_only=True, g_pretrain_steps=10)
    assert [made.warmup("professor", index) for index in (9, 10, 11, 13)] == [0.25, 0.25, 0.5, 1.0]
    assert made.warmup("shortcut", 9) == 1.0


def test_each_network_has_a_plateau_of_its_own():
    made = schedules(
        g_plateau=dict(patience=1, factor=0.5, min_lr=3e-4),
        d_plateau=dict(patience=2, factor=0.1),
    )
    lowered = [end_epoch(made, 1.0, 0.6).lowered for _ in range(8)]
    # The first epoch is the best; then two bad ones for the generator, three for the judge.
    assert lowered == [{}, {}, {"shortcut": 5e-4}, {"professor": 2e-4}, {"shortcut": 3e-4}, {}, {"professor": 2e-5}, {}]
    assert made.rates(500, 0.0) == pytest.approx({"shortcut": 3e-4, "professor": 2e-5})


@pytest.mark.parametrize("metric", ["validation", "training", "adversarial"])
def test_a_metric_that_falls_keeps_the_rate_and_one_that_is_negative_can_stand_still(metric):
    made = schedules(g_plateau=dict(patience=0, metric=metric))
    for epoch in range(4):
        made.note({"energy_score": -float(epoch), "adversarial": -float(epoch)})
        assert not made.end_epoch(500, 0.5, validation={"validation_loss": -float(epoch)}, weights={}).lowered
    made.note({"energy_score": -3.0, "adversarial": -3.0})
    assert made.end_epoch(500, 0.5, validation={"validation_loss": -3.0}, weights={}).lowered == {"shortcut": 5e-4}


@pytest.mark.parametrize(
    ("settings", "index", "progress"),
    [
        ({"adv_ramp_steps": 100}, 99, 0.9),
        ({}, 500, 0.19),
        ({"adv_ramp_steps": 1, "g_warmup_steps": 100}, 98, 0.9),
        ({"adv_ramp_steps": 1, "pretrain_g_only": True, "g_pretrain_steps": 100}, 99, 0.9),
    ],
)
def test_plateaus_and_early_stopping_are_blind_until_the_stage_is_under_way(settings, index, progress):
    made = schedules(g_plateau=dict(patience=0), early_stopping=dict(patience=0), **settings)
    for _ in range(5):
        end = made.end_epoch(index, progress, validation={"validation_loss": 1.0}, weights={})
        assert end == EpochEnd({}, is_best=False, has_stopped=False)


def test_early_stopping_holds_the_weights_of_the_best_epoch():
    made = schedules(early_stopping=dict(patience=1, threshold=0.1))
    ends = [end_epoch(made, value, mark=value) for value in (3.0, 2.0, 1.95, 2.5)]
    assert [end.is_best for end in ends] == [True, True, False, False]
    assert [end.has_stopped for end in ends] == [False, False, False, True]
    assert made.early_stop.weights == {"weight": torch.tensor(2.0)}
    assert not end_epoch(made, 0.0).is_best  # it is over


@pytest.mark.parametrize("cut", range(7))
def test_a_resumed_schedule_decides_as_one_that_never_stopped(cut, tmp_path):
    settings = {
        "g_plateau": dict(patience=1),
        "d_plateau": dict(patience=0),
        "early_stopping": dict(patience=3),
        "pretrain_g_only": True,
        "g_pretrain_steps": 3,
    }
    values = [1.0, 0.8, 0.9, 0.85, 0.7, 0.71, 0.72]

    def go(made: Schedules, epochs: range) -> list:
        ends = []
        for epoch in epochs:
            made.opening(100 * epoch + 3, epoch / 20)
            ends.append((end_epoch(made, values[epoch], mark=epoch), made.rates(500, 0.3)))
        return ends

    whole = go(schedules(**settings), range(7))
    first = schedules(**settings)
    before = go(first, range(cut))
    first.note({"professor_loss": 0.1, "energy_score": 1.0})  # a part of an epoch
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Schedules(scheduler_settings(**settings))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    second.attach({"shortcut": 1e-3, "professor": 2e-3})
    assert second.state_dict()["sums"] == first.state_dict()["sums"]
    second._sums = {}
    assert before + go(second, range(cut, 7)) == whole
