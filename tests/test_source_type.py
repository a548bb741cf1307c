"""A made sound says in its receipt and in its container's own field that a machine made it; nothing else changes."""

import json
import struct
import subprocess
import wave
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from piano import generate_music
from piano.foundation.audio_io import read_audio
from piano.foundation.audio_writer import open_writer
from piano.foundation.ffmpeg_sound import find_ffmpeg
from piano.foundation.receipt import SOURCE_TYPES, Receipt, read_receipt
from piano.foundation.source_type import EDITED, MADE, packet
from piano.reproduce import main as reproduce
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import SAMPLE_RATE, tonal_pairs

XMP_FIELD = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def write(path: Path, *, source_type: str | None, samples: int = 9001, comment: str = "words") -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1, samples)).astype(np.float32)
    subtype = "PCM_24" if path.suffix == ".wav" else None  # an odd number of bytes
    metadata = {"comment": comment} if comment else {}
    with open_writer(path, 16_000, 1, metadata=metadata, subtype=subtype, source_type=source_type) as writer:
        writer.write(sound)


def riff_chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a WAV by name, which together are all of it."""
    assert data[:4] == b"RIFF" and struct.unpack("<I", data[4:8])[0] == len(data) - 8
    chunks, place = {}, 12
    while place < len(data):
        (size,) = struct.unpack("<I", data[place + 4 : place + 8])
        chunks[data[place : place + 4]] = data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    assert place == len(data)
    return chunks


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_the_field_changes_neither_sound_nor_comment(tmp_path: Path, suffix: str) -> None:
    for name, source_type in (("plain", None), ("told", MADE)):
        write(tmp_path / f"{name}{suffix}", source_type=source_type)
    plain, told = tmp_path / f"plain{suffix}", tmp_path / f"told{suffix}"
    np.testing.assert_array_equal(soundfile.read(plain)[0], soundfile.read(told)[0])
    np.testing.assert_array_equal(
        read_audio(plain, sample_rate=16_000, channels=1), read_audio(told, sample_rate=16_000, channels=1)
    )
    with soundfile.SoundFile(told) as file:
        assert file.comment == "words"
    assert MADE.encode() in told.read_bytes() and MADE.encode() not in plain.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [plain.name, told.name]


def test_a_wav_says_it_in_an_xmp_chunk_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, source_type=EDITED)
    chunks = riff_chunks(path.read_bytes())
    assert len(chunks[b"data"]) == 3 * 9001
    fields = [element.get(XMP_FIELD) for element in ElementTree.fromstring(chunks[b"_PMX"].decode()).iter()]
    assert EDITED in fields
    assert chunks[b"_PMX"] == packet(EDITED)
    with wave.open(str(path)) as file:
        assert file.getnframes() == 9001


@pytest.mark.parametrize("comment", ["words", ""])
@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_other_programs_read_it(tmp_path: Path, suffix: str, comment: str) -> None:
    program = find_ffmpeg()
    if program is None:
        pytest.skip("no ffmpeg program")
    path = tmp_path / f"a{suffix}"
    write(path, source_type=MADE, samples=3_000_000, comment=comment)  # more than is moved at once
    said = subprocess.run([program, "-i", path, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    lines = [line.split(":", 1) for line in said.splitlines() if line.strip().lower().startswith("digitalsourcetype")]
    assert {value.strip() for _, value in lines} == {MADE}
    assert "error" not in said.lower() and "invalid" not in said.lower()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(build(), 3, Path("model"), "generator")
    with open_writer(Path("prompt.wav"), SAMPLE_RATE, 1) as writer:
        writer.write(tonal_pairs(1, seed=5)[0, 0])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        ([], {"seed0_sample_0000": MADE}),
        (["--like", "prompt.wav"], {"like_prompt_seed0_sample_0000": MADE}),
        (
            ["--prompt", "prompt.wav"],
            {"prompt_seed0_sample_0000.continuation": MADE, "prompt_seed0_sample_0000.full": EDITED},
        ),
        (["--vary", "prompt.wav"], {"prompt_seed0_sample_0000.variation": EDITED}),
        (["--reconstruct", "prompt.wav"], {"prompt.reconstruction": EDITED}),
    ],
)
def test_every_kind_of_sound_says_what_it_is_and_is_reproduced(
    here: Path, arguments: list[str], types: dict[str, str]
) -> None:
    model = ["--checkpoints", "model", "--output", "out", "--device", "cpu", "--threads", "1", "--count", "1"]
    assert generate_music.main([*model, "--steps", "2", "--phase-iterations", "1", "--seconds", "1", *arguments]) == 0
    assert {path.stem for path in (here / "out").iterdir()} == set(types)
    for name, expected in types.items():
        path = Path("out") / f"{name}.wav"
        with soundfile.SoundFile(path) as file:
            assert json.loads(file.comment)["digital_source_type"] == expected
        assert riff_chunks(path.read_bytes())[b"_PMX"] == packet(expected)
        assert reproduce([str(path)]) == 0


def test_a_receipt_of_before_is_read_and_its_sound_is_made_again(here: Path) -> None:
    model = ["--checkpoints", "model", "--output", "out", "--device", "cpu", "--threads", "1", "--count", "1"]
    assert generate_music.main([*model, "--steps", "2", "--phase-iterations", "1", "--seconds", "1"]) == 0
    path = Path("out/seed0_sample_0000.wav")
    receipt = read_receipt(path)
    values = json.loads(receipt.text())
    del values["digital_source_type"]
    sound, rate = soundfile.read(path, dtype="int16")
    with soundfile.SoundFile("old.wav", "w", rate, 1, "PCM_16") as file:
        file.comment = json.dumps(values)
        file.write(sound)
    old = read_receipt(Path("old.wav"))
    assert old == receipt and old.is_same_sound(receipt) and old.digital_source_type == MADE
    assert reproduce(["old.wav"]) == 0


def test_every_kind_has_a_term_and_the_field_follows_the_kind(here: Path) -> None:
    kinds = Receipt.model_fields["kind"].annotation
    assert set(SOURCE_TYPES) == set(getattr(kinds, "__args__", ()))
    assert {uri.rpartition("/")[2] for uri in SOURCE_TYPES.values()} == {
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
    }
