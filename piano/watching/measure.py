"""What a run's step lines cannot tell, measured at the end of a window on fixed noise and fixed music.

Everything is drawn by keys of its own and nothing is learned: a run measured and one left alone end up the same.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from piano.discriminator import Judgement
from piano.piano_pretrain import NoisyLatents, draw_levels, flow_pass
from piano.piano_train import Composition, compose, draw_composition, judge_composition, judge_sound
from piano.stages import STAGE
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun

COUNT = 16
"""Items of a measurement."""
PROBE_COUNT = 4
"""Noise levels at which the professor sees each probe."""
SPECTRUM_FRAMES = 32
"""Latent frames of a composition that are decoded to see what it sounds like as a whole."""
FLOW_STEPS = 4
SILENT_DBFS = -60.0
"""A crop of a second of training music below this counts as silent: the ruler's bound for 50 ms
(`evaluation.spectra.SILENCE_DB`); preparation's is -66 dB (`foundation.levels`), the losses have a ramp
(`foundation.music_statistics.silence_share`)."""
DATA_CROPS = 64
NEIGHBOUR_FRAMES, NEIGHBOUR_LIBRARY, NEIGHBOUR_PLACES = 16, 4096, 4
"""Length of the passages looked up in the training set, how many of its own are looked through, and how many are
taken from each composition."""
PROBE_TONE_HERTZ, PROBE_LEVEL = 1000.0, 0.125
"""Root mean square of the probes that sound: -18 dBFS, the level of prepared music."""


def measure(run: TrainingRun) -> dict[str, float]:
    """The signals of the present stage; nothing where a stage has none. The main process measures."""

    def signals() -> dict[str, float]:
        found: dict[str, float] = {}
        with at_rest(run):
            for name in STAGE[run.stage].signals:
                found |= SIGNALS[name](run)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    return run.runtime.asked_of_main(signals)


@contextmanager
def at_rest(run: TrainingRun) -> Iterator[None]:
    """Networks as they judge and compose, without gradients; as they were, afterwards."""
    modules = [module for network in (run.generator, run.discriminator) for module in network.modules()]
    modes = [module.training for module in modules]
    run.generator.eval()
    run.discriminator.eval()
    try:
        with torch.no_grad(), run.runtime.autocast():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def fixed_step(run: TrainingRun) -> Step:
    """The random numbers of every measurement of a run."""
    return Step((run.config.seed, "doctor"), 0, 1.0)


# --- the data --------------------------------------------------------------------------------------------------------


def data_signals(run: TrainingRun) -> dict[str, float]:
    """Share of silent crops, and number of different songs (two will do to know that there is not only one)."""
    dataset, step = run.data.sets["training"], fixed_step(run)
    samples = min(run.generator.sample_rate, dataset.samples)
    indices = torch.randint(len(dataset), (DATA_CROPS,), generator=step.random("data pair"))
    offsets = torch.randint(dataset.samples - samples + 1, (DATA_CROPS,), generator=step.random("data offset"))
    crops = dataset.crops(indices, offsets, samples).float()
    levels = 10.0 * torch.log10(crops.flatten(1).square().mean(dim=1) + 1e-12)
    first = dataset[0]
    is_same = all(torch.equal(first, dataset[index]) for index in range(1, len(dataset)))
    labels = set(dataset.labels) if dataset.labels else None
    songs = 1 if is_same else 2 if labels is None else len(labels)
    return {"data_silent": float((levels < SILENT_DBFS).float().mean()), "data_songs": float(songs)}


# --- the flow --------------------------------------------------------------------------------------------------------


def flow_signals(run: TrainingRun) -> dict[str, float]:
    """Flow loss on fixed windows of training and of validation music, and how far composed latents lie from real."""
    step, frames = fixed_step(run), run.settings("flow").frames
    found = {}
    for split in ("training", "validation"):
        latents = run.data.draw_latents(step, COUNT, frames, split=split)
        level = draw_levels(step, COUNT, frames).to(latents.device)
        noise = step.noise("flow noise", *latents.shape).to(latents.device)
        condition = run.generator.condition_on(run.generator.style.describe(latents), frames)
        found[f"flow_{split}"] = float(flow_pass(run.game(step), NoisyLatents(latents, level, noise, condition)))
    real = run.data.draw_latents(step, COUNT, frames)
    made = run.composer(run.generator, seed=run.config.seed, steps=FLOW_STEPS).sample_latents(frames, count=COUNT)
    return found | {"prior_gap": frechet_gap(made, real)}


def frechet_gap(made: Tensor, real: Tensor) -> float:
    """Frechet distance of the frames of two sets of latents (items, frames, latent_dim), per dimension.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) for means m and covariances C (Dowson and Landau 1982).
    """
    means, covariances = [], []
    for latents in (made, real):
        flat = latents.float().flatten(0, 1).cpu().double()
        means.append(flat.mean(dim=0))
        covariances.append(flat.T.cov())
    values = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.clamp_min(0.0)
    traces = covariances[0].trace() + covariances[1].trace() - 2.0 * values.sqrt().sum()
    return float(((means[0] - means[1]).square().sum() + traces) / len(means[0]))


# --- the judges ------------------------------------------------------------------------------------------------------


def probe_waveforms(run: TrainingRun, samples: int) -> dict[str, Tensor]:
    """White noise, silence and a tone, each (1, channels, samples)."""
    step, channels = fixed_step(run), run.generator.sound_channels
    time = torch.arange(samples) / run.generator.sample_rate
    tone = math.sqrt(2.0) * PROBE_LEVEL * torch.sin(2.0 * math.pi * PROBE_TONE_HERTZ * time)
    sounds = {
        "noise": PROBE_LEVEL * step.noise("probe", 1, channels, samples),
        "silence": torch.zeros(1, channels, samples),
        "tone": tone.expand(1, channels, -1),
    }
    return {name: sound.to(run.runtime.device) for name, sound in sounds.items()}


def verdicts(
    family: str, *, training: Judgement, validation: Judgement, fake: Judgement, probes: list[Judgement]
) -> dict[str, float]:
    """What a judge's verdicts on fixed batches say about it.

    `accuracy`: how often it ranks a real item above a fake one, 0.5 by chance. `probes`: the probability it gives to
    what nobody takes for music, the middle of real and fake as origin. `overfitting`: (D(train) - D(held out)) /
    (D(train) - D(fake)) in logits (StyleGAN-ADA, arXiv 2006.06676),
    where the judge tells train from fake by more than twice the uncertainty of that.
    """
    train, held, fakes = (judged.per_item().float() for judged in (training, validation, fake))
    origin = 0.5 * (held.mean() + fakes.mean())
    shares = torch.stack([(probe.per_item().float() - origin).sigmoid().mean() for probe in probes])
    ranks = (train.unsqueeze(1) > fakes.unsqueeze(0)).float() + 0.5 * (train.unsqueeze(1) == fakes).float()
    found = {f"{family}_probes": float(shares.mean()), f"{family}_accuracy": float(ranks.mean())}
    lead = float(train.mean() - fakes.mean())
    error = float((train.var() / len(train) + fakes.var() / len(fakes)).sqrt()) if len(train) > 1 else math.inf
    if lead > 2.0 * error:
        found[f"{family}_overfitting"] = float(train.mean() - held.mean()) / lead
    return found


def ear_signals(run: TrainingRun) -> dict[str, float]:
    """The ear on reconstructions of training music, on held-out music and on probes."""
    step, frames, autoencoder = fixed_step(run), run.settings("ear").frames, run.generator.autoencoder
    samples = frames * run.generator.hop_samples
    spectra = {"training": autoencoder.analyse(run.data.draw_waveforms(step, COUNT, frames))}
    held = run.data.sets["validation"]
    indices = torch.randint(len(held), (COUNT,), generator=step.random("held out pair"))
    offsets = torch.randint(held.samples - samples + 1, (COUNT,), generator=step.random("held out offset"))
    spectra["validation"] = autoencoder.analyse(held.crops(indices, offsets, samples).to(run.runtime.device))
    spectra["fake"] = autoencoder.decoder(autoencoder.encoder(spectra["training"])[0])
    judged = {name: judge_sound(run.discriminator, autoencoder, spectrum) for name, spectrum in spectra.items()}
    probes = [autoencoder.analyse(sound) for sound in probe_waveforms(run, samples).values()]
    order = torch.randperm(spectra["validation"].shape[1], generator=step.random("shuffle"))
    probes.append(spectra["validation"][:, order.to(run.runtime.device)])
    return verdicts("ear", probes=[judge_sound(run.discriminator, autoencoder, probe) for probe in probes], **judged)


def professor_signals(run: TrainingRun) -> dict[str, float]:
    """The professor on compositions, on held-out music and on probes, all diffused to the same levels."""
    step = fixed_step(run)
    batches = {split: draw_composition(run, step, run.stage, split=split) for split in ("training", "validation")}
    judged = {
        split: judge_composition(run.discriminator, batch, batch.latents, is_real=True)
        for split, batch in batches.items()
    }
    batch = batches["training"]
    judged["fake"] = judge_composition(
        run.discriminator, batch, compose(run.generator, batch, batch.noise_a), is_real=False
    )
    few = batches["validation"].part(slice(0, PROBE_COUNT))
    free = few._replace(is_prefix=torch.zeros_like(few.is_prefix))
    probes = [judge_composition(run.discriminator, free, probe, is_real=False) for probe in probe_latents(run, free)]
    found = verdicts("professor", probes=probes, **judged)
    if STAGE[run.stage].own_term:
        found |= noise_spread(run, batch)
    return found


def probe_latents(run: TrainingRun, batch: Composition) -> list[Tensor]:
    """Latents of white noise, silence and a tone, and real ones out of order, each of the shape of a batch's."""
    frames = batch.latents.shape[1]
    sounds = probe_waveforms(run, frames * run.generator.hop_samples).values()
    probes = [run.generator.encode(sound)[:, :frames].expand_as(batch.latents) for sound in sounds]
    order = torch.randperm(frames, generator=fixed_step(run).random("shuffle")).to(batch.latents.device)
    return [*probes, batch.latents[:, order]]


