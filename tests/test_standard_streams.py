"""No command dies with its reader, and none needs a stdin, stdout or stderr to work."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from piano.foundation.checkpoint_format import complete_epochs
from piano.foundation.dataset_format import read_prepared_manifest
from piano.foundation.errors import EXIT_RUINED
from piano.foundation.run_log import read_history
from tests.tiny_run import write_config, write_dataset

PROJECT = Path(__file__).resolve().parent.parent
SHORT = {"pretrain_epochs_g": 2, "pretrain_epochs_d": 0, "epochs": 0, "sample_seconds": 0.5, "doctor": "off"}
CLOSED = ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]
SPEAKS = (
    "import sys, pathlib; from piano.foundation.errors import run_command\n"
    "def body():\n"
    "    for line in range(3000): print(line, flush=line % 100 == 0)\n"
    "    print('to stderr', file=sys.stderr); sys.stdin.read()\n"
    "    pathlib.Path(sys.argv[1]).write_text(' '.join(map(str, range(3))))\n"
    "raise SystemExit(run_command(body, is_work=True))"
)


def bash(command: str, *, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """A line of bash; its status is that of the first command of a pipe that fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        *((closed, 0, None) for closed in CLOSED),
        ("| head -n 1", 0, "to stderr\nNobody reads the output any more; the work goes on without showing it.\n"),
        ("2>&1 | head -n 1", 0, ""),
        ("> /dev/full", 2, "to stderr\nThe output could not be written: the disk is full. All else is done.\n"),
        ("2> /dev/full", 0, ""),
    ],
)
def test_the_work_is_done_whatever_becomes_of_the_streams(tmp_path, ending, status, said) -> None:
    script = tmp_path / "speaks.py"
    script.write_text(SPEAKS, encoding="ascii")
    done = bash(f"{sys.executable} {script} {tmp_path / 'made'} {ending}")
    assert done.returncode == status, done.stderr
    assert (tmp_path / "made").read_text(encoding="ascii") == "0 1 2"
    if said is not None:
        assert sorted(done.stderr.splitlines()) == sorted(said.splitlines())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project whose training lost its reader after the first line."""
    folder = tmp_path_factory.mktemp("project")
    write_dataset(folder / "dataset")
    write_config(folder, **SHORT)
    done = bash(f"{sys.executable} -m piano.piano_main --config {folder / 'config.yaml'} | head -n 1")
    assert done.returncode in (0, EXIT_RUINED), done.stderr
    assert "Nobody reads the output any more" in done.stderr
    return folder


def test_lines_come_at_once_where_python_does_not_buffer(tmp_path) -> None:
    """PYTHONUNBUFFERED is usual in containers; a line that waits there is written into the bar of the next sound."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SPEAKS.replace("flush=line % 100 == 0", "flush=False").replace("3000", "1"),
            str(tmp_path / "done"),
        ],
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"0\n" and process.poll() is None  # it waits for its stdin
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_training_behind_a_pipe_that_closes_goes_on_to_its_end(trained: Path) -> None:
    assert len(complete_epochs(trained / "checkpoints")) == 2
    assert [line["stage"] for line in read_history(trained / "checkpoints") if line.get("event") == "gate"] == [
        "autoencoder",
        "flow",
    ]


@pytest.mark.parametrize("closed", [pytest.param(CLOSED[2], marks=pytest.mark.slow), *CLOSED[3:]])
def test_training_needs_no_streams(tmp_path, closed: str) -> None:
    write_dataset(tmp_path / "dataset")
    write_config(tmp_path, **SHORT)
    done = bash(f"{sys.executable} -m piano.piano_main --config {tmp_path / 'config.yaml'} {closed}")
    assert done.returncode == EXIT_RUINED, done.stderr
    assert complete_epochs(tmp_path / "checkpoints")


@pytest.mark.parametrize("closed", CLOSED[1:])
def test_composing_needs_no_streams(trained: Path, tmp_path, closed: str) -> None:
    done = bash(
        f"{sys.executable} -m piano.generate_music --checkpoints {trained / 'checkpoints'} --seconds 1 --count 1 "
        f"--threads 1 --output {tmp_path / 'made'} {closed}"
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "made").glob("*.wav")
    assert soundfile.info(path).frames == 8000
    if closed == "2>&-":
        assert done.stdout.split() == [str(path)]


@pytest.mark.parametrize("closed", CLOSED[2:])
def test_preparing_needs_no_streams(tmp_path, closed: str) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(16000 * 5)
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "a.wav", sound, 16000)
    done = bash(
        f"{sys.executable} -m data_prep.prepare_dataset {tmp_path / 'music'} --output {tmp_path / 'made'} "
        f"--sample-rate 16000 --channels 1 {closed}"
    )
    assert done.returncode == 0, done.stderr
    assert [song.source for song in read_prepared_manifest(tmp_path / "made").songs] == ["a.wav"]
