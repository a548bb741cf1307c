"""check_discriminator: a row for every judge, real music as control, and words that follow from the numbers."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from piano.check_discriminator import (
    Items,
    JudgeVerdict,
    family_logits,
    interpret,
    interpret_matrix,
    main,
    table_text,
    told_apart,
)
from piano.composer import Composer, Sampling
from piano.config_reader import load_config_from_yaml
from piano.foundation.audio_io import write_audio
from piano.foundation.checkpoint_format import complete_epochs
from piano.judging import verdicts as judging
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_discriminator, load_generator
from tests.make_audio import write_music
from tests.tiny_run import SAMPLE_RATE, start_run, tiny_config, tonal_pairs, train_all, write_config, write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished tiny run with its data set."""
    home = tmp_path_factory.mktemp("run")
    write_dataset(home / "dataset")
    path = write_config(home)
    run = start_run(load_config_from_yaml(path))
    train_all(run)
    (home / "checkpoints" / "config.yaml").write_text(path.read_text())
    return home / "checkpoints"


def test_every_discriminator_judges_the_generator_and_real_music(folder, tmp_path, capsys):
    assert main(["--gen-ckpt", "latest", "--checkpoints", str(folder), "--output", str(tmp_path), "--count", "3"]) == 0
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
        assert 0.0 <= float(row["told_apart"]) <= 1.0
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
    assert main(["--all", "--checkpoints", str(folder), "--output", str(tmp_path), "--count", "2", "--steps", "1"]) == 0
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


def test_the_table_says_what_the_judge_says(folder, tmp_path):
    """One row worked out by hand: binary cross-entropy with the label real, means over the fakes."""
    assert main(["--checkpoints", str(folder), "--output", str(tmp_path), "--count", "2", "--seed", "5"]) == 0
    row = json.loads((tmp_path / "verdicts.json").read_text())[-1]
    generator, judge = load_generator(folder), load_discriminator(folder)
    latents = Composer(generator, Sampling(5)).sample_latents(generator.latent_seq_len, count=2)
    with torch.inference_mode():
        logits = judge.logit(latents=latents, spectrum=generator.decode_spectrum(latents))
    assert row["logit"] == pytest.approx(float(logits.mean()), abs=1e-5)
    assert row["probability"] == pytest.approx(float(logits.sigmoid().mean()), abs=1e-5)
    assert row["d_loss"] == pytest.approx(float(-logits.sigmoid().log().mean()), abs=1e-5)


def test_real_items_are_compared_with_the_real_crowd(folder):
    generator, judge = load_generator(folder), load_discriminator(folder)
    latents = Composer(generator, Sampling(1)).sample_latents(generator.latent_seq_len, count=3)
    items = Items(latents, generator.decode_spectrum(latents), lambda: Composer(generator).decode(latents))
    with torch.inference_mode():
        as_real, as_fake = (family_logits(judge, items, is_real=is_real) for is_real in (True, False))
    assert torch.equal(as_real["ear"], as_fake["ear"])
    assert not torch.equal(as_real["professor"], as_fake["professor"])


def test_sound_files_can_be_the_real_music(folder, tmp_path, capsys):
    music = tmp_path / "music"
    music.mkdir()
    for index, pair in enumerate(tonal_pairs(2, seed=9)):
        write_audio(music / f"{index}.wav", pair.transpose(1, 0, 2).reshape(1, -1), SAMPLE_RATE)
    given = ["--checkpoints", str(folder), "--count", "2", "--real"]
    assert main([*given, str(music), "--output", str(tmp_path / "files")]) == 0
    assert main([*given, str(folder.parent / "dataset"), "--output", str(tmp_path / "dataset")]) == 0
    from_files, from_dataset = (
        json.loads((tmp_path / name / "verdicts.json").read_text())[-1] for name in ("files", "dataset")
    )
    assert from_files["logit"] == from_dataset["logit"]
    assert from_files["real_logit"] != from_dataset["real_logit"]
    (tmp_path / "empty").mkdir()
    assert main([*given, str(tmp_path / "empty"), "--output", str(tmp_path)]) == 2
    assert "no sound file of at least" in capsys.readouterr().err


