"""Music before any adversary: first the autoencoder, then the flow that composes in its latents, then the judges.

Stage 1a, `autoencoder`: encoder and decoder learn log magnitudes through a rate-controlled bottleneck.
Stage 1b, `flow`: the attention block learns the way from noise to the (now frozen) encoder's whitened latents.
Stage 2, `judges`: ear and professor learn to tell the pretrained generator's output from real music.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from piano.foundation.muon import Muon, split_parameters
from piano.latent_style import StyleCondition
from piano.loss_functions import endpoint_flow_loss, kl_divergence_loss
from piano.piano_encoder_decoder import VariationalEncoderDecoder
from piano.piano_model import VariationalAttentionModel, shifted
from piano.piano_train import (
    PREFIX_NOISE,
    Share,
    draw_both,
    ear_turn,
    judge,
    on_composition,
    on_sound,
    professor_turn,
    spectrum_distance,
)
from piano.stages import TRAIN, stages_of, trains
from piano.training.fitting import fit_normaliser, fit_spectrum, fit_style
from piano.training.game import Game, Player, Turn, adversarial_step, learn, optimizers_of
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun

FREE_RATE_SHARE = 0.05
"""Share of the autoencoder stage before the rate controller starts: the code must mean something first."""
BETA_START, BETA_RANGE, BETA_SPEED = 1e-4, (1e-6, 1.0), 0.02
FREE_BITS = 0.05
DEAD_RATE = 2.0 * FREE_BITS
"""Nats per frame below which a dimension of the latent counts as unused: free bits hold a dead one near theirs."""
LATENT_NOISE = 0.15
"""The decoder hears latents with up to this much extra noise: generated latents will not be perfect either."""
TRIED_ITEMS = 2, 8
"""Of a batch on a CPU, where a step is tried out before the first: what an item costs follows from the two."""
TRAINING_SHIFT = 2.0
"""Form is decided where the noise is strong: levels are drawn more often there."""
STYLE_BLUR, STYLE_DROPOUT = 0.1, 0.1


def pretrain_generator(run: TrainingRun) -> None:
    """Stages 1a and 1b: an autoencoder that keeps pitch, then a flow that composes in its latents."""
    for name in stages_of("pretraining"):
        TRAIN[name](run)


def pretrain_discriminator(run: TrainingRun) -> None:
    """Stage 2: the judges learn against the generator as it is."""
    for name in stages_of("judging"):
        TRAIN[name](run)


@trains("judges")
def train_judges(run: TrainingRun) -> None:
    """The judges learn against the generator as it is; it does not move.

    The ear hears reconstructions, the professor reads one-step compositions. It starts as a copy of the attention.
    """
    is_new = not int(run.discriminator.trained_steps)  # and not the judges of a model that is fine-tuned
    if is_new and run.is_fresh("judges"):
        run.discriminator.professor.start_from(run.generator.attention.transformer)
    ear = judge(run, "ear", on_sound(ear_turn), stage="judges")
    professor = judge(run, "professor", on_composition(professor_turn), stage="judges")
    run.discriminator.train()
    run.generator.eval()
    for step in run.steps("judges", optimizers_of(ear, professor)):
        batches = draw_both(run, step, "judges", frames=run.settings("ear").frames)
        run.record(adversarial_step(run.game(step), [ear, professor], None, batches))


# --- stage 1a --------------------------------------------------------------------------------------------------------


@trains("autoencoder")
def train_autoencoder(run: TrainingRun) -> None:
    """Encoder and decoder learn to keep log magnitudes at a controlled rate."""
    autoencoder = run.generator.autoencoder
    if run.total_step == 0:
        fit_spectrum([run.generator, run.average.network], run.data, seed=run.config.seed)
    optimizer = Muon(
        *split_parameters(autoencoder), lr=run.rate("autoencoder"), betas=(0.8, 0.99), dtype=run.runtime.dtype
    )
    player = Player("autoencoder", optimizer, autoencoder_turn)
    autoencoder.train()
    for step in run.steps("autoencoder", optimizers_of(player)):
        beta = rate_weight(run, step)
        terms = learn(run.game(step), player, draw_noisy_sounds(run, step, beta=beta))
        control_rate(run, step, float(run.runtime.mean(terms["kl"])))
        run.record(terms | {"beta": beta})
    if run.stage_step and run.stage == "autoencoder" and "flow" not in run.finished_stages:
        fit_normaliser([run.generator, run.average.network], run.data)


class NoisySound(NamedTuple):
    """What a step of the autoencoder is made of."""

    waveforms: Tensor
    """[shape=(batch, channels, samples)]"""
    noise: Tensor
    """For the draw from the posterior [shape=(batch, frames, latent_dim)]."""
    jitter: Tensor
    """More noise, for the decoder; of the same shape."""
    beta: float = 0.0
    """Weight of the rate."""


def draw_noisy_sounds(run: TrainingRun, step: Step, *, beta: float = 0.0) -> list[NoisySound]:
    """The micro-batches of one step of stage 1a."""
    batch_size, frames = run.batch_size("autoencoder"), run.settings("autoencoder").frames
    noise = step.noise("posterior", batch_size, frames, run.generator.latent_dim)
    jitter = LATENT_NOISE * step.uniform("jitter", batch_size, 1, 1) * step.noise("latent", *noise.shape)
    device = run.runtime.device
    return [
        NoisySound(
            run.data.draw_waveforms(step, batch_size, frames, part=part),
            noise[part].to(device),
            jitter[part].to(device),
            beta,
        )
        for part in run.micro_batches("autoencoder")
    ]


def autoencoder_turn(game: Game, sound: NoisySound) -> Turn:
    """Reconstruction, and the rate at its weight."""
    passed, latent_dim = autoencoder_pass(game, sound), game.generator.latent_dim
    return Turn(
        passed.total(sound.beta),
        {
            "reconstruction": passed.reconstruction,
            "kl": passed.kl,
            "kl_ratio": passed.kl / (game.config.kl_target * latent_dim),
            "kl_dead_share": passed.dead_share,
        },
    )


class AutoencoderPass(NamedTuple):
    """Terms of one micro-batch of stage 1a."""

    reconstruction: Tensor
    kl: Tensor
    limited_kl: Tensor
    dead_share: Tensor
    """Of the latent's dimensions: those that say less than DEAD_RATE."""

    def total(self, beta: float) -> Tensor:
        """Negative evidence lower bound with the rate weighted by beta (arXiv 1804.03599)."""
        return self.reconstruction + beta * self.limited_kl


