"""What libsndfile refuses is read through an ffmpeg program, known by its content and not by its name."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from piano.foundation.audio_io import AUDIO_SUFFIXES, DecodeLog, decode_blocks, read_audio, scan_folder, write_audio
from piano.foundation.decode_log import CODED, CUT_SHORT, DAMAGED, JOINED
from piano.foundation.errors import AudioError
from piano.foundation.ffmpeg_sound import find_ffmpeg
from tests.make_audio import make_music

RATE, SECONDS = 44_100, 6
FFMPEG = find_ffmpeg() or ""
pytestmark = pytest.mark.skipif(not FFMPEG, reason="no ffmpeg program: pip install imageio-ffmpeg")


def decode(path: Path) -> tuple[np.ndarray, list[str]]:
    log = DecodeLog()
    blocks = list(decode_blocks(path, sample_rate=RATE, channels=2, log=log))
    return np.concatenate(blocks, axis=1), log.notes


def convert(source: Path, target: Path, *options: str) -> Path:
    command = [FFMPEG, "-v", "error", "-y", "-i", str(source), *options, str(target)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"this ffmpeg cannot write {target.name}")
    return target


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ffmpeg") / "song.wav"
    write_audio(path, make_music(5, SECONDS, RATE, 2), RATE)
    return path


def like(waveform: np.ndarray, song: Path, *, seconds: float = SECONDS) -> bool:
    """Whether it is the song: of its length, and of its level in every half second."""
    original, _ = soundfile.read(song, dtype="float32")
    if abs(waveform.shape[1] / RATE - seconds) > 0.1:
        return False
    size = RATE // 2
    count = min(waveform.shape[1], len(original)) // size
    a, b = (
        np.sqrt(np.square(frames[: count * size, 0].reshape(count, size)).mean(axis=1))
        for frames in (waveform.T, original)
    )
    return bool(np.corrcoef(a, b)[0, 1] > 0.95)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ()),
        ("a.m4b", ()),
        ("a.mp4", ()),
        ("a.mov", ("-c:a", "aac")),
        ("a.aac", ()),
        ("a.wma", ()),
        ("a.wv", ()),
        ("a.tta", ()),
        ("a.mka", ("-c:a", "aac")),
        ("a.webm", ("-c:a", "libopus")),
        ("a.ac3", ()),
        ("a.dts", ("-strict", "-2", "-c:a", "dca")),
        ("a.mp2", ()),
        ("a.caf", ()),
        ("a.w64", ()),
        ("a.au", ()),
        ("a.aifc", ("-f", "aiff")),
        ("a.oga", ("-c:a", "flac")),
        ("a.wav", ("-c:a", "ac3")),
        ("a.wav", ("-c:a", "wmav2")),
        ("a.flac", ("-sample_fmt", "s16", "-bits_per_raw_sample", "12")),
        ("a.flac", ("-sample_fmt", "s32", "-bits_per_raw_sample", "20", "-strict", "-2")),
        ("a.flac", ("-sample_fmt", "s32", "-bits_per_raw_sample", "32", "-strict", "-2")),
    ],
)
def test_a_format_is_read_under_any_name(song: Path, tmp_path: Path, name: str, options: tuple[str, ...]):
    path = convert(song, tmp_path / name, *options)
    assert path.suffix in AUDIO_SUFFIXES
    waveform, notes = decode(path)
    assert like(waveform, song) and notes == []
    disguised = path.rename(tmp_path / "other.mp3")
    again, notes = decode(disguised)
    assert np.array_equal(again, waveform) and notes == []


def test_raw_aac_named_mp3_behind_a_tag_is_known(song: Path, tmp_path: Path):
    path = convert(song, tmp_path / "a.aac")
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
    waveform, notes = decode(tmp_path / "a.mp3")
    assert like(waveform, song) and notes == []


def test_chained_ogg_flac_and_ogg_with_pictures(song: Path, tmp_path: Path):
    path = convert(song, tmp_path / "a.oga", "-c:a", "flac")
    (tmp_path / "b.ogg").write_bytes(2 * path.read_bytes())
    waveform, notes = decode(tmp_path / "b.ogg")
    assert waveform.shape[1] == 2 * SECONDS * RATE and notes == [JOINED]
    film = tmp_path / "film.ogv"
    pictures = ["-f", "lavfi", "-i", f"testsrc=duration={SECONDS}:size=64x64:rate=5"]
    command = [FFMPEG, "-v", "error", *pictures, "-i", str(song), "-c:v", "libtheora", "-c:a", "libvorbis", str(film)]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        waveform, notes = decode(film)
        assert like(waveform, song) and notes == []


def test_a_cut_m4a_says_how_many_seconds_are_missing(song: Path, tmp_path: Path):
    path = convert(song, tmp_path / "a.m4a", "-movflags", "+faststart")
    assert decode(path)[1] == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    waveform, [note] = decode(path)
    missing = SECONDS - waveform.shape[1] / RATE
    assert 2.0 < missing < 4.0 and note == f"{CUT_SHORT}: {missing:.1f} s missing"
    path.write_bytes(data[: len(data) // 2] + np.random.default_rng(0).bytes(500) + data[len(data) // 2 + 500 :])
    assert decode(path)[1][0].startswith(DAMAGED)


def wav(data: bytes, rate: int = RATE) -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 2, rate, rate * 4, 4, 16)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data
    )


def test_surround_sound_in_place_of_samples_is_recognised(song: Path, tmp_path: Path):
    dts = convert(song, tmp_path / "a.dts", "-strict", "-2", "-c:a", "dca").read_bytes()
    swapped = np.frombuffer(dts[: len(dts) // 2 * 2], ">u2").astype("<u2").tobytes()
    ac3 = convert(song, tmp_path / "a.ac3")
    burst = tmp_path / "a.spdif"
    subprocess.run([FFMPEG, "-v", "error", "-i", str(ac3), "-c", "copy", "-f", "spdif", str(burst)], check=True)
    for data in (dts, swapped, burst.read_bytes(), ac3.read_bytes(), bytes(4000) + swapped):
        (tmp_path / "rip.wav").write_bytes(wav(data))
        waveform, notes = decode(tmp_path / "rip.wav")
        assert like(waveform, song) and notes == [CODED]
    loud = np.random.default_rng(0).integers(-32768, 32768, 200_000).astype("<i2").tobytes()
    (tmp_path / "noise.wav").write_bytes(wav(loud))
    assert decode(tmp_path / "noise.wav")[1] == []


def test_without_ffmpeg_the_reason_is_true_and_says_what_to_install(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [
        convert(song, tmp_path / "a.m4b"),
        convert(song, tmp_path / "b.wav", "-c:a", "ac3"),
        convert(song, tmp_path / "c.flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "32", "-strict", "-2"),
    ]
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for path in paths:
        with pytest.raises(AudioError, match="needs the ffmpeg program: pip install imageio-ffmpeg"):
            read_audio(path, sample_rate=RATE, channels=1)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:9,\nsecret.wav\n", "ffconcat version 1.0\nfile secret.wav\n"])
@pytest.mark.parametrize("name", ["list.m4a", "list.mp3", "list.wma", "list.mka"])
def test_a_playlist_under_the_name_of_a_sound_opens_no_other_file(tmp_path: Path, song: Path, text: str, name: str):
    (tmp_path / "secret.wav").write_bytes(song.read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(AudioError):
        read_audio(tmp_path / name, sample_rate=RATE, channels=1)


def test_names_of_sounds_that_are_not_read_have_a_reason_of_their_own(tmp_path: Path):
    for name in ("a.mid", "b.M4P", "c.txt", "d.M4B", "e.OGA"):
        (tmp_path / name).touch()
    scan = scan_folder(tmp_path)
    assert [path.name for path in scan.audio] == ["d.M4B", "e.OGA"]
    reasons = {path.name: reason for path, reason in scan.left_out}
    assert reasons == {"a.mid": "unknown_format", "b.M4P": "unknown_format", "c.txt": "not_audio"}


@pytest.mark.parametrize("name", ["two.m4a", "two.mp4", "two.mkv", "two.mka", "two.ogg"])
def test_a_second_track_of_sound_is_not_read_and_that_is_said(song: Path, tmp_path: Path, name: str):
    target = tmp_path / name
    convert(song, target, "-map", "0:a", "-map", "0:a", *(["-c:a", "libvorbis"] if name.endswith("ogg") else []))
    waveform, notes = decode(target)
    assert notes == ["only the first of several audio tracks read"]
    assert like(waveform, song)
    assert decode(convert(song, tmp_path / f"one{target.suffix}"))[1] == []


def test_m4as_one_behind_the_other_are_all_decoded(song: Path, tmp_path: Path):
    first = convert(song, tmp_path / "a.m4a").read_bytes()
    second = convert(song, tmp_path / "b.m4a", "-t", "3", "-movflags", "+faststart").read_bytes()
    for name, data, seconds in (("ab", first + second, 9), ("ba", second + first, 9), ("cut", first + second[:900], 6)):
        (tmp_path / f"{name}.m4a").write_bytes(data)
        waveform, notes = decode(tmp_path / f"{name}.m4a")
        assert abs(waveform.shape[1] / RATE - seconds) < 0.1
        assert "several recordings in one file" in notes
    fragmented = convert(song, tmp_path / "f.m4a", "-movflags", "+frag_keyframe+empty_moov")
    assert decode(fragmented)[1] == []
