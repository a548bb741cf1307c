"""The same recording is recognised, other music is not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from piano.foundation.audio_io import read_audio
from piano.foundation.fingerprint import Fingerprinter, find_same_recordings
from tests.make_audio import make_music

RATE = 16_000


def fingerprint(waveform: np.ndarray, piece: int = 100_000) -> np.ndarray:
    maker = Fingerprinter(RATE)
    for start in range(0, waveform.shape[1], piece):
        maker.add(waveform[:, start : start + piece])
    return maker.finish()


@pytest.fixture(scope="module")
def songs() -> list[np.ndarray]:
    return [make_music(seed, 20.0, RATE) for seed in range(6)]


def test_different_songs_stand_alone(songs: list[np.ndarray]):
    assert find_same_recordings([fingerprint(song) for song in songs]) == list(range(6))


def test_another_bit_rate_start_and_level_is_the_same_recording(songs: list[np.ndarray], tmp_path: Path):
    prints = [fingerprint(song) for song in songs]
    for song in songs:
        with soundfile.SoundFile(
            tmp_path / "low.mp3", "w", RATE, 1, format="MP3", bitrate_mode="CONSTANT", compression_level=0.9
        ) as file:
            file.write(0.3 * song[0, 21_111:])  # 1.3 s later, between two steps
        prints.append(fingerprint(read_audio(tmp_path / "low.mp3", sample_rate=RATE, channels=1)))
    assert find_same_recordings(prints) == [*range(6), *range(6)]


def test_pieces_of_any_size_give_the_same_fingerprint(songs: list[np.ndarray]):
    whole = fingerprint(songs[0], 10**9)
    pieces = fingerprint(songs[0], 12_345)
    assert len(whole) == len(pieces)
    assert np.mean(whole == pieces) > 0.99  # sums in another order may turn a bit that was undecided


def test_silence_and_shortness_match_nothing(songs: list[np.ndarray]):
    silence = fingerprint(np.zeros((1, 10 * RATE), dtype=np.float32))
    assert not silence.any()
    short = fingerprint(songs[0][:, :1000])
    assert len(short) == 0
    assert find_same_recordings([silence, silence, short, short, fingerprint(songs[0])]) == [0, 1, 2, 3, 4]


def test_stereo_is_fingerprinted_by_its_mix():
    stereo = make_music(0, 10.0, RATE, 2)
    mono = 0.5 * (stereo[:1] + stereo[1:])
    assert np.array_equal(fingerprint(stereo), fingerprint(mono))
