"""Music of a run's best model, made for the report: from noise, after prompts, and the real music beside both."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from piano.composer import Composer, Sampling
from piano.evaluation.score_generator import compose_samples, continue_prompts
from piano.foundation.errors import CheckpointError, DatasetError
from piano.foundation.runtime import best_device, choose_threads, sampling_dtype
from piano.foundation.screen_text import counted
from piano.report.sounds import ShownSound, SoundKind, dataset_music
from piano.utilities import build_generator, load_checkpoint

PROMPT_SECONDS = 8.0


class Composed(NamedTuple):
    """What was made, and what could not be."""

    sounds: list[ShownSound]
    notes: list[str]
    """Sentences about what is missing."""


def compose_music(
    run: Path, *, count: int, seconds: float, dataset: Path | None, known: Collection[SoundKind] = ()
) -> Composed:
    """Let the best epoch play: `count` pieces from noise, and as many fragments of validation music continued.

    Parameters
    ----------
    run : Path
        Folder of checkpoints, or a model that was given away.
    count : int
        0: only real music.
    seconds : float
        Of each sound, the prompt of a continuation included.
    dataset : Path, optional
        Its validation music gives prompts and real music.
    known : collection of kinds
        `noise` or `continuation`, if there is such music of this run already.

    Returns
    -------
    Composed
        The pieces are those that `generate_music --seed 0 --epoch best` writes.
    """
    notes = []
    real: list[ShownSound] = []
    if dataset is None:
        notes.append(
            "The data set of this run cannot be reached, so there is no real music here; --dataset or --real adds it."
        )
    else:
        try:
            real = dataset_music(dataset, count=2 * max(count, 2), seconds=seconds)
        except DatasetError as error:
            notes.append(f"No real music: {error}")
    compare, prompted = real[::2], real[1::2] or real
    words = "Validation music, which the model never learned from."
    sounds = [sound._replace(words=words) for sound in compare]
    if not count or {"noise", "continuation"} <= set(known):
        return Composed(sounds, notes)
    try:
        prompted = [] if "continuation" in known else prompted[:count]
        made = play(run, count=0 if "noise" in known else count, seconds=seconds, prompted=prompted)
    except CheckpointError as error:
        return Composed(sounds, [*notes, f"Nothing was composed for this page: {error}"])
    return Composed(made + sounds, notes)


@torch.inference_mode()
def play(run: Path, *, count: int, seconds: float, prompted: list[ShownSound]) -> list[ShownSound]:
    """Pieces from noise, then what the model and the song itself make of every prompt; raises CheckpointError."""
    torch.set_num_threads(choose_threads())
    content = load_checkpoint(run, "generator", "best")
    device = best_device()
    generator = build_generator(content, device=device)
    composer = Composer(generator, Sampling(dtype=sampling_dtype(device)))
    rate, steps = generator.sample_rate, composer.steps
    by = f"Epoch {content['epoch']}, {counted(steps, 'sampling step')}."
    pieces = compose_samples(composer, count=count, seconds=seconds) if count else []
    sounds = [
        ShownSound("noise", f"Sample {number}, seed 0", by, piece, rate) for number, piece in enumerate(pieces, start=1)
    ]
    fitting = [
        sound for sound in prompted if (sound.sample_rate, len(sound.waveform)) == (rate, generator.sound_channels)
    ]
    split = round(min(PROMPT_SECONDS, seconds / 2) * rate)
    prompts = [sound.waveform[:, :split] for sound in fitting]
    continued = continue_prompts(composer, prompts, seconds=max(seconds - split / rate, 0.1)) if prompts else []
    for source, prompt, continuation in zip(fitting, prompts, continued, strict=True):
        takeover = split / rate
        whole = np.concatenate([prompt, continuation.astype(np.float32)], axis=1)
        words = f"{takeover:g} s of the song, then the model's own music."
        sounds.append(ShownSound("continuation", f"Continuation of {source.title}", words, whole, rate, takeover))
        words = "How the song itself goes on."
        sounds.append(ShownSound("continuation", f"The song: {source.title}", words, source.waveform, rate))
    return sounds
