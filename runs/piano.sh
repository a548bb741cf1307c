#!/usr/bin/env bash
# Makes the stereo piano model again: scores, rendered sound, data set, training, files to give away.
#   bash runs/piano.sh FOLDER        hours of one core; goes on where it was stopped
set -euo pipefail
folder=${1:?"where to work: bash runs/piano.sh FOLDER"}
folder=$(realpath -m "$folder")
cd "$(dirname "$0")/.."
minutes_codec=${MINUTES_CODEC:-75} minutes_flow=${MINUTES_FLOW:-108}

musigan render-scores --scores runs/scores/train --max-seconds 90 --format flac --output "$folder/music"
musigan prepare "$folder/music" --output "$folder/prepared" --sample-rate 44100 --channels 2
[ -f "$folder/dataset/manifest.json" ] || musigan dataset --input "$folder/prepared" --output "$folder/dataset" --segment-seconds 10

train() { # train RUN MINUTES ARGUMENTS: begins, or goes on
  local run=$1 minutes=$2
  shift 2
  if ls "$run"/generator_epoch_*.pt >/dev/null 2>&1; then set -- --resume; fi
  musigan train --config runs/piano.yaml --dataset "$folder/dataset" --checkpoints "$run" --minutes "$minutes" "$@" || [ $? -eq 1 ]
}
[ -d "$folder/model" ] || train "$folder/codec" "$minutes_codec" --set stages.autoencoder.share=1.0 --set stages.flow.share=0 --set stages.judges.share=0 \
  --set stages.ear.share=0 --set stages.professor.share=0 --set stages.joint.share=0
train "$folder/model" "$minutes_flow" --from "$folder/codec" --set finetune.rate=1.0 \
  --set 'finetune.shares={autoencoder: 0.0, flow: 0.68, judges: 0.01, ear: 0.03, professor: 0.24, joint: 0.04}'
musigan export --checkpoints "$folder/model" --half --output "$folder/given"
