#!/usr/bin/env bash
# Makes the base for music of any kind again: scores on instruments of twelve families, bands by rule, pianos; data set, training, files to give away.
#   bash runs/mixed.sh FOLDER FluidR3_GM.sf2        the soundfont of Debian's package fluid-soundfont-gm; goes on where it was stopped
set -euo pipefail
folder=${1:?"where to work: bash runs/mixed.sh FOLDER SOUNDFONT"} soundfont=${2:?"a General MIDI soundfont: bash runs/mixed.sh FOLDER SOUNDFONT"}
folder=$(realpath -m "$folder") soundfont=$(realpath "$soundfont")
cd "$(dirname "$0")/.."
minutes=${MINUTES:-60} pieces=${PIECES:-150}
families=chromatic-percussion,organ,guitar,strings,ensemble,brass,reed,pipe,synth-lead,synth-pad,ethnic,percussive

musigan render-scores --scores runs/scores/train --soundfont "$soundfont" --program "$families" --max-seconds 35 --seed 5 --format flac --output "$folder/music/families"
musigan arrange-band --soundfont "$soundfont" --count "$pieces" --seconds 100 --seed 1 --format flac --output "$folder/music/band"
musigan render-scores --scores runs/scores/train --max-seconds 90 --format flac --output "$folder/all_pianos"
mkdir -p "$folder/music/piano"
ls "$folder"/all_pianos/*.flac | awk 'NR % 5 == 0' | while read -r file; do cp -n "$file" "$folder/music/piano/"; done
musigan prepare "$folder/music" --output "$folder/prepared" --sample-rate 16000 --channels 1
[ -f "$folder/dataset/manifest.json" ] || musigan dataset --input "$folder/prepared" --output "$folder/dataset" --segment-seconds 10

if ls "$folder"/model/generator_epoch_*.pt >/dev/null 2>&1; then again=--resume; else again=; fi
musigan train --config runs/mixed.yaml --dataset "$folder/dataset" --checkpoints "$folder/model" --minutes "$minutes" $again || [ $? -eq 1 ]
musigan export --checkpoints "$folder/model" --half --output "$folder/given"
