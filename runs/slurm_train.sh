#!/usr/bin/env bash
# Trains on a SLURM cluster: one process for every GPU of every node. From the project folder, with its environment active:
#   sbatch runs/slurm_train.sh RUN --dataset FOLDER                  other arguments are those of `musigan train`
#   sbatch --nodes 8 --time 24:00:00 runs/slurm_train.sh RUN ...     what is said here counts more than what stands below
# RUN and the data set lie on a file system that all nodes share. Five minutes before its time is over the job saves and
# queues itself again; it goes on from there, on as many nodes as it then gets.
#SBATCH --job-name=musigan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
run=${1:?"the folder of checkpoints: sbatch runs/slurm_train.sh RUN --dataset FOLDER"}
shift
if ls "$run"/generator_epoch_*.pt >/dev/null 2>&1; then
  words=() before=""
  for word in "$@"; do # a fine-tuning run knows where it came from, and is begun only once
    case "$before/$word" in */--from | --from/* | */--from=*) ;; *) words+=("$word") ;; esac
    before=$word
  done
  set -- ${words[@]+"${words[@]}"} --resume
fi

status=0
# Since SLURM 22.05 srun no longer takes this from the job by itself.
srun --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} python -m piano.piano_main --checkpoints "$run" --devices "$SLURM_NTASKS_PER_NODE" \
  --set runtime.nodes="$SLURM_NNODES" "$@" || status=$?
if [ "$status" -eq 143 ]; then # saved because the time was nearly over
  scontrol requeue "$SLURM_JOB_ID"
  status=0
fi
exit "$status"
