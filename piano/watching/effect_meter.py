"""At the end of a fine-tuning run: did it move the model towards the new music, or does it copy? Two clips to hear."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from piano.composer import Composer, Sampling
from piano.evaluation.effect import Effect, Tuned, effect_of_models
from piano.foundation.audio_io import write_audio
from piano.foundation.errors import MusiganError
from piano.foundation.model_folder import named_folder
from piano.training.training_run import TrainingRun
from piano.utilities import load_generator
from piano.watching.run_ruler import CLIP_SECONDS, SEED
from piano.watching.score_cost import MOST_CLIPS, Prices, ScoreCost

EFFECT_FOLDER = "effect"
"""Inside the run's folder: before.wav and after.wav, from the same seed."""
EFFECT_EVENT = "effect"
SOUNDS = ("before", "after")
SEARCH_SHARE = 0.5
"""Seconds of searching a clip's length of training music, over those of hearing it."""


def effect_seconds(prices: Prices, clips: int, *, music_seconds: float) -> float:
    """What the meter will take, by the prices of a rehearsal.

    Parameters
    ----------
    clips : int
        Compositions of each model, and clips of each side.
    music_seconds : float
        Of the training music.
    """
    search = SEARCH_SHARE * prices.hear * music_seconds / CLIP_SECONDS
    return 2.0 * clips * (prices.one_clip(16) + prices.hear) + search


def keep_time(run: TrainingRun, cost: ScoreCost) -> None:
    """Leave room for the meter in a time budget, once things were tried out; nothing for a run from nothing."""
    if run.config.start_from is None or run.budget is None or cost.prices is None:
        return
    training = run.data.sets["training"]
    music_seconds = len(training) * training.samples / 2 / run.generator.sample_rate
    run.budget.afterwards = effect_seconds(cost.prices, cost.clips, music_seconds=music_seconds)


def measure_tuning(run: TrainingRun, *, clips: int = MOST_CLIPS) -> Effect | None:
    """Compose with the best epoch of a run and with the model that it began with; write event and sounds.

    None for a run from nothing. Where one of the models or the music is gone, the event says so.
    """
    start, folder = run.config.start_from, run.config.checkpoint_folder
    if start is None or not run.runtime.is_main:
        return None
    dataset = run.config.dataset_folder
    seconds = min(CLIP_SECONDS, run.data.sets["training"].samples / run.generator.sample_rate)
    try:
        before, after = (
            Composer(load_generator(path, device=run.runtime.device), Sampling(SEED, dtype=run.composing_dtype))
            for path in (named_folder(start), folder)
        )
        found = effect_of_models(before, after, train=dataset, real=dataset, count=clips, seconds=seconds)
    except (MusiganError, ValueError) as error:
        run.event(EFFECT_EVENT, verdict="cannot tell", sentence=f"What fine-tuning did cannot be told: {error}")
        return None
    write_sounds(found, folder, after.generator.sample_rate)
    run.event(EFFECT_EVENT, **found.effect.fields())
    return found.effect


def write_sounds(found: Tuned, folder: Path, sample_rate: int) -> None:
    """before.wav and after.wav."""
    for name, sound in zip(SOUNDS, (found.before, found.after), strict=True):
        write_audio(folder / EFFECT_FOLDER / f"{name}.wav", sound, sample_rate)


def last_effect(history: Sequence[dict[str, Any]]) -> Mapping[str, Any] | None:
    """What the log says of the effect; None where it was not measured."""
    return next((line for line in reversed(history) if line.get("event") == EFFECT_EVENT), None)
