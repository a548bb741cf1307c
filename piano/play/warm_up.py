"""What is done before anybody listens: PyTorch and the model are loaded, the threads chosen, the speed measured.

All of it is work for the scheduler: the number of threads belongs to the thread that composes, and what is measured
beside somebody's music would be wrong.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from piano.foundation.errors import MusiganError
from piano.foundation.screen_text import printable
from piano.play.models import Models

URGENCY = 9.0
"""Of measuring: after listeners who have less than so many seconds."""
PATIENCE_SECONDS = 1.0
"""After loading, for a page that is open already: its first sound comes before anything is measured."""
MEASURED_PIECES = 3
LOOK_SECONDS, COMPILING_SECONDS = 1.0, 300.0
"""Between two looks whether the compiled loops are there, and after which nobody waits for them any more."""


logger = logging.getLogger(__name__)


class WarmUp:
    """The first work of a scheduler.

    Parameters
    ----------
    models : Models
        The default one is loaded.
    open_library : callable
        Imports what the library's routes need.
    threads : int, optional
        Of the thread that composes; without it OMP_NUM_THREADS, or one, and from the measurement on as many as are
        fastest, of all cores but one.
    """

    def __init__(self, models: Models, open_library: Callable[[], Any], *, threads: int | None = None) -> None:
        self._models, self._open_library, self._threads = models, open_library, threads
        self._loaded_at: float | None = None
        self._has_library, self._has_chosen = False, False
        self._loops = Loops()
        self._radio: Any = None
        self._left = MEASURED_PIECES

    def urgency(self) -> float | None:
        """Loading comes before everything; measuring when nobody waits."""
        if self._loaded_at is None:
            return -1.0
        if time.monotonic() - self._loaded_at <= PATIENCE_SECONDS:
            return None
        return URGENCY if self._left or self._loops.are_ready() or not self._loops.are_awaited else None

    def step(self) -> float | None:
        """Load; then the library's code; then choose the threads; then make some music for the stopwatch."""
        if self._loaded_at is None:
            self._load()
            return 0.0
        if self._loops.are_ready():
            self._loops.are_awaited = False
            self._models.use_compiled_loops()
            self._has_chosen, self._radio, self._left = False, None, MEASURED_PIECES  # all that was measured is another
            return 0.0
        composer = self._models.get(self._models.default)
        if not self._has_library:
            self._has_library = True
            self._open_library()
            return 0.0
        if not self._has_chosen:
            self._has_chosen = True
            if self._threads is None:
                import torch

                from piano.generate_music import measured_threads

                chosen = measured_threads(composer.generator, composer.sampling.dtype, composer.kernels, spared_cores=1)
                torch.set_num_threads(chosen)
            return 0.0
        if self._radio is None:
            from piano.play.radio import Program, Radio

            self._radio = Radio(composer, Program())
        if not self._left:
            return 0.0 if self._loops.are_awaited else None
        self._left -= 1
        return self._radio.produce().waveform.shape[-1] / self._radio.sample_rate

    def fail(self, error: Exception) -> None:
        """The page is there all the same: another model may play."""
        if isinstance(error, MusiganError):
            print(f"Error: {printable(error)}", file=sys.stderr, flush=True)

    def _load(self) -> None:
        import torch

        if self._threads is not None or not os.environ.get("OMP_NUM_THREADS", "").isdecimal():
            torch.set_num_threads(self._threads or 1)
        self._models.get(self._models.default)
        self._loaded_at = time.monotonic()


class Loops:
    """The compiled inner loops, which are loaded when the first sound is on its way: that saves a second before it.

    Where nobody compiled them yet, another process does, and they are loaded when it has ended.
    """

    def __init__(self) -> None:
        self.are_awaited = True
        self._begun: float | None = None
        self._looked = 0.0
        self._are_ready = False

    def are_ready(self) -> bool:
        """Whether they can be used from now on, for the first time; begins what has to be done for it."""
        now = time.monotonic()
        if not self.are_awaited or now - self._looked < LOOK_SECONDS:
            return self.are_awaited and self._are_ready
        self._looked = now
        from piano.foundation import compiled

        try:
            if compiled.is_ready():
                self._are_ready = True
                return True
            if self._begun is None:
                self._begun = now
                if compiled.is_switched_off():
                    self.are_awaited = False
                elif not compiled.is_compiled():
                    compiled.compile_in_background()
            elif now - self._begun > COMPILING_SECONDS:
                self.are_awaited = False
            if self.are_awaited and compiled.is_compiled():
                compiled.prepare()
        except Exception as error:
            # Whatever numba or its cache may say: PyTorch's loops play on.
            logger.info("the compiled loops cannot be used, PyTorch's are: %s", error)
            self.are_awaited = False
        return False
