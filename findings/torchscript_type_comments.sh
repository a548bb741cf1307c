#!/usr/bin/env bash
# TorchScript reads comments: `# type: ignore[...]` with a reason behind it is a syntax error to it.
# Guess: what a type checker takes for a comment means nothing to torch.jit.script, with or without a reason.
# Versions: torch 2.11.0
# Seen: the bare comment is passed over; with a reason behind it, a RuntimeError: expected type comment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check torch==2.11.0 numpy==2.4.6
cat > modules.py <<'PY'
import torch
from torch import Tensor, nn


class Bare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.relu_(x)  # type: ignore[operator]
        return x


class Reasoned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.relu_(x)  # type: ignore[operator] - done in place
        return x
PY
env/bin/python -W ignore - <<'PY'
import torch
from modules import Bare, Reasoned

x = torch.tensor([-1.0, 2.0])
assert Bare()(x.clone()).tolist() == Reasoned()(x.clone()).tolist() == [0.0, 2.0]
assert torch.jit.script(Bare())(x.clone()).tolist() == [0.0, 2.0]
try:
    torch.jit.script(Reasoned())
except RuntimeError as error:
    said = str(error).strip().splitlines()[0]
    print(f"torch {torch.__version__}: {said}")
    assert "expected type comment" in said
else:
    raise SystemExit("the comment is passed over now")
PY
