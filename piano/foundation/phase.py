"""Magnitudes to sound: a phase that follows the spectral peaks, refined by fast Griffin-Lim, in one pass over time.

Frames come before bins: a spectrum is ``(..., frames, bins)``, so that every frame is one contiguous row for the
FFT. The window is a periodic Hann window of ``n_fft`` samples, the hop is ``n_fft / 4``, frame ``i`` is centred at
sample ``i * hop``, the waveform is zero outside itself, and the spectrum is scaled by ``1 / sqrt(n_fft)``.

Two channels may come with their coherence, the cosine of the angle between them at every bin. Then they begin with that
angle, half of it each, and every iteration moves both to the nearest spectra that have the magnitudes *and* the angle:
without it left and right of a wide sound end up in phase, for one start is shared, or unrelated (docs/experiments.md).

A Griffin-Lim iteration of frame ``i`` needs the frames ``i - 3 .. i + 3`` of the iteration before it and nothing
else. So the iterations run as a pipeline, each three frames behind the one before (`PhaseVocoder`). The result is
that of iterating over the whole recording at once, however it is cut, in memory that does not grow with its length.
"""

import copy
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from piano.foundation.phase_kernels import PhaseKernels

HOPS_PER_WINDOW = 4
MOMENTUM = 0.99
"""Best of 0 .. 3 for 4 to 32 iterations on piano; above 1 the iterations diverge."""
BLOCK_FRAMES = 64
PARTIAL_CURVATURE = 1.6113
"""Second difference of a partial's log magnitude over bins: 2 pi 0.25645 for the Hann window (Prusa et al. 2017)."""
DELAY_PER_RISE = 1.0258 / (2.0 * math.pi)
"""Turns a bin by which phase slopes when the log magnitude rises by 1 a frame: 0.25645 n_fft / hop, over 2 pi."""

_OVERLAP = HOPS_PER_WINDOW - 1
_LOOKAHEAD = 2
_WINDOW_POWER = 1.5  # sum of squared Hann windows a quarter window apart
QUIET_POWER = 1e-12
"""Added to squared magnitudes: keeps the logarithm of silence finite."""
_EXTRAPOLATION_ORDER = 256
_EXTRAPOLATION_SAMPLES = 8192


def hop_of(n_fft: int) -> int:
    """Samples between two frames: a quarter of the window."""
    if n_fft < 16 or n_fft % HOPS_PER_WINDOW:
        raise ValueError(f"n_fft must be a multiple of {HOPS_PER_WINDOW} and at least 16, got {n_fft}")
    return n_fft // HOPS_PER_WINDOW


def stft(waveform: Tensor, n_fft: int) -> Tensor:
    """Complex spectrum of a waveform: the first ``ceil(samples / hop)`` frames of `torch.stft` with the settings above.

    Parameters
    ----------
    waveform : Tensor [shape=(..., samples)]
    n_fft : int
        Window length in samples, a multiple of 4.

    Returns
    -------
    Tensor [shape=(..., frames, n_fft // 2 + 1)]
        Complex.
    """
    hop = hop_of(n_fft)
    samples = waveform.shape[-1]
    frames = math.ceil(samples / hop)
    padded = functional.pad(waveform, (_LOOKAHEAD * hop, (frames + 1) * hop - samples))
    return torch.fft.rfft(padded.unfold(-1, n_fft, hop) * _analysis_window(n_fft, waveform))


def istft(spectrum: Tensor, samples: int) -> Tensor:
    """Waveform of a complex spectrum: the least-squares inverse of `stft` (Griffin & Lim 1984), as `torch.istft`.

    Parameters
    ----------
    spectrum : Tensor [shape=(..., frames, bins)]
        Complex.
    samples : int
        Length of the result, at most ``(frames + 1) * hop``.

    Returns
    -------
    Tensor [shape=(..., samples)]
    """
    frames, n_fft = spectrum.shape[-2], n_fft_of(spectrum)
    hop = hop_of(n_fft)
    needed = math.ceil(samples / hop)
    if needed > frames + 1:
        raise ValueError(f"{frames} frames make at most {(frames + 1) * hop} samples, {samples} were asked for")
    blocks = _WINDOW_POWER * _overlap_add(spectrum)[..., _LOOKAHEAD : _LOOKAHEAD + needed, :]
    blocks = blocks / _window_power(range(needed), frames=range(frames), n_fft=n_fft, like=blocks)
    return blocks.flatten(-2)[..., :samples]


def n_fft_of(spectrum: Tensor) -> int:
    """Window length of a spectrum or of magnitudes (..., bins)."""
    return 2 * (spectrum.shape[-1] - 1)