def autoencoder_pass(game: Game, sound: NoisySound) -> AutoencoderPass:
    """Reconstruction and rate."""
    autoencoder: VariationalEncoderDecoder = game.generator.autoencoder
    with game.autocast():
        real, decoded, mu, logvar = autoencoder(sound.waveforms, noise=sound.noise, jitter=sound.jitter)
    loss = spectrum_distance(autoencoder, decoded, real)
    mu, logvar = game.together.whole(mu), game.together.whole(logvar)  # free bits are a statistic of the batch
    return AutoencoderPass(
        loss,
        kl_divergence_loss(mu=mu, logvar=logvar),
        kl_divergence_loss(mu=mu, logvar=logvar, free_bits=FREE_BITS),
        dead_share(mu.detach().float(), logvar.detach().float()),
    )


def dead_share(mu: Tensor, logvar: Tensor) -> Tensor:
    """Share of latent dimensions, of posteriors (batch, frames, latent_dim), that say less than DEAD_RATE."""
    rate = 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).mean(dim=(0, 1))
    return (rate < DEAD_RATE).float().mean()


def rate_weight(run: TrainingRun, step: Step) -> float:
    """Beta now: 0 in the first part of the stage, then the controller's."""
    return (
        0.0
        if step.progress < FREE_RATE_SHARE
        else run.factor("beta") * math.exp(run.controllers.setdefault("log_beta", math.log(BETA_START)))
    )


