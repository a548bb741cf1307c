"""The first words of the report: a headline that says what the page is, and a verdict in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from piano.foundation.screen_text import counted

NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
BANDS = (
    (0.08, "It plays close to real music, as far as numbers can hear."),
    (0.2, "It is well on its way to music: notes and phrases, not yet a piece."),
    (0.5, "It is still far from music: expect textures and held notes rather than tunes."),
    (1.0, "It is hardly better than noise yet: expect a drone. More time to learn is what it needs."),
)
"""Kernel scores up to a bound (0: other real music, 1: noise with its spectrum), and what is heard there."""
WORSE = "It is worse than noise: there is nothing to listen for yet. It needs far more time to learn."


def spelled(number: int, noun: str) -> str:
    """three minutes, 45 minutes; small numbers as words."""
    if 0 < number < len(NUMBERS):
        return f"{NUMBERS[number]} {noun}{'' if number == 1 else 's'}"
    return counted(number, noun)


def time_words(minutes: float) -> str:
    """How long, as one says it: 40 seconds, three minutes, 2.5 hours."""
    if minutes < 1:
        return counted(max(round(60 * minutes), 1), "second")
    if minutes < 90:
        return spelled(round(minutes), "minute")
    hours = round(minutes / 60, 1)
    return spelled(int(hours), "hour") if hours.is_integer() else f"{hours:g} hours"


def headline(*, minutes: float, songs: int, is_shipped: bool) -> str:
    """A sentence that says what there is to hear, made from what is known of the run; 0 is unknown."""
    if is_shipped:
        return "Music out of noise, by the model that comes with MusiGAN"
    if minutes and songs:
        return f"What {time_words(minutes)} of learning made of {spelled(songs, 'song')}"
    if minutes:
        return f"What {time_words(minutes)} of learning sound like"
    return "Music that a small neural network made out of noise"


def score_of(
    history: Sequence[Mapping[str, Any]], measured: float | None, best: float | None
) -> float | None:
    """Where the music lies: as the ruler measured it, else as the run judged its chosen or its last epoch."""
    if measured is not None:
        return measured
    if best is not None:
        return best
    scores = [entry.get("kernel_score") for entry in history if entry.get("event") == "score"]
    numbers = [score for score in scores if isinstance(score, int | float)]
    return float(numbers[-1]) if numbers else None


def verdict_words(score: float | None) -> str:
    """What a kernel score means to somebody who listens; empty where nothing was measured."""
    if score is None:
        return ""
    return next((words for bound, words in BANDS if score <= bound), WORSE)
