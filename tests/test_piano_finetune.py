"""Fine-tuning keeps what defines the latents, continues everything else, and resumes by itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from piano import piano_main
from piano.composer import Composer, Sampling
from piano.config_reader import MODEL_OF_BEFORE, dump_config, load_config_from_yaml
from piano.export_model import export_model
from piano.foundation.audio_io import read_audio
from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.errors import EXIT_RUINED, CheckpointError
from piano.foundation.run_log import read_history
from piano.foundation.runtime import sampling_dtype
from piano.giveaway import read_wishes
from piano.piano_finetune import finetuning_stages, start_from
from piano.piano_model import VariationalAttentionModel
from piano.stages import STAGE_NAMES
from piano.training.time_budget import TimeBudget
from piano.utilities import load_checkpoint, load_discriminator, load_generator
from piano.watching.effect_meter import effect_seconds, last_effect, measure_tuning
from piano.watching.gates import Gatekeeper
from piano.watching.run_ruler import SEED
from piano.watching.score_cost import Prices
from tests.same_run import Interrupted
from tests.tiny_run import SMALL, On, start_run, tiny_config, train_all, write_config, write_dataset

SHORT = {"pretrain_epochs_g": 2, "epochs": 3}
"""One epoch a stage."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A trained model in both forms: folder/checkpoints of a run, folder/given as it is given away."""
    folder = tmp_path_factory.mktemp("base")
    write_dataset(folder / "dataset")
    assert piano_main.main(["--config", str(write_config(folder, **SHORT))]) == EXIT_RUINED
    export_model(
        folder / "checkpoints", "latest", folder / "given", with_discriminator=True, wishes=read_wishes(samples=0)
    )
    return folder


def tune(base: Path, folder: Path, *arguments: str, **overrides) -> int:
    """Fine-tune in `folder`, with other architecture in the settings than the model's."""
    folder.mkdir(exist_ok=True)
    settings = tiny_config(
        folder / "checkpoints", **SHORT | {"model__num_layers": 3, "model__n_channels": 16} | overrides
    )
    settings = settings.model_copy(update={"dataset_folder": base / "dataset"})
    (folder / "config.yaml").write_text(dump_config(settings))
    return piano_main.main(["--config", str(folder / "config.yaml"), *arguments])


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    assert tune(base, folder, "--from", str(base / "given")) == EXIT_RUINED
    return folder / "checkpoints"


def test_fine_tuning_keeps_encoder_statistics_and_normaliser_and_moves_the_rest(base, tuned):
    before, after = load_generator(base / "given"), load_generator(tuned, "latest")
    assert after.keywords == before.keywords
    first, second = before.state_dict(), after.state_dict()
    kept = (
        "normaliser.",
        "autoencoder.mean_spectrum",
        "autoencoder.spectrum_scale",
        "autoencoder.encoder.",
    )
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert {name for name in first if name.startswith(kept)} <= same
    learned = {name for name, _ in before.named_parameters() if not name.startswith(kept)}
    assert {"autoencoder.decoder.head.weight", "attention.out.weight"} <= learned
    assert sorted(learned & same) == []


def test_all_stages_run_and_the_judges_go_on_from_where_they_were(base, tuned):
    run = load_checkpoint(tuned, "generator", "latest")["run"]
    assert run["finished_stages"] == list(STAGE_NAMES)
    steps = int(load_discriminator(base / "given").trained_steps)
    assert steps > 0
    first = load_checkpoint(tuned, "discriminator", complete_epochs(tuned)[0])
    assert int(first["model"]["trained_steps"]) == steps


def test_a_fine_tuned_run_says_what_became_of_the_model_and_leaves_both_to_hear(base, tmp_path, capsys):
    tune(base, tmp_path, "--from", str(base / "given"))
    folder, said = tmp_path / "checkpoints", " ".join(capsys.readouterr().out.split())
    told = last_effect(read_history(folder))
    assert told is not None and told["verdict"] in ("moved", "not moved", "copied")
    assert told["sentence"] in said
    assert json.loads((folder / "best.json").read_text())["effect"]["gap"] == pytest.approx(told["gap"])
    before, after = (
        read_audio(folder / "effect" / f"{name}.wav", sample_rate=8000, channels=1) for name in ("before", "after")
    )
    assert before.shape == after.shape and not np.array_equal(before, after)
    sampling = Sampling(SEED, dtype=sampling_dtype("cpu"))
    played = Composer(load_generator(base / "given"), sampling).generate(before.shape[1] / 8000)[0]
    np.testing.assert_allclose(before, played.numpy(), atol=1e-3)


def test_a_model_to_begin_with_that_is_gone_is_said_and_the_run_ends_as_ever(base, tmp_path, capsys):
    shutil.copytree(base / "given", tmp_path / "gone")
    moved = On(after_stage=lambda run, stage: shutil.rmtree(tmp_path / "gone", ignore_errors=True))
    run = start_run(
        tiny_config(tmp_path / "run").model_copy(update={"start_from": tmp_path / "gone"}), watchers=[moved]
    )
    train_all(run)
    assert measure_tuning(run, clips=4) is None
    told = last_effect(read_history(tmp_path / "run"))
    assert told is not None and told["verdict"] == "cannot tell" and "gone" in told["sentence"]


