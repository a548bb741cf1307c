"""How a run learned, as parts of the report: its samples from epoch to epoch, curves, findings and gates."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from piano.config_reader import Config
from piano.evaluation.curves import (
    PLAIN_WORDS,
    RATE_PREFIX,
    Chart,
    Curve,
    Level,
    Mark,
    Stage,
    Timeline,
    chart_html,
    find_phases,
    find_stages,
    minutes_of,
    stage_curves,
)
from piano.evaluation.report_html import (
    Section,
    counted,
    fold,
    join_names,
    missing,
    paragraphs,
    short,
    subheading,
    table_html,
)
from piano.evaluation.report_sounds import Sound, load_sound, saved_samples, spread_epochs
from piano.evaluation.sound_cards import card_grid, sound_card
from piano.foundation.errors import AudioError

CONFUSION = Level("confusion", math.log(2.0))
HEALTHY = (0.4, 0.7)
MOST_EPOCHS, MOST_NOISES = 24, 2
MOST_SAVED_SECONDS = 24 * 3 * 8.0
"""Of all saved samples on a page together, which keeps it small enough to send."""
SAVED_SECONDS = 20.0
GATE_WORDS = {
    "G1": "Copies of unseen music keep its spectrum (R: small is good) and its pitches (P: 1 is all of them).",
    "G2": "What is composed in sixteen steps is nearer to real music than decoded noise is (distances: small is good).",
    "G3": "The judges put real music above composed music more often than not (accuracy: 0.5 is guessing).",
    "G4": "Learning with the ear has not spoiled the copies.",
    "G5": "One step composes as well as many, and as variedly (diversity: 1 is that of real music).",
}
"""What a gate asks, by the first word of its name."""
TREATMENTS = {"remedy": "remedy", "relaxed": "taken back", "finding closed": "healthy again"}
"""Lines of the log that follow a finding."""
GATE_FRAME = {"event", "stage", "epoch", "total_step", "seconds", "name", "passed", "advice"}


class Group(NamedTuple):
    """Numbers that are read together, in one chart."""

    title: str
    words: str
    names: tuple[tuple[str, ...], ...]
    """The first of these sets of which the run logged something is drawn."""
    level: Level | None = None
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


def learning_section(run: Path, history: Sequence[dict[str, Any]], *, best: int | None) -> Section:
    """The same noise at every save, then the same fragment continued: one hears what was learned in between."""
    saved = saved_samples(run)
    noises = [name for name in saved if name.startswith("sample_")][:MOST_NOISES]
    shown = noises + [name for name in saved if name not in noises and not name.startswith("sample_")][:1]
    words = (
        "At every save the model played from the same noise, so each row is one piece of music growing up. "
        "Play a row in order. In the pictures time goes to the right and low notes are at the bottom."
    )
    if not shown:
        sentence = f"There are no saved samples in {run.name}/samples: training writes some at every save."
        return Section("learning", "Hear it learn", "", missing(sentence))
    places = epoch_places(history)
    parts, notes = [], []
    for row, name in enumerate(shown):
        title, about = row_words(name, row, len(noises))
        cards, note = epoch_cards(saved[name], title, places, rows=len(shown), best=best)
        notes += note
        parts.append(f'<div class="row">{subheading(title, about)}{card_grid(cards, size="small")}</div>')
    said = "".join(f'<p class="quiet">{escape(note)}</p>' for note in dict.fromkeys(notes))
    return Section("learning", "Hear it learn", words, said + "".join(parts))


def row_words(name: str, row: int, noises: int) -> tuple[str, str]:
    """Headline and sentence of a row of saved samples."""
    if name == "continuation":
        return "A fragment, continued", "Real music up to the dashed line, the model's own after it."
    if name.startswith("sample_"):
        return (f"Noise {'ABCDEFGH'[row]}" if noises > 1 else "One noise"), ""
    return name.replace("_", " ").capitalize(), ""


def epoch_cards(
    files: dict[int, Path], title: str, places: dict[int, tuple[str, float]], *, rows: int, best: int | None
) -> tuple[list[str], list[str]]:
    """A card for each shown epoch of one sound, and sentences about what is not shown."""
    notes: list[str] = []
    sounds: dict[int, Sound] = {}
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
        sounds[epoch] = Sound("noise", f"Epoch {epoch}", words, waveform, rate, takeover)
    if sounds:
        longest = max(sound.seconds for sound in sounds.values())
        most = max(2, int(MOST_SAVED_SECONDS / rows / longest))
    chosen = spread_epochs(sounds, most, keep=best)
    if len(chosen) < len(files):
        notes.append(f"{len(chosen)} of {len(files)} saved epochs are shown, to keep this file small.")
    cards = [
        sound_card(
            sound._replace(title=f"{sound.title} (best)") if epoch == best else sound,
            size="small",
            label=f"{sound.title}, {title.lower()}",
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
    marks = [Mark(number, minutes_of(entry)) for number, entry in enumerate(findings_of(history), start=1)]
    end = max(map(minutes_of, history), default=0.0)
    return Timeline(find_stages(history), marks, end, find_phases(history))


def curves_section(history: Sequence[dict[str, Any]], config: Config | None) -> Section:
    """The charts everyone looks for first, then every other number, folded by stage."""
    stages = stage_curves(history)
    if not stages:
        sentence = "There is no metrics.jsonl with steps in this folder, so no curve can be drawn."
        return Section("curves", "How it learned", "", missing(sentence))
    timeline = timeline_of(history)
    charts = [chart for group in GROUPS if (chart := group_chart(group, stages, config))]
    rates = [curve for curves in stages.values() for curve in curves if curve.name.startswith(RATE_PREFIX)]
    if rates:
        words = (
            "How fast each network moved, on a logarithmic scale: a short warm-up in every stage, then down."
        )
        charts.append(Chart("Learning rates", words, fewer_rates(rates), is_log=True))
    drawn = "".join(chart_html(chart, timeline) for chart in charts)
    words = (
        "All charts share one time axis. The shaded stripes are the stages; a line that breaks was not measured in "
        "between. Lines are medians over a twentieth of a stage, so single spikes are not seen."
    )
    if timeline.marks:
        words += " The numbered marks are the doctor's findings, listed below."
    if timeline.phases:
        words += " A bar at the foot of a chart: the generator learned alone, or the adversary's weight still rose."
    table = stage_table([*timeline.stages, *timeline.phases], history)
    return Section(
        "curves", "How it learned", words, table + f'<div class="charts">{drawn}</div>' + other_curves(stages, timeline)
    )  # fmt: skip


def group_chart(group: Group, stages: dict[str, list[Curve]], config: Config | None) -> Chart | None:
    """The chart of a group, if the run logged any of its numbers."""
    logged = {curve.name for curves in stages.values() for curve in curves}
    names = next((names for names in group.names if logged & set(names)), ())
    curves = [curve for name in names for curves in stages.values() for curve in curves if curve.name == name]
    level = group.level
    if names == ("kl",) and config is not None:
        level = Level("target", config.kl_target * config.model.latent_dim)
    return Chart(group.title, group.words, curves, level, group.band) if curves else None


def fewer_rates(rates: list[Curve]) -> list[Curve]:
    """Learning rates of generator and judges: whatever a stage trains of the generator counts as the generator."""
    judges = {f"{RATE_PREFIX}ear", f"{RATE_PREFIX}professor"}
    renamed = [
        rate._replace(name=rate.name if rate.name in judges else f"{RATE_PREFIX}generator") for rate in rates
    ]
    return sorted(renamed, key=lambda rate: rate.name in judges)


def other_curves(stages: dict[str, list[Curve]], timeline: Timeline) -> str:
    """Every number that has no place in a chart of its own, by stage."""
    placed = {name for group in GROUPS for names in group.names for name in names}
    spans = {stage.name: stage for stage in timeline.stages}
    parts = []
    for stage, curves in stages.items():
        others = [
            curve for curve in curves if curve.name not in placed and not curve.name.startswith(RATE_PREFIX)
        ]
        charts = "".join(
            chart_html(
                Chart(curve.name.replace("_", " "), PLAIN_WORDS.get(curve.name, ""), [curve]), timeline
            )
            for curve in others
        )
        if charts:
            parts.append(
                fold(f"Other numbers of {stage}", f'<div class="charts">{charts}</div>',
                     note=counted(spans[stage].steps, "step"))
            )  # fmt: skip
    return "".join(parts)


def stage_table(stages: Sequence[Stage], history: Sequence[dict[str, Any]]) -> str:
    """When each stage began and ended, and whether its gate was passed."""
    verdicts = {str(entry.get("stage")): verdict(entry) for entry in history if entry.get("event") == "gate"}
    rows = [
        [escape(stage.name), f"{stage.start:.1f}", f"{stage.end:.1f}", f"{stage.steps}", verdicts.get(stage.name, "")]
        for stage in stages
    ]  # fmt: skip
    return table_html(
        ["stage", "from min", "to min", "steps", "gate"],
        rows,
        caption="The stages of this run",
        numbers={1, 2, 3},
    )


def verdict(entry: dict[str, Any]) -> str:
    """A gate's verdict in a word, coloured."""
    return '<b class="good">passed</b>' if entry.get("passed") else '<b class="bad">not passed</b>'


