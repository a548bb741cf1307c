"""What every stage of training shares: the clock, the learning-rate schedule, the log, saving and resuming.

The stages themselves (what is learned from what) stand in piano_pretrain and piano_train, each loop in full view.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.config_reader import CONFIG_NAME, Config, StageValues
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.checkpoint_format import Best, write_best
from piano.foundation.errors import CheckpointError, DatasetError, StoppedBySignal, TrainingError
from piano.foundation.run_log import RunLog
from piano.foundation.runtime import Runtime
from piano.foundation.score_words import RULER_VERSION
from piano.foundation.screen_text import counted, printable, wrapped
from piano.foundation.stop_signals import StopRequest
from piano.foundation.thread_pilot import ThreadPilot
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.stages import COMPOSING_STAGE, FIRST_STAGE, STAGE, STAGE_NAMES, STAGES, Part, stages_of
from piano.training import run_keeper
from piano.training.fitting import TEXTURE_SEED, fit_textures
from piano.training.game import Game
from piano.training.longer_run import LearnedSoFar, Reopened, longer_in_words, reopen_by_steps, reopen_by_time
from piano.training.model_average import ModelAverage
from piano.training.run_keeper import Kept, Stateful
from piano.training.run_position import Position, check_optimizer
from piano.training.run_screen import Loudness, RunScreen
from piano.training.schedules import SETTLED, Schedules, Step
from piano.training.time_budget import ENCODING, SAVING, TimeBudget, texture_of
from piano.training.training_data import TrainingData
from piano.training.watcher import Watcher
from piano.update_checkpoint import renamed_in_words

STOP_EVERY = 10
"""Several processes agree at every n-th step whether to stop."""


class TrainingRun:
    """One run: networks, their averages, where it stands, and how it is kept.

    Parameters
    ----------
    config : Config
    runtime : Runtime
    generator, discriminator : nn.Module
        On the runtime's device.
    training_set, validation_set : AudioDataset
    watchers : sequence of Watcher, optional
        Look at every step, epoch, stage and save, in this order.
    began : float, optional
        When the run began, by time.monotonic(); by default now.
    composing_dtype : torch.dtype
        Of what is composed on the way: see `Sampling`.
    is_trial : bool
        Nothing is saved, and no texture measured: its steps are only tried out.
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
        watchers: Sequence[Watcher] = (),
        began: float | None = None,
        is_trial: bool = False,
        composing_dtype: torch.dtype = torch.float32,
        loudness: Loudness = "normal",
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.generator = generator
        self.discriminator = discriminator
        self.average = ModelAverage(generator, config.ema)
        self.is_trial = is_trial
        self.composing_dtype = composing_dtype
        self.schedules = Schedules(config.schedulers)
        self.log = RunLog(config.checkpoint_folder, is_active=runtime.is_main, loggers=config.training.loggers)
        self.stage = ""
        self.stage_step = 0
        self.stage_began = 0.0
        self.finished_stages: list[str] = []
        self.learned: dict[str, LearnedSoFar] = {}
        """What every stage that is over has had."""
        self.reopened: dict[str, Reopened] = {}
        """Stages that learn again, because the run got more time than it had when they were over."""
        self.screen = RunScreen(loudness, is_main=runtime.is_main)
        self.epoch = 0
        self.total_step = 0
        self.controllers: dict[str, float] = {}
        """What steers the losses of a stage, such as log beta."""
        self.factors: dict[str, float] = {}
        """What the doctor multiplies settings by."""
        self.measured: dict[str, float] = {}
        """What gates measured on validation music, for later gates."""
        self.stateful: dict[str, Stateful] = {}
        """Whatever else must go on where it was (schedules, the doctor): registered before `resume`."""
        self.stateful["schedules"] = self.schedules
        self.watchers: list[Watcher] = []
        for watcher in watchers:
            self.watch(watcher)
        self.best: Best | None = None
        self._clock_offset = 0.0
        self._clock_start = time.monotonic() if began is None else began
        self.budget: TimeBudget | None = None if config.minutes is None else self._time_budget(config.minutes)
        self.data = TrainingData(
            generator,
            runtime,
            training_set=training_set,
            validation_set=validation_set,
            budget=self.budget,
            folder=None if is_trial else config.checkpoint_folder,
            between=self._between_batches,
        )
        self._step_seconds = 0.0
        self._pilot: ThreadPilot | None = None
        self._optimizers: dict[str, tuple[Optimizer, float]] = {}
        self.resumed_optimizers: dict[str, Any] = {}
        self._pending: list[tuple[dict[str, Any], dict[str, Tensor]]] = []
        self.saved_epoch = 0
        self.stop: StopRequest = StopRequest()
        """Whether somebody asked this process to stop; the run does so where nothing is lost."""
        self._agreed_signal: int | None = None
        """What the main one of several processes was asked with, known to all since the same step."""
        self.papers: Callable[[], None] | None = None
        """Writes what else belongs into the run's folder (settings); called again if somebody removed the folder."""
        self._saved_step = 0
        self.planned_before: dict[str, Any] | None = None
        self._opening = SETTLED
        runtime.part_randomness()  # the networks were built alike

    def watch(self, watcher: Watcher) -> None:
        """Let somebody look at this run from now on; what it remembers is kept with the run."""
        self.watchers.append(watcher)
        if isinstance(watcher, Stateful):
            self.stateful[watcher.name] = watcher

    def _ask(self, words: str, call: Callable[[Watcher], None]) -> None:
        """Let the watchers look at what was made: whatever they draw, the run goes on with its own random numbers."""
        self.screen.doing(words)
        with run_keeper.undisturbed_random(self.runtime):
            for watcher in self.watchers:
                call(watcher)

    # --- the clock -------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Time this run has taken, over all its sittings."""
        return self._clock_offset + time.monotonic() - self._clock_start

    def settings(self, stage: str) -> StageValues:
        """What holds for a stage."""
        return self.config.stage(stage)

    @property
    def parts(self) -> dict[Part, list[nn.Module]]:
        """The parts of the networks that learn or rest as a whole."""
        autoencoder, judges = self.generator.autoencoder, self.discriminator
        return {
            "encoder": [autoencoder.encoder],
            "decoder": [autoencoder.decoder],
            "attention": [self.generator.attention],
            "shortcut": [self.generator.shortcut],
            "ear": [judges.ear],
            "professor": [judges.professor],
        }

    def batch_size(self, stage: str) -> int:
        """Items of a stage's step, in all processes."""
        return self.settings(stage).batch_size

    def micro_batches(self, stage: str) -> list[slice]:
        """This process's parts of a stage's batch."""
        return list(self.runtime.micro_batches(self.batch_size(stage), self.config.accumulation_steps))

    def rate(self, stage: str) -> float:
        """A stage's learning rate, of the generator's parts."""
        return self.settings(stage).learning_rate

    def judge_rate(self, stage: str) -> float:
        """A stage's learning rate, of the discriminators."""
        return self.settings(stage).learning_rate_disc

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
            together=self.runtime,
            move=self.take_step,
        )

    def composer(
        self, network: VariationalAttentionModel | None = None, *, seed: int, steps: int | str = "auto"
    ) -> Composer:
        """Composes with the averaged weights, or with another network of this run."""
        return Composer(network or self.average.network, Sampling(seed, steps, dtype=self.composing_dtype))

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
        return self.settings(stage).steps_per_epoch

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

    def learned_so_far(self) -> dict[str, LearnedSoFar]:
        """What every stage has had, the present one too."""
        if not self.stage or self.stage in self.finished_stages:
            return dict(self.learned)
        had = self.learned.get(self.stage, LearnedSoFar(0, 0.0))
        seconds = had.seconds + max(0.0, self.seconds - self.stage_began)
        return self.learned | {self.stage: LearnedSoFar(self.stage_step, seconds)}

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
                self.measured.pop(name, None)
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
        for watcher in self.watchers:
            watcher.begin_stage(self, optimizers)
        while not self.schedules.early_stop.has_stopped and (progress := self._progress()) < 1.0:
            self._set_rates(progress)
            for watcher in self.watchers:
                watcher.before_step(self, optimizers)
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
            for watcher in self.watchers:
                watcher.after_step(self)
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

    def record(self, terms: Mapping[str, Tensor | float], *, frames: int | None = None) -> None:
        """Keep one step's numbers for the log: everything in it must have been used.

        Parameters
        ----------
        terms : mapping
        frames : int, optional
            Latent frames of one item, where they were not the stage's.
        """
        length = self.settings(self.stage).frames if frames is None else frames
        audio_seconds = self.batch_size(self.stage) * length / self.generator.frames_per_second
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
        return self.factors.get(name, 1.0)

    def _set_rates(self, progress: float) -> None:
        for name, rate in self.schedules.rates(self.stage_step, progress).items():
            for group in self._optimizers[name][0].param_groups:
                group["lr"] = rate

    def take_step(self, optimizer: Optimizer, *, clip: float) -> Tensor:
        """Average the gradients over processes, clip their norm, move the network, clear them; returns the norm."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.runtime.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        if all([watcher.allows(self, optimizer, norm) for watcher in self.watchers]):
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
        for watcher in self.watchers:
            watcher.read(self, lines)
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
            self._ask("Judging the music", lambda watcher: watcher.before_save(self))
            self.save()

    def _evaluate(self) -> None:
        """The end of an epoch: losses of the averaged weights on validation music, then plateaus and early stopping."""
        found = [watcher.end_epoch(self) for watcher in self.watchers]
        losses = {name: self.runtime.agree(value) for part in found for name, value in part.items()}
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
        if self.steps_taken and STAGE[self.stage].textures and not self.is_trial:
            composes = STAGE_NAMES.index(self.stage) >= STAGE_NAMES.index(COMPOSING_STAGE)
            self.screen.doing("Measuring its sound")
            fit_textures(
                [self.average.network, self.generator],
                self.data,
                seed=self.config.seed,
                choices=STAGE[self.stage].textures,
                composer=(lambda steps: self.composer(seed=TEXTURE_SEED, steps=steps)) if composes else None,
                measure=lambda steps: self.measure(texture_of(steps)),
            )
        if self.stage_step % self.steps_per_epoch(self.stage):
            self.epoch += 1
        self._ask("Judging the music", lambda watcher: watcher.after_stage(self, self.stage))
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
        """Note how far whole compositions of the averaged weights are from validation music; the next save keeps it.

        What an earlier version of the ruler judged best gives way to the first epoch that this one judges.
        """
        is_first = self.best is None or self.best.ruler != RULER_VERSION
        if math.isfinite(kernel_distance) and (
            is_first or self.best is None or kernel_distance <= self.best.kernel_distance
        ):
            self.best = Best(self.epoch, kernel_distance, steps, self.stage, kernel_score)

    def save(self) -> None:
        """Write generator and discriminator of this epoch, and all it takes to go on from here."""
        if self.is_trial:
            return
        self.screen.doing("Saving")
        with self.measure(SAVING):
            self._save_as(self.epoch)
        if self.runtime.is_main:
            self._ask("Playing samples", lambda watcher: watcher.after_save(self))
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
            run_keeper.save(self._kept(), epoch, self.config)
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
        network, music = self.average.network.eval(), self.data.sets["training"]
        frames = min(16, music.samples // network.hop_samples)
        try:
            with torch.inference_mode():
                sound = music.crop(0, 0, frames * network.hop_samples)[None].to(self.runtime.device)
                latents = network.encode(sound)
                made = [
                    latents,
                    network.decode_spectrum(latents),
                    self.composer(seed=0, steps=1).sample_latents(frames, count=1),
                ]
        except DatasetError as error:
            return str(error)
        except (NotImplementedError, torch.AcceleratorError):
            return ""  # what this device cannot do says nothing about the networks
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

    def _kept(self) -> Kept:
        return Kept(self.generator, self.average.network, self.discriminator, self.optimizer_states(), self.position())

    def position(self) -> Position:
        """Where this run stands, but for its weights."""
        return Position(
            stage=self.stage,
            stage_step=self.stage_step,
            stage_began=self.stage_began,
            finished_stages=list(self.finished_stages),
            epoch=self.epoch,
            total_step=self.total_step,
            seconds=self.seconds,
            controllers=dict(self.controllers),
            factors=dict(self.factors),
            measured=dict(self.measured),
            average_updates=self.average.updates,
            best=self.best,
            learned=dict(self.learned),
            reopened=dict(self.reopened),
            planned=self.planned(),
            stateful={name: keeper.state_dict() for name, keeper in self.stateful.items()},
            compute=run_keeper.computing(self.config, self.runtime),
            log_bytes=run_keeper.log_bytes(self.log),
        )

    def go_on_from(self, there: Position) -> None:
        """Stand where a position says; the weights come from elsewhere."""
        self.stage, self.stage_step, self.stage_began = there.stage, there.stage_step, there.stage_began
        self.finished_stages = list(there.finished_stages)
        self.epoch, self.total_step = there.epoch, there.total_step
        self.controllers, self.factors = dict(there.controllers), dict(there.factors)
        self.measured = dict(there.measured)
        self.learned, self.reopened, self.planned_before = there.learned, there.reopened, there.planned
        for name, keeper in self.stateful.items():
            if name in there.stateful:
                keeper.load_state_dict(there.stateful[name])
        self.best, self.average.updates = there.best, there.average_updates
        self._clock_offset, self._clock_start = there.seconds, time.monotonic()
        run_keeper.compute_as(there.compute, self.config, self.runtime)
        if self.runtime.is_main:
            run_keeper.go_on_in(self.config, self.log, there)
        self.log.forget_after(self.total_step)
        if self.budget is not None:
            self.budget.spent = {name: again.seconds for name, again in self.reopened.items()}

    def resume(self) -> int:
        """Continue from the newest complete checkpoint, or the one asked for; returns its epoch.

        Raises
        ------
        CheckpointError
            There is none, or not the one asked for, or it does not fit this run.
        """
        config = self.config
        pair = run_keeper.read_pair(config.resumed_folder, config.resume_epoch, self.stateful)
        if words := renamed_in_words(pair.generator["model"]):
            self._tell(f"Epoch {pair.epoch}: {words}")
        run_keeper.load_weights(pair.generator["model"], self.generator, pair.epoch)
        run_keeper.load_weights(pair.generator["average"], self.average.network, pair.epoch)
        run_keeper.load_weights(pair.discriminator["model"], self.discriminator, pair.epoch)
        there = run_keeper.read_position(pair, self.log)
        if not run_keeper.is_own_folder(config):
            there = there._replace(best=None)
        with run_keeper.refusing_position(pair.epoch):
            self.go_on_from(there)
            self.resumed_optimizers = dict(pair.generator["optimizers"])
        self.saved_epoch, self._saved_step = pair.epoch, self.total_step
        return pair.epoch

    def forget_judgements(self, sentence: str) -> None:
        """What other music judged holds no longer: the best epoch, the gates' figures, what encoding took."""
        self.best, self.measured = None, {}
        self.schedules.forget_judgements()
        if self.budget is not None:
            self.budget.measured.pop(ENCODING, None)
        if self.runtime.is_main:
            write_best(self.config.checkpoint_folder, None)
        self.event("data set", sentence=sentence)

    def stop_if_asked(self) -> None:
        """End the run if that was asked for and nothing would be lost; raises StoppedBySignal."""
        asked = self._asked_signal()
        if asked is not None and self.saved_epoch and self._saved_step == self.total_step:
            place = f"epoch {self.saved_epoch}, step {self.stage_step} of stage {self.stage or FIRST_STAGE}"
            raise StoppedBySignal(f"Stopped and saved at {place}.", asked)

    def _asked_signal(self) -> int | None:
        """The signal that asked the run to stop; of several processes the main one's, once all know it."""
        return self.stop.signal if self.runtime.world_size == 1 else self._agreed_signal

    def _is_stop_due(self) -> bool:
        """Whether the run was asked to stop: every process must leave at the same step."""
        if self.total_step % STOP_EVERY == 0:
            self._hear_main()
        return self._asked_signal() is not None

    def _hear_main(self) -> None:
        """Whether the main one of several processes was asked to stop; a signal may come at any moment, also here."""
        if self.runtime.world_size > 1:
            self._agreed_signal = round(self.runtime.agree(float(self.stop.signal or 0))) or None

    def _between_batches(self) -> None:
        """Encoding takes long: it may be left where nothing is lost."""
        self.screen.doing("Encoding the music")
        self._hear_main()
        self.stop_if_asked()

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


def is_finite(network: nn.Module) -> bool:
    """Whether all numbers of a network are numbers."""
    return all(
        bool(torch.isfinite(value).all()) for value in network.state_dict().values() if value.is_floating_point()
    )