def control_rate(run: TrainingRun, step: Step, kl: float) -> None:
    """Move log beta so that the KL divergence reaches its target (ControlVAE, arXiv 2004.05988)."""
    if step.progress < FREE_RATE_SHARE:
        return
    target = run.config.kl_target * run.generator.latent_dim
    log_beta = run.controllers["log_beta"] + BETA_SPEED * min(1.0, max(-1.0, kl / target - 1.0))
    run.controllers["log_beta"] = min(math.log(BETA_RANGE[1]), max(math.log(BETA_RANGE[0]), log_beta))


# --- stage 1b --------------------------------------------------------------------------------------------------------


@trains("flow")
def train_flow(run: TrainingRun) -> None:
    """The attention block learns the endpoint of any noisy latents (flow matching with per-frame levels)."""
    attention = run.generator.attention
    if run.is_fresh("flow"):
        networks = [run.generator, run.average.network]
        fit_style(networks, run.data, frames=run.settings("flow").frames, seed=run.config.seed)
    optimizer = Muon(*split_parameters(attention), lr=run.rate("flow"), dtype=run.runtime.dtype)
    player = Player("flow", optimizer, flow_turn)
    attention.train()
    for step in run.steps("flow", optimizers_of(player)):
        batches = draw_noisy_latents(run, step)
        run.record(learn(run.game(step), player, batches), frames=batches[0].latents.shape[1])


class NoisyLatents(NamedTuple):
    """What a step of the flow is made of."""

    latents: Tensor
    """[shape=(batch, frames, latent_dim)]"""
    level: Tensor
    """Noise level of every frame [shape=(batch, frames)]."""
    noise: Tensor
    """Of the shape of latents."""
    condition: StyleCondition


def draw_noisy_latents(run: TrainingRun, step: Step) -> list[NoisyLatents]:
    """The micro-batches of one step of stage 1b."""
    batch_size, frames = run.batch_size("flow"), run.settings("flow").frames
    if step.progress < run.settings("flow").short_share:
        frames //= 2  # what lies near is learned first, and for half the price
    level = draw_levels(step, batch_size, frames)
    noise = step.noise("noise", batch_size, frames, run.generator.latent_dim)
    batches = []
    for part in run.micro_batches("flow"):
        latents = run.data.draw_latents(step, batch_size, frames, part=part)
        condition = drop_some_conditions(run.generator, step, latents, Share(part, batch_size))
        batches.append(NoisyLatents(latents, level[part].to(latents.device), noise[part].to(latents.device), condition))
    return batches


def flow_turn(game: Game, batch: NoisyLatents) -> Turn:
    """The endpoint loss."""
    loss = flow_pass(game, batch)
    return Turn(loss, {"flow": loss})


