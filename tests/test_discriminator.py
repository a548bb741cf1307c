"""The judges: minibatch discrimination sees copies, prefixes and levels matter, scores are one number per item."""

import pytest
import torch

from piano.discriminator import Discriminator_with_mdisc, MinibatchDiscrimination, compressed_planes
from piano.foundation.layers import LatentTransformer


def build(**changes) -> Discriminator_with_mdisc:
    torch.manual_seed(0)
    keywords = {
        "sound_channels": 1,
        "spectrum_values": 257,
        "latent_dim": 8,
        "ear_channels": 16,
        "wave_windows": [256, 128],
        "attention_channels": 32,
        "num_heads": 2,
        "num_layers": 2,
    }
    return Discriminator_with_mdisc(**(keywords | changes))


def test_identical_items_score_one_and_far_items_score_nothing():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(16)
    torch.nn.init.normal_(layer.project.weight, std=5.0)
    item = torch.randn(1, 16)
    assert torch.allclose(layer(item.expand(6, -1), is_real=False), torch.ones(6, 16))
    assert layer(torch.randn(6, 16), is_real=False).max() < 0.05


def test_likeness_does_not_depend_on_batch_size():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(16)
    items = torch.randn(512, 16)
    small = torch.stack([layer(part, is_real=True).mean() for part in items.split(8)]).mean()
    assert layer(items, is_real=True).mean().item() == pytest.approx(small.item(), rel=0.02)


def test_the_queue_lets_a_single_item_see_a_crowd_of_its_own_kind():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(16, queue_size=8)
    item = torch.randn(1, 16)
    assert layer(item, is_real=True).abs().max() == 0.0
    layer.remember(item.expand(3, -1), is_real=True)
    assert torch.allclose(layer(item, is_real=True), torch.ones(1, 16))
    assert layer(item, is_real=False).abs().max() == 0.0
    for _ in range(4):
        layer.remember(torch.randn(3, 16), is_real=True)
    assert layer.filled.tolist() == [0, 8]
    assert not torch.equal(layer.queue[1], item.expand(8, -1))


def test_gradient_reaches_an_item_but_not_the_crowd():
    layer = MinibatchDiscrimination(16)
    own, crowd = torch.randn(2, 16, requires_grad=True), torch.randn(5, 16, requires_grad=True)
    layer.remember(crowd, is_real=True)
    layer(own, is_real=True).sum().backward()
    assert own.grad is not None and crowd.grad is None
    assert own.grad.abs().sum() > 0


def test_every_family_judges_what_it_is_given():
    judge = build()
    wave, latents = torch.randn(3, 1, 2048), torch.randn(3, 20, 8)
    spectrum = torch.randn(3, 16, 257)
    assert set(judge(wave=wave)) == {"ear"}
    assert set(judge(latents=latents)) == {"professor"}
    both = judge(wave=wave, spectrum=spectrum, latents=latents)
    assert set(both["ear"].logits) == {"codec", "wave_256", "wave_128"}
    assert set(both["professor"].logits) == {"frame", "second", "whole"}
    score = judge.score(spectrum=spectrum, latents=latents)
    assert score.shape == (3,)
    assert ((score > 0) & (score < 1)).all()


def test_a_prefix_changes_the_judgement_of_what_follows():
    judge = build()
    rest = torch.randn(2, 12, 8)
    first, second = (judge(latents=rest, prefix=torch.randn(2, 6, 8))["professor"].per_item() for _ in range(2))
    assert not torch.allclose(first, second)
    as_prefix = judge(latents=rest[:, 6:], prefix=rest[:, :6])["professor"].per_item()
    assert not torch.allclose(as_prefix, judge(latents=rest)["professor"].per_item())


def test_a_permuted_batch_gives_permuted_judgements():
    judge = build().eval()
    latents, order = torch.randn(5, 20, 8), torch.tensor([3, 1, 4, 0, 2])
    plain, permuted = judge(latents=latents)["professor"], judge(latents=latents[order])["professor"]
    for name, logits in plain.logits.items():
        torch.testing.assert_close(permuted.logits[name], logits[order], rtol=1e-4, atol=1e-5)


def test_the_professor_starts_from_the_pretrained_attention():
    judge = build()
    learned = LatentTransformer(8, 32, 2, 4)
    judge.professor.start_from(learned)
    own = judge.professor.transformer.state_dict()
    assert all(torch.equal(own[name], learned.state_dict()[name]) for name in own)


def test_the_reported_origin_moves_to_the_midpoint_of_real_and_fake():
    judge = build()
    real, fake = (judge(latents=torch.randn(4, 20, 8))["professor"], judge(latents=torch.zeros(4, 20, 8))["professor"])
    for _ in range(200):
        judge.centre("professor", real.per_item(), fake.per_item())
    middle = 0.5 * (real.per_item().mean() + fake.per_item().mean())
    assert judge.professor_offset.item() == pytest.approx(middle.item(), abs=1e-3)


def test_planes_of_silence_have_finite_values_and_gradients():
    wave = torch.zeros(1, 1, 1024, requires_grad=True)
    planes = compressed_planes(wave, 256)
    planes.square().sum().backward()
    assert torch.isfinite(planes).all()
    assert wave.grad is not None
    assert torch.isfinite(wave.grad).all()


def test_the_way_back_through_compressed_planes_is_that_of_finite_differences() -> None:
    wave = torch.randn(2, 2, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda heard: compressed_planes(heard, 16), wave)
    silence = torch.zeros(1, 1, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(compressed_planes(silence, 16).sum(), silence)
    assert torch.isfinite(gradient).all()
