"""The loss guide's tables: what each number of a run should be, with the run's own figures beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from piano.doctor.windows import Window, median
from piano.foundation.score_words import is_number


class Band(NamedTuple):
    """Values below `below` read as `words`."""

    below: float
    words: str


class Range(NamedTuple):
    """How to read one number."""

    signal: str
    name: str
    healthy: str
    bands: tuple[Band, ...]
    plain: str = ""
    """What it says of a run, for people who have not read docs/loss-guide.md."""

    def reading(self, value: float) -> str:
        """What a value means."""
        return next((band.words for band in self.bands if value < band.below), self.bands[-1].words)


INFINITY = float("inf")
LEAST_VARIED, MOST_VARIED = 0.7, 1.5
"""Variety of music over that of real music: less repeats itself, more is often noise. Gates ask for the same."""
JUDGE = (
    Band(0.10, "collapse of the game: the judge knows everything"),
    Band(0.40, "the judge leads"),
    Band(0.70, "healthy"),
    Band(0.90, "the judge is behind"),
    Band(INFINITY, "failure of the judge"),
)
GENERATOR = (
    Band(0.3, "the judge is fooled"),
    Band(0.5, "the judge is soft"),
    Band(2.0, "healthy"),
    Band(3.0, "the judge leads"),
    Band(INFINITY, "losing"),
)
GAMES = {
    "ear": "the contest about sound",
    "professor": "the contest about composition",
    "": "the contest of generator and judge",
}
LEAST = "healthy"
WELL_ENOUGH = {LEAST, "fair", "a little poor"}
"""Readings that need no word in a verdict."""
RANGES: tuple[Range, ...] = (
    Range(
        "kl_ratio",
        "rate of the latent / its target",
        "0.8 to 1.2",
        (
            Band(0.5, "too little: posterior collapse near"),
            Band(0.8, "low"),
            Band(1.2, LEAST),
            Band(1.5, "high"),
            Band(INFINITY, "too much"),
        ),
        "how much is written down of every sound",
    ),
    Range(
        "kl_dead_share",
        "unused latent dimensions",
        "below 0.2",
        (Band(0.2, LEAST), Band(0.5, "many"), Band(INFINITY, "posterior collapse")),
        "numbers of what is written down that say nothing",
    ),
    Range(
        "prior_gap",
        "composed latents' distance from real",
        "below 0.3",
        (Band(0.3, LEAST), Band(INFINITY, "prior hole")),
        "how far what is composed lies from what real music looks like inside",
    ),
    *(
        Range(f"{judge}dn", f"{words}L_D, normalised", "0.40 to 0.70 (0.693: confusion)", JUDGE, game)
        for judge, words, game in (
            ("ear_", "ear: ", GAMES["ear"]),
            ("professor_", "professor: ", GAMES["professor"]),
            ("", "", GAMES[""]),
        )
    ),
    Range("d_loss", "L_D", "0.40 to 0.70 (0.693: confusion)", JUDGE, GAMES[""]),
    *(
        Range(name, f"{words}L_G", "0.5 to 2", GENERATOR, game)
        for name, words, game in (
            ("ear_adversarial", "ear: ", GAMES["ear"]),
            ("adversarial", "professor: ", GAMES["professor"]),
            ("g_loss", "", GAMES[""]),
        )
    ),
    Range(
        "diversity",
        "variety of what is generated / real",
        f"{LEAST_VARIED:g} to {MOST_VARIED:g}",
        (
            Band(0.15, "mode collapse"),
            Band(0.3, "near mode collapse"),
            Band(0.5, "poor"),
            Band(LEAST_VARIED, "a little poor"),
            Band(MOST_VARIED, LEAST),
            Band(10.0, "more than music has: noise?"),
            Band(INFINITY, "cannot tell: real music has none"),
        ),
        "the variety of what it makes",
    ),
    Range(
        "noise_spread",
        "spread of two continuations / real",
        "above 0.2",
        (Band(0.2, "the noise is ignored"), Band(INFINITY, LEAST)),
        "how different two continuations are",
    ),
    Range(
        "nearest_ratio",
        "nearness to training music / of unseen music",
        "above 0.5",
        (Band(0.5, "copies"), Band(INFINITY, LEAST)),
        "how near its music is to single pieces it learned from",
    ),
)
"""Bounds as in docs/loss-guide.md. L_D is normalised for label smoothing: 0 perfect, 0.693 confused."""


def is_as_varied_as_music(diversity: float) -> bool:
    """Whether a diversity reads as healthy: the bound of the doctor, and of the gate for one step."""
    return next(known for known in RANGES if known.signal == "diversity").reading(diversity) == LEAST


GATE_RANGES: tuple[Range, ...] = (
    Range(
        "R",
        "reconstruction error R",
        "below 0.15 (tiny: 0.30)",
        (Band(0.15, LEAST), Band(0.30, "fair"), Band(0.6, "poor"), Band(INFINITY, "useless")),
        "how much of a sound is kept when it is written down",
    ),
    Range(
        "P",
        "pitches found again P",
        "above 0.9 (tiny: 0.7)",
        (Band(0.4, "useless"), Band(0.7, "poor"), Band(0.9, "fair"), Band(INFINITY, LEAST)),
        "how many notes are kept when sound is written down",
    ),
)


def is_ill(reading: str) -> bool:
    """Whether a reading belongs in the first sentence about a run."""
    return reading not in WELL_ENOUGH


class RangeRow(NamedTuple):
    """One line of the table."""

    stage: str
    name: str
    value: float
    healthy: str
    reading: str
    plain: str = ""
    """The number in plain words; empty where it has none."""


def table(windows: Sequence[Window], history: Sequence[Mapping[str, Any]]) -> list[RangeRow]:
    """Every number that has a range: the median of the last quarter of its stage, or the gate's figure."""
    rows = []
    for stage in dict.fromkeys(window.stage for window in windows):
        of_stage = [window for window in windows if window.stage == stage]
        for known in RANGES:
            values = [window.signals[known.signal] for window in of_stage if known.signal in window.signals]
            if values:
                value = median(values[-max(1, len(values) // 4) :])
                rows.append(RangeRow(stage, known.name, value, known.healthy, known.reading(value), known.plain))
        gates = [entry for entry in history if entry.get("event") == "gate" and entry.get("stage") == stage]
        for known in GATE_RANGES:
            value = gates[-1].get(known.signal) if gates else None
            if is_number(value):
                value = float(value)  # type: ignore[arg-type]
                rows.append(RangeRow(stage, known.name, value, known.healthy, known.reading(value), known.plain))
    return rows
