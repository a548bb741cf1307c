#!/usr/bin/env bash
# Trains in many processes on one machine or several, started by torchrun; arguments are those of `musigan train`.
#   bash runs/torchrun.sh --checkpoints mine                         one machine, a process for every GPU
#   NODES=2 NODE=0 MAIN=10.0.0.1 bash runs/torchrun.sh ...           the first of two; NODE=1 on the second, all else alike
#   PROCESSES=4 bash runs/torchrun.sh --set runtime.device=cpu       four processes without a GPU
# Data set and checkpoint folder must be the same for all machines (a shared file system).
set -euo pipefail
nodes=${NODES:-1} node=${NODE:-0} main=${MAIN:-127.0.0.1} port=${PORT:-29500}
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
processes=${PROCESSES:-$((gpus > 0 ? gpus : 1))}

exec torchrun --nnodes "$nodes" --node-rank "$node" --nproc-per-node "$processes" --master-addr "$main" --master-port "$port" \
  -m piano.piano_main --devices "$processes" --set runtime.nodes="$nodes" "$@"
