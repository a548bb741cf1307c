"""Every generator before every judge, in bounded memory, with real music and sanity probes as controls.

One network is in memory at a time. Fakes are made in rounds: as many generators' as fit into the memory allowed; then
every judge is loaded once and hears them all. What was judged is kept in a file, by the hashes of all it depends on, so
that work that was broken off goes on where it stopped, and one more checkpoint costs one row and one column.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.foundation.checkpoint_format import checkpoint_path, list_epochs, read_checkpoint
from piano.foundation.doors import command, train_first
from piano.foundation.errors import CheckpointError
from piano.foundation.screen_text import printable
from piano.judging.judgement_file import KeptJudgements, Logits
from piano.judging.tournament_scores import FAMILIES, Judgements
from piano.judging.verdicts import (
    Items,
    JudgeVerdict,
    RealClips,
    code_digest,
    family_logits,
    file_digest,
    items_of_latents,
    items_of_sound,
    pass_verdict,
    sanity_probes,
    tensor_digest,
)
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_discriminator, load_generator

PROBES = ("white noise", "silence", "shuffled real", "1 kHz tone")


class FakeSettings(NamedTuple):
    """What the fakes are."""

    count: int
    seed: int
    steps: int | str
    memory: int
    """Bytes that fakes may take at once; a single generator's may need more."""


class Judge(NamedTuple):
    """A discriminator that has learned something."""

    epoch: int
    digest: str
    trained_steps: int


class Contender(NamedTuple):
    """A generator, and what can be known of it without loading it."""

    epoch: int
    digest: str


class Contestant(NamedTuple):
    """Some clips that go before the judges."""

    name: str
    key: str
    """Hash of everything the clips depend on."""
    is_real: bool
    make: Callable[[], Items]
    epoch: int | None = None
    """Of the generator whose fakes these are; None for controls."""


class Tournament(NamedTuple):
    """What was judged, and what could not be."""

    judged: Judgements
    verdicts: list[JudgeVerdict]
    known_before: int
    """Judgements taken over from earlier work."""
    left_out: dict[str, str]
    """Checkpoints that could not take part, and why."""


def trained_judges(folder: Path, left_out: dict[str, str] | None = None) -> list[Judge]:
    """The discriminators that have learned something; those before their first step are named and left out.

    With `left_out`, a damaged one is noted there; without, it raises CheckpointError.
    """
    epochs = list_epochs(folder, "discriminator")
    if not epochs:
        raise CheckpointError(f"no discriminator checkpoint in {printable(folder)}. {train_first()}")
    judges, untrained = [], []
    for epoch in epochs:
        path = checkpoint_path(folder, "discriminator", epoch)
        try:
            steps = int(read_checkpoint(path, "discriminator")["model"]["trained_steps"])
        except CheckpointError as error:
            if left_out is None:
                raise
            left_out[path.name] = str(error)
            continue
        if steps:
            judges.append(Judge(epoch, file_digest(path), steps))
        else:
            untrained.append(epoch)
    if untrained:
        print(f"Left out, their discriminator is not trained yet: epochs {untrained[0]} to {untrained[-1]}.")
    if not judges:
        raise CheckpointError(
            f"no discriminator in {printable(folder)} has been trained yet: go on with "
            f"{command('train', '--resume', '--minutes', 'N')}, N minutes being those of the whole run."
        )
    return judges


