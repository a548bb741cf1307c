"""Endless latents inside TorchScript, composed a step of the flow at a time while earlier ones are played.

The windows are the Composer's, bit for bit up to rounding: the same seed is the same music. But a host waits for every
block, so the steps of the next window are spread over the time that the last one takes to play. Controls that move cut
what is composed and not yet played after LEAD_SECONDS, and the music goes on from there.
"""

import math

import torch
from torch import Tensor, nn

from piano.composer import BAR_NOISE, HISTORY_PART, LARGEST_LIFT, LEVEL_SHIFT, PREFIX_LEVEL, STYLE_ATTEMPTS
from piano.exporting.scripted_noise import KeyedNoise, ScriptedNoise
from piano.exporting.scripted_style import PULSE_COLUMNS, ScriptedStyle
from piano.exporting.streaming_sound import FLOW, SHORTCUT, ScriptedFinish
from piano.foundation.texture import LOUDNESS_SHARES
from piano.latent_style import StyleCondition
from piano.piano_model import ONE_STEP, LatentFlow, VariationalAttentionModel

LEAD_SECONDS = 1.5
"""Of what is composed stays when a control moves: time to compose what follows."""
NOTABLE_SURPRISE = 0.05
"""A smaller move of the surprise waits for the next window."""


class FlowStep(nn.Module):
    """One evaluation of a block, with plain tensors, so that it can be traced."""

    def __init__(self, block: LatentFlow) -> None:
        super().__init__()
        self.block = block

    def forward(self, noisy: Tensor, level: Tensor, vector: Tensor, signals: Tensor) -> Tensor:
        return self.block(noisy, level, StyleCondition(vector, signals, torch.ones_like(vector[:, :1])))


@torch.jit.interface
class Block(nn.Module):
    """What a block is called by. Behind an interface it is compiled once, and not at every place that calls it."""

    def forward(self, noisy: Tensor, level: Tensor, vector: Tensor, signals: Tensor) -> Tensor:  # type: ignore
        pass


class SpectrumOfWindow(nn.Module):
    """The decoder, for the latents of a whole window at once."""

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        self.decoder, self.normaliser = generator.autoencoder.decoder, generator.normaliser

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.normaliser.inverse(latents))


def trace(module: nn.Module, *inputs: Tensor) -> torch.jit.ScriptModule:
    """A trained network as TorchScript; what it is given later has the sizes of `inputs`."""
    with torch.no_grad():
        return torch.jit.trace(module.eval(), inputs, check_trace=False)  # type: ignore[return-value]


class Loudness(nn.Module):
    """How loud a composition is, and which gain makes it as loud as music is: `Texture.usual_loudness`."""

    noise: KeyedNoise
    made: Tensor
    real: Tensor

    def __init__(self, generator: VariationalAttentionModel, finish: ScriptedFinish) -> None:
        super().__init__()
        window = torch.zeros(1, generator.latent_seq_len, generator.latent_dim)
        self.spectrum = trace(SpectrumOfWindow(generator), window)
        self.finish = finish
        self.noise = ScriptedNoise()  # type: ignore[assignment] - behind an interface
        self.channels, self.layers = generator.sound_channels, generator.autoencoder.layers
        self.hop = generator.autoencoder.hop_length
        textures = [generator.texture_of(2), generator.texture_of(ONE_STEP)]
        self.softest = [texture.softest_and_loudest[0] - LARGEST_LIFT for texture in textures]
        tables = []
        for texture in textures:
            if texture.loudnesses is None:
                places = torch.linspace(*texture.softest_and_loudest, len(LOUDNESS_SHARES), dtype=torch.float64)
                tables.append(torch.stack([places, places]))
            else:
                tables.append(texture.loudnesses.double())
        made, real = torch.stack(tables).unbind(dim=1)
        self.register_buffer("made", made.contiguous())
        self.register_buffer("real", real.contiguous())

    @torch.jit.export
    def level(self, latents: Tensor, kind: int, seed: int, item: int) -> float:
        """Level, in nepers, of an item's first window of latents (1, frames, latent_dim)."""
        values = self.spectrum(latents)
        frames = values.shape[1]
        layers: list[Tensor] = []
        for layer in range(self.layers):
            key = "{}, {}, 'texture', {}".format(seed, item, layer)  # noqa: UP032 - TorchScript has no f-strings
            layers.append(self.noise.frames(key, 0, frames + 3, self.hop))
        kinds = torch.full([1, frames], kind, device=values.device)
        planes = self.finish(values, torch.stack(layers).unsqueeze(0).to(values.device), kinds)
        power = planes[:, : self.channels].square().mean().clamp_min(1e-12)
        return 0.5 * float(power.log().item())

    @torch.jit.export
    def is_next_to_silence(self, level: float, kind: int) -> bool:
        """Whether a composition is too soft to be lifted: a style can be a pause."""
        softest: float = self.softest[kind]
        return level <= softest

    @torch.jit.export
    def gain(self, level: float, kind: int) -> float:
        """What makes a composition of this level as loud as music is."""
        made: list[float] = self.made[kind].tolist()
        real: list[float] = self.real[kind].tolist()
        return math.exp(self._between(level, made, real) - level)

    def _between(self, level: float, made: list[float], real: list[float]) -> float:
        if level <= made[0]:
            return real[0]
        for index in range(1, len(made)):
            if level < made[index]:
                slope = (real[index] - real[index - 1]) / (made[index] - made[index - 1])
                return slope * (level - made[index - 1]) + real[index - 1]
        return real[-1]


