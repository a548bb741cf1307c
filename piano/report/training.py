"""How a run learned, as parts of the report: its samples from epoch to epoch, curves, findings and gates."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from piano.config_reader import Config
from piano.doctor.verdict import last_gates
from piano.foundation.errors import AudioError
from piano.foundation.screen_text import counted, join_names
from piano.report.charts import DrawnChart, draw_chart
from piano.report.gates import figure_text, gates_of
from piano.report.markup import Section, absent_section, render, short
from piano.report.sound_cards import Card, sound_card, strip_columns
from piano.report.sounds import ShownSound, load_sound, saved_samples, spread_epochs
from piano.report.verdict import FINDINGS_TITLE
from piano.watching.curves import (
    PLAIN_WORDS,
    RATE_PREFIX,
    Curve,
    CurveChart,
    FindingMark,
    ReferenceLine,
    StageStretch,
    Timeline,
    find_phases,
    find_stages,
    minutes_of,
    stage_curves,
)

CONFUSION = ReferenceLine("confusion", math.log(2.0))
HEALTHY = (0.4, 0.7)
MOST_EPOCHS, MOST_NOISES = 24, 2
MOST_SAVED_SECONDS = 24 * 3 * 8.0
"""Of all saved samples on a page together, which keeps it small enough to send."""
SAVED_SECONDS = 20.0
TREATMENTS = {"remedy": "remedy", "relaxed": "taken back", "finding closed": "healthy again"}
"""Lines of the log that follow a finding."""


class Group(NamedTuple):
    """Numbers that are read together, in one chart."""

    title: str
    words: str
    names: tuple[tuple[str, ...], ...]
    """The first of these sets of which the run logged something is drawn."""
    level: ReferenceLine | None = None
    band: tuple[float, float] | None = None


GROUPS = (
    Group(
        "D: the judges' losses",
        "At 0.69 they cannot tell real from made; near 0 they always can. The stripe, 0.4 to 0.7, is a healthy game.",
        (("ear_dn", "professor_dn"), ("ear_loss", "professor_loss"), ("ear_d_loss", "professor_d_loss")),
        CONFUSION,
        HEALTHY,
    ),
    Group(
        "D: verdicts on real music and on fakes",
        "Higher means: sounds real. Real should lie above fake, but not by ever more.",
        (
            ("ear_d_real", "ear_d_fake", "professor_d_real", "professor_d_fake"),
            ("ear_real", "ear_fake", "professor_real", "professor_fake"),
        ),
    ),
    Group(
        "G: the generator before the judges",
        "High when it is seen through, low when it fools them. It should neither run away nor sink to nothing.",
        (("adversarial", "ear_adversarial"),),
        CONFUSION,
    ),
    Group(
        "Reconstruction",
        "How far the copy of real music is from the original. Should fall and settle.",
        (("reconstruction", "ear_reconstruction"),),
    ),
    Group(
        "KL: how much a latent says",
        "In nats a frame. A controller brings it to its target; near 0 the decoder would have nothing to go by.",
        (("kl",),),
    ),
    Group(
        "Flow: composing, learned from noise",
        "Error in guessing clean latents from noisy ones. Should fall, never to zero.",
        (("flow",),),
    ),
)


class SoundRow(NamedTuple):
    """One sound at every epoch that is shown."""

    title: str
    words: str
    cards: list[Card]
    columns: int


class OtherCurves(NamedTuple):
    """The numbers of a stage that have no place in a chart with others."""

    stage: str
    note: str
    charts: list[DrawnChart]
    still: list[str]
    """What has no line to draw, with its value."""


class FindingRow(NamedTuple):
    """What the page tells of a finding; empty where the log has nothing."""

    number: int
    name: str
    severity: str
    when: str
    sentence: str
    evidence: str
    remedy: str
    advice: str


def learning_section(run: Path, history: Sequence[dict[str, Any]], *, best: int | None) -> Section:
    """The same noise at every save, then the same fragment continued: one hears what was learned in between."""
    title = "Hear it grow up"
    saved = saved_samples(run)
    noises = [name for name in saved if name.startswith("sample_")][:MOST_NOISES]
    shown = noises + [name for name in saved if name not in noises and not name.startswith("sample_")][:1]
    if not shown:
        sentence = "There are no samples of its epochs in this folder: training writes some at most saves."
        return absent_section("learning", title, sentence)
    places = epoch_places(history)
    rows: list[SoundRow] = []
    notes: list[str] = []
    for row, name in enumerate(shown):
        row_title, about = row_words(name, row)
        cards, note = epoch_cards(saved[name], row_title, places, rows=len(shown), best=best)
        notes += note
        if cards:
            rows.append(SoundRow(row_title, about, cards, strip_columns(len(cards))))
    if not rows:
        return absent_section("learning", title, " ".join(notes) or "No sample of an epoch can be read.")
    words = (
        "The model played from the same noise at each of these epochs, so this is one piece of music growing up. Press "
        "the button and it plays on while the model behind it learns."
    )
    if best is not None:
        words += " The chosen epoch is the one whose music was measured nearest to real music; it plays above."
    content = render("learning.html", rows=rows, notes=list(dict.fromkeys(notes)))
    return Section("learning", title, words, content)


def row_words(name: str, row: int) -> tuple[str, str]:
    """Headline and sentence of a row of saved samples."""
    if name == "continuation":
        return "A fragment, continued", "Real music up to the dashed line, the model's own after it."
    if name.startswith("sample_"):
        return ("One piece" if not row else "Another piece"), ""
    return name.replace("_", " ").capitalize(), ""


def epoch_cards(
    files: dict[int, Path], title: str, places: dict[int, tuple[str, float]], *, rows: int, best: int | None
) -> tuple[list[Card], list[str]]:
    """A card for each shown epoch of one sound, and sentences about what is not shown."""
    notes: list[str] = []
    sounds: dict[int, ShownSound] = {}
    most = MOST_EPOCHS
    for epoch in spread_epochs(files, most, keep=best):
        try:
            waveform, rate = load_sound(files[epoch], max_seconds=SAVED_SECONDS)
        except AudioError as error:
            notes.append(f"Left out: {error}")
            continue
        stage, minutes = places.get(epoch, ("", 0.0))
        words = f"{stage}, {minutes:.1f} min" if stage else ""
        takeover = waveform.shape[1] / rate / 2 if title.startswith("A fragment") else None
        sounds[epoch] = ShownSound("noise", f"Epoch {epoch}", words, waveform, rate, takeover)
    if sounds:
        longest = max(sound.seconds for sound in sounds.values())
        most = max(2, int(MOST_SAVED_SECONDS / rows / longest))
    chosen = spread_epochs(sounds, most, keep=best)
    if len(chosen) < len(files):
        notes.append(f"{len(chosen)} of {len(files)} saved epochs are shown, to keep this file small.")
    cards = [
        sound_card(
            sound._replace(title=f"{sound.title}, chosen") if epoch == best else sound,
            size="small",
            label=f"{sound.title}, {title.lower()}",
            mark="chosen" if epoch == best else "",
        )
        for epoch, sound in sounds.items()
        if epoch in chosen
    ]
    return cards, notes


def epoch_places(history: Iterable[dict[str, Any]]) -> dict[int, tuple[str, float]]:
    """Stage and minute in which every epoch ended."""
    return {
        int(entry["epoch"]): (str(entry["stage"]), minutes_of(entry))
        for entry in history
        if "event" not in entry and isinstance(entry.get("epoch"), int) and "stage" in entry
    }


def findings_of(history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the doctor found while the run went on, in order."""
    return [entry for entry in history if entry.get("event") == "finding"]


