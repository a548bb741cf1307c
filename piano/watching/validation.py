"""Losses of the averaged weights on music never trained on, at the end of every epoch.

The same passages and the same noise every time, so that two epochs of a stage differ by what was learned between them.
Nothing here moves a weight or draws from a random source that training uses.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from piano.loss_functions import discriminator_loss, energy_score_loss
from piano.piano_pretrain import NoisyLatents, draw_levels, flow_pass
from piano.piano_train import compose, draw_composition, judge_composition, judge_sound, spectrum_distance
from piano.stages import STAGE
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from piano.training.watcher import Watcher


class Validation(Watcher):
    """The losses on validation music at the end of every epoch."""

    def end_epoch(self, run: TrainingRun) -> dict[str, float]:
        """See validation_losses. The main process hears them."""
        return run.runtime.asked_of_main(lambda: validation_losses(run))


@torch.no_grad()
def validation_losses(run: TrainingRun) -> dict[str, float]:
    """What the stage at hand has learned, heard on one fixed batch of validation music.

    Returns
    -------
    dict
        `validation_loss`, the stage's own loss of the averaged generator (reconstruction, flow or energy score), and
        `validation_ear_loss`, `validation_professor_loss`, L_D of the stage's judges without penalties and smoothing.
    """
    step = Step((run.config.seed, "validation"), 0, 1.0)
    losses: dict[str, Tensor] = {}
    for name in STAGE[run.stage].validation:
        losses |= VALIDATIONS[name](run, step)
    if not STAGE[run.stage].own_term:
        del losses["validation_loss"]  # the generator does not move
    return {name: float(value) for name, value in losses.items()}


def sound_losses(run: TrainingRun, step: Step, *, with_ear: bool) -> dict[str, Tensor]:
    """Reconstruction, and how the ear tells it from real sound."""
    autoencoder = run.average.network.autoencoder
    count, frames = run.batch_size(run.stage), run.settings(run.stage).frames
    real = autoencoder.analyse(run.data.draw_waveforms(step, count, frames, split="validation"))
    with run.runtime.autocast():
        mean, _ = autoencoder.encoder(real)
        fake = autoencoder.decoder(mean)
    losses = {"validation_loss": spectrum_distance(autoencoder, fake, real)}
    if with_ear:
        with run.runtime.autocast():
            on_real, on_fake = (judge_sound(run.discriminator, autoencoder, sound) for sound in (real, fake))
        losses["validation_ear_loss"] = discriminator_loss(
            on_real.heads, on_fake.heads, objective=run.config.objective_ear
        )
    return losses


def flow_losses(run: TrainingRun, step: Step) -> dict[str, Tensor]:
    """Endpoint loss of the averaged flow."""
    network, count, frames = run.average.network, run.batch_size(run.stage), run.settings(run.stage).frames
    latents = run.data.draw_latents(step, count, frames, split="validation")
    level = draw_levels(step, count, frames).to(latents.device)
    noise = step.noise("noise", *latents.shape).to(latents.device)
    condition = network.condition_on(network.style.describe(latents), frames)
    loss = flow_pass(run.game(step, generator=network), NoisyLatents(latents, level, noise, condition))
    return {"validation_loss": loss}


def composition_losses(run: TrainingRun, step: Step) -> dict[str, Tensor]:
    """Energy score of one-step compositions of the averaged generator, and how the professor tells them from music."""
    batch, judges = draw_composition(run, step, run.stage, split="validation"), run.discriminator
    with run.runtime.autocast():
        draw_a = compose(run.average.network, batch, batch.noise_a)
        draw_b = compose(run.average.network, batch, batch.noise_b)
        on_real = judge_composition(judges, batch, batch.latents, is_real=True)
        on_fake = judge_composition(judges, batch, draw_a, is_real=False)
    return {
        "validation_loss": energy_score_loss(draw_a, draw_b, batch.latents),
        "validation_professor_loss": discriminator_loss(
            on_real.heads, on_fake.heads, objective=run.config.objective_professor
        ),
    }


VALIDATIONS: dict[str, Callable[[TrainingRun, Step], dict[str, Tensor]]] = {
    "sound": partial(sound_losses, with_ear=False),
    "sound and ear": partial(sound_losses, with_ear=True),
    "flow": flow_losses,
    "composition": composition_losses,
}
"""What a stage may ask for (piano/stages.py)."""
