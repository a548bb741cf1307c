"""What the parts of a playing server share: models, the thread that composes, folders, limits, who is listening."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from piano.play.scheduler import Scheduler


class Limits(NamedTuple):
    """What a visitor may ask for."""

    upload_bytes: int = 50 << 20
    upload_seconds: float = 600.0
    uploads: int = 20
    """Kept at once."""
    sockets: int = 200
    """Open at once."""
    jobs: int = 8
    """Waiting or running."""
    ahead_seconds: float = 12.0
    """Of music that a listener has and has not heard."""
    kept_seconds: float = 300.0
    """Of what a listener heard, to keep it as a take."""
    silent_seconds: float = 60.0
    """Without a word from a listener until its radio is closed."""
    streams: int = 8
    """WAV streams at once."""
    request_seconds: float = 20.0
    """From a connection to its first request."""
    stalled_seconds: float = 600.0
    """Until a WAV stream ends that nobody reads."""


class Sources(Protocol):
    """Sounds of the visitor by their ids, as a model hears them; called from the scheduler's thread.

    Both raise MusiganError: there is no such sound, or it cannot be heard.
    """

    def prompt(self, composer: Any, source: str) -> Any:
        """A waveform (channels, samples) that can be continued."""
        ...

    def style(self, composer: Any, source: str) -> Any:
        """Its style."""
        ...


@dataclass
class Place:
    """Everything that the server's parts share.

    Parameters
    ----------
    models : Models
        By name; see `piano.play.models`.
    scheduler : Scheduler
    library : Path
        Folder of takes, uploads and votes.
    hosts : frozenset of str
        Names under which the server may be called, without port.
    token : str
        Asked for where it is not empty.
    runs : dict of str to Path
        Folders of training runs by the names that visitors see.
    real : Path, optional
        Real music for blind listening.
    """

    models: Any
    scheduler: Scheduler
    library: Path
    hosts: frozenset[str]
    token: str = ""
    runs: dict[str, Path] = field(default_factory=dict)
    real: Path | None = None
    limits: Limits = field(default_factory=Limits)
    sources: Sources | None = None
    """Set by what keeps uploads and takes."""
    radios: dict[str, Any] = field(default_factory=dict)
    """Listeners by id: `RadioWork`."""
    streams: int = 0
    """WAV streams that are being made."""
    closers: list[Callable[[], None]] = field(default_factory=list)
    """Called when the server ends."""
