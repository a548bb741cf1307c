"""A ruined run is called ruined, in its first sentence; `Nothing is wrong` is said only where nothing is."""

import json
import math
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from piano import piano_main
from piano.checkup.command import as_text, examine, main
from piano.doctor.signals import digest, windows_of
from piano.doctor.verdict import Verdict, run_verdict
from piano.foundation.score_words import score_meaning, score_sentence, score_words
from piano.report.verdict import spoken
from piano.stages import STAGE_NAMES

WELL: dict[str, dict[str, float]] = {
    "autoencoder": {"kl_ratio": 1.0, "kl_dead_share": 0.0},
    "flow": {"flow": 0.5, "diversity": 0.9},
    "judges": {"ear_dn": 0.6, "professor_dn": 0.6},
    "ear": {"ear_dn": 0.6},
    "professor": {"professor_dn": 0.6},
    "joint": {"ear_dn": 0.6, "professor_dn": 0.6, "diversity": 0.9, "noise_spread": 0.9},
}
GOOD_CODEC = {"R": 0.1, "P": 0.95}
Line = dict[str, Any]


def steps(stage: str, count: int, start: int, **numbers: float) -> list[Line]:
    """Step lines of a stage."""
    return [
        {
            "stage": stage,
            "epoch": index // 10 + 1,
            "step": index,
            "total_step": start + index,
            "seconds": 1.0,
            **WELL[stage],
            **numbers,
        }
        for index in range(count)
    ]


def gate(stage: str, passed: bool, **figures: Any) -> Line:
    return {
        "event": "gate",
        "stage": stage,
        "name": f"G {stage}",
        "passed": passed,
        "total_step": 1,
        "epoch": 1,
        "advice": "" if passed else f"help the {stage}",
        **figures,
    }


def score(value: float | None, **figures: Any) -> Line:
    known = {"clips": 24, "songs": 12, "diversity": 0.9, "self_similarity": 0.6, "self_similarity_real": 0.8}
    return {
        "event": "score",
        "stage": "joint",
        "kernel_score": value,
        "kernel_distance": value,
        "total_step": 1,
        "epoch": 1,
        **known,
        **figures,
    }


def run(*, codec: Line | None = None, value: float = 0.12, failed: Sequence[str] = (), **numbers: float) -> list[Line]:
    """A whole run, healthy unless it is said otherwise."""
    lines: list[Line] = []
    for index, stage in enumerate(STAGE_NAMES):
        lines += steps(stage, 200, 200 * index, **{k: v for k, v in numbers.items() if k in WELL[stage]})
        lines.append(gate(stage, stage not in failed, **(codec or GOOD_CODEC if stage == "autoencoder" else {})))
        if stage in ("flow", "professor", "joint"):
            lines.append(score(value))
    return lines


def test_nothing_is_wrong_only_with_a_run_that_learned_passed_and_reads_well():
    verdict = run_verdict(run())
    assert not verdict.is_ruined and verdict.advice == "" and verdict.steps == 1200
    assert verdict.sentence == (
        "Nothing is wrong with this run as far as its log tells (1,200 steps). Its music is near real music (0.12, "
        "where 0 is other real music and 1 is noise; 24 clips of 12 songs). Whether it sounds well, only ears tell."
    )


def test_three_steps_are_too_few_for_anything():
    lines = [*steps("autoencoder", 2, 0), gate("autoencoder", False, R=0.98, P=0.03), *steps("flow", 1, 2)]
    lines += [gate("flow", False), score(1.29, clips=8, songs=1)]
    lines += [{"event": "left out", "stage": stage, "total_step": 3, "epoch": 2} for stage in STAGE_NAMES[2:]]
    verdict = run_verdict(lines)
    assert verdict.is_ruined and verdict.steps == 3
    assert verdict.sentence.startswith(
        "It learned for 3 steps. That is too few for anything: what it plays is worse than noise (1.29, where 0 is "
        "other real music and 1 is noise; 8 clips of 1 song: a hint)."
    )
    assert (
        "no time was left for teaching the judges, sharpening the sound, composing in one step and" in verdict.sentence
    )
    assert "2 of 2 checks not passed: writing sound down and composing" in verdict.sentence
    assert "--minutes" in verdict.advice_in(Path("mine"))


