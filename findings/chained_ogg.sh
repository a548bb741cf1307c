#!/usr/bin/env bash
# soundfile reads the first link of a chained Ogg file and says nothing of the others.
# Guess: a valid file of two streams in a row (a recorded radio stream) is read whole, or refused.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), imageio-ffmpeg 0.8.1
# Seen: 2 s + 2 s: soundfile 2.0 s, for Vorbis and for Opus; the ffmpeg program 4.0 s.
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

time = np.arange(96_000) / 48_000
seen = {}
for kind in ("VORBIS", "OPUS"):
    links = []
    for hertz in (220, 440):
        soundfile.write("link.ogg", 0.3 * np.sin(2 * np.pi * hertz * time), 48_000, format="OGG", subtype=kind)
        links.append(open("link.ogg", "rb").read())
    open("chained.ogg", "wb").write(b"".join(links))
    read, rate = soundfile.read("chained.ogg")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", "chained.ogg", "whole.wav"]
    subprocess.run(command, check=True)
    seen[kind] = (round(len(read) / rate, 2), round(soundfile.info("whole.wav").duration, 2))
print("seconds by soundfile and by ffmpeg:", seen)
assert all(first == 2.0 and 3.95 < whole < 4.05 for first, whole in seen.values())
PY
