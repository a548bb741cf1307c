"""What the ruler must see: every damage in order of its grade, missing kinds, a few bad clips among good ones."""

import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ruler_damages import DAMAGES, Damage, Halves, damaged, halves_of, joined, main, missing_rows
from piano.evaluation import descriptors
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.descriptors import Clip
from piano.evaluation.distances import Kernel, song_whitening
from piano.evaluation.set_scores import Reference, SetScores, score_set, strayed
from piano.evaluation.sound_form import SoundForm, common_form, in_form
from piano.evaluation.spectra import stereo_image
from piano.evaluation.told_apart import told_right
from tests.make_audio import make_music, tone, write_music

RATE = 16_000
SONGS, SECONDS = 10, 3


@lru_cache(maxsize=1)
def halves() -> Halves:
    """Ten songs in stereo, two passages each: one measures, one is damaged."""
    stage = np.array([[0.3], [0.2]], dtype=np.float32)  # left is louder, so that swapped sides are wrong
    songs = [stage * make_music(seed, 2.0 * SECONDS, RATE, 2) for seed in range(SONGS)]
    clips = [song[:, start * RATE : (start + SECONDS) * RATE] for song in songs for start in (0, SECONDS)]
    return halves_of(clips, [song for song in range(SONGS) for _ in range(2)], RATE)


@lru_cache(maxsize=1)
def undamaged() -> SetScores:
    return scored(tuple(halves().clips))


def scored(clips) -> SetScores:
    return score_set(halves().reference, feature_matrix(clips, RATE), halves().files)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_every_damage_is_scored_worse_and_a_heavy_one_worse_than_a_light_one(damage: Damage) -> None:
    light, heavy = (scored(damaged(damage, grade, halves().clips, RATE)) for grade in damage.grades[::2])
    assert heavy.kernel_score.value > light.kernel_score.value - 0.002
    assert heavy.kernel_score.value > undamaged().kernel_score.value + 0.002
    assert heavy.told_apart.value >= undamaged().told_apart.value


def test_songs_that_are_joined_are_scored_worse_the_shorter_their_pieces() -> None:
    values = [scored(joined(halves().clips, seconds, RATE)).kernel_score.value for seconds in (1.5, 0.5)]
    assert undamaged().kernel_score.value < values[0] < values[1]


def test_silent_clips_stray_and_are_counted_however_few() -> None:
    silent = feature_matrix([0 * halves().clips[0]], RATE)
    reference = halves().reference
    found = strayed(reference.scale.transform(silent), reference.real, set_files=["made"], real_files=reference.files)
    assert found.tolist() == [1.0]
    real, far = np.random.default_rng(0).standard_normal((40, 5)), np.full((1, 5), 30.0)
    made = np.concatenate([real[:4] + 0.01, far])
    assert strayed(made, real, set_files=list("abcde"), real_files=range(40)).tolist() == [0, 0, 0, 0, 1]


def kinds(count: int, seed: int, which: list[int]) -> tuple[np.ndarray, list[str], list[int]]:
    """Clips of kinds that differ in two features, while something that changes within a song moves twenty others."""
    random = np.random.default_rng(seed)
    clips, songs, own = [], [], []
    for index in range(count):
        kind = which[index % len(which)]
        moved = 4 * random.standard_normal() + 0.5 * random.standard_normal(20)
        clips.append(np.r_[6 * np.cos(kind), 6 * np.sin(kind), moved] + 0.3 * random.standard_normal(22))
        songs.append(f"{index // (2 * len(which))} {kind}")
        own.append(kind)
    return np.array(clips), songs, own


NOISE = 20 * np.random.default_rng(9).standard_normal((16, 22))


@pytest.mark.parametrize("left", [6, 3, 2, 1])
def test_coverage_falls_by_the_share_of_kinds_that_are_missing_where_songs_say_what_a_kind_is(left: int) -> None:
    real, songs, _ = kinds(96, 0, list(range(6)))
    made = kinds(96, 1, list(range(left)))[0]
    labels = [("made", index) for index in range(96)]
    known = score_set(Reference.fit(real, songs, NOISE), made, labels).coverage.value
    assert known == pytest.approx(0.95 * left / 6, abs=0.1)
    if left < 3:  # without songs, what changes anyway drowns the kinds
        alone = score_set(Reference.fit(real, list(range(96)), NOISE), made, labels).coverage.value
        assert alone > known + 0.05


def test_the_benchmark_leaves_out_the_kinds_and_songs_that_it_says() -> None:
    real, songs, own = kinds(96, 0, list(range(6)))
    made, made_songs, made_own = kinds(96, 1, list(range(6)))
    known = Halves(Reference.fit(real, songs, NOISE), [], list(made_songs))
    rows = {row.name: row for row in missing_rows(known, made, made_own, own, draws=3)}
    assert rows["0.5 of the kinds"].left == pytest.approx(0.5) and rows["1 of 48 songs"].left == pytest.approx(1 / 48)
    cover = [rows[name].coverage for name in ("all", "0.5 of the kinds", "1 of 48 songs")]
    assert cover == sorted(cover, reverse=True) and cover[0] > cover[-1] + 0.3
    assert rows["1 of 48 songs"].recall < 0.3


# --- what it is made of


