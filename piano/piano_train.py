"""The adversarial stages: the generator against ear and professor.

Stage 3a, `ear`: the decoder against the ear, on reconstructions: partials lose their blur.
Stage 3b, `professor`: a copy of the attention block against the professor, in latents: many steps become one.
Stage 3c, `joint`: both at once, from white noise to sound, with the music losses.

Each stage names its players and draws its batches; every step is `adversarial_step` (piano/training/game.py): the
discriminators go first, against fakes without history, then the generator, through frozen discriminators.

Three things stand elsewhere (piano/training/training_run.py): `run.steps` sets the learning rates (warm-up, cosine)
before each step and moves the averaged weights after it; `run.take_step` averages gradients over processes, clips,
steps and zeroes; `step.noise(name)` depends on seed, step and name alone, so that a name gives the same numbers in
both turns.
Latents are always whitened means (`run.data.draw_latents`), spectra always the codec's normalised log magnitudes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from piano.discriminator import Discriminator_with_mdisc, Judgement, alone, compressed_planes
from piano.foundation import compiled
from piano.foundation.collectives import Crowd
from piano.foundation.errors import ConfigError
from piano.foundation.features import MusicFeatures, music_features
from piano.foundation.gradient_norms import GradientNorms
from piano.foundation.phase import constant_phase, with_phase
from piano.foundation.screen_text import meant
from piano.latent_style import StyleCondition
from piano.loss_functions import (
    DISCRIMINATOR_TERMS,
    MUSIC_TERMS,
    Logits,
    StepOutputs,
    Term,
    discriminator_loss,
    energy_score_loss,
    evaluate_terms,
    feature_matching_loss,
    finite_difference_penalty,
    generator_adversarial_loss,
    normalised_discriminator_loss,
    share_music_features,
    spectrum_loss,
)
from piano.piano_encoder_decoder import MAGNITUDE_FLOOR, VariationalEncoderDecoder
from piano.piano_model import VariationalAttentionModel
from piano.stages import TRAIN, stages_of, trains
from piano.training.game import (
    Batch,
    Game,
    Once,
    Player,
    Together,
    Turn,
    adversarial_step,
    norm_of_whole,
    optimizers_of,
)
from piano.training.schedules import Step
from piano.training.training_data import Split
from piano.training.training_run import TrainingRun

if TYPE_CHECKING:
    from piano.foundation.phase_kernels import PhaseKernels

PREFIX_SHARE = 0.5
"""Part of the professor's batches that continues a prefix; the rest composes from nothing."""
PREFIX_NOISE = 0.15
"""A given prefix is noised by up to this much: long rollouts meet prefixes that are not perfect either."""
MISMATCH_WEIGHT = 0.5
"""Weight of real endings put behind somebody else's beginning, as a further kind of fake."""
MAX_JUDGE_LEVEL = 0.5
"""The professor sees latents diffused to a random level below this."""
PENALTY_EVERY = {"ear": 4, "professor": 2}
"""Penalties are the most expensive part of a judge's turn: every n-th turn, n times as heavy (arXiv 1912.04958)."""
EAR_SHARES = {"reconstruction": 0.7, "adversarial": 0.15, "feature_matching": 0.15}
"""Each term's share of the gradient at the decoder's output (the balancer of arXiv 2210.13438)."""
ENERGY_WEIGHT = 0.5
"""Of the bands in the distance of two spectra (docs/experiments.md)."""
SHORTCUT_TERMS = ("adversarial", "energy_score")
"""Keys of loss_weights that the shortcut's loss reads; all others are music losses of the joint stage."""
JOINT_RATE = 0.3
"""The joint stage's learning rates, in units of the general ones."""
JOINT_EAR_FRAMES = 32
"""Latent frames of a composition that the ear hears in the joint stage."""
JOINT_EAR_WEIGHT = 0.15
REAL = "real"
"""Name of real sound where a sound goes by a name."""
R3GAN_DIMENSIONS = 12288
"""64 x 64 x 3: the images for which that paper's gamma was found; ours is scaled by the number of values."""


def train_vae_gan(run: TrainingRun) -> None:
    """The adversarial stages, 3a to 3c."""
    for name in stages_of("adversarial"):
        TRAIN[name](run)


@trains("ear")
def train_ear(run: TrainingRun) -> None:
    """The decoder learns to make reconstructions that the ear takes for real."""
    ear = judge(run, "ear", ear_turn, stage="ear")
    parameters = decoder_parameters(run.generator.autoencoder)
    decoder = Player(
        "decoder",
        AdamW(parameters, lr=run.rate("ear"), betas=(0.8, 0.99), weight_decay=0.0),
        decoder_turn,
        prefix="decoder_",
        ahead=rebuild_ahead,
    )
    run.generator.train()
    run.discriminator.train()
    for step in run.steps("ear", optimizers_of(decoder, ear)):
        sounds = draw_sounds(run, step, "ear")
        run.record(adversarial_step(run.game(step), [ear], decoder, sounds))


