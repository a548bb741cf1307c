#!/usr/bin/env bash
# What torch.linalg solves, inverts or factors cannot be saved as it is: safetensors refuses it, torch.save does not.
# Guess: a readout fitted by torch.linalg.solve is a tensor like any other, and a file format for weights takes it.
# Versions: torch 2.11.0, safetensors 0.8.0, numpy 2.4.6
# Seen: for several right-hand sides the solution lies column by column (strides 1, rows), and so do lstsq, inv and the
# eigenvectors of eigh; for one right-hand side it is contiguous. `.float()` and `.to("cpu")` keep the order. torch.save
# and torch.load keep it too; safetensors.torch.save raises a ValueError about tensors that are not contiguous.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check --no-compile numpy==2.4.6 torch==2.11.0 safetensors==0.8.0
cat > solve.py <<'PY'
import io

import safetensors.torch
import torch

torch.manual_seed(0)
matrix = torch.eye(4) + 0.1 * torch.rand(4, 4)
several, one = torch.rand(4, 3), torch.rand(4)
solved = torch.linalg.solve(matrix, several)
others = {
    "lstsq": torch.linalg.lstsq(matrix, several).solution,
    "inv": torch.linalg.inv(matrix),
    "eigh": torch.linalg.eigh(matrix + matrix.T).eigenvectors,
}
print("solve, three right-hand sides:", solved.stride(), "one:", torch.linalg.solve(matrix, one).stride())
print({name: value.stride() for name, value in others.items()})
by_column = [value.stride() == (1, 4) for value in (solved, solved.float().to("cpu"), *others.values())]
file = io.BytesIO()
torch.save(solved, file)
file.seek(0)
print("after torch.save and torch.load:", torch.load(file).stride())
try:
    safetensors.torch.save({"readout": solved})
    refused = ""
except ValueError as error:
    refused = str(error).split(":")[0]
print("safetensors:", refused or "saved")
safetensors.torch.save({"readout": solved.contiguous()})
raise SystemExit(0 if all(by_column) and "non contiguous" in refused else 1)
PY
env/bin/python solve.py