def reconstruct(
    magnitudes: Tensor,
    *,
    iterations: int = 16,
    prompt: Tensor | None = None,
    shared_start: bool = True,
    coherence: Tensor | None = None,
    kernels: "PhaseKernels | None" = None,
) -> Tensor:
    """Waveform of magnitudes, by the recursion of `PhaseVocoder`; on a CPU clip by clip, which keeps to its cache.

    Parameters
    ----------
    magnitudes : Tensor [shape=(..., channels, frames, bins)]
        Of `stft`; not negative.
    iterations : int
        Griffin-Lim iterations after the single pass.
    prompt : Tensor [shape=(..., channels, samples)], optional
        Sound that ends where the result begins: see `PhaseVocoder.follow`.
    shared_start : bool
        See `PhaseVocoder`.
    coherence : Tensor [shape=(..., frames, bins)], optional
        See `PhaseVocoder.push`.
    kernels : PhaseKernels, optional
        See `PhaseVocoder`.

    Returns
    -------
    Tensor [shape=(..., channels, frames * hop)]
    """
    n_fft = n_fft_of(magnitudes)
    clips = magnitudes.reshape(-1, *magnitudes.shape[-3:])
    cosines = None if coherence is None else coherence.reshape(-1, *coherence.shape[-2:])
    size = 1 if magnitudes.device.type == "cpu" else max(1, clips.shape[0])
    prompts = None if prompt is None else prompt.expand(*magnitudes.shape[:-2], -1).reshape(*clips.shape[:2], -1)
    waveforms = []
    for start in range(0, clips.shape[0], size):
        clip = slice(start, start + size)
        vocoder = PhaseVocoder(n_fft, iterations=iterations, shared_start=shared_start, kernels=kernels)
        if prompts is not None:
            vocoder.follow(prompts[clip])
        pushed = vocoder.push(clips[clip], None if cosines is None else cosines[clip])
        waveforms.append(torch.cat([pushed, vocoder.finish()], dim=-1))
    return torch.cat(waveforms).reshape(*magnitudes.shape[:-2], -1)


def hold_phase(
    log_magnitude: Tensor,
    *,
    iterations: int = 2,
    floor: float = 0.0,
    shared_start: bool = True,
    coherence: Tensor | None = None,
) -> Tensor:
    """Waveform of log magnitudes for a training loss: the gradient reaches the magnitudes, the phase is a constant.

    Parameters
    ----------
    log_magnitude : Tensor [shape=(..., channels, frames, bins)]
        ``log(magnitude + floor)``.
    iterations : int
        Griffin-Lim iterations for the constant phase.
    floor : float
        The number that was added before the logarithm.
    shared_start : bool
        See `PhaseVocoder`.
    coherence : Tensor [shape=(..., frames, bins)], optional
        See `PhaseVocoder.push`; a constant, too.

    Returns
    -------
    Tensor [shape=(..., channels, frames * hop)]
    """
    phase = constant_phase(
        log_magnitude, iterations=iterations, floor=floor, shared_start=shared_start, coherence=coherence
    )
    return with_phase(log_magnitude, phase, floor=floor)


@torch.no_grad()
def constant_phase(
    log_magnitude: Tensor,
    *,
    iterations: int = 2,
    floor: float = 0.0,
    shared_start: bool = True,
    coherence: Tensor | None = None,
    kernels: "PhaseKernels | None" = None,
) -> Tensor:
    """The phase that `hold_phase` holds, as complex numbers of length one, for what is heard more than once.

    Parameters
    ----------
    log_magnitude, iterations, floor, shared_start, coherence
        As for `hold_phase`.
    kernels : PhaseKernels, optional
        See `PhaseVocoder`.

    Returns
    -------
    Tensor [shape=(..., channels, frames, bins)]
        Complex; without gradient.
    """
    sound = reconstruct(
        _linear(log_magnitude, floor),
        iterations=iterations,
        shared_start=shared_start,
        coherence=coherence,
        kernels=kernels,
    )
    return torch.sgn(stft(sound, n_fft_of(log_magnitude)))


def with_phase(log_magnitude: Tensor, phase: Tensor, *, floor: float = 0.0) -> Tensor:
    """Waveform of log magnitudes (..., channels, frames, bins) that sound with a phase of `constant_phase`.

    Returns
    -------
    Tensor [shape=(..., channels, frames * hop)]
    """
    return cast(Tensor, _Sounding.apply(log_magnitude, phase, floor))


def stft_gradient(gradient: Tensor, samples: int) -> Tensor:
    """The gradient at a waveform, from one at its `stft`: the adjoint of that.

    Torch's own way back goes through the complex spectrum of all frequencies; this one through `irfft`.

    Parameters
    ----------
    gradient : Tensor [shape=(..., frames, bins)]
        Complex: by the real parts, and i times by the imaginary ones. Overwritten.
    samples : int
        Of the waveform.

    Returns
    -------
    Tensor [shape=(..., samples)]
    """
    n_fft = n_fft_of(gradient)
    # irfft counts every bin twice but 0 Hz and the highest.
    gradient[..., 1:-1] *= 0.5
    frames = torch.fft.irfft(gradient, n=n_fft).mul_(_analysis_window(n_fft, gradient.real) * n_fft)
    blocks = _add_frames(frames.unflatten(-1, (HOPS_PER_WINDOW, -1)))
    return blocks.flatten(-2)[..., _LOOKAHEAD * hop_of(n_fft) :][..., :samples]