@trains("professor")
def train_professor(run: TrainingRun) -> None:
    """The shortcut, a copy of the attention block, learns to compose in one step what the professor takes for real."""
    professor = judge(run, "professor", professor_turn, stage="professor")
    parameters = run.generator.shortcut.parameters()
    shortcut = Player(
        "shortcut",
        AdamW(parameters, lr=run.rate("professor"), betas=(0.0, 0.99), weight_decay=0.0),
        shortcut_turn,
        prefix="shortcut_",
        ahead=compose_ahead,
    )
    run.generator.train()
    run.discriminator.train()
    for step in run.steps("professor", optimizers_of(shortcut, professor)):
        compositions = draw_compositions(run, step, "professor")
        run.record(adversarial_step(run.game(step), [professor], shortcut, compositions))


@trains("joint")
def train_joint(run: TrainingRun) -> None:
    """Decoder and shortcut together: white noise to sound under both judges and the music losses."""
    ear = judge(run, "ear", joint_ear_turn, stage="joint", factor=JOINT_RATE)
    professor = judge(run, "professor", on_composition(professor_turn), stage="joint", factor=JOINT_RATE)
    parameters = [*run.generator.shortcut.parameters(), *decoder_parameters(run.generator.autoencoder)]
    rate = JOINT_RATE * run.rate("joint")
    generator = Player(
        "generator",
        AdamW(parameters, lr=rate, betas=(0.0, 0.99), weight_decay=0.0),
        joint_turn,
        prefix="generator_",
        ahead=both_ahead,
    )
    run.generator.train()
    run.discriminator.train()
    for step in run.steps("joint", optimizers_of(generator, ear, professor)):
        batches = draw_both(run, step, "joint", frames=min(JOINT_EAR_FRAMES, run.settings("joint").frames))
        run.record(adversarial_step(run.game(step), [professor, ear], generator, batches))


# --- what a step is made of -------------------------------------------------------------------------------------------


class Share(NamedTuple):
    """Which items of a step's batch these are."""

    part: slice
    batch_size: int

    def of_noise(self, step: Step, purpose: str, like: Tensor) -> Tensor:
        """White noise of the shape and device of `like` (items, ...): these items' part of the whole batch's."""
        return step.noise(purpose, self.batch_size, *like.shape[1:])[self.part].to(like.device)


class SoundBatch(NamedTuple):
    """Real sound and what the decoder makes its own of."""

    waveforms: Tensor
    """[shape=(batch, channels, samples)]"""
    real: Tensor
    """Its spectrum [shape=(batch, frames, values)]."""
    latents: Tensor
    """A draw from its posterior [shape=(batch, frames, latent_dim)]."""
    share: Share
    """Which items of the step's batch these are."""
    once: Once
    """What was made of it in this step."""

    def forget(self) -> None:
        """Let go of what was made of it."""
        self.once.forget()


class Composition(NamedTuple):
    """What a professor's step is made of; every field is a batch.

    latents : real windows [shape=(batch, frames, latent_dim)]
    noise_a, noise_b : two seeds of the same shape
    is_prefix : frames that are given [shape=(batch, frames)]
    given : noise level of those frames [shape=(batch, 1)]
    strangers : latents of other windows, of the same shape
    is_swapped : whose beginning is held against a stranger's ending [shape=(batch,)]
    judge_level : level to which the professor's view is diffused [shape=(batch, 1)]
    judge_noise : of the shape of latents
    condition : the style of the latents, in which to compose
    share : which items of the step's batch these are
    once : what was made of them in this step
    """

    latents: Tensor
    noise_a: Tensor
    noise_b: Tensor
    is_prefix: Tensor
    given: Tensor
    strangers: Tensor
    is_swapped: Tensor
    judge_level: Tensor
    judge_noise: Tensor
    condition: StyleCondition
    share: Share
    once: Once

    def forget(self) -> None:
        """Let go of what was made of them."""
        self.once.forget()

    def part(self, which: slice | Tensor) -> "Composition":
        """Some of the items, to be judged: which of the step's batch they are is no longer known."""
        others = ("condition", "share", "once")
        tensors = {name: field[which] for name, field in self._asdict().items() if name not in others}
        return Composition(**tensors, condition=self.condition.part(which), share=self.share, once=Once())


class Both(NamedTuple):
    """Windows to compose, and real sound of the same number of items."""

    composition: Composition
    sound: SoundBatch

    def forget(self) -> None:
        """Let go of what was made of both."""
        self.composition.forget()
        self.sound.forget()


