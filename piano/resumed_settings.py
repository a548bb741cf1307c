"""The settings a run goes on with: its own, as they lie in its folder, changed by what is asked for now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piano.config_reader import CONFIG_NAME, FOLDER_SETTINGS, Config, find_config, load_config_from_yaml
from piano.foundation.errors import ConfigError
from piano.foundation.first_process import is_first_process
from piano.foundation.screen_text import printable, wrapped
from piano.run_settings import differing, flatten

RESUME_SETTINGS = ("checkpoint_folder", "checkpoint_folder_load", "resume_from_checkpoint", "resume_epoch")
"""Where a run is found and from which epoch: never its own, which may have been moved, but those asked for."""
PLACES = (*FOLDER_SETTINGS, *RESUME_SETTINGS)
ADOPTED = ("start_from", "model", "discriminator", "stages")
"""What a fine-tuning run has from the model it began with, whatever a settings file says."""
NOT_TOLD = (*PLACES, "start_from", "training.notify")
MOST_NAMES = 5


def resumed_settings(
    asked: Config, given: Mapping[str, Any], *, source: Path | None = None, preset: str | None = None
) -> Config:
    """What to resume with; one line on the screen names what a settings file says otherwise.

    Parameters
    ----------
    asked : Config
        The settings file with the folders of the command line: it says which run is meant.
    given : mapping
        Dotted key -> value of the command line: strongest of all.
    source : Path, optional
        A settings file that was named. It counts before the run's own; without it, config.yaml does not count.
    preset : str, optional
        Of the command line.

    Raises
    ------
    ConfigError
        A key is unknown, a value impossible, or the preset another than the run's.
    """
    folder = asked.resumed_folder
    if not (folder / CONFIG_NAME).is_file():
        return load_config_from_yaml(source, preset=preset, overrides=given)
    own = load_config_from_yaml(folder / CONFIG_NAME)
    wanted = {"training.notify": asked.training.notify, **given}  # addresses are never written into a run's folder
    wanted |= {name: getattr(asked, name) for name in PLACES if name in given or name in RESUME_SETTINGS}
    if source is None:
        if preset not in (None, own.preset):
            raise ConfigError(
                f"the run in {folder} has preset {own.preset}: it cannot go on as {preset}. "
                "Leave --preset out, or begin another run with another --checkpoints."
            )
        config = load_config_from_yaml(folder / CONFIG_NAME, overrides=wanted)
        tell_unused(own, given)
    else:
        adopted = own.model_dump(include=set(ADOPTED) if own.start_from else {"start_from"})
        config = load_config_from_yaml(source, preset=preset, overrides=adopted | wanted)
        tell_changed(own, config, given, source)
    return config


def own_settings(folder: Path) -> Config | None:
    """The settings that a run left in its folder; None where there are none that can be read."""
    try:
        return load_config_from_yaml(folder / CONFIG_NAME) if (folder / CONFIG_NAME).is_file() else None
    except ConfigError:
        return None


def tell_unused(own: Config, given: Mapping[str, Any]) -> None:
    """Name what config.yaml says otherwise than the run: somebody may have thought that it counts."""
    try:
        found = find_config()
        there = load_config_from_yaml(found, preset=own.preset)
    except ConfigError:  # it does not know the run's preset, or is broken: it is not needed
        return
    pairs = told_apart(there, own, given, adopted=own.start_from is not None)
    if pairs and is_first_process():
        rows = [f"{name} ({shown(here)}, the run: {shown(had)})" for name, (here, had) in pairs.items()]
        more = f" and {len(rows) - MOST_NAMES} more" if len(rows) > MOST_NAMES else ""
        print(
            wrapped(
                f"The run goes on with its own settings; not used of {found.name}: "
                f"{', '.join(rows[:MOST_NAMES])}{more}. Change one with --set."
            ),
            flush=True,
        )


def tell_changed(own: Config, config: Config, given: Mapping[str, Any], source: Path) -> None:
    """Name what a file that was asked for changes in the run."""
    pairs = told_apart(config, own, given, adopted=own.start_from is not None)
    if pairs and is_first_process():
        rows = [f"{name} ({shown(here)}, was {shown(had)})" for name, (here, had) in pairs.items()]
        print(wrapped(f"{printable(source)} changes the run's settings: {', '.join(rows)}."), flush=True)


def told_apart(here: Config, own: Config, given: Mapping[str, Any], *, adopted: bool) -> dict[str, tuple[Any, Any]]:
    """Settings with dotted names of which a file says otherwise than the run, but for what was given anyway."""
    silent = (*NOT_TOLD, *given, *(ADOPTED if adopted else ()))
    pairs = differing(*(flatten(config.model_dump(mode="json")) for config in (here, own)))
    return {
        name: pair
        for name, pair in pairs.items()
        if not any(name == known or name.startswith(f"{known}.") for known in silent)
    }


def shown(value: Any) -> str:
    """A value as config.yaml writes it, as far as a line has room."""
    return printable(json.dumps(value))[:40]
