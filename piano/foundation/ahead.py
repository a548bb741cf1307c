"""Work that runs ahead: the next item is made in a thread of its own while this one is used."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items in the same order; one is made in advance, and what it raises is raised where it is taken.

    It pays where making an item leaves Python to others, as PyTorch and compiled loops do. Whoever stops early leaves
    at most the item that is being made just then.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = pool.submit(next, items, _END)
        while not isinstance(item := waiting.result(), _End):
            waiting = pool.submit(next, items, _END)
            yield item
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _End:
    """There is no further item."""


_END = _End()
