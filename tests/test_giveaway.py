"""A folder to give away says all that the run knows, is checked by anybody, and replaces nothing of anybody's."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from piano import generate_music, verify
from piano.config_reader import CONFIG_NAME, dump_config
from piano.export_model import main as export
from piano.foundation.checkpoint_format import Best, write_best
from piano.foundation.dataset_format import dataset_identity, read_manifest
from piano.foundation.made_files import write_json
from piano.foundation.receipt import model_hash, read_receipt
from piano.foundation.sums import SUMS_NAME, compare_sums, files_below, read_sums, write_sums
from piano.licence import NONE_CHOSEN
from piano.piano_main import build_discriminator
from piano.utilities import load_checkpoint
from piano.vae_utilities import save_checkpoint
from tests.shown_commands import PROJECT
from tests.test_piano_model import build
from tests.tiny_run import tiny_config, write_dataset

MODELS = ("shipped", "mixed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with all that a run leaves: two epochs, settings, log, score, pictures, what it learned from."""
    folder = tmp_path_factory.mktemp("here") / "run"
    for epoch in (3, 12):
        generator = build()
        generator.default_steps.fill_(2)
        with torch.no_grad():
            generator.autoencoder.decoder.head.bias.add_(0.01 * epoch)
        save_checkpoint(generator, epoch, folder, "generator")
        save_checkpoint(build_discriminator(tiny_config(folder), generator), epoch, folder, "discriminator")
    write_best(folder, Best(3, 0.2, 2, "joint", 0.31))
    write_dataset(folder.parent / "dataset")
    config = tiny_config(folder, batch_size=6).model_copy(update={"dataset_folder": folder.parent / "dataset"})
    (folder / CONFIG_NAME).write_text(dump_config(config), encoding="utf-8")
    manifest = read_manifest(folder.parent / "dataset")
    songs = {split: list(names) for split, names in manifest.songs.items()}
    write_json(folder / "dataset.json", {"identity": dataset_identity(manifest), "songs": songs})
    score = {
        "event": "score",
        "stage": "joint",
        "kernel_score": 0.31,
        "low": 0.25,
        "high": 0.38,
        "clips": 24,
        "songs": 12,
    }
    log = [
        {"stage": "flow", "epoch": 1, "total_step": 1, "seconds": 60.0, "flow": 1.0},
        score | {"epoch": 3, "total_step": 40, "seconds": 600.0, "steps": 2, "ruler": 2, "diversity": 0.9},
        score | {"epoch": 12, "total_step": 90, "seconds": 1200.0, "steps": 2, "ruler": 2, "kernel_score": 0.52},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    for name in ("loss.png", "real_fake.png"):
        (folder / name).write_bytes(b"\x89PNG of " + name.encode())
    return folder


@pytest.fixture(scope="module")
def given(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What export makes of it, in half precision, with everything that can be wished."""
    folder = tmp_path_factory.mktemp("there") / "tiny_chords"
    wishes = ["--licence", "CC-BY-4.0", "--about", "Broken chords, made by rule.", "--samples", "2"]
    assert export(["--checkpoints", str(run), "--output", str(folder), "--half", "--with-discriminator", *wishes]) == 0
    return folder


@pytest.fixture
def copy(given: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(given, tmp_path / "copy"))


def verdict(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    status = verify.main([str(folder), *arguments])
    return status, capsys.readouterr().out.splitlines()


def test_the_folder_holds_all_that_belongs_to_a_model(given: Path) -> None:
    assert files_below(given) == [
        "LICENSE",
        "README.md",
        "discriminator.safetensors",
        "generator.safetensors",
        "figures/loss.png",
        "figures/real_fake.png",
        "samples/seed0_sample_0000.mp3",
        "samples/seed1_sample_0000.mp3",
    ]
    assert set(read_sums(given)) == set(files_below(given))
    assert (given / "figures" / "loss.png").read_bytes() == b"\x89PNG of loss.png"


def test_a_licence_that_was_chosen_stays_until_another_is_named(run: Path, copy: Path, capsys) -> None:
    words = ["--checkpoints", str(run), "--output", str(copy), "--half", "--with-discriminator", "--samples", "0"]
    chosen = (copy / "LICENSE").read_text()
    for more, name in (([], "cc-by-4.0"), (["--licence", "MIT"], "mit"), ([], "mit")):
        assert export([*words, *more]) == 0
        assert ("stays as it was chosen before" in capsys.readouterr().out) == (not more)
        assert f"license: {name}\n" in (copy / "README.md").read_text()
        assert verify.main([str(copy)]) == 0
        assert ((copy / "LICENSE").read_text() == chosen) == (name == "cc-by-4.0")


def test_the_list_is_the_one_of_sha256sum(given: Path) -> None:
    for name, found in read_sums(given).items():
        assert hashlib.sha256((given / name).read_bytes()).hexdigest() == found
    if shutil.which("sha256sum"):
        said = subprocess.run(
            ["sha256sum", "--check", "--strict", SUMS_NAME], cwd=given, capture_output=True, text=True
        )
        assert said.returncode == 0 and said.stdout.count(": OK") == len(read_sums(given))


def test_a_name_with_odd_letters_is_written_as_sha256sum_writes_it(tmp_path: Path) -> None:
    names = ["a b.txt", "back\\slash.txt", "line\nbreak.txt", "ü.txt"]
    for name in names:
        (tmp_path / name).write_text(name, encoding="utf-8")
    write_sums(tmp_path, names)
    assert set(read_sums(tmp_path)) == set(names) and compare_sums(tmp_path, read_sums(tmp_path)).lines == []
    if shutil.which("sha256sum"):
        said = subprocess.run(["sha256sum", *sorted(names)], cwd=tmp_path, capture_output=True, check=True)
        assert (tmp_path / SUMS_NAME).read_bytes() == said.stdout


def test_the_card_says_what_the_run_s_files_say(given: Path) -> None:
    text = (given / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["license"] == "cc-by-4.0" and values["library_name"] == "musigan" and "music" in values["tags"]
    for sentence in (
        "# tiny\\_chords",
        "8,000 Hz, mono",
        "matrices in half precision",
        "Everything that comes out of this model is made by a machine.",
        "Broken chords, made by rule.",
        "1 song, 12 seconds of music: learned from",
        "1 song, 4 seconds of music: kept to measure with",
        "The run learned for 20 minutes, 90 steps; this is its epoch 3, reached after 10 minutes.",
        "| `batch_size` | `6` | `16` |",
        "some way from real music (0.31 [0.25, 0.38]",
        "24 clips of 12 songs",
        "The 95 % interval of the kernel score 0.310 is 0.250 to 0.380.",
        "| diversity (real music: 1) | 0.90 |",
        "It hears 2.0 s at once.",
        "under CC-BY-4.0",
        "](figures/loss.png)",
        "](samples/seed1_sample_0000.mp3)",
    ):
        assert sentence in body, sentence
    assert "0.52" not in body  # another epoch's
    assert "runtime" not in body and "/" + given.parts[1] not in body  # nothing of where it was made


def test_a_card_of_a_run_that_left_nothing_says_that_nothing_is_known(tmp_path: Path) -> None:
    save_checkpoint(build(), 5, tmp_path / "run", "generator")
    output = tmp_path / "out"
    arguments = ["--checkpoints", str(tmp_path / "run"), "--epoch", "5", "--output", str(output), "--samples", "0"]
    assert export(arguments) == 0
    text = (output / "README.md").read_text(encoding="utf-8")
    for sentence in (
        "nobody has said",
        "the files of the run do not say",
        "The run left no log",
        "The run did not measure this epoch.",
        NONE_CHOSEN.strip(),
        "license: other\nlicense_name: none-chosen\nlicense_link: LICENSE\n",
    ):
        assert sentence in text, sentence
    assert (output / "LICENSE").read_text(encoding="utf-8") == NONE_CHOSEN
    assert "## Hear it" not in text and "## Figures" not in text


def test_samples_are_of_the_very_model_that_is_given_away(given: Path, run: Path) -> None:
    content = load_checkpoint(given, "generator")
    own = model_hash(content["model"], content["keywords"])
    whole = load_checkpoint(run, "generator")
    assert own != model_hash(whole["model"], whole["keywords"])  # half precision
    for seed in range(2):
        receipt = read_receipt(given / "samples" / f"seed{seed}_sample_0000.mp3")
        assert (receipt.model, receipt.seed, receipt.item, receipt.seconds) == (own, seed, 0, 20.0)


def test_rates_that_mp3_does_not_know_give_flac(tmp_path: Path) -> None:
    save_checkpoint(build(sample_rate=8100), 5, tmp_path / "run", "generator")
    output = tmp_path / "out"
    arguments = ["--checkpoints", str(tmp_path / "run"), "--epoch", "5", "--output", str(output), "--samples", "1"]
    assert export(arguments) == 0
    assert [path.name for path in (output / "samples").iterdir()] == ["seed0_sample_0000.flac"]
    assert verify.main([str(output)]) == 0


def test_a_licence_can_be_a_file_a_sentence_or_a_mistake(run: Path, tmp_path: Path, capsys) -> None:
    terms = tmp_path / "terms.md"
    terms.write_text("# My terms\nBe kind.", encoding="utf-8")
    for number, (licence, text, header) in enumerate(
        [(str(terms), "# My terms\nBe kind.\n", "see-licence"), ("For my friends.", "For my friends.\n", "see-licence")]
    ):
        output = tmp_path / str(number)
        arguments = ["--checkpoints", str(run), "--output", str(output), "--samples", "0", "--licence", licence]
        assert export(arguments) == 0
        assert (output / "LICENSE").read_text(encoding="utf-8") == text
        assert f"license_name: {header}" in (output / "README.md").read_text(encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for licence, said in (("none/there.md", "there is no file"), ("empty.txt", "is empty"), ("bytes.txt", "no text")):
        name = licence if "/" in licence else str(tmp_path / licence)
        assert export(["--checkpoints", str(run), "--output", str(tmp_path / "no"), "--licence", name]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


# --- nothing of anybody's is replaced --------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / name).read_bytes() for name in [*files_below(folder), SUMS_NAME] if (folder / name).is_file()
    }


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "SHA256SUMS", "figures/loss.png"])
def test_a_file_of_somebody_else_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, capsys, name: str
) -> None:
    output = tmp_path / "out"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    arguments = ["--checkpoints", str(run), "--output", str(output), "--samples", "0"]
    assert export(arguments) == 2
    assert f"{Path(name).name} is there already" in capsys.readouterr().err
    assert [path for path in output.rglob("*") if path.is_file()] == [output / name]
    assert (output / name).read_text() == "mine"
    assert export([*arguments, "--overwrite"]) == 0
    assert (output / name).read_bytes() != b"mine" and verify.main([str(output), "--quick"]) == 0


def test_an_export_goes_over_its_own_files_but_not_over_a_card_that_was_edited(
    run: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "out"
    arguments = ["--checkpoints", str(run), "--output", str(output), "--with-discriminator", "--samples", "1"]
    assert export(arguments) == 0
    (output / "notes.txt").write_text("mine")
    assert export([*arguments[:4], "--samples", "0", "--licence", "MIT"]) == 0  # judges and sample are not wanted now
    assert "removed" in capsys.readouterr().out
    assert set(read_sums(output)) == {"LICENSE", "README.md", "generator.safetensors", *figures()}
    assert (output / "notes.txt").read_text() == "mine"
    assert not (output / "discriminator.safetensors").exists() and not list((output / "samples").iterdir())
    with (output / "README.md").open("a", encoding="utf-8") as file:
        file.write("My own words.\n")
    before = contents(output)
    assert export([*arguments[:4], "--samples", "0"]) == 2
    assert "README.md is there already and holds something" in capsys.readouterr().err
    assert contents(output) == before


def figures() -> list[str]:
    return ["figures/loss.png", "figures/real_fake.png"]


def test_judges_of_another_model_are_never_left_beside_this_one(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["--checkpoints", str(run), "--output", str(output), "--samples", "0"]
    assert export([*arguments, "--with-discriminator"]) == 0
    (output / SUMS_NAME).unlink()  # as before there was a list
    (output / "README.md").unlink()
    (output / "LICENSE").unlink()
    shutil.rmtree(output / "figures")
    assert export([*arguments, "--epoch", "12"]) == 2
    assert export([*arguments, "--epoch", "12", "--overwrite"]) == 0
    assert not (output / "discriminator.safetensors").exists()


# --- verify ----------------------------------------------------------------------------------------------------------


def test_what_was_given_away_is_verified_to_the_last_sample(given: Path, capsys) -> None:
    status, lines = verdict(given, capsys)
    assert status == 0
    assert lines[0] == "SHA256SUMS: 8 files, all unchanged"
    assert lines[1].startswith("generator.safetensors: a generator, epoch 3, ") and lines[1].endswith("8,000 Hz mono")
    assert lines[2] == "discriminator.safetensors: a discriminator"
    assert lines[3] == "samples: 2 sounds, made by this model, their receipts say"
    assert lines[4] == "Making the first sample once more:"
    assert lines[5] == "samples/seed0_sample_0000.mp3: made again, identical, all 160000 samples."
    assert lines[6].endswith(": as it was given away.") and len(lines) == 7
    status, lines = verdict(given, capsys, "--quick")
    assert status == 0 and not any("made again" in line for line in lines)


def test_missing_changed_and_unlisted_files_are_each_named(copy: Path, capsys) -> None:
    (copy / "figures" / "loss.png").unlink()
    with (copy / "LICENSE").open("ab") as file:
        file.write(b"and more")
    (copy / "samples" / "extra.txt").write_text("new")
    (copy / ".hidden").write_text("of the system")
    status, lines = verdict(copy, capsys, "--quick")
    assert status == 1
    assert lines[:3] == [
        "figures/loss.png: missing",
        "LICENSE: changed since it was listed",
        "samples/extra.txt: not listed in SHA256SUMS",
    ]
    assert lines[-1].endswith(": NOT as it was given away.")


def resum(folder: Path) -> None:
    """A list that fits, as whoever changed a file would write it."""
    write_sums(folder, files_below(folder))


def test_weights_that_are_no_model_are_told_though_the_list_fits(copy: Path, capsys) -> None:
    path = copy / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    resum(copy)
    status, lines = verdict(copy, capsys)
    assert status == 1 and "SHA256SUMS: 8 files, all unchanged" in lines
    assert any("generator.safetensors is damaged" in line for line in lines)


def test_samples_of_another_model_and_without_a_receipt_are_told(copy: Path, run: Path, capsys) -> None:
    words = ["--checkpoints", str(run), "--epoch", "12", "--output", str(copy / "samples"), "--count", "1"]
    words += ["--seconds", "1", "--seed", "7", "--format", "flac", "--device", "cpu"]
    assert generate_music.main(words) == 0
    soundfile.write(copy / "samples" / "bare.wav", np.zeros(800), 8000)
    resum(copy)
    status, lines = verdict(copy, capsys, "--quick")
    assert status == 1
    assert "samples/seed7_sample_0000.flac: made by another model, its receipt says" in lines
    assert any("bare.wav carries no receipt" in line for line in lines)


def test_a_sound_that_is_not_what_its_receipt_makes_is_told(copy: Path, capsys) -> None:
    path = copy / "samples" / "seed0_sample_0000.mp3"
    with soundfile.SoundFile(path) as file:
        comment, sound, rate = file.comment, file.read(), file.samplerate
    with soundfile.SoundFile(path, "w", rate, 1, format="MP3") as file:
        file.comment = comment
        file.write(sound[::-1].copy())
    resum(copy)
    status, lines = verdict(copy, capsys)
    assert status == 1
    assert any(line.startswith("samples/seed0_sample_0000.mp3: made again, differs:") for line in lines)
    assert verdict(copy, capsys, "--quick")[0] == 0


@pytest.mark.parametrize(
    "line", ["nonsense", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/hostname", f"{'0' * 63}  a"]
)
def test_a_list_that_is_none_or_leads_elsewhere_is_a_mistake(copy: Path, capsys, line: str) -> None:
    (copy / SUMS_NAME).write_text(f"{line}\n")
    assert verify.main([str(copy)]) == 2
    assert "line 1 of" in capsys.readouterr().err


def test_nothing_to_verify_is_a_mistake(copy: Path, tmp_path: Path, capsys) -> None:
    assert verify.main([str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert verify.main([str(tmp_path)]) == 2
    assert "there is no generator.safetensors" in capsys.readouterr().err
    (copy / SUMS_NAME).unlink()
    assert verify.main([str(copy)]) == 2
    assert "there is no SHA256SUMS" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(copy: Path, capsys) -> None:
    (copy / "LICENSE").unlink()
    os.mkfifo(copy / "LICENSE")
    status, lines = verdict(copy, capsys, "--quick")
    assert status == 1 and lines[0] == "LICENSE: missing"


@pytest.mark.parametrize("name", MODELS)
def test_the_models_that_come_with_the_project_are_as_they_were_given_away(name: str, capsys) -> None:
    status, lines = verdict(PROJECT / "checkpoints" / name, capsys, "--quick")
    assert status == 0, lines


def test_a_sample_of_the_project_s_own_model_is_made_again(capsys) -> None:
    status, lines = verdict(PROJECT / "checkpoints" / "mixed", capsys)
    assert status == 0, lines
    assert any(line.startswith("samples/seed_0.mp3: made again,") for line in lines)
