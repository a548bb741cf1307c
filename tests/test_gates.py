"""Gates measure on validation music, write what they found, and set the default number of sampling steps."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from piano.config_reader import DEFAULT_CONFIG, load_config_from_yaml
from piano.doctor.ranges import is_as_varied_as_music, is_ill, table
from piano.doctor.signals import digest
from piano.doctor.verdict import FEWEST_STEPS, facts_of
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.distances import kernel_score, spectrum_noise
from piano.foundation.checkpoint_format import checkpoint_path, complete_epochs, find_epoch, read_best
from piano.foundation.run_log import read_history
from piano.foundation.score_words import is_drone
from piano.piano_main import best_in_words
from piano.piano_model import AudioDataset
from piano.stages import STAGE
from piano.training.training_run import TrainingRun
from piano.utilities import load_generator
from piano.watching.gates import (
    SCORES_ON_THE_WAY,
    Gatekeeper,
    SampleGate,
    judge_ear,
    judge_judges,
    reconstruction_bounds,
    reconstruction_figures,
    variety_advice,
    variety_words,
    what_is_played,
)
from piano.watching.run_ruler import RunRuler, clip_labels, validation_clips
from piano.watching.score_cost import FEWEST_CLIPS, MOST_CLIPS, SHARE, Prices, ScoreCost
from tests.tiny_run import SAMPLE_RATE, On, start_run, tiny_config, tonal_pairs, train_all


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A tiny run with gates and samples, its validation set a single recording of two pairs."""
    folder = tmp_path_factory.mktemp("judged")
    run = start_run(tiny_config(folder))
    run.data.sets["validation"] = AudioDataset(tonal_pairs(2, seed=8), labels=["song", "song"])
    gatekeeper = Gatekeeper(folder, sample_seconds=1.0, sample_count=1)
    run.watch(On(after_save=gatekeeper.write_samples, after_stage=gatekeeper.after_stage))
    train_all(run)
    return run, folder


@pytest.mark.parametrize(
    ("preset", "changes", "bounds"),
    [
        ("tiny", {}, (0.30, 0.7)),
        ("small", {}, (0.15, 0.9)),
        ("large", {}, (0.15, 0.9)),
        ("tiny", {"model.sample_rate": 44_100}, (0.15, 0.9)),
        ("tiny", {"model.sample_rate": 44_100, "model.n_fft": 4096}, (0.30, 0.7)),
        ("small", {"model.latent_dim": 32}, (0.30, 0.7)),
    ],
)
def test_how_well_music_must_be_rebuilt_goes_by_the_room_in_the_latent_and_not_by_a_name(preset, changes, bounds):
    model = load_config_from_yaml(DEFAULT_CONFIG, preset=preset, overrides=changes).model
    assert reconstruction_bounds(model) == bounds


def test_every_stage_has_a_gate_with_finite_figures(judged):
    _, folder = judged
    gates = [entry for entry in read_history(folder) if entry.get("event") == "gate"]
    assert [gate["stage"] for gate in gates] == ["autoencoder", "flow", "judges", "ear", "professor", "joint"]
    for gate in gates:
        assert gate["passed"] or gate["advice"]
        assert gate["sentence"].startswith(f"{gate['name']}: ") and "_" not in gate["sentence"].split("loss_w")[0]
        figures = [value for value in gate.values() if isinstance(value, float)]
        assert np.isfinite(figures).all()
    assert {"R", "P"} <= gates[0].keys()
    assert {"distance_1", "distance_16", "distance_noise", "diversity_1"} <= gates[-1].keys()


def test_gates_of_composing_take_the_fewest_steps_that_are_about_as_good_as_any(judged):
    run, folder = judged
    gates = {entry["stage"]: entry for entry in read_history(folder) if entry.get("event") == "gate"}
    assert int(run.average.network.default_steps) == gates["joint"]["default_steps"]
    for stage in ("flow", "professor", "joint"):
        gate = gates[stage]
        distances = {steps: gate[f"distance_{steps}"] for steps in STAGE[stage].compared_steps}
        near = [steps for steps, distance in distances.items() if distance <= 1.1 * min(distances.values())]
        assert gate["default_steps"] == min(near)


