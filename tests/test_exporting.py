"""Models for other programs: graphs that compute what PyTorch computes, and a folder that says how music is made."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from piano.composer import Composer, Sampling
from piano.export_model import main, parse_arguments
from piano.exporting.onnx_folder import claim_folder, model_of
from piano.exporting.onnx_graphs import graphs_of, in_precision, largest_difference, to_onnx
from piano.foundation.phase import stft
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator
from tests.exported_model import fitted_network, give_away
from tests.onnx_runner import Runner

pytest.importorskip("onnxruntime", reason="exporting needs musigan[onnx]")

KINDS = {
    "mono": {"channels": 1, "repeat_signals": 2},
    "stereo": {"channels": 2, "image_bands": 6},
    "one-step": {"channels": 2},
}
"""Every path through the graphs: repeats or none, an image or two spectra, the flow or the shortcut."""


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that was given away, and its folder of graphs."""
    place = tmp_path_factory.mktemp("exported")
    model = give_away(fitted_network(place, **KINDS[request.param]), place / "model")
    steps = "1" if request.param == "one-step" else "auto"
    words = ["--checkpoints", str(model), "--to", "onnx", "--steps", steps, "--output", str(place / "onnx")]
    assert main(words) == 0
    assert Runner(place / "onnx").table["sampling"]["steps"] == (1 if request.param == "one-step" else 3)
    return model, place / "onnx"


def relative(made: np.ndarray, wanted: torch.Tensor | np.ndarray) -> float:
    """Largest difference over the largest number that is wanted."""
    wanted = np.asarray(wanted)
    assert made.shape == wanted.shape
    return float(np.abs(made - wanted).max() / np.abs(wanted).max())


@torch.inference_mode()
def graph_differences(
    network: VariationalAttentionModel, runner: Runner, *, items: int, frames: int
) -> dict[str, float]:
    """How far each graph lies from PyTorch, on other music than it was traced with."""
    random = torch.Generator().manual_seed(11)
    steps, codec = runner.table["sampling"]["steps"], network.autoencoder
    style = network.style.draw(3, range(items))
    condition = network.condition_on(style, network.latent_seq_len)
    noisy = torch.randn(items, network.latent_seq_len, network.latent_dim, generator=random)
    level = torch.rand(items, network.latent_seq_len, generator=random)
    flow = network.shortcut if steps == 1 else network.attention
    inputs = {"noisy": noisy, "level": level, "vector": condition.vector, "signals": condition.signals}
    made = runner.run("endpoint", **{name: value.numpy() for name, value in inputs.items()})[0]
    found = {"endpoint": relative(made, flow(noisy, level, condition))}

    latents = torch.randn(items, frames, network.latent_dim, generator=random)
    noise = torch.randn(items, codec.layers, frames * codec.latent_stride + 3, codec.hop_length, generator=random)
    texture = network.texture_of(steps)
    wanted = codec.channel_levels(network.decode_spectrum(latents), texture=texture, noise=noise)
    magnitude, *coherence = runner.run("decoder", latents=latents.numpy(), scatter=texture.scatter(noise).numpy())
    found["magnitude"] = relative(magnitude, wanted.magnitude)
    assert (wanted.coherence is None) == (not coherence)
    if wanted.coherence is not None:
        found["coherence"] = relative(coherence[0], wanted.coherence)
    return found


@pytest.mark.parametrize(("items", "frames"), [(1, 9), (3, 20)])
def test_every_graph_computes_what_pytorch_computes(exported, items, frames) -> None:
    model, folder = exported
    found = graph_differences(load_generator(model), Runner(folder), items=items, frames=frames)
    print("largest difference over largest number:", {name: f"{value:.1e}" for name, value in found.items()})
    assert max(found.values()) < 1e-4


def test_the_encoder_s_latents_follow_from_the_folder_alone(exported) -> None:
    model, folder = exported
    network, runner = load_generator(model), Runner(folder)
    hop = network.hop_samples
    sound = 0.2 * torch.randn(1, network.sound_channels, 12 * hop, generator=torch.Generator().manual_seed(2))
    spectrum = stft(sound, network.autoencoder.n_fft).numpy()
    made = runner.run("encoder", values=spectrum_values(spectrum, runner.table["spectrum"]))[0]
    with torch.inference_mode():
        assert relative(made, network.encode(sound)) < 1e-4


