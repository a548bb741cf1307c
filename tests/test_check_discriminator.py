"""check_discriminator: a row for every judge, real music as control, and words that follow from the numbers."""

import csv
import json
from pathlib import Path

import pytest

from piano.check_discriminator import Verdict, interpret, interpret_matrix, main
from piano.config_reader import load_config_from_yaml
from piano.foundation.checkpoint_format import complete_epochs
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
from piano.piano_train import train_vae_gan
from tests.tiny_run import start_run, write_config, write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished tiny run with its data set."""
    home = tmp_path_factory.mktemp("run")
    write_dataset(home / "dataset")
    path = write_config(home)
    run = start_run(load_config_from_yaml(path))
    pretrain_generator(run)
    pretrain_discriminator(run)
    train_vae_gan(run)
    (home / "checkpoints" / "config.yaml").write_text(path.read_text())
    return home / "checkpoints"


def test_every_discriminator_judges_the_generator_and_real_music(folder, tmp_path, capsys):
    assert (
        main(
            ["--gen-ckpt", "latest", "--checkpoints", str(folder), "--output", str(tmp_path), "--count", "3"]
        )
        == 0
    )
    rows = list(csv.DictReader((tmp_path / "verdicts.csv").open()))
    judges = [int(row["discriminator_epoch"]) for row in rows]
    assert judges == [epoch for epoch in complete_epochs(folder) if epoch >= judges[0]]
    assert len(judges) > 1
    assert {int(row["generator_epoch"]) for row in rows} == {complete_epochs(folder)[-1]}
    for row in rows:
        assert 0.0 <= float(row["probability"]) <= 1.0
        assert float(row["d_loss"]) > 0.0
        assert float(row["real_probability"]) > 0.0
        assert int(row["trained_steps"]) > 0
    assert json.loads((tmp_path / "verdicts.json").read_text())[0].keys() == rows[0].keys()
    assert (tmp_path / "curve.png").stat().st_size > 5000
    screen = capsys.readouterr().out
    assert f"not trained yet: epochs 1 to {judges[0] - 1}" in screen
    assert "Control: the last one gives real music" in screen


def test_the_same_seed_gives_the_same_verdicts(folder, tmp_path):
    for name in ("a", "b"):
        assert main(["--checkpoints", str(folder), "--output", str(tmp_path / name), "--count", "2"]) == 0
    first, second = ((tmp_path / name / "verdicts.json").read_text() for name in ("a", "b"))
    assert first == second


def test_all_judges_every_generator_with_every_discriminator(folder, tmp_path, capsys):
    assert (
        main(
            ["--all", "--checkpoints", str(folder), "--output", str(tmp_path), "--count", "2", "--steps", "1"]
        )
        == 0
    )
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    judges = {verdict["discriminator_epoch"] for verdict in verdicts}
    assert len(verdicts) == len(complete_epochs(folder)) * len(judges)
    assert (tmp_path / "matrix.png").stat().st_size > 5000
    assert "Strictness" in capsys.readouterr().out


def test_a_missing_generator_is_one_sentence(folder, tmp_path, capsys):
    assert main(["--gen-ckpt", "690", "--checkpoints", str(folder), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no generator checkpoint for epoch 690" in error
    assert "Try" in error


def verdict(
    judge: int, loss: float, *, logit: float = 0.0, real_logit: float = 1.0, generator: int = 10
) -> Verdict:
    real = 1.0 / (1.0 + 2.718281828 ** (-real_logit))
    return Verdict(judge, generator, loss, 0.5, logit, 0.3, real, real_logit, 100)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([0.1, 0.15, 0.2], "D does not learn"),
        ([1.5, 1.6, 1.9], "G fails against all"),
        ([0.3, 0.6, 0.9], "healthy arms race"),
        ([0.9, 0.7, 0.4], "D is forgetting"),
        ([0.69, 0.70, 0.68], "near the confusion point"),
    ],
)
def test_the_interpretation_follows_the_losses(losses, words):
    text = interpret([verdict(epoch, loss) for epoch, loss in enumerate(losses, start=1)])
    assert words in text


def test_a_judge_that_calls_real_music_fake_is_named_useless():
    text = interpret([verdict(1, 0.7), verdict(2, 0.7, real_logit=-2.0)])
    assert "useless as judges: epochs 2" in text
    assert "useless" not in interpret([verdict(1, 0.7), verdict(2, 0.7)])


def test_strictness_names_the_judge_that_rates_old_fakes_below_real_music():
    strict = [verdict(3, 1.0, logit=-1.0, generator=g) for g in (1, 2)]
    forgetful = [verdict(4, 0.3, logit=2.0, generator=g) for g in (1, 2, 3)]
    text = interpret_matrix(strict + forgetful)
    assert "strictest discriminator is epoch 3" in text
    assert "forgot old fakes" in text
