"""What a waveform sounds like, in a few differentiable numbers: spectrum, loudness, chroma, log-mel, onsets.

The music losses hear through these functions. The ruler does not: its numpy functions (piano/evaluation/spectra.py)
have other bands, other onsets and a calibration of their own. Every function

- takes a waveform ``(batch, channels, samples)`` in [-1, 1], mono or stereo, float32 or float64;
- computes in full precision also under autocast (a bf16 spectrum has lost the quiet half of the music);
- averages the channels in *power*: two channels of opposite sign must not sound like silence;
- has a finite gradient everywhere, digital silence and full-scale square waves included.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

POWER_FLOOR = 1e-8
"""Power added before a logarithm: -80 dBFS for loudness, about the same for a log-mel band."""
CHROMA_WINDOW_SECONDS = 0.3
CHROMA_HOP_SECONDS = 0.1
CHROMA_LOWEST_HZ = 147.0
CHROMA_HIGHEST_HZ = 1760.0
CHROMA_WIDTH_SEMITONES = 0.2
TUNING_STEPS = 20
MEL_WINDOW_SECONDS = 0.04
MEL_HOP_SECONDS = 0.025

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class MusicFeatures(NamedTuple):
    """Everything the music losses want to know about a batch of waveforms, computed once."""

    waveform: Tensor
    """``(batch, channels, samples)``"""
    loudness: Tensor
    """dBFS, 50 ms windows every 25 ms, ``(batch, loudness_frames)``"""
    chroma: Tensor
    """Pitch-class shares, every 100 ms, ``(batch, chroma_frames, 12)``"""
    chroma_gate: Tensor
    """0 where a chroma frame is too quiet to have a pitch, 1 where it is loud, ``(batch, chroma_frames)``"""
    log_mel: Tensor
    """Natural logarithm of the power in 64 bands, every 25 ms, ``(batch, 64, mel_frames)``"""
    onset: Tensor
    """How much the bands rise, every 25 ms, ``(batch, mel_frames)``"""


def in_full_precision(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Switch autocast off inside a function of tensors."""

    @functools.wraps(function)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def _check_waveform(waveform: Tensor) -> Tensor:
    """Full-precision view of a waveform of three axes."""
    if waveform.ndim != 3:
        raise ValueError(f"a waveform has the shape (batch, channels, samples), got {tuple(waveform.shape)}")
    return waveform if waveform.dtype in (torch.float32, torch.float64) else waveform.float()


def next_power_of_two(samples: float) -> int:
    """Smallest power of two that is not below a number of samples."""
    return 2 ** math.ceil(math.log2(samples))


def _constant(function: Callable[_Parameters, Tensor]) -> Callable[_Parameters, Tensor]:
    """Remember a constant tensor; it is built outside inference mode so that training may reuse it."""

    remembered = functools.lru_cache(maxsize=64)(function)

    @functools.wraps(function)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return remembered(*args, **kwargs)

    return wrapped


@_constant
def hann_window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Periodic Hann window [shape=(n_fft,)] of the music losses, rounded from double precision; the codec's, in
    `foundation.phase`, is torch's own of its type, with which its models were trained, and the ruler's is numpy's
    (`evaluation.spectra.hann`)."""
    return torch.hann_window(n_fft, dtype=torch.float64).to(device=device, dtype=dtype)


@_constant
def mel_filterbank(sample_rate: int, n_fft: int, bands: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Triangular filters of height 1, equally spaced on Slaney's mel scale from 0 Hz to half the sample rate.

    The scale is linear below 1 kHz (3 mel per 200 Hz) and logarithmic above (27 mel per factor 6.4), after Slaney's
    Auditory Toolbox (1998), which librosa follows too. Computed in single precision. The ruler's features have other
    bands, with which they are calibrated (`evaluation.spectra`).

    Returns
    -------
    Tensor [shape=(bands, n_fft // 2 + 1)]
    """
    from torchaudio.functional import melscale_fbanks  # in a twentieth of a second; librosa takes two to import

    weights = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, bands, sample_rate, norm=None, mel_scale="slaney")
    return weights.T.contiguous().to(device=device, dtype=dtype)


