"""A run that diverges, whose folder is taken away, whose disk is full: one sentence, and what was whole stays whole."""

import resource
import shutil
from pathlib import Path

import pytest
import torch

from piano import piano_main
from piano.foundation.checkpoint_format import checkpoint_path, complete_epochs, read_checkpoint
from piano.foundation.errors import EXIT_RUINED, TrainingError
from piano.foundation.notify import Messenger
from piano.foundation.run_log import read_history
from piano.piano_main import reported
from piano.piano_pretrain import pretrain_generator, train_autoencoder
from piano.training.fitting import fit_normaliser, fit_style
from piano.training.training_run import TrainingRun
from piano.watching.gates import Gatekeeper
from tests.tiny_run import On, start_run, tiny_config, write_config, write_dataset

SHORT = {"pretrain_epochs_g": 4, "pretrain_epochs_d": 0, "epochs": 0, "sample_seconds": 0.5, "doctor": "off"}


def poison(run: TrainingRun, value: float) -> None:
    """Weights that training made useless."""
    with torch.no_grad():
        for network in (run.generator, run.average.network):
            for parameter in network.autoencoder.parameters():
                parameter.fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e20, 3e38])
def test_a_diverged_model_ends_in_a_sentence_wherever_it_is_noticed(tmp_path, value) -> None:
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=2))
    assert run.ruin() == ""
    run.stage = "autoencoder"
    poison(run, value)
    assert "training diverged in stage autoencoder" in run.ruin()
    gatekeeper = Gatekeeper(tmp_path, sample_seconds=0.5, sample_count=1)
    run.stage_step = 2
    for work in (gatekeeper.write_samples, lambda run: gatekeeper.after_stage(run, "autoencoder"), run_flow):
        with pytest.raises(TrainingError, match="diverged"), reported(run, Messenger([])):
            work(run)
            run.save()
            raise TrainingError("diverged without a word")  # what came out was finite: nothing was wrong with it
    if not torch.isfinite(torch.tensor(value)):
        assert not complete_epochs(tmp_path)


def run_flow(run: TrainingRun) -> None:
    fit_normaliser([run.generator, run.average.network], run.data)
    networks = [run.generator, run.average.network]
    fit_style(networks, run.data, frames=run.settings("flow").frames, seed=0)


@pytest.mark.parametrize("error", [NotImplementedError("no kernel for this device"), torch.AcceleratorError("lost")])
def test_what_a_device_cannot_do_is_not_taken_for_a_diverged_model(tmp_path, monkeypatch, error) -> None:
    run = start_run(tiny_config(tmp_path))

    def encode(sound: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(run.average.network, "encode", encode)
    assert run.ruin() == ""
    with pytest.raises(type(error), match=str(error)), reported(run, Messenger([])):
        raise error


def test_an_error_of_our_own_stays_one(tmp_path) -> None:
    run = start_run(tiny_config(tmp_path))
    with pytest.raises(IndexError, match="ours"), reported(run, Messenger([])):
        raise IndexError("ours")


def test_weights_that_are_no_numbers_are_never_saved(tmp_path) -> None:
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=2, doctor="off"))

    def spoil(run: TrainingRun) -> None:
        if run.epoch == 2:
            poison(run, float("nan"))

    run.watch(On(before_save=spoil))
    with pytest.raises(TrainingError, match=r"weights became NaN or infinite.*\(epoch 1\)"):
        pretrain_generator(run)
    assert complete_epochs(tmp_path) == [1]


@pytest.fixture
def project(tmp_path) -> Path:
    write_dataset(tmp_path / "dataset")
    write_config(tmp_path, **SHORT)
    return tmp_path


def train(project: Path, *more: str) -> int:
    return piano_main.main(["--config", str(project / "config.yaml"), *more])


def test_a_folder_that_is_removed_in_the_middle_is_made_again_and_can_be_resumed(project, monkeypatch, capsys) -> None:
    write_samples = Gatekeeper.write_samples

    def remove(gatekeeper, run, **options):
        write_samples(gatekeeper, run, **options)
        if run.epoch == 2 and (project / "dataset").exists():
            shutil.rmtree(project / "checkpoints")
            shutil.rmtree(project / "dataset")

    monkeypatch.setattr(Gatekeeper, "write_samples", remove)
    assert train(project) == EXIT_RUINED
    assert "was emptied or removed: it is made again" in " ".join(capsys.readouterr().out.split())
    assert complete_epochs(project / "checkpoints") == [2, 3, 4]  # the end of the stage saved epoch 2 again
    monkeypatch.undo()
    assert train(project, "--resume") == 2
    assert capsys.readouterr().err.partition(": ")[2].startswith(f"{project / 'dataset'} holds no data set.")
    write_dataset(project / "dataset")
    assert train(project, "--resume") == EXIT_RUINED


