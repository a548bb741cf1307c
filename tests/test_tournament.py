"""The tournament: ratings that can be worked out, planted faults that are named, work that goes on after a break."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from piano.check_discriminator import interpret_matrix, main
from piano.config_reader import load_config_from_yaml
from piano.discriminator import Discriminator_with_mdisc
from piano.evaluation.bootstrap import Figure
from piano.foundation.checkpoint_format import Best, checkpoint_path
from piano.judging.tournament_scores import (
    GeneratorRow,
    Judgements,
    JudgeRow,
    Report,
    bradley_terry,
    elo,
    rating_against,
    read_tournament,
)
from piano.judging.tournament_text import proposal_text, tournament_text
from piano.judging.verdicts import items_of_sound, items_with_wave, sanity_probes
from piano.piano_main import build_discriminator
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator
from piano.vae_utilities import save_checkpoint
from tests.test_check_discriminator import verdict
from tests.tiny_run import SAMPLE_RATE, start_run, tonal_pairs, write_config, write_dataset

PROBES = ("white noise", "silence", "shuffled real", "1 kHz tone")


# --- ratings ---------------------------------------------------------------------------------------------------------


def chances(judges: list[float], generators: list[float]) -> np.ndarray:
    """Win rates of players of known strengths (judges, generators)."""
    return 1.0 / (1.0 + np.exp(np.subtract.outer(np.array(judges), np.array(generators)) * -1.0))


def test_ratings_recover_the_strengths_that_made_the_win_rates():
    judges, generators = [1.0, 0.2, -0.5], [0.7, -0.4, -1.0]
    ratings = bradley_terry(chances(judges, generators), games=10**9)
    mean = np.mean(judges + generators)
    assert ratings.judges == pytest.approx(np.array(judges) - mean, abs=1e-6)
    assert ratings.generators == pytest.approx(np.array(generators) - mean, abs=1e-6)


def test_ratings_know_no_order_of_the_players():
    wins = np.random.default_rng(3).uniform(0.1, 0.95, size=(4, 5))
    ratings = bradley_terry(wins, games=16)
    turned = bradley_terry(wins[::-1, ::-1], games=16)
    assert turned.judges[::-1] == pytest.approx(ratings.judges, abs=1e-7)
    assert turned.generators[::-1] == pytest.approx(ratings.generators, abs=1e-7)


def test_a_judge_that_always_wins_has_a_finite_rating_above_all_others():
    ratings = bradley_terry(np.array([[1.0, 1.0, 1.0], [0.5, 0.6, 0.7], [0.0, 0.0, 0.0]]), games=16)
    assert np.isfinite(np.concatenate(ratings)).all()
    assert ratings.judges[0] > ratings.judges[1] > ratings.judges[2]


def test_two_hundred_points_are_three_games_in_four():
    ratings = bradley_terry(np.array([[0.76]]), games=10**9)
    assert float(elo(ratings.judges[0]) - elo(ratings.generators[0])) == pytest.approx(200.0, abs=1.0)


def test_a_late_player_is_rated_as_if_it_had_played():
    wins = chances([1.0, 0.2, -0.5], [0.7, -0.4, -1.0])
    ratings = bradley_terry(wins, games=10**9)
    assert rating_against(wins[:, 1], ratings.judges, games=10**9) == pytest.approx(ratings.generators[1], abs=1e-6)


# --- reading a tournament --------------------------------------------------------------------------------------------


def planted(
    levels: list[list[float]], *, generators: list[int], judges: list[int], probe: float = -6.0, clips: int = 24
) -> Judgements:
    """A tournament whose fakes have these mean logits (judges, generators); real music has 0; all have spread 1."""
    random = np.random.default_rng(0)
    means = np.array(levels)
    shape = (len(judges), len(generators), 2, clips)
    control = random.standard_normal((len(judges), 2, clips))
    return Judgements(
        judges=judges,
        generators=generators,
        steps=[1] * len(generators),
        fake=random.standard_normal(shape) + means[:, :, None, None],
        real=np.repeat(control[:, None], len(generators), axis=1),
        control=control,
        probes={name: random.standard_normal((len(judges), 2, clips)) + probe for name in PROBES},
        files=list(range(clips)),
    )


HEALTHY = [[-1.0, -0.8, 0.0, 0.0], [-2.0, -2.0, -0.5, 0.0], [-3.0, -3.0, -2.0, -0.5]]


def test_a_healthy_race_has_strict_judges_and_nothing_forgotten():
    report = read_tournament(planted(HEALTHY, generators=[1, 2, 3, 4], judges=[2, 3, 4]), resamples=100)
    assert [row.strict for row in report.judges] == [1.0, 1.0, 1.0]
    assert report.forgotten == []
    assert report.best == 4
    assert report.rated_by == [2, 3, 4]
    rows = {row.epoch: row for row in report.generators}
    assert rows[1].behind.low > 0 and not rows[1].is_level
    assert rows[4].behind == (0.0, 0.0, 0.0) and rows[4].is_level
    assert all(row.rating.low <= row.rating.value <= row.rating.high for row in report.generators)
    assert max(report.probe_ratings.values()) < rows[1].rating.value
    text = tournament_text(report, None, clips=24, real=24, left_out={})
    assert "It has not forgotten old fakes." in text and "Every judge passes" in text


def test_a_judge_that_forgot_is_named_with_its_evidence():
    levels = [*HEALTHY[:2], [0.3, -3.0, -2.0, -0.5]]
    report = read_tournament(planted(levels, generators=[1, 2, 3, 4], judges=[2, 3, 4]), resamples=100)
    (found,) = report.forgotten
    assert (found.judge, found.generator, found.knew) == (4, 1, 3)
    assert found.before > 0.75 and found.after < 0.6
    assert found.drop.high < 0.0
    assert report.judges[-1].strict == pytest.approx(2 / 3)
    text = tournament_text(report, None, clips=24, real=24, left_out={})
    assert "discriminator 3 ranked real music above the fakes of generator 1" in text
    assert "It forgot 1 of them" in text


def test_fakes_that_nobody_ever_knew_are_not_forgotten():
    levels = [[0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.1, 0.0], [0.0, 0.1, 0.0, 0.0]]
    report = read_tournament(planted(levels, generators=[1, 2, 3, 4], judges=[2, 3, 4]), resamples=100)
    assert report.forgotten == []
    text = tournament_text(report, None, clips=24, real=24, left_out={})
    assert "nothing was forgotten" in text


def test_a_judge_that_fails_its_controls_has_no_say():
    judged = planted([*HEALTHY, [2.0, -9.0, -9.0, -9.0]], generators=[1, 2, 3, 4], judges=[2, 3, 4, 5])
    for logits in judged.probes.values():
        logits[3] += 12.0  # judge 5 loves noise, silence and tones, and generator 1
    report = read_tournament(judged, resamples=50)
    assert [row.hears for row in report.judges] == [True, True, True, False]
    assert report.rated_by == [2, 3, 4]
    assert report.best == 4
    assert "Discriminator 5 fails" in tournament_text(report, None, clips=24, real=24, left_out={})


def test_the_same_logits_give_the_same_report():
    judged = planted(HEALTHY, generators=[1, 2, 3, 4], judges=[2, 3, 4])
    assert read_tournament(judged, resamples=50) == read_tournament(judged, resamples=50)


def test_strength_in_a_circle_is_said_not_to_be_foretold():
    circle = [[-6.0, 6.0, 0.0], [0.0, -6.0, 6.0], [6.0, 0.0, -6.0]]
    report = read_tournament(planted(circle, generators=[1, 2, 3], judges=[1, 2, 3]), resamples=20)
    assert report.misfit > 0.3
    assert "stone, paper, scissors" in tournament_text(report, None, clips=24, real=24, left_out={})


def report_of(
    best: int, level: list[int], epochs: list[int], *, hears: bool = True, alike: list[int] | None = None
) -> Report:
    figure = Figure(1500.0, 1490.0, 1510.0)
    rows = [
        GeneratorRow(epoch, 1, figure, Figure(60.0, 40.0, 80.0), epoch in level or epoch == best) for epoch in epochs
    ]
    figure = Figure(1600.0, 1550.0, 1650.0)
    judge = JudgeRow(4, figure, 1.0, 1.0, 0.8, 0.1, {}, {}, hears)
    return Report([judge], rows, {}, 0.0, [], [4], best, alike or [best])


@pytest.mark.parametrize(
    ("ruler", "level", "words"),
    [
        (3, [], "The ruler agrees"),
        (2, [2], "No contradiction: keep epoch 2"),
        (2, [], "They disagree with the ruler, whose best is epoch 2"),
        (9, [], "took no part"),
        (None, [1, 2], "The ruler has judged no epoch"),
    ],
)
def test_the_proposal_says_what_to_do_about_the_ruler(ruler, level, words):
    best = None if ruler is None else Best(ruler, 0.05, 1, "joint")
    text = proposal_text(report_of(3, level, [1, 2, 3]), best)
    assert words in text
    assert "generator 3 hardest to see through" in text
    assert ("Not told apart from it" in text) == bool(level)


def test_judges_that_fail_their_controls_are_no_reason_to_leave_the_rulers_best():
    text = proposal_text(report_of(3, [], [1, 2, 3], hears=False), Best(2, 0.05, 1, "joint"))
    assert "keep epoch 2" in text and "disagree" not in text


def test_generators_that_make_the_same_music_are_said_to():
    judged = planted(HEALTHY, generators=[1, 2, 3, 4], judges=[2, 3, 4])
    judged.fake[:, 2] = judged.fake[:, 3]
    report = read_tournament(judged, resamples=20)
    assert report.best == 4 and report.alike == [3, 4]
    assert "Generators 3 make the very same music" in proposal_text(report, None)


# --- playing it ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four untrained checkpoints of each kind, all different, with their data set."""
    home = tmp_path_factory.mktemp("tournament")
    write_dataset(home / "dataset")
    path = write_config(home)
    write_checkpoints(home / "checkpoints", path, epochs=4)
    (home / "checkpoints" / "config.yaml").write_text(path.read_text())
    return home / "checkpoints"


