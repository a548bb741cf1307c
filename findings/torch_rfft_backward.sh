#!/usr/bin/env bash
# The gradient of torch.fft.rfft is not computed by irfft.
# Guess: the way back through a transform from real numbers to half a spectrum is the transform from half a spectrum to
# real numbers, as fast and as small.
# Versions: torch 2.11.0, on a CPU
# Seen: the only transform on the way back is aten::_fft_c2c, complex to complex over all frequencies. The same gradient
# comes from irfft, every bin but the first and the last halved, times the number of samples: equal to rounding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check --no-compile numpy==2.4.6 torch==2.11.0
env/bin/python - <<'PY'
import torch
from torch.profiler import ProfilerActivity, profile

frames = torch.randn(8, 128, 2048, generator=torch.Generator().manual_seed(0), requires_grad=True)
spectrum = torch.fft.rfft(frames)
weights = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(1), dtype=spectrum.dtype)
with profile(activities=[ProfilerActivity.CPU]) as seen:
    (gradient,) = torch.autograd.grad(spectrum, frames, weights)
transforms = {event.key for event in seen.key_averages() if "_fft_" in event.key}
print("transforms on the way back:", ", ".join(sorted(transforms)))
halved = weights.clone()
halved[..., 1:-1] *= 0.5
by_irfft = torch.fft.irfft(halved, n=2048) * 2048
difference = float((gradient - by_irfft).abs().max() / gradient.abs().max())
print(f"the same from irfft: relative difference {difference:.1e}")
assert transforms == {"aten::_fft_c2c"}
assert difference < 1e-5
PY
