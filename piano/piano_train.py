"""The adversarial stages: the generator against ear and professor.

Stage 3a, `ear`: the decoder against the ear, on reconstructions: partials lose their blur.
Stage 3b, `professor`: a copy of the attention block against the professor, in latents: many steps become one.
Stage 3c, `joint`: both at once, from white noise to sound, with the music losses.

In every step the discriminator goes first, against fakes without history; then the generator, through a frozen judge.

Three things stand elsewhere (piano/training_run.py): `run.steps` sets the learning rates (warm-up, cosine) before each
step and moves the averaged weights after it; `run.take_step` averages gradients over processes, clips, steps and
zeroes; `step.noise(name)` depends on seed, step and name alone, so that a name gives the same numbers in both turns.
Latents are always whitened means (`run.draw_latents`), spectra always the codec's normalised log magnitudes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from piano.discriminator import Judgement
from piano.foundation.errors import ConfigError
from piano.foundation.gradient_norms import GradientNorms
from piano.foundation.phase import hold_phase
from piano.foundation.runtime import frozen
from piano.foundation.screen_text import meant
from piano.latent_style import ToldStyle
from piano.loss_functions import (
    DISCRIMINATOR_TERMS,
    MUSIC_TERMS,
    StepOutputs,
    Term,
    discriminator_loss,
    energy_score_loss,
    evaluate_terms,
    feature_matching_loss,
    finite_difference_penalty,
    generator_adversarial_loss,
    magnitude_loss,
    normalised_discriminator_loss,
    share_music_features,
)
from piano.piano_encoder_decoder import MAGNITUDE_FLOOR
from piano.piano_model import VariationalAttentionModel
from piano.training_run import Step, TrainingRun

PREFIX_SHARE = 0.5
"""Part of the professor's batches that continues a prefix; the rest composes from nothing."""
PREFIX_NOISE = 0.15
"""A given prefix is noised by up to this much: long rollouts meet prefixes that are not perfect either."""
MISMATCH_WEIGHT = 0.5
"""Weight of real endings put behind somebody else's beginning, as a further kind of fake."""
MAX_JUDGE_LEVEL = 0.5
"""The professor sees latents diffused to a random level below this."""
EAR_PENALTY_EVERY, PROFESSOR_PENALTY_EVERY = 4, 2
"""The penalties are the dearest part of a judge's turn: taken every n-th step, n times as heavy (arXiv 1912.04958)."""
EAR_SHARES = {"reconstruction": 0.7, "adversarial": 0.15, "feature_matching": 0.15}
"""Each term's share of the gradient at the decoder's output (the balancer of arXiv 2210.13438)."""
SHORTCUT_TERMS = ("adversarial", "energy_score")
"""Keys of loss_weights that the shortcut's loss reads; all others are music losses of the joint stage."""
JOINT_RATE = 0.3
"""The joint stage's learning rates, in units of the general ones."""
JOINT_EAR_FRAMES = 32
"""Latent frames of a composition that the ear hears in the joint stage."""
JOINT_EAR_WEIGHT = 0.15
R3GAN_DIMENSIONS = 12288
"""64 x 64 x 3: the images for which that paper's gamma was found; ours is scaled by the number of values."""


def train_vae_gan(run: TrainingRun) -> None:
    """Stages 3a to 3c."""
    train_ear(run)
    train_professor(run)
    train_joint(run)


def check_loss_weights(weights: Mapping[str, float]) -> None:
    """Refuse a loss that does not exist, before anything is trained; raises ConfigError."""
    known = [*SHORTCUT_TERMS, *MUSIC_TERMS]
    for name in weights:
        if name not in known:
            raise ConfigError(
                f"loss_weights.{name} is not a loss.{meant(name, known).replace(' mean ', ' mean loss_weights.')}"
            )


def music_weights(run: TrainingRun, table: Mapping[str, Term]) -> dict[str, float]:
    """Weights of the music losses that a table (the generator's or the judges') knows."""
    return {
        name: weight
        for name, weight in run.config.loss_weights.items()
        if name in MUSIC_TERMS and name in table
    }


