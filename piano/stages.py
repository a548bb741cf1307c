"""The stages of training: a row each, from which everything else reads.

A new stage is a row here, its `train_...` function with its losses (piano_pretrain, piano_train; `trains` ties the
two), and its numbers in piano/default_config.yaml (every preset, finetune.shares). Stages are learned in the order of
the rows, which goes by kinds.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Part = Literal["encoder", "decoder", "attention", "shortcut", "ear", "professor"]
JUDGES: tuple[Part, ...] = ("ear", "professor")
"""The discriminator's parts, and the names of their optimisers; every other optimiser moves a part of the generator."""
ONE_STEP, MANY_STEPS = 1, 16
RECONSTRUCTED = 0
"""In place of a number of sampling steps: real music, encoded and decoded."""
"""Sampling steps for which level and texture are measured."""


class Stage(NamedTuple):
    """One stage."""

    name: str
    kind: Literal["pretraining", "judging", "adversarial"]
    """Which setting counts its epochs: pretrain_epochs_g, pretrain_epochs_d, epochs."""
    learns: tuple[Part, ...]
    """Parts that move; all others rest."""
    passes: tuple[Part, ...]
    """Parts that a step goes through, as often as it does: what its time is taken to grow with."""
    composes: bool
    """Its items are windows of latents, as long as the attention sees at most; else they are crops of sound."""

    doing: str
    """What it does, for the progress bar."""
    words: str
    """The same as a clause."""
    topic: str
    """The same as a thing to speak of."""
    shown: tuple[str, str]
    """The one number that a listener can follow: its name in the log, and in words."""

    own_term: str = ""
    """In the log: its own loss, in which no judge has a say; the metric `training` of plateaus and early stopping."""
    adversarial_term: str = ""
    """In the log: what the judge says about the generator; the metric `adversarial`."""
    validation: tuple[str, ...] = ()
    """Losses on validation music at the end of every epoch, of `VALIDATIONS` (piano/watching/validation.py)."""
    signals: tuple[str, ...] = ()
    """What the doctor measures, of `SIGNALS` (piano/watching/measure.py)."""

    textures: tuple[int, ...] = ()
    """For compositions of how many steps the texture is measured at the end; RECONSTRUCTED: for reconstructions. Before
    the flow these stand for compositions."""
    gate: str = ""
    """What is asked at the end, of `GATES` (piano/watching/gates.py)."""
    gate_work: tuple[str, ...] = ()
    """What the gate costs besides compositions, as piano/watching/score_cost.py names it."""
    compared_steps: tuple[int, ...] = ()
    """Sampling steps that the gate compares, the most telling first; never two: level and texture are measured for one
    step and for sixteen, and two steps come out 4 dB too soft."""
    least_steps: tuple[int, ...] = ()
    """Those of them that are compared however little time there is."""
    scored_steps: int = 0
    """Sampling steps with which epochs on the way are scored, those that use what the stage teaches; 0: not scored."""
    is_heard: bool = False
    """Samples are written at its end in any case."""
    is_extra: int = 0
    """Left out where time is short, the highest number first; 0: not by itself."""


