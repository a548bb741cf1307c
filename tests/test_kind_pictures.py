"""Pictures by kind of music: which clips stand for a kind, what stands in the titles, where sound lies in stereo."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from piano.evaluate import main
from piano.evaluation.descriptors import Clip, stereo_correlation
from piano.evaluation.kind_pictures import KindRow, choose_kinds, draw_kinds, kind_of, nearest_of_each
from piano.evaluation.pictures import DENSITY_CELLS, NARROW_DB, stereo_density, stereo_grid
from piano.evaluation.ruler import fit_ruler
from piano.evaluation.score_generator import Made
from piano.foundation.audio_io import write_audio
from piano.piano_model import VariationalAttentionModel
from piano.vae_utilities import save_checkpoint
from tests.make_audio import make_music, write_music
from tests.tiny_run import SAMPLE_RATE, tiny_config

FEW = ["--count", "4", "--seconds", "2", "--threads", "1"]
MIDDLE = DENSITY_CELLS // 2


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Stereo music of two kinds, and an untrained generator of stereo."""
    folder = tmp_path_factory.mktemp("kinds")
    for index in range(4):
        kind = "band/live" if index == 3 else "solo"
        write_music(folder / "real" / kind / f"real {index}.wav", index, 4.5, SAMPLE_RATE, 2)
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**tiny_config(folder, model__sound_channels=2).model.model_dump())
    save_checkpoint(generator, 1, folder / "checkpoints", "generator")
    return folder


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Titles of panels and captions of pictures, as they are drawn."""
    words: list[str] = []
    for owner, name in ((Axes, "set_title"), (Figure, "suptitle")):
        original = getattr(owner, name)

        def remember(self, text, *rest, original=original, **settings):
            words.append(text)
            return original(self, text, *rest, **settings)

        monkeypatch.setattr(owner, name, remember)
    return words


def test_the_kind_is_the_first_folder():
    assert [
        kind_of(name) for name in ("a.mp3", "rock/a.mp3", "rock/live/a.mp3", "rock\\a.mp3", "validation pair 3")
    ] == [*("", "rock", "rock", "rock", "")]


def test_kinds_are_the_most_frequent_with_their_typical_clip_and_the_composition_nearest_to_their_mean():
    files = ["solo/a", "band/a", "solo/b", "band/b", "solo/c", "rare/a", "band/c", "solo/d"]
    real = np.array([[0, 0], [10, 0], [1, 0], [10, 2], [5, 0], [50, 50], [10, 3], [2, 0]], dtype=float)
    composed = np.array([[9, 2], [40, 40], [2.1, 0], [10, 1.6]], dtype=float)
    rows, kinds = choose_kinds(files, real, composed, most=2)
    assert rows == [KindRow("solo", real=7, composed=2), KindRow("band", real=3, composed=3)]
    assert kinds == 3
    rows, _ = choose_kinds(files, real, composed)
    assert rows[2] == KindRow("rare", real=5, composed=1)
    assert choose_kinds(["a", "b"], real[:2], composed) == ([KindRow("", 0, 2)], 1)


def test_no_composition_stands_for_two_kinds_unless_there_are_too_few():
    distances = np.array([[2.0, 3.0, 9.0], [1.0, 8.0, 7.0], [4.0, 2.5, 6.0]])
    assert nearest_of_each(distances) == [1, 0, 2]  # 10 in all; the nearest pair first would make 12.5
    assert nearest_of_each(distances[:, :2]) == [0, 0, 1]


def test_mono_lies_on_the_vertical_one_side_on_a_diagonal_and_what_cancels_lies_flat():
    noise = 0.1 * np.random.default_rng(0).standard_normal(5000)
    silence = np.zeros_like(noise)
    rows, columns = np.nonzero(stereo_density(np.stack([noise, noise]), 1.0))
    assert set(columns) == {MIDDLE} and len(set(rows)) > 20
    rows, columns = np.nonzero(stereo_density(np.stack([noise, -noise]), 1.0))
    assert set(rows) == {MIDDLE} and len(set(columns)) > 20
    rows, columns = np.nonzero(stereo_density(np.stack([noise, silence]), 1.0))
    assert (rows == columns).all()
    rows, columns = np.nonzero(stereo_density(np.stack([silence, noise]), 1.0))
    assert np.abs(rows + columns - 2 * MIDDLE).max() <= 1  # a value on an edge belongs to the cell above


def test_every_sample_within_the_limit_is_counted_once_where_it_is():
    sound = np.array([[0.5, 0.5, 0.0, 9.0], [0.5, 0.5, 0.0, 9.0]])
    cells = stereo_density(sound, 1.0)
    assert cells.sum() == 3
    assert cells[MIDDLE, MIDDLE] == 1
    assert cells[int((np.sqrt(0.5) + 1) / 2 * DENSITY_CELLS), MIDDLE] == 2


def test_all_clips_are_points_of_correlation_and_width_and_mono_stays_in_the_picture(tmp_path, said, monkeypatch):
    drawn: dict[str, tuple] = {}
    original = Axes.plot

    def remember(axis, *values, **settings):
        if "label" in settings:
            drawn[settings["label"]] = values
        return original(axis, *values, **settings)

    monkeypatch.setattr(Axes, "plot", remember)
    one, other = 0.1 * np.random.default_rng(1).standard_normal((2, 2 * SAMPLE_RATE))
    mono, wide, silent = np.stack([one, one]), np.stack([one, other]), np.zeros((2, 2 * SAMPLE_RATE))
    path = stereo_grid(
        {"mono": mono, "wide": wide, "silent": silent},
        {"real": [mono, wide], "composed": [silent]},
        SAMPLE_RATE,
        tmp_path / "stereo.png",
        columns=2,
    )
    correlations, levels, _ = drawn["real"]
    assert correlations == pytest.approx([1.0, np.corrcoef(one, other)[0, 1]], abs=1e-3)
    assert levels == pytest.approx([NARROW_DB, 0.0], abs=0.3)
    assert said[0] == "All clips"
    assert said[1] == "mono\ncorrelation 1.00"
    assert image.imread(path).shape[0] > 900


def test_a_stereo_model_is_shown_by_kind_beside_the_music(home: Path, tmp_path: Path, said: list[str]) -> None:
    arguments = ["--checkpoints", str(home / "checkpoints"), "--real", str(home / "real"), "--prompts", "0"]
    assert main([*arguments, *FEW, "--steps", "1", "--output", str(tmp_path)]) == 0
    for name in ("kinds.png", "stereo.png"):
        assert min(image.imread(tmp_path / name).shape[:2]) > 400
    kinds = [title for title in said if ": real, " in title or ": reconstructed" in title or ": composed, " in title]
    assert [title.split(",")[0] for title in kinds] == [
        *("solo: real", "solo: reconstructed", "solo: composed", "band: real", "band: reconstructed", "band: composed")
    ]
    assert kinds[3] == "band: real, real 3.wav"
    samples = {title.rpartition(" ")[2] for title in kinds if "composed" in title}
    assert len(samples) == 2 and samples <= set("0123")
    places = [title.split("\n") for title in said if "\ncorrelation " in title]
    assert [f"{kind}: {what}" for kind, what, _ in places] == kinds
    assert all(-1.0 <= float(words.split()[1]) <= 1.0 for *_, words in places)


def test_of_a_folder_of_sounds_the_reconstructed_column_is_left_out_and_files_are_named(
    home: Path, tmp_path: Path, said: list[str]
) -> None:
    for index in range(6):
        write_audio(tmp_path / "made" / f"take {index}.wav", make_music(50 + index, 2.5, SAMPLE_RATE, 2), SAMPLE_RATE)
    arguments = ["--generated", str(tmp_path / "made"), "--real", str(home / "real" / "solo")]
    assert main([*arguments, *FEW, "--output", str(tmp_path / "out")]) == 0
    assert not any("reconstructed" in title for title in said)
    real, composed = (title for title in said if title.startswith(("real, ", "composed, ")) and "\n" not in title)
    assert real in {f"real, real {index}.wav" for index in range(3)}
    assert composed in {f"composed, take {index}.wav" for index in range(6)}
    clip = make_music(50 + int(composed.split()[2][0]), 2.5, SAMPLE_RATE, 2)
    told = next(title for title in said if title.startswith(f"{composed}\ncorrelation "))
    assert float(told.split()[-1]) == pytest.approx(stereo_correlation(Clip(clip, SAMPLE_RATE)), abs=0.1)


def test_kinds_that_are_left_out_are_counted_in_the_caption(tmp_path: Path, said: list[str]) -> None:
    clips = [make_music(index, 1.0, SAMPLE_RATE) for index in range(5)]
    files = ["solo/a", "solo/b", "band/a", "band/b", "rare/a"]
    ruler = fit_ruler(clips, files, SAMPLE_RATE)
    made = Made(clips[:2], [], [], names=["x/first.wav", "second.wav"])
    draw_kinds(ruler, files, ruler.features[:2], made, tmp_path, most=2)
    assert "Shown: 2 of 3 kinds, those with most clips." in " ".join(said[0].split())
    assert len(said) == 5 and not any("rare" in words for words in said)
    assert said[2] == "solo: composed, first.wav"
    assert [path.name for path in tmp_path.iterdir()] == ["kinds.png"]
