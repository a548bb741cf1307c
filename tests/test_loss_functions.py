"""The contract of every loss: range, zero, gradient, direction; and the faults that were made elsewhere before."""

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from piano import loss_functions
from piano.foundation.errors import ConfigError
from piano.foundation.features import music_features
from piano.loss_functions import (
    CONFUSION,
    DISCRIMINATOR_TERMS,
    MUSIC_TERMS,
    Music,
    StepOutputs,
    band_energy_loss,
    compute_std_loss_d,
    confusion_floor,
    discriminator_loss,
    endpoint_flow_loss,
    energy_score_loss,
    evaluate_terms,
    feature_matching_loss,
    finite_difference_penalty,
    generator_adversarial_loss,
    kl_divergence_loss,
    kl_loss_songs_d,
    magnitude_loss,
    melody_loss,
    melody_loss_d,
    min_max_stats_loss_d,
    no_seconds_loss,
    no_silence_loss,
    normalised_discriminator_loss,
    share_music_features,
    silence_loss,
    silence_loss_d,
    spectrum_loss,
)

RATE = 16_000
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, level: float = 1.0, seed: int = 0) -> Tensor:
    return level * torch.randn(*shape, generator=seeded(seed))


def tones(pitches: list[float], seconds: float = 2.0) -> Tensor:
    """Notes with six partials at once, (1, samples)."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    partials = [
        torch.sin(2 * math.pi * 440.0 * 2 ** ((pitch - 69) / 12) * k * time + k * k + pitch) / k
        for pitch in pitches
        for k in range(1, 7)
    ]
    return (0.1 * torch.stack(partials).sum(dim=0) / len(pitches)).float()[None]


def tune(seed: int, seconds: float = 2.0) -> Tensor:
    """Four plucked two-note chords of a major key a second, key and loudness by the seed, (1, samples)."""
    generator = seeded(seed)
    fade = torch.exp(-6.0 * torch.arange(RATE // 4) / RATE)
    root = 48 + int(torch.randint(0, 20, (1,), generator=generator))
    degrees = torch.randint(0, 8, (round(seconds * 4),), generator=generator).tolist()
    scale = (0, 2, 4, 5, 7, 9, 11, 12)
    plucked = [tones([root + scale[d], root + scale[d] + (4 if d % 3 else 7)], 0.25) * fade for d in degrees]
    return torch.cat(plucked, dim=1) * (0.5 + float(torch.rand(1, generator=generator)))


@pytest.fixture(scope="module")
def real() -> Tensor:
    """Six clips that stand for real music, (6, 1, 32000)."""
    return torch.stack([tune(seed) for seed in range(6)])


MUSIC_LOSSES: dict[str, Callable[[Music, Music], Tensor]] = {
    "no_seconds_loss": lambda real, fake: no_seconds_loss(fake, real, sample_rate=RATE),
    "no_silence_loss": lambda real, fake: no_silence_loss(fake, real, sample_rate=RATE),
    "silence_loss": lambda real, fake: silence_loss(fake, real, sample_rate=RATE),
    "melody_loss": lambda real, fake: melody_loss(fake, real, sample_rate=RATE),
    "melody_loss_d": lambda real, fake: melody_loss_d(real, fake, sample_rate=RATE),
    "silence_loss_d": lambda real, fake: silence_loss_d(real, fake, sample_rate=RATE),
    "compute_std_loss_d": lambda real, fake: compute_std_loss_d(real, fake),
    "min_max_stats_loss_d": lambda real, fake: min_max_stats_loss_d(real, fake),
    "kl_loss_songs_d": lambda real, fake: kl_loss_songs_d(real, fake, sample_rate=RATE),
}
JUDGED_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "melody_loss_d": lambda real, fake, logits: melody_loss_d(real, fake, logits, sample_rate=RATE),
    "silence_loss_d": lambda real, fake, logits: silence_loss_d(real, fake, logits, sample_rate=RATE),
    "compute_std_loss_d": lambda real, fake, logits: compute_std_loss_d(real, fake, logits),
    "min_max_stats_loss_d": lambda real, fake, logits: min_max_stats_loss_d(real, fake, logits),
    "kl_loss_songs_d": lambda real, fake, logits: kl_loss_songs_d(real, fake, logits, sample_rate=RATE),
}
every_music_loss = pytest.mark.parametrize("loss", MUSIC_LOSSES.values(), ids=MUSIC_LOSSES.keys())
every_judged_loss = pytest.mark.parametrize("loss", JUDGED_LOSSES.values(), ids=JUDGED_LOSSES.keys())


def silenced(real: Tensor, share: float) -> Tensor:
    """The first part of every clip silent."""
    fake = real.clone()
    fake[..., : round(share * real.shape[-1])] = 0.0
    return fake


def held(real: Tensor, share: float) -> Tensor:
    """The last part of every clip one and the same chord."""
    samples = round(share * real.shape[-1])
    return torch.cat([real[..., samples:], tones([60, 64, 67])[:, :samples].expand(len(real), 1, -1)], dim=-1)


def drowned(real: Tensor, share: float) -> Tensor:
    """The last part of every clip noise."""
    samples = round(share * real.shape[-1])
    return torch.cat([real[..., samples:], noise(*real.shape, level=0.1)[..., :samples]], dim=-1)


def clashing(real: Tensor, share: float) -> Tensor:
    return (1.0 - share) * real + share * 2.0 * tones([60, 61, 62])


def quieter(real: Tensor, share: float) -> Tensor:
    return real * 10.0 ** (-2.0 * share)


def lifted(real: Tensor, share: float) -> Tensor:
    return real + 0.3 * share


def alike(real: Tensor, share: float) -> Tensor:
    return (1.0 - share) * real + share * real[:1]


LADDERS = {
    "no_seconds_loss": (clashing,),
    "no_silence_loss": (silenced, quieter),
    "silence_loss": (silenced, quieter, drowned),
    "melody_loss": (held, drowned, clashing),
    "melody_loss_d": (held, drowned, clashing),
    "silence_loss_d": (silenced, quieter),
    "compute_std_loss_d": (quieter, drowned),
    "min_max_stats_loss_d": (lifted, quieter, drowned),
    "kl_loss_songs_d": (alike, held),
}
AWKWARD = {
    "digital silence": torch.zeros(2, 1, 16_000),
    "full-scale square": (torch.arange(32_000).view(2, 1, 16_000) // 50 % 2 * 2 - 1).float(),
    "batch of one": noise(1, 1, 16_000, level=0.1),
    "stereo": noise(3, 2, 16_000, level=0.1),
    "one silent clip": torch.stack([torch.zeros(1, 16_000), tones([60], 1.0)]),
}


def faint(level: float) -> Tensor:
    return noise(3, 1, 24_000, level=level)


STARTS = {
    "no_seconds_loss": (lambda: tones([60, 61], 1.5) + faint(1e-5), 1e-3),
    "no_silence_loss": (lambda: faint(1e-4), 1e-3),
    "silence_loss": (lambda: faint(1e-3), 1e-3),
    "melody_loss": (lambda: tones([60, 64, 67], 1.5) + faint(1e-3), 2e-3),
    "melody_loss_d": (lambda: tones([60, 64, 67], 1.5) + faint(1e-3), 4e-3),
    "silence_loss_d": (lambda: faint(1e-3), 1e-3),
    "compute_std_loss_d": (lambda: faint(1e-3), 1e-3),
    "min_max_stats_loss_d": (lambda: faint(1e-3) + 0.05, 1e-3),
    "kl_loss_songs_d": (lambda: tones([60, 64, 67], 1.5) + faint(1e-2), 1e-3),
}

# --- The contract of the music losses ---


@every_music_loss
def test_music_losses_are_zero_on_a_permutation_of_the_real_music(loss, real: Tensor) -> None:
    assert loss(real, real[[3, 1, 5, 0, 2, 4]]).item() == pytest.approx(0.0, abs=1e-6)


@every_music_loss
def test_music_losses_lie_between_zero_and_one_whatever_they_are_given(loss, real: Tensor) -> None:
    mono = [waveform for waveform in AWKWARD.values() if waveform.shape[1] == 1]
    for fake in (*mono, 100.0 * real, noise(6, 1, 32_000), real.flip(-1), torch.ones(2, 1, 20_000)):
        for first, second in ((real, fake), (fake, real)):
            assert 0.0 <= loss(first, second).item() <= 1.0 + 1e-6


@every_music_loss
@pytest.mark.parametrize("fake", AWKWARD.values(), ids=AWKWARD.keys())
def test_music_losses_and_their_gradients_are_finite_on_awkward_music(loss, fake: Tensor) -> None:
    reference = noise(3, fake.shape[1], 16_000, level=0.1, seed=1)
    for real in (reference, fake):
        leaf = fake.clone().requires_grad_()
        value = loss(real, leaf)
        value.backward()
        assert value.isfinite()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@every_music_loss
def test_music_losses_have_the_right_gradient(loss) -> None:
    real = torch.stack([noise(1, 24_000, level=0.2), tune(0, 1.5), tune(4, 1.5)]).double()
    fake = torch.stack([torch.cat([tones([low, low + 1], 0.5), tones([low + 4], 1.0)], dim=1) for low in (60, 63.5)])
    fake[..., 18_000:] = 0.0  # nearly silent
    fake = (fake + noise(2, 1, 24_000, level=1e-3, seed=2)).double().requires_grad_()
    assert 1e-4 < loss(real, fake).item() < 1.0
    assert torch.autograd.gradcheck(lambda x: loss(real, x), fake, fast_mode=True)


@pytest.mark.parametrize(
    ("name", "ladder"), [(name, ladder) for name, ladders in LADDERS.items() for ladder in ladders]
)
def test_music_losses_grow_as_the_music_gets_worse(name: str, ladder, real: Tensor) -> None:
    values = torch.stack([MUSIC_LOSSES[name](real, ladder(real, share)) for share in STEPS])
    assert values[0].item() == pytest.approx(0.0, abs=1e-6)
    assert (values.diff() >= 0).all(), values.tolist()
    assert values[-1].item() > 0.01
    assert values[-1].item() > values[2].item() or values[2].item() == 1.0


@pytest.mark.parametrize("name", STARTS)
def test_following_the_gradient_of_a_music_loss_lowers_it_tenfold(name: str, real: Tensor) -> None:
    start, rate = STARTS[name]
    goal = music_features(real[:3, :, :24_000], RATE)
    fake = start().requires_grad_()
    optimizer = torch.optim.Adam([fake], lr=rate)
    first = value = MUSIC_LOSSES[name](goal, fake)
    for _ in range(150):
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        value = MUSIC_LOSSES[name](goal, fake)
        if value.item() <= 0.1 * first.item():
            break
    assert first.item() > 0.0
    assert value.item() <= 0.1 * first.item()


def test_a_chord_too_many_is_told_from_a_chord_of_the_style(real: Tensor) -> None:
    """Melody losses hear both faults: harmony that never moves, and harmony that never settles."""
    for loss in (MUSIC_LOSSES["melody_loss"], MUSIC_LOSSES["melody_loss_d"]):
        fresh = loss(real, torch.stack([tune(seed) for seed in range(100, 106)])).item()
        assert loss(real, held(real, 1.0)).item() > 3 * fresh
        assert loss(real, drowned(real, 1.0)).item() > 3 * fresh


def test_a_melody_played_backwards_is_another_melody_unless_it_is_a_palindrome() -> None:
    """Same notes, same repeats: only the steps differ."""
    upwards = torch.cat([tones([pitch], 0.4) for pitch in (60, 64, 67) * 3], dim=1)[None]
    palindrome = torch.cat([tones([pitch], 0.4) for pitch in (60, 64, 67, 60, 67, 64, 60)], dim=1)[None]
    backwards = melody_loss_d(upwards, upwards.flip(-1), sample_rate=RATE).item()
    assert backwards > 0.02
    assert backwards > 3 * melody_loss_d(palindrome, palindrome.flip(-1), sample_rate=RATE).item()


def test_another_beat_is_another_melody() -> None:
    """The same chord throughout, with clicks: only the tempo differs."""

    def clicking(every: float, first: float = 0.0) -> Tensor:
        clip = tones([60, 64, 67], 4.0)[None].clone()
        starts = torch.arange(first, 3.9, every).mul(RATE).long()
        clip[..., (starts[:, None] + torch.arange(400)).flatten()] += noise(400 * len(starts), level=0.1)
        return clip

    other_tempo = melody_loss_d(clicking(0.5), clicking(0.36), sample_rate=RATE).item()
    assert other_tempo > 0.03
    assert other_tempo > 3 * melody_loss_d(clicking(0.5), clicking(0.5, 0.2), sample_rate=RATE).item()


def test_loudness_that_changes_within_a_clip_is_not_loudness_that_differs_between_clips() -> None:
    """Equal levels in sum over the batch; only their spread within each clip differs."""
    levels = torch.tensor([0.1, 0.01])
    between = noise(2, 1, 33_000) * levels[:, None, None]
    within = noise(2, 1, 33_000) * levels[torch.arange(33_000) // 1_000 % 2]
    assert compute_std_loss_d(between, within).item() > 0.2


def test_clashes_below_hearing_do_not_count() -> None:
    clip = tones([60, 64, 67], 4.0)[None].clone()
    clip[..., 32_000:] = 2e-3 * tones([60, 61, 62])
    assert no_seconds_loss(clip, sample_rate=RATE).item() < 0.02
    clip[..., 32_000:] *= 500.0
    assert no_seconds_loss(clip, sample_rate=RATE).item() > 0.1


@every_judged_loss
def test_judging_is_no_harder_where_the_statistics_agree(loss, real: Tensor) -> None:
    logits = torch.linspace(-3, 3, 6)
    assert loss(real, real[[3, 1, 5, 0, 2, 4]], logits).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("melody_loss_d", held),
        ("silence_loss_d", silenced),
        ("compute_std_loss_d", quieter),
        ("min_max_stats_loss_d", lifted),
        ("kl_loss_songs_d", alike),
    ],
)
def test_judging_is_harder_on_wrong_music_and_teaches_the_judge_only(name: str, fault, real: Tensor) -> None:
    fake = fault(real, 1.0).requires_grad_()
    logits = torch.full((6,), 0.5, requires_grad=True)
    value = JUDGED_LOSSES[name](real, fake, logits)
    (on_logits,) = torch.autograd.grad(value, logits)
    assert 0.02 < value.item() <= functional.softplus(torch.tensor(0.5)).item() + 1e-6
    assert (on_logits >= 0).all()  # descent lowers the logits of the fakes
    assert on_logits.sum().item() > 0.01
    assert not JUDGED_LOSSES[name](real, fake, logits.detach()).requires_grad


@every_judged_loss
@pytest.mark.parametrize("fake", AWKWARD.values(), ids=AWKWARD.keys())
def test_judging_awkward_music_stays_finite(loss, fake: Tensor) -> None:
    logits = torch.zeros(len(fake), 5, requires_grad=True)
    value = loss(noise(3, fake.shape[1], 16_000, level=0.1, seed=1), fake, [logits, logits[:, 0]])
    value.backward()
    assert 0.0 <= value.item() <= CONFUSION + 1e-6
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", MUSIC_TERMS)
def test_music_losses_hear_the_same_in_features_as_in_waveforms(name: str, real: Tensor) -> None:
    function = name.replace("_d", "_loss_d") if name.endswith("_d") else f"{name}_loss"
    loss = MUSIC_LOSSES[{"kl_songs_loss_d": "kl_loss_songs_d"}.get(function, function)]
    fake = silenced(clashing(real, 0.3), 0.3)
    from_waveforms = loss(real, fake)
    from_features = loss(music_features(real, RATE), music_features(fake, RATE))
    torch.testing.assert_close(from_features, from_waveforms)


def test_without_any_real_music_only_absolute_faults_count() -> None:
    triad, cluster = tones([60, 64, 67])[None], tones([60, 61, 62])[None]
    assert no_seconds_loss(triad, sample_rate=RATE).item() == pytest.approx(0.0, abs=1e-6)
    assert no_seconds_loss(cluster, sample_rate=RATE).item() > 0.2
    assert no_silence_loss(torch.zeros_like(triad), sample_rate=RATE).item() == pytest.approx(0.98)


def test_a_clip_too_short_for_a_melody_is_refused_in_words() -> None:
    clip = noise(2, 1, 8_000, level=0.1)
    with pytest.raises(ConfigError, match=r"too short for a melody.*0\.7 s"):
        melody_loss_d(clip, clip, sample_rate=RATE)
    assert silence_loss_d(clip, 0.1 * clip, sample_rate=RATE).item() == pytest.approx(20 / 60, abs=0.01)


# --- Faults of earlier music losses, each of which must stay away ---


def test_no_seconds_is_finite_and_equal_for_any_batch_size() -> None:
    """Chunks were cut by the batch size: nothing below 33 clips, and NaN."""
    clip = tones([60, 61])[None]
    values = [no_seconds_loss(clip.expand(size, 1, -1), sample_rate=RATE).item() for size in (1, 2, 33, 40)]
    assert values == pytest.approx([values[0]] * 4, abs=1e-5)
    assert values[0] > 0.1


def test_no_seconds_hears_pitches_and_not_the_shape_of_the_wave() -> None:
    """Waveform chunks were compared: the same chord shifted by half a period counted as something else."""
    clip = tones([60, 61, 64])
    shifted = torch.stack([clip.roll(shift, dims=-1) for shift in (0, 7, 31, 1_000)])
    one_by_one = torch.stack([no_seconds_loss(wave[None], sample_rate=RATE) for wave in shifted])
    assert (one_by_one - one_by_one[0]).abs().max().item() < 0.02


@pytest.mark.parametrize(
    "name", ["no_silence_loss", "silence_loss", "silence_loss_d", "melody_loss", "kl_loss_songs_d"]
)
def test_turning_the_sign_of_a_waveform_changes_nothing(name: str, real: Tensor) -> None:
    """Thresholds, signed differences and "probabilities" were taken from signed samples."""
    fake = silenced(clashing(real, 0.5), 0.3)
    assert MUSIC_LOSSES[name](real, -fake).item() == pytest.approx(MUSIC_LOSSES[name](real, fake).item(), abs=1e-6)


def test_no_silence_has_a_gradient_towards_more_sound_and_none_towards_endless_loudness(real: Tensor) -> None:
    """Counting had no gradient, exp(-20 silence) rewarded silence, -log std rewarded infinite loudness."""
    quiet = noise(2, 1, 16_000, level=1e-4).requires_grad_()
    no_silence_loss(quiet, real, sample_rate=RATE).backward()
    assert quiet.grad is not None
    assert (quiet.grad * quiet).sum().item() < 0.0
    loud = real.clone().requires_grad_()
    no_silence_loss(loud, real, sample_rate=RATE).backward()
    assert loud.grad is not None
    assert loud.grad.abs().max().item() == 0.0


def test_as_much_silence_as_real_music_has_is_free(real: Tensor) -> None:
    paused = silenced(real, 0.4)
    for share, expected in ((0.3, 0.0), (0.6, 0.2 - 0.02)):
        value = no_silence_loss(silenced(real, share), paused, sample_rate=RATE)
        assert value.item() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", ["melody_loss", "melody_loss_d", "compute_std_loss_d", "min_max_stats_loss_d"])
def test_every_clip_of_the_batch_counts(name: str, real: Tensor) -> None:
    """Only the last item of the batch was used."""
    for index in range(len(real)):
        fake = real.clone()
        fake[index] = held(real, 1.0)[index]
        assert MUSIC_LOSSES[name](real, fake).item() > 1e-4


@pytest.mark.parametrize("name", ["compute_std_loss_d", "min_max_stats_loss_d"])
def test_every_chunk_of_a_clip_counts(name: str, real: Tensor) -> None:
    """Only the last of the chunks reached the loss, and the weight only one of its terms."""
    fake = quieter(real, 0.5).requires_grad_()
    MUSIC_LOSSES[name](real, fake).backward()
    assert fake.grad is not None
    chunk = real.shape[-1] // 33
    by_chunk = fake.grad[..., : 33 * chunk].unflatten(-1, (33, chunk)).abs().amax(dim=(0, 1, 3))
    assert (by_chunk > 0).all()


def test_melodies_are_compared_and_not_the_phase_of_their_waves(real: Tensor) -> None:
    """Raw waveforms were correlated at one lag: the same tune a few milliseconds later was a stranger."""
    later = functional.pad(real, (160, 0))[..., : real.shape[-1]]
    stranger = drowned(real, 1.0)
    assert melody_loss_d(real, later, sample_rate=RATE).item() < 0.02
    assert melody_loss_d(real, later, sample_rate=RATE) < 0.1 * melody_loss_d(real, stranger, sample_rate=RATE)


def test_silence_loss_of_the_generator_is_not_a_constant(real: Tensor) -> None:
    """The generator's form was the number 1."""
    fake = quieter(real, 0.5).requires_grad_()
    value = silence_loss_d(real, fake, sample_rate=RATE)
    value.backward()
    assert fake.grad is not None
    assert 0.0 < value.item() < 1.0
    assert (fake.grad * fake).sum().item() < 0.0


