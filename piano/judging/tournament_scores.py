"""What a tournament says: ratings of generators and judges with intervals, strictness, forgetting, controls.

Tournaments between the checkpoints of one GAN, with skill ratings, are due to Olsson et al. (arXiv 1808.04888). Their
ratings (Glicko) depend on the order of the games; here all games are known, so the ratings are the maximum-likelihood
ones of the model of Bradley and Terry (Biometrika 39, 1952), which have no order and no chance in them.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.bootstrap import RESAMPLES, Figure, file_weights, with_interval

Floats = NDArray[np.floating]

FAMILIES = ("ear", "professor")
STRICT_SHARE = 0.75
"""A judge is strict towards a generator when it ranks real music above its fakes in this share of pairs.

Ranks, not probabilities: a relativistic game leaves the scale of the logits free.
"""
FORGOTTEN_SHARE = 0.6
"""Below this share a judge hardly tells a generator's fakes from real music any more: 0.5 is guessing."""
FEWEST_STRICT = 0.8
"""A judge that is strict towards fewer of the earlier generators than this has forgotten, or never learned."""
PROBABILITY_MARGIN = 0.1
ELO_MIDDLE, ELO_UNIT = 1500.0, 400.0 / np.log(10.0)
NEWTON_STEPS, LONGEST_STEP, TOLERANCE = 100, 2.0, 1e-9


class Judgements(NamedTuple):
    """All that the judges said. Logits, centred; families are ear and professor.

    fake : array [shape=(judges, generators, families, clips)]
    real : array [shape=(judges, generators, families, real_clips)]
        Real music in each generator's own latents: their encoders differ until the autoencoder's stage is over.
    control : array [shape=(judges, families, real_clips)]
        Real music in the latents of the newest generator.
    probes : mapping from name to array [shape=(judges, families, clips)]
        What is no music at all.
    files : list of labels [shape=(real_clips,)]
        Where each real clip was cut from.
    """

    judges: list[int]
    generators: list[int]
    steps: list[int]
    """Sampling steps of each generator's fakes."""
    fake: Floats
    real: Floats
    control: Floats
    probes: dict[str, Floats]
    files: list[Hashable]


class Ratings(NamedTuple):
    """Strengths in logits: a judge at d beats a generator at g with chance 1 / (1 + exp(g - d))."""

    judges: Floats
    generators: Floats


class JudgeRow(NamedTuple):
    """One discriminator over the whole tournament."""

    epoch: int
    rating: Figure
    """Elo points."""
    strict: float | None
    """Share of earlier generators whose fakes it ranks below real music in at least `STRICT_SHARE` of the pairs."""
    strict_probability: float | None
    """The same by probabilities: mean D(fake) at least 0.1 below mean D(real music)."""
    real_probability: float
    probe_probability: float
    """Mean over the probes; a live judge stays below 0.3."""
    probes: dict[str, float]
    """For each probe, the share of pairs in which it ranks real music above it."""
    by_family: dict[str, float]
    """The same over all probes, for ear and professor alone."""
    hears: bool
    """Whether it ranks real music above the probes in at least `STRICT_SHARE` of the pairs."""


class GeneratorRow(NamedTuple):
    """One generator over the whole tournament."""

    epoch: int
    steps: int
    rating: Figure
    """Elo points."""
    behind: Figure
    """Elo points it lies below the highest rated, clips drawn again for both at once."""
    is_level: bool
    """Whether that interval reaches nought: the judges do not tell the two apart."""


class Forgotten(NamedTuple):
    """A judge that no longer knows the fakes which an earlier one knew."""

    judge: int
    generator: int
    knew: int
    """The earlier judge."""
    before: float
    """Share of pairs in which that one ranked real music above these fakes."""
    after: float
    drop: Figure
    """after - before."""


class Report(NamedTuple):
    """The tournament, read."""

    judges: list[JudgeRow]
    generators: list[GeneratorRow]
    probe_ratings: dict[str, float]
    """Where the probes would stand among the generators, in Elo points."""
    misfit: float
    """Mean difference between win rates and what the ratings predict: large where strength goes in circles."""
    forgotten: list[Forgotten]
    """The worst first."""
    rated_by: list[int]
    """The judges whose word counts for the ratings."""
    best: int
    """The highest rated generator; of equals the newest."""
    alike: list[int]
    """Generators whose fakes no judge tells from the best one's by a single logit: the same music."""


def told_apart_tables(judged: Judgements, real_weights: Floats, fake_weights: Floats) -> Floats:
    """Share of pairs in which each judge ranks real music above each generator's fakes; ties count half.

    Parameters
    ----------
    real_weights : array [shape=(draws, real_clips)]
    fake_weights : array [shape=(draws, clips)]

    Returns
    -------
    array [shape=(draws, judges, generators)]
    """
    real, fake = judged.real.mean(axis=2), judged.fake.mean(axis=2)
    rows = [ranked_above(real[row], fake[row], real_weights, fake_weights) for row in range(len(real))]
    return np.stack(rows, axis=1)


