"""Composing what is missing in a sound: between what comes before and what comes after, from latents to samples.

A gap no longer than a third of the window is composed at once, with both sides before it; of a longer one the
beginning goes on from what comes before, until so much is left. The grid of latents begins where the gap begins, so
that gaps may begin and end at any sample.
"""

import math
from collections.abc import Generator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from piano.composer import HISTORY_PART, Composer
from piano.foundation.finite import require_finite
from piano.foundation.phase_between import between
from piano.latent_style import SHORTEST_SECONDS, Style
from piano.piano_model import VariationalAttentionModel

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Work in steps of some tenths of a second, for whoever has others to serve in between."""
ITERATIONS = 32
"""Of Griffin-Lim between both sides, after the vocoder's own from the left one (docs/experiments.md)."""
SOUNDING_FRAMES = 128
"""Latents that are decoded at once."""
ATTEMPTS = 4
HOLE_DB = 15.0
"""New music that falls so far below the quietest moment around it leaves a hole: another attempt is made."""
AROUND_SECONDS, MOMENT_SECONDS = 4.0, 0.25
FITTED_SECONDS = 4.0
"""At the end of a gap, whose phases are fitted to both sides; before that they follow from what is before."""


class Sides(NamedTuple):
    """What lies around a gap."""

    before: Tensor
    """Whitened latents that end where the gap begins [shape=(1, frames, latent_dim)]; maybe none."""
    after: Tensor
    """Those after the gap, of the same grid."""


