"""With which settings a run was made, and which of them are unlike those that the project recommends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piano.config_reader import CONFIG_NAME, DEFAULT_CONFIG, FOLDER_SETTINGS, load_config_from_yaml, read_yaml
from piano.foundation.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
NOT_COMPARED = ("checkpoint_folder", "checkpoint_folder_load", "music_out_folder", "resume_from_checkpoint", "presets")
"""Where a run was written to, and what is no setting: it says nothing of what was tried."""


class Changes(NamedTuple):
    """Settings of a run that differ from a preset's.

    preset : str
        What the run is held against.
    is_own : bool
        Whether that is the preset the run names; else the project's default preset.
    values : mapping of str to (object, object)
        Dotted name -> value in the run, value in the preset; None stands for not set.
    """

    preset: str
    is_own: bool
    values: dict[str, tuple[Any, Any]]


def read_settings(folder: Path) -> dict[str, Any]:
    """The run's settings with dotted names; empty where they cannot be read."""
    try:
        values = read_yaml(Path(folder) / CONFIG_NAME)
    except ConfigError:
        return {}
    return flatten(values) if isinstance(values, dict) else {}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def default_settings(preset: str | None) -> dict[str, Any] | None:
    """The settings of a preset (None: the default one) as they are shipped, flat; None if there is no such preset."""
    try:
        return flatten(load_config_from_yaml(DEFAULT_CONFIG, preset=preset).model_dump(mode="json"))
    except ConfigError:
        return None


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings of which two runs have different values; None stands for not set."""
    pairs = {name: (first.get(name), second.get(name)) for name in [*first, *second]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name.split(".")[0] not in NOT_COMPARED}


def changes(settings: Mapping[str, Any]) -> Changes | None:
    """What a run has unlike its preset, or unlike the project's default one if its own is not known here."""
    preset = str(settings.get("preset", ""))
    defaults = default_settings(preset)
    is_own = defaults is not None
    if defaults is None:
        defaults = default_settings(None)
    if defaults is None or not settings:
        return None
    found = differing(settings, defaults)
    values = {name: found[name] for name in found if name in settings and name not in (*FOLDER_SETTINGS, "preset")}
    return Changes(str(defaults["preset"]), is_own, values)
