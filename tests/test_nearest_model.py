"""`--from shipped` begins with the project's model that is nearest to the music, by measurement, and says so."""

from pathlib import Path

import pytest
import torch

from piano import piano_main
from piano.config_reader import load_config_from_yaml
from piano.foundation import model_folder
from piano.foundation.errors import EXIT_RUINED, CheckpointError
from piano.foundation.shipped_format import shipped_path, write_shipped
from piano.piano_main import start_place
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.watching.nearest_model import measure_nearness, nearest_model
from piano.watching.run_ruler import RunRuler
from tests.tiny_run import SAMPLE_RATE, start_run, tiny_config, tonal_pairs, train_all, write_config, write_dataset

PAIRS = AudioDataset(tonal_pairs(8, seed=8), labels=list("abcdefgh"))


def give_away(generator: VariationalAttentionModel, folder: Path) -> Path:
    write_shipped(
        shipped_path(folder, "generator"),
        "generator",
        epoch=1,
        keywords=generator.keywords,
        state=generator.state_dict(),
    )
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> VariationalAttentionModel:
    """A generator that has learned the tones that the data set is made of."""
    run = start_run(tiny_config(tmp_path_factory.mktemp("trained")))
    train_all(run)
    return run.generator.cpu().eval()


@pytest.fixture(scope="module")
def models(trained, tmp_path_factory) -> dict[str, Path]:
    """One that has learned, one that has not, and one of another form."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    blank = VariationalAttentionModel(**trained.keywords)
    other = VariationalAttentionModel(**(trained.keywords | {"sound_channels": 2}))
    return {
        name: give_away(generator, home / name)
        for name, generator in (("blank", blank), ("trained", trained), ("stereo", other))
    }


def choose(models: dict[str, Path], *, channels: int = 1, segment_samples: int | None = None):
    samples = PAIRS.samples // 2 if segment_samples is None else segment_samples
    return nearest_model(PAIRS, sample_rate=SAMPLE_RATE, channels=channels, segment_samples=samples, models=models)


def test_the_model_that_learned_this_music_is_chosen_with_the_figures_of_all_that_fit(models):
    chosen = choose(models)
    assert chosen.folder == models["trained"]
    assert chosen.sentence.startswith("The model trained is nearest")
    assert "blank" in chosen.sentence
    assert "stereo" not in chosen.sentence


def test_nearness_is_of_reconstructions_and_compositions(trained):
    near = measure_nearness(trained, RunRuler(PAIRS, SAMPLE_RATE, most_clips=8))
    assert near.reconstruction < near.composition
    assert near.mean == pytest.approx((near.reconstruction + near.composition) / 2.0)


def test_one_that_fits_needs_no_measurement_and_none_is_refused_with_the_forms_there_are(models):
    assert choose(models, channels=2).folder == models["stereo"]
    with pytest.raises(CheckpointError, match=r"none of the project's models.*--sample-rate 8000 --channels 2"):
        choose(models, segment_samples=100)
    with pytest.raises(CheckpointError, match="no model comes with"):
        choose({})


def test_shipped_stays_a_name_until_the_music_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert start_place("shipped") == "shipped"
    assert start_place("mixed") == str(model_folder.project_folder("mixed").resolve())
    config = load_config_from_yaml(write_config(tmp_path), overrides={"start_from": "mixed"})
    assert config.start_from is not None
    assert model_folder.named_folder(config.start_from) == model_folder.project_folder("mixed")
    Path("shipped").mkdir()
    assert start_place("shipped") == str(tmp_path / "shipped")


@pytest.mark.slow
def test_a_run_from_shipped_begins_with_the_nearest_and_its_settings_name_it(models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("piano.watching.nearest_model.project_models", lambda: models)
    write_dataset(tmp_path / "dataset")
    path = write_config(tmp_path)
    assert piano_main.main(["--config", str(path), "--from", "shipped"]) == EXIT_RUINED
    assert "is nearest to this music" in " ".join(capsys.readouterr().out.split())
    kept = load_config_from_yaml(tmp_path / "checkpoints" / "config.yaml")
    assert kept.start_from in models.values()