def ranked_above(real: Floats, fake: Floats, real_weights: Floats, fake_weights: Floats) -> Floats:
    """Weighted share of pairs in which `real` has the higher logit.

    Parameters
    ----------
    real : array [shape=(sets, real_clips)]
    fake : array [shape=(sets, clips)]
    real_weights, fake_weights : array [shape=(draws, real_clips)], array [shape=(draws, clips)]

    Returns
    -------
    array [shape=(draws, sets)]
    """
    gaps = real[:, :, None] - fake[:, None, :]
    above = (gaps > 0) + 0.5 * (gaps == 0)
    by_fake = np.tensordot(real_weights, above, axes=(1, 1))  # draws, sets, clips
    wins = np.einsum("dsc,dc->ds", by_fake, fake_weights)
    return wins / (real_weights.sum(axis=1) * fake_weights.sum(axis=1))[:, None]


def bradley_terry(wins: Floats, *, games: int, start: Ratings | None = None) -> Ratings:
    """Ratings under which the win rates of judges against generators are likeliest (Bradley and Terry, 1952).

    Half a win and half a loss are added to every pair, without which a judge that always wins would be rated
    infinitely high. Newton's method; the mean of all ratings is 0.

    Parameters
    ----------
    wins : array [shape=(judges, generators)]
        Share of games that the judge won.
    games : int
        Of each pair.
    start : Ratings, optional
        Where to begin; changes the time, not the result.
    """
    target = (games * wins + 0.5) / (games + 1.0)
    judges, generators = wins.shape
    strength = np.zeros(judges + generators) if start is None else np.concatenate(start)
    for _ in range(NEWTON_STEPS):
        chance = _logistic(strength[:judges, None] - strength[None, judges:])
        gap, weight = target - chance, chance * (1.0 - chance)
        gradient = np.concatenate([gap.sum(axis=1), -gap.sum(axis=0)])
        curvature = np.diag(np.concatenate([weight.sum(axis=1), weight.sum(axis=0)]))
        curvature[:judges, judges:] = -weight
        curvature[judges:, :judges] = -weight.T
        # All ratings may move together: the ones fix that direction, so that the matrix can be inverted.
        move = np.linalg.solve(curvature + 1.0 / len(strength), gradient)
        strength = strength + move * min(1.0, LONGEST_STEP / max(np.abs(move).max(), 1e-12))
        if np.abs(move).max() < TOLERANCE:
            break
    strength = strength - strength.mean()
    return Ratings(strength[:judges], strength[judges:])


def rating_against(wins: Floats, judges: Floats, *, games: int) -> float:
    """Rating of one more generator from its losses to judges of known ratings, both [shape=(judges,)]."""
    target = (games * wins + 0.5) / (games + 1.0)
    low, high = judges.min() - 40.0, judges.max() + 40.0
    for _ in range(80):  # the judges' chance falls as the rating rises: halve the interval
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (_logistic(judges - middle) - target).sum() > 0 else (low, middle)
    return 0.5 * (low + high)


def _logistic(gap: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * gap))


def elo(strength: Floats | float) -> Floats:
    """Logits on the scale of chess: 1500 the middle; 400 points more are odds of ten to one."""
    return ELO_MIDDLE + ELO_UNIT * np.asarray(strength)


def read_tournament(judged: Judgements, *, resamples: int = RESAMPLES, seed: int = 0) -> Report:
    """Everything the tournament says. Deterministic: the same logits and seed give the same report.

    Intervals are 95 % bootstrap percentiles: real files and fakes are drawn again, the same draw for every pair.
    Clip n of all generators comes from the same noise, so that the draws are paired.
    """
    clips = judged.fake.shape[-1]
    even = (np.ones((1, len(judged.files))), np.ones((1, clips)))
    drawn = (
        file_weights(judged.files, resamples=resamples, seed=seed),
        file_weights(range(clips), resamples=resamples, seed=seed + 1),
    )
    table, tables = told_apart_tables(judged, *even)[0], told_apart_tables(judged, *drawn)
    probes = probe_table(judged)
    hears = probes.mean(axis=1) >= STRICT_SHARE
    counts = np.flatnonzero(hears) if hears.any() else np.arange(len(judged.judges))
    fit = bradley_terry(table, games=clips)
    drawn_fits = [bradley_terry(each, games=clips, start=fit) for each in tables]
    # A judge that fails its controls is rated like every other, but has no say in how good a generator is.
    voted, drawn_votes = fit, drawn_fits
    if len(counts) < len(table):
        voted = bradley_terry(table[counts], games=clips)
        drawn_votes = [bradley_terry(each[counts], games=clips, start=voted) for each in tables]
    judge_ratings, drawn_judge_ratings = elo(fit.judges), elo(np.stack([each.judges for each in drawn_fits]))
    ratings, drawn_ratings = elo(voted.generators), elo(np.stack([each.generators for each in drawn_votes]))
    best = int(np.flatnonzero(ratings >= ratings.max() - TOLERANCE)[-1])
    same = [np.array_equal(judged.fake[:, column], judged.fake[:, best]) for column in range(len(ratings))]
    predicted = _logistic(voted.judges[:, None] - voted.generators[None])
    return Report(
        judges=_judge_rows(judged, table, probes, hears, judge_ratings, drawn_judge_ratings),
        generators=_generator_rows(judged, ratings, drawn_ratings, best),
        probe_ratings={
            name: float(elo(rating_against(probes[counts, column], voted.judges, games=clips)))
            for column, name in enumerate(judged.probes)
        },
        misfit=float(np.abs(table[counts] - predicted).mean()),
        forgotten=find_forgotten(judged, table, tables),
        rated_by=[judged.judges[row] for row in counts],
        best=judged.generators[best],
        alike=[epoch for epoch, is_same in zip(judged.generators, same, strict=True) if is_same],
    )


