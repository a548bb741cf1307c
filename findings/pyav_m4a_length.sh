#!/usr/bin/env bash
# PyAV gives up to 1,023 samples more of an M4A than are in it.
# Guess: the frames that PyAV decodes of an M4A are as long as the track says, as they are through the ffmpeg program.
# Versions: av 18.1.0, imageio-ffmpeg 0.8.1 (its ffmpeg prints its own version below), soundfile 0.14.0
# Seen: 44,100 samples: the stream's duration says 44,100, the ffmpeg program gives 44,100, PyAV 45,056. The last frame holds
# 1024 samples, and its duration says that only 68 of them count.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 imageio-ffmpeg==0.8.1 av==18.1.0
env/bin/python - <<'PY'
import subprocess

import av
import imageio_ffmpeg
import numpy as np
import soundfile

RATE = 44_100
program = imageio_ffmpeg.get_ffmpeg_exe()
print(subprocess.run([program, "-version"], capture_output=True, text=True).stdout.split("\n")[0])
soundfile.write("sound.wav", 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE), RATE)
subprocess.run([program, "-v", "error", "-i", "sound.wav", "sound.m4a"], check=True)
read = subprocess.run([program, "-v", "error", "-i", "sound.m4a", "-f", "f32le", "-"], capture_output=True, check=True)
by_program = len(read.stdout) // 4
with av.open("sound.m4a") as file:
    claimed = file.streams.audio[0].duration
    frames = list(file.decode(audio=0))
by_pyav, counting = sum(frame.samples for frame in frames), sum(frame.duration for frame in frames)
print(f"duration {claimed}; ffmpeg {by_program}; PyAV {by_pyav}; the last frame: {frames[-1].samples} samples, duration {frames[-1].duration}")
assert by_program == RATE and by_pyav > RATE and counting == RATE
PY
