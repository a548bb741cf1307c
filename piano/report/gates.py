"""What each stage of a run was measured to have reached, as sentences of the report."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from piano.foundation.screen_text import printable
from piano.report.markup import short

GATE_WORDS = {
    "G1": "Do copies of unseen music keep its spectrum and its pitches?",
    "G2": "Is what is composed in sixteen steps nearer to real music than decoded noise is?",
    "G3": "Do the judges put real music above composed music more often than not?",
    "G4": "Has learning with the ear left the copies as good as they were?",
    "G5": "Does one step compose as well as many, and as variedly?",
}
"""What a gate asks, by the first word of its name."""
GATE_FRAME = {"event", "stage", "epoch", "total_step", "seconds", "name", "passed", "advice", "sentence"}


class GateRow(NamedTuple):
    """What the page tells of a gate."""

    name: str
    is_passed: bool
    is_last: bool
    """Of its stage: an earlier one was measured again."""
    words: str
    """Question and answer, as paragraphs."""
    advice: str
    """Only where it did not pass."""
    numbers: str
    """All of them, where the answer does not tell them already."""


def gates_of(history: Sequence[dict[str, Any]]) -> list[GateRow]:
    """All gates of a run, in order."""
    measured = [entry for entry in history if entry.get("event") == "gate"]
    last = {id(entry) for entry in {str(entry.get("stage")): entry for entry in measured}.values()}
    return [gate_of(entry, is_last=id(entry) in last) for entry in measured]


def gate_of(entry: Mapping[str, Any], *, is_last: bool = True) -> GateRow:
    """One gate: question, answer in a sentence, and what to do where it did not pass."""
    name = str(entry.get("name", entry.get("stage", "")))
    asked = GATE_WORDS.get(name.split(" ")[0], "")
    answer = own_words(entry) or " ".join(answer_sentences(entry))
    return GateRow(
        printable(name),
        bool(entry.get("passed")),
        is_last,
        f"{asked}\n\n{answer or rest_of(entry)}",
        printable(str(entry.get("advice", ""))) if not entry.get("passed") else "",
        rest_of(entry) if answer else "",
    )


def own_words(entry: Mapping[str, Any]) -> str:
    """What the gate itself said when it was measured, without its name, verdict and advice; empty in older logs."""
    said = entry.get("sentence")
    if not isinstance(said, str):
        return ""
    said = re.sub(rf"^{re.escape(str(entry.get('name', '')))}: (NOT )?passed\. ?", "", said)
    advice = re.escape(str(entry.get("advice", "")).rstrip("."))
    return printable(re.sub(rf" ?{advice}\.?$", "", said, flags=re.IGNORECASE) if advice else said)


def answer_sentences(entry: Mapping[str, Any]) -> list[str]:
    """The numbers of a gate, as far as they are known ones, in sentences."""
    said = []
    if (missed := number_of(entry, "R")) is not None and (found := number_of(entry, "P")) is not None:
        said.append(
            f"{percent(missed)} of the levels are missed (R), and {percent(found)} of the pitches are found again (P)."
        )
    if (accuracy := number_of(entry, "accuracy")) is not None:
        said.append(f"They did in {percent(accuracy)} of the pairs; guessing would be 50 %.")
    noise = number_of(entry, "distance_noise")
    for name in entry:
        if noise and (steps := re.fullmatch(r"distance_(\d+)", name)):
            distance = number_of(entry, name)
            if distance is not None:
                said.append(steps_sentence(entry, int(steps[1]), distance / noise))
    if (steps := number_of(entry, "default_steps")) is not None:
        said.append(f"From here on it plays in {round(steps)} step{'' if round(steps) == 1 else 's'}.")
    return said


def steps_sentence(entry: Mapping[str, Any], steps: int, share: float) -> str:
    """How music of a number of sampling steps compares with decoded noise and with real music."""
    more = []
    silence, usual = number_of(entry, f"silence_{steps}"), number_of(entry, "silence_real")
    if silence is not None and usual is not None and abs(silence - usual) > 0.05:
        more.append(f"{percent(silence)} of it is silent (real music: {percent(usual)})")
    variety = number_of(entry, f"diversity_{steps}")
    if variety is not None:
        more.append(f"it is {short(variety)} times as varied as real music")
    aside = f"; {', '.join(more)}" if more else ""
    word = "one step" if steps == 1 else f"{steps} steps"
    return f"Its music of {word} is {short(share)} times as far from real music as decoded noise is{aside}."


def number_of(entry: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a gate."""
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def percent(share: float) -> str:
    """12 %"""
    return f"{100 * share:.0f}\u202f%"


def rest_of(entry: Mapping[str, Any]) -> str:
    """Every number of a gate with its name."""
    figures = {name: value for name, value in entry.items() if name not in GATE_FRAME}
    return ", ".join(f"{printable(name).replace('_', ' ')} {figure_text(value)}" for name, value in figures.items())


def figure_text(value: Any) -> str:
    """A value of the log as it is read: three digits for a number; what is nested, with its names."""
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(name).replace('_', ' ')} {figure_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(figure_text, value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return short(float(value)) if is_number and math.isfinite(value) else printable(value)
