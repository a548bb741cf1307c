"""A radio played once more with the moves that a listener made: the same moves give the same sound, sample by sample.

What a radio plays depends on what was asked of it, on the sample from which that was heard, and on how much was made by
then (what would have come fades out under what comes). So a receipt holds these, and nothing else.
"""

from collections.abc import Iterator

from torch import Tensor

from piano.composer import Composer
from piano.foundation.receipt import RadioMove, RadioPart
from piano.latent_style import Style
from piano.play.radio import Program, Radio


def replayed(composer: Composer, part: RadioPart, samples: int) -> Iterator[Tensor]:
    """What was heard of a radio, in waveform pieces (channels, samples).

    Parameters
    ----------
    composer : Composer
        Its network and precision; all else says the part.
    part : RadioPart
    samples : int
        How many, from its first one on.
    """
    first, *moves = part.moves
    radio = Radio(composer, program_of(composer, first))
    made: list[tuple[int, Tensor]] = []

    def produce() -> None:
        chunk = radio.produce()
        made.append((chunk.sample, chunk.waveform))

    for index, move in enumerate(moves):
        while radio.end < move.end:
            radio.forget(min(later.at for later in moves[index:]))
            produce()
            while len(made) > 1 and made[1][0] <= part.begin:  # before what is wanted
                made.pop(0)
        void = radio.move(program_of(composer, move), move.at)
        while made and made[-1][0] >= void:
            made.pop()
        if made:
            sample, waveform = made.pop()
            made.append((sample, waveform[:, : max(void - sample, 0)]))
    end = part.begin + samples
    while True:
        for sample, waveform in made:
            piece = waveform[:, max(part.begin - sample, 0) : max(end - sample, 0)]
            if piece.shape[-1]:
                yield piece
        made.clear()
        if radio.end >= end:
            return
        radio.forget(radio.end)
        produce()


def program_of(composer: Composer, move: RadioMove) -> Program:
    """What a move asked for."""
    between = None
    if move.between is not None:
        first, second = (style_at(composer, move.seed, move.piece, pole) for pole in move.between)
        between = (first, second)
    return Program(**move.model_dump(exclude={"at", "end", "between"}), between=between)


def style_at(composer: Composer, seed: int, piece: int, pole: int) -> Style:
    """A style of the training music itself, with the beat that a piece begins with."""
    return composer.generator.style.draw(seed, range(piece, piece + 1), surprise=0.0, near=pole)