def try_steps(run: TrainingRun) -> dict[str, float]:
    """Seconds of one step of autoencoder and flow on this machine now, tried out; no weight moves, no gradient stays.

    Each of several processes tries its own part of the batch. On a CPU some items stand for it. What moves the weights
    afterwards is not counted, so that a real step takes a little longer.
    """
    generator, step = run.generator, Step((run.config.seed, "rehearsal"), 0, 0.0)
    device = run.runtime.device

    game = run.game(step)

    def play(items: int, frames: int) -> None:
        waveforms = run.data.draw_waveforms(step, items, frames)
        noise = step.noise("posterior", items, frames, generator.latent_dim).to(device)
        sound = NoisySound(waveforms, noise, torch.zeros_like(noise))
        autoencoder_pass(game, sound).reconstruction.backward()

    def compose(items: int, frames: int) -> None:
        latents = step.noise("latents", items, frames, generator.latent_dim).to(device)
        level, noise = draw_levels(step, items, frames).to(device), torch.zeros_like(latents)
        condition = drop_some_conditions(generator, step, latents, Share(slice(0, items), items))
        flow_pass(game, NoisyLatents(latents, level, noise, condition)).backward()

    seconds = {}
    for stage, body in (("autoencoder", play), ("flow", compose)):
        settings, batch = run.settings(stage), run.batch_size(stage) // run.runtime.world_size
        if device.type == "cpu":
            few, many = (min(batch, items) for items in TRIED_ITEMS)
        else:
            few = many = batch // run.config.accumulation_steps
        body(1, settings.frames)  # the first of everything is slower
        taken = {items: _time_of(partial(body, items, settings.frames), device) for items in (few, many)}
        # A batch has costs of its own besides those of its items; an item is never cheaper than half of the mean.
        each = max(0.5 * taken[many] / many, (taken[many] - taken[few]) / max(many - few, 1))
        in_parts = batch / many if device.type != "cpu" else 1.0
        seconds[stage] = in_parts * taken[many] + (each * (batch - many) if device.type == "cpu" else 0.0)
    generator.zero_grad(set_to_none=True)
    return seconds


def _time_of(body: Callable[[], None], device: torch.device) -> float:
    began = time.monotonic()
    body()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - began


def flow_pass(game: Game, batch: NoisyLatents) -> Tensor:
    """Endpoint loss of clean latents, seen at their levels, in their style."""
    share = batch.level.unsqueeze(-1)
    noisy = (1.0 - share) * batch.latents + share * batch.noise
    with game.autocast():
        predicted = game.generator.attention(noisy, batch.level, batch.condition)
    return endpoint_flow_loss(predicted, batch.latents, batch.level)


def drop_some_conditions(
    generator: VariationalAttentionModel, step: Step, latents: Tensor, share: Share
) -> StyleCondition:
    """The style of latents (items, frames, latent_dim), a little blurred, and for some items not at all."""
    condition = generator.condition_on(generator.style.describe(latents), latents.shape[1])
    blur = STYLE_BLUR * share.of_noise(step, "style", condition.vector)
    keep = step.uniform("style dropout", share.batch_size, 1)[share.part].to(latents.device) >= STYLE_DROPOUT
    return condition._replace(vector=condition.vector + blur).masked(keep.float())


def draw_levels(step: Step, batch_size: int, frames: int) -> Tensor:
    """Noise level of every frame (batch, frames): the task mix of one batch.

    40 % all frames alike, 40 % a nearly clean prefix to continue, 10 % a gap to fill, 10 % every frame its own
    (Diffusion Forcing, arXiv 2407.01392). Levels are logit-normal and shifted towards noise, a fifth of them exactly 1.
    """
    random = step.random("levels")
    base = shifted(torch.randn(batch_size, 1, generator=random).sigmoid(), TRAINING_SHIFT)
    base = torch.where(torch.rand(batch_size, 1, generator=random) < 0.2, torch.ones_like(base), base)
    own = shifted(torch.randn(batch_size, frames, generator=random).sigmoid(), TRAINING_SHIFT)
    given = PREFIX_NOISE * torch.rand(batch_size, 1, generator=random)
    kind = torch.rand(batch_size, 1, generator=random)
    first = torch.rand(batch_size, 1, generator=random)
    length = 0.25 + 0.5 * torch.rand(batch_size, 1, generator=random)
    place = torch.arange(frames) / frames
    in_prefix = place < length
    begin = first * (1.0 - 0.5 * length)
    in_gap = (place >= begin) & (place < begin + 0.5 * length)
    level = base.expand(-1, frames)
    level = torch.where((kind >= 0.4) & (kind < 0.8) & in_prefix, given, level)
    level = torch.where((kind >= 0.8) & (kind < 0.9) & ~in_gap, given, level)
    return torch.where(kind >= 0.9, own, level)