def draw_sounds(run: TrainingRun, step: Step, stage: str, *, frames: int | None = None) -> list[SoundBatch]:
    """The micro-batches of sound of one step, encoded; as long as the stage's items or `frames` long."""
    batch_size, frames = run.batch_size(stage), frames or run.settings(stage).frames
    noise = step.noise("posterior", batch_size, frames, run.generator.latent_dim)
    game = run.game(step)
    return [
        encode_sound(
            game, run.data.draw_waveforms(step, batch_size, frames, part=part), noise[part], Share(part, batch_size)
        )
        for part in run.micro_batches(stage)
    ]


@torch.no_grad()
def encode_sound(game: Game, waveforms: Tensor, noise: Tensor, share: Share) -> SoundBatch:
    """Spectrum and posterior sample of waveforms."""
    autoencoder = game.generator.autoencoder
    real = autoencoder.analyse(waveforms)
    with game.autocast():
        mu, logvar = autoencoder.encoder(real)
    return SoundBatch(waveforms, real, autoencoder.reparameterize(mu, logvar, noise.to(mu.device)), share, Once())


def draw_compositions(run: TrainingRun, step: Step, stage: str) -> list[Composition]:
    """The micro-batches of windows of one step."""
    return [draw_composition(run, step, stage, part=part) for part in run.micro_batches(stage)]


def draw_composition(
    run: TrainingRun, step: Step, stage: str, *, split: Split = "training", part: slice | None = None
) -> Composition:
    """Real windows, seeds and prefixes of one step; of all its items, or of a part."""
    batch_size, frames = run.batch_size(stage), run.settings(stage).frames
    part = part or slice(0, batch_size)
    # Everybody's stranger is who comes before; the first one's is not always in the same part.
    before = run.data.draw_latents(step, batch_size, frames, split=split, part=slice(part.start - 1, part.start))
    latents = run.data.draw_latents(step, batch_size, frames, split=split, part=part)
    shape = batch_size, *latents.shape[1:]
    has_prefix = step.uniform("has prefix", batch_size, 1) < PREFIX_SHARE
    length = 0.25 + 0.5 * step.uniform("prefix length", batch_size, 1)
    is_prefix = has_prefix & (torch.arange(frames) / frames < length)
    fields = {
        "noise_a": step.noise("noise a", *shape),
        "noise_b": step.noise("noise b", *shape),
        "is_prefix": is_prefix,
        "is_swapped": is_prefix.any(dim=1) & (batch_size > 1),
        "given": PREFIX_NOISE * step.uniform("given", batch_size, 1),
        "judge_level": MAX_JUDGE_LEVEL * step.uniform("judge level", batch_size, 1),
        "judge_noise": step.noise("judge noise", *shape),
    }
    there = {name: field[part].to(latents.device) for name, field in fields.items()}
    condition = run.generator.condition_on(run.generator.style.describe(latents), frames)
    strangers = torch.cat([before, latents[:-1]])
    return Composition(
        latents=latents, strangers=strangers, condition=condition, share=Share(part, batch_size), once=Once(), **there
    )


def draw_both(run: TrainingRun, step: Step, stage: str, *, frames: int) -> list[Both]:
    """The micro-batches of a step in which both judges play; the sound is `frames` long."""
    sounds = draw_sounds(run, step, stage, frames=frames)
    pairs = zip(draw_compositions(run, step, stage), sounds, strict=True)
    return [Both(*pair) for pair in pairs]


def on_sound(turn: Callable[[Game, SoundBatch], Turn]) -> Callable[[Game, Both], Turn]:
    """A turn that reads only the sound of a batch of both."""
    return lambda game, batch: turn(game, batch.sound)


def on_composition(turn: Callable[[Game, Composition], Turn]) -> Callable[[Game, Both], Turn]:
    """A turn that reads only the windows of a batch of both."""
    return lambda game, batch: turn(game, batch.composition)


# --- the judges -------------------------------------------------------------------------------------------------------


def judge(
    run: TrainingRun, name: str, loss: Callable[[Game, Batch], Turn], *, stage: str, factor: float = 1.0
) -> Player[Batch]:
    """The ear or the professor, as it learns in a stage, at `factor` times the stage's rate."""
    parameters = getattr(run.discriminator, name).parameters()
    betas = {"ear": (0.8, 0.99), "professor": (0.0, 0.99)}[name]
    optimizer = AdamW(parameters, lr=factor * run.judge_rate(stage), betas=betas, weight_decay=0.0)
    return Player(name, optimizer, loss, clip=5.0, prefix=f"{name}_")


