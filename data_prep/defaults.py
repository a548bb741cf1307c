"""What the two commands of this folder take from config.yaml, so that data and model agree without being told."""

import argparse
from pathlib import Path
from typing import NamedTuple

from piano.foundation.errors import ConfigError


class Defaults(NamedTuple):
    """Settings of the model that the data must fit, and where the data lies."""

    sample_rate: int = 16_000
    channels: int = 1
    segment_seconds: float = 10.0
    prepared_folder: Path = Path("prepared")
    dataset_folder: Path = Path("dataset")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add --config and --preset."""
    parser.add_argument(
        "--config", type=Path, help="settings file (default: config.yaml here or beside the project)"
    )
    parser.add_argument("--preset", help="tiny, small, base or large (default: the config's)")


def load_defaults(config: Path | None, preset: str | None) -> Defaults:
    """Read them from a settings file.

    Parameters
    ----------
    config : Path, optional
        Without one, config.yaml is looked for; where there is none, the defaults are those of the class.
    preset : str, optional
        Instead of the file's own.

    Raises
    ------
    ConfigError
        If the file named does not exist, or a file is wrong.
    """
    from piano.config_reader import (
        find_config,
        load_config_from_yaml,
    )  # a third of a second; no worker needs it

    try:
        found = find_config(config)
    except ConfigError:
        if config is not None or preset is not None:
            raise
        return Defaults()
    settings = load_config_from_yaml(found, preset=preset)
    return Defaults(
        sample_rate=settings.model.sample_rate,
        channels=settings.model.sound_channels,
        segment_seconds=settings.model.segment_seconds,
        prepared_folder=settings.prepared_folder,
        dataset_folder=settings.dataset_folder,
    )
