"""The form of a piece: its theme comes again a whole number of bars later, other music lies between, and it ends."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data_prep.create_dataset import create_dataset
from data_prep.prepare_dataset import prepare_folder
from piano.composer import Composer, Sampling
from piano.foundation.dataset_format import PrepareSettings
from piano.foundation.features import chroma_window
from piano.foundation.runtime import start_runtime
from piano.foundation.shard_pairs import ShardPairs
from piano.latent_style import NUM_ENDS
from piano.piano_model import AudioDataset
from piano.song_form import (
    BETWEEN_SECONDS,
    LEAST_SHARE,
    SILENT_SECONDS,
    THEME_SECONDS,
    USUAL_BAR,
    SongForm,
)
from piano.stream_state import RETURN_LEVEL, Plan
from piano.training.fitting import fit_chroma, keep_ends, until_it_died_away
from piano.training.training_data import TrainingData
from tests.test_stream_contract import MODELS, scattering
from tests.tiny_run import SAMPLE_RATE, tonal_pairs

FREE, RETURNING = SongForm(returns=False, closes=False), SongForm(returns=True, closes=False)
SECONDS = 100.0


@pytest.fixture(scope="module", params=["mono", "with repeats"])
def composer(request) -> Composer:
    return Composer(MODELS[request.param](), Sampling(seed=3, steps=2, phase_iterations=0))


def maybe_planned(composer: Composer, form: SongForm, *, seconds: float = SECONDS, item: int = 0) -> Plan | None:
    frames = math.ceil(seconds * composer.generator.frames_per_second)
    return composer._planned(composer.start(item), frames, None, form, item).windows.plan


def planned(composer: Composer, form: SongForm, *, seconds: float = SECONDS, item: int = 0) -> Plan:
    plan = maybe_planned(composer, form, seconds=seconds, item=item)
    assert plan is not None
    return plan


def test_the_theme_comes_again_on_the_bar_after_other_music(composer):
    rate, network = composer.generator.frames_per_second, composer.generator
    for item in range(4):
        plan = planned(composer, RETURNING, item=item)
        assert plan.returns and plan.closing is None
        before = THEME_SECONDS * rate
        pulse = plan.home.pulse
        beats = USUAL_BAR if pulse.repeats is None else int(pulse.beats)
        for again in plan.returns:
            bars = again.begin / rate * float(pulse.frequency) / beats
            assert abs(bars - round(bars)) * beats / float(pulse.frequency) <= 0.5 / rate + 1e-6  # half a frame
            longest = max(BETWEEN_SECONDS[1], BETWEEN_SECONDS[0] + beats / float(pulse.frequency))
            assert BETWEEN_SECONDS[0] * rate - 1 <= again.begin - before <= longest * rate + 1
            assert LEAST_SHARE * plan.theme - 1 <= again.frames <= plan.theme
            before = again.end
        assert before <= plan.frames and len(plan.others) == len(plan.returns) + 1
        for other in plan.others:
            torch.testing.assert_close(other.pulse.frequency, plan.home.pulse.frequency)
            assert torch.equal(other.pulse.phase, plan.home.pulse.phase)
            assert not torch.equal(other.vector, plan.home.vector)
    assert network.style.is_fitted


def test_what_comes_again_is_near_to_the_opening_and_what_does_not_is_as_long_as_before(composer):
    """The network of the test knows no music: only the walk from the opening's latents makes the return like it."""
    form, free = (composer.latents(SECONDS, form=each) for each in (RETURNING, FREE))
    plan = planned(composer, RETURNING)
    assert form.shape == free.shape
    first = plan.returns[0]
    assert torch.equal(form[:, : composer.generator.latent_seq_len], free[:, : composer.generator.latent_seq_len])
    inside = slice(first.begin + plan.edge, first.end - plan.edge)
    opening = form[:, plan.edge : first.frames - plan.edge]
    apart = (form[:, inside] - opening).square().mean()
    usual = (form[:, inside] - opening.roll(97, dims=1)).square().mean()
    assert apart < 0.8 * usual
    assert apart > 0.01 * usual  # another take of it, and no copy
    assert torch.equal(form, composer.latents(SECONDS, form=RETURNING))


