#!/usr/bin/env bash
# soundfile (libsndfile) rounds floats down for WAV, AIFF and CAF, and to nearest for FLAC.
# Guess: the same floats written as 16-bit WAV and as 16-bit FLAC are the same samples.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6
# Seen: mean error -0.50 of a step for WAV, AIFF and CAF, 0.00 for FLAC; 0.50 of the samples differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0
env/bin/python - <<'PY'
import numpy as np
import soundfile

sound = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
read = {}
for kind in ("WAV", "AIFF", "CAF", "FLAC"):
    soundfile.write("sound", sound, 48_000, format=kind, subtype="PCM_16")
    read[kind] = soundfile.read("sound", dtype="int16")[0]
error = {kind: float(np.mean(value - 32_768.0 * sound)) for kind, value in read.items()}
differ = float(np.mean(read["WAV"] != read["FLAC"]))
print("mean error in steps:", {kind: round(value, 3) for kind, value in error.items()}, "WAV and FLAC differ in", round(differ, 3))
assert all(abs(error[kind] + 0.5) < 0.01 for kind in ("WAV", "AIFF", "CAF")) and abs(error["FLAC"]) < 0.01
assert 0.45 < differ < 0.55
PY