STAGES = (
    Stage(
        "autoencoder",
        "pretraining",
        composes=False,
        learns=("encoder", "decoder"),
        passes=("encoder", "decoder"),
        doing="Learning sounds",
        words="learning to write sound down and play it back",
        topic="writing sound down",
        shown=("reconstruction", "sound error"),
        own_term="reconstruction",
        validation=("sound",),
        textures=(RECONSTRUCTED, MANY_STEPS),
        gate="reconstruction",
        gate_work=("reconstruction",),
    ),
    Stage(
        "flow",
        "pretraining",
        composes=True,
        learns=("attention",),
        passes=("attention",),
        doing="Learning to compose",
        words="learning to compose",
        topic="composing",
        shown=("flow", "composing error"),
        own_term="flow",
        validation=("flow",),
        signals=("flow",),
        textures=(MANY_STEPS, ONE_STEP),
        gate="composing",
        gate_work=("fit", "decoded noise"),
        compared_steps=(MANY_STEPS, 4, ONE_STEP),
        least_steps=(MANY_STEPS, 4),
        scored_steps=MANY_STEPS,
        is_heard=True,
    ),
    Stage(
        "judges",
        "judging",
        composes=True,
        learns=("ear", "professor"),
        passes=("ear", "professor", "shortcut"),
        doing="Training the judges",
        words="the judges learn to tell real from generated",
        topic="teaching the judges",
        shown=("ear_loss", "judges' error"),
        validation=("sound and ear", "composition"),
        signals=("ear", "professor"),
        gate="judges",
        gate_work=("judges",),
    ),
    Stage(
        "ear",
        "adversarial",
        composes=False,
        learns=("decoder", "ear"),
        passes=("encoder", "decoder", "ear", "ear"),
        doing="Refining the sound",
        words="sharpening the sound against the ear",
        topic="sharpening the sound",
        shown=("ear_reconstruction", "sound error"),
        own_term="ear_reconstruction",
        adversarial_term="ear_adversarial",
        validation=("sound and ear",),
        signals=("ear", "rebuilt variety"),
        textures=(RECONSTRUCTED,),
        gate="ear",
        gate_work=("reconstruction",),
        scored_steps=MANY_STEPS,
        is_extra=1,
    ),
    Stage(
        "professor",
        "adversarial",
        composes=True,
        learns=("shortcut", "professor"),
        passes=("shortcut", "shortcut", "professor", "professor", "professor"),
        doing="Composing in one step",
        words="composing in one step, against the professor",
        topic="composing in one step",
        shown=("energy_score", "distance to music"),
        own_term="energy_score",
        adversarial_term="adversarial",
        validation=("composition",),
        signals=("professor", "compositions"),
        textures=(ONE_STEP,),
        gate="one step",
        compared_steps=(ONE_STEP, 4, MANY_STEPS),
        least_steps=(ONE_STEP, 4),
        scored_steps=ONE_STEP,
        is_heard=True,
    ),
    Stage(
        "joint",
        "adversarial",
        composes=True,
        learns=("decoder", "shortcut", "ear", "professor"),
        passes=("encoder", "decoder", "attention", "shortcut", "ear", "professor", "ear", "professor"),
        doing="All together",
        words="sound and composition together",
        topic="bringing sound and composition together",
        shown=("energy_score", "distance to music"),
        own_term="energy_score",
        adversarial_term="adversarial",
        validation=("composition",),
        signals=("ear", "professor", "compositions"),
        textures=(RECONSTRUCTED, MANY_STEPS, ONE_STEP),
        gate="one step",
        compared_steps=(ONE_STEP, 4, MANY_STEPS, 8),
        least_steps=(ONE_STEP, 4),
        scored_steps=ONE_STEP,
        is_heard=True,
        is_extra=2,
    ),
)
STAGE = {stage.name: stage for stage in STAGES}
STAGE_NAMES = tuple(STAGE)
"""In the order in which they are learned."""
FIRST_STAGE, LAST_STAGE = STAGE_NAMES[0], STAGE_NAMES[-1]
COMPOSING_STAGE = next(stage.name for stage in STAGES if stage.composes)
"""The first from which music can be composed."""

Train = Callable[[Any], None]
TRAIN: dict[str, Train] = {}
"""Stage -> what trains it, given a TrainingRun; filled by `trains` as the stages' modules are imported."""


def trains(name: str) -> Callable[[Train], Train]:
    """Decorator: this function trains the stage of that name."""
    if name not in STAGE:
        raise ValueError(f"{name} is no stage: {', '.join(STAGE_NAMES)}")

    def register(function: Train) -> Train:
        TRAIN[name] = function
        return function

    return register


def stages_of(kind: str) -> tuple[str, ...]:
    """Names of the stages of a kind, in order."""
    return tuple(stage.name for stage in STAGES if stage.kind == kind)
