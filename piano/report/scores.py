"""How good a run's music is, as parts of the report: the ruler's figures on their scale, and the judges' tournament."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piano.evaluation.measures import DESCRIPTORS, SET_MEASURES, SetMeasure, measure_title
from piano.foundation.doors import command
from piano.foundation.score_words import FIRST_RULER, RULER_VERSION, is_number, score_sentence
from piano.foundation.screen_text import band_texts, counted
from piano.report.markup import Section, absent_section, picture_address, render, short

SCORES_NAME = "scores.json"
SET_WORDS = {
    "samples": "this model's music",
    "reconstructions": "its copies of real music",
    "other real music": "other real music",
    "one song repeated": "one song repeated",
    "noise, music's spectrum": "music-like noise",
    "white noise": "white noise",
}
"""What each row of the ruler is, on the page."""
MOST_ROWS = 200


Spread = tuple[float, float, float]
"""Value, low and high end."""


class Dot(NamedTuple):
    """A dot and its interval on a track, in % of its width."""

    value: float
    start: float
    width: float
    is_own: bool


class MeasureTold(NamedTuple):
    """A measure of the ruler on its scale."""

    title: str
    words: str
    scale: str
    """From where to where."""
    rows: list[tuple[str, Dot, Spread]]
    """Of every set of clips, the model's own first."""


class DescriptorRow(NamedTuple):
    """A single number's name, and whether it lies outside the band of real music."""

    title: str
    is_outside: bool


class AgreementRow(NamedTuple):
    """How continuations follow their prompts."""

    rows: list[tuple[str, ...]]
    seam: Spread | None
    """The jump at the seam, and between what it lies in real music."""


class Table(NamedTuple):
    """A folded table."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str


def scores_section(folder: Path, *, how: str, songs: int | None = None) -> Section:
    """The ruler's figures.

    Parameters
    ----------
    folder : Path
        Where evaluate.py wrote scores.json.
    how : str
        What to do to get one, for a run that was not measured.
    songs : int, optional
        Songs of the validation set the run was measured on, where it is known.
    """
    scores = read_json(folder / SCORES_NAME)
    title = "How good it is"
    if not isinstance(scores, dict) or not isinstance(scores.get("sets"), dict):
        return absent_section("scores", title, f"This model was not measured yet. {how}")
    words = (
        "Each figure stands on its scale: what other real music reaches (the best there is), what a collapse to one "
        "song would, and what noise would. "
        "The bar around a dot is its 95 % interval; two dots whose bars overlap are not told apart."
    )
    warned = warning_of(folder)
    content = render(
        "scores.html",
        warning=warned,
        measured=measured_words(scores, songs),
        is_one_song=songs_of(scores, songs) == 1,
        measures=[told for measure in SET_MEASURES if (told := measure_of(measure, scores["sets"]))],
        numbers=descriptor_rows(scores["descriptors"]) if isinstance(scores.get("descriptors"), dict) else [],
        agreement=agreement_of(scores.get("continuations")),
        copies=copies_of(scores.get("reconstructions")),
    )
    value = kernel_score(folder)
    real = scores.get("real")
    clips = real.get("clips") if isinstance(real, Mapping) else None
    clips = clips if isinstance(clips, int) else None
    note = "" if value is None else score_sentence(value, None, clips, songs_of(scores, songs))
    note = f"flattered, by music it learned from: {note}" if note and warned else note
    return Section("scores", title, words, content, note)


def songs_of(scores: Mapping[str, Any], songs: int | None) -> int | None:
    """Of how many songs the real clips were; where an earlier version counted, never more than the validation set."""
    real = scores.get("real")
    said = real.get("songs") if isinstance(real, Mapping) else None
    if isinstance(real, Mapping) and "learned_from" in real and isinstance(said, int):
        return said
    known = [number for number in (said, songs) if isinstance(number, int) and number > 0]
    return min(known) if known else None


def measured_words(scores: Mapping[str, Any], songs: int | None) -> str:
    """What was measured against what, and whether that was learned from, as far as the scores say."""
    real = scores.get("real")
    clips = real.get("clips") if isinstance(real, Mapping) else None
    against = counted(clips, "clip") if isinstance(clips, int) else "clips"
    found = songs_of(scores, songs)
    of = f" of {counted(found, 'song')}" if found else ""
    learned = real.get("learned_from") if isinstance(real, Mapping) else None
    if not isinstance(learned, list):
        heard = "whether it learned from them is not known"
    elif not learned:
        heard = "none of them is among those it learned from"
    else:
        heard = f"it learned from {counted(len(learned), 'song')} of them"
    version = scores.get("ruler", FIRST_RULER)
    other = "" if version == RULER_VERSION else " An earlier ruler measured it: measure again before you compare."
    return f"Measured: {scores.get('subject', 'this model')}, against {against}{of}; {heard}.{other}"


def warning_of(folder: Path) -> str:
    """That the real music was learned from, where scores.json in a folder says so; else empty."""
    found = read_json(folder / SCORES_NAME)
    said = found.get("warning") if isinstance(found, Mapping) else None
    return said if isinstance(said, str) else ""


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def figure_of(scores: Any, name: str) -> tuple[float, float, float] | None:
    """Value, low and high end of a figure, if they are numbers."""
    found = scores.get(name) if isinstance(scores, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    numbers = [found.get(key) for key in ("value", "low", "high")]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return None
    value, low, high = (float(number) for number in numbers)  # type: ignore[arg-type]
    return value, low, high


def measure_of(measure: SetMeasure, sets: Mapping[str, Any]) -> MeasureTold | None:
    """One measure: every set of clips as a dot on one scale, its figure beside it, the model's own first."""
    figures = {name: found for name, scores in sets.items() if (found := figure_of(scores, measure.name))}
    if not figures:
        return None
    low = min(0.0, *(math.floor(10 * found[1]) / 10 for found in figures.values()))
    high = max(1.0, *(math.ceil(10 * found[2]) / 10 for found in figures.values()))
    rows = [
        (SET_WORDS.get(name, name), dot_place(found, low, high, is_own=name == "samples"), found)
        for name, found in figures.items()
    ]
    title = measure_title(measure.name)
    about = f"{measure.meaning[0].upper()}{measure.meaning[1:]}. {measure.better.capitalize()} is better."
    scale = f"{low:g} to {high:g}".replace("-", "\u2212")
    return MeasureTold(title, about, scale, rows)