def noise_spread(run: TrainingRun, batch: Composition) -> dict[str, float]:
    """How far two seeds' continuations of one beginning lie apart, over how far two real endings do."""
    asked = ~batch.is_prefix
    draws = [compose(run.generator, batch, noise) for noise in (batch.noise_a, batch.noise_b)]
    apart = (draws[0] - draws[1])[asked].norm(dim=-1).mean()
    real = (batch.latents - batch.latents.roll(1, dims=0))[asked].norm(dim=-1).mean()
    return {"noise_spread": float(apart / real.clamp_min(1e-9))} if float(real) > 1e-6 else {}


# --- the music -------------------------------------------------------------------------------------------------------


def spread(items: Tensor) -> float:
    """Mean distance of all pairs of items [shape=(items, values)]."""
    return float(torch.pdist(items.float().cpu()).mean())


def ratio(made: float, real: float) -> float | None:
    """Variety of what was made over that of real music; None where real music has none: then nothing can be said."""
    return made / real if real > 1e-3 else None


def pooled(latents: Tensor) -> Tensor:
    """Mean and deviation over time of latents (items, frames, latent_dim): what a clip is like as a whole."""
    return torch.cat([latents.mean(dim=1), latents.std(dim=1)], dim=1)


def composed_signals(run: TrainingRun) -> dict[str, float]:
    """Diversity of compositions from fixed noise, and how near they come to the training set."""
    frames = run.settings(run.stage).frames
    made = run.composer(run.generator, seed=run.config.seed, steps=1).sample_latents(frames, count=COUNT).float()
    return variety(run, made) | nearness(run, made)