def test_a_judge_tells_shifted_sets_and_is_at_chance_for_two_draws_of_one() -> None:
    random = np.random.default_rng(0)
    real, same = random.standard_normal((60, 8)), random.standard_normal((60, 8))
    kernel = Kernel.fit(real)
    labels = {"made_files": [("made", index) for index in range(60)], "real_files": list(range(60))}
    chance, told = (told_right(same + shift, real, kernel=kernel, **labels) for shift in (0.0, 2.0))
    assert chance is not None and told is not None
    assert chance.share == pytest.approx(0.5, abs=0.12) and told.share > 0.95
    assert told_right(same[:1], real, made_files=["a"], real_files=range(60), kernel=kernel) is None
    few = np.repeat(random.standard_normal((4, 8)), 15, axis=0) + 0.01 * random.standard_normal((60, 8))
    songs = [index // 15 for index in range(60)]
    known = told_right(few[::2], few[1::2], made_files=songs[::2], real_files=songs[1::2], kernel=kernel)
    assert known is not None and known.share < 0.7  # a song it has heard would be told, but it is never asked about one


def test_one_aspect_that_is_all_wrong_lowers_the_kernel_as_much_as_any_other() -> None:
    real = feature_matrix(halves().clips, RATE)
    reference = halves().reference
    scaled = reference.scale.transform(real)
    kernel, places = reference.kernel, np.cumsum([0, *reference.kernel.sizes])
    assert np.allclose(np.diag(kernel(scaled, scaled)), 1.0)
    for first, last in pairwise(places):
        moved = scaled.copy()
        moved[:, first:last] += 5 / reference.scale.weight[first:last]
        assert 0.75 < np.diag(kernel(moved, scaled)).mean() < 0.97


def test_whitening_is_nothing_where_every_song_has_one_clip_and_evens_the_scatter_where_not() -> None:
    random = np.random.default_rng(0)
    songs = [index // 4 for index in range(200)]
    clips = random.standard_normal((200, 3)) * np.array([9.0, 1.0, 1.0])
    np.testing.assert_array_equal(song_whitening(clips, range(200)), np.eye(3))
    spread = (clips @ song_whitening(clips, songs)).std(axis=0)
    assert spread.max() / spread.min() < 0.75 * 9.0


def test_the_stereo_image_of_known_sounds() -> None:
    left, right = (0.1 * np.random.default_rng(seed).standard_normal((1, 4 * RATE)) for seed in (0, 1))
    sounds = {
        "mono": np.concatenate([left, left]),
        "apart": np.concatenate([left, right]),
        "inverted": np.concatenate([left, -left]),
        "panned": np.concatenate([2 * left, left]),
    }
    images = {name: stereo_image(sound.astype(np.float32), RATE) for name, sound in sounds.items()}
    wanted = {"mono": (1, 1, 0, -60), "apart": (0, 0, 0, 0), "inverted": (-1, 1, 0, 57), "panned": (1, 1, 6.02, -9.54)}
    for name, (correlation, coherence, difference, side) in wanted.items():
        image = images[name]
        assert image.correlation.shape == (7, 6)
        np.testing.assert_allclose(image.correlation.mean(axis=0), correlation, atol=0.1)
        np.testing.assert_allclose(image.coherence.mean(axis=0), coherence, atol=0.4 if name == "apart" else 0.01)
        np.testing.assert_allclose(image.level_difference.mean(axis=0), difference, atol=0.6)
        np.testing.assert_allclose(image.side_to_mid.mean(), side, atol=9.0 if abs(side) > 50 else 0.6)
    numbers = {name: Clip(sound, RATE) for name, sound in sounds.items()}
    assert descriptors.side_to_mid(numbers["apart"]) == pytest.approx(0.0, abs=0.1)
    assert descriptors.side_to_mid(numbers["mono"]) < -55.0
    assert descriptors.stereo_coherence(numbers["inverted"]) > 0.99 > descriptors.stereo_coherence(numbers["apart"])
    moving = np.concatenate([sounds["panned"], sounds["panned"][::-1]], axis=1)
    assert descriptors.level_difference_spread(Clip(moving, RATE)) == pytest.approx(6.02, abs=0.2)
    assert descriptors.level_difference_spread(numbers["panned"]) < 0.1


def test_repetition_is_similarity_above_that_of_any_two_moments() -> None:
    bar = make_music(3, 2.0, RATE)
    again, never = Clip(np.tile(bar, 5), RATE), Clip(make_music(3, 10.0, RATE), RATE)
    assert descriptors.repetition(again, 2.0) > 0.15 > descriptors.repetition(never, 2.0)
    drone = Clip(tone(220.0, 8.0), RATE)
    assert descriptors.self_similarity(drone, 1.0) > 0.99
    assert descriptors.repetition(drone, 1.0) == pytest.approx(0.0, abs=0.01)


def test_forms_are_brought_to_the_lower_rate_and_the_fewer_channels() -> None:
    low = common_form(SoundForm(44_100, 1), SoundForm(16_000, 2))
    assert low == SoundForm(16_000, 1)
    sound = np.concatenate([tone(440.0, 1.0, 44_100), 0 * tone(440.0, 1.0, 44_100)])
    brought = in_form(sound, SoundForm(44_100, 2), low, samples=16_000)
    np.testing.assert_allclose(brought[:, 500:-500], 0.5 * tone(440.0, 1.0, 16_000)[:, 500:-500], atol=1e-3)
    assert in_form(brought, low, SoundForm(16_000, 2)).shape == (2, 16_000)


def test_the_benchmark_tells_every_damage_and_writes_its_figures(tmp_path: Path, capsys) -> None:
    for index in range(4):
        write_music(tmp_path / "music" / f"{index % 2}" / f"{index}.wav", index, 4.5, 8_000)
    figures = tmp_path / "figures.json"
    few = ["--clips", "8", "--seconds", "2", "--sample-rate", "8000", "--channels", "1"]
    assert main(["--real", str(tmp_path / "music"), "--json", str(figures), *few]) == 0
    told = json.loads(figures.read_text())
    assert {row[0] for row in told["damages"]} >= {damage.name for damage in DAMAGES if not damage.is_stereo}
    assert "Not in order:" in capsys.readouterr().out