def test_told_apart_is_the_share_of_pairs_in_order():
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 2.0])
    assert told_apart(high, low) == 1.0
    assert told_apart(low, high) == 0.0
    assert told_apart(low, low) == 0.5
    assert told_apart(high + 100.0, low + 100.0) == 1.0


def verdict(
    judge: int, loss: float, *, real_logit: float = 1.0, generator: int = 10, apart: float = 0.8
) -> JudgeVerdict:
    real = 1.0 / (1.0 + math.exp(-real_logit))
    return JudgeVerdict(judge, generator, loss, 0.5, 0.0, 0.3, real, real_logit, apart, apart, apart, 100)


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


def test_the_judges_that_were_fooled_at_first_are_named():
    text = interpret([verdict(epoch, loss) for epoch, loss in ((3, 0.3), (6, 0.5), (9, 0.8), (12, 1.1))])
    assert "it fooled epochs 3, 6)" in text


def test_one_or_two_judges_make_no_trend():
    assert "no trend" in interpret([verdict(1, 0.5), verdict(2, 0.9)])


def test_a_judge_that_calls_real_music_fake_is_named_useless_and_makes_no_trend():
    judges = [verdict(epoch, 0.7) for epoch in (1, 2, 3)]
    text = interpret([*judges, verdict(4, 3.0, real_logit=-2.0)])
    assert "useless as judges, whatever they say of the fakes: epochs 4" in text
    assert "stays level near the confusion point" in text
    assert "useless" not in interpret(judges)
    assert "race" not in interpret([verdict(1, 0.3, real_logit=-2.0), verdict(2, 0.9, real_logit=-2.0)])


@pytest.mark.parametrize(
    ("apart", "words"), [(0.95, "it tells them apart."), (0.5, "cannot tell them apart"), (0.2, "prefers the fakes")]
)
def test_the_control_says_whether_the_newest_judge_can_tell(apart, words):
    assert words in interpret([verdict(epoch, 0.7, apart=apart) for epoch in (1, 2, 3)])


def test_a_judge_that_ranks_the_wrong_way_round_is_said_to_in_a_sentence_and_columns_have_names_of_their_own():
    judges = [verdict(1, 0.7, apart=0.07), verdict(2, 0.7, apart=0.3), verdict(3, 0.7, apart=0.9)]
    text = interpret(judges)
    assert "ranks the wrong way round: epochs 1, 2. Epoch 1 takes the fake for the real one in 93% of pairs" in text
    assert "wrong way" not in interpret(judges[2:])
    head = table_text(judges).splitlines()[0]
    names = ("epoch", "fake: d_loss", "fake: prob.", "real: d_loss", "real: prob.", "told apart", "ear", "professor")
    assert " ".join(head.split()) == " ".join(names)


def test_strictness_names_the_judge_that_ranks_old_fakes_below_real_music():
    strict = [verdict(3, 1.0, apart=0.9, generator=g) for g in (1, 2)]
    forgetful = [verdict(4, 0.3, apart=0.4, generator=g) for g in (1, 2, 3)]
    text = interpret_matrix(strict + forgetful)
    assert "strictest discriminator is epoch 3" in text
    assert "forgot old fakes" in text
    assert "save more epochs" in interpret_matrix([verdict(3, 1.0, generator=5)])


def test_real_files_are_read_until_there_are_enough_and_an_unreadable_one_is_named(tmp_path, monkeypatch, caplog):
    generator = VariationalAttentionModel(**tiny_config(tmp_path).model.model_dump())
    for name in "bcde":
        write_music(tmp_path / f"{name}.wav", ord(name), 3.0, SAMPLE_RATE)
    (tmp_path / "a.wav").write_bytes(b"RIFF, but no sound")
    read, read_audio = [], judging.read_audio

    def counted(path, **form):
        read.append(path.name)
        return read_audio(path, **form)

    monkeypatch.setattr(judging, "read_audio", counted)
    clips = judging.real_clips(tmp_path, generator, 2, may_be_files=True)
    assert clips.files == ["b.wav", "c.wav"] and read == ["a.wav", "b.wav", "c.wav"]
    (message,) = caplog.messages
    assert "Left out: " in message and "a.wav" in message