def test_the_gate_and_the_last_words_name_one_epoch_as_played(judged):
    run, folder = judged
    gates = [entry for entry in read_history(folder) if entry.get("event") == "gate"]
    assert run.best is not None
    assert f"What will be played is still {run.best.words}." in what_is_played(run) or run.best.epoch == run.epoch
    assert best_in_words(run).startswith(f"Best, and what will be played: {run.best.words} (")
    assert gates[-1]["sentence"].count(run.best.words) == 1


def test_judges_that_learned_for_a_few_steps_are_told_to_learn_longer_not_to_look_for_faults(judged):
    run, folder = judged
    keeper = Gatekeeper(folder, sample_seconds=1.0, sample_count=1)
    gate = judge_judges(run, keeper)
    steps = int(run.discriminator.trained_steps)
    assert f"after {steps // 2} steps of learning, which is very few" in gate.says
    assert "more time" in gate.advice and "wiring" not in gate.advice
    run.discriminator.trained_steps.fill_(2 * FEWEST_STEPS)
    later = judge_judges(run, keeper)
    run.discriminator.trained_steps.fill_(steps)
    assert "very few" not in later.says and "doctor wiring" in later.advice


@pytest.mark.parametrize(
    ("levels", "pitches", "lost"),
    [(1.0, 1.0, ""), (1.0, 1.7, "pitches"), (0.8, 1.0, "levels"), (0.8, 1.7, "levels and pitches")],
)
def test_the_ear_may_cost_a_tenth_of_levels_and_of_pitches(judged, monkeypatch, levels, pitches, lost):
    run, folder = judged
    keeper = Gatekeeper(folder, sample_seconds=1.0, sample_count=1)
    now = reconstruction_figures(run, keeper)
    before = {"R_before_ear": levels * now["R"], "P_before_ear": pitches * now["P"]}
    monkeypatch.setattr(run, "measured", run.measured | before)
    gate = judge_ear(run, keeper)
    assert gate.passed == (not lost)
    assert f"{now['P']:.0%} of the pitches are found again ({before['P_before_ear']:.0%} before" in gate.says
    assert f"{now['R']:.0%} of the levels are missed ({before['R_before_ear']:.0%} before" in gate.says
    assert not lost or gate.advice.startswith(f"the {lost} got worse")


def test_every_save_has_samples_a_continuation_and_their_picture(judged):
    run, folder = judged
    names = {path.name for path in (folder / "samples").iterdir()}
    for epoch in range(1, run.epoch + 1):
        assert {f"epoch_{epoch:04d}.png", f"epoch_{epoch:04d}_sample_0.wav"} <= names
        assert f"epoch_{epoch:04d}_continuation.wav" in names


@pytest.mark.parametrize("pairs", [1, 3, 40])
def test_validation_clips_are_different_and_of_the_asked_length(pairs):
    clips = validation_clips(AudioDataset(tonal_pairs(pairs)), 1.0, SAMPLE_RATE)
    assert 2 <= len(clips) <= 24
    assert all(clip.shape == (1, SAMPLE_RATE) for clip in clips)
    assert not np.allclose(clips[0], clips[1])


def test_the_best_epoch_is_the_one_whose_compositions_were_judged_nearest(judged):
    run, folder = judged
    gates = [entry for entry in read_history(folder) if entry.get("event") == "gate"]
    distances = {}
    for gate in gates:
        if gate["stage"] in ("flow", "professor", "joint"):
            distances[gate["epoch"]] = gate[f"distance_{gate.get('default_steps', 16)}"]
    best = read_best(folder)
    assert best is not None and best == run.best
    assert len(distances) == 3
    assert best.kernel_distance == min(distances.values()) == distances[best.epoch]
    assert find_epoch(folder, "generator", "best") == best.epoch
    assert best.epoch in complete_epochs(folder)


