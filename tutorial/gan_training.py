"""The adversarial game: one turn of each network, and the loop of turns that keeps itself.

A run that is given a folder writes metrics.jsonl there, in the form of the audio model's runs, and a checkpoint every
few epochs. Called again with the same folder it goes on from there, exactly as if it had never stopped.
"""

import math
import pickle
import re
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader

from piano.foundation.checkpoint_format import write_whole
from piano.foundation.errors import CheckpointError, TrainingError
from piano.foundation.randomness import keyed_generator
from piano.foundation.run_log import RunLog
from piano.foundation.runtime import best_device, frozen

FORMAT_VERSION = 1
SAMPLE_COUNT = 64
"""Pictures of a sample grid; always from the same noise, so that one sees the same pictures change."""
MEASURE_EVERY = 20
"""Steps between two measurements of the diversity."""
KEPT_CHECKPOINTS = 2


# --- losses ----------------------------------------------------------------------------------------------------------


def discriminator_loss(*, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Cross-entropy of real against fake, the mean of both halves (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1).

    -log D(x) is softplus(-logit), and -log(1 - D(G(z))) is softplus(logit). A discriminator that answers 1/2 to
    everything has log 2 = 0.693.

    Parameters
    ----------
    real_logits, fake_logits : Tensor [shape=(batch, 1)]

    Returns
    -------
    Tensor [shape=()]
    """
    return 0.5 * (functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean())


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)), the non-saturating form (arXiv 1406.2661, section 3), averaged over the batch.

    Parameters
    ----------
    fake_logits : Tensor [shape=(batch, 1)]

    Returns
    -------
    Tensor [shape=()]
    """
    return functional.softplus(-fake_logits).mean()


# --- one turn each ---------------------------------------------------------------------------------------------------


class DiscriminatorTurn(NamedTuple):
    """What a turn of the discriminator showed, before it moved; each [shape=()]."""

    loss: Tensor
    d_real: Tensor
    """D(x): mean probability that it gave to real pictures."""
    d_fake: Tensor
    """D(G(z)): the same for generated ones."""


def discriminator_step(
    generator: nn.Module, discriminator: nn.Module, d_optimizer: Optimizer, *, real: Tensor, noise: Tensor
) -> DiscriminatorTurn:
    """The discriminator learns to tell real from fake; the generator only lends its pictures.

    Parameters
    ----------
    real : Tensor [shape=(batch, 1, 28, 28)]
    noise : Tensor [shape=(batch, latent_dim)]
    """
    with torch.no_grad():
        fake = generator(noise)
    real_logits, fake_logits = discriminator(real), discriminator(fake)
    loss = discriminator_loss(real_logits=real_logits, fake_logits=fake_logits)
    d_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    d_optimizer.step()
    return DiscriminatorTurn(
        loss.detach(), real_logits.detach().sigmoid().mean(), fake_logits.detach().sigmoid().mean()
    )


def generator_step(generator: nn.Module, discriminator: nn.Module, g_optimizer: Optimizer, *, noise: Tensor) -> Tensor:
    """The generator learns to be taken for real; gradients pass through the discriminator, which stays as it is.

    Parameters
    ----------
    noise : Tensor [shape=(batch, latent_dim)]

    Returns
    -------
    Tensor [shape=()]
        The loss before the step.
    """
    with frozen(discriminator):
        loss = generator_loss(discriminator(generator(noise)))
        g_optimizer.zero_grad(set_to_none=True)
        loss.backward()
    g_optimizer.step()
    return loss.detach()


@torch.no_grad()
def make_images(generator: nn.Module, noise: Tensor) -> Tensor:
    """Pictures as a trained generator makes them: batch norm with its running averages, no gradients.

    Parameters
    ----------
    noise : Tensor [shape=(batch, latent_dim)]

    Returns
    -------
    Tensor [shape=(batch, 1, 28, 28)]
        On the CPU.
    """
    was_training = generator.training
    generator.eval()
    images = generator(noise.to(next(generator.parameters()).device)).float().cpu().contiguous()
    generator.train(was_training)
    return images


def diversity(images: Tensor, real: Tensor) -> float:
    """Mean distance between any two generated pictures over that between any two real ones: 1 as varied, 0 all alike.

    Parameters
    ----------
    images, real : Tensor [shape=(pictures, 1, 28, 28)]
    """
    return float(torch.pdist(images.flatten(1)).mean() / torch.pdist(real.flatten(1)).mean().clamp_min(1e-9))


# --- the loop --------------------------------------------------------------------------------------------------------


class TrainedGan(NamedTuple):
    """What `train_gan` returns; it unpacks into three."""

    d_losses: list[float]
    """Loss of every step of the discriminator."""
    g_losses: list[float]
    generated_samples: list[Tensor]
    """After every `checkpoint_interval` epochs, and the last: 64 pictures of the same noise [shape=(64, 1, 28, 28)]."""


def train_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    train_loader: DataLoader,
    num_epochs: int = 50,
    device: torch.device | str | None = None,
    learning_rate: float = 0.0002,
    beta1: float = 0.5,
    checkpoint_interval: int = 5,
    verbose: bool = True,
    *,
    d_learning_rate: float | None = None,
    folder: Path | str | None = None,
    seed: int = 0,
) -> TrainedGan:
    """Play the game for some epochs: one turn of the discriminator, one of the generator, for every batch.

    Parameters
    ----------
    generator, discriminator : nn.Module
        They are moved to the device and trained in place. The generator has a `latent_dim`.
    train_loader : DataLoader
        Yields batches of pictures [shape=(batch, 1, 28, 28)], alone or first in a list.
    num_epochs : int
    device : torch.device or str, optional
        The graphics card if there is one, by default.
    learning_rate, beta1 : float
        Of Adam, for both networks: the values of DCGAN (arXiv 1511.06434).
    checkpoint_interval : int
        Epochs between two samples, and two checkpoints.
    verbose : bool
        A line for every epoch.
    d_learning_rate : float, optional
        Of the discriminator alone.
    folder : Path, optional
        For metrics.jsonl and checkpoints; a run that it holds already is continued.
    seed : int
        Of the order, the noise and the dropout: every epoch has its own, whatever was before it.

    Returns
    -------
    TrainedGan

    Raises
    ------
    TrainingError
        If a loss is not a number.
    CheckpointError
        If the folder's run was made with other settings or networks, or cannot be written.
    """
    if num_epochs < 1 or checkpoint_interval < 1:
        raise TrainingError(
            f"num_epochs ({num_epochs}) and checkpoint_interval ({checkpoint_interval}) must be 1 at least."
        )
    device = torch.device(device or best_device())
    settings = {
        "learning_rate": learning_rate,
        "beta1": beta1,
        "d_learning_rate": learning_rate if d_learning_rate is None else d_learning_rate,
        "checkpoint_interval": checkpoint_interval,
        "seed": seed,
        "steps_per_epoch": len(train_loader),
    }
    # Channels last: a step costs a fifth less on a CPU.
    networks = {"generator": generator, "discriminator": discriminator}
    for network in networks.values():
        network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    rates = {"generator": learning_rate, "discriminator": settings["d_learning_rate"]}
    optimizers = {
        name: Adam(network.parameters(), lr=rates[name], betas=(beta1, 0.999)) for name, network in networks.items()
    }
    run = GanRun(networks, optimizers, settings, Path(folder) if folder is not None else None)
    done = run.resume()
    if verbose and done:
        print(f"{folder}: going on after epoch {done}")
    fixed_noise = torch.randn(
        SAMPLE_COUNT, cast(int, generator.latent_dim), generator=keyed_generator(seed, "fixed noise")
    )
    for epoch in range(done + 1, num_epochs + 1):
        lines = play_epoch(run, train_loader, epoch, fixed_noise, device)
        is_due = epoch % checkpoint_interval == 0 or epoch == num_epochs
        if is_due:
            run.samples.append(make_images(generator, fixed_noise))
        run.finish_epoch(epoch, lines, save=is_due)
        if verbose:
            print(describe_epoch(epoch, num_epochs, lines))
    return TrainedGan(run.d_losses, run.g_losses, run.samples)