class Verdicts(NamedTuple):
    """What a judge minimises, what that is made of, and what it said."""

    total: Tensor
    parts: dict[str, Tensor]
    """`loss`, bare; `penalty` and `mismatched` as they count, when they do."""
    real: Judgement
    fake: Judgement


def ear_turn(game: Game, sound: SoundBatch) -> Turn:
    """The ear on real sound and on its reconstruction."""
    verdicts = ear_verdicts(game, sound, {"rebuilt": rebuilt_spectrum(game, sound)})["rebuilt"]
    return judge_turn(game, "ear", verdicts.total, verdicts)


def joint_ear_turn(game: Game, batch: Both) -> Turn:
    """Half of the ear's fakes are reconstructions, half compositions; it is pushed harder on unmusical ones."""
    sound, autoencoder = batch.sound, game.generator.autoencoder
    draw = drawn_composition(game, batch.composition)
    composed = composed_spectrum(game, batch, draw)
    verdicts = ear_verdicts(game, sound, {"rebuilt": rebuilt_spectrum(game, sound), "composed": composed})
    on_composed = verdicts["composed"]
    total = torch.stack([on_fake.total for on_fake in verdicts.values()]).mean()
    weights = music_weights(game, DISCRIMINATOR_TERMS)
    if any(weights.values()):
        outputs = StepOutputs(
            real=music_of_real(game, sound),
            fake=held_waveform(autoencoder, composed, once=sound.once, name="composed"),
            fake_logits=[game.together.whole(head) for head in on_composed.fake.heads],
            sample_rate=game.generator.sample_rate,
        )
        music = evaluate_terms(DISCRIMINATOR_TERMS, everybodys(game, outputs), weights)
        total = total + sum(weights[name] * value for name, value in music.items())
    return judge_turn(game, "ear", total, on_composed)


def professor_turn(game: Game, batch: Composition) -> Turn:
    """The professor on real windows and on one-step compositions."""
    verdicts = professor_verdicts(game, batch, drawn_composition(game, batch))
    turn = judge_turn(game, "professor", verdicts.total, verdicts)

    def settle(parts: int) -> dict[str, Tensor]:
        for judgement, is_real in ((verdicts.real, True), (verdicts.fake, False)):
            game.discriminator.professor.remember(judgement, is_real=is_real, gather=game.together.gather)
        return turn.settle(parts)

    return turn._replace(settle=settle)


def judge_turn(game: Game, name: str, total: Tensor, verdicts: Verdicts) -> Turn:
    """A judge's turn; its reported origin moves afterwards.

    `loss` is bare, without what the judge minimises besides; `dn` is the same on the scale without label smoothing,
    0.693 at confusion; `real` and `fake` are mean logits, `d_real` and `d_fake` mean probabilities. A relativistic
    judge's logits have no origin: there the midpoint of the two means is taken for it.
    """
    objective = getattr(game.config, f"objective_{name}")
    real, fake = (game.together.gather(judged.per_item()) for judged in (verdicts.real, verdicts.fake))
    origin = 0.5 * (real.mean() + fake.mean()) if objective == "relativistic" else 0.0
    values = {
        **verdicts.parts,
        "dn": normalised_discriminator_loss(verdicts.parts["loss"], game.config.smoothing, objective),
        "real": real.mean(),
        "fake": fake.mean(),
        "d_real": (real - origin).sigmoid().mean(),
        "d_fake": (fake - origin).sigmoid().mean(),
    }

    def settle(parts: int) -> dict[str, Tensor]:
        game.discriminator.centre(name, real, fake)
        return {}

    return Turn(total, {f"{name}_{part}": value.detach() for part, value in values.items()}, settle)


def ear_verdicts(game: Game, sound: SoundBatch, fakes: Mapping[str, Tensor]) -> dict[str, Verdicts]:
    """The ear's loss on real and fake spectra, with zero-centred penalties on both: for each kind of fake, by name."""
    autoencoder, ear, judges = game.generator.autoencoder, game.discriminator.ear, game.discriminator
    is_penalised = penalty_is_due(game, "ear")

    def again(moved: Tensor) -> Tensor:
        return ear(spectrum=moved).logits["codec"]

    def judged(spectrum: Tensor, name: str) -> tuple[Judgement, Tensor | None]:
        """What the ear says, and the penalty if it is due."""
        with game.autocast():
            said = judge_sound(judges, autoencoder, spectrum, once=sound.once, name=name)
        if not is_penalised:
            return said, None
        return said, penalty(game, "ear", spectrum, sound.share, before=said.logits["codec"], again=again)

    on_real, real_penalty = judged(sound.real, REAL)
    found = {}
    for name, fake in fakes.items():
        on_fake, fake_penalty = judged(fake.detach(), name)
        parts = {
            "loss": discriminator_loss(
                on_real.heads, on_fake.heads, objective=game.config.objective_ear, smoothing=game.config.smoothing
            )
        }
        if real_penalty is not None and fake_penalty is not None:
            parts["penalty"] = real_penalty + fake_penalty
        found[name] = Verdicts(torch.stack(list(parts.values())).sum(), parts, on_real, on_fake)
    return found


