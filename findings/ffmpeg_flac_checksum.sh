#!/usr/bin/env bash
# FFmpeg decodes a FLAC frame whose checksum is wrong, and says nothing.
# Guess: every FLAC frame has a checksum, so a decoder reports a flipped bit.
# Versions: imageio-ffmpeg 0.8.1 (its ffmpeg prints its own version below), av 18.1.0, soundfile 0.14.0
# Seen: soundfile stops with an error. ffmpeg -v error: status 0, not a word, the full length, hundreds of wrong samples;
# PyAV the same. With -err_detect crccheck ffmpeg says "CRC error", status 0, and gives the same samples.
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
time = np.arange(6 * RATE) / RATE
sound = np.stack([0.3 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 331)], axis=1)
sound += 0.02 * np.random.default_rng(0).standard_normal(sound.shape)
soundfile.write("sound.flac", sound, RATE)
whole, _ = soundfile.read("sound.flac", dtype="int16")
data = bytearray(open("sound.flac", "rb").read())
data[len(data) // 2] ^= 16  # one bit
open("bad.flac", "wb").write(data)
try:
    soundfile.read("bad.flac")
    refused = ""
except soundfile.LibsndfileError as error:
    refused = str(error)
print("soundfile:", refused)
program = imageio_ffmpeg.get_ffmpeg_exe()
print(subprocess.run([program, "-version"], capture_output=True, text=True).stdout.split("\n")[0])
for options in ((), ("-err_detect", "crccheck")):
    command = [program, "-v", "error", *options, "-i", "bad.flac", "-f", "s16le", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    read = np.frombuffer(done.stdout, "<i2").reshape(-1, 2)
    assert read.shape == whole.shape
    wrong = int((read != whole).any(axis=1).sum())
    print(f"ffmpeg {' '.join(options)}: status 0, {wrong} of {len(read)} samples wrong, it says {done.stderr.decode().strip()!r}")
    assert wrong > 0 and (b"CRC error" in done.stderr if options else not done.stderr)
with av.open("bad.flac") as file:
    read = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in file.decode(audio=0)])
wrong = int((read != whole).any(axis=1).sum())
print(f"PyAV: no error, {wrong} of {len(read)} samples wrong")
assert refused and read.shape == whole.shape and wrong > 0
PY