def timeline_of(history: Sequence[dict[str, Any]]) -> Timeline:
    """Stages, findings and length of a run."""
    marks = [FindingMark(number, minutes_of(entry)) for number, entry in enumerate(findings_of(history), start=1)]
    end = max(map(minutes_of, history), default=0.0)
    return Timeline(find_stages(history), marks, end, find_phases(history))


def curves_section(history: Sequence[dict[str, Any]], config: Config | None) -> Section:
    """The charts everyone looks for first, then every other number, folded by stage."""
    stages = stage_curves(history)
    if not stages:
        sentence = "There is no metrics.jsonl with steps in this folder, so no curve can be drawn."
        return absent_section("curves", "How it learned", sentence)
    timeline = timeline_of(history)
    charts = [chart for group in GROUPS if (chart := group_chart(group, stages, config))]
    rates = [curve for curves in stages.values() for curve in curves if curve.name.startswith(RATE_PREFIX)]
    if rates:
        words = "How fast each network moved, on a logarithmic scale: a short warm-up in every stage, then down."
        charts.append(CurveChart("Learning rates", words, fewer_rates(rates), is_log=True))
    words = (
        "Time goes to the right. The shaded stripes are the stages, named above each chart or numbered as in the "
        "table; what was measured only late is drawn from its stage on. Lines are medians over a twentieth of a stage, "
        "so single spikes are not seen."
    )
    if timeline.marks:
        words += " The numbered marks are the doctor's findings, listed below."
    if timeline.phases:
        words += " A bar at the foot of a chart: the generator learned alone, or the adversary's weight still rose."
    names = stage_names(timeline)
    if len(names) < len(timeline.stages):
        words += " The run was given more time: a stage that learned again has a stripe and a row for each time."
    words = f"{training_sentence(history)}\n\n{words}"
    steps = sum(stage.steps for stage in timeline.stages)
    content = render(
        "curves.html",
        stages=stage_rows([*timeline.stages, *timeline.phases], history),
        main=[draw_chart(chart, timeline) for chart in charts],
        others=other_curves(stages, timeline),
    )
    note = f"{counted(steps, 'step')} in {counted(len(names), 'stage')}"
    return Section("curves", "How it learned", words, content, note)


