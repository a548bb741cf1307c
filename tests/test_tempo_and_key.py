"""Tempo and key of a clip, from its sound: of sounds whose tempo and key are what they were made with."""

import numpy as np
import pytest

from piano.evaluation.descriptors import Clip
from piano.evaluation.tempo_and_key import key_of, pitch_classes, tempo_of, tempo_relation
from piano.foundation.keys import Key, nearest_key

RATE, SECONDS = 16_000, 16.0
MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
CHORDS = {
    False: ((0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)),
    True: ((0, MINOR), (5, MINOR), (7, MAJOR), (0, MINOR)),
}


def struck(tempo: float, *, seed: int = 0) -> np.ndarray:
    """A burst of noise on every beat (1, samples)."""
    random = np.random.default_rng(seed)
    sound = 0.001 * random.standard_normal(round(SECONDS * RATE))
    for time in np.arange(0.1, SECONDS - 0.2, 60.0 / tempo):
        first = round(time * RATE)
        sound[first : first + 2000] += 0.3 * random.standard_normal(2000) * np.exp(-np.arange(2000) / 300.0)
    return sound[None].astype(np.float32)


def played(tonic: int, is_minor: bool, *, tuning: float = 440.0) -> np.ndarray:
    """Chords of a key, each of tones with harmonics (1, samples)."""
    parts = []
    time = np.arange(round(SECONDS / 8 * RATE)) / RATE
    for root, chord in 2 * CHORDS[is_minor]:
        notes = [48 + (tonic + root) % 12 + step for step in (*chord, 12)]
        tone = sum(
            np.sin(2 * np.pi * harmonic * tuning * 2.0 ** ((note - 69) / 12) * time) / harmonic**1.5
            for note in notes
            for harmonic in range(1, 6)
        )
        parts.append(0.05 * tone * np.exp(-time))
    return np.concatenate(parts)[None].astype(np.float32)


@pytest.mark.parametrize("tempo", [84.0, 97.3, 120.0, 151.0])
def test_a_steady_beat_has_its_tempo(tempo):
    found = tempo_of(Clip(struck(tempo), RATE))
    assert found.beats_per_minute == pytest.approx(tempo, rel=0.01)
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, round(SECONDS * RATE)))
    assert found.strength > 2.0 * tempo_of(Clip(noise, RATE)).strength


@pytest.mark.parametrize("is_minor", [False, True])
@pytest.mark.parametrize("tonic", range(0, 12, 3))
def test_chords_of_a_key_have_that_key(tonic, is_minor):
    found = key_of(Clip(played(tonic, is_minor), RATE))
    assert found.key == (tonic, is_minor) and found.clarity > 0.6


@pytest.mark.parametrize("tuning", [432.0, 415.3, 448.0])
def test_music_tuned_otherwise_has_the_key_that_its_notes_say(tuning):
    """415 Hz is a semitone lower: there the key is one lower, as anybody with a tuning fork would say."""
    found = key_of(Clip(played(2, True, tuning=tuning), RATE))
    assert found.key == (1 if tuning < 420 else 2, True)


def test_silence_has_neither():
    silence = Clip(np.zeros((1, 4 * RATE), np.float32), RATE)
    assert tempo_of(silence).strength == 0.0 and key_of(silence).clarity == 0.0
    assert np.isfinite(pitch_classes(silence)).all()


@pytest.mark.parametrize(
    ("text", "name", "short"),
    [
        ("D minor", "D minor", "Dm"),
        ("dm", "D minor", "Dm"),
        (" Bb ", "Bb major", "Bb"),
        ("f#", "F# minor", "Fsm"),
        ("GM", "G major", "G"),
        ("Cb major", "B major", "B"),
        ("e♭-min", "Eb minor", "Ebm"),
    ],
)
def test_a_key_is_read_as_musicians_write_it(text, name, short):
    key = Key.read(text)
    assert (key.name, key.short) == (name, short) and Key.read(key.name) == key
    assert nearest_key(key.profile)[0] == key


@pytest.mark.parametrize("text", ["", "H minor", "D dorian", "D##", "minor", "4/4", "D minor minor"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="a key is written as"):
        Key.read(text)


def test_keys_and_tempi_are_named_by_how_they_lie_to_others():
    minor, major = Key(2, True), Key(5, False)
    assert minor.name == "D minor" and major.name == "F major"
    assert minor.relation(major) == "relative" and major.relation(minor) == "relative"
    assert major.relation(Key(0, False)) == "fifth" and major.relation(Key(0, True)) == "other"
    assert minor.relation(Key(9, True)) == "fifth" and minor.relation(Key(2, True)) == "exact"
    found = [tempo_relation(100.0, tempo) for tempo in (103.0, 105.0, 203.0, 48.5, 150.0)]
    assert found == ["exact", "other", "twice", "half", "other"]
