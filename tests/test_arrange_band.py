"""The band: pieces by rule that are the same for the same seed, whose truth is true, and whose material returns."""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tinysoundfont", reason="the demo extra is not installed")

from data_prep import arrange_band
from data_prep.band_grooves import FILLS, GROOVES, read_bars
from data_prep.band_harmony import MARKOV, Chord, read_degree, scale_on, spread_over_bars, voice
from data_prep.band_mix import in_room, loudness, saturate, without_tail
from data_prep.band_piece import DRUM_BANK, DRUM_CHANNEL, Clock, Piece, Section, arrange, fit_keys
from data_prep.band_players import Written
from data_prep.band_styles import METRES, STYLES, fits
from data_prep.instruments import DRUM_KEYS, FAMILIES, family_of, keys_of, read_programs
from data_prep.soundfont import find_band_soundfont, find_soundfont
from piano.foundation.errors import AudioError

SECONDS = 60.0


@cache
def piece(style: str, seed: int = 3) -> Piece:
    """A piece of a minute."""
    return arrange(style, seed, seconds=SECONDS)


def band_soundfont() -> Path:
    """A General MIDI soundfont, or skip: MUSIGAN_BAND_SOUNDFONT names one that is not where systems keep them."""
    if named := os.environ.get("MUSIGAN_BAND_SOUNDFONT"):
        return Path(named)
    try:
        return find_band_soundfont()
    except AudioError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_plays_within_its_instruments_and_for_about_the_time_asked(style: str) -> None:
    made = piece(style)
    bar = made.beats_per_bar * 60.0 / made.tempo
    assert made.end == pytest.approx(SECONDS, abs=bar + 3.0)
    roles = {player.role: player for player in made.players}
    assert len(roles) == len(made.players) >= 3
    assert {player.channel for player in made.players if player.bank == DRUM_BANK} <= {DRUM_CHANNEL}
    assert len({player.channel for player in made.players}) == len(made.players)
    for player in made.players:
        is_drums = player.role == "drums"
        assert (player.channel == DRUM_CHANNEL) == (player.bank == DRUM_BANK) == is_drums
        keys = {note.key for note in player.performance.notes}
        low, high = keys_of(player.program)
        assert keys <= set(DRUM_KEYS.values()) if is_drums else low <= min(keys) <= max(keys) <= high
        last_end: dict[int, float] = {}
        for note in player.performance.notes:
            assert 0.0 <= last_end.get(note.key, 0.0) <= note.start < note.end and 1 <= note.velocity <= 127
            last_end[note.key] = note.end
        assert -1.0 <= player.pan <= 1.0
    assert ("drums" in roles) == bool(STYLES[style].groove)


@pytest.mark.parametrize("style", STYLES)
def test_beats_bars_and_chords_are_where_the_truth_says(style: str) -> None:
    made, row = piece(style), STYLES[style]
    gaps = np.diff(made.beats)
    ending = 2 * made.beats_per_bar if row.slows else 0
    steady = gaps[: gaps.size - ending] if ending else gaps
    assert np.all(gaps > 0.0)
    assert steady == pytest.approx(60.0 / made.tempo, rel=2.2 * row.drift + 1e-9)
    low, high = row.tempo
    assert low * 0.97 <= made.tempo <= high * 1.03
    assert made.bars == made.beats[:: METRES[row.metre]]
    assert len(made.chords) == len(made.bars) == sum(section.bars for section in made.sections)
    assert [section.first_bar for section in made.sections] == np.cumsum(
        [0, *(section.bars for section in made.sections[:-1])]
    ).tolist()
    # The music itself keeps to the beats: most basses and drums strike near one or a fixed part of one.
    counted = [player for player in made.players if player.role in ("bass", "drums")]
    starts = np.array([note.start for player in counted for note in player.performance.notes])
    swing = Clock(np.array([*made.beats, made.beats[-1] + gaps[-1]]), made.swing, row.swung)
    grid = np.array([swing(step / 4) for step in range(4 * len(made.beats))])
    grid = np.union1d(grid, [swing(step / 6) for step in range(6 * len(made.beats))])
    nearest = np.abs(starts - grid[np.abs(starts[:, None] - grid[None]).argmin(axis=1)])
    assert np.quantile(nearest, 0.9) < 0.012 + 2 * row.jitter


@pytest.mark.parametrize("style", ["rock", "swing jazz", "waltz", "chiptune", "slow blues", "hip hop"])
def test_a_section_that_returns_has_the_same_tune_and_bass(style: str) -> None:
    made = piece(style)
    for role in ("lead", "bass"):
        player = next(player for player in made.players if player.role == role)
        whole = [s for s in made.sections if s.name == "A" and role in s.roles]
        assert len(whole) >= 2, style
        first, *others = (intervals(made, player.performance.notes, section) for section in whole)
        assert len(first) >= 6
        for other in others:
            assert other == first
    bridges = [section for section in made.sections if section.name == "B" and "lead" in section.roles]
    tunes = [section for section in made.sections if section.name == "A" and "lead" in section.roles]
    lead = next(player for player in made.players if player.role == "lead")
    if bridges:
        assert intervals(made, lead.performance.notes, bridges[0]) != intervals(made, lead.performance.notes, tunes[0])


