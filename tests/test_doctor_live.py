"""The doctor inside a run: it changes nothing while it only looks, resumes exactly, and treats what it may."""

import pytest
import torch

from piano.doctor.live import Doctor
from piano.doctor.measure import frechet_gap, measure
from piano.foundation.errors import TrainingError
from piano.foundation.run_log import read_history
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
from piano.piano_train import train_ear, train_vae_gan
from piano.training_run import TrainingRun
from tests.tiny_run import start_run, tiny_config


def train_all(run: TrainingRun) -> None:
    pretrain_generator(run)
    pretrain_discriminator(run)
    train_vae_gan(run)


def state(run: TrainingRun) -> list[torch.Tensor]:
    networks = (run.generator, run.discriminator, run.average.network)
    return [value.clone() for network in networks for value in network.state_dict().values()]


def assert_same(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Stop(Exception):
    """Stands for a power cut."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with a doctor that may act, and its folder."""
    folder = tmp_path_factory.mktemp("watched")
    run = start_run(tiny_config(folder), doctor=Doctor("act", window=2))
    train_all(run)
    return run, folder


def test_looking_on_changes_no_weight(whole, tmp_path):
    alone = start_run(tiny_config(tmp_path))
    train_all(alone)
    watched, folder = whole
    assert not [entry for entry in read_history(folder) if entry.get("remedy")]
    assert_same(state(alone), state(watched))


@pytest.mark.parametrize("stop_after", [3, 6])
def test_the_doctor_resumes_where_it_was(whole, tmp_path, stop_after):
    finished, folder = whole

    def interrupt(run: TrainingRun) -> None:
        if run.epoch == stop_after:
            raise Stop

    first = start_run(tiny_config(tmp_path), doctor=Doctor("act", window=2))
    first.after_save = interrupt
    with pytest.raises(Stop):
        train_all(first)
    second = start_run(tiny_config(tmp_path), doctor=Doctor("act", window=2))
    second.resume()
    train_all(second)
    assert_same(state(second), state(finished))
    signals = [
        [entry for entry in read_history(place) if entry.get("event") == "signals"]
        for place in (tmp_path, folder)
    ]
    without_clock = [
        [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries] for entries in signals
    ]
    assert without_clock[0] == without_clock[1]


def test_measuring_says_what_a_stage_has_and_leaves_the_modes(whole):
    run, _ = whole
    run.stage = "joint"
    run.generator.train()
    found = measure(run)
    assert {
        "diversity",
        "noise_spread",
        "ear_probes",
        "professor_probes",
        "professor_accuracy",
    } <= found.keys()
    assert run.generator.training and measure(run) == found


def test_the_gap_of_latents_is_zero_to_itself_and_one_for_a_mean_off_by_one():
    latents = torch.randn(4, 500, 6, generator=torch.Generator().manual_seed(0))
    assert frechet_gap(latents, latents) == pytest.approx(0.0, abs=1e-6)
    assert frechet_gap(latents + 1.0, latents) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("mode", ["advise", "act"])
def test_numbers_that_are_none_are_skipped_and_end_the_run_at_last(mode, tmp_path):
    run = start_run(tiny_config(tmp_path, steps_per_epoch=20, epochs=3))
    run.doctor, run.finished_stages = Doctor(mode, window=4), ["autoencoder", "flow", "judges"]
    run.save = lambda: None
    original = run.draw_waveforms
    before = state(run)
    run.draw_waveforms = lambda step, batch_size, frames: (
        original(step, batch_size, frames) * (float("nan") if step.index >= 2 else 1.0)
    )
    with pytest.raises(TrainingError, match="3 steps in a row"):
        train_ear(run)
    assert all(bool(value.isfinite().all()) for value in state(run))
    entries = read_history(tmp_path)
    skipped = [entry for entry in entries if "skipped" in entry]
    assert len(skipped) == (3 if mode == "advise" else 9)
    assert {entry["name"] for entry in entries if entry.get("event") == "finding"} == {"divergence"}
    assert len(before) == len(state(run))