def judge_optimizers(run: TrainingRun, stage: str, *, factor: float = 1.0) -> tuple[Optimizer, Optimizer]:
    """One optimiser for the ear, one for the professor."""
    rate = factor * (run.settings(stage).learning_rate_disc or run.config.learning_rate_disc)
    ear = AdamW(run.discriminator.ear.parameters(), lr=rate, betas=(0.8, 0.99), weight_decay=0.0)
    professor = AdamW(run.discriminator.professor.parameters(), lr=rate, betas=(0.0, 0.99), weight_decay=0.0)
    return ear, professor


def ramp(step: Step) -> float:
    """Weight of the adversary, 0 to 1 (piano/schedules.py)."""
    return step.phase.ramp


def judge_every(run: TrainingRun) -> int:
    """The judges learn at every n-th step."""
    return round(run.config.update_discriminator * run.factor("judge_every"))


def judge_learns(run: TrainingRun, step: Step) -> bool:
    """Whether the discriminator moves in this step: not while the generator learns alone."""
    return not step.phase.is_pretraining and step.index % judge_every(run) == 0


def penalty_is_due(run: TrainingRun, step: Step, every: int) -> bool:
    """Whether this turn of a judge, counted by its own turns, takes the penalty."""
    return run.config.penalty > 0 and step.index // judge_every(run) % every == 0


class JudgeTurn(NamedTuple):
    """What a judge minimises, what that is made of, and what it said."""

    total: Tensor
    parts: dict[str, Tensor]
    """`loss`, bare; `penalty` and `mismatched` as they count, when they do."""
    real: Judgement
    fake: Judgement


# --- stage 3a: the ear -----------------------------------------------------------------------------------------------


def train_ear(run: TrainingRun) -> None:
    """The decoder learns to make reconstructions that the ear takes for real."""
    generator, settings, config = run.generator, run.settings("ear"), run.config
    batch_size = settings.batch_size or config.batch_size
    decoder_parameters = [p for module in generator.autoencoder.decoder_modules for p in module.parameters()]
    g_optimizer = AdamW(decoder_parameters, lr=settings.learning_rate or config.learning_rate,
                        betas=(0.8, 0.99), weight_decay=0.0)  # fmt: skip
    d_optimizer, _ = judge_optimizers(run, "ear")
    generator.train()
    run.discriminator.train()
    for step in run.steps("ear", {"decoder": g_optimizer, "ear": d_optimizer}):
        terms = ear_step(run, step, d_optimizer, g_optimizer, batch_size=batch_size)
        run.record(terms, audio_seconds=batch_size * settings.frames / generator.frames_per_second)


class Sound(NamedTuple):
    """Real sound and what the decoder makes of its latents."""

    real: Tensor
    latents: Tensor


def ear_step(
    run: TrainingRun, step: Step, d_optimizer: Optimizer, g_optimizer: Optimizer | None, *, batch_size: int
) -> dict[str, Tensor]:
    """One turn of the ear, then (with a `g_optimizer`) one of the decoder; returns the unweighted terms."""
    frames = run.settings("ear").frames
    waveforms = run.draw_waveforms(step, batch_size, frames)
    noise = step.noise("posterior", batch_size, frames, run.generator.latent_dim)
    parts = list(run.runtime.micro_batches(batch_size, run.config.accumulation_steps))
    sounds = [encode_sound(run, waveforms[part], noise[part]) for part in parts]
    terms: dict[str, Tensor] = {}
    if judge_learns(run, step) or g_optimizer is None:
        for sound in sounds:
            with torch.no_grad(), run.runtime.autocast():
                fake = run.generator.autoencoder.decode_spectrum(sound.latents)
            turn = ear_loss(run, step, sound.real, fake)
            (turn.total / len(parts)).backward()
            run.discriminator.centre("ear", turn.real, turn.fake)
            add_terms(terms, judge_terms(run, "ear", turn), len(parts))
        terms["ear_gradient_norm"] = run.take_step(d_optimizer, clip=5.0)
        run.discriminator.trained_steps += 1
    if g_optimizer is not None:
        for sound in sounds:
            add_terms(terms, decoder_backward(run, step, sound, len(parts)), len(parts))
        terms["decoder_gradient_norm"] = run.take_step(g_optimizer, clip=1.0)
    return terms


