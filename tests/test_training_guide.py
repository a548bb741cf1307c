"""Each feature of docs/training-guide.md on a real short run: what it changes, what it leaves alone, how it resumes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from piano.config_reader import DEFAULT_CONFIG, Config, load_config_from_yaml
from piano.discriminator import Judgement
from piano.foundation.errors import ConfigError
from piano.foundation.run_log import read_history
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator, train_autoencoder
from piano.piano_train import Verdicts, judge_turn, train_ear, train_joint, train_professor
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from piano.watching.validation import Validation, validation_losses
from tests.same_run import Interrupted, weights
from tests.tiny_run import On, start_run, tiny_config

SHORT = {"pretrain_epochs_g": 2, "epochs": 12}
"""An epoch each of autoencoder and flow; four of ear, professor and joint, of two steps each."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """Folder of a run that stands before its adversarial stages."""
    folder = tmp_path_factory.mktemp("pretrained")
    run = start_run(tiny_config(folder, **SHORT))
    pretrain_generator(run)
    pretrain_discriminator(run)
    return folder


def continued(pretrained: Path, folder: Path, **settings: Any) -> TrainingRun:
    """A run that goes on from there under other settings, in a folder of its own."""
    run = start_run(tiny_config(folder, checkpoint_folder_load=str(pretrained), **(SHORT | settings)))
    run.watch(Validation())
    run.resume()
    return run


def steps_of(folder: Path, stage: str) -> list[dict[str, Any]]:
    return [entry for entry in read_history(folder) if "step" in entry and entry["stage"] == stage]


def events_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in read_history(folder) if entry.get("event") == kind]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_generator_learns_alone_then_under_a_ramp_at_a_rising_rate(pretrained, tmp_path):
    run = continued(
        pretrained,
        tmp_path,
        schedulers__pretrain_g_only=True,
        schedulers__g_pretrain_steps=3,
        schedulers__adv_ramp_steps=4,
        schedulers__g_warmup_steps=5,
        schedulers__g_warmup_type="linear",
    )
    judges, generators = [], []

    def watch(terms, **options):
        judges.append(weights(run.discriminator))
        generators.append(weights(run.generator))
        TrainingRun.record(run, terms, **options)

    run.record = watch
    for train, stage, parts, alone, asked in (
        (train_ear, "ear", ("decoder",), {"ear_reconstruction"}, {"ear_adversarial", "ear_d_real"}),
        (train_professor, "professor", ("shortcut",), {"energy_score"}, {"adversarial", "professor_d_fake"}),
        (train_joint, "joint", ("generator",), {"energy_score", "reconstruction"}, {"melody_d", "ear_adversarial"}),
    ):
        before = weights(run.discriminator)
        judges.clear()
        generators.clear()
        train(run)
        steps = steps_of(tmp_path, stage)
        assert [step["training/pretrain_phase"] for step in steps] == [1, 1, 1, 0, 0, 0, 0, 0]
        assert [step["training/adv_ramp"] for step in steps] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0]
        assert same(judges[2], before)
        assert not same(judges[3], before)
        assert not same(generators[0], generators[2])
        for step in steps[:3]:
            assert alone <= step.keys()
            assert not any(name.startswith(("ear_loss", "professor_loss", "ear_gradient")) for name in step)
            assert not asked & step.keys()
        assert asked <= steps[3].keys()
        rates = [step["learning_rate"][parts[0]] for step in steps]
        base = 2e-4 * (0.3 if stage == "joint" else 1.0)
        cosine = [0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * index / 8)) for index in range(8)]
        warm = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]
        assert rates == pytest.approx([base * c * w for c, w in zip(cosine, warm, strict=True)])


def test_validation_hears_the_averaged_weights_and_leaves_training_as_it_was(pretrained, tmp_path):
    ends = []
    for name, watchers in (("with", [Validation()]), ("without", [])):
        run = continued(pretrained, tmp_path / name)
        run.watchers = list(watchers)
        train_ear(run)
        train_professor(run)
        ends.append(weights(run.generator) | weights(run.discriminator))
    assert same(*ends)
    heard = events_of(tmp_path / "with", "validation")
    assert [event["stage"] for event in heard] == ["ear"] * 4 + ["professor"] * 4
    assert {"validation_loss", "validation_ear_loss"} <= heard[0].keys()
    assert {"validation_loss", "validation_professor_loss"} <= heard[-1].keys()
    assert events_of(tmp_path / "without", "validation") == []

    for stage in ("autoencoder", "flow", "ear", "professor", "joint"):
        run.stage = stage
        before = validation_losses(run)
        assert all(math.isfinite(value) for value in before.values())
        with torch.no_grad():
            kept = weights(run.generator)
            for parameter in run.generator.parameters():
                parameter.fill_(float("nan"))
        assert validation_losses(run) == before
        run.generator.load_state_dict(kept)


def test_probabilities_are_one_half_at_confusion_and_the_relativistic_ones_are_centred(pretrained, tmp_path):
    run = continued(pretrained, tmp_path)

    def judged(family: str, real: float, fake: float) -> list[float]:
        verdicts = [Judgement({"whole": torch.full((4, 1), logit)}, []) for logit in (real, fake)]
        said = Verdicts(torch.zeros(()), {"loss": torch.tensor(0.5)}, *verdicts)
        terms = judge_turn(run.game(Step((0, "test"), 0, 0.5)), family, said.total, said).terms
        return [float(terms[f"{family}_d_{name}"]) for name in ("real", "fake")]

    assert judged("ear", 0.0, 0.0) == pytest.approx([0.5, 0.5])
    sigmoid = [1.0 / (1.0 + math.exp(-logit)) for logit in (2.0, -1.0, 1.0)]
    assert judged("ear", 2.0, -1.0) == pytest.approx(sigmoid[:2])
    assert judged("professor", 8.0, 6.0) == pytest.approx([sigmoid[2], sigmoid[1]])


def test_plateaus_lower_the_rates_of_a_run_apart_and_only_after_the_ramp(pretrained, tmp_path):
    run = continued(
        pretrained,
        tmp_path,
        schedulers__adv_ramp_steps=3,
        schedulers__g_plateau={"patience": 0, "factor": 0.5, "threshold": 100.0},
        schedulers__d_plateau={"patience": 1, "factor": 0.1, "threshold": 100.0},
    )
    train_professor(run)
    lowered = [
        (event["total_step"] - run.total_step + 8, event["optimizer"]) for event in events_of(tmp_path, "plateau")
    ]
    assert lowered == [(6, "shortcut"), (8, "shortcut"), (8, "professor")]  # step 4 is the first that is looked at
    rates = [step["learning_rate"]["shortcut"] for step in steps_of(tmp_path, "professor")]
    cosine = [0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * index / 8)) for index in range(8)]
    factors = [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    assert rates == pytest.approx([2e-4 * c * f for c, f in zip(cosine, factors, strict=True)])


def test_early_stopping_ends_the_stage_and_keeps_its_best_epoch(tmp_path):
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=12, schedulers__early_stopping={"patience": 1}))
    losses = iter([3.0, 1.0, 2.0, 2.0, 0.0, 0.0])
    averages = []

    def measured(run: TrainingRun) -> dict[str, float]:
        averages.append(weights(run.average.network.autoencoder.decoder.from_latent))
        return {"validation_loss": next(losses)}

    run.watchers = [On(end_epoch=measured)]
    train_autoencoder(run)
    assert len(steps_of(tmp_path, "autoencoder")) == 8  # of twelve
    assert [event["best"] for event in events_of(tmp_path, "early_stop")] == [1.0]
    kept = weights(run.average.network.autoencoder.decoder.from_latent)
    assert same(kept, averages[1])
    assert not same(kept, averages[3])
    assert run.finished_stages == ["autoencoder"]


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_run_with_every_schedule_on_equals_one_that_never_stopped(pretrained, tmp_path, stop_after):
    settings = {
        "schedulers__pretrain_g_only": True,
        "schedulers__g_pretrain_steps": 1,
        "schedulers__adv_ramp_type": "cosine",
        "schedulers__g_plateau": {"patience": 0, "threshold": 0.5},
        "schedulers__d_plateau": {"patience": 0},
        "schedulers__early_stopping": {"patience": 1, "threshold": 0.5},
    }
    whole = continued(pretrained, tmp_path / "whole", **settings)
    began = whole.epoch
    train_professor(whole)

    def interrupt(run: TrainingRun) -> None:
        if run.epoch == began + stop_after:
            raise Interrupted

    first = continued(pretrained, tmp_path / "cut", **settings)
    first.watch(On(after_save=interrupt))
    with pytest.raises(Interrupted):
        train_professor(first)
    second = start_run(tiny_config(tmp_path / "cut", **(SHORT | settings)))
    second.watch(Validation())
    second.resume()
    train_professor(second)
    assert same(weights(second.generator), weights(whole.generator))
    assert same(weights(second.discriminator), weights(whole.discriminator))
    told = [
        [{name: value for name, value in entry.items() if name != "seconds"} for entry in read_history(folder)]
        for folder in (tmp_path / "cut", tmp_path / "whole")
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedulers.g_warmup_type": "sudden"}, "schedulers.g_warmup_type"),
        ({"schedulers.adv_ramp_steps": -1}, "schedulers.adv_ramp_steps"),
        ({"schedulers.g_plateau.factor": 1.5}, "schedulers.g_plateau.factor"),
        ({"schedulers.d_plateau.metric": "adversarial"}, "schedulers.d_plateau.metric"),
        ({"schedulers.warmup": 5}, "schedulers.warmup is not a setting"),
        ({"training.loggers": ["paper"]}, "training.loggers"),
        (
            {"schedulers.pretrain_g_only": True, "loss_weights.energy_score": 0.0},
            "pretrain_g_only needs loss_weights.energy_score",
        ),
    ],
)
def test_an_impossible_schedule_is_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config_from_yaml(overrides=settings)


def test_the_shipped_settings_change_nothing():
    config: Config = load_config_from_yaml(DEFAULT_CONFIG)
    schedulers = config.schedulers
    assert not schedulers.pretrain_g_only and not schedulers.g_warmup_steps and not schedulers.adv_ramp_steps
    parts = (schedulers.g_plateau, schedulers.d_plateau, schedulers.early_stopping)
    assert [part.patience for part in parts] == [None] * 3
    assert config.training.notify == []
