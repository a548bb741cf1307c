"""config.yaml: presets, precedence, and errors that say what to do."""

from pathlib import Path

import pytest
import yaml

from piano.config_reader import dump_config, find_config, load_config_from_yaml, parse_override
from piano.foundation.errors import ConfigError
from piano.piano_train import check_loss_weights
from piano.stages import STAGE_NAMES

ROOT = Path(__file__).resolve().parent.parent


def written(tmp_path: Path, change) -> Path:
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    change(values)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("preset", ["tiny", "small", "base", "large"])
def test_every_preset_loads_and_its_shares_leave_room_for_the_gates(preset):
    config = load_config_from_yaml(ROOT / "config.yaml", preset=preset)
    assert 0.85 <= sum(stage.share for _, stage in config.stages) <= 1.0
    assert config.discriminator.professor_layers <= config.model.num_layers


def test_the_file_s_own_keys_win_over_the_preset_and_overrides_over_both(tmp_path):
    path = written(tmp_path, lambda values: values.update(batch_size=48))
    assert load_config_from_yaml(path).batch_size == 48
    assert load_config_from_yaml(path, overrides={"batch_size": 8}).batch_size == 8
    changed = load_config_from_yaml(path, overrides={"model.num_layers": 2})
    assert changed.model.num_layers == 2
    assert changed.model.latent_dim == load_config_from_yaml(path).model.latent_dim


def test_a_typo_is_an_error_that_names_the_nearest_setting(tmp_path):
    path = written(tmp_path, lambda values: values.update(epoch=5))
    with pytest.raises(ConfigError, match=r"epoch is not a setting\. Did you mean epochs\?"):
        load_config_from_yaml(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, "batch_size"),
        ("batch_size", "many", "batch_size"),
        ("model.n_fft", 1000, "power of two"),
        ("model.sound_channels", 3, "sound_channels"),
        ("stages.flow.share", 1.5, "stages.flow.share"),
        ("stages.flow.frames", 4000, "latent_seq_len"),
        ("accumulation_steps", 3, "must divide"),
        ("loss_weights.melody", -1.0, "must not be negative"),
        ("model.latent_seq_len", 4000, "must fit into a pair"),
    ],
)
def test_an_impossible_value_is_one_sentence(key, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config_from_yaml(ROOT / "config.yaml", overrides={key: value})
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match="tiny, small, base, large"):
        load_config_from_yaml(ROOT / "config.yaml", preset="huge")


def test_a_written_config_reads_back_the_same(tmp_path):
    config = load_config_from_yaml(ROOT / "config.yaml", overrides={"minutes": 3, "seed": 7})
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config_from_yaml(path) == config


def test_folders_are_relative_to_the_file_and_not_to_the_current_folder(tmp_path, monkeypatch):
    path = written(tmp_path, lambda values: None)
    monkeypatch.chdir("/")
    assert load_config_from_yaml(path).dataset_folder == tmp_path / "dataset"


def test_the_current_folder_s_config_is_found_before_the_package_s(tmp_path, monkeypatch):
    path = written(tmp_path, lambda values: None)
    monkeypatch.chdir(tmp_path)
    assert find_config() == path
    with pytest.raises(ConfigError, match="no settings file"):
        find_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "text",
    ["epochs: 3\nseed: 1\nepochs: 9\n", "model: {n_fft: 512, n_fft: 1024}\n", "presets: [1]\npresets: {tiny: {}}\n"],
)
def test_a_setting_that_is_there_twice_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml is not readable YAML: \w+ is there twice \(line \d\)"):
        load_config_from_yaml(path)


@pytest.mark.parametrize("presets", ["[1]", "word", "5", "{tiny: 3}"])
def test_presets_that_are_no_sections_are_refused(tmp_path, presets):
    path = tmp_path / "config.yaml"
    path.write_text(f"preset: tiny\npresets: {presets}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: presets(\.tiny)? must "):
        load_config_from_yaml(path)


def test_shares_that_leave_nothing_to_learn_are_refused():
    shares = {f"stages.{name}.share": 0.0 for name in STAGE_NAMES}
    with pytest.raises(ConfigError, match="the share of every stage is 0, so that nothing would be learned"):
        load_config_from_yaml(overrides=shares)


def test_broken_yaml_is_one_sentence(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: [1, 2\nb: {")
    with pytest.raises(ConfigError, match="not readable YAML"):
        load_config_from_yaml(path)


def test_settings_can_be_read_like_a_dictionary():
    config = load_config_from_yaml(ROOT / "config.yaml")
    assert config["batch_size"] == config.batch_size
    assert config["latent_dim"] == config.model.latent_dim
    with pytest.raises(KeyError):
        config["no_such_setting"]


def test_an_override_keeps_its_type():
    assert parse_override("model.num_layers=8") == ("model.num_layers", 8)
    assert parse_override("minutes=2.5") == ("minutes", 2.5)
    with pytest.raises(ConfigError, match="key=value"):
        parse_override("minutes")


def test_a_misspelt_loss_weight_is_refused_with_the_nearest_loss():
    with pytest.raises(ConfigError, match=r"loss_weights\.melodie is not a loss\. Did you mean loss_weights\.melody"):
        check_loss_weights({"melodie": 1.0})
