"""Which model of the project is nearest to one's own music: `--from shipped` begins with it.

Fine-tuning keeps a model's encoder and goes on from its flow. So two things are asked, both with the ruler of a run
(docs/ruler.md) on clips of the validation music: how near reconstructions of these clips come, which bounds what can be
learned, and how near compositions are. The mean of both kernel scores decides.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from piano.composer import Composer, Sampling
from piano.evaluation.score_generator import reconstruct_clips
from piano.foundation.doors import command
from piano.foundation.errors import CheckpointError
from piano.foundation.model_folder import project_models
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.utilities import load_generator
from piano.watching.run_ruler import SEED, RunRuler

CLIPS = 12
STEPS = 8


class Nearness(NamedTuple):
    """Kernel scores of a model on music that it is to learn: 0 is other music of this kind, 1 noise."""

    reconstruction: float
    """Of what its autoencoder makes of the music, with the scatter of real sound."""
    composition: float

    @property
    def mean(self) -> float:
        """What decides."""
        return (self.reconstruction + self.composition) / 2.0


class Nearest(NamedTuple):
    """The model that was chosen."""

    folder: Path
    sentence: str
    """Which and why, for the screen."""


def nearest_model(
    dataset: AudioDataset,
    *,
    sample_rate: int,
    channels: int,
    segment_samples: int,
    models: Mapping[str, Path] | None = None,
) -> Nearest:
    """Choose the model to begin with among those whose sound has the form of a data set.

    Parameters
    ----------
    dataset : AudioDataset
        Validation music.
    sample_rate, channels, segment_samples : int
        Of the data set, as its manifest says.
    models : mapping from names to folders, optional
        By default those that come with the project.

    Raises
    ------
    CheckpointError
        None has this form, or none is here.
    """
    models = project_models() if models is None else models
    generators = {name: load_generator(folder) for name, folder in models.items()}
    wanted = (sample_rate, channels, segment_samples)
    fitting = [name for name, generator in generators.items() if form_of_pairs(generator) == wanted]
    if not fitting:
        raise CheckpointError(none_fits_text(generators, sample_rate, channels))
    if len(fitting) == 1:
        return Nearest(
            models[fitting[0]], f"The model {fitting[0]} is the one of the project's that has this data set's form."
        )
    ruler = RunRuler(dataset, sample_rate, most_clips=CLIPS)
    if ruler.reason:
        return Nearest(models[fitting[0]], f"Which model is nearest was not measured: {ruler.reason}.")
    near = {name: measure_nearness(generators[name], ruler) for name in fitting}
    best = min(near, key=lambda name: near[name].mean)
    return Nearest(models[best], nearest_words(best, near))


def form_of_pairs(generator: VariationalAttentionModel) -> tuple[int, int, int]:
    """Sample rate, channels and samples of a segment that a data set for this generator has."""
    return generator.sample_rate, generator.sound_channels, generator.keywords["seq_len"]


def measure_nearness(generator: VariationalAttentionModel, ruler: RunRuler) -> Nearness:
    """Hold what a generator makes of the ruler's clips, and what it composes, against the music."""
    with torch.inference_mode():
        again = reconstruct_clips(generator, ruler.clips, scatters=True)
    return Nearness(
        ruler.judge(again, files=ruler.files).kernel_score.value,
        ruler.judge_generator(Composer(generator, Sampling(SEED, STEPS))).kernel_score.value,
    )


def nearest_words(best: str, near: Mapping[str, Nearness]) -> str:
    """Which model is nearest, with the figures of all."""
    figures = ", ".join(
        f"{name} {scores.reconstruction:.2f} and {scores.composition:.2f}" for name, scores in near.items()
    )
    return (
        f"The model {best} is nearest to this music. Kernel scores of reconstructions of it and of compositions "
        f"(0 is other music of this kind, 1 noise): {figures}."
    )


def none_fits_text(generators: Mapping[str, VariationalAttentionModel], sample_rate: int, channels: int) -> str:
    """What to say where no model has the data set's form: the forms there are, and how to make such a data set."""
    if not generators:
        return "no model comes with this copy of the project: begin from nothing, without --from."
    forms = []
    for name, generator in generators.items():
        rate, sides, samples = form_of_pairs(generator)
        prepare = command("prepare", "FOLDER", "--sample-rate", rate, "--channels", sides)
        forms.append(f"{name} ({prepare}, then {command('dataset', '--segment-seconds', f'{samples / rate:.10g}')})")
    return (
        f"none of the project's models has the form of this data set ({sample_rate} Hz, channels: {channels}). Make it "
        f"again for one of them: {'; '.join(forms)}."
    )
