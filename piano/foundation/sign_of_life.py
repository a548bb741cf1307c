"""Lets slow code that knows nothing of processes say that it goes on, to whoever waits for it."""

import contextlib
from collections.abc import Callable, Iterator

_listeners: list[Callable[[], None]] = []


def sign_of_life() -> None:
    """Say that work goes on; costs nothing where nobody listens. To be called at least every few megabytes read."""
    for listener in _listeners:
        listener()


@contextlib.contextmanager
def signs_heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Have `listener` called at every sign of life while the body runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