def write_checkpoints(folder: Path, config_path: Path, *, epochs: int, **discriminator: Any) -> None:
    """Networks that learned nothing but the data's spectrum; discriminators that claim a step of training."""
    config = load_config_from_yaml(config_path, overrides=discriminator)
    run = start_run(config)
    base: VariationalAttentionModel = run.generator
    base.autoencoder.fit_spectrum(torch.from_numpy(np.array(run.data.sets["training"].pairs[:, 0])))
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch)
        torch.nn.init.normal_(base.attention.out.weight, std=0.1 * epoch)
        base.default_steps.fill_(1 + epoch % 2)
        save_checkpoint(base, epoch, folder, "generator")
        judge: Discriminator_with_mdisc = build_discriminator(config, base)
        judge.trained_steps.fill_(epoch)
        save_checkpoint(judge, epoch, folder, "discriminator")


def play(folder: Path, output: Path, *more: str) -> int:
    return main(["--all", "--checkpoints", str(folder), "--output", str(output), "--count", "3", *more])


def test_the_outcome_does_not_depend_on_the_memory_allowed(folder, tmp_path):
    assert play(folder, tmp_path / "one", "--memory", "1", "--steps", "auto") == 0
    assert play(folder, tmp_path / "all", "--steps", "auto") == 0
    for name in ("verdicts.csv", "ratings.csv", "tournament.json", "interpretation.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    for name in ("matrix.png", "ratings.png"):
        assert (tmp_path / "all" / name).stat().st_size > 5000
    told = json.loads((tmp_path / "all" / "tournament.json").read_text())
    assert [row["steps"] for row in told["generators"]] == [2, 1, 2, 1]
    assert set(told["probe_ratings"]) == set(PROBES)


def test_broken_off_work_goes_on_where_it_stopped(folder, tmp_path, capsys):
    assert play(folder, tmp_path / "whole") == 0
    kept = (tmp_path / "whole" / "judged.jsonl").read_bytes()
    judgements = sum(b'"judge"' in line for line in kept.splitlines())
    assert judgements == 4 * (4 + 1 + len(PROBES))
    half = tmp_path / "half"
    half.mkdir()
    (half / "judged.jsonl").write_bytes(kept[: len(kept) // 2])  # ends inside a line
    known = sum(b'"judge"' in line for line in kept[: len(kept) // 2].splitlines()[:-1])
    capsys.readouterr()
    assert play(folder, half) == 0
    assert f"{known} judgements known from before." in capsys.readouterr().out
    assert (half / "tournament.json").read_bytes() == (tmp_path / "whole" / "tournament.json").read_bytes()
    before = (half / "judged.jsonl").read_bytes()
    assert play(folder, half) == 0
    assert f"{judgements} judgements known from before." in capsys.readouterr().out
    assert (half / "judged.jsonl").read_bytes() == before
    assert play(folder, half, "--seed", "1") == 0
    known = judgements - 4 * 4
    assert f"{known} judgements known from before." in capsys.readouterr().out


def test_damaged_and_diverged_checkpoints_are_left_out_and_named(folder, tmp_path, capsys):
    copy = tmp_path / "run"
    copy.mkdir()
    for path in folder.glob("*"):
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    broken = checkpoint_path(copy, "generator", 2)
    broken.write_bytes(broken.read_bytes()[:1000])
    judge = torch.load(checkpoint_path(copy, "discriminator", 3), weights_only=True)
    judge["model"]["ear_offset"].fill_(float("nan"))
    torch.save(judge, checkpoint_path(copy, "discriminator", 3))
    generator = torch.load(checkpoint_path(copy, "generator", 4), weights_only=True)
    generator["model"]["autoencoder.decoder.head.bias"].fill_(float("inf"))
    torch.save(generator, checkpoint_path(copy, "generator", 4))
    assert play(copy, tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "tournament.json").read_text())
    assert [row["epoch"] for row in told["generators"]] == [1, 3]
    assert [row["epoch"] for row in told["judges"]] == [1, 2, 4]
    assert set(told["left_out"]) == {"generator_epoch_2.pt", "generator_epoch_4.pt", "discriminator_epoch_3.pt"}
    said = capsys.readouterr().out
    assert "Left out: " in said and "generator_epoch_4.pt" in said and "is not finite" in said


def test_an_ear_for_waveforms_hears_real_and_made_sound_with_the_same_kind_of_phase(folder, tmp_path):
    """The true phase of real music would give it away: fakes never have one, and no ear learned with one."""
    generator = load_generator(folder)
    real = torch.from_numpy(tonal_pairs(1, seed=4)[:, 0])
    with torch.inference_mode():
        items = items_of_sound(generator, real)
        made = items_with_wave(generator, items.latents, items.spectrum)
        assert torch.equal(items.wave(), made.wave())
        gap = (items.wave()[..., : real.shape[-1]] - real).square().mean() / real.square().mean()
    assert float(gap) > 0.01
    write_checkpoints(tmp_path / "run", folder / "config.yaml", epochs=1, **{"discriminator.wave_windows": [256]})
    (tmp_path / "run" / "config.yaml").write_text((folder / "config.yaml").read_text())
    assert main(["--checkpoints", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--count", "2"]) == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert play(folder, tmp_path / "file" / "out") == 2
    assert "Name another --output" in capsys.readouterr().err


def test_probes_are_no_music_but_have_its_level_and_its_sound():
    random = torch.Generator().manual_seed(0)
    real = 0.1 * torch.randn(2, 1, 4 * SAMPLE_RATE, generator=random).cumsum(dim=-1).sin()
    probes = sanity_probes(real, SAMPLE_RATE)
    assert set(probes) == set(PROBES)
    assert all(probe.shape == real.shape for probe in probes.values())
    assert float(probes["silence"].abs().max()) == 0.0
    for name in ("white noise", "1 kHz tone"):
        assert float(probes[name].square().mean().sqrt()) == pytest.approx(10 ** (-18 / 20), rel=0.02)
    assert not torch.equal(probes["shuffled real"], real)
    assert torch.equal(probes["shuffled real"].sort(dim=-1).values, real.sort(dim=-1).values)
    spectrum = torch.fft.rfft(probes["1 kHz tone"][0, 0]).abs()
    assert int(spectrum.argmax()) * SAMPLE_RATE / real.shape[-1] == pytest.approx(1000.0, abs=1.0)


def test_of_equally_strict_judges_the_one_that_sees_through_more_is_named():
    few = [verdict(2, 1.0, generator=g, apart=apart) for g, apart in ((1, 0.9), (3, 0.5), (4, 0.4))]
    many = [verdict(4, 1.0, generator=g, apart=0.8) for g in (1, 3, 4)]
    assert "strictest discriminator is epoch 4" in interpret_matrix(few + many)