def findings_section(history: Sequence[dict[str, Any]]) -> Section:
    """The doctor's findings with their evidence, then the gates."""
    findings = findings_of(history)
    words = (
        "The doctor watches the numbers while the run learns. A finding says what it saw, by which number, and what to "
        "do; its number is the mark in the charts above. After every stage the run also measures itself on music it "
        "never learned from: a gate. Neither findings nor gates stop the run; three steps in a row that are no numbers "
        "do."
    )
    listed = "".join(finding_html(number, entry) for number, entry in enumerate(findings, start=1))
    if listed:
        listed = f'<ol class="findings">{listed}</ol>'
    elif history:
        listed = missing(
            "There is no finding in this run's log: nothing went wrong that the doctor knows of, or it was off."
        )
    else:
        listed = missing(
            "There is no log of the training in this folder, so there are no findings and no gates."
        )
    return Section(
        "findings", "What the doctor found", words, listed + treatment_html(history) + gates_html(history)
    )


def treatment_html(history: Iterable[dict[str, Any]]) -> str:
    """What was done about findings after they were made, and what was taken back; empty if nothing was."""
    rows = [
        [f"{minutes_of(entry):.1f}", escape(TREATMENTS[entry["event"]]),
         escape(str(entry.get("name", "")).replace("_", " ")), escape(str(entry.get("remedy", "")))]
        for entry in history if entry.get("event") in TREATMENTS
    ]  # fmt: skip
    if not rows:
        return ""
    table = table_html(["minute", "what", "finding", "remedy"], rows, caption="What the doctor did next")
    return fold("What was done afterwards", table, note=counted(len(rows), "entry", "entries"))