@torch.no_grad()
def encode_sound(run: TrainingRun, waveforms: Tensor, noise: Tensor) -> Sound:
    """Spectrum and posterior sample of waveforms; the encoder is frozen."""
    autoencoder = run.generator.autoencoder
    real = autoencoder.analyse(waveforms)
    with run.runtime.autocast():
        mu, logvar = autoencoder.posterior(real)
    return Sound(real, autoencoder.reparameterize(mu, logvar, noise.to(mu.device)))


def ear_loss(run: TrainingRun, step: Step, real: Tensor, fake: Tensor) -> JudgeTurn:
    """The ear's loss on real and (detached) fake spectra, with zero-centred penalties on both."""
    ear, config = run.discriminator.ear, run.config
    with run.runtime.autocast():
        on_real, on_fake = judge_sound(run, real), judge_sound(run, fake.detach())
        loss = discriminator_loss(
            on_real.heads, on_fake.heads, objective=config.objective_ear, smoothing=config.smoothing
        )
    parts = {"loss": loss}
    if penalty_is_due(run, step, EAR_PENALTY_EVERY):
        for spectrum, judged in ((real, on_real), (fake.detach(), on_fake)):
            size = penalty_size(run)
            moved = spectrum + size * step.noise("ear penalty", *spectrum.shape).to(spectrum.device)
            with run.runtime.autocast():
                again = ear(spectrum=moved)
            penalty = finite_difference_penalty(judged.logits["codec"], again.logits["codec"])
            weighted = EAR_PENALTY_EVERY * penalty_weight(run, size, spectrum) * penalty
            parts["penalty"] = parts["penalty"] + weighted if "penalty" in parts else weighted
    return JudgeTurn(torch.stack(list(parts.values())).sum(), parts, on_real, on_fake)


def judge_sound(run: TrainingRun, spectrum: Tensor) -> Judgement:
    """The ear on a spectrum, and on its waveform where it has windows for that.

    Real sound is given a reconstructed phase too: its own would tell it apart by what the decoder cannot change.
    """
    wave = None
    if run.discriminator.ear.wave_windows:
        wave = held_waveform(run, spectrum)
    return run.discriminator.ear(spectrum=spectrum, wave=wave)


def held_waveform(run: TrainingRun, spectrum: Tensor) -> Tensor:
    """Waveform of a normalised spectrum; the gradient passes through its magnitudes, the phase is held."""
    autoencoder = run.generator.autoencoder
    log_magnitude = autoencoder.log_magnitude(spectrum.float())
    planes = log_magnitude.unflatten(-1, (autoencoder.sound_channels, -1)).transpose(1, 2)
    return hold_phase(planes, iterations=2, floor=MAGNITUDE_FLOOR)


def decoder_backward(run: TrainingRun, step: Step, sound: Sound, parts: int) -> dict[str, Tensor]:
    """Gradients of the decoder from reconstruction, adversary and feature matching, each with its share."""
    autoencoder = run.generator.autoencoder
    if step.phase.is_pretraining:
        reconstruction = rebuild(run, sound)
        (reconstruction / parts).backward()
        return {"ear_reconstruction": reconstruction}
    with frozen(run.discriminator):
        with run.runtime.autocast():
            fake = autoencoder.decode_spectrum(sound.latents)
            on_fake = judge_sound(run, fake)
            with torch.no_grad():
                on_real = judge_sound(run, sound.real)
            terms = {
                "reconstruction": magnitude_loss(
                    autoencoder.log_magnitude(fake), autoencoder.log_magnitude(sound.real)
                ),
                "adversarial": generator_adversarial_loss(
                    on_real.heads, on_fake.heads, objective=run.config.objective_ear
                ),
                "feature_matching": feature_matching_loss(real_maps=on_real.features, fake_maps=on_fake.features),
            }  # fmt: skip
        shares = EAR_SHARES | {
            name: EAR_SHARES[name] * ramp(step) for name in ("adversarial", "feature_matching")
        }
        norms = balanced_backward(fake, terms, shares, scale=1.0 / parts)
    return {f"ear_{name}": value for name, value in terms.items()} | {
        f"ear_gradient_{name}": norm for name, norm in norms.items()
    }


