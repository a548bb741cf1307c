"""The made-up run that wiring and env look at: it is nobody else's business."""

from piano.checkup.wiring import synthetic_run
from piano.foundation import log_sinks
from tests.tiny_run import tiny_config


def test_a_made_up_run_tells_nobody(tmp_path, monkeypatch):
    opened = []
    for name in log_sinks.SINKS:
        monkeypatch.setitem(log_sinks.SINKS, name, lambda *arguments: opened.append(arguments))
    config = tiny_config(tmp_path, training__loggers=["wandb", "tensorboard"], training__notify=["json://nowhere"])
    run = synthetic_run(config, tmp_path)
    run.log.append([{"stage": "ear", "epoch": 1, "step": 0, "total_step": 0, "seconds": 1.0, "ear_loss": 0.7}])
    run.log.close()
    assert opened == [] and run.config.training.notify == []
