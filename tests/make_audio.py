"""Small synthetic music for tests and benchmarks: notes with harmonics, different for every seed; and plain tones."""

from pathlib import Path

import numpy as np
import soundfile

from piano.foundation.audio_io import write_audio

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def make_music(seed: int, seconds: float, sample_rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """A melody with a bass, drawn from a seed: no two seeds sound alike, and no part of one repeats.

    Returns
    -------
    np.ndarray [shape=(channels, samples)]
        float32 within [-1, 1]; channels differ in balance.
    """
    random = np.random.default_rng(seed)
    count = round(seconds * sample_rate)
    waveform = np.zeros((channels, count + 2 * sample_rate), dtype=np.float32)
    tempo = random.uniform(0.12, 0.4)
    start = 0.0
    while start < seconds:
        length = float(random.choice([1, 1, 2, 3])) * tempo
        for octave in (36, 60, 72):
            if random.random() < 0.7:
                pitch = octave + 12 * random.integers(0, 2) + SCALE[random.integers(0, 7)]
                note = _note(440.0 * 2 ** ((pitch - 69) / 12), 1.5 * length, sample_rate)
                balance = random.uniform(0.5, 1.0, size=(channels, 1)).astype(np.float32)
                begin = round(start * sample_rate)
                end = min(begin + len(note), waveform.shape[1])
                waveform[:, begin:end] += balance * note[: end - begin]
        start += length
    waveform = waveform[:, :count]
    return waveform * np.float32(0.7 / max(1e-9, float(np.abs(waveform).max(initial=0.0))))


def _note(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    time = np.arange(round(seconds * sample_rate), dtype=np.float32) / sample_rate
    partials = [k for k in range(1, 5) if k * frequency < sample_rate / 2]
    tone = sum(np.sin(2 * np.pi * k * frequency * time) / k for k in partials)
    return (tone * np.exp(-4.0 * time / max(seconds, 1e-3)) * np.minimum(1.0, 200.0 * time)).astype(np.float32)


def tone(
    hertz: float, seconds: float = 3.0, sample_rate: int = 16_000, channels: int = 1, *, level: float = 0.5
) -> np.ndarray:
    """A sine of amplitude `level`, float32 [shape=(channels, samples)]."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.tile((level * np.sin(2 * np.pi * hertz * time)).astype(np.float32), (channels, 1))


def write_music(path: Path, seed: int, seconds: float, sample_rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """Write `make_music` to a file whose suffix chooses the format; returns the waveform."""
    waveform = make_music(seed, seconds, sample_rate, channels)
    write_audio(path, waveform, sample_rate)
    return waveform


def write_float_wav(path: Path, waveform: np.ndarray, sample_rate: int = 16_000) -> None:
    """Write samples as they are, beyond full scale and not finite ones included; shape (channels, samples)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T.astype(np.float32), sample_rate, subtype="FLOAT")
