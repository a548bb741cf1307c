"""config.yaml: presets, precedence, and errors that say what to do."""

from pathlib import Path

import pytest
import yaml

from piano import config_reader
from piano.config_reader import (
    DEFAULT_CONFIG,
    FOLDER_SETTINGS,
    Config,
    Settings,
    dump_config,
    find_config,
    load_config_from_yaml,
    parse_override,
    preset_names,
)
from piano.foundation.errors import ConfigError
from piano.loss_functions import MUSIC_TERMS
from piano.piano_train import SHORTCUT_TERMS, check_loss_weights
from piano.run_settings import flatten
from piano.stages import STAGE_NAMES

PRESETS = ("tiny", "small", "base", "large")


def said(tmp_path: Path, text: str) -> Path:
    """A settings file of a few lines."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def written(tmp_path: Path, change) -> Path:
    """A settings file that says everything, presets too, as those from before there were layers."""
    values = yaml.safe_load(DEFAULT_CONFIG.read_text())
    change(values)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_its_shares_leave_room_for_the_gates(preset):
    config = load_config_from_yaml(DEFAULT_CONFIG, preset=preset)
    assert 0.85 <= sum(stage.share for _, stage in config.stages) <= 1.0
    assert config.discriminator.professor_layers <= config.model.num_layers


def test_the_file_s_own_keys_win_over_the_preset_and_overrides_over_both(tmp_path):
    path = written(tmp_path, lambda values: values.update(batch_size=48))
    assert load_config_from_yaml(path).batch_size == 48
    assert load_config_from_yaml(path, overrides={"batch_size": 8}).batch_size == 8
    changed = load_config_from_yaml(path, overrides={"model.num_layers": 2})
    assert changed.model.num_layers == 2
    assert changed.model.latent_dim == load_config_from_yaml(path).model.latent_dim


def all_models(section: type[Settings]) -> set[type[Settings]]:
    """A section's model and those of the sections inside it."""
    inside = [field.annotation for field in section.model_fields.values()]
    return {section}.union(
        *(all_models(kind) for kind in inside if isinstance(kind, type) and issubclass(kind, Settings))
    )


def test_every_number_is_said_once():
    """In the general part of the defaults or in the presets; no model has a number of its own."""
    defaults = {
        f"{model.__name__}.{name}": field.default
        for model in all_models(Config)
        for name, field in model.model_fields.items()
        if not field.is_required()
    }
    optional = {
        "batch_size",
        "learning_rate",
        "learning_rate_disc",
        "steps_per_epoch",
        "finetune_rate",
        "short_share",
    }  # null: the general one
    assert defaults == {f"StageSettings.{name}": None for name in optional}

    general = yaml.safe_load(DEFAULT_CONFIG.read_text())
    presets = {name: set(flatten(values)) for name, values in general.pop("presets").items()}
    assert tuple(presets) == PRESETS
    every = set(flatten(load_config_from_yaml(DEFAULT_CONFIG).model_dump(mode="json")))
    own = {f"stages.{stage}.{name}" for stage in STAGE_NAMES for name in optional}
    for name, sized in presets.items():
        assert not sized & set(flatten(general)), name
        assert (sized | set(flatten(general))) - own == every - own, name
    assert set(general["finetune"]["shares"]) == set(STAGE_NAMES)


def test_every_default_has_a_comment_where_it_first_stands():
    lines = DEFAULT_CONFIG.read_text().partition("  small:")[0].splitlines()
    above = ""
    for line in lines:
        stripped = line.strip()
        is_explained = (
            "#" in line or above.startswith("#") or "{" in line or stripped.startswith(("share", "latent_seq"))
        )
        assert not stripped or stripped.endswith(":") or is_explained, line
        above = stripped


@pytest.mark.parametrize("preset", PRESETS)
def test_a_file_says_only_what_differs(tmp_path, preset):
    usual = load_config_from_yaml(DEFAULT_CONFIG, preset=preset)
    text = f"preset: {preset}\nbatch_size: 48\nmodel: {{dropout: 0.2}}\nloss_weights: {{melody: 0.7}}\n"
    text += "finetune: {shares: {flow: 0.5}}\nstages: {flow: {warmup_steps: 7}}\n"
    found = flatten(load_config_from_yaml(said(tmp_path, text)).model_dump())
    changed = {
        "batch_size": 48,
        "model.dropout": 0.2,
        "loss_weights.melody": 0.7,
        "finetune.shares.flow": 0.5,
        "stages.flow.warmup_steps": 7,
    }
    folders = {name: tmp_path / Path(found[name]).name for name in found if name.endswith("_folder")}
    assert found == flatten(usual.model_dump()) | changed | folders
    over = load_config_from_yaml(tmp_path / "config.yaml", overrides={"batch_size": 8, "model.dropout": 0.0})
    assert (over.batch_size, over.model.dropout, over.loss_weights["melody"]) == (8, 0.0, 0.7)


