"""A tournament in words and tables: what the ratings, the controls and the strictness mean, and what to do."""

import csv
from io import StringIO

from piano.evaluation.bootstrap import Figure
from piano.foundation.checkpoint_format import Best
from piano.foundation.doors import command
from piano.foundation.screen_text import columns, csv_cell, text_table
from piano.judging.tournament_scores import FAMILIES, FEWEST_STRICT, STRICT_SHARE, Forgotten, JudgeRow, Report

MOST_FORGOTTEN = 3
MOST_ROWS = 30
LARGE_MISFIT = 0.15
LIVE_PROBABILITY, DEAD_PROBABILITY = 0.3, 0.45
"""A live judge gives the probes less than the first; from the second on it has failed."""


def tournament_text(report: Report, best: Best | None, *, clips: int, real: int, left_out: dict[str, str]) -> str:
    """Everything the tournament means, in plain sentences, a paragraph for each question.

    Parameters
    ----------
    best : Best, optional
        What the ruler judged best while training.
    clips, real : int
        Fakes of each generator, and real clips.
    left_out : dict
        Checkpoints that took no part, with reasons.
    """
    parts = [
        f"{len(report.generators)} generators before {len(report.judges)} trained discriminators: {clips} fakes each, "
        f"the same noise for all, against {real} clips of music never trained on. Brackets are 95 % intervals over the "
        f"clips: raise --count to narrow them.",
        *(f"Left out: {name}: {reason}" for name, reason in left_out.items()),
        controls_text(report.judges),
        forgetting_text(report),
        ratings_text(report),
        proposal_text(report, best),
    ]
    return "\n\n".join(part for part in parts if part)


def controls_text(judges: list[JudgeRow]) -> str:
    """Do the judges know that noise is no music?"""
    lines = ["CONTROLS. A judge that takes noise, silence, a tone or real music cut to pieces for music says little."]
    deaf = [row for row in judges if not row.hears]
    names = list(judges[0].probes)
    shares = ", ".join(f"{name} {sum(row.probes[name] for row in judges) / len(judges):.0%}" for name in names)
    families = ", ".join(
        f"the {name} alone {sum(row.by_family[name] for row in judges) / len(judges):.0%}" for name in FAMILIES
    )
    lines.append(f"Pairs in which real music is ranked above them, mean over the judges: {shares}; {families}.")
    if not deaf:
        lines.append("Every judge passes: at least three in four pairs, over all probes together.")
    for row in deaf[:MOST_FORGOTTEN]:
        taken = [f"{name} ({share:.0%})" for name, share in row.probes.items() if share < STRICT_SHARE]
        lines.append(f"Discriminator {row.epoch} fails: it does not rank real music above {', '.join(taken)}.")
    if deaf:
        rest = f"Discriminators {join(row.epoch for row in deaf)} fail" if len(deaf) > 1 else "It fails"
        lines.append(
            f"{rest}, so its word does not count below. They learned only from fakes, never from noise or silence: "
            f"such a judge can still be right about fakes, but nothing vouches for it."
            if len(deaf) < len(judges)
            else "No judge passes: read the ratings as opinions that nothing vouches for."
        )
    warm = [row.epoch for row in judges if row.probe_probability >= LIVE_PROBABILITY]
    if warm:
        lines.append(
            f"By probability, discriminators {join(warm)} give the probes {LIVE_PROBABILITY:.0%} or more "
            f"(failure from {DEAD_PROBABILITY:.0%} on); a relativistic game leaves that scale free, ranks do not."
        )
    return "\n".join(lines)


