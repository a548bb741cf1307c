"""A disk that fails for a minute is not damage: it is told apart in every format, and nothing half-read is a song."""

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from piano.foundation import sound_reader, sound_source
from piano.foundation.audio_io import decode_blocks, read_audio, write_audio
from piano.foundation.errors import AudioError, PassingError
from piano.foundation.ffmpeg_sound import find_ffmpeg
from tests.make_audio import make_music

RATE = 16_000
SUFFIXES = [".wav", ".flac", ".mp3", ".ogg", ".aiff", ".opus"]


class FlakyFile(io.FileIO):
    """A real file whose disk fails behind some bytes, as often as is asked."""

    fails_behind, failures, code = 0, 0, errno.EIO

    def readinto(self, buffer: Any) -> int | None:
        if self.tell() + len(buffer) > FlakyFile.fails_behind and FlakyFile.failures > 0:
            FlakyFile.failures -= 1
            raise OSError(FlakyFile.code, os.strerror(FlakyFile.code))
        return super().readinto(buffer)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile

    folder = tmp_path_factory.mktemp("sounds")
    music = make_music(0, 8.0, 48_000, 2)
    for suffix in (".wav", ".flac", ".mp3", ".ogg"):
        write_audio(folder / f"a{suffix}", music, 48_000)
    soundfile.write(folder / "a.aiff", music.T, 48_000)
    soundfile.write(folder / "a.opus", music.T, 48_000, format="OGG", subtype="OPUS")
    program = find_ffmpeg()
    if program is not None:
        command = [program, "-v", "error", "-i", str(folder / "a.wav")]
        subprocess.run([*command, str(folder / "a.m4a")], check=True)
        subprocess.run([*command, str(folder / "a.aac")], check=True)
    return folder


def be_flaky(monkeypatch: pytest.MonkeyPatch, path: Path, *, failures: int, code: int = errno.EIO) -> None:
    FlakyFile.fails_behind, FlakyFile.failures, FlakyFile.code = path.stat().st_size // 2, failures, code
    monkeypatch.setattr(sound_reader, "READS_DIRECTLY", False)  # libsndfile's own reading is beyond our reach
    monkeypatch.setattr(sound_source, "open", lambda path, *_, **__: FlakyFile(path), raising=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("failures", [1, 10**9])
def test_a_disk_that_fails_in_the_middle_is_not_damage(
    sounds: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, failures: int
):
    path = sounds / f"a{suffix}"
    be_flaky(monkeypatch, path, failures=failures)
    with pytest.raises(PassingError, match="Input/output error. The disk or the network failed, not the file"):
        read_audio(path, sample_rate=RATE, channels=1)
    monkeypatch.undo()
    assert abs(read_audio(path, sample_rate=RATE, channels=1).shape[1] / RATE - 8.0) < 0.1


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_other_ways_of_a_network_to_fail(sounds: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    be_flaky(monkeypatch, sounds / "a.flac", failures=1, code=code)
    with pytest.raises(PassingError, match=os.strerror(code)):
        read_audio(sounds / "a.flac", sample_rate=RATE, channels=1)


@pytest.mark.skipif(find_ffmpeg() is None, reason="no ffmpeg program: pip install imageio-ffmpeg")
@pytest.mark.parametrize("suffix", [".m4a", ".aac"])
def test_what_ffmpeg_could_not_read_to_its_end_is_looked_at(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    path = tmp_path / f"a{suffix}"
    data = bytearray((sounds / f"a{suffix}").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    read_audio(path, sample_rate=RATE, channels=1)  # damage, and the disk is well
    be_flaky(monkeypatch, path, failures=10**9)
    FlakyFile.fails_behind = len(data) * 3 // 4
    with pytest.raises(PassingError):
        read_audio(path, sample_rate=RATE, channels=1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_becomes_shorter_while_it_is_read_is_not_damage(sounds: Path, tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    path.write_bytes((sounds / f"a{suffix}").read_bytes())
    blocks = decode_blocks(path, sample_rate=RATE, channels=1, block_seconds=0.5)
    next(blocks)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(PassingError, match="became shorter"):
        list(blocks)


def test_damage_and_missing_files_are_no_passing_errors(sounds: Path, tmp_path: Path):
    for path, data in ((tmp_path / "a.wav", b"RIFF"), (tmp_path / "b.mp3", b"text"), (tmp_path / "c.mp3", None)):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(AudioError) as caught:
            read_audio(path, sample_rate=RATE, channels=1)
        assert not isinstance(caught.value, PassingError)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static long total; static int failures = -1;
ssize_t read(int fd, void *buffer, size_t size) {
  static ssize_t (*real)(int, void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "read");
  char link[64], path[4096]; snprintf(link, 64, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, 4095);
  if (length <= 0 || (path[length] = 0, !strstr(path, "/flaky."))) return real(fd, buffer, size);
  if (failures < 0) failures = atoi(getenv("FAILURES"));
  if (total > atol(getenv("BEHIND")) && failures > 0) { failures--; errno = EIO; return -1; }
  ssize_t got = real(fd, buffer, size); if (got > 0) total += got; return got;
}
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc on Linux")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_drive_that_fails_under_the_whole_program(sounds: Path, tmp_path: Path, suffix: str):
    """One failure may be read over; a drive that stays away is a passing error; neither gives half a song."""
    (tmp_path / "shim.c").write_text(SHIM)
    build = ["gcc", "-shared", "-fPIC", str(tmp_path / "shim.c"), "-o", str(tmp_path / "shim.so"), "-ldl"]
    subprocess.run(build, check=True)
    path = tmp_path / f"flaky{suffix}"
    path.write_bytes((sounds / f"a{suffix}").read_bytes())
    code = (
        "import sys; from pathlib import Path\n"
        "from piano.foundation.audio_io import DecodeLog, read_audio\n"
        "from piano.foundation.errors import AudioError\n"
        "log = DecodeLog()\n"
        "try:\n"
        "    print(read_audio(Path(sys.argv[1]), sample_rate=16000, channels=1, log=log).shape[1], log.notes)\n"
        "except AudioError as error:\n"
        "    print(type(error).__name__)\n"
    )
    for failures in ("1", "1000000"):
        environment = {"LD_PRELOAD": str(tmp_path / "shim.so"), "FAILURES": failures}
        environment["BEHIND"] = str(path.stat().st_size * 3 // 5)
        said = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            cwd=Path(__file__).resolve().parent.parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        if said != "PassingError":
            assert failures == "1"
            samples, notes = said.split(" ", 1)
            assert abs(int(samples) - 8 * RATE) < 1600 and notes == "[]"
