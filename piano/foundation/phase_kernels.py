"""The inner loops of `foundation.phase`, compiled: each passes over memory once.

Arrays are float32 and contiguous, (frames, bins) of one channel; a complex spectrum is given as the pairs of its parts
(frames, 2 * bins). What they compute is said, and done in PyTorch, in `foundation.phase`; tests/test_kernels.py holds
one against the other. Every row is worked on alone and from its first bin on, so that a block's size changes no bit.
This module needs numba: see `foundation.compiled`.
"""

import numpy as np
import torch
from torch import Tensor

from piano.foundation.vector_math import compiled, cosine_and_sine, log32

_f = np.float32
_TINY = _f(1e-20)
_ROWS = "float32[:, ::1]"


@compiled(f"void({_ROWS}, {_ROWS}, float32, {_ROWS})")
def log_power(left, right, quiet, level):
    """Log of the sum of two channels' powers."""
    for frame in range(left.shape[0]):
        for index in range(left.shape[1]):
            a, b = left[frame, index], right[frame, index]
            level[frame, index] = log32(a * a + b * b + quiet)


@compiled(f"void({_ROWS}, float32, {_ROWS})")
def log_power_of_one(channel, quiet, level):
    """Log power of one channel."""
    for frame in range(channel.shape[0]):
        for index in range(channel.shape[1]):
            a = channel[frame, index]
            level[frame, index] = log32(a * a + quiet)


@compiled(f"void({_ROWS}, int64, boolean, float32[::1], float32, float32, {_ROWS})")
def single_pass(around, frames, is_first, start, delay_per_rise, curvature, turns):
    """Phases in turns of frames that follow their peaks: `_SinglePass.advance` of one row of channels.

    Parameters
    ----------
    around : array [shape=(frames + 1 or frames + 2, bins)]
        Log power of the frame before, of the frames, and of the frame after if there is one.
    frames : int
    is_first : bool
        Whether there is no frame before: its row is a copy then, and the phases begin here.
    start : array [shape=(bins,)]
        Phases of the frame before.
    turns : array [shape=(frames, bins)]
        The result.
    """
    bins = around.shape[1]
    delay = np.empty(bins, np.float32)
    rise = np.empty(bins, np.float32)
    at_peak = np.empty(bins, np.float32)
    is_peak = np.empty(bins, np.int32)
    further = np.empty(bins, np.int32)
    hill = np.empty(bins, np.int32)
    peaks = np.empty(bins + 1, np.int32)
    half, quarter, slope_scale = _f(0.5), _f(0.25), _f(-0.5) * delay_per_rise
    offset_scale = _f(0.125) * quarter / curvature
    for frame in range(frames):
        before, level = around[frame], around[frame + 1]
        has_rise = frame + 2 < around.shape[0] and not (is_first and frame == 0)
        following = around[frame + 2] if has_rise else level
        earlier = before if has_rise else level
        for index in range(bins):
            rise[index] = quarter * (following[index] - earlier[index])
        for index in range(bins - 1):
            slope = (rise[index + 1] + rise[index]) * slope_scale
            at_peak[index] = min(max(slope, -half), half)
        total = 0.0
        delay[0] = _f(0.0)
        for index in range(bins - 1):
            total += at_peak[index]
            delay[index + 1] = _f(total)
        # Peaks, and whether a bin that is none belongs to the next peak or to the last one.
        for index in range(1, bins - 1):
            is_rising, goes_on = level[index] > level[index - 1], level[index + 1] > level[index]
            top = np.int32(is_rising) & np.int32(not goes_on)
            is_peak[index] = top
            further[index] = np.int32(level[index + 1] > level[index - 1]) & (np.int32(1) - top)
            at_peak[index] = (
                ((level[index + 1] - level[index - 1]) + (before[index + 1] - before[index - 1])) * offset_scale
                - quarter * _f(index)
                - delay[index]
            )
        last = bins - 1
        is_peak[0] = np.int32(not level[1] > level[0])
        further[0] = np.int32(1) - is_peak[0]
        is_peak[last] = np.int32(level[last] > level[last - 1])
        further[last] = np.int32(0)
        at_peak[0] = -delay[0]
        at_peak[last] = -quarter * _f(last) - delay[last]
        count = np.int32(0)
        for index in range(bins):
            peaks[count] = np.int32(index)
            count += is_peak[index]
            hill[index] = count - np.int32(1) + further[index]
        previous = start if frame == 0 else turns[frame - 1]
        row = turns[frame]
        if is_first and frame == 0:
            for index in range(bins):
                step = delay[index] + half * _f(index)
                row[index] = step - np.floor(step)
            continue
        for index in range(bins):
            peak = peaks[hill[index]]
            step = delay[index] + half * _f(index) + at_peak[peak] + previous[peak]
            row[index] = step - np.floor(step)


@compiled(f"void({_ROWS}, {_ROWS}, {_ROWS})")
def sounding(magnitude, turns, spectrum):
    """Spectrum of magnitudes and phases in turns."""
    for frame in range(magnitude.shape[0]):
        for index in range(magnitude.shape[1]):
            cosine, sine = cosine_and_sine(turns[frame, index])
            spectrum[frame, 2 * index] = magnitude[frame, index] * cosine
            spectrum[frame, 2 * index + 1] = magnitude[frame, index] * sine


@compiled(f"void({_ROWS}, {_ROWS}, {_ROWS}, {_ROWS}, {_ROWS}, {_ROWS})")
def sounding_pair(left, right, cosine_between, turns, spectrum_left, spectrum_right):
    """Spectra of two channels that share a phase, but for an angle between them: half of it each.

    The half angle needs no arc cosine: its cosine and sine are sqrt((1 + c) / 2) and sqrt((1 - c) / 2).
    """
    for frame in range(left.shape[0]):
        for index in range(left.shape[1]):
            cosine, sine = cosine_and_sine(turns[frame, index])
            between = min(max(cosine_between[frame, index], _f(-1.0)), _f(1.0))
            half_cosine, half_sine = np.sqrt(_f(0.5) + _f(0.5) * between), np.sqrt(_f(0.5) - _f(0.5) * between)
            a, b = left[frame, index], right[frame, index]
            cc, ss = cosine * half_cosine, sine * half_sine
            sc, cs = sine * half_cosine, cosine * half_sine
            spectrum_left[frame, 2 * index] = a * (cc - ss)
            spectrum_left[frame, 2 * index + 1] = a * (sc + cs)
            spectrum_right[frame, 2 * index] = b * (cc + ss)
            spectrum_right[frame, 2 * index + 1] = b * (sc - cs)


@compiled(f"void({_ROWS}, {_ROWS}, {_ROWS}, float32, {_ROWS})")
def impose(projection, earlier, magnitude, momentum, spectrum):
    """Phase of the accelerated projection with the magnitudes; `earlier` takes the projection."""
    for frame in range(magnitude.shape[0]):
        for index in range(magnitude.shape[1]):
            real, imag = projection[frame, 2 * index], projection[frame, 2 * index + 1]
            if momentum != _f(0.0):
                real = real + momentum * (real - earlier[frame, 2 * index])
                imag = imag + momentum * (imag - earlier[frame, 2 * index + 1])
            earlier[frame, 2 * index] = projection[frame, 2 * index]
            earlier[frame, 2 * index + 1] = projection[frame, 2 * index + 1]
            gain = magnitude[frame, index] / np.sqrt(real * real + imag * imag + _TINY)
            spectrum[frame, 2 * index] = real * gain
            spectrum[frame, 2 * index + 1] = imag * gain


@compiled(f"void({', '.join([_ROWS] * 7)}, float32, {_ROWS}, {_ROWS})")
def impose_pair(
    moved_left, moved_right, earlier_left, earlier_right, left, right, cosine, momentum, out_left, out_right
):
    """`impose` and `_nearest_pair`: both channels' magnitudes and the angle between them."""
    for frame in range(left.shape[0]):
        for index in range(left.shape[1]):
            x, y = 2 * index, 2 * index + 1
            a_real, a_imag = moved_left[frame, x], moved_left[frame, y]
            b_real, b_imag = moved_right[frame, x], moved_right[frame, y]
            before_a_real, before_a_imag = earlier_left[frame, x], earlier_left[frame, y]
            before_b_real, before_b_imag = earlier_right[frame, x], earlier_right[frame, y]
            earlier_left[frame, x], earlier_left[frame, y] = a_real, a_imag
            earlier_right[frame, x], earlier_right[frame, y] = b_real, b_imag
            if momentum != _f(0.0):
                a_real += momentum * (a_real - before_a_real)
                a_imag += momentum * (a_imag - before_a_imag)
                b_real += momentum * (b_real - before_b_real)
                b_imag += momentum * (b_imag - before_b_imag)
            loud_left, loud_right, between = left[frame, index], right[frame, index], cosine[frame, index]
            ahead = np.sqrt(max(_f(1.0) - between * between, _f(0.0)))
            ahead = -ahead if a_imag * b_real - a_real * b_imag < _f(0.0) else ahead
            real = loud_right * b_real + loud_left * (a_real * between + a_imag * ahead)
            imag = loud_right * b_imag + loud_left * (a_imag * between - a_real * ahead)
            size = _f(1.0) / np.sqrt(real * real + imag * imag + _TINY)
            real *= size
            imag *= size
            out_left[frame, x] = loud_left * (between * real - ahead * imag)
            out_left[frame, y] = loud_left * (between * imag + ahead * real)
            out_right[frame, x] = loud_right * real
            out_right[frame, y] = loud_right * imag


@compiled(f"void({_ROWS}, float32[::1], {_ROWS})")
def overlap_add(frames, window, blocks):
    """Windowed frames (frames, n_fft) added into blocks (frames + 3, hop)."""
    hop = blocks.shape[1]
    for block in range(blocks.shape[0]):
        row = blocks[block]
        row[:] = _f(0.0)
        for quarter in range(4):
            frame = block - quarter
            if 0 <= frame < frames.shape[0]:
                part = slice(quarter * hop, (quarter + 1) * hop)
                piece, weight = frames[frame, part], window[part]
                for index in range(hop):
                    row[index] += piece[index] * weight[index]