# A twin for every clip is less variety, which is what kl_loss_songs_d measures.
@pytest.mark.parametrize("name", sorted(MUSIC_LOSSES.keys() - {"kl_loss_songs_d"}))
def test_a_batch_counted_twice_costs_the_same(name: str, real: Tensor) -> None:
    """Inner products summed over the batch grew with it."""
    loss = MUSIC_LOSSES[name]
    fake = silenced(clashing(real, 0.4), 0.3)
    twice = loss(real.repeat(2, 1, 1), fake.repeat(2, 1, 1)).item()
    assert twice == pytest.approx(loss(real, fake).item(), abs=1e-4)


def test_losses_of_both_players_take_the_real_music_first_by_name() -> None:
    """Real and fake were swapped at the call sites."""
    for name in JUDGED_LOSSES:
        parameters = list(inspect.signature(getattr(loss_functions, name)).parameters)
        assert parameters[:3] == ["real_music", "fake_music", "d_fake_logits"]


def test_variety_does_not_depend_on_the_order_of_the_songs(real: Tensor) -> None:
    fake = alike(real, 0.6)
    straight = kl_loss_songs_d(real, fake, sample_rate=RATE).item()
    assert kl_loss_songs_d(real, fake.flip(0), sample_rate=RATE).item() == pytest.approx(straight, rel=1e-3)
    assert kl_loss_songs_d(real, fake[:1], sample_rate=RATE).item() == 0.0


