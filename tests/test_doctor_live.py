"""The doctor inside a run: it changes nothing while it only looks, resumes exactly, and treats what it may."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import pytest
import torch

from piano.foundation.errors import TrainingError
from piano.foundation.run_log import read_history
from piano.piano_train import train_ear
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from piano.watching import live
from piano.watching.live import RELAX, SPOILT_IN_A_ROW, Doctor
from piano.watching.measure import frechet_gap, measure
from tests.same_run import Interrupted, assert_same, run_weights
from tests.tiny_run import On, start_run, tiny_config, train_all


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with a doctor that may act, and its folder."""
    folder = tmp_path_factory.mktemp("watched")
    run = start_run(tiny_config(folder), watchers=[Doctor("act", window=2)])
    train_all(run)
    return run, folder


def test_looking_on_changes_no_weight(whole, tmp_path):
    alone = start_run(tiny_config(tmp_path))
    train_all(alone)
    watched, folder = whole
    assert not [entry for entry in read_history(folder) if entry.get("remedy")]
    assert_same(run_weights(alone), run_weights(watched))


@pytest.mark.parametrize("stop_after", [pytest.param(3, marks=pytest.mark.slow), 6])
def test_the_doctor_resumes_where_it_was(whole, tmp_path, stop_after):
    finished, folder = whole

    def interrupt(run: TrainingRun) -> None:
        if run.epoch == stop_after:
            raise Interrupted

    first = start_run(tiny_config(tmp_path), watchers=[Doctor("act", window=2)])
    first.watch(On(after_save=interrupt))
    with pytest.raises(Interrupted):
        train_all(first)
    second = start_run(tiny_config(tmp_path), watchers=[Doctor("act", window=2)])
    second.resume()
    train_all(second)
    assert_same(run_weights(second), run_weights(finished))
    signals = [
        [entry for entry in read_history(place) if entry.get("event") == "signals"] for place in (tmp_path, folder)
    ]
    without_clock = [[{k: v for k, v in entry.items() if k != "seconds"} for entry in entries] for entries in signals]
    assert without_clock[0] == without_clock[1]


def test_measuring_says_what_a_stage_has_and_leaves_the_modes(whole):
    run, _ = whole
    run.stage = "joint"
    run.generator.train()
    found = measure(run)
    assert {"diversity", "noise_spread", "ear_probes", "professor_probes", "professor_accuracy"} <= found.keys()
    assert run.generator.training and measure(run) == found


def test_the_gap_of_latents_is_zero_to_itself_and_one_for_a_mean_off_by_one():
    latents = torch.randn(4, 500, 6, generator=torch.Generator().manual_seed(0))
    assert frechet_gap(latents, latents) == pytest.approx(0.0, abs=1e-6)
    assert frechet_gap(latents + 1.0, latents) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("mode", ["advise", "act"])
def test_numbers_that_are_none_are_skipped_and_end_the_run_at_last(mode, tmp_path, monkeypatch):
    config = tiny_config(tmp_path, steps_per_epoch=20, epochs=3)
    run = start_run(config, watchers=[Doctor(mode, window=4)], is_trial=True)
    run.finished_stages = ["autoencoder", "flow", "judges"]
    original = run.data.draw_waveforms

    def spoilt(step: Step, batch_size: int, frames: int, **choice: Any) -> torch.Tensor:
        return original(step, batch_size, frames, **choice) * (float("nan") if step.index >= 2 else 1.0)

    monkeypatch.setattr(run.data, "draw_waveforms", spoilt)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        train_ear(run)
    assert all(bool(value.isfinite().all()) for value in run_weights(run).values())
    entries = read_history(tmp_path)
    skipped = [entry for entry in entries if "skipped" in entry]
    assert len(skipped) == (3 if mode == "advise" else 9)
    assert {entry["name"] for entry in entries if entry.get("event") == "finding"} == {"divergence"}


STEP = {"loss": 0.5, "ear_dn": 0.6}
CALM = {"ear_dn": 0.6}


class Bedside:
    """A doctor at a run whose steps are made up: lines come `every` so many steps, windows measure what is wanted."""

    def __init__(self, folder, monkeypatch, *, mode: Any = "act", window: int = 10, every: int = 10) -> None:
        self.run = start_run(tiny_config(folder, steps_per_epoch=window))
        self.doctor, self.every, self.folder = Doctor(mode, window=window), every, folder
        self.signals: Mapping[str, float] = CALM
        self.growth = 1e-4
        monkeypatch.setattr(live, "measure", lambda run: dict(self.signals))
        self.run.stage = "ear"
        self.optimizers = {"ear": torch.optim.SGD(self.run.discriminator.ear.parameters(), lr=0.1)}
        self.pending: list[dict[str, Any]] = []
        self.doctor.begin_stage(self.run, self.optimizers)

    def walk(self, steps: int, *, bad: Collection[int] = ()) -> None:
        """So many steps, of which some, counted from here, are refused."""
        run = self.run
        for index in range(steps):
            is_bad = index in bad
            norm = torch.tensor(math.nan if is_bad else 1.0)
            assert self.doctor.allows(run, self.optimizers["ear"], norm) is not is_bad
            with torch.no_grad():
                for parameter in run.discriminator.ear.parameters():
                    parameter.mul_(1.0 if is_bad else 1.0 + self.growth)
            line = {"stage": "ear", "epoch": 1, "step": run.stage_step, "total_step": run.total_step, **STEP}
            self.pending.append(line | ({"loss": math.nan} if is_bad else {}))
            run.stage_step += 1
            run.total_step += 1
            if run.total_step % self.every == 0:
                self.doctor.read(run, self.pending)
                self.pending = []
            self.doctor.after_step(run)

    def windows(self, signals: Mapping[str, float], count: int) -> None:
        """So many windows in which this is measured."""
        self.signals = CALM | dict(signals)
        self.walk(count * self.doctor.window)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in read_history(self.folder) if entry.get("event") == kind]


