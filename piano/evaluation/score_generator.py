"""A generator's music held against real music: composes, continues, reconstructs, then asks the ruler."""

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.composer import Composer
from piano.evaluation.learned_songs import Overlap
from piano.evaluation.memorisation import Library, find_copies, why_not_searched
from piano.evaluation.music_folder import count_songs
from piano.evaluation.ruler import (
    Clips,
    GeneratorScore,
    ProgressWatch,
    Ruler,
    features_of,
    score_clips,
    score_continuations,
    score_reconstructions,
    unwatched,
)
from piano.evaluation.set_scores import score_set
from piano.evaluation.sound_form import SoundForm, in_form
from piano.foundation.errors import CheckpointError
from piano.piano_model import VariationalAttentionModel


class Made(NamedTuple):
    """Music of a generator; every clip is an array [shape=(channels, samples)]."""

    samples: list[NDArray]
    """Of every seed the same number, one seed after the other."""
    continuations: list[NDArray]
    reconstructions: list[NDArray]
    """With the scatter of real sound, as they are heard."""
    middles: Sequence[NDArray] = ()
    """The same without it, the decoder's middle, to compare with the originals; empty where it is not known."""
    names: Sequence[str] = ()
    """The files that the samples were cut from; empty where a generator made them."""


@torch.inference_mode()
def compose_samples(
    composer: Composer,
    *,
    count: int,
    seconds: float,
    watch: ProgressWatch = unwatched,
) -> list[NDArray]:
    """The samples that `generate_music --seed` writes, as arrays (channels, samples)."""
    items = watch([np.array(index) for index in range(count)], "composing")
    return [_joined(composer.stream(seconds, item=int(item))) for item in items]


@torch.inference_mode()
def continue_prompts(
    composer: Composer,
    prompts: Clips,
    *,
    seconds: float,
    watch: ProgressWatch = unwatched,
) -> list[NDArray]:
    """What the generator plays after each prompt (channels, samples); the prompt is not part of it."""
    return [
        _joined(composer.stream(seconds, prompt=torch.from_numpy(np.ascontiguousarray(prompt)), item=item))
        for item, prompt in enumerate(watch(prompts, "continuing"))
    ]


@torch.inference_mode()
def reconstruct_clips(
    generator: VariationalAttentionModel, clips: Clips, *, scatters: bool = False, watch: ProgressWatch = unwatched
) -> list[NDArray]:
    """What the autoencoder makes of clips (channels, samples): the decoder's middle, or with real sound's scatter."""
    composer, made = Composer(generator), []
    for item, clip in enumerate(watch(clips, "reconstructing")):
        sound = torch.from_numpy(np.ascontiguousarray(clip)).unsqueeze(0).to(generator.device)
        finish = {"first_item": item, "are_real": True} if scatters else {}
        made.append(_as_array(composer.decode(generator.encode(sound), **finish)[0, :, : sound.shape[-1]]))
    return made


def _joined(pieces: Iterable[Tensor]) -> NDArray:
    sound = _as_array(torch.cat(list(pieces), dim=-1))
    if not np.isfinite(sound).all():
        raise CheckpointError("this model plays something that is no number: it is broken. Take another --epoch.")
    return sound


def _as_array(sound: Tensor) -> NDArray:
    return sound.float().cpu().numpy()


