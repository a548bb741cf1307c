"""Composing: from white noise, or from a prompt, to latents, and from latents to sound.

This is the only way from a trained generator's latents to a waveform: commands, the Python door, the ruler and a run's
own measurements all come through here. Nothing in it learns.
"""

import copy
import math
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor

from piano.foundation.ahead import ahead
from piano.foundation.compiled import Kernels
from piano.foundation.finite import require_finite
from piano.foundation.phase import PhaseVocoder
from piano.foundation.randomness import keyed_generator, keyed_noise
from piano.foundation.texture import NEPER
from piano.inference_copy import FinishedLevels, InferenceCopy, finish_levels, together
from piano.latent_style import SHORTEST_SECONDS, Style, StyleCondition, Wishes
from piano.piano_encoder_decoder import ChannelLevels
from piano.piano_model import VariationalAttentionModel, shifted
from piano.song_form import SongForm, plan_song
from piano.stages import MANY_STEPS, RECONSTRUCTED
from piano.stream_state import Journey, Sounding, Stream, Windows

PREFIX_LEVEL = 0.05
"""Noise on a prefix while its continuation is made; training saw up to 0.15, which stops drift (arXiv 2411.18447)."""
LEVEL_SHIFT = 3.0
"""Sampling levels crowd where the noise is strong, for that is where form is decided."""
HISTORY_PART = 3
"""Endless music: the last third of a window is the prefix of the next one."""
BLOCK_FRAMES = 32
"""Of latents that become sound at once: always on the same grid, so that pieces of any size are the same bits."""
BAR_NOISE = 0.3
"""Of the power of the noise, so much comes again after each bar that was asked for."""
STYLE_ATTEMPTS = 8
RECONSTRUCTION_SEED = 0
"""Of the scatter of reconstructions: a song written down and played back is the same every time."""
LEAST_STEPS_OF_RETURNS = 8
"""A theme that comes again, or an end, is made in so many steps at least: the shortcut knows white noise only."""
LARGEST_LIFT = 20.0 * NEPER
"""A composition so far below the softest music is next to silence: what it would be lifted from is not music."""


class Sampling(NamedTuple):
    """How music is made, but for its length and its prompt."""

    seed: int = 0
    steps: int | str = "auto"
    """Evaluations of the attention block; `auto`: as many as scored best when the model was last judged."""
    phase_iterations: int = 16
    """Griffin-Lim iterations after the single pass."""
    dtype: torch.dtype = torch.float32
    """Precision of the attention block; bfloat16 is faster where the processor has it."""
    wishes: Wishes = Wishes()
    """What new music was asked to be like; by default all of it is drawn."""


