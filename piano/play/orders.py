"""What is ordered on the page, the sound that it is made from, and what would make it on the command line."""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.foundation.errors import AudioError
from piano.foundation.prompts import Heard, hear
from piano.generate_music import LEAST_FRAMES, Maker, hear_prompt
from piano.generate_options import parse_arguments
from piano.latent_style import SHORTEST_SECONDS
from piano.play.library import TakeKind
from piano.play.models import Models
from piano.play.refusals import called

MOST_SECONDS, MOST_COUNT = 300.0, 12


class Order(BaseModel):
    """What is ordered."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    kind: Literal["new", "continue", "vary", "like"]
    model: str = Field(default="", max_length=200)
    source: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seconds: float = Field(default=30.0, ge=1.0, le=MOST_SECONDS)
    amount: float = Field(default=0.3, ge=0.0, le=1.0)
    seed: int = Field(default=0, ge=0, le=2**53)
    first: int = Field(default=0, ge=0, lt=1000)
    """Number of the first sample of the seed."""
    count: int = Field(default=1, ge=1, le=MOST_COUNT)
    steps: int | Literal["auto"] = "auto"


class Sound(NamedTuple):
    """What an order is made from."""

    path: Path
    name: str


class Hearing(NamedTuple):
    """A sound as a model hears it."""

    heard: Heard
    prompt: Tensor | None
    """(channels, samples), where it is continued."""


def maker_of(order: Order, composer: Composer, models: Models, source: Sound | None, output: Path) -> Maker:
    """What `musigan generate` would make the order with."""
    words = ["--checkpoints", str(models.folders[order.model]), "--seed", str(order.seed)]
    words += ["--seconds", repr(order.seconds), "--steps", str(order.steps)]
    words += ["--output", str(output), "--format", "flac"]
    if source is not None:
        option = {"continue": "--prompt", "vary": "--vary", "like": "--like"}[order.kind]
        words += [option, str(source.path)] + (["--amount", repr(order.amount)] if order.kind == "vary" else [])
    sampling = Sampling(order.seed, order.steps, dtype=composer.sampling.dtype)
    generator, content = composer.generator, models.content(order.model)
    return Maker(
        generator, composer.with_sampling(sampling), content, models.folders[order.model], parse_arguments(words)
    )


def hear_source(composer: Composer, source: Sound, kind: TakeKind) -> Hearing:
    """A sound as it is needed for an order; raises AudioError. It computes little: the scheduler need not wait."""
    generator, path = composer.generator, source.path
    with called(path, source.name):
        if kind == "continue":
            heard, prompt, _ = hear_prompt(generator, path)
            return Hearing(heard, prompt)
        heard = hear(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    if kind == "like" and heard.samples < SHORTEST_SECONDS * generator.sample_rate:
        raise AudioError(f"{source.name} is too short to have a style: at least {SHORTEST_SECONDS:g} s are needed.")
    if heard.samples < LEAST_FRAMES * generator.hop_samples:
        least = LEAST_FRAMES * generator.hop_samples / generator.sample_rate
        raise AudioError(f"{source.name} is too short: at least {least:.2f} s are needed.")
    return Hearing(heard, None)
