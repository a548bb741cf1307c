#!/usr/bin/env bash
# torchaudio's loudness clamps inside its filters, so loud music is measured too low.
# Guess: LUFS of a signal rise by 6.02 when it is doubled (ITU-R BS.1770 is linear up to its gate).
# Versions: torchaudio 2.11.0 with torch 2.11.0
# Seen: white noise from half to full scale: up by less than 5.5 dB; from an eighth to a quarter: by 6.02.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.11.0 torchaudio==2.11.0
env/bin/python - <<'PY'
import torch
from torchaudio.functional import loudness

noise = 2 * torch.rand(1, 10 * 48_000, generator=torch.Generator().manual_seed(0)) - 1
lufs = {scale: float(loudness(noise * scale, 48_000)) for scale in (0.125, 0.25, 0.5, 1.0)}
steps = {"1/8 to 1/4": lufs[0.25] - lufs[0.125], "1/2 to 1": lufs[1.0] - lufs[0.5]}
print({name: round(value, 2) for name, value in steps.items()})
assert abs(steps["1/8 to 1/4"] - 6.02) < 0.02 and steps["1/2 to 1"] < 5.5
PY
