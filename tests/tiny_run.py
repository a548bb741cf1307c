"""A run small enough for a test: real networks, real stages, seconds of tonal music."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from piano.config_reader import DEFAULT_CONFIG, Config, dump_config, load_config_from_yaml
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.dataset_format import DatasetManifest, set_path, write_manifest
from piano.foundation.runtime import Runtime, start_runtime
from piano.piano_main import build_discriminator
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
from piano.piano_train import train_vae_gan
from piano.training.training_run import TrainingRun
from piano.training.watcher import Watcher

SAMPLE_RATE = 8000
SMALL = {
    "minutes": None,
    "batch_size": 4,
    "steps_per_epoch": 2,
    "pretrain_epochs_g": 4,
    "pretrain_epochs_d": 1,
    "epochs": 6,
    "sample_seconds": 1.0,
    "sample_count": 1,
    "training.loggers": [],
    "runtime.device": "cpu",
    "runtime.precision": "32",
    "runtime.threads": 1,
    "model": {
        "sample_rate": SAMPLE_RATE,
        "sound_channels": 1,
        "n_fft": 512,
        "latent_stride": 2,
        "latent_dim": 8,
        "seq_len": 16384,
        "latent_seq_len": 32,
        "encoder_channels": 24,
        "encoder_layers": 1,
        "n_channels": 24,
        "decoder_layers": 2,
        "attention_channels": 32,
        "num_heads": 2,
        "num_layers": 2,
    },
    "discriminator": {"ear_channels": 16, "wave_windows": [], "professor_layers": 1},
    "stages": {
        "autoencoder": {"share": 0.3, "frames": 16, "learning_rate": 2e-3, "warmup_steps": 2},
        "flow": {"share": 0.3, "frames": 32, "learning_rate": 2e-3, "warmup_steps": 2},
        "judges": {"share": 0.1, "frames": 32, "warmup_steps": 1},
        "ear": {"share": 0.1, "frames": 16, "warmup_steps": 1},
        "professor": {"share": 0.1, "frames": 32, "warmup_steps": 1},
        "joint": {"share": 0.1, "frames": 32, "warmup_steps": 1},
    },
}


def tiny_config(folder: Path, **overrides: Any) -> Config:
    """Settings of a tiny run that writes to `folder`; overrides use __ for dots (model__latent_dim=4)."""
    changed = {name.replace("__", "."): value for name, value in overrides.items()}
    overrides = SMALL | {"checkpoint_folder": str(folder)} | changed
    return load_config_from_yaml(DEFAULT_CONFIG, preset="tiny", overrides=overrides)


def tonal_pairs(count: int = 6, *, samples: int = 16384, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Broken chords with a few harmonics, float32 [shape=(count, 2, channels, samples)]."""
    random = np.random.default_rng(seed)
    time = np.arange(2 * samples) / SAMPLE_RATE
    pairs = np.zeros((count, channels, 2 * samples), dtype=np.float32)
    for pair in pairs:
        root = 110.0 * 2.0 ** (random.integers(0, 12) / 12.0)
        for onset in np.arange(0.0, time[-1], 0.25):
            pitch = root * 2.0 ** (random.choice([0, 4, 7, 12]) / 12.0)
            envelope = np.exp(-3.0 * np.clip(time - onset, 0.0, None)) * (time >= onset)
            tone = sum(np.sin(2 * np.pi * pitch * (k + 1) * time) / (k + 1) for k in range(4))
            pair += 0.06 * envelope * tone
    return pairs.reshape(count, channels, 2, samples).swapaxes(1, 2).copy()


class On(Watcher):
    """Calls functions where a run calls its watchers: On(after_save=function)."""

    def __init__(self, **calls: Callable[..., Any]) -> None:
        for name, call in calls.items():
            assert hasattr(Watcher, name), name
            setattr(self, name, call)


def start_run(
    config: Config,
    *,
    runtime: Runtime | None = None,
    pairs: np.ndarray | None = None,
    watchers: Sequence[Watcher] = (),
    is_trial: bool = False,
) -> TrainingRun:
    """Networks, data and bookkeeping of a tiny run, ready for the stages."""
    runtime = runtime or start_runtime(**config.runtime.model_dump(), seed=config.seed)
    torch.manual_seed(config.seed)
    generator = VariationalAttentionModel(**config.model.model_dump())
    discriminator: Discriminator_with_mdisc = build_discriminator(config, generator)
    if pairs is None:
        pairs = tonal_pairs(channels=config.model.sound_channels)
    return TrainingRun(
        config,
        runtime,
        generator.to(runtime.device),
        discriminator.to(runtime.device),
        training_set=AudioDataset(pairs),
        validation_set=AudioDataset(pairs[:2]),
        watchers=watchers,
        is_trial=is_trial,
    )


def train_all(run: TrainingRun) -> None:
    """Every stage."""
    pretrain_generator(run)
    pretrain_discriminator(run)
    train_vae_gan(run)


def write_dataset(folder: Path, *, count: int = 6, channels: int = 1) -> Path:
    """A finished data set folder of tonal pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"training": count, "validation": 2}
    for seed, (split, pairs) in enumerate(counts.items()):
        np.save(set_path(folder, split), tonal_pairs(pairs, channels=channels, seed=seed))
    write_manifest(
        folder,
        DatasetManifest(
            sample_rate=SAMPLE_RATE,
            channels=channels,
            segment_samples=16384,
            seed=0,
            validation_fraction=0.25,
            pairs=counts,
            songs={split: (f"{split}.mp3",) for split in counts},
            groups={split: (split,) for split in counts},
        ),
    )
    return folder


def write_config(folder: Path, **overrides: Any) -> Path:
    """A config.yaml of a tiny run inside `folder`, for commands in processes of their own."""
    config = tiny_config(folder / "checkpoints", **overrides)
    path = folder / "config.yaml"
    path.write_text(dump_config(config.model_copy(update={"dataset_folder": folder / "dataset"})))
    return path