def forgetting_text(report: Report) -> str:
    """Do later judges still know old fakes?"""
    newest = report.judges[-1]
    if newest.strict is None:
        return "FORGETTING. No judge has an earlier generator to judge: save more epochs."
    lines = [
        f"FORGETTING. A judge that learns keeps what it knew: the newest one, {newest.epoch}, ranks real music above "
        f"the fakes of {newest.strict:.0%} of the earlier generators in at least {STRICT_SHARE:.0%} of the pairs."
    ]
    own = [each for each in report.forgotten if each.judge == newest.epoch]
    lines += [forgotten_sentence(each) for each in (own or report.forgotten)[:MOST_FORGOTTEN]]
    if newest.strict >= FEWEST_STRICT:
        lines.append("It has not forgotten old fakes.")
        if report.forgotten:
            lines.append("Judges before it had: the game went in a circle for a while, and came out of it.")
    elif own:
        lines.append(
            f"It forgot {len(own)} of them: the players go in circles, and old faults of the generator can come back. "
            "Show the judges old fakes again, halve both learning rates, or go on from the strictest discriminator."
        )
        steps = sorted({row.steps for row in report.generators if row.epoch in {each.generator for each in own}})
        if steps != [1]:
            lines.append(
                f"But these fakes were composed in {join(steps)} steps, and the judges learn from music of one step: "
                "they may have known these by luck. Without --steps the game itself is looked at: try that first."
            )
    elif any(each.strict is not None and each.strict >= FEWEST_STRICT for each in report.judges):
        lines.append(
            "That is few, but no fall beyond chance from what an earlier judge knew: more clips (--count) may show one."
        )
    else:
        lines.append(
            "No earlier judge knew them either: nothing was forgotten. The judges are behind, or the fakes that good."
        )
    return "\n".join(lines)


def forgotten_sentence(each: Forgotten) -> str:
    """One piece of evidence."""
    return (
        f"Evidence: discriminator {each.knew} ranked real music above the fakes of generator {each.generator} in "
        f"{each.before:.0%} of the pairs, discriminator {each.judge} does in {each.after:.0%} "
        f"(change {each.drop.value:+.0%} [{each.drop.low:+.0%}, {each.drop.high:+.0%}])."
    )


def ratings_text(report: Report) -> str:
    """What the ratings are, and how far to trust them."""
    rated_by = "all judges" if len(report.rated_by) == len(report.judges) else f"judges {join(report.rated_by)}"
    probes = ", ".join(f"{name} {rating:.0f}" for name, rating in report.probe_ratings.items())
    lines = [
        "RATINGS. One game: a real clip and a fake go before a judge; it wins if it ranks the real one higher. "
        "Equal ratings mean guessing; a judge 200 points above a generator wins 76 % of the games, 400 points 91 %.",
        f"The generators are rated by {rated_by}. On their scale the probes stand at: {probes}.",
    ]
    below = [row.epoch for row in report.generators if row.rating.value < max(report.probe_ratings.values())]
    if below:
        who = "All generators" if len(below) == len(report.generators) else f"Generators {join(below)}"
        lines.append(f"{who} are rated below a probe: that says more about these judges than about the music.")
    lines.append(
        f"Ratings foretell the win rates to within {report.misfit:.2f} on average"
        + (
            ": badly. Who beats whom is not a matter of strength alone, as in stone, paper, scissors."
            if report.misfit > LARGE_MISFIT
            else "."
        )
    )
    return "\n".join(lines)


def proposal_text(report: Report, best: Best | None) -> str:
    """Which checkpoint to use, and what to do if judges and ruler disagree."""
    rows = {row.epoch: row for row in report.generators}
    top = rows[report.best]
    alike = [epoch for epoch in report.alike if epoch != top.epoch]
    level = [row.epoch for row in report.generators if row.is_level and row.epoch not in (top.epoch, *alike)]
    lines = [
        f"WHICH CHECKPOINT. The judges find generator {top.epoch} hardest to see through: {shown(top.rating)} "
        f"with {top.steps} sampling {'step' if top.steps == 1 else 'steps'}."
    ]
    if alike:
        lines.append(
            f"Generators {join(alike)} make the very same music with these steps: what was learned between them, the "
            "one-step block, is only heard with --steps 1 (the default)."
        )
    lines.append(f"Not told apart from it: {join(level)}." if level else "It is told apart from every other generator.")
    if best is None:
        lines.append(
            f"The ruler has judged no epoch of this run: {command('evaluate', '--epoch', top.epoch)} gives a second "
            "opinion."
        )
    elif best.epoch not in rows:
        lines.append(f"The ruler's best, epoch {best.epoch}, took no part.")
    elif best.epoch == top.epoch:
        lines.append(f"The ruler agrees: best.json names epoch {best.epoch} too. Use it (it is the default of `best`).")
    elif rows[best.epoch].is_level:
        lines.append(
            f"The ruler's best is epoch {best.epoch} ({shown(rows[best.epoch].rating)}), which the judges do not tell "
            f"apart from it. No contradiction: keep epoch {best.epoch}."
        )
    elif not any(row.hears for row in report.judges):
        lines.append(
            f"The ruler's best is epoch {best.epoch}, rated {shown(rows[best.epoch].rating)}. No judge passes its "
            f"controls, so this rating is no reason to leave it: keep epoch {best.epoch}."
        )
    else:
        lines.append(
            f"They disagree with the ruler, whose best is epoch {best.epoch}: rated {shown(rows[best.epoch].rating)}, "
            f"{rows[best.epoch].behind.value:.0f} points below. The ruler compares the sound with real music and takes "
            f"no part in the game; the judges know these generators' faults, and share their blind spots. Measure both "
            f"({command('evaluate', '--epoch', top.epoch)}, then --epoch {best.epoch}) and listen to both "
            f"({command('generate', '--epoch', 'N')}). Until then keep the ruler's."
        )
        if rows[best.epoch].steps != top.steps or best.steps != rows[best.epoch].steps:
            lines.append(
                f"The steps differ too (here {rows[best.epoch].steps} for epoch {best.epoch} and {top.steps} for epoch "
                f"{top.epoch}, {best.steps} when the ruler measured): --steps makes the judges compare like with like."
            )
    return "\n".join(lines)


