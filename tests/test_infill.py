"""`generate --infill`: new music in, before and behind a file; everything else stays as it is, bit for bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from piano import generate_music, infill, reproduce
from piano.composer import Composer, Sampling
from piano.file_gaps import Form, Gap, Grids, Wanted
from piano.foundation.audio_io import write_audio
from piano.foundation.audio_writer import exact_subtype, open_writer
from piano.foundation.errors import ConfigError
from piano.foundation.phase import istft, reconstruct, stft
from piano.foundation.phase_between import between
from piano.infill import (
    Sides,
    between_steps,
    encode_sides,
    fill_gap,
    finished,
    sounding_steps,
    style_around,
)
from piano.player import Player
from piano.report.sounds import describe_all
from tests import trained_model
from tests.tiny_run import SAMPLE_RATE, tonal_pairs
from tests.trained_model import save_trained

SECONDS = 6.0
FILE_RATE, FILE_CHANNELS = 22_050, 2


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A trained model in model/; take.wav at its rate, and other.wav, stereo at another, with 24 bits."""
    folder = tmp_path_factory.mktemp("infill")
    save_trained(folder)
    sound = tonal_pairs(3, samples=2 * 16384, seed=5).swapaxes(1, 2).reshape(1, -1)[:, : round(SECONDS * SAMPLE_RATE)]
    write_audio(folder / "take.wav", 0.3 * sound, SAMPLE_RATE)
    random = np.random.default_rng(3)
    time = np.arange(round(SECONDS * FILE_RATE)) / FILE_RATE
    tones = [0.2 * np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 330.5)]
    noisy = np.stack(tones) + random.normal(0.0, 0.01, (FILE_CHANNELS, len(time)))
    with open_writer(folder / "other.wav", FILE_RATE, FILE_CHANNELS, subtype="PCM_24") as writer:
        writer.write(noisy.astype(np.float32))
    return folder


def make(output: Path, *arguments: str) -> list[Path]:
    return trained_model.make(output, "--steps", "2", *arguments)


# --- phases -----------------------------------------------------------------------------------------------------------


