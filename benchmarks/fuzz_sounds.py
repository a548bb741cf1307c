"""Prepare and read mutated sound files: nothing may be lost, nothing may end in a traceback or go on for ever.

    python benchmarks/fuzz_sounds.py [--count 400] [--seed 0] [--keep FOLDER]

Healthy songs of every format at hand are mutated (bits flipped, bytes cut out, put in, zeroed, repeated, numbers of the
header overwritten, files cut and joined) and prepared together with healthy ones. What must hold: status 0, no
traceback, a row for every file, every song where it says and as numbers of 16 bits, the healthy songs whole, no more
sound made of a file than its bytes can hold. Each file is then read once more as a prompt would be. The exit status is
1 if anything of that fails; --keep keeps the files that were to blame.
"""

import argparse
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from piano.foundation.audio_io import AUDIO_SUFFIXES, read_audio, write_audio  # noqa: E402
from piano.foundation.errors import AudioError  # noqa: E402
from piano.foundation.native_sound import find_ffmpeg  # noqa: E402
from piano.foundation.prepared_song import SHARDS_FOLDER  # noqa: E402
from tests.make_audio import make_music  # noqa: E402

SAMPLE_RATE, SECONDS = 16_000, 6.0
BATCH = 40
"""Files prepared by one command."""
LIMIT_SECONDS = 240.0
"""For one batch on a busy machine: beyond it, a file is taken to be endless."""
LARGEST_GROWTH = 400.0
"""Seconds of sound for a kilobyte of file: silence packs well, but not better than this."""
SNDFILE_KINDS = (
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "PCM_U8"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAVEX", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("flac", "FLAC", "PCM_24"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
)


class Mutant(NamedTuple):
    """A mutated file."""

    name: str
    what: str
    """Which mutation, for the table."""
    data: bytes


def healthy_files(random_source: random.Random) -> dict[str, bytes]:
    """Name -> bytes of a song in every format that can be written here."""
    made = {}
    for number, (suffix, container, subtype) in enumerate(SNDFILE_KINDS):
        if f".{suffix}" not in AUDIO_SUFFIXES:
            continue
        channels = 1 + number % 2
        rate = random_source.choice([8_000, 16_000, 24_000, 48_000])
        buffer = io.BytesIO()
        soundfile.write(buffer, make_music(number, SECONDS, rate, channels).T, rate, format=container, subtype=subtype)
        made[f"{number:02d}_{container}_{subtype}.{suffix}"] = buffer.getvalue()
    if find_ffmpeg() is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.m4a"
            write_audio(path, make_music(99, SECONDS, 48_000, 1), 48_000)
            made["99_MP4_AAC.m4a"] = path.read_bytes()
    return made


