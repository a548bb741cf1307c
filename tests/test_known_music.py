"""A run knows what it learned from: music that judges was never a lesson, and what is no music is refused at once."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from piano import piano_main
from piano.foundation.checkpoint_format import checkpoint_path, complete_epochs, read_best
from piano.foundation.dataset_format import open_pairs, read_manifest, set_path, write_manifest
from piano.foundation.errors import EXIT_RUINED, DatasetError
from piano.foundation.run_log import read_history
from piano.piano_model import AudioDataset
from piano.training.known_music import KnownMusic, refuse_useless
from tests.tiny_run import write_config, write_dataset

SHORT = {"pretrain_epochs_g": 2, "pretrain_epochs_d": 0, "epochs": 0, "sample_seconds": 0.5, "doctor": "off"}


def rename(folder: Path, **songs: tuple[str, ...]) -> None:
    """Write a manifest that names other songs."""
    write_manifest(folder, dataclasses.replace(read_manifest(folder), songs=songs))


def music_of(folder: Path) -> KnownMusic:
    return KnownMusic(AudioDataset.from_folder(folder, "training"), AudioDataset.from_folder(folder, "validation"))


def went_on(before: KnownMusic, folder: Path) -> KnownMusic:
    """What a run that knew `before` knows when it goes on with a data set."""
    now = music_of(folder)
    now.load_state_dict(before.state_dict())
    return now


def test_a_song_that_was_learned_from_and_judges_now_is_named(tmp_path) -> None:
    first = music_of(write_dataset(tmp_path / "first"))
    same = went_on(first, write_dataset(tmp_path / "moved"))
    assert same.is_same and same.learned_from() == [] and same.change_in_words(tmp_path) == ""
    other = write_dataset(tmp_path / "other")
    rename(other, training=("third.mp3",), validation=("fourth.mp3",))
    third = went_on(first, other)
    assert not third.is_same and third.learned_from() == []
    assert third.change_in_words(Path("d")) == "The data set in d is another one since this run last learned."
    swapped = write_dataset(tmp_path / "swapped")
    rename(swapped, training=("validation.mp3",), validation=("training.mp3",))
    assert went_on(first, swapped).learned_from() == ["training.mp3"]
    # nothing is forgotten on the way: the first lesson still counts after a second one
    assert went_on(third, swapped).learned_from() == ["training.mp3"]
    back = went_on(third, tmp_path / "first")
    assert back.learned_from() == [] and not back.is_same


def test_songs_count_by_the_hash_of_their_file_where_it_is_known(tmp_path) -> None:
    folder = write_dataset(tmp_path / "a")
    hashes = {"training": ("aa",), "validation": ("bb",)}
    write_manifest(folder, dataclasses.replace(read_manifest(folder), sha256=hashes))
    first = music_of(folder)
    renamed = write_dataset(tmp_path / "b")
    rename(renamed, training=("x.mp3",), validation=("y.mp3",))
    write_manifest(renamed, dataclasses.replace(read_manifest(renamed), sha256=hashes))
    assert went_on(first, renamed).is_same
    hashes = {"training": ("cc",), "validation": ("aa",)}
    write_manifest(renamed, dataclasses.replace(read_manifest(renamed), sha256=hashes))
    assert went_on(first, renamed).learned_from() == ["y.mp3"]
    rename(renamed, training=("x.mp3",), validation=("training.mp3",))
    hashes = {"training": ("cc",), "validation": ("dd",)}
    write_manifest(renamed, dataclasses.replace(read_manifest(renamed), sha256=hashes))
    assert went_on(first, renamed).learned_from() == []  # another file of the same name


def test_music_that_was_prepared_anew_under_the_same_names_is_another_sound(tmp_path) -> None:
    folder = write_dataset(tmp_path)
    first = music_of(folder)
    np.save(set_path(folder, "training"), 0.5 * np.asarray(open_pairs(folder, "training")))
    now = went_on(first, folder)
    assert not now.is_same and now.learned_from() == []
    assert "their sound was prepared anew" in now.change_in_words(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "dataset")
    write_config(folder, **SHORT)
    assert piano_main.main(["--config", str(folder / "config.yaml")]) == EXIT_RUINED
    return folder


@pytest.fixture
def project(trained: Path, tmp_path) -> Path:
    """A copy of a run that is over, with its data set."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for path in (copy / "config.yaml", copy / "checkpoints" / "config.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace(str(trained), str(copy)), encoding="utf-8")
    return copy