def judge_sound(
    judges: Discriminator_with_mdisc,
    autoencoder: VariationalEncoderDecoder,
    spectrum: Tensor,
    *,
    once: Once | None = None,
    name: str = "",
) -> Judgement:
    """The ear on a spectrum, and on its waveform where it has windows for that.

    Real sound is given a reconstructed phase too: its own would tell it apart by what the decoder cannot change.

    Parameters
    ----------
    spectrum : Tensor [shape=(batch, frames, values)]
        Normalised.
    once : Once, optional
        Of the micro-batch, if the same sound is judged more than once in a step.
    name : str
        By which `once` knows the sound; `REAL` of real sound.
    """
    if not judges.ear.wave_windows:
        return judges.ear(spectrum=spectrum)

    def wave() -> Tensor:
        return held_waveform(autoencoder, spectrum, once=once, name=name)

    if once is None:
        return judges.ear(spectrum=spectrum, wave=wave())
    if name == REAL:
        return judges.ear(spectrum=spectrum, planes=once("planes", lambda: judges.ear.planes(wave())))
    heard = wave()
    planes = [
        once.following(
            f"wave of {name}", heard, f"planes of {name}, {window}", partial(compressed_planes, window=window)
        )
        for window in judges.ear.wave_windows
    ]
    return judges.ear(spectrum=spectrum, planes=planes)


def held_waveform(
    autoencoder: VariationalEncoderDecoder, spectrum: Tensor, *, once: Once | None = None, name: str = ""
) -> Tensor:
    """Waveform of a normalised spectrum; the gradient passes through its magnitudes, the phase is held.

    `once` and `name` as for `judge_sound`: all waveforms of one name have the same phase.
    """

    def sounding(spectrum: Tensor) -> Tensor:
        levels = autoencoder.channel_levels(spectrum)

        def phase() -> Tensor:
            return constant_phase(
                levels.log_magnitude,
                iterations=2,
                floor=MAGNITUDE_FLOOR,
                coherence=levels.coherence,
                kernels=phase_kernels(spectrum.device),
            )

        held = phase() if once is None else once(f"phase of {name}", phase)
        return with_phase(levels.log_magnitude, held, floor=MAGNITUDE_FLOOR)

    return sounding(spectrum) if once is None else once.following(name, spectrum, f"wave of {name}", sounding)


def phase_kernels(device: torch.device) -> "PhaseKernels | None":
    """The compiled loops that look for a phase, on a CPU that has them; the first call waits for them."""
    found = compiled.kernels() if device.type == "cpu" else None
    return None if found is None else found.phase


def music_of_real(game: Game, sound: SoundBatch) -> MusicFeatures:
    """What the music losses hear in the real sound."""
    return sound.once("music", lambda: music_features(sound.waveforms, game.generator.sample_rate))


def rebuilt_spectrum(game: Game, sound: SoundBatch) -> Tensor:
    """Spectrum of the decoder's reconstruction, without gradient."""
    return sound.once("rebuilt", lambda: sound.once.live("rebuilt", lambda: rebuild(game, sound)).detach())


def composed_spectrum(game: Game, batch: Both, draw: Tensor) -> Tensor:
    """Spectrum of the end of one-step compositions, without gradient."""

    def make() -> Tensor:
        return batch.sound.once.live("composed", lambda: decode_end(game, batch, draw)).detach()

    return batch.sound.once("composed", make)


def drawn_composition(game: Game, batch: Composition) -> Tensor:
    """A one-step composition (batch, frames, latent_dim) from the first seed, without gradient."""
    return batch.once("draw a", lambda: batch.once.live("draw a", lambda: first_draw(game, batch)).detach())


def spectrum_distance(autoencoder: VariationalEncoderDecoder, made: Tensor, real: Tensor) -> Tensor:
    """How far two normalised spectra (batch, frames, values) are apart: bins, bands, the stereo image.

    `magnitude_loss`, `band_energy_loss` at its weight, and the L1 distance of level differences and coherences.
    """
    levels, real_levels = autoencoder.levels(made), autoencoder.levels(real)
    distance = spectrum_loss(levels, real_levels, energy_weight=ENERGY_WEIGHT)
    image, wanted = autoencoder.image(made), autoencoder.image(real)
    if image is None or wanted is None:
        return distance
    return distance + sum((one - other).abs().mean() for one, other in zip(image, wanted, strict=True))


