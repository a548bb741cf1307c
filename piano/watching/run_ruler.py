"""The ruler inside training: validation music is measured once, then compositions on the way are held against it.

The same features, kernel distance, kernel score, coverage, recall and diversity as `evaluate` (docs/ruler.md), on clips
of eight seconds. Seeds are fixed, so that two epochs differ by what was learned and not by what was drawn.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.evaluation.bootstrap import Figure
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.descriptors import Clip, self_similarity, silence_share
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.set_scores import NOTHING_KNOWN, Reference, SetScores, score_set
from piano.foundation.errors import DatasetError
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.stages import MANY_STEPS
from piano.watching.score_cost import DECODED_NOISE_CLIPS, MOST_CLIPS, NOISE_CLIPS

CLIP_SECONDS = 8.0
SEED = 1234
SIMILARITY_CLIPS = 8
"""So many tell a drone from music."""


class Measured(NamedTuple):
    """A set of clips held against validation music."""

    kernel_distance: float
    """Unbiased; 0 for another draw of the same music."""
    sets: SetScores
    silence_share: float
    self_similarity: float = math.nan
    """How alike the harmonies of a clip are one second apart; near 1 for a drone. Not a number for short clips."""

    @property
    def kernel_score(self) -> Figure:
        """The distance from 0, other real music, to 1, noise with its spectrum."""
        return self.sets.kernel_score

    @property
    def diversity(self) -> float:
        """Mean distance between the clips over that of real ones."""
        return self.sets.diversity.value

    @property
    def is_known(self) -> bool:
        """Whether the clips could be held against real music."""
        return math.isfinite(self.kernel_distance)


class RunRuler:
    """Validation music, measured once.

    Parameters
    ----------
    dataset : AudioDataset
        Never trained on.
    sample_rate : int
    most_clips : int
        Clips of real music, and of every set to come.
    """

    def __init__(self, dataset: AudioDataset, sample_rate: int, *, most_clips: int = MOST_CLIPS) -> None:
        self.sample_rate = sample_rate
        self.clips = validation_clips(dataset, CLIP_SECONDS, sample_rate, most_clips=most_clips)
        self.labels = clip_labels(dataset, most_clips=most_clips)
        self.files: list[Hashable] = list(self.labels or range(len(self.clips)))
        """Which clips are of one recording: those are not compared with each other."""
        noise = spectrum_noise(self.clips, sample_rate, seed=SEED)[:NOISE_CLIPS]
        self.reference = Reference.fit(
            feature_matrix(self.clips, sample_rate), self.files, feature_matrix(noise, sample_rate), seed=SEED
        )
        self.silence_share = mean_silence(self.clips, sample_rate)
        self.songs = song_count(dataset, most_clips=most_clips)
        """Recordings that the clips are from; None where the data set does not know."""
        heard = [
            value
            for clip in self.clips[:SIMILARITY_CLIPS]
            if math.isfinite(value := self_similarity(Clip(clip, sample_rate), 1.0))
        ]
        self.self_similarity = float(np.percentile(heard, 95)) if heard else math.nan
        """What 95 of 100 real clips stay below; see `Judged`."""
        self.reason = self.reference.reason
        """Why no score can be given; empty where one can."""

    @property
    def samples(self) -> int:
        """Length of every clip."""
        return self.clips[0].shape[-1]

    def judge(self, clips: list[NDArray], *, files: Sequence[Hashable] | None = None) -> Measured:
        """Hold clips (channels, samples), as long as the real ones, against validation music.

        `files` names the recordings that clips were made from (reconstructions), as `self.files` does.
        """
        if not are_numbers(clips):
            return Measured(math.nan, NOTHING_KNOWN, math.nan)
        features = feature_matrix(clips, self.sample_rate)
        made: Sequence[Hashable] = [("made", index) for index in range(len(clips))] if files is None else files
        sets = score_set(self.reference, features, made, seed=SEED)
        alike = [self_similarity(Clip(clip, self.sample_rate), 1.0) for clip in clips[:SIMILARITY_CLIPS]]
        return Measured(
            self.reference.distance_at(sets.kernel_score.value),
            sets,
            mean_silence(clips, self.sample_rate),
            float(np.mean(alike)),
        )

    def judge_generator(self, composer: Composer) -> Measured:
        """Compositions, one for every real clip: up to rounding those that `generate` plays for their seed and item."""
        return self.judge(compose_clips(composer, len(self.clips), self.samples))

    def judge_decoded_noise(self, generator: VariationalAttentionModel) -> Measured:
        """White noise in the place of latents: what a flow that learned nothing would sound like."""
        frames = -(-self.samples // generator.hop_samples)
        count = min(len(self.clips), DECODED_NOISE_CLIPS)
        white = torch.randn(count, frames, generator.latent_dim, generator=torch.Generator().manual_seed(SEED))
        return self.judge(
            decode_clips(Composer(generator, Sampling(SEED, MANY_STEPS)), white.to(generator.device), self.samples)
        )


def are_numbers(clips: Sequence[NDArray]) -> bool:
    """Whether every sample is a finite number."""
    return all(bool(np.isfinite(clip).all()) for clip in clips)


def mean_silence(clips: list[NDArray], sample_rate: int) -> float:
    """Mean share of silence over clips."""
    return float(np.mean([silence_share(Clip(clip, sample_rate)) for clip in clips]))


def validation_clips(
    dataset: AudioDataset, seconds: float, sample_rate: int, *, most_clips: int = MOST_CLIPS
) -> list[np.ndarray]:
    """Clips (channels, samples) spread over the validation set, two or more even if it holds a single pair."""
    samples = min(round(seconds * sample_rate), dataset.samples // 2)
    places = clip_places(len(dataset), most_clips)
    clips = [dataset.crop(pair, (dataset.samples - samples) * is_end, samples).numpy() for pair, is_end in places]
    for (pair, _), clip in zip(places, clips, strict=True):
        if not np.isfinite(clip).all():
            raise DatasetError(
                f"validation pair {pair} holds samples that are no numbers. Make the data set again, without that file."
            )
    return clips


def clip_places(pairs: int, most_clips: int = MOST_CLIPS) -> list[tuple[int, bool]]:
    """Where validation clips lie: index of the pair, and whether at its end. Ends only if there are few pairs."""
    places = [(index, False) for index in range(pairs)]
    if len(places) < most_clips:
        places += [(index, True) for index in range(pairs)]
    chosen = np.linspace(0, len(places) - 1, min(most_clips, len(places))).round().astype(int)
    return [places[choice] for choice in chosen]


def clip_labels(dataset: AudioDataset, *, most_clips: int = MOST_CLIPS) -> list[str] | None:
    """The recording of every validation clip, so that clips of one piece are not compared with each other.

    None where the data set does not know, or has one recording only: then there would be nothing to compare.
    """
    if dataset.labels is None:
        return None
    labels = [dataset.labels[pair] for pair, _ in clip_places(len(dataset), most_clips)]
    return labels if len(set(labels)) > 1 else None


def song_count(dataset: AudioDataset, *, most_clips: int = MOST_CLIPS) -> int | None:
    """How many recordings the validation clips are from; None where the data set does not know."""
    if dataset.labels is None:
        return None
    return len({dataset.labels[pair] for pair, _ in clip_places(len(dataset), most_clips)})


def compose_clips(composer: Composer, count: int, samples: int) -> list[np.ndarray]:
    """`count` new clips (channels, samples), as the composer's `generate` makes them."""
    composer.generator.eval()
    sounds = composer.generate_together(samples / composer.generator.sample_rate, count=count)
    return [sound.cpu().numpy() for sound in sounds]


def decode_clips(composer: Composer, latents: Tensor, samples: int) -> list[np.ndarray]:
    """Clips (channels, samples) of whitened latents (count, frames, latent_dim), finished as compositions are."""
    return [
        composer.decode(latent.unsqueeze(0), first_item=item)[0, :, :samples].cpu().numpy()
        for item, latent in enumerate(latents)
    ]