def play_epoch(
    run: "GanRun", train_loader: DataLoader, epoch: int, fixed_noise: Tensor, device: torch.device
) -> list[dict[str, Any]]:
    """Every batch once; returns the lines of the log, one a step."""
    generator, discriminator = run.networks["generator"], run.networks["discriminator"]
    g_optimizer, d_optimizer = run.optimizers["generator"], run.optimizers["discriminator"]
    draw = keyed_generator(run.settings["seed"], "noise", epoch)
    lines: list[dict[str, Any]] = []
    with torch.random.fork_rng():
        # Dropout and a loader without a generator of its own draw from torch's common stream.
        torch.manual_seed(keyed_generator(run.settings["seed"], "epoch", epoch).initial_seed())
        if isinstance(train_loader.generator, torch.Generator):
            train_loader.generator.manual_seed(keyed_generator(run.settings["seed"], "order", epoch).initial_seed())
        for batch in train_loader:
            real = (batch[0] if isinstance(batch, Sequence) else batch).to(device)
            noise = torch.randn(2, len(real), fixed_noise.shape[1], generator=draw).to(device)
            judged = discriminator_step(generator, discriminator, d_optimizer, real=real, noise=noise[0])
            g_loss = generator_step(generator, discriminator, g_optimizer, noise=noise[1])
            lines.append(run.line(epoch, judged, g_loss))
            if lines[-1]["total_step"] % MEASURE_EVERY == 0:
                lines[-1]["diversity"] = diversity(make_images(generator, fixed_noise), real.cpu())
    return lines


