"""The tutorial teaches what is so: its networks, its turns, its checks, its notebooks."""

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from piano.doctor.rules import Window, diagnose
from piano.foundation.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from piano.foundation.run_log import read_history
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build as build_small_generator
from tests.tiny_run import write_config
from tutorial import build_notebooks, exercise_checks
from tutorial.broken_runs import FAULTS, run_with_fault
from tutorial.discriminator_model import create_discriminator
from tutorial.exercise_checks import NotYet, verdict
from tutorial.fashion_mnist import CLASS_NAMES, FashionMnist, ImageSet, build_loader, load_fashion_mnist, normalise
from tutorial.from_pictures_to_sound import play_chords
from tutorial.gan_analysis import detect_failure_modes, gan_windows, loss_statistics, nash_equilibrium
from tutorial.gan_pictures import draw_loss_curves, draw_sample_grids, draw_windows, figure_png, tile
from tutorial.gan_training import (
    checkpoint_epochs,
    discriminator_loss,
    discriminator_step,
    diversity,
    generator_loss,
    generator_step,
    train_gan,
)
from tutorial.generator_model import create_generator
from tutorial.sample_quality import QualityRuler, accuracy, train_classifier

NAMES = {0.05: "D overpowering", 0.95: "D failure"}


@pytest.fixture(scope="module")
def data() -> FashionMnist:
    return load_fashion_mnist()


@pytest.fixture(autouse=True)
def one_thread_and_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_the_subset_has_ten_classes_in_the_range_of_tanh(data: FashionMnist) -> None:
    assert data.training.images.shape == (8000, 1, 28, 28) and data.held_out.images.shape == (2000, 1, 28, 28)
    assert data.training.images.min() == -1.0 and data.training.images.max() == 1.0
    every = torch.bincount(torch.cat([data.training.labels, data.held_out.labels]))
    assert every.tolist() == [1000] * len(CLASS_NAMES)


def write_full_set(folder: Path, counts: dict[str, int]) -> dict[str, np.ndarray]:
    """The four files of the full set, of a few random pictures."""
    random, pixels = np.random.default_rng(0), {}
    for split, count in counts.items():
        pixels[split] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for name, values in (("images-idx3", pixels[split]), ("labels-idx1", np.arange(count, dtype=np.uint8) % 10)):
            head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, dtype=">u4").tobytes()
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return pixels


def test_the_full_set_is_read_from_a_folder(tmp_path: Path) -> None:
    pixels = write_full_set(tmp_path, {"train": 20, "t10k": 12})
    full = load_fashion_mnist(tmp_path)
    assert torch.equal(full.training.images, normalise(pixels["train"]))
    assert full.held_out.labels.tolist() == [*range(10), 0, 1]
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="damaged"):
        load_fashion_mnist(tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match="Put the four files of Fashion-MNIST there"):
        load_fashion_mnist(tmp_path)


def test_an_epoch_of_fewer_images_has_no_picture_twice(data: FashionMnist) -> None:
    numbered = torch.arange(100.0).reshape(100, 1, 1, 1)
    loader = build_loader(numbered, 10, images_per_epoch=40)
    epochs = [torch.cat([batch[0] for batch in loader]).flatten().tolist() for _ in range(2)]
    assert all(len(set(epoch)) == 40 for epoch in epochs)
    assert set(epochs[0]) != set(epochs[1])
    with pytest.raises(DatasetError, match="smaller images_per_epoch or batch_size"):
        build_loader(numbered, 64, images_per_epoch=200)


# --- networks and turns ----------------------------------------------------------------------------------------------


def test_networks_have_the_promised_shapes_and_ranges() -> None:
    generator, discriminator = create_generator(latent_dim=17), create_discriminator()
    images = generator(torch.randn(5, 17))
    assert images.shape == (5, 1, 28, 28) and images.abs().max() <= 1.0
    assert discriminator(images).shape == (5, 1)
    discriminator.eval()
    assert torch.allclose(discriminator(images)[:2], discriminator(images[:2]), atol=1e-5)  # no batch norm


