"""Gates measure on validation music, write what they found, and set the default number of sampling steps."""

import numpy as np
import pytest

from piano.evaluation.gates import Gatekeeper, validation_clips
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