class _FramePower(torch.autograd.Function):
    """Squared magnitudes of some bins of the spectrum of frames (..., n_fft), scaled by 1/sqrt(n_fft).

    Half the time of torch's own way back, which goes through the complex spectrum of all bins.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor, first_bin: int, last_bin: int) -> Tensor:
        spectrum = torch.fft.rfft(frames, norm="ortho")[..., first_bin : last_bin + 1].contiguous()
        ctx.save_for_backward(spectrum)
        ctx.n_fft, ctx.first_bin = frames.shape[-1], first_bin
        return spectrum.real.square() + spectrum.imag.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (spectrum,) = ctx.saved_tensors
        last = ctx.n_fft // 2
        weighted = functional.pad(spectrum * gradient, (ctx.first_bin, last - ctx.first_bin - spectrum.shape[-1] + 1))
        # irfft counts every bin twice, as the gradient of a square does, but 0 Hz and the highest only once.
        weighted[..., 0] *= 2.0
        weighted[..., last] *= 2.0
        return torch.fft.irfft(weighted, ctx.n_fft, norm="ortho"), None, None


def _power(waveform: Tensor, n_fft: int, hop_length: int, bins: tuple[int, int] | None = None) -> Tensor:
    """Power of uncentred frames, averaged over the channels (batch, frames, bins); bins first to last."""
    frames = waveform.unfold(-1, n_fft, hop_length) * hann_window(n_fft, waveform.dtype, waveform.device)
    first_bin, last_bin = bins or (0, n_fft // 2)
    return _FramePower.apply(frames, first_bin, last_bin).mean(dim=1)


@in_full_precision
def loudness_db(waveform: Tensor, sample_rate: int, window_seconds: float = 0.05, hop_seconds: float = 0.025) -> Tensor:
    """Loudness of short windows in dBFS: 10 log10(mean x^2 + 1e-8), never below -80.

    Windows lie wholly inside the waveform; a waveform shorter than the window is one window.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]

    Returns
    -------
    Tensor [shape=(batch, frames)]
    """
    waveform = _check_waveform(waveform)
    window = min(round(window_seconds * sample_rate), waveform.shape[-1])
    hop = max(1, round(hop_seconds * sample_rate))
    power = waveform.square().mean(dim=1)
    return 10.0 * torch.log10(functional.avg_pool1d(power, window, hop) + POWER_FLOOR)


def loudness_gate(loudness: Tensor) -> Tensor:
    """Share in which a window counts as sounding: 0 at -60 dBFS and below, 1 at -40 and above (any shape)."""
    return ((loudness + 60.0) / 20.0).clamp(0.0, 1.0)


def chroma_window(sample_rate: int) -> int:
    """Samples of a chroma window: the next power of two above 0.3 s (8192 at 16 kHz, 16384 at 44.1 kHz)."""
    return next_power_of_two(CHROMA_WINDOW_SECONDS * sample_rate)


@_constant
def _pitch_class_maps(sample_rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weight of every bin in every pitch class (C first) for each tuning [shape=(tunings, bins, 12)]."""
    lowest, highest = _chroma_bins(sample_rate)
    frequencies = torch.arange(lowest, highest + 1, dtype=torch.float64) * sample_rate / chroma_window(sample_rate)
    pitch = 69.0 + 12.0 * torch.log2(frequencies / 440.0)
    tuning = torch.arange(TUNING_STEPS, dtype=torch.float64) / TUNING_STEPS - 0.5
    classes = torch.arange(12, dtype=torch.float64)
    distance = torch.remainder(pitch[None, :, None] - tuning[:, None, None] - classes + 6.0, 12.0) - 6.0
    return torch.exp(-0.5 * (distance / CHROMA_WIDTH_SEMITONES).square()).to(device=device, dtype=dtype)


def _chroma_bins(sample_rate: int) -> tuple[int, int]:
    """First and last bin of the range in which chroma is heard."""
    spacing = sample_rate / chroma_window(sample_rate)
    highest = min(CHROMA_HIGHEST_HZ, 0.45 * sample_rate)
    return math.ceil(CHROMA_LOWEST_HZ / spacing), math.floor(highest / spacing)


@in_full_precision
def chroma(waveform: Tensor, sample_rate: int) -> Tensor:
    """How much of each pitch class sounds, ten times a second.

    Power spectrum of a window above 0.3 s; half the mean of the bins 3 to 6 away is taken off, which leaves
    partials and drops noise; the root of the rest between 147 and 1760 Hz goes to the pitch classes through
    Gaussians of 0.2 semitone, in the one of 20 tunings that fits the clip best (not differentiated); each
    frame is divided by its sum. Loudness drops out: x and 0.5 x have the same chroma. Silence is uniform.

    Windows lie wholly inside the waveform; a shorter waveform is centred in one window of zeros.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]

    Returns
    -------
    Tensor [shape=(batch, frames, 12)]
        C first; every frame sums to 1.
    """
    waveform = _pad_to(_check_waveform(waveform), chroma_window(sample_rate))
    lowest, highest = _chroma_bins(sample_rate)
    hop = round(CHROMA_HOP_SECONDS * sample_rate)
    power = _power(waveform, chroma_window(sample_rate), hop, (lowest - 6, highest + 6))
    # Relative to the frame's power everything below is free of scale; the offset keeps silence at zero.
    power = power / (power.sum(dim=-1, keepdim=True) + 1e-3 * POWER_FLOOR)
    beside = functional.avg_pool1d(power, 4, stride=1)
    peaks = functional.relu(power[..., 6:-6] - 0.25 * (beside[..., :-9] + beside[..., 9:]))
    # The offset bounds the slope of the root: partials 60 dB below the frame's total fade out.
    strength = torch.sqrt(peaks + 1e-6) - 1e-3
    maps = _pitch_class_maps(sample_rate, waveform.dtype, waveform.device)
    fit = strength.detach().sum(dim=1) @ maps.sum(dim=-1).T
    classes = torch.bmm(strength, maps[fit.argmax(dim=-1)]) + 1e-6
    return classes / classes.sum(dim=-1, keepdim=True)


def gated_chroma(waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Chroma with the gate of each of its windows: pitch classes of near silence mean nothing.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]

    Returns
    -------
    tuple of Tensor [shape=(batch, frames, 12)] and Tensor [shape=(batch, frames)]
    """
    padded = _pad_to(_check_waveform(waveform), chroma_window(sample_rate))
    window_seconds = chroma_window(sample_rate) / sample_rate
    gate = loudness_gate(loudness_db(padded, sample_rate, window_seconds, CHROMA_HOP_SECONDS))
    return chroma(padded, sample_rate), gate


def _pad_to(waveform: Tensor, samples: int) -> Tensor:
    """Centre a waveform in zeros if it is shorter than a number of samples."""
    missing = max(0, samples - waveform.shape[-1])
    return functional.pad(waveform, (missing // 2, missing - missing // 2))


@in_full_precision
def log_mel(waveform: Tensor, sample_rate: int, bands: int = 64, hop_seconds: float = MEL_HOP_SECONDS) -> Tensor:
    """Natural logarithm of the power in mel bands, plus 1e-8.

    Window: the next power of two above 40 ms (1024 at 16 kHz, 2048 at 44.1 kHz), centred frames. The filters
    have height 1, so that ``log_mel(...).exp() - POWER_FLOOR`` is the energy in each band.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]

    Returns
    -------
    Tensor [shape=(batch, bands, frames)]
    """
    waveform = _check_waveform(waveform)
    n_fft = next_power_of_two(MEL_WINDOW_SECONDS * sample_rate)
    padded = functional.pad(waveform, (n_fft // 2, n_fft // 2))
    power = _power(padded, n_fft, round(hop_seconds * sample_rate))
    filters = mel_filterbank(sample_rate, n_fft, bands, waveform.dtype, waveform.device)
    return torch.log(power @ filters.T + POWER_FLOOR).transpose(1, 2)


def onset_strength(log_mel: Tensor) -> Tensor:
    """Mean rise of the log-mel bands from the frame before; the first frame has none.

    For the losses; the ruler has onsets of its own, in dB (`evaluation.spectra.onset_strength`).

    Parameters
    ----------
    log_mel : Tensor [shape=(batch, bands, frames)]

    Returns
    -------
    Tensor [shape=(batch, frames)]
    """
    rise = functional.relu(log_mel.diff(dim=-1)).mean(dim=1)
    return functional.pad(rise, (1, 0))


@in_full_precision
def music_features(waveform: Tensor, sample_rate: int) -> MusicFeatures:
    """Loudness, chroma, log-mel and onsets of a batch, for every music loss of a step.

    Parameters
    ----------
    waveform : Tensor [shape=(batch, channels, samples)]

    Returns
    -------
    MusicFeatures
    """
    waveform = _check_waveform(waveform)
    classes, gate = gated_chroma(waveform, sample_rate)
    mel = log_mel(waveform, sample_rate)
    return MusicFeatures(
        waveform=waveform,
        loudness=loudness_db(waveform, sample_rate),
        chroma=classes,
        chroma_gate=gate,
        log_mel=mel,
        onset=onset_strength(mel),
    )