def professor_verdicts(game: Game, batch: Composition, fake: Tensor) -> Verdicts:
    """The professor's loss: real against composed, real against mismatched, and zero-centred penalties."""
    config, objective, judges = game.config, game.config.objective_professor, game.discriminator
    crowd = game.together.crowd
    with game.autocast():
        on_real = judge_composition(judges, batch, batch.latents, is_real=True, crowd=crowd)
        on_fake = judge_composition(judges, batch, fake.detach(), is_real=False, crowd=crowd)
        loss = discriminator_loss(on_real.heads, on_fake.heads, objective=objective, smoothing=config.smoothing)
    parts = {"loss": loss, "mismatched": torch.zeros_like(loss)}  # in every process, whatever its items are
    which = batch.is_swapped
    if bool(which.any()):
        swapped = torch.where(batch.is_prefix.unsqueeze(-1), batch.latents, batch.strangers)[which]
        with game.autocast():
            on_swapped = judge_composition(judges, batch.part(which), swapped, is_real=False, crowd=crowd)
            parts["mismatched"] = (
                MISMATCH_WEIGHT
                * which.float().mean()
                * discriminator_loss(on_real.logits["whole"][which], on_swapped.logits["whole"], objective=objective)
            )
    else:
        crowd(on_real.features[-1][:0])  # other processes may have some, and wait for this one
    if penalty_is_due(game, "professor"):

        def judged(moved: Tensor, *, is_real: bool) -> list[Tensor]:
            return judge_composition(judges, batch, moved, is_real=is_real, crowd=crowd).heads

        seen = ((batch.latents, on_real, True), (fake.detach(), on_fake, False))
        penalties = [
            penalty(game, "professor", one, batch.share, before=judgement.heads, again=partial(judged, is_real=is_real))
            for one, judgement, is_real in seen
        ]
        parts["penalty"] = torch.stack(penalties).sum()
    return Verdicts(torch.stack(list(parts.values())).sum(), parts, on_real, on_fake)


def judge_composition(
    judges: Discriminator_with_mdisc,
    batch: Composition,
    latents: Tensor,
    *,
    is_real: bool,
    crowd: Callable[[Tensor], Crowd] = alone,
) -> Judgement:
    """The professor on latents diffused to this batch's level (the same noise for real and fake).

    `is_real` chooses whom minibatch discrimination compares an item with (real with real, fake with fake) and is not
    seen by the network otherwise; `crowd` puts the batches of all processes together for it.
    """
    share = batch.judge_level.unsqueeze(-1)
    seen = (1.0 - share) * latents + share * batch.judge_noise
    level = batch.judge_level.expand(-1, latents.shape[1])
    return judges.professor(seen, level, is_real=is_real, is_prefix=batch.is_prefix, crowd=crowd)


def penalty_is_due(game: Game, name: str) -> bool:
    """Whether this turn of a judge, counted by its own turns, takes the penalty."""
    return game.config.penalty > 0 and game.judges_turn % PENALTY_EVERY[name] == 0


def penalty(
    game: Game, name: str, seen: Tensor, share: Share, *, before: Logits, again: Callable[[Tensor], Logits]
) -> Tensor:
    """lambda |D(y) - D(y + size n)|^2, for gamma = penalty x dimensions / 12288 (R3GAN, arXiv 2501.05441).

    Parameters
    ----------
    game : Game
    name : str
        Of the judge.
    seen : Tensor [shape=(batch, ...)]
        y
    share : Share
        Which items of the step's batch these are: each has noise of its own.
    before : Tensor or list of Tensor
        D(y), already taken.
    again : callable
        Gives D of what was moved.
    """
    size = 0.1 if game.precision == "bf16" else 0.02  # bf16 logits cannot resolve a shorter step
    moved = seen + size * share.of_noise(game.step, f"{name} penalty", seen)
    with game.autocast():
        after = again(moved)
    gamma = game.config.penalty * game.factor("penalty") * seen[0].numel() / R3GAN_DIMENSIONS
    return PENALTY_EVERY[name] * (gamma / (2.0 * size**2)) * finite_difference_penalty(before, after)


# --- the generator ----------------------------------------------------------------------------------------------------


