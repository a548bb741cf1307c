"""compare: better, worse or cannot tell; planted grades are told apart, and chance is not taken for a difference."""

import hashlib
import json
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from piano import compare, evaluate, generate_music
from piano.compare import main
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.paired import MadeSet, compare_sets, overall, overall_words
from piano.evaluation.set_scores import Reference
from piano.foundation.run_log import RunLog
from piano.foundation.score_words import RULER_VERSION
from piano.piano_model import VariationalAttentionModel
from piano.report.compared import comparison_section
from piano.run_settings import differing
from piano.training.known_music import key_of
from piano.vae_utilities import save_checkpoint
from piano.watching.training_figures import training_of
from tests.make_audio import write_music
from tests.tiny_run import SAMPLE_RATE, tiny_config, write_config

FEATURES = 24
CLIPS = 32


@lru_cache(maxsize=1)
def reference() -> Reference:
    """Stand-in for real music: 24 songs of two clips, each song around a point of its own."""
    random = np.random.default_rng(0)
    middles = random.standard_normal((24, FEATURES))
    real = np.repeat(middles, 2, axis=0) + 0.3 * random.standard_normal((48, FEATURES))
    noise = 4.0 + 0.2 * random.standard_normal((16, FEATURES))
    return Reference.fit(real, [song for song in range(24) for _ in range(2)], noise)


def made(seed: int, *, offset: float = 0.0, spread: float = 1.04) -> MadeSet:
    """A model's clips: like the music for offset 0 and spread 1.04."""
    random = np.random.default_rng((7, seed))
    features = offset + spread * random.standard_normal((CLIPS, FEATURES))
    return MadeSet(features, random.uniform(0.7, 1.0, CLIPS) - 0.3 * min(offset, 1.0))


def test_a_better_model_is_called_better_and_the_other_way_round() -> None:
    rows = compare_sets(reference(), made(0), made(1, offset=0.8))
    assert rows["kernel_score"].verdict == rows["inside"].verdict == overall(rows) == "better"
    assert rows["kernel_score"].first < rows["kernel_score"].second
    swapped = compare_sets(reference(), made(1, offset=0.8), made(0))
    assert overall(swapped) == "worse"
    for name, row in rows.items():
        assert swapped[name].difference.value == pytest.approx(-row.difference.value)


def test_a_collapsed_model_is_told_by_recall_and_diversity() -> None:
    rows = compare_sets(reference(), made(0), made(1, spread=0.1))
    assert rows["recall"].verdict == rows["diversity"].verdict == "better"
    assert overall(rows) == "better"


def test_the_same_model_with_other_seeds_cannot_be_told_from_itself() -> None:
    found = [compare_sets(reference(), made(2 * turn), made(2 * turn + 1)) for turn in range(12)]
    assert sum(overall(rows) != "cannot tell" for rows in found) <= 1
    assert sum(any(row.verdict != "cannot tell" for row in rows.values()) for rows in found) <= 2
    itself = compare_sets(reference(), made(3), made(3))
    assert all(row.difference == (0.0, 0.0, 0.0) and row.verdict == "cannot tell" for row in itself.values())


def test_a_measure_that_says_the_opposite_leaves_the_question_open() -> None:
    rows = compare_sets(reference(), made(0), made(1, offset=0.8))
    rows["recall"] = rows["recall"]._replace(verdict="worse")
    assert overall(rows) == "cannot tell"
    with pytest.raises(ValueError, match="equal size"):
        compare_sets(reference(), made(0), MadeSet(made(0).features[:5], made(0).inside[:5]))


def test_sounds_with_planted_grades_are_put_in_order(tmp_path: Path) -> None:
    from piano.compare import compare_clips
    from piano.evaluation.ruler import fit_ruler
    from tests.make_audio import make_music

    def music(first: int) -> list[np.ndarray]:
        return [0.2 * make_music(first + index, 3.0, SAMPLE_RATE) for index in range(8)]

    ruler = fit_ruler(music(0), list(range(8)), SAMPLE_RATE)
    good, broken = music(100), spectrum_noise(music(200), SAMPLE_RATE)
    rows = compare_clips(ruler, good, broken)
    assert overall(rows) == rows["kernel_score"].verdict == "better"
    assert overall(compare_clips(ruler, good, music(300))) == "cannot tell"