@torch.inference_mode()
def play(
    folder: Path,
    generators: list[int],
    judges: list[Judge],
    real: RealClips,
    settings: FakeSettings,
    *,
    kept: Path,
    left_out: dict[str, str] | None = None,
) -> Tournament:
    """Let every judge hear every generator, real music and the probes.

    Parameters
    ----------
    folder : Path
        Of the checkpoints.
    generators : list of int
        Epochs, ascending.
    kept : Path
        File of judgements made before; added to.
    left_out : dict, optional
        Takes the generators that cannot be loaded, or make no finite sound. Without it the first one raises.
    """
    judgements = KeptJudgements(kept)
    field = _Field(folder, real, settings, judgements, {} if left_out is None else left_out, left_out is None)
    contenders = [Contender(epoch, file_digest(checkpoint_path(folder, "generator", epoch))) for epoch in generators]
    known, total = 0, len(judges) * (len(contenders) + 1 + len(PROBES))
    with tqdm(total=total, desc="judging", unit="judgement", dynamic_ncols=True) as bar:
        waiting: list[tuple[Contestant, Items]] = []
        for player in field.players(contenders, bar, len(judges)):
            missing = sum((judge.digest, player.key) not in judgements.logits for judge in judges)
            known += len(judges) - missing
            bar.total -= len(judges) - missing
            bar.refresh()
            if not missing:
                continue
            bar.set_postfix_str(player.name)
            try:
                items = player.make()
            except CheckpointError as error:
                field.drop(player.epoch, error)
                bar.total -= missing
                continue
            if waiting and sum(each.bytes for _, each in waiting) + items.bytes > settings.memory:
                hear(folder, judges, waiting, judgements, bar)
                waiting = []
            waiting.append((player, items))
            del items
        hear(folder, judges, waiting, judgements, bar)
    return _gather(field, contenders, judges, real, judgements, known)


def hear(
    folder: Path, judges: list[Judge], players: list[tuple[Contestant, Items]], judgements: KeptJudgements, bar: tqdm
) -> None:
    """Load each judge once and let it hear all these players, where it has not before."""
    for judge in judges:
        new = [each for each in players if (judge.digest, each[0].key) not in judgements.logits]
        if not new:
            continue
        discriminator = load_discriminator(folder, judge.epoch)
        bar.set_postfix_str(f"judge {judge.epoch}")
        for player, items in new:
            logits = family_logits(discriminator, items, is_real=player.is_real)
            stacked = torch.stack([logits[name] for name in FAMILIES]).float().numpy()
            judgements.add(judge.digest, player.key, stacked)
            bar.update()


class _Field:
    """The players in the order in which they go before the judges: controls first, then the generators."""

    def __init__(
        self,
        folder: Path,
        real: RealClips,
        settings: FakeSettings,
        kept: KeptJudgements,
        left_out: dict[str, str],
        is_strict: bool,
    ) -> None:
        self.folder = folder
        self.real = real
        self.settings = settings
        self.kept = kept
        self.left_out = left_out
        self.is_strict = is_strict
        self.real_digest = tensor_digest(real.waveforms)
        self.dropped: set[int] = set()
        self.control_code = ""
        self._loaded: tuple[int, VariationalAttentionModel] | None = None

    def players(self, contenders: list[Contender], bar: tqdm, judges: int) -> Iterator[Contestant]:
        """Everybody. A generator is loaded when its clips are made, or to learn its code, and then forgotten."""
        seen: set[str] = set()
        for contender in reversed(contenders):  # the controls are heard through the newest one's encoder
            try:
                code, _ = self.facts(contender)
            except CheckpointError as error:
                self.drop(contender.epoch, error)
                bar.total -= judges
                continue
            if code not in seen:
                if seen:
                    bar.total += judges  # of real music once more, in the latents of another encoder
                yield self.real_player(contender, code)
            if not seen:
                self.control_code = code
                yield from self.probe_players(contender, code)
            seen.add(code)
            yield self.fake_player(contender)
        self._loaded = None

    def facts(self, contender: Contender) -> tuple[str, int]:
        """Code and sampling steps of a generator."""
        if contender.digest not in self.kept.facts:
            generator = self.load(contender.epoch)
            self.kept.add_facts(contender.digest, code_digest(generator), int(generator.default_steps))
        return self.kept.facts[contender.digest]

    def steps(self, contender: Contender) -> int:
        """Sampling steps of its fakes."""
        return self.facts(contender)[1] if self.settings.steps == "auto" else int(self.settings.steps)

    def load(self, epoch: int) -> VariationalAttentionModel:
        """A generator; the one before is forgotten first."""
        if self._loaded is None or self._loaded[0] != epoch:
            self._loaded = None
            self._loaded = (epoch, load_generator(self.folder, epoch))
        return self._loaded[1]

    def real_key(self, code: str) -> str:
        """Of real music in the latents of a code."""
        return f"real {code} {self.real_digest}"

    def probe_key(self, name: str, code: str) -> str:
        """Of a probe in the latents of a code."""
        return f"probe {name} {code} {self.real_digest}"

    def fake_key(self, contender: Contender) -> str:
        """Of a generator's fakes."""
        count, seed = self.settings.count, self.settings.seed
        return f"fakes {contender.digest} {count} {seed} {self.steps(contender)}"

    def real_player(self, contender: Contender, code: str) -> Contestant:
        """Real music as this generator's encoder hears it."""
        return Contestant("real music", self.real_key(code), True, lambda: self._sound(contender, self.real.waveforms))

    def probe_players(self, contender: Contender, code: str) -> Iterator[Contestant]:
        """The probes as this generator's encoder hears them."""
        for name in PROBES:
            yield Contestant(name, self.probe_key(name, code), False, lambda name=name: self._probe(contender, name))

    def fake_player(self, contender: Contender) -> Contestant:
        """A generator's own music."""
        return Contestant(
            f"generator {contender.epoch}",
            self.fake_key(contender),
            False,
            lambda: self._fakes(contender),
            contender.epoch,
        )

    def _sound(self, contender: Contender, waveforms: Tensor) -> Items:
        return items_of_sound(self.load(contender.epoch), waveforms)

    def _probe(self, contender: Contender, name: str) -> Items:
        rate = self.load(contender.epoch).sample_rate
        return self._sound(contender, sanity_probes(self.real.waveforms, rate)[name])

    def _fakes(self, contender: Contender) -> Items:
        generator, settings = self.load(contender.epoch), self.settings
        composer = Composer(generator, Sampling(settings.seed, self.steps(contender)))
        latents = composer.sample_latents(generator.latent_seq_len, count=settings.count)
        items = items_of_latents(generator, latents)
        if not bool(items.spectrum.isfinite().all()):
            raise CheckpointError(
                f"generator {contender.epoch} makes numbers that are not finite: it has diverged. Take an earlier one."
            )
        return items

    def drop(self, epoch: int | None, error: CheckpointError) -> None:
        """Leave a generator out; a control cannot be left out."""
        if self.is_strict or epoch is None:
            raise error
        self.dropped.add(epoch)
        self.left_out[checkpoint_path(self.folder, "generator", epoch).name] = str(error)


