"""The file for nn~: what plays in it is what the Composer makes, whatever the host's buffer."""

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from nn_host import fits, play, self_test
from torch import Tensor

from piano.composer import Composer, Sampling, take_frames
from piano.export_model import main
from piano.exporting.exported_file import script
from piano.exporting.nn_tilde import DESCRIPTION
from piano.exporting.scripted_composition import ScriptedComposition
from piano.exporting.scripted_noise import ScriptedNoise
from piano.exporting.scripted_style import ScriptedStyle
from piano.exporting.streaming_codec import StreamingDecoder, StreamingEncoder
from piano.exporting.streaming_phase import StreamingPhase
from piano.exporting.streaming_sound import FLOW, ScriptedFinish, StreamingSound
from piano.exporting.written_wishes import WrittenWishes
from piano.foundation.keys import KEYS, Key
from piano.foundation.phase import PhaseVocoder, stft
from piano.foundation.randomness import keyed_generator, keyed_noise
from piano.foundation.shipped_format import shipped_path, write_shipped
from piano.latent_style import AskedTempo, Wishes
from piano.loops import Meter, asked_of_music
from piano.piano_model import VariationalAttentionModel
from tests.test_stream_contract import MODELS, scattering

HOP = 256
"""Samples of a latent frame of the models here."""
CLOSE = 1e-4


@pytest.fixture(scope="module", params=MODELS)
def generator(request) -> VariationalAttentionModel:
    return MODELS[request.param]().requires_grad_(False)


@pytest.fixture(scope="module")
def stereo() -> VariationalAttentionModel:
    return MODELS["one spectrum for two channels"]().requires_grad_(False)


def give_away(generator: VariationalAttentionModel, folder: Path) -> Path:
    """A folder with the generator as it is given away."""
    folder.mkdir(exist_ok=True)
    state, path = generator.state_dict(), shipped_path(folder, "generator")
    write_shipped(path, "generator", epoch=3, keywords=generator.keywords, state=state, halved=frozenset())
    return folder


@pytest.fixture(scope="module")
def file(stereo, tmp_path_factory) -> Path:
    """What the command writes."""
    folder = tmp_path_factory.mktemp("exported")
    given = give_away(stereo, folder / "tune")
    assert main(["--checkpoints", str(given), "--to", "nn~", "--output", str(folder / "tune.ts")]) == 0
    return folder / "tune.ts"


# --- the seed's numbers ---


@pytest.mark.parametrize("key", [(0, 0, "music", 3), (2**62, 19, "style spread", 7, 0), (-3, 1, "texture", 1, 999)])
def test_a_key_seeds_the_same_generator(key):
    noise = script(ScriptedNoise)
    assert noise.seed_of(repr(key)) == keyed_generator(*key).initial_seed()


def test_noise_is_the_same_whichever_piece_it_is_asked_for_in():
    noise = script(ScriptedNoise)
    for first, frames in ((0, 1), (50, 100), (127, 2), (640, 64)):
        wanted = keyed_noise(5, 1, "music", first_frame=first, frames=frames, channels=6)
        assert torch.equal(noise.frames("5, 1, 'music'", first, frames, 6), wanted)


@pytest.mark.parametrize("near", [-1, 12])
def test_styles_and_pulses_are_drawn_as_the_composer_draws_them(generator, near):
    style = script(lambda: ScriptedStyle(generator.style))
    for item, attempt, surprise in ((0, 0, 1.0), (3, 2, 0.4)):
        wanted = generator.style.draw(
            7, range(item, item + 1), attempt=attempt, surprise=surprise, near=None if near < 0 else near
        )
        vector, pulse = style.draw(7, item, attempt, surprise, near)
        torch.testing.assert_close(vector, wanted.vector[0], atol=CLOSE, rtol=0.0)
        signals = generator.condition_on(wanted, 20, first_frame=33).signals[0]
        torch.testing.assert_close(style.signals(pulse, 20, 33), signals, atol=CLOSE, rtol=0.0)


def hearing(generator: VariationalAttentionModel) -> VariationalAttentionModel:
    """A copy of a model that can be asked for keys and tempi."""
    asked = copy.deepcopy(generator)
    random = torch.Generator().manual_seed(8)
    asked.style.project.normal_(std=0.3, generator=random)
    asked.style.chroma = 0.1 * torch.randn(asked.latent_dim + 1, 12, generator=random)
    return asked