def rebuild(run: TrainingRun, sound: Sound) -> Tensor:
    """Distance of the decoder's reconstruction from the real sound."""
    autoencoder = run.generator.autoencoder
    with run.runtime.autocast():
        fake = autoencoder.decode_spectrum(sound.latents)
    return magnitude_loss(autoencoder.log_magnitude(fake), autoencoder.log_magnitude(sound.real))


def balanced_backward(
    output: Tensor, terms: dict[str, Tensor], shares: dict[str, float], *, scale: float
) -> dict[str, Tensor]:
    """Backpropagate terms so that each has its share of the gradient at `output` (EnCodec, arXiv 2210.13438).

    The gradients are scaled to the size of the first term's. Returns the norm that each had by itself.
    """
    gradients = {
        name: torch.autograd.grad(value, output, retain_graph=True)[0]
        for name, value in terms.items()
        if shares[name]
    }
    norms = {name: gradient.norm() for name, gradient in gradients.items()}
    size = norms[next(iter(terms))]
    total = sum(shares.values())
    mixed = sum(
        shares[name] / total * gradient * size / norms[name].clamp_min(1e-12)
        for name, gradient in gradients.items()
    )
    output.backward(scale * mixed)
    return norms


# --- stage 3b: the professor -----------------------------------------------------------------------------------------


def train_professor(run: TrainingRun) -> None:
    """The shortcut, a copy of the attention block, learns to compose in one step what the professor takes for real."""
    settings, config = run.settings("professor"), run.config
    batch_size = settings.batch_size or config.batch_size
    g_optimizer = AdamW(run.generator.shortcut.parameters(), lr=settings.learning_rate or config.learning_rate,
                        betas=(0.0, 0.99), weight_decay=0.0)  # fmt: skip
    _, d_optimizer = judge_optimizers(run, "professor")
    run.generator.train()
    run.discriminator.train()
    for step in run.steps("professor", {"shortcut": g_optimizer, "professor": d_optimizer}):
        terms = professor_step(run, step, d_optimizer, g_optimizer, stage="professor")
        run.record(terms, audio_seconds=batch_size * settings.frames / run.generator.frames_per_second)


class Composition(NamedTuple):
    """What a professor's step is made of; every field is a batch.

    latents : real windows [shape=(batch, frames, latent_dim)]
    noise_a, noise_b : two seeds of the same shape
    is_prefix : frames that are given [shape=(batch, frames)]
    given : noise level of those frames [shape=(batch, 1)]
    judge_level : level to which the professor's view is diffused [shape=(batch, 1)]
    judge_noise : of the shape of latents
    told : the style of the latents, in which to compose
    """

    latents: Tensor
    noise_a: Tensor
    noise_b: Tensor
    is_prefix: Tensor
    given: Tensor
    judge_level: Tensor
    judge_noise: Tensor
    told: ToldStyle

    def part(self, which: slice | Tensor) -> "Composition":
        """Some of the items."""
        parts = {
            name: field.part(which) if name == "told" else field[which]
            for name, field in self._asdict().items()
        }
        return Composition(**parts)


def draw_composition(run: TrainingRun, step: Step, stage: str, *, split: str = "training") -> Composition:
    """Real windows, seeds and prefixes of one step."""
    settings = run.settings(stage)
    batch_size, frames = settings.batch_size or run.config.batch_size, settings.frames
    latents = run.draw_latents(step, batch_size, frames, split=split)
    has_prefix = step.uniform("has prefix", batch_size, 1) < PREFIX_SHARE
    length = 0.25 + 0.5 * step.uniform("prefix length", batch_size, 1)
    is_prefix = has_prefix & (torch.arange(frames) / frames < length)
    fields = {
        "noise_a": step.noise("noise a", *latents.shape), "noise_b": step.noise("noise b", *latents.shape),
        "is_prefix": is_prefix, "given": PREFIX_NOISE * step.uniform("given", batch_size, 1),
        "judge_level": MAX_JUDGE_LEVEL * step.uniform("judge level", batch_size, 1),
        "judge_noise": step.noise("judge noise", *latents.shape),
    }  # fmt: skip
    there = {name: field.to(latents.device) for name, field in fields.items()}
    told = run.generator.tell(run.generator.style.describe(latents), frames)
    return Composition(latents=latents, told=told, **there)


