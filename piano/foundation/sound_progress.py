"""One bar for everything that a command makes: which one of how many, how fast, how long still."""

import sys
import time

from tqdm import tqdm

from piano.foundation.screen_text import for_screen

STARTING = "{desc}: the first seconds of it ..."
"""As long as nothing is made there is neither a share nor a speed to show."""
NEVER = 1e-9
"""Seconds before which tqdm shows nothing: it would draw an empty bar before it knows what of."""


class Progress:
    """One bar for all sounds of a command; use as a context.

    Parameters
    ----------
    noun : str
        What is counted.
    sample_rate : int
    """

    def __init__(self, noun: str, sample_rate: int) -> None:
        self.noun, self.sample_rate = noun, sample_rate
        self._began, self._made, self._expected, self._done = time.monotonic(), 0, 0, 0
        self._number, self._count = 1, 1
        self._bar = tqdm(total=0, leave=False, dynamic_ncols=True, file=sys.stderr, bar_format=STARTING, delay=NEVER)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def expect(self, samples: int) -> None:
        """Add to the number of samples that will be made."""
        self._expected += samples
        self._bar.total = self._expected

    def begin(self, number: int, count: int, *, before: int = 0, total: int | None = None) -> None:
        """Begin the next sound: which one it is, and of how many; with those `before` it, there are `total`."""
        self._number, self._count = number, count
        self._bar.set_description_str(f"{self.noun} {before + number} of {total or count}", refresh=True)

    def update(self, samples: int) -> None:
        """Count samples that were made."""
        self._made += samples
        seconds = max(time.monotonic() - self._began, 1e-3)
        left = (self._bar.total - self._bar.n - samples) * seconds / max(self._made, 1)
        rate = self._made / self.sample_rate / seconds
        told = f"{rate:.{0 if rate >= 10 else 1}f} times real time, {duration(left)} left"
        self._bar.bar_format = f"{{desc}} {{percentage:3.0f}}%|{{bar}}| {told}"
        self._bar.update(min(samples, self._bar.total - self._bar.n))

    def skip(self) -> None:
        """The sound begun last is there already."""
        share = self._expected // self._count if self.noun != "file" else self._expected - int(self._bar.n)
        self._bar.update(min(share, self._bar.total - self._bar.n))


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def say(sentence: str) -> None:
    """A sentence on stderr, above the bar; stdout names the files."""
    tqdm.write(for_screen(sentence, sys.stderr), file=sys.stderr)
