"""What is ordered on the page, the sound that it is made from, and what would make it on the command line."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.file_gaps import Form, Wanted, form_of
from piano.foundation import bounds
from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.keys import KEY_PATTERN
from piano.foundation.prompts import Heard, hear
from piano.generate_music import LEAST_FRAMES, Maker, hear_prompt
from piano.generate_options import COMMON_TIME, parse_arguments
from piano.latent_style import SHORTEST_SECONDS
from piano.loops import LoopForm, Meter
from piano.play.models import Models
from piano.play.refusals import called

MOST_SECONDS, MOST_COUNT, MOST_BARS = 300.0, 12, 16
MOST_SOURCE_SECONDS = 86_400.0


class Order(BaseModel):
    """What is ordered."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    kind: Literal["new", "continue", "vary", "like", "loop", "fill"]
    model: str = Field(default="", max_length=200)
    source: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seconds: float = Field(default=30.0, ge=1.0, le=MOST_SECONDS)
    amount: float = Field(default=0.3, ge=0.0, le=1.0)
    tempo: Annotated[float, Field(**bounds.TEMPO.limits)] | None = None
    """Of new music and of a loop, in quarter notes a minute."""
    key: str | None = Field(default=None, pattern=KEY_PATTERN)
    """Of new music and of a loop."""
    surprise: float = Field(default=1.0, ge=bounds.SURPRISE.low, le=bounds.SURPRISE.high)
    """Of new music and of a loop: from 0, calm, to 1, as usual, and wilder."""
    meter: str | None = Field(default=None, pattern=bounds.METER_PATTERN)
    """Of new music and of a loop, there 4/4 if nothing is said."""
    bars: int = Field(default=4, ge=1, le=MOST_BARS)
    """Of a loop."""
    begin: float = Field(default=0.0, ge=0.0, le=MOST_SOURCE_SECONDS)
    end: float = Field(default=0.0, ge=0.0, le=MOST_SOURCE_SECONDS)
    """Of what is filled, in seconds."""
    seed: int = Field(default=0, ge=0, le=2**53)
    first: int = Field(default=0, ge=0, lt=1000)
    """Number of the first sample of the seed."""
    count: int = Field(default=1, ge=1, le=MOST_COUNT)
    steps: int | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _asks_for_what_is_new(self) -> Self:
        """What has a tempo, a key and bars of its own is not asked for others."""
        told = self.model_dump(exclude_defaults=True)
        asked = [name for name in ("tempo", "key", "surprise", "meter") if name in told]
        if asked and self.kind not in ("new", "loop"):
            raise ValueError(f"{asked[0]} is of new music and of loops")
        return self


class Sound(NamedTuple):
    """What an order is made from."""

    path: Path
    name: str


class Hearing(NamedTuple):
    """A sound as a model hears it."""

    heard: Heard
    prompt: Tensor | None
    """(channels, samples), where it is continued."""
    form: Form | None = None
    wanted: Wanted | None = None
    """Where it is filled."""


def maker_of(order: Order, composer: Composer, models: Models, source: Sound | None, output: Path) -> Maker:
    """What `musigan generate` would make the order with."""
    words = ["--checkpoints", str(models.folders[order.model]), "--seed", str(order.seed)]
    words += ["--seconds", repr(order.seconds), "--steps", str(order.steps)]
    words += ["--output", str(output), "--format", "flac"]
    if source is not None:
        option = {"continue": "--prompt", "vary": "--vary", "like": "--like", "fill": "--infill"}[order.kind]
        words += [option, str(source.path)]
        words += ["--amount", repr(order.amount)] if order.kind == "vary" else []
        words += ["--from", repr(order.begin), "--to", repr(order.end)] if order.kind == "fill" else []
    loop, is_new = loop_of(order, composer.generator.sample_rate), order.kind in ("new", "loop")
    words += ["--loop", str(order.bars)] if loop else []
    if is_new:
        words += ["--tempo", repr(order.tempo)] if order.tempo else []
        words += ["--key", order.key] if order.key else []
        words += ["--meter", str(meter_of(order))] if order.meter else []
        words += ["--surprise", repr(order.surprise)]
    sampling = Sampling(order.seed, order.steps, dtype=composer.sampling.dtype)
    folder, content = models.folders[order.model], models.content(order.model)
    maker = Maker(composer.generator, composer.with_sampling(sampling), content, folder, parse_arguments(words))
    return maker._replace(composer=maker.wished()[0]) if is_new else maker


def loop_of(order: Order, sample_rate: int) -> LoopForm | None:
    """How long a loop is; None for other orders. Raises ConfigError where no tempo is said."""
    if order.kind != "loop":
        return None
    if order.tempo is None:
        raise ConfigError("a loop wants a tempo to count its bars in.")
    return LoopForm(order.bars, order.tempo, meter_of(order), sample_rate)


def meter_of(order: Order) -> Meter:
    """The metre of new music or of a loop; raises ConfigError."""
    try:
        return COMMON_TIME if order.meter is None else Meter.read(order.meter)
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def hear_source(composer: Composer, source: Sound, order: Order) -> Hearing:
    """A sound as it is needed for an order. It computes little: the scheduler need not wait.

    Raises
    ------
    AudioError
        It cannot be heard, or is too short.
    ConfigError
        What is to be filled is not in it.
    """
    generator, path, kind = composer.generator, source.path, order.kind
    with called(path, source.name):
        if kind == "continue":
            heard, prompt, _ = hear_prompt(generator, path)
            return Hearing(heard, prompt)
        heard = hear(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
        if kind == "fill":
            form, wanted = form_of(path), Wanted(((order.begin, order.end),))
            wanted.refuse_nonsense(Path(source.name), form)
            return Hearing(heard, None, form, wanted)
    if kind == "like" and heard.samples < SHORTEST_SECONDS * generator.sample_rate:
        raise AudioError(f"{source.name} is too short to have a style: at least {SHORTEST_SECONDS:g} s are needed.")
    if heard.samples < LEAST_FRAMES * generator.hop_samples:
        least = LEAST_FRAMES * generator.hop_samples / generator.sample_rate
        raise AudioError(f"{source.name} is too short: at least {least:.2f} s are needed.")
    return Hearing(heard, None)