def compose(
    run: TrainingRun, batch: Composition, noise: Tensor, *, generator: VariationalAttentionModel | None = None
) -> Tensor:
    """One-step compositions (batch, frames, latent_dim) of the run's generator, or of another one.

    Given frames keep their real latents.
    """
    shortcut = (generator or run.generator).shortcut
    given = batch.is_prefix.unsqueeze(-1)
    level = torch.where(batch.is_prefix, batch.given, torch.ones_like(batch.given))
    share = level.unsqueeze(-1)
    noisy = (1.0 - share) * batch.latents + share * noise
    return torch.where(given, batch.latents, shortcut(noisy, level, batch.told))


def professor_step(
    run: TrainingRun, step: Step, d_optimizer: Optimizer, g_optimizer: Optimizer | None, *, stage: str
) -> dict[str, Tensor]:
    """One turn of the professor, then (with a `g_optimizer`) one of the shortcut; returns unweighted terms."""
    whole = draw_composition(run, step, stage)
    parts = list(run.runtime.micro_batches(len(whole.latents), run.config.accumulation_steps))
    batches = [whole.part(part) for part in parts]
    terms: dict[str, Tensor] = {}
    if judge_learns(run, step) or g_optimizer is None:
        for batch in batches:
            with torch.no_grad(), run.runtime.autocast():
                fake = compose(run, batch, batch.noise_a)
            turn = professor_loss(run, step, batch, fake)
            (turn.total / len(parts)).backward()
            run.discriminator.centre("professor", turn.real, turn.fake)
            add_terms(terms, judge_terms(run, "professor", turn), len(parts))
        terms["professor_gradient_norm"] = run.take_step(d_optimizer, clip=5.0)
        run.discriminator.trained_steps += 1
    if g_optimizer is not None:
        for batch in batches:
            losses = shortcut_losses(run, step, batch)
            (losses.total / len(parts)).backward()
            add_terms(terms, losses.terms | losses.gradients.terms(scale=len(parts)), len(parts))
        terms["shortcut_gradient_norm"] = run.take_step(g_optimizer, clip=1.0)
    return terms


def judge_composition(
    run: TrainingRun, batch: Composition, latents: Tensor, *, is_real: bool, remember: bool
) -> Judgement:
    """The professor on latents diffused to this batch's level (the same noise for real and fake).

    `is_real` chooses whom minibatch discrimination compares an item with (real with real, fake with fake) and is not
    seen by the network otherwise; `remember` puts the items into that crowd for later batches.
    """
    share = batch.judge_level.unsqueeze(-1)
    seen = (1.0 - share) * latents + share * batch.judge_noise
    level = batch.judge_level.expand(-1, latents.shape[1])
    return run.discriminator.professor(
        seen, level, is_real=is_real, is_prefix=batch.is_prefix, remember=remember
    )


