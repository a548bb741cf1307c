"""Bars that are asked for: of every metre, from every model, and heard."""

import math

import numpy as np
import pytest
import soundfile
import torch

from piano import generate_music, reproduce
from piano.composer import BAR_NOISE, Composer, Sampling
from piano.evaluation.descriptors import Clip
from piano.evaluation.tempo_and_key import bar_of
from piano.foundation.bounds import TEMPO
from piano.foundation.keys import Key
from piano.foundation.receipt import read_receipt
from piano.latent_style import REPEATS, SHORTEST_BAR, AskedTempo, Pulse, Wishes
from piano.loops import LoopForm, Meter, asked_of_music
from piano.player import Player
from piano.song_form import SongForm, plan_song
from tests import trained_model
from tests.test_stream_contract import scattering
from tests.tiny_run import SAMPLE_RATE

RATE = 21.5


def make(output, *arguments):
    return trained_model.make(output, "--steps", "2", *arguments)


def pulse(*beats: float, phase: float = 0.0) -> Pulse:
    frequency = torch.tensor(beats)
    same = torch.full_like(frequency, phase)
    return Pulse(frequency, torch.ones_like(same), torch.complex(same, same), same)


@pytest.mark.parametrize(
    ("meter", "beats", "pulses_a_minute"),
    [("3/4", 3, 96), ("4/4", 4, 96), ("6/8", 2, 64), ("12/8", 4, 64), ("2/2", 2, 48), ("7/8", 7, 192), ("3/8", 3, 192)],
)
def test_a_bar_is_heard_in_beats_that_a_tempo_in_quarters_decides(meter, beats, pulses_a_minute):
    read = Meter.read(meter)
    assert read.heard_beats == beats
    assert 60 * read.beats_per_second(96.0) == pytest.approx(pulses_a_minute)
    wishes = asked_of_music(96.0, None, read)
    assert wishes.tempo is not None and wishes.bar is not None
    assert wishes.bar / wishes.tempo.beats_per_second == pytest.approx(read.quarters * 60 / 96)


def test_the_place_in_a_bar_counts_beats_from_the_beat_on():
    places = pulse(1.4).places_in_bars(torch.tensor([3.0]), 400, first_frame=0, frames_per_second=RATE)[0]
    bar = 3 / 1.4 * RATE
    begins = (places == 0).nonzero().squeeze(1)
    assert begins.tolist() == [math.ceil(number * bar - 1e-3) for number in range(len(begins))]
    assert int(places.max()) <= math.ceil(bar) and bool((places.diff()[places[1:] != 0] == 1).all())
    later = pulse(1.4).places_in_bars(torch.tensor([3.0]), 100, first_frame=150, frames_per_second=RATE)[0]
    assert torch.equal(later, places[150:250])
    turned = pulse(1.4, phase=-2 * math.pi).places_in_bars(
        torch.tensor([3.0]), 400, first_frame=0, frames_per_second=RATE
    )
    assert int(turned[0, 0]) == math.floor(2 / 1.4 * RATE)  # a beat later is the third of the bar before


def test_bars_go_on_where_the_tempo_changes(generator):
    before, after = (generator.style.draw(0, range(1), wishes=Wishes(AskedTempo(tempo))) for tempo in (1.6, 2.1))
    moved = after.going_on_from(before, 100 / RATE)
    gone = [
        float(each.pulse.places_in_bars(torch.tensor([4.0]), 1, first_frame=100, frames_per_second=RATE)[0, 0] + 0.5)
        * float(each.pulse.frequency)
        for each in (before, moved)
    ]
    assert gone[0] == pytest.approx(gone[1], abs=float(moved.pulse.frequency))  # in frames: the same share of a bar


def test_short_bars_come_again_together():
    beats = torch.tensor([1.0, 1.0])
    places = pulse(2.4, 1.2).places_in_bars(beats, 200, first_frame=0, frames_per_second=RATE)
    assert int(places[0].max()) == math.floor(2 / 2.4 * RATE) and int(places[1].max()) <= math.ceil(RATE / 1.2)
    assert 2 / 2.4 >= SHORTEST_BAR > 1 / 2.4


def test_a_pulse_may_be_an_octave_of_the_tempo():
    asked = Wishes(AskedTempo(3.4), bar=4)
    beats = asked.beats_of_bar(pulse(1.7))
    assert beats is not None and float(beats) == pytest.approx(2.0)  # bars last as long
    assert float(Wishes(bar=5).beats_of_bar(pulse(1.7)) or 0) == 5 and Wishes().beats_of_bar(pulse(1.7)) is None


