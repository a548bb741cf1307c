"""Does a continuation belong to its prompt: is the seam smooth, and are key, tempo and timbre its own prompt's?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.descriptors import Clip
from piano.evaluation.spectra import (
    MEL_HOP_SECONDS,
    Array,
    chroma_of,
    decibels,
    mono_mix,
    onset_autocorrelation,
    stft_power,
    unit_level,
)

PERMUTATIONS = 4000
ASPECTS = ("key", "tempo", "timbre")


def click_flux(mono: Array, sample_rate: int) -> tuple[Array, int]:
    """How far the spectrum stands above what it was 12 ms ago and will be in 12 ms, in dB, every 2 ms; and the hop.

    Two-sided, because a note rises as suddenly as a click but does not fall again at once. All bins of the linear
    spectrum count alike: most of them are treble, where a click is loud and a note is not.
    """
    n_fft = 2 ** round(np.log2(0.008 * sample_rate))
    hop, apart = n_fft // 4, 6
    level = decibels(stft_power(unit_level(mono), n_fft, hop), -70.0)
    inner = level[apart:-apart]
    spike = np.maximum(inner - np.maximum(level[: -2 * apart], level[2 * apart :]), 0).mean(axis=1)
    return np.pad(spike, (apart, apart), mode="edge"), hop


def click_ratio(waveform: NDArray, sample_rate: int, place: int) -> float:
    """Spectral flux around one sample, over the median flux of the clip: a click, a cut or an onset stands out.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
        With a second or more on both sides of the place.
    place : int
        Index of the first sample after the seam.
    """
    flux, hop = click_flux(mono_mix(waveform), sample_rate)
    centre = place // hop
    around = flux[max(centre - 3, 0) : centre + 4]
    return float(around.max() / max(float(np.median(flux)), 1e-3))


def click_ratios_of_music(
    clips: Sequence[NDArray], sample_rate: int, *, places: int = 8, seed: int = 0
) -> NDArray[np.float64]:
    """`click_ratio` at random places of music, for the band a seam should lie in [shape=(clips * places,)]."""
    random = np.random.default_rng(seed)
    ratios = []
    for clip in clips:
        flux, _ = click_flux(mono_mix(clip), sample_rate)
        median = max(float(np.median(flux)), 1e-3)
        for centre in random.integers(len(flux) // 5, 4 * len(flux) // 5, places):
            ratios.append(float(flux[max(centre - 3, 0) : centre + 4].max() / median))
    return np.array(ratios)


class Agreement(NamedTuple):
    """Whether continuations sound like their own prompt rather than like another's, in one aspect."""

    own: float
    """Mean similarity to the own prompt, -1 to 1."""
    others: float
    """Mean similarity to the other prompts."""
    p_value: float
    """Chance of so large an own similarity if prompts were dealt at random."""

    @property
    def advantage(self) -> float:
        """How much nearer the own prompt is; 0 for continuations that do not listen."""
        return self.own - self.others


def agreement(
    prompts: Sequence[NDArray], continuations: Sequence[NDArray], sample_rate: int, *, seed: int = 0
) -> dict[str, Agreement]:
    """Key, tempo and timbre of each continuation compared with its own prompt and with all others.

    Key: mean chroma. Tempo: autocorrelation of the onset strength at lags of 0.2 to 1.5 s. Timbre: mean and spread of
    the mel bands. Each centred over all fragments and compared by cosine. The p-value is that of a permutation test:
    own pairs against prompts dealt anew (Good, Permutation Tests, 2000).

    Parameters
    ----------
    prompts, continuations : sequence of arrays [shape=(channels, samples)]
        In the same order, three or more; the prompts from different songs.

    Raises
    ------
    ValueError
        For fewer than three, or numbers that differ.
    """
    if len(prompts) != len(continuations) or len(prompts) < 3:
        raise ValueError(
            f"agreement needs three or more prompts and as many continuations, got {len(prompts)}, {len(continuations)}"
        )
    heard, made = ([_fragment(clip, sample_rate) for clip in clips] for clips in (prompts, continuations))
    return {
        aspect: _agreement(similarities([row[aspect] for row in made], [row[aspect] for row in heard]), seed)
        for aspect in ASPECTS
    }


def _fragment(waveform: NDArray, sample_rate: int) -> dict[str, Array]:
    """What a fragment is compared by, one vector an aspect."""
    clip = Clip(waveform, sample_rate)
    lags = onset_autocorrelation(clip.log_mel)[round(0.2 / MEL_HOP_SECONDS) : round(1.5 / MEL_HOP_SECONDS)]
    return {
        "key": chroma_of(clip.pitch).mean(axis=0),
        "tempo": np.pad(lags, (0, round(1.5 / MEL_HOP_SECONDS) - round(0.2 / MEL_HOP_SECONDS) - len(lags))),
        "timbre": np.concatenate([clip.log_mel.mean(axis=0), clip.log_mel.std(axis=0)]),
    }


def similarities(rows: Sequence[Array], columns: Sequence[Array]) -> NDArray[np.float64]:
    """Cosines of all pairs, each set centred by its own mean [shape=(rows, columns)]."""
    a, b = np.stack(rows).astype(np.float64), np.stack(columns).astype(np.float64)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    a /= np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-9)
    b /= np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-9)
    return a @ b.T


def _agreement(table: NDArray[np.float64], seed: int) -> Agreement:
    """Own pairs lie on the diagonal."""
    count = len(table)
    own = float(np.diag(table).mean())
    others = float((table.sum() - np.trace(table)) / (count * count - count))
    random = np.random.default_rng(seed)
    dealt = np.array([table[np.arange(count), random.permutation(count)].mean() for _ in range(PERMUTATIONS)])
    return Agreement(own, others, float((1 + (dealt >= own - 1e-12).sum()) / (1 + PERMUTATIONS)))
