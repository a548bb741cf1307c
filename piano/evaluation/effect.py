"""What fine-tuning did: are the compositions nearer to the new music than before, and are they copies of it?

The model of before and the tuned one compose from the same seeds. Both are held against the new music, what was learned
from and what was held back together, and the difference of their kernel distances is judged by its interval.
"""

from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from piano.composer import Composer
from piano.evaluation.bootstrap import Figure
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.memorisation import (
    PASSAGE_SECONDS,
    SHORT_SECONDS,
    Library,
    Memorisation,
    build_library,
    find_copies,
)
from piano.evaluation.music_folder import Passage, read_excerpts, read_songs, recordings_of, spread_over
from piano.evaluation.paired import distance_gap
from piano.evaluation.score_generator import compose_samples
from piano.evaluation.set_scores import Reference
from piano.foundation.score_words import FEW_SONGS, FEWEST_CLIPS
from piano.foundation.screen_text import counted, printable

EffectVerdict = Literal["moved", "not moved", "copied", "cannot tell"]
MOST_NOISE = 16
FEW_HELD_OUT = {PASSAGE_SECONDS: 0.7, SHORT_SECONDS: 0.85}
"""By seconds of a passage, the least likeness of a copy, however unlike the few recordings are that were held back.
Music of the new kind reaches 0.4 and 0.75 (benchmarks/effect_meter.py), a passage at another level 0.9."""
LEAST_GAIN = 0.05
"""Share of the way from noise to real music by which a model must have come nearer: weights that hardly moved compose
nearly the same from the same seed, so that a trifle is no chance either."""
MOST_SEARCHED = 40
"""Songs of the training music that are searched for copies, spread evenly."""


class Side(NamedTuple):
    """Clips of the new music."""

    clips: Sequence[NDArray]
    """[shape=(channels, samples)]"""
    files: Sequence[Hashable]
    """The recording each was cut from."""
    own: Sequence[Collection[str]] = ()
    """For every clip the songs of the library that are its own recording; empty: none is."""


class Effect(NamedTuple):
    """What became of a model by fine-tuning."""

    verdict: EffectVerdict
    sentence: str
    before: float
    """Kernel distance of the compositions of the model that it began with, to the new music."""
    after: float
    """The same of the tuned one."""
    gap: Figure
    """After less before, with the interval of 95 of 100 draws of songs and seeds: below 0 it came nearer."""
    learned: Figure | None
    """The same, held against the music that was learned from alone; None where there is too little of it."""
    held_out: Figure | None
    """The same for the music that was held back."""
    clips: int
    """Compositions of each."""
    copied: int | None
    """Tuned compositions with a passage of the training music in them; None: nobody could search."""
    copied_before: int | None
    """The same of the model that it began with."""
    copy: dict[str, Any] | None = None
    """The most alike copy: piece, its second, the song, the second in it, likeness."""

    def fields(self) -> dict[str, Any]:
        """All of it as plain values for a log or a file."""
        figures = {name: list(figure) for name in ("gap", "learned", "held_out") if (figure := getattr(self, name))}
        return {name: value for name, value in (self._asdict() | figures).items() if value is not None}


def measure_effect(
    before: Sequence[NDArray],
    after: Sequence[NDArray],
    learned: Side,
    held_out: Side,
    library: Library | None,
    sample_rate: int,
    *,
    seed: int = 0,
) -> Effect:
    """Judge fine-tuning by what the two models compose.

    `copied`: a tuned composition holds a passage of the training music, and more of them do than of those of before.
    Else `moved`: the interval of the difference lies below 0, and it is no trifle. Else `not moved`.

    Parameters
    ----------
    before, after : sequence of arrays [shape=(channels, samples)]
        As many; clip n of both from the same seed.
    learned, held_out : Side
        Of the new music: clips as long as those.
    library : Library, optional
        The training music to look for copies in (`memorisation.build_library`).
    """
    new = Side([*learned.clips, *held_out.clips], [*learned.files, *held_out.files])
    if reason := _too_few(len(new.clips), len(before)):
        return _untold(reason, len(after))
    first, second, real = (feature_matrix(clips, sample_rate) for clips in (before, after, new.clips))
    noise = feature_matrix(spectrum_noise(new.clips, sample_rate, seed=seed)[:MOST_NOISE], sample_rate)
    reference = Reference.fit(real, _labels(new.files), noise, seed=seed)
    if reference.reason:
        return _untold(reference.reason, len(after))
    gaps = []
    for keep in (slice(None), slice(len(learned.clips)), slice(len(learned.clips), None)):
        part = reference._replace(real=reference.real[keep], files=_labels(new.files[keep]))
        gaps.append(
            distance_gap(part, first, second, seed=seed) if len(part.real) >= FEWEST_CLIPS else (0.0, 0.0, None)
        )
    (start, end, gap), (_, _, on_learned), (_, _, on_held_out) = gaps
    copies = _copies(before, after, learned, held_out, library, sample_rate)
    counts = [found and round(found.copied_share * len(found.nearest)) for found in copies]
    is_copied = bool(counts[1]) and counts[1] > (counts[0] or 0)
    is_nearer = gap.high < 0.0 and -gap.value > LEAST_GAIN * reference.span
    verdict: EffectVerdict = "copied" if is_copied else "moved" if is_nearer else "not moved"
    copy = _copy(copies[1]) if counts[1] and copies[1] else None
    effect = Effect(verdict, "", start, end, gap, on_learned, on_held_out, len(after), counts[1], counts[0], copy)
    return effect._replace(sentence=in_words(effect))


