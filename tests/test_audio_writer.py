"""Sound is written whole or not at all, rounded alike in every format, and a disk that refuses is named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from piano.foundation import audio_writer
from piano.foundation.audio_io import open_writer, read_audio, write_audio
from piano.foundation.audio_writer import fitting_subtype, source_subtype
from piano.foundation.errors import AudioError
from tests.make_audio import make_music, write_float_wav

RATE = 16_000


def test_wav_and_flac_hold_the_same_numbers_rounded_to_the_nearest(tmp_path: Path):
    waveform = make_music(1, 1.0, RATE, 2)
    for suffix in (".wav", ".flac"):
        write_audio(tmp_path / f"a{suffix}", waveform, RATE)
    wave, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    flac, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    assert np.array_equal(wave, flac)
    error = wave.T - waveform * 32768.0
    assert np.abs(error).max() <= 0.5 and abs(error.mean()) < 0.02


def test_the_writer_tells_what_it_cut_off(tmp_path: Path):
    waveform = np.array([[0.5, -1.0, 1.0, 1.5, -2.5, 0.0]], dtype=np.float32)
    with open_writer(tmp_path / "a.wav", RATE, 1) as writer:
        writer.write(waveform)
        writer.write(0.1 * waveform)
    assert (writer.clipped, writer.peak, writer.samples) == (2, 2.5, 12)
    read, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert read[:6].tolist() == [16384, -32768, 32767, 32767, -32768, 0]


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"), [(".wav", "PCM_24", 2**-23), (".flac", "PCM_24", 2**-23), (".wav", "FLOAT", 0.0)]
)
def test_what_is_exact_stays_exact(tmp_path: Path, suffix: str, subtype: str, step: float):
    waveform = make_music(2, 0.5, RATE)
    if subtype == "FLOAT":
        waveform = 3.0 * waveform
    source = tmp_path / f"source{suffix}"
    with open_writer(source, RATE, 1, subtype=subtype) as writer:
        writer.write(waveform)
    assert writer.clipped == 0
    assert source_subtype(source) == subtype
    read = read_audio(source, sample_rate=RATE, channels=1)
    assert np.abs(read - waveform).max() <= step / 2
    with open_writer(tmp_path / f"copy{suffix}", RATE, 1, subtype=source_subtype(source)) as writer:
        writer.write(read)
    assert np.array_equal(read_audio(tmp_path / f"copy{suffix}", sample_rate=RATE, channels=1), read)


def test_the_subtype_that_fits_a_format(tmp_path: Path):
    assert fitting_subtype(Path("a.flac"), "FLOAT") == "PCM_24"
    assert fitting_subtype(Path("a.wav"), "FLOAT") == "FLOAT"
    assert fitting_subtype(Path("a.mp3"), "FLOAT") is None
    write_float_wav(tmp_path / "a.wav", make_music(0, 0.1))
    write_audio(tmp_path / "b.mp3", make_music(0, 0.1), RATE)
    (tmp_path / "c.wav").write_bytes(b"nothing")
    assert [source_subtype(tmp_path / name) for name in ("a.wav", "b.mp3", "c.wav")] == ["FLOAT", "PCM_16", "PCM_16"]
    with (
        pytest.raises(ValueError, match="not written as FLOAT"),
        open_writer(tmp_path / "d.flac", RATE, 1, subtype="FLOAT"),
    ):
        pass


def test_sound_that_is_not_finite_and_a_wav_beyond_its_format_are_refused(tmp_path: Path, monkeypatch):
    with pytest.raises(AudioError, match="not finite"):
        write_audio(tmp_path / "a.wav", np.array([[0.0, np.nan]], np.float32), RATE)
    monkeypatch.setattr(audio_writer, "MOST_WAV_BYTES", 1000)
    with pytest.raises(AudioError, match="at most 4 GiB"):
        write_audio(tmp_path / "a.wav", np.zeros((1, 501), np.float32), RATE)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="no limit of file sizes on this system")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_a_disk_that_refuses_is_named_and_leaves_nothing(tmp_path: Path, suffix: str):
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from piano.foundation.audio_io import write_audio\n"
        "from piano.foundation.errors import AudioError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 400_000))\n"
        "try:\n"
        f"    write_audio(Path(sys.argv[1]) / 'a{suffix}', noise, 44100)\n"
        "except AudioError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert "the file grew larger than this account may write" in done.stdout, done
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []
