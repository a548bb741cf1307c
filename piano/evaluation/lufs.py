"""Loudness as people hear it, in LUFS: ITU-R BS.1770-4, for sound of any level and rate.

torchaudio's own `loudness` cuts its filters off at full scale on the way, which measures loud music up to 1.5 LU too
low; so the two filters are made here, and run by torchaudio without that cut, or by SciPy where torchaudio cannot be
loaded beside the torch that is installed.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_SECONDS = 0.4
GATE = -70.0
"""Blocks below it are silence; also what silence reads."""
_STEPS = 4  # of a block: they overlap by three quarters
_RELATIVE_GATE = -10.0
_OFFSET = -0.691


def integrated_lufs(waveform: NDArray, sample_rate: int) -> float:
    """Gated loudness of a whole clip.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
        One or two channels.
    sample_rate : int

    Returns
    -------
    float
        LUFS; -70 where all is below the gate, not a number for less than 0.4 s.
    """
    if waveform.shape[1] < BLOCK_SECONDS * sample_rate:
        return float("nan")
    heard = k_weighted(waveform, sample_rate)
    block, step = round(BLOCK_SECONDS * sample_rate), BLOCK_SECONDS * sample_rate / _STEPS
    sums = np.concatenate([[0.0], np.cumsum(np.square(heard).sum(axis=0))])
    count = int((waveform.shape[1] - block) / step) + 1
    starts = np.round(np.arange(count) * step).astype(int)
    power = np.maximum((sums[starts + block] - sums[starts]) / block, 1e-20)
    loudness = _OFFSET + 10 * np.log10(power)
    sounding = power[loudness > GATE]
    if not len(sounding):
        return GATE
    gate = _OFFSET + 10 * np.log10(sounding.mean()) + _RELATIVE_GATE
    kept = power[(loudness > GATE) & (loudness > gate)]
    return max(GATE, float(_OFFSET + 10 * np.log10(kept.mean())))


def k_weighted(waveform: NDArray, sample_rate: int) -> NDArray:
    """The waveform through the ear's two filters, float64 [shape=(channels, samples)]"""
    sections = k_filters(sample_rate)
    samples = np.asarray(waveform, dtype=np.float64)
    try:
        return filter_by_torchaudio(samples, sections)
    except (ImportError, OSError):
        from scipy.signal import sosfilt  # here: it takes a second to import

        return np.asarray(sosfilt(sections, samples, axis=1))


def filter_by_torchaudio(samples: NDArray, sections: NDArray) -> NDArray:
    """What `scipy.signal.sosfilt` gives, by torchaudio; raises ImportError or OSError where that cannot be loaded."""
    import torch
    from torchaudio.functional import lfilter

    below, above = np.convolve(*sections[:, 3:]), np.convolve(*sections[:, :3])  # both in one pass
    heard = torch.from_numpy(np.ascontiguousarray(samples))
    return lfilter(heard, torch.from_numpy(below), torch.from_numpy(above), clamp=False).numpy()


def k_filters(sample_rate: int) -> NDArray:
    """The head's high shelf and the high pass, as second-order sections [shape=(2, 6)]

    The analogue filters behind the standard's table for 48 kHz, so that they hold for every rate (De Man 2018).
    """
    shelf_hz, shelf_db, shelf_q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, high = np.tan(np.pi * shelf_hz / sample_rate), 10 ** (shelf_db / 20)
    middle = high**0.4996667741545416
    shelf = [high + middle * k / shelf_q + k * k, 2 * (k * k - high), high - middle * k / shelf_q + k * k]
    shelf += [1 + k / shelf_q + k * k, 2 * (k * k - 1), 1 - k / shelf_q + k * k]
    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    k = np.tan(np.pi * pass_hz / sample_rate)
    size = 1 + k / pass_q + k * k
    high_pass = [size, -2 * size, size, size, 2 * (k * k - 1), 1 - k / pass_q + k * k]
    sections = np.array([shelf, high_pass])
    return sections / sections[:, 3:4]
