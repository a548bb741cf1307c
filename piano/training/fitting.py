"""What is measured on the music and never learned: mean spectrum, whitening, styles, scatter.

Each function leaves the networks that it is given with the same figures.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional

from piano.composer import Composer
from piano.foundation.features import CHROMA_HOP_SECONDS, chroma, chroma_window, log_mel, onset_strength
from piano.foundation.randomness import keyed_generator
from piano.foundation.shard_pairs import ShardPairs
from piano.latent_style import ENDING_SECONDS, NUM_ENDS
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
CHROMA_FRAMES = 12_000
TRIED_ENDS = 400
"""Songs whose ends are looked at."""
HEARD_BEFORE_SECONDS = 20.0
MOMENT_SECONDS = 0.1
INAUDIBLE_DB, DIED_DB = 45.0, 20.0
"""Below what is usual in the piece: nothing more is heard; it has died away."""
DYING_MOMENTS, AFTER_MOMENTS = 2, 5
"""Over which it must have; and how much of the silence after it is kept."""
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
    fit_chroma(networks[0], data, frames=frames, seed=seed)
    keep_ends(networks[0], data, seed=seed)
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
def fit_chroma(network: VariationalAttentionModel, data: TrainingData, *, frames: int, seed: int) -> None:
    """Let the style read pitch classes from the latents, so that a key can be asked for.

    Each chroma is held against the mean of the latents over its window.
    """
    rate, hop = network.sample_rate, network.hop_samples
    wanted = max(frames, -(-chroma_window(rate) // hop) + 1)
    frames = min(wanted, data.sets["training"].samples // hop)  # of a shorter pair there is one chroma
    waveforms = data.draw_waveforms(Step((seed, "chroma"), 0, 0.0), math.ceil(CHROMA_FRAMES / frames), frames)
    means, classes = [], []
    for crops in waveforms.split(ENCODED_PAIRS):
        encoded, heard = network.encode(crops)[:, :frames], chroma(crops, rate)
        begin = torch.arange(heard.shape[1], device=encoded.device) * round(CHROMA_HOP_SECONDS * rate) / hop
        last = (begin + chroma_window(rate) / hop).round().long().clamp(max=encoded.shape[1])
        sums = functional.pad(encoded.cumsum(dim=1), (0, 0, 1, 0))
        first = begin.round().long()
        means.append(((sums[:, last] - sums[:, first]) / (last - first).unsqueeze(1)).flatten(0, 1))
        classes.append(heard.flatten(0, 1))
    network.style.fit_chroma(torch.cat(means), torch.cat(classes))


@torch.no_grad()
def keep_ends(network: VariationalAttentionModel, data: TrainingData, *, seed: int) -> None:
    """Let the style keep how pieces of the training set end, for new ones to end like that.

    Many files break off, or are excerpts: what does not die away is no end. In a data set of arrays, and in one that
    holds back the end of its only recording, no piece has one.
    """
    dataset = data.sets["training"]
    pairs, manifest = dataset.pairs, dataset.manifest
    if not isinstance(pairs, ShardPairs) or (manifest is not None and manifest.is_split_inside):
        network.style.keep_ends(None)
        return
    frames, hop = network.style.end_frames, network.hop_samples
    margin = network.autoencoder.encoder.context
    found: list[Tensor] = []
    for song in torch.randperm(pairs.songs, generator=keyed_generator(seed, "ends")).tolist()[:TRIED_ENDS]:
        last = torch.from_numpy(pairs.last(song, round(HEARD_BEFORE_SECONDS * network.sample_rate)))
        ended = until_it_died_away(last, network.sample_rate)
        if ended is None or ended.shape[-1] < (frames + margin) * hop:
            continue
        waveform = ended[:, ended.shape[-1] - (frames + margin) * hop :].unsqueeze(0).to(network.device)
        found.append(network.encode(waveform)[:, margin : margin + frames])
        if len(found) == NUM_ENDS:
            break
    network.style.keep_ends(torch.cat(found) if found else None)


def until_it_died_away(waveform: Tensor, sample_rate: int) -> Tensor | None:
    """The end of a piece (channels, samples) up to shortly after its last sound; None where it breaks off or is short.

    A piece ends that grows softer until almost nothing is left.
    """
    moment = round(MOMENT_SECONDS * sample_rate)
    count = waveform.shape[-1] // moment
    if count * MOMENT_SECONDS < 2 * ENDING_SECONDS:
        return None
    power = waveform[:, waveform.shape[-1] - count * moment :].square().mean(dim=0).unflatten(0, (count, moment))
    levels = 10.0 * (power.mean(dim=1) + 1e-12).log10()
    usual = levels.quantile(0.6)
    sounding = (levels > usual - INAUDIBLE_DB).nonzero().squeeze(1)
    silent = count - 1 - int(sounding[-1])
    if float(levels[: count - silent][-DYING_MOMENTS:].mean()) > float(usual) - DIED_DB:
        return None
    kept = min(silent, AFTER_MOMENTS)
    return waveform[:, : waveform.shape[-1] - (silent - kept) * moment]


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
