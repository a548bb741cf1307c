"""evaluate and compare where little can be told: few songs, few clips, silence, equal folders, broken files."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from piano.compare import Names, draw_comparison, measure_sentence, overall_sentence, short_names, shown_difference
from piano.evaluate import main, same_music
from piano.evaluation.bootstrap import Figure
from piano.evaluation.memorisation import why_not_searched
from piano.evaluation.music_folder import Passage, count_songs, read_excerpts
from piano.evaluation.paired import Compared
from piano.evaluation.set_scores import Reference, real_scores, score_set
from piano.foundation.audio_io import write_audio
from tests.make_audio import make_music, write_music
from tests.tiny_run import SAMPLE_RATE, write_dataset

SHORT = ["--count", "4", "--seconds", "2", "--threads", "1"]


def evaluate(generated: Path, real: Path, output: Path, *more: str) -> int:
    return main(["--generated", str(generated), "--real", str(real), "--output", str(output), *SHORT, *more])


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for index in range(4):
        write_music(folder / f"song {index}.wav", index, 3.0, SAMPLE_RATE)
    return folder


def write(folder: Path, *sounds: np.ndarray) -> Path:
    for index, sound in enumerate(sounds):
        write_audio(folder / f"{index}.wav", sound, SAMPLE_RATE)
    return folder


def test_silent_real_music_gives_no_score_and_null(music, tmp_path, capsys):
    real = write(tmp_path / "real", *[np.zeros((1, 3 * SAMPLE_RATE), dtype=np.float32)] * 4)
    assert evaluate(music, real, tmp_path / "out") == 0
    assert "How good it is cannot be told: the clips of real music are silent" in capsys.readouterr().out
    text = (tmp_path / "out" / "scores.json").read_text()
    found = json.loads(text)
    assert found["sets"]["samples"]["kernel_score"] == {"value": None, "low": None, "high": None}
    assert found["score_words"] == "cannot tell"
    assert "NaN" not in text and "Infinity" not in text and "e+09" not in text


def test_silent_made_music_is_called_silent(music, tmp_path, capsys):
    made = write(tmp_path / "made", *[np.zeros((1, 3 * SAMPLE_RATE), dtype=np.float32)] * 4)
    assert evaluate(made, music, tmp_path / "out") == 0
    assert "It is silent." in capsys.readouterr().out


def test_channels_that_cancel_are_named(tmp_path, capsys):
    sounds = [0.2 * make_music(index, 3.0, SAMPLE_RATE)[:1] for index in range(8)]
    real = write(tmp_path / "real", *[np.concatenate([sound, 0.7 * sound]) for sound in sounds[:4]])
    made = write(tmp_path / "made", *[np.concatenate([sound, -sound]) for sound in sounds[4:]])
    assert evaluate(made, real, tmp_path / "out") == 0
    assert "two channels cancel each other" in " ".join(capsys.readouterr().out.split())


def test_one_made_clip_and_broken_folders_are_refused_in_a_sentence(music, tmp_path, capsys):
    one = write(tmp_path / "one", 0.2 * make_music(0, 3.0, SAMPLE_RATE)[:1])
    assert evaluate(one, music, tmp_path / "out") == 2
    assert "only 1 clip of 2 s" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.mkdir()
    for index in range(3):
        (broken / f"{index}.wav").write_bytes(b"RIFF no sound at all" * 20)
    assert evaluate(music, broken, tmp_path / "out") == 2
    assert "none of the 3 files" in capsys.readouterr().err
    (broken / "z.wav").write_bytes((music / "song 0.wav").read_bytes())
    assert evaluate(music, broken, tmp_path / "out") == 2
    assert "only 1 clip of 2 s" in capsys.readouterr().err
    short = write(tmp_path / "short", *[0.2 * make_music(k, 1.0, SAMPLE_RATE)[:1] for k in range(4)])
    assert evaluate(music, short, tmp_path / "out") == 2
    assert "lasts 2 s, the longest 1.0 s" in capsys.readouterr().err


def test_a_folder_held_against_itself_or_a_copy_is_noticed_by_content(music, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for index, path in enumerate(sorted(music.iterdir())):
        (copy / f"renamed {index}.wav").write_bytes(path.read_bytes())
    assert evaluate(copy, music, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "hold the same music (4 of 4 files are equal)" in said
    other = write(tmp_path / "other", *[0.2 * make_music(9 + k, 3.0, SAMPLE_RATE)[:1] for k in range(4)])
    assert same_music(other, music) == "" and same_music(music, music) == "4 of 4 files are equal"


def test_recordings_of_a_data_set_are_counted_not_its_stretches(tmp_path):
    folder = write_dataset(tmp_path / "dataset")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {
        "pair_songs": {"training": [0] * 6, "validation": [0, 0]},
        "song_groups": {"training": [0], "validation": [0]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    excerpts = read_excerpts(folder, sample_rate=SAMPLE_RATE, channels=1, seconds=1.0, count=6)
    assert len(excerpts.clips) == 6 and count_songs(excerpts.files) == 1
    assert count_songs([Passage(name, index) for index, name in enumerate(excerpts.files)]) == 1


def test_one_rule_says_when_copies_cannot_be_looked_for():
    assert why_not_searched(4) == ""
    for songs, there in ((0, "there is none."), (1, "there is at most 1."), (3, "there are at most 3.")):
        said = why_not_searched(songs)
        assert said.startswith("Cannot tell: 4 recordings never learned from are needed") and said.endswith(there)


def test_music_no_farther_from_itself_than_from_noise_makes_no_scale():
    random = np.random.default_rng(0)
    real, noise = random.standard_normal((12, 24)), random.standard_normal((12, 24))
    reference = Reference.fit(real, list(range(12)), noise)
    assert reference.reason == "the real music is no farther from itself than from noise"
    assert np.isnan(score_set(reference, real, list(range(12))).kernel_score.value)
    assert np.isnan(real_scores(reference).coverage.value)


# --- compare

A_B = Names("monday", "tuesday")


def compared(name: str, better: str, first: float, second: float, verdict: Any, gap: float) -> Compared:
    return Compared(name, better, first, second, Figure(gap, gap - 0.1, gap + 0.1), verdict)


def test_text_and_picture_have_one_sign_and_the_names_of_the_runs(tmp_path):
    recall = compared("recall", "higher", 0.0, 1.0, "worse", 1.0)  # in the fault of the measure: first is worse
    assert shown_difference(recall) == pytest.approx((-1.0, -1.1, -0.9))
    assert measure_sentence(recall, A_B).startswith(
        "recall (higher is better): tuesday is better, 0.000 against 1.000, lead of monday -1.000 [-1.100, -0.900]"
    )
    score = compared("kernel_score", "lower", -0.04, 0.4, "better", -0.44)
    assert "monday is better, 0 (not told apart) against 0.40" in measure_sentence(score, A_B)
    assert shown_difference(score) == pytest.approx((0.44, 0.34, 0.54))  # ahead is above 0 in every measure
    rows = {"kernel_score": score, "recall": recall, "coverage": compared("coverage", "higher", 0, 0, "cannot tell", 0)}
    assert overall_sentence(rows, A_B) == (
        "It cannot be told whether monday or tuesday makes better music: that of monday is nearer to real music, "
        "but tuesday is ahead in how much of real music it could have made."
    )
    assert draw_comparison(rows, A_B, tmp_path / "c.png").stat().st_size > 5000


def test_runs_are_named_as_short_as_they_can_be_told_apart():
    def side(folder: str, epoch: int) -> Any:
        return SimpleNamespace(
            folder=Path(folder), epoch=epoch, composer=SimpleNamespace(steps=1), name=f"{folder} (epoch {epoch})"
        )

    assert short_names(side("runs/a", 3), side("runs/b", 3)) == ("a", "b")
    assert short_names(side("runs/a", 3), side("runs/a", 5)) == ("a (epoch 3)", "a (epoch 5)")
    assert short_names(side("x/a", 3), side("y/a", 3)) == ("x/a (epoch 3)", "y/a (epoch 3)")
    same = short_names(side("x/a", 3), side("x/a", 3))
    assert same.first != same.second