def test_the_noise_on_a_theme_rises_and_falls_at_its_edges(composer):
    plan = planned(composer, RETURNING)
    plan = plan.after(torch.zeros(1, plan.theme, composer.generator.latent_dim))
    assert plan.opening.shape[1] == plan.theme
    first = plan.returns[0]
    frame, levels = 0, []
    while frame < plan.frames:
        section = plan.section(frame)
        assert section.given.shape[1] == section.level.shape[1] > 0
        levels.append(section.level[0])
        frame += section.level.shape[1]
    level = torch.cat(levels)
    assert len(level) == plan.frames
    assert (level[: first.begin] == 1.0).all()
    assert float(level[first.begin]) == 1.0 and float(level[first.end - 1]) == 1.0
    assert torch.allclose(level[first.begin + plan.edge : first.end - 1 - plan.edge], torch.tensor(RETURN_LEVEL))


def test_a_piece_without_a_known_end_is_led_to_silence(composer):
    assert composer.generator.style.ends is None
    plan = planned(composer, SongForm(returns=False), seconds=12.0)
    assert plan.closing is not None and not plan.returns
    silent = round(SILENT_SECONDS * composer.generator.frames_per_second)
    assert (plan.closing.level[-silent:] < 0.1).all() and (plan.closing.level[:-silent] == 1.0).all()
    made = composer.latents(12.0, form=SongForm(returns=False))
    assert made.shape == composer.latents(12.0).shape
    last = (made[:, -silent:] - plan.closing.latents[:, -silent:]).square().mean()
    assert last < 0.05 * (made[:, :silent] - plan.closing.latents[:, -silent:]).square().mean()


def test_a_piece_is_led_to_an_end_of_the_training_music():
    generator = scattering()
    ends = torch.randn(5, generator.style.end_frames, generator.latent_dim, generator=torch.Generator().manual_seed(4))
    generator.style.keep_ends(ends)
    assert generator.style.ends is not None
    assert generator.style.ends.shape[0] == NUM_ENDS and torch.equal(generator.style.ends[5], ends[0])
    composer = Composer(generator, Sampling(seed=3, steps=2, phase_iterations=0))
    made = composer.latents(20.0, form=SongForm(returns=False))
    half = ends.shape[1] // 2
    apart = (made[0, -half:] - ends[:, -half:]).square().mean(dim=(1, 2))
    assert float(apart.min()) < 0.5 * float(apart.median())
    again = scattering()
    assert again.style.ends is None
    again.load_state_dict(generator.state_dict())
    assert again.style.ends is not None and torch.equal(again.style.ends, generator.style.ends)


def test_the_last_window_holds_all_of_the_end():
    composer = Composer(scattering(), Sampling(seed=3, steps=2, phase_iterations=0))
    for seconds in (9.0, 9.3, 9.7, 10.01, 10.4, 11.3, 30.0):
        plan = planned(composer, SongForm(returns=False), seconds=seconds)
        assert plan.closing is not None and plan.closing.latents.shape[1] > plan.room  # longer than a window
        frame, taken = composer.generator.latent_seq_len, []
        while frame < plan.frames:
            taken.append(plan.next_frames(frame))
            frame += taken[-1]
        assert frame == plan.frames and len(taken) <= math.ceil((frame - taken[-1]) / plan.room) + 1
        plan = plan._replace(room=4 * plan.room)
        frame, taken = composer.generator.latent_seq_len, []
        while frame < plan.frames:
            taken.append(plan.next_frames(frame))
            frame += taken[-1]
        assert frame == plan.frames and min(taken) > 0 and max(taken) <= plan.room
        assert plan.closing is not None
        closing = plan.closing.latents.shape[1] + plan.edge
        assert taken[-1] >= min(closing, plan.room) - 1


def test_pieces_are_as_long_with_a_form_and_the_same_in_any_pieces(composer):
    form = SongForm()
    sound = torch.cat(list(composer.stream(60.0, form=form, item=1)), dim=-1)
    assert sound.shape[-1] == 60 * SAMPLE_RATE
    overlapped = Composer(composer.generator, composer.sampling, overlaps=True)
    assert torch.equal(sound, torch.cat(list(overlapped.stream(60.0, form=form, item=1)), dim=-1))
    plain = torch.cat(list(composer.stream(60.0, item=1)), dim=-1)
    first = round(10.0 * SAMPLE_RATE)
    assert torch.equal(sound[:, :first], plain[:, :first]) and not torch.equal(sound, plain)


def test_short_pieces_have_no_form(composer):
    window = composer.generator.latent_seq_len / composer.generator.frames_per_second
    assert maybe_planned(composer, SongForm(), seconds=window) is None
    assert maybe_planned(composer, RETURNING, seconds=THEME_SECONDS + 5.0) is None


