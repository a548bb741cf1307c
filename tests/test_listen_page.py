"""The listening page: one file, nothing outside it, and what is on it is what is in the folders."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from piano.evaluation import listen_page
from piano.evaluation.curves import Curve, place, running_median, stage_curves
from piano.evaluation.listen_page import build_page, encode_png
from piano.evaluation.listen_sounds import collect_made_music, collect_real_music
from piano.foundation.audio_io import write_audio
from piano.foundation.errors import AudioError

RATE = 16_000
VOID_TAGS = {"meta", "img", "br", "line", "polyline"}


def tone(seconds: float, hertz: float) -> np.ndarray:
    """A sine [shape=(1, samples)]."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)[None]


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of made music and a folder of a run; no test writes into them."""
    folder = tmp_path_factory.mktemp("run")
    music, checkpoints = folder / "music", folder / "checkpoints"
    write_audio(music / "sample_0000.wav", tone(2.0, 440), RATE)
    write_audio(music / "sample_0001.wav", tone(2.0, 880), RATE)
    write_audio(music / "sample_0000.full.wav", tone(5.0, 220), RATE)
    write_audio(music / "sample_0000.continuation.wav", tone(2.0, 220), RATE)
    write_audio(music / "A & <B>.reconstruction.wav", tone(1.5, 330), RATE)
    checkpoints.mkdir()
    steps = [
        {
            "stage": stage,
            "step": step,
            "epoch": 1,
            "total_step": step,
            "seconds": 60.0 * step,
            name: 2.0 - step / 10,
        }
        for stage, name in (("autoencoder", "reconstruction"), ("flow", "loss/new <term>"))
        for step in range(10)
    ]
    gates = [
        {
            "event": "gate",
            "stage": "flow",
            "seconds": 540.0,
            "total_step": 9,
            "name": "G2 flow",
            "passed": True,
            "d": 0.25,
        },
        {
            "event": "gate",
            "name": "G5",
            "passed": False,
            "advice": "train longer",
            "seconds": 600.0,
            "total_step": 9,
        },
    ]
    lines = "".join(json.dumps(entry) + "\n" for entry in steps + gates)
    (checkpoints / "metrics.jsonl").write_text(lines, encoding="utf-8")
    return music, checkpoints


@pytest.fixture(scope="module")
def page(run_folders: tuple[Path, Path]) -> str:
    """The page of that run."""
    return build_page(*run_folders)


class Reader(HTMLParser):
    """Collects the tags of a page, and insists that they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_one_file_that_needs_no_network(page: str) -> None:
    addresses = [
        attributes[key] or ""
        for _, attributes in Reader(page).tags
        for key in ("src", "href", "srcset", "poster", "action")
        if key in attributes
    ]
    assert len(addresses) == 4 + 8
    assert all(address.startswith("data:") for address in addresses)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "@import" not in page and "url(" not in page


def test_every_player_plays_the_sound_of_its_title(page: str, tmp_path: Path) -> None:
    players = {attributes["aria-label"]: attributes["src"] for attributes in Reader(page).all("audio")}
    expected = {
        "sample_0000.wav": (2.0, 440),
        "sample_0001.wav": (2.0, 880),
        "sample_0000.full.wav": (5.0, 220),
    }
    for title, (seconds, hertz) in expected.items():
        path = tmp_path / "player.mp3"
        path.write_bytes(
            base64.b64decode((players[f"Play {title}"] or "").removeprefix("data:audio/mpeg;base64,"))
        )
        waveform, rate = soundfile.read(path)
        assert rate == RATE
        assert len(waveform) / rate == pytest.approx(seconds, abs=0.1)
        spectrum = np.abs(np.fft.rfft(waveform))
        assert spectrum.argmax() * rate / len(waveform) == pytest.approx(hertz, abs=2)


def test_a_continuation_is_shown_whole_with_the_place_where_it_begins(
    run_folders: tuple[Path, Path], page: str
) -> None:
    sounds = {sound.title: sound for sound in collect_made_music(run_folders[0], max_seconds=60.0)}
    assert "sample_0000.continuation.wav" not in sounds
    assert sounds["sample_0000.full.wav"].takeover_seconds == pytest.approx(3.0)
    assert page.count('class="takeover" style="left:60.0%"') == 2
    assert "3.0 s of the fragment" in page


def test_a_long_sound_is_shown_in_part(run_folders: tuple[Path, Path]) -> None:
    sounds = collect_made_music(run_folders[0], max_seconds=1.0)
    assert {sound.seconds for sound in sounds} == {1.0}


