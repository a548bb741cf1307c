"""The generator's promises: identity, continuity, repeatability, bounded pieces; and the data set's crops."""

import math

import numpy as np
import pytest
import torch

from piano import piano_model
from piano.composer import Composer, Sampling, take_frames
from piano.foundation.errors import CheckpointError
from piano.foundation.randomness import keyed_noise
from piano.latent_style import StyleCondition
from piano.piano_encoder_decoder import ChannelLevels
from piano.piano_model import AudioDataset, LatentFlow, LatentNormaliser, VariationalAttentionModel
from piano.split_and_append_chunks import split_and_append_chunks
from tests.tiny_run import SAMPLE_RATE, SMALL, tonal_pairs


def build(**changes) -> VariationalAttentionModel:
    """A small generator whose attention block is not the start's zero map."""
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**(SMALL["model"] | changes)).eval()
    for block in (generator.attention, generator.shortcut):
        torch.nn.init.normal_(block.out.weight, std=0.1)
    generator.autoencoder.fit_spectrum(torch.from_numpy(tonal_pairs(4)[:, 0]))
    return generator


@pytest.fixture(scope="module")
def generator() -> VariationalAttentionModel:
    return build()


def test_the_attention_block_is_the_identity_on_clean_latents_and_synthesis_on_noise():
    torch.manual_seed(0)
    flow = LatentFlow(8, 32, 2, 2, style_dim=5)
    torch.nn.init.normal_(flow.out.weight)
    latents = torch.randn(2, 12, 8)
    condition = StyleCondition(torch.randn(2, 5), torch.randn(2, 12, 4), torch.ones(2, 1))
    assert torch.equal(flow(latents, torch.zeros(2, 12), condition), latents)
    flow.out.weight.data.zero_()
    assert torch.equal(flow(latents, torch.ones(2, 12), condition), torch.zeros_like(latents))


def test_the_attention_block_listens_to_style_and_pulse():
    torch.manual_seed(0)
    flow = LatentFlow(8, 32, 2, 2, style_dim=5)
    torch.nn.init.normal_(flow.out.weight)
    for parameter in flow.transformer.modulation.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    noise, level = torch.randn(2, 12, 8), torch.ones(2, 12)
    condition = StyleCondition(torch.randn(2, 5), torch.randn(2, 12, 4), torch.ones(2, 1))
    music = flow(noise, level, condition)
    for other in (
        condition._replace(vector=-condition.vector),
        condition._replace(signals=-condition.signals),
        condition.masked(torch.zeros(2, 1)),
    ):
        assert (flow(noise, level, other) - music).abs().mean() > 1e-3


def music(generator: VariationalAttentionModel, seed: int, steps: int, **more) -> Composer:
    return Composer(generator, Sampling(seed, steps, **more))


def test_forward_is_a_one_step_composition_in_which_given_frames_stay(generator):
    noise, latents = torch.randn(2, 2, 12, 8, generator=torch.Generator().manual_seed(0))
    level = torch.ones(2, 12)
    level[:, :4] = 0.1
    condition = generator.condition_on(generator.style.draw(0, range(2)), 12)
    made = generator(noise, level, latents, condition)
    assert torch.equal(made[:, :4], latents[:, :4])
    noisy = torch.cat([0.9 * latents[:, :4] + 0.1 * noise[:, :4], noise[:, 4:]], dim=1)
    torch.testing.assert_close(made[:, 4:], generator.shortcut(noisy, level, condition)[:, 4:])


def test_items_made_together_are_those_that_are_made_one_by_one(generator):
    composer = music(generator, 5, 2, phase_iterations=2)
    together, alone = composer.generate_together(1.3, count=3), composer.generate(1.3, count=3)
    for sound, same in zip(together, alone, strict=True):
        assert sound.shape == same.shape == (1, round(1.3 * SAMPLE_RATE))
        torch.testing.assert_close(sound, same, rtol=1e-2, atol=1e-3)


def test_of_items_made_together_one_that_is_a_pause_is_drawn_again():
    generator = build()
    sleepy = Sleepy(generator, Sampling(3, 2, phase_iterations=0))
    loudness = unchecked_loudness(generator)
    generator.texture_of(2).range = torch.stack([loudness - 1.0, loudness + 1.0])
    made = sleepy.generate_together(0.5, count=2)
    assert sleepy.attempt == 1
    assert all(level_db(sound) > -60.0 for sound in made)


def test_the_normaliser_whitens_and_leaves_a_dead_dimension_small():
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(5000, 6, generator=random) @ torch.randn(6, 6, generator=random) + 3.0
    latents[:, 2] = 1.0
    normaliser = LatentNormaliser(6)
    normaliser.fit(latents)
    white = normaliser(latents)
    assert white.mean(dim=0).abs().max() < 1e-3
    alive = [0, 1, 3, 4, 5]
    covariance = torch.cov(white.T)
    assert torch.diag(covariance)[alive].max() < 1.01
    assert white[:, 2].abs().max() < 0.1
    torch.testing.assert_close(normaliser.inverse(white), latents, rtol=1e-3, atol=1e-3)


