"""What is measured on the music and never learned: mean spectrum, whitening, styles, scatter.

Each function leaves the networks that it is given with the same figures.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch.nn import functional

from piano.composer import Composer
from piano.foundation.features import log_mel, onset_strength
from piano.piano_model import VariationalAttentionModel
from piano.stages import RECONSTRUCTED
from piano.training.schedules import Step
from piano.training.training_data import ENCODED_PAIRS, TrainingData

SPECTRUM_FRAMES = 6_000
NORMALISER_FRAMES = 50_000
TEXTURE_FRAMES, TEXTURE_SEED = 4_000, 77
ONSET_FRAMES = 12_000
ONSET_FLOOR = 1e-5
"""Power of a band below which its rises are no notes."""
LONGEST_CROP = 64
"""Latent frames."""


def fit_spectrum(networks: Iterable[VariationalAttentionModel], data: TrainingData, *, seed: int) -> None:
    """Mean spectrum, scale and principal components, from crops all over the training set."""
    frames = crop_frames(data)
    count = math.ceil(SPECTRUM_FRAMES / (frames * data.generator.autoencoder.latent_stride))
    waveforms = data.draw_waveforms(Step((seed, "spectrum"), 0, 0.0), count, frames)
    for network in networks:
        network.autoencoder.fit_spectrum(waveforms)
    data.runtime.share(*networks)


def fit_normaliser(networks: Sequence[VariationalAttentionModel], data: TrainingData) -> None:
    """Whiten the latents of the training set: from here on the encoder is frozen."""
    data.forget_latents()
    for network in networks:
        network.normaliser.reset()  # of an encoder that has learned again, the old one says nothing
    means = data.sampled_means(NORMALISER_FRAMES).to(data.runtime.device)
    for network in networks:
        network.normaliser.fit(means)
        data.runtime.share(network.normaliser)


def fit_style(networks: Sequence[VariationalAttentionModel], data: TrainingData, *, frames: int, seed: int) -> None:
    """Measure the styles of the training set; a model that was trained before keeps its scale of them.

    Parameters
    ----------
    networks : sequence
        The first is measured with, and the others take its figures.
    frames : int
        Latent frames of a window, if the music is as long.
    seed : int
    """
    style, latents = networks[0].style, data.latents("training")
    frames = min(frames, latents.frames)
    if style.is_fitted:
        style.renew_anchors(latents, frames=frames)
    else:
        fit_onsets(networks[0], data, frames=frames, seed=seed)
        style.fit(latents, frames=frames)
    data.runtime.share(style)
    for network in networks[1:]:
        network.style.load_state_dict(style.state_dict())


@torch.no_grad()
def fit_onsets(network: VariationalAttentionModel, data: TrainingData, *, frames: int, seed: int) -> None:
    """Let the style read onsets from the latents of crops that are `frames` latent frames long."""
    count = math.ceil(ONSET_FRAMES / frames)
    waveforms = data.draw_waveforms(Step((seed, "onsets"), 0, 0.0), count, frames)
    latents, onsets = [], []
    for crops in waveforms.split(ENCODED_PAIRS):
        encoded = network.encode(crops)[:, :frames]
        mel = log_mel(crops, network.sample_rate).clamp_min(math.log(ONSET_FLOOR))
        latents.append(encoded)
        onsets.append(functional.interpolate(onset_strength(mel).unsqueeze(1), size=encoded.shape[1], mode="area"))
    network.style.fit_onsets(torch.cat(latents), torch.cat(onsets).squeeze(1))


@torch.no_grad()
def fit_textures(
    networks: Sequence[VariationalAttentionModel],
    data: TrainingData,
    *,
    seed: int,
    choices: Sequence[int],
    composer: Callable[[int], Composer] | None,
    measure: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Measure how much more the training set scatters than what a generator makes.

    That is: its compositions, once it composes, for generated latents blur a little more; before, reconstructions.

    Parameters
    ----------
    networks : sequence
        The first is measured, and the others take its figures.
    seed : int
    choices : sequence of int
        Numbers of sampling steps; RECONSTRUCTED for reconstructions.
    composer : callable, optional
        Composes with the first network in so many steps; None while it has not learned to.
    measure : callable
        What times the measurement for a number of steps.
    """
    network, step, frames = networks[0], Step((seed, "texture"), 0, 0.0), crop_frames(data)
    spectrum_frames = frames * network.autoencoder.latent_stride
    waveforms = data.draw_waveforms(step, -(-TEXTURE_FRAMES // spectrum_frames), frames)
    autoencoder = network.autoencoder
    noise = step.noise("noise", len(waveforms) * autoencoder.layers, spectrum_frames + 3, autoencoder.hop_length).to(
        waveforms.device
    )
    for steps in choices:
        with measure(steps):
            if composer is not None and steps != RECONSTRUCTED:
                latents = composer(steps).sample_latents(frames, count=len(waveforms))
            else:
                latents = network.encode(waveforms)
            network.fit_texture(waveforms, latents, noise, steps=steps)
    data.runtime.share(network.textures)
    for other in networks[1:]:
        other.textures.load_state_dict(network.textures.state_dict())


def crop_frames(data: TrainingData) -> int:
    """Latent frames of the crops that are measured."""
    return min(LONGEST_CROP, data.sets["training"].samples // data.generator.hop_samples)
