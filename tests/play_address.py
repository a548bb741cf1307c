"""A playing server for tests: the real one, in a thread, with a small real model, on a free port."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from piano.piano_model import VariationalAttentionModel
from piano.play.access import LOOPBACK
from piano.play.models import Models
from piano.play.place import Limits, Place
from piano.play.scheduler import SMOOTHING, Scheduler
from piano.vae_utilities import save_checkpoint
from tests.tiny_run import SAMPLE_RATE, SMALL, tonal_pairs

FAST = 200.0
"""Seconds of sound a second, as a scheduler is told that has measured nothing yet."""


class Played:
    """A running server.

    address : of the page, without a slash at its end
    place : what its parts share
    song : a sound file to bring
    """

    def __init__(self, address: str, place: Place, song: Path, server: Any, thread: threading.Thread) -> None:
        self.address, self.place, self.song = address, place, song
        self._server, self._thread = server, thread

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def stop(self) -> None:
        """End it, as Ctrl-C does."""
        self._server.should_exit = True
        self._thread.join(timeout=20.0)
        assert not self._thread.is_alive()


def small_model(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of a small generator that sounds."""
    torch.manual_seed(seed)
    generator = VariationalAttentionModel(**(SMALL["model"] | changes)).eval()
    for block in (generator.attention, generator.shortcut):
        torch.nn.init.normal_(block.out.weight, std=0.1)
    music = torch.from_numpy(tonal_pairs(4 * generator.sound_channels)[:, 0])
    generator.autoencoder.fit_spectrum(music.view(4, generator.sound_channels, -1))
    generator.style.anchors.normal_(generator=torch.Generator().manual_seed(1))
    generator.style.chroma = torch.full((generator.latent_dim + 1, 12), 1.0 / 12.0)
    generator.style.unproject.normal_(std=0.3, generator=torch.Generator().manual_seed(2))
    generator.default_steps.fill_(2)
    save_checkpoint(generator, 3, folder, "generator")
    return folder


def write_song(path: Path, *, seconds: float = 6.0, seed: int = 5) -> Path:
    """A sound file of tones."""
    music = tonal_pairs(2, seed=seed)[:, 0].reshape(1, -1)[:, : round(seconds * SAMPLE_RATE)]
    soundfile.write(path, np.tile(music, (1, 4))[:, : round(seconds * SAMPLE_RATE)].T, SAMPLE_RATE)
    return path


@contextlib.contextmanager
def played(
    folder: Path,
    *,
    speed: float | None = FAST,
    smoothing: float = SMOOTHING,
    limits: Limits | None = None,
    token: str = "",
    **place_settings: Any,
) -> Iterator[Played]:
    """A server over a folder; two models, `first` and `second`."""
    import uvicorn

    from piano.play.connections import settings
    from piano.play.server import create_app

    models = {name: small_model(folder / name, seed=seed) for seed, name in enumerate(("first", "second"))}
    place = Place(
        models=Models(models),
        scheduler=Scheduler(speed=speed, smoothing=smoothing),
        library=folder / "takes",
        hosts=LOOPBACK,
        token=token,
        limits=limits or Limits(),
        **place_settings,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(settings(create_app(place, version="test"), place.limits))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    running = Played(address, place, write_song(folder / "evening.wav"), server, thread)
    try:
        while not server.started:
            thread.join(timeout=0.02)
        yield running
    finally:
        running.stop()
