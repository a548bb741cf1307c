"""What a run shows while it works: one bar for all of it, in words, within 80 columns; every number with --verbose."""

from collections.abc import Mapping
from typing import Literal

from tqdm import tqdm

from piano.stages import STAGE
from piano.training.time_budget import clock

Loudness = Literal["quiet", "normal", "verbose"]
HIDDEN_NUMBERS = ("seconds", "audio_seconds")
WIDTH, PARTS = 79, 1000
SHORT = "{desc:<21}{percentage:3.0f}% |{bar}| "


class RunScreen:
    """One bar from the first step of a sitting to its last.

    Parameters
    ----------
    loudness : str
        `quiet`: no bar; `verbose`: with the numbers of every step.
    is_main : bool
        False: shows nothing.
    """

    def __init__(self, loudness: Loudness = "normal", *, is_main: bool = True) -> None:
        self.loudness = loudness
        self.is_main = is_main
        self._bar: tqdm | None = None
        self._stage = ""
        self._left = ""
        self._numbers = ""

    def __del__(self) -> None:
        """Leave no half-drawn bar behind."""
        self.close()

    def show(self, stage: str, done: float, *, seconds_left: float | None = None) -> None:
        """Where the whole run is: `done` of it, 0 to 1, in this stage."""
        bar = self._open(stage, done)
        if bar is None:
            return
        if self._stage != stage:
            self._stage, self._numbers = stage, ""
        bar.set_description_str(STAGE[stage].doing, refresh=False)
        self._left = "{remaining} left" if seconds_left is None else f"{clock(max(seconds_left, 0.0))} left"
        bar.bar_format = self._format()
        # Whole parts: a sum of fractions may pass the end by a rounding error, of which tqdm would complain.
        bar.update(max(0, min(PARTS, round(PARTS * done)) - int(bar.n)))

    def numbers(self, stage: str, line: Mapping[str, object], *, rate: float) -> None:
        """The numbers of a step: the one that matters, or all with `verbose`; `rate` in seconds of audio a second."""
        if self._bar is None:
            return
        if self.loudness == "verbose":
            shown = [
                f"{name} {value:.3g}"
                for name, value in line.items()
                if isinstance(value, float) and name not in HIDDEN_NUMBERS and "/" not in name
            ]
            self._numbers = f", {stage}: {', '.join(shown[:5])}, {rate:.0f} audio-s/s"
        else:
            name, words = STAGE[stage].shown
            value = line.get(name)
            if isinstance(value, float):
                self._numbers = f", {words} {value:.2g}"
        self._bar.bar_format = self._format()

    def doing(self, words: str) -> None:
        """Something else than steps takes a while: no number of a step stands beside it."""
        if self._bar is not None:
            self._bar.bar_format = SHORT + self._left
            self._bar.set_description_str(words)

    def close(self) -> None:
        """The sitting is over."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _format(self) -> str:
        return SHORT + self._left + self._numbers.replace("{", "").replace("}", "")

    def _open(self, stage: str, done: float) -> tqdm | None:
        if self._bar is None and self.is_main and self.loudness != "quiet":
            self._bar = tqdm(
                total=PARTS,
                desc=STAGE[stage].doing,
                bar_format=SHORT,
                leave=False,
                mininterval=0.5,
                initial=min(PARTS, round(PARTS * done)),
                dynamic_ncols=self.loudness == "verbose",
                ncols=None if self.loudness == "verbose" else self._width(),
            )
        return self._bar

    @staticmethod
    def _width() -> int:
        from shutil import get_terminal_size

        return max(30, min(WIDTH, get_terminal_size((WIDTH + 1, 24)).columns - 1))
