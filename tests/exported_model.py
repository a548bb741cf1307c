"""A small model that is given away: real networks, all that is measured was measured on tonal music, in a second."""

from pathlib import Path

import torch

from piano.foundation.shipped_format import shipped_path, write_shipped
from piano.piano_model import VariationalAttentionModel
from piano.stages import ONE_STEP
from tests.held_latents import HeldLatents
from tests.tiny_run import tiny_config, tonal_pairs

MANY = 16


def fitted_network(folder: Path, *, channels: int, image_bands: int = 0, repeat_signals: int = 0, steps: int = 3):
    """A generator whose weights are random where training would have moved them, and that composes in `steps`."""
    sizes = {"model__sound_channels": channels, "model__image_bands": image_bands}
    config = tiny_config(folder, **sizes, model__repeat_signals=repeat_signals)
    torch.manual_seed(7)
    network = VariationalAttentionModel(**config.model.model_dump()).eval()
    pairs = torch.from_numpy(tonal_pairs(6, channels=channels))
    if channels == 2:
        pairs[:, :, 1] = 0.6 * pairs[:, :, 1] + 0.3 * pairs[:, :, 1].roll(37, dims=-1)
    waveforms = pairs.transpose(1, 2).flatten(2)
    with torch.no_grad():
        network.autoencoder.fit_spectrum(waveforms)
        network.normaliser.reset()
        latents = network.encode(waveforms)
        network.normaliser.fit(latents.flatten(0, 1))
        latents = network.encode(waveforms)
        network.style.fit(HeldLatents(latents), frames=network.latent_seq_len)
        codec = network.autoencoder
        for flow in (network.attention, network.shortcut):
            flow.out.weight.normal_(0.0, 0.1)
            dict(flow.named_parameters())["transformer.modulation.1.weight"].normal_(0.0, 0.05)
        window = latents[:, : network.latent_seq_len]
        noise = torch.randn(len(window) * codec.layers, window.shape[1] * codec.latent_stride + 3, codec.hop_length)
        for kind in (ONE_STEP, MANY):
            network.fit_texture(waveforms, window, noise, steps=kind)
        network.default_steps.fill_(steps)
    return network


def give_away(network: VariationalAttentionModel, folder: Path) -> Path:
    """Write it as a model that is given away; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = shipped_path(folder, "generator")
    write_shipped(path, "generator", epoch=5, keywords=network.keywords, state=network.state_dict())
    return folder
