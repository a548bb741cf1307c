#!/usr/bin/env bash
# Of a 64-bit seed, a CPU generator of torch uses the low 32 bits.
# Guess: torch.Generator().manual_seed takes 64 bits, so seeds that differ anywhere give different streams.
# Versions: torch 2.11.0
# Seen: seeds 7, 7 + 2**32 and 7 + 5 * 2**40 give the same numbers; 8 gives others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.11.0
env/bin/python - <<'PY'
import torch

streams = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (7, 7 + 2**32, 7 + 5 * 2**40, 8)]
same = [torch.equal(streams[0], stream) for stream in streams]
print("equal to seed 7:", same)
assert same == [True, True, True, False]
PY