def dot_place(found: Spread, low: float, high: float, *, is_own: bool) -> Dot:
    """A dot and its interval on a track from `low` to `high`."""
    value, start, end = (100 * (number - low) / max(high - low, 1e-9) for number in found)
    return Dot(value, start, max(end - start, 0.5), is_own)


def descriptor_rows(descriptors: Mapping[str, Any]) -> list[tuple[DescriptorRow, float, str, str, str]]:
    """Single numbers against the band in which real music lies; the ones outside come first."""
    units = {row.name: row.unit for row in DESCRIPTORS}
    rows = []
    for name, row in sorted(descriptors.items(), key=lambda item: bool(item[1].get("in_band"))):
        mean = figure_of(row, "mean")
        if mean is None or not all(isinstance(row.get(key), int | float) for key in ("low", "high", "noise")):
            continue
        title = f"{name.replace('_', ' ')} {f'({units[name]})' if units.get(name) else ''}".strip()
        value, low, high = band_texts(mean[0], row["low"], row["high"], short)
        place = band_place(mean[0], row["low"], row["high"])
        named = DescriptorRow(title, not row.get("in_band"))
        rows.append((named, place, value, f"{low} to {high}", short(row["noise"])))
    return rows


def band_place(value: float, low: float, high: float) -> float:
    """Place of a value in % of a track whose middle third is the band, never outside of the track."""
    return 100 * (min(max((value - low) / max(high - low, 1e-9), -1.0), 2.0) + 1) / 3


def agreement_of(row: Any) -> AgreementRow | None:
    """Do continuations follow their prompts, and is the seam smooth? None where that was not measured."""
    if not isinstance(row, Mapping) or not isinstance(row.get("agreement"), Mapping):
        return None
    real = row.get("real_agreement") or {}
    rows = [
        (
            aspect,
            *(short(float(made[key])) for key in ("own", "others", "p_value")),
            short(float(real[aspect]["own"])) if aspect in real else "unknown",
        )
        for aspect, made in row["agreement"].items()
    ]
    found = figure_of(row, "seam")
    return AgreementRow(rows, (found[0], row["seam_low"], row["seam_high"]) if found else None)