def tables_text(report: Report) -> str:
    """Ratings, strictness and controls, a line for each player; the middle of long lists is left to the CSV."""
    width = columns(most=160)
    players = [
        [
            str(row.epoch),
            shown(row.rating),
            "the best" if row.epoch == report.best else shown(row.behind),
            str(row.steps),
        ]
        for row in report.generators
    ]
    head = ["generator", "rating [95 %]", "behind the best", "steps"]
    first, *rest = text_table([head, *players], width=width, indent="", left=()).split("\n")
    lines = [first, *_shortened(rest), ""]
    judges = [
        [
            str(row.epoch),
            shown(row.rating),
            _share(row.strict),
            _share(row.strict_probability),
            f"{row.real_probability:.2f}",
            f"{row.probe_probability:.2f}",
            "yes" if row.hears else "FAILS",
        ]
        for row in report.judges
    ]
    head = ["discriminator", "rating [95 %]", "strict", "by prob.", "D(real)", "D(probes)", "controls"]
    first, *rest = text_table([head, *judges], width=width, indent="", left=()).split("\n")
    lines += [first, *_shortened(rest), "", "Real music ranked above each control:"]
    names = list(report.judges[0].probes)
    probes = [[str(row.epoch), *(f"{row.probes[name]:.2f}" for name in names)] for row in report.judges]
    first, *rest = text_table([["discriminator", *names], *probes], width=width, indent="", left=()).split("\n")
    return "\n".join([*lines, first, *_shortened(rest)])


def ratings_csv(report: Report) -> str:
    """All players of both kinds, a line each."""
    text = StringIO(newline="")
    names = list(report.judges[0].probes)
    writer = csv.writer(text)
    writer.writerow(
        [
            "player",
            "epoch",
            "rating",
            "rating_low",
            "rating_high",
            "behind_best",
            "steps",
            "strict",
            "strict_probability",
            "real_probability",
            "probe_probability",
            *(f"above {name}" for name in names),
            "hears",
        ]
    )
    for generator in report.generators:
        writer.writerow(["generator", generator.epoch, *generator.rating, generator.behind.value, generator.steps])
    for judge in report.judges:
        writer.writerow(
            [
                "discriminator",
                judge.epoch,
                *judge.rating,
                "",
                "",
                judge.strict,
                judge.strict_probability,
                judge.real_probability,
                judge.probe_probability,
                *judge.probes.values(),
                judge.hears,
            ]
        )
    for name, rating in report.probe_ratings.items():
        writer.writerow([csv_cell(name), "", rating])
    return text.getvalue()


def join(numbers) -> str:
    """1, 2, 3"""
    return ", ".join(map(str, numbers))


def shown(figure: Figure) -> str:
    """1523 [1490, 1560]"""
    return f"{figure.value:.0f} [{figure.low:.0f}, {figure.high:.0f}]"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= MOST_ROWS:
        return lines
    half = MOST_ROWS // 2
    return [*lines[:half], f"      ... {len(lines) - 2 * half} more in ratings.csv", *lines[-half:]]
