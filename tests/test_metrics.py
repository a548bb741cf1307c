"""The ruler: real music is near real music, and each way of not being music is far, in the right order."""

from functools import lru_cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from scipy.ndimage import convolve1d

from piano.evaluation import descriptors
from piano.evaluation.clip_features import FEATURE_GROUPS, STEREO_GROUPS, feature_matrix, feature_vector
from piano.evaluation.descriptors import Clip
from piano.evaluation.distances import (
    FeatureScale,
    aspect_gaps,
    diversity,
    kernel_distance,
    kernel_score,
    real_floor,
    spectrum_noise,
)
from piano.evaluation.metrics import log_magnitude_ratio, pitch_found_share, pitch_window
from piano.evaluation.spectra import constant_q, constant_q_frequencies
from tests import make_audio

RATE = 16_000
tone = partial(make_audio.tone, level=0.1)
SECONDS = 5


def piece(song: int, take: int = 0, *, seconds: float = SECONDS) -> np.ndarray:
    """Tonal music [shape=(1, samples)]: chords of one key, a melody over them, decaying notes; a song keeps its key."""
    of_song, of_take = np.random.default_rng(song), np.random.default_rng((song, take))
    root, beat = 48 + of_song.integers(0, 12), of_song.uniform(0.25, 0.5)
    scale = np.array([0, 2, 4, 5, 7, 9, 11]) if of_song.integers(2) else np.array([0, 2, 3, 5, 7, 8, 10])
    decay, tilt = of_song.uniform(1.5, 3.0), of_song.uniform(0.9, 1.4)
    sound = np.zeros(round(seconds * RATE))
    degree = 0
    for step in range(int(seconds / beat)):
        notes = []
        if step % 4 == 0:
            chord = of_take.choice([0, 3, 4, 5])
            notes += [root + scale[(chord + k) % 7] + 12 * ((chord + k) // 7) for k in (0, 2, 4)]
        if of_take.random() < 0.85:
            degree = int(np.clip(degree + of_take.integers(-2, 3), -3, 9))
            notes.append(root + 12 + scale[degree % 7] + 12 * (degree // 7))
        if of_take.random() < 0.2:
            notes.append(root - 12 + scale[of_take.integers(7)])
        onset = round((step + of_take.normal(0, 0.01)) * beat * RATE)
        onset = max(onset, 0)
        for note in notes:
            time = np.arange(min(len(sound) - onset, 2 * RATE)) / RATE
            pitch = 440 * 2 ** ((note - 69) / 12)
            partials = np.zeros(len(time))
            for k in range(1, 10):
                if k * pitch < 0.45 * RATE:
                    stretched = 2 * np.pi * k * pitch * time * (1 + 3e-4 * k * k) + k
                    partials += np.sin(stretched) * k**-tilt * np.exp(-0.3 * k * time)
            envelope = of_take.uniform(0.5, 1.0) * np.exp(-decay * time) * np.minimum(time / 0.004, 1)
            sound[onset:][: len(time)] += partials * envelope
    sound += 1e-4 * of_take.standard_normal(len(sound))
    return (0.126 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)[None]


@lru_cache(maxsize=1)
def music() -> tuple[np.ndarray, ...]:
    """Two takes of twelve songs."""
    return tuple(piece(song, take) for song in range(12) for take in range(2))


FILES = [song for song in range(12) for _ in range(2)]


@lru_cache(maxsize=1)
def music_features() -> np.ndarray:
    return feature_matrix(music(), RATE)


@lru_cache(maxsize=1)
def noise_features() -> np.ndarray:
    return feature_matrix(spectrum_noise(music(), RATE, seed=1), RATE)


def score(clips, *, files=FILES) -> float:
    return kernel_score(
        generated=feature_matrix(clips, RATE),
        real=music_features(),
        noise=noise_features(),
        generated_files=files,
        real_files=FILES,
        noise_files=FILES,
    ).score


def spectrogram(clip: np.ndarray, n_fft: int = 2048) -> np.ndarray:
    return signal.stft(clip[0], RATE, nperseg=n_fft, noverlap=n_fft * 3 // 4)[2]


def sound_of(spectrum: np.ndarray, samples: int, n_fft: int = 2048) -> np.ndarray:
    sound = signal.istft(spectrum, RATE, nperseg=n_fft, noverlap=n_fft * 3 // 4)[1][:samples]
    return np.pad(sound, (0, samples - len(sound))).astype(np.float32)[None]


def smeared(clip: np.ndarray, width: int) -> np.ndarray:
    """Every partial blurred over `width` bins of 8 Hz, in log magnitude, phases kept."""
    spectrum = spectrogram(clip)
    level = np.log(np.abs(spectrum) + 1e-5)
    blurred = np.exp(convolve1d(level, np.hanning(width + 2)[1:-1] * 2 / (width + 1), axis=0, mode="nearest"))
    return sound_of(blurred * np.exp(1j * np.angle(spectrum)), clip.shape[1])


def hum(clip: np.ndarray, seed: int) -> np.ndarray:
    """The mel-like envelope of a clip filled with noise: right onsets, right colour, no pitch at all."""
    spectrum = spectrogram(clip, 512)
    envelope = convolve1d(np.abs(spectrum), np.hanning(9)[1:-1] / 4, axis=0, mode="nearest")
    noise = spectrogram(np.random.default_rng(seed).standard_normal(clip.shape), 512)
    return sound_of(envelope * noise / (np.abs(noise) + 1e-9), clip.shape[1], 512)


def shuffled(clip: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    pieces = np.array_split(clip, round(clip.shape[1] / RATE / seconds), axis=1)
    order = np.random.default_rng(seed).permutation(len(pieces))
    return np.concatenate([pieces[index] for index in order], axis=1)


def low_passed(clip: np.ndarray, hz: float) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(8, hz, fs=RATE, output="sos"), clip).astype(np.float32)


# --- the spectrum under it all


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("note", [0, 27, 60])
def test_constant_q_of_a_tone_peaks_at_its_semitone_with_its_amplitude(rate: int, note: int) -> None:
    hz = 55 * 2 ** (note / 12)
    clip = (0.3 * np.sin(2 * np.pi * hz * np.arange(2 * rate) / rate)).astype(np.float32)[None]
    levels = constant_q(clip, rate)[:, 30]
    assert levels.argmax() == note
    assert levels[note] == pytest.approx(0.3, rel=0.01)
    assert constant_q_frequencies(rate)[note] == pytest.approx(hz)
    far = np.abs(np.arange(len(levels)) - note) > 2
    assert levels[far].max() < 0.03 * 0.3  # the first side lobe of a Hann window is 31 dB down


def test_constant_q_does_not_depend_on_how_long_the_clip_is() -> None:
    clip = piece(0, seconds=8)
    whole, part = constant_q(clip, RATE), constant_q(clip[:, : 4 * RATE], RATE)
    np.testing.assert_allclose(whole[:, :100], part[:, :100], atol=1e-5)


# --- single numbers


def test_loudness_and_crest_of_a_sine_are_those_of_the_textbook() -> None:
    assert descriptors.loudness(Clip(tone(440.0, level=1.0), RATE)) == pytest.approx(-3.01, abs=0.01)
    assert descriptors.crest(Clip(tone(440.0), RATE)) == pytest.approx(3.01, abs=0.01)


def test_silence_share_counts_the_silent_part() -> None:
    clip = np.concatenate([tone(440.0, 3.0), np.zeros((1, RATE), np.float32)], axis=1)
    assert descriptors.silence_share(Clip(clip, RATE)) == pytest.approx(0.25, abs=0.02)


def test_beat_strength_and_onset_rate_hear_a_regular_pulse_and_its_absence() -> None:
    random = np.random.default_rng(0)
    regular, irregular = np.zeros((1, 8 * RATE), np.float32), np.zeros((1, 8 * RATE), np.float32)
    click = (random.standard_normal(800) * np.exp(-np.arange(800) / 200)).astype(np.float32)
    for start in np.arange(0, 7.6, 0.5):
        regular[0, round(start * RATE) :][:800] += click
    for start in np.sort(random.uniform(0, 7.6, 16)):
        irregular[0, round(start * RATE) :][:800] += click
    assert descriptors.beat_strength(Clip(regular, RATE)) > 0.9
    assert descriptors.beat_strength(Clip(irregular, RATE)) < 0.6
    assert descriptors.onset_rate(Clip(regular, RATE)) == pytest.approx(2.0, abs=0.15)
    assert descriptors.onset_rate(Clip(tone(440.0), RATE)) < 0.5


def test_polyphony_counts_notes_and_not_their_harmonics() -> None:
    def notes(*pitches: float) -> np.ndarray:
        tones = [tone(k * pitch, level=0.1 / k) for pitch in pitches for k in range(1, 7)]
        return np.sum(tones, axis=0)

    assert descriptors.polyphony(Clip(notes(220.0), RATE)) == pytest.approx(1.0, abs=0.2)
    assert descriptors.polyphony(Clip(notes(220.0, 277.2, 329.6), RATE)) == pytest.approx(3.0, abs=0.6)
    assert descriptors.polyphony(Clip(np.zeros((1, RATE), np.float32), RATE)) == 0.0


def test_key_clarity_is_high_in_one_key_and_low_for_all_twelve_notes_alike() -> None:
    weights = {0: 5, 2: 2, 4: 4, 5: 2, 7: 4, 9: 2, 11: 1}
    key = np.sum([tone(261.63 * 2 ** (k / 12), level=weight) for k, weight in weights.items()], axis=0)
    chromatic = np.sum([tone(261.63 * 2 ** (k / 12)) for k in range(12)], axis=0)
    assert descriptors.key_clarity(Clip(0.01 * key, RATE)) > 0.85
    assert descriptors.key_clarity(Clip(0.05 * chromatic, RATE)) < 0.6


def test_tonal_share_tells_notes_from_noise() -> None:
    assert descriptors.tonal_share(Clip(piece(0), RATE)) > 0.8
    assert descriptors.tonal_share(Clip(spectrum_noise([piece(0)], RATE, seed=0)[0], RATE)) < 0.3
    assert descriptors.tonal_share(Clip(hum(piece(0), 0), RATE)) < 0.5


# --- features


def test_feature_vector_has_the_documented_size_at_every_rate_and_is_finite() -> None:
    for rate in (8_000, 16_000, 44_100):
        clip = 0.1 * np.random.default_rng(0).standard_normal((2, 3 * rate)).astype(np.float32)
        vector = feature_vector(clip, rate)
        assert vector.shape == (sum(STEREO_GROUPS.values()),) == (404,)
        assert np.isfinite(vector).all()
        alone = feature_vector(clip[:1], rate)
        assert alone.shape == (sum(FEATURE_GROUPS.values()),) == (350,)
        twice = feature_vector(np.repeat(clip[:1], 2, axis=0), rate)
        np.testing.assert_allclose(twice[:350], alone, atol=1e-3)  # but for the image, the mix is what is heard


def test_features_are_finite_on_silence_square_wave_and_stereo_noise() -> None:
    square = np.sign(tone(200.0))
    stereo = np.random.default_rng(0).standard_normal((2, 2 * RATE)).astype(np.float32) * 0.1
    for clip in (np.zeros((1, 2 * RATE), np.float32), square, stereo):
        assert np.isfinite(feature_vector(clip, RATE)).all()


def test_all_features_but_loudness_ignore_the_level() -> None:
    clip = piece(3)
    loud, soft = feature_vector(clip, RATE), feature_vector(0.25 * clip, RATE)
    places = np.cumsum([0, *FEATURE_GROUPS.values()])
    first = dict(zip(FEATURE_GROUPS, places[:-1], strict=True))
    levels = [first["dynamics"], first["level"], first["level"] + 1]
    np.testing.assert_allclose(np.delete(loud, levels), np.delete(soft, levels), atol=2e-2)
    np.testing.assert_allclose((loud - soft)[levels], 12.04, atol=0.05)


def test_features_refuse_what_is_no_clip() -> None:
    with pytest.raises(ValueError, match="channels, samples"):
        feature_vector(np.zeros(RATE, np.float32), RATE)
    with pytest.raises(ValueError, match="1 s at least"):
        feature_vector(np.zeros((1, 100), np.float32), RATE)
    broken = piece(0)
    broken[0, 5] = np.nan
    with pytest.raises(ValueError, match="finite"):
        feature_vector(broken, RATE)


def test_scale_gives_every_aspect_the_same_weight_and_bounds_absurd_numbers() -> None:
    scale = FeatureScale.fit(music_features())
    scaled = scale.transform(music_features())
    parts = np.split(scaled, np.cumsum(list(FEATURE_GROUPS.values()))[:-1], axis=1)
    shares = {name: part.var(axis=0).sum() for name, part in zip(FEATURE_GROUPS, parts, strict=True)}
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.35)
    del shares["level"]  # these pieces all have the same
    assert max(shares.values()) < 2.5 * min(shares.values())
    absurd = music_features()[:1] + 1e6
    assert np.abs(scale.transform(absurd) * scale.weight).max() <= 5.0 + 1e-9


def test_a_dimension_that_never_moves_does_not_drown_the_others() -> None:
    random = np.random.default_rng(0)
    real = random.standard_normal((50, 10))
    real[:, 3] = 7.0
    moved = real[:1].copy()
    moved[0, 3] += 0.01
    scale = FeatureScale.fit(real)
    assert np.linalg.norm(scale.transform(moved) - scale.transform(real[:1])) < 0.05


# --- distances


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), offset=st.floats(0.0, 3.0))
def test_kernel_distance_is_zero_on_average_for_equal_sets_and_grows_with_the_offset(seed: int, offset: float) -> None:
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((60, 8)), random.standard_normal((60, 8))
    near = kernel_distance(a + offset, b)
    far = kernel_distance(a + offset + 1.0, b)
    assert abs(kernel_distance(a, b)) < 0.05
    assert far > near


def test_pairs_of_one_file_are_left_out() -> None:
    random = np.random.default_rng(0)
    songs = random.standard_normal((40, 6))
    real = np.repeat(songs[:20], 5, axis=0) + 0.05 * random.standard_normal((100, 6))
    other = np.repeat(songs[20:], 5, axis=0) + 0.05 * random.standard_normal((100, 6))
    real_files, other_files = np.repeat(np.arange(20), 5).tolist(), np.repeat(np.arange(20, 40), 5).tolist()
    plain = kernel_distance(other, real)
    by_file = kernel_distance(other, real, generated_files=other_files, reference_files=real_files)
    assert abs(by_file) < 0.6 * plain
    with pytest.raises(ValueError, match="two different files"):
        kernel_distance(real[:5], real, generated_files=[0] * 5, reference_files=real_files)


def test_real_music_scores_zero_and_noise_one() -> None:
    others = [piece(song) for song in range(100, 116)]
    assert score(others, files=[f"other {index}" for index in range(16)]) == pytest.approx(0.0, abs=0.08)
    assert score(spectrum_noise(music(), RATE, seed=2)) == pytest.approx(1.0, abs=0.05)
    floor, spread = real_floor(FeatureScale.fit(music_features()).transform(music_features()), real_files=FILES)
    assert abs(floor) < 0.05
    assert spread < 0.1


def test_the_ladder_of_damage_is_scored_in_order() -> None:
    """Three planted grades of each fault: never does a worse one score better, and every fault is seen."""
    clips = music()
    scores = {
        "real": score(clips),
        "smeared a little": score([smeared(clip, 3) for clip in clips]),
        "smeared": score([smeared(clip, 7) for clip in clips]),
        "smeared a lot": score([smeared(clip, 21) for clip in clips]),
        "low-passed": score([low_passed(clip, 2000) for clip in clips]),
        "low-passed deep": score([low_passed(clip, 700) for clip in clips]),
        "shuffled by 0.5 s": score([shuffled(clip, 0.5, k) for k, clip in enumerate(clips)]),
        "shuffled by 0.1 s": score([shuffled(clip, 0.1, k) for k, clip in enumerate(clips)]),
        "hum": score([hum(clip, k) for k, clip in enumerate(clips)]),
        "one bar repeated": score([np.tile(clip[:, :RATE], SECONDS) for clip in clips]),
    }
    assert scores["real"] < 0.05
    assert scores["real"] < scores["smeared a little"] < scores["smeared"] < scores["smeared a lot"]
    assert scores["real"] + 0.03 < scores["low-passed"] < scores["low-passed deep"]
    assert scores["real"] + 0.03 < scores["shuffled by 0.5 s"] < scores["shuffled by 0.1 s"]
    assert scores["one bar repeated"] > scores["real"] + 0.03
    assert scores["hum"] > 0.4
    assert scores["hum"] > max(scores["smeared a little"], scores["low-passed"], scores["shuffled by 0.5 s"])


def test_aspect_gaps_name_what_is_wrong() -> None:
    real = music_features()
    dull = aspect_gaps(generated=feature_matrix([low_passed(clip, 2000) for clip in music()], RATE), real=real)
    cut = aspect_gaps(
        generated=feature_matrix([shuffled(clip, 0.5, k) for k, clip in enumerate(music())], RATE), real=real
    )
    assert max(aspect_gaps(generated=real, real=real).values()) == pytest.approx(0.0, abs=1e-6)
    assert dull["timbre"] > 3 * cut["timbre"]
    assert max(cut, key=lambda name: cut[name]) in ("continuity", "similarity", "durations", "rhythm")


def test_diversity_is_one_for_other_music_and_zero_for_one_clip_again_and_again() -> None:
    others = feature_matrix([piece(song) for song in range(100, 112)], RATE)
    assert diversity(generated=others, real=music_features(), real_files=FILES) == pytest.approx(1.0, abs=0.25)
    assert diversity(generated=np.repeat(others[:1], 8, axis=0), real=music_features()) == pytest.approx(0.0, abs=1e-6)


def test_spectrum_noise_has_the_music_s_spectrum_and_each_clip_s_loudness_and_no_pitch() -> None:
    clips = [piece(0), 0.2 * np.repeat(piece(1), 2, axis=0)]
    noises = spectrum_noise(clips, RATE, seed=0)
    for clip, noise in zip(clips, noises, strict=True):
        assert noise.shape == clip.shape
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(np.sqrt(np.mean(clip**2)), rel=1e-3)
    assert abs(float(np.mean(noises[1][0] * noises[1][1]))) < 0.2 * float(np.mean(np.square(noises[1])))
    bands = [(100, 400), (400, 1600), (1600, 6400)]

    def levels(clip: np.ndarray) -> list[float]:
        spectrum = np.square(np.abs(np.fft.rfft(clip[0])))
        rate = np.fft.rfftfreq(clip.shape[1], 1 / RATE)
        return [10 * np.log10(np.sum(spectrum, where=(rate >= low) & (rate < high))) for low, high in bands]

    alone = spectrum_noise([piece(0)], RATE, seed=0)[0]
    np.testing.assert_allclose(levels(alone), levels(piece(0)), atol=2.0)
    assert (spectrum_noise(clips, RATE, seed=0)[0] == noises[0]).all()
    assert not (spectrum_noise(clips, RATE, seed=1)[0] == noises[0]).all()


# --- reconstruction


def test_pitch_window_lasts_93_ms_or_more() -> None:
    assert [pitch_window(rate) for rate in (8_000, 16_000, 22_050, 44_100, 48_000)] == [1024, 2048, 2048, 4096, 8192]


def test_a_perfect_reconstruction_has_r_0_and_p_1_and_an_unrelated_one_r_1() -> None:
    originals = list(music())[::2]
    assert log_magnitude_ratio(reconstruction=originals, original=originals, sample_rate=RATE) == 0.0
    assert pitch_found_share(reconstruction=originals, original=originals, sample_rate=RATE) == 1.0
    unrelated = originals[1:] + originals[:1]
    assert log_magnitude_ratio(reconstruction=unrelated, original=originals, sample_rate=RATE) == pytest.approx(
        1, abs=0.1
    )
    assert pitch_found_share(reconstruction=unrelated, original=originals, sample_rate=RATE) < 0.4


def test_r_follows_its_definition() -> None:
    originals = [piece(0), piece(1)]
    copies = [0.7 * clip for clip in originals]

    def levels(clip: np.ndarray) -> np.ndarray:
        padded = np.pad(clip[0], 1024)
        frames = np.stack([padded[start : start + 2048] for start in range(0, clip.shape[1] // 512 * 512, 512)])
        return np.log(np.abs(np.fft.rfft(frames * signal.get_window("hann", 2048))) / np.sqrt(2048) + 1e-3)

    error = np.mean([np.abs(levels(a) - levels(b)).mean() for a, b in zip(copies, originals, strict=True)])
    expected = error / np.abs(levels(originals[0]) - levels(originals[1])).mean()
    assert log_magnitude_ratio(reconstruction=copies, original=originals, sample_rate=RATE) == pytest.approx(
        expected, 1e-3
    )


def test_p_sees_what_mel_bands_cannot_a_hum_without_pitch() -> None:
    originals = list(music())[::2]
    hums = [hum(clip, index) for index, clip in enumerate(originals)]
    blurred = [smeared(clip, 3) for clip in originals]
    noise = spectrum_noise(originals, RATE, seed=0)
    found = [
        pitch_found_share(reconstruction=copy, original=originals, sample_rate=RATE) for copy in (blurred, hums, noise)
    ]
    assert found[0] > 0.9
    assert found[1] < 0.6
    assert found[2] < 0.2


def test_r_and_p_take_other_lengths_and_say_what_they_need() -> None:
    originals = [piece(0), piece(1)]
    longer = [np.pad(clip, ((0, 0), (0, 700))) for clip in originals]
    assert log_magnitude_ratio(reconstruction=longer, original=originals, sample_rate=RATE) < 0.05
    assert pitch_found_share(reconstruction=longer, original=originals, sample_rate=RATE) > 0.99
    silent = np.zeros((1, RATE), np.float32)
    assert pitch_found_share(reconstruction=[silent], original=[silent], sample_rate=RATE) == 1.0
    with pytest.raises(ValueError, match="two or more originals"):
        log_magnitude_ratio(reconstruction=originals[:1], original=originals[:1], sample_rate=RATE)
