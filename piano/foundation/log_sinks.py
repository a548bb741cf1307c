"""Other places that a run's log goes to: TensorBoard, Weights & Biases. They watch; none of them can stop a run.

A sink is an object with four methods (`Sink`). Its library is imported when the first numbers come. Whatever goes wrong
with it is said in one sentence, and the run goes on without it: metrics.jsonl holds everything anyway.
"""

import importlib
import logging
import netrc
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piano.foundation.made_files import write_bytes
from piano.foundation.screen_text import printable

logger = logging.getLogger(__name__)

NOT_SCALARS = {"stage", "event", "epoch", "step", "total_step", "audio_seconds"}
WANDB_ID_NAME = "wandb_run_id.txt"


class Sink(Protocol):
    """What watches a run."""

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Numbers of one step, by name."""

    def sound(self, name: str, waveform: NDArray, sample_rate: int, *, step: int) -> None:
        """A waveform [shape=(channels, samples)]."""

    def picture(self, name: str, pixels: NDArray, *, step: int) -> None:
        """Pixels, uint8 [shape=(height, width, 3)]."""

    def close(self) -> None:
        """Write what is left."""


class TensorBoard:
    """`tensorboard --logdir FOLDER/tensorboard`. Steps after the one a run is resumed from are struck out there.

    Parameters
    ----------
    folder : Path
        Of the run.
    first_step : int
        The step at which this sitting begins.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step, flush_secs=30)

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """See `Sink`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def sound(self, name: str, waveform: NDArray, sample_rate: int, *, step: int) -> None:
        """See `Sink`; TensorBoard plays one channel, so stereo is mixed."""
        mono = np.clip(waveform.mean(axis=0, keepdims=True), -1.0, 1.0)
        self.writer.add_audio(name, mono, step, sample_rate=sample_rate)

    def picture(self, name: str, pixels: NDArray, *, step: int) -> None:
        """See `Sink`."""
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """See `Sink`."""
        self.writer.close()


class WeightsAndBiases:
    """A run at wandb.ai, or, without a key for it, a folder that `wandb sync` can send there later.

    Parameters
    ----------
    folder : Path
        Of the run; keeps its name at wandb, so that a resumed run goes on there.
    first_step : int
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        wandb = importlib.import_module("wandb")  # an optional library: its types need not be there
        name = folder / WANDB_ID_NAME
        if not name.is_file():
            write_bytes(name, uuid.uuid4().hex[:12].encode("ascii"))
        mode = os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
        self.wandb = wandb
        self.run = wandb.init(
            project="musigan",
            name=folder.name,
            id=name.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            mode=mode,
            settings=wandb.Settings(init_timeout=20, silent=True),
        )

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """See `Sink`."""
        self.run.log(dict(values), step=step)

    def sound(self, name: str, waveform: NDArray, sample_rate: int, *, step: int) -> None:
        """See `Sink`."""
        self.run.log({name: self.wandb.Audio(waveform.T, sample_rate=sample_rate)}, step=step)

    def picture(self, name: str, pixels: NDArray, *, step: int) -> None:
        """See `Sink`."""
        self.run.log({name: self.wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        """See `Sink`."""
        self.run.finish()


def has_wandb_key() -> bool:
    """Whether this machine knows an account at wandb.ai; wandb itself would ask for one on the screen."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


SINKS: dict[str, Callable[[Path, int], Sink]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


class Watchers:
    """All sinks of a run, opened at the first numbers; one that fails is named and left out from then on.

    Parameters
    ----------
    folder : Path
        Of the run.
    names : sequence of str
        Keys of SINKS.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = Path(folder)
        self._waiting = list(names)
        self._sinks: dict[str, Sink] = {}

    def entries(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Lines of metrics.jsonl."""
        for entry in entries:
            step = int(entry.get("total_step", 0))
            self._open(step)
            values = scalars_of(entry)
            self._tell(lambda sink, values=values, step=step: sink.scalars(values, step=step))

    def show(self, step: int, sounds: Mapping[str, NDArray], pictures: Mapping[str, Path], *, sample_rate: int) -> None:
        """Waveforms [shape=(channels, samples)] and PNG files, by name."""
        self._open(step)
        if not self._sinks:
            return
        for name, waveform in sounds.items():
            self._tell(lambda sink, n=name, w=waveform: sink.sound(f"audio/{n}", w, sample_rate, step=step))
        for name, path in pictures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            self._tell(lambda sink, n=name, p=pixels: sink.picture(f"pictures/{n}", p, step=step))

    def close(self) -> None:
        """Write what is left; numbers that come later open the sinks again."""
        self._tell(lambda sink: sink.close())
        self._waiting, self._sinks = [*self._sinks, *self._waiting], {}

    def _open(self, step: int) -> None:
        names, self._waiting = self._waiting, []
        for name in names:
            try:
                self._sinks[name] = SINKS[name](self.folder, step)
            except ImportError:
                logger.warning(
                    "training.loggers: %s is not installed, so the run is not shown there. "
                    "`pip install %s`, or take it out of config.yaml.",
                    name,
                    name,
                )
            except Exception as error:  # a library of others, often with a network behind it: it must not end a run
                self._say(name, error)

    def _tell(self, action: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                with redirect_stdout(StringIO()):
                    action(sink)
            except Exception as error:  # as above
                del self._sinks[name]
                self._say(name, error)

    def _say(self, name: str, error: Exception) -> None:
        reason = printable(" ".join(str(error).split())[:160])
        logger.warning(
            "training.loggers: %s failed (%s: %s); the run goes on without it.", name, type(error).__name__, reason
        )


def scalars_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl, named so that they group by stage, by event, or by what precedes "/"."""
    group = entry.get("event") or entry.get("stage") or "run"
    values = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            values |= {f"{name}/{key}": float(number) for key, number in value.items() if is_number(number)}
        elif is_number(value) and name not in NOT_SCALARS and not ("event" in entry and name == "seconds"):
            values[name if "/" in name else f"{group}/{name}"] = float(value)
    return values


def is_number(value: Any) -> bool:
    """Whether a value is one that can be drawn; a passed gate is 1."""
    return isinstance(value, int | float)
