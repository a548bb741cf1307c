#!/usr/bin/env bash
# On a CPU, PyTorch gives the memory of a large tensor back to the system and asks for it again in every round of a loop.
# Guess: torch keeps freed memory for the next tensor of that size on a CPU as it does on a GPU, so that a loop touches new
# pages in its first round only.
# Versions: torch 2.11.0, on Linux with glibc 2.36
# Seen: of three tensors of 1, 8 and 40 MB each round faults in every page of the largest again: 102,410 faults in ten
# rounds, of which it has 102,400 pages. With glibc told to keep what is freed (mallopt: thresholds for mmap and for
# trimming), no page is faulted in after ten rounds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check --no-compile numpy==2.4.6 torch==2.11.0
cat > faults.py <<'PY'
import ctypes
import resource
import sys

import torch

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in ((-3, 2**30), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        assert mallopt(parameter, value)


def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        tensors = [torch.ones(megabytes, 1024, 256) for megabytes in (1, 8, 40)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults(10)
print(faults(10))
PY
pages=$((10 * 40 * 1024 * 1024 / $(getconf PAGESIZE)))
usual=$(env/bin/python faults.py leave)
kept=$(env/bin/python faults.py keep)
echo "the largest has $pages pages in ten rounds; faulted in: $usual as torch is, $kept with glibc told to keep them"
test "$usual" -ge "$pages"
test "$kept" -lt $((pages / 20))
