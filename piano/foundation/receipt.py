"""A receipt in a sound file's comment: all it takes to make the sound again, and to know whether it is the same."""

import hashlib
import json
import platform
import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import soundfile
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator
from torch import Tensor

from piano.foundation import bounds, compiled
from piano.foundation.errors import AudioError
from piano.foundation.keys import KEY_PATTERN
from piano.foundation.native_sound import sndfile_name
from piano.foundation.screen_text import printable
from piano.foundation.sound_names import FFMPEG_SUFFIXES
from piano.foundation.source_type import EDITED, MADE

RECEIPT_VERSION = 1
LONGEST_COMMENT = 20_000
Kind = Literal["sample", "full", "continuation", "reconstruction", "variation", "infill", "loop"]
"""`full` begins with the prompt, `continuation` is what follows it."""
SOURCE_OPTIONS: dict[Kind, str] = {
    "sample": "--noise",
    "full": "--prompt",
    "continuation": "--prompt",
    "reconstruction": "--reconstruct",
    "variation": "--vary",
    "infill": "--infill",
    "loop": "--noise",
}
"""What names the file that a sound of each kind was made from."""
SOURCE_TYPES: dict[Kind, str] = {
    "sample": MADE,
    "full": EDITED,
    "continuation": MADE,
    "reconstruction": EDITED,
    "variation": EDITED,
    "infill": EDITED,
    "loop": MADE,
}
"""IPTC's term. A continuation without its prompt holds nothing of the recording, and `--like` takes only its style; a
`full` file is the recording with more after it (outpainting); the others are a recording that a model changed."""
TAKES_SECONDS: tuple[Kind, ...] = ("sample", "full", "continuation")
"""Kinds whose length can be asked for."""
TAKES_STEPS: tuple[Kind, ...] = (*TAKES_SECONDS, "infill", "loop")
"""Kinds whose sampling steps can be asked for."""
NOT_ALWAYS = (
    *("like", "to", "amount", "radio", "tempo", "key", "surprise", "bars", "meter", "regions", "extended"),
    *("form", "closes", "best_of", "drawing"),
)
"""Fields that a receipt leaves out where they say nothing."""
Hash = Field(pattern=r"^[0-9a-f]{64}$")


def _refuse_unprintable(text: str) -> str:
    """Names in a receipt were spelled out when it was written."""
    if text != printable(text):
        raise ValueError("a name in it holds control characters")
    return text


Name = Annotated[str, Field(max_length=500), AfterValidator(_refuse_unprintable)]


class Source(BaseModel):
    """The file that a sound was made from: a prompt, a song to reconstruct, or noise."""

    model_config = ConfigDict(frozen=True)

    name: Name
    """Relative to where the command was started, or the bare name: nobody else need know the folders above."""
    sha256: str = Hash


Style = Annotated[int, Field(**bounds.STYLES.limits)]
Moment = Annotated[float, Field(ge=0.0, le=bounds.SOUND_SECONDS.high)]
"""Seconds from the beginning of a file."""


class RadioMove(BaseModel):
    """What was asked of a radio from a moment on; see `piano.play.radio.Program`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: int = Field(**bounds.SAMPLES.limits)
    """The sample from which it was heard."""
    end: int = Field(**bounds.SAMPLES.limits)
    """How many samples were made when it was asked for."""
    seed: int = Field(0, **bounds.ANY_SEED.limits)
    piece: int = Field(0, ge=0, lt=2**32)
    surprise: float = Field(1.0, ge=0.0, le=100.0)
    near: Annotated[int | None, Field(**bounds.STYLES.limits)] = None
    between: tuple[Style, Style] | None = None
    """Styles of the training music, in place of one."""
    blend: float = Field(0.5, ge=0.0, le=1.0)
    wander_seconds: float = Field(0.0, ge=0.0, le=86_400.0)
    steps: int = Field(**bounds.SAMPLING_STEPS.limits)
    phase_iterations: int = Field(4, **bounds.PHASE_ITERATIONS.limits)


class RadioPart(BaseModel):
    """What was heard of a radio: played again with the same moves, it is the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin: int = Field(**bounds.SAMPLES.limits)
    """The first sample, counted as the moves are."""
    moves: list[RadioMove] = Field(min_length=1, max_length=1000)
    """In the order in which they were asked for; the radio begins with the first."""

    @model_validator(mode="after")
    def _lies_within_a_day(self) -> Self:
        """All of it is composed once more."""
        furthest = max(self.begin, *(max(move.at, move.end) for move in self.moves))
        if furthest > bounds.RADIO_SAMPLES.high:
            raise ValueError("its radio played for longer than a day before it")
        return self


