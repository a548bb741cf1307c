"""Every loss, and the two tables that say which outputs of a step each one reads.

A loss is a pure function from tensors to one number without a weight; `config.yaml` says how much it counts.
A term is called like its function without the word "loss": `melody_loss_d` is weighted by `loss_weights.melody_d`.

Music losses take waveforms, as documented, or the `MusicFeatures` of waveforms, which a training step computes
once for all of them. They compare *distributions* of loudness, harmony, rhythm and colour over a batch, never a
generated clip with a real clip it has nothing to do with: a permutation of the real music costs nothing.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from piano.foundation.errors import ConfigError
from piano.foundation.features import (
    MusicFeatures,
    chroma,
    chroma_window,
    dissonance,
    gated_mean,
    interval_profile,
    jensen_shannon_matrix,
    log_mel,
    loudness_db,
    loudness_gate,
    mean_spectrum,
    mel_filterbank,
    music_features,
    onset_autocorrelation,
    onset_strength,
    quantile_distance,
    quantiles,
    self_similarity,
    split_in_chunks,
    stft_magnitude,
)