# --- KL ---

latents = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))


@settings(max_examples=60, deadline=None)
@given(latents, st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_kl_is_that_of_two_gaussians_per_frame(shape: tuple[int, ...], mean: float, spread: float) -> None:
    *dims, seed = shape
    mu = (mean * torch.randn(*dims, generator=seeded(seed))).double()
    logvar = (spread * torch.randn(*dims, generator=seeded(seed + 1))).double()
    known = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    value = kl_divergence_loss(mu, logvar)
    torch.testing.assert_close(value, known.sum(dim=-1).mean(), rtol=1e-7, atol=1e-12)
    assert value.item() >= 0.0


@settings(max_examples=60, deadline=None)
@given(st.floats(-4, 4).filter(lambda x: abs(x) > 1e-5), st.booleans())
def test_kl_is_zero_only_at_the_standard_normal(value: float, in_mean: bool) -> None:
    zeros = torch.zeros(1, 2, 3, dtype=torch.float64)
    other = zeros.clone()
    other[0, 1, 2] = value
    assert kl_divergence_loss(zeros, zeros).item() == 0.0
    assert kl_divergence_loss(*((other, zeros) if in_mean else (zeros, other))).item() > 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_kl_does_not_grow_with_length_or_batch(times: int, batch: int) -> None:
    mu, logvar = noise(1, 4, 3).double(), noise(1, 4, 3, seed=1).double()
    longer = kl_divergence_loss(mu.repeat(batch, times, 1), logvar.repeat(batch, times, 1))
    torch.testing.assert_close(longer, kl_divergence_loss(mu, logvar))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 2.0), st.integers(0, 1000))