def probe_table(judged: Judgements, *, family: int | None = None) -> Floats:
    """Share of pairs in which each judge, or one family of it, ranks real music above each probe.

    Returns
    -------
    array [shape=(judges, probes)]
    """
    families = slice(None) if family is None else slice(family, family + 1)
    control = judged.control[:, families].mean(axis=1)
    columns = []
    for logits in judged.probes.values():
        probe = logits[:, families].mean(axis=1)
        even = np.ones((1, control.shape[1])), np.ones((1, probe.shape[1]))
        columns.append(ranked_above(control, probe, *even)[0])
    return np.stack(columns, axis=1)


def _judge_rows(
    judged: Judgements, table: Floats, probes: Floats, hears: NDArray, ratings: Floats, drawn: Floats
) -> list[JudgeRow]:
    fakes = _logistic(judged.fake.mean(axis=2)).mean(axis=2)  # S[k, j], mean probability
    real = _logistic(judged.control.mean(axis=1)).mean(axis=1)
    sanity = np.mean([_logistic(each.mean(axis=1)).mean(axis=1) for each in judged.probes.values()], axis=0)
    by_family = {name: probe_table(judged, family=place).mean(axis=1) for place, name in enumerate(FAMILIES)}
    rows = []
    for row, epoch in enumerate(judged.judges):
        earlier = np.array([generator < epoch for generator in judged.generators])
        strict = table[row, earlier] >= STRICT_SHARE
        lower = fakes[row, earlier] < real[row] - PROBABILITY_MARGIN
        rows.append(
            JudgeRow(
                epoch=epoch,
                rating=with_interval(float(ratings[row]), drawn[:, row]),
                strict=float(strict.mean()) if earlier.any() else None,
                strict_probability=float(lower.mean()) if earlier.any() else None,
                real_probability=float(real[row]),
                probe_probability=float(sanity[row]),
                probes={name: float(probes[row, column]) for column, name in enumerate(judged.probes)},
                by_family={name: float(shares[row]) for name, shares in by_family.items()},
                hears=bool(hears[row]),
            )
        )
    return rows


def _generator_rows(judged: Judgements, ratings: Floats, drawn: Floats, best: int) -> list[GeneratorRow]:
    rows = []
    for column, epoch in enumerate(judged.generators):
        behind = with_interval(float(ratings[best] - ratings[column]), drawn[:, best] - drawn[:, column])
        rows.append(
            GeneratorRow(
                epoch=epoch,
                steps=judged.steps[column],
                rating=with_interval(float(ratings[column]), drawn[:, column]),
                behind=behind,
                is_level=behind.low <= 0.0,
            )
        )
    return rows


def find_forgotten(judged: Judgements, table: Floats, tables: Floats) -> list[Forgotten]:
    """Old fakes that a judge no longer knows although an earlier one did, beyond chance; the worst first.

    Parameters
    ----------
    table, tables : array [shape=(judges, generators)], array [shape=(draws, judges, generators)]
        Shares of pairs in which real music is ranked above the fakes, and the same of the resamples.
    """
    found = []
    for row, judge in enumerate(judged.judges):
        for column, generator in enumerate(judged.generators):
            knowers = [
                place
                for place in range(row)
                if judged.judges[place] >= generator and table[place, column] >= STRICT_SHARE
            ]
            if generator >= judge or not knowers or table[row, column] >= FORGOTTEN_SHARE:
                continue
            knew = max(knowers, key=lambda place: table[place, column])
            drop = with_interval(
                float(table[row, column] - table[knew, column]), tables[:, row, column] - tables[:, knew, column]
            )
            if drop.high < 0:
                found.append(
                    Forgotten(
                        judge,
                        generator,
                        judged.judges[knew],
                        float(table[knew, column]),
                        float(table[row, column]),
                        drop,
                    )
                )
    return sorted(found, key=lambda each: (each.drop.value, each.judge, each.generator))