def spectrum_values(spectrum: np.ndarray, table: dict) -> np.ndarray:
    """What the encoder takes, of a complex spectrum (1, channels, frames, bins), as docs/on-the-web.md says."""
    floor, image = table["magnitude_floor"], table["image"]
    if image is None:
        levels = np.log(np.abs(spectrum) + floor)
        return levels.transpose(0, 2, 1, 3).reshape(1, spectrum.shape[2], -1)
    common = np.log(np.sqrt(np.square(np.abs(spectrum)).mean(axis=1)) + floor)
    member = np.eye(image["bands"])[image["band_of_bin"]]
    left, right = (np.square(np.abs(spectrum[:, channel])) @ member for channel in (0, 1))
    cross = np.real(spectrum[:, 0] * np.conj(spectrum[:, 1])) @ member
    quiet = np.maximum(image["quiet_power"] * member.sum(axis=0), image["quiet_power"])
    most = image["largest_difference"]
    difference = np.clip(0.5 * np.log((left + quiet) / (right + quiet)), -most, most)
    coherence = np.clip(cross / np.sqrt((left + quiet) * (right + quiet)), -1.0, 1.0)
    return np.concatenate([common, image["scale"] * difference, image["scale"] * coherence], axis=-1)


@pytest.mark.parametrize("seed", [0, 41])
def test_a_seed_composed_from_the_folder_alone_is_the_product_s_music(exported, seed) -> None:
    model, folder = exported
    network, runner = load_generator(model), Runner(folder)
    iterations = runner.table["phase"]["iterations"]
    steps = runner.table["sampling"]["steps"]
    composer = Composer(network, Sampling(seed=seed, steps=steps, phase_iterations=iterations))
    made = runner.compose(seed, blocks=3)  # more than a window: how windows go on counts, too
    _, wanted = composer.read(composer.start(), made.shape[1])
    assert made.shape[1] > network.latent_seq_len * network.hop_samples
    difference = np.sqrt(np.square(made - wanted.numpy()).mean() / np.square(wanted.numpy()).mean())
    print(f"root mean square of the difference over that of the music: {difference:.1e}")
    assert difference < 1e-2
    assert float(wanted.square().mean().sqrt()) > 0.01


def test_smaller_weights_stay_near_and_statistics_stay_exact(tmp_path) -> None:
    import onnx

    network = fitted_network(tmp_path, channels=2, image_bands=6)
    graph = graphs_of(network, steps=3, names=("decoder",))["decoder"]
    whole = to_onnx(graph)
    sizes = {"full": whole.ByteSize()}
    for precision, bound in {"half": 2e-3, "int8": 0.1}.items():
        copy = onnx.ModelProto.FromString(whole.SerializeToString())
        model = in_precision(copy, precision, statistics=graph.statistics)
        assert 0.0 < largest_difference(model, graph) < bound
        sizes[precision] = model.ByteSize()
        kept = {tensor.name: tensor for tensor in model.graph.initializer}
        unwhiten = onnx.numpy_helper.to_array(kept["normaliser.unwhiten"])
        assert np.array_equal(unwhiten, network.normaliser.unwhiten.numpy())
    assert sizes["int8"] < sizes["half"] < sizes["full"]


def test_no_graph_says_where_it_was_made(exported) -> None:
    _, folder = exported
    for path in folder.glob("*.onnx"):
        assert str(Path(__file__).parents[1]).encode() not in path.read_bytes()


def test_a_folder_of_another_model_is_never_written_over(exported, tmp_path, capsys) -> None:
    _, folder = exported
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = give_away(fitted_network(tmp_path, channels=1, steps=7), tmp_path / "other")
    assert main(["--checkpoints", str(other), "--to", "onnx", "--output", str(folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_same_model_may_be_exported_into_its_folder_again(exported) -> None:
    model, folder = exported
    options = parse_arguments(["--checkpoints", str(model), "--to", "onnx"])
    before = sorted(path.name for path in folder.iterdir())
    claim_folder(folder, before, made=model_of(options), options=options)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["--checkpoints", "shipped", "--to", "onnx", "--output", str(tmp_path / "out")]) == 2
    assert 'pip install -e ".[onnx]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_to_learn_on_from_are_never_rounded_to_8_bits(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--checkpoints", str(tmp_path), "--int8", "--output", str(tmp_path / "out")])
    assert ended.value.code == 2 and "--to onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("nn~", ["--licence", "CC-BY-4.0"]),
        ("onnx", ["--about", "my songs"]),
        ("web", ["--samples", "0"]),
        ("nn~", ["--half"]),
        ("safetensors", ["--steps", "4"]),
        ("onnx", ["--runtime", "here"]),
        ("neutone", ["--with-discriminator"]),
    ],
)
def test_what_a_format_has_no_use_for_is_refused_not_forgotten(kind, given, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--checkpoints", "shipped", "--to", kind, *given])
    assert f"--to {kind} has no use for it" in " ".join(capsys.readouterr().err.split())


def test_model_json_is_plain_json_without_infinities(exported) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    _, folder = exported
    table = json.loads((folder / "model.json").read_text(encoding="ascii"), parse_constant=refuse)
    assert (table["format"], table["format_version"]) == ("musigan-onnx", 1)
    assert table["files"].keys() == {"endpoint", "encoder", "decoder"}
