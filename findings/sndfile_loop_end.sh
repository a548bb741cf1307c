#!/usr/bin/env bash
# Where a loop ends: the sampler chunk of a WAV names its last sample, libsndfile tells the one behind it.
# Guess: two libraries that read the same `smpl` chunk give the same two numbers for a loop.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), wavinfo 4.0.1
# Seen: of a chunk that says 0 to 15,999 wavinfo gives 15,999, as it stands in the file, and libsndfile 16,000.
# Whoever copies the numbers of one into the other's makes a loop that is one sample too long or too short.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
    numpy==2.4.6 soundfile==0.14.0 wavinfo==4.0.1 lxml==6.1.3
cat > loop.py <<'PY'
import struct

import soundfile
from wavinfo import WavInfoReader

SAMPLES, LAST = 16_000, 15_999
sound = struct.pack(f"<{SAMPLES}h", *((number % 100) * 100 for number in range(SAMPLES)))
loop = struct.pack("<9I", 0, 0, 62_500, 60, 0, 0, 0, 1, 0) + struct.pack("<6I", 0, 0, 0, LAST, 0, 0)
chunks = [
    (b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)),
    (b"data", sound),
    (b"smpl", loop),
]
body = b"WAVE" + b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
with open("loop.wav", "wb") as stream:
    stream.write(b"RIFF" + struct.pack("<I", len(body)) + body)

(read,) = WavInfoReader("loop.wav").smpl.sample_loops
instrument = bytearray(16 + 16 * 16)  # SF_INSTRUMENT: gain, six bytes of keys, the number of loops, and the loops
with soundfile.SoundFile("loop.wav") as file:
    get_instrument = 0x10D0
    buffer = soundfile._ffi.from_buffer(instrument)
    assert soundfile._snd.sf_command(file._file, get_instrument, buffer, len(instrument)) == 1
count, mode, start, end, _ = struct.unpack_from("<iiIII", instrument, 12)
print(f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}")
print(f"wavinfo: {read.start} to {read.end}; libsndfile: {start} to {end}, loops {count}")
raise SystemExit(0 if (read.end, end) == (LAST, LAST + 1) else 1)
PY
env/bin/python loop.py