def stage_names(timeline: Timeline) -> list[str]:
    """The stages of a run in order, each once."""
    return list(dict.fromkeys(stage.name for stage in timeline.stages))


def group_chart(group: Group, stages: dict[str, list[Curve]], config: Config | None) -> CurveChart | None:
    """The chart of a group, if the run logged any of its numbers."""
    logged = {curve.name for curves in stages.values() for curve in curves}
    names = next((names for names in group.names if logged & set(names)), ())
    curves = [curve for name in names for curves in stages.values() for curve in curves if curve.name == name]
    level = group.level
    if names == ("kl",) and config is not None:
        level = ReferenceLine("target", config.kl_target * config.model.latent_dim)
    return CurveChart(group.title, group.words, curves, level, group.band) if curves else None


def fewer_rates(rates: list[Curve]) -> list[Curve]:
    """Learning rates of generator and judges: whatever a stage trains of the generator counts as the generator."""
    judges = {f"{RATE_PREFIX}ear", f"{RATE_PREFIX}professor"}
    renamed = [rate._replace(name=rate.name if rate.name in judges else f"{RATE_PREFIX}generator") for rate in rates]
    return sorted(renamed, key=lambda rate: rate.name in judges)


def other_curves(stages: dict[str, list[Curve]], timeline: Timeline) -> list[OtherCurves]:
    """Every number that has no place in a chart of its own, by stage."""
    placed = {name for group in GROUPS for names in group.names for name in names}
    parts = []
    for stage, curves in stages.items():
        others: dict[str, list[Curve]] = {}
        for curve in curves:
            if curve.name not in placed and not curve.name.startswith(RATE_PREFIX):
                others.setdefault(curve.name, []).append(curve)
        charts = [
            draw_chart(CurveChart(name.replace("_", " "), PLAIN_WORDS.get(name, ""), found), timeline)
            for name, found in others.items()
            if is_worth_a_chart(found)
        ]
        told = [
            f"{name.replace('_', ' ')} {short(float(found[-1].values[-1]))}"
            for name, found in others.items()
            if not is_worth_a_chart(found)
        ]
        steps = sum(stretch.steps for stretch in timeline.stages if stretch.name == stage)
        if charts or told:
            parts.append(OtherCurves(stage, counted(steps, "step"), charts, told))
    return parts


def is_worth_a_chart(curves: Sequence[Curve]) -> bool:
    """Whether there is a line to draw: more than one point, and not all of them nothing."""
    return sum(len(curve.values) for curve in curves) > 1 and any(curve.values.any() for curve in curves)


def stage_rows(
    stages: Sequence[StageStretch], history: Sequence[dict[str, Any]]
) -> list[tuple[str | int | bool | None, ...]]:
    """Name of each stage, when it began and ended, its steps, and whether its gate was passed (None: no gate)."""
    verdicts: dict[int, bool] = {}
    for entry in (entry for entry in history if entry.get("event") == "gate"):
        before = [
            stage.number
            for stage in stages
            if stage.name == entry.get("stage") and stage.start <= minutes_of(entry) + 1e-9
        ]
        verdicts |= {number: bool(entry.get("passed")) for number in before[-1:]}
    return [
        (
            f"{stage.number}\u2002{stage.name}" if stage.number else stage.name,
            f"{stage.start:.1f}",
            f"{stage.end:.1f}",
            stage.steps,
            verdicts.get(stage.number),
        )
        for stage in stages
    ]