def test_a_run_worse_than_noise_did_not_work_however_long_it_was():
    verdict = run_verdict(run(value=1.29, failed=("flow", "joint")))
    assert verdict.is_ruined and verdict.sentence.startswith("It did not work: after 1,200 steps its music is worse")
    assert run_verdict(run(value=0.9)).sentence.startswith(
        "It did not work: after 1,200 steps its music is hardly better than noise (0.90"
    )


def test_a_codec_that_loses_everything_ruins_the_run():
    verdict = run_verdict(run(codec={"R": 0.98, "P": 0.03}, failed=("autoencoder",)))
    assert verdict.is_ruined
    assert "98 % of the levels are missed, 3 % of the pitches are found again" in verdict.sentence.replace("%", " %")


def test_a_run_that_stopped_early_says_where_and_that_it_was_early():
    verdict = run_verdict(steps("autoencoder", 91, 0))
    assert verdict.is_ruined and verdict.sentence.startswith("It learned for 91 steps. That is too few")
    later = run_verdict(
        [*steps("autoencoder", 300, 0), gate("autoencoder", True, **GOOD_CODEC), *steps("flow", 50, 300)]
    )
    assert not later.is_ruined and "it ends in the middle of composing" in later.sentence


def test_gates_that_were_not_passed_and_readings_that_are_poor_come_first():
    verdict = run_verdict(
        run(value=0.4, codec={"R": 0.45, "P": 0.5}, failed=("autoencoder", "joint"), kl_ratio=1.44, ear_dn=0.3)
    )
    assert not verdict.is_ruined and "Nothing is wrong" not in verdict.sentence
    first = verdict.sentence.split(". ")[0]
    for words in (
        "2 of 6 checks not passed: writing sound down and bringing sound and composition together",
        "how much is written down of every sound: high",
        "how much of a sound is kept when it is written down: poor",
        "how many notes are kept when sound is written down: poor",
    ):
        assert words in verdict.sentence, words
    assert first.startswith("The run went through (1,200 steps), but not all is well: 2 of 6 checks")
    assert verdict.advice == "Help the autoencoder."


JARGON = {"L_D", "L_G", "R", "P", "joint", "flow", "latent", "latents", "kl", "professor", "autoencoder"}
GATES = {"G1", "G2", "G3", "G4", "G5"}


@pytest.mark.parametrize("failed", STAGE_NAMES)
def test_the_first_sentence_needs_no_glossary(failed):
    sick = run(value=0.4, codec={"R": 0.45, "P": 0.5}, failed=(failed,), kl_ratio=1.44, professor_dn=0.3)
    short = [*steps("autoencoder", 200, 0), gate("autoencoder", False, R=0.45, P=0.5)]
    short += [{"event": "left out", "stage": stage, "total_step": 3, "epoch": 2} for stage in STAGE_NAMES[1:]]
    for lines in (sick, short, run(value=1.2, failed=(failed,)), run(professor_dn=0.3, noise_spread=0.1)):
        first = run_verdict(lines).sentence.split(". ")[0]
        words = {word.strip(",;:()") for word in first.split()}
        assert not words & (JARGON | GATES), first


def test_a_drone_and_a_piece_that_repeats_are_called_so():
    drone = [*run(value=0.4)[:-1], score(0.3, self_similarity=0.96, self_similarity_real=0.72, diversity=1.96)]
    verdict = run_verdict(drone)
    assert verdict.is_ruined and verdict.sentence.startswith(
        "It plays a drone: after 1,200 steps its music is 0.96 alike from one second to the next, real music up to 0.72"
    )
    noisy = [*run(value=1.2)[:-1], score(1.1, self_similarity=0.96, self_similarity_real=0.72)]
    assert "worse than noise" in run_verdict(noisy).sentence and "It plays a drone" in run_verdict(noisy).sentence
    later = {"kernel_score": 0.4, "clips": 24, "songs": 12, "self_similarity": 0.96, "self_similarity_real": 0.8}
    assert run_verdict(run(), later).sentence.startswith("It plays a drone")  # measured after the run was over
    assert not run_verdict(run()).is_ruined
    slow = [*run(value=0.4)[:-1], score(0.3, self_similarity=0.96, self_similarity_real=0.97)]
    assert not run_verdict(slow).is_ruined  # the music it learned is as still
    same = [*run(value=0.4)[:-1], score(0.3, diversity=0.1)]
    assert run_verdict(same).sentence.startswith("It plays the same piece again and again")


