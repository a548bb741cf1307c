#!/usr/bin/env bash
# safetensors writes the metadata of its header in an order that changes from call to call.
# Guess: the same tensors and metadata give the same bytes, so that a file can be known by its hash.
# Versions: safetensors 0.8.0, numpy 2.4.6
# Seen: twenty saves in one process: about twenty different files, of equal length and content.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0
env/bin/python - <<'PY'
import hashlib
import json

import numpy as np
from safetensors.numpy import load, save

tensors = {name: np.arange(4.0) for name in "abc"}
metadata = {name: "x" for name in "abcdefgh"}
files = [save(tensors, metadata=metadata) for _ in range(20)]
hashes = {hashlib.sha256(data).hexdigest() for data in files}
headers = [json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]) for data in files]
print(f"{len(hashes)} hashes of {len(files)} saves, {len(set(map(len, files)))} length")
assert len(hashes) > 1 and len(set(map(len, files))) == 1 and all(header == headers[0] for header in headers)
assert all(np.array_equal(load(data)["a"], tensors["a"]) for data in files)
PY
