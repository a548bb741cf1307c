"""What training shows for itself: samples at every save, and a gate after every stage.

A gate is a measurement on music never trained on, with the bound it should meet; it warns, it does not stop.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from piano.evaluation.metrics import (
    diversity,
    feature_matrix,
    gate_two,
    log_magnitude_ratio,
    pitch_found_share,
)
from piano.evaluation.pictures import constant_q_grid
from piano.evaluation.score_generator import reconstruct_clips
from piano.evaluation.training_pictures import (
    LOSS_NAME,
    REAL_FAKE_NAME,
    draw_losses,
    draw_real_fake,
    judge_objectives,
)
from piano.foundation.audio_io import write_audio
from piano.foundation.run_log import read_history
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.piano_train import Composition, compose, draw_composition, judge_composition
from piano.training_run import Step, TrainingRun

CLIP_SECONDS = 8.0
MAX_CLIPS = 24
STEP_CHOICES = (1, 2, 4, 8, 16)
ONE_STEP_TOLERANCE = 1.1
"""Fewer sampling steps are preferred while their kernel distance stays within this factor of the best."""
MIN_DIVERSITY = 0.7
SEED = 1234


class Gate(NamedTuple):
    """One gate's verdict."""

    name: str
    passed: bool
    figures: dict[str, Any]
    advice: str

    def sentence(self) -> str:
        """One line for the screen."""
        shown = ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                          for name, value in self.figures.items())  # fmt: skip
        return f"{self.name} {'passed' if self.passed else 'NOT passed'}: {shown}" + (
            "" if self.passed else f". {self.advice}"
        )


class Gatekeeper:
    """Writes samples and judges stages of a run.

    Parameters
    ----------
    folder : Path
        The run's checkpoint folder.
    sample_seconds : float
    sample_count : int
    """

    def __init__(self, folder: Path, *, sample_seconds: float, sample_count: int) -> None:
        self.folder = Path(folder)
        self.sample_seconds = sample_seconds
        self.sample_count = sample_count

    @torch.inference_mode()
    def write_samples(self, run: TrainingRun) -> None:
        """Samples from fixed noise and one continuation of a validation fragment, as WAV, and their picture."""
        generator = run.average.network
        folder = self.folder / "samples"
        steps = sampling_steps(run)
        half = self.sample_seconds / 2
        start = run.validation_set.crop(0, 0, round(half * generator.sample_rate)).to(run.runtime.device)
        sounds = {f"sample_{index}": generator.generate(self.sample_seconds, seed=SEED + index, steps=steps)[0]
                  for index in range(self.sample_count)}  # fmt: skip
        continuation = generator.continue_(start, half, seed=SEED, steps=steps)
        sounds["continuation"] = torch.cat([start, continuation], dim=-1)
        rows = {}
        for name, sound in sounds.items():
            waveform = sound.float().cpu().numpy()
            write_audio(folder / f"epoch_{run.epoch:04d}_{name}.wav", waveform, generator.sample_rate)
            rows[f"epoch {run.epoch}, {run.stage}, {steps} steps: {name.replace('_', ' ')}"] = waveform
        constant_q_grid(rows, generator.sample_rate, folder / f"epoch_{run.epoch:04d}.png")
        waveforms = dict(zip(sounds, rows.values(), strict=True))
        pictures = self.draw_pictures(run, waveforms["sample_0"])
        run.log.show(run.total_step, waveforms, pictures, sample_rate=generator.sample_rate)

    def draw_pictures(self, run: TrainingRun, sample: np.ndarray) -> dict[str, Path]:
        """real_fake.png, with a composition (channels, samples) once the flow has begun, and loss.png."""
        rate = run.average.network.sample_rate
        clips = validation_clips(run.validation_set, self.sample_seconds, rate)
        pairs = {"reconstruction": (clips[0], reconstruct_clips(run.average.network, clips[:1])[0])}
        if run.stage != "autoencoder":
            pairs["composition"] = (clips[-1], sample)
        pictures = {
            "real_fake": draw_real_fake(pairs, rate, self.folder / REAL_FAKE_NAME),
            "loss": draw_losses(read_history(self.folder), self.folder / LOSS_NAME,
                                smoothing=run.config.smoothing, objectives=judge_objectives(run.config)),
        }  # fmt: skip
        return {name: path for name, path in pictures.items() if path}

    def judge_stage(self, run: TrainingRun, stage: str) -> None:
        """Measure the gate of a finished stage on validation music; write and say the verdict."""
        if not run.runtime.is_main or not run.stage_step:
            return
        judges = {
            "autoencoder": judge_reconstruction, "flow": judge_flow, "judges": judge_judges,
            "ear": judge_ear, "professor": judge_one_step, "joint": judge_one_step,
        }  # fmt: skip
        gate = judges[stage](run)
        run.event(
            "gate",
            name=gate.name,
            passed=gate.passed,
            advice="" if gate.passed else gate.advice,
            **gate.figures,
        )
        tqdm.write(gate.sentence())


