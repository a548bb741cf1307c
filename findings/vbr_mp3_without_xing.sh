#!/usr/bin/env bash
# A VBR MP3 without a Xing header ends early in libraries that believe the length they computed.
# Guess: decoding goes on to the last frame, whatever length was estimated.
# Versions: soundfile 0.14.0, pedalboard 0.9.26, miniaudio 1.71, imageio-ffmpeg 0.8.1 (as encoder)
# Seen: 20 s of music: soundfile and pedalboard give about 9 s, miniaudio 20.04 s.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 pedalboard==0.9.26 miniaudio==1.71 imageio-ffmpeg==0.8.1
env/bin/python - <<'PY'
import subprocess

import imageio_ffmpeg
import miniaudio
import numpy as np
import soundfile
from pedalboard.io import AudioFile

time = np.arange(20 * 48_000) / 48_000
tone, noise = 0.2 * np.sin(2 * np.pi * 220 * time), np.random.default_rng(1).uniform(-0.5, 0.5, len(time))
soundfile.write("sound.wav", np.where(time < 10, tone, noise), 48_000)  # a quiet beginning: small frames first
command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "sound.wav", "-q:a", "0", "-write_xing", "0", "sound.mp3"]
subprocess.run(command, check=True)
read, rate = soundfile.read("sound.mp3")
whole = miniaudio.mp3_read_file_f32("sound.mp3")
with AudioFile("sound.mp3") as file:
    other = file.read(file.frames).shape[1] / file.samplerate
seconds = {"soundfile": len(read) / rate, "pedalboard": other, "miniaudio": whole.num_frames / whole.sample_rate}
print("seconds of 20:", {name: round(value, 2) for name, value in seconds.items()})
assert seconds["soundfile"] < 12 and seconds["pedalboard"] < 12 and seconds["miniaudio"] > 19.9
PY
