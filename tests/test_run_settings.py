"""A run's settings are read as a stranger's file, and what is usual is what the project ships."""

import pytest

from piano.config_reader import DEFAULT_CONFIG, MOST_BYTES, find_config, load_config_from_yaml
from piano.run_settings import changes, default_settings, read_settings


def test_an_edited_config_yaml_is_not_taken_for_usual(tmp_path, monkeypatch):
    """Every file in which somebody may have written is looked for, here and beside the package."""
    package = tmp_path / "project" / "piano" / "default_config.yaml"
    package.parent.mkdir(parents=True)
    package.write_bytes(DEFAULT_CONFIG.read_bytes())
    (tmp_path / "project" / "config.yaml").write_text("epochs: 99\n")
    for module in ("piano.config_reader", "piano.run_settings"):
        monkeypatch.setattr(f"{module}.DEFAULT_CONFIG", package)
    monkeypatch.chdir(tmp_path)
    assert find_config() == tmp_path / "project" / "config.yaml"
    assert load_config_from_yaml().epochs == 99
    found = changes((default_settings("tiny") or {}) | {"epochs": 99})
    assert found is not None and found.values == {"epochs": (99, 24)}
    (tmp_path / "project" / "config.yaml").unlink()
    assert find_config() == package  # as it is installed


def test_presets_are_those_shipped():
    for preset in ("tiny", "small", "base", "large"):
        assert changes(default_settings(preset) or {}) == (preset, True, {})
    assert default_settings("of one's own") is None


@pytest.mark.parametrize(
    "text",
    ["a: [1, 2\nb: {", "x: " + "[" * 100_000, "a: &a 1\nb: *a", "x: " + "y" * MOST_BYTES, "- 1", "\0"],
    ids=["broken", "nested", "references", "large", "a list", "no text"],
)
def test_settings_that_nobody_should_trust_are_none(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert read_settings(tmp_path) == {}


def test_no_settings_are_none(tmp_path):
    assert read_settings(tmp_path) == {}
