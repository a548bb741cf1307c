"""model.json: every number that composing needs beside the graphs, so that it can be done without Python.

docs/on-the-web.md says field by field what it holds, and how music is made with it.
"""

import math
from typing import Any

import numpy as np
from torch import Tensor

from piano import composer, latent_style
from piano.foundation import phase, stereo, texture
from piano.foundation.bands import band_of_bins
from piano.foundation.randomness import NOISE_BLOCK_FRAMES
from piano.piano_encoder_decoder import IMAGE_SCALE, MAGNITUDE_FLOOR
from piano.piano_model import VariationalAttentionModel

FORMAT, FORMAT_VERSION = "musigan-onnx", 1
PHASE_ITERATIONS = 2
"""Of Griffin-Lim: with four `shipped` scores the same (docs/on-the-web.md)."""


def composing_table(network: VariationalAttentionModel, *, steps: int) -> dict[str, Any]:
    """Everything but the names of the files."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sample_rate": network.sample_rate,
        "channels": network.sound_channels,
        "spectrum": _spectrum(network),
        "latents": {
            "size": network.latent_dim,
            "stride": network.autoencoder.latent_stride,
            "window_frames": network.latent_seq_len,
            "kept_frames": network.latent_seq_len // composer.HISTORY_PART,
            "block_frames": composer.BLOCK_FRAMES,
            "context_frames": network.autoencoder.decoder.context,
        },
        "sampling": {
            "steps": steps,
            "level_shift": composer.LEVEL_SHIFT,
            "prefix_level": composer.PREFIX_LEVEL,
        },
        "style": _style(network),
        "scatter": {"floor": 1e-6, "offset": -0.5 * math.log(3.0 / 8.0) - texture.MEAN_LOG_RAYLEIGH},
        "loudness": _loudness(network.texture_of(steps)),
        "phase": {
            "iterations": PHASE_ITERATIONS,
            "momentum": phase.MOMENTUM,
            "partial_curvature": phase.PARTIAL_CURVATURE,
            "delay_per_rise": phase.DELAY_PER_RISE,
            "quiet_power": phase.QUIET_POWER,
        },
        "noise": {"block_frames": NOISE_BLOCK_FRAMES},
    }


def _spectrum(network: VariationalAttentionModel) -> dict[str, Any]:
    codec = network.autoencoder
    table: dict[str, Any] = {
        "n_fft": codec.n_fft,
        "hop_samples": codec.hop_length,
        "bins": codec.bins,
        "layers": codec.layers,
        "magnitude_floor": MAGNITUDE_FLOOR,
        "image": None,
    }
    if codec.image_bands:
        table["image"] = {
            "bands": codec.image_bands,
            "band_of_bin": band_of_bins(codec.bins, codec.image_bands, network.device).tolist(),
            "scale": IMAGE_SCALE,
            "largest_difference": stereo.LARGEST_DIFFERENCE,
            "quiet_power": stereo.QUIET_POWER,
        }
    return table


def _style(network: VariationalAttentionModel) -> dict[str, Any]:
    style = network.style
    pulse = slice(-style.pulse_numbers, None)
    return {
        "size": style.style_dim,
        "anchors": _numbers(style.anchors),
        "anchor_spread": latent_style.ANCHOR_SPREAD,
        "attempts": composer.STYLE_ATTEMPTS,
        "pulse_matrix": _numbers(style.unproject[:, pulse] * style.spread[pulse]),
        "pulse_offset": _numbers(style.mean[pulse]),
        "pulse_range": list(latent_style.PULSE_RANGE),
        "repeats": list(latent_style.REPEATS) if style.has_repeats else [],
    }


def _loudness(measured: texture.Texture) -> dict[str, Any]:
    """Loudness that compositions have, and that of music for each: straight lines between, level beyond the ends."""
    softest, loudest = measured.softest_and_loudest
    made, music = [softest, loudest], [softest, loudest]
    if measured.loudnesses is not None:
        made, music = _numbers(measured.loudnesses)
    return {"made": made, "music": music, "silent_below": softest - composer.LARGEST_LIFT}


def _numbers(tensor: Tensor) -> Any:
    """Nested lists of single-precision numbers, each as short as it can be written."""
    values = tensor.detach().cpu().numpy().astype(np.float32)
    if values.ndim > 1:
        return [_numbers(row) for row in tensor]
    return [float(np.format_float_scientific(value, unique=True, trim="-")) for value in values]