class Receipt(BaseModel):
    """How one sound was made."""

    model_config = ConfigDict(frozen=True)

    receipt: Literal[1] = RECEIPT_VERSION
    kind: Kind
    model: str = Hash
    """`model_hash` of the generator."""
    folder: Name
    """Of the model; see `Source.name`."""
    epoch: int = Field(**bounds.EPOCH.limits)
    seed: int = Field(**bounds.ANY_SEED.limits)
    item: int = Field(ge=0, lt=bounds.COUNT.high)
    """Which of the command's samples."""
    seconds: float = Field(**bounds.SOUND_SECONDS.limits)
    """Asked for; of a reconstruction, a variation or an infill, those of the file."""
    steps: int = Field(**bounds.SAMPLING_STEPS.limits)
    """Sampling steps, after `auto` became a number."""
    phase_iterations: int = Field(**bounds.PHASE_ITERATIONS.limits)
    source: Source | None = None
    like: Source | None = None
    """The file whose style it has."""
    to: Source | None = None
    """The file whose style it goes over to."""
    amount: Annotated[float | None, Field(ge=0.0, le=1.0)] = None
    """Of a variation: how far from its file."""
    radio: RadioPart | None = None
    """Of what was heard of a radio: then it is no whole piece."""
    tempo: Annotated[float, Field(**bounds.TEMPO.limits)] | None = None
    """Asked for: quarter notes a minute."""
    key: Annotated[str, Field(pattern=KEY_PATTERN)] | None = None
    """Asked for."""
    surprise: Annotated[float, Field(**bounds.SURPRISE.limits)] | None = None
    """Asked for, where it is not 1."""
    form: Literal["returning", "free"] | None = None
    """Whether the theme comes again; None, as before that was known: it does not."""
    closes: bool | None = None
    """Whether the piece is led to an end."""
    best_of: Annotated[int, Field(**bounds.BEST_OF.limits)] | None = None
    """Of so many pieces this one was kept."""
    bars: Annotated[int, Field(**bounds.BARS.limits)] | None = None
    """Of a loop."""
    meter: Annotated[str, Field(pattern=bounds.METER_PATTERN)] | None = None
    """Of these bars."""
    drawing: Annotated[int, Field(**bounds.DRAWING.limits)] | None = None
    """By which rules a tempo or a bar was drawn (`latent_style.DRAWING`); None: by the first."""
    regions: Annotated[list[tuple[Moment, Moment]], Field(max_length=1000)] | None = None
    """Of a file with new music in it: from when to when."""
    extended: tuple[Moment, Moment] | None = None
    """Of a file with new music before and behind it: seconds of both."""
    device: Literal["cpu", "cuda", "mps"]
    dtype: Literal["float32", "bfloat16"]
    """Of the sampler's products."""
    threads: int = Field(**bounds.THREADS.limits)
    versions: dict[str, str]
    """Of what can change the last bits."""

    @computed_field
    @property
    def digital_source_type(self) -> str:
        """That a machine made the sound, in IPTC's term; a receipt from before it was written has it by its kind."""
        return SOURCE_TYPES[self.kind]

    def is_same_sound(self, other: "Receipt") -> bool:
        """Whether another receipt is of a sound that was made in the same way.

        Names have no part in it, nor has what changes the last bits only: threads and compiled loops.
        """
        names = ["kind", "model", "phase_iterations", "device", "dtype", *NOT_ALWAYS]
        names = [name for name in names if name not in ("like", "to", "best_of", "form", "closes")]
        if (self.form or "free", bool(self.closes)) != (other.form or "free", bool(other.closes)):
            return False
        if _without_loops(self.versions) != _without_loops(other.versions):
            return False
        if self.kind != "reconstruction":
            names += ["seed", "item"]
        if self.kind in TAKES_SECONDS:
            names.append("seconds")
        if self.kind in TAKES_STEPS:
            names.append("steps")
        return all(getattr(self, name) == getattr(other, name) for name in names) and all(
            (mine and mine.sha256) == (its and its.sha256)
            for mine, its in ((self.source, other.source), (self.like, other.like), (self.to, other.to))
        )

    @property
    def command(self) -> list[str]:
        """Arguments of generate_music that make this sound, among others if its number is not 0."""
        asked: list[tuple[str, object]] = [("--epoch", self.epoch)]
        if self.kind in TAKES_SECONDS:
            asked.append(("--seconds", repr(self.seconds)))
        if self.kind in TAKES_STEPS:
            asked.append(("--steps", self.steps))
        if self.kind != "reconstruction":
            asked += [("--seed", self.seed), ("--count", self.item + 1)]
        if self.amount is not None:
            asked.append(("--amount", repr(self.amount)))
        if self.kind in TAKES_SECONDS and self.to is None:
            asked.append(("--form", self.form or "free"))
            asked.append(("--ending" if self.closes else "--no-ending", None))
        for option, value in (
            *(("--tempo", self.tempo), ("--key", self.key), ("--surprise", self.surprise)),
            *(("--loop", self.bars), ("--meter", self.meter)),
        ):
            if value is not None:
                asked.append((option, repr(value) if isinstance(value, float) else value))
        for begin, end in self.regions or ():
            asked += [("--from", repr(begin)), ("--to", repr(end))]
        for side, seconds in zip(("left", "right"), self.extended or (), strict=False):
            if seconds:
                asked.append((f"--extend-{side}", repr(seconds)))
        asked += [("--phase-iterations", self.phase_iterations), ("--device", self.device), ("--threads", self.threads)]
        return [str(word) for pair in asked for word in pair if word is not None]

    @property
    def sources(self) -> dict[str, Source]:
        """The files that it was made from, by the option that names each."""
        named = {SOURCE_OPTIONS[self.kind]: self.source, "--like": self.like, "--to": self.to}
        return {option: source for option, source in named.items() if source is not None}

    def text(self) -> str:
        """The receipt as one line of JSON, with the command for people who read it."""
        sources = [word for option, source in self.sources.items() for word in (option, source.name)]
        words = ["musigan", "generate", "--checkpoints", self.folder, *self.command, *sources]
        if self.radio is not None:
            words = ["musigan", "reproduce", "--checkpoints", self.folder]  # and this file: no other command plays it
        values = {"musigan": shlex.join(words)} | self.model_dump(
            exclude={name for name in NOT_ALWAYS if getattr(self, name) is None}
        )
        if self.radio is not None:
            values["radio"] = self.radio.model_dump(exclude_defaults=True)
        return json.dumps(values)


def read_receipt(path: Path) -> Receipt:
    """The receipt of a sound file; raises AudioError if there is no usable one."""
    shown = printable(path)
    if not path.is_file():
        raise AudioError(f"there is no file {shown}.")
    try:
        with soundfile.SoundFile(sndfile_name(path)) as file:
            comment = file.comment
    except (soundfile.LibsndfileError, ValueError):
        if path.suffix.lower() in FFMPEG_SUFFIXES:
            raise AudioError(f"{shown}: receipts are read from WAV, FLAC and MP3 files only.") from None
        raise AudioError(f"{shown} is no sound file that can be read.") from None
    if not comment:
        raise AudioError(f"{shown} carries no receipt: it was not made by MusiGAN, or lost its tags since.")
    if len(comment) > LONGEST_COMMENT:
        raise AudioError(f"{shown} carries a comment that is far too long for a receipt.")
    try:
        return Receipt.model_validate_json(comment, strict=True)
    except (ValidationError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "nested too deeply"
        raise AudioError(f"{shown} carries no receipt that this version can read ({printable(reason)[:80]}).") from None


def model_hash(state: dict[str, Tensor], keywords: dict[str, Any]) -> str:
    """SHA-256 of a network: its keywords, and name, kind, shape and bytes of every tensor.

    The same network in a checkpoint and in the format in which models are given away has the same hash.
    """
    digest = hashlib.sha256(repr(sorted(keywords.items())).encode())
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_source(path: Path) -> Source:
    """Name and hash of a file; raises AudioError unless it is a file with content (a pipe may never end)."""
    try:
        if not path.is_file() or not path.stat().st_size:  # files of /proc are 0 bytes long, and may never end
            raise AudioError(f"{printable(path)} is no file, or an empty one.")
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"cannot read {printable(path)}: {error.strerror}") from None
    return Source(name=discreet_name(path)[-500:], sha256=digest)


def discreet_name(path: Path) -> str:
    """A path relative to the current folder if it lies in it, else its last name."""
    resolved = path.expanduser().resolve()
    here = Path.cwd()
    inside = resolved.relative_to(here).as_posix() if resolved.is_relative_to(here) else resolved.name
    return printable(inside)


def is_below(name: str) -> bool:
    """Whether a name stays in the folder that it is looked up in: relative, and without `..` and `~`."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(path.parts) and not (
        path.is_absolute() or ".." in path.parts or name.startswith("~") or ":" in path.parts[0]
    )


def find_below(name: str, folder: Path) -> Path | None:
    """The regular file of a stranger's name in a folder or in those inside it, links followed; None elsewhere."""
    if not is_below(name):
        return None
    home = folder.resolve()
    try:
        found = (home / name.replace("\\", "/")).resolve()
        is_there = found.is_relative_to(home) and found.is_file()
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name too long for the disk
        return None
    return found if is_there else None


def _without_loops(versions: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in versions.items() if name != "loops"}


def own_versions() -> dict[str, str]:
    """Versions of everything that can change the last bits of a sound."""
    try:
        own = version("musigan")
    except PackageNotFoundError:
        own = "source"
    loops = compiled.in_use()
    return {"musigan": own, "torch": torch.__version__, "machine": platform.machine(), "loops": loops}
