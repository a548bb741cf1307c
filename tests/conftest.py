"""What holds for every test: drawn examples are the same in every run, and a busy machine makes no test fail."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tqdm import tqdm

from piano.foundation import doors
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator
from tests.trained_model import EPOCH, save_trained

settings.register_profile("musigan", derandomize=True, deadline=None)
settings.load_profile("musigan")

LONG = (
    "test_piano_finetune",
    "test_hard_times",
    "test_zoo",
    "test_resumed_settings",
    "test_nearest_model",
    "test_keeping",
    "test_standard_streams",
    "test_training_run",
    "test_ruler_command",
    "test_exporting",
    "test_doctor_live",
    "test_gates",
    "test_longer_run",
    "test_doors",
    "test_clusters",
    "test_documents",
    "test_sound_pipe",
    "test_web_page",
    "test_training_guide",
)
"""Files that take the longest, the longest first: begun at the end, one would keep a worker while the others rest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files come first; all others keep their order."""
    order = {name: index for index, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


# A shell starts what it sends to the background with Ctrl-C switched off, and processes hand that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _hints_name_musigan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that comes in by another door leaves it closed for the next one."""
    monkeypatch.setattr(doors, "_front", "musigan")
    monkeypatch.delenv("MUSIGAN_FRONT", raising=False)


@pytest.fixture(autouse=True)
def _bars_end_with_their_test() -> Iterator[None]:
    """A run that a test leaves in the middle has a bar open, and the next test's bar would stand a line lower."""
    yield
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model in `model`; test files that want more in it have their own."""
    folder = tmp_path_factory.mktemp("trained")
    save_trained(folder)
    return folder


@pytest.fixture(scope="module")
def generator(place: Path) -> VariationalAttentionModel:
    """That model."""
    return load_generator(place / "model", EPOCH)


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that folder."""
    monkeypatch.chdir(place)
    return place