def findings_section(history: Sequence[dict[str, Any]], faults: Sequence[str] = ()) -> Section:
    """The doctor's findings with their evidence, then everything else that is not well, then the gates.

    Parameters
    ----------
    history : sequence of dict
        Lines of metrics.jsonl.
    faults : sequence of str
        Of the verdict: the head of the page names the first of them only.
    """
    findings = findings_of(history)
    if not history:
        sentence = "There is no log of the training in this folder, so there are no findings and no gates."
        return absent_section("findings", FINDINGS_TITLE, sentence)
    words = (
        "The doctor watches the numbers while the run learns. A finding says what it saw, by which number, and what to "
        "do; its number is the mark in the charts."
    )
    gates = last_gates(history).values()
    failed = sum(entry.get("passed") is False for entry in gates)
    others = len(faults) - bool(failed)
    told = [counted(len(findings), "finding")] if findings else []
    told += [f"{failed} of {counted(len(gates), 'gate')} not passed"] if failed else []
    told += [counted(others, "other thing that is not well", "other things that are not well")] if others > 0 else []
    note = ", ".join(told) or "0 findings"
    measured, treatments = gates_of(history), treatment_rows(history)
    gates_words = "After every stage the run measures itself on music it never learned from."
    if not all(gate.is_last for gate in measured):
        gates_words += " Where a stage learned again, the last gate counts."
    content = render(
        "findings.html",
        findings=[finding_of(number, entry) for number, entry in enumerate(findings, start=1)],
        treatments=treatments,
        treatments_note=counted(len(treatments), "entry", "entries"),
        faults=faults,
        gates=measured,
        gates_words=gates_words,
    )
    return Section("findings", FINDINGS_TITLE, words, content, note)


def treatment_rows(history: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """What was done about findings after they were made, and what was taken back."""
    return [
        (
            f"{minutes_of(entry):.1f}",
            TREATMENTS[entry["event"]],
            str(entry.get("name", "")).replace("_", " "),
            str(entry.get("remedy", "")),
        )
        for entry in history
        if entry.get("event") in TREATMENTS
    ]


def finding_of(number: int, entry: dict[str, Any]) -> FindingRow:
    """One finding: what, when, by which number, and what was or should be done."""
    evidence = ""
    if entry.get("signal") is not None:
        bound = f", threshold {figure_text(entry['threshold'])}" if entry.get("threshold") is not None else ""
        evidence = f"{str(entry['signal']).replace('_', ' ')} {figure_text(entry.get('value'))}{bound}"
    return FindingRow(
        number,
        str(entry.get("name", "finding")).replace("_", " "),
        str(entry.get("severity", "note")),
        f"{entry.get('stage', '')}, epoch {entry.get('epoch', '?')}, {minutes_of(entry):.1f} min",
        str(entry.get("sentence", "")),
        evidence,
        str(entry.get("remedy") or ""),
        str(entry.get("advice") or ""),
    )


def stages_left_out(history: Sequence[dict[str, Any]]) -> list[str]:
    """Stages that a budget had no time for."""
    names = [str(entry.get("stage", "")) for entry in history if entry.get("event") == "left out"]
    return list(dict.fromkeys(names))


def training_sentence(history: Sequence[dict[str, Any]]) -> str:
    """What the log says of the training, in a sentence; empty without a log."""
    if not history:
        return ""
    timeline = timeline_of(history)
    names = stage_names(timeline)
    steps = sum(stage.steps for stage in timeline.stages)
    gates = last_gates(history).values()
    failed = sum(entry.get("passed") is False for entry in gates)
    sentence = (
        f"It learned for {timeline.minutes:.1f} minutes, {counted(steps, 'step')} in "
        f"{counted(len(names), 'stage')} ({join_names(names)})"
    )
    if gates:
        sentence += f"; {len(gates) - failed} of {counted(len(gates), 'gate')} passed"
    if left_out := stages_left_out(history):
        sentence += f"; there was no time for {join_names(left_out)}"
    if findings := len(timeline.marks):
        sentence += f"; the doctor reported {counted(findings, 'finding')}"
    return sentence + "."