def test_what_could_not_be_scored_is_not_called_well():
    lines = [line for line in run() if line.get("event") != "score"]
    lines.append({"event": "no score", "stage": "joint", "reason": "the real music is silent", "total_step": 9})
    verdict = run_verdict(lines)
    assert "Nothing is wrong" not in verdict.sentence
    assert "how good its music is cannot be told (the real music is silent)" in verdict.sentence
    assert run_verdict([*lines, score(1e9, clips=2)]).sentence == verdict.sentence  # two clips make no scale


@pytest.mark.parametrize("bad", [math.nan, "NaN", "-inf", "Infinity"])
def test_a_last_step_that_is_no_number_ends_a_run_however_it_is_written(bad):
    lines = [*steps("ear", 300, 0), {**steps("ear", 1, 300)[0], "ear_loss": bad}]
    verdict = run_verdict(lines)
    assert verdict.is_ruined and verdict.sentence.startswith("The run died: A loss or gradient was not a number")
    assert "(It is called divergence; first seen at step 301" in verdict.sentence


JUNK: list[Any] = [
    None,
    7,
    "word",
    [],
    {},
    {"event": "signals"},
    {"event": "gate"},
    {"event": "score", "kernel_score": "0.1"},
    {"stage": ["a"], "total_step": 1},
    {"stage": "ear", "total_step": "x"},
    {"stage": "ear", "total_step": math.nan},
    {"stage": "ear", "total_step": -4},
    {"stage": "ear", "total_step": True},
    {"event": {"a": 1}},
    {"total_step": 1e300},
    {"event": "relaxed", "stage": "ear", "name": "x"},
    {"event": "finding", "name": ["x"], "remedy": "y"},
    {"event": "left out"},
    {"event": "score", "kernel_score": 10**400, "clips": "many", "total_step": 3},
    {"event": "gate", "stage": "flow", "passed": "maybe", "name": None, "total_step": 10**400},
]


def test_junk_between_the_lines_changes_nothing(tmp_path):
    lines: list[Any] = []
    for index, line in enumerate(run(failed=("joint",))):
        lines += [line, JUNK[index % len(JUNK)]]
    assert run_verdict(lines).sentence == run_verdict(run(failed=("joint",))).sentence
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_bytes(text.encode() + b"\xff\xfe\n" + b"[" * 100_000 + b'\n{"stage": "jo')
    assert examine(tmp_path).verdict == run_verdict(lines).sentence


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"\x00" * 5000, b"null\n3\n", b'{"event": "gate"}\n'])
def test_a_log_without_a_step_says_that_nothing_was_learned(tmp_path, content, capsys):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert main([str(tmp_path)]) == 0
    assert "It learned nothing: not one step was taken." in capsys.readouterr().out


def test_names_out_of_a_log_neither_steer_the_terminal_nor_leave_the_folder(tmp_path, capsys):
    evil = "\x1b[2J../../../../up"
    lines = [{"stage": evil, "total_step": i, "epoch": 1, "ear_dn": 0.01} for i in range(200)]
    lines.append({"event": "gate", "stage": evil, "name": evil, "passed": False, "advice": evil, "total_step": 200})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "D overpowering" in said
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert len(list((tmp_path / "run" / "doctor").glob("*.png"))) == 1


def test_a_long_log_is_read_line_by_line_into_the_same_windows(tmp_path):
    lines = steps("flow", 5_000, 0)
    assert [(w.step, w.stage) for w in windows_of(lines)] == [(100 * (i + 1), "flow") for i in range(50)]
    found = digest(iter(lines))
    assert len(found.kept) < 1_100 and found.steps == 5_000
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for start in range(0, 60_000, 5_000):
            file.writelines(json.dumps(line) + "\n" for line in steps("flow", 5_000, start))
    began = time.monotonic()
    assert examine(tmp_path).steps == 60_000
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_line_of_prose_is_wider_than_the_terminal_and_no_word_is_cut(tmp_path, monkeypatch, width, capsys):
    monkeypatch.setenv("COLUMNS", width)
    lines = run(value=0.4, codec={"R": 0.45, "P": 0.5}, failed=("autoencoder", "joint"), kl_ratio=1.44, ear_dn=0.02)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    diagnosis = examine(tmp_path)
    text = as_text(diagnosis, tmp_path)
    wide = [line for line in text.splitlines() if len(line) > min(int(width), 100)]
    assert not [line for line in wide if len(line.split()) > 2], wide  # a path is whole
    assert " ".join(diagnosis.verdict.split()) in " ".join(text.split())


