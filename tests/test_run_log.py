"""The log goes to metrics.jsonl always, to other watchers if they can be had, and none of these can end a run."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from piano.foundation.log_sinks import WANDB_ID_NAME, scalars_of
from piano.foundation.run_log import RunLog, read_history
from piano.piano_pretrain import train_autoencoder
from tests.tiny_run import start_run, tiny_config


def step(index: int, value: float) -> dict:
    return {
        "stage": "ear",
        "step": index,
        "total_step": index,
        "seconds": 0.5,
        "learning_rate": {"ear": 1e-3},
        "ear_loss": value,
        "training/adv_ramp": 0.25,
    }


def shown(folder: Path) -> EventAccumulator:
    """What TensorBoard would show of a run."""
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"audio": 0, "images": 0, "scalars": 0}).Reload()


def test_tensorboard_shows_numbers_sound_and_pictures(tmp_path):
    log = RunLog(tmp_path, loggers=["tensorboard"])
    log.append([step(0, 0.7), step(1, 0.6), {"event": "gate", "total_step": 2, "passed": True, "R": 0.2, "advice": ""}])
    sound = np.stack([np.full(800, 0.5), np.full(800, 0.25)]).astype(np.float32)
    Image.new("RGB", (30, 20), (10, 200, 30)).save(tmp_path / "picture.png")
    log.show(2, {"sample_0": sound}, {"loss": tmp_path / "picture.png"}, sample_rate=8000)
    log.close()
    board = shown(tmp_path)
    assert [(event.step, event.value) for event in board.Scalars("ear/ear_loss")] == [
        (0, pytest.approx(0.7)),
        (1, pytest.approx(0.6)),
    ]
    tags = {"training/adv_ramp", "learning_rate/ear", "ear/ear_loss", "ear/seconds", "gate/passed", "gate/R"}
    assert set(board.Tags()["scalars"]) == tags
    (audio,) = board.Audio("audio/sample_0")
    assert (audio.sample_rate, audio.length_frames, audio.step) == (8000, 800, 2)
    (image,) = board.Images("pictures/loss")
    assert (image.width, image.height) == (30, 20)
    assert [entry["total_step"] for entry in read_history(tmp_path)] == [0, 1, 2]


def test_a_resumed_run_strikes_out_what_came_after_its_checkpoint(tmp_path):
    first = RunLog(tmp_path, loggers=["tensorboard"])
    first.append([step(index, 1.0) for index in range(6)])
    first.close()
    second = RunLog(tmp_path, loggers=["tensorboard"])
    second.forget_after(2)
    second.append([step(index, 2.0) for index in range(3, 6)])
    second.close()
    values = [event.value for event in shown(tmp_path).Scalars("ear/ear_loss")]
    assert values == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]


def test_a_watcher_that_is_not_installed_is_named_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    log = RunLog(tmp_path, loggers=["tensorboard"])
    log.append([step(0, 0.7)])
    log.append([step(1, 0.6)])
    log.close()
    assert len(caplog.messages) == 1
    assert "tensorboard is not installed" in caplog.messages[0]
    assert len(read_history(tmp_path)) == 2


def test_a_watcher_that_fails_is_left_out_and_the_run_goes_on(tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("a file where its folder should be")
    config = tiny_config(tmp_path, pretrain_epochs_g=2, training__loggers=["tensorboard"])
    run = start_run(config)
    train_autoencoder(run)
    run.log.close()
    assert "tensorboard failed (" in caplog.messages[0]
    assert "the run goes on without it" in caplog.messages[0]
    assert run.finished_stages == ["autoencoder"]
    assert len(read_history(tmp_path)) == 2


def test_a_process_that_is_not_the_main_one_writes_nothing(tmp_path):
    log = RunLog(tmp_path, is_active=False, loggers=["tensorboard"])
    log.append([step(0, 0.7)])
    log.show(0, {}, {}, sample_rate=8000)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_names_group_by_stage_by_event_or_as_they_say():
    assert scalars_of(step(3, 0.5)) == {
        "learning_rate/ear": 1e-3,
        "ear/ear_loss": 0.5,
        "ear/seconds": 0.5,
        "training/adv_ramp": 0.25,
    }
    event = {"event": "validation", "stage": "ear", "total_step": 3, "seconds": 1.0, "validation_loss": 0.4}
    assert scalars_of(event) == {"validation/validation_loss": 0.4}


def test_weights_and_biases_keeps_an_offline_run_without_an_account(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = RunLog(tmp_path, loggers=["wandb"])
    log.append([step(0, 0.7), step(1, 0.6)])
    log.close()
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + 20.0  # a process of its own writes the file, also after `close`
    while b"ear/ear_loss" not in kept.read_bytes() and time.monotonic() < until:
        time.sleep(0.1)
    assert b"ear/ear_loss" in kept.read_bytes()
    assert (tmp_path / WANDB_ID_NAME).read_text() in kept.name
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1]
