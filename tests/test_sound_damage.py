"""Sound on both sides of damage, every recording of a chain, and the truth about lengths."""

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from piano.foundation.audio_io import DecodeLog, decode_blocks, read_audio
from piano.foundation.decode_log import CUT_SHORT, DAMAGED, JOINED, ONE_SILENT, ONE_SOUNDS, RATE_CHANGES, WRONG_LENGTH
from piano.foundation.errors import AudioError
from piano.foundation.sound_lengths import WRAP
from tests.make_audio import make_music

RATE = 44_100
SECONDS = 6


def decode(path: Path, data: bytes, *, channels: int = 2) -> tuple[np.ndarray, list[str]]:
    path.write_bytes(data)
    log = DecodeLog()
    blocks = list(decode_blocks(path, sample_rate=RATE, channels=channels, log=log, block_seconds=2.0))
    return np.concatenate(blocks, axis=1), log.notes


def encoded(waveform: np.ndarray, form: str, subtype: str | None = None, sample_rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform.T, sample_rate, format=form, subtype=subtype)
    return stream.getvalue()


def pages(data: bytes) -> list[int]:
    """Where the pages of an Ogg file begin."""
    found, position = [], 0
    while (position := data.find(b"OggS", position)) >= 0:
        found.append(position)
        position += 1
    return found


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    return make_music(5, SECONDS, RATE, 2)


@pytest.fixture(scope="module")
def flac(music: np.ndarray) -> bytes:
    return encoded(music, "FLAC")


@pytest.fixture(scope="module")
def links(music: np.ndarray) -> dict[str, bytes]:
    return {
        "vorbis": encoded(music, "OGG", "VORBIS"),
        "opus": encoded(make_music(6, SECONDS, 48_000, 2), "OGG", "OPUS", 48_000),
        "mono": encoded(make_music(7, 3, 22_050), "OGG", "VORBIS", 22_050),
    }


# --- FLAC


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_one_bad_bit_costs_one_frame_of_a_flac(tmp_path: Path, flac: bytes, music: np.ndarray, where: float):
    bad = bytearray(flac)
    bad[int(len(bad) * where)] ^= 16
    waveform, [note] = decode(tmp_path / "a.flac", bytes(bad))
    lost = SECONDS * RATE - waveform.shape[1]
    assert 0 < lost <= 2 * 4096
    assert note == f"{DAMAGED}: {lost / RATE:.2f} s missing"
    assert np.allclose(waveform[:, -10_000:], music[:, -10_000:], atol=1e-4)
    assert np.allclose(waveform[:, :10_000], music[:, :10_000], atol=1e-4)


def test_a_hole_and_garbage_in_a_flac_cost_what_is_there_and_no_more(tmp_path: Path, flac: bytes, music: np.ndarray):
    half, garbage = len(flac) // 2, np.random.default_rng(0).bytes(5000)
    for data in (
        flac[:half] + flac[half + 20_000 :],
        flac[:half] + garbage + flac[half + 5000 :],
        flac[:half] + garbage + flac[half:],
    ):
        waveform, [note] = decode(tmp_path / "a.flac", data)
        lost = SECONDS * RATE - waveform.shape[1]
        assert 0 < lost < 0.6 * RATE
        assert note == f"{DAMAGED}: {lost / RATE:.2f} s missing"
        assert np.allclose(waveform[:, -50_000:], music[:, -50_000:], atol=1e-4)