def intervals(made: Piece, notes: list, section: Section) -> list[int]:
    """Semitones from note to note of one voice in a section, but for notes at its very edges."""
    edge = 0.2 * 60.0 / made.tempo
    begin = made.bars[section.first_bar] - edge
    after = section.first_bar + section.bars
    end = (made.bars[after] if after < len(made.bars) else made.end) - edge
    keys = [note.key for note in notes if begin <= note.start < end]
    return np.diff(keys).tolist()


def test_the_same_seed_is_the_same_piece_and_another_is_another() -> None:
    first, again, other = (arrange("funk", seed, seconds=30.0) for seed in (5, 5, 6))
    assert first == again
    assert first.players != other.players


def test_pieces_differ_in_key_tempo_instruments_and_chords() -> None:
    made = [arrange("rock", seed, seconds=20.0) for seed in range(12)]
    assert len({one.key for one in made}) >= 6
    assert np.std([one.tempo for one in made]) > 5.0
    assert len({tuple(player.program for player in one.players) for one in made}) >= 6
    assert len({str(one.chords) for one in made}) >= 10


def test_dance_keeps_time_exactly_and_people_do_not() -> None:
    dance, people = piece("techno"), piece("tango")
    assert np.diff(dance.beats) == pytest.approx(60.0 / dance.tempo)
    assert np.std(np.diff(people.beats)) > 0.001
    velocities = [note.velocity for player in people.players for note in player.performance.notes]
    assert len(set(velocities)) > 30


def test_the_tables_are_whole() -> None:
    assert len(STYLES) >= 30
    for groove in GROOVES.values():
        for text in (*groove.main, *groove.high, *groove.light):
            for drum, bars in read_bars(text).items():
                assert drum in DRUM_KEYS and {len(bar) for bar in bars} <= {12, 16}, text
        assert set(groove.fills) <= set(FILLS)
    for name, row in STYLES.items():
        assert not row.groove or (row.groove in GROOVES and row.kits), name
        assert all(any(fits(text, mode) for mode in row.modes) for text in row.progressions), name
        assert all(any(fits(text, mode) for text in row.progressions) for mode in row.modes), name
        assert not row.walks or set(row.modes) <= set(MARKOV), name
        for text in row.progressions:
            bars = text.split()
            spans = spread_over_bars(bars, len(bars), METRES[row.metre], tonic=0)
            assert sum(span.beats for span in spans) == len(bars) * METRES[row.metre]
    for table in MARKOV.values():
        assert {after for row in table.values() for after in row} <= set(table)


def test_degrees_are_chords() -> None:
    told = {"I": "A", "bVII": "G", "vi7": "F#m7", "V7b9": "E7b9", "iiø": "Bm7b5", "i5": "A5", "#iv°7": "Ebdim7"}
    assert {text: read_degree(text, tonic=9).name for text in told} == told
    with pytest.raises(ValueError, match="no degree"):
        read_degree("H", tonic=0)
    with pytest.raises(ValueError, match="no quality"):
        read_degree("Ifoo", tonic=0)


def test_voices_move_little_and_stay_in_their_register() -> None:
    keys: list[int] = []
    moved = []
    for text in ["I", "vi", "ii7", "V7", "I", "IV", "V", "I"]:
        before, keys = keys, voice(read_degree(text, 0), keys, low=52, high=76, voices=4)
        assert min(keys) >= 52 and max(keys) <= 76 and keys == sorted(set(keys))
        assert {key % 12 for key in keys} <= set(read_degree(text, 0).classes)
        if before:
            moved.append(np.mean([min(abs(key - old) for old in before) for key in keys]))
    assert np.mean(moved) < 2.0


def test_a_melody_avoids_what_rubs_against_a_chord() -> None:
    natural_minor = (0, 2, 3, 5, 7, 8, 10)
    dominant = Chord(4, "7")  # E7 in A minor has a G sharp
    assert 8 in scale_on(dominant, natural_minor, 9) and 7 not in scale_on(dominant, natural_minor, 9)


def test_melodies_are_on_the_chord_on_strong_beats_and_move_by_steps() -> None:
    on_chord, steps = [], []
    for style in ("pop ballad", "country", "waltz", "hymn", "march"):
        made = piece(style)
        lead = next(player for player in made.players if player.role == "lead")
        notes = [note for note in lead.performance.notes if note.end - note.start > 0.12]  # without grace notes
        steps += np.abs(np.diff([note.key for note in notes])).tolist()
        for note in notes:
            bar = int(np.abs(np.array(made.bars) - note.start).argmin())
            if abs(made.bars[bar] - note.start) < 0.04 and len(made.chords[bar]) == 1:
                on_chord.append(any(note.key % 12 in classes_of(name) for name in made.chords[bar]))
    assert len(on_chord) > 20 and np.mean(on_chord) > 0.95
    assert np.mean(np.array(steps) <= 4) > 0.7 and max(steps) <= 24


