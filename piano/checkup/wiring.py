"""Are the networks of a config wired right? Two real steps of every stage, and the gradient of each loss."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from piano.config_reader import Config
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.runtime import frozen, start_runtime
from piano.piano_main import build_discriminator
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.piano_pretrain import autoencoder_pass, draw_noisy_latents, draw_noisy_sounds, flow_pass
from piano.piano_train import (
    JOINT_EAR_FRAMES,
    both_draws,
    decoder_turn,
    draw_both,
    draw_compositions,
    draw_sounds,
    drawn_composition,
    ear_verdicts,
    joint_sound_turn,
    professor_verdicts,
    rebuilt_spectrum,
    shortcut_turn,
)
from piano.stages import COMPOSING_STAGE, STAGE, STAGE_NAMES, TRAIN, Part
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun

PAIRS, BATCH, STEPS = 6, 4, 2


class WiringRow(NamedTuple):
    """One thing that was checked."""

    stage: str
    what: str
    found: str
    is_right: bool


def check_wiring(config: Config) -> list[WiringRow]:
    """Train every stage of a config for two steps on made-up music; which parts moved, and which loss reached what."""
    with tempfile.TemporaryDirectory() as folder:
        run = synthetic_run(config, Path(folder))
        rows: list[WiringRow] = []
        for stage in STAGE_NAMES:
            before = weights(run)
            TRAIN[stage](run)
            rows += moved_rows(stage, before, weights(run))
        return rows + loss_rows(run)


def synthetic_run(config: Config, folder: Path, *, precision: str = "32") -> TrainingRun:
    """The config's networks, and everything else as small as it gets; `precision` as runtime.precision."""
    frames = {name: min(stage.frames, 32) for name, stage in config.stages}
    stages = {
        name: stage.model_copy(
            update={
                "share": 0.1,
                "batch_size": BATCH,
                "frames": frames[name],
                "warmup_steps": 0,
                "steps_per_epoch": STEPS,
            }
        )
        for name, stage in config.stages
    }
    small = config.model_copy(
        update={
            "stages": config.stages.model_copy(update=stages),
            "batch_size": BATCH,
            "accumulation_steps": 1,
            "minutes": None,
            "pretrain_epochs_g": 2,
            "pretrain_epochs_d": 1,
            "epochs": 3,
            "save_after_nepochs": 10**9,
            "checkpoint_folder": folder,
            "checkpoint_folder_load": None,
            "update_discriminator": 1,
            "start_from": None,
            "training": config.training.model_copy(update={"loggers": [], "notify": []}),
        }
    )
    runtime = start_runtime(device="cpu", precision=precision, threads=config.runtime.threads, seed=config.seed)
    generator = VariationalAttentionModel(**config.model.model_dump())
    judges: Discriminator_with_mdisc = build_discriminator(config, generator)
    pairs = made_up_music(config)
    return TrainingRun(
        small,
        runtime,
        generator,
        judges,
        training_set=AudioDataset(pairs),
        validation_set=AudioDataset(pairs[:2]),
        is_trial=True,
    )


def made_up_music(config: Config) -> np.ndarray:
    """Falling tones with some noise, float32 [shape=(pairs, 2, channels, samples)]."""
    random = np.random.default_rng(0)
    model = config.model
    time = np.arange(2 * model.seq_len) / model.sample_rate
    shape = (PAIRS, 2 * model.seq_len)
    sound = 0.02 * random.standard_normal(shape, dtype=np.float32)
    for pair in sound:
        for onset in np.arange(0.0, time[-1], 0.5):
            pitch = 110.0 * 2.0 ** (random.integers(0, 36) / 12.0)
            since = np.clip(time - onset, 0.0, None)
            pair += (0.2 * np.sin(2 * np.pi * pitch * since) * np.exp(-3.0 * since) * (time >= onset)).astype(
                np.float32
            )
    pairs = sound.reshape(PAIRS, 2, 1, model.seq_len)
    return np.ascontiguousarray(np.repeat(pairs, model.sound_channels, axis=2))


def parameters_of(modules: list[nn.Module]) -> list[nn.Parameter]:
    """All parameters of some modules."""
    return [parameter for module in modules for parameter in module.parameters()]


def weights(run: TrainingRun) -> dict[str, list[Tensor]]:
    """A copy of every parameter, by part."""
    return {
        name: [parameter.detach().clone() for parameter in parameters_of(modules)]
        for name, modules in run.parts.items()
    }