@pytest.mark.parametrize("form", ["shards", "npy"])
def test_a_run_keeps_the_ends_of_its_music_but_of_what_breaks_off(tmp_path, form):
    random = np.random.default_rng(0)
    for number in range(8):
        time = np.arange(round((9.0 + 0.37 * number) * SAMPLE_RATE)) / SAMPLE_RATE
        tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * time) + 0.01 * random.standard_normal(len(time))
        fading = np.exp(-3.0 * np.maximum(time - time[-1] + 2.0, 0.0)) if number % 2 else 1.0
        (tmp_path / "music").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"music/{number}.flac", tone * fading, SAMPLE_RATE)
    settings = PrepareSettings(sample_rate=SAMPLE_RATE, channels=1, chunk_seconds=20.0, min_seconds=1.0)
    prepare_folder(tmp_path / "music", tmp_path / "prepared", settings)
    create_dataset(tmp_path / "prepared", tmp_path / "set", segment_seconds=2.0, validation_fraction=0.2, form=form)
    generator = scattering()
    sets = [AudioDataset.from_folder(tmp_path / "set", split) for split in ("training", "validation")]
    runtime = start_runtime(device="cpu", precision="32", threads=1)
    data = TrainingData(generator, runtime, training_set=sets[0], validation_set=sets[1])
    keep_ends(generator, data, seed=0)
    if form == "npy":
        assert generator.style.ends is None  # what is in no pair is not there
        return
    manifest, pairs = sets[0].manifest, sets[0].pairs
    assert manifest is not None and isinstance(pairs, ShardPairs) and generator.style.ends is not None
    learned = {Path(name).stem for name in manifest.songs["training"]}
    fading = [number for number in range(1, 8, 2) if str(number) in learned]
    assert 0 < len(fading) < len(learned)
    assert len(generator.style.ends.unique(dim=0)) == len(fading)
    number = fading[0]
    place = manifest.songs["training"].index(f"{number}.flac")
    whole = pairs.last(place, 10**9)
    assert whole.shape[1] == round((9.0 + 0.37 * number) * SAMPLE_RATE)
    assert np.array_equal(pairs.last(place, 1000), whole[:, -1000:])


@pytest.mark.parametrize("frames", [8, 32])
def test_pitch_classes_are_read_also_where_a_pair_is_shorter_than_what_they_are_heard_in(frames):
    generator = scattering()
    samples = frames * generator.hop_samples
    assert samples < chroma_window(SAMPLE_RATE) or frames == 32
    pairs = tonal_pairs(8)[..., : samples // 2].reshape(-1, 2, 1, samples // 2)
    runtime = start_runtime(device="cpu", precision="32", threads=1)
    data = TrainingData(generator, runtime, training_set=AudioDataset(pairs), validation_set=AudioDataset(pairs))
    fit_chroma(generator, data, frames=frames, seed=0)
    assert generator.style.chroma is not None and generator.style.chroma.is_contiguous()
    latents = generator.encode(torch.from_numpy(pairs[0].reshape(1, 1, samples)))
    classes = latents.mean(dim=1) @ generator.style.chroma[:-1] + generator.style.chroma[-1]
    assert float(classes.sum()) == pytest.approx(1.0, abs=0.1)


def test_a_control_that_moves_ends_the_plan(composer):
    frames = math.ceil(SECONDS * composer.generator.frames_per_second)
    begun = composer._planned(composer.start(0), frames, None, SongForm(), 0)
    assert begun.windows.plan is not None
    turned = composer.turn(begun, composer.generator.style.draw(9, range(1)))
    assert turned.windows.plan is None and not composer.is_over(turned)


def test_an_end_is_what_dies_away():
    time = torch.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    tone = 0.3 * torch.sin(2.0 * math.pi * 220.0 * time).unsqueeze(0)
    fading = tone * torch.exp(-2.0 * (time - 15.0).clamp_min(0.0))
    assert until_it_died_away(tone, SAMPLE_RATE) is None  # it breaks off
    ended = until_it_died_away(fading, SAMPLE_RATE)
    assert ended is not None
    silent = torch.cat([fading, torch.zeros(1, 5 * SAMPLE_RATE)], dim=1)
    cut = until_it_died_away(silent, SAMPLE_RATE)
    assert cut is not None and cut.shape[1] < silent.shape[1] - 4 * SAMPLE_RATE
    assert until_it_died_away(fading[:, -2 * SAMPLE_RATE :], SAMPLE_RATE) is None  # too short to tell
    assert until_it_died_away(torch.zeros(1, 20 * SAMPLE_RATE), SAMPLE_RATE) is None