def test_losses_are_log_two_at_confusion_and_have_a_gradient_for_the_loser() -> None:
    zeros = torch.zeros(3, 1)
    assert discriminator_loss(real_logits=zeros, fake_logits=zeros).item() == pytest.approx(math.log(2))
    losing = torch.full((3, 1), -20.0, requires_grad=True)
    generator_loss(losing).backward()
    assert losing.grad is not None and losing.grad.sum().item() == pytest.approx(-1.0, abs=1e-4)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_only_the_right_network_moves_and_gets_gradients(data: FashionMnist) -> None:
    generator, discriminator = create_generator(), create_discriminator()
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (generator, discriminator)]
    g_start, d_start = weights(generator), weights(discriminator)
    noise = torch.randn(8, 100)
    discriminator_step(generator, discriminator, optimizers[1], real=data.training.images[:8], noise=noise)
    assert weights(generator).equal(g_start) and not weights(discriminator).equal(d_start)
    assert all(parameter.grad is None for parameter in generator.parameters())
    d_middle = weights(discriminator)
    left = [parameter.grad.clone() for parameter in discriminator.parameters() if parameter.grad is not None]
    generator_step(generator, discriminator, optimizers[0], noise=noise)
    assert weights(discriminator).equal(d_middle) and not weights(generator).equal(g_start)
    now = [parameter.grad for parameter in discriminator.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(left, now, strict=True))
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_diversity_is_one_for_real_pictures_and_zero_for_copies(data: FashionMnist) -> None:
    real = data.training.images[:64]
    assert diversity(real, real) == 1.0
    assert diversity(real[:1].expand(64, -1, -1, -1), real) == pytest.approx(0.0, abs=1e-4)


# --- training --------------------------------------------------------------------------------------------------------


def train_few(images: torch.Tensor, folder: Path | None, epochs: int, **changed: Any) -> Any:
    torch.manual_seed(0)
    return train_gan(
        create_generator(),
        create_discriminator(),
        build_loader(images[:256], 32),
        num_epochs=epochs,
        device="cpu",
        checkpoint_interval=2,
        verbose=False,
        folder=folder,
        **changed,
    )


def test_losses_move_and_a_resumed_run_equals_one_that_never_stopped(data: FashionMnist, tmp_path: Path) -> None:
    images = data.training.images
    whole = train_few(images, tmp_path / "whole", 4)
    d_losses, g_losses, samples = whole
    assert len(d_losses) == len(g_losses) == 4 * 8
    assert [sample.shape for sample in samples] == [(64, 1, 28, 28)] * 2
    assert np.mean(d_losses[-8:]) < 0.9 * d_losses[0]
    train_few(images, tmp_path / "parts", 2)
    torch.randn(7)  # what happens between sittings changes nothing
    parts = train_few(images, tmp_path / "parts", 4)
    assert parts.d_losses == d_losses and parts.g_losses == g_losses
    assert torch.equal(parts.generated_samples[-1], samples[-1])
    timeless = [
        [{name: value for name, value in line.items() if name != "seconds"} for line in read_history(tmp_path / part)]
        for part in ("whole", "parts")
    ]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 32
    newest = tmp_path / "parts" / "gan_epoch_4.pt"
    newest.write_bytes(newest.read_bytes()[:5000])  # a damaged one: the one before serves
    assert train_few(images, tmp_path / "parts", 4).d_losses == d_losses
    with pytest.raises(CheckpointError, match=r"learning_rate 0.0002 \(now 0.1\)"):
        train_few(images, tmp_path / "parts", 5, learning_rate=0.1)
    assert checkpoint_epochs(tmp_path / "parts") == [2, 4]


def test_a_loss_that_is_no_number_stops_the_run_with_a_sentence(data: FashionMnist) -> None:
    broken = torch.full((64, 1, 28, 28), math.nan)
    with pytest.raises(TrainingError, match=r"d_loss is nan in epoch 1, step 1"):
        train_few(broken, None, 1)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", NAMES)