def test_gates_and_curves_of_the_log_are_on_the_page(page: str) -> None:
    assert '<td class="passed">passed</td><td>' in page and "<br>d 0.25</td>" in page
    assert '<td class="failed">not passed</td>' in page and "train longer" in page
    assert len(Reader(page).all("svg")) == 2
    assert "reconstruction from 1.9" in page or "reconstruction from 2 to 1.1" in page
    assert "9 steps in 2 stages (autoencoder, flow)" in page


def test_names_from_files_and_logs_cannot_become_markup(run_folders: tuple[Path, Path]) -> None:
    page = build_page(*run_folders, title="<script>x</script>")
    assert "<B>" not in page and "A &amp; &lt;B&gt;.reconstruction.wav" in page
    assert "<term>" not in page and "loss/new &lt;term&gt;" in page
    assert len(Reader(page).all("script")) == 1


def test_a_run_without_a_log_still_gets_its_sounds(run_folders: tuple[Path, Path], tmp_path: Path) -> None:
    page = build_page(run_folders[0], tmp_path / "nothing")
    assert "no record of the training" in page
    assert "<h2>Gates" not in page and "<h2>Curves" not in page
    assert len(Reader(page).all("audio")) == 4


def test_an_empty_folder_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = listen_page.main(["--music", str(tmp_path), "--output", str(tmp_path / "page.html")])
    assert status == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("AudioError: there is no sound in") and complaint.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "sample_0000.wav").write_bytes(b"not a sound")
    with pytest.raises(AudioError, match="sample_0000"):
        collect_made_music(tmp_path, max_seconds=10.0)


def test_real_music_is_taken_from_the_middle(tmp_path: Path) -> None:
    early, late = tone(30.0, 200), tone(30.0, 1000)
    write_audio(tmp_path / "song.wav", np.concatenate([early, late], axis=1), RATE)
    (sound,) = collect_real_music(tmp_path, count=2, sample_rate=8000, channels=2)
    assert sound.waveform.shape == (2, 20 * 8000) and sound.sample_rate == 8000
    halves = [np.abs(np.fft.rfft(half)).argmax() / 10.0 for half in np.split(sound.waveform[0], 2)]
    assert halves == pytest.approx([200, 1000], abs=1)


def test_a_picture_has_low_tones_at_its_bottom_and_the_loudest_brightest() -> None:
    levels = np.full((600, 2000), -90.0, dtype=np.float32)
    levels[30] = -10.0
    levels[300] = -40.0
    picture = np.asarray(Image.open(io.BytesIO(encode_png(levels))).convert("L"), dtype=float)
    assert picture.shape[0] <= 260 and picture.shape[1] <= 900
    brightness = picture.mean(axis=1)
    assert brightness.argmax() == pytest.approx(len(picture) - 1 - 30 * len(picture) / 600, abs=1)
    assert (
        brightness.max() > brightness[len(picture) // 2 - 1 : len(picture) // 2 + 1].max() > brightness.min()
    )


def test_curves_keep_every_number_of_a_step_and_nothing_else() -> None:
    history = [
        {
            "stage": "flow",
            "step": 0,
            "epoch": 1,
            "seconds": 30.0,
            "flow": 3.0,
            "learning_rate": {"a": 1.0},
            "note": "x",
        },
        {"event": "gate", "stage": "flow", "figure": 1.0},
        {"stage": "flow", "step": 1, "epoch": 1, "seconds": 60.0, "flow": 2, "is_on": True, "late": 5.0},
    ]
    curves = stage_curves(history)["flow"]
    assert [curve.name for curve in curves] == ["flow", "late"]
    assert curves[0].minutes.tolist() == [0.5, 1.0] and curves[0].values.tolist() == [3.0, 2.0]


def test_a_curve_fills_its_picture_and_stays_in_it() -> None:
    values = np.array([5.0, 9.0, -1.0, 4.0])
    chart = place(Curve("x", np.arange(4.0), values))
    points = np.array([point.split(",") for point in chart.points.split()], dtype=float)
    assert (chart.low, chart.high) == (-1.0, 9.0)
    assert points[:, 1].argmin() == 1 and points[:, 1].argmax() == 2  # y grows downwards
    assert np.all(np.diff(points[:, 0]) > 0)
    flat = place(Curve("y", np.zeros(3), np.ones(3)))
    assert np.isfinite(np.array([point.split(",") for point in flat.points.split()], dtype=float)).all()


def test_a_lone_spike_does_not_bend_the_median() -> None:
    values = np.ones(50)
    values[20] = 1e6
    assert running_median(values, 5).max() == 1.0
    assert running_median(np.arange(50.0), 5)[10] == 10.0