WISHES = {
    "a tempo": Wishes(AskedTempo(1.8)),
    "a tempo that is heard as half": Wishes(AskedTempo(3.9)),
    "a key": Wishes(key=Key(9, True)),
    "a bar": Wishes(bar=3.0),
    "all": Wishes(AskedTempo(1.3), Key(4, False), 5.0),
    "all, with a bar that models hear": Wishes(AskedTempo(0.7), Key(0, False), 4.0),
}


def ask(asked: Any, wishes: Wishes) -> None:
    """Ask a scripted style, or composition, for it."""
    beats = 0.0 if wishes.tempo is None else wishes.tempo.beats_per_second
    asked.ask(beats, -1 if wishes.key is None else KEYS.index(wishes.key), int(wishes.bar or 0))


@pytest.fixture(scope="module")
def asked_styles(generator) -> tuple[VariationalAttentionModel, Any]:
    """A model that can be asked, and its scripted style."""
    asked = hearing(generator)
    return asked, script(lambda: ScriptedStyle(asked.style))


@pytest.mark.parametrize("name", WISHES)
def test_what_is_asked_for_is_drawn_as_the_composer_draws_it(asked_styles, name):
    (asked, style), wishes = asked_styles, WISHES[name]
    ask(style, wishes)
    for item in (0, 3):
        wanted = asked.style.draw(7, range(item, item + 1), surprise=0.4, wishes=wishes)
        vector, pulse = style.draw(7, item, 0, 0.4, -1)
        torch.testing.assert_close(vector, wanted.vector[0], atol=CLOSE, rtol=CLOSE)
        signals = asked.condition_on(wanted, 20, first_frame=33).signals[0]
        torch.testing.assert_close(
            style.signals(pulse, 20, 33), signals, atol=100 * CLOSE, rtol=0.0
        )  # of large numbers
        beats = wishes.beats_of_bar(wanted.pulse)
        rate = asked.style.frames_per_second
        places = style.places_in_bars(pulse, 200, 40)
        if beats is None:
            assert not len(places)
        else:
            whole = wanted.pulse.places_in_bars(beats, 200, first_frame=40, frames_per_second=rate)[0]
            assert int((places != whole).sum()) <= 2  # a beat's rounding


def test_a_model_that_hears_no_keys_is_asked_for_none(generator):
    style = script(lambda: ScriptedStyle(generator.style))
    before = style.draw(7, 0, 0, 1.0, -1)[0]
    style.ask(0.0, 3, 0)
    assert torch.equal(style.draw(7, 0, 0, 1.0, -1)[0], before)


def test_a_pulse_goes_on_where_another_one_is(generator):
    style = script(lambda: ScriptedStyle(generator.style))
    before, after = (generator.style.draw(seed, range(1)) for seed in (1, 2))
    wanted = after.going_on_from(before, 40 / generator.frames_per_second)
    pulses = [style.draw(seed, 0, 0, 1.0, -1)[1] for seed in (1, 2)]
    signals = style.signals(style.gone_on(pulses[1], pulses[0], 40), 16, 40)
    torch.testing.assert_close(
        signals, generator.condition_on(wanted, 16, first_frame=40).signals[0], atol=CLOSE, rtol=0.0
    )


@pytest.fixture(scope="module")
def written() -> Any:
    """The text box, scripted."""
    return script(WrittenWishes)