class ScriptedComposition(nn.Module):
    """Latents of several items of a seed, without end.

    Every latent comes with two marks: the gain of its piece, and its kind (see `ScriptedFinish`).
    """

    attention: Block
    shortcut: Block
    noise: KeyedNoise
    opened: list[bool]
    attempts: list[int]
    best_attempts: list[int]
    best: list[float]

    def __init__(self, generator: VariationalAttentionModel, finish: ScriptedFinish) -> None:
        super().__init__()
        self.latent_dim, self.window_frames = generator.latent_dim, generator.latent_seq_len
        self.kept_frames = generator.latent_seq_len // HISTORY_PART
        self.lead_frames = min(math.ceil(LEAD_SECONDS * generator.frames_per_second), self.window_frames // 2)
        self.prefix_level, self.level_shift, self.max_attempts = PREFIX_LEVEL, LEVEL_SHIFT, STYLE_ATTEMPTS
        self.notable, self.flow_kind, self.shortcut_kind = NOTABLE_SURPRISE, FLOW, SHORTCUT
        self.style_dim, self.pulse_columns = generator.style.style_dim, PULSE_COLUMNS
        self.style = ScriptedStyle(generator.style)
        self.noise = ScriptedNoise()  # type: ignore[assignment] - behind an interface
        self.loudness = Loudness(generator, finish)
        like = (
            torch.zeros(1, self.window_frames, self.latent_dim),
            torch.ones(1, self.window_frames),
            torch.zeros(1, self.style_dim),
            torch.zeros(1, self.window_frames, generator.attention.pulse.in_features),
        )
        self.attention = trace(FlowStep(generator.attention), *like)  # type: ignore[assignment] - behind an interface
        self.shortcut = trace(FlowStep(generator.shortcut), *like)  # type: ignore[assignment] - behind an interface
        self.bar_part = BAR_NOISE
        self.wanted_seed, self.wanted_steps, self.wanted_style = 0, 1, -1
        self.wanted_beats, self.wanted_key, self.wanted_bar = 0.0, -1, 0
        self.asked_beats, self.asked_key, self.asked_bar = 0.0, -1, 0
        self.seed, self.steps, self.near = 0, 1, -1
        self.first_item, self.style_item = 0, -1
        self.wanted_surprise, self.surprise = torch.zeros(0), torch.zeros(0)
        self.frame, self.step, self.span = 0, 0, 0
        self.is_first, self.is_ready, self.is_turning = True, False, False
        self.opened, self.attempts, self.best_attempts, self.best = [], [], [], []
        self.vectors, self.pulses, self.gains = torch.zeros(0), torch.zeros(0), torch.zeros(0)
        self.history, self.recent, self.ahead = torch.zeros(0), torch.zeros(0), torch.zeros(0)
        self.walk, self.signals = torch.zeros(0), torch.zeros(0)
        self.loudest, self.loudest_vectors, self.loudest_pulses = torch.zeros(0), torch.zeros(0), torch.zeros(0)

    @torch.jit.export
    def control(self, seed: int, steps: int, style: int, surprise: Tensor) -> None:
        """What is asked for from now on; `surprise` has a number for each item."""
        self.wanted_seed, self.wanted_steps, self.wanted_style = seed, steps, style
        self.wanted_surprise = surprise

    @torch.jit.export
    def ask(self, beats_per_second: float, key: int, bar: int) -> None:
        """What pieces from now on shall have: see `ScriptedStyle.ask`."""
        self.wanted_beats, self.wanted_key, self.wanted_bar = beats_per_second, key, bar

    @torch.jit.export
    def begin(self, batch: int, first_item: int, style_item: int, like: Tensor) -> None:
        """New pieces of so many items, as `control` asked for; `style_item`, if not -1, draws the style of all."""
        self.first_item, self.style_item = first_item, style_item
        nothing = torch.zeros([batch, 0, self.latent_dim], device=like.device)
        self.recent, self.history = nothing, nothing
        self.ahead = torch.zeros([batch, 0, self.latent_dim + 2], device=like.device)
        self._begin_piece()
        self._open()

    def forward(self, count: int) -> Tensor:
        """The next `count` latents, and their two marks (batch, count, latent_dim + 2)."""
        self._follow_controls()
        given, is_served = self.ahead, False
        while not is_served or self._is_due():
            if not is_served and self.ahead.shape[1] >= count:
                given, is_served = self.ahead[:, :count], True
                self.ahead = self.ahead[:, count:].contiguous()
                before = torch.cat([self.recent, given[..., : self.latent_dim]], dim=1)
                self.recent = before[:, -self.kept_frames :]
            elif not is_served and self.is_ready:
                self._take()
            else:
                self._evaluate()
        return given

    def _is_due(self) -> bool:
        """Whether less of the next window is composed than of the last one is played."""
        return not self.is_ready and (self.steps - self.step) * self.span > self.steps * self.ahead.shape[1]

    def _follow_controls(self) -> None:
        """Compose anew from LEAD_SECONDS on where a control moved."""
        is_other = self.wanted_seed != self.seed or self.wanted_steps != self.steps or self.wanted_style != self.near
        is_other = is_other or self.wanted_beats != self.asked_beats
        is_other = is_other or self.wanted_key != self.asked_key or self.wanted_bar != self.asked_bar
        is_turned = bool(((self.wanted_surprise - self.surprise).abs() > self.notable).any())
        if self.is_turning or self.ahead.shape[1] < self.lead_frames or not (is_other or is_turned):
            return
        self.frame -= self.ahead.shape[1] - self.lead_frames
        self.ahead = self.ahead[:, : self.lead_frames].contiguous()
        if is_other:
            self._begin_piece()
        else:
            before = torch.cat([self.recent, self.ahead[..., : self.latent_dim]], dim=1)
            self.history = before[:, -self.kept_frames :]
            self.is_first = False
        self._open()
        self.is_turning = True

    def _begin_piece(self) -> None:
        """Nothing to go on from; the first window decides about style and loudness."""
        batch = self.recent.shape[0]
        self.seed, self.steps, self.near = self.wanted_seed, self.wanted_steps, self.wanted_style
        self.surprise = self.wanted_surprise
        self.asked_beats, self.asked_key, self.asked_bar = self.wanted_beats, self.wanted_key, self.wanted_bar
        self.style.ask(self.asked_beats, self.asked_key, self.asked_bar)
        self.frame, self.is_first = 0, True
        self.history = self.recent[:, :0]
        self.attempts, self.best_attempts = [0] * batch, [0] * batch
        self.best = [-1e9] * batch
        device = self.recent.device
        self.vectors = torch.zeros([batch, self.style_dim], device=device)
        self.pulses = torch.zeros([batch, self.pulse_columns], device=device)
        self.gains = torch.ones([batch], device=device)
        for item in range(batch):
            self._draw(item)

    def _draw(self, item: int) -> None:
        """The style of an item, at its attempt."""
        drawn_by = self.first_item + item if self.style_item < 0 else self.style_item
        surprise = float(self.surprise[item].item())
        vector, pulse = self.style.draw(self.seed, drawn_by, self.attempts[item], surprise, self.near)
        self.vectors = self._replaced(self.vectors, item, vector)
        self.pulses = self._replaced(self.pulses, item, pulse)

    def _replaced(self, rows: Tensor, item: int, row: Tensor) -> Tensor:
        """With another row: a state is never written in place, which a host's inference mode would not allow later."""
        return torch.cat([rows[:item], row.unsqueeze(0), rows[item + 1 :]])

    def _open(self) -> None:
        """The beginning of a window: noise, what it goes on from, and what the flow is told."""
        batch = self.recent.shape[0]
        if bool((self.wanted_surprise != self.surprise).any()) and not self.is_first:
            self.surprise = self.wanted_surprise
            before = self.pulses
            for item in range(batch):
                self._draw(item)
                gone_on = self.style.gone_on(self.pulses[item], before[item], self.frame)
                self.pulses = self._replaced(self.pulses, item, gone_on)
        self.opened = [True] * batch
        self.step, self.span, self.is_ready, self.is_turning = 0, self.ahead.shape[1], False, False
        walks: list[Tensor] = []
        kept = self.history.shape[1]
        for item in range(batch):
            key = self._key(item)
            prefix = self.noise.frames(key + "'prefix'", 0, kept, self.latent_dim).to(self.recent.device)
            held = (1.0 - self.prefix_level) * self.history[item] + self.prefix_level * prefix
            walks.append(torch.cat([held, self._fresh(item, self.window_frames - kept).to(self.recent.device)]))
        self.walk = torch.stack(walks)
        self._tell()

    def _key(self, item: int) -> str:
        """The beginning of the keys of an item's noise."""
        return "{}, {}, ".format(self.seed, self.first_item + item)  # noqa: UP032 - TorchScript has no f-strings

    def _fresh(self, item: int, frames: int) -> Tensor:
        """The white noise of an item's next frames: `Composer.white_noise` and `Composer.in_bars`."""
        fresh = self.noise.frames(self._key(item) + "'music'", self.frame, frames, self.latent_dim)
        places = self.style.places_in_bars(self.pulses[item], frames, self.frame)
        if places.shape[0] == 0:
            return fresh
        again = self.noise.frames(self._key(item) + "'bar'", 0, int(places.max().item()) + 1, self.latent_dim)
        return (1.0 - self.bar_part) ** 0.5 * fresh + self.bar_part**0.5 * again[places]

    def _tell(self) -> None:
        """What the flow is told about the window."""
        signals: list[Tensor] = []
        for item in range(self.recent.shape[0]):
            first_frame = self.frame - self.history.shape[1]
            signals.append(self.style.signals(self.pulses[item], self.window_frames, first_frame))
        self.signals = torch.stack(signals)

    def _shifted(self, level: float) -> float:
        return self.level_shift * level / (1.0 + (self.level_shift - 1.0) * level)

    def _evaluate(self) -> None:
        """One step of the flow for every item: `Composer.integrate`."""
        kept = self.history.shape[1]
        now = self._shifted(1.0 - self.step / self.steps)
        then = self._shifted(1.0 - (self.step + 1) / self.steps)
        level = torch.full([1, self.window_frames], now, device=self.walk.device)
        level[:, :kept] = self.prefix_level
        for item in range(self.walk.shape[0]):
            if self.opened[item]:
                walk = self.walk[item : item + 1]
                vector, signals = self.vectors[item : item + 1], self.signals[item : item + 1]
                if self.steps == 1:
                    endpoint = self.shortcut(walk, level, vector, signals)
                else:
                    endpoint = self.attention(walk, level, vector, signals)
                moved = endpoint + then / now * (walk - endpoint)
                self.walk = self._replaced(self.walk, item, torch.cat([walk[0, :kept], moved[0, kept:]]))
        self.step += 1
        if self.step == self.steps:
            self.is_ready = True
            if self.is_first:
                self._choose()

    def _kind(self) -> int:
        return self.shortcut_kind if self.steps == 1 else self.flow_kind

    def _choose(self) -> None:
        """The loudness of a piece; for an item next to silence another style: `Composer._at_a_usual_level`."""
        kind = self._kind()
        if self.loudest.shape != self.walk.shape:
            self.loudest, self.loudest_vectors, self.loudest_pulses = self.walk, self.vectors, self.pulses
        for item in range(self.walk.shape[0]):
            if self.opened[item]:
                level = self.loudness.level(self.walk[item : item + 1], kind, self.seed, self.first_item + item)
                if level > self.best[item]:
                    self.best[item], self.best_attempts[item] = level, self.attempts[item]
                    self.loudest = self._replaced(self.loudest, item, self.walk[item])
                    self.loudest_vectors = self._replaced(self.loudest_vectors, item, self.vectors[item])
                    self.loudest_pulses = self._replaced(self.loudest_pulses, item, self.pulses[item])
                is_last = self.attempts[item] + 1 == self.max_attempts
                if is_last or not self.loudness.is_next_to_silence(level, kind):
                    self.opened[item] = False
                    self.attempts[item] = self.best_attempts[item]
                    gain = torch.full([], self.loudness.gain(self.best[item], kind), device=self.walk.device)
                    self.gains = self._replaced(self.gains, item, gain)
                else:
                    self.attempts[item] += 1
                    self._draw(item)
                    self._restart(item)
        for item in range(self.walk.shape[0]):
            if self.opened[item]:
                self.is_ready, self.step = False, 0
        if self.is_ready:
            self.walk, self.vectors, self.pulses = self.loudest, self.loudest_vectors, self.loudest_pulses
        self._tell()

    def _restart(self, item: int) -> None:
        """An item's first window from the same noise again."""
        self.walk = self._replaced(self.walk, item, self._fresh(item, self.window_frames).to(self.walk.device))

    def _take(self) -> None:
        """A finished window joins what is to be played, and the next one is opened."""
        kept, batch = self.history.shape[1], self.walk.shape[0]
        piece = self.walk[:, kept:]
        count = piece.shape[1]
        gain = self.gains.view(batch, 1, 1).expand(batch, count, 1)
        kind = torch.full([batch, count, 1], self._kind(), dtype=torch.float32, device=piece.device)
        self.ahead = torch.cat([self.ahead, torch.cat([piece, gain, kind], dim=2)], dim=1)
        whole = torch.cat([self.history, piece], dim=1)
        self.history = whole[:, -self.kept_frames :].contiguous()
        self.frame += count
        self.is_first = False
        self._open()
