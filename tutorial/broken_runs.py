"""GANs broken on purpose: short runs with one fault each, so that one learns to read it from the curves."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from piano.doctor.rules import Window
from piano.foundation.run_log import read_history
from tutorial.discriminator_model import create_discriminator
from tutorial.fashion_mnist import build_loader
from tutorial.gan_analysis import gan_windows
from tutorial.gan_training import TrainedGan, train_gan
from tutorial.generator_model import Generator, create_generator

SHORT_WINDOW = 50
"""Steps of a window: such a run is too short for windows of a hundred."""


class Fault(NamedTuple):
    """What is done to a run."""

    words: str
    learning_rate: float = 0.0002
    d_learning_rate: float = 0.0002
    copies: bool = False
    climbs: bool = False


FAULTS = {
    "healthy": Fault("nothing: the control"),
    "eager D": Fault("D learns twenty times as fast as G", 0.0001, 0.002),
    "backward D": Fault("a wrong sign: D goes up its loss instead of down", climbs=True),
    "copying G": Fault("G hands out one picture for the whole batch", copies=True),
    "frozen D": Fault("D does not learn at all", d_learning_rate=0.0),
}
"""By name."""


class CopyingGenerator(Generator):
    """A generator with one idea at a time: the plainest mode collapse there is."""

    def forward(self, noise: Tensor) -> Tensor:
        """The first picture of the batch for every item [shape=(batch, 1, 28, 28)]."""
        return self.layers(noise)[:1].expand(len(noise), -1, -1, -1)


class BrokenRun(NamedTuple):
    """A run with a fault, ready to be read."""

    trained: TrainedGan
    windows: list[Window]


def run_with_fault(
    fault: Fault,
    images: Tensor,
    folder: Path | str,
    *,
    epochs: int = 5,
    steps_per_window: int = SHORT_WINDOW,
    seed: int = 0,
) -> BrokenRun:
    """Train for a few epochs with a fault, and measure how far D's weights have moved.

    Parameters
    ----------
    fault : Fault
    images : Tensor [shape=(pictures, 1, 28, 28)]
    folder : Path
        For its log and checkpoint.
    epochs, steps_per_window, seed : int
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = copying(create_generator()) if fault.copies else create_generator()
        discriminator = create_discriminator()
    if fault.climbs:
        for parameter in discriminator.parameters():
            parameter.register_hook(torch.neg)
    before = [parameter.detach().clone() for parameter in discriminator.parameters()]
    trained = train_gan(
        generator,
        discriminator,
        build_loader(images),
        num_epochs=epochs,
        learning_rate=fault.learning_rate,
        d_learning_rate=fault.d_learning_rate,
        verbose=False,
        folder=folder,
        seed=seed,
    )
    windows = gan_windows(
        read_history(Path(folder)), steps_per_window=steps_per_window, moved=distance_moved(discriminator, before)
    )
    return BrokenRun(trained, windows)


def copying(generator: Generator) -> Generator:
    """The same weights in a generator that makes one picture a batch."""
    copier = CopyingGenerator(generator.latent_dim)
    copier.load_state_dict(generator.state_dict())
    return copier


def distance_moved(network: nn.Module, before: list[Tensor]) -> float:
    """Largest change of any weight."""
    return max(
        float((parameter.detach().cpu() - old).abs().max())
        for parameter, old in zip(network.parameters(), before, strict=True)
    )