def _labels(files: Sequence[Hashable]) -> list[Hashable]:
    """Recordings, or where there are few of them passages in their place: else there is nothing to draw again."""
    if len(set(files)) >= FEW_SONGS:
        return list(files)
    return [Passage(str(name), index) for index, name in enumerate(files)]


def _too_few(new: int, made: int) -> str:
    """Why so many clips of the new music and of each model say nothing; empty where they do."""
    if new < FEWEST_CLIPS:
        return f"there {'is' if new == 1 else 'are'} {counted(new, 'clip')} of the new music"
    return f"each model composed {counted(made, 'clip')}" if made < FEWEST_CLIPS else ""


def _untold(reason: str, clips: int) -> Effect:
    none = Figure(0.0, 0.0, 0.0)
    sentence = f"What fine-tuning did cannot be told: {reason}."
    return Effect("cannot tell", sentence, 0.0, 0.0, none, None, None, clips, None, None)


def _copies(
    before: Sequence[NDArray],
    after: Sequence[NDArray],
    learned: Side,
    held_out: Side,
    library: Library | None,
    sample_rate: int,
) -> tuple[Memorisation | None, Memorisation | None]:
    """What was found of the training music in both sets; None where nobody knows what likeness is usual.

    A clip of the training music says what is usual where another recording is left to search once its own is left out.
    """
    if library is None or min(clip.shape[-1] for clip in before) < (PASSAGE_SECONDS + 0.2) * sample_rate:
        return None, None
    usable = [
        (clip, names)
        for clip, names in zip(learned.clips, learned.own or [()] * len(learned.clips), strict=True)
        if names and set(library.songs) - set(names)
    ]
    usual = [*((clip, ()) for clip in held_out.clips), *usable]
    if len(usual) < FEWEST_CLIPS:
        return None, None
    clips, own = [clip for clip, _ in usual], [names for _, names in usual]
    first, second = (
        find_copies(library, made, clips, sample_rate, own=own, least=FEW_HELD_OUT) for made in (before, after)
    )
    return first, second


def _copy(found: Memorisation) -> dict[str, Any]:
    """The most alike of the copies."""
    place = max(
        (index for index, nearest in enumerate(found.nearest) if found.is_copy(nearest)),
        key=lambda index: found.nearest[index].similarity,
    )
    nearest = found.nearest[place]
    return {
        "piece": place,
        "clip_seconds": nearest.clip_seconds,
        "song": nearest.song,
        "seconds": nearest.seconds,
        "likeness": nearest.similarity,
    }


def in_words(effect: Effect) -> str:
    """The verdict with its figures."""
    gap = effect.gap
    how = f"{effect.after:.3f} from it, {effect.before:.3f} before, difference [{gap.low:+.3f}, {gap.high:+.3f}]"
    searched = (
        "" if effect.copied is not None else " Whether it copies was not searched: there is too little new music."
    )
    if effect.verdict == "copied" and effect.copy:
        copy, pieces = effect.copy, counted(effect.clips, "piece")
        near = " It is also nearer to the new music" if gap.high < 0.0 else " It is no nearer to the new music"
        return (
            f"Fine-tuning copied: {effect.copied} of {pieces} hold a passage of the training music, most alike piece "
            f"{copy['piece']} at {copy['clip_seconds']:.1f} s ({printable(copy['song'])} at {copy['seconds']:.1f} s, "
            f"likeness {copy['likeness']:.2f}).{near} ({how})."
        )
    if effect.verdict == "moved":
        own = "" if effect.copied is None else f" None of {effect.clips} pieces is a copy." if not effect.copied else ""
        return f"Fine-tuning moved it: its music is nearer to the new music than before ({how}).{own}{searched}"
    away = "farther from the new music than before" if gap.low > 0.0 else "about as far from the new music as before"
    return f"Fine-tuning did not move it: its music is {away} ({how}).{searched}"


class Tuned(NamedTuple):
    """An effect, and one composition of each model to hear, from the same seed."""

    effect: Effect
    before: NDArray
    """[shape=(channels, samples)]"""
    after: NDArray
    """[shape=(channels, samples)]"""


def effect_of_models(
    before: Composer, after: Composer, *, train: Path, real: Path, count: int, seconds: float
) -> Tuned:
    """Compose with both models, read the new music, and judge.

    Parameters
    ----------
    before, after : Composer
        Of one rate and number of channels, with the same seed.
    train, real : Path
        What was learned from, and what was held back: folders of sound files, or a data set (one may be both).
    count : int
        Compositions of each, and clips of each side of the new music at most.
    seconds : float
        Of a clip; less where the new music is shorter.

    Raises
    ------
    DatasetError, CheckpointError
        The music cannot be read; a model plays what is no number.
    """
    rate, channels = after.generator.sample_rate, after.generator.sound_channels
    learned, held_out = (
        read_excerpts(folder, sample_rate=rate, channels=channels, seconds=seconds, count=count, split=split)
        for folder, split in ((train, "training"), (real, "validation"))
    )
    recordings = recordings_of(train, "training")
    own = [{name for name, label in recordings.items() if label == file} for file in learned.files]
    names = set(spread_over(list(recordings), MOST_SEARCHED))
    try:
        songs = read_songs(train, sample_rate=rate, channels=channels, split="training", only=names)
        library = build_library(songs, rate)
    except ValueError:  # no song is long enough
        library = None
    first, second = (compose_samples(composer, count=count, seconds=seconds) for composer in (before, after))
    sides = Side(learned.clips, learned.files, own), Side(held_out.clips, held_out.files)
    return Tuned(measure_effect(first, second, *sides, library, rate), first[0], second[0])