def test_free_bits_are_a_floor_for_each_dimension(free_bits: float, seed: int) -> None:
    mu, logvar = noise(2, 3, 5, seed=seed).double(), noise(2, 3, 5, seed=seed + 1).double()
    value = kl_divergence_loss(mu, logvar, free_bits=free_bits).item()
    assert value >= 5 * free_bits - 1e-9
    assert value >= kl_divergence_loss(mu, logvar).item() - 1e-9


def test_free_bits_leave_a_quiet_dimension_in_peace() -> None:
    mu = torch.tensor([[[0.01, 2.0]]], requires_grad=True)
    kl_divergence_loss(mu, torch.zeros(1, 1, 2), free_bits=0.05).backward()
    assert mu.grad is not None
    assert mu.grad[0, 0, 0].item() == 0.0
    assert mu.grad[0, 0, 1].item() == pytest.approx(2.0)


# --- Reconstruction ---


def test_magnitude_loss_is_zero_on_itself_and_weighs_compressed_magnitudes_fourfold() -> None:
    target = torch.log(torch.rand(2, 5, 9, generator=seeded()) + 1e-3)
    assert magnitude_loss(target, target).item() == 0.0
    predicted = target + 0.2
    expected = 0.2 + 4 * (predicted.exp().pow(0.3) - target.exp().pow(0.3)).abs().mean().item()
    assert magnitude_loss(predicted, target).item() == pytest.approx(expected, rel=1e-5)