def test_planted_losses_are_named(level: float) -> None:
    random = np.random.default_rng(0)
    d_losses = np.concatenate([np.full(300, 0.55), np.full(500, level)]) + 0.02 * random.standard_normal(800)
    found = detect_failure_modes(d_losses.tolist(), [1.0] * 800)
    assert [finding.name for finding in found] == [NAMES[level]]
    assert found[0].step == 600  # three windows after it began
    assert level == pytest.approx(found[0].value, abs=0.01)


def test_divergence_and_health_are_told_apart() -> None:
    random = np.random.default_rng(0)
    healthy = (0.55 + 0.03 * random.standard_normal(1000)).tolist()
    assert detect_failure_modes(healthy, [1.0] * 1000) == []
    for exploding in ([1.0] * 900 + [50.0] * 100, [1.0] * 999 + [math.nan]):
        assert [finding.name for finding in detect_failure_modes(healthy, exploding)] == ["divergence"]


def test_statistics_describe_a_falling_loss() -> None:
    found = loss_statistics(np.linspace(1.0, 0.5, 1001).tolist())
    assert found.mean == pytest.approx(0.75) and found.slope == pytest.approx(-0.5)
    assert found.last < 0.53 and found.high > 0.97
    with pytest.raises(ValueError, match="no step"):
        loss_statistics([])


def test_confusion_alone_is_no_equilibrium() -> None:
    level = {"d_loss": 0.693, "g_loss": 0.693, "d_real": 0.5, "d_fake": 0.5}
    rest = [Window(100 * n, "gan", level | {"diversity": 0.95}) for n in range(10)]
    assert nash_equilibrium(rest).is_reached
    assert [finding.name for finding in diagnose(rest)] == ["Nash equilibrium"]
    collapsed = [window._replace(signals=level | {"diversity": 0.05}) for window in rest]
    found = nash_equilibrium(collapsed)
    assert not found.is_reached and "diversity outside" in found.sentence
    assert "Too short" in nash_equilibrium(rest[:2]).sentence


@pytest.mark.parametrize(("fault", "name"), [("copying G", "mode collapse"), ("frozen D", "D failure")])
def test_a_broken_run_is_named_by_the_doctor(data: FashionMnist, tmp_path: Path, fault: str, name: str) -> None:
    run = run_with_fault(FAULTS[fault], data.training.images[: 64 * 12], tmp_path, steps_per_window=20)
    assert name in [finding.name for finding in diagnose(run.windows)]


# --- quality and pictures --------------------------------------------------------------------------------------------


def test_the_quality_ruler_puts_real_pictures_first(data: FashionMnist) -> None:
    few = FashionMnist(ImageSet(data.training.images[:2000], data.training.labels[:2000]), data.held_out)
    classifier = train_classifier(few.training, epochs=3)
    assert accuracy(classifier, few.held_out) > 0.7
    ruler = QualityRuler(classifier, few)
    real = ruler.measure(ruler.control)
    shoes = ruler.measure(few.training.images[few.training.labels == 9])
    noise = ruler.measure(torch.rand(1000, 1, 28, 28) * 2 - 1)
    assert real.classes > 9 > 3 > shoes.classes and real.nearest == 1.0
    assert shoes.nearest < 0.1  # they are training pictures
    assert real.distance < 0.01 < shoes.distance and noise.distance > 0.1
    assert ruler.measure(ruler.control) == real


def test_pictures_show_what_they_are_given(data: FashionMnist) -> None:
    sheet = tile(data.training.images[:6], columns=3)
    assert sheet.shape == (57, 86) and (sheet[28] == 255).all()
    assert (sheet[:28, :28] == ((data.training.images[0, 0] + 1) * 127.5).round().numpy()).all()
    samples = [data.training.images[:16]] * 2
    with pytest.raises(ValueError):
        draw_sample_grids(samples, [5])
    windows = gan_windows(
        {"total_step": n + 1, "d_loss": 0.6, "g_loss": 0.8, "d_real": 0.6, "d_fake": 0.4} for n in range(250)
    )
    assert [window.step for window in windows] == [100, 200] and windows[0].signals["d_loss"] == pytest.approx(0.6)
    for figure in (
        draw_sample_grids(samples, [5, 10]),
        draw_loss_curves([0.6] * 30, [0.9] * 30),
        draw_windows(windows),
    ):
        png = figure_png(figure)
        assert png.startswith(b"\x89PNG") and len(png) < 60_000