class Composer:
    """Makes music with a generator. Item n of a seed is the same, however many items are asked for.

    Parameters
    ----------
    generator : VariationalAttentionModel
        In evaluation mode.
    sampling : Sampling, optional
    kernels : Kernels, optional
        The compiled inner loops (`foundation.compiled`), for a generator on the CPU: several times faster, the same up
        to rounding. By default everything is computed by PyTorch.
    overlaps : bool
        Whether `stream` composes and sounds at once, in three threads; the same bits. It pays from two cores on, with
        one thread of PyTorch's or few.
    """

    def __init__(
        self,
        generator: VariationalAttentionModel,
        sampling: Sampling | None = None,
        *,
        kernels: Kernels | None = None,
        overlaps: bool = False,
    ) -> None:
        self.generator = generator
        self.overlaps = overlaps
        self.sampling = sampling or Sampling()
        self.kernels = kernels if generator.device.type == "cpu" else None
        self._copy = None
        if self.kernels is not None:
            self._copy = InferenceCopy(generator, self.sampling.dtype, self.kernels.layers)
        steps = self.sampling.steps
        self.steps = int(generator.default_steps) if steps == "auto" else int(steps)

    def with_sampling(self, sampling: Sampling) -> "Composer":
        """Another composer of the same generator, without its weights being packed again."""
        other = copy.copy(self)
        other.sampling = sampling
        if sampling.dtype != self.sampling.dtype and self.kernels is not None:
            other._copy = InferenceCopy(self.generator, sampling.dtype, self.kernels.layers)
        steps = sampling.steps
        other.steps = int(self.generator.default_steps) if steps == "auto" else int(steps)
        return other

    # --- sound -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def stream(
        self,
        seconds: float,
        *,
        prompt: Tensor | None = None,
        noise: Tensor | None = None,
        style: Style | None = None,
        until: Style | None = None,
        form: SongForm | None = None,
        item: int = 0,
    ) -> Iterator[Tensor]:
        """Music as it is made: waveform pieces (channels, samples), `seconds` long together; infinity: without end.

        Parameters
        ----------
        prompt : Tensor [shape=(channels, samples)], optional
            A fragment to continue; only the continuation is yielded.
        noise : Tensor [shape=(frames, latent_dim)], optional
            From `noise_from_waveform`: the seed as sound.
        style : Style, optional
            From `style_of`: other music in the style of a sound.
        until : Style, optional
            Another one, which the style goes over to, window by window, by the last of them; for music with an end.
        form : SongForm, optional
            Whether its theme returns, and whether it closes; for music with an end. By default it does neither.
        """
        samples = None if math.isinf(seconds) else round(seconds * self.generator.sample_rate)
        last_frame = None if samples is None else math.ceil(samples / self.generator.hop_samples)
        state = self.start(item, prompt=prompt, noise=noise, style=style)
        state, sent = self._planned(state, last_frame, until, form, item), 0
        for sound in self._overlapped(state, last_frame) if self.overlaps else self._in_turn(state, last_frame):
            piece = sound if samples is None else sound[..., : samples - sent]
            sent += piece.shape[-1]
            if piece.shape[-1]:
                yield piece
            if sent == samples:
                return

    @torch.inference_mode()
    def latents(
        self,
        seconds: float,
        *,
        style: Style | None = None,
        until: Style | None = None,
        form: SongForm | None = None,
        item: int = 0,
    ) -> Tensor:
        """The latents (1, frames, latent_dim) of the music of `stream`, which are not made to sound."""
        last_frame = math.ceil(round(seconds * self.generator.sample_rate) / self.generator.hop_samples)
        state = self._planned(self.start(item, style=style), last_frame, until, form, item)
        return torch.cat([piece for piece, _ in self._latents(state, last_frame)], dim=1)

    def _planned(
        self, state: Stream, last_frame: int | None, until: Style | None, form: SongForm | None, item: int
    ) -> Stream:
        """A stream that has begun, with the way that it will go; see `stream`."""
        if until is not None:
            if last_frame is None:
                raise ValueError("music without end does not come to a last style")
            ways = max(last_frame - self.generator.latent_seq_len, 1)  # the last window is in the last style
            return state._replace(windows=state.windows._replace(journey=Journey(state.windows.style, until, ways)))
        if form is None or last_frame is None:
            return state
        sampling = self.sampling
        plan = plan_song(self.generator, sampling.seed, item, state, last_frame, form, sampling.wishes)
        return state._replace(windows=state.windows._replace(plan=plan))

    def _in_turn(self, state: Stream, last_frame: int | None) -> Iterator[Tensor]:
        """The sounds of a stream (channels, samples), one step after the other."""
        while state.frame != last_frame and not self.is_over(state):
            state, sound = self.advance(state, last_frame=last_frame)
            yield sound

    def _overlapped(self, state: Stream, last_frame: int | None) -> Iterator[Tensor]:
        """The same sounds, while other threads compose what comes next and find its levels."""
        vocoders = state.sounding.vocoders or self.begin_phases(state.sounding, 1)
        for blocks, is_last in ahead(self._levels_in_turn(state.sounding, ahead(self._latents(state, last_frame)))):
            for block in blocks:
                yield self.voice(vocoders, block)[0]
            if is_last:
                yield torch.stack([vocoder.finish() for vocoder in vocoders])[0]

    @torch.inference_mode()
    def _latents(self, state: Stream, last_frame: int | None) -> Iterator[tuple[Tensor, bool]]:
        """Latents (1, frames, latent_dim) as `advance` hands them on, and whether they are the last."""
        frame, made, windows, is_last = state.frame, state.ahead, state.windows, False
        while not is_last:
            wanted = BLOCK_FRAMES if last_frame is None else min(BLOCK_FRAMES, last_frame - frame)
            while made.shape[1] < wanted and not windows.is_over:
                windows, piece = self.compose_window(windows)
                made = torch.cat([made, piece], dim=1)
            handed_on, made = made[:, :wanted], made[:, wanted:]
            frame += handed_on.shape[1]
            is_last = frame == last_frame or (windows.is_over and not made.shape[1])
            yield handed_on, is_last

    def _levels_in_turn(
        self, state: Sounding, latents: Iterator[tuple[Tensor, bool]]
    ) -> Iterator[tuple[list[FinishedLevels], bool]]:
        """The levels of the blocks that they complete."""
        for handed_on, is_last in latents:
            state, blocks = self.level_blocks(state, handed_on, is_last=is_last)
            yield blocks, is_last

    @torch.inference_mode()
    def start(
        self,
        item: int = 0,
        *,
        prompt: Tensor | None = None,
        noise: Tensor | None = None,
        style: Style | None = None,
    ) -> Stream:
        """Where an endless piece begins; see `stream`. Its first window is composed, which decides its loudness."""
        network = self.generator
        if prompt is None:
            windows, ahead, gain = self._at_a_usual_level(item, noise, style)
            context = None
        else:
            usable = prompt.shape[-1] // network.hop_samples * network.hop_samples
            window = network.latent_seq_len * network.hop_samples
            prompt = prompt[..., prompt.shape[-1] - min(usable, window) :].to(network.device)
            context = require_finite(network.encode(prompt.unsqueeze(0)), "latents of a prompt")
            windows, ahead = self.compose_window(self.begin(count=1, prefix=context, first_item=item))
            gain = 1.0
        sounding = self.begin_sound(prompt=prompt, context=context, first_item=item, gain=gain)
        recent = ahead[:, :0] if context is None else context[:, -self._kept :]
        unread = torch.zeros(network.sound_channels, 0, device=network.device)
        return Stream(windows, sounding, recent, ahead, frame=0, unread=unread, sample=0)

    def is_over(self, state: Stream) -> bool:
        """Whether a stream has come to its end, which only those from a file of noise have."""
        return state.windows.is_over and not state.ahead.shape[1] and not state.unread.shape[-1]

    @torch.inference_mode()
    def advance(self, state: Stream, *, last_frame: int | None = None) -> tuple[Stream, Tensor]:
        """The next piece of a stream (channels, samples), as it comes off the grid; the state before stays as it is.

        Parameters
        ----------
        state : Stream
        last_frame : int, optional
            The music ends after so many latents: then the last piece is not held back for what would follow.
        """
        frame, ahead, windows, sounding = state.frame, state.ahead, state.windows, state.sounding
        sounds, recent = [state.unread], state.recent
        while not (sounds[-1].shape[-1] or frame == last_frame):
            wanted = BLOCK_FRAMES if last_frame is None else min(BLOCK_FRAMES, last_frame - frame)
            while ahead.shape[1] < wanted and not windows.is_over:
                windows, piece = self.compose_window(windows)
                ahead = torch.cat([ahead, piece], dim=1)
            handed_on, ahead = ahead[:, :wanted], ahead[:, wanted:]
            frame += handed_on.shape[1]
            is_last = frame == last_frame or (windows.is_over and not ahead.shape[1])
            sounding, sound = self.sound(sounding, handed_on, is_last=is_last)
            sounds.append(sound[0])
            recent = torch.cat([recent, handed_on], dim=1)[:, -self._kept :]
            if is_last:
                break
        made = torch.cat(sounds, dim=-1)
        new = Stream(windows, sounding, recent, ahead, frame, made[:, :0], state.sample + made.shape[-1])
        return new, made

    def read(self, state: Stream, samples: int) -> tuple[Stream, Tensor]:
        """The next `samples` samples of a stream (channels, samples): the same bits in pieces of any size.

        At the end of one that has an end there are fewer.
        """
        pieces, have = [state.unread[:, :0]], 0
        while have < samples and not self.is_over(state):
            state, sound = self.advance(state)
            pieces.append(sound)
            have += sound.shape[-1]
        made = torch.cat(pieces, dim=-1)
        read = made[:, :samples]
        unread = made[:, samples:].clone()
        return state._replace(unread=unread, sample=state.sample - unread.shape[-1]), read

    def turn(self, state: Stream, style: Style, *, frame: int | None = None) -> Stream:
        """The same stream with another style from latent `frame` on (by default from the next one on).

        What was composed beyond it is thrown away; the beat goes on from where it is.

        Parameters
        ----------
        state : Stream
            One that has not handed on that latent yet.
        """
        turned_at = state.frame if frame is None else frame
        if turned_at < state.frame:
            raise ValueError(f"latent {frame} has become sound already: this state is at {state.frame}")
        ahead, windows = state.ahead, state.windows
        while ahead.shape[1] < turned_at - state.frame and not windows.is_over:
            windows, piece = self.compose_window(windows)
            ahead = torch.cat([ahead, piece], dim=1)
        ahead = ahead[:, : turned_at - state.frame]
        windows = windows._replace(
            style=style.going_on_from(windows.style, (windows.start + turned_at) / self.generator.frames_per_second),
            history=torch.cat([state.recent, ahead], dim=1)[:, -self._kept :],
            frame=turned_at,
            plan=None,  # it was of the style before
        )
        return state._replace(windows=windows, ahead=ahead)

    @torch.inference_mode()
    def falls_silent(self, state: Stream) -> bool:
        """Whether the next window that a stream composes is next to silence: a style can be a pause."""
        _, piece = self.compose_window(state.windows)
        return self._is_next_to_silence(self._level(piece, state.windows.first_item))

    @property
    def _kept(self) -> int:
        """Latents of a window that the next one goes on from."""
        return self.generator.latent_seq_len // HISTORY_PART

    def generate(self, seconds: float, *, count: int = 1, noise: Tensor | None = None) -> Tensor:
        """New music from white noise: waveform (count, channels, samples)."""
        items = [torch.cat(list(self.stream(seconds, noise=noise, item=item)), dim=-1) for item in range(count)]
        return torch.stack(items)

    def continue_(self, start: Tensor, seconds: float) -> Tensor:
        """What comes after `start` (channels, samples): waveform (channels, samples), the start not included."""
        return torch.cat(list(self.stream(seconds, prompt=start)), dim=-1)

    @torch.inference_mode()
    def generate_together(self, seconds: float, *, count: int) -> list[Tensor]:
        """The items that `generate` makes, their latents all at once: more memory, and less time.

        Returns
        -------
        list of Tensor [shape=(channels, samples)]
        """
        network = self.generator
        samples = round(seconds * network.sample_rate)
        frames, pieces = math.ceil(samples / network.hop_samples), self.stream_latents(count=count)
        first = next(pieces)
        latents = torch.cat(list(take_frames(chain([first], pieces), frames)), dim=1)
        sounds = []
        for item in range(count):
            level = self._level(first[item : item + 1], item)
            if self._is_next_to_silence(level):  # another style is drawn
                sounds.append(torch.cat(list(self.stream(seconds, item=item)), dim=-1))
                continue
            own = iter([latents[item : item + 1]])
            made = list(self.decode_stream(own, first_item=item, gain=self._usual_gain(level)))
            sounds.append(torch.cat(made, dim=-1)[0, :, :samples])
        return sounds

    # --- latents ---------------------------------------------------------------------------------------------------

    def integrate(
        self,
        noise: Tensor,
        *,
        condition: StyleCondition,
        prefix: Tensor | None = None,
        suffix: Tensor | None = None,
        given: Tensor | None = None,
        amount: float | Tensor = 1.0,
    ) -> Tensor:
        """Walk from white noise, or from given latents under noise, to latents.

        One step is the adversarially trained shortcut; more follow the flow, level by level (`shifted`).

        Parameters
        ----------
        noise : Tensor [shape=(batch, frames, latent_dim)]
        condition : StyleCondition
            The style to compose in, for all frames.
        prefix : Tensor [shape=(batch, prefix_frames, latent_dim)], optional
            Clean latents the result must continue; returned unchanged as its first frames.
        suffix : Tensor [shape=(batch, suffix_frames, latent_dim)], optional
            Clean latents that it must lead to; returned unchanged as its last frames.
        given : Tensor [shape=(batch, frames, latent_dim)], optional
            Latents to vary: the walk begins at them under noise of the level `amount` (Meng et al., arXiv 2108.01073),
            and follows the flow, for the shortcut knows white noise only.
        amount : float, or Tensor [shape=(batch, frames)]
            In (0, 1]; 1 is white noise. Each frame may have its own.

        Returns
        -------
        Tensor [shape=(batch, frames, latent_dim)]
        """
        steps = self.steps
        if isinstance(amount, Tensor):
            steps = max(steps, LEAST_STEPS_OF_RETURNS)
        elif given is not None:
            steps = max(2, math.ceil(MANY_STEPS * amount))
        name = "shortcut" if steps == 1 else "attention"
        network = getattr(self.generator, name) if self._copy is None else self._copy.flow(name)
        is_halved = self.sampling.dtype == torch.bfloat16 and self._copy is None
        nothing = noise[:, :0]
        prefix, suffix = (nothing if part is None else part for part in (prefix, suffix))
        free = slice(prefix.shape[1], noise.shape[1] - suffix.shape[1])
        level = torch.full(noise.shape[:2], PREFIX_LEVEL, device=noise.device)
        share = amount.unsqueeze(-1) if isinstance(amount, Tensor) else amount
        latents = noise if given is None else (1.0 - share) * given + share * noise
        before, after = (
            (1.0 - PREFIX_LEVEL) * part + PREFIX_LEVEL * noise[:, place]
            for part, place in ((prefix, slice(0, free.start)), (suffix, slice(free.stop, None)))
        )
        latents = torch.cat([before, latents[:, free], after], dim=1)
        first = 1.0 if given is None else unshifted(amount)
        for index in range(steps):
            now, then = (shifted(first * (1.0 - (index + turn) / steps), LEVEL_SHIFT) for turn in (0, 1))
            level[:, free] = now[:, free] if isinstance(now, Tensor) else now
            with torch.autocast(noise.device.type, dtype=torch.bfloat16, enabled=is_halved):
                endpoint = network(latents, level, condition)
            ratio = then / now
            moved = endpoint + (ratio.unsqueeze(-1) if isinstance(ratio, Tensor) else ratio) * (latents - endpoint)
            latents = torch.cat([before, moved[:, free], after], dim=1)
        return torch.cat([prefix, latents[:, free], suffix], dim=1)

    @torch.inference_mode()
    def stream_latents(
        self,
        *,
        count: int,
        prefix: Tensor | None = None,
        noise: Tensor | None = None,
        first_item: int = 0,
        attempt: int = 0,
        style: Style | None = None,
    ) -> Iterator[Tensor]:
        """Endless latents in pieces of two thirds of a window; each piece continues the one before.

        Parameters
        ----------
        count : int
        prefix : Tensor [shape=(1 or count, frames, latent_dim)], optional
            Whitened latents to continue; not part of what is yielded.
        noise : Tensor [shape=(frames, latent_dim)], optional
            White noise that replaces the seed's, for as many frames as it has; it ends the stream.
        first_item : int
            Index of the first item, to make items apart.
        attempt : int
            Another one draws other styles for the same items.
        style : Style, optional
            To compose in; by default one is drawn, or it is that of a prefix.

        Yields
        ------
        Tensor [shape=(count, frames, latent_dim)]
        """
        windows = self.begin(
            count=count, prefix=prefix, noise=noise, first_item=first_item, attempt=attempt, style=style
        )
        while not windows.is_over:
            windows, piece = self.compose_window(windows)
            yield piece

    @torch.inference_mode()
    def begin(
        self,
        *,
        count: int,
        prefix: Tensor | None = None,
        noise: Tensor | None = None,
        first_item: int = 0,
        attempt: int = 0,
        style: Style | None = None,
    ) -> Windows:
        """Before the first window of latents; see `stream_latents`."""
        network, items = self.generator, range(first_item, first_item + count)
        drawn = network.style.draw(self.sampling.seed, items, attempt=attempt, wishes=self.sampling.wishes)
        style = drawn if style is None else style.with_phase_of(drawn)
        history, start = torch.zeros(count, 0, network.latent_dim, device=network.device), 0
        if prefix is not None:
            given = prefix[:, -network.latent_seq_len :].expand(count, -1, -1).to(network.device)
            history, start = given[:, -self._kept :], given.shape[1]
            if given.shape[1] >= SHORTEST_SECONDS * network.frames_per_second:
                style = network.style.describe(given)
        return Windows(style, history, 0, start, first_item, noise)

    @torch.inference_mode()
    def compose_window(self, windows: Windows) -> tuple[Windows, Tensor]:
        """The next window of latents (items, frames, latent_dim), without what it goes on from."""
        network, history = self.generator, windows.history
        if windows.journey is not None:
            now = (windows.start + windows.frame) / network.frames_per_second
            style = windows.journey.style_at(windows.frame).going_on_from(windows.style, now)
            windows = windows._replace(style=style)
        items = range(windows.first_item, windows.first_item + history.shape[0])
        wanted = network.latent_seq_len - history.shape[1]
        style, near = windows.style, {}
        if windows.plan is not None:
            section = windows.plan.section(windows.frame)
            style, wanted = section.style, section.given.shape[1]
            if bool((section.level < 1.0).any()):
                near = {
                    "given": torch.cat([history, section.given], dim=1),
                    "amount": torch.cat([torch.ones_like(history[..., 0]), section.level], dim=1),
                }
        if windows.noise is None:
            place = windows.start + windows.frame
            fresh = self.in_bars(self.white_noise(items, "music", windows.frame, wanted), items, style, place)
            if (size := self.sampling.wishes.noise_size) != 1.0:
                fresh = size * fresh
        else:
            fresh = windows.noise[windows.frame : windows.frame + wanted].expand(len(items), -1, -1).to(network.device)
        noise = torch.cat([self.white_noise(items, "prefix", 0, history.shape[1]), fresh], dim=1)
        begin = windows.start + windows.frame - history.shape[1]
        window = self.integrate(
            noise,
            prefix=history if history.shape[1] else None,
            condition=network.condition_on(style, noise.shape[1], first_frame=begin),
            **near,
        )
        piece = require_finite(window[:, history.shape[1] :], "latents")
        plan = windows.plan and windows.plan.after(piece)
        history, frame = window[:, -self._kept :], windows.frame + piece.shape[1]
        return windows._replace(history=history, frame=frame, plan=plan), piece

    @torch.inference_mode()
    def style_of(self, latents: Tensor) -> Style:
        """The style of a sound's whitened latents (1, frames, latent_dim): that of its most typical window.

        Where windows differ, their mean may be a style that no music has; so the one next to the mean is taken.
        """
        network = self.generator
        window = min(network.latent_seq_len, latents.shape[1])
        hop = max(window // 2, 1)
        windows = latents[0].unfold(0, window, hop).transpose(1, 2)
        styles = network.style.describe(windows)
        typical = int((styles.vector - styles.vector.mean(dim=0)).square().sum(dim=1).argmin())
        return network.style.describe(windows[typical : typical + 1])

    @torch.inference_mode()
    def vary_latents(self, given: Tensor, amount: float, *, item: int = 0) -> Tensor:
        """Latents near given ones: another take of the same music.

        Each window keeps its own style and pulse, and goes on from the varied end of the one before.

        Parameters
        ----------
        given : Tensor [shape=(1, frames, latent_dim)]
            Whitened latents of a sound.
        amount : float
            From 0, the same, to 1, other music of this style.
        item : int
            Items of a seed differ.

        Returns
        -------
        Tensor [shape=(1, frames, latent_dim)]
        """
        return torch.cat(list(self.vary_windows(given, amount, item=item)), dim=1)

    @torch.inference_mode()
    def vary_windows(self, given: Tensor, amount: float, *, item: int = 0) -> Iterator[Tensor]:
        """The latents of `vary_latents` as they are made, window by window (1, frames, latent_dim)."""
        network, frames = self.generator, given.shape[1]
        window, items = network.latent_seq_len, range(item, item + 1)
        kept = window // HISTORY_PART
        made = given[:, :0]
        if amount == 0.0:
            yield given
            return
        while (position := made.shape[1]) < frames:
            begin = min(max(position - kept, 0), max(frames - window, 0))
            part = given[:, begin : begin + window]
            history = made[:, begin:]
            held = self.white_noise(items, "prefix", 0, history.shape[1])
            fresh = self.white_noise(items, "variation", position, part.shape[1] - history.shape[1])
            varied = self.integrate(
                torch.cat([held, fresh], dim=1),
                condition=network.condition_on(network.style.describe(part), part.shape[1]),
                prefix=history if history.shape[1] else None,
                given=part,
                amount=amount,
            )
            piece = require_finite(varied[:, history.shape[1] :], "latents")
            made = torch.cat([made, piece], dim=1)
            yield piece

    @torch.inference_mode()
    def sample_latents(self, frames: int, *, count: int) -> Tensor:
        """Whitened latents (count, frames, latent_dim) composed from white noise."""
        return torch.cat(list(take_frames(self.stream_latents(count=count), frames)), dim=1)

    def whole_windows(self, frames: int) -> int:
        """Frames of noise that the windows take in which the first `frames` frames of music are made."""
        window = self.generator.latent_seq_len
        further = window - window // HISTORY_PART
        return window + further * max(math.ceil((frames - window) / further), 0)

    def noise_from_waveform(self, waveform: Tensor) -> Tensor:
        """A noise waveform (samples,) as latent noise (frames, latent_dim).

        Blocks of samples times a fixed orthonormal matrix: white Gaussian samples stay white Gaussian.
        """
        hop, latent_dim = self.generator.hop_samples, self.generator.latent_dim
        samples = waveform.double()
        samples = (samples - samples.mean()) / samples.std().clamp_min(1e-9)
        blocks = rearrange(samples[: len(samples) // hop * hop], "(frames hop) -> frames hop", hop=hop)
        square = torch.randn(hop, latent_dim, generator=keyed_generator("noise to latents")).double()
        return (blocks @ torch.linalg.qr(square).Q).float()

    def white_noise(self, items: range, purpose: str, position: int, frames: int) -> Tensor:
        """The seed's white noise (items, frames, latent_dim) from frame `position` on."""
        network = self.generator
        if frames == 0:
            return torch.zeros(len(items), 0, network.latent_dim, device=network.device)
        place = {"first_frame": position, "frames": frames, "channels": network.latent_dim}
        noise = [keyed_noise(self.sampling.seed, item, purpose, **place) for item in items]
        return torch.stack(noise).to(network.device)

    def in_bars(self, noise: Tensor, items: range, style: Style, first_frame: int) -> Tensor:
        """White noise (items, frames, latent_dim) a part of which comes again after each bar, if one is asked for.

        What the flow makes of noise that comes again comes again, too, so that bars are heard from models that were
        told of none. Each frame is white noise as before; only frames a whole number of bars apart are alike.

        Parameters
        ----------
        noise : Tensor [shape=(items, frames, latent_dim)]
        items : range
        style : Style
            Its beats are counted.
        first_frame : int
            Of the noise, in the style's time.
        """
        beats = self.sampling.wishes.beats_of_bar(style.pulse)
        if beats is None or not noise.shape[1]:
            return noise
        rate, frames = self.generator.frames_per_second, noise.shape[1]
        places = style.pulse.places_in_bars(beats, frames, first_frame=first_frame, frames_per_second=rate)
        again = [
            self.white_noise(range(item, item + 1), "bar", 0, int(own.max()) + 1)[0, own.to(noise.device)]
            for item, own in zip(items, places.expand(len(items), -1), strict=True)
        ]
        return (1.0 - BAR_NOISE) ** 0.5 * noise + BAR_NOISE**0.5 * torch.stack(again)

    # --- from latents to sound -------------------------------------------------------------------------------------

    def decode(self, latents: Tensor, *, first_item: int | None = None, are_real: bool = False) -> Tensor:
        """Waveform (items, channels, samples) of whitened latents (items, frames, latent_dim).

        With a `first_item` they are finished as compositions are, or as reconstructions: see `decode_stream`.
        """
        return torch.cat(list(self.decode_stream(iter([latents]), first_item=first_item, are_real=are_real)), dim=-1)

    @torch.inference_mode()
    def decode_stream(
        self,
        pieces: Iterator[Tensor],
        *,
        prompt: Tensor | None = None,
        context: Tensor | None = None,
        first_item: int | None = None,
        are_real: bool = False,
        gain: float = 1.0,
    ) -> Iterator[Tensor]:
        """Waveform pieces (items, channels, samples) of latent pieces (items, frames, latent_dim), in bounded memory.

        Parameters
        ----------
        prompt : Tensor [shape=(channels, samples)], optional
            Sound that comes before; the phase is carried over from its end, so that the seam is smooth.
        context : Tensor [shape=(1 or items, frames, latent_dim)], optional
            Latents of that sound, which the decoder looks back on.
        first_item : int, optional
            Finish as compositions are, with the scatter of real sound, which seed and item decide; without it nothing
            is added.
        are_real : bool
            Whether the latents are those of real music, which blur less: then the scatter is that which
            reconstructions lack, and it does not depend on the seed.
        gain : float
            Put on all of it.
        """
        state = self.begin_sound(prompt=prompt, context=context, first_item=first_item, are_real=are_real, gain=gain)
        for piece, is_last in mark_last(pieces):
            state, sound = self.sound(state, piece, is_last=is_last)
            if sound.shape[-1]:
                yield sound

    def begin_sound(
        self,
        *,
        prompt: Tensor | None = None,
        context: Tensor | None = None,
        first_item: int | None = None,
        are_real: bool = False,
        gain: float = 1.0,
    ) -> Sounding:
        """Before the first sound; see `decode_stream`."""
        behind = None if context is None else context[:, -self.generator.autoencoder.decoder.context :]
        done = 0 if behind is None else behind.shape[1]
        return Sounding(behind, done, 0, (), prompt, first_item, are_real, gain)

    @torch.inference_mode()
    def sound(self, state: Sounding, latents: Tensor, *, is_last: bool = False) -> tuple[Sounding, Tensor]:
        """The sound (items, channels, samples) that latents (items, frames, latent_dim) complete; it may be empty.

        Latents become sound in blocks on a grid, each when the latents that the decoder looks ahead on are there too.
        """
        vocoders = tuple(vocoder.copy() for vocoder in state.vocoders) or self.begin_phases(state, latents.shape[0])
        state, blocks = self.level_blocks(state, latents, is_last=is_last)
        sounds = [self.voice(vocoders, block) for block in blocks]
        if is_last:
            sounds.append(torch.stack([vocoder.finish() for vocoder in vocoders]))
        nothing = latents.new_zeros(latents.shape[0], self.generator.sound_channels, 0, dtype=torch.float32)
        return state._replace(vocoders=vocoders), torch.cat(sounds, dim=-1) if sounds else nothing

    @torch.inference_mode()
    def level_blocks(
        self, state: Sounding, latents: Tensor, *, is_last: bool = False
    ) -> tuple[Sounding, list[FinishedLevels]]:
        """The first half of `sound`: the levels of the blocks that latents complete; vocoders stay as they are."""
        margin = self.generator.autoencoder.decoder.context
        held = latents
        if state.latents is not None:
            held = torch.cat([state.latents.expand(latents.shape[0], -1, -1), latents], dim=1)
        done, frame, blocks = state.done, state.frame, []
        while held.shape[1] - done >= (1 if is_last else BLOCK_FRAMES + margin):
            end = min(done + BLOCK_FRAMES, held.shape[1])
            spectrum = self.decode_part(
                held[:, max(done - margin, 0) : end + margin],
                slice(min(done, margin), min(done, margin) + end - done),
            )
            finished = self.finish(spectrum, state.first_item, first_frame=frame, are_real=state.are_real)
            blocks.append(FinishedLevels(finished.magnitude.mul_(state.gain), finished.coherence))
            done, frame = end, frame + (end - done) * self.generator.autoencoder.latent_stride
        keep_from = max(done - margin, 0)
        return state._replace(latents=held[:, keep_from:].clone(), done=done - keep_from, frame=frame), blocks

    @torch.inference_mode()
    def voice(self, vocoders: tuple[PhaseVocoder, ...], block: FinishedLevels) -> Tensor:
        """The second half of `sound`: what the vocoders give (items, channels, samples) for a block; they move on."""
        angles = [None] * len(vocoders) if block.coherence is None else list(block.coherence)
        return together(
            [vocoder.push(item, angle) for vocoder, item, angle in zip(vocoders, block.magnitude, angles, strict=True)]
        )

    def taken_over(self, stream: Stream) -> Stream:
        """A stream that another composer of this generator began: from here on it goes on with this one's loops."""
        kernels = None if self.kernels is None else self.kernels.phase
        vocoders = tuple(vocoder.with_kernels(kernels) for vocoder in stream.sounding.vocoders)
        return stream._replace(sounding=stream.sounding._replace(vocoders=vocoders))

    def begin_phases(self, state: Sounding, items: int) -> tuple[PhaseVocoder, ...]:
        """A vocoder for every item."""
        return tuple(self.start_phase(state.prompt) for _ in range(items))

    def decode_part(self, latents: Tensor, part: slice) -> Tensor:
        """Spectrum (items, frames, values) of the latent frames `part`."""
        if self._copy is not None:
            return self._copy.decoder()(latents, part)
        stride = self.generator.autoencoder.latent_stride
        return self.generator.decode_spectrum(latents)[:, part.start * stride : part.stop * stride]

    def finish(
        self, spectrum: Tensor, first_item: int | None, *, first_frame: int = 0, are_real: bool = False
    ) -> ChannelLevels | FinishedLevels:
        """Levels of the channels of a spectrum (items, frames, values); see `decode_stream`."""
        autoencoder, texture, noise = self.generator.autoencoder, None, None
        if first_item is not None:
            items = range(first_item, first_item + len(spectrum))
            seed = RECONSTRUCTION_SEED if are_real else self.sampling.seed
            noise = together([self._scatter(seed, item, first_frame, spectrum.shape[1]) for item in items])
            texture = self.generator.texture_of(RECONSTRUCTED if are_real else self.steps)
        if self.kernels is not None:
            # The compiled exponential ends at the largest number; what goes beyond it is told as PyTorch's would be.
            largest = autoencoder.log_magnitude(spectrum.float()).amax()
            require_finite(largest.exp(), "magnitudes")
            return finish_levels(autoencoder, spectrum, self.kernels.levels, texture=texture, noise=noise)
        require_finite(autoencoder.log_magnitude(spectrum.float()), "spectra")
        finished = autoencoder.channel_levels(spectrum, texture=texture, noise=noise)
        require_finite(finished.log_magnitude, "magnitudes")
        return finished

    def _scatter(self, seed: int, item: int, first_frame: int, frames: int) -> Tensor:
        """White noise (layers, frames + 3, hop_length) of an item's spectrum frames, the same in every piece."""
        autoencoder = self.generator.autoencoder
        place = {"first_frame": first_frame, "frames": frames + 3, "channels": autoencoder.hop_length}
        layers = range(autoencoder.layers)
        noise = [keyed_noise(seed, item, "texture", layer, **place) for layer in layers]
        return together(noise).to(self.generator.device)

    def start_phase(self, prompt: Tensor | None) -> PhaseVocoder:
        n_fft, iterations = self.generator.autoencoder.n_fft, self.sampling.phase_iterations
        kernels = None if self.kernels is None else self.kernels.phase
        if prompt is None:
            return PhaseVocoder(n_fft, iterations=iterations, kernels=kernels)
        return PhaseVocoder.from_prompt(prompt, n_fft, iterations=iterations, kernels=kernels)

    # --- loudness --------------------------------------------------------------------------------------------------

    def _at_a_usual_level(
        self, item: int, noise: Tensor | None, style: Style | None = None
    ) -> tuple[Windows, Tensor, float]:
        """After the first window of a composition, its latents, and the gain that makes it as loud as the music is.

        What is soft among compositions becomes as loud as what is soft among music: the spread is the music's, too.

        The first window decides, so that the gain is the same for all of a piece and for every length of it. Music has
        pauses, so that a style can be one: where the first window is next to silence, another style is drawn.
        """
        loudest: tuple[float, Windows, Tensor] | None = None
        for attempt in range(STYLE_ATTEMPTS):
            windows, first = self.compose_window(
                self.begin(count=1, noise=noise, first_item=item, attempt=attempt, style=style)
            )
            level = self._level(first, item)
            if loudest is None or level > loudest[0]:
                loudest = level, windows, first
            if not self._is_next_to_silence(level):
                break
        assert loudest is not None
        level, windows, first = loudest
        return windows, first, self._usual_gain(level)

    def _level(self, first: Tensor, item: int) -> float:
        """Level, in nepers, of an item's first window of latents (1, frames, latent_dim)."""
        finished = self.finish(self.decode_part(first, slice(0, first.shape[1])), item)
        return 0.5 * float(finished.magnitude.square().mean().clamp_min(1e-12).log())

    def _is_next_to_silence(self, level: float) -> bool:
        softest, _ = self.generator.texture_of(self.steps).softest_and_loudest
        return level <= softest - LARGEST_LIFT

    def _usual_gain(self, level: float) -> float:
        return math.exp(self.generator.texture_of(self.steps).usual_loudness(level) - level)


def unshifted(amount: float | Tensor) -> Any:
    """What `shifted` moves to a level; of the same kind."""
    return shifted(cast(Any, amount), 1.0 / LEVEL_SHIFT)


def mark_last(pieces: Iterator[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each piece, and whether it is the last one."""
    current = next(pieces, None)
    while current is not None:
        following = next(pieces, None)
        yield current, following is None
        current = following


def take_frames(pieces: Iterator[Tensor], frames: int) -> Iterator[Tensor]:
    """The first `frames` frames of latent pieces (count, frames, latent_dim)."""
    for piece in pieces:
        yield piece[:, :frames]
        frames -= piece.shape[1]
        if frames <= 0:
            return