def test_band_energy_loss_hears_a_level_and_forgives_what_moves_within_a_band() -> None:
    target = torch.log(torch.rand(2, 5, 513, generator=seeded()) + 1e-3)
    assert band_energy_loss(target, target).item() == 0.0
    assert band_energy_loss(target + 0.2, target).item() == pytest.approx(0.2, abs=1e-4)
    peaks = torch.full((1, 1, 513), -6.0)
    peaks[..., 400] = 1.0
    moved, flattened = peaks.roll(1, dims=-1), peaks.clone()
    flattened[..., 399:402] = 1.0 - math.log(3.0)  # the same sum of magnitudes, a third of the power
    assert band_energy_loss(moved, peaks).item() < 1e-4
    assert band_energy_loss(flattened, peaks).item() * 48 == pytest.approx(0.5 * math.log(3.0), rel=0.02)


def test_band_energy_loss_survives_silence_and_an_untrained_head() -> None:
    target = torch.full((1, 3, 65), math.log(1e-3))
    for start in (math.log(1e-3), -50.0, 500.0):
        predicted = torch.full((1, 3, 65), start, requires_grad=True)
        value = band_energy_loss(predicted, target)
        value.backward()
        assert value.isfinite() and predicted.grad is not None and predicted.grad.isfinite().all()


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("highest", [4.0, 13.0])
def test_both_spectrum_losses_in_one_pass_are_what_they_are_apart(kind, highest) -> None:
    random = torch.Generator().manual_seed(8)
    shape = (3, 2, 70, 257)
    target = -7.0 + (highest + 7.0) * torch.rand(shape, generator=random, dtype=kind)
    predicted = (target + torch.randn(shape, generator=random, dtype=kind)).requires_grad_()
    apart = magnitude_loss(predicted, target) + 0.7 * band_energy_loss(predicted, target)
    (wanted,) = torch.autograd.grad(apart, predicted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together = spectrum_loss(predicted, target, energy_weight=0.7)
    (found,) = torch.autograd.grad(3.0 * together, predicted)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(found, 3.0 * wanted, rtol=1e-3 if kind == torch.float32 else 1e-9, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(spectrum_loss(predicted, target, energy_weight=0.7), together)


def test_both_spectrum_losses_together_survive_silence_and_an_untrained_head() -> None:
    for value in (-200.0, 0.0, 300.0):
        target = torch.full((1, 4, 257), math.log(1e-3))
        predicted = torch.full((1, 4, 257), value, requires_grad=True)
        loss = spectrum_loss(predicted, target, energy_weight=0.5)
        (gradient,) = torch.autograd.grad(loss, predicted)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()


def test_magnitude_loss_survives_silence_and_an_untrained_head() -> None:
    target = torch.full((1, 3, 4), math.log(1e-3))
    for start in (math.log(1e-3), -50.0, 500.0):
        predicted = torch.full((1, 3, 4), start, requires_grad=True)
        value = magnitude_loss(predicted, target)
        value.backward()
        assert value.isfinite()
        assert predicted.grad is not None
        assert predicted.grad.isfinite().all()
    assert predicted.grad.min().item() > 0.0  # the L1 pulls a head of 500 back


def test_feature_matching_is_relative_and_moves_the_fake_only() -> None:
    real = [noise(2, 3), noise(2, 5, seed=1)]
    real_leaves = [part.clone().requires_grad_() for part in real]
    fake = [(1.1 * part).requires_grad_() for part in real]
    value = feature_matching_loss(fake, real_leaves)
    value.backward()
    assert value.item() == pytest.approx(0.1, rel=1e-3)
    assert all(leaf.grad is None for leaf in real_leaves)
    assert all(leaf.grad is not None for leaf in fake)
    louder = feature_matching_loss([100 * part for part in fake], [100 * part for part in real])
    assert louder.item() == pytest.approx(value.item(), rel=1e-3)


# --- Flow ---


def test_flow_weights_are_those_of_the_velocity_up_to_twenty_five() -> None:
    level = torch.tensor([[0.0, 0.02, 0.1, 0.2, 0.5, 1.0]])
    losses = [
        endpoint_flow_loss(torch.ones(1, 1, 4), torch.zeros(1, 1, 4), level[:, i : i + 1]).item() for i in range(6)
    ]
    assert losses == pytest.approx([0.0, 0.0, 25.0, 25.0, 4.0, 1.0])


def test_accumulated_flow_losses_equal_the_large_batch() -> None:
    predicted, target = noise(6, 5, 3).double(), noise(6, 5, 3, seed=1).double()
    level = torch.rand(6, 5, generator=seeded()).double()
    level[:2] = 0.0  # a micro-batch with nothing to predict
    parts = [endpoint_flow_loss(*part) for part in zip(*(t.split(2) for t in (predicted, target, level)), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), endpoint_flow_loss(predicted, target, level))


def test_energy_score_of_single_frames_is_that_of_the_formula() -> None:
    a, b, z = (noise(5, 1, 8, seed=seed) for seed in range(3))
    norms = [(x - y).norm(dim=-1).mean() / math.sqrt(8) for x, y in ((a, z), (b, z), (a, b))]
    torch.testing.assert_close(energy_score_loss(a, b, z, patches=(1,)), norms[0] + norms[1] - norms[2])


def test_energy_score_is_best_for_draws_distributed_like_the_target() -> None:
    target, a, b = (noise(400, 8, 4, seed=seed) for seed in range(3))
    right = energy_score_loss(a, b, target).item()
    narrow = energy_score_loss(0.5 * a, 0.5 * b, target).item()
    wide = energy_score_loss(2.0 * a, 2.0 * b, target).item()
    collapsed = energy_score_loss(a[:1].expand_as(a), a[:1].expand_as(a), target).item()
    moved = energy_score_loss(a + 0.5, b + 0.5, target).item()
    assert right < min(narrow, wide, collapsed, moved)


def test_energy_score_repels_equal_draws_with_a_finite_gradient() -> None:
    draw = torch.zeros(2, 70, 3, requires_grad=True)
    value = energy_score_loss(draw, draw + 0.0, torch.ones(2, 70, 3))
    (gradient,) = torch.autograd.grad(value, draw)
    assert gradient.isfinite().all()
    apart = energy_score_loss(draw.detach(), draw.detach() + 0.1, torch.ones(2, 70, 3))
    assert apart < energy_score_loss(draw.detach() + 0.05, draw.detach() + 0.05, torch.ones(2, 70, 3))


def test_patches_longer_than_the_clip_are_cut_to_it() -> None:
    a, b, z = (noise(2, 10, 3, seed=seed) for seed in range(3))
    cut = energy_score_loss(a, b, z, patches=(1, 4, 16, 64))
    torch.testing.assert_close(cut, energy_score_loss(a, b, z, patches=(1, 4, 10)))


# --- The adversarial game ---

objectives = pytest.mark.parametrize("objective", ["bce", "relativistic"])


@objectives
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
def test_confusion_is_log_two_with_any_smoothing(objective, smoothing: float) -> None:
    logits = torch.zeros(4, 7)
    loss = discriminator_loss(logits, logits, objective, smoothing)
    assert loss.item() == pytest.approx(math.log(2))
    assert generator_adversarial_loss(logits, logits, objective).item() == pytest.approx(math.log(2))
    assert normalised_discriminator_loss(loss.item(), smoothing, objective) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("smoothing", "floor"), [(0.0, 0.0), (0.1, 0.163), (0.2, 0.25)])
def test_the_floor_of_a_smoothed_label_is_that_of_the_guide(smoothing: float, floor: float) -> None:
    assert confusion_floor(smoothing) == pytest.approx(floor, abs=5e-4)


@objectives
@settings(max_examples=40, deadline=None)
@given(smoothing=st.floats(0.0, 0.4), real=st.floats(-30, 30), fake=st.floats(-30, 30))
def test_no_logits_get_below_the_floor_and_the_best_ones_reach_it(
    objective, smoothing: float, real: float, fake: float
) -> None:
    def loss(real: float, fake: float) -> Tensor:
        logits = [torch.tensor([[value]], dtype=torch.float64) for value in (real, fake)]
        return discriminator_loss(*logits, objective=objective, smoothing=smoothing)

    floor = confusion_floor(smoothing, objective)
    assert loss(real, fake).item() >= floor - 1e-9
    sure = math.log((1 - smoothing) / smoothing) if smoothing > 1e-9 else 40.0
    best = loss(sure, -40.0) if objective == "bce" else loss(sure, 0.0)
    assert best.item() == pytest.approx(floor, abs=1e-7)
    assert normalised_discriminator_loss(best, smoothing, objective).item() == pytest.approx(0.0, abs=1e-6)


def test_the_plain_form_is_the_mean_of_two_cross_entropies() -> None:
    real, fake = noise(5), noise(5, seed=1)
    halves = [
        functional.binary_cross_entropy_with_logits(real, torch.full((5,), 0.9)),
        functional.binary_cross_entropy_with_logits(fake, torch.zeros(5)),
    ]
    torch.testing.assert_close(discriminator_loss(real, fake, "bce", 0.1), 0.5 * (halves[0] + halves[1]))
    ones = functional.binary_cross_entropy_with_logits(fake, torch.ones(5))
    torch.testing.assert_close(generator_adversarial_loss(None, fake, "bce"), ones)


def test_the_relativistic_form_ignores_an_offset_of_all_logits() -> None:
    real, fake = noise(5), noise(5, seed=1)
    torch.testing.assert_close(
        discriminator_loss(real + 3, fake + 3, "relativistic"), discriminator_loss(real, fake, "relativistic")
    )
    torch.testing.assert_close(
        generator_adversarial_loss(real, fake, "relativistic"), functional.softplus(real - fake).mean()
    )


@objectives
def test_the_generator_wants_the_label_one_without_end(objective) -> None:
    """It was given the smoothed label, at which a convincing fake is punished for convincing."""
    assert "smoothing" not in inspect.signature(generator_adversarial_loss).parameters
    for certainty in (0.0, 3.0, 9.0):
        fake = torch.full((3,), certainty, requires_grad=True)
        generator_adversarial_loss(torch.zeros(3), fake, objective).backward()
        assert fake.grad is not None
        assert (fake.grad < 0).all()


@objectives
def test_the_players_pull_the_logits_in_opposite_directions(objective) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    by_judge = torch.autograd.grad(discriminator_loss(real, fake, objective), (real, fake))
    by_generator = torch.autograd.grad(
        generator_adversarial_loss(real, fake, objective), (real, fake), allow_unused=True
    )
    assert (by_judge[0] < 0).all()
    assert (by_judge[1] > 0).all()
    assert (by_generator[1] < 0).all()
    assert by_generator[0] is None


@objectives
def test_heads_count_alike_whatever_their_size(objective) -> None:
    small, large = (noise(3, 2), noise(3, 2, seed=1)), (noise(3, 50, seed=2), noise(3, 50, seed=3))
    together = discriminator_loss([small[0], large[0]], [small[1], large[1]], objective)
    apart = [discriminator_loss(*pair, objective) for pair in (small, large)]
    torch.testing.assert_close(together, 0.5 * (apart[0] + apart[1]))


def test_logits_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        discriminator_loss(torch.zeros(4, 1), torch.zeros(4), "relativistic")


def test_an_unknown_objective_is_named() -> None:
    with pytest.raises(ConfigError, match="hinge"):
        discriminator_loss(torch.zeros(4), torch.zeros(4), "hinge")  # type: ignore[arg-type]


@objectives
def test_huge_logits_stay_finite(objective) -> None:
    for real, fake in ((1e4, -1e4), (-1e4, 1e4)):
        logits = [torch.full((2,), value, dtype=torch.bfloat16, requires_grad=True) for value in (real, fake)]
        value = discriminator_loss(*logits, objective=objective)
        value = value + generator_adversarial_loss(*logits, objective=objective)
        value.backward()
        assert value.isfinite()
        assert value.dtype == torch.float32
        assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in logits)