def test_a_finding_above_is_spoken_of_only_where_one_stands(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run()))
    assert "FIGURES" in (text := as_text(examine(tmp_path), tmp_path)) and "a finding above" not in text
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run(ear_dn=0.02)))
    assert "a finding above" in " ".join(as_text(examine(tmp_path), tmp_path).split())


def test_what_is_no_run_is_called_what_it_is(tmp_path, capsys):
    model, music = tmp_path / "model", tmp_path / "music"
    for folder, name in ((model, "generator.safetensors"), (music, "manifest.json")):
        folder.mkdir()
        (folder / name).touch()
    for path, words in (
        (model, "is a model that was given away: it holds no metrics.jsonl of its training"),
        (music, "is music made ready for training"),
        (tmp_path / "none", "there is no folder"),
        (music / "manifest.json", "is a file"),
    ):
        assert main([str(path)]) == 2
        assert words in capsys.readouterr().err


def test_the_log_itself_may_be_named_instead_of_its_folder(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run()))
    assert main([str(tmp_path / "metrics.jsonl")]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out


# --- words of a score


@pytest.mark.parametrize(
    ("value", "clips", "words", "meaning"),
    [
        (-0.04, 24, "0 (not told apart)", "not told apart from real music with this few songs"),
        (0.004, 24, "0 (not told apart)", "not told apart from real music with this few songs"),
        (0.12, 24, "0.12", "near real music"),
        (0.4, 24, "0.40", "some way from real music"),
        (0.7, 24, "0.70", "far from real music"),
        (0.93, 24, "0.93", "hardly better than noise"),
        (1.29, 24, "1.29", "worse than noise"),
        (0.3, 2, "cannot tell", "cannot tell"),
        (None, 24, "cannot tell", "cannot tell"),
        (math.nan, 24, "cannot tell", "cannot tell"),
        (math.inf, None, "cannot tell", "cannot tell"),
    ],
)
def test_a_score_in_words(value, clips, words, meaning):
    assert score_words(value, None, clips) == words
    assert score_meaning(value, clips, 3) == meaning


def test_a_score_says_what_it_was_measured_on():
    assert score_words(0.4, (0.3, 0.52), 24) == "0.40 [0.30, 0.52]"
    assert score_sentence(None, None, 1, 1) == "cannot tell (only 1 clip of real music, 4 are needed)"
    assert score_sentence(-0.1, None, 24, 3).endswith("(24 clips of 3 songs: a hint)")
    assert score_sentence(0.4) == "some way from real music (0.40, where 0 is other real music and 1 is noise)"


def test_the_verdict_is_made_of_plain_values():
    verdict = run_verdict(run(value=1.2))
    assert isinstance(verdict, Verdict)
    assert [type(value) for value in verdict] == [bool, str, str, int, tuple, float]
    assert Path(json.dumps(verdict._asdict()))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path, capsys) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert main([str(tmp_path)]) == 2
    assert "metrics.jsonl is no file" in capsys.readouterr().err


def test_who_is_told_to_train_longer_is_told_the_whole_command(tmp_path, capsys):
    lines = [*steps("autoencoder", 3, 0), {"event": "left out", "stage": "ear", "seconds": 1200.0}]
    verdict = run_verdict(lines)
    told, words = verdict.advice_in(tmp_path / "my run").split("\n")
    assert told == "Train it longer (--minutes is the time of the whole run):"
    command = ["musigan", "train", "--checkpoints", str(tmp_path / "my run"), "--resume", "--minutes", "40"]
    assert shlex.split(words) == command
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([str(folder)]) == 0
    assert words in capsys.readouterr().out.split("\n")
    assert words.strip() in spoken(lines, None, clips=None, songs=None, run=folder).more
    options = piano_main.parse_arguments(command[2:])
    assert options.minutes == 40.0 and options.checkpoints == folder
