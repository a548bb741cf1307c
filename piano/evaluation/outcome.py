"""What `musigan evaluate` finds out, as one typed value for programs."""

from collections.abc import Sequence
from typing import NamedTuple

from piano.evaluation.bootstrap import Figure
from piano.evaluation.ruler import Described, GeneratorScore, Ruler
from piano.evaluation.score_table import score_text
from piano.foundation.score_words import score_sentence


class Evaluation(NamedTuple):
    """A generator's music held against real music; docs/ruler.md says what each figure means."""

    score: float
    """The kernel score: 0 is other real music, 1 noise with its spectrum. NaN where there is no scale."""
    interval: tuple[float, float]
    """Of the score, 95 %."""
    words: str
    """The score in a sentence, with the clips and songs that it was measured on."""
    measures: dict[str, Figure]
    """coverage, recall, diversity, told_apart, strays: each with its interval."""
    aspects: dict[str, float]
    """How far each aspect of sound is off, in spreads of real music."""
    descriptors: dict[str, Described]
    """Single numbers of the music, beside the band of the real one."""
    notes: Sequence[str]
    """What to mind: few songs, another rate, songs that were learned from."""
    table: str
    """All of it as the command prints it."""
    details: GeneratorScore
    """All of it: continuations, reconstructions, copies too."""


def outcome_of(score: GeneratorScore, ruler: Ruler, notes: Sequence[str]) -> Evaluation:
    """The value for a score and the ruler that it was measured with."""
    kernel, *others = score.samples.sets
    named = dict(zip(score.samples.sets._fields[1:], others, strict=True))
    interval = (kernel.low, kernel.high)
    overlap = [score.overlap.warning()] if score.overlap and score.overlap.warning() else []
    return Evaluation(
        score=kernel.value,
        interval=interval,
        words=score_sentence(kernel.value, interval, len(ruler.clips), ruler.songs),
        measures=named,
        aspects=dict(score.samples.gaps),
        descriptors=score.samples.descriptors,
        notes=[*notes, *overlap],
        table=score_text(score, ruler),
        details=score,
    )
