"""The same recording is recognised, other music is not."""

from pathlib import Path

import bench_duplicates
import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from piano.foundation import shared_words
from piano.foundation.audio_io import read_audio
from piano.foundation.fingerprint import Fingerprinter, find_same_recordings, fingerprint_length, words_of_energy
from piano.foundation.shared_words import Bins, SharedWords
from tests.make_audio import make_music

RATE = 16_000


def fingerprint(waveform: np.ndarray, piece: int = 100_000, rate: int = RATE) -> np.ndarray:
    maker = Fingerprinter(rate)
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


def mp3(waveform: np.ndarray, path: Path, compression: float = 0.7) -> np.ndarray:
    """What is left of a sound after an MP3 file; 0.9 is the smallest."""
    with soundfile.SoundFile(
        path, "w", RATE, 1, format="MP3", bitrate_mode="CONSTANT", compression_level=compression
    ) as file:
        file.write(waveform[0])
    return read_audio(path, sample_rate=RATE, channels=1)


def filtered(waveform: np.ndarray, edges: float | list[float], kind: str) -> np.ndarray:
    return np.asarray(sosfilt(butter(4, edges, kind, fs=RATE, output="sos"), waveform), dtype=np.float32)


def telephone(waveform: np.ndarray) -> np.ndarray:
    """8 kHz, 300 to 3400 Hz, eight bits by the mu law."""
    narrow = soxr.resample(filtered(waveform, [300.0, 3400.0], "bandpass")[0], RATE, 8000)
    loud = np.abs(narrow).max()
    code = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow) / loud) / np.log(256) * 127) / 127
    decoded = np.sign(code) * (256 ** np.abs(code) - 1) / 255
    return soxr.resample(decoded.astype(np.float32), 8000, RATE)[np.newaxis]


