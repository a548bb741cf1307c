"""The sounds of docs/illnesses.md: the shipped model, broken on purpose in one way each, beside the healthy one.

    python benchmarks/illness_sounds.py

About a minute of one core. One seed, the first take of each: nothing is chosen. Writes docs/sounds/NAME.mp3 (mono, four
seconds), docs/pictures/illnesses.png, and prints what the measures of the doctor and the ruler say of each file.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_prep import render_scores
from piano.composer import Composer, Sampling
from piano.evaluation import descriptors
from piano.evaluation.descriptors import Clip
from piano.evaluation.pictures import constant_q_grid
from piano.evaluation.spectra import mono_mix
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.audio_writer import encode_mp3
from piano.foundation.errors import run_command
from piano.foundation.made_files import replacing
from piano.piano_encoder_decoder import Decoder
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator

DOCS = Path(__file__).resolve().parent.parent / "docs"
SECONDS = 4.0
SEED = 0
TAKES = 3
"""Of mode collapse: as many pieces in a file."""
LEVEL_DB = -20.0
CEILING = 0.95
SILENT_PART = 0.75
"""Of the music from which the fault `silent data` of the zoo lets a run learn."""
WEIGHT_NOISE = 1.5
"""Spread of what is added to the decoder's weights, in spreads of each weight."""
BLUR = 25
"""Frames of the spectrum over which a decoder takes the mean that is unsure of the moment: 0.3 s."""
CLIP_GAIN_DB = 20.0
PIECE_FRAMES = 8
"""Of latents, where windows are joined without looking at each other."""
MARGIN_FRAMES = 2
"""Decoded and thrown away at both ends of such a window."""
KEPT_LATENTS = 8
"""Of 64, where the posterior collapses: the rest say the same of every sound."""
PASSAGE = "satie-gymnopedie-no-1"
"""A piece that the shipped model learned from."""


