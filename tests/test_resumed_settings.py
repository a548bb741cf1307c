"""A run goes on with its own settings, changed by what is asked for now and by nothing else."""

from pathlib import Path

import pytest

from piano import piano_main
from piano.config_reader import Config, dump_config, load_config_from_yaml
from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.errors import EXIT_RUINED, ConfigError
from piano.piano_main import parse_arguments, read_config
from piano.resumed_settings import MOST_NAMES
from piano.watching.gates import Gatekeeper
from tests.tiny_run import tiny_config, write_config, write_dataset


def leave_run(folder: Path, **overrides) -> Path:
    """The settings that a run leaves in its folder."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(tiny_config(folder, **overrides)))
    return folder


def resumed(*arguments: object) -> Config:
    return read_config(parse_arguments(["--resume", *map(str, arguments)]))


def test_a_plain_resume_has_the_time_the_seed_and_every_setting_of_the_run(tmp_path):
    run = leave_run(tmp_path / "run", minutes=60, seed=3, learning_rate_disc=0.01, runtime__devices=2)
    own = load_config_from_yaml(run / "config.yaml")
    assert resumed("--checkpoints", run) == own.model_copy(update={"resume_from_checkpoint": True})


def test_what_is_given_now_wins_and_null_takes_a_setting_away(tmp_path):
    run = leave_run(tmp_path / "run", minutes=60, seed=3)
    config = resumed(
        "--checkpoints",
        run,
        "--set",
        "epochs=50",
        "--seed",
        4,
        "--minutes",
        5,
        "--devices",
        2,
        "--dataset",
        tmp_path / "other",
    )
    assert (config.epochs, config.seed, config.minutes, config.runtime.devices) == (50, 4, 5.0, 2)
    assert config.dataset_folder == tmp_path / "other"
    assert config.batch_size == 4  # the run's own, which no preset has
    assert resumed("--checkpoints", run, "--set", "minutes=null").minutes is None


def test_a_setting_that_fits_the_run_need_not_fit_config_yaml(tmp_path):
    run = leave_run(tmp_path / "run", batch_size=96)
    assert resumed("--checkpoints", run, "--set", "accumulation_steps=96").accumulation_steps == 96


def test_a_run_that_was_moved_goes_on_where_it_lies_now(tmp_path):
    run = leave_run(tmp_path / "before", dataset_folder=str(tmp_path / "gone"))
    moved = run.rename(tmp_path / "now")
    config = resumed("--checkpoints", moved)
    assert (config.checkpoint_folder, config.checkpoint_folder_load) == (moved, None)
    assert config.dataset_folder == tmp_path / "gone"


def test_another_folder_goes_on_with_the_settings_of_the_one_it_comes_from(tmp_path):
    run = leave_run(tmp_path / "run", seed=3)
    config = resumed("20", "--checkpoints", tmp_path / "branch", "--set", f"checkpoint_folder_load={run}")
    assert (config.seed, config.resume_epoch) == (3, 20)
    assert (config.checkpoint_folder, config.checkpoint_folder_load) == (tmp_path / "branch", run)


def test_addresses_are_config_yaml_s_for_no_run_folder_holds_them(tmp_path, monkeypatch):
    run = leave_run(tmp_path / "run", training__notify=["ntfy://topic"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("notify: []", "notify: ntfy://mine")
    )
    assert resumed("--checkpoints", run).training.notify == ["ntfy://mine"]


def test_config_yaml_does_not_count_and_one_line_says_so(tmp_path, monkeypatch, capsys):
    run = leave_run(tmp_path / "run", seed=3)
    monkeypatch.chdir(tmp_path)
    same = tiny_config(tmp_path / "elsewhere", seed=3, dataset_folder="/nowhere")
    (tmp_path / "config.yaml").write_text(dump_config(same))
    resumed("--checkpoints", run)
    assert capsys.readouterr().out == ""  # folders are no matter of learning
    changed = {"seed": 9, "epochs": 7, "stages": same.stages.model_copy(update={"ear": dict(same.stages)["joint"]})}
    (tmp_path / "config.yaml").write_text(dump_config(same.model_copy(update=changed)))
    config = resumed("--checkpoints", run, "--set", "epochs=50")
    assert (config.seed, config.epochs) == (3, 50)
    line = " ".join(capsys.readouterr().out.split())
    assert "not used of config.yaml: seed (9, the run: 3), stages.ear.frames (32, the run: 16). Change" in line
    names = {name: 0.5 for name in same.loss_weights}
    (tmp_path / "config.yaml").write_text(dump_config(same.model_copy(update={"loss_weights": names})))
    resumed("--checkpoints", run)
    line = " ".join(capsys.readouterr().out.split())
    assert line.count("the run:") == MOST_NAMES and " more. " in line


def test_a_file_that_is_named_counts_and_one_line_says_what_it_changes(tmp_path, capsys):
    run = leave_run(tmp_path / "run", seed=3, minutes=60)
    other = leave_run(tmp_path / "other", seed=9, minutes=60) / "config.yaml"
    config = resumed("--config", other, "--checkpoints", run)
    assert (config.seed, config.checkpoint_folder) == (9, run)
    assert " ".join(capsys.readouterr().out.split()) == f"{other} changes the run's settings: seed (9, was 3)."
    resumed("--config", other, "--checkpoints", run, "--seed", 5)
    assert capsys.readouterr().out == ""


def test_a_fine_tuning_run_keeps_what_it_adopted_even_before_a_named_file(tmp_path, capsys):
    run = leave_run(tmp_path / "run", start_from=str(tmp_path / "model"), model__n_channels=16)
    other = leave_run(tmp_path / "other", epochs=50) / "config.yaml"
    config = resumed("--config", other, "--checkpoints", run)
    assert (config.start_from, config.model.n_channels, config.epochs) == (tmp_path / "model", 16, 50)
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"{other} changes the run's settings: epochs (50, was 6)."
    begun = leave_run(tmp_path / "begun")
    assert resumed("--config", run / "config.yaml", "--checkpoints", begun).start_from is None


def test_another_preset_and_another_start_are_refused(tmp_path):
    run = leave_run(tmp_path / "run")
    assert resumed("--checkpoints", run, "--preset", "tiny").batch_size == 4
    with pytest.raises(ConfigError, match="has preset tiny: it cannot go on as small"):
        resumed("--checkpoints", run, "--preset", "small")
    with pytest.raises(ConfigError, match="give one of them"):
        resumed("--checkpoints", run, "--set", "start_from=shipped")


class PowerCut(Exception):
    """The run is gone."""


@pytest.mark.slow
def test_a_power_cut_and_a_plain_resume_lose_no_setting(tmp_path, monkeypatch, capsys):
    """Twice cut: what is asked for when it is resumed belongs to the run from then on."""
    write_dataset(tmp_path / "dataset")
    config = write_config(tmp_path)
    write_samples, run = Gatekeeper.write_samples, tmp_path / "checkpoints"
    cut = {3, 5}

    def interrupt(gatekeeper, run, **options):
        write_samples(gatekeeper, run, **options)
        if run.epoch in cut:
            cut.remove(run.epoch)
            raise PowerCut

    monkeypatch.setattr(Gatekeeper, "write_samples", interrupt)
    with pytest.raises(PowerCut):
        piano_main.main(["--config", str(config), "--set", "keep_every=1", "--seed", "3"])
    with pytest.raises(PowerCut):
        piano_main.main(["--checkpoints", str(run), "--resume", "--set", "epochs=3"])
    assert piano_main.main(["--checkpoints", str(run), "--resume"]) == EXIT_RUINED
    kept = load_config_from_yaml(run / "config.yaml")
    assert (kept.epochs, kept.seed, kept.keep_every, kept.resume_from_checkpoint) == (3, 3, 1, False)
    assert complete_epochs(run) == list(range(1, 9))
    capsys.readouterr()
    assert piano_main.main(["--checkpoints", str(run), "--resume", "--set", "epochs=9"]) == EXIT_RUINED
    assert "The whole run is divided anew. These learn: ear" in capsys.readouterr().out.replace("\n", " ")
    assert complete_epochs(run)[-1] > 8
    assert piano_main.main(["--checkpoints", str(run), "--resume"]) == EXIT_RUINED
    assert "Every stage of this run is over" in capsys.readouterr().out


def test_a_data_set_that_is_gone_is_one_sentence(tmp_path, capsys):
    run = leave_run(tmp_path / "run", dataset_folder=str(tmp_path / "gone"))
    assert piano_main.main(["--checkpoints", str(run), "--resume"]) == 2
    line = capsys.readouterr().err.splitlines()[0]
    assert line.partition(": ")[2] == f"{tmp_path / 'gone'} holds no data set. Make one from a folder of music:"
