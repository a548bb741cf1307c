"""A run beside another model, as a part of the report: what `musigan compare` found, in words and on one scale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piano.evaluation.measures import measure_title
from piano.evaluation.paired import overall_words
from piano.foundation.doors import command
from piano.foundation.model_folder import SHIPPED, shipped_folder
from piano.foundation.screen_text import printable
from piano.report.markup import Section, absent_section, render, rounded
from piano.report.scores import read_json

COMPARISON_NAME = "comparison.json"
TITLE = "Beside another model"
VERDICTS = ("better", "worse", "cannot tell")


def comparison_section(folder: Path, run: Path) -> Section:
    """What `musigan compare` wrote to a folder about a run and another model."""
    found = read_json(folder / COMPARISON_NAME)
    if not isinstance(found, dict) or not isinstance(found.get("measures"), dict):
        made = command("compare", run, SHIPPED)
        sentence = f"It was not compared with another model: {made} does it, then --comparison shows it."
        return absent_section("comparison", TITLE, sentence)
    first, second = run_names(found, run)
    rows = []
    for name, row in found["measures"].items():
        if not isinstance(row, Mapping) or not all(is_number(row.get(key)) for key in ("first", "second")):
            continue
        better = str(row.get("better", ""))
        title = measure_title(name) + (f" ({better} is better)" if better else "")
        own, other = float(row["first"]), float(row["second"])
        said = row.get("verdict") if row.get("verdict") in VERDICTS else "unknown"
        rows.append((title, pair_places(own, other), rounded(own), rounded(other), said))
    head = ["measure", "both, from 0", first, second, f"{first} is"]
    real = found.get("real")
    clips = real.get("clips") if isinstance(real, Mapping) else None
    against = f" Both were held against {clips} clips of real music." if is_number(clips) else ""
    warned = found.get("warning")
    before = f"{warned} " if isinstance(warned, str) else ""
    words = before + (
        f"{capital(overall(found, first, second))}{against} The filled dot is {first}, the ring is {second}."
    )
    content = render("compared.html", head=head, rows=rows, caption=capital(f"{first} beside {second}"))
    return Section("comparison", TITLE, words, content, f"{first} and {second}")


def capital(sentence: str) -> str:
    """The sentence with a capital first."""
    return sentence[:1].upper() + sentence[1:]


def overall(found: Mapping[str, Any], first: str, second: str) -> str:
    """The verdict of all measures together, with the models' names."""
    verdicts = {
        str(name): str(row.get("verdict")) for name, row in found["measures"].items() if isinstance(row, Mapping)
    }
    return overall_words(verdicts, first, second)


def run_names(found: Mapping[str, Any], own: Path) -> tuple[str, str]:
    """What the two models are called on the page."""
    runs = found.get("runs")
    names = []
    for index, word in enumerate(("the first", "the second")):
        run = runs[index] if isinstance(runs, list) and index < len(runs) else None
        folder = run.get("folder") if isinstance(run, Mapping) else None
        names.append(run_name(Path(folder), own) if isinstance(folder, str) and folder else word)
    if names[0] == names[1]:
        return "the first", "the second"
    return names[0], names[1]


def run_name(folder: Path, own: Path) -> str:
    """What a model is called beside the run that the page is about."""
    if folder == shipped_folder() or folder.name == SHIPPED:
        return "the project's model"
    return "this model" if folder.resolve() == own.resolve() else printable(folder.name)


def is_number(value: Any) -> bool:
    """A number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def pair_places(first: float, second: float) -> tuple[float, float, float, float]:
    """Both values on a track from 0 to 1, or to the larger of them, and the bar between: its begin and width; in %."""
    highest = max(1.0, first, second)
    places = [100 * max(value, 0.0) / highest for value in (first, second)]
    low, high = sorted(places)
    return places[0], places[1], low, max(high - low, 0.5)
