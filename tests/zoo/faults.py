"""Faults one can plant in a real run: what is done, what the doctor should call it, and what being well again means."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from piano import piano_pretrain, piano_train
from piano.doctor.rules import Window
from piano.foundation.runtime import frozen
from piano.loss_functions import discriminator_loss
from piano.training import game as game_module
from piano.training.game import Game, Once, Turn
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from tests.tiny_run import tonal_pairs

ONSET = 22
"""Step of the stage at which faults that come suddenly come: the run has been well for some windows by then."""
PAIRS = 24
PROFESSOR_RATE = 1e-3
"""Of the one-step block: runs of seconds need larger steps than those of minutes."""

Plant = Callable[[TrainingRun], Any]


class Fault(NamedTuple):
    """One exhibit.

    plant : callable
        plant(run) -> context in which the stage is trained.
    is_well : callable
        Of the stage's windows: whether the signal is healthy again at the end. None: nothing a doctor could cure.
    """

    name: str
    stage: str
    expected: str
    plant: Plant
    settings: dict[str, Any] = {}  # noqa: RUF012
    pairs: Callable[[], np.ndarray] = lambda: tonal_music()
    is_well: Callable[[Sequence[Window]], bool] | None = None


def nothing(run: TrainingRun) -> Any:
    """No fault besides settings or data."""
    return nullcontext()


def ends_with(signal: str, test: Callable[[float], bool]) -> Callable[[Sequence[Window]], bool]:
    """Whether a signal passes a test in each of the last three windows that have it."""

    def is_well(windows: Sequence[Window]) -> bool:
        values = [window.signals[signal] for window in windows if signal in window.signals][-3:]
        return len(values) == 3 and all(test(value) for value in values)

    return is_well


# --- data ------------------------------------------------------------------------------------------------------------


@cache
def tonal_music() -> np.ndarray:
    """What a healthy run learns from; nobody changes it."""
    return tonal_pairs(PAIRS)


def one_song() -> np.ndarray:
    """The same pair over and over."""
    return np.repeat(tonal_pairs(1), PAIRS, axis=0)


def mostly_silent() -> np.ndarray:
    """Three pairs of four hold nothing."""
    pairs = tonal_music().copy()
    pairs[np.arange(PAIRS) % 4 != 0] = 0.0
    return pairs


def nan_batch(run: TrainingRun) -> Any:
    """One batch of sound is not a number."""
    original = run.data.draw_waveforms

    def draw(step: Step, batch_size: int, frames: int, **choice: Any) -> torch.Tensor:
        waveforms = original(step, batch_size, frames, **choice)
        return waveforms * float("nan") if step.index == ONSET else waveforms

    return patch.object(run.data, "draw_waveforms", draw)


# --- networks --------------------------------------------------------------------------------------------------------


def suddenly(damage: Callable[[TrainingRun], None]) -> Plant:
    """Something happens to the networks before one step of a stage."""

    def plant(run: TrainingRun) -> Any:
        original = run.steps

        def steps_with_damage(*arguments: Any) -> Iterator[Step]:
            for step in original(*arguments):
                if step.index == ONSET:
                    with torch.no_grad():
                        damage(run)
                yield step

        return patch.object(run, "steps", steps_with_damage)

    return plant


def make_constant(run: TrainingRun) -> None:
    """The one-step block forgets its input: the same latents from any noise."""
    run.generator.shortcut.out.weight.zero_()


def spoil_weight(run: TrainingRun) -> None:
    """One weight of the decoder is not a number: every step from here on is none either."""
    next(run.generator.autoencoder.decoder.parameters()).view(-1)[0] = float("nan")


def deaf_to_noise(run: TrainingRun) -> Any:
    """Frames of pure noise reach the one-step block as zeros."""
    original = run.generator.shortcut.forward

    def forward(noisy: torch.Tensor, level: torch.Tensor, condition: Any) -> torch.Tensor:
        return original(noisy * (level < 1.0).unsqueeze(-1), level, condition)

    return patch.object(run.generator.shortcut, "forward", forward)


# --- code ------------------------------------------------------------------------------------------------------------


def swapped_labels(run: TrainingRun) -> Any:
    """Generated sound is labelled real and real sound generated."""
    original = piano_train.ear_verdicts

    def swapped(game: Game, sound: piano_train.SoundBatch, fakes: dict[str, torch.Tensor]) -> dict[str, Any]:
        ((name, fake),) = fakes.items()
        return original(game, sound._replace(real=fake, once=Once()), {name: sound.real})

    return patch.object(piano_train, "ear_verdicts", swapped)


@contextmanager
def not_detached(run: TrainingRun) -> Iterator[None]:
    """The judge's loss goes backwards into the generator too, which is not frozen while the judge learns."""

    def ear_turn(game: Game, sound: piano_train.SoundBatch) -> Turn:
        autoencoder = game.generator.autoencoder
        fake = autoencoder.decoder(sound.latents)
        on_real, on_fake = (
            piano_train.judge_sound(game.discriminator, autoencoder, spectrum) for spectrum in (sound.real, fake)
        )
        loss = discriminator_loss(on_real.heads, on_fake.heads)
        verdicts = piano_train.Verdicts(loss, {"loss": loss}, on_real, on_fake)
        return piano_train.judge_turn(game, "ear", loss, verdicts)

    def freeze_judges(*networks: torch.nn.Module) -> Any:
        return frozen(*(network for network in networks if network is run.discriminator))

    with ExitStack() as stack:
        stack.enter_context(patch.object(piano_train, "ear_turn", ear_turn))
        stack.enter_context(patch.object(game_module, "frozen", freeze_judges))
        yield


