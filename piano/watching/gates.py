"""What training shows for itself: samples at every save, a gate after every stage, and the score of epochs on the way.

A gate is a measurement on music never trained on, with the bound it should meet; it warns, it does not stop.
With a time budget all of it together is kept to about three hundredths of it (`ScoreCost`).
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from tqdm import tqdm

from piano.config_reader import ModelSettings
from piano.doctor.ranges import LEAST_VARIED, MOST_VARIED, is_as_varied_as_music
from piano.doctor.stopping import standstill_of
from piano.doctor.verdict import FEWEST_STEPS
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.metrics import log_magnitude_ratio, pitch_found_share
from piano.evaluation.pictures import constant_q_grid
from piano.evaluation.score_generator import reconstruct_clips
from piano.foundation.audio_io import write_audio
from piano.foundation.doors import command
from piano.foundation.run_log import read_history
from piano.foundation.score_words import RULER_VERSION
from piano.foundation.screen_text import counted, join_names, wrapped
from piano.piano_model import VariationalAttentionModel
from piano.piano_train import Composition, compose, draw_composition, judge_composition
from piano.stages import FIRST_STAGE, LAST_STAGE, MANY_STEPS, ONE_STEP, STAGE
from piano.training.schedules import Step
from piano.training.time_budget import ENCODING
from piano.training.training_data import ENCODED_PAIRS, encode_pairs
from piano.training.training_run import TrainingRun
from piano.training.watcher import Watcher
from piano.watching.best_again import judge_best_again, wants_more_clips
from piano.watching.run_ruler import (
    CLIP_SECONDS,
    SEED,
    Measured,
    RunRuler,
    are_numbers,
    clip_labels,
    compose_clips,
    validation_clips,
)
from piano.watching.score_cost import (
    FIT,
    JUDGES,
    NOISE,
    RECONSTRUCTED_CLIPS,
    RECONSTRUCTION,
    Prices,
    ScoreCost,
    set_kind,
)
from piano.watching.training_pictures import LOSS_NAME, REAL_FAKE_NAME, draw_losses, draw_real_fake, judge_objectives

SCORES_ON_THE_WAY = 4
"""Scores in the middle of a stage of a run that is measured in epochs: where they fall depends on no clock."""
SMALL_LATENT = 1000.0
"""Latent numbers per second of music below which G1 asks for less: `tiny` has 500, `small` 1,034."""
ONE_STEP_TOLERANCE = 1.1
"""Fewer sampling steps are preferred while their kernel distance stays within this factor of the best."""
EAR_COST = 0.1
"""The ear may cost this part of the levels and of the pitches that were right before it."""
MORE_MUSIC = "prepare more music, or a larger --validation-fraction, so that there is something to hold it against"
PICTURE_SECONDS = 1.0
SAMPLES_SHARE = 0.05
"""Samples are written at the end of stages that are heard, and at other saves while they take less of the time."""
PICTURES_SHARE = 0.05
"""Of the time since they were drawn last, for loss.png and real_fake.png."""
NOISE_SHARE, SILENCE_GAP = 0.5, 0.05
"""Composed music is at most this part of decoded noise's distance from real music, and no more silent than this."""


class Gate(NamedTuple):
    """One gate's verdict."""

    name: str
    passed: bool
    figures: dict[str, Any]
    advice: str
    says: str = ""
    """What was found, in plain words with the numbers that count."""

    @property
    def sentence(self) -> str:
        """One or two sentences for the screen."""
        verdict = "passed" if self.passed else "NOT passed"
        advice = "" if self.passed or not self.advice else f" {self.advice[0].upper()}{self.advice[1:]}."
        return f"{self.name}: {verdict}. {self.says}{advice}"

    @property
    def details(self) -> str:
        """Every figure by its name, for those who ask for all of them."""
        return ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in known(self.figures).items()
        )


