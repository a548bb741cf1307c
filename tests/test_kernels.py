"""The compiled inner loops: the same numbers as PyTorch's up to rounding, the same bits in pieces of any size."""

import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation import compiled
from piano.foundation.ahead import ahead
from piano.foundation.errors import CheckpointError
from piano.foundation.phase import PhaseVocoder, stft
from piano.foundation.receipt import Receipt
from piano.piano_model import VariationalAttentionModel
from piano.play.models import Models
from piano.play.place import Limits
from piano.play.programs import read_wishes
from piano.play.radio_take import EXACT, NEARLY, moves_of, receipt_of
from piano.play.radio_work import RadioWork
from piano.play.warm_up import MEASURED_PIECES, WarmUp
from piano.stages import MANY_STEPS, ONE_STEP, RECONSTRUCTED
from tests.play_address import small_model

numba = pytest.importorskip("numba")
PROJECT = Path(__file__).resolve().parent.parent
N_FFT = 1024


@pytest.fixture(scope="module")
def kernels() -> compiled.Kernels:
    found = compiled.compile_all()
    assert found is not None
    return found


def in_a_loop(name: str, values: np.ndarray) -> np.ndarray:
    """What a function of vector_math gives, computed as it is meant to be: by vector instructions in a loop."""
    from piano.foundation import vector_math

    function = getattr(vector_math, name)

    @numba.njit(fastmath={"contract"})
    def loop(values, first, second):
        for index in range(values.shape[0]):
            first[index], second[index] = function(values[index])

    @numba.njit(fastmath={"contract"})
    def loop_of_one(values, first, second):
        for index in range(values.shape[0]):
            first[index] = function(values[index])

    results = np.zeros((2, len(values)), np.float32)
    (loop if name == "cosine_and_sine" else loop_of_one)(values, *results)
    return results.astype(np.float64)


def test_logarithm_exponential_and_the_circle_are_as_exact_as_they_say() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.uniform(-80.0, 80.0, 300_001)).astype(np.float32)
    exact = np.log(values.astype(np.float64))
    assert (np.abs(in_a_loop("log32", values)[0] - exact) / np.maximum(np.abs(exact), 0.5)).max() < 2e-7
    values = random.uniform(-87.0, 88.0, 300_001).astype(np.float32)
    assert np.abs(in_a_loop("exp32", values)[0] / np.exp(values.astype(np.float64)) - 1.0).max() < 2e-7
    values = random.uniform(-1000.0, 1000.0, 300_001).astype(np.float32)
    angle = 2.0 * np.pi * values.astype(np.float64)
    assert np.abs(in_a_loop("cosine_and_sine", values) - [np.cos(angle), np.sin(angle)]).max() < 2e-7