def decoder_turn(game: Game, sound: SoundBatch) -> Turn:
    """The decoder's: reconstruction, adversary and feature matching, each with its share of the gradient."""
    autoencoder, opening = game.generator.autoencoder, game.step.opening
    fake = sound.once.live("rebuilt", lambda: rebuild(game, sound))
    if opening.is_alone:
        reconstruction = spectrum_distance(autoencoder, fake, sound.real)
        return Turn(reconstruction, {"ear_reconstruction": reconstruction})
    with game.autocast():
        on_fake = judge_sound(game.discriminator, autoencoder, fake, once=sound.once, name="rebuilt")
        with torch.no_grad():
            on_real = judge_sound(game.discriminator, autoencoder, sound.real, once=sound.once, name=REAL)
        terms = {
            "reconstruction": spectrum_distance(autoencoder, fake, sound.real),
            "adversarial": generator_adversarial_loss(
                on_real.heads, on_fake.heads, objective=game.config.objective_ear
            ),
            "feature_matching": feature_matching_loss(
                real_maps=on_real.features, fake_maps=on_fake.features, mean=game.together.mean
            ),
        }
    ramp = {"reconstruction": 1.0, "adversarial": opening.ramp, "feature_matching": opening.ramp}
    shares = {name: EAR_SHARES[name] * ramp[name] for name in terms}
    total, norms = balanced(fake, terms, shares, together=game.together)
    return Turn(
        total,
        {f"ear_{name}": value for name, value in terms.items()}
        | {f"ear_gradient_{name}": norm for name, norm in norms.items()},
    )


def shortcut_turn(game: Game, batch: Composition, draws: tuple[Tensor, Tensor] | None = None) -> Turn:
    """Adversary and energy score for the one-step block; the energy score alone while the generator learns alone.

    `draws` are compositions from both seeds, where they were made already.
    """
    weights = game.config.loss_weights
    draw_a, draw_b = draws or both_draws(game, batch)
    if game.step.opening.is_alone:
        with game.autocast():
            score = energy_score_loss(draw_a, draw_b, batch.latents)
        return Turn(weights["energy_score"] * score, {"energy_score": score})
    factors = {
        "adversarial": weights.get("adversarial", 1.0) * game.step.opening.ramp,
        "energy_score": weights.get("energy_score", 0.0) * game.factor("energy_score"),
    }
    gradients = GradientNorms("professor_gradient", factors)
    with game.autocast():
        judged = gradients.tap("adversarial", draw_a)
        crowd = game.together.crowd
        on_fake = judge_composition(game.discriminator, batch, judged, is_real=False, crowd=crowd)
        with torch.no_grad():
            on_real = judge_composition(game.discriminator, batch, batch.latents, is_real=True, crowd=crowd)
        terms = {
            "adversarial": generator_adversarial_loss(
                on_real.heads, on_fake.heads, objective=game.config.objective_professor
            ),
            "energy_score": energy_score_loss(gradients.tap("energy_score", draw_a), draw_b, batch.latents),
        }
    total = torch.stack([factors[name] * value for name, value in terms.items()]).sum()

    def settle(parts: int) -> dict[str, Tensor]:
        found = gradients.terms(scale=parts)
        return {name: norm_of_whole(game.together, norm) for name, norm in found.items()}

    return Turn(total, terms, settle)


def joint_turn(game: Game, batch: Both) -> Turn:
    """Compose, decode a crop of it, and answer to both judges, the data and the music losses."""
    draws = both_draws(game, batch.composition)
    composed, sound = shortcut_turn(game, batch.composition, draws), joint_sound_turn(game, batch, draws[0])
    return Turn(composed.total + sound.total, composed.terms | sound.terms, composed.settle)


def joint_sound_turn(game: Game, batch: Both, draw: Tensor) -> Turn:
    """Reconstruction (weight 1), the ear on composed sound, and the music losses as weighted in the config.

    The reconstruction alone while the generator learns alone. `draw` is a composition from the first seed.
    """
    autoencoder, sound, opening = game.generator.autoencoder, batch.sound, game.step.opening
    rebuilt = sound.once.live("rebuilt", lambda: rebuild(game, sound))
    reconstruction = spectrum_distance(autoencoder, rebuilt, sound.real)
    if opening.is_alone:
        return Turn(reconstruction, {"reconstruction": reconstruction})
    # Dropout thins out this composition otherwise than the one that the ear has learned from: it is another sound.
    once = Once() if game.config.model.dropout else sound.once
    composed = once.live("composed", lambda: decode_end(game, batch, draw))
    with game.autocast():
        on_fake = judge_sound(game.discriminator, autoencoder, composed, once=once, name="composed")
        with torch.no_grad():
            on_real = judge_sound(game.discriminator, autoencoder, sound.real, once=sound.once, name=REAL)
    adversarial = generator_adversarial_loss(on_real.heads, on_fake.heads, objective=game.config.objective_ear)
    terms = {"reconstruction": reconstruction, "ear_adversarial": adversarial}
    total = reconstruction + JOINT_EAR_WEIGHT * opening.ramp * adversarial
    weights = music_weights(game, MUSIC_TERMS)
    if any(weights.values()):
        outputs = StepOutputs(
            real=music_of_real(game, sound),
            fake=held_waveform(autoencoder, composed, once=once, name="composed"),
            sample_rate=game.generator.sample_rate,
        )
        music = evaluate_terms(MUSIC_TERMS, everybodys(game, outputs), weights)
        terms |= music
        total = total + sum(weights[name] * value for name, value in music.items())
    return Turn(total, terms)