def known(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures without those that are no number: what could not be measured is not written down."""
    return {name: value for name, value in figures.items() if not isinstance(value, float) or math.isfinite(value)}


class Gatekeeper(Watcher):
    """Writes samples, judges stages and scores epochs of a run.

    Parameters
    ----------
    folder : Path
        The run's checkpoint folder.
    sample_seconds : float
    sample_count : int
    is_verbose : bool
        Whether the figures of a gate are said, not only what they mean.
    """

    def __init__(self, folder: Path, *, sample_seconds: float, sample_count: int, is_verbose: bool = False) -> None:
        self.folder = Path(folder)
        self.is_verbose = is_verbose
        self.sample_seconds = sample_seconds
        self.sample_count = sample_count
        self.cost = ScoreCost()
        self._ruler: RunRuler | None = None
        self._samples_cost = self._samples_spent = 0.0
        self._drawn_at, self._drawing_seconds = 0.0, 0.0
        self._stood_still: set[str] = set()

    def ruler(self, run: TrainingRun) -> RunRuler:
        """The run's validation music, measured when it is first needed: the same clips in every sitting.

        The best epoch of one sitting could not be compared with those of the next otherwise.
        """
        if self._ruler is None:
            self.cost.clips = round(run.measured.setdefault("score_clips", float(self.cost.clips)))
            with self.cost.spending(FIT):
                rate = run.generator.sample_rate
                self._ruler = RunRuler(run.data.sets["validation"], rate, most_clips=self.cost.clips)
        return self._ruler

    @property
    def known_ruler(self) -> RunRuler | None:
        """The ruler, if anything was scored in this sitting."""
        return self._ruler

    def rehearse(self, run: TrainingRun) -> None:
        """Before a run with a time budget learns anything: try what measuring and encoding take, to plan them."""
        if run.budget is None or not run.runtime.is_main:
            return
        prices = try_out(run)
        self.cost.set_prices(prices, seconds=run.budget.seconds)
        sounds = (self.sample_count + 1) * self.sample_seconds / CLIP_SECONDS
        self._samples_cost = PICTURE_SECONDS + sounds * prices.compose[16]
        run.budget.expected_gate = lambda stage: (
            self.cost.expected(stage) + (self._samples_cost if STAGE[stage].is_heard else 0.0)
        )
        run.budget.measured.setdefault(ENCODING, prices.encoding)
        self.judge_best_again(run)

    @torch.inference_mode()
    def judge_best_again(self, run: TrainingRun) -> None:
        """Where a longer run can afford far more clips than it began with: from now on those, for its best epoch too.

        Otherwise nothing is changed: `ruler` takes the clips of the sittings before.
        """
        if not wants_more_clips(run, self.cost.clips):
            return
        with self.cost.spending(FIT):
            ruler = RunRuler(run.data.sets["validation"], run.generator.sample_rate, most_clips=self.cost.clips)
        best = run.best
        with self.cost.spending(set_kind(best.steps if best else MANY_STEPS)):
            is_known = judge_best_again(run, ruler, most_clips=self.cost.clips)
        if is_known:
            self._ruler = ruler

    def after_save(self, run: TrainingRun) -> None:
        """Samples at a save; with a time budget only while they are cheap, and at the end of stages that compose."""
        is_end = STAGE[run.stage].is_heard and run.stage in run.finished_stages
        is_cheap = self._samples_spent + self._samples_cost <= SAMPLES_SHARE * run.seconds
        if run.budget is None or is_end or is_cheap:
            self._samples_cost = timed(lambda: self.write_samples(run, with_pictures=self.are_pictures_due(run)))
            self._samples_spent += self._samples_cost

    def are_pictures_due(self, run: TrainingRun) -> bool:
        """Whether loss.png and real_fake.png are drawn at this save: at the last one, and else while they are cheap."""
        past = time.monotonic() - self._drawn_at
        return LAST_STAGE in run.finished_stages or self._drawing_seconds <= PICTURES_SHARE * past

    @torch.inference_mode()
    def write_samples(self, run: TrainingRun, *, with_pictures: bool = True) -> None:
        """Samples from fixed noise and one continuation of a validation fragment, as WAV, and their picture.

        `with_pictures` draws loss.png and real_fake.png as well.
        """
        generator = run.average.network
        folder = self.folder / "samples"
        steps = sampling_steps(run)
        composer = run.composer(seed=SEED, steps=steps)
        half = self.sample_seconds / 2
        start = run.data.sets["validation"].crop(0, 0, round(half * generator.sample_rate)).to(run.runtime.device)
        sounds = {
            f"sample_{index}": run.composer(seed=SEED + index, steps=steps).generate(self.sample_seconds)[0]
            for index in range(self.sample_count)
        }
        continuation = composer.continue_(start, half)
        sounds["continuation"] = torch.cat([start, continuation], dim=-1)
        rows = {}
        for name, sound in sounds.items():
            waveform = sound.float().cpu().numpy()
            write_audio(folder / f"epoch_{run.epoch:04d}_{name}.wav", waveform, generator.sample_rate)
            rows[f"epoch {run.epoch}, {run.stage}, {steps} steps: {name.replace('_', ' ')}"] = waveform
        constant_q_grid(rows, generator.sample_rate, folder / f"epoch_{run.epoch:04d}.png")
        waveforms = dict(zip(sounds, rows.values(), strict=True))
        pictures = self.draw_pictures(run, waveforms["sample_0"]) if with_pictures else {}
        run.log.show(run.total_step, waveforms, pictures, sample_rate=generator.sample_rate)

    def draw_pictures(self, run: TrainingRun, sample: NDArray) -> dict[str, Path]:
        """real_fake.png, with a composition (channels, samples) once the flow has begun, and loss.png."""
        began, rate = time.monotonic(), run.average.network.sample_rate
        clips = validation_clips(run.data.sets["validation"], self.sample_seconds, rate)
        pairs = {"reconstruction": (clips[0], reconstruct_clips(run.average.network, clips[:1])[0])}
        if run.stage != FIRST_STAGE:
            pairs["composition"] = (clips[-1], sample)
        pictures = {
            "real_fake": draw_real_fake(pairs, rate, self.folder / REAL_FAKE_NAME),
            "loss": draw_losses(
                read_history(self.folder),
                self.folder / LOSS_NAME,
                smoothing=run.config.smoothing,
                objectives=judge_objectives(run.config),
            ),
        }
        self._drawn_at = time.monotonic()
        self._drawing_seconds = self._drawn_at - began
        return {name: path for name, path in pictures.items() if path}

    def after_stage(self, run: TrainingRun, stage: str) -> None:
        """Measure the gate of a finished stage on validation music; write and say the verdict."""
        if not run.runtime.is_main or not run.steps_taken:
            return
        gate = GATES[STAGE[stage].gate](run, self)
        run.event(
            "gate",
            name=gate.name,
            passed=gate.passed,
            advice="" if gate.passed else gate.advice,
            sentence=gate.sentence,
            **known(gate.figures),
        )
        tqdm.write(wrapped(gate.sentence))
        if self.is_verbose:
            tqdm.write(f"  {gate.details}")

    def before_save(self, run: TrainingRun) -> None:
        """In the middle of a stage that changes what compositions sound like: how far are they now? If it is due."""
        steps = STAGE[run.stage].scored_steps
        if steps and run.runtime.is_main and self.is_score_due(run, steps):
            self.keep_score(run, self.judge_steps(run, steps), steps=steps)

    def is_score_due(self, run: TrainingRun, steps: int) -> bool:
        """With a time budget whenever it is cheap; else at the first save after each fourth of a stage but the last."""
        if run.budget is not None:
            return self.cost.allows(run.stage, steps, elapsed=run.seconds)
        per_epoch, all_steps = run.steps_per_epoch(run.stage), run.stage_steps(run.stage)
        before = max(0, run.stage_step - run.config.save_after_nepochs * per_epoch)
        marks = [SCORES_ON_THE_WAY * step // max(1, all_steps) for step in (before, run.stage_step)]
        return marks[0] < marks[1] and run.stage_step < all_steps

    def judge_steps(self, run: TrainingRun, steps: int) -> Measured:
        """Compositions of the averaged weights against validation music."""
        ruler = self.ruler(run)
        with self.cost.spending(set_kind(steps)):
            return ruler.judge_generator(run.composer(seed=SEED, steps=steps))

    def keep_score(self, run: TrainingRun, judged: Measured, *, steps: int) -> None:
        """Write the score of this epoch, and let the run remember it if it is the best; without a scale say why not."""
        score, ruler = judged.kernel_score, self.ruler(run)
        measured: dict[str, Any] = {
            "steps": steps,
            "clips": len(ruler.clips),
            "songs": ruler.songs,
            "ruler": RULER_VERSION,
        }
        if not judged.is_known:
            reason = ruler.reason or "the music that was made holds something that is no number"
            run.event("no score", reason=reason, **measured)
            return
        sets = judged.sets
        figures = {
            "kernel_score": score.value,
            "kernel_distance": judged.kernel_distance,
            "low": score.low,
            "high": score.high,
            "coverage": sets.coverage.value,
            "recall": sets.recall.value,
            "diversity": judged.diversity,
            "self_similarity": judged.self_similarity,
            "self_similarity_real": ruler.self_similarity,
        }
        run.event("score", **known(figures), **measured, measuring_seconds=round(self.cost.spent, 2))
        run.score(judged.kernel_distance, steps=steps, kernel_score=score.value)
        self.say_standstill(run)

    def say_standstill(self, run: TrainingRun) -> None:
        """Once in a stage: that its scores no longer get better."""
        if run.config.doctor == "off" or run.stage in self._stood_still:
            return
        history = read_history(self.folder)
        kept = (line for line in history if line.get("stage") == run.stage or line.get("event") == "data set")
        found = standstill_of(kept)
        if found and found.is_over:
            self._stood_still.add(run.stage)
            run.event("standstill", sentence=found.sentence, best_seconds=round(found.best, 1), chance=found.chance)
            tqdm.write(wrapped(found.sentence))


def sampling_steps(run: TrainingRun) -> int:
    """Steps for samples on the way: what was judged best once that is known, sixteen before."""
    is_taught = any(STAGE[name].scored_steps == ONE_STEP for name in run.finished_stages)
    return int(run.average.network.default_steps) if is_taught else MANY_STEPS


def try_out(run: TrainingRun) -> Prices:
    """Seconds of each kind of work, with the networks as they are: it takes as long with trained ones."""
    generator, rate = run.average.network, run.generator.sample_rate
    clips = validation_clips(run.data.sets["validation"], CLIP_SECONDS, rate, most_clips=2)
    samples = clips[0].shape[-1]
    compose_clips(run.composer(seed=SEED, steps=1), 1, samples)  # the first of everything is slower
    feature_matrix(clips[:1], rate)
    training, some = run.data.sets["training"], range(min(ENCODED_PAIRS, len(run.data.sets["training"])))
    one_pair = timed(lambda: list(encode_pairs(run.generator, training, some, run.runtime))) / len(some)
    pairs = len(run.data.sets["validation"])
    heard = pairs // run.budget.encoding_stride(pairs, "validation") if run.budget else pairs
    return Prices(
        hear=timed(lambda: feature_matrix(clips, rate)) / len(clips),
        compose={
            steps: timed(lambda steps=steps: compose_clips(run.composer(seed=SEED, steps=steps), 2, samples)) / 2
            for steps in (1, 16)
        },
        reconstruct=timed(lambda: compare_reconstructions(generator, clips, None)) / len(clips),
        encoding=one_pair * len(training),
        judging=one_pair * heard,
    )


def timed(body: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = time.monotonic()
    body()
    return time.monotonic() - began


def reconstruction_bounds(model: ModelSettings) -> tuple[float, float]:
    """The largest R and the smallest P with which G1 is passed: less is asked where the latent has less room."""
    numbers_per_second = model.latent_dim * model.sample_rate / model.hop_samples
    return (0.30, 0.7) if numbers_per_second < SMALL_LATENT else (0.15, 0.9)


def judge_reconstruction(run: TrainingRun, keeper: Gatekeeper) -> Gate:
    """G1: R and P of reconstructions of validation music."""
    figures = reconstruction_figures(run, keeper)
    bounds = reconstruction_bounds(run.config.model)
    is_used = figures["active_dimensions"] > 0.0
    passed = figures["R"] <= bounds[0] and figures["P"] >= bounds[1] and is_used
    if math.isfinite(figures["R"]):
        run.measured |= known({"R_before_ear": figures["R"], "P_before_ear": figures["P"]})
    advice = "train longer, and listen to the reconstructions"
    says = reconstruction_words(figures, levels=f"at most {bounds[0]:.0%}", pitches=f"at least {bounds[1]:.0%}")
    if not is_used:
        says += " Nothing that is written down differs from sound to sound."
        advice = "look at the music: it may be silent, or one sound again and again; else train longer"
    return Gate("G1 writing sound down", passed, figures, advice, says)


def reconstruction_words(figures: dict[str, float], *, levels: str, pitches: str) -> str:
    """What R and P mean, beside what is asked."""
    if not math.isfinite(figures["R"]):
        return "How much is missed cannot be told: the validation music is silent, or one sound again and again."
    return (
        f"Played back, {figures['R']:.0%} of the levels are missed ({levels} is asked), and {figures['P']:.0%} of "
        f"the pitches are found again ({pitches} is asked)."
    )


def reconstruction_figures(run: TrainingRun, keeper: Gatekeeper) -> dict[str, float]:
    """R, P and the share of latent dimensions in use, on validation music."""
    generator, most = run.average.network, min(keeper.cost.clips, RECONSTRUCTED_CLIPS)
    clips = validation_clips(run.data.sets["validation"], CLIP_SECONDS, generator.sample_rate, most_clips=most)
    with keeper.cost.spending(RECONSTRUCTION):
        figures = compare_reconstructions(generator, clips, clip_labels(run.data.sets["validation"], most_clips=most))
        with torch.inference_mode():
            sounds = (torch.from_numpy(clip)[None].to(run.runtime.device) for clip in clips)
            means = torch.cat([generator.autoencoder.encode(sound)[0][0] for sound in sounds])
    return figures | {"active_dimensions": float((means.var(dim=0) > 0.1).float().mean())}


def compare_reconstructions(
    generator: VariationalAttentionModel, clips: list[NDArray], labels: list[str] | None
) -> dict[str, float]:
    """R and P of clips (channels, samples) through the autoencoder."""
    again, rate = reconstruct_clips(generator.eval(), clips), generator.sample_rate
    if not are_numbers(again):
        return {"R": math.nan, "P": math.nan}
    R = log_magnitude_ratio(reconstruction=again, original=clips, sample_rate=rate, files=labels)
    P = pitch_found_share(reconstruction=again, original=clips, sample_rate=rate)
    return {"R": R, "P": P if math.isfinite(R) else math.nan}  # in silence every pitch is found


class SampleGate(NamedTuple):
    """Compositions of some numbers of sampling steps, and what they are held against."""

    judged: dict[int, Measured]
    noise_distance: float
    """Kernel distance of decoded white noise."""
    real_silence: float
    reason: str = ""
    """Why nothing could be held against real music; empty where it could."""

    def words(self, steps: int) -> str:
        """How near the music is, and whether it is silent where music is not."""
        one = self.judged[steps]
        if self.reason or not one.is_known:
            return f"How near its music is cannot be told: {self.reason or 'it holds something that is no number'}."
        near = max(one.kernel_distance, 0.0) / self.noise_distance if self.noise_distance > 0.0 else math.inf
        how = f"{near:.2f} times as far from real music as decoded noise (less than {NOISE_SHARE:g} is asked)"
        silent = ""
        if abs(one.silence_share - self.real_silence) > SILENCE_GAP:
            silent = f", and {one.silence_share:.0%} of it is silent; of real music {self.real_silence:.0%}"
        return f"Music made in {counted(steps, 'step')} is {how}{silent}."

    def passes(self, steps: int) -> bool:
        """At most half as far from real music as decoded noise, and no more silent than real music?"""
        one = self.judged[steps]
        is_near = one.kernel_distance < NOISE_SHARE * self.noise_distance
        return is_near and abs(one.silence_share - self.real_silence) <= SILENCE_GAP

    def figures(self) -> dict[str, Any]:
        """What the log keeps."""
        found: dict[str, Any] = {}
        for steps, one in sorted(self.judged.items()):
            found |= {
                f"distance_{steps}": one.kernel_distance,
                f"score_{steps}": one.kernel_score.value,
                f"silence_{steps}": one.silence_share,
                f"diversity_{steps}": one.diversity,
            }
        return found | {"distance_noise": self.noise_distance, "silence_real": self.real_silence}


def judge_samples(run: TrainingRun, keeper: Gatekeeper, choices: tuple[int, ...]) -> SampleGate:
    """Measure compositions. Decoded noise is measured once: the decoder hardly moves after the autoencoder stage."""
    ruler = keeper.ruler(run)
    if "distance_noise" not in run.measured:
        with keeper.cost.spending(NOISE):
            noise = ruler.judge_decoded_noise(run.average.network)
        if noise.is_known:
            run.measured["distance_noise"] = noise.kernel_distance
    judged = {steps: keeper.judge_steps(run, steps) for steps in choices}
    return SampleGate(judged, run.measured.get("distance_noise", math.nan), ruler.silence_share, ruler.reason)


def judge_flow(run: TrainingRun, keeper: Gatekeeper) -> Gate:
    """G2: samples of the flow, by as few steps as are good, are at most half as far from music as decoded noise."""
    choices = keeper.cost.choose_steps(run.stage, STAGE[run.stage].compared_steps)
    gate = judge_samples(run, keeper, choices)
    if gate.judged[MANY_STEPS].is_known:
        run.measured["distance_flow"] = gate.judged[MANY_STEPS].kernel_distance
    default = take_fewest_steps(run, keeper, gate)
    figures = gate.figures() | {"default_steps": default}
    advice = MORE_MUSIC if gate.reason else "train the flow longer, or lower its learning rate"
    return Gate("G2 composing", gate.passes(default), figures, advice, gate.words(default))


def take_fewest_steps(run: TrainingRun, keeper: Gatekeeper, gate: SampleGate) -> int:
    """Let the fewest steps that are about as good as any be the default, and keep their score."""
    distances = {steps: one.kernel_distance for steps, one in gate.judged.items() if one.is_known}
    nearest = min(distances.values(), default=0.0)
    near = [steps for steps, distance in distances.items() if distance <= max(ONE_STEP_TOLERANCE * nearest, nearest)]
    default = min(near, default=max(gate.judged))
    set_default_steps(run, default)
    keeper.keep_score(run, gate.judged[default], steps=default)
    return default


def judge_one_step(run: TrainingRun, keeper: Gatekeeper) -> Gate:
    """G5: one step is as good as many, and as varied; the fewest steps that are become the default."""
    choices = keeper.cost.choose_steps(run.stage, STAGE[run.stage].compared_steps)
    gate = judge_samples(run, keeper, choices)
    default = take_fewest_steps(run, keeper, gate)
    figures = gate.figures() | {"default_steps": default}
    diversity = gate.judged[1].diversity
    is_varied = is_as_varied_as_music(diversity)
    says = gate.words(1)
    if gate.judged[1].is_known:
        says += f" {variety_words(diversity)}"
    says += f" The fewest steps that are about as good as any are {default}.{what_is_played(run)}"
    advice = "one step is not there yet: train the professor stage longer"
    if default == ONE_STEP:
        advice = "one step is as good as more, but none is near enough yet: train the whole run longer"
    if gate.reason:
        advice = MORE_MUSIC
    elif gate.passes(1) and not is_varied:
        advice = variety_advice(diversity)
    return Gate("G5 composing in one step", gate.passes(1) and is_varied, figures, advice, says)


def variety_words(diversity: float) -> str:
    """How varied compositions are, beside what is asked."""
    return (
        f"Its pieces differ {diversity:.2f} times as much from each other as real ones "
        f"({LEAST_VARIED:g} to {MOST_VARIED:g} is asked)."
    )


def variety_advice(diversity: float) -> str:
    """What to do about music that is near to real music, but not as varied."""
    if diversity > MOST_VARIED:
        return "one step is more varied than music, which is often noise: listen to it, and train longer"
    return "one step is good but not varied enough: raise loss_weights.energy_score, or train longer"


def what_is_played(run: TrainingRun) -> str:
    """Whether this epoch, just judged, or one before it is played from now on; empty where none was judged."""
    if run.best is None:
        return ""
    which = "this epoch, " if run.best.epoch == run.epoch else "still "
    return f" What will be played is {which}{run.best.words}."


def set_default_steps(run: TrainingRun, steps: int) -> None:
    """What `--steps auto` will mean."""
    for network in (run.generator, run.average.network):
        network.default_steps.fill_(steps)


@torch.inference_mode()
def judge_judges(run: TrainingRun, keeper: Gatekeeper) -> Gate:
    """G3: how often the professor ranks real validation music above a composition."""
    step = Step((SEED, "gate"), 0, 1.0)
    frames = run.settings("professor").frames
    with keeper.cost.spending(JUDGES):
        batch: Composition = draw_composition(run, step, "professor", split="validation")
        real = judge_composition(run.discriminator, batch, batch.latents, is_real=True).per_item()
        fake = judge_composition(
            run.discriminator, batch, compose(run.generator, batch, batch.noise_a), is_real=False
        ).per_item()
        accuracy = float((real.unsqueeze(1) > fake.unsqueeze(0)).float().mean())
    steps = int(run.discriminator.trained_steps) // len(STAGE["judges"].learns)  # every judge counts
    is_early = steps < FEWEST_STEPS
    after = f", after {counted(steps, 'step')} of learning, which is very few" if is_early else ""
    pairs = f"in {accuracy:.0%} of pairs{after} (at least 65% is asked; 50% is chance)"
    says = f"They rank real music above made music {pairs}."
    advice = f"see that gradients reach them: {command('doctor', 'wiring')}"
    if is_early:
        advice = f"give the whole run more time, or this stage a larger part of it: stages.{run.stage}.share"
    return Gate("G3 the judges", accuracy >= 0.65, {"accuracy": accuracy, "frames": frames}, advice, says)


def judge_ear(run: TrainingRun, keeper: Gatekeeper) -> Gate:
    """G4: the ear must not cost more than a tenth of the reconstruction, of its levels or of its pitches."""
    figures = reconstruction_figures(run, keeper)
    before = {name: run.measured.get(f"{name}_before_ear", figures[name]) for name in ("R", "P")}
    says = reconstruction_words(
        figures,
        levels=f"{before['R']:.0%} before, at most {EAR_COST:.0%} more",
        pitches=f"{before['P']:.0%} before, at most {EAR_COST:.0%} fewer",
    )
    lost = [
        what
        for what, is_kept in (
            ("levels", figures["R"] <= (1.0 + EAR_COST) * before["R"]),
            ("pitches", figures["P"] >= (1.0 - EAR_COST) * before["P"]),
        )
        if not is_kept
    ]
    advice = f"the {join_names(lost)} got worse by more than a tenth: lower the ear's share"
    return Gate("G4 the ear", not lost, figures, advice, says)


GATES: dict[str, Callable[[TrainingRun, Gatekeeper], Gate]] = {
    "reconstruction": judge_reconstruction,
    "composing": judge_flow,
    "judges": judge_judges,
    "ear": judge_ear,
    "one step": judge_one_step,
}
"""What a stage may ask for at its end (piano/stages.py)."""