def faster(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Played faster, and higher with it."""
    return soxr.resample(waveform[0], RATE * speed, RATE)[np.newaxis]


def tune(seed: int, seconds: float, rate: int) -> np.ndarray:
    """Three voices of struck notes, made quickly."""
    random = np.random.default_rng(seed)
    count, step = round(seconds * rate), round(random.uniform(0.15, 0.35) * rate)
    envelope = np.exp(-4.0 * (np.arange(count) % step) / step)
    waveform = np.zeros(count)
    for octave in (0, 1, 2):
        notes = random.integers(0, 12, size=count // step + 1)
        phase = 2 * np.pi * np.cumsum(110 * 2 ** (octave + np.repeat(notes, step)[:count] / 12)) / rate
        waveform += envelope * (np.sin(phase) + np.sin(2 * phase) / 2 + np.sin(3 * phase) / 3)
    return (0.15 * waveform[np.newaxis]).astype(np.float32)


DRESSES = {
    "soft": lambda waveform: 0.01 * waveform,
    "upside down": lambda waveform: -waveform,
    "overdriven": lambda waveform: np.tanh(4 * waveform),
    "after silence": lambda waveform: np.pad(waveform, ((0, 0), (37_777, 0))),
    "cut on both sides": lambda waveform: waveform[:, 51_234:-60_000],
    "an excerpt of 8 s": lambda waveform: waveform[:, 100_001 : 100_001 + 8 * RATE],
    "over 44.1 and 48 kHz": lambda waveform: soxr.resample(
        soxr.resample(soxr.resample(waveform[0], RATE, 44_100), 44_100, 48_000), 48_000, RATE
    )[np.newaxis],
    "tape, 0.3 % fast": lambda waveform: faster(waveform, 1.003),
    "telephone": telephone,
    "low-pass": lambda waveform: filtered(waveform, 900.0, "lowpass"),
    "high-pass": lambda waveform: filtered(waveform, 400.0, "highpass"),
    "noisy": lambda waveform: (
        waveform + 0.1 * waveform.std() * np.random.default_rng(0).standard_normal(waveform.shape)
    ),
    "two channels": lambda waveform: np.concatenate([waveform, 0.3 * waveform]),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_the_same_recording_in_another_dress(songs: list[np.ndarray], dress: str):
    prints = [fingerprint(song) for song in songs]
    copies = [fingerprint(np.asarray(DRESSES[dress](song), dtype=np.float32)) for song in songs]
    assert find_same_recordings([*prints, *copies]) == [*range(6), *range(6)]
    assert find_same_recordings([*copies, *prints]) == [*range(6), *range(6)]


def test_other_speeds_are_found_as_far_as_the_documents_say():
    long_songs = [make_music(seed, 60.0, RATE) for seed in (1, 2)]
    prints = [fingerprint(song) for song in long_songs]
    for speed, is_found in ((1.005, True), (0.995, True), (1.03, False)):
        copies = [fingerprint(faster(song, speed)) for song in long_songs]
        assert find_same_recordings([*prints, *copies]) == ([0, 1, 0, 1] if is_found else [0, 1, 2, 3])


def test_an_album_in_one_file_is_the_recording_of_all_its_tracks():
    """25 minutes: every track is found, those at the end too, and the file at every place among them."""
    rate = 4000
    tracks = [tune(seed, 150.0, rate) for seed in range(10)]
    album, *prints = (fingerprint(part, rate=rate) for part in (np.concatenate(tracks, axis=1), *tracks))
    other = fingerprint(tune(99, 150.0, rate), rate=rate)
    assert len(album) == fingerprint_length(10 * 150 * rate, rate) > 23_000
    assert find_same_recordings([album, *prints, other]) == [*[0] * 11, 11]
    assert find_same_recordings([*prints[:9], album]) == [0] * 10
    assert find_same_recordings(prints) == list(range(10))
    # Two long files that share one track of five: a fifth of each, but all of it.
    halves = [np.concatenate(tracks[:5], axis=1), np.concatenate(tracks[4:9], axis=1)]
    assert find_same_recordings([fingerprint(half, rate=rate) for half in halves]) == [0, 0]


@pytest.mark.parametrize("copies", [40, 150])
def test_any_number_of_copies_is_one_recording(songs: list[np.ndarray], copies: int):
    originals = [fingerprint(song) for song in songs[:3]]
    prints = [print_ for print_ in originals for _ in range(copies)]
    groups = find_same_recordings(prints)
    assert groups == [index // copies * copies for index in range(3 * copies)]


def test_copies_with_different_starts_are_one_recording(songs: list[np.ndarray]):
    random = np.random.default_rng(0)
    copies = [
        fingerprint(song[:, random.integers(0, 30_000) :] + random.normal(0, 0.01, size=(1, 1)))
        for song in songs[:2]
        for _ in range(20)
    ]
    assert find_same_recordings(copies) == [0] * 20 + [20] * 20


@pytest.mark.parametrize("seconds", [2.5, 4.0, 6.0, 17.0, 19.0])
def test_short_samples_as_wav_and_mp3(tmp_path: Path, seconds: float):
    samples = [tune(seed, seconds, RATE) for seed in range(12)]
    prints = [fingerprint(sample) for sample in samples]
    copies = [fingerprint(mp3(sample, tmp_path / "sample.mp3", 0.3)) for sample in samples]
    assert find_same_recordings(prints) == list(range(12))
    assert find_same_recordings([*prints, *copies]) == [*range(12), *range(12)]


def test_a_song_that_is_one_bar_repeated(tmp_path: Path):
    """The words of a loop are frequent within its song."""
    loops = [np.tile(make_music(seed, 1.9, RATE), 20) for seed in range(5)]
    prints = [fingerprint(loop) for loop in loops]
    copies = [fingerprint(mp3(loop[:, 70_001:], tmp_path / "loop.mp3")) for loop in loops]
    assert find_same_recordings(prints) == list(range(5))
    assert find_same_recordings([*prints, *copies]) == [*range(5), *range(5)]


def techno(seed: int, seconds: float = 40.0) -> np.ndarray:
    """The same drums at the same 128 beats a minute for every seed, under another bass."""
    drums, bass = np.random.default_rng(0), np.random.default_rng(seed)
    step = RATE * 60 // 128 // 4
    time = np.arange(2 * step) / RATE
    kick = np.sin(2 * np.pi * (50 * time + 3 * np.exp(-30 * time))) * np.exp(-8 * time)
    snare, hat = drums.standard_normal((2, 2 * step)) * np.exp([[-15.0], [-50.0]] * time)
    pitches = 55 * 2 ** (bass.integers(0, 24, size=16) / 12)
    waveform = np.zeros(round(seconds * RATE) + 2 * step)
    for index in range(round(seconds * RATE) // step):
        place = index % 16
        sound = 0.6 * np.exp(-5 * time) * sum(np.sin(2 * np.pi * pitches[place] * k * time) / k for k in range(1, 9))
        sound += kick * (place % 4 == 0) + 0.4 * snare * (place % 8 == 4) + 0.2 * hat * (place % 4 == 2)
        waveform[index * step : (index + 2) * step] += sound
    return (0.3 * waveform[np.newaxis]).astype(np.float32)


def test_one_drum_machine_and_tempo_are_not_one_recording(tmp_path: Path):
    tracks = [techno(seed) for seed in range(1, 6)]
    prints = [fingerprint(track) for track in tracks]
    assert find_same_recordings(prints) == list(range(5))
    copies = [fingerprint(mp3(track, tmp_path / "track.mp3")) for track in tracks]
    assert find_same_recordings([*prints, *copies]) == [*range(5), *range(5)]


def test_silence_tones_and_noise_match_nothing():
    time = np.arange(30 * RATE) / RATE
    random = np.random.default_rng(0)
    sounds = [np.zeros_like(time), np.zeros_like(time), 1e-6 * random.standard_normal(len(time))]
    sounds += [0.5 * np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 220.0, 440.0, 441.0)]
    sounds += [0.1 * random.standard_normal(len(time)) for _ in range(4)]
    sounds += [np.sign(np.sin(2 * np.pi * hertz * time)) for hertz in (100.0, 50.0)]
    assert find_same_recordings([fingerprint(sound[np.newaxis].astype(np.float32)) for sound in sounds]) == list(
        range(len(sounds))
    )


def test_a_shared_jingle_is_no_shared_recording():
    """Of 40 s, 8 s are a jingle and 16 s are the same music."""
    songs = [make_music(seed, 40.0, RATE) for seed in range(4)]
    for seconds, groups in ((8, [0, 1, 2, 3]), (16, [0, 0, 0, 0])):
        together = [
            np.concatenate([songs[0][:, : seconds * RATE], song[:, seconds * RATE :]], axis=1) for song in songs
        ]
        assert find_same_recordings([fingerprint(song) for song in together]) == groups


def test_the_length_of_a_fingerprint_is_known_beforehand():
    for rate in (4000, 8000, 16_000, 44_100):
        for samples in (0, 100, 5_000, 23_456, 3 * rate, 12 * rate + 7):
            words = fingerprint(np.zeros((1, samples), dtype=np.float32), rate=rate)
            assert len(words) == fingerprint_length(samples, rate)


def test_words_in_files_and_in_several_rounds_give_the_same_shifts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = bench_duplicates.make_library(40, 1).prints
    with SharedWords(prints, scratch=tmp_path) as words:
        expected = sorted(words.shifts())
    assert len(expected) > 500
    monkeypatch.setattr(shared_words, "_HELD_BYTES", 20_000)
    monkeypatch.setattr(shared_words, "_VOTE_BYTES", 1_000_000)
    monkeypatch.setattr(shared_words, "_BATCH", 3_000)
    monkeypatch.setattr(shared_words, "_BIN_SONGS", 7)
    written = []
    write = shared_words.Bins._write
    monkeypatch.setattr(shared_words.Bins, "_write", lambda bins: (written.append(1), write(bins))[1])
    with SharedWords(prints, scratch=tmp_path) as words:
        begins = words._batches()
        assert len(shared_words._rounds(np.add.reduceat(words._rows, begins[:-1]))) > 2
        assert sorted(words.shifts()) == expected
    assert len(written) > 10
    assert list(tmp_path.iterdir()) == []
    assert find_same_recordings(prints, scratch=tmp_path) == find_same_recordings(prints)


def test_bins_give_back_what_was_put_in_and_only_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    bins = Bins(5, np.dtype("<i8"), tmp_path, held_bytes=1_000)
    rows, numbers = np.arange(1_000), random.integers(0, 5, 1_000)
    for start in range(0, 1_000, 70):
        bins.add(rows[start : start + 70], numbers[start : start + 70])
    assert len(list(tmp_path.iterdir())) == 5
    for number in range(5):
        assert bins.read(number).tolist() == rows[numbers == number].tolist()
        assert bins.take(number).tolist() == rows[numbers == number].tolist()
        assert bins.take(number).tolist() == []


def test_the_benchmark_finds_what_it_planted(capsys: pytest.CaptureFixture[str]):
    assert bench_duplicates.main(["--songs", "130"]) == 0
    assert "groups of more than one recording: 0" in capsys.readouterr().out


@pytest.mark.parametrize("rate", [1_000, 3_000, 6_000, 16_000, 44_100])
def test_a_fingerprint_is_the_change_of_energy_in_33_bands_up_to_half_the_rate(rate: int) -> None:
    """Against the plain formula: at low rates the highest bands hold nothing."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(12 * rate).astype(np.float32)
    made = Fingerprinter(rate)
    made.add(sound[np.newaxis])
    step = max(1, round(rate / 4000))
    slow = sound[: len(sound) // step * step].reshape(-1, step).mean(axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(slow, 1024)[::256] * np.hanning(1025)[:-1]
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / 1024
    edges = np.round(np.geomspace(110.0, 1750.0, 34) / (rate / step) * 1024)
    bins = np.arange(513)[:, np.newaxis]
    words = words_of_energy(power @ ((edges[:-1] <= bins) & (bins < edges[1:])))
    found = made.finish()
    assert len(found) == len(words) == fingerprint_length(12 * rate, rate)
    assert np.mean(found == words) > 0.98