def test_made_up_music_is_music_and_repeats_with_its_seed() -> None:
    piece = play_chords(2.0, 8000, seed=1)
    assert piece.shape == (1, 16000) and 0.1 < np.abs(piece).max() <= 1.0
    assert np.array_equal(piece, play_chords(2.0, 8000, seed=1))
    assert not np.array_equal(piece, play_chords(2.0, 8000, seed=2))


# --- exercises and notebooks -----------------------------------------------------------------------------------------


def right_answers() -> dict[str, Any]:
    """What the solved exercises define."""
    found: dict[str, Any] = {"torch": torch}
    for kind, source in build_notebooks.read_cells(build_notebooks.SOURCE.read_text(encoding="utf-8")):
        if kind == "exercise":
            exec(build_notebooks.solve_exercise(source), found)
    return found


def open_answers() -> dict[str, Any]:
    """What the open exercises define."""
    found: dict[str, Any] = {"torch": torch}
    for kind, source in build_notebooks.read_cells(build_notebooks.SOURCE.read_text(encoding="utf-8")):
        if kind == "exercise":
            exec(build_notebooks.open_exercise(source), found)
    return found


CHECKS: dict[str, Callable[[Any], None]] = {
    "to_signal": exercise_checks.check_normalise,
    "transposed_size": exercise_checks.check_transposed_size,
    "best_discriminator": exercise_checks.check_best_discriminator,
    "my_discriminator_loss": exercise_checks.check_discriminator_loss,
    "my_generator_loss": exercise_checks.check_generator_loss,
    "my_discriminator_turn": exercise_checks.check_discriminator_turn,
    "diagnoses": exercise_checks.check_diagnoses,
}
softplus = nn.functional.softplus


def leaking_turn(generator: Any, discriminator: Any, d_optimizer: Any, *, real: Any, noise: Any) -> None:
    loss = discriminator_loss(real_logits=discriminator(real), fake_logits=discriminator(generator(noise)))
    d_optimizer.zero_grad()
    loss.backward()
    d_optimizer.step()


def hoarding_turn(generator: Any, discriminator: Any, d_optimizer: Any, *, real: Any, noise: Any) -> None:
    fake = generator(noise).detach()
    discriminator_loss(real_logits=discriminator(real), fake_logits=discriminator(fake)).backward()
    d_optimizer.step()


