#!/usr/bin/env bash
# Lightning Fabric replaces the number of threads that was set before launch.
# Guess: torch.set_num_threads(2) before Fabric.launch holds in the processes it makes by forking.
# Versions: lightning-fabric 2.6.6, torch 2.11.0
# Seen: one device: 2 threads; two CPU devices: 1 thread in each.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.11.0 lightning-fabric==2.6.6
env/bin/python - <<'PY'
import torch
from lightning_fabric import Fabric


def count(fabric: Fabric, name: str) -> None:
    open(f"{name}.{fabric.global_rank}", "w").write(str(torch.get_num_threads()))


if __name__ == "__main__":
    torch.set_num_threads(2)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch(count, "one")
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(count, "two")
    seen = {name: open(name).read() for name in ("one.0", "two.0", "two.1")}
    print("threads:", seen)
    assert seen == {"one.0": "2", "two.0": "1", "two.1": "1"}
PY
