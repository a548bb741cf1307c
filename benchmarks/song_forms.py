"""Do pieces of three minutes come back to their theme, keep their beat and key, and come to an end, as real ones do?

    musigan render-scores --scores runs/scores/validation --max-seconds 240 --format flac --output WHOLE_PIECES
    python benchmarks/song_forms.py --real WHOLE_PIECES --count 20

Recurrence is the share of a piece that comes again: of the moments, so many have another one, 20 s or more away, from
which on the pitch classes of four seconds are more alike than those of 19 in 20 moments of different real pieces are.
Drift: each piece is asked for a tempo, and where the beat lies in stretches of 12 s is held against where it lies in
all of the piece. Ends: the level of the last seconds against the piece's own, and how many notes begin in the last
five seconds against those before. Real ends are cut as compositions are, half a second after the last sound.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.evaluation.descriptors import Clip
from piano.evaluation.spectra import MEL_HOP_SECONDS, PITCH_HOP_SECONDS, onset_strength, pitch_magnitudes, unit_level
from piano.evaluation.tempo_and_key import key_of
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.player import Player

Array = NDArray[np.floating]
RATE = 16_000
MOMENT_SECONDS, STRETCH_SECONDS, LEAST_LAG_SECONDS = 0.25, 4.0, 20.0
BY_CHANCE = 0.05
"""Share of the moments of a piece that come again in another piece: so high is the bar."""
SEED = 0
DRIFT_STRETCH_SECONDS, DRIFT_MS = 12.0, 30.0
KEY_STRETCH_SECONDS = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", default="shipped", help="(default: %(default)s)")
    parser.add_argument("--real", type=Path, required=True, help="whole pieces never learned from (required)")
    parser.add_argument("--seconds", type=float, default=180.0, help="of a piece (default: %(default)g)")
    parser.add_argument("--count", type=int, default=20, help="pieces (default: %(default)s)")
    options = parser.parse_args(argv)
    real = [read_audio(path, sample_rate=RATE, channels=1)[0] for path in find_audio_files(options.real)]
    long = [sound[: round(options.seconds * RATE)] for sound in real if len(sound) > 5 / 6 * options.seconds * RATE]
    bar = bar_of(long)
    band = np.quantile([recurrence(sound, bar) for sound in long], [0.05, 0.5, 0.95])
    print(f"{len(long)} real pieces: recurrence {band[1]:.2f} ({band[0]:.2f} to {band[2]:.2f}), bar {bar:.3f}")
    ends = [ending(trimmed(sound)) for sound in real if len(sound) < 235 * RATE]
    limits = np.quantile(ends, [0.05, 0.95], axis=0)
    told_ends(f"{len(ends)} real ends", ends, limits)
    player = Player(options.checkpoints)
    for name, wish in (("free", {"form": "free", "ending": False}), ("returning", {"form": "returning"})):
        began = time.perf_counter()
        sounds, tempi = composed(player, options, wish)
        taken = time.perf_counter() - began
        shares = np.array([recurrence(sound, bar) for sound in sounds])
        inside = np.mean((shares >= band[0]) & (shares <= band[2]))
        print(f"{name}: {options.count * options.seconds / taken:.1f} times real time")
        print(f"  recurrence {np.median(shares):.2f} ({shares.min():.2f} to {shares.max():.2f}), inside {inside:.0%}")
        errors = np.concatenate([drift(sound, tempo) for sound, tempo in zip(sounds, tempi, strict=True)])
        print(f"  beat: {np.mean(errors < DRIFT_MS):.0%} within {DRIFT_MS:g} ms, median {np.median(errors):.0f} ms")
        print(f"  key of stretches of {KEY_STRETCH_SECONDS:g} s against the whole: {kept_keys(sounds):.0%} the same")
        told_ends("  ends", [ending(trimmed(sound)) for sound in sounds], limits)
    print(f"real: key of stretches against the whole: {kept_keys(long):.0%} the same")
    return 0


def composed(player: Player, options: argparse.Namespace, wish: dict) -> tuple[list[Array], list[float]]:
    """Pieces at RATE in one channel, and the tempo that each was asked for."""
    slowest, fastest = (60.0 * beat for beat in player.generator.style.slowest_and_fastest())
    tempi = np.random.default_rng(SEED).uniform(slowest, fastest, options.count).tolist()
    sounds = []
    for item, tempo in enumerate(tqdm(tempi, unit="piece")):
        made = player.generate(options.seconds, seed=SEED, item=item, tempo=tempo, **wish)
        sounds.append(soxr.resample(np.asarray(made).mean(axis=0), player.sample_rate, RATE))
    return sounds, tempi


def stretches(sound: Array) -> Array:
    """Pitch classes of every stretch, about their mean, of length 1 [shape=(moments, numbers)]."""
    pitch = pitch_magnitudes(unit_level(sound), RATE, 12, PITCH_HOP_SECONDS, 0.5)
    each = round(MOMENT_SECONDS / PITCH_HOP_SECONDS)
    classes = np.stack([pitch[:, first::12].sum(axis=1) for first in range(12)], axis=1)
    moments = np.sqrt(classes[: len(classes) // each * each].reshape(-1, each, 12).mean(axis=1))
    moments -= moments.mean(axis=1, keepdims=True)
    frames = round(STRETCH_SECONDS / (each * PITCH_HOP_SECONDS))
    wide = np.lib.stride_tricks.sliding_window_view(moments, frames, axis=0).reshape(len(moments) - frames + 1, -1)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-9)


def bar_of(pieces: list[Array]) -> float:
    """How alike moments of different pieces are, but for BY_CHANCE of them."""
    wide = [stretches(sound) for sound in pieces]
    best = [(one @ other.T).max(axis=1) for one, other in zip(wide, wide[1:] + wide[:1], strict=True)]
    return float(np.quantile(np.concatenate(best), 1.0 - BY_CHANCE))


def recurrence(sound: Array, bar: float) -> float:
    """The share of a piece that comes again."""
    wide = stretches(sound)
    alike, place = wide @ wide.T, np.arange(len(wide))
    alike[np.abs(place[:, None] - place) < LEAST_LAG_SECONDS / MOMENT_SECONDS] = -1.0
    return float((alike.max(axis=1) > bar).mean())


def drift(sound: Array, tempo: float) -> Array:
    """How far, in ms, the beat lies in each stretch from where it lies in all of the piece."""
    curve = onset_strength(Clip(sound[None], RATE).log_mel).astype(np.float64)
    curve = curve - curve.mean()
    beat = curve * np.exp(-2j * np.pi * tempo / 60.0 * np.arange(len(curve)) * MEL_HOP_SECONDS)
    length = round(DRIFT_STRETCH_SECONDS / MEL_HOP_SECONDS)
    parts = beat[: len(beat) // length * length].reshape(-1, length).sum(axis=1)
    return np.abs(np.angle(parts * np.conj(parts.sum()))) / (2 * np.pi) * 60_000.0 / tempo


def kept_keys(pieces: list[Array]) -> float:
    """The share of stretches that have the key of the whole piece, its relative or a fifth."""
    length, same = round(KEY_STRETCH_SECONDS * RATE), []
    for sound in pieces:
        whole = key_of(Clip(sound[None], RATE)).key
        for begin in range(0, len(sound) - length + 1, length):
            same.append(whole.relation(key_of(Clip(sound[None, begin : begin + length], RATE)).key) != "other")
    return float(np.mean(same))


def levels_of(sound: Array, seconds: float) -> Array:
    """Level in dB of every so many seconds, from the end backwards."""
    length = round(seconds * RATE)
    count = len(sound) // length
    return 10 * np.log10(np.square(sound[len(sound) - count * length :]).reshape(count, length).mean(axis=1) + 1e-10)


def trimmed(sound: Array) -> Array:
    """A piece up to half a second after its last sound."""
    levels = levels_of(sound, 0.1)
    silent = len(levels) - 1 - int(np.flatnonzero(levels > np.median(levels) - 45.0)[-1])
    return sound[: len(sound) - max(silent - 5, 0) * RATE // 10]


def ending(sound: Array) -> list[float]:
    """Level of the last three half seconds against the piece's own in dB, and onsets of the last 5 s against before."""
    levels = levels_of(sound, 0.5)
    onsets = [
        onset_strength(Clip(part[None], RATE).log_mel).mean() for part in np.split(sound[-20 * RATE :], [15 * RATE])
    ]
    return [*(levels[-4:-1] - np.median(levels)).tolist(), float(onsets[1] / max(onsets[0], 1e-9))]


def told_ends(name: str, ends: list[list[float]], limits: Array) -> None:
    """Medians, and how many lie within nine tenths of the real ones in loudness and in onsets."""
    found = np.array(ends)
    softer = np.mean((found[:, 1:3] >= limits[0, 1:3]) & (found[:, 1:3] <= limits[1, 1:3]), axis=0).min()
    calmer = np.mean((found[:, 3] >= limits[0, 3]) & (found[:, 3] <= limits[1, 3]))
    levels = ", ".join(f"{level:.0f}" for level in np.median(found[:, :3], axis=0))
    print(f"{name}: {levels} dB, onsets {np.median(found[:, 3]):.2f}; in the real band {softer:.0%} and {calmer:.0%}")


if __name__ == "__main__":
    raise SystemExit(main())