def test_the_meter_has_its_time_in_the_budget(tmp_path):
    prices = Prices(hear=0.1, compose={1: 0.2, 16: 1.0}, reconstruct=0.1, encoding=1.0)
    assert effect_seconds(prices, 8, music_seconds=80.0) == pytest.approx(2 * 8 * (1.1 + 0.1) + 0.5)
    with_meter, without = (TimeBudget(600.0, {"autoencoder": 1.0, "flow": 1.0}, {}) for _ in range(2))
    with_meter.afterwards = 60.0
    plans = [sum(budget.plan("autoencoder", 0.0).values()) for budget in (with_meter, without)]
    assert plans[1] - plans[0] == pytest.approx(60.0)


def test_the_screen_says_what_is_adopted_and_the_folder_keeps_it(base, tmp_path, capsys):
    assert tune(base, tmp_path, "--from", str(base / "checkpoints"), "--set", "epochs=0") == EXIT_RUINED
    said = capsys.readouterr().out
    assert "Fine-tuning epoch" in said
    assert "n_channels 24 for 16" in said and "num_layers 2 for 3" in said
    kept = load_config_from_yaml(tmp_path / "checkpoints" / "config.yaml")
    assert kept.model.model_dump() == load_checkpoint(base / "given", "generator")["keywords"]
    assert kept.start_from == base / "checkpoints"
    asked = SMALL["stages"]["autoencoder"]["learning_rate"]
    assert dict(kept.stages)["autoencoder"].learning_rate == pytest.approx(0.1 * asked)
    assert dict(kept.stages)["autoencoder"].share < dict(kept.stages)["flow"].share


def test_a_stage_may_have_its_own_rate_of_fine_tuning_and_hears_whole_windows(tmp_path):
    config = tiny_config(tmp_path, stages__flow__finetune_rate=0.02, stages__flow__short_share=0.5)
    stages = finetuning_stages(config, config.model)
    asked = {name: config.stage(name).learning_rate for name in ("autoencoder", "flow")}
    assert stages["autoencoder"]["learning_rate"] == pytest.approx(config.finetune.rate * asked["autoencoder"])
    assert stages["flow"]["learning_rate"] == pytest.approx(0.02 * asked["flow"])
    assert not stages["flow"]["short_share"]


def test_a_stage_without_steps_leaves_the_one_step_block_alone(base, tmp_path):
    skipped = ("--set", "pretrain_epochs_g=0", "--set", "epochs=0")
    assert tune(base, tmp_path, "--from", str(base / "given"), *skipped) == EXIT_RUINED
    before, after = load_generator(base / "given").shortcut, load_generator(tmp_path / "checkpoints").shortcut
    assert all(torch.equal(old, new) for old, new in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.slow
def test_an_interrupted_fine_tuning_resumes_by_itself_and_ends_the_same(base, tuned, tmp_path, monkeypatch):
    write_samples = Gatekeeper.write_samples

    def interrupt(gatekeeper, run, **options):
        write_samples(gatekeeper, run, **options)
        if run.epoch == 3:
            raise Interrupted

    monkeypatch.setattr(Gatekeeper, "write_samples", interrupt)
    with pytest.raises(Interrupted):
        tune(base, tmp_path, "--from", str(base / "given"))
    monkeypatch.undo()
    assert tune(base, tmp_path, "--resume") == EXIT_RUINED
    for load in (load_generator, load_discriminator):
        first, second = load(tuned).state_dict(), load(tmp_path / "checkpoints").state_dict()
        assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_from_and_resume_exclude_each_other_in_one_sentence(base, tmp_path, capsys):
    assert tune(base, tmp_path, "--from", str(base / "given"), "--resume") == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_model_that_is_not_there_or_does_not_fit_is_one_sentence(base, tmp_path, capsys):
    assert tune(base, tmp_path / "a", "--from", str(tmp_path / "nothing")) == 2
    assert "no generator checkpoint" in capsys.readouterr().err
    write_dataset(tmp_path / "stereo", channels=2)
    assert tune(base, tmp_path / "b", "--from", str(base / "given"), "--dataset", str(tmp_path / "stereo")) == 2
    assert "has channels 2, the model needs 1" in capsys.readouterr().err
    content = load_checkpoint(base / "given", "generator")
    other = content | {"keywords": content["keywords"] | {"latent_seq_len": 4}}
    with pytest.raises(CheckpointError, match="does not fit these settings"):
        start_from(tiny_config(tmp_path), base, other, None)


def test_sizes_that_an_older_model_does_not_name_are_what_they_were(base, tmp_path):
    content = load_checkpoint(base / "given", "generator")
    older = {name: value for name, value in content["keywords"].items() if name not in MODEL_OF_BEFORE}
    older |= {"sound_channels": 2}
    adopted = start_from(tiny_config(tmp_path), base, content | {"keywords": older}, None).config.model
    assert (adopted.image_bands, adopted.repeat_signals) == (0, 0)
    network = VariationalAttentionModel(**adopted.model_dump())
    assert network.autoencoder.values == VariationalAttentionModel(**older).autoencoder.values


def test_a_model_without_judges_gets_new_ones(base, tmp_path):
    content = load_checkpoint(base / "given", "generator")
    start = start_from(tiny_config(tmp_path), base, content, None)
    assert start.discriminator is None
    assert start.config.discriminator == tiny_config(tmp_path).discriminator
    assert "same architecture" in start.sentence