class PhaseKernels:
    """The same steps on tensors (..., channels, frames, bins) of the CPU, as `foundation.phase` takes them."""

    def log_power(self, magnitudes: Tensor, quiet: float, *, shared: bool) -> Tensor:
        """Log power (..., channels or 1, frames, bins): of each channel, or of their sum."""
        channels = magnitudes.shape[-3]
        if shared and channels == 2:
            level = torch.empty_like(magnitudes[..., :1, :, :], memory_format=torch.contiguous_format)
            left, right = magnitudes[..., :1, :, :], magnitudes[..., 1:, :, :]
            for one, other, result in zip(_rows(left), _rows(right), _rows(level), strict=True):
                log_power(one, other, quiet, result)
            return level
        level = torch.empty_like(magnitudes, memory_format=torch.contiguous_format)
        for one, result in zip(_rows(magnitudes), _rows(level), strict=True):
            log_power_of_one(one, quiet, result)
        return level

    def single_pass(
        self, around: Tensor, frames: int, start: Tensor, *, is_first: bool, delay_per_rise: float, curvature: float
    ) -> Tensor:
        """Turns (..., channels or 1, frames, bins) after those of the frame before (..., channels or 1, bins)."""
        around = around.expand(*start.shape[:-1], *around.shape[-2:]).contiguous()
        turns = torch.empty(*start.shape[:-1], frames, start.shape[-1])
        begin = start.contiguous().view(-1, start.shape[-1]).numpy()
        for level, first, result in zip(_rows(around), begin, _rows(turns), strict=True):
            single_pass(level, frames, is_first, first, delay_per_rise, curvature, result)
        return turns

    def sound_phases(self, magnitudes: Tensor, turns: Tensor, cosine: Tensor | None) -> Tensor:
        """Spectrum of magnitudes and turns (..., channels or 1, frames, bins); `cosine` is (..., 1, frames, bins)."""
        spectrum = torch.empty(magnitudes.shape, dtype=torch.complex64)
        if cosine is not None and turns.shape[-3] == 1:
            planes = [magnitudes[..., :1, :, :], magnitudes[..., 1:, :, :], cosine, turns]
            results = [_parts(spectrum[..., :1, :, :]), _parts(spectrum[..., 1:, :, :])]
            for row in zip(*map(_rows, planes), *results, strict=True):
                sounding_pair(*row)
            return spectrum
        if cosine is not None:
            half = torch.acos(cosine.clamp(-1.0, 1.0)) / (4.0 * np.pi)
            turns = torch.cat([turns[..., :1, :, :] + half, turns[..., -1:, :, :] - half], dim=-3)
        turns = turns.expand(magnitudes.shape).contiguous()
        for row in zip(_rows(magnitudes), _rows(turns), _parts(spectrum), strict=True):
            sounding(*row)
        return spectrum

    def impose(self, projection: Tensor, earlier: Tensor, target: Tensor, momentum: float, *, is_pair: bool) -> Tensor:
        """See `_Iteration.impose`."""
        spectrum = torch.empty_like(projection, memory_format=torch.contiguous_format)
        if not is_pair:
            for moved, held, wanted, result in zip(
                _parts(projection), _parts(earlier), _rows(target), _parts(spectrum), strict=True
            ):
                impose(moved, held, wanted, momentum, result)
            return spectrum
        planes = [
            _parts(tensor[..., channel : channel + 1, :, :])
            for tensor in (projection, earlier, spectrum)
            for channel in (0, 1)
        ]
        wanted = [_rows(target[..., plane : plane + 1, :, :]) for plane in (0, 1, 2)]
        for moved_left, moved_right, left, right, out_left, out_right, *aims in zip(*planes, *wanted, strict=True):
            impose_pair(moved_left, moved_right, left, right, *aims, momentum, out_left, out_right)
        return spectrum

    def overlap_add(self, frames: Tensor, window: Tensor) -> Tensor:
        """Blocks (..., frames + 3, hop) of frames (..., frames, n_fft), which are windowed here."""
        count, n_fft = frames.shape[-2:]
        blocks = torch.empty(*frames.shape[:-2], count + 3, n_fft // 4)
        weight = window.numpy()
        for row, result in zip(_rows(frames), _rows(blocks), strict=True):
            overlap_add(row, weight, result)
        return blocks


def _rows(tensor: Tensor) -> list[np.ndarray]:
    """The (frames, bins) of every channel of a tensor; in place: a cut along the frames leaves each in one piece."""
    planes = tensor.view(-1, *tensor.shape[-2:]) if tensor.dim() > 3 else tensor
    return [plane.contiguous().numpy() for plane in planes]


def _parts(spectrum: Tensor) -> list[np.ndarray]:
    """Likewise of a complex spectrum: (frames, 2 * bins) real numbers."""
    return _rows(torch.view_as_real(spectrum).flatten(-2))