# --- the command


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Two runs whose generators learned nothing, real music, and a run at another rate."""
    folder = tmp_path_factory.mktemp("compare")
    for index in range(5):
        write_music(folder / "real" / f"real {index}.wav", index, 6.0, SAMPLE_RATE)
    for name, changed in {"a": {}, "b": {"seed": 5}, "other": {"model__sample_rate": 16000}}.items():
        config = tiny_config(folder / name, **changed)
        torch.manual_seed(0)
        save_checkpoint(VariationalAttentionModel(**config.model.model_dump()), 2, folder / name, "generator")
        write_config(folder / name, **changed).replace(folder / name / "config.yaml")
        log = RunLog(folder / name)
        loss = 0.5 if name == "a" else 0.25
        log.append([{"stage": "flow", "step": k, "total_step": k, "seconds": 60.0 * k, "flow": loss} for k in range(3)])
    return folder


def test_the_command_says_it_in_sentences_writes_json_and_a_picture(home: Path, tmp_path: Path, capsys) -> None:
    arguments = [str(home / "a"), str(home / "b"), "--real", str(home / "real"), "--output", str(tmp_path)]
    assert main([*arguments, "--count", "4", "--seconds", "2", "--threads", "1", "--steps", "1", "--verbose"]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "Each made 4 clips, held against 4 clips of" in screen and "More clips (--count)" in screen
    assert screen.index("It cannot be told whether a or b makes better music") < screen.index("variety 0")
    for words in (
        "kernel_score (lower is better): cannot tell",
        "flow.flow: 0.5 against 0.25",
        "seed: 0 against 5",
        "it learned for 2.0 minutes, 3 steps.",
    ):
        assert words in screen
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["verdict"] == "cannot tell"  # the same weights from the same seeds: the same music
    assert found["measures"].keys() == {"kernel_score", "coverage", "recall", "diversity", "inside"}
    assert found["different_settings"]["seed"] == [0, 5]
    assert found["runs"][0]["training"]["steps"] == {"flow": 3}
    assert (tmp_path / "comparison.png").stat().st_size > 5000


def test_the_answer_comes_first_and_fits_80_columns(home: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(home)
    arguments = ["a", "b", "--real", "real", "--output", str(tmp_path)]
    assert main([*arguments, "--count", "4", "--seconds", "2", "--threads", "1", "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = "\n".join(lines[:-1])  # the last one names the folder
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert "Settings that differ: seed (0 against 5)." in said and "times as many steps" not in said
    answer = said[said.index("It cannot be told") :]
    assert "[" not in answer and "flow.flow" not in answer


def test_what_makes_the_two_unequal_and_what_would_help_is_said(home: Path, tmp_path: Path, capsys) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(home / "b", longer)
    log = RunLog(longer)
    log.append([{"stage": "flow", "step": k, "total_step": k, "seconds": 60.0 * k, "flow": 0.2} for k in range(3, 6)])
    songs = sorted((home / "real").iterdir())
    music = {"identity": "x", "sound": "y", "names": torch.zeros(0, dtype=torch.int64)}
    files = torch.tensor([key_of(hashlib.sha256(songs[0].read_bytes()).hexdigest())])
    generator = VariationalAttentionModel(**tiny_config(longer).model.model_dump())
    run = {"stateful": {"music": music | {"files": files}}}
    save_checkpoint(generator, 3, longer, "generator", run=run)
    arguments = [str(home / "a"), str(longer), "--real", str(home / "real"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--count", "30", "--seconds", "2", "--threads", "1", "--steps", "1"]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert screen.startswith("Warning: longer learned from 1 of the 5 songs of the real music (real 0.wav)")
    assert "longer learned 2.0 times as many steps as the other" in screen
    assert "Each made 30 clips, held against 15 clips of 5 real songs" in screen and "--count" not in screen
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["warning"].startswith("Warning: longer")
    assert comparison_section(tmp_path / "out", longer).words.startswith("Warning: longer")
    before = (tmp_path / "out" / "comparison.json").read_bytes()
    (tmp_path / "other").mkdir()
    assert main([*arguments[:2], "--real", str(tmp_path / "other"), "--output", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "comparison.json").read_bytes() == before


def test_no_interval_is_wider_than_what_can_be() -> None:
    """Everything against nothing: a share differs by 1 at most."""
    rows = compare_sets(reference(), made(0), made(1, offset=9.0))
    for name in ("coverage", "recall", "inside"):
        difference = rows[name].difference
        assert -1.0 <= difference.low <= difference.value <= difference.high <= 1.0


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        (
            {"kernel_score": "better", "diversity": "worse"},
            "that of a is nearer to real music, but b is ahead in variety (nearer to that of real music).",
        ),
        ({"kernel_score": "worse", "recall": "worse"}, "b makes better music than a"),
        ({"kernel_score": "cannot tell", "diversity": "better"}, "though a is ahead in variety (nearer to"),
        ({"kernel_score": "cannot tell"}, "they differ no more than chance."),
    ],
)
def test_the_answer_does_not_contradict_itself(verdicts, answer: str) -> None:
    told = overall_words(verdicts, "a", "b")
    assert answer in told
    assert ("cannot be told" in told) == (" makes better music than " not in told)
    assert not set(verdicts) & set(told.replace(",", " ").split())  # names of figures are for the table


@pytest.mark.parametrize(
    ("names", "more", "sentence"),
    [
        (("a", "b"), (), "neither run says which data set"),
        (("a", "nowhere"), (), "no generator checkpoint"),
        (("a", "b"), ("--epochs", "2", "7"), "no generator checkpoint for epoch 7"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    home: Path, names, more, sentence: str, capsys, tmp_path
) -> None:
    output = tmp_path / "out"
    assert main([*(str(home / name) for name in names), "--output", str(output), *more]) == 2
    assert not output.exists()
    screen = capsys.readouterr().err
    assert sentence in screen and screen.count("\n") == 1


def test_models_of_two_rates_and_channels_are_held_against_the_same_music_at_the_lower(
    home: Path, tmp_path: Path, capsys
) -> None:
    wide = tmp_path / "wide"
    config = tiny_config(wide, model__sample_rate=2 * SAMPLE_RATE, model__sound_channels=2)
    torch.manual_seed(0)
    save_checkpoint(VariationalAttentionModel(**config.model.model_dump()), 2, wide, "generator")
    for index in range(5):
        write_music(tmp_path / "real" / f"real {index}.wav", index, 6.0, 2 * SAMPLE_RATE, 2)
    arguments = [str(home / "a"), str(wide), "--real", str(tmp_path / "real"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--count", "4", "--seconds", "2", "--threads", "1", "--steps", "1"]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    said = f"What wide makes has 2 channels at {2 * SAMPLE_RATE} Hz: it is resampled and mixed to one channel"
    assert f"{said} to be measured as 1 channel at {SAMPLE_RATE} Hz." in screen and "What a makes" not in screen
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["form"] == {"sample_rate": SAMPLE_RATE, "channels": 1} and found["ruler"] == RULER_VERSION


def test_nothing_is_known_of_a_model_that_was_given_away(home: Path, tmp_path: Path) -> None:
    assert training_of(tmp_path) is None
    a, b = training_of(home / "a"), training_of(home / "other")
    assert a is not None and b is not None
    assert differing(a.settings, b.settings)["model.sample_rate"] == (SAMPLE_RATE, 16000)
    assert not {"checkpoint_folder", "presets"} & differing(a.settings, b.settings).keys()


@pytest.mark.parametrize("option", [["--seed", "-1"], ["--threads", "-1"], ["--threads", "0"], ["--seed", str(2**63)]])
def test_a_number_without_sense_is_refused_by_every_command_that_takes_it(option, capsys):
    for command, needed in ((main, ["a", "b"]), (evaluate.main, ["--checkpoints", "a", "--real", "b"])):
        with pytest.raises(SystemExit) as stopped:
            command([*needed, *option])
        assert stopped.value.code == 2
        assert f"argument {option[0]}: {option[1]} is not a whole number from" in capsys.readouterr().err


def composing_commands(home: Path) -> list[tuple]:
    """The commands that compose, with a model to do it."""
    model, real = str(home / "a"), ["--real", str(home / "real")]
    return [
        (main, [model, model, *real, "--epochs", "2", "2"]),
        (evaluate.main, ["--checkpoints", model, *real, "--epoch", "2"]),
        (generate_music.main, ["--checkpoints", model, "--epoch", "2"]),
    ]


def test_a_device_that_is_not_here_is_one_sentence_of_every_command(home: Path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command, words in composing_commands(home):
        assert command([*words, "--output", str(tmp_path), "--device", "cuda"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("Error: this machine has no cuda device")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(home: Path, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    for module in (compare, evaluate):
        monkeypatch.setattr(module, "measure_real", None)  # too early to be called
    for command, words in composing_commands(home):
        for place, reason in (("file", "it is a file"), ("file/more", "Not a directory")):
            assert command([*words, "--output", str(tmp_path / place)]) == 2
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert line == f"Error: cannot make {tmp_path / place}: {reason}. Name another --output."
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main([*composing_commands(home)[0][1], "--output", str(tmp_path)]) == 2
    assert "nothing can be written in" in capsys.readouterr().err