def professor_loss(run: TrainingRun, step: Step, batch: Composition, fake: Tensor) -> JudgeTurn:
    """The professor's loss: real against composed, real against mismatched, and zero-centred penalties."""
    config, objective = run.config, run.config.objective_professor
    with run.runtime.autocast():
        on_real = judge_composition(run, batch, batch.latents, is_real=True, remember=True)
        on_fake = judge_composition(run, batch, fake.detach(), is_real=False, remember=True)
        loss = discriminator_loss(
            on_real.heads, on_fake.heads, objective=objective, smoothing=config.smoothing
        )
    parts = {"loss": loss, "mismatched": torch.zeros_like(loss)}  # in every process, whatever its items are
    has_prefix = batch.is_prefix.any(dim=1)
    if len(fake) > 1 and bool(has_prefix.any()):
        strangers = batch.latents.roll(1, dims=0)
        swapped = torch.where(batch.is_prefix.unsqueeze(-1), batch.latents, strangers)[has_prefix]
        continuations = batch.part(has_prefix)
        with run.runtime.autocast():
            on_swapped = judge_composition(run, continuations, swapped, is_real=False, remember=False)
            parts["mismatched"] = (
                MISMATCH_WEIGHT
                * has_prefix.float().mean()
                * discriminator_loss(
                    on_real.logits["whole"][has_prefix], on_swapped.logits["whole"], objective=objective
                )
            )
    if penalty_is_due(run, step, PROFESSOR_PENALTY_EVERY):
        for latents, judged, is_real in ((batch.latents, on_real, True), (fake.detach(), on_fake, False)):
            size = penalty_size(run)
            moved = latents + size * step.noise("professor penalty", *latents.shape).to(latents.device)
            with run.runtime.autocast():
                again = judge_composition(run, batch, moved, is_real=is_real, remember=False)
            penalty = finite_difference_penalty(judged.heads, again.heads)
            weighted = PROFESSOR_PENALTY_EVERY * penalty_weight(run, size, latents) * penalty
            parts["penalty"] = parts["penalty"] + weighted if "penalty" in parts else weighted
    return JudgeTurn(torch.stack(list(parts.values())).sum(), parts, on_real, on_fake)


def penalty_size(run: TrainingRun) -> float:
    """Length of the penalty's step per value; bf16 logits cannot resolve a shorter one."""
    return 0.1 if run.runtime.precision == "bf16" else 0.02


def penalty_weight(run: TrainingRun, size: float, values: Tensor) -> float:
    """lambda of lambda |D(y) - D(y + size n)|^2, for gamma = penalty x dimensions / 12288 (R3GAN, arXiv 2501.05441)."""
    gamma = run.config.penalty * run.factor("penalty") * values[0].numel() / R3GAN_DIMENSIONS
    return gamma / (2.0 * size**2)


class ShortcutLosses(NamedTuple):
    """The weighted total and its unweighted terms."""

    total: Tensor
    terms: dict[str, Tensor]
    gradients: GradientNorms
    """Once the total went backwards: of each term at the composed latents."""


def shortcut_losses(run: TrainingRun, step: Step, batch: Composition) -> ShortcutLosses:
    """Adversary and energy score for the one-step block; the energy score alone while the generator learns alone."""
    weights = run.config.loss_weights
    if step.phase.is_pretraining:
        with run.runtime.autocast():
            draw_a, draw_b = compose(run, batch, batch.noise_a), compose(run, batch, batch.noise_b)
            score = energy_score_loss(draw_a, draw_b, batch.latents)
        return ShortcutLosses(weights["energy_score"] * score, {"energy_score": score}, GradientNorms("", {}))
    factors = {
        "adversarial": weights.get("adversarial", 1.0) * ramp(step),
        "energy_score": weights.get("energy_score", 0.0) * run.factor("energy_score"),
    }
    gradients = GradientNorms("professor_gradient", factors)
    with frozen(run.discriminator), run.runtime.autocast():
        draw_a, draw_b = compose(run, batch, batch.noise_a), compose(run, batch, batch.noise_b)
        judged = gradients.tap("adversarial", draw_a)
        on_fake = judge_composition(run, batch, judged, is_real=False, remember=False)
        with torch.no_grad():
            on_real = judge_composition(run, batch, batch.latents, is_real=True, remember=False)
        terms = {
            "adversarial": generator_adversarial_loss(
                    on_real.heads, on_fake.heads, objective=run.config.objective_professor
                ),
            "energy_score": energy_score_loss(
                gradients.tap("energy_score", draw_a), draw_b, batch.latents
            ),
        }  # fmt: skip
    total = torch.stack([factors[name] * value for name, value in terms.items()]).sum()
    return ShortcutLosses(total, terms, gradients)


# --- stage 3c: joint -------------------------------------------------------------------------------------------------


