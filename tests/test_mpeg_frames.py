"""The walk over MPEG frames finds what is there."""

import io
from pathlib import Path

import numpy as np
import pytest

from piano.foundation.mpeg_frames import length_header, scan_mpeg
from tests.make_audio import write_music


@pytest.fixture(scope="module", params=[(44_100, 2), (44_100, 1), (22_050, 1), (11_025, 2), (48_000, 2)], ids=str)
def song(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int, int]:
    sample_rate, channels = request.param
    path: Path = tmp_path_factory.mktemp("mpeg") / "song.mp3"
    write_music(path, 0, 2.0, sample_rate, channels)
    return path.read_bytes(), sample_rate, channels


def test_a_sound_file_is_one_run_of_its_length(song: tuple[bytes, int, int]):
    data, sample_rate, channels = song
    scan = scan_mpeg(io.BytesIO(data))
    assert scan.stray_bytes == 0
    [run] = scan.runs
    assert (run.sample_rate, run.channels, run.end) == (sample_rate, channels, len(data))
    assert 0 <= run.samples / sample_rate - 2.0 < 0.25  # the encoder pads both ends
    assert run.sound_start > run.start  # a Xing/Info frame leads


def test_tags_and_padding_are_not_damage(song: tuple[bytes, int, int]):
    data = song[0]
    tagged = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + data + b"TAG" + bytes(125)
    scan = scan_mpeg(io.BytesIO(tagged))
    assert (scan.stray_bytes, len(scan.runs)) == (0, 1)


def test_bytes_that_are_not_frames_are_counted(song: tuple[bytes, int, int]):
    data = song[0]
    scan = scan_mpeg(io.BytesIO(b"x" * 100 + data + b"y" * 50))
    assert scan.stray_bytes == 150
    assert [(run.start, run.end) for run in scan.runs] == [(100, 100 + len(data))]


def test_random_bytes_hold_no_run():
    data = np.random.default_rng(0).bytes(1_000_000)
    scan = scan_mpeg(io.BytesIO(data))
    assert scan.runs == []
    assert scan.stray_bytes == len(data)


def test_a_made_length_header_is_a_frame_that_tells_the_true_length(song: tuple[bytes, int, int]):
    data = song[0]
    [run] = scan_mpeg(io.BytesIO(data)).runs
    header = length_header(run)
    [again] = scan_mpeg(io.BytesIO(header + data[run.sound_start :])).runs
    assert again.frames == run.frames
    assert again.sound_start == len(header)
    at = header.index(b"Xing")
    assert int.from_bytes(header[at + 8 : at + 12], "big") == run.frames