def variety(run: TrainingRun, made: Tensor) -> dict[str, float]:
    """Mean pairwise distance of compositions (items, frames, latent_dim) over that of as many real windows.

    Once in latents as a whole, once in their mean decoded spectra; the smaller counts.
    """
    real = run.data.draw_latents(fixed_step(run), len(made), made.shape[1])
    in_latents = ratio(spread(pooled(made)), spread(pooled(real)))
    tones = [run.generator.decode_spectrum(latents[:, :SPECTRUM_FRAMES]).mean(dim=1) for latents in (made, real)]
    found = [in_latents, ratio(spread(tones[0]), spread(tones[1]))]
    return {} if None in found else {"diversity": min(value for value in found if value is not None)}


def rebuilt_variety(run: TrainingRun) -> dict[str, float]:
    """Diversity of reconstructions: mean pairwise distance of their mean spectra over that of their originals."""
    autoencoder = run.generator.autoencoder
    real = autoencoder.analyse(run.data.draw_waveforms(fixed_step(run), COUNT, run.settings("ear").frames))
    made = autoencoder.decoder(autoencoder.encoder(real)[0])
    found = ratio(spread(made.mean(dim=1)), spread(real.mean(dim=1)))
    return {} if found is None else {"diversity": found}


def nearness(run: TrainingRun, made: Tensor) -> dict[str, float]:
    """Median distance of composed passages to the nearest training passage, over that of held-out passages.

    Passages of compositions (items, frames, latent_dim) and of validation music are as many, and as long.
    """
    step, frames = fixed_step(run), NEIGHBOUR_FRAMES
    if made.shape[1] < frames:
        return {}
    library = run.data.draw_latents(step, NEIGHBOUR_LIBRARY, frames).flatten(1)
    held = run.data.draw_latents(step, NEIGHBOUR_PLACES * len(made), frames, split="validation").flatten(1)
    starts = [place * (made.shape[1] - frames) // max(NEIGHBOUR_PLACES - 1, 1) for place in range(NEIGHBOUR_PLACES)]
    own = torch.cat([made[:, start : start + frames] for start in starts]).flatten(1)
    nearest = [
        float(torch.cdist(queries.float(), library.float()).min(dim=1).values.median()) for queries in (own, held)
    ]
    return {"nearest_ratio": nearest[0] / nearest[1]} if nearest[1] > 1e-6 else {}


SIGNALS: dict[str, Callable[[TrainingRun], dict[str, float]]] = {
    "flow": flow_signals,
    "ear": ear_signals,
    "professor": professor_signals,
    "rebuilt variety": rebuilt_variety,
    "compositions": composed_signals,
}
"""What a stage may ask for (piano/stages.py)."""
