"""What fine-tuning did is told from what is composed before and after: planted cases of each verdict."""

from functools import lru_cache

import numpy as np
import pytest

from benchmarks.copy_curve import in_time
from piano.evaluation.bootstrap import Figure
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.effect import Effect, Side, in_words, measure_effect
from piano.evaluation.memorisation import SHORT_SECONDS, build_library, find_copies, nearest_passages
from piano.evaluation.music_folder import Song
from tests.make_audio import make_music

RATE = 8000
SECONDS = 5.0
SAMPLES = round(SECONDS * RATE)


@lru_cache(maxsize=1)
def songs() -> tuple[Song, ...]:
    """Music to learn from."""
    return tuple(Song(f"song {seed}", make_music(seed, 12.0, RATE)) for seed in range(4))


@lru_cache(maxsize=1)
def new_clips() -> tuple[np.ndarray, ...]:
    """Clips of the same kind that nobody learned from."""
    return tuple(make_music(seed, SECONDS, RATE) for seed in range(100, 115))


@lru_cache(maxsize=1)
def old_clips() -> tuple[np.ndarray, ...]:
    """Another kind: the same without a tone in it, and slower."""
    slow = [make_music(seed, 2 * SECONDS, 2 * RATE)[:, : 2 * SAMPLES : 2] for seed in range(200, 210)]
    return tuple(clip + 0.5 * noise for clip, noise in zip(slow, spectrum_noise(slow, RATE), strict=True))


def judged(after: list[np.ndarray]) -> Effect:
    learned = Side(
        [song.waveform[:, :SAMPLES] for song in songs()],
        [song.name for song in songs()],
        [{song.name} for song in songs()],
    )
    held_out = Side(new_clips()[:5], [f"held out {index}" for index in range(5)])
    return measure_effect(old_clips()[:5], after, learned, held_out, build_library(songs(), RATE), RATE)


def test_compositions_of_the_new_kind_have_moved_and_are_no_copies() -> None:
    found = judged(list(new_clips()[5:10]))
    assert found.verdict == "moved", found.sentence
    assert found.after < found.before and found.gap.high < 0.0
    assert found.learned is not None and found.learned.high < 0.0
    assert found.held_out is not None and found.held_out.high < 0.0
    assert (found.copied, found.copied_before) == (0, 0)
    assert "nearer to the new music than before" in found.sentence and "None of 5 pieces is a copy" in found.sentence


def test_compositions_of_the_old_kind_have_not_moved() -> None:
    found = judged(list(old_clips()[5:10]))
    assert found.verdict == "not moved", found.sentence
    assert found.before == pytest.approx(found.after, abs=0.1)
    assert "did not move it" in found.sentence


def test_one_passage_of_the_training_music_among_new_pieces_is_a_copy_and_named() -> None:
    planted = 0.2 * songs()[2].waveform[:, 3 * RATE : 3 * RATE + SAMPLES]
    found = judged([*new_clips()[5:9], planted])
    assert found.verdict == "copied", found.sentence
    assert found.copied == 1 and found.copy is not None
    assert (found.copy["piece"], found.copy["song"]) == (4, "song 2")
    assert found.copy["seconds"] - found.copy["clip_seconds"] == pytest.approx(3.0, abs=0.1)
    assert "1 of 5 pieces hold" in found.sentence and "song 2" in found.sentence


def test_what_the_model_of_before_copied_as_often_is_not_laid_to_fine_tuning() -> None:
    planted = 0.2 * songs()[2].waveform[:, 3 * RATE : 3 * RATE + SAMPLES]
    learned = Side([song.waveform[:, :SAMPLES] for song in songs()], [song.name for song in songs()])
    held_out = Side(new_clips()[:5], [f"held out {index}" for index in range(5)])
    library = build_library(songs(), RATE)
    before, after = ([*clips, planted] for clips in (old_clips()[:4], new_clips()[5:9]))
    found = measure_effect(before, after, learned, held_out, library, RATE)
    assert (found.copied, found.copied_before) == (1, 1)
    assert found.verdict == "moved"


def test_too_little_new_music_is_said_and_nothing_is_guessed() -> None:
    one = Side([songs()[0].waveform[:, :SAMPLES]], ["song 0"])
    found = measure_effect(old_clips()[:4], new_clips()[:4], one, Side([], []), None, RATE)
    assert found.verdict == "cannot tell" and "1 clip of the new music" in found.sentence
    enough = Side(new_clips()[5:10], [f"song {index}" for index in range(5)])
    found = measure_effect(old_clips()[:5], new_clips()[:5], enough, Side(new_clips()[10:], ["a"] * 5), None, RATE)
    assert found.verdict == "moved" and found.copied is None
    assert "Whether it copies was not searched" in found.sentence


def test_words_say_when_it_went_the_other_way() -> None:
    gap = Figure(0.3, 0.2, 0.4)
    away = Effect("not moved", "", 0.1, 0.4, gap, gap, gap, 8, 0, 0)
    assert "farther from the new music than before" in in_words(away)
    assert away.fields()["gap"] == [0.3, 0.2, 0.4] and "copy" not in away.fields()


# --- how much of a song is seen


def test_a_copy_of_a_quarter_of_a_clip_is_found_by_its_two_seconds_and_a_twentieth_is_not() -> None:
    library, random = build_library(songs(), RATE), np.random.default_rng(0)
    clips = [make_music(seed, 10.0, RATE) for seed in range(300, 304)]
    held_out = [make_music(seed, 10.0, RATE) for seed in range(400, 408)]
    for share, expected in ((0.0, 0.0), (0.05, 0.0), (0.25, 1.0)):
        planted = [
            in_time(clip, song.waveform, share, random) if share else clip
            for clip, song in zip(clips, songs(), strict=True)
        ]
        found = find_copies(library, planted, held_out, RATE)
        assert found.copied_share == expected, share
        if share == 0.25:
            assert [near.song for near in found.nearest] == [song.name for song in songs()]
            near = nearest_passages(library, planted, RATE, seconds=SHORT_SECONDS)
            assert min(passage.similarity for passage in near) > found.short_threshold
            assert all(found.is_copy(near) for near in found.nearest)


def test_the_end_of_a_clip_is_searched_too() -> None:
    library = build_library(songs(), RATE)
    clip = make_music(500, 10.0, RATE)
    clip[:, -4 * RATE :] = songs()[1].waveform[:, 2 * RATE : 6 * RATE]
    found = nearest_passages(library, [clip], RATE)[0]
    assert found.similarity > 0.9 and found.song == "song 1"


def test_a_clip_is_not_compared_with_its_own_recording() -> None:
    library = build_library(songs(), RATE)
    clip = songs()[0].waveform[:, :SAMPLES]
    alone = nearest_passages(library, [clip, clip], RATE, own=[(), {"song 0"}])
    assert alone[0].song == "song 0" and alone[0].similarity > 0.95
    assert alone[1].song != "song 0" and alone[1].similarity < 0.7