def not_frozen(run: TrainingRun) -> Any:
    """The generator's loss leaves its gradient in the judge, whose next step takes it along."""
    return patch.object(game_module, "frozen", lambda *networks: nullcontext())


def heavy_rate(run: TrainingRun) -> Any:
    """The weight of the KL term is a hundred times what the controller asks for."""
    original = piano_pretrain.rate_weight
    return patch.object(piano_pretrain, "rate_weight", lambda run, step: 100.0 * original(run, step))


FAULTS: tuple[Fault, ...] = (
    Fault(
        "judge's learning rate x 20",
        "ear",
        "D divergence",
        nothing,
        {"learning_rate_disc": 20 * 4e-4},
        is_well=ends_with("ear_dn", lambda dn: dn >= 0.25),
    ),
    Fault(
        "frozen judge",
        "ear",
        "D failure",
        nothing,
        {"learning_rate_disc": 1e-12},
        is_well=ends_with("ear_moved", lambda moved: moved > 1e-6),
    ),
    Fault(
        "generator's learning rate x 50",
        "professor",
        "divergence",
        nothing,
        {"stages__professor__learning_rate": 50 * PROFESSOR_RATE},
        is_well=ends_with("shortcut_step_size", lambda size: size <= 0.01),
    ),
    Fault(
        "weight of the KL term x 100",
        "autoencoder",
        "posterior collapse",
        heavy_rate,
        is_well=ends_with("kl_ratio", lambda ratio: ratio >= 0.7),
    ),
    Fault("one song only", "ear", "one song only", nothing, pairs=one_song),
    Fault("silent data", "ear", "silent data", nothing, pairs=mostly_silent),
    Fault(
        "judge's step not detached",
        "ear",
        "wiring",
        not_detached,
        is_well=ends_with("wiring_leaks", lambda leaks: leaks == 0),
    ),
    Fault(
        "generator's step reaches the judge",
        "professor",
        "wiring",
        not_frozen,
        is_well=ends_with("wiring_leaks", lambda leaks: leaks == 0),
    ),
    Fault("swapped labels", "ear", "D failure", swapped_labels),
    Fault(
        "NaN in a batch",
        "ear",
        "divergence",
        nan_batch,
        is_well=ends_with("not_finite", lambda count: count == 0),
    ),
    Fault(
        "NaN in a weight",
        "ear",
        "divergence",
        suddenly(spoil_weight),
        is_well=ends_with("not_finite", lambda count: count == 0),
    ),
    Fault(
        "constant generator",
        "professor",
        "mode collapse",
        suddenly(make_constant),
        is_well=ends_with("diversity", lambda diversity: diversity >= 0.3),
    ),
    Fault("noise is ignored", "professor", "mode dropping", deaf_to_noise),
)
