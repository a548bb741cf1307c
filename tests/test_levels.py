"""A click is a few milliseconds and is clipped; a forte or an attack is music, in a file of any length."""

import numpy as np
import pytest

from piano.foundation.levels import LevelMeter, Levels, level_chunk
from tests.make_audio import make_music

RATE = 16_000


def levels_of(waveform: np.ndarray, *, pieces: int = 1) -> Levels:
    meter = LevelMeter(RATE)
    for piece in np.array_split(waveform, pieces, axis=1):
        meter.add(piece)
    return meter.levels()


def at_peak(waveform: np.ndarray, db: float) -> np.ndarray:
    return waveform * np.float32(10 ** (db / 20) / np.abs(waveform).max())


def clipped(waveform: np.ndarray, levels: Levels) -> int:
    chunk = waveform.astype(np.float32).copy()
    level_chunk(chunk, levels)
    return int((np.abs(chunk) >= 1.0).sum())


@pytest.mark.parametrize("minutes", [0.2, 5, 60])
@pytest.mark.parametrize("music_db", [-14.0, -34.0])
def test_a_forte_of_three_seconds_limits_the_gain_in_a_file_of_any_length(minutes: float, music_db: float):
    quiet = at_peak(make_music(1, 12, RATE), music_db)
    music = np.tile(quiet, (1, round(minutes * 5)))
    start = music.shape[1] // 2
    forte = at_peak(make_music(2, 3, RATE), -1.0)
    music[:, start : start + forte.shape[1]] = forte
    levels = levels_of(music)
    assert clipped(music, levels) == 0
    assert levels.notes == ()
    assert levels.gain_db == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("minutes", [0.2, 5, 60])
@pytest.mark.parametrize("milliseconds", [0.1, 1, 4])
def test_a_click_of_a_few_milliseconds_is_clipped_and_said(minutes: float, milliseconds: float):
    music = np.tile(at_peak(make_music(1, 12, RATE), -20.0), (1, round(minutes * 5)))
    start, count = music.shape[1] // 3, max(1, round(milliseconds * RATE / 1000))
    clean = levels_of(music)
    music[:, start : start + count] = 0.95
    levels = levels_of(music)
    assert levels.gain_db == pytest.approx(clean.gain_db, abs=0.1)
    over = 20 * np.log10(0.95) + levels.gain_db
    assert levels.notes == (f"isolated clicks clipped: 1, up to {over:.1f} dB over full scale",)
    assert clipped(music, levels) <= count + 10


def test_attacks_are_kept_however_sharp_and_rare(seed: int = 0):
    time = np.arange(RATE) / RATE
    hit = (0.9 * np.exp(-time / 0.015) * np.sin(2 * np.pi * 900 * time)).astype(np.float32)
    music = np.tile(at_peak(make_music(3, 10, RATE), -30.0), (1, 6))
    for second in (7, 31, 52):
        music[:, second * RATE : (second + 1) * RATE] += hit
    levels = levels_of(music)
    assert levels.notes == () and clipped(music, levels) == 0


def test_clicks_that_come_again_and_again_are_music_and_so_is_a_lone_sound():
    metronome = np.zeros((1, 60 * RATE), dtype=np.float32)
    metronome[:, :: RATE // 2] = 0.8
    assert clipped(metronome, levels_of(metronome)) == 0
    quiet = metronome + at_peak(make_music(0, 60, RATE), -30.0)
    assert clipped(quiet, levels_of(quiet)) == 0
    single = np.zeros((1, RATE), dtype=np.float32)
    single[:, 100] = 0.5
    assert levels_of(single).notes == ()


@pytest.mark.parametrize("pieces", [2, 7, 1000])
def test_levels_do_not_depend_on_how_the_sound_comes_in(pieces: int):
    music = make_music(4, 7.13, RATE, 2)
    music[1, 50_000] = 1.0
    whole, parts = levels_of(music), levels_of(music, pieces=pieces)
    assert parts.gain_db == pytest.approx(whole.gain_db, abs=1e-4)
    assert parts.silence_share == pytest.approx(whole.silence_share)
    assert parts.notes == whole.notes


@pytest.mark.parametrize("samples", [1, 5, 799, 801])
def test_very_short_sounds_have_a_level(samples: int):
    levels = levels_of(np.full((1, samples), 0.25, np.float32) * (-1) ** np.arange(samples))
    if samples > 1:
        assert levels.peak_db == pytest.approx(-12.04, abs=2.0)
    assert np.isfinite(levels.gain_db)