def test_noise_comes_again_after_each_bar_and_stays_white(generator):
    wishes = Wishes(AskedTempo(RATE / 12), bar=3)  # bars of three beats; the model's own rate gives them their frames
    composer = Composer(generator, Sampling(seed=3, wishes=wishes))
    style = generator.style.draw(3, range(2), wishes=wishes)
    items, frames = range(2), 2_000
    noise = composer.in_bars(composer.white_noise(items, "music", 0, frames), items, style, 0)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.03) and float(noise.std()) == pytest.approx(1.0, abs=0.03)
    beats = wishes.beats_of_bar(style.pulse)
    assert beats is not None
    places = style.pulse.places_in_bars(beats, frames, first_frame=0, frames_per_second=generator.frames_per_second)
    for item in items:
        groups = [noise[item][places[item] == place] for place in places[item].unique()]
        groups = [group for group in groups if len(group) > 20]
        between = torch.stack([group.mean(dim=0) for group in groups]).var()  # of what comes again
        assert float(between) == pytest.approx(BAR_NOISE, abs=0.12)
    alike = torch.corrcoef(noise[:, :, 0])
    assert abs(float(alike[0, 1])) < 0.1  # items differ
    late = composer.in_bars(composer.white_noise(items, "music", 700, 50), items, style, 700)
    assert torch.equal(late, noise[:, 700:750])


def clicks(beats: int, *, bpm: float = 120.0, seconds: float = 16.0) -> Clip:
    """A tune of `beats` notes, again and again, with some noise."""
    random = np.random.default_rng(beats)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitches = 220.0 * 2.0 ** (np.array([0, 4, 7, 11, 14, 2, 9])[:beats] / 12)
    which = (time * bpm / 60).astype(int) % beats
    since = time % (60 / bpm)
    tune = np.exp(-6 * since) * np.sin(2 * np.pi * pitches[which] * time)
    return Clip((0.3 * tune + 0.01 * random.normal(size=len(time)))[None].astype(np.float32), SAMPLE_RATE)


@pytest.mark.parametrize(("beats", "heard"), [(2, 2), (3, 3), (4, 2), (6, 3)])
def test_bars_are_heard(beats, heard):
    found = bar_of(clicks(beats), 120.0)
    assert found.beats == heard and found.clarity > 0.1


def test_silence_and_short_sounds_have_some_bar():
    for seconds in (0.3, 5.0):
        assert bar_of(Clip(np.zeros((1, round(seconds * SAMPLE_RATE)), np.float32), SAMPLE_RATE), 120.0).clarity < 0.1


def test_a_theme_comes_again_a_whole_number_of_asked_bars_later(generator):
    wishes = Wishes(AskedTempo(1.9), bar=5)
    composer = Composer(generator, Sampling(seed=2, steps=2, wishes=wishes))
    begun = composer.start(0)
    rate = generator.frames_per_second
    plan = plan_song(generator, 2, 0, begun, round(150 * rate), SongForm(closes=False), wishes)
    assert plan is not None and plan.returns
    beats = wishes.beats_of_bar(begun.windows.style.pulse)
    bar = float(beats) * rate / float(begun.windows.style.pulse.frequency)  # type: ignore[arg-type]
    assert all(abs(again.begin - round(again.begin / bar) * bar) <= 0.5 for again in plan.returns)


def test_a_model_that_knows_repeats_is_told_of_them_too():
    style = scattering(repeat_signals=2).style
    for bar, kin in ((2, (2, 4, 8)), (4, (2, 4, 8)), (3, (3, 6)), (6, (3, 6)), (5, ())):
        assert [REPEATS[place] for place in Wishes(bar=bar).repeats] == list(kin)
        drawn = style.draw(0, range(32), wishes=Wishes(bar=bar))
        assert not kin or all(int(beats) in kin for beats in drawn.pulse.beats)
    chosen = style.fitting(Wishes(bar=3))
    likeness = style.bar_likeness(Wishes(bar=3).repeats)
    assert chosen is not None and float(likeness[chosen].min()) >= float(likeness.quantile(0.6))


# --- files ------------------------------------------------------------------------------------------------------------