def test_without_a_line_there_are_the_defaults_and_their_preset(tmp_path):
    assert load_config_from_yaml(said(tmp_path, "# nothing\n"), preset="base").ema == 0.9995
    found, usual = (load_config_from_yaml(path) for path in (tmp_path / "config.yaml", DEFAULT_CONFIG))
    assert dump_config(
        found.model_copy(update={name: getattr(usual, name) for name in FOLDER_SETTINGS})
    ) == dump_config(usual)
    with pytest.raises(ConfigError, match=r"no preset 'tinny'\. There are: tiny, small, base, large\."):
        load_config_from_yaml(said(tmp_path, "preset: tinny\n"))


def test_a_preset_of_one_s_own_is_laid_over_the_default_one_or_over_its_namesake(tmp_path):
    path = said(tmp_path, "preset: mine\npresets: {mine: {batch_size: 4}, small: {batch_size: 5}}\n")
    mine, small = load_config_from_yaml(path), load_config_from_yaml(path, preset="small")
    usual = {name: load_config_from_yaml(DEFAULT_CONFIG, preset=name) for name in PRESETS}
    assert (mine.batch_size, mine.preset, mine.model, mine.stages) == (
        4,
        "mine",
        usual["tiny"].model,
        usual["tiny"].stages,
    )
    assert (small.batch_size, small.model, small.stages) == (5, usual["small"].model, usual["small"].stages)
    assert set(preset_names(path)) == {*PRESETS, "mine"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_file_that_says_all_means_what_it_meant(tmp_path, preset):
    """As config.yaml once was, with presets of its own: a loss, a share or a rate that it leaves out is absent."""

    def leave_out(values):
        values["epochs"] = 11
        del values["loss_weights"]["melody_d"], values["finetune"]["shares"]["ear"], values["model"]["style_dim"]
        del values["presets"]["tiny"]["stages"]["autoencoder"]["learning_rate"]

    found = load_config_from_yaml(written(tmp_path, leave_out), preset=preset)
    usual = load_config_from_yaml(DEFAULT_CONFIG, preset=preset)
    assert "melody_d" not in found.loss_weights and "ear" not in found.finetune.shares
    assert found.stages.model_dump()["autoencoder"] == usual.stages.model_dump()["autoencoder"] | (
        {"learning_rate": None} if preset == "tiny" else {}
    )
    assert (found.epochs, found.model, found.ema) == (11, usual.model, usual.ema)
    assert set(preset_names(tmp_path / "config.yaml")) == set(PRESETS)


def test_a_run_s_own_file_is_whole_and_keeps_its_meaning_under_other_defaults(tmp_path, monkeypatch):
    kept = load_config_from_yaml(DEFAULT_CONFIG, preset="small", overrides={"seed": 5, "start_from": "shipped"})
    path = said(tmp_path, dump_config(kept))
    assert set(flatten(yaml.safe_load(path.read_text()))) - {"presets.small"} >= set(flatten(kept.model_dump()))
    values = yaml.safe_load(DEFAULT_CONFIG.read_text())
    values |= {"epochs": 99, "seed": 9}
    values["loss_weights"]["melody"] = 9.0
    values["presets"]["tiny"]["stages"]["flow"]["batch_size"] = 8
    other = tmp_path / "default_config.yaml"
    other.write_text(yaml.safe_dump(values))
    monkeypatch.setattr("piano.config_reader.DEFAULT_CONFIG", other)
    folders = {name: getattr(kept, name) for name in FOLDER_SETTINGS}
    assert load_config_from_yaml(path).model_copy(update=folders) == kept
    with pytest.raises(ConfigError, match=r"no preset 'tiny'\. There are: small\."):
        load_config_from_yaml(path, preset="tiny")


def test_a_stage_that_came_after_a_run_changes_nothing_of_what_its_file_means(tmp_path, monkeypatch):
    full = load_config_from_yaml(DEFAULT_CONFIG)
    path = tmp_path / "config.yaml"
    values = yaml.safe_load(dump_config(full))
    del values["stages"]["ear"], values["loss_weights"]["melody"]  # as if both had come later
    path.write_text(yaml.safe_dump(values))
    monkeypatch.setattr(config_reader, "STAGES_OF_A_WHOLE_FILE", len(STAGE_NAMES) - 1)
    config = load_config_from_yaml(path)
    assert config.stage("ear").share == 0.0 and "melody" not in config.loss_weights
    assert config.stage("flow") == full.stage("flow") and config.model == full.model


@pytest.mark.parametrize("preset", PRESETS)
def test_a_latent_frame_is_a_power_of_two_samples(preset):
    hop = load_config_from_yaml(DEFAULT_CONFIG, preset=preset).model.hop_samples
    assert hop & (hop - 1) == 0


def test_recipes_of_the_project_are_settings():
    folder = Path(__file__).resolve().parent.parent / "runs"
    recipes = sorted(folder.glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        model = load_config_from_yaml(recipe).model
        assert model.hop_samples & (model.hop_samples - 1) == 0


def test_sizes_that_an_older_run_s_file_does_not_name_are_what_they_were(tmp_path):
    written = yaml.safe_load(dump_config(load_config_from_yaml(preset="small")))
    assert written["model"]["image_bands"] > 0
    for name in ("image_bands", "repeat_signals"):
        del written["model"][name]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(written))
    model = load_config_from_yaml(path).model
    assert (model.image_bands, model.repeat_signals) == (0, 0)
    assert model.spectrum_values == 2 * 1025


def test_a_whole_file_may_name_its_preset_as_it_likes():
    path = Path(__file__).resolve().parent.parent / "tutorial" / "sound.yaml"
    config = load_config_from_yaml(path)
    assert config.preset == "tutorial"
    assert config.stages.model_dump()["ear"]["learning_rate"] is None
    assert (config.model.style_dim, config.steps_per_epoch) == (48, 50)


def test_a_section_that_is_replaced_whole_takes_no_stage_s_rate_from_the_preset():
    stage = {"share": 0.2, "frames": 16, "warmup_steps": 3}
    config = load_config_from_yaml(DEFAULT_CONFIG, overrides={"stages": dict.fromkeys(STAGE_NAMES, stage)})
    assert config.stages.model_dump()["autoencoder"]["learning_rate"] is None
    assert config.stage("autoencoder").learning_rate == config.learning_rate


@pytest.mark.parametrize("key", ["stages.autoencoder.short_share", "stages.ear.finetune_rate"])
def test_a_setting_that_a_stage_would_not_heed_is_refused(key):
    with pytest.raises(ConfigError, match=f"{key} means nothing"):
        load_config_from_yaml(DEFAULT_CONFIG, overrides={key: 0.5})


def test_a_stage_has_its_own_value_or_the_general_one():
    config = load_config_from_yaml(DEFAULT_CONFIG, preset="base")
    ear, flow = config.stage("ear"), config.stage("flow")
    assert (ear.learning_rate, ear.learning_rate_disc, ear.batch_size, ear.steps_per_epoch) == (2e-4, 2e-4, 32, 1000)
    assert (flow.learning_rate, flow.learning_rate_disc, flow.frames, flow.share) == (3e-4, 1e-4, 416, 0.2)
    changed = config.model_copy(update={"batch_size": 7})
    assert (changed.stage("ear").batch_size, changed.stage("autoencoder").batch_size) == (7, 64)


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
        load_config_from_yaml(DEFAULT_CONFIG, overrides={key: value})
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match="tiny, small, base, large"):
        load_config_from_yaml(DEFAULT_CONFIG, preset="huge")


def test_a_written_config_reads_back_the_same(tmp_path):
    config = load_config_from_yaml(DEFAULT_CONFIG, overrides={"minutes": 3, "seed": 7})
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
    config = load_config_from_yaml(DEFAULT_CONFIG)
    assert config["batch_size"] == config.batch_size
    assert config["latent_dim"] == config.model.latent_dim
    with pytest.raises(KeyError):
        config["no_such_setting"]


def test_an_override_keeps_its_type():
    assert parse_override("model.num_layers=8") == ("model.num_layers", 8)
    assert parse_override("minutes=2.5") == ("minutes", 2.5)
    with pytest.raises(ConfigError, match="key=value"):
        parse_override("minutes")


def test_every_loss_weight_names_a_loss_and_a_typo_is_refused():
    weights = load_config_from_yaml(DEFAULT_CONFIG).loss_weights
    check_loss_weights(weights)
    assert set(weights) == {*SHORTCUT_TERMS, *MUSIC_TERMS}
    with pytest.raises(ConfigError, match=r"loss_weights\.melodie is not a loss\. Did you mean loss_weights\.melody"):
        check_loss_weights({"melodie": 1.0})
