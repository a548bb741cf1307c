"""Limits of every number that comes from a setting, a file or a command line, in one place.

A number beyond them is refused with a sentence before anything is made of it: no file can make a buffer, a loop or a
process by what it claims.
"""

import math
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float
    is_whole: bool = True

    @property
    def limits(self) -> dict[str, Any]:
        """As keywords of a pydantic Field."""
        return {"ge": self.low, "le": self.high} | ({} if self.is_whole else {"allow_inf_nan": False})

    def __contains__(self, value: object) -> bool:
        """Whether a value is such a number; True and False are none."""
        if isinstance(value, bool) or not isinstance(value, int | (int if self.is_whole else float)):
            return False
        return math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        """`a whole number from 1 to 8`."""
        return f"a {'whole ' if self.is_whole else ''}number from {self.low:,.15g} to {self.high:,.15g}"

    def check(self, value: Any, name: str) -> Any:
        """The value, or a ValueError that says what `name` must be."""
        if value not in self:
            raise ValueError(f"{name} must be {self}, got {value!r}"[:400])
        return value


SAMPLE_RATE = Bound(1_000, 384_000)
"""Samples per second."""
CHANNELS = Bound(1, 2)
SECONDS = Bound(0.0, 7 * 86_400.0, is_whole=False)
"""Of one piece of sound."""
WINDOW_FRAMES = Bound(8, 16_384)
"""Latent frames that the attention sees at once."""
SAMPLING_STEPS = Bound(1, 1_000)
PHASE_ITERATIONS = Bound(0, 1_000)
EPOCH = Bound(0, 10**9)
SEED = Bound(-(2**63), 2**63 - 1)
SAMPLES = Bound(0, 2**40)
"""Of one array of sound."""
THREADS = Bound(1, 1_024)
CHUNK_SECONDS = Bound(0.1, 3_600.0, is_whole=False)
"""Of a chunk of a prepared song."""
MIN_SECONDS = Bound(0.0, 3_599.999, is_whole=False)
"""Songs shorter than this are left out."""
FILE_BYTES = Bound(0, 2**63 - 1)
TIME_NS = Bound(-(2**63), 2**63 - 1)
"""When a file was changed."""
SOURCE_RATE = Bound(0, 2**31 - 1)
"""Samples per second that a stranger's file claims for itself."""
SOURCE_CHANNELS = Bound(0, 65_535)
DECIBELS = Bound(-1_000.0, 1_000.0, is_whole=False)
SHARE = Bound(0.0, 1.0, is_whole=False)
WORKERS = Bound(1, 1_024)
"""That may be asked for; see MOST_WORKERS of data_prep/worker_pool.py."""
FILES = Bound(1, 2**40)
SONG_SECONDS = Bound(0.0, 2.0**40, is_whole=False)
"""Of a prepared song: SAMPLES bound it already."""
