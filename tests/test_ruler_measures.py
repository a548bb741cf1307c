"""The measures of the ruler, one by one: known values, laws, and what they must not react to."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from piano.evaluation import descriptors
from piano.evaluation.bootstrap import Figure, file_weights, mean_figure, with_interval
from piano.evaluation.clip_features import FEATURE_GROUPS
from piano.evaluation.continuations import agreement, click_ratio, similarities
from piano.evaluation.descriptors import Clip
from piano.evaluation.distances import kernel_distance, kernel_score
from piano.evaluation.lufs import filter_by_torchaudio, integrated_lufs, k_filters
from piano.evaluation.measures import DESCRIPTORS, SET_MEASURES, describe
from piano.evaluation.memorisation import PASSAGE_SECONDS, build_library, find_copies, nearest_passages
from piano.evaluation.music_folder import Song, level_song
from piano.evaluation.reconstruction import mel_distance, si_sdr, stft_distance
from piano.evaluation.set_scores import Reference, SetScores, covered, recalled, score_set
from tests import make_audio
from tests.make_audio import make_music

RATE = 16_000
tone = partial(make_audio.tone, level=0.1)


def noise(seed: int, seconds: float = 3.0, size: float = 0.1, channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (size * random.standard_normal((channels, round(seconds * RATE)))).astype(np.float32)


# --- intervals


def test_the_interval_of_a_mean_has_the_width_of_the_textbook_and_counts_files_not_clips() -> None:
    random = np.random.default_rng(0)
    songs = random.standard_normal(100)
    alone = mean_figure(songs, range(100))
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * songs.std() / 10, rel=0.15)
    repeated = mean_figure(np.repeat(songs, 9), np.repeat(np.arange(100), 9).tolist())
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.15)
    pretended = mean_figure(np.repeat(songs, 9), range(900))
    assert pretended.high - pretended.low < 0.5 * (repeated.high - repeated.low)


@settings(max_examples=25)
@given(files=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_clips_of_a_file_are_drawn_together_and_as_many_files_as_there_are(files: list[int], seed: int) -> None:
    weights = file_weights(files, resamples=20, seed=seed)
    first = [files.index(file) for file in files]
    np.testing.assert_array_equal(weights, weights[:, first])
    assert (weights[:, sorted(set(first))].sum(axis=1) == len(set(files))).all()


def test_an_interval_holds_its_value_and_survives_resamples_that_say_nothing() -> None:
    figure = with_interval(5.0, np.array([1.0, 2.0, np.nan, 3.0]))
    assert figure.low < 2.0 and figure.high == 5.0 and figure.holds(5.0)
    assert with_interval(1.0, np.array([np.nan])) == Figure(1.0, 1.0, 1.0)


# --- sets


def drawn(count: int, seed: int, *, width: int = 6, centre: float = 0.0) -> np.ndarray:
    return centre + np.random.default_rng(seed).standard_normal((count, width))


def test_the_kernel_score_is_that_of_distances() -> None:
    real, made, bad = drawn(40, 0), drawn(30, 1, centre=0.5), drawn(20, 2, centre=3.0)
    files = [index // 2 for index in range(40)]
    reference = Reference.fit(real, files, bad)
    scored = score_set(reference, made, [("made", index) for index in range(30)]).kernel_score
    known = kernel_score(
        generated=made, real=real, noise=bad, real_files=files, generated_files=[("made", index) for index in range(30)]
    )
    assert scored.value == pytest.approx(known.score, abs=1e-9)
    assert scored.low < scored.value < scored.high


def test_the_interval_of_the_kernel_score_holds_zero_for_real_music_nineteen_times_in_twenty() -> None:
    bad, held = drawn(20, 1000, centre=3.0), 0
    for seed in range(40):
        reference = Reference.fit(drawn(40, seed), range(40), bad)
        held += score_set(reference, drawn(40, 500 + seed), [("made", k) for k in range(40)]).kernel_score.holds(0.0)
    assert held >= 36


def test_the_interval_shrinks_with_more_clips() -> None:
    def width(count: int) -> float:
        reference = Reference.fit(drawn(count, 0), range(count), drawn(20, 2, centre=3.0))
        figure = score_set(reference, drawn(count, 1, centre=0.7), [("made", k) for k in range(count)]).kernel_score
        return figure.high - figure.low

    assert width(160) < 0.7 * width(40)


def test_reconstructions_are_not_compared_with_their_own_originals() -> None:
    real = drawn(30, 0)
    reference = Reference.fit(real, range(30), drawn(20, 2, centre=3.0))
    copies = score_set(reference, real, range(30))
    assert copies.kernel_score.value == pytest.approx(-reference.floor / reference.noise_distance, abs=0.02)
    unlabelled = score_set(reference, real, [("made", k) for k in range(30)])
    assert unlabelled.kernel_score.value < copies.kernel_score.value - 0.02


def test_coverage_of_equal_draws_is_what_the_paper_derives() -> None:
    """Lemma 2 of Naeem et al.: 1 - (N - 1)...(N - k) / ((2N - 1)...(2N - k)) for equal numbers."""
    count, k = 100, 3
    shares = [
        covered(
            drawn(count, seed),
            drawn(count, 99 - seed),
            set_files=[("made", i) for i in range(count)],
            real_files=range(count),
            k=k,
        ).mean()
        for seed in range(20)
    ]
    expected = 1 - math.prod((count - i) / (2 * count - i) for i in range(1, k + 1))
    assert np.mean(shares) == pytest.approx(expected, abs=0.02)


def test_coverage_sees_missing_modes_and_ignores_outliers_and_recall_sees_narrowness() -> None:
    real = np.concatenate([drawn(30, 0), drawn(30, 1, centre=20.0)])
    both = np.concatenate([drawn(30, 2), drawn(30, 3, centre=20.0)])
    labels, files = [("made", index) for index in range(60)], range(60)
    half = drawn(60, 4)
    wild = np.concatenate([half[:59], np.full((1, 6), 1e3)])
    narrow = np.concatenate([drawn(30, 5) * 0.05, 20 + drawn(30, 6) * 0.05])

    def cover(clips: np.ndarray) -> float:
        return float(covered(clips, real, set_files=labels, real_files=files).mean())

    def recall(clips: np.ndarray) -> float:
        return float(recalled(clips, real, set_files=labels, real_files=files).mean())

    assert cover(both) > 0.75
    assert cover(half) < 0.55
    assert cover(wild) <= cover(half)
    assert recall(both) > 0.75
    assert recall(half) < 0.55
    assert recall(narrow) < 0.2


def test_every_figure_of_a_set_is_in_the_table_of_measures() -> None:
    assert [row.name for row in SET_MEASURES] == list(SetScores._fields)


def test_raw_features_of_any_width_can_be_scored() -> None:
    width = sum(FEATURE_GROUPS.values())
    reference = Reference.fit(drawn(10, 0, width=width), range(10), drawn(5, 1, width=width, centre=4.0))
    assert score_set(reference, drawn(6, 2, width=width), ["a", "b", "c", "d", "e", "f"]).kernel_score.value < 0.3
    assert kernel_distance(drawn(10, 0), drawn(10, 3)) < 0.5


# --- single numbers


STEREO_NUMBERS = {"stereo_correlation", "side_to_mid", "stereo_coherence", "level_difference_spread"}


def test_every_descriptor_is_finite_or_does_not_apply_on_silence_and_noise() -> None:
    for clip in (np.zeros((2, 3 * RATE), np.float32), noise(0, channels=2), np.sign(tone(200.0))):
        values = describe(clip, RATE)
        lacking = {name for name, value in values.items() if not math.isfinite(value)}
        too_long = {"self_similarity_4s", "self_similarity_8s"}
        mono = STEREO_NUMBERS if len(clip) == 1 else set()
        assert lacking == too_long | mono
    assert len({row.name for row in DESCRIPTORS}) == len(DESCRIPTORS)


def test_self_similarity_is_one_at_the_period_of_what_repeats_and_lower_between() -> None:
    bar = make_music(3, 2.0, RATE)
    clip = Clip(np.tile(bar, 4), RATE)
    assert descriptors.self_similarity(clip, 2.0) > 0.97
    assert descriptors.self_similarity(clip, 1.0) < 0.85


def test_stable_notes_are_those_that_are_held() -> None:
    assert descriptors.stable_note_share(Clip(tone(440.0), RATE)) > 0.9
    assert descriptors.stable_note_share(Clip(noise(0), RATE)) < 0.05
    short = np.concatenate([tone(220.0 * 2 ** (k % 5 / 4), 0.12) for k in range(25)], axis=1)
    assert descriptors.stable_note_share(Clip(short, RATE)) < 0.3


def test_a_whistle_is_heard_under_music_and_a_note_that_fades_is_none() -> None:
    music = make_music(1, 4.0, RATE)
    assert descriptors.whistle(Clip(music + 0.01 * tone(5003.0, 4.0, level=1.0), RATE)) > 0.9
    fading = tone(440.0, 4.0, level=0.5) * np.exp(-3 * np.arange(4 * RATE) / RATE).astype(np.float32)
    assert descriptors.whistle(Clip(fading + noise(0, 4.0, 1e-3), RATE)) < 0.5


def test_rolloff_bandwidth_offset_and_stereo_correlation_of_known_sounds() -> None:
    assert descriptors.rolloff(Clip(noise(0), RATE)) == pytest.approx(0.95 * RATE / 2, rel=0.02)
    assert descriptors.rolloff(Clip(tone(1000.0), RATE)) == pytest.approx(1000.0, abs=20.0)
    assert descriptors.bandwidth(Clip(noise(0), RATE)) == pytest.approx(RATE / 2, abs=100.0)
    assert descriptors.bandwidth(Clip(tone(1000.0), RATE)) < 1500.0
    assert descriptors.offset(Clip(noise(0, size=0.1) + 0.1, RATE)) == pytest.approx(0.5**0.5, abs=0.01)
    left, right = noise(0), noise(1)
    assert descriptors.stereo_correlation(Clip(np.concatenate([left, left]), RATE)) == pytest.approx(1.0, abs=1e-3)
    assert descriptors.stereo_correlation(Clip(np.concatenate([left, -left]), RATE)) == pytest.approx(-1.0, abs=1e-3)
    assert abs(descriptors.stereo_correlation(Clip(np.concatenate([left, right]), RATE))) < 0.05


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_integrated_loudness_is_that_of_the_standard(rate: int) -> None:
    time = np.arange(4 * rate) / rate
    sine = np.sin(2 * np.pi * 997 * time).astype(np.float32)[None]
    # BS.1770: a full-scale sine of 997 Hz in one channel reads -3.01; EBU Tech 3341, case 1: in two at -23 dB, -23.
    assert descriptors.integrated_loudness(Clip(sine, rate)) == pytest.approx(-3.01, abs=0.05)
    stereo = 10 ** (-23 / 20) * np.concatenate([sine, sine])
    assert descriptors.integrated_loudness(Clip(stereo, rate)) == pytest.approx(-23.0, abs=0.05)
    # Case 3: what is 13 dB softer than the rest is not counted.
    quiet = np.concatenate([10 ** (-13 / 20) * stereo, stereo, stereo, stereo, 10 ** (-13 / 20) * stereo], axis=1)
    assert descriptors.integrated_loudness(Clip(quiet, rate)) == pytest.approx(-23.0, abs=0.12)
    low = np.sin(2 * np.pi * 30 * time).astype(np.float32)[None]
    assert descriptors.integrated_loudness(Clip(low, rate)) < -8.0  # ears hear little of 30 Hz, RMS all of it
    assert descriptors.integrated_loudness(Clip(np.zeros((1, rate), np.float32), rate)) == -70.0
    assert math.isnan(descriptors.integrated_loudness(Clip(sine[:, : rate // 4], rate)))


@pytest.mark.parametrize("gain", [1e-3, 0.1, 1.0, 4.0])
def test_loudness_follows_the_level_at_any_level(gain: float) -> None:
    loud = np.clip(3 * noise(0, 3.0, size=0.3) + tone(6000.0, level=0.5), -1, 1)
    at_one = descriptors.integrated_loudness(Clip(loud, RATE))
    assert -5.0 < at_one < 3.0
    there = descriptors.integrated_loudness(Clip(gain * loud, RATE))
    assert there == pytest.approx(at_one + 20 * math.log10(gain), abs=0.01)


def test_torchaudio_and_scipy_filter_alike_and_torchaudios_own_loudness_agrees_where_it_is_right() -> None:
    functional = pytest.importorskip(
        "torchaudio.functional", reason="torchaudio cannot be loaded beside this torch", exc_type=ImportError
    )
    music = make_music(3, 6.0, 44_100, 2)
    sections = k_filters(44_100)
    np.testing.assert_allclose(
        filter_by_torchaudio(music.astype(np.float64), sections), sosfilt(sections, music, axis=1), atol=1e-6
    )
    for gain in (1.0, 0.1):
        theirs = float(functional.loudness(torch.from_numpy(gain * music) / 8, 44_100)) + 20 * math.log10(8)
        assert integrated_lufs(gain * music, 44_100) == pytest.approx(theirs, abs=0.05)


# --- reconstructions


def test_distances_are_zero_for_the_same_sound_and_symmetric_where_they_should_be() -> None:
    a, b = make_music(0, 2.0, RATE), make_music(1, 2.0, RATE)
    assert mel_distance(reconstruction=a, original=a, sample_rate=RATE) == 0.0
    assert stft_distance(reconstruction=a, original=a, sample_rate=RATE) == 0.0
    there = mel_distance(reconstruction=a, original=b, sample_rate=RATE)
    assert there == pytest.approx(mel_distance(reconstruction=b, original=a, sample_rate=RATE))
    assert there > 0.5


def test_mel_distance_of_a_gain_is_its_logarithm_in_every_window() -> None:
    """Ten times louder is one more in log10, in each of the seven windows: empty filters count as equal."""
    loud = noise(0, 1.0, size=0.5)
    distance = mel_distance(reconstruction=0.1 * loud, original=loud, sample_rate=44_100)
    assert 6.5 < distance <= 7.001


def test_si_sdr_is_the_ratio_of_powers_and_does_not_see_the_level() -> None:
    clip, hiss = noise(0, 4.0), noise(1, 4.0, size=0.01)
    assert si_sdr(reconstruction=clip + hiss, original=clip, sample_rate=RATE) == pytest.approx(20.0, abs=0.2)
    half = si_sdr(reconstruction=0.5 * (clip + hiss), original=clip, sample_rate=RATE)
    assert half == pytest.approx(20.0, abs=0.2)


# --- continuations and copies


def test_similarities_are_cosines_about_the_mean_of_each_set() -> None:
    rows = [np.array([1.0, 0.0]), np.array([-1.0, 0.0])]
    np.testing.assert_allclose(similarities(rows, [row + 5.0 for row in rows]), [[1, -1], [-1, 1]], atol=1e-9)


def test_agreement_by_chance_has_no_small_p_value_and_needs_three_pairs() -> None:
    prompts = [make_music(seed, 3.0, RATE) for seed in range(6)]
    unrelated = [make_music(seed, 3.0, RATE) for seed in range(50, 56)]
    assert all(row.p_value > 0.02 for row in agreement(prompts, unrelated, RATE).values())
    same = agreement(prompts, prompts, RATE)
    assert all(row.own == pytest.approx(1.0) and row.p_value < 0.01 for row in same.values())
    with pytest.raises(ValueError, match="three or more"):
        agreement(prompts[:2], unrelated[:2], RATE)


def test_a_click_stands_out_where_it_is_and_nowhere_else() -> None:
    clip = noise(0, 4.0, size=0.02) + tone(440.0, 4.0)
    clip[0, 2 * RATE] += 0.5
    assert click_ratio(clip, RATE, 2 * RATE) > 4.0
    assert click_ratio(clip, RATE, RATE) < 2.0


def test_copies_are_told_by_file_and_time_whatever_their_level_and_silence_is_none() -> None:
    library = build_library((Song(f"song {seed}", make_music(seed, 9.0, RATE)) for seed in range(5)), RATE)
    held_out = [make_music(seed, 5.0, RATE) for seed in range(20, 32)]
    copy = make_music(3, 9.0, RATE)[:, round(2.5 * RATE) : round(7.0 * RATE)]
    found = find_copies(library, [copy, 0.01 * copy, held_out[0]], held_out, RATE)
    assert [near.song for near in found.nearest[:2]] == ["song 3", "song 3"]
    assert found.nearest[0].seconds - found.nearest[0].clip_seconds == pytest.approx(2.5, abs=0.1)
    assert found.nearest[0].similarity == pytest.approx(found.nearest[1].similarity, abs=0.02)
    assert found.copied_share == pytest.approx(2 / 3)
    assert nearest_passages(library, [np.zeros((1, 5 * RATE), np.float32)], RATE)[0].similarity == 0.0
    with pytest.raises(ValueError, match=f"{PASSAGE_SECONDS:g} s"):
        nearest_passages(library, [make_music(0, 2.0, RATE)], RATE)


def test_a_song_is_levelled_as_prepared_music_is() -> None:
    soft = level_song(0.5 * make_music(0, 4.0, RATE), RATE)
    loud = level_song(make_music(0, 4.0, RATE), RATE)
    np.testing.assert_allclose(soft, loud, atol=1e-4)
    assert np.abs(loud).max() <= 10 ** (-1 / 20) + 1e-6
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-18.0, abs=1.0)