class _Sounding(torch.autograd.Function):
    """Waveform of log magnitudes with a phase that is held: `istft`, and its adjoint in place of torch's way back."""

    @staticmethod
    def forward(ctx: Any, log_magnitude: Tensor, phase: Tensor, floor: float) -> Tensor:
        magnitude = _linear(log_magnitude, floor)
        ctx.save_for_backward(magnitude, phase)
        ctx.floor = floor
        return istft(magnitude * phase, magnitude.shape[-2] * hop_of(n_fft_of(magnitude)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        magnitude, phase = ctx.saved_tensors
        frames, n_fft = magnitude.shape[-2], n_fft_of(magnitude)
        hop = hop_of(n_fft)
        blocks = gradient.unflatten(-1, (frames, hop))
        blocks = blocks / _window_power(range(frames), frames=range(frames), n_fft=n_fft, like=blocks)
        padded = functional.pad(blocks.flatten(-2), (_LOOKAHEAD * hop, hop))
        window = _hann(n_fft, gradient.dtype, gradient.device) * (2.0 / math.sqrt(n_fft))
        spectrum = torch.fft.rfft(padded.unfold(-1, n_fft, hop) * window)
        spectrum[..., 0] *= 0.5
        spectrum[..., -1] *= 0.5
        along = torch.addcmul(spectrum.real * phase.real, spectrum.imag, phase.imag)
        # d(exp(l) - floor) = exp(l) dl, where it is not clamped.
        return along.mul_((magnitude + ctx.floor) * (magnitude > 0.0)), None, None


def _linear(log_magnitude: Tensor, floor: float) -> Tensor:
    return (log_magnitude.exp() - floor).clamp(min=0.0)


class PhaseVocoder:
    """Magnitudes in, waveform out, in pieces of any size: single-pass phase, then fast Griffin-Lim.

    The iterations are those of Perraudin, Balazs & Sondergaard (2013).
    All channels start from one phase, that of their sum of powers; the iterations are each channel's own.

    Parameters
    ----------
    n_fft : int
        Window length in samples; the magnitudes have ``n_fft // 2 + 1`` bins.
    iterations : int
        Griffin-Lim iterations. Each delays the output of a stream by three frames.
    momentum : float
        Acceleration of the iterations; 0 is plain Griffin-Lim.
    block_frames : int
        Frames worked on at once: input is collected up to this number. It sets speed and delay, not the result.
    shared_start : bool
        Whether all channels start from one phase, that of their sum of powers; the iterations are each channel's own.
        On for left and right, off for channels that differ in phase as mid and side do.
    kernels : PhaseKernels, optional
        The inner loops, compiled (`foundation.compiled`): several times faster on a CPU, and equal up to rounding. By
        default they are PyTorch's, on every device.

    Examples
    --------
    >>> vocoder = PhaseVocoder(2048, iterations=4)
    >>> sound = torch.cat([*(vocoder.push(piece) for piece in pieces), vocoder.finish()], dim=-1)
    """

    def __init__(
        self,
        n_fft: int,
        *,
        iterations: int = 16,
        momentum: float = MOMENTUM,
        block_frames: int = BLOCK_FRAMES,
        shared_start: bool = True,
        kernels: "PhaseKernels | None" = None,
    ) -> None:
        hop_of(n_fft)
        if iterations < 0:
            raise ValueError(f"iterations must not be negative, got {iterations}")
        if block_frames < HOPS_PER_WINDOW:
            raise ValueError(f"block_frames must be at least {HOPS_PER_WINDOW}, got {block_frames}")
        self.n_fft = n_fft
        self.iterations = iterations
        self.block_frames = block_frames
        self.kernels = kernels
        self._single_pass = _SinglePass(shared=shared_start, kernels=kernels)
        self._steps = [
            _Iteration(n_fft, momentum=momentum if step else 0.0, kernels=kernels) for step in range(iterations)
        ]
        self._synthesis = _Synthesis(n_fft, kernels)
        self._planes: Tensor | None = None  # of frames that iterations still need, and of those that wait for a block
        self._held = 0  # how many of them have a phase already
        self._projections: Tensor | None = None
        self._fade: Tensor | None = None
        self._finished = False
        self._is_pair = False

    @classmethod
    def from_prompt(
        cls,
        prompt: Tensor,
        n_fft: int,
        *,
        iterations: int = 16,
        shared_start: bool = True,
        kernels: "PhaseKernels | None" = None,
    ) -> "PhaseVocoder":
        """A vocoder whose first sample comes after the last one of `prompt` (..., channels, samples): see `follow`."""
        vocoder = cls(n_fft, iterations=iterations, shared_start=shared_start, kernels=kernels)
        vocoder.follow(prompt)
        return vocoder

    def copy(self) -> "PhaseVocoder":
        """Another one at the same place: what either does next leaves the other as it is.

        It costs next to nothing, for no tensor that is held from push to push is ever written in place.
        """
        other = copy.copy(self)
        other._single_pass = copy.copy(self._single_pass)
        other._synthesis = copy.copy(self._synthesis)
        other._steps = [step.copy() for step in self._steps]
        return other

    def with_kernels(self, kernels: "PhaseKernels | None") -> "PhaseVocoder":
        """A `copy` that goes on with other inner loops."""
        other = self.copy()
        other.kernels = kernels
        for part in (other._single_pass, other._synthesis, *other._steps, *(step.synthesis for step in other._steps)):
            part.kernels = kernels
        return other

    @torch.no_grad()
    def follow(self, prompt: Tensor) -> None:
        """Go on from a sound, before the first push: frame 0 of the magnitudes is centred at its end.

        The phases go on from the prompt's own, every iteration sees the prompt before the seam, and the first hop is
        cross-faded with what linear prediction expects the prompt to do next: a magnitude that jumps makes no click.

        Parameters
        ----------
        prompt : Tensor [shape=(..., channels, samples)]
            Of any length; its last half second or less is looked at.
        """
        prompt, hop = prompt.float(), hop_of(self.n_fft)
        expected = extrapolate(prompt, hop)
        around = torch.cat([prompt[..., -_OVERLAP * hop :], expected], dim=-1)
        around = functional.pad(around, (self.n_fft - around.shape[-1], 0))
        last_frame = torch.fft.rfft(around * _analysis_window(self.n_fft, around)).unsqueeze(-2)
        self._single_pass.follow(last_frame)
        for synthesis in [self._synthesis, *(step.synthesis for step in self._steps)]:
            synthesis.follow(last_frame)
        for step in self._steps:
            step.past = around[..., hop : _OVERLAP * hop].unflatten(-1, (_LOOKAHEAD, hop))
        self._fade = expected

    @torch.no_grad()
    def push(self, magnitudes: Tensor, coherence: Tensor | None = None) -> Tensor:
        """Take frames, give the samples that are final.

        Parameters
        ----------
        magnitudes : Tensor [shape=(..., channels, frames, bins)]
        coherence : Tensor [shape=(..., frames, bins)], optional
            Cosine of the angle between two channels, -1 to 1; with every push of a stream, or with none.

        Returns
        -------
        Tensor [shape=(..., channels, samples)]
            May be empty: the output runs behind the input by up to ``block_frames + 3 * iterations + 3`` frames.
        """
        if self._finished:
            raise ValueError("this PhaseVocoder is finished; make a new one for new music")
        if magnitudes.shape[-1] != self.n_fft // 2 + 1:
            raise ValueError(f"n_fft {self.n_fft} needs {self.n_fft // 2 + 1} bins, got {magnitudes.shape[-1]}")
        self._is_pair = coherence is not None
        if coherence is not None and magnitudes.shape[-3] != 2:
            raise ValueError(f"coherence is that of two channels, got {magnitudes.shape[-3]}")
        planes, held, pieces = self._held_and(magnitudes, coherence), self._held, []
        # One frame more than a block: the single pass looks one frame ahead, and finish() needs something to finish.
        while planes.shape[-2] - held > self.block_frames:
            end = held + self.block_frames
            pieces.append(self._run(planes[..., :end, :], held, following=planes[..., end : end + 1, :]))
            first_held = max(0, end - _OVERLAP * self.iterations)
            planes, held = planes[..., first_held:, :], end - first_held
        self._planes, self._held = planes.clone(), held
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat(pieces, dim=-1) if pieces else self._nothing(planes)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The rest of the waveform; with it there are ``frames * hop`` samples.

        Returns
        -------
        Tensor [shape=(..., channels, samples)]
        """
        if self._planes is None or self._finished:
            raise ValueError("nothing to finish: push magnitudes first, and finish once")
        self._finished = True
        if self._planes.shape[-2] == self._held:
            return self._nothing(self._planes)
        return self._run(self._planes, self._held, following=None)

    def _held_and(self, magnitudes: Tensor, coherence: Tensor | None) -> Tensor:
        """Planes (..., channels, frames, bins) that are held, and then new ones; a coherence travels as a third one."""
        channels, held = magnitudes.shape[-3], 0 if self._planes is None else self._planes.shape[-2]
        shape = (channels + (coherence is not None), held + magnitudes.shape[-2], magnitudes.shape[-1])
        planes = magnitudes.new_empty(*magnitudes.shape[:-3], *shape, dtype=torch.float32)
        if self._planes is not None:
            planes[..., :held, :] = self._planes
        planes[..., :channels, held:, :] = magnitudes
        if coherence is not None:
            planes[..., channels, held:, :] = coherence
        return planes

    def _channels(self, planes: Tensor) -> Tensor:
        """Magnitudes (..., channels, frames, bins) of what was pushed."""
        return planes[..., :2, :, :] if self._is_pair else planes

    def _nothing(self, planes: Tensor) -> Tensor:
        """No samples of any channel yet."""
        return planes.new_zeros(*self._channels(planes).shape[:-2], 0)

    def _run(self, wanted: Tensor, held: int, *, following: Tensor | None) -> Tensor:
        """One block through the single pass and all iterations; with nothing following, also what they still hold.

        `wanted` has the planes of `held` frames that went through the single pass before, and of the block.
        """
        planes = wanted[..., held:, :]
        is_last, magnitudes = following is None, self._channels(planes)
        after = None if following is None else self._channels(following)
        turns = self._single_pass.advance(magnitudes, after)
        spectrum = _sound_phases(magnitudes, turns, planes[..., 2:, :, :] if self._is_pair else None, self.kernels)
        reached = spectrum.new_empty(*spectrum.shape[:-2], wanted.shape[-2], spectrum.shape[-1])
        if self._projections is not None:
            reached[..., :held, :] = self._projections
        end = wanted.shape[-2]
        for step in self._steps:
            end -= 0 if is_last else _OVERLAP
            projection = step.project(spectrum, is_last=is_last)
            rows = slice(max(0, end - projection.shape[-2]), max(0, end))
            target = wanted[..., rows, :]
            spectrum = step.impose(projection, reached[..., rows, :], target, is_pair=self._is_pair)
        self._projections = reached[..., max(0, wanted.shape[-2] - _OVERLAP * self.iterations) :, :].clone()
        return self._cross_fade(self._synthesis.push(spectrum, is_last=is_last).flatten(-2))

    def _cross_fade(self, samples: Tensor) -> Tensor:
        """From the prompt's expected next hop to `samples`, where they are the first ones after a prompt."""
        if self._fade is None or samples.shape[-1] == 0:
            return samples
        expected, self._fade = self._fade, None
        weight = torch.linspace(1.0, 0.0, expected.shape[-1] + 1, device=samples.device)[:-1]
        samples[..., : expected.shape[-1]].lerp_(expected, weight)
        return samples


class _SinglePass:
    """Phase from magnitudes alone, frame after frame; every bin follows the peak that lies uphill.

    A peak's frequency is read from the slope of the log magnitude over bins at its top, and its phase advances by
    ``2 pi f hop`` a frame (the phase vocoder of Flanagan & Golden 1966; McAulay & Quatieri 1986). The bins around it
    are locked to it with alternating sign (Puckette 1995; Laroche & Dolson 1999), and with a slope where the
    magnitude rises or falls: then the energy lies late or early in the window. Both slopes are those of phase-gradient
    heap integration (Prusa, Balazs & Sondergaard 2017); a peak's hill stands for its heap, which leaves one gather and
    one sum a frame.
    """

    def __init__(self, *, shared: bool = True, kernels: "PhaseKernels | None" = None) -> None:
        self.shared = shared
        self.kernels = kernels
        self.turns: Tensor | None = None  # (..., channels or 1, bins), of the last frame
        self.level: Tensor | None = None  # (..., channels or 1, 1, bins), its log power

    def follow(self, spectrum: Tensor) -> None:
        """Take the last frame of a sound (..., channels, 1, bins), complex, as the frame before the first."""
        self.turns = torch.angle(spectrum.squeeze(-2)) / (2.0 * math.pi)
        self.level = self._log_power(spectrum.abs())

    def advance(self, magnitudes: Tensor, following: Tensor | None) -> Tensor:
        """Phase in turns (..., channels or 1, frames, bins) of magnitudes (..., channels, frames, bins).

        `following` is the frame after them, None at the end of the sound.
        """
        level = self._log_power(magnitudes)
        before = level[..., :1, :] if self.level is None else self.level
        around = torch.cat(
            [before, level] if following is None else [before, level, self._log_power(following)], dim=-2
        )
        if self.kernels is not None:
            turns = self.kernels.single_pass(
                around,
                level.shape[-2],
                torch.zeros_like(level[..., 0, :]) if self.turns is None else self.turns,
                is_first=self.level is None,
                delay_per_rise=DELAY_PER_RISE,
                curvature=PARTIAL_CURVATURE,
            )
            self.turns, self.level = turns[..., -1, :].clone(), level[..., -1:, :].clone()
            return turns
        delay = _delay(_rise(around, level.shape[-2], is_first=self.level is None))
        offset = _frequency_offset(around[..., : level.shape[-2] + 1, :])
        bins = torch.arange(level.shape[-1], device=level.device, dtype=level.dtype)
        # From a peak in the frame before: forward by the mean of its two frequencies, then along the bins to this one.
        at_peak = (offset[..., 1:, :] + offset[..., :-1, :]).mul_(0.5 / HOPS_PER_WINDOW)
        at_peak.add_(bins / HOPS_PER_WINDOW - 0.5 * bins).sub_(delay)
        peaks, hill = _hills(level)
        step = delay.add_(0.5 * bins)
        first = step[..., 0, :].clone()
        step.add_(at_peak.flatten()[peaks][hill])
        if self.turns is None:
            self.turns = torch.zeros_like(first)
            step[..., 0, :] = first
        peak = (peaks % bins.shape[0])[hill]
        turns = _accumulate(self.turns, peak, step.sub_(step.floor()))
        self.turns = torch.frac(turns[..., -1, :])
        self.level = level[..., -1:, :].clone()
        return turns

    def _log_power(self, magnitudes: Tensor) -> Tensor:
        """Log power (..., channels or 1, frames, bins): of each channel, or of their sum."""
        if self.kernels is not None:
            return self.kernels.log_power(magnitudes, QUIET_POWER, shared=self.shared)
        power = magnitudes.square()
        if self.shared and power.shape[-3] > 1:
            power = power.sum(dim=-3, keepdim=True)
        return power.add_(QUIET_POWER).log_()


class _Synthesis:
    """Spectra in, finished blocks of one hop out; holds the three blocks that are still incomplete."""

    def __init__(self, n_fft: int, kernels: "PhaseKernels | None" = None) -> None:
        self.n_fft = n_fft
        self.kernels = kernels
        self.frames = 0
        self.first_frame = 0
        self.tail: Tensor | None = None

    def follow(self, last_frame: Tensor) -> None:
        """Take the frame before the first (..., 1, bins), complex: what it reaches past the seam is added in."""
        self.first_frame = -1
        self.tail = _overlap_add(last_frame)[..., 1:, :]

    def push(self, spectrum: Tensor, *, is_last: bool) -> Tensor:
        """Blocks (..., blocks, hop), from block 0 on, that the frames (..., frames, bins) complete."""
        count = spectrum.shape[-2]
        if count == 0:
            return spectrum.real.new_zeros(*spectrum.shape[:-1], self.n_fft // HOPS_PER_WINDOW)
        blocks = _overlap_add(spectrum, self.kernels)
        if self.tail is not None:
            blocks[..., :_OVERLAP, :] += self.tail
        self.tail = blocks[..., count:, :].clone()
        first_block = self.frames - _LOOKAHEAD
        self.frames += count
        end_block = self.frames if is_last else self.frames - _LOOKAHEAD
        begin_block = max(0, first_block)
        ready = blocks[..., begin_block - first_block : max(begin_block, end_block) - first_block, :]
        edges = {0} if self.first_frame == 0 else set()
        edges |= {self.frames - 2, self.frames - 1} if is_last else set()
        for block in edges & set(range(begin_block, end_block)):
            present = range(self.first_frame, self.frames if is_last else block + HOPS_PER_WINDOW)
            power = _window_power([block], frames=present, n_fft=self.n_fft, like=ready)
            ready[..., block - begin_block, :] *= _WINDOW_POWER / power[0]
        return ready


class _Iteration:
    """One step of fast Griffin-Lim on a stream: imposed spectra in, imposed spectra out, three frames later."""

    def __init__(self, n_fft: int, *, momentum: float, kernels: "PhaseKernels | None" = None) -> None:
        self.n_fft = n_fft
        self.momentum = momentum
        self.kernels = kernels
        self.synthesis = _Synthesis(n_fft, kernels)
        self.past: Tensor | None = None

    def copy(self) -> "_Iteration":
        """Another one at the same place."""
        other = copy.copy(self)
        other.synthesis = copy.copy(self.synthesis)
        return other

    def project(self, spectrum: Tensor, *, is_last: bool) -> Tensor:
        """Spectrum of the waveform that `spectrum` (..., frames, bins) makes, as far as that waveform is known."""
        blocks = self.synthesis.push(spectrum, is_last=is_last)
        nothing = blocks.new_zeros(*blocks.shape[:-2], 1, blocks.shape[-1])
        past = torch.cat([nothing] * _LOOKAHEAD, dim=-2) if self.past is None else self.past
        signal = torch.cat([past, blocks, nothing] if is_last else [past, blocks], dim=-2)
        self.past = signal[..., -_OVERLAP:, :].clone()
        if signal.shape[-2] < HOPS_PER_WINDOW:
            return spectrum[..., :0, :]
        frames = signal.flatten(-2).unfold(-1, self.n_fft, blocks.shape[-1])
        return torch.fft.rfft(frames * _analysis_window(self.n_fft, frames))

    def impose(self, projection: Tensor, earlier: Tensor, target: Tensor, *, is_pair: bool) -> Tensor:
        """Phase of the accelerated projection with the magnitudes; `earlier`, the projection before, is overwritten.

        `target` holds the magnitudes, and of a pair the cosine of its angle as a third plane.
        """
        if self.kernels is not None:
            return self.kernels.impose(projection, earlier, target, self.momentum, is_pair=is_pair)
        parts = torch.view_as_real(projection).flatten(-2)
        held = torch.view_as_real(earlier).flatten(-2)
        moved = torch.lerp(held, parts, 1.0 + self.momentum) if self.momentum else parts.clone()
        held.copy_(parts)
        if is_pair:
            return _nearest_pair(moved.unflatten(-1, (-1, 2)), target)
        # abs and sgn of complex tensors take twice as long as this.
        squares = moved * moved
        gain = (squares[..., 0::2] + squares[..., 1::2]).add_(1e-20).rsqrt_().mul_(target)
        return torch.view_as_complex(moved.unflatten(-1, (-1, 2))) * gain


def _sound_phases(magnitudes: Tensor, turns: Tensor, cosine: Tensor | None, kernels: "PhaseKernels | None") -> Tensor:
    """Spectrum of magnitudes and phases in turns (..., channels or 1, frames, bins).

    Of a pair there is the cosine of the angle between the channels (..., 1, frames, bins): half of it each.
    """
    if kernels is not None:
        return kernels.sound_phases(magnitudes, turns, cosine)
    angle = turns.mul_(2.0 * math.pi)
    if cosine is not None:
        half = 0.5 * torch.acos(cosine.clamp(-1.0, 1.0))
        angle = torch.cat([angle[..., :1, :, :] + half, angle[..., -1:, :, :] - half], dim=-3)
    return torch.complex(magnitudes * torch.cos(angle), magnitudes * torch.sin(angle))


def _nearest_pair(moved: Tensor, target: Tensor) -> Tensor:
    """The spectra of two channels nearest to `moved` that have given magnitudes, and a given angle between them.

    With magnitudes l, r and left ahead by an angle t, the sum of squared distances to a and b is smallest where the
    phase of right is that of ``l a exp(-i t) + r b``; of the two signs of t, that of the angle from b to a is nearer.

    Parameters
    ----------
    moved : Tensor [shape=(..., 2, frames, bins, 2)]
        a and b, real and imaginary parts.
    target : Tensor [shape=(..., 3, frames, bins)]
        l, r and the cosine of t.

    Returns
    -------
    Tensor [shape=(..., 2, frames, bins)]
        Complex.
    """
    (a_real, a_imag), (b_real, b_imag) = (channel.unbind(dim=-1) for channel in moved.unbind(dim=-4))
    left, right, cosine = target.unbind(dim=-3)
    ahead = torch.copysign((1.0 - cosine.square()).clamp_min_(0.0).sqrt_(), a_imag * b_real - a_real * b_imag)
    real = torch.addcmul(right * b_real, left, torch.addcmul(a_real * cosine, a_imag, ahead))
    imag = torch.addcmul(right * b_imag, left, torch.addcmul(a_imag * cosine, a_real, ahead, value=-1.0))
    size = torch.addcmul(real.square(), imag, imag).add_(1e-20).rsqrt_()
    real, imag = real.mul_(size), imag.mul_(size)
    channels = [
        torch.complex(
            left * torch.addcmul(cosine * real, ahead, imag, value=-1.0),
            left * torch.addcmul(cosine * imag, ahead, real),
        ),
        torch.complex(right * real, right * imag),
    ]
    return torch.stack(channels, dim=-3)


def extrapolate(waveform: Tensor, samples: int) -> Tensor:
    """What comes next if the sound goes on as it is: linear prediction, coefficients by Burg's method (1975).

    Parameters
    ----------
    waveform : Tensor [shape=(..., past)]
    samples : int

    Returns
    -------
    Tensor [shape=(..., samples)]
    """
    # On the CPU: thousands of small steps in a row, in doubles, which not every device has.
    past = waveform[..., -_EXTRAPOLATION_SAMPLES:].cpu().double()
    order = min(_EXTRAPOLATION_ORDER, past.shape[-1] // 3)
    forward = backward = past
    coefficients = torch.ones_like(functional.pad(past, (0, 1))[..., :1])
    for _ in range(order):
        forward, backward = forward[..., 1:], backward[..., :-1]
        energy = (forward.square() + backward.square()).sum(dim=-1, keepdim=True)
        reflection = -2.0 * (forward * backward).sum(dim=-1, keepdim=True) / (energy + 1e-9)
        forward, backward = forward + reflection * backward, backward + reflection * forward
        coefficients = functional.pad(coefficients, (0, 1))
        coefficients = coefficients + reflection * coefficients.flip(-1)
    taps = -coefficients[..., 1:].flip(-1)
    sound = functional.pad(past[..., past.shape[-1] - order :], (0, samples))
    for index in range(samples):
        sound[..., order + index] = (taps * sound[..., index : order + index]).sum(dim=-1)
    return sound[..., order:].to(waveform)


def _rise(around: Tensor, frames: int, *, is_first: bool) -> Tensor:
    """Rise of the log magnitude a frame, by central differences; 0 where a neighbour is missing.

    `around` is the log power of the frames, of the one before them (a copy if `is_first`) and, if there is one, of
    the one after.
    """
    rise = torch.zeros_like(around[..., :frames, :])
    inner = 0.25 * (around[..., 2:, :] - around[..., :-2, :])
    rise[..., : inner.shape[-2], :] = inner
    if is_first:
        rise[..., 0, :] = 0.0
    return rise


def _frequency_offset(level: Tensor) -> Tensor:
    """How far above every bin the partial lies that it is part of, in bins, by the slope of the log power over bins."""
    return functional.pad((level[..., 2:] - level[..., :-2]).mul_(0.25 / PARTIAL_CURVATURE), (1, 1))


def _delay(rise: Tensor) -> Tensor:
    """Phase in turns, counted from bin 0, that the rise of the log magnitude a frame adds over bins."""
    slope = (rise[..., 1:] + rise[..., :-1]).mul_(-0.5 * DELAY_PER_RISE).clamp_(-0.5, 0.5)
    return functional.pad(slope.cumsum(dim=-1), (1, 0))


def _hills(level: Tensor) -> tuple[Tensor, Tensor]:
    """Peaks, as indices into the flattened `level`, and for every bin the number of the peak that lies uphill.

    A valley belongs to its higher neighbour, a plain to the peak below it or to its own first bin.
    """
    rising = functional.pad(level[..., 1:] > level[..., :-1], (1, 1))
    rising[..., 0] = True
    is_peak = rising[..., :-1] > rising[..., 1:]
    uphill = rising[..., 1:].clone()
    uphill[..., 1:-1] = level[..., 2:] > level[..., :-2]
    # Every row starts uphill or at a peak and ends downhill or at one, so counting never runs into another row.
    number = is_peak.flatten().cumsum(dim=0).sub_(1).add_((uphill > is_peak).flatten())
    return is_peak.flatten().nonzero().squeeze(-1), number.view(level.shape)


def _accumulate(turns: Tensor, peak: Tensor, step: Tensor) -> Tensor:
    """Phase of every frame: that of the frame before at the bin's peak, plus a step.

    `turns` is (..., channels or 1, bins); `peak` and `step`, which is overwritten, are (..., channels or 1, frames,
    bins). The result has the channels of `turns`.
    """
    shape = (*turns.shape[:-1], *peak.shape[-2:])
    rows = turns.numel() // turns.shape[-1]
    first = torch.arange(rows, device=peak.device)[:, None, None] * turns.shape[-1]
    indices = (peak.expand(shape).reshape(rows, *shape[-2:]) + first).transpose(0, 1).flatten(1).contiguous()
    result = step.expand(shape).reshape(rows, *shape[-2:]).transpose(0, 1).flatten(1).contiguous()
    current = turns.reshape(-1)
    for index, row in zip(indices.unbind(), result.unbind(), strict=True):
        current = row.add_(torch.index_select(current, 0, index))
    return result.unflatten(1, (rows, -1)).transpose(0, 1).reshape(shape)


def _overlap_add(spectrum: Tensor, kernels: "PhaseKernels | None" = None) -> Tensor:
    """Blocks (..., frames + 3, hop) from two before the first frame on; complete where four frames meet."""
    n_fft = n_fft_of(spectrum)
    window = _hann(n_fft, spectrum.real.dtype, spectrum.device) * (math.sqrt(n_fft) / _WINDOW_POWER)
    if kernels is not None:
        return kernels.overlap_add(torch.fft.irfft(spectrum, n=n_fft), window)
    return _add_frames((torch.fft.irfft(spectrum, n=n_fft) * window).unflatten(-1, (HOPS_PER_WINDOW, -1)))


def _add_frames(pieces: Tensor) -> Tensor:
    """Blocks (..., frames + 3, hop) of frames in quarters (..., frames, 4, hop), where each lies a block further."""
    count = pieces.shape[-3]
    blocks = pieces.new_zeros(*pieces.shape[:-3], count + _OVERLAP, pieces.shape[-1])
    for quarter in range(HOPS_PER_WINDOW):
        blocks[..., quarter : quarter + count, :] += pieces[..., quarter, :]
    return blocks


def _window_power(blocks: Iterable[int], *, frames: range, n_fft: int, like: Tensor) -> Tensor:
    """Sum of squared windows of `frames` in each of `blocks`, (blocks, hop)."""
    power = _hann(n_fft, like.dtype, like.device).square().view(HOPS_PER_WINDOW, -1)
    present = [
        tuple(quarter for quarter in range(HOPS_PER_WINDOW) if block + _LOOKAHEAD - quarter in frames)
        for block in blocks
    ]
    rows = {quarters: sum((power[quarter] for quarter in quarters), power[0] * 0.0) for quarters in set(present)}
    return torch.stack([rows[quarters] for quarters in present]).clamp(min=1e-8)


def _analysis_window(n_fft: int, like: Tensor) -> Tensor:
    return _hann(n_fft, like.dtype, like.device) / math.sqrt(n_fft)


@lru_cache(maxsize=32)
def _hann(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Not `features.hann_window`, whose last bits differ: models were trained with this one.
    # Made outside inference mode even when first asked for inside it: training needs it in a graph.
    with torch.inference_mode(mode=False):
        return torch.hann_window(n_fft, dtype=dtype, device=device)
