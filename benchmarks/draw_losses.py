"""The pictures of docs/loss-guide.md: for each loss what it looks at, the damage, and the loss as the damage grows.

    python benchmarks/draw_losses.py

Half a minute of one core. The music is the six samples of the shipped model, two seconds each, at 16 kHz mono; nothing
is drawn by chance but noise of a fixed seed.
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano import loss_functions as losses
from piano.evaluation.pictures import BLUE, OCHRE, PLUM, QUIET, save_figure, styled_figure
from piano.foundation.audio_io import read_audio
from piano.foundation.features import gated_chroma, log_mel, loudness_db
from piano.foundation.model_folder import shipped_folder
from piano.foundation.phase import stft

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "losses"
RATE, SECONDS, BEGIN_SECONDS = 16_000, 2.0, 4.0
SHARES = torch.linspace(0.0, 1.0, 11)
SHOWN_SHARE = 0.7
"""The damage in the second panel."""
SIZE, COLOURS = (8.6, 2.3), 64
N_FFT = 1024

Damage = Callable[[Tensor, float], Tensor]
View = Callable[[Axes, Tensor], None]


class Picture(NamedTuple):
    """One row of panels: real music, damaged music, and the loss over the damage."""

    view: View
    damage: Damage
    words: str
    loss: Callable[[Tensor, Tensor], Tensor]
    """loss(real, fake)"""


@cache
def music() -> Tensor:
    """The shipped model's six samples, (6, 1, samples)."""
    clips = []
    for path in sorted((shipped_folder() / "samples").glob("seed_*.mp3")):
        heard = read_audio(path, sample_rate=RATE, channels=1, max_seconds=BEGIN_SECONDS + SECONDS)
        clips.append(torch.from_numpy(heard)[:, -round(SECONDS * RATE) :])
    return torch.stack(clips)


