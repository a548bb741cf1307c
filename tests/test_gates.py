"""Gates measure on validation music, write what they found, and set the default number of sampling steps."""

import numpy as np
import pytest

from piano.evaluation.gates import Gatekeeper, clip_labels, judge_samples, validation_clips
from piano.foundation.checkpoint_format import complete_epochs, find_epoch, read_best
from piano.foundation.run_log import read_history
from piano.piano_model import AudioDataset
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
from piano.piano_train import train_vae_gan
from tests.tiny_run import SAMPLE_RATE, start_run, tiny_config, tonal_pairs


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A tiny run with gates and samples, its validation set a single pair."""
    folder = tmp_path_factory.mktemp("judged")
    run = start_run(tiny_config(folder))
    run.validation_set = AudioDataset(tonal_pairs(1, seed=8))
    gatekeeper = Gatekeeper(folder, sample_seconds=1.0, sample_count=1)
    run.after_save, run.after_stage = gatekeeper.write_samples, gatekeeper.judge_stage
    pretrain_generator(run)
    pretrain_discriminator(run)
    train_vae_gan(run)
    return run, folder


def test_every_stage_has_a_gate_with_finite_figures(judged):
    _, folder = judged
    gates = [entry for entry in read_history(folder) if entry.get("event") == "gate"]
    assert [gate["stage"] for gate in gates] == ["autoencoder", "flow", "judges", "ear", "professor", "joint"]
    for gate in gates:
        assert gate["passed"] or gate["advice"]
        figures = [value for value in gate.values() if isinstance(value, float)]
        assert np.isfinite(figures).all()
    assert {"R", "P"} <= gates[0].keys()
    assert {"distance_1", "distance_16", "distance_noise", "diversity_1"} <= gates[-1].keys()


def test_the_last_gate_sets_the_default_steps(judged):
    run, folder = judged
    last = [entry for entry in read_history(folder) if entry.get("event") == "gate"][-1]
    assert int(run.average.network.default_steps) == last["default_steps"]
    distances = {steps: last[f"distance_{steps}"] for steps in (1, 2, 4, 8, 16)}
    assert distances[last["default_steps"]] <= 1.1 * min(distances.values())


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
        own = [waves[index].transpose(1, 0, 2).reshape(1, -1) for index in range(pairs)
               if f"song {index // 2}" == label]  # fmt: skip
        assert any(
            np.array_equal(clip, whole[:, start : start + SAMPLE_RATE])
            for whole in own
            for start in (0, whole.shape[1] - SAMPLE_RATE)
        )


def test_clips_of_one_recording_are_not_compared_with_each_other(judged):
    run, _ = judged
    alike = tonal_pairs(2, seed=8)
    waves = np.concatenate([alike[:1]] * 4 + [alike[1:]] * 4)
    run.stage = "joint"
    figures = {}
    for name, labels in (("blind", None), ("labelled", ["a"] * 4 + ["b"] * 4)):
        run.validation_set = AudioDataset(waves, labels=labels)
        _, figures[name] = judge_samples(run, (1,))
    # Copies make the real set look concentrated: it seems farther from everything, and less varied than it is.
    assert figures["labelled"]["distance_1"] < figures["blind"]["distance_1"]
    assert figures["labelled"]["diversity_1"] < figures["blind"]["diversity_1"]
