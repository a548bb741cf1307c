"""A model that is given away reads back the same, and a hostile or damaged file gives one sentence."""

import json
import shlex
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from piano import generate_music
from piano.composer import Composer, Sampling
from piano.discriminator import Discriminator_with_mdisc
from piano.export_model import main
from piano.foundation import model_folder
from piano.foundation.checkpoint_format import Best, write_best, write_whole
from piano.foundation.errors import CheckpointError
from piano.foundation.shipped_format import read_shipped, shipped_path, write_shipped
from piano.piano_main import build_discriminator
from piano.piano_model import VariationalAttentionModel
from piano.utilities import build_generator, choose_folder, load_checkpoint, load_discriminator, load_generator
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of two epochs, of which the first was judged best."""
    folder = tmp_path_factory.mktemp("run")
    for epoch in (3, 12):
        generator = build()
        generator.default_steps.fill_(epoch)
        with torch.no_grad():
            generator.autoencoder.decoder.head.bias.add_(0.01 * epoch)
        discriminator: Discriminator_with_mdisc = build_discriminator(tiny_config(folder), generator)
        discriminator.trained_steps.fill_(epoch)
        average = {name: value.clone() for name, value in generator.state_dict().items()}
        average["autoencoder.decoder.head.bias"] += 1.0
        save_checkpoint(generator, epoch, folder, "generator", average=average)
        save_checkpoint(discriminator, epoch, folder, "discriminator")
    write_best(folder, Best(3, 0.2, 4, "joint"))
    return folder


@pytest.fixture(scope="module")
def shipped(folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("exported")
    wanted = ["--with-discriminator", "--samples", "0"]
    assert main(["--checkpoints", str(folder), "--output", str(output), *wanted]) == 0
    return output


def test_the_best_epoch_is_exported_and_reads_back_exactly(folder, shipped):
    for role in ("generator", "discriminator"):
        own, given = load_checkpoint(folder, role, 3), load_checkpoint(shipped, role, "best")
        assert (given["epoch"], given["keywords"]) == (3, own["keywords"])
        state = own["average"] or own["model"]
        assert given["model"].keys() == state.keys()
        assert all(torch.equal(given["model"][name], state[name]) for name in state)
    first, second = (
        Composer(load_generator(place, "best"), Sampling(steps=2)).generate(1.0) for place in (folder, shipped)
    )
    assert torch.equal(first, second)
    assert int(load_discriminator(shipped, "latest").trained_steps) == 3


def test_the_header_says_what_a_reader_without_this_code_needs(shipped):
    data = shipped_path(shipped, "generator").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    assert metadata["role"] == "generator"
    assert (metadata["format_version"], metadata["epoch"], metadata["default_steps"]) == ("1", "3", "4")
    assert json.loads(metadata["keywords"]) == build().keywords


def test_half_precision_halves_matrices_only_and_changes_the_sound_little(folder, tmp_path, capsys):
    assert main(["--checkpoints", str(folder), "--output", str(tmp_path), "--half"]) == 0
    change = float(capsys.readouterr().out.split("differs from the checkpoint's by ")[1].split(" dB")[0])
    assert 0 < change < 0.1
    stored = load_file(shipped_path(tmp_path, "generator"))
    halved = {name for name, value in stored.items() if value.dtype == torch.float16}
    assert "autoencoder.decoder.head.weight" in halved
    exact = ("normaliser.", "autoencoder.mean_spectrum", "autoencoder.decoder.head.bias", "default_steps")
    assert not [name for name in halved if name.startswith(exact)]
    loaded = load_generator(tmp_path, "best")
    assert all(value.dtype == torch.float32 for value in loaded.parameters())
    whole = load_generator(folder, "best").state_dict()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3 if name in halved else 0, atol=1e-6)


def test_a_number_that_half_precision_cannot_hold_or_that_is_none_is_refused(tmp_path):
    path = tmp_path / "generator.safetensors"
    with pytest.raises(CheckpointError, match="leave out --half"):
        write_shipped(
            path, "generator", epoch=1, keywords={}, state={"w": torch.full((2, 2), 1e5)}, halved=frozenset({"w"})
        )
    with pytest.raises(CheckpointError, match="not finite"):
        write_shipped(path, "generator", epoch=1, keywords={}, state={"w": torch.tensor(float("nan"))})
    assert not path.exists()


def rewritten(shipped: Path, target: Path, **changes: Any) -> Path:
    """A copy of the generator with changed metadata; None removes a field."""
    content = read_shipped(shipped_path(shipped, "generator"), "generator")
    metadata = {
        "format_version": "1",
        "role": "generator",
        "epoch": "3",
        "keywords": json.dumps(content["keywords"]),
    } | changes
    save_file(
        content["model"],
        shipped_path(target, "generator"),
        metadata={name: value for name, value in metadata.items() if value is not None},
    )
    return shipped_path(target, "generator")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": "2"}, "newer MusiGAN"),
        ({"format_version": "one"}, "header does not say"),
        ({"epoch": None}, "header does not say"),
        ({"role": "discriminator"}, "holds a discriminator"),
        ({"keywords": "["}, "header does not say"),
        ({"keywords": "[" * 100_000}, "damaged|header does not say"),
        ({"keywords": "[]"}, "build no network"),
        ({"keywords": '{"n_fft": "512"}'}, "build no network"),
        ({"keywords": '{"n_fft": -1}'}, "build no network"),
        ({"keywords": '{"n_fft": NaN}'}, "build no network"),
    ],
)
def test_a_header_that_lies_gives_one_sentence(shipped, tmp_path, changes, message):
    path = rewritten(shipped, tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message) as error:
        read_shipped(path, "generator")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 10**9},
        {"n_channels": 10**7},
        {"attention_channels": 10**7},
        {"num_heads": 0},
        {"n_fft": 0},
        {"latent_stride": 0},
        {"surprise": 1},
        {"encoder_layers": 3},
        {"latent_dim": 7.5},
    ],
)
def test_keywords_that_ask_for_another_network_are_refused_before_memory_is_taken(shipped, tmp_path, changes):
    rewritten(shipped, tmp_path, keywords=json.dumps(build().keywords | changes))
    with pytest.raises(CheckpointError, match="does not fit this version|is damaged: its .* must be"):
        build_generator(load_checkpoint(tmp_path, "generator", "best"))


def test_no_damage_to_a_file_is_a_traceback(shipped, tmp_path, capsys):
    whole = shipped_path(shipped, "generator").read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    damaged = {
        "empty": b"",
        "short": whole[:5],
        "cut": whole[:-100],
        "no header": whole[8 + header :],
        "long header": struct.pack("<Q", 2**62) + whole[8:],
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "zeros": bytes(1000),
        "page": b"<html>not found</html>" * 10,
        "not finite": whole[:-4] + struct.pack("<f", float("inf")),
    }
    for data in damaged.values():
        shipped_path(tmp_path, "generator").write_bytes(data)
        arguments = ["--checkpoints", str(tmp_path), "--output", str(tmp_path / "out"), "--device", "cpu"]
        assert generate_music.main(arguments) == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1 and "generator.safetensors" in error


def test_a_missing_discriminator_writes_nothing(folder, tmp_path):
    save_checkpoint(build(), 5, tmp_path, "generator")
    wanted = ["--epoch", "5", "--output", str(tmp_path / "out"), "--with-discriminator"]
    assert main(["--checkpoints", str(tmp_path), *wanted]) == 2
    assert not (tmp_path / "out").exists()


def test_one_s_own_model_comes_before_the_shipped_one(folder, shipped, tmp_path, monkeypatch):
    monkeypatch.setattr("piano.utilities.shipped_folder", lambda: shipped)
    assert choose_folder(None, folder) == folder
    assert choose_folder(None, tmp_path) == shipped
    assert choose_folder(tmp_path, folder) == tmp_path
    monkeypatch.setattr("piano.utilities.shipped_folder", lambda: tmp_path / "nothing")
    assert choose_folder(None, tmp_path) == tmp_path


def test_shipped_is_a_name_unless_there_is_such_a_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Path(model_folder.__file__).parents[2]
    assert model_folder.named_folder("shipped") == project / "checkpoints" / "shipped"
    (tmp_path / "shipped").mkdir()
    assert model_folder.named_folder("shipped") == Path("shipped")


def test_a_fresh_clone_makes_music_without_naming_a_model_and_says_which_it_took(
    shipped, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for module in ("piano.utilities", "piano.generate_music"):
        monkeypatch.setattr(f"{module}.shipped_folder", lambda: shipped)
    Path("config.yaml").write_text("preset: tiny\n")
    assert generate_music.main(["--seconds", "1", "--count", "2"]) == 0
    output = capsys.readouterr()
    assert f"Playing the shipped model of {shipped}, epoch 3" in output.err.splitlines()[0]
    assert len(list((tmp_path / "music_out").glob("seed0_sample_*.wav"))) == 2


def test_an_epoch_the_shipped_model_does_not_hold_is_refused(shipped):
    assert load_checkpoint(shipped, "generator", 3)["epoch"] == 3
    with pytest.raises(CheckpointError, match="holds epoch 3 only"):
        load_checkpoint(shipped, "generator", 4)


def test_a_full_disk_leaves_the_old_file_and_one_sentence(tmp_path):
    path = tmp_path / "generator_epoch_1.pt"
    write_whole(path, lambda file: file.write(b"old"))

    def run_out_of_space(file) -> None:
        file.write(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 8706176 vs 8706064")

    with pytest.raises(CheckpointError, match=r"cannot write .*is the disk full.*untouched"):
        write_whole(path, run_out_of_space)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_goes_into_the_run_s_folder_and_replaces_no_other_model(folder, tmp_path, capsys):
    assert main(["--checkpoints", str(folder), "--samples", "0"]) == 0
    output = folder / "exported"
    names = ["LICENSE", "README.md", "SHA256SUMS", "generator.safetensors"]
    assert sorted(path.name for path in output.iterdir()) == names
    before = {path: path.read_bytes() for path in output.iterdir()}
    capsys.readouterr()
    for other in (["--epoch", "12"], ["--half"]):
        assert main(["--checkpoints", str(folder), *other]) == 2
        sentence, _, instead = capsys.readouterr().err.strip().splitlines()
        assert "generator.safetensors is there already and holds other work" in sentence
        assert instead.endswith("--overwrite")
        assert {path: path.read_bytes() for path in output.iterdir()} == before
    assert main(["--checkpoints", str(folder), "--samples", "0"]) == 0  # the same model once more is no other work
    assert main(["--checkpoints", str(folder), "--epoch", "12", "--overwrite", "--samples", "0"]) == 0
    assert load_checkpoint(output, "generator", "best")["epoch"] == 12


def test_the_commands_that_an_export_proposes_work_as_they_are(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wishes = ["--samples", "1", "--licence", "Ask me first."]
    assert main(["--checkpoints", str(folder), "--output", "mine", *wishes]) == 0
    capsys.readouterr()
    assert main(["--checkpoints", str(folder), "--epoch", "12", "--output", "mine", "--half", *wishes]) == 2
    beside, instead = (shlex.split(line)[2:] for line in capsys.readouterr().err.splitlines()[1:])
    assert main(beside) == 0
    assert load_checkpoint(Path("mine_epoch_12"), "generator")["epoch"] == 12
    assert load_checkpoint(Path("mine"), "generator")["epoch"] == 3
    assert main(instead) == 0
    assert load_checkpoint(Path("mine"), "generator")["epoch"] == 12
    for name in ("mine", "mine_epoch_12"):
        assert (Path(name) / "LICENSE").read_text() == "Ask me first.\n"
        assert [path.name for path in (Path(name) / "samples").iterdir()] == ["seed0_sample_0000.mp3"]


def test_an_epoch_that_cannot_compose_yet_is_exported_by_its_number_only(tmp_path, capsys):
    run = tmp_path / "run"
    generator = VariationalAttentionModel(**tiny_config(run).model.model_dump())
    save_checkpoint(generator, 1, run, "generator", run={"stage": "autoencoder", "finished_stages": []})
    save_checkpoint(build_discriminator(tiny_config(run), generator), 1, run, "discriminator")
    assert main(["--checkpoints", str(run)]) == 2
    first, again = capsys.readouterr().err.strip().splitlines()[-2:]
    sentence = "epoch 1 has not learned to compose yet (its run is in stage autoencoder): what it plays is noise"
    assert sentence in first
    assert not (run / "exported").exists()
    assert main(shlex.split(again)[2:]) == 0
    assert sentence[1:] in " ".join(capsys.readouterr().out.split())
    assert (run / "exported" / "generator.safetensors").is_file()


def test_an_export_refuses_before_it_writes_one_of_two_files(folder, tmp_path, capsys):
    wanted = ["--output", str(tmp_path), "--with-discriminator", "--samples", "0"]
    assert main(["--checkpoints", str(folder), *wanted]) == 0
    for name in ("generator.safetensors", "README.md", "LICENSE", "SHA256SUMS"):
        (tmp_path / name).unlink()
    before = (tmp_path / "discriminator.safetensors").read_bytes()
    assert main(["--checkpoints", str(folder), "--epoch", "12", *wanted]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["discriminator.safetensors"]
    assert (tmp_path / "discriminator.safetensors").read_bytes() == before


def test_a_model_that_was_given_away_is_not_exported_again(shipped, tmp_path, capsys) -> None:
    assert main(["--checkpoints", str(shipped), "--output", str(tmp_path / "out")]) == 2
    assert "holds a model as it is given away already" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