def test_the_same_seed_gives_the_same_music_and_another_seed_other_music(generator):
    first, again = music(generator, 3, 2).generate(1.5), music(generator, 3, 2).generate(1.5)
    assert torch.equal(first, again)
    assert not torch.allclose(first, music(generator, 4, 2).generate(1.5), atol=1e-3)
    assert first.shape == (1, 1, round(1.5 * SAMPLE_RATE))


def test_an_item_does_not_depend_on_how_many_are_made(generator):
    one = music(generator, 5, 1).generate(1.0, count=1)
    three = music(generator, 5, 1).generate(1.0, count=3)
    assert torch.equal(one[0], three[0])
    assert not torch.allclose(three[0], three[1], atol=1e-3)


def test_a_longer_piece_begins_like_a_shorter_one(generator):
    short, long = music(generator, 1, 1).generate(2.0), music(generator, 1, 1).generate(6.0)
    settled = short.shape[-1] - 40 * generator.autoencoder.hop_length  # the end of a piece hears no future
    torch.testing.assert_close(long[..., :settled], short[..., :settled], rtol=1e-4, atol=1e-4)


def test_pieces_equal_the_whole(generator):
    latents = music(generator, 0, 1).sample_latents(100, count=1)
    generator.texture_of(16).amount.fill_(0.5)
    composer = music(generator, 3, 16, phase_iterations=4)
    for item in (None, 0):
        whole = composer.decode(latents, first_item=item)
        for sizes in ([100], [1] * 100, [7, 30, 3, 60], [32, 16, 16, 36]):
            pieces = iter(latents.split(sizes, dim=1))
            streamed = list(composer.decode_stream(pieces, first_item=item))
            torch.testing.assert_close(torch.cat(streamed, dim=-1), whole, rtol=1e-4, atol=1e-4)
    generator.texture_of(16).amount.zero_()


def test_one_step_takes_the_shortcut_and_many_the_flow():
    generator = build()
    torch.nn.init.normal_(generator.shortcut.out.weight, std=0.1)
    noise = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(0))
    condition = generator.condition_on(generator.style.draw(0, range(1)), 32)
    one, two = (music(generator, 0, steps).integrate(noise, condition=condition) for steps in (1, 2))
    torch.nn.init.normal_(generator.shortcut.out.weight, std=0.1)
    assert not torch.equal(music(generator, 0, 1).integrate(noise, condition=condition), one)
    assert torch.equal(music(generator, 0, 2).integrate(noise, condition=condition), two)
    generator.open_shortcut()
    endpoint = generator.attention(noise, torch.ones(1, 32), condition)
    torch.testing.assert_close(music(generator, 0, 1).integrate(noise, condition=condition), endpoint)


def test_a_prefix_is_kept_as_it_is_and_changes_what_follows(generator):
    noise = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(0))
    prefix = torch.randn(1, 10, 8, generator=torch.Generator().manual_seed(1))
    condition = generator.condition_on(generator.style.draw(0, range(len(noise))), noise.shape[1])
    free = music(generator, 0, 3).integrate(noise, condition=condition)
    bound = music(generator, 0, 3).integrate(noise, condition=condition, prefix=prefix)
    assert torch.equal(bound[:, :10], prefix)
    assert not torch.allclose(free[:, 10:], bound[:, 10:], atol=1e-3)


def test_a_continuation_has_the_asked_length_and_listens_to_its_start(generator):
    starts = torch.from_numpy(tonal_pairs(2, seed=9)[:, 0])
    first, second = (music(generator, 0, 1).continue_(start, 1.0) for start in starts)
    assert first.shape == (1, SAMPLE_RATE)
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_noise_file_of_white_noise_is_white_in_the_latents(generator):
    count = 4000
    waveform = torch.randn(count * generator.hop_samples, generator=torch.Generator().manual_seed(0))
    latents = Composer(generator).noise_from_waveform(waveform)
    assert latents.shape == (count, 8)
    error = torch.cov(latents.T) - torch.eye(8)
    assert error.abs().max() < 4.0 * (2.0 / count) ** 0.5
    assert latents.mean(dim=0).abs().max() < 4.0 / count**0.5


def test_noise_depends_on_the_frame_and_not_on_the_piece_it_is_asked_in():
    whole = keyed_noise(7, "music", first_frame=0, frames=300, channels=4)
    piece = keyed_noise(7, "music", first_frame=100, frames=150, channels=4)
    assert torch.equal(piece, whole[100:250])
    assert not torch.equal(whole, keyed_noise(8, "music", first_frame=0, frames=300, channels=4))


def test_take_frames_stops_in_time():
    pieces = iter(torch.arange(40.0).reshape(1, 20, 2).split(8, dim=1))
    taken = list(take_frames(pieces, 11))
    assert torch.equal(torch.cat(taken, dim=1), torch.arange(22.0).reshape(1, 11, 2))


