"""The first words of the report: a headline that says what the page is, and a verdict in plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piano.doctor.verdict import MOST_NAMED, more_words, run_verdict
from piano.foundation.score_words import UNKNOWN, drone_words, score_meaning, score_sentence
from piano.foundation.screen_text import counted

FINDINGS_TITLE = "What the doctor found"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def spelled(number: int, noun: str) -> str:
    """three minutes, 45 minutes; small numbers as words."""
    if 0 < number < len(NUMBERS):
        return f"{NUMBERS[number]} {noun}{'' if number == 1 else 's'}"
    return counted(number, noun)


def time_words(minutes: float) -> str:
    """How long, rounded as on the screen: 40 seconds, three minutes, 14.5 minutes, 2.5 hours."""
    if minutes < 1:
        return counted(max(round(60 * minutes), 1), "second")
    if minutes < 90:
        tenths = round(minutes, 1)
        return spelled(int(tenths), "minute") if tenths.is_integer() else f"{tenths:.1f} minutes"
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


class Spoken(NamedTuple):
    """What the head of the page says of a run."""

    lead: str
    """What its music is like, or why there is no use in listening."""
    more: str
    """The rest, smaller."""
    faults: Sequence[str] = ()
    """Everything that is not well beside the doctor's findings."""


def spoken(
    history: Sequence[Mapping[str, Any]],
    score: float | None,
    *,
    clips: int | None,
    songs: int | None,
    alike: tuple[float, float] | None = None,
    warning: str = "",
    run: Path | None = None,
) -> Spoken:
    """The doctor's verdict on a run, and where its music lies.

    Parameters
    ----------
    history : sequence of mappings
        Lines of metrics.jsonl; empty for a model whose training nobody knows.
    score : float, optional
        The kernel score of the ruler, where the music was measured.
    clips, songs : int, optional
        What it was measured on.
    alike : tuple of float, optional
        How alike its music is from one second to the next, and what real music stays below: it may be a drone.
    warning : str
        A sentence about the measurement that comes first, since nothing is to be believed without it.
    run : Path, optional
        Its folder, for the command in the advice.
    """
    told = _spoken(history, score, clips=clips, songs=songs, alike=alike, run=run)
    return told._replace(lead=f"{warning} {told.lead}".strip())


def _spoken(
    history: Sequence[Mapping[str, Any]],
    score: float | None,
    *,
    clips: int | None,
    songs: int | None,
    alike: tuple[float, float] | None,
    run: Path | None,
) -> Spoken:
    meaning = score_meaning(score, clips, songs) if score is not None else ""
    measured = "" if meaning in ("", UNKNOWN) else f"Its music is {score_sentence(score, None, clips, songs)}."
    if not history:
        drone = drone_words(*alike) if alike and measured else ""
        return Spoken(f"{measured} It is a drone: {drone}." if drone else measured, "")
    figures: dict[str, Any] | None = None
    if measured:
        figures = {"kernel_score": score, "clips": clips, "songs": songs}
        if alike:
            figures |= {"self_similarity": alike[0], "self_similarity_real": alike[1]}
    verdict = run_verdict(history, figures)
    told = verdict.advice_in(run) if run else verdict.advice
    advice = f" {' '.join(told.split())}" if told else ""
    rest = more_words(len(verdict.faults) - MOST_NAMED)
    sentence = verdict.sentence.replace(rest, f"{rest} under {FINDINGS_TITLE}")
    if verdict.is_ruined or not measured:
        return Spoken(sentence, advice.strip(), verdict.faults)
    return Spoken(f"Its music is {meaning}.", f"{sentence}{advice}", verdict.faults)
