"""What holds for every test: drawn examples are the same in every run, and a busy machine makes no test fail."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tqdm import tqdm

from piano.foundation import doors

settings.register_profile("musigan", derandomize=True, deadline=None)
settings.load_profile("musigan")

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
