"""The demo: which folder it takes, what it runs in which order, and what it says when a step fails."""

from pathlib import Path

import pytest

import piano.demo
from piano.demo import MARK, DemoError, is_free, run_demo, step


def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "somebodys" / "checkpoints").mkdir(parents=True)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    (tmp_path / "broken_off").mkdir()
    (tmp_path / "broken_off" / MARK).write_text("")
    (tmp_path / "broken_off" / "music").mkdir()
    (tmp_path / "a_file").write_text("")
    free = {path.name for path in [*tmp_path.iterdir(), tmp_path / "new"] if is_free(path)}
    assert free == {"broken_off", "new"}


def run_dry(folder: Path, minutes: float, monkeypatch) -> list[list[str]]:
    ran: list[list[str]] = []
    monkeypatch.setattr(piano.demo, "step", lambda verb, *words: ran.append([verb, *map(str, words)]))
    run_demo(folder, minutes)
    return ran


def test_a_second_demo_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch, capsys) -> None:
    run_dry(tmp_path / "demo", 10, monkeypatch)
    (tmp_path / "demo" / "checkpoints").mkdir()
    ran = run_dry(tmp_path / "demo", 10, monkeypatch)
    assert all(str(tmp_path / "demo-2") in " ".join(words) for words in ran)
    assert f"Everything goes into {tmp_path / 'demo-2'}." in capsys.readouterr().out


@pytest.mark.parametrize(("minutes", "start"), [(3, ["--from", "shipped"]), (10, ["--preset", "tiny"])])
def test_a_hurried_demo_goes_on_from_the_shipped_model(tmp_path: Path, monkeypatch, minutes, start) -> None:
    training = next(words for words in run_dry(tmp_path / "demo", minutes, monkeypatch) if words[0] == "train")
    assert training[1:3] == start
    assert training[3:5] == ["--minutes", str(minutes)]


def test_the_best_sound_comes_first(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "demo"
    for name in ("shipped_out", "music_out"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.wav").write_bytes(b"")
    (folder / MARK).write_text("")
    ran = [words[0] for words in run_dry(folder, 10, monkeypatch)]
    assert ran.index("generate") < ran.index("train") < ran.index("report")
    said = capsys.readouterr().out
    assert 0 < said.index(f"{Path('shipped_out') / 'x.wav'}") < said.index(f"{Path('music_out') / 'x.wav'}")


def test_a_step_that_fails_ends_the_demo_with_a_sentence(tmp_path: Path, capfd) -> None:
    with pytest.raises(DemoError, match="`prepare` failed, see above"):
        step("prepare", tmp_path / "nowhere", "--output", tmp_path / "out")
    told = capfd.readouterr()
    assert "there is no folder" in told.err
    assert "musigan prepare" in told.out
