"""How far a reconstruction is from its original, sample by sample and band by band, in measures others use."""

import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.spectra import Array, hann, mono_mix, stft_power

MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
MEL_FLOOR = 1e-5
STFT_WINDOWS = (512, 1024, 2048)
STFT_FLOOR = 1e-5


def _magnitude(mono: Array, window: int) -> Array:
    """Magnitude of the Hann STFT, hop a quarter of the window, not normalised [shape=(frames, bins)]."""
    return np.sqrt(stft_power(mono, window, window // 4) * np.square(hann(window)).sum())


@lru_cache(maxsize=32)
def _mel_filters(sample_rate: int, window: int, bands: int) -> Array:
    """Slaney's mel filters, of equal area, from 0 Hz to half the rate [shape=(bins, bands)].

    As the published distance has them; the music losses' have equal height (`foundation.features.mel_filterbank`), the
    ruler's features another scale (`spectra`).
    """
    from librosa.filters import mel  # takes a second to import, and only reconstructions need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # narrow filters that hold no bin stay empty, and count as equal
        return mel(sr=sample_rate, n_fft=window, n_mels=bands).T.astype(np.float32)


def _same_length(reconstruction: NDArray, original: NDArray) -> tuple[Array, Array]:
    samples = min(np.shape(reconstruction)[1], np.shape(original)[1])
    return mono_mix(reconstruction)[:samples], mono_mix(original)[:samples]


def mel_distance(*, reconstruction: NDArray, original: NDArray, sample_rate: int) -> float:
    """Mel distance of DAC (Kumar et al. 2023, arXiv 2306.06546, section 3.5): 0 for the same sound.

    L1 distance of log10 mel magnitudes (at least 1e-5), mean over bands and frames, summed over windows of 32, 64, ...
    2048 samples with 5, 10, ... 320 bands, hop a quarter of the window. Of the mono mix; beyond the ends are zeros.

    Parameters
    ----------
    reconstruction, original : array [shape=(channels, samples)]
        Cut to the shorter length.
    """
    copy, clip = _same_length(reconstruction, original)
    total = 0.0
    for window, bands in zip(MEL_WINDOWS, MEL_BANDS, strict=True):
        filters = _mel_filters(sample_rate, window, bands)
        levels = [np.log10(np.maximum(_magnitude(mono, window) @ filters, MEL_FLOOR)) for mono in (copy, clip)]
        total += float(np.abs(levels[0] - levels[1]).mean())
    return total


def stft_distance(*, reconstruction: NDArray, original: NDArray, sample_rate: int) -> float:
    """Multi-resolution STFT distance (Yamamoto et al. 2020, arXiv 1910.11480, equations 4 to 6): 0 for the same sound.

    Spectral convergence ||S - S'|| / ||S|| plus the mean of |log S - log S'|, averaged over windows of 512, 1024 and
    2048 samples with hops of a quarter.

    Parameters
    ----------
    reconstruction, original : array [shape=(channels, samples)]
    sample_rate : int
        Not used: the windows are given in samples, as in the paper.
    """
    copy, clip = _same_length(reconstruction, original)
    distances = []
    for window in STFT_WINDOWS:
        made, wanted = (np.maximum(_magnitude(mono, window), STFT_FLOOR) for mono in (copy, clip))
        convergence = np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
        distances.append(float(convergence + np.abs(np.log(made) - np.log(wanted)).mean()))
    return float(np.mean(distances))


def si_sdr(*, reconstruction: NDArray, original: NDArray, sample_rate: int) -> float:
    """Scale-invariant signal to distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508), of the waveforms.

    A codec that makes its own phase gets a bad number however good it sounds: read it beside the mel distance.

    Parameters
    ----------
    reconstruction, original : array [shape=(channels, samples)]
    sample_rate : int
        Not used.
    """
    copy, clip = _same_length(reconstruction, original)
    copy, clip = copy - copy.mean(), clip - clip.mean()
    target = float(copy @ clip) / max(float(clip @ clip), 1e-12) * clip
    noise = copy - target
    return float(10 * np.log10((float(target @ target) + 1e-12) / (float(noise @ noise) + 1e-12)))