def resume(project: Path, *more: str, dataset: str = "dataset") -> int:
    return piano_main.main(
        ["--checkpoints", str(project / "checkpoints"), "--resume", "--dataset", str(project / dataset), *more]
    )


def test_a_data_set_whose_songs_changed_sides_is_refused_and_named(project: Path, capsys) -> None:
    best = read_best(project / "checkpoints")
    assert best is not None
    assert resume(project) == EXIT_RUINED and "data set" not in capsys.readouterr().out
    rename(project / "dataset", training=("validation.mp3",), validation=("training.mp3",))
    assert resume(project) == 2
    error = capsys.readouterr().err
    assert "was made again: training.mp3 was learned from before, and would judge now" in error
    assert read_best(project / "checkpoints") == best
    assert resume(project, "--anyway") == EXIT_RUINED
    assert "is forgotten" in " ".join(capsys.readouterr().out.split())
    assert read_best(project / "checkpoints") is None
    (event,) = [line for line in read_history(project / "checkpoints") if line.get("event") == "data set"]
    assert "training.mp3 was learned from before" in event["sentence"]


def test_another_data_set_is_said_and_judgements_are_forgotten(project: Path, capsys) -> None:
    write_dataset(project / "other", count=5)
    rename(project / "other", training=("c.mp3",), validation=("d.mp3",))
    assert resume(project, dataset="other") == EXIT_RUINED
    assert "is another one since this run last learned" in " ".join(capsys.readouterr().out.split())
    assert read_best(project / "checkpoints") is None
    assert '"d.mp3"' in (project / "checkpoints" / "dataset.json").read_text(encoding="ascii")


def test_a_checkpoint_of_an_earlier_version_goes_on_with_a_note(project: Path, capsys) -> None:
    epoch = complete_epochs(project / "checkpoints")[-1]
    path = checkpoint_path(project / "checkpoints", "generator", epoch)
    content = torch.load(path, weights_only=True)
    for name in ("learned", "reopened", "planned"):
        del content["run"][name]
    del content["run"]["stateful"]["music"]
    torch.save(content, path)
    assert resume(project) == EXIT_RUINED
    said = " ".join(capsys.readouterr().out.split())
    assert "An earlier version began this run" in said and "divided anew" not in said
    assert read_best(project / "checkpoints") is not None


def test_fine_tuning_is_not_judged_by_what_the_model_learned_from(project: Path, tmp_path, capsys) -> None:
    rename(project / "dataset", training=("validation.mp3",), validation=("training.mp3",))
    arguments = [
        "--config",
        str(project / "config.yaml"),
        "--from",
        str(project / "checkpoints"),
        "--checkpoints",
        str(tmp_path / "tuned"),
    ]
    assert piano_main.main(arguments) == 2
    assert "training.mp3 was learned from by the model" in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("split", ["training", "validation"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_one_number_that_is_none_is_found_before_the_first_step(tmp_path, capsys, split, value) -> None:
    write_dataset(tmp_path / "dataset")
    pairs = np.load(set_path(tmp_path / "dataset", split), mmap_mode="r+")
    pairs[1, 1, 0, 777] = value
    pairs.flush()
    assert piano_main.main(["--config", str(write_config(tmp_path))]) == 2
    error = capsys.readouterr().err
    place = f"pair 1 of {set_path(tmp_path / 'dataset', split)}"
    assert error.startswith(f"Error: {place} holds NaN, infinite or far too large ")
    assert not (tmp_path / "checkpoints").exists()


def test_silent_music_is_refused_and_some_silence_is_not(tmp_path) -> None:
    folder = write_dataset(tmp_path, count=30)
    path = set_path(folder, "training")
    pairs = np.load(path)
    pairs[1:] = 0.0
    np.save(path, pairs)
    with pytest.raises(DatasetError, match=r"the training music in .* is silent \(29 of 30 pairs\)"):
        refuse_useless(AudioDataset.from_folder(folder, "training"), "training", folder)
    pairs[:3] = 1e-3
    np.save(path, pairs)
    refuse_useless(AudioDataset.from_folder(folder, "training"), "training", folder)


def test_no_data_set_is_said_before_pytorch_is_loaded(tmp_path) -> None:
    code = (
        "import sys; from piano import piano_main\n"
        "status = piano_main.main(sys.argv[1:]); print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--dataset", str(tmp_path / "none"), "--checkpoints", str(tmp_path / "new")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.stdout == "2 False\n"
    assert done.stderr.partition(": ")[2].startswith(f"{tmp_path / 'none'} holds no data set. Make one")
    assert not (tmp_path / "new").exists()
