#!/usr/bin/env bash
# FFmpeg gives too few or too many samples of a short Ogg Vorbis file.
# Guess: an Ogg Vorbis file says how many samples it holds, and every decoder gives so many.
# Versions: imageio-ffmpeg 0.8.1 (its ffmpeg prints its own version below), av 18.1.0, soundfile 0.14.0 (libsndfile 1.2.2)
# Seen: where all sound lies on one page (here below half a second) FFmpeg 8.1 and 9.0 give 1024 of 1001, 15,872 of 16,000 samples;
# with two pages or more the length is right. soundfile is right always.
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
seen = {}
for samples in (500, 1001, 7007, 16_000, 29_029, 100_000):
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE) + 0.01 * np.random.default_rng(0).standard_normal(samples)
    soundfile.write("sound.ogg", sound, RATE, format="OGG", subtype="VORBIS")
    pages = open("sound.ogg", "rb").read().count(b"OggS") - 2  # the first two hold headers
    command = [program, "-v", "error", "-i", "sound.ogg", "-f", "f32le", "-"]
    by_program = len(subprocess.run(command, capture_output=True, check=True).stdout) // 4
    with av.open("sound.ogg") as file:
        by_pyav = sum(frame.samples for frame in file.decode(audio=0))
    by_soundfile = len(soundfile.read("sound.ogg")[0])
    print(f"{samples} samples, {pages} pages: soundfile {by_soundfile}, ffmpeg {by_program}, PyAV {by_pyav}")
    assert by_soundfile == samples and by_program == by_pyav
    assert (by_program != samples) == (pages == 1)
    seen[samples] = by_program
assert seen[1001] > 1001 and seen[16_000] < 16_000
PY
