"""What a visitor may ask of the music: checked values of a message, and the program that they make."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from piano.foundation import bounds
from piano.foundation.errors import ConfigError

MOST_SURPRISE = 3.0
SOURCE_ID = r"^[A-Za-z0-9_-]{1,64}$"
Pole = Annotated[int, Field(ge=0, lt=1024)] | Annotated[str, Field(pattern=SOURCE_ID)]


class Wishes(BaseModel):
    """The settings of a radio; each has a default, and a message holds those that change."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    seed: int = Field(0, ge=0, le=2**53)
    piece: int = Field(0, ge=0, le=2**31)
    surprise: float = Field(1.0, ge=0.0, le=MOST_SURPRISE)
    near: int | None = Field(None, ge=0, lt=1024)
    between: tuple[Pole, Pole] | None = None
    """Of each end the number of a style of the training music, or the id of a sound."""
    blend: float = Field(0.5, ge=0.0, le=1.0)
    prompt: str | None = Field(None, pattern=SOURCE_ID)
    wander_seconds: float = Field(0.0, ge=0.0, le=3600.0)
    steps: int | Literal["auto"] = "auto"
    phase_iterations: int = Field(4, ge=0, le=32)


def read_wishes(told: Any, before: Wishes | None = None) -> Wishes:
    """Wishes out of a message, on top of those of before.

    Raises
    ------
    ConfigError
        Something is misspelt or out of its range.
    """
    if not isinstance(told, dict):
        raise ConfigError("a program is an object with the settings that change")
    held = {} if before is None else before.model_dump()
    if isinstance(told.get("between"), list):
        told = told | {"between": tuple(told["between"])}
    for name in ("surprise", "blend", "wander_seconds"):  # 1 is as good as 1.0
        if isinstance(told.get(name), int) and not isinstance(told.get(name), bool):
            told = told | {name: float(told[name])}
    try:
        wishes = Wishes.model_validate(held | told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "program"
        raise ConfigError(f"{place[:40]}: {first['msg'][:120]}") from None
    if isinstance(wishes.steps, int) and wishes.steps not in bounds.SAMPLING_STEPS:
        raise ConfigError(f"steps: must be auto or {bounds.SAMPLING_STEPS}")
    return wishes