@pytest.mark.parametrize("most_bytes", [300, 20_000])
def test_a_disk_that_is_full_for_the_log_or_a_logger_is_one_sentence(project, capfd, most_bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        status = train(project, "--set", "training.loggers=[tensorboard]")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capfd.readouterr().err
    assert status == 2
    assert "Traceback" not in error
    assert any(word in error for word in ("cannot write", "grew larger"))
    assert not list((project / "checkpoints").rglob("*.part*"))


def test_samples_that_cannot_be_written_are_one_sentence_after_the_checkpoint(project, capsys) -> None:
    (project / "checkpoints").mkdir()
    (project / "checkpoints" / "samples").write_text("no folder")
    assert train(project) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and str(project / "checkpoints" / "samples") in error
    assert complete_epochs(project / "checkpoints") == [1]
    (project / "checkpoints" / "samples").unlink()
    assert train(project, "--resume") == EXIT_RUINED
    assert complete_epochs(project / "checkpoints") == [1, 2, 3, 4]
    for epoch in range(1, 5):  # those of epoch 1 were made up for
        assert (project / "checkpoints" / "samples" / f"epoch_{epoch:04d}_sample_0.wav").is_file()


def test_samples_that_a_kill_took_are_made_up_for_as_they_would_have_been(project, tmp_path) -> None:
    assert train(project) == EXIT_RUINED
    samples = project / "checkpoints" / "samples"
    before = {path.name: path.read_bytes() for path in samples.glob("epoch_0004*.wav")}
    assert before
    for path in samples.glob("epoch_0004*"):
        path.unlink()
    (samples / ".epoch_0004.part.png").write_bytes(b"half")
    (samples / ".epoch_0004_sample_0.wav.0123abcd.part").write_bytes(b"half")
    assert train(project, "--resume") == EXIT_RUINED
    assert {path.name: path.read_bytes() for path in samples.glob("epoch_0004*.wav")} == before
    assert not [path for path in samples.iterdir() if ".part" in path.name]


DAMAGES = ["cut", *(pytest.param(name, marks=pytest.mark.slow) for name in ("removed", "emptied", "other"))]


@pytest.mark.parametrize("damage", [*DAMAGES, pytest.param("folder of events is a file", marks=pytest.mark.slow)])
def test_a_log_that_somebody_spoilt_stops_nobody(project, damage) -> None:
    folder = project / "checkpoints"
    assert train(project, "--set", "pretrain_epochs_g=2") == EXIT_RUINED
    log = folder / "metrics.jsonl"
    if damage == "removed":
        log.unlink()
    elif damage == "emptied":
        log.write_bytes(b"")
    elif damage == "cut":
        log.write_bytes(log.read_bytes()[:-40])
    elif damage == "other":
        log.write_bytes(b'{"stage": 7, "total_step": "x", "seconds": []}\n[1]\nnull\n\xff\n')
    else:
        (folder / "tensorboard").write_text("no folder")
    loggers = "training.loggers=[tensorboard]" if "events" in damage else "training.loggers=[]"
    assert train(project, "--resume", "--set", "pretrain_epochs_g=4", "--set", loggers) == EXIT_RUINED
    steps = [line["stage"] for line in read_history(folder) if "step" in line and "reconstruction" in line]
    assert steps[-2:] == ["autoencoder"] * 2
    newest = complete_epochs(folder)[-1]
    assert read_checkpoint(checkpoint_path(folder, "generator", newest), "generator")["epoch"] == newest


def test_a_half_written_stage_is_not_taken_for_a_whole_one(tmp_path) -> None:
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=2))
    train_autoencoder(run)
    assert run.finished_stages == ["autoencoder"] and run.learned["autoencoder"].steps == 2


def test_the_log_of_a_run_that_saved_nothing_is_kept_apart_from_the_next_one(tmp_path, capsys) -> None:
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path, **SHORT)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    killed = '{"stage": "autoencoder", "epoch": 1, "step": 0, "total_step": 0, "seconds": 1.0}\n'
    (folder / "metrics.jsonl").write_text(killed, encoding="ascii")
    assert piano_main.main(["--config", str(config)]) in (0, EXIT_RUINED)
    assert (folder / "metrics-unsaved.jsonl").read_text(encoding="ascii") == killed
    steps = [entry["total_step"] for entry in read_history(folder) if "step" in entry]
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert "metrics-unsaved.jsonl" in capsys.readouterr().out.replace("\n", "")
