"""What a process frees it keeps for its next tensors, so that the system need not hand out and clear pages again.

The C library gives memory of large tensors back at once and asks for it again a moment later; the system then clears
every page when it is first touched. A training step allocates the same tensors every time, and on a CPU a fifth to a
third of it was that (docs/experiments.md).
"""

import contextlib
import ctypes
import os
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
LARGEST_KEPT, MOST_KEPT, LEAST_GROWTH = 2**30, 2**31 - 1, 2**26
"""Bytes: of a tensor whose memory is kept, of free memory that is kept at the heap's end, and by which it grows."""
OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")
"""Environment variables of those who set the allocator themselves: theirs hold."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, from now on; returns whether it does. Without glibc nothing changes."""
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in OWN_SETTINGS):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        wanted = {MMAP_THRESHOLD: LARGEST_KEPT, TRIM_THRESHOLD: MOST_KEPT, TOP_PAD: LEAST_GROWTH}
        return all([mallopt(name, value) for name, value in wanted.items()])
    return False