def train_joint(run: TrainingRun) -> None:
    """Decoder and shortcut together: white noise to sound under both judges and the music losses."""
    generator, settings, config = run.generator, run.settings("joint"), run.config
    batch_size = settings.batch_size or config.batch_size
    decoder_parameters = [p for module in generator.autoencoder.decoder_modules for p in module.parameters()]
    rate = JOINT_RATE * (settings.learning_rate or config.learning_rate)
    g_optimizer = AdamW([*generator.shortcut.parameters(), *decoder_parameters], lr=rate,
                        betas=(0.0, 0.99), weight_decay=0.0)  # fmt: skip
    ear_optimizer, professor_optimizer = judge_optimizers(run, "joint", factor=JOINT_RATE)
    generator.train()
    run.discriminator.train()
    optimizers = {"generator": g_optimizer, "ear": ear_optimizer, "professor": professor_optimizer}
    for step in run.steps("joint", optimizers):
        terms: dict[str, Tensor] = {}
        if judge_learns(run, step):
            terms |= professor_step(run, step, professor_optimizer, None, stage="joint")
            terms |= joint_ear_step(run, step, ear_optimizer)
        terms |= joint_generator_step(run, step, g_optimizer)
        run.record(terms, audio_seconds=batch_size * settings.frames / generator.frames_per_second)


class JointBatch(NamedTuple):
    """What both turns of a joint step see: windows to compose, and real sound of the same number of items."""

    composition: Composition
    waves: Tensor
    noise: Tensor

    def part(self, which: slice) -> "JointBatch":
        """Some of the items."""
        return JointBatch(self.composition.part(which), self.waves[which], self.noise[which])


def draw_joint(run: TrainingRun, step: Step) -> list[JointBatch]:
    """The micro-batches of one joint step."""
    composition = draw_composition(run, step, "joint")
    batch_size, frames = len(composition.latents), min(JOINT_EAR_FRAMES, composition.latents.shape[1])
    waves = run.draw_waveforms(step, batch_size, frames)
    whole = JointBatch(
        composition, waves, step.noise("posterior", batch_size, frames, run.generator.latent_dim)
    )
    return [whole.part(part) for part in run.runtime.micro_batches(batch_size, run.config.accumulation_steps)]


def composed_spectrum(run: TrainingRun, batch: JointBatch) -> Tensor:
    """Spectrum of the end of one-step compositions, as long as the batch's real sound."""
    latents = compose(run, batch.composition, batch.composition.noise_a)
    return run.generator.decode_spectrum(latents[:, -batch.noise.shape[1] :])


def joint_ear_step(run: TrainingRun, step: Step, optimizer: Optimizer) -> dict[str, Tensor]:
    """The ear's turn: half its fakes are reconstructions, half compositions; it is pushed harder on unmusical ones."""
    batches = draw_joint(run, step)
    weights = music_weights(run, DISCRIMINATOR_TERMS)
    terms: dict[str, Tensor] = {}
    for batch in batches:
        sound = encode_sound(run, batch.waves, batch.noise)
        with torch.no_grad(), run.runtime.autocast():
            rebuilt, composed = (
                run.generator.autoencoder.decode_spectrum(sound.latents),
                composed_spectrum(run, batch),
            )
        on_rebuilt, on_composed = (ear_loss(run, step, sound.real, fake) for fake in (rebuilt, composed))
        loss = 0.5 * (on_rebuilt.total + on_composed.total)
        if any(weights.values()):
            outputs = StepOutputs(
                real=batch.waves, fake=held_waveform(run, composed), fake_logits=on_composed.fake.heads,
                sample_rate=run.generator.sample_rate,
            )  # fmt: skip
            music = evaluate_terms(DISCRIMINATOR_TERMS, share_music_features(outputs), weights)
            loss = loss + sum(weights[name] * value for name, value in music.items())
        (loss / len(batches)).backward()
        run.discriminator.centre("ear", on_composed.real, on_composed.fake)
        add_terms(terms, judge_terms(run, "ear", on_composed), len(batches))
    terms["ear_gradient_norm"] = run.take_step(optimizer, clip=5.0)
    run.discriminator.trained_steps += 1
    return terms


