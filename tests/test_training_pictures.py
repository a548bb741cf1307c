"""loss.png and real_fake.png: drawn again when a run saves, and showing what was logged."""

import math

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes

from piano.piano_pretrain import train_autoencoder
from piano.stages import LAST_STAGE
from piano.watching.gates import Gatekeeper
from piano.watching.training_pictures import draw_losses, main, phase_name, spans
from tests.tiny_run import On, start_run, tiny_config


def phase(alone: bool, ramp: float) -> dict:
    return {"training/pretrain_phase": int(alone), "training/adv_ramp": ramp}


def history(judged: bool = True) -> list[dict]:
    """An autoencoder stage and a professor stage whose judge sits at confusion."""
    lines = [
        {"stage": "autoencoder", "step": index, "total_step": index, "reconstruction": 1 / (index + 1)}
        for index in range(50)
    ]
    for index in range(100 * judged):
        alone = index < 20
        line = {"stage": "professor", "step": index, "total_step": 50 + index, "energy_score": 0.5}
        line |= phase(alone, min(1.0, max(0.0, (index - 20) / 30)))
        if not alone:
            line |= {
                "adversarial": 0.8,
                "professor_loss": math.log(2.0),
                "professor_d_real": 0.5,
                "professor_d_fake": 0.5,
            }
        lines.append(line)
    lines.append({"event": "validation", "stage": "autoencoder", "total_step": 50, "validation_loss": 0.3})
    return lines


@pytest.fixture
def drawn(monkeypatch) -> dict[str, np.ndarray]:
    """Lines by label, as they were handed to the axes."""
    lines: dict[str, np.ndarray] = {}
    original = Axes.plot

    def remember(axis, x, y, *arguments, **settings):
        lines[settings.get("label", "")] = np.array([x, y])
        return original(axis, x, y, *arguments, **settings)

    monkeypatch.setattr(Axes, "plot", remember)
    return lines


def test_the_picture_shows_the_game_without_penalties_and_normalised_for_smoothing(drawn, tmp_path):
    assert draw_losses(history(), tmp_path / "loss.png") == tmp_path / "loss.png"
    assert drawn["professor"][1] == pytest.approx(math.log(2.0))
    assert drawn["professor"][0][0] >= 70  # the judge was not asked before
    assert drawn["against the professor"][1] == pytest.approx(0.8)
    assert drawn["on validation music, averaged weights"].tolist() == [[50], [0.3]]
    four = image.imread(tmp_path / "loss.png").shape
    draw_losses(history(), tmp_path / "loss.png", smoothing=0.1, objectives={"professor": "relativistic"})
    assert drawn["professor"][1] == pytest.approx(math.log(2.0))  # confusion stays where it is
    draw_losses(history(judged=False), tmp_path / "loss.png")
    assert image.imread(tmp_path / "loss.png").shape[0] < 0.6 * four[0]


def test_phases_and_stages_are_found(tmp_path):
    steps = [line for line in history() if "step" in line]
    assert spans(steps, lambda line: line["stage"]) == [("autoencoder", 0, 50), ("professor", 50, 150)]
    assert spans(steps, phase_name) == [("", 0, 50), ("G alone", 50, 70), ("ramp", 70, 100), ("", 100, 150)]


def test_a_folder_without_a_run_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no training step" in capsys.readouterr().err


def test_every_save_draws_both_pictures_again(tmp_path):
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=4))
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    seen = []

    def save(run) -> None:
        gatekeeper.write_samples(run)
        seen.append([(tmp_path / name).read_bytes() for name in ("loss.png", "real_fake.png")])

    run.watch(On(after_save=save))
    train_autoencoder(run)
    assert len(seen) >= 2
    assert all(before != after for before, after in zip(seen[0], seen[1], strict=True))
    wide = image.imread(tmp_path / "real_fake.png")
    assert wide.shape[1] > 2 * wide.shape[0]  # one row, real beside generated
    assert main([str(tmp_path)]) == 0


def test_pictures_wait_until_they_are_cheap_and_are_drawn_at_the_end(tmp_path, monkeypatch):
    run = start_run(tiny_config(tmp_path))
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=1.0, sample_count=1)
    now = [1000.0]
    monkeypatch.setattr("piano.watching.gates.time.monotonic", lambda: now[0])
    assert gatekeeper.are_pictures_due(run)

    def draw(*_: object, **__: object) -> None:
        now[0] += 1.5

    for name in ("draw_real_fake", "draw_losses"):
        monkeypatch.setattr(f"piano.watching.gates.{name}", draw)
    gatekeeper.draw_pictures(run, np.zeros((1, 8000), np.float32))
    assert not gatekeeper.are_pictures_due(run)
    now[0] += 59.0
    assert not gatekeeper.are_pictures_due(run)
    now[0] += 1.5
    assert gatekeeper.are_pictures_due(run)
    gatekeeper.draw_pictures(run, np.zeros((1, 8000), np.float32))
    run.finished_stages.append(LAST_STAGE)
    assert gatekeeper.are_pictures_due(run)


def test_a_phase_is_named_once_and_written_over_nothing(monkeypatch, tmp_path):
    words: list[str] = []
    original = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda axis, x, y, text, **more: (words.append(text), original(axis, x, y, text, **more))[1]
    )
    labels: list[str] = []
    shade = Axes.axvspan
    monkeypatch.setattr(
        Axes, "axvspan", lambda axis, *ends, **more: (labels.append(more["label"]), shade(axis, *ends, **more))[1]
    )
    draw_losses(history(), tmp_path / "loss.png")
    assert {word.strip() for word in words} == {"autoencoder", "professor"}
    alone, rises = (labels.count(label) for label in ("the generator learns alone", "the adversary's weight rises"))
    assert (alone, rises) == (1, 4)  # once in each panel that shows it