def copies_of(row: Any) -> Mapping[str, float] | None:
    """How much of real music survives the autoencoder, `R` and `P`; None where that was not measured."""
    if not isinstance(row, Mapping) or not all(isinstance(row.get(key), int | float) for key in ("R", "P")):
        return None
    return {key: float(row[key]) for key in ("R", "P")}


def kernel_score(folder: Path) -> float | None:
    """Where the music lies between real music (0) and noise (1); None if it was not measured."""
    scores = read_json(folder / SCORES_NAME)
    sets = scores.get("sets") if isinstance(scores, dict) else None
    own = figure_of((sets or {}).get("samples"), "kernel_score") if isinstance(sets, dict) else None
    return None if own is None else own[0]


def likeness(folder: Path) -> tuple[float, float] | None:
    """How alike the music is from one second to the next, and what real clips stay below; None if not measured."""
    scores = read_json(folder / SCORES_NAME)
    rows = scores.get("descriptors") if isinstance(scores, Mapping) else None
    row = rows.get("self_similarity_1s") if isinstance(rows, Mapping) else None
    mean = figure_of(row, "mean")
    high = row.get("high") if isinstance(row, Mapping) else None
    return (mean[0], float(high)) if mean is not None and is_number(high) else None  # type: ignore[arg-type]


def measured_on(folder: Path, songs: int | None) -> tuple[int | None, int | None]:
    """Real clips and songs that the music was held against, where they are known.

    Parameters
    ----------
    folder : Path
        Of the scores.
    songs : int, optional
        Of the validation set.
    """
    scores = read_json(folder / SCORES_NAME)
    if not isinstance(scores, dict):
        return None, None
    real = scores.get("real")
    clips = real.get("clips") if isinstance(real, Mapping) else None
    return (clips if isinstance(clips, int) else None), songs_of(scores, songs)


def tournament_section(folder: Path) -> Section:
    """What check_discriminator found: its words, its table, its pictures."""
    title = "The tournament of the judges"
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted_files(folder, "*.txt")]
    pictures = sorted_files(folder, "*.png")
    verdicts = read_json(folder / "verdicts.json")
    if not texts and not pictures and not isinstance(verdicts, list):
        held = command("check-discriminator", "--all")
        sentence = f"No tournament was held: run {held}, then make this page again."
        return absent_section("tournament", title, sentence)
    words = "Every saved discriminator judged the generator's music, with real music as a control."
    drawn = [(path.stem.replace("_", " "), picture_address(path)) for path in pictures]
    found = (
        ("Ratings", read_csv(folder / "ratings.csv")),
        ("Every verdict", verdicts if isinstance(verdicts, list) else []),
    )
    content = render(
        "tournament.html",
        texts=[text.replace("\n", "\n\n") for text in texts],
        pictures=[{"title": title, "address": address} for title, address in drawn if address],
        tables=[table for title, rows in found if (table := table_of(title, rows))],
    )
    return Section("tournament", title, words, content)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is none that can be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def sorted_files(folder: Path, pattern: str) -> list[Path]:
    """Visible files of a folder by name."""
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))


def table_of(title: str, found: Sequence[Any]) -> Table | None:
    """Rows as a table, whatever columns they have; None without rows."""
    rows = [row for row in found if isinstance(row, Mapping)]
    if not rows:
        return None
    columns = list(rows[0])
    shown = f"{MOST_ROWS} of {len(rows)} rows" if len(rows) > MOST_ROWS else f"{len(rows)} rows"
    cells = [[cell(row.get(name)) for name in columns] for row in rows[:MOST_ROWS]]
    return Table(title, [str(name).replace("_", " ") for name in columns], cells, shown)


def cell(value: Any) -> str:
    """A value of a table, as it is read."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return short(number) if math.isfinite(number) and not number.is_integer() else str(value)
