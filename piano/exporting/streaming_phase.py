"""The phase of `foundation.phase` inside TorchScript: as many frames out as in, a fixed number of frames later.

The same recursion, written for few frames at a time and for several items: see there for where it comes from. A frame
before the first one is silence, and so is the sound before frame 0, so that a stream begins as a whole recording does.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from piano.foundation.phase import (
    BLOCK_FRAMES,
    DELAY_PER_RISE,
    HOPS_PER_WINDOW,
    MOMENTUM,
    PARTIAL_CURVATURE,
)

OVERLAP = HOPS_PER_WINDOW - 1
SINGLE_PASS_FRAMES = 1
SYNTHESIS_FRAMES = 2
WINDOW_POWER = 1.5
QUIET = 1e-12


class StreamingSinglePass(nn.Module):
    """Phase from magnitudes alone, one frame later; see `foundation.phase._SinglePass`."""

    number: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.quiet, self.hops, self.grid = QUIET, float(HOPS_PER_WINDOW), BLOCK_FRAMES
        self.curvature, self.delay_per_rise = PARTIAL_CURVATURE, DELAY_PER_RISE
        self.register_buffer("number", torch.arange(bins, dtype=torch.float32), persistent=False)
        self.level = torch.zeros(0)
        self.turns = torch.zeros(0)

    @torch.jit.export
    def begin(self, batch: int, like: Tensor) -> None:
        """Forget what was heard."""
        self.level = torch.zeros([batch, 2, self.bins], device=like.device)
        self.turns = torch.zeros([batch, self.bins], device=like.device)

    def forward(self, magnitudes: Tensor, index: int) -> Tensor:
        """Phase in turns (batch, frames, bins) of the frames from ``index - 1`` on.

        Parameters
        ----------
        magnitudes : Tensor [shape=(batch, channels, frames, bins)]
            From frame `index` on.
        """
        count = magnitudes.shape[2]
        joined = torch.cat([self.level, (magnitudes.square().sum(dim=1) + self.quiet).log()], dim=1)
        self.level = joined[:, count:].contiguous()
        rise = 0.25 * (joined[:, 2:] - joined[:, :-2])
        first = 1 - index  # the row of frame 0
        if first >= 0 and first < count:
            rise[:, first] = 0.0
        step, own = self._steps(joined[:, :-1], rise)
        hidden_peak, begins = own
        rows: list[Tensor] = []
        for row in range(count):
            frame = index - 1 + row
            turns = self.turns
            if frame >= 0:
                turns = begins[:, row] if frame == 0 else step[:, row] + self.turns.gather(1, hidden_peak[:, row])
                # Rounding as there, where whole turns are dropped once a block.
                self.turns = torch.frac(turns) if (frame + 1) % self.grid == 0 else turns
            rows.append(turns)
        return torch.stack(rows, dim=1)

    def _steps(self, level: Tensor, rise: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What each frame adds to the phase at its bin's peak in the frame before; the bin of that peak; a first phase.

        `level` is the log power (batch, frames + 1, bins) from the frame before on.
        """
        slope = (rise[..., 1:] + rise[..., :-1]).mul(-0.5 * self.delay_per_rise).clamp(-0.5, 0.5)
        delay = functional.pad(slope.cumsum(dim=-1), (1, 0))
        offset = functional.pad((level[..., 2:] - level[..., :-2]).mul(0.25 / self.curvature), (1, 1))
        at_peak = (offset[:, 1:] + offset[:, :-1]).mul(0.5 / self.hops)
        at_peak = at_peak + (self.number / self.hops - 0.5 * self.number) - delay
        peaks, hill = self._hills(level[:, 1:].contiguous())
        begins = delay + 0.5 * self.number
        step = begins + at_peak.take(peaks).take(hill)
        return step - step.floor(), ((peaks % self.bins).take(hill), begins - begins.floor())

    def _hills(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Peaks, and for every bin the number of the peak that lies uphill; see `foundation.phase._hills`."""
        rising = functional.pad(level[..., 1:] > level[..., :-1], (1, 1))
        rising[..., 0] = True
        is_peak = (rising[..., :-1] > rising[..., 1:]).flatten()
        uphill = rising[..., 1:].clone()
        uphill[..., 1:-1] = level[..., 2:] > level[..., :-2]
        number = is_peak.long().cumsum(dim=0) - 1 + (uphill.flatten() > is_peak).long()
        return is_peak.nonzero().squeeze(-1), number.view(level.shape)


class StreamingPhase(nn.Module):
    """Magnitudes in, sound out, `delay` hops later: single pass, then fast Griffin-Lim.

    Parameters
    ----------
    n_fft : int
    channels : int
        Of the sound.
    has_angle : bool
        Whether the cosine of the angle between two channels comes as a further plane.
    """

    window: Tensor
    edge: Tensor
    tails: list[Tensor]
    pasts: list[Tensor]
    projections: list[Tensor]

    def __init__(self, n_fft: int, channels: int, *, has_angle: bool) -> None:
        super().__init__()
        self.n_fft, self.hop, self.bins, self.channels = n_fft, n_fft // HOPS_PER_WINDOW, n_fft // 2 + 1, channels
        self.has_angle = has_angle
        self.fixed_delay = SINGLE_PASS_FRAMES + SYNTHESIS_FRAMES
        self.hops, self.overlap, self.momentum = HOPS_PER_WINDOW, OVERLAP, MOMENTUM
        self.window_power, self.turn = WINDOW_POWER, 2.0 * math.pi
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window, persistent=False)
        power = window.square().view(HOPS_PER_WINDOW, -1)[:OVERLAP].sum(dim=0)
        self.register_buffer("edge", WINDOW_POWER / power.clamp_min(1e-8), persistent=False)
        self.single_pass = StreamingSinglePass(self.bins)
        self.iterations = 0
        self.planes = torch.zeros(0)
        self.tails, self.pasts, self.projections = [], [], []

    @torch.jit.export
    def delay(self, iterations: int) -> int:
        """Hops by which sound runs behind its magnitudes."""
        return self.fixed_delay + self.overlap * iterations

    @torch.jit.export
    def begin(self, batch: int, iterations: int, like: Tensor) -> None:
        """Forget what was heard, and take so many iterations from now on."""
        self.iterations = iterations
        self.single_pass.begin(batch, like)
        planes = self.channels + int(self.has_angle)
        self.planes = torch.zeros([batch, planes, 1 + self.overlap * iterations, self.bins], device=like.device)
        shape = [batch, self.channels, self.overlap]
        nothing = torch.zeros(shape + [self.hop], device=like.device)  # noqa: RUF005 - TorchScript
        no_phase = torch.zeros(shape + [self.bins, 2], device=like.device)  # noqa: RUF005
        self.tails, self.pasts, self.projections = [nothing], [], []
        for _ in range(iterations):
            self.tails.append(nothing)
            self.pasts.append(nothing)
            self.projections.append(no_phase)

    def forward(self, planes: Tensor, index: int) -> Tensor:
        """Sound (batch, channels, frames * hop) from hop ``index - delay`` on.

        Parameters
        ----------
        planes : Tensor [shape=(batch, channels, frames, bins)]
            Magnitudes from frame `index` on, nothing before frame 0, and after the channels the cosine of their angle.
        """
        count = planes.shape[2]
        turns = self.single_pass(planes[:, : self.channels], index)
        targets = torch.cat([self.planes, planes], dim=2)
        self.planes = targets[:, :, count:].contiguous()
        behind = self.overlap * self.iterations
        frame = index - 1
        spectrum = self._begun(targets[:, :, behind : behind + count], turns)
        earlier = torch.zeros(0)
        for step in range(self.iterations):
            projection = self._projected(step, spectrum, frame)
            behind -= self.overlap
            frame -= self.overlap
            moved = projection if step == 0 else torch.lerp(earlier, projection, 1.0 + self.momentum)
            held = torch.cat([self.projections[step], projection], dim=2)
            self.projections[step] = held[:, :, count:].contiguous()
            earlier = held[:, :, :count]
            spectrum = self._imposed(moved, targets[:, :, behind : behind + count])
        return self._synthesised(self.iterations, spectrum, frame).flatten(2)

    def _begun(self, planes: Tensor, turns: Tensor) -> Tensor:
        """Spectra (batch, channels, frames, bins) with the phase of the single pass."""
        angle = (turns * self.turn).unsqueeze(1)
        if self.has_angle:
            half = 0.5 * torch.acos(planes[:, 2:].clamp(-1.0, 1.0))
            angle = torch.cat([angle + half, angle - half], dim=1)
        magnitudes = planes[:, : self.channels]
        return torch.complex(magnitudes * torch.cos(angle), magnitudes * torch.sin(angle))

    def _synthesised(self, step: int, spectrum: Tensor, frame: int) -> Tensor:
        """Hops (batch, channels, frames, hop) from ``frame - 2`` on that spectra from `frame` on complete."""
        count = spectrum.shape[2]
        window = self.window * (math.sqrt(float(self.n_fft)) / self.window_power)
        pieces = (torch.fft.irfft(spectrum, n=self.n_fft) * window).unflatten(-1, [self.hops, self.hop])
        blocks = torch.zeros([spectrum.shape[0], self.channels, count + self.overlap, self.hop], device=spectrum.device)
        for quarter in range(self.hops):
            blocks[:, :, quarter : quarter + count] += pieces[..., quarter, :]
        blocks[:, :, : self.overlap] += self.tails[step]
        self.tails[step] = blocks[:, :, count:].contiguous()
        ready = blocks[:, :, :count]
        first = 2 - frame  # the row of hop 0
        if first >= 0:
            if first < count:
                ready[:, :, first] *= self.edge
            ready[:, :, : min(first, count)] = 0.0
        return ready

    def _projected(self, step: int, spectrum: Tensor, frame: int) -> Tensor:
        """Spectra of the sound that spectra from `frame` on make, from ``frame - 3`` on, as pairs of numbers."""
        signal = torch.cat([self.pasts[step], self._synthesised(step, spectrum, frame)], dim=2)
        self.pasts[step] = signal[:, :, spectrum.shape[2] :].contiguous()
        frames = signal.flatten(2).unfold(-1, self.n_fft, self.hop)
        return torch.view_as_real(torch.fft.rfft(frames * (self.window / math.sqrt(float(self.n_fft)))))

    def _imposed(self, moved: Tensor, target: Tensor) -> Tensor:
        """Spectra with the phase of `moved` and the magnitudes, and of a pair the angle, of `target`."""
        if self.has_angle:
            return self._nearest_pair(moved, target)
        gain = (moved.square().sum(dim=-1) + 1e-20).rsqrt() * target
        return torch.view_as_complex((moved * gain.unsqueeze(-1)).contiguous())

    def _nearest_pair(self, moved: Tensor, target: Tensor) -> Tensor:
        """See `foundation.phase._nearest_pair`."""
        a_real, a_imag = moved[:, 0, ..., 0], moved[:, 0, ..., 1]
        b_real, b_imag = moved[:, 1, ..., 0], moved[:, 1, ..., 1]
        left, right, cosine = target[:, 0], target[:, 1], target[:, 2]
        ahead = torch.copysign((1.0 - cosine.square()).clamp_min(0.0).sqrt(), a_imag * b_real - a_real * b_imag)
        real = right * b_real + left * (a_real * cosine + a_imag * ahead)
        imag = right * b_imag + left * (a_imag * cosine - a_real * ahead)
        size = (real.square() + imag.square() + 1e-20).rsqrt()
        real, imag = real * size, imag * size
        one = torch.complex(left * (cosine * real - ahead * imag), left * (cosine * imag + ahead * real))
        return torch.stack([one, torch.complex(right * real, right * imag)], dim=1)