def test_a_crop_across_the_seam_is_the_song_as_it_was():
    pairs = np.arange(2 * 2 * 2 * 10, dtype=np.float32).reshape(2, 2, 2, 10)
    dataset = AudioDataset(pairs)
    whole = np.concatenate([pairs[1, 0], pairs[1, 1]], axis=-1)
    for offset, samples in ((0, 10), (3, 4), (5, 10), (10, 10), (12, 5), (0, 20)):
        assert np.array_equal(dataset.crop(1, offset, samples).numpy(), whole[:, offset : offset + samples])
    assert np.array_equal(dataset[1].numpy(), whole)
    assert np.array_equal(AudioDataset(pairs[::-1])[0].numpy(), whole)  # pairs in any order and spacing
    with pytest.raises(IndexError):
        dataset[2]


def test_a_crop_reads_its_pair_through_views_of_the_file(tmp_path, monkeypatch):
    np.save(tmp_path / "pairs.npy", np.arange(2 * 2 * 1 * 10, dtype=np.float32).reshape(2, 2, 1, 10))
    mapped, seen = np.load(tmp_path / "pairs.npy", mmap_mode="r"), []

    def seen_by(pairs):
        seen.append(split_and_append_chunks(pairs))
        return seen[-1]

    monkeypatch.setattr(piano_model, "split_and_append_chunks", seen_by)
    assert AudioDataset(mapped).crop(1, 8, 4).tolist() == [[28.0, 29.0, 30.0, 31.0]]
    assert len(seen) == 1
    assert isinstance(seen[0], np.memmap)
    assert np.shares_memory(seen[0], mapped)


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 54, 55, 100])
def test_noise_for_whole_windows_is_what_a_stream_takes(generator, frames):
    composer = music(generator, 0, 1)
    needed, have = composer.whole_windows(frames), 0
    for piece in composer.stream_latents(count=1, noise=torch.zeros(needed, generator.latent_dim)):
        assert have < frames  # not a window too many
        have += piece.shape[1]
    assert have == needed >= frames


def test_a_window_that_the_noise_ends_in_is_composed_too(generator):
    noise = torch.randn(63, generator.latent_dim, generator=torch.Generator().manual_seed(0))
    pieces = list(music(generator, 0, 2).stream_latents(count=1, noise=noise))
    assert [piece.shape[1] for piece in pieces] == [32, 22, 9]
    assert all(bool(torch.isfinite(piece).all()) for piece in pieces)


def level_db(waveform: torch.Tensor) -> float:
    return 20 * float(waveform.square().mean().sqrt().log10())


def unchecked_loudness(generator: VariationalAttentionModel) -> torch.Tensor:
    """What the first window has before anything is done about it."""
    composer = music(generator, 3, 2)
    first = next(composer.stream_latents(count=1))
    return composer.finish(generator.decode_spectrum(first), 0).magnitude.square().mean().log() / 2


@pytest.mark.parametrize(("shift", "expected"), [(-2.0, -20 * math.log10(math.e)), (2.0, 20 * math.log10(math.e))])
def test_a_composition_is_brought_into_the_range_of_music_with_one_gain(shift, expected):
    generator = build()
    texture = generator.texture_of(2)
    texture.level.fill_(3.0)
    loudness = unchecked_loudness(generator)
    texture.range = torch.stack([loudness - 1.0, loudness + 1.0])  # one neper on both sides
    usual = music(generator, 3, 2, phase_iterations=0).generate(2.0)[0]
    texture.level.fill_(3.0 + shift)
    moved = music(generator, 3, 2, phase_iterations=0).generate(2.0)[0]
    assert level_db(moved) - level_db(usual) == pytest.approx(expected, abs=0.5)
    assert float(torch.corrcoef(torch.stack([usual[0], moved[0]]))[0, 1]) > 0.95
    short = music(generator, 3, 2, phase_iterations=0).generate(0.5)[0]
    torch.testing.assert_close(short[..., :2000], moved[..., :2000])


class Sleepy(Composer):
    """The style that is drawn first is a pause."""

    attempt = 0

    def finish(self, spectrum, first_item, **place):
        finished = super().finish(spectrum, first_item, **place)
        assert isinstance(finished, ChannelLevels)
        return finished._replace(log_magnitude=finished.log_magnitude - (12.0 if self.attempt == 0 else 0.0))

    def begin(self, *, attempt: int = 0, **arguments):
        self.attempt = attempt
        return super().begin(attempt=attempt, **arguments)


def test_where_a_style_is_a_pause_another_is_drawn():
    generator = build()
    sleepy = Sleepy(generator, Sampling(3, 2, phase_iterations=0))
    texture, loudness = generator.texture_of(2), unchecked_loudness(generator)
    texture.range = torch.stack([loudness - 1.0, loudness + 1.0])
    awake = sleepy.generate(1.0)[0]
    assert sleepy.attempt == 1
    usual = float(loudness) * 20 * math.log10(math.e) - 10 * math.log10(3 / 8)
    assert abs(level_db(awake) - usual) < 9.5


def test_a_broken_model_is_a_sentence(generator):
    broken = build()
    with torch.no_grad():
        broken.autoencoder.decoder.head.bias[3] = float("nan")
    one = music(broken, 0, 1)
    for make in (lambda: one.generate(1.0), lambda: one.continue_(torch.randn(1, 8000), 1.0)):
        with pytest.raises(CheckpointError, match="not finite"):
            make()