def place(data: bytes, draw: random.Random) -> int:
    """Anywhere in a file, its header as often as all the rest."""
    return draw.randrange(min(len(data), 128) if draw.random() < 0.5 else len(data))


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 4, 64])):
        changed[place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut_out(data: bytes, draw: random.Random) -> bytes:
    start = place(data, draw)
    return data[:start] + data[start + draw.choice([1, 2, 7, 512, 5000]) :]


def put_in(data: bytes, draw: random.Random) -> bytes:
    start = place(data, draw)
    return data[:start] + draw.randbytes(draw.choice([1, 3, 100, 4096])) + data[start:]


def zero(data: bytes, draw: random.Random) -> bytes:
    start, length = place(data, draw), draw.choice([4, 64, 4096])
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def repeat(data: bytes, draw: random.Random) -> bytes:
    start = place(data, draw)
    return data[:start] + data[start : start + draw.choice([16, 512, 9000])] * draw.choice([2, 20]) + data[start:]


def overwrite_number(data: bytes, draw: random.Random) -> bytes:
    start, width = draw.randrange(min(len(data), 96)), draw.choice([1, 2, 4, 8])
    value = draw.choice([0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, draw.randrange(2**31)])
    number = (value % 2 ** (8 * width)).to_bytes(width, draw.choice(["little", "big"]))
    return data[:start] + number + data[start + width :]


def cut_short(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def behead(data: bytes, draw: random.Random) -> bytes:
    return data[draw.randrange(len(data)) :]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": flip_bits,
    "bytes cut out": cut_out,
    "bytes put in": put_in,
    "zeroed": zero,
    "repeated": repeat,
    "number overwritten": overwrite_number,
    "cut short": cut_short,
    "beheaded": behead,
}


def make_mutants(healthy: dict[str, bytes], count: int, draw: random.Random) -> list[Mutant]:
    """Mutated songs, some mutated twice, some joined to another, some under another suffix."""
    mutants = []
    names = sorted(healthy)
    for number in range(count):
        origin = names[number % len(names)]
        kind = draw.choice([*MUTATIONS, "joined"])
        data = healthy[origin]
        if kind == "joined":
            data += healthy[draw.choice(names)]
        else:
            data = MUTATIONS[kind](data, draw)
        if draw.random() < 0.3 and data:
            data = MUTATIONS[draw.choice(list(MUTATIONS))](data, draw)
        suffix = Path(draw.choice(names) if draw.random() < 0.1 else origin).suffix
        mutants.append(Mutant(f"m{number:04d}_{Path(origin).stem}{suffix}", kind, data))
    return mutants


def prepare_batch(mutants: list[Mutant], healthy: dict[str, bytes], folder: Path, workers: int) -> list[str]:
    """Prepare mutants beside healthy songs; returns a sentence for everything that does not hold."""
    music, output = folder / "music", folder / "prepared"
    music.mkdir(parents=True)
    for name, data in healthy.items():
        (music / f"healthy_{name}").write_bytes(data)
    for mutant in mutants:
        (music / mutant.name).write_bytes(mutant.data)
    command = [
        sys.executable,
        str(ROOT / "data_prep" / "prepare_dataset.py"),
        str(music),
        "--output",
        str(output),
        "--sample-rate",
        str(SAMPLE_RATE),
        "--channels",
        "1",
        "--workers",
        str(workers),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return [f"endless: no end in {LIMIT_SECONDS:g} s with {', '.join(m.name for m in mutants)}"]
    if done.returncode or "Traceback" in done.stderr:
        return [f"status {done.returncode}: {done.stderr[-600:]}"]
    manifest = json.loads((output / "manifest.json").read_text(encoding="ascii"))
    wrong = []
    told = {song["source"]: song for song in manifest["songs"]}
    left_out = {entry["source"]: entry for entry in manifest["left_out"]}
    for path in music.iterdir():
        if path.name not in told and path.name not in left_out:
            wrong.append(f"lost: {path.name} has no row")
    for name, entry in left_out.items():
        if name.startswith("healthy_"):
            wrong.append(f"lost: {name} was left out: {entry['reason']} {entry['detail']}")
        elif entry["reason"] == "crashed":
            wrong.append(f"crashed: {name}: {entry['detail']}")
    for name, song in told.items():
        seconds = 0.0
        for chunk in song["chunks"]:
            stored = np.load(io.BytesIO((output / SHARDS_FOLDER / chunk["file"]).read_bytes()), allow_pickle=False)
            sound = stored[chunk["row"] : chunk["row"] + chunk["samples"]]
            seconds += len(sound) / SAMPLE_RATE
            if sound.dtype != np.int16 or len(sound) != chunk["samples"]:
                wrong.append(f"untrue: {name} does not lie where it says, as numbers of 16 bits")
        if name.startswith("healthy_") and abs(seconds - SECONDS) > 0.1:
            wrong.append(f"lost: {name} has {seconds:.2f} of {SECONDS:g} s")
        if seconds > 1 + LARGEST_GROWTH * (music / name).stat().st_size / 1000:
            wrong.append(f"untrue: {name} of {(music / name).stat().st_size} bytes became {seconds:.0f} s")
    return wrong


def read_as_prompt(mutant: Mutant, folder: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    path = folder / mutant.name
    path.write_bytes(mutant.data)
    try:
        sound = read_audio(path, sample_rate=SAMPLE_RATE, channels=2, max_seconds=30.0)
    except AudioError:
        return "refused"
    except Exception as error:  # whatever it is, a person would have seen a traceback
        return f"traceback: {mutant.name}: {type(error).__name__}: {error}"
    finally:
        path.unlink()
    return "read" if np.isfinite(sound).all() else f"untrue: {mutant.name} is not finite"


def fuzz(count: int, seed: int, *, workers: int, keep: Path | None = None) -> int:
    """Run everything; returns how much does not hold."""
    draw = random.Random(seed)
    healthy = healthy_files(draw)
    mutants = make_mutants(healthy, count, draw)
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, tqdm(total=count, unit="file", dynamic_ncols=True) as bar:
        for start in range(0, count, BATCH):
            batch, folder = mutants[start : start + BATCH], Path(scratch) / str(start)
            found = prepare_batch(batch, healthy, folder, workers)
            wrong += found
            for mutant in batch:
                answer = read_as_prompt(mutant, Path(scratch))
                tally[answer.split(":")[0]] += 1
                if ":" in answer:
                    wrong.append(answer)
            if keep is not None and found:
                keep.mkdir(parents=True, exist_ok=True)
                for mutant in batch:
                    if any(mutant.name in sentence for sentence in found):
                        (keep / mutant.name).write_bytes(mutant.data)
            shutil.rmtree(folder)
            bar.update(len(batch))
    kinds = Counter(mutant.what for mutant in mutants)
    print(f"{count} mutated sounds of {len(healthy)} formats, seed {seed}: {time.perf_counter() - started:.0f} s")
    print("mutations: " + ", ".join(f"{what} {number}" for what, number in sorted(kinds.items())))
    print("as a prompt: " + ", ".join(f"{what} {number}" for what, number in sorted(tally.items())))
    kinds_of_wrong = Counter(sentence.split(":")[0] for sentence in wrong)
    print("does not hold: " + (", ".join(f"{what} {n}" for what, n in kinds_of_wrong.items()) or "nothing"))
    for sentence in wrong:
        print(f"  {sentence}")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="mutated files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for files that were to blame (default: none)")
    options = parser.parse_args()
    return 1 if fuzz(options.count, options.seed, workers=options.workers, keep=options.keep) else 0


if __name__ == "__main__":
    raise SystemExit(main())