def finished(steps: Steps[Result]) -> Result:
    """What comes of some steps, done one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def fill_gap(
    composer: Composer,
    waveform: Tensor,
    begin: int,
    end: int,
    *,
    style: Style | None = None,
    item: int = 0,
    position: int = 0,
) -> Tensor:
    """New music for samples of a sound (channels, end - begin), at once; see `fill_steps`."""
    return finished(fill_steps(composer, waveform, begin, end, style=style, item=item, position=position))


def fill_steps(
    composer: Composer,
    waveform: Tensor,
    begin: int,
    end: int,
    *,
    style: Style | None = None,
    item: int = 0,
    position: int = 0,
) -> Steps[Tensor]:
    """New music for the samples from `begin` to `end` of a sound, which lead from what is before to what is after.

    Parameters
    ----------
    composer : Composer
    waveform : Tensor [shape=(channels, samples)]
        At the level of prepared music. Of what lies in the gap next to nothing is heard: the encoder looks a few
        frames across its edges.
    begin, end : int
        Samples. A gap may lie at the beginning or at the end, but may not be all there is.
    style : Style, optional
        Frame 0 of its time is the gap's first one; by default it is that of both sides.
    item : int
        Items of a seed differ.
    position : int
        Latent frames of the whole sound before the gap: gaps at different places of it get different noise.

    Returns
    -------
    Tensor [shape=(channels, end - begin)]
        Its edges want to be faded into what is known there: see `phase_between`.
    """
    network = composer.generator
    waveform = waveform.to(network.device)
    sides = encode_sides(network, waveform, begin, end)
    yield
    quietest, best = _quietest_around(waveform, begin, end, network.sample_rate), None
    for attempt in range(ATTEMPTS):
        made = yield from _attempt(composer, sides, waveform, begin, end, style, item, position, attempt)
        level = float(_levels(made, network.sample_rate).min())
        if best is None or level > best[0]:
            best = level, made
        if level >= quietest - HOLE_DB:
            break
    assert best is not None
    return best[1]


def _quietest_around(waveform: Tensor, begin: int, end: int, sample_rate: int) -> float:
    """Level in dB that music around a gap does not fall below: the quietest moment, or well below the usual one."""
    reach = round(AROUND_SECONDS * sample_rate)
    sides = [waveform[:, max(begin - reach, 0) : begin], waveform[:, end : end + reach]]
    levels = torch.cat([_levels(side, sample_rate) for side in sides if side.shape[-1]])
    return min(float(levels.min()), float(levels.median()) - HOLE_DB)


def _levels(sound: Tensor, sample_rate: int) -> Tensor:
    """Levels in dB of the moments of a sound (channels, samples)."""
    moment = min(round(MOMENT_SECONDS * sample_rate), sound.shape[-1])
    power = sound.float().square().mean(dim=0).unfold(0, moment, moment).mean(dim=1)
    return 10.0 * (power + 1e-12).log10()


def _attempt(
    composer: Composer,
    sides: Sides,
    waveform: Tensor,
    begin: int,
    end: int,
    style: Style | None,
    item: int,
    position: int,
    attempt: int,
) -> Steps[Tensor]:
    """One way to fill a gap."""
    network = composer.generator
    frames = -(-(end - begin) // network.hop_samples)
    latents = yield from between_steps(
        composer, sides, frames, style=style, item=item, position=position, attempt=attempt
    )
    context = network.autoencoder.decoder.context
    known = sides.before[:, -context:], sides.after[:, :context]
    return (
        yield from sounding_steps(
            composer,
            torch.cat([known[0], latents, known[1]], dim=1),
            slice(known[0].shape[1], known[0].shape[1] + frames),
            before=waveform[:, :begin],
            after=waveform[:, end:],
            samples=end - begin,
            item=item,
            first_frame=position * network.autoencoder.latent_stride,
        )
    )


@torch.inference_mode()
def encode_sides(network: VariationalAttentionModel, waveform: Tensor, begin: int, end: int) -> Sides:
    """The latents around a gap of a waveform (channels, samples), a window of each side at most."""
    hop, margin, window = network.hop_samples, network.autoencoder.encoder.context, network.latent_seq_len
    samples = waveform.shape[-1]

    def encode(first: int, frames: int) -> Tensor:
        """Latents of `frames` hops from sample `first` on."""
        if frames <= 0:
            return torch.zeros(1, 0, network.latent_dim, device=waveform.device)
        earlier = min(margin, first // hop)
        piece = waveform[:, first - earlier * hop : first + (frames + margin) * hop]
        return network.encode(piece.unsqueeze(0))[:, earlier : earlier + frames]

    before = min(begin // hop, window)
    resumed = begin + -(-(end - begin) // hop) * hop
    after = min(max(samples - resumed, 0) // hop, window)
    sides = Sides(encode(begin - before * hop, before), encode(resumed, after))
    return Sides(*(require_finite(side, "latents of a sound") for side in sides))


@torch.inference_mode()
def style_around(network: VariationalAttentionModel, sides: Sides, frames: int) -> Style | None:
    """The style of both sides of a gap of `frames` frames, with the pulse of the longer one; frame 0 is the gap's.

    None where neither is long enough to have one.
    """
    rate, described = network.frames_per_second, []
    for side, first_frame in ((sides.before, -sides.before.shape[1]), (sides.after, frames)):
        if side.shape[1] > 1:
            described.append((side.shape[1], network.style.describe(side).moved(first_frame / rate)))
    if not described:
        return None
    described.sort(key=lambda pair: -pair[0])
    long = [style for length, style in described if length >= SHORTEST_SECONDS * rate] or [described[0][1]]
    vectors = torch.stack([style.vector for style in long])
    return Style(vectors.mean(dim=0), long[0].pulse)


def between_steps(
    composer: Composer,
    sides: Sides,
    frames: int,
    *,
    style: Style | None = None,
    item: int = 0,
    position: int = 0,
    attempt: int = 0,
) -> Steps[Tensor]:
    """Latents (1, frames, latent_dim) that lead from one side to the other, a window a step.

    Parameters
    ----------
    composer : Composer
    sides : Sides
        One of them may be empty, or too short to say anything; then the seed decides.
    frames : int
    style : Style, optional
        See `fill_gap`.
    item, position : int
        See `fill_steps`.
    attempt : int
        Another one is other music.
    """
    network, items = composer.generator, range(item, item + 1)
    style = style or style_around(network, sides, frames) or network.style.draw(composer.sampling.seed, items)
    window, purpose = network.latent_seq_len, f"infill {attempt}" if attempt else "infill"
    kept = window // HISTORY_PART
    begun, ended = sides.before, sides.after  # they grow towards each other
    done, left = 0, frames

    @torch.inference_mode()
    def compose(before: int, free: int, after: int, first_frame: int) -> Tensor:
        """A window of which the middle is new; frame `first_frame` of the gap is its first new one."""
        noise = torch.cat(
            [
                composer.white_noise(items, "prefix", 0, before),
                composer.in_bars(
                    composer.white_noise(items, purpose, position + first_frame, free), items, style, first_frame
                ),
                composer.white_noise(items, "suffix", 0, after),
            ],
            dim=1,
        )
        made = composer.integrate(
            noise,
            condition=network.condition_on(style, noise.shape[1], first_frame=first_frame - before),
            prefix=begun[:, begun.shape[1] - before :],
            suffix=ended[:, :after],
        )
        return require_finite(made[:, before : before + free], "latents")

    while left:
        yield
        if begun.shape[1] and ended.shape[1] and left <= kept:
            around = window - left
            before = min(begun.shape[1], max(around // 2, around - ended.shape[1]))
            piece = compose(before, left, min(ended.shape[1], around - before), done)
        elif begun.shape[1]:
            before = min(begun.shape[1], kept)
            piece = compose(before, window - before, 0, done)
            piece = piece[:, : left - kept if ended.shape[1] else left]
        else:  # from the end towards the beginning
            after = min(ended.shape[1], kept)
            free = min(window - after, left)
            ended = torch.cat([compose(0, free, after, left - free), ended], dim=1)
            left -= free
            continue
        begun = torch.cat([begun, piece], dim=1)
        done, left = done + piece.shape[1], left - piece.shape[1]
    made = torch.cat([begun[:, sides.before.shape[1] :], ended[:, : ended.shape[1] - sides.after.shape[1]]], dim=1)
    assert made.shape[1] == frames
    return made


def sounding_steps(
    composer: Composer,
    latents: Tensor,
    part: slice,
    *,
    before: Tensor,
    after: Tensor,
    samples: int,
    item: int = 0,
    first_frame: int = 0,
) -> Steps[Tensor]:
    """The sound of some latents, with phases that fit both sides, a block a step.

    Parameters
    ----------
    composer : Composer
    latents : Tensor [shape=(1, frames, latent_dim)]
    part : slice
        Frames that become sound; the others are looked at by the decoder.
    before, after : Tensor [shape=(channels, any)]
        The sound on both sides.
    samples : int
        Of the result; no more than `part` has.
    item, first_frame : int
        Whose scatter of real sound is added, from which spectrum frame on.

    Returns
    -------
    Tensor [shape=(channels, samples)]
    """
    autoencoder = composer.generator.autoencoder
    stride, margin, hop = autoencoder.latent_stride, autoencoder.decoder.context, autoencoder.hop_length
    fitted = math.ceil(FITTED_SECONDS * composer.generator.sample_rate / hop)
    vocoder = composer.start_phase(before if before.shape[-1] else None)
    magnitudes, sounds = latents.new_zeros(0), []
    for first in range(part.start, part.stop, SOUNDING_FRAMES):
        last, earliest = min(first + SOUNDING_FRAMES, part.stop), max(first - margin, 0)
        with torch.inference_mode():  # not around a yield: it would hold for whatever else the thread does
            spectrum = composer.decode_part(
                latents[:, earliest : last + margin], slice(first - earliest, last - earliest)
            )
            levels = composer.finish(spectrum, item, first_frame=first_frame + (first - part.start) * stride)
        magnitude = levels.magnitude[0]
        sounds.append(vocoder.push(magnitude, None if levels.coherence is None else levels.coherence[0]))
        held = magnitude if not magnitudes.numel() else torch.cat([magnitudes, magnitude], dim=-2)
        magnitudes = held[..., -fitted - SOUNDING_FRAMES * stride :, :]
        yield
    sound = torch.cat([*sounds, vocoder.finish()], dim=-1)[..., :samples]
    if not after.shape[-1]:
        return sound
    kept = max((part.stop - part.start) * stride - magnitudes.shape[-2], 0) * hop
    before = torch.cat([before, sound[..., :kept]], dim=-1)
    end = between(magnitudes, sound[..., kept:], before=before, after=after, iterations=ITERATIONS)
    return torch.cat([sound[..., :kept], end], dim=-1)
