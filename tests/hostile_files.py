"""Files that nobody should trust, and the sentence with which each is refused.

    python -m tests.hostile_files > docs/hostile-files.md

Every file is made here, byte by byte, and given to the command or reader that a user would give it to. Each tries to
run a program, to take all memory, to steer the terminal, or just to break the reader.
"""

import contextlib
import dataclasses
import io
import json
import os
import pickle
import re
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from safetensors.torch import save as safetensors_bytes

from data_prep import create_dataset
from piano import generate_music, reproduce
from piano.config_reader import DEFAULT_CONFIG, load_config_from_yaml
from piano.foundation.audio_io import read_audio, write_audio
from piano.foundation.checkpoint_format import FORMAT_VERSION
from piano.foundation.dataset_format import manifest_path, open_pairs, set_path
from piano.foundation.errors import run_command
from piano.foundation.prepared_song import ChunkEntry, SongEntry
from piano.foundation.receipt import Receipt
from tests.tiny_run import write_dataset

MARK = "it_ran"
"""A file of this name in the current folder would be the trace of a program that was run."""


class Attack:
    """An object whose pickle runs a program when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}",)


class Refusal(NamedTuple):
    """What became of a hostile file."""

    kind: str
    attack: str
    status: int
    said: str
    """All that came out on stderr."""


class Opened(NamedTuple):
    """A way to give a file to the program: returns the exit status."""

    kind: str
    path: Callable[[Path], Path]
    """Where the file must lie, inside a folder."""
    give: Callable[[Path], int]


def generate(folder: Path) -> int:
    """`musigan generate` with the model of a folder."""
    place = ["--checkpoints", str(folder), "--output", str(folder / "out")]
    return generate_music.main([*place, "--epoch", "latest", "--device", "cpu"])


CHECKPOINT = Opened("checkpoint (`.pt`)", lambda folder: folder / "generator_epoch_1.pt", generate)
SHIPPED = Opened("model (`.safetensors`)", lambda folder: folder / "generator.safetensors", generate)
PAIRS = Opened(
    "data set (`.npy`)",
    lambda folder: set_path(folder, "training"),
    lambda folder: run_command(lambda: (open_pairs(folder, "training"), None)[1]),
)
MANIFEST = Opened("manifest (`.json`)", manifest_path, PAIRS.give)
PREPARED = Opened(
    "prepared folder (`manifest.json`)",
    manifest_path,
    lambda folder: create_dataset.main(["--input", str(folder), "--output", str(folder / "out")]),
)
SETTINGS = Opened(
    "settings (`.yaml`)",
    lambda folder: folder / "config.yaml",
    lambda folder: run_command(lambda: (load_config_from_yaml(folder / "config.yaml"), None)[1]),
)
MUSIC = Opened(
    "sound",
    lambda folder: folder / "sound.mp3",
    lambda folder: run_command(lambda: (read_audio(folder / "sound.mp3", sample_rate=8000, channels=1), None)[1]),
)
SOUND = Opened(
    "receipt in a sound",
    lambda folder: folder / "sound.wav",
    lambda folder: reproduce.main([str(folder / "sound.wav")]),
)


def torch_bytes(value: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def checkpoint(**changes: Any) -> bytes:
    """A checkpoint that is right but for the changes."""
    content = {
        "format_version": FORMAT_VERSION,
        "role": "generator",
        "epoch": 1,
        "keywords": {"n_fft": 512},
        "model": {"weight": torch.zeros(2)},
        "average": None,
        "optimizers": {},
        "run": {},
    }
    return torch_bytes({**content, **changes})


def sparse() -> torch.Tensor:
    """One number in a table of 10^12."""
    with torch.sparse.check_sparse_tensor_invariants():
        return torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**6, 10**6))


def deflated(data: bytes, *, more: int = 0) -> bytes:
    """A zip archive with the same members, compressed, and one of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        if more:
            new.writestr("archive/data/9", bytes(more))
    return stream.getvalue()


def script_archive() -> bytes:
    """What marks a TorchScript program."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("constants.pkl", "data.pkl"):
            archive.writestr(f"archive/{name}", pickle.dumps(()))
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def npy(header: str | dict[str, Any], data: bytes = b"", *, version: bytes = b"\x01\x00") -> bytes:
    """A .npy file with any header."""
    text = (header if isinstance(header, str) else repr(header)).encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def objects() -> bytes:
    """An array of Python objects, one of which runs a program."""
    stream = io.BytesIO()
    np.save(stream, np.array([Attack()], dtype=object), allow_pickle=True)
    return stream.getvalue()


def npz() -> bytes:
    """An archive of arrays under the name of one."""
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


def manifest(**changes: Any) -> bytes:
    """A data set's manifest that is right but for the changes."""
    with tempfile.TemporaryDirectory() as name:
        values = json.loads(manifest_path(write_dataset(Path(name))).read_text())
    return json.dumps({**values, **changes}).encode()


