"""A training process keeps the memory it frees."""

import json
import os
import platform
import subprocess
import sys

import pytest

from piano.foundation import freed_memory

PROGRAM = """
import json, resource, sys
import torch
from piano.foundation.freed_memory import keep_freed_memory

torch.set_num_threads(1)
is_kept = keep_freed_memory() if sys.argv[1] == "keep" else None

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        sounds = [torch.ones(size, 1024, 256) for size in (1, 8, 40)]
        del sounds
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(10)
print(json.dumps([is_kept, faults(10)]))
"""
NEEDS_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt")


def is_kept_and_faults(choice: str) -> tuple[bool | None, int]:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, choice], env=clean_environment(), capture_output=True, check=True
    )
    kept, faults = json.loads(found.stdout)
    return kept, faults


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in freed_memory.OWN_SETTINGS}


@NEEDS_GLIBC
def test_pages_are_touched_once():
    """The largest tensor alone has some 100,000 pages in ten rounds; where they are kept hardly one is new."""
    kept, faults = is_kept_and_faults("keep")
    _, faults_without = is_kept_and_faults("leave")
    assert kept is True
    assert faults < 0.05 * faults_without


@NEEDS_GLIBC
@pytest.mark.parametrize("name", freed_memory.OWN_SETTINGS)
def test_who_sets_the_allocator_keeps_their_settings(name, monkeypatch):
    for other in freed_memory.OWN_SETTINGS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "glibc.malloc.arena_max=8" if name == "GLIBC_TUNABLES" else "131072")
    assert freed_memory.keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert freed_memory.keep_freed_memory() is False
