"""What every stage of training shares: the clock, the learning-rate schedule, the log, saving and resuming.

The stages themselves (what is learned from what) stand in piano_pretrain and piano_train, each loop in full view.
"""

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from piano.config_reader import CONFIG_NAME, Config, StageSettings
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import Best
from piano.foundation.errors import CheckpointError, DatasetError, StoppedBySignal, TrainingError
from piano.foundation.run_log import RunLog
from piano.foundation.runtime import Runtime
from piano.foundation.screen_text import counted, printable, wrapped
from piano.foundation.stop_signals import StopRequest
from piano.foundation.thread_pilot import ThreadPilot
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.stages import COMPOSING_STAGE, FIRST_STAGE, STAGE, STAGE_NAMES, STAGES, Part, stages_of
from piano.training import run_keeper
from piano.training.game import Game
from piano.training.known_music import broken_pair
from piano.training.longer_run import Learned, Reopened, longer_in_words, reopen_by_steps, reopen_by_time
from piano.training.run_keeper import Stateful
from piano.training.run_position import check_optimizer
from piano.training.run_screen import Loudness, RunScreen
from piano.training.schedules import SETTLED, Schedules, Step
from piano.training.time_budget import ENCODING, SAVING, TimeBudget, texture_of

NORMALISER_FRAMES = 50_000
TEXTURE_FRAMES, TEXTURE_SEED = 4_000, 77
STOP_EVERY = 10
"""Several processes agree at every n-th step whether to stop."""


class ModelAverage:
    """Exponential moving average of the generator's weights, the ones that generate and validate."""

    def __init__(self, network: VariationalAttentionModel, decay: float) -> None:
        self.network: VariationalAttentionModel = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network; early steps move faster, so that the start is forgotten."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9.0))
        for own, new in zip(self.network.parameters(), network.parameters(), strict=True):
            own.lerp_(new, 1.0 - decay)
        for own, new in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(new)


