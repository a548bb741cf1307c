"""Settings that ask for more than a machine has are one sentence, before anything is built; those that fit pass."""

import time

import pytest

from piano import machine_limits
from piano.foundation.errors import ConfigError
from piano.machine_limits import batch_bytes, physical_memory, refuse_impossible
from piano.piano_main import build_networks
from tests.tiny_run import tiny_config


def check(tmp_path, environment=None, **changes) -> None:
    config = tiny_config(tmp_path, **changes)
    refuse_impossible(config, lambda: build_networks(config), environment=environment or {})


def test_the_memory_of_this_machine_is_known():
    assert 2**28 < (physical_memory() or 0) < 2**50


def test_a_tiny_run_fits_and_its_batch_is_counted_in_numbers_that_can_be_worked_out(tmp_path):
    check(tmp_path)
    needed = batch_bytes(tiny_config(tmp_path, model__dropout=0.1))
    # 4 items of 32 frames: latents of 8 numbers, and 2 layers x 4 x 32 channels
    assert needed["flow"] == 4 * (4 * 32 * 8 + 4 * 32 * 32 * 2 * 4)
    halves = batch_bytes(tiny_config(tmp_path, accumulation_steps=2))
    assert halves["flow"] == 4 * (4 * 32 * 8 + 2 * 32 * 32 * 2 * 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__n_channels": 16_384, "model__decoder_layers": 256},
        {"model__latent_dim": 4_096, "model__encoder_channels": 16_384, "model__encoder_layers": 256},
        {"model__attention_channels": 16_384, "model__num_heads": 256, "model__num_layers": 200},
        {"discriminator__ear_channels": 16_384, "discriminator__wave_windows": [65_536] * 16},
        {"batch_size": 65_536, "stages__autoencoder__frames": 100, "model__n_channels": 4_096},
    ],
)
def test_sizes_that_no_memory_holds_are_told_before_they_are_asked_for(tmp_path, monkeypatch, changes):
    monkeypatch.setattr(machine_limits, "physical_memory", lambda: 64 * 10**9)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"would need at least [\d,.]+ GB, and this machine has 64.0 GB"):
        check(tmp_path, **changes)
    assert time.monotonic() - began < 60


def test_what_only_just_fits_is_not_refused(tmp_path, monkeypatch):
    config = tiny_config(tmp_path)
    networks = build_networks(config)
    weights = sum(
        copies * 4 * sum(parameter.numel() for parameter in network.parameters())
        for copies, network in zip((4, 3), networks, strict=True)
    )
    least = weights + max(batch_bytes(config).values())
    monkeypatch.setattr(machine_limits, "physical_memory", lambda: least)
    check(tmp_path)
    monkeypatch.setattr(machine_limits, "physical_memory", lambda: least - 1)
    with pytest.raises(ConfigError, match="these networks would need"):
        check(tmp_path)


def test_processes_are_bound_by_the_machine_and_nodes_by_who_knows_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_limits, "available_cores", lambda: 4)
    check(tmp_path, runtime__devices=4)
    with pytest.raises(ConfigError, match=r"runtime.devices is 64, and this machine has 4 cores"):
        check(tmp_path, runtime__devices=64, batch_size=64)
    with pytest.raises(ConfigError, match=r"runtime.nodes is 2, and nothing here knows of other nodes"):
        check(tmp_path, runtime__nodes=2)
    check(tmp_path, runtime__nodes=2, environment={"MASTER_ADDR": "10.0.0.1"})