def classes_of(name: str) -> tuple[int, ...]:
    """Pitch classes of a chord by its name."""
    names = ("C#", "Eb", "F#", "Ab", "Bb", "C", "D", "E", "F", "G", "A", "B")
    numbers = (1, 3, 6, 8, 10, 0, 2, 4, 5, 7, 9, 11)
    root = next(root for root in names if name.startswith(root))
    return Chord(numbers[names.index(root)], name[len(root) :]).classes


def test_notes_are_moved_by_octaves_into_an_instrument() -> None:
    moved = fit_keys([Written(float(i), 1.0, key, 80.0) for i, key in enumerate((30, 33, 37))], program=73)
    assert [note.key for note in moved] == [66, 69, 73]


def test_swing_moves_the_middle_of_a_beat_and_leaves_triplets() -> None:
    clock = Clock(np.arange(5.0), 2 / 3, 1.0)
    assert [clock(beat) for beat in (0.0, 0.5, 1.0, 1.5)] == pytest.approx([0, 2 / 3, 1, 5 / 3])
    assert clock(1 + 1 / 3) == pytest.approx(1 + 1 / 3)


def test_the_mix_measures_what_sounds_and_cuts_what_does_not() -> None:
    rate = 8000
    tone = np.zeros((2, 4 * rate), dtype=np.float32)
    tone[:, :rate] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    assert loudness(tone, rate) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert loudness(np.zeros_like(tone), rate) == 0.0
    assert without_tail(tone, rate).shape[1] == pytest.approx(1.1 * rate, abs=20)
    room = in_room(tone, rate, 0.5, np.random.default_rng(0))
    assert room.shape == tone.shape and np.abs(room[:, int(1.6 * rate) :]).max() < 0.01 * np.abs(room).max()
    crest = [np.abs(x).max() / np.sqrt(np.mean(x**2)) for x in (saturate(tone, 1.0), saturate(tone, 4.0))]
    assert crest[1] < crest[0]


def test_programs_are_numbers_and_families() -> None:
    assert read_programs("0,19,strings") == [0, 19, *range(40, 48)]
    assert family_of(127) == "sound-effects" and len(FAMILIES) == 16
    assert all(keys_of(program)[1] - keys_of(program)[0] >= 12 for program in range(128))


def test_a_style_that_is_none_is_one_sentence_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        arrange_band.main(["--styles", "rock,polka"])
    complaint = capsys.readouterr().err
    assert left.value.code == 2
    assert "'polka' is no style; there are " in complaint and "bossa-nova" in complaint and "Traceback" not in complaint


def test_a_piano_alone_is_no_band(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--soundfont", str(find_soundfont()), "--output", str(tmp_path / "out")]
    assert arrange_band.main(arguments) == 2
    complaint = capsys.readouterr().err
    assert "has no drums (bank 128)" in complaint and "instruments of General MIDI" in complaint
    assert "fluid-soundfont-gm" in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert arrange_band.main(["--soundfont", str(tmp_path / "none.sf2")]) == 2
    assert "there is no soundfont" in capsys.readouterr().err


def test_a_short_piece_sounds_the_same_twice_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *("--soundfont", str(band_soundfont()), "--count", "1", "--seconds", "8", "--styles", "rock"),
        *("--format", "wav", "--sample-rate", "16000", "--workers", "1"),
    ]
    for name in ("first", "second"):
        assert arrange_band.main([*arguments, "--output", str(tmp_path / name)]) == 0
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["rock-0-0000.json", "rock-0-0000.wav"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    sound, rate = soundfile.read(tmp_path / "first" / "rock-0-0000.wav")
    assert sound.shape[1] == 2 and np.abs(sound).max() == pytest.approx(0.89, abs=0.001)
    truth = json.loads((tmp_path / "first" / "rock-0-0000.json").read_text())
    assert truth["seconds"] == pytest.approx(len(sound) / rate) and truth["metre"] == "4/4"
    assert np.sqrt(np.mean(sound**2)) > 0.05
    # The first beat of a bar is louder right after it than right before the music begins.
    begin = round(truth["beats"][0] * rate)
    assert np.abs(sound[: max(begin - 800, 1)]).max() < 0.01 < np.abs(sound[begin : begin + 1600]).max()
    before = (tmp_path / "first" / "rock-0-0000.wav").stat().st_mtime_ns
    assert arrange_band.main([*arguments, "--output", str(tmp_path / "first")]) == 0  # found, not made again
    assert (tmp_path / "first" / "rock-0-0000.wav").stat().st_mtime_ns == before
    assert "1 file" in capsys.readouterr().out