def _gather(
    field: _Field, contenders: list[Contender], judges: list[Judge], real: RealClips, kept: KeptJudgements, known: int
) -> Tournament:
    """The judgements as arrays and as verdicts."""
    present = [contender for contender in contenders if contender.epoch not in field.dropped]
    if not present:
        raise CheckpointError(f"no generator in {field.folder} could be judged: {'; '.join(field.left_out.values())}")

    def logits(judge: Judge, key: str) -> Logits:
        return kept.logits[judge.digest, key]

    def finite(judge: Judge) -> bool:
        is_finite = all(
            np.isfinite(each).all() for (heard_by, _), each in kept.logits.items() if heard_by == judge.digest
        )
        if not is_finite:
            name = checkpoint_path(field.folder, "discriminator", judge.epoch).name
            field.left_out[name] = "it answers with numbers that are not finite: it has diverged."
        return is_finite

    def over_generators(key: Callable[[Contender], str]) -> Logits:
        return np.stack([np.stack([logits(judge, key(each)) for each in present]) for judge in judges])

    judges = [judge for judge in judges if finite(judge)]
    if not judges:
        raise CheckpointError(f"every discriminator in {field.folder} answers with numbers that are not finite.")
    fake = over_generators(field.fake_key)
    real_logits = over_generators(lambda contender: field.real_key(field.facts(contender)[0]))
    judged = Judgements(
        judges=[judge.epoch for judge in judges],
        generators=[contender.epoch for contender in present],
        steps=[field.steps(contender) for contender in present],
        fake=fake,
        real=real_logits,
        control=np.stack([logits(judge, field.real_key(field.control_code)) for judge in judges]),
        probes={
            name: np.stack([logits(judge, field.probe_key(name, field.control_code)) for judge in judges])
            for name in PROBES
        },
        files=list(real.files),
    )
    verdicts = [
        pass_verdict(
            judge.epoch,
            contender.epoch,
            torch.from_numpy(fake[row, column]),
            torch.from_numpy(real_logits[row, column]),
            trained_steps=judge.trained_steps,
        )
        for column, contender in enumerate(present)
        for row, judge in enumerate(judges)
    ]
    return Tournament(judged, verdicts, known, field.left_out)