class Patient:
    """The shipped model and a healthy piece of it; every method is an illness, and returns (channels, samples)."""

    def __init__(self) -> None:
        self.network: VariationalAttentionModel = load_generator(Path("shipped"))
        self.frames = round(SECONDS * self.network.frames_per_second)
        self.latents = self.composer().sample_latents(self.frames, count=1)

    def composer(self, seed: int = SEED, steps: int | str = "auto") -> Composer:
        return Composer(self.network, Sampling(seed, steps))

    def sound(self, latents: Tensor, item: int | None = 0) -> NDArray:
        """The finished sound of latents (1, frames, latent_dim)."""
        return self.composer().decode(latents, first_item=item)[0].numpy()

    @contextmanager
    def other_decoder(self) -> Iterator[Decoder]:
        """A copy of the decoder to spoil; the healthy one is back afterwards."""
        healthy = self.network.autoencoder.decoder
        self.network.autoencoder.decoder = copy.deepcopy(healthy)
        try:
            yield self.network.autoencoder.decoder
        finally:
            self.network.autoencoder.decoder = healthy

    def healthy(self) -> NDArray:
        """Seed 0, as `musigan generate` plays it."""
        return self.sound(self.latents)

    def drone(self) -> NDArray:
        """One latent frame for four seconds: the first second's last."""
        held = round(self.network.frames_per_second)
        return self.sound(self.latents[:, held : held + 1].expand(-1, self.frames, -1))

    def silence(self) -> NDArray:
        """The latents of silence in three quarters of the time, as if three clips of four had been silent."""
        silent = self.network.encode(torch.zeros(1, self.network.sound_channels, round(SECONDS * 44_100)))
        latents = self.latents.clone()
        quarter = self.frames // 4
        for begin in range(0, self.frames, quarter):
            first = begin + round((1.0 - SILENT_PART) * quarter)
            latents[:, first : begin + quarter] = silent[:, : latents[:, first : begin + quarter].shape[1]]
        return self.sound(latents)

    def noise(self) -> NDArray:
        """A decoder that has learned the mean spectrum and nothing else, with the scatter on it."""
        with self.other_decoder() as decoder, torch.no_grad():
            decoder.head.weight.zero_()
            return self.sound(self.latents)

    def divergence(self) -> NDArray:
        """A decoder whose weights were thrown about by steps that were too large."""
        random = torch.Generator().manual_seed(SEED)
        with self.other_decoder() as decoder, torch.no_grad():
            for weight in decoder.parameters():
                if weight.ndim > 1:
                    weight.add_(WEIGHT_NOISE * weight.std() * torch.randn(weight.shape, generator=random))
            return self.sound(self.latents)

    def _takes(self) -> NDArray:
        """The beginnings of three pieces in one step, one after the other."""
        frames = self.frames // TAKES
        return np.concatenate(
            [self.sound(self.composer(seed, 1).sample_latents(frames, count=1)) for seed in range(TAKES)], axis=-1
        )

    def three_seeds(self) -> NDArray:
        """Seeds 0, 1 and 2 of the healthy model."""
        return self._takes()

    def mode_collapse(self) -> NDArray:
        """The same three seeds, when the one-step block answers every noise as it answers that of seed 0."""
        block = self.network.shortcut
        answer, healthy = next(self.composer(0, 1).stream_latents(count=1)), block.forward
        block.forward = lambda noisy, level, condition: answer[:, : noisy.shape[1]]
        try:
            return self._takes()
        finally:
            block.forward = healthy

    def prior_hole(self) -> NDArray:
        """White noise decoded as if it were latents: what is composed when the flow has learned nothing."""
        random = torch.Generator().manual_seed(SEED)
        return self.sound(torch.randn(self.latents.shape, generator=random))

    def too_smooth(self) -> NDArray:
        """A decoder that is unsure of the moment: the mean of its spectra around each one, without scatter."""
        with self.other_decoder() as decoder:
            sure = decoder.forward

            def unsure(latent: Tensor) -> Tensor:
                frames = sure(latent).transpose(1, 2)
                return functional.avg_pool1d(frames, BLUR, 1, BLUR // 2, count_include_pad=False).transpose(1, 2)

            decoder.forward = unsure
            return self.sound(self.latents, item=None)

    def clicks(self) -> NDArray:
        """The passage below in windows of a third of a second, cut off hard: each has a phase of its own."""
        hop, pieces, latents = self.network.hop_samples, [], self._encoded()
        for begin in range(0, latents.shape[1], PIECE_FRAMES):
            first, last = max(begin - MARGIN_FRAMES, 0), begin + PIECE_FRAMES + MARGIN_FRAMES
            window = self.sound(latents[:, first:last])
            pieces.append(window[:, (begin - first) * hop :][:, : PIECE_FRAMES * hop])
        return np.concatenate(pieces, axis=-1)

    def clipping(self) -> NDArray:
        """The healthy piece 20 dB too loud, cut off at full scale."""
        return np.clip(10 ** (CLIP_GAIN_DB / 20) * self.healthy(), -1.0, 1.0)

    @cached_property
    def _rendered(self) -> NDArray:
        """The beginning of a score that was learned from, as the training heard it."""
        with tempfile.TemporaryDirectory() as folder:
            seconds = str(SECONDS)
            render_scores.main(
                ["--match", PASSAGE, "--output", folder, "--max-seconds", seconds, "--format", "wav", "--workers", "1"]
            )
            return read_audio(find_audio_files(Path(folder))[0], sample_rate=44_100, channels=2)

    def passage(self) -> NDArray:
        """A passage of the training music."""
        return self._rendered

    def _encoded(self) -> Tensor:
        heard = torch.from_numpy(self._rendered)[None]
        hop = self.network.hop_samples
        return self.network.encode(heard[..., : heard.shape[-1] // hop * hop])

    def copy(self) -> NDArray:
        """The same passage out of its latents: what a model plays that has learned it by heart."""
        return self.sound(self._encoded())

    def posterior_collapse(self) -> NDArray:
        """The same passage from latents of which seven in eight say the same of every sound."""
        latents = self._encoded()
        told = latents.flatten(0, 1).var(dim=0).argsort(descending=True)[:KEPT_LATENTS]
        kept = torch.zeros_like(latents)
        kept[..., told] = latents[..., told]
        return self.sound(kept)


COLOURS = 64
"""Of the picture: a third of the bytes."""
SOUNDS: tuple[str, ...] = (
    "healthy",
    "drone",
    "silence",
    "noise",
    "divergence",
    "prior_hole",
    "too_smooth",
    "clicks",
    "clipping",
    "three_seeds",
    "mode_collapse",
    "passage",
    "copy",
    "posterior_collapse",
)
MEASURES: dict[str, Callable[[Clip], float]] = {
    "alike, 1 s": lambda clip: descriptors.self_similarity(clip, 1.0),
    "silence": descriptors.silence_share,
    "tonal": descriptors.tonal_share,
    "stable notes": descriptors.stable_note_share,
    "crest, dB": descriptors.crest,
    "onsets a second": descriptors.onset_rate,
}


def levelled(sound: NDArray) -> NDArray:
    """A sound as one channel, at one loudness, within full scale."""
    mono = mono_mix(sound)[None].astype(np.float32)
    sounding = np.abs(mono) > 10 ** (-50.0 / 20)
    level = float(np.sqrt(np.square(mono[sounding]).mean())) if sounding.any() else 1.0
    gain = min(10 ** (LEVEL_DB / 20) / level, CEILING / max(float(np.abs(mono).max()), 1e-9))
    return gain * mono


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of sounds/ and pictures/ (default: docs)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Make every sound, the picture and the table."""
    options = parse_arguments(argv)
    return run_command(lambda: write_all(options.output))


def write_all(output: Path) -> None:
    patient = Patient()
    rate, shown = patient.network.sample_rate, {}
    print("| sound |", " | ".join(MEASURES), "|")
    for name in SOUNDS:
        with torch.inference_mode():
            sound = levelled(getattr(patient, name)())
        target = output / "sounds" / f"{name.replace('_', '-')}.mp3"
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as unfinished:
            unfinished.write_bytes(encode_mp3(sound, rate))
        shown[name.replace("_", " ")] = sound
        clip = Clip(sound, rate)
        print(f"| {target.stem} |", " | ".join(f"{measure(clip):.2f}" for measure in MEASURES.values()), "|")
    (output / "pictures").mkdir(exist_ok=True)
    picture = output / "pictures" / "illnesses.png"
    constant_q_grid(shown, rate, picture, columns=3)
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
