"""The contract of streams.

Whole = pieces for every block size and any mixture of listeners, bit for bit; a control that moves changes only what
comes after it; where a stream is, is a plain value. In the manner of the contract tests of layers that work step by
step (google/sequence-layers, `verify_contract`).
"""

import io
import itertools
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from piano.composer import BLOCK_FRAMES, Composer, Sampling
from piano.latent_style import Style
from piano.piano_model import VariationalAttentionModel
from piano.play.radio import CEILING, CHANGE_SECONDS, DUCK_SECONDS, TURN_SECONDS, Program, Radio, below_ceiling
from piano.stream_state import Stream
from tests.tiny_run import SAMPLE_RATE, SMALL, tonal_pairs

SAMPLES = 3 * BLOCK_FRAMES * 256 + 137
"""Some blocks of sound and an odd rest; the model has 256 samples a latent."""


def scattering(**changes) -> VariationalAttentionModel:
    """A model with everything that a sound may depend on."""
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**(SMALL["model"] | changes)).eval()
    for block in (generator.attention, generator.shortcut):
        torch.nn.init.normal_(block.out.weight, std=0.1)
    music = torch.from_numpy(tonal_pairs(4 * generator.sound_channels)[:, 0])
    generator.autoencoder.fit_spectrum(music.view(4, generator.sound_channels, -1))
    for texture in generator.textures.values():
        texture.get_buffer("amount").fill_(0.3)
    generator.style.anchors.normal_(generator=torch.Generator().manual_seed(1))
    generator.style.unproject.normal_(std=0.3, generator=torch.Generator().manual_seed(2))
    return generator


MODELS = {
    "mono": lambda: scattering(),
    "stereo": lambda: scattering(sound_channels=2),
    "one spectrum for two channels": lambda: scattering(sound_channels=2, image_bands=8),
    "with repeats": lambda: scattering(repeat_signals=2),
}


@pytest.fixture(scope="module", params=MODELS)
def composer(request) -> Composer:
    return Composer(MODELS[request.param](), Sampling(seed=3, steps=2, phase_iterations=2))


@pytest.fixture(scope="module")
def whole(composer: Composer) -> Tensor:
    """What item 1 is when it is read at once."""
    return composer.read(composer.start(1), SAMPLES)[1]


def in_pieces(composer: Composer, state: Stream, sizes: list[int], samples: int) -> Tensor:
    """So many samples, read in pieces of these sizes over and over."""
    pieces, have = [torch.zeros(composer.generator.sound_channels, 0)], 0
    while have < samples:
        state, sound = composer.read(state, min(sizes[len(pieces) % len(sizes)], samples - have))
        pieces.append(sound)
        have += sound.shape[-1]
    return torch.cat(pieces, dim=-1)


@pytest.mark.parametrize("size", [1000, 64, 512, 2048, 8192, 12345, SAMPLES])
def test_whole_is_pieces_for_every_block_size(composer, whole, size):
    samples = min(SAMPLES, 200 * size)
    assert torch.equal(in_pieces(composer, composer.start(1), [size], samples), whole[:, :samples])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 2_000))
def test_whole_is_pieces_for_any_sequence_of_sizes(composer, whole, sizes):
    assert torch.equal(in_pieces(composer, composer.start(1), sizes, SAMPLES), whole)


def test_pieces_as_they_come_off_the_grid_are_the_same_music(composer, whole):
    state, pieces = composer.start(1), []
    while sum(piece.shape[-1] for piece in pieces) < SAMPLES:
        state, sound = composer.advance(state)
        pieces.append(sound)
    assert torch.equal(torch.cat(pieces, dim=-1)[:, :SAMPLES], whole)


@pytest.mark.parametrize("seed", range(2))
def test_any_mixture_of_listeners_hears_what_each_would_hear_alone(composer, whole, seed):
    chance = random.Random(seed)
    prompt = torch.from_numpy(tonal_pairs(1, seed=5)[0, 0]).expand(composer.generator.sound_channels, -1)
    starts = {
        "alone": lambda: composer.start(1),
        "another piece": lambda: composer.start(2),
        "same piece, later": lambda: composer.start(1),
        "a continuation": lambda: composer.start(0, prompt=prompt),
    }
    alone = {name: composer.read(start(), SAMPLES)[1] for name, start in starts.items()}
    states = {name: start() for name, start in starts.items()}
    heard = {name: torch.zeros(composer.generator.sound_channels, 0) for name in starts}
    while waiting := [name for name in starts if heard[name].shape[-1] < SAMPLES]:
        name = chance.choice(waiting)
        wanted = min(chance.choice([64, 777, 4096, 20_000]), SAMPLES - heard[name].shape[-1])
        states[name], sound = composer.read(states[name], wanted)
        heard[name] = torch.cat([heard[name], sound], dim=-1)
    for name in starts:
        assert torch.equal(heard[name], alone[name]), name
    assert torch.equal(heard["alone"], whole)
    assert not torch.equal(heard["another piece"], whole)