def test_the_finite_difference_penalty_is_r1_on_a_linear_judge() -> None:
    slope, sigma = noise(50).double(), 0.01
    inputs = noise(4_000, 50, seed=1).double()
    moved = inputs + sigma * noise(4_000, 50, seed=2).double()
    penalty = finite_difference_penalty(inputs @ slope, moved @ slope)
    gamma = 0.7
    r1 = 0.5 * gamma * slope.square().sum()
    torch.testing.assert_close(gamma / (2 * sigma**2) * penalty, r1, rtol=0.08, atol=0)


# --- The tables ---


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in (MUSIC_TERMS, DISCRIMINATOR_TERMS) for name in table],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_term_reaches_the_network_it_is_meant_for(table, name: str) -> None:
    real, parameter = torch.stack([tune(0, 1.0), tune(1, 1.0)]), torch.ones((), requires_grad=True)
    music = torch.cat([0.1 * tones([60, 61], 1.0), tones([60, 61, 62], 1.0)])[:, None]
    music[..., :6_000] *= 1e-3
    if table is MUSIC_TERMS:
        outputs = StepOutputs(real, parameter * music, RATE)
    else:  # a discriminator's own parameters do not reach the music
        outputs = StepOutputs(real, music, RATE, parameter * noise(2, 5))
    terms = evaluate_terms(table, outputs, {name: 1.0})
    assert list(terms) == [name]
    (gradient,) = torch.autograd.grad(terms[name], parameter)
    assert gradient.isfinite()
    assert gradient.item() != 0.0