def chord(pitches: tuple[int, ...], samples: int) -> Tensor:
    """Notes with six partials at once, (1, samples)."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    tones = [torch.sin(2 * math.pi * 440 * 2 ** ((p - 69) / 12) * k * time) / k for p in pitches for k in range(1, 7)]
    return (0.1 * torch.stack(tones).mean(dim=0)).float()[None]


def noise_like(shape: torch.Size) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


# --- damages: music (batch, 1, samples) and a share from 0 to 1 -----------------------------------------------------


def clashing(real: Tensor, share: float) -> Tensor:
    return (1 - share) * real + 2 * share * chord((60, 61, 62), real.shape[-1])


def silenced(real: Tensor, share: float) -> Tensor:
    fake = real.clone()
    fake[..., : round(share * real.shape[-1])] = 0.0
    return fake


def quieter(real: Tensor, share: float) -> Tensor:
    return real * 10.0 ** (-2.0 * share)


def held(real: Tensor, share: float) -> Tensor:
    kept = real.shape[-1] - round(share * real.shape[-1])
    rest = chord((60, 64, 67), real.shape[-1] - kept).expand(len(real), 1, -1)
    return torch.cat([real[..., :kept], rest], dim=-1)


def drowned(real: Tensor, share: float) -> Tensor:
    kept = real.shape[-1] - round(share * real.shape[-1])
    return torch.cat([real[..., :kept], noise_like(real.shape)[..., kept:]], dim=-1)


def lifted(real: Tensor, share: float) -> Tensor:
    return real + 0.3 * share


def alike(real: Tensor, share: float) -> Tensor:
    return (1 - share) * real + share * real[:1]


# --- views: what a loss looks at ------------------------------------------------------------------------------------


def see_chroma(axis: Axes, sound: Tensor) -> None:
    classes, _ = gated_chroma(sound[:1], RATE)
    axis.imshow(classes[0].T, aspect="auto", origin="lower", extent=(0, SECONDS, -0.5, 11.5), cmap="magma")
    axis.set(yticks=range(0, 12, 4), yticklabels=("C", "E", "G#"), xlabel="seconds")


def see_loudness(axis: Axes, sound: Tensor) -> None:
    level = loudness_db(sound[:1], RATE).flatten()
    axis.plot(np.linspace(0, SECONDS, len(level)), level, color=PLUM)
    axis.set(ylim=(-90, 0), ylabel="dB", xlabel="seconds")


def see_likeness(axis: Axes, sound: Tensor) -> None:
    classes, _ = gated_chroma(sound[:1], RATE)
    unit = torch.nn.functional.normalize(classes[0], dim=-1)
    axis.imshow(unit @ unit.T, aspect="auto", origin="lower", extent=(0, SECONDS, 0, SECONDS), vmin=0, vmax=1)
    axis.set(xlabel="seconds", ylabel="seconds")


def see_chunks(axis: Axes, sound: Tensor) -> None:
    deviation = torch.stack([chunk.std() for chunk in sound[0, 0].chunk(33)])
    axis.bar(range(33), 20 * (deviation + 1e-5).log10() + 100, bottom=-100, color=BLUE)
    axis.set(ylim=(-100, 0), ylabel="dB", xlabel="chunk")


def see_wave(axis: Axes, sound: Tensor) -> None:
    axis.plot(np.linspace(0, SECONDS, sound.shape[-1]), sound[0, 0], color=BLUE, linewidth=0.4)
    axis.axhline(0.0, color=QUIET, linewidth=0.6)
    axis.set(ylim=(-0.8, 1.0), xlabel="seconds")


def see_mean_spectra(axis: Axes, sound: Tensor) -> None:
    for clip in log_mel(sound, RATE).exp().mean(dim=1):
        axis.plot(clip / clip.sum(), linewidth=0.9)
    axis.set(xlabel="mel band", yticks=())


def see_spectrum(axis: Axes, spectrum: Tensor) -> None:
    axis.imshow(spectrum[0, :, : N_FFT // 4].T, aspect="auto", origin="lower", extent=(0, SECONDS, 0, 4), cmap="magma")
    axis.set(xlabel="seconds", ylabel="kHz")


def see_bands(axis: Axes, spectrum: Tensor) -> None:
    axis.plot(losses._band_level(spectrum[:1], losses.ENERGY_BANDS).mean(dim=1)[0], color=PLUM)
    axis.set(xlabel="band", ylabel="nepers", ylim=(-7, 2.5))


# --- damages of log magnitudes (batch, frames, bins) ----------------------------------------------------------------


def log_magnitudes(sound: Tensor) -> Tensor:
    """(batch, 1, samples) -> (batch, frames, bins)"""
    return (stft(sound[:, 0], N_FFT).abs() + 1e-3).log()


def towards_mean(spectrum: Tensor, share: float) -> Tensor:
    return (1 - share) * spectrum + share * spectrum.mean(dim=(0, 1))


def without_a_band(spectrum: Tensor, share: float) -> Tensor:
    fake = spectrum.clone()
    fake[..., N_FFT // 16 : N_FFT // 8] -= share * 20 * math.log(10) / 20
    return fake


MUSIC: dict[str, Picture] = {
    "no_seconds_loss": Picture(
        see_chroma,
        clashing,
        "a cluster of semitones",
        lambda real, fake: losses.no_seconds_loss(fake, real, sample_rate=RATE),
    ),
    "no_silence_loss": Picture(
        see_loudness,
        silenced,
        "silent share",
        lambda real, fake: losses.no_silence_loss(fake, real, sample_rate=RATE),
    ),
    "silence_loss": Picture(
        see_loudness,
        quieter,
        "40 dB quieter at 1",
        lambda real, fake: losses.silence_loss(fake, real, sample_rate=RATE),
    ),
    "melody_loss": Picture(
        see_likeness,
        drowned,
        "share that is noise",
        lambda real, fake: losses.melody_loss(fake, real, sample_rate=RATE),
    ),
    "melody_loss_d": Picture(
        see_likeness,
        held,
        "share that is a held chord",
        lambda real, fake: losses.melody_loss_d(real, fake, sample_rate=RATE),
    ),
    "compute_std_loss_d": Picture(see_chunks, drowned, "share that is noise", losses.compute_std_loss_d),
    "min_max_stats_loss_d": Picture(see_wave, lifted, "offset, 0.3 at 1", losses.min_max_stats_loss_d),
    "kl_loss_songs_d": Picture(
        see_mean_spectra,
        alike,
        "how alike the clips are",
        lambda real, fake: losses.kl_loss_songs_d(real, fake, sample_rate=RATE),
    ),
}
SPECTRA: dict[str, Picture] = {
    "magnitude_loss": Picture(
        see_spectrum, towards_mean, "towards the mean spectrum", lambda r, f: losses.magnitude_loss(f, r)
    ),
    "band_energy_loss": Picture(
        see_bands, without_a_band, "one octave softer, 20 dB at 1", lambda r, f: losses.band_energy_loss(f, r)
    ),
}


def draw(name: str, picture: Picture, real: Tensor, path: Path) -> None:
    """The three panels of a loss."""
    with styled_figure(1, 3, size=SIZE) as (figure, axes):
        left, middle, right = axes[0]
        picture.view(left, real)
        left.set_title("real")
        picture.view(middle, picture.damage(real, SHOWN_SHARE))
        middle.set_title(f"damaged: {SHOWN_SHARE:g}")
        values = [float(picture.loss(real, picture.damage(real, float(share)))) for share in SHARES]
        right.plot(SHARES, values, "o-", color=OCHRE)
        right.set(title=name, xlabel=picture.words, ylim=(0, None))
        save(figure, path)


def save(figure, path: Path) -> None:
    """A picture of few colours: a third of the bytes."""
    save_figure(figure, path)
    with Image.open(path) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(path, optimize=True)


FORMS: tuple[tuple[str, losses.Objective, float], ...] = (
    ("bce", "bce", 0.0),
    ("relativistic", "relativistic", 0.0),
    ("bce, smoothing 0.1", "bce", 0.1),
)


def draw_game(path: Path) -> None:
    """L_D and L_G over how far apart a judge holds real and generated music, plain, relativistic and smoothed."""
    logits = torch.linspace(-4.0, 6.0, 60)
    real, fake = logits[:, None] / 2, -logits[:, None] / 2
    with styled_figure(1, 3, size=SIZE) as (figure, axes):
        left, middle, right = axes[0]
        for apart, colour in ((0.0, QUIET), (3.0, PLUM)):
            grid = torch.linspace(-5, 5, 200)
            for centre, style in ((apart / 2, "-"), (-apart / 2, "--")):
                left.plot(grid, (-0.5 * (grid - centre).square()).exp(), style, color=colour)
        left.set(title="its logits: real -, generated --", xlabel="logit", yticks=())
        for words, objective, smoothing in FORMS:
            rows = zip(real, fake, strict=True)
            middle.plot(logits, [losses.discriminator_loss(r, f, objective, smoothing) for r, f in rows], label=words)
        middle.axhline(losses.CONFUSION, color=QUIET, linewidth=0.6)
        middle.set(title="discriminator_loss", xlabel="real - generated", ylim=(0, 2.5))
        middle.legend()
        for _, objective, _ in FORMS[:2]:
            rows = zip(real, fake, strict=True)
            right.plot(logits, [losses.generator_adversarial_loss(r, f, objective) for r, f in rows], label=objective)
        right.axhline(losses.CONFUSION, color=QUIET, linewidth=0.6)
        right.set(title="generator_adversarial_loss", xlabel="real - generated", ylim=(0, 4))
        right.legend()
        save(figure, path)


def draw_latents(path: Path) -> None:
    """KL, flow and energy score: the three losses that look at latents."""
    random = torch.Generator().manual_seed(0)
    with styled_figure(1, 3, size=SIZE) as (figure, axes):
        left, middle, right = axes[0]
        means = torch.linspace(0, 3, 40)
        for variance in (1.0, 0.25, 0.04):
            log_variance = torch.full((1, 1, 1), math.log(variance))
            values = [losses.kl_divergence_loss(mean.view(1, 1, 1), log_variance) for mean in means]
            left.plot(means, values, label=f"variance {variance:g}")
        left.set(title="kl_divergence_loss", xlabel="mean of a latent", ylabel="nat", ylim=(0, 6))
        left.legend()
        errors, target = torch.linspace(0, 1, 40), torch.zeros(1, 8, 4)
        for level in (1.0, 0.5, 0.2):
            noise_level = torch.full((1, 8), level)
            values = [losses.endpoint_flow_loss(target + error, target, noise_level) for error in errors]
            middle.plot(errors, values, label=f"noise {level:g}")
        middle.set(title="endpoint_flow_loss", xlabel="error of the guess", ylim=(0, 5))
        middle.legend()
        spreads = torch.linspace(0, 2.5, 26)
        first, second, wanted = (torch.randn(4096, 1, 16, generator=random) for _ in range(3))
        scores = [losses.energy_score_loss(s * first, s * second, wanted) for s in spreads]
        right.plot(spreads, scores, color=PLUM)
        right.axvline(1.0, color=QUIET, linewidth=0.6)
        right.set(title="energy_score_loss", xlabel="spread of the draws (music: 1)")
        save(figure, path)


def draw_judge(path: Path) -> None:
    """Feature matching and the penalty: what a judge hears inside, and how steep it may be."""
    random = torch.Generator().manual_seed(0)
    sound = music()
    maps = [log_mel(sound, RATE), sound.unfold(-1, 256, 256).abs().mean(dim=-1)]
    with styled_figure(1, 3, size=SIZE) as (figure, axes):
        left, middle, right = axes[0]
        left.imshow(maps[0][0].T, aspect="auto", origin="lower", extent=(0, SECONDS, 0, 64), cmap="magma")
        left.set(title="a map of features", xlabel="seconds")
        spoiled = [torch.randn(m.shape, generator=random) * m.std() for m in maps]
        values = [
            losses.feature_matching_loss([m + s * n for m, n in zip(maps, spoiled, strict=True)], maps) for s in SHARES
        ]
        middle.plot(SHARES, values, "o-", color=OCHRE)
        middle.set(title="feature_matching_loss", xlabel="noise on the maps, in spreads", ylim=(0, None))
        heard, noise = (torch.randn(4096, 1, generator=random) for _ in range(2))
        slopes = torch.linspace(0, 10, 21)
        for sigma in (0.05, 0.1):
            values = [losses.finite_difference_penalty(k * heard, k * (heard + sigma * noise)) for k in slopes]
            right.plot(slopes, values, label=f"noise {sigma:g}")
        right.set(title="finite_difference_penalty", xlabel="slope of the judge", ylim=(0, None))
        right.legend()
        save(figure, path)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (default: docs/pictures/losses)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Draw every picture."""
    output = parse_arguments(argv).output
    for name, picture in MUSIC.items():
        draw(name, picture, music(), output / f"{name}.png")
    spectra = log_magnitudes(music())
    for name, picture in SPECTRA.items():
        draw(name, picture, spectra, output / f"{name}.png")
    draw_game(output / "game.png")
    draw_latents(output / "latents.png")
    draw_judge(output / "judge.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
