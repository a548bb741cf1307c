"""metrics.jsonl: one JSON object a line, one line a step, and a line for every event."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from piano.foundation.log_sinks import Watchers
from piano.foundation.made_files import publish, write_bytes

LOG_NAME = "metrics.jsonl"


class RunLog:
    """Appends lines to a folder's metrics.jsonl, and passes them on to whoever else watches.

    Parameters
    ----------
    folder : Path
    is_active : bool
        False: writes nothing (a process that is not the main one).
    loggers : sequence of str
        Keys of `log_sinks.SINKS`.
    """

    def __init__(self, folder: Path, *, is_active: bool = True, loggers: Sequence[str] = ()) -> None:
        self.path = Path(folder) / LOG_NAME
        self.is_active = is_active
        self._watchers = Watchers(folder, loggers)

    def append(self, entries: list[dict[str, Any]]) -> None:
        """Write entries as lines, at once."""
        if not self.is_active or not entries:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries))
        self._watchers.entries(entries)

    def show(self, step: int, sounds: Mapping[str, NDArray], pictures: Mapping[str, Path], *, sample_rate: int) -> None:
        """Let the watchers hear waveforms [shape=(channels, samples)] and see PNG files, by name."""
        if self.is_active:
            self._watchers.show(step, sounds, pictures, sample_rate=sample_rate)

    def close(self) -> None:
        """Let the watchers write what they still hold."""
        self._watchers.close()

    def set_aside(self) -> Path | None:
        """Keep the log of an earlier run that left no checkpoint under another name: a run from nothing begins its own.

        Returns
        -------
        Path or None
            Where the earlier lines are now; None if there were none.
        """
        if not self.is_active or not self.path.is_file() or not self.path.stat().st_size:
            return None
        aside = publish(self.path, self.path.with_name(f"{self.path.stem}-unsaved{self.path.suffix}"))
        self.path.unlink(missing_ok=True)  # where there are no hard links it was moved
        return aside

    def forget_after(self, total_step: int) -> None:
        """Drop what a run did after the step it is resumed from."""
        if not self.is_active or not self.path.is_file():
            return
        kept = [entry for entry in read_history(self.path.parent) if _is_until(entry.get("total_step", 0), total_step)]
        write_bytes(self.path, "".join(json.dumps(entry) + "\n" for entry in kept).encode("utf-8"))


def _is_until(step: Any, last: int) -> bool:
    """Whether a line belongs to what a run continues from; a line without a step number is not ours."""
    return isinstance(step, int) and step <= last


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Every whole line of a folder's metrics.jsonl; a line cut off by a crash is left out."""
    path = Path(folder) / LOG_NAME
    if not path.is_file():
        return []
    history = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            history.append(entry)
    return history