@pytest.mark.parametrize(
    ("text", "seconds", "tempo", "key", "meter"),
    [
        ("20", 20, None, None, None),
        ("", 20, None, None, None),
        ("a waltz of that kind", 20, None, None, None),
        ("I am here", 20, None, None, None),
        ("9000", 300, None, None, None),
        ("0", 1, None, None, None),
        ("45, D minor, 3/4", 45, None, "D minor", "3/4"),
        ("6/8 Bb 30s 96 bpm", 30, 96.0, "Bb", "6/8"),
        ("96.5BPM f#m 7/8 30sec", 30, 96.5, "f#m", "7/8"),
        ("12 Ab major 2/2 90 bpm", 12, 90.0, "Ab major", "2/2"),
        ("12/8, B flat minor, 12 seconds", 12, None, "Bb minor", "12/8"),
        ("F♯m 90bpm 15/16", 20, 90.0, "F#m", "15/16"),
        ("C sharp 1/4", 20, None, "C#", "1/4"),
        ("Bb-minor", 20, None, "Bb minor", None),
        ("Dminor CM", 20, None, "D minor", None),
        ("CM", 20, None, "C", None),
        ("a minor, 3/5 33/4", 20, None, "A minor", None),
        ("bpm 9 bpm 1/0", 20, 40.0, None, None),
    ],
)
def test_the_text_box_says_how_long_how_fast_and_in_which_key_and_metre(written, text, seconds, tempo, key, meter):
    assert (written.seconds_of(text), written.tempo_of(text)) == (seconds, pytest.approx(tempo or 0.0))
    assert written.key_of(text) == (-1 if key is None else KEYS.index(Key.read(key)))
    wishes = asked_of_music(tempo, None, None if meter is None else Meter.read(meter))
    beats = 0.0 if wishes.tempo is None else wishes.tempo.beats_per_second
    assert (written.bar_of(text), written.beats_per_second_of(text)) == (wishes.bar or 0, pytest.approx(beats))


def test_the_text_box_knows_every_key_as_the_command_does(written):
    for number, key in enumerate(KEYS):
        named = (key.name, key.short.replace("s", "#"), key.name.replace(" ", "_"), key.name.replace("b ", " flat "))
        assert [written.key_of(text) for text in named] == [number] * len(named)