@pytest.mark.parametrize("pairs", [1, 3, 12, 40])
def test_every_validation_clip_carries_the_label_of_its_own_pair(pairs):
    waves = tonal_pairs(pairs)
    dataset = AudioDataset(waves, labels=[f"song {index // 2}" for index in range(pairs)])
    labels, clips = clip_labels(dataset), validation_clips(dataset, 1.0, SAMPLE_RATE)
    if pairs == 1:
        assert labels is None  # one recording: there would be nothing to compare
        return
    assert labels is not None
    for label, clip in zip(labels, clips, strict=True):
        own = [
            waves[index].transpose(1, 0, 2).reshape(1, -1) for index in range(pairs) if f"song {index // 2}" == label
        ]
        assert any(
            np.array_equal(clip, whole[:, start : start + SAMPLE_RATE])
            for whole in own
            for start in (0, whole.shape[1] - SAMPLE_RATE)
        )


def test_clips_of_one_recording_are_not_compared_with_each_other():
    alike = tonal_pairs(2, seed=8)
    waves = np.concatenate([alike[:1]] * 4 + [alike[1:]] * 4)
    made = RunRuler(AudioDataset(tonal_pairs(8, seed=9)), SAMPLE_RATE).clips
    judged = {}
    for name, labels in (("blind", None), ("labelled", ["a"] * 4 + ["b"] * 4)):
        ruler = RunRuler(AudioDataset(waves, labels=labels), SAMPLE_RATE)
        judged[name] = ruler.judge(made)
    # Copies make the real set look concentrated: it seems farther from everything, and less varied than it is.
    assert judged["labelled"].kernel_distance < judged["blind"].kernel_distance
    assert judged["labelled"].diversity < judged["blind"].diversity


# --- where there is no scale


def validated_on(folder: Path, pairs: np.ndarray, labels: list[str] | None = None) -> list[dict[str, Any]]:
    """The events of a tiny run that is judged on this validation music after two of its stages."""
    run = start_run(tiny_config(folder))
    run.data.sets["validation"] = AudioDataset(pairs, labels=labels)
    gatekeeper = Gatekeeper(folder, sample_seconds=1.0, sample_count=1, is_verbose=True)
    for stage in ("autoencoder", "flow", "joint"):
        run.stage, run.stage_step = stage, 1
        gatekeeper.after_stage(run, stage)
    run.save()
    assert run.best is None and read_best(folder) is None
    text = (folder / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    return read_history(folder)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (np.zeros((4, 2, 1, 16384), dtype=np.float32), "the clips of real music are silent, or all the same"),
        (np.tile(tonal_pairs(1)[:, :1], (4, 2, 1, 1)), "the clips of real music are silent, or all the same"),
        (tonal_pairs(1), "there are only 2 clips of real music, 4 are needed"),
    ],
    ids=["silence", "one clip", "one pair"],
)
def test_music_that_makes_no_scale_gives_no_score_no_best_and_no_gate_that_was_passed(tmp_path, pairs, reason):
    history = validated_on(tmp_path, pairs)
    kinds = {entry["event"] for entry in history if "event" in entry}
    assert "score" not in kinds
    untold = [entry for entry in history if entry.get("event") == "no score"]
    assert [entry["reason"] for entry in untold] == [reason, reason]
    gates = [entry for entry in history if entry.get("event") == "gate"]
    assert not any(gate["passed"] for gate in gates)
    assert not [value for gate in gates for value in gate.values() if isinstance(value, float) and abs(value) > 1e3]
    assert f"cannot be told: {reason}" in gates[1]["sentence"]
    if reason.startswith("the clips"):
        assert "cannot be told" in gates[0]["sentence"] and {"R", "P"}.isdisjoint(gates[0])


