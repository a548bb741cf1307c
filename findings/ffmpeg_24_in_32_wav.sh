#!/usr/bin/env bash
# The ffmpeg program takes a valid WAV of 24-bit samples in 32-bit containers for floats.
# Guess: ffmpeg reads every valid WAV that libsndfile reads.
# Versions: imageio-ffmpeg 0.8.1 (its ffmpeg prints its own version below), soundfile 0.14.0
# Seen: soundfile is exact to 24 bits; ffmpeg, status 0, gives values up to 1e30 and beyond, and NaN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 imageio-ffmpeg==0.8.1
env/bin/python - <<'PY'
import struct
import subprocess

import imageio_ffmpeg
import numpy as np
import soundfile

RATE = 48_000
sound = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
data = ((sound * 2**23).astype("<i4") << 8).tobytes()
pcm = bytes.fromhex("0100000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_PCM
layout = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 4 * RATE, 4, 32, 22, 24, 4) + pcm  # 32 bits each, 24 of them valid
chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(data)) + data
open("sound.wav", "wb").write(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
program = imageio_ffmpeg.get_ffmpeg_exe()
print(subprocess.run([program, "-version"], capture_output=True, text=True).stdout.split("\n")[0])
error = float(np.abs(soundfile.read("sound.wav")[0] - sound).max())
done = subprocess.run([program, "-v", "error", "-i", "sound.wav", "-f", "f32le", "-"], capture_output=True, check=True)
read = np.frombuffer(done.stdout, "<f4")
print(f"soundfile: off by {error:.1e}; ffmpeg: up to {np.nanmax(np.abs(read)):.1e}, {int(np.isnan(read).sum())} of {len(read)} NaN")
assert error < 1e-6 and np.nanmax(np.abs(read)) > 1e6 and np.isnan(read).any()
PY