def noisy_notes(channels: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Magnitudes (channels, frames, bins) of chords in noise, and cosines (frames, bins)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(frames * N_FFT // 4) / 16_000
    chord = sum(torch.sin(2 * math.pi * 220.0 * ratio * time) for ratio in (1.0, 1.25, 1.5, 2.0))
    noise = torch.randn(channels, len(time), generator=generator)
    cosine = torch.rand(frames, 1, generator=generator) * torch.linspace(1.0, -1.0, N_FFT // 2 + 1)
    return stft(chord + 0.1 * noise, N_FFT).abs(), cosine


@pytest.mark.parametrize("iterations", [0, 1, 4])
@pytest.mark.parametrize("kind", ["mono", "stereo", "mid and side", "pair"])
@pytest.mark.parametrize("has_prompt", [False, True])
def test_the_vocoder_sounds_the_same_with_kernels(
    kernels: compiled.Kernels, iterations: int, kind: str, has_prompt: bool
) -> None:
    magnitudes, cosine = noisy_notes(1 if kind == "mono" else 2, 150)
    prompt = torch.randn(magnitudes.shape[0], 5000, generator=torch.Generator().manual_seed(1))
    sounds = []
    for loops in (None, kernels.phase):
        vocoder = PhaseVocoder(N_FFT, iterations=iterations, shared_start=kind != "mid and side", kernels=loops)
        if has_prompt:
            vocoder.follow(prompt)
        pushed = vocoder.push(magnitudes, cosine if kind == "pair" else None)
        sounds.append(torch.cat([pushed, vocoder.finish()], dim=-1))
    assert sounds[1].shape == (magnitudes.shape[0], 150 * N_FFT // 4)
    # Where a bin is faint its phase is free, and rounding decides it: hence not every sample to the last digit.
    assert (sounds[1] - sounds[0]).norm() < 2e-3 * sounds[0].norm()


def pieces_of(vocoder: PhaseVocoder, magnitudes: Tensor, cosine: Tensor, cuts: list[int]) -> Iterator[Tensor]:
    edges = [0, *sorted(cuts), magnitudes.shape[-2]]
    for begin, end in itertools.pairwise(edges):
        yield vocoder.push(magnitudes[..., begin:end, :], cosine[begin:end])
    yield vocoder.finish()


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0, max_value=150), max_size=9), iterations=st.sampled_from([0, 3]))
def test_pushes_of_any_sizes_give_the_same_bits(cuts: list[int], iterations: int) -> None:
    loops = compiled.compile_all()
    assert loops is not None
    magnitudes, cosine = noisy_notes(2, 150)
    whole, pieces = (
        torch.cat(
            list(pieces_of(PhaseVocoder(N_FFT, iterations=iterations, kernels=loops.phase), magnitudes, cosine, each)),
            dim=-1,
        )
        for each in ([], cuts)
    )
    assert torch.equal(pieces, whole)


def test_a_copy_of_a_vocoder_goes_its_own_way(kernels: compiled.Kernels) -> None:
    magnitudes, cosine = noisy_notes(2, 300)
    other, _ = noisy_notes(2, 150, seed=7)
    vocoder = PhaseVocoder(N_FFT, iterations=2, kernels=kernels.phase)
    vocoder.push(magnitudes[:, :150], cosine[:150])
    copies = [vocoder.copy() for _ in range(2)]
    first = copies[0].push(magnitudes[:, 150:], cosine[150:])
    vocoder.push(other, cosine[150:])
    assert torch.equal(copies[1].push(magnitudes[:, 150:], cosine[150:]), first)


def build(seed: int = 0, **changes: int) -> VariationalAttentionModel:
    """A small generator with all weights at random, and a texture."""
    torch.manual_seed(seed)
    sizes = {"sample_rate": 8000, "sound_channels": 2, "n_fft": 512, "latent_stride": 2, "latent_dim": 8}
    sizes |= {"seq_len": 32_768, "latent_seq_len": 96, "encoder_channels": 16, "encoder_layers": 1, "n_channels": 32}
    sizes |= {"decoder_layers": 2, "attention_channels": 64, "num_heads": 2, "num_layers": 2, "image_bands": 6}
    generator = VariationalAttentionModel(**(sizes | changes)).eval()
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        generator.autoencoder.mean_spectrum.fill_(-3.0)
        for texture in map(generator.texture_of, (ONE_STEP, MANY_STEPS, RECONSTRUCTED)):
            texture.amount.uniform_(0.1, 0.9)
            texture.level.fill_(0.3)
            texture.contrast = torch.linspace(0.0, 0.3, 6)
    return generator


FORMS = {"image": {}, "two spectra": {"image_bands": 0}, "mono": {"sound_channels": 1}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("has_contrast", [True, False])
def test_levels_are_finished_alike(kernels: compiled.Kernels, form: str, has_contrast: bool) -> None:
    generator = build(**FORMS[form])
    if not has_contrast:
        generator.texture_of(ONE_STEP).contrast = None
    spectrum = torch.randn(2, 70, generator.autoencoder.values, generator=torch.Generator().manual_seed(2))
    plain, fast = (Composer(generator, Sampling(steps=1), kernels=loops) for loops in (None, kernels))
    with torch.inference_mode():
        for item in (None, 3):
            wanted, found = (composer.finish(spectrum, item, first_frame=30) for composer in (plain, fast))
            torch.testing.assert_close(found.magnitude, wanted.magnitude, atol=1e-6, rtol=2e-5)
            assert (found.coherence is None) == (wanted.coherence is None)
            if found.coherence is not None and wanted.coherence is not None:
                torch.testing.assert_close(found.coherence, wanted.coherence, atol=0.0, rtol=0.0)


def test_the_copy_of_a_network_computes_what_the_network_computes(kernels: compiled.Kernels) -> None:
    generator = build()
    plain, fast = (Composer(generator, Sampling(1, 3), kernels=loops) for loops in (None, kernels))
    torch.testing.assert_close(
        fast.sample_latents(200, count=2), plain.sample_latents(200, count=2), atol=2e-4, rtol=1e-4
    )
    latents = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        part = slice(7, 30)
        torch.testing.assert_close(
            fast.decode_part(latents, part), plain.decode_part(latents, part), atol=1e-5, rtol=1e-4
        )


def test_in_bfloat16_the_copy_is_as_near_to_float32_as_autocast_is(kernels: compiled.Kernels) -> None:
    generator = build()
    exact = Composer(generator, Sampling(1, 1)).sample_latents(96, count=4)
    errors = [
        float(
            (
                Composer(generator, Sampling(1, 1, dtype=torch.bfloat16), kernels=loops).sample_latents(96, count=4)
                - exact
            ).norm()
        )
        for loops in (None, kernels)
    ]
    assert 0.0 < errors[1] < 1.5 * errors[0]
    assert errors[0] < 0.05 * float(exact.norm())


def test_the_copy_follows_weights_that_change(kernels: compiled.Kernels) -> None:
    generator = build()
    composer = Composer(generator, Sampling(1, 1), kernels=kernels)
    before = composer.sample_latents(50, count=1)
    with torch.no_grad():
        generator.shortcut.out.weight.mul_(1.5)
    after = composer.sample_latents(50, count=1)
    assert not torch.equal(before, after)
    assert torch.equal(after, Composer(generator, Sampling(1, 1), kernels=kernels).sample_latents(50, count=1))


def test_a_broken_model_is_a_sentence_with_kernels_too(kernels: compiled.Kernels) -> None:
    for place in ("head.bias", "head.weight"):
        broken = build()
        with torch.no_grad():
            broken.autoencoder.decoder.get_parameter(place).view(-1)[3] = float("nan")
        for overlaps in (False, True):
            with pytest.raises(CheckpointError, match="not finite"):
                list(Composer(broken, Sampling(0, 1, 0), kernels=kernels, overlaps=overlaps).stream(1.0))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("has_kernels", [True, False])
def test_composing_and_sounding_at_once_gives_the_same_bits(steps: int, has_kernels: bool) -> None:
    loops = compiled.compile_all() if has_kernels else None
    in_turn, at_once = (
        list(Composer(build(), Sampling(2, steps, 2), kernels=loops, overlaps=overlaps).stream(12.3))
        for overlaps in (False, True)
    )
    whole = torch.cat(in_turn, dim=-1)
    assert whole.shape == (2, round(12.3 * 8000))
    assert torch.equal(torch.cat(at_once, dim=-1), whole)


def test_music_from_a_file_of_noise_ends_alike_at_once() -> None:
    generator = build()
    noise = torch.randn(150, 8, generator=torch.Generator().manual_seed(4))
    in_turn, at_once = (
        torch.cat(list(Composer(generator, Sampling(2, 1, 1), overlaps=overlaps).stream(60.0, noise=noise)), dim=-1)
        for overlaps in (False, True)
    )
    assert torch.equal(in_turn, at_once)
    assert in_turn.shape[-1] == 150 * generator.hop_samples


def test_what_is_made_ahead_comes_in_order_and_raises_where_it_is_taken() -> None:
    def counted() -> Iterator[int]:
        yield from range(5)
        raise CheckpointError("the fifth")

    taken = []
    with pytest.raises(CheckpointError, match="the fifth"):
        for number in ahead(counted()):
            taken.append(number)
    assert taken == [0, 1, 2, 3, 4]
    endless = ahead(iter(int, 1))
    assert [next(endless) for _ in range(3)] == [0, 0, 0]
    endless.close()
    assert list(endless) == []


def in_a_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_switch_and_a_missing_numba_leave_everything_to_pytorch(tmp_path: Path) -> None:
    ask = "from piano.foundation import compiled; print(compiled.kernels())"
    assert in_a_process(ask, **{compiled.SWITCH: "0"}) == "None"
    (tmp_path / "numba.py").write_text("raise ImportError('no numba for this Python')\n")
    assert in_a_process(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {ask}") == "None"


@pytest.mark.slow
def test_who_plays_live_waits_for_no_compiler_and_has_the_loops_when_they_are_there(tmp_path: Path) -> None:
    ask = """
import time
from piano.foundation import compiled
from piano.play.warm_up import Loops
loops, was_there = Loops(), compiled.is_compiled()
while not loops.are_ready(): time.sleep(0.2)
print(was_there, compiled.kernels() is not None)
"""
    assert in_a_process(ask, NUMBA_CACHE_DIR=str(tmp_path)) == "False True"


def test_a_player_changes_to_the_loops_and_a_stream_that_plays_goes_on_as_it_is(tmp_path: Path) -> None:
    models = Models({"small": small_model(tmp_path / "small"), "other": small_model(tmp_path / "other", seed=1)})
    work = WarmUp(models, lambda: None, threads=1)
    assert work.urgency() == -1.0
    work.step()
    before = models.get("small")
    assert before.kernels is None
    whole = torch.cat(list(Composer(before.generator, before.sampling).stream(3.0)), dim=-1)
    playing = before.stream(3.0)
    pieces = [next(playing)]
    steps = 0
    while work.urgency() is None or work.step() is not None:
        steps += 1
        time.sleep(0.01)
    assert models.get("small").kernels is compiled.kernels() is not None and steps > MEASURED_PIECES
    assert models.get("other").kernels is compiled.kernels()
    torch.testing.assert_close(torch.cat([*pieces, *playing], dim=-1), whole, rtol=0.0, atol=0.0)
    loops = torch.cat(list(models.get("small").stream(3.0)), dim=-1)
    assert loops.shape == whole.shape


def test_a_radio_that_plays_goes_on_with_the_loops_and_its_takes_say_so(tmp_path: Path) -> None:
    models = Models({"small": small_model(tmp_path / "small")})
    first = models.get("small")
    assert first.kernels is None

    def radio(composer: Composer, newest=None) -> RadioWork:
        return RadioWork(
            composer,
            read_wishes({"seed": 3}),
            newest=newest,
            name="small",
            sources=lambda: None,
            limits=Limits(),
            tell=lambda what: None,
        )

    def play(work: RadioWork, seconds: float) -> np.ndarray:
        while (sound := work.played(0, 2**53)).pcm.shape[0] < seconds * work.sample_rate:
            work.step()
        return sound.pcm[: round(seconds * work.sample_rate)] / 32768.0

    def receipt(work: RadioWork, begin: float, end: float) -> tuple[Receipt, str]:
        first, last = round(begin * work.sample_rate), round(end * work.sample_rate)
        moves = moves_of(work.moves(), first, last, work.sample_rate)
        found, again = receipt_of(work, moves, first, last - first, models)
        assert found is not None
        return found, again

    alone, changing = radio(first), radio(first, newest=lambda: models.get("small"))
    begun = play(changing, 1.0)
    assert receipt(changing, 0.0, 1.0)[1] == EXACT
    models.use_compiled_loops()
    sound = play(changing, 6.0)
    assert changing.composer.kernels is compiled.kernels() is not None and alone.composer.kernels is None
    np.testing.assert_array_equal(sound[: len(begun)], begun)
    usual = play(alone, 6.0)
    differs = int(np.flatnonzero(np.abs(sound - usual).max(axis=1))[0])
    assert len(begun) <= differs
    # One step of 16 bits where the loops change. Later the phases drift apart, as after any rounding; levels do not.
    assert np.abs(sound - usual)[differs : differs + 4000].max() < 1.5 / 32768.0
    changed, usual = (stft(torch.tensor(wave.T, dtype=torch.float32), 512).abs() for wave in (sound, usual))
    assert float((changed - usual).norm() / usual.norm()) < 0.05
    told, again = receipt(changing, 0.0, 1.0)
    assert again == EXACT and told.versions["loops"] == "torch"
    told, again = receipt(changing, 0.0, 6.0)
    assert again == NEARLY and told.versions["loops"] == "torch"
    # Another piece is the new loops' alone, once the one before has faded out.
    changing.hear(5 * changing.sample_rate)
    changing.move(read_wishes({"seed": 4}), 6 * changing.sample_rate, 1)
    play(changing, 9.0)
    told, again = receipt(changing, 7.5, 8.5)
    assert again == EXACT and told.versions["loops"] != "torch"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ask = "from piano.foundation import compiled; print(compiled.kernels())"
    assert in_a_process(ask, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache")).startswith(("None", "Kernels"))