def test_music_that_was_made_of_no_number_is_not_scored_and_never_the_best():
    ruler = RunRuler(AudioDataset(tonal_pairs(4, seed=3)), SAMPLE_RATE)
    broken = [np.full_like(clip, np.nan) for clip in ruler.clips]
    judged = ruler.judge(broken)
    assert not judged.is_known
    gate = SampleGate({16: judged}, 0.5, 0.0)
    assert not gate.passes(16) and "no number" in gate.words(16)
    silent = ruler.judge([np.zeros_like(clip) for clip in ruler.clips])
    assert silent.is_known and silent.diversity < 0.01
    gate = SampleGate({16: silent}, 0.5, 0.0)
    assert not gate.passes(16) and "100% of it is silent" in gate.words(16)


def test_a_drone_is_told_by_how_alike_it_stays():
    ruler = RunRuler(AudioDataset(tonal_pairs(4, seed=3)), SAMPLE_RATE)
    time = np.arange(ruler.samples) / SAMPLE_RATE
    drone = [np.sin(2 * np.pi * (220.0 + index) * time)[None].astype(np.float32) for index in range(4)]
    assert is_drone(ruler.judge(drone).self_similarity, ruler.self_similarity)
    assert not is_drone(ruler.judge(ruler.clips).self_similarity, ruler.self_similarity)


@pytest.mark.parametrize("songs", [1, 2])
def test_recordings_are_counted_not_clips(songs):
    dataset = AudioDataset(tonal_pairs(6), labels=[f"song {index % songs}" for index in range(6)])
    ruler = RunRuler(dataset, SAMPLE_RATE)
    assert (len(ruler.clips), ruler.songs) == (12, songs)
    assert RunRuler(AudioDataset(tonal_pairs(3)), SAMPLE_RATE).songs is None


# --- the ruler inside training


def test_training_scores_as_the_ruler_does():
    labels = [f"song {index}" for index in range(8)]
    ruler = RunRuler(AudioDataset(tonal_pairs(8, seed=3), labels=labels), SAMPLE_RATE, most_clips=8)
    made = RunRuler(AudioDataset(tonal_pairs(8, seed=4)), SAMPLE_RATE, most_clips=8).clips
    judged = ruler.judge(made)
    noise = spectrum_noise(ruler.clips, SAMPLE_RATE, seed=1234)
    known = kernel_score(
        generated=feature_matrix(made, SAMPLE_RATE),
        real=feature_matrix(ruler.clips, SAMPLE_RATE),
        noise=feature_matrix(noise, SAMPLE_RATE),
        real_files=ruler.labels,
        generated_files=[("made", index) for index in range(8)],
        seed=1234,
    )
    assert judged.kernel_distance == pytest.approx(known.distance, abs=1e-9)
    assert judged.kernel_score.value == pytest.approx(known.score, abs=0.02)  # floors of 8 and 40 halves


