"""At the end of a run from nothing: is the model that comes with the project nearer to this music? By its own ruler."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from piano.composer import Composer, Sampling
from piano.evaluation.score_generator import form_of
from piano.evaluation.sound_form import SoundForm, in_form
from piano.foundation.doors import command
from piano.foundation.errors import MusiganError
from piano.foundation.model_folder import holds_shipped, shipped_folder
from piano.training.training_run import TrainingRun
from piano.utilities import load_generator
from piano.watching.run_ruler import SEED, RunRuler
from piano.watching.score_cost import FEWEST_CLIPS

SHIPPED_EVENT = "shipped"
SHARE = 0.03
"""Of a run's time, that the comparison may take."""
LEAST_SECONDS = 5.0
"""Less is not begun: loading takes as long."""


def keep_time_for_shipped(run: TrainingRun) -> None:
    """Leave room for the comparison in a time budget; nothing for fine-tuning, which has a meter of its own."""
    if run.budget is None or run.config.start_from is not None or not holds_shipped(shipped_folder()):
        return
    if SHARE * run.budget.seconds >= LEAST_SECONDS:
        run.budget.afterwards = SHARE * run.budget.seconds


def measure_shipped(
    run: TrainingRun, ruler: RunRuler | None, *, folder: Path | None = None, seconds: float | None = None
) -> str:
    """Compose with the shipped model, hold it against the run's validation clips, and write the event.

    Its sound is brought to the run's rate and channels.

    Parameters
    ----------
    ruler : RunRuler, optional
        None where the run was never scored.
    folder : Path, optional
        Of the other model; by default the shipped one.
    seconds : float, optional
        At most so long; by default SHARE of the run's time.

    Returns
    -------
    str
        A sentence where the other model scores better, or where there was no time; else empty.
    """
    folder = shipped_folder() if folder is None else folder
    own = run.best.kernel_score if run.best is not None else None
    if own is None or ruler is None or ruler.reason or run.config.start_from is not None or not run.runtime.is_main:
        return ""
    if not holds_shipped(folder):
        return ""
    seconds = SHARE * run.seconds if seconds is None else seconds
    try:
        clips = clips_in_time(run, ruler, folder, seconds) if seconds >= LEAST_SECONDS else []
    except (MusiganError, ValueError) as error:
        run.event(SHIPPED_EVENT, sentence=f"The model that comes with the project could not be measured: {error}")
        return ""
    score = ruler.judge(clips).kernel_score.value if len(clips) >= FEWEST_CLIPS else None
    sentence = shipped_words(own, score, run.config.checkpoint_folder, run.config.dataset_folder)
    figures = {} if score is None else {"kernel_score": score, "own": own, "clips": len(clips)}
    run.event(SHIPPED_EVENT, sentence=sentence, **figures)
    return sentence


def clips_in_time(run: TrainingRun, ruler: RunRuler, folder: Path, seconds: float) -> list[NDArray]:
    """As many compositions as there is time for, at most one for every real clip; none where it is too short."""
    began = time.monotonic()
    generator = load_generator(folder, device=run.runtime.device)
    composer = Composer(generator, Sampling(SEED, dtype=run.composing_dtype))
    own, wanted = form_of(composer), SoundForm(run.generator.sample_rate, run.generator.sound_channels)
    clips: list[NDArray] = []
    first = time.monotonic()
    while len(clips) < len(ruler.clips):
        pieces = [piece.float().cpu() for piece in composer.stream(ruler.samples / ruler.sample_rate, item=len(clips))]
        clips.append(in_form(torch.cat(pieces, dim=-1).numpy(), own, wanted, samples=ruler.samples))
        now = time.monotonic()
        each = (now - first) / len(clips)
        if now - began + max(FEWEST_CLIPS - len(clips), 1) * each > seconds:
            break
    return clips


def shipped_words(own: float, score: float | None, checkpoints: Path, dataset: Path) -> str:
    """What follows from both kernel scores, in a sentence; `score` None: there was no time."""
    if score is None:
        return (
            "Whether the model that comes with the project is nearer to this music was not measured: there was no "
            f"time. This tells it: `{command('compare', checkpoints, 'shipped', '--real', dataset)}`."
        )
    if score >= own:
        return ""
    return (
        f"The model that comes with the project is nearer to this music than the best of this run: kernel score "
        f"{score:.2f} against {own:.2f} (0 is real music, 1 noise); it plays with "
        f"`{command('generate', '--checkpoints', 'shipped')}`."
    )


def last_shipped(history: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that the log has of it; empty where there is none."""
    found = next((line for line in reversed(history) if line.get("event") == SHIPPED_EVENT), {})
    sentence = found.get("sentence")
    return sentence if isinstance(sentence, str) else ""
