"""What the two commands of this folder take from the settings, so that data and model agree without being told."""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from piano.foundation.options import add_shared

_LEAST_FRAMES = 8
"""Latent frames that the attention must see (piano/config_reader.py)."""


class Defaults(NamedTuple):
    """Settings of the model that the data must fit, and where the data lies."""

    sample_rate: int
    channels: int
    segment_seconds: float
    prepared_folder: Path
    dataset_folder: Path
    hop_samples: int
    """Of one latent frame."""
    latent_seq_len: int
    """Latent frames that the model sees at once; they must fit into a pair."""
    stage_frames: tuple[tuple[str, int], ...]
    """Latent frames of one item of every stage; they must fit into what the model sees."""


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add --config and --preset."""
    add_shared(parser, "--config", "--preset")


def load_defaults(config: Path | None, preset: str | None) -> Defaults:
    """Read them from a settings file.

    Parameters
    ----------
    config : Path, optional
        Without one, config.yaml is looked for; where there is none, the defaults hold.
    preset : str, optional
        Instead of the file's own.

    Raises
    ------
    ConfigError
        If the file named does not exist, or a file is wrong.
    """
    from piano.config_reader import load_config_from_yaml  # a third of a second; no worker needs it

    settings = load_config_from_yaml(config, preset=preset)
    return Defaults(
        sample_rate=settings.model.sample_rate,
        channels=settings.model.sound_channels,
        segment_seconds=settings.model.segment_seconds,
        prepared_folder=settings.prepared_folder,
        dataset_folder=settings.dataset_folder,
        hop_samples=settings.model.hop_samples,
        latent_seq_len=settings.model.latent_seq_len,
        stage_frames=tuple((name, stage.frames) for name, stage in settings.stages),
    )


def least_segment_samples(defaults: Defaults) -> int:
    """Samples of the shortest segment with which the model can be trained at all: a pair holds what it must see."""
    return math.ceil(_LEAST_FRAMES * defaults.hop_samples / 2)


def settings_for_segments(defaults: Defaults, segment_samples: int) -> list[str]:
    """The --set words with which the model can be trained on segments of another length; none if it can already.

    The window of the attention and the items of every stage must fit into a pair, so the three go together.
    """
    words = []
    if segment_samples != round(defaults.segment_seconds * defaults.sample_rate):
        words.append(f"model.seq_len={segment_samples}")
    frames = 2 * segment_samples // defaults.hop_samples
    if frames < defaults.latent_seq_len:
        words.append(f"model.latent_seq_len={frames}")
        words += [f"stages.{name}.frames={frames}" for name, wanted in defaults.stage_frames if wanted > frames]
    return [part for word in words for part in ("--set", word)]


def named_settings(options: argparse.Namespace) -> list[str]:
    """The settings file and the preset that a command was given, for the next one: without them it has others."""
    given = (("--config", options.config), ("--preset", options.preset))
    return [str(word) for option, value in given if value is not None for word in (option, value)]
