"""One bar in words, within 80 columns, that never complains."""

import os
import subprocess
import sys
import warnings
import weakref

from tqdm import tqdm

from piano.training.run_screen import RunScreen


def shown(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.replace("\n", "\r").split("\r") if line.strip()]


def test_the_bar_says_what_is_done_how_long_it_takes_and_one_number(capsys, monkeypatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(tqdm, "_instances", weakref.WeakSet())  # bars of other tests' runs move this one down
    screen = RunScreen()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # tqdm warns of more than all
        screen.show("autoencoder", 0.0, seconds_left=600.0)
        screen.numbers("autoencoder", {"reconstruction": 0.534, "kl": 2.0, "seconds": 3.0}, rate=9.0)
        screen.show("autoencoder", 0.31, seconds_left=414.0)
        screen.show("flow", 0.3, seconds_left=-1.0)
        screen.show("flow", 1.0 + 1e-9, seconds_left=0.0)
        screen.show("flow", 1.7)
        screen.numbers("flow", {"flow": 1.1}, rate=1.0)
        screen.doing("Encoding the music")
        screen.close()
        screen.close()
    lines = shown(capsys)
    assert all(len(line) <= 79 for line in lines)
    assert lines[0].startswith("Learning sounds") or "0%" in lines[0]
    assert any("Encoding the music" in line and "100%" in line for line in lines)
    assert not any("Encoding the music" in line and "error" in line for line in lines)
    assert not any("Learning to compose" in line and "sound error" in line for line in lines)


def test_a_bar_that_is_switched_off_or_quiet_shows_nothing(capsys) -> None:
    for screen in (RunScreen("quiet"), RunScreen(is_main=False)):
        screen.show("flow", 0.5)
        screen.numbers("flow", {"flow": 1.0}, rate=1.0)
        screen.doing("anything")
        screen.close()
    assert shown(capsys) == []
    code = "from piano.training.run_screen import RunScreen; s = RunScreen(); s.show('flow', 0.5)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; s.numbers('flow', {{}}, rate=1.0); s.doing('x'); s.close()"],
        env=os.environ | {"TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
