"""The file that keeps judgements: logits by judge and clips, a line each, written at once and read again."""

import contextlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piano.foundation.errors import CheckpointError
from piano.judging.tournament_scores import FAMILIES

JUDGING_VERSION = 1
"""Raised when the same files and settings would be judged otherwise: nothing kept before is used then."""
KEPT_NAME = "judged.jsonl"

Logits = NDArray[np.float32]
"""Of one judge on some clips [shape=(families, clips)]."""


class KeptJudgements:
    """Logits by judge and player, in memory and in a file to which every judgement is added at once.

    Parameters
    ----------
    path : Path
        Lines of JSON. A line that cannot be read (the last one of a run that was broken off) is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logits: dict[tuple[str, str], Logits] = {}
        self.facts: dict[str, tuple[str, int]] = {}
        before = path.read_bytes() if path.is_file() else b""
        for line in before.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line))
        if before and not before.endswith(b"\n"):
            self._append(b"\n")

    def _take(self, row: dict) -> None:
        if row["version"] != JUDGING_VERSION:
            return
        if "generator" in row:
            self.facts[str(row["generator"])] = (str(row["code"]), int(row["steps"]))
            return
        logits = np.array(row["logits"], dtype=np.float32)
        if logits.ndim == 2 and len(logits) == len(FAMILIES):
            self.logits[str(row["judge"]), str(row["player"])] = logits

    def add(self, judge: str, player: str, logits: Logits) -> None:
        """Remember one judgement [shape=(families, clips)]."""
        self._write({"judge": judge, "player": player, "logits": logits.tolist()})

    def add_facts(self, generator: str, code: str, steps: int) -> None:
        """Remember a generator's code and sampling steps."""
        if generator not in self.facts:
            self._write({"generator": generator, "code": code, "steps": steps})

    def _write(self, row: dict) -> None:
        row = {"version": JUDGING_VERSION, **row}
        self._take(row)
        self._append((json.dumps(row) + "\n").encode("ascii"))

    def _append(self, line: bytes) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise CheckpointError(f"cannot write {self.path}: {error.strerror}. Choose another --output.") from None
