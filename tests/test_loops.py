"""`generate --loop BARS --tempo BPM`: exact to the sample, on a beat, its end leads into its beginning; `--tempo`."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from wavinfo import WavInfoReader

from piano import generate_music, reproduce
from piano.composer import Composer, Sampling
from piano.foundation.errors import ConfigError
from piano.latent_style import PULSE_RANGE, TEMPO_REACH, AskedTempo, Wishes
from piano.loops import EDGE_SECONDS, LoopForm, Meter, compose_loop, lead_samples
from piano.player import Player
from piano.report.sounds import describe_all
from piano.vae_utilities import save_checkpoint
from tests import trained_model
from tests.test_source_type import riff_chunks
from tests.tiny_run import SAMPLE_RATE


def make(output: Path, *arguments: str) -> list[Path]:
    return trained_model.make(output, "--steps", "2", *arguments)


@pytest.mark.parametrize(
    ("bars", "tempo", "meter", "seconds"),
    [(1, 120.0, "4/4", 2.0), (4, 120.0, "3/4", 6.0), (2, 90.0, "6/8", 4.0), (1, 97.3, "4/4", 240 / 97.3)],
)
def test_a_loop_has_its_bars_to_the_sample(generator, bars, tempo, meter, seconds):
    form = LoopForm(bars, tempo, Meter.read(meter), SAMPLE_RATE)
    assert form.samples == round(seconds * SAMPLE_RATE)
    composer = Composer(generator, Sampling(seed=1, steps=2, phase_iterations=2, wishes=form.wishes()))
    loop = compose_loop(composer, form)
    assert loop.shape == (generator.sound_channels, form.samples) and torch.isfinite(loop).all()
    assert torch.equal(loop, compose_loop(composer, form))
    assert not torch.equal(loop, compose_loop(composer, form, item=1))


def test_its_end_leads_into_its_beginning(generator):
    """The step from the last sample to the first is as small as others there; that of the straight piece is not."""
    around, cut = [], []
    for item in range(6):
        form = LoopForm(1, 100.0 + 7 * item, Meter(4, 4), SAMPLE_RATE)
        composer = Composer(generator, Sampling(seed=5, steps=2, phase_iterations=2, wishes=form.wishes()))
        loop = compose_loop(composer, form, item=item)[0]
        fade = round(EDGE_SECONDS * SAMPLE_RATE)
        usual = torch.cat([loop[:fade], loop[-fade:]]).diff().abs().median()
        _, straight = composer.read(composer.start(item), form.samples)
        around.append(float((loop[0] - loop[-1]).abs() / usual))
        cut.append(float((straight[0, 0] - straight[0, -1]).abs() / usual))
    assert np.median(around) < 3.0 < np.median(cut)


def test_only_pulses_of_which_a_loop_has_a_whole_number_are_told(generator):
    three = AskedTempo(160 / 60, beats=3)
    assert three.octaves() == pytest.approx([160 / 60])  # not 1.5 beats of 80
    assert AskedTempo(160 / 60, beats=4).octaves() == pytest.approx([160 / 60])  # which is heard as it is
    assert AskedTempo(160 / 60, beats=4).octaves(any_of_them=True) == pytest.approx([80 / 60, 160 / 60])
    assert AskedTempo(80 / 60, beats=2.5).octaves() == pytest.approx([160 / 60])  # five eighths
    assert AskedTempo(300 / 60, beats=3).octaves() == pytest.approx([75 / 60, 150 / 60])  # none is whole
    style = generator.style.draw(0, range(8), wishes=Wishes(three))
    torch.testing.assert_close(style.pulse.frequency, torch.full((8,), 160 / 60), atol=1e-4, rtol=0.0)


def test_it_begins_on_a_beat(generator):
    style = generator.style.draw(3, range(1), wishes=Wishes(AskedTempo(1.7)))
    lead = lead_samples(style, SAMPLE_RATE) / SAMPLE_RATE
    angle = 2.0 * math.pi * float(style.pulse.frequency[0]) * lead + float(style.pulse.phase[0])
    assert math.cos(angle) == pytest.approx(1.0, abs=1e-3)
    assert 1.5 <= lead < 1.5 + 2.0 / float(style.pulse.frequency[0])


def test_metres_are_read_or_refused():
    assert Meter.read("6/8") == (6, 8) and Meter.read("6/8").quarters == 3.0 and str(Meter.read("3/4")) == "3/4"
    for text in ("4", "4/", "/4", "0/4", "4/3", "33/4", "a/b", "-1/4"):
        with pytest.raises(ValueError, match="metre|bar"):
            Meter.read(text)


def test_a_loop_that_is_too_short_is_refused(generator):
    form = LoopForm(1, 400.0, Meter(1, 32), SAMPLE_RATE)
    with pytest.raises(ConfigError, match="Ask for more bars, or a slower tempo"):
        compose_loop(Composer(generator), form)


# --- tempo ------------------------------------------------------------------------------------------------------------


def test_a_style_of_a_tempo_has_just_that_beat_or_an_octave_of_it(generator):
    for tempo in (0.9, 1.6, 3.4, 5.0, 0.5):
        style = generator.style.draw(0, range(6), wishes=Wishes(AskedTempo(tempo)))
        octaves = torch.log2(style.pulse.frequency / tempo)
        torch.testing.assert_close(octaves, octaves.round(), atol=1e-4, rtol=0.0)
        assert (style.pulse.frequency >= PULSE_RANGE[0]).all() and (style.pulse.frequency <= PULSE_RANGE[1]).all()


def test_a_tempo_is_drawn_from_the_styles_that_have_it(generator):
    beats = generator.style.tempo_and_movement()[0]
    usual = float(beats.median())
    near = generator.style.with_tempo_near(AskedTempo(usual))
    apart = torch.log2(beats[near] / usual)
    assert ((apart - apart.round()).abs() <= TEMPO_REACH / math.log(2.0) + 1e-6).all()
    assert generator.style.has_tempo_near(AskedTempo(usual))


def test_the_vector_of_a_style_says_its_new_tempo_as_far_as_it_can_say_any(generator):
    """Read back from the vector alone the tempo has moved to where it was asked."""
    style = generator.style.draw(2, range(8))
    still = torch.zeros(8)
    before = generator.style._pulse_of(style.vector, still, still).frequency
    asked = generator.style.at_tempo(style, AskedTempo(1.9))
    after = generator.style._pulse_of(asked.vector, still, still).frequency
    wanted = asked.pulse.frequency
    moved = (before.log() - wanted.log()).abs() > 0.05
    assert moved.any()
    assert ((after.log() - wanted.log()).abs()[moved] < 0.5 * (before.log() - wanted.log()).abs()[moved]).all()


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_loop_s_file_tells_samplers_where_it_ends(here, tmp_path, capsys):
    paths = make(tmp_path, "--loop", "2", "--tempo", "150", "--meter", "3/4", "--count", "2", "--seed", "4")
    assert [path.name for path in paths] == [f"150bpm_2_bars_3-4_seed4_sample_000{item}.loop.wav" for item in (0, 1)]
    samples = round(6 * 60 / 150 * SAMPLE_RATE)
    for path in paths:
        assert soundfile.info(path).frames == samples
        chunks = riff_chunks(path.read_bytes())
        numbers = struct.unpack("<15I", chunks[b"smpl"])
        assert numbers[2] == round(1e9 / SAMPLE_RATE) and numbers[7] == 1
        assert numbers[9:] == (0, 0, 0, samples - 1, 0, 0)
        flags, _, _, _, quarters, unit, beats, tempo = struct.unpack("<IHHfIHHf", chunks[b"acid"])
        assert (flags & 1, quarters, unit, beats, tempo) == (0, 6, 4, 3, 150.0)
    receipt = json.loads(soundfile.SoundFile(paths[0]).comment)
    assert (receipt["kind"], receipt["tempo"], receipt["bars"], receipt["meter"]) == ("loop", 150.0, 2, "3/4")
    assert describe_all(paths, max_seconds=10.0)[0].title == "Loop 1, 2 bars of 3/4 at 150 a minute, seed 4"
    capsys.readouterr()
    assert [reproduce.main([str(path)]) for path in paths] == [0, 0]
    forged = tmp_path / "forged.wav"
    with soundfile.SoundFile(forged, "w", SAMPLE_RATE, 1) as file:
        file.comment = json.dumps(receipt | {"bars": 64})
        file.write(soundfile.read(paths[0])[0])
    assert reproduce.main([str(forged)]) == 2
    assert "cut, joined or forged" in " ".join(capsys.readouterr().err.split())
    for lie in ({"meter": "0/4"}, {"kind": "sample", "bars": 64}, {"tempo": None}):
        with soundfile.SoundFile(forged, "w", SAMPLE_RATE, 1) as file:
            file.comment = json.dumps(receipt | lie)
            file.write(soundfile.read(paths[0])[0])
        assert reproduce.main([str(forged)]) == 2
        assert "cut, joined or forged" in " ".join(capsys.readouterr().err.split())
    forged.unlink()
    assert make(tmp_path, "--loop", "2", "--tempo", "150", "--meter", "3/4", "--count", "2", "--seed", "4") == paths


def loop_by_libsndfile(path: Path) -> tuple[int, int, float, int, tuple[int, int]]:
    """Start and end (after the last sample) of the first loop, tempo, beats and metre, as libsndfile reads them."""
    ffi, library = soundfile._ffi, soundfile._snd
    instrument, loop_info = bytearray(16 + 16 * 16), bytearray(16 + 4 + 24)
    with soundfile.SoundFile(path) as file:
        for command, buffer in ((0x10D0, instrument), (0x10E0, loop_info)):  # SFC_GET_INSTRUMENT, SFC_GET_LOOP_INFO
            assert library.sf_command(file._file, command, ffi.from_buffer(buffer), len(buffer)) == 1
    loops, mode, start, end, _ = struct.unpack_from("<iiIII", instrument, 12)
    numerator, denominator, _, beats, tempo = struct.unpack_from("<hhiif", loop_info)
    assert (loops, mode) == (1, 801)  # one, SF_LOOP_FORWARD
    return start, end, tempo, beats, (numerator, denominator)


def test_two_readers_agree_about_a_loop(here, tmp_path):
    """libsndfile, which samplers and audio programs are built on, and wavinfo, which is written from the standards."""
    (path,) = make(tmp_path, "--loop", "3", "--tempo", "97.5", "--meter", "6/8", "--count", "1")
    samples = soundfile.info(path).frames
    assert samples == round(9 * 60 / 97.5 * SAMPLE_RATE)
    assert loop_by_libsndfile(path) == (0, samples, 97.5, 9, (6, 8))
    read = WavInfoReader(str(path)).smpl
    assert read is not None
    (loop,) = read.sample_loops
    assert (loop.start, loop.end) == (0, samples - 1)


def test_half_quarters_are_nothing_that_acid_can_say(here, tmp_path):
    (path,) = make(tmp_path, "--loop", "1", "--tempo", "120", "--meter", "5/8", "--count", "1")
    chunks = riff_chunks(path.read_bytes())
    assert b"smpl" in chunks and b"acid" not in chunks
    assert soundfile.info(path).frames == round(1.25 * SAMPLE_RATE)


def test_flac_says_it_in_comments(here, tmp_path):
    (path,) = make(tmp_path, "--loop", "1", "--tempo", "120", "--count", "1", "--format", "flac")
    data = path.read_bytes()
    for comment in (b"LOOPSTART=0", b"LOOPLENGTH=%d" % (2 * SAMPLE_RATE), b"BPM=120"):
        assert comment in data
    assert soundfile.info(path).frames == 2 * SAMPLE_RATE


def test_music_at_a_tempo_says_so_and_is_made_again(here, tmp_path, capsys):
    (path,) = make(tmp_path, "--tempo", "100", "--count", "1", "--seconds", "2")
    assert path.name == "100bpm_seed0_sample_0000.wav"
    assert json.loads(soundfile.SoundFile(path).comment)["tempo"] == 100.0
    assert reproduce.main([str(path)]) == 0
    (plain,) = make(tmp_path / "plain", "--count", "1", "--seconds", "2")
    assert not np.array_equal(soundfile.read(path)[0], soundfile.read(plain)[0])


def test_seeds_make_one_sample_each_the_one_that_the_seed_alone_makes(here, tmp_path):
    paths = make(tmp_path, "--seeds", "3,17, 3,21", "--seconds", "1")
    assert [path.name for path in paths] == [f"seed{seed}_sample_0000.wav" for seed in (17, 21, 3)]
    (alone,) = make(tmp_path / "alone", "--seed", "17", "--count", "1", "--seconds", "1")
    assert np.array_equal(soundfile.read(paths[0])[0], soundfile.read(alone)[0])
    assert json.loads(soundfile.SoundFile(paths[0]).comment)["seed"] == 17


def test_several_seeds_are_counted_through_and_hear_a_song_once(here, tmp_path, monkeypatch, capsys):
    (song,) = make(tmp_path / "song", "--count", "1", "--seconds", "4")
    heard = []
    hear = generate_music.style_of_file
    monkeypatch.setattr(generate_music, "style_of_file", lambda *given: heard.append(given[1]) or hear(*given))
    capsys.readouterr()
    make(tmp_path / "all", "--seeds", "3,17,21", "--seconds", "1", "--like", str(song), "--format", "flac")
    told = capsys.readouterr().err
    assert all(f"sample {number} of 3" in told for number in (1, 2, 3)) and "of 1" not in told
    assert heard == [song]
    (alone,) = make(tmp_path / "alone", "--seed", "17", "--count", "1", "--seconds", "1", "--like", str(song))
    (among,) = (path for path in (tmp_path / "all").iterdir() if "seed17" in path.name)
    assert np.array_equal(soundfile.read(alone)[0], soundfile.read(among)[0])


def test_a_tempo_that_no_training_music_has_is_told(here, generator, tmp_path, capsys, monkeypatch):
    anchors = generator.style.anchors.clone()
    try:
        usual = AskedTempo(float(generator.style.tempo_and_movement()[0].median()))
        slow = generator.style.with_tempo_near(usual)[:1]
        generator.style.anchors.copy_(anchors[slow].expand_as(anchors))
        beats = float(generator.style.tempo_and_movement()[0][0])
        assert not generator.style.has_tempo_near(AskedTempo(beats * 1.3))
        save_checkpoint(generator, 3, tmp_path / "model", "generator")
    finally:
        generator.style.anchors.copy_(anchors)
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "out", "--tempo", f"{60 * beats * 1.3:.1f}", "--count", "1", "--seconds", "1")
    assert "no music that this model learned from has a beat near" in " ".join(capsys.readouterr().err.split())


def test_the_python_door_gives_what_the_command_writes(here, tmp_path):
    (path,) = make(tmp_path, "--loop", "1", "--tempo", "130", "--count", "1", "--seed", "2", "--phase-iterations", "16")
    player = Player(here / "model", epoch=3, device="cpu")
    loop = player.loop(1, 130.0, seed=2, steps=2)
    written = soundfile.read(path, dtype="int16")[0]
    assert np.array_equal(np.clip(np.rint(loop[0] * 32768), -32768, 32767), written)
    with pytest.raises(ConfigError, match="metre"):
        player.loop(1, 130.0, meter="5")
    with pytest.raises(ConfigError, match="tempo must be"):
        player.loop(1, 4000.0)
    with pytest.raises(ConfigError, match="bars must be"):
        player.loop(0, 130.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loop", "4"], "--loop wants a tempo"),
        (["--loop", "4", "--tempo", "120", "--format", "mp3"], "--loop wants --format wav or flac"),
        (["--loop", "4", "--tempo", "120", "--prompt", "take.wav"], "cannot be combined"),
        (["--tempo", "120", "--vary", "take.wav"], "--tempo and --vary cannot be combined"),
        (["--meter", "3/4", "--vary", "take.wav"], "the bars are those of the file"),
        (["--loop", "4", "--tempo", "99", "--like", "a.wav", "--to", "b.wav"], "--loop and --to cannot be combined"),
        (["--seeds", "3,17", "--seed", "2"], "--seed and --seeds cannot be combined"),
        (["--seeds", "3,x"], "x is not"),
        (["--seeds", "3", "--output", "-"], "a pipe takes one sound: leave out --seeds"),
        (["--loop", "4", "--tempo", "120", "--meter", "3/5"], "a bar has 1 to 32 beats"),
        (["--loop", "0", "--tempo", "120"], "0 is not"),
        (["--loop", "4", "--tempo", "120", "--output", "-"], "--loop writes files"),
    ],
)
def test_what_cannot_be_meant_is_said(capsys, arguments, message):
    with pytest.raises(SystemExit):
        generate_music.parse_arguments(arguments)
    assert message in " ".join(capsys.readouterr().err.split())