def test_music_in_a_metre_says_so_and_is_made_again(here, tmp_path, capsys):
    paths = make(tmp_path, "--tempo", "100", "--meter", "7/8", "--count", "2", "--seconds", "3")
    assert [path.name for path in paths] == [f"100bpm_7-8_seed0_sample_000{item}.wav" for item in (0, 1)]
    assert [reproduce.main([str(path)]) for path in paths] == [0, 0]
    receipt = read_receipt(paths[1])
    assert (receipt.meter, receipt.drawing, receipt.tempo) == ("7/8", 2, 100.0)
    (plain,) = make(tmp_path / "plain", "--tempo", "100", "--count", "1", "--seconds", "3")
    assert not np.array_equal(soundfile.read(paths[0])[0], soundfile.read(plain)[0])
    player = Player(here / "model", epoch=3, device="cpu")
    made = player.generate(3.0, tempo=100.0, meter="7/8", steps=2, item=1)
    other = player.generate(3.0, tempo=100.0, meter="5/4", steps=2, item=1)
    assert not np.array_equal(made, other)


def test_a_metre_goes_with_the_style_of_a_file(here, tmp_path):
    (song,) = make(tmp_path / "song", "--count", "1", "--seconds", "4")
    (path,) = make(tmp_path / "like", "--like", str(song), "--meter", "3/4", "--count", "1", "--seconds", "3")
    assert path.name == "like_seed0_sample_0000_3-4_seed0_sample_0000.wav"


@pytest.mark.parametrize("tempo", [TEMPO.low, 240.0, TEMPO.high])
@pytest.mark.parametrize("meter", ["1/32", "4/1", "32/1", "7/32", "15/16"])
def test_every_metre_goes_with_every_tempo(generator, tempo, meter):
    wishes = asked_of_music(tempo, Key(0, False), Meter.read(meter))
    drawn = generator.style.draw(0, range(2), wishes=wishes)
    generator.style.what_is_missing(wishes)
    assert bool(torch.isfinite(drawn.vector).all()) and bool((drawn.pulse.frequency > 0.5).all())
    composer = Composer(generator, Sampling(steps=2, wishes=wishes))
    assert bool(torch.isfinite(composer.latents(1.0)).all())
    form = LoopForm(8, tempo, Meter.read(meter), SAMPLE_RATE)
    assert generator.style.draw(0, range(1), wishes=form.wishes()).pulse.frequency > 0.5


def test_bars_go_on_from_one_song_s_style_to_another_s(generator):
    style = generator.style
    wishes = asked_of_music(96.0, None, Meter(3, 4))
    first, last = (style.draw(seed, range(1)) for seed in (1, 2))
    slow, fast = (
        each._replace(pulse=each.pulse._replace(frequency=torch.tensor([beat])))
        for each, beat in ((first, 0.8), (last, 3.2))
    )
    like = style.wish_for(slow, wishes)
    until = style.wish_for(fast, wishes, after=like)
    assert float(like.pulse.frequency) == pytest.approx(0.8) and float(until.pulse.frequency) == pytest.approx(0.8)
    assert float(style.wish_for(fast, wishes).pulse.frequency) == pytest.approx(3.2)
    for share in (0.0, 0.4, 1.0):
        between = like.blended(until, share)
        beats = wishes.beats_of_bar(between.pulse)
        assert beats is not None and float(beats / between.pulse.frequency) == pytest.approx(3 * 60 / 96)


def test_a_file_s_style_is_told_of_the_bar_where_the_model_knows_repeats():
    style = scattering(repeat_signals=2).style
    song = style.draw(0, range(1))
    pulse = song.pulse._replace(repeats=torch.tensor([[0.1, 0.2, 0.1, 0.9, 0.1, 0.3]]))
    asked = style.wish_for(song._replace(pulse=pulse), Wishes(bar=3.0))
    assert int(asked.pulse.beats) in (3, 6) and int(pulse.beats) == 4
    assert int(style.wish_for(song._replace(pulse=pulse), Wishes(bar=5.0)).pulse.beats) == 4


def test_places_hold_after_hours():
    beats = Wishes(AskedTempo(103 / 60), bar=10.0).beats_of_bar(pulse(103 / 120))
    assert beats is not None and beats.dtype == torch.float64
    hours = pulse(103 / 120).places_in_bars(beats, 400, first_frame=600_000, frames_per_second=RATE)[0]
    frequency = float(torch.tensor(103 / 120))
    bar = 10.0 / (103 / 60)
    for index in (0, 100, 399):
        seconds = (600_000 + index) / RATE
        gone = (seconds * frequency / (bar * frequency)) % 1.0
        assert abs(int(hours[index]) - gone * bar * RATE) <= 1.0


def test_a_metre_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        generate_music.main(["--meter", "3/4", "--noise", "noise.wav"])
    assert "--meter and --noise cannot be combined" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        generate_music.main(["--meter", "3/5"])
    assert "a bar has 1 to 32 beats" in " ".join(capsys.readouterr().err.split())
