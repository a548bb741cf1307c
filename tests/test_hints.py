"""A hint that is shown can be typed as it is, and works."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep import create_dataset, prepare_dataset
from piano.checkup import command as doctor
from piano.config_reader import load_config_from_yaml, no_run_text
from piano.foundation.audio_io import write_audio
from piano.foundation.model_folder import shipped_folder
from piano.foundation.screen_text import counted
from piano.piano_main import unknown_music_text
from piano.report import report
from tests.tiny_run import write_config, write_dataset

ROOT = Path(__file__).resolve().parent.parent


def test_a_music_folder_as_the_input_of_a_data_set_is_prepared_first(tmp_path, monkeypatch, capsys) -> None:
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    for number in range(2):
        write_audio(tmp_path / "my music" / f"{number}.wav", 0.1 * np.roll(np.tile(noise, 8), number), 8000)
    assert create_dataset.main(["--input", str(tmp_path / "my music")]) == 2
    commands = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    prepare, dataset = (shlex.split(line) for line in commands)
    assert prepare[:2] == ["musigan", "prepare"] and dataset == ["musigan", "dataset"]
    assert prepare_dataset.main(prepare[2:]) == 0
    assert load_config_from_yaml().prepared_folder.is_dir()
    capsys.readouterr()


@pytest.mark.parametrize(("verb", "main"), [("report", report.main), ("doctor", doctor.main)])
def test_a_run_that_is_not_here_is_shown_where_it_is(tmp_path, monkeypatch, capsys, verb, main) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_config(home)
    monkeypatch.chdir(home)
    assert main(["elsewhere"]) == 2
    told = capsys.readouterr().err
    assert f"there is no folder {home / 'elsewhere'}" in told and "musigan prepare" in told
    (home / "checkpoints").mkdir()
    (home / "checkpoints" / "generator_epoch_1.pt").touch()
    assert main(["elsewhere"]) == 2
    hint = capsys.readouterr().err.splitlines()[-1]
    assert shlex.split(hint) == ["musigan", verb, str(home / "checkpoints")]
    assert "musigan" in no_run_text(home / "checkpoints" / "x", verb)


def test_a_misspelt_start_is_answered_before_pytorch_is_loaded(tmp_path) -> None:
    write_dataset(tmp_path / "dataset")
    write_config(tmp_path)
    script = (
        "import sys; from piano.piano_main import main; status = main(sys.argv[1:]); "
        "sys.exit(9 if 'torch' in sys.modules else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--from", "shiped", "--minutes", "5"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Did you mean shipped?" in done.stderr


def test_what_a_model_learned_from_is_said_where_it_is_listed(tmp_path) -> None:
    assert "only its card" in unknown_music_text(tmp_path)
    (tmp_path / "SOURCES.tsv").write_text("split\ttitle\n")
    assert str(tmp_path / "SOURCES.tsv") in unknown_music_text(tmp_path)
    assert (shipped_folder() / "SOURCES.tsv").is_file()


@pytest.mark.parametrize(
    ("count", "told"), [(1, "1 minute"), (1.0, "1 minute"), (0.5, "0.5 minutes"), (1500, "1,500 minutes")]
)
def test_one_is_no_plural(count, told) -> None:
    assert counted(count, "minute") == told