def test_a_state_is_a_plain_value_that_can_be_kept_copied_and_stored(composer, whole):
    state, begin = composer.read(composer.start(1), 5_000)
    file = io.BytesIO()
    torch.save(state, file)
    after = [composer.read(state, SAMPLES - 5_000)[1] for _ in range(2)]  # the first leaves it as it was
    file.seek(0)
    stored = torch.load(file, weights_only=False)
    after.append(composer.read(stored, SAMPLES - 5_000)[1])
    for end in after:
        assert torch.equal(torch.cat([begin, end], dim=-1), whole)


def other_style(composer: Composer) -> Style:
    return composer.generator.style.draw(9, range(1))


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("further", [0, 5, BLOCK_FRAMES + 3])
def test_a_control_that_moves_changes_only_what_comes_after_it(composer, whole, blocks, further):
    state = composer.start(1)
    for _ in range(blocks):
        state, _ = composer.advance(state)
    frame = state.frame + further
    turned = composer.turn(state, other_style(composer), frame=frame)
    new = composer.read(turned, SAMPLES - state.sample)[1]
    old = whole[:, state.sample :]
    hop, generator = composer.generator.hop_samples, composer.generator
    # The decoder and the phases look ahead: what they hear of the change lies within their reach, and not earlier.
    reach = generator.autoencoder.decoder.context * hop + 3 * (composer.sampling.phase_iterations + 1) * hop // 2
    unchanged = max(0, frame * hop - reach - state.sample)
    assert torch.equal(new[:, :unchanged], old[:, :unchanged])
    if frame * hop + 4 * hop < SAMPLES:
        assert not torch.allclose(new[:, frame * hop - state.sample :], old[:, frame * hop - state.sample :], atol=1e-3)
    assert torch.equal(composer.read(state, SAMPLES - state.sample)[1], old)  # who did not move hears what was to come


def test_a_turn_without_a_frame_comes_as_soon_as_it_can(composer):
    state = composer.advance(composer.start(1))[0]
    soon = composer.turn(state, other_style(composer))
    assert soon.ahead.shape[1] == 0
    named = composer.turn(state, other_style(composer), frame=state.frame)
    assert torch.equal(composer.read(soon, 9_000)[1], composer.read(named, 9_000)[1])
    with pytest.raises(ValueError, match="has become sound already"):
        composer.turn(state, other_style(composer), frame=state.frame - 1)


def test_the_beat_goes_on_from_where_it_is_when_the_style_turns(composer):
    before, after = composer.start(1).windows.style, other_style(composer)
    turned = after.going_on_from(before, 2.5)
    angles = [style.pulse.phase + 2 * torch.pi * 2.5 * style.pulse.frequency for style in (before, turned)]
    assert abs(float(torch.sin(angles[0] - angles[1]))) < 1e-4
    assert float(torch.cos(angles[0] - angles[1])) > 0.99
    assert torch.equal(turned.pulse.frequency, after.pulse.frequency)
    assert torch.equal(turned.vector, after.vector)


def heard(radio: Radio, seconds: float) -> Tensor:
    """What a listener hears who does nothing."""
    chunks = []
    while radio.end < seconds * SAMPLE_RATE:
        chunks.append(radio.produce())
    for chunk, following in itertools.pairwise(chunks):
        assert following.sample == chunk.sample + chunk.waveform.shape[-1]
    return torch.cat([chunk.waveform for chunk in chunks], dim=-1)


PROGRAM = Program(seed=3, piece=1, steps=2, phase_iterations=2)


def test_a_radio_that_nobody_touches_plays_the_piece_that_is_generated(composer, whole):
    played = heard(Radio(composer, PROGRAM), SAMPLES / SAMPLE_RATE)[:, :SAMPLES]
    quiet = whole.abs().amax(dim=0).cummax(dim=0).values <= CEILING
    first = int(quiet.sum()) - round(DUCK_SECONDS * SAMPLE_RATE)  # where the first too loud sample makes it softer
    assert first > SAMPLE_RATE and torch.equal(played[:, :first], whole[:, :first])


