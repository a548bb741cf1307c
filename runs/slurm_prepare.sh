#!/usr/bin/env bash
# Prepares a folder of music with many jobs of SLURM: one a part, and one that finishes the folder.
#   bash runs/slurm_prepare.sh MUSIC PREPARED [PARTS]     both folders on a drive that all nodes share; goes on where it was stopped
#   CORES=4 HOURS=12 PARTITION=name bash runs/slurm_prepare.sh ...
# OPTIONS has more words for every `musigan prepare`: OPTIONS="--sample-rate 44100 --channels 2".
# Where there is no SLURM, the parts run here, one after the other.
set -euo pipefail
music=$(realpath "${1:?"bash runs/slurm_prepare.sh MUSIC PREPARED [PARTS]"}")
output=$(realpath -m "${2:?"bash runs/slurm_prepare.sh MUSIC PREPARED [PARTS]"}")
parts=${3:-8} cores=${CORES:-4}
mkdir -p "$output" "$output.jobs"

one=(musigan prepare "$music" --output "$output" --workers "$cores")
read -ra more <<<"${OPTIONS:-}"
one+=("${more[@]}")

if ! command -v sbatch >/dev/null; then
  for part in $(seq "$parts"); do "${one[@]}" --shard "$part/$parts"; done
  exec "${one[@]}"
fi

job=(sbatch --parsable --cpus-per-task "$cores" --mem-per-cpu 2G --time "${HOURS:-12}:00:00" --output "$output.jobs/%x-%j.log")
[ -z "${PARTITION:-}" ] || job+=(--partition "$PARTITION")
array=$("${job[@]}" --requeue --array "1-$parts" --job-name musigan-part --wrap "$(printf '%q ' "${one[@]}")--shard \$SLURM_ARRAY_TASK_ID/$parts")
# afterany: the last run prepares what a job that failed has left.
last=$("${job[@]}" --dependency "afterany:${array%%;*}" --job-name musigan-finish --wrap "$(printf '%q ' "${one[@]}")")
echo "jobs $array (parts) and $last (finishes $output)"