def sampling_steps(run: TrainingRun) -> int:
    """Steps for samples on the way: what was judged best once that is known, sixteen before."""
    return int(run.average.network.default_steps) if "professor" in run.finished_stages else 16


def validation_clips(dataset: AudioDataset, seconds: float, sample_rate: int) -> list[np.ndarray]:
    """Clips (channels, samples) spread over the validation set, two or more even if it holds a single pair."""
    samples = min(round(seconds * sample_rate), dataset.samples // 2)
    return [
        dataset.crop(pair, (dataset.samples - samples) * is_end, samples).numpy()
        for pair, is_end in clip_places(len(dataset))
    ]


def clip_places(pairs: int) -> list[tuple[int, bool]]:
    """Where validation clips lie: index of the pair, and whether at its end. Ends only if there are few pairs."""
    places = [(index, False) for index in range(pairs)]
    if len(places) < MAX_CLIPS:
        places += [(index, True) for index in range(pairs)]
    chosen = np.linspace(0, len(places) - 1, min(MAX_CLIPS, len(places))).round().astype(int)
    return [places[choice] for choice in chosen]


def clip_labels(dataset: AudioDataset) -> list[str] | None:
    """The recording of every validation clip, so that clips of one piece are not compared with each other.

    None where the data set does not know, or has one recording only: then there would be nothing to compare.
    """
    if dataset.labels is None:
        return None
    labels = [dataset.labels[pair] for pair, _ in clip_places(len(dataset))]
    return labels if len(set(labels)) > 1 else None


def judge_reconstruction(run: TrainingRun) -> Gate:
    """G1: R and P of reconstructions of validation music."""
    figures = reconstruction_figures(run)
    bounds = {"tiny": (0.30, 0.7)}.get(run.config.preset, (0.15, 0.9))
    passed = figures["R"] <= bounds[0] and figures["P"] >= bounds[1]
    run.controllers["R_before_ear"] = figures["R"]
    return Gate("G1 reconstruction", passed, figures,
                f"R should be at most {bounds[0]}, P at least {bounds[1]}: train longer")  # fmt: skip


def reconstruction_figures(run: TrainingRun) -> dict[str, float]:
    """R, P and the share of latent dimensions in use, on validation music."""
    generator = run.average.network
    clips = validation_clips(run.validation_set, CLIP_SECONDS, generator.sample_rate)
    generator.eval()
    again = reconstruct_clips(generator, clips)
    rate = generator.sample_rate
    with torch.inference_mode():
        means = torch.cat([generator.autoencoder.encoder(torch.from_numpy(clip)[None].to(run.runtime.device))[0][0]
                           for clip in clips])  # fmt: skip
    return {
        "R": log_magnitude_ratio(
            reconstruction=again, original=clips, sample_rate=rate, files=clip_labels(run.validation_set)
        ),
        "P": pitch_found_share(reconstruction=again, original=clips, sample_rate=rate),
        "active_dimensions": float((means.var(dim=0) > 0.1).float().mean()),
    }


def compose_clips(
    generator: VariationalAttentionModel, count: int, samples: int, *, steps: int
) -> list[np.ndarray]:
    """`count` new clips (channels, samples) from fixed seeds."""
    generator.eval()
    frames = -(-samples // generator.hop_samples)
    latents = generator.sample_latents(frames, count=count, seed=SEED, steps=steps)
    return decode_clips(generator, latents, samples, steps=steps)


@torch.inference_mode()
def decode_clips(
    generator: VariationalAttentionModel, latents: Tensor, samples: int, *, steps: int = 16
) -> list[np.ndarray]:
    """Clips (channels, samples) of whitened latents (count, frames, latent_dim), finished as compositions are."""
    return [generator.decode(latent.unsqueeze(0), texture_seed=item, steps=steps)[0, :, :samples].cpu().numpy()
            for item, latent in enumerate(latents)]  # fmt: skip


def judge_samples(run: TrainingRun, step_choices: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """Gate G2's figures for numbers of sampling steps, with diversity."""
    generator = run.average.network
    real = validation_clips(run.validation_set, CLIP_SECONDS, generator.sample_rate)
    samples = real[0].shape[-1]
    clips = {steps: compose_clips(generator, len(real), samples, steps=steps) for steps in step_choices}
    frames = -(-samples // generator.hop_samples)
    white = torch.randn(
        len(real), frames, generator.latent_dim, generator=torch.Generator().manual_seed(SEED)
    )
    noise = decode_clips(generator, white.to(run.runtime.device), samples)
    labels = clip_labels(run.validation_set)
    verdict = gate_two(clips, real, noise, generator.sample_rate, real_files=labels)
    figures: dict[str, Any] = {f"distance_{steps}": value for steps, value in verdict.distances.items()}
    figures |= {"distance_noise": verdict.noise_distance, "silence_real": verdict.real_silence_share}
    figures |= {f"silence_{steps}": value for steps, value in verdict.silence_shares.items()}
    real_features = feature_matrix(real, generator.sample_rate)
    for steps in (min(step_choices), max(step_choices)):
        figures[f"diversity_{steps}"] = diversity(
            generated=feature_matrix(clips[steps], generator.sample_rate),
            real=real_features,
            real_files=labels,
        )
    return verdict, figures


def judge_flow(run: TrainingRun) -> Gate:
    """G2: samples of the flow are at most half as far from real music as decoded noise."""
    verdict, figures = judge_samples(run, (1, 16))
    run.controllers["distance_flow"] = verdict.distances[16]
    set_default_steps(run, 16)
    run.score(verdict.distances[16], steps=16)
    return Gate("G2 flow", verdict.passed_by_steps[16], figures,
                "sixteen-step samples should be at most half as far from real music as decoded noise: "
                "train the flow longer, or lower its learning rate")  # fmt: skip


def judge_one_step(run: TrainingRun) -> Gate:
    """G5: one step is as good as many, and as varied; the fewest steps that are become the default."""
    choices = STEP_CHOICES if run.stage == "joint" else (1, 4, 16)
    verdict, figures = judge_samples(run, choices)
    best = min(verdict.distances.values())
    good = [steps for steps in choices if verdict.distances[steps] <= ONE_STEP_TOLERANCE * best]
    set_default_steps(run, good[0])
    run.score(verdict.distances[good[0]], steps=good[0])
    figures["default_steps"] = good[0]
    is_varied = figures["diversity_1"] >= MIN_DIVERSITY
    advice = f"{good[0]} sampling steps are the default"
    if not verdict.passed_by_steps[1]:
        advice += "; one step is not there yet: train the professor stage longer"
    elif not is_varied:
        advice += "; one step is good but not varied enough: raise loss_weights.energy_score, or train longer"
    return Gate("G5 one step", verdict.passed_by_steps[1] and is_varied, figures, advice)


def set_default_steps(run: TrainingRun, steps: int) -> None:
    """What `--steps auto` will mean."""
    for network in (run.generator, run.average.network):
        network.default_steps.fill_(steps)


@torch.inference_mode()
def judge_judges(run: TrainingRun) -> Gate:
    """G3: how often the professor ranks real validation music above a composition."""
    step = Step((SEED, "gate"), 0, 1.0)
    frames = run.settings("professor").frames
    batch: Composition = draw_composition(run, step, "professor", split="validation")
    real = judge_composition(run, batch, batch.latents, is_real=True, remember=False).per_item()
    fake = judge_composition(
        run, batch, compose(run, batch, batch.noise_a), is_real=False, remember=False
    ).per_item()
    accuracy = float((real.unsqueeze(1) > fake.unsqueeze(0)).float().mean())
    return Gate("G3 judges", accuracy >= 0.65, {"accuracy": accuracy, "frames": frames},
                "the judges can hardly tell real from made: check that gradients reach them")  # fmt: skip


def judge_ear(run: TrainingRun) -> Gate:
    """G4: the ear must not cost more than a tenth of the reconstruction."""
    figures = reconstruction_figures(run)
    before = run.controllers.get("R_before_ear", figures["R"])
    return Gate("G4 ear", figures["R"] <= 1.1 * before, figures,
                "reconstruction got worse by more than a tenth: lower the ear's share")  # fmt: skip
