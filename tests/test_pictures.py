"""Pictures show what is there: a note is a line at its name, treble that is gone is dark, files are whole PNGs."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes

from piano.evaluation.pictures import PAPER, ChartLine, LineChart, chart_row, constant_q_grid, spectrogram_grid
from tests import make_audio

RATE = 16_000
tone = partial(make_audio.tone, seconds=2.0, sample_rate=RATE, level=0.2)


def brightness(path: Path) -> np.ndarray:
    """Of a PNG [shape=(rows, columns)], top row first."""
    return image.imread(path)[:, :, :3].sum(axis=2)


def panels(path: Path) -> np.ndarray:
    """The dark part of a picture with one panel: what lies inside its axes."""
    levels = brightness(path)
    rows = np.flatnonzero((levels < 2.0).mean(axis=1) > 0.5)
    columns = np.flatnonzero((levels < 2.0).mean(axis=0) > 0.5)
    return levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_a_note_is_a_bright_line_at_its_height(tmp_path):
    for note, share in ((12, 12 / 84), (48, 48 / 84)):
        panel = panels(constant_q_grid({"note": tone(55 * 2 ** (note / 12))}, RATE, tmp_path / "note.png"))
        line = panel.mean(axis=1).argmax()
        assert 1 - line / len(panel) == pytest.approx(share, abs=0.03)


def test_notes_are_named_at_their_rows(tmp_path, monkeypatch):
    named: dict[str, float] = {}
    original = Axes.set_yticks

    def remember(axis, ticks, labels=None, **settings):
        named.update(zip(labels or [], ticks, strict=True))
        return original(axis, ticks, labels, **settings)

    monkeypatch.setattr(Axes, "set_yticks", remember)
    constant_q_grid({"note": tone(440.0)}, RATE, tmp_path / "note.png")
    rows_to_hz = {name: 55 * 2 ** (row / 36) for name, row in named.items()}
    assert rows_to_hz["C4"] == pytest.approx(261.63, rel=1e-3)
    assert rows_to_hz["C2"] == pytest.approx(65.41, rel=1e-3)


def test_missing_treble_is_dark_in_a_spectrogram(tmp_path):
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((1, 2 * RATE)))
    spectrum[:, spectrum.shape[1] // 2 :] = 0
    noise = 0.1 * np.fft.irfft(spectrum).astype(np.float32)
    path = spectrogram_grid({"low": noise, "same": noise}, RATE, tmp_path / "low.png", columns=2)
    levels = brightness(path)
    left = levels[:, : levels.shape[1] // 2]
    columns = slice(int(0.3 * left.shape[1]), int(0.8 * left.shape[1]))
    inside = np.flatnonzero(left[:, columns].mean(axis=1) < 2.9)
    height = len(inside)
    top, bottom = inside[int(0.2 * height)], inside[int(0.6 * height)]
    assert left[top, columns].mean() < 0.1
    assert left[bottom, columns].mean() > 0.5


def test_every_title_gets_a_panel_and_seconds_cut_them(tmp_path):
    rows = {f"row {index}": tone(220.0 * (index + 1), seconds=3.0) for index in range(3)}
    one = brightness(constant_q_grid({"row": rows["row 0"]}, RATE, tmp_path / "one.png"))
    three = brightness(constant_q_grid(rows, RATE, tmp_path / "three.png"))
    assert three.shape[0] > 2 * one.shape[0]
    assert three.shape[1] == one.shape[1]
    short = brightness(constant_q_grid(rows, RATE, tmp_path / "short.png", seconds=1.0))
    assert short.shape == three.shape
    assert not np.array_equal(short, three)


def test_silence_stereo_and_very_short_sounds_can_be_drawn(tmp_path):
    silent = np.zeros((2, RATE), dtype=np.float32)
    for draw in (constant_q_grid, spectrogram_grid):
        path = draw({"silent": silent, "short": tone(440.0, seconds=0.01)}, RATE, tmp_path / f"{draw.__name__}.png")
        assert brightness(path).size > 10_000


@pytest.mark.parametrize("name", ["\u97f3\u697d.mp3", "a \U0001f3b9 b.wav", "$x_{.mp3 $"])
def test_a_name_of_any_letters_is_drawn_without_a_word_on_the_screen(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant_q_grid({f"real music: {name}": tone(220.0)}, RATE, tmp_path / "q.png")
        spectrogram_grid({name: tone(220.0)}, RATE, tmp_path / "s.png")
    assert brightness(tmp_path / "q.png").size > 0


def test_a_picture_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "new" / "folder" / "picture.png"
    charts = [
        LineChart(
            "loss",
            [ChartLine("fakes", [1, 2, 3], [0.2, 0.5, 0.9]), ChartLine("real", [1, 2, 3], [0.9, 0.5, 0.4], "s--")],
        ),
        LineChart("probability", [ChartLine("fakes", [1, 2, 3], [0.2, 0.5, 0.9])], mark=("confusion", 0.5)),
    ]
    assert chart_row(charts[:1], target, x_label="epoch") == target
    first = target.read_bytes()
    assert chart_row(charts, target, x_label="epoch") == target
    assert target.read_bytes() != first
    assert target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [path.name for path in target.parent.iterdir()] == ["picture.png"]
    assert brightness(target).shape[1] > 1.8 * 4.6 * 90


def test_every_picture_lies_on_the_pages_paper_and_names_are_words(tmp_path, monkeypatch):
    texts = []
    original = Axes.set_title
    monkeypatch.setattr(
        Axes, "set_title", lambda axis, text, **more: (texts.append(text), original(axis, text, **more))[1]
    )
    path = chart_row(
        [LineChart("ear_loss", [ChartLine("a_b", [1, 2], [0.1, 0.2])])], tmp_path / "x.png", x_label="epoch"
    )
    assert image.imread(path)[0, 0, :3] == pytest.approx([int(PAPER[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    assert texts == ["ear loss"]
