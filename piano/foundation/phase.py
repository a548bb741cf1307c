"""Magnitudes to sound: a phase that follows the spectral peaks, refined by fast Griffin-Lim, in one pass over time.

Frames come first: a spectrum is ``(..., frames, bins)``, so that every frame is one contiguous row for the FFT. The window is a
periodic Hann window of ``n_fft`` samples, the hop is ``n_fft / 4``, frame ``i`` is centred at sample ``i * hop``, the waveform is zero
outside itself, and the spectrum is scaled by ``1 / sqrt(n_fft)``.

A Griffin-Lim iteration of frame ``i`` needs the neighbours ``i - 3 .. i + 3`` of the iteration before it and nothing else. So the
iterations run as a pipeline, each three frames behind the one before (`PhaseVocoder`): the result is that of iterating over the whole
recording at once, exactly, in memory that does not grow with its length.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

HOPS_PER_WINDOW = 4
MOMENTUM = 0.99
BLOCK_FRAMES = 32
PROMPT_HOPS = 16
_OVERLAP = HOPS_PER_WINDOW - 1
_LOOKAHEAD = 2
_WINDOW_POWER = 1.5  # sum of squared Hann windows at a hop of a quarter window


def hop_of(n_fft: int) -> int:
    """Samples between two frames: a quarter of the window."""
    if n_fft < 16 or n_fft % HOPS_PER_WINDOW:
        raise ValueError(f"n_fft must be a multiple of {HOPS_PER_WINDOW} and at least 16, got {n_fft}")
    return n_fft // HOPS_PER_WINDOW


def stft(waveform: Tensor, n_fft: int) -> Tensor:
    """Complex spectrum of a waveform; the first ``ceil(samples / hop)`` frames of `torch.stft` with the codec's convention.

    Parameters
    ----------
    waveform : Tensor [shape=(..., samples)]
    n_fft : int
        Window length in samples, a multiple of 4.

    Returns
    -------
    Tensor [shape=(..., frames, n_fft // 2 + 1)], complex
    """
    hop = hop_of(n_fft)
    frames = -(-waveform.shape[-1] // hop)
    right = (frames + 1) * hop - waveform.shape[-1]
    padded = torch.nn.functional.pad(waveform, (2 * hop, right))
    window = _window(n_fft, waveform.dtype, waveform.device) / math.sqrt(n_fft)
    return torch.fft.rfft(padded.unfold(-1, n_fft, hop) * window)


def istft(spectrum: Tensor, samples: int) -> Tensor:
    """Waveform of a complex spectrum: the least-squares inverse of `stft` (Griffin & Lim 1984), as `torch.istft`.

    Parameters
    ----------
    spectrum : Tensor [shape=(..., frames, bins)], complex
    samples : int
        Length of the result, at most ``(frames + 1) * hop``.

    Returns
    -------
    Tensor [shape=(..., samples)]
    """
    frames, bins = spectrum.shape[-2:]
    n_fft = 2 * (bins - 1)
    hop = hop_of(n_fft)
    window = _window(n_fft, spectrum.real.dtype, spectrum.device) * math.sqrt(n_fft)
    pieces = (torch.fft.irfft(spectrum, n=n_fft) * window).unflatten(-1, (HOPS_PER_WINDOW, hop))
    blocks = pieces.new_zeros(*pieces.shape[:-3], frames + _OVERLAP, hop)
    for quarter in range(HOPS_PER_WINDOW):
        blocks[..., quarter : quarter + frames, :] += pieces[..., quarter, :]
    needed = -(-samples // hop)
    if needed > frames + 1:
        raise ValueError(f"{frames} frames of hop {hop} make at most {(frames + 1) * hop} samples, {samples} were asked for")
    blocks = blocks[..., 2 : 2 + needed, :] / _envelope(torch.arange(needed), 0, frames, n_fft, blocks)
    return blocks.flatten(-2)[..., :samples]


class SinglePassPhase:
    """Phase from magnitudes alone, frame after frame: every bin follows its nearest spectral peak.

    A peak's frequency is interpolated by a parabola through three log magnitudes; its phase advances by
    ``2 pi f hop`` a frame (McAulay & Quatieri 1986), and the bins around it are locked to it with alternating sign, as the lobe of a
    window centred in its frame (Puckette 1995; Laroche & Dolson 1999).
    """

    def __init__(self) -> None:
        self.turns: Tensor | None = None

    def advance(self, magnitudes: Tensor) -> Tensor:
        """Phase of the next frames.

        Parameters
        ----------
        magnitudes : Tensor [shape=(..., channels, frames, bins)]

        Returns
        -------
        Tensor [shape=(..., channels or 1, frames, bins)]
            Unit phasors as a complex tensor.
        """
        level = torch.log(magnitudes.square().sum(dim=-3, keepdim=True) + 1e-12)
        peak, offset = _peaks(level)
        bins = torch.arange(level.shape[-1], device=level.device)
        frequency = torch.gather(bins + offset, -1, peak)
        step = torch.frac(frequency / HOPS_PER_WINDOW) + 0.5 * ((bins - peak) % 2)
        turns = torch.empty_like(step)
        if self.turns is None:
            self.turns = torch.zeros_like(step[..., 0, :])
            step[..., 0, :] = 0.5 * (bins % 2)
        for frame in range(level.shape[-2]):
            self.turns = torch.gather(self.turns, -1, peak[..., frame, :]) + step[..., frame, :]
            turns[..., frame, :] = self.turns
        self.turns = torch.frac(self.turns)
        angle = torch.frac(turns) * (2 * math.pi)
        return torch.complex(torch.cos(angle), torch.sin(angle))


class PhaseVocoder:
    """Magnitudes in, waveform out, in pieces of any size: single-pass phase, then fast Griffin-Lim (Perraudin et al. 2013).

    Parameters
    ----------
    n_fft : int
        Window length in samples; the magnitudes have ``n_fft // 2 + 1`` bins.
    iterations : int
        Griffin-Lim iterations. Each delays the output by three frames while streaming.
    momentum : float
        Acceleration of the iterations; 0 is plain Griffin-Lim.
    block_frames : int
        Frames worked on at once: input is collected up to this number. It sets speed and delay, not the result.
    """

    def __init__(
        self, n_fft: int, *, iterations: int = 16, momentum: float = MOMENTUM, block_frames: int = BLOCK_FRAMES
    ) -> None:
        if iterations < 0:
            raise ValueError(f"iterations must not be negative, got {iterations}")
        if block_frames <= _OVERLAP:
            raise ValueError(f"block_frames must be at least {_OVERLAP + 1}, got {block_frames}")
        self.n_fft = n_fft
        self.hop = hop_of(n_fft)
        self.iterations = iterations
        self.momentum = momentum
        self.block_frames = block_frames
        self.start = SinglePassPhase()
        self._waiting: Tensor | None = None
        self._stages = [_Iteration(n_fft, momentum=momentum if index else 0.0) for index in range(iterations)]
        self._synthesis = _OverlapAdd(n_fft)
        self._given: Tensor | None = None
        self._unwanted = 0
        self._magnitudes: Tensor | None = None
        self._consistent: Tensor | None = None
        self._finished = False

    @classmethod
    @torch.no_grad()
    def from_prompt(cls, prompt: Tensor, n_fft: int, *, iterations: int = 16) -> "PhaseVocoder":
        """A vocoder that goes on where a waveform ends: its phases are carried over, its samples are never changed.

        The last hops of the prompt are the stream's first; in every iteration they are put back as they are, so that
        the frames across the seam settle on phases that fit them.

        Parameters
        ----------
        prompt : Tensor [shape=(channels, samples)]
            At least five hops. The first frame pushed is centred at its end.
        n_fft, iterations
            As for the class.
        """
        hop = hop_of(n_fft)
        hops = min(PROMPT_HOPS, prompt.shape[-1] // hop)
        if hops < HOPS_PER_WINDOW + 1:
            raise ValueError(f"a prompt needs at least {(HOPS_PER_WINDOW + 1) * hop} samples, got {prompt.shape[-1]}")
        tail = prompt[..., prompt.shape[-1] - hops * hop :]
        # The last frame hears one hop beyond the end: mirrored, the best guess of its magnitudes.
        spectrum = stft(torch.cat([tail, tail.flip(-1)[..., : 2 * hop]], dim=-1), n_fft)[..., :hops, :]
        vocoder = cls(n_fft, iterations=iterations)
        vocoder._waiting = spectrum.abs()
        vocoder._given = torch.sgn(spectrum[..., :-1, :])
        mixed = spectrum[..., -2, :].sum(dim=-2, keepdim=True)
        vocoder.start.turns = torch.angle(mixed) / (2 * math.pi)
        vocoder._unwanted = hops * hop
        known = tail.unflatten(-1, (hops, hop))
        for overlap_add in (vocoder._synthesis, *(stage.overlap_add for stage in vocoder._stages)):
            overlap_add.known = known
        return vocoder

    @torch.no_grad()
    def push(self, magnitudes: Tensor) -> Tensor:
        """Take frames, give the samples that are final.

        Parameters
        ----------
        magnitudes : Tensor [shape=(..., channels, frames, bins)]

        Returns
        -------
        Tensor [shape=(..., channels, samples)]
            May be empty: the output runs behind the input by up to ``block_frames + 3 * iterations + 2`` frames.
        """
        if self._finished:
            raise ValueError("this PhaseVocoder is finished; make a new one for new music")
        if magnitudes.shape[-1] != self.n_fft // 2 + 1:
            raise ValueError(f"n_fft {self.n_fft} needs {self.n_fft // 2 + 1} bins, got {magnitudes.shape[-1]}")
        if self._waiting is not None:
            magnitudes = torch.cat([self._waiting, magnitudes], dim=-2)
        pieces = []
        # The last block always waits, so that finish() has frames to finish with.
        while magnitudes.shape[-2] > self.block_frames:
            pieces.append(self._run(magnitudes[..., : self.block_frames, :], last=False))
            magnitudes = magnitudes[..., self.block_frames :, :]
        self._waiting = magnitudes.clone()
        return torch.cat(pieces, dim=-1) if pieces else magnitudes.new_zeros(*magnitudes.shape[:-2], 0)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The rest of the waveform; all pushes together then made ``frames * hop`` samples.

        Returns
        -------
        Tensor [shape=(..., channels, samples)]
        """
        if self._waiting is None or self._finished:
            raise ValueError("nothing to finish: push magnitudes first, and finish once")
        self._finished = True
        if self._waiting.shape[-2] == 0:
            return self._waiting.new_zeros(*self._waiting.shape[:-2], 0)
        return self._run(self._waiting, last=True)

    def _run(self, magnitudes: Tensor, *, last: bool) -> Tensor:
        phasors = self._given
        if phasors is None:
            phasors = self.start.advance(magnitudes)
        else:
            advanced = self.start.advance(magnitudes[..., phasors.shape[-2] :, :])
            phasors = torch.cat([phasors, advanced.expand(*phasors.shape[:-2], -1, -1)], dim=-2)
            self._given = None
        spectrum = magnitudes * phasors
        doubled = magnitudes.repeat_interleave(2, dim=-1)
        if self._magnitudes is None or self._consistent is None:
            self._magnitudes, self._consistent = doubled, torch.view_as_real(spectrum).flatten(-2).contiguous()
        else:
            self._magnitudes = torch.cat([self._magnitudes, doubled], dim=-2)
            self._consistent = torch.cat([self._consistent, torch.zeros_like(doubled)], dim=-2)
        end = self._magnitudes.shape[-2]
        for stage in self._stages:
            spectrum, end = stage.push(spectrum, end, self._magnitudes, self._consistent, last=last)
        samples = self._synthesis.push(spectrum, last=last).flatten(-2)
        keep = min(_OVERLAP * self.iterations, self._magnitudes.shape[-2])
        self._magnitudes = self._magnitudes[..., self._magnitudes.shape[-2] - keep :, :].contiguous()
        self._consistent = self._consistent[..., self._consistent.shape[-2] - keep :, :].contiguous()
        unwanted = min(self._unwanted, samples.shape[-1])
        self._unwanted -= unwanted
        return samples[..., unwanted:]


class _OverlapAdd:
    """Spectra in, finished blocks of one hop out; holds the three blocks that are still incomplete."""

    def __init__(self, n_fft: int) -> None:
        self.n_fft = n_fft
        self.frames = 0
        self.tail: Tensor | None = None
        self.known: Tensor | None = None
        """The first blocks as they must be [shape=(..., blocks, hop)]."""

    def push(self, spectrum: Tensor, *, last: bool) -> Tensor:
        hop, count = self.n_fft // HOPS_PER_WINDOW, spectrum.shape[-2]
        window = _window(self.n_fft, spectrum.real.dtype, spectrum.device) * (math.sqrt(self.n_fft) / _WINDOW_POWER)
        blocks = spectrum.real.new_zeros(*spectrum.shape[:-2], count + _OVERLAP, hop)
        if self.tail is not None:
            blocks[..., :_OVERLAP, :] = self.tail
        if count:
            pieces = torch.fft.irfft(spectrum, n=self.n_fft).mul_(window).unflatten(-1, (HOPS_PER_WINDOW, hop))
            for quarter in range(HOPS_PER_WINDOW):
                blocks[..., quarter : quarter + count, :] += pieces[..., quarter, :]
        self.tail = blocks[..., count:, :].clone()
        first_block = self.frames - _LOOKAHEAD
        self.frames += count
        begin = max(0, -first_block)
        end = count + _LOOKAHEAD if last else count
        ready = blocks[..., begin : max(begin, end), :]
        edge = [0] if first_block <= 0 < first_block + end else []
        edge += list(range(max(0, self.frames - 2), self.frames)) if last else []
        for block in dict.fromkeys(edge):
            index = torch.tensor([block])
            frames = self.frames if last else block + 8
            gain = _WINDOW_POWER / _envelope(index, 0, frames, self.n_fft, ready)
            ready[..., block - first_block - begin, :] *= gain[0]
        if self.known is not None:
            place = first_block + begin
            count = min(self.known.shape[-2] - place, ready.shape[-2])
            if count > 0:
                ready[..., :count, :] = self.known[..., place : place + count, :]
        return ready


class _Iteration:
    """One step of fast Griffin-Lim on a stream: imposed spectra in, imposed spectra out, three frames later."""

    def __init__(self, n_fft: int, *, momentum: float) -> None:
        self.n_fft = n_fft
        self.momentum = momentum
        self.overlap_add = _OverlapAdd(n_fft)
        self.past: Tensor | None = None

    def push(
        self, spectrum: Tensor, end: int, magnitudes: Tensor, consistent: Tensor, *, last: bool
    ) -> tuple[Tensor, int]:
        blocks = self.overlap_add.push(spectrum, last=last)
        hop, lead = blocks.shape[-1], blocks.shape[:-2]
        past = blocks.new_zeros(*lead, _LOOKAHEAD, hop) if self.past is None else self.past
        after = [blocks.new_zeros(*lead, _LOOKAHEAD - 1, hop)] if last else []
        signal = torch.cat([past, blocks, *after], dim=-2)
        self.past = signal[..., -_OVERLAP:, :].clone()
        count = max(0, signal.shape[-2] - _OVERLAP)
        if not last:
            end -= _OVERLAP
        if count == 0:
            return spectrum[..., :0, :], end
        window = _window(self.n_fft, blocks.dtype, blocks.device) / math.sqrt(self.n_fft)
        frames = signal.flatten(-2).unfold(-1, self.n_fft, hop) * window
        new = torch.view_as_real(torch.fft.rfft(frames)).flatten(-2)
        rows = slice(end - count, end)
        if self.momentum:
            moved = torch.lerp(consistent[..., rows, :], new, 1.0 + self.momentum)
        else:
            moved = new
        consistent[..., rows, :] = new
        unit = torch.sgn(torch.view_as_complex(moved.unflatten(-1, (-1, 2))))
        imposed = torch.view_as_real(unit).flatten(-2).mul_(magnitudes[..., rows, :])
        return torch.view_as_complex(imposed.unflatten(-1, (-1, 2))), end


def reconstruct(magnitudes: Tensor, *, iterations: int = 16) -> Tensor:
    """Waveform of magnitudes: the same recursion as `PhaseVocoder`, in one go, clip by clip.

    Parameters
    ----------
    magnitudes : Tensor [shape=(..., channels, frames, bins)]
        Magnitudes of `stft`; not negative.
    iterations : int
        Griffin-Lim iterations after the single pass.

    Returns
    -------
    Tensor [shape=(..., channels, frames * hop)]
    """
    n_fft = 2 * (magnitudes.shape[-1] - 1)
    clips = magnitudes.reshape(-1, *magnitudes.shape[-3:])
    groups = clips.unsqueeze(1) if magnitudes.device.type == "cpu" else clips.unsqueeze(0)
    waveforms = []
    for group in groups:
        vocoder = PhaseVocoder(n_fft, iterations=iterations)
        waveforms.append(torch.cat([vocoder.push(group), vocoder.finish()], dim=-1))
    return torch.cat(waveforms).reshape(*magnitudes.shape[:-2], -1)


def hold_phase(log_magnitude: Tensor, *, iterations: int = 2, floor: float = 0.0) -> Tensor:
    """Waveform of log magnitudes for a training loss: the gradient reaches the magnitudes, the phase is a constant.

    Parameters
    ----------
    log_magnitude : Tensor [shape=(..., channels, frames, bins)]
        ``log(magnitude + floor)``.
    iterations : int
        Griffin-Lim iterations for the constant phase.
    floor : float
        The number that was added before the logarithm.

    Returns
    -------
    Tensor [shape=(..., channels, frames * hop)]
    """
    magnitude = (log_magnitude.exp() - floor).clamp(min=0.0)
    n_fft = 2 * (log_magnitude.shape[-1] - 1)
    with torch.no_grad():
        phase = torch.sgn(stft(reconstruct(magnitude.detach(), iterations=iterations), n_fft))
    return istft(magnitude * phase, log_magnitude.shape[-2] * hop_of(n_fft))


def _peaks(level: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest peak of every bin, and the parabola's offset of every bin, in bins within +-0.5."""
    bins = level.shape[-1]
    padded = torch.nn.functional.pad(level, (1, 1), value=-1e9)
    left, right = padded[..., :-2], padded[..., 2:]
    curve = left - 2.0 * level + right
    offset = (0.5 * (left - right) / curve.clamp(max=-1e-9)).clamp(-0.5, 0.5)
    offset[..., 0] = offset[..., -1] = 0.0
    is_peak = (level > left) & (level >= right)
    index = torch.arange(bins, device=level.device).expand_as(level)
    below = torch.where(is_peak, index, -bins).cummax(dim=-1).values
    above = torch.where(is_peak, -index, -2 * bins).flip(-1).cummax(dim=-1).values.flip(-1).neg()
    nearest = torch.where(index - below <= above - index, below, above)
    return torch.where((nearest < 0) | (nearest >= bins), index, nearest), offset


@lru_cache(maxsize=32)
def _window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(n_fft, dtype=dtype, device=device)


def _envelope(blocks: Tensor, first_frame: int, end_frame: int, n_fft: int, like: Tensor) -> Tensor:
    """Sum of squared windows over the frames ``first_frame .. end_frame - 1`` in every block of one hop, (blocks, hop)."""
    power = _window(n_fft, like.dtype, like.device).square().view(HOPS_PER_WINDOW, -1)
    frame = blocks[:, None] + _LOOKAHEAD - torch.arange(HOPS_PER_WINDOW)
    present = ((frame >= first_frame) & (frame < end_frame)).to(like)
    return (present @ power).clamp(min=1e-8)
