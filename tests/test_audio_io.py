"""Sound comes in whole and in bounded memory, whatever the file claims; it goes out whole or not at all."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from piano.foundation import m4a
from piano.foundation.audio_io import (
    FAR_BEYOND,
    NOT_FINITE,
    DecodeLog,
    decode_blocks,
    find_audio_files,
    open_writer,
    read_audio,
    scan_folder,
    write_audio,
)
from piano.foundation.decode_log import CUT_SHORT, DAMAGED, RATE_CHANGES
from piano.foundation.errors import AudioError
from piano.foundation.ffmpeg_sound import find_ffmpeg
from piano.foundation.mpeg_frames import length_header, scan_mpeg
from piano.foundation.screen_text import printable
from tests.make_audio import make_music, tone, write_float_wav, write_music

RATE = 16_000
needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="no ffmpeg program: pip install imageio-ffmpeg")


def loudest_frequency(waveform: np.ndarray, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(spectrum)) * sample_rate / len(waveform)


def decode(path: Path, sample_rate: int = RATE, channels: int = 1) -> tuple[np.ndarray, list[str]]:
    log = DecodeLog()
    blocks = list(decode_blocks(path, sample_rate=sample_rate, channels=channels, log=log))
    return np.concatenate(blocks, axis=1), log.notes


@pytest.fixture(scope="module")
def mp3_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four seconds of music at 44.1 kHz, stereo."""
    path = tmp_path_factory.mktemp("mp3") / "song.mp3"
    write_music(path, 1, 4.0, 44_100, 2)
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".flac", 1e-4), (".mp3", 0.05), (".ogg", 0.05)])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str, tolerance: float):
    written = make_music(0, 2.0, RATE, 2)
    write_audio(tmp_path / f"deep/song{suffix}", written, RATE)
    read = read_audio(tmp_path / f"deep/song{suffix}", sample_rate=RATE, channels=2)
    assert read.shape == written.shape
    assert read.dtype == np.float32
    assert np.sqrt(np.mean((read - written) ** 2)) < tolerance
    assert os.listdir(tmp_path / "deep") == [f"song{suffix}"]


@needs_ffmpeg
def test_m4a_is_written_whole_with_its_tags_and_read_back(tmp_path: Path):
    written = make_music(0, 2.0, RATE, 2)
    path = tmp_path / "deep/song.m4a"
    write_audio(path, written, RATE, metadata={"title": "\u00c9tude", "comment": '{"seed": 1}'})
    read = read_audio(path, sample_rate=RATE, channels=2)
    length = min(read.shape[1], written.shape[1])
    assert abs(read.shape[1] - written.shape[1]) <= 1024  # AAC frames
    assert np.sqrt(np.mean((read[:, :length] - written[:, :length]) ** 2)) < 0.05
    tags = path.read_bytes()
    assert "\u00c9tude".encode() in tags and b'{"seed": 1}' in tags
    assert os.listdir(tmp_path / "deep") == ["song.m4a"]
    with pytest.raises(RuntimeError, match="stop"), open_writer(path, RATE, 1):
        raise RuntimeError("stop")
    assert os.listdir(tmp_path / "deep") == ["song.m4a"] and path.read_bytes() == tags


def test_m4a_without_an_encoder_is_one_sentence_before_anything_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(m4a, "find_ffmpeg", lambda: None)
    with pytest.raises(AudioError, match="M4A needs the ffmpeg program: pip install imageio-ffmpeg"):
        write_audio(tmp_path / "song.m4a", make_music(0, 0.1), RATE)
    assert os.listdir(tmp_path) == []


def test_tags_are_written(tmp_path: Path):
    write_audio(tmp_path / "song.flac", make_music(0, 0.5), RATE, metadata={"title": "Étude", "artist": "noise"})
    with soundfile.SoundFile(tmp_path / "song.flac") as file:
        assert (file.title, file.artist) == ("Étude", "noise")