def test_one_skipped_step_counts_once_when_lines_come_ten_at_a_time(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch, mode="advise")
    bedside.walk(30, bad={9, 19})  # the last line read stays the last one for ten steps
    assert [window.signals["not_finite"] for window in bedside.doctor.windows[1:]] == [1.0, 1.0, 0.0]


def test_three_skipped_steps_in_a_row_are_seen_wherever_in_the_ten_they_are(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch, mode="advise", window=40)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        bedside.walk(10, bad={3, 4, 5})
    across = Bedside(tmp_path / "across", monkeypatch, mode="advise", window=40)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        across.walk(20, bad={8, 9, 10})
    apart = Bedside(tmp_path / "apart", monkeypatch, mode="advise", window=40)
    apart.walk(40, bad={1, 2, 5, 9, 11, 12, 14})


def test_the_size_of_a_step_is_a_share_of_steps_taken_not_logged(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch, window=15)
    bedside.growth = 0.0
    with torch.no_grad():
        for parameter in bedside.run.discriminator.ear.parameters():
            parameter.mul_(1.3)
    bedside.walk(15)
    signals = bedside.doctor.windows[-1].signals
    assert signals["ear_moved"] == pytest.approx(0.3, rel=1e-3)
    assert signals["ear_step_size"] == pytest.approx(0.3 / 15, rel=1e-3)


def test_only_what_a_remedy_changed_is_taken_back_and_what_is_kept_stays(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch)
    bedside.run.factors["rate/judge"] = 50.0  # as wake_judge left it: to be kept
    bedside.windows({"diversity": 0.2}, 3 + 3)  # went back (nothing to take back), then energy score x 2
    bedside.windows({"kl_dead_share": 0.6}, 3)  # weight of the KL term x 0.1
    given = {"rate/judge": 50.0, "energy_score": 2.0, "beta": 0.1}
    assert bedside.run.factors == given
    bedside.windows({"diversity": 0.9, "kl_dead_share": 0.0}, 2 * RELAX)
    assert bedside.run.factors == pytest.approx(given | {"beta": math.sqrt(0.1)})
    bedside.windows({"diversity": 0.9, "kl_dead_share": 0.0}, 2 * RELAX)
    assert bedside.run.factors == pytest.approx(given | {"beta": math.sqrt(0.1), "energy_score": math.sqrt(2.0)})
    bedside.windows({}, 3 * RELAX)
    assert [entry["name"] for entry in bedside.events("relaxed")] == ["posterior collapse", "mode collapse"]
    assert bedside.run.factors["rate/judge"] == 50.0


def test_two_remedies_of_one_factor_are_taken_back_one_after_the_other(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch)
    bedside.windows({"ear_dn": 0.01}, 2)
    bedside.growth = 0.1
    bedside.windows({"ear_dn": 0.01}, 1)  # leaps: rate x 0.1; and overpowers for the third time: x 0.25
    bedside.growth = 1e-4
    assert bedside.run.factors == pytest.approx({"rate/judge": 0.025})
    bedside.windows({}, 2 * RELAX)
    assert bedside.run.factors == pytest.approx({"rate/judge": 0.05})
    bedside.windows({}, 2 * RELAX)
    assert bedside.run.factors == pytest.approx({"rate/judge": 0.05 / math.sqrt(0.1)})
    assert [entry["name"] for entry in bedside.events("relaxed")] == ["D overpowering", "D divergence"]


def test_what_may_be_taken_back_survives_in_a_checkpoint(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch)
    bedside.windows({"kl_dead_share": 0.6}, 3)
    bedside.windows({"kl_dead_share": 0.0}, RELAX)
    bedside.walk(4)
    kept = bedside.doctor.state_dict()
    again = Doctor("act", window=10)
    again.load_state_dict(kept)
    assert again.state_dict() == kept
    assert kept["undo"] == [["posterior collapse", kept["undo"][0][1], {"beta": 0.1}]]
    assert (kept["healthy"], kept["steps"]) == (RELAX, 4)


def test_strikes_are_forgotten_after_healthy_windows(tmp_path, monkeypatch):
    forgiven = Bedside(tmp_path / "forgiven", monkeypatch, every=1)
    for _ in range(4):
        forgiven.walk(SPOILT_IN_A_ROW, bad=range(SPOILT_IN_A_ROW))
        forgiven.windows({}, RELAX + 1)
    assert len([entry for entry in forgiven.events("remedy") if "last good" in entry["remedy"]]) == 4
    counted = Bedside(tmp_path / "counted", monkeypatch, every=1)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        for _ in range(3):
            counted.walk(SPOILT_IN_A_ROW, bad=range(SPOILT_IN_A_ROW))
            counted.windows({}, 2)


def test_a_remedy_is_logged_with_the_signal_it_was_given_for(tmp_path, monkeypatch):
    bedside = Bedside(tmp_path, monkeypatch)
    bedside.windows({"kl_dead_share": 0.6}, 3)
    bedside.windows({"kl_dead_share": 0.0, "kl_ratio": 0.3, "beta": 1.0}, 6)
    remedies = {(entry["signal"], entry["value"]) for entry in bedside.events("remedy")}
    assert remedies == {("kl_ratio", 0.3)}