def test_a_cut_flac_says_what_is_missing_and_wrong_totals_do_not_cut_it(tmp_path: Path, flac: bytes, music: np.ndarray):
    waveform, [note] = decode(tmp_path / "a.flac", flac[: len(flac) // 2])
    assert note == f"{CUT_SHORT}: {SECONDS - waveform.shape[1] / RATE:.1f} s missing"
    assert 2.0 < waveform.shape[1] / RATE < 4.0
    for total, notes in ((0, []), (1, []), (SECONDS * RATE - 100, []), (10 * RATE, [f"{CUT_SHORT}: 4.0 s missing"])):
        wrong = bytearray(flac)
        packed = int.from_bytes(wrong[21:26], "big") >> 36 << 36 | total
        wrong[21:26] = packed.to_bytes(5, "big")
        found, said = decode(tmp_path / "a.flac", bytes(wrong))
        assert np.allclose(found, music, atol=1e-4)
        assert said == notes


def test_a_tag_behind_a_flac_costs_nothing(tmp_path: Path, flac: bytes, music: np.ndarray):
    waveform, notes = decode(tmp_path / "a.flac", flac + b"TAG" + bytes(125))
    assert np.allclose(waveform, music, atol=1e-4) and notes == []
    waveform, notes = decode(tmp_path / "a.flac", 2 * (b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)) + flac)
    assert np.allclose(waveform, music, atol=1e-4) and notes == []


def test_flacs_one_behind_the_other_are_all_decoded(tmp_path: Path, flac: bytes, music: np.ndarray):
    waveform, notes = decode(tmp_path / "a.flac", flac + flac)
    assert np.allclose(waveform, np.concatenate([music, music], axis=1), atol=1e-4)
    assert notes == [JOINED]
    other = encoded(make_music(8, 2, 22_050), "FLAC", sample_rate=22_050)
    waveform, notes = decode(tmp_path / "a.flac", flac + other)
    assert waveform.shape[1] == (SECONDS + 2) * RATE
    assert notes == [JOINED, RATE_CHANGES]
    bad = bytearray(flac)
    bad[len(bad) // 2] ^= 16
    waveform, notes = decode(tmp_path / "a.flac", bytes(bad) + other)
    assert (SECONDS + 1.7) * RATE < waveform.shape[1] < (SECONDS + 2) * RATE
    assert notes[0].startswith(DAMAGED)


# --- Ogg


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_every_link_of_a_chained_ogg_is_decoded(tmp_path: Path, links: dict[str, bytes], kind: str):
    alone, notes = decode(tmp_path / "a.ogg", links[kind])
    assert notes == [] and abs(alone.shape[1] - SECONDS * RATE) < 10
    waveform, notes = decode(tmp_path / "a.ogg", 3 * links[kind])
    assert notes == [JOINED]
    assert np.allclose(waveform, np.concatenate(3 * [alone], axis=1), atol=1e-4)


def test_links_of_other_codecs_rates_and_channels_keep_their_pitch(tmp_path: Path, links: dict[str, bytes]):
    waveform, notes = decode(tmp_path / "a.ogg", links["vorbis"] + links["mono"] + links["opus"])
    assert abs(waveform.shape[1] - (2 * SECONDS + 3) * RATE) < 20
    assert notes == [JOINED, RATE_CHANGES]
    alone, _ = decode(tmp_path / "a.ogg", links["mono"])
    assert np.allclose(waveform[:, SECONDS * RATE : (SECONDS + 3) * RATE], alone, atol=1e-4)


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_a_lost_or_bad_page_is_noted_with_its_seconds(tmp_path: Path, links: dict[str, bytes], kind: str):
    data = links[kind]
    starts = pages(data)
    middle = len(starts) // 2
    flipped = bytearray(data)
    flipped[starts[middle] + 300] ^= 255
    for damaged in (data[: starts[middle]] + data[starts[middle + 1] :], bytes(flipped)):
        waveform, [note] = decode(tmp_path / "a.ogg", damaged)
        lost = SECONDS - waveform.shape[1] / RATE
        assert 0.2 < lost < 1.6
        assert note in (f"{DAMAGED}: {lost:.1f} s missing", f"{DAMAGED}: {lost:.2f} s missing")


def test_junk_around_the_links_and_a_cut_end(tmp_path: Path, links: dict[str, bytes]):
    junk = np.random.default_rng(0).bytes(4000)
    for data, seconds, notes in (
        (junk + links["vorbis"], SECONDS, [DAMAGED]),
        (links["vorbis"] + junk + links["opus"], 2 * SECONDS, [DAMAGED, JOINED, RATE_CHANGES]),
    ):
        waveform, said = decode(tmp_path / "a.ogg", data)
        assert abs(waveform.shape[1] - seconds * RATE) < 20
        assert set(said) <= set(notes) and {DAMAGED} <= set(said)
    waveform, said = decode(tmp_path / "a.ogg", links["vorbis"][: len(links["vorbis"]) // 2])
    assert 1.5 < waveform.shape[1] / RATE < 4.5
    assert said == [CUT_SHORT]


# --- length fields


def wav(samples: bytes, claimed: int, *, outer: int | None = None, behind: bytes = b"") -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 2, RATE, RATE * 4, 4, 16)
    total = 36 + claimed if outer is None else outer
    return (
        b"RIFF"
        + struct.pack("<I", total % 2**32)
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", claimed % 2**32)
        + samples
        + behind
    )


@pytest.fixture(scope="module")
def samples(music: np.ndarray) -> bytes:
    return np.rint(music.T * 32767).astype("<i2").tobytes()


CHUNK = b"LIST" + struct.pack("<I", 4) + b"INFO"


@pytest.mark.parametrize(
    ("claimed", "outer", "behind", "notes"),
    [
        (None, None, b"", []),
        (None, None, CHUNK, []),
        (0, 0, b"", []),
        (0, 36, CHUNK, []),
        (2**32 - 1, 2**32 - 1, b"", []),
        (2**32 - 1, 36, CHUNK, []),
        (0x7FFFF000, 0x7FFFF024, b"", []),
        (8, None, b"", [WRONG_LENGTH]),
        (4000, None, b"", [WRONG_LENGTH]),
        (None, None, b"some bytes that are no chunk", []),
    ],
)
def test_a_wav_is_read_whole_whatever_its_length_fields_say(
    tmp_path: Path, samples: bytes, claimed: int | None, outer: int | None, behind: bytes, notes: list[str]
):
    data = wav(samples, len(samples) if claimed is None else claimed, outer=outer, behind=behind)
    waveform, said = decode(tmp_path / "a.wav", data)
    assert waveform.shape == (2, SECONDS * RATE)
    assert np.array_equal(waveform, np.frombuffer(samples, "<i2").reshape(-1, 2).T / np.float32(32768))
    assert said == notes


def test_a_wav_longer_than_four_gib_is_read_to_its_end(tmp_path: Path, samples: bytes):
    """A sparse file: the disk holds a few MB of it."""
    size = WRAP + len(samples) + 4000
    path = tmp_path / "concert.wav"
    with open(path, "wb") as file:
        file.write(wav(samples, size, outer=36 + size))
        file.seek(44 + size - len(samples))
        file.write(samples)
    if path.stat().st_blocks * 512 > 100 << 20:
        pytest.skip("this file system holds no sparse files")
    from piano.foundation.sound_lengths import read_layout, true_lengths
    from piano.foundation.sound_reader import open_sound
    from piano.foundation.sound_source import SourceFile

    with SourceFile(path) as source:  # to decode 25,000 s takes a minute
        part = source.whole()
        layout = read_layout(part)
        assert layout is not None
        lengths = true_lengths(part, layout)
        assert lengths is not None and lengths.is_longer and lengths.end - lengths.start == size
        with open_sound(part.part(lengths.start, lengths.end, lengths.header or b""), path) as file:
            assert file.frames == size // 4
    blocks = decode_blocks(path, sample_rate=RATE, channels=2, log=(log := DecodeLog()))
    first = next(blocks)
    blocks.close()
    assert first.any() and log.notes == [WRONG_LENGTH]


def test_wrapped_lengths_of_a_small_file_follow_the_same_rule(
    tmp_path: Path, samples: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piano.foundation.sound_lengths.WRAP", 1 << 18)
    data = wav(samples, len(samples) % (1 << 18), behind=CHUNK)
    waveform, notes = decode(tmp_path / "a.wav", data)
    assert (waveform.shape[1], notes) == (SECONDS * RATE, [WRONG_LENGTH])


@pytest.mark.parametrize("form", ["AIFF", "CAF", "AU", "W64", "RF64", "WAVEX"])
def test_a_file_that_is_cut_says_how_many_seconds_are_missing(tmp_path: Path, music: np.ndarray, form: str):
    data = encoded(music, form, "PCM_16")
    whole, notes = decode(tmp_path / "a.wav", data)
    assert (whole.shape[1], notes) == (SECONDS * RATE, [])
    waveform, [note] = decode(tmp_path / "a.wav", data[: len(data) // 2])
    assert abs(waveform.shape[1] / RATE - SECONDS / 2) < 0.05
    missing = float(note.removeprefix(f"{CUT_SHORT}: ").removesuffix(" s missing"))
    assert abs(missing - SECONDS / 2) < 0.11


def put(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_lengths_of_aiff_caf_au_and_rf64_are_looked_behind(tmp_path: Path, music: np.ndarray):
    cases = []
    aiff, caf, au, rf64 = (encoded(music, form, "PCM_16") for form in ("AIFF", "CAF", "AU", "RF64"))
    for value in (0, 8, 1000, 2**32 - 1):
        cases.append(put(aiff, aiff.index(b"SSND") + 4, struct.pack(">I", value)))
    for value in (-1, 0, 1000):
        cases.append(put(caf, caf.index(b"data", 60) + 4, struct.pack(">q", value)))
    for value in (0, 2**32 - 1, 1000):
        cases.append(put(au, 8, struct.pack(">I", value)))
    for value in (0, 100):
        cases.append(put(rf64, rf64.index(b"ds64") + 8, struct.pack("<QQ", value, value)))
    cases.append(b"BW64" + rf64[4:])
    plain = encoded(music, "WAV", "PCM_16")
    at = plain.index(b"data")
    cases.append(plain[:at] + b"junk" + struct.pack("<I", 3) + b"abc" + plain[at:])  # an odd chunk, not padded
    cases.append(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + plain)
    cases.append(bytes(10) + plain)
    for number, data in enumerate(cases):
        waveform, notes = decode(tmp_path / "a.wav", data)
        assert waveform.shape == music.shape, (number, notes)
        assert np.allclose(waveform, music, atol=1e-4), number


# --- hostile headers


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1])
def test_an_impossible_rate_is_refused_with_a_sentence(tmp_path: Path, rate: int):
    head = bytearray(wav(bytes(6000), 6000))
    head[24:28] = struct.pack("<I", rate)
    with pytest.raises(AudioError):
        decode(tmp_path / "a.wav", bytes(head))


def test_a_block_is_never_sized_by_a_header(tmp_path: Path):
    from piano.foundation import sound_reader

    stream = io.BytesIO()
    soundfile.write(stream, np.full((40, 1024), 0.1), 768_000, format="WAV")
    path = tmp_path / "wide.wav"
    path.write_bytes(stream.getvalue())
    task = sound_reader.Task(path, 1e5, DecodeLog(), lambda: None)
    assert task.block_frames(768_000, 1024) * 1024 <= sound_reader.MOST_NUMBERS
    waveform = read_audio(path, sample_rate=768_000, channels=1)
    assert waveform.shape == (1, 40) and np.allclose(waveform, 0.1, atol=1e-3)


@pytest.mark.parametrize("unit", [b"ID3\x03\0\0\0\0\0\0", b"ID3\x03\0\0\0\0\0\0\0", b"\0x", b"\0\0\0\xff"])
def test_runs_of_empty_tags_and_zeros_take_linear_time(tmp_path: Path, unit: bytes):
    path = tmp_path / "a.mp3"
    path.write_bytes(unit * (2_000_000 // len(unit)))
    began = time.process_time()
    with pytest.raises(AudioError):
        read_audio(path, sample_rate=RATE, channels=1)
    assert time.process_time() - began < 8


# --- channels


def test_a_dead_channel_is_noted(tmp_path: Path, music: np.ndarray):
    dead = music.copy()
    dead[1] = 0
    assert decode(tmp_path / "a.wav", encoded(dead, "WAV"))[1] == [ONE_SILENT]
    assert decode(tmp_path / "a.wav", encoded(music, "WAV"))[1] == []
    assert decode(tmp_path / "a.wav", encoded(np.zeros_like(music), "WAV"))[1] == []
    eight = np.zeros((8, RATE), dtype=np.float32)
    eight[2] = music[0, :RATE]
    assert decode(tmp_path / "a.wav", encoded(eight, "WAV"))[1] == [ONE_SOUNDS]


@pytest.mark.parametrize("form", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_16")])
@pytest.mark.parametrize("count", [3, 4, 5, 6, 8])
def test_left_and_right_are_found_in_every_order(tmp_path: Path, form: tuple[str, str], count: int):
    rate = 48_000
    time_ = np.arange(2 * rate) / rate
    tones = [0.3 * np.sin(2 * np.pi * hz * time_) for hz in (220, 440, 880)]
    order = [0, 2, 1] if form[0] == "OGG" and count in (3, 5, 6, 7, 8) else [0, 1, 2]
    frames = np.zeros((count, 2 * rate), dtype=np.float32)
    for place, which in enumerate(order):
        frames[place] = tones[which]
    path = tmp_path / "surround"
    path.write_bytes(encoded(frames, *form, sample_rate=rate))
    stereo, mono = (read_audio(path, sample_rate=rate, channels=channels) for channels in (2, 1))

    def level(waveform: np.ndarray, hz: float) -> float:
        spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
        return float(spectrum[round(hz * len(waveform) / rate)])

    if count != 4:  # of four channels the third is rear left
        assert level(stereo[0], 880) == pytest.approx(level(stereo[1], 880), rel=0.05)
    assert level(stereo[1], 220) < 0.03 * level(stereo[0], 220)
    assert level(stereo[0], 440) < 0.03 * level(stereo[1], 440)
    assert level(mono[0], 220) == pytest.approx(level(mono[0], 440), rel=0.05)
    assert level(mono[0], 220) == pytest.approx(level(mono[0], 880), rel=0.05)


def test_the_end_of_a_file_is_read_without_holding_all_of_it(tmp_path: Path, music: np.ndarray):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(music, "WAV"))
    whole = read_audio(path, sample_rate=16_000, channels=1)
    log = DecodeLog()
    tail = read_audio(path, sample_rate=16_000, channels=1, last_seconds=1.5, log=log)
    assert np.array_equal(tail, whole[:, -24_000:])
    assert log.samples == whole.shape[1]
    assert np.array_equal(read_audio(path, sample_rate=16_000, channels=1, last_seconds=99), whole)


def test_a_header_that_points_anywhere_is_no_traceback(tmp_path: Path, music: np.ndarray):
    plain = {form: encoded(music[:, :RATE], form, "PCM_16") for form in ("AU", "AIFF", "CAF", "WAV", "RF64")}
    ssnd = plain["AIFF"].index(b"SSND") + 8
    cases = [put(plain["AU"], 4, struct.pack(">I", value)) for value in (0, 5, 11, 2**31, 2**32 - 1)]
    cases += [put(plain["AIFF"], ssnd, struct.pack(">I", value)) for value in (2**31, 2**32 - 1)]
    random = np.random.default_rng(0)
    for data in plain.values():
        for _ in range(20):
            cases.append(put(data, int(random.integers(4, 60)), random.bytes(4)))
    for data in cases:
        try:
            waveform, _ = decode(tmp_path / "a.wav", data)
        except AudioError:
            continue
        assert np.isfinite(waveform).all() and waveform.shape[1] < 60 * RATE


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wavs_one_behind_the_other_are_all_decoded(tmp_path: Path, subtype: str) -> None:
    pieces = [0.5 * make_music(seed, 3.0) for seed in range(3)]
    data = b""
    for piece in pieces:
        soundfile.write(tmp_path / "one.wav", piece.T, 16_000, subtype=subtype)
        data += (tmp_path / "one.wav").read_bytes()
    (tmp_path / "all.wav").write_bytes(data)
    log = DecodeLog()
    read = read_audio(tmp_path / "all.wav", sample_rate=16_000, channels=1, log=log)
    assert read.shape == (1, 144_000)
    assert np.abs(read - np.concatenate(pieces, axis=1)).max() < 1e-4
    assert log.notes == [JOINED]


def test_every_chunk_of_samples_in_a_wav_is_decoded(tmp_path: Path) -> None:
    pieces = [0.5 * make_music(seed, 3.0) for seed in range(2)]
    soundfile.write(tmp_path / "a.wav", pieces[0].T, 16_000, subtype="PCM_16")
    samples = np.rint(pieces[1][0] * 32_767).astype("<i2").tobytes()
    whole = (tmp_path / "a.wav").read_bytes() + b"note" + struct.pack("<I", 3) + b"abc\0"
    whole += b"data" + struct.pack("<I", len(samples)) + samples
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(whole) - 8) + whole[8:])
    log = DecodeLog()
    read = read_audio(tmp_path / "a.wav", sample_rate=16_000, channels=1, log=log)
    assert read.shape == (1, 96_000)
    assert np.abs(read - np.concatenate(pieces, axis=1)).max() < 1e-4
    assert log.notes == [JOINED]


def test_a_wav_with_seven_bits_in_two_bytes_is_read_by_its_bytes(tmp_path: Path, samples: bytes) -> None:
    data = bytearray(wav(samples, len(samples)))
    data[34:36] = struct.pack("<H", 7)
    waveform, notes = decode(tmp_path / "a.wav", bytes(data))
    assert waveform.shape == (2, SECONDS * RATE) and notes == []
    assert np.array_equal(waveform, np.frombuffer(samples, "<i2").reshape(-1, 2).T / np.float32(32768))


def test_bits_of_coded_sound_are_left_alone(tmp_path: Path, samples: bytes) -> None:
    from piano.foundation.sound_lengths import read_layout
    from piano.foundation.sound_source import SourceFile

    for tag, is_mended in ((1, True), (0x45, False)):  # PCM; G.726, whose 4 bits do fill their bytes
        data = bytearray(wav(samples, len(samples)))
        data[20:22], data[34:36] = struct.pack("<H", tag), struct.pack("<H", 4)
        (tmp_path / "a.wav").write_bytes(data)
        with SourceFile(tmp_path / "a.wav") as source:
            layout = read_layout(source.whole())
        assert layout is not None and layout.is_mended == is_mended


def test_aiffs_one_behind_the_other_are_all_decoded(tmp_path: Path, music: np.ndarray) -> None:
    one, other = encoded(music, "AIFF"), encoded(music[:, : RATE // 2], "AIFF", "PCM_24")
    waveform, notes = decode(tmp_path / "a.aiff", one + other + one)
    assert notes == ["several recordings in one file"]
    assert waveform.shape[1] == 2 * music.shape[1] + RATE // 2
    assert np.abs(waveform[:, : music.shape[1]] - music).max() < 1e-4
    assert np.abs(waveform[:, -music.shape[1] :] - music).max() < 1e-4