def test_samples_beyond_full_scale_are_clipped_when_written(tmp_path: Path):
    write_audio(tmp_path / "loud.wav", 3.0 * tone(440, 0.1, RATE), RATE)
    read = read_audio(tmp_path / "loud.wav", sample_rate=RATE, channels=1)
    assert 0.99 < read.max() <= 1.0
    assert -1.0 <= read.min() < -0.99


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    old = write_music(tmp_path / "song.wav", 0, 0.5)
    with pytest.raises(RuntimeError, match="stop"), open_writer(tmp_path / "song.wav", RATE, 1) as writer:
        writer.write(make_music(1, 0.2))
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == ["song.wav"]
    assert read_audio(tmp_path / "song.wav", sample_rate=RATE, channels=1).shape == old.shape


def test_pieces_are_written_one_after_the_other(tmp_path: Path):
    waveform = make_music(0, 1.0, RATE, 2)
    with open_writer(tmp_path / "pieces.wav", RATE, 2) as writer:
        for start in range(0, RATE, 4500):
            writer.write(waveform[:, start : start + 4500])
    write_audio(tmp_path / "whole.wav", waveform, RATE)
    assert (tmp_path / "pieces.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_an_unknown_format_and_an_impossible_rate_are_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(AudioError, match=r"must be one of \.flac, \.m4a, \.mp3, \.ogg, \.wav"):
        write_audio(tmp_path / "song.xyz", make_music(0, 0.1), RATE)
    with pytest.raises(AudioError, match="at 12345 Hz"):
        write_audio(tmp_path / "song.mp3", make_music(0, 0.1), 12_345)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("block_seconds", [0.013, 0.5, 100.0])
def test_blocks_of_any_size_give_the_same_samples(tmp_path: Path, block_seconds: float):
    write_music(tmp_path / "song.wav", 3, 2.0, 22_050, 2)
    whole = read_audio(tmp_path / "song.wav", sample_rate=RATE, channels=1)
    blocks = list(decode_blocks(tmp_path / "song.wav", sample_rate=RATE, channels=1, block_seconds=block_seconds))
    assert np.allclose(np.concatenate(blocks, axis=1), whole, atol=1e-6)


def test_an_mp3_decoded_in_blocks_equals_one_read_at_once(tmp_path: Path, mp3_bytes: bytes):
    (tmp_path / "song.mp3").write_bytes(mp3_bytes)
    expected, _ = soundfile.read(tmp_path / "song.mp3", dtype="float32", always_2d=True)
    blocks = list(decode_blocks(tmp_path / "song.mp3", sample_rate=44_100, channels=2, block_seconds=0.1))
    assert np.array_equal(np.concatenate(blocks, axis=1), expected.T)


def test_resampling_keeps_pitch_and_length(tmp_path: Path):
    write_audio(tmp_path / "a.wav", tone(1000, 3.0, 44_100), 44_100)
    read = read_audio(tmp_path / "a.wav", sample_rate=RATE, channels=1)
    assert read.shape == (1, 3 * RATE)
    assert abs(loudest_frequency(read[0], RATE) - 1000) < 1
    assert abs(np.abs(read[0, 1000:-1000]).max() - 0.5) < 0.002


def test_channels_are_mixed_down_and_repeated(tmp_path: Path):
    left, right = make_music(1, 0.5)[0], make_music(2, 0.5)[0]
    write_float_wav(tmp_path / "stereo.wav", np.stack([left, right]))
    write_float_wav(tmp_path / "mono.wav", left[np.newaxis])
    write_float_wav(tmp_path / "six.wav", np.stack([left, right, left, left, right, right]))
    assert np.allclose(decode(tmp_path / "stereo.wav")[0][0], 0.5 * (left + right), atol=1e-6)
    assert np.array_equal(decode(tmp_path / "mono.wav", channels=2)[0], np.stack([left, left]))
    assert np.allclose(decode(tmp_path / "six.wav")[0][0], 0.5 * (left + right), atol=1e-6)
    rest = 2 * (left + right)  # the four channels that are neither left nor right, at half weight
    expected = np.stack([(left + 0.5 * rest) / 3, (right + 0.5 * rest) / 3])
    assert np.allclose(decode(tmp_path / "six.wav", channels=2)[0], expected, atol=1e-6)


def test_reading_stops_after_the_asked_seconds(tmp_path: Path):
    whole = write_music(tmp_path / "song.wav", 0, 3.0)
    part = read_audio(tmp_path / "song.wav", sample_rate=RATE, channels=1, max_seconds=1.25)
    assert part.shape == (1, 20_000)
    assert np.allclose(part, whole[:, :20_000], atol=1e-4)


def test_a_variable_bit_rate_mp3_without_length_header_is_decoded_whole(tmp_path: Path):
    random = np.random.default_rng(0)
    noise = random.uniform(-0.3, 0.3, 44_100 * 2).astype(np.float32)
    with soundfile.SoundFile(
        tmp_path / "vbr.mp3", "w", 44_100, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(np.concatenate([noise, tone(440, 8.0, 44_100)[0]]))
    data = (tmp_path / "vbr.mp3").read_bytes()
    start = data.index(b"\xff\xfb")
    following = data.index(b"\xff\xfb", start + 4)
    assert b"Xing" in data[start:following]
    (tmp_path / "vbr.mp3").write_bytes(data[following:])
    waveform, notes = decode(tmp_path / "vbr.mp3")
    assert abs(waveform.shape[1] / RATE - 10.0) < 0.1
    assert abs(loudest_frequency(waveform[0, -4 * RATE :], RATE) - 440) < 1
    assert notes == []


def test_joined_mp3s_are_both_decoded(tmp_path: Path, mp3_bytes: bytes):
    (tmp_path / "joined.mp3").write_bytes(mp3_bytes + mp3_bytes)
    waveform, notes = decode(tmp_path / "joined.mp3")
    assert abs(waveform.shape[1] / RATE - 8.0) < 0.1
    assert notes == []


def test_sound_on_both_sides_of_damage_is_kept(tmp_path: Path, mp3_bytes: bytes):
    half = len(mp3_bytes) // 2
    garbage = np.random.default_rng(0).bytes(20_000)
    (tmp_path / "damaged.mp3").write_bytes(mp3_bytes[:half] + garbage + mp3_bytes[half:])
    waveform, notes = decode(tmp_path / "damaged.mp3")
    assert 3.7 < waveform.shape[1] / RATE < 4.2
    assert notes == [DAMAGED]


def test_a_truncated_mp3_gives_what_is_there(tmp_path: Path, mp3_bytes: bytes):
    (tmp_path / "cut.mp3").write_bytes(mp3_bytes[: len(mp3_bytes) * 2 // 5 + 3])
    waveform, notes = decode(tmp_path / "cut.mp3")
    assert 1.3 < waveform.shape[1] / RATE < 1.7
    assert notes == [f"{DAMAGED}: 2.7 s missing"]


def test_a_change_of_rate_inside_a_file_keeps_the_pitch(tmp_path: Path):
    write_audio(tmp_path / "a.mp3", tone(440, 3.0, 44_100, 2), 44_100)
    write_audio(tmp_path / "b.mp3", tone(440, 3.0, 22_050), 22_050)
    (tmp_path / "both.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes())
    waveform, notes = decode(tmp_path / "both.mp3")
    assert abs(waveform.shape[1] / RATE - 6.0) < 0.2
    assert abs(loudest_frequency(waveform[0, : 2 * RATE], RATE) - 440) < 1
    assert abs(loudest_frequency(waveform[0, -2 * RATE :], RATE) - 440) < 1
    assert notes == [RATE_CHANGES]


def test_a_length_header_of_649_days_costs_nothing(tmp_path: Path, mp3_bytes: bytes):
    data = bytearray(mp3_bytes)
    at = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
    data[at + 8 : at + 12] = b"\x7f\xff\xff\xff"
    (tmp_path / "huge.mp3").write_bytes(data)
    tracemalloc.start()
    waveform, _ = decode(tmp_path / "huge.mp3")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(waveform.shape[1] / RATE - 4.0) < 0.1
    assert peak < 20e6


def test_a_lying_id3_tag_is_looked_behind(tmp_path: Path, mp3_bytes: bytes):
    (tmp_path / "lies.mp3").write_bytes(b"ID3\x03\x00\x00\x5f\x2e\x08\x00" + mp3_bytes[mp3_bytes.index(b"\xff\xfb") :])
    waveform, _ = decode(tmp_path / "lies.mp3")
    assert abs(waveform.shape[1] / RATE - 4.0) < 0.1


def test_a_flac_of_unknown_length_is_decoded_whole(tmp_path: Path):
    written = write_music(tmp_path / "streamed.flac", 0, 9.0)
    data = bytearray((tmp_path / "streamed.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "streamed.flac").write_bytes(data)
    assert np.allclose(decode(tmp_path / "streamed.flac")[0], written, atol=1e-4)


def test_the_format_is_known_by_content_and_not_by_name(tmp_path: Path):
    for suffix in (".wav", ".ogg", ".flac"):
        write_music(tmp_path / f"song{suffix}", 0, 1.0)
        os.rename(tmp_path / f"song{suffix}", tmp_path / "song.mp3")
        assert decode(tmp_path / "song.mp3")[0].shape == (1, RATE)


def test_a_wav_cut_short_is_noted_and_one_of_unknown_length_is_not(tmp_path: Path):
    write_float_wav(tmp_path / "a.wav", make_music(0, 1.0))
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    at = data.index(b"data") + 4
    (tmp_path / "stream.wav").write_bytes(data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :])
    assert decode(tmp_path / "cut.wav")[1] == [f"{CUT_SHORT}: 0.50 s missing"]
    waveform, notes = decode(tmp_path / "stream.wav")
    assert (waveform.shape, notes) == ((1, RATE), [])


@pytest.mark.parametrize("sample_rate", [16_000, 22_050])
def test_samples_that_are_not_finite_become_silence(tmp_path: Path, sample_rate: int):
    samples = make_music(0, 1.0)
    samples[0, 100:200], samples[0, 300], samples[0, 400], samples[0, 500] = np.nan, np.inf, -np.inf, 1e30
    write_float_wav(tmp_path / "nan.wav", samples)
    waveform, notes = decode(tmp_path / "nan.wav", sample_rate)
    assert np.isfinite(waveform).all()
    assert notes == [NOT_FINITE, FAR_BEYOND]
    if sample_rate == RATE:
        assert not waveform[0, 100:200].any()
        assert np.array_equal(waveform[0, 600:], samples[0, 600:])


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", bytes(65_536), b"This is a shopping list.\n" * 40, np.random.default_rng(0).bytes(65_536)],
    ids=["empty", "one byte", "zeros", "text", "random"],
)
@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg"])
def test_what_is_not_sound_is_refused_in_one_sentence(tmp_path: Path, content: bytes, suffix: str):
    (tmp_path / f"bad{suffix}").write_bytes(content)
    with pytest.raises(AudioError) as caught:
        decode(tmp_path / f"bad{suffix}")
    assert str(tmp_path / f"bad{suffix}") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_a_header_without_sound_are_refused(tmp_path: Path):
    write_float_wav(tmp_path / "none.wav", np.zeros((1, 0), dtype=np.float32))
    for name, words in (("missing.mp3", "is not a file"), (".", "is not a file"), ("none.wav", "holds no sound")):
        with pytest.raises(AudioError, match=words):
            decode(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mp3")
    with pytest.raises(AudioError, match="is not a file"):
        decode(tmp_path / "pipe.mp3")
    assert scan_folder(tmp_path).left_out == [(tmp_path / "pipe.mp3", "not_a_file")]


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path):
    peaks = []
    for seconds in (10, 80):
        with open_writer(tmp_path / f"{seconds}.wav", 44_100, 2) as writer:
            for _ in range(seconds):
                writer.write(tone(440, 1.0, 44_100, 2))
        tracemalloc.start()
        count = sum(
            block.shape[1]
            for block in decode_blocks(tmp_path / f"{seconds}.wav", sample_rate=RATE, channels=1, block_seconds=1.0)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == seconds * RATE
    assert peaks[1] < 1.1 * peaks[0]


def test_files_are_found_in_all_folders_sorted_and_without_hidden_ones(tmp_path: Path):
    for name in ("b.MP3", "a/z.flac", "a/folder.mp3/inside.ogg", ".hidden.mp3", ".trash/gone.mp3", "notes.txt", "bare"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio_files(tmp_path)]
    assert found == ["a/folder.mp3/inside.ogg", "a/z.flac", "b.MP3"]
    left_out = [(path.name, reason) for path, reason in scan_folder(tmp_path).left_out]
    assert left_out == [(".hidden.mp3", "hidden"), ("bare", "not_audio"), ("notes.txt", "not_audio")]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_loops_end_and_broken_links_are_named(tmp_path: Path):
    music = tmp_path / "music"
    music.mkdir()
    (music / "song.wav").touch()
    (music / "loop").symlink_to(music)
    (music / "self.mp3").symlink_to(music / "self.mp3")
    (music / "gone.mp3").symlink_to(tmp_path / "nowhere")
    scan = scan_folder(music)
    assert scan.audio == [music / "song.wav"]
    assert scan.left_out == [(music / "gone.mp3", "not_a_file"), (music / "self.mp3", "not_a_file")]


def test_a_missing_music_folder_is_an_error(tmp_path: Path):
    with pytest.raises(AudioError, match="there is no folder"):
        find_audio_files(tmp_path / "nowhere")


def test_control_characters_never_reach_the_screen_raw():
    shown = printable("\x1b[31mred\x1b[0m\nnew line\t\x07 bell \udcff byte, 音 stays")
    assert shown == "\\x1b[31mred\\x1b[0m\\nnew line\\t\\x07 bell \\udcff byte, 音 stays"


def make_m4a(path: Path) -> None:
    program = find_ffmpeg()
    if program is None:
        pytest.skip("no ffmpeg: pip install imageio-ffmpeg")
    write_audio(path.with_suffix(".wav"), tone(440, 2.0, 44_100, 2), 44_100)
    command = [program, "-v", "error", "-i", str(path.with_suffix(".wav")), str(path)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip(f"this ffmpeg cannot write {path.suffix}")


@pytest.mark.parametrize("suffix", [".m4a", ".wma"])
def test_formats_of_ffmpeg_are_decoded_in_blocks(tmp_path: Path, suffix: str):
    make_m4a(tmp_path / f"song{suffix}")
    log = DecodeLog()
    blocks = list(decode_blocks(tmp_path / f"song{suffix}", sample_rate=RATE, channels=2, block_seconds=0.25, log=log))
    waveform = np.concatenate(blocks, axis=1)
    assert len(blocks) >= 8
    assert abs(waveform.shape[1] / RATE - 2.0) < 0.15
    assert abs(loudest_frequency(waveform[0, RATE // 2 : -RATE // 2], RATE) - 440) < 2
    assert (log.sample_rate, log.channels, log.notes) == (44_100, 2, [])


def test_without_ffmpeg_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match="needs the ffmpeg program: pip install imageio-ffmpeg"):
        decode(tmp_path / "song.m4a")


def test_reading_music_does_not_import_torch():
    code = "import sys, data_prep.prepare_dataset, data_prep.create_dataset; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_unicode_is_written_and_read(tmp_path: Path):
    path = tmp_path / "byte-\udcff.flac"
    write_music(path, 0, 0.5)
    assert read_audio(path, sample_rate=RATE, channels=1).shape == (1, 8000)


def ape_tag(size: int, *, is_in_front: bool) -> bytes:
    """An APEv2 tag with a cover of so many bytes; behind a sound it has no header of its own."""
    item = struct.pack("<II", size, 2) + b"Cover Art (Front)\0" + np.random.default_rng(1).bytes(size)
    head, foot = (
        b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)
        for flags in (0xA0000000, 0x80000000 if is_in_front else 0)
    )
    return head + item + foot if is_in_front else item + foot


def test_tags_in_front_and_behind_cost_nothing_and_give_no_note(tmp_path: Path, mp3_bytes: bytes):
    id3 = b"ID3\x03\0\0\0\0\x02\0" + bytes(256)
    samples = make_music(0, 2.0)
    for suffix in (".flac", ".wav"):
        write_audio(tmp_path / f"plain{suffix}", samples, RATE)
        (tmp_path / f"tagged{suffix}").write_bytes(id3 + (tmp_path / f"plain{suffix}").read_bytes())
        waveform, notes = decode(tmp_path / f"tagged{suffix}")
        assert waveform.shape == samples.shape and notes == []
    (tmp_path / "plain.mp3").write_bytes(mp3_bytes)
    plain, _ = decode(tmp_path / "plain.mp3")
    for front, behind in (
        (id3 + id3, b""),
        (b"", id3 + b"TAG" + bytes(125)),
        (b"", ape_tag(300_000, is_in_front=False)),
        (b"", ape_tag(3_000, is_in_front=False) + b"TAG" + bytes(125)),
        (b"", b"LYRICSBEGININD00002100LYR00003abc" + b"000033LYRICS200" + b"TAG" + bytes(125)),
        (ape_tag(300_000, is_in_front=True), b""),
    ):
        (tmp_path / "tagged.mp3").write_bytes(front + mp3_bytes + behind)
        waveform, notes = decode(tmp_path / "tagged.mp3")
        assert notes == []
        assert 0 <= waveform.shape[1] - plain.shape[1] < 0.08 * RATE  # an APE tag in front hides the padding


@pytest.mark.parametrize(
    ("rate", "subtype"),
    [
        (8000, "PCM_16"),
        (11_025, "PCM_24"),
        (22_255, "PCM_16"),
        (44_056, "FLOAT"),
        (88_200, "PCM_24"),
        (96_000, "PCM_16"),
        (192_000, "DOUBLE"),
        (44_100, "PCM_U8"),
        (44_100, "ULAW"),
        (44_100, "IMA_ADPCM"),
    ],
)
def test_any_rate_and_subtype_gives_what_soxr_gives_of_the_whole_file(tmp_path: Path, rate: int, subtype: str):
    path = tmp_path / "a.wav"
    soundfile.write(path, make_music(0, 1.0, rate)[0], rate, subtype=subtype)
    samples, _ = soundfile.read(path, dtype="float32")
    waveform, notes = decode(path)
    wanted = soxr.resample(samples, rate, RATE, quality="HQ")
    assert notes == [] and waveform.shape == (1, len(wanted))
    assert np.abs(waveform[0] - wanted).max() < 3e-4


def test_a_vbri_frame_is_a_length_header_and_no_silence(tmp_path: Path, mp3_bytes: bytes):
    [run] = scan_mpeg(io.BytesIO(mp3_bytes)).runs
    plain = mp3_bytes[run.sound_start :]
    frame = bytearray(length_header(run))
    frame[4:] = bytes(len(frame) - 4)
    frame[36:40] = b"VBRI"
    (tmp_path / "plain.mp3").write_bytes(plain)
    (tmp_path / "vbri.mp3").write_bytes(bytes(frame) + plain)
    length = decode(tmp_path / "plain.mp3")[0].shape[1]
    waveform, notes = decode(tmp_path / "vbri.mp3")
    assert notes == []
    assert 0 <= length - waveform.shape[1] < 576  # not longer by a frame; the decoder takes its delay off
