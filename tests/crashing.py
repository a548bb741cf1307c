"""What a decoder in C does at its worst, for tests of what must survive it; imports nothing, to start fast."""

import os
import signal
from typing import Any


def crash(task: Any, tick: Any) -> None:
    """Die as after a wrong pointer."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(task: Any, tick: Any) -> None:
    """Never come back."""
    signal.pause()
