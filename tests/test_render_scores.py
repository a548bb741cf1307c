"""The built-in piano: a performance keeps the notes, and the sound is the same for the same seed."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mido", reason="the demo extra is not installed")
pytest.importorskip("tinysoundfont", reason="the demo extra is not installed")

import mido

from data_prep import render_scores
from data_prep.performance import HIGHEST_KEY, LOWEST_KEY, Note, Performance, bend_time, group_chords, perform
from data_prep.render_scores import (
    BUILT_IN_SCORES,
    find_soundfont,
    parse_arguments,
    plan_jobs,
    read_score,
    read_titles,
    synthesise,
)
from piano.foundation.errors import AudioError

RATE = 16_000
A4 = Performance([Note(0.0, 1.0, 69, 90)], [])


def scale(keys: list[int]) -> Performance:
    """Half-second notes one after the other, all equally loud."""
    return Performance([Note(0.5 * i, 0.5 * i + 0.45, key, 80) for i, key in enumerate(keys)], [])


def write_midi(path: Path, messages: list[mido.Message]) -> Path:
    """A MIDI file at 120 beats a minute, 480 ticks a beat: 960 ticks are a second."""
    track = mido.MidiTrack(messages)
    mido.MidiFile(type=0, ticks_per_beat=480, tracks=[track]).save(path)
    return path


def test_reading_finds_notes_and_pedal_with_their_times(tmp_path: Path) -> None:
    path = write_midi(
        tmp_path / "a.mid",
        [
            mido.Message("note_on", note=60, velocity=70, time=960),
            mido.Message("control_change", control=64, value=127, time=480),
            mido.Message("note_on", note=60, velocity=0, time=480),  # a note-off in disguise
            mido.Message("note_on", note=64, velocity=50, time=0),
            mido.Message("note_on", note=64, velocity=60, time=960),  # struck again while held
            mido.Message("note_on", channel=9, note=40, velocity=60, time=0),  # a drum
            mido.Message("note_off", note=64, time=960),
        ],
    )
    score = read_score(path)
    assert [tuple(note) for note in score.notes] == [(1, 2, 60, 70), (2, 3, 64, 50), (3, 4, 64, 60)]
    assert [tuple(move) for move in score.pedal] == [(1.5, 127)]


@pytest.mark.parametrize(
    "content", [b"", b"MThd", b"hello, I am not MIDI", b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0"]
)
def test_a_damaged_score_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mid").write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.mid"):
        read_score(tmp_path / "broken.mid")


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00\x00\xff\x2f\x00"


def midi_bytes(track: bytes, *, division: int = 96) -> bytes:
    """A MIDI file of one track, by its bytes."""
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, division)
    return head + b"MTrk" + struct.pack(">I", len(track)) + track


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (midi_bytes(NOTE, division=0), "counts time in no beats"),
        (midi_bytes(NOTE, division=0xE728), "counts time in no beats"),  # 25 frames a second
        (midi_bytes(b"\xff\xff\xff\x7f" + NOTE[1:], division=1), "lasts 37,282.7 hours"),
        (midi_bytes(NOTE[:4] + b"\xff\xff\xff\x7f" + NOTE[5:], division=1), "hours; scores of up to 2 hours"),
        (midi_bytes(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE), "holds no note"),  # no time passes
        (None, "is no file"),
    ],
)
def test_a_score_that_nobody_can_play_is_refused_at_once(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x\x1b[31m.mid"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as refusal:
        read_score(path)
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize("path", sorted(BUILT_IN_SCORES.glob("*.mid")), ids=lambda path: path.stem[:24])
def test_every_built_in_score_is_public_domain_and_within_the_keyboard(path: Path) -> None:
    score = read_score(path)
    assert len(score.notes) > 100
    assert all(LOWEST_KEY <= note.key <= HIGHEST_KEY and note.end > note.start for note in score.notes)
    header, *rows = (line.split("\t") for line in (BUILT_IN_SCORES / "SOURCES.tsv").read_text().splitlines())
    licences = {row[0]: row[header.index("licence")] for row in rows}
    assert licences[path.name] == "Public Domain"
    assert read_titles(BUILT_IN_SCORES)[path.name].keys() == {"title", "artist"}


@settings(max_examples=40)
@given(
    keys=st.lists(st.integers(LOWEST_KEY, HIGHEST_KEY), min_size=1, max_size=40),
    transpose=st.integers(-12, 12),
    tempo=st.floats(0.5, 2.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_performance_keeps_the_notes_of_the_score(keys: list[int], transpose: int, tempo: float, seed: int) -> None:
    played = perform(scale(keys), np.random.default_rng(seed), tempo=tempo, transpose=transpose).notes
    assert len(played) == len(keys)
    shift = (np.array([note.key for note in played]) - np.array(keys)).tolist()
    assert len(set(shift)) == 1  # half-second notes stay in order
    room = range(LOWEST_KEY - min(keys), HIGHEST_KEY - max(keys) + 1)
    assert shift[0] == 0 if not any((by - transpose) % 12 == 0 for by in room) else (shift[0] - transpose) % 12 == 0
    assert all(LOWEST_KEY <= note.key <= HIGHEST_KEY and 1 <= note.velocity <= 127 for note in played)
    assert all(0.0 <= note.start < note.end for note in played)
    last_end: dict[int, float] = {}
    for note in played:
        assert last_end.get(note.key, -1.0) <= note.start
        last_end[note.key] = note.end


def test_a_performance_takes_about_the_written_time_divided_by_the_tempo() -> None:
    score = scale([60, 64, 67, 72] * 30)
    for tempo in (0.5, 1.0, 2.0):
        lengths = [perform(score, np.random.default_rng(seed), tempo=tempo).notes[-1].end for seed in range(8)]
        assert np.mean(lengths) == pytest.approx(score.notes[-1].end / tempo, rel=0.05)


def test_two_seeds_play_differently_and_one_seed_the_same() -> None:
    score = scale([60, 64, 67, 72] * 10)
    first, again, other = (perform(score, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({note.velocity for note in first.notes}) > 5  # the score has one velocity only


def test_rubato_never_turns_time_back() -> None:
    for seed in range(20):
        grid, bent = bend_time(120.0, np.random.default_rng(seed), tempo=1.0)
        assert np.all(np.diff(bent) > 0)
        assert bent[-1] == pytest.approx(grid[-1], rel=0.1)


def test_a_chord_is_rolled_from_the_bottom() -> None:
    starts = np.array([0.0, 0.01, 0.02, 1.0, 1.0])
    chord, rank = group_chords(starts, np.array([67.0, 60.0, 64.0, 72.0, 48.0]))
    assert chord.tolist() == [0, 0, 0, 1, 1]
    assert rank.tolist() == [2, 0, 1, 1, 0]


def test_a_transposition_that_would_leave_the_piano_moves_by_octaves() -> None:
    played = perform(scale([HIGHEST_KEY]), np.random.default_rng(0), transpose=5)
    assert played.notes[0].key == HIGHEST_KEY + 5 - 12


def test_the_piano_sounds_the_written_pitch() -> None:
    waveform = synthesise(A4, find_soundfont(), sample_rate=RATE, max_seconds=1.0)
    assert waveform.shape == (2, RATE) and waveform.dtype == np.float32
    assert np.abs(waveform).max() == pytest.approx(0.89, abs=1e-4)
    spectrum = np.abs(np.fft.rfft(waveform.mean(axis=0) * np.hanning(RATE)))
    assert spectrum.argmax() == pytest.approx(440, abs=3)


def test_another_program_is_another_instrument_at_the_same_pitch() -> None:
    grand, bright = (
        synthesise(A4, find_soundfont(), sample_rate=RATE, max_seconds=1.0, program=number) for number in (0, 1)
    )
    assert np.abs(grand - bright).max() > 0.05
    assert np.abs(np.fft.rfft(bright.mean(axis=0) * np.hanning(RATE))).argmax() == pytest.approx(440, abs=3)


def test_a_note_dies_away_after_its_end() -> None:
    waveform = synthesise(A4, find_soundfont(), sample_rate=RATE)
    assert waveform.shape[1] == round((1.0 + 2.5) * RATE)
    level = [np.sqrt(np.mean(waveform[:, at : at + RATE // 4] ** 2)) for at in (RATE // 2, 3 * RATE)]
    assert level[1] < level[0] / 100


def test_the_command_renders_the_same_bytes_twice_with_title_and_composer(tmp_path: Path) -> None:
    common = ["--match", "gymnopedie", "--max-seconds", "3", "--sample-rate", "16000", "--workers", "1"]
    for name in ("first", "second"):
        assert render_scores.main([*common, "--output", str(tmp_path / name)]) == 0
    (first,), (second,) = (list((tmp_path / name).glob("*.mp3")) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    with soundfile.SoundFile(first) as file:
        assert file.title == "Gymnopédie No. 1" and file.artist == "Erik Satie"
        assert file.channels == 2 and file.frames == pytest.approx(3 * 16_000, abs=2000)
        assert np.sqrt(np.mean(file.read() ** 2)) > 0.01


def test_another_sound_of_that_name_stays_unless_it_may_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = ["--match", "gymnopedie-no-1", "--max-seconds", "1", "--workers", "1", "--output", str(tmp_path)]
    assert render_scores.main(score) == 0
    (path,) = tmp_path.iterdir()
    first = path.read_bytes()
    assert render_scores.main(score) == 0  # the same once more
    capsys.readouterr()
    assert render_scores.main([*score, "--seed", "1"]) == 2
    said = capsys.readouterr()
    assert "is there already and holds other work" in said.out
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == first
    assert render_scores.main([*score, "--seed", "1", "--overwrite"]) == 0
    assert path.read_bytes() != first


def test_one_broken_score_among_others_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mid").write_bytes(b"nothing")
    write_midi(
        tmp_path / "fine.mid",
        [mido.Message("note_on", note=60, velocity=70), mido.Message("note_off", note=60, time=480)],
    )
    arguments = ["--scores", str(tmp_path), "--output", str(tmp_path / "out"), "--format", "flac", "--workers", "1"]
    assert render_scores.main(arguments) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fine-take0.flac"]
    said = capsys.readouterr().out
    assert "left out: broken.mid: " in said and "AudioError" not in said
    (tmp_path / "fine.mid").unlink()
    assert render_scores.main(arguments) == 2


def test_what_is_missing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, font = ["--scores", str(tmp_path)], ["--soundfont", str(tmp_path / "none.sf2")]
    drums = ["--program", "127"]
    for arguments, words in (
        (empty, "no .mid file"),
        (font, "there is no soundfont"),
        (drums, "has no instrument number 127"),
    ):
        assert render_scores.main([*arguments, "--output", str(tmp_path)]) == 2
        complaint = capsys.readouterr().err
        assert words in complaint and complaint.count("\n") == 1


def test_of_several_programs_each_take_draws_one_and_the_seed_decides(tmp_path: Path) -> None:
    arguments = ["--soundfont", str(find_soundfont()), "--takes", "4", "--output", str(tmp_path)]

    def programs(*more: str) -> list[int]:
        return [job.program for job in plan_jobs(parse_arguments([*arguments, *more]))]

    assert set(programs()) == {0}
    drawn = programs("--program", "0,1")
    assert len(drawn) == 48 and 12 <= sum(drawn) <= 36
    assert drawn == programs("--program", "0,1") != programs("--program", "0,1", "--seed", "1")
    with pytest.raises(AudioError, match="has no instruments? number"):
        programs("--program", "0,strings")


@pytest.mark.parametrize("wrong", ["128", "-1", "violins", "0,", ""])
def test_a_program_that_is_none_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        render_scores.main([f"--program={wrong}"])
    assert left.value.code == 2
    assert "neither a whole number from 0 to 127 nor one of the families piano" in capsys.readouterr().err