def prepared(*, settings: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A prepared folder's manifest with one song that is right but for the changes."""
    song = SongEntry(
        source="song.mp3",
        size=10,
        mtime_ns=0,
        sha256="ab" * 32,
        folder="song-12345678",
        source_sample_rate=16_000,
        source_channels=1,
        samples=32_000,
        seconds=2.0,
        loudness_db=-18.0,
        peak_db=-1.0,
        gain_db=0.0,
        silence_share=0.0,
        group="song.mp3",
        chunks=(ChunkEntry(file="chunk_0000.npy", start_sample=0, samples=32_000),),
    )
    values = {
        "version": 1,
        "settings": {
            "sample_rate": 16_000,
            "channels": 1,
            "chunk_seconds": 120.0,
            "min_seconds": 1.0,
            **(settings or {}),
        },
        "music_folder": "/music",
        "songs": [{**dataclasses.asdict(song), **changes}],
        "left_out": [],
    }
    return json.dumps(values).encode()


def chunks(**changes: Any) -> list[dict[str, Any]]:
    """The one chunk of a song."""
    return [{"file": "chunk_0000.npy", "start_sample": 0, "samples": 32_000, **changes}]


def safetensors(**metadata: str) -> bytes:
    """A model file with any header."""
    fields = {"format_version": "1", "role": "generator", "epoch": "1", "keywords": '{"n_fft": 512}'}
    return safetensors_bytes({"weight": torch.zeros(2)}, {**fields, **metadata})


def settings(text: str) -> bytes:
    """config.yaml with other values: `a.b: value` lines in YAML replace what it says."""
    values = yaml.safe_load(DEFAULT_CONFIG.read_text(encoding="utf-8"))
    for name, value in yaml.safe_load(text).items():
        *sections, last = str(name).split(".") if isinstance(name, str) else [name]
        inside = values
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[last] = value
    return yaml.safe_dump(values, sort_keys=False).encode()


def sound(comment: str | None, *, seconds: float = 0.5) -> bytes:
    """A WAV file with a comment."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sound.wav"
        write_audio(
            path,
            np.zeros((1, round(8000 * seconds)), np.float32),
            8000,
            metadata={"comment": comment} if comment is not None else {},
        )
        return path.read_bytes()


def wav_header(*, rate: int, channels: int = 1, samples: int = 600) -> bytes:
    """A WAV file of silence whose header says anything."""
    block = 2 * channels
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * block % 2**32, block, 16)
    data = struct.pack("<I", samples) + bytes(samples)
    return b"RIFF" + struct.pack("<I", 36 + samples) + b"WAVEfmt " + form + b"data" + data


def receipt(**changes: Any) -> str:
    """A receipt that is right but for the changes."""
    values = Receipt(
        kind="sample",
        model="0" * 64,
        folder="nowhere",
        epoch=1,
        seed=0,
        item=0,
        seconds=0.5,
        steps=2,
        phase_iterations=2,
        device="cpu",
        dtype="float32",
        threads=1,
        versions={},
    ).model_dump()
    return json.dumps({**values, **changes})


NUMBERS = {"descr": "<f4", "fortran_order": False}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
)

FILES: list[tuple[Opened, str, Callable[[], bytes]]] = [
    (CHECKPOINT, "a pickle that calls `os.system`", lambda: pickle.dumps(Attack())),
    (CHECKPOINT, "the same in the first protocol, as text", lambda: pickle.dumps(Attack(), protocol=0)),
    (CHECKPOINT, "a checkpoint with `os.system` among its fields", lambda: checkpoint(run=Attack())),
    (CHECKPOINT, "a checkpoint with `os.system` among its weights", lambda: checkpoint(model={"weight": Attack()})),
    (CHECKPOINT, "a whole network, pickled with its class", lambda: torch_bytes(torch.nn.Linear(2, 2))),
    (CHECKPOINT, "an array of Python objects inside", lambda: checkpoint(run=np.array([Attack()], dtype=object))),
    (CHECKPOINT, "a TorchScript program", script_archive),
    (CHECKPOINT, "a compressed archive", lambda: deflated(checkpoint())),
    (CHECKPOINT, "a compressed archive that unpacks into 32 MB", lambda: deflated(checkpoint(), more=32_000_000)),
    (
        CHECKPOINT,
        "a weight of 10^12 numbers that are all the same one",
        lambda: checkpoint(model={"weight": torch.zeros(1).expand(10**6, 10**6)}),
    ),
    (CHECKPOINT, "a sparse weight of 10^12 numbers", lambda: checkpoint(model={"weight": sparse()})),
    (
        CHECKPOINT,
        "a weight without storage",
        lambda: checkpoint(model={"weight": torch.zeros(10**6, 10**6, device="meta")}),
    ),
    (CHECKPOINT, "keywords that ask for 10^9 layers", lambda: checkpoint(keywords={"n_fft": 512, "num_layers": 10**9})),
    (CHECKPOINT, "keywords that are words", lambda: checkpoint(keywords={"n_fft": "; rm -rf /"})),
    (CHECKPOINT, "weights that are words", lambda: checkpoint(model={"weight": "heavy"})),
    (CHECKPOINT, "weights in a list", lambda: checkpoint(model=[torch.zeros(2)])),
    (CHECKPOINT, "a version that is a word", lambda: checkpoint(format_version="2")),
    (CHECKPOINT, "a version from the future", lambda: checkpoint(format_version=99)),
    (CHECKPOINT, "an epoch that is a list", lambda: checkpoint(epoch=[1])),
    (CHECKPOINT, "a role with escape codes", lambda: checkpoint(role="\x1b]0;owned\x07")),
    (CHECKPOINT, "a discriminator under a generator's name", lambda: checkpoint(role="discriminator")),
    (CHECKPOINT, "a tensor and nothing else", lambda: torch_bytes(torch.zeros(2))),
    (CHECKPOINT, "lists, 100,000 deep", lambda: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    (CHECKPOINT, "a string that claims 2^31 letters", lambda: b"\x80\x02X\xff\xff\xff\x7fshort."),
    (CHECKPOINT, "a window of 10^6 frames", lambda: checkpoint(keywords={"latent_seq_len": 10**6})),
    (CHECKPOINT, "a window of 2 frames", lambda: checkpoint(keywords={"latent_seq_len": 2})),
    (CHECKPOINT, "a sample rate of 10^9", lambda: checkpoint(keywords={"sample_rate": 10**9})),
    (CHECKPOINT, "a sample rate of 0", lambda: checkpoint(keywords={"sample_rate": 0})),
    (
        CHECKPOINT,
        "heads that do not share their channels",
        lambda: checkpoint(keywords={"attention_channels": 32, "num_heads": 5}),
    ),
    (CHECKPOINT, "an epoch below 0", lambda: checkpoint(epoch=-3)),
    (CHECKPOINT, "10^9 sampling steps by default", lambda: checkpoint(model={"default_steps": torch.tensor(10**9)})),
    (CHECKPOINT, "a weight that is not finite", lambda: checkpoint(model={"weight": torch.tensor([1.0, torch.nan])})),
    (
        CHECKPOINT,
        "escape codes in the name of such a weight",
        lambda: checkpoint(model={"\x1b]0;owned\x07": torch.tensor(torch.inf)}),
    ),
    (CHECKPOINT, "cut in the middle", lambda: checkpoint()[:700]),
    (CHECKPOINT, "cut by a few bytes", lambda: checkpoint()[:-20]),
    (CHECKPOINT, "empty", lambda: b""),
    (CHECKPOINT, "a web page", lambda: b"<html>404 not found</html>" * 20),
    (CHECKPOINT, "noise", lambda: np.random.default_rng(0).bytes(5000)),
    (SHIPPED, "a pickle that calls `os.system`", lambda: pickle.dumps(Attack())),
    (SHIPPED, "a header of 2^62 bytes", lambda: struct.pack("<Q", 2**62) + b"{}"),
    (SHIPPED, "a tensor that lies beyond the file", lambda: safetensors().replace(b"[0,8]", b"[0,9]")),
    (SHIPPED, "keywords nested 100,000 deep", lambda: safetensors(keywords="[" * 100_000)),
    (SHIPPED, "keywords that ask for 10^9 layers", lambda: safetensors(keywords='{"num_layers": 1000000000}')),
    (SHIPPED, "an epoch of 10,000 digits", lambda: safetensors(epoch="9" * 10_000)),
    (SHIPPED, "an epoch below 0", lambda: safetensors(epoch="-1")),
    (SHIPPED, "a window of 10^6 frames", lambda: safetensors(keywords='{"latent_seq_len": 1000000}')),
    (SHIPPED, "a window of half a frame", lambda: safetensors(keywords='{"latent_seq_len": 0.5}')),
    (SHIPPED, "a sample rate of 2^31 - 1", lambda: safetensors(keywords='{"sample_rate": 2147483647}')),
    (
        SHIPPED,
        "10^9 sampling steps by default",
        lambda: safetensors_bytes(
            {"default_steps": torch.tensor(10**9)},
            {"format_version": "1", "role": "generator", "epoch": "1", "keywords": "{}"},
        ),
    ),
    (SHIPPED, "a role with escape codes", lambda: safetensors(role="\x1b]0;owned\x07")),
    (
        SHIPPED,
        "escape codes in the name of a weight that is not finite",
        lambda: safetensors_bytes(
            {"\x1b]0;owned\x07": torch.tensor(torch.nan)},
            {"format_version": "1", "role": "generator", "epoch": "1", "keywords": "{}"},
        ),
    ),
    (SHIPPED, "cut in the middle", lambda: safetensors()[:100]),
    (PAIRS, "Python objects, one of which calls `os.system`", objects),
    (PAIRS, "a header that calls `os.system`", lambda: npy(f"__import__('os').system('touch {MARK}')")),
    (PAIRS, "a header that claims 10^15 numbers", lambda: npy({**NUMBERS, "shape": (10**15,)}, bytes(64))),
    (PAIRS, "a shape whose product overflows", lambda: npy({**NUMBERS, "shape": (2**62, 4)}, bytes(64))),
    (PAIRS, "a negative shape", lambda: npy({**NUMBERS, "shape": (-1, 2)}, bytes(64))),
    (PAIRS, "a kind of number that does not exist", lambda: npy({**NUMBERS, "descr": "<q99", "shape": (1,)})),
    (PAIRS, "numbers of another kind", lambda: npy({**NUMBERS, "descr": "<i2", "shape": (2,)}, bytes(4))),
    (PAIRS, "a header of brackets, 9,000 deep", lambda: npy("(" * 9000)),
    (PAIRS, "a header that never ends", lambda: b"\x93NUMPY\x01\x00\xff\xff{'descr'"),
    (PAIRS, "a version that does not exist", lambda: npy({**NUMBERS, "shape": (1,)}, version=b"\x09\x00")),
    (PAIRS, "an archive of arrays under the name of one", npz),
    (PAIRS, "empty", lambda: b""),
    (MANIFEST, "nested 100,000 deep", lambda: b"[" * 100_000),
    (MANIFEST, "a number of 10,000 digits", lambda: b'{"version": ' + b"9" * 10_000 + b"}"),
    (MANIFEST, "counts that are words", lambda: manifest(pairs={"training": "many", "validation": 2})),
    (MANIFEST, "a split that is missing", lambda: manifest(pairs={"training": 6})),
    (MANIFEST, "negative counts", lambda: manifest(segment_samples=-1)),
    (MANIFEST, "more pairs than the file holds", lambda: manifest(pairs={"training": 10**9, "validation": 2})),
    (MANIFEST, "a list", lambda: b"[1, 2]"),
    (MANIFEST, "bytes that are no text", lambda: b"\xff\xfe\x00{"),
    (PREPARED, "nested 100,000 deep", lambda: b"[" * 100_000),
    (PREPARED, "a song in a folder elsewhere", lambda: prepared(folder="/etc")),
    (PREPARED, "a song in the folder above", lambda: prepared(folder="..")),
    (PREPARED, "a chunk elsewhere", lambda: prepared(chunks=chunks(file="../../private.npy"))),
    (PREPARED, "a chunk on another drive", lambda: prepared(chunks=chunks(file="C:private.npy"))),
    (PREPARED, "10^15 samples", lambda: prepared(samples=10**15, chunks=chunks(samples=10**15))),
    (PREPARED, "more samples than the chunks hold", lambda: prepared(samples=10**9)),
    (PREPARED, "-5 samples", lambda: prepared(samples=-5)),
    (PREPARED, "samples that are a word", lambda: prepared(samples="many")),
    (PREPARED, "a rate that is a word", lambda: prepared(settings={"sample_rate": "high"})),
    (PREPARED, "a rate of 10^9", lambda: prepared(settings={"sample_rate": 10**9})),
    (PREPARED, "-1 channels", lambda: prepared(settings={"channels": -1})),
    (PREPARED, "chunks of infinite length", lambda: prepared(settings={"chunk_seconds": float("inf")})),
    (PREPARED, "a chunk that begins late", lambda: prepared(chunks=chunks(start_sample=7))),
    (PREPARED, "no chunks", lambda: prepared(chunks=[])),
    (PREPARED, "no group", lambda: prepared(group=None)),
    (PREPARED, "a hash that is none", lambda: prepared(sha256="../x")),
    (PREPARED, "a version from the future", lambda: prepared().replace(b'"version": 1', b'"version": 99')),
    (SETTINGS, "a tag that calls `os.system`", lambda: f"a: !!python/object/apply:os.system ['touch {MARK}']".encode()),
    (SETTINGS, "references that unfold into 9^12 values", lambda: BOMB.encode()),
    (SETTINGS, "a reference to itself", lambda: b"a: &a [*a]"),
    (SETTINGS, "nested 100,000 deep", lambda: b"a: " + b"[" * 100_000),
    (SETTINGS, "two million bytes", lambda: b"# nothing\n" * 200_000),
    (SETTINGS, "bytes that are no text", lambda: b"\xff\xfe\x00{"),
    (SETTINGS, "escape codes in a name", lambda: b'"\\e]0;owned\\a": 1'),
    (SETTINGS, "a value of a million letters", lambda: b"preset: tiny\nbatch_size: " + b"x" * 1_000_000),
    (SETTINGS, "a number for a name", lambda: settings("1: 2")),
    (SETTINGS, "a date for a name", lambda: settings("2020-01-01: 2")),
    (SETTINGS, "nothing for a name", lambda: settings("null: 2")),
    (SETTINGS, "presets in a list", lambda: settings("presets: [tiny]")),
    (SETTINGS, "a preset that is a number", lambda: settings("presets: {tiny: 7}")),
    (SETTINGS, "a list of names for a preset", lambda: settings("preset: [tiny]")),
    (SETTINGS, "a date that is none", lambda: b"a: !!timestamp never"),
    (SETTINGS, "a number of 100,000 parts", lambda: b"seed: 1" + b":1" * 100_000),
    (SETTINGS, "a seed beyond 63 bits", lambda: settings("seed: 18446744073709551616")),
    (SETTINGS, "a run without end", lambda: settings("minutes: .inf")),
    (SETTINGS, "an infinite learning rate", lambda: settings("stages.flow: {share: 1.0, learning_rate: .inf}")),
    (SETTINGS, "a loss weight that is NaN", lambda: settings("loss_weights.melody: .nan")),
    (SETTINGS, "a window of 4 samples", lambda: settings("model: {n_fft: 4}")),
    (SETTINGS, "10^9 layers", lambda: settings("model: {num_layers: 1000000000}")),
    (
        SETTINGS,
        "10,000 windows of the waveform",
        lambda: settings(f"discriminator: {{wave_windows: {[512] * 10_000}}}"),
    ),
    (SETTINGS, "10^30 threads", lambda: settings("runtime.threads: 1000000000000000000000000000000")),
    (SETTINGS, "a million processes", lambda: settings("runtime.devices: 1000000")),
    (SETTINGS, "a null character in a folder", lambda: settings('dataset_folder: "a\\0b"')),
    (SETTINGS, "a home folder of nobody", lambda: settings("dataset_folder: ~nosuchuser/x")),
    (SETTINGS, "shares of stages that do not exist", lambda: settings("finetune.shares: {nothing: 1.0}")),
    (
        SETTINGS,
        "no share for any stage",
        lambda: settings(
            "stages: {autoencoder: {share: 0}, flow: {share: 0}, judges: {share: 0}, ear: {share: 0}, "
            "professor: {share: 0}, joint: {share: 0}}"
        ),
    ),
    (MUSIC, "a rate of one sample a second", lambda: wav_header(rate=1)),
    (MUSIC, "a rate of 2^31 - 1 with 1,024 channels", lambda: wav_header(rate=2**31 - 1, channels=1024, samples=2048)),
    (MUSIC, "a header and no samples", lambda: wav_header(rate=44_100, samples=0)),
    (MUSIC, "200,000 empty tags", lambda: b"ID3\x03\0\0\0\0\0\0" * 200_000),
    (MUSIC, "empty tags with a zero between them", lambda: b"ID3\x03\0\0\0\0\0\0\0" * 100_000),
    (MUSIC, "a playlist that names a file of the system", lambda: b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n"),
    (MUSIC, "a list for ffmpeg that names a file of the system", lambda: b"ffconcat version 1.0\nfile /etc/passwd\n"),
    (MUSIC, "a FLAC header and no frames", lambda: b"fLaC\x80\0\0\x22" + bytes(34)),
    (MUSIC, "an Ogg page that claims more than the file holds", lambda: b"OggS\0\2" + bytes(20) + b"\xff" * 200),
    (MUSIC, "random bytes", lambda: np.random.default_rng(0).bytes(50_000)),
    (SOUND, "no receipt", lambda: sound(None)),
    (SOUND, "a receipt nested 2,000 deep", lambda: sound("[" * 2_000)),
    (SOUND, "a comment of 100,000 letters", lambda: sound("x" * 100_000)),
    (SOUND, "a receipt of words", lambda: sound(receipt(steps="many"))),
    (SOUND, "10^9 steps", lambda: sound(receipt(steps=10**9))),
    (SOUND, "10,000 steps", lambda: sound(receipt(steps=10_000))),
    (SOUND, "10,000 phase iterations", lambda: sound(receipt(phase_iterations=10_000))),
    (SOUND, "a seed of 1,000 digits", lambda: sound(receipt(seed=10**1000))),
    (SOUND, "a claim of 100 hours", lambda: sound(receipt(seconds=360_000.0))),
    (SOUND, "a model in a folder of the system", lambda: sound(receipt(folder="/../../etc"))),
    (
        SOUND,
        "a source in a folder of the system",
        lambda: sound(receipt(source={"name": "/../../etc/passwd", "sha256": "0" * 64})),
    ),
    (SOUND, "a source that never ends", lambda: sound(receipt(source={"name": "/proc/kmsg", "sha256": "0" * 64}))),
    (
        SOUND,
        "a source above its folder",
        lambda: sound(receipt(source={"name": "../manifest.json", "sha256": "0" * 64})),
    ),
    (SOUND, "a model in the home folder of nobody", lambda: sound(receipt(folder="~nosuchuser/x"))),
    (SOUND, "escape codes for a folder", lambda: sound(receipt(folder="\x1b]0;owned\x07"))),
    (SOUND, "a page of text", lambda: b"This is no sound.\n" * 50),
]

NAMES = ["\x1b]0;owned\x07.wav", "two\nlines.wav", "undecodable \udcff.wav", "right\u202evaw.to.left"]
"""Names of files, of which none holds any sound."""


def refusals(folder: Path) -> Iterator[Refusal]:
    """Give every file to the program, each in a folder of its own inside this one."""
    for number, (opened, attack, make) in enumerate(FILES):
        place = folder / str(number)
        write_dataset(place, count=1) if opened in (PAIRS, MANIFEST) else place.mkdir()
        opened.path(place).write_bytes(make())
        yield refusal(opened.kind, attack, lambda opened=opened, place=place: opened.give(place))
    for number, name in enumerate(NAMES):
        place = folder / f"name{number}"
        place.mkdir()
        path = place / os.fsencode(name).decode("utf-8", "surrogateescape")
        path.write_bytes(b"no sound")
        yield refusal("name of a sound", f"`{ascii(name)[1:-1]}`", lambda path=path: reproduce.main([str(path)]))


def refusal(kind: str, attack: str, give: Callable[[], int]) -> Refusal:
    """What a reader said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = give()
    return Refusal(kind, attack, status, said.getvalue())


def main() -> int:
    """Print the page."""
    print(
        "# Hostile files\n\nMade and printed by `python -m tests.hostile_files`; `tests/test_hostile_files.py` "
        "holds every row to be true.\nNo file is ever unpickled: nothing in it can run. Each is refused with one "
        "sentence and exit status 2.\n"
    )
    kind = ""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for row in refusals(Path(name)):
            if row.kind != kind:
                kind = row.kind
                print(f"\n## {kind[0].upper()}{kind[1:]}\n\n| what it is | what is said |\n|---|---|")
            # Folders and addresses differ from one machine to the next.
            text = re.sub(rf"(--\w+ ){re.escape(name)}/\w+(?!/)", r"\1FOLDER", row.said.strip())
            text = re.sub(rf"{re.escape(name)}/\w+/?", "", text).replace("|", "\\|")
            print(f"| {row.attack} | {text} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
