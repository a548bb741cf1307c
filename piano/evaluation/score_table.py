"""The scores as a person reads them: a table of text, a picture, and JSON for programs."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from piano.evaluation.bootstrap import Figure
from piano.evaluation.continuations import ASPECTS
from piano.evaluation.measures import DESCRIPTORS, PAIR_MEASURES, SET_MEASURES, measure_title
from piano.evaluation.memorisation import PASSAGE_SECONDS, Memorisation
from piano.evaluation.pictures import BLUE, GREEN, PLUM, QUIET, RED, save_figure, styled_figure
from piano.evaluation.ruler import MOST_NOISE, Continued, GeneratorScore, Reconstructed, Ruler
from piano.evaluation.set_scores import SetScores
from piano.foundation.score_words import RULER_VERSION, drone_words, score_sentence, score_words
from piano.foundation.screen_text import band_texts, counted, fitting_table, wrapped_lines

CANCELLING = -0.9
"""Correlation of left and right below which the mix of both is all but silent."""
CLEAR = 0.05
"""A continuation hears its prompt if the chance of its agreement is below this."""
TOO_ALIKE = 0.95
"""Likeness to training music, in the middle of real clips, above which they are of the training music themselves."""


def score_text(score: GeneratorScore, ruler: Ruler) -> str:
    """The whole table, with a line of explanation above each part."""
    parts = [
        _sets_text(score, ruler),
        _descriptors_text(score),
        _gaps_text(score),
        _continuations_text(score.continuations) if score.continuations else "",
        _reconstruction_text(score.reconstructions) if score.reconstructions else "",
        _memorisation_text(score.memorisation) if score.memorisation else "",
        wrapped_lines(f"MEMORISATION. {score.not_searched}") if score.not_searched else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _table(rows: list[list[str]]) -> str:
    """A table with its intervals where the terminal is wide enough, without them where it is not."""
    narrow = [[re.sub(r" \[[^]]*, [^]]*\]", "", cell) for cell in row] for row in rows]
    return fitting_table(rows, narrow)


def set_rows(score: GeneratorScore, ruler: Ruler) -> dict[str, SetScores]:
    """All sets of clips by name: what was made first, then the scale."""
    rows = {"samples": score.samples.sets}
    if score.reconstruction_sets:
        rows["reconstructions"] = score.reconstruction_sets
    return rows | ruler.scale


def set_counts(score: GeneratorScore, ruler: Ruler) -> dict[str, int]:
    """How many clips each set has: of every seed, of one half for other real music."""
    noises = min(len(ruler.clips), MOST_NOISE)
    counts = {
        "samples": score.samples.clips,
        "reconstructions": len(ruler.clips),
        "other real music": len(ruler.clips) // 2,
    }
    return {name: counts.get(name, noises) for name in set_rows(score, ruler)}


def headline(score: GeneratorScore, ruler: Ruler) -> str:
    """What the scores come to, in a sentence or three, for someone who reads nothing else."""
    told = [warned] if (warned := warning(score)) else []
    if ruler.reason:
        return " ".join([*told, f"How good it is cannot be told: {ruler.reason}."])
    figure = score.samples.sets.kernel_score
    told += [f"Its music is {score_sentence(figure.value, figure[1:], len(ruler.clips), ruler.songs)}."]
    if said := told_apart_words(score.samples.sets.told_apart, ruler.scale.get("other real music")):
        told.append(said)
    described = score.samples.descriptors
    alike = described.get("self_similarity_1s")
    if (silent := described.get("silence_share")) and silent.mean.value > 0.9:
        told.append("It is silent.")
    elif alike and (drone := drone_words(alike.mean.value, alike.high)):
        told.append(f"It is a drone: {drone}.")
    sides = described.get("stereo_correlation")
    if sides and sides.mean.value < CANCELLING:
        told.append("Its two channels cancel each other in the mix, which is what is listened to here.")
    return " ".join(told)


def told_apart_words(figure: Figure, real: SetScores | None) -> str:
    """That a judge tells most clips right, however small the distance; empty where it does no better than by chance."""
    chance = max(0.5, real.told_apart.high) if real and math.isfinite(real.told_apart.high) else 0.5
    if not math.isfinite(figure.value) or figure.value <= chance:
        return ""
    return f"A judge that never heard these songs tells {figure.value:.0%} of the clips right (50% is chance)."


def warning(score: GeneratorScore) -> str:
    """That the real music was learned from, where that is known or heard; else empty."""
    if score.overlap and (said := score.overlap.warning()):
        return said
    if score.memorisation and score.memorisation.held_out_median > TOO_ALIKE:
        return (
            "Warning: --real seems to be part of --train, so the figures flatter it. "
            "Name music it never learned from with --real."
        )
    return ""


def _sets_text(score: GeneratorScore, ruler: Ruler) -> str:
    measured = f"{counted(len(ruler.clips), 'clip')} of {counted(ruler.songs, 'real song')}"
    said = wrapped_lines(headline(score, ruler))
    if ruler.reason:
        return said
    lines = [f"SETS OF CLIPS against {measured}; 95 % intervals are in scores.json, and here if the window is wide."]
    lines += [f"  {row.name}: {row.meaning} ({row.better} is better)" for row in SET_MEASURES]
    if not ruler.reference.hears_kinds:
        lines.append(
            "  Every song gave one clip: what varies within a song is not known, so coverage and recall are "
            "kinder than with more clips (--count)."
        )
    if seeds := score.samples.seeds:
        scores = ", ".join(score_words(each.kernel_score.value, None, len(ruler.clips)) for each in seeds)
        lines.append(f"  Samples: the mean of {len(seeds)} seeds, whose kernel scores are {scores}.")
    if ruler.songs < 8:
        lines.append(
            f"  Only {counted(ruler.songs, 'real song')}: take every figure as a hint, and give more music with --real."
        )
    table = [["", *(row.name for row in SET_MEASURES)]]
    counts = set_counts(score, ruler)
    for name, scores in set_rows(score, ruler).items():
        cells = [_figure(getattr(scores, row.name)) for row in SET_MEASURES]
        cells[0] = score_words(scores.kernel_score.value, scores.kernel_score[1:], len(ruler.clips))
        table.append([f"{name}, n {counts[name]}", *cells])
    return "\n".join([said, "", wrapped_lines("\n".join(lines)), _table(table)])


def _samples(score: GeneratorScore) -> int:
    """Samples of all seeds together."""
    return score.samples.clips * max(1, len(score.samples.seeds))


def _descriptors_text(score: GeneratorScore) -> str:
    title = (
        "SINGLE NUMBERS of the samples. In the band: does their mean lie where 90 % of real clips do? "
        f"Inside: share of samples there (real: 0.90). {counted(_samples(score), 'sample')}."
    )
    units = {row.name: row.unit for row in DESCRIPTORS}
    table = [["", "mean", "real 5-95 % band", "noise", "in band", "inside"]]
    for name, row in score.samples.descriptors.items():
        verdict = "yes" if row.is_inside else "NO"
        mean, low, high = band_texts(row.mean.value, row.low, row.high, _short)
        cells = [_figure(row.mean, mean), f"{low} to {high}", _short(row.noise), verdict, f"{row.share_inside:.2f}"]
        table.append([f"{name} {f'[{units[name]}]' if units[name] else ''}".strip(), *cells])
    return "\n".join([wrapped_lines(title), _table(table)])


def _gaps_text(score: GeneratorScore) -> str:
    ranked = sorted(score.samples.gaps.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} {value:.2f}" for name, value in ranked)
    text = f"WHAT IS OFF, in spreads of real music (chance is below about 0.3 for 48 clips): {named}"
    return wrapped_lines(text)


def _continuations_text(row: Continued) -> str:
    verdict = "as smooth as music" if row.seam_low <= row.seam.value <= row.seam_high else "NOT as smooth as music"
    lines = [
        "CONTINUATIONS. Own: similarity to the own prompt; advantage: less that to other prompts; p: chance of it.",
        f"  seam click {_figure(row.seam)}, random places of real music {row.seam_low:.2f} to {row.seam_high:.2f}: "
        f"{verdict}; {row.seams_inside:.0%} of the seams inside (real: 90%)",
    ]
    table = [["", "own", "advantage", "p", "real: advantage", "real: p"]]
    ignored = []
    for aspect in ASPECTS:
        made, real = row.agreement[aspect], row.real_agreement[aspect]
        if made.p_value >= CLEAR:
            ignored.append(aspect)
        table.append(
            [
                aspect,
                f"{made.own:.2f}",
                f"{made.advantage:.2f}",
                f"{made.p_value:.4f}",
                f"{real.advantage:.2f}",
                f"{real.p_value:.4f}",
            ]
        )
    said = [wrapped_lines("\n".join(lines)), _table(table)]
    if ignored:
        said.append(wrapped_lines(f"  They do not follow their prompt in {', '.join(ignored)}."))
    return "\n".join(said)


def _reconstruction_text(row: Reconstructed) -> str:
    table = [["", "mean", "unrelated"]]
    for measure in PAIR_MEASURES:
        title = f"{measure.name} {f'[{measure.unit}]' if measure.unit else ''}".strip()
        table.append([title, _figure(row.pairs[measure.name]), _short(row.unrelated[measure.name])])
    table += [["R, levels missed", f"{row.R:.3f}", "1"], ["P, pitches found", f"{row.P:.3f}", ""]]
    return f"RECONSTRUCTIONS against their originals; unrelated: between two songs.\n{_table(table)}"


def _memorisation_text(row: Memorisation) -> str:
    lines = [
        "MEMORISATION: correlation of the most alike four seconds of training music. "
        f"Above {row.threshold:.2f} is a copy, and of two seconds above {row.short_threshold:.2f}.",
        f"  samples: median {row.median:.2f}; songs never learned: median {row.held_out_median:.2f}, "
        f"95 % below {row.held_out_high:.2f}",
        f"  copied: {row.copied_share:.0%} of the samples",
    ]
    if row.held_out_median > TOO_ALIKE:
        lines.append("  --real seems to be part of --train: nothing can be said. Give music that was not learned.")
    ranked = sorted(enumerate(row.nearest), key=lambda item: (not row.is_copy(item[1]), -item[1].similarity))[:5]
    for index, found in ranked:
        word = "COPY" if row.is_copy(found) else "nearest"
        lines.append(
            f"  sample {index} at {found.clip_seconds:.1f} s, {word}: {found.song} at {found.seconds:.1f} s "
            f"({found.similarity:.2f}{'' if found.length == PASSAGE_SECONDS else f' over {found.length:g} s'})"
        )
    return wrapped_lines("\n".join(lines))


def _short(value: float) -> str:
    """Three digits, or none where they would say nothing."""
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}" if abs(value) >= 1e-4 else "0.00"


def _figure(figure: Figure, value: str = "") -> str:
    """A figure with its interval; `value` is how it is written where that is known already."""
    if not math.isfinite(figure.value):
        return "-"
    return f"{value or _short(figure.value)} [{_short(figure.low)}, {_short(figure.high)}]"


def score_json(score: GeneratorScore, ruler: Ruler) -> dict[str, Any]:
    """Everything as plain values; numbers that do not exist are null."""
    return plain(
        {
            "ruler": RULER_VERSION,
            "sets": set_rows(score, ruler),
            "set_clips": set_counts(score, ruler),
            "seeds": [each._asdict() for each in score.samples.seeds] or None,
            "descriptors": {
                name: row._asdict() | {"in_band": row.is_inside} for name, row in score.samples.descriptors.items()
            },
            "gaps": score.samples.gaps,
            "continuations": score.continuations,
            "reconstructions": score.reconstructions,
            "memorisation": score.memorisation,
            "not_searched": score.not_searched or None,
            "warning": warning(score) or None,
            "headline": headline(score, ruler),
            "score_words": score_words(
                score.samples.sets.kernel_score.value,
                score.samples.sets.kernel_score[1:],
                len(ruler.clips),
            ),
            "real": {
                "clips": len(ruler.clips),
                "songs": ruler.songs,
                "sample_rate": ruler.sample_rate,
                "seconds": ruler.clips[0].shape[1] / ruler.sample_rate,
                "seed": ruler.seed,
                "learned_from": score.overlap.learned if score.overlap else None,
            },
        }
    )


def plain(value: Any) -> Any:
    """NamedTuples as dicts, arrays as lists, not-a-number as None."""
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int | np.integer) else number


def draw_scores(score: GeneratorScore, ruler: Ruler, path: Path) -> Path:
    """The sets beside the scale, and the descriptors on the real band, as a PNG."""
    rows = set_rows(score, ruler)
    described = score.samples.descriptors
    with styled_figure(1, len(SET_MEASURES) + 1, size=(21, 5.6)) as (figure, axes):
        for column, (axis, measure) in enumerate(zip(axes.flat, SET_MEASURES, strict=False)):
            for place, scores in enumerate(rows.values()):
                value: Figure = getattr(scores, measure.name)
                colour = PLUM if place == 0 else BLUE if place < len(rows) - 4 else QUIET
                axis.plot([value.low, value.high], [place, place], color=colour, linewidth=3, clip_on=False)
                axis.plot(value.value, place, "o", color=colour, clip_on=False)
            axis.set_yticks(range(len(rows)), list(rows) if column == 0 else [""] * len(rows))
            axis.invert_yaxis()
            axis.grid(True, axis="x")
            axis.set_title(f"{measure_title(measure.name)}\n({measure.better} is better)", loc="left")
        axis = axes.flat[-1]
        axis.axvspan(0, 1, color=GREEN, alpha=0.2)
        for place, row in enumerate(described.values()):
            width = max(row.high - row.low, 1e-9)
            low, mid, high = (
                float(np.clip((value - row.low) / width, -1.5, 2.5))
                for value in (row.mean.low, row.mean.value, row.mean.high)
            )
            colour = GREEN if row.is_inside else RED
            axis.plot([low, high], [place, place], color=colour, linewidth=3)
            axis.plot(mid, place, "o", color=colour, clip_on=False)
        axis.set_yticks(range(len(described)), [measure_title(name) for name in described])
        axis.invert_yaxis()
        axis.set_xticks([0, 1], ["5 %", "95 %"])
        axis.set_title("Single numbers fall in or out\nof the band of real music", loc="left")
        figure.suptitle("How near the music comes to real music, with the scale beside it", x=0.01, ha="left")
        return save_figure(figure, path)