WRONG = [
    ("to_signal", lambda pixels: pixels / 255, "0 to 1"),
    ("to_signal", lambda pixels: pixels / 128 - 1, "255 became 0.992"),
    ("transposed_size", lambda side, *, kernel, stride, padding: side * stride, "kernel 7, stride 1"),
    ("best_discriminator", lambda *, p_data, p_generator: p_generator / (p_data + p_generator), "generated picture"),
    ("best_discriminator", lambda *, p_data, p_generator: p_data, "1/2"),
    (
        "my_discriminator_loss",
        lambda *, real_logits, fake_logits: softplus(-real_logits).mean() + softplus(fake_logits).mean(),
        "Take their mean",
    ),
    (
        "my_discriminator_loss",
        lambda *, real_logits, fake_logits: (softplus(real_logits).mean() + softplus(-fake_logits).mean()) / 2,
        "swapped",
    ),
    (
        "my_discriminator_loss",
        lambda *, real_logits, fake_logits: (
            -(real_logits.sigmoid().log().mean() + (1 - fake_logits.sigmoid()).log().mean()) / 2
        ),
        "-200",
    ),
    ("my_generator_loss", lambda fake_logits: -softplus(fake_logits).mean(), "almost flat"),
    ("my_generator_loss", lambda fake_logits: softplus(-fake_logits), "one number"),
    ("my_discriminator_turn", leaking_turn, "gradient has reached the generator"),
    ("my_discriminator_turn", hoarding_turn, "zero_grad"),
    ("diagnoses", {"A": "D failure", "B": "D failure", "C": "mode collapse"}, "run A is not a case of"),
    ("diagnoses", {"A": "D overpowering"}, "run B has no diagnosis"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_helpful_sentence(name: str, answer: Any, hint: str) -> None:
    with pytest.raises(NotYet) as caught:
        CHECKS[name](answer)
    assert hint in str(caught.value)


def test_every_right_answer_passes_and_every_open_one_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    right, unanswered = right_answers(), open_answers()
    for name, check in CHECKS.items():
        verdict(check, right[name])
        assert capsys.readouterr().out == "Right.\n", name
        verdict(check, unanswered[name])
        assert capsys.readouterr().out.startswith("Not yet: "), name


def test_the_notebooks_are_as_their_source() -> None:
    assert build_notebooks.stale_notebooks() == []
    for name in build_notebooks.NOTEBOOKS:
        assert (build_notebooks.FOLDER / name).stat().st_size < build_notebooks.MOST_BYTES


def test_the_open_notebook_holds_no_answer_and_every_cell_compiles() -> None:
    for is_solved in (False, True):
        code = [
            text for kind, text in build_notebooks.sources(build_notebooks.build(is_solved=is_solved)) if kind == "code"
        ]
        for cell in code:
            compile(cell, "cell", "exec")
        assert not any("# solution" in cell or "# end" in cell for cell in code)
        assert any("pixels / 127.5" in cell for cell in code) == is_solved
        assert any('"A": "D overpowering"' in cell for cell in code) == is_solved
    with pytest.raises(ConfigError, match="marked"):
        build_notebooks.read_cells("# %% exercize\nx = 1\n")


PLAYED = build_notebooks.NOTEBOOKS["play.ipynb"].source
SET_UP = {
    'MODEL, BASE = "shipped", "mixed"': "MODEL, BASE = {model!r}, {model!r}",
    "SECONDS = 5.0": "SECONDS = 1.0",
    'LEARNING = ["--minutes", 1, "--anyway"]': "LEARNING = ['--config', {settings!r}]",
    'RUNS = Path("runs/play")': "RUNS = Path({runs!r})",
}
"""Lines of the notebook to play in, and what a test has in their place."""


def test_the_notebook_to_play_in_shows_what_it_promises_and_every_cell_compiles() -> None:
    notebook = build_notebooks.built(build_notebooks.NOTEBOOKS["play.ipynb"])
    code = [text for kind, text in build_notebooks.sources(notebook) if kind == "code"]
    for cell in code:
        compile(cell, "cell", "exec")
    together = "\n".join(code)
    for call in ("seed=1", "steps=1", "like=song", "continue_(song", "vary(song", "encode(song", "look(", '"--from"'):
        assert call in together, call
    kept = nbformat.read(build_notebooks.FOLDER / "play.ipynb", as_version=4)
    shown = [output for cell in kept.cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in shown)
    assert sum("audio" in output.get("data", {}).get("text/html", "") for output in shown) >= 10
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert str(build_notebooks.FOLDER.parent) not in nbformat.writes(kept)


@pytest.mark.slow
def test_the_notebook_to_play_in_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(build_small_generator(), 3, tmp_path / "model", "generator")
    epochs = {"pretrain_epochs_g": 2, "epochs": 3}
    places = {"model": tmp_path / "model", "runs": tmp_path / "runs", "settings": write_config(tmp_path, **epochs)}
    text = PLAYED.read_text(encoding="utf-8")
    for line, other in SET_UP.items():
        assert text.count(line) == 1, line
        text = text.replace(line, other.format(**{name: str(path) for name, path in places.items()}))
    monkeypatch.setenv("PYTHONPATH", str(build_notebooks.FOLDER.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = build_notebooks.build(is_solved=False, text=text)
    build_notebooks.execute(notebook)
    said = "\n".join(
        output.get("text", "") for cell in notebook.cells if cell["cell_type"] == "code" for output in cell["outputs"]
    )
    assert "8,000 Hz, mono, epoch 3" in said and "The same seed gives the same: True" in said
    assert "$ musigan train --from" in said
    assert list((tmp_path / "runs" / "tuned").glob("generator_epoch_*.pt"))
    assert {path.name for path in (tmp_path / "runs").glob("*.png")} == {"steps.png", "takes.png", "learning.png"}