def both_draws(game: Game, batch: Composition) -> tuple[Tensor, Tensor]:
    """One-step compositions (batch, frames, latent_dim) from both seeds."""
    draw_a = batch.once.live("draw a", lambda: first_draw(game, batch))
    with game.autocast():
        return draw_a, compose(game.generator, batch, batch.noise_b)


def first_draw(game: Game, batch: Composition) -> Tensor:
    """A one-step composition (batch, frames, latent_dim) from the first seed."""
    with game.autocast():
        return compose(game.generator, batch, batch.noise_a)


def compose(generator: VariationalAttentionModel, batch: Composition, noise: Tensor) -> Tensor:
    """One-step compositions (batch, frames, latent_dim); given frames keep their real latents."""
    level = torch.where(batch.is_prefix, batch.given, torch.ones_like(batch.given))
    return generator(noise, level, batch.latents, batch.condition)


def decode_end(game: Game, batch: Both, draw: Tensor) -> Tensor:
    """Spectrum of the end of one-step compositions (batch, frames, latent_dim), as long as the batch's real sound."""
    with game.autocast():
        return game.generator.decode_spectrum(draw[:, -batch.sound.latents.shape[1] :])


def rebuild(game: Game, sound: SoundBatch) -> Tensor:
    """Spectrum of the decoder's reconstruction."""
    with game.autocast():
        return game.generator.autoencoder.decoder(sound.latents)


def rebuild_ahead(game: Game, sound: SoundBatch) -> None:
    """Keep the reconstruction with its way back: ear and decoder hear the same one."""
    sound.once.keep("rebuilt", rebuild(game, sound))


def compose_ahead(game: Game, batch: Composition) -> None:
    """Keep the first composition with its way back; not where dropout gives another one each time."""
    if not game.config.model.dropout:
        batch.once.keep("draw a", first_draw(game, batch))


def both_ahead(game: Game, batch: Both) -> None:
    """Keep reconstruction and composition with their ways back."""
    rebuild_ahead(game, batch.sound)
    if not game.config.model.dropout:
        draw = first_draw(game, batch.composition)
        batch.composition.once.keep("draw a", draw)
        batch.sound.once.keep("composed", decode_end(game, batch, draw))


def balanced(
    output: Tensor, terms: dict[str, Tensor], shares: dict[str, float], *, together: Together
) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss whose gradient at `output` gives each term its share (EnCodec, arXiv 2210.13438).

    Returns
    -------
    Tensor
        Its gradient is scaled to the size of the first term's; its value says nothing.
    dict
        Norm of the gradient that each term had by itself, at the outputs of all processes.
    """
    gradients = {
        name: torch.autograd.grad(value, output, retain_graph=True)[0] for name, value in terms.items() if shares[name]
    }
    norms = {name: norm_of_whole(together, gradient.norm()) for name, gradient in gradients.items()}
    size = norms[next(iter(terms))]
    whole = sum(shares.values())
    mixed = sum(
        shares[name] / whole * gradient * size / norms[name].clamp_min(1e-12) for name, gradient in gradients.items()
    )
    return (output * mixed).sum(), norms


# --- small things -----------------------------------------------------------------------------------------------------


def decoder_parameters(autoencoder: VariationalEncoderDecoder) -> list[Tensor]:
    """What moves when only the decoder learns."""
    return list(autoencoder.decoder.parameters())


def check_loss_weights(weights: Mapping[str, float]) -> None:
    """Refuse a loss that does not exist, before anything is trained; raises ConfigError."""
    known = [*SHORTCUT_TERMS, *MUSIC_TERMS]
    for name in weights:
        if name not in known:
            raise ConfigError(
                f"loss_weights.{name} is not a loss.{meant(name, known).replace(' mean ', ' mean loss_weights.')}"
            )


def everybodys(game: Game, outputs: StepOutputs) -> StepOutputs:
    """Real and generated music of all processes, heard where it is: music losses compare whole batches."""
    heard = share_music_features(outputs)
    real, fake = (MusicFeatures(*map(game.together.whole, music)) for music in (heard.real, heard.fake))
    return heard._replace(real=real, fake=fake)


def music_weights(game: Game, table: Mapping[str, Term]) -> dict[str, float]:
    """Weights of the music losses that a table (the generator's or the judges') knows."""
    return {name: weight for name, weight in game.config.loss_weights.items() if name in MUSIC_TERMS and name in table}
