"""A run that goes on with more time can afford more clips to score with: its best epoch is judged again with them.

All sittings of a run score with the same clips, or the best epoch of one could not be compared with those of the next.
A run that began with a few minutes has few; kept for a night, they would choose its best epoch by chance.
"""

from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.foundation.checkpoint_format import checkpoint_path, write_best
from piano.foundation.errors import CheckpointError
from piano.foundation.score_words import JUDGED_AGAIN, RULER_VERSION
from piano.foundation.screen_text import counted, wrapped
from piano.training.training_run import TrainingRun
from piano.utilities import load_generator
from piano.watching.run_ruler import SEED, RunRuler

MANY_MORE = 2.0
"""So many times the clips make a new judgement worth its time."""


def wants_more_clips(run: TrainingRun, affordable: int) -> bool:
    """Whether the best epoch so far was chosen with far fewer clips than there is time for now."""
    had, best = run.measured.get("score_clips"), run.best
    if had is None or best is None or best.ruler != RULER_VERSION or affordable < MANY_MORE * had:
        return False
    if not checkpoint_path(run.config.resumed_folder, "generator", best.epoch).is_file():
        return False
    pairs = len(run.data.sets["validation"])
    return min(affordable, 2 * pairs) >= MANY_MORE * had  # of every pair both ends, at most


def judge_best_again(run: TrainingRun, ruler: RunRuler, *, most_clips: int) -> bool:
    """Give the best epoch the score that it has on the clips of `ruler`, from now on those of the run.

    `most_clips` is what the ruler was made with: the next sitting makes the same again.

    Returns
    -------
    bool
        False, and nothing was changed, where its file is gone or broken, or what it plays is no number.
    """
    best = run.best
    if best is None or not ruler.clips or ruler.reason:
        return False
    folder = run.config.resumed_folder
    try:
        generator = load_generator(folder, best.epoch, device=run.runtime.device)
        judged = ruler.judge_generator(Composer(generator, Sampling(SEED, best.steps, dtype=run.composing_dtype)))
    except CheckpointError:
        return False
    if not judged.is_known:
        return False
    before, score = run.measured["score_clips"], judged.kernel_score.value
    run.measured["score_clips"] = float(most_clips)
    run.best = best._replace(kernel_distance=judged.kernel_distance, kernel_score=score)
    write_best(run.config.checkpoint_folder, run.best)
    run.event(
        JUDGED_AGAIN,
        best=best.epoch,
        kernel_score=score,
        diversity=judged.diversity,
        self_similarity=judged.self_similarity,
        self_similarity_real=ruler.self_similarity,
        before=best.kernel_score,
        clips=len(ruler.clips),
        clips_before=before,
        songs=ruler.songs,
        ruler=RULER_VERSION,
    )
    was = "" if best.kernel_score is None else f" ({best.kernel_score:.3f} with {counted(round(before), 'clip')})"
    tqdm.write(
        wrapped(
            f"There is time for more clips: the best epoch so far, {best.epoch}, was judged again with "
            f"{len(ruler.clips)} of them, kernel score {score:.3f}{was}."
        )
    )
    return True