MOVES = {
    "another style": ({"near": 7}, TURN_SECONDS),
    "surprise": ({"surprise": 3.0}, TURN_SECONDS),
    "another piece": ({"piece": 2}, CHANGE_SECONDS),
    "another seed": ({"seed": 4}, CHANGE_SECONDS),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_was_heard_before_a_move_stays_and_no_seam_clicks(composer, name):
    changes, fade = MOVES[name]
    radio, still = Radio(composer, PROGRAM), Radio(composer, PROGRAM)
    before, unmoved = heard(radio, 4.0), heard(still, 7.0)
    at = round(2.3 * SAMPLE_RATE)
    radio.forget(round(2.0 * SAMPLE_RATE))
    void = radio.move(PROGRAM._replace(**changes), at)
    assert void == at
    after = heard(radio, 7.0)
    played = torch.cat([before[:, :void], after], dim=-1)[:, : unmoved.shape[-1]]
    assert torch.equal(played[:, :at], unmoved[:, :at])
    end = at + round(fade * SAMPLE_RATE)
    assert not torch.allclose(played[:, end : end + SAMPLE_RATE], unmoved[:, end : end + SAMPLE_RATE], atol=1e-3)
    steps = played.diff(dim=-1).abs()
    usual = steps[:, : at - 10].max()
    assert steps[:, at - 2 : at + 2].max() <= 1.5 * usual  # the first sample after the move goes on from the last


def test_another_piece_is_the_piece_itself_once_it_has_faded_in(composer):
    radio = Radio(composer, PROGRAM)
    heard(radio, 2.0)
    at = radio.move(PROGRAM._replace(piece=2), SAMPLE_RATE)
    played, alone = heard(radio, 6.0), heard(Radio(composer, PROGRAM._replace(piece=2)), 4.0)
    faded = round(CHANGE_SECONDS * SAMPLE_RATE)
    assert at == SAMPLE_RATE
    assert torch.equal(played[:, faded : 3 * SAMPLE_RATE], alone[:, faded : 3 * SAMPLE_RATE])


def test_many_moves_in_a_row_leave_a_radio_whole(composer):
    chance, radio, played = random.Random(0), Radio(composer, PROGRAM), 0
    heard(radio, 1.0)
    for _ in range(12):
        played += chance.randrange(0, 4_000)
        while radio.end < played + 2_000:
            radio.produce()
        radio.forget(played)
        program = radio.program._replace(**chance.choice(list(MOVES.values()))[0])
        void = radio.move(program._replace(surprise=chance.random()), played + chance.randrange(0, 3_000))
        assert played <= void
        chunk = radio.produce()
        assert chunk.sample == void
        assert torch.isfinite(chunk.waveform).all() and chunk.waveform.abs().max() <= 1.0
    assert len(radio._marks) < 8 and sum(c.waveform.shape[-1] for c in radio._made) < 3 * BLOCK_FRAMES * 256 + 8_000


def test_a_piece_that_wanders_takes_another_style_now_and_then_and_not_before(composer):
    still, wandering = (heard(Radio(composer, PROGRAM._replace(wander_seconds=wait)), 12.0) for wait in (0.0, 4.0))
    samples = min(still.shape[-1], wandering.shape[-1])
    differs = (still[:, :samples] != wandering[:, :samples]).any(dim=0).nonzero()
    assert 2.5 * SAMPLE_RATE < int(differs[0]) < 9 * SAMPLE_RATE
    assert torch.equal(
        wandering, heard(Radio(composer, PROGRAM._replace(wander_seconds=4.0)), 12.0)
    )  # and it is repeatable


def test_what_would_be_beyond_full_scale_makes_the_rest_softer_without_a_step():
    sound = torch.zeros(2, 1000)
    sound[0] = 0.8 * torch.sin(torch.arange(1000) / 9.0)
    sound[1, 600] = 2.0
    played, gain = below_ceiling(sound, 1.0, sample_rate=10_000)  # 20 ms are 200 samples
    assert gain == pytest.approx(CEILING / 2)
    assert torch.equal(played[:, :400], sound[:, :400])
    assert played.abs().max() <= CEILING + 1e-6
    assert torch.allclose(played[:, 600:], gain * sound[:, 600:])
    ratio = played[0, 401:] / sound[0, 401:]
    assert ratio.diff().abs().max() < 0.01
    assert below_ceiling(sound, gain, sample_rate=10_000)[1] == gain  # once is enough
    quiet, later = below_ceiling(0.1 * sound, gain, sample_rate=100)
    assert gain < later == pytest.approx(gain * 10 ** (5 / 20))  # ten seconds at half a decibel
    assert (quiet[0, 1:] / sound[0, 1:]).diff().abs().max() < 1e-3
