"""The adversarial game: who moves, what a loss may read, and the order of the moves."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from piano.config_reader import Config
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.collectives import Crowd
from piano.foundation.runtime import frozen
from piano.piano_model import VariationalAttentionModel
from piano.training.schedules import Step

Batch = TypeVar("Batch")
Kept = TypeVar("Kept", bound="Remembering")
Made = TypeVar("Made")


class Together(Protocol):
    """What a loss needs of a batch of which every process holds a part (piano/foundation/runtime.py).

    A loss that is a mean over items needs nothing of this: means are averaged. What compares items, or reads a
    statistic of the batch, must see all of it; else several processes would learn something else than one.
    """

    def whole(self, tensor: Tensor, /) -> Tensor:
        """The batch of all processes; gradients come back to who holds an item."""
        ...

    def gather(self, tensor: Tensor, /) -> Tensor:
        """The batch of all processes, detached."""
        ...

    def crowd(self, tensor: Tensor, /) -> Crowd:
        """The same of items of which some processes may have fewer, or none."""
        ...

    def mean(self, values: Tensor, /) -> Tensor:
        """Mean over all processes."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        ...


def norm_of_whole(together: Together, norm: Tensor) -> Tensor:
    """Norm of the gradient at the whole batch, from the norm at this process's part of the mean of its own items."""
    if together.world_size == 1:
        return norm
    return (together.mean(norm.square()) / together.world_size).sqrt()


class Game(NamedTuple):
    """All that a loss may read, in one step."""

    generator: VariationalAttentionModel
    discriminator: Discriminator_with_mdisc
    step: Step
    """Random numbers by name, and how much the adversary counts."""
    config: Config
    factor: Callable[[str], float]
    """What the doctor multiplies a setting by."""
    autocast: Callable[[], AbstractContextManager[Any]]
    precision: str
    """Of the networks' products, as in runtime.precision, but never `auto`."""
    together: "Together"
    """Puts the parts of all processes together."""
    move: Callable[..., Tensor]
    """move(optimizer, clip=...): average the gradients over processes, clip, step, clear; returns their norm."""

    @property
    def judges_every(self) -> int:
        """The discriminators learn at every n-th step."""
        return round(self.config.update_discriminator * self.factor("judge_every"))

    @property
    def judges_learn(self) -> bool:
        """Whether the discriminators move in this step: not while the generator learns alone."""
        return not self.step.opening.is_alone and self.step.index % self.judges_every == 0

    @property
    def judges_turn(self) -> int:
        """Counts the turns of the discriminators."""
        return self.step.index // self.judges_every


class Once:
    """What both turns of a step need of a micro-batch, made once by networks that stand still in between.

    It has no gradient, but for what is kept with its way back: who has `live` goes on from that.

    The judges move between the two turns, and the generator does not: what it makes is the same in both. Only what
    dropout thins out is made otherwise each time, and is no matter for both turns (`Config.model.dropout`).
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._live: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[[], Made]) -> Made:
        """What goes by a name, made by `make` if nobody has asked for it before."""
        if name not in self._made:
            with torch.no_grad():
                self._made[name] = make()
        return self._made[name]

    def keep(self, name: str, live: Tensor) -> None:
        """Keep what the generator has made ahead of both turns, with its way back."""
        self._live[name] = live

    def live(self, name: str, make: Callable[[], Made]) -> Made:
        """What was kept by a name, with its way back; of nothing kept, what `make` gives."""
        return self._live[name] if name in self._live else make()

    def following(self, name: str, of: Tensor, what: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        """`make(of)`; where `of` is what was kept by `name`, or that detached, it is made once for both turns."""
        if name not in self._live:
            return make(of)
        if what not in self._live:
            with torch.enable_grad():  # whoever comes first, the generator needs the way back
                self._live[what] = make(self._live[name])
        return self._live[what] if of.requires_grad else self._live[what].detach()

    def forget(self) -> None:
        """Let go of all of it."""
        self._made.clear()
        self._live.clear()


class Remembering(Protocol):
    """A micro-batch that keeps what was made of it."""

    def forget(self) -> None:
        """Let go of what was made of it: nobody asks for it any more in this step."""
        ...


class Turn(NamedTuple):
    """What one loss says about one micro-batch."""

    total: Tensor
    """To be minimised."""
    terms: dict[str, Tensor]
    """To be logged, each a scalar."""
    settle: Callable[[int], dict[str, Tensor]] = lambda parts: {}
    """Called when (total / parts) went backwards; returns further terms."""


class Player(NamedTuple, Generic[Batch]):
    """A network, or several, that move as one."""

    name: str
    """Of its optimiser."""
    optimizer: Optimizer
    loss: Callable[[Game, Batch], Turn]
    clip: float = 1.0
    """Largest norm of its gradient."""
    prefix: str = ""
    """Of its gradient's norm in the log."""
    ahead: Callable[[Game, Batch], None] | None = None
    """Makes what the judges hear of it ahead of their turn and keeps the way back for its own: it makes it once."""


def learn(
    game: Game, player: Player[Batch], batches: Sequence[Batch], *, done_with: Callable[[Batch], None] | None = None
) -> dict[str, Tensor]:
    """One step of one player, by the mean gradient of its loss over the micro-batches; returns the mean terms.

    `done_with` is called with each micro-batch when its gradient is there.
    """
    terms: dict[str, Tensor] = {}
    for batch in batches:
        turn = player.loss(game, batch)
        (turn.total / len(batches)).backward()
        for name, value in (turn.terms | turn.settle(len(batches))).items():
            terms[name] = terms.get(name, 0.0) + value.detach().float() / len(batches)
        if done_with is not None:
            done_with(batch)
    return terms | {f"{player.prefix}gradient_norm": game.move(player.optimizer, clip=player.clip)}


def adversarial_step(
    game: Game, judges: Sequence[Player[Kept]], generator: Player[Kept] | None, batches: Sequence[Kept]
) -> dict[str, Tensor]:
    """The discriminators against fakes without history; then the generator, if it plays, through frozen discriminators.

    Returns
    -------
    dict
        The mean terms of all that moved.
    """
    terms: dict[str, Tensor] = {}
    if generator is not None and generator.ahead is not None and game.judges_learn and has_room_ahead(game, batches):
        generator.ahead(game, batches[0])
    if game.judges_learn or generator is None:
        with frozen(game.generator):
            for judge in judges:
                terms |= learn(game, judge, batches)
                game.discriminator.trained_steps += 1
    if generator is not None:
        with frozen(game.discriminator):
            # The micro-batches are many where memory is short: each gives back what it holds as soon as it can.
            terms |= learn(game, generator, batches, done_with=lambda batch: batch.forget())
    return terms


def has_room_ahead(game: Game, batches: Sequence[Kept]) -> bool:
    """Whether the generator's way back may be held while the judges learn.

    Where a batch comes in parts, memory is short; on a GPU it is short anyway, and composing there is cheap.
    """
    return len(batches) == 1 and game.generator.device.type == "cpu"


def optimizers_of(*players: Player[Any]) -> dict[str, Optimizer]:
    """Name -> optimiser."""
    return {player.name: player.optimizer for player in players}
