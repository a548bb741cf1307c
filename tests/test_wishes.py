"""What new music is asked to be like: key, bar, surprise, the best of several; told in its receipt and made again."""

import json

import numpy as np
import pytest
import soundfile
import torch

from piano import generate_music, reproduce
from piano.best_of import best_item, unlikeness
from piano.composer import Composer, Sampling
from piano.foundation.errors import ConfigError
from piano.foundation.keys import Key, nearest_key
from piano.foundation.receipt import Receipt, read_receipt
from piano.generate_options import parse_arguments, song_form
from piano.latent_style import KEYED_TEMPO_REACH, LEAST_STYLES, AskedTempo, Wishes
from piano.player import Player
from piano.report.titles import made_title
from piano.song_form import SongForm
from tests import trained_model
from tests.test_stream_contract import scattering


def make(output, *arguments):
    return trained_model.make(output, "--steps", "2", *arguments)


def make_fails(folder, *arguments: str) -> int:
    words = [
        "--checkpoints",
        str(folder / "model"),
        "--epoch",
        "3",
        "--output",
        str(folder / "none"),
        "--device",
        "cpu",
    ]
    return generate_music.main([*words, "--threads", "1", "--count", "1", *arguments])


def hearing_keys():
    """A style whose first twelve numbers are pitch classes."""
    style = scattering(latent_dim=12).style
    style.chroma = torch.cat([0.1 * torch.eye(12), torch.full((1, 12), 1.0 / 12.0)])
    return style


def test_a_trained_model_reads_pitch_classes_from_latents(generator):
    assert generator.style.chroma is not None
    style = generator.style.draw(0, range(64))
    classes = generator.style.chroma_of(style.vector)
    torch.testing.assert_close(classes.sum(dim=1), torch.ones(64), atol=0.05, rtol=0.0)  # shares


def test_a_style_in_a_key_has_pitch_classes_nearer_to_it():
    style = hearing_keys()
    for key in (Key(2, True), Key(6, False)):
        drawn = style.draw(0, range(8), wishes=Wishes(key=key))
        usual = style.draw(0, range(8))
        for item in range(8):
            asked, plain = (style.chroma_of(each.vector)[item].numpy() for each in (drawn, usual))
            assert np.corrcoef(asked, key.profile)[0, 1] > np.corrcoef(plain, key.profile)[0, 1]
        assert sum(nearest_key(style.chroma_of(drawn.vector)[item].numpy())[0] == key for item in range(8)) >= 6


def test_styles_are_chosen_that_go_with_all_wishes(generator):
    style = generator.style
    usual = AskedTempo(float(style.tempo_and_movement()[0].clamp(1.2, 2.8).median()))
    near = set(style.with_tempo_near(usual, KEYED_TEMPO_REACH).tolist())
    both = style.fitting(Wishes(tempo=usual, key=Key(0, False)))
    assert both is not None and set(both.tolist()) <= near and len(both) >= min(LEAST_STYLES, len(near))
    key = style.fitting(Wishes(key=Key(0, False)))
    likeness = style.key_likeness(Key(0, False))
    others = torch.ones(len(likeness), dtype=torch.bool)
    others[key] = False
    assert float(likeness[key].min()) >= float(likeness[others].max())
    assert style.fitting(Wishes()) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [("b flat minor", "Bb minor"), ("B-flat minor", "Bb minor"), ("F sharp major", "F# major"), ("E Flat", "Eb major")],
)
def test_keys_may_be_spelled_out(text, name):
    assert Key.read(text).name == name


