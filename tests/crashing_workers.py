"""The step of one song, with a cluster's worker that dies under it once, or a decoder that crashes."""

import os
import signal
import time
from pathlib import Path

from data_prep.prepare_song import SongTask, SourceRecord, prepare_song
from data_prep.worker_pool import Tick

DEADLY = "deadly"
"""In the name of a song whose decoder crashes."""
MARK = "killed-once"
"""Beside the music, when a worker was killed."""


def kill_the_worker_once(task: SongTask, tick: Tick) -> SourceRecord:
    """Kill the process that this one is the child of, the first time; crash for a deadly song; else prepare it."""
    if DEADLY in task.source:
        os.kill(os.getpid(), signal.SIGSEGV)
    mark = Path(task.output).parent / MARK
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return prepare_song(task, tick)
    Path(mark).write_text(str(os.getpid()), encoding="ascii")
    os.kill(os.getppid(), signal.SIGKILL)
    while True:  # as a decoder that goes on: the next sign of life finds nobody, and ends this process
        tick(0.0)
        time.sleep(0.01)


def crash_if_deadly(task: SongTask, tick: Tick) -> SourceRecord:
    """Crash for a deadly song; else prepare it."""
    if DEADLY in task.source:
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare_song(task, tick)


def crash_once(task: SongTask, tick: Tick) -> SourceRecord:
    """Die in the middle of a song, the first time; else prepare it."""
    try:
        os.close(os.open(Path(task.output).parent / MARK, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return prepare_song(task, tick)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def tell_process(word: str, task: int, tick: Tick) -> tuple[str, int, int, int, str]:
    """A word, the task, this process and its parent, and the threads it was told to use; 0 crashes."""
    if not task:
        os.kill(os.getpid(), signal.SIGSEGV)
    return word, task, os.getpid(), os.getppid(), os.environ["OMP_NUM_THREADS"]
