"""The file for Neutone Gen: past the SDK's own checks, and the Composer's music."""

import importlib.util
import json

import pytest
import torch

from piano.composer import Composer, Sampling
from piano.export_model import main
from piano.latent_style import AskedTempo, Wishes
from tests.test_nn_tilde import HOP, give_away, nearly_the_same
from tests.test_stream_contract import MODELS

has_sdk = importlib.util.find_spec("neutone_sdk") is not None


@pytest.mark.skipif(has_sdk, reason="the Neutone SDK is here")
def test_without_the_sdk_one_sentence_says_what_to_install(tmp_path, capsys):
    given = give_away(MODELS["mono"](), tmp_path / "tune")
    assert main(["--checkpoints", str(given), "--to", "neutone", "--output", str(tmp_path / "tune.nm")]) == 2
    assert 'pip install -e ".[neutone]"' in capsys.readouterr().err
    assert not (tmp_path / "tune.nm").exists()


@pytest.fixture(scope="module", params=["mono", "one spectrum for two channels"])
def made(request, tmp_path_factory):
    """A model, and its file."""
    if not has_sdk:
        pytest.skip("needs the Neutone SDK")
    folder = tmp_path_factory.mktemp("neutone")
    generator = MODELS[request.param]()
    given = give_away(generator, folder / "tune")
    assert main(["--checkpoints", str(given), "--to", "neutone", "--output", str(folder / "tune.nm")]) == 0
    return generator, folder / "tune.nm"


def knobs(**moved: float) -> torch.Tensor:
    """Positions of the knobs, from 0 to 1."""
    limits = {"seed": 999.0, "style": 1024.0, "surprise": 3.0, "variation": 19.0}
    values = {name: 0.0 for name in limits} | {"surprise": 1.0} | moved
    return torch.tensor([[values[name] / most] for name, most in limits.items()])


@torch.inference_mode()
def test_a_seed_is_the_command_s_music(made):
    generator, file = made
    model = torch.jit.load(file)
    rate = generator.sample_rate
    model.set_daw_sample_rate_and_buffer_size(rate, 2048, rate, 2048)
    (sound,) = model.forward([], knobs(seed=7), ["2"], None)
    assert sound.shape == (generator.sound_channels, 2 * rate)
    wanted = Composer(generator, Sampling(seed=7)).generate(2.0 + 40 * HOP / rate)[0]
    assert nearly_the_same(sound, wanted[:, : sound.shape[-1]])
    (sound,) = model.forward([], knobs(seed=7), ["2 s, 100 bpm, 3/4"], None)
    composer = Composer(generator, Sampling(seed=7, wishes=Wishes(AskedTempo(100 / 60), bar=3.0)))
    assert nearly_the_same(sound, composer.generate(2.0 + 40 * HOP / rate)[0][:, : sound.shape[-1]])


@torch.inference_mode()
def test_every_knob_changes_the_music(made):
    generator, file = made
    model = torch.jit.load(file)
    rate = generator.sample_rate
    model.set_daw_sample_rate_and_buffer_size(rate, 2048, rate, 2048)
    moves = [{}, {"seed": 1.0}, {"style": 5.0}, {"surprise": 2.0}, {"variation": 1.0}]
    sounds = [model.forward([], knobs(**move), ["1"], None)[0] for move in moves]
    for index, sound in enumerate(sounds):
        assert all(not torch.allclose(sound, other, atol=1e-3) for other in sounds[:index])


def test_the_file_says_what_it_is(made):
    generator, file = made
    extra = {"metadata.json": ""}
    torch.jit.load(file, _extra_files=extra)
    said = json.loads(extra["metadata.json"])
    assert said["native_sample_rates"] == [generator.sample_rate]
    assert said["audio_out_channels"] == [generator.sound_channels] and said["audio_in_channels"] == []
    names = ["seed", "style", "surprise", "variation", "seconds"]
    assert [said["neutone_parameters"][f"p{n + 1}"]["name"] for n in range(len(names))] == names