# --- streams equal wholes ---


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 7])
def test_latents_are_decoded_and_sound_is_encoded_as_the_whole_would_be(generator, size):
    random = torch.Generator().manual_seed(size)
    latents = torch.randn(2, 40, generator.latent_dim, generator=random)
    decoder, encoder = script(lambda: StreamingDecoder(generator)), script(lambda: StreamingEncoder(generator))
    decoder.begin(2, latents)
    early = 3  # latents that are no music, as those that an encoder gives before the first one
    padded = torch.cat([torch.full_like(latents[:, :early], 9.0), latents], dim=1)
    pieces = [decoder(part, size * index - early) for index, part in enumerate(padded.split(size, dim=1))]
    values = torch.cat(pieces, dim=1)[:, decoder.delay + early * decoder.stride :]
    torch.testing.assert_close(values, generator.decode_spectrum(latents)[:, : values.shape[1]], atol=CLOSE, rtol=0.0)

    sound = 0.1 * torch.randn(2, generator.sound_channels, 40 * HOP, generator=random)
    encoder.begin(sound)
    pieces = [encoder(part, size * index) for index, part in enumerate(sound.split(size * HOP, dim=-1))]
    made = torch.cat(pieces, dim=1)
    assert not made[:, : encoder.delay].any()
    torch.testing.assert_close(
        made[:, encoder.delay :], generator.encode(sound)[:, : -encoder.delay], atol=CLOSE, rtol=0.0
    )


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("iterations", [0, 1, 4])
@pytest.mark.parametrize("kind", ["mono", "stereo", "pair"])
def test_the_same_magnitudes_sound_as_they_do_with_the_phase_vocoder(kind, iterations, size):
    random = torch.Generator().manual_seed(iterations)
    channels, frames, n_fft = 1 if kind == "mono" else 2, 150, 256
    sound = torch.randn(3, channels, frames * n_fft // 4, generator=random).cumsum(dim=-1)
    sound = 0.3 * sound / sound.abs().amax()
    magnitudes, planes, coherence = stft(sound, n_fft).abs(), stft(sound, n_fft).abs(), None
    if kind == "pair":
        coherence = 2.0 * torch.rand(3, frames, n_fft // 2 + 1, generator=random) - 1.0
        planes = torch.cat([magnitudes, coherence.unsqueeze(1)], dim=1)
    wanted = PhaseVocoder(n_fft, iterations=iterations).push(magnitudes, coherence)
    phase = script(lambda: StreamingPhase(n_fft, channels, has_angle=kind == "pair"))
    phase.begin(3, iterations, planes)
    pieces = [phase(part, size * index) for index, part in enumerate(planes.split(size, dim=2))]
    made = torch.cat(pieces, dim=-1)
    delay = phase.delay(iterations) * n_fft // 4
    assert not made[..., :delay].any()
    shared = min(wanted.shape[-1], made.shape[-1] - delay)
    torch.testing.assert_close(made[..., delay : delay + shared], wanted[..., :shared], atol=CLOSE, rtol=0.0)


@torch.inference_mode()
def test_magnitudes_are_finished_as_the_composer_finishes_them(generator):
    composer = Composer(generator, Sampling(seed=4, steps=2))
    spectrum = generator.decode_spectrum(torch.randn(1, 20, generator.latent_dim))
    frames, codec = spectrum.shape[1], generator.autoencoder
    noise = composer._scatter(4, 0, 0, frames).unsqueeze(0)
    planes = script(lambda: ScriptedFinish(generator))(spectrum, noise, torch.full((1, frames), FLOW))
    wanted = composer.finish(spectrum, 0)
    torch.testing.assert_close(planes[:, : codec.sound_channels], wanted.magnitude, atol=CLOSE, rtol=0.0)
    if wanted.coherence is not None:
        torch.testing.assert_close(planes[:, -1], wanted.coherence, atol=CLOSE, rtol=0.0)


@torch.inference_mode()
def test_one_latent_after_the_other_sounds_as_all_together(generator):
    composer = Composer(generator, Sampling(seed=4, steps=2, phase_iterations=2))
    latents = torch.randn(2, 90, generator.latent_dim)
    wanted = composer.decode(latents, first_item=0)
    sound = script(lambda: StreamingSound(generator))
    sound.begin(2, 2, 0, 4, 0, latents)
    marks = torch.tensor([1.0, float(FLOW)]).expand(2, 1, 2)
    made = torch.cat([sound(frame, marks) for frame in latents.split(1, dim=1)], dim=-1)[..., sound.delay(2) :]
    assert nearly_the_same(made, wanted[..., : made.shape[-1]])


def nearly_the_same(made: Tensor, wanted: Tensor) -> bool:
    """As near as the phase lets magnitudes come that differ by rounding: it follows peaks, and neighbours may tie."""
    off = (made - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
    return float(off) < 1e-2


# --- composing ---


def composed(composition, count: int, size: int = 5) -> Tensor:
    """So many latents, asked for a few at a time."""
    return torch.cat([composition(min(size, count - start)) for start in range(0, count, size)], dim=1)


def compose(generator: VariationalAttentionModel, *, voices: int = 1, seed: int = 3, steps: int = 2):
    """A scripted composition at its beginning."""
    composition = script(lambda: ScriptedComposition(generator, ScriptedFinish(generator)))
    composition.control(seed, steps, -1, torch.ones(voices))
    composition.begin(voices, 0, -1, torch.zeros(1))
    return composition


@torch.inference_mode()
@pytest.mark.parametrize("steps", [1, 3])
def test_a_seed_is_the_same_music_as_the_composer_s(generator, steps):
    composer = Composer(generator, Sampling(seed=3, steps=steps))
    made = composed(compose(generator, voices=2, steps=steps), 80)
    for item in range(2):
        state = composer.start(item)
        windows, pieces = state.windows, [state.ahead]
        while sum(piece.shape[1] for piece in pieces) < 80:
            windows, piece = composer.compose_window(windows)
            pieces.append(piece)
        wanted = torch.cat(pieces, dim=1)[0, :80]
        torch.testing.assert_close(made[item, :, : generator.latent_dim], wanted, atol=CLOSE, rtol=0.0)
        torch.testing.assert_close(made[item, :, -2], torch.full((80,), state.sounding.gain), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_music_that_is_asked_for_is_the_composer_s_too():
    generator, wishes = hearing(scattering()), Wishes(AskedTempo(1.8), bar=3.0)
    before = composed(compose(generator), 8)
    composition = script(lambda: ScriptedComposition(generator, ScriptedFinish(generator)))
    composition.control(3, 2, -1, torch.ones(1))
    ask(composition, wishes)
    composition.begin(1, 0, -1, torch.zeros(1))
    made = composed(composition, 80)[0, :, : generator.latent_dim]
    composer = Composer(generator, Sampling(seed=3, steps=2, wishes=wishes))
    wanted = composer.latents(80 / generator.frames_per_second)[0]
    torch.testing.assert_close(made, wanted[:80], atol=10 * CLOSE, rtol=0.0)
    assert not torch.allclose(made[:8], before[0, :, : generator.latent_dim], atol=0.01)


@torch.inference_mode()
def test_a_control_that_moves_changes_what_comes_after_the_lead_and_nothing_before(generator):
    still, moved = compose(generator), compose(generator)
    start = [composed(each, 40, 1) for each in (still, moved)]
    assert torch.equal(*start)
    moved.control(3, 2, -1, torch.full((1,), 2.0))
    rest = [composed(each, 40, 1) for each in (still, moved)]
    lead, ahead = still.lead_frames, 40
    same = (rest[0] == rest[1]).all(dim=2)[0]
    first = int(same.logical_not().nonzero()[0])
    assert lead <= first < ahead


@torch.inference_mode()
def test_another_seed_begins_its_own_piece(generator):
    moved = compose(generator)
    composed(moved, 10, 1)
    moved.control(9, 2, -1, torch.ones(1))
    rest = composed(moved, 80, 1)[0, :, : generator.latent_dim]
    fresh = torch.cat(
        list(take_frames(Composer(generator, Sampling(seed=9, steps=2)).stream_latents(count=1), 12)), dim=1
    )[0]
    distances = (rest.unfold(0, 12, 1).transpose(1, 2) - fresh).abs().amax(dim=(1, 2))
    assert float(distances.min()) < 1e-4


@torch.inference_mode()
def test_of_styles_that_are_all_next_to_silence_the_loudest_is_taken():
    changed = MODELS["mono"]().requires_grad_(False)
    for texture in changed.textures.values():
        texture.range = torch.tensor([40.0, 41.0])

    def started(seed: int):
        composer = Composer(changed, Sampling(seed=seed, steps=2))
        state, first = composer.start(0), composer.compose_window(composer.begin(count=1))[1]
        return composer, state, torch.allclose(first, state.ahead, atol=1e-2)

    found = ((seed, started(seed)) for seed in range(12))
    seed, (composer, state, _) = next(each for each in found if not each[1][2])  # a later attempt was louder
    made = composed(compose(changed, seed=seed), 60)
    _, piece = composer.compose_window(state.windows)
    wanted = torch.cat([state.ahead, piece], dim=1)[0, :50]
    torch.testing.assert_close(made[0, :50, : changed.latent_dim], wanted, atol=CLOSE, rtol=0.0)


# --- the file ---


def test_the_file_passes_the_host_s_self_test(file):
    self_test(torch.jit.load(file))


def test_the_file_says_what_it_is_and_how_far_it_runs_behind(file, stereo):
    extra = {DESCRIPTION: ""}
    model = torch.jit.load(file, _extra_files=extra)
    said = json.loads(extra[DESCRIPTION])
    assert said["sample_rate"] == stereo.sample_rate and said["smallest_buffer"] == HOP and said["epoch"] == 3
    assert list(said["delay"].values()) == list(model.get_delay())
    assert said["methods"]["decode"] == [stereo.latent_dim, HOP, 2, 1]


@pytest.mark.parametrize("voices", [1, 4])
@pytest.mark.parametrize("method", ["generate", "decode", "encode", "forward"])
def test_the_host_s_buffer_makes_no_difference(file, stereo, method, voices):
    random = torch.Generator().manual_seed(voices)
    channels = {"generate": 1, "decode": stereo.latent_dim}.get(method, 2)
    signal = 0.2 * torch.randn(voices, channels, 16 * 1024, generator=random)
    if method == "generate":
        signal.zero_()
    if method == "decode":  # what the host holds for a whole step
        signal = signal[..., ::HOP].repeat_interleave(HOP, dim=-1)
    made = {}
    for buffer in (512, 1024, 2048, 4096, 8192):
        model = torch.jit.load(file)
        model.set_steps(2)
        assert fits(model, method, buffer)
        made[buffer] = play(model, method, signal, buffer)[0]
    assert all(torch.equal(sound, made[512]) for sound in made.values())
    assert float(made[512].abs().amax()) > 1e-3


def test_buffers_shorter_than_a_latent_only_come_later(file):
    sound = 0.2 * torch.randn(1, 2, 40 * HOP, generator=torch.Generator().manual_seed(0))
    whole, short = torch.jit.load(file), torch.jit.load(file)
    wanted, made = play(whole, "forward", sound, HOP)[0], play(short, "forward", sound, HOP // 4)[0]
    late = short.get_delay()[2] - whole.get_delay()[2]
    assert late == HOP - HOP // 4
    assert torch.equal(made[..., late:], wanted[..., :-late])


@torch.inference_mode()
def test_what_goes_through_comes_out_as_a_reconstruction_after_the_stated_delay(file, stereo):
    composer = Composer(stereo, Sampling(phase_iterations=4))
    sound = 0.2 * torch.randn(1, 2, 160 * HOP, generator=torch.Generator().manual_seed(1))
    model = torch.jit.load(file)
    made = play(model, "forward", sound, 1024)[0][..., model.get_delay()[2] :]
    wanted = composer.decode(stereo.encode(sound), first_item=0, are_real=True)
    assert nearly_the_same(made, wanted[..., : made.shape[-1]])


@torch.inference_mode()
@pytest.mark.parametrize("wishes", [Wishes(), Wishes(AskedTempo(100 / 60), bar=3.0)])
def test_generate_is_the_command_s_music(file, stereo, wishes):
    model = torch.jit.load(file)
    model.set_seed(6)
    model.set_steps(2)
    model.set_tempo(0.0 if wishes.tempo is None else 100.0)
    model.set_bar(int(wishes.bar or 0))
    made = play(model, "generate", torch.zeros(1, 1, 64 * 1024), 2048)[0][0]
    wanted = Composer(stereo, Sampling(6, 2, 4, wishes=wishes)).generate(9.0)[0]
    assert nearly_the_same(made, wanted[..., : made.shape[-1]])


def test_attributes_hold_what_they_are_given_and_refuse_the_impossible(file):
    model = torch.jit.load(file)
    for name, good, bad in (
        ("steps", 3, 0),
        ("style", 1023, 1024),
        ("surprise", 0.5, -1.0),
        ("tempo", 96.0, 10.0),
        ("bar", 3, 33),
        ("key", -1, 0),  # this model hears no keys
        ("phase_iterations", 2, 99),
    ):
        assert getattr(model, f"set_{name}")(good) == 0
        assert getattr(model, f"set_{name}")(bad) != 0
        assert getattr(model, f"get_{name}")() == (good,)
    before = model.get_delay()
    model.set_phase_iterations(0)
    assert before[1] - model.get_delay()[1] == 2 * 3 * HOP // 2
    assert model.set_delay(0, 0, 0, 0) != 0
    assert model.set_sample_rate(model.get_sample_rate()) == 0 and model.set_sample_rate(96_000) != 0


def test_a_latent_frame_that_is_no_power_of_two_is_refused(tmp_path, capsys):
    given = give_away(scattering(latent_stride=3), tmp_path / "odd")
    assert main(["--checkpoints", str(given), "--to", "nn~", "--output", str(tmp_path / "odd.ts")]) == 2
    assert "384 samples" in capsys.readouterr().err
    assert not (tmp_path / "odd.ts").exists()


def test_a_file_replaces_nothing_unasked(file, capsys):
    words = ["--checkpoints", str(file.parent / "tune"), "--to", "nn~", "--output"]
    before = file.read_bytes()
    assert main([*words, str(file)]) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*words, str(file.parent / "tune.pt")]) == 2 and ".ts" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif("MUSIGAN_HOST_PYTHON" not in os.environ, reason="needs a Python with the host's torch")
def test_the_host_s_torch_plays_the_file_as_this_one_does(file, tmp_path):
    job = {
        "method": "generate",
        "buffer": 2048,
        "attributes": {"steps": 2, "tempo": 96.0, "bar": 3},
        "signal": torch.zeros(4, 1, 32 * 1024),
    }
    torch.save({"music": job}, tmp_path / "jobs.pt")
    host = Path(__file__).parent.parent / "benchmarks" / "nn_host.py"
    python = os.environ["MUSIGAN_HOST_PYTHON"]
    subprocess.run([python, host, file, tmp_path / "jobs.pt", tmp_path / "sounds.pt"], check=True)
    made = torch.load(tmp_path / "sounds.pt", weights_only=True)
    model = torch.jit.load(file)
    for name, value in job["attributes"].items():
        getattr(model, f"set_{name}")(value)
    assert made["torch"].startswith("2.5.1")
    assert nearly_the_same(made["music"]["sound"], play(model, "generate", job["signal"], 2048)[0])