def test_between_two_sounds_phases_come_to_fit_both():
    """Of a steady tone the gap is found again nearly as it was, and better than from the left side alone."""
    n_fft, hop = 256, 64
    time = torch.arange(6000) / 8000
    pitches = torch.tensor([[440.0], [712.3], [1333.0]])
    tone = torch.sin(2 * torch.pi * pitches * time + pitches).sum(dim=0, keepdim=True)
    begin, samples = 2048, 1500
    before, after = tone[:, :begin], tone[:, begin + samples :]
    magnitudes = stft(tone, n_fft)[:, begin // hop : begin // hop + 24].abs()
    start = reconstruct(magnitudes, iterations=4, prompt=before)[:, :samples]
    made = between(magnitudes, start, before=before, after=after, iterations=40)
    wanted = tone[:, begin : begin + samples]
    seam = slice(samples - hop, samples)
    assert (made - wanted)[:, seam].norm() < 0.3 * (start - wanted)[:, seam].norm()
    assert (made - wanted).norm() < 0.2 * wanted.norm()
    assert torch.equal(made, between(magnitudes, start, before=before, after=after, iterations=40))


def test_between_refuses_too_few_magnitudes_and_takes_short_neighbours():
    magnitudes = torch.rand(1, 4, 129)
    with pytest.raises(ValueError, match="need 5 frames"):
        between(magnitudes, torch.zeros(1, 300), before=torch.zeros(1, 0), after=torch.zeros(1, 0), iterations=1)
    made = between(magnitudes, torch.zeros(1, 200), before=torch.ones(1, 3), after=torch.ones(1, 2), iterations=2)
    assert made.shape == (1, 200) and torch.isfinite(made).all()
    assert istft(stft(made, 256), 200).shape == made.shape


# --- latents ----------------------------------------------------------------------------------------------------------


def compose(composer: Composer, sides: Sides, frames: int, **how: Any) -> torch.Tensor:
    """Latents between two sides, at once."""
    return finished(between_steps(composer, sides, frames, **how))


@pytest.mark.parametrize("frames", [1, 5, 40, 100])
@pytest.mark.parametrize(("before", "after"), [(20, 20), (64, 64), (30, 0), (0, 30), (3, 64), (0, 0), (1, 1)])
def test_a_gap_of_any_length_is_composed_between_what_sides_there_are(generator, frames, before, after):
    random = torch.Generator().manual_seed(1)
    sides = Sides(*(torch.randn(1, length, generator.latent_dim, generator=random) for length in (before, after)))
    composer = Composer(generator, Sampling(seed=1, steps=2))
    made = compose(composer, sides, frames)
    assert made.shape == (1, frames, generator.latent_dim) and torch.isfinite(made).all()
    assert torch.equal(made, compose(composer, sides, frames))
    assert not torch.equal(made, compose(composer, sides, frames, item=1))
    assert not torch.equal(made, compose(composer, sides, frames, position=7))


def test_both_sides_of_a_gap_decide_what_is_in_it(generator):
    random = torch.Generator().manual_seed(2)
    first, second, third = (torch.randn(1, 20, generator.latent_dim, generator=random) for _ in range(3))
    composer = Composer(generator, Sampling(seed=1, steps=2))
    style = style_around(generator, Sides(first, second), 10)
    assert style is not None
    made = compose(composer, Sides(first, second), 10, style=style)
    assert not torch.equal(made, compose(composer, Sides(third, second), 10, style=style))
    assert not torch.equal(made, compose(composer, Sides(first, third), 10, style=style))


def test_of_a_long_gap_only_the_end_hears_what_is_after_it(generator):
    random = torch.Generator().manual_seed(2)
    window = generator.latent_seq_len
    first, second, third = (torch.randn(1, window, generator.latent_dim, generator=random) for _ in range(3))
    composer = Composer(generator, Sampling(seed=1, steps=2))
    style = style_around(generator, Sides(first, second), 2 * window)
    made, other = (compose(composer, Sides(first, side), 2 * window, style=style) for side in (second, third))
    kept = window // 3
    assert torch.equal(made[:, :-kept], other[:, :-kept])
    assert not torch.equal(made[:, -kept:], other[:, -kept:])


def test_sides_are_the_latents_of_the_sound_on_a_grid_that_begins_at_the_gap(generator):
    hop, margin = generator.hop_samples, generator.autoencoder.encoder.context
    sound = torch.randn(1, 40 * hop, generator=torch.Generator().manual_seed(3))
    begin, end = 12 * hop + 5, 20 * hop + 1
    sides = encode_sides(generator, sound, begin, end)
    with torch.no_grad():
        whole = generator.encode(sound[None, :, 5:])
    torch.testing.assert_close(sides.before[:, margin:], whole[:, margin:12], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(sides.after[:, : -margin - 1], whole[:, 20 : 39 - margin - 1], atol=1e-4, rtol=1e-3)


def test_the_pulse_around_a_gap_is_told_in_the_gap_s_time(generator):
    window = generator.latent_seq_len
    side = torch.randn(1, window, generator.latent_dim, generator=torch.Generator().manual_seed(4))
    own = generator.style.describe(side)
    for sides, first in ((Sides(side, side[:, :0]), -window), (Sides(side[:, :0], side), 9)):
        moved = style_around(generator, sides, 9)
        assert moved is not None
        told = generator.condition_on(moved, 5, first_frame=first).signals
        torch.testing.assert_close(told, generator.condition_on(own, 5).signals, atol=1e-4, rtol=1e-4)


def test_filled_samples_are_as_many_as_are_missing_whatever_the_grid(generator):
    composer = Composer(generator, Sampling(seed=1, steps=2, phase_iterations=2))
    hop = generator.hop_samples
    sound = 0.1 * torch.randn(1, 30 * hop, generator=torch.Generator().manual_seed(3))
    for begin, end in ((10 * hop + 3, 15 * hop), (0, 4 * hop + 1), (28 * hop, 30 * hop), (hop // 2, hop)):
        made = fill_gap(composer, sound, begin, end)
        assert made.shape == (1, end - begin) and torch.isfinite(made).all() and made.abs().max() > 0.0
        assert not torch.equal(made, fill_gap(composer, sound, begin, end, position=1))


def test_what_leaves_a_hole_is_composed_again(generator, monkeypatch):
    """The first attempt that is about as loud as what is around it counts; if none is, the one with the least hole."""
    composer, hop = Composer(generator, Sampling(seed=1, steps=2)), generator.hop_samples
    sound = 0.1 * torch.randn(1, 60 * hop, generator=torch.Generator().manual_seed(3))
    asked, loudness = [], [1e-5, 1e-4, 0.05, 1.0]

    def attempt(*given):
        yield
        asked.append(given[-1])
        return torch.full((1, 10 * hop), loudness[given[-1]])

    monkeypatch.setattr(infill, "_attempt", attempt)
    assert float(fill_gap(composer, sound, 20 * hop, 30 * hop).mean()) == pytest.approx(0.05)
    assert asked == [0, 1, 2]
    loudness[:] = [1e-5, 1e-4, 2e-5, 1e-6]
    assert float(fill_gap(composer, sound, 20 * hop, 30 * hop).mean()) == pytest.approx(1e-4)
    assert asked == [0, 1, 2, 0, 1, 2, 3]


def test_attempts_are_other_music(generator):
    random = torch.Generator().manual_seed(2)
    sides = Sides(*(torch.randn(1, 20, generator.latent_dim, generator=random) for _ in range(2)))
    composer = Composer(generator, Sampling(seed=1, steps=2))
    one, other = (compose(composer, sides, 10, attempt=number) for number in (0, 1))
    assert torch.equal(one, compose(composer, sides, 10)) and not torch.equal(one, other)


def test_of_a_long_gap_only_the_end_is_fitted_to_both_sides(generator, monkeypatch):
    """Memory does not grow with it: the beginning is what the vocoder made of it, whatever comes after."""
    monkeypatch.setattr(infill, "FITTED_SECONDS", 0.1)
    monkeypatch.setattr(infill, "SOUNDING_FRAMES", 8)
    composer, hop = Composer(generator, Sampling(seed=1, phase_iterations=2)), generator.hop_samples
    latents = torch.randn(1, 40, generator.latent_dim, generator=torch.Generator().manual_seed(3))
    before, after = torch.zeros(1, 4 * hop), 0.1 * torch.randn(2, 1, 4 * hop)
    with torch.inference_mode():
        one, other = (
            finished(sounding_steps(composer, latents, slice(0, 40), before=before, after=side, samples=40 * hop - 3))
            for side in after
        )
    assert one.shape == (1, 40 * hop - 3)
    assert torch.equal(one[:, : 20 * hop], other[:, : 20 * hop])
    assert not torch.equal(one[:, -hop:], other[:, -hop:])


def test_samples_of_two_rates_meet():
    grids = Grids(native=44_100, model=16_000)
    assert grids.step == 160 and grids.native_of(160) == 441
    for sample in (0, 1, 440, 441, 442, -1, -441):
        assert grids.below(sample) <= sample * 16_000 / 44_100 <= grids.above(sample)
        assert grids.above(sample) - grids.below(sample) <= 1
    assert grids.meeting_below(159) == 0 and grids.meeting_below(-1) == -160


def test_gaps_that_touch_are_one():
    form = Form(sample_rate=1000, channels=1, samples=6000)
    wanted = Wanted(((4.0, 6.0), (1.0, 2.0), (2.0, 3.0)), left=0.5, right=1.0)
    assert wanted.gaps(form) == [Gap(-500, 0), Gap(1000, 3000), Gap(4000, 7000)]
    assert Wanted(((0.0, 1.0),), left=0.5).gaps(form) == [Gap(-500, 1000)]


# --- files ------------------------------------------------------------------------------------------------------------


def test_regions_with_next_to_nothing_between_them_are_filled(here, tmp_path):
    """Where no whole latent is left on either side the seed decides; regions and extensions differ in their noise."""
    words = ["--infill", "take.wav", "--from", "0.05", "--to", "2", "--from", "2.05", "--to", "3", "--extend-left", "2"]
    (path,) = make(tmp_path, *words, "--count", "1")
    made = soundfile.read(path)[0]
    assert len(made) == round(8.0 * SAMPLE_RATE)
    extension, region = made[: round(1.9 * SAMPLE_RATE)], made[round(2.1 * SAMPLE_RATE) : round(4.0 * SAMPLE_RATE)]
    assert abs(np.corrcoef(extension, region[: len(extension)])[0, 1]) < 0.5


@pytest.mark.parametrize("name", ["take", "other"])
def test_outside_its_regions_a_file_stays_as_it_is_bit_for_bit(here, tmp_path, capsys, name):
    regions = ["--from", "1.0001", "--to", "2.5", "--from", "4", "--to", "4.3"]
    (path,) = make(tmp_path, "--infill", f"{name}.wav", *regions, "--count", "1", "--seed", "7")
    assert path.name == f"{name}_seed7_sample_0000.infill.wav"
    before, after = soundfile.info(f"{name}.wav"), soundfile.info(path)
    assert (after.samplerate, after.channels, after.subtype) == (before.samplerate, before.channels, before.subtype)
    original, made = (soundfile.read(file, dtype="int32", always_2d=True)[0] for file in (f"{name}.wav", path))
    rate = before.samplerate
    inside = np.zeros(len(original), dtype=bool)
    for begin, end in ((1.0001, 2.5), (4.0, 4.3)):
        inside[round(begin * rate) : round(end * rate)] = True
    assert made.shape == original.shape
    assert np.array_equal(made[~inside], original[~inside])
    changed = (made != original).any(axis=1)
    assert changed[inside].mean() > 0.9
    capsys.readouterr()
    assert reproduce.main([str(path), "--source", f"{name}.wav"]) == 0
    assert "identical" in capsys.readouterr().out


def test_its_edges_make_no_step(here, tmp_path):
    """Where a region begins and ends, no sample is further from the one before than tones go anyway."""
    (path,) = make(tmp_path, "--infill", "other.wav", "--from", "2", "--to", "3", "--count", "1")
    made, original = soundfile.read(path)[0], soundfile.read("other.wav")[0]
    steps, usual = np.abs(np.diff(made, axis=0)), np.abs(np.diff(original, axis=0)).max()
    for edge in (2.0, 3.0):
        place = round(edge * FILE_RATE)
        assert steps[place - 3 : place + 3].max() < 1.5 * usual


def test_music_before_and_behind_a_file(here, tmp_path, capsys):
    (path,) = make(tmp_path, "--infill", "other.wav", "--extend-left", "1.5", "--extend-right", "0.7", "--count", "1")
    made, original = (soundfile.read(file, dtype="int32")[0] for file in (path, "other.wav"))
    left, right = round(1.5 * FILE_RATE), round(0.7 * FILE_RATE)
    assert len(made) == left + len(original) + right
    assert np.array_equal(made[left : left + len(original)], original)
    assert np.abs(made[:left]).max() > 0 and np.abs(made[-right:]).max() > 0
    receipt = json.loads(soundfile.SoundFile(path).comment)
    assert (receipt["kind"], receipt["extended"]) == ("infill", [1.5, 0.7]) and "regions" not in receipt
    (shown,) = describe_all([path], max_seconds=10.0)
    assert shown.title.startswith("Completion of") and "1.5 s before it, 0.7 s behind it" in shown.words
    capsys.readouterr()
    assert reproduce.main([str(path), "--source", "other.wav"]) == 0


def test_a_second_region_goes_on_from_the_first(here, generator, tmp_path):
    one = make(tmp_path / "one", "--infill", "take.wav", "--from", "3", "--to", "3.4", "--count", "1")
    two = make(
        tmp_path / "two", "--infill", "take.wav", *("--from", "2.4", "--to", "2.9"), *("--from", "3", "--to", "3.4"),
        *("--count", "1"),
    )  # fmt: skip
    second = slice(round(3.0 * SAMPLE_RATE), round(3.4 * SAMPLE_RATE))
    assert not np.array_equal(soundfile.read(one[0])[0][second], soundfile.read(two[0])[0][second])


def test_a_region_does_not_lead_to_what_will_be_replaced(here, tmp_path):
    """What lies in the next region has no part in the one before, where a whole window lies between nothing else."""
    later = ["--from", "3.2", "--to", "5.9"]
    sound, rate = soundfile.read("take.wav")
    part = slice(round(3.3 * rate), round(5.8 * rate))
    sound[part] = sound[part][::-1].copy()  # as loud as before
    soundfile.write("changed.wav", sound, rate)
    first = slice(0, round(3.0 * rate))
    ones, others = (
        soundfile.read(
            make(tmp_path / name, "--infill", f"{name}.wav", "--from", "2", "--to", "3", *later, "--count", "1")[0]
        )[0]
        for name in ("take", "changed")
    )
    assert np.abs(ones[first] - others[first]).max() < 0.01 * np.abs(ones[first]).max()


def test_where_regions_meet_the_file_s_ends_nothing_of_the_old_sound_is_left(here, tmp_path):
    """A region to the end that goes on behind it: at the old end there is nothing to fade into."""
    (path,) = make(tmp_path, "--infill", "other.wav", "--from", "5", "--to", "6", "--extend-right", "1", "--count", "1")
    made, original = soundfile.read(path)[0], soundfile.read("other.wav")[0]
    end = len(original)
    last = slice(end - 4, end)  # of a fade into the old end this would be the old end
    assert np.abs(made[last] - original[last]).max() > 0.01
    assert len(made) == len(original) + FILE_RATE


def test_what_would_clip_is_made_softer_and_told(here, generator, tmp_path, capsys):
    sound, rate = soundfile.read("take.wav")
    loud = np.sign(sound) * 0.98  # as loud as a sound can be: music of that level has peaks beyond
    soundfile.write("loud.wav", loud, rate)
    (path,) = make(tmp_path, "--infill", "loud.wav", "--from", "1", "--to", "3", "--count", "1")
    assert "softer, or it would be beyond full scale" in " ".join(capsys.readouterr().err.split())
    made = soundfile.read(path, dtype="int16")[0]
    assert np.array_equal(made[:SAMPLE_RATE], soundfile.read("loud.wav", dtype="int16")[0][:SAMPLE_RATE])


def test_an_infill_that_is_there_is_not_composed_again(here, tmp_path, monkeypatch):
    words = ["--infill", "take.wav", "--from", "1", "--to", "2", "--count", "1"]
    paths = make(tmp_path, *words)
    monkeypatch.setattr(generate_music, "new_pieces", None)
    assert make(tmp_path, *words) == paths


@pytest.mark.parametrize(
    ("name", "subtype", "expected", "lost"),
    [
        ("a.wav", "PCM_U8", ("PCM_16", ""), ("PCM_16", "")),
        ("a.wav", "PCM_24", ("PCM_24", ""), ("PCM_24", "")),
        ("a.wav", "FLOAT", ("FLOAT", ""), ("PCM_24", "FLAC holds no floats")),
        ("a.wav", "PCM_32", ("FLOAT", "rounded to 32-bit floats"), ("PCM_24", "FLAC holds no floats")),
        ("a.ogg", "VORBIS", ("FLOAT", ""), ("PCM_24", "FLAC holds no floats")),
        ("a.flac", "PCM_16", ("PCM_16", ""), ("PCM_16", "")),
    ],
)
def test_samples_are_written_as_exactly_as_they_are(tmp_path, name, subtype, expected, lost):
    soundfile.write(tmp_path / name, np.random.default_rng(0).uniform(-0.5, 0.5, 4000), 16_000, subtype=subtype)
    for form, (kind, phrase) in (("wav", expected), ("flac", lost)):
        found = exact_subtype(tmp_path / name, form)
        assert found[0] == kind and phrase in found[1] and bool(phrase) == bool(found[1])
    assert exact_subtype(tmp_path / name, "mp3")[0] is None


def test_a_lossy_file_stays_what_it_was_decoded_to(here, tmp_path):
    original = soundfile.read("other.wav")[0]
    soundfile.write("lossy.ogg", 0.9 * original / np.abs(original).max(), FILE_RATE, subtype="VORBIS")
    (path,) = make(tmp_path, "--infill", "lossy.ogg", "--from", "2", "--to", "3", "--count", "1")
    made, decoded = (soundfile.read(file, dtype="float32")[0] for file in (path, "lossy.ogg"))
    outside = np.r_[0 : 2 * FILE_RATE, 3 * FILE_RATE : len(decoded)]
    assert np.array_equal(made[outside], decoded[outside])


def test_the_python_door_gives_what_the_command_writes(here, tmp_path):
    words = ["--infill", "take.wav", "--from", "1", "--to", "2", "--count", "1", "--seed", "3"]
    (path,) = make(tmp_path, *words, "--phase-iterations", "16")
    written = soundfile.read(path, dtype="int16")[0]
    player = Player(here / "model", epoch=3, device="cpu")
    sound = player.infill(here / "take.wav", [(1.0, 2.0)], seed=3, steps=2)
    assert sound.sample_rate == SAMPLE_RATE and sound.shape == (1, len(written))
    assert np.array_equal(np.clip(np.rint(sound[0] * 32768), -32768, 32767), written)


def test_a_sound_of_another_rate_is_saved_at_its_own(here, tmp_path):
    player = Player(here / "model", epoch=3, device="cpu")
    player.save(tmp_path / "a.wav", player.infill(here / "other.wav", [(1.0, 1.2)], steps=1))
    player.save(tmp_path / "b.wav", np.zeros((1, 100), np.float32))
    assert [soundfile.info(tmp_path / name).samplerate for name in ("a.wav", "b.wav")] == [FILE_RATE, SAMPLE_RATE]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"regions": [(-1.0, 0.5)]}, "from -1 to 0.5 s holds no sample"),
        ({"regions": [(1.0, float("nan"))]}, "holds no sample"),
        ({"extend_left": -1.0}, "music before .*take.wav must be"),
        ({"extend_right": float("inf")}, "music behind .*take.wav must be"),
        ({"regions": [(0.01 * n, 0.01 * n + 0.005) for n in range(101)]}, "101 regions are too many"),
    ],
)
def test_the_python_door_refuses_what_the_command_line_cannot_say(here, asked, message):
    with pytest.raises(ConfigError, match=message):
        Player(here / "model", epoch=3, device="cpu").infill(here / "take.wav", **asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--infill", "take.wav"], "--infill wants to know where"),
        (["--from", "1", "--to", "2"], "--to is of --infill, and then seconds, or of --like"),
        (["--from", "1"], "are of --infill: name the file"),
        (["--infill", "take.wav", "--from", "1"], "come in pairs, got 1 and 0"),
        (["--infill", "take.wav", "--from", "1", "--to", "2", "--prompt", "take.wav"], "cannot be combined"),
        (["--infill", "take.wav", "--from", "1", "--to", "2", "--output", "-"], "--infill writes files"),
    ],
)
def test_what_cannot_be_meant_is_said(here, capsys, arguments, message):
    with pytest.raises(SystemExit):
        generate_music.parse_arguments(arguments)
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (["--from", "2", "--to", "1"], "from 2 to 1 s holds no sample: its end must be later"),
        (["--from", "1.00001", "--to", "1.00002"], "holds no sample"),
        (["--from", "1", "--to", "9"], "from 1 to 9 s ends behind take.wav, which lasts 6.00 s"),
        (
            ["--from", "1", "--to", "3", "--from", "2", "--to", "4"],
            "from 2 to 4 s begins before another one ends (3 s): join",
        ),
        (["--from", "0", "--to", "5.5"], "only 0.50 s of take.wav would be kept: 1 s or more"),
    ],
)
def test_regions_that_the_file_does_not_have_are_refused(here, tmp_path, capsys, regions, message):
    fixed = ["--checkpoints", "model", "--epoch", "3", "--output", str(tmp_path), "--device", "cpu", "--threads", "1"]
    assert generate_music.main([*fixed, "--infill", "take.wav", *regions]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_file_of_six_channels_is_refused(here, tmp_path, capsys):
    soundfile.write(tmp_path / "six.wav", np.random.default_rng(0).uniform(-0.1, 0.1, (40_000, 6)), 16_000)
    fixed = ["--checkpoints", "model", "--epoch", "3", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert generate_music.main([*fixed, "--infill", str(tmp_path / "six.wav"), "--from", "1", "--to", "1.5"]) == 2
    assert "has 6 channels: one or two can be filled" in " ".join(capsys.readouterr().err.split())
