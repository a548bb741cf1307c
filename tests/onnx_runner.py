"""Composes with an exported folder, ONNX Runtime and NumPy, and nothing else: what docs/on-the-web.md describes.

It imports nothing of the project, so that it shows that model.json says all.
"""

import hashlib
import itertools
import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime


def words(*key: int | str, count: int) -> np.ndarray:
    """Whole numbers of 32 bits of a key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    random = np.random.MT19937()
    random._legacy_seeding((int.from_bytes(digest, "big") >> 1) & 0xFFFFFFFF)  # type: ignore[attr-defined]
    return random.random_raw(count)


def normals(*key: int | str, count: int) -> np.ndarray:
    """Standard normal numbers of a key; count is a multiple of 16."""
    uniform = (words(*key, count=count) & 0xFFFFFF).reshape(-1, 2, 8) / 2.0**24
    radius, angle = np.sqrt(-2.0 * np.log(1.0 - uniform[:, 0])), 2.0 * np.pi * uniform[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1).astype(np.float32)


class Runner:
    """An exported folder."""

    def __init__(self, folder: Path) -> None:
        self.table: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / row["file"], providers=["CPUExecutionProvider"])
            for name, row in self.table["files"].items()
        }

    def run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Outputs of a graph."""
        feeds = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in inputs.items()}
        return cast(list[np.ndarray], self.sessions[name].run(self.table["files"][name]["outputs"], feeds))

    def noise(self, *key: int | str, first: int, frames: int, channels: int) -> np.ndarray:
        """Frames of the endless white noise of a key."""
        size = self.table["noise"]["block_frames"]
        blocks = range(first // size, (first + frames - 1) // size + 1)
        drawn = np.concatenate(
            [normals(*key, block, count=size * channels).reshape(size, channels) for block in blocks]
        )
        return drawn[first - blocks[0] * size :][:frames]

    def compose(self, seed: int, blocks: int) -> np.ndarray:
        """The beginning of item 0 of a seed (channels, samples)."""
        return np.concatenate(list(Piece(self, seed).sounds(blocks)), axis=-1)


class Piece:
    """One endless piece."""

    def __init__(self, runner: Runner, seed: int) -> None:
        self.runner, self.table, self.seed = runner, runner.table, seed
        self.composed, self.history = 0, np.zeros((0, self.table["latents"]["size"]), np.float32)

    def draw_style(self, attempt: int) -> None:
        """A style and its pulse."""
        style, again = self.table["style"], (attempt,) if attempt else ()
        anchor, phase, beat = words(self.seed, 0, "style", *again, count=3)
        self.phase = 2.0 * math.pi * float(phase & 0xFFFFFF) / 2.0**24
        spread = self.runner.noise(self.seed, 0, "style spread", *again, first=0, frames=1, channels=style["size"])[0]
        anchors = np.array(style["anchors"])
        self.vector = anchors[anchor % len(anchors)] + style["anchor_spread"] * spread
        numbers = self.vector @ np.array(style["pulse_matrix"]) + np.array(style["pulse_offset"])
        self.frequency = float(np.clip(np.exp(0.5 * numbers[-5]), *style["pulse_range"]))
        self.strength, self.octave = max(numbers[-4], 0.0), complex(numbers[-3], numbers[-2])
        self.repeat = None
        if style["repeats"]:
            likeness = numbers[: len(style["repeats"])]
            beats = style["repeats"][int(likeness.argmax())]
            first_beat = math.floor(float(beat & 0xFFFFFF) / 2.0**24 * beats)
            self.repeat = beats, (self.phase + 2.0 * math.pi * first_beat) / beats, max(likeness.max(), 0.0)

    def signals(self, first: int, frames: int) -> np.ndarray:
        """The pulse over time (frames, 4 or 6)."""
        hop = self.table["spectrum"]["hop_samples"] * self.table["latents"]["stride"]
        seconds = (first + np.arange(frames)) * hop / self.table["sample_rate"]
        angle = 2.0 * np.pi * self.frequency * seconds + self.phase
        waves = [self.strength * np.exp(1j * angle), self.octave * np.exp(2j * angle)]
        if self.repeat is not None:
            beats, turn, strength = self.repeat
            waves.append(strength * np.exp(1j * (2.0 * np.pi * self.frequency / beats * seconds + turn)))
        return np.stack([part for wave in waves for part in (wave.real, wave.imag)], axis=-1)

    def compose_window(self) -> np.ndarray:
        """New latents (frames, size)."""
        size, window = self.table["latents"]["size"], self.table["latents"]["window_frames"]
        sampling, kept = self.table["sampling"], len(self.history)
        wanted, prefix = window - kept, sampling["prefix_level"]
        latents = self.runner.noise(self.seed, 0, "music", first=self.composed, frames=wanted, channels=size)
        if kept:
            held = self.runner.noise(self.seed, 0, "prefix", first=0, frames=kept, channels=size)
            latents = np.concatenate([(1.0 - prefix) * self.history + prefix * held, latents])
        signals, steps = self.signals(self.composed - kept, window), sampling["steps"]
        levels = [shifted(1.0 - step / steps, sampling["level_shift"]) for step in range(steps + 1)]
        for now, then in itertools.pairwise(levels):
            level = np.where(np.arange(window) < kept, prefix, now)
            inputs = {
                "noisy": latents[None],
                "level": level[None],
                "vector": self.vector[None],
                "signals": signals[None],
            }
            endpoint = self.runner.run("endpoint", **inputs)[0][0]
            latents[kept:] = (endpoint + then / now * (latents - endpoint))[kept:]
        piece = latents[kept:]
        self.history = np.concatenate([self.history, piece])[-self.table["latents"]["kept_frames"] :]
        self.composed += wanted
        return piece

    def decode(
        self, latents: np.ndarray, *, skipped: int, frames: int, first: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Magnitudes (channels, frames, bins) of the frames behind `skipped`, and their coherence (frames, bins)."""
        spectrum, scatter = self.table["spectrum"], self.table["scatter"]
        rows, hop = len(latents) * self.table["latents"]["stride"], spectrum["hop_samples"]
        drawn = np.zeros((spectrum["layers"], rows, spectrum["bins"]))
        for layer in range(spectrum["layers"]):
            key = self.seed, 0, "texture", layer
            noise = self.runner.noise(*key, first=first, frames=frames + 3, channels=hop).reshape(-1)
            pieces = np.lib.stride_tricks.sliding_window_view(noise, spectrum["n_fft"])[::hop][:frames]
            magnitude = np.abs(np.fft.rfft(pieces * hann(spectrum["n_fft"]))) / math.sqrt(spectrum["n_fft"])
            drawn[layer, skipped : skipped + frames] = np.log(magnitude + scatter["floor"]) + scatter["offset"]
        magnitude, *coherence = self.runner.run("decoder", latents=latents[None], scatter=drawn[None])
        part = slice(skipped, skipped + frames)
        return magnitude[0][:, part], coherence[0][0, part] if coherence else None

    def first_window(self) -> tuple[np.ndarray, float]:
        """Its latents, and the gain of the piece."""
        loudness, tried = self.table["loudness"], []
        for attempt in range(self.table["style"]["attempts"]):
            self.composed, self.history = 0, self.history[:0]
            self.draw_style(attempt)
            latents = self.compose_window()
            frames = len(latents) * self.table["latents"]["stride"]
            power = np.square(self.decode(latents, skipped=0, frames=frames, first=0)[0]).mean()
            level = 0.5 * math.log(max(power, 1e-12))
            tried.append((level, latents))
            if level > loudness["silent_below"]:
                break
        level, latents = max(tried, key=lambda pair: pair[0])
        assert latents is tried[-1][1], "every style was a pause"
        return latents, math.exp(np.interp(level, loudness["made"], loudness["music"]) - level)

    def sounds(self, blocks: int):
        """Sound (channels, samples) of each block of latents."""
        latents, gain = self.first_window()
        sizes, spectrum = self.table["latents"], self.table["spectrum"]
        count, context, stride = sizes["block_frames"], sizes["context_frames"], sizes["stride"]
        vocoder = Vocoder(self.table)
        for block in range(blocks):
            done = block * count
            while len(latents) < done + count + context:
                latents = np.concatenate([latents, self.compose_window()])
            begin = max(done - context, 0)
            part = {"skipped": (done - begin) * stride, "frames": count * stride, "first": done * stride}
            magnitude, coherence = self.decode(latents[begin : done + count + context], **part)
            angles = [None] * magnitude.shape[1] if coherence is None else coherence
            made = [vocoder.push(gain * magnitude[:, frame], angles[frame]) for frame in range(magnitude.shape[1])]
            yield np.concatenate([np.zeros((self.table["channels"], 0)), *made], axis=-1)
        assert spectrum["bins"] == spectrum["n_fft"] // 2 + 1


def shifted(level: float, shift: float) -> float:
    """A noise level moved towards 1."""
    return shift * level / (1.0 + (shift - 1.0) * level)


def hann(size: int) -> np.ndarray:
    """A periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)


class Vocoder:
    """Magnitudes to sound, frame by frame: the recursion of docs/on-the-web.md."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.phase, self.size = table["phase"], table["spectrum"]["n_fft"]
        self.hop, self.channels = self.size // 4, table["channels"]
        self.levels: list[np.ndarray] = []
        self.frames: list[dict[str, Any]] = []
        self.turns: np.ndarray | None = None
        self.steps = [Overlap(self.size, self.channels) for _ in range(self.phase["iterations"] + 1)]
        self.signals = [np.zeros((self.channels, self.size)) for _ in range(self.phase["iterations"])]
        self.waiting: list[list[dict[str, Any]]] = [[] for _ in range(self.phase["iterations"])]

    def push(self, magnitude: np.ndarray, cosine: np.ndarray | None) -> np.ndarray:
        """One frame (channels, bins) in; a hop of sound (channels, hop) out, or none."""
        self.levels.append(np.log(np.square(magnitude.astype(np.float64)).sum(axis=0) + self.phase["quiet_power"]))
        self.frames.append({"magnitude": magnitude, "cosine": cosine, "held": 0.0})
        if len(self.frames) < 2:
            return np.zeros((self.channels, 0))
        frame = self.frames.pop(0)
        self.begin(frame)
        for step, overlap in enumerate(self.steps[:-1]):
            block = overlap.push(frame["spectrum"])
            self.waiting[step].append(frame)
            if block is not None:
                self.signals[step] = np.concatenate([self.signals[step][:, self.hop :], block], axis=-1)
            if len(self.waiting[step]) < 4:
                return np.zeros((self.channels, 0))
            frame = self.waiting[step].pop(0)
            self.impose(frame, np.fft.rfft(self.signals[step] * hann(self.size)) / math.sqrt(self.size), step)
        block = self.steps[-1].push(frame["spectrum"])
        return np.zeros((self.channels, 0)) if block is None else block

    def begin(self, frame: dict[str, Any]) -> None:
        """The single pass."""
        turns = self.turns
        before, level, after = self.levels if len(self.levels) == 3 else [self.levels[0], *self.levels]
        self.levels = [level, after]
        bins = np.arange(len(level))
        rise = np.zeros_like(level) if turns is None else 0.25 * (after - before)
        slope = np.clip(-0.5 * self.phase["delay_per_rise"] * (rise[1:] + rise[:-1]), -0.5, 0.5)
        delay = np.concatenate([[0.0], slope.cumsum()])
        step = delay + 0.5 * bins
        if turns is not None:
            peak, curve = peaks_of(level), 0.25 / self.phase["partial_curvature"]
            offset = np.pad((level[2:] - level[:-2] + before[2:] - before[:-2]) * curve, 1)
            forward = offset / 8.0 + bins / 4.0 - 0.5 * bins - delay
            step = turns[peak] + step + forward[peak]
        self.turns = step - np.floor(step)
        angle = np.tile(2.0 * np.pi * self.turns, (self.channels, 1))
        if frame["cosine"] is not None:
            half = 0.5 * np.arccos(np.clip(frame["cosine"], -1.0, 1.0))
            angle += np.stack([half, -half])
        frame["spectrum"] = frame["magnitude"] * np.exp(1j * angle)

    def impose(self, frame: dict[str, Any], projection: np.ndarray, step: int) -> None:
        """An accelerated projection with the magnitudes, and of a pair the angle, of a frame."""
        momentum = self.phase["momentum"] if step else 0.0
        moved = projection + momentum * (projection - frame["held"])
        frame["held"] = projection
        if frame["cosine"] is None:
            frame["spectrum"] = frame["magnitude"] * moved / np.sqrt(np.square(np.abs(moved)) + 1e-20)
            return
        (a, b), (left, right), cosine = moved, frame["magnitude"], frame["cosine"]
        sine = np.copysign(np.sqrt(np.clip(1.0 - np.square(cosine), 0.0, None)), (a * b.conj()).imag)
        turn = cosine + 1j * sine
        toward = left * a * turn.conj() + right * b
        toward = toward / np.sqrt(np.square(np.abs(toward)) + 1e-20)
        frame["spectrum"] = np.stack([left * toward * turn, right * toward])


class Overlap:
    """Spectra to hops of sound."""

    def __init__(self, size: int, channels: int) -> None:
        self.window, self.hop, self.sum, self.count = hann(size), size // 4, np.zeros((channels, size)), 0

    def push(self, spectrum: np.ndarray) -> np.ndarray | None:
        """The hop two before a frame, once there is one."""
        size, hop = len(self.window), self.hop
        self.sum += np.fft.irfft(spectrum) * self.window * math.sqrt(size) / 1.5
        block, self.sum = self.sum[:, :hop].copy(), np.pad(self.sum[:, hop:], ((0, 0), (0, hop)))
        self.count += 1
        if self.count == 3:  # the frame before the first one is missing in the first hop
            block *= 1.5 / np.square(self.window.reshape(4, hop)[:3]).sum(axis=0)
        return block if self.count >= 3 else None


def peaks_of(level: np.ndarray) -> np.ndarray:
    """For every bin the peak that lies uphill."""
    rising = np.concatenate([[True], level[1:] > level[:-1], [False]])
    is_peak = rising[:-1] & ~rising[1:]
    uphill = rising[1:].copy()
    uphill[1:-1] = level[2:] > level[:-2]
    return is_peak.nonzero()[0][is_peak.cumsum() - 1 + (uphill & ~is_peak)]