def describe_epoch(epoch: int, num_epochs: int, lines: Sequence[dict[str, Any]]) -> str:
    """One line for the screen: the means of an epoch."""
    means = {name: sum(line[name] for line in lines) / len(lines) for name in ("d_loss", "g_loss", "d_real", "d_fake")}
    return (
        f"epoch {epoch:3d}/{num_epochs}  D loss {means['d_loss']:.3f}  G loss {means['g_loss']:.3f}  "
        f"D(x) {means['d_real']:.2f}  D(G(z)) {means['d_fake']:.2f}  {lines[-1]['seconds']:.0f} s"
    )


# --- keeping ---------------------------------------------------------------------------------------------------------


class GanRun:
    """Two networks, their optimisers, and everything about them so far.

    Parameters
    ----------
    networks, optimizers : dict
        Keys `generator` and `discriminator`.
    settings : dict of str to number
        What must be the same for a run to go on.
    folder : Path or None
        None: nothing is written.
    """

    def __init__(
        self, networks: dict[str, nn.Module], optimizers: dict[str, Adam], settings: dict[str, Any], folder: Path | None
    ) -> None:
        self.networks, self.optimizers, self.settings, self.folder = networks, optimizers, settings, folder
        self.d_losses: list[float] = []
        self.g_losses: list[float] = []
        self.samples: list[Tensor] = []
        self.log = RunLog(folder or Path(), is_active=folder is not None)
        self._began = time.monotonic()
        self._total_step = 0

    def line(self, epoch: int, judged: DiscriminatorTurn, g_loss: Tensor) -> dict[str, Any]:
        """One step's line of the log; a loss that is not a number ends the run here."""
        self._total_step += 1
        values = torch.stack([judged.loss, g_loss, judged.d_real, judged.d_fake]).tolist()
        numbers = dict(zip(("d_loss", "g_loss", "d_real", "d_fake"), values, strict=True))
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} in epoch {epoch}, step {self._total_step}. Lower the learning rate."
                )
        return {
            "stage": "gan",
            "epoch": epoch,
            "step": self._total_step,
            "total_step": self._total_step,
            "seconds": round(time.monotonic() - self._began, 3),
            **numbers,
        }

    def finish_epoch(self, epoch: int, lines: list[dict[str, Any]], *, save: bool) -> None:
        """Note an epoch, and keep everything if it is time."""
        self.d_losses += [line["d_loss"] for line in lines]
        self.g_losses += [line["g_loss"] for line in lines]
        self.log.append(lines)
        if not save or self.folder is None:
            return
        content = {
            "format_version": FORMAT_VERSION,
            "epoch": epoch,
            "settings": self.settings,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "d_losses": self.d_losses,
            "g_losses": self.g_losses,
            "samples": self.samples,
            "seconds": time.monotonic() - self._began,
        }
        write_whole(self.folder / f"gan_epoch_{epoch}.pt", lambda file: torch.save(content, file))
        for old in checkpoint_epochs(self.folder)[:-KEPT_CHECKPOINTS]:
            (self.folder / f"gan_epoch_{old}.pt").unlink()

    def resume(self) -> int:
        """Take over the newest readable checkpoint of the folder; returns its epoch, 0 if there is none."""
        failure: CheckpointError | None = None
        for epoch in reversed(checkpoint_epochs(self.folder) if self.folder is not None else []):
            assert self.folder is not None
            try:
                content = read_gan_checkpoint(self.folder / f"gan_epoch_{epoch}.pt")
            except CheckpointError as error:
                failure = error
                continue
            self._adopt(content)
            return epoch
        if failure is not None:
            raise failure
        self.log.forget_after(0)
        return 0

    def _adopt(self, content: dict[str, Any]) -> None:
        other = [
            f"{name} {content['settings'].get(name)} (now {value})"
            for name, value in self.settings.items()
            if content["settings"].get(name) != value
        ]
        if other:
            raise CheckpointError(
                f"{self.folder} holds a run with {', '.join(other)}. Give another folder, or delete it to start anew."
            )
        try:
            for name, network in self.networks.items():
                network.load_state_dict(content["networks"][name])
                self.optimizers[name].load_state_dict(content["optimizers"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.folder} holds a run of other networks ({' '.join(str(error).split())[:120]}). "
                "Give another folder, or delete it to start anew."
            ) from None
        self.d_losses, self.g_losses = list(content["d_losses"]), list(content["g_losses"])
        self.samples = list(content["samples"])
        self._total_step = len(self.d_losses)
        self._began = time.monotonic() - content["seconds"]
        self.log.forget_after(self._total_step)


def checkpoint_epochs(folder: Path) -> list[int]:
    """Epochs of a run that were kept, ascending."""
    found = (re.fullmatch(r"gan_epoch_(\d+)\.pt", path.name) for path in folder.glob("gan_epoch_*.pt"))
    return sorted(int(match.group(1)) for match in found if match)


def read_gan_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, without ever running pickled code; raises CheckpointError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        raise CheckpointError(f"{path} is damaged or no checkpoint: delete it to go on without it.") from None
    wanted = {"epoch", "settings", "networks", "optimizers", "d_losses", "g_losses", "samples", "seconds"}
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION or wanted - content.keys():
        raise CheckpointError(f"{path} is not a checkpoint of train_gan: delete it to go on without it.")
    return content