def moved_rows(stage: str, before: Mapping[str, list[Tensor]], after: Mapping[str, list[Tensor]]) -> list[WiringRow]:
    """For every part: whether it moved, and whether it was to."""
    rows = []
    for name, old in before.items():
        # The end of stage flow copies it into the shortcut; that is no learning.
        if stage == COMPOSING_STAGE and name == "shortcut":
            continue
        moved = sum(not torch.equal(a, b) for a, b in zip(old, after[name], strict=True))
        learns = name in STAGE[stage].learns
        found = f"{moved} of {len(old)} tensors moved" if moved else "rests"
        rows.append(WiringRow(stage, f"{name} {'learns' if learns else 'rests'}", found, bool(moved) == learns))
    return rows


def loss_rows(run: TrainingRun) -> list[WiringRow]:
    """For every loss of every stage: the norm of its gradient at the parameters it is there for."""
    step, parts = Step((run.config.seed, "wiring"), 0, 1.0), run.parts
    game, rows = run.game(step), []

    def reaches(stage: str, loss: str, value: Tensor, *names: Part) -> None:
        parameters = [parameter for name in names for parameter in parameters_of(parts[name])]
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        norm = sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None) ** 0.5
        # Music losses are flat where the music is within the range of real music.
        is_right = norm > 0.0 or float(value.detach()) == 0.0
        said = f"gradient {norm:.3g}" if norm > 0.0 else "no gradient" + (", value 0" if is_right else "")
        rows.append(WiringRow(stage, f"{loss} reaches {' and '.join(names)}", said, is_right))

    with training(run):
        (noisy,) = draw_noisy_sounds(run, step)
        passed = autoencoder_pass(game, noisy)
        reaches("autoencoder", "reconstruction", passed.reconstruction, "encoder")
        reaches("autoencoder", "reconstruction", passed.reconstruction, "decoder")
        reaches("autoencoder", "kl", passed.limited_kl, "encoder")

        (latents,) = draw_noisy_latents(run, step)
        reaches("flow", "flow", flow_pass(game, latents), "attention")

        (sound,) = draw_sounds(run, step, "ear")
        verdicts = ear_verdicts(game, sound, {"rebuilt": rebuilt_spectrum(game, sound)})["rebuilt"]
        for name, value in verdicts.parts.items():
            reaches("ear", f"ear {name}", value, "ear")
        turn = decoder_turn(game, sound)
        for name in ("reconstruction", "adversarial", "feature_matching"):
            norm = float(turn.terms[f"ear_gradient_{name}"])
            rows.append(WiringRow("ear", f"{name} reaches decoder", f"gradient {norm:.3g}", norm > 0.0))

        (batch,) = draw_compositions(run, step, "professor")
        for name, value in professor_verdicts(game, batch, drawn_composition(game, batch)).parts.items():
            reaches("professor", f"professor {name}", value, "professor")
        for name, value in shortcut_turn(game, batch).terms.items():
            if name == "adversarial" or run.config.loss_weights.get(name):
                reaches("professor", name, value, "shortcut")

        (both,) = draw_both(run, step, "joint", frames=min(JOINT_EAR_FRAMES, run.settings("joint").frames))
        for name, value in joint_sound_turn(game, both, both_draws(game, both.composition)[0]).terms.items():
            if value.requires_grad:
                reaches("joint", name, value, "decoder")
                if name != "reconstruction":
                    reaches("joint", name, value, "shortcut")
    return rows


@contextmanager
def training(run: TrainingRun) -> Iterator[None]:
    """Gradients on for all parts, none left behind."""
    with frozen():
        yield
    for network in (run.generator, run.discriminator):
        network.zero_grad(set_to_none=True)


def wiring_text(config: Config, rows: list[WiringRow]) -> str:
    """What is printed."""
    wrong = [row for row in rows if not row.is_right]
    if wrong:
        which = "; ".join(f"{row.stage}: {row.what}, but {row.found}" for row in wrong)
        head = f"VERDICT  {len(wrong)} of {len(rows)} checks of {config.preset} are wrong: {which}"
    else:
        head = f"VERDICT  {config.preset} is wired right: {len(rows)} checks, two real steps a stage, made-up music."
    width = max(len(row.what) for row in rows)
    marks = {True: "ok   ", False: "WRONG"}
    lines = [f"{marks[row.is_right]}  {row.stage:<11}  {row.what:<{width}}  {row.found}" for row in rows]
    return "\n".join([head, "", *lines])