def score_generator(
    composer: Composer,
    ruler: Ruler,
    *,
    count: int,
    seeds: int = 1,
    stretches: Sequence[NDArray] = (),
    library: Library | None = None,
    overlap: Overlap | None = None,
    reconstruct: bool = True,
    watch: ProgressWatch = unwatched,
) -> tuple[GeneratorScore, Made]:
    """Every figure of a generator; its default is the whole ruler, and each part can be left out.

    Training calls it with a ruler that was fitted once, a small `count` and `reconstruct=False`.

    Parameters
    ----------
    composer : Composer
        Of the generator, in evaluation mode; its weights and mode are left as they are.
    ruler : Ruler
        From `fit_ruler`; says how long a sample is, and in which form it is measured: of a lower rate or fewer
        channels than the generator's, what was made is brought to it.
    count : int
        Samples from white noise, of each seed.
    seeds : int
        The composer's own and those that follow it.
    stretches : sequence of arrays [shape=(channels, 2 * samples)], optional
        Real music of different songs: the first half is the prompt, the second what the song really plays next.
    library : Library, optional
        Training music to look for copies in.
    overlap : Overlap, optional
        Songs of the ruler that were learned from, where that is known: they say nothing of what likeness is usual.
    watch : callable, optional
        Shows progress.

    Returns
    -------
    GeneratorScore, Made
        The figures, and the sounds they were measured on.
    """
    channels, samples = ruler.clips[0].shape
    seconds = samples / ruler.sample_rate
    own, wanted = form_of(composer), SoundForm(ruler.sample_rate, channels)
    prompts = [in_form(part[:, :samples], wanted, own) for part in stretches]
    originals = ruler.clips if own == wanted else [in_form(clip, wanted, own) for clip in ruler.clips]
    sounds = (
        [
            clip
            for each in with_seeds(composer, seeds)
            for clip in compose_samples(each, count=count, seconds=seconds, watch=watch)
        ],
        continue_prompts(composer, prompts, seconds=seconds, watch=watch),
        reconstruct_clips(composer.generator, originals, scatters=True, watch=watch) if reconstruct else [],
        reconstruct_clips(composer.generator, originals, watch=watch) if reconstruct else [],
    )
    composed, continued, heard, middles = (
        [in_form(clip, own, wanted, samples=samples) for clip in clips] for clips in sounds
    )
    made = Made(composed, continued, heard, middles)
    score = score_made(ruler, made, seeds=seeds, stretches=stretches, library=library, overlap=overlap, watch=watch)
    return score, made


def form_of(composer: Composer) -> SoundForm:
    """Rate and channels of what a generator makes."""
    return SoundForm(composer.generator.sample_rate, composer.generator.sound_channels)


def with_seeds(composer: Composer, seeds: int) -> list[Composer]:
    """The same generator with this seed and those that follow it."""
    sampling = composer.sampling
    return [
        composer if not turn else composer.with_sampling(sampling._replace(seed=sampling.seed + turn))
        for turn in range(seeds)
    ]


def score_made(
    ruler: Ruler,
    made: Made,
    *,
    files: Sequence[Hashable] | None = None,
    seeds: int = 1,
    stretches: Sequence[NDArray] = (),
    library: Library | None = None,
    overlap: Overlap | None = None,
    watch: ProgressWatch = unwatched,
) -> GeneratorScore:
    """The figures of music that is there already; `files` labels the samples that were cut from one file.

    The samples are those of so many `seeds`, as in `score_clips`.
    """
    samples = ruler.clips[0].shape[1]
    continuations = reconstructions = reconstruction_sets = memorisation = None
    if made.continuations:
        continuations = score_continuations(
            ruler,
            [part[:, :samples] for part in stretches],
            made.continuations,
            [part[:, samples:] for part in stretches],
        )
    if made.reconstructions:
        reconstructions = score_reconstructions(ruler, made.middles or made.reconstructions, watch=watch)
        features = features_of(made.reconstructions, ruler.sample_rate, watch, "reconstructions, heard")
        reconstruction_sets = score_set(
            ruler.reference, features, ruler.files[: len(made.reconstructions)], seed=ruler.seed
        )
    held_out = [place for place, label in enumerate(ruler.files) if not (overlap and overlap.holds(label))]
    unheard = count_songs(ruler.files[place] for place in held_out)
    not_searched = why_not_searched(unheard) if library is not None else ""
    if library is not None and not not_searched:
        clips = [ruler.clips[place] for place in held_out]
        memorisation = find_copies(library, made.samples, clips, ruler.sample_rate)
    return GeneratorScore(
        samples=score_clips(ruler, made.samples, files=files, seeds=seeds, watch=watch),
        continuations=continuations,
        reconstructions=reconstructions,
        reconstruction_sets=reconstruction_sets,
        memorisation=memorisation,
        not_searched=not_searched,
        overlap=overlap,
    )