def test_an_end_that_has_no_room_is_refused(here, generator, capsys):
    least = (generator.style.end_frames + generator.latent_seq_len) / generator.frames_per_second
    assert make_fails(here, "--ending", "--seconds", f"{0.9 * least:.2f}") == 2
    assert "too short to be led to an end" in " ".join(capsys.readouterr().err.split())
    player = Player("model", epoch=3, device="cpu")
    with pytest.raises(ConfigError, match="too short to be led to an end"):
        player.generate(0.9 * least, ending=True)
    assert make_fails(here, "--ending", "--seconds", f"{1.1 * least:.2f}", "--steps", "1") == 0
    with pytest.raises(ConfigError, match="a key is written as"):
        player.generate(1.0, key=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a metre is written as"):
        player.generate(1.0, meter=(3, 4))  # type: ignore[arg-type]


def test_a_tempo_that_is_heard_as_another_is_said(here, generator, tmp_path, capsys):
    make(tmp_path / "slow", "--tempo", "45", "--meter", "4/4", "--count", "1", "--seconds", "2")
    told = " ".join(capsys.readouterr().err.split())
    assert "a beat of 45 a minute is made, and mostly heard, as one of 90" in told
    assert "a bar of 4/4 lasts 5.3 s: in 2 s it hardly comes again." in told
    make(tmp_path / "usual", "--tempo", "100", "--meter", "2/4", "--count", "1", "--seconds", "3")
    told = " ".join(capsys.readouterr().err.split())
    assert "heard" not in told and "comes again" not in told


def test_a_tempo_that_is_asked_for_is_drawn_with_a_beat(generator):
    style = generator.style
    beats = float(style.tempo_and_movement()[0].clamp(1.2, 2.8).median())
    wishes = Wishes(AskedTempo(beats), surprise=3.0)  # so that chance moves the beat, too
    chosen = style.fitting(wishes)
    assert chosen is not None
    least = float(style.beat_strengths()[chosen].min())
    free = style.draw(0, range(64), wishes=Wishes(surprise=3.0))
    assert float(free.pulse.strength.min()) < least
    drawn = style.draw(0, range(64), wishes=wishes)
    assert float(drawn.pulse.strength.min()) >= least - 1e-5
    torch.testing.assert_close(drawn.pulse.frequency, torch.full((64,), beats))
    weak = drawn._replace(pulse=drawn.pulse._replace(strength=torch.zeros(64)))
    lifted = style.with_beat(weak, torch.tensor(0.4))
    assert bool((lifted.pulse.strength == 0.4).all()) and not torch.equal(lifted.vector, weak.vector)
    assert torch.equal(style.with_beat(lifted, torch.tensor(0.3)).vector, lifted.vector)
    home = style.draw(1, range(1), wishes=Wishes(AskedTempo(beats)))
    for part in range(8):
        other = style.contrast(home, 1, 0, part, Wishes(AskedTempo(beats), surprise=3.0))
        near = style.beat_strengths().quantile(0.2)
        assert float(other.pulse.strength) >= min(float(home.pulse.strength), float(near)) - 1e-5


def test_calm_music_is_nearer_to_the_training_music(generator):
    anchors = generator.style.anchors

    def apart(surprise: float) -> float:
        drawn = generator.style.draw(0, range(64), wishes=Wishes(surprise=surprise)).vector
        return float(torch.cdist(drawn, anchors).amin(dim=1).mean())

    assert apart(0.0) < 0.01 < apart(0.5) < apart(1.0) < apart(3.0)
    assert Wishes(surprise=0.0).noise_size < 1.0 == Wishes().noise_size == Wishes(surprise=3.0).noise_size
    calm = Composer(generator, Sampling(steps=2, wishes=Wishes(surprise=0.0)))
    usual = Composer(generator, Sampling(steps=2))
    assert not torch.equal(calm.latents(2.0), usual.latents(2.0))


def test_the_best_of_several_is_the_one_nearest_to_the_training_music(generator):
    composer = Composer(generator, Sampling(seed=2, steps=2))
    found = {item: unlikeness(composer, composer.latents(3.0, item=item)) for item in range(4, 9)}
    assert best_item(composer, range(4, 9), 3.0) == min(found, key=lambda item: found[item])
    assert len(set(found.values())) == 5


def test_files_say_what_was_asked_for_and_are_made_again(here, tmp_path, capsys):
    (path,) = make(
        tmp_path, "--key", "Dm", "--tempo", "120", "--surprise", "0.5", "--seconds", "2", "--count", "1", "--seed", "3"
    )
    assert path.name == "120bpm_Dm_seed3_sample_0000.wav"
    says = json.loads(soundfile.SoundFile(path).comment)
    assert (says["key"], says["tempo"], says["surprise"]) == ("D minor", 120.0, 0.5)
    assert "--key 'D minor'" in says["musigan"] and "--surprise 0.5" in says["musigan"]
    assert made_title(path, read_receipt(path), 1) == "Sample 1, seed 3, 120 a minute, D minor"
    assert reproduce.main([str(path), "--checkpoints", "model"]) == 0
    assert "identical" in capsys.readouterr().out
    (plain,) = make(tmp_path / "plain", "--seconds", "2", "--count", "1", "--seed", "3")
    assert not np.array_equal(soundfile.read(path)[0], soundfile.read(plain)[0])


def test_the_best_of_several_says_so_and_is_the_sample_of_its_own_number(here, tmp_path, capsys):
    paths = make(tmp_path, "--best-of", "3", "--seconds", "2", "--count", "2", "--seed", "4")
    assert len(paths) == 2
    for sample, path in enumerate(paths):
        says = json.loads(soundfile.SoundFile(path).comment)
        assert says["best_of"] == 3 and says["item"] // 3 == sample
        assert path.name == f"best_of_3_seed4_sample_{says['item']:04d}.wav"
        assert reproduce.main([str(path), "--checkpoints", "model"]) == 0
    assert capsys.readouterr().out.count("identical") == 2
    player = Player("model", epoch=3, device="cpu")
    best = player.generate(2.0, seed=4, item=1, steps=2, best_of=3)
    assert np.array_equal(best, player.generate(2.0, seed=4, item=says["item"], steps=2))


def test_the_form_stands_in_the_receipt_and_is_made_again(here, tmp_path, capsys):
    (path,) = make(tmp_path, "--seconds", "70", "--count", "1")
    says = json.loads(soundfile.SoundFile(path).comment)
    assert (says["form"], says["closes"]) == ("returning", True)
    assert reproduce.main([str(path), "--checkpoints", "model"]) == 0
    assert "identical" in capsys.readouterr().out
    (free,) = make(tmp_path / "free", "--seconds", "70", "--count", "1", "--form", "free", "--no-ending")
    assert not np.array_equal(soundfile.read(path)[0], soundfile.read(free)[0])
    del says["form"], says["closes"]  # as receipts were before there were forms
    before = Receipt.model_validate_json(json.dumps(says), strict=True)
    assert song_form(parse_arguments(before.command)) == SongForm(returns=False, closes=False)


def test_what_lies_between_the_themes_has_what_was_asked_for(generator):
    home = generator.style.draw(0, range(1), wishes=Wishes(key=Key(2, True), surprise=0.0))
    key = generator.style.usual_chroma(Key(2, True))

    def apart(style) -> float:
        return float((generator.style.chroma_of(style.vector) - key).norm())

    asked = [generator.style.contrast(home, 0, 0, part, Wishes(key=Key(2, True))) for part in range(8)]
    usual = [generator.style.contrast(home, 0, 0, part) for part in range(8)]
    assert sum(map(apart, asked)) < 0.5 * sum(map(apart, usual))
    calm = generator.style.contrast(home, 0, 0, 0, Wishes(surprise=0.0))
    wild = generator.style.contrast(home, 0, 0, 0, Wishes(surprise=3.0))
    nearest = [float(torch.cdist(each.vector, generator.style.anchors).min()) for each in (calm, wild)]
    assert nearest[0] < nearest[1]


def test_noise_of_a_file_has_no_form_and_is_made_again(here, tmp_path, capsys):
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(0).normal(0, 0.1, 33 * 8000), 8000)
    (path,) = make(tmp_path / "out", "--noise", str(tmp_path / "hiss.wav"), "--seconds", "30", "--count", "1")
    says = json.loads(soundfile.SoundFile(path).comment)
    assert "form" not in says and "closes" not in says
    assert reproduce.main([str(path), "--checkpoints", "model", "--source", str(tmp_path / "hiss.wav")]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_receipt_of_before_is_of_the_same_sound_as_one_without_a_form(here, tmp_path):
    (path,) = make(tmp_path, "--seconds", "2", "--count", "1", "--form", "free")
    says = json.loads(soundfile.SoundFile(path).comment)
    now = Receipt.model_validate_json(json.dumps(says), strict=True)
    del says["form"], says["closes"]
    assert now.is_same_sound(Receipt.model_validate_json(json.dumps(says), strict=True))
    assert not now.is_same_sound(now.model_copy(update={"closes": True}))


def test_pieces_of_half_a_minute_close_unless_asked_otherwise():
    def closes(*words: str) -> bool:
        return song_form(parse_arguments(list(words))).closes

    assert closes("--seconds", "30") and not closes("--seconds", "29")
    assert closes("--seconds", "10", "--ending") and not closes("--seconds", "90", "--no-ending")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "H"], "a key is written as"),
        (["--key", "C", "--prompt", "take.wav"], "the key is that of the file"),
        (["--surprise", "4"], "is not a number from 0 to 3"),
        (["--surprise", "0.5", "--vary", "take.wav"], "it is of new music"),
        (["--best-of", "3", "--loop", "2", "--tempo", "100"], "it chooses among new pieces"),
        (["--best-of", "3", "--output", "-"], "before it chooses"),
        (["--ending", "--noise", "noise.wav"], "--ending wants music of a length"),
        (["--best-of", "0"], "is not a whole number from 1"),
        (["--ending", "--vary", "take.wav"], "--ending and --vary cannot be combined"),
        (["--ending", "--loop", "2", "--tempo", "100"], "--ending and --loop cannot be combined"),
        (["--ending", "--infill", "take.wav", "--extend-right", "4"], "--ending and --infill cannot be combined"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments, message, capsys):
    with pytest.raises(SystemExit):
        generate_music.main(arguments)
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_model_of_before_says_that_it_knows_no_keys(here, generator, tmp_path, capsys):
    chroma = generator.style.chroma
    try:
        generator.style.chroma = None
        with pytest.raises(ConfigError, match="cannot be asked for a key"):
            generator.style.refuse_unknown(Wishes(key=Key(0, False)))
    finally:
        generator.style.chroma = chroma
    with pytest.raises(ConfigError, match="a key is written as"):
        Player("model", epoch=3, device="cpu").generate(1.0, key="H")
    with pytest.raises(ConfigError, match="form must be"):
        Player("model", epoch=3, device="cpu").generate(1.0, form="sonata")
    with pytest.raises(ConfigError, match="the best of several is chosen by its style"):
        Player("model", epoch=3, device="cpu").generate(1.0, best_of=2)
    with pytest.raises(ConfigError, match="an ending is of music of a length"):
        next(Player("model", epoch=3, device="cpu").stream(ending=True))