def test_the_gate_passes_music_and_stops_noise_and_silence():
    ruler = RunRuler(AudioDataset(tonal_pairs(12, seed=3)), SAMPLE_RATE, most_clips=12)
    noise = spectrum_noise(ruler.clips, SAMPLE_RATE, seed=3)
    good = RunRuler(AudioDataset(tonal_pairs(12, seed=5)), SAMPLE_RATE, most_clips=12).clips
    silent = [clip * (np.arange(clip.shape[1]) < clip.shape[1] // 2) for clip in good]
    judged = {1: ruler.judge(noise), 4: ruler.judge(silent), 16: ruler.judge(good)}
    gate = SampleGate(judged, judged[1].kernel_distance, ruler.silence_share)
    assert [gate.passes(steps) for steps in (1, 4, 16)] == [False, False, True]
    assert gate.figures()["distance_16"] < 0.5 * gate.noise_distance
    assert judged[16].kernel_score.value < 0.3 < 0.9 < judged[1].kernel_score.value


@pytest.mark.parametrize(
    ("diversity", "is_healthy"),
    [(0.69, False), (0.7, True), (1.0, True), (1.49, True), (1.82, False), (math.nan, False)],
)
def test_gate_and_doctor_have_one_bound_of_variety(diversity, is_healthy):
    assert is_as_varied_as_music(diversity) == is_healthy
    lines = [{"stage": "joint", "step": k, "total_step": k, "seconds": 1.0, "diversity": diversity} for k in range(200)]
    faults = [row for row in table(digest(lines).windows, []) if "variety" in row.name and is_ill(row.reading)]
    if diversity > 1.5:
        assert [row.reading for row in faults] == ["more than music has: noise?"]
    said, advice = variety_words(diversity), variety_advice(diversity)
    assert "(0.7 to 1.5 is asked)" in said and ("often noise" in advice) == (diversity > 1.5)


def test_every_judged_epoch_has_a_score_and_the_best_names_its_scale(judged):
    run, folder = judged
    history = read_history(folder)
    scores = [entry for entry in history if entry.get("event") == "score"]
    assert [entry["stage"] for entry in scores] == ["flow", "professor", "joint"]
    for entry in scores:
        assert (entry["clips"], entry["songs"]) == (4, 1)
        assert {"kernel_score", "kernel_distance", "coverage", "diversity", "steps", "epoch"} <= entry.keys()
        assert entry["low"] <= entry["kernel_score"] <= entry["high"]
    nearest = min(scores, key=lambda entry: entry["kernel_score"])
    assert (run.best.epoch, run.best.kernel_score) == (nearest["epoch"], nearest["kernel_score"])
    assert "0 = other real music" in json.loads((folder / "best.json").read_text())["scale"]


def test_an_epoch_in_the_middle_of_a_stage_can_be_the_best_and_is_played_with_the_steps_it_was_judged_with(tmp_path):
    run = start_run(tiny_config(tmp_path, epochs=60))
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    run.stage, run.epoch = "professor", 4
    run.stage_step = 1
    gatekeeper.before_save(run)
    assert run.best is None  # the stage has just begun
    run.stage_step = math.ceil(run.stage_steps("professor") / SCORES_ON_THE_WAY)
    gatekeeper.before_save(run)
    run.save()
    assert run.best is not None and (run.best.epoch, run.best.steps, run.best.stage) == (4, 1, "professor")
    assert int(run.average.network.default_steps) == 16
    assert int(load_generator(tmp_path, "best").default_steps) == 1


def test_a_later_sitting_scores_with_the_clips_of_the_first_however_many_it_could_afford(tmp_path):
    run = start_run(tiny_config(tmp_path, epochs=60))
    first, second = (Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1) for _ in range(2))
    first.cost.clips = 3
    assert len(first.ruler(run).clips) == 3
    run.save()
    later = start_run(tiny_config(tmp_path, epochs=60))
    later.go_on_from(run.position())
    assert later.measured["score_clips"] == 3.0
    assert [clip.tobytes() for clip in second.ruler(later).clips] == [clip.tobytes() for clip in first.ruler(run).clips]
    assert second.cost.clips == 3


def test_a_sitting_with_time_for_far_more_clips_judges_the_best_epoch_again_with_them(tmp_path, capsys):
    held = AudioDataset(tonal_pairs(8, seed=5))
    run = start_run(tiny_config(tmp_path, epochs=60))
    run.data.sets["validation"] = held
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    gatekeeper.cost.clips = 6
    run.stage, run.epoch = "professor", 1
    gatekeeper.keep_score(run, gatekeeper.judge_steps(run, 1), steps=1)
    run.save()
    before = run.best
    assert before is not None

    def go_on(clips: int) -> tuple[TrainingRun, Gatekeeper]:
        later = start_run(tiny_config(tmp_path, epochs=60))
        later.data.sets["validation"] = held
        later.go_on_from(later_position)
        keeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
        keeper.cost.clips = clips
        keeper.judge_best_again(later)
        return later, keeper

    later_position = run.position()
    same, _ = go_on(11)
    assert same.best == before and same.measured["score_clips"] == 6.0
    later, keeper = go_on(12)
    assert later.measured["score_clips"] == 12.0 and len(keeper.ruler(later).clips) == 12
    assert later.best is not None and (later.best.epoch, later.best.steps) == (1, 1)
    again = keeper.judge_steps(later, 1)
    assert later.best.kernel_distance == pytest.approx(again.kernel_distance, abs=1e-6)
    assert later.best.kernel_distance != before.kernel_distance
    (event,) = (line for line in read_history(tmp_path) if line.get("event") == "judged again")
    assert (event["best"], event["clips"], event["clips_before"]) == (1, 12, 6.0)
    told = facts_of(read_history(tmp_path))[0]
    assert told is not None and told["kernel_score"] == pytest.approx(later.best.kernel_score)
    assert read_best(tmp_path) == later.best
    assert "judged again with 12 of them" in " ".join(capsys.readouterr().out.split())
    checkpoint_path(tmp_path, "generator", 1).unlink()
    assert go_on(16)[0].best == before


@pytest.mark.parametrize("save_every", [1, 3])
def test_scores_of_a_run_in_epochs_fall_where_no_clock_decides(tmp_path, save_every):
    run = start_run(tiny_config(tmp_path, epochs=90, save_after_nepochs=save_every))
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    run.stage = "professor"
    per_epoch, steps = run.steps_per_epoch("professor"), run.stage_steps("professor")
    due = []
    for epoch in range(save_every, steps // per_epoch + 1, save_every):
        run.stage_step = epoch * per_epoch
        if gatekeeper.is_score_due(run, 1):
            due.append(run.stage_step / steps)
    assert len(due) == SCORES_ON_THE_WAY - 1
    assert all(index / 4 <= place < (index + 1) / 4 for index, place in enumerate(due, start=1))


def test_a_run_with_a_time_budget_tries_out_what_measuring_takes_and_any_other_does_not(tmp_path):
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    run = start_run(tiny_config(tmp_path))
    gatekeeper.rehearse(run)
    assert gatekeeper.cost.prices is None
    run = start_run(tiny_config(tmp_path, minutes=1.0))
    gatekeeper.rehearse(run)
    assert gatekeeper.cost.prices is not None and min(gatekeeper.cost.prices.compose.values()) > 0.0


PRICES = Prices(hear=0.035, compose={1: 0.1, 16: 0.15}, reconstruct=0.19, encoding=12.0)
"""Of `tiny` on one core."""


@pytest.mark.parametrize("minutes", [1, 5, 600])
def test_measuring_costs_three_hundredths_of_the_time_or_as_little_as_it_can(minutes):
    cost = ScoreCost()
    cost.set_prices(PRICES, seconds=60.0 * minutes)
    fewest = ScoreCost()
    fewest.set_prices(PRICES, seconds=1.0)
    stages = ("autoencoder", "flow", "judges", "ear", "professor", "joint")
    expected = sum(cost.expected(stage) for stage in stages)
    assert FEWEST_CLIPS <= cost.clips <= MOST_CLIPS
    assert expected <= max(SHARE * 60.0 * minutes, sum(fewest.expected(stage) for stage in stages))
    cost.spent = expected - cost.expected("joint")
    assert set(cost.choose_steps("joint", (1, 4, 16, 2, 8))) == ({1, 4} if minutes < 20 else {1, 2, 4, 8, 16})


def test_scores_on_the_way_are_spread_over_the_run_and_leave_enough_for_the_gates():
    cost = ScoreCost()
    cost.set_prices(PRICES, seconds=3600.0)
    assert not cost.allows("flow", 16, elapsed=30.0)
    assert cost.allows("flow", 16, elapsed=1000.0)
    cost.spent = SHARE * 3600.0 - 10.0
    assert not cost.allows("flow", 16, elapsed=3500.0)
    unknown = ScoreCost()
    assert not unknown.allows("flow", 16, elapsed=1e9)
    assert unknown.choose_steps("professor", (1, 4, 16)) == (1, 4, 16)