def finding_html(number: int, entry: dict[str, Any]) -> str:
    """One finding: what, when, by which number, and what was or should be done."""
    when = f"{entry.get('stage', '')}, epoch {entry.get('epoch', '?')}, {minutes_of(entry):.1f} min"
    severity = str(entry.get("severity", "note"))
    lines = [f"<p>{escape(str(entry.get('sentence', '')))}</p>"]
    if entry.get("signal") is not None:
        bound = f", threshold {figure(entry['threshold'])}" if entry.get("threshold") is not None else ""
        signal = str(entry["signal"]).replace("_", " ")
        lines.append(f'<p class="quiet">{escape(signal)} {figure(entry.get("value"))}{bound}</p>')
    for name, label in (("remedy", "Done"), ("advice", "Advice")):
        if entry.get(name):
            lines.append(f"<p><b>{label}:</b> {escape(str(entry[name]))}</p>")
    name = str(entry.get("name", "finding")).replace("_", " ")
    return (
        f'<li value="{number}"><p><b>{escape(name)}</b> <span class="severity">{escape(severity)}</span> '
        f'<span class="quiet">{escape(when)}</span></p>{"".join(lines)}</li>'
    )


def figure(value: Any) -> str:
    """A value of the log as it is read: three digits for a number, the words of anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return short(float(value)) if is_number and math.isfinite(value) else escape(str(value))


def gates_html(history: Iterable[dict[str, Any]]) -> str:
    """What each stage was measured to have reached."""
    gates = "".join(gate_html(entry) for entry in history if entry.get("event") == "gate")
    return subheading("Gates") + f'<ul class="gates">{gates}</ul>' if gates else ""


def gate_html(entry: dict[str, Any]) -> str:
    """One gate: verdict, question, figures, and what to do where it did not pass."""
    figures = ", ".join(
        f"{escape(name.replace('_', ' '))} {figure(value)}"
        for name, value in entry.items()
        if name not in GATE_FRAME
    )
    name = str(entry.get("name", entry.get("stage", "")))
    asked = GATE_WORDS.get(name.split(" ")[0], "")
    advice = str(entry.get("advice", "")) if not entry.get("passed") else ""
    note = f"<p><b>Advice:</b> {escape(advice)}</p>" if advice else ""
    return (
        f"<li><p><b>{escape(name)}</b> {verdict(entry)}</p>{paragraphs(asked)}{note}"
        f'<p class="quiet">{figures}</p></li>'
    )


def training_sentence(history: Sequence[dict[str, Any]]) -> str:
    """What the log says of the training, in a sentence; empty without a log."""
    if not history:
        return ""
    timeline = timeline_of(history)
    names = [stage.name for stage in timeline.stages]
    steps = sum(stage.steps for stage in timeline.stages)
    gates = [entry for entry in history if entry.get("event") == "gate"]
    failed = sum(not entry.get("passed") for entry in gates)
    sentence = (
        f"It learned for {timeline.minutes:.1f} minutes, {counted(steps, 'step')} in "
        f"{counted(len(names), 'stage')} ({join_names(names)})"
    )
    if gates:
        sentence += f"; {len(gates) - failed} of {counted(len(gates), 'gate')} passed"
    if findings := len(timeline.marks):
        sentence += f"; the doctor reported {counted(findings, 'finding')}"
    return sentence + "."