def test_a_weight_of_zero_is_not_computed_and_one_that_counts_is_not_multiplied(real: Tensor) -> None:
    outputs = StepOutputs(real, silenced(real, 0.5), RATE)
    terms = evaluate_terms(MUSIC_TERMS, outputs, dict.fromkeys(MUSIC_TERMS, 0.0) | {"silence": 0.1})
    assert list(terms) == ["silence"]
    torch.testing.assert_close(terms["silence"], silence_loss(outputs.fake, real, sample_rate=RATE))


def test_music_is_heard_once_for_all_terms(monkeypatch: pytest.MonkeyPatch, real: Tensor) -> None:
    calls = []

    def counted(waveform: Tensor, sample_rate: int):
        calls.append(waveform.shape)
        return music_features(waveform, sample_rate)

    monkeypatch.setattr(loss_functions, "music_features", counted)
    outputs = StepOutputs(real, clashing(real, 0.5), RATE)
    together = evaluate_terms(MUSIC_TERMS, outputs, dict.fromkeys(MUSIC_TERMS, 1.0))
    assert len(calls) == 2
    monkeypatch.undo()
    for name, value in together.items():
        torch.testing.assert_close(value, MUSIC_TERMS[name](outputs), msg=name)


def test_real_music_is_heard_without_gradient(real: Tensor) -> None:
    shared = share_music_features(StepOutputs(real.clone().requires_grad_(), real.clone().requires_grad_(), RATE))
    assert not shared.real.chroma.requires_grad  # type: ignore[union-attr]
    assert shared.fake.chroma.requires_grad  # type: ignore[union-attr]


def test_every_music_loss_has_its_rows() -> None:
    assert MUSIC_LOSSES.keys() == LADDERS.keys() == STARTS.keys()
