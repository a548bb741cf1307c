#!/usr/bin/env bash
# soundfile hands out the channels of 5.1 Vorbis and of 5.1 FLAC in different orders.
# Guess: one library, one order of channels.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), imageio-ffmpeg 0.8.1 (as encoder)
# Seen: columns of FLAC: left, right, centre; of Ogg Vorbis: left, centre, right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 imageio-ffmpeg==0.8.1
env/bin/python - <<'PY'
import subprocess

import imageio_ffmpeg
import numpy as np
import soundfile

RATE = 48_000
time = np.arange(2 * RATE) / RATE
named = {220: "left", 440: "right", 880: "centre"}
sound = np.zeros((len(time), 6))
for column, hertz in enumerate(named):
    sound[:, column] = 0.3 * np.sin(2 * np.pi * hertz * time)
soundfile.write("sound.wav", sound, RATE)
order = {}
for name, codec in (("sound.flac", "flac"), ("sound.ogg", "libvorbis")):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-channel_layout", "5.1", "-i", "sound.wav", "-c:a", codec, name]
    subprocess.run(command, check=True)
    read, _ = soundfile.read(name)
    peaks = [round(float(np.argmax(np.abs(np.fft.rfft(read[:, column])))) * RATE / len(read)) for column in range(3)]
    order[name] = [named.get(round(peak / 220) * 220, "?") for peak in peaks]
print(order)
assert order == {"sound.flac": ["left", "right", "centre"], "sound.ogg": ["left", "centre", "right"]}
PY