def joint_generator_step(run: TrainingRun, step: Step, optimizer: Optimizer) -> dict[str, Tensor]:
    """The generator's turn: compose, decode a crop of it, and answer to both judges, the data and the music losses."""
    batches = draw_joint(run, step)
    terms: dict[str, Tensor] = {}
    for batch in batches:
        losses = shortcut_losses(run, step, batch.composition)
        sound = encode_sound(run, batch.waves, batch.noise)
        decoder_terms, decoder_total = joint_sound_losses(run, step, batch, sound)
        ((losses.total + decoder_total) / len(batches)).backward()
        gradients = losses.gradients.terms(scale=len(batches))
        add_terms(terms, losses.terms | decoder_terms | gradients, len(batches))
    terms["generator_gradient_norm"] = run.take_step(optimizer, clip=1.0)
    return terms


def joint_sound_losses(
    run: TrainingRun, step: Step, batch: JointBatch, sound: Sound
) -> tuple[dict[str, Tensor], Tensor]:
    """Reconstruction (weight 1), the ear on composed sound, and the music losses as weighted in the config.

    The reconstruction alone while the generator learns alone.
    """
    autoencoder = run.generator.autoencoder
    if step.phase.is_pretraining:
        reconstruction = rebuild(run, sound)
        return {"reconstruction": reconstruction}, reconstruction
    with frozen(run.discriminator), run.runtime.autocast():
        rebuilt = autoencoder.decode_spectrum(sound.latents)
        composed = composed_spectrum(run, batch)
        on_fake = judge_sound(run, composed)
        with torch.no_grad():
            on_real = judge_sound(run, sound.real)
    reconstruction = magnitude_loss(autoencoder.log_magnitude(rebuilt), autoencoder.log_magnitude(sound.real))
    adversarial = generator_adversarial_loss(on_real.heads, on_fake.heads, objective=run.config.objective_ear)
    terms = {"reconstruction": reconstruction, "ear_adversarial": adversarial}
    total = reconstruction + JOINT_EAR_WEIGHT * ramp(step) * adversarial
    weights = music_weights(run, MUSIC_TERMS)
    if any(weights.values()):
        outputs = StepOutputs(
            real=batch.waves, fake=held_waveform(run, composed), sample_rate=run.generator.sample_rate
        )
        music = evaluate_terms(MUSIC_TERMS, share_music_features(outputs), weights)
        terms |= music
        total = total + sum(weights[name] * value for name, value in music.items())
    return terms, total


# --- small things ----------------------------------------------------------------------------------------------------


def judge_terms(run: TrainingRun, family: str, turn: JudgeTurn) -> dict[str, Tensor]:
    """What is logged of a judge's turn.

    `loss` is bare, without what the judge minimises besides; `dn` is the same on the scale without label smoothing,
    0.693 at confusion; `real` and `fake` are mean logits, `d_real` and `d_fake` mean probabilities. A relativistic
    judge's logits have no origin: there the midpoint of the two means is taken for it.
    """
    objective = getattr(run.config, f"objective_{family}")
    real, fake = turn.real.per_item().detach(), turn.fake.per_item().detach()
    origin = 0.5 * (real.mean() + fake.mean()) if objective == "relativistic" else 0.0
    values = {
        **turn.parts,
        "dn": normalised_discriminator_loss(turn.parts["loss"], run.config.smoothing, objective),
        "real": real.mean(), "fake": fake.mean(),
        "d_real": (real - origin).sigmoid().mean(), "d_fake": (fake - origin).sigmoid().mean(),
    }  # fmt: skip
    return {f"{family}_{name}": value.detach() for name, value in values.items()}


def add_terms(totals: dict[str, Tensor], terms: dict[str, Tensor], parts: int) -> None:
    """Add one micro-batch's share to the mean over micro-batches."""
    for name, value in terms.items():
        totals[name] = (
            totals.get(name, torch.zeros_like(value, dtype=torch.float32)) + value.detach().float() / parts
        )