class Attendant(Protocol):
    """Who watches a run and may step in: the doctor (piano/watching/live.py)."""

    def begin_stage(self, run: "TrainingRun", optimizers: Mapping[str, Optimizer]) -> None:
        """A stage begins, or goes on after resuming."""

    def before_step(self, run: "TrainingRun", optimizers: Mapping[str, Optimizer]) -> None:
        """The rates of this step are set."""

    def allows(self, run: "TrainingRun", optimizer: Optimizer, norm: Tensor) -> bool:
        """Whether a network may move by its gradients, whose norm this was before clipping."""
        ...

    def read(self, lines: list[dict[str, Any]]) -> None:
        """Lines about to be logged; what is not finite in them and was dealt with is taken out."""

    def after_step(self, run: "TrainingRun") -> None:
        """A step is over and logged."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values to resume from."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class TrainingRun:
    """One run: networks, their averages, where it stands, and how it is kept.

    Parameters
    ----------
    config : Config
    runtime : Runtime
    generator, discriminator : nn.Module
        On the runtime's device.
    training_set, validation_set : AudioDataset
    after_save : callable, optional
        Called as after_save(run) in the main process when a checkpoint was written (samples, pictures).
    after_stage : callable, optional
        Called as after_stage(run, stage) when a stage is complete (gates).
    before_save : callable, optional
        Called as before_save(run) before a checkpoint is written in the middle of a stage (scores).
    began : float, optional
        When the run began, by time.monotonic(); by default now.
    doctor : Attendant, optional
        Watches every step.
    validate : callable, optional
        Called as validate(run) at the end of every epoch; returns losses on validation music by name (see Schedules).
    loudness : str, optional
        How much is shown: `quiet`, `normal` or `verbose`.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        generator: VariationalAttentionModel,
        discriminator: Discriminator_with_mdisc,
        *,
        training_set: AudioDataset,
        validation_set: AudioDataset,
        after_save: Callable[["TrainingRun"], None] | None = None,
        after_stage: Callable[["TrainingRun", str], None] | None = None,
        before_save: Callable[["TrainingRun"], None] | None = None,
        began: float | None = None,
        doctor: Attendant | None = None,
        validate: Callable[["TrainingRun"], dict[str, float]] | None = None,
        loudness: Loudness = "normal",
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.generator = generator
        self.discriminator = discriminator
        self.average = ModelAverage(generator, config.ema)
        self.training_set = training_set
        self.validation_set = validation_set
        self.after_save = after_save
        self.after_stage = after_stage
        self.before_save = before_save
        self.doctor = doctor
        self.validate = validate
        self.schedules = Schedules(config.schedulers)
        self.log = RunLog(config.checkpoint_folder, is_active=runtime.is_main, loggers=config.training.loggers)
        self.stage = ""
        self.stage_step = 0
        self.stage_began = 0.0
        self.finished_stages: list[str] = []
        self.learned: dict[str, Learned] = {}
        """What every stage that is over has had."""
        self.reopened: dict[str, Reopened] = {}
        """Stages that learn again, because the run got more time than it had when they were over."""
        self.screen = RunScreen(loudness, is_main=runtime.is_main)
        self.epoch = 0
        self.total_step = 0
        self.controllers: dict[str, float] = {}
        self.stateful: dict[str, Stateful] = {}
        """Whatever else must go on where it was (schedules, the doctor): registered before `resume`."""
        self.stateful["schedules"] = self.schedules
        if doctor is not None:
            self.stateful["doctor"] = doctor
        self.best: Best | None = None
        self._clock_offset = 0.0
        self._clock_start = time.monotonic() if began is None else began
        self.budget: TimeBudget | None = None if config.minutes is None else self._time_budget(config.minutes)
        self._step_seconds = 0.0
        self._pilot: ThreadPilot | None = None
        self._optimizers: dict[str, tuple[Optimizer, float]] = {}
        self.resumed_optimizers: dict[str, Any] = {}
        self._pending: list[tuple[dict[str, Any], dict[str, Tensor]]] = []
        self._latents: dict[str, Tensor] = {}
        self.saved_epoch = 0
        self.stop: StopRequest = StopRequest()
        """Whether somebody asked the run to stop; it does so where nothing is lost."""
        self.papers: Callable[[], None] | None = None
        """Writes what else belongs into the run's folder (settings); called again if somebody removed the folder."""
        self._saved_step = 0
        self.planned_before: dict[str, Any] | None = None
        self._opening = SETTLED

    # --- the clock -------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Time this run has taken, over all its sittings."""
        return self._clock_offset + time.monotonic() - self._clock_start

    def settings(self, stage: str) -> StageSettings:
        """A stage's section of the config."""
        return getattr(self.config.stages, stage)

    @property
    def parts(self) -> dict[Part, list[nn.Module]]:
        """The parts of the networks that learn or rest as a whole."""
        autoencoder, judges = self.generator.autoencoder, self.discriminator
        return {
            "encoder": list(autoencoder.encoder_modules),
            "decoder": list(autoencoder.decoder_modules),
            "attention": [self.generator.attention],
            "shortcut": [self.generator.shortcut],
            "ear": [judges.ear],
            "professor": [judges.professor],
        }

    def batch_size(self, stage: str) -> int:
        """Items of a stage's step, in all processes."""
        return self.settings(stage).batch_size or self.config.batch_size

    def micro_batches(self, stage: str) -> list[slice]:
        """This process's parts of a stage's batch."""
        return list(self.runtime.micro_batches(self.batch_size(stage), self.config.accumulation_steps))

    def rate(self, stage: str) -> float:
        """A stage's learning rate, of the generator's parts."""
        return self.settings(stage).learning_rate or self.config.learning_rate

    def judge_rate(self, stage: str) -> float:
        """A stage's learning rate, of the discriminators."""
        return self.settings(stage).learning_rate_disc or self.config.learning_rate_disc

    def is_fresh(self, stage: str) -> bool:
        """Whether a stage has not begun yet: what goes before its first step is still to be done."""
        return stage not in self.finished_stages and self.stage != stage

    def game(self, step: Step, *, generator: VariationalAttentionModel | None = None) -> Game:
        """What the losses of a step may read; with another generator than the one that learns, if it is given."""
        return Game(
            generator=generator or self.generator,
            discriminator=self.discriminator,
            step=step,
            config=self.config,
            factor=self.factor,
            autocast=self.runtime.autocast,
            precision=self.runtime.precision,
            gather=self.runtime.gather,
            move=self.take_step,
        )

    def stage_steps(self, stage: str) -> int:
        """Steps of a stage that is measured in epochs: its share of the epochs of its kind."""
        kind = STAGE[stage].kind
        epochs = {
            "pretraining": self.config.pretrain_epochs_g,
            "judging": self.config.pretrain_epochs_d,
            "adversarial": self.config.epochs,
        }[kind]
        shares = sum(self.settings(name).share for name in stages_of(kind))
        if not shares:
            return 0
        return round(epochs * self.settings(stage).share / shares) * self.steps_per_epoch(stage)

    def steps_per_epoch(self, stage: str) -> int:
        """Steps of one epoch of a stage."""
        return self.settings(stage).steps_per_epoch or self.config.steps_per_epoch

    def _progress(self) -> float:
        """Share of the present stage that is over."""
        again = self.reopened.get(self.stage)
        if self.budget is None:
            steps = self.stage_steps(self.stage)
            done = self.stage_step - (again.first - again.steps if again else 0)
            return done / steps if steps else 1.0
        planned = self.budget.stage_end(self.stage, self.stage_began) - self.stage_began
        elapsed = self.seconds - self.stage_began
        before = again.seconds if again else 0.0
        # The last step ends late as often as early.
        is_over = planned <= 0.0 or elapsed + 0.5 * self._step_seconds >= planned
        return self.runtime.agree(1.0 if is_over else (before + elapsed) / (before + planned))

    @property
    def steps_taken(self) -> int:
        """Steps of the present stage since it began, or began again."""
        again = self.reopened.get(self.stage)
        return self.stage_step - (again.first if again else 0)

    def planned(self) -> dict[str, Any]:
        """For how long this run is meant, now: a later sitting sees by it whether it has got more."""
        return {"minutes": self.config.minutes, "steps": {stage: self.stage_steps(stage) for stage in STAGE_NAMES}}

    def learned_so_far(self) -> dict[str, Learned]:
        """What every stage has had, the present one too."""
        if not self.stage or self.stage in self.finished_stages:
            return dict(self.learned)
        had = self.learned.get(self.stage, Learned(0, 0.0))
        seconds = had.seconds + max(0.0, self.seconds - self.stage_began)
        return self.learned | {self.stage: Learned(self.stage_step, seconds)}

    def extend(self) -> str:
        """Divide the whole time anew if there is more of it than when this run was saved; says what will learn."""
        before, self.planned_before = self.planned_before, None
        if before is None:
            return ""
        learned = self.learned_so_far()
        if self.budget is not None:
            if before["minutes"] is not None and before["minutes"] >= (self.config.minutes or 0.0):
                return ""
            found = reopen_by_time(self.budget, learned, finished=self.finished_stages, now=self.seconds)
        elif before["minutes"] is None:
            found = reopen_by_steps(before["steps"], self.planned()["steps"], learned, finished=self.finished_stages)
        else:
            return ""
        found = {name: again for name in STAGE_NAMES if (again := self._agree_on(found.get(name))) is not None}
        if not found:
            return ""
        kept = [stage for stage in STAGE_NAMES if stage in self.finished_stages and stage not in found]
        self.learned, self.reopened = learned, found
        self.finished_stages, self.stage = kept, ""
        if self.budget is not None:
            self.budget.spent = {name: again.seconds for name, again in found.items()}
        if FIRST_STAGE in found:
            for name in ("distance_noise", "R_before_ear", "P_before_ear"):
                self.controllers.pop(name, None)
        self.event("longer", stages=list(found), kept=kept)
        if self.budget is not None:
            first = next(iter(found))
            more = {name: seconds for name, seconds in self.budget.plan(first, self.seconds).items() if name in found}
            return longer_in_words(more, kept)
        steps = self.planned()["steps"]
        parts = [f"{name} {counted(steps[name] - again.steps, 'step')}" for name, again in found.items()]
        return f"The whole run is divided anew. These learn: {', '.join(parts)}."

    def _time_budget(self, minutes: float) -> TimeBudget:
        textures = {stage.name: tuple(texture_of(steps) for steps in stage.textures) for stage in STAGES}
        return TimeBudget(60.0 * minutes, {name: self.settings(name).share for name in STAGE_NAMES}, textures)

    def measure(self, kind: str) -> AbstractContextManager[None]:
        """Tell the time budget, if there is one, how long this takes."""
        return nullcontext() if self.budget is None else self.budget.measure(kind)

    # --- the loop --------------------------------------------------------------------------------------------------

    def steps(self, stage: str, optimizers: dict[str, Optimizer]) -> Iterator[Step]:
        """The steps of a stage, until its share is used up; nothing if it was finished before.

        Before every step the learning rates are set (warm-up, then cosine); after it the average moves; at the end of
        an epoch the log is written, and a checkpoint when it is due.
        """
        if stage in self.finished_stages:
            return
        if self.stage != stage:
            first = self.reopened[stage].first if stage in self.reopened else 0
            self.stage, self.stage_step, self.stage_began = stage, first, self.seconds
            self._step_seconds = 0.0
            self.resumed_optimizers = {}
            self.schedules.begin(stage, warmup_steps=self.settings(stage).warmup_steps, first=first)
        self._optimizers = {
            name: (optimizer, optimizer.param_groups[0]["lr"]) for name, optimizer in optimizers.items()
        }
        self.schedules.attach({name: rate for name, (_, rate) in self._optimizers.items()})
        self._restore_optimizers()
        if self.doctor is not None:
            self.doctor.begin_stage(self, optimizers)
        while not self.schedules.early_stop.has_stopped and (progress := self._progress()) < 1.0:
            self._set_rates(progress)
            if self.doctor is not None:
                self.doctor.before_step(self, optimizers)
            self._show()
            began = self.seconds
            self._opening = self.schedules.opening(self.stage_step, progress)
            yield Step((self.config.seed, stage), self.stage_step, progress, self._opening)
            self.stage_step += 1
            self.total_step += 1
            self.average.update(self.generator)
            if self.runtime.device.type == "cpu" or self.total_step % 10 == 0:
                self._write_log()
            self._step_seconds = self.seconds - began
            self._adapt_threads()
            if self.doctor is not None:
                self.doctor.after_step(self)
            if self.stage_step % self.steps_per_epoch(stage) == 0:
                self._finish_epoch()
            if self._is_stop_due():
                self._write_log()
                self._save_unfinished()
                self.stop_if_asked()
        self._write_log()
        if self.stage_step % self.steps_per_epoch(stage):
            self._evaluate()
        self._finish_stage()

    def _adapt_threads(self) -> None:
        """Go on with fewer threads where they were measured at the start and real steps are faster with fewer."""
        if not self.runtime.adapts_threads:
            return
        if self._pilot is None:
            self._pilot = ThreadPilot(torch.get_num_threads())
        before = self._pilot.threads
        torch.set_num_threads(self._pilot.after_step(self.stage, self._step_seconds))
        if self._pilot.threads < before:
            self.event("threads", before=before, now=self._pilot.threads)
            self._tell(
                f"Training goes on with {counted(self._pilot.threads, 'thread')}, which is faster now than {before}"
            )

    def _show(self) -> None:
        """Let the screen know how much of the whole run is done."""
        if self.budget is not None:
            left = self.budget.seconds - self.seconds
            self.screen.show(self.stage, self.seconds / max(self.budget.seconds, 1e-3), seconds_left=left)
            return
        steps = {stage: self.stage_steps(stage) for stage in STAGE_NAMES}
        done = sum(count for stage, count in steps.items() if stage in self.finished_stages)
        now = self._progress() * steps[self.stage]
        self.screen.show(self.stage, (done + now) / max(sum(steps.values()), 1))

    def record(self, terms: Mapping[str, Tensor | float]) -> None:
        """Keep one step's numbers for the log: everything in it must have been used."""
        items, frames = self.batch_size(self.stage), self.settings(self.stage).frames
        audio_seconds = items * frames / self.generator.frames_per_second
        entry = {
            "stage": self.stage,
            "epoch": self.epoch + 1,
            "step": self.stage_step,
            "total_step": self.total_step,
            "seconds": round(self.seconds, 3),
            "audio_seconds": audio_seconds,
            "learning_rate": {name: pair[0].param_groups[0]["lr"] for name, pair in self._optimizers.items()},
        }
        entry |= self.schedules.numbers(self._opening)
        tensors = {}
        for name, value in terms.items():
            if isinstance(value, Tensor):
                tensors[name] = value.detach().float()
            else:
                entry[name] = value
        self._pending.append((entry, tensors))

    def factor(self, name: str) -> float:
        """What the doctor multiplies a setting by; 1 where nothing was changed."""
        return self.controllers.get(f"doctor/{name}", 1.0)

    def _set_rates(self, progress: float) -> None:
        for name, rate in self.schedules.rates(self.stage_step, progress).items():
            for group in self._optimizers[name][0].param_groups:
                group["lr"] = rate

    def take_step(self, optimizer: Optimizer, *, clip: float) -> Tensor:
        """Average the gradients over processes, clip their norm, move the network, clear them; returns the norm."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.runtime.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        if self.doctor is None or self.doctor.allows(self, optimizer, norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def _write_log(self) -> None:
        """Write pending steps; NaN or infinity in a term ends the run here, before anything is saved."""
        lines = []
        for entry, tensors in self._pending:
            if tensors:
                stacked = self.runtime.mean(torch.stack([value.reshape(()) for value in tensors.values()])).tolist()
                entry.update(zip(tensors, stacked, strict=True))
            lines.append(entry)
        self._pending = []
        if self.doctor is not None:
            self.doctor.read(lines)
        self.log.append(lines)
        for entry in lines:
            self.schedules.note(entry)
            for name, value in entry.items():
                if isinstance(value, float) and not math.isfinite(value):
                    last = f"epoch {self.saved_epoch}" if self.saved_epoch else "none yet"
                    raise TrainingError(
                        f"{name} is {value} in stage {self.stage}, epoch {entry['epoch']}, step {entry['step']}. "
                        f"Stopped; the last good checkpoint ({last}) is kept. "
                        f"Lower the learning rate, or resume from it."
                    )
        if lines:
            rate = self.steps_taken * lines[-1]["audio_seconds"] / max(self.seconds - self.stage_began, 1e-3)
            self.screen.numbers(self.stage, lines[-1], rate=rate)

    def _finish_epoch(self) -> None:
        self._write_log()
        self.epoch += 1
        self._evaluate()
        if self.epoch % self.config.save_after_nepochs == 0:
            if self.before_save is not None:
                self.screen.doing("Judging the music")
                with run_keeper.undisturbed_random(self.runtime):
                    self.before_save(self)
            self.save()

    def _evaluate(self) -> None:
        """The end of an epoch: losses of the averaged weights on validation music, then plateaus and early stopping."""
        losses = self.validate(self) if self.validate is not None else {}
        losses = {name: self.runtime.agree(value) for name, value in losses.items()}
        if losses:
            self.event("validation", **losses)
        end = self.schedules.end_epoch(
            self.stage_step, self._progress(), validation=losses, weights=self.average.network.state_dict()
        )
        for name, rate in end.lowered.items():
            self.event("plateau", optimizer=name, base_rate=rate)
        if end.has_stopped:
            self.event("early_stop", best=self.schedules.early_stop.best)
            self._tell(
                f"{self.stage}: no better for {self.schedules.early_stop.bad_epochs} epochs; "
                f"stopped, its best epoch is kept"
            )

    def _finish_stage(self) -> None:
        """Adopt the averaged weights, judge them, save."""
        if self.budget is not None and not self.stage_step and self.settings(self.stage).share:
            self.event("left out", reason="the time budget is too short for this stage")
        self.learned = self.learned_so_far()
        if self.schedules.early_stop.weights is not None:
            self.average.network.load_state_dict(self.schedules.early_stop.weights)
            self.schedules.early_stop.weights = None
        self.generator.load_state_dict(self.average.network.state_dict())
        self.average.updates = 0
        if self.stage == COMPOSING_STAGE and self.steps_taken:
            # Without steps a trained one-step block is left alone.
            for network in (self.generator, self.average.network):
                network.open_shortcut()
        self.screen.doing("Measuring its sound")
        if self.steps_taken and STAGE[self.stage].textures:
            self.fit_texture()
        if self.stage_step % self.steps_per_epoch(self.stage):
            self.epoch += 1
        if self.after_stage is not None:
            self.screen.doing("Judging the music")
            with run_keeper.undisturbed_random(self.runtime):
                self.after_stage(self, self.stage)
        self.generator.load_state_dict(self.average.network.state_dict())
        self.finished_stages.append(self.stage)
        self._optimizers = {}
        if self.steps_taken:
            self.save()
        if self._is_stop_due():
            self.stop_if_asked()

    def _tell(self, sentence: str) -> None:
        if self.runtime.is_main:
            tqdm.write(wrapped(sentence))

    def _agree_on(self, again: Reopened | None) -> Reopened | None:
        """The main process's decision: expectations of time differ between processes."""
        first, steps, seconds = again or (-1, 0, 0.0)
        first, steps, seconds = (self.runtime.agree(float(number)) for number in (first, steps, seconds))
        return None if first < 0 else Reopened(round(first), round(steps), seconds)

    def event(self, kind: str, **fields: Any) -> None:
        """Write a line that is not a step: a gate, a refusal, a remedy."""
        entry = {
            "event": kind,
            "stage": self.stage,
            "epoch": self.epoch,
            "total_step": self.total_step,
            "seconds": round(self.seconds, 3),
            **fields,
        }
        self.log.append([entry])

    # --- keeping ---------------------------------------------------------------------------------------------------

    def score(self, kernel_distance: float, *, steps: int, kernel_score: float | None = None) -> None:
        """Note how far whole compositions of the averaged weights are from validation music; the next save keeps it."""
        if math.isfinite(kernel_distance) and (self.best is None or kernel_distance <= self.best.kernel_distance):
            self.best = Best(self.epoch, kernel_distance, steps, self.stage, kernel_score)

    def save(self) -> None:
        """Write generator and discriminator of this epoch, and all it takes to go on from here."""
        self.screen.doing("Saving")
        with self.measure(SAVING):
            self._save_as(self.epoch)
        if self.runtime.is_main and self.after_save is not None:
            self.screen.doing("Playing samples")
            with run_keeper.undisturbed_random(self.runtime):
                self.after_save(self)
        self.runtime.wait()

    def _save_unfinished(self) -> None:
        """Write what came since the last save, under the name of the epoch that has begun."""
        if self._saved_step < self.total_step:
            self._save_as(self.epoch + bool(self.stage_step % self.steps_per_epoch(self.stage)))

    def _save_as(self, epoch: int) -> None:
        self.runtime.wait()
        if not (is_finite(self.average.network) and is_finite(self.generator) and is_finite(self.discriminator)):
            raise TrainingError(self._diverged("weights became NaN or infinite"))
        if self.runtime.is_main:
            self._mend_folder()
            run_keeper.save(self, epoch)
        self.saved_epoch, self._saved_step = epoch, self.total_step
        self.runtime.wait()

    def _mend_folder(self) -> None:
        """Make the folder again that somebody removed while the run was working in it."""
        if self.papers is not None and not (self.config.checkpoint_folder / CONFIG_NAME).is_file():
            self._tell(
                f"{printable(self.config.checkpoint_folder)} was emptied or removed: it is made again, and "
                "holds the run from here on"
            )
            self.papers()

    def ruin(self) -> str:
        """What to say if the networks are broken: weights or sounds that are no numbers; else nothing."""
        if not (is_finite(self.average.network) and is_finite(self.generator)):
            return self._diverged("weights became NaN or infinite")
        network = self.average.network.eval()
        frames = min(16, self.training_set.samples // network.hop_samples)
        try:
            with torch.inference_mode():
                sound = self.training_set.crop(0, 0, frames * network.hop_samples)[None].to(self.runtime.device)
                latents = network.encode(sound)
                made = [
                    latents,
                    network.decode_spectrum(latents),
                    network.sample_latents(frames, count=1, seed=0, steps=1),
                ]
        except DatasetError as error:
            return str(error)
        except (ValueError, IndexError, ArithmeticError, RuntimeError, CheckpointError):
            return self._diverged("what it makes is no sound any more")
        if not all(bool(torch.isfinite(tensor).all()) for tensor in made):
            return self._diverged("what it makes is no sound any more")
        return ""

    def _diverged(self, what: str) -> str:
        last = f"epoch {self.saved_epoch}" if self.saved_epoch else "none yet"
        return (
            f"training diverged in stage {self.stage or 'none yet'}, step {self.stage_step}: {what}. Stopped; the last "
            f"good checkpoint ({last}) is kept. Lower the learning rate of the stage, or resume from the checkpoint."
        )

    def resume(self) -> int:
        """Continue from the newest complete checkpoint; returns its epoch, raises CheckpointError if there is none."""
        self.saved_epoch = run_keeper.resume(self)
        self._saved_step = self.total_step
        if self.budget is not None:
            self.budget.spent = {name: again.seconds for name, again in self.reopened.items()}
        return self.saved_epoch

    def stop_if_asked(self) -> None:
        """End the run if that was asked for and nothing would be lost; raises StoppedBySignal."""
        if self.stop and self.saved_epoch and self._saved_step == self.total_step:
            place = f"epoch {self.saved_epoch}, step {self.stage_step} of stage {self.stage or FIRST_STAGE}"
            raise StoppedBySignal(f"Stopped and saved at {place}.", self.stop.signal or signal.SIGTERM)

    def _is_stop_due(self) -> bool:
        """Whether the main process was asked to stop: every process must leave at the same step."""
        if self.runtime.world_size == 1:
            return bool(self.stop)
        if self.total_step % STOP_EVERY:
            return False
        self.stop.signal = round(self.runtime.agree(float(self.stop.signal or 0))) or None
        return bool(self.stop)

    def _restore_optimizers(self) -> None:
        """Give the optimisers of a resumed stage what they remembered; raises CheckpointError."""
        for name, state in self.resumed_optimizers.items():
            try:
                check_optimizer(self._optimizers[name][0], state)
                self._optimizers[name][0].load_state_dict(state)
            except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
                raise CheckpointError(
                    f"the optimiser {name} of epoch {self.saved_epoch} does not fit stage {self.stage}: "
                    f"{printable(error)[:160]}. "
                    "Resume with the settings and the version that saved it."
                ) from None
        self.resumed_optimizers = {}

    def optimizer_states(self) -> dict[str, Any]:
        """Name -> state of every optimiser of the present stage."""
        return {name: optimizer.state_dict() for name, (optimizer, _) in self._optimizers.items()}

    def set_clock(self, seconds: float) -> None:
        """The run has taken so long until now."""
        self._clock_offset, self._clock_start = seconds, time.monotonic()

    # --- data ------------------------------------------------------------------------------------------------------

    def draw_waveforms(self, step: Step, batch_size: int, frames: int) -> Tensor:
        """Random crops of the training set (batch, channels, samples), `frames` latent frames long, on the device."""
        samples = frames * self.generator.hop_samples
        indices = torch.randint(len(self.training_set), (batch_size,), generator=step.random("pair"))
        offsets = torch.randint(self.training_set.samples - samples + 1, (batch_size,), generator=step.random("offset"))
        waveforms = self.training_set.crops(indices, offsets, samples)
        refuse_broken(self.training_set, indices, waveforms)
        return waveforms.to(self.runtime.device, non_blocking=True)

    def latents(self, split: str) -> Tensor:
        """Whitened latents (pairs, frames, latent_dim) of a whole split, encoded once: the encoder is frozen by now."""
        if split not in self._latents:
            dataset = self.training_set if split == "training" else self.validation_set
            if self.budget is not None:
                stride = self.budget.encoding_stride(len(dataset), split)
                if split == "training":
                    stride = int(self.runtime.agree(float(stride)))
                dataset = AudioDataset(dataset.pairs[::stride])
            with self.measure(ENCODING if split == "training" else split):
                means = encode_dataset(self.generator, dataset, self.runtime, between=self._between_batches)
            self._latents[split] = self.generator.normaliser.to("cpu")(means)
            self.generator.normaliser.to(self.runtime.device)
        return self._latents[split]

    def _between_batches(self) -> None:
        """Encoding takes long: it may be left where nothing is lost. Several processes go through it together."""
        self.screen.doing("Encoding the music")
        if self.runtime.world_size == 1:
            self.stop_if_asked()

    def fit_normaliser(self) -> None:
        """Whiten the latents of the training set: from here on the encoder is frozen."""
        self._latents = {}
        for network in (self.generator, self.average.network):
            network.normaliser.reset()  # of an encoder that has learned again, the old one says nothing
        means = self.latents("training")  # a normaliser that is not fitted passes them on as they are
        frames = means.flatten(0, 1)[:: max(1, means.shape[0] * means.shape[1] // NORMALISER_FRAMES)]
        for network in (self.generator, self.average.network):
            network.normaliser.fit(frames.to(self.runtime.device))
        self._latents = {"training": self.generator.normaliser.to("cpu")(means)}
        self.generator.normaliser.to(self.runtime.device)

    def fit_style(self) -> None:
        """Measure the styles of the training set; a model that was trained before keeps its scale of them."""
        style, latents = self.generator.style, self.latents("training")
        frames = min(self.settings(COMPOSING_STAGE).frames, latents.shape[1])
        (style.renew_anchors if style.is_fitted else style.fit)(latents, frames=frames)
        self.average.network.style.load_state_dict(style.state_dict())

    def _can_compose(self) -> bool:
        """Whether the present stage, or one before it, has learned to compose."""
        return STAGE_NAMES.index(self.stage) >= STAGE_NAMES.index(COMPOSING_STAGE)

    @torch.no_grad()
    def fit_texture(self) -> None:
        """Measure how much more the training set scatters than what the averaged generator makes.

        That is: its compositions, once it composes, for generated latents blur a little more; before, reconstructions.
        """
        network, step = self.average.network, Step((self.config.seed, "texture"), 0, 0.0)
        frames = min(64, self.training_set.samples // network.hop_samples)
        spectrum_frames = frames * network.autoencoder.latent_stride
        waveforms = self.draw_waveforms(step, -(-TEXTURE_FRAMES // spectrum_frames), frames)
        noise = step.noise(
            "noise", waveforms.shape[0] * waveforms.shape[1], spectrum_frames + 3, network.autoencoder.hop_length
        ).to(waveforms.device)
        for steps in STAGE[self.stage].textures:
            with self.measure(texture_of(steps)):
                if not self._can_compose():
                    latents = network.encode(waveforms)
                else:
                    latents = network.sample_latents(frames, count=len(waveforms), seed=TEXTURE_SEED, steps=steps)
                network.fit_texture(waveforms, latents, noise, steps=steps)
        self.generator.textures.load_state_dict(network.textures.state_dict())

    def draw_latents(self, step: Step, batch_size: int, frames: int, *, split: str = "training") -> Tensor:
        """Random windows of a split's latents (batch, frames, latent_dim), on the device."""
        latents = self.latents(split)
        indices = torch.randint(len(latents), (batch_size,), generator=step.random("pair"))
        offsets = torch.randint(latents.shape[1] - frames + 1, (batch_size,), generator=step.random("offset"))
        places = offsets.unsqueeze(1) + torch.arange(frames)
        return latents[indices.unsqueeze(1), places].to(self.runtime.device, non_blocking=True)


def is_finite(network: nn.Module) -> bool:
    """Whether all numbers of a network are numbers."""
    return all(
        bool(torch.isfinite(value).all()) for value in network.state_dict().values() if value.is_floating_point()
    )


def refuse_broken(dataset: AudioDataset, indices: Sequence[int] | Tensor, waveforms: Tensor) -> None:
    """Raise a DatasetError that names the pair if waveforms (items, channels, samples) of these pairs hold NaN."""
    sums = waveforms.flatten(1).sum(dim=1)  # NaN and infinity stay in a sum
    if not bool(torch.isfinite(sums).all()):
        item = int((~torch.isfinite(sums)).nonzero()[0])
        place = getattr(dataset.pairs, "filename", None) or "the data set"
        raise DatasetError(broken_pair(place, int(indices[item])))


@torch.inference_mode()
def encode_dataset(
    generator: VariationalAttentionModel,
    dataset: AudioDataset,
    runtime: Runtime,
    *,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """Latent means (pairs, frames, latent_dim) of every pair of a data set, on the CPU, before whitening.

    `between` is called before every batch; what it raises ends the encoding.
    """
    frames = dataset.samples // generator.hop_samples
    pieces = []
    for index in range(0, len(dataset), 4):
        between()
        places = range(index, min(index + 4, len(dataset)))
        waveforms = torch.stack([dataset[item] for item in places])
        refuse_broken(dataset, places, waveforms)
        with runtime.autocast():
            pieces.append(generator.autoencoder.encoder(waveforms.to(runtime.device))[0][:, :frames].float().cpu())
    means = torch.cat(pieces).clone()
    if not bool(torch.isfinite(means).all()):
        raise TrainingError(
            "the encoder diverged: it gives NaN or infinity for music that is sound. "
            "Lower the learning rate of stage autoencoder, and begin again or resume from an earlier epoch."
        )
    return means
